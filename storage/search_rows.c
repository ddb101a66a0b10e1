/* SPDX-License-Identifier: Apache-2.0 */
/* Reading rows a batch at a time, for who decides as he goes on how much he wants.
 *
 * Segment after segment: first the numbers of its rows that match, then the rows in batches, small ones first,
 * since many readers want a few rows only. One segment is open at a time, so several readers beside each other
 * hold little. The latest rows are found first, over all segments, and read one by one. */
#include "base/budget.h"
#include "base/mem.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_FIRST  64
#define BATCH_MOST   4096 /* a chunk of a row group */
#define BATCH_GROWTH 8

struct latest_row {
    uint64_t start_unix_ns;
    size_t segment;
    uint32_t row;
};

struct reader {
    struct row_cursor reader; /* first */
    const struct segment_source *source;
    struct find_progress *progress;
    const struct query_context *asker;
    struct query_context q; /* the asker's, with the arena below */
    struct arena arena;     /* of what is open */
    struct search search;   /* kept from request to request, for what it learned of bodies */
    struct row_request asked;
    struct trace_id trace_id; /* asked.trace_id points here */
    struct arena order_memory;
    struct search_order *order; /* of the segments in order_range */
    struct time_range order_range;
    size_t order_count, order_at; /* order[order_at - 1] is at hand */
    struct arena memory;          /* of the arrays below: of one request */
    size_t segment;
    uint32_t *rows; /* of the segment at hand */
    size_t rows_count, rows_capacity, rows_at;
    size_t batch;
    struct latest_row *latest; /* a heap with the earliest on top; then sorted, latest first */
    size_t latest_count, latest_at;
    struct buffer data;
    uint64_t ids[BATCH_MOST]; /* of the rows in it */
    size_t ids_count;
    enum err failure; /* of a scan's callback */
};

static struct reader *reader_from(struct row_cursor *r)
{
    return (struct reader *)(void *)r;
}

/* ---- The rows of one segment ---- */

static enum err add_row(struct reader *r, uint32_t row)
{
    enum err e =
        search_grow(&r->memory, &r->rows, &r->rows_capacity, r->rows_count + 1, sizeof *r->rows);
    if (e == ERR_OK)
        r->rows[r->rows_count++] = row;
    return e;
}

static bool on_row(void *context, const struct segment_row *row)
{
    struct reader *r = context;
    r->failure = add_row(r, row->row);
    return r->failure == ERR_OK;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Row groups give their rows in order, which is then all that there is to see. */
static void sort_rows(struct reader *r)
{
    for (size_t i = 1; i < r->rows_count; i++) {
        if (r->rows[i] < r->rows[i - 1]) {
            qsort(r->rows, r->rows_count, sizeof *r->rows, by_number);
            return;
        }
    }
}

static enum err scan_rows(struct reader *r, struct segment *segment)
{
    const struct row_request *asked = &r->asked;
    r->failure = ERR_OK;
    enum err e = segment->ops->scan(segment, &r->q, asked->filter, asked->range.min_unix_ns,
                                    asked->range.max_unix_ns, on_row, r);
    if (e == ERR_OK)
        e = r->failure;
    if (e == ERR_OK)
        sort_rows(r);
    return e;
}

/* All of the trace: they are few, whatever else is asked of them. */
static enum err find_rows(struct reader *r, struct segment *segment)
{
    size_t count = 0;
    enum err e;
    for (;;) {
        e = segment->ops->find_trace(segment, &r->trace_id, r->rows, r->rows_capacity, &count);
        if (e != ERR_OK || count <= r->rows_capacity)
            break;
        e = search_grow(&r->memory, &r->rows, &r->rows_capacity, count, sizeof *r->rows);
        if (e != ERR_OK)
            break;
    }
    if (e == ERR_OK)
        r->rows_count = count;
    return e;
}

static void count_segment(struct reader *r, const struct segment_bounds *b)
{
    r->progress->scanned_groups++;
    r->progress->scanned_bytes += b->bytes;
    r->progress->scanned_rows += b->rows;
}

/* ERR_OK, and no rows, for a damaged one. */
static enum err rows_of(struct reader *r, const struct search_order *at)
{
    const struct row_request *asked = &r->asked;
    struct segment *segment;
    r->rows_count = r->rows_at = 0;
    r->segment = at->index;
    if (asked->trace_id != NULL ? !search_may_contain(&r->search, at->index, asked->trace_id)
                                : !search_may_match(&r->search, at->index, asked->filter))
        return ERR_OK;
    enum err e = search_open(&r->search, at->index, &segment);
    if (e != ERR_OK || segment == NULL ||
        !segment->ops->may_match(segment, asked->filter, asked->range.min_unix_ns,
                                 asked->range.max_unix_ns))
        return e;
    if (asked->trace_id == NULL) {
        count_segment(r, &at->bounds);
        e = scan_rows(r, segment);
    } else {
        r->progress->scanned_groups++;
        e = find_rows(r, segment);
    }
    if (e != ERR_OK)
        r->rows_count = 0;
    else if (r->rows_count == 0 && asked->trace_id != NULL)
        search_note_miss(&r->search, at->index, segment);
    if (asked->trace_id != NULL)
        r->progress->scanned_rows += r->rows_count;
    return search_pass_damage(&r->search, at->index, e);
}

/* ---- The latest rows of all segments ---- */

/* Whether a comes before b, latest first; of equal ones in any order that stays. */
static bool is_later(const struct latest_row *a, const struct latest_row *b)
{
    if (a->start_unix_ns != b->start_unix_ns)
        return a->start_unix_ns > b->start_unix_ns;
    if (a->segment != b->segment)
        return a->segment < b->segment;
    return a->row < b->row;
}

/* Restore the heap below `at`. */
static void sift_down(struct reader *r, size_t at)
{
    struct latest_row *h = r->latest, moved = h[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= r->latest_count)
            break;
        if (child + 1 < r->latest_count && is_later(&h[child], &h[child + 1]))
            child++;
        if (!is_later(&moved, &h[child]))
            break;
        h[at] = h[child];
        at = child;
    }
    h[at] = moved;
}

