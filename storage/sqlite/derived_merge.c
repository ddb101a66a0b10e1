/* SPDX-License-Identifier: Apache-2.0 */
/* derived_merge.c - many rows of rollups become one: in their partition, and in the catalogue.
 *
 * A merged row has hours and days beside its minutes, so that a long range reads a small part of it. Each row is
 * merged with DERIVED_MERGE_ROWS - 1 others at a time, so that a count is copied a few times in its life, and a
 * question reads a few dozen rows of each level. */
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#define MERGE_MEMORY_MAX ((size_t)256 << 20)
#define BLOB_BYTES_MAX   ((size_t)256 << 20)

struct merge {
    struct arena arena;
    struct tally hours, days;
};

static void merge_init(struct merge *m)
{
    arena_init(&m->arena, MERGE_MEMORY_MAX, NULL);
    tally_init(&m->hours, &m->arena, TALLY_HOUR_NS);
    tally_init(&m->days, &m->arena, TALLY_DAY_NS);
}

static void merge_deinit(struct merge *m)
{
    tally_deinit(&m->hours);
    tally_deinit(&m->days);
    arena_deinit(&m->arena);
}

/* A row's minutes, hours and days stand in columns 0 to 2; what is coarser is made of the next finer one where the
 * row does not have it. */
static enum err merge_row(struct merge *m, sqlite3_stmt *s)
{
    struct bytes minutes = db_column_bytes(s, 0), hours = db_column_bytes(s, 1);
    struct bytes days = db_column_bytes(s, 2);
    hours = hours.len > 0 ? hours : minutes;
    days = days.len > 0 ? days : hours;
    enum err e = tally_add_stored(&m->hours, hours, NULL);
    return e == ERR_OK ? tally_add_stored(&m->days, days, NULL) : e;
}

/* ---- In a partition -------------------------------------------------------------------------- */

