/* SPDX-License-Identifier: Apache-2.0 */
/* Kill -9 at every named point of the engine and at random moments, again and again in one directory: what
 * was acknowledged to the outside before the kill is there afterwards, once and unchanged; nothing is
 * there that was not sent; and every file verifies. The process that is killed is a real one, started
 * anew each time; its acknowledgements leave it through a pipe from inside the completion.
 *
 * kill -9 cannot show a missing sync, since the kernel keeps what was written: power_test does. The control
 * here acknowledges before the commit, which the kills must reveal. */
#include "base/mem.h"
#include "base/random.h"
#include "storage/sqlite/journal.h"
#include "storage/sqlite/sqlite_engine.h"
#include "storage/sqlite/testing/catalog_look.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCHES_A_LIFE 48                  /* what a process sends that is not killed */
#define LIVES          5                   /* kills of one directory */
#define EXPIRY_BYTES   ((uint64_t)1 << 20) /* the catalogue and a few partitions */
#define KEPT_BATCHES   2                   /* of the last acknowledged: they are never that old */

static const char *const points[] = {
    "schema_written",      "schema_committed",  "catalog_created",      "partition_created",
    "partition_synced",    "partition_listed",  "append_taken",         "group_begun",
    "group_entry_written", "group_written",     "group_committed",      "group_visible",
    "group_answered",      "checkpoint_before", "checkpoint_after",     "build_begun",
    "build_finished",      "retire_begun",      "retire_group_written", "retire_position_stored",
    "retire_committed",    "retire_visible",    "roll_begun",           "seal_checkpointed",
    "seal_shrunk",         "seal_summarised",   "seal_listed",          "replay_entry",
    "close_begun",         "group_in_file",     "segment_written",      "segment_made",
    "segment_removed",
};
#define POINTS (sizeof points / sizeof points[0])

static const char *const expiry_points[] = { "expiry_begun",     "expiry_listed",
                                             "expiry_unlinking", "unlink_next",
                                             "expiry_unlinked",  "expiry_forgotten",
                                             "rollups_expired" };
static const char *const logs_points[] = { "logs_begun",   "logs_listed", "logs_deleting",
                                           "logs_deleted", "logs_shrunk", "logs_forgotten" };
#define LOGS_POINTS (sizeof logs_points / sizeof logs_points[0])
static const char *const merge_points[] = { "merge_begun",     "merge_written", "merge_marked",
                                            "merge_committed", "merge_visible", "merge_deleting",
                                            "merge_deleted" };
#define MERGE_POINTS (sizeof merge_points / sizeof merge_points[0])
static const char *const rollup_points[] = { "rollups_merge_written", "rollups_merge_committed" };
#define ROLLUP_POINTS (sizeof rollup_points / sizeof rollup_points[0])

#define EXPIRY_POINTS (sizeof expiry_points / sizeof expiry_points[0])

static struct sqlite_engine_options options_of(const char *directory)
{
    return (struct sqlite_engine_options){ .directory = directory,
                                           .builder_rows = 60,
                                           .builder_age_ns = 5 * NS_PER_MS,
                                           .partition_bytes_max = 1 };
}

/* Retention that takes nearly everything, at once. */
static void options_expire(struct sqlite_engine_options *o)
{
    o->retention_bytes = EXPIRY_BYTES;
    o->maintain_interval_ns = 2 * NS_PER_MS;
}

/* Log records go out of each partition as soon as it is sealed. */
static void options_expire_logs(struct sqlite_engine_options *o)
{
    o->retention_logs_ns = 1;
    o->partition_age_ns = 3600 * NS_PER_S;
    o->maintain_interval_ns = 2 * NS_PER_MS;
}

/* Many small row groups in one partition, merged as they come. */
static void options_merge(struct sqlite_engine_options *o)
{
    o->builder_rows = 4000;
    o->builder_age_ns = NS_PER_MS;
    o->partition_bytes_max = (uint64_t)1 << 30;
    o->maintain_interval_ns = NS_PER_MS;
}

/* ---- The process that dies -------------------------------------------------------------------------- */

/* Many partitions, the rollups of which are brought together. */
static void options_roll_up(struct sqlite_engine_options *o)
{
    o->maintain_interval_ns = NS_PER_MS;
}

