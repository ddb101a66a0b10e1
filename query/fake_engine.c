/* SPDX-License-Identifier: Apache-2.0 */
#include "query/fake_engine.h"

#include <stdio.h>
#include <time.h>

static struct fake_engine *fake(struct engine *e)
{
    return (struct fake_engine *)e;
}

/* The caller's turn to note what it was asked; pass() ends it. */
static struct fake_engine *begin(struct engine *e)
{
    pthread_mutex_lock(&fake(e)->lock);
    return fake(e);
}

static void note_text(char *out, size_t size, struct bytes text)
{
    (void)snprintf(out, size, "%.*s", (int)text.len, text.len == 0 ? "" : (const char *)text.data);
}

static void note_filter(struct fake_engine *f, const struct expr *filter)
{
    struct buffer b;
    buffer_init(&b, sizeof f->filter);
    expr_write(filter, &b);
    note_text(f->filter, sizeof f->filter, buffer_bytes(&b));
    buffer_deinit(&b);
}

/* End the turn of begin(): count a query, and hold it if so asked. */
static enum err pass(struct fake_engine *f, const struct query_context *q)
{
    uint64_t now = clock_mono_ns();
    f->calls++;
    f->time_left_ns = q->deadline_mono_ns > now ? q->deadline_mono_ns - now : 0;
    f->inside++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);

    enum err e = ERR_OK;
    while (f->holds && (e = query_check(q)) == ERR_OK) {
        struct timespec moment = { .tv_nsec = 1000000 }; /* work between two checks */
        (void)nanosleep(&moment, NULL);
    }

    pthread_mutex_lock(&f->lock);
    f->inside--;
    if (e != ERR_OK)
        f->stopped_with = e;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (e == ERR_OK && f->takes_bytes > 0 && arena_alloc(q->arena, f->takes_bytes) == NULL)
        e = arena_failure(q->arena);
    return e != ERR_OK ? e : f->result;
}

static enum err trace_get(struct engine *e, const struct query_context *q,
                          const struct trace_id *id, struct bytes *out)
{
    struct fake_engine *f = begin(e);
    f->trace_id = *id;
    *out = f->traces_data;
    return pass(f, q);
}

static enum err trace_logs(struct engine *e, const struct query_context *q,
                           const struct trace_id *id, struct bytes *out)
{
    struct fake_engine *f = begin(e);
    f->trace_id = *id;
    *out = f->logs_data;
    return pass(f, q);
}

/* All items of the data set by the test, whatever is asked for. */
static enum err trace_walk(struct engine *e, const struct query_context *q,
                           const struct trace_walk *walk, trace_item_fn *on_item, void *context)
{
    struct fake_engine *f = begin(e);
    f->trace_id = walk->trace_id;
    note_filter(f, walk->filter);
    enum err result = pass(f, q);
    struct otlp_items it =
        otlp_items(walk->signal == SIGNAL_TRACES ? f->traces_data : f->logs_data);
    while ((result == ERR_OK || result == ERR_CORRUPT) && otlp_items_next(&it)) {
        enum err failure = on_item(context, &it);
        if (failure != ERR_OK)
            return failure;
    }
    return result;
}

static void note_scan(struct fake_engine *f, enum signal signal, const struct expr *filter,
                      struct time_range range)
{
    f->signal = signal;
    f->range = range;
    note_filter(f, filter);
}

static struct scanned_row row_of(enum signal signal, const struct otlp_items *at)
{
    struct scanned_row row = { .is_certain = true };
    struct otlp_span span;
    struct otlp_log log;
    if (signal == SIGNAL_TRACES) {
        otlp_span_read(at->item, &span);
        row.start_unix_ns = span.start_unix_ns;
        row.duration_ns = otlp_span_duration_ns(&span);
    } else {
        otlp_log_read(at->item, &log);
        row.start_unix_ns = otlp_log_time(&log);
    }
    return row;
}

/* All items of the data, for each filter. */
static enum err rows_scan(struct engine *e, const struct query_context *q,
                          const struct row_scan *scan, row_scan_fn *on_row, void *context,
                          struct row_scan_result *out)
{
    struct fake_engine *f = begin(e);
    note_scan(f, scan->signal, scan->filters[0], scan->range);
    if (scan->on_extent != NULL)
        scan->on_extent(context, false, scan->range);
    for (size_t i = 0; i < scan->filters_count; i++) {
        struct otlp_items it =
            otlp_items(scan->signal == SIGNAL_TRACES ? f->traces_data : f->logs_data);
        while (otlp_items_next(&it)) {
            struct scanned_row row = row_of(scan->signal, &it);
            row.filter = i;
            on_row(context, &row);
        }
    }
    *out = (struct row_scan_result){ .progress = f->progress };
    return pass(f, q);
}

