/* SPDX-License-Identifier: Apache-2.0 */
/* Backups on the real disk, of an engine that goes on writing, building, sealing and expiring: what is restored
 * verifies, has every item that was acknowledged before the backup began, once and unchanged, and nothing that
 * was not sent. What is not a whole backup is refused, as is a target that holds anything. */
#include "storage/sqlite/backup.h"

#include "base/mem.h"
#include "storage/sqlite/backup_private.h"
#include "storage/sqlite/sqlite_engine.h"
#include "storage/sqlite/testing/catalog_look.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_NS UINT64_C(1790000000000000000)
#define PATIENCE 3000 /* looks of 10 ms for what must happen */
#define BATCHES  4000

struct store {
    char directory[128], backup[128], restored[128];
    struct sqlite_engine_options options;
    struct engine *engine;
    struct ledger ledger;
    struct metrics *metrics;
    size_t next;  /* batch to be sent */
    size_t ticks; /* files that were copied */
    bool has_expired;
    char *message;
    struct backup_result result;
};

static void store_open(struct store *s)
{
    assert_int_equal(sqlite_engine_open(&s->options, &s->engine, NULL), ERR_OK);
}

static void store_init(struct store *s, uint64_t seed)
{
    *s = (struct store){ 0 };
    scratch_make(s->directory);
    scratch_make(s->backup);
    scratch_make(s->restored);
    ledger_init(&s->ledger, seed, BATCHES);
    s->metrics = metrics_open();
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = 60,
                                                 .builder_age_ns = NS_PER_MS,
                                                 .partition_bytes_max = 1,
                                                 .maintain_interval_ns = 5 * NS_PER_MS,
                                                 .metrics = s->metrics };
    store_open(s);
}

static void store_deinit(struct store *s)
{
    if (s->engine != NULL)
        engine_close(s->engine);
    metrics_close(s->metrics);
    ledger_deinit(&s->ledger);
    mem_free(s->message);
    scratch_remove(s->directory);
    scratch_remove(s->backup);
    scratch_remove(s->restored);
}

static void send(struct store *s, size_t count)
{
    for (size_t end = s->next + count; s->next < end; s->next++)
        assert_int_equal(ledger_batch(&s->ledger, s->engine, s->next), ERR_OK);
}

static uint64_t partitions(struct store *s)
{
    struct engine_statistics statistics;
    engine_statistics(s->engine, &statistics);
    return statistics.partitions;
}

/* Each call leaves one partition more, with a journal that is empty. */
static void fill_partition(struct store *s)
{
    uint64_t before = partitions(s);
    send(s, 8);
    assert_int_equal(engine_settle(s->engine), ERR_OK);
    for (int look = 0; look < PATIENCE && partitions(s) <= before; look++)
        (void)usleep(10000);
    assert_true(partitions(s) > before);
}

static enum err backup(struct store *s, backup_file_fn *on_file)
{
    mem_free(s->message);
    s->message = NULL;
    enum err e = sqlite_backup(s->directory, s->backup, on_file, s, &s->result, &s->message);
    assert_true((e == ERR_OK) == (s->message == NULL));
    if (e != ERR_OK)
        (void)fprintf(stderr, "%s\n", s->message);
    return e;
}

static enum err restore(struct store *s)
{
    mem_free(s->message);
    s->message = NULL;
    enum err e = sqlite_restore(s->backup, s->restored, NULL, NULL, &s->result, &s->message);
    assert_true((e == ERR_OK) == (s->message == NULL));
    return e;
}

