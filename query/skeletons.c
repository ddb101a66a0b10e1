/* SPDX-License-Identifier: Apache-2.0 */
#include "query/skeletons.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>

#define KEPT_MAX  8 /* pages open at once, with room for one who compares */
#define UNUSED_NS (60 * NS_PER_S)

struct skeletons {
    pthread_mutex_t lock;        /* guards what follows */
    struct kept_skeleton *first; /* the one used last */
    struct budget *budget;
    size_t bytes_max;
};

enum err skeletons_open(struct budget *budget, size_t bytes_max, struct skeletons **out)
{
    struct skeletons *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&s->lock, NULL);
    s->budget = budget;
    s->bytes_max = bytes_max;
    *out = s;
    return ERR_OK;
}

static void let_go(struct kept_skeleton *k)
{
    assert(k->refs > 0);
    if (--k->refs > 0)
        return;
    arena_deinit(&k->memory);
    mem_free(k);
}

void skeletons_close(struct skeletons *s)
{
    if (s == NULL)
        return;
    while (s->first != NULL) {
        struct kept_skeleton *k = s->first;
        s->first = k->next;
        assert(k->refs == 1);
        let_go(k);
    }
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

struct kept_skeleton *skeletons_new(struct skeletons *s, const struct trace_id *id, size_t limit)
{
    struct kept_skeleton *k = mem_zalloc(sizeof *k);
    if (k == NULL)
        return NULL;
    k->trace_id = *id;
    k->refs = 1;
    k->made_mono_ns = k->used_mono_ns = clock_mono_ns();
    arena_init(&k->memory, limit, s->budget);
    return k;
}

/* Holding the lock: those behind the first ones that fit, and those that nobody wants. */
static void trim(struct skeletons *s, uint64_t now_mono_ns)
{
    size_t count = 0, bytes = 0;
    struct kept_skeleton **at = &s->first;
    while (*at != NULL) {
        struct kept_skeleton *k = *at;
        bool is_old = now_mono_ns > k->used_mono_ns && now_mono_ns - k->used_mono_ns > UNUSED_NS;
        if (is_old || count == KEPT_MAX || k->memory.held_bytes > s->bytes_max - bytes) {
            *at = k->next;
            let_go(k);
            continue;
        }
        count++;
        bytes += k->memory.held_bytes;
        at = &k->next;
    }
}

void skeletons_keep(struct skeletons *s, struct kept_skeleton *k)
{
    pthread_mutex_lock(&s->lock);
    /* The same again takes the place of the former. */
    for (struct kept_skeleton **at = &s->first; *at != NULL;) {
        struct kept_skeleton *other = *at;
        if (memcmp(other->trace_id.b, k->trace_id.b, sizeof k->trace_id.b) != 0 ||
            other->skeleton.version != k->skeleton.version) {
            at = &other->next;
            continue;
        }
        *at = other->next;
        let_go(other);
    }
    k->refs++;
    k->next = s->first;
    s->first = k;
    trim(s, k->made_mono_ns);
    pthread_mutex_unlock(&s->lock);
}

static bool is_wanted(const struct kept_skeleton *k, const struct trace_id *id,
                      const uint64_t *version, uint64_t now_mono_ns, uint64_t max_age_ns)
{
    if (memcmp(k->trace_id.b, id->b, sizeof id->b) != 0)
        return false;
    return version != NULL ? k->skeleton.version == *version
                           : now_mono_ns - k->made_mono_ns <= max_age_ns;
}

struct kept_skeleton *skeletons_take(struct skeletons *s, const struct trace_id *id,
                                     const uint64_t *version, uint64_t max_age_ns)
{
    struct kept_skeleton *found = NULL, **link = NULL;
    pthread_mutex_lock(&s->lock);
    uint64_t now = clock_mono_ns();
    for (struct kept_skeleton **at = &s->first; *at != NULL; at = &(*at)->next) {
        if (is_wanted(*at, id, version, now, max_age_ns) &&
            (found == NULL || (*at)->made_mono_ns > found->made_mono_ns)) {
            found = *at;
            link = at;
        }
    }
    if (found != NULL) {
        *link = found->next;
        found->next = s->first;
        s->first = found;
        found->used_mono_ns = now;
        found->refs++;
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}

void skeletons_release(struct skeletons *s, struct kept_skeleton *k)
{
    if (k == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    let_go(k);
    pthread_mutex_unlock(&s->lock);
}

void skeletons_expire(struct skeletons *s, uint64_t now_mono_ns)
{
    pthread_mutex_lock(&s->lock);
    trim(s, now_mono_ns);
    pthread_mutex_unlock(&s->lock);
}

size_t skeletons_count(struct skeletons *s)
{
    size_t count = 0;
    pthread_mutex_lock(&s->lock);
    for (const struct kept_skeleton *k = s->first; k != NULL; k = k->next)
        count++;
    pthread_mutex_unlock(&s->lock);
    return count;
}
