/* SPDX-License-Identifier: Apache-2.0 */
/* Rollups in their files: many small rows become few and say the same; what a partition counted outlives it; and
 * counts equal the spans through all of that, at every step of time. */
#include "storage/sqlite/sqlite_engine.h"

#include "storage/derive/tally.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct engine *engine;
    struct ledger ledger;
};

static void store_init(struct store *s, uint64_t seed)
{
    *s = (struct store){ 0 };
    scratch_make(s->directory);
    ledger_init(&s->ledger, seed, 400);
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = 40,
                                                 .builder_age_ns = NS_PER_MS,
                                                 .maintain_interval_ns = 5 * NS_PER_MS };
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
}

static void store_deinit(struct store *s)
{
    engine_close(s->engine);
    ledger_deinit(&s->ledger);
    scratch_remove(s->directory);
}

static void reopen(struct store *s)
{
    engine_close(s->engine);
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
}

static void fill(struct store *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        assert_int_equal(ledger_batch(&s->ledger, s->engine, i), ERR_OK);
        assert_int_equal(engine_settle(s->engine), ERR_OK);
    }
}

static struct engine_statistics statistics(struct store *s)
{
    struct engine_statistics out;
    engine_statistics(s->engine, &out);
    return out;
}

static uint64_t calls(struct store *s, uint64_t step_ns, uint64_t min_unix_ns, uint64_t max_unix_ns)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct red_query query = { .range = { min_unix_ns, max_unix_ns, step_ns },
                               .group = RED_BY_SERVICE | RED_BY_NAME,
                               .wants_duration = true };
    struct red_result result = { 0 };
    uint64_t sum = 0;
    assert_int_equal(engine_red(s->engine, &q, &query, &result), ERR_OK);
    for (size_t i = 0; i < result.count; i++) {
        for (size_t k = 0; k < result.series[i].points_count; k++) {
            assert_int_equal(result.series[i].points[k].duration.count,
                             result.series[i].points[k].calls);
            sum += result.series[i].points[k].calls;
        }
    }
    arena_deinit(&arena);
    return sum;
}

static const uint64_t steps[] = {
    0, TALLY_MINUTE_NS, 5 * TALLY_MINUTE_NS, TALLY_HOUR_NS, 6 * TALLY_HOUR_NS, TALLY_DAY_NS
};
#define STEPS (sizeof steps / sizeof *steps)

static void all_steps_count(struct store *s, uint64_t spans)
{
    for (size_t i = 0; i < STEPS; i++)
        assert_int_equal(calls(s, steps[i], 0, UINT64_MAX / 2), spans);
}

static int64_t integer(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t v = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    return v;
}

static void many_rows_become_few_and_say_the_same(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 3);
    char path[160];
    for (size_t i = 0; i < 120; i += 20) {
        fill(&s, i, i + 20);
        all_steps_count(&s, statistics(&s).spans);
    }
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    assert_true(integer(path, "SELECT count(*) FROM derived") <
                40); /* of 90 retirements of spans */
    assert_true(integer(path, "SELECT max(level) FROM derived") >= 1);
    assert_int_equal(integer(path, "SELECT count(*) FROM derived WHERE level > 0 AND"
                                   " (length(hours) = 0 OR length(days) = 0)"),
                     0);
    uint64_t spans = statistics(&s).spans;
    reopen(&s);
    all_steps_count(&s, spans);
    store_deinit(&s);
}

/* Spans go with their partitions; what was counted of them stays, in hours. */
static void rollups_outlive_their_spans(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 4);
    s.options.partition_bytes_max = 1;
    reopen(&s);
    fill(&s, 0, 40);
    struct engine_statistics before = statistics(&s), now = before;
    assert_true(before.partitions > 4);
    all_steps_count(&s, before.spans);
    s.options.retention_bytes = 1;
    reopen(&s);
    for (int look = 0; look < 500; look++) {
        now = statistics(&s);
        if (now.partitions <= 2)
            break;
        (void)usleep(10000);
    }
    assert_true(now.partitions <= 2);
    assert_true(now.spans < before.spans);
    all_steps_count(&s, before.spans);
    s.options.retention_bytes = 0;
    reopen(&s);
    all_steps_count(&s, before.spans);
    fill(&s, 40, 44);
    all_steps_count(&s, before.spans + statistics(&s).spans - now.spans);
    store_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_rows_become_few_and_say_the_same),
        cmocka_unit_test(rollups_outlive_their_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
