/* SPDX-License-Identifier: Apache-2.0 */
#include "query/jaeger_json.h"

#include "base/clock.h"
#include "base/intern.h"
#include "query/jaeger_service.h"

#include <stdio.h>

#define WARNINGS_KEY "@jaeger@warnings"
#define REF_TYPE_KEY "opentracing.ref_type"

/* JavaScript's exact integers; beyond them a number is written as text. */
#define EXACT_MAX INT64_C(9007199254740991)

/* 16 digits for an ID of 64 bits, else 32. */
static void write_trace_id(struct json_writer *j, const struct trace_id *id)
{
    bool is_short = load_le64(id->b) == 0;
    json_hex(j, bytes_of(id->b + (is_short ? 8 : 0), is_short ? 8 : 16));
}

/* ---- Tags ---- */

static void begin_tag(struct json_writer *j, struct bytes key, const char *type)
{
    json_object_begin(j);
    json_key(j, "key");
    json_string(j, key);
    json_key(j, "type");
    json_text(j, type);
    json_key(j, "value");
}

static void write_text_tag(struct json_writer *j, const char *key, struct bytes value)
{
    begin_tag(j, bytes_text(key), "string");
    json_string(j, value);
    json_object_end(j);
}

/* Arrays, maps and empty values have no type of their own there: their text form. */
static void write_text_form(struct json_writer *j, const struct otlp_value *value)
{
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    otlp_value_text(&text, value);
    if (buffer_error(&text) == ERR_OK)
        json_string(j, buffer_bytes(&text));
    else
        json_null(j);
    buffer_deinit(&text);
}

static void write_tag(struct json_writer *j, struct bytes key, const struct otlp_value *v)
{
    switch (v->type) {
    case OTLP_STRING:
        begin_tag(j, key, "string");
        json_string(j, v->bytes);
        break;
    case OTLP_BOOL:
        begin_tag(j, key, "bool");
        json_bool(j, v->boolean);
        break;
    case OTLP_INT:
        begin_tag(j, key, "int64");
        if (v->integer > EXACT_MAX || v->integer < -EXACT_MAX)
            json_i64_string(j, v->integer);
        else
            json_i64(j, v->integer);
        break;
    case OTLP_DOUBLE:
        begin_tag(j, key, "float64");
        json_double(j, v->number);
        break;
    case OTLP_BYTES:
        begin_tag(j, key, "binary");
        json_base64(j, v->bytes);
        break;
    case OTLP_EMPTY:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
        begin_tag(j, key, "string");
        write_text_form(j, v);
        break;
    }
    json_object_end(j);
}

/* The attributes in repeated field `number` of a message, but for one key. */
static void write_attributes(struct json_writer *j, struct bytes message, uint32_t number,
                             const char *left_out)
{
    struct otlp_repeated attributes = otlp_repeated(message, number);
    struct bytes element;
    while (otlp_repeated_next(&attributes, &element)) {
        struct otlp_key_value kv;
        struct otlp_value value;
        otlp_key_value_read(element, &kv);
        if (left_out != NULL && bytes_equal_text(kv.key, left_out))
            continue;
        otlp_value_read(kv.value, &value);
        write_tag(j, kv.key, &value);
    }
}

static void write_span_tags(struct json_writer *j, const struct otlp_span *span,
                            struct bytes scope_message)
{
    static const char *const kinds[] = { NULL,     "internal", "server",
                                         "client", "producer", "consumer" };
    struct otlp_scope scope;
    otlp_scope_read(scope_message, &scope);
    json_key(j, "tags");
    json_array_begin(j);
    if (scope.name.len > 0)
        write_text_tag(j, "otel.scope.name", scope.name);
    if (scope.version.len > 0)
        write_text_tag(j, "otel.scope.version", scope.version);
    write_attributes(j, span->message, OTLP_SPAN_ATTRIBUTES, WARNINGS_KEY);
    if (span->kind > 0 && span->kind < sizeof kinds / sizeof kinds[0])
        write_text_tag(j, "span.kind", bytes_text(kinds[span->kind]));
    if (span->status.code == 1) {
        write_text_tag(j, "otel.status_code", BYTES_LITERAL("OK"));
    } else if (span->status.code == 2) {
        write_text_tag(j, "otel.status_code", BYTES_LITERAL("ERROR"));
        begin_tag(j, BYTES_LITERAL("error"), "bool");
        json_bool(j, true);
        json_object_end(j);
    }
    if (span->status.message.len > 0)
        write_text_tag(j, "otel.status_description", span->status.message);
    if (span->trace_state.len > 0)
        write_text_tag(j, "w3c.tracestate", span->trace_state);
    json_array_end(j);
}

/* ---- References, logs, warnings ---- */

static void write_reference(struct json_writer *j, const char *type, const struct trace_id *trace,
                            const struct span_id *span)
{
    json_object_begin(j);
    json_key(j, "refType");
    json_text(j, type);
    json_key(j, "traceID");
    write_trace_id(j, trace);
    json_key(j, "spanID");
    json_hex(j, bytes_of(span->b, sizeof span->b));
    json_object_end(j);
}

static bool is_child_of(struct bytes link)
{
    struct otlp_value value;
    return otlp_attribute_find(link, OTLP_LINK_ATTRIBUTES, BYTES_LITERAL(REF_TYPE_KEY), &value) &&
           value.type == OTLP_STRING && bytes_equal_text(value.bytes, "child_of");
}

