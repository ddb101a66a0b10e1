/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/truth.h"

#include "base/mem.h"
#include "base/random.h"
#include "bench/samples.h"

struct truth_series {
    struct samples durations;
    uint64_t sum_ns;
};

struct truth_edge {
    uint64_t count, client_errors, server_errors, client_sum_ns;
};

void truth_init(struct truth *t)
{
    *t = (struct truth){ 0 };
    intern_init(&t->series_keys, TRUTH_SERIES_MAX);
    intern_init(&t->edge_keys, TRUTH_SERIES_MAX);
}

void truth_deinit(struct truth *t)
{
    for (uint32_t i = 0; i < t->series_keys.count && i < t->series_capacity; i++)
        samples_deinit(&t->series[i].durations);
    mem_free(t->series);
    mem_free(t->edges);
    intern_deinit(&t->series_keys);
    intern_deinit(&t->edge_keys);
    *t = (struct truth){ 0 };
}

/* Make (*array)[index] exist, zeroed. */
static enum err grow(void **array, uint32_t *capacity, uint32_t index, size_t size)
{
    if (index < *capacity)
        return ERR_OK;
    uint32_t wanted = *capacity == 0 ? 512 : *capacity * 2;
    uint8_t *grown = mem_realloc(*array, wanted * size);
    if (grown == NULL)
        return ERR_NOMEM;
    memset(grown + *capacity * size, 0, (wanted - *capacity) * size);
    *array = grown;
    *capacity = wanted;
    return ERR_OK;
}

static void sample_add(struct truth_sample *s, const struct trace_id *id)
{
    uint64_t hash = random_mix64(load_le64(id->b) ^ load_le64(id->b + 8));
    if ((hash & s->mask) != 0)
        return;
    for (uint32_t i = s->count; i-- > 0;) {
        if (memcmp(&s->ids[i], id, sizeof *id) == 0) {
            s->spans[i]++;
            return;
        }
    }
    if (s->count == TRUTH_SAMPLE_MAX) {
        s->mask = s->mask * 2 + 1;
        uint32_t kept = 0;
        for (uint32_t i = 0; i < s->count; i++) {
            uint64_t h = random_mix64(load_le64(s->ids[i].b) ^ load_le64(s->ids[i].b + 8));
            if ((h & s->mask) != 0)
                continue;
            s->ids[kept] = s->ids[i];
            s->spans[kept++] = s->spans[i];
        }
        s->count = kept;
        if ((hash & s->mask) != 0)
            return;
    }
    s->ids[s->count] = *id;
    s->spans[s->count++] = 1;
}

/* "service \0 name \0 kind status", as bytes. */
static enum err add_series(struct truth *t, const struct truth_span *s)
{
    uint8_t key[1024];
    struct bytes service = bytes_slice(s->service, 0, 256), name = bytes_slice(s->name, 0, 700);
    size_t at = 0;
    memcpy(key, service.data, service.len);
    at += service.len;
    key[at++] = 0;
    memcpy(key + at, name.data, name.len);
    at += name.len;
    key[at++] = 0;
    key[at++] = (uint8_t)s->kind;
    key[at++] = (uint8_t)s->status;

    uint32_t index;
    enum err e = intern_put(&t->series_keys, bytes_of(key, at), &index);
    void *series = t->series;
    if (e == ERR_OK)
        e = grow(&series, &t->series_capacity, index, sizeof *t->series);
    t->series = series;
    if (e != ERR_OK)
        return e;
    t->series[index].sum_ns += s->duration_ns;
    return samples_add(&t->series[index].durations, s->duration_ns);
}

