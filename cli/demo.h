/* SPDX-License-Identifier: Apache-2.0 */
/* demo.h - the parts of `spindle demo`: a shop that exists only as telemetry.
 *
 * Role       demo_services.c says which services there are and how they fail; demo_spans.c writes
 * spans and log records; demo_calls.c makes calls, queries and messages of them; demo_flows.c what
 * visitors, consumers and cron jobs do; demo_export.c keeps what has not ended yet, batches it as
 * SDKs do and sends it; demo_truth.c counts. A flow is made whole when it starts; its spans are
 * sent when they end. Threads    one. */
#ifndef SPINDLE_CLI_DEMO_H
#define SPINDLE_CLI_DEMO_H

#include "base/clock.h"
#include "base/intern.h"
#include "base/json_writer.h"
#include "base/random.h"
#include "cli/options.h"
#include "net/client.h"
#include "proto/otlp.h"

#define DEMO_OPTIONS(X)                                                                            \
    X(TEXT, endpoint, "endpoint", "127.0.0.1:4317", "ADDR", "Send to this OTLP/gRPC server.")      \
    X(COUNT, rate, "rate", "5", "N",                                                               \
      "Visits started a second. A visit is one trace of 5 to 50 spans, some 16 on average.",       \
      "1..5000")                                                                                   \
    X(COUNT, seed, "seed", "1", "N", "The same seed makes the same visits.")                       \
    X(DURATION, duration, "duration", "0", "TIME",                                                 \
      "Stop after this long; 0: run until interrupted.")                                           \
    X(SECRET, token, "token", NULL, "TOKEN", "Send 'Authorization: Bearer TOKEN'.")                \
    X(TEXT, truth, "truth", NULL, "FILE", "On exit, write what was sent, counted exactly, as JSON.")

struct demo_options {
    DEMO_OPTIONS(OPTION_MEMBER)
};

/* ---- Services
 * ----------------------------------------------------------------------------------------- */

enum demo_language {
    LANGUAGE_WEBJS,
    LANGUAGE_GO,
    LANGUAGE_JAVA,
    LANGUAGE_NODEJS,
    LANGUAGE_PYTHON,
    LANGUAGE_DOTNET,
    LANGUAGE_RUST,
    LANGUAGE_RUBY,
    LANGUAGE_PHP,
    LANGUAGE_CPP,
    LANGUAGE_COUNT
};

#define DEMO_SERVICE_LIST(X)                                                                       \
    X(WEB, "web", LANGUAGE_WEBJS, "4.12.0", 4)                                                     \
    X(GATEWAY, "gateway", LANGUAGE_GO, "1.31.2", 3)                                                \
    X(STOREFRONT, "storefront", LANGUAGE_NODEJS, "7.4.1", 3)                                       \
    X(AUTH, "auth", LANGUAGE_RUST, "0.9.3", 2)                                                     \
    X(CATALOG, "catalog", LANGUAGE_GO, "2.18.0", 3)                                                \
    X(SEARCH, "search", LANGUAGE_JAVA, "3.2.5", 2)                                                 \
    X(RECOMMENDATION, "recommendation", LANGUAGE_PYTHON, "1.6.0", 2)                               \
    X(PRICING, "pricing", LANGUAGE_PHP, "5.0.7", 2)                                                \
    X(CART, "cart", LANGUAGE_DOTNET, "2.2.0", 3)                                                   \
    X(CHECKOUT, "checkout", LANGUAGE_JAVA, "4.0.1", 3)                                             \
    X(PAYMENT, "payment", LANGUAGE_NODEJS, "2.9.4", 2)                                             \
    X(FRAUD, "fraud", LANGUAGE_PYTHON, "0.14.2", 2)                                                \
    X(ORDERS, "orders", LANGUAGE_JAVA, "3.7.0", 2)                                                 \
    X(INVENTORY, "inventory", LANGUAGE_GO, "1.4.9", 2)                                             \
    X(SHIPPING, "shipping", LANGUAGE_RUST, "1.1.0", 2)                                             \
    X(EMAIL, "email", LANGUAGE_RUBY, "2.0.3", 2)                                                   \
    X(EDGE_PROXY, "edge-proxy", LANGUAGE_CPP, "1.27.3", 2) /* logs only */

