/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/lookback.h"

#include "base/mem.h"
#include "storage/content_hash.h"

#include <assert.h>
#include <stdlib.h>

#define LOOKBACK_GROUPS_MAX     256 /* that one span is looked up in, newest first */
#define LOOKBACK_UNFILTERED_MAX 16  /* likewise, of groups from before the start */
#define LOOKBACK_ARENA_BYTES    ((size_t)64 << 20)
#define LOOKBACK_READ_ROWS      1024 /* read at a time, so that a large trace takes little memory */

struct stored_span {
    struct span_id id;
    struct hash128 content;
};

static enum err group_open(struct lookback *l, size_t index)
{
    struct lookback_group *o = &l->opened[index];
    struct group *g = l->snapshot.groups->groups[index];
    o->is_tried = true;
    struct db *reader = NULL;
    enum err e = reader_set_take(&l->readers, &g->partition->readers, &reader);
    struct rowgroup_source source;
    if (e == ERR_OK)
        e = partition_group_open(reader, g, &source);
    if (e == ERR_OK)
        e = rowgroup_segment_open(&source, &l->arena, &o->segment);
    return e;
}

static int stored_span_compare(const void *left, const void *right)
{
    const struct stored_span *a = left, *b = right;
    return memcmp(a->id.b, b->id.b, sizeof a->id.b);
}

/* Add the spans of `rows` to the index. */
static enum err index_add(struct lookback *l, struct lookback_group *o, const uint32_t *rows,
                          size_t count)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &l->arena };
    struct buffer data;
    buffer_init(&data, LOOKBACK_ARENA_BYTES);
    enum err e = o->segment->ops->read(o->segment, &q, rows, count, ROW_ALL, &data);
    if (e == ERR_OK)
        e = buffer_error(&data);
    if (e == ERR_OK) {
        struct otlp_items it = otlp_items(buffer_bytes(&data));
        for (size_t i = 0; i < count && otlp_items_next(&it); i++) {
            struct stored_span *span = &o->spans[o->spans_count++];
            struct otlp_span read;
            otlp_span_read(it.item, &read);
            span->id = read.span_id;
            span->content = content_hash(&l->engine->content_key, SIGNAL_TRACES, &it);
        }
    }
    buffer_deinit(&data);
    return e;
}

/* What the group holds of a trace, read once: the builder asks for a trace's spans one after the other,
 * and reading the trace for each of them would take the square of its length. */
static enum err index_build(struct lookback *l, struct lookback_group *o,
                            const struct trace_id *trace_id)
{
    size_t count = 0;
    mem_free(o->spans);
    o->spans = NULL;
    o->spans_count = 0;
    o->trace_id = *trace_id;
    o->has_index = true;
    enum err e = o->segment->ops->find_trace(o->segment, trace_id, NULL, 0, &count);
    if (e != ERR_OK || count == 0)
        return e;
    uint32_t *rows = mem_alloc_array(count, sizeof *rows);
    o->spans = mem_alloc_array(count, sizeof *o->spans);
    e = rows == NULL || o->spans == NULL
            ? ERR_NOMEM
            : o->segment->ops->find_trace(o->segment, trace_id, rows, count, &count);
    for (size_t at = 0; e == ERR_OK && at < count; at += LOOKBACK_READ_ROWS) {
        size_t left = count - at;
        e = index_add(l, o, rows + at, left < LOOKBACK_READ_ROWS ? left : LOOKBACK_READ_ROWS);
    }
    mem_free(rows);
    if (o->spans_count > 0)
        qsort(o->spans, o->spans_count, sizeof *o->spans, stored_span_compare);
    return e;
}

/* Is there a row of this trace with this span ID and content? What cannot be read is taken for absent: a
 * copy is then hidden when it is read. */
