/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demo.h"

#include <stdio.h>

/* A call between two services has ended: both spans say when it began. */
static void count_call(const struct demo_call *c, uint64_t server_end, uint64_t client_end)
{
    uint64_t client_ns = client_end - c->client.start_unix_ns;
    uint64_t server_ns = server_end - c->server.start_unix_ns;
    const struct demo_call_fact fact = {
        .client = demo_services[c->client.service].name,
        .client_kind = "service",
        .server = demo_services[c->server.service].name,
        .server_kind = "service",
        .system = "",
        .type = "",
        .has_failed = c->client.is_error || c->server.is_error,
        .client_ns = &client_ns,
        .server_ns = &server_ns,
    };
    demo_truth_call(&c->client.demo->truth, &fact);
}

/* A call of what sends no spans has ended. */
static void count_peer(const struct demo_span *s, uint64_t end, const char *server,
                       const char *kind, const char *system, const char *type)
{
    uint64_t ns = end - s->start_unix_ns;
    const struct demo_call_fact fact = {
        .client = demo_services[s->service].name,
        .client_kind = "service",
        .server = server,
        .server_kind = kind,
        .system = system,
        .type = type,
        .has_failed = s->is_error,
        .client_ns = &ns,
    };
    demo_truth_call(&s->demo->truth, &fact);
}

/* One way between two services; a browser is further away. */
static uint64_t network_time(struct demo *d, enum demo_service from)
{
    double median_us = from == SERVICE_WEB ? 22000 : 250;
    return (uint64_t)(median_us * (0.7 + 0.6 * random_unit(&d->random)) * 1000);
}

/* ---- HTTP
 * --------------------------------------------------------------------------------------------------
 */

uint64_t http_begin(struct demo_call *c, struct demo_span *caller, enum demo_service callee,
                    const char *method, const char *route, const char *path, uint64_t t)
{
    struct demo *d = caller->demo;
    bool is_browser = caller->service == SERVICE_WEB;
    const char *name = demo_services[callee].name;
    c->is_grpc = false;
    span_open(&c->client, d, caller, caller->service, SPAN_CLIENT, SCOPE_HTTP, t, "%s", method);
    span_text(&c->client, "http.request.method", "%s", method);
    if (is_browser) {
        span_text(&c->client, "url.full", "https://shop.example.com%s", path);
        span_text(&c->client, "server.address", "shop.example.com");
        span_int(&c->client, "server.port", 443);
    } else {
        span_text(&c->client, "url.full", "http://%s:8080%s", name, path);
        span_text(&c->client, "url.template", "%s", route);
        span_text(&c->client, "server.address", "%s", name);
        span_int(&c->client, "server.port", 8080);
        snprintf(c->client.name, sizeof c->client.name, "%s %s", method, route);
    }
    span_text(&c->client, "network.protocol.version", is_browser ? "2" : "1.1");
    t += network_time(d, caller->service);

    span_open(&c->server, d, &c->client, callee, SPAN_SERVER, SCOPE_HTTP, t, "%s %s", method,
              route);
    span_text(&c->server, "http.request.method", "%s", method);
    span_text(&c->server, "http.route", "%s", route);
    span_text(&c->server, "url.path", "%s", path);
    span_text(&c->server, "url.scheme", is_browser ? "https" : "http");
    span_text(&c->server, "server.address", "%s", is_browser ? "shop.example.com" : name);
    span_text(&c->server, "client.address", is_browser ? "203.0.113.%u" : "10.42.0.%u",
              (unsigned)random_below(&d->random, 250) + 1);
    span_text(&c->server, "network.protocol.version", is_browser ? "2" : "1.1");
    if (is_browser)
        span_text(&c->server, "user_agent.original",
                  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                  "Chrome/141.0.0.0 Safari/537.36");
    return t;
}

uint64_t http_end(struct demo_call *c, unsigned status, uint64_t t)
{
    struct demo *d = c->client.demo;
    char code[8];
    snprintf(code, sizeof code, "%u", status);
    span_int(&c->server, "http.response.status_code", status);
    if (status >= 500 && !c->server.is_error)
        span_fail(&c->server, code, "");
    uint64_t server_end = span_close(&c->server, t);
    t += network_time(d, c->client.service);
    span_int(&c->client, "http.response.status_code", status);
    if (status >= 400)
        span_fail(&c->client, code, "");
    count_call(c, server_end, t);
    return span_close(&c->client, t);
}

/* ---- gRPC
 * --------------------------------------------------------------------------------------------------
 */