static void says(const struct store *s, const char *part)
{
    if (s->message == NULL || strstr(s->message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", s->message == NULL ? "" : s->message, part);
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

/* What was sent from batch `known` on may be there. */
static bool restored_is_whole(struct store *s, size_t known, bool is_quiet)
{
    unsigned complaints = 0;
    if (!is_quiet)
        assert_int_equal(sqlite_engine_verify(s->restored, report, &complaints), ERR_OK);
    for (size_t i = known; i < s->next; i++)
        s->ledger.outcomes[i] = LEDGER_UNKNOWN;
    s->ledger.is_quiet = is_quiet;
    s->ledger.wrong = NULL;
    struct sqlite_engine_options options = s->options;
    struct engine *engine = NULL;
    options.directory = s->restored;
    options.metrics = NULL;
    assert_int_equal(sqlite_engine_open(&options, &engine, NULL), ERR_OK);
    bool is_whole = ledger_check(&s->ledger, engine) && engine_settle(engine) == ERR_OK &&
                    ledger_check(&s->ledger, engine);
    engine_close(engine);
    if (!is_quiet)
        assert_int_equal(sqlite_engine_verify(s->restored, report, &complaints), ERR_OK);
    return is_whole;
}

/* ---- Whole -------------------------------------------------------------------------------------- */

static void idle_and_closed(void **state)
{
    (void)state;
    for (int is_closed = 0; is_closed < 2; is_closed++) {
        struct store s;
        store_init(&s, 11);
        fill_partition(&s);
        fill_partition(&s);
        send(&s, 3);
        if (is_closed) {
            engine_close(s.engine);
            s.engine = NULL;
        }
        assert_int_equal(backup(&s, NULL), ERR_OK);
        assert_true(s.result.partitions >= 3 && s.result.expired == 0);
        if (is_closed) /* then no journal has files */
            assert_int_equal(s.result.files, s.result.partitions + 1);
        else
            assert_true(s.result.files > s.result.partitions + 1);
        uint64_t bytes = s.result.bytes;
        assert_int_equal(restore(&s), ERR_OK);
        assert_int_equal(s.result.bytes, bytes);
        assert_true(restored_is_whole(&s, s.next, false));
        store_deinit(&s);
    }
}

struct flood {
    struct store *store;
    _Atomic bool is_ending;
    _Atomic size_t sent;
};

static void *flood_main(void *context)
{
    struct flood *f = context;
    while (!atomic_load(&f->is_ending) && f->store->next < BATCHES) {
        send(f->store, 1);
        atomic_store(&f->sent, f->store->next);
    }
    return NULL;
}

static void under_writes(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 3; round++) {
        struct store s;
        store_init(&s, 100 + round);
        struct flood f = { .store = &s };
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, flood_main, &f), 0);
        while (atomic_load(&f.sent) < 60 + 40 * round)
            (void)usleep(1000);
        size_t known = atomic_load(&f.sent);
        assert_int_equal(backup(&s, NULL), ERR_OK);
        atomic_store(&f.is_ending, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(s.next > known); /* it did go on meanwhile */
        /* And the engine that was copied has all of it. */
        assert_true(ledger_check(&s.ledger, s.engine));
        assert_int_equal(restore(&s), ERR_OK);
        assert_true(restored_is_whole(&s, known, false));
        store_deinit(&s);
    }
}

/* Until the first one is sealed, as far as it comes to that. */
static void sealed_wait(const struct store *s)
{
    for (int look = 0; look < PATIENCE / 10 && !catalog_look_is_sealed(s->directory, 1); look++)
        (void)usleep(10000);
}

/* The worst moment: all that can change changes right behind the first file that was copied. */
static void after_first_file(void *context, const char *name, uint64_t bytes)
{
    struct store *s = context;
    (void)name;
    assert_true(bytes > 0);
    if (s->ticks++ > 0)
        return;
    for (int i = 0; i < 3; i++)
        fill_partition(s);
    sealed_wait(s);
}

static bool sealed_meanwhile_is_whole(uint64_t seed, bool is_quiet)
{
    struct store s;
    store_init(&s, seed);
    send(&s, 1);
    s.options.builder_age_ns = 3600 * NS_PER_S; /* so that there is a journal to be copied */
    engine_close(s.engine);
    store_open(&s);
    send(&s, 2);
    size_t known = s.next;
    assert_int_equal(backup(&s, after_first_file), ERR_OK);
    assert_int_equal(restore(&s), ERR_OK);
    bool is_whole = restored_is_whole(&s, known, is_quiet);
    store_deinit(&s);
    return is_whole;
}

static void sealed_meanwhile(void **state)
{
    (void)state;
    assert_true(sealed_meanwhile_is_whole(21, false));
}

#if SPINDLE_FAULTS
static void after_each_file(void *context, const char *name, uint64_t bytes)
{
    struct store *s = context;
    (void)bytes;
    if (strcmp(name, "p000001.db") == 0 && s->next < 20) {
        for (int i = 0; i < 3; i++)
            fill_partition(s);
        (void)usleep(500000);
    }
}

static bool catalog_last_loses(uint64_t seed)
{
    struct store s;
    store_init(&s, seed);
    s.options.builder_age_ns = 3600 * NS_PER_S;
    s.options.builder_rows = 100000;
    engine_close(s.engine);
    store_open(&s);
    send(&s, 3);
    size_t known = s.next;
    assert_int_equal(backup(&s, after_each_file), ERR_OK);
    assert_int_equal(restore(&s), ERR_OK);
    bool is_whole = restored_is_whole(&s, known, true);
    store_deinit(&s);
    return !is_whole;
}

/* The control: a listing that is newer than the files loses what was in their journals. What has to change meanwhile
 * may take longer than is waited for, so there are some tries. */
static void catalog_last_is_noticed(void **state)
{
    (void)state;
    bool loses = false;
    (void)setenv("SPINDLE_DEFECT", "backup-catalog-last", 1); /* while no thread of it reads that */
    for (uint64_t seed = 22; !loses && seed < 32; seed++)
        loses = catalog_last_loses(seed);
    (void)unsetenv("SPINDLE_DEFECT");
    assert_true(loses);
}

/* A kill before the manifest is there leaves no backup; one during a restore no data directory. */
static void killed_at(const char *point, void (*act)(struct store *), struct store *s)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)setenv("SPINDLE_CRASH_AT", point, 1);
        act(s);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void act_backup(struct store *s)
{
    (void)!backup(s, NULL);
}

