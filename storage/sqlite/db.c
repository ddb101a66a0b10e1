/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/db.h"

#include "base/crash_point.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Errors ---------------------------------------------------------------------------------- */

enum err db_result(struct db *db, int code)
{
    switch (code) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return ERR_OK;
    case SQLITE_IOERR_NOMEM:
        return ERR_NOMEM;
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
        db->is_sync_failed = true;
        return ERR_IO;
    default:
        break;
    }
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERR_BUSY;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    case SQLITE_INTERRUPT:
        return ERR_CANCELLED;
    case SQLITE_CONSTRAINT: /* a bind that ran out of memory left a NULL; see db_bind_bytes() */
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int on_commit(void *context, sqlite3 *handle, const char *name, int frames)
{
    (void)handle;
    (void)name;
    struct db *db = context;
    if ((uint32_t)frames < db->wal_frames)
        db->wal_backfilled = 0; /* the log was recycled: it began again at its start */
    db->wal_frames = (uint32_t)frames;
    if (db->wal_frames > db->wal_frames_most)
        db->wal_frames_most = db->wal_frames;
    return SQLITE_OK;
}

static void limits_set(sqlite3 *handle)
{
    static const struct {
        int id, value;
    } limits[] = {
        { SQLITE_LIMIT_LENGTH, 512 << 20 }, /* a row group's blob */
        { SQLITE_LIMIT_SQL_LENGTH, 64 << 10 }, { SQLITE_LIMIT_COLUMN, 64 },
        { SQLITE_LIMIT_EXPR_DEPTH, 32 },       { SQLITE_LIMIT_COMPOUND_SELECT, 8 },
        { SQLITE_LIMIT_ATTACHED, 0 },          { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256 },
        { SQLITE_LIMIT_VARIABLE_NUMBER, 32 },  { SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
        { SQLITE_LIMIT_WORKER_THREADS, 0 },
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        (void)sqlite3_limit(handle, limits[i].id, limits[i].value);
}

/* That a new file may become smaller without being rewritten. Preparing the statement is what sets it for
 * the first page, which is written later; running it would write that page at once, in a transaction of
 * its own. An existing file stays as it is. */
static enum err shrinkable_set(struct db *db)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db, "PRAGMA auto_vacuum=INCREMENTAL", &s);
    (void)sqlite3_finalize(s);
    return e;
}

static enum err settings_apply(struct db *db, enum db_role role, enum durability durability)
{
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_busy_timeout(db->handle, 1000); /* recovery of the log by another connection */
    limits_set(db->handle);
    /* mmap off: a lost page is an error code, not a SIGBUS. */
    enum err e =
        db_exec(db, "PRAGMA mmap_size=0; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;"
                    "PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=OFF;");
    if (e != ERR_OK)
        return e;
    if (role == DB_READER)
        return db_exec(db, "PRAGMA query_only=ON; PRAGMA cache_size=-1024;");
    e = db_exec(db, "PRAGMA page_size=8192" /* DB_PAGE_BYTES */);
    if (e == ERR_OK)
        e = shrinkable_set(db);
    if (e != ERR_OK)
        return e;
    e = db_exec(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=-8192;"
                    /* Debian builds SQLite to write zeros over what is deleted: the whole
                     * journal once more. */
                    "PRAGMA secure_delete=OFF;"
                    "PRAGMA journal_size_limit=-1;");
    if (e != ERR_OK)
        return e;
    (void)sqlite3_wal_hook(db->handle, on_commit, db);
    return db_exec(db, durability == DURABILITY_FSYNC ? "PRAGMA synchronous=FULL"
                                                      : "PRAGMA synchronous=NORMAL");
}

