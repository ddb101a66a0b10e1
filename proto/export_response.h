/* SPDX-License-Identifier: Apache-2.0 */
/* export_response.h - what an accepted export is answered with.
 *
 * Role       ExportTraceServiceResponse and ExportLogsServiceResponse. Nothing rejected and no
 *            message means unset partial_success: no bytes, or {} in JSON.
 * Ownership  everything is borrowed for the call.
 * Threads    pure.
 * Errors     the buffer's.
 * Source     opentelemetry-proto 1.11: trace_service.proto, logs_service.proto. */
#ifndef SPINDLE_PROTO_EXPORT_RESPONSE_H
#define SPINDLE_PROTO_EXPORT_RESPONSE_H

#include "proto/otlp.h"

struct export_response {
    uint64_t items_rejected;
    struct bytes message; /* why; with 0 rejected, a warning. Invalid UTF-8 leaves as U+FFFD */
};

/* Append the protobuf form. */
void export_response_encode(enum signal signal, const struct export_response *response,
                            struct buffer *out);
/* Append the OTLP/JSON form. */
void export_response_encode_json(enum signal signal, const struct export_response *response,
                                 struct buffer *out);

#endif
