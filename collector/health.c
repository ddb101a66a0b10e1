/* SPDX-License-Identifier: Apache-2.0 */
/* Health, for orchestrators and load balancers: grpc.health.v1 and three HTTP paths.
 *
 * The server as a whole is well when it answers queries; the OTLP services are well when the store
 * also takes writes. So a full disk turns senders away and leaves the queries reachable. */
#include "collector/collector_private.h"

#include "base/json_writer.h"
#include "base/mem.h"
#include "proto/health.h"

#define WATCH_TICK_MS 500 /* how soon a watcher learns of a change, and we of its leaving */
#define WATCHERS_MAX                                                                               \
    256 /* one for each client of a busy installation; each costs two wake-ups a second */
#define REQUEST_MAX  1024 /* a service's name */
#define RESPONSE_MAX 4096

static const char *const services[] = {
    "", /* the server */
    "opentelemetry.proto.collector.trace.v1.TraceService",
    "opentelemetry.proto.collector.logs.v1.LogsService",
};
#define SERVICE_COUNT (sizeof services / sizeof services[0])

static size_t service_find(struct bytes name)
{
    size_t i = 0;
    while (i < SERVICE_COUNT && !bytes_equal_text(name, services[i]))
        i++;
    return i;
}

static enum health_status service_status(struct collector *c, size_t service)
{
    if (service == SERVICE_COUNT)
        return HEALTH_SERVICE_UNKNOWN;
    if (collector_state(c) != COLLECTOR_READY)
        return HEALTH_NOT_SERVING;
    if (service == 0)
        return HEALTH_SERVING;
    struct engine_statistics statistics;
    engine_statistics(c->engine, &statistics);
    return statistics.is_writable ? HEALTH_SERVING : HEALTH_NOT_SERVING;
}

/* ---- grpc.health.v1 ---- */

static bool read_service(struct exchange *x, size_t *out_service)
{
    struct bytes name;
    if (health_request_read(exchange_request(x)->body, &name) != ERR_OK) {
        answer_refusal(x, ERR_INVALID, BYTES_LITERAL("not a grpc.health.v1.HealthCheckRequest"));
        return false;
    }
    *out_service = service_find(name);
    return true;
}

static void on_check(struct exchange *x, void *context)
{
    struct collector *c = context;
    size_t service;
    if (!read_service(x, &service))
        return;
    if (service == SERVICE_COUNT) {
        answer_refusal(x, ERR_NOT_FOUND, BYTES_LITERAL("no such service"));
        return;
    }
    struct buffer body;
    buffer_init(&body, RESPONSE_MAX);
    health_response_encode(service_status(c, service), &body);
    exchange_respond_grpc(x, GRPC_OK, (struct bytes){ 0 }, (struct bytes){ 0 }, &body);
}

static void on_list(struct exchange *x, void *context)
{
    struct collector *c = context;
    struct buffer body;
    buffer_init(&body, RESPONSE_MAX);
    struct health_entry entries[SERVICE_COUNT];
    for (size_t i = 0; i < SERVICE_COUNT; i++)
        entries[i] =
            (struct health_entry){ .service = services[i], .status = service_status(c, i) };
    health_list_encode(entries, SERVICE_COUNT, &body);
    exchange_respond_grpc(x, GRPC_OK, (struct bytes){ 0 }, (struct bytes){ 0 }, &body);
}

struct watcher {
    struct collector *collector;
    struct exchange *x;
    size_t service;
    enum health_status told;
};

static void watcher_end(struct watcher *w, enum grpc_status status, const char *message)
{
    atomic_fetch_sub_explicit(&w->collector->watchers, 1, memory_order_relaxed);
    exchange_end(w->x, status, bytes_text(message));
    mem_free(w);
}

static enum err watcher_tell(struct watcher *w, enum health_status status)
{
    struct buffer piece;
    buffer_init(&piece, RESPONSE_MAX);
    health_response_encode(status, &piece);
    enum err e = buffer_error(&piece);
    if (e != ERR_OK) {
        buffer_deinit(&piece);
        return e;
    }
    e = exchange_write(w->x, &piece);
    if (e == ERR_OK)
        w->told = status;
    return e;
}

