/* SPDX-License-Identifier: Apache-2.0 */
/* Rollups in their files: many small rows become few and say the same; what a partition counted outlives it; and
 * counts equal the spans through all of that, at every step of time. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/derive/tally.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

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
    assert_int_equal(integer(path, "SELECT count(*) FROM derived WHERE 2 * length(hours) >"
                                   " length(minutes) OR 2 * length(days) > length(minutes)"),
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

/* ---- Windows --------------------------------------------------------------------------------- */

enum { SPANS_EACH = 30, SENDS = 60 };

/* A request of spans at random moments of four days, but for a few impossible ones; where they start is put into
 * `starts`. */
static void spans_send(struct store *s, struct random *r, size_t number, uint64_t *starts)
{
    struct buffer b;
    buffer_init(&b, 1 << 20);
    size_t group = pb_begin(&b, OTLP_DATA_RESOURCE_GROUPS);
    size_t scope = pb_begin(&b, OTLP_GROUP_SCOPE_GROUPS);
    for (unsigned i = 0; i < SPANS_EACH; i++) {
        uint8_t id[16] = { 1 };
        store_le64(id + 8, number * SPANS_EACH + i + 1);
        starts[i] = 20000 * TALLY_DAY_NS + random_below(r, 4 * TALLY_DAY_NS);
        if (random_below(r, 100) == 0) /* hides none of its neighbours */
            starts[i] = i % 2 == 0 ? UINT64_MAX - 1000 : UINT64_C(1) << 63 | starts[i];
        size_t span = pb_begin(&b, OTLP_SCOPE_ITEMS);
        pb_bytes(&b, 1, bytes_of(id, 16));
        pb_bytes(&b, 2, bytes_of(id + 8, 8));
        pb_bytes(&b, 5, BYTES_LITERAL("work"));
        pb_fixed64(&b, 7, starts[i]);
        pb_fixed64(&b, 8, starts[i] + 1000);
        pb_end(&b, span);
    }
    pb_end(&b, scope);
    pb_end(&b, group);
    struct append *a =
        ledger_append_make(&s->ledger, 4 * number, 1); /* of spans; with other ones */
    a->items = SPANS_EACH;
    a->journal = (struct bytes){ 0 };
    a->journal_codec = CODEC_IDENTITY;
    assert_int_equal(arena_dup(&a->arena, buffer_bytes(&b), &a->body), ERR_OK);
    assert_int_equal(ledger_send(s->engine, a), ERR_OK);
    ledger_append_free(a);
    buffer_deinit(&b);
}

/* Any window, at any step, counts the spans that start in it, widened to whole steps: of rows of all levels, of
 * sealed partitions, and of what is pending. */
static void windows_count_what_starts_in_them(void **state)
{
    static uint64_t starts[SENDS * SPANS_EACH];
    struct random r;
    struct store s;
    random_init(&r, 77);
    store_init(&s, 5);
    s.options.sums_worth_bytes = *state == NULL ? 0 : 1; /* 1: all sums that can be are kept */
    reopen(&s);
    for (size_t n = 0; n < SENDS; n++) {
        spans_send(&s, &r, n, starts + n * SPANS_EACH);
        if (n % 3 != 2)
            assert_int_equal(engine_settle(s.engine), ERR_OK);
        if (n % 20 == 19) { /* then a partition each, then one again */
            s.options.partition_bytes_max = n == 19 ? 1 : 0;
            reopen(&s);
        }
        for (unsigned k = 0; k < 10; k++) {
            uint64_t step = steps[random_below(&r, STEPS)];
            uint64_t unit = step == 0 ? TALLY_MINUTE_NS : step;
            uint64_t min = 20000 * TALLY_DAY_NS + random_below(&r, 4 * TALLY_DAY_NS);
            uint64_t max = min + random_below(&r, 3 * TALLY_DAY_NS), expected = 0;
            if (k >= 6) { /* the same again and again, of which sums are kept */
                min = 20000 * TALLY_DAY_NS + (k - 5) * 7 * TALLY_HOUR_NS;
                max = min + TALLY_DAY_NS + (k - 5) * 11 * TALLY_HOUR_NS;
                step = k % 2 == 0 ? 0 : TALLY_HOUR_NS;
                unit = TALLY_MINUTE_NS;
            }
            if (k >= 8) { /* cut within the hour, too */
                min += 17 * TALLY_MINUTE_NS;
                max += 34 * TALLY_MINUTE_NS;
                step = k % 2 == 0 ? 0 : 2 * TALLY_MINUTE_NS;
                unit = step == 0 ? TALLY_MINUTE_NS : step;
            }
            uint64_t from = min - min % unit, to = (max + unit - 1) / unit * unit;
            for (size_t i = 0; i < (n + 1) * SPANS_EACH; i++)
                expected += starts[i] >= from && starts[i] < to;
            assert_int_equal(calls(&s, step, min, max), expected);
        }
    }
    assert_true(statistics(&s).partitions > 2);
    char path[160];
    (void)snprintf(path, sizeof path, "%s/catalog.db", s.directory);
    assert_true(integer(path, "SELECT count(*) FROM rollup_merged") > 0);
    store_deinit(&s);
}

