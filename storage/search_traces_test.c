/* SPDX-License-Identifier: Apache-2.0 */
/* Searching traces agrees with a plain reference: each query's pages are compared with its list; so are
 * summaries, matched spans and whole traces. A late page costs no more than the first, and what does not fit
 * into memory is found in shares. */
#include "storage/search_model.h"

#include "proto/pb_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct time_range random_range(struct model *m)
{
    if (model_below(m, 2) == 0)
        return (struct time_range){ 0, UINT64_MAX };
    uint64_t a = 900 + (uint64_t)model_below(m, 4000), b = 900 + (uint64_t)model_below(m, 4000);
    return (struct time_range){ a < b ? a : b, a < b ? b : a };
}

/* Page after page, each page of `limit`; compares with the reference. */
static void check_pages(struct model *m, size_t filter, struct time_range range,
                        enum find_order order, size_t limit)
{
    static struct ref_trace want[TRACES_MAX + 1];
    size_t count = model_reference(m, filter, range, order, want), at = 0;
    size_t shown = (size_t)model_below(m, 4);
    struct find_cursor cursor = { 0 };
    for (;;) {
        struct asked k;
        model_ask(&k, 64u << 20);
        struct expr *e = model_filters[filter].make(&k.arena);
        struct trace_query query = { .filter = e,
                                     .range = range,
                                     .order = order,
                                     .limit = limit,
                                     .after = cursor,
                                     .spans_per_trace = shown };
        struct trace_result result;
        assert_int_equal(search_traces(&m->source.source, &k.q, &query, &result), ERR_OK);
        assert_true(result.progress.is_complete);
        assert_true(result.count <= limit);
        for (size_t i = 0; i < result.count; i++) {
            if (at == count)
                fail_msg("'%s': more than %zu traces", model_filters[filter].name, count);
            if (memcmp(result.traces[i].trace_id.b, want[at].id.b, 16) != 0)
                fail_msg("'%s', order %d, limit %zu: another trace at %zu of %zu",
                         model_filters[filter].name, order, limit, at, count);
            model_check_trace(m, &want[at++], &result.traces[i], shown);
        }
        assert_true(result.next.is_set || at == count);
        assert_true(result.count == limit || !result.next.is_set);
        cursor = result.next;
        expr_deinit(e);
        arena_deinit(&k.arena);
        if (!cursor.is_set)
            break;
    }
    if (at != count)
        fail_msg("'%s', order %d, limit %zu: %zu of %zu traces", model_filters[filter].name, order,
                 limit, at, count);
}

static uint64_t rounds(void)
{
    const char *text = getenv("SPINDLE_TEST_ROUNDS");
    return text == NULL ? 60 : strtoull(text, NULL, 10);
}

static void pages_equal_the_reference(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds(); seed++) {
        struct model m;
        model_make(&m, seed);
        for (size_t filter = 0; filter < FILTERS; filter++) {
            size_t limit = 1 + (size_t)model_below(&m, 10);
            enum find_order order = model_below(&m, 2) == 0 ? FIND_NEWEST : FIND_SLOWEST;
            check_pages(&m, filter, random_range(&m), order, limit);
            check_pages(&m, filter, random_range(&m), order, 1000);
        }
        model_free(&m);
    }
}

/* What earlier pages gave is not assembled again. Every segment ends with a span of one last trace, so all are
 * scanned, and opened for that trace, before another trace is looked at; each of these opens one more. */
static void a_late_page_costs_no_more_than_the_first(void **state)
{
    (void)state;
    enum { SEGMENTS = 200, LIMIT = 10, LAST = 1000 };
    struct test_source source;
    test_source_init(&source);
    for (uint32_t i = 0; i < SEGMENTS; i++) {
        const struct ref_span spans[] = {
            { .trace = i, .id = i + 1, .start = 1000 + 10 * i, .k = -1, .event = -1 },
            { .trace = LAST, .id = LAST + i, .start = 100000, .k = -1, .event = -1 },
        };
        struct buffer *body = test_source_add(&source, SIGNAL_TRACES);
        size_t resource_spans = pb_begin(body, 1), scope_spans = pb_begin(body, 2);
        for (size_t n = 0; n < 2; n++) {
            size_t item = pb_begin(body, 2);
            model_put_span(body, &spans[n]);
            pb_end(body, item);
        }
        pb_end(body, scope_spans);
        pb_end(body, resource_spans);
    }
    test_source_ready(&source);
    struct find_cursor cursor = { 0 };
    for (uint32_t given = 0; given < SEGMENTS; given += LIMIT) {
        struct asked k;
        model_ask(&k, 1u << 20);
        struct trace_query query = {
            .range = { 0, UINT64_MAX }, .order = FIND_NEWEST, .limit = LIMIT, .after = cursor
        };
        struct trace_result result;
        source.opens = 0;
        assert_int_equal(search_traces(&source.source, &k.q, &query, &result), ERR_OK);
        assert_int_equal(result.count, LIMIT);
        struct trace_id first = model_trace_id(given == 0 ? LAST : SEGMENTS - given);
        assert_memory_equal(result.traces[0].trace_id.b, first.b, sizeof first.b);
        assert_in_range(source.opens, 1, 2 * SEGMENTS + 2 * LIMIT);
        cursor = result.next;
        arena_deinit(&k.arena);
    }
    test_source_deinit(&source);
}

