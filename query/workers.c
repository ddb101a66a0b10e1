/* SPDX-License-Identifier: Apache-2.0 */
#include "query/workers.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>

struct workers {
    struct queue queue; /* of struct call, one byte each: the bound is a number of calls */
    _Atomic bool is_stopping;
    struct metric *asked[CALL_API_COUNT];
    struct metric *failed[ERR_COUNT];
    struct metric *busy_ns;
    unsigned count; /* of threads started */
    pthread_t threads[];
};

static void finish(struct workers *w, struct call *c, enum err e)
{
    if (e != ERR_OK)
        metric_add(w->failed[e], 1);
    metric_add(w->busy_ns, clock_mono_ns() - c->received_mono_ns);
    call_deinit(c);
    mem_free(c);
}

static void *work(void *context)
{
    struct workers *w = context;
    struct queue_node *node;
    while ((node = queue_pop(&w->queue, QUEUE_WAIT_FOREVER)) != NULL) {
        struct call *c = (struct call *)node; /* the first member */
        if (atomic_load_explicit(&w->is_stopping, memory_order_relaxed)) {
            call_refuse(c, ERR_STOPPING);
            finish(w, c, ERR_STOPPING);
            continue;
        }
        finish(w, c, call_run(c));
    }
    return NULL;
}

static void register_metrics(struct workers *w, struct metrics *m)
{
    static const char *const apis[CALL_API_COUNT] = { "api=\"native\"", "api=\"jaeger\"",
                                                      "api=\"jaeger_v3\"" };
    for (size_t i = 0; i < CALL_API_COUNT; i++)
        w->asked[i] = metrics_counter(m, "spindle_queries_total", apis[i], "Queries received.");
    for (size_t e = 0; e < ERR_COUNT; e++) {
        char label[48] = "code=\"";
        (void)strcat(strncat(label, call_error_code((enum err)e), 32), "\"");
        w->failed[e] = metrics_counter(m, "spindle_queries_failed_total", label,
                                       "Queries answered with an error.");
    }
    w->busy_ns = metrics_counter(m, "spindle_queries_nanoseconds_total", NULL,
                                 "Time from receiving queries to answering them.");
}

enum err workers_start(const struct query_options *options, struct workers **out)
{
    struct workers *w = mem_zalloc(sizeof *w + options->workers * sizeof w->threads[0]);
    if (w == NULL)
        return ERR_NOMEM;
    queue_init(&w->queue, options->queue_max);
    register_metrics(w, options->metrics);
    while (w->count < options->workers) {
        if (pthread_create(&w->threads[w->count], NULL, work, w) != 0) {
            workers_stop(w);
            return ERR_NOMEM;
        }
        w->count++;
    }
    *out = w;
    return ERR_OK;
}

void workers_submit(struct workers *w, struct call *take_call)
{
    metric_add(w->asked[take_call->api], 1);
    if (queue_push(&w->queue, &take_call->node, 1))
        return;
    enum err e =
        atomic_load_explicit(&w->is_stopping, memory_order_relaxed) ? ERR_STOPPING : ERR_BUSY;
    call_refuse(take_call, e);
    finish(w, take_call, e);
}

void workers_stop(struct workers *w)
{
    if (w == NULL)
        return;
    atomic_store_explicit(&w->is_stopping, true, memory_order_relaxed);
    queue_close(&w->queue);
    for (unsigned i = 0; i < w->count; i++)
        (void)pthread_join(w->threads[i], NULL);
    queue_deinit(&w->queue);
    mem_free(w);
}
