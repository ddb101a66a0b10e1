/* SPDX-License-Identifier: Apache-2.0 */
/* Edges of pending bodies are paired once for all who ask: asked after each request, while row groups take bodies away
 * at random, the answer is that of pairing everything anew, and in the end that of the row groups. */
#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/derive/tally.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>

enum { CALLS = 600, HALVES = 2 * CALLS, SERVICES = 7 };

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct engine *engine;
    struct random random;
    uint32_t order[HALVES]; /* in which halves are sent: 2 * call, + 1 for the server's */
    uint64_t now_unix_ns;
};

static void store_init(struct store *s, uint64_t seed)
{
    *s = (struct store){ .now_unix_ns = clock_unix_ns() };
    scratch_make(s->directory);
    random_init(&s->random, seed);
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = 1 << 18,
                                                 .builder_age_ns = 3600 * NS_PER_S };
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
    for (uint32_t i = 0; i < HALVES; i++)
        s->order[i] = i;
    for (uint32_t i = HALVES; i-- > 1;) {
        uint32_t k = (uint32_t)random_below(&s->random, i + 1), other = s->order[k];
        s->order[k] = s->order[i];
        s->order[i] = other;
    }
}

static void store_deinit(struct store *s)
{
    engine_close(s->engine);
    scratch_remove(s->directory);
}

/* One span of a service of its own resource: every fifth call has no server, every seventh no client. */
static uint64_t half_put(struct buffer *b, const struct store *s, uint32_t half)
{
    uint32_t call = half / 2, is_server = half % 2;
    uint8_t ids[24] = { 1 };
    char service[16];
    int len = snprintf(service, sizeof service, "s%u", (call + is_server) % SERVICES);
    if ((is_server != 0 && call % 5 == 0) || (is_server == 0 && call % 7 == 0))
        return 0;
    size_t group = pb_begin(b, OTLP_DATA_RESOURCE_GROUPS);
    size_t resource = pb_begin(b, 1), attribute = pb_begin(b, 1), value;
    pb_bytes(b, 1, BYTES_LITERAL("service.name"));
    value = pb_begin(b, 2);
    pb_bytes(b, 1, bytes_of(service, (size_t)len));
    pb_end(b, value);
    pb_end(b, attribute);
    pb_end(b, resource);
    size_t scope = pb_begin(b, OTLP_GROUP_SCOPE_GROUPS), span = pb_begin(b, OTLP_SCOPE_ITEMS);
    uint64_t start = s->now_unix_ns + call * NS_PER_MS;
    store_le64(ids + 8, call + 1);
    store_le64(ids + 16, 2 * (uint64_t)call + 1 + is_server);
    pb_bytes(b, 1, bytes_of(ids, 16));
    pb_bytes(b, 2, bytes_of(ids + 16, 8));
    if (is_server != 0) {
        uint8_t parent[8];
        store_le64(parent, 2 * (uint64_t)call + 1);
        pb_bytes(b, 4, bytes_of(parent, 8));
    }
    pb_bytes(b, 5, BYTES_LITERAL("GET /"));
    pb_uint(b, 6, is_server != 0 ? 2 : 3);
    pb_fixed64(b, 7, start);
    pb_fixed64(b, 8, start + 1000 + call * 77);
    pb_end(b, span);
    pb_end(b, scope);
    pb_end(b, group);
    return 1;
}

static void some_send(struct store *s, uint32_t from, uint32_t to)
{
    struct buffer b;
    uint64_t items = 0;
    buffer_init(&b, SIZE_MAX);
    for (uint32_t i = from; i < to; i++)
        items += half_put(&b, s, s->order[i]);
    const struct hash128 request = { from + 1, to };
    if (items > 0)
        assert_int_equal(send_body(s->engine, SIGNAL_TRACES, buffer_bytes(&b), items, request),
                         ERR_OK);
    buffer_deinit(&b);
}

#define QUERY_BYTES ((size_t)64 << 20)
static size_t query_bytes = QUERY_BYTES;

