/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_verify.c - reading every byte of a data directory that nobody has open, and saying what is
 * wrong.
 *
 * Nothing is repaired and nothing is written, but for what SQLite does to a file's -shm when it
 * opens it. */
#include "base/mem.h"
#include "storage/rowgroup/rowgroup.h"
#include "storage/sqlite/backup_private.h"
#include "storage/sqlite/catalog.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/journal.h"
#include "storage/sqlite/schema.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct verify {
    const char *directory;
    verify_report_fn *report;
    void *context;
    const char *file; /* being checked */
    bool is_bad;
};

PRINTF_LIKE(2, 3) static void bad(struct verify *v, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    v->is_bad = true;
    v->report(v->context, v->file, text);
}

/* ---- SQLite's own check ---------------------------------------------------------------------- */

static enum err integrity_check(struct verify *v, struct db *db)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db, "PRAGMA integrity_check(20)", &s);
    bool is_row = true;
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        const char *text = (const char *)sqlite3_column_text(s, 0);
        if (text == NULL || strcmp(text, "ok") != 0)
            bad(v, "SQLite: %s", text == NULL ? "?" : text);
    }
    (void)sqlite3_finalize(s);
    return e;
}

/* ---- Row groups ------------------------------------------------------------------------------ */

static void filter_check(struct verify *v, long long id, struct bytes filter, uint64_t signal)
{
    if (!trace_filter_is_intact(filter) || (filter.len == 0 && signal == SIGNAL_TRACES))
        bad(v, "the trace filter of row group %lld is damaged", id);
}

static enum err row_groups_check(struct verify *v, struct db *db)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(
        db,
        "SELECT g.id, g.bytes, g.checksum, d.data, g.trace_filter, g.signal FROM row_group g"
        " LEFT JOIN row_group_data d ON d.id = g.id ORDER BY g.id",
        &s);
    bool is_row = true;
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        long long id = sqlite3_column_int64(s, 0);
        filter_check(v, id, db_column_bytes(s, 4), db_column_u64(s, 5));
        if (sqlite3_column_type(s, 3) == SQLITE_NULL) {
            bad(v, "row group %lld has no data", id);
            continue;
        }
        struct bytes data = db_column_bytes(s, 3);
        struct err_note note = { 0 };
        if (data.len != db_column_u64(s, 1))
            bad(v, "row group %lld has %zu bytes instead of %llu", id, data.len,
                (unsigned long long)db_column_u64(s, 1));
        else if (hash_bytes(data) != db_column_u64(s, 2))
            bad(v, "row group %lld does not have the checksum it was written with", id);
        enum err found = rowgroup_verify(data, &note);
        if (found == ERR_NOMEM)
            e = found;
        else if (found != ERR_OK)
            bad(v, "row group %lld, byte %zu: %s", id, note.offset,
                note.what == NULL ? err_text(found) : note.what);
    }
    (void)sqlite3_finalize(s);
    int64_t orphans = 0;
    if (e == ERR_OK)
        e = db_integer(db,
                       "SELECT count(*) FROM row_group_data WHERE id NOT IN"
                       " (SELECT id FROM row_group)",
                       0, &orphans);
    if (orphans != 0)
        bad(v, "%lld row groups are not listed", (long long)orphans);
    return e;
}

/* ---- The journal ----------------------------------------------------------------------------- */

struct journal_check {
    struct verify *verify;
    struct db *db;
    sqlite3_stmt *group; /* of versions 1 and 2; else NULL, as the files know by themselves */
    uint64_t group_no, count, hash; /* of the entries seen of the group at hand */
    enum err error;
};

/* Entries of a group leave it when they are retired, so only a group that is whole can be compared.
 */
static void group_compare(struct journal_check *c)
{
    if (c->count == 0 || c->error != ERR_OK)
        return;
    db_bind_u64(c->group, 1, c->group_no);
    bool is_row = false;
    c->error = db_step(c->db, c->group, &is_row);
    if (c->error == ERR_OK && !is_row)
        bad(c->verify, "journal group %llu is not listed", (unsigned long long)c->group_no);
    else if (c->error == ERR_OK && db_column_u64(c->group, 0) < c->count)
        bad(c->verify, "journal group %llu has too many entries", (unsigned long long)c->group_no);
    else if (c->error == ERR_OK && db_column_u64(c->group, 0) == c->count &&
             db_column_u64(c->group, 1) != c->hash)
        bad(c->verify, "journal group %llu does not have its hash",
            (unsigned long long)c->group_no);
    (void)sqlite3_reset(c->group);
}

