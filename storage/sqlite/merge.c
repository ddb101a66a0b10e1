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
 * Spans that are there twice, because a resent one came when its first copy could not be looked up, meet here:
 * one is kept, and the operations' counts are corrected. Rollups counted both, and keep that: a histogram does
 * not say which of its counts they were.
 *
 * One merge at a look, none while requests wait to become row groups in numbers: what this takes of the
 * processor is bounded, and counted. Its memory is the background's: what does not fit is merged with fewer, and
 * what cannot be merged at all is marked, it alone. */
#include "base/crash_point.h"
#include "base/defect.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>

#define MERGE_GROUPS     16                  /* of one level make one of the next */
#define MERGE_INPUTS_MAX 64                  /* in one merge, of a partition that is closed */
#define MERGE_BYTES_MAX  ((uint64_t)4 << 20) /* of the inputs as stored */
/* Bodies are some 20 times that, and the builder takes about twice the bodies. */
#define MERGE_EXPANSION  60
#define MERGE_BUILDING   2
#define MERGE_MEMORY_MAX ((size_t)96 << 20) /* of bodies, or of one input's columns */
#define MERGE_PATIENCE   60 /* looks at which the memory was others'; then it is the inputs */
#define READ_ROWS        1024

struct merge {
    struct partition *partition; /* held by the inputs */
    enum signal signal;
    struct group *inputs[MERGE_INPUTS_MAX]; /* borrowed from the snapshot */
    size_t count;
    uint64_t rows;
    struct buffer bodies[MERGE_INPUTS_MAX];
    struct buffer group, requests;
    struct rowgroup_summary summary;
    struct operations
        dropped;             /* what of the inputs is not in the result, as it was there already */
    struct operations taken; /* where that was counted */
    struct budget *budget;
    size_t charged;        /* for the builder */
    struct group *culprit; /* why it failed, where that is one of them; borrowed */
    bool has_leftovers;    /* out: a partition must be cleaned first */
};

/* ---- Choosing -------------------------------------------------------------------------------- */

/* Of the inputs together, as stored: what is made of them should fit the memory. */
static uint64_t bytes_max(const struct sqlite_engine *e)
{
    uint64_t fits = e->background.limit_bytes / MERGE_EXPANSION;
    return fits < MERGE_BYTES_MAX ? fits : MERGE_BYTES_MAX;
}

