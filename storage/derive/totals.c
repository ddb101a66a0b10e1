/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/totals.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/shelf.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS       16384u
#define SWEEP_NS      (UINT64_C(30) * 1000000000)
#define EXAMPLE_MAX   128u /* bytes of a name that was cleaned */
#define CLASS_SERVICE 'S'
#define TOGETHER      16u /* points that are counted together */

struct total {
    struct total *next; /* in the bucket */
    uint64_t hash;
    uint64_t seen_mono_ns;
    uint64_t created_unix_ns; /* 0: nothing was counted yet */
    struct total *service;    /* of a series: the entry of its service */
    uint32_t series_count;    /* of a service */
    uint16_t cleaned;         /* of a series: enum cleaned_reason, all that were seen */
    uint16_t rule;            /* with CLEANED_RULE */
    struct bytes example;     /* where cleaned: a name that became it; on the heap */
    struct name_tree names;   /* of a service */
    struct tally_point sum;
    struct derived_exemplar newest;
    uint32_t key_len;
    uint8_t key[];
};

static struct bytes key_of(const struct total *t)
{
    return bytes_of(t->key, t->key_len);
}

enum err totals_init(struct totals *t)
{
    *t = (struct totals){ 0 };
    (void)pthread_mutex_init(&t->lock, NULL);
    buffer_init(&t->name, 4096);
    buffer_init(&t->key, 4096);
    t->idle_ns = TOTALS_IDLE_NS;
    t->names = (struct name_tree_room){ .bytes_max = TOTALS_NAMES_BYTES_MAX, .epoch = 1 };
    t->buckets = mem_alloc_array(BUCKETS, sizeof *t->buckets);
    return t->buckets == NULL ? ERR_NOMEM : ERR_OK;
}

static size_t histogram_bytes(const struct histogram *h)
{
    return (size_t)h->capacity * h->width;
}

static size_t total_bytes(const struct total *e)
{
    return sizeof *e + e->key_len + e->example.len + histogram_bytes(&e->sum.first) +
           histogram_bytes(&e->sum.second);
}

static void total_free(struct totals *t, struct total *e)
{
    t->names.changes++;
    name_tree_deinit(&e->names, &t->names);
    histogram_deinit(&e->sum.first);
    histogram_deinit(&e->sum.second);
    mem_free((void *)(uintptr_t)e->example.data);
    shelf_free(e);
}

void totals_deinit(struct totals *t)
{
    for (uint32_t i = 0; t->buckets != NULL && i < BUCKETS; i++) {
        while (t->buckets[i] != NULL) {
            struct total *e = t->buckets[i];
            t->buckets[i] = e->next;
            total_free(t, e);
        }
    }
    mem_free(t->buckets);
    t->buckets = NULL;
    buffer_deinit(&t->name);
    buffer_deinit(&t->key);
}

static struct total *total_find(const struct totals *t, struct bytes key, uint64_t hash)
{
    struct total *e = t->buckets[hash & (BUCKETS - 1)];
    while (e != NULL && !(e->hash == hash && bytes_equal(key_of(e), key)))
        e = e->next;
    return e;
}

static uint32_t *count_of(struct totals *t, struct bytes key)
{
    switch (key.data[0]) {
    case CLASS_SERVICE:
        return &t->services_count;
    case KEY_RED:
        return &t->series_count;
    default:
        return &t->edges_count;
    }
}

