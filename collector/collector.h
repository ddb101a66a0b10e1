/* SPDX-License-Identifier: Apache-2.0 */
/* collector.h - receiving telemetry: the OTLP services, admission, health and /metrics.
 *
 * Role       adds its routes to the routers of the listeners; checks, limits and hands requests to the
 *            engine; answers as RELIABILITY section 4 says.
 * Threads    handlers run on event loops; the engine's completions on its threads. */
#ifndef SPINDLE_COLLECTOR_COLLECTOR_H
#define SPINDLE_COLLECTOR_COLLECTOR_H

#include "base/metrics.h"
#include "net/router.h"
#include "storage/engine.h"

struct collector;

struct collector_options {
    struct engine *engine;
    struct metrics *metrics;
    struct otlp_limits limits;
    size_t request_bytes_max; /* decoded; 0: 64 MiB */
    uint64_t hold_ns;         /* before refusing; 0: 2 s */
};

NODISCARD enum err collector_open(const struct collector_options *options, struct collector **out);
/* OTLP over gRPC (traces, logs; metrics answered UNIMPLEMENTED in words), health.v1, and POST /v1/traces,
 * /v1/logs. */
NODISCARD enum err collector_add_otlp_routes(struct collector *c, struct router *r);
/* /health, /health/live, /health/ready, /metrics. */
NODISCARD enum err collector_add_admin_routes(struct collector *c, struct router *r);
/* What /health/ready and grpc health answer; set by main when the engine is open, and when stopping. */
void collector_set_ready(struct collector *c, bool is_ready);
/* Waits until every request handed to the engine has been answered. */
void collector_close(struct collector *c);

/* auth.h's store of tokens and its server_authorize_fn live in collector/auth.h. */

#endif
