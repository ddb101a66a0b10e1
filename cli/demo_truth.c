/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "cli/demo.h"

#include <stdlib.h>

#define KEYS_MAX      100000u /* the demo's names are some hundred */
#define KEY_BYTES_MAX 512u
#define EDGE_PARTS    6u
#define DURATIONS_MAX ((size_t)16 << 20) /* of one edge: a week at fifty calls a second */

static void counts_init(struct demo_counts *c)
{
    *c = (struct demo_counts){ 0 };
    intern_init(&c->keys, KEYS_MAX);
}

static void counts_deinit(struct demo_counts *c)
{
    intern_deinit(&c->keys);
    mem_free(c->counts);
    *c = (struct demo_counts){ 0 };
}

void demo_truth_init(struct demo_truth *t)
{
    *t = (struct demo_truth){ 0 };
    counts_init(&t->spans);
    counts_init(&t->logs);
    intern_init(&t->edge_keys, KEYS_MAX);
}

void demo_truth_deinit(struct demo_truth *t)
{
    counts_deinit(&t->spans);
    counts_deinit(&t->logs);
    for (uint32_t i = 0; i < t->edge_keys.count && i < t->edges_capacity; i++) {
        mem_free(t->edges[i].client.ns);
        mem_free(t->edges[i].server.ns);
    }
    mem_free(t->edges);
    intern_deinit(&t->edge_keys);
}

static enum err add_one(struct demo_counts *c, struct bytes key)
{
    uint32_t index;
    enum err e = intern_put(&c->keys, key, &index);
    if (e != ERR_OK)
        return e;
    if (index >= c->capacity) {
        uint32_t capacity = c->capacity == 0 ? 256 : c->capacity * 2;
        uint64_t *counts = mem_realloc(c->counts, capacity * sizeof *counts);
        if (counts == NULL)
            return ERR_NOMEM;
        memset(counts + c->capacity, 0, (capacity - c->capacity) * sizeof *counts);
        c->counts = counts;
        c->capacity = capacity;
    }
    c->counts[index]++;
    return ERR_OK;
}

/* The parts with a NUL behind each; false: too long. */
static bool key_write(uint8_t key[KEY_BYTES_MAX], const char *const *parts, size_t part_count,
                      size_t *out_len)
{
    size_t at = 0;
    for (size_t i = 0; i < part_count; i++) {
        size_t len = strlen(parts[i]);
        if (at + len + 1 > KEY_BYTES_MAX)
            return false;
        memcpy(key + at, parts[i], len);
        at += len;
        key[at++] = 0;
    }
    *out_len = at;
    return true;
}

void demo_truth_count(struct demo_truth *t, struct demo_counts *counts, const char *const *parts,
                      size_t part_count)
{
    uint8_t key[KEY_BYTES_MAX];
    size_t len;
    if (!key_write(key, parts, part_count, &len) || add_one(counts, bytes_of(key, len)) != ERR_OK)
        t->is_incomplete = true;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

static enum err duration_add(struct demo_durations *d, uint64_t ns)
{
    if (d->count == DURATIONS_MAX)
        return ERR_TOO_MANY;
    if (d->count == d->capacity) {
        size_t capacity = d->capacity == 0 ? 256 : d->capacity * 2;
        uint64_t *grown = mem_realloc(d->ns, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        d->ns = grown;
        d->capacity = capacity;
    }
    d->ns[d->count++] = ns;
    return ERR_OK;
}

static enum err edge_place(struct demo_truth *t, struct bytes key, struct demo_edge **out)
{
    uint32_t index;
    enum err e = intern_put(&t->edge_keys, key, &index);
    if (e != ERR_OK)
        return e;
    if (index >= t->edges_capacity) {
        uint32_t capacity = t->edges_capacity == 0 ? 64 : t->edges_capacity * 2;
        struct demo_edge *grown = mem_realloc(t->edges, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        memset(grown + t->edges_capacity, 0, (capacity - t->edges_capacity) * sizeof *grown);
        t->edges = grown;
        t->edges_capacity = capacity;
    }
    *out = &t->edges[index];
    return ERR_OK;
}

void demo_truth_call(struct demo_truth *t, const struct demo_call_fact *call)
{
    const char *parts[] = { call->client,      call->client_kind, call->server,
                            call->server_kind, call->system,      call->type };
    uint8_t key[KEY_BYTES_MAX];
    size_t len;
    struct demo_edge *edge;
    if (t->is_incomplete)
        return;
    if (!key_write(key, parts, EDGE_PARTS, &len) ||
        edge_place(t, bytes_of(key, len), &edge) != ERR_OK) {
        t->is_incomplete = true;
        return;
    }
    edge->count++;
    edge->errors += call->has_failed ? 1u : 0u;
    if (!t->keeps_durations)
        return;
    if ((call->client_ns != NULL && duration_add(&edge->client, *call->client_ns) != ERR_OK) ||
        (call->server_ns != NULL && duration_add(&edge->server, *call->server_ns) != ERR_OK))
        t->is_incomplete = true;
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Exact ones: the smallest value that so many per cent do not exceed. */
static void write_durations(struct json_writer *w, const char *key, struct demo_durations *d)
{
    static const struct {
        const char *name;
        size_t percent;
    } shown[] = { { "p50", 50 }, { "p90", 90 }, { "p95", 95 }, { "p99", 99 } };
    json_key(w, key);
    json_object_begin(w);
    json_key(w, "count");
    json_u64(w, d->count);
    if (d->count > 0)
        qsort(d->ns, d->count, sizeof *d->ns, compare_ns);
    for (size_t i = 0; d->count > 0 && i < sizeof shown / sizeof *shown; i++) {
        json_key(w, shown[i].name);
        json_u64(w, d->ns[(d->count * shown[i].percent + 99) / 100 - 1]);
    }
    json_object_end(w);
}

void demo_truth_write_edges(struct demo_truth *t, struct json_writer *w)
{
    static const char *const columns[EDGE_PARTS] = { "client",      "client_kind", "server",
                                                     "server_kind", "system",      "type" };
    json_array_begin(w);
    for (uint32_t i = 0; i < t->edge_keys.count && i < t->edges_capacity; i++) {
        struct bytes key = intern_get(&t->edge_keys, i);
        struct demo_edge *edge = &t->edges[i];
        json_object_begin(w);
        for (size_t c = 0; c < EDGE_PARTS; c++) {
            size_t end = bytes_find(key, 0);
            json_key(w, columns[c]);
            json_string(w, bytes_slice(key, 0, end));
            key = bytes_slice(key, end + 1, key.len);
        }
        json_key(w, "count");
        json_u64(w, edge->count);
        json_key(w, "errors");
        json_u64(w, edge->errors);
        write_durations(w, "client_saw", &edge->client);
        write_durations(w, "server_saw", &edge->server);
        json_object_end(w);
    }
    json_array_end(w);
}
