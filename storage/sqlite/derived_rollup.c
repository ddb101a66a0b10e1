/* SPDX-License-Identifier: Apache-2.0 */
/* derived_rollup.c - rollups in the catalogue: their days are merged over many partitions, and they expire.
 *
 * Each sealed partition has a row of hours and days. A question about a month would read hundreds of them, so the
 * days of DERIVED_ROLLUPS_MERGED rows at a time are brought together in a row of `rollup_merged`, and such rows
 * again; the partitions' rows keep the hours, which the ends of a range need.
 *
 * Maintenance reads and computes; the writer, whose connection it is, stores. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#define MERGE_MEMORY_MAX ((size_t)64 << 20)
#define MERGE_BYTES      ((uint64_t)8 << 20) /* of rows that are merged */
#define BLOB_BYTES_MAX   ((size_t)256 << 20)
#define MERGE_PATIENCE   30u /* refusals in a row, by what else takes memory, of two rows */
#define MERGE_FITS_NS    (3600 * NS_PER_S) /* what fitted last is gone by for so long */
#define EXPIRE_EVERY_NS  (60 * NS_PER_S)
#define EXPIRE_STEPS     64u /* rows that go at one look for want of room */
/* Of --retention-size, before the oldest rollups go; and as much of the least that one can ask for. */
#define ROLLUPS_SHARE 4
#define ROLLUPS_LEAST ((uint64_t)16 << 20)

/* ---- Merging --------------------------------------------------------------------------------- */

struct rollup_merge {
    int64_t ids[DERIVED_ROLLUPS_MERGED]; /* partitions, or rows of `rollup_merged` */
    size_t count;
    uint32_t level; /* of these; 0: partitions */
    int64_t first, last;
    uint64_t sealed_ns;
    struct buffer days;
    struct tally_span span;
};

#define NO_LEVEL UINT32_MAX /* not in the catalogue, or nothing there to merge */

static uint32_t level_of(const struct derived_row *row)
{
    if (row->days != DERIVED_DAYS_OWN || row->does_not_fit)
        return NO_LEVEL;
    if (row->partition != NULL)
        return row->level == DERIVED_LEVEL_SEALED ? 0 : NO_LEVEL;
    return row->level;
}

