/* SPDX-License-Identifier: Apache-2.0 */
/* reader_pool.h - read-only connections of one file, kept for the next query.
 *
 * Threads    any; a connection belongs to whoever took it until it is given back.
 * Bound      at most READER_POOL_IDLE_MAX idle connections a file, and READER_POOL_ALL_IDLE_MAX over all files, of
 *            which the one that was used longest ago is closed for another; READER_SET_MAX of one reader, but for
 *            those that it is using at the moment. Each costs three descriptors and about 100 KiB. */
#ifndef SPINDLE_STORAGE_SQLITE_READER_POOL_H
#define SPINDLE_STORAGE_SQLITE_READER_POOL_H

#include "base/clock.h"
#include "storage/sqlite/db.h"

#include <pthread.h>

#define READER_POOL_IDLE_MAX     4
#define READER_POOL_ALL_IDLE_MAX 32
#define READER_POOL_IDLE_NS      (30 * NS_PER_S) /* then it is closed */
#define READER_SET_MAX           16u

struct reader_pool {
    size_t idle_count;      /* under the lock of all pools */
    const char *path, *vfs; /* borrowed */
};

/* Opens nothing yet. */
void reader_pool_init(struct reader_pool *p, const char *path, const char *vfs);
/* Every connection must have been given back. */
void reader_pool_deinit(struct reader_pool *p);
/* A read-only connection, for one thread until it is given back; may open the file. */
NODISCARD enum err reader_pool_take(struct reader_pool *p, struct db **out);
void reader_pool_give(struct reader_pool *p, struct db *take_db); /* NULL does nothing */

/* Close what nobody used for READER_POOL_IDLE_NS, of all pools of the process. */
void reader_pools_tend(uint64_t now_mono_ns);

/* The connections of one reader of several files: one a file, however much of it is read at once. A
 * connection costs 50 KiB and more. Zeroed is empty. */
struct reader_set {
    struct reader_set_entry *entries;
    size_t count, capacity;
};

/* The set's connection to the pool's file, taken from the pool when it has none yet. It stays the set's at least
 * until as many reader_set_leave() as takes. */
NODISCARD enum err reader_set_take(struct reader_set *s, struct reader_pool *p, struct db **out);
/* What was opened with it since one take is closed again: it may be given back for another. */
void reader_set_leave(struct reader_set *s, const struct db *db);
/* Give all of them back; what was opened with them is closed already. */
void reader_set_deinit(struct reader_set *s);

#endif
