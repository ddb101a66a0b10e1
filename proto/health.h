/* SPDX-License-Identifier: Apache-2.0 */
/* health.h - the messages of gRPC's health service.
 *
 * Threads    pure.
 * Source     grpc/health/v1/health.proto. */
#ifndef SPINDLE_PROTO_HEALTH_H
#define SPINDLE_PROTO_HEALTH_H

#include "base/buffer.h"

enum health_status { /* the numbers are the wire's */
                     HEALTH_UNKNOWN,
                     HEALTH_SERVING,
                     HEALTH_NOT_SERVING,
                     HEALTH_SERVICE_UNKNOWN /* in answers to Watch only */
};

/* A service name is a few dozen bytes. */
#define HEALTH_REQUEST_BYTES_MAX (64u << 10)

/* Read a HealthCheckRequest. The name borrows from the message; "" is the server as a whole.
 *
 * Errors  ERR_TOO_LARGE  over HEALTH_REQUEST_BYTES_MAX
 *         ERR_INVALID, ERR_TOO_DEEP (unknown groups)  malformed */
NODISCARD enum err health_request_read(struct bytes message, struct bytes *out_service);

/* Append a HealthCheckResponse. Errors: the buffer's. */
void health_response_encode(enum health_status status, struct buffer *out);

struct health_entry {
    const char *service;
    enum health_status status;
};
/* Append a HealthListResponse of at most HEALTH_LIST_MAX entries. Errors: the buffer's. */
#define HEALTH_LIST_MAX 16
void health_list_encode(const struct health_entry *entries, size_t count, struct buffer *out);

#endif
