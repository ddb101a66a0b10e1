/* SPDX-License-Identifier: Apache-2.0 */
/* What patterns mean (RE2's reading, both ends anchored), which are refused, and that none runs
 * away: every pattern of the hostile list ends within 50 ms, counted where it was given up. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "storage/expr_private.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* Sanitizers slow PCRE2's callers, not PCRE2 itself, but share the machine with others. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TIME_FACTOR 4
#else
#define TIME_FACTOR 1
#endif

static bool matches(const char *pattern, struct bytes text)
{
    struct expr_regex *r;
    struct err_note note = { 0 };
    enum err e = expr_regex_compile(bytes_text(pattern), &r, &note);
    if (e != ERR_OK)
        print_message("%s: %s at %zu\n", pattern, note.what, note.offset);
    assert_int_equal(e, ERR_OK);
    bool is_match = expr_regex_matches(r, text);
    assert_true(is_match == expr_regex_matches(r, text)); /* the kept scratch changes nothing */
    expr_regex_free(r);
    return is_match;
}

static void patterns_mean_what_re2_says(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool is_match;
    } cases[] = {
        { "abc", "abc", true },
        { "abc", "xabc", false },
        { "abc", "abcx", false },
        { "a|ab", "ab", true },
        { "ab|a", "a", true },
        { "", "", true },
        { "", "a", false },
        { ".*", "", true },
        { "a.c", "a\nc", false },
        { "(?s)a.c", "a\nc", true },
        { "abc$", "abc\n", false },
        { "^abc$", "abc", true },
        { "(?m)a$\nb", "a\nb", true },
        { "(?i)ABC", "aBc", true },
        { "(?i:A)b", "ab", true },
        { "(?i:A)b", "aB", false },
        { "ABC", "abc", false },
        { "GET /(users|items)/[0-9]+", "GET /items/42", true },
        { "GET /(users|items)/[0-9]+", "GET /items/", false },
        { "\\d{3}", "404", true },
        { "\\d{3}", "40", false },
        { "a{,3}", "a{,3}", true }, /* no count: literal */
        { "{a}", "{a}", true },
        { "x{2,}", "xxxx", true },
        { "x{2,3}?", "xxx", true },
        { "[]a]+", "]a", true },
        { "[^]a]", "b", true },
        { "[[:alpha:]_]+", "ab_c", true },
        { "[[a]+", "[a", true },
        { "\\x41\\x{42}", "AB", true },
        { "\\101\\0", "A", false },
        { "\\101", "A", true },
        { "\\v", "\x0b", true },
        { "\\v", "\n", false },
        { "\\Qa.b*\\Ec", "a.b*c", true },
        { "\\Qa.b*\\Ec", "axb*c", false },
        { "\\Q+", "+", true },
        { "(?P<name>a)(?<other>b)", "ab", true },
        { "\\.\\-\\/\\\"", ".-/\"", true },
        { "a\\b.*", "a b", true },
        { "\\Aabc\\z", "abc", true },
        { ".", "\xc3\xa4", true }, /* one character, two bytes */
        { "...", "\xc3\xa4", false },
        { "[\xc3\xa4\xc3\xb6]", "\xc3\xb6", true },
        { "(?i)\xc3\x84", "\xc3\xa4", true },
        { "\\p{Greek}+", "\xce\xb1\xce\xb2", true },
        { "\\pN", "7", true },
        { "\\PN", "7", false },
        { "\\w", "\xc3\xa4", false }, /* ASCII only, as in RE2 */
        { "\\x{1F600}", "\xf0\x9f\x98\x80", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (matches(cases[i].pattern, bytes_text(cases[i].text)) != cases[i].is_match)
            fail_msg("'%s' against '%s'", cases[i].pattern, cases[i].text);
    }
}

static void texts_that_are_not_utf8_are_matched_bytewise(void **state)
{
    (void)state;
    assert_true(matches(".*", BYTES_LITERAL("a\xff\xfe")));
    assert_true(matches("a..", BYTES_LITERAL("a\xff\xfe")));
    assert_true(matches("a.*z", BYTES_LITERAL("a\xc3z")));
    assert_false(matches("b.*", BYTES_LITERAL("a\xff")));
    assert_false(matches("\\x{1F600}.*", BYTES_LITERAL("\xf0\x9f\x98\x80\xff")));
    assert_true(matches("a.b", BYTES_LITERAL("a\0b")));
    assert_true(matches("", (struct bytes){ NULL, 0 }));
}

