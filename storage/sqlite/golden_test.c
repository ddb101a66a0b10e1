/* SPDX-License-Identifier: Apache-2.0 */
/* Data directories of every format version so far, as a server left them that was killed: sealed
 * partitions, an open one with row groups, and a journal in its log. Each opens, has every item once,
 * verifies before and after, and takes more.
 *
 * golden/vN-FILE.zst are the files, packed. A new version's are made by the program that writes it:
 *   SPINDLE_GOLDEN_MAKE=EMPTY-DIRECTORY build/release/storage/golden_test
 * and packed with zstd. The batches follow from GOLDEN_SEED, so what must be in them is known. */
#include "base/mem.h"
#include "codec/codec.h"
#include "storage/sqlite/backup.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/sqlite_engine.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOLDEN_SEED    20261121
#define GOLDEN_BATCHES 48
#define GOLDEN_SEALED  16                 /* batches of the sealed partitions */
#define GOLDEN_BUILT   32                 /* batches in row groups; the others are in the journal */
#define GOLDEN_BYTES   ((size_t)16 << 20) /* of one file, unpacked */

static struct sqlite_engine_options options_of(const char *directory)
{
    return (struct sqlite_engine_options){ .directory = directory,
                                           .builder_age_ns = 3600 * NS_PER_S };
}

static void send(struct ledger *l, struct engine *e, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        assert_int_equal(ledger_batch(l, e, i), ERR_OK);
}

static int golden_make(const char *directory)
{
    struct ledger l;
    ledger_init(&l, GOLDEN_SEED, GOLDEN_BATCHES);
    struct sqlite_engine_options options = options_of(directory);
    struct engine *e = NULL;
    struct engine_statistics s = { 0 };
    options.partition_bytes_max = 1;
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    send(&l, e, 0, GOLDEN_SEALED);
    assert_int_equal(engine_settle(e), ERR_OK);
    for (int i = 0; i < 100 && s.partitions < 2; i++) {
        (void)usleep(100000);
        engine_statistics(e, &s);
    }
    (void)sleep(2); /* the first is sealed at the next look */
    engine_close(e);
    options.partition_bytes_max = 0;
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    send(&l, e, GOLDEN_SEALED, GOLDEN_BUILT);
    assert_int_equal(engine_settle(e), ERR_OK);
    send(&l, e, GOLDEN_BUILT, GOLDEN_BATCHES);
    _exit(0); /* as if killed: the log stays */
}

static void unpack(const char *packed, const char *to)
{
    char path[512];
    (void)snprintf(path, sizeof path, SPINDLE_SOURCE_DIR "/storage/sqlite/golden/%s", packed);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    static uint8_t bytes[1 << 18];
    size_t len = fread(bytes, 1, sizeof bytes, in);
    assert_true(len > 0 && len < sizeof bytes);
    (void)fclose(in);
    struct arena arena;
    struct bytes raw = { 0 };
    arena_init(&arena, 2 * GOLDEN_BYTES, NULL);
    assert_int_equal(
        codec_decompress(CODEC_ZSTD, bytes_of(bytes, len), GOLDEN_BYTES, &arena, &raw, NULL),
        ERR_OK);
    FILE *out = fopen(to, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(raw.data, 1, raw.len, out), raw.len);
    assert_int_equal(fclose(out), 0);
    arena_deinit(&arena);
}

/* Every file of the version; returns how many partitions there are. */
static size_t directory_unpack(unsigned version, const char *directory)
{
    char prefix[8];
    size_t partitions = 0;
    const struct dirent *entry;
    DIR *d = opendir(SPINDLE_SOURCE_DIR "/storage/sqlite/golden");
    assert_non_null(d);
    (void)snprintf(prefix, sizeof prefix, "v%u-", version);
    while ((entry = readdir(d)) != NULL) {
        const char *name = entry->d_name + strlen(prefix), *end = strstr(entry->d_name, ".zst");
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || end == NULL)
            continue;
        char to[512];
        (void)snprintf(to, sizeof to, "%s/%.*s", directory, (int)(end - name), name);
        unpack(entry->d_name, to);
        partitions += name[0] == 'p' && strncmp(end - 3, ".db", 3) == 0;
    }
    (void)closedir(d);
    assert_true(partitions > 1);
    return partitions;
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

