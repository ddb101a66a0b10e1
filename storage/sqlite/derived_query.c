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
    struct tally tally; /* in the query's arena */
    struct snapshot snapshot;
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
        for (size_t i = 0; i < d->rows_count; i++)
            if (d->rows[i].span.max_unix_ns + (TALLY_DAY_NS - 1) >= c->window.min &&
                d->rows[i].span.min_unix_ns < c->window.end)
                rows[count++] = d->rows[i];
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
static enum err row_add(struct collect *c, sqlite3_stmt *s, bool has_minutes)
{
    const struct window *w = &c->window;
    struct bytes hours = db_column_bytes(s, 1), days = db_column_bytes(s, 2);
    bool has_days = days.len > 0, has_hours = hours.len > 0;
    /* What a finer column leaves to the coarser one. */
    uint64_t hours_min = has_hours ? w->hours_min : w->end,
             hours_end = has_hours ? w->hours_end : w->end;
    uint64_t days_min = has_days ? w->days_min : w->end, days_end = has_days ? w->days_end : w->end;
    enum err e = ERR_OK;
    if (has_minutes) {
        /* Not even read where hours cover all. */
        if (w->min < hours_min || hours_end < w->end)
            e = stored_add(c, db_column_bytes(s, 0), w->min, w->end, hours_min, hours_end);
    } else { /* the finest there is: widened to it */
        hours_min = floor_to(w->min, TALLY_HOUR_NS);
        hours_end = ceil_to(w->end, TALLY_HOUR_NS);
    }
    if (e == ERR_OK)
        e = stored_add(c, hours, hours_min, hours_end, days_min, days_end);
    if (e == ERR_OK)
        e = stored_add(c, days, days_min, days_end, 0, 0);
    return e;
}

static enum err rows_add(struct collect *c)
{
    struct reader_set readers = { 0 };
    enum err e = ERR_OK;
    sqlite3_stmt *s = NULL;
    struct partition *open = NULL;
    struct db *db = NULL;
    for (size_t i = 0; e == ERR_OK && i < c->rows_count; i++) {
        const struct derived_row *row = &c->rows[i];
        e = query_check(c->q);
        if (e == ERR_OK && open != row->partition) {
            (void)sqlite3_finalize(s);
            s = NULL;
            open = row->partition;
            e = reader_set_take(&readers, &open->readers, &db);
            if (e == ERR_OK)
                e = db_prepare(db, "SELECT minutes, hours, days FROM derived WHERE id = ?1", &s);
        }
        bool is_row = false;
        if (e == ERR_OK) {
            db_bind_u64(s, 1, (uint64_t)row->id);
            e = db_step(db, s, &is_row);
        }
        if (e == ERR_OK)
            e = is_row ? row_add(c, s, true) : ERR_NOT_FOUND;
        if (s != NULL)
            (void)sqlite3_reset(s);
    }
    (void)sqlite3_finalize(s);
    reader_set_deinit(&readers);
    return e;
}

/* Bodies that wait for their row group are counted as it will count them, by minutes, and stored in a
 * moment's buffer: so that what maps and sums up stored keys does it here too. */
static enum err pending_add(struct collect *c)
{
    struct intake intake;
    struct buffer stored;
    intake_init(&intake, c->q->arena->limit_bytes);
    buffer_init(&stored, c->q->arena->limit_bytes);
    enum err e = ERR_OK;
    const struct pending_range *ranges[] = { &c->snapshot.aside, &c->snapshot.pending };
    for (size_t r = 0; r < 2; r++) {
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
    if (e == ERR_OK && intake.spans > 0)
        e = tally_encode(&intake.tally, &stored, &span);
    if (e == ERR_OK && intake.spans > 0)
        e = stored_add(c, buffer_bytes(&stored), c->window.min, c->window.end, 0, 0);
    buffer_deinit(&stored);
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
