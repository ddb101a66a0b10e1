/* SPDX-License-Identifier: Apache-2.0 */
/* Walking over one trace a few thousand items at a time, so that its size does not matter.
 *
 * First the rows are found in every segment, then they are read in batches. Within one row group no two
 * items are equal; where more than one segment has rows, an item is told from its copies by its content. */
#include "base/budget.h"
#include "storage/content_hash.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_ROWS 4096 /* a chunk of a row group: what is decoded for one row serves the others */

struct walk_segment {
    size_t index;
    size_t first, count; /* in walk.rows */
};

struct walk {
    struct search search;
    const struct trace_walk *asked;
    trace_item_fn *on_item;
    void *context;
    uint32_t *rows; /* of all segments */
    size_t rows_count, rows_capacity;
    struct walk_segment *segments; /* that have rows */
    size_t segments_count, segments_capacity;
    bool may_repeat;
    uint64_t *seen; /* open addressing; content hashes. NULL: nothing can come twice */
    size_t seen_mask;
    struct buffer data; /* of a batch */
    size_t given;
    enum err failure; /* of a scan's callback */
};

/* ---- Which rows ---- */

static enum err rows_reserve(struct walk *w, size_t more)
{
    return search_grow(&w->search.scratch, &w->rows, &w->rows_capacity, w->rows_count + more,
                       sizeof *w->rows);
}

static enum err find_all(struct walk *w, struct segment *segment, size_t *out_count)
{
    const struct trace_id *id = &w->asked->trace_id;
    size_t room = w->rows_capacity - w->rows_count, count = 0;
    uint32_t *at = w->rows == NULL ? NULL : w->rows + w->rows_count;
    enum err e = segment->ops->find_trace(segment, id, at, room, &count);
    if (e == ERR_OK && count > room) {
        e = rows_reserve(w, count);
        if (e == ERR_OK)
            e = segment->ops->find_trace(segment, id, w->rows + w->rows_count, count, &count);
    }
    if (e == ERR_OK)
        *out_count = count;
    return e;
}

