/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/partition.h"
#include "storage/sqlite/derived.h"

#include "base/crash_point.h"
#include "base/mem.h"
#include "storage/sqlite/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct partition *partition_new(const char *directory, const char *vfs,
                                const struct catalog_partition *listed)
{
    struct partition *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return NULL;
    size_t size = strlen(directory) + sizeof "/p01234567890123456789.db";
    p->path = mem_alloc(size);
    if (p->path == NULL) {
        mem_free(p);
        return NULL;
    }
    (void)snprintf(p->path, size, "%s/p%06llu.db", directory, (unsigned long long)listed->id);
    p->id = listed->id;
    p->vfs = vfs;
    p->version = SCHEMA_VERSION;
    p->state = listed->state;
    atomic_init(&p->references, 1);
    p->opened_unix_ns = listed->opened_unix_ns;
    p->closed_unix_ns = listed->closed_unix_ns;
    p->opened_clock_ns = listed->opened_clock_ns;
    p->closed_clock_ns = listed->closed_clock_ns;
    atomic_init(&p->bytes, listed->bytes);
    p->is_summarised = listed->is_summarised;
    reader_pool_init(&p->readers, p->path, vfs);
    return p;
}

struct partition *partition_retain(struct partition *p)
{
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void partition_release(struct partition *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    partition_close_writer(p);
    reader_pool_deinit(&p->readers);
    mem_free(p->path);
    mem_free(p);
}

struct catalog_partition partition_listed(const struct partition *p)
{
    return (struct catalog_partition){
        .id = p->id,
        .state = p->state,
        .opened_unix_ns = p->opened_unix_ns,
        .closed_unix_ns = p->closed_unix_ns,
        .opened_clock_ns = p->opened_clock_ns,
        .closed_clock_ns = p->closed_clock_ns,
        .bytes = atomic_load_explicit(&p->bytes, memory_order_relaxed),
        .is_summarised = p->is_summarised,
    };
}

enum err partition_unlink(const struct partition *p)
{
    char mark[4096 + 64];
    int len = snprintf(mark, sizeof mark, "%s.frozen", p->path);
    if (len < 0 || (size_t)len >= sizeof mark)
        return ERR_IO;
    enum err e = journal_files_unlink(p->path, p->vfs);
    if (e == ERR_OK)
        e = db_unlink(p->path, p->vfs);
    if (e == ERR_OK && unlink(mark) != 0 && errno != ENOENT)
        e = ERR_IO;
    return e;
}

enum err partition_create(struct partition *p, const char *directory, enum durability durability)
{
    if (db_exists(p->path, p->vfs))
        return ERR_EXISTS;
    struct db db = { 0 };
    enum err e = journal_files_unlink(p->path, p->vfs); /* nobody's, were there any */
    if (e == ERR_OK)
        e = db_open(p->path, p->vfs, DB_WRITER, DURABILITY_FSYNC, &db);
    if (e == ERR_OK)
        e = schema_create(SCHEMA_PARTITION, &db);
    CRASH_POINT("partition_created");
    if (e == ERR_OK)
        e = db_sync_directory(&db, directory);
    db_close(&db);
    CRASH_POINT("partition_synced");
    return e == ERR_OK ? partition_open_writer(p, durability) : e;
}

static const char insert_group_sql[] =
    "INSERT INTO row_group (tenant, signal, level, rows, duplicates, traces, start_min_unix_ns,"
    " start_max_unix_ns, end_max_unix_ns, built_unix_ns, bytes, checksum, trace_filter, requests)"
    " VALUES (0, ?1, ?13, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
static const char insert_data_sql[] = "INSERT INTO row_group_data (id, data) VALUES (?1, ?2)";
static const char replace_group_sql[] = "UPDATE row_group SET replaced_by = ?2 WHERE id = ?1";
static const char count_operation_sql[] =
    "INSERT INTO operation (tenant, service, name, kind, spans) VALUES (0, ?1, ?2, ?3, ?4)"
    " ON CONFLICT DO UPDATE SET spans = spans + excluded.spans";

enum err partition_open_writer(struct partition *p, enum durability durability)
{
    assert(p->db.handle == NULL);
    enum err e = db_open(p->path, p->vfs, DB_WRITER, durability, &p->db);
    if (e == ERR_OK)
        e = journal_open(&p->journal, &p->db, durability);
    if (e == ERR_OK)
        e = db_prepare(&p->db, insert_group_sql, &p->insert_group);
    if (e == ERR_OK)
        e = db_prepare(&p->db, insert_data_sql, &p->insert_data);
    if (e == ERR_OK)
        e = db_prepare(&p->db, count_operation_sql, &p->count_operation);
    if (e == ERR_OK)
        e = db_prepare(&p->db, replace_group_sql, &p->replace_group);
    if (e != ERR_OK)
        partition_close_writer(p);
    else
        atomic_store_explicit(&p->bytes, partition_bytes(p), memory_order_relaxed);
    return e;
}

uint64_t partition_bytes(struct partition *p)
{
    return db_bytes(&p->db) + journal_bytes(&p->journal);
}

void partition_close_writer(struct partition *p)
{
    db_rollback(&p->db);
    journal_close(&p->journal);
    (void)sqlite3_finalize(p->insert_group);
    (void)sqlite3_finalize(p->insert_data);
    (void)sqlite3_finalize(p->count_operation);
    (void)sqlite3_finalize(p->replace_group);
    p->insert_group = p->insert_data = p->count_operation = p->replace_group = NULL;
    db_close(&p->db);
}

/* ---- Loading --------------------------------------------------------------------------------- */

static enum err load_groups(struct partition *p, struct db *db, const struct partition_visit *visit)
{
    sqlite3_stmt *s = NULL;
    enum err e =
        db_prepare(db,
                   p->version < 2 ? "SELECT id, signal, rows, start_min_unix_ns, start_max_unix_ns,"
                                    " built_unix_ns, bytes, trace_filter, requests, 0"
                                    " FROM row_group ORDER BY id"
                                  : "SELECT id, signal, rows, start_min_unix_ns, start_max_unix_ns,"
                                    " built_unix_ns, bytes, trace_filter, requests, level"
                                    " FROM row_group WHERE replaced_by = 0"
                                    " ORDER BY built_unix_ns, id",
                   &s);
    bool is_row = true;
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        uint64_t signal = db_column_u64(s, 1), rows = db_column_u64(s, 2);
        if (signal >= SIGNAL_COUNT || rows > ROWGROUP_ROWS_MAX) {
            e = ERR_CORRUPT;
            break;
        }
        struct group *g = group_stored(visit->filters, (enum signal)signal, db_column_bytes(s, 7),
                                       visit->damaged_filters);
        if (g == NULL) {
            e = ERR_NOMEM;
            break;
        }
        g->partition = partition_retain(p);
        g->id = sqlite3_column_int64(s, 0);
        g->signal = (enum signal)signal;
        g->rows = (uint32_t)rows;
        g->level = (uint32_t)db_column_u64(s, 9);
        g->start_min_unix_ns = db_column_u64(s, 3);
        g->start_max_unix_ns = db_column_u64(s, 4);
        g->built_unix_ns = db_column_u64(s, 5);
        g->bytes = db_column_u64(s, 6);
        e = visit->on_group(visit->context, g, db_column_bytes(s, 8));
    }
    (void)sqlite3_finalize(s);
    return e;
}

