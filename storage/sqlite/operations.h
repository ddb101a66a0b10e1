/* SPDX-License-Identifier: Apache-2.0 */
/* operations.h - how many spans each (service, name, kind) has, over a set of row groups.
 *
 * Role       the sum of the partitions' operation tables, in memory: services and operations are
 *            asked for by every page. It also decides what these tables, on the disk, have a row for.
 * Bound      OPERATIONS_OF_SERVICE_MAX of one service, OPERATIONS_MAX in all, and bytes. The spans of what comes
 *            after them are counted for their service without a name, and where there is no room for another
 *            service either, under no service: see operation_is_rest(). Nothing is left uncounted.
 * Threads    one at a time; the engine's lock guards it. */
#ifndef SPINDLE_STORAGE_SQLITE_OPERATIONS_H
#define SPINDLE_STORAGE_SQLITE_OPERATIONS_H

#include "base/intern.h"

#define OPERATIONS_MAX            200000u
#define OPERATIONS_OF_SERVICE_MAX 4096u
#define OPERATIONS_BYTES_MAX      ((size_t)32 << 20) /* names and what each takes beside them */
/* The kind of a rest: no span has it with an empty name, unless its sender means to be counted there. */
#define OPERATION_REST_KIND UINT32_MAX

struct operations {
    struct intern keys; /* kind and length of the service, then service and name */
    uint64_t *spans;    /* [capacity], by entry number */
    uint32_t capacity;
    struct intern services;
    uint32_t *
        of_service; /* [services_capacity], by number of the service: how many entries, without the rest */
    uint32_t services_capacity, count; /* of all services, likewise */
    size_t bytes;
    bool is_whole;       /* without the bounds */
    uint64_t overflowed; /* spans that were added to a rest */
};

struct operation_entry {
    struct bytes service, name; /* borrowed from the set */
    uint32_t kind;
    uint64_t spans;
};

/* An empty set; deinit is safe on a zeroed one. */
void operations_init(struct operations *o);
/* Likewise, for what one row group holds, which bounds it: every operation has its entry. */
void operations_init_whole(struct operations *o);
void operations_deinit(struct operations *o);
/* The number of the entry that these spans are counted under, which is made when there is none: with 0 spans.
 * ERR_NOMEM; a full set is not an error. */
NODISCARD enum err operations_place(struct operations *o, struct bytes service, struct bytes name,
                                    uint32_t kind, uint32_t *out_index);
NODISCARD enum err operations_add(struct operations *o, struct bytes service, struct bytes name,
                                  uint32_t kind, uint64_t spans);
/* Count spans in an entry that was found for the key with operations_place(). Cannot fail. */
void operations_add_at(struct operations *o, uint32_t index, uint64_t spans);
/* Take back what was added. */
void operations_subtract(struct operations *o, const struct operations *gone);
/* A copy without the entries that have no spans left, when they are an eighth of all or more; else o stays as it
 * is, as it does without memory. */
void operations_compact(struct operations *o);
static inline uint32_t operations_count(const struct operations *o)
{
    return o->keys.count;
}
/* index < operations_count(), in order of first appearance; `spans` is 0 where all are gone. */
void operations_get(const struct operations *o, uint32_t index, struct operation_entry *out);
/* The spans of a service, or (no service) of all of them, that are over a bound. */
static inline bool operation_is_rest(const struct operation_entry *entry)
{
    return entry->name.len == 0 && entry->kind == OPERATION_REST_KIND;
}

#endif
