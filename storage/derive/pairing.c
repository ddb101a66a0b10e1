/* SPDX-License-Identifier: Apache-2.0 */
/* The table is not changed here: what happens to it is said in changes, which are applied, and stored, when
 * the row group is. Marks stand for these changes meanwhile. */
#include "storage/derive/pairing.h"

#include "storage/derive/intake_private.h"

#include <assert.h>

/* The intake's callers by key: number + 1. Of equal ones the first alone. */
struct local {
    uint32_t *buckets;
    uint32_t *next;
    uint32_t mask;
};

struct run {
    struct intake *in;
    const struct half_table *table;
    struct pairing *p;
    struct local local;
    struct half *taken, *met, *dropped, *waits, *pairs;
};

/* A half of the table with the intake's numbers of nodes. */
static bool half_translate(struct intake *in, const struct half_table *t, struct pairing *p,
                           uint32_t entry, struct half *out)
{
    *out = t->entries[entry].half;
    uint32_t *numbers[2] = { &out->node, &out->peer };
    for (unsigned i = 0; i < 2; i++) {
        uint32_t theirs = *numbers[i];
        if (theirs == HALF_NONE)
            continue;
        uint32_t *mine = &p->node_numbers[theirs];
        if (*mine == HALF_NONE &&
            intake_failed(in, intern_put(&in->nodes, intern_get(&t->nodes, theirs), mine)))
            return false;
        *numbers[i] = *mine;
    }
    return true;
}

/* What a half is that found no other: an edge to whom it names, or a gap. */
static void alone(struct intake *in, const struct half *h, bool is_given_up)
{
    enum unpaired_reason reason = (h->flags & HALF_SAMPLED) != 0  ? UNPAIRED_SAMPLED
                                  : is_given_up                   ? UNPAIRED_EXPIRED
                                  : (h->flags & HALF_SERVER) != 0 ? UNPAIRED_BROKEN_PARENT
                                                                  : UNPAIRED_NO_SERVER;
    if ((h->flags & (HALF_LINK | HALF_NAMED)) != 0)
        return; /* says nothing alone; or is counted to or from its queue */
    if ((h->flags & HALF_SERVER) != 0) {
        intake_unpaired(in, h, reason);
        return;
    }
    if (h->peer != HALF_NONE) {
        intake_edge(in, h->node, h->peer, CONNECTION_VIRTUAL, HALF_NONE, h, NULL);
        return;
    }
    intake_unpaired(in, h, reason);
    if ((h->flags & HALF_MESSAGING) != 0)
        return;
    struct derived_node service,
        unknown = { .kind = NODE_UNKNOWN, .name = BYTES_LITERAL("unknown") };
    bool is_read = node_key_read(intern_get(&in->nodes, h->node), &service);
    assert(is_read);
    (void)is_read;
    unknown.environment = service.environment;
    uint32_t node = intake_node(in, &unknown);
    if (node != HALF_NONE)
        intake_edge(in, h->node, node, CONNECTION_VIRTUAL, HALF_NONE, h, NULL);
}

/* The place of the client of a key: the number + 1 is there, or 0. */
static uint32_t *local_place(struct run *r, const struct half *key)
{
    struct local *l = &r->local;
    uint32_t *place = &l->buckets[half_hash(r->table, key) & l->mask];
    r->p->steps++;
    for (; *place != 0 && !half_same_key(&r->in->callers.list[*place - 1], key);
         place = &l->next[*place - 1])
        r->p->steps++;
    return place;
}

/* Only where servers ask for callers of other traces, or of traces that were not looked through. */
static enum err local_init(struct run *r)
{
    struct intake *in = r->in;
    uint32_t n = in->callers.count, count = 16;
    struct local *l = &r->local;
    if (!in->seeks_any)
        return ERR_OK;
    while (count < 2 * n)
        count *= 2;
    l->mask = count - 1;
    l->buckets = arena_alloc_array(&in->arena, count, sizeof *l->buckets);
    l->next = arena_alloc_array(&in->arena, (size_t)n + 1, sizeof *l->next);
    if (l->buckets == NULL || l->next == NULL)
        return arena_failure(&in->arena);
    for (uint32_t i = 0; i < n; i++) {
        if (!in->seeks_all && (in->callers.state[i] & HALF_SOUGHT) == 0)
            continue;
        uint32_t *place = local_place(r, &in->callers.list[i]);
        if (*place == 0)
            *place = i + 1;
    }
    return ERR_OK;
}

