/* SPDX-License-Identifier: Apache-2.0 */
/* derived_query.c - answers from rollups. */
#include "base/mem.h"
#include "storage/derive/varint.h"
#include "storage/sqlite/derived_collect.h"

#include <assert.h>

/* ---- RED series ------------------------------------------------------------------------------ */

struct red_map {
    const struct red_query *query;
    struct buffer key;
};

/* All that red_map() goes by. */
static enum err red_shape(const struct red_query *q, struct buffer *out)
{
    const uint32_t numbers[] = { KEY_RED, q->group, q->kinds, q->namespace != NULL,
                                 q->environment != NULL };
    buffer_append(out, numbers, sizeof numbers);
    varint_put_bytes(out, q->service);
    varint_put_bytes(out, q->name);
    if (q->namespace != NULL)
        varint_put_bytes(out, *q->namespace);
    if (q->environment != NULL)
        varint_put_bytes(out, *q->environment);
    return buffer_error(out);
}

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
    struct red_series *series = arena_alloc(arena, (c->tally.keys.count + 1u) * sizeof *series);
    if (series == NULL)
        return arena_failure(arena);
    for (size_t i = 0, end; i < total; i = end) {
        struct bytes text;
        struct red_key key;
        for (end = i + 1; end < total && points[end]->series == points[i]->series;)
            end++;
        struct red_point *filled = arena_alloc(arena, (end - i) * sizeof *filled);
        if (filled == NULL)
            return arena_failure(arena);
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
                                  .points = filled,
                                  .points_count = end - i };
        for (size_t k = 0; k < s->points_count; k++)
            red_point_fill(points[i + k],
                           c->range.step_ns == 0 ? c->window.min : points[i + k]->start_unix_ns,
                           &filled[k]);
    }
    *out = (struct red_result){ .series = series, .count = count, .is_damaged = c->is_damaged };
    return ERR_OK;
}

enum err sqlite_red(struct engine *base, const struct query_context *q,
                    const struct red_query *query, struct red_result *out)
{
    if (query->range.step_ns % DERIVED_STEP_MIN_NS != 0)
        return ERR_INVALID;
    struct red_map map = { .query = query };
    struct buffer shape;
    buffer_init(&map.key, (size_t)1 << 20);
    buffer_init(&shape, (size_t)1 << 20);
    enum err e = red_shape(query, &shape);
    struct collect c = {
        .engine = sqlite_engine_from(base),
        .q = q,
        .range = query->range,
        .skips_durations = !query->wants_duration,
        .shape = buffer_bytes(&shape),
        .map = red_map,
        .map_context = &map,
    };
    if (e == ERR_OK)
        e = collect_run(&c);
    if (e == ERR_OK)
        e = red_fill(&c, out);
    collect_deinit(&c);
    buffer_deinit(&shape);
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
    out->bounds.halves_max = t->entries_max;
    out->bounds.memory_bytes +=
        half_table_bytes(t) + e->derived.rows_capacity * sizeof(struct derived_row);
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
    struct intern noted;    /* keys of nodes that were seen lately */
    struct intern services; /* all of them */
    struct intern names;    /* of them; each once */
    uint32_t *first;        /* [names.count]: the first service of that name */
    uint32_t first_capacity;
    struct buffer key;
    bool skips_services;
    enum err error;
};

