/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a partition's journal go bad, or a page of its database does, while its journal holds requests that were acknowledged. What lies on other pages is
 * served, once, and becomes row groups; new requests are taken; the file stays where it is and as it is; what
 * could not be read is counted. All of that again after another start, and after one that is killed on the way. */
#include "storage/sqlite/sqlite_engine.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/testing/ledger.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCHES 160 /* in the journal when the page goes bad */
#define LATER   20
#define EARLIER 10 /* in row groups by then */

struct store {
    char directory[128];
    struct sqlite_engine_options options;
    struct ledger ledger;
};

/* ---- A directory as a killed server leaves it ------------------------------------------------- */

static void file_copy(const char *from, const char *to, const char *name)
{
    char path[256];
    uint8_t block[65536];
    (void)snprintf(path, sizeof path, "%s/%s", from, name);
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    (void)snprintf(path, sizeof path, "%s/%s", to, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;)
        assert_int_equal(fwrite(block, 1, n, out), n);
    (void)fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* Everything is in the file itself, nothing in its log. */
static void log_empty(const char *directory, const char *name)
{
    char path[256];
    struct db db;
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    assert_int_equal(db_open(path, NULL, DB_WRITER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(db_checkpoint(&db, true), ERR_OK);
    db_close(&db);
}

/* ---- Version 2, which has the journal in its database ------------------------------------------ */

static bool row_add(void *context, const struct journal_entry *e, bool is_intact,
                    const char *reason)
{
    struct db *db = context;
    sqlite3_stmt *s = NULL;
    uint8_t hash[16];
    assert_true(is_intact && reason == NULL);
    assert_int_equal(
        db_prepare(db, "INSERT INTO journal VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                   &s),
        ERR_OK);
    hash128_store(e->request_hash, hash);
    const uint64_t numbers[] = { e->sequence,        e->group_no, (uint64_t)e->signal,
                                 (uint64_t)e->codec, e->items,    e->arrival_unix_ns,
                                 e->body_bytes };
    for (int i = 0; i < 7; i++)
        db_bind_u64(s, i + 1, numbers[i]);
    db_bind_bytes(s, 8, bytes_of(hash, sizeof hash));
    db_bind_u64(s, 9, e->checksum);
    db_bind_bytes(s, 10, e->stored);
    assert_int_equal(db_run(db, s), ERR_OK);
    (void)sqlite3_finalize(s);
    return true;
}

static void store_age(const struct store *s)
{
    char path[256];
    struct db db, reader;
    uint64_t unread = 0;
    (void)snprintf(path, sizeof path, "%s/p000001.db", s->directory);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &reader), ERR_OK);
    assert_int_equal(db_open(path, NULL, DB_WRITER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(
        db_exec(
            &db,
            "BEGIN IMMEDIATE; CREATE TABLE journal ("
            " sequence INTEGER PRIMARY KEY, group_no INTEGER NOT NULL, tenant INTEGER NOT NULL,"
            " signal INTEGER NOT NULL, codec INTEGER NOT NULL, items INTEGER NOT NULL,"
            " arrival_unix_ns INTEGER NOT NULL, body_bytes INTEGER NOT NULL,"
            " request_hash BLOB NOT NULL, checksum INTEGER NOT NULL, body BLOB NOT NULL) STRICT;"
            "CREATE TABLE journal_group ("
            " group_no INTEGER PRIMARY KEY, first_sequence INTEGER NOT NULL,"
            " count INTEGER NOT NULL, hash INTEGER NOT NULL) STRICT;"),
        ERR_OK);
    assert_int_equal(journal_each(&reader, row_add, &db, &unread), ERR_OK);
    assert_int_equal(db_exec(&db,
                             "INSERT INTO journal_group SELECT group_no, min(sequence), count(*), 0"
                             " FROM journal GROUP BY group_no;"
                             "DROP TABLE journal_retired; PRAGMA user_version = 2; COMMIT"),
                     ERR_OK);
    db_close(&reader);
    assert_int_equal(db_checkpoint(&db, true), ERR_OK);
    db_close(&db);
    assert_int_equal(journal_files_unlink(path, NULL), ERR_OK);
}

static void store_init(struct store *s, uint64_t seed)
{
    static const char *const names[] = { "catalog.db",     "catalog.db-wal", "p000001.db",
                                         "p000001.db-wal", "acked",          "p000001.db-j1",
                                         "p000001.db-j2",  "p000001.db-j3" };
    char first[128];
    *s = (struct store){ 0 };
    scratch_make(first);
    scratch_make(s->directory);
    ledger_init(&s->ledger, seed, EARLIER + BATCHES + LATER);
    s->options = (struct sqlite_engine_options){ .directory = first,
                                                 .builder_age_ns = 3600 * NS_PER_S,
                                                 .maintain_interval_ns = 3600 * NS_PER_S };
    struct engine *e = NULL;
    assert_int_equal(sqlite_engine_open(&s->options, &e, NULL), ERR_OK);
    for (size_t i = 0; i < EARLIER; i++)
        assert_int_equal(ledger_batch(&s->ledger, e, i), ERR_OK);
    assert_int_equal(engine_settle(e), ERR_OK);
    for (size_t i = EARLIER; i < EARLIER + BATCHES; i++)
        assert_int_equal(ledger_batch(&s->ledger, e, i), ERR_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        file_copy(first, s->directory, names[i]);
    engine_close(e);
    scratch_remove(first);
    log_empty(s->directory, "p000001.db");
    s->options.directory = s->directory;
    s->options.builder_age_ns = 20 * NS_PER_MS;
    s->options.metrics = metrics_open();
}

static void store_deinit(struct store *s)
{
    metrics_close(s->options.metrics);
    ledger_deinit(&s->ledger);
    scratch_remove(s->directory);
}

/* ---- Pages ------------------------------------------------------------------------------------ */

static void page_read(const struct store *s, uint32_t page, uint8_t out[DB_PAGE_BYTES])
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/p000001.db", s->directory);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(page - 1) * (long)DB_PAGE_BYTES, SEEK_SET), 0);
    assert_int_equal(fread(out, 1, DB_PAGE_BYTES, f), DB_PAGE_BYTES);
    (void)fclose(f);
}

static void page_spoil(const struct store *s, uint32_t page)
{
    char path[256];
    uint8_t garbage[DB_PAGE_BYTES];
    memset(garbage, 0xa5, sizeof garbage);
    (void)snprintf(path, sizeof path, "%s/p000001.db", s->directory);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(page - 1) * (long)DB_PAGE_BYTES, SEEK_SET), 0);
    assert_int_equal(fwrite(garbage, 1, sizeof garbage, f), sizeof garbage);
    assert_int_equal(fclose(f), 0);
}

static int64_t integer_in(const struct store *s, const char *sql, bool *out_is_readable)
{
    char path[256];
    struct db db;
    int64_t value = -1;
    (void)snprintf(path, sizeof path, "%s/p000001.db", s->directory);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
    enum err e = db_integer(&db, sql, -1, &value);
    if (out_is_readable != NULL)
        *out_is_readable = e == ERR_OK;
    else
        assert_int_equal(e, ERR_OK);
    db_close(&db);
    return value;
}

static uint32_t root_of(const struct store *s, const char *table)
{
    char sql[128];
    (void)snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
    return (uint32_t)integer_in(s, sql, NULL);
}

/* The leaf of the journal at `part` of 100 of its root's children: https://sqlite.org/fileformat2.html, 1.6. */
static uint32_t leaf_of_journal(const struct store *s, size_t part)
{
    uint8_t page[DB_PAGE_BYTES];
    page_read(s, root_of(s, "journal"), page);
    assert_int_equal(page[0], 5); /* not a leaf itself */
    size_t cells = (size_t)(page[3] << 8 | page[4]);
    size_t at = part * cells / 100;
    if (at == cells)
        return load_be32(page + 8);
    size_t cell = (size_t)(page[12 + 2 * at] << 8 | page[13 + 2 * at]);
    return load_be32(page + cell);
}

/* What of the journal can be read still, by looking at each number that was given. */
static size_t losses_note(struct store *s)
{
    size_t lost = 0;
    for (size_t i = EARLIER; i < EARLIER + BATCHES; i++) {
        char sql[128];
        bool is_readable = false;
        (void)snprintf(sql, sizeof sql,
                       "SELECT sum(length(hex(body))) FROM journal WHERE sequence = %zu", i + 1);
        int64_t bytes = integer_in(s, sql, &is_readable);
        if (is_readable && bytes > 0)
            continue;
        s->ledger.outcomes[i] = LEDGER_UNKNOWN;
        lost++;
    }
    return lost;
}

/* ---- Cases ------------------------------------------------------------------------------------ */

static uint64_t counter(struct store *s, const char *name, const char *labels)
{
    return metric_value(metrics_counter(s->options.metrics, name, labels, ""));
}

static void journal_empties(struct engine *e)
{
    struct engine_statistics now;
    engine_statistics(e, &now);
    for (uint64_t until = clock_mono_ns() + 30 * NS_PER_S;
         now.journal_items > 0 && clock_mono_ns() < until; engine_statistics(e, &now))
        (void)usleep(5000);
    assert_int_equal(now.journal_items, 0); /* by itself */
    assert_true(now.is_writable);
}

static void goes_on(struct store *s, size_t lost)
{
    struct engine *e = NULL;
    s->ledger.is_quiet = true;
    uint64_t before = counter(s, "spindle_storage_damaged_total", "what=\"journal_entry\"");
    assert_int_equal(sqlite_engine_open(&s->options, &e, NULL), ERR_OK);
    struct engine_statistics now;
    engine_statistics(e, &now);
    assert_int_equal(now.partitions_damaged, 1);
    /* A number whose entry was a row group already, beside them, counts as well. */
    uint64_t counted =
        counter(s, "spindle_storage_damaged_total", "what=\"journal_entry\"") - before;
    assert_in_range(counted, lost, lost == 0 ? 0 : lost + 1);
    assert_true(ledger_check(&s->ledger, e));
    for (size_t i = EARLIER + BATCHES; i < EARLIER + BATCHES + LATER / 2; i++)
        assert_int_equal(ledger_batch(&s->ledger, e, i), ERR_OK);
    journal_empties(e);
    assert_int_equal(engine_settle(e), ERR_OK);
    assert_true(ledger_check(&s->ledger, e));
    engine_close(e);

    /* The same again, and nothing twice. */
    assert_int_equal(sqlite_engine_open(&s->options, &e, NULL), ERR_OK);
    assert_true(ledger_check(&s->ledger, e));
    for (size_t i = EARLIER + BATCHES + LATER / 2; i < EARLIER + BATCHES + LATER; i++)
        assert_int_equal(ledger_batch(&s->ledger, e, i), ERR_OK);
    journal_empties(e);
    assert_true(ledger_check(&s->ledger, e));
    engine_close(e);
}

static void file_is_left(struct store *s, const uint8_t *spoilt, uint32_t page)
{
    uint8_t now[DB_PAGE_BYTES];
    page_read(s, page, now);
    assert_memory_equal(now, spoilt, sizeof now);
}

static void page_goes_bad(uint64_t seed, unsigned version, uint32_t page_of(struct store *s),
                          size_t lost_most)
{
    struct store s;
    uint8_t spoilt[DB_PAGE_BYTES];
    store_init(&s, seed);
    if (version == 2)
        store_age(&s);
    uint32_t page = page_of(&s);
    page_spoil(&s, page);
    page_read(&s, page, spoilt);
    size_t lost = version == 2 ? losses_note(&s) : 0;
    assert_true(lost <= lost_most);
    goes_on(&s, lost);
    file_is_left(&s, spoilt, page);
    store_deinit(&s);
}

static uint32_t first_leaf(struct store *s)
{
    return leaf_of_journal(s, 0);
}

static uint32_t middle_leaf(struct store *s)
{
    return leaf_of_journal(s, 50);
}

static uint32_t last_leaf(struct store *s)
{
    return leaf_of_journal(s, 100);
}

static uint32_t journal_root(struct store *s)
{
    return root_of(s, "journal");
}

static void leaf_goes_bad(void **state)
{
    (void)state;
    page_goes_bad(1, 2, first_leaf, BATCHES / 2);
    page_goes_bad(2, 2, middle_leaf, BATCHES / 2);
    page_goes_bad(3, 2, last_leaf, BATCHES / 2);
}

/* Nothing can be found without it: all is lost, and that is said; the store goes on. */
static void root_goes_bad(void **state)
{
    (void)state;
    page_goes_bad(4, 2, journal_root, BATCHES);
}

/* No entry is there, but the row groups of the file cannot be found without it. */
static uint32_t row_group_root(struct store *s)
{
    for (size_t i = 0; i < EARLIER; i++)
        s->ledger.outcomes[i] = LEDGER_UNKNOWN;
    return root_of(s, "row_group");
}

static void row_group_list_goes_bad(void **state)
{
    (void)state;
    page_goes_bad(6, 2, row_group_root, 0);
    page_goes_bad(7, 3, row_group_root, 0);
}

/* Without it nobody knows what is in row groups already; that it is, the requests' hashes say. */
static uint32_t position_root(struct store *s)
{
    return root_of(s, "journal_retired");
}

static void position_goes_bad(void **state)
{
    (void)state;
    page_goes_bad(8, 3, position_root, 0);
}

/* ---- The journal's files ----------------------------------------------------------------------- */

static void byte_change(const struct store *s, const char *name, long at)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", s->directory, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    int byte = fgetc(f);
    assert_true(byte != EOF);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 0x10, f), byte ^ 0x10);
    assert_int_equal(fclose(f), 0);
}