/* A watcher looks for itself, twice a second: that also notices a client that has left, and needs
 * neither a list nor a lock. */
static void on_watch_tick(void *context)
{
    struct watcher *w = context;
    enum health_status status = service_status(w->collector, w->service);
    enum err e = ERR_OK;
    if (atomic_load_explicit(exchange_cancelled(w->x), memory_order_relaxed))
        e = ERR_CANCELLED;
    else if (status != w->told)
        e = watcher_tell(w, status);

    if (e == ERR_CANCELLED)
        watcher_end(w, GRPC_CANCELLED, "");
    else if (collector_state(w->collector) >= COLLECTOR_STOPPING)
        watcher_end(w, GRPC_UNAVAILABLE, "the server is shutting down");
    else if (exchange_later(w->x, WATCH_TICK_MS, on_watch_tick, w) != ERR_OK)
        watcher_end(w, GRPC_UNAVAILABLE, err_text(ERR_NOMEM));
}

static void on_watch(struct exchange *x, void *context)
{
    struct collector *c = context;
    size_t service;
    if (!read_service(x, &service))
        return;
    struct watcher *w = NULL;
    if (atomic_fetch_add_explicit(&c->watchers, 1, memory_order_relaxed) < WATCHERS_MAX)
        w = mem_zalloc(sizeof *w);
    if (w == NULL) {
        atomic_fetch_sub_explicit(&c->watchers, 1, memory_order_relaxed);
        metric_add(c->watchers_refused, 1);
        answer_refusal(x, ERR_BUSY, BYTES_LITERAL("too many health watchers"));
        return;
    }
    *w = (struct watcher){ .collector = c, .x = x, .service = service, .told = HEALTH_UNKNOWN };
    const struct response head = { .status = 200, .content_type = "application/grpc" };
    exchange_begin(x, &head, NULL, NULL);
    on_watch_tick(w);
}

enum err health_add_grpc_routes(struct collector *c, struct router *r)
{
    static const struct {
        const char *path;
        route_handler_fn *handler;
    } methods[] = {
        { "/grpc.health.v1.Health/Check", on_check },
        { "/grpc.health.v1.Health/Watch", on_watch },
        { "/grpc.health.v1.Health/List", on_list },
    };
    enum err e = ERR_OK;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0] && e == ERR_OK; i++) {
        const struct route route = { .kind = ROUTE_GRPC,
                                     .method = HTTP_POST,
                                     .path = methods[i].path,
                                     .scope = SCOPE_OPEN,
                                     .body_max = REQUEST_MAX,
                                     .handler = methods[i].handler,
                                     .context = c };
        e = router_add(r, &route);
    }
    return e;
}

/* ---- HTTP ---- */

static const char *state_text(enum collector_state state)
{
    switch (state) {
    case COLLECTOR_STARTING:
        return "starting";
    case COLLECTOR_READY:
        return "ready";
    case COLLECTOR_STOPPING:
    case COLLECTOR_CLOSED:
        return "stopping";
    }
    return "";
}

static void respond_json(struct exchange *x, unsigned status, struct buffer *take_body)
{
    static const struct http_header fresh = { .name = BYTES_LITERAL("cache-control"),
                                              .value = BYTES_LITERAL("no-store") };
    const struct response head = {
        .status = status, .content_type = "application/json", .headers = &fresh, .header_count = 1
    };
    if (buffer_error(take_body) != ERR_OK)
        buffer_deinit(take_body);
    exchange_respond(x, &head, take_body);
}

static void respond_status(struct exchange *x, bool is_well, const char *text)
{
    struct buffer body;
    buffer_init(&body, RESPONSE_MAX);
    buffer_printf(&body, "{\"status\":\"%s\"}\n", text);
    respond_json(x, is_well ? 200 : 503, &body);
}

/* The process answers: that is all. A restart would not help against anything else. */
static void on_live(struct exchange *x, void *context)
{
    (void)context;
    respond_status(x, true, "live");
}

