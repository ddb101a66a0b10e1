/* SPDX-License-Identifier: Apache-2.0 */
#include "query/log_row.h"

#include "proto/otlp_json.h"
#include "query/native.h"
#include "storage/service_name.h"

static void write_body_text(struct json_writer *j, struct bytes body, size_t text_max)
{
    struct otlp_value value;
    struct buffer text;
    otlp_value_read(body, &value);
    buffer_init(&text, text_max);
    otlp_value_text(&text, &value);
    native_write_text(j, "body", buffer_bytes(&text));
    buffer_deinit(&text);
}

void log_row_write(struct json_writer *j, const struct log_row *row, size_t text_max)
{
    struct otlp_log log;
    otlp_log_read(row->log, &log);
    json_object_begin(j);
    native_write_ns(j, "time", otlp_log_time(&log));
    native_write_count(j, "severity", log.severity_number);
    native_write_text(j, "severity_text", log.severity_text);
    native_write_text(j, "service", service_name(row->resource));
    if (log.has_trace_id)
        native_write_id(j, "trace", log.trace_id.b, sizeof log.trace_id.b);
    if (log.has_span_id)
        native_write_id(j, "span", log.span_id.b, sizeof log.span_id.b);
    if (log.has_body)
        write_body_text(j, log.body, text_max);
    json_key(j, "log");
    otlp_json_write_log(row->log, j);
    json_key(j, "resource");
    otlp_json_write_resource(row->resource, j);
    native_write_text(j, "resource_schema_url", row->resource_schema_url);
    json_key(j, "scope");
    otlp_json_write_scope(row->scope, j);
    native_write_text(j, "scope_schema_url", row->scope_schema_url);
    json_object_end(j);
}
