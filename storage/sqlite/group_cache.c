/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/group_cache.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

void opened_group_free(struct opened_group *take_group)
{
    if (take_group == NULL)
        return;
    if (take_group->segment != NULL)
        take_group->segment->ops->close(take_group->segment);
    arena_deinit(&take_group->arena);
    mem_free(take_group);
}

/* The arena's pages are what counts. */
static size_t bytes_of_group(const struct opened_group *o)
{
    return sizeof *o + o->arena.held_bytes;
}

static struct opened_group **bucket_of(struct group_cache *c, uint64_t serial)
{
    return &c->buckets[serial % GROUP_CACHE_BUCKETS]; /* serials count up */
}

/* Take it out of the bucket and the list. Under the lock. */
static void unlink_group(struct group_cache *c, struct opened_group *o)
{
    struct opened_group **at = bucket_of(c, o->serial);
    while (*at != o)
        at = &(*at)->bucket_next;
    *at = o->bucket_next;
    *(o->newer == NULL ? &c->newest : &o->newer->older) = o->older;
    *(o->older == NULL ? &c->oldest : &o->older->newer) = o->newer;
    o->newer = o->older = o->bucket_next = NULL;
    budget_release(&c->budget, bytes_of_group(o));
}

static void link_group(struct group_cache *c, struct opened_group *o)
{
    struct opened_group **bucket = bucket_of(c, o->serial);
    o->bucket_next = *bucket;
    *bucket = o;
    o->newer = NULL;
    o->older = c->newest;
    *(c->newest == NULL ? &c->oldest : &c->newest->newer) = o;
    c->newest = o;
}

static struct opened_group *find(struct group_cache *c, uint64_t serial)
{
    struct opened_group *o = *bucket_of(c, serial);
    while (o != NULL && o->serial != serial)
        o = o->bucket_next;
    return o;
}

void group_cache_init(struct group_cache *c, size_t limit_bytes)
{
    *c = (struct group_cache){ 0 };
    (void)pthread_mutex_init(&c->lock, NULL);
    budget_init(&c->budget, limit_bytes, NULL);
}

void group_cache_deinit(struct group_cache *c)
{
    while (c->oldest != NULL) {
        struct opened_group *o = c->oldest;
        unlink_group(c, o);
        opened_group_free(o);
    }
    for (size_t i = 0; i < c->scratches_count; i++)
        rowgroup_scratch_deinit(&c->scratches[i]);
    (void)pthread_mutex_destroy(&c->lock);
    *c = (struct group_cache){ 0 };
}

struct opened_group *group_cache_take(struct group_cache *c, uint64_t serial)
{
    (void)pthread_mutex_lock(&c->lock);
    struct opened_group *o = find(c, serial);
    if (o != NULL)
        unlink_group(c, o);
    (void)pthread_mutex_unlock(&c->lock);
    return o;
}

/* The oldest, when it was last used before `until`; else NULL. Under the lock. */
static struct opened_group *pop_unused(struct group_cache *c, uint64_t until_mono_ns)
{
    struct opened_group *o = c->oldest;
    if (o == NULL || o->used_mono_ns >= until_mono_ns)
        return NULL;
    unlink_group(c, o);
    return o;
}

static uint64_t before(uint64_t now_mono_ns, uint64_t ns)
{
    return now_mono_ns > ns ? now_mono_ns - ns : 0;
}

void group_cache_give(struct group_cache *c, struct opened_group *take_group, uint64_t now_mono_ns)
{
    struct opened_group *o = take_group, *evicted = NULL;
    assert(o->arena.budget == NULL && !o->has_inner);
    o->used_mono_ns = now_mono_ns;
    (void)pthread_mutex_lock(&c->lock);
    bool is_kept = find(c, o->serial) == NULL; /* else another query was quicker */
    while (is_kept && !budget_reserve(&c->budget, bytes_of_group(o))) {
        struct opened_group *old = pop_unused(c, before(now_mono_ns, GROUP_CACHE_HOT_NS));
        is_kept = old != NULL;
        if (old != NULL) {
            old->next = evicted;
            evicted = old;
        }
    }
    if (is_kept)
        link_group(c, o);
    (void)pthread_mutex_unlock(&c->lock);
    if (!is_kept)
        opened_group_free(o);
    while (evicted != NULL) {
        struct opened_group *next = evicted->next;
        opened_group_free(evicted);
        evicted = next;
    }
}

void group_cache_tend(struct group_cache *c, uint64_t now_mono_ns)
{
    for (;;) {
        (void)pthread_mutex_lock(&c->lock);
        struct opened_group *o = pop_unused(c, before(now_mono_ns, GROUP_CACHE_KEPT_NS));
        size_t idle = c->newest == NULL ? c->scratches_count : 0;
        struct rowgroup_scratch scratch = { 0 };
        if (idle > 0) /* nobody asks: the scratches go too, one at a time */
            scratch = c->scratches[--c->scratches_count];
        (void)pthread_mutex_unlock(&c->lock);
        rowgroup_scratch_deinit(&scratch);
        if (o == NULL && idle == 0)
            return;
        opened_group_free(o);
    }
}

void group_cache_scratch_take(struct group_cache *c, struct rowgroup_scratch *out)
{
    *out = (struct rowgroup_scratch){ 0 };
    (void)pthread_mutex_lock(&c->lock);
    if (c->scratches_count > 0)
        *out = c->scratches[--c->scratches_count];
    (void)pthread_mutex_unlock(&c->lock);
}

void group_cache_scratch_give(struct group_cache *c, struct rowgroup_scratch *take_scratch)
{
    (void)pthread_mutex_lock(&c->lock);
    if (c->scratches_count < GROUP_CACHE_SCRATCHES) {
        c->scratches[c->scratches_count++] = *take_scratch;
        *take_scratch = (struct rowgroup_scratch){ 0 };
    }
    (void)pthread_mutex_unlock(&c->lock);
    rowgroup_scratch_deinit(take_scratch);
}
