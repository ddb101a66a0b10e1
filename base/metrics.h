/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - Spindle's own counters and gauges.
 *
 * Role       every rejected, truncated, deduplicated or expired thing is counted with its reason. A
 *            room registers what it counts when it is built, and adds to it from any thread; /metrics
 *            prints the registry.
 * Ownership  metrics and their text belong to the registry and live as long as it does.
 * Threads    adding and setting from any thread (relaxed atomics); registering under a lock. */
#ifndef SPINDLE_BASE_METRICS_H
#define SPINDLE_BASE_METRICS_H

#include "base/buffer.h"

#include <stdatomic.h>

struct metrics;

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    _Atomic uint64_t value;
    enum metric_kind kind;
    const char *name, *help, *labels;
    struct metric *next;
};

/* NULL when out of memory. */
struct metrics *metrics_open(void);
void metrics_close(struct metrics *m);

/* Register, or find the same (name, labels) again. name: "spindle_...", counters end in _total;
 * labels: NULL or `reason="depth",signal="traces"`. Text is copied. With m == NULL, or out of
 * memory: a metric that nobody prints, never NULL. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help);

static inline void metric_add(struct metric *m, uint64_t n)
{
    atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, uint64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}
static inline uint64_t metric_value(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

/* Called for each metric, families together, in order of registration of the family. */
typedef void metrics_visit_fn(void *context, const struct metric *metric);
void metrics_each(struct metrics *m, metrics_visit_fn *visit, void *context);
/* Prometheus text exposition 0.0.4, HELP and TYPE once a family. */
void metrics_write(struct metrics *m, struct buffer *out);

#endif
