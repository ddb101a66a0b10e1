/* SPDX-License-Identifier: Apache-2.0 */
#include "query/graph.h"

#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>

#define GROUP_KIND 99 /* in hashes: no node's own kind */

/* ---- Tables ---- */

enum err graph_init(struct graph *g, struct arena *arena, size_t nodes_max, size_t edges_max,
                    size_t points)
{
    size_t node_slots = 16, edge_slots = 16;
    while (node_slots < 2 * nodes_max)
        node_slots *= 2;
    while (edge_slots < 2 * edges_max)
        edge_slots *= 2;
    *g = (struct graph){ .arena = arena,
                         .points = points,
                         .nodes_max = nodes_max,
                         .edges_max = edges_max,
                         .node_mask = node_slots - 1,
                         .edge_mask = edge_slots - 1 };
    g->node_slots = arena_alloc_array(arena, node_slots, sizeof g->node_slots[0]);
    g->edge_slots = arena_alloc_array(arena, edge_slots, sizeof g->edge_slots[0]);
    if (g->node_slots == NULL || g->edge_slots == NULL)
        return arena_failure(arena);
    return ERR_OK;
}

/* Room for one more: they are large, and most graphs have far fewer than they may. */
static enum err grow(struct arena *arena, void **items, size_t size, size_t count, size_t first,
                     size_t *capacity)
{
    if (count < *capacity)
        return ERR_OK;
    size_t more = count > 0 ? 2 * count : first > 0 ? first : 32;
    void *grown = arena_alloc_array(arena, more, size);
    if (grown == NULL)
        return arena_failure(arena);
    if (count > 0)
        memcpy(grown, *items, count * size);
    *items = grown;
    *capacity = more;
    return ERR_OK;
}

static enum err points_new(const struct graph *g, uint64_t **out)
{
    *out = NULL;
    if (g->points == 0)
        return ERR_OK;
    *out = arena_alloc_array(g->arena, g->points, sizeof(uint64_t));
    return *out == NULL ? arena_failure(g->arena) : ERR_OK;
}

static uint64_t hash_node(const struct derived_node *n, bool is_group)
{
    uint64_t h = hash_bytes_seeded(n->name, is_group ? GROUP_KIND : (uint64_t)n->kind);
    h = hash_bytes_seeded(n->namespace, h);
    h = hash_bytes_seeded(n->system, h);
    return hash_bytes_seeded(n->environment, h);
}

static bool same_node(const struct graph_node *a, const struct derived_node *b, bool is_group)
{
    return a->is_group == is_group && a->is.kind == b->kind && bytes_equal(a->is.name, b->name) &&
           bytes_equal(a->is.namespace, b->namespace) && bytes_equal(a->is.system, b->system) &&
           bytes_equal(a->is.environment, b->environment);
}

enum err graph_node_of(struct graph *g, const struct derived_node *is, bool is_group, size_t *out)
{
    for (size_t slot = (size_t)hash_node(is, is_group) & g->node_mask;;
         slot = (slot + 1) & g->node_mask) {
        if (g->node_slots[slot] != 0) {
            *out = g->node_slots[slot] - 1;
            if (same_node(&g->nodes[*out], is, is_group))
                return ERR_OK;
            continue;
        }
        assert(g->nodes_count < g->nodes_max);
        void *nodes = g->nodes;
        enum err e = grow(g->arena, &nodes, sizeof g->nodes[0], g->nodes_count, g->nodes_first,
                          &g->nodes_capacity);
        if (e != ERR_OK)
            return e;
        g->nodes = nodes;
        struct graph_node *n = &g->nodes[g->nodes_count];
        *n = (struct graph_node){ .is = *is, .is_group = is_group };
        for (size_t i = 0; i < GRAPH_WINDOWS; i++)
            numbers_sum_init(&n->sum[i], g->arena);
        e = points_new(g, &n->points);
        if (e != ERR_OK)
            return e;
        *out = g->nodes_count++;
        g->node_slots[slot] = (uint32_t)g->nodes_count;
        return ERR_OK;
    }
}

