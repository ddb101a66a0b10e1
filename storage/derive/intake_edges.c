/* SPDX-License-Identifier: Apache-2.0 */
/* intake_edges.c - what one span says of edges: calls that are complete, and halves of others. */
#include "base/mem.h"
#include "storage/derive/intake_private.h"
#include "storage/derive/peer.h"
#include "storage/rowgroup/rowgroup_wire.h"

#include <assert.h>

#define LINKS_MAX           128u /* of one span that are looked at */
#define PEER_ATTRIBUTES_MAX 8u   /* that are remembered of one */

struct intake_edge {
    uint64_t ends; /* numbers of the client, above, and of the server */
    uint64_t how;  /* of the queue between, or HALF_NONE, above; and enum connection_type */
    uint32_t series_plus_one;
    uint32_t group;            /* of the point */
    uint64_t changes;          /* when it was asked for */
    struct tally_point *point; /* that was counted in last, and when it begins */
    uint64_t point_unix_ns;
};

struct intake_peer {
    uint32_t group; /* of the last span */
    bool is_known;
    bool has_queue;  /* a destination is named */
    uint8_t ignored; /* of these attributes, by bits, the key counts alone */
    enum peer_role role;
    uint32_t node; /* HALF_NONE: they name nobody */
    uint32_t attributes_count;
    uint64_t codes[PEER_ATTRIBUTES_MAX];
    struct tally_point *point; /* of the edge to it that was counted in last, or NULL */
    struct bytes attributes[PEER_ATTRIBUTES_MAX];
};

static void halves_deinit(struct intake_halves *h)
{
    mem_free(h->list);
    mem_free(h->state);
    *h = (struct intake_halves){ 0 };
}

void intake_edges_deinit(struct intake *in)
{
    halves_deinit(&in->callers);
    halves_deinit(&in->servers);
    mem_free(in->edges);
    mem_free(in->peers);
}

void intake_edges_reset(struct intake *in)
{
    in->callers.count = in->servers.count = 0;
    in->seeks_any = in->seeks_all = false;
    in->trace = (struct intake_trace){ 0 };
}

void intake_edges_forget(struct intake *in)
{
    in->edges_used = 0;
    if (in->edges != NULL)
        memset(in->edges, 0, (in->edges_mask + 1u) * sizeof *in->edges);
}

uint32_t intake_node(struct intake *in, const struct derived_node *node)
{
    uint32_t number = HALF_NONE;
    buffer_reset(&in->cleaned);
    node_key_put(&in->cleaned, node);
    if (intake_failed(in, buffer_error(&in->cleaned)) ||
        intake_failed(in, intern_put(&in->nodes, buffer_bytes(&in->cleaned), &number)))
        return HALF_NONE;
    return number;
}

/* ---- Counting -------------------------------------------------------------------------------- */

static inline uint32_t edge_hash(uint64_t ends, uint64_t how)
{
    return (uint32_t)wire_fold(ends ^ how << 20, UINT64_C(0x9E3779B97F4A7C15));
}

static __attribute__((noinline)) bool edges_grow(struct intake *in)
{
    uint32_t count = in->edges == NULL ? 256 : 2 * (in->edges_mask + 1);
    struct intake_edge *edges = mem_alloc_array(count, sizeof *edges);
    if (edges == NULL)
        return !intake_failed(in, ERR_NOMEM);
    struct intake_edge *old = in->edges;
    uint32_t old_count = old == NULL ? 0 : in->edges_mask + 1;
    in->edges = edges;
    in->edges_mask = count - 1;
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i].series_plus_one == 0)
            continue;
        uint32_t at = edge_hash(old[i].ends, old[i].how) & (count - 1);
        while (edges[at].series_plus_one != 0)
            at = (at + 1) & (count - 1);
        edges[at] = old[i];
    }
    mem_free(old);
    return true;
}

