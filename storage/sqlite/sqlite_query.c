/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_query.c - a snapshot of the view as segments for storage/search.h, and the catalogue's
 * answers. */
#include "base/intern.h"
#include "base/mem.h"
#include "storage/search.h"
#include "storage/service_name.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>
#include <stdlib.h>

/* ---- A snapshot as a source of segments ------------------------------------------------------ */

#define SEGMENT_BYTES_MAX                                                                          \
    ((size_t)512 << 20) /* of one open row group: a million rows of columns  \
                                               */

#define DIGESTS_PER_QUERY 24

struct query_source {
    struct sqlite_engine *engine;
    enum signal signal;
    struct snapshot snapshot;
    struct pending **bodies; /* those set aside, then pending ones; in the query's arena */
    size_t bodies_count;
    struct opened_group *opened;
    struct trace_id probe; /* asked for last: its hash */
    uint64_t probe_hash;
    bool has_probe, has_filters;        /* the snapshot's trace filters in use */
    struct rowgroup_scratch scratch;    /* of all of them */
    struct buffer digest;               /* of one */
    struct rowgroup_question *question; /* what digests were asked last; in the arena */
    struct arena *arena;                /* the query's */
    bool has_asked_bodies;
    uint64_t wants_values,
        wants_traces; /* the group whose digest was asked for last and not there */
    unsigned learned; /* digests made for later queries */
    struct reader_set readers;
    struct segment_source source;
};

/* A group from the cache has its file opened when something is read that was not asked for before. */
static enum err group_reader_open(struct opened_group *o)
{
    struct db *db = NULL;
    if (o->has_inner)
        return ERR_OK;
    enum err e = reader_set_take(&o->by->readers, &o->group->partition->readers, &db);
    if (e != ERR_OK)
        return e;
    e = partition_group_open(db, o->group, &o->inner);
    o->has_inner = e == ERR_OK;
    o->reader = db;
    if (e != ERR_OK)
        reader_set_leave(&o->by->readers, db);
    return e;
}

static enum err group_source_read(void *context, uint64_t offset, size_t len, uint8_t *out)
{
    struct opened_group *o = context;
    enum err e = group_reader_open(o);
    return e == ERR_OK ? o->inner.read(o->inner.context, offset, len, out) : e;
}

static void group_source_close(void *context)
{
    struct opened_group *o = context;
    if (!o->has_inner)
        return;
    o->inner.close(o->inner.context);
    reader_set_leave(&o->by->readers, o->reader);
    o->has_inner = false;
}

/* One that was open before. */
static enum err group_reopen(struct query_source *s, struct opened_group *o,
                             const struct query_context *q)
{
    struct budget *budget = q->arena->budget;
    if (budget != NULL && !budget_reserve(budget, o->arena.held_bytes)) {
        group_cache_give(&s->engine->group_cache, o, clock_mono_ns());
        return ERR_BUDGET;
    }
    o->arena.budget = budget;
    rowgroup_segment_wake(o->segment, &s->scratch);
    return ERR_OK;
}

static enum err group_open(struct opened_group *o)
{
    enum err e = group_reader_open(o);
    if (e != ERR_OK)
        return e;
    struct rowgroup_source source = {
        .context = o,
        .size = o->inner.size,
        .read = group_source_read,
        .close = group_source_close,
        .scratch = &o->by->scratch,
    };
    return rowgroup_segment_open(&source, &o->arena, &o->segment);
}

static enum err group_take(struct query_source *s, struct group *g, const struct query_context *q,
                           struct segment **out)
{
    enum err e;
    struct opened_group *o = group_cache_take(&s->engine->group_cache, g->serial);
    if (o != NULL) {
        e = group_reopen(s, o, q);
        if (e != ERR_OK)
            return e;
        o->by = s;
        o->group = g;
    } else {
        o = mem_zalloc(sizeof *o);
        if (o == NULL)
            return ERR_NOMEM;
        *o = (struct opened_group){ .serial = g->serial, .by = s, .group = g };
        arena_init(&o->arena, SEGMENT_BYTES_MAX, q->arena->budget);
        e = group_open(o);
        if (e != ERR_OK) {
            opened_group_free(o);
            return e;
        }
    }
    o->wants_values = s->wants_values == o->serial;
    o->wants_traces = s->wants_traces == o->serial;
    o->next = s->opened;
    s->opened = o;
    *out = o->segment;
    return ERR_OK;
}