static bool group_has(struct lookback *l, struct lookback_group *o, const struct trace_id *trace_id,
                      const struct span_id *span_id, struct hash128 content)
{
    if (!o->has_index || memcmp(o->trace_id.b, trace_id->b, sizeof trace_id->b) != 0)
        (void)index_build(l, o, trace_id);
    size_t low = 0, high = o->spans_count;
    while (low < high) { /* the first with this ID or a later one */
        size_t middle = low + (high - low) / 2;
        if (memcmp(o->spans[middle].id.b, span_id->b, sizeof span_id->b) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < o->spans_count; low++) {
        if (memcmp(o->spans[low].id.b, span_id->b, sizeof span_id->b) != 0)
            return false;
        if (hash128_equal(o->spans[low].content, content))
            return true;
    }
    return false;
}

static void filters_use(struct lookback *l)
{
    if (!l->has_filters)
        filter_room_use(&l->engine->view.filters);
    l->has_filters = true;
}

/* Look for the span in groups [from, to), newest first. */
static bool groups_have(struct lookback *l, size_t from, size_t to, const struct trace_id *trace_id,
                        const struct span_id *span_id, struct hash128 content)
{
    const struct group_list *list = l->snapshot.groups;
    filters_use(l);
    for (size_t i = to; i-- > from;) {
        const struct group *g = list->groups[i];
        if (g->built_unix_ns < l->oldest_unix_ns)
            break;
        if (!trace_filter_may_contain(g->trace_filter, trace_id))
            continue;
        if (l->opened == NULL) {
            l->opened = mem_alloc_array(list->count, sizeof *l->opened);
            if (l->opened == NULL)
                return false;
        }
        if (clock_mono_ns() > l->until_mono_ns)
            return false;
        if (!l->opened[i].is_tried && group_open(l, i) != ERR_OK)
            continue;
        if (l->opened[i].segment != NULL && group_has(l, &l->opened[i], trace_id, span_id, content))
            return true;
    }
    return false;
}

/* What was built since the start is in the span filter, as far back as its size allows. Groups from
 * before the start are not, nor those from before the filter was lost, so the newest few are asked in any case. They lie in front of the others, but
 * for those that were merged. */
static void old_find(struct lookback *l)
{
    const struct group_list *list = l->snapshot.groups;
    size_t found = 0;
    for (size_t i = list->count; i > 0 && found < LOOKBACK_UNFILTERED_MAX; i--) {
        const struct group *g = list->groups[i - 1];
        if (g->built_unix_ns < l->oldest_unix_ns)
            break;
        if (g->remembered_epoch == l->engine->builder.recent.epoch)
            continue;
        if (found++ == 0)
            l->old_to = i;
        l->old_from = i - 1;
    }
}

/* May a group from before the start have this trace? */
static bool old_may_have(struct lookback *l, const struct trace_id *trace_id)
{
    filters_use(l);
    for (size_t i = l->old_to; i > l->old_from; i--)
        if (trace_filter_may_contain(l->snapshot.groups->groups[i - 1]->trace_filter, trace_id))
            return true;
    return false;
}

/* The exact question, for the few that may be. */
static bool candidate_is_stored(struct lookback *l, const struct lookback_candidate *c)
{
    size_t to = l->old_to;
    if (c->is_remembered && groups_have(l, l->recent_from, l->snapshot.groups->count, &c->trace_id,
                                        &c->span_id, c->content))
        return true;
    return groups_have(l, l->old_from,
                       to < l->recent_from || !c->is_remembered ? to : l->recent_from, &c->trace_id,
                       &c->span_id, c->content);
}

static int trace_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id)); /* the first member */
}

static int content_order(const void *a, const void *b)
{
    const struct lookback_candidate *x = a, *y = b;
    if (x->content.high != y->content.high)
        return x->content.high < y->content.high ? -1 : 1;
    return (x->content.low > y->content.low) - (x->content.low < y->content.low);
}

/* Without memory to remember it, it is stored twice and shown once. */
static void candidate_add(struct lookback *l, const struct lookback_candidate *candidate)
{
    if (l->candidates_count == l->candidates_capacity) {
        size_t capacity = l->candidates_capacity == 0 ? 64 : 2 * l->candidates_capacity;
        struct lookback_candidate *grown = mem_realloc(l->candidates, capacity * sizeof *grown);
        if (grown == NULL)
            return;
        l->candidates = grown;
        l->candidates_capacity = capacity;
    }
    l->candidates[l->candidates_count++] = *candidate;
}

/* Trace after trace, since groups remember the last trace looked up. */
void lookback_decide(struct lookback *l)
{
    size_t kept = 0;
    if (l->candidates_count > 0)
        qsort(l->candidates, l->candidates_count, sizeof *l->candidates, trace_order);
    for (size_t i = 0; i < l->candidates_count; i++) {
        const struct lookback_candidate c = l->candidates[i];
        if (candidate_is_stored(l, &c))
            l->candidates[kept++] = c;
    }
    l->candidates_count = kept;
    if (kept > 0)
        qsort(l->candidates, kept, sizeof *l->candidates, content_order);
}

