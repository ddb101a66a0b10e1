/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/export_response.h"

#include "proto/pb_message.h"

#include "base/json_writer.h"
#include "base/mem.h"

#include "otlp_logs_service.pb-c.h"
#include "otlp_trace_service.pb-c.h"

static bool is_unset(const struct export_response *response)
{
    return response->items_rejected == 0 && response->message.len == 0;
}

static void traces_put(int64_t rejected, char *message, struct buffer *out)
{
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse whole;
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__init(&whole);
    Opentelemetry__Proto__Collector__Trace__V1__ExportTracePartialSuccess partial;
    opentelemetry__proto__collector__trace__v1__export_trace_partial_success__init(&partial);
    partial.rejected_spans = rejected;
    partial.error_message = message;
    whole.partial_success = &partial;
    pb_message_put(&whole.base, out);
}

static void logs_put(int64_t rejected, char *message, struct buffer *out)
{
    Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceResponse whole;
    opentelemetry__proto__collector__logs__v1__export_logs_service_response__init(&whole);
    Opentelemetry__Proto__Collector__Logs__V1__ExportLogsPartialSuccess partial;
    opentelemetry__proto__collector__logs__v1__export_logs_partial_success__init(&partial);
    partial.rejected_log_records = rejected;
    partial.error_message = message;
    whole.partial_success = &partial;
    pb_message_put(&whole.base, out);
}

void export_response_encode(enum signal signal, const struct export_response *response,
                            struct buffer *out)
{
    if (is_unset(response))
        return;
    char *message = pb_message_text(response->message, out);
    if (message == NULL)
        return;
    if (signal == SIGNAL_TRACES)
        traces_put((int64_t)response->items_rejected, message, out);
    else
        logs_put((int64_t)response->items_rejected, message, out);
    mem_free(message);
}

void export_response_encode_json(enum signal signal, const struct export_response *response,
                                 struct buffer *out)
{
    struct json_writer w;
    json_init(&w, out);
    json_object_begin(&w);
    if (!is_unset(response)) {
        json_key(&w, "partialSuccess");
        json_object_begin(&w);
        if (response->items_rejected > 0) {
            json_key(&w, signal == SIGNAL_TRACES ? "rejectedSpans" : "rejectedLogRecords");
            json_u64_string(&w, response->items_rejected);
        }
        if (response->message.len > 0) {
            json_key(&w, "errorMessage");
            json_string(&w, response->message);
        }
        json_object_end(&w);
    }
    json_object_end(&w);
}
