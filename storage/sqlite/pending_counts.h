/* SPDX-License-Identifier: Apache-2.0 */
/* pending_counts.h - what pending bodies add to the series, counted once for all who ask.
 *
 * Role       a question about rates counts the bodies that are not in a row group yet, seconds' worth of them, and
 *            the next question has most of them in common with it. So one table is kept for the beginning of the chain of
 *            pending bodies, and goes on where it stopped; when a row group takes bodies from the chain, it begins anew.
 *            Edges are not in it: they pair across bodies.
 * Threads    any; who asks waits for whoever counts, but not for long: then he counts by himself.
 * Bound      bytes of a budget of its own, so that no question takes the room of what arrives; where there is none the caller
 *            counts by itself, at once while the same bodies are pending.
 * Ownership  it borrows from bodies, but looks at what it borrowed only while the same bodies are given again. */
#ifndef SPINDLE_STORAGE_SQLITE_PENDING_COUNTS_H
#define SPINDLE_STORAGE_SQLITE_PENDING_COUNTS_H

#include "base/budget.h"
#include "storage/derive/intake.h"
#include "storage/derive/totals.h"
#include "storage/sqlite/view.h"

#define PENDING_COUNTS_SHARE   16               /* of the engine's memory, at most */
#define PENDING_COUNTS_KEPT_NS (15 * NS_PER_S)  /* not asked for so long: forgotten */
#define PENDING_COUNTS_WAIT_NS (20 * NS_PER_MS) /* for another who counts */

struct pending_counts {
    pthread_mutex_t lock; /* guards all below */
    struct budget budget;
    struct totals_reader reader;
    struct intake intake;
    bool has_intake;
    uint64_t first_serial; /* of the body that it begins with */
    size_t count;          /* bodies counted */
    struct buffer stored;  /* as tally_encode() makes it, of stored_count bodies */
    size_t stored_count;
    uint64_t refused_serial; /* so many bodies from this one on do not fit; 0: none */
    size_t refused_count;
    uint64_t used_mono_ns;
};

/* Empty. */
void pending_counts_init(struct pending_counts *p, struct totals *totals, size_t limit_bytes);
/* Safe on a zeroed one. */
void pending_counts_deinit(struct pending_counts *p);

/* Take a lock that another may hold while it counts or pairs. ERR_BUSY: it goes on for longer than
 * PENDING_COUNTS_WAIT_NS; query_check()'s. */
NODISCARD enum err pending_lock_soon(pthread_mutex_t *lock, const struct query_context *q);

/* Given what the bodies add, by minutes; empty where they add nothing. */
typedef enum err pending_counts_fn(void *context, struct bytes stored);
/* All of `range`, the pending bodies of a snapshot of spans. ERR_BUSY: it cannot be had of these, count them apart; nothing
 * was given. Else on_counts' errors, ERR_CANCELLED, ERR_DEADLINE. */
NODISCARD enum err pending_counts_read(struct pending_counts *p, const struct pending_range *range,
                                       const struct query_context *q, pending_counts_fn *on_counts,
                                       void *context);
/* Give memory back when nobody asked for long. Never waits. */
void pending_counts_tend(struct pending_counts *p, uint64_t now_mono_ns);

#endif
