/* SPDX-License-Identifier: Apache-2.0 */
/* histogram.h - base-2 exponential histograms of durations, as OpenTelemetry defines them.
 *
 * Role       bucket i at scale s covers (base^i, base^(i+1)], base = 2^(2^-s); zero has a bucket of its
 *            own. Values are recorded at scale 6, 64 buckets a factor of two, whatever their range: so
 *            any quantile is within 0.55 % of an exact one, and histograms merge without loss.
 * Form       counts lie in one window from the lowest to the highest bucket in use, 32 bits each until
 *            one needs 64. A window that is a copy has as few as the copied one, 8 or 16, until one needs more:
 *            an answer holds thousands of them, and most have one part.
 * Ownership  the window comes from the heap, or from the arena given to histogram_init().
 * Threads    one at a time.
 * Errors     ERR_NOMEM and what the arena says; then nothing was changed.
 * Source     OpenTelemetry metrics data model, exponential histograms. Prometheus' native histograms
 *            number buckets by the upper bound: their index is one higher. */
#ifndef SPINDLE_STORAGE_DERIVE_HISTOGRAM_H
#define SPINDLE_STORAGE_DERIVE_HISTOGRAM_H

#include "base/arena.h"
#include "base/buffer.h"

#define HISTOGRAM_SCALE   6    /* what is recorded */
#define HISTOGRAM_BUCKETS 4097 /* that a value may fall into at that scale: from -1 to 4095 */
/* Relative error of histogram_quantile() at that scale: (base - 1) / (base + 1), rounded up. */
#define HISTOGRAM_ERROR 0.0055

struct histogram {
    uint64_t count, zero_count; /* count includes zeros */
    uint64_t sum;               /* saturating */
    uint64_t min, max;          /* exact; of an empty one: UINT64_MAX and 0 */
    int32_t first;              /* index of the first bucket of the window */
    uint32_t length, capacity;  /* of the window, in buckets */
    int8_t scale;
    uint8_t width; /* of a count: 1, 2, 4 or 8 bytes; of no meaning without a window */
    void *counts;
    struct arena *arena;
};

/* An empty one at HISTOGRAM_SCALE, without memory; arena may be NULL. */
void histogram_init(struct histogram *h, struct arena *arena);
/* Frees what is the heap's; safe on a zeroed one, and twice. */
void histogram_deinit(struct histogram *h);

/* Add a value `times` times. */
NODISCARD enum err histogram_record(struct histogram *h, uint64_t value, uint64_t times);
/* The same in steps, for who adds many values at once: note each value, remember the buckets of those that are
 * not 0, make the window cover all of them once, then count them. Until then the buckets lag behind. */
static inline void histogram_note(struct histogram *h, uint64_t value)
{
    h->zero_count += value == 0 && h->zero_count != UINT64_MAX;
    h->count += h->count != UINT64_MAX;
    h->sum = h->sum > UINT64_MAX - value ? UINT64_MAX : h->sum + value;
    h->min = value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
}
NODISCARD enum err histogram_cover(struct histogram *h, int32_t from, int32_t to);
NODISCARD enum err histogram_bucket_add(struct histogram *h, int32_t index, uint64_t times);
/* One more in a bucket that is covered already. */
NODISCARD static inline enum err histogram_bucket_count(struct histogram *h, int32_t index)
{
    uint32_t *counts = h->counts, i = (uint32_t)(index - h->first);
    if (h->width != sizeof *counts || counts[i] == UINT32_MAX)
        return histogram_bucket_add(h, index, 1);
    counts[i]++;
    return ERR_OK;
}
/* Exact: the finer of the two is brought to the other's scale. */
NODISCARD enum err histogram_merge(struct histogram *into, const struct histogram *from);
/* To a coarser scale in -10..h->scale: new index = old index >> difference. Exact. */
NODISCARD enum err histogram_downscale(struct histogram *h, int8_t scale);