static void what_re2_lacks_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        size_t offset;
    } cases[] = {
        { "(a)\\1", 3 },
        { "(?=a)a", 0 },
        { "(?!a)b", 0 },
        { "(?<=a)b", 0 },
        { "(?<!a)b", 0 },
        { "(?>a+)b", 0 },
        { "(?|a|b)", 0 },
        { "(?R)", 0 },
        { "(?1)", 0 },
        { "(?&x)", 0 },
        { "(?P=x)", 0 },
        { "(?P>x)", 0 },
        { "(?(1)a|b)", 0 },
        { "(?#note)", 0 },
        { "(?x) a", 0 },
        { "(*UTF)a", 0 },
        { "(*COMMIT)", 0 },
        { "a*+", 2 },
        { "a++", 2 },
        { "a?+", 2 },
        { "a**", 2 },
        { "a{2}+", 4 },
        { "\\K", 0 },
        { "\\G", 0 },
        { "\\R", 0 },
        { "\\X", 0 },
        { "\\N", 0 },
        { "\\h", 0 },
        { "\\Z", 0 },
        { "\\k<x>", 0 },
        { "\\g1", 0 },
        { "\\C", 0 },
        { "\\e", 0 },
        { "\\cA", 0 },
        { "[\\b]", 1 },
        { "a{1001}", 1 },
        { "a{1,1001}", 1 },
        { "*", 0 },
        { "a|*", 2 },
        { "(+)", 1 },
        { "\\", 0 },
        { "\\x4", 0 },
        { "\\x{110000000}", 0 },
        { "\\p{", 0 },
        { "[[.a.]]", 1 },
        { "(?<1-x>a)", 0 },
        { "\\_", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct expr_regex *r = NULL;
        struct err_note note = { 99, NULL };
        enum err e = expr_regex_compile(bytes_text(cases[i].pattern), &r, &note);
        if (e != ERR_INVALID || note.what == NULL || note.offset != cases[i].offset || r != NULL)
            fail_msg("%s: %d at %zu", cases[i].pattern, e, note.offset);
    }
    static const char *const broken[] = {
        "(", ")", "[a", "a)", "[z-a]", "a{3,2}", "(?P<n>a)(?P<n>b)", "\\p{Nope}", "[[:nope:]]"
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct expr_regex *r = NULL;
        struct err_note note = { 0, NULL };
        assert_int_equal(expr_regex_compile(bytes_text(broken[i]), &r, &note), ERR_INVALID);
        assert_non_null(note.what);
    }
    struct expr_regex *r = NULL;
    struct err_note note;
    assert_int_equal(expr_regex_compile(BYTES_LITERAL("a\xff"), &r, &note), ERR_INVALID);
    static uint8_t large[4097];
    memset(large, 'a', sizeof large);
    assert_int_equal(expr_regex_compile(bytes_of(large, 4096), &r, &note), ERR_OK);
    expr_regex_free(r);
    assert_int_equal(expr_regex_compile(bytes_of(large, 4097), &r, &note), ERR_TOO_LARGE);
}

/* This thread's own time: the machine may be busy with others. */
static uint64_t thread_ns(void)
{
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Each text is `unit` repeated up to `bytes`, then `tail`. */
static void hostile_patterns_end_soon(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *unit, *tail;
        size_t bytes;
    } cases[] = {
        { "(a+)+", "a", "!", 40 },
        { "(a*)*b", "a", "", 40 },
        { "(a|a)*b", "a", "!", 60 },
        { "(a|aa)+$", "a", "!", 60 },
        { "(.*)*x", "a", "", 60 },
        { "(.*a){20}", "a", "!", 40 },
        { "(x+x+)+y", "x", "", 50 },
        { "([a-z]+)*[0-9]", "abc", "", 90 },
        { "((a*)*)*b", "a", "", 60 },
        { "(\\w+\\s?)*!", "ab ", "", 300 },
        { ".*.*.*.*.*=.*", "a", "", 3000 },
        { "(.+)+\\.(.+)+@x", "a.", "", 200 },
        { "(a?){30}a{30}", "a", "b", 30 },
        { ".*a.*b.*c.*d", "abc", "", 1 << 17 },
        { ".*?a[^b]*bc", "a", "cb", 1 << 17 }, /* each step of a backtracker scans the whole text */
        { "(?:a|b|ab)*c", "ab", "", 1 << 16 },
        { "(a{0,100}){0,100}b", "a", "", 1000 },
        { "[^x]*[^y]*[^z]*w", "q", "", 1 << 17 },
        { "((((a+)+)+)+)+b", "a", "", 100 },
        { "(?i)(aA|Aa)*z", "aA", "", 400 },
        { "(\\p{L}+)*\\d", "\xc3\xa4", "", 200 },
    };
    static uint8_t text[(1 << 20) + 64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t len = 0, unit = strlen(cases[i].unit);
        while (len + unit <= cases[i].bytes) {
            memcpy(text + len, cases[i].unit, unit);
            len += unit;
        }
        memcpy(text + len, cases[i].tail, strlen(cases[i].tail));
        len += strlen(cases[i].tail);
        struct expr_regex *r;
        struct err_note note;
        assert_int_equal(expr_regex_compile(bytes_text(cases[i].pattern), &r, &note), ERR_OK);
        uint64_t best = UINT64_MAX;
        for (int round = 0; round < 3; round++) {
            uint64_t start = thread_ns();
            assert_false(expr_regex_matches(r, bytes_of(text, len)));
            uint64_t took = thread_ns() - start;
            best = took < best ? took : best;
        }
        expr_regex_free(r);
        if (getenv("SPINDLE_TEST_VERBOSE") != NULL)
            print_message("%8lu us  %s\n", (unsigned long)(best / 1000), cases[i].pattern);
        if (best > 50 * NS_PER_MS * TIME_FACTOR)
            fail_msg("%s took %lu us", cases[i].pattern, (unsigned long)(best / 1000));
    }
}