/* Of partitions that are gone there are hours, which are counted once however the window is cut. */
static void pieces_say_what_the_whole_says(void **state)
{
    (void)state;
    enum { WINDOWS = 150, PARTITIONS = 14 };
    static uint64_t starts[SPANS_EACH], windows[WINDOWS][2], whole[WINDOWS];
    const uint64_t fine[] = { 0, TALLY_MINUTE_NS, 2 * TALLY_MINUTE_NS, 15 * TALLY_MINUTE_NS };
    struct random r;
    struct store s;
    random_init(&r, 83);
    store_init(&s, 12);
    s.options.partition_bytes_max = 1;
    reopen(&s);
    for (size_t n = 0; n < PARTITIONS; n++) {
        spans_send(&s, &r, n, starts);
        assert_int_equal(engine_settle(s.engine), ERR_OK);
        for (int look = 0; look < 3000 && statistics(&s).partitions < n + 2; look++)
            (void)usleep(5000);
    }
    s.options.retention_bytes = 1; /* all but the last ones go */
    reopen(&s);
    for (int look = 0; look < 3000 && statistics(&s).partitions > 2; look++)
        (void)usleep(10000);
    assert_true(statistics(&s).partitions <= 2);
    s.options.retention_bytes = 0;
    for (size_t i = 0; i < WINDOWS; i++) {
        windows[i][0] = 20000 * TALLY_DAY_NS + random_below(&r, 4 * TALLY_DAY_NS);
        windows[i][1] =
            windows[i][0] + random_below(&r, i % 2 == 0 ? TALLY_DAY_NS * 2 : TALLY_HOUR_NS * 2);
    }
    s.options.sums_worth_bytes = UINT64_MAX; /* nothing is cut */
    reopen(&s);
    uint64_t all = 0;
    for (size_t i = 0; i < WINDOWS; i++) {
        whole[i] = calls(&s, fine[i % 4], windows[i][0], windows[i][1]);
        all += whole[i];
    }
    assert_true(all > WINDOWS);
    s.options.sums_worth_bytes = 1;
    reopen(&s);
    for (unsigned again = 0; again < 2; again++)
        for (size_t i = 0; i < WINDOWS; i++)
            assert_int_equal(calls(&s, fine[i % 4], windows[i][0], windows[i][1]), whole[i]);
    store_deinit(&s);
}

/* ---- The catalogue's rows -------------------------------------------------------------------- */

/* The catalogue's row count once it is `wanted`, or what it is after a long wait. */
static int64_t rows_once(struct store *s, const char *sql, int64_t wanted)
{
    char path[160];
    int64_t now = 0;
    (void)snprintf(path, sizeof path, "%s/catalog.db", s->directory);
    for (int look = 0; look < 3000; look++) {
        now = integer(path, sql);
        if (now == wanted)
            break;
        (void)usleep(10000);
    }
    return now;
}