static enum err load_operations(struct db *db, const struct partition_visit *visit)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db, "SELECT service, name, kind, spans FROM operation", &s);
    bool is_row = true;
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        e = visit->on_operation(visit->context, db_column_bytes(s, 0), db_column_bytes(s, 1),
                                (uint32_t)db_column_u64(s, 2), db_column_u64(s, 3));
    }
    (void)sqlite3_finalize(s);
    return e;
}

enum err partition_load(struct partition *p, const struct partition_visit *visit)
{
    struct db *db = NULL;
    enum err e = reader_pool_take(&p->readers, &db);
    if (e != ERR_OK)
        return e;
    e = load_groups(p, db, visit);
    if (e == ERR_OK && visit->on_operation != NULL)
        e = load_operations(db, visit);
    uint64_t journal = p->state == PARTITION_SEALED ? 0 : journal_files_bytes(p->path);
    atomic_store_explicit(&p->bytes, db_bytes(db) + journal, memory_order_relaxed);
    reader_pool_give(&p->readers, db);
    return e;
}

enum err partition_load_operations(struct partition *p, const struct partition_visit *visit)
{
    struct db *db = NULL;
    enum err e = reader_pool_take(&p->readers, &db);
    if (e != ERR_OK)
        return e;
    e = load_operations(db, visit);
    reader_pool_give(&p->readers, db);
    return e;
}