/* NULL when out of memory. */
static struct total *total_make(struct totals *t, struct bytes key, uint64_t hash)
{
    struct total *e = shelf_zalloc(sizeof *e + key.len);
    if (e == NULL) {
        t->names.changes++; /* what is counted elsewhere now is to ask again */
        return NULL;
    }
    struct total **bucket = &t->buckets[hash & (BUCKETS - 1)];
    e->next = *bucket;
    e->hash = hash;
    e->seen_mono_ns = t->now_mono_ns;
    e->key_len = (uint32_t)key.len;
    memcpy(e->key, key.data, key.len);
    histogram_init(&e->sum.first, NULL);
    histogram_init(&e->sum.second, NULL);
    *bucket = e;
    (*count_of(t, key))++;
    return e;
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

static const struct bytes other = BYTES_LITERAL(DERIVED_OVERFLOW_NAME);

static void service_key(struct buffer *out, struct bytes service, struct bytes namespace,
                        struct bytes environment)
{
    const struct derived_node node = {
        .kind = NODE_SERVICE, .name = service, .namespace = namespace, .environment = environment
    };
    buffer_append_byte(out, CLASS_SERVICE);
    node_key_put(out, &node);
}

/* Whether a key has, or where may_make may have, an entry of its own below a bound. */
static bool is_admitted(struct totals *t, const struct buffer *key, uint32_t count,
                        uint32_t count_max, bool may_make)
{
    if (key->error != ERR_OK)
        return false;
    uint64_t hash = hash_bytes(buffer_bytes(key));
    if (total_find(t, buffer_bytes(key), hash) != NULL)
        return true;
    return count < count_max && (!may_make || total_make(t, buffer_bytes(key), hash) != NULL);
}

static void service_bound(struct totals *t, struct derived_node *service, bool may_make)
{
    struct buffer key;
    buffer_init(&key, 4096);
    service_key(&key, service->name, service->namespace, service->environment);
    (void)pthread_mutex_lock(&t->lock);
    bool is_own = is_admitted(t, &key, t->services_count, TOTALS_SERVICES_MAX, may_make);
    (void)pthread_mutex_unlock(&t->lock);
    buffer_deinit(&key);
    if (!is_own)
        *service = (struct derived_node){ .kind = service->kind, .name = other };
}

void totals_admit_service(void *context, struct derived_node *service)
{
    service_bound(context, service, true);
}

void totals_show_service(void *context, struct derived_node *service)
{
    struct totals_reader *r = context;
    service_bound(r->totals, service, false);
}

/* Remember why names are counted here, and one of them. */
static void example_note(struct total *e, struct bytes raw, unsigned reasons, unsigned rule)
{
    if (reasons == 0 || (e->cleaned & reasons) == reasons)
        return;
    if (e->cleaned == 0) {
        size_t len = raw.len < EXAMPLE_MAX ? raw.len : EXAMPLE_MAX;
        char *text = mem_text(raw.data == NULL ? (const void *)"" : raw.data, len);
        if (text == NULL)
            return;
        e->example = bytes_of(text, len);
    }
    e->cleaned |= (uint16_t)reasons;
    if (rule != 0)
        e->rule = (uint16_t)rule;
}

static struct total *service_entry(struct totals *t, const struct red_key *key)
{
    buffer_reset(&t->key);
    service_key(&t->key, key->service, key->namespace, key->environment);
    struct bytes text = buffer_bytes(&t->key);
    return t->key.error != ERR_OK ? NULL : total_find(t, text, hash_bytes(text));
}

/* Others may have filled the bound of all: some of its own every service has. */
static bool series_has_room(const struct totals *t, const struct total *of)
{
    uint32_t own = of == NULL ? 0 : of->series_count;
    return own < TOTALS_OF_SERVICE_MAX &&
           (t->series_count < TOTALS_SERIES_MAX || (of != NULL && own < TOTALS_OF_SERVICE_SURE));
}

void totals_restore_name(struct totals *t, const struct red_key *key, uint64_t now_mono_ns)
{
    struct buffer text;
    if (!name_is_template(key->name))
        return;
    buffer_init(&text, 4096);
    service_key(&text, key->service, key->namespace, key->environment);
    (void)pthread_mutex_lock(&t->lock);
    t->now_mono_ns = now_mono_ns;
    if (is_admitted(t, &text, t->services_count, TOTALS_SERVICES_MAX, true)) {
        struct total *of = service_entry(t, key);
        if (of != NULL)
            name_tree_restore(&of->names, &t->names, key->name);
    }
    (void)pthread_mutex_unlock(&t->lock);
    buffer_deinit(&text);
}

bool totals_restore_kept(struct totals *t, const struct red_key *key, bool may_make)
{
    (void)pthread_mutex_lock(&t->lock);
    struct total *of = service_entry(t, key);
    bool is_kept = of != NULL && name_tree_restore_kept(&of->names, &t->names, key->name, may_make);
    (void)pthread_mutex_unlock(&t->lock);
    return is_kept;
}

/* The entry of a series. NULL: it has none, and where may_make none can be made. */
static struct total *series_entry(struct totals *t, const struct red_key *key, struct total *of,
                                  bool is_bounded, bool may_make)
{
    buffer_reset(&t->key);
    red_key_put(&t->key, key);
    if (t->key.error != ERR_OK)
        return NULL;
    struct bytes series = buffer_bytes(&t->key);
    uint64_t hash = hash_bytes(series);
    bool has_room = !is_bounded || series_has_room(t, of);
    struct total *e = total_find(t, series, hash);
    if (e != NULL || !may_make || !has_room)
        return e;
    e = total_make(t, series, hash);
    if (e != NULL && of != NULL) {
        e->service = of;
        of->series_count++;
    }
    return e;
}

/* What the rules say of a name, and then what was learned: the key's name is changed, and why is returned.
 * out_place: the name is to be learned, and where it is; else NULL. */
static unsigned name_rule(struct totals *t, struct total *of, struct bytes raw, unsigned cleaned,
                          struct red_key *key, struct name_node **out_place, struct buffer *text,
                          unsigned *out_rule)
{
    *out_rule = name_rules_find(t->rules, raw, &key->name);
    if (*out_rule != 0)
        return CLEANED_RULE;
    buffer_reset(text);
    if (of == NULL ||
        !(out_place != NULL ? name_tree_learn(&of->names, &t->names, key->name, text, out_place)
                            : name_tree_find(&of->names, &t->names, key->name, false, text)))
        return cleaned;
    key->name = buffer_bytes(text);
    return cleaned | CLEANED_LEARNED;
}

/* A service that is none by itself has no names either: all that is over the bound of services would fill that
 * of series. A template without a word in it says no more than the overflow does. */
static bool is_overflow(const struct red_key *key, unsigned reasons)
{
    return bytes_equal(key->service, other) ||
           ((reasons & CLEANED_LEARNED) != 0 && !name_template_says_something(key->name));
}

void *totals_admit_series(void *context, struct bytes raw, unsigned cleaned, struct red_key *key)
{
    struct totals *t = context;
    struct name_node *place = NULL;
    unsigned rule = 0;
    (void)pthread_mutex_lock(&t->lock);
    struct total *of = service_entry(t, key), *e = NULL;
    unsigned reasons = name_rule(t, of, raw, cleaned, key, &place, &t->name, &rule);
    if (!is_overflow(key, reasons))
        e = series_entry(t, key, of, true, true);
    if (e == NULL) {
        key->name = other;
        reasons = CLEANED_OVERFLOW;
        e = series_entry(t, key, of, false, true);
    }
    if (e != NULL)
        example_note(e, raw, reasons, rule);
    (void)pthread_mutex_unlock(&t->lock);
    return place;
}

uint64_t totals_changes(void *context)
{
    struct totals *t = context;
    (void)pthread_mutex_lock(&t->lock);
    uint64_t changes = t->names.changes;
    (void)pthread_mutex_unlock(&t->lock);
    return changes;
}

bool totals_admit_again(void *context, uint64_t changes, void *const *places, size_t count)
{
    struct totals *t = context;
    (void)pthread_mutex_lock(&t->lock);
    bool is_same = t->names.changes == changes;
    for (size_t i = 0; i < count && is_same; i++)
        if (places[i] != NULL)
            name_tree_prefetch(places[i]);
    for (size_t i = 0; i < count && is_same; i++)
        if (places[i] != NULL)
            name_tree_note(&t->names, places[i]);
    (void)pthread_mutex_unlock(&t->lock);
    return is_same;
}

void *totals_show_series(void *context, struct bytes raw, unsigned cleaned, struct red_key *key)
{
    struct totals_reader *r = context;
    struct totals *t = r->totals;
    unsigned rule = 0;
    (void)pthread_mutex_lock(&t->lock);
    struct total *of = service_entry(t, key);
    unsigned reasons = name_rule(t, of, raw, cleaned, key, NULL, &r->name, &rule);
    if (is_overflow(key, reasons) ||
        (!series_has_room(t, of) && series_entry(t, key, of, true, false) == NULL))
        key->name = other;
    (void)pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* Over the bound only services keep their names, of which there are few. */
static void edge_bound(struct totals *t, struct edge_key *key, bool may_make)
{
    struct buffer text;
    buffer_init(&text, 1 << 20);
    edge_key_put(&text, key);
    (void)pthread_mutex_lock(&t->lock);
    bool is_own = is_admitted(t, &text, t->edges_count, TOTALS_EDGES_MAX, may_make);
    (void)pthread_mutex_unlock(&t->lock);
    buffer_deinit(&text);
    if (is_own)
        return;
    const struct derived_node rest = { .kind = NODE_OTHER, .name = other };
    if (key->client.kind == NODE_SERVICE)
        key->server = rest;
    else
        key->client = rest;
    if (key->client.kind != NODE_SERVICE && key->server.kind != NODE_SERVICE)
        key->server = rest;
    key->via = (struct bytes){ 0 };
}

void totals_admit_edge(void *context, struct edge_key *key)
{
    edge_bound(context, key, true);
}

void totals_show_edge(void *context, struct edge_key *key)
{
    struct totals_reader *r = context;
    edge_bound(r->totals, key, false);
}

void totals_show(struct totals_reader *reader, struct intake *in)
{
    in->admit = totals_show_series;
    in->admit_service = totals_show_service;
    in->admit_edge = totals_show_edge;
    in->admit_context = reader;
}

/* ---- Counting -------------------------------------------------------------------------------- */

static void overflow_count(struct totals *t, struct bytes key, uint64_t calls)
{
    struct red_key red;
    struct edge_key edge;
    if (red_key_read(key, &red)) {
        if (bytes_equal(red.service, other))
            t->overflowed_service_spans += calls;
        else if (bytes_equal(red.name, other))
            t->overflowed_series_spans += calls;
    } else if (edge_key_read(key, &edge) &&
               (edge.client.kind == NODE_OTHER || edge.server.kind == NODE_OTHER)) {
        t->overflowed_edge_calls += calls;
    }
}

/* Where durations spread over many octaves the histogram becomes coarser; those of rollups never do. */
static void histogram_narrow(struct histogram *h)
{
    while (h->length > TOTALS_BUCKETS_MAX)
        if (histogram_downscale(h, (int8_t)(h->scale - 1)) != ERR_OK)
            return; /* no memory: the next time */
}

/* e: the point's entry, or NULL. */
static void point_count(struct totals *t, const struct tally *tally, const struct tally_point *p,
                        struct total *e, uint64_t now_unix_ns)
{
    struct bytes key = tally_key(tally, p->series);
    struct unpaired_key gap;
    if (unpaired_key_read(key, &gap)) {
        t->unpaired[gap.reason] += p->calls;
        return;
    }
    overflow_count(t, key, p->calls);
    uint64_t hash = tally_key_hash(tally, p->series);
    struct red_key red;
    if (e == NULL)
        e = total_find(t, key, hash);
    if (e == NULL && red_key_read(key, &red))
        e = series_entry(t, &red, service_entry(t, &red), false, true);
    else if (e == NULL)
        e = total_make(t, key, hash);
    if (e == NULL || tally_point_add(&e->sum, p) != ERR_OK)
        return;
    histogram_narrow(&e->sum.first);
    histogram_narrow(&e->sum.second);
    if (e->created_unix_ns == 0)
        e->created_unix_ns = now_unix_ns;
    e->seen_mono_ns = t->now_mono_ns;
    if (e->service != NULL)
        e->service->seen_mono_ns = t->now_mono_ns;
    const struct derived_exemplar *latest =
        tally_is_later(&p->failed, &p->slowest) ? &p->failed : &p->slowest;
    if (tally_is_later(latest, &e->newest))
        e->newest = *latest;
}

/* Where the durations of a point go, as far as the window has room for them. */
static void window_prefetch(const struct histogram *h, const struct tally_values *v)
{
    if (v->count == 0 || h->length == 0 || h->width != sizeof(uint32_t))
        return;
    int shift = HISTOGRAM_SCALE - h->scale;
    int32_t from = v->min == 0 ? 0 : (histogram_bucket(v->min) >> shift) - h->first;
    int32_t to = (histogram_bucket(v->max) >> shift) - h->first;
    from = from < 0 ? 0 : from;
    to = to < (int32_t)h->length ? to : (int32_t)h->length - 1;
    for (int32_t i = from; i <= to; i += 16)
        __builtin_prefetch((const uint32_t *)h->counts + i, 1);
}

/* Entries lie anywhere in megabytes: so of some points all are asked for, one step after the other, before any is
 * counted. */
static void points_count(struct totals *t, const struct tally *tally, uint32_t from,
                         uint64_t now_unix_ns)
{
    const struct tally_point *points[TOGETHER];
    struct total *entries[TOGETHER];
    uint32_t count = tally->points_count - from < TOGETHER ? tally->points_count - from : TOGETHER;
    for (uint32_t i = 0; i < count; i++) {
        points[i] = tally_point(tally, from + i);
        uint64_t hash = tally_key_hash(tally, points[i]->series);
        __builtin_prefetch(&t->buckets[hash & (BUCKETS - 1)]);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = tally_key_hash(tally, points[i]->series);
        const uint8_t *e = (const uint8_t *)t->buckets[hash & (BUCKETS - 1)];
        for (size_t at = 0; e != NULL && at < sizeof(struct total) + 64; at += 64)
            __builtin_prefetch(e + at, 1);
    }
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = total_find(t, tally_key(tally, points[i]->series),
                                tally_key_hash(tally, points[i]->series));
        if (entries[i] != NULL) {
            window_prefetch(&entries[i]->sum.first, &points[i]->first_values);
            window_prefetch(&entries[i]->sum.second, &points[i]->second_values);
        }
    }
    for (uint32_t i = 0; i < count; i++)
        point_count(t, tally, points[i], entries[i], now_unix_ns);
}

/* What was idle leaves; series before services, which they point to. */
static void sweep(struct totals *t, bool services)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (struct total **at = &t->buckets[i]; *at != NULL;) {
            struct total *e = *at;
            bool is_service = e->key[0] == CLASS_SERVICE;
            if (is_service != services || t->now_mono_ns - e->seen_mono_ns < t->idle_ns ||
                e->series_count > 0) {
                bytes += total_bytes(e);
                at = &e->next;
                continue;
            }
            *at = e->next;
            (*count_of(t, key_of(e)))--;
            if (e->service != NULL)
                e->service->series_count--;
            total_free(t, e);
        }
    }
    t->memory_bytes = bytes + BUCKETS * sizeof *t->buckets;
}

