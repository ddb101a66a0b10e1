/* SPDX-License-Identifier: Apache-2.0 */
/* request_body.h - the bytes of a body on their way into the request's arena.
 *
 * Role       copied once, to the place where they stay. A declared length (Content-Length, or the
 * prefix of gRPC's message) is reserved whole before the first byte; without one the room doubles.
 * Source     gRPC over HTTP/2, "Length-Prefixed-Message". */
#ifndef SPINDLE_NET_REQUEST_BODY_H
#define SPINDLE_NET_REQUEST_BODY_H

#include "base/arena.h"

#define GRPC_PREFIX_BYTES 5

struct request_body {
    bool is_grpc;
    bool has_declared;  /* `declared` is known */
    bool is_compressed; /* gRPC's flag */
    size_t cap_bytes;   /* more is ERR_TOO_LARGE */
    size_t declared;
    size_t arrived_bytes; /* all that came, prefixes included */
    uint8_t prefix[GRPC_PREFIX_BYTES];
    size_t prefix_len;
    uint8_t *data;
    size_t len, capacity;
};

/* Take a chunk. *out_taken says how much of it was, also on failure.
 * Errors  ERR_TOO_LARGE    over cap_bytes
 *         ERR_BUDGET, ERR_NOMEM  no room now; the rest of the chunk may be given again
 *         ERR_INVALID      gRPC: a flag that is neither 0 nor 1
 *         ERR_TOO_MANY     gRPC: more than one message */
NODISCARD enum err request_body_put(struct request_body *b, struct arena *arena, struct bytes chunk,
                                    size_t *out_taken);
/* The end. ERR_INVALID: cut short; ERR_NOT_FOUND: gRPC without any message. */
NODISCARD enum err request_body_end(const struct request_body *b);

#endif
