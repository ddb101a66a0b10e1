/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/derived.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/schema.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define INTAKE_BYTES_MAX        ((size_t)512 << 20)
#define BLOB_BYTES_MAX          ((size_t)256 << 20)
#define DELTA_KEPT_BYTES        ((size_t)1 << 20)   /* of each buffer, from one group to the next */
#define MERGE_BYTES_MAX         ((size_t)512 << 20) /* of memory for one merge */
#define DERIVED_RETIREMENT_ROWS 2u                  /* of the group, and merged ones */

static void delta_init(struct derived_delta *d)
{
    *d = (struct derived_delta){ 0 };
    buffer_init(&d->minutes, BLOB_BYTES_MAX);
    buffer_init(&d->halves, BLOB_BYTES_MAX);
    buffer_init(&d->pairs, BLOB_BYTES_MAX);
    buffer_init(&d->merged_minutes, BLOB_BYTES_MAX);
    buffer_init(&d->merged_hours, BLOB_BYTES_MAX);
    buffer_init(&d->merged_days, BLOB_BYTES_MAX);
}

static void delta_deinit(struct derived_delta *d)
{
    buffer_deinit(&d->minutes);
    buffer_deinit(&d->halves);
    buffer_deinit(&d->pairs);
    buffer_deinit(&d->merged_minutes);
    buffer_deinit(&d->merged_hours);
    buffer_deinit(&d->merged_days);
}

static void buffer_rest(struct buffer *b)
{
    if (b->capacity > DELTA_KEPT_BYTES)
        buffer_deinit(b);
    buffer_reset(b);
}

/* With the memory of what every group writes; merged rows are seldom, and large. */
static void delta_reset(struct derived_delta *d)
{
    struct buffer minutes = d->minutes, halves = d->halves, pairs = d->pairs;
    d->minutes = d->halves = d->pairs = (struct buffer){ 0 };
    delta_deinit(d);
    delta_init(d);
    buffer_rest(&minutes);
    buffer_rest(&halves);
    buffer_rest(&pairs);
    d->minutes = minutes;
    d->halves = halves;
    d->pairs = pairs;
}

static void building_init(struct derived *d, struct budget *background)
{
    for (int i = 0; i < DERIVED_BUILDS; i++) {
        struct intake *in = &d->builds[i].intake;
        intake_init(in, INTAKE_BYTES_MAX);
        in->arena.budget = background;
        in->admit = totals_admit_series;
        in->admit_service = totals_admit_service;
        in->admit_again = totals_admit_again;
        in->admit_changes = totals_changes;
        in->admit_edge = totals_admit_edge;
        in->admit_context = &d->totals;
        in->is_by_trace = true;
        delta_init(&d->builds[i].delta);
    }
}

static void building_deinit(struct derived *d)
{
    for (int i = 0; i < DERIVED_BUILDS; i++) {
        intake_deinit(&d->builds[i].intake);
        delta_deinit(&d->builds[i].delta);
    }
}

enum err derived_init(struct derived *d, size_t memory_bytes, struct budget *background)
{
    *d = (struct derived){ 0 };
    building_init(d, background);
    derived_sums_init(&d->sums, memory_bytes / DERIVED_SUMS_SHARE);
    d->sums_worth_bytes = DERIVED_SUMS_WORTH;
    enum err e = totals_init(&d->totals);
    enum err halves_error = half_table_init(
        &d->halves, memory_bytes / HALVES_SHARE); /* both, so that deinit finds them made */
    return e != ERR_OK ? e : halves_error;
}

void derived_deinit(struct derived *d)
{
    if (d->catalog_path != NULL)
        reader_pool_deinit(&d->catalog_readers);
    mem_free(d->catalog_path);
    d->catalog_path = NULL;
    derived_sums_deinit(&d->sums);
    half_table_deinit(&d->halves);
    totals_deinit(&d->totals);
    building_deinit(d);
    mem_free(d->rows);
    d->rows = NULL;
    d->rows_count = d->rows_capacity = 0;
}

/* ---- Builder --------------------------------------------------------------------------------- */

void derived_build_rest(struct derived *d)
{
    struct budget *background = d->builds[0].intake.arena.budget;
    building_deinit(d);
    building_init(d, background);
}

