/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/view.h"

#include "base/budget.h"
#include "base/mem.h"
#include "base/shelf.h"
#include "storage/rowgroup/rowgroup.h"
#include "storage/sqlite/partition.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Gathering trace IDs takes 16 bytes an item for a moment; larger bodies are rare, and walked over. */
#define TRACES_ITEMS_MAX 65536u
/* Of a digest, which stops counting values before. */
#define VALUES_BYTES_MAX ((size_t)1 << 20)

static _Atomic uint64_t last_serial; /* of the process's groups and entries */

static uint64_t serial_next(void)
{
    return atomic_fetch_add_explicit(&last_serial, 1, memory_order_relaxed) + 1;
}

/* ---- Pending bodies -------------------------------------------------------------------------- */

/* An arena that holds this much more than the body is given back, and the body copied instead: a
 * small request in a block of 64 KiB must not hold on to the block for seconds. */
static bool arena_is_wasteful(const struct arena *a, struct bytes body)
{
    return a->held_bytes > body.len + body.len / 2 + 1024;
}

static struct pending *pending_zalloc(void)
{
    struct pending *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return NULL;
    atomic_init(&p->references, 1);
    p->serial = serial_next();
    return p;
}

/* Two threads may find them; they find the same, and has_bounds is set after either has stored. */
static void bounds_set(struct pending *p, uint64_t min_unix_ns, uint64_t max_unix_ns)
{
    atomic_store_explicit(&p->start_min_unix_ns, min_unix_ns, memory_order_relaxed);
    atomic_store_explicit(&p->start_max_unix_ns, max_unix_ns, memory_order_relaxed);
    atomic_store_explicit(&p->has_bounds, true, memory_order_release);
}

/* Into an arena that holds little more than the body: its limit keeps blocks as small as they can
 * be. */
static bool body_copy(struct pending *p, struct bytes body)
{
    arena_init(&p->arena, body.len + 64, NULL);
    return arena_dup(&p->arena, body, &p->body) == ERR_OK;
}

struct pending *pending_new(const struct append *a, struct budget *budget, size_t charged_bytes)
{
    struct pending *p = pending_zalloc();
    if (p == NULL)
        return NULL;
    p->body = a->body;
    p->signal = a->signal;
    p->items = a->items;
    p->arrival_unix_ns = a->arrival_unix_ns;
    p->arrival_mono_ns = clock_mono_ns();
    p->request_hash = a->request_hash;
    if (a->start_max_unix_ns != 0)
        bounds_set(p, a->start_min_unix_ns, a->start_max_unix_ns);
    if (arena_is_wasteful(&a->arena, a->body)) {
        if (!body_copy(p, a->body)) {
            pending_release(p);
            return NULL;
        }
    }
    p->budget = budget;
    p->charged_bytes = charged_bytes;
    return p;
}

void pending_adopt(struct pending *p, struct append *a)
{
    if (p->arena.blocks == NULL) {
        p->arena = a->arena;
        a->arena = (struct arena){ 0 };
        /* From now on it counts against the engine's budget, which the caller has charged. */
        if (p->arena.budget != NULL)
            budget_release(p->arena.budget, p->arena.held_bytes);
        p->arena.budget = NULL;
    } else {
        arena_deinit(&a->arena);
    }
    a->body = a->journal = (struct bytes){ 0 };
    size_t needed = p->arena.held_bytes + sizeof *p;
    if (needed < p->charged_bytes) {
        budget_release(p->budget, p->charged_bytes - needed);
        p->charged_bytes = needed;
    }
}

struct pending *pending_copy(const struct pending *from)
{
    struct pending *p = pending_zalloc();
    if (p == NULL)
        return NULL;
    if (!body_copy(p, from->body)) {
        pending_release(p);
        return NULL;
    }
    p->signal = from->signal;
    p->items = from->items;
    p->arrival_unix_ns = from->arrival_unix_ns;
    p->arrival_mono_ns = from->arrival_mono_ns;
    p->request_hash = from->request_hash;
    p->partition = from->partition;
    p->sequence = from->sequence;
    return p;
}

