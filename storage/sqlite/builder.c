/* SPDX-License-Identifier: Apache-2.0 */
/* builder.c - pending bodies become row groups.
 *
 * Building runs beside the writer's commits; only the finished group passes through the writer, in
 * the one transaction that takes its entries out of the journal. The builder alone takes from the
 * chains, so what it has looked at is still their beginning when the group is written. What the group adds to the
 * rollups is counted as its spans are walked over. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/content_hash.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define RETRY_BUILD_NS          (200 * NS_PER_MS)
#define QUIET_NS                (2 * NS_PER_S) /* after a row group: then its memory is given back */
#define LOOKBACK_GROUPS_MAX     256            /* that one span is looked up in, newest first */
#define LOOKBACK_NS_MAX         (250 * NS_PER_MS) /* for one row group */
#define LOOKBACK_UNFILTERED_MAX 16                /* likewise, of groups from before the start */
#define LOOKBACK_ARENA_BYTES    ((size_t)64 << 20)
#define LOOKBACK_READ_ROWS      1024 /* read at a time, so that a large trace takes little memory */

/* ---- Look-back: is this span in a row group already? ----------------------------------------- */

struct stored_span {
    struct span_id id;
    struct hash128 content;
};

struct candidate {
    struct trace_id trace_id;
    struct span_id span_id;
    struct hash128 content;
    bool
        is_remembered; /* by the span filter; else only a group from before the start may have it */
};

struct lookback {
    struct sqlite_engine *engine;
    struct snapshot snapshot;
    struct reader_set readers;
    struct arena arena; /* of the open segments, and of the trace at hand */
    struct lookback_group {
        struct segment *segment;
        bool is_tried;
        bool has_index;
        struct trace_id trace_id;  /* the trace that is indexed: */
        struct stored_span *spans; /* [spans_count], by ID */
        size_t spans_count;
    } * opened; /* [snapshot.groups->count], made when the first span hits the filter */
    uint64_t oldest_unix_ns; /* groups built before are not looked at */
    uint64_t until_mono_ns;  /* then no more is read: what is missed is hidden when it is read */
    struct candidate *candidates; /* spans that may be stored, then those that are, by content */
    size_t candidates_count, candidates_capacity;
    bool has_filters;        /* of the snapshot's groups, in use */
    size_t recent_from;      /* the first group that may hold a span of the filter */
    size_t old_from, old_to; /* groups that are not in the filter; see lookback_old_find() */
};

static enum err lookback_open(struct lookback *l, size_t index)
{
    struct lookback_group *o = &l->opened[index];
    struct group *g = l->snapshot.groups->groups[index];
    o->is_tried = true;
    struct db *reader = NULL;
    enum err e = reader_set_take(&l->readers, &g->partition->readers, &reader);
    struct rowgroup_source source;
    if (e == ERR_OK)
        e = partition_group_open(reader, g, &source);
    if (e == ERR_OK)
        e = rowgroup_segment_open(&source, &l->arena, &o->segment);
    return e;
}

static int stored_span_compare(const void *left, const void *right)
{
    const struct stored_span *a = left, *b = right;
    return memcmp(a->id.b, b->id.b, sizeof a->id.b);
}

/* Add the spans of `rows` to the index. */
static enum err index_add(struct lookback *l, struct lookback_group *o, const uint32_t *rows,
                          size_t count)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &l->arena };
    struct buffer data;
    buffer_init(&data, LOOKBACK_ARENA_BYTES);
    enum err e = o->segment->ops->read(o->segment, &q, rows, count, ROW_ALL, &data);
    if (e == ERR_OK)
        e = buffer_error(&data);
    if (e == ERR_OK) {
        struct otlp_items it = otlp_items(buffer_bytes(&data));
        for (size_t i = 0; i < count && otlp_items_next(&it); i++) {
            struct stored_span *span = &o->spans[o->spans_count++];
            struct otlp_span read;
            otlp_span_read(it.item, &read);
            span->id = read.span_id;
            span->content = content_hash(&l->engine->content_key, SIGNAL_TRACES, &it);
        }
    }
    buffer_deinit(&data);
    return e;
}

/* What the group holds of a trace, read once: the builder asks for a trace's spans one after the other,
 * and reading the trace for each of them would take the square of its length. */