size_t derived_build_bytes(const struct derived *d)
{
    size_t bytes = 0;
    for (int i = 0; i < DERIVED_BUILDS; i++)
        bytes += d->builds[i].intake.arena.held_bytes;
    return bytes;
}

void derived_build_begin(struct derived_build *b)
{
    intake_reset(&b->intake);
    delta_reset(&b->delta);
}

void derived_on_spans(void *context, const struct derive_span *spans, size_t count)
{
    struct derived_build *b = context;
    intake_add(&b->intake, spans, count);
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

/* Rows of halves by age: of one partition by their IDs. */
static uint64_t half_place(const struct partition *p, int64_t id)
{
    return p->id << 32 | (uint64_t)(id < 0 ? -id : id);
}

/* What the group changes, and its paired callers, which are most of it and can go sooner, apart. */
static enum err halves_encode(struct derived *d, struct derived_delta *delta,
                              const struct partition *p)
{
    struct half_changes changes = delta->pairing.changes;
    const struct half_changes pairs = { .pairs = changes.pairs,
                                        .pairs_count = changes.pairs_count,
                                        .nodes = changes.nodes,
                                        .built_unix_ns = changes.built_unix_ns };
    changes.pairs_count = 0;
    half_changes_encode(&changes, &delta->halves);
    if (pairs.pairs_count > 0)
        half_changes_encode(&pairs, &delta->pairs);
    if (d->pairs.partition != p)
        d->pairs.rows = d->pairs.count = 0;
    delta->pairs_before = &d->pairs;
    delta->pairs_void = 0;
    uint64_t count = d->pairs.count + pairs.pairs_count;
    for (size_t i = 0;
         i < d->pairs.rows && count - d->pairs.counts[i] >= half_paired_max(&d->halves); i++) {
        count -= d->pairs.counts[i];
        delta->pairs_void++;
    }
    /* A table that is full forgets halves long before they are old. */
    delta->halves_void = d->halves_bytes < DERIVED_HALVES_BYTES ? 0 : half_table_oldest(&d->halves);
    enum err e = buffer_error(&delta->halves);
    return e == ERR_OK ? buffer_error(&delta->pairs) : e;
}

/* The void rows are gone, and there is one more. */
static void pairs_stored(struct derived_pairs *l, const struct derived_delta *delta,
                         struct partition *p)
{
    size_t gone = l->partition == p ? delta->pairs_void : l->rows;
    l->partition = p;
    if (gone == 0 && l->rows == DERIVED_PAIRS_ROWS)
        gone = 1;
    for (size_t i = 0; i < gone; i++)
        l->count -= l->counts[i];
    l->rows -= gone;
    memmove(l->ids, l->ids + gone, l->rows * sizeof *l->ids);
    memmove(l->counts, l->counts + gone, l->rows * sizeof *l->counts);
    if (delta->pairs.len == 0)
        return;
    l->ids[l->rows] = delta->id;
    l->counts[l->rows] = (uint32_t)delta->pairing.changes.pairs_count;
    l->count += l->counts[l->rows++];
}

enum err derived_reserve(struct sqlite_engine *e)
{
    return rows_reserve(e, 1 + DERIVED_RETIREMENT_ROWS);
}

enum err derived_build_end(struct sqlite_engine *e, struct derived_build *b, struct retirement *r)
{
    struct derived *d = &e->derived;
    struct partition *p = r->entries.first->partition;
    r->derived = NULL;
    if (r->signal != SIGNAL_TRACES)
        return ERR_OK;
    enum err error = intake_error(&b->intake);
    if (error == ERR_OK)
        error = rows_reserve(e, DERIVED_RETIREMENT_ROWS);
    if (error == ERR_OK)
        error = pairing_run(&b->intake, &d->halves, r->built_unix_ns, &b->delta.pairing);
    if (error == ERR_OK)
        error = derived_merge_plan(e, p, &b->delta);
    if (error == ERR_OK)
        error = tally_encode(&b->intake.tally, &b->delta.minutes, &b->delta.span);
    if (error == ERR_OK)
        error = halves_encode(d, &b->delta, p);
    if (error != ERR_OK)
        return error;
    b->delta.is_used = b->intake.spans > 0;
    r->derived = &b->delta;
    return ERR_OK;
}

void derived_build_stored(struct sqlite_engine *e, const struct derived_build *b,
                          const struct retirement *r)
{
    if (r->derived == NULL || !r->derived->is_used)
        return;
    struct derived *d = &e->derived;
    totals_add(&d->totals, &b->intake.tally, r->built_unix_ns, clock_mono_ns());
    if (d->halves_bytes >= DERIVED_HALVES_BYTES)
        d->halves_bytes = 0;
    d->halves_bytes += b->delta.halves.len + b->delta.pairs.len;
    pairs_stored(&d->pairs, &b->delta, r->entries.first->partition);
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

static enum err half_insert(struct db *db, int64_t id, uint64_t built_unix_ns,
                            const struct buffer *halves)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(
        db, "INSERT INTO half (id, tenant, built_unix_ns, data) VALUES (?1, 0, ?2, ?3)", &s);
    if (e == ERR_OK) {
        (void)sqlite3_bind_int64(s, 1, id);
        db_bind_u64(s, 2, built_unix_ns);
        db_bind_bytes(s, 3, buffer_bytes(halves));
        e = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

/* Rows [1, id) and their pairs, of halves that the table does not hold any more. */
static enum err halves_remove(struct partition *p, uint64_t halves_void, int64_t id)
{
    sqlite3_stmt *s = NULL;
    uint64_t from = half_place(p, 0);
    if (halves_void <= from)
        return ERR_OK;
    if (halves_void - from < (uint64_t)id)
        id = (int64_t)(halves_void - from);
    enum err e = db_prepare(&p->db, "DELETE FROM half WHERE id > -?1 AND id < ?1", &s);
    if (e == ERR_OK) {
        (void)sqlite3_bind_int64(s, 1, id);
        e = db_run(&p->db, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

/* Paired callers of row `id` stand in row -id. What is older than a half waits is of no use, nor paired callers that
 * the table has no room for any more. */
static enum err halves_insert(struct partition *p, const struct derived_delta *d,
                              uint64_t built_unix_ns)
{
    struct db *db = &p->db;
    sqlite3_stmt *s = NULL;
    enum err e = half_insert(db, d->id, built_unix_ns, &d->halves);
    if (e == ERR_OK && d->pairs.len > 0)
        e = half_insert(db, -d->id, built_unix_ns, &d->pairs);
    if (e == ERR_OK)
        e = db_prepare(db, "DELETE FROM half WHERE id = ?1", &s);
    size_t count = d->pairs_before->partition == p ? d->pairs_void : 0;
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        (void)sqlite3_bind_int64(s, 1, -d->pairs_before->ids[i]);
        e = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    s = NULL;
    if (e == ERR_OK)
        e = db_prepare(db, "DELETE FROM half WHERE built_unix_ns < ?1", &s);
    if (e == ERR_OK) {
        db_bind_u64(s, 1, built_unix_ns > HALF_LIFETIME_NS ? built_unix_ns - HALF_LIFETIME_NS : 0);
        e = db_run(db, s);
    }
    (void)sqlite3_finalize(s);
    return e == ERR_OK ? halves_remove(p, d->halves_void, d->id) : e;
}

/* One row takes the place of many. */
static enum err rows_replace(struct partition *p, struct derived_delta *d, uint64_t built_unix_ns)
{
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(&p->db, "DELETE FROM derived WHERE id = ?1", &s);
    for (size_t i = 0; e == ERR_OK && i < d->merged_count; i++) {
        (void)sqlite3_bind_int64(s, 1, d->merged_ids[i]);
        e = db_run(&p->db, s);
    }
    (void)sqlite3_finalize(s);
    if (e == ERR_OK)
        e = row_insert(&p->db, d->merged_level, built_unix_ns, &d->merged_span, &d->merged_minutes,
                       &d->merged_hours, &d->merged_days, &d->merged_id);
    return e;
}

enum err derived_store(struct partition *p, struct derived_delta *d, uint64_t built_unix_ns)
{
    if (d == NULL || !d->is_used)
        return ERR_OK;
    enum err e = row_insert(&p->db, 0, built_unix_ns, &d->span, &d->minutes, NULL, NULL, &d->id);
    if (e == ERR_OK)
        e = halves_insert(p, d, built_unix_ns);
    if (e == ERR_OK && d->merged_in == p)
        e = rows_replace(p, d, built_unix_ns);
    return e;
}

static bool is_merged(const struct derived_delta *delta, const struct derived_row *row)
{
    for (size_t i = 0; row->partition == delta->merged_in && i < delta->merged_count; i++)
        if (delta->merged_ids[i] == row->id)
            return true;
    return false;
}

static void rows_replaced(struct derived *d, const struct derived_delta *delta)
{
    size_t kept = 0;
    struct derived_row merged = { .partition = delta->merged_in,
                                  .id = delta->merged_id,
                                  .level = delta->merged_level,
                                  .bytes = delta->merged_minutes.len,
                                  .span = delta->merged_span };
    derived_generations_none(&merged);
    for (size_t i = 0; i < d->rows_count; i++) {
        if (is_merged(delta, &d->rows[i]))
            derived_generations_join(&merged, &d->rows[i]);
        else
            d->rows[kept++] = d->rows[i];
    }
    d->rows_count = kept;
    d->rows[d->rows_count++] = merged;
}

/* One row in the index for all of a partition. */
static void rows_unite(struct derived *d, const struct partition *p, bool is_kept,
                       struct derived_row united)
{
    size_t kept = 0;
    united.span = (struct tally_span){ UINT64_MAX, 0 };
    derived_generations_none(&united);
    for (size_t i = 0; i < d->rows_count; i++) {
        const struct tally_span *span = &d->rows[i].span;
        if (d->rows[i].partition != p) {
            d->rows[kept++] = d->rows[i];
            continue;
        }
        derived_generations_join(&united, &d->rows[i]);
        if (d->rows[i].level == DERIVED_LEVEL_SEALED) {
            united.days = d->rows[i].days;
            united.bytes = d->rows[i].bytes;
        }
        if (span->min_unix_ns < united.span.min_unix_ns)
            united.span.min_unix_ns = span->min_unix_ns;
        if (span->max_unix_ns > united.span.max_unix_ns)
            united.span.max_unix_ns = span->max_unix_ns;
    }
    if (kept < d->rows_count && is_kept)
        d->rows[kept++] = united;
    d->rows_count = kept;
}

void derived_forget(struct sqlite_engine *e, const struct partition *p)
{
    rows_unite(&e->derived, p, p->state == PARTITION_SEALED,
               (struct derived_row){ .id = (int64_t)p->id });
    derived_sums_clear(&e->derived.sums); /* what its minutes said, or all of it */
}

void derived_sealed(struct sqlite_engine *e, struct partition *p, enum derived_days days,
                    uint64_t bytes)
{
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    rows_unite(&e->derived, p, true,
               (struct derived_row){ .partition = p,
                                     .id = (int64_t)p->id,
                                     .level = DERIVED_LEVEL_SEALED,
                                     .days = days,
                                     .bytes = bytes });
    (void)pthread_rwlock_unlock(&e->operations_lock);
}

void derived_publish(struct sqlite_engine *e, struct partition *p,
                     const struct derived_delta *delta)
{
    struct derived *d = &e->derived;
    if (delta == NULL || !delta->is_used)
        return;
    if (delta->merged_in == p)
        rows_replaced(d, delta);
    assert(d->rows_count < d->rows_capacity);
    d->generation++;
    d->rows[d->rows_count++] = (struct derived_row){ .partition = p,
                                                     .id = delta->id,
                                                     .bytes = delta->minutes.len,
                                                     .span = delta->span,
                                                     .first_generation = d->generation,
                                                     .last_generation = d->generation };
    struct half_changes changes = delta->pairing.changes;
    changes.stored = half_place(p, delta->id);
    half_table_apply(&d->halves, &changes);
}

static void damage_count(struct sqlite_engine *e)
{
    atomic_fetch_add(&e->derived.damaged, 1);
    metric_add(e->metrics.damaged_rollups, 1);
}

void derived_row_damaged(struct sqlite_engine *e, const struct derived_row *row)
{
    bool is_new = false;
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    for (size_t i = 0; !row->is_damaged && i < e->derived.rows_count; i++) {
        struct derived_row *own = &e->derived.rows[i];
        if (own->partition != row->partition || own->id != row->id || own->level != row->level)
            continue;
        is_new = !own->is_damaged;
        own->is_damaged = true;
        break;
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    if (!is_new)
        return;
    damage_count(e);
    if (row->partition != NULL)
        log_line(LOG_ERROR, "storage", "rollups %lld of partition %llu are damaged: %s",
                 (long long)row->id, (unsigned long long)row->partition->id, row->partition->path);
    else
        log_line(LOG_ERROR, "storage", "rollups %lld (level %u) of the catalogue are damaged",
                 (long long)row->id, row->level);
}

/* Spans are worth more than what is counted of them: what is damaged is left out, and the rest goes on. */
static enum err damage_report(struct sqlite_engine *e, const struct partition *p, enum err error)
{
    if (error != ERR_CORRUPT)
        return error;
    e->derived.has_unlisted = true;
    damage_count(e);
    log_line(LOG_ERROR, "storage", "rollups or halves of edges in partition %llu are damaged",
             (unsigned long long)p->id);
    return ERR_OK;
}

/* ---- The opener ------------------------------------------------------------------------------ */

enum err derived_row_list(struct sqlite_engine *e, const struct derived_row *row)
{
    enum err error = rows_reserve(e, 1);
    if (error == ERR_OK)
        e->derived.rows[e->derived.rows_count++] = *row;
    return error;
}

enum err derived_load(struct sqlite_engine *e, struct partition *p)
{
    if (p->version < 2)
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
    return damage_report(e, p, error);
}

/* When the last row group was built of which a partition knows; 0: of none. *out_is_enough: its first row is gone, so that
 * nothing of the partitions before is in the table any more. */
static enum err halves_newest(struct partition *p, uint64_t *out_unix_ns, bool *out_is_enough)
{
    struct db *reader = NULL;
    int64_t newest = 0, firsts = 0;
    enum err e = reader_pool_take(&p->readers, &reader);
    if (e == ERR_OK)
        e = db_integer(reader, "SELECT max(built_unix_ns) FROM half", 0, &newest);
    if (e == ERR_OK)
        e = db_integer(reader, "SELECT count(*) FROM half WHERE id = 1", 0, &firsts);
    reader_pool_give(&p->readers, reader);
    *out_unix_ns = (uint64_t)newest;
    *out_is_enough = e == ERR_OK && newest != 0 && firsts == 0;
    return e;
}

static enum err halves_replay(struct sqlite_engine *engine, struct partition *p,
                              uint64_t from_unix_ns)
{
    struct db *reader = NULL;
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    enum err e = reader_pool_take(&p->readers, &reader);
    if (e == ERR_OK)
        e = db_prepare(reader,
                       "SELECT data, built_unix_ns, id FROM half WHERE built_unix_ns >= ?1"
                       " ORDER BY max(id, -id), id DESC",
                       &s);
    if (e == ERR_OK)
        db_bind_u64(s, 1, from_unix_ns);
    while (e == ERR_OK) {
        e = db_step(reader, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        uint64_t place = half_place(p, sqlite3_column_int64(s, 2));
        e = damage_report(engine, p,
                          half_table_replay(&engine->derived.halves, db_column_bytes(s, 0),
                                            db_column_u64(s, 1), place));
    }
    (void)sqlite3_finalize(s);
    reader_pool_give(&p->readers, reader);
    return damage_report(engine, p, e);
}

static bool has_halves(const struct partition *p)
{
    return p->version >= 2 && !p->is_damaged && p->state != PARTITION_REMOVING;
}

/* Nothing older than the last group less the lifetime still waits, so few partitions are asked. */
enum err derived_halves_load(struct sqlite_engine *e)
{
    uint64_t newest = 0;
    size_t first = e->partitions_count;
    enum err error = ERR_OK;
    bool is_enough = false;
    while (first > 0 && error == ERR_OK && !is_enough) {
        struct partition *p = e->partitions[first - 1];
        if (newest != 0 && p->closed_unix_ns != 0 && p->closed_unix_ns + HALF_LIFETIME_NS < newest)
            break;
        uint64_t of_this = 0;
        if (has_halves(p))
            error = damage_report(e, p, halves_newest(p, &of_this, &is_enough));
        newest = of_this > newest ? of_this : newest;
        first--;
    }
    uint64_t from = newest > HALF_LIFETIME_NS ? newest - HALF_LIFETIME_NS : 0;
    for (size_t i = first; error == ERR_OK && i < e->partitions_count; i++)
        if (has_halves(e->partitions[i]))
            error = halves_replay(e, e->partitions[i], from);
    return error;
}

/* A partition that is shown; NULL: it is gone. */
static struct partition *shown(const struct sqlite_engine *e, uint64_t id)
{
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p->id == id)
            return p->state != PARTITION_REMOVING && !p->is_damaged ? p : NULL;
    }
    return NULL;
}

static enum err catalog_readers_init(struct sqlite_engine *e)
{
    struct derived *d = &e->derived;
    size_t size = strlen(e->directory) + sizeof "/catalog.db";
    d->catalog_path = mem_alloc(size);
    if (d->catalog_path == NULL)
        return ERR_NOMEM;
    (void)snprintf(d->catalog_path, size, "%s/catalog.db", e->directory);
    reader_pool_init(&d->catalog_readers, d->catalog_path, e->vfs);
    return ERR_OK;
}

enum err derived_catalog_load(struct sqlite_engine *e)
{
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    enum err error = catalog_readers_init(e);
    if (error == ERR_OK)
        error = db_prepare(catalog_db(e->catalog),
                           "SELECT partition, start_min_unix_ns, start_max_unix_ns,"
                           " length(hours) + length(days), length(days) > 0, 0 FROM rollup"
                           " UNION ALL SELECT id, start_min_unix_ns, start_max_unix_ns,"
                           " length(days), 1, level FROM rollup_merged ORDER BY 6, 1",
                           &s);
    while (error == ERR_OK) {
        error = db_step(catalog_db(e->catalog), s, &is_row);
        if (error != ERR_OK || !is_row)
            break;
        uint64_t bytes = db_column_u64(s, 3);
        uint32_t level = (uint32_t)db_column_u64(s, 5);
        enum derived_days days =
            sqlite3_column_int(s, 4) != 0 ? DERIVED_DAYS_OWN : DERIVED_DAYS_MERGED;
        struct partition *p = level > 0 ? NULL : shown(e, db_column_u64(s, 0));
        if (p != NULL && p->state == PARTITION_SEALED)
            derived_sealed(e, p, days, bytes);
        if (p != NULL)
            continue;
        error = rows_reserve(e, 1);
        if (error != ERR_OK)
            break;
        e->derived.rows[e->derived.rows_count++] = (struct derived_row){
            .id = sqlite3_column_int64(s, 0),
            .level = level,
            .days = days,
            .bytes = bytes,
            .span = { db_column_u64(s, 1), db_column_u64(s, 2) },
        };
    }
    (void)sqlite3_finalize(s);
    return error;
}

/* ---- Names that were learned ----------------------------------------------------------------- */

#define NAMES_ROWS    32u /* of partitions that are written, the newest */
#define NAMES_ROLLUPS "2" /* and of the catalogue's */
#define NAMES_ARENA   ((size_t)64 << 20)
#define NAMES_CALLS   3u /* of names that are kept apart beside a template */

/* What is counted is read twice: for templates, and then for names that were counted beside them. */
struct names_load {
    struct sqlite_engine *engine;
    struct tally_filter filter;
    struct tally calls; /* of names that may be kept */
    bool has_templates;
};

static bool name_restore(void *context, struct bytes key, struct bytes *out_key)
{
    struct names_load *l = context;
    struct red_key k;
    *out_key = key;
    if (red_key_read(key, &k) && name_is_template(k.name)) {
        totals_restore_name(&l->engine->derived.totals, &k, clock_mono_ns());
        l->has_templates = true;
    }
    return false; /* of what it counts nothing is read */
}

static bool name_may_be_kept(void *context, struct bytes key, struct bytes *out_key)
{
    struct names_load *l = context;
    struct red_key k;
    *out_key = key;
    return red_key_read(key, &k) && totals_restore_kept(&l->engine->derived.totals, &k, false);
}

static enum err row_names_load(struct names_load *l, const struct derived_row *row)
{
    struct db *db = NULL;
    sqlite3_stmt *s = NULL;
    bool is_row = false;
    enum err error = reader_pool_take(&row->partition->readers, &db);
    if (error == ERR_OK)
        error = db_prepare(db, "SELECT minutes FROM derived WHERE id = ?1", &s);
    if (error == ERR_OK) {
        (void)sqlite3_bind_int64(s, 1, row->id);
        error = db_step(db, s, &is_row);
    }
    if (error == ERR_OK && is_row)
        error = tally_add_stored(&l->calls, db_column_bytes(s, 0), &l->filter);
    (void)sqlite3_finalize(s);
    reader_pool_give(&row->partition->readers, db);
    return error == ERR_CORRUPT ? ERR_OK : error; /* who asks for it says so */
}

static enum err names_pass(struct names_load *l, tally_map_fn *map)
{
    struct sqlite_engine *e = l->engine;
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    unsigned count = 0;
    enum err error = ERR_OK;
    l->filter = (struct tally_filter){
        .map = map, .context = l, .end_unix_ns = UINT64_MAX, .skips_durations = true
    };
    for (size_t i = e->derived.rows_count; error == ERR_OK && i > 0 && count < NAMES_ROWS; i--) {
        const struct derived_row *row = &e->derived.rows[i - 1];
        if (row->partition == NULL || row->level == DERIVED_LEVEL_SEALED)
            continue;
        error = row_names_load(l, row);
        count++;
    }
    if (error == ERR_OK)
        error =
            db_prepare(catalog_db(e->catalog),
                       "SELECT hours FROM rollup ORDER BY partition DESC LIMIT " NAMES_ROLLUPS, &s);
    while (error == ERR_OK) {
        error = db_step(catalog_db(e->catalog), s, &is_row);
        if (error != ERR_OK || !is_row)
            break;
        error = tally_add_stored(&l->calls, db_column_bytes(s, 0), &l->filter);
        error = error == ERR_CORRUPT ? ERR_OK : error;
    }
    (void)sqlite3_finalize(s);
    return error;
}

static int calls_order(const void *a, const void *b)
{
    const struct tally_point *x = *(struct tally_point *const *)a;
    const struct tally_point *y = *(struct tally_point *const *)b;
    if (x->calls != y->calls)
        return x->calls > y->calls ? -1 : 1;
    return x->series < y->series ? -1 : x->series > y->series;
}

/* An open place keeps so few words that those come first which are called most. */
static enum err names_keep(struct names_load *l)
{
    uint32_t count = l->calls.points_count;
    struct tally_point **points = mem_alloc_array((size_t)count + 1, sizeof(struct tally_point *));
    if (points == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        points[i] = tally_point(&l->calls, i);
    qsort(points, count, sizeof *points, calls_order);
    for (uint32_t i = 0; i < count && points[i]->calls >= NAMES_CALLS; i++) {
        struct red_key k;
        if (red_key_read(tally_key(&l->calls, points[i]->series), &k))
            (void)totals_restore_kept(&l->engine->derived.totals, &k, true);
    }
    mem_free(points);
    return ERR_OK;
}

enum err derived_names_load(struct sqlite_engine *e)
{
    struct names_load l = { .engine = e };
    struct arena arena;
    arena_init(&arena, NAMES_ARENA, NULL);
    tally_init(&l.calls, &arena, 0);
    enum err error = names_pass(&l, name_restore);
    if (error == ERR_OK && l.has_templates)
        error = names_pass(&l, name_may_be_kept);
    if (error == ERR_OK)
        error = names_keep(&l);
    tally_deinit(&l.calls);
    arena_deinit(&arena);
    /* What cannot be read, or is too much, is learned anew. */
    return error == ERR_CORRUPT || error == ERR_TOO_LARGE || error == ERR_TOO_MANY ? ERR_OK : error;
}
