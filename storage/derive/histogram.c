/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/histogram.h"

#include "base/shelf.h"
#include "storage/derive/varint.h"

#include <assert.h>
#include <math.h>

#define WINDOW_STEP  8u /* the window begins at multiples of this many buckets */
#define WINDOW_SLACK 48u
#define WINDOW_MAX   4352u /* 64-bit values have 4,096 buckets and one below: more is damage */

const struct histogram_table histogram_table = { .bounds = {
    0x8000000000000000, 0x8164D1F3BC030773, 0x82CD8698AC2BA1D7, 0x843A28C3ACDE4046,
    0x85AAC367CC487B14, 0x871F61969E8D1010, 0x88980E8092DA8527, 0x8A14D575496EFD9A,
    0x8B95C1E3EA8BD6E6, 0x8D1ADF5B7E5BA9E5, 0x8EA4398B45CD53C0, 0x9031DC431466B1DC,
    0x91C3D373AB11C336, 0x935A2B2F13E6E92B, 0x94F4EFA8FEF70961, 0x96942D3720185A00,
    0x9837F0518DB8A96F, 0x99E0459320B7FA64, 0x9B8D39B9D54E5538, 0x9D3ED9A72CFFB750,
    0x9EF5326091A111AD, 0xA0B0510FB9714FC2, 0xA27043030C496818, 0xA43515AE09E6809E,
    0xA5FED6A9B15138EA, 0xA7CD93B4E9653569, 0xA9A15AB4EA7C0EF8, 0xAB7A39B5A93ED337,
    0xAD583EEA42A14AC6, 0xAF3B78AD690A4374, 0xB123F581D2AC258F, 0xB311C412A9112489,
    0xB504F333F9DE6484, 0xB6FD91E328D17791, 0xB8FBAF4762FB9EE9, 0xBAFF5AB2133E45FB,
    0xBD08A39F580C36BE, 0xBF1799B67A731082, 0xC12C4CCA66709456, 0xC346CCDA24976407,
    0xC5672A115506DADD, 0xC78D74C8ABB9B15C, 0xC9B9BD866E2F27A2, 0xCBEC14FEF2727C5C,
    0xCE248C151F8480E3, 0xD06333DAEF2B2594, 0xD2A81D91F12AE45A, 0xD4F35AABCFEDFA1F,
    0xD744FCCAD69D6AF4, 0xD99D15C278AFD7B5, 0xDBFBB797DAF23755, 0xDE60F4825E0E9123,
    0xE0CCDEEC2A94E111, 0xE33F8972BE8A5A51, 0xE5B906E77C8348A8, 0xE8396A503C4BDC68,
    0xEAC0C6E7DD24392E, 0xED4F301ED9942B84, 0xEFE4B99BDCDAF5CB, 0xF281773C59FFB139,
    0xF5257D152486CC2C, 0xF7D0DF730AD13BB8, 0xFA83B2DB722A033A, 0xFD3E0C0CF486C174,
    UINT64_MAX,
}, .below = {
    0,  1,  2,  3,  3,  4,  5,  5,  6,  7,  7,  8,  9,  9,  10, 11, 11, 12, 13, 13, 14, 15,
    15, 16, 16, 17, 18, 18, 19, 19, 20, 21, 21, 22, 22, 23, 23, 24, 25, 25, 26, 26, 27, 27,
    28, 28, 29, 29, 30, 30, 31, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 36, 37, 37, 38, 38,
    39, 39, 40, 40, 41, 41, 42, 42, 43, 43, 44, 44, 44, 45, 45, 46, 46, 47, 47, 48, 48, 48,
    49, 49, 50, 50, 51, 51, 51, 52, 52, 53, 53, 53, 54, 54, 55, 55, 55, 56, 56, 57, 57, 57,
    58, 58, 59, 59, 59, 60, 60, 60, 61, 61, 62, 62, 62, 63, 63, 63, 64, 64,
} };

int32_t histogram_index(uint64_t value, int8_t scale)
{
    assert(value > 0 && scale <= HISTOGRAM_SCALE && scale >= -10);
    return histogram_bucket(value) >> (HISTOGRAM_SCALE - scale); /* arithmetic: -1 stays -1 */
}

