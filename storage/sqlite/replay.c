/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - what journals hold is acknowledged, so a start makes it visible again, and pending.
 *
 * A partition's entries become visible all together, when its journal has been read: of a damaged file no more
 * than can be read, and only after the other files, since these may have what was moved out of it by a start that
 * did not finish. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#define BODY_BYTES_MAX                                                                             \
    ((size_t)1 << 30) /* of one journal entry, decompressed: well over any request */

struct replay {
    struct sqlite_engine *engine;
    uint64_t first_arrival_unix_ns;
    /* Of one partition: */
    struct partition *partition;
    struct found {
        struct pending *entry;
        bool is_aside;
    } * found;
    size_t found_count, found_capacity;
    uint64_t *changed; /* sequences of entries whose bytes have changed */
    size_t changed_count, changed_capacity, changed_aside;
    uint64_t unread; /* numbers on pages that cannot be read */
    enum err error;
};

/* ---- One entry ------------------------------------------------------------------------------- */

/* Room for one more of `size` bytes each; false: out of memory. */
static bool list_grow(void **list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    size_t more = *capacity == 0 ? 64 : 2 * *capacity;
    void *grown = mem_realloc(*list, more * size);
    if (grown == NULL)
        return false;
    *list = grown;
    *capacity = more;
    return true;
}

static bool entry_changed(struct replay *r, const struct journal_entry *entry, const char *reason)
{
    if (reason != NULL) { /* set aside already */
        r->changed_aside++;
        return true;
    }
    void *list = r->changed;
    if (!list_grow(&list, r->changed_count, &r->changed_capacity, sizeof *r->changed)) {
        r->error = ERR_NOMEM;
        return false;
    }
    r->changed = list;
    r->changed[r->changed_count++] = entry->sequence;
    return true;
}

/* In memory that holds just the body; what comes out is copied once if it is not its own. */
static enum err entry_body(const struct journal_entry *entry, struct arena *arena,
                           struct bytes *out)
{
    enum err e =
        codec_decompress(entry->codec, entry->stored, (size_t)entry->body_bytes, arena, out, NULL);
    return e == ERR_OK && entry->codec == CODEC_IDENTITY ? arena_dup(arena, *out, out) : e;
}

static bool entry_found(void *context, const struct journal_entry *entry, bool is_intact,
                        const char *reason)
{
    struct replay *r = context;
    struct sqlite_engine *e = r->engine;
    CRASH_POINT("replay_entry");
    if (!is_intact || entry->body_bytes > BODY_BYTES_MAX)
        return entry_changed(r, entry, reason);
    /* A frozen file's journal was moved, but the catalogue does not know it yet. */
    if (r->partition->state == PARTITION_FROZEN &&
        request_memory_has(&e->writer.requests, entry->request_hash, entry->arrival_unix_ns))
        return true;
    void *list = r->found;
    if (!list_grow(&list, r->found_count, &r->found_capacity, sizeof *r->found)) {
        r->error = ERR_NOMEM;
        return false;
    }
    r->found = list;

    struct arena arena;
    struct bytes body = { 0 };
    arena_init(&arena, (size_t)entry->body_bytes + (entry->body_bytes >> 1) + 4096, NULL);
    r->error = entry_body(entry, &arena, &body);
    if (r->error != ERR_OK) {
        arena_deinit(&arena);
        if (r->error == ERR_NOMEM)
            return false;
        r->error = ERR_OK;
        return entry_changed(r, entry, reason);
    }
    struct pending *p = pending_replayed(&arena, body);
    if (p == NULL) {
        r->error = ERR_NOMEM;
        return false;
    }
    /* Acknowledged, so it is taken in any case; what is charged makes new requests wait for the builder. */
    size_t held = p->arena.held_bytes + sizeof *p;
    if (budget_reserve(&e->budget, held)) {
        p->budget = &e->budget;
        p->charged_bytes = held;
    }
    p->signal = entry->signal;
    p->items = entry->items;
    p->arrival_unix_ns = entry->arrival_unix_ns;
    p->arrival_mono_ns = clock_mono_ns();
    p->request_hash = entry->request_hash;
    p->partition = r->partition;
    p->sequence = entry->sequence;
    r->found[r->found_count++] = (struct found){ p, reason != NULL };
    return true;
}

