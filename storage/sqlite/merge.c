/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c - small row groups of quiet services become larger ones.
 *
 * A service of ten spans a second leaves a row group every few seconds. MERGE_GROUPS of one level become one
 * of the next, until it is full; what is left of a partition that is closed is merged whatever its level. So
 * a span is written again once or twice, and there are few groups at any time.
 *
 * Two transactions: one writes the new group, marks those that it replaces and swaps them in the view; the
 * other deletes them, when no snapshot shows them any more. A start that finds marked ones deletes them.
 *
 * One merge at a look, none while requests wait to become row groups in numbers: what this takes of the
 * processor is bounded, and counted. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>

#define MERGE_GROUPS     16 /* of one level make one of the next */
#define MERGE_INPUTS_MAX 64 /* in one merge, of a partition that is closed */
#define MERGE_BYTES_MAX                                                                            \
    ((uint64_t)4 << 20) /* of the inputs as stored; bodies are some 20 times that */
#define MERGE_BODIES_MAX  ((size_t)96 << 20)
#define MERGE_ARENA_BYTES ((size_t)64 << 20) /* of one input's columns */
#define READ_ROWS         1024

struct merge {
    struct partition *partition; /* held by the inputs */
    enum signal signal;
    struct group *inputs[MERGE_INPUTS_MAX]; /* borrowed from the snapshot */
    size_t count;
    uint32_t level; /* of the result */
    uint64_t rows;
    struct buffer bodies[MERGE_INPUTS_MAX];
    struct buffer group, requests;
    struct rowgroup_summary summary;
    uint64_t built_unix_ns;
    bool has_leftovers; /* out: a partition must be cleaned first */
};

/* ---- Choosing -------------------------------------------------------------------------------- */

static bool is_small(const struct sqlite_engine *e, const struct group *g)
{
    return g->rows < e->builder_rows / 2 && g->bytes < MERGE_BYTES_MAX / 2 &&
           !atomic_load(&g->is_unmergeable) && !atomic_load(&g->is_damaged);
}

/* The oldest small groups of a partition, of one level or (UINT32_MAX) of any, as many as one may hold. */
static void inputs_take(const struct sqlite_engine *e, const struct group_list *list,
                        const struct partition *p, uint32_t level, struct merge *out)
{
    size_t max = level == UINT32_MAX ? MERGE_INPUTS_MAX : MERGE_GROUPS;
    uint64_t bytes = 0;
    out->count = 0;
    out->rows = 0;
    for (size_t i = 0; i < list->count && out->count < max; i++) {
        struct group *g = list->groups[i];
        if (g->partition != p || !is_small(e, g) || (level != UINT32_MAX && g->level != level))
            continue;
        if (out->rows + g->rows > e->builder_rows || bytes + g->bytes > MERGE_BYTES_MAX)
            break;
        out->rows += g->rows;
        bytes += g->bytes;
        out->level = out->level > g->level + 1 ? out->level : g->level + 1;
        out->inputs[out->count++] = g;
    }
}

/* How many small groups of a level a partition has, up to MERGE_GROUPS. */
static size_t level_count(const struct sqlite_engine *e, const struct group_list *list,
                          const struct partition *p, uint32_t level)
{
    size_t count = 0;
    for (size_t i = 0; i < list->count && count < MERGE_GROUPS; i++)
        count += list->groups[i]->partition == p && list->groups[i]->level == level &&
                 is_small(e, list->groups[i]);
    return count;
}

static bool merge_choose_in(const struct sqlite_engine *e, const struct group_list *list,
                            struct partition *p, struct merge *out)
{
    out->partition = p;
    if (atomic_load(&p->has_leftovers)) {
        out->has_leftovers = true;
        return false;
    }
    if (atomic_load(&p->is_closed)) {
        out->level = 0;
        inputs_take(e, list, p, UINT32_MAX, out);
        return out->count >= 2;
    }
    for (uint32_t level = 0; level < MERGE_LEVELS; level++) {
        if (level_count(e, list, p, level) < MERGE_GROUPS)
            continue;
        out->level = 0;
        inputs_take(e, list, p, level, out);
        if (out->count >= 2)
            return true;
    }
    return false;
}

/* The next merge of a signal: in the oldest partition that is still written and has one. */
static bool merge_choose(const struct sqlite_engine *e, const struct group_list *list,
                         struct merge *out)
{
    const struct partition *last = NULL;
    for (size_t i = 0; i < list->count; i++) {
        struct partition *p = list->groups[i]->partition;
        if (p == last)
            continue;
        last = p;
        if (p->state == PARTITION_OPEN && merge_choose_in(e, list, p, out))
            return true;
    }
    return false;
}

