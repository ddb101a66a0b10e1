/* SPDX-License-Identifier: Apache-2.0 */
/* maintain.c - the thread that looks after what is stored: see maintain_tick(). */
#include "base/log.h"
#include "base/timed_wait.h"
#include "storage/sqlite/engine_private.h"

#include <time.h>

#define CLOCK_STORE_NS (600 * NS_PER_S) /* how much of the time that passed a power cut may undo */

/* Task. */
static enum err clock_store(struct sqlite_engine *e, void *unused)
{
    (void)unused;
    if (catalog_db(e->catalog)->is_sync_failed)
        return ERR_IO;
    enum err error = retention_clock_store(&e->clock, e->catalog);
    if (error != ERR_OK)
        writer_write_failed(e, NULL, error);
    return error;
}

/* Task. */
static enum err first_seen_task(struct sqlite_engine *e, void *unused)
{
    (void)unused;
    if (catalog_db(e->catalog)->is_sync_failed)
        return ERR_IO;
    enum err error = first_seen_store(&e->first_seen, e->catalog);
    if (error != ERR_OK && error != ERR_NOMEM)
        writer_write_failed(e, NULL, error);
    return error;
}

static void first_seen_keep(struct sqlite_engine *e)
{
    if (first_seen_is_changed(&e->first_seen))
        (void)!writer_task_run(e, first_seen_task, NULL); /* else at the next tick */
}

static void maintain_tick(struct sqlite_engine *e)
{
    struct maintain *m = &e->maintain;
    uint64_t now = clock_mono_ns();
    disk_guard_run(e);
    retention_run(e);
    merge_run(e);
    derived_rollups_run(e);
    digests_run(e);
    first_seen_keep(e);
    if (now - m->clock_stored_mono_ns >= CLOCK_STORE_NS &&
        writer_task_run(e, clock_store, NULL) == ERR_OK)
        m->clock_stored_mono_ns = now;
}

bool maintain_is_stopping(struct sqlite_engine *e)
{
    return atomic_load(&e->maintain.is_stopping);
}

static void *maintain_main(void *context)
{
    struct sqlite_engine *e = context;
    struct maintain *m = &e->maintain;
    while (!maintain_is_stopping(e)) {
        maintain_tick(e);
        const struct timespec until = timed_wait_until(e->maintain_interval_ns);
        (void)pthread_mutex_lock(&m->lock);
        if (!atomic_load(&m->is_stopping))
            (void)pthread_cond_timedwait(&m->changed, &m->lock, &until);
        (void)pthread_mutex_unlock(&m->lock);
    }
    first_seen_keep(e);
    (void)!writer_task_run(e, clock_store, NULL); /* else the time since the last store is lost */
    return NULL;
}

void maintain_init(struct sqlite_engine *e)
{
    struct maintain *m = &e->maintain;
    (void)pthread_mutex_init(&m->lock, NULL);
    timed_wait_init(&m->changed);
    m->clock_stored_mono_ns = clock_mono_ns();
}

enum err maintain_start(struct sqlite_engine *e)
{
    if (pthread_create(&e->maintain.thread, NULL, maintain_main, e) != 0)
        return ERR_NOMEM;
    (void)pthread_setname_np(e->maintain.thread, "maintenance");
    e->maintain.is_started = true;
    return ERR_OK;
}

void maintain_stop(struct sqlite_engine *e)
{
    struct maintain *m = &e->maintain;
    if (!m->is_started)
        return;
    (void)pthread_mutex_lock(&m->lock);
    atomic_store(&m->is_stopping, true);
    (void)pthread_cond_broadcast(&m->changed);
    (void)pthread_mutex_unlock(&m->lock);
    (void)pthread_join(m->thread, NULL);
    m->is_started = false;
}

void maintain_deinit(struct sqlite_engine *e)
{
    merge_forget(e);
    retention_logs_drop(e);
    (void)pthread_mutex_destroy(&e->maintain.lock);
    (void)pthread_cond_destroy(&e->maintain.changed);
}