static int group_order(const struct otlp_items *a, const struct otlp_items *b)
{
    int order = bytes_compare(a->resource.resource, b->resource.resource);
    return order != 0 ? order : bytes_compare(a->scope.scope, b->scope.scope);
}

/* ---- Walks ---- */

struct walked {
    const struct model *m;
    uint32_t trace;
    bool seen[SPANS_MAX];
    size_t count, stop_after;
};

static enum err on_walked(void *context, const struct otlp_items *at)
{
    struct walked *w = context;
    const struct ref_span *s = model_span_at(w->m, at);
    assert_int_equal(s->trace, w->trace);
    assert_false(w->seen[s - w->m->spans]);
    w->seen[s - w->m->spans] = true;
    return ++w->count == w->stop_after ? ERR_TOO_MANY : ERR_OK;
}

/* Each span once; with a filter at least those that match, at times of their own. */
static void check_walk(const struct model *m, uint32_t trace, const struct expr *filter,
                       size_t count)
{
    struct asked k;
    struct walked w = { .m = m, .trace = trace };
    struct trace_walk walk = { .trace_id = model_trace_id(trace),
                               .filter = filter,
                               .range = { 0, UINT64_MAX } };
    model_ask(&k, 64u << 20);
    enum err e = search_trace_walk(&m->source.source, &k.q, &walk, on_walked, &w);
    assert_int_equal(e, w.count == 0 ? ERR_NOT_FOUND : ERR_OK);
    if (filter == NULL)
        assert_int_equal(w.count, count);
    if (w.count > 1) {
        struct walked cut = { .m = m, .trace = trace, .stop_after = w.count - 1 };
        assert_int_equal(search_trace_walk(&m->source.source, &k.q, &walk, on_walked, &cut),
                         ERR_TOO_MANY);
        assert_int_equal(cut.count, w.count - 1);
    }
    walk.filter = NULL;
    walk.signal = SIGNAL_LOGS;
    w.count = 0;
    assert_int_equal(search_trace_walk(&m->source.source, &k.q, &walk, on_walked, &w), ERR_OK);
    assert_int_equal(w.count, 0);
    arena_deinit(&k.arena);
}

static void a_trace_by_its_id_is_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds(); seed++) {
        struct model m;
        model_make(&m, 1000 + seed);
        for (uint32_t trace = 0; trace < FEW_TRACES; trace++) {
            size_t count = 0, got = 0;
            for (size_t i = 0; i < m.count; i++)
                count += m.spans[i].trace == trace;
            struct asked k;
            model_ask(&k, 64u << 20);
            struct trace_id id = model_trace_id(trace);
            struct bytes data = { 0 };
            enum err e = search_trace_get(&m.source.source, &k.q, &id, SIGNAL_TRACES, &data);
            assert_int_equal(e, count == 0 ? ERR_NOT_FOUND : ERR_OK);
            bool seen[SPANS_MAX] = { false };
            struct otlp_items it = otlp_items(data), before = it;
            uint64_t last_start = 0;
            while (otlp_items_next(&it)) {
                const struct ref_span *s = model_span_at(&m, &it);
                assert_int_equal(s->trace, trace);
                assert_false(seen[s - m.spans]);
                seen[s - m.spans] = true;
                if (got > 0) {
                    int order = group_order(&before, &it);
                    assert_true(order <= 0);
                    assert_true(it.is_new_scope == (order < 0));
                    assert_true(order < 0 || s->start >= last_start);
                }
                last_start = s->start;
                before = it;
                got++;
            }
            assert_int_equal(got, count);
            check_walk(&m, trace, NULL, count);
            check_walk(&m, trace, model_make_children(&k.arena), SIZE_MAX);
            struct bytes logs = BYTES_LITERAL("x");
            assert_int_equal(search_trace_get(&m.source.source, &k.q, &id, SIGNAL_LOGS, &logs),
                             ERR_OK);
            assert_int_equal(logs.len, 0);
            arena_deinit(&k.arena);
        }
        model_free(&m);
    }
}