enum demo_service {
#define X(name, ...) SERVICE_##name,
    DEMO_SERVICE_LIST(X)
#undef X
        SERVICE_COUNT
};

struct demo_service_facts {
    const char *name;
    enum demo_language language;
    const char *version;
    unsigned pods;
};
extern const struct demo_service_facts demo_services[SERVICE_COUNT];

enum { DEMO_PODS_MAX = 64 };

/* What was used to make a span or record: becomes its scope. */
enum demo_scope { SCOPE_APP, SCOPE_HTTP, SCOPE_GRPC, SCOPE_DB, SCOPE_QUEUE, SCOPE_COUNT };

/* How things fail, one for each language that has a stack trace. */
struct demo_fault {
    const char *type, *message, *stacktrace;
};
const struct demo_fault *demo_fault_of(enum demo_language language, unsigned which);

/* The Resource message of one pod of a service; empty when the arena is exhausted. */
struct bytes demo_resource(struct arena *a, enum demo_service service, unsigned pod);
/* An InstrumentationScope message. */
struct bytes demo_scope_message(struct arena *a, enum demo_language language,
                                enum demo_scope scope);

/* ---- What waits to be sent
 * ----------------------------------------------------------------------------- */

/* One span or log record, written, waiting for its end. */
struct demo_item {
    struct demo_item *next;
    uint64_t due_unix_ns;
    uint64_t number; /* of equal times, the one made first leaves first */
    uint32_t pod;
    uint8_t scope;
    bool is_log;
    struct bytes message; /* owned, behind this struct */
};

struct demo_queue {
    struct demo_item *first, *last;
    size_t count;
    uint64_t flush_unix_ns; /* when what waits has to be sent */
};

struct demo_pod {
    enum demo_service service;
    struct bytes resource;
    struct demo_queue queues[SIGNAL_COUNT];
};

/* ---- The truth
 * ------------------------------------------------------------------------------------------ */

struct demo_counts {
    struct intern keys; /* parts of a key are separated by NUL */
    uint64_t *counts;   /* [capacity], by key */
    uint32_t capacity;
};
struct demo_truth {
    struct demo_counts spans; /* service, name, kind, status */
    struct demo_counts logs;  /* service, severity */
    struct intern edge_keys;  /* client, its kind, server, its kind, system, type */
    struct demo_edge *edges;  /* [edges_capacity], by key */
    uint32_t edges_capacity;
    bool keeps_durations; /* else calls are counted only: a demo may run for months */
    uint64_t traces;
    bool is_incomplete; /* for lack of memory */
};
/* Durations as one side saw them, in nanoseconds. */
struct demo_durations {
    uint64_t *ns;
    size_t count, capacity;
};
struct demo_edge {
    uint64_t count, errors;
    struct demo_durations client, server;
};
/* A call that has ended. Kinds are those of the service map: "service", "database", "queue", "external". */
struct demo_call_fact {
    const char *client, *client_kind, *server, *server_kind;
    const char *system, *type;             /* type: as the service graph's connection_type */
    bool has_failed;                       /* on either side */
    const uint64_t *client_ns, *server_ns; /* NULL: that side sends no span */
};
void demo_truth_init(struct demo_truth *t);
void demo_truth_deinit(struct demo_truth *t);
void demo_truth_count(struct demo_truth *t, struct demo_counts *counts, const char *const *parts,
                      size_t part_count);
void demo_truth_call(struct demo_truth *t, const struct demo_call_fact *call);
/* Write edges as a JSON array; sorts their durations. */
void demo_truth_write_edges(struct demo_truth *t, struct json_writer *w);