static void act_restore(struct store *s)
{
    (void)!restore(s);
}

static void killed(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 23);
    fill_partition(&s);
    fill_partition(&s);
    engine_close(s.engine);
    s.engine = NULL;
    killed_at("backup_copied", act_backup, &s);
    assert_int_equal(restore(&s), ERR_NOT_FOUND);
    says(&s, "has no manifest");
    assert_int_equal(backup(&s, NULL), ERR_EXISTS);
    says(&s, "is not empty");
    scratch_remove(s.backup);
    assert_int_equal(backup(&s, NULL), ERR_OK);

    const char *const points[] = { "restore_file:1", "restore_file:2", "restore_copied" };
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        struct engine *engine = NULL;
        struct sqlite_engine_options options = s.options;
        options.directory = s.restored;
        options.metrics = NULL;
        killed_at(points[i], act_restore, &s);
        assert_int_equal(sqlite_engine_open(&options, &engine, NULL), ERR_CORRUPT);
        scratch_remove(s.restored);
    }
    assert_int_equal(restore(&s), ERR_OK);
    assert_true(restored_is_whole(&s, s.next, false));
    store_deinit(&s);
}
#endif

/* ---- What expires meanwhile ------------------------------------------------------------------------ */

static void expire_all(void *context, const char *name, uint64_t bytes)
{
    struct store *s = context;
    (void)bytes;
    if (strcmp(name, "catalog.db") != 0 || partitions(s) <= 2)
        return;
    clock_fake_set(START_NS, 1000 * NS_PER_S + 40 * (86400 * NS_PER_S));
    char path[256];
    (void)snprintf(path, sizeof path, "%s/p000002.db", s->directory);
    for (int look = 0; look < PATIENCE && (access(path, F_OK) == 0 || partitions(s) > 2); look++)
        (void)usleep(10000);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void expired_is_left_out(void **state)
{
    (void)state;
    struct store s;
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 31);
    engine_close(s.engine);
    s.options.retention_age_ns = 30 * (86400 * NS_PER_S);
    store_open(&s);
    for (int i = 0; i < 4; i++)
        fill_partition(&s);
    assert_int_equal(backup(&s, expire_all), ERR_OK);
    assert_true(s.result.expired >= 2);
    assert_true(s.result.partitions >= 1);
    assert_int_equal(restore(&s), ERR_OK);
    /* What is left is whole; the rest has expired there too. */
    assert_true(restored_is_whole(&s, 0, false));
    char path[256];
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.backup);
    assert_int_not_equal(access(path, F_OK), 0);
    store_deinit(&s);
    clock_fake_off();
}

