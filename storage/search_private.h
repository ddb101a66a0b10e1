/* SPDX-License-Identifier: Apache-2.0 */
/* search_private.h - what the searches share: segments kept open, and whole traces put together. */
#ifndef SPINDLE_STORAGE_SEARCH_PRIVATE_H
#define SPINDLE_STORAGE_SEARCH_PRIVATE_H

#include "storage/otlp_row.h"
#include "storage/search.h"

/* ---- Segments ---- */

/* Enough that the traces of one page find theirs open; each holds what its reader has decoded. */
#define SEARCH_OPEN_MAX 16

/* What a search learned of a segment without an index in which it looked for several traces in vain. */
struct search_filter {
    uint32_t misses;
    uint64_t *bits; /* NULL: none; one for each trace ID there is, by hash */
    uint64_t mask;
};

/* One search's view of its segments. */
struct search {
    const struct segment_source *source;
    const struct query_context *q;
    struct arena scratch;
    struct {
        size_t index;
        struct segment *segment; /* NULL: free */
        uint64_t last_use;
    } open[SEARCH_OPEN_MAX];
    uint64_t uses;
    struct search_filter *filters; /* by segment; NULL until the first miss */
    bool has_damage;
    struct find_progress progress;
};

void search_init(struct search *s, const struct segment_source *source,
                 const struct query_context *q);
void search_deinit(struct search *s);
/* Empty the scratch arena and what lies in it. */
void search_forget(struct search *s);
/* ERR_OK with NULL for a damaged segment, which is then counted. Valid until the next call. */
NODISCARD enum err search_open(struct search *s, size_t index, struct segment **out);
/* Close what is open, and give its memory back. */
void search_close_all(struct search *s);
/* False when no row of the segment can match, as far as that is known without opening it. */
bool search_may_match(const struct search *s, size_t index, const struct expr *filter);
/* What an operation on a segment returned: damage is counted and passed over, ERR_OK. */
NODISCARD enum err search_pass_damage(struct search *s, size_t index, enum err e);
/* False when the trace cannot be in the segment. */
bool search_may_contain(const struct search *s, size_t index, const struct trace_id *id);
/* The first segment from `from` on that it may be in; the source's count: none. */
size_t search_next_with_trace(const struct search *s, size_t from, const struct trace_id *id);
/* The open segment did not have a trace: after some times a walking one is given a filter. */
void search_note_miss(struct search *s, size_t index, struct segment *segment);
/* A buffer of the search's, charged to what the query is charged to. */
void search_buffer_init(struct buffer *b, const struct query_context *q);
/* Time or memory ran out: what was found so far stands. */
bool search_is_bound(enum err e);
/* How many bytes of scratch buffers a search may use. */
size_t search_scratch_bytes(const struct query_context *q);

/* Segments of the signal that reach into the range, the ones that end last first (FIND_OLDEST: that begin
 * first). In the scratch arena. */
struct search_order {
    size_t index;
    struct segment_bounds bounds;
};
NODISCARD enum err search_segments(struct search *s, enum signal signal, struct time_range range,
                                   enum find_order order, struct search_order **out,
                                   size_t *out_count);

/* ---- One trace ---- */

struct trace_group {
    struct otlp_group group;
    uint32_t run; /* private */
    bool has_hash;
    struct hash128 hash;
};

struct trace_item {
    struct bytes item;
    uint32_t group; /* in trace_parts.groups */
    bool has_parent;
    uint64_t start_unix_ns,
        end_unix_ns; /* a record's time in both; no span ends before it starts */
    struct span_id span_id, parent_span_id;
    struct hash128 content; /* of log records, and of spans that share their ID */
};

/* The items of one trace, each once. Reused from trace to trace. */
struct trace_parts {
    struct arena memory; /* of the arrays */
    struct buffer data;  /* as read from the segments, one after the other */
    uint32_t *rows;
    size_t rows_capacity;
    struct trace_item *items;
    size_t count, items_capacity;
    struct trace_group *groups; /* distinct, in bytewise order */
    size_t groups_count, groups_capacity;
    uint32_t *ranks; /* of each run of rows: its group */
    size_t ranks_capacity;
};
void trace_parts_init(struct trace_parts *t, const struct query_context *q);
void trace_parts_deinit(struct trace_parts *t);
/* All items of the trace: spans by group, start, ID and content, log records by time and content. Memory
 * is charged to the query's budget: ERR_TOO_LARGE, ERR_BUDGET. */
NODISCARD enum err trace_parts_load(struct trace_parts *t, struct search *s,
                                    const struct trace_id *id, enum signal signal);
/* Append the items as TracesData or LogsData: those that `which` numbers, in that order, or all. Errors:
 * the buffer's. */
void trace_parts_write(const struct trace_parts *t, const uint32_t *which, size_t count,
                       struct buffer *out);

/* Grow an array in an arena to hold `count` elements. */
NODISCARD enum err search_grow(struct arena *a, void *array_of_pointer, size_t *capacity,
                               size_t count, size_t size);

#endif