static void child_send(struct ledger *l, struct engine *e, size_t first, size_t count)
{
    enum { MANY_MAX = 8 };
    struct append *appends[MANY_MAX];
    enum err results[MANY_MAX];
    for (size_t i = 0; i < count; i++)
        appends[i] = ledger_append_make(l, first + i, 1);
    if (getenv("SPINDLE_TEST_ACK_EARLY") != NULL)
        for (uint64_t n = first; n < first + count; n++)
            (void)!write(l->ack_fd, &n, sizeof n);
    ledger_send_many(e, appends, count, results);
    for (size_t i = 0; i < count; i++)
        ledger_append_free(appends[i]);
}

static int child_main(char **argv)
{
    struct ledger l;
    struct random r;
    size_t from = strtoul(argv[3], NULL, 10);
    ledger_init(&l, strtoul(argv[2], NULL, 10), from + BATCHES_A_LIFE);
    random_init(&r, l.seed + from);
    l.ack_fd = STDOUT_FILENO;
    struct sqlite_engine_options options = options_of(argv[4]);
    if (getenv("SPINDLE_TEST_EXPIRES") != NULL)
        options_expire(&options);
    if (getenv("SPINDLE_TEST_EXPIRES_LOGS") != NULL)
        options_expire_logs(&options);
    bool merges = getenv("SPINDLE_TEST_MERGES") != NULL;
    if (merges)
        options_merge(&options);
    bool rolls_up = getenv("SPINDLE_TEST_ROLLS_UP") != NULL;
    if (rolls_up)
        options_roll_up(&options);
    struct engine *e = NULL;
    if (sqlite_engine_open(&options, &e, NULL) != ERR_OK)
        return 3;
    /* What the last one sent without an answer comes again, as clients do. */
    for (size_t i = from > 8 ? from - 8 : 0; i < from; i++)
        child_send(&l, e, i, 1);
    for (size_t i = from; i < l.capacity;) {
        size_t count = merges ? 1 : 1 + (size_t)random_below(&r, 8);
        count = count < l.capacity - i ? count : l.capacity - i;
        child_send(&l, e, i, count);
        i += count;
        if ((merges || rolls_up || random_below(&r, 6) == 0) && engine_settle(e) != ERR_OK)
            return 4;
        if (rolls_up)
            (void)usleep(5000); /* for maintenance; the next life goes on with what it did not do */
    }
    engine_close(e);
    ledger_deinit(&l);
    return 0;
}

/* ---- The process that watches ----------------------------------------------------------------------- */

struct life {
    const char *point; /* NULL: killed after a random time */
    unsigned passage;
    unsigned after_us;
    bool acks_early;
    bool expires;      /* with retention */
    bool expires_logs; /* of log records alone */
    bool merges;       /* with many small row groups */
    bool rolls_up;     /* with many partitions */
};

