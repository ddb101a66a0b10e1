/* SPDX-License-Identifier: Apache-2.0 */
/* tally_stored.c - the stored form of a tally.
 *
 *   version (1 byte), step in minutes, number of keys; then for each key, in order of bytes:
 *     bytes shared with the key before, bytes that follow (length first), length of its points, points:
 *       a point   steps since the point before (the first: since 1970), calls, errors, flags, bytes,
 *                 where flagged: both estimates; the histogram; where flagged: the second; exemplars
 *       exemplar  24 bytes of IDs, start, duration
 *   XXH3 of all before, 8 bytes, but in the form for memory.
 *
 * All numbers but the first and the last are varints. */
#include "storage/derive/tally.h"

#include "base/hash.h"
#include "base/mem.h"
#include "storage/derive/varint.h"

#define TALLY_FORMAT     1
#define TALLY_PACKED     2                  /* in memory alone: its histograms are packed */
#define POINT_BYTES_MAX  ((size_t)16 << 20) /* two histograms, and what they were before they grew */
#define POINT_BYTES_KEPT ((size_t)1 << 20)
/* Of a point, before its histograms; and of one exemplar. */
#define HEAD_BYTES_MAX     (1 + 6 * VARINT_BYTES_MAX)
#define EXEMPLAR_BYTES_MAX (24 + 2 * VARINT_BYTES_MAX)

enum {
    POINT_ESTIMATED = 1, /* the estimates differ from the counts */
    POINT_SECOND = 2,
    POINT_SLOWEST = 4,
    POINT_FAILED = 8,
    POINT_FLAGS_ALL = 15
};

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void exemplar_put(struct buffer *out, const struct derived_exemplar *x)
{
    uint8_t *begin = buffer_reserve(out, EXEMPLAR_BYTES_MAX), *p = begin;
    if (begin == NULL)
        return;
    memcpy(p, x->trace_id.b, sizeof x->trace_id.b);
    memcpy(p + sizeof x->trace_id.b, x->span_id.b, sizeof x->span_id.b);
    p = varint_at(p + sizeof x->trace_id.b + sizeof x->span_id.b, x->start_unix_ns);
    p = varint_at(p, x->duration_ns);
    buffer_grew(out, (size_t)(p - begin));
}

static uint64_t whole(uint64_t count)
{
    return count > UINT64_MAX / TALLY_ONE ? UINT64_MAX : count * TALLY_ONE;
}

static enum err durations_put(struct buffer *out, struct histogram_scatter *s, struct histogram *h,
                              struct tally_values *listed, uint8_t format)
{
    if (format == TALLY_FORMAT)
        return tally_histogram_encode(h, listed, s, out);
    assert(listed->count == 0);
    histogram_pack(h, out);
    return buffer_error(out);
}

static enum err point_put(struct buffer *out, struct histogram_scatter *s, struct tally_point *p,
                          uint64_t steps, uint8_t format)
{
    bool is_estimated =
        p->estimated_calls != whole(p->calls) || p->estimated_errors != whole(p->errors);
    bool has_second = p->second.count + p->second_values.count + p->second_values.zero_count > 0;
    unsigned flags = (is_estimated ? POINT_ESTIMATED : 0u) | (has_second ? POINT_SECOND : 0u) |
                     (p->slowest.is_set ? POINT_SLOWEST : 0u) |
                     (p->failed.is_set ? POINT_FAILED : 0u);
    uint8_t *begin = buffer_reserve(out, HEAD_BYTES_MAX), *at = begin;
    if (begin == NULL)
        return buffer_error(out);
    at = varint_at(at, steps);
    at = varint_at(at, p->calls);
    at = varint_at(at, p->errors);
    *at++ = (uint8_t)flags;
    at = varint_at(at, p->bytes);
    if (is_estimated) {
        at = varint_at(at, p->estimated_calls);
        at = varint_at(at, p->estimated_errors);
    }
    buffer_grew(out, (size_t)(at - begin));
    enum err e = durations_put(out, s, &p->first, &p->first_values, format);
    if (e == ERR_OK && has_second)
        e = durations_put(out, s, &p->second, &p->second_values, format);
    if (e != ERR_OK)
        return e;
    if (p->slowest.is_set)
        exemplar_put(out, &p->slowest);
    if (p->failed.is_set)
        exemplar_put(out, &p->failed);
    return buffer_error(out);
}

