/* SPDX-License-Identifier: Apache-2.0 */
/* histogram_quantile.c - what a histogram is asked. */
#include "storage/derive/histogram.h"

#include <assert.h>
#include <math.h>

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

enum { BLOCK = 32 };

/* Each of a histogram of fewer than 2^32 values; apart, so that several counts are added at once. */
static uint32_t bytes_sum(const uint8_t *counts)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        sum += counts[i];
    return sum;
}

static uint32_t pairs_sum(const uint16_t *counts)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        sum += counts[i];
    return sum;
}

static uint32_t usual_sum(const uint32_t *counts)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < BLOCK; i++)
        sum += counts[i];
    return sum;
}

static uint32_t block_sum(const struct histogram *h, uint32_t at)
{
    if (h->width == 1)
        return bytes_sum((const uint8_t *)h->counts + at);
    return h->width == 2 ? pairs_sum((const uint16_t *)h->counts + at)
                         : usual_sum((const uint32_t *)h->counts + at);
}

/* From bucket `at` on, before which there are *seen values: the bucket that has the one of this rank; the length when
 * there is none. *seen: values before it. */
static uint32_t bucket_of_rank(const struct histogram *h, uint32_t at, uint64_t rank,
                               uint64_t *seen)
{
    while (h->count <= UINT32_MAX && h->width <= sizeof(uint32_t) && h->length - at >= BLOCK) {
        uint32_t sum = block_sum(h, at);
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
