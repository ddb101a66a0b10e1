/* SPDX-License-Identifier: Apache-2.0 */
/* Our walk and readers against protobuf-c's unpacker, over generated and broken requests: the same
 * verdict, and the same values. SPINDLE_DIFFERENTIAL=n sets the number of messages.
 *
 * Where the two differ on purpose:
 *   D1  a group: to us an unknown field, protobuf-c refuses
 *   D2  a known field in another wire type: likewise (a bool it takes from any wire type)
 *   D3  a split sub-message, or a second member of a oneof: protobuf-c refuses, or merges wrongly
 *   D4  our limits of depth and number: such messages are not given to protobuf-c, which recurses
 *   D5  a NUL ends protobuf-c's strings: only what lies before it is compared
 *   D6  items and links dropped by our rules: values are compared over the rest
 *   D7  field number 0, or one over 29 bits: malformed to us, an unknown field to protobuf-c */
#include "proto/otlp_random.h"
#include "proto/otlp_schema.h"
#include "proto/otlp_wire.h"

#include "base/mem.h"

#include "otlp_logs_service.pb-c.h"
#include "otlp_trace_service.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEED 20260202u

typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest PbTraces;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest PbLogs;
typedef Opentelemetry__Proto__Trace__V1__Span PbSpan;
typedef Opentelemetry__Proto__Logs__V1__LogRecord PbLog;
typedef Opentelemetry__Proto__Common__V1__KeyValue PbKeyValue;
typedef Opentelemetry__Proto__Common__V1__AnyValue PbAnyValue;
typedef Opentelemetry__Proto__Resource__V1__Resource PbResource;
typedef Opentelemetry__Proto__Common__V1__InstrumentationScope PbScope;

static void *pb_alloc(void *context, size_t size)
{
    (void)context;
    return mem_alloc(size);
}
static void pb_free(void *context, void *block)
{
    (void)context;
    mem_free(block);
}
static ProtobufCAllocator allocator = { .alloc = pb_alloc, .free = pb_free };

static const ProtobufCMessageDescriptor *descriptor_of(enum signal signal)
{
    return signal == SIGNAL_TRACES
               ? &opentelemetry__proto__collector__trace__v1__export_trace_service_request__descriptor
               : &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor;
}

/* ---- What the input holds that the two are known to see differently ---- */

struct oddities {
    bool has_group, has_wrong_wire, has_again;
};

/* Recursive: test inputs nest a few levels, and were bounded by otlp_check() where it matters. */
static void oddities_find(enum otlp_kind kind, struct bytes message, struct oddities *out)
{
    struct wire w = wire_of(message);
    struct wire_field f = { 0 };
    uint32_t seen = 0;
    while (wire_next(&w, &f)) {
        out->has_group |= f.wire == WIRE_GROUP_BEGIN;
        if (f.number > OTLP_FIELD_NUMBER_MAX)
            continue;
        const struct otlp_field_schema *field = &otlp_schema[kind].fields[f.number];
        if (field->type == OTLP_TYPE_NONE)
            continue;
        if (field->wire != f.wire) {
            out->has_wrong_wire = true;
            continue;
        }
        uint32_t bit = UINT32_C(1) << f.number;
        if (!field->is_repeated) {
            bool is_again = kind == OTLP_KIND_ANY_VALUE ? seen != 0 : (seen & bit) != 0;
            out->has_again |=
                is_again && (kind == OTLP_KIND_ANY_VALUE || field->type == OTLP_TYPE_MESSAGE);
            seen |= bit;
        }
        if (field->type == OTLP_TYPE_MESSAGE)
            oddities_find(field->child, f.bytes, out);
    }
}

/* ---- Values ---- */

static void same_text(struct bytes ours, const char *theirs)
{
    size_t len = strlen(theirs);
    assert_true(ours.len >= len && (len == 0 || memcmp(ours.data, theirs, len) == 0));
    assert_true(ours.len == len || ours.data[len] == '\0'); /* D5 */
}

static void same_bytes(struct bytes ours, ProtobufCBinaryData theirs)
{
    assert_true(bytes_equal(ours, bytes_of(theirs.data, theirs.len)));
}