/* What the next question is answered by, without the group. A query may leave so many: making one costs as
 * much as to look through a group in vain five times, and who asks once should not wait for all. */
static void group_learn(struct query_source *s, struct opened_group *o, enum rowgroup_digest kind)
{
    if (s->learned == DIGESTS_PER_QUERY)
        return;
    s->learned++;
    buffer_reset(&s->digest);
    if (rowgroup_digest_make(o->segment, kind, &s->digest) != ERR_OK)
        return;
    if (atomic_load(&s->engine->disk.state) == DISK_OK)
        (void)!group_digest_keep(o->group, kind, &s->engine->view.digests,
                                 buffer_bytes(&s->digest)); /* else another time */
}

/* Kept for the next query, unless its use failed. */
static void group_give(struct query_source *s, struct opened_group *o)
{
    if (o->wants_values)
        group_learn(s, o, ROWGROUP_DIGEST_VALUES);
    if (o->wants_traces)
        group_learn(s, o, ROWGROUP_DIGEST_TRACES);
    o->wants_values = o->wants_traces = false;
    if (!rowgroup_segment_rest(o->segment)) {
        opened_group_free(o);
        return;
    }
    group_source_close(o);
    if (o->arena.budget != NULL)
        budget_release(o->arena.budget, o->arena.held_bytes);
    o->arena.budget = NULL;
    o->by = NULL;
    o->group = NULL;
    group_cache_give(&s->engine->group_cache, o, clock_mono_ns());
}

static void source_bounds(void *context, size_t index, struct segment_bounds *out)
{
    struct query_source *s = context;
    if (index < s->snapshot.groups->count) {
        const struct group *g = s->snapshot.groups->groups[index];
        *out = (struct segment_bounds){ .signal = g->signal,
                                        .rows = g->rows,
                                        .start_min_unix_ns = g->start_min_unix_ns,
                                        .start_max_unix_ns = g->start_max_unix_ns,
                                        .bytes = g->bytes };
        return;
    }
    struct pending *p = s->bodies[index - s->snapshot.groups->count];
    *out = (struct segment_bounds){ .signal = p->signal,
                                    .rows = (uint32_t)p->items,
                                    .bytes = p->body.len };
    pending_bounds(p, &out->start_min_unix_ns, &out->start_max_unix_ns);
}

static uint64_t probe_hash(struct query_source *s, const struct trace_id *id)
{
    if (!s->has_probe || memcmp(s->probe.b, id->b, sizeof id->b) != 0) {
        s->has_probe = true;
        s->probe = *id;
        s->probe_hash = trace_filter_hash(id);
    }
    return s->probe_hash;
}

static void filters_use(struct query_source *s)
{
    if (!s->has_filters)
        filter_room_use(&s->engine->view.filters);
    s->has_filters = true;
}

/* In s->digest. False: there is none, and where there may be one, *wanted is the group, which will be opened now. */
static bool digest_read(struct query_source *s, const struct group *g, enum rowgroup_digest kind,
                        uint64_t *wanted, struct bytes *out)
{
    uint64_t place = atomic_load_explicit(&g->digests[kind], memory_order_acquire);
    _Atomic bool *wants = &s->engine->wants_digests[kind];
    if (digest_file_get(&s->engine->view.digests, place, &s->digest, out) == ERR_OK)
        return true;
    if (place != DIGEST_NONE)
        return false;
    *wanted = g->serial;
    if (!atomic_load_explicit(wants, memory_order_relaxed))
        atomic_store(wants, true);
    return false;
}

/* The filter that lies beside a group says yes for one in three thousand of the traces that are not in it; to have
 * opened the group for one of them is what a digest is worth. */
static bool source_may_contain(void *context, size_t index, const struct trace_id *id)
{
    struct query_source *s = context;
    if (index >= s->snapshot.groups->count)
        return pending_may_contain(s->bodies[index - s->snapshot.groups->count], probe_hash(s, id));
    const struct group *g = s->snapshot.groups->groups[index];
    filters_use(s);
    if (!trace_filter_may_contain_hash(g->trace_filter, probe_hash(s, id)))
        return false;
    struct bytes digest;
    if (!digest_read(s, g, ROWGROUP_DIGEST_TRACES, &s->wants_traces, &digest))
        return true;
    return rowgroup_digest_may_contain(digest, id);
}

