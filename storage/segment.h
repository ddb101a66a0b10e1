/* SPDX-License-Identifier: Apache-2.0 */
/* segment.h - a readable set of spans or log records: a row group, or a body still in the journal.
 *
 * Role       what search and assembly work over, so that both forms of stored telemetry answer alike and
 *            neither algorithm knows of files. Implementations: rowgroup_segment (columns) and
 *            body_segment (checked OTLP bytes).
 * Threads    a segment belongs to one query at a time.
 * Ownership  the opener closes it; rows' bytes are written into the caller's buffers. */
#ifndef SPINDLE_STORAGE_SEGMENT_H
#define SPINDLE_STORAGE_SEGMENT_H

#include "base/query_context.h"
#include "storage/expr.h"
#include "storage/row_parts.h"

struct segment;

/* One row that satisfies a scan, for sorting and for finding its trace. */
struct segment_row {
    uint32_t row;
    struct trace_id trace_id;
    uint64_t start_unix_ns; /* of a log record: its time */
    uint64_t duration_ns;
    enum expr_truth truth; /* TRUE, or UNKNOWN where the filter speaks of the trace */
    size_t run;            /* of scan_runs(): which of those that were given */
};
/* Returns false to stop the scan. */
typedef bool segment_row_fn(void *context, const struct segment_row *row);

/* A run: spans of one trace that lie side by side; a trace may have several. Its earliest start and latest end; a span ends
 * no earlier than it starts. Returns false to stop. */
typedef bool segment_run_fn(void *context, const struct trace_id *id, uint64_t start_min_unix_ns,
                            uint64_t end_max_unix_ns);

/* An attribute key of a segment. Returns false to stop. */
typedef bool segment_key_fn(void *context, enum expr_scope scope, struct bytes key,
                            enum otlp_value_type type, uint64_t rows);

/* A resource of a segment, as sent. Returns false to stop. */
typedef bool segment_resource_fn(void *context, struct bytes resource, struct bytes schema_url);

struct segment_bounds {
    enum signal signal;
    uint32_t rows;
    uint64_t start_min_unix_ns, start_max_unix_ns; /* of its rows; both inclusive */
    uint64_t bytes;                                /* stored size, for find_progress */
};

struct segment_ops {
    /* False when no row can satisfy the filter in the range: from statistics and dictionaries only. */
    bool (*may_match)(struct segment *s, const struct expr *filter, uint64_t min_unix_ns,
                      uint64_t max_unix_ns);
    /* Rows that start in [min, max) and for which the filter is TRUE or UNKNOWN, in any order. */
    enum err (*scan)(struct segment *s, const struct query_context *q, const struct expr *filter,
                     uint64_t min_unix_ns, uint64_t max_unix_ns, segment_row_fn *on_row,
                     void *context);
    /* Row numbers with this trace ID, ascending, into out[0..max); *out_count may exceed max: call again
     * with room. */
    enum err (*find_trace)(struct segment *s, const struct trace_id *id, uint32_t *out, size_t max,
                           size_t *out_count);
    bool
        find_walks; /* find_trace() walks over all rows: worth a filter when many traces are asked for */
    /* Spans only: visit the runs, which are all rows, in an order that is always the same: it numbers them, from 0. */
    enum err (*runs)(struct segment *s, const struct query_context *q, segment_run_fn *on_run,
                     void *context);
    /* As scan(), of some runs alone, given by their numbers, ascending; and of each run the first such row alone. */
    enum err (*scan_runs)(struct segment *s, const struct query_context *q,
                          const struct expr *filter, uint64_t min_unix_ns, uint64_t max_unix_ns,
                          const uint32_t *runs, size_t count, segment_row_fn *on_row,
                          void *context);
    /* Append the given rows (ascending) as TracesData or LogsData, one ResourceSpans for each run of
     * rows that share resource, scope and schema URLs. The bytes are checked and canonical. Parts that are not
     * asked for (row_parts.h) may be left out. */
    enum err (*read)(struct segment *s, const struct query_context *q, const uint32_t *rows,
                     size_t count, unsigned parts, struct buffer *out);
    /* Visit each distinct (scope, key, type) of the rows' attributes at least once, with a number of rows
     * it is in, cheaply: a rank. NULL: not offered, the caller reads rows. */
    enum err (*keys)(struct segment *s, segment_key_fn *on_key, void *context);
    /* Visit the resource of each row at least once. */
    enum err (*resources)(struct segment *s, segment_resource_fn *on_resource, void *context);
    void (*close)(struct segment *s);
};

struct segment {
    const struct segment_ops *ops;
    struct segment_bounds bounds;
};

#endif
