/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/summary.h"

#include "base/crash_point.h"
#include "storage/sqlite/engine_private.h"

/* ---- Sealing --------------------------------------------------------------------------------- */

/* The filter of a row group. One that could not be read again after a rest is read where it was written, for what the
 * catalogue says stays; where that fails, it says that the filter is damaged. */
static void filter_bind(sqlite3_stmt *s, int column, struct partition *p, const struct group *g)
{
    bool is_missing = g->trace_filter.len == 0 && g->signal == SIGNAL_TRACES;
    db_bind_bytes(s, column, g->trace_filter);
    if (!is_missing && trace_filter_is_intact(g->trace_filter))
        return;
    sqlite3_stmt *own = NULL;
    bool is_row = false;
    enum err e = db_prepare(&p->db, "SELECT trace_filter FROM row_group WHERE id = ?1", &own);
    if (e == ERR_OK) {
        (void)sqlite3_bind_int64(own, 1, g->id);
        e = db_step(&p->db, own, &is_row);
    }
    if (e == ERR_OK && is_row) {
        struct bytes filter = db_column_bytes(own, 0);
        /* Without memory: NULL, which the table refuses. */
        (void)sqlite3_bind_blob64(s, column, filter.len > 0 ? (const void *)filter.data : "",
                                  filter.len, SQLITE_TRANSIENT);
    }
    (void)sqlite3_finalize(own);
}

static enum err groups_put(struct sqlite_engine *e, struct partition *p)
{
    struct db *db = catalog_db(e->catalog);
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db,
                                "INSERT OR REPLACE INTO partition_group VALUES"
                                " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                                &s);
    for (int signal = 0; signal < SIGNAL_COUNT; signal++) {
        const struct group_list *list = e->view.groups[signal]; /* the writer's to change */
        for (size_t i = 0; error == ERR_OK && i < list->count; i++) {
            const struct group *g = list->groups[i];
            if (g->partition != p)
                continue;
            db_bind_u64(s, 1, p->id);
            (void)sqlite3_bind_int64(s, 2, g->id);
            db_bind_u64(s, 3, (uint64_t)g->signal);
            db_bind_u64(s, 4, g->level);
            db_bind_u64(s, 5, g->rows);
            db_bind_u64(s, 6, g->start_min_unix_ns);
            db_bind_u64(s, 7, g->start_max_unix_ns);
            db_bind_u64(s, 8, g->built_unix_ns);
            db_bind_u64(s, 9, g->bytes);
            filter_bind(s, 10, p, g);
            error = db_run(db, s);
        }
    }
    (void)sqlite3_finalize(s);
    return error;
}

static enum err groups_put_filters(struct sqlite_engine *e, struct partition *p)
{
    filter_room_use(&e->view.filters);
    enum err error = groups_put(e, p);
    filter_room_leave(&e->view.filters);
    return error;
}

/* The writer alone changes the rows, so their number stays; but the builder makes room for more, elsewhere. */
static struct derived_row derived_row_at(struct sqlite_engine *e, size_t i)
{
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    const struct derived_row row = e->derived.rows[i];
    (void)pthread_rwlock_unlock(&e->operations_lock);
    return row;
}

