/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/histogram.h"

#include "base/shelf.h"
#include "storage/derive/varint.h"

#include <assert.h>
#include <math.h>

#define WINDOW_STEP  8u /* the window begins at multiples of this many buckets */
#define WINDOW_SLACK 48u
#define WINDOW_MAX   4352u /* 64-bit values have 4,096 buckets and one below: more is damage */
#define WIDTH_USUAL  4u    /* bytes of a count */
#define WIDTH_MOST   8u

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
    *h = (struct histogram){
        .min = UINT64_MAX, .scale = HISTOGRAM_SCALE, .width = WIDTH_USUAL, .arena = arena
    };
}

void histogram_deinit(struct histogram *h)
{
    if (h->arena == NULL)
        shelf_free(h->counts);
    histogram_init(h, h->arena);
}

static void count_set(void *counts, uint8_t width, uint32_t i, uint64_t v)
{
    switch (width) {
    case 1:
        ((uint8_t *)counts)[i] = (uint8_t)v;
        break;
    case 2:
        ((uint16_t *)counts)[i] = (uint16_t)v;
        break;
    case 4:
        ((uint32_t *)counts)[i] = (uint32_t)v;
        break;
    default:
        ((uint64_t *)counts)[i] = v;
    }
}

/* The least width, from `least` on, in which such a count fits. */
static uint8_t width_for(uint64_t most, uint8_t least)
{
    uint8_t width = most <= UINT8_MAX ? 1 : most <= UINT16_MAX ? 2 : most <= UINT32_MAX ? 4 : 8;
    return width < least ? least : width;
}

static uint64_t width_holds(uint8_t width)
{
    return UINT64_MAX >> (64 - 8 * width);
}

/* Move the counts to a new window that covers [first, first + length). */
static enum err window_move(struct histogram *h, int32_t first, uint32_t length, uint8_t width)
{
    if (length > WINDOW_MAX)
        return ERR_CORRUPT;
    /* Those of the moment are moved seldom; those of the heap live long, and take what they need. */
    uint32_t capacity =
        h->arena != NULL && h->capacity * 2 > length && h->capacity * 2 <= WINDOW_MAX
            ? h->capacity * 2
            : length;
    void *counts = h->arena != NULL ? arena_alloc_array(h->arena, capacity, width)
                                    : shelf_zalloc((size_t)capacity * width);
    if (counts == NULL)
        return h->arena != NULL ? arena_failure(h->arena) : ERR_NOMEM;
    uint32_t shift = (uint32_t)(h->first - first);
    if (width == h->width && h->length > 0)
        memcpy((uint8_t *)counts + (size_t)shift * width, h->counts, (size_t)h->length * width);
    for (uint32_t i = 0; width != h->width && i < h->length; i++)
        count_set(counts, width, shift + i, histogram_at(h, i));
    if (h->arena == NULL)
        shelf_free(h->counts);
    h->counts = counts;
    h->first = first;
    h->length = length;
    h->capacity = capacity;
    h->width = width;
    return ERR_OK;
}

