/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/half.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "storage/derive/tally.h"
#include "storage/derive/varint.h"

#include <assert.h>

#define HALF_FORMAT 1
#define NODES_MAX   65536u
#define NODES_TIDY  4096u /* so many before looking whether all are in use */

enum err half_table_init(struct half_table *t, size_t entries_max)
{
    *t = (struct half_table){ .free = { HALF_NONE, HALF_NONE, 0 },
                              .waiting = { HALF_NONE, HALF_NONE, 0 },
                              .paired = { HALF_NONE, HALF_NONE, 0 } };
    intern_init(&t->nodes, NODES_MAX);
    t->nodes_tidy_at = NODES_TIDY;
    t->entries_max = entries_max < HALVES_LEAST ? HALVES_LEAST
                     : entries_max > HALVES_MAX ? HALVES_MAX
                                                : (uint32_t)entries_max;
    t->buckets_count = HALVES_LEAST;
    while (t->buckets_count < t->entries_max)
        t->buckets_count *= 2;
    t->entries = mem_map(t->entries_max * sizeof *t->entries);
    t->next = mem_map(t->entries_max * sizeof *t->next);
    t->buckets = mem_alloc_array(t->buckets_count, sizeof *t->buckets); /* zeroed */
    enum err e = random_system(t->secret, sizeof t->secret);
    if (t->entries == NULL || t->next == NULL || t->buckets == NULL)
        e = ERR_NOMEM;
    if (e != ERR_OK)
        half_table_deinit(t);
    return e;
}

