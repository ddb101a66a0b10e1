/* SPDX-License-Identifier: Apache-2.0 */
/* red_rows.h - RED series brought together to rows: of services, of operations, of one service in all.
 *
 * Role       asks the engine once for the window's sums and once for its points, and adds up what belongs
 *            to one row.
 * Calls      of a service are its SERVER and CONSUMER spans, or, when it has none in the window (a batch
 *            job, a browser), all of its spans: the basis.
 * Ownership  the call's arena.
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_RED_ROWS_H
#define SPINDLE_QUERY_RED_ROWS_H

#include "query/numbers.h"

#define RED_KINDS_ENTRY (1U << 2 | 1U << 5) /* SERVER, CONSUMER */

struct red_rows_query {
    struct bytes service;          /* empty: all */
    const struct bytes *namespace; /* NULL: all */
    const struct bytes *environment;
    struct bytes name; /* empty: all */
    unsigned kinds;    /* 0: all */
    unsigned by;       /* enum red_group: what tells rows apart; 0: one row */
    bool by_basis;     /* leave out of each row what is not of its basis */
    bool has_environments;
    bool has_point_durations;
};

struct red_row {
    struct bytes service, namespace, environment, name; /* as far as `by` has them */
    uint32_t kind, status;                              /* likewise */
    bool is_entry; /* the basis: has SERVER or CONSUMER spans */
    uint32_t busiest_kind;
    struct bytes *environments; /* by name */
    size_t environments_count;
    struct numbers_sum sum;
    struct numbers_points points;
};

/* Rows ordered by service, namespace, environment, name, kind, status. */
NODISCARD enum err red_rows(struct call *c, const struct numbers_window *w,
                            const struct red_rows_query *query, struct red_row **out,
                            size_t *out_count);
/* The row of the same key; NULL: none. `rows` as red_rows() gives them. */
const struct red_row *red_row_find(const struct red_row *rows, size_t count,
                                   const struct red_row *like);

#endif
