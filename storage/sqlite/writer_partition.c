/* SPDX-License-Identifier: Apache-2.0 */
/* writer_partition.c - which file is written: opening, rolling, sealing, and giving one up.
 *
 * After a failed sync a file is frozen: the kernel has forgotten which pages are not on the disk,
 * so a second sync would succeed over a hole. What was acknowledged was synced before, and is
 * copied out of memory into a new partition. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/schema.h"
#include "storage/sqlite/summary.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define CATALOG_WAL_FRAMES  16 /* 1 MiB */
#define SEGMENTS_FREE_MOST  4  /* of the journal, that are kept to be used again */
#define SEGMENT_BYTES_QUIET ((uint64_t)256 << 10)
#define SHRINK_STEPS_AT_END 32u /* of 4 MiB */
#define CREATE_TRIES                                                                               \
    1000 /* numbers whose file exists without being listed: a start that was cut short */

static void not_writable_set(struct sqlite_engine *e, enum err error, const char *reason,
                             uint64_t retry_after_ns)
{
    struct writer *w = &e->writer;
    uint64_t now = clock_mono_ns();
    w->refusal = error;
    w->retry_mono_ns = retry_after_ns > UINT64_MAX - now ? UINT64_MAX : now + retry_after_ns;
    const char *before = atomic_exchange(&e->not_writable, reason);
    metric_set(e->metrics.writable, 0);
    if (before == NULL)
        log_line(LOG_ERROR, "storage", "not writing: %s", reason);
}

/* ---- Freezing -------------------------------------------------------------------------------- */

/* A small file beside the partition says the same as the catalogue, should that be lost or
 * unwritable. */
static void freeze_mark(const struct sqlite_engine *e, const struct partition *p)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s.frozen", p->path);
    if (len < 0 || (size_t)len >= sizeof path)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
    int directory = open(e->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        (void)fsync(directory);
        (void)close(directory);
    }
}

static bool freezes_too_often(struct writer *w)
{
    uint64_t now = clock_mono_ns();
    uint64_t oldest = w->freezes_mono_ns[0];
    for (size_t i = 1; i < FREEZES_MAX; i++)
        w->freezes_mono_ns[i - 1] = w->freezes_mono_ns[i];
    w->freezes_mono_ns[FREEZES_MAX - 1] = now;
    oldest = w->freezes_mono_ns[0];
    return oldest != 0 && now - oldest < FREEZES_NS;
}

static void give_up(struct sqlite_engine *e, struct partition *p, const char *reason)
{
    struct writer *w = &e->writer;
    log_line(LOG_ERROR, "storage", "partition %llu is given up: %s", (unsigned long long)p->id,
             reason);
    partition_close_writer(p);
    p->state = PARTITION_FROZEN;
    p->closed_unix_ns = clock_unix_ns();
    p->closed_clock_ns = retention_clock_now(&e->clock);
    if (w->open == p)
        w->open = NULL;
    freeze_mark(e, p);
    CRASH_POINT("freeze_marked");
    enum err error = ERR_IO;
    struct catalog_partition listed = partition_listed(p);
    if (!catalog_db(e->catalog)->is_sync_failed)
        error = catalog_partition_set(e->catalog, &listed, reason);
    CRASH_POINT("freeze_listed");
    if (error != ERR_OK)
        not_writable_set(e, ERR_IO, "the catalogue cannot be written", RETRY_NS);
}

static void freeze(struct sqlite_engine *e, struct partition *p, const char *reason)
{
    metric_add(e->metrics.freezes, 1);
    give_up(e, p, reason);
    if (freezes_too_often(&e->writer))
        not_writable_set(e, ERR_IO, "files fail again and again", UINT64_MAX);
}

void writer_partition_give_up(struct sqlite_engine *e, struct partition *p)
{
    engine_partition_damaged(e, p, ERR_CORRUPT);
    give_up(e, p, "the file is damaged");
}

