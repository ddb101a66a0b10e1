/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at every row that matches, for what counts rather than lists: newest segments first, so that what
 * was seen when time runs out is everything from some moment on. */
#include "base/budget.h"
#include "base/random.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Every row ---- */

/* The rows of one segment, filter by filter. */
struct scan {
    struct search search;
    const struct row_scan *asked;
    row_scan_fn *on_row;
    void *context;
    size_t segment; /* index in the source */
    size_t filter;
};

static bool on_scanned(void *context, const struct segment_row *row)
{
    const struct scan *s = context;
    struct scanned_row found = { .filter = s->filter,
                                 .segment = s->segment,
                                 .row = row->row,
                                 .start_unix_ns = row->start_unix_ns,
                                 .duration_ns = row->duration_ns,
                                 .is_certain = row->truth == EXPR_TRUE };
    s->on_row(s->context, &found);
    return true;
}

static enum err scan_segment(struct scan *s, const struct search_order *at)
{
    struct segment *segment;
    const struct row_scan *asked = s->asked;
    uint64_t min = asked->range.min_unix_ns, max = asked->range.max_unix_ns;
    bool was_read = false;
    enum err e = search_open(&s->search, at->index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    s->segment = at->index;
    s->search.progress.scanned_groups++;
    for (s->filter = 0; e == ERR_OK && s->filter < asked->filters_count; s->filter++) {
        const struct expr *filter = asked->filters[s->filter];
        if (!segment->ops->may_match(segment, filter, min, max))
            continue;
        was_read = true;
        e = search_pass_damage(
            &s->search, at->index,
            segment->ops->scan(segment, s->search.q, filter, min, max, on_scanned, s));
    }
    if (was_read) {
        s->search.progress.scanned_bytes += at->bounds.bytes;
        s->search.progress.scanned_rows += at->bounds.rows;
    }
    return e;
}

/* What lies in the range at all. */
static struct time_range extent_of(const struct row_scan *asked, const struct search_order *order,
                                   size_t count)
{
    struct time_range r = { UINT64_MAX, 0 };
    for (size_t i = 0; i < count; i++) {
        const struct segment_bounds *b = &order[i].bounds;
        uint64_t end = b->start_max_unix_ns == UINT64_MAX ? UINT64_MAX : b->start_max_unix_ns + 1;
        r.min_unix_ns = b->start_min_unix_ns < r.min_unix_ns ? b->start_min_unix_ns : r.min_unix_ns;
        r.max_unix_ns = end > r.max_unix_ns ? end : r.max_unix_ns;
    }
    if (r.min_unix_ns < asked->range.min_unix_ns)
        r.min_unix_ns = asked->range.min_unix_ns;
    if (r.max_unix_ns > asked->range.max_unix_ns)
        r.max_unix_ns = asked->range.max_unix_ns;
    return count == 0 ? asked->range : r;
}

static enum err scan_all(struct scan *s, struct row_scan_result *out)
{
    struct search_order *order = NULL;
    size_t count = 0;
    enum err e =
        search_segments(&s->search, s->asked->signal, s->asked->range, FIND_NEWEST, &order, &count);
    if (e != ERR_OK)
        return e;
    struct time_range extent = extent_of(s->asked, order, count);
    if (s->asked->on_extent != NULL)
        s->asked->on_extent(s->context, count == 0, extent);
    out->covered_from_unix_ns = extent.min_unix_ns;
    for (size_t i = 0; i < count; i++) {
        e = scan_segment(s, &order[i]);
        if (search_is_bound(e)) { /* all later than the rest was seen */
            uint64_t end = order[i].bounds.start_max_unix_ns;
            out->covered_from_unix_ns = end >= extent.max_unix_ns ? extent.max_unix_ns : end + 1;
            s->search.progress.is_complete = false;
            return ERR_OK;
        }
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err search_rows_scan(const struct segment_source *source, const struct query_context *q,
                          const struct row_scan *asked, row_scan_fn *on_row, void *context,
                          struct row_scan_result *out)
{
    struct scan s = { .asked = asked, .on_row = on_row, .context = context };
    struct row_scan_result result = { 0 };
    search_init(&s.search, source, q);
    enum err e = scan_all(&s, &result);
    result.progress = s.search.progress;
    search_deinit(&s.search);
    if (e == ERR_OK)
        *out = result;
    return e;
}

/* ---- A few rows of each class ---- */

#define SAMPLE_BATCH 256

struct sampled {
    uint64_t place; /* segment, then row */
    unsigned class;
};

struct sample {
    const struct row_sample *asked;
    struct random random;
    struct sampled *rows; /* [ROW_CLASSES_MAX * rows_max]: each class has its part */
    uint64_t seen[ROW_CLASSES_MAX];
};

/* Every row of a class stays with equal chance, however many come. */
static void on_sampled(void *context, const struct scanned_row *row)
{
    struct sample *s = context;
    unsigned class = s->asked->class_of(s->asked->context, row);
    if (class >= ROW_CLASSES_MAX)
        return;
    uint64_t n = s->seen[class]++;
    uint64_t at = n < s->asked->rows_max ? n : random_below(&s->random, n + 1);
    if (at < s->asked->rows_max)
        s->rows[class * s->asked->rows_max + at] =
            (struct sampled){ (uint64_t)row->segment << 32 | row->row, class };
}

static int by_place(const void *a, const void *b)
{
    const struct sampled *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* All classes' rows side by side, in the order of reading. */
static size_t pack(struct sample *s, struct row_sample_result *out)
{
    size_t count = 0, max = s->asked->rows_max;
    for (unsigned class = 0; class < ROW_CLASSES_MAX; class ++) {
        size_t kept = s->seen[class] < max ? (size_t)s->seen[class] : max;
        memmove(s->rows + count, s->rows + class * max, kept * sizeof *s->rows);
        out->seen[class] = s->seen[class];
        out->sampled[class] = 0; /* counted when they were read */
        count += kept;
    }
    qsort(s->rows, count, sizeof *s->rows, by_place);
    return count;
}

static enum err give(const struct sample *s, const struct sampled *rows, size_t count,
                     const struct buffer *data, struct row_sample_result *out)
{
    size_t at = 0;
    struct otlp_items it = otlp_items(buffer_bytes(data));
    while (at < count && otlp_items_next(&it)) {
        enum err e = s->asked->on_item(s->asked->context, rows[at].class, &it);
        if (e != ERR_OK)
            return e;
        out->sampled[rows[at++].class]++;
    }
    return ERR_OK;
}

/* Up to a batch of rows, all of one segment. */
static enum err read_batch(struct search *search, const struct sampled *rows, size_t count,
                           struct buffer *data)
{
    uint32_t numbers[SAMPLE_BATCH];
    struct segment *segment;
    assert(count <= SAMPLE_BATCH);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (uint32_t)rows[i].place;
    buffer_reset(data);
    enum err e = search_open(search, (size_t)(rows[0].place >> 32), &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    e = segment->ops->read(segment, search->q, numbers, count, ROW_ALL, data);
    if (e == ERR_OK)
        e = buffer_error(data);
    if (e == ERR_CORRUPT)
        buffer_reset(data);
    return search_pass_damage(search, (size_t)(rows[0].place >> 32), e);
}

static enum err read_sampled(struct sample *s, struct search *search, size_t count,
                             struct row_sample_result *out)
{
    struct buffer data;
    enum err e = ERR_OK;
    search_buffer_init(&data, search->q);
    for (size_t from = 0, to; e == ERR_OK && from < count; from = to) {
        to = from + 1;
        while (to < count && to - from < SAMPLE_BATCH &&
               s->rows[to].place >> 32 == s->rows[from].place >> 32)
            to++;
        e = read_batch(search, s->rows + from, to - from, &data);
        if (e == ERR_OK)
            e = give(s, s->rows + from, to - from, &data, out);
    }
    buffer_deinit(&data);
    if (!search_is_bound(e))
        return e;
    search->progress.is_complete = false; /* fewer were read than chosen */
    return ERR_OK;
}

/* Counting may take three quarters of the time that is left: the rest is for reading. */
static struct query_context scanning_part(const struct query_context *q)
{
    struct query_context part = *q;
    uint64_t now = clock_mono_ns();
    if (q->deadline_mono_ns != UINT64_MAX && q->deadline_mono_ns > now)
        part.deadline_mono_ns = now + (q->deadline_mono_ns - now) / 4 * 3;
    return part;
}

enum err search_rows_sample(const struct segment_source *source, const struct query_context *q,
                            const struct row_sample *asked, struct row_sample_result *out)
{
    struct sample s = { .asked = asked };
    struct row_sample_result result = { 0 };
    struct row_scan_result scanned = { 0 };
    struct query_context part = scanning_part(q);
    const struct expr *filters[] = { asked->filter };
    struct row_scan scan = {
        .signal = asked->signal, .range = asked->range, .filters = filters, .filters_count = 1
    };
    random_init(&s.random, clock_mono_ns());
    s.rows = arena_alloc_array(q->arena, ROW_CLASSES_MAX * asked->rows_max, sizeof *s.rows);
    if (s.rows == NULL)
        return arena_failure(q->arena);
    enum err e = search_rows_scan(source, &part, &scan, on_sampled, &s, &scanned);
    if (e != ERR_OK)
        return e;

    struct search search;
    search_init(&search, source, q);
    search.progress = scanned.progress;
    e = read_sampled(&s, &search, pack(&s, &result), &result);
    result.progress = search.progress;
    search_deinit(&search);
    if (e == ERR_OK)
        *out = result;
    return e;
}
