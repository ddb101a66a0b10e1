/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/tally.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define TALLY_PAGE 256u /* points */

void tally_init(struct tally *t, struct arena *arena, uint64_t step_ns)
{
    *t = (struct tally){ .arena = arena,
                         .windows = arena,
                         .step_ns = step_ns,
                         .width_ns = step_ns == 0 ? UINT64_MAX : step_ns };
    intern_init(&t->keys, TALLY_SERIES_MAX);
}

void tally_deinit(struct tally *t)
{
    intern_deinit(&t->keys);
    mem_free((void *)t->last);
    mem_free(t->ranks);
    mem_free(t->pages);
    mem_free(t->slots);
    *t = (struct tally){ 0 };
}

void tally_reset(struct tally *t)
{
    intern_reset(&t->keys);
    t->ranks_count = 0;
    tally_empty(t);
}

void tally_empty(struct tally *t)
{
    if (t->last != NULL)
        memset((void *)t->last, 0, t->last_capacity * sizeof *t->last);
    if (t->slots != NULL)
        memset(t->slots, 0, (t->slot_mask + 1u) * sizeof *t->slots);
    t->points_count = 0;
}

struct tally_point *tally_point(const struct tally *t, uint32_t number)
{
    assert(number < t->points_count);
    return &t->pages[number / TALLY_PAGE][number % TALLY_PAGE];
}

enum err tally_series(struct tally *t, struct bytes key, uint32_t *out_series)
{
    if (t->keys.count == t->last_capacity) {
        uint32_t capacity = t->last_capacity == 0 ? 64 : 2 * t->last_capacity;
        struct tally_point **last = mem_realloc((void *)t->last, capacity * sizeof *last);
        if (last == NULL)
            return ERR_NOMEM;
        memset((void *)(last + t->last_capacity), 0, (capacity - t->last_capacity) * sizeof *last);
        t->last = last;
        t->last_capacity = capacity;
    }
    return intern_put(&t->keys, key, out_series);
}

static uint32_t slot_of(const struct tally *t, uint32_t series, uint64_t start)
{
    uint64_t h = (start / TALLY_MINUTE_NS + 1) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 29 ^ series) * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(h >> 32) & t->slot_mask;
}

static enum err slots_grow(struct tally *t)
{
    if (t->slots != NULL && t->points_count < t->slot_mask / 2)
        return ERR_OK;
    uint32_t count = t->slots == NULL ? 256 : 2 * (t->slot_mask + 1);
    uint32_t *slots = mem_alloc_array(count, sizeof *slots);
    if (slots == NULL)
        return ERR_NOMEM;
    mem_free(t->slots);
    t->slots = slots;
    t->slot_mask = count - 1;
    for (uint32_t i = 0; i < t->points_count; i++) {
        const struct tally_point *p = tally_point(t, i);
        uint32_t slot = slot_of(t, p->series, p->start_unix_ns);
        while (slots[slot] != 0)
            slot = (slot + 1) & t->slot_mask;
        slots[slot] = i + 1;
    }
    return ERR_OK;
}

