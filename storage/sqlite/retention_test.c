/* SPDX-License-Identifier: Apache-2.0 */
/* Retention on the real disk: partitions go when they are old by the time that passed and by nothing else, or
 * when all are too large; what is left is whole; what a query looks at stays until it has ended; and a
 * removal that was cut short is finished by the next start. Removals are killed at each of their steps in
 * crash_test, and cut in power_test. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/mem.h"
#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/sqlite/retention_clock.h"
#include "storage/sqlite/schema.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NS_PER_DAY (86400 * NS_PER_S)
#define START_NS   (UINT64_C(1790000000) * NS_PER_S)
#define PATIENCE   3000 /* looks of 10 ms for what must happen; 40 for what must not */

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct engine *engine;
    struct ledger ledger;
    struct metrics *metrics;
};

static void store_open(struct store *s)
{
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
}

static void store_init(struct store *s, uint64_t seed)
{
    *s = (struct store){ 0 };
    scratch_make(s->directory);
    ledger_init(&s->ledger, seed, 400);
    s->metrics = metrics_open();
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = 60,
                                                 .builder_age_ns = NS_PER_MS,
                                                 .partition_bytes_max = 1,
                                                 .maintain_interval_ns = 5 * NS_PER_MS,
                                                 .metrics = s->metrics };
}

static void store_deinit(struct store *s)
{
    engine_close(s->engine);
    metrics_close(s->metrics);
    ledger_deinit(&s->ledger);
    scratch_remove(s->directory);
}

static uint64_t partitions(struct store *s)
{
    struct engine_statistics statistics;
    engine_statistics(s->engine, &statistics);
    return statistics.partitions;
}

/* Batches [from, to), each `many` of them in a partition of its own. */
static void fill(struct store *s, size_t from, size_t to, size_t many)
{
    for (size_t i = from; i < to; i++) {
        assert_int_equal(ledger_batch(&s->ledger, s->engine, i), ERR_OK);
        if ((i + 1) % many != 0)
            continue;
        assert_int_equal(engine_settle(s->engine), ERR_OK);
        uint64_t before = partitions(s);
        for (int look = 0; look < 100 && partitions(s) <= before; look++)
            (void)usleep(10000);
    }
}

static uint64_t wait_for_at_most(struct store *s, uint64_t wanted, int looks)
{
    uint64_t now = partitions(s);
    for (int look = 0; look < looks && now > wanted; look++) {
        (void)usleep(10000);
        now = partitions(s);
    }
    return now;
}

static uint64_t counter(struct store *s, const char *name, const char *labels)
{
    return metric_value(metrics_counter(s->metrics, name, labels, ""));
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

static void verifies(struct store *s)
{
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s->directory, report, &complaints), ERR_OK);
    assert_int_equal(complaints, 0);
}

/* ---- Age --------------------------------------------------------------------------------------------- */

static void age_is_time_that_passed(void **state)
{
    (void)state;
    struct store s;
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 5);
    s.options.retention_age_ns = 30 * NS_PER_DAY;
    store_open(&s);
    fill(&s, 0, 24, 8);
    uint64_t before = partitions(&s);
    assert_true(before >= 3);

    /* Ten years by the wall clock, and none that passed. */
    clock_fake_set(START_NS + 3650 * NS_PER_DAY, 1001 * NS_PER_S);
    assert_true(wait_for_at_most(&s, before - 1, 40) >= before);
    assert_true(ledger_check(&s.ledger, s.engine));
    engine_close(s.engine);
    store_open(&s);
    assert_true(wait_for_at_most(&s, before - 1, 40) >= before);
    assert_true(ledger_check(&s.ledger, s.engine));

    /* Nearly all of the time passes, the last bit of it while nothing runs; the wall clock is set back. */
    clock_fake_set(START_NS - 100 * NS_PER_DAY, 1001 * NS_PER_S + 29 * NS_PER_DAY);
    assert_true(wait_for_at_most(&s, before - 1, 40) >= before);
    engine_close(s.engine);
    verifies(&s);
    clock_fake_set(START_NS - 99 * NS_PER_DAY, 1002 * NS_PER_S + 30 * NS_PER_DAY);
    store_open(&s);
    for (size_t i = 0; i < 24; i++)
        s.ledger.outcomes[i] = LEDGER_UNKNOWN; /* expired, but for those of the newest */
    assert_true(wait_for_at_most(&s, 2, PATIENCE) <= 2);
    assert_true(counter(&s, "spindle_expired_items_total", "signal=\"traces\",reason=\"age\"") > 0);
    assert_true(counter(&s, "spindle_expired_items_total", "signal=\"logs\",reason=\"age\"") > 0);
    assert_true(counter(&s, "spindle_expired_partitions_total", "reason=\"age\"") >= before - 2);
    assert_true(counter(&s, "spindle_expired_bytes_total", "reason=\"age\"") > 0);
    assert_int_equal(counter(&s, "spindle_expired_bytes_total", "reason=\"size\""), 0);
    fill(&s, 24, 32, 8);
    assert_true(ledger_check(&s.ledger, s.engine));
    char path[256];
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    assert_int_not_equal(access(path, F_OK), 0);
    (void)snprintf(path, sizeof path, "%s/p000001.db-wal", s.directory);
    assert_int_not_equal(access(path, F_OK), 0);
    engine_close(s.engine);
    verifies(&s);
    store_open(&s);
    assert_true(ledger_check(&s.ledger, s.engine));
    store_deinit(&s);
    clock_fake_off();
}