static bool entry_check(void *context, const struct journal_entry *entry, bool is_intact,
                        const char *reason)
{
    struct journal_check *c = context;
    bool is_row = c->group != NULL && reason == NULL;
    if (is_row && entry->group_no != c->group_no) {
        group_compare(c);
        c->group_no = entry->group_no;
        c->count = c->hash = 0;
    }
    if (is_row) {
        c->count++;
        c->hash = journal_group_hash_fold(c->hash, journal_checksum(entry));
    }
    unsigned long long sequence = entry->sequence;
    if (!is_intact) {
        bad(c->verify, "journal entry %llu does not have its checksum", sequence);
        return true;
    }
    if (reason != NULL)
        bad(c->verify, "journal entry %llu was set aside: %s", sequence, reason);
    struct arena arena;
    struct bytes body;
    struct err_note note = { 0 };
    struct otlp_report report;
    arena_init(&arena, (size_t)1 << 30, NULL);
    enum err e = codec_decompress(entry->codec, entry->stored, (size_t)entry->body_bytes, &arena,
                                  &body, &note);
    if (e == ERR_OK)
        e = otlp_check(entry->signal, body, &otlp_limits_default, 0, &report, &note);
    if (e != ERR_OK)
        bad(c->verify, "journal entry %llu, byte %zu: %s", sequence, note.offset,
            note.what == NULL ? err_text(e) : note.what);
    else if (report.items != entry->items)
        bad(c->verify, "journal entry %llu has %llu items instead of %llu", sequence,
            (unsigned long long)report.items, (unsigned long long)entry->items);
    arena_deinit(&arena);
    return c->error == ERR_OK;
}

static enum err journal_check(struct verify *v, struct db *db)
{
    struct journal_check c = { .verify = v, .db = db };
    int64_t version = 0;
    uint64_t unread = 0;
    enum err e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e == ERR_OK && version < 3)
        e = db_prepare(db, "SELECT count, hash FROM journal_group WHERE group_no = ?1", &c.group);
    if (e == ERR_OK)
        e = journal_each(db, entry_check, &c, &unread);
    if (e == ERR_OK && c.group != NULL)
        group_compare(&c);
    if (e == ERR_OK && unread > 0)
        bad(v, "up to %llu journal entries cannot be read", (unsigned long long)unread);
    (void)sqlite3_finalize(c.group);
    return e == ERR_OK ? c.error : e;
}

/* The operations' counts are derived from the row groups: both must say the same. */
static enum err counts_check(struct verify *v, struct db *db)
{
    int64_t rows = 0, counted = 0, version = 0;
    enum err e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e == ERR_OK)
        e = db_integer(db,
                       version < 2
                           ? "SELECT sum(rows) FROM row_group WHERE signal = 0"
                           : "SELECT sum(rows) FROM row_group WHERE signal = 0 AND replaced_by = 0",
                       0, &rows);
    if (e == ERR_OK)
        e = db_integer(db, "SELECT sum(spans) FROM operation", 0, &counted);
    if (e == ERR_OK && rows != counted)
        bad(v, "operations count %lld spans, row groups hold %lld", (long long)counted,
            (long long)rows);
    return e;
}

static void rollup_bad(void *context, int64_t id, const char *what)
{
    bad(context, "rollups %lld: %s", (long long)id, what);
}

/* Every span that is in a row group was counted when the first group that had it was built. Copies that only a
 * merge of row groups found to be such had been counted too. */
static enum err rollups_check(struct verify *v, struct db *db)
{
    int64_t version = 0, rows = 0, copies = 0;
    uint64_t counted = 0;
    enum err e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e != ERR_OK || version < 2)
        return e;
    e = derived_verify(db, rollup_bad, v, &counted);
    if (e == ERR_OK)
        e = db_integer(db, "SELECT sum(rows) FROM row_group WHERE signal = 0 AND replaced_by = 0",
                       0, &rows);
    if (e == ERR_OK)
        e = db_integer(
            db, "SELECT sum(duplicates + level - 1) FROM row_group WHERE signal = 0 AND level > 0",
            0, &copies);
    if (e == ERR_OK && (copies == 0 ? counted != (uint64_t)rows : counted < (uint64_t)rows))
        bad(v, "rollups count %llu spans, row groups hold %lld", (unsigned long long)counted,
            (long long)rows);
    return e;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Newer files end the check, since nothing can be said about them. */
