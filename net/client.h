/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - sending OTLP: a small HTTP/2 (gRPC) and HTTP/1.1 client on a loop of its own.
 *
 * Role       `spindle demo` and `spindle load`; later, forwarding. Many requests in flight over a
 * fixed number of connections, cleartext. A lost connection is made again, later and later up to 5
 * s, as long as there are calls to send. Threads    a client belongs to the thread that opened it;
 * client_run() runs its loop there. Blocking   client_open() looks the host up and may wait for it;
 * client_run() waits for the network. Ownership  calls and their bodies are the caller's and stay
 * where they are until on_done. */
#ifndef SPINDLE_NET_CLIENT_H
#define SPINDLE_NET_CLIENT_H

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct client;

enum client_protocol { CLIENT_GRPC, CLIENT_HTTP1 };

#define CLIENT_CONNECTIONS_MAX 1024u
#define CLIENT_IN_FLIGHT_MAX   1024u
#define CLIENT_ANSWER_MAX      (16u << 20) /* bytes of one answer's body; more is ERR_TOO_LARGE */

struct client_options {
    const char *endpoint; /* "127.0.0.1:4317", "[::1]:4317", with or without "http://"; borrowed */
    enum client_protocol protocol;
    unsigned connections;              /* 1..CLIENT_CONNECTIONS_MAX */
    unsigned in_flight_per_connection; /* 1..CLIENT_IN_FLIGHT_MAX; HTTP/1.1: always 1 */
    uint64_t timeout_ns;       /* of a call from when a slot takes it, and of connecting; 0: 10 s */
    const char *authorization; /* header value or NULL; borrowed */
};

struct client_result {
    /* Of the transport: ERR_IO (no connection, or lost), ERR_DEADLINE, ERR_INVALID (not an answer
     * in this protocol), ERR_TOO_LARGE, ERR_NOMEM, ERR_CANCELLED (closed); else ERR_OK. */
    enum err error;
    const char
        *cause; /* with ERR_IO what the system said, static text: "connection refused"; or NULL */
    unsigned http_status; /* 200...; 0 when there was none */
    int grpc_status; /* 0..16; gRPC's reading of the HTTP status or the reset when the server gave
                        none; -1 for HTTP/1.1 and where error is set */
    struct bytes message;    /* grpc-message, decoded; borrowed for the callback */
    struct bytes body;       /* the response message or body; borrowed for the callback */
    uint64_t retry_after_ns; /* from RetryInfo or Retry-After; 0: none */
};

struct client_call {
    const char *path;         /* "/package.Service/Method" or "/v1/traces" */
    const char *content_type; /* HTTP/1.1 only */
    const char *encoding;     /* "gzip", "zstd" or NULL: the body is compressed so */
    struct bytes body;        /* the message without gRPC's prefix; borrowed until on_done */
    /* NULL, or over HTTP/1.1 takes the body of a 200 as it comes, of any size; the result then has none. */
    void (*on_piece)(struct client_call *call, struct bytes piece);
    void (*on_done)(struct client_call *call, const struct client_result *result);
    void *context;
    struct client_call *next; /* the client's */
};

/* Nothing is connected yet. The process ignores SIGPIPE from here on: libuv writes without
 * MSG_NOSIGNAL, and a server that hangs up must not end its client.
 *
 * Errors  ERR_INVALID      the endpoint cannot be read, or options are out of range
 *         ERR_UNSUPPORTED  https
 *         ERR_NOT_FOUND    the host has no address
 *         ERR_NOMEM */
NODISCARD enum err client_open(const struct client_options *options, struct client **out);
/* Ends what is under way with ERR_CANCELLED. Not from callbacks. */
void client_close(struct client *c);
/* Why client_open() failed, as static text for people. */
const char *client_open_text(enum err e);
/* Why a call failed whose error is not ERR_OK: its cause, or the error's text. */
const char *client_result_text(const struct client_result *result);

/* Send when a slot is free; calls wait in order. on_done comes later, from client_run(), once. A
 * call that waits while no connection can be made ends with ERR_IO when the attempt has failed. */
void client_send(struct client *c, struct client_call *call);
/* How many calls more could be sent at once: all slots, less the calls under way and waiting. */
size_t client_free_slots(const struct client *c);
/* Run the loop: until client_stop(), or, with until_idle, until no call is left. on_tick, if not
 * NULL, is called every tick_ns (whole milliseconds, at least one). */
void client_run(struct client *c, bool until_idle, uint64_t tick_ns, void (*on_tick)(void *context),
                void *context);
void client_stop(struct client *c); /* from callbacks */

/* Is this status one that an OTLP exporter sends again? With RESOURCE_EXHAUSTED only if the server
 * said when. */
bool client_result_is_retryable(const struct client_result *result);

#endif
