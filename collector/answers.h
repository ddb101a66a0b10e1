/* SPDX-License-Identifier: Apache-2.0 */
/* answers.h - what a sender of telemetry is told.
 *
 * Role       the table of RELIABILITY section 4: which gRPC and HTTP status an error becomes, and
 *            the bodies in the request's encoding. Exporters obey a few words only, and drop data
 *            on the others: what may pass by itself is always 503 or UNAVAILABLE with retry
 *            information, what never will is never.
 * Threads    any.
 * Source     facts: OTLP sections 8 to 11; google.rpc.Code. */
#ifndef SPINDLE_COLLECTOR_ANSWERS_H
#define SPINDLE_COLLECTOR_ANSWERS_H

#include "net/exchange.h"
#include "proto/otlp.h"

/* google.rpc.Code, the numbers of gRPC's statuses. */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16
};

/* The status that tells a gRPC sender of this error. */
enum grpc_status answer_grpc_status(enum err e);
/* And an HTTP sender. */
unsigned answer_http_status(enum err e);
/* Sending the same request again may succeed. Such an answer carries retry information. */
bool answer_is_transient(enum err e);
/* Short name for the `reason` label of metrics: "busy", "too_large". */
const char *answer_reason(enum err e);

/* What the body of an HTTP request and of its answer is written in: JSON unless the content type is
 * application/x-protobuf, as a person at a terminal sends none. */
enum encoding { ENCODING_PROTOBUF, ENCODING_JSON, ENCODING_COUNT };
enum encoding answer_encoding(const struct request *r);

/* Answer with an error: google.rpc.Status in the request's encoding, or gRPC's trailers.
 *
 *   e        not ERR_OK
 *   message  a sentence for the sender's developer; borrowed, any bytes */
void answer_refusal(struct exchange *x, enum err e, struct bytes message);

/* Answer an export with success.
 *
 *   rejected  items that were not kept and never will be
 *   message   why, or a warning; with rejected == 0 and no message the answer is empty: all is well */
void answer_export(struct exchange *x, enum signal signal, uint64_t rejected, struct bytes message);

/* The milliseconds that RetryInfo asks the sender to wait: 1 s +- 50 %, spread by the request's id,
 * so that senders refused together do not come back together. */
uint64_t answer_retry_ms(uint64_t request_id);

#endif