static enum err index_build(struct lookback *l, struct lookback_group *o,
                            const struct trace_id *trace_id)
{
    size_t count = 0;
    mem_free(o->spans);
    o->spans = NULL;
    o->spans_count = 0;
    o->trace_id = *trace_id;
    o->has_index = true;
    enum err e = o->segment->ops->find_trace(o->segment, trace_id, NULL, 0, &count);
    if (e != ERR_OK || count == 0)
        return e;
    uint32_t *rows = mem_alloc_array(count, sizeof *rows);
    o->spans = mem_alloc_array(count, sizeof *o->spans);
    e = rows == NULL || o->spans == NULL
            ? ERR_NOMEM
            : o->segment->ops->find_trace(o->segment, trace_id, rows, count, &count);
    for (size_t at = 0; e == ERR_OK && at < count; at += LOOKBACK_READ_ROWS) {
        size_t left = count - at;
        e = index_add(l, o, rows + at, left < LOOKBACK_READ_ROWS ? left : LOOKBACK_READ_ROWS);
    }
    mem_free(rows);
    if (o->spans_count > 0)
        qsort(o->spans, o->spans_count, sizeof *o->spans, stored_span_compare);
    return e;
}

/* Is there a row of this trace with this span ID and content? What cannot be read is taken for absent: a
 * copy is then hidden when it is read. */
static bool group_has(struct lookback *l, struct lookback_group *o, const struct trace_id *trace_id,
                      const struct span_id *span_id, struct hash128 content)
{
    if (!o->has_index || memcmp(o->trace_id.b, trace_id->b, sizeof trace_id->b) != 0)
        (void)index_build(l, o, trace_id);
    size_t low = 0, high = o->spans_count;
    while (low < high) { /* the first with this ID or a later one */
        size_t middle = low + (high - low) / 2;
        if (memcmp(o->spans[middle].id.b, span_id->b, sizeof span_id->b) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < o->spans_count; low++) {
        if (memcmp(o->spans[low].id.b, span_id->b, sizeof span_id->b) != 0)
            return false;
        if (hash128_equal(o->spans[low].content, content))
            return true;
    }
    return false;
}

/* Look for the span in groups [from, to), newest first. */
static void lookback_filters(struct lookback *l)
{
    if (!l->has_filters)
        filter_room_use(&l->engine->view.filters);
    l->has_filters = true;
}

static bool lookback_in(struct lookback *l, size_t from, size_t to, const struct trace_id *trace_id,
                        const struct span_id *span_id, struct hash128 content)
{
    const struct group_list *list = l->snapshot.groups;
    lookback_filters(l);
    for (size_t i = to; i-- > from;) {
        const struct group *g = list->groups[i];
        if (g->built_unix_ns < l->oldest_unix_ns)
            break;
        if (!trace_filter_may_contain(g->trace_filter, trace_id))
            continue;
        if (l->opened == NULL) {
            l->opened = mem_alloc_array(list->count, sizeof *l->opened);
            if (l->opened == NULL)
                return false;
        }
        if (clock_mono_ns() > l->until_mono_ns)
            return false;
        if (!l->opened[i].is_tried && lookback_open(l, i) != ERR_OK)
            continue;
        if (l->opened[i].segment != NULL && group_has(l, &l->opened[i], trace_id, span_id, content))
            return true;
    }
    return false;
}

/* What was built since the start is in the span filter, as far back as its size allows. Groups from
 * before the start are not, nor those from before the filter was lost, so the newest few are asked in any case. They lie in front of the others, but
 * for those that were merged. */
static void lookback_old_find(struct lookback *l)
{
    const struct group_list *list = l->snapshot.groups;
    size_t found = 0;
    for (size_t i = list->count; i > 0 && found < LOOKBACK_UNFILTERED_MAX; i--) {
        const struct group *g = list->groups[i - 1];
        if (g->built_unix_ns < l->oldest_unix_ns)
            break;
        if (g->remembered_epoch == l->engine->builder.recent.epoch)
            continue;
        if (found++ == 0)
            l->old_to = i;
        l->old_from = i - 1;
    }
}

/* May a group from before the start have this trace? */
static bool lookback_old_may_have(struct lookback *l, const struct trace_id *trace_id)
{
    lookback_filters(l);
    for (size_t i = l->old_to; i > l->old_from; i--)
        if (trace_filter_may_contain(l->snapshot.groups->groups[i - 1]->trace_filter, trace_id))
            return true;
    return false;
}

/* The exact question, for the few that may be. */
static bool lookback_has(struct lookback *l, const struct candidate *c)
{
    size_t to = l->old_to;
    if (c->is_remembered && lookback_in(l, l->recent_from, l->snapshot.groups->count, &c->trace_id,
                                        &c->span_id, c->content))
        return true;
    return lookback_in(l, l->old_from,
                       to < l->recent_from || !c->is_remembered ? to : l->recent_from, &c->trace_id,
                       &c->span_id, c->content);
}

static int trace_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct trace_id)); /* the first member */
}