#if SPINDLE_FAULTS
/* The control: by the wall clock, a jump forward removes what nobody asked to lose. */
static void wall_clock_is_noticed(void **state)
{
    (void)state;
    struct store s;
    (void)setenv("SPINDLE_DEFECT", "retention-wall-clock", 1);
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 5);
    s.options.retention_age_ns = 30 * NS_PER_DAY;
    store_open(&s);
    fill(&s, 0, 24, 8);
    uint64_t before = partitions(&s);
    clock_fake_set(START_NS + 3650 * NS_PER_DAY, 1001 * NS_PER_S);
    assert_true(wait_for_at_most(&s, before - 1, PATIENCE) < before);
    s.ledger.is_quiet = true;
    assert_false(ledger_check(&s.ledger, s.engine));
    store_deinit(&s);
    clock_fake_off();
    (void)unsetenv("SPINDLE_DEFECT");
}
#endif

/* The clock itself: what is stored, and what a new start of the system makes of it. */
static void clock_goes_on_after_a_restart(void **state)
{
    (void)state;
    char directory[128];
    struct catalog *catalog = NULL;
    uint32_t version = 0;
    scratch_make(directory);
    assert_int_equal(catalog_open(directory, NULL, &catalog, &version), ERR_OK);
    struct retention_clock c;
    clock_fake_set(START_NS, 500 * NS_PER_S);
    assert_int_equal(retention_clock_load(&c, catalog), ERR_OK);
    assert_int_equal(retention_clock_now(&c), START_NS);
    assert_int_equal(retention_clock_store(&c, catalog), ERR_OK);
    clock_fake_set(1, 600 * NS_PER_S);
    assert_int_equal(retention_clock_now(&c), START_NS + 100 * NS_PER_S);
    assert_int_equal(retention_clock_store(&c, catalog), ERR_OK);
    clock_fake_set(1, 700 * NS_PER_S); /* the same run of the system */
    assert_int_equal(retention_clock_load(&c, catalog), ERR_OK);
    assert_int_equal(retention_clock_now(&c), START_NS + 200 * NS_PER_S);
    assert_int_equal(retention_clock_store(&c, catalog), ERR_OK);
    clock_fake_set(1,
                   5 * NS_PER_S); /* less than before: it cannot be the same, whatever its name */
    assert_int_equal(retention_clock_load(&c, catalog), ERR_OK);
    assert_int_equal(retention_clock_now(&c), START_NS + 200 * NS_PER_S);
    c.boot_id++; /* as another run of the system would have left it */
    assert_int_equal(retention_clock_store(&c, catalog), ERR_OK);
    clock_fake_set(1, 9000 * NS_PER_S);
    assert_int_equal(retention_clock_load(&c, catalog), ERR_OK);
    assert_int_equal(retention_clock_now(&c), START_NS + 200 * NS_PER_S);
    catalog_close(catalog);
    scratch_remove(directory);
    clock_fake_off();
}

/* ---- Log records sooner ------------------------------------------------------------------------------ */

