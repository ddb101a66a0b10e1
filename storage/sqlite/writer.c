/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - group commit: everything that waits becomes durable by one write and one sync.
 *
 * No timer: a lone request is committed at once, and what arrives while a sync runs forms the next
 * group. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>
#include <unistd.h>

static struct append *append_from(struct queue_node *node)
{
    return (struct append *)(void *)node; /* its first member */
}

/* ---- From other threads ---------------------------------------------------------------------- */

static void writer_wake(struct sqlite_engine *e)
{
    /* When the queue is too full for the note, the writer is awake. */
    if (!atomic_exchange(&e->writer.is_wake_queued, true) &&
        !queue_push(&e->writer.queue, &e->writer.wake, 0))
        atomic_store(&e->writer.is_wake_queued, false);
}

void writer_append(struct engine *base, struct append *a)
{
    struct sqlite_engine *e = sqlite_engine_from(base);
    if (atomic_load_explicit(&e->is_stopping, memory_order_acquire)) {
        a->on_done(a, ERR_STOPPING);
        return;
    }
    size_t held = a->arena.held_bytes > a->body.len ? a->arena.held_bytes : a->body.len;
    size_t charge = held + sizeof(struct pending);
    /* One request may be larger than the budget: it is let in when nothing else is there. */
    if (!budget_reserve(&e->budget, charge)) {
        if (budget_used(&e->budget) != 0) {
            metric_add(e->metrics.refused_busy, 1);
            builder_notify(e);
            a->on_done(a, ERR_BUSY);
            return;
        }
        charge = 0;
    }
    if (!queue_push(&e->writer.queue, &a->node, charge)) {
        budget_release(&e->budget, charge);
        metric_add(e->metrics.refused_busy, 1);
        a->on_done(a, atomic_load(&e->is_stopping) ? ERR_STOPPING : ERR_BUSY);
    }
}

enum err writer_task_run(struct sqlite_engine *e, writer_task_fn *run, void *context)
{
    struct writer *w = &e->writer;
    struct writer_task task = { .run = run, .context = context };
    (void)pthread_mutex_lock(&w->lock);
    if (w->tasks_last == NULL)
        w->tasks_first = &task;
    else
        w->tasks_last->next = &task;
    w->tasks_last = &task;
    (void)pthread_mutex_unlock(&w->lock);
    writer_wake(e);
    (void)pthread_mutex_lock(&w->lock);
    while (!task.is_done)
        (void)pthread_cond_wait(&w->task_done, &w->lock);
    (void)pthread_mutex_unlock(&w->lock);
    return task.result;
}

/* ---- One group ------------------------------------------------------------------------------- */

static void append_answer(struct sqlite_engine *e, struct append *a, enum err result)
{
    if (result == ERR_FULL || result == ERR_IO)
        metric_add(e->metrics.refused_read_only, 1);
    a->on_done(a, result);
}

/* What of the request goes to the disk. */
static enum err entry_encode(struct sqlite_engine *e, const struct append *a,
                             struct journal_entry *out)
{
    *out = (struct journal_entry){
        .signal = a->signal,
        .codec = a->journal_codec,
        .items = a->items,
        .arrival_unix_ns = a->arrival_unix_ns,
        .body_bytes = a->body.len,
        .request_hash = a->request_hash,
        .stored = a->journal,
    };
    if (a->journal.len != 0 && a->journal_codec != CODEC_IDENTITY)
        return ERR_OK;
    struct buffer *compressed = &e->writer.compressed;
    enum err error = journal_body_compress(a->body, compressed);
    out->codec = CODEC_ZSTD;
    out->stored = buffer_bytes(compressed);
    return error;
}

