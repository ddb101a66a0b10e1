/* SPDX-License-Identifier: Apache-2.0 */
#include "query/query.h"

#include "base/mem.h"
#include "query/families.h"
#include "query/log_tail.h"
#include "query/skeletons.h"
#include "query/warm.h"
#include "query/workers.h"

#include <assert.h>
#include <unistd.h>

#define TIMEOUT_DEFAULT_NS   (10 * NS_PER_S)
#define MEMORY_DEFAULT_BYTES ((size_t)64 << 20)
#define QUEUE_DEFAULT        256
#define LISTENERS_MAX        32                  /* people who watch logs at once */
#define BODY_MAX             ((size_t)128 << 10) /* parameters as JSON: a statement in SQL has up to 64 KiB */

static const struct {
    enum call_api api;
    const struct call_route *routes;
    const size_t *count;
    const char *consumes; /* of a POST; NULL: a GET */
} families[] = {
    { CALL_NATIVE, native_routes, &native_route_count, NULL },
    { CALL_NATIVE, native_posts, &native_post_count, "application/json" },
    { CALL_NATIVE, native_sql_posts, &native_sql_post_count,
      "application/json, application/sql, text/plain" },
    { CALL_JAEGER, jaeger_routes, &jaeger_route_count, NULL },
    { CALL_JAEGER_V3, jaeger_v3_routes, &jaeger_v3_route_count, NULL },
};
#define FAMILY_COUNT (sizeof families / sizeof families[0])

/* What a route's handler needs to make a call. */
struct bound_route {
    struct query_service *service;
    enum call_api api;
    const struct call_route *route;
};

struct query_service {
    struct query_options options;
    struct workers *workers;
    struct skeletons *skeletons;
    struct log_tail *log_tail;
    struct warm *warm; /* NULL: not asked for */
    const struct query_facts *_Atomic facts;
    struct bound_route *bound; /* [all routes] */
};

static void on_request(struct exchange *x, void *context)
{
    const struct bound_route *b = context;
    struct call *c = mem_alloc(sizeof *c);
    if (c == NULL) {
        struct response head = { .status = 503 };
        struct buffer empty;
        buffer_init(&empty, 0);
        exchange_respond(x, &head, &empty);
        return;
    }
    call_init(c, x, &b->service->options, b->api, b->route);
    c->skeletons = b->service->skeletons;
    c->log_tail = b->service->log_tail;
    c->facts = atomic_load_explicit(&b->service->facts, memory_order_acquire);
    skeletons_expire(c->skeletons, c->received_mono_ns);
    workers_submit(b->service->workers, c);
}

unsigned query_workers_default(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : cores > 256 ? 256 : (unsigned)cores;
}

enum err query_open(const struct query_options *options, struct query_service **out)
{
    struct query_service *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->options = *options;
    static const struct query_facts unknown = { 0 };
    atomic_init(&s->facts, &unknown);
    struct query_options *o = &s->options;
    if (o->workers == 0)
        o->workers = query_workers_default();
    if (o->queue_max == 0)
        o->queue_max = QUEUE_DEFAULT;
    if (o->timeout_ns == 0)
        o->timeout_ns = TIMEOUT_DEFAULT_NS;
    if (o->memory_bytes == 0)
        o->memory_bytes = MEMORY_DEFAULT_BYTES;
    if (o->started_unix_ns == 0)
        o->started_unix_ns = clock_unix_ns();
    if (o->version == NULL)
        o->version = "";
    enum err e = skeletons_open(o->budget, o->memory_bytes / 2, &s->skeletons);
    if (e == ERR_OK)
        e = log_tail_open(&(struct log_tail_options){ .engine = o->engine,
                                                      .budget = o->answers_budget,
                                                      .listeners_max = LISTENERS_MAX,
                                                      .alive_ns = o->tail_alive_ns },
                          &s->log_tail);
    if (e == ERR_OK)
        e = workers_start(o, &s->workers);
    if (e != ERR_OK) {
        query_close(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

enum err query_add_routes(struct query_service *s, struct router *r)
{
    size_t total = 0;
    for (size_t f = 0; f < FAMILY_COUNT; f++)
        total += *families[f].count;
    s->bound = mem_alloc_array(total, sizeof s->bound[0]);
    if (s->bound == NULL)
        return ERR_NOMEM;
    struct bound_route *b = s->bound;
    for (size_t f = 0; f < FAMILY_COUNT; f++) {
        for (size_t i = 0; i < *families[f].count; i++, b++) {
            const struct call_route *route = &families[f].routes[i];
            *b = (struct bound_route){ s, families[f].api, route };
            const char *consumes = families[f].consumes;
            bool is_post = consumes != NULL;
            enum err e = router_add(r, &(struct route){
                                           .kind = ROUTE_HTTP,
                                           .method = is_post ? HTTP_POST : HTTP_GET,
                                           .body_max = is_post ? BODY_MAX : 0,
                                           .consumes = consumes,
                                           .path = route->path,
                                           .scope = SCOPE_READ,
                                           .handler = on_request,
                                           .context = b,
                                       });
            if (e != ERR_OK)
                return e;
        }
    }
    return ERR_OK;
}

void query_set_facts(struct query_service *s, const struct query_facts *facts)
{
    atomic_store_explicit(&s->facts, facts, memory_order_release);
}

void query_warm(struct query_service *s)
{
    assert(s->warm == NULL);
    s->warm = warm_start(&s->options);
}

void query_drain(struct query_service *s)
{
    if (s != NULL)
        log_tail_drain(s->log_tail);
}

void query_close(struct query_service *s)
{
    if (s == NULL)
        return;
    warm_stop(s->warm);
    workers_stop(s->workers);
    skeletons_close(s->skeletons);
    log_tail_close(s->log_tail);
    mem_free(s->bound);
    mem_free(s);
}
