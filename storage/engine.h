/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - what a store can do, whatever it stores in.
 *
 * Role       the only way from the collector and the queries to the disk. The SQLite engine implements it
 *            for one machine; a ClickHouse engine will. storage/engine_suite is what any of them must pass.
 * Threads    every call from any thread but an event loop, except engine_append(), which never blocks.
 * Blocking   queries read files; they obey their query_context.
 * Ownership  results live in the query_context's arena.
 * Times      Unix nanoseconds; ranges include their minimum and exclude their maximum. */
#ifndef SPINDLE_STORAGE_ENGINE_H
#define SPINDLE_STORAGE_ENGINE_H

#include "base/hash.h"
#include "base/metrics.h"
#include "base/query_context.h"
#include "base/queue.h"
#include "codec/codec.h"
#include "storage/derived.h"
#include "storage/expr.h"
#include "storage/row_parts.h"

struct engine;

/* ---- Append ---- */

/* One accepted request on its way to the disk. Filled by the collector, owned by the engine from
 * engine_append() until on_done. */
struct append {
    struct queue_node node; /* the engine's */
    enum signal signal;
    struct arena arena; /* owns the bytes below */
    struct bytes body;  /* checked, canonical OTLP protobuf, not compressed */
    struct bytes
        journal; /* what to journal: the body as received when nothing was changed, else empty */
    enum codec journal_codec; /* of `journal` */
    uint64_t items;
    struct hash128 request_hash; /* of principal, signal and received bytes; equal means resent */
    uint64_t arrival_unix_ns;
    /* Of its items' start times (log records: otlp_log_time()), as otlp_check() has found them. Zeros: not known, and
     * found when somebody asks. */
    uint64_t start_min_unix_ns, start_max_unix_ns;
    bool was_resent; /* out: an equal request was acknowledged before; nothing was stored again */
    /* Called exactly once, from an engine thread; must not block. ERR_OK: durable and visible to every
     * query that starts from now on, and the arena stayed with the engine: `arena`, `body` and `journal`
     * are empty now (unless was_resent). So the append itself and what its answer needs live elsewhere.
     * ERR_BUSY, ERR_FULL, ERR_IO, ERR_STOPPING: not stored; the client may resend, and everything in the
     * append is as it was, so that it can be appended again. The append is the collector's from here on;
     * arena_deinit() its arena in any case. */
    void (*on_done)(struct append *a, enum err result);
    void *context;
};

/* ---- Queries ---- */

struct time_range {
    uint64_t min_unix_ns, max_unix_ns; /* [min, max) */
};

enum find_order {
    FIND_NEWEST, /* traces by start, log records by time; latest first */
    FIND_OLDEST, /* log records only */
    FIND_SLOWEST /* traces only: by trace duration, longest first */
};

/* Where a page ended: the sort key of its last row and what tells equal keys apart. */
struct find_cursor {
    bool is_set;
    uint64_t key;       /* start or duration of the trace, time of the record */
    struct trace_id id; /* of the trace; for log records: position, opaque to callers */
};

/* How much was looked at, and whether that was all there is to look at. */
struct find_progress {
    uint64_t scanned_groups, scanned_bytes, scanned_rows;
    bool is_complete; /* false: a bound was reached; more may match than was found */
};

/* A trace matches when one of its spans starts within the range and satisfies the filter, in which
 * trace-level intrinsics speak of the whole trace (as far as stored). */
struct trace_query {
    const struct expr *filter; /* NULL: every span */
    struct time_range range;
    enum find_order order;
    size_t limit;
    struct find_cursor after;
    size_t spans_per_trace; /* matching spans to return with each summary; 0: none */
};

struct service_summary {
    struct bytes name;
    uint32_t spans, errors;
};

struct trace_summary {
    struct trace_id trace_id;
    uint64_t start_unix_ns, end_unix_ns; /* smallest start, largest end */
    bool has_root;                       /* a span without parent; the earliest such */
    struct bytes root_service, root_name;
    uint32_t spans, errors, orphans;  /* errors: status ERROR; orphans: parent not in the trace */
    struct service_summary *services; /* by name */
    size_t services_count;
    uint32_t matched_spans;
    struct bytes matched; /* TracesData with the first spans_per_trace matching spans, by start */
};

struct trace_result {
    struct trace_summary *traces;
    size_t count;
    struct find_cursor next; /* is_set when there may be more */
    struct find_progress progress;
};

