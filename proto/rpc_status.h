/* SPDX-License-Identifier: Apache-2.0 */
/* rpc_status.h - google.rpc.Status: how errors are told over gRPC and OTLP/HTTP.
 *
 * Role       bytes for grpc-status-details-bin and for bodies of failed binary requests, text for
 *            those of JSON requests.
 * Ownership  everything is borrowed for the call.
 * Threads    pure.
 * Errors     the buffer's.
 * Source     google/rpc/status.proto, error_details.proto; protobuf's JSON mapping. */
#ifndef SPINDLE_PROTO_RPC_STATUS_H
#define SPINDLE_PROTO_RPC_STATUS_H

#include "base/buffer.h"

/* One entry of the BadRequest detail. */
struct rpc_violation {
    struct bytes field;       /* what is wrong: a path of names, or of the input */
    struct bytes description; /* why */
};

struct rpc_status {
    unsigned code;           /* of gRPC */
    struct bytes message;    /* English; invalid UTF-8 leaves as U+FFFD, and a NUL ends it */
    uint64_t retry_delay_ns; /* of the RetryInfo detail; 0: none */
    const struct rpc_violation *violations; /* of the BadRequest detail */
    size_t violation_count;                 /* 0: none */
};

/* Append the protobuf form. */
void rpc_status_encode(const struct rpc_status *status, struct buffer *out);
/* Append {"code":..,"message":..,"details":[..]}. */
void rpc_status_encode_json(const struct rpc_status *status, struct buffer *out);

#endif