static void sweep_when_due(struct totals *t)
{
    uint64_t interval = t->idle_ns / 4 < SWEEP_NS ? t->idle_ns / 4 : SWEEP_NS;
    if (t->now_mono_ns - t->swept_mono_ns < interval)
        return;
    sweep(t, false);
    sweep(t, true);
    t->swept_mono_ns = t->now_mono_ns;
}

void totals_add(struct totals *t, const struct tally *tally, uint64_t now_unix_ns,
                uint64_t now_mono_ns)
{
    (void)pthread_mutex_lock(&t->lock);
    if (now_mono_ns > t->now_mono_ns)
        t->now_mono_ns = now_mono_ns;
    t->names.epoch++;
    for (uint32_t i = 0; i < tally->points_count; i += TOGETHER)
        points_count(t, tally, i, now_unix_ns);
    sweep_when_due(t);
    (void)pthread_mutex_unlock(&t->lock);
}

/* ---- Copies ---------------------------------------------------------------------------------- */

static enum err histogram_copy(const struct histogram *from, struct arena *arena,
                               struct histogram *out)
{
    histogram_init(out, arena);
    return histogram_merge(out, from);
}

static enum err series_copy(const struct total *e, struct arena *arena, struct red_total *out)
{
    struct bytes text;
    struct red_key key;
    enum err error = arena_dup(arena, key_of(e), &text);
    if (error != ERR_OK)
        return error;
    bool is_read = red_key_read(text, &key);
    assert(is_read);
    (void)is_read;
    *out = (struct red_total){
        .service = key.service,
        .namespace = key.namespace,
        .environment = key.environment,
        .name = key.name,
        .kind = key.kind,
        .status = key.status,
        .created_unix_ns = e->created_unix_ns,
        .calls = e->sum.calls,
        .bytes = e->sum.bytes,
        .estimated_calls = (double)e->sum.estimated_calls / (double)TALLY_ONE,
        .slowest = e->sum.slowest,
        .newest = e->newest,
    };
    return histogram_copy(&e->sum.first, arena, &out->duration);
}