/* The rows of one level of which there are enough, oldest first. */
static void rows_choose(struct sqlite_engine *e, const struct partition *p, struct derived_delta *d)
{
    const struct derived *all = &e->derived;
    size_t count = 0;
    d->merged_count = 0;
    (void)pthread_rwlock_rdlock(
        &e->operations_lock); /* the writer moves rows of other partitions */
    for (uint32_t level = 0; level < DERIVED_LEVELS_MAX; level++) {
        uint64_t bytes = 0;
        bool is_full = false;
        count = 0;
        for (size_t i = 0; i < all->rows_count && count < DERIVED_MERGE_ROWS && !is_full; i++) {
            const struct derived_row *row = &all->rows[i];
            if (row->partition != p || row->level != level || row->is_damaged)
                continue;
            is_full = bytes + row->bytes > DERIVED_MERGE_BYTES;
            if (!is_full)
                d->merged_ids[count++] = row->id;
            bytes += row->bytes;
        }
        if (count == DERIVED_MERGE_ROWS || (is_full && count >= DERIVED_MERGE_LEAST)) {
            d->merged_level = level + 1;
            d->merged_count = count;
            break;
        }
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
}

static void row_damaged(struct sqlite_engine *e, struct partition *p, const struct derived_delta *d,
                        size_t i)
{
    derived_row_damaged(e, &(struct derived_row){ .partition = p,
                                                  .id = d->merged_ids[i],
                                                  .level = d->merged_level - 1 });
}

/* The minutes of the rows to be merged, in the arena. What is damaged is noted, so that it is not chosen again. */
static enum err rows_read(struct sqlite_engine *engine, struct partition *p,
                          const struct derived_delta *d, struct arena *arena, struct bytes *out)
{
    struct db *db = NULL;
    sqlite3_stmt *s = NULL;
    enum err e = reader_pool_take(&p->readers, &db);
    if (e == ERR_OK)
        e = db_prepare(db, "SELECT minutes FROM derived WHERE id = ?1", &s);
    for (size_t i = 0; e == ERR_OK && i < d->merged_count; i++) {
        bool is_row = false;
        (void)sqlite3_bind_int64(s, 1, d->merged_ids[i]);
        e = db_step(db, s, &is_row);
        if (e == ERR_OK)
            e = is_row ? arena_dup(arena, db_column_bytes(s, 0), &out[i]) : ERR_CORRUPT;
        if (e == ERR_CORRUPT)
            row_damaged(engine, p, d, i);
        (void)sqlite3_reset(s);
    }
    (void)sqlite3_finalize(s);
    reader_pool_give(&p->readers, db);
    return e;
}

/* Coarser steps are made where they pay: where they hold few points of the finer ones, as when spans come fast, they
 * would say it all again. They are made of the finer ones. */
static enum err coarser_make(struct budget *budget, const struct tally_merged *minutes,
                             struct derived_delta *d)
{
    uint64_t finer = minutes->points;
    struct bytes from = buffer_bytes(&d->merged_minutes);
    struct tally_merged unused;
    enum err e = ERR_OK;
    if (minutes->hours <= finer / 2) {
        e = tally_merge(&from, 1, TALLY_HOUR_NS, budget, &d->merged_hours, &unused);
        from = buffer_bytes(&d->merged_hours);
        finer = minutes->hours;
    }
    if (e == ERR_OK && minutes->days <= finer / 2)
        e = tally_merge(&from, 1, TALLY_DAY_NS, budget, &d->merged_days, &unused);
    /* The same by what it takes, not by points. */
    if (d->merged_hours.len > d->merged_minutes.len / 2)
        buffer_reset(&d->merged_hours);
    if (d->merged_days.len >
        (d->merged_hours.len > 0 ? d->merged_hours.len : d->merged_minutes.len) / 2)
        buffer_reset(&d->merged_days);
    return e;
}

/* Where rows cannot be merged they stay as they are: only slower to read. */
enum err derived_merge_plan(struct sqlite_engine *e, struct partition *p, struct derived_delta *d)
{
    d->merged_count = 0;
    if (e->derived.generation >= e->derived.merge_from_generation)
        rows_choose(e, p, d);
    if (d->merged_count == 0)
        return ERR_OK;
    struct arena arena;
    struct bytes rows[DERIVED_MERGE_ROWS];
    struct tally_merged merged = { .bad = SIZE_MAX };
    arena_init(&arena, MERGE_MEMORY_MAX, &e->background);
    enum err error = rows_read(e, p, d, &arena, rows);
    if (error == ERR_OK)
        error = tally_merge(rows, d->merged_count, TALLY_MINUTE_NS, &e->background,
                            &d->merged_minutes, &merged);
    if (merged.bad != SIZE_MAX)
        row_damaged(e, p, d, merged.bad);
    arena_deinit(&arena);
    if (error == ERR_OK)
        error = coarser_make(&e->background, &merged, d);
    d->merged_span = merged.span;
    d->merged_in = error == ERR_OK ? p : NULL;
    if (error == ERR_TOO_LARGE || error == ERR_BUDGET) /* not at each row group anew */
        e->derived.merge_from_generation = e->derived.generation + DERIVED_MERGE_ROWS;
    /* They stay as they are: questions take longer. */
    return error == ERR_CORRUPT || error == ERR_TOO_LARGE || error == ERR_BUDGET ? ERR_OK : error;
}

/* ---- In the catalogue ------------------------------------------------------------------------ */

static enum err rollup_put(struct db *catalog, uint64_t partition_id, uint64_t sealed_clock_ns,
                           struct merge *m, struct buffer *hours, struct buffer *days)
{
    struct tally_span span, unused;
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
        db_bind_u64(s, 6, sealed_clock_ns);
        e = db_run(catalog, s);
    }
    (void)sqlite3_finalize(s);
    return e;
}

