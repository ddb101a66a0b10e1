/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/reader_pool.h"

#include "base/clock.h"
#include "base/mem.h"

#include <assert.h>

struct reader {
    struct db db; /* first: what callers have of it */
    struct reader_pool *pool;
    struct reader *newer, *older; /* while it idles: of all that do */
    uint64_t idle_mono_ns;
};

/* Descriptors are the process's, so what idles is in one list, whatever its pool. The lock is held for a few lines;
 * files are opened and closed outside of it. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct reader *newest, *oldest;
static size_t idle_count;

static struct reader *reader_from(struct db *db)
{
    return (struct reader *)(void *)db;
}

static void idle_unlink(struct reader *r)
{
    if (r->newer != NULL)
        r->newer->older = r->older;
    else
        newest = r->older;
    if (r->older != NULL)
        r->older->newer = r->newer;
    else
        oldest = r->newer;
    r->newer = r->older = NULL;
    assert(idle_count > 0 && r->pool->idle_count > 0);
    idle_count--;
    r->pool->idle_count--;
}

static void idle_link(struct reader *r)
{
    r->older = newest;
    if (newest != NULL)
        newest->newer = r;
    else
        oldest = r;
    newest = r;
    idle_count++;
    r->pool->idle_count++;
}

static void reader_close(struct reader *r)
{
    if (r == NULL)
        return;
    db_close(&r->db);
    mem_free(r);
}

void reader_pool_init(struct reader_pool *p, const char *path, const char *vfs)
{
    *p = (struct reader_pool){ .path = path, .vfs = vfs };
}

/* The one of the pool that was used last; NULL: none idles. Out of the list. */
static struct reader *idle_take(struct reader_pool *p)
{
    (void)pthread_mutex_lock(&lock);
    struct reader *r = p->idle_count == 0 ? NULL : newest;
    while (r != NULL && r->pool != p)
        r = r->older;
    if (r != NULL)
        idle_unlink(r);
    (void)pthread_mutex_unlock(&lock);
    return r;
}

void reader_pool_deinit(struct reader_pool *p)
{
    for (struct reader *r = idle_take(p); r != NULL; r = idle_take(p))
        reader_close(r);
}

enum err reader_pool_take(struct reader_pool *p, struct db **out)
{
    struct reader *r = idle_take(p);
    if (r == NULL) {
        r = mem_zalloc(sizeof *r);
        if (r == NULL)
            return ERR_NOMEM;
        r->pool = p;
        enum err e = db_open(p->path, p->vfs, DB_READER, DURABILITY_FSYNC, &r->db);
        if (e != ERR_OK) {
            mem_free(r);
            return e;
        }
    }
    *out = &r->db;
    return ERR_OK;
}

void reader_pool_give(struct reader_pool *p, struct db *take_db)
{
    if (take_db == NULL)
        return;
    struct reader *r = reader_from(take_db), *gone = NULL;
    assert(r->pool == p);
    db_rest(
        take_db); /* the kernel caches the file; a megabyte for each that idles is not worth it */
    r->idle_mono_ns = clock_mono_ns();
    (void)pthread_mutex_lock(&lock);
    idle_link(r);
    if (p->idle_count > READER_POOL_IDLE_MAX) {
        for (gone = oldest; gone->pool != p;)
            gone = gone->newer;
    } else if (idle_count > READER_POOL_ALL_IDLE_MAX) {
        gone = oldest;
    }
    if (gone != NULL)
        idle_unlink(gone);
    (void)pthread_mutex_unlock(&lock);
    reader_close(gone);
}

void reader_pools_tend(uint64_t now_mono_ns)
{
    for (;;) {
        (void)pthread_mutex_lock(&lock);
        struct reader *r = oldest;
        if (r != NULL && now_mono_ns > r->idle_mono_ns &&
            now_mono_ns - r->idle_mono_ns > READER_POOL_IDLE_NS)
            idle_unlink(r);
        else
            r = NULL;
        (void)pthread_mutex_unlock(&lock);
        if (r == NULL)
            return;
        reader_close(r);
    }
}

/* ---- The connections of one reader ------------------------------------------------------------ */

struct reader_set_entry {
    struct reader_pool *pool;
    struct db *db;
    size_t users; /* takes without a leave */
};

/* Give back the one that is not in use for longest. */
static void set_shrink(struct reader_set *s)
{
    size_t i = 0;
    while (i < s->count && s->entries[i].users > 0)
        i++;
    if (i == s->count)
        return;
    reader_pool_give(s->entries[i].pool, s->entries[i].db);
    s->count--;
    memmove(&s->entries[i], &s->entries[i + 1], (s->count - i) * sizeof *s->entries);
}

enum err reader_set_take(struct reader_set *s, struct reader_pool *p, struct db **out)
{
    for (size_t i = s->count; i-- > 0;) {
        struct reader_set_entry entry = s->entries[i];
        if (entry.pool != p)
            continue;
        entry.users++;
        memmove(&s->entries[i], &s->entries[i + 1], (s->count - 1 - i) * sizeof *s->entries);
        s->entries[s->count - 1] = entry; /* in the order of their last use */
        *out = entry.db;
        return ERR_OK;
    }
    if (s->count >= READER_SET_MAX)
        set_shrink(s);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity == 0 ? 4 : 2 * s->capacity;
        struct reader_set_entry *grown = mem_realloc(s->entries, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        s->entries = grown;
        s->capacity = capacity;
    }
    struct db *db = NULL;
    enum err e = reader_pool_take(p, &db);
    if (e != ERR_OK)
        return e;
    s->entries[s->count++] = (struct reader_set_entry){ p, db, 1 };
    *out = db;
    return ERR_OK;
}

void reader_set_leave(struct reader_set *s, const struct db *db)
{
    size_t i = 0;
    while (i < s->count && s->entries[i].db != db)
        i++;
    assert(i < s->count && s->entries[i].users > 0);
    s->entries[i].users--;
}

void reader_set_deinit(struct reader_set *s)
{
    for (size_t i = 0; i < s->count; i++)
        reader_pool_give(s->entries[i].pool, s->entries[i].db);
    mem_free(s->entries);
    *s = (struct reader_set){ 0 };
}