static size_t source_next_with_trace(void *context, size_t from, const struct trace_id *id)
{
    struct query_source *s = context;
    const struct group_list *list = s->snapshot.groups;
    filters_use(s);
    for (size_t i = from; i < list->count; i++) {
        i = trace_filter_next(list->filters, list->count, i, probe_hash(s, id));
        if (i < list->count && source_may_contain(s, i, id))
            return i;
    }
    for (size_t i = from < list->count ? list->count : from; i < s->source.count; i++)
        if (source_may_contain(s, i, id))
            return i;
    return s->source.count;
}

static enum err source_open(void *context, size_t index, const struct query_context *q,
                            struct segment **out)
{
    struct query_source *s = context;
    if (index < s->snapshot.groups->count)
        return group_take(s, s->snapshot.groups->groups[index], q, out);
    const struct pending *p = s->bodies[index - s->snapshot.groups->count];
    struct segment_bounds bounds;
    source_bounds(s, index, &bounds);
    return body_segment_open_bounded(&bounds, p->body, q->arena, out);
}

/* One query asks all digests for the same. NULL: no memory, and nothing is ruled out. */
static const struct rowgroup_question *question_of(struct query_source *s,
                                                   const struct expr *filter)
{
    if (s->question == NULL)
        s->question = arena_alloc_array(s->arena, 1, sizeof *s->question);
    if (s->question != NULL && s->question->filter != filter)
        rowgroup_question_init(s->question, filter);
    return s->question;
}

static bool body_may_match(struct query_source *s, struct pending *p, const struct expr *filter)
{
    const struct rowgroup_question *question = question_of(s, filter);
    if (question == NULL)
        return true;
    if (!s->has_asked_bodies && question->parts_count > 0) {
        s->has_asked_bodies = true;
        body_digests_asked(&s->engine->body_digests);
    }
    return pending_may_match(p, question);
}

static bool source_may_match(void *context, size_t index, const struct expr *filter)
{
    struct query_source *s = context;
    if (index >= s->snapshot.groups->count)
        return body_may_match(s, s->bodies[index - s->snapshot.groups->count], filter);
    const struct group *g = s->snapshot.groups->groups[index];
    struct bytes digest;
    if (!digest_read(s, g, ROWGROUP_DIGEST_VALUES, &s->wants_values, &digest))
        return true;
    const struct rowgroup_question *question = question_of(s, filter);
    return question == NULL || rowgroup_question_may(question, digest);
}

static bool source_extents(void *context, size_t index, struct bytes *out)
{
    struct query_source *s = context;
    uint64_t wanted; /* whoever asks makes them now */
    return index < s->snapshot.groups->count &&
           digest_read(s, s->snapshot.groups->groups[index], ROWGROUP_DIGEST_EXTENTS, &wanted, out);
}

static bool source_extents_keep(void *context, size_t index, struct bytes made)
{
    struct query_source *s = context;
    if (index >= s->snapshot.groups->count || made.len > DIGEST_BYTES_MAX ||
        atomic_load(&s->engine->disk.state) != DISK_OK)
        return false;
    struct group *g = s->snapshot.groups->groups[index];
    return group_digest_keep(g, ROWGROUP_DIGEST_EXTENTS, &s->engine->view.digests, made) ==
               ERR_OK &&
           atomic_load(&g->digests[ROWGROUP_DIGEST_EXTENTS]) != DIGEST_NEVER;
}

static void source_close(void *context, size_t index, struct segment *segment)
{
    struct query_source *s = context;
    if (index >= s->snapshot.groups->count) {
        segment->ops->close(segment);
        return;
    }
    struct opened_group **link = &s->opened;
    while ((*link)->segment != segment)
        link = &(*link)->next;
    struct opened_group *o = *link;
    *link = o->next;
    group_give(s, o);
}

static void source_damaged(void *context, size_t index)
{
    struct query_source *s = context;
    if (index < s->snapshot.groups->count &&
        !atomic_exchange(&s->snapshot.groups->groups[index]->is_damaged, true)) {
        atomic_fetch_add(&s->engine->damaged_groups, 1);
        metric_add(s->engine->metrics.damaged_groups, 1);
    }
}

static void bodies_take(struct query_source *s, const struct pending_range *range)
{
    struct pending *p = range->first;
    for (size_t i = 0; i < range->count; i++, p = p->next)
        s->bodies[s->bodies_count++] = p;
}