/* True when it was killed. Acknowledgements are noted in the ledger. */
static bool life_run(struct ledger *l, const char *directory, size_t from, const struct life *life)
{
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char seed[32], first[32], at[64];
        (void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)l->seed);
        (void)snprintf(first, sizeof first, "%zu", from);
        if (life->point != NULL) {
            (void)snprintf(at, sizeof at, "%s:%u", life->point, life->passage);
            (void)setenv("SPINDLE_CRASH_AT", at, 1);
        }
        if (life->acks_early)
            (void)setenv("SPINDLE_TEST_ACK_EARLY", "1", 1);
        if (life->expires)
            (void)setenv("SPINDLE_TEST_EXPIRES", "1", 1);
        if (life->expires_logs)
            (void)setenv("SPINDLE_TEST_EXPIRES_LOGS", "1", 1);
        if (life->merges)
            (void)setenv("SPINDLE_TEST_MERGES", "1", 1);
        if (life->rolls_up)
            (void)setenv("SPINDLE_TEST_ROLLS_UP", "1", 1);
        (void)dup2(pipe_fds[1], STDOUT_FILENO);
        (void)close(pipe_fds[0]);
        (void)close(pipe_fds[1]);
        int null = open("/dev/null", O_WRONLY);
        (void)dup2(null, STDERR_FILENO);
        (void)execl("/proc/self/exe", "crash_test", "--child", seed, first, directory,
                    (char *)NULL);
        _exit(9);
    }
    (void)close(pipe_fds[1]);
    if (life->point == NULL) {
        (void)usleep(life->after_us);
        (void)kill(pid, SIGKILL);
    }
    uint64_t number;
    while (read(pipe_fds[0], &number, sizeof number) == (ssize_t)sizeof number) {
        assert_true(number < l->capacity);
        l->outcomes[number] = LEDGER_ACKED;
    }
    (void)close(pipe_fds[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFSIGNALED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

/* Whether everything is as it was acknowledged. */
static bool life_check(struct ledger *l, const char *directory)
{
    unsigned complaints = 0;
    enum err e = sqlite_engine_verify(directory, report, &complaints);
    /* Killed before there was a catalogue, there is nothing to verify. */
    bool is_right = complaints == 0 || e == ERR_NOT_FOUND;
    struct sqlite_engine_options options = options_of(directory);
    struct engine *engine = NULL;
    uint64_t begun = clock_mono_ns();
    if (sqlite_engine_open(&options, &engine, NULL) != ERR_OK)
        return false;
    if (clock_mono_ns() - begun > 5 * NS_PER_S)
        is_right = false; /* a second on an idle machine: room for a loaded one */
    is_right = ledger_check(l, engine) && is_right;
    engine_close(engine);
    return is_right;
}

/* One directory, killed LIVES times; life_of chooses how. Returns the number of kills. */
static unsigned directory_run(uint64_t seed, const struct life *lives, bool *out_is_right)
{
    char directory[128];
    scratch_make(directory);
    struct ledger l;
    ledger_init(&l, seed, (size_t)LIVES * BATCHES_A_LIFE);
    l.is_quiet = lives[0].acks_early;
    unsigned kills = 0;
    for (size_t i = 0; i < LIVES && *out_is_right; i++) {
        size_t from = i * BATCHES_A_LIFE;
        for (size_t n = from; n < from + BATCHES_A_LIFE; n++)
            l.outcomes[n] = LEDGER_UNKNOWN;
        bool is_killed = life_run(&l, directory, from, &lives[i]);
        kills += is_killed;
        *out_is_right = life_check(&l, directory);
        if (!*out_is_right && !l.is_quiet)
            (void)fprintf(stderr, "seed %llu, life %zu, killed at %s:%u or after %u us\n",
                          (unsigned long long)seed, i,
                          lives[i].point == NULL ? "-" : lives[i].point, lives[i].passage,
                          lives[i].after_us);
    }
    ledger_deinit(&l);
    scratch_remove(directory);
    return kills;
}

static unsigned long setting(const char *name, unsigned long fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoul(text, NULL, 10);
}

static void killed_at_named_points(void **state)
{
    (void)state;
    unsigned long rounds = setting("SPINDLE_CRASH_ROUNDS", 1);
    unsigned kills = 0, missed = 0;
    for (unsigned long round = 0; round < rounds; round++) {
        for (size_t first = 0; first < POINTS; first += LIVES - 1) {
            struct life lives[LIVES] = { { 0 } };
            bool is_right = true;
            for (size_t i = 0; i < LIVES; i++)
                lives[i] = (struct life){ .point = points[(first + i) % POINTS],
                                          .passage = (unsigned)(1 + (i + round) % 3) };
            unsigned done = directory_run(1000 * (round + 1) + first, lives, &is_right);
            kills += done;
            missed += LIVES - done;
            assert_true(is_right);
        }
    }
    (void)fprintf(stderr, "%u kills at named points, %u not reached\n", kills, missed);
    assert_true(kills >= rounds * 25);
}

static void killed_at_random(void **state)
{
    (void)state;
    unsigned long wanted = setting("SPINDLE_CRASH_KILLS", 80);
    struct random r;
    random_init(&r, 99);
    unsigned kills = 0;
    for (uint64_t seed = 1; kills < wanted && seed < 4 * wanted; seed++) {
        struct life lives[LIVES];
        for (size_t i = 0; i < LIVES; i++)
            lives[i] = (struct life){ .after_us = (unsigned)random_below(&r, 150000) };
        bool is_right = true;
        kills += directory_run(seed, lives, &is_right);
        assert_true(is_right);
    }
    (void)fprintf(stderr, "%u kills at random\n", kills);
    assert_true(kills >= wanted);
}

static bool holds_nothing(const char *path)
{
    struct db db;
    uint64_t newest_group = 1;
    int64_t has_group = 1;
    bool is_empty = db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db) == ERR_OK &&
                    journal_newest_group(&db, &newest_group) == ERR_OK && newest_group == 0 &&
                    db_integer(&db, "SELECT 1 FROM row_group", 0, &has_group) == ERR_OK &&
                    has_group == 0;
    db_close(&db);
    return is_empty;
}

/* Files of the directory that are partitions, and those of them that hold nothing: the newest may, and one that
 * was made when the kill came, before the catalogue listed it. */
static unsigned partition_files(const char *directory, unsigned *out_empty)
{
    unsigned count = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    *out_empty = 0;
    for (struct dirent *f = readdir(d); f != NULL; f = readdir(d)) {
        char path[512];
        size_t len = strlen(f->d_name);
        if (f->d_name[0] != 'p' || len <= 3 || strcmp(f->d_name + len - 3, ".db") != 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", directory, f->d_name);
        count++;
        *out_empty += holds_nothing(path);
    }
    (void)closedir(d);
    return count;
}

/* What has expired may be gone, the newest is not; nothing is there twice or changed; and what a kill left of
 * a partition that was being removed goes at the next start. */
static bool expiry_check(struct ledger *l, const char *directory)
{
    size_t kept = 0;
    for (size_t i = l->capacity; i-- > 0;)
        if (l->outcomes[i] == LEDGER_ACKED && kept++ >= KEPT_BATCHES)
            l->outcomes[i] = LEDGER_UNKNOWN;
    if (!life_check(l, directory))
        return false;
    struct sqlite_engine_options options = options_of(directory);
    struct engine *e = NULL;
    struct engine_statistics s = { 0 };
    options_expire(&options);
    if (sqlite_engine_open(&options, &e, NULL) != ERR_OK)
        return false;
    bool is_right = false;
    unsigned files = 0, empty = 0;
    for (int look = 0; look < 15000 && !is_right; look++) {
        if (look > 0)
            (void)usleep(2000);
        engine_statistics(e, &s);
        files = partition_files(directory, &empty);
        is_right =
            s.disk_bytes <= EXPIRY_BYTES && s.partitions <= files && s.partitions >= files - empty;
    }
    if (!is_right)
        (void)fprintf(stderr, "%llu partitions, %u files, %u of them empty, %llu bytes\n",
                      (unsigned long long)s.partitions, files, empty,
                      (unsigned long long)s.disk_bytes);
    engine_close(e);
    return is_right;
}

static void killed_while_expiring(void **state)
{
    (void)state;
    unsigned long rounds = setting("SPINDLE_CRASH_ROUNDS", 1);
    unsigned kills = 0;
    for (unsigned long n = 0; n < rounds * EXPIRY_POINTS; n++) {
        char directory[128];
        struct ledger l;
        scratch_make(directory);
        ledger_init(&l, 7000 + n, (size_t)LIVES * BATCHES_A_LIFE);
        for (size_t i = 0; i < LIVES; i++) {
            const char *point = expiry_points[(n + i) % EXPIRY_POINTS];
            bool is_once =
                strcmp(point, "rollups_expired") == 0; /* soon after a start, then hourly */
            const struct life life = { .point = point,
                                       .passage = is_once ? 1 : (unsigned)(1 + (n + i) % 3),
                                       .expires = true };
            size_t from = i * BATCHES_A_LIFE;
            for (size_t k = from; k < from + BATCHES_A_LIFE; k++)
                l.outcomes[k] = LEDGER_UNKNOWN;
            kills += life_run(&l, directory, from, &life);
            assert_true(expiry_check(&l, directory));
        }
        ledger_deinit(&l);
        scratch_remove(directory);
    }
    (void)fprintf(stderr, "%u kills while expiring\n", kills);
    assert_true(kills >= rounds * EXPIRY_POINTS * 3);
}

/* Who only asks leaves what a kill left to be done, and the journal, as they are. True when there was something. */
static bool logs_are_left_alone(const char *directory)
{
    if (catalog_look_logs(directory) != -1)
        return false;
    struct sqlite_engine_options options = options_of(directory);
    struct engine *e = NULL;
    options.is_left_alone = true;
    options.partition_bytes_max = UINT64_MAX;
    options.partition_age_ns = 3600 * NS_PER_S;
    options.builder_rows = SIZE_MAX;
    options.builder_age_ns = 3600 * NS_PER_S;
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    struct engine_statistics opened, again;
    engine_statistics(e, &opened);
    engine_close(e);
    assert_int_equal(catalog_look_logs(directory), -1);
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    engine_statistics(e, &again);
    engine_close(e);
    assert_int_equal(again.journal_bytes, opened.journal_bytes);
    assert_int_equal(again.row_groups, opened.row_groups);
    assert_int_equal(again.partitions, opened.partitions);
    return true;
}

/* Every span is there, log records may be gone; what a kill left to be done is done by the next start. */
static bool logs_expiry_check(struct ledger *l, const char *directory)
{
    for (size_t i = 0; i < l->capacity; i++)
        if (l->outcomes[i] == LEDGER_ACKED && ledger_signal(l, i) == SIGNAL_LOGS)
            l->outcomes[i] = LEDGER_UNKNOWN;
    if (!life_check(l, directory))
        return false;
    struct sqlite_engine_options options = options_of(directory);
    struct engine *e = NULL;
    options_expire_logs(&options);
    if (sqlite_engine_open(&options, &e, NULL) != ERR_OK)
        return false;
    for (int look = 0; look < 15000 && catalog_look_logs(directory) != 0; look++)
        (void)usleep(2000);
    int64_t left = catalog_look_logs(directory);
    engine_close(e);
    unsigned complaints = 0;
    enum err error = sqlite_engine_verify(directory, report, &complaints);
    if (left != 0)
        (void)fprintf(stderr, "%lld row groups of log records are left\n", (long long)left);
    return left == 0 && complaints == 0 && error == ERR_OK;
}

static void killed_while_log_records_expire(void **state)
{
    (void)state;
    unsigned long rounds = setting("SPINDLE_CRASH_ROUNDS", 1);
    unsigned kills = 0, left_alone = 0;
    for (unsigned long n = 0; n < rounds * LOGS_POINTS; n++) {
        char directory[128];
        struct ledger l;
        scratch_make(directory);
        ledger_init(&l, 8000 + n, (size_t)LIVES * BATCHES_A_LIFE);
        for (size_t i = 0; i < LIVES; i++) {
            const struct life life = { .point = logs_points[(n + i) % LOGS_POINTS],
                                       .passage = (unsigned)(1 + (n + i) % 3),
                                       .expires_logs = true };
            size_t from = i * BATCHES_A_LIFE;
            for (size_t k = from; k < from + BATCHES_A_LIFE; k++)
                l.outcomes[k] = LEDGER_UNKNOWN;
            kills += life_run(&l, directory, from, &life);
            left_alone += logs_are_left_alone(directory);
            assert_true(logs_expiry_check(&l, directory));
        }
        ledger_deinit(&l);
        scratch_remove(directory);
    }
    (void)fprintf(stderr, "%u kills while log records expire\n", kills);
    assert_true(kills >= rounds * LOGS_POINTS && left_alone > 0);
}

static void killed_while_merging(void **state)
{
    (void)state;
    unsigned long rounds = setting("SPINDLE_CRASH_ROUNDS", 1);
    unsigned kills = 0;
    for (unsigned long n = 0; n < rounds * MERGE_POINTS; n++) {
        struct life lives[LIVES] = { { 0 } };
        bool is_right = true;
        for (size_t i = 0; i < LIVES; i++)
            lives[i] = (struct life){ .point = merge_points[(n + i) % MERGE_POINTS],
                                      .passage = (unsigned)(1 + (n + i) % 2),
                                      .merges = true };
        kills += directory_run(9000 + n, lives, &is_right);
        assert_true(is_right);
    }
    (void)fprintf(stderr, "%u kills while merging\n", kills);
    assert_true(kills >= rounds * MERGE_POINTS * 3);
}

static void killed_while_rolling_up(void **state)
{
    (void)state;
    unsigned long rounds = setting("SPINDLE_CRASH_ROUNDS", 1);
    unsigned kills = 0;
    for (unsigned long n = 0; n < rounds * ROLLUP_POINTS; n++) {
        struct life lives[LIVES] = { { 0 } };
        bool is_right = true;
        for (size_t i = 0; i < LIVES; i++)
            lives[i] = (struct life){ .point = rollup_points[(n + i) % ROLLUP_POINTS],
                                      .passage = 1,
                                      .rolls_up = true };
        kills += directory_run(11000 + n, lives, &is_right);
        assert_true(is_right);
    }
    (void)fprintf(stderr, "%u kills while rollups are merged\n", kills);
    assert_true(kills >= rounds * ROLLUP_POINTS);
}

/* The control: acknowledging before the commit loses what was acknowledged, and the ledger says so. */
static void early_acknowledgement_is_caught(void **state)
{
    (void)state;
    bool is_right = true;
    for (uint64_t seed = 1; is_right && seed < 20; seed++) {
        struct life lives[LIVES];
        for (size_t i = 0; i < LIVES; i++)
            lives[i] = (struct life){ .point = "group_written", .passage = 2, .acks_early = true };
        (void)directory_run(seed, lives, &is_right);
    }
    assert_false(is_right);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--child") == 0)
        return child_main(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_named_points),
        cmocka_unit_test(killed_at_random),
        cmocka_unit_test(killed_while_expiring),
        cmocka_unit_test(killed_while_log_records_expire),
        cmocka_unit_test(killed_while_merging),
        cmocka_unit_test(killed_while_rolling_up),
        cmocka_unit_test(early_acknowledgement_is_caught),
    };
    const char *only = getenv("SPINDLE_TEST_FILTER");
    if (only != NULL)
        cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
