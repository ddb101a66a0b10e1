/* SPDX-License-Identifier: Apache-2.0 */
/* How the server is doing, from its own metrics and the engine's statistics: what a person who looks after it
 * asks first. */
#include "query/native.h"

#include "base/metrics.h"

/* ---- Stages ---- */

/* A histogram of the registry, or several with one name, as one. */
struct stage {
    const char *name, *metric;
    uint64_t count;
    uint64_t buckets[METRIC_BUCKETS];
};

static void stage_add(struct stage *s, const struct metric *m)
{
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&m->buckets[i], memory_order_relaxed);
        s->buckets[i] += n;
        s->count += n;
    }
}

/* The bound of a bucket: 2^(first + i/4) seconds. */
static double bound_ns(size_t bucket)
{
    static const double parts[METRIC_BUCKETS_PER_DOUBLING] = { 1, 1.189207115002721,
                                                               1.4142135623730951,
                                                               1.681792830507429 };
    double ns = 1e9 / (double)(UINT64_C(1) << -METRIC_BUCKETS_FIRST_LOG2) *
                parts[bucket % METRIC_BUCKETS_PER_DOUBLING];
    for (size_t i = 0; i < bucket / METRIC_BUCKETS_PER_DOUBLING; i++)
        ns *= 2;
    return ns;
}

static void write_quantile(struct json_writer *j, const char *key, const struct stage *s,
                           unsigned percent)
{
    uint64_t wanted = (s->count * percent + 99) / 100, seen = 0;
    size_t i = 0;
    json_key(j, key);
    if (s->count == 0) {
        json_null(j);
        return;
    }
    while (i + 1 < METRIC_BUCKETS && (seen += s->buckets[i]) < wanted)
        i++;
    json_u64(j, (uint64_t)bound_ns(i));
}

static void write_stage(struct json_writer *j, const struct stage *s)
{
    json_object_begin(j);
    json_key(j, "name");
    json_text(j, s->name);
    native_write_count(j, "count", s->count);
    write_quantile(j, "p50_ns", s, 50);
    write_quantile(j, "p95_ns", s, 95);
    write_quantile(j, "p99_ns", s, 99);
    json_object_end(j);
}

/* ---- The registry ---- */

/* Counters of things that were refused, left out or changed. */
static const struct {
    const char *metric, *what;
} drop_metrics[] = {
    { "spindle_otlp_requests_refused_total", "requests refused" },
    { "spindle_otlp_items_rejected_total", "items rejected" },
    { "spindle_otlp_items_warned_total", "items changed" },
    { "spindle_storage_refused_total", "requests not stored" },
    { "spindle_net_limit_total", "requests refused or connections closed early" },
    { "spindle_auth_refused_total", "credentials refused" },
    { "spindle_expired_items_total", "items expired" },
    { "spindle_storage_damaged_total", "damage found" },
};
#define DROP_METRICS (sizeof drop_metrics / sizeof drop_metrics[0])

enum { STAGE_ACKNOWLEDGE, STAGE_COMMIT, STAGE_BUILD, STAGE_QUERY, STAGE_COUNT };
#define RECEIVERS_MAX 8

struct registry {
    struct call *c;
    struct stage stages[STAGE_COUNT];
    uint64_t receivers[RECEIVERS_MAX]; /* requests, by endpoint */
    uint64_t spans_stored, logs_stored, refused, in_flight, pending_bytes;
};

/* The value of a label in `a="b",c="d"`, whose values hold no quotes. */
static struct bytes label_of(const struct metric *m, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = m->labels; at != NULL && *at != '\0';) {
        const char *value = strstr(at, "=\"");
        if (value == NULL)
            break;
        const char *end = strchr(value + 2, '"');
        if (end == NULL)
            break;
        if ((size_t)(value - at) == len && memcmp(at, name, len) == 0)
            return bytes_of(value + 2, (size_t)(end - value - 2));
        at = end[1] == ',' ? end + 2 : end + 1;
    }
    return (struct bytes){ 0 };
}