static int content_order(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->content.high != y->content.high)
        return x->content.high < y->content.high ? -1 : 1;
    return (x->content.low > y->content.low) - (x->content.low < y->content.low);
}

/* Without memory to remember it, it is stored twice and shown once. */
static void candidate_add(struct lookback *l, const struct candidate *candidate)
{
    if (l->candidates_count == l->candidates_capacity) {
        size_t capacity = l->candidates_capacity == 0 ? 64 : 2 * l->candidates_capacity;
        struct candidate *grown = mem_realloc(l->candidates, capacity * sizeof *grown);
        if (grown == NULL)
            return;
        l->candidates = grown;
        l->candidates_capacity = capacity;
    }
    l->candidates[l->candidates_count++] = *candidate;
}

/* Keep those that are stored. Trace after trace, since groups remember the last trace looked up. */
static void candidates_decide(struct lookback *l)
{
    size_t kept = 0;
    if (l->candidates_count > 0)
        qsort(l->candidates, l->candidates_count, sizeof *l->candidates, trace_order);
    for (size_t i = 0; i < l->candidates_count; i++) {
        const struct candidate c = l->candidates[i];
        if (lookback_has(l, &c))
            l->candidates[kept++] = c;
    }
    l->candidates_count = kept;
    if (kept > 0)
        qsort(l->candidates, kept, sizeof *l->candidates, content_order);
}

static bool is_stored(void *context, const struct trace_id *trace_id, const struct span_id *span_id,
                      struct hash128 content)
{
    const struct lookback *l = context;
    const struct candidate wanted = { *trace_id, *span_id, content, false };
    return bsearch(&wanted, l->candidates, l->candidates_count, sizeof wanted, content_order) !=
           NULL;
}

static void lookback_begin(struct lookback *l, struct sqlite_engine *e, uint64_t now_unix_ns)
{
    *l = (struct lookback){ .engine = e };
    l->until_mono_ns = clock_mono_ns() + LOOKBACK_NS_MAX;
    l->oldest_unix_ns = now_unix_ns > SPAN_LOOKBACK_NS ? now_unix_ns - SPAN_LOOKBACK_NS : 0;
    arena_init(&l->arena, LOOKBACK_ARENA_BYTES, NULL);
    view_snapshot(&e->view, SIGNAL_TRACES, &l->snapshot);
    /* By what they hold, not by the clock, which may be set back. */
    uint64_t spans = span_filter_count(&e->builder.recent);
    const struct group_list *list = l->snapshot.groups;
    size_t i = list->count;
    while (i > 0 && spans > 0 && list->count - i < LOOKBACK_GROUPS_MAX) {
        uint32_t rows = list->groups[--i]->rows;
        spans -= rows < spans ? rows : spans;
    }
    l->recent_from = i;
    lookback_old_find(l);
}

static void lookback_end(struct lookback *l)
{
    for (size_t i = 0; l->opened != NULL && i < l->snapshot.groups->count; i++) {
        if (l->opened[i].segment != NULL)
            l->opened[i].segment->ops->close(l->opened[i].segment);
        mem_free(l->opened[i].spans);
    }
    reader_set_deinit(&l->readers);
    mem_free(l->opened);
    mem_free(l->candidates);
    arena_deinit(&l->arena);
    if (l->has_filters)
        filter_room_leave(&l->engine->view.filters);
    snapshot_release(&l->snapshot);
}

/* ---- One row group --------------------------------------------------------------------------- */

/* What is made of one range, and the memory it is made in. */
struct build {
    struct retirement retirement;
    struct rowgroup_builder *builder; /* borrowed from the thread, with its memory */
    struct buffer group, requests;
    struct pending **aside;
    const char **aside_reasons;
    uint64_t found_stored;
};

