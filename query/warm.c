/* SPDX-License-Identifier: Apache-2.0 */
#include "query/warm.h"

#include "base/log.h"
#include "base/mem.h"
#include "query/families.h"
#include "query/native.h"

#include <pthread.h>
#include <sys/resource.h>

#define NICE 10 /* behind what somebody waits for */

struct warm {
    const struct query_options *options;
    _Atomic bool is_stopping; /* read by query_check(): it guards nothing */
    pthread_t thread;
};

/* Ask as a request would, and throw the answer away. */
static enum err ask(struct warm *w, call_fn *run, const char *from)
{
    static const struct request request = { .path = BYTES_LITERAL("/api/spindle/v1/warm") };
    static const struct call_route route = { .lane = CALL_HEAVY };
    const struct http_parameter parameters[] = { { BYTES_LITERAL("from"), bytes_text(from) } };
    struct call *c = mem_alloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    call_begin(c, &request, &w->is_stopping, w->options, CALL_NATIVE, &route);
    c->parameters = parameters;
    c->parameter_count = 1;
    c->context.arena = &c->arena;
    enum err e = run(c);
    call_deinit(c);
    mem_free(c);
    return e;
}

static void *work(void *context)
{
    static const char *const ranges[] = { "now-24h", "now-7d", "now-30d" };
    static call_fn *const questions[] = { native_services, native_map };
    struct warm *w = context;
    uint64_t begun = clock_mono_ns();
    (void)setpriority(PRIO_PROCESS, 0, NICE); /* on Linux: of this thread */
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (size_t k = 0; k < sizeof questions / sizeof *questions; k++) {
            if (clock_mono_ns() - begun >= WARM_NS)
                return NULL;
            enum err e = ask(w, questions[k], ranges[i]);
            if (e == ERR_CANCELLED)
                return NULL;
            if (e != ERR_OK)
                log_line(LOG_DEBUG, "query", "asking ahead for %s: %s", ranges[i], err_text(e));
        }
    return NULL;
}

struct warm *warm_start(const struct query_options *options)
{
    struct warm *w = mem_zalloc(sizeof *w);
    if (w == NULL)
        return NULL;
    w->options = options;
    if (pthread_create(&w->thread, NULL, work, w) != 0) {
        mem_free(w);
        return NULL;
    }
    (void)pthread_setname_np(w->thread, "warm");
    return w;
}

void warm_stop(struct warm *w)
{
    if (w == NULL)
        return;
    atomic_store_explicit(&w->is_stopping, true, memory_order_relaxed);
    (void)pthread_join(w->thread, NULL);
    mem_free(w);
}
