/* SPDX-License-Identifier: Apache-2.0 */
/* request_head_test.c - tables of what header values mean: gRPC's timeouts, hosts, paths, media types, codings;
 * and the two small counters beside them, strikes and peers. */
#include "base/clock.h"
#include "net/accept.h"
#include "net/peers.h"
#include "net/request_head.h"
#include "net/strikes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void timeouts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t ns;
    } cases[] = {
        { "1n", true, 1 },
        { "20u", true, 20000 },
        { "5m", true, 5000000 },
        { "1S", true, NS_PER_S },
        { "2M", true, 120 * NS_PER_S },
        { "1H", true, 3600 * NS_PER_S },
        { "0n", true, 0 },
        { "00000001S", true, NS_PER_S },
        { "99999999H", true, UINT64_MAX },
        { "", false, 0 },
        { "S", false, 0 },
        { "1", false, 0 },
        { "1s", false, 0 },
        { "123456789S", false, 0 },
        { "+1S", false, 0 },
        { "-1S", false, 0 },
        { " 1S", false, 0 },
        { "1 S", false, 0 },
        { "1.5S", false, 0 },
        { "1SS", false, 0 },
        { "0x1S", false, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ns = 0;
        assert_int_equal(grpc_timeout_parse(bytes_text(cases[i].text), &ns), cases[i].good);
        assert_true(ns == cases[i].ns);
    }
}

static void hosts(void **state)
{
    (void)state;
    static const char *const names[] = { "spindle.test" };
    static const struct {
        const char *authority;
        bool is_formed, is_ours, is_ours_on_all;
    } cases[] = {
        { "localhost", true, true, true },
        { "LocalHost:1", true, true, true },
        { "127.0.0.1:80", true, true, true },
        { "127.9.9.9", true, true, true },
        { "[::1]", true, true, true },
        { "[::1]:4318", true, true, true },
        { "10.1.2.3", true, true, true },
        { "10.1.2.4", true, false, true },
        { "[2001:db8::1]", true, false, true },
        { "spindle.test", true, true, true },
        { "SPINDLE.test:1", true, true, true },
        { "evil.test", true, false, false },
        { "localhost.evil", true, false, false },
        { "spindle.test.", true, false, false },
        { "127.0.0.1.evil", true, false, false },
        { "", false, false, false },
        { ":80", false, false, false },
        { "a:b", false, false, false },
        { "a:65536", false, false, false },
        { "a:", false, false, false },
        { "[::1", false, false, false },
        { "[]", false, false, false },
        { "a b", false, false, false },
        { "a@b", false, false, false },
        { "::1", false, false, false },
    };
    struct core core = { .hosts = names, .host_count = 1 };
    struct listener one = { .host = BYTES_LITERAL("10.1.2.3") };
    struct listener all = { .host = BYTES_LITERAL("0.0.0.0"), .is_wildcard = true };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes host = { 0 };
        bool formed = host_split(bytes_text(cases[i].authority), &host);
        if (formed != cases[i].is_formed)
            (void)fprintf(stderr, "%s\n", cases[i].authority);
        assert_int_equal(formed, cases[i].is_formed);
        assert_int_equal(formed && host_is_ours(&core, &one, host), cases[i].is_ours);
        assert_int_equal(formed && host_is_ours(&core, &all, host), cases[i].is_ours_on_all);
    }
}

static void paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *normal; /* NULL: refused */
    } cases[] = {
        { "/", "/" },           { "/a", "/a" },       { "/a/b", "/a/b" },  { "/a%20b", "/a b" },
        { "/a%2Fb", "/a/b" },   { "/...", "/..." },   { "/.a", "/.a" },    { "/a.", "/a." },
        { "/%2e%2ea", "/..a" }, { "", NULL },         { "a", NULL },       { "//", "//" },
        { "/a/", "/a/" },       { "/a//b", "/a//b" }, { "/.", NULL },      { "/..", NULL },
        { "/%2e", NULL },       { "/.%2E", NULL },    { "/a/../b", NULL }, { "/%", NULL },
        { "/%4", NULL },        { "/%4g", NULL },     { "/%00", NULL },    { "/%0a", NULL },
        { "/%7f", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[64];
        size_t len = 0;
        bool good = request_path_normal(bytes_text(cases[i].path), out, &len);
        assert_int_equal(good, cases[i].normal != NULL);
        assert_true(!good || bytes_equal_text(bytes_of(out, len), cases[i].normal));
    }
}