/* Six hundred optional parts are as many states: more than a long text is given. */
static void too_many_states_are_given_up(void **state)
{
    (void)state;
    static uint8_t text[1 << 18];
    memset(text, 'a', sizeof text);
    uint64_t before = expr_regex_runaways();
    assert_false(matches("(a?b?){300}a*", bytes_of(text, sizeof text)));
    assert_true(expr_regex_runaways() > before);
    assert_true(matches("(a?b?){300}a*", bytes_of(text, 100)));
}

static void ordinary_patterns_are_never_given_up(void **state)
{
    (void)state;
    static uint8_t text[1 << 20];
    memset(text, 'a', sizeof text);
    memcpy(text + sizeof text / 2, "needle", 6);
    uint64_t before = expr_regex_runaways();
    assert_true(matches(".*needle.*", bytes_of(text, sizeof text)));
    assert_true(matches("(?s).*needle.*", bytes_of(text, 100 * 1024 + sizeof text / 2)));
    assert_true(matches("[^x]+", bytes_of(text, sizeof text)));
    assert_true(matches("a+(need|foo)le.*", bytes_of(text, sizeof text)));
    assert_int_equal(expr_regex_runaways(), before);
}

static void *match_often(void *context)
{
    struct expr_regex *r = context;
    for (int i = 0; i < 2000; i++) {
        if (!expr_regex_matches(r, BYTES_LITERAL("GET /items/42")) ||
            expr_regex_matches(r, BYTES_LITERAL("GET /items/")))
            return r;
    }
    return NULL;
}

static void threads_may_share_a_pattern(void **state)
{
    (void)state;
    struct expr_regex *r;
    struct err_note note;
    long before = fault_live_blocks();
    assert_int_equal(expr_regex_compile(BYTES_LITERAL("(GET|PUT) /.*/[0-9]+"), &r, &note), ERR_OK);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, match_often, r), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = r;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    expr_regex_free(r);
    assert_int_equal(fault_live_blocks(), before);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    for (unsigned long n = 0;; n++) {
        long before = fault_live_blocks();
        struct expr_regex *r = NULL;
        struct err_note note;
        fault_alloc_fail_at(n, false);
        enum err e = expr_regex_compile(BYTES_LITERAL("(a|b)*\\Qx\\E[c-d]+"), &r, &note);
        bool has_fired = fault_fired();
        fault_alloc_off();
        assert_int_equal(e, has_fired ? ERR_NOMEM : ERR_OK);
        if (e == ERR_OK)
            expr_regex_free(r);
        assert_int_equal(fault_live_blocks(), before);
        if (!has_fired)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_what_re2_says),
        cmocka_unit_test(texts_that_are_not_utf8_are_matched_bytewise),
        cmocka_unit_test(what_re2_lacks_is_refused),
        cmocka_unit_test(hostile_patterns_end_soon),
        cmocka_unit_test(too_many_states_are_given_up),
        cmocka_unit_test(ordinary_patterns_are_never_given_up),
        cmocka_unit_test(threads_may_share_a_pattern),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
