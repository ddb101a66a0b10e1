/* SPDX-License-Identifier: Apache-2.0 */
/* Filters that rollups decide, and those that only look as if they did. */
#include "query/red_filter.h"

#include "query/traceql.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct expectation {
    const char *text;
    bool is_decided;
    const char *service;
    unsigned kinds, statuses;
};

static void filters_are_told_apart(void **state)
{
    (void)state;
    static const struct expectation all[] = {
        { "{ }", true, "", 0, 7 },
        { "{ resource.service.name = \"cart\" }", true, "cart", 0, 7 },
        { "{ \"cart\" = resource.service.name && status = error }", true, "cart", 0, 4 },
        { "{ kind = server && resource.service.name = \"cart\" && status = ok }", true, "cart", 4,
          2 },
        { "{ kind = consumer }", true, "", 32, 7 },
        { "{ kind = client && kind = client }", true, "", 8, 7 },
        { "{ kind = client && kind = server }", false, "", 0, 0 },
        { "{ status = error && status = ok }", false, "", 0, 0 },
        { "{ status = unset }", false, "", 0, 0 },
        { "{ kind = unspecified }", false, "", 0, 0 },
        { "{ status != error }", false, "", 0, 0 },
        { "{ status = error || kind = server }", false, "", 0, 0 },
        { "{ !(status = error) }", false, "", 0, 0 },
        { "{ resource.service.name = \"a\" && resource.service.name = \"b\" }", false, "", 0, 0 },
        { "{ resource.service.name = \"unknown_service\" }", false, "", 0, 0 },
        { "{ resource.service.name = \"(other)\" }", false, "", 0, 0 },
        { "{ resource.service.name = \"\" }", false, "", 0, 0 },
        { "{ resource.service.name = nil }", false, "", 0, 0 },
        { "{ resource.service.name =~ \"cart\" }", false, "", 0, 0 },
        { "{ .service.name = \"cart\" }", false, "", 0, 0 },
        { "{ span.service.name = \"cart\" }", false, "", 0, 0 },
        { "{ name = \"GET /\" }", false, "", 0, 0 },
        { "{ duration > 1s }", false, "", 0, 0 },
        { "{ kind = server && .a = 1 }", false, "", 0, 0 },
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const struct expectation *x = &all[i];
        struct arena arena;
        struct expr *filter = NULL;
        struct red_filter f = { .kinds = 99 };
        struct traceql_error error;
        arena_init(&arena, 1 << 20, NULL);
        assert_int_equal(traceql_parse(&arena, SIGNAL_TRACES, bytes_text(x->text), &filter, &error),
                         ERR_OK);
        assert_int_equal(red_filter_of(filter, &f), x->is_decided);
        if (x->is_decided) {
            assert_true(bytes_equal_text(f.service, x->service));
            assert_int_equal(f.kinds, x->kinds);
            assert_int_equal(f.statuses, x->statuses);
        } else {
            assert_int_equal(f.kinds, 99);
        }
        expr_deinit(filter);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(filters_are_told_apart) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