static enum err add_edge(struct truth *t, const struct truth_span *s)
{
    uint8_t key[600];
    struct bytes client = bytes_slice(s->service, 0, 256), server = bytes_slice(s->callee, 0, 256);
    memcpy(key, client.data, client.len);
    key[client.len] = 0;
    memcpy(key + client.len + 1, server.data, server.len);
    uint32_t index;
    enum err e = intern_put(&t->edge_keys, bytes_of(key, client.len + 1 + server.len), &index);
    void *edges = t->edges;
    if (e == ERR_OK)
        e = grow(&edges, &t->edge_capacity, index, sizeof *t->edges);
    t->edges = edges;
    if (e != ERR_OK)
        return e;
    t->edges[index].count++;
    t->edges[index].client_errors += s->status == 2;
    t->edges[index].server_errors += s->callee_has_error;
    t->edges[index].client_sum_ns += s->duration_ns;
    return ERR_OK;
}

enum err truth_add(struct truth *t, const struct truth_span *span)
{
    sample_add(&t->sample, &span->trace_id);
    enum err e = add_series(t, span);
    return e != ERR_OK || span->callee.len == 0 ? e : add_edge(t, span);
}

/* The part of a key before its first NUL; *rest gets what follows it. */
static struct bytes key_part(struct bytes key, struct bytes *rest)
{
    size_t end = bytes_find(key, 0);
    *rest = bytes_slice(key, end + 1, key.len);
    return bytes_slice(key, 0, end);
}

static void write_series(const struct truth *t, uint32_t i, struct json_writer *w)
{
    struct truth_series *s = &t->series[i];
    struct bytes rest, service = key_part(intern_get(&t->series_keys, i), &rest);
    struct bytes tail, name = key_part(rest, &tail);
    samples_sort(&s->durations);
    json_object_begin(w);
    json_key(w, "service");
    json_string(w, service);
    json_key(w, "name");
    json_string(w, name);
    json_key(w, "kind");
    json_u64(w, tail.data[0]);
    json_key(w, "status");
    json_u64(w, tail.data[1]);
    json_key(w, "count");
    json_u64(w, s->durations.count);
    json_key(w, "duration_sum_ns");
    json_u64(w, s->sum_ns);
    static const struct {
        const char *key;
        double quantile;
    } quantiles[] = { { "duration_min_ns", 0 },
                      { "duration_p50_ns", 0.5 },
                      { "duration_p90_ns", 0.9 },
                      { "duration_p99_ns", 0.99 },
                      { "duration_max_ns", 1 } };
    for (size_t k = 0; k < sizeof quantiles / sizeof *quantiles; k++) {
        json_key(w, quantiles[k].key);
        json_u64(w, samples_quantile(&s->durations, quantiles[k].quantile));
    }
    json_object_end(w);
}

void truth_write(const struct truth *t, struct json_writer *w)
{
    json_key(w, "series");
    json_array_begin(w);
    for (uint32_t i = 0; i < t->series_keys.count; i++)
        write_series(t, i, w);
    json_array_end(w);

    json_key(w, "edges");
    json_array_begin(w);
    for (uint32_t i = 0; i < t->edge_keys.count; i++) {
        struct bytes server, client = key_part(intern_get(&t->edge_keys, i), &server);
        json_object_begin(w);
        json_key(w, "client");
        json_string(w, client);
        json_key(w, "server");
        json_string(w, server);
        json_key(w, "count");
        json_u64(w, t->edges[i].count);
        json_key(w, "client_errors");
        json_u64(w, t->edges[i].client_errors);
        json_key(w, "server_errors");
        json_u64(w, t->edges[i].server_errors);
        json_key(w, "client_duration_sum_ns");
        json_u64(w, t->edges[i].client_sum_ns);
        json_object_end(w);
    }
    json_array_end(w);

    json_key(w, "traces_sample");
    json_array_begin(w);
    for (uint32_t i = 0; i < t->sample.count; i++) {
        json_object_begin(w);
        json_key(w, "trace_id");
        json_hex(w, bytes_of(t->sample.ids[i].b, 16));
        json_key(w, "spans");
        json_u64(w, t->sample.spans[i]);
        json_object_end(w);
    }
    json_array_end(w);
}
