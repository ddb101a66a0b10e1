/* SPDX-License-Identifier: Apache-2.0 */
/* derived_query.c - answers from rollups: what is in rows, and what is pending, under one snapshot. */
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>

/* A merge between taking the snapshot and reading takes rows away; there is one every few minutes. */
#define TRIES_MAX 8

/* ---- A window of time ------------------------------------------------------------------------ */

/* Minutes at the edges, hours inside them, days inside those: each moment is in one of them. */
struct window {
    uint64_t min, end;             /* whole minutes */
    uint64_t hours_min, hours_end; /* equal: none */
    uint64_t days_min, days_end;
};

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

static struct window window_of(const struct derived_range *r)
{
    uint64_t step = r->step_ns == 0 ? TALLY_MINUTE_NS : r->step_ns;
    struct window w = { .min = floor_to(r->min_unix_ns, step),
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

struct collect {
    struct sqlite_engine *engine;
    const struct query_context *q;
    struct window window;
    uint64_t step_ns;
    bool skips_durations;
    tally_map_fn *map; /* from stored keys to those of the answer */
    void *map_context;
    bool wants_edges;
    uint64_t patience_ns; /* of edges: how long a half is waited for */
    struct tally tally;   /* in the query's arena */
    struct snapshot snapshot;
    struct half_table halves; /* a copy, where edges are wanted */
    struct derived_row *rows; /* in the query's arena */
    size_t rows_count;
};

static enum err snapshot_take(struct collect *c)
{
    struct sqlite_engine *e = c->engine;
    const struct derived *d = &e->derived;
    enum err error = ERR_OK;
    size_t count = 0;
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    struct derived_row *rows = arena_alloc_array(c->q->arena, d->rows_count + 1, sizeof *rows);
    if (rows == NULL) {
        error = arena_failure(c->q->arena);
    } else {
        /* The last point of a row with days lasts for one. */
        uint64_t min = c->window.min > TALLY_DAY_NS - 1 ? c->window.min - (TALLY_DAY_NS - 1) : 0;
        for (size_t i = 0; i < d->rows_count; i++)
            if (d->rows[i].span.max_unix_ns >= min && d->rows[i].span.min_unix_ns < c->window.end)
                rows[count++] = d->rows[i];
        if (c->wants_edges)
            error = half_table_copy(&d->halves, c->q->arena, &c->halves);
        if (error == ERR_OK)
            view_snapshot(&e->view, SIGNAL_TRACES, &c->snapshot);
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    if (error == ERR_OK) {
        c->rows = rows;
        c->rows_count = count;
    }
    return error;
}

static enum err stored_add(struct collect *c, struct bytes stored, uint64_t min, uint64_t end,
                           uint64_t hole_min, uint64_t hole_end)
{
    if (min >= end || stored.len == 0)
        return ERR_OK;
    const struct tally_filter filter = { .map = c->map,
                                         .context = c->map_context,
                                         .min_unix_ns = min,
                                         .end_unix_ns = end,
                                         .hole_unix_ns = hole_min,
                                         .hole_end_unix_ns = hole_end,
                                         .skips_durations = c->skips_durations };
    return tally_add_stored(&c->tally, stored, &filter);
}

/* A row's columns: minutes, hours, days; empty where it has none. */
static enum err row_add(struct collect *c, sqlite3_stmt *s)
{
    const struct window *w = &c->window;
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
    sqlite3_stmt *by_id, *catalog[CATALOG_COLUMNS];
};

static enum err file_row_add(struct collect *c, struct row_reader *r, const struct derived_row *row)
{
    struct db *db = NULL;
    bool is_row = false;
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
    (void)sqlite3_bind_int64(r->by_id, 1, row->id);
    e = db_step(db, r->by_id, &is_row);
    if (e == ERR_OK)
        e = is_row ? row_add(c, r->by_id) : ERR_NOT_FOUND;
    (void)sqlite3_reset(r->by_id);
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
    const struct window *w = &c->window;
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

/* A partition that is gone, in hours, which are the finest there is: the window is widened to them. Without a row
 * it is older than the catalogue keeps them. */
static enum err gone_row_add(struct collect *c, struct row_reader *r, const struct derived_row *row)
{
    bool is_found = false;
    return rollup_add(c, r, row, floor_to(c->window.min, TALLY_HOUR_NS),
                      ceil_to(c->window.end, TALLY_HOUR_NS), &is_found);
}

/* The days of many partitions, which are sealed or gone. */
static enum err merged_row_add(struct collect *c, struct row_reader *r,
                               const struct derived_row *row)
{
    const struct window *w = &c->window;
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

/* The minutes of all rows of a partition, but those in [hole_min, hole_end). */
static enum err minutes_add(struct collect *c, struct row_reader *r, struct partition *p,
                            uint64_t hole_min, uint64_t hole_end)
{
    const struct window *w = &c->window;
    struct db *db = NULL;
    sqlite3_stmt *s = NULL;
    bool is_row = true;
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
    }
    (void)sqlite3_finalize(s);
    if (db != NULL)
        reader_set_leave(&r->readers, db);
    return e;
}

/* A partition that changes no more: whole hours from the catalogue, at once; the rest from its file. */
static enum err sealed_row_add(struct collect *c, struct row_reader *r,
                               const struct derived_row *row)
{
    const struct window *w = &c->window;
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

static enum err rows_add(struct collect *c)
{
    struct row_reader r = { .open = NULL };
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < c->rows_count; i++) {
        const struct derived_row *row = &c->rows[i];
        e = query_check(c->q);
        if (e == ERR_OK && row->partition == NULL)
            e = row->level == 0 ? gone_row_add(c, &r, row) : merged_row_add(c, &r, row);
        else if (e == ERR_OK)
            e = row->level == DERIVED_LEVEL_SEALED ? sealed_row_add(c, &r, row)
                                                   : file_row_add(c, &r, row);
        if (e == ERR_CORRUPT) {
            metric_add(c->engine->metrics.damaged_rollups, 1);
            e = ERR_OK; /* its hash is looked at first: nothing of it was counted */
        }
    }
    (void)sqlite3_finalize(r.by_id);
    for (size_t i = 0; i < CATALOG_COLUMNS; i++)
        (void)sqlite3_finalize(r.catalog[i]);
    reader_set_deinit(&r.readers);
    return e;
}

/* Bodies that wait for their row group are counted as it will count them, by minutes, and stored in a
 * moment's buffer: so that what maps and sums up stored keys does it here too. */
static enum err edges_add(struct collect *c, struct intake *intake)
{
    struct pairing pairing;
    uint64_t now = clock_unix_ns();
    enum err e = pairing_run(intake, &c->halves, 0, &pairing);
    if (e == ERR_OK && now >= c->patience_ns)
        e = pairing_count_waiting(intake, &c->halves, &pairing, now - c->patience_ns);
    /* What is pending came seconds ago. */
    if (e == ERR_OK && c->patience_ns == 0)
        e = pairing_count_new(intake, &pairing);
    return e;
}

static enum err counts_add(void *context, struct bytes stored)
{
    struct collect *c = context;
    return stored_add(c, stored, c->window.min, c->window.end, 0, 0);
}

static enum err pending_add(struct collect *c)
{
    /* Without edges, pending bodies are counted once for all questions; those set aside, never many, for each. */
    enum err shared = c->wants_edges
                          ? ERR_BUSY
                          : pending_counts_read(&c->engine->pending_counts, &c->snapshot.pending,
                                                c->q, counts_add, c);
    if (shared != ERR_BUSY && (shared != ERR_OK || c->snapshot.aside.count == 0))
        return shared;
    struct intake intake;
    struct buffer stored;
    struct totals_reader reader = { .totals = &c->engine->derived.totals };
    buffer_init(&reader.name, 4096);
    intake_init(&intake, c->q->arena->limit_bytes);
    intake.skips_edges = !c->wants_edges;
    intake.admit = totals_show_series;
    intake.admit_service = totals_show_service;
    intake.admit_edge = totals_show_edge;
    intake.admit_context = &reader;
    buffer_init(&stored, c->q->arena->limit_bytes);
    enum err e = ERR_OK;
    const struct pending_range *ranges[] = { &c->snapshot.aside, &c->snapshot.pending };
    for (size_t r = 0; r < (shared == ERR_OK ? 1 : 2); r++) {
        const struct pending *entry = ranges[r]->first;
        for (size_t i = 0; e == ERR_OK && i < ranges[r]->count; i++, entry = entry->next) {
            e = query_check(c->q);
            if (e == ERR_OK)
                intake_add_body(&intake, entry->body);
        }
    }
    struct tally_span span;
    if (e == ERR_OK)
        e = intake_error(&intake);
    if (e == ERR_OK && c->wants_edges)
        e = edges_add(c, &intake);
    if (e == ERR_OK && intake.tally.points_count > 0)
        e = tally_encode(&intake.tally, &stored, &span);
    if (e == ERR_OK && intake.tally.points_count > 0)
        e = stored_add(c, buffer_bytes(&stored), c->window.min, c->window.end, 0, 0);
    buffer_deinit(&stored);
    buffer_deinit(&reader.name);
    intake_deinit(&intake);
    return e;
}

static enum err collect_once(struct collect *c)
{
    tally_init(&c->tally, c->q->arena, c->step_ns);
    enum err e = snapshot_take(c);
    if (e != ERR_OK)
        return e;
    e = rows_add(c);
    if (e == ERR_OK)
        e = pending_add(c);
    snapshot_release(&c->snapshot);
    return e;
}

/* Everything in the window, mapped, in c->tally; to be given back with tally_deinit(), also on failure. */
static enum err collect_run(struct collect *c)
{
    enum err e = ERR_NOT_FOUND;
    for (unsigned i = 0; i < TRIES_MAX && e == ERR_NOT_FOUND; i++) {
        tally_deinit(&c->tally);
        e = collect_once(c);
    }
    return e == ERR_NOT_FOUND ? ERR_CORRUPT : e;
}

/* ---- RED series ------------------------------------------------------------------------------ */

struct red_map {
    const struct red_query *query;
    struct buffer key;
};

static bool red_map(void *context, struct bytes key, struct bytes *out_key)
{
    struct red_map *m = context;
    const struct red_query *q = m->query;
    struct red_key k;
    if (!red_key_read(key, &k) || (q->service.len > 0 && !bytes_equal(k.service, q->service)) ||
        (q->namespace != NULL && !bytes_equal(k.namespace, *q->namespace)) ||
        (q->environment != NULL && !bytes_equal(k.environment, *q->environment)) ||
        (q->name.len > 0 && !bytes_equal(k.name, q->name)) ||
        (q->kinds != 0 && (q->kinds & 1u << k.kind) == 0))
        return false;
    if ((q->group & RED_BY_SERVICE) == 0)
        k.service = k.namespace = (struct bytes){ 0 };
    if ((q->group & RED_BY_ENVIRONMENT) == 0)
        k.environment = (struct bytes){ 0 };
    if ((q->group & RED_BY_NAME) == 0)
        k.name = (struct bytes){ 0 };
    if ((q->group & RED_BY_KIND) == 0)
        k.kind = 0;
    if ((q->group & RED_BY_STATUS) == 0)
        k.status = 0;
    buffer_reset(&m->key);
    red_key_put(&m->key, &k);
    *out_key = buffer_bytes(&m->key);
    return m->key.error == ERR_OK;
}

static double estimate_of(uint64_t parts)
{
    return (double)parts / (double)TALLY_ONE;
}

static void red_point_fill(const struct tally_point *p, uint64_t start, struct red_point *out)
{
    *out = (struct red_point){
        .start_unix_ns = start,
        .calls = p->calls,
        .errors = p->errors,
        .estimated_calls = estimate_of(p->estimated_calls),
        .estimated_errors = estimate_of(p->estimated_errors),
        .bytes = p->bytes,
        .duration_ns = p->first.sum,
        .duration = p->first,
        .slowest = p->slowest,
        .failed = p->failed,
    };
}

static enum err red_fill(struct collect *c, struct red_result *out)
{
    struct arena *arena = c->q->arena;
    struct tally_point **points = NULL;
    enum err e = tally_sorted(&c->tally, &points);
    if (e != ERR_OK)
        return e;
    size_t total = c->tally.points_count, count = 0;
    struct red_series *series = arena_alloc_array(arena, c->tally.keys.count + 1u, sizeof *series);
    struct red_point *filled = arena_alloc_array(arena, total + 1, sizeof *filled);
    if (series == NULL || filled == NULL)
        return arena_failure(arena);
    for (size_t i = 0; i < total && e == ERR_OK;) {
        struct bytes text;
        struct red_key key;
        e = arena_dup(arena, tally_key(&c->tally, points[i]->series), &text);
        if (e != ERR_OK)
            return e;
        bool is_red = red_key_read(text, &key);
        assert(is_red);
        (void)is_red;
        struct red_series *s = &series[count++];
        *s = (struct red_series){ .service = key.service,
                                  .namespace = key.namespace,
                                  .environment = key.environment,
                                  .name = key.name,
                                  .kind = key.kind,
                                  .status = key.status,
                                  .points = &filled[i] };
        size_t first = i;
        for (; i < total && points[i]->series == points[first]->series; i++)
            red_point_fill(points[i], c->step_ns == 0 ? c->window.min : points[i]->start_unix_ns,
                           &filled[i]);
        s->points_count = i - first;
    }
    *out = (struct red_result){ .series = series, .count = count };
    return ERR_OK;
}

enum err sqlite_red(struct engine *base, const struct query_context *q,
                    const struct red_query *query, struct red_result *out)
{
    if (query->range.step_ns % DERIVED_STEP_MIN_NS != 0)
        return ERR_INVALID;
    struct red_map map = { .query = query };
    buffer_init(&map.key, (size_t)1 << 20);
    struct collect c = {
        .engine = sqlite_engine_from(base),
        .q = q,
        .window = window_of(&query->range),
        .step_ns = query->range.step_ns,
        .skips_durations = !query->wants_duration,
        .map = red_map,
        .map_context = &map,
    };
    enum err e = collect_run(&c);
    if (e == ERR_OK)
        e = red_fill(&c, out);
    tally_deinit(&c.tally);
    buffer_deinit(&map.key);
    return e;
}

/* ---- Totals ---------------------------------------------------------------------------------- */

enum err sqlite_totals(struct engine *base, const struct query_context *q,
                       struct derived_totals *out)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    enum err error = totals_copy(&e->derived.totals, q, clock_mono_ns(), out);
    if (error != ERR_OK)
        return error;
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    const struct half_table *t = &e->derived.halves;
    out->bounds.halves = t->waiting.count + t->paired.count;
    out->bounds.halves_max = HALVES_MAX;
    out->bounds.memory_bytes += t->used * sizeof(struct half_entry) +
                                HALVES_MAX * sizeof(uint32_t) + /* buckets */
                                e->derived.rows_capacity * sizeof(struct derived_row);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    return ERR_OK;
}

enum err sqlite_cleaned_names(struct engine *base, const struct query_context *q,
                              struct derived_cleaned **out, size_t *out_count)
{
    return totals_cleaned(&sqlite_engine_from(base)->derived.totals, q, out, out_count);
}

/* ---- Edges ----------------------------------------------------------------------------------- */

/* Edges and gaps pass as they are; of series, the services are noted. */
struct edge_map {
    struct intern services; /* keys of nodes */
    struct intern names;    /* of them; each once */
    uint32_t *first;        /* [names.count]: the first service of that name */
    uint32_t first_capacity;
    struct buffer key;
    enum err error;
};

static enum err service_note(struct edge_map *m, const struct red_key *k)
{
    struct derived_node node = { .kind = NODE_SERVICE,
                                 .name = k->service,
                                 .namespace = k->namespace,
                                 .environment = k->environment };
    uint32_t service = 0, name = 0, services = m->services.count, names = m->names.count;
    buffer_reset(&m->key);
    node_key_put(&m->key, &node);
    enum err e = buffer_error(&m->key);
    if (e == ERR_OK)
        e = intern_put(&m->services, buffer_bytes(&m->key), &service);
    if (e != ERR_OK || service < services)
        return e;
    if (names == m->first_capacity) {
        uint32_t capacity = names == 0 ? 64 : 2 * names;
        uint32_t *grown = mem_realloc(m->first, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        m->first = grown;
        m->first_capacity = capacity;
    }
    e = intern_put(&m->names, k->service, &name);
    if (e == ERR_OK && name == names)
        m->first[name] = service;
    return e;
}

static bool edge_map(void *context, struct bytes key, struct bytes *out_key)
{
    struct edge_map *m = context;
    struct red_key k;
    *out_key = key;
    if (!red_key_read(key, &k))
        return true;
    if (m->error == ERR_OK)
        m->error = service_note(m, &k);
    return false;
}

/* A peer that is named like a service that sends spans is that service. */
static void node_join(const struct edge_map *m, struct derived_node *n)
{
    uint32_t name = n->kind == NODE_EXTERNAL ? intern_find(&m->names, n->name) : UINT32_MAX;
    if (name == UINT32_MAX)
        return;
    struct derived_node first, same = *n;
    bool is_read = node_key_read(intern_get(&m->services, m->first[name]), &first);
    assert(is_read);
    (void)is_read;
    /* The one of the caller's environment, if there is. */
    struct buffer key;
    buffer_init(&key, 4096);
    same.kind = NODE_SERVICE;
    same.namespace = n->namespace.len > 0 ? n->namespace : first.namespace;
    node_key_put(&key, &same);
    bool is_there =
        key.error == ERR_OK && intern_find(&m->services, buffer_bytes(&key)) != UINT32_MAX;
    buffer_deinit(&key);
    *n = is_there ? same : first;
}

static enum err edges_join(const struct edge_map *m, const struct tally *from, struct tally *to)
{
    struct buffer key;
    enum err e = ERR_OK;
    buffer_init(&key, (size_t)1 << 20);
    for (uint32_t i = 0; i < from->points_count && e == ERR_OK; i++) {
        const struct tally_point *p = tally_point(from, i);
        struct bytes text = tally_key(from, p->series);
        struct edge_key k;
        struct tally_point *into;
        uint32_t series = 0;
        if (edge_key_read(text, &k)) {
            node_join(m, &k.client);
            node_join(m, &k.server);
            buffer_reset(&key);
            edge_key_put(&key, &k);
            text = buffer_bytes(&key);
        }
        e = buffer_error(&key);
        if (e == ERR_OK)
            e = tally_series(to, text, &series);
        if (e == ERR_OK)
            e = tally_at(to, series, p->start_unix_ns, &into);
        if (e == ERR_OK)
            e = tally_point_add(into, from, p);
    }
    buffer_deinit(&key);
    return e;
}

static void edge_point_fill(const struct tally_point *p, uint64_t start, struct edge_point *out)
{
    *out = (struct edge_point){
        .start_unix_ns = start,
        .calls = p->calls,
        .failed = p->errors,
        .client = p->first,
        .server = p->second,
        .slowest = p->slowest,
        .failed_example = p->failed,
    };
}

static void sample_add(struct unpaired *u, const struct derived_exemplar *x)
{
    for (size_t i = 0; i < u->samples_count; i++)
        if (memcmp(u->samples[i].b, x->trace_id.b, sizeof x->trace_id.b) == 0)
            return;
    if (x->is_set && u->samples_count < UNPAIRED_SAMPLES_MAX)
        u->samples[u->samples_count++] = x->trace_id;
}

/* Points of one key, which has been copied to the arena. */
static void edge_fill_one(const struct collect *c, struct bytes key,
                          struct tally_point *const *points, size_t count,
                          struct edge_point *filled, struct edge_result *out)
{
    struct edge_key edge;
    struct unpaired_key gap;
    if (edge_key_read(key, &edge)) {
        for (size_t i = 0; i < count; i++)
            edge_point_fill(points[i], c->step_ns == 0 ? c->window.min : points[i]->start_unix_ns,
                            &filled[i]);
        out->edges[out->count++] = (struct edge){ .client = edge.client,
                                                  .server = edge.server,
                                                  .type = edge.type,
                                                  .via = edge.via,
                                                  .points = filled,
                                                  .points_count = count };
    } else if (unpaired_key_read(key, &gap)) {
        struct unpaired *u = &out->unpaired[out->unpaired_count++];
        *u = (struct unpaired){ .node = gap.node, .reason = gap.reason };
        for (size_t i = count; i-- > 0;) {
            u->count += points[i]->calls;
            sample_add(u, &points[i]->failed);
            sample_add(u, &points[i]->slowest);
        }
    }
}

static enum err edges_fill(struct collect *c, const struct tally *t, struct edge_result *out)
{
    struct arena *arena = c->q->arena;
    struct tally_point **points = NULL;
    enum err e = tally_sorted(t, &points);
    if (e != ERR_OK)
        return e;
    size_t total = t->points_count, keys = t->keys.count;
    struct edge_result result = {
        .edges = arena_alloc_array(arena, keys + 1, sizeof *result.edges),
        .unpaired = arena_alloc_array(arena, keys + 1, sizeof *result.unpaired),
    };
    struct edge_point *filled = arena_alloc_array(arena, total + 1, sizeof *filled);
    if (result.edges == NULL || result.unpaired == NULL || filled == NULL)
        return arena_failure(arena);
    for (size_t begin = 0, end; begin < total; begin = end) {
        for (end = begin + 1; end < total && points[end]->series == points[begin]->series;)
            end++;
        struct bytes key;
        e = arena_dup(arena, tally_key(t, points[begin]->series), &key);
        if (e != ERR_OK)
            return e;
        edge_fill_one(c, key, &points[begin], end - begin, &filled[begin], &result);
    }
    *out = result;
    return ERR_OK;
}

enum err sqlite_edges(struct engine *base, const struct query_context *q,
                      const struct edge_query *query, struct edge_result *out)
{
    if (query->range.step_ns % DERIVED_STEP_MIN_NS != 0)
        return ERR_INVALID;
    struct edge_map map = { 0 };
    intern_init(&map.services, OPERATIONS_MAX);
    intern_init(&map.names, OPERATIONS_MAX);
    buffer_init(&map.key, (size_t)1 << 20);
    struct collect c = {
        .engine = sqlite_engine_from(base),
        .q = q,
        .window = window_of(&query->range),
        .step_ns = query->range.step_ns,
        .skips_durations = !query->wants_durations,
        .map = edge_map,
        .map_context = &map,
        .wants_edges = true,
        .patience_ns = query->patience_ns,
    };
    struct tally joined;
    tally_init(&joined, q->arena, c.step_ns);
    enum err e = collect_run(&c);
    if (e == ERR_OK)
        e = map.error;
    if (e == ERR_OK)
        e = edges_join(&map, &c.tally, &joined);
    if (e == ERR_OK)
        e = edges_fill(&c, &joined, out);
    tally_deinit(&joined);
    tally_deinit(&c.tally);
    buffer_deinit(&map.key);
    intern_deinit(&map.services);
    intern_deinit(&map.names);
    mem_free(map.first);
    return e;
}