/* Where nothing finer is left than days, whole ones are counted, in one piece and in several. */
static void days_alone_count(struct store *s)
{
    enum { DAYS = 4 };
    uint64_t whole[DAYS + 1][DAYS + 1], sum = 0;
    char path[160];
    sqlite3 *db = NULL;
    engine_close(s->engine);
    (void)snprintf(path, sizeof path, "%s/catalog.db", s->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "CREATE TABLE kept AS SELECT * FROM rollup;"
                                  "DELETE FROM rollup WHERE length(days) = 0",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    for (unsigned cut = 0; cut < 2; cut++) {
        s->options.sums_worth_bytes = cut == 0 ? UINT64_MAX : 1;
        assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
        for (uint64_t from = 0; from < DAYS; from++) {
            for (uint64_t to = from + 1; to <= DAYS; to++) {
                uint64_t count =
                    calls(s, 0, (20000 + from) * TALLY_DAY_NS, (20000 + to) * TALLY_DAY_NS);
                if (cut == 0)
                    whole[from][to] = count;
                assert_int_equal(count, whole[from][to]);
                sum += count;
            }
        }
        engine_close(s->engine);
    }
    assert_true(sum > 1000);
    assert_int_equal(
        sqlite3_exec(db,
                     "DELETE FROM rollup; INSERT INTO rollup SELECT * FROM kept; DROP TABLE kept",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    s->options.sums_worth_bytes = 0;
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
}

/* Days of partitions, also of those that are gone, are merged again and again, and say the same. */
static void days_are_merged_and_say_the_same(void **state)
{
    (void)state;
    static uint64_t starts[SPANS_EACH];
    uint64_t spans = 0;
    struct random r;
    struct store s;
    random_init(&r, 78);
    store_init(&s, 6);
    s.options.partition_bytes_max = 1;
    reopen(&s);
    enum { PARTITIONS = 70 };
    for (size_t n = 0; n < PARTITIONS; n++) {
        spans_send(&s, &r, n, starts);
        for (size_t i = 0; i < SPANS_EACH; i++)
            spans += starts[i] < UINT64_MAX / 2;
        assert_int_equal(engine_settle(s.engine), ERR_OK);
        for (int look = 0; look < 3000 && statistics(&s).partitions < n + 2; look++)
            (void)usleep(5000); /* a new one is open */
        if (n == 40)
            reopen(&s);
    }
    /* 70 are sealed but for the last ones: 8 times 8 in one row of level 2. */
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM rollup_merged WHERE level = 2", 1), 1);
    assert_true(rows_once(&s, "SELECT count(*) < 8 FROM rollup WHERE length(days) > 0", 1));
    all_steps_count(&s, spans);
    s.options.retention_bytes = 1 << 20; /* of partitions of a hundred KiB: most go */
    reopen(&s);
    for (int look = 0; look < 3000 && statistics(&s).partitions > 20; look++)
        (void)usleep(10000);
    assert_true(statistics(&s).partitions <= 20);
    all_steps_count(&s, spans);
    s.options.retention_bytes = 0;
    reopen(&s);
    all_steps_count(&s, spans);
    days_alone_count(&s);
    all_steps_count(&s, spans);
    /* What is counted of the gone ones goes at last, and what is kept stays whole. */
    s.options.retention_rollups_ns = 1;
    reopen(&s);
    assert_int_equal(rows_once(&s,
                               "SELECT count(*) FROM rollup WHERE partition NOT IN"
                               " (SELECT id FROM partition)",
                               0),
                     0);
    uint64_t left = calls(&s, TALLY_MINUTE_NS, 0, UINT64_MAX / 2);
    assert_true(left > 0 && left < spans);
    assert_int_equal(calls(&s, TALLY_HOUR_NS, 0, UINT64_MAX / 2), left);
    /* Days leave when the last of those that they were merged with has. */
    s.options.retention_bytes = 1;
    reopen(&s);
    for (int look = 0; look < 3000 && statistics(&s).partitions > 2; look++)
        (void)usleep(10000);
    s.options.retention_bytes = 0;
    reopen(&s);
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM rollup_merged", 0), 0);
    all_steps_count(&s, calls(&s, TALLY_MINUTE_NS, 0, UINT64_MAX / 2));
    store_deinit(&s);
}

/* ---- Damage ---------------------------------------------------------------------------------- */

static void execute(struct store *s, const char *file, const char *sql)
{
    char path[160];
    sqlite3 *db = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", s->directory, file);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_changes(db) > 0);
    (void)sqlite3_close(db);
}

/* Garbage where a table begins. */
static void root_spoil(struct store *s, const char *file, const char *table)
{
    char path[160], sql[128];
    uint8_t garbage[512];
    memset(garbage, 0xa5, sizeof garbage);
    (void)snprintf(path, sizeof path, "%s/%s", s->directory, file);
    (void)snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
    int64_t page = integer(path, sql), size = integer(path, "PRAGMA page_size");
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)((page - 1) * size), SEEK_SET), 0);
    assert_int_equal(fwrite(garbage, 1, sizeof garbage, f), sizeof garbage);
    assert_int_equal(fclose(f), 0);
}