static void count_receiver(struct registry *r, const struct metric *m)
{
    const struct query_facts *f = r->c->facts;
    for (size_t i = 0; i < f->endpoint_count && i < RECEIVERS_MAX; i++)
        if (bytes_equal_text(label_of(m, "listener"), f->endpoints[i].name))
            r->receivers[i] += metric_value(m);
}

static void count_metric(void *context, const struct metric *m)
{
    struct registry *r = context;
    for (size_t i = 0; i < STAGE_COUNT; i++)
        if (m->buckets != NULL && strcmp(m->name, r->stages[i].metric) == 0)
            stage_add(&r->stages[i], m);
    if (strcmp(m->name, "spindle_net_requests_total") == 0)
        count_receiver(r, m);
    else if (strcmp(m->name, "spindle_otlp_items_stored_total") == 0)
        *(bytes_equal_text(label_of(m, "signal"), "traces") ? &r->spans_stored : &r->logs_stored) +=
            metric_value(m);
    else if (strcmp(m->name, "spindle_otlp_requests_refused_total") == 0)
        r->refused += metric_value(m);
    else if (strcmp(m->name, "spindle_otlp_requests_in_flight") == 0)
        r->in_flight = metric_value(m);
    else if (strcmp(m->name, "spindle_storage_pending_bytes") == 0)
        r->pending_bytes = metric_value(m);
}

/* Its reason, or whatever its label is that tells one from the other. */
static struct bytes reason_of(const struct metric *m)
{
    struct bytes reason = label_of(m, "reason");
    return reason.len > 0 ? reason : label_of(m, "what");
}

static void write_drop(void *context, const struct metric *m)
{
    struct registry *r = context;
    struct json_writer *j = &r->c->json;
    for (size_t i = 0; i < DROP_METRICS; i++) {
        if (strcmp(m->name, drop_metrics[i].metric) != 0 || metric_value(m) == 0)
            continue;
        json_object_begin(j);
        json_key(j, "what");
        json_text(j, drop_metrics[i].what);
        native_write_text(j, "signal", label_of(m, "signal"));
        native_write_text(j, "reason", reason_of(m));
        native_write_count(j, "count", metric_value(m));
        json_object_end(j);
    }
}

/* ---- Writing ---- */

static void write_receivers(struct json_writer *j, const struct registry *r)
{
    const struct query_facts *f = r->c->facts;
    json_key(j, "receivers");
    json_array_begin(j);
    for (size_t i = 0; i < f->endpoint_count && i < RECEIVERS_MAX; i++) {
        json_object_begin(j);
        json_key(j, "name");
        json_text(j, f->endpoints[i].name);
        json_key(j, "url");
        json_text(j, f->endpoints[i].url);
        native_write_count(j, "requests", r->receivers[i]);
        json_object_end(j);
    }
    json_array_end(j);
}

static void write_ingest(struct json_writer *j, const struct registry *r)
{
    json_key(j, "ingest");
    json_object_begin(j);
    native_write_count(j, "spans_stored", r->spans_stored);
    native_write_count(j, "logs_stored", r->logs_stored);
    native_write_count(j, "requests_refused", r->refused);
    native_write_count(j, "requests_in_flight", r->in_flight);
    json_object_end(j);
}

static void write_queue(struct json_writer *j, const char *name, uint64_t used, uint64_t max,
                        const char *unit)
{
    json_object_begin(j);
    json_key(j, "name");
    json_text(j, name);
    native_write_count(j, "used", used);
    json_key(j, "max");
    if (max == 0)
        json_null(j);
    else
        json_u64(j, max);
    json_key(j, "unit");
    json_text(j, unit);
    json_object_end(j);
}