double histogram_bound(int32_t index, int8_t scale)
{
    return exp2(ldexp((double)index, -scale));
}

/* ---- The window ------------------------------------------------------------------------------ */

void histogram_init(struct histogram *h, struct arena *arena)
{
    *h = (struct histogram){ .min = UINT64_MAX, .scale = HISTOGRAM_SCALE, .arena = arena };
}

void histogram_deinit(struct histogram *h)
{
    if (h->arena == NULL)
        shelf_free(h->counts);
    *h = (struct histogram){ .min = UINT64_MAX, .scale = HISTOGRAM_SCALE, .arena = h->arena };
}

static void count_set(void *counts, bool is_wide, uint32_t i, uint64_t v)
{
    if (is_wide)
        ((uint64_t *)counts)[i] = v;
    else
        ((uint32_t *)counts)[i] = (uint32_t)v;
}

/* Move the counts to a new window that covers [first, first + length). */
static enum err window_move(struct histogram *h, int32_t first, uint32_t length, bool is_wide)
{
    if (length > WINDOW_MAX)
        return ERR_CORRUPT;
    /* Those of the moment are moved seldom; those of the heap live long, and take what they need. */
    uint32_t capacity =
        h->arena != NULL && h->capacity * 2 > length && h->capacity * 2 <= WINDOW_MAX
            ? h->capacity * 2
            : length;
    size_t size = is_wide ? sizeof(uint64_t) : sizeof(uint32_t);
    void *counts = h->arena != NULL ? arena_alloc_array(h->arena, capacity, size)
                                    : shelf_zalloc(capacity * size);
    if (counts == NULL)
        return h->arena != NULL ? arena_failure(h->arena) : ERR_NOMEM;
    uint32_t shift = (uint32_t)(h->first - first);
    if (is_wide == h->is_wide && h->length > 0)
        memcpy((uint8_t *)counts + shift * size, h->counts, h->length * size);
    for (uint32_t i = 0; is_wide != h->is_wide && i < h->length; i++)
        count_set(counts, is_wide, shift + i, histogram_at(h, i));
    if (h->arena == NULL)
        shelf_free(h->counts);
    h->counts = counts;
    h->first = first;
    h->length = length;
    h->capacity = capacity;
    h->is_wide = is_wide;
    return ERR_OK;
}

/* Make the window cover buckets [from, to], and where it grows so many more. */
static enum err cover(struct histogram *h, int32_t from, int32_t to, int32_t slack)
{
    int32_t end = h->first + (int32_t)h->length;
    if (h->length != 0 && from >= h->first && to < end)
        return ERR_OK;
    int32_t first = from & ~(int32_t)(WINDOW_STEP - 1);
    int32_t last = to | (int32_t)(WINDOW_STEP - 1);
    if (h->length != 0 && h->first < first)
        first = h->first;
    if (h->length != 0 && end - 1 > last)
        last = end - 1;
    if (last - first >= (int32_t)WINDOW_MAX)
        return ERR_CORRUPT;
    if (last - first + 2 * slack < (int32_t)WINDOW_MAX) {
        first = h->length == 0 || from < h->first ? first - slack : first;
        last = h->length == 0 || to >= end ? last + slack : last;
    }
    uint32_t length = (uint32_t)(last - first + 1);
    if (h->length != 0 && first == h->first && length <= h->capacity) {
        h->length = length; /* zeroed when it was made */
        return ERR_OK;
    }
    return window_move(h, first, length, h->is_wide);
}

enum err histogram_cover(struct histogram *h, int32_t from, int32_t to)
{
    return cover(h, from, to, 0);
}

/* A histogram of the moment is widened with room to spare, so that it is moved seldom. */
static enum err cover_growing(struct histogram *h, int32_t from, int32_t to)
{
    return cover(h, from, to, h->arena != NULL ? (int32_t)WINDOW_SLACK : 0);
}

