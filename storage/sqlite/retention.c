/* SPDX-License-Identifier: Apache-2.0 */
/* retention.c - the oldest partitions go when they are too old, or all of them too large.
 *
 * A partition goes whole, in steps that a restart continues: the catalogue says that it is being removed, and
 * it is no longer shown; when the last query that saw it has ended, its files are unlinked; then the
 * catalogue forgets it. The newest stays in any case.
 *
 * The writer changes the catalogue and the view; the slow parts, reading and unlinking, are maintenance's. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/summary.h"

#include <assert.h>

static const char *const reason_texts[EXPIRY_COUNT] = { "age", "size", "disk" };

/* ---- Beginning ------------------------------------------------------------------------------- */

struct expiry_step {
    struct partition *partition; /* a reference, or NULL */
    enum expiry reason;
    struct operations operations; /* that its spans were counted under */
};

/* What is gone already, but for queries that still look at it, counts as gone. */
static uint64_t partitions_bytes(const struct sqlite_engine *e)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < e->partitions_count; i++)
        if (e->partitions[i]->state != PARTITION_REMOVING)
            bytes += atomic_load_explicit(&e->partitions[i]->bytes, memory_order_relaxed);
    return bytes;
}

/* Rollups outlive their spans: however large the catalogue becomes, a quarter of the room stays the spans'. */
static bool is_too_much(const struct sqlite_engine *e)
{
    uint64_t bytes = partitions_bytes(e);
    return e->retention_bytes != 0 && bytes > e->retention_bytes / 4 &&
           bytes + atomic_load(&e->catalog_bytes) > e->retention_bytes;
}

/* The oldest that is not going already, if it is not the newest; NULL: there is none. */
static struct partition *oldest_closed(const struct sqlite_engine *e)
{
    for (size_t i = 0; i + 1 < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p == e->writer.open)
            return NULL;
        if (p->state != PARTITION_REMOVING && p->state != PARTITION_FROZEN)
            return p;
    }
    return NULL;
}

/* When the partition after this one was opened; 0: not known. */
static uint64_t next_opened(const struct sqlite_engine *e, const struct partition *p)
{
    for (size_t i = 0; i + 1 < e->partitions_count; i++)
        if (e->partitions[i] == p)
            return e->partitions[i + 1]->opened_clock_ns;
    return 0;
}

static bool has_to_go(struct sqlite_engine *e, const struct partition *p, enum expiry *out_reason)
{
    uint64_t now = retention_clock_now(&e->clock);
    uint64_t closed_ns = p->closed_clock_ns != 0 ? p->closed_clock_ns : next_opened(e, p);
    if (e->retention_age_ns != 0 && closed_ns != 0 && now > closed_ns &&
        now - closed_ns >= e->retention_age_ns)
        *out_reason = EXPIRY_AGE;
    else if (is_too_much(e))
        *out_reason = EXPIRY_SIZE;
    else if (atomic_load(&e->disk.evict_is_due))
        *out_reason = EXPIRY_DISK;
    else
        return false;
    return true;
}

/* Task: is there one to go? What goes is always the oldest: one that is to be merged before it is sealed is waited
 * for, and is then sealed without. */
static enum err expiry_choose(struct sqlite_engine *e, void *context)
{
    struct expiry_step *step = context;
    struct partition *p = oldest_closed(e);
    bool goes =
        p != NULL && !catalog_db(e->catalog)->is_sync_failed && has_to_go(e, p, &step->reason);
    bool is_whole = p != NULL && (p->state != PARTITION_OPEN || p->is_damaged);
    atomic_store(&e->seals_unmerged, goes && !is_whole);
    /* A damaged one may never have been closed, and what was read of its journal may wait for ever. */
    if (!goes || !is_whole || view_count_in(&e->view, p) > 0)
        return ERR_OK;
    if (step->reason == EXPIRY_DISK)
        atomic_store(&e->disk.evict_is_due, false);
    step->partition = partition_retain(p);
    return ERR_OK;
}

static enum err operation_found(void *context, struct bytes service, struct bytes name,
                                uint32_t kind, uint64_t spans)
{
    return operations_add(context, service, name, kind, spans);
}

static void expiry_count(struct sqlite_engine *e, const struct expiry_step *step,
                         const struct view_removal *r)
{
    struct partition *p = step->partition;
    for (int s = 0; s < SIGNAL_COUNT; s++)
        metric_add(e->metrics.expired_items[s][step->reason], r->rows[s] + r->aside_items[s]);
    metric_add(e->metrics.expired_partitions[step->reason], 1);
    metric_add(e->metrics.expired_bytes[step->reason], atomic_load(&p->bytes));
    log_line(LOG_INFO, "storage",
             "partition %llu expires (%s): %llu spans, %llu log records, %llu bytes",
             (unsigned long long)p->id, reason_texts[step->reason],
             (unsigned long long)(r->rows[SIGNAL_TRACES] + r->aside_items[SIGNAL_TRACES]),
             (unsigned long long)(r->rows[SIGNAL_LOGS] + r->aside_items[SIGNAL_LOGS]),
             (unsigned long long)atomic_load(&p->bytes));
}

