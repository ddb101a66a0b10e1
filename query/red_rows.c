/* SPDX-License-Identifier: Apache-2.0 */
#include "query/red_rows.h"

#include <stdlib.h>

/* A series under the key of its row. */
struct keyed {
    struct bytes service, namespace, environment, name;
    uint32_t kind, status;
    const struct red_series *series;
};

static int compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_keys(const struct keyed *a, const struct keyed *b)
{
    int order = bytes_compare(a->service, b->service);
    if (order == 0)
        order = bytes_compare(a->namespace, b->namespace);
    if (order == 0)
        order = bytes_compare(a->environment, b->environment);
    if (order == 0)
        order = bytes_compare(a->name, b->name);
    if (order == 0)
        order = compare_u32(a->kind, b->kind);
    return order != 0 ? order : compare_u32(a->status, b->status);
}

static int by_key(const void *a, const void *b)
{
    return compare_keys(a, b);
}

static struct keyed key_of_row(const struct red_row *r)
{
    return (struct keyed){ r->service, r->namespace, r->environment, r->name, r->kind,
                           r->status,  NULL };
}

static struct keyed key_of_series(const struct red_series *s, unsigned by)
{
    struct keyed k = { .series = s };
    if (by & RED_BY_SERVICE) {
        k.service = s->service;
        k.namespace = s->namespace;
    }
    if (by & RED_BY_ENVIRONMENT)
        k.environment = s->environment;
    if (by & RED_BY_NAME)
        k.name = s->name;
    if (by & RED_BY_KIND)
        k.kind = s->kind;
    if (by & RED_BY_STATUS)
        k.status = s->status;
    return k;
}

static bool is_entry(const struct red_series *s)
{
    return s->kind < 32 && (RED_KINDS_ENTRY >> s->kind & 1) != 0;
}

/* Ask, and sort what came by row. */
static enum err ask(struct call *c, const struct numbers_window *w,
                    const struct red_rows_query *query, bool has_points, struct keyed **out,
                    size_t *out_count)
{
    struct red_query q = { .range = numbers_range(w, has_points),
                           .group = query->by,
                           .service = query->service,
                           .namespace = query->namespace,
                           .environment = query->environment,
                           .name = query->name,
                           .kinds = query->kinds,
                           .wants_duration = !has_points || query->has_point_durations };
    struct red_result result = { 0 };
    if (query->by_basis)
        q.group |= RED_BY_KIND;
    if (query->has_environments)
        q.group |= RED_BY_ENVIRONMENT;
    enum err e = engine_red(c->options->engine, &c->context, &q, &result);
    c->is_damaged |= result.is_damaged;
    if (e != ERR_OK)
        return e;
    struct keyed *keyed = arena_alloc_array(&c->arena, result.count, sizeof keyed[0]);
    if (keyed == NULL)
        return arena_failure(&c->arena);
    for (size_t i = 0; i < result.count; i++)
        keyed[i] = key_of_series(&result.series[i], query->by);
    if (result.count > 0)
        qsort(keyed, result.count, sizeof keyed[0], by_key);
    *out = keyed;
    *out_count = result.count;
    return ERR_OK;
}

/* ---- One row of those that have its key ---- */

static int by_text(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static enum err note_environment(struct red_row *r, struct bytes environment, struct arena *arena)
{
    if (environment.len == 0 || r->environments_count == NUMBERS_ENVIRONMENTS_MAX)
        return ERR_OK;
    for (size_t i = 0; i < r->environments_count; i++)
        if (bytes_equal(r->environments[i], environment))
            return ERR_OK;
    if (r->environments == NULL)
        r->environments =
            arena_alloc_array(arena, NUMBERS_ENVIRONMENTS_MAX, sizeof r->environments[0]);
    if (r->environments == NULL)
        return arena_failure(arena);
    r->environments[r->environments_count++] = environment;
    return ERR_OK;
}

static uint64_t calls_of(const struct red_series *s)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < s->points_count; i++)
        calls += s->points[i].calls;
    return calls;
}

static enum err add_series(struct red_row *r, const struct red_series *s, struct arena *arena)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < s->points_count; i++)
        e = numbers_sum_take_red(&r->sum, &s->points[i]);
    if (e == ERR_OK)
        e = note_environment(r, s->environment, arena);
    return e;
}