static enum err file_open(struct verify *v, enum schema_kind kind, const char *path, struct db *out)
{
    uint32_t version = 0;
    enum err e = schema_check(kind, path, NULL, &version);
    if (e == ERR_NEWER) {
        bad(v, "format version %u is newer than %u, the newest that this program knows", version,
            SCHEMA_VERSION);
        return e;
    }
    if (e == ERR_OK)
        e = db_open(path, NULL, DB_READER, DURABILITY_FSYNC, out);
    if (e == ERR_NOT_FOUND)
        bad(v, "the file is missing or empty");
    else if (e == ERR_CORRUPT)
        bad(v, "not a file of this program, or its header is damaged");
    return e;
}

/* What was acknowledged last is in the partition's journal, or was. */
static enum err acked_check(struct verify *v, struct db *db, uint64_t partition_id)
{
    uint64_t partition = 0, group_no = 0, newest = 0;
    if (!writer_acked_load(v->directory, &partition, &group_no) || partition != partition_id)
        return ERR_OK;
    enum err e = journal_newest_group(db, &newest);
    if (e == ERR_OK && newest < group_no)
        bad(v, "%llu acknowledged group commits are not in it",
            (unsigned long long)(group_no - newest));
    return e;
}

static enum err partition_check(struct verify *v, const struct catalog_partition *listed)
{
    struct partition *p = partition_new(v->directory, NULL, listed);
    if (p == NULL)
        return ERR_NOMEM;
    struct db db = { 0 };
    v->file = p->path;
    enum err e = file_open(v, SCHEMA_PARTITION, p->path, &db);
    enum err (*checks[])(struct verify *, struct db *) = { integrity_check, row_groups_check,
                                                           journal_check, counts_check,
                                                           rollups_check };
    for (size_t i = 0; e == ERR_OK && i < sizeof checks / sizeof checks[0]; i++) {
        e = checks[i](v, &db);
        if (e == ERR_CORRUPT) {
            bad(v, "SQLite found the file damaged");
            e = ERR_OK;
        }
    }
    if (e == ERR_OK && listed->state == PARTITION_OPEN)
        e = acked_check(v, &db, listed->id);
    db_close(&db);
    v->file = v->directory;
    partition_release(p);
    return e == ERR_CORRUPT || e == ERR_NOT_FOUND ? ERR_OK : e; /* reported: the others go on */
}

static enum err summary_filters_check(struct verify *v, struct db *catalog, uint64_t partition)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(
        catalog, "SELECT id, trace_filter, signal FROM partition_group WHERE partition = ?1", &s);
    if (e == ERR_OK)
        db_bind_u64(s, 1, partition);
    bool is_row = true;
    while (e == ERR_OK) {
        e = db_step(catalog, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        filter_check(v, sqlite3_column_int64(s, 0), db_column_bytes(s, 1), db_column_u64(s, 2));
    }
    (void)sqlite3_finalize(s);
    return e;
}

/* What the catalogue says of a sealed partition is what is in it. */
static enum err summary_check(struct verify *v, struct db *catalog,
                              const struct catalog_partition *listed)
{
    static const char ours[] = "SELECT count(*), sum(rows), sum(bytes), max(built_unix_ns)"
                               " FROM partition_group WHERE partition = ?1";
    static const char theirs[] = "SELECT count(*), sum(rows), sum(bytes), max(built_unix_ns)"
                                 " FROM row_group WHERE ?1 <> 0 AND replaced_by = 0";
    struct partition *p = partition_new(v->directory, NULL, listed);
    if (p == NULL)
        return ERR_NOMEM;
    struct db db = { 0 };
    sqlite3_stmt *a = NULL, *b = NULL;
    bool is_a = false, is_b = false;
    enum err e = db_open(p->path, NULL, DB_READER, DURABILITY_FSYNC, &db);
    if (e == ERR_OK)
        e = db_prepare(catalog, ours, &a);
    if (e == ERR_OK)
        e = db_prepare(&db, theirs, &b);
    if (e == ERR_OK) {
        db_bind_u64(a, 1, listed->id);
        db_bind_u64(b, 1, listed->id);
        e = db_step(catalog, a, &is_a);
    }
    if (e == ERR_OK)
        e = db_step(&db, b, &is_b);
    v->file = p->path;
    for (int i = 0; e == ERR_OK && i < 4; i++) {
        if (sqlite3_column_int64(a, i) == sqlite3_column_int64(b, i))
            continue;
        bad(v, "the catalogue's summary of its row groups differs");
        break;
    }
    if (e == ERR_OK)
        e = summary_filters_check(v, catalog, listed->id);
    v->file = v->directory;
    (void)sqlite3_finalize(a);
    (void)sqlite3_finalize(b);
    db_close(&db);
    partition_release(p);
    return e == ERR_NOMEM ? e : ERR_OK; /* what is wrong with the file is reported already */
}

