/* SPDX-License-Identifier: Apache-2.0 */
/* watch.h - who wants to see each request as it becomes durable and visible: one watcher, or none.
 *
 * Threads    watch_set() any; watch_tell() the writer. */
#ifndef SPINDLE_STORAGE_SQLITE_WATCH_H
#define SPINDLE_STORAGE_SQLITE_WATCH_H

#include "storage/sqlite/view.h"

struct watch {
    pthread_mutex_t
        lock; /* held while the watcher is called, so that it is not called after it was changed */
    stored_fn *on_stored; /* NULL: nobody watches */
    void *context;
    _Atomic bool is_watched; /* spares the writer the lock */
};

/* Nobody watches. */
void watch_init(struct watch *w);
/* Nobody may be told any more. */
void watch_deinit(struct watch *w);
/* See engine_watch(). */
void watch_set(struct watch *w, stored_fn *on_stored, void *context);
/* Entries that have just become visible. */
void watch_tell(struct watch *w, struct pending *const *entries, size_t count);

#endif
