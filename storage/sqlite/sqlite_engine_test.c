/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite engine passes the suite that any engine must, on the real disk; plus what is its own: the
 * lock, files of a newer version, replay of the journal, partitions that roll, damaged files beside whole
 * ones, and directories that verify. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/mem.h"
#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/engine_suite.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct store {
    char directory[128];
    struct sqlite_engine_options options;
};

static void store_init(struct store *s)
{
    *s = (struct store){ 0 };
    scratch_make(s->directory);
    s->options = (struct sqlite_engine_options){ .directory = s->directory,
                                                 .builder_rows = 200,
                                                 .builder_age_ns = 50 * NS_PER_MS };
}

static void store_remove(struct store *s)
{
    scratch_remove(s->directory);
}

static enum err store_open(void *context, struct engine **out)
{
    struct store *s = context;
    return sqlite_engine_open(&s->options, out, NULL);
}

static void report(void *context, const char *file, const char *what)
{
    (void)fprintf(stderr, "verify: %s: %s\n", file, what);
    ++*(unsigned *)context;
}

static unsigned long setting(const char *name, unsigned long fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoul(text, NULL, 10);
}

static void suite_on_the_disk(void **state)
{
    (void)state;
    unsigned long seeds = setting("SPINDLE_SUITE_SEEDS", 6);
    for (unsigned long seed = 1; seed <= seeds; seed++) {
        struct store s;
        store_init(&s);
        if (seed % 3 == 1) /* small partitions, so that they roll */
            s.options.partition_bytes_max = 1 << 20;
        if (seed % 3 == 2) { /* everything stays pending until it is settled */
            s.options.builder_rows = 1 << 18;
            s.options.builder_age_ns = 3600 * NS_PER_S;
        }
        struct engine_suite suite = {
            .context = &s, .open = store_open, .seed = seed, .steps = 150
        };
        bool is_right = engine_suite_run(&suite);
        unsigned complaints = 0;
        enum err e = sqlite_engine_verify(s.directory, report, &complaints);
        store_remove(&s);
        assert_true(is_right);
        assert_int_equal(e, ERR_OK);
        assert_int_equal(complaints, 0);
    }
}

static void second_engine_is_refused(void **state)
{
    (void)state;
    struct store s;
    store_init(&s);
    struct engine *one = NULL, *two = NULL;
    char *message = NULL;
    assert_int_equal(store_open(&s, &one), ERR_OK);
    assert_int_equal(sqlite_engine_open(&s.options, &two, &message), ERR_LOCKED);
    assert_null(two);
    assert_non_null(strstr(message, "in use"));
    mem_free(message);
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_LOCKED);
    engine_close(one);
    assert_int_equal(store_open(&s, &two), ERR_OK);
    engine_close(two);
    store_remove(&s);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static uint8_t *file_read(const char *path, size_t *out_len)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long len = ftell(f);
    assert_true(len >= 0);
    rewind(f);
    uint8_t *bytes = malloc((size_t)len + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)len, f), (size_t)len);
    (void)fclose(f);
    *out_len = (size_t)len;
    return bytes;
}

static void file_patch(const char *path, long at, const uint8_t *bytes, size_t len)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    (void)fclose(f);
}

static void path_of(const struct store *s, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", s->directory, name);
}

static void fill(struct store *s, struct ledger *l, size_t from, size_t to)
{
    struct engine *e = NULL;
    assert_int_equal(store_open(s, &e), ERR_OK);
    for (size_t i = from; i < to; i++)
        assert_int_equal(ledger_batch(l, e, i), ERR_OK);
    engine_close(e);
}

static void newer_file_is_refused_unchanged(void **state)
{
    (void)state;
    static const char *const names[] = { "catalog.db", "p000001.db" };
    for (int n = 0; n < 2; n++) {
        struct store s;
        struct ledger l;
        store_init(&s);
        ledger_init(&l, 7, 10);
        fill(&s, &l, 0, 10);
        char path[256];
        path_of(&s, names[n], path);
        static const uint8_t version[4] = { 0, 0, 0, 99 };
        file_patch(path, 60, version, sizeof version);

        size_t before_len, after_len;
        uint8_t *before = file_read(path, &before_len);
        struct engine *e = NULL;
        char *message = NULL;
        assert_int_equal(sqlite_engine_open(&s.options, &e, &message), ERR_NEWER);
        assert_null(e);
        assert_non_null(strstr(message, names[n]));
        assert_non_null(strstr(message, "version 99"));
        assert_non_null(strstr(message, "up to 3"));
        uint8_t *after = file_read(path, &after_len);
        assert_int_equal(before_len, after_len);
        assert_memory_equal(before, after, after_len);
        free(before);
        free(after);
        mem_free(message);
        ledger_deinit(&l);
        store_remove(&s);
    }
}