static bool is_said_damaged(struct store *s, uint64_t *out_calls)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    const struct red_query query = { .range = { 0, UINT64_MAX / 2, 0 } };
    const struct edge_query edges = { .range = query.range };
    struct red_result red = { 0 };
    struct edge_result map = { 0 };
    assert_int_equal(engine_red(s->engine, &q, &query, &red), ERR_OK);
    assert_int_equal(engine_edges(s->engine, &q, &edges, &map), ERR_OK);
    assert_int_equal(map.is_damaged, red.is_damaged);
    *out_calls = 0;
    for (size_t i = 0; i < red.count; i++)
        for (size_t k = 0; k < red.series[i].points_count; k++)
            *out_calls += red.series[i].points[k].calls;
    bool is_damaged = red.is_damaged;
    arena_deinit(&arena);
    return is_damaged;
}

static bool first_partition_is_said_damaged(struct store *s)
{
    struct arena arena;
    arena_init(&arena, (size_t)1 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct stored_partition *list = NULL;
    size_t count = 0;
    assert_int_equal(engine_partitions(s->engine, &q, &list, &count), ERR_OK);
    assert_true(count > 0);
    bool is_damaged = list[0].is_damaged;
    arena_deinit(&arena);
    return is_damaged;
}

static uint64_t damage_counted(struct store *s)
{
    return metric_value(metrics_counter(s->options.metrics, "spindle_storage_damaged_total",
                                        "what=\"rollup\"", ""));
}

/* Asked again and again, the same is found, and is counted once; nothing of it is kept as a sum. */
static void damage_is_said(struct store *s, uint64_t spans)
{
    uint64_t seen = 0, before = damage_counted(s);
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(is_said_damaged(s, &seen));
        assert_true(seen < spans);
    }
    assert_int_equal(statistics(s).rollups_damaged, 1);
    assert_int_equal(damage_counted(s) - before, 1);
}

/* What a sealed partition lacks is said, when it is read, after a start, and when its file is gone. */
static void sealing_keeps_what_is_lost(void **state)
{
    (void)state;
    struct store s;
    uint64_t seen = 0;
    store_init(&s, 10);
    s.options.metrics = metrics_open();
    fill(&s, 0, 8);
    engine_close(s.engine);
    execute(&s, "p000001.db",
            "UPDATE derived SET minutes = substr(minutes, 1, length(minutes) - 1)"
            " WHERE id = (SELECT max(id) FROM derived)");
    s.options.partition_bytes_max = 1;
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    fill(&s, 8, 9);
    uint64_t spans = statistics(&s).spans;
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM rollup WHERE partition = 1", 1), 1);
    assert_true(is_said_damaged(&s, &seen));
    assert_true(seen > 0 && seen < spans);
    engine_close(s.engine);
    damage_is_said(&s, spans);
    engine_close(s.engine);
    s.options.retention_bytes = 1;
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM partition WHERE id = 1", 0), 0);
    assert_true(is_said_damaged(&s, &seen));
    engine_close(s.engine);
    s.options.retention_bytes = 0;
    damage_is_said(&s, spans);
    struct metrics *metrics = s.options.metrics;
    store_deinit(&s);
    metrics_close(metrics);
}

