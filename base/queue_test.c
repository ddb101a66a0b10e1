/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that a queue loses and repeats nothing between threads, keeps its bound, and drains after
 * closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/queue.h"

struct entry {
    struct queue_node node;
    unsigned number;
};

enum { PUSHERS = 3, ENTRIES = 20000 };

static void *push_many(void *context)
{
    struct queue *q = context;
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct entry *e = mem_alloc(sizeof *e);
        e->number = i;
        while (!queue_push(q, &e->node, 10))
            sched_yield();
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 1000);
    pthread_t threads[PUSHERS];
    for (int i = 0; i < PUSHERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push_many, &q), 0);
    uint64_t sum = 0;
    for (unsigned popped = 0; popped < PUSHERS * ENTRIES;) {
        assert_true(queue_bytes(&q) <= 1000);
        struct queue_node *list = queue_pop_all(&q, QUEUE_WAIT_FOREVER);
        while (list != NULL) {
            struct entry *e = (struct entry *)list;
            list = list->next;
            sum += e->number;
            popped++;
            mem_free(e);
        }
    }
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(sum, (uint64_t)PUSHERS * ENTRIES * (ENTRIES - 1) / 2);
    queue_close(&q);
    queue_deinit(&q);
}

static void the_bound_admits_one_large_entry_alone(void **state)
{
    (void)state;
    struct queue q;
    struct entry a, b;
    queue_init(&q, 100);
    assert_true(queue_push(&q, &a.node, 5000));
    assert_false(queue_push(&q, &b.node, 1));
    assert_ptr_equal(queue_pop(&q, 0), &a.node);
    assert_true(queue_push(&q, &b.node, 1));
    queue_close(&q);
    assert_false(queue_push(&q, &a.node, 1));
    assert_ptr_equal(queue_pop(&q, QUEUE_WAIT_FOREVER), &b.node);
    assert_null(queue_pop(&q, QUEUE_WAIT_FOREVER));
    queue_deinit(&q);
}

static void waiting_ends(void **state)
{
    (void)state;
    struct queue q;
    queue_init(&q, 100);
    uint64_t start = clock_mono_ns();
    assert_null(queue_pop(&q, 20 * NS_PER_MS));
    assert_true(clock_mono_ns() - start >= 19 * NS_PER_MS);
    queue_deinit(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(the_bound_admits_one_large_entry_alone),
        cmocka_unit_test(waiting_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