static enum err group_write(struct sqlite_engine *e, struct partition *p, size_t count)
{
    struct writer *w = &e->writer;
    enum err error = ERR_OK;
    uint64_t made = p->journal.segments_made, recycled = p->journal.segments_recycled;
    CRASH_POINT("group_begun");
    journal_group_begin(&p->journal, count);
    for (size_t i = 0; error == ERR_OK && i < count; i++) {
        struct journal_entry entry;
        error = entry_encode(e, w->batch[i], &entry);
        if (error == ERR_OK)
            error = journal_group_add(&p->journal, &entry);
        if (error == ERR_OK) {
            w->entries[i]->sequence = entry.sequence;
            w->entries[i]->partition = p;
            metric_add(e->metrics.journal_bytes, entry.stored.len);
        }
        CRASH_POINT("group_entry_written");
    }
    CRASH_POINT("group_written");
    if (error == ERR_OK)
        error = journal_group_end(&p->journal);
    CRASH_POINT("group_committed");
    metric_add(e->metrics.segments_made, p->journal.segments_made - made);
    metric_add(e->metrics.segments_recycled, p->journal.segments_recycled - recycled);
    return error;
}

/* While the disk refuses, requests are answered at once, and one group a second finds out whether
 * it still does. */
static enum err group_store(struct sqlite_engine *e, size_t count)
{
    struct writer *w = &e->writer;
    if (atomic_load(&e->not_writable) != NULL && clock_mono_ns() < w->retry_mono_ns)
        return w->refusal;
    if (atomic_load_explicit(&e->disk.state, memory_order_relaxed) == DISK_CRITICAL)
        return ERR_FULL; /* row groups are built all the same: that makes room */
    enum err error = writer_partition_ensure(e);
    if (error != ERR_OK)
        return error;
    struct partition *p = w->open;
    if ((uint64_t)p->db.wal_frames * DB_PAGE_BYTES > WAL_HARD_BYTES)
        return ERR_BUSY;
    uint64_t begun = clock_mono_ns();
    error = group_write(e, p, count);
    if (error != ERR_OK) {
        metric_add(e->metrics.commits_failed, 1);
        writer_write_failed(e, p, error);
        return error;
    }
    metric_observe(e->metrics.commit_duration, clock_mono_ns() - begun);
    metric_add(e->metrics.groups, 1);
    metric_add(e->metrics.group_requests, count);
    if (atomic_exchange(&e->not_writable, NULL) != NULL) {
        metric_set(e->metrics.writable, 1);
        log_line(LOG_INFO, "storage", "writing again");
    }
    return ERR_OK;
}

/* Make the stored group visible. Nothing here can fail. */
static void group_publish(struct sqlite_engine *e, size_t count)
{
    struct writer *w = &e->writer;
    uint64_t items = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct pending *p = w->entries[i];
        pending_adopt(p, w->batch[i]);
        items += p->items;
        bytes += p->body.len;
        atomic_fetch_add_explicit(&e->pending_items[p->signal], p->items, memory_order_relaxed);
        uint64_t none = 0;
        (void)atomic_compare_exchange_strong(&e->first_arrival_unix_ns, &none, p->arrival_unix_ns);
    }
    atomic_fetch_add_explicit(&e->pending_bytes, bytes, memory_order_relaxed);
    view_add(&e->view, w->entries, count);
    watch_tell(&e->watch, w->entries, count);
    metric_add(e->metrics.group_items, items);
    metric_set(e->metrics.pending_bytes, atomic_load(&e->pending_bytes));
    metric_set(e->metrics.wal_bytes, (uint64_t)w->open->db.wal_frames * DB_PAGE_BYTES);
    metric_set(e->metrics.segment_bytes, journal_bytes(&w->open->journal));
    CRASH_POINT("group_visible");
}

/* Commit w->batch[0..count) and answer it, and the requests in `resent`, which are equal to one in
 * this group or in an earlier one. */