struct log_query {
    const struct expr *filter;
    struct time_range range;
    enum find_order order;
    size_t limit;
    struct find_cursor after;
};
struct log_row {
    struct bytes resource, scope, log; /* checked OTLP messages */
    struct bytes resource_schema_url, scope_schema_url;
};
struct log_result {
    struct log_row *logs;
    size_t count;
    struct find_cursor next;
    struct find_progress progress;
};

/* One trace, item by item. */
struct trace_walk {
    struct trace_id trace_id;
    enum signal signal;
    const struct expr *filter; /* NULL: every item; else those that match or may match it... */
    struct time_range range;   /* ...and start within it */
};
/* `at` stands on a span or log record, with its resource and scope; borrowed for the call. is_new_scope may
 * be set again for one that was there before. What is not ERR_OK ends the walk, and is its result. */
typedef enum err trace_item_fn(void *context, const struct otlp_items *at);

/* ---- Every row, for what counts rather than lists ---- */

/* One row that satisfies a filter. Rows that were sent twice may count twice until they are merged. */
struct scanned_row {
    size_t filter;  /* which */
    size_t segment; /* private, with row */
    uint32_t row;
    bool is_certain; /* false: the filter speaks of the whole trace, and may or may not hold */
    uint64_t start_unix_ns, duration_ns; /* of a log record: its time, 0 */
};
typedef void row_scan_fn(void *context, const struct scanned_row *row);

struct row_scan {
    enum signal signal;
    struct time_range range;
    const struct expr *const *filters; /* each row is given for each one that it satisfies */
    size_t filters_count;
    /* Called once before the first row: the part of the range in which anything is stored, or all of it. May be
     * NULL. */
    void (*on_extent)(void *context, bool is_empty, struct time_range extent);
};

struct row_scan_result {
    struct find_progress progress;
    uint64_t covered_from_unix_ns; /* all rows from here on were seen; of what is before, some */
};

/* Rows of two kinds, counted, and some of each read: a sample of equal chances. */
#define ROW_CLASSES_MAX 2
struct row_sample {
    enum signal signal;
    const struct expr *filter;
    struct time_range range;
    size_t rows_max; /* to read of each class */
    void *context;
    /* A class, or anything larger for rows of none. */
    unsigned (*class_of)(void *context, const struct scanned_row *row);
    /* A row that was chosen; as trace_item_fn. */
    enum err (*on_item)(void *context, unsigned class, const struct otlp_items *at);
};

struct row_sample_result {
    struct find_progress progress;
    uint64_t seen[ROW_CLASSES_MAX], sampled[ROW_CLASSES_MAX];
};

/* ---- Rows, one batch after the other, for who asks as he goes on ---- */

struct row_request {
    enum signal signal;
    const struct expr *filter; /* NULL: every row; borrowed while the reader is open */
    struct time_range range;   /* of its span's start, or its record's time */
    const struct trace_id
        *trace_id;  /* NULL: of any trace; copied. Else filter and range may be left aside */
    unsigned parts; /* bits of row_parts.h */
    /* 0: all; else of the rows that match for certain the so many latest ones, latest first, of any trace. */
    size_t latest;
};
#define ROW_LATEST_MAX 10000

/* Everything that is stored at one moment, held until it is closed: what is read from it fits together. Rows that
 * were sent twice may come twice until they are merged. For the thread and within the query it was opened for. */
struct row_view {
    const struct row_view_ops *ops;
    struct find_progress
        progress; /* of all that was read; not complete where something is damaged */
};
struct row_cursor;
/* Returns false to stop. */
typedef bool row_resource_fn(void *context, struct bytes resource, struct bytes schema_url);
struct row_view_ops {
    enum err (*read)(struct row_view *v, const struct row_request *asked, struct row_cursor **out);
    /* Visits each resource at least once; of row groups those of any time. */
    enum err (*resources)(struct row_view *v, enum signal signal, row_resource_fn *on_resource,
                          void *context);
    void (*close)(struct row_view *v); /* its readers are closed before */
};

struct row_cursor {
    const struct row_cursor_ops *ops;
};
struct row_batch {
    struct bytes data; /* TracesData or LogsData; empty at the end */
    /* Of each row, in order: what it is known by as long as the view is open, the same in every cursor. */
    const uint64_t *ids;
};
#define ROW_ID_BITS 52 /* ids are below 2^52 */
struct row_cursor_ops {
    /* The next rows that match, or may where the filter speaks of the whole trace, valid until
     * the next call. Without `latest` in any order, newest first by and large. */
    enum err (*next)(struct row_cursor *r, struct row_batch *out);
    /* Read anew, something else of the same signal. */
    enum err (*rewind)(struct row_cursor *r, const struct row_request *asked);
    void (*close)(struct row_cursor *r);
};

