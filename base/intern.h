/* SPDX-License-Identifier: Apache-2.0 */
/* intern.h - distinct byte strings, numbered 0, 1, 2... in order of first appearance.
 *
 * Role       dictionaries of row groups and catalogues.
 * Ownership  entries are copied; entry pointers stay valid until reset or deinit.
 * Threads    one at a time.
 * Errors     ERR_NOMEM; ERR_TOO_MANY at the entry limit; ERR_TOO_LARGE, ERR_BUDGET when charged. Nothing is
 *            added then. */
#ifndef SPINDLE_BASE_INTERN_H
#define SPINDLE_BASE_INTERN_H

#include "base/arena.h"

struct intern {
    struct arena text;
    struct bytes *entries; /* [count] */
    uint32_t *slots;       /* open addressing, entry number + 1 */
    uint64_t *hashes;      /* [count]: hash_bytes() of each */
    uint32_t count, capacity, slot_mask;
    uint32_t count_max;
    struct budget *budget; /* NULL, or what all of the memory is charged to */
};

/* init: empty, allocates nothing; reset: forget all entries, keep memory; deinit: free, safe twice.
 */
void intern_init(struct intern *in, uint32_t count_max);
/* The same for what peers can grow: at most text_bytes_max of text, all charged to the budget, which may be
 * NULL. */
void intern_init_charged(struct intern *in, uint32_t count_max, size_t text_bytes_max,
                         struct budget *budget);
void intern_deinit(struct intern *in);
void intern_reset(struct intern *in);
/* The number of an entry, which is added when it is new. */
NODISCARD enum err intern_put(struct intern *in, struct bytes entry, uint32_t *out_index);
/* UINT32_MAX when absent. */
uint32_t intern_find(const struct intern *in, struct bytes entry);
static inline struct bytes intern_get(const struct intern *in, uint32_t index)
{
    return in->entries[index];
}

#endif
