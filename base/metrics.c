/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include "base/mem.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

struct metrics {
    pthread_mutex_t lock; /* guards the list, not the values */
    struct metric *first, *last;
};

/* Where additions go that nobody prints. */
static struct metric unlisted;

struct metrics *metrics_open(void)
{
    struct metrics *m = mem_zalloc(sizeof *m);
    if (m != NULL)
        pthread_mutex_init(&m->lock, NULL);
    return m;
}

void metrics_close(struct metrics *m)
{
    if (m == NULL)
        return;
    while (m->first != NULL) {
        struct metric *next = m->first->next;
        mem_free(m->first);
        m->first = next;
    }
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

/* One block: the metric, the buckets of a histogram, then its three texts. */
static struct metric *metric_make(enum metric_kind kind, const char *name, const char *labels,
                                  const char *help)
{
    size_t name_size = strlen(name) + 1, labels_size = strlen(labels) + 1;
    size_t help_size = strlen(help) + 1;
    size_t buckets_size = kind == METRIC_HISTOGRAM ? METRIC_BUCKETS * sizeof *unlisted.buckets : 0;
    struct metric *metric =
        mem_zalloc(sizeof *metric + buckets_size + name_size + labels_size + help_size);
    if (metric == NULL)
        return NULL;
    char *text = (char *)(metric + 1) + buckets_size;
    metric->kind = kind;
    if (buckets_size != 0)
        metric->buckets = (_Atomic uint64_t *)(metric + 1);
    metric->name = memcpy(text, name, name_size);
    metric->labels = memcpy(text + name_size, labels, labels_size);
    metric->help = memcpy(text + name_size + labels_size, help, help_size);
    return metric;
}

/* After the last of its family, so that families stay together; else at the end. */
static void list_insert(struct metrics *m, struct metric *metric)
{
    struct metric *after = NULL;
    for (struct metric *i = m->first; i != NULL; i = i->next) {
        if (strcmp(i->name, metric->name) == 0)
            after = i;
    }
    if (after == NULL)
        after = m->last;
    if (after == NULL) {
        m->first = metric;
    } else {
        metric->next = after->next;
        after->next = metric;
    }
    if (after == m->last)
        m->last = metric;
}

static struct metric *metric_register(struct metrics *m, enum metric_kind kind, const char *name,
                                      const char *labels, const char *help)
{
    if (m == NULL)
        return &unlisted;
    if (labels == NULL)
        labels = "";
    pthread_mutex_lock(&m->lock);
    struct metric *metric = m->first;
    while (metric != NULL &&
           (strcmp(metric->name, name) != 0 || strcmp(metric->labels, labels) != 0))
        metric = metric->next;
    if (metric == NULL) {
        metric = metric_make(kind, name, labels, help);
        if (metric != NULL)
            list_insert(m, metric);
    }
    pthread_mutex_unlock(&m->lock);
    return metric == NULL ? &unlisted : metric;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *labels,
                               const char *help)
{
    return metric_register(m, METRIC_COUNTER, name, labels, help);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                             const char *help)
{
    return metric_register(m, METRIC_GAUGE, name, labels, help);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                 const char *help)
{
    return metric_register(m, METRIC_HISTOGRAM, name, labels, help);
}

/* Exact up to 2^14 s: a bound is either a whole number of nanoseconds, and then log2 is exact as well,
 * or farther from the nearest one than rounding goes. Of hours, the nanosecond at a bound may be taken
 * for its neighbour. */
size_t metric_bucket(uint64_t ns)
{
    if (ns == 0)
        return 0;
    double doublings = log2((double)ns / 1e9) - METRIC_BUCKETS_FIRST_LOG2;
    if (doublings <= 0)
        return 0;
    size_t i = (size_t)ceil(doublings * METRIC_BUCKETS_PER_DOUBLING);
    return i < METRIC_BUCKETS ? i : METRIC_BUCKETS - 1;
}

void metric_observe(struct metric *m, uint64_t ns)
{
    if (m->buckets == NULL)
        return; /* nobody prints it */
    atomic_fetch_add_explicit(&m->value, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->buckets[metric_bucket(ns)], 1, memory_order_relaxed);
}

void metrics_each(struct metrics *m, metrics_visit_fn *visit, void *context)
{
    pthread_mutex_lock(&m->lock);
    for (const struct metric *i = m->first; i != NULL; i = i->next)
        visit(context, i);
    pthread_mutex_unlock(&m->lock);
}

static void write_line(struct buffer *out, const struct metric *metric, const char *suffix,
                       uint64_t value)
{
    buffer_append_text(out, metric->name);
    buffer_append_text(out, suffix);
    if (metric->labels[0] != '\0')
        buffer_printf(out, "{%s}", metric->labels);
    buffer_append_byte(out, ' ');
    buffer_append_u64(out, value);
    buffer_append_byte(out, '\n');
}

static void write_metric(void *context, const struct metric *metric)
{
    struct buffer *out = context;
    if (metric->kind != METRIC_HISTOGRAM) {
        write_line(out, metric, "", metric_value(metric));
        return;
    }
    uint64_t count = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++)
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    write_line(out, metric, "_count", count);
    write_line(out, metric, "_sum", metric_value(metric));
}

void metrics_write(struct metrics *m, struct buffer *out)
{
    metrics_each(m, write_metric, out);
}