/* One row; all of them; and of a sealed partition, what the catalogue has, and what it does not. */
static void damaged_rows_are_said(void **state)
{
    (void)state;
    struct store s;
    uint64_t seen = 0;
    store_init(&s, 9);
    s.options.metrics = metrics_open();
    s.options.sums_worth_bytes = 1;
    reopen(&s);
    fill(&s, 0, 8);
    uint64_t spans = statistics(&s).spans;
    assert_false(is_said_damaged(&s, &seen));
    assert_int_equal(seen, spans);
    assert_int_equal(statistics(&s).rollups_damaged, 0);
    engine_close(s.engine);

    execute(&s, "p000001.db",
            "CREATE TABLE kept AS SELECT * FROM derived;"
            "UPDATE derived SET minutes = substr(minutes, 1, length(minutes) - 1)"
            " WHERE id = (SELECT max(id) FROM derived)");
    damage_is_said(&s, spans);
    assert_true(first_partition_is_said_damaged(&s));
    assert_true(is_said_damaged(&s, &seen));
    assert_true(seen > 0); /* what is intact is counted */
    engine_close(s.engine);
    execute(&s, "p000001.db",
            "UPDATE derived SET minutes ="
            " (SELECT minutes FROM kept WHERE kept.id = derived.id)");

    s.options.partition_bytes_max = 1;
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    assert_false(is_said_damaged(&s, &seen));
    assert_int_equal(seen, spans);
    fill(&s, 8, 9);
    spans = statistics(&s).spans;
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM rollup WHERE partition = 1", 1), 1);
    engine_close(s.engine);
    execute(&s, "catalog.db",
            "UPDATE rollup SET hours = substr(hours, 1, length(hours) - 1),"
            " days = substr(days, 1, length(days) - 1) WHERE partition = 1");
    damage_is_said(&s, spans);
    assert_true(first_partition_is_said_damaged(&s));
    engine_close(s.engine);
    root_spoil(&s, "p000001.db", "derived");
    execute(&s, "catalog.db", "DELETE FROM rollup");
    damage_is_said(&s, spans);
    struct metrics *metrics = s.options.metrics;
    store_deinit(&s);
    metrics_close(metrics);
}

/* What cannot be merged is passed over, and what comes behind it is merged. */
static void rows_are_merged_beside_damaged_ones(void **state)
{
    (void)state;
    struct store s;
    char path[160];
    uint64_t seen = 0;
    store_init(&s, 3);
    fill(&s, 0, 8);
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    assert_true(integer(path, "SELECT count(*) FROM derived") > 2);
    engine_close(s.engine);
    execute(&s, "p000001.db",
            "UPDATE derived SET minutes = substr(minutes, 1, length(minutes) - 1)"
            " WHERE id = (SELECT max(id) FROM derived)");
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    fill(&s, 8, 80);
    assert_true(integer(path, "SELECT max(level) FROM derived") >= 1);
    assert_true(integer(path, "SELECT count(*) FROM derived") < 40);
    assert_true(is_said_damaged(&s, &seen));
    assert_true(seen < statistics(&s).spans);
    assert_int_equal(statistics(&s).rollups_damaged, 1);
    store_deinit(&s);
}

/* A request of spans of one day: of services with many names each; or of one service, whose names differ in one
 * place, where every eighth has the same word. */
