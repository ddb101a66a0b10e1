/* SPDX-License-Identifier: Apache-2.0 */
/* derived_collect.c - what is in rows, and what is pending, under one snapshot. */
#include "storage/sqlite/derived_collect.h"

#include "storage/derive/derive_key.h"
#include "storage/derive/varint.h"

/* A merge between taking the snapshot and reading takes rows away. There is one every few minutes; with a row group each
 * millisecond on a busy machine, tests lost eight races in a row. */
#define TRIES_MAX 64

/* ---- A window of time ------------------------------------------------------------------------ */

static uint64_t floor_to(uint64_t t, uint64_t step)
{
    return t - t % step;
}

static uint64_t ceil_to(uint64_t t, uint64_t step)
{
    uint64_t rest = t % step;
    if (rest == 0)
        return t;
    return t > UINT64_MAX - step ? UINT64_MAX - UINT64_MAX % step : t + (step - rest);
}

/* The part of [min, end) in whole steps; empty at `end` when there is none. */
static void whole_steps(uint64_t min, uint64_t end, uint64_t step, uint64_t *out_min,
                        uint64_t *out_end)
{
    uint64_t from = ceil_to(min, step), to = floor_to(end, step);
    *out_min = from < to ? from : end;
    *out_end = from < to ? to : end;
}

static struct derived_window window_of(const struct derived_range *r)
{
    uint64_t step = r->step_ns == 0 ? TALLY_MINUTE_NS : r->step_ns;
    struct derived_window w = { .min = floor_to(r->min_unix_ns, step),
                                .end = ceil_to(r->max_unix_ns, step) };
    if (w.end < w.min)
        w.end = w.min;
    bool takes_hours = r->step_ns % TALLY_HOUR_NS == 0, takes_days = r->step_ns % TALLY_DAY_NS == 0;
    w.hours_min = w.hours_end = w.days_min = w.days_end = w.end;
    if (takes_hours)
        whole_steps(w.min, w.end, TALLY_HOUR_NS, &w.hours_min, &w.hours_end);
    if (takes_days)
        whole_steps(w.hours_min, w.hours_end, TALLY_DAY_NS, &w.days_min, &w.days_end);
    return w;
}

/* ---- Summing up ------------------------------------------------------------------------------ */

static struct pending_edges_query edges_query(const struct collect *c)
{
    return (struct pending_edges_query){ .range = &c->snapshot.pending,
                                         .aside = &c->snapshot.aside,
                                         .generation = c->generation,
                                         .halves = c->has_halves ? &c->halves : NULL,
                                         .patience_ns = c->patience_ns };
}

/* The table of halves is copied only where nobody has it yet. */
static bool needs_halves(const struct collect *c)
{
    const struct pending_edges_query query = edges_query(c);
    return c->is_kept_no_more || !pending_edges_are_kept(&c->engine->pending_edges, &query);
}

