/* SPDX-License-Identifier: Apache-2.0 */
/* router_test.c - which route takes which path: fixed parts before names before rests, whatever the order of
 * adding; encoded slashes stay inside their part. */
#include "net/router_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void handler(struct exchange *x, void *context)
{
    (void)x;
    (void)context;
}

static enum err add(struct router *r, enum route_kind kind, enum http_method method,
                    const char *path)
{
    return router_add(
        r, &(struct route){ .kind = kind, .method = method, .path = path, .handler = handler });
}

struct lookup_case {
    enum http_method method;
    const char *target;
    const char *route; /* NULL: not found; "": another method */
    const char *first, *second;
};

static const struct lookup_case cases[] = {
    { HTTP_GET, "/", "/", "", "" },
    { HTTP_GET, "/api/services", "/api/services", "", "" },
    { HTTP_HEAD, "/api/services", "/api/services", "", "" },
    { HTTP_POST, "/api/services", "", "GET, HEAD", "" },
    { HTTP_GET, "/api/services/a/operations", "/api/services/{s}/operations", "a", "" },
    { HTTP_GET, "/api/services/a%2Fb/operations", "/api/services/{s}/operations", "a/b", "" },
    { HTTP_GET, "/api/services/%E2%82%AC/operations", "/api/services/{s}/operations",
      "\xe2\x82\xac", "" },
    { HTTP_GET, "/api/traces/12", "/api/traces/{id}", "12", "" },
    { HTTP_GET, "/api/traces/latest", "/api/traces/latest", "", "" },
    { HTTP_GET, "/api/%74races/latest", "/api/traces/latest", "", "" },
    { HTTP_DELETE, "/api/traces/12", "", "GET, HEAD, POST", "" },
    { HTTP_GET, "/api/traces/12/13", NULL, "", "" },
    { HTTP_GET, "/api/traces", NULL, "", "" },
    { HTTP_GET, "/api", NULL, "", "" },
    { HTTP_GET, "/ui/a", "/ui/{rest*}", "a", "" },
    { HTTP_GET, "/ui/a/b/c", "/ui/{rest*}", "a/b/c", "" },
    { HTTP_GET, "/ui/1/2/3/4/5/6/7/8/9/10/11/12/13/14", "/ui/{rest*}",
      "1/2/3/4/5/6/7/8/9/10/11/12/13/14", "" },
    { HTTP_GET, "/1/2/3/4/5/6/7/8/9/10/11/12/13/14", NULL, "", "" },
    { HTTP_GET, "/ui/a%2f..%2fb", NULL, "", "" },
    { HTTP_GET, "/ui/a%5Cb", NULL, "", "" },
    { HTTP_GET, "/ui/a%20b", "/ui/{rest*}", "a b", "" },
    { HTTP_GET, "/ui", NULL, "", "" },
    { HTTP_GET, "//", NULL, "", "" },
    { HTTP_GET, "/api/services/", NULL, "", "" },
    { HTTP_GET, "//api/services", NULL, "", "" },
    { HTTP_GET, "/api/traces/", NULL, "", "" },
    { HTTP_GET, "/api//services", NULL, "", "" },
    { HTTP_GET, "/api/services//operations", NULL, "", "" },
    { HTTP_GET, "/ui/", NULL, "", "" },
    { HTTP_GET, "/ui//a", NULL, "", "" },
    { HTTP_GET, "/ui/a//b", NULL, "", "" },
    { HTTP_GET, "/ui/a/", NULL, "", "" },
    { HTTP_GET, "/x/a/y/b/c", "/x/{a}/y/{rest*}", "a", "b/c" },
    { HTTP_OTHER, "/api/services", "", "GET, HEAD", "" },
};

static const char *const patterns[] = { "/ui/{rest*}",
                                        "/api/traces/{id}",
                                        "/api/services",
                                        "/api/traces/latest",
                                        "/",
                                        "/api/services/{s}/operations",
                                        "/x/{a}/y/{rest*}" };
#define PATTERNS (sizeof patterns / sizeof *patterns)

static void check_all(const struct router *r)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct lookup_case *c = &cases[i];
        const struct route *route = NULL;
        struct bytes parameters[4] = { 0 }, allow = { 0 };
        struct arena arena;
        arena_init(&arena, 1 << 20, NULL);
        enum route_match match = router_find(r, ROUTE_HTTP, c->method, bytes_text(c->target),
                                             &arena, &route, parameters, &allow);
        if (c->route == NULL) {
            assert_int_equal(match, ROUTE_NOT_FOUND);
        } else if (c->route[0] == 0) {
            assert_int_equal(match, ROUTE_OTHER_METHOD);
            assert_true(bytes_equal_text(allow, c->first));
        } else {
            assert_int_equal(match, ROUTE_FOUND);
            assert_string_equal(route->path, c->route);
            assert_true(bytes_equal_text(parameters[0], c->first));
            assert_true(bytes_equal_text(parameters[1], c->second));
        }
        arena_deinit(&arena);
    }
}

static void the_most_specific_route_wins_in_any_order(void **state)
{
    (void)state;
    for (size_t first = 0; first < PATTERNS; first++) {
        struct router *r;
        assert_int_equal(router_open(&r), ERR_OK);
        for (size_t i = 0; i < PATTERNS; i++)
            assert_int_equal(add(r, ROUTE_HTTP, HTTP_GET, patterns[(first + i) % PATTERNS]),
                             ERR_OK);
        assert_int_equal(add(r, ROUTE_HTTP, HTTP_POST, "/api/traces/{other}"), ERR_OK);
        assert_int_equal(router_count(r), PATTERNS + 1);
        check_all(r);
        router_close(r);
    }
}

static void bad_and_double_patterns_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "a",
                                       "//",
                                       "/a//b",
                                       "/a/",
                                       "/{",
                                       "/{}",
                                       "/{*}",
                                       "/{a",
                                       "/a}",
                                       "/x{a}",
                                       "/{a*}/b",
                                       "/{a}/{b}/{c}/{d}/{e}",
                                       "/1/2/3/4/5/6/7/8/9/10/11/12/13" };
    struct router *r;
    assert_int_equal(router_open(&r), ERR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(add(r, ROUTE_HTTP, HTTP_GET, bad[i]), ERR_INVALID);
    assert_int_equal(add(r, ROUTE_HTTP, HTTP_GET, "/a/{b}"), ERR_OK);
    assert_int_equal(add(r, ROUTE_HTTP, HTTP_GET, "/a/{c}"), ERR_EXISTS);
    assert_int_equal(add(r, ROUTE_HTTP, HTTP_POST, "/a/{c}"), ERR_OK);
    assert_int_equal(add(r, ROUTE_GRPC, HTTP_POST, "/a/{c}"), ERR_OK);
    router_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_most_specific_route_wins_in_any_order),
                                        cmocka_unit_test(bad_and_double_patterns_are_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