static void on_ready(struct exchange *x, void *context)
{
    enum collector_state state = collector_state(context);
    respond_status(x, state == COLLECTOR_READY, state_text(state));
}

static bool is_damaged(const struct engine_statistics *s)
{
    return s->partitions_damaged != 0 || s->row_groups_damaged != 0 || s->rollups_damaged != 0;
}

static void write_storage(const struct engine_statistics *s, struct json_writer *w)
{
    json_object_begin(w);
    json_key(w, "status");
    json_text(w, !s->is_writable ? "read-only" : is_damaged(s) ? "damaged" : "ok");
    if (!s->is_writable) {
        json_key(w, "reason");
        json_text(w, s->not_writable_reason == NULL ? "" : s->not_writable_reason);
    }
    json_key(w, "durable");
    json_bool(w, s->is_durable);
    json_key(w, "partitions");
    json_u64(w, s->partitions);
    json_key(w, "partitionsDamaged");
    json_u64(w, s->partitions_damaged);
    json_key(w, "rowGroupsDamaged");
    json_u64(w, s->row_groups_damaged);
    json_key(w, "rollupsDamaged");
    json_u64(w, s->rollups_damaged);
    json_key(w, "journalBytes");
    json_u64(w, s->journal_bytes);
    json_key(w, "diskBytes");
    json_u64(w, s->disk_bytes);
    json_key(w, "disk");
    json_object_begin(w);
    json_key(w, "status");
    json_text(w, disk_state_text(s->disk_state));
    json_key(w, "freeBytes");
    json_u64(w, s->disk_free_bytes);
    json_object_end(w);
    json_object_end(w);
}

static void on_health(struct exchange *x, void *context)
{
    struct collector *c = context;
    enum collector_state state = collector_state(c);
    struct engine_statistics statistics;
    engine_statistics(c->engine, &statistics);
    bool is_well = state == COLLECTOR_READY && statistics.is_writable && !is_damaged(&statistics) &&
                   statistics.disk_state != DISK_LOW;

    struct buffer body;
    struct json_writer w;
    buffer_init(&body, RESPONSE_MAX);
    json_init(&w, &body);
    json_object_begin(&w);
    json_key(&w, "status");
    json_text(&w, is_well ? "ok" : state == COLLECTOR_READY ? "degraded" : state_text(state));
    json_key(&w, "version");
    json_text(&w, c->version);
    json_key(&w, "components");
    json_object_begin(&w);
    json_key(&w, "server");
    json_object_begin(&w);
    json_key(&w, "status");
    json_text(&w, state_text(state));
    json_object_end(&w);
    json_key(&w, "receiver");
    json_object_begin(&w);
    json_key(&w, "status");
    json_text(&w, state == COLLECTOR_READY && statistics.is_writable ? "ok" : "refusing");
    json_key(&w, "requestsInFlight");
    json_u64(&w, metric_value(c->in_flight));
    json_object_end(&w);
    json_key(&w, "storage");
    write_storage(&statistics, &w);
    json_object_end(&w);
    json_object_end(&w);
    buffer_append_byte(&body, '\n');
    respond_json(x, state == COLLECTOR_READY && statistics.is_writable ? 200 : 503, &body);
}

enum err health_add_http_routes(struct collector *c, struct router *r)
{
    /* Probes come without credentials; what is wrong inside is for those who may read. */
    static const struct {
        const char *path;
        enum scope scope;
        route_handler_fn *handler;
    } paths[] = {
        { "/health/live", SCOPE_OPEN, on_live },
        { "/health/ready", SCOPE_OPEN, on_ready },
        { "/health", SCOPE_READ, on_health },
    };
    enum err e = ERR_OK;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0] && e == ERR_OK; i++) {
        const struct route route = { .kind = ROUTE_HTTP,
                                     .method = HTTP_GET,
                                     .path = paths[i].path,
                                     .scope = paths[i].scope,
                                     .handler = paths[i].handler,
                                     .context = c };
        e = router_add(r, &route);
    }
    return e;
}
