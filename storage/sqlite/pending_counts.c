/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/pending_counts.h"

#include "base/clock.h"

#include <time.h>

void pending_counts_init(struct pending_counts *p, struct totals *totals, size_t limit_bytes)
{
    *p = (struct pending_counts){ .reader = { .totals = totals } };
    budget_init(&p->budget, limit_bytes, NULL);
    (void)pthread_mutex_init(&p->lock, NULL);
    buffer_init(&p->reader.name, 4096);
    buffer_init_charged(&p->stored, limit_bytes, &p->budget);
}

/* Under the lock. */
static void forget(struct pending_counts *p)
{
    if (p->has_intake)
        intake_deinit(&p->intake);
    p->has_intake = false;
    p->count = p->stored_count = 0;
    buffer_deinit(&p->stored);
    buffer_init_charged(&p->stored, p->budget.limit_bytes, &p->budget);
}

/* Under the lock: so many bodies do not fit, and whoever asks for them again need not try. */
static enum err refuse(struct pending_counts *p, size_t count)
{
    p->refused_serial = p->first_serial;
    p->refused_count = count;
    forget(p);
    return ERR_BUSY;
}

void pending_counts_deinit(struct pending_counts *p)
{
    if (p->reader.totals == NULL)
        return; /* a zeroed one */
    forget(p);
    buffer_deinit(&p->stored);
    buffer_deinit(&p->reader.name);
    (void)pthread_mutex_destroy(&p->lock);
    *p = (struct pending_counts){ 0 };
}

static void begin(struct pending_counts *p, uint64_t first_serial)
{
    if (p->has_intake) {
        intake_reset(&p->intake);
    } else {
        intake_init(&p->intake, p->budget.limit_bytes);
        p->intake.arena.budget = &p->budget;
        p->intake.skips_edges = true;
        totals_show(&p->reader, &p->intake);
        p->has_intake = true;
    }
    p->first_serial = first_serial;
    p->count = p->stored_count = 0;
}

/* Those of the range that are not counted yet. */
static enum err count_rest(struct pending_counts *p, const struct pending_range *range,
                           const struct query_context *q)
{
    const struct pending *entry = range->first;
    for (size_t i = 0; i < range->count; i++, entry = entry->next) {
        if (i < p->count)
            continue;
        enum err e = query_check(q);
        if (e != ERR_OK)
            return e; /* what was counted stays */
        intake_add_body(&p->intake, entry->body);
        if (intake_error(&p->intake) != ERR_OK)
            return refuse(p, i + 1);
        p->count++;
    }
    return ERR_OK;
}

static enum err encode(struct pending_counts *p)
{
    struct tally_span span;
    if (p->stored_count == p->count)
        return ERR_OK;
    buffer_reset(&p->stored);
    if (p->intake.tally.points_count > 0 &&
        tally_encode(&p->intake.tally, &p->stored, &span) != ERR_OK)
        return refuse(p, p->count);
    p->stored_count = p->count;
    return ERR_OK;
}

enum err pending_lock_soon(pthread_mutex_t *lock, const struct query_context *q)
{
    uint64_t until_mono_ns = clock_mono_ns() + PENDING_COUNTS_WAIT_NS;
    while (pthread_mutex_trylock(lock) != 0) {
        enum err e = query_check(q);
        if (e != ERR_OK)
            return e;
        if (clock_mono_ns() >= until_mono_ns)
            return ERR_BUSY;
        (void)nanosleep(&(struct timespec){ .tv_nsec = NS_PER_MS / 4 }, NULL);
    }
    return ERR_OK;
}

enum err pending_counts_read(struct pending_counts *p, const struct pending_range *range,
                             const struct query_context *q, pending_counts_fn *on_counts,
                             void *context)
{
    if (range->count == 0)
        return ERR_OK;
    enum err e = pending_lock_soon(&p->lock, q);
    if (e != ERR_OK)
        return e;
    uint64_t first = range->first->serial;
    bool is_older = p->has_intake && p->first_serial == first && p->count > range->count;
    bool is_refused = p->refused_serial == first && range->count >= p->refused_count;
    e = is_older || is_refused ? ERR_BUSY : ERR_OK;
    if (e == ERR_OK && (!p->has_intake || p->first_serial != first))
        begin(p, first);
    if (e == ERR_OK)
        e = count_rest(p, range, q);
    if (e == ERR_OK)
        e = encode(p);
    if (e == ERR_OK)
        e = on_counts(context, buffer_bytes(&p->stored));
    p->used_mono_ns = clock_mono_ns();
    (void)pthread_mutex_unlock(&p->lock);
    return e;
}

void pending_counts_tend(struct pending_counts *p, uint64_t now_mono_ns)
{
    if (pthread_mutex_trylock(&p->lock) != 0)
        return; /* somebody asks */
    if (p->has_intake && p->used_mono_ns + PENDING_COUNTS_KEPT_NS < now_mono_ns)
        forget(p);
    (void)pthread_mutex_unlock(&p->lock);
}
