/* SPDX-License-Identifier: Apache-2.0 */
/* Pending bodies are counted once for all who ask: asked after each request, the answer says of pending spans what
 * row groups say of the same spans later; and while row groups take bodies away, and several ask at once, no span
 * is missed or counted twice. */
#include "base/random.h"
#include "storage/derive/tally.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct engine *engine;
    struct ledger ledger;
};

static void store_init(struct store *s, uint64_t seed, uint32_t rows, uint64_t age_ns)
{
    *s = (struct store){ 0 };
    scratch_make(s->directory);
    ledger_init(&s->ledger, seed, 3000);
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = rows,
                                                 .builder_age_ns = age_ns };
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
}

static void store_deinit(struct store *s)
{
    engine_close(s->engine);
    ledger_deinit(&s->ledger);
    scratch_remove(s->directory);
}

/* All series with all points, as text. */
static uint64_t answer(struct engine *e, struct buffer *out)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct red_query query = { .range = { 0, UINT64_MAX / 2, TALLY_MINUTE_NS },
                               .group = RED_BY_SERVICE | RED_BY_NAME | RED_BY_KIND | RED_BY_STATUS,
                               .wants_duration = true };
    struct red_result result = { 0 };
    uint64_t calls = 0;
    assert_int_equal(engine_red(e, &q, &query, &result), ERR_OK);
    for (size_t i = 0; i < result.count; i++) {
        const struct red_series *s = &result.series[i];
        buffer_printf(out, "%.*s %.*s %u %u\n", (int)s->service.len, (const char *)s->service.data,
                      (int)s->name.len, (const char *)s->name.data, s->kind, s->status);
        for (size_t k = 0; k < s->points_count; k++) {
            const struct red_point *p = &s->points[k];
            assert_int_equal(p->duration.count, p->calls);
            calls += p->calls;
            buffer_printf(out, "  %llu: %llu %llu %g %llu %llu %llu %llu\n",
                          (unsigned long long)p->start_unix_ns, (unsigned long long)p->calls,
                          (unsigned long long)p->errors, p->estimated_calls,
                          (unsigned long long)p->bytes, (unsigned long long)p->duration_ns,
                          (unsigned long long)p->slowest.duration_ns,
                          (unsigned long long)p->failed.start_unix_ns);
        }
    }
    arena_deinit(&arena);
    return calls;
}

static void pending_spans_count_as_stored_ones(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 5, 1 << 18, 3600 * NS_PER_S);
    struct buffer pending, stored;
    buffer_init(&pending, SIZE_MAX);
    buffer_init(&stored, SIZE_MAX);
    uint64_t before = 0;
    for (size_t i = 0; i < 3000 && before < 3 * 2048;
         i++) { /* more than the counter has room for */
        assert_int_equal(ledger_batch(&s.ledger, s.engine, i), ERR_OK);
        if (i > 50 && i % 20 != 0)
            continue;
        buffer_reset(&pending);
        uint64_t calls = answer(s.engine, &pending);
        assert_true(calls >= before);
        before = calls;
    }
    struct engine_statistics counts;
    engine_statistics(s.engine, &counts);
    assert_true(before >= 3 * 2048 && counts.spans == before);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    /* The same spans sent twice are one in a row group: ledgers send a request again, not its spans. */
    assert_int_equal(answer(s.engine, &stored), before);
    assert_int_equal(stored.len, pending.len);
    assert_memory_equal(stored.data, pending.data, stored.len);
    buffer_deinit(&pending);
    buffer_deinit(&stored);
    store_deinit(&s);
}

/* Nor does a question take the room of what arrives, and where there is none for it the answer is the same. */
static void without_room_each_counts_by_itself(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 7, 1 << 18, 3600 * NS_PER_S);
    struct pending_counts *p = &sqlite_engine_from(s.engine)->pending_counts;
    struct buffer shared, apart;
    buffer_init(&shared, SIZE_MAX);
    buffer_init(&apart, SIZE_MAX);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(ledger_batch(&s.ledger, s.engine, i), ERR_OK);
    uint64_t calls = answer(s.engine, &shared);
    assert_true(calls > 0 && budget_used(&p->budget) > 0 && p->budget.parent == NULL);

    /* Another counts, and does not stop. */
    (void)pthread_mutex_lock(&p->lock);
    assert_int_equal(answer(s.engine, &apart), calls);
    (void)pthread_mutex_unlock(&p->lock);
    assert_int_equal(apart.len, shared.len);
    assert_memory_equal(apart.data, shared.data, apart.len);

    pending_counts_tend(p, UINT64_MAX);
    assert_int_equal(budget_used(&p->budget), 0);
    size_t limit_bytes = p->budget.limit_bytes;
    p->budget.limit_bytes = 1;
    for (int i = 0; i < 2; i++) {
        buffer_reset(&apart);
        assert_int_equal(answer(s.engine, &apart), calls);
        assert_int_equal(apart.len, shared.len);
        assert_memory_equal(apart.data, shared.data, apart.len);
        assert_true(p->refused_serial != 0 && !p->has_intake);
        p->budget.limit_bytes = limit_bytes; /* not tried again with these */
    }
    assert_int_equal(budget_used(&p->budget), 0);
    buffer_deinit(&apart);
    buffer_deinit(&shared);
    store_deinit(&s);
}

struct asker {
    struct engine *engine;
    _Atomic bool is_ending;
    uint64_t asked;
    bool was_less;
};

/* What was acknowledged does not become less. */
static void *ask(void *context)
{
    struct asker *a = context;
    struct buffer text;
    uint64_t before = 0;
    buffer_init(&text, SIZE_MAX);
    do {
        buffer_reset(&text);
        uint64_t calls = answer(a->engine, &text);
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
    store_init(&s, 6, 30, NS_PER_MS);
    struct asker askers[2] = { { .engine = s.engine }, { .engine = s.engine } };
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    for (size_t i = 0; i < 150; i++) {
        assert_int_equal(ledger_batch(&s.ledger, s.engine, i), ERR_OK);
        if (i % 10 != 0)
            continue;
        struct engine_statistics counts;
        engine_statistics(s.engine, &counts);
        buffer_reset(&text);
        assert_int_equal(answer(s.engine, &text), counts.spans);
    }
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
        cmocka_unit_test(pending_spans_count_as_stored_ones),
        cmocka_unit_test(without_room_each_counts_by_itself),
        cmocka_unit_test(nothing_is_missed_while_groups_are_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