static void complaint_any(void *context, const char *file, const char *what)
{
    (void)file;
    (void)what;
    ++*(unsigned *)context;
}

/* A group of one request a page: in its header, in the head of its request, or in the body. One request is lost, and
 * counted at each start as long as it is known of. */
static void entry_goes_bad(void **state)
{
    (void)state;
    static const long places[] = { 20, 70, 200 };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct store s;
        unsigned complaints = 0;
        store_init(&s, 20 + i);
        /* Page 0 is the header's, and EARLIER groups are row groups. */
        byte_change(&s, "p000001.db-j1", (long)(EARLIER + 3) * 4096 + places[i]);
        s.ledger.outcomes[EARLIER + 2] = LEDGER_UNKNOWN;
        assert_int_equal(sqlite_engine_verify(s.directory, complaint_any, &complaints),
                         ERR_CORRUPT);
        assert_int_equal(complaints, 1);
        struct engine *e = NULL;
        s.ledger.is_quiet = true;
        for (int start = 0; start < 2; start++) {
            uint64_t before =
                counter(&s, "spindle_storage_damaged_total", "what=\"journal_entry\"");
            s.options.builder_age_ns = start == 0 ? 3600 * NS_PER_S : 20 * NS_PER_MS;
            assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
            struct engine_statistics now;
            engine_statistics(e, &now);
            assert_int_equal(now.partitions_damaged, 0);
            uint64_t counted =
                counter(&s, "spindle_storage_damaged_total", "what=\"journal_entry\"") - before;
            /* The end of the first start retires all there is; what was set aside stays. */
            assert_int_equal(counted, start == 0 || places[i] == 200);
            assert_true(ledger_check(&s.ledger, e));
            assert_int_equal(ledger_batch(&s.ledger, e, EARLIER + BATCHES + (size_t)start), ERR_OK);
            assert_true(ledger_check(&s.ledger, e));
            engine_close(e);
        }
        store_deinit(&s);
    }
}