/* Once: the log records of what is sealed go out of their files after the catalogue was copied. */
static void expire_logs(void *context, const char *name, uint64_t bytes)
{
    struct store *s = context;
    (void)bytes;
    if (strcmp(name, "catalog.db") != 0 || s->has_expired)
        return;
    s->has_expired = true;
    int64_t before = catalog_look_logs(s->directory), now = before;
    assert_true(before > 0);
    clock_fake_set(START_NS, 1000 * NS_PER_S + 40 * (86400 * NS_PER_S));
    /* What is closed from now on stays, so that some may be left. */
    for (int look = 0; look < PATIENCE && (now < 0 || now >= before); look++) {
        (void)usleep(10000);
        now = catalog_look_logs(s->directory);
    }
    assert_true(now >= 0 && now < before);
}

static void expired_logs_are_left_out(void **state)
{
    (void)state;
    struct store s;
    clock_fake_set(START_NS, 1000 * NS_PER_S);
    store_init(&s, 32);
    engine_close(s.engine);
    s.options.retention_logs_ns = 30 * (86400 * NS_PER_S);
    store_open(&s);
    for (int i = 0; i < 4; i++)
        fill_partition(&s);
    for (int look = 0; look < PATIENCE && catalog_look_logs(s.directory) <= 0; look++)
        (void)usleep(10000); /* until one is sealed */
    assert_int_equal(backup(&s, expire_logs), ERR_OK);
    assert_true(s.has_expired);
    assert_int_equal(s.result.expired, 0);
    assert_int_equal(restore(&s), ERR_OK);
    for (size_t i = 0; i < s.next; i++)
        if (ledger_signal(&s.ledger, i) == SIGNAL_LOGS)
            s.ledger.outcomes[i] = LEDGER_UNKNOWN;
    assert_true(restored_is_whole(&s, s.next, false));
    store_deinit(&s);
    clock_fake_off();
}

/* ---- Refusals ------------------------------------------------------------------------------------- */

static void byte_flip(const char *directory, const char *name, long at)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int c = fgetc(f);
    assert_int_not_equal(c, EOF);
    assert_int_equal(fseek(f, -1, SEEK_CUR), 0);
    assert_int_not_equal(fputc(c ^ 1, f), EOF);
    assert_int_equal(fclose(f), 0);
}

static bool is_empty(const char *directory)
{
    return rmdir(directory) == 0 && mkdir(directory, 0700) == 0;
}