struct pending *pending_replayed(struct arena *take_arena, struct bytes body)
{
    struct pending *p = pending_zalloc();
    if (p == NULL) {
        arena_deinit(take_arena);
        return NULL;
    }
    p->arena = *take_arena;
    *take_arena = (struct arena){ 0 };
    p->body = body;
    return p;
}

/* What is known of a body, to answer without walking over it; charged to what the body is charged to. */
struct pending_filter {
    size_t len; /* of traces: 0 where no item has a trace ID */
    uint8_t data[];
};

static struct pending_filter *filter_new(struct pending *p, struct bytes data)
{
    size_t size = sizeof(struct pending_filter) + data.len;
    if (p->budget != NULL && !budget_reserve(p->budget, size))
        return NULL;
    struct pending_filter *f = mem_alloc(size);
    if (f == NULL) {
        if (p->budget != NULL)
            budget_release(p->budget, size);
        return NULL;
    }
    f->len = data.len;
    if (data.len > 0)
        memcpy(f->data, data.data, data.len);
    return f;
}

static void filter_free(struct pending *p, struct pending_filter *take_filter)
{
    if (take_filter != NULL && p->budget != NULL)
        budget_release(p->budget, sizeof *take_filter + take_filter->len);
    mem_free(take_filter);
}

/* Of two threads that made one, the first has it. Pairs with loads of `*to` that acquire. */
static struct pending_filter *filter_keep(struct pending *p, _Atomic(struct pending_filter *) *to,
                                          struct pending_filter *take_made)
{
    struct pending_filter *kept = NULL;
    if (atomic_compare_exchange_strong_explicit(to, &kept, take_made, memory_order_acq_rel,
                                                memory_order_acquire))
        return take_made;
    filter_free(p, take_made);
    return kept;
}

void pending_release(struct pending *p)
{
    while (p != NULL && atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) == 1) {
        struct pending *next = p->next; /* its reference passes to this loop */
        if (p->charged_bytes != 0)
            budget_release(p->budget, p->charged_bytes);
        filter_free(p, atomic_load_explicit(&p->traces, memory_order_relaxed));
        filter_free(p, atomic_load_explicit(&p->values, memory_order_relaxed));
        arena_deinit(&p->arena);
        mem_free(p);
        p = next;
    }
}

struct pending *pending_retain(struct pending *p)
{
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void pending_bounds(struct pending *p, uint64_t *out_min_unix_ns, uint64_t *out_max_unix_ns)
{
    if (!atomic_load_explicit(&p->has_bounds, memory_order_acquire)) {
        uint64_t min = UINT64_MAX, max = 0;
        struct otlp_items it = otlp_items(p->body);
        while (otlp_items_next(&it)) {
            uint64_t start;
            if (p->signal == SIGNAL_TRACES) {
                struct otlp_span span;
                otlp_span_read(it.item, &span);
                start = span.start_unix_ns;
            } else {
                struct otlp_log log;
                otlp_log_read(it.item, &log);
                start = otlp_log_time(&log);
            }
            min = start < min ? start : min;
            max = start > max ? start : max;
        }
        bounds_set(p, min, max);
    }
    *out_min_unix_ns = atomic_load_explicit(&p->start_min_unix_ns, memory_order_relaxed);
    *out_max_unix_ns = atomic_load_explicit(&p->start_max_unix_ns, memory_order_relaxed);
}

/* ---- Which traces a body has ------------------------------------------------------------------ */

static int trace_id_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id));
}

/* The items' trace IDs, each once. False: the body has more items than it says. */
static bool traces_gather(const struct pending *p, struct trace_id *out, size_t *out_count)
{
    size_t items = 0, count = 0, distinct = 0;
    struct otlp_items it = otlp_items(p->body);
    while (otlp_items_next(&it)) {
        if (items++ == p->items)
            return false;
        if (p->signal == SIGNAL_TRACES) {
            struct otlp_span span;
            otlp_span_read(it.item, &span);
            out[count] = span.trace_id;
        } else {
            struct otlp_log log;
            otlp_log_read(it.item, &log);
            out[count] = log.trace_id;
        }
        count += !trace_id_is_zero(&out[count]);
    }
    qsort(out, count, sizeof *out, trace_id_order);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || trace_id_order(&out[i], &out[i - 1]) != 0)
            out[distinct++] = out[i];
    *out_count = distinct;
    return true;
}

