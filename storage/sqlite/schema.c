/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/schema.h"

#include "base/crash_point.h"

#include <stdio.h>

/* `tenant` is always 0 so far: a tenant will be a key of everything, never a column added
 * late. Times are Unix nanoseconds, 64 bits without sign in SQLite's signed integers. */
static const char catalog_sql[] =
    "CREATE TABLE setting (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE partition ("
    " id INTEGER PRIMARY KEY, state INTEGER NOT NULL, opened_unix_ns INTEGER NOT NULL,"
    " closed_unix_ns INTEGER NOT NULL, reason TEXT NOT NULL,"
    " opened_clock_ns INTEGER NOT NULL DEFAULT 0, closed_clock_ns INTEGER NOT NULL DEFAULT 0,"
    " bytes INTEGER NOT NULL DEFAULT 0, is_summarised INTEGER NOT NULL DEFAULT 0) STRICT;";

/* What version 2 adds to the tables of version 1; a new catalogue gets it at once. */
static const char catalog_columns_2_sql[] =
    "ALTER TABLE partition ADD COLUMN opened_clock_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE partition ADD COLUMN closed_clock_ns INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE partition ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE partition ADD COLUMN is_summarised INTEGER NOT NULL DEFAULT 0;";

#define OPERATION_SQL                                                                              \
    "CREATE TABLE IF NOT EXISTS operation ("                                                       \
    " tenant INTEGER NOT NULL, service BLOB NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL,"  \
    " spans INTEGER NOT NULL, PRIMARY KEY (tenant, service, name, kind)) STRICT, WITHOUT ROWID;"

static const char catalog_tables_2_sql[] =
    "CREATE TABLE IF NOT EXISTS partition_group ("
    " partition INTEGER NOT NULL, id INTEGER NOT NULL, signal INTEGER NOT NULL,"
    " level INTEGER NOT NULL, rows INTEGER NOT NULL, start_min_unix_ns INTEGER NOT NULL,"
    " start_max_unix_ns INTEGER NOT NULL, built_unix_ns INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " trace_filter BLOB NOT NULL, PRIMARY KEY (partition, id)) STRICT;"
    "CREATE TABLE IF NOT EXISTS partition_derived ("
    " partition INTEGER NOT NULL, id INTEGER NOT NULL, level INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL, start_min_unix_ns INTEGER NOT NULL,"
    " start_max_unix_ns INTEGER NOT NULL, PRIMARY KEY (partition, id)) STRICT, WITHOUT "
    "ROWID;" OPERATION_SQL;

/* Versions 1 and 2 had the journal in tables: `journal` with the columns of `set_aside` but the last, and
 * `journal_group`. Since version 3 it is in files beside (journal_segment.h). */
#define JOURNAL_COLUMNS                                                                            \
    " sequence INTEGER PRIMARY KEY, group_no INTEGER NOT NULL, tenant INTEGER NOT NULL,"           \
    " signal INTEGER NOT NULL, codec INTEGER NOT NULL, items INTEGER NOT NULL,"                    \
    " arrival_unix_ns INTEGER NOT NULL, body_bytes INTEGER NOT NULL, request_hash BLOB NOT NULL,"  \
    " checksum INTEGER NOT NULL, body BLOB NOT NULL"

static const char partition_sql[] =
    "CREATE TABLE set_aside (" JOURNAL_COLUMNS ", reason TEXT NOT NULL) STRICT;"
    "CREATE TABLE journal_retired ("
    " signal INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, group_no INTEGER NOT NULL) STRICT;"
    "CREATE TABLE row_group ("
    " id INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, signal INTEGER NOT NULL,"
    " level INTEGER NOT NULL, rows INTEGER NOT NULL, duplicates INTEGER NOT NULL,"
    " traces INTEGER NOT NULL, start_min_unix_ns INTEGER NOT NULL,"
    " start_max_unix_ns INTEGER NOT NULL, end_max_unix_ns INTEGER NOT NULL,"
    " built_unix_ns INTEGER NOT NULL, bytes INTEGER NOT NULL, checksum INTEGER NOT NULL,"
    " trace_filter BLOB NOT NULL, requests BLOB NOT NULL,"
    " replaced_by INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE row_group_data (id INTEGER PRIMARY KEY, data BLOB NOT NULL) "
    "STRICT;" OPERATION_SQL;

static uint32_t kind_id(enum schema_kind kind)
{
    return kind == SCHEMA_CATALOG ? SCHEMA_CATALOG_ID : SCHEMA_PARTITION_ID;
}

