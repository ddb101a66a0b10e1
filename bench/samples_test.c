/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles by nearest rank: of n sorted values, number ceil(q * n), counted from one. */
#include "bench/samples.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void fill(struct samples *s, const uint64_t *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(samples_add(s, values[i]), ERR_OK);
    samples_sort(s);
}

static void quantiles_are_values_by_nearest_rank(void **state)
{
    (void)state;
    static const uint64_t values[] = { 50, 15, 40, 20, 35 };
    static const struct {
        double quantile;
        uint64_t expected;
    } cases[] = { { 0, 15 },     { 0.05, 15 }, { 0.2, 15 }, { 0.201, 20 }, { 0.3, 20 },
                  { 0.4, 20 },   { 0.5, 35 },  { 0.6, 35 }, { 0.61, 40 },  { 0.8, 40 },
                  { 0.801, 50 }, { 0.99, 50 }, { 1, 50 } };
    struct samples s = { 0 };
    fill(&s, values, sizeof values / sizeof *values);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(samples_quantile(&s, cases[i].quantile), cases[i].expected);
    samples_deinit(&s);
}

static void one_slow_value_in_a_thousand_is_the_maximum_alone(void **state)
{
    (void)state;
    struct samples s = { 0 };
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(samples_add(&s, i == 500 ? 9999 : 1), ERR_OK);
    samples_sort(&s);
    assert_int_equal(samples_quantile(&s, 0.999), 1);
    assert_int_equal(samples_quantile(&s, 1), 9999);
    samples_deinit(&s);
    samples_deinit(&s);
}

static void without_values_every_quantile_is_zero(void **state)
{
    (void)state;
    struct samples s = { 0 };
    samples_sort(&s);
    assert_int_equal(samples_quantile(&s, 0.5), 0);
    samples_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_values_by_nearest_rank),
        cmocka_unit_test(one_slow_value_in_a_thousand_is_the_maximum_alone),
        cmocka_unit_test(without_values_every_quantile_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
