/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/pending_counts.h"

#include "base/clock.h"

void pending_counts_init(struct pending_counts *p, struct totals *totals, struct budget *budget)
{
    *p = (struct pending_counts){ .budget = budget, .reader = { .totals = totals } };
    (void)pthread_mutex_init(&p->lock, NULL);
    buffer_init(&p->reader.name, 4096);
    buffer_init_charged(&p->stored, PENDING_COUNTS_BYTES_MAX, budget);
}

/* Under the lock. */
static void forget(struct pending_counts *p)
{
    if (p->has_intake)
        intake_deinit(&p->intake);
    p->has_intake = false;
    p->count = p->stored_count = 0;
    buffer_deinit(&p->stored);
    buffer_init_charged(&p->stored, PENDING_COUNTS_BYTES_MAX, p->budget);
}

void pending_counts_deinit(struct pending_counts *p)
{
    if (p->budget == NULL)
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
        intake_init(&p->intake, PENDING_COUNTS_BYTES_MAX);
        p->intake.arena.budget = p->budget;
        p->intake.skips_edges = true;
        p->intake.admit = totals_show_series;
        p->intake.admit_service = totals_show_service;
        p->intake.admit_edge = totals_show_edge;
        p->intake.admit_context = &p->reader;
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
        if (intake_error(&p->intake) != ERR_OK) {
            forget(p);
            return ERR_BUSY;
        }
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
        tally_encode(&p->intake.tally, &p->stored, &span) != ERR_OK) {
        forget(p);
        return ERR_BUSY;
    }
    p->stored_count = p->count;
    return ERR_OK;
}

enum err pending_counts_read(struct pending_counts *p, const struct pending_range *range,
                             const struct query_context *q, pending_counts_fn *on_counts,
                             void *context)
{
    if (range->count == 0)
        return ERR_OK;
    (void)pthread_mutex_lock(&p->lock);
    uint64_t first = range->first->serial;
    bool is_older = p->has_intake && p->first_serial == first && p->count > range->count;
    enum err e = is_older ? ERR_BUSY : ERR_OK;
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