enum err histogram_bucket_add(struct histogram *h, int32_t index, uint64_t times)
{
    enum err e = cover_growing(h, index, index);
    if (e != ERR_OK)
        return e;
    uint32_t i = (uint32_t)(index - h->first);
    uint64_t now = histogram_at(h, i);
    if (!h->is_wide && times > UINT32_MAX - now) {
        e = window_move(h, h->first, h->length, true);
        if (e != ERR_OK)
            return e;
    }
    count_set(h->counts, h->is_wide, i, now > UINT64_MAX - times ? UINT64_MAX : now + times);
    return ERR_OK;
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

static void stats_add(struct histogram *h, uint64_t value, uint64_t times)
{
    uint64_t product;
    if (__builtin_mul_overflow(value, times, &product))
        product = UINT64_MAX;
    h->count = add_saturating(h->count, times);
    h->sum = add_saturating(h->sum, product);
    h->min = value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
}

enum err histogram_record(struct histogram *h, uint64_t value, uint64_t times)
{
    if (value == 0) {
        h->zero_count = add_saturating(h->zero_count, times);
    } else {
        int32_t index = histogram_index(value, h->scale);
        uint32_t i = (uint32_t)(index - h->first);
        if (!h->is_wide && i < h->length && ((uint32_t *)h->counts)[i] <= UINT32_MAX - times &&
            times <= UINT32_MAX) {
            ((uint32_t *)h->counts)[i] += (uint32_t)times;
        } else {
            enum err e = histogram_bucket_add(h, index, times);
            if (e != ERR_OK)
                return e;
        }
    }
    stats_add(h, value, times);
    return ERR_OK;
}

enum err histogram_downscale(struct histogram *h, int8_t scale)
{
    assert(scale >= -10);
    int shift = h->scale - scale;
    if (shift <= 0 || h->length == 0) {
        h->scale = shift > 0 ? scale : h->scale;
        return ERR_OK;
    }
    struct histogram to;
    histogram_init(&to, h->arena);
    to.scale = scale;
    int32_t last = h->first + (int32_t)h->length - 1;
    enum err e = histogram_cover(&to, h->first >> shift, last >> shift);
    for (uint32_t i = 0; e == ERR_OK && i < h->length; i++)
        if (histogram_at(h, i) != 0)
            e = histogram_bucket_add(&to, (h->first + (int32_t)i) >> shift, histogram_at(h, i));
    if (e != ERR_OK) {
        histogram_deinit(&to);
        return e;
    }
    to.count = h->count;
    to.zero_count = h->zero_count;
    to.sum = h->sum;
    to.min = h->min;
    to.max = h->max;
    histogram_deinit(h);
    *h = to;
    return ERR_OK;
}

static void facts_add(struct histogram *into, uint64_t count, uint64_t zero_count, uint64_t sum,
                      uint64_t min, uint64_t max)
{
    into->count = add_saturating(into->count, count);
    into->zero_count = add_saturating(into->zero_count, zero_count);
    into->sum = add_saturating(into->sum, sum);
    into->min = min < into->min ? min : into->min;
    into->max = max > into->max ? max : into->max;
}

/* The first filled bucket of the window from i on; h->length when there is none. Most buckets are empty. */
static uint32_t filled_from(const struct histogram *h, uint32_t i)
{
    const uint8_t *counts = h->counts;
    while (!h->is_wide && h->length - i >= 4 &&
           (load_le64(counts + 4 * (size_t)i) | load_le64(counts + 4 * (size_t)i + 8)) == 0)
        i += 4;
    while (i < h->length && histogram_at(h, i) == 0)
        i++;
    return i;
}

/* What the window covers already, where no sum of counts exceeds 32 bits: nearly all, at once. */
static void narrow_add(struct histogram *into, const struct histogram *from, int shift)
{
    const uint32_t *counts = from->counts;
    uint32_t *sums = into->counts;
    for (uint32_t i = filled_from(from, 0); i < from->length; i = filled_from(from, i + 1))
        sums[((from->first + (int32_t)i) >> shift) - into->first] += counts[i];
}

enum err histogram_merge(struct histogram *into, const struct histogram *from)
{
    enum err e = ERR_OK;
    if (from->count == 0)
        return ERR_OK;
    if (into->scale > from->scale)
        e = histogram_downscale(into, from->scale);
    int shift = from->scale - into->scale;
    if (e == ERR_OK &&
        from->length != 0) { /* all the memory first, so that a failure changes nothing */
        e = cover_growing(into, from->first >> shift,
                          (from->first + (int32_t)from->length - 1) >> shift);
        if (e == ERR_OK && !into->is_wide &&
            (from->is_wide || add_saturating(from->count, into->count) > UINT32_MAX))
            e = window_move(into, into->first, into->length, true);
    }
    if (e == ERR_OK && !into->is_wide && !from->is_wide)
        narrow_add(into, from, shift);
    else
        for (uint32_t i = 0; e == ERR_OK && i < from->length; i++)
            if (histogram_at(from, i) != 0)
                e = histogram_bucket_add(into, (from->first + (int32_t)i) >> shift,
                                         histogram_at(from, i));
    if (e == ERR_OK)
        facts_add(into, from->count, from->zero_count, from->sum, from->min, from->max);
    return e;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* 2 * low * high / (low + high). At the recorded scale both come from the table of bounds: exp2() of each costs as much
 * as finding the bucket. */
double histogram_middle(int32_t index, int8_t scale)
{
    if (scale == HISTOGRAM_SCALE) {
        static const double ratio = 1.0054151594159026; /* 2r / (1 + r), r = 2^(1/64) */
        return ldexp((double)histogram_table.bounds[index & 63] * ratio, (index >> 6) - 63);
    }
    double low = histogram_bound(index, scale), high = histogram_bound(index + 1, scale);
    return 2 * low * high / (low + high);
}

enum { BLOCK = 16 };
static uint64_t block_sum(const uint32_t *counts)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        sum += counts[i];
    return sum;
}

/* From bucket `at` on, before which there are *seen values: the bucket that has the one of this rank; the length when
 * there is none. *seen: values before it. */
static uint32_t bucket_of_rank(const struct histogram *h, uint32_t at, uint64_t rank,
                               uint64_t *seen)
{
    const uint32_t *counts = h->counts;
    while (!h->is_wide && h->length - at >= BLOCK) {
        uint64_t sum = block_sum(counts + at);
        if (*seen + sum >= rank)
            break;
        *seen += sum;
        at += BLOCK;
    }
    for (; at < h->length; at++) {
        uint64_t n = histogram_at(h, at);
        if (*seen + n >= rank)
            break;
        *seen += n;
    }
    return at;
}

void histogram_quantiles(const struct histogram *h, const double *quantiles, size_t count,
                         double *out)
{
    uint64_t seen = h->zero_count;
    uint32_t at = 0;
    for (size_t k = 0; k < count; k++) {
        double wanted = ceil(quantiles[k] * (double)h->count);
        if (h->count == 0 || !(wanted > 1)) {
            out[k] = h->count == 0 ? 0 : (double)h->min;
            continue;
        }
        if (wanted >= (double)h->count) {
            out[k] = (double)h->max;
            continue;
        }
        uint64_t rank = (uint64_t)wanted;
        if (h->zero_count >= rank) {
            out[k] = 0;
            continue;
        }
        at = bucket_of_rank(h, at, rank, &seen);
        double middle =
            at == h->length ? (double)h->max : histogram_middle(h->first + (int32_t)at, h->scale);
        middle = middle < (double)h->min ? (double)h->min : middle;
        out[k] = middle > (double)h->max ? (double)h->max : middle;
    }
}

double histogram_quantile(const struct histogram *h, double q)
{
    double out;
    histogram_quantiles(h, &q, 1, &out);
    return out;
}

void histogram_cumulate(const struct histogram *h, const double *limits, size_t limits_count,
                        uint64_t *out)
{
    uint64_t seen = h->zero_count;
    uint32_t i = 0;
    for (size_t k = 0; k < limits_count; k++) {
        /* The first bucket whose middle is over the limit is found by its index, not by walking: a limit
         * lies in one bucket, and that one's middle decides. */
        for (; i < h->length; i++) {
            if (histogram_at(h, i) == 0)
                continue;
            if (histogram_middle(h->first + (int32_t)i, h->scale) > limits[k])
                break;
            seen += histogram_at(h, i);
        }
        out[k] = limits[k] < 0 ? 0 : seen;
    }
}

/* ---- Compact form ---------------------------------------------------------------------------- */

static inline bool get_varint(struct bytes *in, uint64_t *out)
{
    uint64_t v = 0;
    if (in->len > 0 && in->data[0] < 0x80) { /* nearly all */
        *out = in->data[0];
        *in = bytes_of(in->data + 1, in->len - 1);
        return true;
    }
    for (unsigned i = 0; i < 10 && i < in->len; i++) {
        v |= (uint64_t)(in->data[i] & 0x7F) << (7 * i);
        if (in->data[i] >= 0x80)
            continue;
        *in = bytes_slice(*in, i + 1, SIZE_MAX);
        *out = v;
        return true;
    }
    return false;
}

static uint64_t zigzag32(int32_t v)
{
    return (uint64_t)(((uint32_t)v << 1) ^ (uint32_t)(v >> 31));
}

static int32_t unzigzag32(uint64_t v)
{
    return (int32_t)((uint32_t)v >> 1 ^ (0 - ((uint32_t)v & 1)));
}

/* Returns where it ends; at most three numbers are written for a bucket. */
static uint8_t *buckets_put(const struct histogram *h, uint8_t *p)
{
    int32_t next = 0; /* index after the last one written */
    bool is_first = true;
    for (uint32_t i = filled_from(h, 0); i < h->length; i = filled_from(h, i)) {
        uint32_t end = i;
        while (end < h->length && histogram_at(h, end) != 0)
            end++;
        int32_t index = h->first + (int32_t)i;
        p = varint_at(p, is_first ? zigzag32(index) : (uint64_t)(uint32_t)(index - next));
        p = varint_at(p, end - i);
        for (; i < end; i++)
            p = varint_at(p, histogram_at(h, i));
        next = h->first + (int32_t)end;
        is_first = false;
    }
    return p;
}

/* One bucket more in the run whose length stands at `length`; returns where what is written ends. */
static inline uint8_t *run_longer(uint8_t *length, uint32_t run, uint8_t *p)
{
    if (run < 0x80) {
        *length = (uint8_t)run;
        return p;
    }
    if (run == 0x80) /* it takes a second byte */
        memmove(length + 2, length + 1, (size_t)(p++ - length - 1));
    length[0] = (uint8_t)(run | 0x80);
    length[1] = (uint8_t)(run >> 7);
    return p;
}

/* As buckets_put(), of the marked buckets in words [from, to], and forgets them. Most runs have one bucket: so their
 * length is written with the first, and counted up. */
static uint8_t *scatter_put(struct histogram_scatter *s, uint32_t from, uint32_t to, uint8_t *p)
{
    uint32_t next = UINT32_MAX, run = 0;
    uint8_t *length = NULL;
    for (uint32_t word = from; word <= to; word++) {
        for (uint64_t left = s->marks[word]; left != 0; left &= left - 1) {
            uint32_t bucket = word * 64 + (uint32_t)__builtin_ctzll(left);
            uint32_t count = s->counts[bucket];
            s->counts[bucket] = 0;
            if (bucket == next) {
                p = run_longer(length, ++run, p);
            } else {
                p = varint_at(p, run == 0 ? zigzag32((int32_t)bucket - 1) : bucket - next);
                length = p++;
                *length = 1;
                run = 1;
            }
            p = varint_at(p, count);
            next = bucket + 1;
        }
        s->marks[word] = 0;
    }
    return p;
}

static uint8_t *facts_put(const struct histogram *h, uint8_t *p)
{
    p = varint_at(p, zigzag32(h->scale));
    p = varint_at(p, h->zero_count);
    p = varint_at(p, h->sum);
    p = varint_at(p, h->min);
    return varint_at(p, h->max - h->min);
}

/* The length of what follows `mark`, where one byte was left for it. */
static void length_put(struct buffer *out, size_t mark)
{
    if (out->error != ERR_OK)
        return;
    size_t len = out->len - mark - 1;
    size_t extra = len < 0x80 ? 0 : len < 0x4000 ? 1 : 2;
    assert(len < 0x200000);
    if (extra > 0) {
        if (buffer_reserve(out, extra) == NULL)
            return;
        buffer_grew(out, extra);
        memmove(out->data + mark + 1 + extra, out->data + mark + 1, len);
    }
    for (size_t i = 0; i <= extra; i++)
        out->data[mark + i] = (uint8_t)((len >> (7 * i) & 0x7F) | (i < extra ? 0x80 : 0));
}

void histogram_encode(const struct histogram *h, struct buffer *out)
{
    size_t mark = out->len;
    buffer_append_byte(out, 0); /* the length, when it fits one byte */
    if (h->count > 0) {
        uint8_t *begin = buffer_reserve(out, (5 + 3 * (size_t)h->length) * VARINT_BYTES_MAX);
        if (begin == NULL)
            return;
        buffer_grew(out, (size_t)(buckets_put(h, facts_put(h, begin)) - begin));
    }
    length_put(out, mark);
}

void histogram_scatter_encode(struct histogram_scatter *s, const struct histogram *facts,
                              struct buffer *out)
{
    assert(facts->max > 0 && facts->length == 0 && facts->scale == HISTOGRAM_SCALE);
    uint32_t high = (uint32_t)(histogram_bucket(facts->max) + 1);
    uint32_t low = facts->min == 0 ? 0 : (uint32_t)(histogram_bucket(facts->min) + 1);
    size_t width = high - low + 1;
    size_t filled = facts->count < width ? (size_t)facts->count : width;
    size_t mark = out->len;
    buffer_append_byte(out, 0);
    uint8_t *begin = buffer_reserve(out, (5 + 3 * filled) * VARINT_BYTES_MAX);
    if (begin == NULL)
        return;
    uint8_t *end = scatter_put(s, low / 64, high / 64, facts_put(facts, begin));
    buffer_grew(out, (size_t)(end - begin));
    length_put(out, mark);
}

static enum err body_take(struct bytes *bytes, struct bytes *out)
{
    uint64_t len;
    if (!get_varint(bytes, &len) || len > bytes->len)
        return ERR_CORRUPT;
    *out = bytes_slice(*bytes, 0, (size_t)len);
    *bytes = bytes_slice(*bytes, (size_t)len, SIZE_MAX);
    return ERR_OK;
}

enum err histogram_skip(struct bytes *bytes)
{
    struct bytes body;
    return body_take(bytes, &body);
}

/* Nearly always the window covers it, and the sum fits. */
static inline enum err bucket_sum(struct histogram *h, int32_t index, uint64_t times)
{
    uint32_t *counts = h->counts, at = (uint32_t)(index - h->first);
    if (h->is_wide || at >= h->length || times > UINT32_MAX - counts[at])
        return histogram_bucket_add(h, index, times);
    counts[at] += (uint32_t)times;
    return ERR_OK;
}

/* Of a run of buckets those, one after the other, whose counts are a byte each, in a window that covers them: nearly
 * all, and without asking for each. Returns how many, and moves past them. */
static uint32_t run_add(struct bytes *body, struct histogram *out, int32_t index, uint32_t run,
                        int shift, uint64_t *total)
{
    uint32_t at = (uint32_t)(index - out->first), done = 0;
    if (shift != 0 || out->is_wide || at >= out->length)
        return 0;
    uint32_t *counts = (uint32_t *)out->counts + at;
    uint32_t most = out->length - at < run ? out->length - at : run;
    most = body->len < most ? (uint32_t)body->len : most;
    for (; done < most && body->data[done] < 0x80 && counts[done] <= UINT32_MAX - 0x80; done++) {
        counts[done] += body->data[done];
        *total += body->data[done];
    }
    *body = bytes_of(body->data + done, body->len - done);
    return done;
}

static enum err buckets_add(struct bytes body, int shift, struct histogram *out,
                            uint64_t *out_count)
{
    int64_t next = 0;
    uint64_t total = 0;
    for (bool is_first = true; body.len > 0; is_first = false) {
        uint64_t gap, run, times;
        if (!get_varint(&body, &gap) || !get_varint(&body, &run) || gap > UINT32_MAX || run == 0 ||
            run > WINDOW_MAX)
            return ERR_CORRUPT;
        int64_t index = is_first ? unzigzag32(gap) : next + (int64_t)gap;
        if (index < -2048 || index + (int64_t)run > (int64_t)WINDOW_MAX)
            return ERR_CORRUPT;
        int64_t end = index + (int64_t)run;
        while (index < end) {
            index += (int64_t)run_add(&body, out, (int32_t)index, (uint32_t)(end - index), shift,
                                      &total);
            if (index == end)
                break;
            if (!get_varint(&body, &times))
                return ERR_CORRUPT;
            enum err e = bucket_sum(out, (int32_t)index >> shift, times);
            if (e != ERR_OK)
                return e;
            total = add_saturating(total, times);
            index++;
        }
        next = index;
    }
    *out_count = total;
    return ERR_OK;
}

enum err histogram_decode_add(struct bytes *bytes, struct histogram *out)
{
    struct bytes at = *bytes, body;
    uint64_t scale, zeros, sum, min, spread, total = 0;
    enum err e = body_take(&at, &body);
    if (e != ERR_OK)
        return e;
    if (body.len > 0) {
        if (!get_varint(&body, &scale) || !get_varint(&body, &zeros) || !get_varint(&body, &sum) ||
            !get_varint(&body, &min) || !get_varint(&body, &spread) || scale > 64 ||
            unzigzag32(scale) > HISTOGRAM_SCALE || unzigzag32(scale) < -10)
            return ERR_CORRUPT;
        int8_t of = (int8_t)unzigzag32(scale);
        uint64_t max = add_saturating(min, spread);
        if (out->scale > of)
            e = histogram_downscale(out, of);
        /* The first: most answers are of many that have no other, and then no larger than they need be. */
        if (e == ERR_OK && out->length == 0 && min > 0)
            e = histogram_cover(out, histogram_index(min, out->scale),
                                histogram_index(max, out->scale));
        if (e == ERR_OK)
            e = buckets_add(body, of - out->scale, out, &total);
        if (e != ERR_OK)
            return e;
        facts_add(out, add_saturating(total, zeros), zeros, sum, min, max);
    }
    *bytes = at;
    return ERR_OK;
}

/* ---- Packed form ----------------------------------------------------------------------------- */

/* Where the compact form has its scale: no scale is written so. Then come these, and the buckets. */
#define PACKED 0x7F
struct packed {
    uint64_t zero_count, sum, min, max;
    int32_t first;
    uint32_t length;
    uint8_t width; /* of a bucket, in bytes: 1, 2, 4 or 8 */
    int8_t scale;
};

/* From the first bucket in use to the last; false: they are so few that the compact form is smaller by half. */
static bool packed_of(const struct histogram *h, struct packed *out)
{
    uint32_t from = filled_from(h, 0), to = from, compact = 0;
    uint64_t most = 0;
    for (uint32_t i = from; i < h->length; i = filled_from(h, i + 1)) {
        most |= histogram_at(h, i);
        compact += i == to && to > from ? 1 : 3; /* a run has two numbers of its own */
        to = i + 1;
    }
    *out = (struct packed){ .zero_count = h->zero_count,
                            .sum = h->sum,
                            .min = h->min,
                            .max = h->max,
                            .first = h->first + (int32_t)from,
                            .length = to - from,
                            .width = (uint8_t)(most <= UINT8_MAX    ? 1
                                               : most <= UINT16_MAX ? 2
                                               : most <= UINT32_MAX ? 4
                                                                    : 8),
                            .scale = h->scale };
    return out->length > 0 && (uint64_t)out->length * out->width <= 2 * (uint64_t)compact;
}

void histogram_pack(const struct histogram *h, struct buffer *out)
{
    struct packed head;
    if (h->count == 0 || !packed_of(h, &head)) {
        histogram_encode(h, out);
        return;
    }
    size_t mark = out->len, buckets = (size_t)head.length * head.width;
    buffer_append_byte(out, 0);
    uint8_t *p = buffer_reserve(out, 1 + sizeof head + buckets);
    if (p == NULL)
        return;
    *p++ = PACKED;
    memcpy(p, &head, sizeof head);
    p += sizeof head;
    for (uint32_t i = 0; i < head.length; i++, p += head.width) {
        uint64_t n = histogram_at(h, (uint32_t)(head.first - h->first) + i);
        uint8_t wide[8];
        store_le64(wide, n);
        memcpy(p, wide, head.width);
    }
    buffer_grew(out, 1 + sizeof head + buckets);
    length_put(out, mark);
}

/* Their sum; added to the counts of a window that covers them, where no sum exceeds 32 bits. */
static uint64_t bytes_sum(const uint8_t *from, uint32_t length, uint32_t *counts)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < length; i++) {
        counts[i] += from[i];
        sum += from[i];
    }
    return sum;
}

