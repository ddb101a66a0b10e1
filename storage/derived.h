/* SPDX-License-Identifier: Apache-2.0 */
/* derived.h - numbers made of every stored span: RED series, edges of the service map, and what keeps
 * both within bounds.
 *
 * Role       the questions and answers of engine_red(), engine_edges(), engine_totals() and
 *            engine_cleaned_names() in storage/engine.h.
 * Truth      a span counts once, when it is acknowledged: the answers to queries hold what is in row groups
 *            and what is still in the journal. A span sent again in another batch may count twice for the
 *            seconds until its row group is built, and once from then on.
 * Time       a span belongs to the minute in which it starts. Steps are multiples of a minute;
 *            points begin at multiples of the step. For what outlived its partition (sealed and
 *            removed) the finest step is an hour.
 * Ownership  results live in the query_context's arena.
 * Source     DESIGN 7. */
#ifndef SPINDLE_STORAGE_DERIVED_H
#define SPINDLE_STORAGE_DERIVED_H

#include "base/query_context.h"
#include "proto/otlp.h"
#include "storage/derive/histogram.h"

#define DERIVED_STEP_MIN_NS (UINT64_C(60) * 1000000000)

/* The name of series, services and nodes in which those over a bound are counted. */
#define DERIVED_OVERFLOW_NAME "(other)"

struct derived_range {
    uint64_t min_unix_ns, max_unix_ns; /* from, and up to but without; widened to whole steps */
    uint64_t step_ns; /* a multiple of DERIVED_STEP_MIN_NS; 0: one point for the range */
};

/* A trace to look at: of the slowest call, or of the newest failed one. */
struct derived_exemplar {
    bool is_set;
    struct trace_id trace_id;
    struct span_id span_id;
    uint64_t start_unix_ns, duration_ns;
};

/* ---- RED series ------------------------------------------------------------------------------ */

/* By which parts of the key to group; what is not named is summed and empty (0) in the answer. */
enum red_group {
    RED_BY_SERVICE = 1, /* and namespace */
    RED_BY_ENVIRONMENT = 2,
    RED_BY_NAME = 4,
    RED_BY_KIND = 8,
    RED_BY_STATUS = 16
};

struct red_query {
    struct derived_range range;
    unsigned group;                /* of enum red_group */
    struct bytes service;          /* empty: all */
    const struct bytes *namespace; /* NULL: all */
    const struct bytes *environment;
    struct bytes name;   /* cleaned; empty: all */
    unsigned kinds;      /* bit 1 << kind (0..5); 0: all */
    bool wants_duration; /* else the histograms are empty: cheaper */
};

struct red_point {
    uint64_t start_unix_ns;
    uint64_t calls, errors;                   /* stored spans; errors: status ERROR */
    double estimated_calls, estimated_errors; /* corrected for the sampling the spans tell of */
    uint64_t bytes;                           /* of the spans as OTLP */
    uint64_t duration_ns;                     /* sum; saturating; 0 unless wants_duration */
    struct histogram duration;                /* nanoseconds */
    struct derived_exemplar slowest, failed;
};

struct red_series {
    struct bytes service, namespace, environment;
    struct bytes name;        /* cleaned: see struct derived_cleaned */
    uint32_t kind;            /* as sent; numbers over 5 are summed under 0 */
    uint32_t status;          /* 0 unset, 1 ok, 2 error */
    struct red_point *points; /* ascending; steps without calls are absent */
    size_t points_count;
};

struct red_result {
    struct red_series *series;
    size_t count;
    bool is_damaged; /* some of what was counted cannot be read: the numbers are too low */
};

/* ---- The service map ------------------------------------------------------------------------- */

enum derived_node_kind {
    NODE_SERVICE,  /* one that sends spans */
    NODE_DATABASE, /* one per (system, namespace, address) */
    NODE_QUEUE,    /* a topic or queue: one per (system, destination) */
    NODE_EXTERNAL, /* called, or calling, and never seen to send spans */
    NODE_USER,     /* who calls a root SERVER span */
    NODE_UNKNOWN,  /* a callee that nothing names */
    NODE_OTHER     /* what is over the bound of nodes */
};

struct derived_node {
    enum derived_node_kind kind;
    struct bytes name;      /* service.name, database, destination, host[:port] */
    struct bytes namespace; /* service.namespace */
    struct bytes
        environment;     /* of a service; of any other node, that of the service which names it */
    struct bytes system; /* db.system.name, messaging.system */
};

enum connection_type {
    CONNECTION_DIRECT,    /* "" */
    CONNECTION_MESSAGING, /* "messaging_system" */
    CONNECTION_DATABASE,  /* "database" */
    CONNECTION_VIRTUAL    /* "virtual_node" */
};
const char *connection_type_text(enum connection_type type); /* the metric label */

struct edge_point {
    uint64_t
        start_unix_ns; /* by the minute in which the client's span starts; without: the server's */
    uint64_t calls, failed; /* failed: either side has status ERROR */
    struct histogram client,
        server; /* durations as either side saw them; each call at most once each */
    struct derived_exemplar slowest, failed_example;
};

