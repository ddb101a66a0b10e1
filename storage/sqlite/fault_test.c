/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can fail does, once each: every read, write, sync, truncation and opening of a file, and
 * every allocation, of a scenario that opens, appends, builds, asks and closes; once, and from then on.
 * Nothing crashes, nothing acknowledged is lost, nothing is answered wrongly, and the store works again
 * afterwards. And a disk that fills up: refused in words, all of it still readable, and accepted again by
 * itself when there is room. */
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "storage/sqlite/sqlite_engine.h"
#include "storage/sqlite/testing/power_vfs.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCHES 12
#define EARLIER 6 /* stored before anything fails */

struct scene {
    char directory[128];
    struct ledger ledger;
    struct sqlite_engine_options options;
};

static void scene_init(struct scene *s, uint64_t seed)
{
    *s = (struct scene){ 0 };
    scratch_make(s->directory);
    ledger_init(&s->ledger, seed, 200);
    power_reset(seed);
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = 40,
                                                 .builder_age_ns = 3600 * NS_PER_S,
                                                 .vfs = POWER_VFS };
    struct engine *e = NULL;
    assert_int_equal(sqlite_engine_open(&s->options, &e, NULL), ERR_OK);
    for (size_t i = 0; i < EARLIER; i++)
        assert_int_equal(ledger_batch(&s->ledger, e, i), ERR_OK);
    engine_close(e);
}

static void scene_deinit(struct scene *s)
{
    power_reset(0);
    ledger_deinit(&s->ledger);
    scratch_remove(s->directory);
}

/* Errors are allowed, wrong answers are not. */
static void ask(struct ledger *l, struct engine *e)
{
    l->is_quiet = true;
    (void)ledger_check(l, e);
    l->is_quiet = false;
    if (l->wrong != NULL && strcmp(l->wrong, "an item was never sent, or has changed") == 0)
        fail_msg("%s", l->wrong);
    if (l->wrong != NULL && strcmp(l->wrong, "an item is there twice") == 0)
        fail_msg("%s", l->wrong);
}

static void scenario(struct scene *s, struct append **appends)
{
    struct engine *e = NULL;
    if (sqlite_engine_open(&s->options, &e, NULL) != ERR_OK)
        return;
    for (size_t i = EARLIER; i < BATCHES; i++) {
        s->ledger.outcomes[i] = LEDGER_UNKNOWN;
        if (ledger_send(e, appends[i]) == ERR_OK)
            s->ledger.outcomes[i] = LEDGER_ACKED;
        if (i == EARLIER + 2)
            (void)!engine_settle(e);
    }
    ask(&s->ledger, e);
    engine_close(e);
}

static void appends_make(struct scene *s, struct append **appends)
{
    for (size_t i = EARLIER; i < BATCHES; i++)
        appends[i] = ledger_append_make(&s->ledger, i, 1);
}

static void appends_free(struct append **appends)
{
    for (size_t i = EARLIER; i < BATCHES; i++)
        ledger_append_free(appends[i]);
}

/* All is well again: everything acknowledged is there, and more is accepted. */
static void recovered(struct scene *s, const char *what, unsigned long n)
{
    struct engine *e = NULL;
    char *message = NULL;
    enum err opened = sqlite_engine_open(&s->options, &e, &message);
    if (opened != ERR_OK)
        fail_msg("%s %lu: does not open: %s", what, n, message);
    if (!ledger_check(&s->ledger, e))
        fail_msg("%s %lu: %s", what, n, s->ledger.wrong);
    assert_int_equal(ledger_batch(&s->ledger, e, BATCHES), ERR_OK);
    assert_int_equal(engine_settle(e), ERR_OK);
    if (!ledger_check(&s->ledger, e))
        fail_msg("%s %lu, later: %s", what, n, s->ledger.wrong);
    struct engine_statistics statistics;
    engine_statistics(e, &statistics);
    assert_int_equal(statistics.partitions_damaged, 0);
    engine_close(e);
}

static void calls_fail(unsigned calls, bool is_sticky, const char *what)
{
    unsigned long n = 1;
    for (bool fired = true; fired; n++) {
        struct scene s;
        struct append *appends[BATCHES];
        scene_init(&s, n);
        appends_make(&s, appends);
        power_fail_at(calls, n, is_sticky);
        scenario(&s, appends);
        fired = power_fired();
        power_fail_at(0, 0, false);
        assert_int_equal(power_writes_after_failed_sync(), 0);
        power_restore(); /* what was not synced by then is lost as well */
        recovered(&s, what, n);
        appends_free(appends);
        scene_deinit(&s);
    }
    (void)fprintf(stderr, "%s, %s: %lu places\n", what, is_sticky ? "from then on" : "once", n - 2);
    assert_true(n > 3);
}

static void reads_fail(void **state)
{
    (void)state;
    calls_fail(POWER_READ, false, "read");
    calls_fail(POWER_READ, true, "read");
}

static void writes_fail(void **state)
{
    (void)state;
    calls_fail(POWER_WRITE | POWER_TRUNCATE, false, "write");
    calls_fail(POWER_WRITE | POWER_TRUNCATE, true, "write");
}

static void syncs_fail(void **state)
{
    (void)state;
    calls_fail(POWER_SYNC, false, "sync");
    calls_fail(POWER_SYNC, true, "sync");
}

static void opens_fail(void **state)
{
    (void)state;
    calls_fail(POWER_OPEN, false, "open");
    calls_fail(POWER_OPEN, true, "open");
}

