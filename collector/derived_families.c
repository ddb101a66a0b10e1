/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/derived_families.h"

#include <assert.h>
#include <math.h>

#define LABELS_MAX    12
#define EXEMPLARS_MAX 2

/* ---- Units and buckets ---- */

struct unit {
    unsigned decimals; /* of a nanosecond: 6 in milliseconds, 9 in seconds */
    double ns;         /* in one */
};
static const struct unit seconds = { 9, 1e9 };

static const struct exposition_number collector_ms[] = {
    { 2, 0 },    { 4, 0 },    { 6, 0 },     { 8, 0 },     { 10, 0 },   { 50, 0 },
    { 100, 0 },  { 200, 0 },  { 400, 0 },   { 800, 0 },   { 1000, 0 }, { 1400, 0 },
    { 2000, 0 }, { 5000, 0 }, { 10000, 0 }, { 15000, 0 },
};
static const struct exposition_number collector_s[] = {
    { 2, 3 }, { 4, 3 }, { 6, 3 }, { 8, 3 },  { 1, 2 }, { 5, 2 }, { 1, 1 },  { 2, 1 },
    { 4, 1 }, { 8, 1 }, { 1, 0 }, { 14, 1 }, { 2, 0 }, { 5, 0 }, { 10, 0 }, { 15, 0 },
};
static const struct exposition_number tempo_span_s[] = {
    { 2, 3 },   { 4, 3 },   { 8, 3 },    { 16, 3 },   { 32, 3 },   { 64, 3 },   { 128, 3 },
    { 256, 3 }, { 512, 3 }, { 1024, 3 }, { 2048, 3 }, { 4096, 3 }, { 8192, 3 }, { 16384, 3 },
};
static const struct exposition_number tempo_edge_s[] = {
    { 1, 1 }, { 2, 1 }, { 4, 1 }, { 8, 1 }, { 16, 1 }, { 32, 1 }, { 64, 1 }, { 128, 1 },
};
#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])

/* ---- Histograms ---- */

struct shown {
    struct exposition_histogram h;
    struct exposition_native native;
    uint64_t counts[EXPOSITION_BOUNDS_MAX + 1];
    int32_t indices[NATIVE_BUCKETS_MAX];
    uint64_t native_counts[NATIVE_BUCKETS_MAX];
    struct exposition_exemplar exemplars[EXEMPLARS_MAX];
};

static void show_classic(struct shown *s, const struct exposition_family *f, struct unit unit,
                         const struct histogram *h)
{
    double bounds[EXPOSITION_BOUNDS_MAX];
    uint64_t at_most[EXPOSITION_BOUNDS_MAX], before = 0;
    for (size_t i = 0; i < f->bounds_count; i++)
        bounds[i] = exposition_number_double(f->bounds[i]) * unit.ns;
    histogram_cumulate(h, bounds, f->bounds_count, at_most);
    for (size_t i = 0; i < f->bounds_count; i++) {
        s->counts[i] = at_most[i] - before;
        before = at_most[i];
    }
    s->counts[f->bounds_count] = h->count - before;
    s->h.counts = s->counts;
}

/* The finest scale at which the window has few enough buckets. */
static int8_t scale_that_fits(const struct histogram *h)
{
    int32_t last = h->first + (int32_t)h->length - 1;
    int8_t scale = h->scale;
    while ((last >> (h->scale - scale)) - (h->first >> (h->scale - scale)) >= NATIVE_BUCKETS_MAX)
        scale--;
    return scale;
}

/* From buckets of nanoseconds to those of the unit: as many lower as the unit is long, which is a whole
 * number but for less than half a bucket; so before they are made coarser. Prometheus counts them by
 * the upper bound. */
