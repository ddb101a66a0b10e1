/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/db.h"

#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* Overwrite what is at `offset` of path with a block that means nothing. */
static void garble(const char *path, off_t offset)
{
    uint8_t block[512];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (uint8_t)(i * 37 + 11);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, block, sizeof block, offset), sizeof block);
    assert_int_equal(close(fd), 0);
}

/* As after a cut of the power in the middle of a checkpoint: the file's first page is torn, the log has it. */
static void a_torn_header_is_read_from_the_log(void **state)
{
    (void)state;
    char directory[128], path[160], log[192];
    struct db db;
    bool is_empty = true;
    uint32_t id = 0, version = 0;
    scratch_make(directory);
    (void)snprintf(path, sizeof path, "%s/x.db", directory);
    (void)snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(db_peek(path, NULL, &is_empty, &id, &version), ERR_NOT_FOUND);
    assert_int_equal(db_open(path, NULL, DB_WRITER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(db_exec(&db, "CREATE TABLE t (a); PRAGMA application_id=77;"), ERR_OK);
    assert_int_equal(db_checkpoint(&db, true), ERR_OK);
    assert_int_equal(db_exec(&db, "PRAGMA user_version=5"), ERR_OK);
    assert_int_equal(db_exec(&db, "PRAGMA user_version=6; INSERT INTO t VALUES (1)"), ERR_OK);
    db_close(&db); /* the log stays */

    assert_int_equal(db_peek(path, NULL, &is_empty, &id, &version), ERR_OK);
    assert_true(!is_empty && id == 77 && version == 0); /* what the file itself says */
    garble(path, 0);
    assert_int_equal(db_peek(path, NULL, &is_empty, &id, &version), ERR_OK);
    assert_true(!is_empty && id == 77 && version == 6);
    int64_t rows = 0;
    assert_int_equal(db_open(path, NULL, DB_WRITER, DURABILITY_FSYNC, &db), ERR_OK);
    assert_int_equal(db_integer(&db, "SELECT count(*) FROM t", -1, &rows), ERR_OK);
    assert_int_equal(rows, 1);
    db_close(&db);
    garble(log, 0); /* a log that is none helps nobody */
    assert_int_equal(db_peek(path, NULL, &is_empty, &id, &version), ERR_CORRUPT);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_header_is_read_from_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
