/* SPDX-License-Identifier: Apache-2.0 */
/* search_find.h - what the orders of a search for traces share: candidates, and what becomes of them.
 *
 * Role       a candidate is a trace that may belong to the answer, with a bound of its key: its start,
 *            or its duration. search_candidates.c keeps them by ID and in a heap by bound;
 *            search_traces.c assembles them, gives them out, and has the newest order;
 *            search_slowest.c has the slowest.
 * Private    to storage's searches. */
#ifndef SPINDLE_STORAGE_SEARCH_FIND_H
#define SPINDLE_STORAGE_SEARCH_FIND_H

#include "storage/search_private.h"

enum candidate_state { BOUND, EXACT, DONE };

struct candidate {
    struct trace_id id;
    uint64_t key;   /* start or duration: not less than the true one, or that itself */
    uint64_t least; /* slowest order: not more than the true duration; 0: not known */
    enum candidate_state state;
    uint32_t summary; /* EXACT: in find.summaries */
};

struct find {
    struct search search;
    const struct trace_query *query;
    struct trace_parts parts;
    struct arena once; /* of the trace at hand */
    struct buffer data;
    struct arena table; /* of the array of candidates alone, which so grows where it lies */
    struct candidate *candidates;
    size_t count, capacity;
    uint32_t *slots; /* open addressing by trace ID: candidate + 1 */
    size_t slots_mask;
    uint32_t *heap; /* candidates; the first of the order on top */
    size_t heap_count;
    struct trace_summary *summaries; /* of exact candidates */
    size_t summaries_count, summaries_capacity;
    size_t results_capacity;
    size_t *late; /* newest order: segments that may hold spans from the cursor's time or before */
    size_t late_count;
    uint64_t shares, share; /* slowest order: of this share, by a hash of their ID */
    bool asks_children;
    enum err failure; /* of a callback */
};

/* ---- Candidates (search_candidates.c) ---- */

/* An array in an arena, made larger by doubling. */
NODISCARD enum err find_array_grow(struct arena *a, void *array_of_pointer, size_t count,
                                   size_t *capacity, size_t size);
/* Peers choose trace IDs, so mix them with a seed of this search. */
uint64_t find_hash(const struct find *f, const struct trace_id *id);
/* Forget all candidates; their memory is used again. */
void find_forget(struct find *f);
/* Give back all memory but the results'. */
void find_release(struct find *f);
/* NULL when there is none. Valid until the next is added, as what find_add() returns. */
struct candidate *find_candidate(const struct find *f, const struct trace_id *id);
/* A candidate that is not there yet; not in the heap. NULL, and f->failure says why. */
struct candidate *find_add(struct find *f, const struct candidate *c);
/* Put it into the heap, without its order: find_heap_rebuild() must follow. */
void find_heap_append(struct find *f, const struct candidate *c);
void find_heap_push(struct find *f, uint32_t number);
uint32_t find_heap_pop(struct find *f);
void find_heap_rebuild(struct find *f);
int find_order_id(const struct trace_id *a, const struct trace_id *b);
bool find_is_after(const struct find_cursor *after, uint64_t key, const struct trace_id *id);

/* ---- Scanning and giving out (search_traces.c) ---- */

/* Count a segment into the progress: looked at, its rows too where has_rows. */
void find_note(struct find *f, const struct search_order *at, bool has_rows);
/* Rows of a segment that match in the query's range; counted where is_noted. f->failure, set by
 * on_row, is returned. */
NODISCARD enum err find_scan(struct find *f, const struct search_order *at, bool is_noted,
                             segment_row_fn *on_row, void *context);
/* Give out, or resolve, candidates that come before everything unread; `unread_max` is the greatest
 * key there can be in it. */
NODISCARD enum err find_advance(struct find *f, bool has_unread, uint64_t unread_max,
                                struct trace_result *out);

/* ---- Orders ---- */

/* What was given out is a prefix of the answer, whatever is returned. */
NODISCARD enum err find_slowest(struct find *f, struct trace_result *out, bool *out_may_be_more);

#endif