static void write_queues(struct json_writer *j, const struct registry *r,
                         const struct engine_statistics *s)
{
    const struct budget *queries = r->c->options->budget;
    json_key(j, "queues");
    json_array_begin(j);
    write_queue(j, "requests in flight", r->in_flight, 0, "requests");
    write_queue(j, "journal, not yet in row groups", s->journal_items, 0, "items");
    write_queue(j, "the same in memory", r->pending_bytes, 0, "bytes");
    if (queries != NULL)
        write_queue(j, "memory of queries", budget_used(queries), queries->limit_bytes, "bytes");
    json_array_end(j);
}

static void write_partitions(struct json_writer *j, const struct stored_partition *list,
                             size_t count)
{
    json_key(j, "partitions");
    json_array_begin(j);
    for (size_t i = 0; i < count; i++) {
        const struct stored_partition *p = &list[i];
        json_object_begin(j);
        native_write_count(j, "id", p->id);
        json_key(j, "state");
        json_text(j, p->state);
        native_write_count(j, "bytes", p->bytes);
        json_key(j, "min");
        if (p->row_groups == 0)
            json_null(j);
        else
            json_u64_string(j, p->start_min_unix_ns);
        json_key(j, "max");
        if (p->row_groups == 0)
            json_null(j);
        else
            json_u64_string(j, p->start_max_unix_ns);
        native_write_count(j, "row_groups", p->row_groups);
        json_key(j, "damaged");
        json_bool(j, p->is_damaged);
        json_object_end(j);
    }
    json_array_end(j);
}

static void write_status(struct call *c, struct registry *r, const struct engine_statistics *s)
{
    struct json_writer *j = &c->json;
    native_write_ns(j, "server_time", clock_unix_ns());
    native_write_ns(j, "started_at", c->options->started_unix_ns);
    json_key(j, "version");
    json_text(j, c->options->version);
    write_receivers(j, r);
    write_ingest(j, r);
    write_queues(j, r, s);
    json_key(j, "stages");
    json_array_begin(j);
    for (size_t i = 0; i < STAGE_COUNT; i++)
        write_stage(j, &r->stages[i]);
    json_array_end(j);
    json_key(j, "drops");
    json_array_begin(j);
    if (c->options->metrics != NULL)
        metrics_each(c->options->metrics, write_drop, r);
    json_array_end(j);
    native_write_stored(j, "storage", s);
}

enum err native_status(struct call *c)
{
    static const char *const known[] = { NULL };
    struct engine_statistics s = { 0 };
    struct stored_partition *partitions = NULL;
    size_t count = 0;
    struct registry *r = NULL;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK) {
        r = arena_alloc_array(&c->arena, 1, sizeof *r); /* too large for a stack */
        e = r == NULL ? arena_failure(&c->arena) : ERR_OK;
    }
    if (e == ERR_OK)
        e = engine_partitions(c->options->engine, &c->context, &partitions, &count);
    if (e != ERR_OK)
        return e;
    r->c = c;
    r->stages[STAGE_ACKNOWLEDGE].name = "acknowledge";
    r->stages[STAGE_ACKNOWLEDGE].metric = "spindle_ack_duration_seconds";
    r->stages[STAGE_COMMIT].name = "commit";
    r->stages[STAGE_COMMIT].metric = "spindle_commit_duration_seconds";
    r->stages[STAGE_BUILD].name = "build";
    r->stages[STAGE_BUILD].metric = "spindle_build_duration_seconds";
    r->stages[STAGE_QUERY].name = "query";
    r->stages[STAGE_QUERY].metric = "spindle_query_duration_seconds";
    if (c->options->metrics != NULL)
        metrics_each(c->options->metrics, count_metric, r);
    engine_statistics(c->options->engine, &s);
    json_object_begin(&c->json);
    write_status(c, r, &s);
    write_partitions(&c->json, partitions, count);
    native_write_end(c, NULL, 1, NULL, NULL);
    json_object_end(&c->json);
    return ERR_OK;
}