/* A request that has just become durable and visible; the body is borrowed for the call, which is made on the
 * engine's writing thread: it must not wait, nor ask the engine anything. */
typedef void stored_fn(void *context, enum signal signal, struct bytes body, uint64_t items);

struct operation {
    struct bytes name;
    uint32_t kind;
    uint64_t spans;
};

struct attribute_key {
    enum expr_scope scope; /* span, resource, event, link, instrumentation, log */
    struct bytes key;
    enum otlp_value_type type; /* the most frequent */
    uint64_t count;            /* row groups or rows it was seen in: a rank, not a measure */
};
struct attribute_value {
    struct expr_value value;
    uint64_t count;
};

/* How much room the disk has, where the engine has one: see storage/sqlite/disk_guard.h. */
enum disk_state { DISK_OK, DISK_LOW, DISK_CRITICAL, DISK_RECOVER, DISK_STATE_COUNT };
const char *disk_state_text(enum disk_state state);

struct engine_statistics {
    uint64_t spans, logs;                  /* retrievable now */
    uint64_t journal_items, journal_bytes; /* acknowledged, not yet in row groups */
    uint64_t row_groups, partitions;
    uint64_t partitions_damaged, row_groups_damaged; /* set aside; found so when they were read */
    uint64_t rollups_damaged;                        /* likewise; or they could not be listed */
    uint64_t disk_bytes;
    uint64_t first_arrival_unix_ns; /* 0: nothing yet */
    uint64_t newest_start_unix_ns;
    bool is_writable; /* false: read-only, with the reason */
    const char *not_writable_reason;
    bool is_durable; /* durability = fsync */
    enum disk_state disk_state;
    uint64_t disk_free_bytes; /* 0: not known */
};

/* A part of the store that is kept and goes as one. */
struct stored_partition {
    uint64_t id;
    const char *state; /* static text */
    uint64_t bytes, row_groups;
    uint64_t start_min_unix_ns, start_max_unix_ns; /* of its row groups; not set without any */
    bool is_damaged;                               /* some of it, or all, cannot be read */
};

struct engine_ops {
    void (*append)(struct engine *e, struct append *take_append);
    enum err (*trace_get)(struct engine *e, const struct query_context *q,
                          const struct trace_id *id, struct bytes *out_traces_data);
    enum err (*trace_logs)(struct engine *e, const struct query_context *q,
                           const struct trace_id *id, struct bytes *out_logs_data);
    enum err (*trace_walk)(struct engine *e, const struct query_context *q,
                           const struct trace_walk *walk, trace_item_fn *on_item, void *context);
    enum err (*rows_scan)(struct engine *e, const struct query_context *q,
                          const struct row_scan *scan, row_scan_fn *on_row, void *context,
                          struct row_scan_result *out);
    enum err (*rows_sample)(struct engine *e, const struct query_context *q,
                            const struct row_sample *sample, struct row_sample_result *out);
    enum err (*rows_view)(struct engine *e, const struct query_context *q, struct row_view **out);
    enum err (*span_trace)(struct engine *e, const struct query_context *q,
                           const struct span_id *id, struct trace_id *out_trace_id);
    enum err (*traces_find)(struct engine *e, const struct query_context *q,
                            const struct trace_query *query, struct trace_result *out);
    enum err (*logs_find)(struct engine *e, const struct query_context *q,
                          const struct log_query *query, struct log_result *out);
    enum err (*services)(struct engine *e, const struct query_context *q, struct bytes **out_names,
                         size_t *out_count);
    enum err (*operations)(struct engine *e, const struct query_context *q, struct bytes service,
                           struct operation **out, size_t *out_count, uint64_t *out_rest_spans);
    bool (*service_number)(struct engine *e, struct bytes service, uint32_t *out); /* or NULL */
    enum err (*attribute_keys)(struct engine *e, const struct query_context *q, enum signal signal,
                               struct time_range range, struct bytes prefix, size_t limit,
                               struct attribute_key **out, size_t *out_count);
    enum err (*attribute_values)(struct engine *e, const struct query_context *q,
                                 enum signal signal, enum expr_scope scope, struct bytes key,
                                 struct time_range range, const struct expr *filter,
                                 struct bytes prefix, size_t limit, struct attribute_value **out,
                                 size_t *out_count, struct find_progress *out_progress);
    enum err (*red)(struct engine *e, const struct query_context *q, const struct red_query *query,
                    struct red_result *out);
    enum err (*edges)(struct engine *e, const struct query_context *q,
                      const struct edge_query *query, struct edge_result *out);
    enum err (*totals)(struct engine *e, const struct query_context *q, struct derived_totals *out);
    enum err (*cleaned_names)(struct engine *e, const struct query_context *q,
                              struct derived_cleaned **out, size_t *out_count);
    enum err (*partitions)(struct engine *e, const struct query_context *q,
                           struct stored_partition **out, size_t *out_count);
    void (*watch)(struct engine *e, stored_fn *on_stored, void *context);
    void (*statistics)(struct engine *e, struct engine_statistics *out);
    enum err (*settle)(struct engine *e);
    void (*close)(struct engine *e);
};