bool lookback_is_stored(void *context, const struct trace_id *trace_id,
                        const struct span_id *span_id, struct hash128 content)
{
    const struct lookback *l = context;
    const struct lookback_candidate wanted = { *trace_id, *span_id, content, false };
    return bsearch(&wanted, l->candidates, l->candidates_count, sizeof wanted, content_order) !=
           NULL;
}

/* Where to look, in what is stored at this moment. */
static void places_find(struct lookback *l)
{
    struct sqlite_engine *e = l->engine;
    view_snapshot(&e->view, SIGNAL_TRACES, &l->snapshot);
    /* By what they hold, not by the clock, which may be set back. */
    uint64_t spans = span_filter_count(&e->builder.recent);
    const struct group_list *list = l->snapshot.groups;
    size_t i = list->count;
    while (i > 0 && spans > 0 && list->count - i < LOOKBACK_GROUPS_MAX) {
        uint32_t rows = list->groups[--i]->rows;
        spans -= rows < spans ? rows : spans;
    }
    l->recent_from = i;
    l->old_from = l->old_to = 0;
    old_find(l);
}

void lookback_begin(struct lookback *l, struct sqlite_engine *e, uint64_t now_unix_ns)
{
    *l = (struct lookback){ .engine = e };
    l->until_mono_ns = clock_mono_ns() + l->engine->lookback_ns;
    l->oldest_unix_ns = now_unix_ns > SPAN_LOOKBACK_NS ? now_unix_ns - SPAN_LOOKBACK_NS : 0;
    arena_init(&l->arena, LOOKBACK_ARENA_BYTES, NULL);
    places_find(l);
}

void lookback_renew(struct lookback *l)
{
    assert(l->opened == NULL);
    snapshot_release(&l->snapshot);
    l->until_mono_ns = clock_mono_ns() + l->engine->lookback_ns;
    places_find(l);
}

void lookback_end(struct lookback *l)
{
    for (size_t i = 0; l->opened != NULL && i < l->snapshot.groups->count; i++) {
        if (l->opened[i].segment != NULL)
            l->opened[i].segment->ops->close(l->opened[i].segment);
        mem_free(l->opened[i].spans);
    }
    reader_set_deinit(&l->readers);
    mem_free(l->opened);
    mem_free(l->candidates);
    arena_deinit(&l->arena);
    if (l->has_filters)
        filter_room_leave(&l->engine->view.filters);
    snapshot_release(&l->snapshot);
}

/* Hashes of the spans' IDs, some spans ahead of the question that is asked of each. */
enum { HASHES_AHEAD = 16 };

/* Nearly always none of them is stored, and then no span's content has to be hashed, which costs as much as half of
 * building the group. The spans are remembered on the way; where writing the group fails, the next try finds them
 * in the filter, and then not in any group. */
enum err lookback_collect(struct lookback *l, struct rowgroup_builder *b)
{
    struct span_filter *recent = &l->engine->builder.recent;
    bool asks_old = l->old_to > l->old_from;
    uint32_t rows = rowgroup_builder_rows(b), hashed = 0;
    uint64_t hashes[HASHES_AHEAD];
    enum err error = ERR_OK;
    for (uint32_t i = 0; i < rows && error == ERR_OK; i++) {
        struct lookback_candidate c;
        for (; hashed < rows && hashed < i + HASHES_AHEAD; hashed++) {
            rowgroup_builder_ids(b, hashed, &c.trace_id, &c.span_id);
            hashes[hashed % HASHES_AHEAD] = span_filter_hash(&c.trace_id, &c.span_id);
            span_filter_prefetch(recent, hashes[hashed % HASHES_AHEAD]);
        }
        c.is_remembered = span_filter_put(recent, hashes[i % HASHES_AHEAD]);
        if (!c.is_remembered && !asks_old)
            continue;
        rowgroup_builder_ids(b, i, &c.trace_id, &c.span_id);
        if (!c.is_remembered && !old_may_have(l, &c.trace_id))
            continue;
        error = rowgroup_builder_content(b, i, &c.content);
        if (error == ERR_OK)
            candidate_add(l, &c);
    }
    return error;
}

/* With very many it is likely, and looking for each in a trace of any size would take long. */
#define CANDIDATES_LOOKED_AT 1024

bool lookback_may_be_in(const struct lookback *l, const struct rowgroup_builder *under_way)
{
    if (l->candidates_count > CANDIDATES_LOOKED_AT)
        return true;
    for (size_t i = 0; i < l->candidates_count; i++)
        if (rowgroup_builder_has(under_way, &l->candidates[i].trace_id, &l->candidates[i].span_id))
            return true;
    return false;
}
