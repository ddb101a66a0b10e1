/* SPDX-License-Identifier: Apache-2.0 */
/* Shows each form byte for byte on small pages, escaping in each place, exemplars in the bucket they
 * belong to, native buckets as spans and differences, that long pages leave in pieces, and what is
 * chosen for which Accept header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/text.h"
#include "collector/exposition.h"

#include <stdio.h>
#include <string.h>

static struct {
    struct buffer page;
    size_t pieces, longest;
} at;

static enum err keep(void *context, struct buffer *take_piece)
{
    (void)context;
    buffer_append_bytes(&at.page, buffer_bytes(take_piece));
    at.pieces++;
    if (take_piece->len > at.longest)
        at.longest = take_piece->len;
    buffer_deinit(take_piece);
    return ERR_OK;
}

static int start(void **state)
{
    (void)state;
    buffer_init(&at.page, SIZE_MAX);
    at.pieces = at.longest = 0;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    buffer_deinit(&at.page);
    return 0;
}

static const struct exposition_number bounds[] = { { 5, 3 }, { 1, 0 } };
static const struct exposition_exemplar exemplars[] = {
    { .trace_label = "trace_id",
      .trace_id = { 0x0a, [15] = 0x1c },
      .span_id = { 1, [7] = 2 },
      .has_span_id = true,
      .value = { 4, 3 },
      .unix_ns = 1700000000123000000u },
    { .trace_label = "traceID",
      .trace_id = { 0x0b, [15] = 0x1d },
      .value = { 25, 1 },
      .unix_ns = 1700000001000000000u },
};

static const struct exposition_family requests = {
    .name = "shop_requests_total",
    .help = "Back\\slash, \"quote\" and\nline.",
    .type = EXPOSITION_COUNTER,
};
static const struct exposition_family up = {
    .name = "shop_open_seconds",
    .help = "Open.",
    .unit = "seconds",
    .type = EXPOSITION_GAUGE,
};
static const struct exposition_family wait = {
    .name = "shop_wait_seconds",
    .help = "Wait.",
    .unit = "seconds",
    .type = EXPOSITION_HISTOGRAM,
    .bounds = bounds,
    .bounds_count = 2,
};

static void write_page(enum exposition_format format)
{
    struct exposition e;
    const struct exposition_label labels[] = {
        { "path", BYTES_LITERAL("C:\\x \"y\"\nz") },
        { "empty", { 0 } },
        { "bad", BYTES_LITERAL("a\xff") },
    };
    const struct exposition_label one[] = { { "till", BYTES_LITERAL("7") } };
    static const int32_t indices[] = { -1, 0, 4 };
    static const uint64_t native_counts[] = { 2, 5, 1 }, counts[] = { 3, 0, 5 };
    const struct exposition_native native = {
        .schema = 3, .indices = indices, .counts = native_counts, .length = 3
    };
    const struct exposition_histogram h = { .count = 8,
                                            .sum = { 12500000000u, 9 },
                                            .counts = counts,
                                            .native = &native,
                                            .exemplars = exemplars,
                                            .exemplars_count = 2 };
    exposition_begin(&e, format, keep, NULL);
    exposition_family(&e, &requests);
    exposition_value(&e, labels, 3, (struct exposition_number){ 42, 0 }, &exemplars[0]);
    exposition_family(&e, &up);
    exposition_value(&e, NULL, 0, (struct exposition_number){ 1500, 3 }, NULL);
    exposition_family(&e, &wait);
    exposition_histogram(&e, one, 1, &h);
    assert_int_equal(exposition_end(&e), ERR_OK);
}

static void expect_text(const char *expected)
{
    buffer_append_byte(&at.page, '\0');
    assert_string_equal((const char *)at.page.data, expected);
}

static void text_is_exact(void **state)
{
    (void)state;
    write_page(EXPOSITION_TEXT);
    expect_text("# HELP shop_requests_total Back\\\\slash, \"quote\" and\\nline.\n"
                "# TYPE shop_requests_total counter\n"
                "shop_requests_total{path=\"C:\\\\x \\\"y\\\"\\nz\",bad=\"a\xef\xbf\xbd\"} 42\n"
                "# HELP shop_open_seconds Open.\n"
                "# TYPE shop_open_seconds gauge\n"
                "shop_open_seconds 1.5\n"
                "# HELP shop_wait_seconds Wait.\n"
                "# TYPE shop_wait_seconds histogram\n"
                "shop_wait_seconds_bucket{till=\"7\",le=\"0.005\"} 3\n"
                "shop_wait_seconds_bucket{till=\"7\",le=\"1\"} 3\n"
                "shop_wait_seconds_bucket{till=\"7\",le=\"+Inf\"} 8\n"
                "shop_wait_seconds_sum{till=\"7\"} 12.5\n"
                "shop_wait_seconds_count{till=\"7\"} 8\n");
}

static void openmetrics_is_exact(void **state)
{
    (void)state;
    write_page(EXPOSITION_OPENMETRICS);
    expect_text(
        "# TYPE shop_requests counter\n"
        "# HELP shop_requests Back\\\\slash, \\\"quote\\\" and\\nline.\n"
        "shop_requests_total{path=\"C:\\\\x \\\"y\\\"\\nz\",bad=\"a\xef\xbf\xbd\"} 42"
        " # {trace_id=\"0a00000000000000000000000000001c\",span_id=\"0100000000000002\"} 0.004"
        " 1700000000.123\n"
        "# TYPE shop_open_seconds gauge\n"
        "# UNIT shop_open_seconds seconds\n"
        "# HELP shop_open_seconds Open.\n"
        "shop_open_seconds 1.5\n"
        "# TYPE shop_wait_seconds histogram\n"
        "# UNIT shop_wait_seconds seconds\n"
        "# HELP shop_wait_seconds Wait.\n"
        "shop_wait_seconds_bucket{till=\"7\",le=\"0.005\"} 3"
        " # {trace_id=\"0a00000000000000000000000000001c\",span_id=\"0100000000000002\"} 0.004"
        " 1700000000.123\n"
        "shop_wait_seconds_bucket{till=\"7\",le=\"1.0\"} 3\n"
        "shop_wait_seconds_bucket{till=\"7\",le=\"+Inf\"} 8"
        " # {traceID=\"0b00000000000000000000000000001d\"} 2.5 1700000001\n"
        "shop_wait_seconds_sum{till=\"7\"} 12.5\n"
        "shop_wait_seconds_count{till=\"7\"} 8\n"
        "# EOF\n");
}

/* The last family by hand; the ones before it are looked for by their names. */
static void protobuf_is_exact(void **state)
{
    (void)state;
    static const uint8_t gauge[] = {
        50, /* the family's length */
        0x0a, 17,  's',  'h', 'o',  'p', '_', 'o', 'p', 'e', 'n', '_',  's',
        'e',  'c', 'o',  'n', 'd',  's',                                     /* name */
        0x12, 5,   'O',  'p', 'e',  'n', '.',                                /* help */
        0x18, 1,                                                             /* type GAUGE */
        0x2a, 7,   's',  'e', 'c',  'o', 'n', 'd', 's',                      /* unit */
        0x22, 11,  0x12, 9,   0x09, 0,   0,   0,   0,   0,   0,   0xf8, 0x3f /* 1.5 */
    };
    static const uint8_t native[] = {
        0x28, 6,                            /* schema 3 */
        0x31, 0, 0,    0, 0,    0, 0, 0, 0, /* zero threshold */
        0x38, 0,                            /* zero count */
        0x62, 4, 0x08, 1, 0x10, 2,          /* span (-1, 2) */
        0x62, 4, 0x08, 6, 0x10, 1,          /* span (3, 1) */
        0x68, 4, 0x68, 6, 0x68, 7,          /* +2, +3, -4 */
        0x82, 1                             /* the first exemplar */
    };
    write_page(EXPOSITION_PROTOBUF);
    assert_non_null(memmem(at.page.data, at.page.len, gauge, sizeof gauge));
    assert_non_null(memmem(at.page.data, at.page.len, native, sizeof native));
    assert_non_null(memmem(at.page.data, at.page.len, "shop_requests_total", 19));
    size_t i = 0, families = 0;
    while (i < at.page.len) {
        uint64_t len = 0;
        for (unsigned shift = 0;; shift += 7) {
            len |= (uint64_t)(at.page.data[i] & 0x7f) << shift;
            if (at.page.data[i++] < 0x80)
                break;
        }
        i += len;
        families++;
    }
    assert_int_equal(i, at.page.len);
    assert_int_equal(families, 3);
}

