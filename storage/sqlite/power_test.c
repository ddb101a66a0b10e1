/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts: at a random write, sync, truncation, creation or deletion the disk stops, and keeps of what
 * was not synced whatever it likes. What was acknowledged is there afterwards, once and unchanged, and
 * nothing that was never sent; again and again in one directory.
 *
 * The suite is worth something because it fails for each of the defects below. */
#include "base/log.h"
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

#define LIVES          5
#define BATCHES_A_LIFE 24
#define EXPIRY_BYTES   ((uint64_t)5 << 20) /* with the catalogue, and files of at least half a MiB */
#define KEPT_BATCHES   2                   /* of the last acknowledged: they are never that old */
#define EVENTS_A_LIFE  160                 /* about as many as there are: nearly all cuts happen */

struct plan {
    enum durability durability;
    enum power_defect defect;
    bool acks_early; /* the defect of an engine that answers before the commit */
    bool fails_syncs;
    bool merges;  /* many small row groups in one partition */
    bool expires; /* retention takes nearly everything at once */
};

static struct sqlite_engine_options options_of(const char *directory, const struct plan *plan)
{
    return (struct sqlite_engine_options){ .directory = directory,
                                           .durability = plan->durability,
                                           .builder_rows = plan->merges ? 4000 : 60,
                                           .builder_age_ns = 2 * NS_PER_MS,
                                           .partition_bytes_max = plan->merges ? 1 << 30 : 1,
                                           .retention_bytes = plan->expires ? EXPIRY_BYTES : 0,
                                           .maintain_interval_ns = NS_PER_MS,
                                           .vfs = POWER_VFS };
}

static void life_send(struct ledger *l, struct engine *e, struct random *r, size_t from,
                      const struct plan *plan)
{
    enum { MANY_MAX = 4 };
    for (size_t i = from; i < from + BATCHES_A_LIFE && !power_is_cut();) {
        struct append *appends[MANY_MAX];
        enum err results[MANY_MAX];
        size_t left = from + BATCHES_A_LIFE - i;
        size_t many = MANY_MAX < left ? MANY_MAX : left;
        size_t count = plan->merges ? 1 : 1 + (size_t)random_below(r, many);
        for (size_t k = 0; k < count; k++) {
            appends[k] = ledger_append_make(l, i + k, 1);
            l->outcomes[i + k] = plan->acks_early ? LEDGER_ACKED : LEDGER_UNKNOWN;
        }
        ledger_send_many(e, appends, count, results);
        for (size_t k = 0; k < count; k++) {
            if (results[k] == ERR_OK)
                l->outcomes[i + k] = LEDGER_ACKED;
            ledger_append_free(appends[k]);
        }
        i += count;
        if (plan->merges || random_below(r, 5) == 0)
            (void)!engine_settle(e);
    }
}

/* What has expired may be gone; the newest is not. */
static void outcomes_expire(struct ledger *l)
{
    size_t kept = 0;
    for (size_t i = l->capacity; i-- > 0;)
        if (l->outcomes[i] == LEDGER_ACKED && kept++ >= KEPT_BATCHES)
            l->outcomes[i] = LEDGER_UNKNOWN;
}

/* One directory through LIVES cuts. Returns false at the first thing that is wrong. */
static bool directory_run(uint64_t seed, const struct plan *plan, unsigned *cuts)
{
    char directory[128];
    struct ledger l;
    struct random r;
    bool is_right = true;
    scratch_make(directory);
    ledger_init(&l, seed, (size_t)LIVES * BATCHES_A_LIFE);
    l.is_quiet =
        plan->acks_early || plan->defect != POWER_HONEST || plan->durability != DURABILITY_FSYNC;
    random_init(&r, seed);
    power_reset(seed);
    power_defect_set(plan->defect);
    struct sqlite_engine_options options = options_of(directory, plan);
    for (size_t life = 0; is_right && life < LIVES; life++) {
        struct engine *e = NULL;
        power_cut_at(1 + random_below(&r, plan->merges ? 2 * EVENTS_A_LIFE : EVENTS_A_LIFE));
        if (plan->fails_syncs)
            power_fail_at(POWER_SYNC, 1 + random_below(&r, 30), false);
        if (sqlite_engine_open(&options, &e, NULL) == ERR_OK) {
            life_send(&l, e, &r, life * BATCHES_A_LIFE, plan);
            engine_close(e);
        }
        power_fail_at(0, 0, false);
        is_right = power_writes_after_failed_sync() == 0;
        power_restore();
        ++*cuts;

        e = NULL;
        enum err opened = sqlite_engine_open(&options, &e, NULL);
        if (opened != ERR_OK) {
            is_right = false;
            if (!l.is_quiet)
                (void)fprintf(stderr, "seed %llu, life %zu: does not open: %s\n",
                              (unsigned long long)seed, life, err_text(opened));
            continue;
        }
        struct engine_statistics s;
        if (plan->expires)
            outcomes_expire(&l);
        engine_statistics(e, &s);
        is_right = ledger_check(&l, e) && s.partitions_damaged == 0 && is_right;
        engine_close(e);
        if (!is_right && !l.is_quiet)
            (void)fprintf(stderr, "seed %llu, life %zu: %s\n", (unsigned long long)seed, life,
                          l.wrong == NULL ? "damaged, or written after a failed sync" : l.wrong);
    }
    power_reset(0);
    ledger_deinit(&l);
    scratch_remove(directory);
    return is_right;
}

