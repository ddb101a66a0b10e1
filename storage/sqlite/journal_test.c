/* SPDX-License-Identifier: Apache-2.0 */
/* The journal in a file of its own: numbers go on after rolling back, removing and opening again; what is
 * removed and set aside is what was asked for; a changed byte is noticed; and a reader can only read. */
#include "storage/sqlite/journal.h"

#include "storage/sqlite/schema.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

struct fixture {
    char directory[128], path[256];
    struct db db;
    struct journal journal;
};

static void fixture_open(struct fixture *f)
{
    assert_int_equal(db_open(f->path, NULL, DB_WRITER, DURABILITY_FSYNC, &f->db), ERR_OK);
    assert_int_equal(schema_create(SCHEMA_PARTITION, &f->db), ERR_OK);
    int64_t auto_vacuum = 0; /* incremental: a file can shrink */
    assert_int_equal(db_integer(&f->db, "PRAGMA auto_vacuum", 0, &auto_vacuum), ERR_OK);
    assert_int_equal(auto_vacuum, 2);
    assert_int_equal(journal_open(&f->journal, &f->db), ERR_OK);
}

static void fixture_close(struct fixture *f)
{
    journal_close(&f->journal);
    db_close(&f->db);
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){ 0 };
    scratch_make(f->directory);
    (void)snprintf(f->path, sizeof f->path, "%s/p.db", f->directory);
    fixture_open(f);
}

static void fixture_deinit(struct fixture *f)
{
    fixture_close(f);
    scratch_remove(f->directory);
}

/* Entries of alternating signals; commits or rolls back. */
static void group_add(struct fixture *f, unsigned count, bool commits)
{
    assert_int_equal(db_exec(&f->db, "BEGIN IMMEDIATE"), ERR_OK);
    journal_group_begin(&f->journal);
    for (unsigned i = 0; i < count; i++) {
        struct journal_entry e = { .signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS,
                                   .codec = CODEC_ZSTD,
                                   .items = i + 1,
                                   .request_hash = { i, 99 },
                                   .stored = BYTES_LITERAL("stored bytes") };
        assert_int_equal(journal_group_add(&f->journal, &e), ERR_OK);
    }
    assert_int_equal(journal_group_end(&f->journal), ERR_OK);
    if (!commits) {
        db_rollback(&f->db);
        return;
    }
    assert_int_equal(db_exec(&f->db, "COMMIT"), ERR_OK);
    journal_group_committed(&f->journal);
}

struct seen {
    uint64_t sequences[64], groups[64];
    size_t count, aside, damaged;
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
    assert_true(bytes_equal_text(e->stored, "stored bytes") || !is_intact);
    assert_int_equal(e->request_hash.high, 99);
    s->sequences[s->count] = e->sequence;
    s->groups[s->count++] = e->group_no;
    return true;
}

static struct seen entries(struct fixture *f)
{
    struct seen s = { .count = 0 };
    struct db reader;
    assert_int_equal(db_open(f->path, NULL, DB_READER, DURABILITY_FSYNC, &reader), ERR_OK);
    assert_int_equal(journal_each(&reader, on_entry, &s), ERR_OK);
    db_close(&reader);
    return s;
}

static void numbers_go_on(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    group_add(&f, 3, true);
    group_add(&f, 4, false);
    group_add(&f, 2, true);
    struct seen s = entries(&f);
    assert_int_equal(s.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(s.sequences[i], i + 1);
        assert_int_equal(s.groups[i], i < 3 ? 1 : 2);
    }
    /* Nothing is left, and the next numbers are new all the same. */
    assert_int_equal(journal_remove(&f.journal, SIGNAL_TRACES, 1, 5), ERR_OK);
    assert_int_equal(journal_remove(&f.journal, SIGNAL_LOGS, 1, 5), ERR_OK);
    assert_int_equal(journal_forget_groups(&f.journal), ERR_OK);
    fixture_close(&f);
    fixture_open(&f);
    group_add(&f, 1, true);
    s = entries(&f);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.sequences[0], 6);
    assert_int_equal(s.groups[0], 3);
    fixture_deinit(&f);
}

static void removes_what_it_is_told(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    group_add(&f, 6, true); /* spans: 1, 3, 5; logs: 2, 4, 6 */
    assert_int_equal(journal_set_aside(&f.journal, 3, "for a test"), ERR_OK);
    assert_int_equal(journal_remove(&f.journal, SIGNAL_TRACES, 1, 3), ERR_OK);
    assert_int_equal(journal_forget_groups(&f.journal), ERR_OK);
    struct seen s = entries(&f);
    assert_int_equal(s.aside, 1);
    assert_int_equal(s.damaged, 0);
    assert_int_equal(s.count, 4);
    static const uint64_t left[] = { 2, 4, 5, 6 };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(s.sequences[i], left[i]);
    fixture_deinit(&f);
}

static void changed_bytes_are_noticed(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    group_add(&f, 3, true);
    assert_int_equal(db_exec(&f.db, "UPDATE journal SET body = x'00' WHERE sequence = 2"), ERR_OK);
    assert_int_equal(entries(&f).damaged, 1);
    /* A row in the place of another has bytes that are right, and the wrong checksum. */
    assert_int_equal(db_exec(&f.db, "UPDATE journal SET sequence = 77 WHERE sequence = 3"), ERR_OK);
    assert_int_equal(entries(&f).damaged, 2);
    fixture_deinit(&f);
}

static void readers_cannot_write(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct db reader;
    assert_int_equal(db_open(f.path, NULL, DB_READER, DURABILITY_FSYNC, &reader), ERR_OK);
    assert_int_not_equal(db_exec(&reader, "DELETE FROM journal"), ERR_OK);
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
        cmocka_unit_test(removes_what_it_is_told),
        cmocka_unit_test(changed_bytes_are_noticed),
        cmocka_unit_test(readers_cannot_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
