/* SPDX-License-Identifier: Apache-2.0 */
/* Traces as Jaeger's JSON, against texts written by hand from the facts: every row of the mapping
 * from OTLP is met at least once. */
#include "query/jaeger_json.h"

#include "base/mem.h"
#include "proto/otlp_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* OTLP/JSON in, as checked protobuf. */
static void read_otlp(const char *json, struct buffer *out)
{
    struct err_note note = { 0 };
    struct otlp_report report;
    struct buffer strange;
    buffer_init(&strange, 1 << 20);
    buffer_init(out, 1 << 20);
    enum err e =
        otlp_json_read(SIGNAL_TRACES, bytes_text(json), &otlp_limits_default, &strange, &note);
    if (e != ERR_OK)
        fail_msg("the test's own input is wrong at %zu: %s", note.offset, note.what);
    assert_int_equal(
        otlp_check(SIGNAL_TRACES, buffer_bytes(&strange), &otlp_limits_default, 0, &report, &note),
        ERR_OK);
    assert_int_equal(report.items_rejected, 0);
    assert_int_equal(
        otlp_rewrite(SIGNAL_TRACES, buffer_bytes(&strange), &otlp_limits_default, 0, out), ERR_OK);
    buffer_deinit(&strange);
}

static void check(const char *otlp, const char *expected)
{
    struct buffer data, text;
    struct json_writer j;
    read_otlp(otlp, &data);
    struct otlp_items it = otlp_items(buffer_bytes(&data));
    struct otlp_span first;
    assert_true(otlp_items_next(&it));
    otlp_span_read(it.item, &first);
    buffer_init(&text, 1 << 20);
    json_init(&j, &text);
    assert_int_equal(jaeger_write_trace(&j, &first.trace_id, buffer_bytes(&data)), ERR_OK);
    buffer_append_byte(&text, 0);
    assert_int_equal(buffer_error(&text), ERR_OK);
    assert_string_equal((const char *)text.data, expected);
    buffer_deinit(&text);
    buffer_deinit(&data);
}

#define TRACE "\"traceId\":\"0102030405060708090a0b0c0d0e0f10\""
#define SPAN  TRACE ",\"spanId\":\"00000000000000a1\",\"name\":\"x\""
#define TIMES                                                                                      \
    "\"startTimeUnixNano\":\"1700000000000001999\",\"endTimeUnixNano\":\"1700000000001501998\""
#define WRAP(span) "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{" span "}]}]}]}"

/* What surrounds the one span of the small cases. */
#define SHOWN(parts)                                                                               \
    "{\"traceID\":\"0102030405060708090a0b0c0d0e0f10\",\"spans\":[{\"traceID\":"                   \
    "\"0102030405060708090a0b0c0d0e0f10\",\"spanID\":\"00000000000000a1\"," parts                  \
    "}],\"processes\":{\"p1\":{\"serviceName\":\"OTLPResourceNoServiceName\",\"tags\":[]}},"       \
    "\"warnings\":null}"

static void a_plain_span(void **state)
{
    (void)state;
    /* The facts' own example: an ID of 64 bits is 16 digits, times are cut to microseconds. */
    check("{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
          "{\"stringValue\":\"shop\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":"
          "\"00000000000000000000000000005d5a\",\"spanId\":\"00000000000000a1\",\"name\":\"GET /\","
          "\"kind\":2,\"startTimeUnixNano\":\"1700000000000000000\",\"endTimeUnixNano\":"
          "\"1700000000001500000\"}]}]}]}",
          "{\"traceID\":\"0000000000005d5a\",\"spans\":[{\"traceID\":\"0000000000005d5a\","
          "\"spanID\":\"00000000000000a1\",\"operationName\":\"GET /\",\"references\":[],"
          "\"startTime\":1700000000000000,\"duration\":1500,\"tags\":[{\"key\":\"span.kind\","
          "\"type\":\"string\",\"value\":\"server\"}],\"logs\":[],\"processID\":\"p1\","
          "\"warnings\":null}],\"processes\":{\"p1\":{\"serviceName\":\"shop\",\"tags\":[]}},"
          "\"warnings\":null}");
}