/* ---- Retiring -------------------------------------------------------------------------------- */

static enum err group_insert(struct partition *p, const struct retirement *r, uint32_t level,
                             int64_t *out_id)
{
    const struct rowgroup_summary *m = &r->summary;
    sqlite3_stmt *s = p->insert_group;
    db_bind_u64(s, 1, (uint64_t)r->signal);
    db_bind_u64(s, 2, m->rows);
    db_bind_u64(s, 3, m->duplicates);
    db_bind_u64(s, 4, m->traces);
    db_bind_u64(s, 5, m->start_min_unix_ns);
    db_bind_u64(s, 6, m->start_max_unix_ns);
    db_bind_u64(s, 7, m->end_max_unix_ns);
    db_bind_u64(s, 8, r->built_unix_ns);
    db_bind_u64(s, 9, r->group.len);
    db_bind_u64(s, 10, hash_bytes(r->group));
    db_bind_bytes(s, 11, m->trace_filter);
    db_bind_bytes(s, 12, r->requests);
    db_bind_u64(s, 13, level);
    enum err e = db_run(&p->db, s);
    if (e != ERR_OK)
        return e;
    int64_t id = sqlite3_last_insert_rowid(p->db.handle);
    (void)sqlite3_bind_int64(p->insert_data, 1, id);
    db_bind_bytes(p->insert_data, 2, r->group);
    e = db_run(&p->db, p->insert_data);
    if (e == ERR_OK)
        *out_id = id;
    return e;
}

static enum err spans_count(struct partition *p, const struct retirement *r)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < r->summary.operations_count; i++) {
        const struct operation_entry *o = &r->places[i];
        db_bind_bytes(p->count_operation, 1, o->service);
        db_bind_bytes(p->count_operation, 2, o->name);
        db_bind_u64(p->count_operation, 3, o->kind);
        db_bind_u64(p->count_operation, 4, r->summary.operations[i].spans);
        e = db_run(&p->db, p->count_operation);
    }
    return e;
}

/* A range is the beginning of its signal's chain, and in a partition's part of that sequences rise: whoever moves
 * entries from one file to another keeps it so (writer_partition.c). */
static enum err entries_retire(struct partition *p, const struct retirement *r)
{
    uint64_t last = 0;
    const struct pending *entry = r->entries.first;
    for (size_t i = 0; i < r->entries.count; i++, entry = entry->next) {
        assert(entry->partition == p && entry->sequence > last);
        last = entry->sequence;
    }
    return journal_retire(&p->journal, r->signal, last);
}

/* As it would stand in the journal, compressed anew. */
enum err partition_entry_of(const struct pending *entry, struct buffer *compressed,
                            struct journal_entry *out)
{
    enum err e = journal_body_compress(entry->body, compressed);
    if (e != ERR_OK)
        return e;
    *out = (struct journal_entry){
        .sequence = entry->sequence,
        .signal = entry->signal,
        .codec = CODEC_ZSTD,
        .items = entry->items,
        .arrival_unix_ns = entry->arrival_unix_ns,
        .body_bytes = entry->body.len,
        .request_hash = entry->request_hash,
        .stored = buffer_bytes(compressed),
    };
    return ERR_OK;
}

static enum err entry_set_aside(struct partition *p, const struct pending *entry,
                                const char *reason)
{
    struct buffer compressed;
    struct journal_entry copy;
    buffer_init(&compressed, SIZE_MAX);
    enum err e = partition_entry_of(entry, &compressed, &copy);
    if (e == ERR_OK) {
        copy.checksum = journal_checksum(&copy);
        e = journal_set_aside(&p->journal, &copy, reason);
    }
    buffer_deinit(&compressed);
    return e;
}