/* The number that a question to a file gives; -1: no row. */
static int64_t ask_file(struct store *s, const char *name, const char *question)
{
    char path[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    (void)snprintf(path, sizeof path, "%s/%s", s->directory, name);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 5000);
    assert_int_equal(sqlite3_prepare_v2(db, question, -1, &st, NULL), SQLITE_OK);
    int64_t answer = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    return answer;
}

static int64_t logs_in_files(struct store *s, uint64_t before)
{
    int64_t logs = 0;
    for (uint64_t id = 1; id < before; id++) {
        char name[32];
        (void)snprintf(name, sizeof name, "p%06llu.db", (unsigned long long)id);
        logs += ask_file(s, name, "SELECT count(*) FROM row_group WHERE signal = 1");
        logs += ask_file(s, name,
                         "SELECT count(*) FROM row_group_data WHERE id NOT IN"
                         " (SELECT id FROM row_group)");
    }
    return logs;
}

static struct engine_statistics stored(struct store *s)
{
    struct engine_statistics statistics;
    engine_statistics(s->engine, &statistics);
    return statistics;
}

/* All but those of the newest partition, which is not closed. */
static void logs_are_gone_below(struct store *s, uint64_t newest)
{
    int64_t left = -1;
    for (int look = 0; look < PATIENCE && left != 0; look++) {
        left = logs_in_files(s, newest);
        if (left != 0)
            (void)usleep(10000);
    }
    assert_int_equal(left, 0);
    int64_t note = -1;
    for (int look = 0; look < PATIENCE && note != 0; look++) {
        note = ask_file(s, "catalog.db",
                        "SELECT length(value) FROM setting WHERE key = 'logs_expiring'");
        if (note != 0)
            (void)usleep(10000);
    }
    assert_int_equal(note, 0);
}

#define BIG_BYTES ((size_t)400 << 10)

/* One that takes many pages, as it cannot be compressed. */
static void send_big_log(struct store *s)
{
    struct buffer body;
    struct random r;
    uint8_t *text = mem_alloc(BIG_BYTES);
    assert_non_null(text);
    random_init(&r, 3);
    for (size_t i = 0; i < BIG_BYTES; i++)
        text[i] = (uint8_t)random_below(&r, 256);
    buffer_init(&body, SIZE_MAX);
    size_t group = pb_begin(&body, 1), scope = pb_begin(&body, 2), log = pb_begin(&body, 2);
    pb_fixed64(&body, 1, START_NS);
    size_t value = pb_begin(&body, 5);
    pb_bytes(&body, 7, bytes_of(text, BIG_BYTES));
    pb_end(&body, value);
    pb_end(&body, log);
    pb_end(&body, scope);
    pb_end(&body, group);
    assert_int_equal(
        send_body(s->engine, SIGNAL_LOGS, buffer_bytes(&body), 1, (struct hash128){ 1, 99 }),
        ERR_OK);
    assert_int_equal(engine_settle(s->engine), ERR_OK);
    buffer_deinit(&body);
    mem_free(text);
}