/* Its last group: as if it was torn. The side file knows that it was acknowledged. */
static void last_entry_goes_bad(void **state)
{
    (void)state;
    struct store s;
    unsigned complaints = 0;
    store_init(&s, 30);
    char path[256];
    struct db db;
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    assert_int_equal(db_open(path, NULL, DB_READER, DURABILITY_FSYNC, &db), ERR_OK);
    uint64_t newest = 0;
    assert_int_equal(journal_newest_group(&db, &newest), ERR_OK);
    db_close(&db);
    assert_int_equal(newest, EARLIER + BATCHES);
    /* Files of 64 KiB, 256 KiB and 1 MiB, each with a page for itself and one for each group. */
    long at = (long)(newest - 15 - 63) * 4096 + 200;
    byte_change(&s, "p000001.db-j3", at);
    s.ledger.outcomes[EARLIER + BATCHES - 1] = LEDGER_UNKNOWN;
    assert_int_equal(sqlite_engine_verify(s.directory, complaint_any, &complaints), ERR_CORRUPT);
    assert_int_equal(complaints, 1);
    struct engine *e = NULL;
    s.ledger.is_quiet = true;
    assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
    assert_int_equal(counter(&s, "spindle_storage_lost_groups_total", NULL), 1);
    assert_true(ledger_check(&s.ledger, e));
    for (size_t i = EARLIER + BATCHES; i < EARLIER + BATCHES + LATER; i++)
        assert_int_equal(ledger_batch(&s.ledger, e, i), ERR_OK);
    assert_true(ledger_check(&s.ledger, e));
    engine_close(e);
    store_deinit(&s);
}