static void write_references(struct json_writer *j, const struct otlp_span *span)
{
    json_key(j, "references");
    json_array_begin(j);
    if (span->has_parent)
        write_reference(j, "CHILD_OF", &span->trace_id, &span->parent_span_id);
    struct otlp_repeated links = otlp_repeated(span->message, OTLP_SPAN_LINKS);
    struct bytes element;
    while (otlp_repeated_next(&links, &element)) {
        struct otlp_link link;
        otlp_link_read(element, &link);
        bool is_parent =
            span->has_parent &&
            memcmp(link.span_id.b, span->parent_span_id.b, sizeof link.span_id.b) == 0 &&
            memcmp(link.trace_id.b, span->trace_id.b, sizeof link.trace_id.b) == 0;
        if (!is_parent)
            write_reference(j, is_child_of(element) ? "CHILD_OF" : "FOLLOWS_FROM", &link.trace_id,
                            &link.span_id);
    }
    json_array_end(j);
}

static void write_logs(struct json_writer *j, const struct otlp_span *span)
{
    json_key(j, "logs");
    json_array_begin(j);
    struct otlp_repeated events = otlp_repeated(span->message, OTLP_SPAN_EVENTS);
    struct bytes element;
    while (otlp_repeated_next(&events, &element)) {
        struct otlp_event event;
        struct otlp_value ignored;
        otlp_event_read(element, &event);
        json_object_begin(j);
        json_key(j, "timestamp");
        json_u64(j, event.time_unix_ns / NS_PER_US);
        json_key(j, "fields");
        json_array_begin(j);
        if (event.name.len > 0 &&
            !otlp_attribute_find(element, OTLP_EVENT_ATTRIBUTES, BYTES_LITERAL("event"), &ignored))
            write_text_tag(j, "event", event.name);
        write_attributes(j, element, OTLP_EVENT_ATTRIBUTES, NULL);
        json_array_end(j);
        json_object_end(j);
    }
    json_array_end(j);
}

/* What an SDK or Jaeger's own clients left in an attribute of that name, and what is odd about the
 * span itself. */
static void write_warnings(struct json_writer *j, const struct otlp_span *span)
{
    struct otlp_value list;
    bool has_list = otlp_attribute_find(span->message, OTLP_SPAN_ATTRIBUTES,
                                        BYTES_LITERAL(WARNINGS_KEY), &list) &&
                    list.type == OTLP_ARRAY;
    bool ends_early = span->end_unix_ns < span->start_unix_ns;
    json_key(j, "warnings");
    if (!has_list && !ends_early) {
        json_null(j);
        return;
    }
    json_array_begin(j);
    if (has_list) {
        struct otlp_repeated values = otlp_repeated(list.bytes, OTLP_VALUES);
        struct bytes element;
        while (otlp_repeated_next(&values, &element)) {
            struct otlp_value value;
            otlp_value_read(element, &value);
            write_text_form(j, &value);
        }
    }
    if (ends_early)
        json_text(j, "the span ends before it starts; its duration is shown as 0");
    json_array_end(j);
}

/* ---- Spans, processes, the trace ---- */

static void write_span(struct json_writer *j, const struct otlp_items *it, uint32_t process)
{
    struct otlp_span span;
    char id[16];
    otlp_span_read(it->item, &span);
    (void)snprintf(id, sizeof id, "p%u", process + 1);
    json_object_begin(j);
    json_key(j, "traceID");
    write_trace_id(j, &span.trace_id);
    json_key(j, "spanID");
    json_hex(j, bytes_of(span.span_id.b, sizeof span.span_id.b));
    if ((span.flags & 0xFF) != 0) { /* the rest is OTLP's own */
        json_key(j, "flags");
        json_u64(j, span.flags & 0xFF);
    }
    json_key(j, "operationName");
    json_string(j, span.name);
    write_references(j, &span);
    json_key(j, "startTime");
    json_u64(j, span.start_unix_ns / NS_PER_US);
    json_key(j, "duration");
    json_u64(j, otlp_span_duration_ns(&span) / NS_PER_US);
    write_span_tags(j, &span, it->scope.scope);
    write_logs(j, &span);
    json_key(j, "processID");
    json_text(j, id);
    write_warnings(j, &span);
    json_object_end(j);
}

static void write_processes(struct json_writer *j, const struct intern *resources)
{
    json_key(j, "processes");
    json_object_begin(j);
    for (uint32_t i = 0; i < resources->count; i++) {
        struct bytes resource = intern_get(resources, i);
        char id[16];
        (void)snprintf(id, sizeof id, "p%u", i + 1);
        json_key(j, id);
        json_object_begin(j);
        json_key(j, "serviceName");
        json_string(j, jaeger_service_shown(service_name(resource)));
        json_key(j, "tags");
        json_array_begin(j);
        write_attributes(j, resource, OTLP_RESOURCE_ATTRIBUTES, "service.name");
        json_array_end(j);
        json_object_end(j);
    }
    json_object_end(j);
}

enum err jaeger_write_trace(struct json_writer *j, const struct trace_id *id,
                            struct bytes traces_data)
{
    struct intern resources; /* the processes, by the bytes of the Resource */
    intern_init(&resources, UINT32_MAX);
    enum err e = ERR_OK;
    json_object_begin(j);
    json_key(j, "traceID");
    write_trace_id(j, id);
    json_key(j, "spans");
    json_array_begin(j);
    struct otlp_items it = otlp_items(traces_data);
    uint32_t process = 0;
    while (e == ERR_OK && otlp_items_next(&it)) {
        if (it.is_new_resource)
            e = intern_put(&resources, it.resource.resource, &process);
        if (e == ERR_OK)
            write_span(j, &it, process);
    }
    json_array_end(j);
    write_processes(j, &resources);
    json_key(j, "warnings");
    json_null(j);
    json_object_end(j);
    intern_deinit(&resources);
    return e;
}
