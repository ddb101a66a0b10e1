/* SPDX-License-Identifier: Apache-2.0 */
/* The slowest traces first.
 *
 * The duration of a trace is that of all its spans, and they may lie in several segments, so no segment by
 * itself bounds it. Two passes over all segments, of which the first reads trace IDs alone, come before:
 *
 *     spread    which traces are in more than one segment? A filter of the IDs seen so far says so; its false
 *               hits cost a candidate each, no more
 *     measure   the true extents of those; and for each segment the greatest extent of what is in it
 *
 * Then segments are visited by that greatest extent, descending, and visiting ends when a page of results is
 * longer than anything that the rest can hold: the loop of the newest order, with durations for starts.
 *
 * A filter that matches few traces needs none of it: they are assembled one by one.
 *
 * Where memory does not hold the filter and the traces that are spread, traces are taken in shares, by a hash
 * of their IDs, each in passes of its own, and the shares' results are merged. */
#include "storage/search_find.h"

#include <assert.h>
#include <stdlib.h>

/* Up to so many candidates are assembled one by one without measuring. One assembly costs about as much as
 * the passes over two segments. */
#define ASSEMBLE_MAX 64
/* Into so many shares at most: each costs the passes. */
#define SHARES_MAX 64
/* Of the filter of IDs: 16 bits and more for a trace where it has four spans on the average. */
#define SEEN_BITS_PER_ROW 4

/* A trace that is spread has spans in a segment of the range. */
struct occurrence {
    uint32_t candidate, segment;
};

struct slowest_segment {
    uint64_t extent; /* no trace in it lasts longer */
    size_t at;       /* in the order */
};

struct slowest {
    struct find *find;
    struct search_order *order; /* those of the range first, then all others */
    size_t count, in_range;
    struct slowest_segment *segments; /* those in range, in the order of `order`; then by extent */
    uint64_t *seen;                   /* the filter */
    uint64_t seen_mask;               /* of its words */
    struct arena memory;              /* of the occurrences */
    struct occurrence *occurrences;
    size_t occurrences_count, occurrences_capacity;
    size_t at;       /* in the order: the segment at hand */
    size_t new_from; /* candidates from here on were found in it */
    bool measures_all;
};

static struct find *find_of(void *context)
{
    return ((struct slowest *)context)->find;
}

/* ---- Segments ---- */

static bool is_in_range(const struct segment_bounds *b, struct time_range range)
{
    return b->start_max_unix_ns >= range.min_unix_ns && b->start_min_unix_ns < range.max_unix_ns;
}

static enum err list_segments(struct slowest *s)
{
    struct find *f = s->find;
    const struct segment_source *source = f->search.source;
    struct arena *scratch = &f->search.scratch;
    s->count = s->in_range = 0;
    s->order = arena_alloc_array(scratch, source->count + 1, sizeof *s->order);
    s->segments = arena_alloc_array(scratch, source->count + 1, sizeof *s->segments);
    if (s->order == NULL || s->segments == NULL)
        return arena_failure(scratch);
    uint64_t rows = 0;
    for (int wanted = 1; wanted >= 0; wanted--) {
        for (size_t i = 0; i < source->count; i++) {
            struct segment_bounds b;
            source->bounds(source->context, i, &b);
            if (b.signal != SIGNAL_TRACES || b.rows == 0 ||
                is_in_range(&b, f->query->range) != (wanted == 1))
                continue;
            s->order[s->count++] = (struct search_order){ .index = i, .bounds = b };
            rows += wanted == 1 ? b.rows : 0;
        }
        if (wanted == 1)
            s->in_range = s->count;
    }
    uint64_t words = 64;
    while (words * 64 * f->shares < rows * SEEN_BITS_PER_ROW)
        words *= 2;
    s->seen_mask = words - 1;
    s->seen = arena_alloc_array(scratch, words, sizeof *s->seen);
    return s->seen == NULL ? arena_failure(scratch) : ERR_OK;
}

