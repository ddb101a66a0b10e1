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
#include <stdlib.h>
#include <unistd.h>

#define BATCHES  320
#define PATIENCE 6000 /* looks of 5 ms */

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

static uint64_t counter(struct store *s, const char *name, const char *labels)
{
    return metric_value(metrics_counter(s->metrics, name, labels, ""));
}

/* Merging waits while many requests do, and sealing for merging; what has to go is sealed as it is. */
static void retention_does_not_wait_for_merging(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 24);
    store_open(&s);
    trickle(&s, 0, 24);
    engine_close(s.engine);
    s.options.partition_bytes_max = 1;
    s.options.retention_age_ns = 1;
    store_open(&s);
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    uint64_t many = e->memory_bytes / 8;
    atomic_fetch_add(&e->pending_bytes, many);
    assert_int_equal(ledger_batch(&s.ledger, s.engine, 24), ERR_OK);
    for (int look = 0;
         look < PATIENCE && counter(&s, "spindle_expired_partitions_total", "reason=\"age\"") == 0;
         look++)
        (void)usleep(5000);
    atomic_fetch_sub(&e->pending_bytes, many);
    assert_true(counter(&s, "spindle_expired_partitions_total", "reason=\"age\"") > 0);
    store_deinit(&s);
}

/* The same batch as another request, as a client's queue may form it: its spans are stored ones. */
static void send_again(struct store *s, size_t number)
{
    struct append *a = ledger_append_make(&s->ledger, number, 1);
    a->request_hash.low ^= 1;
    assert_int_equal(ledger_send(s->engine, a), ERR_OK);
    ledger_append_free(a);
    assert_int_equal(engine_settle(s->engine), ERR_OK);
}

/* After a start spans are looked up in the newest groups alone, so what comes again from before these is stored
 * twice: shown once, counted once when a merge has both. */
static void copies_are_dropped(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 24);
    s.options.maintain_interval_ns = 3600 * NS_PER_S; /* merges when asked */
    store_open(&s);
    trickle(&s, 0, 64);
    struct engine_statistics once = statistics_of(&s);
    engine_close(s.engine);
    store_open(&s);
    for (size_t i = 0; i < 4; i++)
        send_again(&s, i);
    struct engine_statistics twice = statistics_of(&s);
    assert_true(twice.spans > once.spans);
    assert_true(ledger_check(&s.ledger, s.engine));
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    engine_close(s.engine);
    s.options.partition_bytes_max = 1; /* full at the first look: then all are merged into one */
    store_open(&s);
    e = sqlite_engine_from(s.engine);
    maintain_stop(e);
    assert_int_equal(ledger_batch(&s.ledger, s.engine, 64), ERR_OK);
    for (int look = 0; look < PATIENCE && statistics_of(&s).partitions < 2; look++)
        (void)usleep(5000);
    assert_int_equal(engine_settle(s.engine), ERR_OK);
    for (int i = 0; i < 8; i++)
        merge_run(e);
    struct engine_statistics after = statistics_of(&s);
    assert_true(after.row_groups <= 3); /* of each signal, and the last batch's */
    uint64_t dropped = counter(&s, "spindle_storage_duplicates_total", "reason=\"merge\"");
    assert_true(dropped >= twice.spans - once.spans);
    assert_true(ledger_check(&s.ledger, s.engine));
    assert_int_equal(ledger_operations_spans(s.engine), after.spans);
    engine_close(s.engine);
    verifies(&s); /* also that operations count what row groups hold */
    store_open(&s);
    assert_int_equal(statistics_of(&s).spans, after.spans);
    assert_int_equal(ledger_operations_spans(s.engine), after.spans);
    store_deinit(&s);
}

/* ---- Groups that cannot be merged ------------------------------------------------------------ */

