/* SPDX-License-Identifier: Apache-2.0 */
/* Finding log records in order.
 *
 * The order is (time, content hash), the hash ascending in both directions; records equal in both
 * are one record, delivered twice. The best `limit` records seen so far are kept. A segment is
 * asked for its own best ones, by time alone, since hashing means reading: a scan collects the rows
 * at least as good as its limit-th, those at the boundary's time all included; they are read,
 * hashed and merged into the kept ones. When equal records or the cursor leave fewer than asked,
 * the segment is asked again beyond that time. Segments come in the order of their best time, and
 * the search ends when the next one's is worse than the worst kept.
 *
 * I1: whatever ends the search early, kept records better than everything unread are final; only
 * those are returned. */
#include "storage/content_hash.h"
#include "storage/search_private.h"

#include <assert.h>
#include <stdlib.h>

struct ranked {
    uint64_t time;
    struct hash128 content;
    size_t segment; /* index in the source */
    uint32_t row;
    size_t at; /* where its log_row is while results are made */
};

struct time_row {
    uint64_t time;
    uint32_t row;
};

struct find {
    struct search search;
    struct arena memory; /* of the arrays below */
    const struct log_query *query;
    bool is_oldest;
    struct ranked *kept; /* best first; at most limit + 1: one more tells whether there are more */
    size_t kept_count, kept_capacity;
    struct time_row *seen; /* of one scan */
    size_t seen_count, seen_capacity, seen_max;
    bool has_boundary; /* that many at least as good as `boundary` were seen: worse ones are not
                          needed */
    uint64_t boundary;
    uint32_t *rows;
    size_t rows_capacity;
    struct buffer data;
    enum err failure;
};

/* ---- Order ---- */

static bool time_before(const struct find *f, uint64_t a, uint64_t b)
{
    return f->is_oldest ? a < b : a > b;
}

static int order_content(struct hash128 a, struct hash128 b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

static bool ranked_before(const struct find *f, uint64_t time, struct hash128 content,
                          const struct ranked *b)
{
    if (time != b->time)
        return time_before(f, time, b->time);
    return order_content(content, b->content) < 0;
}

static struct trace_id position_of(struct hash128 content)
{
    struct trace_id p;
    store_be64(p.b, content.high);
    store_be64(p.b + 8, content.low);
    return p;
}

static bool is_after_cursor(const struct find *f, uint64_t time, struct hash128 content)
{
    const struct find_cursor *after = &f->query->after;
    if (!after->is_set || time_before(f, after->key, time))
        return true;
    struct trace_id position = position_of(content);
    return time == after->key && memcmp(position.b, after->id.b, sizeof position.b) > 0;
}

static size_t wanted(const struct find *f)
{
    return f->query->limit + 1;
}

/* No record at this time or worse can be among the wanted. */
static bool is_beyond(const struct find *f, uint64_t time)
{
    return f->kept_count == wanted(f) && time_before(f, f->kept[f->kept_count - 1].time, time);
}

/* Insert by order; equal ones once; the worst goes when there are too many. */
static enum err keep(struct find *f, const struct ranked *r)
{
    size_t low = 0, high = f->kept_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct ranked *m = &f->kept[middle];
        if (m->time == r->time && hash128_equal(m->content, r->content))
            return ERR_OK;
        if (ranked_before(f, r->time, r->content, m))
            high = middle;
        else
            low = middle + 1;
    }
    if (low == wanted(f))
        return ERR_OK;
    if (f->kept_count == wanted(f))
        f->kept_count--;
    enum err e =
        search_grow(&f->memory, &f->kept, &f->kept_capacity, f->kept_count + 1, sizeof *f->kept);
    if (e != ERR_OK)
        return e;
    memmove(f->kept + low + 1, f->kept + low, (f->kept_count - low) * sizeof *f->kept);
    f->kept[low] = *r;
    f->kept_count++;
    return ERR_OK;
}

/* ---- One segment ---- */

