/* SPDX-License-Identifier: Apache-2.0 */
/* The journal: groups, numbers, retiring per signal, files used again; and what its files hold after each kind of
 * damage: a bit anywhere, a tail that is missing, what is left of earlier groups and of writes that failed. */
#include "storage/sqlite/journal.h"

#include "base/mem.h"
#include "base/random.h"
#include "storage/sqlite/journal_segment.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/testing/power_vfs.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#define ENTRIES_MAX 4096

struct fixture {
    char directory[128], path[256];
    const char *vfs;
    struct db db;
    struct journal journal;
};

static void fixture_open(struct fixture *f)
{
    assert_int_equal(db_open(f->path, f->vfs, DB_WRITER, DURABILITY_FSYNC, &f->db), ERR_OK);
    assert_int_equal(schema_create(SCHEMA_PARTITION, &f->db), ERR_OK);
    int64_t auto_vacuum = 0; /* incremental: a file can shrink */
    assert_int_equal(db_integer(&f->db, "PRAGMA auto_vacuum", 0, &auto_vacuum), ERR_OK);
    assert_int_equal(auto_vacuum, 2);
    assert_int_equal(journal_open(&f->journal, &f->db, DURABILITY_FSYNC), ERR_OK);
}

static void fixture_close(struct fixture *f)
{
    journal_close(&f->journal);
    db_close(&f->db);
}

static void fixture_init(struct fixture *f, const char *vfs)
{
    *f = (struct fixture){ .vfs = vfs };
    scratch_make(f->directory);
    (void)snprintf(f->path, sizeof f->path, "%s/p.db", f->directory);
    fixture_open(f);
}

static void fixture_deinit(struct fixture *f)
{
    fixture_close(f);
    scratch_remove(f->directory);
}

/* What entry number n holds. */
static struct bytes body_of(uint64_t n, size_t len, uint8_t *out)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(n * 31 + i * 7 + (i >> 8));
    return bytes_of(out, len);
}

static size_t length_of(uint64_t n)
{
    return 20 + (size_t)(n % 7) * 100;
}

static uint8_t scratch_body[1 << 20];

/* Entries of alternating signals, odd sequences first. */
static enum err group_try(struct fixture *f, unsigned count, size_t len)
{
    journal_group_begin(&f->journal, count);
    for (unsigned i = 0; i < count; i++) {
        uint64_t n = f->journal.next_sequence + i;
        struct journal_entry e = { .signal = n % 2 == 1 ? SIGNAL_TRACES : SIGNAL_LOGS,
                                   .codec = CODEC_ZSTD,
                                   .items = n,
                                   .arrival_unix_ns = 1000 + n,
                                   .body_bytes = 2 * n,
                                   .request_hash = { n, 99 },
                                   .stored =
                                       body_of(n, len == 0 ? length_of(n) : len, scratch_body) };
        assert_int_equal(journal_group_add(&f->journal, &e), ERR_OK);
        assert_int_equal(e.sequence, n);
        assert_int_equal(e.group_no, f->journal.next_group_no);
    }
    return journal_group_end(&f->journal);
}

static void group_add(struct fixture *f, unsigned count)
{
    assert_int_equal(group_try(f, count, 0), ERR_OK);
}

static void retire(struct fixture *f, enum signal signal, uint64_t last)
{
    assert_int_equal(db_exec(&f->db, "BEGIN IMMEDIATE"), ERR_OK);
    assert_int_equal(journal_retire(&f->journal, signal, last), ERR_OK);
    assert_int_equal(db_exec(&f->db, "COMMIT"), ERR_OK);
    journal_retired(&f->journal);
}

struct seen {
    bool has[ENTRIES_MAX];
    uint64_t groups[ENTRIES_MAX];
    size_t count, aside, damaged;
    uint64_t unread, before;
    size_t len; /* of bodies; 0: length_of() */
};