/* Visit the traces of segment s->at. */
static enum err visit_traces(struct slowest *s, segment_trace_fn *on_trace,
                             segment_extent_fn *on_extent)
{
    struct find *f = s->find;
    size_t index = s->order[s->at].index;
    struct segment *segment;
    enum err e = search_open(&f->search, index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    f->failure = ERR_OK;
    e = segment->ops->traces(segment, f->search.q, on_trace, on_extent, s);
    e = search_pass_damage(&f->search, index, e);
    return f->failure != ERR_OK ? f->failure : e;
}

/* ---- Candidates ---- */

static void extend(struct candidate *c, uint64_t start_min, uint64_t end_max)
{
    c->start_min = start_min < c->start_min ? start_min : c->start_min;
    c->end_max = end_max > c->end_max ? end_max : c->end_max;
}

static bool is_measured(const struct candidate *c)
{
    return c->start_min <= c->end_max;
}

/* A trace of which a matching row was seen. What was on an earlier page is not looked at again. */
static void admit(struct find *f, struct candidate *c)
{
    c->key = is_measured(c) ? c->end_max - c->start_min : UINT64_MAX;
    bool is_on_earlier_page = is_measured(c) && !find_is_after(&f->query->after, c->key, &c->id);
    c->state = is_on_earlier_page ? DONE : BOUND;
    if (!is_on_earlier_page)
        find_heap_append(f, c);
}

/* ---- Few traces: without measuring ---- */

static bool on_few(void *context, const struct segment_row *row)
{
    struct find *f = find_of(context);
    if (find_candidate(f, &row->trace_id) != NULL)
        return true;
    if (f->count == ASSEMBLE_MAX) {
        f->failure = ERR_TOO_MANY;
        return false;
    }
    struct candidate *c = find_add(
        f, &(struct candidate){ .id = row->trace_id, .start_min = UINT64_MAX, .state = BOUND });
    if (c != NULL)
        admit(f, c);
    return c != NULL;
}

/* ERR_TOO_MANY: measure them. */
static enum err find_few(struct slowest *s, struct trace_result *out, bool *out_may_be_more)
{
    struct find *f = s->find;
    enum err e = f->query->filter == NULL ? ERR_TOO_MANY : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < s->in_range; i++)
        e = find_scan(f, &s->order[i], true, on_few, s);
    if (e == ERR_OK) {
        find_heap_rebuild(f);
        e = find_advance(f, false, 0, out);
        *out_may_be_more = f->heap_count > 0;
    }
    return e;
}

/* ---- Which are spread, and how long is each ---- */

static bool on_seen(void *context, const struct trace_id *id)
{
    struct slowest *s = context;
    struct find *f = s->find;
    if (f->failure != ERR_OK || !find_is_in_share(f, id))
        return false;
    uint64_t hash = find_hash(f, id) * UINT64_C(0x9E3779B97F4A7C15);
    uint64_t *word = &s->seen[hash >> 32 & s->seen_mask];
    uint64_t bits = UINT64_C(1) << (hash & 63) | UINT64_C(1) << (hash >> 6 & 63);
    bool was_seen = (*word & bits) == bits;
    if (s->at < s->in_range)
        *word |= bits;
    if (was_seen && find_candidate(f, id) == NULL)
        (void)find_add(f,
                       &(struct candidate){ .id = *id, .start_min = UINT64_MAX, .state = SPREAD });
    return false;
}

static void on_no_extent(void *context, const struct trace_id *id, uint64_t start_min_unix_ns,
                         uint64_t end_max_unix_ns)
{
    (void)context, (void)id, (void)start_min_unix_ns, (void)end_max_unix_ns;
    assert(false); /* nothing was wanted */
}

static enum err spread(struct slowest *s)
{
    enum err e = ERR_OK;
    memset(s->seen, 0, (s->seen_mask + 1) * sizeof *s->seen);
    for (s->at = 0; e == ERR_OK && s->at < s->count; s->at++) {
        find_note(s->find, &s->order[s->at], true);
        e = visit_traces(s, on_seen, on_no_extent);
    }
    return e;
}

static bool on_measured(void *context, const struct trace_id *id)
{
    struct slowest *s = context;
    return s->find->failure == ERR_OK && (s->measures_all || find_candidate(s->find, id) != NULL);
}

static void on_extent(void *context, const struct trace_id *id, uint64_t start_min_unix_ns,
                      uint64_t end_max_unix_ns)
{
    struct slowest *s = context;
    struct find *f = s->find;
    struct candidate *c = find_candidate(f, id);
    if (c != NULL)
        extend(c, start_min_unix_ns, end_max_unix_ns);
    if (s->at >= s->in_range)
        return;
    uint64_t extent = end_max_unix_ns - start_min_unix_ns;
    if (extent > s->segments[s->at].extent)
        s->segments[s->at].extent = extent;
    if (c == NULL)
        return;
    f->failure = search_grow(&s->memory, &s->occurrences, &s->occurrences_capacity,
                             s->occurrences_count + 1, sizeof *s->occurrences);
    if (f->failure == ERR_OK)
        s->occurrences[s->occurrences_count++] =
            (struct occurrence){ (uint32_t)(c - f->candidates), (uint32_t)s->at };
}

