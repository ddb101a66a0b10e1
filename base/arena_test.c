/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that an arena stays within its limit and its budget, gives all of it back, and says why it
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/budget.h"
#include "base/mem.h"
#include "base/random.h"

static void allocations_do_not_overlap(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 1);
    struct arena a;
    arena_init(&a, SIZE_MAX, NULL);
    struct {
        uint8_t *at;
        size_t len;
    } held[500];
    for (size_t i = 0; i < 500; i++) {
        held[i].len = random_below(&r, i % 50 == 0 ? 100000 : 300);
        held[i].at = i % 2 ? arena_alloc(&a, held[i].len) : arena_alloc_bytes(&a, held[i].len);
        assert_non_null(held[i].at);
        if (i % 2)
            assert_int_equal((uintptr_t)held[i].at % 16, 0);
        memset(held[i].at, (int)(i & 255), held[i].len);
    }
    for (size_t i = 0; i < 500; i++) {
        for (size_t k = 0; k < held[i].len; k++)
            assert_int_equal(held[i].at[k], i & 255);
    }
    arena_deinit(&a);
    arena_deinit(&a);
}

static void limit_and_budget_are_kept(void **state)
{
    (void)state;
    struct budget wide, narrow;
    budget_init(&wide, 30000, NULL);
    budget_init(&narrow, 20000, &wide);
    struct arena a, b;
    arena_init(&a, 10000, &narrow);
    arena_init(&b, SIZE_MAX, &narrow);
    while (arena_alloc(&a, 100) != NULL)
        assert_true(a.held_bytes <= 10000);
    assert_int_equal(arena_failure(&a), ERR_TOO_LARGE);
    while (arena_alloc(&b, 100) != NULL)
        assert_true(budget_used(&narrow) <= 20000);
    assert_int_equal(arena_failure(&b), ERR_BUDGET);
    assert_int_equal(budget_used(&wide), budget_used(&narrow));
    assert_int_equal(budget_used(&wide), a.held_bytes + b.held_bytes);
    assert_null(arena_alloc_array(&a, SIZE_MAX / 2, 3));
    arena_deinit(&a);
    arena_deinit(&b);
    assert_int_equal(budget_used(&wide), 0);
}

static void growing_keeps_the_bytes(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1 << 20, NULL);
    struct arena a;
    arena_init(&a, SIZE_MAX, &budget);
    uint8_t *data = arena_grow(&a, NULL, 0, 10);
    memset(data, 7, 10);
    for (size_t size = 10; size <= 100000; size += size / 2) {
        assert_non_null(arena_alloc(&a, 3)); /* something in between */
        data = arena_grow(&a, data, size, size + size / 2);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(data[i], 7);
        memset(data, 7, size + size / 2);
    }
    assert_true(a.held_bytes < 200000);
    assert_null(arena_grow(&a, data, 100, 2 << 20));
    arena_deinit(&a);
    assert_int_equal(budget_used(&budget), 0);
}

static void reset_keeps_one_block(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, SIZE_MAX, NULL);
    for (int i = 0; i < 1000; i++)
        assert_non_null(arena_alloc(&a, 100));
    arena_reset(&a);
    size_t held = a.held_bytes;
    assert_true(held > 0);
    assert_non_null(arena_alloc(&a, 100));
    assert_int_equal(a.held_bytes, held);
    arena_deinit(&a);
}

/* Filled again and again, it asks for no more memory; what does not fit what it keeps is given back. */
static void reset_keeps_what_it_is_told(void **state)
{
    (void)state;
    enum { LARGE = 1 << 20, PIECE = 500 };
    struct budget budget;
    budget_init(&budget, 64u << 20, NULL);
    struct arena a;
    arena_init(&a, SIZE_MAX, &budget);
    a.keep_bytes = 3 * (LARGE + 64);
    size_t held = 0;
    for (unsigned round = 0; round < 6; round++) {
        uint8_t *first = arena_alloc(&a, PIECE), *last = NULL;
        memset(first, 1, PIECE);
        for (size_t n = PIECE; n < (round == 4 ? 8u : 2u) * LARGE; n += PIECE) {
            last = arena_alloc(&a, PIECE);
            assert_non_null(last);
            memset(last, 2, PIECE);
        }
        for (size_t i = 0; i < PIECE; i++)
            assert_int_equal(first[i], 1);
        assert_true(round < 2 || round >= 4 || a.held_bytes == held); /* nothing new */
        held = a.held_bytes;
        arena_reset(&a);
        assert_true(a.held_bytes >= LARGE && a.held_bytes <= a.keep_bytes + 4096 + 64);
        assert_int_equal(budget_used(&budget), a.held_bytes);
    }
    arena_deinit(&a);
    assert_int_equal(a.held_bytes, 0);
    assert_int_equal(budget_used(&budget), 0);
}

static void failed_allocations_leak_nothing(void **state)
{
    (void)state;
    long before = fault_live_blocks();
    for (unsigned n = 0;; n++) {
        fault_alloc_fail_at(n, false);
        struct arena a;
        arena_init(&a, SIZE_MAX, NULL);
        bool is_whole = true;
        for (int i = 0; i < 100; i++)
            is_whole &= arena_alloc(&a, 1000) != NULL;
        bool has_fired = fault_fired();
        fault_alloc_off();
        assert_int_equal(is_whole, !has_fired);
        arena_deinit(&a);
        assert_int_equal(fault_live_blocks(), before);
        if (!has_fired)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_do_not_overlap),
        cmocka_unit_test(limit_and_budget_are_kept),
        cmocka_unit_test(growing_keeps_the_bytes),
        cmocka_unit_test(reset_keeps_one_block),
        cmocka_unit_test(reset_keeps_what_it_is_told),
        cmocka_unit_test(failed_allocations_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