static uint64_t pairs_sum(const uint8_t *from, uint32_t length, uint32_t *counts)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < length; i++) {
        uint32_t n = load_le16(from + 2 * (size_t)i);
        counts[i] += n;
        sum += n;
    }
    return sum;
}

static uint64_t bucket_unpack(const uint8_t *from, uint8_t width)
{
    uint8_t wide[8] = { 0 };
    memcpy(wide, from, width);
    return load_le64(wide);
}

/* Any widths, scales and sums. */
static enum err packed_add_slowly(const struct packed *head, const uint8_t *from,
                                  struct histogram *out, uint64_t *out_sum)
{
    int shift = head->scale - out->scale;
    uint64_t sum = 0;
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < head->length && e == ERR_OK; i++) {
        uint64_t n = bucket_unpack(from + (size_t)i * head->width, head->width);
        if (n != 0)
            e = bucket_sum(out, (head->first + (int32_t)i) >> shift, n);
        sum = add_saturating(sum, n);
    }
    *out_sum = sum;
    return e;
}

static bool is_packed_sound(const struct packed *head, size_t buckets)
{
    bool is_width = head->width == 1 || head->width == 2 || head->width == 4 || head->width == 8;
    return is_width && head->length > 0 && head->length <= WINDOW_MAX && head->first >= -2048 &&
           head->first <= (int32_t)WINDOW_MAX - (int32_t)head->length && head->scale >= -10 &&
           head->scale <= HISTOGRAM_SCALE && (size_t)head->length * head->width == buckets;
}

