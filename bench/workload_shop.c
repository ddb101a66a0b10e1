/* SPDX-License-Identifier: Apache-2.0 */
/* W1, W2 and W4. Traces are made whole when they start, and their spans wait in a heap until no
 * trace that starts later can have a span that ends earlier: that is how they leave in order of
 * their end.
 *
 * I1  a call's SERVER span leaves before its CLIENT span: it ends no later, and is numbered first.
 */
#include "bench/workload_shop.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#define TRACE_GAP_MEAN_NS 1.2e6 /* 10 k spans/s at 12 spans a trace */
#define TRACE_SPANS_MAX   2000u
#define LAST_SERVERS      4u

/* W4 */
#define HOSTILE_SERVICES     2000u
#define HOSTILE_TRACE_NUMBER 1000u
#define HOSTILE_CHAIN        10000u
#define HOSTILE_TRACE_SPANS  50000u
#define RESEND_DELAY         9000u /* spans: past the end of the largest request */
#define RESEND_MAX           512u  /* 1.1 % of RESEND_DELAY is 99 */

struct waiting {
    uint64_t end_unix_ns;
    uint64_t number; /* of the span, in order of making */
    uint32_t slot;
};

struct resend {
    struct buffer span;
    struct span_facts facts;
    char name[96];
    uint64_t due; /* span number */
};

struct shop {
    struct span_source source;
    struct shop_names names;
    struct random random;      /* traces */
    struct random wide_random; /* W2's additions */
    struct random twist_random;
    bool is_wide;
    struct shop_twist twist;
    uint64_t id_xor;
    uint64_t next_trace_unix_ns, trace_number, span_number;
    struct shop_span *slots; /* [capacity] */
    uint32_t *free_slots;
    struct waiting *heap;
    uint32_t heap_count, free_count, capacity;
    struct resend *resends; /* ring, W4 only */
    uint32_t resend_first, resend_count;
};

/* ---- The heap: earliest end first, of equal ends the one made first (I1).
 * --------------------------- */

static bool leaves_before(const struct waiting *a, const struct waiting *b)
{
    return a->end_unix_ns != b->end_unix_ns ? a->end_unix_ns < b->end_unix_ns
                                            : a->number < b->number;
}

static enum err heap_grow(struct shop *s)
{
    uint32_t capacity = s->capacity == 0 ? 4096 : s->capacity * 2;
    struct shop_span *slots = mem_realloc(s->slots, capacity * sizeof *slots);
    if (slots == NULL)
        return ERR_NOMEM;
    s->slots = slots;
    uint32_t *free_slots = mem_realloc(s->free_slots, capacity * sizeof *free_slots);
    if (free_slots == NULL)
        return ERR_NOMEM;
    s->free_slots = free_slots;
    struct waiting *heap = mem_realloc(s->heap, capacity * sizeof *heap);
    if (heap == NULL)
        return ERR_NOMEM;
    s->heap = heap;
    for (uint32_t i = s->capacity; i < capacity; i++)
        s->free_slots[s->free_count++] = i;
    s->capacity = capacity;
    return ERR_OK;
}