static enum err snapshot_take(struct collect *c)
{
    struct sqlite_engine *e = c->engine;
    const struct derived *d = &e->derived;
    enum err error = ERR_OK;
    size_t count = 0;
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    struct derived_row *rows = arena_alloc_array(&c->scratch, d->rows_count + 1, sizeof *rows);
    if (rows == NULL) {
        error = arena_failure(&c->scratch);
    } else {
        /* The last point of a row with days lasts for one. */
        uint64_t min = c->window.min > TALLY_DAY_NS - 1 ? c->window.min - (TALLY_DAY_NS - 1) : 0;
        uint64_t gone_end =
            ceil_to(c->window.end, TALLY_HOUR_NS); /* of these an hour is the least */
        c->generation = d->generation;
        for (size_t i = 0; i < d->rows_count; i++)
            if (d->rows[i].span.max_unix_ns >= min &&
                d->rows[i].span.min_unix_ns <
                    (d->rows[i].partition == NULL ? gone_end : c->window.end))
                rows[count++] = d->rows[i];
        view_snapshot(&e->view, SIGNAL_TRACES, &c->snapshot);
        c->has_halves = c->wants_edges && needs_halves(c);
        if (c->has_halves)
            error = half_table_copy(&d->halves, &c->scratch, &c->halves);
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    if (error == ERR_OK) {
        c->rows = rows;
        c->rows_count = count;
    } else if (rows != NULL) {
        snapshot_release(&c->snapshot);
    }
    return error;
}

/* A tally_map_fn. */
static bool key_map(void *context, struct bytes key, struct bytes *out_key)
{
    struct collect *c = context;
    if (key.len == 1 && key.data[0] == KEY_LOST) {
        c->has_lost = true;
        return false;
    }
    return c->map(c->map_context, key, out_key);
}

static enum err stored_add(struct collect *c, struct bytes stored, uint64_t min, uint64_t end,
                           uint64_t hole_min, uint64_t hole_end)
{
    if (min >= end || stored.len == 0)
        return ERR_OK;
    const struct tally_filter filter = { .map = key_map,
                                         .context = c,
                                         .min_unix_ns = min,
                                         .end_unix_ns = end,
                                         .hole_unix_ns = hole_min,
                                         .hole_end_unix_ns = hole_end,
                                         .skips_durations = c->skips_durations };
    return tally_add_stored(c->into, stored, &filter);
}

/* A row's columns: minutes, hours, days; empty where it has none. */
static enum err row_add(struct collect *c, sqlite3_stmt *s)
{
    const struct derived_window *w = &c->window;
    struct bytes hours = db_column_bytes(s, 1), days = db_column_bytes(s, 2);
    bool has_days = days.len > 0, has_hours = hours.len > 0;
    /* What a finer column leaves to the coarser one. */
    uint64_t hours_min = has_hours ? w->hours_min : w->end,
             hours_end = has_hours ? w->hours_end : w->end;
    uint64_t days_min = has_days ? w->days_min : w->end, days_end = has_days ? w->days_end : w->end;
    enum err e = ERR_OK;
    uint64_t hole_min = has_hours ? hours_min : days_min;
    uint64_t hole_end = has_hours ? hours_end : days_end;
    if (w->min < hole_min || hole_end < w->end) /* not even read where these cover all */
        e = stored_add(c, db_column_bytes(s, 0), w->min, w->end, hole_min, hole_end);
    if (e == ERR_OK)
        e = stored_add(c, hours, hours_min, hours_end, days_min, days_end);
    if (e == ERR_OK)
        e = stored_add(c, days, days_min, days_end, 0, 0);
    return e;
}

enum catalog_column { ROLLUP_HOURS, ROLLUP_DAYS, MERGED_DAYS, CATALOG_COLUMNS };

struct row_reader {
    struct reader_set readers;
    struct partition *open; /* that `by_id` reads */
    int64_t at;             /* the row that it stands on; 0: none */
    sqlite3_stmt *by_id, *catalog[CATALOG_COLUMNS];
};

static void reader_close(struct row_reader *r)
{
    (void)sqlite3_finalize(r->by_id);
    for (size_t i = 0; i < CATALOG_COLUMNS; i++)
        (void)sqlite3_finalize(r->catalog[i]);
    reader_set_deinit(&r->readers);
}

/* A row is read once for two pieces that follow each other. */
static enum err file_row_add(struct collect *c, struct row_reader *r, const struct derived_row *row)
{
    struct db *db = NULL;
    bool is_row = false;
    if (r->open == row->partition && r->at == row->id)
        return row_add(c, r->by_id);
    r->at = 0;
    enum err e = reader_set_take(&r->readers, &row->partition->readers, &db);
    if (e == ERR_OK && r->open != row->partition) {
        (void)sqlite3_finalize(r->by_id);
        r->by_id = NULL;
        r->open = NULL;
        e = db_prepare(db, "SELECT minutes, hours, days FROM derived WHERE id = ?1", &r->by_id);
        r->open = e == ERR_OK ? row->partition : NULL;
    }
    if (e != ERR_OK)
        return e;
    (void)sqlite3_reset(r->by_id);
    (void)sqlite3_bind_int64(r->by_id, 1, row->id);
    e = db_step(db, r->by_id, &is_row);
    if (e == ERR_OK)
        e = is_row ? row_add(c, r->by_id) : ERR_NOT_FOUND;
    r->at = e == ERR_OK ? row->id : 0;
    return e;
}

/* Whether a row has points in [from, to); ends are whole steps of the row's points, which its span need not be. */
static bool meets(const struct derived_row *row, uint64_t from, uint64_t to)
{
    return from < to && row->span.min_unix_ns < to && row->span.max_unix_ns >= from;
}

/* Add one column of one row of the catalogue. */
static enum err catalog_column_add(struct collect *c, struct row_reader *r,
                                   enum catalog_column column, int64_t id, uint64_t min,
                                   uint64_t end, uint64_t hole_min, uint64_t hole_end,
                                   bool *out_found)
{
    static const char *const sql[CATALOG_COLUMNS] = {
        [ROLLUP_HOURS] = "SELECT hours FROM rollup WHERE tenant = 0 AND partition = ?1",
        [ROLLUP_DAYS] = "SELECT days FROM rollup WHERE tenant = 0 AND partition = ?1",
        [MERGED_DAYS] = "SELECT days FROM rollup_merged WHERE id = ?1",
    };
    struct db *db = NULL;
    enum err e = reader_set_take(&r->readers, &c->engine->derived.catalog_readers, &db);
    if (e == ERR_OK && r->catalog[column] == NULL)
        e = db_prepare(db, sql[column], &r->catalog[column]);
    if (e != ERR_OK)
        return e;
    sqlite3_stmt *s = r->catalog[column];
    (void)sqlite3_bind_int64(s, 1, id);
    e = db_step(db, s, out_found);
    if (e == ERR_OK && *out_found) {
        struct bytes stored = db_column_bytes(s, 0);
        /* Merged since the snapshot was taken. */
        e = stored.len == 0 ? ERR_NOT_FOUND : stored_add(c, stored, min, end, hole_min, hole_end);
    }
    (void)sqlite3_reset(s);
    return e;
}

/* Hours from `hours_min` to `hours_end`, and days within them, of a partition's row. *out_found: false where there
 * is none. */
static enum err rollup_add(struct collect *c, struct row_reader *r, const struct derived_row *row,
                           uint64_t hours_min, uint64_t hours_end, bool *out_found)
{
    const struct derived_window *w = &c->window;
    bool has_days = w->days_min < w->days_end;
    uint64_t days_min = has_days ? w->days_min : hours_end;
    uint64_t days_end = has_days ? w->days_end : hours_end;
    enum err e = ERR_OK;
    *out_found = true;
    if (row->days != DERIVED_DAYS_MERGED && meets(row, days_min, days_end))
        e = catalog_column_add(c, r, ROLLUP_DAYS, row->id, days_min, days_end, 0, 0, out_found);
    if (e == ERR_OK && *out_found &&
        (meets(row, hours_min, days_min) || meets(row, days_end, hours_end)))
        e = catalog_column_add(c, r, ROLLUP_HOURS, row->id, hours_min, hours_end, days_min,
                               days_end, out_found);
    return e;
}

/* A partition that is gone, in hours, which are the finest there is: the window is widened to them. One in which pieces of it
 * meet is of the first of these. Without a row it is older than the catalogue keeps them. */
static enum err gone_row_add(struct collect *c, struct row_reader *r, const struct derived_row *row)
{
    bool is_found = false;
    uint64_t min = c->window.min;
    return rollup_add(
        c, r, row, c->is_first_piece ? floor_to(min, TALLY_HOUR_NS) : ceil_to(min, TALLY_HOUR_NS),
        ceil_to(c->window.end, TALLY_HOUR_NS), &is_found);
}

/* The days of many partitions, which are sealed or gone. */
static enum err merged_row_add(struct collect *c, struct row_reader *r,
                               const struct derived_row *row)
{
    const struct derived_window *w = &c->window;
    bool is_found = true;
    enum err e = ERR_OK;
    if (meets(row, w->days_min, w->days_end))
        e = catalog_column_add(c, r, MERGED_DAYS, row->id, w->days_min, w->days_end, 0, 0,
                               &is_found);
    return e == ERR_OK && !is_found ? ERR_NOT_FOUND : e;
}

static void bind_time(sqlite3_stmt *s, int parameter, uint64_t unix_ns)
{
    db_bind_u64(s, parameter, unix_ns < INT64_MAX ? unix_ns : INT64_MAX);
}

/* The minutes of all rows of a partition, but those in [hole_min, hole_end). ERR_CORRUPT: of all that can be read. */
static enum err minutes_add(struct collect *c, struct row_reader *r, struct partition *p,
                            uint64_t hole_min, uint64_t hole_end)
{
    const struct derived_window *w = &c->window;
    struct db *db = NULL;
    sqlite3_stmt *s = NULL;
    bool is_row = true, is_damaged = false;
    enum err e = reader_set_take(&r->readers, &p->readers, &db);
    if (e == ERR_OK)
        e = db_prepare(
            db,
            "SELECT minutes FROM derived"
            /* As signed numbers, times from 2^63 on are negative: later than any other. */
            " WHERE ((start_max_unix_ns >= ?1 OR start_max_unix_ns < 0)"
            " AND start_min_unix_ns < ?2)"
            " OR ((start_max_unix_ns >= ?3 OR start_max_unix_ns < 0)"
            " AND start_min_unix_ns < ?4)",
            &s);
    if (e == ERR_OK) {
        bind_time(s, 1, w->min);
        bind_time(s, 2, hole_min);
        bind_time(s, 3, hole_end);
        bind_time(s, 4, w->end);
    }
    while (e == ERR_OK) {
        e = db_step(db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        e = stored_add(c, db_column_bytes(s, 0), w->min, w->end, hole_min, hole_end);
        is_damaged |= e == ERR_CORRUPT;
        e = e == ERR_CORRUPT ? ERR_OK : e;
    }
    (void)sqlite3_finalize(s);
    if (db != NULL)
        reader_set_leave(&r->readers, db);
    return e == ERR_OK && is_damaged ? ERR_CORRUPT : e;
}

/* A partition that changes no more: whole hours from the catalogue, at once; the rest from its file. */
static enum err sealed_row_add(struct collect *c, struct row_reader *r,
                               const struct derived_row *row)
{
    const struct derived_window *w = &c->window;
    uint64_t hole_min = w->end, hole_end = w->end;
    bool is_found = false;
    enum err e = ERR_OK;
    if (w->hours_min < w->hours_end)
        e = rollup_add(c, r, row, w->hours_min, w->hours_end, &is_found);
    if (is_found) {
        hole_min = w->hours_min;
        hole_end = w->hours_end;
    }
    if (e == ERR_OK && (meets(row, w->min, hole_min) || meets(row, hole_end, w->end)))
        e = minutes_add(c, r, row->partition, hole_min, hole_end);
    return e;
}

static enum err rows_add(struct collect *c, struct derived_row *const *rows, size_t count)
{
    struct row_reader *r = c->reader;
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        const struct derived_row *row = rows[i];
        e = query_check(c->q);
        c->has_lost = false;
        if (e == ERR_OK && row->partition == NULL)
            e = row->level == 0 ? gone_row_add(c, r, row) : merged_row_add(c, r, row);
        else if (e == ERR_OK)
            e = row->level == DERIVED_LEVEL_SEALED ? sealed_row_add(c, r, row)
                                                   : file_row_add(c, r, row);
        if (e == ERR_CORRUPT || (e == ERR_OK && c->has_lost)) {
            derived_row_damaged(c->engine, row);
            c->is_damaged = true;
            e = ERR_OK; /* hashes are looked at first: of a damaged column, nothing was counted */
        }
    }
    return e;
}

/* ---- Pieces of which the sum is kept --------------------------------------------------------- */

#define SEALED_BYTES ((uint64_t)16 << 10) /* of one of the catalogue, of which it is not known */

static bool is_met(const struct derived_row *row, const struct derived_window *w)
{
    if (row->partition == NULL && row->level > 0)
        return meets(row, w->days_min, w->days_end);
    if (row->partition == NULL ||
        row->level == DERIVED_LEVEL_SEALED) /* it may begin its last hour */
        return meets(row, w->min > TALLY_HOUR_NS ? w->min - TALLY_HOUR_NS : 0,
                     ceil_to(w->end, TALLY_HOUR_NS));
    return meets(row, w->min, w->end);
}

static uint64_t weight_of(const struct derived_row *row)
{
    bool is_known = row->partition != NULL && row->level != DERIVED_LEVEL_SEALED;
    return is_known || row->bytes > SEALED_BYTES ? row->bytes : SEALED_BYTES;
}

/* Rows of which a sum has nothing, in two parts: what merging has made, up to a generation, and what it takes next. */
struct piece {
    struct derived_row **rows; /* [count]: those that are merged first */
    size_t count, merged_count;
    uint64_t merged_generation, merged_bytes, other_bytes;
    struct derived_sum *sum; /* or NULL */
};

static enum err piece_find(struct collect *c, struct bytes key, struct piece *p)
{
    struct arena *arena = &c->scratch;
    size_t met = 0, kept = 0;
    struct derived_row **rows = arena_alloc_array(arena, c->rows_count + 1, sizeof *rows);
    struct derived_split *splits = arena_alloc_array(arena, c->rows_count + 1, sizeof *splits);
    if (rows == NULL || splits == NULL)
        return arena_failure(arena);
    *p = (struct piece){ .rows = arena_alloc_array(arena, c->rows_count + 1, sizeof *p->rows),
                         .merged_generation = c->generation };
    if (p->rows == NULL)
        return arena_failure(arena);
    for (size_t i = 0; i < c->rows_count; i++) {
        struct derived_row *row = &c->rows[i];
        if (!is_met(row, &c->window))
            continue;
        rows[met] = row;
        splits[met++] = (struct derived_split){ row->first_generation, row->last_generation };
        if (row->partition != NULL && row->level == 0 && row->first_generation > 0 &&
            row->first_generation <= p->merged_generation)
            p->merged_generation = row->first_generation - 1;
    }
    if (key.len > 0)
        p->sum = derived_sums_take(&c->engine->derived.sums, key, c->epoch, c->generation, splits,
                                   met, clock_mono_ns());
    for (size_t i = 0; i < met; i++)
        if (p->sum == NULL || rows[i]->last_generation > p->sum->generation)
            rows[kept++] = rows[i];
    for (unsigned part = 0; part < 2; part++)
        for (size_t i = 0; i < kept; i++) {
            bool is_merged = rows[i]->last_generation <= p->merged_generation;
            if (is_merged == (part == 1))
                continue;
            p->rows[p->count++] = rows[i];
            p->merged_count += is_merged;
            *(is_merged ? &p->merged_bytes : &p->other_bytes) += weight_of(rows[i]);
        }
    return ERR_OK;
}

static enum err services_put(struct intern *noted, struct buffer *out)
{
    for (uint32_t i = 0; noted != NULL && i < noted->count; i++)
        varint_put_bytes(out, intern_get(noted, i));
    return buffer_error(out);
}

static enum err services_take(struct intern *noted, struct bytes from)
{
    struct bytes node;
    uint32_t unused;
    enum err e = ERR_OK;
    while (noted != NULL && e == ERR_OK && varint_take_bytes(&from, &node))
        e = intern_put(noted, node, &unused);
    return e;
}

/* Keep what c->into has, if that is all; *encoded is that. */
static enum err sum_keep(struct collect *c, struct bytes key, uint64_t generation, bool is_merged,
                         struct buffer *encoded)
{
    struct buffer services;
    buffer_init(&services, encoded->limit_bytes);
    buffer_reset(encoded);
    enum err e = tally_pack(c->into, encoded);
    if (e == ERR_OK)
        e = services_put(c->noted, &services);
    if (e == ERR_OK && !c->is_damaged) {
        const struct derived_sum like = { .key = key,
                                          .tally = buffer_bytes(encoded),
                                          .services = buffer_bytes(&services),
                                          .generation = generation,
                                          .is_merged = is_merged };
        derived_sums_put(&c->engine->derived.sums, &like, c->epoch, clock_mono_ns());
    }
    buffer_deinit(&services);
    return e;
}

static enum err sum_add(struct collect *c, const struct derived_sum *sum)
{
    if (sum == NULL)
        return ERR_OK;
    enum err e = services_take(c->noted, sum->services);
    return e == ERR_OK ? tally_add_packed(c->into, sum->tally) : e;
}

/* Much is new: sum it up apart, keep that, and add it. What merging has made is kept by itself, as the next merge
 * puts what is in the other rows into one with what is to come. */
static enum err piece_renew(struct collect *c, struct bytes key, const struct piece *p)
{
    struct arena arena;
    struct tally apart;
    struct buffer encoded;
    uint64_t worth = c->engine->derived.sums_worth_bytes;
    bool keeps_others = p->other_bytes >= worth;
    arena_init(&arena, c->q->arena->limit_bytes, c->q->arena->budget);
    tally_init(&apart, &arena, c->range.step_ns);
    buffer_init(&encoded, c->q->arena->limit_bytes);
    c->into = &apart;
    enum err e = sum_add(c, p->sum);
    if (e == ERR_OK)
        e = rows_add(c, p->rows, p->merged_count);
    if (e == ERR_OK && (p->merged_bytes >= worth || !keeps_others))
        e = sum_keep(c, key, p->merged_generation, true, &encoded);
    if (e == ERR_OK && keeps_others)
        e = rows_add(c, p->rows + p->merged_count, p->count - p->merged_count);
    if (e == ERR_OK && keeps_others)
        e = sum_keep(c, key, c->generation, false, &encoded);
    c->into = &c->tally;
    tally_deinit(&apart);
    arena_deinit(&arena);
    if (e == ERR_OK)
        e = tally_add_packed(c->into, buffer_bytes(&encoded));
    buffer_deinit(&encoded);
    if (e == ERR_OK && !keeps_others)
        e = rows_add(c, p->rows + p->merged_count, p->count - p->merged_count);
    return e;
}

static enum err services_tell(struct collect *c)
{
    enum err e = ERR_OK;
    for (uint32_t i = 0; c->noted != NULL && e == ERR_OK && i < c->noted->count; i++)
        e = c->on_service(c->map_context, intern_get(c->noted, i));
    if (c->noted != NULL)
        intern_reset(c->noted);
    return e;
}

static enum err piece_add(struct collect *c, uint64_t min, uint64_t end, bool is_kept)
{
    struct piece p = { 0 };
    struct buffer key;
    /* Whether it is the first matters where that takes an hour of which it has a part. */
    uint64_t asked[] = { c->range.step_ns, c->skips_durations, min, end,
                         c->is_first_piece && min % TALLY_HOUR_NS != 0 };
    const struct derived_range range = { min, end, c->range.step_ns };
    buffer_init(&key, (size_t)1 << 20);
    c->window = window_of(&range);
    if (is_kept) {
        buffer_append(&key, asked, sizeof asked);
        buffer_append_bytes(&key, c->shape);
    }
    enum err e = buffer_error(&key);
    if (e == ERR_OK)
        e = piece_find(c, buffer_bytes(&key), &p);
    if (e == ERR_OK && is_kept &&
        p.merged_bytes + p.other_bytes >= c->engine->derived.sums_worth_bytes) {
        e = piece_renew(c, buffer_bytes(&key), &p);
    } else if (e == ERR_OK) {
        e = sum_add(c, p.sum);
        if (e == ERR_OK)
            e = rows_add(c, p.rows, p.count);
    }
    derived_sums_give(&c->engine->derived.sums, p.sum);
    buffer_deinit(&key);
    return e == ERR_OK ? services_tell(c) : e;
}

/* Pieces begin and end with days, hours and parts of an hour, the longest inside: so all but the shortest ones are asked for
 * again and again while time goes on. The last of each is apart, as it may not be over. */
#define CUT_LEVELS         3u
#define PART_OF_AN_HOUR_NS (10 * TALLY_MINUTE_NS)

/* In order, from the window's beginning to its end; returns how many. A last day that is over stays whole: of old ones there
 * may be nothing finer. */
static size_t cuts_of(uint64_t min, uint64_t end, uint64_t step, uint64_t cuts[2 * CUT_LEVELS + 2])
{
    bool ends_with_day = end % TALLY_DAY_NS == 0 && end <= clock_unix_ns();
    uint64_t part = step > PART_OF_AN_HOUR_NS ? step : PART_OF_AN_HOUR_NS;
    const uint64_t units[CUT_LEVELS] = { part, TALLY_HOUR_NS,
                                         step > TALLY_DAY_NS ? step : TALLY_DAY_NS };
    uint64_t ends[CUT_LEVELS];
    size_t count = 0, levels = 0;
    cuts[count++] = min;
    for (size_t i = 0; i < CUT_LEVELS; i++) {
        uint64_t unit = units[i], from = ceil_to(min, unit), to = floor_to(end - 1, unit);
        bool divides = i + 1 == CUT_LEVELS || units[i + 1] % unit == 0;
        if (ends_with_day && i + 1 < CUT_LEVELS)
            to = end;
        if (!divides || (step != 0 && unit % step != 0) || from > to)
            continue;
        cuts[count++] = from;
        ends[levels++] = to;
    }
    while (levels > 0)
        cuts[count++] = ends[--levels];
    cuts[count++] = end;
    return count;
}

/* What is little is not worth cutting. */
static bool is_much(const struct collect *c)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < c->rows_count; i++)
        bytes += is_met(&c->rows[i], &c->window) ? weight_of(&c->rows[i]) : 0;
    return bytes >= c->engine->derived.sums_worth_bytes;
}

