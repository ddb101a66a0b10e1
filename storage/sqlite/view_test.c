/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a pending body: before it is learned nothing is ruled out, and nothing is walked over;
 * after that, every value that is in it may match, nearly none that is not does, and the memory for it is charged
 * while the body lives, and refused where there is none. Its bounds in time are those that the door has found. */
#include "base/budget.h"
#include "base/mem.h"
#include "proto/otlp_random.h"
#include "storage/otlp_row.h"
#include "storage/sqlite/view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

struct fixture {
    struct arena arena;
    struct buffer body;
    struct budget budget;
    struct pending *pending;
};

static void fixture_begin(struct fixture *f, enum signal signal, uint64_t seed, size_t budget_bytes)
{
    struct random r;
    random_init(&r, seed);
    struct otlp_random_options options = { .items_max = 60, .depth_max = 3 };
    buffer_init(&f->body, SIZE_MAX);
    otlp_random(&r, signal, &options, &f->body);
    arena_init(&f->arena, SIZE_MAX, NULL);
    budget_init(&f->budget, budget_bytes, NULL);
    struct append a = { .signal = signal, .body = buffer_bytes(&f->body), .items = 1 };
    arena_init(&a.arena, SIZE_MAX, NULL);
    assert_int_equal(arena_dup(&a.arena, a.body, &a.body), ERR_OK);
    f->pending = pending_new(&a, &f->budget, 0);
    assert_non_null(f->pending);
    pending_adopt(f->pending, &a);
}

static void fixture_end(struct fixture *f)
{
    pending_release(f->pending);
    assert_int_equal(budget_used(&f->budget), 0);
    arena_deinit(&f->arena);
    buffer_deinit(&f->body);
}

static bool may(struct fixture *f, enum expr_scope scope, struct bytes key, struct bytes value)
{
    struct expr *filter = expr_binary(
        &f->arena, EXPR_EQ, expr_attribute(&f->arena, scope, key),
        expr_const(&f->arena, (struct expr_value){ .type = EXPR_STRING, .bytes = value }));
    assert_non_null(filter);
    struct rowgroup_question question;
    rowgroup_question_init(&question, filter);
    return pending_may_match(f->pending, &question);
}

/* How many attributes with strings there are; each may match. */
static size_t check_attributes(struct fixture *f, enum expr_scope scope, struct bytes message,
                               uint32_t number)
{
    size_t count = 0;
    struct otlp_repeated all = otlp_repeated(message, number);
    struct bytes one;
    while (otlp_repeated_next(&all, &one)) {
        struct otlp_key_value kv;
        struct otlp_value v = { .type = OTLP_EMPTY };
        otlp_key_value_read(one, &kv);
        if (kv.has_value)
            otlp_value_read(kv.value, &v);
        if (v.type != OTLP_STRING)
            continue;
        assert_true(may(f, scope, kv.key, v.bytes));
        count++;
    }
    return count;
}

static size_t check_all(struct fixture *f, enum signal signal)
{
    bool is_spans = signal == SIGNAL_TRACES;
    size_t count = 0;
    struct otlp_items it = otlp_items(buffer_bytes(&f->body));
    while (otlp_items_next(&it)) {
        count += check_attributes(f, EXPR_SCOPE_RESOURCE, it.resource.resource,
                                  OTLP_RESOURCE_ATTRIBUTES);
        count +=
            check_attributes(f, EXPR_SCOPE_INSTRUMENTATION, it.scope.scope, OTLP_SCOPE_ATTRIBUTES);
        count += check_attributes(f, is_spans ? EXPR_SCOPE_SPAN : EXPR_SCOPE_LOG, it.item,
                                  is_spans ? OTLP_SPAN_ATTRIBUTES : OTLP_LOG_ATTRIBUTES);
    }
    return count;
}

static void what_is_there_may_match(void **state)
{
    (void)state;
    size_t found = 0, false_hits = 0, asked = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        enum signal signal = seed % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        struct fixture f;
        fixture_begin(&f, signal, seed, SIZE_MAX);
        struct bytes key = BYTES_LITERAL("nowhere"), value = BYTES_LITERAL("nothing");
        assert_true(may(&f, EXPR_SCOPE_ANY, key, value));
        assert_int_equal(budget_used(&f.budget), 0);
        assert_false(pending_is_known(f.pending));
        assert_int_equal(pending_learn(f.pending), ERR_OK);
        size_t used = budget_used(&f.budget);
        assert_true(pending_is_known(f.pending) && used > 0);
        assert_int_equal(pending_learn(f.pending), ERR_OK); /* once */
        assert_int_equal(budget_used(&f.budget), used);
        found += check_all(&f, signal);
        for (unsigned i = 0; i < 50; i++, asked++) {
            char text[24];
            (void)snprintf(text, sizeof text, "absent-%u", i);
            false_hits += may(&f, EXPR_SCOPE_ANY, bytes_of(text, strlen(text)), value);
        }
        fixture_end(&f);
    }
    print_message("%zu values that are there; %zu of %zu that are not may match\n", found,
                  false_hits, asked);
    assert_true(found > 200);
    assert_true(false_hits < asked / 20);
}

static void memory_that_is_refused_rules_nothing_out(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f, SIGNAL_TRACES, 4, 16);
    assert_int_equal(pending_learn(f.pending), ERR_BUDGET);
    assert_false(pending_is_known(f.pending));
    assert_int_equal(budget_used(&f.budget), 0);
    assert_true(may(&f, EXPR_SCOPE_ANY, BYTES_LITERAL("nowhere"), BYTES_LITERAL("nothing")));
    fixture_end(&f);
}

/* What the door found in passing is what a walk finds, whole requests and those of which items were rejected alike
 * (their canonical form); and it is believed, without a walk. */
static void bounds_are_the_ones_of_the_door(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        enum signal signal = seed % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        struct fixture f;
        fixture_begin(&f, signal, seed, SIZE_MAX);
        struct otlp_report report;
        assert_int_equal(
            otlp_check(signal, buffer_bytes(&f.body), &otlp_limits_default, 0, &report, NULL),
            ERR_OK);
        uint64_t min, max;
        pending_bounds(f.pending, &min, &max);
        assert_true(min == report.start_min_unix_ns && max == report.start_max_unix_ns);

        struct append a = { .signal = signal, .body = buffer_bytes(&f.body), .items = 1 };
        a.start_min_unix_ns = 17; /* not what is in it */
        a.start_max_unix_ns = 19;
        struct pending *told = pending_new(&a, &f.budget, 0);
        assert_non_null(told);
        pending_bounds(told, &min, &max);
        assert_true(min == 17 && max == 19);
        pending_release(told);
        fixture_end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_may_match),
        cmocka_unit_test(memory_that_is_refused_rules_nothing_out),
        cmocka_unit_test(bounds_are_the_ones_of_the_door),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
