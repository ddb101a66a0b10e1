/* SPDX-License-Identifier: Apache-2.0 */
/* retention_logs.c - log records that are kept for less time than the spans beside them.
 *
 * Their row groups go out of sealed partitions, one partition at a time, in steps that a restart continues: in one
 * transaction the catalogue forgets them and notes the partition in the setting "logs_expiring", and nobody sees them any
 * more; when the last query that did has ended, they are deleted in the file, whose pages go back to the file system; then
 * the note goes. What is deleted is what the file has of this signal, so that doing it twice does no harm.
 *
 * A sealed file has no writer, so maintenance may be it meanwhile. One that was frozen is never written again: its log
 * records go with its spans. */
#include "base/crash_point.h"
#include "base/log.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>

#define NOTE "logs_expiring"
/* Pages that were moved, in the log, before they are copied: 8 MiB. */
#define LOG_FRAMES_MAX 1024u

/* ---- Beginning: the writer's task ------------------------------------------------------------ */

static bool has_logs(const struct sqlite_engine *e, const struct partition *p)
{
    const struct group_list *list = e->view.groups[SIGNAL_LOGS]; /* the writer's to change */
    for (size_t i = 0; i < list->count; i++)
        if (list->groups[i]->partition == p)
            return true;
    return false;
}

static bool are_due(const struct sqlite_engine *e, const struct partition *p)
{
    uint64_t now = retention_clock_now(&e->clock);
    return p->state == PARTITION_SEALED && p->is_summarised && !p->has_damage && p->version >= 2 &&
           p->closed_clock_ns != 0 && now > p->closed_clock_ns &&
           now - p->closed_clock_ns >= e->retention_logs_ns && has_logs(e, p);
}

static struct partition *oldest_due(const struct sqlite_engine *e)
{
    for (size_t i = 0; i < e->partitions_count; i++)
        if (are_due(e, e->partitions[i]))
            return e->partitions[i];
    return NULL;
}

static enum err catalog_begin(struct sqlite_engine *e, const struct partition *p)
{
    struct db *db = catalog_db(e->catalog);
    sqlite3_stmt *s = NULL;
    uint8_t note[8];
    store_le64(note, p->id);
    enum err error = db_exec(db, "BEGIN IMMEDIATE");
    if (error == ERR_OK)
        error =
            db_prepare(db, "DELETE FROM partition_group WHERE partition = ?1 AND signal = 1", &s);
    if (error == ERR_OK) {
        db_bind_u64(s, 1, p->id);
        error = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    if (error == ERR_OK)
        error = catalog_setting_put(e->catalog, NOTE, bytes_of(note, sizeof note));
    if (error == ERR_OK)
        error = db_exec(db, "COMMIT");
    if (error != ERR_OK)
        db_rollback(db);
    return error;
}

/* Returns how many records. */
static uint64_t vanish(struct sqlite_engine *e, struct group_list *take_list,
                       const struct group_list *gone)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < gone->count; i++)
        rows += gone->groups[i]->rows;
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    view_retire(&e->view, SIGNAL_LOGS, take_list, 0, NULL, 0);
    atomic_fetch_sub(&e->stored_items[SIGNAL_LOGS], rows);
    atomic_fetch_sub(&e->groups_count, gone->count);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    return rows;
}

static enum err logs_begin(struct sqlite_engine *e, void *unused)
{
    struct logs_expiry *x = &e->maintain.logs_expiry;
    struct partition *p = oldest_due(e);
    struct group_list *list = NULL, *gone = NULL;
    (void)unused;
    if (p == NULL || catalog_db(e->catalog)->is_sync_failed)
        return ERR_OK;
    CRASH_POINT("logs_begun");
    enum err error = view_prepare_leave(&e->view, SIGNAL_LOGS, p, &list, &gone);
    if (error != ERR_OK)
        return error;
    error = catalog_begin(e, p);
    CRASH_POINT("logs_listed");
    if (error != ERR_OK) {
        group_list_release(list);
        group_list_release(gone);
        writer_write_failed(e, NULL, error);
        return error;
    }
    uint64_t rows = vanish(e, list, gone);
    metric_add(e->metrics.expired_items[SIGNAL_LOGS][EXPIRY_AGE], rows);
    log_line(LOG_INFO, "storage", "log records of partition %llu expire (age): %llu of them",
             (unsigned long long)p->id, (unsigned long long)rows);
    x->partition = partition_retain(p);
    x->gone = gone;
    return ERR_OK;
}

/* ---- The file: maintenance's ----------------------------------------------------------------- */

static bool is_looked_at(const struct logs_expiry *x)
{
    for (size_t i = 0; x->gone != NULL && i < x->gone->count; i++)
        if (!group_is_last(x->gone->groups[i]))
            return true;
    return false;
}

static enum err rows_delete(struct db *db)
{
    int64_t rows = 0;
    enum err e = db_integer(db, "SELECT count(*) FROM row_group WHERE signal = 1", 0, &rows);
    if (e != ERR_OK || rows == 0)
        return e;
    e = db_exec(db, "BEGIN IMMEDIATE");
    if (e == ERR_OK)
        e = db_exec(db, "DELETE FROM row_group_data WHERE id IN"
                        " (SELECT id FROM row_group WHERE signal = 1)");
    CRASH_POINT("logs_deleting");
    if (e == ERR_OK)
        e = db_exec(db, "DELETE FROM row_group WHERE signal = 1");
    if (e == ERR_OK)
        e = db_exec(db, "COMMIT");
    if (e != ERR_OK)
        db_rollback(db);
    return e;
}