static void source_end(struct query_source *s)
{
    assert(s->opened == NULL);
    buffer_deinit(&s->digest);
    group_cache_scratch_give(&s->engine->group_cache, &s->scratch);
    reader_set_deinit(&s->readers);
    if (s->has_filters)
        filter_room_leave(&s->engine->view.filters);
    snapshot_release(&s->snapshot);
}

static enum err source_begin(struct query_source *s, struct engine *base, enum signal signal,
                             const struct query_context *q)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    *s = (struct query_source){ .engine = e, .signal = signal, .arena = q->arena };
    buffer_init_charged(&s->digest, 2 * DIGEST_BYTES_MAX, q->arena->budget);
    group_cache_scratch_take(&e->group_cache, &s->scratch);
    view_snapshot(&e->view, signal, &s->snapshot);
    size_t bodies = s->snapshot.aside.count + s->snapshot.pending.count;
    s->bodies = arena_alloc_array(q->arena, bodies + 1, sizeof(struct pending *));
    if (s->bodies == NULL) {
        source_end(s);
        return arena_failure(q->arena);
    }
    bodies_take(s, &s->snapshot.aside);
    bodies_take(s, &s->snapshot.pending);
    s->source = (struct segment_source){
        .context = s,
        .count = s->snapshot.groups->count + s->bodies_count,
        .bounds = source_bounds,
        .may_contain = source_may_contain,
        .next_with_trace = source_next_with_trace,
        .open = source_open,
        .may_match = source_may_match,
        .extents = source_extents,
        .extents_keep = source_extents_keep,
        .close = source_close,
        .on_damaged = source_damaged,
        .content_key = &e->content_key,
    };
    return ERR_OK;
}

/* ---- Queries that search.h answers ----------------------------------------------------------- */

enum err sqlite_trace_get(struct engine *e, const struct query_context *q,
                          const struct trace_id *id, struct bytes *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, SIGNAL_TRACES, q);
    if (error != ERR_OK)
        return error;
    error = search_trace_get(&s.source, q, id, SIGNAL_TRACES, out);
    source_end(&s);
    return error;
}

enum err sqlite_trace_logs(struct engine *e, const struct query_context *q,
                           const struct trace_id *id, struct bytes *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, SIGNAL_LOGS, q);
    if (error != ERR_OK)
        return error;
    error = search_trace_get(&s.source, q, id, SIGNAL_LOGS, out);
    source_end(&s);
    if (error == ERR_NOT_FOUND) {
        *out = (struct bytes){ 0 };
        error = ERR_OK;
    }
    return error;
}

enum err sqlite_trace_walk(struct engine *e, const struct query_context *q,
                           const struct trace_walk *walk, trace_item_fn *on_item, void *context)
{
    struct query_source s;
    enum err error = source_begin(&s, e, walk->signal, q);
    if (error != ERR_OK)
        return error;
    error = search_trace_walk(&s.source, q, walk, on_item, context);
    source_end(&s);
    return error;
}

enum err sqlite_rows_scan(struct engine *e, const struct query_context *q,
                          const struct row_scan *scan, row_scan_fn *on_row, void *context,
                          struct row_scan_result *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, scan->signal, q);
    if (error != ERR_OK)
        return error;
    error = search_rows_scan(&s.source, q, scan, on_row, context, out);
    source_end(&s);
    return error;
}

enum err sqlite_rows_sample(struct engine *e, const struct query_context *q,
                            const struct row_sample *sample, struct row_sample_result *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, sample->signal, q);
    if (error != ERR_OK)
        return error;
    error = search_rows_sample(&s.source, q, sample, out);
    source_end(&s);
    return error;
}

/* Both signals, each with the snapshot of the moment in which the view was opened. */
struct sqlite_row_view {
    struct row_view view; /* first */
    const struct query_context *q;
    struct query_source sources[SIGNAL_COUNT];
    size_t begun; /* of these */
};

static struct sqlite_row_view *row_view_from(struct row_view *v)
{
    return (struct sqlite_row_view *)(void *)v;
}

static enum err row_view_read(struct row_view *view, const struct row_request *asked,
                              struct row_cursor **out)
{
    struct sqlite_row_view *v = row_view_from(view);
    return search_rows_read(&v->sources[asked->signal].source, v->q, &view->progress, asked, out);
}

