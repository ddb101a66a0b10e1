/* SPDX-License-Identifier: Apache-2.0 */
#include "query/native.h"

#include "query/families.h"

#define BASE "/api/spindle/v1"

const struct call_route native_routes[] = {
    { BASE "/meta", native_meta, CALL_QUICK },
    { BASE "/status", native_status, CALL_QUICK },
    { BASE "/traces", native_traces, CALL_HEAVY },
    { BASE "/trace/{id}", native_trace, CALL_QUICK },
    { BASE "/trace/{id}/logs", native_trace_logs, CALL_QUICK },
    { BASE "/trace/{id}/span/{span}", native_trace_span, CALL_QUICK },
    { BASE "/trace/{id}/skeleton", native_trace_skeleton, CALL_QUICK },
    { BASE "/trace/{id}/find", native_trace_find, CALL_HEAVY },
    { BASE "/trace/{id}/raw", native_trace_raw, CALL_LONG },
    { BASE "/heatmap", native_heatmap, CALL_HEAVY },
    { BASE "/logs", native_logs, CALL_HEAVY },
    { BASE "/logs/histogram", native_logs_histogram, CALL_HEAVY },
    { BASE "/logs/tail", native_logs_tail, CALL_QUICK },
    { BASE "/services", native_services, CALL_QUICK },
    { BASE "/services/{service}/operations", native_operations, CALL_QUICK },
    { BASE "/services/{service}/series", native_series, CALL_QUICK },
    { BASE "/services/{service}/dependencies", native_dependencies, CALL_QUICK },
    { BASE "/services/{service}/instances", native_instances, CALL_HEAVY },
    { BASE "/map", native_map, CALL_QUICK },
    { BASE "/cleaned", native_cleaned, CALL_QUICK },
    { BASE "/attributes", native_attributes, CALL_HEAVY },
    { BASE "/attributes/{key}/values", native_attribute_values, CALL_HEAVY },
    { BASE "/resolve", native_resolve, CALL_HEAVY },
};
const size_t native_route_count = sizeof native_routes / sizeof native_routes[0];

const struct call_route native_posts[] = {
    { BASE "/attributes/compare", native_compare, CALL_HEAVY },
};
const size_t native_post_count = sizeof native_posts / sizeof native_posts[0];

const struct call_route native_sql_posts[] = {
    { BASE "/sql", native_sql, CALL_SQL },
};
const size_t native_sql_post_count = sizeof native_sql_posts / sizeof native_sql_posts[0];

/* Parameters that may differ from page to page. */
static bool belongs_to_page(struct bytes name)
{
    return bytes_equal_text(name, "cursor") || bytes_equal_text(name, "limit") ||
           bytes_equal_text(name, "spans") || bytes_equal_text(name, "hits") ||
           bytes_equal_text(name, "timeout");
}

static uint64_t question_hash(const struct call *c)
{
    uint64_t h = hash_bytes(c->request->path);
    for (size_t i = 0; i < c->parameter_count; i++) {
        if (c->parameters[i].value.len == 0 || belongs_to_page(c->parameters[i].name))
            continue; /* an empty one counts as absent */
        h = hash_bytes_seeded(c->parameters[i].name, h);
        h = hash_bytes_seeded(c->parameters[i].value, h);
    }
    return h;
}

enum err native_page(struct call *c, struct page *out)
{
    struct page page = { 0 };
    struct bytes text;
    uint64_t question = question_hash(c);
    if (!parameter_text(c, "cursor", &text)) {
        enum err e = parameter_range(c, &page.range);
        if (e != ERR_OK)
            return e;
    } else if (!cursor_read(text, &page)) {
        return call_fail(c, ERR_INVALID, "cursor", "it is not one that an answer gave");
    } else if (page.question != question) {
        return call_fail(c, ERR_INVALID, "cursor",
                         "it belongs to a question with other parameters");
    }
    page.question = question;
    *out = page;
    return ERR_OK;
}

/* Why there is nothing: nothing stored at all, or all of it later than what was asked for, or
 * simply no match. */
static const char *empty_reason(struct call *c, const struct page *page)
{
    struct engine_statistics s = { 0 };
    engine_statistics(c->options->engine, &s);
    if (s.first_arrival_unix_ns == 0 && s.spans == 0 && s.logs == 0)
        return "no_data_yet";
    if (page != NULL && s.first_arrival_unix_ns != 0 &&
        page->range.max_unix_ns <= s.first_arrival_unix_ns)
        return "out_of_retention";
    return "no_match";
}

void native_rows_begin(struct json_writer *j)
{
    json_object_begin(j);
    json_key(j, "rows");
    json_array_begin(j);
}

void native_write_end(struct call *c, const struct find_progress *progress, size_t rows,
                      const struct page *page, const struct find_cursor *next)
{
    struct json_writer *j = &c->json;
    uint64_t took_us = (clock_mono_ns() - c->received_mono_ns) / NS_PER_US;
    if (progress != NULL) {
        json_key(j, "complete");
        json_bool(j, progress->is_complete);
        json_key(j, "scanned");
        json_object_begin(j);
        native_write_count(j, "groups", progress->scanned_groups);
        native_write_count(j, "bytes", progress->scanned_bytes);
        native_write_count(j, "rows", progress->scanned_rows);
        json_object_end(j);
    }
    json_key(j, "took_ms");
    json_double(j, (double)took_us / 1000.0);
    if (next != NULL && next->is_set) {
        struct page following = *page;
        struct buffer text;
        following.after = *next;
        buffer_init(&text, 128);
        cursor_write(&following, &text);
        native_write_text(j, "cursor", buffer_bytes(&text));
        buffer_deinit(&text);
    }
    if (rows == 0 && (progress == NULL || progress->is_complete)) {
        json_key(j, "reason");
        json_text(j, empty_reason(c, page));
    }
}

void native_write_id(struct json_writer *j, const char *key, const uint8_t *id, size_t len)
{
    json_key(j, key);
    json_hex(j, bytes_of(id, len));
}

void native_write_text(struct json_writer *j, const char *key, struct bytes text)
{
    json_key(j, key);
    json_string(j, text);
}

void native_write_ns(struct json_writer *j, const char *key, uint64_t ns)
{
    json_key(j, key);
    json_u64_string(j, ns);
}

void native_write_count(struct json_writer *j, const char *key, uint64_t n)
{
    json_key(j, key);
    json_u64(j, n);
}

unsigned native_color(struct call *c, struct bytes service)
{
    uint32_t number;
    if (engine_service_number(c->options->engine, service, &number))
        return number % NATIVE_COLORS;
    return (unsigned)(hash_bytes(service) % NATIVE_COLORS);
}

enum err native_trace_id(struct call *c, struct trace_id *out)
{
    if (trace_id_parse(c->request->parameters[0], out))
        return ERR_OK;
    return call_fail(c, ERR_INVALID, "id", "expected a trace ID of 1 to 32 hexadecimal digits");
}
