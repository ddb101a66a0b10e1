/* SPDX-License-Identifier: Apache-2.0 */
/* That OTLP/JSON says what the protobuf form says: random requests survive the way there and back,
 * each lenient spelling reads as its strict one, and no failed allocation does harm. */
#include "proto/otlp_json.h"
#include "proto/otlp_random.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SEED 20260201u

static void json_of(enum signal signal, struct bytes body, struct buffer *out)
{
    struct json_writer w;
    buffer_reset(out);
    json_init(&w, out);
    otlp_json_write(signal, body, &w);
    assert_int_equal(buffer_error(out), ERR_OK);
}

static void random_requests_survive_json(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, SEED);
    struct buffer in, json, back, json_again, canonical;
    struct buffer *all[] = { &in, &json, &back, &json_again, &canonical };
    for (size_t i = 0; i < 5; i++)
        buffer_init(all[i], 64u << 20);
    for (unsigned i = 0; i < 20000; i++) {
        const struct otlp_random_options options = { .items_max = 4,
                                                     .depth_max = i % 50 == 0 ? 64 : 5,
                                                     .has_extra_order = true };
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        buffer_reset(&in);
        otlp_random(&random, signal, &options, &in);
        json_of(signal, buffer_bytes(&in), &json);

        struct err_note note = { 0 };
        buffer_reset(&back);
        enum err e =
            otlp_json_read(signal, buffer_bytes(&json), &otlp_limits_default, &back, &note);
        if (e != ERR_OK)
            print_error("seed %u, request %u: %s at %zu\n", SEED, i, note.what, note.offset);
        assert_int_equal(e, ERR_OK);

        struct otlp_report before, after;
        assert_int_equal(
            otlp_check(signal, buffer_bytes(&in), &otlp_limits_default, 0, &before, NULL), ERR_OK);
        assert_int_equal(
            otlp_check(signal, buffer_bytes(&back), &otlp_limits_default, 0, &after, NULL), ERR_OK);
        assert_false(after.needs_rewrite);
        assert_int_equal(before.items, after.items);
        assert_int_equal(before.elements, after.elements);
        json_of(signal, buffer_bytes(&back), &json_again);
        assert_true(bytes_equal(buffer_bytes(&json), buffer_bytes(&json_again)));
    }
    for (size_t i = 0; i < 5; i++)
        buffer_deinit(all[i]);
}

/* Text that must read as the same request as another text does. */
struct same {
    const char *name, *strict, *lenient;
};

#define SPAN(inside)  "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{" inside "}]}]}]}"
#define VALUE(inside) SPAN("\"attributes\":[{\"key\":\"a\",\"value\":{" inside "}}]")
#define IDS           "\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"b7ad6b7169203331\""

static const struct same sames[] = {
    { "snake case", SPAN(IDS ",\"startTimeUnixNano\":\"5\",\"droppedLinksCount\":2"),
      "{\"resource_spans\":[{\"scope_spans\":[{\"spans\":[{"
      "\"trace_id\":\"0AF7651916CD43DD8448EB211C80319C\",\"span_id\":\"B7AD6B7169203331\","
      "\"start_time_unix_nano\":5,\"dropped_links_count\":\"2\"}]}]}]}" },
    { "blanks and byte order mark", SPAN(IDS),
      "\xEF\xBB\xBF \r\n\t{ \"resourceSpans\" : [ { \"scopeSpans\" : [ { \"spans\" : [ {" IDS
      " } ] } ] } ] } \n" },
    { "enum name", SPAN("\"kind\":2"), SPAN("\"kind\":\"SPAN_KIND_SERVER\"") },
    { "enum numeric text", SPAN("\"kind\":2"), SPAN("\"kind\":\"2\"") },
    { "enum name unknown", SPAN(""), SPAN("\"kind\":\"SPAN_KIND_NEWER\"") },
    { "status name", SPAN("\"status\":{\"code\":2}"),
      SPAN("\"status\":{\"code\":\"STATUS_CODE_ERROR\"}") },
    { "null members", SPAN(IDS),
      "{\"resourceSpans\":[{\"resource\":null,\"schemaUrl\":null,\"scopeSpans\":[{\"scope\":null,"
      "\"spans\":[{" IDS
      ",\"name\":null,\"attributes\":null,\"status\":null,\"flags\":null}]}]}]}" },
    { "unknown names at depth", SPAN(IDS),
      "{\"x\":[[[{\"y\":1e5}],\"\\u0000\",true,false,null,{}]],\"resourceSpans\":[{\"z\":{},"
      "\"scopeSpans\":[{\"spans\":[{\"a\":{\"b\":[1,2]}," IDS "}]}]}]}" },
    { "empty ids", SPAN(IDS), SPAN(IDS ",\"parentSpanId\":\"\"") },
    { "escaped key", SPAN("\"name\":\"x\""), SPAN("\"na\\u006de\":\"x\"") },
    { "escapes", SPAN("\"name\":\"\xC3\xA9/\xF0\x9F\xA6\x86\""),
      SPAN("\"name\":\"\\u00e9\\/\\ud83e\\udd86\"") },
    { "integral float", VALUE("\"intValue\":\"1700000000000000000\""),
      VALUE("\"intValue\":1.7e18") },
    { "integral with fraction zeros", VALUE("\"intValue\":\"5\""), VALUE("\"intValue\":5.000") },
    { "integral by exponent", VALUE("\"intValue\":\"-1200\""), VALUE("\"intValue\":\"-12E+2\"") },
    { "integral by negative exponent", VALUE("\"intValue\":\"12\""),
      VALUE("\"intValue\":1200e-2") },
    { "int64 minimum", VALUE("\"intValue\":\"-9223372036854775808\""),
      VALUE("\"intValue\":-9223372036854775808") },
    { "int64 maximum", VALUE("\"intValue\":\"9223372036854775807\""),
      VALUE("\"intValue\":9223372036854775807") },
    { "uint64 maximum", SPAN("\"endTimeUnixNano\":\"18446744073709551615\""),
      SPAN("\"endTimeUnixNano\":18446744073709551615") },
    { "double as text", VALUE("\"doubleValue\":1.5"), VALUE("\"doubleValue\":\"1.5\"") },
    { "bool as text", VALUE("\"boolValue\":true"), VALUE("\"boolValue\":\"true\"") },
    { "bytes url-safe, unpadded", VALUE("\"bytesValue\":\"+/8=\""),
      VALUE("\"bytesValue\":\"-_8\"") },
    { "bytes escaped slash", VALUE("\"bytesValue\":\"+/8=\""), VALUE("\"bytesValue\":\"+\\/8=\"") },
    { "null among values", VALUE("\"arrayValue\":{\"values\":[{},{\"intValue\":\"1\"}]}"),
      VALUE("\"arrayValue\":{\"values\":[null,{\"intValue\":1}]}") },
    { "null among spans", "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[]}]}]}",
      "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[null]}]}]}" },
};