static void same_attributes(struct bytes message, uint32_t number, size_t count,
                            PbKeyValue **theirs);

static void same_value(struct bytes ours, const PbAnyValue *theirs)
{
    struct otlp_value v;
    otlp_value_read(ours, &v);
    switch (v.type) {
    case OTLP_EMPTY:
        assert_int_equal(theirs->value_case, 0);
        return;
    case OTLP_STRING:
        assert_int_equal(theirs->value_case, 1);
        same_text(v.bytes, theirs->string_value);
        return;
    case OTLP_BOOL:
        assert_int_equal(theirs->value_case, 2);
        assert_int_equal(v.boolean, theirs->bool_value != 0);
        return;
    case OTLP_INT:
        assert_int_equal(theirs->value_case, 3);
        assert_true(v.integer == theirs->int_value);
        return;
    case OTLP_DOUBLE:
        assert_int_equal(theirs->value_case, 4);
        assert_memory_equal(&v.number, &theirs->double_value, sizeof v.number);
        return;
    case OTLP_ARRAY: {
        assert_int_equal(theirs->value_case, 5);
        struct otlp_repeated r = otlp_repeated(v.bytes, OTLP_VALUES);
        struct bytes element;
        size_t n = 0;
        for (; otlp_repeated_next(&r, &element); n++) {
            assert_true(n < theirs->array_value->n_values);
            same_value(element, theirs->array_value->values[n]);
        }
        assert_int_equal(n, theirs->array_value->n_values);
        return;
    }
    case OTLP_KVLIST:
        assert_int_equal(theirs->value_case, 6);
        same_attributes(v.bytes, OTLP_VALUES, theirs->kvlist_value->n_values,
                        theirs->kvlist_value->values);
        return;
    case OTLP_BYTES:
        assert_int_equal(theirs->value_case, 7);
        same_bytes(v.bytes, theirs->bytes_value);
        return;
    }
}

static void same_attributes(struct bytes message, uint32_t number, size_t count,
                            PbKeyValue **theirs)
{
    struct otlp_repeated r = otlp_repeated(message, number);
    struct bytes element;
    size_t n = 0;
    for (; otlp_repeated_next(&r, &element); n++) {
        struct otlp_key_value kv;
        assert_true(n < count);
        otlp_key_value_read(element, &kv);
        same_text(kv.key, theirs[n]->key);
        assert_int_equal(kv.has_value, theirs[n]->value != NULL);
        if (kv.has_value)
            same_value(kv.value, theirs[n]->value);
    }
    assert_int_equal(n, count);
}

static void same_events_and_links(struct bytes span, const PbSpan *theirs)
{
    struct bytes element;
    size_t n = 0;
    struct otlp_repeated r = otlp_repeated(span, OTLP_SPAN_EVENTS);
    for (; otlp_repeated_next(&r, &element); n++) {
        struct otlp_event e;
        assert_true(n < theirs->n_events);
        otlp_event_read(element, &e);
        assert_true(e.time_unix_ns == theirs->events[n]->time_unix_nano);
        same_text(e.name, theirs->events[n]->name);
        assert_int_equal(e.dropped_attributes_count, theirs->events[n]->dropped_attributes_count);
        same_attributes(element, OTLP_EVENT_ATTRIBUTES, theirs->events[n]->n_attributes,
                        theirs->events[n]->attributes);
    }
    assert_int_equal(n, theirs->n_events);
    n = 0;
    r = otlp_repeated(span, OTLP_SPAN_LINKS);
    for (; otlp_repeated_next(&r, &element); n++) {
        struct otlp_link l;
        assert_true(n < theirs->n_links);
        otlp_link_read(element, &l);
        if (theirs->links[n]->trace_id.len == 16)
            same_bytes(bytes_of(l.trace_id.b, 16), theirs->links[n]->trace_id);
        if (theirs->links[n]->span_id.len == 8)
            same_bytes(bytes_of(l.span_id.b, 8), theirs->links[n]->span_id);
        same_text(l.trace_state, theirs->links[n]->trace_state);
        assert_int_equal(l.flags, theirs->links[n]->flags);
        assert_int_equal(l.dropped_attributes_count, theirs->links[n]->dropped_attributes_count);
        same_attributes(element, OTLP_LINK_ATTRIBUTES, theirs->links[n]->n_attributes,
                        theirs->links[n]->attributes);
    }
    assert_int_equal(n, theirs->n_links);
}

