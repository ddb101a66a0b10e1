/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/collector_private.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>

#define REQUEST_BYTES_MAX (64 * 1024 * 1024) /* OTLP's recommended default */
#define HOLD_NS           (2 * NS_PER_S)     /* clients give up at 10 s */

#define SERVICE_PREFIX "/opentelemetry.proto.collector."

static const char *const export_grpc_paths[SIGNAL_COUNT] = {
    [SIGNAL_TRACES] = SERVICE_PREFIX "trace.v1.TraceService/Export",
    [SIGNAL_LOGS] = SERVICE_PREFIX "logs.v1.LogsService/Export",
};
static const char *const export_http_paths[SIGNAL_COUNT] = {
    [SIGNAL_TRACES] = "/v1/traces",
    [SIGNAL_LOGS] = "/v1/logs",
};

static const char *const transport_names[TRANSPORT_COUNT] = {
    [TRANSPORT_GRPC] = "grpc", [TRANSPORT_HTTP] = "http"
};
static const char *const encoding_names[ENCODING_COUNT] = {
    [ENCODING_PROTOBUF] = "protobuf", [ENCODING_JSON] = "json"
};

/* A counter with the labels `signal` and, unless NULL, another. */
static struct metric *counter(struct metrics *m, const char *name, enum signal signal,
                              const char *label, const char *value, const char *help)
{
    char labels[128];
    if (label == NULL)
        snprintf(labels, sizeof labels, "signal=\"%s\"", signal_name(signal));
    else
        snprintf(labels, sizeof labels, "signal=\"%s\",%s=\"%s\"", signal_name(signal), label,
                 value);
    return metrics_counter(m, name, labels, help);
}

static void count_transports(struct metrics *m, enum signal signal, struct export_metrics *out)
{
    char labels[128];
    for (int t = 0; t < TRANSPORT_COUNT; t++) {
        snprintf(labels, sizeof labels, "signal=\"%s\",transport=\"%s\"", signal_name(signal),
                 transport_names[t]);
        out->acknowledged[t] =
            metrics_histogram(m, "spindle_ack_duration_seconds", labels,
                              "Time from a complete OTLP request to its acknowledgement.");
        for (int n = 0; n < ENCODING_COUNT; n++) {
            if (t == TRANSPORT_GRPC && n == ENCODING_JSON)
                continue;
            snprintf(labels, sizeof labels, "signal=\"%s\",transport=\"%s\",encoding=\"%s\"",
                     signal_name(signal), transport_names[t], encoding_names[n]);
            out->requests[t][n] =
                metrics_counter(m, "spindle_otlp_requests_total", labels,
                                "OTLP export requests that reached the collector.");
        }
        for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
            snprintf(labels, sizeof labels, "signal=\"%s\",transport=\"%s\",reason=\"%s\"",
                     signal_name(signal), transport_names[t], answer_reason((enum err)e));
            out->refused[t][e] = metrics_counter(m, "spindle_otlp_requests_refused_total", labels,
                                                 "OTLP export requests refused as a whole.");
        }
    }
}

static void count_signal(struct metrics *m, enum signal signal, struct export_metrics *out)
{
    count_transports(m, signal, out);
    for (int codec = 0; codec < CODEC_COUNT; codec++)
        out->received_bytes[codec] =
            counter(m, "spindle_otlp_received_bytes_total", signal, "compression",
                    codec_name((enum codec)codec), "Bytes of requests as they were received.");
    out->decoded_bytes = counter(m, "spindle_otlp_decoded_bytes_total", signal, NULL, NULL,
                                 "Bytes of requests after decompression.");
    out->requests_held =
        counter(m, "spindle_otlp_requests_held_total", signal, NULL, NULL,
                "Requests that waited because the store was busy, whatever became of them.");
    out->requests_resent =
        counter(m, "spindle_otlp_requests_resent_total", signal, NULL, NULL,
                "Requests equal to an acknowledged one: acknowledged again, not stored again.");
    out->requests_rewritten =
        counter(m, "spindle_otlp_requests_rewritten_total", signal, NULL, NULL,
                "Requests stored in canonical form because of rejected, cut or split parts.");
    out->items_stored = counter(m, "spindle_otlp_items_stored_total", signal, NULL, NULL,
                                "Spans and log records made durable and acknowledged.");
    for (int i = 0; i < OTLP_REJECT_COUNT; i++)
        out->items_rejected[i] =
            counter(m, "spindle_otlp_items_rejected_total", signal, "reason",
                    otlp_reject_label((enum otlp_reject)i),
                    "Spans and log records rejected for good, their neighbours kept.");
    for (int i = 0; i < OTLP_WARN_COUNT; i++)
        out->items_warned[i] = counter(m, "spindle_otlp_items_warned_total", signal, "reason",
                                       otlp_warn_label((enum otlp_warn)i),
                                       "Things changed or noticed in items that were kept.");
    out->unknown_fields = counter(m, "spindle_otlp_unknown_fields_total", signal, NULL, NULL,
                                  "Protobuf fields of a newer OTLP than this program knows.");
}