static enum err edge_copy(const struct total *e, struct arena *arena, struct edge_total *out)
{
    struct bytes text;
    struct edge_key key;
    enum err error = arena_dup(arena, key_of(e), &text);
    if (error != ERR_OK)
        return error;
    bool is_read = edge_key_read(text, &key);
    assert(is_read);
    (void)is_read;
    *out = (struct edge_total){
        .client = key.client,
        .server = key.server,
        .type = key.type,
        .via = key.via,
        .created_unix_ns = e->created_unix_ns,
        .calls = e->sum.calls,
        .failed = e->sum.errors,
        .newest = e->newest,
    };
    error = histogram_copy(&e->sum.first, arena, &out->client_duration);
    return error == ERR_OK ? histogram_copy(&e->sum.second, arena, &out->server_duration) : error;
}

/* Who counts waits for a part, not for all: some hundred entries, a part of a millisecond. */
#define COPY_BUCKETS 256u

/* What is copied, part by part: between two of them entries may come, so that it may have to grow. */
struct copy {
    struct derived_totals out;
    size_t series_capacity, edges_capacity;
};

static enum err room(struct arena *arena, void **items, size_t size, size_t count, size_t *capacity)
{
    if (count < *capacity)
        return ERR_OK;
    size_t wanted = 2 * *capacity;
    void *grown = arena_alloc_array(arena, wanted, size);
    if (grown == NULL)
        return arena_failure(arena);
    memcpy(grown, *items, count * size);
    *items = grown;
    *capacity = wanted;
    return ERR_OK;
}