static void same_span(struct bytes ours, const PbSpan *theirs)
{
    struct otlp_span s;
    otlp_span_read(ours, &s);
    same_bytes(bytes_of(s.trace_id.b, 16), theirs->trace_id);
    same_bytes(bytes_of(s.span_id.b, 8), theirs->span_id);
    if (s.has_parent)
        same_bytes(bytes_of(s.parent_span_id.b, 8), theirs->parent_span_id);
    same_text(s.trace_state, theirs->trace_state);
    same_text(s.name, theirs->name);
    assert_true((int32_t)s.kind == (int32_t)theirs->kind);
    assert_true(s.start_unix_ns == theirs->start_time_unix_nano);
    assert_true(s.end_unix_ns == theirs->end_time_unix_nano);
    assert_int_equal(s.flags, theirs->flags);
    assert_int_equal(s.dropped_attributes_count, theirs->dropped_attributes_count);
    assert_int_equal(s.dropped_events_count, theirs->dropped_events_count);
    assert_int_equal(s.dropped_links_count, theirs->dropped_links_count);
    assert_int_equal(s.attributes_count, theirs->n_attributes);
    assert_int_equal(s.events_count, theirs->n_events);
    assert_int_equal(s.links_count, theirs->n_links);
    assert_int_equal(s.status.is_present, theirs->status != NULL);
    if (s.status.is_present) {
        same_text(s.status.message, theirs->status->message);
        assert_true((int32_t)s.status.code == (int32_t)theirs->status->code);
    }
    same_attributes(ours, OTLP_SPAN_ATTRIBUTES, theirs->n_attributes, theirs->attributes);
    same_events_and_links(ours, theirs);
}

static void same_log(struct bytes ours, const PbLog *theirs)
{
    struct otlp_log l;
    otlp_log_read(ours, &l);
    assert_true(l.time_unix_ns == theirs->time_unix_nano);
    assert_true(l.observed_unix_ns == theirs->observed_time_unix_nano);
    assert_true((int32_t)l.severity_number == (int32_t)theirs->severity_number);
    same_text(l.severity_text, theirs->severity_text);
    assert_int_equal(l.has_body, theirs->body != NULL);
    if (l.has_body)
        same_value(l.body, theirs->body);
    assert_int_equal(l.flags, theirs->flags);
    assert_int_equal(l.dropped_attributes_count, theirs->dropped_attributes_count);
    if (l.has_trace_id)
        same_bytes(bytes_of(l.trace_id.b, 16), theirs->trace_id);
    if (l.has_span_id)
        same_bytes(bytes_of(l.span_id.b, 8), theirs->span_id);
    same_text(l.event_name, theirs->event_name);
    assert_int_equal(l.attributes_count, theirs->n_attributes);
    same_attributes(ours, OTLP_LOG_ATTRIBUTES, theirs->n_attributes, theirs->attributes);
}

static void same_resource(const struct otlp_resource_group *ours, const PbResource *theirs)
{
    assert_int_equal(ours->has_resource, theirs != NULL);
    if (theirs != NULL)
        same_attributes(ours->resource, OTLP_RESOURCE_ATTRIBUTES, theirs->n_attributes,
                        theirs->attributes);
}

static void same_scope(const struct otlp_scope_group *ours, const PbScope *theirs)
{
    assert_int_equal(ours->has_scope, theirs != NULL);
    if (theirs == NULL)
        return;
    struct otlp_scope s;
    otlp_scope_read(ours->scope, &s);
    same_text(s.name, theirs->name);
    same_text(s.version, theirs->version);
    assert_int_equal(s.dropped_attributes_count, theirs->dropped_attributes_count);
    same_attributes(ours->scope, OTLP_SCOPE_ATTRIBUTES, theirs->n_attributes, theirs->attributes);
}

