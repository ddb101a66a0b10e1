/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/catalog.h"

#include "base/crash_point.h"
#include "base/mem.h"
#include "base/random.h"
#include "storage/sqlite/schema.h"

#include <stdio.h>

struct catalog {
    struct db db;
    char *path;
};

#define CONTENT_KEY_BYTES 32

/* The key is made in the same run as the file, but not in its transaction, so it may be missing. */
static enum err content_key_make(struct catalog *c)
{
    uint8_t seed[CONTENT_KEY_BYTES];
    enum err e = random_system(seed, sizeof seed);
    if (e != ERR_OK)
        return e;
    sqlite3_stmt *s = NULL;
    e = db_prepare(&c->db, "INSERT OR IGNORE INTO setting (key, value) VALUES ('content_key', ?1)",
                   &s);
    if (e == ERR_OK) {
        db_bind_bytes(s, 1, bytes_of(seed, sizeof seed));
        e = db_run(&c->db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

enum err catalog_open(const char *directory, const char *vfs, struct catalog **out,
                      uint32_t *out_version)
{
    struct catalog *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    enum err e = ERR_NOMEM;
    size_t size = strlen(directory) + sizeof "/catalog.db";
    c->path = mem_alloc(size);
    if (c->path == NULL)
        goto fail;
    (void)snprintf(c->path, size, "%s/catalog.db", directory);

    e = schema_check(SCHEMA_CATALOG, c->path, vfs, out_version);
    bool is_new = e == ERR_NOT_FOUND;
    if (e != ERR_OK && !is_new)
        goto fail;
    e = db_open(c->path, vfs, DB_WRITER, DURABILITY_FSYNC, &c->db);
    if (e == ERR_OK && is_new) {
        e = schema_create(SCHEMA_CATALOG, &c->db);
        CRASH_POINT("catalog_created");
        if (e == ERR_OK)
            e = db_sync_directory(&c->db, directory);
    }
    if (e == ERR_OK)
        e = schema_upgrade_catalog(&c->db);
    if (e == ERR_OK)
        e = content_key_make(c);
    if (e != ERR_OK)
        goto fail;
    *out = c;
    return ERR_OK;

fail:
    catalog_close(c);
    return e;
}

void catalog_close(struct catalog *c)
{
    if (c == NULL)
        return;
    db_close(&c->db);
    mem_free(c->path);
    mem_free(c);
}

struct db *catalog_db(struct catalog *c)
{
    return &c->db;
}

enum err catalog_content_key(struct catalog *c, struct hash_key *out)
{
    sqlite3_stmt *s = NULL;
    bool is_row = false;
    enum err e = db_prepare(&c->db, "SELECT value FROM setting WHERE key = 'content_key'", &s);
    if (e == ERR_OK)
        e = db_step(&c->db, s, &is_row);
    if (e == ERR_OK) {
        struct bytes seed = is_row ? db_column_bytes(s, 0) : (struct bytes){ 0 };
        if (seed.len == CONTENT_KEY_BYTES)
            hash_key_derive(seed.data, out);
        else
            e = ERR_CORRUPT;
    }
    (void)sqlite3_finalize(s);
    return e;
}

enum err catalog_partitions(struct db *db, struct catalog_partition **out, size_t *out_count)
{
    int64_t rows = 0, version = 0;
    enum err e = db_integer(db, "SELECT count(*) FROM partition", 0, &rows);
    if (e == ERR_OK)
        e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e != ERR_OK)
        return e;
    struct catalog_partition *list = mem_alloc_array((size_t)rows + 1, sizeof *list);
    if (list == NULL)
        return ERR_NOMEM;
    size_t count = 0;
    sqlite3_stmt *s = NULL;
    e = db_prepare(db,
                   version < 2 ? "SELECT id, state, opened_unix_ns, closed_unix_ns, 0, 0, 0, 0"
                                 " FROM partition ORDER BY id"
                               : "SELECT id, state, opened_unix_ns, closed_unix_ns,"
                                 " opened_clock_ns, closed_clock_ns, bytes, is_summarised"
                                 " FROM partition ORDER BY id",
                   &s);
    bool is_row = true;
    while (e == ERR_OK && count < (size_t)rows) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        list[count++] = (struct catalog_partition){
            .id = db_column_u64(s, 0),
            .state = (enum partition_state)sqlite3_column_int(s, 1),
            .opened_unix_ns = db_column_u64(s, 2),
            .closed_unix_ns = db_column_u64(s, 3),
            .opened_clock_ns = db_column_u64(s, 4),
            .closed_clock_ns = db_column_u64(s, 5),
            .bytes = db_column_u64(s, 6),
            .is_summarised = db_column_u64(s, 7) != 0,
        };
    }
    (void)sqlite3_finalize(s);
    if (e != ERR_OK) {
        mem_free(list);
        return e;
    }
    *out = list;
    *out_count = count;
    return ERR_OK;
}

/* A statement that writes: never again after a sync of the file has failed. */
static enum err write_prepare(struct catalog *c, const char *sql, sqlite3_stmt **out)
{
    return c->db.is_sync_failed ? ERR_IO : db_prepare(&c->db, sql, out);
}

enum err catalog_partition_add(struct catalog *c, const struct catalog_partition *p)
{
    sqlite3_stmt *s = NULL;
    enum err e = write_prepare(c,
                               "INSERT INTO partition (id, state, opened_unix_ns, closed_unix_ns,"
                               " reason, opened_clock_ns) VALUES (?1, ?2, ?3, ?4, '', ?5)",
                               &s);
    if (e == ERR_OK) {
        db_bind_u64(s, 1, p->id);
        db_bind_u64(s, 2, (uint64_t)p->state);
        db_bind_u64(s, 3, p->opened_unix_ns);
        db_bind_u64(s, 4, p->closed_unix_ns);
        db_bind_u64(s, 5, p->opened_clock_ns);
        e = db_run(&c->db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

enum err catalog_partition_set(struct catalog *c, const struct catalog_partition *p,
                               const char *reason)
{
    sqlite3_stmt *s = NULL;
    enum err e = write_prepare(c,
                               "UPDATE partition SET state = ?2, closed_unix_ns = ?3, reason = ?4,"
                               " closed_clock_ns = ?5, bytes = ?6, is_summarised = ?7"
                               " WHERE id = ?1",
                               &s);
    if (e == ERR_OK) {
        db_bind_u64(s, 1, p->id);
        db_bind_u64(s, 2, (uint64_t)p->state);
        db_bind_u64(s, 3, p->closed_unix_ns);
        (void)sqlite3_bind_text(s, 4, reason, -1, SQLITE_STATIC);
        db_bind_u64(s, 5, p->closed_clock_ns);
        db_bind_u64(s, 6, p->bytes);
        db_bind_u64(s, 7, p->is_summarised);
        e = db_run(&c->db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

/* A statement with one number. */
static enum err run_with(struct catalog *c, const char *sql, uint64_t value)
{
    sqlite3_stmt *s = NULL;
    enum err e = write_prepare(c, sql, &s);
    if (e == ERR_OK) {
        db_bind_u64(s, 1, value);
        e = db_run(&c->db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

enum err catalog_partitions_date(struct catalog *c, uint64_t clock_ns)
{
    return run_with(c,
                    "UPDATE partition SET closed_clock_ns = ?1"
                    " WHERE closed_clock_ns = 0 AND state <> 1",
                    clock_ns);
}

enum err catalog_partition_forget(struct catalog *c, uint64_t id)
{
    return run_with(c, "DELETE FROM partition WHERE id = ?1", id);
}

enum err catalog_setting_get(struct catalog *c, const char *key, uint8_t *out, size_t len,
                             size_t *out_len)
{
    sqlite3_stmt *s = NULL;
    bool is_row = false;
    enum err e = db_prepare(&c->db, "SELECT value FROM setting WHERE key = ?1", &s);
    if (e == ERR_OK) {
        (void)sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
        e = db_step(&c->db, s, &is_row);
    }
    struct bytes value = e == ERR_OK && is_row ? db_column_bytes(s, 0) : (struct bytes){ 0 };
    if (value.len > len)
        e = ERR_CORRUPT;
    if (e == ERR_OK) {
        if (value.len > 0)
            memcpy(out, value.data, value.len);
        *out_len = value.len;
    }
    (void)sqlite3_finalize(s);
    return e;
}

enum err catalog_setting_put(struct catalog *c, const char *key, struct bytes value)
{
    sqlite3_stmt *s = NULL;
    enum err e = write_prepare(c,
                               "INSERT INTO setting (key, value) VALUES (?1, ?2)"
                               " ON CONFLICT DO UPDATE SET value = excluded.value",
                               &s);
    if (e == ERR_OK) {
        (void)sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
        db_bind_bytes(s, 2, value);
        e = db_run(&c->db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}
