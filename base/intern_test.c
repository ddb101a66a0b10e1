/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that equal strings get one number, in order of appearance, up to the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/budget.h"
#include "base/intern.h"

#include <stdio.h>

static void numbers_follow_first_appearance(void **state)
{
    (void)state;
    struct intern in;
    intern_init(&in, 5000);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            char text[32];
            int len = snprintf(text, sizeof text, "entry-%u", i);
            uint32_t index;
            assert_int_equal(intern_put(&in, bytes_of(text, (size_t)len), &index), ERR_OK);
            assert_int_equal(index, i);
            assert_true(bytes_equal(intern_get(&in, i), bytes_of(text, (size_t)len)));
        }
    }
    uint32_t index = 77;
    assert_int_equal(intern_put(&in, BYTES_LITERAL("one too many"), &index), ERR_TOO_MANY);
    assert_int_equal(index, 77);
    assert_int_equal(intern_find(&in, BYTES_LITERAL("one too many")), UINT32_MAX);
    assert_int_equal(intern_find(&in, BYTES_LITERAL("entry-4999")), 4999);
    intern_reset(&in);
    assert_int_equal(intern_find(&in, BYTES_LITERAL("entry-4999")), UINT32_MAX);
    assert_int_equal(intern_put(&in, BYTES_LITERAL(""), &index), ERR_OK);
    assert_int_equal(index, 0);
    intern_deinit(&in);
    intern_deinit(&in);
}

static void what_it_holds_is_charged(void **state)
{
    (void)state;
    struct budget budget;
    struct intern in;
    enum err e = ERR_OK;
    uint32_t index, count = 0;
    budget_init(&budget, 100000, NULL);
    intern_init_charged(&in, UINT32_MAX, SIZE_MAX, &budget);
    for (; e == ERR_OK; count += e == ERR_OK)
        e = intern_put(&in, bytes_of(&count, sizeof count), &index);
    assert_int_equal(e, ERR_BUDGET);
    assert_int_equal(in.count, count);
    assert_true(count > 1000 && budget_used(&budget) > 32 * count);
    assert_true(bytes_equal(intern_get(&in, 700), bytes_of(&(uint32_t){ 700 }, 4)));
    intern_deinit(&in);
    assert_int_equal(budget_used(&budget), 0);
    intern_deinit(&in);
    assert_int_equal(budget_used(&budget), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(numbers_follow_first_appearance),
                                        cmocka_unit_test(what_it_holds_is_charged) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