static bool edge_series_make(struct intake *in, uint64_t ends, uint64_t how, uint32_t *out)
{
    uint32_t client = (uint32_t)(ends >> 32), server = (uint32_t)ends, via = (uint32_t)(how >> 32);
    struct edge_key key = { .type = (enum connection_type)(uint32_t)how };
    struct derived_node queue;
    bool is_read = node_key_read(intern_get(&in->nodes, client), &key.client) &&
                   node_key_read(intern_get(&in->nodes, server), &key.server) &&
                   (via == HALF_NONE || node_key_read(intern_get(&in->nodes, via), &queue));
    assert(is_read);
    (void)is_read;
    if (via != HALF_NONE)
        key.via = queue.name;
    if (in->admit_edge != NULL)
        in->admit_edge(in->admit_context, &key);
    buffer_reset(&in->scratch);
    edge_key_put(&in->scratch, &key);
    return !intake_failed(in, buffer_error(&in->scratch)) &&
           !intake_failed(in, tally_series(&in->tally, buffer_bytes(&in->scratch), out));
}

/* One that the group has not asked for, in its place. */
static __attribute__((noinline)) bool edge_fill(struct intake *in, uint64_t ends, uint64_t how,
                                                struct intake_edge *place)
{
    uint32_t series;
    if (!edge_series_make(in, ends, how, &series))
        return false;
    in->edges_used += place->series_plus_one == 0;
    *place = (struct intake_edge){
        .ends = ends, .how = how, .series_plus_one = series + 1, .changes = in->changes
    };
    return true;
}

/* The point of an edge for which there is none yet in the group, or in the minute. NULL after a failure. */
static __attribute__((noinline)) struct tally_point *edge_point_make(struct intake *in,
                                                                     uint64_t ends, uint64_t how,
                                                                     uint64_t unix_ns,
                                                                     struct intake_edge *e)
{
    struct tally_point *p;
    if (((e->series_plus_one == 0 || e->changes != in->changes) && !edge_fill(in, ends, how, e)) ||
        intake_failed(in, tally_at(&in->tally, e->series_plus_one - 1, unix_ns, &p)))
        return NULL;
    e->group = in->group;
    e->point = p;
    e->point_unix_ns = p->start_unix_ns;
    return p;
}

/* Where a call of a moment is counted; NULL after a failure. The parts of a key in two words, so that it is compared
 * without a way through memory. */
static inline struct tally_point *edge_point(struct intake *in, uint32_t client, uint32_t server,
                                             enum connection_type type, uint32_t via,
                                             uint64_t start_unix_ns)
{
    uint64_t ends = (uint64_t)client << 32 | server, how = (uint64_t)via << 32 | type;
    uint64_t unix_ns = intake_time(in, start_unix_ns);
    if ((in->edges == NULL || in->edges_used >= in->edges_mask / 2) && !edges_grow(in))
        return NULL;
    uint32_t at = edge_hash(ends, how) & in->edges_mask;
    struct intake_edge *e = &in->edges[at];
    for (; e->series_plus_one != 0; e = &in->edges[at = (at + 1) & in->edges_mask])
        if (e->ends == ends && e->how == how)
            break;
    if (e->group != in->group || unix_ns - e->point_unix_ns >= in->tally.width_ns)
        return edge_point_make(in, ends, how, unix_ns, e);
    return e->point;
}

static struct derived_exemplar exemplar_of(const struct half *h)
{
    struct derived_exemplar x = { .is_set = true,
                                  .start_unix_ns = h->start_unix_ns,
                                  .duration_ns = h->duration_ns };
    store_be64(x.trace_id.b, h->own_high);
    store_be64(x.trace_id.b + 8, h->own_low);
    store_le64(x.span_id.b, h->own);
    return x;
}

static __attribute__((noinline)) void point_example(struct tally_point *p, const struct half *h,
                                                    bool is_failed)
{
    struct derived_exemplar x = exemplar_of(h);
    if (tally_is_slower(&x, &p->slowest))
        p->slowest = x;
    if (is_failed && tally_is_later(&x, &p->failed))
        p->failed = x;
}

static inline void edge_count(struct tally_point *p, bool is_failed)
{
    p->calls++;
    p->estimated_calls = intake_add_saturating(p->estimated_calls, TALLY_ONE);
    if (is_failed) {
        p->errors++;
        p->estimated_errors = intake_add_saturating(p->estimated_errors, TALLY_ONE);
    }
}