static int latest_first(const void *a, const void *b)
{
    const struct time_row *x = a, *y = b;
    if (x->time != y->time)
        return x->time > y->time ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int earliest_first(const void *a, const void *b)
{
    const struct time_row *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Sort what was seen and cut it after the wanted number, but not between rows of one time. */
static void seen_trim(struct find *f)
{
    if (f->seen_count == 0)
        return;
    qsort(f->seen, f->seen_count, sizeof *f->seen, f->is_oldest ? earliest_first : latest_first);
    size_t n = wanted(f);
    if (f->seen_count <= n)
        return;
    while (n < f->seen_count && f->seen[n].time == f->seen[n - 1].time)
        n++;
    f->seen_count = n;
    f->has_boundary = true;
    f->boundary = f->seen[n - 1].time;
}

static bool on_row(void *context, const struct segment_row *row)
{
    struct find *f = context;
    uint64_t time = row->start_unix_ns;
    if (row->truth != EXPR_TRUE || is_beyond(f, time) ||
        (f->has_boundary && time_before(f, f->boundary, time)))
        return true;
    if (f->seen_count == f->seen_capacity && f->seen_count >= 2 * wanted(f))
        seen_trim(f);
    if (f->seen_count >= f->seen_max) {
        f->failure = ERR_TOO_LARGE; /* that many records at one time */
        return false;
    }
    f->failure =
        search_grow(&f->memory, &f->seen, &f->seen_capacity, f->seen_count + 1, sizeof *f->seen);
    if (f->failure != ERR_OK)
        return false;
    f->seen[f->seen_count++] = (struct time_row){ time, row->row };
    return true;
}

static int by_row(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Read rows (ascending) of the open segment as LogsData into f->data. */
static enum err read_rows(struct find *f, size_t index, struct segment *segment, size_t count)
{
    buffer_reset(&f->data);
    enum err e = segment->ops->read(segment, f->search.q, f->rows, count, ROW_ALL, &f->data);
    if (e == ERR_OK)
        e = buffer_error(&f->data);
    if (e == ERR_CORRUPT)
        buffer_reset(&f->data);
    return search_pass_damage(&f->search, index, e);
}

static enum err merge_seen(struct find *f, size_t index, struct segment *segment)
{
    enum err e =
        search_grow(&f->memory, &f->rows, &f->rows_capacity, f->seen_count, sizeof *f->rows);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < f->seen_count; i++)
        f->rows[i] = f->seen[i].row;
    qsort(f->rows, f->seen_count, sizeof *f->rows, by_row);
    e = read_rows(f, index, segment, f->seen_count);

    const struct hash_key *key = f->search.source->content_key;
    struct hash128 group = { 0, 0 };
    struct otlp_items it = otlp_items(buffer_bytes(&f->data));
    for (size_t i = 0; e == ERR_OK && i < f->seen_count && otlp_items_next(&it); i++) {
        struct otlp_log l;
        otlp_log_read(it.item, &l);
        if (it.is_new_scope)
            group = content_hash_group(key, it.resource.resource, it.resource.schema_url,
                                       it.scope.scope, it.scope.schema_url);
        struct ranked r = { .time = otlp_log_time(&l),
                            .content = content_hash_item(key, SIGNAL_LOGS, group, it.item),
                            .segment = index,
                            .row = f->rows[i] };
        if (is_after_cursor(f, r.time, r.content))
            e = keep(f, &r);
    }
    return e;
}

/* The part of the query's range that the cursor leaves. */
static struct time_range range_left(const struct find *f)
{
    struct time_range r = f->query->range;
    const struct find_cursor *after = &f->query->after;
    if (!after->is_set)
        return r;
    if (f->is_oldest && after->key > r.min_unix_ns)
        r.min_unix_ns = after->key;
    if (!f->is_oldest && after->key < r.max_unix_ns)
        r.max_unix_ns = after->key + 1;
    return r;
}

static enum err search_segment(struct find *f, const struct search_order *at)
{
    struct time_range range = range_left(f);
    bool is_counted = false;
    if (!search_may_match(&f->search, at->index, f->query->filter)) {
        f->search.progress.scanned_groups++;
        return query_check(f->search.q);
    }
    while (range.min_unix_ns < range.max_unix_ns) {
        struct segment *segment;
        enum err e = search_open(&f->search, at->index, &segment);
        if (e != ERR_OK || segment == NULL)
            return e;
        if (!is_counted)
            f->search.progress.scanned_groups++;
        if (!segment->ops->may_match(segment, f->query->filter, range.min_unix_ns,
                                     range.max_unix_ns))
            return ERR_OK;
        if (!is_counted) {
            f->search.progress.scanned_bytes += at->bounds.bytes;
            f->search.progress.scanned_rows += at->bounds.rows;
            is_counted = true;
        }
        f->seen_count = 0;
        f->has_boundary = false;
        f->failure = ERR_OK;
        e = segment->ops->scan(segment, f->search.q, f->query->filter, range.min_unix_ns,
                               range.max_unix_ns, on_row, f);
        if (f->failure != ERR_OK)
            return f->failure;
        if (e == ERR_CORRUPT)
            f->seen_count = 0;
        e = search_pass_damage(&f->search, at->index, e);
        if (e != ERR_OK || f->seen_count == 0)
            return e;
        seen_trim(f);
        bool was_all = f->seen_count < wanted(f);
        uint64_t worst = f->seen[f->seen_count - 1].time;
        e = merge_seen(f, at->index, segment);
        bool is_full = f->kept_count == wanted(f);
        if (e != ERR_OK || was_all ||
            (is_full && !time_before(f, worst, f->kept[f->kept_count - 1].time)))
            return e;
        if (f->is_oldest)
            range.min_unix_ns = worst + 1; /* below the range's maximum, so it does not wrap */
        else
            range.max_unix_ns = worst;
    }
    return ERR_OK;
}

/* ---- Results ---- */

static int by_place(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* A record as read, and which run of records it shares its surroundings with. */
struct found_row {
    struct log_row row;
    size_t run;
};

/* The rows kept[from..to) of one segment, ascending, appended to f->data. */
static enum err fetch(struct find *f, size_t from, size_t to)
{
    size_t index = f->kept[from].segment;
    struct segment *segment;
    enum err e = search_open(&f->search, index, &segment);
    if (e != ERR_OK)
        return e;
    if (segment == NULL)
        return ERR_CORRUPT; /* it was whole a moment ago */
    e = search_grow(&f->memory, &f->rows, &f->rows_capacity, to - from, sizeof *f->rows);
    if (e != ERR_OK)
        return e;
    for (size_t i = from; i < to; i++)
        f->rows[i - from] = f->kept[i].row;
    e = segment->ops->read(segment, f->search.q, f->rows, to - from, ROW_ALL, &f->data);
    return e == ERR_OK ? buffer_error(&f->data) : e;
}

/* Read the first `count` of the kept, whose order becomes that of their places. */
static enum err fetch_all(struct find *f, size_t count)
{
    for (size_t i = 0; i < count; i++)
        f->kept[i].at = i;
    qsort(f->kept, count, sizeof *f->kept, by_place);
    buffer_reset(&f->data);
    enum err e = ERR_OK;
    for (size_t from = 0, to; e == ERR_OK && from < count; from = to) {
        to = from + 1;
        while (to < count && f->kept[to].segment == f->kept[from].segment)
            to++;
        e = fetch(f, from, to);
    }
    return e;
}

static enum err list_found(struct find *f, size_t count, struct found_row *found)
{
    struct otlp_items it = otlp_items(buffer_bytes(&f->data));
    size_t run = 0;
    for (size_t i = 0; i < count; i++) {
        if (!otlp_items_next(&it))
            return ERR_CORRUPT; /* a segment gave fewer rows than asked for */
        run += it.is_new_scope;
        found[f->kept[i].at] = (struct found_row){
            .row = { .resource = it.resource.resource,
                     .scope = it.scope.scope,
                     .log = it.item,
                     .resource_schema_url = it.resource.schema_url,
                     .scope_schema_url = it.scope.schema_url },
            .run = run - 1,
        };
    }
    return ERR_OK;
}

static enum err copy_row(struct arena *arena, const struct log_row *from,
                         const struct log_row *like, struct log_row *out)
{
    struct log_row row = { 0 };
    enum err e = ERR_OK;
    if (like != NULL) {
        row = *like;
    } else {
        e = arena_dup(arena, from->resource, &row.resource);
        if (e == ERR_OK)
            e = arena_dup(arena, from->resource_schema_url, &row.resource_schema_url);
        if (e == ERR_OK)
            e = arena_dup(arena, from->scope, &row.scope);
        if (e == ERR_OK)
            e = arena_dup(arena, from->scope_schema_url, &row.scope_schema_url);
    }
    if (e == ERR_OK)
        e = arena_dup(arena, from->log, &row.log);
    if (e == ERR_OK)
        *out = row;
    return e;
}

/* In order, as many as the arena takes. Records of one run share the copies of what is around them.
 */
static enum err copy_found(struct find *f, const struct found_row *found, size_t count,
                           struct log_result *out)
{
    struct arena *arena = f->search.q->arena;
    /* By run. */
    const struct log_row **copies = arena_alloc_array(&f->memory, count, sizeof *copies);
    if (copies == NULL)
        return arena_failure(&f->memory);
    out->logs = arena_alloc_array(arena, count, sizeof *out->logs);
    enum err e = out->logs == NULL ? arena_failure(arena) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        const struct log_row **copy = &copies[found[i].run];
        e = copy_row(arena, &found[i].row, *copy, &out->logs[i]);
        if (e != ERR_OK)
            break;
        if (*copy == NULL)
            *copy = &out->logs[i];
        out->count++;
    }
    return e;
}

static enum err make_results(struct find *f, size_t count, struct log_result *out)
{
    struct ranked *ordered = arena_alloc_array(&f->memory, count, sizeof *ordered);
    struct found_row *found = arena_alloc_array(&f->memory, count, sizeof *found);
    enum err e = ordered == NULL || found == NULL ? arena_failure(&f->memory) : ERR_OK;
    if (e == ERR_OK) {
        memcpy(ordered, f->kept, count * sizeof *ordered);
        e = fetch_all(f, count);
    }
    if (e == ERR_OK)
        e = list_found(f, count, found);
    if (e == ERR_OK)
        e = copy_found(f, found, count, out);
    if (ordered != NULL && found != NULL)
        memcpy(f->kept, ordered, count * sizeof *ordered);
    return e;
}

/* As many of the first `count` as memory takes. */
static enum err make_fitting_results(struct find *f, size_t count, struct log_result *out)
{
    enum err e = ERR_OK;
    for (; count > 0 && out->count == 0; count /= 2) {
        e = make_results(f, count, out);
        if (e == ERR_OK)
            break;
        if (!search_is_bound(e))
            return e;
        out->progress.is_complete = false;
    }
    if (out->count > 0) {
        const struct ranked *last = &f->kept[out->count - 1];
        out->next = (struct find_cursor){ true, last->time, position_of(last->content) };
    }
    return ERR_OK;
}

/* How many of the kept come before everything that is still unread. */
static size_t count_final(const struct find *f, bool has_unread, uint64_t unread_best)
{
    size_t count = f->kept_count < f->query->limit ? f->kept_count : f->query->limit;
    while (has_unread && count > 0 && !time_before(f, f->kept[count - 1].time, unread_best))
        count--;
    return count;
}

static uint64_t best_time(const struct find *f, const struct search_order *at)
{
    return f->is_oldest ? at->bounds.start_min_unix_ns : at->bounds.start_max_unix_ns;
}

static enum err find_logs(struct find *f, struct log_result *out)
{
    struct search_order *order = NULL;
    size_t count = 0, next = 0;
    enum err e =
        search_segments(&f->search, SIGNAL_LOGS, f->query->range, f->query->order, &order, &count);
    for (; e == ERR_OK && next < count; next++) {
        if (is_beyond(f, best_time(f, &order[next])))
            break;
        e = search_segment(f, &order[next]);
        if (e != ERR_OK)
            break;
    }
    bool is_bound = search_is_bound(e);
    if (e != ERR_OK && !is_bound)
        return e;
    bool has_unread = is_bound && (next < count || order == NULL);
    size_t final =
        order == NULL ? 0 : count_final(f, has_unread, has_unread ? best_time(f, &order[next]) : 0);
    bool has_more = is_bound || f->kept_count > final;
    out->progress = f->search.progress;
    /* What is certain can still be read when the time is over: a page at most. */
    struct query_context unhurried = *f->search.q;
    unhurried.deadline_mono_ns = UINT64_MAX;
    f->search.q = &unhurried;
    e = make_fitting_results(f, final, out);
    out->progress.is_complete = out->progress.is_complete && !is_bound && !f->search.has_damage;
    if (e != ERR_OK)
        return e;
    if (!has_more && out->count == final)
        out->next = (struct find_cursor){ 0 };
    else if (out->count == 0)
        out->next = f->query->after;
    return ERR_OK;
}

enum err search_logs(const struct segment_source *source, const struct query_context *q,
                     const struct log_query *query, struct log_result *out)
{
    assert(query->order == FIND_NEWEST || query->order == FIND_OLDEST);
    struct log_result result = { .progress.is_complete = true };
    if (query->limit == 0 || query->range.min_unix_ns >= query->range.max_unix_ns) {
        *out = result;
        return ERR_OK;
    }
    struct find f = { .query = query, .is_oldest = query->order == FIND_OLDEST };
    search_init(&f.search, source, q);
    arena_init(&f.memory, search_scratch_bytes(q), q->arena->budget);
    search_buffer_init(&f.data, q);
    f.seen_max = search_scratch_bytes(q) / sizeof *f.seen;
    enum err e = find_logs(&f, &result);
    arena_deinit(&f.memory);
    buffer_deinit(&f.data);
    search_deinit(&f.search);
    if (e == ERR_OK)
        *out = result;
    return e;
}