static enum err rows_sample(struct engine *e, const struct query_context *q,
                            const struct row_sample *sample, struct row_sample_result *out)
{
    struct fake_engine *f = begin(e);
    struct row_sample_result result = { .progress = f->progress };
    struct otlp_items it =
        otlp_items(sample->signal == SIGNAL_TRACES ? f->traces_data : f->logs_data);
    note_scan(f, sample->signal, sample->filter, sample->range);
    enum err failure = ERR_OK;
    while (failure == ERR_OK && otlp_items_next(&it)) {
        struct scanned_row row = row_of(sample->signal, &it);
        unsigned class = sample->class_of(sample->context, &row);
        if (class >= ROW_CLASSES_MAX)
            continue;
        failure = sample->on_item(sample->context, class, &it);
        result.seen[class]++;
        result.sampled[class]++;
    }
    *out = result;
    enum err passed = pass(f, q);
    return failure != ERR_OK ? failure : passed;
}

static enum err span_trace(struct engine *e, const struct query_context *q,
                           const struct span_id *id, struct trace_id *out)
{
    struct fake_engine *f = begin(e);
    f->span_id = *id;
    *out = f->trace_of_span;
    (void)pass(f, q);
    return trace_id_is_zero(out) ? ERR_NOT_FOUND : ERR_OK;
}

static enum err traces_find(struct engine *e, const struct query_context *q,
                            const struct trace_query *query, struct trace_result *out)
{
    struct fake_engine *f = begin(e);
    note_filter(f, query->filter);
    f->range = query->range;
    f->order = query->order;
    f->limit = query->limit;
    f->after = query->after;
    f->spans_per_trace = query->spans_per_trace;
    *out = (struct trace_result){ f->traces, f->trace_count, f->next, f->progress };
    return pass(f, q);
}

static enum err logs_find(struct engine *e, const struct query_context *q,
                          const struct log_query *query, struct log_result *out)
{
    struct fake_engine *f = begin(e);
    note_filter(f, query->filter);
    f->range = query->range;
    f->order = query->order;
    f->limit = query->limit;
    f->after = query->after;
    *out = (struct log_result){ f->logs, f->log_count, f->next, f->progress };
    return pass(f, q);
}

static enum err services(struct engine *e, const struct query_context *q, struct bytes **out_names,
                         size_t *out_count)
{
    struct fake_engine *f = begin(e);
    *out_names = f->services;
    *out_count = f->service_count;
    return pass(f, q);
}

static enum err operations(struct engine *e, const struct query_context *q, struct bytes service,
                           struct operation **out, size_t *out_count, uint64_t *out_rest_spans)
{
    struct fake_engine *f = begin(e);
    note_text(f->text, sizeof f->text, service);
    *out = f->operations;
    *out_count = f->operation_count;
    *out_rest_spans = f->operation_rest_spans;
    return pass(f, q);
}

static enum err attribute_keys(struct engine *e, const struct query_context *q, enum signal signal,
                               struct time_range range, struct bytes prefix, size_t limit,
                               struct attribute_key **out, size_t *out_count)
{
    struct fake_engine *f = begin(e);
    f->signal = signal;
    f->range = range;
    f->limit = limit;
    note_text(f->prefix, sizeof f->prefix, prefix);
    *out = f->keys;
    *out_count = f->key_count;
    return pass(f, q);
}

static enum err attribute_values(struct engine *e, const struct query_context *q,
                                 enum signal signal, enum expr_scope scope, struct bytes key,
                                 struct time_range range, const struct expr *filter,
                                 struct bytes prefix, size_t limit, struct attribute_value **out,
                                 size_t *out_count, struct find_progress *out_progress)
{
    struct fake_engine *f = begin(e);
    f->signal = signal;
    f->scope = scope;
    f->range = range;
    f->limit = limit;
    note_filter(f, filter);
    note_text(f->text, sizeof f->text, key);
    note_text(f->prefix, sizeof f->prefix, prefix);
    *out = f->values;
    *out_count = f->value_count;
    *out_progress = f->progress;
    return pass(f, q);
}

