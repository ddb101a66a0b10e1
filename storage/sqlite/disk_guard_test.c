/* SPDX-License-Identifier: Apache-2.0 */
/* The disk guard: its states as a table, and an engine whose disk runs out and gets room again: requests are
 * refused before writing fails, queries are answered, the oldest partitions go only where that was asked for,
 * the ballast is given up and put back, and requests are taken again without anybody's help. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/mem.h"
#include "storage/sqlite/disk_guard.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define MIB      ((uint64_t)1 << 20)
#define MIN      (256 * MIB)
#define PATIENCE 6000 /* looks of 5 ms */

static void states_follow_one_another(void **state)
{
    (void)state;
    static const struct {
        enum disk_state from;
        uint64_t free_mib;
        bool has_ballast;
        enum disk_state to;
    } cases[] = {
        { DISK_OK, 512, true, DISK_OK },
        { DISK_OK, 511, true, DISK_LOW },
        { DISK_OK, 256, true, DISK_LOW },
        { DISK_OK, 255, true, DISK_CRITICAL },
        { DISK_LOW, 512, true, DISK_LOW },
        { DISK_LOW, 575, true, DISK_LOW },
        { DISK_LOW, 576, true, DISK_OK },
        { DISK_LOW, 255, true, DISK_CRITICAL },
        { DISK_CRITICAL, 0, true, DISK_CRITICAL },
        { DISK_CRITICAL, 319, true, DISK_CRITICAL },
        { DISK_CRITICAL, 320, false, DISK_RECOVER },
        { DISK_CRITICAL, 9999, true, DISK_RECOVER },
        { DISK_RECOVER, 255, false, DISK_CRITICAL },
        { DISK_RECOVER, 9999, false, DISK_RECOVER },
        { DISK_RECOVER, 511, true, DISK_LOW },
        { DISK_RECOVER, 512, true, DISK_OK },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(
            disk_state_next(cases[i].from, cases[i].free_mib * MIB, MIN, cases[i].has_ballast),
            cases[i].to);
    assert_int_equal(disk_state_next(DISK_OK, UINT64_MAX, UINT64_MAX / 2, true), DISK_OK);
    assert_int_equal(disk_state_next(DISK_LOW, UINT64_MAX, UINT64_MAX, true), DISK_LOW);
    assert_int_equal(disk_min_bytes(64 * MIB), 4 * MIB);
    assert_int_equal(disk_min_bytes(1024 * 1024 * MIB), MIN);
}

/* ---- An engine on such a disk ------------------------------------------------------------------------ */

static _Atomic uint64_t free_now;

static bool free_said(void *context, uint64_t *out_free, uint64_t *out_total)
{
    (void)context;
    *out_free = atomic_load(&free_now);
    *out_total = 1024 * 1024 * MIB;
    return true;
}

static struct sqlite_engine_options options_of(const char *directory)
{
    return (struct sqlite_engine_options){ .directory = directory,
                                           .builder_rows = 60,
                                           .builder_age_ns = NS_PER_MS,
                                           .partition_bytes_max = 1,
                                           .maintain_interval_ns = 2 * NS_PER_MS,
                                           .ballast_bytes = 3 * MIB,
                                           .disk_free = free_said };
}

static void wait_for(struct engine *e, enum disk_state wanted)
{
    struct engine_statistics s = { 0 };
    for (int look = 0; look < PATIENCE; look++) {
        engine_statistics(e, &s);
        if (s.disk_state == wanted)
            return;
        (void)usleep(5000);
    }
    assert_string_equal(disk_state_text(s.disk_state), disk_state_text(wanted));
}

static bool has_ballast(const char *directory)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/ballast", directory);
    return access(path, F_OK) == 0;
}

static void send(struct ledger *l, struct engine *e, size_t from, size_t to, enum err wanted)
{
    for (size_t i = from; i < to; i++) {
        assert_int_equal(ledger_batch(l, e, i), wanted);
        if (i % 8 == 7)
            assert_int_equal(engine_settle(e), ERR_OK);
    }
}

static void refuses_before_the_disk_is_full(void **state)
{
    (void)state;
    char directory[128];
    struct ledger l;
    struct engine *e = NULL;
    struct engine_statistics s;
    scratch_make(directory);
    ledger_init(&l, 3, 120);
    struct sqlite_engine_options options = options_of(directory);
    atomic_store(&free_now, 4096 * MIB);
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    send(&l, e, 0, 24, ERR_OK);
    for (int look = 0; look < PATIENCE && !has_ballast(directory); look++)
        (void)usleep(5000);
    assert_true(has_ballast(directory));
    engine_statistics(e, &s);
    uint64_t partitions = s.partitions;
    assert_true(s.is_writable);

    atomic_store(&free_now, MIN + 1);
    wait_for(e, DISK_LOW);
    send(&l, e, 24, 32, ERR_OK);
    engine_statistics(e, &s);
    assert_true(s.partitions >= partitions); /* nobody asked for any to go */

    atomic_store(&free_now, MIN - 1);
    wait_for(e, DISK_CRITICAL);
    send(&l, e, 32, 40, ERR_FULL);
    engine_statistics(e, &s);
    assert_false(s.is_writable);
    assert_non_null(s.not_writable_reason);
    assert_int_equal(s.disk_free_bytes, MIN - 1);
    assert_int_equal(s.journal_items, 0); /* what was there before became row groups */
    assert_true(has_ballast(directory));
    assert_true(ledger_check(&l, e));

    atomic_store(&free_now, 1);
    for (int look = 0; look < PATIENCE && has_ballast(directory); look++)
        (void)usleep(5000);
    assert_false(has_ballast(directory));
    assert_true(ledger_check(&l, e));

    atomic_store(&free_now, 1024 * MIB);
    wait_for(e, DISK_OK); /* by RECOVER, with the ballast */
    assert_true(has_ballast(directory));
    send(&l, e, 40, 48, ERR_OK);
    engine_statistics(e, &s);
    assert_true(s.is_writable);
    assert_true(ledger_check(&l, e));
    engine_close(e);
    ledger_deinit(&l);
    scratch_remove(directory);
}

static void partitions_go_where_that_was_asked_for(void **state)
{
    (void)state;
    char directory[128];
    struct ledger l;
    struct engine *e = NULL;
    struct engine_statistics s;
    struct metrics *metrics = metrics_open();
    scratch_make(directory);
    ledger_init(&l, 4, 64);
    struct sqlite_engine_options options = options_of(directory);
    options.min_free_bytes = MIN;
    options.metrics = metrics;
    atomic_store(&free_now, 4096 * MIB);
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    send(&l, e, 0, 48, ERR_OK);
    engine_statistics(e, &s);
    assert_true(s.partitions >= 3);
    uint64_t before = s.partitions;
    atomic_store(&free_now, MIN + MIB);
    wait_for(e, DISK_LOW);
    struct metric *expired =
        metrics_counter(metrics, "spindle_expired_partitions_total", "reason=\"disk\"", "");
    for (int look = 0; look < PATIENCE && metric_value(expired) == 0; look++)
        (void)usleep(5000);
    (void)usleep(100000);
    assert_int_equal(metric_value(expired), 1); /* one, and then the disk has a moment to answer */
    engine_statistics(e, &s);
    assert_true(s.partitions + 1 >= before);
    engine_close(e);
    metrics_close(metrics);
    ledger_deinit(&l);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_follow_one_another),
        cmocka_unit_test(refuses_before_the_disk_is_full),
        cmocka_unit_test(partitions_go_where_that_was_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
