/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/counter.h"

#include "base/mem.h"
#include "storage/sqlite/engine_private.h"

#include <assert.h>
#include <string.h>

#define BATCH_SPANS      512
#define BATCH_ATTRIBUTES 2048 /* four a span */

struct counted_span {
    uint32_t number;
    struct bytes resource;
    struct derive_span span;
};

struct counter_batch {
    size_t spans_count, attributes_count;
    struct counted_span spans[BATCH_SPANS];
    struct bytes attributes[BATCH_ATTRIBUTES];
    uint64_t codes[BATCH_ATTRIBUTES];
};

static_assert(BATCH_ATTRIBUTES >= DERIVE_ATTRIBUTES_MAX, "a span fits an empty batch");

static void batch_count(struct counter *c, struct counter_batch *b)
{
    for (size_t i = 0; i < b->spans_count; i++)
        derived_on_span(&c->engine->derived, b->spans[i].number, b->spans[i].resource,
                        &b->spans[i].span);
    b->spans_count = b->attributes_count = 0;
}

static void *counter_main(void *context)
{
    struct counter *c = context;
    (void)pthread_mutex_lock(&c->lock);
    while (!c->is_stopping) {
        if (c->taken < c->given) {
            struct counter_batch *b = &c->batches[c->taken % COUNTER_BATCHES];
            (void)pthread_mutex_unlock(&c->lock);
            batch_count(c, b);
            (void)pthread_mutex_lock(&c->lock);
            c->taken++;
        } else if (c->ended != NULL) {
            struct retirement *r = c->ended;
            (void)pthread_mutex_unlock(&c->lock);
            enum err e = derived_build_end(c->engine, r);
            (void)pthread_mutex_lock(&c->lock);
            c->ended_result = e;
            c->ended = NULL;
        } else {
            (void)pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        (void)pthread_cond_broadcast(&c->changed);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

void counter_init(struct counter *c, struct sqlite_engine *e)
{
    *c = (struct counter){ .engine = e };
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->changed, NULL);
}

void counter_deinit(struct counter *c)
{
    assert(!c->is_started);
    counter_rest(c);
    (void)pthread_mutex_destroy(&c->lock);
    (void)pthread_cond_destroy(&c->changed);
}

void counter_start(struct counter *c)
{
    if (pthread_create(&c->thread, NULL, counter_main, c) != 0)
        return;
    (void)pthread_setname_np(c->thread, "counter");
    c->is_started = true;
}

void counter_stop(struct counter *c)
{
    if (!c->is_started)
        return;
    (void)pthread_mutex_lock(&c->lock);
    c->is_stopping = true;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
    (void)pthread_join(c->thread, NULL);
    c->is_started = c->is_stopping = false;
}

void counter_begin(struct counter *c, struct retirement *r)
{
    assert(c->given == c->taken && c->ended == NULL);
    derived_build_begin(&c->engine->derived);
    c->retirement = r;
    c->has_walked = false;
    c->result = ERR_OK;
    if (r != NULL)
        r->derived = NULL;
    if (r != NULL && r->signal == SIGNAL_TRACES && c->batches == NULL && c->is_started)
        c->batches = mem_alloc_array(COUNTER_BATCHES, sizeof *c->batches);
}

/* The one that is filled: taken, as the builder waited for that when it gave the one before. */
static struct counter_batch *batch_open(struct counter *c)
{
    return &c->batches[c->given % COUNTER_BATCHES]; /* the builder alone changes it */
}

static void batch_give(struct counter *c)
{
    (void)pthread_mutex_lock(&c->lock);
    c->given++;
    (void)pthread_cond_broadcast(&c->changed);
    while (c->given - c->taken == COUNTER_BATCHES)
        (void)pthread_cond_wait(&c->changed, &c->lock);
    (void)pthread_mutex_unlock(&c->lock);
}

void counter_on_span(void *context, uint32_t number, struct bytes resource,
                     const struct derive_span *span)
{
    struct counter *c = context;
    if (c->retirement == NULL)
        return;
    if (c->batches == NULL) {
        derived_on_span(&c->engine->derived, number, resource, span);
        return;
    }
    struct counter_batch *b = batch_open(c);
    size_t attributes = span->attributes == NULL ? 0 : span->attributes_count;
    if (b->spans_count == BATCH_SPANS || b->attributes_count + attributes > BATCH_ATTRIBUTES) {
        batch_give(c);
        b = batch_open(c);
    }
    struct counted_span *counted = &b->spans[b->spans_count++];
    *counted = (struct counted_span){ .number = number, .resource = resource, .span = *span };
    if (attributes == 0)
        return;
    struct bytes *copy = b->attributes + b->attributes_count;
    memcpy(copy, span->attributes, attributes * sizeof *copy);
    counted->span.attributes = copy;
    counted->span.attribute_codes = b->codes + b->attributes_count;
    memcpy(b->codes + b->attributes_count, span->attribute_codes,
           attributes * sizeof *span->attribute_codes);
    b->attributes_count += attributes;
}

void counter_on_walked(void *context)
{
    struct counter *c = context;
    if (c->retirement == NULL)
        return;
    c->has_walked = true;
    if (c->batches == NULL) {
        c->result = derived_build_end(c->engine, c->retirement);
        return;
    }
    batch_give(c);
    (void)pthread_mutex_lock(&c->lock);
    c->ended = c->retirement;
    (void)pthread_cond_broadcast(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
}

enum err counter_end(struct counter *c)
{
    if (c->batches != NULL) {
        (void)pthread_mutex_lock(&c->lock);
        while (c->taken < c->given || c->ended != NULL)
            (void)pthread_cond_wait(&c->changed, &c->lock);
        if (c->has_walked)
            c->result = c->ended_result;
        (void)pthread_mutex_unlock(&c->lock);
        batch_open(c)->spans_count = batch_open(c)->attributes_count = 0;
    }
    c->retirement = NULL;
    return c->result;
}

void counter_rest(struct counter *c)
{
    mem_free(c->batches);
    c->batches = NULL;
}
