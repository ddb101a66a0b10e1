/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of texts and what they mean; parsers refuse everything else, and printing undoes parsing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/text.h"

static void durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns; /* -1: refused */
    } cases[] = {
        { "0", 0 },
        { "1.5s", 1500000000 },
        { "100ms", 100000000 },
        { "500us", 500000 },
        { "2\xc2\xb5s", 2000 },
        { "1h30m", INT64_C(5400000000000) },
        { "1d", INT64_C(86400000000000) },
        { "7ns", 7 },
        { ".5s", 500000000 },
        { "", -1 },
        { "5", -1 },
        { "s", -1 },
        { "1x", -1 },
        { "1s ", -1 },
        { "1..5s", -1 },
        { "300y", -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ns = -1;
        bool ok = text_duration_parse(bytes_text(cases[i].text), &ns);
        assert_int_equal(ok, cases[i].ns >= 0);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
        bool ok;
    } cases[] = {
        { "10", 10, true },          { "10GiB", UINT64_C(10) << 30, true },
        { "512k", 512 << 10, true }, { "1.5MB", 1572864, true },
        { "64B", 64, true },         { "", 0, false },
        { "1X", 0, false },          { "1GiBs", 0, false },
        { "-1", 0, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 0;
        assert_int_equal(text_size_parse(bytes_text(cases[i].text), &bytes), cases[i].ok);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
        bool ok;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0, true },
        { "2023-11-14T22:13:20Z", UINT64_C(1700000000000000000), true },
        { "2023-11-14T23:13:20.000000001+01:00", UINT64_C(1700000000000000001), true },
        { "2024-02-29t00:00:00.5z", UINT64_C(1709164800500000000), true },
        { "2023-02-29T00:00:00Z", 0, false },
        { "2023-11-14T22:13:20", 0, false },
        { "2023-11-14T22:13:20.Z", 0, false },
        { "1969-12-31T23:59:59Z", 0, false },
        { "2023-13-14T22:13:20Z", 0, false },
        { "9999-01-01T00:00:00Z", 0, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = 0;
        assert_int_equal(text_time_parse(bytes_text(cases[i].text), &ns), cases[i].ok);
        assert_int_equal(ns, cases[i].ns);
    }
    struct random r;
    random_init(&r, 3);
    for (int i = 0; i < 20000; i++) {
        uint64_t ns = random_next(&r) >> random_below(&r, 40), back = 1;
        if (i % 3 == 0)
            ns -= ns % NS_PER_MS;
        struct buffer b;
        buffer_init(&b, 100);
        text_time(&b, ns);
        assert_true(text_time_parse(buffer_bytes(&b), &back));
        assert_int_equal(back, ns);
        buffer_deinit(&b);
    }
}

static void numbers(void **state)
{
    (void)state;
    uint64_t u = 1;
    int64_t s = 1;
    double d = 1;
    assert_true(text_u64_parse(BYTES_LITERAL("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    assert_false(text_u64_parse(BYTES_LITERAL("18446744073709551616"), &u));
    assert_false(text_u64_parse(BYTES_LITERAL("+1"), &u));
    assert_true(text_i64_parse(BYTES_LITERAL("-9223372036854775808"), &s));
    assert_true(s == INT64_MIN);
    assert_false(text_i64_parse(BYTES_LITERAL("9223372036854775808"), &s));
    assert_true(text_double_parse(BYTES_LITERAL("-1.5e3"), &d));
    assert_true(d == -1500.0);
    assert_false(text_double_parse(BYTES_LITERAL("1."), &d));
    assert_false(text_double_parse(BYTES_LITERAL("01"), &d));
    assert_false(text_double_parse(BYTES_LITERAL("nan"), &d));
    struct random r;
    random_init(&r, 5);
    for (int i = 0; i < 20000; i++) {
        double v = (random_unit(&r) - 0.5) * (i % 2 ? 1e300 : 1e3), back;
        struct buffer b;
        buffer_init(&b, 100);
        text_double(&b, v);
        assert_true(text_double_parse(buffer_bytes(&b), &back));
        assert_true(back == v);
        buffer_deinit(&b);
    }
}

static void encodings(void **state)
{
    (void)state;
    uint8_t out[64];
    size_t len;
    assert_true(text_percent_decode(BYTES_LITERAL("a%20b+c%2f"), true, out, &len));
    assert_true(bytes_equal_text(bytes_of(out, len), "a b c/"));
    assert_false(text_percent_decode(BYTES_LITERAL("a%2"), true, out, &len));
    assert_false(text_percent_decode(BYTES_LITERAL("%zz"), true, out, &len));
    assert_true(text_hex_parse(BYTES_LITERAL("0aFf"), out, 2));
    assert_int_equal(out[1], 255);
    assert_false(text_hex_parse(BYTES_LITERAL("0aF"), out, 2));
    assert_false(text_hex_parse(BYTES_LITERAL("0aFg"), out, 2));
    for (size_t n = 0; n < 20; n++) {
        struct buffer b;
        buffer_init(&b, 100);
        text_base64(&b, bytes_of("\xfb\xff\xfe some bytes here", n));
        assert_true(text_base64_parse(buffer_bytes(&b), out, &len));
        assert_true(bytes_equal(bytes_of(out, len), bytes_of("\xfb\xff\xfe some bytes here", n)));
        while (b.len > 0 && b.data[b.len - 1] == '=')
            b.len--;
        assert_true(text_base64_parse(buffer_bytes(&b), out, &len));
        assert_int_equal(len, n);
        buffer_deinit(&b);
    }
    assert_false(text_base64_parse(BYTES_LITERAL("A"), out, &len));
    assert_false(text_base64_parse(BYTES_LITERAL("AB=C"), out, &len));
    assert_true(text_base64_parse(BYTES_LITERAL("-_8"), out, &len));
}

static void utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t valid_len;
        const char *repaired;
    } cases[] = {
        { "plain ascii, long enough for words", 34, "plain ascii, long enough for words" },
        { "\xc3\xa9", 2, "\xc3\xa9" },
        { "\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf" },
        { "\xf4\x90\x80\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "a\xc0\xaf", 1, "a\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "12345678\xe2\x82z", 8, "12345678\xef\xbf\xbdz" },
        { "\xe0\x9f\xbf", 0, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer b;
        buffer_init(&b, 100);
        assert_int_equal(text_utf8_valid_len(bytes_text(cases[i].text)), cases[i].valid_len);
        text_utf8_repair(&b, bytes_text(cases[i].text));
        assert_true(bytes_equal_text(buffer_bytes(&b), cases[i].repaired));
        buffer_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(sizes),     cmocka_unit_test(times),
        cmocka_unit_test(numbers),   cmocka_unit_test(encodings), cmocka_unit_test(utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