static void group_commit(struct sqlite_engine *e, size_t count, struct queue_node *resent)
{
    struct writer *w = &e->writer;
    CRASH_POINT("append_taken");
    enum err result = ERR_OK;
    if (count > 0) {
        result = group_store(e, count);
        if (result == ERR_OK) {
            group_publish(e, count);
            writer_acked_store(e, w->open);
        } else {
            request_memory_undo(&w->requests, (uint32_t)count);
            for (size_t i = 0; i < count; i++)
                pending_release(w->entries[i]);
        }
        for (size_t i = 0; i < count; i++)
            append_answer(e, w->batch[i], result);
        CRASH_POINT("group_answered");
    }
    while (resent != NULL) {
        struct append *a = append_from(resent);
        resent = resent->next;
        budget_release(&e->budget, a->node.bytes);
        a->was_resent = request_memory_has(&w->requests, a->request_hash, a->arrival_unix_ns);
        if (a->was_resent)
            metric_add(e->metrics.resent_requests, a->items);
        append_answer(e, a, a->was_resent ? ERR_OK : result);
    }
    if (count > 0 && result == ERR_OK)
        builder_notify(e);
}

static size_t journal_bytes_expected(const struct append *a)
{
    bool is_compressed = a->journal.len != 0 && a->journal_codec != CODEC_IDENTITY;
    return is_compressed ? a->journal.len : a->body.len / 4;
}

/* Take one group off the list, commit it, return the rest. */
static struct queue_node *group_next(struct sqlite_engine *e, struct queue_node *list)
{
    struct writer *w = &e->writer;
    struct queue_node *resent = NULL;
    size_t count = 0, bytes = 0;
    while (list != NULL && count < GROUP_REQUESTS_MAX) {
        struct queue_node *node = list;
        if (node == &w->wake) {
            list = node->next;
            atomic_store(&w->is_wake_queued, false);
            continue;
        }
        struct append *a = append_from(node);
        size_t more = journal_bytes_expected(a);
        if (count > 0 && bytes + more > GROUP_BYTES_MAX)
            break;
        list = node->next;
        a->was_resent = false;
        if (request_memory_has(&w->requests, a->request_hash, a->arrival_unix_ns)) {
            node->next = resent;
            resent = node;
            continue;
        }
        struct pending *p = pending_new(a, &e->budget, a->node.bytes);
        if (p == NULL) {
            budget_release(&e->budget, a->node.bytes);
            append_answer(e, a, ERR_BUSY);
            continue;
        }
        request_memory_add(&w->requests, a->request_hash, a->arrival_unix_ns);
        w->batch[count] = a;
        w->entries[count++] = p;
        bytes += more;
    }
    if (count > 0 || resent != NULL)
        w->busy_mono_ns = clock_mono_ns();
    group_commit(e, count, resent);
    return list;
}

/* ---- Tasks ----------------------------------------------------------------------------------- */

static enum err aside_copies(const struct retirement *r, struct pending ***out)
{
    struct pending **copies = mem_alloc_array(r->aside_count + 1, sizeof *copies);
    if (copies == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < r->aside_count; i++) {
        copies[i] = pending_copy(r->aside[i]);
        if (copies[i] != NULL)
            continue;
        while (i-- > 0)
            pending_release(copies[i]);
        mem_free(copies);
        return ERR_NOMEM;
    }
    *out = copies;
    return ERR_OK;
}

/* Where a group's spans are counted. What is made for it and not used, should storing the group fail, has no
 * spans, and nobody sees it. */
struct places {
    uint32_t *numbers;
    struct operation_entry *entries;
};

static void places_deinit(struct places *p)
{
    mem_free(p->numbers);
    mem_free(p->entries);
}