/* After one failed sync requests are accepted again at once, in another file. */
static void failed_sync_is_survived_in_place(void **state)
{
    (void)state;
    unsigned frozen = 0;
    for (unsigned long n = 1; n < 12; n++) {
        struct scene s;
        scene_init(&s, n);
        struct engine *e = NULL;
        s.options.metrics = metrics_open();
        assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
        power_fail_at(POWER_SYNC, n, false);
        unsigned refused = 0;
        for (size_t i = EARLIER; i < 30; i++) {
            refused += ledger_batch(&s.ledger, e, i) != ERR_OK;
            if (i % 5 == 0)
                refused += engine_settle(e) != ERR_OK;
        }
        assert_true(refused <= 1);
        assert_true(ledger_check(&s.ledger, e));
        assert_int_equal(power_writes_after_failed_sync(), 0);
        frozen += metric_value(metrics_counter(s.options.metrics, "spindle_storage_frozen_total",
                                               NULL, "")) == 1;
        engine_close(e);
        power_restore();
        recovered(&s, "sync, in place", n);
        metrics_close(s.options.metrics);
        scene_deinit(&s);
    }
    assert_true(frozen >= 5);
}

/* A file that is given up while another takes requests: what is moved out of it gets later numbers there than
 * entries that came after it. */
static void an_old_file_is_given_up(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 1);
    struct engine *e = NULL;
    struct engine_statistics now = { 0 };
    s.options.builder_rows = 1u << 20; /* nothing is built unasked */
    s.options.partition_age_ns = 3 * NS_PER_S;
    assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
    engine_statistics(e, &now);
    uint64_t before = now.partitions;
    for (size_t i = EARLIER; i < 10; i++)
        assert_int_equal(ledger_batch(&s.ledger, e, i), ERR_OK);
    for (int tries = 0; now.partitions == before && tries < 1000; tries++) {
        (void)nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
        engine_statistics(e, &now);
    }
    assert_int_equal(now.partitions, before + 1);
    for (size_t i = 10; i < 20; i++)
        assert_int_equal(ledger_batch(&s.ledger, e, i), ERR_OK);
    power_fail_at(POWER_SYNC, 1, false);
    assert_int_not_equal(engine_settle(e), ERR_OK);
    assert_int_equal(ledger_batch(&s.ledger, e, 20), ERR_OK); /* moves what is in the old file */
    assert_true(ledger_check(&s.ledger, e));
    assert_int_equal(engine_settle(e), ERR_OK);
    assert_true(ledger_check(&s.ledger, e));
    engine_close(e);
    power_restore();
    recovered(&s, "sync of an old file", 1);
    scene_deinit(&s);
}

static void disk_fills_up_and_empties(void **state)
{
    (void)state;
    for (unsigned long n = 0; n < 6; n++) {
        struct scene s;
        scene_init(&s, 50 + n);
        struct engine *e = NULL;
        assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
        power_size_set((1 << 20) + n * 50000);
        size_t i = EARLIER;
        enum err result = ERR_OK;
        for (; i < 150 && result == ERR_OK; i++)
            result = ledger_batch(&s.ledger, e, i);
        assert_int_equal(result, ERR_FULL);
        struct engine_statistics statistics;
        engine_statistics(e, &statistics);
        assert_false(statistics.is_writable);
        assert_string_equal(statistics.not_writable_reason, "the disk is full");
        assert_true(ledger_check(&s.ledger, e)); /* all of it can be read */

        power_size_set(0);
        uint64_t deadline = clock_mono_ns() + 10 * NS_PER_S;
        while (!statistics.is_writable && clock_mono_ns() < deadline) {
            (void)nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
            engine_statistics(e, &statistics);
        }
        assert_true(statistics.is_writable); /* by itself: nobody has asked */
        assert_int_equal(ledger_batch(&s.ledger, e, i), ERR_OK);
        assert_int_equal(engine_settle(e), ERR_OK);
        assert_true(ledger_check(&s.ledger, e));
        engine_close(e);
        scene_deinit(&s);
    }
}

/* The first 400 allocations one by one, then in growing steps. */
static void allocations_fail(void **state)
{
    (void)state;
    const char *text = getenv("SPINDLE_FAULT_ALLOCATIONS");
    unsigned long one_by_one = text == NULL ? 400 : strtoul(text, NULL, 10), count = 0;
    bool fired = true;
    for (unsigned long n = 0; fired; n += n < one_by_one ? 1 : 1 + n / 50) {
        struct scene s;
        struct append *appends[BATCHES];
        scene_init(&s, n);
        appends_make(&s, appends);
        s.ledger.is_quiet = true;
        fault_alloc_fail_at(n, n % 3 == 2);
        scenario(&s, appends);
        fired = fault_fired();
        fault_alloc_off();
        recovered(&s, "allocation", n);
        appends_free(appends);
        scene_deinit(&s);
        count++;
    }
    (void)fprintf(stderr, "%lu allocations failed\n", count - 1);
}

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_fail),
        cmocka_unit_test(writes_fail),
        cmocka_unit_test(syncs_fail),
        cmocka_unit_test(opens_fail),
        cmocka_unit_test(failed_sync_is_survived_in_place),
        cmocka_unit_test(an_old_file_is_given_up),
        cmocka_unit_test(disk_fills_up_and_empties),
        cmocka_unit_test(allocations_fail),
    };
    const char *only = getenv("SPINDLE_TEST_FILTER");
    if (only != NULL)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