enum err graph_edge_of(struct graph *g, size_t from, size_t to, enum connection_type type,
                       struct bytes via, struct graph_edge **out)
{
    const uint64_t ends[3] = { from, to, (uint64_t)type };
    uint64_t h = hash_bytes_seeded(via, hash_bytes(bytes_of(ends, sizeof ends)));
    for (size_t slot = (size_t)h & g->edge_mask;; slot = (slot + 1) & g->edge_mask) {
        if (g->edge_slots[slot] != 0) {
            struct graph_edge *have = &g->edges[g->edge_slots[slot] - 1];
            *out = have;
            if (have->from == from && have->to == to && have->type == type &&
                bytes_equal(have->via, via))
                return ERR_OK;
            continue;
        }
        assert(g->edges_count < g->edges_max);
        void *edges = g->edges;
        enum err e = grow(g->arena, &edges, sizeof g->edges[0], g->edges_count, g->edges_first,
                          &g->edges_capacity);
        if (e != ERR_OK)
            return e;
        g->edges = edges;
        struct graph_edge *n = &g->edges[g->edges_count];
        *n = (struct graph_edge){ .from = from, .to = to, .type = type, .via = via };
        for (size_t i = 0; i < GRAPH_WINDOWS; i++) {
            histogram_init(&n->in[i].client, g->arena);
            histogram_init(&n->in[i].server, g->arena);
        }
        e = points_new(g, &n->points);
        if (e != ERR_OK)
            return e;
        g->edge_slots[slot] = (uint32_t)++g->edges_count;
        *out = n;
        return ERR_OK;
    }
}

const struct histogram *graph_side_durations(const struct graph_side *side)
{
    return side->client.count > 0 ? &side->client : &side->server;
}

/* ---- What the engine says ---- */

struct said {
    struct red_row *rows;
    size_t rows_count;
    struct edge_result edges, points;
};

static enum err ask(struct call *c, const struct graph_query *query, const struct numbers_window *w,
                    struct said *out)
{
    const struct red_rows_query rows = {
        .environment = query->environment,
        .by = RED_BY_SERVICE | (query->by_environment ? RED_BY_ENVIRONMENT : 0U),
        .by_basis = true,
        .has_environments = true,
    };
    struct edge_query edges = { .range = numbers_range(w, false),
                                .wants_durations = true,
                                .patience_ns = DERIVED_PATIENCE_NS };
    enum err e = red_rows(c, w, &rows, &out->rows, &out->rows_count);
    if (e == ERR_OK)
        e = engine_edges(c->options->engine, &c->context, &edges, &out->edges);
    c->is_damaged |= out->edges.is_damaged;
    if (e != ERR_OK || w->points == 0)
        return e;
    edges.range = numbers_range(w, true);
    edges.wants_durations = false;
    edges.skips_services = true; /* services have points of their own */
    e = engine_edges(c->options->engine, &c->context, &edges, &out->points);
    c->is_damaged |= out->points.is_damaged;
    return e;
}

static bool is_wanted(const struct graph_query *query, const struct edge *x)
{
    if (x->via.len > 0 && !query->has_via)
        return false;
    return query->environment == NULL || bytes_equal(x->client.environment, *query->environment) ||
           bytes_equal(x->server.environment, *query->environment);
}

static struct derived_node as_asked(const struct graph_query *query, const struct derived_node *n)
{
    struct derived_node is = *n;
    if (!query->by_environment)
        is.environment = BYTES_LITERAL("");
    return is;
}

static enum err add_service(struct graph *g, unsigned window, const struct red_row *r)
{
    const struct derived_node is = { .kind = NODE_SERVICE,
                                     .name = r->service,
                                     .namespace = r->namespace,
                                     .environment = r->environment };
    size_t at = 0;
    enum err e = graph_node_of(g, &is, false, &at);
    if (e != ERR_OK)
        return e;
    struct graph_node *n = &g->nodes[at];
    if (window == GRAPH_NOW || n->sum[GRAPH_NOW].count == 0) {
        n->is_entry = r->is_entry;
        n->environments = r->environments;
        n->environments_count = r->environments_count;
    }
    for (size_t i = 0; window == GRAPH_NOW && i < g->points; i++)
        n->points[i] += r->points.count[i];
    return numbers_sum_merge(&n->sum[window], &r->sum);
}