/* The disk, the heap or the clock: the same entry may do better later. Anything else is in the
 * entry. */
static bool is_transient(enum err e)
{
    return e == ERR_NOMEM || e == ERR_BUDGET || e == ERR_IO || e == ERR_FULL || e == ERR_BUSY;
}

/* Hashes of the spans' IDs, some spans ahead of the question that is asked of each. */
enum { HASHES_AHEAD = 16 };

/* Which spans of the group are stored already? Nearly always none is, and then no span's content has to be
 * hashed, which costs as much as half of building the group. The spans are remembered on the way; where
 * writing the group fails, the next try finds them in the filter, and then not in any group. */
static enum err group_look_back(struct sqlite_engine *e, struct lookback *l, struct build *b)
{
    struct span_filter *recent = &e->builder.recent;
    bool asks_old = l->old_to > l->old_from;
    uint32_t rows = rowgroup_builder_rows(b->builder), hashed = 0;
    uint64_t hashes[HASHES_AHEAD];
    enum err error = ERR_OK;
    for (uint32_t i = 0; i < rows && error == ERR_OK; i++) {
        struct candidate c;
        for (; hashed < rows && hashed < i + HASHES_AHEAD; hashed++) {
            rowgroup_builder_ids(b->builder, hashed, &c.trace_id, &c.span_id);
            hashes[hashed % HASHES_AHEAD] = span_filter_hash(&c.trace_id, &c.span_id);
            span_filter_prefetch(recent, hashes[hashed % HASHES_AHEAD]);
        }
        c.is_remembered = span_filter_put(recent, hashes[i % HASHES_AHEAD]);
        if (!c.is_remembered && !asks_old)
            continue;
        rowgroup_builder_ids(b->builder, i, &c.trace_id, &c.span_id);
        if (!c.is_remembered && !lookback_old_may_have(l, &c.trace_id))
            continue;
        error = rowgroup_builder_content(b->builder, i, &c.content);
        if (error == ERR_OK)
            candidate_add(l, &c);
    }
    candidates_decide(l);
    span_filter_turn(recent, b->retirement.built_unix_ns);
    return error;
}

static enum err group_finish(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    if (r->signal == SIGNAL_LOGS) /* a record has no ID by which it could be told to be the same */
        return rowgroup_builder_finish(b->builder, NULL, NULL, &b->group, &r->summary);
    struct lookback l;
    span_filter_wake(&e->builder.recent); /* which groups are in it is known then */
    r->remembered_epoch = e->builder.recent.epoch;
    lookback_begin(&l, e, r->built_unix_ns);
    enum err error = group_look_back(e, &l, b);
    if (error == ERR_OK)
        error = rowgroup_builder_finish(b->builder, l.candidates_count > 0 ? is_stored : NULL, &l,
                                        &b->group, &r->summary);
    b->found_stored = l.candidates_count;
    lookback_end(&l);
    return error;
}

/* What the group adds to the rollups. Spans are worth more than what is counted of them: where counting takes more
 * memory than it may, they are stored without it. */
static enum err group_count(struct sqlite_engine *e, struct retirement *r)
{
    enum err error = derived_build_end(e, r);
    assert(error != ERR_OK || r->signal != SIGNAL_TRACES ||
           e->derived.intake.spans == r->summary.rows);
    /* Of fewer requests it may have room, and when others give back what they took. */
    bool is_alone = budget_used(&e->background) <= e->derived.intake.arena.held_bytes;
    bool is_all = error == ERR_BUDGET && r->entries.count == 1 && is_alone;
    if (error == ERR_OK || (is_transient(error) && !is_all))
        return error;
    log_line(LOG_ERROR, "storage", "%llu spans are stored and not counted in rollups: %s",
             (unsigned long long)r->summary.rows, err_text(error));
    metric_add(e->metrics.uncounted_items, r->summary.rows);
    derived_build_begin(&e->derived);
    r->derived = NULL;
    return ERR_OK;
}