static enum err places_make(struct sqlite_engine *e, struct retirement *r, struct places *out)
{
    size_t count = r->has_group ? r->summary.operations_count : 0;
    out->numbers = mem_alloc_array(count + 1, sizeof *out->numbers);
    out->entries = mem_alloc_array(count + 1, sizeof *out->entries);
    enum err error = out->numbers == NULL || out->entries == NULL ? ERR_NOMEM : ERR_OK;
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    for (size_t i = 0; error == ERR_OK && i < count; i++) {
        const struct rowgroup_operation *o = &r->summary.operations[i];
        error = operations_place(&e->operations, o->service, o->name, o->kind, &out->numbers[i]);
        if (error == ERR_OK)
            operations_get(&e->operations, out->numbers[i], &out->entries[i]);
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    r->places = out->entries;
    return error;
}

/* The swap: what was pending is a row group from here on. */
static void retire_publish(struct sqlite_engine *e, const struct retirement *r,
                           const struct places *places, struct group_list *take_list,
                           struct pending **aside)
{
    uint64_t items = 0, bytes = 0;
    const struct pending *entry = r->entries.first;
    for (size_t i = 0; i < r->entries.count; i++, entry = entry->next) {
        items += entry->items;
        bytes += entry->body.len;
    }
    for (size_t i = 0; i < r->aside_count; i++) { /* still pending, as far as counts go */
        items -= aside[i]->items;
        bytes -= aside[i]->body.len;
    }
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    uint64_t before = e->operations.overflowed;
    for (size_t i = 0; r->has_group && i < r->summary.operations_count; i++)
        operations_add_at(&e->operations, places->numbers[i], r->summary.operations[i].spans);
    metric_add(e->metrics.operations_overflow, e->operations.overflowed - before);
    if (r->has_group)
        derived_publish(e, r->entries.first->partition, r->derived);
    view_retire(&e->view, r->signal, take_list, r->entries.count, aside, r->aside_count);
    atomic_fetch_sub_explicit(&e->pending_items[r->signal], items, memory_order_relaxed);
    atomic_fetch_sub_explicit(&e->pending_bytes, bytes, memory_order_relaxed);
    metric_set(e->metrics.pending_bytes, atomic_load(&e->pending_bytes));
    if (r->has_group) {
        atomic_fetch_add_explicit(&e->stored_items[r->signal], r->summary.rows,
                                  memory_order_relaxed);
        atomic_fetch_add_explicit(&e->groups_count, 1, memory_order_relaxed);
        if (r->signal == SIGNAL_TRACES)
            engine_note_newest(e, r->summary.start_max_unix_ns, r->built_unix_ns);
    }
    (void)pthread_rwlock_unlock(&e->operations_lock);
    CRASH_POINT("retire_visible");
}

enum err writer_retire(struct sqlite_engine *e, void *retirement)
{
    struct retirement *r = retirement;
    struct writer *w = &e->writer;
    if (atomic_load(&e->not_writable) != NULL && clock_mono_ns() < w->retry_mono_ns)
        return w->refusal;
    enum err error = writer_partition_ensure(e); /* moves entries out of a frozen file */
    if (error != ERR_OK)
        return error;
    struct partition *p = r->entries.first->partition;
    if (p->db.handle == NULL)
        return ERR_IO;