static struct pending_filter *traces_make(struct pending *p)
{
    struct pending_filter *made = NULL;
    struct buffer filter;
    size_t count = 0;
    if (p->items > TRACES_ITEMS_MAX)
        return NULL;
    buffer_init(&filter, (size_t)1 << 20);
    struct trace_id *ids = mem_alloc_array(p->items, sizeof *ids);
    enum err error = ids != NULL && traces_gather(p, ids, &count) ? ERR_OK : ERR_NOMEM;
    if (error == ERR_OK && count > 0)
        error = trace_filter_build_small(ids, count, &filter);
    if (error == ERR_OK)
        made = filter_new(p, buffer_bytes(&filter));
    mem_free(ids);
    buffer_deinit(&filter);
    return made;
}

bool pending_may_contain(struct pending *p, uint64_t trace_hash)
{
    struct pending_filter *traces = atomic_load_explicit(&p->traces, memory_order_acquire);
    if (traces == NULL) {
        struct pending_filter *made = traces_make(p);
        if (made == NULL)
            return true;
        traces = filter_keep(p, &p->traces, made);
    }
    return traces->len > 0 &&
           trace_filter_may_contain_hash(bytes_of(traces->data, traces->len), trace_hash);
}

/* ---- Which values a body has ------------------------------------------------------------------ */

bool pending_may_match(struct pending *p, const struct rowgroup_question *question)
{
    const struct pending_filter *values = atomic_load_explicit(&p->values, memory_order_acquire);
    return values == NULL || rowgroup_question_may(question, bytes_of(values->data, values->len));
}

bool pending_is_known(const struct pending *p)
{
    return atomic_load_explicit(&p->values, memory_order_acquire) != NULL;
}

enum err pending_learn(struct pending *p)
{
    if (pending_is_known(p))
        return ERR_OK;
    struct buffer digest;
    buffer_init(&digest, VALUES_BYTES_MAX);
    enum err e = rowgroup_digest_of_body(p->signal, p->body, &digest);
    if (e == ERR_OK) {
        struct pending_filter *made = filter_new(p, buffer_bytes(&digest));
        if (made != NULL)
            (void)filter_keep(p, &p->values, made);
        else
            e = ERR_BUDGET;
    }
    buffer_deinit(&digest);
    return e;
}

/* ---- Chains: all under the view's lock ------------------------------------------------------- */

static void chain_push(struct pending_chain *c, struct pending *take_entry)
{
    assert(take_entry->next == NULL);
    if (c->last == NULL)
        c->first = take_entry;
    else
        c->last->next = take_entry;
    c->last = take_entry;
    c->count++;
    c->items += take_entry->items;
    c->bytes += take_entry->body.len;
}

/* The first entry leaves the chain; the chain's reference on it passes to the caller. */
static struct pending *chain_pop(struct pending_chain *c)
{
    struct pending *p = c->first;
    assert(p != NULL && c->count > 0);
    c->first = p->next == NULL ? NULL : pending_retain(p->next);
    if (c->first == NULL)
        c->last = NULL;
    c->count--;
    c->items -= p->items;
    c->bytes -= p->body.len;
    return p;
}

static struct pending_range chain_range(const struct pending_chain *c)
{
    return (struct pending_range){ .first = c->first == NULL ? NULL : pending_retain(c->first),
                                   .count = c->count };
}

void pending_range_release(struct pending_range *r)
{
    pending_release(r->first);
    *r = (struct pending_range){ 0 };
}

/* ---- Row groups ------------------------------------------------------------------------------ */

struct group *group_new(struct filter_room *room, struct bytes trace_filter)
{
    struct group *g = shelf_zalloc(sizeof *g);
    if (g == NULL)
        return NULL;
    g->room = room;
    if (trace_filter.len != 0 &&
        filter_room_put(room, trace_filter, &g->trace_filter, &g->chunk) != ERR_OK) {
        shelf_free(g);
        return NULL;
    }
    atomic_init(&g->references, 1);
    g->serial = serial_next();
    g->filter_place = trace_filter_place_of(trace_filter);
    if (g->filter_place.blocks != NULL) /* of the copy, which has the same head */
        g->filter_place.blocks =
            g->trace_filter.data + (g->filter_place.blocks - trace_filter.data);
    return g;
}