/* The partition that log records are being taken out of; 0: none. */
static enum err logs_expiring(struct db *catalog, uint64_t *out)
{
    sqlite3_stmt *s = NULL;
    bool is_row = false;
    enum err e = db_prepare(catalog, "SELECT value FROM setting WHERE key = 'logs_expiring'", &s);
    if (e == ERR_OK)
        e = db_step(catalog, s, &is_row);
    if (e == ERR_OK && is_row && db_column_bytes(s, 0).len == 8)
        *out = load_le64(db_column_bytes(s, 0).data);
    (void)sqlite3_finalize(s);
    return e;
}

/* The catalogue's operations count the spans of the partitions that are summarised. */
static enum err totals_check(struct verify *v, struct db *catalog)
{
    int64_t rows = 0, counted = 0;
    enum err e =
        db_integer(catalog, "SELECT sum(rows) FROM partition_group WHERE signal = 0", 0, &rows);
    if (e == ERR_OK)
        e = db_integer(catalog, "SELECT sum(spans) FROM operation", 0, &counted);
    if (e == ERR_OK && rows != counted)
        bad(v, "operations count %lld spans, summaries hold %lld", (long long)counted,
            (long long)rows);
    return e;
}

/* A file of version 2 may be older than the table of merged rows: it gets it when it is opened to be written. */
static enum err catalog_rollups_check(struct verify *v, struct db *catalog)
{
    int64_t tables = 0;
    enum err e = db_integer(catalog,
                            "SELECT count(*) FROM sqlite_schema"
                            " WHERE name IN ('rollup', 'rollup_merged')",
                            0, &tables);
    if (e == ERR_OK && tables == 2)
        e = derived_catalog_verify(catalog, rollup_bad, v);
    if (e != ERR_CORRUPT)
        return e;
    bad(v, "SQLite found the file damaged");
    return ERR_OK;
}

static bool is_listed(const struct catalog_partition *listed, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (listed[i].id == id)
            return true;
    return false;
}

/* A partition that is not listed holds nothing that was acknowledged, unless the catalogue was
 * lost. */
static enum err unlisted_check(struct verify *v, const struct catalog_partition *listed,
                               size_t count)
{
    DIR *directory = opendir(v->directory);
    if (directory == NULL)
        return ERR_IO;
    for (struct dirent *d = readdir(directory); d != NULL; d = readdir(directory)) {
        unsigned long long id = 0;
        char end = 0;
        if (sscanf(d->d_name, "p%llu.d%c", &id, &end) != 2 || end != 'b' ||
            strlen(d->d_name) != strcspn(d->d_name, ".") + 3 || is_listed(listed, count, id))
            continue;
        struct catalog_partition found = { .id = id };
        struct partition *p = partition_new(v->directory, NULL, &found);
        struct db db = { 0 };
        uint64_t newest = 0;
        if (p == NULL)
            continue;
        v->file = p->path;
        if (schema_check(SCHEMA_PARTITION, p->path, NULL, &(uint32_t){ 0 }) == ERR_OK &&
            db_open(p->path, NULL, DB_READER, DURABILITY_FSYNC, &db) == ERR_OK &&
            journal_newest_group(&db, &newest) == ERR_OK && newest > 0)
            bad(v, "the catalogue does not list this partition, and it is not empty");
        db_close(&db);
        v->file = v->directory;
        partition_release(p);
    }
    (void)closedir(directory);
    return ERR_OK;
}

/* ---- Files that are no databases ------------------------------------------------------------- */

#define KEY_BYTES   32 /* collector/request_key.h */
#define ACKED_BYTES 24

/* The size of a file; -1: there is none, or it cannot be read, which is said. */
static int64_t size_of(struct verify *v, const char *path)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return -1;
    bool is_read = fd >= 0 && fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    if (fd >= 0)
        (void)close(fd);
    if (!is_read)
        bad(v, "it cannot be read, or is no file");
    return is_read ? (int64_t)found.st_size : -1;
}

/* A server makes the key where there is none, and does not start with another size. The side file is empty until
 * something was acknowledged. */