static bool is_small(const struct sqlite_engine *e, const struct group *g)
{
    return g->rows < e->builder_rows / 2 && g->bytes < bytes_max(e) / 2 &&
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
        if (out->rows + g->rows > e->builder_rows || bytes + g->bytes > bytes_max(e))
            break;
        out->rows += g->rows;
        bytes += g->bytes;
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
        inputs_take(e, list, p, UINT32_MAX, out);
        return out->count >= 2;
    }
    for (uint32_t level = 0; level < MERGE_LEVELS; level++) {
        if (level_count(e, list, p, level) < MERGE_GROUPS)
            continue;
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

/* Faults of the moment: the same groups may be merged later. Others are in the groups. */
static bool is_passing(enum err error)
{
    return error == ERR_NOMEM || error == ERR_BUSY || error == ERR_IO || error == ERR_FULL ||
           error == ERR_BUDGET;
}

static enum err group_read(struct db *reader, const struct merge *m, const struct group *g,
                           struct buffer *out)
{
    struct rowgroup_source source;
    struct segment *segment = NULL;
    struct arena arena;
    uint32_t rows[READ_ROWS];
    arena_init(&arena, MERGE_MEMORY_MAX, m->budget);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    enum err e = partition_group_open(reader, g, &source);
    if (e == ERR_OK)
        e = rowgroup_segment_open(&source, &arena, &segment);
    for (uint32_t at = 0; e == ERR_OK && at < g->rows;) {
        size_t count = 0;
        for (; count < READ_ROWS && at < g->rows; count++)
            rows[count] = at++;
        e = segment->ops->read(segment, &q, rows, count, ROW_ALL, out);
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

static struct group *larger(struct group *a, struct group *b)
{
    return a->bytes >= b->bytes ? a : b;
}

/* Only the first `count` of the inputs. */
static void inputs_cut(struct merge *m, size_t count)
{
    for (size_t i = count; i < m->count; i++)
        buffer_deinit(&m->bodies[i]);
    m->count = count;
}

/* Bodies of as many inputs as there is memory for. */
static enum err bodies_read(struct db *reader, struct merge *m)
{
    size_t bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        enum err e = group_read(reader, m, m->inputs[i], &m->bodies[i]);
        bytes += m->bodies[i].capacity;
        if (e == ERR_OK && (bytes > MERGE_MEMORY_MAX ||
                            !budget_reserve(m->budget, MERGE_BUILDING * m->bodies[i].capacity)))
            e = ERR_BUDGET;
        else if (e == ERR_OK)
            m->charged += MERGE_BUILDING * m->bodies[i].capacity;
        if ((e == ERR_BUDGET || e == ERR_TOO_LARGE) && i >= 2) {
            inputs_cut(m, i);
            return ERR_OK;
        }
        if (e == ERR_BUDGET || e == ERR_TOO_LARGE)
            m->culprit = larger(m->inputs[0], m->inputs[1]);
        else if (e != ERR_OK)
            m->culprit = m->inputs[i];
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err merge_read(struct merge *m)
{
    struct db *reader = NULL;
    struct partition *p = m->partition;
    enum err e = reader_pool_take(&p->readers, &reader);
    if (e != ERR_OK)
        return e;
    e = bodies_read(reader, m);
    if (e == ERR_OK)
        e = requests_read(reader, m);
    reader_pool_give(&p->readers, reader);
    return e;
}

/* The defect that the tests must see: one span is not there any more. */
static bool drop_one(void *context, const struct trace_id *trace_id, const struct span_id *span_id,
                     struct hash128 content)
{
    bool *is_dropped = context;
    bool drops = !*is_dropped;
    (void)trace_id;
    (void)span_id;
    (void)content;
    *is_dropped = true;
    return drops;
}

/* Of inputs [from, to). */
static enum err group_make(struct merge *m, struct rowgroup_builder *b, size_t from, size_t to)
{
    enum err e = ERR_OK;
    bool is_dropped = false;
    rowgroup_builder_reset(b);
    buffer_reset(&m->group);
    for (size_t i = from; e == ERR_OK && i < to; i++)
        e = rowgroup_builder_add(b, buffer_bytes(&m->bodies[i]));
    if (e == ERR_OK)
        e = rowgroup_builder_finish(b, defect_is("merge-drops-span") ? drop_one : NULL, &is_dropped,
                                    &m->group, &m->summary);
    return e == ERR_OK ? buffer_error(&m->group) : e;
}

/* All are good that make a group alone; of two that do not make one together the larger stays alone. */
static void culprit_find(struct merge *m, struct rowgroup_builder *b)
{
    m->culprit = larger(m->inputs[0], m->inputs[1]);
    for (size_t i = 0; i < 2; i++) {
        enum err e = group_make(m, b, i, i + 1);
        if (e != ERR_OK && !is_passing(e))
            m->culprit = m->inputs[i];
    }
}

/* What is in the inputs and not in the result, by operation. */
static enum err dropped_find(struct merge *m)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < m->count; i++)
        rows += m->inputs[i]->rows;
    m->rows = rows;
    if (rows == m->summary.rows || m->signal != SIGNAL_TRACES)
        return ERR_OK;
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < m->count; i++) {
        struct bytes service = { 0 };
        struct otlp_items it = otlp_items(buffer_bytes(&m->bodies[i]));
        while (e == ERR_OK && otlp_items_next(&it)) {
            struct otlp_span span;
            if (it.is_new_resource)
                service = otlp_service_name(it.resource.resource);
            otlp_span_read(it.item, &span);
            e = operations_add(&m->dropped, service, span.name, span.kind, 1);
        }
    }
    struct operations kept;
    operations_init_whole(&kept);
    for (size_t i = 0; e == ERR_OK && i < m->summary.operations_count; i++) {
        const struct rowgroup_operation *o = &m->summary.operations[i];
        e = operations_add(&kept, o->service, o->name, o->kind, o->spans);
    }
    if (e == ERR_OK)
        operations_subtract(&m->dropped, &kept);
    operations_deinit(&kept);
    return e;
}

static enum err merge_build(struct merge *m, struct rowgroup_builder *b)
{
    enum err e = group_make(m, b, 0, m->count);
    while (e != ERR_OK && !is_passing(e) && m->count > 2) {
        inputs_cut(m, m->count / 2);
        e = group_make(m, b, 0, m->count);
    }
    if (e != ERR_OK && !is_passing(e))
        culprit_find(m, b);
    return e == ERR_OK ? dropped_find(m) : e;
}

/* ---- The first transaction ------------------------------------------------------------------- */

static struct retirement as_retirement(const struct merge *m)
{
    return (struct retirement){ .signal = m->signal,
                                .has_group = true,
                                .group = buffer_bytes(&m->group),
                                .summary = m->summary,
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
    uint64_t copies = m->rows - m->summary.rows;
    if (p->db.handle == NULL || p->state != PARTITION_OPEN)
        return ERR_BUSY; /* sealed or given up meanwhile */
    if (atomic_load(&e->not_writable) != NULL)
        return ERR_BUSY;
    struct group *g = group_new(&e->view.filters, m->summary.trace_filter);
    struct group_list *list =
        g == NULL ? NULL : view_prepare_merge(&e->view, m->signal, m->inputs, m->count, g);
    if (list == NULL)
        return ERR_NOMEM;
    g->partition = partition_retain(p);
    g->signal = m->signal;
    g->rows = m->summary.rows;
    g->level = 0;
    g->start_min_unix_ns = m->summary.start_min_unix_ns;
    g->start_max_unix_ns = m->summary.start_max_unix_ns;
    g->bytes = buffer_bytes(&m->group).len;
    g->remembered_epoch = UINT64_MAX;
    for (size_t i = 0; i < m->count; i++) {
        const struct group *input = m->inputs[i];
        if (input->remembered_epoch < g->remembered_epoch)
            g->remembered_epoch = input->remembered_epoch;
        g->level = g->level > input->level + 1 ? g->level : input->level + 1;
        if (input->built_unix_ns > g->built_unix_ns)
            g->built_unix_ns = input->built_unix_ns;
    }

    struct retirement r = as_retirement(m);
    r.built_unix_ns = g->built_unix_ns;
    int64_t ids[MERGE_INPUTS_MAX];
    for (size_t i = 0; i < m->count; i++)
        ids[i] = m->inputs[i]->id;
    const struct group_replacement replacement = {
        .level = g->level, .ids = ids, .count = m->count, .dropped = &m->dropped, .taken = &m->taken
    };
    enum err error = partition_merge(p, &r, &replacement, &g->id);
    if (error != ERR_OK) {
        group_list_release(list);
        writer_write_failed(e, p, error);
        return error;
    }
    (void)pthread_rwlock_wrlock(&e->operations_lock);
    view_retire(&e->view, m->signal, list, 0, NULL, 0);
    atomic_fetch_sub(&e->groups_count, m->count - 1);
    atomic_fetch_sub(&e->stored_items[m->signal], copies);
    operations_subtract(&e->operations, &m->taken);
    (void)pthread_rwlock_unlock(&e->operations_lock);
    atomic_fetch_add(&p->replaced, m->count);
    metric_add(e->metrics.resent_merged, copies);
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
    bool waits = !atomic_load(&e->seals_unmerged);
    for (int s = 0; s < SIGNAL_COUNT && waits && !is_due; s++) {
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

/* It stays as it is. */
static void culprit_mark(struct sqlite_engine *e, const struct merge *m, enum err error)
{
    struct group *g = m->culprit;
    atomic_store(&g->is_unmergeable, true);
    log_line(error == ERR_CORRUPT ? LOG_ERROR : LOG_DEBUG, "storage",
             "row group %lld of partition %llu is not merged: %s", (long long)g->id,
             (unsigned long long)m->partition->id, err_text(error));
    if (error == ERR_CORRUPT && !atomic_exchange(&g->is_damaged, true)) {
        atomic_fetch_add(&e->damaged_groups, 1);
        metric_add(e->metrics.damaged_groups, 1);
    }
}

static void merge_begin(struct sqlite_engine *e, struct merge *m)
{
    m->budget = &e->background;
    for (size_t i = 0; i < m->count; i++)
        buffer_init_charged(&m->bodies[i], MERGE_MEMORY_MAX, m->budget);
    buffer_init(&m->group, (size_t)1 << 30);
    buffer_init(&m->requests, (size_t)64 << 20);
    operations_init_whole(&m->dropped);
    operations_init_whole(&m->taken);
}

static void merge_end(struct merge *m)
{
    inputs_cut(m, 0);
    buffer_deinit(&m->group);
    buffer_deinit(&m->requests);
    operations_deinit(&m->dropped);
    operations_deinit(&m->taken);
    budget_release(m->budget, m->charged);
}

static void merge_one(struct sqlite_engine *e, struct merge *m)
{
    struct rowgroup_builder *b = NULL;
    struct rowgroup_options options = { .signal = m->signal, .content_key = &e->content_key };
    uint64_t begun = clock_mono_ns();
    merge_begin(e, m);
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
    unsigned *refusals = &e->maintain.merge_refusals[m->signal];
    *refusals = error == ERR_BUDGET ? *refusals + 1 : 0;
    if (error == ERR_OK) {
        replaced_keep(&e->maintain, m);
    } else if (m->culprit != NULL && (!is_passing(error) || *refusals >= MERGE_PATIENCE)) {
        culprit_mark(e, m, error);
        *refusals = 0;
    }
    rowgroup_builder_close(b);
    merge_end(m);
    metric_observe(e->metrics.merge_duration, clock_mono_ns() - begun);
}

void merge_run(struct sqlite_engine *e)
{
    replaced_tend(e);
    if (atomic_load(&e->not_writable) != NULL || atomic_load(&e->disk.state) == DISK_CRITICAL)
        return;
    bool has_time = atomic_load(&e->pending_bytes) <= e->memory_bytes / 16;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct snapshot snapshot;
        struct merge m = { .signal = (enum signal)s };
        view_snapshot(&e->view, (enum signal)s, &snapshot);
        if (merge_choose(e, snapshot.groups, &m) && has_time)
            merge_one(e, &m); /* what failed is tried again, or marked */
        if (m.has_leftovers)
            (void)!writer_task_run(e, leftovers_delete, NULL);
        snapshot_release(&snapshot);
    }
}