static enum err row_view_resources(struct row_view *view, enum signal signal,
                                   row_resource_fn *on_resource, void *context)
{
    struct sqlite_row_view *v = row_view_from(view);
    return search_resources(&v->sources[signal].source, v->q, &view->progress, signal, on_resource,
                            context);
}

static void row_view_close(struct row_view *view)
{
    struct sqlite_row_view *v = row_view_from(view);
    while (v->begun > 0)
        source_end(&v->sources[--v->begun]);
    mem_free(v);
}

enum err sqlite_rows_view(struct engine *e, const struct query_context *q, struct row_view **out)
{
    static const struct row_view_ops ops = {
        .read = row_view_read,
        .resources = row_view_resources,
        .close = row_view_close,
    };
    struct sqlite_row_view *v = mem_zalloc(sizeof *v);
    if (v == NULL)
        return ERR_NOMEM;
    v->view = (struct row_view){ .ops = &ops, .progress = { .is_complete = true } };
    v->q = q;
    for (; v->begun < SIGNAL_COUNT; v->begun++) {
        enum err error = source_begin(&v->sources[v->begun], e, (enum signal)v->begun, q);
        if (error != ERR_OK) {
            row_view_close(&v->view);
            return error;
        }
    }
    *out = &v->view;
    return ERR_OK;
}

enum err sqlite_span_trace(struct engine *e, const struct query_context *q,
                           const struct span_id *id, struct trace_id *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, SIGNAL_TRACES, q);
    if (error != ERR_OK)
        return error;
    error = search_span_trace(&s.source, q, id, out);
    source_end(&s);
    return error;
}

enum err sqlite_traces_find(struct engine *e, const struct query_context *q,
                            const struct trace_query *query, struct trace_result *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, SIGNAL_TRACES, q);
    if (error != ERR_OK)
        return error;
    error = search_traces(&s.source, q, query, out);
    source_end(&s);
    return error;
}

enum err sqlite_logs_find(struct engine *e, const struct query_context *q,
                          const struct log_query *query, struct log_result *out)
{
    struct query_source s;
    enum err error = source_begin(&s, e, SIGNAL_LOGS, q);
    if (error != ERR_OK)
        return error;
    error = search_logs(&s.source, q, query, out);
    source_end(&s);
    return error;
}

enum err sqlite_attribute_keys(struct engine *e, const struct query_context *q, enum signal signal,
                               struct time_range range, struct bytes prefix, size_t limit,
                               struct attribute_key **out, size_t *out_count)
{
    struct query_source s;
    enum err error = source_begin(&s, e, signal, q);
    if (error != ERR_OK)
        return error;
    error = search_attribute_keys(&s.source, q, signal, range, prefix, limit, out, out_count);
    source_end(&s);
    return error;
}

enum err sqlite_attribute_values(struct engine *e, const struct query_context *q,
                                 enum signal signal, enum expr_scope scope, struct bytes key,
                                 struct time_range range, const struct expr *filter,
                                 struct bytes prefix, size_t limit, struct attribute_value **out,
                                 size_t *out_count, struct find_progress *out_progress)
{
    struct query_source s;
    enum err error = source_begin(&s, e, signal, q);
    if (error != ERR_OK)
        return error;
    error = search_attribute_values(&s.source, q, signal, scope, key, range, filter, prefix, limit,
                                    out, out_count, out_progress);
    source_end(&s);
    return error;
}

/* ---- The catalogue's answers --------------------------------------------------------------------- */

/* Counted operations and pending bodies, taken at one moment: the swap that moves spans from one to
 * the other happens under the write lock. */

typedef enum err pending_item_fn(void *context, struct bytes service, const struct otlp_items *at);

static enum err pending_services_each(const struct pending_range *range,
                                      const struct query_context *q, pending_item_fn *on_item,
                                      void *context)
{
    const struct pending *p = range->first;
    for (size_t i = 0; i < range->count; i++, p = p->next) {
        enum err e = query_check(q);
        if (e != ERR_OK)
            return e;
        struct bytes service = { 0 };
        struct otlp_items it = otlp_items(p->body);
        while (otlp_items_next(&it)) {
            if (it.is_new_resource)
                service = service_name(it.resource.resource);
            e = on_item(context, service, &it);
            if (e != ERR_OK)
                return e;
        }
    }
    return ERR_OK;
}