static void lenient_reads_as_strict(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sames / sizeof sames[0]; i++) {
        struct buffer a, b;
        struct err_note note = { 0 };
        buffer_init(&a, 1u << 20);
        buffer_init(&b, 1u << 20);
        assert_int_equal(otlp_json_read(SIGNAL_TRACES, bytes_text(sames[i].strict),
                                        &otlp_limits_default, &a, &note),
                         ERR_OK);
        enum err e = otlp_json_read(SIGNAL_TRACES, bytes_text(sames[i].lenient),
                                    &otlp_limits_default, &b, &note);
        if (e != ERR_OK || !bytes_equal(buffer_bytes(&a), buffer_bytes(&b)))
            print_error("%s: %s at %zu\n", sames[i].name, note.what, note.offset);
        assert_int_equal(e, ERR_OK);
        assert_true(bytes_equal(buffer_bytes(&a), buffer_bytes(&b)));
        buffer_deinit(&a);
        buffer_deinit(&b);
    }
}

/* An object is whole only with its last brace: each cut is refused, and says where. */
static void cut_text_is_refused(void **state)
{
    (void)state;
    struct random random;
    struct buffer body, json, out;
    random_init(&random, SEED + 1);
    buffer_init(&body, 1u << 20);
    buffer_init(&json, 1u << 20);
    buffer_init(&out, 1u << 20);
    const struct otlp_random_options options = { .items_max = 2, .depth_max = 3 };
    do {
        buffer_reset(&body);
        otlp_random(&random, SIGNAL_LOGS, &options, &body);
    } while (body.len < 600);
    json_of(SIGNAL_LOGS, buffer_bytes(&body), &json);
    for (size_t len = 0; len < json.len; len++) {
        uint8_t *cut =
            mem_alloc(len); /* of its own size, so that a sanitizer sees a step outside */
        assert_non_null(cut);
        memcpy(cut, json.data, len);
        struct err_note note = { .offset = SIZE_MAX };
        buffer_reset(&out);
        assert_int_equal(
            otlp_json_read(SIGNAL_LOGS, bytes_of(cut, len), &otlp_limits_default, &out, &note),
            ERR_INVALID);
        assert_true(note.offset <= len && note.what != NULL);
        mem_free(cut);
    }
    buffer_deinit(&body);
    buffer_deinit(&json);
    buffer_deinit(&out);
}

static enum err sample_both_ways(void)
{
    static const char sample[] = SPAN(
        IDS
        ",\"name\":\"a \\u00e9\",\"attributes\":[{\"key\":\"n\",\"value\":{\"arrayValue\":{"
        "\"values\":[{\"bytesValue\":\"AQI=\"},{\"kvlistValue\":{\"values\":[{\"key\":\"deep\"}]}}"
        "]}}}],\"x\":1");
    struct buffer pb, canonical, json;
    buffer_init(&pb, 1u << 20);
    buffer_init(&canonical, 1u << 20);
    buffer_init(&json, 1u << 20);
    enum err e = otlp_json_read(SIGNAL_TRACES, bytes_text(sample), &otlp_limits_default, &pb, NULL);
    if (e == ERR_OK)
        e = otlp_rewrite(SIGNAL_TRACES, buffer_bytes(&pb), &otlp_limits_default, 0, &canonical);
    if (e == ERR_OK) {
        struct json_writer w;
        json_init(&w, &json);
        otlp_json_write(SIGNAL_TRACES, buffer_bytes(&canonical), &w);
        e = buffer_error(&json);
    }
    buffer_deinit(&pb);
    buffer_deinit(&canonical);
    buffer_deinit(&json);
    return e;
}

static void survives_any_failed_allocation(void **state)
{
    (void)state;
#if SPINDLE_FAULTS
    long alive = fault_live_blocks();
    for (unsigned long n = 0;; n++) {
        fault_alloc_fail_at(n, false);
        enum err e = sample_both_ways();
        bool fired = fault_fired();
        fault_alloc_off();
        assert_int_equal(fault_live_blocks(), alive);
        assert_int_equal(e, fired ? ERR_NOMEM : ERR_OK);
        if (!fired) {
            assert_true(n >= 4);
            return;
        }
    }
#else
    assert_int_equal(sample_both_ways(), ERR_OK);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_survive_json),
        cmocka_unit_test(lenient_reads_as_strict),
        cmocka_unit_test(cut_text_is_refused),
        cmocka_unit_test(survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