static enum err measure(struct slowest *s)
{
    struct find *f = s->find;
    enum err e = ERR_OK;
    s->occurrences_count = 0;
    for (size_t i = 0; i < s->in_range; i++)
        s->segments[i] = (struct slowest_segment){ .at = i };
    for (s->at = 0; e == ERR_OK && s->at < s->count; s->at++) {
        struct segment *segment;
        e = search_open(&f->search, s->order[s->at].index, &segment);
        if (e != ERR_OK || segment == NULL)
            continue;
        bool has_extent = segment->extent_max != UINT64_MAX;
        s->measures_all = s->at < s->in_range && !has_extent;
        if (s->at < s->in_range)
            s->segments[s->at].extent = has_extent ? segment->extent_max : 0;
        if (s->measures_all || f->count > 0)
            e = visit_traces(s, on_measured, on_extent);
    }
    for (size_t i = 0; e == ERR_OK && i < s->occurrences_count; i++) {
        const struct candidate *c = &f->candidates[s->occurrences[i].candidate];
        uint64_t *extent = &s->segments[s->occurrences[i].segment].extent;
        if (c->end_max - c->start_min > *extent)
            *extent = c->end_max - c->start_min;
    }
    return e;
}

/* ---- Visiting ---- */

static void found(struct slowest *s, const struct trace_id *id, uint64_t start_min,
                  uint64_t end_max)
{
    struct find *f = s->find;
    struct candidate *c = find_candidate(f, id);
    if (c == NULL)
        c = find_add(f,
                     &(struct candidate){
                         .id = *id, .start_min = start_min, .end_max = end_max, .state = SPREAD });
    if (c != NULL && c->state == SPREAD)
        admit(f, c);
}

static bool on_match(void *context, const struct segment_row *row)
{
    struct slowest *s = context;
    struct find *f = s->find;
    if (!find_is_in_share(f, &row->trace_id))
        return true;
    struct candidate *c = find_candidate(f, &row->trace_id);
    if (c == NULL) /* of this segment alone: its extent is still to be read */
        c = find_add(
            f, &(struct candidate){ .id = row->trace_id, .start_min = UINT64_MAX, .state = BOUND });
    else if (c->state == SPREAD)
        admit(f, c);
    return c != NULL;
}

static bool on_own(void *context, const struct trace_id *id)
{
    struct slowest *s = context;
    const struct candidate *c = find_candidate(s->find, id);
    return c != NULL && c >= s->find->candidates + s->new_from;
}

static void on_own_extent(void *context, const struct trace_id *id, uint64_t start_min_unix_ns,
                          uint64_t end_max_unix_ns)
{
    struct candidate *c = find_candidate(find_of(context), id);
    assert(c != NULL);
    extend(c, start_min_unix_ns, end_max_unix_ns);
}

/* Rows match, or not. */
static enum err visit_matches(struct slowest *s)
{
    struct find *f = s->find;
    s->new_from = f->count;
    enum err e = find_scan(f, &s->order[s->at], false, on_match, s);
    if (e == ERR_OK && f->count > s->new_from)
        e = visit_traces(s, on_own, on_own_extent);
    for (size_t i = s->new_from; e == ERR_OK && i < f->count; i++)
        admit(f, &f->candidates[i]);
    return e;
}

static bool on_any(void *context, const struct trace_id *id)
{
    struct slowest *s = context;
    struct find *f = s->find;
    if (f->failure != ERR_OK || !find_is_in_share(f, id))
        return false;
    struct candidate *c = find_candidate(f, id);
    if (c != NULL && c->state == SPREAD)
        admit(f, c);
    return c == NULL;
}

static void on_any_extent(void *context, const struct trace_id *id, uint64_t start_min_unix_ns,
                          uint64_t end_max_unix_ns)
{
    found(context, id, start_min_unix_ns, end_max_unix_ns);
}

static enum err visit(struct slowest *s)
{
    const struct trace_query *query = s->find->query;
    const struct segment_bounds *b = &s->order[s->at].bounds;
    bool is_within = b->start_min_unix_ns >= query->range.min_unix_ns &&
                     b->start_max_unix_ns < query->range.max_unix_ns;
    enum err e = query->filter == NULL && is_within ? visit_traces(s, on_any, on_any_extent)
                                                    : visit_matches(s);
    find_heap_rebuild(s->find);
    return e;
}