/* A derived_service_fn. */
static enum err service_note(void *context, struct bytes node_key)
{
    struct edge_map *m = context;
    struct derived_node node;
    uint32_t service = 0, name = 0, services = m->services.count, names = m->names.count;
    enum err e = intern_put(&m->services, node_key, &service);
    if (e != ERR_OK || service < services || !node_key_read(node_key, &node))
        return e;
    if (names == m->first_capacity) {
        uint32_t capacity = names == 0 ? 64 : 2 * names;
        uint32_t *grown = mem_realloc(m->first, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        m->first = grown;
        m->first_capacity = capacity;
    }
    e = intern_put(&m->names, node.name, &name);
    if (e == ERR_OK && name == names)
        m->first[name] = service;
    return e;
}

static bool edge_map(void *context, struct bytes key, struct bytes *out_key)
{
    struct edge_map *m = context;
    struct red_key k;
    struct edge_key edge;
    uint32_t unused;
    *out_key = key;
    if (!red_key_read(key, &k))
        return !m->skips_services ||
               (edge_key_read(key, &edge) &&
                (edge.client.kind != NODE_SERVICE || edge.server.kind != NODE_SERVICE));
    const struct derived_node node = { .kind = NODE_SERVICE,
                                       .name = k.service,
                                       .namespace = k.namespace,
                                       .environment = k.environment };
    buffer_reset(&m->key);
    node_key_put(&m->key, &node);
    if (m->error == ERR_OK)
        m->error = buffer_error(&m->key);
    if (m->error == ERR_OK)
        m->error = intern_put(&m->noted, buffer_bytes(&m->key), &unused);
    return false;
}

static bool is_joined(const struct edge_map *m, const struct derived_node *n)
{
    return n->kind == NODE_EXTERNAL && intern_find(&m->names, n->name) != UINT32_MAX;
}

/* Whether there is anything to join: mostly not. */
static bool has_joined(const struct edge_map *m, const struct tally *t)
{
    struct edge_key k;
    for (uint32_t i = 0; i < t->keys.count; i++)
        if (edge_key_read(tally_key(t, i), &k) &&
            (is_joined(m, &k.client) || is_joined(m, &k.server)))
            return true;
    return false;
}

/* A peer that is named like a service that sends spans is that service. */
static void node_join(const struct edge_map *m, struct derived_node *n)
{
    if (!is_joined(m, n))
        return;
    uint32_t name = intern_find(&m->names, n->name);
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
            e = tally_point_add(into, p);
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
            edge_point_fill(points[i],
                            c->range.step_ns == 0 ? c->window.min : points[i]->start_unix_ns,
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

static enum err edges_fill(struct collect *c, struct tally *t, struct edge_result *out)
{
    struct arena *arena = c->q->arena;
    struct tally_point **points = NULL;
    enum err e = tally_sorted(t, &points);
    if (e != ERR_OK)
        return e;
    size_t total = t->points_count, keys = t->keys.count;
    struct edge_result result = {
        .edges = arena_alloc(arena, (keys + 1) * sizeof *result.edges),
        .unpaired = arena_alloc(arena, (keys + 1) * sizeof *result.unpaired),
        .is_damaged = c->is_damaged,
    };
    if (result.edges == NULL || result.unpaired == NULL)
        return arena_failure(arena);
    for (size_t begin = 0, end; begin < total; begin = end) {
        for (end = begin + 1; end < total && points[end]->series == points[begin]->series;)
            end++;
        struct bytes key;
        struct edge_point *filled = arena_alloc(arena, (end - begin) * sizeof *filled);
        if (filled == NULL)
            return arena_failure(arena);
        e = arena_dup(arena, tally_key(t, points[begin]->series), &key);
        if (e != ERR_OK)
            return e;
        edge_fill_one(c, key, &points[begin], end - begin, filled, &result);
    }
    *out = result;
    return ERR_OK;
}

enum err sqlite_edges(struct engine *base, const struct query_context *q,
                      const struct edge_query *query, struct edge_result *out)
{
    if (query->range.step_ns % DERIVED_STEP_MIN_NS != 0)
        return ERR_INVALID;
    struct edge_map map = { .skips_services = query->skips_services };
    intern_init(&map.noted, OPERATIONS_MAX);
    intern_init(&map.services, OPERATIONS_MAX);
    intern_init(&map.names, OPERATIONS_MAX);
    buffer_init(&map.key, (size_t)1 << 20);
    struct collect c = {
        .engine = sqlite_engine_from(base),
        .q = q,
        .range = query->range,
        .skips_durations = !query->wants_durations,
        .shape = query->skips_services ? BYTES_LITERAL("outer edges") : BYTES_LITERAL("edges"),
        .noted = &map.noted,
        .on_service = service_note,
        .map = edge_map,
        .map_context = &map,
        .wants_edges = true,
        .patience_ns = query->patience_ns,
    };
    struct tally joined;
    enum err e = collect_run(&c);
    tally_init(&joined, &c.scratch, c.range.step_ns);
    joined.windows = q->arena;
    if (e == ERR_OK)
        e = map.error;
    bool joins = e == ERR_OK && has_joined(&map, &c.tally);
    if (joins)
        e = edges_join(&map, &c.tally, &joined);
    if (e == ERR_OK)
        e = edges_fill(&c, joins ? &joined : &c.tally, out);
    tally_deinit(&joined);
    collect_deinit(&c);
    buffer_deinit(&map.key);
    intern_deinit(&map.noted);
    intern_deinit(&map.services);
    intern_deinit(&map.names);
    mem_free(map.first);
    return e;
}
