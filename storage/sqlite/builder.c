/* SPDX-License-Identifier: Apache-2.0 */
/* builder.c - pending bodies become row groups.
 *
 * Building runs beside the writer's commits; only the finished group passes through the writer, in
 * the one transaction that takes its entries out of the journal. The builder alone takes from the
 * chains, so what it has looked at is still their beginning when the group is written. What the group adds to the
 * rollups is counted as its spans are walked over.
 *
 * Two threads share the work where there is more than one core, and memory for both. The builder arranges a row group: cut, looked up,
 * sorted, walked over into columns. Then it gives it to the encoder, which pairs, encodes, compresses, and has it
 * stored; meanwhile the builder arranges the next one, from the entries behind. There is one at each of them at
 * most, each in memory of its own, and they are stored in order: the builder gives its group away when the one
 * before is stored. Where both are large it waits for that before it begins. Where storing failed, what is
 * arranged is let go, and for a while one group is made at a time by the builder alone, which alone knows what to do
 * about errors: halve the group, set requests aside, try again later. */
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timed_wait.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/lookback.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define RETRY_BUILD_NS (200 * NS_PER_MS)
#define QUIET_NS       (2 * NS_PER_S) /* after a row group: then its memory is given back */
#define TWO_BUILDS_BYTES                                                                           \
    ((size_t)96 << 20) /* of the engine's memory, so that two fit beside what is pending */
#define ALONE_NS (10 * NS_PER_S) /* after a failure: one group at a time */

/* ---- The encoder's place --------------------------------------------------------------------- */

/* Is the row group that was given last stored, or has it failed? Then what is taken next begins at the chain's
 * beginning again. *out_error: of what failed since the last call. */
static bool encoder_is_free(struct builder *b, enum err *out_error)
{
    (void)pthread_mutex_lock(&b->lock);
    bool is_free = b->encoding == NULL;
    enum err error = b->encoding_error;
    b->encoding_error = ERR_OK;
    (void)pthread_mutex_unlock(&b->lock);
    if (is_free) {
        pending_release(b->taken_last);
        b->taken_last = NULL;
        b->given_last = NULL;
    }
    *out_error = error;
    return is_free;
}

/* Wait until it is. */
static enum err encoder_wait(struct builder *b)
{
    enum err error;
    (void)pthread_mutex_lock(&b->lock);
    while (b->encoding != NULL)
        (void)pthread_cond_wait(&b->changed, &b->lock);
    (void)pthread_mutex_unlock(&b->lock);
    (void)encoder_is_free(b, &error);
    return error;
}

/* The last entry of a range that is not empty, and what all have together. */
static struct pending *range_sum(const struct pending_range *entries, uint64_t *out_items,
                                 size_t *out_bytes)
{
    struct pending *last = entries->first;
    *out_items = last->items;
    *out_bytes = last->body.len;
    for (size_t i = 1; i < entries->count; i++) {
        last = last->next;
        *out_items += last->items;
        *out_bytes += last->body.len;
    }
    return last;
}

/* It must be free. */
static void encoder_give(struct builder *b, struct build *build)
{
    assert(b->given_last == NULL && b->taken_last == NULL);
    struct pending *last = range_sum(&build->retirement.entries, &b->taken_items, &b->taken_bytes);
    b->given_last = build;
    b->taken_last = pending_retain(last);
    (void)pthread_mutex_lock(&b->lock);
    b->encoding = build;
    (void)pthread_cond_signal(&b->given);
    (void)pthread_mutex_unlock(&b->lock);
}

/* ---- One row group --------------------------------------------------------------------------- */

/* The disk, the heap or the clock: the same entry may do better later. Anything else is in the
 * entry. */
static bool is_transient(enum err e)
{
    return e == ERR_NOMEM || e == ERR_BUDGET || e == ERR_IO || e == ERR_FULL || e == ERR_BUSY;
}

/* What is asked for where the group before is not stored yet, which may have one of the spans: the builder waits for
 * it then, which is seldom. */
static enum err group_look_back(struct sqlite_engine *e, struct build *b, struct lookback *l)
{
    const struct build *before = e->builder.given_last;
    enum err error = lookback_collect(l, b->builder);
    if (error == ERR_OK && before != NULL && before->retirement.signal == SIGNAL_TRACES &&
        lookback_may_be_in(l, before->rowgroup_builders[SIGNAL_TRACES])) {
        error = encoder_wait(&e->builder);
        if (error == ERR_OK)
            lookback_renew(l);
    }
    if (error == ERR_OK)
        lookback_decide(l);
    span_filter_turn(&e->builder.recent, b->retirement.built_unix_ns);
    return error;
}