static bool on_row(void *context, const struct segment_row *row)
{
    struct walk *w = context;
    if (memcmp(row->trace_id.b, w->asked->trace_id.b, sizeof row->trace_id.b) != 0)
        return true;
    w->failure = rows_reserve(w, 1);
    if (w->failure == ERR_OK)
        w->rows[w->rows_count++] = row->row;
    return w->failure == ERR_OK;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static enum err find_matching(struct walk *w, struct segment *segment, size_t *out_count)
{
    const struct trace_walk *asked = w->asked;
    size_t before = w->rows_count;
    w->failure = ERR_OK;
    enum err e = segment->ops->scan(segment, w->search.q, asked->filter, asked->range.min_unix_ns,
                                    asked->range.max_unix_ns, on_row, w);
    size_t count = w->rows_count - before;
    w->rows_count = before;
    if (e == ERR_OK)
        e = w->failure;
    if (e == ERR_OK && count > 1)
        qsort(w->rows + before, count, sizeof *w->rows, by_number);
    if (e == ERR_OK)
        *out_count = count;
    return e;
}

static enum err find_in(struct walk *w, size_t index, struct segment *segment)
{
    size_t count = 0;
    enum err e =
        w->asked->filter == NULL ? find_all(w, segment, &count) : find_matching(w, segment, &count);
    if (e == ERR_OK && count == 0)
        search_note_miss(&w->search, index, segment);
    if (e != ERR_OK || count == 0)
        return e;
    e = search_grow(&w->search.scratch, &w->segments, &w->segments_capacity, w->segments_count + 1,
                    sizeof *w->segments);
    if (e != ERR_OK)
        return e;
    w->segments[w->segments_count++] =
        (struct walk_segment){ .index = index, .first = w->rows_count, .count = count };
    w->rows_count += count;
    w->may_repeat |= w->segments_count > 1 || segment->ops->find_walks;
    return ERR_OK;
}

static enum err find_rows(struct walk *w)
{
    const struct segment_source *source = w->search.source;
    const struct trace_id *id = &w->asked->trace_id;
    for (size_t i = search_next_with_trace(&w->search, 0, id); i < source->count;
         i = search_next_with_trace(&w->search, i + 1, id)) {
        struct segment_bounds b;
        source->bounds(source->context, i, &b);
        if (b.signal != w->asked->signal || b.rows == 0)
            continue;
        struct segment *segment;
        enum err e = search_open(&w->search, i, &segment);
        if (e == ERR_OK && segment != NULL)
            e = search_pass_damage(&w->search, i, find_in(w, i, segment));
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- Each once ---- */

static enum err seen_prepare(struct walk *w)
{
    size_t size = 64;
    if (!w->may_repeat)
        return ERR_OK;
    while (size < 2 * w->rows_count)
        size *= 2;
    w->seen = arena_alloc_array(&w->search.scratch, size, sizeof *w->seen);
    w->seen_mask = size - 1;
    return w->seen == NULL ? arena_failure(&w->search.scratch) : ERR_OK;
}

static bool is_repeated(struct walk *w, struct hash128 content)
{
    uint64_t mark = content.low == 0 ? 1 : content.low; /* keyed: nobody can make two alike */
    size_t at = (size_t)content.high & w->seen_mask;
    for (; w->seen[at] != 0; at = (at + 1) & w->seen_mask)
        if (w->seen[at] == mark)
            return true;
    w->seen[at] = mark;
    return false;
}

/* ---- Reading ---- */

static enum err give(struct walk *w)
{
    const struct hash_key *key = w->search.source->content_key;
    struct hash128 group = { 0 };
    struct otlp_items it = otlp_items(buffer_bytes(&w->data));
    while (otlp_items_next(&it)) {
        if (w->seen != NULL && it.is_new_scope)
            group = content_hash_group(key, it.resource.resource, it.resource.schema_url,
                                       it.scope.scope, it.scope.schema_url);
        if (w->seen != NULL &&
            is_repeated(w, content_hash_item(key, w->asked->signal, group, it.item)))
            continue;
        w->given++;
        enum err e = w->on_item(w->context, &it);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* What a row group has decoded stays until it is closed: half of the memory is for who walks. */
static void make_room(struct walk *w)
{
    const struct budget *budget = w->search.q->arena->budget;
    if (budget != NULL && budget_used(budget) > budget->limit_bytes / 2) {
        search_close_all(&w->search);
        buffer_deinit(&w->data);
        search_buffer_init(&w->data, w->search.q);
    }
}

/* Some of the rows into w->data, which is empty where the segment is damaged. *out_count: how many. Items
 * of any size are legal, so what does not fit is tried again in smaller batches. */
static enum err read_some(struct walk *w, size_t index, const uint32_t *rows, size_t count,
                          size_t *out_count)
{
    for (size_t batch = count < BATCH_ROWS ? count : BATCH_ROWS;; batch = (batch + 7) / 8) {
        struct segment *segment;
        make_room(w);
        buffer_reset(&w->data);
        enum err e = search_open(&w->search, index, &segment);
        if (e == ERR_OK && segment != NULL) {
            e = segment->ops->read(segment, w->search.q, rows, batch, ROW_ALL, &w->data);
            if (e == ERR_OK)
                e = buffer_error(&w->data);
            if (e == ERR_CORRUPT)
                buffer_reset(&w->data);
            e = search_pass_damage(&w->search, index, e);
        }
        if ((e != ERR_TOO_LARGE && e != ERR_BUDGET) || batch == 1) {
            *out_count = batch;
            return e;
        }
        search_close_all(&w->search);
        buffer_deinit(&w->data);
        search_buffer_init(&w->data, w->search.q);
    }
}

static enum err read_segment(struct walk *w, const struct walk_segment *from)
{
    for (size_t done = 0, count; done < from->count; done += count) {
        enum err e =
            read_some(w, from->index, w->rows + from->first + done, from->count - done, &count);
        if (e == ERR_OK)
            e = give(w);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err search_trace_walk(const struct segment_source *source, const struct query_context *q,
                           const struct trace_walk *asked, trace_item_fn *on_item, void *context)
{
    assert(source->content_key != NULL);
    struct walk w = { .asked = asked, .on_item = on_item, .context = context };
    search_init(&w.search, source, q);
    search_buffer_init(&w.data, q);
    enum err e = find_rows(&w);
    if (e == ERR_OK)
        e = seen_prepare(&w);
    for (size_t i = 0; e == ERR_OK && i < w.segments_count; i++)
        e = read_segment(&w, &w.segments[i]);
    if (e == ERR_OK && w.search.has_damage)
        e = ERR_CORRUPT;
    else if (e == ERR_OK && w.given == 0 && asked->signal == SIGNAL_TRACES)
        e = ERR_NOT_FOUND;
    buffer_deinit(&w.data);
    search_deinit(&w.search);
    return e;
}