/* Counts of at least so many bytes. */
static enum err window_widen(struct histogram *h, uint8_t width)
{
    return h->length == 0 || h->width >= width ? ERR_OK
                                               : window_move(h, h->first, h->length, width);
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
    return window_move(h, first, length, h->length == 0 ? WIDTH_USUAL : h->width);
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

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

enum err histogram_bucket_add(struct histogram *h, int32_t index, uint64_t times)
{
    enum err e = cover_growing(h, index, index);
    if (e != ERR_OK)
        return e;
    uint32_t i = (uint32_t)(index - h->first);
    uint64_t sum = add_saturating(histogram_at(h, i), times);
    if (sum > width_holds(h->width))
        e = window_widen(h, width_for(sum, WIDTH_USUAL));
    if (e == ERR_OK)
        count_set(h->counts, h->width, i, sum);
    return e;
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
        if (i < h->length && h->width == WIDTH_USUAL && times <= UINT32_MAX &&
            ((uint32_t *)h->counts)[i] <= UINT32_MAX - times) {
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
    if (i >= h->length)
        return h->length;
    uint32_t block = 16u / h->width;
    while (h->length - i >= block && (load_le64(counts + (size_t)h->width * i) |
                                      load_le64(counts + (size_t)h->width * i + 8)) == 0)
        i += block;
    while (i < h->length && histogram_at(h, i) == 0)
        i++;
    return i;
}

/* Counts as they lie in a window, or packed: one after the other, without alignment. */
struct run {
    const uint8_t *counts;
    int32_t first;
    uint32_t length;
    uint8_t width;
};

static uint64_t run_at(const struct run *r, uint32_t i)
{
    uint8_t wide[8] = { 0 };
    memcpy(wide, r->counts + (size_t)i * r->width, r->width);
    return load_le64(wide);
}

/* The first of a histogram: its window is a copy. */
static enum err run_copy(struct histogram *into, const struct run *from)
{
    size_t bytes = (size_t)from->length * from->width;
    void *counts = arena_alloc(into->arena, bytes);
    if (counts == NULL)
        return arena_failure(into->arena);
    memcpy(counts, from->counts, bytes);
    into->counts = counts;
    into->first = from->first;
    into->length = into->capacity = from->length;
    into->width = from->width;
    return ERR_OK;
}

/* Each of these where no sum exceeds the width: nearly all, and several at once. */
static void add_1_to_1(uint8_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = (uint8_t)(to[i] + from[i]);
}

static void add_1_to_2(uint16_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = (uint16_t)(to[i] + from[i]);
}

static void add_1_to_4(uint32_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] += from[i];
}

static void add_2_to_2(uint16_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = (uint16_t)(to[i] + load_le16(from + 2 * (size_t)i));
}

static void add_2_to_4(uint32_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] += load_le16(from + 2 * (size_t)i);
}

static void add_4_to_4(uint32_t *to, const uint8_t *from, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] += load_le32(from + 4 * (size_t)i);
}

/* False: one of another pair of widths. */
static bool run_add_at_once(struct histogram *into, const struct run *from)
{
    uint32_t at = (uint32_t)(from->first - into->first);
    switch (into->width * 10 + from->width) {
    case 11:
        add_1_to_1((uint8_t *)into->counts + at, from->counts, from->length);
        return true;
    case 21:
        add_1_to_2((uint16_t *)into->counts + at, from->counts, from->length);
        return true;
    case 22:
        add_2_to_2((uint16_t *)into->counts + at, from->counts, from->length);
        return true;
    case 41:
        add_1_to_4((uint32_t *)into->counts + at, from->counts, from->length);
        return true;
    case 42:
        add_2_to_4((uint32_t *)into->counts + at, from->counts, from->length);
        return true;
    case 44:
        add_4_to_4((uint32_t *)into->counts + at, from->counts, from->length);
        return true;
    default:
        return false;
    }
}

/* count: of all values, and so at least any one. All the memory comes first, so that a failure changes nothing. */
static enum err run_merge(struct histogram *into, const struct run *from, int shift, uint64_t count)
{
    if (from->length == 0)
        return ERR_OK;
    if (into->length == 0 && shift == 0 && into->arena != NULL)
        return run_copy(into, from);
    enum err e = cover_growing(into, from->first >> shift,
                               (from->first + (int32_t)from->length - 1) >> shift);
    if (e == ERR_OK)
        e = window_widen(into, width_for(add_saturating(into->count, count), from->width));
    if (e != ERR_OK || (shift == 0 && run_add_at_once(into, from)))
        return e;
    for (uint32_t i = 0; i < from->length; i++) {
        uint32_t at = (uint32_t)(((from->first + (int32_t)i) >> shift) - into->first);
        count_set(into->counts, into->width, at,
                  add_saturating(histogram_at(into, at), run_at(from, i)));
    }
    return ERR_OK;
}