static void key_put(struct buffer *out, struct bytes before, struct bytes key)
{
    size_t shared = 0, most = before.len < key.len ? before.len : key.len;
    while (most - shared >= 8 && load_le64(before.data + shared) == load_le64(key.data + shared))
        shared += 8;
    while (shared < most && before.data[shared] == key.data[shared])
        shared++;
    varint_put(out, shared);
    varint_put_bytes(out, bytes_slice(key, shared, SIZE_MAX));
}

static void head_put(struct buffer *out, uint8_t format, uint64_t step_ns, uint64_t keys)
{
    buffer_append_byte(out, format);
    varint_put(out, step_ns / TALLY_MINUTE_NS);
    varint_put(out, keys);
}

/* The hash of all since the mark. */
static enum err sum_put(struct buffer *out, size_t mark)
{
    uint8_t sum[8];
    enum err e = buffer_error(out);
    if (e != ERR_OK)
        return e;
    store_le64(sum, hash_bytes(bytes_of(out->data + mark, out->len - mark)));
    buffer_append(out, sum, sizeof sum);
    return buffer_error(out);
}

/* Points lie anywhere, and so do their lists: they are asked for some points before. */
#define POINTS_AHEAD 4u
static void point_prefetch(const struct tally_point *later, const struct tally_point *next)
{
    for (size_t at = 0; at < sizeof *later; at += 64)
        __builtin_prefetch((const uint8_t *)later + at);
    const struct tally_values *lists[2] = { &next->first_values, &next->second_values };
    for (unsigned i = 0; i < 2; i++)
        for (uint32_t at = 0; at < lists[i]->count && at < 256; at += 32)
            __builtin_prefetch(lists[i]->buckets + at);
}

static enum err encode(struct tally *t, uint8_t format, struct buffer *out,
                       struct tally_span *out_span)
{
    struct tally_point **points = NULL;
    struct histogram_scatter *scatter = mem_zalloc(sizeof *scatter);
    if (scatter == NULL)
        return ERR_NOMEM;
    enum err e = tally_sorted(t, &points);
    if (e != ERR_OK) {
        mem_free(scatter);
        return e;
    }
    uint32_t filled = 0;
    for (uint32_t i = 0; i < t->points_count; i++)
        filled += i == 0 || points[i]->series != points[i - 1]->series;
    size_t mark = out->len;
    struct tally_span span = { .min_unix_ns = t->points_count > 0 ? UINT64_MAX : 0 };
    struct buffer one;
    buffer_init(&one, out->limit_bytes);
    head_put(out, format, t->step_ns, filled);
    uint64_t step = t->step_ns == 0 ? 1 : t->step_ns;
    struct bytes before = { 0 };
    for (uint32_t i = 0; i < t->points_count && e == ERR_OK;) {
        struct bytes key = tally_key(t, points[i]->series);
        uint32_t begin = i;
        uint64_t at = 0;
        buffer_reset(&one);
        for (; i < t->points_count && points[i]->series == points[begin]->series && e == ERR_OK;
             i++) {
            if (i + POINTS_AHEAD < t->points_count)
                point_prefetch(points[i + 2 * POINTS_AHEAD < t->points_count ? i + 2 * POINTS_AHEAD
                                                                             : i + POINTS_AHEAD],
                               points[i + POINTS_AHEAD]);
            uint64_t start = points[i]->start_unix_ns;
            e = point_put(&one, scatter, points[i], start / step - at, format);
            at = start / step;
            span.min_unix_ns = start < span.min_unix_ns ? start : span.min_unix_ns;
            span.max_unix_ns = start > span.max_unix_ns ? start : span.max_unix_ns;
        }
        key_put(out, before, key);
        varint_put_bytes(out, buffer_bytes(&one));
        before = key;
    }
    buffer_deinit(&one);
    mem_free(scatter);
    if (e == ERR_OK)
        e = format == TALLY_PACKED ? buffer_error(out) : sum_put(out, mark);
    if (e == ERR_OK)
        *out_span = span;
    return e;
}

