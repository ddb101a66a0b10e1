/* SPDX-License-Identifier: Apache-2.0 */
/* derived_collect.h - everything that rollups and pending requests say of a window, in one tally.
 *
 * Role       what questions have in common: derived_query.c says which keys count under which, and makes answers.
 * Truth      rows and pending requests are of one moment. Sums of pieces of the window are kept for the next who
 *            asks (derived_sums.h).
 * Ownership  the windows of the tally's histograms are the query's arena's; the rest goes with collect_deinit().
 * Threads    one at a time. */
#ifndef SPINDLE_STORAGE_SQLITE_DERIVED_COLLECT_H
#define SPINDLE_STORAGE_SQLITE_DERIVED_COLLECT_H

#include "storage/sqlite/engine_private.h"

/* A window in whole minutes. Minutes at the edges, hours inside them, days inside those: each moment is in one. */
struct derived_window {
    uint64_t min, end;
    uint64_t hours_min, hours_end; /* equal: none */
    uint64_t days_min, days_end;
};

/* A node that sends spans, as it stands in keys; maybe more than once. */
typedef enum err derived_service_fn(void *context, struct bytes node_key);

struct collect {
    /* To be filled. */
    struct sqlite_engine *engine;
    const struct query_context *q;
    struct derived_range range;
    bool skips_durations;
    tally_map_fn *map; /* from stored keys to those of the answer */
    void *map_context;
    struct bytes shape; /* tells questions apart whose map differs */
    bool wants_edges;
    uint64_t patience_ns; /* of edges: how long a half is waited for */
    /* NULL, or where `map` notes nodes that send spans; on_service is told of them. */
    struct intern *noted;
    derived_service_fn *on_service;
    /* The answer. */
    struct tally tally;
    struct derived_window window; /* all of it, when it is done */
    bool is_damaged;              /* rows that could not be read are not in it */
    bool has_lost;                /* nor in the row that is being added, which was made of them */
    /* Inside. */
    struct arena scratch; /* what only collecting needs, so that the next may have it */
    struct row_reader *reader;
    bool is_first_piece;
    struct tally *into;
    struct snapshot snapshot;
    struct half_table halves; /* a copy, where edges are wanted and has_halves */
    bool has_halves, is_kept_no_more;
    struct derived_row *rows;
    size_t rows_count;
    uint64_t generation, epoch;
};

/* Fill c->tally. To be given back with collect_deinit(), also on failure. */
NODISCARD enum err collect_run(struct collect *c);
void collect_deinit(struct collect *c);

#endif