static enum err add_ends(struct graph *g, const struct graph_query *query, const struct edge *x,
                         struct graph_edge **out)
{
    struct derived_node client = as_asked(query, &x->client), server = as_asked(query, &x->server);
    size_t from = 0, to = 0;
    enum err e = graph_node_of(g, &client, false, &from);
    if (e == ERR_OK)
        e = graph_node_of(g, &server, false, &to);
    return e == ERR_OK ? graph_edge_of(g, from, to, x->type, x->via, out) : e;
}

static enum err add_edge(struct graph *g, unsigned window, const struct graph_query *query,
                         const struct edge *x)
{
    struct graph_edge *edge = NULL;
    enum err e = add_ends(g, query, x, &edge);
    for (size_t i = 0; e == ERR_OK && i < x->points_count; i++) {
        struct edge_point *p = &x->points[i];
        struct graph_side *side = &edge->in[window];
        side->count += p->calls;
        side->errors += p->failed;
        numbers_keep_slowest(&side->slowest, &p->slowest);
        numbers_keep_newest(&side->failed, &p->failed_example);
        e = numbers_histogram_take(&side->client, &p->client);
        if (e == ERR_OK)
            e = numbers_histogram_take(&side->server, &p->server);
    }
    return e;
}

static enum err add_edge_points(struct graph *g, const struct graph_query *query,
                                const struct edge *x)
{
    struct graph_edge *edge = NULL;
    enum err e = add_ends(g, query, x, &edge);
    for (size_t i = 0; e == ERR_OK && i < x->points_count; i++) {
        size_t at = numbers_point_at(query->w, x->points[i].start_unix_ns);
        if (at != SIZE_MAX)
            edge->points[at] += x->points[i].calls;
    }
    return e;
}

static enum err add_gap(struct graph *g, const struct graph_query *query, const struct unpaired *u)
{
    struct derived_node is = as_asked(query, &u->node);
    size_t at = 0;
    if (query->environment != NULL && !bytes_equal(u->node.environment, *query->environment))
        return ERR_OK;
    enum err e = graph_node_of(g, &is, false, &at);
    if (e != ERR_OK)
        return e;
    struct graph_node *n = &g->nodes[at];
    if (n->gaps == NULL)
        n->gaps = arena_alloc_array(g->arena, UNPAIRED_REASON_COUNT, sizeof n->gaps[0]);
    if (n->gaps == NULL)
        return arena_failure(g->arena);
    struct graph_gap *gap = &n->gaps[u->reason];
    gap->count += u->count;
    for (size_t i = 0; i < u->samples_count && gap->samples_count < UNPAIRED_SAMPLES_MAX; i++)
        gap->samples[gap->samples_count++] = u->samples[i];
    return ERR_OK;
}

static enum err add_window(struct graph *g, unsigned window, const struct graph_query *query,
                           const struct said *said)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < said->rows_count; i++)
        e = add_service(g, window, &said->rows[i]);
    for (size_t i = 0; e == ERR_OK && i < said->edges.count; i++)
        if (is_wanted(query, &said->edges.edges[i]))
            e = add_edge(g, window, query, &said->edges.edges[i]);
    for (size_t i = 0; e == ERR_OK && i < said->points.count; i++)
        if (is_wanted(query, &said->points.edges[i]))
            e = add_edge_points(g, query, &said->points.edges[i]);
    for (size_t i = 0; e == ERR_OK && window == GRAPH_NOW && i < said->edges.unpaired_count; i++)
        e = add_gap(g, query, &said->edges.unpaired[i]);
    return e;
}

/* ---- Nodes that are no services have the numbers of their edges ---- */

static enum err add_edge_to_node(struct graph *g, struct graph_node *n, const struct graph_edge *x)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < GRAPH_WINDOWS; i++) {
        const struct graph_side *side = &x->in[i];
        const struct histogram *durations = graph_side_durations(side);
        struct numbers_sum part = { .count = side->count,
                                    .errors = side->errors,
                                    .time_ns = durations->sum,
                                    .estimated = (double)side->count,
                                    .estimated_errors = (double)side->errors,
                                    .durations = *durations,
                                    .slowest = side->slowest,
                                    .failed = side->failed };
        e = numbers_sum_merge(&n->sum[i], &part);
    }
    for (size_t i = 0; i < g->points; i++)
        n->points[i] += x->points[i];
    return e;
}