struct service_names {
    struct intern names;
};

static enum err service_seen(void *context, struct bytes service, const struct otlp_items *at)
{
    struct service_names *s = context;
    uint32_t index = 0;
    if (!at->is_new_resource)
        return ERR_OK;
    enum err e = intern_put(&s->names, service, &index);
    return e == ERR_TOO_MANY ? ERR_OK : e;
}

static int bytes_order(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static enum err names_out(const struct intern *names, struct arena *arena, struct bytes **out,
                          size_t *out_count)
{
    struct bytes *list = arena_alloc_array(arena, names->count + 1, sizeof *list);
    if (list == NULL)
        return arena_failure(arena);
    for (uint32_t i = 0; i < names->count; i++) {
        enum err e = arena_dup(arena, intern_get(names, i), &list[i]);
        if (e != ERR_OK)
            return e;
    }
    qsort(list, names->count, sizeof *list, bytes_order);
    *out = list;
    *out_count = names->count;
    return ERR_OK;
}

enum err sqlite_services(struct engine *base, const struct query_context *q,
                         struct bytes **out_names, size_t *out_count)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    struct service_names s;
    struct snapshot snapshot;
    intern_init(&s.names, OPERATIONS_MAX);
    enum err error = ERR_OK;
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    for (uint32_t i = 0; error == ERR_OK && i < operations_count(&e->operations); i++) {
        struct operation_entry o;
        uint32_t index = 0;
        operations_get(&e->operations, i, &o);
        if (o.spans != 0 && (o.service.len != 0 || !operation_is_rest(&o)))
            error = intern_put(&s.names, service_shown(o.service), &index);
    }
    view_snapshot(&e->view, SIGNAL_TRACES, &snapshot);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    if (error == ERR_OK)
        error = pending_services_each(&snapshot.aside, q, service_seen, &s);
    if (error == ERR_OK)
        error = pending_services_each(&snapshot.pending, q, service_seen, &s);
    if (error == ERR_OK)
        error = names_out(&s.names, q->arena, out_names, out_count);
    snapshot_release(&snapshot);
    intern_deinit(&s.names);
    return error;
}

struct service_operations {
    struct bytes service;
    struct operations set; /* of this service alone */
};

static enum err operation_seen(void *context, struct bytes service, const struct otlp_items *at)
{
    struct service_operations *s = context;
    if (!bytes_equal(service, s->service))
        return ERR_OK;
    struct otlp_span span;
    otlp_span_read(at->item, &span);
    return operations_add(&s->set, service, span.name, span.kind, 1);
}

static int operation_order(const void *a, const void *b)
{
    const struct operation *x = a, *y = b;
    int order = bytes_compare(x->name, y->name);
    return order != 0 ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

static enum err operations_out(const struct operations *set, struct arena *arena,
                               struct operation **out, size_t *out_count, uint64_t *out_rest_spans)
{
    uint32_t count = 0;
    uint64_t rest = 0;
    struct operation *list =
        arena_alloc_array(arena, (size_t)operations_count(set) + 1, sizeof *list);
    if (list == NULL)
        return arena_failure(arena);
    for (uint32_t i = 0; i < operations_count(set); i++) {
        struct operation_entry o;
        operations_get(set, i, &o);
        if (operation_is_rest(&o)) {
            rest += o.spans;
            continue;
        }
        list[count] = (struct operation){ .kind = o.kind, .spans = o.spans };
        enum err e = arena_dup(arena, o.name, &list[count].name);
        if (e != ERR_OK)
            return e;
        count++;
    }
    qsort(list, count, sizeof *list, operation_order);
    *out = list;
    *out_count = count;
    *out_rest_spans = rest;
    return ERR_OK;
}

enum err sqlite_operations(struct engine *base, const struct query_context *q, struct bytes service,
                           struct operation **out, size_t *out_count, uint64_t *out_rest_spans)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    struct service_operations s = { .service = service };
    struct snapshot snapshot;
    operations_init(&s.set);
    enum err error = ERR_OK;
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    for (uint32_t i = 0; error == ERR_OK && i < operations_count(&e->operations); i++) {
        struct operation_entry o;
        operations_get(&e->operations, i, &o);
        /* A rest of no service is of all that there was no room for. */
        bool is_of_all = o.service.len == 0 && operation_is_rest(&o);
        if (o.spans != 0 && !is_of_all && service_is(o.service, service))
            error = operations_add(&s.set, service, o.name, o.kind, o.spans);
    }
    view_snapshot(&e->view, SIGNAL_TRACES, &snapshot);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    if (error == ERR_OK)
        error = pending_services_each(&snapshot.aside, q, operation_seen, &s);
    if (error == ERR_OK)
        error = pending_services_each(&snapshot.pending, q, operation_seen, &s);
    if (error == ERR_OK)
        error = operations_out(&s.set, q->arena, out, out_count, out_rest_spans);
    snapshot_release(&snapshot);
    operations_deinit(&s.set);
    return error;
}