void half_table_deinit(struct half_table *t)
{
    if (t->entries != NULL)
        mem_unmap(t->entries, t->entries_max * sizeof *t->entries);
    if (t->next != NULL)
        mem_unmap(t->next, t->entries_max * sizeof *t->next);
    mem_free(t->buckets);
    intern_deinit(&t->nodes);
    *t = (struct half_table){ 0 };
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t half_hash(const struct half_table *t, const struct half *key)
{
    uint64_t h = fold(key->trace_low ^ t->secret[0], key->span ^ t->secret[1]);
    return fold(h ^ t->secret[1], key->trace_high ^ t->secret[0]);
}

static inline uint32_t *bucket_at(const struct half_table *t, uint64_t hash, uint32_t side)
{
    uint32_t of_side = t->buckets_count / 2;
    return &t->buckets[((uint32_t)hash & (of_side - 1)) + (side == 0 ? 0 : of_side)];
}

/* Thousands of halves come and go with a row group, each in a bucket anywhere: it is asked for so many before. */
enum { AHEAD = 8 };
static void bucket_prefetch(const struct half_table *t, const struct half *h)
{
    __builtin_prefetch(bucket_at(t, half_hash(t, h), half_side(h)), 1);
}

/* A link to an entry: its number + 1 below, and above bits of the hash that do not choose the bucket. */
#define LINK_BITS 17u
static_assert(HALVES_MAX < 1u << LINK_BITS, "a link has room for a number + 1");

static inline uint32_t link_to(uint32_t number, uint64_t hash)
{
    return (uint32_t)(hash >> 32) << LINK_BITS | (number + 1);
}

static inline uint32_t link_number(uint32_t link)
{
    return (link & ((1u << LINK_BITS) - 1)) - 1;
}

static uint32_t newest_of(const struct half_table *t, const struct half *key, uint32_t side,
                          uint64_t hash, uint64_t *steps)
{
    uint32_t at;
    for (uint32_t link = *bucket_at(t, hash, side); link != 0; link = t->next[at]) {
        at = link_number(link);
        (*steps)++;
        if (link == link_to(at, hash) && half_same_key(&t->entries[at].half, key))
            return at;
    }
    return HALF_NONE;
}

uint32_t half_newest(const struct half_table *t, const struct half *key, uint32_t side,
                     uint64_t *steps)
{
    return newest_of(t, key, side, half_hash(t, key), steps);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static void list_append(struct half_table *t, struct half_list *l, uint32_t at)
{
    struct half_entry *e = &t->entries[at];
    e->before = l->last;
    e->after = HALF_NONE;
    if (l->last != HALF_NONE)
        t->entries[l->last].after = at;
    else
        l->first = at;
    l->last = at;
    l->count++;
}

static void list_remove(struct half_table *t, struct half_list *l, uint32_t at)
{
    struct half_entry *e = &t->entries[at];
    if (e->before != HALF_NONE)
        t->entries[e->before].after = e->after;
    else
        l->first = e->after;
    if (e->after != HALF_NONE)
        t->entries[e->after].before = e->before;
    else
        l->last = e->before;
    assert(l->count > 0);
    l->count--;
}

static struct half_list *list_of(struct half_table *t, uint32_t at)
{
    return t->entries[at].is_paired ? &t->paired : &t->waiting;
}

/* The link to the newest of a key and a side: in its bucket, or beside the entry before. */
static uint32_t *link_of(struct half_table *t, uint32_t at, uint64_t hash)
{
    uint32_t *link = bucket_at(t, hash, half_side(&t->entries[at].half));
    t->steps++;
    for (; link_number(*link) != at; link = &t->next[link_number(*link)])
        t->steps++;
    return link;
}

static void entry_remove(struct half_table *t, uint32_t at)
{
    struct half_entry *e = &t->entries[at];
    if (e->older != HALF_NONE)
        t->entries[e->older].newer = e->newer;
    if (e->newer != HALF_NONE) {
        t->entries[e->newer].older = e->older;
    } else {
        uint64_t hash = half_hash(t, &e->half);
        uint32_t *link = link_of(t, at, hash);
        if (e->older != HALF_NONE) {
            t->next[e->older] = t->next[at];
            *link = link_to(e->older, hash);
        } else {
            *link = t->next[at];
        }
    }
    t->waiting_servers -= half_side(&e->half) != 0;
    list_remove(t, list_of(t, at), at);
    list_append(t, &t->free, at);
}

/* It becomes the newest of its key and side. */
static void entry_link(struct half_table *t, uint32_t at)
{
    struct half_entry *e = &t->entries[at];
    uint32_t side = half_side(&e->half);
    uint64_t hash = half_hash(t, &e->half);
    uint32_t *link = bucket_at(t, hash, side);
    e->older = newest_of(t, &e->half, side, hash, &t->steps);
    if (e->older != HALF_NONE) {
        t->entries[e->older].newer = at;
        t->next[at] = t->next[e->older];
        link = link_of(t, e->older, hash);
    } else {
        t->next[at] = *link;
    }
    *link = link_to(at, hash);
}

static uint32_t entry_take(struct half_table *t)
{
    if (t->free.count == 0 && t->used < t->entries_max)
        return t->used++;
    if (t->free.count == 0 && t->paired.count > 0)
        entry_remove(t, t->paired.first);
    if (t->free.count == 0 && t->waiting.count > 0) { /* what a larger table held, at a start */
        entry_remove(t, t->waiting.first);
        t->lost++;
    }
    if (t->free.count == 0)
        return HALF_NONE;
    uint32_t at = t->free.first;
    list_remove(t, &t->free, at);
    return at;
}

/* ---- Changes --------------------------------------------------------------------------------- */

/* Changes, and the table's numbers of nodes that they name: a few dozen are named by thousands of halves. */
enum { NUMBERS = 256 };
struct applying {
    struct half_table *t;
    const struct half_changes *changes;
    uint32_t theirs[NUMBERS], mine[NUMBERS]; /* by theirs % NUMBERS; HALF_NONE: none yet */
};

/* The table's number of a node of another set. */
static uint32_t node_take(struct applying *a, uint32_t number)
{
    uint32_t at = number % NUMBERS, mine = 0;
    struct intern *nodes = &a->t->nodes;
    if (number == HALF_NONE)
        return HALF_NONE;
    if (a->theirs[at] == number)
        return a->mine[at];
    if (nodes->count >= NODES_MAX ||
        intern_put(nodes, intern_get(a->changes->nodes, number), &mine) != ERR_OK)
        return HALF_NONE;
    a->theirs[at] = number;
    a->mine[at] = mine;
    return mine;
}

static void entry_add(struct applying *a, const struct half *h, bool is_paired)
{
    struct half_table *t = a->t;
    uint32_t node = node_take(a, h->node), peer = node_take(a, h->peer);
    uint32_t at = node == HALF_NONE ? HALF_NONE : entry_take(t);
    if (at == HALF_NONE) {
        t->lost += is_paired ? 0 : 1;
        return;
    }
    struct half_entry *e = &t->entries[at];
    *e = (struct half_entry){ .half = *h,
                              .arrival_unix_ns = t->now_unix_ns,
                              .stored = a->changes->stored,
                              .newer = HALF_NONE,
                              .is_paired = is_paired };
    e->half.node = node;
    e->half.peer = peer;
    t->waiting_servers += half_side(h) != 0; /* servers that are paired do not stay */
    entry_link(t, at);
    list_append(t, list_of(t, at), at);
}

static void expire(struct half_table *t, struct half_list *l)
{
    while (l->first != HALF_NONE &&
           t->now_unix_ns - t->entries[l->first].arrival_unix_ns >= HALF_LIFETIME_NS)
        entry_remove(t, l->first);
}

/* All waiting ones of a key and a side. */
static void waiting_end(struct half_table *t, const struct half *key, uint32_t side,
                        bool becomes_paired)
{
    uint32_t at = half_newest(t, key, side, &t->steps);
    while (at != HALF_NONE) {
        struct half_entry *e = &t->entries[at];
        uint32_t older = e->older;
        t->steps++;
        if (!e->is_paired && becomes_paired) {
            list_remove(t, &t->waiting, at);
            e->is_paired = true;
            e->arrival_unix_ns = t->now_unix_ns; /* where lists are by arrival, it goes last */
            list_append(t, &t->paired, at);
        } else if (!e->is_paired) {
            entry_remove(t, at);
        }
        at = older;
    }
}

static enum err nodes_move(struct half_table *t, const struct half_list *l, struct intern *to)
{
    enum err e = ERR_OK;
    for (uint32_t at = l->first; at != HALF_NONE && e == ERR_OK; at = t->entries[at].after) {
        struct half *h = &t->entries[at].half;
        uint32_t mine;
        e = intern_put(to, intern_get(&t->nodes, h->node), &mine);
        if (e == ERR_OK && h->peer != HALF_NONE)
            e = intern_put(to, intern_get(&t->nodes, h->peer), &mine);
    }
    return e;
}

static void nodes_renumber(struct half_table *t, const struct half_list *l, const struct intern *to)
{
    for (uint32_t at = l->first; at != HALF_NONE; at = t->entries[at].after) {
        struct half *h = &t->entries[at].half;
        h->node = intern_find(to, intern_get(&t->nodes, h->node));
        if (h->peer != HALF_NONE)
            h->peer = intern_find(to, intern_get(&t->nodes, h->peer));
    }
}

/* Names of nodes that no half has any more are let go of when there are many; without memory, later. */
static void nodes_tidy(struct half_table *t)
{
    if (t->nodes.count < t->nodes_tidy_at)
        return;
    struct intern kept;
    intern_init(&kept, NODES_MAX);
    if (nodes_move(t, &t->waiting, &kept) != ERR_OK || nodes_move(t, &t->paired, &kept) != ERR_OK) {
        intern_deinit(&kept);
        return;
    }
    nodes_renumber(t, &t->waiting, &kept);
    nodes_renumber(t, &t->paired, &kept);
    intern_deinit(&t->nodes);
    t->nodes = kept;
    t->nodes_tidy_at = kept.count < NODES_TIDY / 2 ? NODES_TIDY : 2 * kept.count;
}

/* The newest stay. What is stored relies on the number: see derived_store(). */
static void paired_bound(struct half_table *t, size_t more)
{
    uint32_t ahead = t->paired.first;
    for (unsigned i = 0; i < AHEAD && ahead != HALF_NONE; i++)
        ahead = t->entries[ahead].after;
    while (t->paired.count > 0 && t->paired.count + more > half_paired_max(t)) {
        if (ahead != HALF_NONE) {
            bucket_prefetch(t, &t->entries[ahead].half);
            ahead = t->entries[ahead].after;
        }
        entry_remove(t, t->paired.first);
    }
}

void half_table_apply(struct half_table *t, const struct half_changes *c)
{
    if (c->built_unix_ns > t->now_unix_ns)
        t->now_unix_ns = c->built_unix_ns;
    for (size_t i = 0; i < c->servers_taken_count; i++)
        waiting_end(t, &c->servers_taken[i], HALF_SERVER, false);
    for (size_t i = 0; i < c->clients_met_count; i++)
        waiting_end(t, &c->clients_met[i], 0, true);
    for (size_t i = 0; i < c->dropped_count; i++)
        waiting_end(t, &c->dropped[i], half_side(&c->dropped[i]), false);
    expire(t, &t->waiting);
    expire(t, &t->paired);
    nodes_tidy(t);
    paired_bound(t, c->pairs_count); /* first, so that the new ones take their places */
    struct applying a = { .t = t, .changes = c };
    memset(a.theirs, 0xFF, sizeof a.theirs);
    for (size_t i = 0; i < c->waits_count; i++)
        entry_add(&a, &c->waits[i], false);
    for (size_t i = 0; i < c->pairs_count; i++) {
        if (i + AHEAD < c->pairs_count)
            bucket_prefetch(t, &c->pairs[i + AHEAD]);
        entry_add(&a, &c->pairs[i], true);
    }
}

uint64_t half_table_oldest(const struct half_table *t)
{
    uint64_t oldest = UINT64_MAX;
    if (t->waiting.count > 0)
        oldest = t->entries[t->waiting.first].stored; /* as they arrived */
    for (uint32_t at = t->paired.first; at != HALF_NONE; at = t->entries[at].after)
        if (t->entries[at].stored < oldest)
            oldest = t->entries[at].stored;
    return oldest;
}

/* ---- Stored form ----------------------------------------------------------------------------- */

static void u64_put(struct buffer *out, uint64_t v)
{
    uint8_t raw[8];
    store_le64(raw, v);
    buffer_append(out, raw, sizeof raw);
}

static bool u64_take(struct bytes *from, uint64_t *out)
{
    if (from->len < 8)
        return false;
    *out = load_le64(from->data);
    *from = bytes_slice(*from, 8, SIZE_MAX);
    return true;
}

static void key_put(struct buffer *out, const struct half *h)
{
    u64_put(out, h->trace_high);
    u64_put(out, h->trace_low);
    u64_put(out, h->span);
}

static bool key_take(struct bytes *from, struct half *out)
{
    return u64_take(from, &out->trace_high) && u64_take(from, &out->trace_low) &&
           u64_take(from, &out->span);
}

static uint8_t *u64_at(uint8_t *p, uint64_t v)
{
    store_le64(p, v);
    return p + 8;
}

/* With room for all of one at once: there are thousands. */
static void half_put(struct buffer *out, const struct half *h)
{
    uint8_t *begin = buffer_reserve(out, 6 * sizeof(uint64_t) + 5 * VARINT_BYTES_MAX), *p = begin;
    if (begin == NULL)
        return;
    p = u64_at(p, h->trace_high);
    p = u64_at(p, h->trace_low);
    p = u64_at(p, h->span);
    p = varint_at(p, h->flags);
    if ((h->flags & HALF_SERVER) != 0)
        p = u64_at(p, h->own);
    if ((h->flags & HALF_LINK) != 0) {
        p = u64_at(p, h->own_high);
        p = u64_at(p, h->own_low);
    }
    p = varint_at(p, h->start_unix_ns);
    p = varint_at(p, h->duration_ns);
    p = varint_at(p, h->node);
    p = varint_at(p, h->peer == HALF_NONE ? 0 : (uint64_t)h->peer + 1);
    buffer_grew(out, (size_t)(p - begin));
}

static bool half_take(struct bytes *from, uint32_t nodes_count, struct half *out)
{
    uint64_t flags, node, peer;
    if (!key_take(from, out) || !varint_take(from, &flags) || flags > HALF_FLAGS_ALL)
        return false;
    out->flags = (uint32_t)flags;
    out->own = out->span;
    out->own_high = out->trace_high;
    out->own_low = out->trace_low;
    if (((flags & HALF_SERVER) != 0 && !u64_take(from, &out->own)) ||
        ((flags & HALF_LINK) != 0 &&
         (!u64_take(from, &out->own_high) || !u64_take(from, &out->own_low))) ||
        !varint_take(from, &out->start_unix_ns) || !varint_take(from, &out->duration_ns) ||
        !varint_take(from, &node) || !varint_take(from, &peer) || node >= nodes_count ||
        peer > nodes_count)
        return false;
    out->bucket = tally_bucket(out->duration_ns);
    out->node = (uint32_t)node;
    out->peer = peer == 0 ? HALF_NONE : (uint32_t)peer - 1;
    return true;
}

static void keys_put(struct buffer *out, const struct half *keys, size_t count)
{
    varint_put(out, count);
    for (size_t i = 0; i < count; i++)
        key_put(out, &keys[i]);
}

void half_changes_encode(const struct half_changes *c, struct buffer *out)
{
    size_t mark = out->len;
    buffer_append_byte(out, HALF_FORMAT);
    uint32_t nodes = c->nodes == NULL ? 0 : c->nodes->count;
    varint_put(out, nodes);
    for (uint32_t i = 0; i < nodes; i++)
        varint_put_bytes(out, intern_get(c->nodes, i));
    keys_put(out, c->servers_taken, c->servers_taken_count);
    keys_put(out, c->clients_met, c->clients_met_count);
    varint_put(out, c->dropped_count);
    for (size_t i = 0; i < c->dropped_count; i++) {
        key_put(out, &c->dropped[i]);
        buffer_append_byte(out, (uint8_t)(c->dropped[i].flags & HALF_SERVER));
    }
    varint_put(out, c->waits_count);
    for (size_t i = 0; i < c->waits_count; i++)
        half_put(out, &c->waits[i]);
    varint_put(out, c->pairs_count);
    for (size_t i = 0; i < c->pairs_count; i++)
        half_put(out, &c->pairs[i]);
    if (out->error == ERR_OK)
        u64_put(out, hash_bytes(bytes_of(out->data + mark, out->len - mark)));
}

/* What is read, in one array: servers taken, clients met, dropped, waiting, paired. */
struct replay {
    struct half *halves;
    size_t count, capacity;
};

static enum err replay_add(struct replay *r, const struct half *h)
{
    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 256 : 2 * r->capacity;
        struct half *grown = mem_realloc(r->halves, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        r->halves = grown;
        r->capacity = capacity;
    }
    r->halves[r->count++] = *h;
    return ERR_OK;
}

enum replay_part { REPLAY_KEYS, REPLAY_SIDES, REPLAY_HALVES };

static enum err replay_read(struct replay *r, struct bytes *at, enum replay_part part,
                            uint32_t nodes_count, size_t *out_count)
{
    uint64_t count = 0;
    if (!varint_take(at, &count))
        return ERR_CORRUPT;
    for (uint64_t i = 0; i < count; i++) {
        struct half h = { 0 };
        bool is_read = part == REPLAY_HALVES ? half_take(at, nodes_count, &h) : key_take(at, &h);
        if (is_read && part == REPLAY_SIDES) {
            is_read = at->len > 0 && at->data[0] <= HALF_SERVER;
            if (is_read) {
                h.flags = at->data[0];
                *at = bytes_slice(*at, 1, SIZE_MAX);
            }
        }
        enum err e = is_read ? replay_add(r, &h) : ERR_CORRUPT;
        if (e != ERR_OK)
            return e;
    }
    *out_count = (size_t)count;
    return ERR_OK;
}

enum err half_table_replay(struct half_table *t, struct bytes stored, uint64_t built_unix_ns,
                           uint64_t place)
{
    if (stored.len < 9 || stored.data[0] != HALF_FORMAT ||
        load_le64(stored.data + stored.len - 8) !=
            hash_bytes(bytes_slice(stored, 0, stored.len - 8)))
        return ERR_CORRUPT;
    struct bytes at = bytes_slice(stored, 1, stored.len - 9), node;
    uint64_t nodes_count = 0;
    struct intern nodes;
    struct replay r = { 0 };
    struct half_changes c = { .nodes = &nodes, .built_unix_ns = built_unix_ns, .stored = place };
    intern_init(&nodes, UINT32_MAX / 2);
    enum err e = varint_take(&at, &nodes_count) ? ERR_OK : ERR_CORRUPT;
    for (uint64_t i = 0; i < nodes_count && e == ERR_OK; i++) {
        uint32_t number = 0;
        e = varint_take_bytes(&at, &node) ? intern_put(&nodes, node, &number) : ERR_CORRUPT;
        if (e == ERR_OK && number != i)
            e = ERR_CORRUPT;
    }
    if (e == ERR_OK)
        e = replay_read(&r, &at, REPLAY_KEYS, 0, &c.servers_taken_count);
    if (e == ERR_OK)
        e = replay_read(&r, &at, REPLAY_KEYS, 0, &c.clients_met_count);
    if (e == ERR_OK)
        e = replay_read(&r, &at, REPLAY_SIDES, 0, &c.dropped_count);
    if (e == ERR_OK)
        e = replay_read(&r, &at, REPLAY_HALVES, nodes.count, &c.waits_count);
    if (e == ERR_OK)
        e = replay_read(&r, &at, REPLAY_HALVES, nodes.count, &c.pairs_count);
    if (e == ERR_OK && at.len > 0)
        e = ERR_CORRUPT;
    if (e == ERR_OK) {
        c.servers_taken = r.halves;
        c.clients_met = c.servers_taken == NULL ? NULL : c.servers_taken + c.servers_taken_count;
        c.dropped = c.clients_met == NULL ? NULL : c.clients_met + c.clients_met_count;
        c.waits = c.dropped == NULL ? NULL : c.dropped + c.dropped_count;
        c.pairs = c.waits == NULL ? NULL : c.waits + c.waits_count;
        half_table_apply(t, &c);
    }
    mem_free(r.halves);
    intern_deinit(&nodes);
    return e;
}

enum err half_table_copy(const struct half_table *t, struct arena *arena, struct half_table *out)
{
    struct half_table copy = *t;
    copy.entries = arena_alloc_array(arena, (size_t)t->used + 1, sizeof *copy.entries);
    copy.next = arena_alloc_array(arena, (size_t)t->used + 1, sizeof *copy.next);
    copy.buckets = arena_alloc_array(arena, t->buckets_count, sizeof *copy.buckets);
    struct bytes *nodes = arena_alloc_array(arena, (size_t)t->nodes.count + 1, sizeof *nodes);
    if (copy.entries == NULL || copy.next == NULL || copy.buckets == NULL || nodes == NULL)
        return arena_failure(arena);
    if (t->used > 0) {
        memcpy(copy.entries, t->entries, t->used * sizeof *copy.entries);
        memcpy(copy.next, t->next, t->used * sizeof *copy.next);
        memcpy(copy.buckets, t->buckets, t->buckets_count * sizeof *copy.buckets);
    }
    for (uint32_t i = 0; i < t->nodes.count; i++) {
        enum err e = arena_dup(arena, intern_get(&t->nodes, i), &nodes[i]);
        if (e != ERR_OK)
            return e;
    }
    copy.nodes = (struct intern){ .entries = nodes, .count = t->nodes.count };
    *out = copy;
    return ERR_OK;
}

enum err half_table_clone(const struct half_table *t, struct half_table *out)
{
    struct half_table clone;
    enum err e = half_table_init(&clone, t->entries_max);
    if (e != ERR_OK)
        return e;
    if (t->used > 0) {
        memcpy(clone.entries, t->entries, t->used * sizeof *clone.entries);
        memcpy(clone.next, t->next, t->used * sizeof *clone.next);
        memcpy(clone.buckets, t->buckets, t->buckets_count * sizeof *clone.buckets);
    }
    for (uint32_t i = 0, same; i < t->nodes.count && e == ERR_OK; i++)
        e = intern_put(&clone.nodes, intern_get(&t->nodes, i), &same);
    if (e != ERR_OK) {
        half_table_deinit(&clone);
        return e;
    }
    clone.used = t->used;
    clone.free = t->free;
    clone.waiting = t->waiting;
    clone.paired = t->paired;
    clone.waiting_servers = t->waiting_servers;
    clone.nodes_tidy_at = t->nodes_tidy_at;
    clone.now_unix_ns = t->now_unix_ns;
    memcpy(clone.secret, t->secret, sizeof clone.secret);
    *out = clone;
    return ERR_OK;
}

size_t half_table_bytes(const struct half_table *t)
{
    return t->used * (sizeof *t->entries + sizeof *t->next) +
           t->buckets_count * sizeof *t->buckets + t->nodes.text.held_bytes +
           t->nodes.capacity * (sizeof *t->nodes.entries + sizeof *t->nodes.hashes) +
           ((size_t)t->nodes.slot_mask + 1) * sizeof *t->nodes.slots;
}
