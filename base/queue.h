/* SPDX-License-Identifier: Apache-2.0 */
/* queue.h - an intrusive queue between threads, bounded in bytes.
 *
 * Role       the only thing that threads share. Many may push, many may pop.
 * Ownership  a pushed node belongs to whoever pops it. The queue allocates nothing.
 * Blocking   queue_push() never waits; queue_pop() waits unless timeout_ns is 0. */
#ifndef SPINDLE_BASE_QUEUE_H
#define SPINDLE_BASE_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_node {
    struct queue_node *next;
    size_t bytes; /* what this entry counts against the bound */
};

struct queue {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct queue_node *first, *last;
    size_t bytes, bytes_max;
    size_t count;
    bool is_closed;
};

#define QUEUE_WAIT_FOREVER UINT64_MAX

/* bytes_max: bound of what waits. */
void queue_init(struct queue *q, size_t bytes_max);
void queue_deinit(struct queue *q); /* must be empty, and nobody in a call of these */
/* False when closed, or when it would pass the bound and is not empty (one larger entry alone
 * passes). */
bool queue_push(struct queue *q, struct queue_node *node, size_t bytes);
/* NULL on timeout, or when closed and empty. */
struct queue_node *queue_pop(struct queue *q, uint64_t timeout_ns);
/* All that waits, as a list in order; NULL as queue_pop(). */
struct queue_node *queue_pop_all(struct queue *q, uint64_t timeout_ns);
/* No more pushes; waiting poppers wake and drain. */
void queue_close(struct queue *q);
size_t queue_bytes(struct queue *q);

#endif