static void a_span_leads_to_its_latest_trace(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= rounds() / 4; seed++) {
        struct model m;
        model_make(&m, 2000 + seed);
        for (uint32_t span = 1; span < 60; span++) {
            const struct ref_span *want = NULL;
            for (size_t i = 0; i < m.count; i++) {
                const struct ref_span *s = &m.spans[i];
                if (s->id == span && (want == NULL || s->start > want->start))
                    want = s;
            }
            struct asked k;
            model_ask(&k, 64u << 20);
            struct span_id id = model_span_id(span);
            struct trace_id found;
            enum err e = search_span_trace(&m.source.source, &k.q, &id, &found);
            assert_int_equal(e, want == NULL ? ERR_NOT_FOUND : ERR_OK);
            bool is_one = want == NULL;
            for (size_t i = 0; want != NULL && i < m.count; i++) {
                struct trace_id t = model_trace_id(m.spans[i].trace);
                is_one |= m.spans[i].id == span && m.spans[i].start == want->start &&
                          memcmp(t.b, found.b, sizeof t.b) == 0;
            }
            assert_true(is_one);
            arena_deinit(&k.arena);
        }
        model_free(&m);
    }
}

/* Traces that do not fit all at once are taken in shares; the answer is the same. Each has a span in one body
 * and another in the next, so that nothing but both tells its duration, and all must be kept. */
static void the_slowest_are_found_in_shares(void **state)
{
    (void)state;
    enum { TRACES = 3000, BODIES = 4, LIMIT = 7, PAGES = 3 };
    static uint64_t durations[TRACES];
    struct random random;
    random_init(&random, 6001);
    struct test_source source;
    test_source_init(&source);
    for (uint32_t n = 0; n < TRACES; n++)
        durations[n] = 1000 + random_below(&random, TRACES / 2); /* many are equal */
    for (uint32_t part = 0; part < BODIES; part++) {
        struct buffer *body = test_source_add(&source, SIGNAL_TRACES);
        size_t resource_spans = pb_begin(body, 1), scope_spans = pb_begin(body, 2);
        for (uint32_t n = part / 2; n < TRACES; n += 2) {
            struct ref_span span = { .trace = n, .id = 2 * n + part, .k = -1, .event = -1 };
            span.start = 1000 * n + (part % 2 == 0 ? 0 : durations[n] - 10);
            span.duration = 10;
            size_t item = pb_begin(body, 2);
            model_put_span(body, &span);
            pb_end(body, item);
        }
        pb_end(body, scope_spans);
        pb_end(body, resource_spans);
    }
    test_source_ready(&source);
    struct find_cursor cursor = { 0 };
    static bool given[TRACES];
    for (uint32_t page = 0; page < PAGES; page++) {
        struct asked k;
        model_ask(&k, 192u << 10);
        struct trace_query query = {
            .range = { 0, UINT64_MAX }, .order = FIND_SLOWEST, .limit = LIMIT, .after = cursor
        };
        struct trace_result result;
        assert_int_equal(search_traces(&source.source, &k.q, &query, &result), ERR_OK);
        assert_true(result.progress.is_complete);
        assert_int_equal(result.count, LIMIT);
        assert_true(result.progress.scanned_groups > 2 * BODIES); /* in shares, that is */
        for (size_t i = 0; i < result.count; i++) {
            uint32_t want = UINT32_MAX;
            struct trace_id want_id = { { 0 } };
            for (uint32_t n = 0; n < TRACES; n++) {
                struct trace_id id = model_trace_id(n);
                bool is_first =
                    want == UINT32_MAX || durations[n] > durations[want] ||
                    (durations[n] == durations[want] && memcmp(id.b, want_id.b, sizeof id.b) < 0);
                if (!given[n] && is_first) {
                    want = n;
                    want_id = id;
                }
            }
            given[want] = true;
            assert_memory_equal(result.traces[i].trace_id.b, want_id.b, sizeof want_id.b);
            assert_int_equal(result.traces[i].end_unix_ns - result.traces[i].start_unix_ns,
                             durations[want]);
        }
        cursor = result.next;
        arena_deinit(&k.arena);
    }
    test_source_deinit(&source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pages_equal_the_reference, model_print_seed),
        cmocka_unit_test(a_late_page_costs_no_more_than_the_first),
        cmocka_unit_test_teardown(a_trace_by_its_id_is_whole, model_print_seed),
        cmocka_unit_test_teardown(a_span_leads_to_its_latest_trace, model_print_seed),
        cmocka_unit_test(the_slowest_are_found_in_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
