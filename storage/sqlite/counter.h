/* SPDX-License-Identifier: Apache-2.0 */
/* counter.h - a row group's spans are counted for the rollups beside the thread that writes its columns.
 *
 * Role       building a group is the longest work that one thread does, and counting its spans, pairing them and
 *            encoding what was counted is a quarter of it. So the builder hands the spans over in batches as it walks
 *            over them; once it has seen all, the counter makes the retirement's rollup rows while the builder encodes
 *            columns. Both are done before the group goes to the writer, so that nothing changes in what is
 *            committed or when.
 * Threads    counter_begin() to counter_end() are the builder's; from the first span on the engine's struct derived is
 *            the counter's, and the builder's again after counter_end().
 * Bound      COUNTER_BATCHES batches; the builder waits for room. Where there is no memory for them, nor a thread, the
 *            builder counts by itself. */
#ifndef SPINDLE_STORAGE_SQLITE_COUNTER_H
#define SPINDLE_STORAGE_SQLITE_COUNTER_H

#include "base/err.h"
#include "storage/derive/derive_span.h"

#include <pthread.h>

#define COUNTER_BATCHES 4 /* of 512 spans, 110 KiB each */

struct counter_batch;
struct retirement;
struct sqlite_engine;

struct counter {
    struct sqlite_engine *engine;
    pthread_t thread;
    bool is_started;
    /* The builder's own. */
    struct counter_batch *batches; /* [COUNTER_BATCHES]; NULL: none */
    struct retirement
        *retirement; /* of the group that is built; NULL: spans are not to be counted */
    bool has_walked;
    enum err result;      /* of counting it, where that was done here */
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    size_t given,
        taken; /* batches, from the beginning: batch n lies in batches[n % COUNTER_BATCHES] */
    struct retirement *ended; /* all of its spans are given: count it to the end */
    enum err ended_result;
    bool is_stopping;
};

/* Nothing runs. */
void counter_init(struct counter *c, struct sqlite_engine *e);
/* Once it is stopped. */
void counter_deinit(struct counter *c);
/* Where no thread can be had, the builder counts. */
void counter_start(struct counter *c);
/* Between groups. */
void counter_stop(struct counter *c);

/* A group begins: forget what was counted of the last. NULL: what is walked over now is not to be counted. */
void counter_begin(struct counter *c, struct retirement *r);
/* A rowgroup_span_fn; context is the struct counter. */
void counter_on_span(void *context, uint32_t number, struct bytes resource,
                     const struct derive_span *span);
/* A rowgroup_walked_fn: that was all. */
void counter_on_walked(void *context);
/* Wait until nothing of the group is looked at any more, whether it was walked over to its end or not. What
 * derived_build_end() said, where it was. */
NODISCARD enum err counter_end(struct counter *c);
/* Give the batches' memory back; between groups. */
void counter_rest(struct counter *c);

#endif
