/* SPDX-License-Identifier: Apache-2.0 */
/* Less of a graph: groups instead of their members, a neighbourhood, the largest nodes. */
#include "query/graph.h"

#include <stdlib.h>

#define NO_GROUP SIZE_MAX

/* ---- Groups ---- */

static struct bytes group_name(const struct graph_node *n, bool by_environment)
{
    if (n->is.kind != NODE_SERVICE)
        return BYTES_LITERAL("");
    return by_environment ? n->is.environment : n->is.namespace;
}

static bool is_listed(struct bytes list, struct bytes name)
{
    while (list.len > 0) {
        size_t at = bytes_find(list, ',');
        struct bytes one = bytes_slice(list, 0, at == SIZE_MAX ? list.len : at);
        if (bytes_equal(one, name))
            return true;
        list = bytes_slice(list, one.len + 1, SIZE_MAX);
    }
    return false;
}

/* What belongs to who uses it; users and hosts outside are nobody's. */
static bool may_join(const struct graph_node *n)
{
    return n->is.kind == NODE_DATABASE || n->is.kind == NODE_QUEUE || n->is.kind == NODE_UNKNOWN;
}

/* Such a node goes with those around it when all of them are in one group. */
static void group_neighbours(const struct graph *g, size_t *group)
{
    enum { NONE = 0, ONE = 1, SEVERAL = 2 };
    size_t *with = group + g->nodes_count; /* the group around each node ... */
    size_t *how = with + g->nodes_count;   /* ... and whether it is the only one */
    for (size_t i = 0; i < g->edges_count; i++) {
        const struct graph_edge *x = &g->edges[i];
        const size_t ends[2] = { x->from, x->to };
        for (size_t k = 0; k < 2; k++) {
            size_t node = ends[k], other = ends[1 - k];
            if (!may_join(&g->nodes[node]) || node == other)
                continue;
            if (how[node] == NONE && group[other] != NO_GROUP) {
                with[node] = group[other];
                how[node] = ONE;
            } else if (how[node] != ONE || group[other] != with[node]) {
                how[node] = SEVERAL;
            }
        }
    }
    for (size_t i = 0; i < g->nodes_count; i++)
        if (how[i] == ONE)
            group[i] = with[i];
}

static enum err merge_node(struct graph_node *into, const struct graph_node *from, size_t points,
                           struct arena *arena)
{
    enum err e = ERR_OK;
    into->members++;
    for (size_t i = 0; e == ERR_OK && i < GRAPH_WINDOWS && from->is.kind == NODE_SERVICE; i++)
        e = numbers_sum_merge(&into->sum[i], &from->sum[i]);
    for (size_t i = 0; i < points && from->is.kind == NODE_SERVICE; i++)
        into->points[i] += from->points[i];
    if (from->gaps == NULL || e != ERR_OK)
        return e;
    if (into->gaps == NULL)
        into->gaps = arena_alloc_array(arena, UNPAIRED_REASON_COUNT, sizeof into->gaps[0]);
    if (into->gaps == NULL)
        return arena_failure(arena);
    for (size_t why = 0; why < UNPAIRED_REASON_COUNT; why++) {
        struct graph_gap *gap = &into->gaps[why];
        const struct graph_gap *more = &from->gaps[why];
        gap->count += more->count;
        for (size_t i = 0; i < more->samples_count && gap->samples_count < UNPAIRED_SAMPLES_MAX;
             i++)
            gap->samples[gap->samples_count++] = more->samples[i];
    }
    return ERR_OK;
}

static enum err merge_edge(struct graph_edge *into, const struct graph_edge *from, size_t points)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < GRAPH_WINDOWS; i++) {
        struct graph_side *side = &into->in[i];
        const struct graph_side *more = &from->in[i];
        side->count += more->count;
        side->errors += more->errors;
        numbers_keep_slowest(&side->slowest, &more->slowest);
        numbers_keep_newest(&side->failed, &more->failed);
        e = histogram_merge(&side->client, &more->client);
        if (e == ERR_OK)
            e = histogram_merge(&side->server, &more->server);
    }
    for (size_t i = 0; i < points; i++)
        into->points[i] += from->points[i];
    return e;
}

static enum err group_nodes(const struct graph *g, bool by_environment, struct bytes open,
                            struct graph *out, size_t *group)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < g->nodes_count; i++) {
        struct bytes name = group_name(&g->nodes[i], by_environment);
        const struct derived_node is = { .kind = NODE_SERVICE, .name = name };
        group[i] = NO_GROUP;
        if (name.len > 0 && !is_listed(open, name))
            e = graph_node_of(out, &is, true, &group[i]);
    }
    return e;
}