/* A header that makes no sense, and a rollback journal beside it: the very first write was cut short, and
 * SQLite undoes it when the file is opened. */
static bool creation_was_cut(const char *path, const char *vfs)
{
    char journal[4096 + 64];
    int len = snprintf(journal, sizeof journal, "%s-journal", path);
    return len > 0 && (size_t)len < sizeof journal && db_exists(journal, vfs);
}

enum err schema_check(enum schema_kind kind, const char *path, const char *vfs,
                      uint32_t *out_version)
{
    bool is_empty = false;
    uint32_t id = 0, version = 0;
    enum err e = db_peek(path, vfs, &is_empty, &id, &version);
    if (e == ERR_CORRUPT && creation_was_cut(path, vfs))
        return ERR_NOT_FOUND;
    if (e != ERR_OK)
        return e;
    /* Creating sets both numbers in the transaction that makes the tables, so a file with neither
     * is one whose creation was cut short. */
    if (is_empty || (id == 0 && version == 0))
        return ERR_NOT_FOUND;
    if (id != kind_id(kind))
        return ERR_CORRUPT;
    if (version == 0)
        return ERR_CORRUPT;
    *out_version = version;
    return version > SCHEMA_VERSION ? ERR_NEWER : ERR_OK;
}

static enum err numbers_set(enum schema_kind kind, struct db *db)
{
    char numbers[96];
    (void)snprintf(numbers, sizeof numbers, "PRAGMA application_id=%d; PRAGMA user_version=%u;",
                   (int)kind_id(kind), SCHEMA_VERSION);
    return db_exec(db, numbers);
}

static enum err tables_make(enum schema_kind kind, struct db *db)
{
    const char *const catalog[] = { catalog_sql, catalog_tables_2_sql, derived_catalog_sql };
    const char *const partition[] = { partition_sql, derived_partition_sql, "" };
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < sizeof catalog / sizeof catalog[0]; i++)
        e = db_exec(db, kind == SCHEMA_CATALOG ? catalog[i] : partition[i]);
    return e == ERR_OK ? numbers_set(kind, db) : e;
}

/* What versions 1 and 2 say differently is the time by which partitions expire: it begins as arrival time. Version 3
 * changes nothing in the catalogue; but a program of version 2 must not meet partitions of version 3. */
static enum err catalog_tables_upgrade(struct db *db, int64_t version)
{
    const char *const steps[] = { catalog_columns_2_sql,
                                  "UPDATE partition SET opened_clock_ns = opened_unix_ns,"
                                  " closed_clock_ns = closed_unix_ns;" };
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && version < 2 && i < sizeof steps / sizeof steps[0]; i++)
        e = db_exec(db, steps[i]);
    if (e == ERR_OK)
        e = db_exec(db, catalog_tables_2_sql);
    if (e == ERR_OK)
        e = db_exec(db, derived_catalog_sql);
    CRASH_POINT("upgrade_written");
    return e == ERR_OK ? numbers_set(SCHEMA_CATALOG, db) : e;
}

enum err schema_create(enum schema_kind kind, struct db *db)
{
    enum err e = db_exec(db, "BEGIN IMMEDIATE");
    /* The log may hold a creation that was committed but not yet copied into the file. */
    int64_t version = 0;
    if (e == ERR_OK)
        e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e == ERR_OK && version > SCHEMA_VERSION)
        e = ERR_NEWER;
    if (e == ERR_OK && version == 0)
        e = tables_make(kind, db);
    CRASH_POINT("schema_written");
    if (e == ERR_OK)
        e = db_exec(db, "COMMIT");
    if (e != ERR_OK) {
        db_rollback(db);
        return e;
    }
    CRASH_POINT("schema_committed");
    return db_checkpoint(db, true);
}

enum err schema_upgrade_catalog(struct db *db)
{
    enum err e = db_exec(db, "BEGIN IMMEDIATE");
    /* The log may be newer than the header that schema_check() has read. */
    int64_t version = 0;
    if (e == ERR_OK)
        e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e == ERR_OK && version > SCHEMA_VERSION)
        e = ERR_NEWER;
    if (e == ERR_OK && version < SCHEMA_VERSION)
        e = catalog_tables_upgrade(db, version);
    if (e == ERR_OK)
        e = db_exec(db, "COMMIT");
    if (e != ERR_OK) {
        db_rollback(db);
        return e;
    }
    CRASH_POINT("upgrade_committed");
    return version < SCHEMA_VERSION ? db_checkpoint(db, true) : ERR_OK;
}