/* ---- The demo
 * ------------------------------------------------------------------------------------------- */

/* A message in a topic: whose context it carries, and when it was sent. */
struct demo_message {
    struct trace_id trace_id;
    uint64_t span_id;
    uint64_t sent_unix_ns;
    uint64_t offset;
    unsigned order;
};
#define DEMO_TOPIC_MESSAGES_MAX 4096u /* older ones are lost: more are not consumed in time */
struct demo_topic {
    const char *name;
    struct demo_message messages[DEMO_TOPIC_MESSAGES_MAX]; /* ring */
    uint32_t first, count;
    uint64_t next_offset;
};

enum demo_topic_id {
    TOPIC_ORDERS /* Kafka, to shipping */,
    TOPIC_VIEWS /* Kafka, to recommendation */,
    TOPIC_MAIL /* RabbitMQ, to email */,
    TOPIC_COUNT
};

struct demo_slow_phase {
    enum demo_service service;
    uint64_t from_unix_ns, until_unix_ns;
    double factor;
};

struct demo {
    const struct demo_options *options;
    struct arena arena; /* resources and scopes */
    struct random random;
    struct demo_pod pods[DEMO_PODS_MAX];
    unsigned pod_count, first_pod[SERVICE_COUNT];
    struct bytes scopes[LANGUAGE_COUNT][SCOPE_COUNT];
    struct demo_item **heap; /* by due time */
    size_t heap_count, heap_capacity;
    uint64_t item_number;
    struct demo_topic *topics; /* [TOPIC_COUNT] */
    struct demo_slow_phase slow;
    unsigned next_order;
    uint64_t next_visit_unix_ns, next_cron_unix_ns, next_proxy_log_unix_ns;
    struct demo_truth truth;
    struct demo_export *export;
};

/* ---- Spans and log records
 * -------------------------------------------------------------------------------- */

enum { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER };
enum { SEVERITY_DEBUG = 5, SEVERITY_INFO = 9, SEVERITY_WARN = 13, SEVERITY_ERROR = 17 };

struct demo_span {
    struct demo *demo;
    unsigned pod;
    enum demo_service service;
    enum demo_scope scope;
    struct trace_id trace_id;
    uint64_t id, parent_id;
    uint64_t start_unix_ns;
    uint32_t kind;
    bool has_remote_parent, is_error;
    char name[128], description[160];
    struct buffer attributes, events, links;
};

/* parent NULL: a new trace. A span of the parent's service stays in its pod. */
void span_open(struct demo_span *s, struct demo *d, const struct demo_span *parent,
               enum demo_service service, uint32_t kind, enum demo_scope scope,
               uint64_t start_unix_ns, const char *format, ...) PRINTF_LIKE(8, 9);
void span_text(struct demo_span *s, const char *key, const char *format, ...) PRINTF_LIKE(3, 4);
void span_int(struct demo_span *s, const char *key, int64_t value);
void span_double(struct demo_span *s, const char *key, double value);
void span_bool(struct demo_span *s, const char *key, bool value);
void span_texts(struct demo_span *s, const char *key, const char *const *values, size_t count);
void span_link(struct demo_span *s, const struct demo_message *message);
void span_event(struct demo_span *s, uint64_t unix_ns, const char *name);
/* Status ERROR; error_type as error.type. */
void span_fail(struct demo_span *s, const char *error_type, const char *description);
/* An exception event, a log record that tells of it, and status ERROR. */
void span_exception(struct demo_span *s, uint64_t unix_ns, unsigned which);
/* Queue it; returns the end. */
uint64_t span_close(struct demo_span *s, uint64_t end_unix_ns);

/* A record of the span's pod, tied to it; the body is a string. */
void span_log(const struct demo_span *s, uint64_t unix_ns, unsigned severity, const char *format,
              ...) PRINTF_LIKE(4, 5);
