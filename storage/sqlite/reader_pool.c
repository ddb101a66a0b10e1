/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/reader_pool.h"

#include "base/mem.h"

#include <stdatomic.h>

static _Atomic size_t all_idle; /* over every pool of the process: descriptors are the process's */

void reader_pool_init(struct reader_pool *p, const char *path, const char *vfs)
{
    *p = (struct reader_pool){ .path = path, .vfs = vfs };
    (void)pthread_mutex_init(&p->lock, NULL);
}

static void reader_close(struct db *db)
{
    db_close(db);
    mem_free(db);
}

void reader_pool_deinit(struct reader_pool *p)
{
    for (size_t i = 0; i < p->idle_count; i++) {
        reader_close(p->idle[i]);
        (void)atomic_fetch_sub_explicit(&all_idle, 1, memory_order_relaxed);
    }
    p->idle_count = 0;
    (void)pthread_mutex_destroy(&p->lock);
}

enum err reader_pool_take(struct reader_pool *p, struct db **out)
{
    struct db *db = NULL;
    (void)pthread_mutex_lock(&p->lock);
    if (p->idle_count > 0)
        db = p->idle[--p->idle_count];
    (void)pthread_mutex_unlock(&p->lock);
    if (db != NULL) {
        (void)atomic_fetch_sub_explicit(&all_idle, 1, memory_order_relaxed);
        *out = db;
        return ERR_OK;
    }

    db = mem_zalloc(sizeof *db);
    if (db == NULL)
        return ERR_NOMEM;
    enum err e = db_open(p->path, p->vfs, DB_READER, DURABILITY_FSYNC, db);
    if (e != ERR_OK) {
        mem_free(db);
        return e;
    }
    *out = db;
    return ERR_OK;
}

void reader_pool_give(struct reader_pool *p, struct db *take_db)
{
    if (take_db == NULL)
        return;
    db_rest(
        take_db); /* the kernel caches the file; a megabyte for each that idles is not worth it */
    bool is_kept = false;
    if (atomic_fetch_add_explicit(&all_idle, 1, memory_order_relaxed) < READER_POOL_ALL_IDLE_MAX) {
        (void)pthread_mutex_lock(&p->lock);
        if (p->idle_count < READER_POOL_IDLE_MAX) {
            p->idle[p->idle_count++] = take_db;
            is_kept = true;
        }
        (void)pthread_mutex_unlock(&p->lock);
    }
    if (!is_kept) {
        (void)atomic_fetch_sub_explicit(&all_idle, 1, memory_order_relaxed);
        reader_close(take_db);
    }
}

/* ---- The connections of one reader ------------------------------------------------------------ */

struct reader_set_entry {
    struct reader_pool *pool;
    struct db *db;
};

enum err reader_set_take(struct reader_set *s, struct reader_pool *p, struct db **out)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i].pool == p) {
            *out = s->entries[i].db;
            return ERR_OK;
        }
    }
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
    s->entries[s->count++] = (struct reader_set_entry){ p, db };
    *out = db;
    return ERR_OK;
}

void reader_set_deinit(struct reader_set *s)
{
    for (size_t i = 0; i < s->count; i++)
        reader_pool_give(s->entries[i].pool, s->entries[i].db);
    mem_free(s->entries);
    *s = (struct reader_set){ 0 };
}
