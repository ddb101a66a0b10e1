/* SPDX-License-Identifier: Apache-2.0 */
/* graph.h - the service map as nodes and edges of one window, or of two to compare.
 *
 * Role       brings together what the engine says of services (RED) and of edges, and reduces it to what
 *            is asked for: groups, a neighbourhood, the largest.
 * Identity   a node is its kind, namespace, name and system; of several environments only when asked
 *            for. An edge is its ends, its type, and the destination between a producer and a consumer.
 * Numbers    of a service: its calls as in red_rows.h. Of any other node: the calls into it, or, when
 *            there are none (users), out of it.
 * Ownership  the call's arena.
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_GRAPH_H
#define SPINDLE_QUERY_GRAPH_H

#include "query/red_rows.h"

enum { GRAPH_NOW, GRAPH_PREV, GRAPH_WINDOWS };

struct graph_gap {
    uint64_t count;
    struct trace_id samples[UNPAIRED_SAMPLES_MAX];
    size_t samples_count;
};

struct graph_node {
    struct derived_node is; /* environment: empty unless nodes differ by it */
    bool is_group;          /* then is.name is the group's, and nothing else of it counts */
    bool is_entry;          /* the basis of a service */
    bool is_left_out;
    size_t members;       /* of a group */
    uint64_t inner_edges; /* likewise: between its members, so not in the graph */
    struct bytes *environments;
    size_t environments_count;
    struct numbers_sum sum[GRAPH_WINDOWS];
    uint64_t *points;       /* calls; NULL: none asked for */
    struct graph_gap *gaps; /* UNPAIRED_REASON_COUNT of them, or NULL */
    size_t index;           /* among those not left out: graph_number() */
};

struct graph_side {
    uint64_t count, errors;
    struct histogram client, server;
    struct derived_exemplar slowest, failed;
};

struct graph_edge {
    size_t from, to; /* nodes */
    enum connection_type type;
    struct bytes via;
    bool is_left_out;
    struct graph_side in[GRAPH_WINDOWS];
    uint64_t *points;
};

struct graph {
    struct arena *arena;
    bool has_prev;
    size_t points; /* of nodes' and edges' */
    struct graph_node *nodes;
    size_t nodes_count, nodes_capacity, nodes_max,
        nodes_first; /* first: about so many; 0: not known */
    struct graph_edge *edges;
    size_t edges_count, edges_capacity, edges_max, edges_first;
    uint32_t *node_slots, *edge_slots; /* hash tables of number + 1 */
    size_t node_mask, edge_mask;
};

struct graph_query {
    const struct numbers_window *w, *prev; /* prev: NULL: none */
    const struct bytes *environment;       /* NULL: all */
    bool by_environment;
    bool has_via; /* also producer -> consumer behind a named destination */
};
NODISCARD enum err graph_build(struct call *c, const struct graph_query *query, struct graph *out);

/* A graph in which services of one namespace (or environment) are one node, and with them what only
 * they call; but for groups named in `open`, by commas. */
NODISCARD enum err graph_group(const struct graph *g, bool by_environment, struct bytes open,
                               struct graph *out);

enum graph_direction { GRAPH_IN, GRAPH_OUT, GRAPH_BOTH };
/* Leave out what is further than `hops` from the node with this ID. ERR_NOT_FOUND. */
NODISCARD enum err graph_focus(struct graph *g, struct bytes id, unsigned hops,
                               enum graph_direction direction);
/* Leave out all but `max` nodes: kept are those with errors, then the busiest. */
NODISCARD enum err graph_limit(struct graph *g, size_t max);
/* Count and number the nodes that are left, in the order of their names; edges likewise. */
struct graph_order {
    size_t *nodes, *edges;
    size_t nodes_count, edges_count;
};
NODISCARD enum err graph_number(struct graph *g, struct graph_order *out);

/* Whether services have more than one namespace. */
bool graph_has_namespaces(const struct graph *g);
/* What a node is called in URLs: stable, unique, opaque. */
void graph_node_id(const struct graph_node *n, struct buffer *out);
const char *graph_node_kind(const struct graph_node *n);
/* Its durations as its client saw them, or, without, its server. */
const struct histogram *graph_side_durations(const struct graph_side *side);

/* ---- Between the sources behind this header ---- */

/* An empty graph with room for so many nodes and edges, and not one more. */
NODISCARD enum err graph_init(struct graph *g, struct arena *arena, size_t nodes_max,
                              size_t edges_max, size_t points);
/* The number of a node, the edge between two: made when they are new; then others may move. */
NODISCARD enum err graph_node_of(struct graph *g, const struct derived_node *is, bool is_group,
                                 size_t *out);
NODISCARD enum err graph_edge_of(struct graph *g, size_t from, size_t to, enum connection_type type,
                                 struct bytes via, struct graph_edge **out);

#endif
