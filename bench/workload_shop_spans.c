/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload_shop.h"

#include <assert.h>
#include <stdio.h>

const uint8_t shop_operations[FAMILY_COUNT][3] = {
    [FAMILY_HTTP] = { 0, 4, 5 },
    [FAMILY_DB] = { 1, 6, 7 },
    [FAMILY_RPC] = { 2, 8, 9 },
    [FAMILY_INTERNAL] = { 3, 10, 11 },
};

static const char *const services[SHOP_SERVICES] = {
    "web",     "mobile", "account",  "auth",    "catalog", "search", "recommend", "price",
    "stock",   "cart",   "checkout", "payment", "fraud",   "order",  "invoice",   "shipping",
    "address", "email",  "sms",      "review",  "image",   "coupon", "loyalty",   "audit",
};
static const char *const nouns[10] = { "item",  "user", "order", "cart",  "price",
                                       "stock", "page", "image", "token", "review" };
static const char *const verbs[SHOP_OPERATIONS] = { "get",     "list",   "update", "check",
                                                    "create",  "remove", "find",   "save",
                                                    "reserve", "notify", "render", "validate" };
static const char *const languages[4] = { "go", "java", "nodejs", "python" };
static const char *const http_methods[SHOP_OPERATIONS] = { [0] = "GET", [4] = "POST", [5] = "PUT" };
static const char *const sql_verbs[SHOP_OPERATIONS] = {
    [1] = "SELECT", [6] = "UPDATE", [7] = "INSERT"
};
static const char *const event_names[3] = { "cache.miss", "retry", "lock.wait" };

static struct bytes keep(struct arena *a, const char *text)
{
    struct bytes out = { 0 };
    return arena_dup(a, bytes_text(text), &out) == ERR_OK ? out : (struct bytes){ 0 };
}

static void capital(char *out, size_t size, const char *word)
{
    snprintf(out, size, "%s", word);
    out[0] = (char)(out[0] - 'a' + 'A');
}

/* 64 hex digits that belong to `seed`. */
static void hex64(char out[65], uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        snprintf(out + 16 * i, 17, "%016llx", (unsigned long long)random_mix64(seed * 4 + i));
}

static struct bytes make_resource(struct arena *a, unsigned s, unsigned pod)
{
    unsigned id = s * SHOP_PODS + pod;
    uint64_t h1 = random_mix64(1000 + id), h2 = random_mix64(2000 + id);
    char version[16], uuid[40], sdk[16], host[80], pod_name[64], container[65], digest[65],
        image[160];
    snprintf(version, sizeof version, "2.%u.%u", s % 7, s % 5);
    snprintf(uuid, sizeof uuid, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(h1 >> 32),
             (unsigned)(h1 >> 16 & 0xffff), (unsigned)(h1 & 0xfff), (unsigned)(0x8000 | (h2 >> 50)),
             (unsigned long long)(h2 & 0xffffffffffff));
    snprintf(sdk, sizeof sdk, "1.%u.0", 30 + s % 4);
    snprintf(host, sizeof host, "node-%02u.zone-a.eu-west-1.compute.example.net", id % 12);
    snprintf(pod_name, sizeof pod_name, "%s-%08x-%05x", services[s],
             (unsigned)(random_mix64(3000 + s) >> 32),
             (unsigned)(random_mix64(4000 + id) & 0xfffff));
    hex64(container, 5000 + id);
    hex64(digest, 6000 + s);
    snprintf(image, sizeof image, "images.example.net/shop/%s@sha256:%s", services[s], digest);
    const char *const pairs[][2] = {
        { "service.name", services[s] },
        { "service.namespace", "shop" },
        { "service.version", version },
        { "service.instance.id", uuid },
        { "deployment.environment.name", "production" },
        { "telemetry.sdk.name", "opentelemetry" },
        { "telemetry.sdk.language", languages[s % 4] },
        { "telemetry.sdk.version", sdk },
        { "host.name", host },
        { "k8s.cluster.name", "shop-prod-1" },
        { "k8s.namespace.name", "shop-production" },
        { "k8s.pod.name", pod_name },
        { "container.id", container },
        { "container.image.name", image },
    };
    return resource_make(a, pairs, sizeof pairs / sizeof *pairs);
}

