/* SPDX-License-Identifier: Apache-2.0 */
/* Shows the exposition: families together, HELP and TYPE once, the same series registered once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/metrics.h"

static void families_stay_together(void **state)
{
    (void)state;
    struct metrics *m = metrics_open();
    metric_add(metrics_counter(m, "a_total", "reason=\"x\"", "As."), 2);
    metric_set(metrics_gauge(m, "b", NULL, "B."), 7);
    metric_add(metrics_counter(m, "a_total", "reason=\"y\"", "As."), 1);
    metric_add(metrics_counter(m, "a_total", "reason=\"x\"", "As."), 1);
    struct buffer page;
    buffer_init(&page, 10000);
    metrics_write(m, &page);
    assert_true(bytes_equal_text(buffer_bytes(&page),
                                 "# HELP a_total As.\n# TYPE a_total counter\n"
                                 "a_total{reason=\"x\"} 3\na_total{reason=\"y\"} 1\n"
                                 "# HELP b B.\n# TYPE b gauge\nb 7\n"));
    buffer_deinit(&page);
    metrics_close(m);
}

static void without_a_registry_additions_go_nowhere(void **state)
{
    (void)state;
    metric_add(metrics_counter(NULL, "a_total", NULL, "As."), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_stay_together),
        cmocka_unit_test(without_a_registry_additions_go_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