static void damage_is_refused(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 41);
    fill_partition(&s);
    fill_partition(&s);
    assert_int_equal(backup(&s, NULL), ERR_OK);

    static const struct {
        const char *name;
        long at;
    } flips[] = { { "p000001.db", 0 },
                  { "p000001.db", 9000 },
                  { "p000001.db", -1 },
                  { "catalog.db", 5000 },
                  { "p000002.db", 20000 } };
    for (size_t i = 0; i < sizeof flips / sizeof flips[0]; i++) {
        byte_flip(s.backup, flips[i].name, flips[i].at);
        assert_int_equal(restore(&s), ERR_CORRUPT);
        says(&s, flips[i].name);
        says(&s, "damaged");
        assert_true(is_empty(s.restored));
        byte_flip(s.backup, flips[i].name, flips[i].at);
    }
    char path[256], aside[256];
    (void)snprintf(path, sizeof path, "%s/%s", s.backup, BACKUP_MANIFEST);
    struct stat manifest;
    assert_int_equal(stat(path, &manifest), 0);
    for (long at = 0; at < manifest.st_size; at++) { /* each byte of it counts */
        byte_flip(s.backup, BACKUP_MANIFEST, at);
        enum err e = restore(&s);
        if (e != ERR_CORRUPT && e != ERR_NEWER)
            fail_msg("byte %ld of the manifest: %s", at, err_text(e));
        says(&s, BACKUP_MANIFEST);
        byte_flip(s.backup, BACKUP_MANIFEST, at);
    }
    assert_int_equal(truncate(path, manifest.st_size - 1), 0);
    assert_int_equal(restore(&s), ERR_CORRUPT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(restore(&s), ERR_NOT_FOUND);
    says(&s, "has no manifest");

    scratch_remove(s.backup);
    assert_int_equal(backup(&s, NULL), ERR_OK);
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.backup);
    (void)snprintf(aside, sizeof aside, "%s/aside", s.backup);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(restore(&s), ERR_CORRUPT);
    says(&s, "p000001.db is missing");
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(truncate(path, 8192), 0);
    assert_int_equal(restore(&s), ERR_CORRUPT);
    says(&s, "8192 bytes");
    assert_true(is_empty(s.restored));
    store_deinit(&s);
}

static void targets_are_refused(void **state)
{
    (void)state;
    struct store s;
    store_init(&s, 42);
    fill_partition(&s);
    char other[128], path[256];
    scratch_make(other);
    assert_int_equal(sqlite_backup(other, s.backup, NULL, NULL, &s.result, &s.message),
                     ERR_NOT_FOUND);
    says(&s, "is not a data directory");
    mem_free(s.message);
    s.message = NULL;
    assert_int_equal(sqlite_backup("/nowhere", s.backup, NULL, NULL, &s.result, &s.message),
                     ERR_NOT_FOUND);
    says(&s, "/nowhere: No such file");
    mem_free(s.message);
    s.message = NULL;
    assert_int_equal(sqlite_backup(s.directory, s.directory, NULL, NULL, &s.result, &s.message),
                     ERR_EXISTS);
    says(&s, "is not empty");
    assert_true(is_empty(s.backup));
    assert_int_equal(backup(&s, NULL), ERR_OK);
    assert_int_equal(backup(&s, NULL), ERR_EXISTS);

    (void)snprintf(path, sizeof path, "%s/mine", s.restored);
    assert_int_equal(backup_file_write(path, BYTES_LITERAL("kept")), ERR_OK);
    assert_int_equal(restore(&s), ERR_EXISTS);
    says(&s, s.restored);
    assert_int_equal(unlink(path), 0);
    assert_true(is_empty(s.restored)); /* nothing else came there */
    assert_int_equal(rmdir(s.restored), 0);
    assert_int_equal(restore(&s), ERR_OK); /* it is made */
    assert_int_equal(restore(&s), ERR_EXISTS);
    assert_true(restored_is_whole(&s, s.next, false));

    /* A partition that the catalogue lists and that is not there is said, not left out. */
    engine_close(s.engine);
    s.engine = NULL;
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    assert_int_equal(unlink(path), 0);
    scratch_remove(s.backup);
    assert_int_equal(backup(&s, NULL), ERR_CORRUPT);
    says(&s, "p000001.db");
    assert_int_equal(restore(&s), ERR_NOT_FOUND);
    scratch_remove(other);
    store_deinit(&s);
}

/* Files may have 24 KiB, in a process of its own: writing them fails on the way. */
static enum err when_files_are_cut(struct store *s, enum err (*act)(struct store *s))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit limit = { .rlim_cur = 24576, .rlim_max = 24576 };
        (void)signal(SIGXFSZ, SIG_IGN);
        _exit(setrlimit(RLIMIT_FSIZE, &limit) == 0 ? (int)act(s) : 255);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return (enum err)WEXITSTATUS(status);
}

static enum err just_backup(struct store *s)
{
    return backup(s, NULL);
}

