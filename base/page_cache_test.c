/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that freed mappings are used again, and that no more are kept than the bound says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/page_cache.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static void sizes_are_rounded_by_an_eighth_at_most(void **state)
{
    (void)state;
    for (size_t size = 1; size < (size_t)20 << 20; size += 1 + size / 97) {
        size_t rounded = page_cache_rounded(size);
        assert_true(rounded >= size);
        assert_int_equal(rounded % 4096, 0);
        assert_true(rounded <= size + size / 8 + 4095);
        assert_int_equal(page_cache_rounded(rounded), rounded); /* a size's own class */
    }
    assert_int_equal(page_cache_rounded(SIZE_MAX), 0);
    assert_null(page_cache_take(SIZE_MAX));
}

static void what_was_freed_is_taken_again(void **state)
{
    (void)state;
    page_cache_drop();
    char *first = page_cache_take(300000);
    assert_non_null(first);
    memset(first, 'x', page_cache_rounded(300000));
    page_cache_give(first, 300000);
    char *second = page_cache_take(page_cache_rounded(300000));
    assert_ptr_equal(first, second);
    assert_int_equal(second[4096], 'x'); /* not fresh from the kernel */
    page_cache_give(second, 300000);

    page_cache_drop();
    char *third = page_cache_take(300000);
    assert_non_null(third);
    assert_int_equal(third[4096], 0);
    page_cache_give(third, 300000);
    page_cache_drop();
}

static void what_will_be_filled_is_resident(void **state)
{
    (void)state;
    enum { SIZE = 300000, PAGES = (SIZE + 4095) / 4096 };
    unsigned char resident[PAGES + PAGES / 8 + 1];
    page_cache_drop();
    char *plain = page_cache_take(SIZE), *filled = page_cache_take_filled(SIZE);
    assert_non_null(plain);
    assert_non_null(filled);
    assert_int_equal(mincore(plain, SIZE, resident), 0);
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(resident[i] & 1, 0); /* the control: pages come when they are touched */
    assert_int_equal(mincore(filled, SIZE, resident), 0);
    for (size_t i = 0; i < PAGES; i++)
        assert_int_equal(resident[i] & 1, 1);
    page_cache_give(plain, SIZE);
    assert_ptr_equal(page_cache_take_filled(SIZE), plain); /* what is kept will do */
    page_cache_give(plain, SIZE);
    page_cache_give(filled, SIZE);
    page_cache_drop();
}

/* Whether a page of it is mapped. */
static bool is_mapped(void *block)
{
    unsigned char here;
    return mincore(block, 4096, &here) == 0;
}

enum { BLOCK = 1 << 20, COUNT = PAGE_CACHE_BYTES / BLOCK + 8 };

/* How many blocks of COUNT that are freed together are kept. */
static void count_kept(size_t expected)
{
    page_cache_drop();
    char *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        assert_non_null(blocks[i] = page_cache_take(BLOCK));
    for (size_t i = 0; i < COUNT; i++)
        page_cache_give(blocks[i], BLOCK);
    size_t kept = 0;
    for (size_t i = 0; i < COUNT; i++)
        kept += is_mapped(blocks[i]) ? 1 : 0;
    assert_int_equal(kept, expected);
    page_cache_drop();
    for (size_t i = 0; i < COUNT; i++)
        assert_false(is_mapped(blocks[i]));
}

static void more_than_the_bound_goes_back(void **state)
{
    (void)state;
    count_kept(PAGE_CACHE_BYTES / BLOCK);
    page_cache_limit(5 * BLOCK);
    count_kept(5);
    page_cache_limit(0);
    count_kept(0);
    page_cache_limit(SIZE_MAX);
    count_kept(PAGE_CACHE_BYTES / BLOCK);
}

/* A bound below what is kept already: nothing is added until less is kept. */
static void a_lowered_bound_holds_from_then_on(void **state)
{
    (void)state;
    char *blocks[6];
    for (size_t i = 0; i < 6; i++)
        assert_non_null(blocks[i] = page_cache_take(BLOCK));
    for (size_t i = 0; i < 4; i++)
        page_cache_give(blocks[i], BLOCK);
    page_cache_limit(2 * BLOCK);
    page_cache_give(blocks[4], BLOCK);
    assert_false(is_mapped(blocks[4]));
    for (size_t i = 0; i < 3; i++)
        assert_non_null(blocks[i] = page_cache_take(BLOCK));
    page_cache_give(blocks[5], BLOCK);
    assert_true(is_mapped(blocks[5]));
    for (size_t i = 0; i < 3; i++)
        page_cache_give(blocks[i], BLOCK);
    page_cache_limit(SIZE_MAX);
    page_cache_drop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_rounded_by_an_eighth_at_most),
        cmocka_unit_test(what_was_freed_is_taken_again),
        cmocka_unit_test(what_will_be_filled_is_resident),
        cmocka_unit_test(more_than_the_bound_goes_back),
        cmocka_unit_test(a_lowered_bound_holds_from_then_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