enum err tally_encode(struct tally *t, struct buffer *out, struct tally_span *out_span)
{
    return encode(t, TALLY_FORMAT, out, out_span);
}

enum err tally_pack(struct tally *t, struct buffer *out)
{
    struct tally_span unused;
    return encode(t, TALLY_PACKED, out, &unused);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool exemplar_take(struct bytes *from, struct derived_exemplar *out)
{
    if (from->len < 24)
        return false;
    *out = (struct derived_exemplar){ .is_set = true };
    memcpy(out->trace_id.b, from->data, sizeof out->trace_id.b);
    memcpy(out->span_id.b, from->data + 16, sizeof out->span_id.b);
    *from = bytes_slice(*from, 24, SIZE_MAX);
    return varint_take(from, &out->start_unix_ns) && varint_take(from, &out->duration_ns);
}

/* What stands before a point's histograms. */
struct point_head {
    uint64_t steps, calls, errors, bytes, estimated_calls, estimated_errors;
    unsigned flags;
};

static bool head_take(struct bytes *from, struct point_head *h)
{
    if (!varint_take(from, &h->steps) || !varint_take(from, &h->calls) ||
        !varint_take(from, &h->errors) || from->len == 0)
        return false;
    h->flags = from->data[0];
    *from = bytes_slice(*from, 1, SIZE_MAX);
    if (h->flags > POINT_FLAGS_ALL || !varint_take(from, &h->bytes))
        return false;
    h->estimated_calls = whole(h->calls);
    h->estimated_errors = whole(h->errors);
    return (h->flags & POINT_ESTIMATED) == 0 ||
           (varint_take(from, &h->estimated_calls) && varint_take(from, &h->estimated_errors));
}

static void head_add(struct tally_point *p, const struct point_head *h)
{
    p->calls = add_saturating(p->calls, h->calls);
    p->errors = add_saturating(p->errors, h->errors);
    p->bytes = add_saturating(p->bytes, h->bytes);
    p->estimated_calls = add_saturating(p->estimated_calls, h->estimated_calls);
    p->estimated_errors = add_saturating(p->estimated_errors, h->estimated_errors);
}

static enum err histogram_take(struct bytes *from, struct histogram *into, bool skips,
                               uint8_t format)
{
    if (skips)
        return histogram_skip(from);
    return format == TALLY_PACKED ? histogram_unpack_add(from, into)
                                  : histogram_decode_add(from, into);
}

/* The rest of a point, into p; NULL passes over it. */
static enum err rest_take(struct bytes *from, const struct point_head *h, struct tally_point *p,
                          bool skips, uint8_t format)
{
    bool skips_both = skips || p == NULL;
    enum err e = histogram_take(from, p == NULL ? NULL : &p->first, skips_both, format);
    if (e == ERR_OK && (h->flags & POINT_SECOND) != 0)
        e = histogram_take(from, p == NULL ? NULL : &p->second, skips_both, format);
    struct derived_exemplar slowest = { 0 }, failed = { 0 };
    if (e == ERR_OK && (((h->flags & POINT_SLOWEST) != 0 && !exemplar_take(from, &slowest)) ||
                        ((h->flags & POINT_FAILED) != 0 && !exemplar_take(from, &failed))))
        e = ERR_CORRUPT;
    if (e == ERR_OK && p != NULL) {
        if (tally_is_slower(&slowest, &p->slowest))
            p->slowest = slowest;
        if (tally_is_later(&failed, &p->failed))
            p->failed = failed;
    }
    return e;
}

static bool is_wanted(const struct tally_filter *f, uint64_t start)
{
    return start >= f->min_unix_ns && start < f->end_unix_ns &&
           (start < f->hole_unix_ns || start >= f->hole_end_unix_ns);
}

static enum err points_add(struct tally *t, const struct tally_filter *f, struct bytes key,
                           struct bytes points, uint64_t step, uint8_t format)
{
    uint32_t series = UINT32_MAX;
    uint64_t at = 0;
    while (points.len > 0) {
        struct point_head head;
        if (!head_take(&points, &head) || head.steps > UINT64_MAX / step - at)
            return ERR_CORRUPT;
        at += head.steps;
        uint64_t start = at * step;
        struct tally_point *p = NULL;
        enum err e = ERR_OK;
        if (is_wanted(f, start)) {
            if (series == UINT32_MAX)
                e = tally_series(t, key, &series);
            if (e == ERR_OK)
                e = tally_at(t, series, start, &p);
            if (e == ERR_OK)
                head_add(p, &head);
        }
        if (e == ERR_OK)
            e = rest_take(&points, &head, p, f->skips_durations, format);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Keys are put together in `key`, each from the one before. */
static enum err series_add(struct tally *t, const struct tally_filter *f, struct bytes *at,
                           struct buffer *key, uint64_t step, uint8_t format)
{
    uint64_t shared = 0;
    struct bytes rest, points, counted;
    if (!varint_take(at, &shared) || shared > key->len || !varint_take_bytes(at, &rest) ||
        !varint_take_bytes(at, &points))
        return ERR_CORRUPT;
    key->len = (size_t)shared;
    buffer_append_bytes(key, rest);
    enum err e = buffer_error(key);
    if (e != ERR_OK)
        return e;
    counted = buffer_bytes(key);
    if (f->map != NULL && !f->map(f->context, counted, &counted))
        return ERR_OK;
    return points_add(t, f, counted, points, step, format);
}

/* What is before the first key. *out_at: the keys. */
static enum err stored_open(struct bytes stored, uint8_t format, struct bytes *out_at,
                            uint64_t *out_minutes, uint64_t *out_keys)
{
    size_t sum_len = format == TALLY_PACKED ? 0 : 8;
    if (stored.len < 1 + sum_len || stored.data[0] != format)
        return ERR_CORRUPT;
    struct bytes content = bytes_slice(stored, 0, stored.len - sum_len);
    if (sum_len > 0 && load_le64(stored.data + content.len) != hash_bytes(content))
        return ERR_CORRUPT;
    *out_at = bytes_slice(content, 1, SIZE_MAX);
    return varint_take(out_at, out_minutes) && varint_take(out_at, out_keys) &&
                   *out_minutes <= UINT64_MAX / TALLY_MINUTE_NS
               ? ERR_OK
               : ERR_CORRUPT;
}

static enum err add(struct tally *t, struct bytes stored, const struct tally_filter *filter,
                    uint8_t format)
{
    static const struct tally_filter all = { .end_unix_ns = UINT64_MAX };
    const struct tally_filter *f = filter == NULL ? &all : filter;
    struct bytes at;
    uint64_t minutes = 0, count = 0;
    enum err e = stored_open(stored, format, &at, &minutes, &count);
    if (e != ERR_OK)
        return e;
    uint64_t step = minutes == 0 ? 1 : minutes * TALLY_MINUTE_NS;
    struct buffer key;
    buffer_init(&key, stored.len + 64);
    for (uint64_t i = 0; i < count && e == ERR_OK; i++)
        e = series_add(t, f, &at, &key, step, format);
    if (e == ERR_OK && at.len > 0)
        e = ERR_CORRUPT;
    buffer_deinit(&key);
    return e;
}

enum err tally_add_stored(struct tally *t, struct bytes stored, const struct tally_filter *filter)
{
    return add(t, stored, filter, TALLY_FORMAT);
}

enum err tally_add_packed(struct tally *t, struct bytes packed)
{
    return add(t, packed, NULL, TALLY_PACKED);
}

/* ---- Merging --------------------------------------------------------------------------------- */

/* Where one of several is read: at a point of a key. */
struct tally_cursor {
    struct bytes at;     /* behind the points of the key */
    struct buffer key;   /* put together from the one before */
    struct bytes points; /* of the key, behind the head of the one at hand */
    uint64_t keys_left;
    uint64_t step_ns, steps; /* of the point at hand, since 1970 */
    struct point_head head;
    bool has_key, has_point;
};

static enum err cursor_point_next(struct tally_cursor *c)
{
    c->has_point = c->points.len > 0;
    if (!c->has_point)
        return ERR_OK;
    if (!head_take(&c->points, &c->head) || c->head.steps > UINT64_MAX / c->step_ns - c->steps)
        return ERR_CORRUPT;
    c->steps += c->head.steps;
    return ERR_OK;
}

static enum err cursor_key_next(struct tally_cursor *c)
{
    uint64_t shared = 0;
    struct bytes rest;
    c->has_key = c->has_point = false;
    if (c->keys_left == 0)
        return c->at.len > 0 ? ERR_CORRUPT : ERR_OK;
    c->keys_left--;
    if (!varint_take(&c->at, &shared) || shared > c->key.len || !varint_take_bytes(&c->at, &rest) ||
        !varint_take_bytes(&c->at, &c->points))
        return ERR_CORRUPT;
    /* Each key comes after the one before, or what is merged would not be in order. */
    if (c->key.len > 0 &&
        (rest.len == 0 || (shared < c->key.len && rest.data[0] <= c->key.data[(size_t)shared])))
        return ERR_CORRUPT;
    c->key.len = (size_t)shared;
    buffer_append_bytes(&c->key, rest);
    c->steps = 0;
    c->has_key = true;
    enum err e = buffer_error(&c->key);
    return e == ERR_OK ? cursor_point_next(c) : e;
}

static enum err cursor_open(struct tally_cursor *c, struct bytes stored, uint64_t step_ns)
{
    uint64_t minutes = 0;
    buffer_init(&c->key, stored.len + 64);
    enum err e = stored_open(stored, TALLY_FORMAT, &c->at, &minutes, &c->keys_left);
    if (e != ERR_OK)
        return e;
    c->step_ns = minutes * TALLY_MINUTE_NS;
    return minutes == 0 || step_ns % c->step_ns != 0 ? ERR_CORRUPT : cursor_key_next(c);
}

struct tally_merger {
    struct tally_cursor cursors[TALLY_MERGE_MAX];
    size_t count, bad; /* bad: which one could not be read */
    uint64_t step_ns;
    struct tally_cursor *same[TALLY_MERGE_MAX]; /* those at the smallest key */
    size_t same_count;
    struct arena arena; /* of one point */
    struct buffer keys, points;
};

static enum err cursor_failed(struct tally_merger *m, const struct tally_cursor *c, enum err e)
{
    m->bad = e == ERR_CORRUPT ? (size_t)(c - m->cursors) : m->bad;
    return e;
}

static void same_find(struct tally_merger *m)
{
    m->same_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct tally_cursor *c = &m->cursors[i];
        if (!c->has_key)
            continue;
        int order = m->same_count == 0
                        ? -1
                        : bytes_compare(buffer_bytes(&c->key), buffer_bytes(&m->same[0]->key));
        if (order < 0)
            m->same_count = 0;
        if (order <= 0)
            m->same[m->same_count++] = c;
    }
}

/* The sum of what lies in a step, put behind the others of its key. */
static enum err step_merge(struct tally_merger *m, uint64_t step, uint64_t steps_before)
{
    struct tally_point p = { 0 };
    enum err e = ERR_OK;
    arena_reset(&m->arena);
    histogram_init(&p.first, &m->arena);
    histogram_init(&p.second, &m->arena);
    for (size_t i = 0; i < m->same_count && e == ERR_OK; i++) {
        struct tally_cursor *c = m->same[i];
        while (c->has_point && c->steps * c->step_ns / m->step_ns == step && e == ERR_OK) {
            head_add(&p, &c->head);
            e = rest_take(&c->points, &c->head, &p, false, TALLY_FORMAT);
            if (e == ERR_OK)
                e = cursor_point_next(c);
        }
        if (e != ERR_OK)
            return cursor_failed(m, c, e);
    }
    return point_put(&m->points, NULL, &p, step - steps_before, TALLY_FORMAT);
}

static bool step_next(const struct tally_merger *m, uint64_t *out)
{
    *out = UINT64_MAX;
    for (size_t i = 0; i < m->same_count; i++) {
        const struct tally_cursor *c = m->same[i];
        uint64_t step = c->has_point ? c->steps * c->step_ns / m->step_ns : UINT64_MAX;
        *out = step < *out ? step : *out;
    }
    return *out != UINT64_MAX;
}

/* Points of one key are in order of time; a coarser step that follows the same one is not another. */
static enum err key_merge(struct tally_merger *m, struct tally_merged *merged)
{
    static const uint64_t coarser[] = { TALLY_HOUR_NS, TALLY_DAY_NS };
    uint64_t *counts[] = { &merged->hours, &merged->days }, last[] = { UINT64_MAX, UINT64_MAX };
    uint64_t step = 0, before = 0;
    enum err e = ERR_OK;
    buffer_reset(&m->points);
    while (e == ERR_OK && step_next(m, &step)) {
        uint64_t start = step * m->step_ns;
        e = step_merge(m, step, before);
        before = step;
        merged->points++;
        for (unsigned i = 0; i < 2; i++) {
            *counts[i] += start / coarser[i] != last[i];
            last[i] = start / coarser[i];
        }
        struct tally_span *span = &merged->span;
        span->min_unix_ns = start < span->min_unix_ns ? start : span->min_unix_ns;
        span->max_unix_ns = start > span->max_unix_ns ? start : span->max_unix_ns;
    }
    return e;
}

static enum err keys_merge(struct tally_merger *m, uint64_t *out_keys, struct tally_merged *merged)
{
    struct buffer before;
    enum err e = ERR_OK;
    buffer_init(&before, m->keys.limit_bytes);
    for (same_find(m); m->same_count > 0 && e == ERR_OK; same_find(m)) {
        struct bytes key = buffer_bytes(&m->same[0]->key);
        e = key_merge(m, merged);
        if (e == ERR_OK && m->points.len > 0) {
            key_put(&m->keys, buffer_bytes(&before), key);
            varint_put_bytes(&m->keys, buffer_bytes(&m->points));
            buffer_reset(&before);
            buffer_append_bytes(&before, key);
            ++*out_keys;
        }
        for (size_t i = 0; i < m->same_count && e == ERR_OK; i++) {
            e = cursor_key_next(m->same[i]);
            if (e != ERR_OK)
                e = cursor_failed(m, m->same[i], e);
        }
        if (e == ERR_OK)
            e = buffer_error(&m->keys) != ERR_OK ? buffer_error(&m->keys) : buffer_error(&before);
    }
    buffer_deinit(&before);
    return e;
}

enum err tally_merge(const struct bytes *stored, size_t count, uint64_t step_ns,
                     struct budget *budget, struct buffer *out, struct tally_merged *merged)
{
    assert(count <= TALLY_MERGE_MAX && step_ns > 0 && step_ns % TALLY_MINUTE_NS == 0);
    struct tally_merger *m = mem_zalloc(sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    uint64_t keys = 0;
    enum err e = ERR_OK;
    m->count = count;
    m->bad = SIZE_MAX;
    m->step_ns = step_ns;
    arena_init(&m->arena, POINT_BYTES_MAX, budget);
    m->arena.keep_bytes = POINT_BYTES_KEPT;
    buffer_init(&m->keys, out->limit_bytes);
    buffer_init(&m->points, out->limit_bytes);
    *merged = (struct tally_merged){ .span.min_unix_ns = UINT64_MAX };
    for (size_t i = 0; i < count && e == ERR_OK; i++)
        e = cursor_failed(m, &m->cursors[i], cursor_open(&m->cursors[i], stored[i], step_ns));
    if (e == ERR_OK)
        e = keys_merge(m, &keys, merged);
    if (e == ERR_OK) {
        size_t mark = out->len;
        head_put(out, TALLY_FORMAT, step_ns, keys);
        buffer_append_bytes(out, buffer_bytes(&m->keys));
        e = sum_put(out, mark);
    }
    merged->bad = m->bad;
    if (merged->points == 0)
        merged->span.min_unix_ns = 0;
    for (size_t i = 0; i < count; i++)
        buffer_deinit(&m->cursors[i].key);
    buffer_deinit(&m->keys);
    buffer_deinit(&m->points);
    arena_deinit(&m->arena);
    mem_free(m);
    return e;
}