enum err partition_retire(struct partition *p, const struct retirement *r, int64_t *out_group_id)
{
    int64_t id = 0;
    enum err e = db_exec(&p->db, "BEGIN IMMEDIATE");
    CRASH_POINT("retire_begun");
    if (e == ERR_OK && r->has_group)
        e = group_insert(p, r, 0, &id);
    CRASH_POINT("retire_group_written");
    if (e == ERR_OK && r->has_group)
        e = spans_count(p, r);
    if (e == ERR_OK && r->has_group)
        e = derived_store(p, r->derived, r->built_unix_ns);
    for (size_t i = 0; e == ERR_OK && i < r->aside_count; i++)
        e = entry_set_aside(p, r->aside[i], r->aside_reasons[i]);
    if (e == ERR_OK)
        e = entries_retire(p, r);
    CRASH_POINT("retire_position_stored");
    if (e == ERR_OK)
        e = db_exec(&p->db, "COMMIT");
    if (e != ERR_OK) {
        db_rollback(&p->db);
        return e;
    }
    CRASH_POINT("retire_committed");
    journal_retired(&p->journal);
    *out_group_id = id;
    return ERR_OK;
}

/* ---- Merging --------------------------------------------------------------------------------- */

/* Take up to *left spans out of one row of the operations. */
static enum err row_take(struct partition *p, sqlite3_stmt *get, const struct operation_entry *key,
                         uint64_t *left, struct operations *taken)
{
    bool is_row = false;
    db_bind_bytes(get, 1, key->service);
    db_bind_bytes(get, 2, key->name);
    db_bind_u64(get, 3, key->kind);
    enum err e = db_step(&p->db, get, &is_row);
    uint64_t spans = e == ERR_OK && is_row ? db_column_u64(get, 0) : 0;
    (void)sqlite3_reset(get);
    spans = spans < *left ? spans : *left;
    if (e != ERR_OK || spans == 0)
        return e;
    *left -= spans;
    db_bind_bytes(p->count_operation, 1, key->service);
    db_bind_bytes(p->count_operation, 2, key->name);
    db_bind_u64(p->count_operation, 3, key->kind);
    db_bind_u64(p->count_operation, 4, 0 - spans); /* it is added */
    e = db_run(&p->db, p->count_operation);
    return e == ERR_OK ? operations_add(taken, key->service, key->name, key->kind, spans) : e;
}

/* They were counted in a row of their own, or in one of those for what is over a bound. */
static enum err spans_uncount(struct partition *p, const struct group_replacement *m)
{
    sqlite3_stmt *get = NULL;
    enum err e = db_prepare(&p->db,
                            "SELECT spans FROM operation WHERE tenant = 0 AND service = ?1"
                            " AND name = ?2 AND kind = ?3",
                            &get);
    for (uint32_t i = 0; e == ERR_OK && i < operations_count(m->dropped); i++) {
        struct operation_entry o;
        operations_get(m->dropped, i, &o);
        const struct operation_entry places[] = { o,
                                                  { .service = o.service,
                                                    .kind = OPERATION_REST_KIND },
                                                  { .kind = OPERATION_REST_KIND } };
        for (size_t k = 0; e == ERR_OK && o.spans > 0 && k < 3; k++)
            e = row_take(p, get, &places[k], &o.spans, m->taken);
    }
    (void)sqlite3_finalize(get);
    return e == ERR_OK ? db_exec(&p->db, "DELETE FROM operation WHERE spans = 0") : e;
}

enum err partition_merge(struct partition *p, const struct retirement *r,
                         const struct group_replacement *replacement, int64_t *out_group_id)
{
    int64_t id = 0;
    enum err e = db_exec(&p->db, "BEGIN IMMEDIATE");
    if (e == ERR_OK)
        e = group_insert(p, r, replacement->level, &id);
    CRASH_POINT("merge_written");
    if (e == ERR_OK && operations_count(replacement->dropped) > 0)
        e = spans_uncount(p, replacement);
    for (size_t i = 0; e == ERR_OK && i < replacement->count; i++) {
        (void)sqlite3_bind_int64(p->replace_group, 1, replacement->ids[i]);
        (void)sqlite3_bind_int64(p->replace_group, 2, id);
        e = db_run(&p->db, p->replace_group);
    }
    CRASH_POINT("merge_marked");
    if (e == ERR_OK)
        e = db_exec(&p->db, "COMMIT");
    if (e != ERR_OK) {
        db_rollback(&p->db);
        return e;
    }
    CRASH_POINT("merge_committed");
    *out_group_id = id;
    return ERR_OK;
}