static enum err spans_arrange(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    struct lookback l;
    span_filter_wake(&e->builder.recent); /* which groups are in it is known then */
    r->remembered_epoch = e->builder.recent.epoch;
    lookback_begin(&l, e, r->built_unix_ns);
    derived_build_begin(b->derived);
    enum err error = group_look_back(e, b, &l);
    if (error == ERR_OK)
        error = rowgroup_builder_arrange(b->builder,
                                         l.candidates_count > 0 ? lookback_is_stored : NULL, &l);
    b->found_stored = l.candidates_count;
    lookback_end(&l);
    return error;
}

/* What the group adds to the rollups. Spans are worth more than what is counted of them: where counting takes more
 * memory than it may, they are stored without it. */
static enum err group_count(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    enum err error = derived_build_end(e, b->derived, r);
    assert(error != ERR_OK || r->signal != SIGNAL_TRACES ||
           b->derived->intake.spans == r->summary.rows);
    /* Of fewer requests it may have room, and when others give back what they took. */
    bool is_all = error == ERR_BUDGET && r->entries.count == 1 && !b->is_ahead &&
                  budget_used(&e->background) <= derived_build_bytes(&e->derived);
    if (error == ERR_OK || (is_transient(error) && !is_all))
        return error;
    log_line(LOG_ERROR, "storage", "%llu spans are stored and not counted in rollups: %s",
             (unsigned long long)r->summary.rows, err_text(error));
    metric_add(e->metrics.uncounted_items, r->summary.rows);
    derived_build_begin(b->derived);
    r->derived = NULL;
    return ERR_OK;
}

/* First half: the entries that are not set aside, in columns. */
static enum err group_arrange(struct sqlite_engine *e, struct build *b)
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
    if (r->signal == SIGNAL_TRACES)
        return spans_arrange(e, b);
    /* a record has no ID by which it could be told to be the same */
    return rowgroup_builder_arrange(b->builder, NULL, NULL);
}

/* Second half: these columns as bytes, and what they add to the rollups. The group before is stored. */
static enum err group_encode(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    if (rowgroup_builder_rows(b->builder) == 0)
        return ERR_OK;
    enum err error = rowgroup_builder_encode(b->builder, &b->group, &r->summary);
    if (error == ERR_OK)
        error = buffer_error(&b->group);
    if (error != ERR_OK)
        return error;
    r->group = buffer_bytes(&b->group);
    r->has_group = r->summary.rows > 0;
    return group_count(e, b);
}

static enum err group_build(struct sqlite_engine *e, struct build *b)
{
    enum err error = group_arrange(e, b);
    return error == ERR_OK ? group_encode(e, b) : error;
}

/* Which entries cannot be built even alone? */
static enum err poison_find(struct build *b)
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
    return ERR_OK;
}

static enum err build_group(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    enum err error = group_build(e, b);
    if (error == ERR_OK || is_transient(error))
        return error;
    error = poison_find(b);
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

static enum err builder_borrow(struct sqlite_engine *e, struct build *b)
{
    enum signal signal = b->retirement.signal;
    struct rowgroup_builder **kept = &b->rowgroup_builders[signal];
    struct rowgroup_options options = { .signal = signal,
                                        .content_key = &e->content_key,
                                        .on_spans = derived_on_spans,
                                        .on_spans_context = b->derived };
    enum err error = *kept == NULL ? rowgroup_builder_open(&options, kept) : ERR_OK;
    if (error == ERR_OK)
        b->builder = *kept;
    return error;
}

/* False: it had nothing to give back. */
static bool build_drop(struct build *b)
{
    bool had_any = false;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        had_any = had_any || b->rowgroup_builders[s] != NULL;
        rowgroup_builder_close(b->rowgroup_builders[s]);
        b->rowgroup_builders[s] = NULL;
    }
    return had_any;
}

/* A quiet server gives the memory of building back. False: it has been given back already. The encoder is free. */
static bool builders_drop(struct sqlite_engine *e)
{
    bool had_any = false;
    for (int i = 0; i < DERIVED_BUILDS; i++)
        had_any = build_drop(&e->builder.builds[i]) || had_any;
    if (had_any)
        derived_build_rest(&e->derived);
    return had_any;
}

