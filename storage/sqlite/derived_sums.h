/* SPDX-License-Identifier: Apache-2.0 */
/* derived_sums.h - sums over stored rollups, kept for the next who asks the same.
 *
 * Role       a range is mostly days, hours and minutes of which nothing changes any more, and is asked for again and
 *            again: a page looks every few seconds. What the rows of a piece of it came to is kept, with the generation up
 *            to which rows are in it; who asks again adds the newer ones.
 * Truth      rows are only added, and replaced by others that say the same, so that a sum never grows wrong;
 *            where rows leave, derived_sums_clear() drops all, and none that was begun before is put.
 * Threads    any; the lock is held for a few lines.
 * Bound      bytes of a budget of its own; what was used least recently goes first, and what nobody used for
 *            DERIVED_SUMS_KEPT_NS goes too.
 * Ownership  a taken sum is borrowed until it is given back. */
#ifndef SPINDLE_STORAGE_SQLITE_DERIVED_SUMS_H
#define SPINDLE_STORAGE_SQLITE_DERIVED_SUMS_H

#include "base/budget.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <pthread.h>

/* Of the engine's memory: 16 MiB of the 128 that it has where the program has 512. The sums of a map of 2,000
 * edges over a month take 2. */
#define DERIVED_SUMS_SHARE 8
/* Of rows: fewer are read again sooner than kept. */
#define DERIVED_SUMS_WORTH   ((uint64_t)64 << 10)
#define DERIVED_SUMS_KEPT_NS (600 * NS_PER_S)

struct derived_sum {
    struct bytes key;
    struct bytes tally;    /* as tally_pack() makes it */
    struct bytes services; /* nodes that were seen on the way, each after its length */
    uint64_t generation;   /* of the newest row in it; all older ones are in it too */
    bool is_merged;        /* there are only rows in it that merging has made */
    /* The cache's. */
    struct derived_sum *newer, *older;
    uint64_t used_mono_ns;
    size_t bytes;
    unsigned users;
    bool is_dropped;
};

struct derived_sums {
    pthread_mutex_t lock; /* guards all below */
    struct budget budget;
    struct derived_sum *newest, *oldest;
    uint64_t epoch;
};

/* Empty; its lock lives until deinit. */
void derived_sums_init(struct derived_sums *c, size_t limit_bytes);
void derived_sums_deinit(struct derived_sums *c); /* safe on a zeroed one */
/* Changes with each clear: to be read before the rows are. */
uint64_t derived_sums_epoch(struct derived_sums *c);
/* The newest of a key, of generation `at_most` or less, that has each of these rows whole or not at all. NULL: there
 * is none, or the sums were cleared since that epoch. */
struct derived_split {
    uint64_t first, last; /* generations of one row */
};
struct derived_sum *derived_sums_take(struct derived_sums *c, struct bytes key, uint64_t epoch,
                                      uint64_t at_most, const struct derived_split *rows,
                                      size_t rows_count, uint64_t now_mono_ns);
void derived_sums_give(struct derived_sums *c, struct derived_sum *sum); /* NULL does nothing */
/* Keep a copy. It takes the place of another of the key that is merged, or is not, as this one. */
void derived_sums_put(struct derived_sums *c, const struct derived_sum *like, uint64_t epoch,
                      uint64_t now_mono_ns);
void derived_sums_clear(struct derived_sums *c);
void derived_sums_tend(struct derived_sums *c, uint64_t now_mono_ns);

#endif