enum { SERVICES = 4, NAMES = 400 };
static void names_send(struct store *s, size_t day, bool is_one)
{
    struct buffer b;
    buffer_init(&b, 1 << 20);
    for (unsigned i = 0; i < SERVICES * NAMES; i++) {
        size_t group = pb_begin(&b, OTLP_DATA_RESOURCE_GROUPS);
        char service[] = { 's', (char)('a' + (is_one ? 25 : i % SERVICES)) };
        char name[64];
        int len = snprintf(name, sizeof name, "%s%c%c%c%c%s", is_one ? "GET /u/" : "n",
                           (int)('a' + i / 26 % 26), (int)('a' + i % 26), (int)('a' + i / 676),
                           is_one ? (int)('a' + day) : 'x', is_one ? "/photos" : "");
        if (is_one && i % 8 == 0)
            len = snprintf(name, sizeof name, "GET /u/cart/photos");
        size_t resource = pb_begin(&b, 1), attribute = pb_begin(&b, 1), value;
        pb_bytes(&b, 1, BYTES_LITERAL("service.name"));
        value = pb_begin(&b, 2);
        pb_bytes(&b, 1, bytes_of(service, sizeof service));
        pb_end(&b, value);
        pb_end(&b, attribute);
        pb_end(&b, resource);
        size_t scope = pb_begin(&b, OTLP_GROUP_SCOPE_GROUPS);
        uint8_t id[16] = { 2 };
        store_le64(id + 8, day * SERVICES * NAMES + i + 1);
        uint64_t start = (20000 + day) * TALLY_DAY_NS + i;
        size_t span = pb_begin(&b, OTLP_SCOPE_ITEMS);
        pb_bytes(&b, 1, bytes_of(id, 16));
        pb_bytes(&b, 2, bytes_of(id + 8, 8));
        pb_bytes(&b, 5, bytes_of(name, (size_t)len));
        pb_fixed64(&b, 7, start);
        pb_fixed64(&b, 8, start + 1000 + i);
        pb_end(&b, span);
        pb_end(&b, scope);
        pb_end(&b, group);
    }
    struct append *a = ledger_append_make(&s->ledger, 4 * day, 1);
    a->items = SERVICES * NAMES;
    a->journal = (struct bytes){ 0 };
    a->journal_codec = CODEC_IDENTITY;
    assert_int_equal(arena_dup(&a->arena, buffer_bytes(&b), &a->body), ERR_OK);
    assert_int_equal(ledger_send(s->engine, a), ERR_OK);
    ledger_append_free(a);
    buffer_deinit(&b);
}

/* Eight days of many series do not fit the memory that merging has: fewer at a time do, and say the same. */
static void days_that_do_not_fit_are_merged_with_fewer(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 8);
    s.options.partition_bytes_max = 1;
    s.options.builder_rows = 4000;
    reopen(&s);
    enum { DAYS = 8 };
    for (size_t day = 0; day < DAYS; day++) {
        if (day == DAYS - 1) { /* the eighth is sealed when there is less */
            s.options.memory_bytes = (size_t)10 << 20;
            reopen(&s);
        }
        names_send(&s, day, false);
        assert_int_equal(engine_settle(s.engine), ERR_OK);
        for (int look = 0; look < 3000 && statistics(&s).partitions < day + 2; look++)
            (void)usleep(5000);
    }
    int64_t merged = rows_once(&s, "SELECT min(count(*), 1) FROM rollup_merged", 1);
    assert_int_equal(merged, 1);
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM rollup WHERE length(days) > 0", 0), 0);
    char path[160];
    (void)snprintf(path, sizeof path, "%s/catalog.db", s.directory);
    assert_true(integer(path, "SELECT count(*) FROM rollup_merged WHERE level = 1") > 1);
    s.options.memory_bytes = 0;
    reopen(&s);
    all_steps_count(&s, DAYS * SERVICES * NAMES);
    store_deinit(&s);
}

/* out_kept: of the word that comes again and again. */
static size_t names_counted(struct store *s, uint64_t *out_kept)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct red_query query = { .range = { 0, UINT64_MAX / 2, 0 },
                               .group = RED_BY_SERVICE | RED_BY_NAME,
                               .service = BYTES_LITERAL("sz") };
    struct red_result result = { 0 };
    assert_int_equal(engine_red(s->engine, &q, &query, &result), ERR_OK);
    *out_kept = 0;
    for (size_t i = 0; i < result.count; i++)
        for (size_t k = 0; k < result.series[i].points_count; k++)
            if (bytes_equal_text(result.series[i].name, "GET /u/cart/photos"))
                *out_kept += result.series[i].points[k].calls;
    arena_deinit(&arena);
    return result.count;
}

