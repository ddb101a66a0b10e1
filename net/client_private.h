/* SPDX-License-Identifier: Apache-2.0 */
/* client_private.h - what client.c and its two protocols share.
 *
 * Role       client.c owns the loop, connects, keeps time and hands calls to connections with free
 * slots. client_http2.c and client_http1.c turn calls into bytes and bytes into results. */
#ifndef SPINDLE_NET_CLIENT_PRIVATE_H
#define SPINDLE_NET_CLIENT_PRIVATE_H

#include "base/buffer.h"
#include "net/client.h"

#include <sys/socket.h>
#include <uv.h>

enum connection_state {
    CONNECTION_CLOSED, /* nothing; made again when there are calls and retry_at has come */
    CONNECTION_CONNECTING,
    CONNECTION_OPEN,
    CONNECTION_CLOSING /* uv_close() is under way */
};

/* One call under way, and its answer so far. */
struct client_slot {
    struct client_call *call; /* NULL: free */
    uint64_t deadline_mono_ns;
    int32_t stream_id; /* HTTP/2 */
    size_t body_sent;  /* of prefix and body */
    uint8_t prefix[5]; /* gRPC */
    unsigned http_status;
    int grpc_status; /* -1: none yet */
    uint64_t retry_after_ns;
    struct buffer message, answer;
    enum err error;
};

struct client_connection {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    uv_write_t writing;
    struct client *client;
    enum connection_state state;
    bool is_writing, takes_calls; /* takes_calls: false after GOAWAY */
    uint64_t retry_at_mono_ns, retry_delay_ns, connect_deadline_mono_ns;
    struct client_slot *slots; /* [slot_count] */
    unsigned slot_count, busy_count;
    struct buffer out; /* being written while is_writing */
    void *session;     /* the protocol's */
};

/* A protocol. Errors of receive and flush close the connection. */
struct client_protocol_ops {
    NODISCARD enum err (*begin)(struct client_connection *k);
    void (*end)(struct client_connection *k); /* frees the session; safe without one */
    NODISCARD enum err (*start)(struct client_connection *k, struct client_slot *slot);
    /* Give up a call whose deadline has passed. False: the connection has to be closed. */
    bool (*abandon)(struct client_connection *k, struct client_slot *slot);
    NODISCARD enum err (*receive)(struct client_connection *k, struct bytes in);
    /* Put what is to be sent into k->out, which is empty. */
    NODISCARD enum err (*flush)(struct client_connection *k);
};
extern const struct client_protocol_ops client_http2_ops, client_http1_ops;

struct client {
    struct client_options options;
    const struct client_protocol_ops *ops;
    struct sockaddr_storage address;
    char *authority; /* "host:port" as in the endpoint */
    uv_loop_t loop;
    uv_timer_t watch, tick; /* deadlines and reconnecting; the caller's */
    void (*on_tick)(void *context);
    void *tick_context;
    struct client_call *first, *last; /* waiting */
    size_t waiting_count, busy_count;
    bool until_idle, is_stopped, has_loop;
    const char *cause; /* what the system said of the connection lost last; NULL: nothing */
    uint8_t *read_buffer;
    struct client_connection *connections; /* [options.connections] */
    unsigned next_connection;
};

/* The slot's call is answered: on_done, and the slot is free. `error` as in client_result. */
void client_slot_finish(struct client_connection *k, struct client_slot *slot, enum err error);
/* Append to the answer, within CLIENT_ANSWER_MAX. */
void client_slot_answer(struct client_slot *slot, struct bytes piece);
/* Of a Retry-After header: seconds. (Dates are not read: no OTLP server sends one.) */
uint64_t client_retry_after_ns(struct bytes value);
/* RetryInfo's delay in a google.rpc.Status message; 0 when it has none. */
uint64_t client_retry_info_ns(struct bytes status);

#endif