/* A 600-byte trace, cut where it ends. */
static struct bytes make_stack_trace(struct arena *a, unsigned s)
{
    char text[1024];
    int at = snprintf(text, sizeof text,
                      "java.util.concurrent.TimeoutException: no answer in 5000 ms\n");
    for (unsigned i = 0; at < 600; i++) {
        char class[32];
        capital(class, sizeof class, services[(s + i) % SHOP_SERVICES]);
        at += snprintf(text + at, sizeof text - (size_t)at,
                       "\tat shop.internal.%s.%sHandler.%s(%sHandler.java:%u)\n", services[s],
                       class, verbs[(s + i) % SHOP_OPERATIONS], class, 40 + 17 * i);
    }
    text[600] = '\0';
    return keep(a, text);
}

static void make_operation(struct shop_names *n, unsigned s, unsigned o)
{
    struct arena *a = &n->arena;
    const char *noun = nouns[(s + o) % 10], *verb = verbs[o];
    char big_noun[16], big_verb[16], big_service[16], text[256], method[40];
    capital(big_noun, sizeof big_noun, noun);
    capital(big_verb, sizeof big_verb, verb);
    capital(big_service, sizeof big_service, services[s]);
    snprintf(method, sizeof method, "%s%s", big_verb, big_noun);
    if (http_methods[o] != NULL) {
        snprintf(text, sizeof text, "/api/v1/%s/%s/", services[s], noun);
        n->route[s][o] = keep(a, text);
        snprintf(text, sizeof text, "%s /api/v1/%s/%s/{id}", http_methods[o], services[s], noun);
    } else if (sql_verbs[o] != NULL) {
        snprintf(text, sizeof text, "%s_%s", services[s], noun);
        n->collection[s][o] = keep(a, text);
        const char *form =
            o == 1 ? "SELECT id, status, payload, created_at FROM %s_%s WHERE id = $1 LIMIT 20"
            : o == 6
                ? "UPDATE %s_%s SET status = $1, updated_at = now() WHERE id = $2 AND status = $3"
                : "INSERT INTO %s_%s (id, status, payload, created_at) VALUES ($1, $2, $3, now())";
        char query[160];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* one of the three literals above */
        snprintf(query, sizeof query, form, services[s], noun);
#pragma GCC diagnostic pop
        n->query[s][o] = keep(a, query);
        snprintf(text, sizeof text, "%s %s_%s", sql_verbs[o], services[s], noun);
    } else if (o == 2 || o == 8 || o == 9) {
        n->rpc_method[s][o] = keep(a, method);
        snprintf(text, sizeof text, "example.shop.%s.v1.%sService/%s", services[s], big_service,
                 method);
    } else {
        snprintf(text, sizeof text, "shop.internal.%s.%s%s", services[s], verb, big_noun);
        n->function[s][o] = keep(a, text);
    }
    n->name[s][o] = keep(a, text);
}

enum err shop_names_init(struct shop_names *n)
{
    *n = (struct shop_names){ 0 };
    arena_init(&n->arena, 4u << 20, NULL);
    struct arena *a = &n->arena;
    char text[256];
    n->resources = arena_alloc_array(a, SHOP_SERVICES * SHOP_PODS, sizeof *n->resources);
    if (n->resources == NULL)
        return ERR_NOMEM;
    for (unsigned s = 0; s < SHOP_SERVICES; s++) {
        char big[16];
        capital(big, sizeof big, services[s]);
        n->service[s] = keep(a, services[s]);
        snprintf(text, sizeof text, "%s.shop.svc.cluster.local", services[s]);
        n->address[s] = keep(a, text);
        snprintf(text, sizeof text, "shop_%s", services[s]);
        n->database[s] = keep(a, text);
        snprintf(text, sizeof text, "example.shop.%s.v1.%sService", services[s], big);
        n->rpc_service[s] = keep(a, text);
        n->stack_trace[s] = make_stack_trace(a, s);
        for (unsigned o = 0; o < SHOP_OPERATIONS; o++)
            make_operation(n, s, o);
        for (unsigned pod = 0; pod < SHOP_PODS; pod++)
            n->resources[s * SHOP_PODS + pod] = make_resource(a, s, pod);
    }
    for (unsigned i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "pg-%u.shop.svc.cluster.local", i);
        n->database_host[i] = keep(a, text);
    }
    static const char *const systems[4] = { "Windows NT 10.0; Win64; x64", "X11; Linux x86_64",
                                            "Macintosh; Intel Mac OS X 10_15_7",
                                            "Linux; Android 14" };
    for (unsigned i = 0; i < 16; i++) {
        snprintf(
            text, sizeof text,
            "Mozilla/5.0 (%s) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%u.0.0.0 Safari/537.36",
            systems[i % 4], 128 + i / 4);
        n->user_agent[i] = keep(a, text);
    }
    n->scope = bytes_of("\x0a\x14shop.instrumentation\x12\x05"
                        "0.9.1",
                        22 + 7);
    return arena_failure(a);
}