/* What is damaged is left out, and the row of the catalogue says so as long as it is kept. */
static enum err lost_add(struct tally *t, uint64_t unix_ns)
{
    static const uint8_t key[] = { KEY_LOST };
    struct tally_point *p = NULL;
    uint32_t series = 0;
    enum err e = tally_series(t, bytes_of(key, sizeof key), &series);
    if (e == ERR_OK)
        e = tally_at(t, series, unix_ns, &p);
    if (e == ERR_OK)
        p->calls++;
    return e;
}

enum err derived_seal(struct db *catalog, struct db *partition, uint64_t partition_id,
                      uint64_t sealed_clock_ns)
{
    struct merge m;
    struct buffer hours, days;
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    merge_init(&m); /* not charged: what it does not hold would not outlive the partition */
    buffer_init(&hours, BLOB_BYTES_MAX);
    buffer_init(&days, BLOB_BYTES_MAX);
    enum err e = db_prepare(partition,
                            "SELECT minutes, hours, days, start_min_unix_ns FROM derived"
                            " ORDER BY id",
                            &s);
    while (e == ERR_OK) {
        e = db_step(partition, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        e = merge_row(&m, s);
        if (e == ERR_CORRUPT) {
            e = lost_add(&m.hours, db_column_u64(s, 3));
            if (e == ERR_OK)
                e = lost_add(&m.days, db_column_u64(s, 3));
        }
    }
    (void)sqlite3_finalize(s);
    if (e == ERR_OK && m.hours.points_count > 0)
        e = rollup_put(catalog, partition_id, sealed_clock_ns, &m, &hours, &days);
    buffer_deinit(&hours);
    buffer_deinit(&days);
    merge_deinit(&m);
    if (e != ERR_TOO_LARGE && e != ERR_TOO_MANY)
        return e;
    /* Sealing must not wait for it: retention begins there. Questions read the minutes while the partition is. */
    log_line(LOG_WARN, "storage", "rollups of partition %llu will not outlive it: %s",
             (unsigned long long)partition_id, err_text(e));
    return ERR_OK;
}

/* ---- Verifying ------------------------------------------------------------------------------- */

static bool only_spans(void *context, struct bytes key, struct bytes *out_key)
{
    (void)context;
    *out_key = BYTES_LITERAL("spans");
    return key.len > 0 && key.data[0] == KEY_RED;
}

/* The spans that a stored tally counts. */
static enum err spans_count(struct bytes stored, uint64_t *out)
{
    const struct tally_filter filter = { .map = only_spans, .end_unix_ns = UINT64_MAX };
    struct arena arena;
    struct tally t;
    arena_init(&arena, MERGE_MEMORY_MAX, NULL);
    tally_init(&t, &arena, 0);
    enum err e = tally_add_stored(&t, stored, &filter);
    *out = e == ERR_OK && t.points_count > 0 ? tally_point(&t, 0)->calls : 0;
    tally_deinit(&t);
    arena_deinit(&arena);
    return e;
}

static enum err row_verify(sqlite3_stmt *s, derived_complain_fn *complain, void *context,
                           uint64_t *out_spans)
{
    uint64_t spans = 0, same = 0;
    int64_t id = sqlite3_column_int64(s, 3);
    enum err e = spans_count(db_column_bytes(s, 0), &spans);
    for (int column = 1; e == ERR_OK && column < 3; column++) {
        struct bytes coarser = db_column_bytes(s, column);
        if (coarser.len == 0)
            continue;
        e = spans_count(coarser, &same);
        if (e == ERR_OK && same != spans)
            complain(context, id, "its hours or days differ from its minutes");
    }
    if (e == ERR_CORRUPT)
        complain(context, id, "a hash differs, or its form is wrong");
    else if (e == ERR_OK)
        *out_spans += spans;
    return e == ERR_CORRUPT ? ERR_OK : e;
}

static enum err halves_verify(struct db *db, derived_complain_fn *complain, void *context)
{
    struct half_table table;
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    enum err e = half_table_init(&table, HALVES_MAX);
    if (e != ERR_OK)
        return e;
    e = db_prepare(db, "SELECT data, built_unix_ns, id FROM half ORDER BY max(id, -id), id DESC",
                   &s);
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        e = half_table_replay(&table, db_column_bytes(s, 0), db_column_u64(s, 1), 0);
        if (e == ERR_CORRUPT) {
            complain(context, sqlite3_column_int64(s, 2), "its halves are damaged");
            e = ERR_OK;
        }
    }
    (void)sqlite3_finalize(s);
    half_table_deinit(&table);
    return e;
}

