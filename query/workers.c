/* SPDX-License-Identifier: Apache-2.0 */
#include "query/workers.h"

#include "base/mem.h"
#include "query/turns.h"

#include <assert.h>
#include <pthread.h>

#define LONG_MAX_RUNNING 2 /* downloads at once; others wait */
#define SQL_MAX_RUNNING  2 /* likewise */

struct workers {
    pthread_mutex_t lock; /* guards what follows, to is_stopping */
    pthread_cond_t changed;
    struct turns lanes[CALL_LANE_COUNT];
    enum call_lane last; /* that something was taken from */
    unsigned running[CALL_LANE_COUNT];
    bool is_stopping;
    unsigned running_max[CALL_LANE_COUNT], queue_max;
    struct metric *asked[CALL_API_COUNT];
    struct metric *failed[ERR_COUNT];
    struct metric *answered[CALL_API_COUNT];
    unsigned count; /* of threads started */
    pthread_t threads[];
};

static void finish(struct workers *w, struct call *c, enum err e)
{
    if (e != ERR_OK)
        metric_add(w->failed[e], 1);
    metric_observe(w->answered[c->api], clock_mono_ns() - c->received_mono_ns);
    call_deinit(c);
    mem_free(c);
}

/* Holding the lock: the next call, from each lane in turn. One thread more than may run heavy and long calls and SQL
 * is there, so a quick one never waits for these alone. */
static struct call *take(struct workers *w)
{
    for (unsigned i = 1; i <= CALL_LANE_COUNT; i++) {
        enum call_lane lane = (enum call_lane)(((unsigned)w->last + i) % CALL_LANE_COUNT);
        bool may_run = w->is_stopping || w->running[lane] < w->running_max[lane];
        struct call *c = may_run ? turns_pop(&w->lanes[lane]) : NULL;
        if (c != NULL) {
            w->last = lane;
            return c;
        }
    }
    return NULL;
}

static void *work(void *context)
{
    struct workers *w = context;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        struct call *c = take(w);
        if (c == NULL && w->is_stopping)
            break;
        if (c == NULL) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        enum call_lane lane = c->route->lane;
        bool is_stopping = w->is_stopping;
        w->running[lane]++;
        pthread_mutex_unlock(&w->lock);

        enum err e = ERR_STOPPING;
        if (is_stopping)
            call_refuse(c, e);
        else
            e = call_run(c);
        finish(w, c, e);

        pthread_mutex_lock(&w->lock);
        w->running[lane]--; /* and this thread may take the next */
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void register_metrics(struct workers *w, struct metrics *m)
{
    static const char *const apis[CALL_API_COUNT] = { "api=\"native\"", "api=\"jaeger\"",
                                                      "api=\"jaeger_v3\"" };
    for (size_t i = 0; i < CALL_API_COUNT; i++) {
        w->asked[i] = metrics_counter(m, "spindle_queries_total", apis[i], "Queries received.");
        w->answered[i] = metrics_histogram(m, "spindle_query_duration_seconds", apis[i],
                                           "Time from receiving a query to its answer.");
    }
    for (size_t e = 0; e < ERR_COUNT; e++) {
        char label[48] = "code=\"";
        (void)strcat(strncat(label, call_error_code((enum err)e), 32), "\"");
        w->failed[e] = metrics_counter(m, "spindle_queries_failed_total", label,
                                       "Queries answered with an error.");
    }
}

enum err workers_start(const struct query_options *options, struct workers **out)
{
    unsigned threads = options->workers + LONG_MAX_RUNNING + SQL_MAX_RUNNING + 1;
    struct workers *w = mem_zalloc(sizeof *w + threads * sizeof w->threads[0]);
    if (w == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    for (size_t i = 0; i < CALL_LANE_COUNT; i++)
        turns_init(&w->lanes[i]);
    w->running_max[CALL_HEAVY] = options->workers;
    w->running_max[CALL_LONG] = LONG_MAX_RUNNING;
    w->running_max[CALL_SQL] = SQL_MAX_RUNNING;
    w->running_max[CALL_QUICK] = threads;
    w->queue_max = options->queue_max;
    register_metrics(w, options->metrics);
    while (w->count < threads) {
        if (pthread_create(&w->threads[w->count], NULL, work, w) != 0) {
            workers_stop(w);
            return ERR_NOMEM;
        }
        (void)pthread_setname_np(w->threads[w->count], "query");
        w->count++;
    }
    *out = w;
    return ERR_OK;
}

void workers_submit(struct workers *w, struct call *take_call)
{
    struct turns *lane = &w->lanes[take_call->route->lane];
    enum err e = ERR_OK;
    metric_add(w->asked[take_call->api], 1);
    pthread_mutex_lock(&w->lock);
    if (w->is_stopping) {
        e = ERR_STOPPING;
    } else if (lane->count >= w->queue_max) {
        e = ERR_BUSY;
    } else {
        turns_push(lane, take_call);
        pthread_cond_signal(&w->changed); /* to any: who waits may run whatever may be run */
    }
    pthread_mutex_unlock(&w->lock);
    if (e == ERR_OK)
        return;
    call_refuse(take_call, e);
    finish(w, take_call, e);
}

void workers_stop(struct workers *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->is_stopping = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->count; i++)
        (void)pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}