enum err db_open(const char *path, const char *vfs, enum db_role role, enum durability durability,
                 struct db *out)
{
    db_library_init();
    *out = (struct db){ 0 };
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
    flags |= role == DB_READER ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    int rc = sqlite3_open_v2(path, &out->handle, flags, vfs);
    enum err e = out->handle == NULL ? ERR_NOMEM : db_result(out, rc);
    if (e == ERR_OK) {
        /* Before the log exists, which takes its mode from the file. Not all VFS have a file here.
         */
        if (role == DB_WRITER)
            (void)chmod(path, S_IRUSR | S_IWUSR);
        e = settings_apply(out, role, durability);
    }
    if (e != ERR_OK)
        db_close(out);
    return e;
}

void db_close(struct db *db)
{
    if (db->handle == NULL)
        return;
    int rc = sqlite3_close(db->handle);
    assert(rc == SQLITE_OK); /* statements and blobs are closed by their owners first */
    (void)rc;
    db->handle = NULL;
}

bool db_exists(const char *path, const char *vfs_name)
{
    db_library_init();
    if (sqlite3_initialize() != SQLITE_OK)
        return false;
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    int exists = 0;
    return vfs != NULL && vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &exists) == SQLITE_OK &&
           exists != 0;
}

enum err db_unlink(const char *path, const char *vfs_name)
{
    static const char *const suffixes[] = { "-wal", "-shm", "-journal", "" };
    db_library_init();
    if (sqlite3_initialize() != SQLITE_OK)
        return ERR_NOMEM;
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    if (vfs == NULL)
        return ERR_IO;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char name[4096 + 64];
        int len = snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        if (len < 0 || (size_t)len >= sizeof name)
            return ERR_IO;
        if (i > 0)
            CRASH_POINT("unlink_next");
        /* The last one syncs the directory, for all of them. */
        bool is_last = i + 1 == sizeof suffixes / sizeof suffixes[0];
        int rc = vfs->xDelete(vfs, name, is_last);
        if (rc != SQLITE_OK && rc != SQLITE_IOERR_DELETE_NOENT)
            return ERR_IO;
    }
    return ERR_OK;
}

/* ---- Headers --------------------------------------------------------------------------------- */

/* Offsets in the header of an SQLite file and in those of its log:
 * https://sqlite.org/fileformat2.html, sections 1.3 and 4.1. */
enum { HEADER_BYTES = 100, HEADER_USER_VERSION = 60, HEADER_APPLICATION_ID = 68 };
enum { LOG_HEADER_BYTES = 32, LOG_PAGE_SIZE = 8, LOG_SALTS = 16, SALTS_BYTES = 8 };
enum { FRAME_HEADER_BYTES = 24, FRAME_PAGE = 0, FRAME_SALTS = 8 };
#define LOG_MAGIC 0x377f0682u /* the last bit says how its checksums are made */

/* A file that is read and not opened as a database. */
struct raw_file {
    sqlite3_file *file;
    char *name;
    sqlite3_int64 size;
};

static void raw_close(struct raw_file *f)
{
    if (f->file != NULL && f->file->pMethods != NULL)
        (void)f->file->pMethods->xClose(f->file);
    mem_free(f->file);
    mem_free(f->name);
}

/* On failure too, raw_close() is the caller's. */
static enum err raw_open(sqlite3_vfs *vfs, const char *path, const char *suffix, int kind,
                         struct raw_file *out)
{
    /* SQLite passes names that end in two NULs to xOpen, and so must we. */
    size_t len = strlen(path) + strlen(suffix);
    *out =
        (struct raw_file){ .file = mem_zalloc((size_t)vfs->szOsFile), .name = mem_zalloc(len + 4) };
    if (out->file == NULL || out->name == NULL)
        return ERR_NOMEM;
    (void)snprintf(out->name, len + 1, "%s%s", path, suffix);
    int rc = vfs->xOpen(vfs, out->name, out->file, SQLITE_OPEN_READONLY | kind, NULL);
    if (rc == SQLITE_OK)
        rc = out->file->pMethods->xFileSize(out->file, &out->size);
    struct db unused = { 0 };
    return db_result(&unused, rc);
}

static bool raw_read(const struct raw_file *f, sqlite3_int64 offset, void *out, int n)
{
    return offset + n <= f->size && f->file->pMethods->xRead(f->file, out, n, offset) == SQLITE_OK;
}