enum err derived_verify(struct db *db, derived_complain_fn *complain, void *context,
                        uint64_t *out_spans)
{
    sqlite3_stmt *s = NULL;
    bool is_row = true;
    uint64_t spans = 0;
    enum err e = db_prepare(db, "SELECT minutes, hours, days, id FROM derived ORDER BY id", &s);
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        e = row_verify(s, complain, context, &spans);
    }
    (void)sqlite3_finalize(s);
    if (e == ERR_OK)
        e = halves_verify(db, complain, context);
    if (e == ERR_OK)
        *out_spans = spans;
    return e;
}

/* A row of `rollup` whose days are in a row of `rollup_merged` is counted there again. */
struct catalog_counts {
    uint64_t moved, merged; /* spans: of such rows, and of what they were merged into */
};

static enum err rollup_verify(sqlite3_stmt *s, derived_complain_fn *complain, void *context,
                              struct catalog_counts *counts)
{
    uint64_t spans = 0, same = 0;
    int64_t id = sqlite3_column_int64(s, 2);
    struct bytes days = db_column_bytes(s, 1);
    enum err e = spans_count(db_column_bytes(s, 0), &spans);
    if (e == ERR_OK && days.len == 0)
        counts->moved += spans;
    else if (e == ERR_OK)
        e = spans_count(days, &same);
    if (e == ERR_CORRUPT)
        complain(context, id, "of this partition, in the catalogue: a hash differs, or the form");
    else if (e == ERR_OK && days.len > 0 && same != spans)
        complain(context, id, "of this partition, in the catalogue: days differ from hours");
    return e == ERR_CORRUPT ? ERR_OK : e;
}

static enum err merged_verify(sqlite3_stmt *s, derived_complain_fn *complain, void *context,
                              struct catalog_counts *counts)
{
    uint64_t spans = 0;
    enum err e = spans_count(db_column_bytes(s, 0), &spans);
    counts->merged += spans;
    if (e == ERR_CORRUPT)
        complain(context, sqlite3_column_int64(s, 2), "merged: a hash differs, or the form");
    return e == ERR_CORRUPT ? ERR_OK : e;
}

enum err derived_catalog_verify(struct db *catalog, derived_complain_fn *complain, void *context)
{
    static const char *const sql[] = { "SELECT hours, days, partition FROM rollup",
                                       "SELECT days, days, id FROM rollup_merged" };
    struct catalog_counts counts = { 0 };
    enum err e = ERR_OK;
    for (unsigned i = 0; e == ERR_OK && i < 2; i++) {
        sqlite3_stmt *s = NULL;
        bool is_row = true;
        e = db_prepare(catalog, sql[i], &s);
        while (e == ERR_OK) {
            e = db_step(catalog, s, &is_row);
            if (e != ERR_OK || !is_row)
                break;
            e = i == 0 ? rollup_verify(s, complain, context, &counts)
                       : merged_verify(s, complain, context, &counts);
        }
        (void)sqlite3_finalize(s);
    }
    /* Hours leave before the days that they were merged with. */
    if (e == ERR_OK && counts.merged < counts.moved)
        complain(context, 0, "merged days count fewer spans than the hours of their partitions");
    return e;
}