void shop_names_deinit(struct shop_names *n)
{
    arena_deinit(&n->arena);
}

/* ---- Writing one span
 * ------------------------------------------------------------------------------ */

/* A string attribute; under W4 every value is made unique. */
static void put_text(struct buffer *b, const char *key, struct bytes value,
                     struct shop_twist *twist)
{
    if (!twist->is_on) {
        attribute_text(b, ATTRIBUTE_OF_SPAN, key, value);
        return;
    }
    char text[256];
    int len = snprintf(text, sizeof text, "%.*s#%llu", (int)(value.len < 200 ? value.len : 200),
                       (const char *)value.data, (unsigned long long)twist->text_number++);
    attribute_text(b, ATTRIBUTE_OF_SPAN, key, bytes_of(text, (size_t)len));
}

/* Decimal digits of v at the end of out[size]; `width` digits at least. */
static struct bytes digits(char *out, size_t size, uint64_t v, unsigned width)
{
    size_t at = size;
    do {
        out[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0 || size - at < width);
    return bytes_of(out + at, size - at);
}

/* prefix + digits in out[96] */
static struct bytes numbered(char out[96], struct bytes prefix, uint64_t v, unsigned width)
{
    assert(prefix.len < 64);
    char tail[24];
    struct bytes number = digits(tail, sizeof tail, v, width);
    memcpy(out, prefix.data, prefix.len);
    memcpy(out + prefix.len, number.data, number.len);
    return bytes_of(out, prefix.len + number.len);
}

static void put_user(struct buffer *b, const struct shop_span *s, struct shop_twist *twist)
{
    char text[96];
    put_text(b, "user.id", numbered(text, BYTES_LITERAL("user-"), s->user, 6), twist);
}

static void write_http(const struct shop_names *n, const struct shop_span *s, struct buffer *b,
                       struct shop_twist *twist)
{
    char text[96];
    uint64_t h = random_mix64(s->user);
    unsigned o = s->operation, t = s->target;
    struct bytes route = n->route[t][o];
    put_text(b, "http.request.method", bytes_text(http_methods[o]), twist);
    put_text(b, "url.scheme", BYTES_LITERAL("https"), twist);
    put_text(b, "url.path", numbered(text, route, s->object, 1), twist);
    struct bytes name = n->name[t][o];
    size_t verb = strlen(http_methods[o]) + 1;
    put_text(b, "http.route", bytes_slice(name, verb, name.len), twist);
    int code = s->is_error ? 500 : s->is_not_found ? 404 : o == 4 ? 201 : 200;
    attribute_int(b, ATTRIBUTE_OF_SPAN, "http.response.status_code", code);
    put_text(b, "server.address", n->address[t], twist);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "server.port", 8443);
    int len = snprintf(text, sizeof text, "10.%u.%u.%u", (unsigned)(h & 255),
                       (unsigned)(h >> 8 & 255), (unsigned)(h >> 16 & 255));
    put_text(b, "client.address", bytes_of(text, (size_t)len), twist);
    put_text(b, "network.protocol.version", BYTES_LITERAL("1.1"), twist);
    put_text(b, "user_agent.original", n->user_agent[h >> 32 & 15], twist);
    put_user(b, s, twist);
}