/* Take the oldest entries of a signal, none where there are none; build_end() in any case. */
static enum err build_begin(struct sqlite_engine *e, struct build *b, enum signal signal,
                            uint64_t items_max, size_t bytes_max)
{
    struct retirement *r = &b->retirement;
    const struct build *before = e->builder.given_last;
    bool is_behind = before != NULL && before->retirement.signal == signal;
    *r = (struct retirement){ .signal = signal };
    b->found_stored = b->spent_ns = 0;
    b->is_ahead = false;
    buffer_init(&b->group, (size_t)1 << 30);
    buffer_init(&b->requests, (size_t)64 << 20);
    view_oldest(&e->view, signal, is_behind ? e->builder.taken_last : NULL, items_max, bytes_max,
                &r->entries);
    size_t count = r->entries.count;
    if (count == 0)
        return ERR_OK;
    r->aside = b->aside = mem_alloc_array(count, sizeof(struct pending *));
    r->aside_reasons = b->aside_reasons = mem_alloc_array(count, sizeof(const char *));
    if (b->aside == NULL || b->aside_reasons == NULL)
        return ERR_NOMEM;
    CRASH_POINT("build_begun");
    r->built_unix_ns = clock_unix_ns();
    return builder_borrow(e, b);
}

static void build_end(struct build *b)
{
    if (b->builder != NULL)
        rowgroup_builder_reset(b->builder);
    b->builder = NULL;
    buffer_deinit(&b->group);
    buffer_deinit(&b->requests);
    mem_free(b->aside);
    mem_free(b->aside_reasons);
    b->aside = NULL;
    b->aside_reasons = NULL;
    pending_range_release(&b->retirement.entries);
}

/* The group is built: have it stored. */
static enum err build_store(struct sqlite_engine *e, struct build *b)
{
    struct retirement *r = &b->retirement;
    requests_list(b);
    enum err error = buffer_error(&b->requests);
    CRASH_POINT("build_finished");
    metric_observe(e->metrics.build_duration, b->spent_ns);
    if (error == ERR_OK)
        error = writer_task_run(e, writer_retire, r);
    if (error == ERR_OK) {
        derived_build_stored(e, b->derived, r);
        metric_add(e->metrics.resent_stored, b->found_stored);
        if (r->has_group && r->summary.duplicates > b->found_stored)
            metric_add(e->metrics.resent_group, r->summary.duplicates - b->found_stored);
    }
    return error;
}

/* ---- One at a time, with all care ------------------------------------------------------------ */

/* Retiring writes the group and what it removes to the log first: on a disk with little room, little at a time. */
static size_t build_bytes_max(const struct sqlite_engine *e)
{
    uint64_t share = atomic_load(&e->disk.free_bytes) / 16;
    if (share == 0 && atomic_load(&e->disk.state) == DISK_OK)
        return BUILD_BYTES_MAX; /* not known yet */
    share = share < BUILD_BYTES_LEAST ? BUILD_BYTES_LEAST : share;
    return share < BUILD_BYTES_MAX ? (size_t)share : BUILD_BYTES_MAX;
}

/* Make one row group of the oldest entries of a signal; ERR_OK also when there are none. The encoder is free. */
static enum err build_some(struct sqlite_engine *e, enum signal signal, uint64_t items_max,
                           size_t bytes_max, size_t *out_entries)
{
    struct build *b = &e->builder.builds[0];
    uint64_t begun = clock_mono_ns();
    enum err error = build_begin(e, b, signal, items_max, bytes_max);
    *out_entries = b->retirement.entries.count;
    if (b->retirement.entries.count > 0) {
        if (error == ERR_OK)
            error = build_group(e, b);
        b->spent_ns = clock_mono_ns() - begun;
        if (error == ERR_OK)
            error = build_store(e, b);
    }
    build_end(b);
    return error;
}