struct group *group_stored(struct filter_room *room, enum signal signal, struct bytes trace_filter,
                           uint64_t *damaged)
{
    static const uint8_t rules_nothing_out[1] = { 0 };
    /* Every span has a trace ID; log records may have none. */
    bool is_missing = trace_filter.len == 0 && signal == SIGNAL_TRACES;
    if (!is_missing && trace_filter_is_intact(trace_filter))
        return group_new(room, trace_filter);
    ++*damaged;
    return group_new(room, bytes_of(rules_nothing_out, sizeof rules_nothing_out));
}

struct group *group_retain(struct group *g)
{
    atomic_fetch_add_explicit(&g->references, 1, memory_order_relaxed);
    return g;
}

enum err group_digest_keep(struct group *g, enum rowgroup_digest kind, struct digest_file *f,
                           struct bytes digest)
{
    uint64_t none = DIGEST_NONE, place = DIGEST_NONE;
    if (atomic_load_explicit(&g->digests[kind], memory_order_acquire) != DIGEST_NONE)
        return ERR_OK;
    enum err e = digest_file_put(f, digest, &place);
    if (e != ERR_OK)
        return e;
    atomic_store(&g->digests_file, f);
    if (!atomic_compare_exchange_strong(&g->digests[kind], &none, place))
        digest_file_forget(f, place); /* another thread was quicker */
    return ERR_OK;
}

bool group_is_last(const struct group *g)
{
    return atomic_load_explicit(&g->references, memory_order_acquire) == 1;
}

void group_release(struct group *g)
{
    if (g == NULL || atomic_fetch_sub_explicit(&g->references, 1, memory_order_acq_rel) != 1)
        return;
    partition_release(g->partition);
    if (g->chunk != NULL)
        filter_room_drop(g->room, g->chunk, g->trace_filter);
    const struct digest_file *f = atomic_load(&g->digests_file);
    for (int kind = 0; f != NULL && kind < ROWGROUP_DIGEST_COUNT; kind++)
        digest_file_forget(f, atomic_load(&g->digests[kind]));
    shelf_free(g);
}

void group_list_release(struct group_list *l)
{
    if (l == NULL || atomic_fetch_sub_explicit(&l->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < l->count; i++)
        group_release(l->groups[i]);
    mem_free(l);
}

/* Room for `extra` more than `from` has (NULL: none), its groups retained. */
struct group_list *group_list_new(size_t max)
{
    const size_t each = sizeof(struct group *) + sizeof(struct trace_filter_place);
    struct group_list *l = mem_zalloc(sizeof *l + max * each);
    if (l == NULL)
        return NULL;
    atomic_init(&l->references, 1);
    l->filters = (struct trace_filter_place *)(void *)(l->groups + max);
    return l;
}

void group_list_push(struct group_list *l, struct group *take_group)
{
    l->filters[l->count] = take_group->filter_place;
    l->groups[l->count++] = take_group;
}

static struct group_list *group_list_copy(const struct group_list *from, size_t extra)
{
    size_t count = from == NULL ? 0 : from->count;
    struct group_list *l = group_list_new(count + extra);
    for (size_t i = 0; l != NULL && i < count; i++)
        group_list_push(l, group_retain(from->groups[i]));
    return l;
}

/* ---- The view -------------------------------------------------------------------------------- */

enum err view_init(struct view *v)
{
    *v = (struct view){ 0 };
    if (filter_room_init(&v->filters) != ERR_OK)
        return ERR_NOMEM;
    if (pthread_mutex_init(&v->lock, NULL) != 0) {
        filter_room_deinit(&v->filters);
        return ERR_NOMEM;
    }
    digest_file_init(&v->digests);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        v->groups[s] = group_list_copy(NULL, 0);
        if (v->groups[s] == NULL) {
            view_deinit(v);
            return ERR_NOMEM;
        }
    }
    return ERR_OK;
}