/* Partition after partition; each is whole by itself when it is sealed. */
static void partitions_roll_and_are_sealed(void **state)
{
    (void)state;
    struct store s;
    struct ledger l;
    store_init(&s);
    ledger_init(&l, 11, 200);
    s.options.partition_bytes_max = 1;
    struct engine *e = NULL;
    assert_int_equal(store_open(&s, &e), ERR_OK);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(ledger_batch(&l, e, i), ERR_OK);
        if (i % 8 == 7)
            assert_int_equal(engine_settle(e), ERR_OK);
    }
    assert_true(ledger_check(&l, e));
    struct engine_statistics statistics;
    engine_statistics(e, &statistics);
    assert_true(statistics.partitions >= 3);
    engine_close(e);
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_OK);
    assert_int_equal(store_open(&s, &e), ERR_OK);
    assert_true(ledger_check(&l, e));
    engine_close(e);
    ledger_deinit(&l);
    store_remove(&s);
}

/* Every partition is read by one question, and there are not as many descriptors as that would take. */
static void many_partitions_need_few_descriptors(void **state)
{
    (void)state;
    enum { PARTITIONS = 120, SPARE = 170 };
    struct store s;
    struct ledger l;
    struct engine_statistics statistics;
    store_init(&s);
    ledger_init(&l, 12, PARTITIONS * 4);
    s.options.partition_bytes_max = 1;
    s.options.durability = DURABILITY_PROCESS;
    struct engine *e = NULL;
    assert_int_equal(store_open(&s, &e), ERR_OK);
    engine_statistics(e, &statistics);
    for (size_t i = 0; i < PARTITIONS * 4 && statistics.partitions < PARTITIONS; i++) {
        assert_int_equal(ledger_batch(&l, e, i), ERR_OK);
        assert_int_equal(engine_settle(e), ERR_OK);
        engine_statistics(e, &statistics);
        /* The next one is made in the background, which must not fall behind further than there are batches. */
        for (int look = 0; look < 30000 && statistics.partitions < i / 4 + 2; look++) {
            (void)usleep(1000);
            engine_statistics(e, &statistics);
        }
    }
    assert_true(statistics.partitions >= PARTITIONS);
    engine_close(e);
    assert_int_equal(store_open(&s, &e), ERR_OK);
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = scratch_descriptors() + SPARE;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    bool is_right = ledger_check(&l, e);
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct trace_query all = { .range = { 0, UINT64_MAX }, .limit = 1000 };
    struct trace_result found = { 0 };
    enum err searched = engine_traces_find(e, &q, &all, &found);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    arena_deinit(&arena);
    assert_true(is_right);
    assert_int_equal(searched, ERR_OK);
    engine_close(e);
    ledger_deinit(&l);
    store_remove(&s);
}

/* One partition is destroyed: the others are served, new requests are stored, and it is counted. */
static void damaged_partition_is_set_aside(void **state)
{
    (void)state;
    struct store s;
    struct ledger l;
    store_init(&s);
    ledger_init(&l, 13, 60);
    fill(&s, &l, 0, 20);
    char path[256];
    path_of(&s, "p000001.db", path);
    uint8_t garbage[4096];
    memset(garbage, 0xa5, sizeof garbage);
    file_patch(path, 0, garbage, sizeof garbage);
    for (size_t i = 0; i < 20; i++)
        l.outcomes[i] = LEDGER_UNKNOWN; /* gone with it */

    struct engine *e = NULL;
    assert_int_equal(store_open(&s, &e), ERR_OK);
    struct engine_statistics statistics;
    engine_statistics(e, &statistics);
    assert_int_equal(statistics.partitions_damaged, 1);
    for (size_t i = 20; i < 40; i++)
        assert_int_equal(ledger_batch(&l, e, i), ERR_OK);
    assert_int_equal(engine_settle(e), ERR_OK);
    assert_true(ledger_check(&l, e));
    engine_close(e);
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_CORRUPT);
    assert_true(complaints > 0);
    ledger_deinit(&l);
    store_remove(&s);
}