static bool on_entry(void *context, const struct journal_entry *e, bool is_intact,
                     const char *reason)
{
    struct seen *s = context;
    s->damaged += !is_intact;
    if (reason != NULL) {
        s->aside++;
        return true;
    }
    assert_true(e->sequence > s->before && e->sequence < ENTRIES_MAX);
    s->before = e->sequence;
    if (!is_intact)
        return true;
    size_t len = s->len == 0 ? length_of(e->sequence) : s->len;
    assert_true(bytes_equal(e->stored, body_of(e->sequence, len, scratch_body)));
    assert_int_equal(e->signal, e->sequence % 2 == 1 ? SIGNAL_TRACES : SIGNAL_LOGS);
    assert_int_equal(e->items, e->sequence);
    assert_int_equal(e->arrival_unix_ns, 1000 + e->sequence);
    assert_int_equal(e->body_bytes, 2 * e->sequence);
    assert_int_equal(e->request_hash.low, e->sequence);
    assert_int_equal(e->request_hash.high, 99);
    s->has[e->sequence] = true;
    s->groups[e->sequence] = e->group_no;
    s->count++;
    return true;
}

static struct seen entries_of(struct fixture *f, size_t len)
{
    struct seen s = { .len = len };
    struct db reader;
    assert_int_equal(db_open(f->path, f->vfs, DB_READER, DURABILITY_FSYNC, &reader), ERR_OK);
    assert_int_equal(journal_each(&reader, on_entry, &s, &s.unread), ERR_OK);
    db_close(&reader);
    return s;
}

static struct seen entries(struct fixture *f)
{
    return entries_of(f, 0);
}

static void is_clean(const struct seen *s, size_t count)
{
    assert_int_equal(s->count, count);
    assert_int_equal(s->damaged, 0);
    assert_int_equal(s->unread, 0);
}

/* ---- Numbers ----------------------------------------------------------------------------------- */

static void numbers_go_on(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    group_add(&f, 3);
    group_add(&f, 2);
    struct seen s = entries(&f);
    is_clean(&s, 5);
    for (size_t i = 1; i <= 5; i++)
        assert_int_equal(s.groups[i], i <= 3 ? 1 : 2);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(f.journal.next_sequence, 6);
    assert_int_equal(f.journal.next_group_no, 3);
    group_add(&f, 1);
    s = entries(&f);
    is_clean(&s, 6);
    /* Nothing is left, and the next numbers are new all the same. */
    retire(&f, SIGNAL_TRACES, 5);
    retire(&f, SIGNAL_LOGS, 6);
    char leftover[300];
    (void)snprintf(leftover, sizeof leftover, "%s-j7", f.path);
    FILE *cut = fopen(leftover, "wb"); /* its making was cut short */
    assert_non_null(cut);
    assert_int_equal(fputc(0, cut), 0);
    assert_int_equal(fclose(cut), 0);
    assert_int_equal(journal_discard(&f.journal), ERR_OK);
    assert_int_equal(journal_files_bytes(f.path), 0);
    fixture_close(&f);
    fixture_open(&f);
    group_add(&f, 1);
    s = entries(&f);
    is_clean(&s, 1);
    assert_true(s.has[7]);
    assert_int_equal(s.groups[7], 4);
    fixture_deinit(&f);
}

/* Also where the database does not know of the last entries: what was set aside at a start is in no retirement. */
static void discarding_stores_numbers(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t group_no = 0;
    fixture_init(&f, NULL);
    group_add(&f, 3);
    assert_int_equal(journal_discard(&f.journal), ERR_OK);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(f.journal.next_sequence, 4);
    assert_int_equal(f.journal.next_group_no, 2);
    assert_int_equal(journal_newest_group(&f.db, &group_no), ERR_OK);
    assert_int_equal(group_no, 1);
    struct seen s = entries(&f);
    is_clean(&s, 0);
    fixture_deinit(&f);
}

static void signals_retire_apart(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    group_add(&f, 8);
    retire(&f, SIGNAL_LOGS, 6);
    struct seen s = entries(&f);
    is_clean(&s, 5);
    assert_true(s.has[1] && s.has[3] && s.has[5] && s.has[7] && s.has[8]);
    assert_int_equal(f.journal.horizon, 0);
    retire(&f, SIGNAL_TRACES, 5);
    s = entries(&f);
    is_clean(&s, 2);
    assert_int_equal(f.journal.horizon, 5);
    /* Rolled back, it has not happened. */
    assert_int_equal(db_exec(&f.db, "BEGIN IMMEDIATE"), ERR_OK);
    assert_int_equal(journal_retire(&f.journal, SIGNAL_TRACES, 7), ERR_OK);
    db_rollback(&f.db);
    s = entries(&f);
    is_clean(&s, 2);
    /* The last of a signal: what comes of the other does not wait for it. */
    retire(&f, SIGNAL_TRACES, 7);
    retire(&f, SIGNAL_LOGS, 8);
    assert_int_equal(f.journal.horizon, 8);
    fixture_deinit(&f);
}