enum err histogram_merge(struct histogram *into, const struct histogram *from)
{
    enum err e = ERR_OK;
    if (from->count == 0)
        return ERR_OK;
    if (into->scale > from->scale)
        e = histogram_downscale(into, from->scale);
    const struct run window = { from->counts, from->first, from->length, from->width };
    if (e == ERR_OK)
        e = run_merge(into, &window, from->scale - into->scale, from->count);
    if (e == ERR_OK)
        facts_add(into, from->count, from->zero_count, from->sum, from->min, from->max);
    return e;
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
    if (h->width != WIDTH_USUAL || at >= h->length || times > UINT32_MAX - counts[at])
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
    if (shift != 0 || out->width != WIDTH_USUAL || at >= out->length)
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

/* Into a window that is empty and covers them, of a byte each. False: it does not, or a count does not fit. */
static bool buckets_fill(struct bytes body, uint8_t *counts, int32_t first, uint32_t length,
                         uint64_t *out_count)
{
    int64_t next = 0;
    uint64_t total = 0;
    for (bool is_first = true; body.len > 0; is_first = false) {
        uint64_t gap, run;
        if (!get_varint(&body, &gap) || !get_varint(&body, &run) || gap > UINT32_MAX ||
            run > body.len)
            return false;
        int64_t at = (is_first ? unzigzag32(gap) : next + (int64_t)gap) - first;
        if (at < 0 || at + (int64_t)run > (int64_t)length)
            return false;
        for (size_t i = 0; i < run; i++) {
            if (body.data[i] >= 0x80)
                return false;
            counts[at + (int64_t)i] = body.data[i];
            total += body.data[i];
        }
        body = bytes_slice(body, (size_t)run, SIZE_MAX);
        next = first + at + (int64_t)run;
    }
    *out_count = total;
    return true;
}

/* The first of a histogram. False: by the general way. */
static bool buckets_first(struct bytes body, uint64_t min, uint64_t max, struct histogram *out,
                          uint64_t *out_count)
{
    int32_t first = histogram_index(min, out->scale);
    uint32_t length = (uint32_t)(histogram_index(max, out->scale) - first + 1);
    uint8_t *counts = arena_alloc_array(out->arena, length, 1);
    if (counts == NULL || !buckets_fill(body, counts, first, length, out_count))
        return false;
    out->counts = counts;
    out->first = first;
    out->length = out->capacity = length;
    out->width = 1;
    return true;
}

static enum err decode_add(struct bytes *bytes, bool is_short, struct histogram *out)
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
        bool is_first = e == ERR_OK && out->length == 0 && min > 0;
        bool is_done = is_first && is_short && of == out->scale && out->arena != NULL &&
                       buckets_first(body, min, max, out, &total);
        if (is_first && !is_done)
            e = histogram_cover(out, histogram_index(min, out->scale),
                                histogram_index(max, out->scale));
        if (e == ERR_OK && !is_done)
            e = window_widen(out, WIDTH_USUAL);
        if (e == ERR_OK && !is_done)
            e = buckets_add(body, of - out->scale, out, &total);
        if (e != ERR_OK)
            return e;
        facts_add(out, add_saturating(total, zeros), zeros, sum, min, max);
    }
    *bytes = at;
    return ERR_OK;
}

enum err histogram_decode_add(struct bytes *bytes, struct histogram *out)
{
    return decode_add(bytes, false, out);
}

/* ---- Packed form ----------------------------------------------------------------------------- */

/* Where the compact form has its scale: no scale is written so. Then come these, and the buckets. */
#define PACKED 0x7F
struct packed {
    uint64_t count, zero_count, sum, min, max;
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
    *out = (struct packed){ .count = h->count,
                            .zero_count = h->zero_count,
                            .sum = h->sum,
                            .min = h->min,
                            .max = h->max,
                            .first = h->first + (int32_t)from,
                            .length = to - from,
                            .width = width_for(most, 1),
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
    enum err e = body_take(&at, &body);
    if (e != ERR_OK || body.len == 0 || body.data[0] != PACKED)
        return e == ERR_OK ? decode_add(bytes, true, out) : e;
    if (body.len < 1 + sizeof head)
        return ERR_CORRUPT;
    memcpy(&head, body.data + 1, sizeof head);
    if (!is_packed_sound(&head, body.len - 1 - sizeof head))
        return ERR_CORRUPT;
    if (out->scale > head.scale)
        e = histogram_downscale(out, head.scale);
    const struct run buckets = { body.data + 1 + sizeof head, head.first, head.length, head.width };
    if (e == ERR_OK)
        e = run_merge(out, &buckets, head.scale - out->scale, head.count);
    if (e != ERR_OK)
        return e;
    facts_add(out, head.count, head.zero_count, head.sum, head.min, head.max);
    *bytes = at;
    return ERR_OK;
}
