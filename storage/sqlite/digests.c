/* SPDX-License-Identifier: Apache-2.0 */
/* digests.c - what row groups are known by before they are opened, made in the background.
 *
 * Looking for a value that is nowhere opens every row group that there is no digest of: 140 us of processor time each,
 * with 100 M spans nearly half a second. A query leaves some digests itself; the others are made here, from the first query
 * that misses one on, so that a server which nobody asks does nothing of this. One takes about a millisecond. */
#include "storage/sqlite/engine_private.h"

#define LOOK_NS           (250 * NS_PER_MS) /* at a look, each second: a quarter of a processor */
#define BUSY_LOOK_NS      (50 * NS_PER_MS)  /* likewise while requests wait to become row groups */
#define SEGMENT_BYTES_MAX ((size_t)64 << 20)

struct learning {
    struct sqlite_engine *engine;
    struct buffer digest;
    struct rowgroup_scratch scratch;
    struct partition *partition; /* of the reader; held by the snapshot */
    struct db *reader;
    uint64_t until_mono_ns;
};

static void reader_leave(struct learning *l)
{
    if (l->reader != NULL)
        reader_pool_give(&l->partition->readers, l->reader);
    l->reader = NULL;
}

/* Groups follow each other by partition. */
static enum err reader_of(struct learning *l, struct partition *p)
{
    if (l->reader != NULL && l->partition == p)
        return ERR_OK;
    reader_leave(l);
    l->partition = p;
    return reader_pool_take(&p->readers, &l->reader);
}

static enum err group_open(struct learning *l, const struct group *g, struct arena *arena,
                           struct segment **out)
{
    struct rowgroup_source source;
    enum err e = reader_of(l, g->partition);
    if (e == ERR_OK)
        e = partition_group_open(l->reader, g, &source);
    if (e != ERR_OK)
        return e;
    source.scratch = &l->scratch;
    return rowgroup_segment_open(&source, arena, out);
}

static bool is_missing(const struct learning *l, const struct group *g, enum rowgroup_digest kind)
{
    return atomic_load(&l->engine->wants_digests[kind]) &&
           atomic_load(&g->digests[kind]) == DIGEST_NONE;
}

/* Faults of the moment; others are the group's, and a query that opens it says so. */
static bool is_passing(enum err e)
{
    return e == ERR_NOMEM || e == ERR_BUSY || e == ERR_IO || e == ERR_FULL || e == ERR_BUDGET;
}

static enum err digest_keep(struct learning *l, struct group *g, enum rowgroup_digest kind,
                            struct segment *segment)
{
    uint64_t none = DIGEST_NONE;
    buffer_reset(&l->digest);
    enum err e = segment == NULL ? ERR_CORRUPT : rowgroup_digest_make(segment, kind, &l->digest);
    if (e == ERR_OK)
        return group_digest_keep(g, kind, &l->engine->view.digests, buffer_bytes(&l->digest));
    if (is_passing(e))
        return e;
    (void)atomic_compare_exchange_strong(&g->digests[kind], &none, DIGEST_NEVER);
    return ERR_OK;
}

/* Those that are missing of one group. */
static enum err group_learn(struct learning *l, struct group *g)
{
    struct arena arena;
    struct segment *segment = NULL;
    arena_init(&arena, SEGMENT_BYTES_MAX, &l->engine->background);
    enum err e = group_open(l, g, &arena, &segment);
    if (e != ERR_OK && !is_passing(e))
        e = ERR_OK; /* there never will be one */
    for (int kind = 0; e == ERR_OK && kind < ROWGROUP_DIGEST_COUNT; kind++)
        if (is_missing(l, g, (enum rowgroup_digest)kind))
            e = digest_keep(l, g, (enum rowgroup_digest)kind, segment);
    if (segment != NULL)
        segment->ops->close(segment);
    arena_deinit(&arena);
    return e;
}

/* False: enough for now. */
static bool group_look(struct learning *l, struct group *g)
{
    bool is_due = false;
    for (int kind = 0; kind < ROWGROUP_DIGEST_COUNT; kind++)
        is_due = is_due || is_missing(l, g, (enum rowgroup_digest)kind);
    if (!is_due || atomic_load(&g->is_damaged) || g->partition == NULL)
        return true;
    if (clock_mono_ns() >= l->until_mono_ns || maintain_is_stopping(l->engine))
        return false;
    return group_learn(l, g) == ERR_OK;
}

void digests_run(struct sqlite_engine *e)
{
    if (atomic_load(&e->disk.state) != DISK_OK)
        return;
    bool is_busy = atomic_load(&e->pending_bytes) > e->memory_bytes / 16;
    struct learning l = { .engine = e,
                          .until_mono_ns = clock_mono_ns() + (is_busy ? BUSY_LOOK_NS : LOOK_NS) };
    buffer_init(&l.digest, DIGEST_BYTES_MAX);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct snapshot snapshot;
        view_snapshot(&e->view, (enum signal)s, &snapshot);
        size_t i = snapshot.groups->count; /* the newest first: most questions are of them */
        while (i > 0 && group_look(&l, snapshot.groups->groups[i - 1]))
            i--;
        reader_leave(&l);
        snapshot_release(&snapshot);
    }
    rowgroup_scratch_deinit(&l.scratch);
    buffer_deinit(&l.digest);
}