/* First member of every engine. */
struct engine {
    const struct engine_ops *ops;
};

/* Queue one request to be made durable. Never blocks; on_done is called in any case, possibly before
 * this returns (with ERR_BUSY when the queue is full: the collector holds and tries again). */
static inline void engine_append(struct engine *e, struct append *take_append)
{
    e->ops->append(e, take_append);
}

/* All spans of a trace as one TracesData, each shown once, ordered by resource, scope and start.
 * Errors: ERR_NOT_FOUND; ERR_CORRUPT when part of it lies in a damaged group (others are in *out). */
NODISCARD static inline enum err engine_trace_get(struct engine *e, const struct query_context *q,
                                                  const struct trace_id *id,
                                                  struct bytes *out_traces_data)
{
    return e->ops->trace_get(e, q, id, out_traces_data);
}

/* All log records with this trace ID as one LogsData, by time; ERR_OK and empty when there are none. */
NODISCARD static inline enum err engine_trace_logs(struct engine *e, const struct query_context *q,
                                                   const struct trace_id *id,
                                                   struct bytes *out_logs_data)
{
    return e->ops->trace_logs(e, q, id, out_logs_data);
}

/* Each item of a trace once, in any order, in memory that does not grow with the trace but for some 30 bytes
 * an item. Errors: ERR_NOT_FOUND when there is no span; ERR_CORRUPT when part of it lies in a damaged group
 * (all others were given); on_item's. */
NODISCARD static inline enum err engine_trace_walk(struct engine *e, const struct query_context *q,
                                                   const struct trace_walk *walk,
                                                   trace_item_fn *on_item, void *context)
{
    return e->ops->trace_walk(e, q, walk, on_item, context);
}

/* Every row that matches, newest first by and large. ERR_OK, and not complete, when time or memory ran out. */
NODISCARD static inline enum err engine_rows_scan(struct engine *e, const struct query_context *q,
                                                  const struct row_scan *scan, row_scan_fn *on_row,
                                                  void *context, struct row_scan_result *out)
{
    return e->ops->rows_scan(e, q, scan, on_row, context, out);
}

/* The same, then some of the rows. */
NODISCARD static inline enum err engine_rows_sample(struct engine *e, const struct query_context *q,
                                                    const struct row_sample *sample,
                                                    struct row_sample_result *out)
{
    return e->ops->rows_sample(e, q, sample, out);
}

/* What is stored now, to read rows from; the query context outlives it. ERR_NOMEM. */
NODISCARD static inline enum err engine_rows_view(struct engine *e, const struct query_context *q,
                                                  struct row_view **out)
{
    return e->ops->rows_view(e, q, out);
}

/* The trace that a span ID belongs to (the newest, where several do). ERR_NOT_FOUND. Reads the span ID
 * column of every row group until found: slow, bounded by the query's deadline. */
NODISCARD static inline enum err engine_span_trace(struct engine *e, const struct query_context *q,
                                                   const struct span_id *id,
                                                   struct trace_id *out_trace_id)
{
    return e->ops->span_trace(e, q, id, out_trace_id);
}

NODISCARD static inline enum err engine_traces_find(struct engine *e, const struct query_context *q,
                                                    const struct trace_query *query,
                                                    struct trace_result *out)
{
    return e->ops->traces_find(e, q, query, out);
}

