/* SPDX-License-Identifier: Apache-2.0 */
/* samples.h - every measured value, kept, and its quantiles by nearest rank.
 *
 * Role       latencies of a benchmark: a few million values at most, so nothing is approximated.
 * Threads    one at a time. */
#ifndef SPINDLE_BENCH_SAMPLES_H
#define SPINDLE_BENCH_SAMPLES_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
    uint64_t *values;
    size_t count, capacity;
    bool is_sorted;
};

void samples_deinit(struct samples *s); /* safe on a zeroed one, and twice */
NODISCARD enum err samples_add(struct samples *s, uint64_t value);
void samples_sort(struct samples *s);
/* The smallest value that at least quantile * count values do not exceed; 0: the least. Must be
 * sorted; 0 when there is none. */
uint64_t samples_quantile(const struct samples *s, double quantile);

#endif