static void write_db(const struct shop_names *n, const struct shop_span *s, struct buffer *b,
                     struct shop_twist *twist)
{
    char tail[24];
    unsigned o = s->operation, t = s->target;
    put_text(b, "db.system.name", BYTES_LITERAL("postgresql"), twist);
    put_text(b, "db.namespace", n->database[t], twist);
    put_text(b, "db.collection.name", n->collection[t][o], twist);
    put_text(b, "db.operation.name", bytes_text(sql_verbs[o]), twist);
    put_text(b, "db.query.text", n->query[t][o], twist);
    put_text(b, "db.query.parameter.0", digits(tail, sizeof tail, s->object, 1), twist);
    put_text(b, "server.address", n->database_host[t % 3], twist);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "db.response.returned_rows", s->returned_rows);
}

static void write_rpc(const struct shop_names *n, const struct shop_span *s, struct buffer *b,
                      struct shop_twist *twist)
{
    put_text(b, "rpc.system", BYTES_LITERAL("grpc"), twist);
    put_text(b, "rpc.service", n->rpc_service[s->target], twist);
    put_text(b, "rpc.method", n->rpc_method[s->target][s->operation], twist);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "rpc.grpc.status_code", s->is_error ? 2 : 0);
    put_text(b, "server.address", n->address[s->target], twist);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "server.port", 9090);
    put_user(b, s, twist);
}

static void write_internal(const struct shop_names *n, const struct shop_span *s, struct buffer *b,
                           struct shop_twist *twist)
{
    put_text(b, "code.function.name", n->function[s->target][s->operation], twist);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "thread.id", s->thread);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "app.object.id", s->object);
    attribute_bool(b, ATTRIBUTE_OF_SPAN, "app.cache.hit", s->is_cache_hit);
}

/* W2: seven attributes more. */
static void write_wide(const struct shop_span *s, struct random *random, struct buffer *b)
{
    char text[96];
    uint64_t a = random_next(random), c = random_next(random), h = random_mix64(s->user);
    uint8_t raw[16];
    static const char hex[] = "0123456789abcdef";
    store_le64(raw, a);
    store_le64(raw + 8, c);
    for (unsigned i = 0; i < 16; i++) {
        text[2 * i] = hex[raw[i] >> 4];
        text[2 * i + 1] = hex[raw[i] & 15];
    }
    attribute_text(b, ATTRIBUTE_OF_SPAN, "request.id", bytes_of(text, 32));
    for (unsigned i = 0; i < 16; i++)
        text[i] = hex[h >> (60 - 4 * i) & 15];
    attribute_text(b, ATTRIBUTE_OF_SPAN, "visit.id", bytes_of(text, 16));
    uint64_t token = random_next(random);
    memcpy(text, "token=", 6);
    for (unsigned i = 0; i < 16; i++)
        text[6 + i] = hex[token >> (60 - 4 * i) & 15];
    int len = 22 + snprintf(text + 22, sizeof text - 22, "&ts=%llu&page=%u",
                            (unsigned long long)(s->start_unix_ns / 1000000),
                            (unsigned)random_below(random, 20));
    attribute_text(b, ATTRIBUTE_OF_SPAN, "url.query", bytes_of(text, (size_t)len));
    attribute_int(b, ATTRIBUTE_OF_SPAN, "http.request.body.size",
                  200 + (int64_t)random_below(random, 65535 - 200 + 1));
    attribute_double(b, ATTRIBUTE_OF_SPAN, "queue.wait_ms",
                     (double)random_below(random, 50000) / 1000);
    attribute_int(b, ATTRIBUTE_OF_SPAN, "tenant.id", s->user % 997);
    memcpy(text, "cart2=a,pay3=a,rank=a", 21);
    text[6] = (char)('a' + (s->user & 1));
    text[13] = (char)('a' + (s->user >> 1 & 1));
    text[20] = (char)('a' + (s->user >> 2 & 1));
    attribute_text(b, ATTRIBUTE_OF_SPAN, "feature_flags", bytes_of(text, 21));
}

/* W4: a key of its own for each span, and for every 100th a value of 100 KiB that no codec shrinks.
 */