static void an_empty_native_histogram_stays_one(void **state)
{
    (void)state;
    static const uint8_t no_op[] = { 0x62, 4, 0x08, 0, 0x10, 0 };
    const struct exposition_native native = { .schema = 3 };
    const struct exposition_histogram h = { .native = &native };
    struct exposition e;
    exposition_begin(&e, EXPOSITION_PROTOBUF, keep, NULL);
    exposition_family(&e, &wait);
    exposition_histogram(&e, NULL, 0, &h);
    assert_int_equal(exposition_end(&e), ERR_OK);
    assert_non_null(memmem(at.page.data, at.page.len, no_op, sizeof no_op));
}

static void an_empty_page_is_whole(void **state)
{
    (void)state;
    struct exposition e;
    exposition_begin(&e, EXPOSITION_OPENMETRICS, keep, NULL);
    assert_int_equal(exposition_end(&e), ERR_OK);
    expect_text("# EOF\n");
}

#define SERIES 10000

static void long_pages_leave_in_pieces(void **state)
{
    (void)state;
    static const uint64_t counts[] = { 3, 2, 1 };
    const struct exposition_histogram h = { .count = 6, .sum = { 5, 0 }, .counts = counts };
    struct exposition e;
    exposition_begin(&e, EXPOSITION_TEXT, keep, NULL);
    exposition_family(&e, &wait);
    for (int i = 0; i < SERIES; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "till-%d", i);
        const struct exposition_label label = { "till", bytes_of(text, (size_t)len) };
        exposition_histogram(&e, &label, 1, &h);
    }
    assert_int_equal(exposition_end(&e), ERR_OK);
    assert_true(at.pieces > 10);
    assert_true(at.longest < 2 * EXPOSITION_PIECE_BYTES);
    size_t lines = 0;
    for (size_t i = 0; i < at.page.len; i++)
        lines += at.page.data[i] == '\n';
    assert_int_equal(lines, 2 + SERIES * 5);
}