static enum err sum_other_nodes(struct graph *g)
{
    bool *has_callers = arena_alloc_array(g->arena, g->nodes_count, sizeof has_callers[0]);
    enum err e = has_callers == NULL ? arena_failure(g->arena) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < g->edges_count; i++) {
        struct graph_edge *x = &g->edges[i];
        has_callers[x->to] = true;
        if (g->nodes[x->to].is.kind != NODE_SERVICE)
            e = add_edge_to_node(g, &g->nodes[x->to], x);
    }
    for (size_t i = 0; e == ERR_OK && i < g->edges_count; i++) {
        struct graph_edge *x = &g->edges[i];
        if (!has_callers[x->from] && g->nodes[x->from].is.kind != NODE_SERVICE)
            e = add_edge_to_node(g, &g->nodes[x->from], x);
    }
    return e;
}

/* What no window has numbers of: an edge from the part of the first point before the window. */
static void leave_out_empty(struct graph *g)
{
    for (size_t i = 0; i < g->edges_count; i++)
        g->edges[i].is_left_out =
            g->edges[i].in[GRAPH_NOW].count + g->edges[i].in[GRAPH_PREV].count == 0;
    for (size_t i = 0; i < g->nodes_count; i++)
        g->nodes[i].is_left_out = g->nodes[i].sum[GRAPH_NOW].count == 0 &&
                                  g->nodes[i].sum[GRAPH_PREV].count == 0 &&
                                  g->nodes[i].gaps == NULL;
    for (size_t i = 0; i < g->edges_count; i++)
        if (!g->edges[i].is_left_out)
            g->nodes[g->edges[i].from].is_left_out = g->nodes[g->edges[i].to].is_left_out = false;
}

/* Take out of the arrays what was left out as empty: it is not hidden, it is not there. Nothing is looked up in the
 * tables from here on. */
static enum err drop_empty(struct graph *g)
{
    size_t *moved = arena_alloc_array(g->arena, g->nodes_count, sizeof moved[0]);
    if (moved == NULL)
        return arena_failure(g->arena);
    size_t nodes = 0, edges = 0;
    for (size_t i = 0; i < g->nodes_count; i++) {
        if (g->nodes[i].is_left_out)
            continue;
        moved[i] = nodes;
        g->nodes[nodes++] = g->nodes[i];
    }
    for (size_t i = 0; i < g->edges_count; i++) {
        struct graph_edge x = g->edges[i];
        if (x.is_left_out)
            continue;
        x.from = moved[x.from];
        x.to = moved[x.to];
        g->edges[edges++] = x;
    }
    g->nodes_count = nodes;
    g->edges_count = edges;
    return ERR_OK;
}

enum err graph_build(struct call *c, const struct graph_query *query, struct graph *out)
{
    struct said now = { 0 }, then = { 0 };
    struct graph g;
    enum err e = ask(c, query, query->w, &now);
    if (e == ERR_OK && query->prev != NULL)
        e = ask(c, query, query->prev, &then);
    if (e != ERR_OK)
        return e;
    size_t edges = now.edges.count + now.points.count + then.edges.count;
    size_t nodes = 2 * edges + now.rows_count + then.rows_count + now.edges.unpaired_count;
    e = graph_init(&g, &c->arena, nodes, edges, query->w->points);
    g.nodes_first = now.rows_count + 64;
    g.edges_first = now.edges.count;
    if (e == ERR_OK)
        e = add_window(&g, GRAPH_NOW, query, &now);
    if (e == ERR_OK && query->prev != NULL)
        e = add_window(&g, GRAPH_PREV, query, &then);
    if (e == ERR_OK)
        e = sum_other_nodes(&g);
    if (e == ERR_OK)
        e = query_check(&c->context);
    if (e != ERR_OK)
        return e;
    leave_out_empty(&g);
    e = drop_empty(&g);
    if (e != ERR_OK)
        return e;
    g.has_prev = query->prev != NULL;
    *out = g;
    return ERR_OK;
}