static void failed_writes_are_noticed(void **state)
{
    (void)state;
    struct store s;
    struct engine *engine = NULL;
    store_init(&s, 43);
    fill_partition(&s);
    engine_close(s.engine); /* a process has no threads after fork() */
    s.engine = NULL;
    enum err e = when_files_are_cut(&s, just_backup);
    assert_true(e == ERR_IO || e == ERR_FULL);
    assert_int_equal(restore(&s), ERR_NOT_FOUND);
    scratch_remove(s.backup);
    assert_int_equal(backup(&s, NULL), ERR_OK);
    e = when_files_are_cut(&s, restore);
    assert_true(e == ERR_IO || e == ERR_FULL);
    struct sqlite_engine_options options = s.options;
    options.directory = s.restored;
    assert_int_equal(sqlite_engine_open(&options, &engine, NULL), ERR_CORRUPT);
    scratch_remove(s.restored);
    assert_int_equal(restore(&s), ERR_OK);
    assert_true(restored_is_whole(&s, s.next, false));
    store_deinit(&s);
}

/* ---- The manifest ---------------------------------------------------------------------------------- */

static enum err manifest_of(const char *name, struct backup_manifest *out)
{
    struct backup_manifest m = { .format_version = 2, .taken_unix_ns = START_NS };
    struct backup_file file = { .bytes = 12345678901, .hash = { 1, 0xfedcba9876543210 } };
    (void)snprintf(file.name, sizeof file.name, "%s", name);
    assert_int_equal(backup_manifest_add(&m, &file), ERR_OK);
    struct buffer text;
    size_t line = 0;
    buffer_init(&text, 4096);
    backup_manifest_write(&m, &text);
    assert_int_equal(buffer_error(&text), ERR_OK);
    backup_manifest_deinit(&m);
    enum err e = backup_manifest_read(buffer_bytes(&text), out, &line);
    if (e == ERR_CORRUPT)
        assert_int_equal(line, 4);
    buffer_deinit(&text);
    return e;
}

static void names_lead_nowhere_else(void **state)
{
    (void)state;
    static const char *const good[] = { "catalog.db", "request.key", "p000001.db",
                                        "p18446744073709551615.db.frozen",
                                        "p18446744073709551615.db-j4294967295" };
    static const char *const bad[] = { "../catalog.db", "/etc/passwd",    "p000001.db/x",
                                       "p1.db",         "p000001.db-wal", "",
                                       "p000001.db-j",  "p000001.db-j0",  "p000001.db-j1x",
                                       "catalog.dbx",   "manifest",       "p000001.db ",
                                       "lock",          "p000001" };
    struct backup_manifest m = { 0 };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(manifest_of(good[i], &m), ERR_OK);
        assert_int_equal(m.count, 1);
        assert_string_equal(m.files[0].name, good[i]);
        assert_true(m.files[0].bytes == 12345678901 && m.taken_unix_ns == START_NS);
        assert_true(m.files[0].hash.low == 1 && m.files[0].hash.high == 0xfedcba9876543210);
        backup_manifest_deinit(&m);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(manifest_of(bad[i], &m), ERR_CORRUPT);
    size_t line = 0;
    assert_int_equal(backup_manifest_read(BYTES_LITERAL("spindle-backup 2\n"), &m, &line),
                     ERR_NEWER);
    assert_int_equal(
        backup_manifest_read(BYTES_LITERAL("spindle-backup 1\nformat 99\n"), &m, &line), ERR_NEWER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_nowhere_else),
        cmocka_unit_test(idle_and_closed),
        cmocka_unit_test(under_writes),
        cmocka_unit_test(sealed_meanwhile),
        cmocka_unit_test(expired_is_left_out),
        cmocka_unit_test(expired_logs_are_left_out),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(targets_are_refused),
        cmocka_unit_test(failed_writes_are_noticed),
#if SPINDLE_FAULTS
        cmocka_unit_test(catalog_last_is_noticed),
        cmocka_unit_test(killed),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