/* ---- Making the new group -------------------------------------------------------------------- */

static enum err group_read(struct db *reader, const struct group *g, struct buffer *out)
{
    struct rowgroup_source source;
    struct segment *segment = NULL;
    struct arena arena;
    uint32_t rows[READ_ROWS];
    arena_init(&arena, MERGE_ARENA_BYTES, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    enum err e = partition_group_open(reader, g, &source);
    if (e == ERR_OK)
        e = rowgroup_segment_open(&source, &arena, &segment);
    for (uint32_t at = 0; e == ERR_OK && at < g->rows;) {
        size_t count = 0;
        for (; count < READ_ROWS && at < g->rows; count++)
            rows[count] = at++;
        e = segment->ops->read(segment, &q, rows, count, out);
    }
    if (segment != NULL)
        segment->ops->close(segment);
    arena_deinit(&arena);
    return e == ERR_OK ? buffer_error(out) : e;
}

/* The request hashes that are still of use. */
static enum err requests_read(struct db *reader, struct merge *m)
{
    sqlite3_stmt *s = NULL;
    uint64_t now = clock_unix_ns();
    enum err e = db_prepare(reader, "SELECT requests FROM row_group WHERE id = ?1", &s);
    for (size_t i = 0; e == ERR_OK && i < m->count; i++) {
        bool is_row = false;
        (void)sqlite3_bind_int64(s, 1, m->inputs[i]->id);
        e = db_step(reader, s, &is_row);
        if (e == ERR_OK && !is_row)
            e = ERR_CORRUPT;
        struct bytes requests = e == ERR_OK ? db_column_bytes(s, 0) : (struct bytes){ 0 };
        for (size_t at = 0; at + 24 <= requests.len; at += 24) {
            uint64_t arrival = load_le64(requests.data + at + 16);
            if (arrival + REQUEST_MEMORY_NS > now)
                buffer_append(&m->requests, requests.data + at, 24);
        }
        (void)sqlite3_reset(s);
    }
    (void)sqlite3_finalize(s);
    return e == ERR_OK ? buffer_error(&m->requests) : e;
}

static enum err merge_read(struct merge *m)
{
    struct db *reader = NULL;
    struct partition *p = m->partition;
    enum err e = reader_pool_take(&p->readers, &reader);
    if (e != ERR_OK)
        return e;
    size_t bytes = 0;
    for (size_t i = 0; e == ERR_OK && i < m->count; i++) {
        e = group_read(reader, m->inputs[i], &m->bodies[i]);
        bytes += buffer_bytes(&m->bodies[i]).len;
        if (e == ERR_OK && bytes > MERGE_BODIES_MAX)
            e = ERR_TOO_LARGE;
    }
    if (e == ERR_OK)
        e = requests_read(reader, m);
    reader_pool_give(&p->readers, reader);
    return e;
}

static enum err merge_build(struct merge *m, struct rowgroup_builder *b)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < m->count; i++)
        e = rowgroup_builder_add(b, buffer_bytes(&m->bodies[i]));
    if (e == ERR_OK)
        e = rowgroup_builder_finish(b, NULL, NULL, &m->group, &m->summary);
    if (e == ERR_OK)
        e = buffer_error(&m->group);
    /* Spans that are there twice were counted twice, and what is derived from them cannot tell which to take
     * back: they stay as they are, and are shown once. */
    if (e == ERR_OK && m->signal == SIGNAL_TRACES && m->summary.rows != m->rows)
        e = ERR_EXISTS;
    return e;
}

/* ---- The first transaction ------------------------------------------------------------------- */

static struct retirement as_retirement(const struct merge *m)
{
    return (struct retirement){ .signal = m->signal,
                                .has_group = true,
                                .group = buffer_bytes(&m->group),
                                .summary = m->summary,
                                .built_unix_ns = m->built_unix_ns,
                                .requests = buffer_bytes(&m->requests) };
}

static void merge_count(struct sqlite_engine *e, const struct merge *m)
{
    metric_add(e->metrics.merges, 1);
    metric_add(e->metrics.merged_groups, m->count);
    metric_add(e->metrics.merged_items, m->rows);
    metric_add(e->metrics.merged_bytes, buffer_bytes(&m->group).len);
}