static void tags_stand_in_order(void **state)
{
    (void)state;
    check("{\"resourceSpans\":[{\"scopeSpans\":[{\"scope\":{\"name\":\"lib\",\"version\":\"1.2\","
          "\"attributes\":[{\"key\":\"hidden\",\"value\":{\"intValue\":1}}]},\"spans\":[{" SPAN
          "," TIMES ",\"kind\":3,\"flags\":257,\"traceState\":\"a=b\",\"status\":{\"code\":2,"
          "\"message\":\"refused\"},\"attributes\":[{\"key\":\"z\",\"value\":{\"stringValue\":"
          "\"1\"}},{\"key\":\"a\",\"value\":{\"boolValue\":false}}]}]}]}]}",
          SHOWN("\"flags\":1,\"operationName\":\"x\",\"references\":[],\"startTime\":"
                "1700000000000001,\"duration\":1499,\"tags\":["
                "{\"key\":\"otel.scope.name\",\"type\":\"string\",\"value\":\"lib\"},"
                "{\"key\":\"otel.scope.version\",\"type\":\"string\",\"value\":\"1.2\"},"
                "{\"key\":\"z\",\"type\":\"string\",\"value\":\"1\"},"
                "{\"key\":\"a\",\"type\":\"bool\",\"value\":false},"
                "{\"key\":\"span.kind\",\"type\":\"string\",\"value\":\"client\"},"
                "{\"key\":\"otel.status_code\",\"type\":\"string\",\"value\":\"ERROR\"},"
                "{\"key\":\"error\",\"type\":\"bool\",\"value\":true},"
                "{\"key\":\"otel.status_description\",\"type\":\"string\",\"value\":\"refused\"},"
                "{\"key\":\"w3c.tracestate\",\"type\":\"string\",\"value\":\"a=b\"}],"
                "\"logs\":[],\"processID\":\"p1\",\"warnings\":null"));
}

static void kinds_are_words(void **state)
{
    (void)state;
    static const char *const words[] = { NULL,       "internal", "server", "client",
                                         "producer", "consumer", NULL /* not known yet */ };
    for (unsigned kind = 0; kind < sizeof words / sizeof words[0]; kind++) {
        char otlp[512], tag[128] = "", expected[1024];
        (void)snprintf(otlp, sizeof otlp, WRAP(SPAN "," TIMES ",\"kind\":%u"), kind);
        if (words[kind] != NULL)
            (void)snprintf(tag, sizeof tag,
                           "{\"key\":\"span.kind\",\"type\":\"string\",\"value\":\"%s\"}",
                           words[kind]);
        (void)snprintf(expected, sizeof expected,
                       SHOWN("\"operationName\":\"x\",\"references\":[],\"startTime\":"
                             "1700000000000001,\"duration\":1499,\"tags\":[%s],\"logs\":[],"
                             "\"processID\":\"p1\",\"warnings\":null"),
                       tag);
        check(otlp, expected);
    }
}

static void every_type_has_its_form(void **state)
{
    (void)state;
    check(WRAP(SPAN
               "," TIMES ",\"status\":{\"code\":1},\"attributes\":["
               "{\"key\":\"i\",\"value\":{\"intValue\":\"-5\"}},"
               "{\"key\":\"exact\",\"value\":{\"intValue\":\"9007199254740991\"}},"
               "{\"key\":\"big\",\"value\":{\"intValue\":\"9007199254740992\"}},"
               "{\"key\":\"small\",\"value\":{\"intValue\":\"-9223372036854775808\"}},"
               "{\"key\":\"d\",\"value\":{\"doubleValue\":1.5}},"
               "{\"key\":\"nan\",\"value\":{\"doubleValue\":\"NaN\"}},"
               "{\"key\":\"b\",\"value\":{\"bytesValue\":\"AQID\"}},"
               "{\"key\":\"l\",\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":1},"
               "{\"stringValue\":\"x\"}]}}},"
               "{\"key\":\"m\",\"value\":{\"kvlistValue\":{\"values\":[{\"key\":\"k\",\"value\":"
               "{\"boolValue\":true}}]}}},"
               "{\"key\":\"e\",\"value\":{}}]"),
          SHOWN("\"operationName\":\"x\",\"references\":[],\"startTime\":1700000000000001,"
                "\"duration\":1499,\"tags\":["
                "{\"key\":\"i\",\"type\":\"int64\",\"value\":-5},"
                "{\"key\":\"exact\",\"type\":\"int64\",\"value\":9007199254740991},"
                "{\"key\":\"big\",\"type\":\"int64\",\"value\":\"9007199254740992\"},"
                "{\"key\":\"small\",\"type\":\"int64\",\"value\":\"-9223372036854775808\"},"
                "{\"key\":\"d\",\"type\":\"float64\",\"value\":1.5},"
                "{\"key\":\"nan\",\"type\":\"float64\",\"value\":\"NaN\"},"
                "{\"key\":\"b\",\"type\":\"binary\",\"value\":\"AQID\"},"
                "{\"key\":\"l\",\"type\":\"string\",\"value\":\"[1,\\\"x\\\"]\"},"
                "{\"key\":\"m\",\"type\":\"string\",\"value\":\"{\\\"k\\\":true}\"},"
                "{\"key\":\"e\",\"type\":\"string\",\"value\":\"\"},"
                "{\"key\":\"otel.status_code\",\"type\":\"string\",\"value\":\"OK\"}],"
                "\"logs\":[],\"processID\":\"p1\",\"warnings\":null"));
}