    struct pending **aside = NULL;
    struct group_list *list = NULL;
    struct group *g = NULL;
    struct places places = { 0 };
    error = aside_copies(r, &aside);
    if (error == ERR_OK)
        error = places_make(e, r, &places);
    if (error == ERR_OK && r->has_group) {
        g = group_new(&e->view.filters, r->summary.trace_filter);
        list = g == NULL ? NULL : view_prepare(&e->view, r->signal, g);
        error = list == NULL ? ERR_NOMEM : ERR_OK;
    }
    int64_t id = 0;
    if (error == ERR_OK) {
        error = partition_retire(p, r, &id);
        if (error != ERR_OK)
            writer_write_failed(e, p, error);
    }
    if (error != ERR_OK) {
        for (size_t i = 0; aside != NULL && i < r->aside_count; i++)
            pending_release(aside[i]);
        mem_free(aside);
        places_deinit(&places);
        group_list_release(list);
        return error;
    }
    if (g != NULL) {
        g->partition = partition_retain(p);
        g->id = id;
        g->signal = r->signal;
        g->rows = r->summary.rows;
        g->start_min_unix_ns = r->summary.start_min_unix_ns;
        g->start_max_unix_ns = r->summary.start_max_unix_ns;
        g->bytes = r->group.len;
        g->built_unix_ns = r->built_unix_ns;
        g->remembered_epoch = r->remembered_epoch;
        metric_add(e->metrics.row_groups, 1);
        metric_add(e->metrics.row_group_items, r->summary.rows);
        metric_add(e->metrics.row_group_bytes, r->group.len);
    }
    metric_add(e->metrics.set_aside, r->aside_count);
    retire_publish(e, r, &places, list, aside);
    places_deinit(&places);
    mem_free(aside);
    return ERR_OK;
}

/* Copy the log into the file. An error means the same as one of a commit. */
static enum err partition_checkpoint(struct sqlite_engine *e, struct partition *p, bool truncate)
{
    CRASH_POINT("checkpoint_before");
    enum err error = db_checkpoint(&p->db, truncate);
    CRASH_POINT("checkpoint_after");
    if (error == ERR_BUSY)
        return ERR_BUSY; /* a reader is in the way: later */
    if (error != ERR_OK) {
        writer_write_failed(e, p, error);
        return error;
    }
    metric_add(e->metrics.checkpoints, 1);
    atomic_store_explicit(&p->bytes, partition_bytes(p), memory_order_relaxed);
    return ERR_OK;
}

enum err writer_checkpoint_all(struct sqlite_engine *e, void *unused)
{
    (void)unused;
    enum err result = ERR_OK;
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p->db.handle == NULL || p->db.wal_frames == 0)
            continue;
        enum err error = partition_checkpoint(e, p, true);
        if (error == ERR_BUSY && p->db.handle != NULL)
            error = partition_checkpoint(e, p, false);
        if (error != ERR_OK && error != ERR_BUSY)
            result = error;
    }
    return result;
}

static void task_run_one(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    (void)pthread_mutex_lock(&w->lock);
    struct writer_task *task = w->tasks_first;
    if (task != NULL) {
        w->tasks_first = task->next;
        if (task->next == NULL)
            w->tasks_last = NULL;
    }
    (void)pthread_mutex_unlock(&w->lock);
    if (task == NULL)
        return;
    enum err result = task->run(e, task->context);
    (void)pthread_mutex_lock(&w->lock);
    task->result = result;
    task->is_done = true; /* the task is gone once the lock is free */
    (void)pthread_cond_broadcast(&w->task_done);
    (void)pthread_mutex_unlock(&w->lock);
}

static bool tasks_wait(struct sqlite_engine *e)
{
    (void)pthread_mutex_lock(&e->writer.lock);
    bool wait = e->writer.tasks_first != NULL;
    (void)pthread_mutex_unlock(&e->writer.lock);
    return wait;
}

/* ---- The log --------------------------------------------------------------------------------- */

static void wal_tend(struct sqlite_engine *e, bool is_idle)
{
    struct partition *p = e->writer.open;
    if (p == NULL || p->db.handle == NULL)
        return;
    if (atomic_load(&e->not_writable) != NULL && clock_mono_ns() < e->writer.retry_mono_ns)
        return;
    uint64_t file = (uint64_t)p->db.wal_frames_most * DB_PAGE_BYTES;
    uint64_t uncopied = (uint64_t)(p->db.wal_frames - p->db.wal_backfilled) * DB_PAGE_BYTES;
    if (uncopied >= (is_idle ? WAL_IDLE_STEP_BYTES : WAL_BUSY_STEP_BYTES))
        (void)partition_checkpoint(e, p, false);
    /* Only readers' old snapshots let it grow so far, and the file keeps its length when they are gone.
     * Emptying it fails as long as one is there. */
    if (file > WAL_SOFT_BYTES && is_idle && p->db.handle != NULL)
        (void)partition_checkpoint(e, p, true);
}