uint64_t grpc_begin(struct demo_call *c, struct demo_span *caller, enum demo_service callee,
                    const char *method, uint64_t t)
{
    struct demo *d = caller->demo;
    const char *name = demo_services[callee].name;
    c->is_grpc = true;
    span_open(&c->client, d, caller, caller->service, SPAN_CLIENT, SCOPE_GRPC, t, "%s", method);
    span_text(&c->client, "rpc.system.name", "grpc");
    span_text(&c->client, "rpc.method", "%s", method);
    span_text(&c->client, "server.address", "%s", name);
    span_int(&c->client, "server.port", 9090);
    span_text(&c->client, "service.peer.name", "%s", name);
    t += network_time(d, caller->service);
    span_open(&c->server, d, &c->client, callee, SPAN_SERVER, SCOPE_GRPC, t, "%s", method);
    span_text(&c->server, "rpc.system.name", "grpc");
    span_text(&c->server, "rpc.method", "%s", method);
    span_text(&c->server, "server.address", "%s", name);
    span_int(&c->server, "server.port", 9090);
    span_text(&c->server, "client.address", "10.42.0.%u",
              (unsigned)random_below(&d->random, 250) + 1);
    return t;
}

/* Of the statuses that are the caller's fault, a server span stays without error. */
static bool is_server_fault(const char *status)
{
    static const char *const faults[] = { "UNKNOWN",  "DEADLINE_EXCEEDED", "UNIMPLEMENTED",
                                          "INTERNAL", "UNAVAILABLE",       "DATA_LOSS" };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        if (strcmp(status, faults[i]) == 0)
            return true;
    }
    return false;
}

uint64_t grpc_end(struct demo_call *c, const char *status, uint64_t t)
{
    struct demo *d = c->client.demo;
    span_text(&c->server, "rpc.response.status_code", "%s", status);
    if (is_server_fault(status) && !c->server.is_error)
        span_fail(&c->server, status, "");
    uint64_t server_end = span_close(&c->server, t);
    t += network_time(d, c->client.service);
    span_text(&c->client, "rpc.response.status_code", "%s", status);
    if (strcmp(status, "OK") != 0)
        span_fail(&c->client, status, "");
    count_call(c, server_end, t);
    return span_close(&c->client, t);
}

/* ---- Stores
 * --------------------------------------------------------------------------------------------------
 */

uint64_t postgres(struct demo_span *caller, const char *database, const char *operation,
                  const char *table, const char *query, int64_t rows, uint64_t t)
{
    struct demo *d = caller->demo;
    struct demo_span s;
    span_open(&s, d, caller, caller->service, SPAN_CLIENT, SCOPE_DB, t, "%s %s", operation, table);
    span_text(&s, "db.system.name", "postgresql");
    span_text(&s, "db.namespace", "%s", database);
    span_text(&s, "db.collection.name", "%s", table);
    span_text(&s, "db.operation.name", "%s", operation);
    span_text(&s, "db.query.text", "%s", query);
    span_text(&s, "db.query.summary", "%s %s", operation, table);
    span_text(&s, "server.address", "postgres.shop.svc");
    span_int(&s, "server.port", 5432);
    if (rows >= 0)
        span_int(&s, "db.response.returned_rows", rows);
    t += demo_time(d, caller->service, t, strcmp(operation, "SELECT") == 0 ? 900 : 2200);
    count_peer(&s, t, database, "database", "postgresql", "database");
    return span_close(&s, t);
}

uint64_t redis(struct demo_span *caller, const char *operation, const char *key, uint64_t t)
{
    struct demo *d = caller->demo;
    struct demo_span s;
    span_open(&s, d, caller, caller->service, SPAN_CLIENT, SCOPE_DB, t, "%s", operation);
    span_text(&s, "db.system.name", "redis");
    span_text(&s, "db.namespace", "0");
    span_text(&s, "db.operation.name", "%s", operation);
    span_text(&s, "db.query.text", "%s %s", operation, key);
    span_text(&s, "server.address", "redis.shop.svc");
    span_int(&s, "server.port", 6379);
    t += demo_time(d, caller->service, t, 180);
    count_peer(&s, t, "redis", "database", "redis", "database");
    return span_close(&s, t);
}

uint64_t elasticsearch(struct demo_span *caller, const char *index, const char *query, uint64_t t)
{
    struct demo *d = caller->demo;
    struct demo_span s;
    span_open(&s, d, caller, caller->service, SPAN_CLIENT, SCOPE_DB, t, "search %s", index);
    span_text(&s, "db.system.name", "elasticsearch");
    span_text(&s, "db.collection.name", "%s", index);
    span_text(&s, "db.operation.name", "search");
    span_text(&s, "db.query.text", "{\"query\":{\"match\":{\"title\":\"?\"}},\"size\":20}");
    span_text(&s, "db.operation.parameter.q", "%s", query);
    span_text(&s, "http.request.method", "POST");
    span_text(&s, "url.full", "http://elasticsearch.shop.svc:9200/%s/_search", index);
    span_text(&s, "server.address", "elasticsearch.shop.svc");
    span_int(&s, "server.port", 9200);
    t += demo_time(d, caller->service, t, 14000);
    count_peer(&s, t, "elasticsearch", "database", "elasticsearch", "database");
    return span_close(&s, t);
}

