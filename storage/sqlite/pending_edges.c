/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/pending_edges.h"

#include "base/clock.h"

#include <assert.h>

#define NOTHING_KEPT   UINT64_MAX
#define PAIRED_AT_ONCE 512 /* spans; some 200 KB */

void pending_edges_init(struct pending_edges *p, struct totals *totals, size_t limit_bytes,
                        struct budget *budget)
{
    *p = (struct pending_edges){ .reader = { .totals = totals }, .generation = NOTHING_KEPT };
    budget_init(&p->budget, limit_bytes, budget);
    (void)pthread_mutex_init(&p->lock, NULL);
    buffer_init(&p->reader.name, 4096);
}

static uint64_t serial_of(const struct pending_range *range)
{
    return range->count == 0 ? 0 : range->first->serial;
}

/* ---- What is kept; under the lock ------------------------------------------------------------ */

static void forget(struct pending_edges *p)
{
    atomic_store(&p->generation, NOTHING_KEPT);
    if (!p->is_begun)
        return;
    intake_deinit(&p->intake);
    tally_deinit(&p->tally);
    arena_deinit(&p->arena);
    half_table_deinit(&p->halves);
    buffer_deinit(&p->stored);
    buffer_deinit(&p->waiting);
    budget_release(&p->budget, p->halves_bytes);
    p->halves_bytes = 0;
    p->is_begun = false;
}

void pending_edges_deinit(struct pending_edges *p)
{
    if (p->reader.totals == NULL)
        return; /* a zeroed one */
    forget(p);
    buffer_deinit(&p->reader.name);
    (void)pthread_mutex_destroy(&p->lock);
    *p = (struct pending_edges){ 0 };
}

/* It does not fit, and whoever asks for as much need not try. */
static enum err refuse(struct pending_edges *p, const struct pending_edges_query *query,
                       enum err error)
{
    p->refused_generation = query->generation;
    p->refused_serial = serial_of(query->range);
    p->refused_count = query->range->count;
    p->refused_error = error;
    p->has_refused = true;
    forget(p);
    return ERR_BUSY;
}

/* The table has grown: charge it. */
static bool halves_charge(struct pending_edges *p)
{
    size_t bytes = half_table_bytes(&p->halves);
    if (bytes <= p->halves_bytes)
        return true;
    if (!budget_reserve(&p->budget, bytes - p->halves_bytes))
        return false;
    p->halves_bytes = bytes;
    return true;
}

static enum err begin(struct pending_edges *p, const struct pending_edges_query *query)
{
    forget(p);
    enum err e = half_table_clone(query->halves, &p->halves);
    if (e != ERR_OK)
        return e;
    size_t limit = p->budget.limit_bytes;
    intake_init(&p->intake, limit);
    p->intake.arena.budget = &p->budget;
    totals_show(&p->reader, &p->intake);
    arena_init(&p->arena, limit, &p->budget);
    tally_init(&p->tally, &p->arena, TALLY_MINUTE_NS);
    buffer_init_charged(&p->stored, limit, &p->budget);
    buffer_init_charged(&p->waiting, limit, &p->budget);
    p->is_begun = true;
    p->begun++;
    p->count = p->stored_count = p->waiting_count = 0;
    atomic_store(&p->aside_count, 0);
    p->has_stored = p->has_waiting = false;
    atomic_store(&p->first_serial, serial_of(query->range));
    atomic_store(&p->generation, query->generation);
    return ERR_OK;
}

/* ---- Pairing --------------------------------------------------------------------------------- */

static enum err points_add(struct tally *to, const struct tally *from)
{
    enum err e = ERR_OK;
    for (uint32_t i = 0; i < from->points_count && e == ERR_OK; i++) {
        const struct tally_point *p = tally_point(from, i);
        struct tally_point *into;
        uint32_t series = 0;
        e = tally_series(to, tally_key(from, p->series), &series);
        if (e == ERR_OK)
            e = tally_at(to, series, p->start_unix_ns, &into);
        if (e == ERR_OK)
            e = tally_point_add(into, p);
    }
    return e;
}

/* What a row group of the intake's bodies would do. */
static enum err intake_pair(struct pending_edges *p)
{
    struct pairing pairing;
    enum err e = intake_error(&p->intake);
    if (e == ERR_OK)
        e = pairing_run(&p->intake, &p->halves, clock_unix_ns(), &pairing);
    if (e == ERR_OK)
        e = points_add(&p->tally, &p->intake.tally);
    if (e == ERR_OK)
        half_table_apply(&p->halves, &pairing.changes);
    if (e == ERR_OK && !halves_charge(p))
        e = ERR_BUDGET;
    intake_reset(&p->intake);
    return e;
}