/* Task. */
static enum err merge_commit(struct sqlite_engine *e, void *context)
{
    struct merge *m = context;
    struct partition *p = m->partition;
    if (p->db.handle == NULL || p->state != PARTITION_OPEN)
        return ERR_BUSY; /* sealed or given up meanwhile */
    if (atomic_load(&e->not_writable) != NULL)
        return ERR_BUSY;
    struct group *g = group_new(m->summary.trace_filter);
    struct group_list *list =
        g == NULL ? NULL : view_prepare_merge(&e->view, m->signal, m->inputs, m->count, g);
    if (list == NULL)
        return ERR_NOMEM;
    g->partition = partition_retain(p);
    g->signal = m->signal;
    g->rows = m->summary.rows;
    g->level = m->level;
    g->start_min_unix_ns = m->summary.start_min_unix_ns;
    g->start_max_unix_ns = m->summary.start_max_unix_ns;
    g->bytes = buffer_bytes(&m->group).len;
    g->built_unix_ns = m->built_unix_ns;
    g->is_remembered = true;
    for (size_t i = 0; i < m->count; i++)
        g->is_remembered = g->is_remembered && m->inputs[i]->is_remembered;

    struct retirement r = as_retirement(m);
    int64_t ids[MERGE_INPUTS_MAX];
    for (size_t i = 0; i < m->count; i++)
        ids[i] = m->inputs[i]->id;
    enum err error = partition_merge(p, &r, m->level, ids, m->count, &g->id);
    if (error != ERR_OK) {
        group_list_release(list);
        writer_write_failed(e, p, error);
        return error;
    }
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    view_retire(&e->view, m->signal, list, 0, NULL, 0);
    atomic_fetch_sub(&e->groups_count, m->count - 1);
    atomic_fetch_sub(&e->stored_items[m->signal],
                     m->rows - m->summary.rows); /* equal log records */
    (void)pthread_rwlock_unlock(&e->operations_lock);
    atomic_fetch_add(&p->replaced, m->count);
    CRASH_POINT("merge_visible");
    merge_count(e, m);
    return ERR_OK;
}

/* ---- The second: those that were replaced ---------------------------------------------------- */

struct merge_deletion {
    struct partition *partition;
    int64_t ids[MERGE_INPUTS_MAX];
    size_t count;
};

/* Task. */
static enum err replaced_delete(struct sqlite_engine *e, void *context)
{
    struct merge_deletion *d = context;
    struct partition *p = d->partition;
    if (p->db.handle == NULL || p->state != PARTITION_OPEN || atomic_load(&e->not_writable) != NULL)
        return ERR_BUSY;
    CRASH_POINT("merge_deleting");
    enum err error = partition_delete_groups(p, d->ids, d->count);
    CRASH_POINT("merge_deleted");
    if (error != ERR_OK) {
        writer_write_failed(e, p, error);
        return error;
    }
    atomic_fetch_sub(&p->replaced, d->count);
    return ERR_OK;
}

/* Room for the inputs of one more merge. */
static enum err replaced_reserve(struct maintain *t)
{
    if (t->replaced_count + MERGE_INPUTS_MAX <= t->replaced_capacity)
        return ERR_OK;
    size_t capacity = 2 * t->replaced_capacity + MERGE_INPUTS_MAX;
    struct group **grown = mem_realloc(t->replaced, capacity * sizeof(struct group *));
    if (grown == NULL)
        return ERR_NOMEM;
    t->replaced = grown;
    t->replaced_capacity = capacity;
    return ERR_OK;
}

static void replaced_keep(struct maintain *t, const struct merge *m)
{
    for (size_t i = 0; i < m->count; i++)
        t->replaced[t->replaced_count++] = group_retain(m->inputs[i]);
}

/* Task: what an earlier run left, and could not delete when this one began. */
static enum err leftovers_delete(struct sqlite_engine *e, void *unused)
{
    (void)unused;
    for (size_t i = 0; i < e->partitions_count; i++) {
        struct partition *p = e->partitions[i];
        if (!atomic_load(&p->has_leftovers) || p->db.handle == NULL ||
            atomic_load(&e->not_writable) != NULL)
            continue;
        enum err error = partition_delete_replaced(p);
        if (error != ERR_OK) {
            writer_write_failed(e, p, error);
            return error;
        }
        atomic_store(&p->has_leftovers, false);
    }
    return ERR_OK;
}