static void links_become_references(void **state)
{
    (void)state;
    check(WRAP(SPAN
               "," TIMES ",\"parentSpanId\":\"00000000000000b1\",\"links\":["
               "{" TRACE ",\"spanId\":\"00000000000000b1\"},"
               "{" TRACE ",\"spanId\":\"00000000000000b2\"},"
               "{\"traceId\":\"00000000000000000000000000000001\",\"spanId\":"
               "\"00000000000000b1\",\"attributes\":[{\"key\":\"opentracing.ref_type\",\"value\":"
               "{\"stringValue\":\"child_of\"}}]}]"),
          SHOWN("\"operationName\":\"x\",\"references\":["
                "{\"refType\":\"CHILD_OF\",\"traceID\":\"0102030405060708090a0b0c0d0e0f10\","
                "\"spanID\":\"00000000000000b1\"},"
                "{\"refType\":\"FOLLOWS_FROM\",\"traceID\":\"0102030405060708090a0b0c0d0e0f10\","
                "\"spanID\":\"00000000000000b2\"},"
                "{\"refType\":\"CHILD_OF\",\"traceID\":\"0000000000000001\",\"spanID\":"
                "\"00000000000000b1\"}],\"startTime\":1700000000000001,\"duration\":1499,"
                "\"tags\":[],\"logs\":[],\"processID\":\"p1\",\"warnings\":null"));
}

static void events_become_logs(void **state)
{
    (void)state;
    check(WRAP(SPAN
               "," TIMES ",\"events\":["
               "{\"timeUnixNano\":\"1700000000000002999\",\"name\":\"exception\",\"attributes\":["
               "{\"key\":\"exception.type\",\"value\":{\"stringValue\":\"E\"}}]},"
               "{\"timeUnixNano\":\"1700000000000003000\",\"name\":\"named\",\"attributes\":["
               "{\"key\":\"event\",\"value\":{\"stringValue\":\"own\"}}]},"
               "{\"timeUnixNano\":\"1700000000000004000\"}]"),
          SHOWN("\"operationName\":\"x\",\"references\":[],\"startTime\":1700000000000001,"
                "\"duration\":1499,\"tags\":[],\"logs\":["
                "{\"timestamp\":1700000000000002,\"fields\":["
                "{\"key\":\"event\",\"type\":\"string\",\"value\":\"exception\"},"
                "{\"key\":\"exception.type\",\"type\":\"string\",\"value\":\"E\"}]},"
                "{\"timestamp\":1700000000000003,\"fields\":["
                "{\"key\":\"event\",\"type\":\"string\",\"value\":\"own\"}]},"
                "{\"timestamp\":1700000000000004,\"fields\":[]}],"
                "\"processID\":\"p1\",\"warnings\":null"));
}

static void warnings_leave_the_tags(void **state)
{
    (void)state;
    check(WRAP(SPAN ",\"startTimeUnixNano\":\"2000\",\"endTimeUnixNano\":\"1000\",\"attributes\":["
                    "{\"key\":\"@jaeger@warnings\",\"value\":{\"arrayValue\":{\"values\":["
                    "{\"stringValue\":\"odd\"}]}}}]"),
          SHOWN("\"operationName\":\"x\",\"references\":[],\"startTime\":2,\"duration\":0,"
                "\"tags\":[],\"logs\":[],\"processID\":\"p1\",\"warnings\":[\"odd\","
                "\"the span ends before it starts; its duration is shown as 0\"]"));
}

