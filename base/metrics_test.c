/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that families stay together, that the same series is registered once, and that every duration
 * is in the bucket that Prometheus would look for it in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/metrics.h"

#include <math.h>
#include <pthread.h>

#define NS UINT64_C(1000000000)

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
                                 "a_total{reason=\"x\"} 3\na_total{reason=\"y\"} 1\nb 7\n"));
    buffer_deinit(&page);
    metrics_close(m);
}

/* 2^((i - 80) / 4) seconds in nanoseconds, by roots: not the way of the code under test. */
static long double bound_ns(size_t i)
{
    long double bound = 1e9L;
    for (size_t n = 0; n < 20; n++)
        bound /= 2;
    for (size_t n = 0; n < i / 4; n++)
        bound *= 2;
    long double root = sqrtl(sqrtl(2));
    for (size_t n = 0; n < i % 4; n++)
        bound *= root;
    return bound;
}

static void a_duration_is_in_its_bucket(void **state)
{
    (void)state;
    assert_int_equal(metric_bucket(0), 0);
    assert_int_equal(metric_bucket(1), 0);
    assert_int_equal(metric_bucket(NS), 80);
    assert_int_equal(metric_bucket(NS + 1), 81);
    assert_int_equal(metric_bucket(2 * NS), 84);
    assert_int_equal(metric_bucket(NS / 2), 76);
    assert_true(metric_bucket(UINT64_MAX) < METRIC_BUCKETS);
    for (size_t i = 0; i < 136; i++) { /* up to 2^14 s: each bound, and the nanosecond after it */
        uint64_t last = (uint64_t)floorl(bound_ns(i));
        assert_int_equal(metric_bucket(last), i);
        assert_int_equal(metric_bucket(last + 1), i + 1);
    }
}

static void *observe_many(void *metric)
{
    for (uint64_t i = 1; i <= 20000; i++)
        metric_observe(metric, i * 1000);
    return NULL;
}

static void no_observation_is_lost(void **state)
{
    (void)state;
    struct metrics *m = metrics_open();
    struct metric *h = metrics_histogram(m, "a_seconds", "kind=\"x\"", "As.");
    assert_ptr_equal(h, metrics_histogram(m, "a_seconds", "kind=\"x\"", "As."));
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, observe_many, h), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct buffer page;
    buffer_init(&page, 10000);
    metrics_write(m, &page);
    assert_true(bytes_equal_text(buffer_bytes(&page), "a_seconds_count{kind=\"x\"} 80000\n"
                                                      "a_seconds_sum{kind=\"x\"} 800040000000\n"));
    buffer_deinit(&page);
    metrics_close(m);
}

static void without_a_registry_additions_go_nowhere(void **state)
{
    (void)state;
    metric_add(metrics_counter(NULL, "a_total", NULL, "As."), 1);
    metric_observe(metrics_histogram(NULL, "a_seconds", NULL, "As."), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_stay_together),
        cmocka_unit_test(a_duration_is_in_its_bucket),
        cmocka_unit_test(no_observation_is_lost),
        cmocka_unit_test(without_a_registry_additions_go_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