static void small_files_check(struct verify *v)
{
    char path[4096 + 32];
    uint64_t partition = 0, group_no = 0;
    v->file = path;
    (void)snprintf(path, sizeof path, "%s/request.key", v->directory);
    int64_t size = size_of(v, path);
    if (size >= 0 && size != KEY_BYTES)
        bad(v, "it has %lld bytes instead of %d: no server starts with it", (long long)size,
            KEY_BYTES);
    (void)snprintf(path, sizeof path, "%s/acked", v->directory);
    size = size_of(v, path);
    if (size > 0 && size != ACKED_BYTES)
        bad(v, "it has %lld bytes instead of %d", (long long)size, ACKED_BYTES);
    else if (size > 0 && !writer_acked_load(v->directory, &partition, &group_no))
        bad(v, "it does not have its hash: whether the disk lost commits cannot be told");
    v->file = v->directory;
}

/* Whether a database may be named so, with what SQLite and we put beside it. */
static bool is_database(const char *name, bool is_partition)
{
    static const char *const beside[] = { ".db", ".db-wal", ".db-shm", ".db-journal",
                                          ".db.frozen" };
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++)
        if (strcmp(name, beside[i]) == 0)
            return is_partition || i + 1 < sizeof beside / sizeof beside[0];
    return is_partition && strncmp(name, ".db", 3) == 0 && journal_is_file(name + 3);
}

static bool is_known(const char *name)
{
    static const char *const known[] = { ".",    "..",      "request.key", "request.key.new",
                                         "lock", "ballast", "acked",       BACKUP_MANIFEST };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    if (strncmp(name, "catalog", 7) == 0)
        return is_database(name + 7, false);
    size_t digits = name[0] == 'p' ? strspn(name + 1, "0123456789") : 0;
    return digits >= 6 && is_database(name + 1 + digits, true);
}

/* Named, for whoever wonders; nothing of ours is wrong with it. */
static enum err unknown_files_name(struct verify *v)
{
    DIR *directory = opendir(v->directory);
    if (directory == NULL)
        return ERR_IO;
    for (struct dirent *d = readdir(directory); d != NULL; d = readdir(directory)) {
        char path[4096 + 256];
        if (is_known(d->d_name))
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", v->directory, d->d_name);
        v->report(v->context, path, "not a file of this program, and not looked at");
    }
    (void)closedir(directory);
    return ERR_OK;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static enum err catalog_check(struct verify *v)
{
    char path[4096 + 32];
    (void)snprintf(path, sizeof path, "%s/catalog.db", v->directory);
    struct db db = { 0 };
    v->file = path;
    enum err e = file_open(v, SCHEMA_CATALOG, path, &db);
    struct catalog_partition *listed = NULL;
    size_t count = 0;
    if (e == ERR_OK)
        e = integrity_check(v, &db);
    if (e == ERR_OK)
        e = catalog_partitions(&db, &listed, &count);
    v->file = v->directory;
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        if (listed[i].state != PARTITION_REMOVING) /* its files may be gone in part */
            e = partition_check(v, &listed[i]);
    bool has_summaries = false;
    uint64_t expiring = 0;
    if (e == ERR_OK)
        e = logs_expiring(&db, &expiring);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        if (!listed[i].is_summarised)
            continue;
        has_summaries = true;
        if (listed[i].id == expiring) /* the catalogue has forgotten what its file may still have */
            continue;
        e = summary_check(v, &db, &listed[i]);
    }
    v->file = path;
    if (e == ERR_OK && has_summaries)
        e = totals_check(v, &db);
    if (e == ERR_OK)
        e = catalog_rollups_check(v, &db);
    v->file = v->directory;
    db_close(&db);
    if (e == ERR_OK)
        e = unlisted_check(v, listed, count);
    mem_free(listed);
    return e;
}

enum err sqlite_engine_verify(const char *directory, verify_report_fn *report, void *context)
{
    struct verify v = { .report = report, .context = context };
    char resolved[4096], path[4096 + 32];
    if (realpath(directory, resolved) == NULL)
        return ERR_IO;
    v.directory = v.file = resolved;
    (void)snprintf(path, sizeof path, "%s/lock", resolved);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(fd);
        return ERR_LOCKED;
    }
    small_files_check(&v);
    enum err e = catalog_check(&v);
    if (e == ERR_OK || e == ERR_CORRUPT) {
        enum err named = unknown_files_name(&v);
        e = e == ERR_OK ? named : e;
    }
    if (fd >= 0)
        (void)close(fd);
    return e == ERR_OK && v.is_bad ? ERR_CORRUPT : e;
}
