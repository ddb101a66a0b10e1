/* SPDX-License-Identifier: Apache-2.0 */
/* Putting one trace together from all segments: read, number the groups, drop equal items, order.
 */
#include "storage/content_hash.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

void trace_parts_init(struct trace_parts *t, const struct query_context *q)
{
    memset(t, 0, sizeof *t);
    arena_init(&t->memory, search_scratch_bytes(q), q->arena->budget);
    search_buffer_init(&t->data, q);
}

void trace_parts_deinit(struct trace_parts *t)
{
    buffer_deinit(&t->data);
    arena_deinit(&t->memory);
    memset(t, 0, sizeof *t);
}

/* ---- Reading ---- */

static enum err read_segment(struct trace_parts *t, struct search *s, size_t index,
                             struct segment *segment, const struct trace_id *id)
{
    size_t count = 0;
    enum err e = segment->ops->find_trace(segment, id, t->rows, t->rows_capacity, &count);
    if (e == ERR_OK && count > t->rows_capacity) {
        e = search_grow(&t->memory, &t->rows, &t->rows_capacity, count, sizeof *t->rows);
        if (e == ERR_OK)
            e = segment->ops->find_trace(segment, id, t->rows, t->rows_capacity, &count);
    }
    if (e == ERR_OK && count == 0)
        search_note_miss(s, index, segment);
    if (e != ERR_OK || count == 0)
        return e;
    size_t before = t->data.len;
    e = segment->ops->read(segment, s->q, t->rows, count, ROW_ALL, &t->data);
    if (e == ERR_OK)
        e = buffer_error(&t->data);
    if (e == ERR_CORRUPT)
        t->data.len = before; /* nothing half-read */
    return e;
}