/* Every item of ours is the next of theirs. Returns how many. */
static size_t same_traces(struct bytes body, const PbTraces *theirs)
{
    struct otlp_items it = otlp_items(body);
    size_t n = 0;
    for (size_t r = 0; r < theirs->n_resource_spans; r++) {
        for (size_t s = 0; s < theirs->resource_spans[r]->n_scope_spans; s++) {
            for (size_t i = 0; i < theirs->resource_spans[r]->scope_spans[s]->n_spans; i++, n++) {
                assert_true(otlp_items_next(&it));
                same_resource(&it.resource, theirs->resource_spans[r]->resource);
                same_text(it.resource.schema_url, theirs->resource_spans[r]->schema_url);
                same_scope(&it.scope, theirs->resource_spans[r]->scope_spans[s]->scope);
                same_text(it.scope.schema_url,
                          theirs->resource_spans[r]->scope_spans[s]->schema_url);
                same_span(it.item, theirs->resource_spans[r]->scope_spans[s]->spans[i]);
            }
        }
    }
    assert_false(otlp_items_next(&it));
    return n;
}

static size_t same_logs(struct bytes body, const PbLogs *theirs)
{
    struct otlp_items it = otlp_items(body);
    size_t n = 0;
    for (size_t r = 0; r < theirs->n_resource_logs; r++) {
        for (size_t s = 0; s < theirs->resource_logs[r]->n_scope_logs; s++) {
            for (size_t i = 0; i < theirs->resource_logs[r]->scope_logs[s]->n_log_records;
                 i++, n++) {
                assert_true(otlp_items_next(&it));
                same_resource(&it.resource, theirs->resource_logs[r]->resource);
                same_scope(&it.scope, theirs->resource_logs[r]->scope_logs[s]->scope);
                same_log(it.item, theirs->resource_logs[r]->scope_logs[s]->log_records[i]);
            }
        }
    }
    assert_false(otlp_items_next(&it));
    return n;
}

/* ---- One message ---- */

struct tally {
    unsigned accepted, refused, compared, items, differ_group_or_wire, field_number_0, not_compared;
};

static void repack(const ProtobufCMessageDescriptor *descriptor, struct bytes body,
                   struct buffer *out)
{
    ProtobufCMessage *m = protobuf_c_message_unpack(descriptor, &allocator, body.len, body.data);
    assert_non_null(m);
    buffer_reset(out);
    uint8_t *to = buffer_reserve(out, protobuf_c_message_get_packed_size(m));
    assert_non_null(to);
    buffer_grew(out, protobuf_c_message_pack(m, to));
    protobuf_c_message_free_unpacked(m, &allocator);
}

/* What protobuf-c understands of the message as sent, and of our rewritten form, is the same. */
static void rewriting_keeps_meaning(enum signal signal, struct bytes sent, struct bytes rewritten)
{
    struct buffer theirs, clean, ours;
    buffer_init(&theirs, 64u << 20);
    buffer_init(&clean, 64u << 20);
    buffer_init(&ours, 64u << 20);
    repack(descriptor_of(signal), rewritten, &ours);
    /* protobuf-c keeps unknown fields, and knows none of our limits: apply ours, and its order
     * again. */
    repack(descriptor_of(signal), sent, &theirs);
    assert_int_equal(otlp_rewrite(signal, buffer_bytes(&theirs), &otlp_limits_default, 0, &clean),
                     ERR_OK);
    repack(descriptor_of(signal), buffer_bytes(&clean), &theirs);
    assert_true(bytes_equal(buffer_bytes(&theirs), buffer_bytes(&ours)));
    buffer_deinit(&theirs);
    buffer_deinit(&clean);
    buffer_deinit(&ours);
}

