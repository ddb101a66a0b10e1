/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/fake_engine.h"

#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define KEPT_MAX 64

struct fake_engine {
    struct engine engine;
    struct queue queue;
    pthread_t thread;
    pthread_mutex_t lock; /* guards all below */
    unsigned busy, busy_later, tried;
    enum err then;
    bool is_resent, is_writable;
    uint64_t rollups_damaged;
    struct fake_append kept[KEPT_MAX];
    size_t kept_count;
    struct derived_totals totals;
};

static struct fake_engine *fake_of(struct engine *e)
{
    return (struct fake_engine *)e;
}

/* Copies with the C library, not with mem.h: tests count its blocks. */
static struct bytes copy(struct bytes b)
{
    uint8_t *data = malloc(b.len + 1);
    assert(data != NULL);
    if (b.len != 0)
        memcpy(data, b.data, b.len);
    return bytes_of(data, b.len);
}

static void forget(struct fake_engine *f)
{
    for (size_t i = 0; i < f->kept_count; i++) {
        free((void *)(uintptr_t)f->kept[i].body.data);
        free((void *)(uintptr_t)f->kept[i].journal.data);
    }
    f->kept_count = 0;
}

static void keep(struct fake_engine *f, const struct append *a)
{
    if (f->kept_count == KEPT_MAX)
        return;
    f->kept[f->kept_count++] = (struct fake_append){ .signal = a->signal,
                                                     .body = copy(a->body),
                                                     .journal = copy(a->journal),
                                                     .journal_codec = a->journal_codec,
                                                     .items = a->items,
                                                     .request_hash = a->request_hash,
                                                     .arrival_unix_ns = a->arrival_unix_ns,
                                                     .start_min_unix_ns = a->start_min_unix_ns,
                                                     .start_max_unix_ns = a->start_max_unix_ns };
}

/* As the contract says: of what was stored the arena stays with the engine. */
static void complete(struct fake_engine *f, struct append *a)
{
    pthread_mutex_lock(&f->lock);
    enum err e = f->then;
    if (f->busy_later != 0) {
        f->busy_later--;
        e = ERR_BUSY;
    }
    a->was_resent = f->is_resent;
    if (e == ERR_OK)
        keep(f, a);
    pthread_mutex_unlock(&f->lock);
    if (e == ERR_OK && !a->was_resent) {
        arena_deinit(&a->arena);
        a->body = a->journal = (struct bytes){ 0 };
    }
    a->on_done(a, e);
}

static void *run(void *context)
{
    struct fake_engine *f = context;
    struct queue_node *node;
    while ((node = queue_pop(&f->queue, QUEUE_WAIT_FOREVER)) != NULL)
        complete(f, (struct append *)node);
    return NULL;
}

static void fake_append_one(struct engine *e, struct append *a)
{
    struct fake_engine *f = fake_of(e);
    pthread_mutex_lock(&f->lock);
    f->tried++;
    bool is_busy = f->busy != 0;
    if (is_busy)
        f->busy--;
    pthread_mutex_unlock(&f->lock);
    if (is_busy || !queue_push(&f->queue, &a->node, a->body.len))
        a->on_done(a, ERR_BUSY);
}

static enum err fake_totals(struct engine *e, const struct query_context *q,
                            struct derived_totals *out)
{
    (void)q;
    *out = fake_of(e)->totals;
    return ERR_OK;
}

static void fake_statistics(struct engine *e, struct engine_statistics *out)
{
    struct fake_engine *f = fake_of(e);
    pthread_mutex_lock(&f->lock);
    *out = (struct engine_statistics){ .spans = 7,
                                       .is_writable = f->is_writable,
                                       .rollups_damaged = f->rollups_damaged,
                                       .not_writable_reason = "told so",
                                       .is_durable = true };
    pthread_mutex_unlock(&f->lock);
}

static void fake_close(struct engine *e)
{
    struct fake_engine *f = fake_of(e);
    queue_close(&f->queue);
    pthread_join(f->thread, NULL);
    queue_deinit(&f->queue);
    forget(f);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static const struct engine_ops ops = { .append = fake_append_one,
                                       .totals = fake_totals,
                                       .statistics = fake_statistics,
                                       .close = fake_close };

struct fake_engine *fake_engine_open(void)
{
    struct fake_engine *f = calloc(1, sizeof *f);
    assert(f != NULL);
    f->engine.ops = &ops;
    f->is_writable = true;
    queue_init(&f->queue, (size_t)1 << 30);
    pthread_mutex_init(&f->lock, NULL);
    int failed = pthread_create(&f->thread, NULL, run, f);
    assert(failed == 0);
    (void)failed;
    return f;
}

struct engine *fake_engine_engine(struct fake_engine *f)
{
    return &f->engine;
}

void fake_engine_plan(struct fake_engine *f, unsigned busy, unsigned busy_later, enum err then)
{
    pthread_mutex_lock(&f->lock);
    forget(f);
    f->tried = 0;
    f->busy = busy;
    f->busy_later = busy_later;
    f->then = then;
    f->is_resent = false;
    pthread_mutex_unlock(&f->lock);
}

void fake_engine_resend(struct fake_engine *f, bool is_resent)
{
    pthread_mutex_lock(&f->lock);
    f->is_resent = is_resent;
    pthread_mutex_unlock(&f->lock);
}

void fake_engine_writable(struct fake_engine *f, bool is_writable)
{
    pthread_mutex_lock(&f->lock);
    f->is_writable = is_writable;
    pthread_mutex_unlock(&f->lock);
}

void fake_engine_rollups_damaged(struct fake_engine *f, uint64_t count)
{
    pthread_mutex_lock(&f->lock);
    f->rollups_damaged = count;
    pthread_mutex_unlock(&f->lock);
}

void fake_engine_totals(struct fake_engine *f, const struct derived_totals *totals)
{
    f->totals = *totals;
}

unsigned fake_engine_tried(struct fake_engine *f)
{
    pthread_mutex_lock(&f->lock);
    unsigned n = f->tried;
    pthread_mutex_unlock(&f->lock);
    return n;
}

size_t fake_engine_kept(struct fake_engine *f)
{
    pthread_mutex_lock(&f->lock);
    size_t n = f->kept_count;
    pthread_mutex_unlock(&f->lock);
    return n;
}

const struct fake_append *fake_engine_at(struct fake_engine *f, size_t index)
{
    assert(index < KEPT_MAX);
    return &f->kept[index];
}
