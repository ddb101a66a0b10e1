/* SPDX-License-Identifier: Apache-2.0 */
/* operations.h - how many spans each (service, name, kind) has, over a set of row groups.
 *
 * Role       the sum of the partitions' operation tables, in memory: services and operations are
 *            asked for by every page.
 * Bound      OPERATIONS_MAX entries; what comes after them is counted in `overflowed` alone.
 * Threads    one at a time; the engine's lock guards it. */
#ifndef SPINDLE_STORAGE_SQLITE_OPERATIONS_H
#define SPINDLE_STORAGE_SQLITE_OPERATIONS_H

#include "base/intern.h"

#define OPERATIONS_MAX 200000u /* about 100 bytes each */

struct operations {
    struct intern keys; /* kind and length of the service, then service and name */
    uint64_t *spans;    /* [capacity], by entry number */
    uint32_t capacity;
    uint64_t overflowed;
};

struct operation_entry {
    struct bytes service, name; /* borrowed from the set */
    uint32_t kind;
    uint64_t spans;
};

/* An empty set; deinit is safe on a zeroed one. */
void operations_init(struct operations *o);
void operations_deinit(struct operations *o);
/* ERR_NOMEM; a full set is not an error. */
NODISCARD enum err operations_add(struct operations *o, struct bytes service, struct bytes name,
                                  uint32_t kind, uint64_t spans);
/* Take back what was added; what is not there is left out. */
void operations_subtract(struct operations *o, const struct operations *gone);
/* A copy without the entries that have no spans left, when they are half of all or more; else o stays as it
 * is, as it does without memory. */
void operations_compact(struct operations *o);
static inline uint32_t operations_count(const struct operations *o)
{
    return o->keys.count;
}
/* index < operations_count(), in order of first appearance; `spans` is 0 where all are gone. */
void operations_get(const struct operations *o, uint32_t index, struct operation_entry *out);

#endif