static void sets_aside_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    group_add(&f, 4);
    struct journal_entry e = { .sequence = 3,
                               .signal = SIGNAL_TRACES,
                               .stored = BYTES_LITERAL("as it was") };
    e.checksum = journal_checksum(&e);
    for (int i = 0; i < 2; i++)
        assert_int_equal(journal_set_aside(&f.journal, &e, "for a test"), ERR_OK);
    struct seen s = entries(&f);
    is_clean(&s, 3);
    assert_int_equal(s.aside, 1);
    assert_false(s.has[3]); /* it is there once */
    fixture_deinit(&f);
}

/* ---- Files ------------------------------------------------------------------------------------- */

static void segments_are_used_again(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    uint64_t most = 0;
    for (int i = 0; i < 300; i++) {
        group_add(&f, 4);
        if (i % 3 == 2) {
            uint64_t end = f.journal.next_sequence;
            retire(&f, SIGNAL_TRACES, end - 2);
            retire(&f, SIGNAL_LOGS, end - 1);
            struct seen s = entries(&f);
            is_clean(&s, 0);
        } else if (i % 10 == 0) {
            struct seen s = entries(&f);
            is_clean(&s, (size_t)(i % 3 + 1) * 4);
        }
        most = journal_bytes(&f.journal) > most ? journal_bytes(&f.journal) : most;
    }
    assert_true(most <= 512 << 10);
    assert_true(f.journal.segments_recycled > 5);
    assert_true(f.journal.segments_made <= 2);
    assert_int_equal(journal_files_bytes(f.path), journal_bytes(&f.journal));
    group_add(&f, 4);
    uint64_t next = f.journal.next_sequence;
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(f.journal.next_sequence, next);
    struct seen s = entries(&f);
    is_clean(&s, 4);
    fixture_deinit(&f);
}

/* One signal alone, and the other long waiting: nothing is written over before both let it. */
static void the_slower_signal_holds_what_it_needs(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    group_add(&f, 2); /* 2: logs, which wait */
    for (int i = 0; i < 100; i++) {
        group_add(&f, 2);
        retire(&f, SIGNAL_TRACES, f.journal.next_sequence - 2);
    }
    struct seen s = entries(&f);
    is_clean(&s, 101);
    assert_true(s.has[2]);
    assert_int_equal(f.journal.segments_recycled, 0);
    fixture_close(&f);
    fixture_open(&f);
    retire(&f, SIGNAL_LOGS, 202);
    group_add(&f, 2);
    s = entries(&f);
    is_clean(&s, 2);
    fixture_deinit(&f);
}

static void large_groups_find_room(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    assert_int_equal(group_try(&f, 9, sizeof scratch_body), ERR_OK); /* over any usual segment */
    assert_int_equal(group_try(&f, 1, sizeof scratch_body), ERR_OK);
    struct seen s = entries_of(&f, sizeof scratch_body);
    is_clean(&s, 10);
    retire(&f, SIGNAL_TRACES, 9);
    retire(&f, SIGNAL_LOGS, 10);
    /* A quiet server keeps little. */
    journal_trim(&f.journal, 1, 256 << 10);
    assert_true(journal_files_bytes(f.path) <= 256 << 10);
    group_add(&f, 3);
    s = entries(&f);
    is_clean(&s, 3);
    journal_trim(&f.journal, 0, 0); /* what is needed stays */
    s = entries(&f);
    is_clean(&s, 3);
    fixture_deinit(&f);
}

/* ---- Damage ------------------------------------------------------------------------------------ */

struct file {
    char path[300];
    uint8_t *bytes;
    size_t len;
};

