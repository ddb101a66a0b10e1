/* SPDX-License-Identifier: Apache-2.0 */
/* tally_stored.c - the stored form of a tally.
 *
 *   version (1 byte), step in minutes, number of keys; then for each key, in order of bytes:
 *     bytes shared with the key before, bytes that follow (length first), length of its points, points:
 *       a point   steps since the point before (the first: since 1970), calls, errors, flags, bytes,
 *                 where flagged: both estimates; the histogram; where flagged: the second; exemplars
 *       exemplar  24 bytes of IDs, start, duration
 *   XXH3 of all before, 8 bytes.
 *
 * All numbers but the first and the last are varints. */
#include "storage/derive/tally.h"

#include "base/hash.h"
#include "base/mem.h"
#include "storage/derive/varint.h"

#define TALLY_FORMAT 1

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
    buffer_append(out, x->trace_id.b, sizeof x->trace_id.b);
    buffer_append(out, x->span_id.b, sizeof x->span_id.b);
    varint_put(out, x->start_unix_ns);
    varint_put(out, x->duration_ns);
}

static uint64_t whole(uint64_t count)
{
    return count > UINT64_MAX / TALLY_ONE ? UINT64_MAX : count * TALLY_ONE;
}

static enum err point_put(struct buffer *out, struct histogram_scatter *s, struct tally_point *p,
                          uint64_t steps)
{
    bool is_estimated =
        p->estimated_calls != whole(p->calls) || p->estimated_errors != whole(p->errors);
    unsigned flags =
        (is_estimated ? POINT_ESTIMATED : 0u) | (p->second.count > 0 ? POINT_SECOND : 0u) |
        (p->slowest.is_set ? POINT_SLOWEST : 0u) | (p->failed.is_set ? POINT_FAILED : 0u);
    varint_put(out, steps);
    varint_put(out, p->calls);
    varint_put(out, p->errors);
    buffer_append_byte(out, (uint8_t)flags);
    varint_put(out, p->bytes);
    if (is_estimated) {
        varint_put(out, p->estimated_calls);
        varint_put(out, p->estimated_errors);
    }
    enum err e = tally_histogram_encode(&p->first, &p->first_values, s, out);
    if (e == ERR_OK && p->second.count > 0)
        e = tally_histogram_encode(&p->second, &p->second_values, s, out);
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
    size_t shared = 0;
    while (shared < before.len && shared < key.len && before.data[shared] == key.data[shared])
        shared++;
    varint_put(out, shared);
    varint_put_bytes(out, bytes_slice(key, shared, SIZE_MAX));
}

enum err tally_encode(struct tally *t, struct buffer *out, struct tally_span *out_span)
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
    buffer_append_byte(out, TALLY_FORMAT);
    varint_put(out, t->step_ns / TALLY_MINUTE_NS);
    varint_put(out, filled);
    uint64_t step = t->step_ns == 0 ? 1 : t->step_ns;
    struct bytes before = { 0 };
    for (uint32_t i = 0; i < t->points_count && e == ERR_OK;) {
        struct bytes key = tally_key(t, points[i]->series);
        uint32_t begin = i;
        uint64_t at = 0;
        buffer_reset(&one);
        for (; i < t->points_count && points[i]->series == points[begin]->series && e == ERR_OK;
             i++) {
            uint64_t start = points[i]->start_unix_ns;
            e = point_put(&one, scatter, points[i], start / step - at);
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
    uint8_t sum[8];
    if (e == ERR_OK)
        e = buffer_error(out);
    if (e != ERR_OK)
        return e;
    store_le64(sum, hash_bytes(bytes_of(out->data + mark, out->len - mark)));
    buffer_append(out, sum, sizeof sum);
    *out_span = span;
    return buffer_error(out);
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

static enum err histogram_take(struct bytes *from, struct histogram *into, bool skips)
{
    return skips ? histogram_skip(from) : histogram_decode_add(from, into);
}

/* The rest of a point, into p; NULL passes over it. */
static enum err rest_take(struct bytes *from, const struct point_head *h, struct tally_point *p,
                          bool skips)
{
    bool skips_both = skips || p == NULL;
    enum err e = histogram_take(from, p == NULL ? NULL : &p->first, skips_both);
    if (e == ERR_OK && (h->flags & POINT_SECOND) != 0)
        e = histogram_take(from, p == NULL ? NULL : &p->second, skips_both);
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
                           struct bytes points, uint64_t step)
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
            e = rest_take(&points, &head, p, f->skips_durations);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Keys are put together in `key`, each from the one before. */
static enum err series_add(struct tally *t, const struct tally_filter *f, struct bytes *at,
                           struct buffer *key, uint64_t step)
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
    return points_add(t, f, counted, points, step);
}

enum err tally_add_stored(struct tally *t, struct bytes stored, const struct tally_filter *filter)
{
    static const struct tally_filter all = { .end_unix_ns = UINT64_MAX };
    const struct tally_filter *f = filter == NULL ? &all : filter;
    if (stored.len < 9 || stored.data[0] != TALLY_FORMAT ||
        load_le64(stored.data + stored.len - 8) !=
            hash_bytes(bytes_slice(stored, 0, stored.len - 8)))
        return ERR_CORRUPT;
    struct bytes at = bytes_slice(stored, 1, stored.len - 9);
    uint64_t minutes = 0, count = 0;
    if (!varint_take(&at, &minutes) || !varint_take(&at, &count) ||
        minutes > UINT64_MAX / TALLY_MINUTE_NS)
        return ERR_CORRUPT;
    uint64_t step = minutes == 0 ? 1 : minutes * TALLY_MINUTE_NS;
    struct buffer key;
    buffer_init(&key, stored.len + 64);
    enum err e = ERR_OK;
    for (uint64_t i = 0; i < count && e == ERR_OK; i++)
        e = series_add(t, f, &at, &key, step);
    if (e == ERR_OK && at.len > 0)
        e = ERR_CORRUPT;
    buffer_deinit(&key);
    return e;
}