/* Of the query's arena, as an engine's are: the caller may change them. */
static enum err own(const struct query_context *q, struct histogram *h)
{
    struct histogram copy;
    histogram_init(&copy, q->arena);
    enum err e = histogram_merge(&copy, h);
    if (e == ERR_OK)
        *h = copy;
    return e;
}

/* Points begin where their steps do, as an engine's. */
static enum err own_red(const struct query_context *q, uint64_t step_ns, struct red_result *r)
{
    struct red_series *series = arena_alloc_array(q->arena, r->count, sizeof series[0]);
    enum err e = series == NULL ? arena_failure(q->arena) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < r->count; i++) {
        series[i] = r->series[i];
        struct red_point *points =
            arena_alloc_array(q->arena, series[i].points_count, sizeof points[0]);
        e = points == NULL ? arena_failure(q->arena) : ERR_OK;
        for (size_t k = 0; e == ERR_OK && k < series[i].points_count; k++) {
            points[k] = series[i].points[k];
            if (step_ns > 0)
                points[k].start_unix_ns -= points[k].start_unix_ns % step_ns;
            e = own(q, &points[k].duration);
        }
        series[i].points = points;
    }
    r->series = series;
    return e;
}

static enum err own_edges(const struct query_context *q, struct edge_result *r)
{
    struct edge *edges = arena_alloc_array(q->arena, r->count, sizeof edges[0]);
    enum err e = edges == NULL ? arena_failure(q->arena) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < r->count; i++) {
        edges[i] = r->edges[i];
        struct edge_point *points =
            arena_alloc_array(q->arena, edges[i].points_count, sizeof points[0]);
        e = points == NULL ? arena_failure(q->arena) : ERR_OK;
        for (size_t k = 0; e == ERR_OK && k < edges[i].points_count; k++) {
            points[k] = edges[i].points[k];
            e = own(q, &points[k].client);
            if (e == ERR_OK)
                e = own(q, &points[k].server);
        }
        edges[i].points = points;
    }
    r->edges = edges;
    return e;
}

static enum err red(struct engine *e, const struct query_context *q, const struct red_query *query,
                    struct red_result *out)
{
    struct fake_engine *f = begin(e);
    f->red_query = *query;
    note_text(f->text, sizeof f->text, query->service);
    *out = f->red;
    enum err failed = own_red(q, query->range.step_ns, out);
    enum err result = pass(f, q);
    return failed != ERR_OK ? failed : result;
}

static enum err edges(struct engine *e, const struct query_context *q,
                      const struct edge_query *query, struct edge_result *out)
{
    struct fake_engine *f = begin(e);
    f->edge_query = *query;
    *out = f->edges;
    enum err failed = own_edges(q, out);
    enum err result = pass(f, q);
    return failed != ERR_OK ? failed : result;
}

static enum err partitions(struct engine *e, const struct query_context *q,
                           struct stored_partition **out, size_t *out_count)
{
    *out = NULL;
    *out_count = 0;
    return pass(begin(e), q);
}

static void watch(struct engine *e, stored_fn *on_stored, void *context)
{
    (void)e; /* nothing is stored */
    (void)on_stored;
    (void)context;
}

static enum err cleaned_names(struct engine *e, const struct query_context *q,
                              struct derived_cleaned **out, size_t *out_count)
{
    struct fake_engine *f = begin(e);
    *out = f->cleaned;
    *out_count = f->cleaned_count;
    return pass(f, q);
}

static void statistics(struct engine *e, struct engine_statistics *out)
{
    *out = fake(e)->statistics;
}

void fake_engine_init(struct fake_engine *f)
{
    static const struct engine_ops ops = {
        .trace_get = trace_get,
        .trace_logs = trace_logs,
        .trace_walk = trace_walk,
        .rows_scan = rows_scan,
        .rows_sample = rows_sample,
        .span_trace = span_trace,
        .traces_find = traces_find,
        .logs_find = logs_find,
        .services = services,
        .operations = operations,
        .attribute_keys = attribute_keys,
        .attribute_values = attribute_values,
        .red = red,
        .edges = edges,
        .partitions = partitions,
        .watch = watch,
        .cleaned_names = cleaned_names,
        .statistics = statistics,
    };
    *f = (struct fake_engine){ .engine = { .ops = &ops } };
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
}

void fake_engine_deinit(struct fake_engine *f)
{
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

bool fake_engine_wait_inside(struct fake_engine *f, unsigned count)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&f->lock);
    int failure = 0;
    while (f->inside != count && failure == 0)
        failure = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    bool reached = f->inside == count;
    pthread_mutex_unlock(&f->lock);
    return reached;
}
