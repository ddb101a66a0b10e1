/* SPDX-License-Identifier: Apache-2.0 */
/* search.h - finding traces and log records over segments.
 *
 * Role       the algorithms of engine.h's queries without the disk: candidates from scans, whole traces
 *            assembled and told apart, exact filters, order, pages. An engine supplies the segments.
 * Threads    one query, one thread.
 * Algorithm  traces: scan segments, newest first, for candidate traces; a trace's start is at most that of
 *            its matching span, so, newest first, a trace is final once no unread segment or candidate can
 *            start later. Each candidate is assembled whole to check what speaks of the trace. Slowest
 *            first: by the extents of runs of rows, see search_slowest.c. */
#ifndef SPINDLE_STORAGE_SEARCH_H
#define SPINDLE_STORAGE_SEARCH_H

#include "storage/engine.h"
#include "storage/segment.h"

/* What an engine gives: its segments' bounds up front, and each opened on demand. */
struct segment_source {
    void *context;
    size_t count;
    /* Cheap, without I/O. */
    void (*bounds)(void *context, size_t index, struct segment_bounds *out);
    /* False when the trace cannot be in this segment: its filter. */
    bool (*may_contain)(void *context, size_t index, const struct trace_id *id);
    /* The first segment from `from` on that may contain the trace; count: none. NULL: each is asked by itself. */
    size_t (*next_with_trace)(void *context, size_t from, const struct trace_id *id);
    /* Open for reading; segment memory in q->arena or a scratch arena of the engine's. A damaged one is
     * ERR_CORRUPT: it is skipped and counted, the others are served. */
    enum err (*open)(void *context, size_t index, const struct query_context *q,
                     struct segment **out);
    /* False when it is known without opening it that no row can match; NULL: nothing is known. */
    bool (*may_match)(void *context, size_t index, const struct expr *filter);
    /* What extents_make() says of a segment of spans, without opening it; until the next call. False: it is not known; NULL:
     * never. Then whoever has made it may leave it: whether it is kept. */
    bool (*extents)(void *context, size_t index, struct bytes *out);
    bool (*extents_keep)(void *context, size_t index, struct bytes made);
    /* Of what was opened; NULL: the segment's own. */
    void (*close)(void *context, size_t index, struct segment *take_segment);
    void (*on_damaged)(void *context, size_t index);
    /* Tells equal items apart from different ones that share IDs. */
    const struct hash_key *content_key;
};

/* What all searches share
 * Memory    results in q->arena; scratch beside it, freed before they return: a few buffers, each of at
 *           most half of what the arena may still take.
 * Bounds    when memory (the arena's limit or its budget) or time runs out, search_traces() and
 *           search_logs() return ERR_OK with what is certain, a prefix of the whole answer, is_complete
 *           false and a cursor to go on from where there is one. Keys and values return what was counted.
 *           The others return the error.
 * Damage    a segment that is ERR_CORRUPT is left out and reported to on_damaged; progress then is not
 *           complete.
 * Errors    besides those named: ERR_CANCELLED, ERR_NOMEM, and what opening and reading segments give. */

/* Spans: ERR_NOT_FOUND when there are none. Log records: ERR_OK and empty. ERR_CORRUPT: a damaged segment
 * may hold more; the rest is in *out_data, which may be empty. */
NODISCARD enum err search_trace_get(const struct segment_source *source,
                                    const struct query_context *q, const struct trace_id *id,
                                    enum signal signal, struct bytes *out_data);
/* See engine_trace_walk(). */
NODISCARD enum err search_trace_walk(const struct segment_source *source,
                                     const struct query_context *q, const struct trace_walk *walk,
                                     trace_item_fn *on_item, void *context);
/* See engine_rows_scan() and engine_rows_sample(). */
NODISCARD enum err search_rows_scan(const struct segment_source *source,
                                    const struct query_context *q, const struct row_scan *asked,
                                    row_scan_fn *on_row, void *context,
                                    struct row_scan_result *out);
NODISCARD enum err search_rows_sample(const struct segment_source *source,
                                      const struct query_context *q, const struct row_sample *asked,
                                      struct row_sample_result *out);
/* See struct row_cursor: what it looks at is added to *progress. */
NODISCARD enum err search_rows_read(const struct segment_source *source,
                                    const struct query_context *q, struct find_progress *progress,
                                    const struct row_request *asked, struct row_cursor **out);
/* See struct row_view_ops. */
NODISCARD enum err search_resources(const struct segment_source *source,
                                    const struct query_context *q, struct find_progress *progress,
                                    enum signal signal, row_resource_fn *on_resource,
                                    void *context);
/* In total order: by start or duration, latest or longest first; equal ones by trace ID, ascending. */
NODISCARD enum err search_traces(const struct segment_source *source, const struct query_context *q,
                                 const struct trace_query *query, struct trace_result *out);
/* In total order: by time; equal ones by content hash, which is the cursor's position and stays when a
 * record moves to another segment. Records equal in time and content are one. */
NODISCARD enum err search_logs(const struct segment_source *source, const struct query_context *q,
                               const struct log_query *query, struct log_result *out);
/* The trace of the latest-starting span with this ID. */
NODISCARD enum err search_span_trace(const struct segment_source *source,
                                     const struct query_context *q, const struct span_id *id,
                                     struct trace_id *out_trace_id);
/* Keys that begin with the prefix, most seen first, then by scope and key. */
NODISCARD enum err search_attribute_keys(const struct segment_source *source,
                                         const struct query_context *q, enum signal signal,
                                         struct time_range range, struct bytes prefix, size_t limit,
                                         struct attribute_key **out, size_t *out_count);
/* Values of a key (scope ANY and EVERYWHERE as in filters; INTRINSIC: its name) in rows that match or, where
 * the filter speaks of the whole trace, may match; most frequent first. Of strings those that begin with the
 * prefix; other types where the prefix is empty. ERR_INVALID for an unknown intrinsic. */
NODISCARD enum err search_attribute_values(const struct segment_source *source,
                                           const struct query_context *q, enum signal signal,
                                           enum expr_scope scope, struct bytes key,
                                           struct time_range range, const struct expr *filter,
                                           struct bytes prefix, size_t limit,
                                           struct attribute_value **out, size_t *out_count,
                                           struct find_progress *out_progress);

/* A checked body as a segment, in `arena`; borrowed for the segment's life. */
NODISCARD enum err body_segment_open(enum signal signal, struct bytes body, struct arena *arena,
                                     struct segment **out);
/* The same for whoever knows the bounds already, as otlp_check() reports them: saves a walk. */
NODISCARD enum err body_segment_open_bounded(const struct segment_bounds *bounds, struct bytes body,
                                             struct arena *arena, struct segment **out);

/* The summary of one whole trace (TracesData, each span once), in the arena. */
NODISCARD enum err trace_summarize(struct bytes traces_data, struct arena *arena,
                                   struct trace_summary *out);

#endif
