/* SPDX-License-Identifier: Apache-2.0 */
/* The service map, and what one service calls and is called by. */
#include "query/graph.h"
#include "query/native.h"

#include <stdlib.h>

#define NODES_DEFAULT   500
#define NODES_MAX       2000
#define AUTO_GROUP_OVER 60 /* nodes that people can still tell apart */
#define HOPS_MAX        3
#define ID_BYTES_MAX    ((size_t)1 << 20)

/* ---- Nodes and edges as both answers write them ---- */

static void write_id(struct json_writer *j, const char *key, const struct graph_node *n)
{
    struct buffer text;
    buffer_init(&text, ID_BYTES_MAX);
    graph_node_id(n, &text);
    native_write_text(j, key, buffer_bytes(&text));
    buffer_deinit(&text);
}

static void write_node_name(struct call *c, const struct graph_node *n)
{
    struct json_writer *j = &c->json;
    write_id(j, "id", n);
    json_key(j, "kind");
    json_text(j, graph_node_kind(n));
    native_write_text(j, "name", n->is.name);
    if (n->is_group)
        return;
    if (n->is.kind == NODE_SERVICE) {
        native_write_text(j, "ns", n->is.namespace);
        native_write_count(j, "color", native_color(c, n->is.name));
    } else if (n->is.system.len > 0) {
        native_write_text(j, "system", n->is.system);
    }
    if (n->is.environment.len > 0)
        native_write_text(j, "env", n->is.environment);
}

static const char *type_word(enum connection_type type)
{
    switch (type) {
    case CONNECTION_DIRECT:
        return "direct";
    case CONNECTION_MESSAGING:
        return "messaging";
    case CONNECTION_DATABASE:
        return "database";
    case CONNECTION_VIRTUAL:
        return "virtual";
    }
    return "direct";
}

static void write_edge_type(struct json_writer *j, const struct graph *g,
                            const struct graph_edge *x)
{
    const struct graph_node *ends[2] = { &g->nodes[x->to], &g->nodes[x->from] };
    struct bytes system = { 0 };
    for (size_t i = 0; i < 2 && system.len == 0; i++)
        if (ends[i]->is.kind != NODE_SERVICE)
            system = ends[i]->is.system;
    json_key(j, "type");
    json_text(j, type_word(x->type));
    json_key(j, "async");
    json_bool(j, x->type == CONNECTION_MESSAGING);
    native_write_text(j, "system", system);
    if (x->via.len > 0)
        native_write_text(j, "via", x->via);
}

static void write_edge_numbers(struct numbers_answer *a, const struct graph_edge *x)
{
    const struct graph_side *now = &x->in[GRAPH_NOW];
    const struct histogram *durations = graph_side_durations(now);
    struct json_writer *j = &a->c->json;
    numbers_write_rates(a, now->count, now->errors, a->w->seconds);
    json_key(j, "side");
    json_text(j, durations == &now->client ? "client" : "server");
    native_write_count(j, "n", durations->count);
    numbers_write_percentiles(a, durations);
    if (now->client.count > 0 && now->server.count > 0) {
        json_key(j, "server");
        json_object_begin(j);
        native_write_count(j, "n", now->server.count);
        numbers_write_percentiles(a, &now->server);
        json_object_end(j);
    }
    numbers_write_exemplar(j, "slow", &now->slowest);
    numbers_write_exemplar(j, "fail", &now->failed);
}

/* `gone` or `new` against the other window. */
static void write_state(struct json_writer *j, uint64_t now, uint64_t then)
{
    if ((now == 0) == (then == 0))
        return;
    json_key(j, "state");
    json_text(j, now == 0 ? "gone" : "new");
}

static void write_gap(struct json_writer *j, enum unpaired_reason why, const struct graph_gap *gap)
{
    json_key(j, "why");
    json_text(j, unpaired_reason_text(why));
    native_write_count(j, "count", gap->count);
    json_key(j, "samples");
    json_array_begin(j);
    for (size_t i = 0; i < gap->samples_count; i++)
        json_hex(j, bytes_of(gap->samples[i].b, sizeof gap->samples[i].b));
    json_array_end(j);
}