static void file_load(const struct fixture *f, unsigned number, struct file *out)
{
    (void)snprintf(out->path, sizeof out->path, "%s-j%u", f->path, number);
    FILE *in = fopen(out->path, "rb");
    assert_non_null(in);
    out->bytes = mem_alloc(8 << 20);
    assert_non_null(out->bytes);
    out->len = fread(out->bytes, 1, 8 << 20, in);
    (void)fclose(in);
}

static void file_store(const struct file *file, const uint8_t *bytes, size_t len)
{
    FILE *out = fopen(file->path, "r+b");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

static void file_flip(const struct file *file, size_t bit)
{
    uint8_t byte = (uint8_t)(file->bytes[bit / 8] ^ 1u << bit % 8);
    FILE *out = fopen(file->path, "r+b");
    assert_non_null(out);
    assert_int_equal(fseek(out, (long)(bit / 8), SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, out), 1);
    assert_int_equal(fclose(out), 0);
}

/* Four groups of six. Wherever a bit has flipped, no entry is wrong; of the last group nothing or all is there, as if
 * it was torn; of the others at most what the bit was in is missing, and is counted: an entry, or its group. */
static void a_bit_flips_anywhere(void **state)
{
    (void)state;
    struct fixture f;
    struct file file;
    fixture_init(&f, NULL);
    for (int i = 0; i < 4; i++)
        group_add(&f, 6);
    file_load(&f, 1, &file);
    unsigned lost_entries = 0, lost_groups = 0, lost_tails = 0, harmless = 0;
    struct random r;
    random_init(&r, 7);
    size_t used = (size_t)5 * SEGMENT_PAGE_BYTES + 2 * SEGMENT_PAGE_BYTES;
    for (size_t bit = 0; bit < used * 8; bit += 1 + random_below(&r, 96)) {
        file_flip(&file, bit);
        struct seen s = entries(&f);
        size_t missing = 24 - s.count;
        bool has_last = s.has[24];
        if (missing == 0)
            harmless++;
        else if (missing == 6 && !has_last && s.unread + s.damaged == 0)
            lost_tails++;
        else if (missing == 1 && s.unread + s.damaged == 1)
            lost_entries++;
        else if (missing == 6 && s.unread + s.damaged == 6)
            lost_groups++;
        else
            fail_msg("bit %zu: %zu are missing, %zu damaged, %zu unread", bit, missing, s.damaged,
                     (size_t)s.unread);
        file_store(&file, file.bytes, file.len);
    }
    (void)fprintf(stderr, "%u entries, %u groups, %u tails, %u harmless\n", lost_entries,
                  lost_groups, lost_tails, harmless);
    assert_true(lost_entries > 100 && lost_groups > 3 && lost_tails > 50 && harmless > 100);
    struct seen s = entries(&f);
    is_clean(&s, 24);
    mem_free(file.bytes);
    fixture_deinit(&f);
}

/* At each byte where the power may have gone: what was before it is there, and the next start goes on. */
static void a_tail_is_torn_anywhere(void **state)
{
    (void)state;
    struct fixture f;
    struct file file;
    fixture_init(&f, NULL);
    group_add(&f, 4);
    group_add(&f, 4);
    file_load(&f, 1, &file);
    uint8_t *torn = mem_alloc(file.len);
    assert_non_null(torn);
    size_t second = (size_t)2 * SEGMENT_PAGE_BYTES, whole = 0;
    for (size_t at = second; at < second + SEGMENT_PAGE_BYTES; at += 13) {
        memcpy(torn, file.bytes, file.len);
        memset(torn + at, 0, file.len - at);
        file_store(&file, torn, file.len);
        struct seen s = entries(&f);
        assert_true(s.count == 4 || s.count == 8);
        is_clean(&s, s.count);
        whole += s.count == 8;
    }
    assert_true(whole > 0); /* what fills the page */
    /* Torn, and gone on with: the number is given again, in another file, and the torn one never counts. */
    memset(torn + second + 500, 0, 200);
    memcpy(torn + second, file.bytes + second, 500);
    file_store(&file, torn, file.len);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(f.journal.next_group_no, 2);
    assert_int_equal(f.journal.next_sequence, 5);
    group_add(&f, 3);
    file_store(&file, file.bytes, file.len); /* even if it comes back as it should have been */
    struct seen s = entries(&f);
    is_clean(&s, 7);
    assert_true(s.has[7] && !s.has[8]);
    mem_free(torn);
    mem_free(file.bytes);
    fixture_deinit(&f);
}

/* A whole file is gone, or its first page is: what others hold is served, what is missing is counted. */
static void a_file_is_lost(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct fixture f;
        struct file file;
        fixture_init(&f, NULL);
        while (f.journal.segments_made < 3)
            group_add(&f, 8);
        size_t all = (size_t)f.journal.next_sequence - 1;
        file_load(&f, 2, &file);
        if (how == 0)
            assert_int_equal(unlink(file.path), 0);
        uint8_t zeros[SEGMENT_PAGE_BYTES] = { 0 };
        if (how == 1)
            file_store(&file, zeros, sizeof zeros);
        if (how == 2) /* one of the two headers */
            file_store(&file, zeros, SEGMENT_PAGE_BYTES / 2);
        struct seen s = entries(&f);
        assert_int_equal(s.count + s.unread, all);
        assert_int_equal(s.damaged, 0);
        assert_true(how == 2 ? s.unread == 0 : s.unread > 0);
        /* When it is retired it is not missed any more. */
        retire(&f, SIGNAL_TRACES, all - 1);
        retire(&f, SIGNAL_LOGS, all);
        s = entries(&f);
        is_clean(&s, 0);
        mem_free(file.bytes);
        fixture_deinit(&f);
    }
}