/* ---- Trace filters --------------------------------------------------------------------------- */

/* SQLite finds nothing wrong with an empty list. */
static void row_group_list_reads_as_empty(void **state)
{
    (void)state;
    struct store s;
    struct engine *e = NULL;
    struct engine_statistics statistics;
    char path[256];
    uint8_t empty[DB_PAGE_BYTES] = { 0x0d, 0, 0, 0, 0, DB_PAGE_BYTES >> 8, 0, 0 };
    store_init(&s, 7);
    (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
    uint32_t root = row_group_root(&s);
    assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
    engine_statistics(e, &statistics);
    assert_int_equal(statistics.partitions_damaged, 0);
    assert_true(statistics.spans > 0);
    engine_close(e);
    log_empty(s.directory, "p000001.db");
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(root - 1) * (long)DB_PAGE_BYTES, SEEK_SET), 0);
    assert_int_equal(fwrite(empty, 1, sizeof empty, f), sizeof empty);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
    engine_statistics(e, &statistics);
    assert_int_equal(statistics.partitions_damaged, 1);
    engine_close(e);
    store_deinit(&s);
}

static void complaint(void *context, const char *file, const char *what)
{
    (void)file;
    *(unsigned *)context += strstr(what, "trace filter") != NULL;
}

static uint64_t damaged_filters(const struct store *s)
{
    return metric_value(metrics_counter(s->options.metrics, "spindle_storage_damaged_total",
                                        "what=\"trace_filter\"", "Damaged things found"));
}