static void log_records_go_before_spans(void **state)
{
    (void)state;
    enum { BATCHES = 48, MANY = 16 };
    struct store s;
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 5);
    s.options.retention_logs_ns = NS_PER_DAY;
    s.options.retention_age_ns = 30 * NS_PER_DAY;
    store_open(&s);
    send_big_log(&s);
    fill(&s, 0, BATCHES, MANY);
    uint64_t count = partitions(&s);
    assert_true(count >= 4);
    struct engine_statistics before = stored(&s);
    assert_true(before.logs > 0);

    /* Ten years by the wall clock, and none that passed. */
    clock_fake_set(START_NS + 3650 * NS_PER_DAY, 1001 * NS_PER_S);
    (void)usleep(200000);
    assert_int_equal(stored(&s).logs, before.logs);

    /* A query that began before sees them until it ends; nothing is deleted under it. */
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct row_view *view = NULL;
    assert_int_equal(engine_rows_view(s.engine, &q, &view), ERR_OK);
    clock_fake_advance(2 * NS_PER_DAY);
    for (int look = 0; look < PATIENCE && stored(&s).logs == before.logs; look++)
        (void)usleep(10000);
    assert_true(stored(&s).logs < before.logs);
    (void)usleep(100000);
    assert_true(logs_in_files(&s, count - 1) > 0);
    struct row_request request = { .signal = SIGNAL_LOGS,
                                   .range = { 0, UINT64_MAX },
                                   .parts = ROW_ALL };
    struct row_cursor *rows = NULL;
    struct row_batch batch = { 0 };
    uint64_t seen = 0;
    assert_int_equal(view->ops->read(view, &request, &rows), ERR_OK);
    do {
        assert_int_equal(rows->ops->next(rows, &batch), ERR_OK);
        struct otlp_items items = otlp_items(batch.data);
        while (batch.data.len > 0 && otlp_items_next(&items))
            seen++;
    } while (batch.data.len > 0);
    assert_int_equal(seen, before.logs);
    rows->ops->close(rows);
    view->ops->close(view);
    arena_deinit(&arena);

    logs_are_gone_below(&s, count);
    struct engine_statistics after = stored(&s);
    assert_int_equal(after.spans, before.spans);
    assert_true(after.disk_bytes + BIG_BYTES / 2 < before.disk_bytes);
    assert_int_equal(counter(&s, "spindle_expired_items_total", "signal=\"logs\",reason=\"age\""),
                     before.logs - after.logs);
    assert_int_equal(counter(&s, "spindle_expired_items_total", "signal=\"traces\",reason=\"age\""),
                     0);
    assert_int_equal(counter(&s, "spindle_expired_partitions_total", "reason=\"age\""), 0);
    assert_in_range(counter(&s, "spindle_expired_bytes_total", "reason=\"age\""), BIG_BYTES / 2,
                    2 * BIG_BYTES);
    for (size_t i = 0; i < BATCHES; i++)
        if (ledger_signal(&s.ledger, i) == SIGNAL_LOGS)
            s.ledger.outcomes[i] = LEDGER_UNKNOWN;
    assert_true(ledger_check(&s.ledger, s.engine)); /* every span is there */
    engine_close(s.engine);
    verifies(&s);
    store_open(&s);
    assert_int_equal(stored(&s).spans, before.spans);
    assert_int_equal(stored(&s).logs, after.logs);
    assert_int_equal(stored(&s).partitions_damaged, 0);
    assert_true(ledger_check(&s.ledger, s.engine));
    /* And with the spans' time the partitions go whole. */
    clock_fake_advance(40 * NS_PER_DAY);
    assert_true(wait_for_at_most(&s, 2, PATIENCE) <= 2);
    engine_close(s.engine);
    verifies(&s);
    store_open(&s);
    store_deinit(&s);
    clock_fake_off();
}

/* ---- Size -------------------------------------------------------------------------------------------- */

static void size_is_kept_within_one_partition(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 6);
    store_open(&s);
    fill(&s, 0, 8, 8);
    struct engine_statistics statistics;
    engine_statistics(s.engine, &statistics);
    uint64_t one = statistics.disk_bytes / statistics.partitions;
    engine_close(s.engine);
    s.options.retention_bytes = ((uint64_t)2 << 20) + 4 * one; /* beside the catalogue */
    store_open(&s);
    uint64_t most = 0;
    for (size_t i = 8; i < 96; i += 8) {
        fill(&s, i, i + 8, 8);
        uint64_t bytes = UINT64_MAX;
        for (int look = 0; look < PATIENCE && bytes > s.options.retention_bytes; look++) {
            engine_statistics(s.engine, &statistics);
            bytes = statistics.disk_bytes;
            (void)usleep(10000);
        }
        most = bytes > most ? bytes : most;
    }
    assert_true(most <= s.options.retention_bytes + one);
    assert_true(counter(&s, "spindle_expired_partitions_total", "reason=\"size\"") >= 4);
    for (size_t i = 0; i < 88; i++)
        s.ledger.outcomes[i] = LEDGER_UNKNOWN;
    assert_true(ledger_check(&s.ledger, s.engine)); /* the newest are all there */
    engine_statistics(s.engine, &statistics);
    uint64_t spans = statistics.spans, logs = statistics.logs;
    engine_close(s.engine);
    verifies(&s);
    s.options.retention_bytes = 0;
    store_open(&s);
    engine_statistics(s.engine, &statistics); /* counted anew: the running sums were right */
    assert_int_equal(statistics.spans, spans);
    assert_int_equal(statistics.logs, logs);
    assert_true(ledger_check(&s.ledger, s.engine));
    store_deinit(&s);
}