/* What an earlier use of the file left behind its groups never counts, even where the same numbers stand there. */
static void what_is_left_over_never_counts(void **state)
{
    (void)state;
    struct fixture f;
    struct file old;
    fixture_init(&f, NULL);
    for (int i = 0; i < 5; i++)
        group_add(&f, 4);
    file_load(&f, 1, &old);
    retire(&f, SIGNAL_TRACES, 19);
    retire(&f, SIGNAL_LOGS, 20);
    fixture_close(&f);
    fixture_open(&f); /* from here on it is begun anew */
    group_add(&f, 4);
    assert_int_equal(f.journal.segments_recycled, 1);
    struct seen s = entries(&f);
    is_clean(&s, 4);
    /* The first page did not come to the disk: all that stands there is retired. */
    file_store(&old, old.bytes, SEGMENT_PAGE_BYTES);
    s = entries(&f);
    is_clean(&s, 0);
    mem_free(old.bytes);
    fixture_deinit(&f);
}

/* A write of many entries was cut short; its numbers were given again in another file, and that has been used again
 * since. So no file begins with these numbers any more, and what the write left is void all the same. */
static void what_a_torn_write_left_never_counts(void **state)
{
    (void)state;
    struct fixture f;
    struct file file;
    enum { LARGE = 100 << 10 };
    fixture_init(&f, NULL);
    group_add(&f, 2);
    group_add(&f, 40);
    file_load(&f, 1, &file);
    file.bytes[(size_t)2 * SEGMENT_PAGE_BYTES + SEGMENT_GROUP_BYTES +
               (size_t)40 * SEGMENT_ENTRY_BYTES + 9000] ^= 1;
    file_store(&file, file.bytes, file.len);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(f.journal.next_sequence, 3);
    assert_int_equal(group_try(&f, 2, LARGE), ERR_OK); /* finds room in a new file only */
    retire(&f, SIGNAL_TRACES, 3);
    retire(&f, SIGNAL_LOGS, 4);
    assert_int_equal(group_try(&f, 2, LARGE), ERR_OK);
    assert_int_equal(f.journal.segments_recycled, 1);
    assert_int_equal(f.journal.segments_made, 1);
    struct seen s = entries_of(&f, LARGE);
    is_clean(&s, 2);
    assert_true(s.has[5] && s.has[6]);
    mem_free(file.bytes);
    fixture_deinit(&f);
}

/* ---- A disk that fails ------------------------------------------------------------------------- */