static enum err run_init(struct run *r)
{
    struct arena *arena = &r->in->arena;
    size_t waiting = r->table->waiting.count, nodes = r->table->nodes.count;
    size_t callers = r->in->callers.count, servers = r->in->servers.count;
    size_t takes = r->table->waiting_servers < callers ? r->table->waiting_servers : callers;
    size_t meets = waiting < servers ? waiting : servers;
    size_t pairs = callers < HALF_PAIRS_KEPT ? callers : HALF_PAIRS_KEPT;
    r->taken = arena_alloc(arena, (takes + 1) * sizeof *r->taken);
    r->met = arena_alloc(arena, (meets + 1) * sizeof *r->met);
    r->pairs = arena_alloc(arena, (pairs + 1) * sizeof *r->pairs);
    r->p->marks = arena_alloc_array(arena, (size_t)r->table->used + 1, 1);
    r->p->node_numbers = arena_alloc(arena, (nodes + 1) * sizeof *r->p->node_numbers);
    if (r->taken == NULL || r->met == NULL || r->pairs == NULL || r->p->marks == NULL ||
        r->p->node_numbers == NULL)
        return arena_failure(arena);
    memset(r->p->node_numbers, 0xFF, nodes * sizeof *r->p->node_numbers);
    return local_init(r);
}

static void server_pair(struct run *r, uint32_t number)
{
    struct intake *in = r->in;
    const struct half *server = &in->servers.list[number];
    uint32_t client = in->seeks_any ? *local_place(r, server) - 1 : HALF_NONE;
    if (client != HALF_NONE) {
        in->callers.state[client] |= HALF_MET;
        in->servers.state[number] |= HALF_MET;
        intake_pair(in, &in->callers.list[client], server);
        return;
    }
    uint32_t at = half_newest(r->table, server, 0, &r->p->steps);
    struct half other;
    if (at == HALF_NONE || !half_translate(in, r->table, r->p, at, &other))
        return;
    in->servers.state[number] |= HALF_MET;
    intake_pair(in, &other, server);
    if (!r->table->entries[at].is_paired && r->p->marks[at] == 0) {
        r->p->marks[at] = 1;
        r->met[r->p->changes.clients_met_count++] = *server;
    }
}

static void client_pair(struct run *r, uint32_t number)
{
    struct intake *in = r->in;
    const struct half *client = &in->callers.list[number];
    uint32_t first = half_newest(r->table, client, HALF_SERVER, &r->p->steps);
    /* Servers of a key are taken all at once: by another client, where the first of them is. */
    if (first == HALF_NONE || r->p->marks[first] != 0)
        return;
    for (uint32_t at = first; at != HALF_NONE; at = r->table->entries[at].older) {
        struct half other;
        r->p->steps++;
        r->p->marks[at] = 1;
        if (half_translate(in, r->table, r->p, at, &other))
            intake_pair(in, client, &other);
    }
    in->callers.state[number] |= HALF_MET;
    r->taken[r->p->changes.servers_taken_count++] = *client;
}

static void table_alone(struct run *r, uint32_t at, bool is_given_up)
{
    struct half h;
    r->p->marks[at] = 1;
    if (half_translate(r->in, r->table, r->p, at, &h))
        alone(r->in, &h, is_given_up);
}

/* The oldest that wait give way to new ones; all of a key and side together, as they are named by these. */
static enum err drop_oldest(struct run *r, size_t needed)
{
    const struct half_table *t = r->table;
    if (needed > t->waiting.count)
        needed = t->waiting.count;
    r->dropped = arena_alloc_array(&r->in->arena, needed + 1, sizeof *r->dropped);
    if (r->dropped == NULL)
        return arena_failure(&r->in->arena);
    size_t *count = &r->p->changes.dropped_count;
    for (uint32_t at = t->waiting.first; at != HALF_NONE && needed > 0; at = t->entries[at].after) {
        if (r->p->marks[at] != 0)
            continue;
        const struct half *key = &t->entries[at].half;
        r->dropped[(*count)++] = *key;
        for (uint32_t same = half_newest(t, key, half_side(key), &r->p->steps); same != HALF_NONE;
             same = t->entries[same].older) {
            r->p->steps++;
            if (!t->entries[same].is_paired && r->p->marks[same] == 0)
                table_alone(r, same, true);
        }
        needed--;
    }
    return ERR_OK;
}