/* Bits that were set are not any more, or the filter is gone: that would hide traces. */
static void filters_go_bad(void **state)
{
    (void)state;
    static const char *const damages[] = {
        "UPDATE row_group SET trace_filter = CAST(substr(trace_filter, 1, 4) || "
        "zeroblob(length(trace_filter) - 4)"
        " AS BLOB) WHERE length(trace_filter) > 0",
        "UPDATE row_group SET trace_filter = x'' WHERE signal = 0",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct store s;
        struct db db;
        char path[256];
        unsigned complaints = 0;
        store_init(&s, 7 + i);
        (void)snprintf(path, sizeof path, "%s/p000001.db", s.directory);
        assert_int_equal(db_open(path, NULL, DB_WRITER, DURABILITY_FSYNC, &db), ERR_OK);
        assert_int_equal(db_exec(&db, damages[i]), ERR_OK);
        assert_int_equal(db_checkpoint(&db, true), ERR_OK);
        db_close(&db);
        assert_int_equal(sqlite_engine_verify(s.directory, complaint, &complaints), ERR_CORRUPT);
        assert_true(complaints > 0);

        struct engine *e = NULL;
        uint64_t before = damaged_filters(&s);
        assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
        assert_int_equal(damaged_filters(&s) - before, complaints);
        assert_true(ledger_check(&s.ledger, e));
        engine_close(e);
        store_deinit(&s);
    }
}

/* ---- Killed while what could be read is moved --------------------------------------------------- */

#if SPINDLE_FAULTS
static int child_main(char *directory)
{
    struct sqlite_engine_options options = { .directory = directory,
                                             .builder_age_ns = 3600 * NS_PER_S };
    struct engine *e = NULL;
    log_set_level((enum log_level)(LOG_ERROR + 1));
    if (sqlite_engine_open(&options, &e, NULL) == ERR_OK)
        engine_close(e);
    return 0;
}

static void open_and_die(const struct store *s, const char *point)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("SPINDLE_CRASH_AT", point, 1);
        (void)execl("/proc/self/exe", "damage_test", "--child", s->directory, (char *)NULL);
        _exit(9);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void killed_while_moving(void **state)
{
    (void)state;
    static const char *const points[] = { "freeze_marked",    "freeze_listed",
                                          "partition_synced", "partition_listed",
                                          "replay_entry:100", "rescue_committed",
                                          "rescue_listed" };
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        struct store s;
        store_init(&s, 10 + i);
        page_spoil(&s, row_group_root(&s));
        open_and_die(&s, points[i]);
        struct engine *e = NULL;
        s.ledger.is_quiet = true;
        assert_int_equal(sqlite_engine_open(&s.options, &e, NULL), ERR_OK);
        assert_true(ledger_check(&s.ledger, e));
        journal_empties(e);
        assert_true(ledger_check(&s.ledger, e));
        engine_close(e);
        store_deinit(&s);
    }
}
#endif

int main(int argc, char **argv)
{
#if SPINDLE_FAULTS
    if (argc == 3 && strcmp(argv[1], "--child") == 0)
        return child_main(argv[2]);
#endif
    (void)argc;
    (void)argv;
    const struct CMUnitTest tests[] = {
#if SPINDLE_FAULTS
        cmocka_unit_test(killed_while_moving),
#endif
        cmocka_unit_test(leaf_goes_bad),
        cmocka_unit_test(root_goes_bad),
        cmocka_unit_test(row_group_list_goes_bad),
        cmocka_unit_test(position_goes_bad),
        cmocka_unit_test(entry_goes_bad),
        cmocka_unit_test(last_entry_goes_bad),
        cmocka_unit_test(row_group_list_reads_as_empty),
        cmocka_unit_test(filters_go_bad),
    };
    log_set_level((enum log_level)(LOG_ERROR + 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
