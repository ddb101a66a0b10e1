/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/derived_sums.h"

#include "base/mem.h"

#include <string.h>

void derived_sums_init(struct derived_sums *c, size_t limit_bytes)
{
    *c = (struct derived_sums){ 0 };
    (void)pthread_mutex_init(&c->lock, NULL);
    budget_init(&c->budget, limit_bytes, NULL);
}

/* ---- The list; under the lock ---------------------------------------------------------------- */

static void link_newest(struct derived_sums *c, struct derived_sum *s)
{
    s->newer = NULL;
    s->older = c->newest;
    *(c->newest == NULL ? &c->oldest : &c->newest->newer) = s;
    c->newest = s;
}

static void unlink_sum(struct derived_sums *c, struct derived_sum *s)
{
    *(s->newer == NULL ? &c->newest : &s->newer->older) = s->older;
    *(s->older == NULL ? &c->oldest : &s->older->newer) = s->newer;
}

static void free_sum(struct derived_sums *c, struct derived_sum *s)
{
    budget_release(&c->budget, s->bytes);
    mem_free(s);
}

/* Who has it gives it back yet. */
static void drop(struct derived_sums *c, struct derived_sum *s)
{
    unlink_sum(c, s);
    s->is_dropped = true;
    if (s->users == 0)
        free_sum(c, s);
}

/* ---- From outside ---------------------------------------------------------------------------- */

void derived_sums_clear(struct derived_sums *c)
{
    (void)pthread_mutex_lock(&c->lock);
    while (c->oldest != NULL)
        drop(c, c->oldest);
    c->epoch++;
    (void)pthread_mutex_unlock(&c->lock);
}

void derived_sums_deinit(struct derived_sums *c)
{
    if (c->budget.limit_bytes == 0)
        return;
    derived_sums_clear(c);
    (void)pthread_mutex_destroy(&c->lock);
    *c = (struct derived_sums){ 0 };
}

uint64_t derived_sums_epoch(struct derived_sums *c)
{
    (void)pthread_mutex_lock(&c->lock);
    uint64_t epoch = c->epoch;
    (void)pthread_mutex_unlock(&c->lock);
    return epoch;
}

static bool is_split(uint64_t generation, const struct derived_split *rows, size_t rows_count)
{
    for (size_t i = 0; i < rows_count; i++)
        if (rows[i].first <= generation && generation < rows[i].last)
            return true;
    return false;
}

struct derived_sum *derived_sums_take(struct derived_sums *c, struct bytes key, uint64_t epoch,
                                      uint64_t at_most, const struct derived_split *rows,
                                      size_t rows_count, uint64_t now_mono_ns)
{
    struct derived_sum *best = NULL;
    (void)pthread_mutex_lock(&c->lock);
    for (struct derived_sum *s = epoch == c->epoch ? c->newest : NULL; s != NULL; s = s->older)
        if ((best == NULL || s->generation > best->generation) && s->generation <= at_most &&
            bytes_equal(s->key, key) && !is_split(s->generation, rows, rows_count))
            best = s;
    if (best != NULL) {
        best->users++;
        best->used_mono_ns = now_mono_ns;
        unlink_sum(c, best);
        link_newest(c, best);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return best;
}

void derived_sums_give(struct derived_sums *c, struct derived_sum *sum)
{
    if (sum == NULL)
        return;
    (void)pthread_mutex_lock(&c->lock);
    if (--sum->users == 0 && sum->is_dropped)
        free_sum(c, sum);
    (void)pthread_mutex_unlock(&c->lock);
}

static struct bytes copy_to(uint8_t **at, struct bytes from)
{
    struct bytes out = bytes_of(*at, from.len);
    if (from.len > 0)
        memcpy(*at, from.data, from.len);
    *at += from.len;
    return out;
}

static struct derived_sum *in_the_way(struct derived_sums *c, const struct derived_sum *like)
{
    struct derived_sum *s = c->newest;
    while (s != NULL && !(bytes_equal(s->key, like->key) && s->is_merged == like->is_merged))
        s = s->older;
    return s;
}

void derived_sums_put(struct derived_sums *c, const struct derived_sum *like, uint64_t epoch,
                      uint64_t now_mono_ns)
{
    size_t text = like->key.len + like->tally.len + like->services.len;
    size_t bytes = sizeof(struct derived_sum) + text;
    if (bytes > c->budget.limit_bytes / 2)
        return;
    struct derived_sum *s = mem_alloc(bytes);
    if (s == NULL)
        return;
    uint8_t *at = (uint8_t *)(s + 1);
    *s = (struct derived_sum){ .generation = like->generation,
                               .is_merged = like->is_merged,
                               .bytes = bytes,
                               .used_mono_ns = now_mono_ns };
    s->key = copy_to(&at, like->key);
    s->tally = copy_to(&at, like->tally);
    s->services = copy_to(&at, like->services);
    (void)pthread_mutex_lock(&c->lock);
    struct derived_sum *other = in_the_way(c, like);
    if (other != NULL && epoch == c->epoch)
        drop(c, other);
    bool is_there = epoch == c->epoch;
    while (is_there && !budget_reserve(&c->budget, bytes)) {
        is_there = c->oldest != NULL;
        if (is_there)
            drop(c, c->oldest);
    }
    if (is_there)
        link_newest(c, s);
    (void)pthread_mutex_unlock(&c->lock);
    if (!is_there)
        mem_free(s);
}

void derived_sums_tend(struct derived_sums *c, uint64_t now_mono_ns)
{
    (void)pthread_mutex_lock(&c->lock);
    while (c->oldest != NULL && now_mono_ns > c->oldest->used_mono_ns &&
           now_mono_ns - c->oldest->used_mono_ns > DERIVED_SUMS_KEPT_NS)
        drop(c, c->oldest);
    (void)pthread_mutex_unlock(&c->lock);
}