static enum err pages_give_back(struct sqlite_engine *e, struct db *db)
{
    bool has_more = true;
    enum err error = ERR_OK;
    while (error == ERR_OK && has_more) {
        error = partition_shrink_db(db, &has_more);
        if (error == ERR_OK && (db->wal_frames >= LOG_FRAMES_MAX || !has_more))
            error = db_checkpoint(db, true);
        if (error == ERR_OK && maintain_is_stopping(e) && has_more)
            error = ERR_BUSY; /* the next start goes on */
    }
    return error;
}

static enum err file_clean(struct sqlite_engine *e, const struct partition *p, uint64_t *out_bytes)
{
    struct db db = { 0 };
    enum err error = db_open(p->path, e->vfs, DB_WRITER, e->durability, &db);
    if (error != ERR_OK)
        return error;
    error = rows_delete(&db);
    CRASH_POINT("logs_deleted");
    if (error == ERR_OK)
        error = pages_give_back(e, &db);
    CRASH_POINT("logs_shrunk");
    if (db.is_sync_failed)
        error = ERR_CORRUPT; /* never again */
    *out_bytes = db_bytes(&db);
    db_close(&db);
    return error;
}

/* ---- Ending: the writer's task --------------------------------------------------------------- */

struct logs_end {
    bool has_bytes;
    uint64_t bytes; /* of the file now */
};

static enum err logs_end(struct sqlite_engine *e, void *context)
{
    const struct logs_end *end = context;
    struct partition *p = e->maintain.logs_expiry.partition;
    struct db *db = catalog_db(e->catalog);
    uint64_t before = atomic_load(&p->bytes);
    if (db->is_sync_failed)
        return ERR_IO;
    if (end->has_bytes)
        atomic_store(&p->bytes, end->bytes);
    struct catalog_partition listed = partition_listed(p);
    enum err error = db_exec(db, "BEGIN IMMEDIATE");
    if (error == ERR_OK && p->state == PARTITION_SEALED)
        error = catalog_partition_set(e->catalog, &listed, "");
    if (error == ERR_OK)
        error = catalog_setting_put(e->catalog, NOTE, (struct bytes){ 0 });
    if (error == ERR_OK)
        error = db_exec(db, "COMMIT");
    if (error != ERR_OK) {
        db_rollback(db);
        writer_write_failed(e, NULL, error);
        return error;
    }
    CRASH_POINT("logs_forgotten");
    if (end->has_bytes && before > end->bytes)
        metric_add(e->metrics.expired_bytes[EXPIRY_AGE], before - end->bytes);
    retention_logs_drop(e);
    return ERR_OK;
}

static void file_tend(struct sqlite_engine *e)
{
    const struct partition *p = e->maintain.logs_expiry.partition;
    struct logs_end end = { .has_bytes = true };
    enum err error = file_clean(e, p, &end.bytes);
    if (error == ERR_BUSY || error == ERR_FULL || error == ERR_NOMEM || error == ERR_IO)
        return; /* at the next look */
    if (error != ERR_OK) {
        end.has_bytes = false;
        log_line(LOG_ERROR, "storage",
                 "log records of partition %llu have expired, and stay in its file: %s",
                 (unsigned long long)p->id, err_text(error));
    }
    (void)!writer_task_run(e, logs_end, &end); /* else at the next look */
}

void retention_logs_run(struct sqlite_engine *e)
{
    struct logs_expiry *x = &e->maintain.logs_expiry;
    if (x->partition == NULL && e->retention_logs_ns != 0)
        (void)!writer_task_run(e, logs_begin, NULL); /* else at the next look */
    if (x->partition != NULL && !is_looked_at(x) && !maintain_is_stopping(e))
        file_tend(e);
}

void retention_logs_drop(struct sqlite_engine *e)
{
    struct logs_expiry *x = &e->maintain.logs_expiry;
    group_list_release(x->gone);
    partition_release(x->partition);
    *x = (struct logs_expiry){ 0 };
}

/* A file that was sealed a short while ago is read at start: what it still has was shown. */
static enum err logs_resume(struct sqlite_engine *e, struct partition *p)
{
    struct logs_expiry *x = &e->maintain.logs_expiry;
    struct group_list *list = NULL;
    enum err error = view_prepare_leave(&e->view, SIGNAL_LOGS, p, &list, &x->gone);
    if (error != ERR_OK)
        return error;
    (void)vanish(e, list, x->gone);
    x->partition = partition_retain(p);
    return ERR_OK;
}

enum err retention_logs_load(struct sqlite_engine *e)
{
    uint8_t note[8];
    size_t len = 0;
    enum err error = catalog_setting_get(e->catalog, NOTE, note, sizeof note, &len);
    if (error != ERR_OK || len != sizeof note)
        return error == ERR_CORRUPT ? ERR_OK : error;
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p->id == load_le64(note) && p->state == PARTITION_SEALED)
            return logs_resume(e, p);
    }
    return ERR_OK;
}