static enum err show_native(struct shown *s, struct unit unit, const struct histogram *from)
{
    struct histogram h = *from; /* of an arena, so that both may keep the same counts */
    assert(h.arena != NULL || h.length == 0);
    h.first -= (int32_t)lround(log2(unit.ns) * exp2(h.scale));
    enum err e = histogram_downscale(&h, scale_that_fits(&h));
    if (e != ERR_OK)
        return e;
    s->native = (struct exposition_native){ .schema = h.scale,
                                            .zero_count = h.zero_count,
                                            .zero_threshold = 0x1p-128,
                                            .indices = s->indices,
                                            .counts = s->native_counts };
    for (uint32_t i = 0; i < h.length; i++) {
        uint64_t n = histogram_at(&h, i);
        if (n == 0)
            continue;
        assert(s->native.length < NATIVE_BUCKETS_MAX);
        s->indices[s->native.length] = h.first + (int32_t)i + 1;
        s->native_counts[s->native.length++] = n;
    }
    s->h.native = &s->native;
    return ERR_OK;
}

static struct exposition_exemplar exemplar(const struct derived_exemplar *x, struct unit unit,
                                           bool is_tempo)
{
    struct exposition_exemplar to = { .trace_label = is_tempo ? "traceID" : "trace_id",
                                      .has_span_id = !is_tempo,
                                      .value = { x->duration_ns, unit.decimals },
                                      .unix_ns = x->start_unix_ns };
    memcpy(to.trace_id, x->trace_id.b, sizeof to.trace_id);
    memcpy(to.span_id, x->span_id.b, sizeof to.span_id);
    return to;
}

/* The newest, and the slowest: by value. */
static void show_exemplars(struct shown *s, struct unit unit, bool is_tempo,
                           const struct derived_exemplar *newest,
                           const struct derived_exemplar *slowest)
{
    bool is_same = newest->is_set && slowest->is_set &&
                   memcmp(newest->span_id.b, slowest->span_id.b, sizeof newest->span_id.b) == 0 &&
                   memcmp(newest->trace_id.b, slowest->trace_id.b, sizeof newest->trace_id.b) == 0;
    s->h.exemplars = s->exemplars;
    if (newest->is_set)
        s->exemplars[s->h.exemplars_count++] = exemplar(newest, unit, is_tempo);
    if (slowest->is_set && !is_same &&
        (!newest->is_set || slowest->duration_ns > newest->duration_ns))
        s->exemplars[s->h.exemplars_count++] = exemplar(slowest, unit, is_tempo);
}

static void write_durations(struct exposition *e, const struct exposition_family *f,
                            const struct exposition_label *labels, size_t count, struct unit unit,
                            const struct histogram *h, struct shown *s)
{
    s->h.count = h->count;
    s->h.sum = (struct exposition_number){ h->sum, unit.decimals };
    show_classic(s, f, unit, h);
    enum err failed = e->format == EXPOSITION_PROTOBUF ? show_native(s, unit, h) : ERR_OK;
    if (failed != ERR_OK && e->error == ERR_OK)
        e->error = failed;
    exposition_histogram(e, labels, count, &s->h);
}

/* ---- Spans ---- */

struct span_style {
    const char *service_label;
    struct exposition_family calls, duration, size; /* size: without a name, not shown */
    struct unit unit;
    bool is_tempo;
};

static const struct span_style collector_spans = {
    .service_label = "service_name",
    .calls = { .name = "traces_span_metrics_calls_total",
               .help = "Spans by service, name, kind and status.",
               .type = EXPOSITION_COUNTER },
    .duration = { .name = "traces_span_metrics_duration_milliseconds",
                  .help = "Durations of spans by service, name, kind and status.",
                  .unit = "milliseconds",
                  .type = EXPOSITION_HISTOGRAM,
                  .bounds = collector_ms,
                  .bounds_count = COUNT_OF(collector_ms) },
    .unit = { 6, 1e6 },
};
static const struct span_style tempo_spans = {
    .service_label = "service",
    .calls = { .name = "traces_spanmetrics_calls_total",
               .help = "Spans by service, name, kind and status.",
               .type = EXPOSITION_COUNTER },
    .duration = { .name = "traces_spanmetrics_latency",
                  .help = "Durations of spans in seconds by service, name, kind and status.",
                  .type = EXPOSITION_HISTOGRAM,
                  .bounds = tempo_span_s,
                  .bounds_count = COUNT_OF(tempo_span_s) },
    .size = { .name = "traces_spanmetrics_size_total",
              .help = "Bytes of spans as OTLP by service, name, kind and status.",
              .type = EXPOSITION_COUNTER },
    .unit = { 9, 1e9 },
    .is_tempo = true,
};

