/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_texts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The n-th of some texts whose bytes tell them apart; of one length up to number `even`. */
static struct bytes text_of(uint32_t n, uint32_t even, uint8_t out[80])
{
    size_t len = n < even ? 8 : n % 80;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(n * 31 + i);
    return bytes_of(out, len);
}

/* Lengths that stay alike, that begin so, and that never are; the memory is used again. */
static void texts_come_back(void **state)
{
    (void)state;
    static const uint32_t evens[] = { 3000, 0, 1, 2, 700, 2999, 3000 };
    struct texts t = { 0 };
    for (size_t round = 0; round < sizeof evens / sizeof *evens; round++) {
        uint8_t expected[80];
        uint32_t len = 0;
        texts_reset(&t);
        for (uint32_t i = 0; i < 3000; i++)
            assert_int_equal(texts_append(&t, text_of(i, evens[round], expected)), ERR_OK);
        assert_int_equal(t.count, 3000);
        assert_int_equal(t.has_ends, evens[round] < 3000);
        for (uint32_t i = 0; i < 3000; i++) {
            struct bytes text = text_of(i, evens[round], expected);
            assert_true(bytes_equal(texts_get(&t, i), text));
            assert_int_equal(texts_end(&t, i), len);
            len += (uint32_t)text.len;
        }
        assert_int_equal(t.len, len);
    }
    texts_deinit(&t);
}

static void much_memory_is_not_kept(void **state)
{
    (void)state;
    static uint8_t large[1 << 20];
    struct texts t = { 0 };
    for (int i = 0; i < 3; i++)
        assert_int_equal(texts_append(&t, bytes_of(large, sizeof large)), ERR_OK);
    assert_int_equal(texts_append(&t, bytes_of(NULL, 0)), ERR_OK);
    assert_int_equal(texts_get(&t, 3).len, 0);
    texts_reset(&t);
    assert_int_equal(t.capacity, 0);
    assert_int_equal(texts_append(&t, bytes_of(large, 100)), ERR_OK);
    texts_reset(&t);
    assert_true(t.capacity >= 100);
    assert_int_equal(texts_reserve(&t, (size_t)1 << 31), ERR_TOO_LARGE);
    assert_int_equal(t.count, 0);
    texts_deinit(&t);
    texts_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(much_memory_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