static bool is_header(const uint8_t header[HEADER_BYTES])
{
    return memcmp(header, "SQLite format 3", 16) == 0;
}

/* The file's header as the log has it last. Who opens the database has the log's checksums checked. */
static bool header_from_log(sqlite3_vfs *vfs, const char *path, uint8_t header[HEADER_BYTES])
{
    uint8_t log[LOG_HEADER_BYTES], frame[FRAME_HEADER_BYTES], page[HEADER_BYTES];
    struct raw_file f;
    bool is_found = false;
    if (raw_open(vfs, path, "-wal", SQLITE_OPEN_WAL, &f) == ERR_OK &&
        raw_read(&f, 0, log, sizeof log) && (load_be32(log) & ~1u) == LOG_MAGIC) {
        sqlite3_int64 step = FRAME_HEADER_BYTES + (sqlite3_int64)load_be32(log + LOG_PAGE_SIZE);
        for (sqlite3_int64 at = LOG_HEADER_BYTES; raw_read(&f, at, frame, sizeof frame);
             at += step) {
            if (memcmp(frame + FRAME_SALTS, log + LOG_SALTS, SALTS_BYTES) != 0)
                break; /* left from before */
            if (load_be32(frame + FRAME_PAGE) == 1 &&
                raw_read(&f, at + FRAME_HEADER_BYTES, page, sizeof page) && is_header(page)) {
                memcpy(header, page, sizeof page);
                is_found = true;
            }
        }
    }
    raw_close(&f);
    return is_found;
}

enum err db_peek(const char *path, const char *vfs_name, bool *out_is_empty,
                 uint32_t *out_application_id, uint32_t *out_user_version)
{
    db_library_init();
    if (sqlite3_initialize() != SQLITE_OK)
        return ERR_NOMEM;
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    if (vfs == NULL)
        return ERR_IO;
    if (!db_exists(path, vfs_name))
        return ERR_NOT_FOUND;
    uint8_t header[HEADER_BYTES] = { 0 };
    struct raw_file f;
    enum err e = raw_open(vfs, path, "", SQLITE_OPEN_MAIN_DB, &f);
    bool is_empty = f.size == 0;
    if (e == ERR_OK && f.size >= HEADER_BYTES && !raw_read(&f, 0, header, sizeof header))
        e = ERR_IO;
    raw_close(&f);
    if (e != ERR_OK)
        return e;
    if (is_empty) {
        *out_is_empty = true;
        return ERR_OK;
    }
    /* Power may go while the log is copied into the file: then the log alone has the first page whole. */
    if (!is_header(header) && !header_from_log(vfs, path, header))
        return ERR_CORRUPT;
    *out_is_empty = false;
    *out_application_id = load_be32(header + HEADER_APPLICATION_ID);
    *out_user_version = load_be32(header + HEADER_USER_VERSION);
    return ERR_OK;
}

/* ---- Statements ------------------------------------------------------------------------------ */