/* Task: the partition vanishes from the catalogue's list and from the view. */
static enum err expiry_begin(struct sqlite_engine *e, void *context)
{
    struct expiry_step *step = context;
    struct partition *p = step->partition;
    struct view_removal removal;
    CRASH_POINT("expiry_begun");
    enum err error = view_prepare_removal(&e->view, p, &removal);
    if (error != ERR_OK)
        return error;
    error = summary_expire(e, p, reason_texts[step->reason], &step->operations);
    CRASH_POINT("expiry_listed");
    if (error != ERR_OK) {
        view_removal_deinit(&removal);
        writer_write_failed(e, NULL, error);
        return error;
    }
    expiry_count(e, step, &removal);
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    operations_subtract(&e->operations, &step->operations);
    operations_compact(&e->operations);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        atomic_fetch_sub(&e->stored_items[s], removal.rows[s]);
        atomic_fetch_sub(&e->pending_items[s], removal.aside_items[s]);
    }
    atomic_fetch_sub(&e->groups_count, removal.groups);
    derived_forget(e, p);
    p->state = PARTITION_REMOVING;
    view_remove(&e->view, &removal);
    if (e->maintain.logs_expiry.partition == p)
        retention_logs_drop(e);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    for (size_t i = 0; i < e->partitions_count; i++) {
        if (e->partitions[i]->state == PARTITION_REMOVING)
            continue;
        atomic_store(&e->first_arrival_unix_ns, e->partitions[i]->opened_unix_ns);
        break;
    }
    return ERR_OK;
}

/* One partition; false: there was none to go, or it failed. */
static bool expire_one(struct sqlite_engine *e)
{
    struct expiry_step step = { .partition = NULL };
    enum err error = writer_task_run(e, expiry_choose, &step);
    if (step.partition == NULL)
        return false;
    operations_init(&step.operations);
    const struct partition_visit visit = { .context = &step.operations,
                                           .on_operation = operation_found };
    if (error == ERR_OK && !step.partition->is_damaged)
        error = partition_load_operations(step.partition, &visit);
    /* Its counts stay; it goes all the same, or nothing would go any more. */
    if (error == ERR_CORRUPT || error == ERR_IO || error == ERR_NOT_FOUND)
        error = ERR_OK;
    if (error == ERR_OK)
        error = writer_task_run(e, expiry_begin, &step);
    operations_deinit(&step.operations);
    partition_release(step.partition);
    return error == ERR_OK;
}

/* ---- Ending ---------------------------------------------------------------------------------- */

/* Task: one that is being removed, and that nobody looks at any more. */
static enum err expired_find(struct sqlite_engine *e, void *context)
{
    struct partition **out = context;
    if (catalog_db(e->catalog)->is_sync_failed)
        return ERR_OK;
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        /* Nobody can find it any more, so a count of one stays one. */
        if (p->state == PARTITION_REMOVING &&
            atomic_load_explicit(&p->references, memory_order_acquire) == 1) {
            *out = partition_retain(p);
            return ERR_OK;
        }
    }
    return ERR_OK;
}

/* Task: its files are gone. */
static enum err expired_forget(struct sqlite_engine *e, void *context)
{
    struct partition *p = context;
    CRASH_POINT("expiry_unlinked");
    enum err error = catalog_partition_forget(e->catalog, p->id);
    CRASH_POINT("expiry_forgotten");
    if (error != ERR_OK) {
        writer_write_failed(e, NULL, error);
        return error;
    }
    engine_partition_drop(e, p);
    return ERR_OK;
}

static bool unlink_one(struct sqlite_engine *e)
{
    struct partition *p = NULL;
    enum err error = writer_task_run(e, expired_find, &p);
    if (p == NULL)
        return false;
    reader_pool_deinit(&p->readers); /* idle connections; nobody takes one any more */
    reader_pool_init(&p->readers, p->path, p->vfs);
    CRASH_POINT("expiry_unlinking");
    if (error == ERR_OK)
        error = partition_unlink(p);
    if (error == ERR_OK)
        error = writer_task_run(e, expired_forget, p);
    if (error != ERR_OK)
        log_line(LOG_WARN, "storage", "partition %llu cannot be removed yet: %s",
                 (unsigned long long)p->id, err_text(error));
    partition_release(p);
    return error == ERR_OK;
}

void retention_run(struct sqlite_engine *e)
{
    while (expire_one(e) && !maintain_is_stopping(e))
        ;
    retention_logs_run(e);
    while (unlink_one(e) && !maintain_is_stopping(e))
        ;
}