/* Of as many as there is memory for. */
static enum err build_oldest(struct sqlite_engine *e, enum signal signal)
{
    uint64_t items = e->builder_rows;
    size_t bytes = build_bytes_max(e), entries = 0;
    assert(e->builder.given_last == NULL);
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

/* ---- Two at a time --------------------------------------------------------------------------- */

static void *encoder_main(void *context)
{
    struct sqlite_engine *e = context;
    struct builder *b = &e->builder;
    for (;;) {
        (void)pthread_mutex_lock(&b->lock);
        while (b->encoding == NULL && !b->is_encoder_ending)
            (void)pthread_cond_wait(&b->given, &b->lock);
        struct build *build = b->encoding;
        (void)pthread_mutex_unlock(&b->lock);
        if (build == NULL)
            return NULL;
        uint64_t begun = clock_mono_ns();
        enum err error = group_encode(e, build);
        build->spent_ns += clock_mono_ns() - begun;
        if (error == ERR_OK)
            error = build_store(e, build);
        build_end(build);
        (void)pthread_mutex_lock(&b->lock);
        b->encoding = NULL;
        b->encoded_count++;
        if (error != ERR_OK)
            b->encoding_error = error;
        (void)pthread_cond_broadcast(&b->changed);
        (void)pthread_mutex_unlock(&b->lock);
    }
}

/* Two row groups take twice the memory of one, some bytes for each of their bodies: only where there is that much. */
static bool has_room_for_two(struct sqlite_engine *e, enum signal signal)
{
    const struct builder *w = &e->builder;
    bool is_behind = w->given_last->retirement.signal == signal;
    struct pending_range next;
    uint64_t items = 0;
    size_t bytes = 0;
    view_oldest(&e->view, signal, is_behind ? w->taken_last : NULL, e->builder_rows,
                build_bytes_max(e), &next);
    if (next.count > 0)
        (void)range_sum(&next, &items, &bytes);
    pending_range_release(&next);
    return w->taken_bytes + bytes <= e->memory_bytes / 3;
}

/* Arrange a group of the oldest entries that are not under way, and give it to the encoder. The error of the group
 * before comes out here too: then this one is let go. */
static enum err build_ahead(struct sqlite_engine *e, enum signal signal)
{
    struct builder *w = &e->builder;
    if (w->given_last != NULL && !has_room_for_two(e, signal)) {
        enum err failed = encoder_wait(w);
        (void)build_drop(&w->builds[1]);
        if (failed != ERR_OK)
            return failed;
    }
    struct build *b = &w->builds[w->given_last == &w->builds[0] ? 1 : 0];
    uint64_t begun = clock_mono_ns();
    enum err error = build_begin(e, b, signal, e->builder_rows, build_bytes_max(e));
    bool has_any = b->retirement.entries.count > 0;
    b->is_ahead = true;
    if (error == ERR_OK && has_any)
        error = group_arrange(e, b);
    b->spent_ns = clock_mono_ns() - begun;
    if (error == ERR_OK && has_any)
        error = encoder_wait(w);
    if (error == ERR_OK && has_any)
        encoder_give(w, b);
    else
        build_end(b);
    w->built_mono_ns = clock_mono_ns();
    return error;
}

/* ---- When ------------------------------------------------------------------------------------ */

/* Enough rows, old enough, or enough memory: then *out_signal is to be built now. Else *out_wait_ns
 * says when to look again. What is under way does not count, nor how old the rest is until that is stored. */
static bool build_is_due(struct sqlite_engine *e, enum signal *out_signal, uint64_t *out_wait_ns)
{
    const struct builder *b = &e->builder;
    struct view_totals totals;
    view_totals(&e->view, &totals);
    uint64_t now = clock_mono_ns(), wait = NS_PER_S;
    *out_wait_ns = wait;
    if (e->is_left_alone)
        return false;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        if (totals.arrival_mono_ns[s] == 0)
            continue;
        uint64_t items = totals.items[s], bytes = totals.bytes[s];
        uint64_t age = now - totals.arrival_mono_ns[s];
        if (b->given_last != NULL && (int)b->given_last->retirement.signal == s) {
            items -= b->taken_items < items ? b->taken_items : items;
            bytes -= b->taken_bytes < bytes ? b->taken_bytes : bytes;
            age = 0;
        }
        if (items >= e->builder_rows || age >= e->builder_age_ns || bytes >= e->memory_bytes / 8) {
            *out_signal = (enum signal)s;
            return true;
        }
        if (e->builder_age_ns - age < wait)
            wait = e->builder_age_ns - age;
    }
    *out_wait_ns = wait;
    return false;
}

/* Until something is asked, or a row group is stored that was not. */
static void builder_wait(struct builder *b, uint64_t wait_ns, uint64_t flushes_done,
                         uint64_t encoded_count)
{
    const struct timespec until = timed_wait_until(wait_ns);
    (void)pthread_mutex_lock(&b->lock);
    if (!b->is_stopping && b->flushes_asked == flushes_done && b->encoded_count == encoded_count)
        (void)pthread_cond_timedwait(&b->changed, &b->lock, &until);
    (void)pthread_mutex_unlock(&b->lock);
}