/* ---- One partition --------------------------------------------------------------------------- */

static void found_drop(struct replay *r)
{
    for (size_t i = 0; i < r->found_count; i++)
        pending_release(r->found[i].entry);
    r->found_count = 0;
}

static void found_show(struct replay *r)
{
    struct sqlite_engine *e = r->engine;
    for (size_t i = 0; i < r->found_count; i++) {
        struct pending *p = r->found[i].entry;
        if (r->first_arrival_unix_ns == 0 || p->arrival_unix_ns < r->first_arrival_unix_ns)
            r->first_arrival_unix_ns = p->arrival_unix_ns;
        request_memory_add(&e->writer.requests, p->request_hash, p->arrival_unix_ns);
        atomic_fetch_add(&e->pending_items[p->signal], p->items);
        atomic_fetch_add(&e->pending_bytes, p->body.len);
        if (r->found[i].is_aside)
            view_add_aside(&e->view, p);
        else
            view_add(&e->view, &p, 1);
    }
    r->found_count = 0;
}

static void losses_report(struct replay *r)
{
    const struct partition *p = r->partition;
    uint64_t changed = r->changed_count + r->changed_aside;
    metric_add(r->engine->metrics.damaged_entries, changed + r->unread);
    if (changed > 0)
        log_line(LOG_ERROR, "storage",
                 "%llu requests in the journal of partition %llu have changed",
                 (unsigned long long)changed, (unsigned long long)p->id);
    if (p->has_damage || r->unread > 0)
        log_line(
            LOG_ERROR, "storage",
            "of the journal of partition %llu, %zu requests were read and up to %llu cannot be: %s",
            (unsigned long long)p->id, r->found_count, (unsigned long long)r->unread, p->path);
}

/* Entries whose bytes have changed leave the journal, so that nothing takes them for good. */
static bool entry_set_aside(void *context, const struct journal_entry *entry, bool is_intact,
                            const char *reason)
{
    struct replay *r = context;
    (void)is_intact;
    for (size_t i = 0; reason == NULL && r->error == ERR_OK && i < r->changed_count; i++)
        if (r->changed[i] == entry->sequence)
            r->error = journal_set_aside(&r->partition->journal, entry,
                                         "its bytes have changed on the disk");
    return r->error == ERR_OK;
}

static enum err changed_set_aside(struct replay *r)
{
    struct partition *p = r->partition;
    if (r->changed_count == 0 || p->db.handle == NULL)
        return ERR_OK;
    uint64_t unread = 0;
    struct db *reader = NULL;
    enum err error = reader_pool_take(&p->readers, &reader);
    if (error != ERR_OK)
        return error;
    error = db_exec(&p->db, "BEGIN IMMEDIATE");
    if (error == ERR_OK)
        error = journal_each(reader, entry_set_aside, r, &unread);
    if (error == ERR_OK)
        error = r->error;
    reader_pool_give(&p->readers, reader);
    if (error == ERR_OK)
        error = db_exec(&p->db, "COMMIT");
    if (error != ERR_OK)
        db_rollback(&p->db);
    return error;
}

/* Read a partition's journal and make it visible; or, on failure, nothing of it. */
static enum err replay_partition(struct replay *r, struct partition *p)
{
    bool is_given_up = p->state == PARTITION_FROZEN;
    r->partition = p;
    r->changed_count = r->changed_aside = 0;
    r->unread = 0;
    r->error = ERR_OK;
    struct db *reader = NULL;
    enum err error = reader_pool_take(&p->readers, &reader);
    if (error != ERR_OK)
        return error;
    error = journal_each(reader, entry_found, r, &r->unread);
    if (error == ERR_CORRUPT && is_given_up) {
        found_drop(r);
        r->changed_count = r->changed_aside = 0;
        engine_partition_damaged(r->engine, p, error);
        error = journal_salvage(reader, entry_found, r, &r->unread);
    }
    reader_pool_give(&p->readers, reader);
    if (error == ERR_OK)
        error = r->error;
    if (error == ERR_OK)
        error = changed_set_aside(r);
    if (error == ERR_OK) {
        losses_report(r);
        found_show(r);
    }
    found_drop(r);
    return error;
}