uint64_t external_http(struct demo_span *caller, const char *method, const char *host,
                       const char *path, unsigned status, unsigned resend_count, uint64_t t)
{
    struct demo *d = caller->demo;
    struct demo_span s;
    char code[8];
    snprintf(code, sizeof code, "%u", status);
    span_open(&s, d, caller, caller->service, SPAN_CLIENT, SCOPE_HTTP, t, "%s", method);
    span_text(&s, "http.request.method", "%s", method);
    span_text(&s, "url.full", "https://%s%s", host, path);
    span_text(&s, "server.address", "%s", host);
    span_int(&s, "server.port", 443);
    span_text(&s, "network.peer.address", "198.51.100.%u",
              10 + (unsigned)random_below(&d->random, 4));
    if (resend_count > 0)
        span_int(&s, "http.request.resend_count", resend_count);
    if (status == 0) {
        t += 2 * NS_PER_S;
        span_exception(&s, t, 0);
    } else {
        t += demo_time(d, caller->service, t, 120000);
        span_int(&s, "http.response.status_code", status);
        if (status >= 400)
            span_fail(&s, code, "");
    }
    count_peer(&s, t, host, "external", "", "virtual_node");
    return span_close(&s, t);
}

/* ---- Messages
 * ------------------------------------------------------------------------------------------------
 */

static bool is_kafka(enum demo_topic_id topic)
{
    return topic != TOPIC_MAIL;
}

static void destination_attributes(struct demo_span *s, enum demo_topic_id topic,
                                   const char *operation, const char *type)
{
    const char *name = s->demo->topics[topic].name;
    span_text(s, "messaging.system", is_kafka(topic) ? "kafka" : "rabbitmq");
    span_text(s, "messaging.operation.name", "%s", operation);
    span_text(s, "messaging.operation.type", "%s", type);
    span_text(s, "messaging.destination.name", "%s", name);
    span_text(s, "server.address", is_kafka(topic) ? "kafka.shop.svc" : "rabbitmq.shop.svc");
    span_int(s, "server.port", is_kafka(topic) ? 9092 : 5672);
}

uint64_t publish(struct demo_span *caller, enum demo_topic_id topic, unsigned order, uint64_t t)
{
    struct demo *d = caller->demo;
    struct demo_topic *to = &d->topics[topic];
    struct demo_span s;
    const char *operation = is_kafka(topic) ? "send" : "publish";
    span_open(&s, d, caller, caller->service, SPAN_PRODUCER, SCOPE_QUEUE, t, "%s %s", operation,
              to->name);
    destination_attributes(&s, topic, operation, "send");
    if (is_kafka(topic)) {
        span_int(&s, "messaging.kafka.offset", (int64_t)to->next_offset);
        span_text(&s, "messaging.kafka.message.key", "order-%06u", order);
        span_text(&s, "messaging.destination.partition.id", "%u", order % 6);
    } else {
        span_text(&s, "messaging.rabbitmq.destination.routing_key", "mail.order");
    }
    t += demo_time(d, caller->service, t, 1500);
    const struct demo_message message = { .trace_id = s.trace_id,
                                          .span_id = s.id,
                                          .sent_unix_ns = t,
                                          .offset = to->next_offset++,
                                          .order = order };
    if (to->count == DEMO_TOPIC_MESSAGES_MAX) {
        to->first = (to->first + 1) % DEMO_TOPIC_MESSAGES_MAX;
        to->count--;
    }
    to->messages[(to->first + to->count++) % DEMO_TOPIC_MESSAGES_MAX] = message;
    count_peer(&s, t, to->name, "queue", is_kafka(topic) ? "kafka" : "rabbitmq",
               "messaging_system");
    return span_close(&s, t);
}

void consumer_attributes(struct demo_span *s, enum demo_topic_id topic, const char *operation,
                         const char *type)
{
    destination_attributes(s, topic, operation, type);
    if (is_kafka(topic))
        span_text(s, "messaging.consumer.group.name", "%s", demo_services[s->service].name);
}

uint64_t consumer_end(struct demo_span *s, enum demo_topic_id topic, uint64_t end_unix_ns)
{
    uint64_t ns = end_unix_ns - s->start_unix_ns;
    const struct demo_call_fact fact = {
        .client = s->demo->topics[topic].name,
        .client_kind = "queue",
        .server = demo_services[s->service].name,
        .server_kind = "service",
        .system = is_kafka(topic) ? "kafka" : "rabbitmq",
        .type = "messaging_system",
        .has_failed = s->is_error,
        .server_ns = &ns,
    };
    demo_truth_call(&s->demo->truth, &fact);
    return span_close(s, end_unix_ns);
}
