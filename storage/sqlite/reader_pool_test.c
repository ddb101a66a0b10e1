/* SPDX-License-Identifier: Apache-2.0 */
/* One connection a file, however many of its row groups are read at once: with one for each group a look-back
 * over 200 groups came to hold 260 MB of SQLite's pages. And few connections, however many files are read. */
#include "storage/sqlite/reader_pool.h"

#include "storage/sqlite/schema.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>

#define FILES 6

static void a_set_has_one_connection_a_file(void **state)
{
    (void)state;
    char directory[128], paths[FILES][256];
    struct reader_pool pools[FILES];
    scratch_make(directory);
    for (int i = 0; i < FILES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/p%d.db", directory, i);
        struct db writer;
        assert_int_equal(db_open(paths[i], NULL, DB_WRITER, DURABILITY_FSYNC, &writer), ERR_OK);
        assert_int_equal(schema_create(SCHEMA_PARTITION, &writer), ERR_OK);
        db_close(&writer);
        reader_pool_init(&pools[i], paths[i], NULL);
    }

    struct reader_set set = { 0 };
    struct db *taken[FILES] = { NULL };
    for (int turn = 0; turn < 100; turn++) {
        for (int i = 0; i < FILES; i++) {
            struct db *db = NULL;
            assert_int_equal(reader_set_take(&set, &pools[i], &db), ERR_OK);
            assert_true(turn == 0 || db == taken[i]);
            taken[i] = db;
        }
    }
    assert_int_equal(set.count, FILES);
    for (int i = 0; i < FILES; i++) {
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(taken[i], taken[j]);
        assert_int_equal(pools[i].idle_count, 0);
    }

    reader_set_deinit(&set);
    assert_int_equal(set.count, 0);
    for (int i = 0; i < FILES; i++) {
        assert_int_equal(pools[i].idle_count, 1); /* given back, and kept for the next */
        reader_pool_deinit(&pools[i]);
    }
    scratch_remove(directory);
}

/* A reader of very many files, and then nobody: few of them stay open, and after a while none. */
static void many_files_need_few_descriptors(void **state)
{
    (void)state;
    enum { MANY = 100, EACH = 3 };
    static char paths[MANY][256];
    static struct reader_pool pools[MANY];
    char directory[128];
    scratch_make(directory);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/p%d.db", directory, i);
        struct db writer;
        assert_int_equal(db_open(paths[i], NULL, DB_WRITER, DURABILITY_PROCESS, &writer), ERR_OK);
        assert_int_equal(schema_create(SCHEMA_PARTITION, &writer), ERR_OK);
        db_close(&writer);
        reader_pool_init(&pools[i], paths[i], NULL);
    }
    size_t before = scratch_descriptors(), most = 0;
    struct reader_set set = { 0 };
    struct db *held = NULL;
    assert_int_equal(reader_set_take(&set, &pools[0], &held), ERR_OK); /* in use all the time */
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 1; i < MANY; i++) {
            struct db *db = NULL;
            int64_t rows = -1;
            assert_int_equal(reader_set_take(&set, &pools[i], &db), ERR_OK);
            assert_int_equal(db_integer(db, "SELECT count(*) FROM set_aside", -1, &rows), ERR_OK);
            assert_int_equal(rows, 0);
            reader_set_leave(&set, db);
            assert_true(set.count <= READER_SET_MAX);
            size_t now = scratch_descriptors() - before;
            most = now > most ? now : most;
        }
    }
    assert_in_range(most, READER_SET_MAX, EACH * (READER_SET_MAX + READER_POOL_ALL_IDLE_MAX + 1));
    struct db *again = NULL;
    assert_int_equal(reader_set_take(&set, &pools[0], &again), ERR_OK);
    assert_ptr_equal(again, held);
    reader_set_deinit(&set);
    assert_true(scratch_descriptors() - before <= EACH * (size_t)READER_POOL_ALL_IDLE_MAX);
    reader_pools_tend(clock_mono_ns());
    assert_true(scratch_descriptors() > before); /* they may be wanted in a moment */
    reader_pools_tend(clock_mono_ns() + 2 * READER_POOL_IDLE_NS);
    assert_int_equal(scratch_descriptors(), before);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(pools[i].idle_count, 0);
        reader_pool_deinit(&pools[i]);
    }
    scratch_remove(directory);
}

static void a_file_that_is_not_there_is_no_entry(void **state)
{
    (void)state;
    struct reader_pool pool;
    reader_pool_init(&pool, "/nonexistent/p.db", NULL);
    struct reader_set set = { 0 };
    struct db *db = NULL;
    assert_int_not_equal(reader_set_take(&set, &pool, &db), ERR_OK);
    assert_null(db);
    assert_int_equal(set.count, 0);
    reader_set_deinit(&set);
    reader_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_has_one_connection_a_file),
        cmocka_unit_test(many_files_need_few_descriptors),
        cmocka_unit_test(a_file_that_is_not_there_is_no_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
