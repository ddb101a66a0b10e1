/* SPDX-License-Identifier: Apache-2.0 */
/* W3: eight workers, each making a trace of ten spans every 60 microseconds or so. The tool that
 * this stands for gives its spans made-up times and ends them at once, so a trace leaves whole, its
 * root last. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "bench/workload_private.h"

#include <stdio.h>

enum { WORKERS = 8, CHILDREN = 9, CHILD_ATTRIBUTES = 11, SERVICES = 10, KEYS = 97, VALUES = 1000 };
#define CHILD_NS     UINT64_C(123000)
#define GAP_MIN_NS   UINT64_C(52000) /* 60 +- 8 us between a worker's traces */
#define GAP_RANGE_NS UINT64_C(16000)

struct worker {
    uint64_t next_start_unix_ns;
    uint32_t trace_count;
    uint32_t key, value; /* cycling */
};

/* The trace under way. */
struct current {
    struct worker *worker;
    struct trace_id id;
    uint64_t start_unix_ns, root_id;
    uint32_t number;
    uint32_t given; /* spans, of CHILDREN + 1 */
};

struct tracegen {
    struct span_source source;
    struct arena arena;
    struct random random;
    uint64_t id_xor;
    struct worker workers[WORKERS];
    struct current trace;
    struct bytes names[CHILDREN];
    struct bytes keys_text[KEYS]; /* NUL-terminated */
    struct bytes values_text[VALUES];
};

static void start_trace(struct tracegen *g)
{
    struct worker *w = &g->workers[0];
    for (uint32_t i = 1; i < WORKERS; i++) {
        if (g->workers[i].next_start_unix_ns < w->next_start_unix_ns)
            w = &g->workers[i];
    }
    struct current *t = &g->trace;
    *t = (struct current){ .worker = w,
                           .start_unix_ns = w->next_start_unix_ns,
                           .number = w->trace_count++ };
    store_le64(t->id.b, random_next(&g->random) ^ g->id_xor);
    store_le64(t->id.b + 8, (random_next(&g->random) | 1) ^ g->id_xor);
    t->root_id = random_next(&g->random) | 1;
    w->next_start_unix_ns += GAP_MIN_NS + random_below(&g->random, GAP_RANGE_NS + 1);
}

static void write_child(struct tracegen *g, struct buffer *out, struct span_facts *facts)
{
    const struct current *t = &g->trace;
    struct worker *w = t->worker;
    uint64_t start = t->start_unix_ns + t->given * CHILD_NS;
    facts->name = g->names[t->given];
    facts->kind = KIND_CLIENT;
    facts->start_unix_ns = start;
    facts->end_unix_ns = start + CHILD_NS;
    span_head(out, &t->id, (random_next(&g->random) | 1) ^ g->id_xor, t->root_id ^ g->id_xor,
              facts->name, KIND_CLIENT, start, start + CHILD_NS);
    for (unsigned i = 0; i < CHILD_ATTRIBUTES; i++) {
        attribute_text(out, ATTRIBUTE_OF_SPAN, (const char *)g->keys_text[w->key].data,
                       g->values_text[w->value]);
        w->key = (w->key + 1) % KEYS;
        w->value = (w->value + 1) % VALUES;
    }
}

static void write_root(struct tracegen *g, struct buffer *out, struct span_facts *facts)
{
    const struct current *t = &g->trace;
    facts->name = BYTES_LITERAL("lets-go");
    facts->kind = KIND_SERVER;
    facts->start_unix_ns = t->start_unix_ns;
    facts->end_unix_ns = t->start_unix_ns + CHILDREN * CHILD_NS;
    span_head(out, &t->id, t->root_id ^ g->id_xor, 0, facts->name, KIND_SERVER,
              facts->start_unix_ns, facts->end_unix_ns);
    attribute_text(out, ATTRIBUTE_OF_SPAN, "peer.service", BYTES_LITERAL("tracegen-client"));
    attribute_text(out, ATTRIBUTE_OF_SPAN, "peer.host.ipv4", BYTES_LITERAL("1.1.1.1"));
}

static enum err tracegen_next(struct span_source *source, struct buffer *out,
                              struct span_facts *facts)
{
    struct tracegen *g = (struct tracegen *)source;
    if (g->trace.worker == NULL || g->trace.given == CHILDREN + 1)
        start_trace(g);
    *facts = (struct span_facts){ .group = g->trace.number % SERVICES, .trace_id = g->trace.id };
    if (g->trace.given < CHILDREN)
        write_child(g, out, facts);
    else
        write_root(g, out, facts);
    span_tail(out, STATUS_UNSET, 0x101);
    g->trace.given++;
    return buffer_error(out);
}

static void tracegen_close(struct span_source *source)
{
    struct tracegen *g = (struct tracegen *)source;
    arena_deinit(&g->arena);
    mem_free(g);
}

static struct bytes keep(struct arena *a, const char *text)
{
    char *copy = arena_text(a, bytes_text(text));
    return copy == NULL ? (struct bytes){ 0 } : bytes_text(copy);
}

static enum err make_texts(struct tracegen *g)
{
    struct arena *a = &g->arena;
    char text[64];
    for (unsigned i = 0; i < CHILDREN; i++) {
        snprintf(text, sizeof text, "child-span-%02u", i);
        g->names[i] = keep(a, text);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(text, sizeof text, "attr_%02u", i);
        g->keys_text[i] = keep(a, text);
    }
    for (unsigned i = 0; i < VALUES; i++) {
        snprintf(text, sizeof text, "val_%02u", i);
        g->values_text[i] = keep(a, text);
    }
    g->source.resources = arena_alloc_array(a, SERVICES, sizeof *g->source.resources);
    for (unsigned i = 0; g->source.resources != NULL && i < SERVICES; i++) {
        snprintf(text, sizeof text, "tracegen-%02u", i);
        const char *const pairs[][2] = { { "service.name", text } };
        g->source.resources[i] = resource_make(a, pairs, 1);
    }
    g->source.resource_count = SERVICES;
    g->source.scope = BYTES_LITERAL("\x0a\x08tracegen");
    return arena_failure(a);
}

enum err tracegen_open(const struct workload_options *o, struct span_source **out)
{
    struct tracegen *g = mem_zalloc(sizeof *g);
    if (g == NULL)
        return ERR_NOMEM;
    g->source.next = tracegen_next;
    g->source.close = tracegen_close;
    g->id_xor = o->id_xor;
    arena_init(&g->arena, 1u << 20, NULL);
    random_init(&g->random, o->seed != 0 ? o->seed : 3);
    for (uint32_t i = 0; i < WORKERS; i++)
        g->workers[i].next_start_unix_ns = o->base_unix_ns + i * (60000 / WORKERS);
    enum err e = make_texts(g);
    if (e != ERR_OK) {
        tracegen_close(&g->source);
        return e;
    }
    *out = &g->source;
    return ERR_OK;
}
