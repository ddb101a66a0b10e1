/* SPDX-License-Identifier: Apache-2.0 */
/* collector.h - receiving telemetry: the OTLP services, admission, health and /metrics.
 *
 * Role       adds its routes to the routers of the listeners; checks, limits and hands requests
 *            to the engine; answers as RELIABILITY section 4 says.
 * Threads    handlers run on event loops; the engine's completions on its threads. Opening,
 *            adding routes and closing: one thread.
 * Blocking   handlers never; collector_close() waits for the engine. */
#ifndef SPINDLE_COLLECTOR_COLLECTOR_H
#define SPINDLE_COLLECTOR_COLLECTOR_H

#include "base/metrics.h"
#include "collector/derived_families.h"
#include "net/router.h"
#include "storage/engine.h"

struct collector;

struct collector_options {
    struct engine *engine;   /* borrowed; outlives the collector */
    struct metrics *metrics; /* borrowed; may be NULL */
    struct otlp_limits limits;
    size_t request_bytes_max;           /* decoded; 0: 64 MiB */
    uint64_t hold_ns;                   /* before refusing; 0: 2 s */
    const struct hash_key *request_key; /* of the installation, so that a resent request is known
                                           again after a restart; copied. request_key.h */
    enum span_metrics span_metrics;     /* whose names /metrics has for RED series and edges */
    const char *version;                /* for /health and /metrics; borrowed */
};

/* Errors: ERR_NOMEM. */
NODISCARD enum err collector_open(const struct collector_options *options, struct collector **out);

/* OTLP over gRPC (traces, logs; metrics and profiles answered UNIMPLEMENTED in words), health.v1,
 * and POST /v1/traces, /v1/logs. Errors: the router's. */
NODISCARD enum err collector_add_otlp_routes(struct collector *c, struct router *r);

/* /health, /health/live, /health/ready, /metrics. Errors: the router's. */
NODISCARD enum err collector_add_admin_routes(struct collector *c, struct router *r);

/* What /health/ready and grpc health answer; set by main when the engine is open, and when
 * stopping. Once it goes back to false the collector is stopping for good, and streams of health.v1
 * end. Exports are taken all the same, for as long as the server brings them. */
void collector_set_ready(struct collector *c, bool is_ready);

/* Waits until every request handed to the engine has been answered, answers those still held,
 * frees. The server that calls the routes must have stopped, the engine must still be open. NULL
 * does nothing. */
void collector_close(struct collector *c);

#endif