/* All edges and gaps with all points, as text. */
static uint64_t answer(struct engine *e, uint64_t patience_ns, struct buffer *out)
{
    struct arena arena;
    arena_init(&arena, query_bytes, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    const struct edge_query query = { .range = { 0, UINT64_MAX / 2, TALLY_MINUTE_NS },
                                      .patience_ns = patience_ns,
                                      .wants_durations = true };
    struct edge_result result = { 0 };
    uint64_t calls = 0;
    buffer_reset(out);
    assert_int_equal(engine_edges(e, &q, &query, &result), ERR_OK);
    for (size_t i = 0; i < result.count; i++) {
        const struct edge *x = &result.edges[i];
        buffer_printf(out, "%d %.*s %d %.*s\n", x->client.kind, (int)x->client.name.len,
                      (const char *)x->client.name.data, x->server.kind, (int)x->server.name.len,
                      (const char *)x->server.name.data);
        for (size_t k = 0; k < x->points_count; k++) {
            const struct edge_point *p = &x->points[k];
            calls += p->calls;
            buffer_printf(out, "  %llu: %llu %llu, %llu %llu, %llu %llu, %llu\n",
                          (unsigned long long)p->start_unix_ns, (unsigned long long)p->calls,
                          (unsigned long long)p->failed, (unsigned long long)p->client.count,
                          (unsigned long long)p->client.sum, (unsigned long long)p->server.count,
                          (unsigned long long)p->server.sum,
                          (unsigned long long)p->slowest.duration_ns);
        }
    }
    for (size_t i = 0; i < result.unpaired_count; i++)
        buffer_printf(out, "%.*s %d: %llu\n", (int)result.unpaired[i].node.name.len,
                      (const char *)result.unpaired[i].node.name.data, result.unpaired[i].reason,
                      (unsigned long long)result.unpaired[i].count);
    arena_deinit(&arena);
    return calls;
}

static void equal(const struct buffer *a, const struct buffer *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

/* What is asked of the kept pairs, and what is paired for one question alone. */
static uint64_t both_say_the_same(struct store *s, uint64_t patience_ns, struct buffer *kept,
                                  struct buffer *apart)
{
    struct pending_edges *p = &sqlite_engine_from(s->engine)->pending_edges;
    uint64_t calls = answer(s->engine, patience_ns, kept);
    size_t limit_bytes = p->budget.limit_bytes;
    assert_true(p->is_begun);
    (void)pthread_mutex_lock(&p->lock); /* another pairs, and does not stop */
    assert_int_equal(answer(s->engine, patience_ns, apart), calls);
    (void)pthread_mutex_unlock(&p->lock);
    equal(kept, apart);
    assert_int_equal(p->budget.limit_bytes, limit_bytes);
    return calls;
}

static void kept_pairs_are_those_of_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct store s;
        struct buffer kept, apart;
        buffer_init(&kept, SIZE_MAX);
        buffer_init(&apart, SIZE_MAX);
        store_init(&s, seed);
        uint64_t paired = 0;
        for (uint32_t at = 0; at < HALVES;) {
            uint32_t to = at + 1 + (uint32_t)random_below(&s.random, 60);
            to = to < HALVES ? to : HALVES;
            some_send(&s, at, to);
            at = to;
            if (random_below(&s.random, 5) == 0)
                assert_int_equal(engine_settle(s.engine), ERR_OK);
            if (random_below(&s.random, 3) != 0)
                continue;
            uint64_t calls = both_say_the_same(&s, 3600 * NS_PER_S, &kept, &apart);
            assert_true(calls >= paired);
            paired = calls;
            (void)both_say_the_same(&s, 0, &kept, &apart);
        }
        paired = both_say_the_same(&s, 3600 * NS_PER_S, &kept, &apart);
        assert_int_equal(paired, CALLS - CALLS / 5 - (CALLS + 6) / 7 + (CALLS + 34) / 35);
        (void)answer(s.engine, 0, &kept);
        assert_int_equal(engine_settle(s.engine), ERR_OK);
        (void)answer(s.engine, 0, &apart);
        equal(&kept, &apart);
        store_deinit(&s);
        buffer_deinit(&kept);
        buffer_deinit(&apart);
    }
}

/* A question walks over new bodies only. */
static void bodies_are_paired_once(void **state)
{
    (void)state;
    struct store s;
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    store_init(&s, 9);
    struct pending_edges *p = &sqlite_engine_from(s.engine)->pending_edges;
    for (uint32_t i = 0; i < 8; i++) {
        some_send(&s, i * 100, (i + 1) * 100);
        for (int k = 0; k < 2; k++)
            (void)answer(s.engine, 15 * NS_PER_S, &text);
        assert_int_equal(p->count, i + 1);
        assert_int_equal(p->begun, 1);
    }
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    (void)answer(s.engine, 15 * NS_PER_S, &text);
    assert_int_equal(p->count, 0);
    pending_edges_tend(p, UINT64_MAX);
    assert_false(p->is_begun);
    assert_int_equal(budget_used(&p->budget), 0);
    buffer_deinit(&text);
    store_deinit(&s);
}