static inline bool duration_count(struct intake *in, struct tally_values *v, const struct half *h)
{
    return !intake_failed(in, tally_duration(&in->tally, v, h->duration_ns, h->bucket));
}

/* A call, by the span that tells of it: a client's where there is one. */
static inline void edge_add(struct intake *in, uint32_t client_node, uint32_t server_node,
                            enum connection_type type, uint32_t via, const struct half *client,
                            const struct half *server)
{
    const struct half *teller = client != NULL ? client : server;
    bool is_failed =
        ((client != NULL ? client->flags : 0u) | (server != NULL ? server->flags : 0u)) &
        HALF_ERROR;
    struct tally_point *p = in->error == ERR_OK ? edge_point(in, client_node, server_node, type,
                                                             via, teller->start_unix_ns)
                                                : NULL;
    if (p == NULL)
        return;
    edge_count(p, is_failed);
    if (is_failed || teller->duration_ns >= p->slowest.duration_ns)
        point_example(p, teller, is_failed);
    if ((client == NULL || duration_count(in, &p->first_values, client)) && server != NULL)
        (void)duration_count(in, &p->second_values, server);
}

void intake_edge(struct intake *in, uint32_t client_node, uint32_t server_node,
                 enum connection_type type, uint32_t via, const struct half *client,
                 const struct half *server)
{
    edge_add(in, client_node, server_node, type, via, client, server);
}

static inline void pair_add(struct intake *in, const struct half *client, const struct half *server)
{
    bool is_message = ((client->flags | server->flags) & HALF_MESSAGING) != 0;
    uint32_t via = (client->flags & HALF_NAMED) != 0   ? client->peer
                   : (server->flags & HALF_NAMED) != 0 ? server->peer
                                                       : HALF_NONE;
    edge_add(in, client->node, server->node, is_message ? CONNECTION_MESSAGING : CONNECTION_DIRECT,
             via, client, server);
}

void intake_pair(struct intake *in, const struct half *client, const struct half *server)
{
    pair_add(in, client, server);
}

void intake_unpaired(struct intake *in, const struct half *h, enum unpaired_reason reason)
{
    struct unpaired_key key = { .reason = reason };
    uint32_t series;
    struct tally_point *p;
    bool is_read = node_key_read(intern_get(&in->nodes, h->node), &key.node);
    assert(is_read);
    (void)is_read;
    buffer_reset(&in->scratch);
    unpaired_key_put(&in->scratch, &key);
    if (intake_failed(in, buffer_error(&in->scratch)) ||
        intake_failed(in, tally_series(&in->tally, buffer_bytes(&in->scratch), &series)) ||
        intake_failed(in, tally_at(&in->tally, series, intake_time(in, h->start_unix_ns), &p)))
        return;
    p->calls++;
    p->estimated_calls = intake_add_saturating(p->estimated_calls, TALLY_ONE);
    point_example(p, h, true); /* two samples: the longest, and the latest */
}

static bool halves_grow(struct intake *in, struct intake_halves *h)
{
    uint32_t capacity = h->capacity == 0 ? 1024 : 2 * h->capacity;
    struct half *list = mem_realloc(h->list, capacity * sizeof *list);
    if (list != NULL)
        h->list = list;
    uint8_t *state = list == NULL ? NULL : mem_realloc(h->state, capacity);
    if (state == NULL)
        return !intake_failed(in, ERR_NOMEM);
    h->state = state;
    h->capacity = capacity;
    return true;
}

/* NULL after a failure. */
static inline struct half *half_new(struct intake *in, struct intake_halves *to, uint8_t state)
{
    if (to->count == to->capacity && !halves_grow(in, to))
        return NULL;
    to->state[to->count] = state;
    return &to->list[to->count++];
}

static void half_add(struct intake *in, struct intake_halves *to, uint8_t state,
                     const struct half *half)
{
    struct half *h = half_new(in, to, state);
    if (h != NULL)
        *h = *half;
}