/* Everything that is pending now; what comes meanwhile may go along. */
static enum err flush_all(struct sqlite_engine *e)
{
    (void)encoder_wait(&e->builder); /* what failed there is tried again here */
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

/* Nothing is due. The encoder is free. */
static void builder_idle(struct sqlite_engine *e)
{
    struct builder *b = &e->builder;
    if (clock_mono_ns() - b->built_mono_ns >= QUIET_NS && builders_drop(e))
        mem_trim();
    if (engine_may_rest(e, b->built_mono_ns)) {
        const struct rest_policy policy = engine_rest_policy(e);
        span_filter_rest(&b->recent, &policy);
    }
}

/* Something went wrong beside another group. Once more, alone: with the memory that the other one had. */
static void builder_be_alone(struct sqlite_engine *e, enum err error)
{
    log_line(LOG_WARN, "storage", "a row group could not be built beside another: %s",
             err_text(error));
    metric_add(e->metrics.builds_failed, 1);
    (void)encoder_wait(&e->builder);
    (void)builders_drop(e);
    e->builder.alone_until_mono_ns = clock_mono_ns() + ALONE_NS;
}

static void *builder_main(void *context)
{
    struct sqlite_engine *e = context;
    struct builder *b = &e->builder;
    for (;;) {
        (void)pthread_mutex_lock(&b->lock);
        bool is_stopping = b->is_stopping;
        uint64_t asked = b->flushes_asked, done = b->flushes_done, encoded = b->encoded_count;
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
        if (is_stopping) {
            (void)encoder_wait(b);
            return NULL;
        }
        enum signal signal = SIGNAL_TRACES;
        uint64_t wait_ns = 0;
        enum err error;
        bool is_free = encoder_is_free(b, &error);
        bool is_due = error == ERR_OK && build_is_due(e, &signal, &wait_ns);
        bool is_alone = !b->has_encoder || clock_mono_ns() < b->alone_until_mono_ns;
        if (is_due && !is_alone)
            error = build_ahead(e, signal);
        if (error != ERR_OK) {
            builder_be_alone(e, error);
        } else if (!is_due) {
            if (is_free)
                builder_idle(e);
            builder_wait(b, wait_ns, done, encoded);
        } else if (is_alone && build_oldest(e, signal) != ERR_OK) {
            b->alone_until_mono_ns = clock_mono_ns() + ALONE_NS;
            builder_wait(b, RETRY_BUILD_NS, done, encoded);
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
    timed_wait_init(&b->changed);
    (void)pthread_cond_init(&b->given, NULL);
    for (int i = 0; i < DERIVED_BUILDS; i++)
        b->builds[i].derived = &e->derived.builds[i];
    b->built_mono_ns = clock_mono_ns();
    return span_filter_init(&b->recent, clock_unix_ns());
}

static bool has_two_cores(void)
{
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) != 0 || CPU_COUNT(&cores) > 1;
}

enum err builder_start(struct sqlite_engine *e)
{
    struct builder *b = &e->builder;
    bool has_room = e->memory_bytes >= TWO_BUILDS_BYTES;
    bool wants_encoder = e->build_threads == 0 ? has_two_cores() && has_room : e->build_threads > 1;
    if (wants_encoder && pthread_create(&b->encoder, NULL, encoder_main, e) == 0) {
        (void)pthread_setname_np(b->encoder, "encoder");
        b->has_encoder = true;
    }
    if (pthread_create(&b->thread, NULL, builder_main, e) != 0)
        return ERR_NOMEM;
    (void)pthread_setname_np(b->thread, "builder");
    b->is_started = true;
    return ERR_OK;
}

void builder_stop(struct sqlite_engine *e)
{
    struct builder *b = &e->builder;
    (void)pthread_mutex_lock(&b->lock);
    b->is_stopping = true;
    (void)pthread_cond_broadcast(&b->changed);
    (void)pthread_mutex_unlock(&b->lock);
    if (b->is_started)
        (void)pthread_join(b->thread, NULL);
    b->is_started = false;
    (void)pthread_mutex_lock(&b->lock);
    b->is_encoder_ending = true;
    (void)pthread_cond_signal(&b->given);
    (void)pthread_mutex_unlock(&b->lock);
    if (b->has_encoder)
        (void)pthread_join(b->encoder, NULL);
    b->has_encoder = false;
}

void builder_deinit(struct sqlite_engine *e)
{
    (void)pthread_mutex_destroy(&e->builder.lock);
    (void)pthread_cond_destroy(&e->builder.changed);
    (void)pthread_cond_destroy(&e->builder.given);
    (void)builders_drop(e);
    span_filter_deinit(&e->builder.recent);
}