static int longest_first(const void *a, const void *b)
{
    const struct slowest_segment *x = a, *y = b;
    if (x->extent != y->extent)
        return x->extent > y->extent ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static enum err find_share(struct slowest *s, struct trace_result *out, bool *out_may_be_more)
{
    struct find *f = s->find;
    enum err e = spread(s);
    if (e == ERR_OK)
        e = measure(s);
    if (e == ERR_OK && s->in_range > 0)
        qsort(s->segments, s->in_range, sizeof *s->segments, longest_first);
    for (size_t next = 0; e == ERR_OK; next++) {
        bool has_unread = next < s->in_range;
        e = find_advance(f, has_unread, has_unread ? s->segments[next].extent : 0, out);
        *out_may_be_more = has_unread || f->heap_count > 0;
        if (e != ERR_OK || !has_unread || out->count == f->query->limit)
            break;
        s->at = s->segments[next].at;
        e = visit(s);
    }
    return e;
}

/* ---- Shares ---- */

static uint64_t duration_of(const struct trace_summary *t)
{
    return t->end_unix_ns - t->start_unix_ns;
}

static bool is_slower(const struct trace_summary *a, const struct trace_summary *b)
{
    uint64_t x = duration_of(a), y = duration_of(b);
    return x != y ? x > y : find_order_id(&a->trace_id, &b->trace_id) < 0;
}

/* The first of two lists' traces, as many as a page takes. */
static enum err merge_share(struct find *f, const struct trace_result *share,
                            struct trace_result *out, bool *out_may_be_more)
{
    size_t all = out->count + share->count;
    size_t count = all < f->query->limit ? all : f->query->limit;
    struct trace_summary *merged = arena_alloc_array(f->search.q->arena, count + 1, sizeof *merged);
    if (merged == NULL)
        return arena_failure(f->search.q->arena);
    for (size_t i = 0, a = 0, b = 0; i < count; i++) {
        bool takes_share =
            a == out->count || (b < share->count && is_slower(&share->traces[b], &out->traces[a]));
        merged[i] = takes_share ? share->traces[b++] : out->traces[a++];
    }
    out->traces = merged;
    out->count = count;
    *out_may_be_more |= count < all;
    if (count > 0) {
        const struct trace_summary *last = &merged[count - 1];
        out->next = (struct find_cursor){ true, duration_of(last), last->trace_id };
    }
    return ERR_OK;
}

static enum err find_by_shares(struct slowest *s, struct trace_result *out, bool *out_may_be_more)
{
    struct find *f = s->find;
    enum err e = list_segments(s);
    *out_may_be_more = false;
    for (f->share = 0; e == ERR_OK && f->share < f->shares; f->share++) {
        struct trace_result share = { 0 };
        bool share_has_more = false;
        f->results_capacity = 0;
        find_forget(f);
        e = find_share(s, &share, &share_has_more);
        if (e == ERR_OK)
            e = merge_share(f, &share, out, out_may_be_more);
        *out_may_be_more |= share_has_more;
    }
    return e;
}

static void slowest_release(struct slowest *s)
{
    find_release(s->find);
    arena_deinit(&s->memory);
    *s = (struct slowest){ .find = s->find };
    arena_init(&s->memory, search_scratch_bytes(s->find->search.q),
               s->find->search.q->arena->budget);
}

enum err find_slowest(struct find *f, struct trace_result *out, bool *out_may_be_more)
{
    struct slowest s = { .find = f };
    slowest_release(&s);
    enum err e = list_segments(&s);
    if (e == ERR_OK)
        e = find_few(&s, out, out_may_be_more);
    if (e == ERR_TOO_MANY) {
        find_forget(f);
        e = find_share(&s, out, out_may_be_more);
    }
    /* What was given out already is right, and memory for results is what lacks. */
    while ((e == ERR_TOO_LARGE || e == ERR_BUDGET) && out->count == 0 && f->shares < SHARES_MAX) {
        struct trace_result merged = { 0 };
        slowest_release(&s);
        f->shares *= 4;
        e = find_by_shares(&s, &merged, out_may_be_more);
        if (e == ERR_OK)
            *out = merged;
    }
    arena_deinit(&s.memory);
    return e;
}