static void compare(enum signal signal, struct bytes sent, struct buffer *canonical,
                    struct tally *tally)
{
    struct otlp_report report;
    struct err_note note = { 0 };
    enum err e = otlp_check(signal, sent, &otlp_limits_default, 0, &report, &note);
    if (e == ERR_TOO_DEEP || e == ERR_TOO_MANY)
        return; /* D4 */
    ProtobufCMessage *theirs =
        protobuf_c_message_unpack(descriptor_of(signal), &allocator, sent.len, sent.data);
    struct oddities odd = { 0 };
    if ((e == ERR_OK) != (theirs != NULL) || report.needs_rewrite)
        oddities_find(otlp_root_kind(signal), sent, &odd);
    if (e != ERR_OK) {
        tally->refused++;
        if (theirs != NULL) {
            uint64_t tag = 0;
            (void)wire_varint(sent.data + note.offset, sent.data + sent.len, &tag);
            bool is_number_0 = tag >> 3 == 0 || tag > UINT32_MAX; /* D7 */
            if (!is_number_0)
                print_error("we refuse at %zu (%s), protobuf-c accepts\n", note.offset, note.what);
            assert_true(is_number_0);
            tally->field_number_0++;
            protobuf_c_message_free_unpacked(theirs, &allocator);
        }
        return;
    }
    tally->accepted++;
    if (theirs == NULL) {
        tally->differ_group_or_wire++;
        assert_true(odd.has_group || odd.has_wrong_wire || odd.has_again); /* D1, D2, D3 */
        return;
    }
    buffer_reset(canonical);
    assert_int_equal(otlp_rewrite(signal, sent, &otlp_limits_default, 0, canonical), ERR_OK);
    bool is_comparable = !odd.has_again && !odd.has_wrong_wire;
    if (is_comparable && report.items_rejected == 0)
        rewriting_keeps_meaning(signal, sent, buffer_bytes(canonical));
    bool has_drops = report.items_rejected > 0 || report.warned[OTLP_WARN_LINK_ID] > 0;
    if (has_drops || !is_comparable) { /* compare what is left of it */
        tally->not_compared++;
        protobuf_c_message_free_unpacked(theirs, &allocator);
        theirs = protobuf_c_message_unpack(descriptor_of(signal), &allocator, canonical->len,
                                           canonical->data);
        assert_non_null(theirs);
    }
    struct bytes body = buffer_bytes(canonical);
    size_t n = signal == SIGNAL_TRACES ? same_traces(body, (const PbTraces *)theirs)
                                       : same_logs(body, (const PbLogs *)theirs);
    assert_int_equal(n, report.items - report.items_rejected);
    tally->items += (unsigned)n;
    tally->compared++;
    protobuf_c_message_free_unpacked(theirs, &allocator);
}

static void cursor_agrees_with_protobuf_c(void **state)
{
    (void)state;
    const char *count_text = getenv("SPINDLE_DIFFERENTIAL");
    unsigned count = count_text == NULL ? 60000 : (unsigned)strtoul(count_text, NULL, 10);
    struct random random;
    random_init(&random, SEED);
    struct buffer message, canonical;
    buffer_init(&message, 64u << 20);
    buffer_init(&canonical, 64u << 20);
    struct tally tally = { 0 };
    for (unsigned i = 0; i < count; i++) {
        const struct otlp_random_options options = { .items_max = 1 + i % 3,
                                                     .depth_max = 1 + i % 4,
                                                     .has_bad_utf8 = i % 2 == 0,
                                                     .has_extra_order = i % 3 == 0,
                                                     .is_strange = i % 5 >= 2 };
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        buffer_reset(&message);
        otlp_random(&random, signal, &options, &message);
        if (i % 4 != 0)
            otlp_random_break(&random, &message, 0);
        compare(signal, buffer_bytes(&message), &canonical, &tally);
    }
    print_message("seed %u, %u messages: %u accepted, %u refused by both, %u compared (%u items), "
                  "%u with rejected or merged parts, %u refused by protobuf-c alone (D1-D3), %u "
                  "by us alone (D7)\n",
                  SEED, count, tally.accepted, tally.refused, tally.compared, tally.items,
                  tally.not_compared, tally.differ_group_or_wire, tally.field_number_0);
    assert_true(tally.compared > count / 4 && tally.refused > count / 10);
    buffer_deinit(&message);
    buffer_deinit(&canonical);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(cursor_agrees_with_protobuf_c) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