/* The basis, and the kind with the most calls in it. */
static void look_at_kinds(struct red_row *r, const struct keyed *members, size_t count)
{
    uint64_t calls[6] = { 0 };
    for (size_t i = 0; i < count; i++) {
        const struct red_series *s = members[i].series;
        calls[s->kind <= 5 ? s->kind : 0] += calls_of(s);
    }
    r->is_entry = calls[2] + calls[5] > 0;
    for (uint32_t kind = 0; kind <= 5; kind++)
        if ((!r->is_entry || (RED_KINDS_ENTRY >> kind & 1) != 0) &&
            calls[kind] > calls[r->busiest_kind])
            r->busiest_kind = kind;
    if (r->is_entry && r->busiest_kind == 0)
        r->busiest_kind = calls[2] >= calls[5] ? 2 : 5;
}

static enum err fill_row(struct red_row *r, const struct keyed *members, size_t count,
                         bool by_basis, struct arena *arena)
{
    const struct keyed *k = &members[0];
    *r = (struct red_row){ .service = k->service,
                           .namespace = k->namespace,
                           .environment = k->environment,
                           .name = k->name,
                           .kind = k->kind,
                           .status = k->status };
    numbers_sum_init(&r->sum, arena);
    look_at_kinds(r, members, count);
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        if (!by_basis || !r->is_entry || is_entry(members[i].series))
            e = add_series(r, members[i].series, arena);
    if (e == ERR_OK && r->environments_count > 1)
        qsort(r->environments, r->environments_count, sizeof r->environments[0], by_text);
    return e;
}

static size_t run_length(const struct keyed *keyed, size_t count)
{
    size_t n = 1;
    while (n < count && compare_keys(&keyed[0], &keyed[n]) == 0)
        n++;
    return n;
}

/* ---- The points ---- */

static enum err add_points(struct red_row *r, const struct numbers_window *w,
                           const struct red_series *s, bool by_basis)
{
    enum err e = ERR_OK;
    if (by_basis && r->is_entry && !is_entry(s))
        return ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < s->points_count; i++) {
        size_t at = numbers_point_at(w, s->points[i].start_unix_ns);
        if (at == SIZE_MAX)
            continue;
        r->points.count[at] += s->points[i].calls;
        r->points.errors[at] += s->points[i].errors;
        if (r->points.durations != NULL)
            e = numbers_histogram_take(&r->points.durations[at], &s->points[i].duration);
    }
    return e;
}

/* Both are sorted: walk along. Series without a row began in the part of the first step that lies
 * before the window. */
static enum err fill_points(struct call *c, const struct numbers_window *w,
                            const struct red_rows_query *query, struct red_row *rows, size_t count)
{
    struct keyed *keyed = NULL;
    size_t keyed_count = 0, at = 0;
    struct red_rows_query points = *query;
    bool is_entry = query->by_basis && query->kinds == 0;
    for (size_t i = 0; is_entry && i < count; i++)
        is_entry = rows[i].is_entry;
    if (is_entry) /* nothing else would be counted */
        points.kinds = RED_KINDS_ENTRY;
    enum err e = ask(c, w, &points, true, &keyed, &keyed_count);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        struct keyed key = key_of_row(&rows[i]);
        e = numbers_points_init(&rows[i].points, w, query->has_point_durations, &c->arena);
        while (at < keyed_count && compare_keys(&keyed[at], &key) < 0)
            at++;
        for (; e == ERR_OK && at < keyed_count && compare_keys(&keyed[at], &key) == 0; at++)
            e = add_points(&rows[i], w, keyed[at].series, query->by_basis);
    }
    return e;
}

enum err red_rows(struct call *c, const struct numbers_window *w,
                  const struct red_rows_query *query, struct red_row **out, size_t *out_count)
{
    struct keyed *keyed = NULL;
    size_t keyed_count = 0, count = 0;
    enum err e = ask(c, w, query, false, &keyed, &keyed_count);
    if (e != ERR_OK)
        return e;
    struct red_row *rows = arena_alloc_array(&c->arena, keyed_count, sizeof rows[0]);
    if (rows == NULL)
        return arena_failure(&c->arena);
    for (size_t at = 0; e == ERR_OK && at < keyed_count;) {
        size_t members = run_length(keyed + at, keyed_count - at);
        e = fill_row(&rows[count], keyed + at, members, query->by_basis, &c->arena);
        if (rows[count].sum.count > 0)
            count++;
        at += members;
    }
    if (e == ERR_OK && w->points > 0)
        e = fill_points(c, w, query, rows, count);
    if (e == ERR_OK)
        e = query_check(&c->context);
    if (e != ERR_OK)
        return e;
    *out = rows;
    *out_count = count;
    return ERR_OK;
}

const struct red_row *red_row_find(const struct red_row *rows, size_t count,
                                   const struct red_row *like)
{
    struct keyed wanted = key_of_row(like);
    for (size_t low = 0, high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        struct keyed have = key_of_row(&rows[middle]);
        int order = compare_keys(&have, &wanted);
        if (order == 0)
            return &rows[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