enum err graph_group(const struct graph *g, bool by_environment, struct bytes open,
                     struct graph *out)
{
    struct graph grouped;
    enum err e = graph_init(&grouped, g->arena, 2 * g->nodes_count, g->edges_count, g->points);
    size_t *group = arena_alloc_array(g->arena, 3 * g->nodes_count, sizeof group[0]);
    if (e == ERR_OK && group == NULL)
        e = arena_failure(g->arena);
    if (e == ERR_OK)
        e = group_nodes(g, by_environment, open, &grouped, group);
    if (e == ERR_OK)
        group_neighbours(g, group);
    for (size_t i = 0; e == ERR_OK && i < g->nodes_count; i++) {
        if (group[i] != NO_GROUP) {
            e = merge_node(&grouped.nodes[group[i]], &g->nodes[i], g->points, g->arena);
            continue;
        }
        e = graph_node_of(&grouped, &g->nodes[i].is, false, &group[i]);
        if (e == ERR_OK)
            grouped.nodes[group[i]] = g->nodes[i];
    }
    for (size_t i = 0; e == ERR_OK && i < g->edges_count; i++) {
        const struct graph_edge *x = &g->edges[i];
        struct graph_edge *edge = NULL;
        size_t from = group[x->from], to = group[x->to];
        if (from == to && grouped.nodes[from].is_group) {
            grouped.nodes[from].inner_edges++;
            continue;
        }
        e = graph_edge_of(&grouped, from, to, x->type, x->via, &edge);
        if (e == ERR_OK)
            e = merge_edge(edge, x, g->points);
    }
    if (e != ERR_OK)
        return e;
    grouped.has_prev = g->has_prev;
    *out = grouped;
    return ERR_OK;
}

bool graph_has_namespaces(const struct graph *g)
{
    struct bytes first = { 0 };
    for (size_t i = 0; i < g->nodes_count; i++) {
        struct bytes name = group_name(&g->nodes[i], false);
        if (name.len == 0)
            continue;
        if (first.len > 0 && !bytes_equal(name, first))
            return true;
        first = name;
    }
    return false;
}

/* ---- Names of nodes ---- */

const char *graph_node_kind(const struct graph_node *n)
{
    if (n->is_group)
        return "group";
    switch (n->is.kind) {
    case NODE_SERVICE:
        return "service";
    case NODE_DATABASE:
        return "database";
    case NODE_QUEUE:
        return "queue";
    case NODE_EXTERNAL:
        return "external";
    case NODE_USER:
        return "user";
    case NODE_UNKNOWN:
        return "unknown";
    case NODE_OTHER:
        return "other";
    }
    return "unknown";
}

/* Percent-encode what joins the parts of an ID, and what joins IDs in a URL. */
static void append_part(struct buffer *out, struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c == 0x7f || strchr("%/@:,>", c) != NULL)
            buffer_printf(out, "%%%02X", c);
        else
            buffer_append_byte(out, c);
    }
}

void graph_node_id(const struct graph_node *n, struct buffer *out)
{
    struct bytes before = n->is.kind == NODE_SERVICE ? n->is.namespace : n->is.system;
    buffer_append_text(out, graph_node_kind(n));
    buffer_append_byte(out, ':');
    if (before.len > 0) {
        append_part(out, before);
        buffer_append_byte(out, '/');
    }
    append_part(out, n->is.name);
    if (n->is.environment.len > 0) {
        buffer_append_byte(out, '@');
        append_part(out, n->is.environment);
    }
}

/* ---- Focus ---- */

static enum err find_node(const struct graph *g, struct bytes id, size_t *out)
{
    struct buffer text;
    enum err e = ERR_NOT_FOUND;
    buffer_init(&text, 1 << 20);
    for (size_t i = 0; e == ERR_NOT_FOUND && i < g->nodes_count; i++) {
        buffer_reset(&text);
        graph_node_id(&g->nodes[i], &text);
        if (buffer_error(&text) == ERR_OK && bytes_equal(buffer_bytes(&text), id)) {
            *out = i;
            e = ERR_OK;
        }
    }
    buffer_deinit(&text);
    return e;
}

static void leave_out_edges(struct graph *g)
{
    for (size_t i = 0; i < g->edges_count; i++)
        if (g->nodes[g->edges[i].from].is_left_out || g->nodes[g->edges[i].to].is_left_out)
            g->edges[i].is_left_out = true;
}