/* A group of the entries that are not set aside. */
static enum err group_build(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    rowgroup_builder_reset(b->builder);
    buffer_reset(&b->group);
    struct pending *entry = r->entries.first;
    size_t next_aside = 0;
    for (size_t i = 0; i < r->entries.count; i++, entry = entry->next) {
        if (next_aside < r->aside_count && b->aside[next_aside] == entry) {
            next_aside++;
            continue;
        }
        enum err error = rowgroup_builder_add(b->builder, entry->body);
        if (error != ERR_OK)
            return error;
    }
    r->has_group = false;
    r->derived = NULL;
    if (next_aside == r->entries.count || rowgroup_builder_rows(b->builder) == 0)
        return ERR_OK;
    derived_build_begin(&e->derived);
    enum err error = group_finish(e, b);
    if (error == ERR_OK)
        error = buffer_error(&b->group);
    if (error != ERR_OK)
        return error;
    r->group = buffer_bytes(&b->group);
    r->has_group = r->summary.rows > 0;
    return group_count(e, r);
}

/* Which entries cannot be built even alone? */
static enum err poison_find(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    r->aside_count = 0;
    struct pending *entry = r->entries.first;
    for (size_t i = 0; i < r->entries.count; i++, entry = entry->next) {
        rowgroup_builder_reset(b->builder);
        buffer_reset(&b->group);
        enum err error = rowgroup_builder_add(b->builder, entry->body);
        if (error == ERR_OK && rowgroup_builder_rows(b->builder) > 0)
            error = rowgroup_builder_finish(b->builder, NULL, NULL, &b->group, &r->summary);
        if (is_transient(error))
            return error;
        if (error != ERR_OK) {
            log_line(LOG_ERROR, "storage", "a request of %llu items is set aside: %s",
                     (unsigned long long)entry->items, err_text(error));
            b->aside[r->aside_count] = entry;
            b->aside_reasons[r->aside_count++] = err_text(error);
        }
    }
    (void)e;
    return ERR_OK;
}

static enum err build_group(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    enum err error = group_build(e, b);
    if (error == ERR_OK || is_transient(error))
        return error;
    error = poison_find(e, b);
    if (error != ERR_OK)
        return error;
    error = group_build(e, b);
    if (error == ERR_OK || is_transient(error))
        return error;
    /* Each is good alone, and all are not together: keep them all readable as they are. */
    const char *reason = err_text(error);
    r->aside_count = r->entries.count;
    struct pending *entry = r->entries.first;
    for (size_t i = 0; i < r->entries.count; i++, entry = entry->next) {
        b->aside[i] = entry;
        b->aside_reasons[i] = reason;
    }
    return group_build(e, b);
}

static void requests_list(struct build *b)
{
    const struct pending *entry = b->retirement.entries.first;
    for (size_t i = 0; i < b->retirement.entries.count; i++, entry = entry->next) {
        uint8_t record[24];
        hash128_store(entry->request_hash, record);
        store_le64(record + 16, entry->arrival_unix_ns);
        buffer_append(&b->requests, record, sizeof record);
    }
    b->retirement.requests = buffer_bytes(&b->requests);
}

static enum err builder_borrow(struct sqlite_engine *e, enum signal signal,
                               struct rowgroup_builder **out)
{
    struct rowgroup_builder **kept = &e->builder.rowgroup_builders[signal];
    struct rowgroup_options options = { .signal = signal,
                                        .content_key = &e->content_key,
                                        .on_span = derived_on_span,
                                        .on_span_context = &e->derived };
    enum err error = *kept == NULL ? rowgroup_builder_open(&options, kept) : ERR_OK;
    if (error == ERR_OK)
        *out = *kept;
    return error;
}

/* A quiet server gives the memory of building back. False: it has been given back already. */
static bool builders_drop(struct sqlite_engine *e)
{
    bool had_any = false;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        had_any = had_any || e->builder.rowgroup_builders[s] != NULL;
        rowgroup_builder_close(e->builder.rowgroup_builders[s]);
        e->builder.rowgroup_builders[s] = NULL;
    }
    if (had_any)
        derived_build_rest(&e->derived);
    return had_any;
}