static enum err entry_copy(const struct total *x, struct arena *arena, struct copy *c)
{
    struct derived_totals *out = &c->out;
    bool is_series = x->key[0] == KEY_RED;
    void *items = is_series ? (void *)out->series : (void *)out->edges;
    if (x->created_unix_ns == 0 || (!is_series && x->key[0] != KEY_EDGE))
        return ERR_OK; /* nothing was counted in it */
    enum err e =
        is_series ? room(arena, &items, sizeof *out->series, out->series_count, &c->series_capacity)
                  : room(arena, &items, sizeof *out->edges, out->edges_count, &c->edges_capacity);
    if (e != ERR_OK)
        return e;
    if (is_series) {
        out->series = items;
        return series_copy(x, arena, &out->series[out->series_count++]);
    }
    out->edges = items;
    return edge_copy(x, arena, &out->edges[out->edges_count++]);
}

static enum err part_copy(struct totals *t, uint32_t from, struct arena *arena, struct copy *c)
{
    enum err e = ERR_OK;
    (void)pthread_mutex_lock(&t->lock);
    for (uint32_t i = from; i < from + COPY_BUCKETS; i++)
        for (const struct total *x = t->buckets[i]; x != NULL && e == ERR_OK; x = x->next)
            e = entry_copy(x, arena, c);
    (void)pthread_mutex_unlock(&t->lock);
    return e;
}