/* Is the disk back? A write that changes nothing tells, also when no requests come. */
static void retry_write(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    if (atomic_load(&e->not_writable) == NULL || clock_mono_ns() < w->retry_mono_ns ||
        writer_partition_ensure(e) != ERR_OK)
        return;
    struct partition *p = w->open;
    /* What is copied out of the log makes room in it, and emptying it makes room on the disk, where it has none. */
    enum err error = db_checkpoint(&p->db, w->refusal == ERR_FULL);
    if (error == ERR_OK || error == ERR_BUSY)
        error = journal_room_make(&p->journal);
    if (error == ERR_OK)
        error = db_exec(&p->db,
                        "INSERT INTO journal_retired (signal, sequence, group_no) VALUES (0, 0, 0)"
                        " ON CONFLICT DO UPDATE SET sequence = sequence");
    if (error != ERR_OK) {
        db_rollback(&p->db);
        writer_write_failed(e, p, error);
        return;
    }
    atomic_store(&e->not_writable, NULL);
    metric_set(e->metrics.writable, 1);
    log_line(LOG_INFO, "storage", "writing again");
}

/* ---- The thread ------------------------------------------------------------------------------ */

static void *writer_main(void *context)
{
    struct sqlite_engine *e = context;
    struct writer *w = &e->writer;
    uint64_t tended_mono_ns = 0;
    bool is_open = true;
    while (is_open) {
        struct queue_node *list = queue_pop_all(&w->queue, e->maintain_interval_ns);
        bool is_quiet = list == NULL;
        is_open = list != NULL || !atomic_load(&w->is_ending);
        while (list != NULL) {
            list = group_next(e, list);
            wal_tend(e, false);
            task_run_one(e);
        }
        while (tasks_wait(e))
            task_run_one(e);
        bool is_idle = queue_bytes(&w->queue) == 0;
        if (is_idle) {
            wal_tend(e, true);
            retry_write(e);
        }
        if (is_idle || clock_mono_ns() - tended_mono_ns >= e->maintain_interval_ns) {
            writer_partitions_tend(e);
            group_cache_tend(&e->group_cache, clock_mono_ns());
            derived_sums_tend(&e->derived.sums, clock_mono_ns());
            pending_counts_tend(&e->pending_counts, clock_mono_ns());
            pending_edges_tend(&e->pending_edges, clock_mono_ns());
            reader_pools_tend(clock_mono_ns());
            tended_mono_ns = clock_mono_ns();
        }
        if (is_quiet && w->open != NULL && w->open->db.handle != NULL) {
            db_rest(&w->open->db);
            journal_rest(&w->open->journal);
        }
        if (is_idle && engine_may_rest(e, w->busy_mono_ns)) {
            const struct rest_policy policy = engine_rest_policy(e);
            request_memory_rest(&w->requests, &policy);
            filter_room_rest(&e->view.filters, &policy);
        }
    }
    return NULL;
}

enum err writer_init(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    queue_init(&w->queue, SIZE_MAX / 2); /* the budget bounds it */
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->task_done, NULL);
    buffer_init(&w->compressed, SIZE_MAX);
    w->acked_fd = -1;
    w->busy_mono_ns = clock_mono_ns();
    return request_memory_init(&w->requests);
}

enum err writer_start(struct sqlite_engine *e)
{
    if (pthread_create(&e->writer.thread, NULL, writer_main, e) != 0)
        return ERR_NOMEM;
    (void)pthread_setname_np(e->writer.thread, "writer");
    e->writer.is_started = true;
    return ERR_OK;
}

void writer_stop(struct sqlite_engine *e)
{
    if (!e->writer.is_started)
        return;
    atomic_store(&e->writer.is_ending, true);
    queue_close(&e->writer.queue);
    (void)pthread_join(e->writer.thread, NULL);
    e->writer.is_started = false;
}

void writer_deinit(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    assert(!w->is_started);
    queue_deinit(&w->queue);
    (void)pthread_mutex_destroy(&w->lock);
    (void)pthread_cond_destroy(&w->task_done);
    buffer_deinit(&w->compressed);
    request_memory_deinit(&w->requests);
    if (w->acked_fd >= 0)
        (void)close(w->acked_fd);
}