enum err graph_focus(struct graph *g, struct bytes id, unsigned hops,
                     enum graph_direction direction)
{
    size_t start = 0;
    enum err e = find_node(g, id, &start);
    if (e != ERR_OK)
        return e;
    bool *near = arena_alloc_array(g->arena, 2 * g->nodes_count, sizeof near[0]);
    if (near == NULL)
        return arena_failure(g->arena);
    bool *next = near + g->nodes_count;
    near[start] = true;
    for (unsigned hop = 0; hop < hops; hop++) {
        memcpy(next, near, g->nodes_count);
        for (size_t i = 0; i < g->edges_count; i++) {
            const struct graph_edge *x = &g->edges[i];
            if (near[x->from] && direction != GRAPH_IN)
                next[x->to] = true;
            if (near[x->to] && direction != GRAPH_OUT)
                next[x->from] = true;
        }
        memcpy(near, next, g->nodes_count);
    }
    for (size_t i = 0; i < g->nodes_count; i++)
        if (!near[i])
            g->nodes[i].is_left_out = true;
    leave_out_edges(g);
    return ERR_OK;
}

/* ---- The largest, and order ---- */

struct ranked {
    const struct graph_node *node;
    const struct graph_edge *edge;
    size_t number;
};

static int busiest_first(const void *a, const void *b)
{
    const struct numbers_sum *x = ((const struct ranked *)a)->node->sum;
    const struct numbers_sum *y = ((const struct ranked *)b)->node->sum;
    if (x->errors != y->errors)
        return x->errors < y->errors ? 1 : -1;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct graph_node *x = ((const struct ranked *)a)->node;
    const struct graph_node *y = ((const struct ranked *)b)->node;
    int order = (int)y->is_group - (int)x->is_group;
    if (order == 0)
        order = (x->is.kind > y->is.kind) - (x->is.kind < y->is.kind);
    if (order == 0)
        order = bytes_compare(x->is.namespace, y->is.namespace);
    if (order == 0)
        order = bytes_compare(x->is.name, y->is.name);
    if (order == 0)
        order = bytes_compare(x->is.system, y->is.system);
    return order != 0 ? order : bytes_compare(x->is.environment, y->is.environment);
}

static int by_ends(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b; /* number: of the ends, from * nodes + to */
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    int order = (x->edge->type > y->edge->type) - (x->edge->type < y->edge->type);
    return order != 0 ? order : bytes_compare(x->edge->via, y->edge->via);
}

static enum err rank_nodes(struct graph *g, int (*order)(const void *, const void *),
                           struct ranked **out, size_t *out_count)
{
    struct ranked *all = arena_alloc_array(g->arena, g->nodes_count, sizeof all[0]);
    size_t count = 0;
    if (all == NULL)
        return arena_failure(g->arena);
    for (size_t i = 0; i < g->nodes_count; i++)
        if (!g->nodes[i].is_left_out)
            all[count++] = (struct ranked){ .node = &g->nodes[i], .number = i };
    if (count > 0)
        qsort(all, count, sizeof all[0], order);
    *out = all;
    *out_count = count;
    return ERR_OK;
}

enum err graph_limit(struct graph *g, size_t max)
{
    struct ranked *all = NULL;
    size_t count = 0;
    enum err e = rank_nodes(g, busiest_first, &all, &count);
    if (e != ERR_OK)
        return e;
    for (size_t i = max; i < count; i++)
        g->nodes[all[i].number].is_left_out = true;
    leave_out_edges(g);
    return ERR_OK;
}

enum err graph_number(struct graph *g, struct graph_order *out)
{
    struct ranked *nodes = NULL;
    size_t count = 0, edges = 0;
    enum err e = rank_nodes(g, by_name, &nodes, &count);
    if (e != ERR_OK)
        return e;
    struct ranked *ends = arena_alloc_array(g->arena, g->edges_count, sizeof ends[0]);
    size_t *node_order = arena_alloc_array(g->arena, count, sizeof node_order[0]);
    size_t *edge_order = arena_alloc_array(g->arena, g->edges_count, sizeof edge_order[0]);
    if (ends == NULL || node_order == NULL || edge_order == NULL)
        return arena_failure(g->arena);
    for (size_t i = 0; i < count; i++) {
        node_order[i] = nodes[i].number;
        g->nodes[nodes[i].number].index = i;
    }
    for (size_t i = 0; i < g->edges_count; i++) {
        const struct graph_edge *x = &g->edges[i];
        if (!x->is_left_out)
            ends[edges++] = (struct ranked){
                .edge = x, .number = g->nodes[x->from].index * count + g->nodes[x->to].index
            };
    }
    if (edges > 0)
        qsort(ends, edges, sizeof ends[0], by_ends);
    for (size_t i = 0; i < edges; i++)
        edge_order[i] = (size_t)(ends[i].edge - g->edges);
    *out = (struct graph_order){ node_order, edge_order, count, edges };
    return ERR_OK;
}