/* Delete those that nobody looks at any more, of one partition. */
static void replaced_tend(struct sqlite_engine *e)
{
    struct maintain *t = &e->maintain;
    struct merge_deletion d = { .count = 0 };
    for (size_t i = 0; i < t->replaced_count && d.count < MERGE_INPUTS_MAX; i++) {
        struct group *g = t->replaced[i];
        if (!group_is_last(g) || (d.partition != NULL && d.partition != g->partition))
            continue;
        d.partition = g->partition;
        d.ids[d.count++] = g->id;
    }
    if (d.count == 0)
        return;
    partition_retain(d.partition);
    enum err error = writer_task_run(e, replaced_delete, &d);
    /* Of a partition that was given up, or removed, they are nobody's concern any more. */
    if (error == ERR_OK || d.partition->state != PARTITION_OPEN) {
        size_t kept = 0;
        for (size_t i = 0; i < t->replaced_count; i++) {
            struct group *g = t->replaced[i];
            bool is_gone = false;
            for (size_t k = 0; k < d.count && g->partition == d.partition; k++)
                is_gone = is_gone || d.ids[k] == g->id;
            if (is_gone)
                group_release(g);
            else
                t->replaced[kept++] = g;
        }
        t->replaced_count = kept;
    }
    partition_release(d.partition);
}

void merge_forget(struct sqlite_engine *e)
{
    struct maintain *t = &e->maintain;
    for (size_t i = 0; i < t->replaced_count; i++)
        group_release(t->replaced[i]);
    mem_free(t->replaced);
    t->replaced = NULL;
    t->replaced_count = t->replaced_capacity = 0;
}

bool merge_is_due(struct sqlite_engine *e, const struct partition *p)
{
    bool is_due = atomic_load(&p->replaced) > 0 || atomic_load(&p->has_leftovers);
    for (int s = 0; s < SIGNAL_COUNT && !is_due; s++) {
        struct snapshot snapshot;
        struct merge m = { .signal = (enum signal)s };
        view_snapshot(&e->view, (enum signal)s, &snapshot);
        inputs_take(e, snapshot.groups, p, UINT32_MAX, &m);
        is_due = m.count >= 2;
        snapshot_release(&snapshot);
    }
    return is_due;
}

/* ---- One look -------------------------------------------------------------------------------- */

/* Faults of the moment: the same groups may be merged later. Others are in the groups. */
static bool is_passing(enum err error)
{
    return error == ERR_NOMEM || error == ERR_BUSY || error == ERR_IO || error == ERR_FULL ||
           error == ERR_BUDGET;
}

static enum err merge_one(struct sqlite_engine *e, struct merge *m)
{
    struct rowgroup_builder *b = NULL;
    struct rowgroup_options options = { .signal = m->signal, .content_key = &e->content_key };
    uint64_t begun = clock_mono_ns();
    for (size_t i = 0; i < m->count; i++) {
        buffer_init(&m->bodies[i], MERGE_BODIES_MAX);
        if (m->inputs[i]->built_unix_ns > m->built_unix_ns)
            m->built_unix_ns = m->inputs[i]->built_unix_ns;
    }
    buffer_init(&m->group, (size_t)1 << 30);
    buffer_init(&m->requests, (size_t)64 << 20);
    CRASH_POINT("merge_begun");
    enum err error = replaced_reserve(&e->maintain);
    if (error == ERR_OK)
        error = rowgroup_builder_open(&options, &b);
    if (error == ERR_OK)
        error = merge_read(m);
    if (error == ERR_OK)
        error = merge_build(m, b);
    if (error == ERR_OK)
        error = writer_task_run(e, merge_commit, m);
    if (error == ERR_OK)
        replaced_keep(&e->maintain, m);
    else if (!is_passing(error)) {
        log_line(LOG_DEBUG, "storage", "%zu row groups of partition %llu stay as they are: %s",
                 m->count, (unsigned long long)m->partition->id, err_text(error));
        for (size_t i = 0; i < m->count; i++)
            atomic_store(&m->inputs[i]->is_unmergeable, true);
    }
    rowgroup_builder_close(b);
    for (size_t i = 0; i < m->count; i++)
        buffer_deinit(&m->bodies[i]);
    buffer_deinit(&m->group);
    buffer_deinit(&m->requests);
    metric_observe(e->metrics.merge_duration, clock_mono_ns() - begun);
    return error;
}

void merge_run(struct sqlite_engine *e)
{
    replaced_tend(e);
    if (atomic_load(&e->not_writable) != NULL || atomic_load(&e->disk.state) == DISK_CRITICAL ||
        atomic_load(&e->pending_bytes) > e->memory_bytes / 16)
        return;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct snapshot snapshot;
        struct merge m = { .signal = (enum signal)s };
        view_snapshot(&e->view, (enum signal)s, &snapshot);
        if (merge_choose(e, snapshot.groups, &m))
            (void)!merge_one(e, &m); /* what failed is tried again, or marked */
        if (m.has_leftovers)
            (void)!writer_task_run(e, leftovers_delete, NULL);
        snapshot_release(&snapshot);
    }
}