static enum err pieces_add(struct collect *c)
{
    struct derived_window all = c->window;
    struct row_reader reader = { .open = NULL };
    uint64_t cuts[2 * CUT_LEVELS + 2] = { all.min, all.end };
    size_t count = 2;
    bool is_kept = is_much(c);
    enum err e = ERR_OK;
    if (is_kept && all.min < all.end)
        count = cuts_of(all.min, all.end, c->range.step_ns, cuts);
    c->reader = &reader;
    c->is_first_piece = true;
    for (size_t i = 0; e == ERR_OK && i + 1 < count; i++) {
        if (cuts[i] >= cuts[i + 1])
            continue;
        e = piece_add(c, cuts[i], cuts[i + 1], is_kept);
        c->is_first_piece = false;
    }
    reader_close(&reader);
    c->reader = NULL;
    c->window = all;
    return e;
}

/* ---- What is pending ------------------------------------------------------------------------- */

/* Bodies that wait for their row group are counted as it will count them, by minutes, and stored in a
 * moment's buffer: so that what maps and sums up stored keys does it here too. */
static enum err counts_add(void *context, struct bytes stored)
{
    struct collect *c = context;
    return stored_add(c, stored, c->window.min, c->window.end, 0, 0);
}

/* Pending bodies are paired once for all questions, or, while another pairs and where it does not fit, for this one. */
static enum err edges_add(struct collect *c)
{
    struct sqlite_engine *engine = c->engine;
    const struct pending_edges_query query = edges_query(c);
    enum err e = pending_edges_read(&engine->pending_edges, &query, c->q, counts_add, c);
    c->is_kept_no_more = e == ERR_NOT_FOUND;
    if (e != ERR_BUSY)
        return e;
    struct pending_edges own;
    pending_edges_init(&own, &engine->derived.totals, c->q->arena->limit_bytes,
                       c->q->arena->budget);
    e = pending_edges_read(&own, &query, c->q, counts_add, c);
    if (e == ERR_BUSY)
        e = own.refused_error;
    pending_edges_deinit(&own);
    return e;
}

