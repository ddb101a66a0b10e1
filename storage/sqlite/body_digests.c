/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/body_digests.h"

#include "base/clock.h"
#include "base/timed_wait.h"

#include <errno.h>
#include <time.h>

#define KEPT_NS (30 * NS_PER_S) /* a page that follows a search asks every few seconds */
#define PAUSE_NS                                                                                   \
    (20 *                                                                                          \
     NS_PER_MS) /* 20,000 spans/s: at most 400 spans are not known, 40 us of looking through them */
#define LOOK_NS                                                                                    \
    (50 *                                                                                          \
     NS_PER_MS) /* of making them, between two pauses: all that can wait, after the first question */
#define BEHIND_NS                                                                                  \
    (1 * NS_PER_MS) /* likewise while the builder is behind: a twentieth of a processor */

static bool is_wanted(const struct body_digests *b)
{
    uint64_t asked = atomic_load(&b->asked_mono_ns);
    return asked != 0 && clock_mono_ns() < asked + KEPT_NS;
}

/* Those of one signal that have none. Returns whether there is time for more. */
static bool bodies_learn(struct body_digests *b, const struct pending_range *range,
                         uint64_t until_mono_ns)
{
    struct pending *p = range->first;
    for (size_t i = 0; i < range->count; i++, p = p->next) {
        if (pending_is_known(p))
            continue;
        if (atomic_load(&b->is_stopping) || clock_mono_ns() >= until_mono_ns ||
            pending_learn(p) != ERR_OK)
            return false;
    }
    return true;
}

static void look(struct body_digests *b)
{
    struct view_totals totals;
    view_totals(b->view, &totals);
    uint64_t begun = clock_mono_ns();
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        bool is_behind = totals.items[s] > b->items_behind;
        struct snapshot snapshot;
        view_snapshot(b->view, (enum signal)s, &snapshot);
        (void)bodies_learn(b, &snapshot.pending, begun + (is_behind ? BEHIND_NS : LOOK_NS));
        snapshot_release(&snapshot);
    }
}

/* Under the lock. */
static void pause_for(struct body_digests *b, uint64_t ns)
{
    const struct timespec until = timed_wait_until(ns);
    while (!atomic_load(&b->is_stopping) &&
           pthread_cond_timedwait(&b->changed, &b->lock, &until) != ETIMEDOUT)
        ;
}

/* Under the lock. is_asleep is set before the question is looked for, and a question is noted before is_asleep is: one of
 * both sees the other. */
static void sleep_until_asked(struct body_digests *b)
{
    atomic_store(&b->is_asleep, true);
    while (!atomic_load(&b->is_stopping) && !is_wanted(b))
        (void)pthread_cond_wait(&b->changed, &b->lock);
    atomic_store(&b->is_asleep, false);
}

static void *body_digests_main(void *context)
{
    struct body_digests *b = context;
    (void)pthread_mutex_lock(&b->lock);
    while (!atomic_load(&b->is_stopping)) {
        if (!is_wanted(b))
            sleep_until_asked(b);
        (void)pthread_mutex_unlock(&b->lock);
        look(b);
        (void)pthread_mutex_lock(&b->lock);
        pause_for(b, PAUSE_NS);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return NULL;
}

void body_digests_asked(struct body_digests *b)
{
    atomic_store(&b->asked_mono_ns, clock_mono_ns());
    if (!atomic_load(&b->is_asleep))
        return;
    (void)pthread_mutex_lock(&b->lock);
    (void)pthread_cond_signal(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
}

void body_digests_init(struct body_digests *b, struct view *view, uint64_t items_behind)
{
    *b = (struct body_digests){ .view = view, .items_behind = items_behind };
    (void)pthread_mutex_init(&b->lock, NULL);
    timed_wait_init(&b->changed);
}

enum err body_digests_start(struct body_digests *b)
{
    if (pthread_create(&b->thread, NULL, body_digests_main, b) != 0)
        return ERR_NOMEM;
    (void)pthread_setname_np(b->thread, "digests");
    b->is_started = true;
    return ERR_OK;
}

void body_digests_stop(struct body_digests *b)
{
    if (!b->is_started)
        return;
    (void)pthread_mutex_lock(&b->lock);
    atomic_store(&b->is_stopping, true);
    (void)pthread_cond_broadcast(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
    (void)pthread_join(b->thread, NULL);
    b->is_started = false;
}

void body_digests_deinit(struct body_digests *b)
{
    (void)pthread_mutex_destroy(&b->lock);
    (void)pthread_cond_destroy(&b->changed);
}
