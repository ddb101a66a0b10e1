/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: who asks much waits for himself, not others for him. */
#include "query/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CALLS_MAX 300

struct fixture {
    struct turns turns;
    struct request requests[CALLS_MAX];
    struct call calls[CALLS_MAX];
    size_t count;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    turns_init(&f.turns);
    *state = &f;
    return 0;
}

static struct call *push(struct fixture *f, const char *peer)
{
    assert_true(f->count < CALLS_MAX);
    struct call *c = &f->calls[f->count];
    f->requests[f->count].peer = bytes_text(peer);
    c->request = &f->requests[f->count++];
    turns_push(&f->turns, c);
    return c;
}

static void assert_next(struct fixture *f, const char *peer)
{
    const struct call *c = turns_pop(&f->turns);
    assert_non_null(c);
    assert_int_equal(c->request->peer.len, strlen(peer));
    assert_memory_equal(c->request->peer.data, peer, strlen(peer));
}

static void one_connection_is_served_in_order(void **state)
{
    struct fixture *f = *state;
    assert_null(turns_pop(&f->turns));
    for (int round = 0; round < 3; round++) {
        struct call *a = push(f, "10.0.0.1:1"), *b = push(f, "10.0.0.1:1");
        assert_ptr_equal(turns_pop(&f->turns), a);
        struct call *c = push(f, "10.0.0.1:1");
        assert_int_equal(f->turns.count, 2);
        assert_ptr_equal(turns_pop(&f->turns), b);
        assert_ptr_equal(turns_pop(&f->turns), c);
        assert_null(turns_pop(&f->turns));
    }
}

static void a_connection_that_asks_much_does_not_hold_up_another(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        push(f, "127.0.0.1:1");
    push(f, "127.0.0.1:2");
    push(f, "127.0.0.1:2");
    assert_next(f, "127.0.0.1:1");
    assert_next(f, "127.0.0.1:2");
    assert_next(f, "127.0.0.1:1");
    assert_next(f, "127.0.0.1:2");
    assert_next(f, "127.0.0.1:1");
    assert_int_equal(f->turns.count, 97);
}

static void an_address_of_many_connections_has_one_turn(void **state)
{
    struct fixture *f = *state;
    static char peers[50][32];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(peers[i], sizeof peers[i], "10.0.0.1:%d", 1000 + i);
        push(f, peers[i]);
    }
    push(f, "[::1]:9");
    push(f, "[::2]:9");
    push(f, "[::1]:9");
    assert_next(f, peers[0]);
    assert_next(f, "[::1]:9");
    assert_next(f, "[::2]:9");
    assert_next(f, peers[1]);
    assert_next(f, "[::1]:9");
    for (int i = 2; i < 50; i++)
        assert_next(f, peers[i]);
    assert_null(turns_pop(&f->turns));
}

/* Clients that each ask for one thing after the other, without end, leave the others their turns. */
static void who_comes_again_joins_behind(void **state)
{
    struct fixture *f = *state;
    int served = 0;
    for (int i = 0; i < 20; i++)
        push(f, "10.0.0.1:1");
    push(f, "10.0.0.2:1");
    push(f, "10.0.0.3:1");
    for (int i = 0; i < 60; i++) {
        const struct call *c = turns_pop(&f->turns);
        const char *peer = (const char *)c->request->peer.data;
        served += strcmp(peer, "10.0.0.1:1") == 0;
        if (strcmp(peer, "10.0.0.1:1") != 0)
            push(f, peer);
    }
    assert_int_equal(served, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(one_connection_is_served_in_order, setup),
        cmocka_unit_test_setup(a_connection_that_asks_much_does_not_hold_up_another, setup),
        cmocka_unit_test_setup(an_address_of_many_connections_has_one_turn, setup),
        cmocka_unit_test_setup(who_comes_again_joins_behind, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