static size_t span_labels(const struct span_style *style, const struct red_total *t,
                          struct exposition_label *labels)
{
    static const char *const kinds[] = { "SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL",
                                         "SPAN_KIND_SERVER",      "SPAN_KIND_CLIENT",
                                         "SPAN_KIND_PRODUCER",    "SPAN_KIND_CONSUMER" };
    static const char *const statuses[] = { "STATUS_CODE_UNSET", "STATUS_CODE_OK",
                                            "STATUS_CODE_ERROR" };
    size_t n = 0;
    labels[n++] = (struct exposition_label){ style->service_label, t->service };
    labels[n++] = (struct exposition_label){ "span_name", t->name };
    labels[n++] =
        (struct exposition_label){ "span_kind", bytes_text(kinds[t->kind <= 5 ? t->kind : 0]) };
    labels[n++] = (struct exposition_label){ "status_code",
                                             bytes_text(statuses[t->status <= 2 ? t->status : 0]) };
    labels[n++] = (struct exposition_label){ "service_namespace", t->namespace };
    labels[n++] = (struct exposition_label){ "deployment_environment_name", t->environment };
    return n;
}

static void write_spans(struct exposition *e, const struct span_style *style,
                        const struct derived_totals *totals)
{
    struct exposition_label labels[LABELS_MAX];
    exposition_family(e, &style->calls);
    for (size_t i = 0; i < totals->series_count; i++) {
        const struct red_total *t = &totals->series[i];
        size_t count = span_labels(style, t, labels);
        exposition_value(e, labels, count, (struct exposition_number){ t->calls, 0 }, NULL);
    }
    if (style->size.name != NULL) {
        exposition_family(e, &style->size);
        for (size_t i = 0; i < totals->series_count; i++) {
            const struct red_total *t = &totals->series[i];
            size_t count = span_labels(style, t, labels);
            exposition_value(e, labels, count, (struct exposition_number){ t->bytes, 0 }, NULL);
        }
    }
    exposition_family(e, &style->duration);
    for (size_t i = 0; i < totals->series_count; i++) {
        const struct red_total *t = &totals->series[i];
        struct shown s = { 0 };
        size_t count = span_labels(style, t, labels);
        show_exemplars(&s, style->unit, style->is_tempo, &t->newest, &t->slowest);
        write_durations(e, &style->duration, labels, count, style->unit, &t->duration, &s);
    }
}

/* ---- Edges ---- */

/* Messages are the pairs of producer and consumer: the queue between them is no service. */
static bool is_shown(const struct edge_total *x)
{
    return x->client.kind != NODE_QUEUE && x->server.kind != NODE_QUEUE;
}

static size_t edge_labels(const struct edge_total *x, struct exposition_label *labels)
{
    size_t n = 0;
    labels[n++] = (struct exposition_label){ "client", x->client.name };
    labels[n++] = (struct exposition_label){ "server", x->server.name };
    labels[n++] =
        (struct exposition_label){ "connection_type", bytes_text(connection_type_text(x->type)) };
    labels[n++] = (struct exposition_label){ "client_service_namespace", x->client.namespace };
    labels[n++] = (struct exposition_label){ "server_service_namespace", x->server.namespace };
    labels[n++] =
        (struct exposition_label){ "client_deployment_environment_name", x->client.environment };
    labels[n++] =
        (struct exposition_label){ "server_deployment_environment_name", x->server.environment };
    labels[n++] = (struct exposition_label){ "server_db_system_name",
                                             x->server.kind == NODE_DATABASE ? x->server.system
                                                                             : BYTES_LITERAL("") };
    labels[n++] = (struct exposition_label){ "messaging_destination_name", x->via };
    return n;
}

/* failed: NULL, or the label's value, which Tempo does not have. */
static void write_edge_count(struct exposition *e, const struct edge_total *x, const char *failed,
                             uint64_t calls)
{
    struct exposition_label labels[LABELS_MAX];
    size_t count = edge_labels(x, labels);
    if (failed != NULL)
        labels[count++] = (struct exposition_label){ "failed", bytes_text(failed) };
    exposition_value(e, labels, count, (struct exposition_number){ calls, 0 }, NULL);
}

