/* SPDX-License-Identifier: Apache-2.0 */
#include "base/queue.h"

#include "base/clock.h"
#include "base/timed_wait.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

void queue_init(struct queue *q, size_t bytes_max)
{
    *q = (struct queue){ .bytes_max = bytes_max };
    pthread_mutex_init(&q->lock, NULL);
    timed_wait_init(&q->changed);
}

void queue_deinit(struct queue *q)
{
    assert(q->first == NULL);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
}

bool queue_push(struct queue *q, struct queue_node *node, size_t bytes)
{
    node->next = NULL;
    node->bytes = bytes;
    pthread_mutex_lock(&q->lock);
    bool fits = q->first == NULL || (bytes <= q->bytes_max && q->bytes <= q->bytes_max - bytes);
    bool accepted = fits && !q->is_closed;
    if (accepted) {
        if (q->last == NULL)
            q->first = node;
        else
            q->last->next = node;
        q->last = node;
        q->bytes += bytes;
        q->count++;
    }
    pthread_mutex_unlock(&q->lock);
    /* Not under the lock, which who wakes would find taken, and sleep once more. */
    if (accepted)
        pthread_cond_signal(&q->changed);
    return accepted;
}

/* Holding the lock: wait until something is there, the queue is closed, or time is up. */
static void wait_for_entry(struct queue *q, uint64_t timeout_ns)
{
    if (timeout_ns == QUEUE_WAIT_FOREVER) {
        while (q->first == NULL && !q->is_closed)
            pthread_cond_wait(&q->changed, &q->lock);
        return;
    }
    const struct timespec until = timed_wait_until(timeout_ns);
    while (q->first == NULL && !q->is_closed) {
        if (pthread_cond_timedwait(&q->changed, &q->lock, &until) == ETIMEDOUT)
            return;
    }
}

struct queue_node *queue_pop(struct queue *q, uint64_t timeout_ns)
{
    pthread_mutex_lock(&q->lock);
    if (q->first == NULL && timeout_ns != 0)
        wait_for_entry(q, timeout_ns);
    struct queue_node *node = q->first;
    if (node != NULL) {
        q->first = node->next;
        if (q->first == NULL)
            q->last = NULL;
        q->bytes -= node->bytes;
        q->count--;
        node->next = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    return node;
}

struct queue_node *queue_pop_all(struct queue *q, uint64_t timeout_ns)
{
    pthread_mutex_lock(&q->lock);
    if (q->first == NULL && timeout_ns != 0)
        wait_for_entry(q, timeout_ns);
    struct queue_node *list = q->first;
    q->first = q->last = NULL;
    q->bytes = 0;
    q->count = 0;
    pthread_mutex_unlock(&q->lock);
    return list;
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->is_closed = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

size_t queue_bytes(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    size_t bytes = q->bytes;
    pthread_mutex_unlock(&q->lock);
    return bytes;
}
