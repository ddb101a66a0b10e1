/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - listeners and event loops.
 *
 * Role       each listener tells HTTP/1.1, HTTP/2 with prior knowledge and gRPC apart by their
 * first bytes, or by ALPN under TLS, enforces the limits below, and calls the routes of its router.
 * Threads    server_start() starts the loops' threads; server_drain() and server_stop() from any
 * thread but theirs. Source     RFC 9110, 9112, 9113, 7541; gRPC over HTTP/2; RELIABILITY 6.5
 * and 6.6 for the limits. */
#ifndef SPINDLE_NET_SERVER_H
#define SPINDLE_NET_SERVER_H

#include "base/budget.h"
#include "base/metrics.h"
#include "net/router.h"

struct server;

/* Decides from the head of a request alone, before a body byte is kept. Sets *out_principal.
 * ERR_OK, ERR_UNAUTHENTICATED, ERR_DENIED. Runs on loops; constant time in the secret. */
typedef enum err server_authorize_fn(void *context, struct bytes authorization, enum scope needed,
                                     uint64_t *out_principal);

struct listener_options {
    const char *name;    /* "otlp-grpc", "otlp-http", "http": for logs and metrics */
    const char *address; /* "127.0.0.1:4317", "[::1]:0"; port 0 picks one */
    struct router *router;
};

struct server_limits {                               /* 0: the default in the comment */
    unsigned connections;                            /* 10,000 */
    unsigned connections_per_ip;                     /* 256; loopback is one IP */
    unsigned streams;                                /* 100 a connection */
    size_t header_bytes_http1;                       /* 32 KiB */
    size_t header_bytes_http2;                       /* 16 KiB */
    unsigned header_fields_soft, header_fields_hard; /* 100: 431; 400: close */
    uint64_t header_timeout_ns;                      /* 10 s */
    uint64_t idle_timeout_ns;                        /* 60 s without a request under way */
    uint64_t stalled_answer_ns;                      /* 30 s without 1 KiB of progress */
    size_t body_rate_min;                            /* 1 KiB/s after body_rate_grace_ns */
    uint64_t body_rate_grace_ns;                     /* 5 s */
};

/* One loop for each core, 64 at most. */
unsigned server_loops_default(void);

struct server_options {
    unsigned loops; /* 0: server_loops_default(); 64 at most */
    const struct listener_options *listeners;
    size_t listener_count;
    struct server_limits limits;
    const char *tls_cert_path, *tls_key_path; /* both or none: TLS 1.2+ on every listener */
    const char *tls_client_ca_path;           /* require client certificates from this CA */
    server_authorize_fn *authorize;           /* NULL: everything is allowed */
    void *authorize_context;
    const char *const *hosts; /* accepted Host names besides IP addresses of loopback, "localhost"
                                 and the bound addresses; against DNS rebinding. 421 otherwise */
    size_t host_count;
    struct budget *request_budget; /* bytes of requests in flight; NULL: none */
    struct metrics *metrics;       /* may be NULL */
};

/* Binds all listeners, then starts the loops. On failure nothing runs, and *out_message (mem_free()
 * it) says which address or file, and why. */
NODISCARD enum err server_start(const struct server_options *options, struct server **out,
                                char **out_message);
/* Of the form HOST:PORT, by its spelling alone. */
bool server_address_is_valid(const char *address);
/* Whether the files of TLS can be read and the listeners be bound now; nothing stays bound. For a start
 * that must not leave traces when it cannot succeed. */
NODISCARD enum err server_probe(const struct server_options *options, char **out_message);
/* The port that listener `index` is bound to. */
unsigned server_port(const struct server *s, size_t index);
/* Read certificate and key again; connections stay. ERR_INVALID or ERR_IO: the old ones stay in
 * use. */
NODISCARD enum err server_reload_tls(struct server *s, char **out_message);
/* Stop accepting; GOAWAY in two steps, Connection: close; returns when nothing is in flight any
 * more, or after timeout_ns. Blocks. */
void server_drain(struct server *s, uint64_t timeout_ns);
/* Close everything, join the loops, free. Exchanges still unanswered may be answered later: into
 * nothing. */
void server_stop(struct server *s);

#endif
