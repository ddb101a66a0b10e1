/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/derived.h"

#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/schema.h"

#include <assert.h>

#define INTAKE_BYTES_MAX ((size_t)512 << 20)
#define BLOB_BYTES_MAX   ((size_t)256 << 20)
#define MERGE_BYTES_MAX  ((size_t)512 << 20) /* of memory for one merge */

static void delta_init(struct derived_delta *d)
{
    *d = (struct derived_delta){ 0 };
    buffer_init(&d->minutes, BLOB_BYTES_MAX);
    buffer_init(&d->merged_minutes, BLOB_BYTES_MAX);
    buffer_init(&d->merged_hours, BLOB_BYTES_MAX);
    buffer_init(&d->merged_days, BLOB_BYTES_MAX);
}

static void delta_deinit(struct derived_delta *d)
{
    buffer_deinit(&d->minutes);
    buffer_deinit(&d->merged_minutes);
    buffer_deinit(&d->merged_hours);
    buffer_deinit(&d->merged_days);
}

void derived_init(struct derived *d)
{
    *d = (struct derived){ 0 };
    intake_init(&d->intake, INTAKE_BYTES_MAX);
    delta_init(&d->delta);
}

void derived_deinit(struct derived *d)
{
    intake_deinit(&d->intake);
    delta_deinit(&d->delta);
    mem_free(d->rows);
    d->rows = NULL;
    d->rows_count = d->rows_capacity = 0;
}

/* ---- Builder --------------------------------------------------------------------------------- */

void derived_build_begin(struct derived *d)
{
    intake_reset(&d->intake);
    delta_deinit(&d->delta);
    delta_init(&d->delta);
}

void derived_on_span(void *context, uint32_t number, struct bytes resource,
                     const struct derive_span *span)
{
    struct derived *d = context;
    intake_add(&d->intake, number, resource, span);
}

/* Room for the new row, so that publishing cannot fail. Rows are added by retirements alone, which the builder
 * makes one at a time. */
static enum err rows_reserve(struct sqlite_engine *e, size_t more)
{
    struct derived *d = &e->derived;
    enum err error = ERR_OK;
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    if (d->rows_capacity - d->rows_count < more) {
        size_t capacity = 2 * d->rows_capacity + more + 64;
        struct derived_row *rows = mem_realloc(d->rows, capacity * sizeof *rows);
        if (rows == NULL) {
            error = ERR_NOMEM;
        } else {
            d->rows = rows;
            d->rows_capacity = capacity;
        }
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    return error;
}

enum err derived_build_end(struct sqlite_engine *e, struct retirement *r)
{
    struct derived *d = &e->derived;
    r->derived = NULL;
    if (r->signal != SIGNAL_TRACES)
        return ERR_OK;
    enum err error = intake_error(&d->intake);
    if (error == ERR_OK)
        error = rows_reserve(e, 2);
    if (error == ERR_OK)
        error = tally_encode(&d->intake.tally, &d->delta.minutes, &d->delta.span);
    if (error != ERR_OK)
        return error;
    assert(d->intake.spans == r->summary.rows);
    d->delta.is_used = d->intake.spans > 0;
    r->derived = &d->delta;
    return ERR_OK;
}

/* ---- Writer ---------------------------------------------------------------------------------- */

static enum err row_insert(struct db *db, uint32_t level, uint64_t built_unix_ns,
                           const struct tally_span *span, const struct buffer *minutes,
                           const struct buffer *hours, const struct buffer *days, int64_t *out_id)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db,
                            "INSERT INTO derived (tenant, level, built_unix_ns, start_min_unix_ns,"
                            " start_max_unix_ns, minutes, hours, days)"
                            " VALUES (0, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                            &s);
    if (e == ERR_OK) {
        db_bind_u64(s, 1, level);
        db_bind_u64(s, 2, built_unix_ns);
        db_bind_u64(s, 3, span->min_unix_ns);
        db_bind_u64(s, 4, span->max_unix_ns);
        db_bind_bytes(s, 5, buffer_bytes(minutes));
        db_bind_bytes(s, 6, hours == NULL ? (struct bytes){ 0 } : buffer_bytes(hours));
        db_bind_bytes(s, 7, days == NULL ? (struct bytes){ 0 } : buffer_bytes(days));
        e = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    if (e == ERR_OK)
        *out_id = sqlite3_last_insert_rowid(db->handle);
    return e;
}

enum err derived_store(struct partition *p, struct derived_delta *d, uint64_t built_unix_ns)
{
    if (d == NULL || !d->is_used)
        return ERR_OK;
    return row_insert(&p->db, 0, built_unix_ns, &d->span, &d->minutes, NULL, NULL, &d->id);
}

void derived_publish(struct sqlite_engine *e, struct partition *p,
                     const struct derived_delta *delta)
{
    struct derived *d = &e->derived;
    if (delta == NULL || !delta->is_used)
        return;
    assert(d->rows_count < d->rows_capacity);
    d->rows[d->rows_count++] = (struct derived_row){
        .partition = p, .id = delta->id, .bytes = delta->minutes.len, .span = delta->span
    };
}

/* ---- The opener ------------------------------------------------------------------------------ */

enum err derived_load(struct sqlite_engine *e, struct partition *p)
{
    if (p->version < SCHEMA_VERSION)
        return ERR_OK; /* from before there were any */
    struct db *reader = NULL;
    sqlite3_stmt *s = NULL;
    enum err error = reader_pool_take(&p->readers, &reader);
    if (error == ERR_OK)
        error = db_prepare(reader,
                           "SELECT id, level, length(minutes), start_min_unix_ns,"
                           " start_max_unix_ns FROM derived ORDER BY id",
                           &s);
    bool is_row = true;
    while (error == ERR_OK) {
        error = db_step(reader, s, &is_row);
        if (error != ERR_OK || !is_row)
            break;
        error = rows_reserve(e, 1);
        if (error != ERR_OK)
            break;
        e->derived.rows[e->derived.rows_count++] = (struct derived_row){
            .partition = p,
            .id = sqlite3_column_int64(s, 0),
            .level = (uint32_t)db_column_u64(s, 1),
            .bytes = db_column_u64(s, 2),
            .span = { db_column_u64(s, 3), db_column_u64(s, 4) },
        };
    }
    (void)sqlite3_finalize(s);
    reader_pool_give(&p->readers, reader);
    return error;
}
