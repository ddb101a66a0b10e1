/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that a buffer keeps what was appended, stops at its limit, and stays failed once it failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/mem.h"

static void appends_in_order(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1000);
    buffer_append_text(&b, "n=");
    buffer_append_i64(&b, INT64_MIN);
    buffer_append_byte(&b, ' ');
    buffer_append_u64(&b, UINT64_MAX);
    buffer_printf(&b, " %s-%d", "x", 7);
    assert_true(
        bytes_equal_text(buffer_bytes(&b), "n=-9223372036854775808 18446744073709551615 x-7"));
    size_t len;
    uint8_t *taken = buffer_take(&b, &len);
    assert_int_equal(len, 47);
    assert_int_equal(b.len, 0);
    mem_free(taken);
    buffer_deinit(&b);
}

static void the_limit_sticks(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 10);
    buffer_append_text(&b, "12345678");
    assert_int_equal(buffer_error(&b), ERR_OK);
    buffer_append_text(&b, "123");
    assert_int_equal(buffer_error(&b), ERR_TOO_LARGE);
    buffer_append_text(&b, "1");
    assert_int_equal(b.len, 8);
    buffer_reset(&b);
    buffer_append_text(&b, "1234567890");
    assert_int_equal(buffer_error(&b), ERR_OK);
    buffer_deinit(&b);
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(the_limit_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
