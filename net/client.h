/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - sending OTLP: a small HTTP/2 (gRPC) and HTTP/1.1 client on a loop of its own.
 *
 * Role       `spindle demo` and `spindle load`; later, forwarding. Many requests in flight over a fixed
 *            number of connections, cleartext.
 * Threads    a client belongs to the thread that opened it; client_run() runs its loop there. */
#ifndef SPINDLE_NET_CLIENT_H
#define SPINDLE_NET_CLIENT_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct client;

enum client_protocol { CLIENT_GRPC, CLIENT_HTTP1 };

struct client_options {
    const char *endpoint; /* "127.0.0.1:4317", with or without "http://" */
    enum client_protocol protocol;
    unsigned connections;            /* >= 1 */
    unsigned in_flight_per_connection; /* >= 1; HTTP/1.1: 1 */
    uint64_t timeout_ns;             /* of a call, and of connecting */
    const char *authorization;       /* header value or NULL */
};

struct client_result {
    enum err error;       /* of the transport: ERR_IO, ERR_DEADLINE; else ERR_OK */
    unsigned http_status; /* 200... */
    int grpc_status;      /* 0..16, -1 when there was none */
    struct bytes message; /* grpc-message, decoded; borrowed */
    struct bytes body;    /* the response message or body; borrowed for the callback */
    uint64_t retry_after_ns; /* from RetryInfo or Retry-After; 0: none */
};

struct client_call {
    const char *path;         /* "/package.Service/Method" or "/v1/traces" */
    const char *content_type; /* HTTP/1.1 only */
    const char *encoding;     /* "gzip", "zstd" or NULL: the body is compressed so */
    struct bytes body;        /* the message without gRPC's prefix; borrowed until on_done */
    void (*on_done)(struct client_call *call, const struct client_result *result);
    void *context;
    struct client_call *next; /* the client's */
};

NODISCARD enum err client_open(const struct client_options *options, struct client **out);
/* Sends when a slot is free; calls wait in order. */
void client_send(struct client *c, struct client_call *call);
/* Calls that could be sent at once. */
size_t client_free_slots(const struct client *c);
/* Run the loop: until client_stop(), or, with until_idle, until no call is left. on_tick, if not NULL, is
 * called every tick_ns. */
void client_run(struct client *c, bool until_idle, uint64_t tick_ns, void (*on_tick)(void *context),
                void *context);
void client_stop(struct client *c); /* from callbacks */
void client_close(struct client *c);

#endif