/* A template that was learned goes on counting after a start, and the names that it stands for are not new ones. */
static void templates_outlive_a_restart(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 9);
    names_send(&s, 0, true);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    uint64_t kept = 0, before = 0;
    size_t names = names_counted(&s, &before);
    assert_true(before > 0 && before <= SERVICES * NAMES / 8);
    assert_true(names > 400 && names < 600); /* the first ones, and the template */
    reopen(&s);
    names_send(&s, 1, true);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    assert_int_equal(names_counted(&s, &kept), names);
    assert_int_equal(kept, before + SERVICES * NAMES / 8);
    /* Also of a partition that is sealed. */
    s.options.partition_bytes_max = 1;
    reopen(&s);
    names_send(&s, 2, true);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    for (int look = 0; look < 3000 && statistics(&s).partitions < 2; look++)
        (void)usleep(5000);
    reopen(&s);
    names_send(&s, 3, true);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    assert_int_equal(names_counted(&s, &kept), names);
    assert_int_equal(kept, before + 3 * SERVICES * NAMES / 8);
    store_deinit(&s);
}

/* ---- Verifying ------------------------------------------------------------------------------- */

static void complaint_count(void *context, const char *file, const char *text)
{
    (void)file;
    *(unsigned *)context += strstr(text, "rollups") != NULL;
}

static unsigned complaints(struct store *s)
{
    unsigned count = 0;
    (void)!sqlite_engine_verify(s->directory, complaint_count, &count);
    return count;
}

/* Each column of the catalogue's rows: cut short; and a row that is lost. */
static void verifying_reads_the_catalogue(void **state)
{
    (void)state;
    static uint64_t starts[SPANS_EACH];
    struct random r;
    struct store s;
    random_init(&r, 79);
    store_init(&s, 7);
    s.options.partition_bytes_max = 1;
    reopen(&s);
    for (size_t n = 0; n < 12; n++) {
        spans_send(&s, &r, n, starts);
        assert_int_equal(engine_settle(s.engine), ERR_OK);
        for (int look = 0; look < 3000 && statistics(&s).partitions < n + 2; look++)
            (void)usleep(5000);
    }
    assert_int_equal(rows_once(&s, "SELECT count(*) FROM rollup_merged", 1), 1);
    assert_int_equal(rows_once(&s, "SELECT count(*) > 0 FROM rollup WHERE length(days) > 0", 1), 1);
    engine_close(s.engine);
    assert_int_equal(complaints(&s), 0);
    static const char *const damages[][2] = {
        { "UPDATE rollup_merged SET days = substr(days, 1, length(days) - 1)",
          "UPDATE rollup_merged SET days = (SELECT days FROM kept_merged)" },
        { "UPDATE rollup SET hours = substr(hours, 1, length(hours) - 1)"
          " WHERE partition = 3",
          "UPDATE rollup SET hours = (SELECT hours FROM kept WHERE partition = 3)"
          " WHERE partition = 3" },
        { "UPDATE rollup SET days = substr(days, 1, length(days) - 1)"
          " WHERE partition = (SELECT max(partition) FROM rollup WHERE length(days) > 0)",
          "UPDATE rollup SET days = (SELECT days FROM kept WHERE kept.partition ="
          " rollup.partition)" },
        { "DELETE FROM rollup_merged", "INSERT INTO rollup_merged SELECT * FROM kept_merged" },
    };
    execute(&s, "catalog.db",
            "CREATE TABLE kept AS SELECT * FROM rollup;"
            "CREATE TABLE kept_merged AS SELECT * FROM rollup_merged;"
            "UPDATE kept SET tenant = tenant");
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        execute(&s, "catalog.db", damages[i][0]);
        assert_true(complaints(&s) > 0);
        execute(&s, "catalog.db", damages[i][1]);
        assert_int_equal(complaints(&s), 0);
    }
    assert_int_equal(sqlite_engine_open(&s.options, &s.engine, NULL), ERR_OK);
    store_deinit(&s);
}

/* ---- Halves ---------------------------------------------------------------------------------- */