static enum err derived_put(struct sqlite_engine *e, const struct partition *p)
{
    struct db *db = catalog_db(e->catalog);
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(
        db, "INSERT OR REPLACE INTO partition_derived VALUES (?1, ?2, ?3, ?4, ?5, ?6)", &s);
    for (size_t i = 0; error == ERR_OK && i < e->derived.rows_count; i++) {
        const struct derived_row row = derived_row_at(e, i);
        if (row.partition != p)
            continue;
        db_bind_u64(s, 1, p->id);
        (void)sqlite3_bind_int64(s, 2, row.id);
        db_bind_u64(s, 3, row.level);
        db_bind_u64(s, 4, row.bytes);
        db_bind_u64(s, 5, row.span.min_unix_ns);
        db_bind_u64(s, 6, row.span.max_unix_ns);
        error = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    return error;
}

struct operations_put {
    struct db *db;
    sqlite3_stmt *add;
};

static enum err operation_put(void *context, struct bytes service, struct bytes name, uint32_t kind,
                              uint64_t spans)
{
    struct operations_put *o = context;
    db_bind_bytes(o->add, 1, service);
    db_bind_bytes(o->add, 2, name);
    db_bind_u64(o->add, 3, kind);
    db_bind_u64(o->add, 4, spans);
    return db_run(o->db, o->add);
}

static enum err operations_put(struct sqlite_engine *e, struct partition *p)
{
    struct operations_put o = { .db = catalog_db(e->catalog) };
    const struct partition_visit visit = { .context = &o, .on_operation = operation_put };
    enum err error = db_prepare(o.db,
                                "INSERT INTO operation VALUES (0, ?1, ?2, ?3, ?4)"
                                " ON CONFLICT DO UPDATE SET spans = spans + excluded.spans",
                                &o.add);
    if (error == ERR_OK)
        error = partition_load_operations(p, &visit);
    (void)sqlite3_finalize(o.add);
    return error;
}

static enum err transaction_end(struct db *db, enum err error)
{
    if (error == ERR_OK)
        error = db_exec(db, "COMMIT");
    if (error != ERR_OK)
        db_rollback(db);
    return error;
}

enum err summary_seal(struct sqlite_engine *e, struct partition *p)
{
    struct db *db = catalog_db(e->catalog);
    if (db->is_sync_failed)
        return ERR_IO;
    struct catalog_partition listed = partition_listed(p);
    listed.state = PARTITION_SEALED;
    listed.is_summarised = true;
    enum err error = db_exec(db, "BEGIN IMMEDIATE");
    if (error == ERR_OK)
        error = groups_put_filters(e, p);
    if (error == ERR_OK)
        error = derived_put(e, p);
    if (error == ERR_OK)
        error = operations_put(e, p);
    if (error == ERR_OK)
        error = derived_seal(db, &p->db, p->id, retention_clock_now(&e->clock));
    if (error == ERR_OK)
        error = catalog_partition_set(e->catalog, &listed, "");
    CRASH_POINT("seal_summarised");
    error = transaction_end(db, error);
    if (error == ERR_OK)
        p->is_summarised = true;
    return error;
}

/* ---- Expiring -------------------------------------------------------------------------------- */

static enum err operations_take(struct db *db, const struct operations *gone)
{
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db,
                                "UPDATE operation SET spans = spans - ?4 WHERE tenant = 0"
                                " AND service = ?1 AND name = ?2 AND kind = ?3",
                                &s);
    for (uint32_t i = 0; error == ERR_OK && i < operations_count(gone); i++) {
        struct operation_entry o;
        operations_get(gone, i, &o);
        db_bind_bytes(s, 1, o.service);
        db_bind_bytes(s, 2, o.name);
        db_bind_u64(s, 3, o.kind);
        db_bind_u64(s, 4, o.spans);
        error = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    return error == ERR_OK ? db_exec(db, "DELETE FROM operation WHERE spans <= 0") : error;
}

static enum err lists_take(struct db *db, const struct partition *p)
{
    static const char *const deletes[] = { "DELETE FROM partition_group WHERE partition = ?1",
                                           "DELETE FROM partition_derived WHERE partition = ?1" };
    enum err error = ERR_OK;
    for (size_t i = 0; error == ERR_OK && i < sizeof deletes / sizeof deletes[0]; i++) {
        sqlite3_stmt *s = NULL;
        error = db_prepare(db, deletes[i], &s);
        if (error == ERR_OK) {
            db_bind_u64(s, 1, p->id);
            error = db_run(db, s);
        }
        (void)sqlite3_finalize(s);
    }
    return error;
}

enum err summary_expire(struct sqlite_engine *e, struct partition *p, const char *reason,
                        const struct operations *gone)
{
    struct db *db = catalog_db(e->catalog);
    if (db->is_sync_failed)
        return ERR_IO;
    struct catalog_partition listed = partition_listed(p);
    listed.state = PARTITION_REMOVING;
    listed.is_summarised = false;
    enum err error = db_exec(db, "BEGIN IMMEDIATE");
    if (error == ERR_OK && p->is_summarised)
        error = operations_take(db, gone);
    if (error == ERR_OK)
        error = lists_take(db, p);
    if (error == ERR_OK)
        error = catalog_partition_set(e->catalog, &listed, reason);
    return transaction_end(db, error);
}

/* ---- Loading --------------------------------------------------------------------------------- */

static enum err groups_load(struct db *db, struct partition *p, const struct partition_visit *visit)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db,
                            "SELECT id, signal, level, rows, start_min_unix_ns, start_max_unix_ns,"
                            " built_unix_ns, bytes, trace_filter FROM partition_group"
                            " WHERE partition = ?1 ORDER BY built_unix_ns, id",
                            &s);
    if (e == ERR_OK)
        db_bind_u64(s, 1, p->id);
    bool is_row = true;
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        uint64_t signal = db_column_u64(s, 1), rows = db_column_u64(s, 3);
        struct group *g = signal < SIGNAL_COUNT && rows <= ROWGROUP_ROWS_MAX
                              ? group_stored(visit->filters, (enum signal)signal,
                                             db_column_bytes(s, 8), visit->damaged_filters)
                              : NULL;
        if (g == NULL) {
            e = signal < SIGNAL_COUNT && rows <= ROWGROUP_ROWS_MAX ? ERR_NOMEM : ERR_CORRUPT;
            break;
        }
        g->partition = partition_retain(p);
        g->id = sqlite3_column_int64(s, 0);
        g->signal = (enum signal)signal;
        g->level = (uint32_t)db_column_u64(s, 2);
        g->rows = (uint32_t)rows;
        g->start_min_unix_ns = db_column_u64(s, 4);
        g->start_max_unix_ns = db_column_u64(s, 5);
        g->built_unix_ns = db_column_u64(s, 6);
        g->bytes = db_column_u64(s, 7);
        e = visit->on_group(visit->context, g, (struct bytes){ 0 });
    }
    (void)sqlite3_finalize(s);
    return e;
}