void view_deinit(struct view *v)
{
    digest_file_deinit(&v->digests); /* first, as it gives back all places at once */
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        group_list_release(v->groups[s]);
        pending_release(v->pending[s].first);
        pending_release(v->aside[s].first);
    }
    (void)pthread_mutex_destroy(&v->lock);
    filter_room_deinit(&v->filters);
    *v = (struct view){ 0 };
}

void view_add(struct view *v, struct pending *const *entries, size_t count)
{
    (void)pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < count; i++)
        chain_push(&v->pending[entries[i]->signal], entries[i]);
    (void)pthread_mutex_unlock(&v->lock);
}

void view_add_aside(struct view *v, struct pending *take_entry)
{
    (void)pthread_mutex_lock(&v->lock);
    chain_push(&v->aside[take_entry->signal], take_entry);
    (void)pthread_mutex_unlock(&v->lock);
}

void view_totals(struct view *v, struct view_totals *out)
{
    (void)pthread_mutex_lock(&v->lock);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        const struct pending_chain *c = &v->pending[s];
        out->items[s] = c->items;
        out->bytes[s] = c->bytes;
        out->arrival_mono_ns[s] = c->first == NULL ? 0 : c->first->arrival_mono_ns;
    }
    (void)pthread_mutex_unlock(&v->lock);
}

void view_each_in(struct view *v, const struct partition *in, view_entry_fn *visit, void *context)
{
    (void)pthread_mutex_lock(&v->lock);
    for (int s = 0; s < SIGNAL_COUNT; s++)
        for (struct pending *p = v->pending[s].first; p != NULL; p = p->next)
            if (p->partition == in)
                visit(context, p);
    (void)pthread_mutex_unlock(&v->lock);
}

bool view_is_behind(struct view *v, const struct partition *earlier, const struct partition *later)
{
    bool is_behind = false;
    (void)pthread_mutex_lock(&v->lock);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        bool is_seen = false;
        for (const struct pending *p = v->pending[s].first; p != NULL && !is_behind; p = p->next) {
            is_seen = is_seen || p->partition == earlier;
            is_behind = is_seen && p->partition == later;
        }
    }
    (void)pthread_mutex_unlock(&v->lock);
    return is_behind;
}

static void entry_count(void *context, struct pending *entry)
{
    (void)entry;
    ++*(size_t *)context;
}

size_t view_count_in(struct view *v, const struct partition *in)
{
    size_t count = 0;
    view_each_in(v, in, entry_count, &count);
    return count;
}

struct group_list *view_prepare(struct view *v, enum signal signal, struct group *take_group)
{
    struct group_list *l = group_list_copy(v->groups[signal], 1);
    if (l == NULL) {
        group_release(take_group);
        return NULL;
    }
    group_list_push(l, take_group);
    return l;
}

void view_retire(struct view *v, enum signal signal, struct group_list *take_list, size_t count,
                 struct pending *const *take_aside, size_t aside_count)
{
    struct group_list *old_list = NULL;
    struct pending *gone = NULL; /* freed outside the lock: it may be many megabytes */
    (void)pthread_mutex_lock(&v->lock);
    if (take_list != NULL) {
        old_list = v->groups[signal];
        v->groups[signal] = take_list;
    }
    struct pending_chain *chain = &v->pending[signal];
    if (count != 0)
        gone = pending_retain(chain->first);
    for (size_t i = 0; i < count; i++)
        pending_release(chain_pop(chain));
    for (size_t i = 0; i < aside_count; i++)
        chain_push(&v->aside[signal], take_aside[i]);
    (void)pthread_mutex_unlock(&v->lock);
    pending_release(gone);
    group_list_release(old_list);
}

struct group_list *view_prepare_merge(struct view *v, enum signal signal,
                                      struct group *const *inputs, size_t count,
                                      struct group *take_group)
{
    const struct group_list *from = v->groups[signal];
    struct group_list *l = group_list_new(from->count);
    if (l == NULL) {
        group_release(take_group);
        return NULL;
    }
    size_t found = 0; /* inputs are in the order of the list */
    for (size_t i = 0; i < from->count; i++) {
        struct group *g = from->groups[i];
        if (found == count || g != inputs[found]) {
            group_list_push(l, group_retain(g));
            continue;
        }
        found++;
        if (found == count)
            group_list_push(l, take_group);
    }
    assert(found == count);
    return l;
}