static enum err copy_begin(struct totals *t, struct arena *arena, uint64_t now_mono_ns,
                           struct copy *c)
{
    struct derived_totals *out = &c->out;
    (void)pthread_mutex_lock(&t->lock);
    /* Where nothing comes any more nobody adds: then who asks sees to it that series leave. */
    if (now_mono_ns > t->now_mono_ns)
        t->now_mono_ns = now_mono_ns;
    sweep_when_due(t);
    memcpy(out->unpaired, t->unpaired, sizeof out->unpaired);
    out->bounds = (struct derived_bounds){
        .series = t->series_count,
        .series_max = TOTALS_SERIES_MAX,
        .series_per_service_max = TOTALS_OF_SERVICE_MAX,
        .services = t->services_count,
        .services_max = TOTALS_SERVICES_MAX,
        .edges = t->edges_count,
        .edges_max = TOTALS_EDGES_MAX,
        .overflowed_series_spans = t->overflowed_series_spans,
        .overflowed_service_spans = t->overflowed_service_spans,
        .overflowed_edge_calls = t->overflowed_edge_calls,
        .memory_bytes = t->memory_bytes + t->names.bytes,
    };
    c->series_capacity = (size_t)t->series_count + 1;
    c->edges_capacity = (size_t)t->edges_count + 1;
    (void)pthread_mutex_unlock(&t->lock);
    out->series = arena_alloc_array(arena, c->series_capacity, sizeof *out->series);
    out->edges = arena_alloc_array(arena, c->edges_capacity, sizeof *out->edges);
    return out->series == NULL || out->edges == NULL ? arena_failure(arena) : ERR_OK;
}