static enum err page_reserve(struct tally *t)
{
    if (t->points_count % TALLY_PAGE != 0)
        return ERR_OK;
    uint32_t pages = t->points_count / TALLY_PAGE;
    if (pages == t->pages_capacity) {
        uint32_t capacity = pages == 0 ? 16 : 2 * pages;
        struct tally_point **grown = mem_realloc(t->pages, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        t->pages = grown;
        t->pages_capacity = capacity;
    }
    t->pages[pages] =
        arena_alloc(t->arena, TALLY_PAGE * sizeof **t->pages); /* points are written when made */
    return t->pages[pages] == NULL ? arena_failure(t->arena) : ERR_OK;
}

enum err tally_at_slow(struct tally *t, uint32_t series, uint64_t unix_ns, struct tally_point **out)
{
    uint64_t start = t->step_ns == 0 ? 0 : unix_ns - unix_ns % t->step_ns;
    enum err e = slots_grow(t);
    if (e != ERR_OK)
        return e;
    uint32_t slot = slot_of(t, series, start);
    for (; t->slots[slot] != 0; slot = (slot + 1) & t->slot_mask) {
        struct tally_point *p = tally_point(t, t->slots[slot] - 1);
        if (p->series == series && p->start_unix_ns == start) {
            t->last[series] = *out = p;
            return ERR_OK;
        }
    }
    if (t->points_count >= TALLY_POINTS_MAX)
        return ERR_TOO_MANY;
    e = page_reserve(t);
    if (e != ERR_OK)
        return e;
    uint32_t number = t->points_count++;
    struct tally_point *p = tally_point(t, number);
    *p = (struct tally_point){ .start_unix_ns = start,
                               .series = series,
                               .first_values.min = UINT64_MAX,
                               .second_values.min = UINT64_MAX };
    histogram_init(&p->first, t->windows);
    histogram_init(&p->second, t->windows);
    t->slots[slot] = number + 1;
    t->last[series] = *out = p;
    return ERR_OK;
}

/* ---- Durations ------------------------------------------------------------------------------- */

#define VALUES_FIRST 16u /* of a point: 32 bytes */

enum err tally_values_grow(struct tally *t, struct tally_values *v)
{
    if (v->capacity > UINT32_MAX / 2)
        return ERR_TOO_MANY;
    uint32_t capacity = v->capacity == 0 ? VALUES_FIRST : 2 * v->capacity;
    int16_t *grown = arena_alloc(t->arena, capacity * sizeof *grown);
    if (grown == NULL)
        return arena_failure(t->arena);
    if (v->count > 0)
        memcpy(grown, v->buckets, v->count * sizeof *grown);
    v->buckets = grown;
    v->capacity = capacity;
    return ERR_OK;
}

/* A histogram with everything but buckets. */
static struct histogram values_facts(const struct tally_values *v)
{
    return (struct histogram){ .count = v->count + v->zero_count,
                               .zero_count = v->zero_count,
                               .sum = v->sum,
                               .min = v->min,
                               .max = v->max,
                               .scale = HISTOGRAM_SCALE };
}

static int32_t lowest_bucket(const struct tally_values *v)
{
    int16_t low = INT16_MAX;
    if (v->zero_count == 0)
        return histogram_bucket(v->min);
    for (uint32_t i = 0; i < v->count; i++)
        low = v->buckets[i] < low ? v->buckets[i] : low;
    return low;
}

static enum err values_add(const struct tally_values *v, struct histogram *into)
{
    const struct histogram facts = values_facts(v);
    int shift = HISTOGRAM_SCALE - into->scale;
    enum err e = histogram_merge(into, &facts);
    if (e == ERR_OK && v->count > 0)
        e = histogram_cover(into, lowest_bucket(v) >> shift, histogram_bucket(v->max) >> shift);
    uint32_t *counts = into->counts;
    if (e == ERR_OK && into->width == sizeof *counts &&
        into->count <= UINT32_MAX) { /* no sum exceeds 32 bits */
        for (uint32_t i = 0; i < v->count; i++)
            counts[(v->buckets[i] >> shift) - into->first]++;
        return ERR_OK;
    }
    for (uint32_t i = 0; i < v->count && e == ERR_OK; i++)
        e = histogram_bucket_count(into, v->buckets[i] >> shift);
    return e;
}

enum err tally_histogram_encode(struct histogram *h, struct tally_values *v,
                                struct histogram_scatter *scatter, struct buffer *out)
{
    if (v->count != 0 && h->count == 0) {
        const struct histogram facts = values_facts(v);
        histogram_scatter_count(scatter, v->buckets, v->count);
        histogram_scatter_encode(scatter, &facts, out);
        return buffer_error(out);
    }
    enum err e = values_add(v, h); /* counted here, and added from elsewhere; or zeros alone */
    if (e != ERR_OK)
        return e;
    *v = (struct tally_values){ .min = UINT64_MAX };
    histogram_encode(h, out);
    return buffer_error(out);
}

/* ---- Exemplars ------------------------------------------------------------------------------- */

static int ids_compare(const struct derived_exemplar *a, const struct derived_exemplar *b)
{
    int order = memcmp(a->trace_id.b, b->trace_id.b, sizeof a->trace_id.b);
    return order != 0 ? order : memcmp(a->span_id.b, b->span_id.b, sizeof a->span_id.b);
}

bool tally_is_slower(const struct derived_exemplar *a, const struct derived_exemplar *than)
{
    if (!a->is_set || !than->is_set)
        return a->is_set;
    if (a->duration_ns != than->duration_ns)
        return a->duration_ns > than->duration_ns;
    return ids_compare(a, than) > 0;
}

bool tally_is_later(const struct derived_exemplar *a, const struct derived_exemplar *than)
{
    if (!a->is_set || !than->is_set)
        return a->is_set;
    if (a->start_unix_ns != than->start_unix_ns)
        return a->start_unix_ns > than->start_unix_ns;
    return ids_compare(a, than) > 0;
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static enum err histogram_add(struct histogram *into, const struct histogram *from,
                              const struct tally_values *values)
{
    enum err e = histogram_merge(into, from);
    return e == ERR_OK ? values_add(values, into) : e;
}

enum err tally_point_add(struct tally_point *into, const struct tally_point *from)
{
    enum err e = histogram_add(&into->first, &from->first, &from->first_values);
    if (e == ERR_OK)
        e = histogram_add(&into->second, &from->second, &from->second_values);
    if (e != ERR_OK)
        return e;
    into->calls = add_saturating(into->calls, from->calls);
    into->errors = add_saturating(into->errors, from->errors);
    into->estimated_calls = add_saturating(into->estimated_calls, from->estimated_calls);
    into->estimated_errors = add_saturating(into->estimated_errors, from->estimated_errors);
    into->bytes = add_saturating(into->bytes, from->bytes);
    if (tally_is_slower(&from->slowest, &into->slowest))
        into->slowest = from->slowest;
    if (tally_is_later(&from->failed, &into->failed))
        into->failed = from->failed;
    return ERR_OK;
}

/* ---- Order ----------------------------------------------------------------------------------- */

struct ranked {
    struct bytes key;
    uint32_t series;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return bytes_compare(x->key, y->key);
}

/* What was added from one sum is in order already. */
static void sort(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    size_t i = 1;
    while (i < count &&
           compare((uint8_t *)items + (i - 1) * size, (uint8_t *)items + i * size) <= 0)
        i++;
    if (i < count)
        qsort(items, count, size, compare);
}

static enum err ranks_make(struct tally *t)
{
    uint32_t count = t->keys.count;
    if (t->ranks != NULL && t->ranks_count == count)
        return ERR_OK;
    struct ranked *ranked = arena_alloc(t->arena, ((size_t)count + 1) * sizeof *ranked);
    uint32_t *ranks = ranked == NULL ? NULL : mem_alloc(((size_t)count + 1) * sizeof *ranks);
    if (ranks == NULL)
        return ranked == NULL ? arena_failure(t->arena) : ERR_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        ranked[i] = (struct ranked){ tally_key(t, i), i };
    sort(ranked, count, sizeof *ranked, ranked_compare);
    for (uint32_t i = 0; i < count; i++)
        ranks[ranked[i].series] = i;
    mem_free(t->ranks);
    t->ranks = ranks;
    t->ranks_count = count;
    return ERR_OK;
}

static int start_compare(const void *a, const void *b)
{
    const struct tally_point *x = *(struct tally_point *const *)a;
    const struct tally_point *y = *(struct tally_point *const *)b;
    return (x->start_unix_ns > y->start_unix_ns) - (x->start_unix_ns < y->start_unix_ns);
}

/* By rank first, counting; most have one point each. */
enum err tally_sorted(struct tally *t, struct tally_point ***out)
{
    uint32_t series = t->keys.count, points = t->points_count;
    enum err e = ranks_make(t);
    if (e != ERR_OK)
        return e;
    uint32_t *begins = arena_alloc_array(t->arena, (size_t)series + 2, sizeof *begins);
    struct tally_point **sorted = arena_alloc(t->arena, ((size_t)points + 1) * sizeof *sorted);
    if (begins == NULL || sorted == NULL)
        return arena_failure(t->arena);
    for (uint32_t i = 0; i < points; i++)
        begins[t->ranks[tally_point(t, i)->series] + 2]++;
    for (uint32_t rank = 2; rank <= series; rank++)
        begins[rank] += begins[rank - 1];
    for (uint32_t i = 0; i < points; i++) { /* begins[rank + 1] moves to where the rank ends */
        struct tally_point *p = tally_point(t, i);
        sorted[begins[t->ranks[p->series] + 1]++] = p;
    }
    for (uint32_t rank = 0; rank < series; rank++)
        if (begins[rank + 1] - begins[rank] > 1)
            sort(sorted + begins[rank], begins[rank + 1] - begins[rank], sizeof *sorted,
                 start_compare);
    *out = sorted;
    return ERR_OK;
}
