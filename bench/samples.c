/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/samples.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

void samples_deinit(struct samples *s)
{
    mem_free(s->values);
    *s = (struct samples){ 0 };
}

enum err samples_add(struct samples *s, uint64_t value)
{
    if (s->count == s->capacity) {
        size_t capacity = s->capacity == 0 ? 64 : s->capacity * 2;
        uint64_t *values = mem_realloc(s->values, capacity * sizeof *values);
        if (values == NULL)
            return ERR_NOMEM;
        s->values = values;
        s->capacity = capacity;
    }
    s->values[s->count++] = value;
    s->is_sorted = false;
    return ERR_OK;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void samples_sort(struct samples *s)
{
    if (!s->is_sorted && s->count > 0)
        qsort(s->values, s->count, sizeof *s->values, by_value);
    s->is_sorted = true;
}

uint64_t samples_quantile(const struct samples *s, double quantile)
{
    assert(s->is_sorted || s->count == 0);
    assert(quantile >= 0 && quantile <= 1);
    if (s->count == 0)
        return 0;
    double rank = ceil(quantile * (double)s->count); /* 1-based */
    size_t index = rank < 1 ? 0 : (size_t)rank - 1;
    return s->values[index < s->count ? index : s->count - 1];
}