NODISCARD static inline enum err engine_logs_find(struct engine *e, const struct query_context *q,
                                                  const struct log_query *query,
                                                  struct log_result *out)
{
    return e->ops->logs_find(e, q, query, out);
}

/* Distinct service names, sorted; see service_name.h for spans without one. */
NODISCARD static inline enum err engine_services(struct engine *e, const struct query_context *q,
                                                 struct bytes **out_names, size_t *out_count)
{
    return e->ops->services(e, q, out_names, out_count);
}

/* Distinct (name, kind) of a service's spans, sorted; ERR_OK and none for an unknown service.
 *   out_rest_spans  how many spans have a name that is not listed, since a service may have too many; 0: the
 *                   list is whole */
NODISCARD static inline enum err engine_operations(struct engine *e, const struct query_context *q,
                                                   struct bytes service, struct operation **out,
                                                   size_t *out_count, uint64_t *out_rest_spans)
{
    return e->ops->operations(e, q, service, out, out_count, out_rest_spans);
}

/* The service's place in the order in which services were first asked for here, kept across restarts; false when
 * the engine does not keep it for this one. */
static inline bool engine_service_number(struct engine *e, struct bytes service, uint32_t *out)
{
    return e->ops->service_number != NULL && e->ops->service_number(e, service, out);
}

NODISCARD static inline enum err
engine_attribute_keys(struct engine *e, const struct query_context *q, enum signal signal,
                      struct time_range range, struct bytes prefix, size_t limit,
                      struct attribute_key **out, size_t *out_count)
{
    return e->ops->attribute_keys(e, q, signal, range, prefix, limit, out, out_count);
}

/* Most frequent values of a key, under a filter, most frequent first. */
NODISCARD static inline enum err
engine_attribute_values(struct engine *e, const struct query_context *q, enum signal signal,
                        enum expr_scope scope, struct bytes key, struct time_range range,
                        const struct expr *filter, struct bytes prefix, size_t limit,
                        struct attribute_value **out, size_t *out_count,
                        struct find_progress *out_progress)
{
    return e->ops->attribute_values(e, q, signal, scope, key, range, filter, prefix, limit, out,
                                    out_count, out_progress);
}

/* Rates, errors and durations of spans, summed over what query->group leaves out. In no order.
 * ERR_INVALID: the step is no multiple of DERIVED_STEP_MIN_NS. */
NODISCARD static inline enum err engine_red(struct engine *e, const struct query_context *q,
                                            const struct red_query *query, struct red_result *out)
{
    return e->ops->red(e, q, query, out);
}

/* The edges of the service map, and the halves that found no partner. In no order. ERR_INVALID as above. */
NODISCARD static inline enum err engine_edges(struct engine *e, const struct query_context *q,
                                              const struct edge_query *query,
                                              struct edge_result *out)
{
    return e->ops->edges(e, q, query, out);
}

/* Counters since the start. Copies under a lock that storing waits for, a few milliseconds at most. */
NODISCARD static inline enum err engine_totals(struct engine *e, const struct query_context *q,
                                               struct derived_totals *out)
{
    return e->ops->totals(e, q, out);
}

/* Span names that are counted under another name, and why. */
NODISCARD static inline enum err engine_cleaned_names(struct engine *e,
                                                      const struct query_context *q,
                                                      struct derived_cleaned **out,
                                                      size_t *out_count)
{
    return e->ops->cleaned_names(e, q, out, out_count);
}

/* Oldest first. */
NODISCARD static inline enum err engine_partitions(struct engine *e, const struct query_context *q,
                                                   struct stored_partition **out, size_t *out_count)
{
    return e->ops->partitions(e, q, out, out_count);
}

/* From now on call on_stored for every request; one watcher at a time. NULL: no more, and when this returns it
 * is not being called. */
static inline void engine_watch(struct engine *e, stored_fn *on_stored, void *context)
{
    e->ops->watch(e, on_stored, context);
}

/* Cheap: counters only. From any thread, event loops included. */
static inline void engine_statistics(struct engine *e, struct engine_statistics *out)
{
    e->ops->statistics(e, out);
}

/* Wait until everything acknowledged so far is in row groups and checkpointed: before measuring, and in
 * tests. */
NODISCARD static inline enum err engine_settle(struct engine *e)
{
    return e->ops->settle(e);
}

/* Refuses new appends, commits what waits, answers every append, checkpoints, closes. */
static inline void engine_close(struct engine *e)
{
    if (e != NULL)
        e->ops->close(e);
}

#endif