void writer_write_failed(struct sqlite_engine *e, struct partition *p, enum err error)
{
    if (catalog_db(e->catalog)->is_sync_failed)
        not_writable_set(e, ERR_IO, "a sync of the catalogue failed", UINT64_MAX);
    if (p != NULL && p->db.is_sync_failed)
        freeze(e, p, "a sync failed");
    else if (p != NULL && error == ERR_CORRUPT) {
        engine_partition_damaged(e, p, error);
        freeze(e, p, "the file is damaged");
    } else if (error == ERR_FULL || error == ERR_IO || error == ERR_CORRUPT)
        not_writable_set(e, error == ERR_FULL ? ERR_FULL : ERR_IO, engine_reason(error), RETRY_NS);
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Many small partitions have small journals. */
void writer_journal_bound(const struct sqlite_engine *e, struct partition *p)
{
    uint64_t share = e->partition_bytes_max / 16;
    if (share < p->journal.segment_bytes_most)
        p->journal.segment_bytes_most = (size_t)share;
}

static enum err partition_make(struct sqlite_engine *e, struct partition **out)
{
    struct catalog_partition listed = { .state = PARTITION_OPEN,
                                        .opened_unix_ns = clock_unix_ns(),
                                        .opened_clock_ns = retention_clock_now(&e->clock) };
    for (size_t i = 0; i < e->partitions_count; i++)
        if (e->partitions[i]->id > listed.id)
            listed.id = e->partitions[i]->id;

    enum err error = ERR_EXISTS;
    for (int i = 0; i < CREATE_TRIES && error == ERR_EXISTS; i++) {
        listed.id++;
        struct partition *p = partition_new(e->directory, e->vfs, &listed);
        if (p == NULL)
            return ERR_NOMEM;
        error = partition_create(p, e->directory, e->durability);
        if (error == ERR_OK)
            writer_journal_bound(e, p);
        if (error == ERR_OK)
            error = catalog_partition_add(e->catalog, &listed);
        CRASH_POINT("partition_listed");
        if (error == ERR_OK)
            error = engine_partition_add(e, p);
        if (error == ERR_OK)
            *out = p;
        else
            partition_release(p);
    }
    return error;
}

static void partition_roll(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    CRASH_POINT("roll_begun");
    struct partition *old = w->open, *fresh = NULL;
    enum err error = partition_make(e, &fresh);
    if (error != ERR_OK) {
        writer_write_failed(e, NULL, error);
        return; /* the old one goes on */
    }
    w->open = fresh;
    atomic_store(&old->is_closed, true);
    old->closed_unix_ns = clock_unix_ns();
    old->closed_clock_ns = retention_clock_now(&e->clock);
    log_line(LOG_INFO, "storage", "partition %llu follows %llu", (unsigned long long)fresh->id,
             (unsigned long long)old->id);
}

/* ---- Rescue: a frozen file's journal, from memory into the open partition -------------------- */

struct rescue {
    struct sqlite_engine *engine;
    struct partition *to;
    uint64_t next_sequence;
    enum err error;
    size_t count;
};

static void rescue_write(void *context, struct pending *entry)
{
    struct rescue *r = context;
    if (r->error != ERR_OK)
        return;
    struct journal_entry row;
    r->error = partition_entry_of(entry, &r->engine->writer.compressed, &row);
    if (r->error == ERR_OK)
        r->error = journal_group_add(&r->to->journal, &row);
    r->count++;
}

static void rescue_move(void *context, struct pending *entry)
{
    struct rescue *r = context;
    entry->partition = r->to;
    entry->sequence = r->next_sequence++;
}

/* What is moved gets higher sequences than all that is in the file already, and what stands behind it in the view has
 * to have higher ones still: where the file has such entries, another is opened. */
static enum err rescue_prepare(struct sqlite_engine *e, const struct partition *from)
{
    struct writer *w = &e->writer;
    if (!view_is_behind(&e->view, from, w->open))
        return ERR_OK;
    const struct partition *before = w->open;
    partition_roll(e);
    return w->open == before ? ERR_IO : ERR_OK;
}

/* In one group, so that a crash leaves all of it here or all of it there. Holding the view's
 * lock while compressing makes queries wait; it happens once in the life of a disk. */
static enum err rescue_one(struct sqlite_engine *e, struct partition *from)
{
    size_t count = view_count_in(&e->view, from);
    enum err error = rescue_prepare(e, from);
    if (error != ERR_OK)
        return error;
    struct partition *to = e->writer.open;
    struct rescue r = { .engine = e, .to = to, .next_sequence = to->journal.next_sequence };
    if (count > 0) {
        journal_group_begin(&to->journal, count);
        view_each_in(&e->view, from, rescue_write, &r);
        error = r.error;
        if (error == ERR_OK)
            error = journal_group_end(&to->journal);
    }
    if (error != ERR_OK) {
        writer_write_failed(e, to, error);
        return error;
    }
    CRASH_POINT("rescue_committed");
    view_each_in(&e->view, from, rescue_move, &r);
    from->state = PARTITION_RESCUED;
    if (from->closed_clock_ns == 0) {
        from->closed_unix_ns = clock_unix_ns();
        from->closed_clock_ns = retention_clock_now(&e->clock);
    }
    struct catalog_partition listed = partition_listed(from);
    error = catalog_partition_set(
        e->catalog, &listed,
        from->version < SCHEMA_VERSION ? "of an older format; its journal was moved"
        : from->has_damage             ? "damaged; what could be read of its journal was moved"
                                       : "a sync failed; its journal was moved");
    CRASH_POINT("rescue_listed");
    if (error != ERR_OK) /* at the next start it is moved again, and found to be here already */
        writer_write_failed(e, NULL, error);
    log_line(LOG_WARN, "storage", "%zu requests moved out of partition %llu", r.count,
             (unsigned long long)from->id);
    return ERR_OK;
}

enum err writer_partition_ensure(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    if (w->retry_mono_ns == UINT64_MAX)
        return ERR_IO; /* for good: see freeze() */
    if (w->open == NULL) {
        struct partition *p = NULL;
        enum err error = partition_make(e, &p);
        if (error != ERR_OK) {
            writer_write_failed(e, NULL, error == ERR_EXISTS ? ERR_IO : error);
            return error == ERR_EXISTS ? ERR_IO : error;
        }
        w->open = p;
        log_line(LOG_INFO, "storage", "partition %llu opened", (unsigned long long)p->id);
    }
    for (size_t i = 0; i < e->partitions_count && w->open != NULL; i++) {
        if (e->partitions[i]->state != PARTITION_FROZEN || e->partitions[i]->is_unread)
            continue;
        enum err error = rescue_one(e, e->partitions[i]);
        if (error != ERR_OK)
            return error;
    }
    return w->open == NULL ? ERR_IO : ERR_OK;
}

/* ---- Filling up and sealing ------------------------------------------------------------------ */

static bool partition_is_full(const struct sqlite_engine *e, const struct partition *p)
{
    if (p->journal.next_group_no == 1)
        return false; /* nothing in it yet */
    uint64_t now = retention_clock_now(&e->clock);
    uint64_t bytes = atomic_load(&p->bytes), journal = journal_bytes(&p->journal);
    return (bytes > journal && bytes - journal >= e->partition_bytes_max) ||
           (now > p->opened_clock_ns && now - p->opened_clock_ns >= e->partition_age_ns);
}

/* What makes a sealed file whole by itself: nothing in its log, nothing pending. */
static void partition_seal(struct sqlite_engine *e, struct partition *p)
{
    if (view_count_in(&e->view, p) > 0 || merge_is_due(e, p))
        return;
    bool has_more = false;
    enum err error = journal_discard(&p->journal);
    if (error == ERR_OK)
        error = partition_shrink(p, &has_more);
    if (error == ERR_OK && has_more)
        return; /* more of it at the next look */
    CRASH_POINT("seal_shrunk");
    if (error == ERR_OK)
        error = db_checkpoint(&p->db, true);
    if (error == ERR_BUSY)
        return; /* a reader holds a snapshot: at the next look */
    CRASH_POINT("seal_checkpointed");
    if (p->closed_clock_ns == 0) { /* it was closed before the start */
        p->closed_unix_ns = clock_unix_ns();
        p->closed_clock_ns = retention_clock_now(&e->clock);
    }
    atomic_store(&p->bytes, db_bytes(&p->db));
    if (error == ERR_OK)
        error = summary_seal(e, p);
    CRASH_POINT("seal_listed");
    if (error != ERR_OK) {
        writer_write_failed(e, p, error);
        return;
    }
    p->state = PARTITION_SEALED;
    derived_sealed(e, p, DERIVED_DAYS_OWN, 0);
    partition_close_writer(p);
}

/* What was merged is free pages now. At the end nothing needs them, nor journals that nothing is in; where there are
 * very many pages, some stay, as nobody likes to wait for an end. */
enum err writer_shrink_open(struct sqlite_engine *e, void *unused)
{
    (void)unused;
    struct partition *p = e->writer.open;
    bool has_more = p != NULL && p->db.handle != NULL && atomic_load(&e->not_writable) == NULL;
    enum err error = ERR_OK;
    for (size_t i = 0; i < e->partitions_count && has_more && error == ERR_OK; i++) {
        p = e->partitions[i];
        if (p->db.handle != NULL && view_count_in(&e->view, p) == 0)
            error = journal_discard(&p->journal);
    }
    if (error == ERR_OK)
        p = e->writer.open;
    for (unsigned i = 0; i < SHRINK_STEPS_AT_END && has_more && error == ERR_OK; i++)
        error = partition_shrink(p, &has_more);
    if (error != ERR_OK)
        writer_write_failed(e, p, error);
    return error;
}

/* A quiet server keeps one small file, and one that is short of room none that it does not need. */
static void journal_tend(struct sqlite_engine *e, struct partition *p)
{
    if (atomic_load(&e->disk.state) != DISK_OK)
        journal_trim(&p->journal, 0, 0);
    else if (engine_may_rest(e, e->writer.busy_mono_ns))
        journal_trim(&p->journal, 1, SEGMENT_BYTES_QUIET);
    else
        journal_trim(&p->journal, SEGMENTS_FREE_MOST, UINT64_MAX);
}

/* Nobody else has it open, so its log can be emptied at any time. */
static void catalog_tend(struct sqlite_engine *e)
{
    struct db *db = catalog_db(e->catalog);
    if (db->wal_frames >= CATALOG_WAL_FRAMES && !db->is_sync_failed) {
        enum err error = db_checkpoint(db, true);
        if (error != ERR_OK && error != ERR_BUSY)
            writer_write_failed(e, NULL, error);
    }
    atomic_store(&e->catalog_bytes, db_bytes(db));
}

void writer_partitions_tend(struct sqlite_engine *e)
{
    struct writer *w = &e->writer;
    if (atomic_load(&e->not_writable) != NULL || w->open == NULL)
        return;
    journal_tend(e, w->open);
    atomic_store(&w->open->bytes, partition_bytes(w->open));
    if (partition_is_full(e, w->open))
        partition_roll(e);
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (p == w->open || p->state != PARTITION_OPEN || p->db.handle == NULL)
            continue;
        journal_trim(&p->journal, 0, 0); /* what is free is not used again */
        atomic_store(&p->bytes, partition_bytes(p));
        partition_seal(e, p);
    }
    catalog_tend(e);
}

/* ---- The side file --------------------------------------------------------------------------- */

/* partition, group number, and a hash of both: 24 bytes, written over and over, never synced. */
#define ACKED_BYTES 24

void writer_acked_store(struct sqlite_engine *e, const struct partition *p)
{
    struct writer *w = &e->writer;
    if (w->acked_fd < 0)
        return;
    uint8_t record[ACKED_BYTES];
    store_le64(record, p->id);
    store_le64(record + 8, p->journal.next_group_no - 1);
    store_le64(record + 16, hash_bytes(bytes_of(record, 16)));
    ssize_t written = pwrite(w->acked_fd, record, sizeof record, 0);
    (void)written; /* it only tells of losses: its own loss costs nothing */
}

bool writer_acked_load(const char *directory, uint64_t *out_partition, uint64_t *out_group_no)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/acked", directory);
    if (len < 0 || (size_t)len >= sizeof path)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    uint8_t record[ACKED_BYTES];
    ssize_t got = pread(fd, record, sizeof record, 0);
    (void)close(fd);
    if (got != ACKED_BYTES || load_le64(record + 16) != hash_bytes(bytes_of(record, 16)))
        return false;
    *out_partition = load_le64(record);
    *out_group_no = load_le64(record + 8);
    return true;
}