enum err db_exec(struct db *db, const char *sql)
{
    return db_result(db, sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

enum err db_prepare(struct db *db, const char *sql, sqlite3_stmt **out)
{
    sqlite3_stmt *statement = NULL;
    enum err e = db_result(
        db, sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL));
    if (e == ERR_OK)
        *out = statement;
    return e;
}

enum err db_step(struct db *db, sqlite3_stmt *statement, bool *out_row)
{
    int rc = sqlite3_step(statement);
    enum err e = db_result(db, rc);
    if (e == ERR_OK)
        *out_row = rc == SQLITE_ROW;
    return e;
}

enum err db_run(struct db *db, sqlite3_stmt *statement)
{
    int rc = sqlite3_step(statement);
    (void)sqlite3_reset(statement);
    assert(rc != SQLITE_ROW);
    return db_result(db, rc);
}

enum err db_integer(struct db *db, const char *sql, int64_t fallback, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    enum err e = db_prepare(db, sql, &statement);
    if (e != ERR_OK)
        return e;
    bool is_row = false;
    e = db_step(db, statement, &is_row);
    if (e == ERR_OK)
        *out = is_row && sqlite3_column_type(statement, 0) != SQLITE_NULL
                   ? sqlite3_column_int64(statement, 0)
                   : fallback;
    (void)sqlite3_finalize(statement);
    return e;
}

void db_rollback(struct db *db)
{
    /* SQLite has rolled back by itself after some errors. What a ROLLBACK reports changes nothing.
     */
    if (db->handle != NULL && sqlite3_get_autocommit(db->handle) == 0)
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- Checkpoints and sizes ------------------------------------------------------------------- */

enum err db_checkpoint(struct db *db, bool truncate)
{
    assert(!db->is_sync_failed);
    int frames = 0, copied = 0;
    (void)sqlite3_busy_timeout(db->handle, 0);
    int rc = sqlite3_wal_checkpoint_v2(
        db->handle, NULL, truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
        &frames, &copied);
    (void)sqlite3_busy_timeout(db->handle, 1000);
    enum err e = db_result(db, rc);
    if (e == ERR_OK && frames >= 0 && copied >= 0) {
        db->wal_frames = (uint32_t)frames;
        db->wal_backfilled = (uint32_t)copied;
        if (truncate)
            db->wal_frames_most = db->wal_frames;
    }
    return e;
}

void db_rest(struct db *db)
{
    (void)sqlite3_db_release_memory(db->handle);
}

static uint64_t file_bytes(struct db *db, int operation)
{
    sqlite3_file *file = NULL;
    sqlite3_int64 size = 0;
    if (sqlite3_file_control(db->handle, "main", operation, &file) != SQLITE_OK || file == NULL ||
        file->pMethods == NULL || file->pMethods->xFileSize(file, &size) != SQLITE_OK)
        return 0;
    return (uint64_t)size;
}

uint64_t db_bytes(struct db *db)
{
    return file_bytes(db, SQLITE_FCNTL_FILE_POINTER) + file_bytes(db, SQLITE_FCNTL_JOURNAL_POINTER);
}

enum err db_sync_directory(struct db *db, const char *directory)
{
    int rc = sqlite3_file_control(db->handle, "main", DB_FCNTL_SYNC_DIRECTORY,
                                  (void *)(uintptr_t)directory);
    if (rc != SQLITE_NOTFOUND)
        return db_result(db, rc);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    rc = fsync(fd) == 0 ? SQLITE_OK : SQLITE_IOERR_DIR_FSYNC;
    (void)close(fd);
    return db_result(db, rc);
}

/* ---- Copying --------------------------------------------------------------------------------- */

/* The copy is thrown away unless all of it succeeds: it needs neither a journal nor syncs on the way. */
static enum err copy_open(const char *path, struct db *out)
{
    *out = (struct db){ 0 };
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return errno == EEXIST ? ERR_EXISTS : errno == ENOSPC ? ERR_FULL : ERR_IO;
    (void)close(fd);
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(path, &out->handle, flags | SQLITE_OPEN_READWRITE, NULL);
    enum err e = out->handle == NULL ? ERR_NOMEM : db_result(out, rc);
    if (e == ERR_OK)
        e = db_exec(out, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA mmap_size=0");
    if (e != ERR_OK)
        db_close(out);
    return e;
}

enum err db_copy(struct db *reader, const char *path)
{
    struct db to;
    enum err e = copy_open(path, &to);
    if (e != ERR_OK)
        return e;
    sqlite3_backup *backup = sqlite3_backup_init(to.handle, "main", reader->handle, "main");
    if (backup == NULL) {
        e = db_result(&to, sqlite3_extended_errcode(to.handle));
    } else {
        int rc = sqlite3_backup_step(backup, -1); /* one step sees one state */
        (void)sqlite3_backup_finish(backup);
        e = rc == SQLITE_OK ? ERR_IO : db_result(&to, rc); /* OK: not done */
    }
    db_close(&to);
    return e;
}