/* Change a byte of a group's header, wherever in the file it is. */
static void group_spoil(struct store *s, int64_t id)
{
    char path[256];
    struct db db;
    struct rowgroup_source source;
    uint8_t header[112], window[4096];
    const struct group g = { .id = id };
    (void)snprintf(path, sizeof path, "%s/p000001.db", s->directory);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(partition_group_open(&db, &g, &source), ERR_OK);
    assert_int_equal(source.read(source.context, 0, sizeof header, header), ERR_OK);
    source.close(source.context);
    db_close(&db);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    unsigned found = 0; /* a page that was split still has what it gave away */
    for (long at = 0; fseek(f, at, SEEK_SET) == 0; at += 2048) {
        size_t len = fread(window, 1, sizeof window, f);
        for (size_t i = 0; i + sizeof header <= len; i++) {
            if (memcmp(window + i, header, sizeof header) != 0)
                continue;
            assert_int_equal(fseek(f, at + (long)i + 8, SEEK_SET), 0);
            assert_int_equal(fputc(header[8] ^ 0xff, f), header[8] ^ 0xff);
            found++;
        }
        if (len < sizeof window)
            break;
    }
    assert_int_equal(fclose(f), 0);
    assert_true(found > 0);
}

/* One of them cannot be read: the others are merged, it alone stays, and is reported once. */
static void one_bad_group_stays_alone(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 25);
    s.options.maintain_interval_ns = 3600 * NS_PER_S;
    store_open(&s);
    trickle(&s, 0, 64);
    engine_close(s.engine);
    int64_t bad = count_in_file(&s, "SELECT id FROM row_group WHERE signal = 0 LIMIT 1 OFFSET 5");
    int64_t groups = count_in_file(&s, "SELECT count(*) FROM row_group WHERE signal = 0");
    assert_true(groups >= 32);
    group_spoil(&s, bad);
    store_open(&s);
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    maintain_stop(e);
    for (int i = 0; i < 12; i++)
        merge_run(e);
    assert_int_equal(statistics_of(&s).row_groups_damaged, 1);
    int64_t left = count_in_file(&s, "SELECT count(*) FROM row_group WHERE signal = 0");
    assert_true(left <= groups - 15); /* sixteen became one */
    char sql[96];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM row_group WHERE id = %lld",
                   (long long)bad);
    assert_int_equal(count_in_file(&s, sql), 1);
    for (size_t i = 0; i < e->view.groups[SIGNAL_TRACES]->count; i++) {
        const struct group *g = e->view.groups[SIGNAL_TRACES]->groups[i];
        assert_int_equal(atomic_load(&g->is_unmergeable), g->id == bad);
    }
    engine_close(s.engine);
    metrics_close(s.metrics);
    ledger_deinit(&s.ledger);
    scratch_remove(s.directory);
}

/* The defect that all of these look for: it is seen. */
static void lost_span_is_noticed(void **state)
{
    (void)state;
#if SPINDLE_FAULTS
    struct store s;
    store_init(&s, 26);
    s.options.maintain_interval_ns = 3600 * NS_PER_S;
    store_open(&s);
    trickle(&s, 0, 64);
    struct sqlite_engine *e = sqlite_engine_from(s.engine);
    maintain_stop(e);
    (void)setenv("SPINDLE_DEFECT", "merge-drops-span", 1);
    merge_run(e);
    (void)unsetenv("SPINDLE_DEFECT");
    s.ledger.is_quiet = true;
    assert_false(ledger_check(&s.ledger, s.engine));
    assert_string_equal(s.ledger.wrong, "an acknowledged item is lost");
    store_deinit(&s);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quiet_service_has_few_groups),
        cmocka_unit_test(old_snapshot_reads_what_it_saw),
        cmocka_unit_test(closed_partition_is_merged_whole),
        cmocka_unit_test(retention_does_not_wait_for_merging),
        cmocka_unit_test(copies_are_dropped),
        cmocka_unit_test(one_bad_group_stays_alone),
        cmocka_unit_test(lost_span_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