static void server_add(struct intake *in, const struct half *h)
{
    if (!in->is_by_trace || (h->flags & HALF_LINK) != 0)
        in->seeks_any = in->seeks_all = true; /* its caller may be in any trace */
    half_add(in, &in->servers, 0, h);
}

/* ---- A trace --------------------------------------------------------------------------------- */

/* Looking through all callers for each server is fastest where there are few. */
#define TRACE_STEPS_MAX    4096u
#define CALLERS_BEFORE_MAX 64u

/* Of callers with one ID the first, as pairing_run() has it; of none the number of all. */
static inline uint32_t caller_find(const struct intake *in, uint64_t span)
{
    uint32_t i = in->trace.callers_begin;
    while (i < in->callers.count && in->callers.list[i].span != span)
        i++;
    return i;
}

/* Servers that meet no caller stay. */
static void trace_pair(struct intake *in)
{
    struct intake_halves *servers = &in->servers;
    uint32_t kept = in->trace.servers_begin;
    for (uint32_t i = kept; i < servers->count; i++) {
        const struct half *server = &servers->list[i];
        bool is_elsewhere = (server->flags & HALF_LINK) != 0;
        uint32_t caller = is_elsewhere ? in->callers.count : caller_find(in, server->span);
        if (caller < in->callers.count) {
            in->callers.state[caller] |= HALF_MET;
            intake_pair(in, &in->callers.list[caller], server);
        } else {
            if (kept < i)
                servers->list[kept] = *server;
            kept++;
        }
    }
    servers->count = kept;
}

void intake_trace_end(struct intake *in)
{
    struct intake_trace *t = &in->trace;
    uint32_t callers = in->callers.count - t->callers_begin;
    uint32_t servers = in->servers.count - t->servers_begin;
    if (in->is_by_trace && (uint64_t)callers * servers <= TRACE_STEPS_MAX) {
        trace_pair(in);
    } else if (in->is_by_trace) {
        for (uint32_t i = t->callers_begin; i < in->callers.count; i++)
            in->callers.state[i] |= HALF_SOUGHT;
        in->seeks_any = true;
    }
    t->callers_begin = in->callers.count;
    t->servers_begin = in->servers.count;
}

/* ---- A span ---------------------------------------------------------------------------------- */

void intake_peer_prefetch(const struct intake *in, uint32_t series)
{
    if (series < in->peers_capacity)
        __builtin_prefetch(&in->peers[series]);
}

static bool peers_reserve(struct intake *in, uint32_t series)
{
    if (series < in->peers_capacity)
        return true;
    uint32_t capacity = in->peers_capacity == 0 ? 256 : in->peers_capacity;
    while (capacity <= series)
        capacity *= 2;
    struct intake_peer *grown = mem_realloc(in->peers, capacity * sizeof *grown);
    if (grown == NULL)
        return !intake_failed(in, ERR_NOMEM);
    memset(grown + in->peers_capacity, 0, (capacity - in->peers_capacity) * sizeof *grown);
    in->peers = grown;
    in->peers_capacity = capacity;
    return true;
}

/* The bytes by which two attributes are told apart. */
static struct bytes attribute_counts(const struct intake_peer *p, uint32_t i)
{
    struct bytes a = p->attributes[i];
    return (p->ignored & 1u << i) != 0 ? bytes_slice(a, 0, 2u + a.data[1]) : a;
}

static __attribute__((noinline)) bool attribute_equal(const struct intake_peer *p, uint32_t i,
                                                      struct bytes attribute)
{
    struct bytes counts = attribute_counts(p, i);
    if ((p->ignored & 1u << i) != 0)
        attribute = bytes_slice(attribute, 0, counts.len);
    return wire_equal(counts, attribute);
}

/* Whether a span's attributes name whom the last one's did. By codes, where there are any; and those that differ are
 * remembered for the next. */
