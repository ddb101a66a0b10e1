/* SPDX-License-Identifier: Apache-2.0 */
/* db.h - one connection to one SQLite file, set up the one way that is safe here.
 *
 * Role       opening with every setting, statements, errors as ours, checkpoints, sizes.
 * Rule       one DB_WRITER per file does all writing and all checkpointing; every other
 *            connection is a DB_READER, which cannot write and never checkpoints. SQLite before
 *            3.51.3 can lose a commit when two connections write and checkpoint at the same
 *            instant.
 * Threads    a connection belongs to one thread at a time.
 * Blocking   everything may wait for the disk.
 * Errors     db_result() maps SQLite's codes: FULL, IO, CORRUPT (also: not a database), BUSY,
 *            NOMEM. */
#ifndef SPINDLE_STORAGE_SQLITE_DB_H
#define SPINDLE_STORAGE_SQLITE_DB_H

#include "base/bytes.h"
#include "base/err.h"
#include "storage/sqlite/library.h"
#include "storage/sqlite/sqlite_engine.h"

#include <sqlite3.h>

/* A commit writes each page it touches whole, some eight of them beside the bodies, and a checkpoint again:
 * 64 KiB pages wrote 850 bytes for a span of W1, these 420, and lookups are faster (ARCHITECTURE.md). A file
 * keeps the size it was made with. */
#define DB_PAGE_BYTES 8192u

/* sqlite3_file_control() operation that asks a VFS to make directory entries durable; the argument
 * is the directory's path. SQLite's own VFS does not know it, and then the directory is synced with
 * fsync(2). Tests with a disk of their own answer it. Operations over 100 are free for
 * applications. */
#define DB_FCNTL_SYNC_DIRECTORY 7301

enum db_role { DB_WRITER, DB_READER };

struct db {
    sqlite3 *handle;
    uint32_t wal_frames;      /* pages in the log after the last commit through this connection */
    uint32_t wal_backfilled;  /* of these, how many a checkpoint has copied */
    uint32_t wal_frames_most; /* the log's file keeps this length until it is truncated */
    /* A sync failed. The kernel reports that once and forgets the pages, so nothing that was not
     * synced before can be trusted: the file must not be written, synced or checkpointed ever
     * again. */
    bool is_sync_failed;
};

/* Open path. A DB_WRITER creates an absent file; the header of an existing one must have been
 * looked at with db_peek(). On failure nothing stays open. vfs   NULL for the default */
NODISCARD enum err db_open(const char *path, const char *vfs, enum db_role role,
                           enum durability durability, struct db *out);
void db_close(struct db *db); /* safe on a zeroed one, and twice; never checkpoints */

/* What a file's header says, read without opening it as a database, so that nothing is changed. Where
 * the file's first page is torn, by a cut in a checkpoint, it is what the log has of that page.
 * ERR_NOT_FOUND: no such file; ERR_OK with *out_is_empty: it has no header yet. ERR_CORRUPT: it is
 * not an SQLite file. ERR_IO. */
NODISCARD enum err db_peek(const char *path, const char *vfs, bool *out_is_empty,
                           uint32_t *out_application_id, uint32_t *out_user_version);
/* Whether path exists for this VFS. */
bool db_exists(const char *path, const char *vfs);
/* Unlink a database that no connection has open, its log included, and make that durable. What is not
 * there is no error. ERR_IO: part of it may be gone. */
NODISCARD enum err db_unlink(const char *path, const char *vfs);

/* Remember what a failed call means for the connection, and turn SQLite's code into ours. */
enum err db_result(struct db *db, int code);

/* One or more statements without results. */
NODISCARD enum err db_exec(struct db *db, const char *sql);
NODISCARD enum err db_prepare(struct db *db, const char *sql, sqlite3_stmt **out);
/* Step a statement that gives no rows, and reset it. */
NODISCARD enum err db_run(struct db *db, sqlite3_stmt *statement);
/* Step: ERR_OK with *out_row telling whether there is a row. Reset it when done. */
NODISCARD enum err db_step(struct db *db, sqlite3_stmt *statement, bool *out_row);
/* A statement with one integer result; `fallback` when it gives no row or NULL. */
NODISCARD enum err db_integer(struct db *db, const char *sql, int64_t fallback, int64_t *out);
/* Leave a transaction, whatever state it is in; does nothing outside one. */
void db_rollback(struct db *db);

/* Copy what is committed from the log into the file. truncate: then make the log empty as well,
 * which waits for nobody: ERR_BUSY when a reader is in the way. Writer only. */
NODISCARD enum err db_checkpoint(struct db *db, bool truncate);
/* Give the page cache's memory back, when nothing is to be written for a while. */
void db_rest(struct db *db);
/* Bytes of the file and its log. */
uint64_t db_bytes(struct db *db);

/* Write the database as a reader's transaction sees it (that which is open, else one of its own) to a new
 * file at path, mode 0600: whole, without a log, and not synced yet. On failure part of it may be there.
 * ERR_EXISTS: there is such a file already. */
NODISCARD enum err db_copy(struct db *reader, const char *path);

/* Make the entries of `directory` durable. */
NODISCARD enum err db_sync_directory(struct db *db, const char *directory);

static inline struct bytes db_column_bytes(sqlite3_stmt *s, int column)
{
    const void *data = sqlite3_column_blob(s, column);
    return bytes_of(data, (size_t)sqlite3_column_bytes(s, column));
}
static inline uint64_t db_column_u64(sqlite3_stmt *s, int column)
{
    return (uint64_t)sqlite3_column_int64(s, column);
}
/* Binding is borrowed until the statement has been run. Its only failure is out of memory, which
 * the step that follows reports too, as a NULL in a NOT NULL column. */
static inline void db_bind_bytes(sqlite3_stmt *s, int parameter, struct bytes bytes)
{
    (void)sqlite3_bind_blob64(s, parameter, bytes.len == 0 ? (const void *)"" : bytes.data,
                              bytes.len, SQLITE_STATIC);
}
static inline void db_bind_u64(sqlite3_stmt *s, int parameter, uint64_t v)
{
    (void)sqlite3_bind_int64(s, parameter, (sqlite3_int64)v);
}

#endif