static void directory_verifies(const char *directory)
{
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(directory, report, &complaints), ERR_OK);
    assert_int_equal(complaints, 0);
}

/* A process that opens the directory and is killed on the way. */
static void open_and_die(const char *directory, const char *killed_at)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sqlite_engine_options options = options_of(directory);
        struct engine *e = NULL;
        (void)setenv("SPINDLE_CRASH_AT", killed_at, 1);
        _exit(sqlite_engine_open(&options, &e, NULL) == ERR_OK ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* All that was acknowledged is there, and it goes on from there. */
static void directory_serves(const char *directory)
{
    struct ledger l;
    ledger_init(&l, GOLDEN_SEED, GOLDEN_BATCHES + 8);
    for (size_t i = 0; i < GOLDEN_BATCHES; i++)
        l.outcomes[i] = LEDGER_ACKED;
    struct sqlite_engine_options options = options_of(directory);
    struct engine *e = NULL;
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    assert_true(ledger_check(&l, e));
    send(&l, e, GOLDEN_BATCHES, l.capacity);
    assert_int_equal(engine_settle(e), ERR_OK);
    assert_true(ledger_check(&l, e));
    engine_close(e);
    directory_verifies(directory);
    /* And once more, as this version left it. */
    assert_int_equal(sqlite_engine_open(&options, &e, NULL), ERR_OK);
    assert_true(ledger_check(&l, e));
    /* The control: what is not there would be missed. */
    l.is_quiet = true;
    l.seed++;
    assert_false(ledger_check(&l, e));
    engine_close(e);
    ledger_deinit(&l);
}

static void golden_opens(unsigned version, const char *killed_at)
{
    char directory[128];
    scratch_make(directory);
    (void)directory_unpack(version, directory);
    directory_verifies(directory);
    if (killed_at != NULL) {
        open_and_die(directory, killed_at);
        directory_verifies(directory);
    }
    directory_serves(directory);
    scratch_remove(directory);
}

static void each_version_opens(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= SCHEMA_VERSION; version++)
        golden_opens(version, NULL);
}

static void version_2_opens_after_a_kill(void **state)
{
    (void)state;
#if SPINDLE_FAULTS
    golden_opens(2, "replay_entry");
#else
    skip();
#endif
}

/* The catalogue is upgraded and the journal moved in steps; whatever is the last, the next start goes on. */
static void version_1_opens_after_a_kill(void **state)
{
    (void)state;
#if SPINDLE_FAULTS
    static const char *const points[] = { "upgrade_written",   "upgrade_committed",
                                          "partition_created", "partition_listed",
                                          "rescue_committed",  "rescue_listed" };
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++)
        golden_opens(1, points[i]);
#else
    skip();
#endif
}

/* Copied as it is, what is in its log too, and brought to this version where it is restored. */
static void each_version_is_backed_up(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= SCHEMA_VERSION; version++) {
        char directory[128], backup[128], restored[128];
        struct backup_result result;
        scratch_make(directory);
        scratch_make(backup);
        scratch_make(restored);
        size_t partitions = directory_unpack(version, directory);
        assert_int_equal(sqlite_backup(directory, backup, NULL, NULL, &result, NULL), ERR_OK);
        assert_int_equal(result.partitions, partitions);
        assert_int_equal(sqlite_restore(backup, restored, NULL, NULL, &result, NULL), ERR_OK);
        directory_verifies(restored);
        directory_serves(restored);
        scratch_remove(directory);
        scratch_remove(backup);
        scratch_remove(restored);
    }
}

int main(void)
{
    const char *directory = getenv("SPINDLE_GOLDEN_MAKE");
    if (directory != NULL)
        return golden_make(directory);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_version_opens),
        cmocka_unit_test(version_1_opens_after_a_kill),
        cmocka_unit_test(version_2_opens_after_a_kill),
        cmocka_unit_test(each_version_is_backed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