static unsigned long setting(const char *name, unsigned long fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoul(text, NULL, 10);
}

static void cuts_run(const struct plan *plan, unsigned long wanted)
{
    uint64_t first = setting("SPINDLE_POWER_SEED", 1);
    unsigned cuts = 0;
    for (uint64_t seed = first; cuts < wanted; seed++)
        assert_true(directory_run(seed, plan, &cuts));
    (void)fprintf(stderr, "%u cuts, seeds from %llu\n", cuts, (unsigned long long)first);
}

static void cut_loses_nothing(void **state)
{
    (void)state;
    const struct plan plan = { .durability = DURABILITY_FSYNC };
    cuts_run(&plan, setting("SPINDLE_POWER_CUTS", 1000));
}

static void cut_while_merging_loses_nothing(void **state)
{
    (void)state;
    const struct plan plan = { .durability = DURABILITY_FSYNC, .merges = true };
    cuts_run(&plan, setting("SPINDLE_POWER_CUTS", 1000) / 5);
}

static void cut_while_expiring_loses_only_the_oldest(void **state)
{
    (void)state;
    const struct plan plan = { .durability = DURABILITY_FSYNC, .expires = true };
    cuts_run(&plan, setting("SPINDLE_POWER_CUTS", 1000) / 5);
}

/* A sync fails somewhere before the cut, and what it should have made durable is lost. */
static void failed_sync_and_cut_lose_nothing(void **state)
{
    (void)state;
    const struct plan plan = { .durability = DURABILITY_FSYNC, .fails_syncs = true };
    cuts_run(&plan, setting("SPINDLE_POWER_CUTS", 1000) / 5);
}

static void defect_is_caught(const char *name, const struct plan *plan)
{
    unsigned cuts = 0;
    bool is_right = true;
    for (uint64_t seed = 1; is_right && cuts < 1000; seed++)
        is_right = directory_run(seed, plan, &cuts);
    (void)fprintf(stderr, "%s: %s after %u cuts\n", name, is_right ? "NOT caught" : "caught", cuts);
    assert_false(is_right);
}

static void defects_are_caught(void **state)
{
    (void)state;
    defect_is_caught("synchronous=NORMAL", &(struct plan){ .durability = DURABILITY_PROCESS });
    defect_is_caught("a sync that does nothing",
                     &(struct plan){ .defect = POWER_SYNC_DOES_NOTHING });
    defect_is_caught("no directory sync",
                     &(struct plan){ .defect = POWER_DIRECTORY_SYNC_DOES_NOTHING });
    /* SQLite writes again what it could not sync, so this one loses nothing by itself; the disk tells. */
    defect_is_caught("writing on after a failed sync",
                     &(struct plan){ .defect = POWER_FAILED_SYNC_IS_HIDDEN, .fails_syncs = true });
    defect_is_caught("acknowledging before the commit", &(struct plan){ .acks_early = true });
}

int main(void)
{
    log_set_level((enum log_level)(LOG_ERROR + 1)); /* a disk without power is not worth a line */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_loses_nothing),
        cmocka_unit_test(cut_while_merging_loses_nothing),
        cmocka_unit_test(cut_while_expiring_loses_only_the_oldest),
        cmocka_unit_test(failed_sync_and_cut_lose_nothing),
        cmocka_unit_test(defects_are_caught),
    };
    const char *only = getenv("SPINDLE_TEST_FILTER");
    if (only != NULL)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