/* The first rows of a level of which there are enough. */
static bool rows_choose(struct sqlite_engine *e, struct rollup_merge *m)
{
    struct derived *d = &e->derived;
    if (d->rollups_fit == 0 || clock_mono_ns() - d->rollups_fit_mono_ns >= MERGE_FITS_NS)
        d->rollups_fit = DERIVED_ROLLUPS_MERGED;
    size_t wanted = d->rollups_fit;
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    for (m->level = 0; m->level < DERIVED_LEVELS_MAX; m->level++) {
        uint64_t bytes = 0;
        bool is_full = false;
        m->count = 0;
        for (size_t i = 0; i < d->rows_count && m->count < wanted && !is_full; i++) {
            const struct derived_row *row = &d->rows[i];
            if (level_of(row) != m->level)
                continue;
            is_full = bytes + row->bytes > MERGE_BYTES;
            if (!is_full)
                m->ids[m->count++] = row->id;
            bytes += row->bytes;
        }
        if (m->count == wanted || (is_full && m->count >= DERIVED_MERGE_LEAST))
            break;
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    return m->level < DERIVED_LEVELS_MAX;
}

static bool is_of(const struct rollup_merge *m, const struct derived_row *row)
{
    for (size_t i = 0; level_of(row) == m->level && i < m->count; i++)
        if (m->ids[i] == row->id)
            return true;
    return false;
}

/* There is nothing to merge in a row: not asked for again. */
static void days_absent(struct sqlite_engine *e, const struct rollup_merge *m, int64_t id)
{
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    for (size_t i = 0; i < e->derived.rows_count; i++) {
        struct derived_row *row = &e->derived.rows[i];
        if (level_of(row) == m->level && row->id == id)
            row->days = DERIVED_DAYS_ABSENT;
    }
    derived_sums_clear(&e->derived.sums);
    (void)pthread_rwlock_unlock(&e->operations_lock);
}

static enum err rows_read(struct sqlite_engine *e, struct rollup_merge *m, struct tally *days)
{
    struct db *db = NULL;
    sqlite3_stmt *s = NULL;
    enum err error = reader_pool_take(&e->derived.catalog_readers, &db);
    if (error == ERR_OK)
        error = db_prepare(db,
                           m->level == 0 ? "SELECT days, sealed_unix_ns, partition, partition"
                                           " FROM rollup WHERE tenant = 0 AND partition = ?1"
                                         : "SELECT days, sealed_unix_ns, first_partition,"
                                           " last_partition FROM rollup_merged WHERE id = ?1",
                           &s);
    m->first = INT64_MAX;
    m->last = 0;
    for (size_t i = 0; error == ERR_OK && i < m->count; i++) {
        bool is_row = false;
        (void)sqlite3_bind_int64(s, 1, m->ids[i]);
        error = db_step(db, s, &is_row);
        if (error == ERR_OK)
            error = is_row ? tally_add_stored(days, db_column_bytes(s, 0), NULL) : ERR_NOT_FOUND;
        if (error == ERR_NOT_FOUND || error == ERR_CORRUPT)
            days_absent(e, m, m->ids[i]);
        if (error == ERR_OK) {
            uint64_t sealed = db_column_u64(s, 1);
            m->sealed_ns = sealed > m->sealed_ns ? sealed : m->sealed_ns;
            m->first =
                sqlite3_column_int64(s, 2) < m->first ? sqlite3_column_int64(s, 2) : m->first;
            m->last = sqlite3_column_int64(s, 3) > m->last ? sqlite3_column_int64(s, 3) : m->last;
        }
        (void)sqlite3_reset(s);
    }
    (void)sqlite3_finalize(s);
    reader_pool_give(&e->derived.catalog_readers, db);
    return error;
}

static enum err merged_insert(struct db *db, struct rollup_merge *m, int64_t *out_id)
{
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db,
                                "INSERT INTO rollup_merged (tenant, level, first_partition,"
                                " last_partition, sealed_unix_ns, start_min_unix_ns,"
                                " start_max_unix_ns, days) VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                                &s);
    if (error == ERR_OK) {
        db_bind_u64(s, 1, m->level + 1);
        (void)sqlite3_bind_int64(s, 2, m->first);
        (void)sqlite3_bind_int64(s, 3, m->last);
        db_bind_u64(s, 4, m->sealed_ns);
        db_bind_u64(s, 5, m->span.min_unix_ns);
        db_bind_u64(s, 6, m->span.max_unix_ns);
        db_bind_bytes(s, 7, buffer_bytes(&m->days));
        error = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    *out_id = sqlite3_last_insert_rowid(db->handle);
    return error;
}

/* ERR_NOT_FOUND: one is not as it was read; then all stay. */
static enum err days_move(struct db *db, const struct rollup_merge *m)
{
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db,
                                m->level == 0 ? "UPDATE rollup SET days = x'' WHERE tenant = 0"
                                                " AND partition = ?1 AND length(days) > 0"
                                              : "DELETE FROM rollup_merged WHERE id = ?1",
                                &s);
    for (size_t i = 0; error == ERR_OK && i < m->count; i++) {
        (void)sqlite3_bind_int64(s, 1, m->ids[i]);
        error = db_run(db, s);
        if (error == ERR_OK && sqlite3_changes(db->handle) != 1)
            error = ERR_NOT_FOUND;
    }
    (void)sqlite3_finalize(s);
    return error;
}

/* Room is there: see derived_reserve(). */
static void merge_publish(struct sqlite_engine *e, const struct rollup_merge *m, int64_t id)
{
    struct derived *d = &e->derived;
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    size_t kept = 0;
    struct derived_row merged = {
        .id = id, .level = m->level + 1, .bytes = m->days.len, .span = m->span
    };
    derived_generations_none(&merged);
    for (size_t i = 0; i < d->rows_count; i++) {
        struct derived_row row = d->rows[i];
        bool is_merged = is_of(m, &row);
        if (is_merged)
            derived_generations_join(&merged, &row);
        if (is_merged && m->level > 0)
            continue;
        if (is_merged)
            row.days = DERIVED_DAYS_MERGED;
        d->rows[kept++] = row;
    }
    d->rows[kept++] = merged;
    d->rows_count = kept;
    (void)pthread_rwlock_unlock(&e->operations_lock);
}

/* Task. */
static enum err merge_store(struct sqlite_engine *e, void *context)
{
    struct rollup_merge *m = context;
    struct db *db = catalog_db(e->catalog);
    int64_t id = 0;
    if (db->is_sync_failed)
        return ERR_IO;
    enum err error = derived_reserve(e);
    if (error == ERR_OK)
        error = db_exec(db, "BEGIN IMMEDIATE");
    if (error != ERR_OK)
        return error;
    error = merged_insert(db, m, &id);
    if (error == ERR_OK)
        error = days_move(db, m);
    CRASH_POINT("rollups_merge_written");
    if (error == ERR_OK)
        error = db_exec(db, "COMMIT");
    if (error != ERR_OK) {
        db_rollback(db);
        if (error != ERR_NOT_FOUND)
            writer_write_failed(e, NULL, error);
        return error;
    }
    CRASH_POINT("rollups_merge_committed");
    merge_publish(e, m, id);
    return ERR_OK;
}

static bool is_misfit(enum err e)
{
    return e == ERR_BUDGET || e == ERR_TOO_LARGE || e == ERR_TOO_MANY;
}

static enum err rows_sum(struct sqlite_engine *e, struct rollup_merge *m)
{
    struct arena arena;
    struct tally days;
    arena_init(&arena, MERGE_MEMORY_MAX, &e->background);
    tally_init(&days, &arena, TALLY_DAY_NS);
    buffer_reset(&m->days);
    enum err error = rows_read(e, m, &days);
    if (error == ERR_OK)
        error = tally_encode(&days, &m->days, &m->span);
    tally_deinit(&days);
    arena_deinit(&arena);
    return error;
}

/* Not even with one other: it stays as it is, until the next start. */
static void misfit_mark(struct sqlite_engine *e, const struct rollup_merge *m, enum err why)
{
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    for (size_t i = 0; i < e->derived.rows_count; i++) {
        struct derived_row *row = &e->derived.rows[i];
        if (level_of(row) == m->level && row->id == m->ids[0]) {
            row->does_not_fit = true;
            break;
        }
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    log_line(LOG_WARN, "storage", "rollups %lld of level %u are not merged with others: %s",
             (long long)m->ids[0], (unsigned)m->level, err_text(why));
}

/* What does not fit is merged with fewer, and how many fit is remembered for a while. True: something is done, and
 * there may be more to do. */
static bool rollups_merge(struct sqlite_engine *e)
{
    struct derived *d = &e->derived;
    struct rollup_merge m = { .count = 0 };
    if (!rows_choose(e, &m))
        return false;
    buffer_init(&m.days, BLOB_BYTES_MAX);
    enum err error = rows_sum(e, &m);
    while (is_misfit(error) && m.count > 2) {
        m.count =
            m.count < 4 ? 2 : m.count / 2; /* one alone would not be merged, but rise a level */
        d->rollups_fit = m.count;
        d->rollups_fit_mono_ns = clock_mono_ns();
        error = rows_sum(e, &m);
    }
    bool is_misfit_alone = is_misfit(error);
    d->rollups_refusals = is_misfit_alone ? d->rollups_refusals + 1 : 0;
    if (is_misfit_alone && (error != ERR_BUDGET || d->rollups_refusals >= MERGE_PATIENCE)) {
        misfit_mark(e, &m, error);
        d->rollups_refusals = 0;
    }
    if (error == ERR_OK)
        error = writer_task_run(e, merge_store, &m);
    buffer_deinit(&m.days);
    return error == ERR_OK;
}

/* ---- Expiring -------------------------------------------------------------------------------- */

#define OF_GONE " NOT IN (SELECT id FROM partition)"
#define NONE_LISTED                                                                                \
    " NOT EXISTS (SELECT 1 FROM partition WHERE id BETWEEN first_partition AND last_partition)"

static enum err delete_older(struct db *db, const char *sql, uint64_t before_ns, bool *out_any)
{
    sqlite3_stmt *s = NULL;
    enum err error = db_prepare(db, sql, &s);
    if (error == ERR_OK) {
        db_bind_u64(s, 1, before_ns);
        error = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    *out_any = *out_any || (error == ERR_OK && sqlite3_changes(db->handle) > 0);
    return error;
}

static enum err expire_old(struct sqlite_engine *e, struct db *db, bool *out_any)
{
    uint64_t now = retention_clock_now(&e->clock);
    if (e->retention_rollups_ns == 0 || now < e->retention_rollups_ns)
        return ERR_OK;
    uint64_t before = now - e->retention_rollups_ns;
    enum err error = delete_older(
        db, "DELETE FROM rollup WHERE sealed_unix_ns < ?1 AND partition" OF_GONE, before, out_any);
    if (error == ERR_OK)
        error =
            delete_older(db, "DELETE FROM rollup_merged WHERE sealed_unix_ns < ?1 AND" NONE_LISTED,
                         before, out_any);
    return error;
}

/* The oldest hours first, then the oldest days. */
static enum err expire_large(struct sqlite_engine *e, struct db *db, bool *out_any)
{
    static const char *const oldest[] = {
        "DELETE FROM rollup WHERE partition ="
        " (SELECT min(partition) FROM rollup WHERE partition" OF_GONE ")",
        "DELETE FROM rollup_merged WHERE id = (SELECT id FROM rollup_merged WHERE" NONE_LISTED
        " ORDER BY last_partition LIMIT 1)",
    };
    enum err error = ERR_OK;
    uint64_t most = e->retention_bytes / ROLLUPS_SHARE;
    most = most > ROLLUPS_LEAST ? most : ROLLUPS_LEAST;
    for (unsigned i = 0; e->retention_bytes != 0 && error == ERR_OK && i < EXPIRE_STEPS; i++) {
        int64_t bytes = 0;
        error = db_integer(db,
                           "SELECT (SELECT total(length(hours) + length(days)) FROM rollup) +"
                           " (SELECT total(length(days)) FROM rollup_merged)",
                           0, &bytes);
        if (error != ERR_OK || (uint64_t)bytes <= most)
            break;
        error = db_exec(db, oldest[0]);
        if (error == ERR_OK && sqlite3_changes(db->handle) == 0)
            error = db_exec(db, oldest[1]);
        if (error == ERR_OK && sqlite3_changes(db->handle) == 0)
            break;
        *out_any = true;
    }
    return error;
}

static enum err is_listed(struct db *db, const struct derived_row *row, bool *out)
{
    sqlite3_stmt *s = NULL;
    enum err error =
        db_prepare(db,
                   row->level == 0 ? "SELECT 1 FROM rollup WHERE tenant = 0 AND partition = ?1"
                                   : "SELECT 1 FROM rollup_merged WHERE id = ?1",
                   &s);
    if (error == ERR_OK) {
        (void)sqlite3_bind_int64(s, 1, row->id);
        error = db_step(db, s, out);
    }
    (void)sqlite3_finalize(s);
    return error;
}

/* What is no longer in the catalogue leaves the index; what cannot be looked up stays, and answers nothing. */
static void rows_forget(struct sqlite_engine *e, struct db *db)
{
    struct derived *d = &e->derived;
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    size_t kept = 0;
    for (size_t i = 0; i < d->rows_count; i++) {
        bool is_there = true;
        if (d->rows[i].partition == NULL && is_listed(db, &d->rows[i], &is_there) != ERR_OK)
            is_there = true;
        if (is_there)
            d->rows[kept++] = d->rows[i];
    }
    d->rows_count = kept;
    derived_sums_clear(&d->sums);
    (void)pthread_rwlock_unlock(&e->operations_lock);
}

/* Task. */
static enum err rollups_expire(struct sqlite_engine *e, void *unused)
{
    (void)unused;
    struct db *db = catalog_db(e->catalog);
    bool any = false;
    if (db->is_sync_failed)
        return ERR_IO;
    enum err error = db_exec(db, "BEGIN IMMEDIATE");
    if (error != ERR_OK)
        return error;
    error = expire_old(e, db, &any);
    if (error == ERR_OK)
        error = expire_large(e, db, &any);
    CRASH_POINT("rollups_expired");
    if (error == ERR_OK)
        error = db_exec(db, "COMMIT");
    if (error == ERR_OK && any) {
        rows_forget(e, db);
        error = db_exec(db, "PRAGMA incremental_vacuum(512)"); /* 4 MiB */
    }
    if (error != ERR_OK) {
        db_rollback(db);
        writer_write_failed(e, NULL, error);
    }
    return error;
}

void derived_rollups_run(struct sqlite_engine *e)
{
    uint64_t now = clock_mono_ns();
    while (!maintain_is_stopping(e) && rollups_merge(e))
        ;
    uint64_t *expired = &e->maintain.rollups_expired_mono_ns;
    bool is_asked = e->retention_rollups_ns != 0 || e->retention_bytes != 0;
    if (is_asked && (*expired == 0 || now - *expired >= EXPIRE_EVERY_NS) &&
        writer_task_run(e, rollups_expire, NULL) == ERR_OK)
        *expired = now;
}
