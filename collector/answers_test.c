/* SPDX-License-Identifier: Apache-2.0 */
/* The table of answers, error by error, as exporters obey it. What an answer looks like on the wire
 * is shown by export_service_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "collector/answers.h"

#include <stdio.h>

static const struct {
    enum err e;
    unsigned grpc, http;
    bool is_transient;
} table[] = {
    { ERR_OK, 0, 200, false },        { ERR_NOMEM, 14, 503, true },
    { ERR_BUDGET, 14, 503, true },    { ERR_INVALID, 3, 400, false },
    { ERR_TOO_LARGE, 8, 413, false }, { ERR_TOO_DEEP, 3, 400, false },
    { ERR_TOO_MANY, 3, 400, false },  { ERR_UNSUPPORTED, 12, 415, false },
    { ERR_NOT_FOUND, 5, 404, false }, { ERR_EXISTS, 6, 409, false },
    { ERR_BUSY, 14, 503, true },      { ERR_STOPPING, 14, 503, true },
    { ERR_IO, 14, 503, true },        { ERR_FULL, 14, 503, true },
    { ERR_CORRUPT, 14, 503, true },   { ERR_NEWER, 14, 503, true },
    { ERR_LOCKED, 14, 503, true },    { ERR_UNAUTHENTICATED, 16, 401, false },
    { ERR_DENIED, 7, 403, false },    { ERR_DEADLINE, 4, 504, false },
    { ERR_CANCELLED, 1, 503, false },
};

static void each_error_has_its_answers(void **state)
{
    (void)state;
    assert_int_equal(sizeof table / sizeof table[0], ERR_COUNT);
    for (size_t i = 0; i < ERR_COUNT; i++) {
        enum err e = table[i].e;
        assert_int_equal(e, i);
        assert_int_equal(answer_grpc_status(e), table[i].grpc);
        assert_int_equal(answer_http_status(e), table[i].http);
        assert_int_equal(answer_is_transient(e), table[i].is_transient);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(answer_reason(e), answer_reason(table[j].e));
    }
}

/* Clients drop data on these: UNKNOWN, INTERNAL, 500, and 429 to Python. */
static void no_error_makes_a_client_drop_what_may_pass(void **state)
{
    (void)state;
    for (int e = 0; e < ERR_COUNT; e++) {
        unsigned grpc = answer_grpc_status((enum err)e), http = answer_http_status((enum err)e);
        assert_true(grpc != 2 && grpc != 13);
        assert_true(http != 500 && http != 429);
    }
}

static void retries_are_spread(void **state)
{
    (void)state;
    uint64_t low = UINT64_MAX, high = 0, sum = 0;
    for (uint64_t id = 0; id < 10000; id++) {
        uint64_t ms = answer_retry_ms(id);
        low = ms < low ? ms : low;
        high = ms > high ? ms : high;
        sum += ms;
    }
    assert_in_range(low, 500, 510);
    assert_in_range(high, 1490, 1500);
    assert_in_range(sum / 10000, 980, 1020);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_error_has_its_answers),
        cmocka_unit_test(no_error_makes_a_client_drop_what_may_pass),
        cmocka_unit_test(retries_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