static inline bool attributes_equal(struct intake_peer *p, const struct derive_span *s)
{
    uint32_t count = s->attributes_count;
    if (s->attributes == NULL || p->attributes_count != count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t code = s->attribute_codes == NULL ? DERIVE_CODE_NONE : s->attribute_codes[i];
        if (code != DERIVE_CODE_NONE && code == p->codes[i])
            continue;
        if (!attribute_equal(p, i, s->attributes[i]))
            return false;
        p->codes[i] = code;
    }
    return true;
}

/* Whom the span names. Spans of a series nearly always name the same one as the last. */
static struct intake_peer *peer_of(struct intake *in, const struct intake_context *c,
                                   const struct derive_span *s, uint32_t series)
{
    if (!peers_reserve(in, series))
        return NULL;
    struct intake_peer *p = &in->peers[series];
    if (p->is_known && p->group == in->group && attributes_equal(p, s))
        return p;
    uint32_t count = s->attributes_count;
    struct peer_parts parts = { .present = 0 };
    struct derived_node node;
    peer_read(s, &parts);
    *p = (struct intake_peer){ .group = in->group,
                               .role = peer_role(s->kind, &parts),
                               .node = HALF_NONE };
    if (peer_node(p->role, &parts, c->environment, &in->scratch, &node))
        p->node = intake_node(in, &node);
    p->has_queue = p->node != HALF_NONE && (parts.present & 1u << PART_QUEUE) != 0;
    p->is_known = s->attributes != NULL && count <= PEER_ATTRIBUTES_MAX;
    p->attributes_count = count;
    for (uint32_t i = 0; p->is_known && i < count; i++) {
        p->attributes[i] = s->attributes[i];
        p->codes[i] = s->attribute_codes == NULL ? DERIVE_CODE_NONE : s->attribute_codes[i];
        p->ignored |= (uint8_t)(peer_ignores(&parts, s->attributes[i]) ? 1u << i : 0u);
    }
    return in->error == ERR_OK ? p : NULL;
}

static inline void half_fill(struct half *h, const struct intake_context *c,
                             const struct derive_span *s, uint64_t span, uint32_t peer,
                             uint32_t flags, int16_t bucket)
{
    *h = (struct half){
        .trace_high = s->trace_high,
        .trace_low = s->trace_low,
        .span = span,
        .own_high = s->trace_high,
        .own_low = s->trace_low,
        .own = s->span_id,
        .start_unix_ns = s->start_unix_ns,
        .duration_ns = s->duration_ns,
        .node = c->node,
        .peer = peer,
        .flags = flags,
        .bucket = bucket,
    };
}

/* Complete alone: nearly always the same database as the last time. */
static inline void database_edge(struct intake *in, const struct intake_context *c,
                                 const struct derive_span *s, struct intake_peer *peer,
                                 int16_t bucket)
{
    bool is_failed = s->status == 2;
    struct tally_point *p = peer->point;
    if (p == NULL || intake_time(in, s->start_unix_ns) - p->start_unix_ns >= in->tally.width_ns)
        p = peer->point =
            edge_point(in, c->node, peer->node, CONNECTION_DATABASE, HALF_NONE, s->start_unix_ns);
    if (p == NULL)
        return;
    edge_count(p, is_failed);
    if (intake_failed(in, tally_duration(&in->tally, &p->first_values, s->duration_ns, bucket)))
        return;
    if (is_failed || s->duration_ns >= p->slowest.duration_ns) {
        struct half h;
        half_fill(&h, c, s, s->span_id, peer->node, 0, bucket);
        point_example(p, &h, is_failed);
    }
}

static void links_add(struct intake *in, const struct derive_span *s, struct half h)
{
    struct otlp_repeated links = otlp_repeated(s->message, OTLP_SPAN_LINKS);
    struct bytes message;
    struct half seen[LINKS_MAX];
    uint32_t count = 0;
    h.flags |= HALF_LINK;
    while (count < LINKS_MAX && otlp_repeated_next(&links, &message)) {
        struct otlp_link link;
        otlp_link_read(message, &link);
        h.trace_high = load_be64(link.trace_id.b);
        h.trace_low = load_be64(link.trace_id.b + 8);
        h.span = load_le64(link.span_id.b);
        /* A link to the parent says what the parent says already. */
        bool is_known = h.span == 0 || (h.span == s->parent_id && h.trace_high == s->trace_high &&
                                        h.trace_low == s->trace_low);
        for (uint32_t i = 0; i < count && !is_known; i++)
            is_known = half_same_key(&seen[i], &h);
        if (is_known)
            continue;
        seen[count++] = h;
        server_add(in, &h);
    }
}