/* ---- Partitions ------------------------------------------------------------------------------ */

static const char *state_word(enum partition_state state)
{
    switch (state) {
    case PARTITION_OPEN:
        return "open";
    case PARTITION_SEALED:
        return "sealed";
    case PARTITION_FROZEN:
        return "frozen";
    case PARTITION_RESCUED:
        return "rescued";
    case PARTITION_REMOVING:
        return "removing";
    }
    return "";
}

static enum err partitions_list(struct sqlite_engine *e, struct arena *arena,
                                struct stored_partition **out, size_t *out_count)
{
    enum err error = ERR_OK;
    (void)pthread_mutex_lock(&e->partitions_lock);
    struct stored_partition *list = arena_alloc_array(arena, e->partitions_count + 1, sizeof *list);
    if (list == NULL)
        error = arena_failure(arena);
    for (size_t i = 0; error == ERR_OK && i < e->partitions_count; i++) {
        const struct partition *p = e->partitions[i];
        list[i] = (struct stored_partition){ .id = p->id,
                                             .state = state_word(atomic_load(&p->state)),
                                             .bytes = atomic_load(&p->bytes),
                                             .start_min_unix_ns = UINT64_MAX,
                                             .is_damaged = p->has_damage };
    }
    *out_count = e->partitions_count;
    (void)pthread_mutex_unlock(&e->partitions_lock);
    *out = list;
    return error;
}

/* By id, ascending. */
static struct stored_partition *partition_find(struct stored_partition *list, size_t count,
                                               uint64_t id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && list[low].id == id ? &list[low] : NULL;
}

static void groups_add(struct sqlite_engine *e, enum signal signal, struct stored_partition *list,
                       size_t count)
{
    struct snapshot snapshot;
    view_snapshot(&e->view, signal, &snapshot);
    for (size_t i = 0; i < snapshot.groups->count; i++) {
        const struct group *g = snapshot.groups->groups[i];
        struct stored_partition *p =
            g->partition == NULL ? NULL : partition_find(list, count, g->partition->id);
        if (p == NULL)
            continue;
        p->row_groups++;
        p->is_damaged |= atomic_load(&g->is_damaged);
        if (g->start_min_unix_ns < p->start_min_unix_ns)
            p->start_min_unix_ns = g->start_min_unix_ns;
        if (g->start_max_unix_ns > p->start_max_unix_ns)
            p->start_max_unix_ns = g->start_max_unix_ns;
    }
    snapshot_release(&snapshot);
}

static void rollups_add(struct sqlite_engine *e, struct stored_partition *list, size_t count)
{
    (void)pthread_rwlock_rdlock(&e->operations_lock);
    for (size_t i = 0; i < e->derived.rows_count; i++) {
        const struct derived_row *row = &e->derived.rows[i];
        struct stored_partition *p = !row->is_damaged || row->partition == NULL
                                         ? NULL
                                         : partition_find(list, count, row->partition->id);
        if (p != NULL)
            p->is_damaged = true;
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
}

static int partition_order(const void *a, const void *b)
{
    const struct stored_partition *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

enum err sqlite_partitions(struct engine *base, const struct query_context *q,
                           struct stored_partition **out, size_t *out_count)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    struct stored_partition *list = NULL;
    size_t count = 0;
    enum err error = partitions_list(e, q->arena, &list, &count);
    if (error != ERR_OK)
        return error;
    qsort(list, count, sizeof *list, partition_order);
    for (int signal = 0; signal < SIGNAL_COUNT; signal++)
        groups_add(e, (enum signal)signal, list, count);
    rollups_add(e, list, count);
    *out = list;
    *out_count = count;
    return ERR_OK;
}