/* 4 MiB at a time, so that nobody waits for long. */
enum err partition_shrink(struct partition *p, bool *out_more)
{
    return partition_shrink_db(&p->db, out_more);
}

enum err partition_shrink_db(struct db *writer, bool *out_more)
{
    int64_t free_pages = 0, left = 0;
    enum err e = db_integer(writer, "PRAGMA freelist_count", 0, &free_pages);
    if (e == ERR_OK && free_pages > 0) {
        e = db_exec(writer, "PRAGMA incremental_vacuum(512)");
        if (e == ERR_OK)
            e = db_integer(writer, "PRAGMA freelist_count", 0, &left);
    }
    if (e == ERR_OK)
        *out_more = left > 0 && left < free_pages; /* less each time, or it cannot be done */
    return e;
}

enum err partition_delete_groups(struct partition *p, const int64_t *ids, size_t count)
{
    sqlite3_stmt *data = NULL, *group = NULL;
    enum err e = db_prepare(&p->db, "DELETE FROM row_group_data WHERE id = ?1", &data);
    if (e == ERR_OK)
        e = db_prepare(&p->db, "DELETE FROM row_group WHERE id = ?1 AND replaced_by <> 0", &group);
    if (e == ERR_OK)
        e = db_exec(&p->db, "BEGIN IMMEDIATE");
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        (void)sqlite3_bind_int64(data, 1, ids[i]);
        (void)sqlite3_bind_int64(group, 1, ids[i]);
        e = db_run(&p->db, data);
        if (e == ERR_OK)
            e = db_run(&p->db, group);
    }
    if (e == ERR_OK)
        e = db_exec(&p->db, "COMMIT");
    if (e != ERR_OK)
        db_rollback(&p->db);
    (void)sqlite3_finalize(data);
    (void)sqlite3_finalize(group);
    return e;
}

enum err partition_delete_replaced(struct partition *p)
{
    enum err e = db_exec(&p->db, "BEGIN IMMEDIATE");
    if (e == ERR_OK)
        e = db_exec(&p->db, "DELETE FROM row_group_data WHERE id IN"
                            " (SELECT id FROM row_group WHERE replaced_by <> 0);"
                            "DELETE FROM row_group WHERE replaced_by <> 0;");
    if (e == ERR_OK)
        e = db_exec(&p->db, "COMMIT");
    if (e != ERR_OK)
        db_rollback(&p->db);
    return e;
}

/* ---- Reading a row group --------------------------------------------------------------------- */

static enum err blob_read(void *context, uint64_t offset, size_t len, uint8_t *out)
{
    sqlite3_blob *blob = context;
    uint64_t size = (uint64_t)sqlite3_blob_bytes(blob);
    if (offset > size || len > size - offset)
        return ERR_CORRUPT;
    struct db unused = { 0 };
    return db_result(&unused, sqlite3_blob_read(blob, out, (int)len, (int)offset));
}

static void blob_close(void *context)
{
    (void)sqlite3_blob_close(context);
}

enum err partition_group_open(struct db *reader, const struct group *g, struct rowgroup_source *out)
{
    sqlite3_blob *blob = NULL;
    int rc = sqlite3_blob_open(reader->handle, "main", "row_group_data", "data", g->id, 0, &blob);
    if (rc != SQLITE_OK) {
        (void)sqlite3_blob_close(blob);
        /* The row is not there, although its metadata is: a damaged file, not a failed read. */
        return rc == SQLITE_ERROR ? ERR_CORRUPT : db_result(reader, rc);
    }
    *out = (struct rowgroup_source){
        .context = blob,
        .size = (uint64_t)sqlite3_blob_bytes(blob),
        .read = blob_read,
        .close = blob_close,
    };
    return ERR_OK;
}