static enum err range_retire(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    size_t count = r->entries.count;
    b->aside = mem_alloc_array(count, sizeof(struct pending *));
    b->aside_reasons = mem_alloc_array(count, sizeof(const char *));
    if (b->aside == NULL || b->aside_reasons == NULL)
        return ERR_NOMEM;
    r->aside = b->aside;
    r->aside_reasons = b->aside_reasons;
    CRASH_POINT("build_begun");
    uint64_t begun = clock_mono_ns();
    r->built_unix_ns = clock_unix_ns();
    enum err error = builder_borrow(e, r->signal, &b->builder);
    if (error == ERR_OK)
        error = build_group(e, b);
    if (error == ERR_OK) {
        requests_list(b);
        error = buffer_error(&b->requests);
    }
    CRASH_POINT("build_finished");
    metric_observe(e->metrics.build_duration, clock_mono_ns() - begun);
    if (error == ERR_OK)
        error = writer_task_run(e, writer_retire, r);
    if (error == ERR_OK) {
        derived_build_stored(e, r);
        metric_add(e->metrics.resent_stored, b->found_stored);
        if (r->has_group && r->summary.duplicates > b->found_stored)
            metric_add(e->metrics.resent_group, r->summary.duplicates - b->found_stored);
    }
    return error;
}

/* Retiring writes the group and what it removes to the log first: on a disk with little room, little at a time. */
static size_t build_bytes_max(const struct sqlite_engine *e)
{
    uint64_t share = atomic_load(&e->disk.free_bytes) / 16;
    if (share == 0 && atomic_load(&e->disk.state) == DISK_OK)
        return BUILD_BYTES_MAX; /* not known yet */
    share = share < BUILD_BYTES_LEAST ? BUILD_BYTES_LEAST : share;
    return share < BUILD_BYTES_MAX ? (size_t)share : BUILD_BYTES_MAX;
}

/* Make one row group of the oldest entries of a signal; ERR_OK also when there are none. */
static enum err build_some(struct sqlite_engine *e, enum signal signal, uint64_t items_max,
                           size_t bytes_max, size_t *out_entries)
{
    struct build b = { .retirement = { .signal = signal } };
    view_oldest(&e->view, signal, items_max, bytes_max, &b.retirement.entries);
    enum err error = ERR_OK;
    *out_entries = b.retirement.entries.count;
    if (b.retirement.entries.count > 0) {
        buffer_init(&b.group, (size_t)1 << 30);
        buffer_init(&b.requests, (size_t)64 << 20);
        error = range_retire(e, &b);
    }
    if (b.builder != NULL)
        rowgroup_builder_reset(b.builder);
    buffer_deinit(&b.group);
    buffer_deinit(&b.requests);
    mem_free(b.aside);
    mem_free(b.aside_reasons);
    pending_range_release(&b.retirement.entries);
    return error;
}

/* Of as many as there is memory for. */
static enum err build_oldest(struct sqlite_engine *e, enum signal signal)
{
    uint64_t items = e->builder_rows;
    size_t bytes = build_bytes_max(e), entries = 0;
    enum err error = build_some(e, signal, items, bytes, &entries);
    while (error == ERR_BUDGET && entries > 1) {
        items /= 2;
        bytes /= 2;
        error = build_some(e, signal, items, bytes, &entries);
    }
    if (error != ERR_OK)
        metric_add(e->metrics.builds_failed, 1);
    e->builder.built_mono_ns = clock_mono_ns();
    return error;
}

/* ---- When ------------------------------------------------------------------------------------ */

/* Enough rows, old enough, or enough memory: then *out_signal is to be built now. Else *out_wait_ns
 * says when to look again. */
static bool build_is_due(struct sqlite_engine *e, enum signal *out_signal, uint64_t *out_wait_ns)
{
    struct view_totals totals;
    view_totals(&e->view, &totals);
    uint64_t now = clock_mono_ns(), wait = NS_PER_S;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        if (totals.arrival_mono_ns[s] == 0)
            continue;
        uint64_t age = now - totals.arrival_mono_ns[s];
        if (totals.items[s] >= e->builder_rows || age >= e->builder_age_ns ||
            totals.bytes[s] >= e->memory_bytes / 8) {
            *out_signal = (enum signal)s;
            return true;
        }
        if (e->builder_age_ns - age < wait)
            wait = e->builder_age_ns - age;
    }
    *out_wait_ns = wait;
    return false;
}

static void builder_wait(struct builder *b, uint64_t wait_ns, uint64_t flushes_done)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    (void)pthread_mutex_lock(&b->lock);
    if (!b->is_stopping && b->flushes_asked == flushes_done)
        (void)pthread_cond_timedwait(&b->changed, &b->lock, &until);
    (void)pthread_mutex_unlock(&b->lock);
}