static enum err refuse(void *context, struct buffer *take_piece)
{
    unsigned *calls = context;
    buffer_deinit(take_piece);
    ++*calls;
    return ERR_CANCELLED;
}

static void a_reader_who_left_ends_the_page(void **state)
{
    (void)state;
    unsigned calls = 0;
    struct exposition e;
    exposition_begin(&e, EXPOSITION_TEXT, refuse, &calls);
    exposition_family(&e, &up);
    for (int i = 0; i < SERIES; i++)
        exposition_value(&e, NULL, 0, (struct exposition_number){ 1, 0 }, NULL);
    assert_int_equal(exposition_end(&e), ERR_CANCELLED);
    assert_int_equal(calls, 1);
}

static void numbers_are_exact(void **state)
{
    (void)state;
    static const struct {
        struct exposition_number n;
        bool is_float;
        const char *text;
    } cases[] = {
        { { 0, 0 }, false, "0" },
        { { 0, 9 }, true, "0.0" },
        { { 1, 9 }, false, "0.000000001" },
        { { 2, 3 }, true, "0.002" },
        { { 15000, 0 }, true, "15000.0" },
        { { UINT64_MAX, 0 }, false, "18446744073709551615" },
        { { UINT64_MAX, 18 }, false, "18.446744073709551615" },
        { { 1400, 3 }, false, "1.4" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer b;
        buffer_init(&b, 100);
        exposition_number_text(&b, cases[i].n, cases[i].is_float);
        if (!bytes_equal_text(buffer_bytes(&b), cases[i].text))
            fail_msg("%s became %.*s", cases[i].text, (int)b.len, (const char *)b.data);
        buffer_deinit(&b);
    }
}

#define PROTO                                                                                      \
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define OPEN_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

static void the_accept_header_decides(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        enum exposition_format format;
        const char *type;
    } cases[] = {
        { "", EXPOSITION_TEXT, TEXT_TYPE },
        { "*/*", EXPOSITION_TEXT, TEXT_TYPE },
        { "text/html, image/png", EXPOSITION_TEXT, TEXT_TYPE },
        { "application/openmetrics-text", EXPOSITION_OPENMETRICS, OPEN_TYPE },
        { "application/openmetrics-text;version=0.0.1", EXPOSITION_TEXT, TEXT_TYPE },
        /* Prometheus 3, as it comes */
        { "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
          "application/openmetrics-text;version=0.0.1;q=0.4,"
          "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,"
          "*/*;q=0.1",
          EXPOSITION_OPENMETRICS, OPEN_TYPE "; escaping=allow-utf-8" },
        /* Prometheus 2 with native histograms */
        { PROTO ",application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5",
          EXPOSITION_PROTOBUF, NULL },
        { PROTO ";q=0.1 , text/plain ; q=0.200", EXPOSITION_TEXT, TEXT_TYPE },
        { "application/openmetrics-text; Q=0.9, text/plain; q=1.0", EXPOSITION_TEXT, TEXT_TYPE },
        { "application/openmetrics-text;version=\"1.0.0\";q=1,text/plain;q=0.9",
          EXPOSITION_OPENMETRICS, OPEN_TYPE },
        { "APPLICATION/OpenMetrics-Text", EXPOSITION_OPENMETRICS, OPEN_TYPE },
        { "application/openmetrics-text;q=0", EXPOSITION_TEXT, TEXT_TYPE },
        { "application/openmetrics-text;q=2, text/plain;q=0.1", EXPOSITION_TEXT, TEXT_TYPE },
        /* Schemes that would rename our metrics are passed over */
        { "application/openmetrics-text;version=1.0.0;escaping=dots", EXPOSITION_TEXT, TEXT_TYPE },
        { "application/openmetrics-text;escaping=values,text/plain;q=0.1", EXPOSITION_TEXT,
          TEXT_TYPE },
        { "application/openmetrics-text;escaping=underscores", EXPOSITION_OPENMETRICS,
          OPEN_TYPE "; escaping=underscores" },
        { "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
          EXPOSITION_TEXT, TEXT_TYPE },
        { ",,;;,=,\";,", EXPOSITION_TEXT, TEXT_TYPE },
        { "a;x=\"b,application/openmetrics-text\",text/plain;q=0.5", EXPOSITION_TEXT, TEXT_TYPE },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *type;
        enum exposition_format format = exposition_negotiate(bytes_text(cases[i].accept), &type);
        if (format != cases[i].format ||
            (cases[i].type != NULL && strcmp(type, cases[i].type) != 0))
            fail_msg("'%s' got %d, %s", cases[i].accept, (int)format, type);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_is_exact, start, stop),
        cmocka_unit_test_setup_teardown(openmetrics_is_exact, start, stop),
        cmocka_unit_test_setup_teardown(protobuf_is_exact, start, stop),
        cmocka_unit_test_setup_teardown(an_empty_native_histogram_stays_one, start, stop),
        cmocka_unit_test_setup_teardown(an_empty_page_is_whole, start, stop),
        cmocka_unit_test_setup_teardown(long_pages_leave_in_pieces, start, stop),
        cmocka_unit_test_setup_teardown(a_reader_who_left_ends_the_page, start, stop),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(the_accept_header_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