static void without_room_each_pairs_by_itself(void **state)
{
    (void)state;
    struct store s;
    struct buffer kept, apart;
    buffer_init(&kept, SIZE_MAX);
    buffer_init(&apart, SIZE_MAX);
    store_init(&s, 10);
    struct pending_edges *p = &sqlite_engine_from(s.engine)->pending_edges;
    some_send(&s, 0, 300);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    some_send(&s, 300, HALVES);
    uint64_t calls = answer(s.engine, 0, &kept);
    pending_edges_tend(p, UINT64_MAX);
    size_t limit_bytes = p->budget.limit_bytes;
    for (size_t limit = 1; limit < limit_bytes; limit *= 4) {
        p->budget.limit_bytes = limit;
        p->has_refused = false;
        assert_int_equal(answer(s.engine, 0, &apart), calls);
        equal(&kept, &apart);
        if (p->is_begun)
            break;
        assert_true(p->has_refused);
        assert_int_equal(budget_used(&p->budget), 0);
    }
    assert_true(p->is_begun && p->budget.limit_bytes > 4096);
    buffer_deinit(&kept);
    buffer_deinit(&apart);
    store_deinit(&s);
}

/* The room that an engine gives it is enough for a table in which no place is free, beside many bodies, and that of a
 * query is enough to pair them alone; also in the least that a server may be given. */
static void a_full_table_fits(void **state)
{
    static const size_t limits_mib[] = { 64, 256, 512 };
    (void)state;
    for (size_t i = 0; i < sizeof limits_mib / sizeof *limits_mib; i++) {
        struct store s;
        struct buffer kept, apart;
        buffer_init(&kept, SIZE_MAX);
        buffer_init(&apart, SIZE_MAX);
        store_init(&s, 12);
        engine_close(s.engine);
        s.options.memory_bytes = limits_mib[i] << 18; /* as collector/memory_plan.h shares it */
        query_bytes = (limits_mib[i] << 20) / 10;
        assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
        struct sqlite_engine *e = sqlite_engine_from(s.engine);
        uint64_t bodies = e->derived.halves.entries_max / 1000 + 2;
        for (uint64_t n = 0; n < bodies + 30; n++) {
            if (n == bodies)
                assert_int_equal(engine_settle(s.engine), ERR_OK);
            assert_int_equal(send_lone_callers(s.engine, n, 1000), ERR_OK);
        }
        assert_int_equal(e->derived.halves.waiting.count, e->derived.halves.entries_max);
        (void)both_say_the_same(&s, 0, &kept, &apart);
        assert_true(e->pending_edges.is_begun && !e->pending_edges.has_refused);
        query_bytes = QUERY_BYTES;
        store_deinit(&s);
        buffer_deinit(&kept);
        buffer_deinit(&apart);
    }
}

struct asker {
    struct engine *engine;
    _Atomic bool is_ending;
    uint64_t asked;
    bool was_less;
};

/* What is paired does not come apart. */
static void *ask(void *context)
{
    struct asker *a = context;
    struct buffer text;
    uint64_t before = 0;
    buffer_init(&text, SIZE_MAX);
    do {
        uint64_t calls = answer(a->engine, 3600 * NS_PER_S, &text);
        a->was_less = a->was_less || calls < before;
        before = calls;
        a->asked++;
    } while (!a->is_ending);
    buffer_deinit(&text);
    return NULL;
}

static void nothing_is_missed_while_groups_are_built(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 11);
    engine_close(s.engine);
    s.options.builder_rows = 30;
    s.options.builder_age_ns = NS_PER_MS;
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    struct asker askers[2] = { { .engine = s.engine }, { .engine = s.engine } };
    pthread_t threads[2];
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    for (uint32_t at = 0; at < HALVES; at += 20)
        some_send(&s, at, at + 20);
    uint64_t calls = answer(s.engine, 3600 * NS_PER_S, &text);
    assert_int_equal(calls, CALLS - CALLS / 5 - (CALLS + 6) / 7 + (CALLS + 34) / 35);
    for (size_t i = 0; i < 2; i++) {
        askers[i].is_ending = true;
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(askers[i].asked > 0 && !askers[i].was_less);
    }
    buffer_deinit(&text);
    store_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_pairs_are_those_of_all),
        cmocka_unit_test(bodies_are_paired_once),
        cmocka_unit_test(without_room_each_pairs_by_itself),
        cmocka_unit_test(a_full_table_fits),
        cmocka_unit_test(nothing_is_missed_while_groups_are_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