/* Everything that is pending now; what comes meanwhile may go along. */
static enum err flush_all(struct sqlite_engine *e)
{
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct view_totals totals;
        view_totals(&e->view, &totals);
        uint64_t begun = clock_mono_ns();
        while (totals.arrival_mono_ns[s] != 0 && totals.arrival_mono_ns[s] <= begun) {
            enum err error = build_oldest(e, (enum signal)s);
            if (error != ERR_OK)
                return error;
            view_totals(&e->view, &totals);
        }
    }
    return ERR_OK;
}

static void *builder_main(void *context)
{
    struct sqlite_engine *e = context;
    struct builder *b = &e->builder;
    for (;;) {
        (void)pthread_mutex_lock(&b->lock);
        bool is_stopping = b->is_stopping;
        uint64_t asked = b->flushes_asked, done = b->flushes_done;
        (void)pthread_mutex_unlock(&b->lock);
        if (asked != done) {
            enum err error = flush_all(e);
            (void)pthread_mutex_lock(&b->lock);
            b->flushes_done = asked;
            b->flush_result = error;
            (void)pthread_cond_broadcast(&b->changed);
            (void)pthread_mutex_unlock(&b->lock);
            continue;
        }
        if (is_stopping)
            return NULL;
        enum signal signal = SIGNAL_TRACES;
        uint64_t wait_ns = 0;
        if (!build_is_due(e, &signal, &wait_ns)) {
            if (clock_mono_ns() - b->built_mono_ns >= QUIET_NS && builders_drop(e))
                mem_trim();
            if (engine_may_rest(e, b->built_mono_ns)) {
                const struct rest_policy policy = engine_rest_policy(e);
                span_filter_rest(&b->recent, &policy);
            }
            builder_wait(b, wait_ns, done);
        } else if (build_oldest(e, signal) != ERR_OK) {
            builder_wait(b, RETRY_BUILD_NS, done);
        }
    }
}

void builder_notify(struct sqlite_engine *e)
{
    struct view_totals totals;
    view_totals(&e->view, &totals);
    bool is_enough = false;
    for (int s = 0; s < SIGNAL_COUNT; s++)
        is_enough = is_enough || totals.items[s] >= e->builder_rows ||
                    totals.bytes[s] >= e->memory_bytes / 8;
    if (!is_enough)
        return; /* age alone: the builder looks by itself */
    (void)pthread_mutex_lock(&e->builder.lock);
    (void)pthread_cond_broadcast(&e->builder.changed);
    (void)pthread_mutex_unlock(&e->builder.lock);
}

enum err builder_flush(struct sqlite_engine *e)
{
    struct builder *b = &e->builder;
    (void)pthread_mutex_lock(&b->lock);
    uint64_t mine = ++b->flushes_asked;
    (void)pthread_cond_broadcast(&b->changed);
    while (b->flushes_done < mine && b->is_started)
        (void)pthread_cond_wait(&b->changed, &b->lock);
    enum err result = b->flush_result;
    (void)pthread_mutex_unlock(&b->lock);
    return result;
}

enum err builder_init(struct sqlite_engine *e)
{
    struct builder *b = &e->builder;
    (void)pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&b->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    b->built_mono_ns = clock_mono_ns();
    return span_filter_init(&b->recent, clock_unix_ns());
}

enum err builder_start(struct sqlite_engine *e)
{
    if (pthread_create(&e->builder.thread, NULL, builder_main, e) != 0)
        return ERR_NOMEM;
    (void)pthread_setname_np(e->builder.thread, "builder");
    e->builder.is_started = true;
    return ERR_OK;
}

void builder_stop(struct sqlite_engine *e)
{
    struct builder *b = &e->builder;
    if (b->is_started) {
        (void)pthread_mutex_lock(&b->lock);
        b->is_stopping = true;
        (void)pthread_cond_broadcast(&b->changed);
        (void)pthread_mutex_unlock(&b->lock);
        (void)pthread_join(b->thread, NULL);
        b->is_started = false;
    }
}

void builder_deinit(struct sqlite_engine *e)
{
    (void)pthread_mutex_destroy(&e->builder.lock);
    (void)pthread_cond_destroy(&e->builder.changed);
    (void)builders_drop(e);
    span_filter_deinit(&e->builder.recent);
}