#define GROUP(attributes, id)                                                                      \
    "{\"resource\":{\"attributes\":[" attributes "]},\"scopeSpans\":[{\"spans\":[{" TRACE          \
    ",\"spanId\":\"" id "\",\"name\":\"x\"}]}]}"
#define NAMED(value) "{\"key\":\"service.name\",\"value\":{" value "}}"
#define HOST         "{\"key\":\"host\",\"value\":{\"stringValue\":\"h\"}}"
#define PLAIN_SPAN(id, process)                                                                    \
    "{\"traceID\":\"0102030405060708090a0b0c0d0e0f10\",\"spanID\":\"" id "\","                     \
    "\"operationName\":\"x\",\"references\":[],\"startTime\":0,\"duration\":0,\"tags\":[],"        \
    "\"logs\":[],\"processID\":\"" process "\",\"warnings\":null}"

static void processes_are_shared_and_named(void **state)
{
    (void)state;
    check(
        "{\"resourceSpans\":[" GROUP(NAMED("\"stringValue\":\"a\"") "," HOST, "0000000000000001") "," GROUP(
            HOST,
            "0000000000000002") "," GROUP(NAMED("\"stringValue\":\"a\"") "," HOST,
                                          "0000000000000003") "," GROUP(NAMED("\"intValue\":5"),
                                                                        "0000000000000004") "," GROUP(NAMED("\"stringValue\":\"\""),
                                                                                                      "0000000000000005") "]}",
        "{\"traceID\":\"0102030405060708090a0b0c0d0e0f10\",\"spans\":[" PLAIN_SPAN(
            "0000000000000001",
            "p1") "," PLAIN_SPAN("0000000000000002",
                                 "p2") "," PLAIN_SPAN("0000000000000003",
                                                      "p1") "," PLAIN_SPAN("0000000000000004",
                                                                           "p3") "," PLAIN_SPAN("00"
                                                                                                "00"
                                                                                                "00"
                                                                                                "00"
                                                                                                "00"
                                                                                                "00"
                                                                                                "00"
                                                                                                "0"
                                                                                                "5",
                                                                                                "p"
                                                                                                "4") "],\"processes\":{"
                                                                                                     "\"p1\":{\"serviceName\":\"a\",\"tags\":[{\"key\":\"host\",\"type\":\"string\","
                                                                                                     "\"value\":\"h\"}]},"
                                                                                                     "\"p2\":{\"serviceName\":\"OTLPResourceNoServiceName\",\"tags\":[{\"key\":\"host\",\"type\":"
                                                                                                     "\"string\",\"value\":\"h\"}]},"
                                                                                                     "\"p3\":{\"serviceName\":\"OTLPResourceNoServiceName\",\"tags\":[]},"
                                                                                                     "\"p4\":{\"serviceName\":\"OTLPResourceNoServiceName\",\"tags\":[]}},\"warnings\":null}");
}

static void survives_any_failed_allocation(void **state)
{
    (void)state;
    struct buffer data;
    read_otlp("{\"resourceSpans\":[" GROUP(NAMED("\"stringValue\":\"a\""), "0000000000000001") "]}",
              &data);
    struct trace_id id = { { 0 } };
    for (unsigned long n = 0; n < 200; n++) {
        struct buffer text;
        struct json_writer j;
        long before = fault_live_blocks();
        buffer_init(&text, 1 << 20);
        json_init(&j, &text);
        fault_alloc_fail_at(n, false);
        enum err e = jaeger_write_trace(&j, &id, buffer_bytes(&data));
        bool fired = fault_fired();
        fault_alloc_off();
        if (e == ERR_OK)
            e = buffer_error(&text);
        assert_int_equal(e, fired ? ERR_NOMEM : ERR_OK);
        buffer_deinit(&text);
        assert_int_equal(fault_live_blocks(), before);
        if (!fired) {
            buffer_deinit(&data);
            return;
        }
    }
    fail_msg("it never ran out of allocations to fail");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_span),
        cmocka_unit_test(tags_stand_in_order),
        cmocka_unit_test(kinds_are_words),
        cmocka_unit_test(every_type_has_its_form),
        cmocka_unit_test(links_become_references),
        cmocka_unit_test(events_become_logs),
        cmocka_unit_test(warnings_leave_the_tags),
        cmocka_unit_test(processes_are_shared_and_named),
        cmocka_unit_test(survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