static void failed_writes_leave_nothing_in_doubt(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 40; n++) {
        struct fixture f;
        power_reset(n);
        fixture_init(&f, POWER_VFS);
        size_t acked = 0;
        bool failed = false;
        power_fail_at(POWER_WRITE | POWER_OPEN, n, false);
        for (unsigned i = 0; i < 30; i++) {
            /* Of different lengths, so that what failed is longer or shorter than what follows. */
            unsigned count = (i * 7 + n) % 5 + 1;
            if (group_try(&f, count, 0) == ERR_OK)
                acked += count;
            else
                failed = true;
        }
        assert_true(failed == power_fired());
        power_fail_at(0, 0, false);
        struct seen s = entries(&f);
        is_clean(&s, acked);
        fixture_close(&f);
        power_restore();
        fixture_open(&f);
        s = entries(&f);
        is_clean(&s, acked);
        group_add(&f, 2);
        s = entries(&f);
        is_clean(&s, acked + 2);
        fixture_close(&f);
        power_reset(0);
        scratch_remove(f.directory);
    }
}

/* The control: without syncs the same cut loses what was written, and here it does not. */
static bool cut_loses(enum power_defect defect, uint64_t seed)
{
    struct fixture f;
    power_reset(seed);
    fixture_init(&f, POWER_VFS);
    power_defect_set(defect);
    for (int i = 0; i < 12; i++)
        group_add(&f, 4);
    fixture_close(&f);
    power_restore();
    bool loses = true;
    if (db_exists(f.path, POWER_VFS)) {
        fixture_open(&f);
        struct seen s = entries(&f);
        loses = s.count < 48;
        fixture_close(&f);
    }
    power_reset(0);
    scratch_remove(f.directory);
    return loses;
}

static void a_missing_sync_is_noticed(void **state)
{
    (void)state;
    unsigned lost = 0, lost_entries = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        assert_false(cut_loses(POWER_HONEST, seed));
        lost += cut_loses(POWER_SYNC_DOES_NOTHING, seed);
        lost_entries += cut_loses(POWER_DIRECTORY_SYNC_DOES_NOTHING, seed);
    }
    assert_true(lost > 10);
    assert_true(lost_entries > 10);
}

static void a_full_disk_is_said(void **state)
{
    (void)state;
    struct fixture f;
    power_reset(1);
    fixture_init(&f, POWER_VFS);
    power_size_set(500 << 10);
    size_t acked = 0;
    enum err e = ERR_OK;
    while (e == ERR_OK) {
        e = group_try(&f, 4, 0);
        acked += e == ERR_OK ? 4 : 0;
        assert_true(acked < ENTRIES_MAX / 2);
    }
    assert_int_equal(e, ERR_FULL);
    assert_true(acked > 60);
    struct seen s = entries(&f);
    is_clean(&s, acked);
    assert_int_equal(journal_room_make(&f.journal), ERR_FULL);
    power_size_set(0);
    assert_int_equal(journal_room_make(&f.journal), ERR_OK);
    group_add(&f, 4);
    s = entries(&f);
    is_clean(&s, acked + 4);
    fixture_close(&f);
    power_reset(0);
    scratch_remove(f.directory);
}

/* ---- Copies ------------------------------------------------------------------------------------ */

static void file_copy(struct file *file, const struct fixture *to, unsigned number)
{
    (void)snprintf(file->path, sizeof file->path, "%s-j%u", to->path, number);
    FILE *out = fopen(file->path, "wb");
    assert_non_null(out);
    assert_int_equal(fclose(out), 0);
    file_store(file, file->bytes, file->len);
}

static void copies_are_trimmed(void **state)
{
    (void)state;
    struct fixture f, copy;
    struct file file;
    fixture_init(&f, NULL);
    for (int i = 0; i < 6; i++)
        group_add(&f, 4);
    uint64_t known = f.journal.next_group_no - 1;
    for (int i = 0; i < 3; i++)
        group_add(&f, 4); /* meanwhile */
    retire(&f, SIGNAL_TRACES, 3);
    retire(&f, SIGNAL_LOGS, 4);
    file_load(&f, 1, &file);
    /* The seventh group had not been written yet when its part was read. */
    memset(file.bytes + 7 * SEGMENT_PAGE_BYTES, 0, SEGMENT_PAGE_BYTES);
    fixture_init(&copy, NULL);
    file_copy(&file, &copy, 1);
    assert_int_equal(journal_copy_trim(&f.db, copy.path, known), ERR_OK);
    assert_int_equal(journal_files_bytes(copy.path), 7 * SEGMENT_PAGE_BYTES);
    /* What had been acknowledged before and is missing is damage: all stays, so that it is said. */
    file_store(&file, file.bytes, file.len);
    assert_int_equal(journal_copy_trim(&f.db, copy.path, known + 1), ERR_OK);
    assert_int_equal(journal_files_bytes(copy.path), 10 * SEGMENT_PAGE_BYTES);
    mem_free(file.bytes);
    fixture_deinit(&copy);
    fixture_deinit(&f);
}