static void write_hostile(struct shop_twist *twist, struct buffer *b)
{
    char key[40];
    snprintf(key, sizeof key, "key.%llu", (unsigned long long)twist->span_number);
    put_text(b, key, BYTES_LITERAL("new"), twist);
    if (twist->span_number % 100 != 0)
        return;
    char large[100 << 10]; /* 6 random bits a byte, so that it stays valid UTF-8 */
    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)('0' + (random_next(twist->random) >> 58));
    attribute_text(b, ATTRIBUTE_OF_SPAN, "large", bytes_of(large, sizeof large));
}

static void write_event(struct buffer *b, uint64_t unix_ns, const char *name,
                        struct buffer *attributes)
{
    if (buffer_error(attributes) != ERR_OK) {
        b->error = buffer_error(attributes);
        return;
    }
    size_t name_len = strlen(name);
    size_t size = 9 + 1 + varint_size(name_len) + name_len + attributes->len;
    size_t total = 1 + varint_size(size) + size;
    uint8_t *p = buffer_reserve(b, total);
    if (p == NULL)
        return;
    buffer_grew(b, total);
    *p++ = 0x5a;
    p = put_varint(p, size);
    p = put_fixed64(p, 0x09, unix_ns);
    p = put_bytes(p, 0x12, name, name_len);
    memcpy(p, attributes->data, attributes->len);
}

static void write_events(const struct shop_names *n, const struct shop_span *s, struct buffer *b)
{
    if (s->event == 0 && !s->is_error)
        return;
    struct buffer attributes;
    buffer_init(&attributes, 4096);
    if (s->event != 0) {
        char text[96];
        attribute_text(&attributes, ATTRIBUTE_OF_EVENT, "app.key",
                       numbered(text, BYTES_LITERAL("obj-"), s->event_object, 7));
        attribute_int(&attributes, ATTRIBUTE_OF_EVENT, "app.attempt", s->event_attempt);
        write_event(b, s->event_unix_ns, event_names[s->event - 1], &attributes);
        buffer_reset(&attributes);
    }
    if (s->is_error) {
        attribute_text(&attributes, ATTRIBUTE_OF_EVENT, "exception.type",
                       BYTES_LITERAL("java.util.concurrent.TimeoutException"));
        attribute_text(&attributes, ATTRIBUTE_OF_EVENT, "exception.message",
                       BYTES_LITERAL("no answer in 5000 ms"));
        attribute_text(&attributes, ATTRIBUTE_OF_EVENT, "exception.stacktrace",
                       n->stack_trace[s->service]);
        write_event(b, s->end_unix_ns, "exception", &attributes);
    }
    buffer_deinit(&attributes);
}

void shop_span_write(const struct shop_names *n, const struct shop_span *s, uint64_t id_xor,
                     struct random *wide, struct shop_twist *twist, struct buffer *out,
                     struct bytes *out_name)
{
    struct trace_id trace_id;
    store_le64(trace_id.b, s->trace_low ^ id_xor);
    store_le64(trace_id.b + 8, s->trace_high ^ id_xor);
    struct bytes name = n->name[s->target][s->operation];
    if (twist->is_on && twist->span_number % 10 == 0)
        name = numbered(twist->name, bytes_slice(name, 0, 60), twist->span_number, 1);
    *out_name = name;
    span_head(out, &trace_id, s->span_id ^ id_xor, s->parent_id == 0 ? 0 : s->parent_id ^ id_xor,
              name, s->kind, s->start_unix_ns, s->end_unix_ns);
    switch ((enum shop_family)s->family) {
    case FAMILY_HTTP:
        write_http(n, s, out, twist);
        break;
    case FAMILY_DB:
        write_db(n, s, out, twist);
        break;
    case FAMILY_RPC:
        write_rpc(n, s, out, twist);
        break;
    case FAMILY_INTERNAL:
    case FAMILY_COUNT:
        write_internal(n, s, out, twist);
        break;
    }
    if (wide != NULL)
        write_wide(s, wide, out);
    if (twist->is_on)
        write_hostile(twist, out);
    write_events(n, s, out);
    span_tail(out, s->is_error ? STATUS_ERROR : STATUS_UNSET, s->flags);
}