enum { LONE_BODY = 1024, LONE_BODIES = 12, LONE_GROUPS = 9 };

static void lone_group_store(struct store *s, uint64_t number)
{
    sqlite_engine_from(s->engine)->derived.halves_bytes += DERIVED_HALVES_BYTES; /* time to look */
    for (uint64_t i = 0; i < LONE_BODIES; i++)
        assert_int_equal(send_lone_callers(s->engine, number * LONE_BODIES + i, LONE_BODY), ERR_OK);
    assert_int_equal(engine_settle(s->engine), ERR_OK);
}

static const struct half *oldest_waiting(struct store *s)
{
    const struct half_table *t = &sqlite_engine_from(s->engine)->derived.halves;
    assert_int_equal(t->waiting.count, t->entries_max);
    assert_int_equal(t->lost, 0);
    return &t->entries[t->waiting.first].half;
}

/* Of the newest partition. */
static void newest_path(struct store *s, char path[160])
{
    unsigned newest = 1;
    do
        (void)snprintf(path, 160, "%s/p%06u.db", s->directory, ++newest);
    while (access(path, F_OK) == 0);
    (void)snprintf(path, 160, "%s/p%06u.db", s->directory, newest - 1);
}

/* Of halves as much is stored as the table holds, and not all that came in the time that they may wait; and a start makes
 * the same table of it, also where what became of halves of one partition stood in rows of the next. */
static void lone_callers_do_not_fill_the_disk(void **state)
{
    (void)state;
    struct store s;
    char path[160];
    store_init(&s, 9);
    s.options.builder_rows = 1 << 18;
    s.options.builder_age_ns = 3600 * NS_PER_S;
    reopen(&s);
    for (uint64_t turn = 1; turn <= 2; turn++) {
        int64_t most = 0;
        for (uint64_t g = 0; g < LONE_GROUPS; g++) {
            lone_group_store(&s, turn * LONE_GROUPS + g);
            newest_path(&s, path);
            int64_t rows = integer(path, "SELECT count(*) FROM half");
            most = rows > most ? rows : most;
        }
        /* So many fill the table, one is old since this group came, and the new one. */
        assert_in_range(most, 5, HALVES_MAX / (LONE_BODY * LONE_BODIES) + 3);
        uint64_t trace = oldest_waiting(&s)->trace_low;
        reopen(&s);
        assert_int_equal(oldest_waiting(&s)->trace_low, trace);
        if (turn == 1) {
            s.options.partition_bytes_max = 1; /* the next group is the first of another */
            reopen(&s);
            lone_group_store(&s, 0);
            s.options.partition_bytes_max = 0;
            reopen(&s);
        }
    }
    /* A start with fewer places keeps the newest. */
    const struct half_table *t = &sqlite_engine_from(s.engine)->derived.halves;
    uint64_t newest = t->entries[t->waiting.last].half.trace_low;
    s.options.memory_bytes = (size_t)16 << 20;
    reopen(&s);
    t = &sqlite_engine_from(s.engine)->derived.halves;
    assert_int_equal(t->waiting.count, t->entries_max);
    assert_true(t->lost > 0);
    assert_int_equal(t->entries[t->waiting.last].half.trace_low, newest);
    store_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_rows_become_few_and_say_the_same),
        cmocka_unit_test(rollups_outlive_their_spans),
        cmocka_unit_test(windows_count_what_starts_in_them),
        cmocka_unit_test_prestate(windows_count_what_starts_in_them, (void *)1),
        cmocka_unit_test(pieces_say_what_the_whole_says),
        cmocka_unit_test(days_are_merged_and_say_the_same),
        cmocka_unit_test(damaged_rows_are_said),
        cmocka_unit_test(sealing_keeps_what_is_lost),
        cmocka_unit_test(rows_are_merged_beside_damaged_ones),
        cmocka_unit_test(days_that_do_not_fit_are_merged_with_fewer),
        cmocka_unit_test(templates_outlive_a_restart),
        cmocka_unit_test(verifying_reads_the_catalogue),
        cmocka_unit_test(lone_callers_do_not_fill_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
