/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - Spindle's own counters, gauges and histograms of durations.
 *
 * Role       every rejected, truncated, deduplicated or expired thing is counted with its reason. A
 *            room registers what it counts when it is built, and adds to it from any thread; /metrics
 *            prints the registry.
 * Ownership  metrics and their text belong to the registry and live as long as it does.
 * Threads    adding, setting and observing from any thread (relaxed atomics, no lock); registering
 *            under a lock.
 * Units      histograms take nanoseconds and are shown in seconds.
 * Source     Prometheus' native histograms: facts: RED and service graph, section 14. */
#ifndef SPINDLE_BASE_METRICS_H
#define SPINDLE_BASE_METRICS_H

#include "base/buffer.h"

#include <stdatomic.h>

struct metrics;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Buckets whose bounds are 2^(i/4) seconds, so that a quantile is at most 19 % off. Bucket 0 ends at
 * 2^-20 s, about 1 us, below which nothing is told apart; the last holds the longest time that 64 bits
 * of nanoseconds can say, 2^34.1 s. */
#define METRIC_BUCKETS_PER_DOUBLING 4
#define METRIC_BUCKETS_FIRST_LOG2   (-20)
#define METRIC_BUCKETS              (1 + METRIC_BUCKETS_PER_DOUBLING * 55)

struct metric {
    _Atomic uint64_t value; /* of a histogram: the sum in nanoseconds */
    _Atomic uint64_t
        *buckets; /* of a histogram: METRIC_BUCKETS, each counted by itself; else NULL */
    enum metric_kind kind;
    const char *name, *help, *labels;
    struct metric *next;
};

/* NULL when out of memory. */
struct metrics *metrics_open(void);
void metrics_close(struct metrics *m);

/* Register, or find the same (name, labels) again. name: "spindle_...", counters end in _total,
 * histograms in _seconds; labels: NULL or `reason="depth",signal="traces"`, whose values hold no
 * quote, comma or backslash. Text is copied. With m == NULL, or out of memory: a metric that nobody
 * prints, never NULL. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help);
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                 const char *help);

static inline void metric_add(struct metric *m, uint64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, uint64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}
/* Count one duration in a histogram. Some 20 ns: for what happens once a request, not once a span. */
void metric_observe(struct metric *m, uint64_t ns);
static inline uint64_t metric_value(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* The bucket of a duration: the smallest whose bound is not below it. */
size_t metric_bucket(uint64_t ns);

/* Called for each metric, families together, in order of registration of the family. */
typedef void metrics_visit_fn(void *context, const struct metric *metric);
void metrics_each(struct metrics *m, metrics_visit_fn *visit, void *context);
/* For tests and benchmarks: a line each, `name{labels} value`, of a histogram `name_count` and
 * `name_sum` in nanoseconds. What Prometheus reads is written by collector/exposition.h. */
void metrics_write(struct metrics *m, struct buffer *out);

#endif