/* ---- The map ---- */

enum grouping { GROUP_NONE, GROUP_NS, GROUP_ENV, GROUP_AUTO };
static const char *const grouping_words[] = { "none", "ns", "env", "auto", NULL };
static const char *const direction_words[] = { "in", "out", "both", NULL };

struct map_question {
    struct numbers_window w, w_prev;
    bool has_prev;
    enum grouping grouping;
    enum graph_direction direction;
    uint64_t limit, hops;
    struct bytes env, open, focus;
};

static enum err read_map(struct call *c, struct map_question *q)
{
    static const char *const known[] = { "from", "to",  "env",  "group", "open", "focus",
                                         "hops", "dir", "prev", "limit", NULL };
    size_t grouping = GROUP_NONE, direction = GRAPH_BOTH;
    *q = (struct map_question){ .limit = NODES_DEFAULT, .hops = 1 };
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = numbers_window_read(c, NUMBERS_SPARK_POINTS, &q->w);
    if (e == ERR_OK)
        e = numbers_window_prev(c, &q->w, &q->w_prev, &q->has_prev);
    if (e == ERR_OK)
        e = parameter_word(c, "group", grouping_words, &grouping);
    if (e == ERR_OK)
        e = parameter_word(c, "dir", direction_words, &direction);
    if (e == ERR_OK)
        e = parameter_u64(c, "hops", 1, HOPS_MAX, &q->hops);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, NODES_MAX, &q->limit);
    (void)parameter_text(c, "open", &q->open);
    (void)parameter_text(c, "focus", &q->focus);
    q->w_prev.points = 0;
    q->grouping = (enum grouping)grouping;
    q->direction = (enum graph_direction)direction;
    return e;
}

/* What is asked for of the graph; *grouping becomes what was done. */
static enum err reduce(struct call *c, struct map_question *q, struct graph *g)
{
    enum err e = ERR_OK;
    if (q->grouping == GROUP_AUTO)
        q->grouping =
            g->nodes_count > AUTO_GROUP_OVER && graph_has_namespaces(g) ? GROUP_NS : GROUP_NONE;
    if (q->grouping != GROUP_NONE)
        e = graph_group(g, q->grouping == GROUP_ENV, q->open, g);
    if (e == ERR_OK && q->focus.len > 0) {
        e = graph_focus(g, q->focus, (unsigned)q->hops, q->direction);
        if (e == ERR_NOT_FOUND)
            e = call_fail(c, e, "focus", "no such node in this range");
    }
    return e == ERR_OK ? graph_limit(g, (size_t)q->limit) : e;
}

static void write_node(struct numbers_answer *a, const struct map_question *q,
                       const struct graph_node *n)
{
    struct json_writer *j = &a->c->json;
    json_object_begin(j);
    write_node_name(a->c, n);
    if (n->is_group) {
        native_write_count(j, "members", n->members);
        native_write_count(j, "inner", n->inner_edges);
    } else if (n->is.kind == NODE_SERVICE) {
        json_key(j, "envs");
        json_array_begin(j);
        for (size_t i = 0; i < n->environments_count; i++)
            json_string(j, n->environments[i]);
        json_array_end(j);
        json_key(j, "basis");
        json_text(j, n->is_entry ? "entry" : "all");
    }
    numbers_write_sum(a, &n->sum[GRAPH_NOW]);
    numbers_write_point_rates(a, "spark", a->w, n->points);
    if (q->has_prev) {
        numbers_write_prev(a, &q->w_prev, &n->sum[GRAPH_PREV]);
        write_state(j, n->sum[GRAPH_NOW].count, n->sum[GRAPH_PREV].count);
    }
    json_object_end(j);
}

