/* SPDX-License-Identifier: Apache-2.0 */
/* Codes of extents keep their order, are never less than what was put in, and exactly that where it is short; the next
 * lower one is less: that is what makes a code a bound from both sides. */
#include "base/random.h"
#include "storage/extents.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void check(uint64_t extent)
{
    uint32_t code = extent_code(extent);
    uint64_t bound = extent_of_code(code);
    assert_true(bound >= extent);
    assert_true(code == 0 || extent_of_code(code - 1) < extent);
    assert_true(code > EXTENT_CODE_EXACT || bound == extent);
    assert_true(bound == UINT64_MAX || bound - extent <= extent >> 26);
    assert_int_equal(extent_code(bound), code);
    if (extent > 0)
        assert_true(extent_code(extent - 1) <= code);
    if (extent < UINT64_MAX)
        assert_true(extent_code(extent + 1) >= code);
}

static void codes_are_bounds(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 7001);
    for (unsigned bit = 0; bit < 64; bit++)
        for (uint64_t d = 0; d < 3; d++) {
            check((UINT64_C(1) << bit) - 1 + d);
            check(UINT64_MAX >> bit);
            check((UINT64_MAX >> bit) - d);
        }
    for (unsigned i = 0; i < 1000000; i++)
        check(random_next(&r) >> random_below(&r, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