/* Of the first group one entry has changed, and the second was being written when its part was read: it stays out of
 * the copy, but the first, of which it shows that it was whole once, is not taken for torn. */
static void damage_in_a_copy_is_none_of_a_torn_group(size_t len, unsigned groups)
{
    struct fixture f, copy;
    size_t bodies = SEGMENT_GROUP_BYTES + 4 * SEGMENT_ENTRY_BYTES;
    fixture_init(&f, NULL);
    fixture_init(&copy, NULL);
    for (unsigned i = 0; i < groups; i++)
        assert_int_equal(group_try(&f, 4, len), ERR_OK);
    unsigned files = (unsigned)f.journal.segments_made;
    for (unsigned number = 1; number <= files; number++) {
        struct file file;
        file_load(&f, number, &file);
        file.bytes[SEGMENT_PAGE_BYTES + bodies] ^= 1;
        if (files == 1)
            file.bytes[2 * SEGMENT_PAGE_BYTES + bodies] ^= 1;
        file_copy(&file, &copy, number);
        mem_free(file.bytes);
    }
    assert_int_equal(journal_copy_trim(&f.db, copy.path, 1), ERR_OK);
    struct seen s = entries_of(&copy, len);
    assert_int_equal(s.count, 3);
    assert_int_equal(s.damaged, 1);
    assert_int_equal(s.unread, 0);
    fixture_deinit(&copy);
    fixture_deinit(&f);
}

static void copies_keep_what_shows_damage(void **state)
{
    (void)state;
    for (unsigned groups = 2; groups <= 3; groups++) {
        damage_in_a_copy_is_none_of_a_torn_group(100, groups);
        damage_in_a_copy_is_none_of_a_torn_group(12000, groups); /* the second in the next file */
    }
}

static void readers_cannot_write(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, NULL);
    struct db reader;
    assert_int_equal(db_open(f.path, NULL, DB_READER, DURABILITY_FSYNC, &reader), ERR_OK);
    assert_int_not_equal(db_exec(&reader, "DELETE FROM set_aside"), ERR_OK);
    assert_int_not_equal(db_exec(&reader, "ATTACH '/tmp/x' AS x"), ERR_OK);
    int64_t value = 0;
    assert_int_equal(db_integer(&reader, "PRAGMA wal_autocheckpoint", -1, &value), ERR_OK);
    assert_int_equal(value, 0);
    assert_int_equal(db_integer(&f.db, "PRAGMA synchronous", -1, &value), ERR_OK);
    assert_int_equal(value, 2); /* FULL */
    assert_int_equal(db_integer(&f.db, "PRAGMA page_size", -1, &value), ERR_OK);
    assert_int_equal(value, DB_PAGE_BYTES);
    db_close(&reader);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_go_on),
        cmocka_unit_test(discarding_stores_numbers),
        cmocka_unit_test(signals_retire_apart),
        cmocka_unit_test(sets_aside_once),
        cmocka_unit_test(segments_are_used_again),
        cmocka_unit_test(the_slower_signal_holds_what_it_needs),
        cmocka_unit_test(large_groups_find_room),
        cmocka_unit_test(a_bit_flips_anywhere),
        cmocka_unit_test(a_tail_is_torn_anywhere),
        cmocka_unit_test(a_file_is_lost),
        cmocka_unit_test(what_is_left_over_never_counts),
        cmocka_unit_test(what_a_torn_write_left_never_counts),
        cmocka_unit_test(failed_writes_leave_nothing_in_doubt),
        cmocka_unit_test(a_missing_sync_is_noticed),
        cmocka_unit_test(a_full_disk_is_said),
        cmocka_unit_test(copies_are_trimmed),
        cmocka_unit_test(copies_keep_what_shows_damage),
        cmocka_unit_test(readers_cannot_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