static void write_edge(struct numbers_answer *a, const struct map_question *q,
                       const struct graph *g, const struct graph_edge *x)
{
    struct json_writer *j = &a->c->json;
    json_object_begin(j);
    native_write_count(j, "s", g->nodes[x->from].index);
    native_write_count(j, "t", g->nodes[x->to].index);
    write_edge_type(j, g, x);
    write_edge_numbers(a, x);
    if (q->has_prev) {
        const struct graph_side *then = &x->in[GRAPH_PREV];
        json_key(j, "prev");
        json_object_begin(j);
        numbers_write_rates(a, then->count, then->errors, q->w_prev.seconds);
        numbers_write_percentiles(a, graph_side_durations(then));
        json_object_end(j);
        write_state(j, x->in[GRAPH_NOW].count, then->count);
    }
    json_object_end(j);
}

static void write_gaps(struct numbers_answer *a, const struct graph *g,
                       const struct graph_order *order)
{
    struct json_writer *j = &a->c->json;
    json_key(j, "gaps");
    json_array_begin(j);
    for (size_t i = 0; i < order->nodes_count; i++) {
        const struct graph_node *n = &g->nodes[order->nodes[i]];
        for (size_t why = 0; n->gaps != NULL && why < UNPAIRED_REASON_COUNT; why++) {
            if (n->gaps[why].count == 0)
                continue;
            json_object_begin(j);
            native_write_count(j, "s", i);
            write_gap(j, (enum unpaired_reason)why, &n->gaps[why]);
            json_object_end(j);
        }
    }
    json_array_end(j);
}

enum err native_map(struct call *c)
{
    struct map_question q;
    struct graph g;
    struct graph_order order;
    struct numbers_answer a;
    enum err e = read_map(c, &q);
    if (e != ERR_OK)
        return e;
    const struct graph_query query = { .w = &q.w,
                                       .prev = q.has_prev ? &q.w_prev : NULL,
                                       .environment = numbers_text(c, "env", &q.env),
                                       .by_environment = q.grouping == GROUP_ENV };
    e = graph_build(c, &query, &g);
    if (e == ERR_OK)
        e = reduce(c, &q, &g);
    if (e == ERR_OK)
        e = graph_number(&g, &order);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    numbers_begin(&a, c, &q.w);
    json_key(j, "group");
    json_text(j, grouping_words[q.grouping]);
    json_key(j, "nodes");
    json_array_begin(j);
    for (size_t i = 0; i < order.nodes_count; i++)
        write_node(&a, &q, &g.nodes[order.nodes[i]]);
    json_array_end(j);
    json_key(j, "edges");
    json_array_begin(j);
    for (size_t i = 0; i < order.edges_count; i++)
        write_edge(&a, &q, &g, &g.edges[order.edges[i]]);
    json_array_end(j);
    json_key(j, "hidden");
    json_object_begin(j);
    native_write_count(j, "nodes", g.nodes_count - order.nodes_count);
    native_write_count(j, "edges", g.edges_count - order.edges_count);
    json_object_end(j);
    write_gaps(&a, &g, &order);
    numbers_end(&a, order.nodes_count);
    return ERR_OK;
}

/* ---- One service ---- */

/* The service, of any namespace unless one is given. */
static bool is_asked(const struct graph_node *n, struct bytes service,
                     const struct bytes *namespace)
{
    return n->is.kind == NODE_SERVICE && bytes_equal(n->is.name, service) &&
           (namespace == NULL || bytes_equal(n->is.namespace, *namespace));
}

static int busiest_first(const void *a, const void *b)
{
    const struct graph_edge *x = *(const struct graph_edge *const *)a;
    const struct graph_edge *y = *(const struct graph_edge *const *)b;
    uint64_t n = x->in[GRAPH_NOW].count, m = y->in[GRAPH_NOW].count;
    if (n != m)
        return n < m ? 1 : -1;
    return (x > y) - (x < y);
}