/* ---- All of them ----------------------------------------------------------------------------- */

/* The group after whose commit the last acknowledgement was sent must be here. */
static void lost_groups_report(struct sqlite_engine *e)
{
    uint64_t partition = 0, group_no = 0;
    if (!writer_acked_load(e->directory, &partition, &group_no))
        return;
    for (size_t i = 0; i < e->partitions_count; i++) {
        const struct partition *p = e->partitions[i];
        if (p->id != partition || p->db.handle == NULL || p->journal.next_group_no > group_no)
            continue;
        uint64_t lost = group_no + 1 - p->journal.next_group_no;
        metric_add(e->metrics.lost_groups, lost);
        log_line(LOG_ERROR, "storage",
                 "%llu acknowledged group commits are not in partition %llu: the disk lost them",
                 (unsigned long long)lost, (unsigned long long)p->id);
    }
}

/* What was merged before the start, and not deleted. */
static enum err replaced_delete(struct partition *p)
{
    enum err error = partition_delete_replaced(p);
    if (error != ERR_FULL && error != ERR_IO)
        return error;
    atomic_store(&p->has_leftovers, true); /* maintenance tries again */
    return ERR_OK;
}

/* A file that is not there, or that no database can be seen in, may be put back by somebody: it stays listed as
 * it is, and each start looks again. */
static bool is_no_database(const struct partition *p)
{
    return p->checked != ERR_OK;
}

static enum err replay_open(struct replay *r, struct partition *p)
{
    struct sqlite_engine *e = r->engine;
    if (is_no_database(p))
        return ERR_OK;
    enum err error = p->is_damaged ? ERR_CORRUPT : partition_open_writer(p, e->durability);
    if (error == ERR_OK) {
        writer_journal_bound(e, p);
        error = replaced_delete(p);
    }
    if (error == ERR_OK)
        error = replay_partition(r, p);
    if (error == ERR_CORRUPT) {
        writer_partition_give_up(e, p);
        return ERR_OK;
    }
    if (error != ERR_OK)
        return error;
    if (e->writer.open != NULL)
        atomic_store(&e->writer.open->is_closed, true);
    e->writer.open = p; /* the newest, in the end */
    return ERR_OK;
}

static enum err replay_frozen(struct replay *r, struct partition *p)
{
    enum err error = is_no_database(p) ? ERR_CORRUPT : replay_partition(r, p);
    if (error != ERR_CORRUPT && error != ERR_NOT_FOUND)
        return error;
    p->is_unread = true;
    engine_partition_damaged(r->engine, p, error);
    return ERR_OK;
}

enum err replay_journals(struct sqlite_engine *e, uint64_t *out_first_arrival_unix_ns)
{
    struct replay r = { .engine = e };
    enum err error = ERR_OK;
    for (size_t i = 0; error == ERR_OK && i < e->partitions_count; i++)
        if (e->partitions[i]->state == PARTITION_OPEN)
            error = replay_open(&r, e->partitions[i]);
    if (error == ERR_OK)
        lost_groups_report(e);
    /* After the others, since these may have been moved there. */
    for (size_t i = 0; error == ERR_OK && i < e->partitions_count; i++)
        if (e->partitions[i]->state == PARTITION_FROZEN)
            error = replay_frozen(&r, e->partitions[i]);
    mem_free(r.found);
    mem_free(r.changed);
    if (error != ERR_OK)
        return error;
    *out_first_arrival_unix_ns = r.first_arrival_unix_ns;
    /* A disk that takes nothing is no reason not to serve what is there. */
    error = writer_partition_ensure(e);
    return error == ERR_NOMEM ? error : ERR_OK;
}
