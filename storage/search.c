/* SPDX-License-Identifier: Apache-2.0 */
#include "base/budget.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Segments ---- */

size_t search_scratch_bytes(const struct query_context *q)
{
    const struct arena *a = q->arena;
    size_t left = a->limit_bytes > a->held_bytes ? a->limit_bytes - a->held_bytes : 0;
    return left / 2;
}

void search_buffer_init(struct buffer *b, const struct query_context *q)
{
    buffer_init_charged(b, search_scratch_bytes(q), q->arena->budget);
}

void search_init(struct search *s, const struct segment_source *source,
                 const struct query_context *q)
{
    memset(s, 0, sizeof *s);
    s->source = source;
    s->q = q;
    s->progress.is_complete = true;
    arena_init(&s->scratch, search_scratch_bytes(q), q->arena->budget);
}

static void close_one(struct search *s, size_t slot)
{
    struct segment *segment = s->open[slot].segment;
    if (segment != NULL && s->source->close != NULL)
        s->source->close(s->source->context, s->open[slot].index, segment);
    else if (segment != NULL)
        segment->ops->close(segment);
    s->open[slot].segment = NULL;
    s->open[slot].last_use = 0;
}

void search_close_all(struct search *s)
{
    for (size_t i = 0; i < SEARCH_OPEN_MAX; i++)
        close_one(s, i);
}

void search_deinit(struct search *s)
{
    search_close_all(s);
    arena_deinit(&s->scratch);
}

void search_forget(struct search *s)
{
    size_t limit_bytes = s->scratch.limit_bytes;
    arena_deinit(&s->scratch);
    arena_init(&s->scratch, limit_bytes, s->q->arena->budget);
    s->filters = NULL;
}

bool search_is_bound(enum err e)
{
    return e == ERR_TOO_LARGE || e == ERR_BUDGET || e == ERR_DEADLINE;
}

enum err search_pass_damage(struct search *s, size_t index, enum err e)
{
    if (e != ERR_CORRUPT)
        return e;
    s->has_damage = true;
    s->progress.is_complete = false;
    if (s->source->on_damaged != NULL)
        s->source->on_damaged(s->source->context, index);
    return ERR_OK;
}

bool search_may_match(const struct search *s, size_t index, const struct expr *filter)
{
    return filter == NULL || s->source->may_match == NULL ||
           s->source->may_match(s->source->context, index, filter);
}

enum err search_open(struct search *s, size_t index, struct segment **out)
{
    size_t oldest = 0;
    for (size_t i = 0; i < SEARCH_OPEN_MAX; i++) {
        if (s->open[i].segment != NULL && s->open[i].index == index) {
            s->open[i].last_use = ++s->uses;
            *out = s->open[i].segment;
            return ERR_OK;
        }
        if (s->open[i].last_use < s->open[oldest].last_use)
            oldest = i;
    }
    enum err e = query_check(s->q);
    if (e != ERR_OK)
        return e;
    const struct budget *budget = s->q->arena->budget;
    if (budget != NULL && budget_used(budget) > budget->limit_bytes / 4)
        search_close_all(s); /* what they have decoded is worth less than room for the next */
    close_one(s, oldest);
    struct segment *segment = NULL;
    e = search_pass_damage(s, index, s->source->open(s->source->context, index, s->q, &segment));
    if (e != ERR_OK)
        return e;
    s->open[oldest].segment = segment; /* NULL when damaged */
    s->open[oldest].index = index;
    s->open[oldest].last_use = segment == NULL ? 0 : ++s->uses;
    *out = segment;
    return ERR_OK;
}

/* ---- Filters of what walks ---- */

/* A page of traces asks each body of the journal for each of its traces: 64,000 pending spans cost 2 ms
 * each time. One scan costs as much as three such walks and spares all that follow. */
#define FILTER_AFTER_MISSES 2
#define FILTER_BITS_PER_ROW 16 /* at most 6 % false hits */

static uint64_t filter_bit(const struct search_filter *f, const struct trace_id *id)
{
    return hash_bytes(bytes_of(id->b, sizeof id->b)) & f->mask;
}

