/* SPDX-License-Identifier: Apache-2.0 */
/* Merging on the real disk: a quiet service's row groups stay few, nothing is lost, changed or shown twice,
 * counts are as before, a query that began before a merge finds what it saw, what was replaced is deleted,
 * and a partition that is closed ends with few. Merges are killed at each step in crash_test. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#define BATCHES  320
#define PATIENCE 600 /* looks of 5 ms */

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
    ledger_init(&s->ledger, seed, BATCHES);
    s->metrics = metrics_open();
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_age_ns = NS_PER_MS,
                                                 .maintain_interval_ns = 2 * NS_PER_MS,
                                                 .metrics = s->metrics };
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

static void store_deinit(struct store *s)
{
    engine_close(s->engine);
    verifies(s);
    metrics_close(s->metrics);
    ledger_deinit(&s->ledger);
    scratch_remove(s->directory);
}

static struct engine_statistics statistics_of(struct store *s)
{
    struct engine_statistics statistics;
    engine_statistics(s->engine, &statistics);
    return statistics;
}

/* Each batch becomes a row group of its own. */
static void trickle(struct store *s, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        assert_int_equal(ledger_batch(&s->ledger, s->engine, i), ERR_OK);
        assert_int_equal(engine_settle(s->engine), ERR_OK);
    }
}

static uint64_t wait_for_groups(struct store *s, uint64_t at_most)
{
    uint64_t groups = statistics_of(s).row_groups;
    for (int look = 0; look < PATIENCE && groups > at_most; look++) {
        (void)usleep(5000);
        groups = statistics_of(s).row_groups;
    }
    return groups;
}

/* How many rows a table has in the first partition. */
static int64_t count_in_file(struct store *s, const char *sql)
{
    char path[256];
    struct db db;
    int64_t count = -1;
    (void)snprintf(path, sizeof path, "%s/p000001.db", s->directory);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(db_integer(&db, sql, -1, &count), ERR_OK);
    db_close(&db);
    return count;
}

static void quiet_service_has_few_groups(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 21);
    store_open(&s);
    trickle(&s, 0, BATCHES);
    struct engine_statistics before = statistics_of(&s);
    /* Up to fifteen of each of three levels, of each signal. */
    assert_true(wait_for_groups(&s, 70) <= 70);
    struct engine_statistics after = statistics_of(&s);
    assert_int_equal(after.spans, before.spans);
    assert_true(ledger_check(&s.ledger, s.engine));
    assert_true(metric_value(metrics_counter(s.metrics, "spindle_storage_merges_total", NULL,
                                             "")) >= BATCHES / 2 / 16);
    for (int look = 0;
         look < PATIENCE &&
         count_in_file(&s, "SELECT count(*) FROM row_group WHERE replaced_by <> 0") > 0;
         look++)
        (void)usleep(5000);
    assert_int_equal(count_in_file(&s, "SELECT count(*) FROM row_group WHERE replaced_by <> 0"), 0);
    assert_int_equal(count_in_file(&s, "SELECT count(*) FROM row_group"),
                     count_in_file(&s, "SELECT count(*) FROM row_group_data"));
    assert_true(count_in_file(&s, "SELECT max(level) FROM row_group") >= 1);
    engine_close(s.engine);
    verifies(&s);
    store_open(&s);
    assert_int_equal(statistics_of(&s).spans, after.spans);
    assert_int_equal(statistics_of(&s).logs, after.logs);
    assert_true(ledger_check(&s.ledger, s.engine));
    store_deinit(&s);
}

/* A snapshot from before a merge keeps the row groups it names readable. */
static void old_snapshot_reads_what_it_saw(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 22);
    s.options.maintain_interval_ns = 3600 * NS_PER_S;
    store_open(&s);
    trickle(&s, 0, 64);
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    struct snapshot snapshot;
    view_snapshot(&e->view, SIGNAL_TRACES, &snapshot);
    assert_true(snapshot.groups->count >= 16);
    maintain_stop(e);
    for (int i = 0; i < 8; i++)
        merge_run(e); /* as maintenance would */
    assert_true(statistics_of(&s).row_groups < 64);
    int64_t replaced =
        count_in_file(&s, "SELECT count(*) FROM row_group WHERE replaced_by <> 0 AND signal = 0");
    assert_true(replaced >= 16); /* they wait for the snapshot */
    for (size_t i = 0; i < snapshot.groups->count; i++) {
        struct db *reader = NULL;
        struct rowgroup_source source;
        const struct group *g = snapshot.groups->groups[i];
        assert_int_equal(reader_pool_take(&g->partition->readers, &reader), ERR_OK);
        assert_int_equal(partition_group_open(reader, g, &source), ERR_OK);
        assert_int_equal(source.size, g->bytes);
        source.close(source.context);
        reader_pool_give(&g->partition->readers, reader);
    }
    snapshot_release(&snapshot);
    for (int i = 0; i < 8; i++)
        merge_run(e);
    assert_int_equal(count_in_file(&s, "SELECT count(*) FROM row_group WHERE replaced_by <> 0"), 0);
    assert_true(ledger_check(&s.ledger, s.engine));
    store_deinit(&s);
}

/* What is left of a partition that is closed becomes one group of each signal before it is sealed. */
static void closed_partition_is_merged_whole(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 23);
    store_open(&s);
    trickle(&s, 0, 24);
    engine_close(s.engine);
    s.options.partition_bytes_max = 1; /* full at the first look */
    store_open(&s);
    assert_int_equal(ledger_batch(&s.ledger, s.engine, 24), ERR_OK);
    for (int look = 0; look < PATIENCE && (statistics_of(&s).partitions < 2 ||
                                           count_in_file(&s, "SELECT count(*) FROM row_group") > 2);
         look++)
        (void)usleep(5000);
    assert_int_equal(count_in_file(&s, "SELECT count(*) FROM row_group"), 2);
    assert_true(ledger_check(&s.ledger, s.engine));
    /* And it is sealed: nothing in its log. */
    char path[256];
    (void)snprintf(path, sizeof path, "%s/catalog.db", s.directory);
    struct db db;
    int64_t sealed = 0;
    for (int look = 0; look < PATIENCE && sealed == 0; look++) {
        (void)usleep(5000);
        assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
        assert_int_equal(db_integer(&db,
                                    "SELECT count(*) FROM partition WHERE id = 1 AND state = 2", 0,
                                    &sealed),
                         ERR_OK);
        db_close(&db);
    }
    assert_int_equal(sealed, 1);
    store_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quiet_service_has_few_groups),
        cmocka_unit_test(old_snapshot_reads_what_it_saw),
        cmocka_unit_test(closed_partition_is_merged_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