static void expire(struct run *r, uint64_t now)
{
    const struct half_table *t = r->table;
    for (uint32_t at = t->waiting.first;
         at != HALF_NONE && now - t->entries[at].arrival_unix_ns >= HALF_LIFETIME_NS;
         at = t->entries[at].after)
        if (r->p->marks[at] == 0)
            table_alone(r, at, false);
}

/* Callers that were paired: those that sent messages (HALF_SENT), or the others (0). */
static void pairs_keep(struct run *r, uint8_t sent)
{
    const struct intake_halves *callers = &r->in->callers;
    struct half_changes *c = &r->p->changes;
    for (uint32_t i = 0; i < callers->count && c->pairs_count < HALF_PAIRS_KEPT; i++)
        if ((callers->state[i] & (HALF_MET | HALF_SENT)) == (HALF_MET | sent))
            r->pairs[c->pairs_count++] = callers->list[i];
}

static uint32_t unmet_count(const struct intake_halves *h)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < h->count; i++)
        count += (h->state[i] & HALF_MET) == 0;
    return count;
}

static void unmet_wait(struct run *r, const struct intake_halves *h)
{
    for (uint32_t i = 0; i < h->count; i++)
        if ((h->state[i] & HALF_MET) == 0)
            r->waits[r->p->changes.waits_count++] = h->list[i];
}

/* New ones that wait from now on, as far as there is room. */
static enum err leftovers(struct run *r)
{
    struct intake *in = r->in;
    struct half_changes *c = &r->p->changes;
    enum err e = ERR_OK;
    size_t waits = (size_t)unmet_count(&in->callers) + unmet_count(&in->servers);
    r->waits = arena_alloc(&in->arena, (waits + 1) * sizeof *r->waits);
    if (r->waits == NULL)
        return arena_failure(&in->arena);
    unmet_wait(r, &in->callers);
    unmet_wait(r, &in->servers);
    pairs_keep(r, HALF_SENT);
    pairs_keep(r, 0);
    while (c->waits_count > r->table->entries_max)
        alone(in, &r->waits[--c->waits_count], true);
    size_t room = r->table->entries_max - r->table->waiting.count;
    if (c->waits_count > room)
        e = drop_oldest(r, c->waits_count - room);
    return e;
}

enum err pairing_run(struct intake *in, const struct half_table *table, uint64_t now_unix_ns,
                     struct pairing *out)
{
    *out = (struct pairing){ .changes = { .nodes = &in->nodes, .built_unix_ns = now_unix_ns } };
    struct run r = { .in = in, .table = table, .p = out };
    intake_trace_end(in);
    if (in->error != ERR_OK || intake_failed(in, run_init(&r)))
        return in->error;
    for (uint32_t i = 0; i < in->servers.count; i++)
        server_pair(&r, i);
    for (uint32_t i = 0; i < in->callers.count && table->waiting_servers > 0; i++)
        client_pair(&r, i);
    uint64_t now = now_unix_ns > table->now_unix_ns ? now_unix_ns : table->now_unix_ns;
    if (now_unix_ns != 0)
        expire(&r, now);
    (void)intake_failed(in, leftovers(&r));
    out->changes.servers_taken = r.taken;
    out->changes.clients_met = r.met;
    out->changes.dropped = r.dropped;
    out->changes.waits = r.waits;
    out->changes.pairs = r.pairs;
    return in->error;
}

enum err pairing_count_waiting(struct intake *in, const struct half_table *t, struct pairing *p,
                               uint64_t arrived_unix_ns)
{
    for (uint32_t at = t->waiting.first;
         at != HALF_NONE && t->entries[at].arrival_unix_ns <= arrived_unix_ns;
         at = t->entries[at].after) {
        struct half h;
        if (p->marks[at] == 0 && half_translate(in, t, p, at, &h))
            alone(in, &h, false);
    }
    return in->error;
}