enum err histogram_unpack_add(struct bytes *bytes, struct histogram *out)
{
    struct bytes at = *bytes, body;
    struct packed head;
    uint64_t total = 0;
    enum err e = body_take(&at, &body);
    if (e != ERR_OK || body.len == 0 || body.data[0] != PACKED)
        return e == ERR_OK ? histogram_decode_add(bytes, out) : e;
    if (body.len < 1 + sizeof head)
        return ERR_CORRUPT;
    memcpy(&head, body.data + 1, sizeof head);
    const uint8_t *buckets = body.data + 1 + sizeof head;
    if (!is_packed_sound(&head, body.len - 1 - sizeof head))
        return ERR_CORRUPT;
    if (out->scale > head.scale)
        e = histogram_downscale(out, head.scale);
    int shift = head.scale - out->scale;
    if (e == ERR_OK && out->length == 0)
        e = histogram_cover(out, head.first >> shift,
                            (head.first + (int32_t)head.length - 1) >> shift);
    else if (e == ERR_OK)
        e = cover_growing(out, head.first >> shift,
                          (head.first + (int32_t)head.length - 1) >> shift);
    if (e != ERR_OK)
        return e;
    uint64_t most = (uint64_t)head.length * (head.width == 1 ? UINT8_MAX : UINT16_MAX);
    bool is_plain = shift == 0 && !out->is_wide && head.width <= 2 &&
                    add_saturating(out->count, most) <= UINT32_MAX;
    uint32_t *counts = is_plain ? (uint32_t *)out->counts + (head.first - out->first) : NULL;
    if (is_plain)
        total = head.width == 1 ? bytes_sum(buckets, head.length, counts)
                                : pairs_sum(buckets, head.length, counts);
    else
        e = packed_add_slowly(&head, buckets, out, &total);
    if (e != ERR_OK)
        return e;
    facts_add(out, add_saturating(total, head.zero_count), head.zero_count, head.sum, head.min,
              head.max);
    *bytes = at;
    return ERR_OK;
}