static void write_neighbour(struct numbers_answer *a, const struct graph *g,
                            const struct graph_edge *x, const struct graph_node *n,
                            uint64_t service_ns)
{
    struct json_writer *j = &a->c->json;
    uint64_t time_ns = graph_side_durations(&x->in[GRAPH_NOW])->sum;
    json_object_begin(j);
    json_key(j, "node");
    json_object_begin(j);
    write_node_name(a->c, n);
    json_object_end(j);
    write_edge_type(j, g, x);
    write_edge_numbers(a, x);
    native_write_count(j, "time", time_ns);
    numbers_write_or_null(j, "share", (double)time_ns / (double)service_ns, service_ns > 0);
    json_object_end(j);
}

struct service_edges {
    struct bytes service;
    const struct bytes *namespace;
    uint64_t time_ns;
};

static enum err write_side(struct numbers_answer *a, const struct graph *g,
                           const struct service_edges *s, bool is_out, size_t *out_count)
{
    struct json_writer *j = &a->c->json;
    const struct graph_edge **edges =
        arena_alloc_array(&a->c->arena, g->edges_count, sizeof edges[0]);
    size_t count = 0;
    if (edges == NULL)
        return arena_failure(&a->c->arena);
    for (size_t i = 0; i < g->edges_count; i++) {
        const struct graph_edge *x = &g->edges[i];
        if (is_asked(&g->nodes[is_out ? x->from : x->to], s->service, s->namespace))
            edges[count++] = x;
    }
    if (count > 0)
        qsort(edges, count, sizeof edges[0], busiest_first);
    json_key(j, is_out ? "out" : "in");
    json_array_begin(j);
    for (size_t i = 0; i < count; i++)
        write_neighbour(a, g, edges[i], &g->nodes[is_out ? edges[i]->to : edges[i]->from],
                        s->time_ns);
    json_array_end(j);
    *out_count += count;
    return ERR_OK;
}

static void write_service_gaps(struct numbers_answer *a, const struct graph *g,
                               const struct service_edges *s)
{
    struct json_writer *j = &a->c->json;
    json_key(j, "gaps");
    json_array_begin(j);
    for (size_t i = 0; i < g->nodes_count; i++) {
        const struct graph_node *n = &g->nodes[i];
        for (size_t why = 0; n->gaps != NULL && why < UNPAIRED_REASON_COUNT; why++) {
            if (n->gaps[why].count == 0 || !is_asked(n, s->service, s->namespace))
                continue;
            json_object_begin(j);
            write_gap(j, (enum unpaired_reason)why, &n->gaps[why]);
            json_object_end(j);
        }
    }
    json_array_end(j);
}

enum err native_dependencies(struct call *c)
{
    static const char *const known[] = { "from", "to", "env", "ns", NULL };
    struct numbers_window w;
    struct graph g;
    struct numbers_answer a;
    struct bytes env, ns;
    size_t rows = 0;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = numbers_window_read(c, 0, &w);
    if (e != ERR_OK)
        return e;
    const struct graph_query query = { .w = &w,
                                       .environment = numbers_text(c, "env", &env),
                                       .has_via = true };
    e = graph_build(c, &query, &g);
    if (e != ERR_OK)
        return e;
    struct service_edges s = { .service = c->request->parameters[0],
                               .namespace = numbers_text(c, "ns", &ns) };
    for (size_t i = 0; i < g.nodes_count; i++)
        if (is_asked(&g.nodes[i], s.service, s.namespace))
            s.time_ns += g.nodes[i].sum[GRAPH_NOW].time_ns;
    numbers_begin(&a, c, &w);
    native_write_count(&c->json, "time", s.time_ns);
    e = write_side(&a, &g, &s, false, &rows);
    if (e == ERR_OK)
        e = write_side(&a, &g, &s, true, &rows);
    if (e != ERR_OK)
        return e;
    write_service_gaps(&a, &g, &s);
    numbers_end(&a, rows);
    return ERR_OK;
}