enum err collector_open(const struct collector_options *options, struct collector **out)
{
    assert(options->engine != NULL && options->request_key != NULL);
    struct collector *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->engine = options->engine;
    c->metrics = options->metrics;
    c->limits = options->limits;
    c->request_key = *options->request_key;
    c->request_bytes_max =
        options->request_bytes_max == 0 ? REQUEST_BYTES_MAX : options->request_bytes_max;
    c->hold_ns = options->hold_ns == 0 ? HOLD_NS : options->hold_ns;
    c->version = options->version == NULL ? "" : options->version;
    c->span_metrics = options->span_metrics;
    c->started_unix_ns = clock_unix_ns();
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        c->routes[s] = (struct export_route){ .collector = c, .signal = (enum signal)s };
        count_signal(c->metrics, (enum signal)s, &c->counted[s]);
    }
    c->in_flight = metrics_gauge(c->metrics, "spindle_otlp_requests_in_flight", NULL,
                                 "OTLP export requests between their arrival and their answer.");
    c->watchers_refused = metrics_counter(c->metrics, "spindle_health_watchers_refused_total", NULL,
                                          "Health watch streams over the limit.");
    atomic_init(&c->state, COLLECTOR_STARTING);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->is_idle, NULL);
    enum err e = metrics_page_open(c);
    if (e != ERR_OK) {
        collector_close(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

/* Telemetry of other kinds is refused in words, so that nobody looks for a mistake of his own. */
static void on_unknown_method(struct exchange *x, void *context)
{
    (void)context;
    struct bytes path = exchange_request(x)->path;
    static const char sentence[] = "Spindle receives traces and logs; it has no ";
    struct buffer message;
    buffer_init(&message, 1024);
    if (bytes_start_with(path, BYTES_LITERAL(SERVICE_PREFIX "metrics.")) ||
        bytes_equal_text(path, "/v1/metrics"))
        buffer_printf(&message, "%smetrics: switch their export off, or send them elsewhere",
                      sentence);
    else if (bytes_start_with(path, BYTES_LITERAL(SERVICE_PREFIX "profiles.")) ||
             bytes_equal_text(path, "/v1development/profiles"))
        buffer_printf(&message, "%sprofiles: switch their export off, or send them elsewhere",
                      sentence);
    else
        buffer_printf(&message, "%s%.*s", sentence, (int)(path.len < 200 ? path.len : 200),
                      (const char *)path.data);
    enum err e = exchange_request(x)->protocol == PROTOCOL_GRPC ? ERR_UNSUPPORTED : ERR_NOT_FOUND;
    answer_refusal(x, e, buffer_bytes(&message));
    buffer_deinit(&message);
}

enum err collector_add_otlp_routes(struct collector *c, struct router *r)
{
    enum err e = ERR_OK;
    for (int s = 0; s < SIGNAL_COUNT && e == ERR_OK; s++) {
        struct route route = { .kind = ROUTE_GRPC,
                               .method = HTTP_POST,
                               .path = export_grpc_paths[s],
                               .scope = SCOPE_WRITE,
                               .body_max = c->request_bytes_max,
                               .body_option = "--request-size-max",
                               .handler = export_handle,
                               .context = &c->routes[s] };
        e = router_add(r, &route);
        route.kind = ROUTE_HTTP;
        route.path = export_http_paths[s];
        route.consumes = "application/x-protobuf,application/json";
        if (e == ERR_OK)
            e = router_add(r, &route);
    }
    if (e == ERR_OK)
        e = health_add_grpc_routes(c, r);
    router_set_fallback(r, ROUTE_GRPC, on_unknown_method, c);
    router_set_fallback(r, ROUTE_HTTP, on_unknown_method, c);
    return e;
}

enum err collector_add_admin_routes(struct collector *c, struct router *r)
{
    enum err e = health_add_http_routes(c, r);
    return e == ERR_OK ? metrics_page_add_route(c, r) : e;
}

void collector_set_ready(struct collector *c, bool is_ready)
{
    enum collector_state state = collector_state(c);
    if (is_ready && state == COLLECTOR_STARTING)
        atomic_store_explicit(&c->state, COLLECTOR_READY, memory_order_release);
    else if (!is_ready && state == COLLECTOR_READY)
        atomic_store_explicit(&c->state, COLLECTOR_STOPPING, memory_order_release);
}

void collector_close(struct collector *c)
{
    if (c == NULL)
        return;
    atomic_store_explicit(&c->state, COLLECTOR_CLOSED, memory_order_release);
    export_abandon_held(c);
    scrapes_close(c->scrapes);
    pthread_mutex_lock(&c->lock);
    while (c->calls != 0)
        pthread_cond_wait(&c->is_idle, &c->lock);
    assert(c->held == NULL);
    pthread_mutex_unlock(&c->lock);
    pthread_cond_destroy(&c->is_idle);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}
