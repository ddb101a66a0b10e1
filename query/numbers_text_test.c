/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with six digits are written as printf writes them, but for ties. */
#include "base/random.h"
#include "query/numbers.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_as_printf(double v)
{
    char have[NUMBERS_TEXT_BYTES + 1], wanted[NUMBERS_TEXT_BYTES];
    have[numbers_text_of(v, have)] = '\0';
    (void)snprintf(wanted, sizeof wanted, "%.6g", v);
    if (strcmp(have, wanted) == 0)
        return true;
    double unit = exp2(-50) + pow(10, floor(log10(v)) - 5); /* of the last digit */
    assert_true(fabs(strtod(have, NULL) - v) <= 0.5001 * unit);
    assert_true(strlen(have) <= strlen(wanted) + 1);
    return false;
}

static void texts_are_those_of_printf(void **state)
{
    (void)state;
    static const double some[] = { 0,        1,        9,        10,       99999,     100000,
                                   999999,   999999.4, 1e6,      999999.6, 0.5,       0.1,
                                   0.0001,   0.00012,  0.000099, 0.99999,  0.9999996, 9.99999,
                                   9.999996, 99.99996, 123456.7, 12345.67, 1.5,       1e-9,
                                   1e300,    0.25,     1.86808,  0.0209877 };
    struct random r;
    unsigned others = 0, ties = 0;
    for (size_t i = 0; i < sizeof some / sizeof some[0]; i++)
        assert_true(is_as_printf(some[i]));
    random_init(&r, 1);
    for (unsigned i = 0; i < 200000; i++) {
        double v = exp2(random_unit(&r) * 50 - 25);
        others += is_as_printf(v) ? 0 : 1;
        others += is_as_printf(floor(v)) ? 0 : 1;
        ties += is_as_printf(floor(v * 64) / 64) ? 0 : 1;
    }
    assert_true(others < 200); /* of 400,000: powers of ten are not exact */
    assert_true(ties < 40000); /* of 200,000: halves of the last digit */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(texts_are_those_of_printf) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