/* ---- Verifying what is no database ----------------------------------------------------------- */

static void file_put(const struct store *s, const char *name, const char *content, size_t len)
{
    char path[256];
    path_of(s, name, path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static void file_gone(const struct store *s, const char *name)
{
    char path[256];
    path_of(s, name, path);
    assert_int_equal(unlink(path), 0);
}

static void small_files_are_verified(void **state)
{
    (void)state;
    static const char bytes[64] = "0123456789abcdefghijklmnopqrstuvwxyz";
    /* What no server starts with, or believes; and what nobody minds. */
    static const struct {
        const char *name;
        size_t len;
        enum err expected;
        unsigned complaints;
    } cases[] = {
        { "request.key", 32, ERR_OK, 0 },      { "request.key", 0, ERR_CORRUPT, 1 },
        { "request.key", 3, ERR_CORRUPT, 1 },  { "request.key", 33, ERR_CORRUPT, 1 },
        { "request.key.new", 3, ERR_OK, 0 },   { "acked", 0, ERR_OK, 0 },
        { "acked", 7, ERR_CORRUPT, 1 },        { "acked", 24, ERR_CORRUPT, 1 },
        { "acked", 25, ERR_CORRUPT, 1 },       { "foo.db", 9, ERR_OK, 1 }, /* named */
        { "catalog.db.frozen", 0, ERR_OK, 1 }, { "p1.db", 0, ERR_OK, 1 },
        { "p000001.db.old", 0, ERR_OK, 1 },    { "p000009.db.frozen", 0, ERR_OK, 0 },
        { "manifest", 5, ERR_OK, 0 },          { "ballast", 5, ERR_OK, 0 },
    };
    struct store s;
    struct ledger l;
    store_init(&s);
    ledger_init(&l, 19, 10);
    fill(&s, &l, 0, 10);
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_OK);
    assert_int_equal(complaints, 0); /* of the side file that the engine wrote, too */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        file_put(&s, cases[i].name, bytes, cases[i].len);
        complaints = 0;
        assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), cases[i].expected);
        assert_int_equal(complaints, cases[i].complaints);
        file_gone(&s, cases[i].name);
    }
    char path[256];
    path_of(&s, "request.key", path);
    assert_int_equal(symlink("catalog.db", path), 0); /* which a server does not follow */
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_CORRUPT);
    ledger_deinit(&l);
    store_remove(&s);
}

/* Flip bits all over a settled partition: never a wrong answer without an error, and what is lost is
 * reported by verify. */
static void flipped_bits_are_never_believed(void **state)
{
    (void)state;
    unsigned long flips = setting("SPINDLE_FLIPS", 60);
    struct store s;
    struct ledger l;
    store_init(&s);
    ledger_init(&l, 17, 60);
    s.options.builder_rows = 64;
    fill(&s, &l, 0, 60);
    for (size_t i = 0; i < 60; i++)
        l.outcomes[i] = LEDGER_UNKNOWN; /* present or absent, but never changed */
    l.is_quiet = true;
    char path[256];
    path_of(&s, "p000001.db", path);
    size_t len;
    uint8_t *whole = file_read(path, &len);
    struct random r;
    random_init(&r, 17);
    unsigned long reported = 0;
    for (unsigned long n = 0; n < flips; n++) {
        size_t at;
        do { /* most of a small file is empty pages, where a bit means nothing */
            at = (size_t)random_below(&r, len);
        } while (whole[at] == 0);
        uint8_t flipped = (uint8_t)(whole[at] ^ (1u << random_below(&r, 8)));
        file_patch(path, (long)at, &flipped, 1);
        unsigned complaints = 0;
        reported += sqlite_engine_verify(s.directory, report, &complaints) != ERR_OK;
        struct engine *e = NULL;
        enum err error = store_open(&s, &e);
        if (error == ERR_OK) {
            (void)ledger_check(&l, e);
            if (l.wrong != NULL)
                assert_string_equal(l.wrong, err_text(ERR_CORRUPT));
            engine_close(e);
        }
        file_patch(path, 0, whole, len);
        assert_int_equal(truncate(path, (off_t)len), 0);
        (void)unlink(strcat(strcpy((char[256]){ 0 }, path), "-wal"));
    }
    (void)fprintf(stderr, "%lu of %lu flips reported\n", reported, flips);
    assert_true(reported > 0);
    free(whole);
    ledger_deinit(&l);
    store_remove(&s);
}