/* Those of the range that are not among the first *counted. */
static enum err range_count(struct pending_edges *p, const struct pending_range *range,
                            size_t *counted, const struct query_context *q)
{
    const struct pending *entry = range->first;
    enum err e = ERR_OK, last = ERR_OK;
    size_t count = 0;
    for (; e == ERR_OK && count < range->count; count++, entry = entry->next) {
        if (count < *counted)
            continue;
        e = query_check(q);
        if (e != ERR_OK)
            break; /* what was counted stays */
        intake_add_body(&p->intake, entry->body);
        if (p->intake.spans >= PAIRED_AT_ONCE)
            e = intake_pair(p);
    }
    if (count > *counted)
        last = intake_pair(p);
    *counted = count;
    return last == ERR_OK ? e : last;
}

/* All that are not counted yet. */
static enum err rest_count(struct pending_edges *p, const struct pending_edges_query *query,
                           const struct query_context *q)
{
    size_t aside = p->aside_count;
    enum err e = range_count(p, query->aside, &aside, q);
    p->aside_count = aside;
    return e == ERR_OK ? range_count(p, query->range, &p->count, q) : e;
}

static enum err encode(struct tally *t, struct buffer *out)
{
    struct tally_span span;
    buffer_reset(out);
    return t->points_count > 0 ? tally_encode(t, out, &span) : ERR_OK;
}

/* Halves that came so long ago are counted as if they stayed alone. Kept for a second: a page asks twice. */
static enum err waiting_encode(struct pending_edges *p, uint64_t patience_ns)
{
    uint64_t now = clock_unix_ns();
    uint64_t until = now < patience_ns ? 0 : now - patience_ns;
    until = patience_ns == 0 ? UINT64_MAX : until - until % NS_PER_S;
    if (p->has_waiting && p->waiting_count == p->count && p->waiting_until_unix_ns == until)
        return ERR_OK;
    struct pairing none;
    p->has_waiting = false;
    enum err e = pairing_run(&p->intake, &p->halves, 0, &none);
    if (e == ERR_OK)
        e = pairing_count_waiting(&p->intake, &p->halves, &none, until);
    if (e == ERR_OK)
        e = encode(&p->intake.tally, &p->waiting);
    intake_reset(&p->intake);
    p->has_waiting = e == ERR_OK;
    p->waiting_count = p->count;
    p->waiting_until_unix_ns = until;
    return e;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

bool pending_edges_are_kept(const struct pending_edges *p, const struct pending_edges_query *query)
{
    return atomic_load(&p->generation) == query->generation &&
           atomic_load(&p->first_serial) == serial_of(query->range) &&
           atomic_load(&p->aside_count) == query->aside->count;
}

static bool is_refused(const struct pending_edges *p, const struct pending_edges_query *query)
{
    return p->has_refused && p->refused_generation == query->generation &&
           p->refused_serial == serial_of(query->range) && query->range->count >= p->refused_count;
}

static enum err read_locked(struct pending_edges *p, const struct pending_edges_query *query,
                            const struct query_context *q)
{
    enum err e = ERR_OK;
    bool is_kept = pending_edges_are_kept(p, query);
    if (is_refused(p, query) || (is_kept && p->count > query->range->count))
        return ERR_BUSY; /* it does not fit; or the snapshot is older than another's */
    if (!is_kept && query->halves == NULL)
        return ERR_BUSY;
    if (!is_kept)
        e = begin(p, query);
    if (e == ERR_OK && !is_kept && !halves_charge(p))
        e = ERR_BUDGET;
    if (e == ERR_OK)
        e = rest_count(p, query, q);
    if (e == ERR_OK && (!p->has_stored || p->stored_count != p->count)) {
        e = encode(&p->tally, &p->stored);
        p->has_stored = e == ERR_OK;
        p->stored_count = p->count;
    }
    if (e == ERR_OK)
        e = waiting_encode(p, query->patience_ns);
    if (e == ERR_OK || e == ERR_CANCELLED || e == ERR_DEADLINE)
        return e;
    return refuse(p, query, e);
}

enum err pending_edges_read(struct pending_edges *p, const struct pending_edges_query *query,
                            const struct query_context *q, pending_counts_fn *on_counts,
                            void *context)
{
    enum err e = pending_lock_soon(&p->lock, q);
    if (e == ERR_OK) {
        e = read_locked(p, query, q);
        if (e == ERR_OK)
            e = on_counts(context, buffer_bytes(&p->stored));
        if (e == ERR_OK)
            e = on_counts(context, buffer_bytes(&p->waiting));
        p->used_mono_ns = clock_mono_ns();
        (void)pthread_mutex_unlock(&p->lock);
    }
    return e == ERR_BUSY && query->halves == NULL ? ERR_NOT_FOUND : e;
}

void pending_edges_tend(struct pending_edges *p, uint64_t now_mono_ns)
{
    if (pthread_mutex_trylock(&p->lock) != 0)
        return; /* somebody asks */
    if (p->is_begun && p->used_mono_ns + PENDING_COUNTS_KEPT_NS < now_mono_ns)
        forget(p);
    (void)pthread_mutex_unlock(&p->lock);
}