static enum err derived_list(struct sqlite_engine *e, struct db *db, struct partition *p)
{
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db,
                                "SELECT id, level, bytes, start_min_unix_ns, start_max_unix_ns"
                                " FROM partition_derived WHERE partition = ?1 ORDER BY id",
                                &s);
    if (error == ERR_OK)
        db_bind_u64(s, 1, p->id);
    bool is_row = true;
    while (error == ERR_OK) {
        error = db_step(db, s, &is_row);
        if (error != ERR_OK || !is_row)
            break;
        const struct derived_row row = { .partition = p,
                                         .id = sqlite3_column_int64(s, 0),
                                         .level = (uint32_t)db_column_u64(s, 1),
                                         .bytes = db_column_u64(s, 2),
                                         .span = { db_column_u64(s, 3), db_column_u64(s, 4) } };
        error = derived_row_list(e, &row);
    }
    (void)sqlite3_finalize(s);
    return error;
}

enum err summary_load(struct sqlite_engine *e, struct partition *p,
                      const struct partition_visit *visit)
{
    struct db *db = catalog_db(e->catalog);
    enum err error = groups_load(db, p, visit);
    return error == ERR_OK ? derived_list(e, db, p) : error;
}

enum err summary_load_operations(struct sqlite_engine *e)
{
    struct db *db = catalog_db(e->catalog);
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db, "SELECT service, name, kind, spans FROM operation", &s);
    bool is_row = true;
    while (error == ERR_OK) {
        error = db_step(db, s, &is_row);
        if (error != ERR_OK || !is_row)
            break;
        error = operations_add(&e->operations, db_column_bytes(s, 0), db_column_bytes(s, 1),
                               (uint32_t)db_column_u64(s, 2), db_column_u64(s, 3));
    }
    (void)sqlite3_finalize(s);
    return error;
}