static enum err read_segments(struct trace_parts *t, struct search *s, const struct trace_id *id,
                              enum signal signal)
{
    const struct segment_source *source = s->source;
    for (size_t i = search_next_with_trace(s, 0, id); i < source->count;
         i = search_next_with_trace(s, i + 1, id)) {
        struct segment_bounds b;
        source->bounds(source->context, i, &b);
        if (b.signal != signal || b.rows == 0)
            continue;
        struct segment *segment;
        enum err e = search_open(s, i, &segment);
        if (e == ERR_OK && segment != NULL)
            e = search_pass_damage(s, i, read_segment(t, s, i, segment, id));
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- Groups ---- */

static int group_order(const struct otlp_group *a, const struct otlp_group *b)
{
    int order = a->has_resource - b->has_resource;
    if (order == 0)
        order = bytes_compare(a->resource, b->resource);
    if (order == 0)
        order = bytes_compare(a->resource_schema_url, b->resource_schema_url);
    if (order == 0)
        order = a->has_scope - b->has_scope;
    if (order == 0)
        order = bytes_compare(a->scope, b->scope);
    if (order == 0)
        order = bytes_compare(a->scope_schema_url, b->scope_schema_url);
    return order;
}

static int by_group(const void *a, const void *b)
{
    return group_order(&((const struct trace_group *)a)->group,
                       &((const struct trace_group *)b)->group);
}

/* Runs of rows become distinct groups: sorted, equal neighbours merged, items renumbered. */
static enum err number_groups(struct trace_parts *t, size_t runs)
{
    if (runs == 0)
        return ERR_OK;
    enum err e = search_grow(&t->memory, &t->ranks, &t->ranks_capacity, runs, sizeof *t->ranks);
    if (e != ERR_OK)
        return e;
    qsort(t->groups, runs, sizeof *t->groups, by_group);
    t->groups_count = 0;
    for (size_t i = 0; i < runs; i++) {
        bool is_new =
            t->groups_count == 0 || by_group(&t->groups[t->groups_count - 1], &t->groups[i]) != 0;
        uint32_t run = t->groups[i].run;
        if (is_new)
            t->groups[t->groups_count++] = t->groups[i];
        t->ranks[run] = (uint32_t)(t->groups_count - 1);
    }
    for (size_t i = 0; i < t->count; i++)
        t->items[i].group = t->ranks[t->items[i].group];
    return ERR_OK;
}

static void item_read(struct trace_item *item, enum signal signal)
{
    if (signal == SIGNAL_LOGS) {
        struct otlp_log l;
        otlp_log_read(item->item, &l);
        item->start_unix_ns = item->end_unix_ns = otlp_log_time(&l);
        return;
    }
    struct otlp_span span;
    otlp_span_read(item->item, &span);
    item->start_unix_ns = span.start_unix_ns;
    item->end_unix_ns = span.start_unix_ns + otlp_span_duration_ns(&span);
    item->span_id = span.span_id;
    item->has_parent = span.has_parent;
    item->parent_span_id = span.parent_span_id;
}

static enum err list_items(struct trace_parts *t, enum signal signal)
{
    size_t runs = 0;
    enum err e = ERR_OK;
    struct otlp_items it = otlp_items(buffer_bytes(&t->data));
    t->count = 0;
    while (e == ERR_OK && otlp_items_next(&it)) {
        if (it.is_new_scope) {
            e = search_grow(&t->memory, &t->groups, &t->groups_capacity, runs + 1,
                            sizeof *t->groups);
            if (e != ERR_OK)
                break;
            t->groups[runs] =
                (struct trace_group){ .group = otlp_group_of(&it), .run = (uint32_t)runs };
            runs++;
        }
        e = search_grow(&t->memory, &t->items, &t->items_capacity, t->count + 1, sizeof *t->items);
        if (e != ERR_OK)
            break;
        struct trace_item *item = &t->items[t->count++];
        *item = (struct trace_item){ .item = it.item, .group = (uint32_t)(runs - 1) };
        item_read(item, signal);
    }
    return e == ERR_OK ? number_groups(t, runs) : e;
}

/* ---- Each once ---- */

static int order_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int order_content(struct hash128 a, struct hash128 b)
{
    int order = order_u64(a.high, b.high);
    return order != 0 ? order : order_u64(a.low, b.low);
}

static int order_span_id(const struct span_id *a, const struct span_id *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

/* Equal items in another encoding: whichever is kept, it is the same one each time. */
static int by_id_and_content(const void *a, const void *b)
{
    const struct trace_item *x = a, *y = b;
    int order = order_span_id(&x->span_id, &y->span_id);
    if (order == 0)
        order = order_content(x->content, y->content);
    return order != 0 ? order : bytes_compare(x->item, y->item);
}

static int by_id(const void *a, const void *b)
{
    const struct trace_item *x = a, *y = b;
    return order_span_id(&x->span_id, &y->span_id);
}

static int by_group_and_start(const void *a, const void *b)
{
    const struct trace_item *x = a, *y = b;
    int order = order_u64(x->group, y->group);
    if (order == 0)
        order = order_u64(x->start_unix_ns, y->start_unix_ns);
    return order != 0 ? order : by_id_and_content(a, b);
}

static int by_time_and_content(const void *a, const void *b)
{
    const struct trace_item *x = a, *y = b;
    int order = order_u64(x->start_unix_ns, y->start_unix_ns);
    return order != 0 ? order : by_id_and_content(a, b);
}

static void hash_item(struct trace_parts *t, const struct search *s, enum signal signal,
                      struct trace_item *item)
{
    const struct hash_key *key = s->source->content_key;
    struct trace_group *g = &t->groups[item->group];
    if (!g->has_hash) {
        g->hash = content_hash_group(key, g->group.resource, g->group.resource_schema_url,
                                     g->group.scope, g->group.scope_schema_url);
        g->has_hash = true;
    }
    item->content = content_hash_item(key, signal, g->hash, item->item);
}

static bool same_item(const struct trace_item *a, const struct trace_item *b)
{
    return a->start_unix_ns == b->start_unix_ns && order_span_id(&a->span_id, &b->span_id) == 0 &&
           hash128_equal(a->content, b->content);
}

/* Equal ones stand side by side. */
static void drop_equal(struct trace_parts *t, size_t from, size_t to, size_t *kept)
{
    for (size_t i = from; i < to; i++) {
        if (i > from && same_item(&t->items[*kept - 1], &t->items[i]))
            continue;
        t->items[(*kept)++] = t->items[i];
    }
}

static void spans_once(struct trace_parts *t, const struct search *s)
{
    qsort(t->items, t->count, sizeof *t->items, by_id);
    size_t kept = 0;
    for (size_t from = 0, to; from < t->count; from = to) {
        to = from + 1;
        while (to < t->count && by_id(&t->items[from], &t->items[to]) == 0)
            to++;
        if (to - from > 1) { /* only spans that share their ID can be equal */
            for (size_t i = from; i < to; i++)
                hash_item(t, s, SIGNAL_TRACES, &t->items[i]);
            qsort(t->items + from, to - from, sizeof *t->items, by_id_and_content);
        }
        drop_equal(t, from, to, &kept);
    }
    t->count = kept;
    qsort(t->items, t->count, sizeof *t->items, by_group_and_start);
}

static void logs_once(struct trace_parts *t, const struct search *s)
{
    for (size_t i = 0; i < t->count; i++)
        hash_item(t, s, SIGNAL_LOGS, &t->items[i]);
    qsort(t->items, t->count, sizeof *t->items, by_time_and_content);
    size_t kept = 0;
    drop_equal(t, 0, t->count, &kept);
    t->count = kept;
}

enum err trace_parts_load(struct trace_parts *t, struct search *s, const struct trace_id *id,
                          enum signal signal)
{
    assert(s->source->content_key != NULL);
    buffer_reset(&t->data);
    t->count = 0;
    t->groups_count = 0;
    enum err e = read_segments(t, s, id, signal);
    if (e == ERR_OK)
        e = list_items(t, signal);
    if (e != ERR_OK || t->count == 0)
        return e;
    if (signal == SIGNAL_TRACES)
        spans_once(t, s);
    else
        logs_once(t, s);
    return ERR_OK;
}

void trace_parts_write(const struct trace_parts *t, const uint32_t *which, size_t count,
                       struct buffer *out)
{
    struct otlp_group_writer w;
    otlp_group_writer_init(&w, out);
    uint32_t group = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct trace_item *item = &t->items[which == NULL ? i : which[i]];
        otlp_group_writer_put(&w, &t->groups[item->group].group, item->group != group, item->item);
        group = item->group;
    }
    otlp_group_writer_end(&w);
}
