/* SPDX-License-Identifier: Apache-2.0 */
/* group_cache.h - row groups kept open between queries: their directories and dictionaries, not their rows.
 *
 * Role       a search asks hundreds of groups whether anything in them can match, and what answers is the
 *            same each time. A group is one query's at a time; another query that wants it opens its own.
 * Threads    any; the lock is held for a few lines.
 * Bound      bytes of a budget of its own. What was used least recently goes first, but not what was used in
 *            the last seconds: a search over more groups than there is room for would else evict each
 *            before it comes back to it. What nobody used for a while goes too (group_cache_tend()).
 * Ownership  an opened group belongs to whoever took it, and to the cache once given. The cache holds no
 *            reference on what the group is of: a group that is no more is never asked for again. */
#ifndef SPINDLE_STORAGE_SQLITE_GROUP_CACHE_H
#define SPINDLE_STORAGE_SQLITE_GROUP_CACHE_H

#include "base/budget.h"
#include "base/clock.h"
#include "storage/rowgroup/rowgroup.h"

#include <pthread.h>

/* Of the engine's memory: 16 MiB of the 128 that it has where the program has 512. A group of W1 takes 130 KB. */
#define GROUP_CACHE_SHARE     8
#define GROUP_CACHE_BUCKETS   1024
#define GROUP_CACHE_SCRATCHES 4
#define GROUP_CACHE_HOT_NS    (2 * NS_PER_S)  /* used since: not evicted for another */
#define GROUP_CACHE_KEPT_NS   (15 * NS_PER_S) /* not used for so long: closed */

struct db;
struct query_source;
struct group;

struct opened_group {
    struct arena arena; /* of the segment; charged to whoever has the group */
    struct segment *segment;
    uint64_t serial; /* of the group */
    /* While a query has it: */
    struct opened_group *next; /* the query's list */
    struct query_source *by;
    struct group *group;
    struct rowgroup_source inner; /* opened when something is read */
    struct db *reader;            /* with this one of the query's connections */
    bool has_inner, wants_values, wants_traces;
    /* While the cache has it: */
    struct opened_group *bucket_next, *newer, *older;
    uint64_t used_mono_ns;
};
/* Close the segment and free everything; NULL does nothing. */
void opened_group_free(struct opened_group *take_group);

struct group_cache {
    pthread_mutex_t lock; /* guards all below */
    struct budget budget;
    struct opened_group *buckets[GROUP_CACHE_BUCKETS];
    struct opened_group *newest, *oldest;
    struct rowgroup_scratch scratches[GROUP_CACHE_SCRATCHES];
    size_t scratches_count;
};

/* Empty; its lock lives until deinit. */
void group_cache_init(struct group_cache *c, size_t limit_bytes);
void group_cache_deinit(struct group_cache *c); /* safe on a zeroed one */
/* NULL when it is not there. Charged to nobody now. */
struct opened_group *group_cache_take(struct group_cache *c, uint64_t serial);
/* One that rests, charged to nobody: kept, or freed where there is no room. */
void group_cache_give(struct group_cache *c, struct opened_group *take_group, uint64_t now_mono_ns);
/* Free what was not used for GROUP_CACHE_KEPT_NS. */
void group_cache_tend(struct group_cache *c, uint64_t now_mono_ns);

/* A scratch that somebody used before, or an empty one; given back after. */
void group_cache_scratch_take(struct group_cache *c, struct rowgroup_scratch *out);
void group_cache_scratch_give(struct group_cache *c, struct rowgroup_scratch *take_scratch);

#endif
