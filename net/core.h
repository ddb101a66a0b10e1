/* SPDX-License-Identifier: Apache-2.0 */
/* core.h - what all connections of one server share.
 *
 * Role       limits, the listeners' tables, counters. Set before the loops start, read-only
 * afterwards but for the atomics. Threads    any. */
#ifndef SPINDLE_NET_CORE_H
#define SPINDLE_NET_CORE_H

#include "net/server.h"

#include <pthread.h>
#include <stdatomic.h>

struct loop;
struct peers;
struct tls;

/* Limits that can be hit and other causes to refuse: the reasons of spindle_net_limit_total, told
 * in docs/API.md. */
#define NET_LIMIT_LIST(X)                                                                          \
    X(CONNECTIONS, "connections")                                                                  \
    X(CONNECTIONS_PER_IP, "connections_per_ip")                                                    \
    X(DESCRIPTORS, "descriptors")                                                                  \
    X(HEADER_BYTES, "header_bytes")                                                                \
    X(HEADER_FIELDS, "header_fields")                                                              \
    X(HEADER_TIMEOUT, "header_timeout")                                                            \
    X(IDLE_TIMEOUT, "idle_timeout")                                                                \
    X(SLOW_BODY, "slow_body")                                                                      \
    X(STALLED_ANSWER, "stalled_answer")                                                            \
    X(STRIKES, "strikes")                                                                          \
    X(PINGS, "pings")                                                                              \
    X(BODY_BYTES, "body_bytes")                                                                    \
    X(BUDGET, "budget")                                                                            \
    X(DEADLINE, "deadline")                                                                        \
    X(HOST, "host")                                                                                \
    X(BAD_REQUEST, "bad_request")                                                                  \
    X(UNIMPLEMENTED, "unimplemented")                                                              \
    X(CONTENT_TYPE, "content_type")                                                                \
    X(COMPRESSION, "compression")                                                                  \
    X(BAD_COMPRESSION, "bad_compression")                                                          \
    X(GRPC_FRAMING, "grpc_framing")                                                                \
    X(PROTOCOL, "http2_protocol_error")                                                            \
    X(UNAUTHENTICATED, "unauthenticated")                                                          \
    X(TLS, "tls_failure")                                                                          \
    X(HELD, "held_for_budget")

enum net_limit {
#define X(name, text) NET_LIMIT_##name,
    NET_LIMIT_LIST(X)
#undef X
        NET_LIMIT_COUNT
};

struct listener {
    const char *name;
    struct router *router;
    int fd;
    unsigned port;
    struct bytes host; /* the bound address without port, as a Host header would name it */
    bool is_wildcard;  /* bound to all addresses: any IP address may be named */
    char host_text[64];
    struct metric *requests[3]; /* by enum protocol */
};

struct core {
    struct server_limits limits; /* defaults filled in */
    server_authorize_fn *authorize;
    void *authorize_context;
    const char *const *hosts;
    size_t host_count;
    struct budget *request_budget;
    struct metric *limit[NET_LIMIT_COUNT];
    struct metric *connections_now, *connections_total, *bytes_in, *bytes_out;
    struct tls *tls; /* NULL: cleartext */
    struct peers *peers;
    _Atomic uint64_t next_request_id;
    _Atomic unsigned connection_count;
    _Atomic bool is_draining;

    pthread_mutex_t idle_lock; /* guards in_flight */
    pthread_cond_t idle_changed;
    size_t in_flight; /* requests whose answer has not wholly been sent */
};

/* Defaults, counters and locks; borrows what the options point to. */
NODISCARD enum err core_init(struct core *core, const struct server_options *options);
void core_deinit(struct core *core);

static inline void core_hit(const struct core *core, enum net_limit limit)
{
    metric_add(core->limit[limit], 1);
}

/* Count the requests in flight, which a drain waits for. */
void core_request_began(struct core *core);
void core_request_ended(struct core *core);

#endif