/* The same with a map as body: {"message": text, then keys with integers}. */
void span_log_map(const struct demo_span *s, uint64_t unix_ns, unsigned severity,
                  const char *message, const char *const *keys, const int64_t *values,
                  size_t count);
/* A record that belongs to no span. */
void demo_log(struct demo *d, unsigned pod, uint64_t unix_ns, unsigned severity, const char *format,
              ...) PRINTF_LIKE(5, 6);

/* One of the service's pods, as a load balancer would choose. */
unsigned demo_pod_of(struct demo *d, enum demo_service service);
/* Around `median_us`, now and then several times as long; longer still in a slow phase of the
 * service. */
uint64_t demo_time(struct demo *d, enum demo_service service, uint64_t now_unix_ns,
                   double median_us);
bool demo_chance(struct demo *d, double probability);

/* ---- Calls
 * ------------------------------------------------------------------------------------------------
 */

/* A CLIENT span and the SERVER span in the callee, while the callee works. */
struct demo_call {
    struct demo_span client, server;
    bool is_grpc;
};
/* Returns when the server begins. */
uint64_t http_begin(struct demo_call *c, struct demo_span *caller, enum demo_service callee,
                    const char *method, const char *route, const char *path, uint64_t t);
/* The server is done at t; returns when the client has the answer. */
uint64_t http_end(struct demo_call *c, unsigned status, uint64_t t);
uint64_t grpc_begin(struct demo_call *c, struct demo_span *caller, enum demo_service callee,
                    const char *method, uint64_t t);
/* status "OK", "NOT_FOUND"... */
uint64_t grpc_end(struct demo_call *c, const char *status, uint64_t t);

/* One query each; they return when it is done. */
uint64_t postgres(struct demo_span *caller, const char *database, const char *operation,
                  const char *table, const char *query, int64_t rows, uint64_t t);
uint64_t redis(struct demo_span *caller, const char *operation, const char *key, uint64_t t);
uint64_t elasticsearch(struct demo_span *caller, const char *index, const char *query, uint64_t t);
/* A host that sends no telemetry of its own. status 0: it does not answer within two seconds. */
uint64_t external_http(struct demo_span *caller, const char *method, const char *host,
                       const char *path, unsigned status, unsigned resend_count, uint64_t t);
/* Send a message about an order; returns when the broker has it. */
uint64_t publish(struct demo_span *caller, enum demo_topic_id topic, unsigned order, uint64_t t);
/* Attributes of a consumer's span, and its end; returns that. */
void consumer_attributes(struct demo_span *s, enum demo_topic_id topic, const char *operation,
                         const char *type);
uint64_t consumer_end(struct demo_span *s, enum demo_topic_id topic, uint64_t end_unix_ns);

/* ---- Flows
 * -------------------------------------------------------------------------------------------------
 */

/* Start what is due until `now`: visits, consumers, cron jobs, log lines, slow phases. */
void demo_flows(struct demo *d, uint64_t now_unix_ns);

/* ---- Export
 * -------------------------------------------------------------------------------------------------
 */

struct demo_totals {
    uint64_t spans, logs; /* acknowledged */
    uint64_t dropped;     /* items given up: rejected, or too many waiting */
};
NODISCARD enum err demo_export_open(struct demo *d);
void demo_export_close(struct demo *d);
/* Takes the item; when there is no memory it is counted as dropped. */
void demo_export_add(struct demo *d, uint64_t due_unix_ns, unsigned pod, enum demo_scope scope,
                     bool is_log, struct bytes message);
/* Move what has ended to its pod's queue, and send what is due; all of it when `everything`. */
void demo_export_send(struct demo *d, uint64_t now_unix_ns, bool everything);
/* Items that are not acknowledged or dropped yet. */
size_t demo_export_pending(const struct demo *d);
/* The last request was not taken. */
bool demo_export_is_failing(const struct demo *d);
void demo_export_totals(const struct demo *d, struct demo_totals *out);
struct client *demo_export_client(struct demo *d);

#endif