enum err totals_copy(struct totals *t, const struct query_context *q, uint64_t now_mono_ns,
                     struct derived_totals *out)
{
    struct copy copy = { 0 };
    static_assert(BUCKETS % COPY_BUCKETS == 0, "parts are equal");
    enum err e = copy_begin(t, q->arena, now_mono_ns, &copy);
    for (uint32_t from = 0; from < BUCKETS && e == ERR_OK; from += COPY_BUCKETS)
        e = part_copy(t, from, q->arena, &copy);
    if (e == ERR_OK)
        *out = copy.out;
    return e;
}

static int cleaned_compare(const void *a, const void *b)
{
    const struct derived_cleaned *x = a, *y = b;
    int order = bytes_compare(x->service, y->service);
    return order != 0 ? order : bytes_compare(x->name, y->name);
}

/* Series of one service and name, of different kinds and statuses, are one line. */
static size_t cleaned_unite(struct derived_cleaned *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && cleaned_compare(&list[kept - 1], &list[i]) == 0) {
            list[kept - 1].spans += list[i].spans;
            list[kept - 1].reasons |= list[i].reasons;
            if (list[i].rule != 0)
                list[kept - 1].rule = list[i].rule;
        } else {
            list[kept++] = list[i];
        }
    }
    return kept;
}

enum err totals_cleaned(struct totals *t, const struct query_context *q,
                        struct derived_cleaned **out, size_t *out_count)
{
    enum err e = ERR_OK;
    size_t count = 0;
    (void)pthread_mutex_lock(&t->lock);
    struct derived_cleaned *list =
        arena_alloc_array(q->arena, (size_t)t->series_count + 1, sizeof *list);
    if (list == NULL)
        e = arena_failure(q->arena);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (const struct total *x = t->buckets[i]; x != NULL && e == ERR_OK; x = x->next) {
            struct bytes text, example = { 0 };
            struct red_key key;
            if (x->key[0] != KEY_RED || x->cleaned == 0 || x->created_unix_ns == 0)
                continue;
            e = arena_dup(q->arena, key_of(x), &text);
            if (e == ERR_OK)
                e = arena_dup(q->arena, x->example, &example);
            if (e != ERR_OK || !red_key_read(text, &key))
                continue;
            list[count++] = (struct derived_cleaned){ .service = key.service,
                                                      .name = key.name,
                                                      .example = example,
                                                      .reasons = x->cleaned,
                                                      .rule = x->rule,
                                                      .spans = x->sum.calls };
        }
    }
    (void)pthread_mutex_unlock(&t->lock);
    if (e != ERR_OK)
        return e;
    qsort(list, count, sizeof *list, cleaned_compare);
    *out_count = cleaned_unite(list, count);
    *out = list;
    return ERR_OK;
}
