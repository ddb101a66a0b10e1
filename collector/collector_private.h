/* SPDX-License-Identifier: Apache-2.0 */
/* collector_private.h - what the sources behind collector.h share. */
#ifndef SPINDLE_COLLECTOR_PRIVATE_H
#define SPINDLE_COLLECTOR_PRIVATE_H

#include "collector/answers.h"
#include "collector/collector.h"
#include "collector/scrape.h"

#include <pthread.h>

struct export_call; /* export_service.c */

/* Only forward. Exports are taken in each but the last: who still finds a way in is still served. */
enum collector_state { COLLECTOR_STARTING, COLLECTOR_READY, COLLECTOR_STOPPING, COLLECTOR_CLOSED };

enum transport { TRANSPORT_GRPC, TRANSPORT_HTTP, TRANSPORT_COUNT };

/* What is counted for each signal. The names under which /metrics shows them: collector.c. */
struct export_metrics {
    struct metric *requests[TRANSPORT_COUNT][ENCODING_COUNT];
    struct metric *refused[TRANSPORT_COUNT][ERR_COUNT];
    struct metric *received_bytes[CODEC_COUNT];
    struct metric *decoded_bytes;
    struct metric *requests_held, *requests_resent, *requests_rewritten;
    struct metric *items_stored;
    struct metric *items_rejected[OTLP_REJECT_COUNT];
    struct metric *items_warned[OTLP_WARN_COUNT];
    struct metric *unknown_fields;
    struct metric *acknowledged[TRANSPORT_COUNT];
};

/* A route's context: which signal its handler is for. */
struct export_route {
    struct collector *collector;
    enum signal signal;
};

struct collector {
    struct engine *engine;
    struct metrics *metrics;
    struct otlp_limits limits;
    struct hash_key request_key;
    size_t request_bytes_max;
    uint64_t hold_ns;
    const char *version;
    uint64_t started_unix_ns;

    struct export_route routes[SIGNAL_COUNT];
    struct export_metrics counted[SIGNAL_COUNT];
    struct metric *in_flight;
    struct metric *watchers_refused;

    enum span_metrics span_metrics;
    struct scrapes *scrapes;

    _Atomic enum collector_state state;
    _Atomic unsigned watchers; /* streams of health.v1's Watch */

    pthread_mutex_t lock; /* guards the three below */
    pthread_cond_t is_idle;
    struct export_call *held; /* waiting for their next try, newest first */
    size_t calls;             /* begun and not yet answered */
};

static inline enum collector_state collector_state(const struct collector *c)
{
    return atomic_load_explicit(&c->state, memory_order_acquire);
}

/* export_service.c */
void export_handle(struct exchange *x, void *route);
/* Answer every held request with ERR_STOPPING. */
void export_abandon_held(struct collector *c);

/* health.c */
NODISCARD enum err health_add_grpc_routes(struct collector *c, struct router *r);
NODISCARD enum err health_add_http_routes(struct collector *c, struct router *r);

/* metrics_page.c */
NODISCARD enum err metrics_page_open(struct collector *c); /* its thread: c->scrapes */
NODISCARD enum err metrics_page_add_route(struct collector *c, struct router *r);

#endif