/* Messages appear twice: as producer -> queue and queue -> consumer, where the spans name a destination,
 * and as producer -> consumer where both are known to belong together; the latter has `via`. A map shows
 * the former; the service-graph metrics are the latter. */
struct edge {
    struct derived_node client, server;
    enum connection_type type;
    struct bytes via; /* of producer -> consumer: the destination between them, else empty */
    struct edge_point *points;
    size_t points_count;
};

#define UNPAIRED_SAMPLES_MAX 3

enum unpaired_reason {
    UNPAIRED_NO_SERVER,     /* a CLIENT span without peer name whose SERVER span never came */
    UNPAIRED_BROKEN_PARENT, /* a SERVER or CONSUMER span whose parent never came */
    UNPAIRED_SAMPLED,       /* either, and the spans say that others were sampled away */
    UNPAIRED_EXPIRED,       /* given up early, for want of memory */
    UNPAIRED_REASON_COUNT
};
const char *unpaired_reason_text(enum unpaired_reason reason);

struct unpaired {
    struct derived_node node; /* whose span has no partner */
    enum unpaired_reason reason;
    uint64_t count;
    struct trace_id samples[UNPAIRED_SAMPLES_MAX];
    size_t samples_count;
};

/* A half younger than this, by arrival, is still waiting and in no answer. */
#define DERIVED_PATIENCE_NS (UINT64_C(15) * 1000000000)

struct edge_query {
    struct derived_range range;
    bool wants_durations;
    bool skips_services; /* leave out what is between two services, and halves that stayed alone */
    /* Of two halves only one has come, this long ago: it counts as if it were alone. Should the other come
     * later (up to 15 minutes), the answers are right from then on. */
    uint64_t patience_ns;
};

struct edge_result {
    struct edge *edges;
    size_t count;
    struct unpaired *unpaired; /* over the whole range */
    size_t unpaired_count;
    bool is_damaged; /* as above */
};

/* ---- Counters since the start ---------------------------------------------------------------- */

/* What was stored by this process: monotonic; spans count when their row group is built, some seconds
 * after they came. Series without spans for TOTALS_IDLE_NS (or what the engine
 * was told) are not in it, and begin at 0 again. */
#define TOTALS_IDLE_NS (UINT64_C(900) * 1000000000)

struct red_total {
    struct bytes service, namespace, environment, name;
    uint32_t kind, status;
    uint64_t created_unix_ns; /* when it began at 0 */
    uint64_t calls, bytes;
    double estimated_calls;
    struct histogram duration; /* its sum is the sum of durations */
    struct derived_exemplar slowest, newest;
};
struct edge_total {
    struct derived_node client, server;
    enum connection_type type;
    struct bytes via;
    uint64_t created_unix_ns;
    uint64_t calls, failed;
    struct histogram client_duration, server_duration;
    struct derived_exemplar newest;
};

/* Where the bounds are, and what went over them. */
struct derived_bounds {
    uint64_t series, series_max, series_per_service_max;
    uint64_t services, services_max;
    uint64_t edges, edges_max;
    uint64_t halves, halves_max; /* waiting for, or open to, a partner */
    uint64_t overflowed_series_spans, overflowed_service_spans, overflowed_edge_calls;
    uint64_t memory_bytes;
};

struct derived_totals {
    struct red_total *series;
    size_t series_count;
    struct edge_total *edges;
    size_t edges_count;
    uint64_t unpaired[UNPAIRED_REASON_COUNT];
    struct derived_bounds bounds;
};

/* ---- Names that were cleaned ----------------------------------------------------------------- */

/* Why a span is counted under another name than its own; several may hold. */
enum cleaned_reason {
    CLEANED_NUMBER = 1 << 0,
    CLEANED_UUID = 1 << 1,
    CLEANED_HEX = 1 << 2,
    CLEANED_DATE = 1 << 3,
    CLEANED_EMAIL = 1 << 4,
    CLEANED_TOKEN = 1 << 5,   /* letters and digits in a jumble */
    CLEANED_ADDRESS = 1 << 6, /* of IPv4 */
    CLEANED_QUERY = 1 << 7,   /* what stood behind a question mark */
    CLEANED_LONG = 1 << 8,    /* cut */
    CLEANED_LEARNED = 1 << 9, /* the service has too many values in that place */
    CLEANED_RULE = 1 << 10,   /* the configuration says so */
    CLEANED_OVERFLOW = 1 << 11
};
#define CLEANED_REASON_COUNT 12
/* "number", "uuid", "hex", "date", "email", "token", "address", "query", "long", "learned", "rule", "overflow". */
const char *cleaned_reason_text(enum cleaned_reason reason);

struct derived_cleaned {
    struct bytes service, name; /* as counted */
    struct bytes example;       /* a span name that became it */
    unsigned reasons;           /* of enum cleaned_reason */
    unsigned rule;              /* with CLEANED_RULE: which, from 1 */
    uint64_t spans;             /* as totals count: since the start, or since it was idle */
};

#endif
