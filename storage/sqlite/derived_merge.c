/* SPDX-License-Identifier: Apache-2.0 */
/* derived_merge.c - many rows of rollups become one: in their partition, and in the catalogue.
 *
 * A merged row has hours and days beside its minutes, so that a long range reads a small part of it. Each row is
 * merged with DERIVED_MERGE_ROWS - 1 others at a time, so that a count is copied a few times in its life, and a
 * question reads a few dozen rows of each level. */
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#define MERGE_MEMORY_MAX ((size_t)256 << 20)
#define BLOB_BYTES_MAX   ((size_t)256 << 20)

struct merge {
    struct arena arena;
    struct tally minutes, hours, days;
};

static void merge_init(struct merge *m)
{
    arena_init(&m->arena, MERGE_MEMORY_MAX, NULL);
    tally_init(&m->minutes, &m->arena, TALLY_MINUTE_NS);
    tally_init(&m->hours, &m->arena, TALLY_HOUR_NS);
    tally_init(&m->days, &m->arena, TALLY_DAY_NS);
}

static void merge_deinit(struct merge *m)
{
    tally_deinit(&m->minutes);
    tally_deinit(&m->hours);
    tally_deinit(&m->days);
    arena_deinit(&m->arena);
}

/* A row's minutes, hours and days stand in columns 0 to 2; what is coarser is made of the next finer one where the
 * row does not have it. */
static enum err merge_row(struct merge *m, sqlite3_stmt *s, bool wants_minutes)
{
    struct bytes minutes = db_column_bytes(s, 0), hours = db_column_bytes(s, 1);
    struct bytes days = db_column_bytes(s, 2);
    hours = hours.len > 0 ? hours : minutes;
    enum err e = wants_minutes ? tally_add_stored(&m->minutes, minutes, NULL) : ERR_OK;
    if (e == ERR_OK)
        e = tally_add_stored(&m->hours, hours, NULL);
    return e == ERR_OK ? tally_add_stored(&m->days, days.len > 0 ? days : hours, NULL) : e;
}

/* ---- In a partition -------------------------------------------------------------------------- */

/* The rows of one level of which there are enough, oldest first. */
static void rows_choose(struct sqlite_engine *e, const struct partition *p, struct derived_delta *d)
{
    const struct derived *all = &e->derived;
    size_t count = 0;
    for (uint32_t level = 0; level < DERIVED_LEVELS_MAX && count < DERIVED_MERGE_ROWS; level++) {
        uint64_t bytes = 0;
        count = 0;
        for (size_t i = 0; i < all->rows_count && count < DERIVED_MERGE_ROWS; i++) {
            const struct derived_row *row = &all->rows[i];
            if (row->partition != p || row->level != level)
                continue;
            d->merged_ids[count++] = row->id;
            bytes += row->bytes;
        }
        d->merged_level = level + 1;
        if (bytes > DERIVED_MERGE_BYTES)
            count = 0;
    }
    d->merged_count = count == DERIVED_MERGE_ROWS ? count : 0;
}

static enum err rows_merge(struct partition *p, struct merge *m, const struct derived_delta *d)
{
    struct db *db = NULL;
    sqlite3_stmt *s = NULL;
    enum err e = reader_pool_take(&p->readers, &db);
    if (e == ERR_OK)
        e = db_prepare(db, "SELECT minutes, hours, days FROM derived WHERE id = ?1", &s);
    for (size_t i = 0; e == ERR_OK && i < d->merged_count; i++) {
        bool is_row = false;
        (void)sqlite3_bind_int64(s, 1, d->merged_ids[i]);
        e = db_step(db, s, &is_row);
        if (e == ERR_OK)
            e = is_row ? merge_row(m, s, true) : ERR_CORRUPT;
        (void)sqlite3_reset(s);
    }
    (void)sqlite3_finalize(s);
    reader_pool_give(&p->readers, db);
    return e;
}

/* Where rows cannot be merged they stay as they are: only slower to read. */
enum err derived_merge_plan(struct sqlite_engine *e, struct partition *p, struct derived_delta *d)
{
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    rows_choose(e, p, d);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    if (d->merged_count == 0)
        return ERR_OK;
    struct merge m;
    struct tally_span unused;
    merge_init(&m);
    enum err error = rows_merge(p, &m, d);
    if (error == ERR_OK)
        error = tally_encode(&m.minutes, &d->merged_minutes, &d->merged_span);
    if (error == ERR_OK)
        error = tally_encode(&m.hours, &d->merged_hours, &unused);
    if (error == ERR_OK)
        error = tally_encode(&m.days, &d->merged_days, &unused);
    merge_deinit(&m);
    d->merged_in = error == ERR_OK ? p : NULL;
    return error == ERR_CORRUPT || error == ERR_TOO_LARGE || error == ERR_TOO_MANY ? ERR_OK : error;
}

/* ---- In the catalogue ------------------------------------------------------------------------ */

static enum err rollup_put(struct db *catalog, uint64_t partition_id, struct merge *m,
                           struct buffer *hours, struct buffer *days)
{
    struct tally_span span, unused;
    uint64_t now = clock_unix_ns();
    sqlite3_stmt *s = NULL;
    enum err e = tally_encode(&m->hours, hours, &span);
    if (e == ERR_OK)
        e = tally_encode(&m->days, days, &unused);
    if (e == ERR_OK)
        e = db_prepare(catalog,
                       "INSERT OR REPLACE INTO rollup (tenant, partition, sealed_unix_ns,"
                       " start_min_unix_ns, start_max_unix_ns, hours, days)"
                       " VALUES (0, ?1, ?6, ?2, ?3, ?4, ?5)",
                       &s);
    if (e == ERR_OK) {
        db_bind_u64(s, 1, partition_id);
        db_bind_u64(s, 2, span.min_unix_ns);
        db_bind_u64(s, 3, span.max_unix_ns);
        db_bind_bytes(s, 4, buffer_bytes(hours));
        db_bind_bytes(s, 5, buffer_bytes(days));
        db_bind_u64(s, 6, now);
        e = db_run(catalog, s);
    }
    (void)sqlite3_finalize(s);
    s = NULL;
    if (e == ERR_OK && now > DERIVED_RETENTION_NS) {
        e = db_prepare(catalog, "DELETE FROM rollup WHERE sealed_unix_ns < ?1", &s);
        if (e == ERR_OK) {
            db_bind_u64(s, 1, now - DERIVED_RETENTION_NS);
            e = db_run(catalog, s);
        }
        (void)sqlite3_finalize(s);
    }
    return e;
}

enum err derived_seal(struct db *catalog, struct db *partition, uint64_t partition_id)
{
    struct merge m;
    struct buffer hours, days;
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    merge_init(&m);
    buffer_init(&hours, BLOB_BYTES_MAX);
    buffer_init(&days, BLOB_BYTES_MAX);
    enum err e = db_prepare(partition, "SELECT minutes, hours, days FROM derived ORDER BY id", &s);
    while (e == ERR_OK) {
        e = db_step(partition, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        e = merge_row(&m, s, false);
        if (e == ERR_CORRUPT)
            e = ERR_OK; /* what is damaged is left out */
    }
    (void)sqlite3_finalize(s);
    if (e == ERR_OK && m.hours.points_count > 0)
        e = rollup_put(catalog, partition_id, &m, &hours, &days);
    buffer_deinit(&hours);
    buffer_deinit(&days);
    merge_deinit(&m);
    return e;
}
