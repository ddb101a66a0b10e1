/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/watch.h"

void watch_init(struct watch *w)
{
    *w = (struct watch){ 0 };
    (void)pthread_mutex_init(&w->lock, NULL);
}

void watch_deinit(struct watch *w)
{
    (void)pthread_mutex_destroy(&w->lock);
}

void watch_set(struct watch *w, stored_fn *on_stored, void *context)
{
    (void)pthread_mutex_lock(&w->lock);
    w->on_stored = on_stored;
    w->context = context;
    atomic_store_explicit(&w->is_watched, on_stored != NULL, memory_order_relaxed);
    (void)pthread_mutex_unlock(&w->lock);
}

void watch_tell(struct watch *w, struct pending *const *entries, size_t count)
{
    if (!atomic_load_explicit(&w->is_watched, memory_order_relaxed))
        return;
    (void)pthread_mutex_lock(&w->lock);
    for (size_t i = 0; w->on_stored != NULL && i < count; i++)
        w->on_stored(w->context, entries[i]->signal, entries[i]->body, entries[i]->items);
    (void)pthread_mutex_unlock(&w->lock);
}
