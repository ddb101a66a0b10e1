/* SPDX-License-Identifier: Apache-2.0 */
/* pending_edges.h - what pending bodies add to the edges, paired once for all who ask.
 *
 * Role       a question about edges pairs the bodies that are not in a row group yet with each other and with the halves
 *            that wait. What was found is kept: bodies that are new since the last question are taken as a row group would
 *            be, against a copy of the table of halves that goes on from question to question; when a row group
 *            changes the table itself, or takes bodies, it begins anew. Series are counted with the edges, as questions
 *            about edges want to know who sends spans.
 * Threads    any; who asks waits for whoever pairs, but not for long: then he pairs by himself.
 * Bound      bytes of a budget of its own, of which the table of halves takes the most: bodies are paired some thousand
 *            spans at a time. Where that is not enough, the caller pairs by itself: in one of its own.
 * Ownership  nothing is borrowed between calls. */
#ifndef SPINDLE_STORAGE_SQLITE_PENDING_EDGES_H
#define SPINDLE_STORAGE_SQLITE_PENDING_EDGES_H

#include "storage/derive/pairing.h"
#include "storage/sqlite/pending_counts.h"

/* Of the engine's memory, at most: 16 MiB of 128. The table of halves is 2 to 8 of them. */
#define PENDING_EDGES_SHARE 8

struct pending_edges {
    pthread_mutex_t lock; /* guards all below but what is atomic */
    struct budget budget;
    struct totals_reader reader;
    bool is_begun;
    struct half_table halves; /* as the counted bodies leave it */
    size_t halves_bytes;      /* charged for it */
    struct intake intake;     /* of the bodies that are new */
    struct arena arena;
    struct tally tally;   /* of all counted bodies: complete edges, and series */
    struct buffer stored; /* as tally_encode() makes it, of stored_count bodies */
    struct buffer
        waiting; /* the same of halves that came until waiting_until_unix_ns and are alone */
    size_t count, stored_count, waiting_count;
    uint64_t waiting_until_unix_ns;
    bool has_stored, has_waiting, has_refused;
    uint64_t refused_generation, refused_serial; /* so many bodies from this one on do not fit */
    size_t refused_count;
    enum err refused_error;
    uint64_t used_mono_ns;
    uint64_t begun; /* how often: what tests look at */
    /* What it began with; written under the lock, read by who takes a snapshot, to know whether it needs the table.
     * Pairs with nothing: who is wrong about it takes another snapshot. */
    _Atomic uint64_t generation;   /* of the rows of rollups; UINT64_MAX: nothing is kept */
    _Atomic uint64_t first_serial; /* of the body; 0: there was none */
    _Atomic size_t aside_count;    /* counted of those that were set aside */
};

/* Empty. What it takes is charged to `budget` too, unless that is NULL. */
void pending_edges_init(struct pending_edges *p, struct totals *totals, size_t limit_bytes,
                        struct budget *budget);
/* Safe on a zeroed one. */
void pending_edges_deinit(struct pending_edges *p);

/* What a question looks at: of one moment. */
struct pending_edges_query {
    const struct pending_range *range; /* the pending bodies of spans */
    const struct pending_range *aside; /* and those that were set aside */
    uint64_t generation;
    const struct half_table *halves; /* NULL: it is believed to be kept */
    uint64_t patience_ns; /* a half younger than this is in no answer; in whole seconds */
};
/* Whether a question of this moment needs no table of halves. May be wrong a moment later. */
bool pending_edges_are_kept(const struct pending_edges *p, const struct pending_edges_query *query);
/* All that pending bodies and waiting halves add, in two parts. ERR_BUSY: it cannot be had just now, or does not fit, which
 * refused_error tells then; ERR_NOT_FOUND: it is not kept any more, come again with the table of another snapshot; in
 * both cases nothing was given. Else on_counts' errors, ERR_CANCELLED, ERR_DEADLINE. */
NODISCARD enum err pending_edges_read(struct pending_edges *p,
                                      const struct pending_edges_query *query,
                                      const struct query_context *q, pending_counts_fn *on_counts,
                                      void *context);
/* Give memory back when nobody asked for long. Never waits. */
void pending_edges_tend(struct pending_edges *p, uint64_t now_mono_ns);

#endif