static void sift_up(struct reader *r, size_t at)
{
    struct latest_row *h = r->latest, moved = h[at];
    while (at > 0 && is_later(&h[(at - 1) / 2], &moved)) {
        h[at] = h[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h[at] = moved;
}

static bool on_latest(void *context, const struct segment_row *row)
{
    struct reader *r = context;
    struct latest_row found = { row->start_unix_ns, r->segment, row->row };
    if (row->truth != EXPR_TRUE)
        return true;
    if (r->latest_count < r->asked.latest) {
        r->latest[r->latest_count] = found;
        sift_up(r, r->latest_count++);
    } else if (is_later(&found, &r->latest[0])) {
        r->latest[0] = found;
        sift_down(r, 0);
    }
    return true;
}

static int latest_first(const void *a, const void *b)
{
    const struct latest_row *x = a, *y = b;
    return is_later(x, y) ? -1 : is_later(y, x) ? 1 : 0;
}

static enum err find_latest(struct reader *r)
{
    const struct row_request *asked = &r->asked;
    assert(asked->latest <= ROW_LATEST_MAX && asked->trace_id == NULL);
    r->latest = arena_alloc_array(&r->memory, asked->latest, sizeof *r->latest);
    if (r->latest == NULL)
        return arena_failure(&r->memory);
    for (size_t i = 0; i < r->order_count; i++) {
        const struct search_order *at = &r->order[i];
        struct segment *segment;
        if (r->latest_count == asked->latest &&
            at->bounds.start_max_unix_ns < r->latest[0].start_unix_ns)
            break; /* nor has any that follows a later row */
        if (!search_may_match(&r->search, at->index, asked->filter))
            continue;
        enum err e = search_open(&r->search, at->index, &segment);
        if (e == ERR_OK && segment != NULL) {
            r->segment = at->index;
            count_segment(r, &at->bounds);
            e = search_pass_damage(&r->search, at->index,
                                   segment->ops->scan(segment, &r->q, asked->filter,
                                                      asked->range.min_unix_ns,
                                                      asked->range.max_unix_ns, on_latest, r));
        }
        if (e != ERR_OK)
            return e;
    }
    qsort(r->latest, r->latest_count, sizeof *r->latest, latest_first);
    return ERR_OK;
}

/* ---- Reading ---- */

static void batch_reset(struct reader *r)
{
    buffer_reset(&r->data);
    r->ids_count = 0;
}

static void make_room(struct reader *r)
{
    search_close_all(&r->search);
    buffer_deinit(&r->data);
    search_buffer_init(&r->data, &r->q);
}

/* What a row group has decoded stays until it is closed: several readers and their asker share the memory. */
static bool is_tight(const struct reader *r)
{
    const struct budget *budget = r->q.arena->budget;
    return budget != NULL && budget_used(budget) > budget->limit_bytes / 2;
}

/* Row groups have up to 2^20 rows, and a request has less than 2^23 items. */
#define ROW_BITS 23

static void note_ids(struct reader *r, size_t index, const uint32_t *rows, size_t count)
{
    assert(r->ids_count + count <= BATCH_MOST && index < UINT64_C(1) << (ROW_ID_BITS - ROW_BITS));
    for (size_t i = 0; i < count; i++) {
        assert(rows[i] < UINT32_C(1) << ROW_BITS);
        r->ids[r->ids_count++] = (uint64_t)index << ROW_BITS | rows[i];
    }
}

/* Append some rows of a segment to r->data; nothing where it is damaged. */
static enum err read_rows(struct reader *r, size_t index, const uint32_t *rows, size_t count)
{
    struct segment *segment;
    size_t before = r->data.len;
    enum err e = search_open(&r->search, index, &segment);
    if (e != ERR_OK || segment == NULL)
        return e;
    e = segment->ops->read(segment, &r->q, rows, count, r->asked.parts, &r->data);
    if (e == ERR_OK)
        e = buffer_error(&r->data);
    if (e == ERR_CORRUPT)
        r->data.len = before;
    if (e == ERR_OK)
        note_ids(r, index, rows, count);
    return search_pass_damage(&r->search, index, e);
}

/* The next rows of the segment at hand. Items of any size are legal, so what does not fit is tried again in
 * smaller batches. */
static enum err next_batch(struct reader *r)
{
    size_t left = r->rows_count - r->rows_at;
    if (is_tight(r))
        make_room(r);
    for (size_t batch = left < r->batch ? left : r->batch;; batch = (batch + 7) / 8) {
        batch_reset(r);
        enum err e = read_rows(r, r->segment, r->rows + r->rows_at, batch);
        if ((e != ERR_TOO_LARGE && e != ERR_BUDGET) || batch == 1) {
            r->rows_at += batch;
            if (r->batch < BATCH_MOST)
                r->batch *= BATCH_GROWTH;
            return e;
        }
        r->batch = (batch + 7) / 8;
        make_room(r);
    }
}

static enum err next_of_segments(struct reader *r)
{
    batch_reset(r);
    while (r->ids_count == 0) {
        enum err e = ERR_OK;
        if (r->rows_at < r->rows_count)
            e = next_batch(r);
        else if (r->order_at == r->order_count)
            return ERR_OK;
        else {
            search_close_all(&r->search);
            e = rows_of(r, &r->order[r->order_at++]);
        }
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Latest first, one by one: neighbours in time lie in several segments, of which some stay open. */
static enum err next_of_latest(struct reader *r)
{
    batch_reset(r);
    if (is_tight(r))
        make_room(r);
    for (size_t n = 0; n < BATCH_FIRST && r->latest_at < r->latest_count; r->latest_at++) {
        const struct latest_row *at = &r->latest[r->latest_at];
        size_t before = r->data.len;
        enum err e = read_rows(r, at->segment, &at->row, 1);
        if (search_is_bound(e) && before > 0) { /* these first */
            r->data.len = before;
            r->data.error = ERR_OK;
            return e == ERR_DEADLINE ? e : ERR_OK;
        }
        if (e != ERR_OK)
            return e;
        n += r->data.len > before; /* not of a damaged segment */
    }
    return ERR_OK;
}

/* While its rows were looked at, the asker may have been given more time. */
static void note_deadline(struct reader *r)
{
    r->q.deadline_mono_ns = r->asker->deadline_mono_ns;
}

static enum err reader_next(struct row_cursor *reader, struct row_batch *out)
{
    struct reader *r = reader_from(reader);
    note_deadline(r);
    enum err e = r->asked.latest > 0 ? next_of_latest(r) : next_of_segments(r);
    if (r->search.has_damage)
        r->progress->is_complete = false;
    if (e == ERR_OK)
        *out = (struct row_batch){ buffer_bytes(&r->data), r->ids };
    return e;
}

/* ---- Opening and closing ---- */

#define ARENA_MOST ((size_t)1 << 20) /* bodies that were open leave a little */

static void search_anew(struct reader *r)
{
    search_close_all(&r->search);
    if (r->arena.held_bytes <= ARENA_MOST)
        return;
    search_deinit(&r->search);
    arena_reset(&r->arena);
    search_init(&r->search, r->source, &r->q);
}

static enum err order_segments(struct reader *r)
{
    struct time_range range = r->asked.range;
    struct search s = { .source = r->source };
    r->order_at = 0;
    if (r->order != NULL && r->order_range.min_unix_ns == range.min_unix_ns &&
        r->order_range.max_unix_ns == range.max_unix_ns)
        return ERR_OK;
    arena_reset(&r->order_memory);
    r->order = NULL;
    r->order_count = 0;
    s.scratch = r->order_memory;
    enum err e =
        search_segments(&s, r->asked.signal, range, FIND_NEWEST, &r->order, &r->order_count);
    r->order_memory = s.scratch;
    r->order_range = range;
    return e;
}

static enum err reader_rewind(struct row_cursor *reader, const struct row_request *asked)
{
    struct reader *r = reader_from(reader);
    assert(asked->signal == r->asked.signal);
    note_deadline(r);
    r->asked = *asked;
    if (asked->trace_id != NULL) {
        r->trace_id = *asked->trace_id;
        r->asked.trace_id = &r->trace_id;
    }
    search_anew(r);
    arena_reset(&r->memory);
    r->rows = NULL;
    r->rows_count = r->rows_capacity = r->rows_at = 0;
    r->latest = NULL;
    r->latest_count = r->latest_at = 0;
    r->batch = BATCH_FIRST;
    enum err e = order_segments(r);
    if (e == ERR_OK && asked->latest > 0)
        e = find_latest(r);
    return e;
}

static void reader_close(struct row_cursor *reader)
{
    struct reader *r = reader_from(reader);
    search_deinit(&r->search);
    buffer_deinit(&r->data);
    arena_deinit(&r->memory);
    arena_deinit(&r->order_memory);
    arena_deinit(&r->arena);
    mem_free(r);
}

enum err search_rows_read(const struct segment_source *source, const struct query_context *q,
                          struct find_progress *progress, const struct row_request *asked,
                          struct row_cursor **out)
{
    static const struct row_cursor_ops ops = {
        .next = reader_next,
        .rewind = reader_rewind,
        .close = reader_close,
    };
    struct reader *r = mem_zalloc(sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->reader.ops = &ops;
    r->source = source;
    r->progress = progress;
    r->asked.signal = asked->signal;
    r->asker = q;
    r->q = *q;
    r->q.arena = &r->arena;
    arena_init(&r->arena, search_scratch_bytes(q), q->arena->budget);
    arena_init(&r->order_memory, search_scratch_bytes(q), q->arena->budget);
    arena_init(&r->memory, search_scratch_bytes(q), q->arena->budget);
    search_init(&r->search, source, &r->q);
    search_buffer_init(&r->data, &r->q);
    enum err e = reader_rewind(&r->reader, asked);
    if (e != ERR_OK) {
        reader_close(&r->reader);
        return e;
    }
    *out = &r->reader;
    return ERR_OK;
}

/* ---- Resources ---- */

struct visiting {
    row_resource_fn *on_resource;
    void *context;
    bool is_stopped;
};

static bool on_each(void *context, struct bytes resource, struct bytes schema_url)
{
    struct visiting *v = context;
    v->is_stopped = !v->on_resource(v->context, resource, schema_url);
    return !v->is_stopped;
}

enum err search_resources(const struct segment_source *source, const struct query_context *q,
                          struct find_progress *progress, enum signal signal,
                          row_resource_fn *on_resource, void *context)
{
    struct search s;
    struct visiting v = { .on_resource = on_resource, .context = context };
    struct search_order *order = NULL;
    size_t count = 0;
    search_init(&s, source, q);
    enum err e = search_segments(&s, signal, (struct time_range){ 0, UINT64_MAX }, FIND_NEWEST,
                                 &order, &count);
    for (size_t i = 0; e == ERR_OK && i < count && !v.is_stopped; i++) {
        struct segment *segment;
        e = search_open(&s, order[i].index, &segment);
        if (e != ERR_OK || segment == NULL)
            continue;
        progress->scanned_groups++;
        e = search_pass_damage(&s, order[i].index, segment->ops->resources(segment, on_each, &v));
        search_close_all(&s);
    }
    if (s.has_damage)
        progress->is_complete = false;
    search_deinit(&s);
    return e;
}