static enum err bodies_add(struct intake *intake, const struct pending_range *range,
                           const struct query_context *q)
{
    const struct pending *entry = range->first;
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < range->count; i++, entry = entry->next) {
        e = query_check(q);
        if (e == ERR_OK)
            intake_add_body(intake, entry->body);
    }
    return e == ERR_OK ? intake_error(intake) : e;
}

/* The same of series, but that bodies which were set aside, never many, are counted for each question. */
static enum err series_add(struct collect *c)
{
    enum err shared =
        pending_counts_read(&c->engine->pending_counts, &c->snapshot.pending, c->q, counts_add, c);
    if (shared != ERR_BUSY && (shared != ERR_OK || c->snapshot.aside.count == 0))
        return shared;
    struct intake intake;
    struct buffer stored;
    struct tally_span span;
    struct totals_reader reader = { .totals = &c->engine->derived.totals };
    buffer_init(&reader.name, 4096);
    intake_init(&intake, c->q->arena->limit_bytes);
    intake.arena.budget = c->q->arena->budget;
    intake.skips_edges = true;
    totals_show(&reader, &intake);
    buffer_init_charged(&stored, c->q->arena->limit_bytes, c->q->arena->budget);
    enum err e = bodies_add(&intake, &c->snapshot.aside, c->q);
    if (e == ERR_OK && shared == ERR_BUSY)
        e = bodies_add(&intake, &c->snapshot.pending, c->q);
    if (e == ERR_OK && intake.tally.points_count > 0)
        e = tally_encode(&intake.tally, &stored, &span);
    if (e == ERR_OK && intake.tally.points_count > 0)
        e = counts_add(c, buffer_bytes(&stored));
    buffer_deinit(&stored);
    buffer_deinit(&reader.name);
    intake_deinit(&intake);
    return e;
}