/* ---- Starting ---------------------------------------------------------------------------------------- */

/* What was sealed a while ago is known from the catalogue: its file is not read at start. Seen by a file whose
 * pages make no sense while the program starts, and do again when it is asked. */
static void sealed_files_are_not_read_at_start(void **state)
{
    (void)state;
    enum { FROM = 100, LEN = 4096 };
    struct store s;
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 8);
    store_open(&s);
    fill(&s, 0, 24, 8);
    (void)usleep(200000);
    struct engine_statistics before, after;
    engine_statistics(s.engine, &before);
    uint64_t counted = ledger_operations_spans(s.engine);
    engine_close(s.engine);
    verifies(&s);

    char path[256];
    uint8_t good[LEN], bad[LEN];
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, good, LEN, FROM), LEN);
    memset(bad, 0xa5, LEN);
    assert_int_equal(pwrite(fd, bad, LEN, FROM), LEN);
    clock_fake_advance(3600 * NS_PER_S);
    store_open(&s);
    assert_int_equal(pwrite(fd, good, LEN, FROM), LEN);
    (void)close(fd);
    engine_statistics(s.engine, &after);
    assert_int_equal(after.partitions_damaged, 0);
    assert_int_equal(after.spans, before.spans);
    assert_int_equal(after.logs, before.logs);
    assert_int_equal(after.row_groups, before.row_groups);
    assert_int_equal(ledger_operations_spans(s.engine), counted);
    assert_true(ledger_check(&s.ledger, s.engine));

    /* And what expires takes its summary along: the next start counts what is left. */
    engine_close(s.engine);
    s.options.retention_age_ns = 1800 * NS_PER_S;
    store_open(&s);
    for (size_t i = 0; i < 24; i++)
        s.ledger.outcomes[i] = LEDGER_UNKNOWN;
    assert_true(wait_for_at_most(&s, 2, PATIENCE) <= 2);
    engine_statistics(s.engine, &before);
    counted = ledger_operations_spans(s.engine);
    assert_int_equal(counted, before.spans);
    engine_close(s.engine);
    verifies(&s);
    clock_fake_advance(3600 * NS_PER_S);
    store_open(&s);
    assert_int_equal(ledger_operations_spans(s.engine), counted);
    store_deinit(&s);
    clock_fake_off();
}

/* ---- Names ------------------------------------------------------------------------------------------- */

/* Services whose last spans have expired are not listed any more, and the counts of the others are right. */
static void operations_expire_with_their_spans(void **state)
{
    (void)state;
    struct store s;
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 7);
    s.options.retention_age_ns = NS_PER_DAY;
    store_open(&s);
    fill(&s, 0, 16, 8);
    struct arena arena;
    arena_init(&arena, (size_t)1 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct bytes *names = NULL;
    size_t count = 0;
    assert_int_equal(engine_services(s.engine, &q, &names, &count), ERR_OK);
    assert_true(count > 0);
    clock_fake_advance(2 * NS_PER_DAY);
    assert_true(wait_for_at_most(&s, 2, PATIENCE) <= 2);
    /* What is left is in the newest, if anything is. */
    struct engine_statistics statistics;
    engine_statistics(s.engine, &statistics);
    uint64_t counted = 0;
    assert_int_equal(engine_services(s.engine, &q, &names, &count), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        struct operation *operations = NULL;
        size_t operations_count = 0;
        uint64_t rest = 0;
        assert_int_equal(
            engine_operations(s.engine, &q, names[i], &operations, &operations_count, &rest),
            ERR_OK);
        assert_true(operations_count > 0);
        for (size_t k = 0; k < operations_count; k++)
            counted += operations[k].spans;
    }
    assert_true(counted <= statistics.spans);
    if (statistics.spans == 0)
        assert_int_equal(count, 0);
    arena_deinit(&arena);
    store_deinit(&s);
    clock_fake_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(age_is_time_that_passed),
#if SPINDLE_FAULTS
        cmocka_unit_test(wall_clock_is_noticed),
#endif
        cmocka_unit_test(clock_goes_on_after_a_restart),
        cmocka_unit_test(log_records_go_before_spans),
        cmocka_unit_test(size_is_kept_within_one_partition),
        cmocka_unit_test(sealed_files_are_not_read_at_start),
        cmocka_unit_test(operations_expire_with_their_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
