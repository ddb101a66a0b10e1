/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_filter.h - filters over columns.
 *
 * Role       an expr_row that reads the columns a filter names and no other, and the questions
 *            that dictionaries and statistics answer for a whole group.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_FILTER_H
#define SPINDLE_STORAGE_ROWGROUP_FILTER_H

#include "storage/otlp_row.h"
#include "storage/rowgroup/rowgroup_rows.h"
#include "storage/rowgroup/rowgroup_sieve.h"

struct filter_row {
    struct expr_row row; /* first; pass &r.row to expr_evaluate() */
    struct filter_row *self;
    struct chunk *chunk;
    uint32_t number;    /* in the chunk */
    struct buffer text; /* scratch for the text forms of values */
};
void filter_row_init(struct filter_row *r);
void filter_row_deinit(struct filter_row *r);
void filter_row_set(struct filter_row *r, struct chunk *c, uint32_t number);

/* False when no row of the group can satisfy a part that must hold (expr_required()), by
 * dictionaries and statistics alone; also true when they cannot be read. */
bool filter_may_match(struct group *g, const struct expr *filter);

/* Whether the part can hold where its field has this value. */
bool filter_value_satisfies(const struct expr *part, struct expr_value value);
/* Whether a span with one of these status codes (as in the header), or with up to this duration, can satisfy
 * the part. */
bool filter_status_may(uint32_t status_seen, const struct expr *part);
bool filter_duration_may(uint64_t duration_max, const struct expr *part);

/* What is known of a filter before any row: which contexts and which shapes can have matching rows, and what
 * is left to ask of these rows. In the group's memory for rows. */
struct filter_verdicts {
    bool *contexts, *shapes;
    struct sieve sieve;
    struct otlp_filter parts; /* what speaks of contexts alone is decided: item_parts are left */
    const struct expr *longer[16]; /* parts that ask for more than a duration */
    size_t longer_count;
};
bool filter_judge(struct group *g, const struct expr *filter, struct filter_verdicts *out);
/* False when no row of the chunk can match, by the directory alone; also after an error. */
bool filter_chunk_may(const struct filter_verdicts *v, struct chunk *c);
/* For rows that pass the sieve: what the whole filter says. */
enum expr_truth filter_rest(const struct filter_verdicts *v, const struct filter_row *r);

#endif