/* Both values from the beginning: a counter that comes into being at 1 has no rate of its first. */
static void write_edge_calls(struct exposition *e, const struct derived_totals *totals,
                             const struct exposition_family *family, bool is_tempo)
{
    exposition_family(e, family);
    for (size_t i = 0; i < totals->edges_count; i++) {
        const struct edge_total *x = &totals->edges[i];
        if (!is_shown(x))
            continue;
        assert(x->failed <= x->calls);
        write_edge_count(e, x, is_tempo ? NULL : "false", x->calls - (is_tempo ? 0 : x->failed));
        if (!is_tempo)
            write_edge_count(e, x, "true", x->failed);
    }
}

static void write_edge_failures(struct exposition *e, const struct derived_totals *totals,
                                const struct exposition_family *family, bool is_tempo)
{
    exposition_family(e, family);
    for (size_t i = 0; i < totals->edges_count; i++)
        if (is_shown(&totals->edges[i]))
            write_edge_count(e, &totals->edges[i], is_tempo ? NULL : "true",
                             totals->edges[i].failed);
}

/* A side that sent no spans has the durations of the other: who draws edges by what the server saw has
 * databases and users too. */
static void write_edge_durations(struct exposition *e, const struct derived_totals *totals,
                                 const struct exposition_family *family, bool is_client,
                                 bool is_tempo)
{
    static const struct derived_exemplar none;
    struct exposition_label labels[LABELS_MAX];
    exposition_family(e, family);
    for (size_t i = 0; i < totals->edges_count; i++) {
        const struct edge_total *x = &totals->edges[i];
        const struct histogram *h = is_client ? &x->client_duration : &x->server_duration;
        const struct histogram *other = is_client ? &x->server_duration : &x->client_duration;
        struct shown s = { 0 };
        if (!is_shown(x))
            continue;
        size_t count = edge_labels(x, labels);
        show_exemplars(&s, seconds, is_tempo, &x->newest, &none);
        write_durations(e, family, labels, count, seconds, h->count > 0 ? h : other, &s);
    }
}

static const struct exposition_family edge_calls = {
    .name = "traces_service_graph_request_total",
    .help = "Calls between two services.",
    .type = EXPOSITION_COUNTER,
};
static const struct exposition_family edge_failed = {
    .name = "traces_service_graph_request_failed_total",
    .help = "Calls between two services that either side ended with status error.",
    .type = EXPOSITION_COUNTER,
};
#define EDGE_DURATIONS(side, buckets)                                                              \
    {                                                                                              \
        .name = "traces_service_graph_request_" side "_seconds",                                   \
        .help = "Durations of calls as the " side " saw them.", .unit = "seconds",                 \
        .type = EXPOSITION_HISTOGRAM, .bounds = (buckets), .bounds_count = COUNT_OF(buckets)       \
    }
static const struct exposition_family edge_durations[2][2] = {
    { EDGE_DURATIONS("server", collector_s), EDGE_DURATIONS("client", collector_s) },
    { EDGE_DURATIONS("server", tempo_edge_s), EDGE_DURATIONS("client", tempo_edge_s) },
};

static void write_edges(struct exposition *e, const struct derived_totals *totals, bool is_tempo)
{
    write_edge_calls(e, totals, &edge_calls, is_tempo);
    write_edge_failures(e, totals, &edge_failed, is_tempo);
    write_edge_durations(e, totals, &edge_durations[is_tempo][0], false, is_tempo);
    write_edge_durations(e, totals, &edge_durations[is_tempo][1], true, is_tempo);
}

void derived_families_write(struct exposition *e, enum span_metrics which,
                            const struct derived_totals *totals)
{
    if (which == SPAN_METRICS_NONE)
        return;
    if (which != SPAN_METRICS_TEMPO)
        write_spans(e, &collector_spans, totals);
    if (which != SPAN_METRICS_COLLECTOR)
        write_spans(e, &tempo_spans, totals);
    write_edges(e, totals, which == SPAN_METRICS_TEMPO);
}
