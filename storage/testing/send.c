/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/testing/send.h"

#include "base/clock.h"

#include <pthread.h>

struct sent {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
    enum err result;
};

static void on_done(struct append *a, enum err result)
{
    struct sent *s = a->context;
    (void)pthread_mutex_lock(&s->lock);
    s->is_done = true;
    s->result = result;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

enum err send_body(struct engine *e, enum signal signal, struct bytes body, uint64_t items,
                   struct hash128 request)
{
    struct sent s = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    struct append a = { .signal = signal,
                        .items = items,
                        .request_hash = request,
                        .arrival_unix_ns = clock_unix_ns(),
                        .on_done = on_done,
                        .context = &s };
    arena_init(&a.arena, SIZE_MAX, NULL);
    enum err result = arena_dup(&a.arena, body, &a.body);
    if (result == ERR_OK) {
        engine_append(e, &a);
        (void)pthread_mutex_lock(&s.lock);
        while (!s.is_done)
            (void)pthread_cond_wait(&s.changed, &s.lock);
        (void)pthread_mutex_unlock(&s.lock);
        result = s.result;
    }
    arena_deinit(&a.arena);
    return result;
}