/* ---- What no row group can be made of ------------------------------------------------------------ */

struct answer {
    _Atomic int code; /* 0: none yet */
};

static void poison_done(struct append *a, enum err result)
{
    struct answer *answer = a->context;
    atomic_store(&answer->code, result == ERR_OK ? 1 : 2);
}

/* More spans than a row group holds, in one request. */
static void poison_send(struct engine *e)
{
    const uint32_t spans = (1u << 20) + 1;
    struct buffer body;
    buffer_init(&body, SIZE_MAX);
    size_t group = pb_begin(&body, 1), scope = pb_begin(&body, 2);
    for (uint32_t n = 0; n < spans; n++) {
        uint8_t trace[16] = { 0xee }, span[8] = { 0 };
        store_le32(trace + 8, n / 1000);
        store_le32(span, n + 1);
        size_t mark = pb_begin(&body, 2);
        pb_bytes(&body, 1, bytes_of(trace, sizeof trace));
        pb_bytes(&body, 2, bytes_of(span, sizeof span));
        pb_end(&body, mark);
    }
    pb_end(&body, scope);
    pb_end(&body, group);
    struct answer answer = { 0 };
    struct append a = { .signal = SIGNAL_TRACES,
                        .items = spans,
                        .request_hash = { 4711, 1 },
                        .arrival_unix_ns = clock_unix_ns(),
                        .on_done = poison_done,
                        .context = &answer };
    arena_init(&a.arena, SIZE_MAX, NULL);
    assert_int_equal(arena_dup(&a.arena, buffer_bytes(&body), &a.body), ERR_OK);
    buffer_deinit(&body);
    engine_append(e, &a);
    while (atomic_load(&answer.code) == 0)
        (void)usleep(1000);
    assert_int_equal(atomic_load(&answer.code), 1);
    arena_deinit(&a.arena);
}

static void poison_is_readable(struct engine *e)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct trace_id id = { .b = { 0xee, 0, 0, 0, 0, 0, 0, 0, 7 } };
    struct bytes data = { 0 };
    assert_int_equal(engine_trace_get(e, &q, &id, &data), ERR_OK);
    size_t spans = 0;
    struct otlp_items it = otlp_items(data);
    while (otlp_items_next(&it))
        spans++;
    assert_int_equal(spans, 1000);
    arena_deinit(&arena);
}

static void poison_is_set_aside_and_readable(void **state)
{
    (void)state;
    struct store s;
    struct ledger l;
    store_init(&s);
    s.options.builder_rows = 0;
    s.options.builder_age_ns = 3600 * NS_PER_S;
    s.options.memory_bytes = (size_t)512 << 20;
    s.options.metrics = metrics_open();
    ledger_init(&l, 3, 20);
    struct engine *e = NULL;
    assert_int_equal(store_open(&s, &e), ERR_OK);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(ledger_batch(&l, e, i), ERR_OK);
    poison_send(e);
    for (size_t i = 10; i < 20; i++)
        assert_int_equal(ledger_batch(&l, e, i), ERR_OK);
    assert_int_equal(engine_settle(e), ERR_OK);
    assert_int_equal(metric_value(metrics_counter(s.options.metrics,
                                                  "spindle_storage_set_aside_total", NULL, "")),
                     1);
    struct engine_statistics statistics;
    engine_statistics(e, &statistics);
    assert_true(statistics.row_groups > 0); /* the builder went on */
    assert_true(ledger_check(&l, e));
    poison_is_readable(e);
    engine_close(e);
    assert_int_equal(store_open(&s, &e), ERR_OK);
    poison_is_readable(e);
    assert_true(ledger_check(&l, e));
    engine_close(e);
    unsigned complaints = 0;
    assert_int_equal(sqlite_engine_verify(s.directory, report, &complaints), ERR_CORRUPT);
    assert_int_equal(complaints, 1);
    metrics_close(s.options.metrics);
    ledger_deinit(&l);
    store_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suite_on_the_disk),
        cmocka_unit_test(second_engine_is_refused),
        cmocka_unit_test(newer_file_is_refused_unchanged),
        cmocka_unit_test(partitions_roll_and_are_sealed),
        cmocka_unit_test(many_partitions_need_few_descriptors),
        cmocka_unit_test(damaged_partition_is_set_aside),
        cmocka_unit_test(poison_is_set_aside_and_readable),
        cmocka_unit_test(small_files_are_verified),
        cmocka_unit_test(flipped_bits_are_never_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
