/* SPDX-License-Identifier: Apache-2.0 */
/* Log records of the native API. */
#include "proto/otlp_json.h"
#include "query/native.h"

static void write_body_text(struct call *c, struct bytes body)
{
    struct otlp_value value;
    struct buffer text;
    otlp_value_read(body, &value);
    buffer_init(&text, c->options->memory_bytes);
    otlp_value_text(&text, &value);
    native_write_text(&c->json, "body", buffer_bytes(&text));
    buffer_deinit(&text);
}

/* What a list shows, then the record and what it came with, whole. */
static void write_row(struct call *c, const struct log_row *row)
{
    struct json_writer *j = &c->json;
    struct otlp_log log;
    otlp_log_read(row->log, &log);
    json_object_begin(j);
    native_write_ns(j, "time", otlp_log_time(&log));
    native_write_count(j, "severity", log.severity_number);
    native_write_text(j, "severity_text", log.severity_text);
    native_write_text(j, "service", otlp_service_name(row->resource));
    if (log.has_trace_id)
        native_write_id(j, "trace", log.trace_id.b, sizeof log.trace_id.b);
    if (log.has_span_id)
        native_write_id(j, "span", log.span_id.b, sizeof log.span_id.b);
    if (log.has_body)
        write_body_text(c, log.body);
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

enum err native_logs(struct call *c)
{
    static const char *const known[] = { "q", "order", "from", "to", "limit", "cursor", NULL };
    static const char *const orders[] = { "newest", "oldest", NULL };
    uint64_t limit = NATIVE_LIMIT_DEFAULT;
    size_t order = 0;
    struct page page;
    struct log_query query = { 0 };
    struct filter f;
    filter_init(&f, &c->arena);
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, NATIVE_LIMIT_MAX, &limit);
    if (e == ERR_OK)
        e = parameter_word(c, "order", orders, &order);
    if (e == ERR_OK)
        e = native_page(c, &page);
    if (e == ERR_OK)
        e = filter_add_query(c, &f, SIGNAL_LOGS, "q");
    if (e == ERR_OK)
        e = filter_tree(&f, &query.filter);
    if (e != ERR_OK)
        return e;
    query.range = page.range;
    query.order = order == 0 ? FIND_NEWEST : FIND_OLDEST;
    query.limit = (size_t)limit;
    query.after = page.after;

    struct log_result result = { 0 };
    e = engine_logs_find(c->options->engine, &c->context, &query, &result);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    json_object_begin(j);
    json_key(j, "rows");
    json_array_begin(j);
    for (size_t i = 0; i < result.count; i++)
        write_row(c, &result.logs[i]);
    json_array_end(j);
    native_write_end(c, &result.progress, result.count, &page, &result.next);
    json_object_end(j);
    return ERR_OK;
}