static bool is_filtered_out(const struct search *s, size_t index, const struct trace_id *id)
{
    const struct search_filter *f = s->filters == NULL ? NULL : &s->filters[index];
    if (f == NULL || f->bits == NULL)
        return false;
    uint64_t bit = filter_bit(f, id);
    return (f->bits[bit / 64] >> bit % 64 & 1) == 0;
}

bool search_may_contain(const struct search *s, size_t index, const struct trace_id *id)
{
    return !is_filtered_out(s, index, id) && s->source->may_contain(s->source->context, index, id);
}

size_t search_next_with_trace(const struct search *s, size_t from, const struct trace_id *id)
{
    const struct segment_source *source = s->source;
    size_t i = from;
    if (source->next_with_trace == NULL) {
        while (i < source->count && !search_may_contain(s, i, id))
            i++;
        return i;
    }
    for (;; i++) {
        i = source->next_with_trace(source->context, i, id);
        if (i >= source->count || !is_filtered_out(s, i, id))
            return i;
    }
}

static bool on_filter_row(void *context, const struct segment_row *row)
{
    struct search_filter *f = context;
    uint64_t bit = filter_bit(f, &row->trace_id);
    f->bits[bit / 64] |= UINT64_C(1) << bit % 64;
    return true;
}

/* A filter is a convenience: without memory for it, or where the scan fails, there is none. */
static void filter_build(struct search *s, struct search_filter *f, struct segment *segment)
{
    const struct segment_bounds *b = &segment->bounds;
    if (b->start_max_unix_ns == UINT64_MAX)
        return; /* a scan's range excludes its maximum */
    uint64_t bits = 64;
    while (bits < (uint64_t)b->rows * FILTER_BITS_PER_ROW)
        bits *= 2;
    struct search_filter built = { .misses = f->misses, .mask = bits - 1 };
    built.bits = arena_alloc_array(&s->scratch, bits / 64, sizeof *built.bits);
    if (built.bits != NULL &&
        segment->ops->scan(segment, s->q, NULL, 0, UINT64_MAX, on_filter_row, &built) == ERR_OK)
        *f = built;
}

void search_note_miss(struct search *s, size_t index, struct segment *segment)
{
    if (!segment->ops->find_walks)
        return;
    if (s->filters == NULL)
        s->filters = arena_alloc_array(&s->scratch, s->source->count, sizeof *s->filters);
    if (s->filters != NULL && ++s->filters[index].misses == FILTER_AFTER_MISSES)
        filter_build(s, &s->filters[index], segment);
}

static int latest_first(const void *a, const void *b)
{
    const struct search_order *x = a, *y = b;
    uint64_t p = x->bounds.start_max_unix_ns, q = y->bounds.start_max_unix_ns;
    return p != q ? (p < q ? 1 : -1) : (x->index > y->index) - (x->index < y->index);
}

static int earliest_first(const void *a, const void *b)
{
    const struct search_order *x = a, *y = b;
    uint64_t p = x->bounds.start_min_unix_ns, q = y->bounds.start_min_unix_ns;
    return p != q ? (p < q ? -1 : 1) : (x->index > y->index) - (x->index < y->index);
}

enum err search_segments(struct search *s, enum signal signal, struct time_range range,
                         enum find_order order, struct search_order **out, size_t *out_count)
{
    size_t all = s->source->count, count = 0;
    struct search_order *list = arena_alloc_array(&s->scratch, all == 0 ? 1 : all, sizeof *list);
    if (list == NULL)
        return arena_failure(&s->scratch);
    for (size_t i = 0; i < all; i++) {
        struct segment_bounds b;
        s->source->bounds(s->source->context, i, &b);
        if (b.signal == signal && b.rows > 0 && b.start_max_unix_ns >= range.min_unix_ns &&
            b.start_min_unix_ns < range.max_unix_ns)
            list[count++] = (struct search_order){ .index = i, .bounds = b };
    }
    qsort(list, count, sizeof *list, order == FIND_OLDEST ? earliest_first : latest_first);
    *out = list;
    *out_count = count;
    return ERR_OK;
}

