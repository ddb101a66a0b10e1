/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include "base/mem.h"

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

/* One block: the metric, then its three texts. */
static struct metric *metric_make(enum metric_kind kind, const char *name, const char *labels,
                                  const char *help)
{
    size_t name_size = strlen(name) + 1, labels_size = strlen(labels) + 1;
    size_t help_size = strlen(help) + 1;
    struct metric *metric = mem_zalloc(sizeof *metric + name_size + labels_size + help_size);
    if (metric == NULL)
        return NULL;
    char *text = (char *)(metric + 1);
    metric->kind = kind;
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

void metrics_each(struct metrics *m, metrics_visit_fn *visit, void *context)
{
    pthread_mutex_lock(&m->lock);
    for (const struct metric *i = m->first; i != NULL; i = i->next)
        visit(context, i);
    pthread_mutex_unlock(&m->lock);
}

struct page {
    struct buffer *out;
    const char *family;
};

static void write_metric(void *context, const struct metric *metric)
{
    struct page *page = context;
    if (page->family == NULL || strcmp(page->family, metric->name) != 0) {
        const char *type = metric->kind == METRIC_COUNTER ? "counter" : "gauge";
        buffer_printf(page->out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                      metric->name, type);
        page->family = metric->name;
    }
    buffer_append_text(page->out, metric->name);
    if (metric->labels[0] != '\0')
        buffer_printf(page->out, "{%s}", metric->labels);
    buffer_append_byte(page->out, ' ');
    buffer_append_u64(page->out, metric_value(metric));
    buffer_append_byte(page->out, '\n');
}

void metrics_write(struct metrics *m, struct buffer *out)
{
    struct page page = { .out = out };
    metrics_each(m, write_metric, &page);
}
