/* SPDX-License-Identifier: Apache-2.0 */
/* reader_pool.h - read-only connections of one file, kept for the next query.
 *
 * Threads    any; a connection belongs to whoever took it until it is given back.
 * Bound      at most READER_POOL_IDLE_MAX idle connections a file, and READER_POOL_ALL_IDLE_MAX
 *            over all files: each costs three descriptors and about 100 KiB. */
#ifndef SPINDLE_STORAGE_SQLITE_READER_POOL_H
#define SPINDLE_STORAGE_SQLITE_READER_POOL_H

#include "storage/sqlite/db.h"

#include <pthread.h>

#define READER_POOL_IDLE_MAX     4
#define READER_POOL_ALL_IDLE_MAX 32

struct reader_pool {
    pthread_mutex_t lock; /* guards idle and idle_count */
    struct db *idle[READER_POOL_IDLE_MAX];
    size_t idle_count;
    const char *path, *vfs; /* borrowed */
};

/* Opens nothing yet. */
void reader_pool_init(struct reader_pool *p, const char *path, const char *vfs);
/* Every connection must have been given back. */
void reader_pool_deinit(struct reader_pool *p);
/* A read-only connection, for one thread until it is given back; may open the file. */
NODISCARD enum err reader_pool_take(struct reader_pool *p, struct db **out);
void reader_pool_give(struct reader_pool *p, struct db *take_db); /* NULL does nothing */

/* The connections of one reader of several files: one a file, however much of it is read at once. A
 * connection costs 50 KiB and more. Zeroed is empty. */
struct reader_set {
    struct reader_set_entry *entries;
    size_t count, capacity;
};

/* The set's connection to the pool's file, taken from the pool when it has none yet. */
NODISCARD enum err reader_set_take(struct reader_set *s, struct reader_pool *p, struct db **out);
/* Give all of them back; what was opened with them is closed already. */
void reader_set_deinit(struct reader_set *s);

#endif