/* The bucket of a value > 0 at a scale in -10..6. */
int32_t histogram_index(uint64_t value, int8_t scale);
/* The same at HISTOGRAM_SCALE, for each span. bounds[j] = floor(2^(63 + j/64)): a value shifted left until its top
 * bit is set lies above the j-th of 64 bounds of its octave exactly when it is greater; after them a sentinel.
 * below: how many bounds lie below the first value with these seven bits after the top one. No two bounds agree in
 * these bits, so one comparison finds the bucket. */
struct histogram_table {
    uint64_t bounds[65];
    uint8_t below[128];
};
extern const struct histogram_table histogram_table;
static inline int32_t histogram_bucket(uint64_t value)
{
    int leading = __builtin_clzll(value);
    uint64_t shifted = value << leading;
    uint32_t below = histogram_table.below[(shifted >> 56) & 127];
    below += histogram_table.bounds[below] < shifted;
    return (63 - leading) * 64 + (int32_t)below - 1;
}
/* Where bucket `index` begins (exclusive); it ends (inclusive) where index + 1 begins. */
double histogram_bound(int32_t index, int8_t scale);
/* The value that stands for those of a bucket: as far from both bounds, by their size. */
double histogram_middle(int32_t index, int8_t scale);
/* Of bucket first + i, i < length. */
static inline uint64_t histogram_at(const struct histogram *h, uint32_t i)
{
    switch (h->width) {
    case 1:
        return ((const uint8_t *)h->counts)[i];
    case 2:
        return ((const uint16_t *)h->counts)[i];
    case 4:
        return ((const uint32_t *)h->counts)[i];
    default:
        return ((const uint64_t *)h->counts)[i];
    }
}

/* The value at rank ceil(q * count), q in 0..1: the harmonic middle of its bucket, kept within min and max,
 * which are exact themselves. 0 when empty. */
double histogram_quantile(const struct histogram *h, double q);
/* Several in one walk; ascending. */
void histogram_quantiles(const struct histogram *h, const double *quantiles, size_t count,
                         double *out);
/* For each of `bounds`, ascending, how many values lie at or below it: a bucket that a bound cuts counts
 * on the side of its middle. */
void histogram_cumulate(const struct histogram *h, const double *bounds, size_t bounds_count,
                        uint64_t *out);

/* Compact form, all varints: length of what follows (0 for an empty one); scale (zigzag), zero_count, sum, min,
 * max - min; then runs of filled buckets: where the run begins (zigzag index; later runs: empty buckets since
 * the run before), its length, its counts. */
void histogram_encode(const struct histogram *h, struct buffer *out);
/* The same for few values in many histograms, one after the other: their buckets at HISTOGRAM_SCALE are counted
 * here, and only those that were are looked at. All zero before, and again after encoding; after an error of the
 * buffer it is of no more use. `facts` has the rest, and an empty window. */
struct histogram_scatter {
    uint32_t counts[HISTOGRAM_BUCKETS]; /* of bucket i - 1 */
    uint64_t marks[HISTOGRAM_BUCKETS / 64 + 1];
};
static inline void histogram_scatter_count(struct histogram_scatter *s, const int16_t *buckets,
                                           size_t count)
{
    for (size_t at = 0; at < count; at++) {
        uint32_t i = (uint32_t)(buckets[at] + 1);
        s->counts[i]++;
        s->marks[i / 64] |= UINT64_C(1) << (i % 64);
    }
}
void histogram_scatter_encode(struct histogram_scatter *s, const struct histogram *facts,
                              struct buffer *out);
/* Reads one from the front of *bytes and moves past it; `out` is initialised, and becomes the sum when it
 * holds something already. ERR_CORRUPT for what encode does not write. */
NODISCARD enum err histogram_decode_add(struct bytes *bytes, struct histogram *out);
/* A form for memory alone, which is about as large and several times faster to add: where they are not few, all buckets
 * from the first to the last in use, in as many bytes each as the largest takes; else the compact form. */
void histogram_pack(const struct histogram *h, struct buffer *out);
NODISCARD enum err histogram_unpack_add(struct bytes *bytes, struct histogram *out);
/* Moves past one of either form without looking at the buckets. */
NODISCARD enum err histogram_skip(struct bytes *bytes);

#endif