static enum err heap_push(struct shop *s, const struct shop_span *span)
{
    if (s->free_count == 0) {
        enum err e = heap_grow(s);
        if (e != ERR_OK)
            return e;
    }
    uint32_t slot = s->free_slots[--s->free_count];
    s->slots[slot] = *span;
    struct waiting new = { .end_unix_ns = span->end_unix_ns,
                           .number = s->span_number++,
                           .slot = slot };
    uint32_t i = s->heap_count++;
    while (i > 0 && leaves_before(&new, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = new;
    return ERR_OK;
}

static void heap_pop(struct shop *s, struct shop_span *out)
{
    assert(s->heap_count > 0);
    uint32_t slot = s->heap[0].slot;
    *out = s->slots[slot];
    s->free_slots[s->free_count++] = slot;
    struct waiting last = s->heap[--s->heap_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= s->heap_count)
            break;
        if (child + 1 < s->heap_count && leaves_before(&s->heap[child + 1], &s->heap[child]))
            child++;
        if (!leaves_before(&s->heap[child], &last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
}

/* ---- One trace
 * ------------------------------------------------------------------------------------- */

/* A SERVER span that may become a parent. */
struct server {
    uint64_t start_unix_ns, duration_ns, span_id;
    uint8_t service;
};

struct trace {
    uint64_t low, high;
    uint32_t user;
    uint32_t made, size;
    uint32_t error_at; /* number of the span that fails, or UINT32_MAX */
    struct server servers[LAST_SERVERS];
    uint32_t server_count; /* ever made; the last LAST_SERVERS are kept */
};

static uint64_t random_id(struct random *r)
{
    uint64_t id;
    do
        id = random_next(r);
    while (id == 0);
    return id;
}

static uint8_t random_operation(struct random *r, enum shop_family family)
{
    uint64_t pick = random_below(r, 6); /* the first takes 4 of 6 */
    return shop_operations[family][pick < 4 ? 0 : pick - 3];
}

static enum shop_family random_family(struct random *r)
{
    double u = random_unit(r);
    return u < 0.40 ? FAMILY_DB : u < 0.67 ? FAMILY_HTTP : u < 0.87 ? FAMILY_RPC : FAMILY_INTERNAL;
}

static void fill_event(struct random *r, struct shop_span *span)
{
    if (random_below(r, 10) != 0)
        return;
    span->event = (uint8_t)(1 + random_below(r, 3));
    span->event_attempt = (uint8_t)(1 + random_below(r, 3));
    span->event_object = (uint32_t)random_below(r, 1000000);
    span->event_unix_ns =
        span->start_unix_ns + random_below(r, span->end_unix_ns - span->start_unix_ns + 1);
}

static void remember_server(struct trace *t, const struct shop_span *span)
{
    t->servers[t->server_count++ % LAST_SERVERS] = (struct server){
        .start_unix_ns = span->start_unix_ns,
        .duration_ns = span->end_unix_ns - span->start_unix_ns,
        .span_id = span->span_id,
        .service = span->service,
    };
}

/* Number the span, give it its ID, its event and its error, and let it wait. */
static enum err add_span(struct shop *s, struct trace *t, struct shop_span *span)
{
    span->trace_low = t->low;
    span->trace_high = t->high;
    span->user = t->user;
    span->is_error = t->made++ == t->error_at;
    fill_event(&s->random, span);
    return heap_push(s, span);
}

static enum err add_root(struct shop *s, struct trace *t, uint64_t start_unix_ns)
{
    struct random *r = &s->random;
    struct shop_span root = {
        .start_unix_ns = start_unix_ns,
        .service = (uint8_t)random_below(r, 2),
        .family = FAMILY_HTTP,
        .kind = KIND_SERVER,
        .flags = 0x301,
    };
    root.target = root.service;
    root.operation = random_operation(r, FAMILY_HTTP);
    root.object = (uint32_t)random_below(r, 1000000);
    root.is_not_found = random_below(r, 50) == 0;
    double duration = 1e3 + exp(log(5e6) + random_normal(r));
    root.end_unix_ns = start_unix_ns + (uint64_t)duration;
    root.span_id = random_id(r);
    remember_server(t, &root);
    return add_span(s, t, &root);
}

/* The SERVER span in the callee of a call whose CLIENT span is filled in, but not added yet. */
static enum err add_server(struct shop *s, struct trace *t, struct shop_span *client)
{
    struct shop_span server = *client;
    uint64_t duration = client->end_unix_ns - client->start_unix_ns;
    uint64_t d = (uint64_t)(0.1 * random_unit(&s->random) * (double)duration);
    uint64_t server_duration = duration - 2 * d < 500 ? 500 : duration - 2 * d;
    server.kind = KIND_SERVER;
    server.service = client->target;
    server.parent_id = client->span_id;
    server.span_id = random_id(&s->random);
    server.start_unix_ns = client->start_unix_ns + d;
    server.end_unix_ns = server.start_unix_ns + server_duration;
    server.flags = 0x301;
    remember_server(t, &server);
    enum err e = add_span(s, t, &server);
    client->callee_has_error = server.is_error;
    return e;
}

static enum err add_child(struct shop *s, struct trace *t)
{
    struct random *r = &s->random;
    uint32_t candidates = t->server_count < LAST_SERVERS ? t->server_count : LAST_SERVERS;
    uint64_t back = 1 + random_below(r, candidates);
    const struct server p = t->servers[(t->server_count - back) % LAST_SERVERS];
    enum shop_family family = random_family(r);
    bool is_call = family == FAMILY_HTTP || family == FAMILY_RPC;

    struct shop_span span = {
        .service = p.service,
        .target = p.service,
        .parent_id = p.span_id,
        .family = (uint8_t)family,
        .kind = family == FAMILY_INTERNAL ? KIND_INTERNAL : KIND_CLIENT,
        .flags = 0x101,
    };
    uint64_t after = (uint64_t)(0.6 * random_unit(r) * (double)p.duration_ns);
    span.start_unix_ns = p.start_unix_ns + after;
    span.end_unix_ns = span.start_unix_ns + 1000 +
                       (uint64_t)((double)(p.duration_ns - after) * (0.1 + 0.8 * random_unit(r)));
    span.operation = random_operation(r, family);
    span.object = (uint32_t)random_below(r, 1000000);
    span.span_id = random_id(r);
    if (is_call) {
        uint64_t callee = (3u * p.service + 1 + random_below(r, 3)) % SHOP_SERVICES;
        span.target = (uint8_t)(callee == p.service ? (callee + 5) % SHOP_SERVICES : callee);
        span.is_not_found = family == FAMILY_HTTP && random_below(r, 50) == 0;
    } else if (family == FAMILY_DB && span.operation == shop_operations[FAMILY_DB][0]) {
        double rows = random_exponential(r, 2);
        span.returned_rows = (uint8_t)(1 + (rows < 200 ? rows : 200));
    } else if (family == FAMILY_INTERNAL) {
        span.thread = (uint8_t)(1 + random_below(r, 64));
        span.is_cache_hit = random_below(r, 5) != 0;
    }
    enum err e = is_call ? add_server(s, t, &span) : ERR_OK; /* I1 */
    return e != ERR_OK ? e : add_span(s, t, &span);
}

/* W4: a chain of HOSTILE_CHAIN internal spans below the root, then children of the root. */
static enum err add_hostile_trace(struct shop *s, struct trace *t, uint64_t start_unix_ns)
{
    uint64_t root_id = random_id(&s->random), parent = 0;
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < HOSTILE_TRACE_SPANS && e == ERR_OK; i++) {
        struct shop_span span = {
            .start_unix_ns = start_unix_ns + i * UINT64_C(10000),
            .end_unix_ns = start_unix_ns + NS_PER_S + (HOSTILE_TRACE_SPANS - i) * UINT64_C(10000),
            .family = FAMILY_INTERNAL,
            .kind = KIND_INTERNAL,
            .operation = shop_operations[FAMILY_INTERNAL][0],
            .span_id = i == 0 ? root_id : random_id(&s->random),
            .parent_id = i < HOSTILE_CHAIN ? parent : root_id,
            .flags = 0x101,
        };
        parent = span.span_id;
        e = add_span(s, t, &span);
    }
    return e;
}

static enum err make_trace(struct shop *s)
{
    struct random *r = &s->random;
    uint64_t start = s->next_trace_unix_ns;
    s->next_trace_unix_ns += (uint64_t)random_exponential(r, TRACE_GAP_MEAN_NS);
    uint64_t number = s->trace_number++;

    struct trace t = { .low = random_id(r), .high = random_next(r), .error_at = UINT32_MAX };
    double size = round(exp(log(8) + 0.9005 * random_normal(r)));
    t.size = size < 1 ? 1 : size > TRACE_SPANS_MAX ? TRACE_SPANS_MAX : (uint32_t)size;
    t.user = (uint32_t)random_below(r, SHOP_USERS);
    if (number % 60 == 59)
        t.error_at = (uint32_t)random_below(r, t.size);
    if (s->twist.is_on && number == HOSTILE_TRACE_NUMBER)
        return add_hostile_trace(s, &t, start);

    enum err e = add_root(s, &t, start);
    while (e == ERR_OK && t.made < t.size) /* a call adds two, so a trace may be one longer */
        e = add_child(s, &t);
    return e;
}

/* ---- Handing out
 * ----------------------------------------------------------------------------------- */

static uint32_t group_of(const struct shop *s, const struct shop_span *span)
{
    uint32_t pod = (uint32_t)(random_mix64(span->trace_low + span->service) % SHOP_PODS);
    uint32_t group = span->service * SHOP_PODS + pod;
    if (s->twist.is_on) /* 96 pods, over and over, until all services have had some */
        group = (group + SHOP_SERVICES * SHOP_PODS * (uint32_t)(span->trace_low % 21)) %
                HOSTILE_SERVICES;
    return group;
}

/* W4: times that no clock shows. */
static void twist_times(struct shop *s, struct shop_span *span)
{
    uint64_t n = s->twist.span_number;
    uint64_t duration = span->end_unix_ns - span->start_unix_ns;
    if (n % 1000 == 0) {
        const uint64_t starts[4] = { 0, INT64_MAX, span->start_unix_ns + 24 * 3600 * NS_PER_S,
                                     span->start_unix_ns - 400 * 24 * 3600 * NS_PER_S };
        span->start_unix_ns = starts[n / 1000 % 4];
        span->end_unix_ns = span->start_unix_ns + duration;
    } else if (n % 500 == 0) {
        span->end_unix_ns = span->start_unix_ns - duration;
    }
}

static void hold_for_resend(struct shop *s, struct bytes span, const struct span_facts *facts,
                            bool is_changed)
{
    if (s->resend_count == RESEND_MAX)
        return;
    struct resend *held = &s->resends[(s->resend_first + s->resend_count) % RESEND_MAX];
    buffer_reset(&held->span);
    buffer_append_bytes(&held->span, span);
    if (is_changed)
        attribute_bool(&held->span, ATTRIBUTE_OF_SPAN, "changed", true);
    if (buffer_error(&held->span) != ERR_OK)
        return;
    held->facts = *facts;
    held->facts.is_resend = !is_changed;
    memcpy(held->name, facts->name.data, facts->name.len);
    held->facts.name.data = (const uint8_t *)held->name;
    held->due = s->twist.span_number + RESEND_DELAY;
    s->resend_count++;
}

static enum err shop_next(struct span_source *source, struct buffer *out, struct span_facts *facts)
{
    struct shop *s = (struct shop *)source;
    if (s->resend_count > 0 && s->resends[s->resend_first].due <= s->twist.span_number) {
        struct resend *held = &s->resends[s->resend_first];
        buffer_append_bytes(out, buffer_bytes(&held->span));
        *facts = held->facts;
        s->resend_first = (s->resend_first + 1) % RESEND_MAX;
        s->resend_count--;
        return buffer_error(out);
    }
    while (s->heap_count == 0 || s->heap[0].end_unix_ns >= s->next_trace_unix_ns) {
        enum err e = make_trace(s);
        if (e != ERR_OK)
            return e;
    }
    struct shop_span span;
    heap_pop(s, &span);
    if (s->twist.is_on)
        twist_times(s, &span);
    size_t before = out->len;
    struct bytes name;
    shop_span_write(&s->names, &span, s->id_xor, s->is_wide ? &s->wide_random : NULL, &s->twist,
                    out, &name);
    bool is_call = span.kind == KIND_CLIENT && span.target != span.service && !s->twist.is_on;
    *facts = (struct span_facts){
        .group = group_of(s, &span),
        .name = name,
        .callee = is_call ? s->names.service[span.target] : (struct bytes){ 0 },
        .callee_has_error = span.callee_has_error,
        .kind = span.kind,
        .is_error = span.is_error,
        .start_unix_ns = span.start_unix_ns,
        .end_unix_ns = span.end_unix_ns,
    };
    store_le64(facts->trace_id.b, span.trace_low ^ s->id_xor);
    store_le64(facts->trace_id.b + 8, span.trace_high ^ s->id_xor);
    if (s->twist.is_on) {
        uint64_t pick = random_below(&s->twist_random, 1000);
        if (pick < 11 && buffer_error(out) == ERR_OK)
            hold_for_resend(s, bytes_slice(buffer_bytes(out), before, out->len), facts, pick == 0);
        s->twist.span_number++;
    }
    return buffer_error(out);
}

static void shop_close(struct span_source *source)
{
    struct shop *s = (struct shop *)source;
    for (uint32_t i = 0; s->resends != NULL && i < RESEND_MAX; i++)
        buffer_deinit(&s->resends[i].span);
    mem_free(s->resends);
    mem_free(s->heap);
    mem_free(s->free_slots);
    mem_free(s->slots);
    shop_names_deinit(&s->names);
    mem_free(s);
}

static enum err hostile_init(struct shop *s)
{
    struct arena *a = &s->names.arena;
    s->twist.is_on = true;
    s->twist.random = &s->twist_random;
    s->resends = mem_alloc_array(RESEND_MAX, sizeof *s->resends);
    s->source.resources = arena_alloc_array(a, HOSTILE_SERVICES, sizeof *s->source.resources);
    if (s->resends == NULL || s->source.resources == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < RESEND_MAX; i++)
        buffer_init(&s->resends[i].span, 1u << 20);
    for (uint32_t i = 0; i < HOSTILE_SERVICES; i++) {
        char name[32], instance[32];
        snprintf(name, sizeof name, "service-%04u", i);
        snprintf(instance, sizeof instance, "instance-%04u-0", i);
        const char *const pairs[][2] = { { "service.name", name },
                                         { "service.instance.id", instance } };
        s->source.resources[i] = resource_make(a, pairs, 2);
    }
    s->source.resource_count = HOSTILE_SERVICES;
    return arena_failure(a);
}

enum err shop_open(const struct workload_options *o, struct span_source **out)
{
    struct shop *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->source.next = shop_next;
    s->source.close = shop_close;
    s->is_wide = o->kind == WORKLOAD_W2;
    s->id_xor = o->id_xor;
    s->next_trace_unix_ns = o->base_unix_ns;
    /* W1's traces whatever is added to them; the additions have a seed of their own. */
    random_init(&s->random, o->seed != 0 ? o->seed : 1);
    random_init(&s->wide_random, 2);
    random_init(&s->twist_random, 4);
    enum err e = shop_names_init(&s->names);
    s->source.resources = s->names.resources;
    s->source.resource_count = SHOP_SERVICES * SHOP_PODS;
    s->source.scope = s->names.scope;
    if (e == ERR_OK && o->kind == WORKLOAD_W4)
        e = hostile_init(s);
    if (e != ERR_OK) {
        shop_close(&s->source);
        return e;
    }
    *out = &s->source;
    return ERR_OK;
}
