/* SPDX-License-Identifier: Apache-2.0 */
/* Searching traces under too little memory, too little time, damaged segments and failing allocations: what
 * comes out is a prefix of the reference's answer, and said to be incomplete. */
#include "storage/search_model.h"

#include "base/mem.h"
#include "proto/pb_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t rounds(void)
{
    const char *text = getenv("SPINDLE_TEST_ROUNDS");
    return text == NULL ? 60 : strtoull(text, NULL, 10);
}

/* What came out is a prefix of the reference, and whole where it says so. */
static void check_prefix(const struct model *m, size_t filter, const struct trace_query *query,
                         const struct trace_result *got)
{
    static struct ref_trace want[TRACES_MAX + 1];
    size_t count = model_reference(m, filter, query->range, query->order, want);
    size_t page = count < query->limit ? count : query->limit;
    assert_true(got->count <= page);
    for (size_t i = 0; i < got->count; i++)
        model_check_trace(m, &want[i], &got->traces[i], query->spans_per_trace);
    if (got->progress.is_complete)
        assert_int_equal(got->count, page);
    if (got->count > 0 && got->count < count) {
        assert_true(got->next.is_set);
        assert_int_equal(got->next.key, want[got->count - 1].key);
    }
}

static void too_little_memory_gives_a_prefix(void **state)
{
    (void)state;
    size_t cut_short = 0, not_empty = 0;
    for (uint64_t seed = 1; seed <= rounds() / 2; seed++) {
        struct model m;
        model_make(&m, 3000 + seed);
        for (size_t limit_bytes = 16384; limit_bytes < 1u << 20; limit_bytes += limit_bytes / 6) {
            size_t filter = model_below(&m, 2) == 0 ? 0 : (size_t)model_below(&m, FILTERS);
            struct arena made;
            arena_init(&made, 1u << 20, NULL);
            struct asked k;
            model_ask(&k, limit_bytes);
            struct expr *e = model_filters[filter].make(&made);
            struct trace_query query = {
                .filter = e,
                .range = { 0, UINT64_MAX },
                .order = model_below(&m, 3) == 0 ? FIND_SLOWEST : FIND_NEWEST,
                .limit = 100,
                .spans_per_trace = 100, /* much to return, little to remember */
            };
            struct trace_result result;
            assert_int_equal(search_traces(&m.source.source, &k.q, &query, &result), ERR_OK);
            check_prefix(&m, filter, &query, &result);
            cut_short += !result.progress.is_complete;
            not_empty += !result.progress.is_complete && result.count > 0;
            expr_deinit(e);
            arena_deinit(&k.arena);
            arena_deinit(&made);
        }
        model_free(&m);
    }
    print_message("%zu cut short, %zu of them with traces\n", cut_short, not_empty);
    assert_true(cut_short > 0);
    assert_true(not_empty > 0); /* otherwise the prefix was never looked at */
}

static void time_and_clients_end_a_search(void **state)
{
    (void)state;
    struct model m;
    model_make(&m, 7);
    struct asked k;
    model_ask(&k, 64u << 20);
    struct trace_query query = { .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = 10 };
    struct trace_result result;
    k.q.deadline_mono_ns = 1; /* long ago */
    assert_int_equal(search_traces(&m.source.source, &k.q, &query, &result), ERR_OK);
    assert_false(result.progress.is_complete);
    check_prefix(&m, 0, &query, &result);
    struct trace_id id = model_trace_id(m.spans[0].trace);
    struct bytes data;
    assert_int_equal(search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data),
                     ERR_DEADLINE);
    _Atomic bool is_cancelled = true;
    k.q.cancelled = &is_cancelled;
    assert_int_equal(search_traces(&m.source.source, &k.q, &query, &result), ERR_CANCELLED);
    assert_int_equal(search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data),
                     ERR_CANCELLED);
    arena_deinit(&k.arena);
    model_free(&m);
}

static void damage_is_reported_and_the_rest_served(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds() / 2; seed++) {
        struct model m;
        model_make(&m, 4000 + seed);
        /* A second source without the damaged bodies is the reference. */
        struct test_source rest;
        test_source_init(&rest);
        for (size_t i = 0; i < m.source.count; i++) {
            struct test_body *b = &m.source.bodies[i];
            b->is_damaged = b->signal == SIGNAL_TRACES && model_below(&m, 3) == 0;
            if (!b->is_damaged)
                buffer_append_bytes(test_source_add(&rest, b->signal), buffer_bytes(&b->data));
        }
        bool has_damage = rest.count < m.source.count;
        test_source_ready(&rest);
        struct asked k;
        model_ask(&k, 64u << 20);
        struct trace_query query = { .range = { 0, UINT64_MAX }, .limit = 1000 };
        struct trace_result a, b;
        assert_int_equal(search_traces(&m.source.source, &k.q, &query, &a), ERR_OK);
        assert_int_equal(search_traces(&rest.source, &k.q, &query, &b), ERR_OK);
        assert_int_equal(a.progress.is_complete, !has_damage);
        assert_int_equal(m.source.damages > 0, has_damage);
        assert_int_equal(a.count, b.count);
        for (size_t i = 0; i < a.count; i++)
            assert_memory_equal(a.traces[i].trace_id.b, b.traces[i].trace_id.b, 16);
        struct trace_id id = model_trace_id(m.spans[0].trace);
        struct bytes x = { 0 }, y = { 0 };
        enum err e = search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &x);
        enum err f = search_trace_get(&rest.source, &k.q, &id, SIGNAL_TRACES, &y);
        assert_int_equal(e, has_damage ? ERR_CORRUPT : ERR_OK);
        assert_true(f == ERR_OK || (f == ERR_NOT_FOUND && has_damage));
        assert_true(bytes_equal(x, y));
        arena_deinit(&k.arena);
        test_source_deinit(&rest);
        model_free(&m);
    }
}

static enum err on_walked(void *context, const struct otlp_items *at)
{
    size_t *walked = context;
    *walked += at->item.len > 0;
    return ERR_OK;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct model m;
    model_make(&m, 11);
    for (int order = 0; order < 2; order++) {
        for (unsigned long n = 0;; n++) {
            assert_true(n < 10000);
            long before = fault_live_blocks();
            struct asked k;
            model_ask(&k, 64u << 20);
            struct expr *e = model_make_children(&k.arena);
            struct trace_query query = { .filter = e,
                                         .range = { 0, UINT64_MAX },
                                         .order = order == 0 ? FIND_NEWEST : FIND_SLOWEST,
                                         .limit = 5,
                                         .spans_per_trace = 2 };
            struct trace_result result;
            struct trace_id id = model_trace_id(m.spans[0].trace);
            struct bytes data;
            fault_alloc_fail_at(n, n % 2 == 1);
            enum err got = search_traces(&m.source.source, &k.q, &query, &result);
            if (got == ERR_OK && !fault_fired())
                got = search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data);
            size_t walked = 0;
            struct trace_walk walk = { .trace_id = id };
            if (got == ERR_OK && !fault_fired())
                got = search_trace_walk(&m.source.source, &k.q, &walk, on_walked, &walked);
            bool has_fired = fault_fired();
            fault_alloc_off();
            assert_int_equal(got, has_fired ? ERR_NOMEM : ERR_OK);
            arena_deinit(&k.arena);
            assert_int_equal(fault_live_blocks(), before);
            if (!has_fired)
                break;
        }
    }
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(too_little_memory_gives_a_prefix, model_print_seed),
        cmocka_unit_test(time_and_clients_end_a_search),
        cmocka_unit_test_teardown(damage_is_reported_and_the_rest_served, model_print_seed),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