enum err view_prepare_leave(struct view *v, enum signal signal, const struct partition *p,
                            struct group_list **out_list, struct group_list **out_gone)
{
    const struct group_list *from = v->groups[signal];
    struct group_list *kept = group_list_new(from->count), *gone = group_list_new(from->count);
    if (kept == NULL || gone == NULL) {
        group_list_release(kept);
        group_list_release(gone);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < from->count; i++) {
        struct group *g = from->groups[i];
        group_list_push(g->partition == p ? gone : kept, group_retain(g));
    }
    *out_list = kept;
    *out_gone = gone;
    return ERR_OK;
}

static enum err aside_prepare(const struct pending_chain *chain, const struct partition *gone,
                              struct pending_chain *out, uint64_t *out_items)
{
    for (const struct pending *p = chain->first; p != NULL; p = p->next) {
        if (p->partition == gone) {
            *out_items += p->items;
            continue;
        }
        struct pending *copy = pending_copy(p);
        if (copy == NULL)
            return ERR_NOMEM;
        chain_push(out, copy);
    }
    return ERR_OK;
}

enum err view_prepare_removal(struct view *v, const struct partition *p, struct view_removal *out)
{
    *out = (struct view_removal){ 0 };
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        const struct group_list *from = v->groups[s];
        struct group_list *l = group_list_new(from->count);
        if (l == NULL)
            goto fail;
        out->lists[s] = l;
        for (size_t i = 0; i < from->count; i++) {
            struct group *g = from->groups[i];
            if (g->partition == p) {
                out->groups++;
                out->rows[s] += g->rows;
                continue;
            }
            group_list_push(l, group_retain(g));
        }
        if (aside_prepare(&v->aside[s], p, &out->aside[s], &out->aside_items[s]) != ERR_OK)
            goto fail;
    }
    return ERR_OK;

fail:
    view_removal_deinit(out);
    return ERR_NOMEM;
}

void view_remove(struct view *v, struct view_removal *take_removal)
{
    (void)pthread_mutex_lock(&v->lock);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct group_list *list = v->groups[s];
        v->groups[s] = take_removal->lists[s];
        take_removal->lists[s] = list;
        if (take_removal->aside_items[s] == 0)
            continue;
        struct pending_chain chain = v->aside[s];
        v->aside[s] = take_removal->aside[s];
        take_removal->aside[s] = chain;
    }
    (void)pthread_mutex_unlock(&v->lock);
    view_removal_deinit(take_removal); /* what was there before */
}

void view_removal_deinit(struct view_removal *r)
{
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        group_list_release(r->lists[s]);
        pending_release(r->aside[s].first);
    }
    *r = (struct view_removal){ 0 };
}

void view_snapshot(struct view *v, enum signal signal, struct snapshot *out)
{
    (void)pthread_mutex_lock(&v->lock);
    out->groups = v->groups[signal];
    atomic_fetch_add_explicit(&out->groups->references, 1, memory_order_relaxed);
    out->pending = chain_range(&v->pending[signal]);
    out->aside = chain_range(&v->aside[signal]);
    (void)pthread_mutex_unlock(&v->lock);
}

void snapshot_release(struct snapshot *s)
{
    group_list_release(s->groups);
    pending_range_release(&s->pending);
    pending_range_release(&s->aside);
    *s = (struct snapshot){ 0 };
}

void view_oldest(struct view *v, enum signal signal, const struct pending *after,
                 uint64_t items_max, size_t bytes_max, struct pending_range *out)
{
    (void)pthread_mutex_lock(&v->lock);
    struct pending *first = after == NULL ? v->pending[signal].first : after->next;
    *out = (struct pending_range){ .first = first == NULL ? NULL : pending_retain(first) };
    uint64_t items = 0;
    size_t bytes = 0;
    for (struct pending *p = first; p != NULL; p = p->next) {
        if (out->count > 0 && (p->partition != first->partition || items + p->items > items_max ||
                               bytes + p->body.len > bytes_max))
            break;
        items += p->items;
        bytes += p->body.len;
        out->count++;
    }
    (void)pthread_mutex_unlock(&v->lock);
}