static void media_types_and_codings(void **state)
{
    (void)state;
    assert_true(media_type_in(NULL, BYTES_LITERAL("")));
    assert_true(media_type_in("a/b, c/d", media_type(BYTES_LITERAL(" C/D ; x=y"))));
    assert_false(media_type_in("a/b, c/d", BYTES_LITERAL("")));
    assert_false(media_type_in("a/b, c/d", BYTES_LITERAL("a/b, c/d")));
    assert_true(is_grpc_content_type(BYTES_LITERAL("application/grpc")));
    assert_true(is_grpc_content_type(BYTES_LITERAL("application/grpc+json")));
    assert_false(is_grpc_content_type(BYTES_LITERAL("application/grpc-web")));
    assert_false(is_grpc_content_type(BYTES_LITERAL("application/grp")));
}

static void what_a_client_likes(void **state)
{
    (void)state;
    static const char *const types[] = { "application/json", "application/x-protobuf" };
    static const struct {
        const char *accept;
        size_t choice;
    } cases[] = {
        { "", 0 },
        { "*/*", 0 },
        { "text/html", 0 },
        { "application/x-protobuf", 1 },
        { "APPLICATION/X-Protobuf", 1 },
        { "application/x-protobuf; a=\"b,c\"", 1 },
        { "application/x-protobuf, */*", 1 },
        { "application/x-protobuf;q=0", 0 },
        { "application/x-protobuf;q=0, */*", 0 },
        { "application/json;q=0, */*", 1 },
        { "application/json, application/x-protobuf", 0 },
        { "application/json, application/x-protobuf;q=0.5", 0 },
        { "application/x-protobuf;q=0.5, application/json;q=0.9", 0 },
        { "application/json;q=0.5, application/x-protobuf ; q=0.9", 1 },
        { "application/*;q=0.9, application/json;q=0.1", 1 },
        { "application/*, text/plain", 0 },
        { "application/x-protobuf;q=high", 0 },
        { ",,;q=1,", 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (accept_choose(bytes_text(cases[i].accept), types, 2) != cases[i].choice)
            fail_msg("'%s' does not choose %zu", cases[i].accept, cases[i].choice);
    assert_true(accept_names(BYTES_LITERAL("br, gzip"), "gzip"));
    assert_true(accept_names(BYTES_LITERAL("GZIP;q=0.5"), "gzip"));
    assert_false(accept_names(BYTES_LITERAL("gzip;q=0"), "gzip"));
    assert_false(accept_names(BYTES_LITERAL("gzip;q=0.000, br"), "gzip"));
    assert_false(accept_names(BYTES_LITERAL("xgzip, br"), "gzip"));
    assert_false(accept_names(BYTES_LITERAL(""), "gzip"));
}

static void strikes_run_out_and_come_back(void **state)
{
    (void)state;
    struct strikes s;
    uint64_t now = 5 * NS_PER_S;
    strikes_init(&s, now);
    for (int i = 0; i < STRIKES_MAX; i++)
        assert_true(strikes_take(&s, 1, now));
    assert_false(strikes_take(&s, 1, now));
    now += NS_PER_S;
    for (int i = 0; i < STRIKES_PER_S; i++)
        assert_true(strikes_take(&s, 1, now));
    assert_false(strikes_take(&s, 1, now));
    strikes_give(&s, 10);
    assert_true(strikes_take(&s, 10, now));
    assert_false(strikes_take(&s, 1, now));
    now += 3600 * NS_PER_S; /* not above full */
    assert_true(strikes_take(&s, STRIKES_MAX, now));
    assert_false(strikes_take(&s, 1, now));
    assert_true(strikes_take(&s, 0, now - NS_PER_S)); /* a clock that went back */
}

static void peers_are_counted_each(void **state)
{
    (void)state;
    struct peers *p;
    struct peer_address a = { 0 };
    assert_int_equal(peers_open(1000, &p), ERR_OK);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            store_le32(a.b + 4, i);
            assert_true(peers_enter(p, &a, 2));
            assert_true(i % 3 != 0 || peers_enter(p, &a, 2));
            assert_true(i % 3 != 0 || !peers_enter(p, &a, 2));
        }
        for (unsigned i = 1000; i-- > 0;) {
            store_le32(a.b + 4, i * 7 % 1000);
            peers_leave(p, &a);
            if (i * 7 % 1000 % 3 == 0)
                peers_leave(p, &a);
        }
    }
    peers_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts),
        cmocka_unit_test(hosts),
        cmocka_unit_test(paths),
        cmocka_unit_test(media_types_and_codings),
        cmocka_unit_test(what_a_client_likes),
        cmocka_unit_test(strikes_run_out_and_come_back),
        cmocka_unit_test(peers_are_counted_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
