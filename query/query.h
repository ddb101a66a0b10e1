/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - answering questions: the native API, Jaeger's API, on a pool of threads.
 *
 * Role       adds its routes to a router; each request becomes a job on a reader thread, which asks
 * the engine and writes the answer. One file per API family; TraceQL and every family's parameters
 *            become the one filter tree of storage/expr.h.
 * Threads    handlers run on event loops and only queue; workers do the rest. */
#ifndef SPINDLE_QUERY_QUERY_H
#define SPINDLE_QUERY_QUERY_H

#include "base/metrics.h"
#include "net/router.h"
#include "storage/engine.h"

struct query_service;

struct query_options {
    struct engine *engine;
    struct metrics *metrics;
    unsigned workers;      /* heavy queries at once; 0: query_workers_default() */
    unsigned queue_max;    /* that may wait in each lane; 0: 256; more are 503 with Retry-After */
    uint64_t timeout_ns;   /* of a query; 0: 10 s */
    size_t memory_bytes;   /* of a query; 0: 64 MiB */
    struct budget *budget; /* shared by all queries; may be NULL */
    /* For answers over 64 KiB that wait for their clients, a part of the one above so that who does
     * not read leaves memory to the others; may be NULL. It outlives the server. */
    struct budget *answers_budget;
    uint64_t started_unix_ns; /* for /status; 0: now */
    uint64_t tail_alive_ns;   /* between a tail's comments; 0: 5 s */
    const char *version;      /* for /meta */
};

/* As many as cores, at least 2 and at most 256. */
unsigned query_workers_default(void);
/* Starts the workers. Errors: ERR_NOMEM. */
NODISCARD enum err query_open(const struct query_options *options, struct query_service **out);
/* /api/spindle/v1/..., /api/... and /api/v3/... of Jaeger. Once; the service must outlive the
 * router's use. Errors: ERR_NOMEM, and those of router_add(). */
NODISCARD enum err query_add_routes(struct query_service *s, struct router *r);
/* What is known once the server listens; for /meta and /status. */
struct query_endpoint {
    const char *name, *url; /* "otlp-http", "http://127.0.0.1:4318" */
};
struct query_facts {
    const struct query_endpoint *endpoints;
    size_t endpoint_count;
    bool has_auth, has_tls;
    uint64_t traces_kept_ns, logs_kept_ns; /* 0: until the disk says no */
};
/* Borrowed for as long as the service lives. Once, also while queries run. */
void query_set_facts(struct query_service *s, const struct query_facts *facts);

/* Ask in the background, once, what takes longest the first time after a start (query/warm.h). Once. */
void query_warm(struct query_service *s);

/* Ends what would stay open as long as its client likes: before server_drain(), which waits for it. */
void query_drain(struct query_service *s);
/* Answers what waits, finishes what runs, joins the workers. After server_stop(), which cancels
 * every exchange that is still open: then what runs ends at its next check, else at its deadline at
 * the latest. */
void query_close(struct query_service *s);

#endif