static enum err collect_once(struct collect *c)
{
    tally_init(&c->tally, &c->scratch, c->range.step_ns);
    c->tally.windows = c->q->arena;
    c->into = &c->tally;
    c->window = window_of(&c->range);
    c->is_damaged = c->engine->derived.has_unlisted;
    if (c->noted != NULL)
        intern_reset(c->noted);
    c->epoch = derived_sums_epoch(&c->engine->derived.sums);
    enum err e = snapshot_take(c);
    if (e != ERR_OK)
        return e;
    e = pieces_add(c);
    if (e == ERR_OK)
        e = c->wants_edges ? edges_add(c) : series_add(c);
    if (e == ERR_OK)
        e = services_tell(c);
    snapshot_release(&c->snapshot);
    return e;
}

enum err collect_run(struct collect *c)
{
    enum err e = ERR_NOT_FOUND;
    arena_init(&c->scratch, c->q->arena->limit_bytes, c->q->arena->budget);
    for (unsigned i = 0; i < TRIES_MAX && e == ERR_NOT_FOUND; i++) {
        tally_deinit(&c->tally);
        arena_reset(&c->scratch);
        e = collect_once(c);
    }
    return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

void collect_deinit(struct collect *c)
{
    tally_deinit(&c->tally);
    arena_deinit(&c->scratch);
}