enum err search_grow(struct arena *a, void *array_of_pointer, size_t *capacity, size_t count,
                     size_t size)
{
    if (count <= *capacity)
        return ERR_OK;
    /* Sixteen elements are a multiple of any alignment, so what follows in the arena is aligned. */
    size_t wanted = (count + count / 2 + 16) / 16 * 16;
    if (wanted > SIZE_MAX / size)
        return ERR_TOO_LARGE;
    uint8_t *block;
    memcpy(&block, array_of_pointer, sizeof block);
    block = arena_grow(a, block, *capacity * size, wanted * size);
    if (block == NULL)
        return arena_failure(a);
    memcpy(array_of_pointer, &block, sizeof block);
    *capacity = wanted;
    return ERR_OK;
}

/* ---- Trace by ID ---- */

enum err search_trace_get(const struct segment_source *source, const struct query_context *q,
                          const struct trace_id *id, enum signal signal, struct bytes *out_data)
{
    struct search s;
    struct trace_parts parts;
    struct buffer data;
    search_init(&s, source, q);
    trace_parts_init(&parts, q);
    search_buffer_init(&data, q);

    enum err e = trace_parts_load(&parts, &s, id, signal);
    struct bytes copy = { 0 };
    if (e == ERR_OK) {
        trace_parts_write(&parts, NULL, parts.count, &data);
        e = buffer_error(&data);
    }
    if (e == ERR_OK)
        e = arena_dup(q->arena, buffer_bytes(&data), &copy);
    if (e == ERR_OK && s.has_damage)
        e = ERR_CORRUPT;
    else if (e == ERR_OK && parts.count == 0 && signal == SIGNAL_TRACES)
        e = ERR_NOT_FOUND;
    if (e == ERR_OK || e == ERR_CORRUPT)
        *out_data = copy;
    buffer_deinit(&data);
    trace_parts_deinit(&parts);
    search_deinit(&s);
    return e;
}

/* ---- Span to trace ---- */

struct latest_span {
    bool is_found;
    uint64_t start_unix_ns;
    struct trace_id trace_id;
};

static bool on_span(void *context, const struct segment_row *row)
{
    struct latest_span *latest = context;
    bool is_later = !latest->is_found || row->start_unix_ns > latest->start_unix_ns ||
                    (row->start_unix_ns == latest->start_unix_ns &&
                     memcmp(row->trace_id.b, latest->trace_id.b, sizeof row->trace_id.b) < 0);
    if (is_later) {
        latest->is_found = true;
        latest->start_unix_ns = row->start_unix_ns;
        latest->trace_id = row->trace_id;
    }
    return true;
}

enum err search_span_trace(const struct segment_source *source, const struct query_context *q,
                           const struct span_id *id, struct trace_id *out_trace_id)
{
    struct search s;
    search_init(&s, source, q);
    char hex[2 * sizeof id->b];
    for (size_t i = 0; i < sizeof id->b; i++) {
        static const char digits[] = "0123456789abcdef";
        hex[2 * i] = digits[id->b[i] >> 4];
        hex[2 * i + 1] = digits[id->b[i] & 15];
    }
    struct expr *filter = expr_binary(
        &s.scratch, EXPR_EQ, expr_intrinsic_field(&s.scratch, EXPR_INTRINSIC_SPAN_ID),
        expr_const(&s.scratch,
                   (struct expr_value){ .type = EXPR_STRING, .bytes = bytes_of(hex, sizeof hex) }));
    enum err e = filter == NULL ? arena_failure(&s.scratch) : ERR_OK;
    struct time_range always = { 0, UINT64_MAX };
    struct search_order *order = NULL;
    size_t count = 0;
    if (e == ERR_OK)
        e = search_segments(&s, SIGNAL_TRACES, always, FIND_NEWEST, &order, &count);

    struct latest_span latest = { 0 };
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        if (latest.is_found && order[i].bounds.start_max_unix_ns < latest.start_unix_ns)
            break;
        struct segment *segment;
        e = search_open(&s, order[i].index, &segment);
        if (e != ERR_OK || segment == NULL ||
            !segment->ops->may_match(segment, filter, 0, UINT64_MAX))
            continue;
        e = search_pass_damage(
            &s, order[i].index,
            segment->ops->scan(segment, q, filter, 0, UINT64_MAX, on_span, &latest));
    }
    search_deinit(&s);
    if (e == ERR_OK && !latest.is_found)
        e = ERR_NOT_FOUND;
    if (e == ERR_OK)
        *out_trace_id = latest.trace_id;
    return e;
}