static void root_edge(struct intake *in, struct intake_context *c, const struct half *h)
{
    const struct derived_node user = { .kind = NODE_USER,
                                       .name = BYTES_LITERAL("user"),
                                       .environment = c->environment };
    if (h->peer == HALF_NONE && c->user == HALF_NONE)
        c->user = intake_node(in, &user);
    uint32_t client = h->peer != HALF_NONE ? h->peer : c->user;
    if (client != HALF_NONE)
        intake_edge(in, client, c->node, CONNECTION_VIRTUAL, HALF_NONE, NULL, h);
}

static void message_edges(struct intake *in, const struct intake_context *c,
                          const struct derive_span *s, const struct intake_peer *peer,
                          uint32_t flags, int16_t bucket)
{
    struct half h;
    bool is_sent = peer->role == PEER_SEND;
    flags |= HALF_MESSAGING | (peer->has_queue ? HALF_NAMED : 0u) | (is_sent ? 0u : HALF_SERVER);
    half_fill(&h, c, s, s->span_id, peer->node, flags, bucket);
    if (is_sent && peer->has_queue)
        intake_edge(in, c->node, h.peer, CONNECTION_MESSAGING, HALF_NONE, &h, NULL);
    else if (peer->has_queue)
        intake_edge(in, h.peer, c->node, CONNECTION_MESSAGING, HALF_NONE, NULL, &h);
    if (is_sent) {
        half_add(in, &in->callers, HALF_SENT, &h);
        return;
    }
    if (s->links_count > 0)
        links_add(in, s, h);
    h.span = s->parent_id;
    if (s->kind == 5 && s->parent_id != 0)
        server_add(in, &h);
}

/* A server span: of its peer its parent tells, which nearly always came before, as rows of a trace are by time. */
static inline void server_edge(struct intake *in, const struct intake_context *c,
                               const struct derive_span *s, uint32_t flags, int16_t bucket)
{
    struct half server;
    half_fill(&server, c, s, s->parent_id, HALF_NONE, flags | HALF_SERVER, bucket);
    if (in->is_by_trace && in->callers.count - in->trace.callers_begin <= CALLERS_BEFORE_MAX) {
        uint32_t caller = caller_find(in, s->parent_id);
        if (caller < in->callers.count) {
            in->callers.state[caller] |= HALF_MET;
            pair_add(in, &in->callers.list[caller], &server);
            return;
        }
    }
    server_add(in, &server);
}

void intake_span_edges(struct intake *in, struct intake_context *c, const struct derive_span *s,
                       uint32_t series, int16_t bucket, bool is_sampled)
{
    uint32_t flags = (s->status == 2 ? HALF_ERROR : 0u) | (is_sampled ? HALF_SAMPLED : 0u);
    struct half *h;
    if (s->kind == 2 && s->parent_id != 0) {
        server_edge(in, c, s, flags, bucket);
        return;
    }
    struct intake_peer *peer = peer_of(in, c, s, series);
    switch (peer == NULL ? PEER_NONE : peer->role) {
    case PEER_NONE:
        break;
    case PEER_DATABASE:
        database_edge(in, c, s, peer, bucket);
        break;
    case PEER_CALL:
        h = half_new(in, &in->callers, 0);
        if (h != NULL)
            half_fill(h, c, s, s->span_id, peer->node, flags, bucket);
        break;
    case PEER_SEND:
    case PEER_RECEIVE:
        message_edges(in, c, s, peer, flags, bucket);
        break;
    case PEER_SERVE: {
        struct half root;
        half_fill(&root, c, s, 0, peer->node, flags | HALF_SERVER, bucket);
        root_edge(in, c, &root);
        break;
    }
    }
}
