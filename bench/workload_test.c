/* SPDX-License-Identifier: Apache-2.0 */
/* The workloads are the same bytes on every machine and for every size of request, they have the
 * sizes that the figures in docs/BENCHMARKS.md were made with, and what the generator says about
 * them is what an independent pass over the bytes finds.
 *
 *   workload_test --long   also checks the first million spans of W1 */
#include "base/mem.h"
#include "bench/truth.h"
#include "bench/workload.h"
#include "proto/otlp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool is_long;

static struct workload *open_workload(struct workload_options options)
{
    struct workload *w = NULL;
    assert_int_equal(workload_open(&options, &w), ERR_OK);
    return w;
}

static struct workload_totals run(struct workload_options options)
{
    struct workload *w = open_workload(options);
    struct buffer b;
    buffer_init(&b, 64u << 20);
    struct workload_request request;
    enum err e;
    do {
        buffer_reset(&b);
        e = workload_next(w, &b, &request);
    } while (e == ERR_OK);
    assert_int_equal(e, ERR_NOT_FOUND);
    struct workload_totals totals;
    workload_totals(w, &totals);
    buffer_deinit(&b);
    workload_close(w);
    return totals;
}

/* A change of these changes what every published figure was measured with. */
static void spans_are_the_committed_ones(void **state)
{
    (void)state;
    static const struct {
        enum workload_kind kind;
        uint64_t spans, hash;
        bool is_long;
    } cases[] = {
        { WORKLOAD_W1, 100000, UINT64_C(0x1f17b070e8723b09), false },
        { WORKLOAD_W2, 100000, UINT64_C(0x9c1e1545ed9b3b47), false },
        { WORKLOAD_W3, 100000, UINT64_C(0xfb5828f0c5987681), false },
        { WORKLOAD_W4, 200000, UINT64_C(0xf84a46c189f52381), false },
        { WORKLOAD_W1, 1000000, UINT64_C(0xd9b5bd0f1f472384), true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].is_long && !is_long)
            continue;
        struct workload_totals t =
            run((struct workload_options){ .kind = cases[i].kind, .spans = cases[i].spans });
        assert_int_equal(t.spans, cases[i].spans);
        assert_int_equal(t.span_hash, cases[i].hash);
    }
}

static void requests_of_another_size_hold_the_same_spans(void **state)
{
    (void)state;
    struct workload_options o = { .kind = WORKLOAD_W1, .spans = 20000 };
    uint64_t hash = run(o).span_hash;
    o.batch = 4096;
    assert_int_equal(run(o).span_hash, hash);
    o.batch = 1;
    assert_int_equal(run(o).span_hash, hash);
    o.seed = 7; /* and the hash does notice another workload */
    assert_int_not_equal(run(o).span_hash, hash);
}

static void sizes_are_those_of_the_definition(void **state)
{
    (void)state;
    static const struct {
        enum workload_kind kind;
        unsigned batch;
        double bytes; /* a span */
    } cases[] = {
        { WORKLOAD_W1, 512, 549 }, { WORKLOAD_W1, 1000, 517 }, { WORKLOAD_W1, 4096, 476 },
        { WORKLOAD_W2, 512, 824 }, { WORKLOAD_W2, 1000, 792 }, { WORKLOAD_W2, 4096, 750 },
        { WORKLOAD_W3, 512, 307 }, { WORKLOAD_W3, 1000, 305 }, { WORKLOAD_W3, 4096, 304 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct workload_totals t = run((struct workload_options){
            .kind = cases[i].kind, .spans = 100000, .batch = cases[i].batch });
        double bytes = (double)t.request_bytes / (double)t.spans;
        assert_true(bytes > cases[i].bytes * 0.97 && bytes < cases[i].bytes * 1.03);
    }
}

static void errors_are_one_in_sixty_traces(void **state)
{
    (void)state;
    struct workload_totals t =
        run((struct workload_options){ .kind = WORKLOAD_W1, .spans = 100000 });
    /* 12 spans a trace, one error in 60 traces: 139 */
    assert_in_range(t.errors, 100, 180);
    assert_int_equal(t.spans_resent, 0);
}

/* ---- An independent pass
 * ---------------------------------------------------------------------------- */

struct seen {
    struct span_id id, parent;
    struct bytes service;
    uint32_t kind, status;
};

struct pass {
    struct arena arena;
    struct seen *seen;
    size_t count;
    struct truth truth;
};

/* The SERVER span, seen so far, whose parent is `client`. Plain and quadratic over the recent past.
 */
static const struct seen *callee_of(const struct pass *p, const struct span_id *client)
{
    size_t oldest = p->count > 4000 ? p->count - 4000 : 0;
    for (size_t i = p->count; i-- > oldest;) {
        const struct seen *s = &p->seen[i];
        if (s->kind == 2 && memcmp(&s->parent, client, sizeof *client) == 0)
            return s;
    }
    return NULL;
}

static void pass_add(struct pass *p, struct bytes service, struct bytes message)
{
    struct otlp_span span;
    otlp_span_read(message, &span);
    struct seen *s = &p->seen[p->count];
    *s = (struct seen){ .id = span.span_id,
                        .parent = span.parent_span_id,
                        .kind = span.kind,
                        .status = span.status.code };
    assert_int_equal(arena_dup(&p->arena, service, &s->service), ERR_OK);
    struct truth_span t = {
        .service = service,
        .name = span.name,
        .kind = span.kind,
        .status = span.status.code,
        .duration_ns = otlp_span_duration_ns(&span),
        .trace_id = span.trace_id,
    };
    const struct seen *callee = span.kind == 3 ? callee_of(p, &span.span_id) : NULL;
    if (callee != NULL) {
        t.callee = callee->service;
        t.callee_has_error = callee->status == 2;
    }
    p->count++;
    assert_int_equal(truth_add(&p->truth, &t), ERR_OK);
}

static void the_truth_is_what_the_bytes_say(void **state)
{
    (void)state;
    enum { SPANS = 20000 };
    /* Requests of one span keep the order of the spans, and so the order of the truth's lists. */
    struct workload *w = open_workload((struct workload_options){
        .kind = WORKLOAD_W1, .spans = SPANS, .batch = 1, .keeps_truth = true });
    struct pass p = { .seen = calloc(SPANS, sizeof(struct seen)) };
    assert_non_null(p.seen);
    arena_init(&p.arena, 64u << 20, NULL);
    truth_init(&p.truth);
    struct buffer b;
    buffer_init(&b, 1u << 20);
    struct workload_request request;
    while (workload_next(w, &b, &request) == ERR_OK) {
        struct otlp_items items = otlp_items(buffer_bytes(&b));
        while (otlp_items_next(&items))
            pass_add(&p, otlp_service_name(items.resource.resource), items.item);
        buffer_reset(&b);
    }
    assert_int_equal(p.count, SPANS);

    struct buffer said, found;
    buffer_init(&said, 64u << 20);
    buffer_init(&found, 64u << 20);
    assert_int_equal(workload_truth(w, &said), ERR_OK);
    struct json_writer json;
    json_init(&json, &found);
    json_object_begin(&json);
    truth_write(&p.truth, &json);
    json_object_end(&json);
    buffer_append_byte(&said, 0);
    buffer_append_byte(&found, 0);
    const char *lists = strstr((const char *)said.data, "\"series\"");
    assert_non_null(lists);
    assert_string_equal(lists, (const char *)found.data + 1);

    assert_int_equal(p.truth.edge_keys.count, 72);
    buffer_deinit(&said);
    buffer_deinit(&found);
    buffer_deinit(&b);
    truth_deinit(&p.truth);
    arena_deinit(&p.arena);
    free(p.seen);
    workload_close(w);
}

static void w1_has_288_names_and_72_edges(void **state)
{
    (void)state;
    struct workload *w = open_workload(
        (struct workload_options){ .kind = WORKLOAD_W1, .spans = 100000, .batch = 4096 });
    struct intern names;
    intern_init(&names, 10000);
    struct buffer b;
    buffer_init(&b, 64u << 20);
    struct workload_request request;
    while (workload_next(w, &b, &request) == ERR_OK) {
        struct otlp_items items = otlp_items(buffer_bytes(&b));
        while (otlp_items_next(&items)) {
            struct otlp_span span;
            uint32_t index;
            otlp_span_read(items.item, &span);
            assert_int_equal(intern_put(&names, span.name, &index), ERR_OK);
        }
        buffer_reset(&b);
    }
    assert_int_equal(names.count, 288);
    intern_deinit(&names);
    buffer_deinit(&b);
    workload_close(w);
}

static void hostile_requests_and_spans_come_twice(void **state)
{
    (void)state;
    struct workload_totals t = run((struct workload_options){ .kind = WORKLOAD_W4 });
    assert_int_equal(t.spans, 200000);
    /* 5 % of requests, and 1 % of spans once more */
    assert_in_range(t.spans_resent, 6000, 22000);
}

static void nothing_leaks(void **state)
{
    (void)state;
    long before = fault_live_blocks();
    for (unsigned kind = 0; kind < WORKLOAD_COUNT; kind++)
        run((struct workload_options){
            .kind = (enum workload_kind)kind, .spans = 2000, .keeps_truth = true });
    assert_int_equal(fault_live_blocks(), before);
}

static void opening_survives_any_failed_allocation(void **state)
{
    (void)state;
    long before = fault_live_blocks();
    for (unsigned n = 0;; n++) {
        struct workload *w = NULL;
        struct workload_options o = { .kind = WORKLOAD_W4, .spans = 600, .keeps_truth = true };
        struct buffer b;
        buffer_init(&b, 64u << 20);
        fault_alloc_fail_at(n, false);
        enum err e = workload_open(&o, &w);
        struct workload_request request;
        while (e == ERR_OK)
            e = workload_next(w, &b, &request);
        fault_alloc_off();
        bool fired = fault_fired();
        buffer_deinit(&b);
        workload_close(w);
        assert_int_equal(fault_live_blocks(), before);
        if (!fired) {
            assert_int_equal(e, ERR_NOT_FOUND);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    is_long = argc > 1 && strcmp(argv[1], "--long") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_the_committed_ones),
        cmocka_unit_test(requests_of_another_size_hold_the_same_spans),
        cmocka_unit_test(sizes_are_those_of_the_definition),
        cmocka_unit_test(errors_are_one_in_sixty_traces),
        cmocka_unit_test(the_truth_is_what_the_bytes_say),
        cmocka_unit_test(w1_has_288_names_and_72_edges),
        cmocka_unit_test(hostile_requests_and_spans_come_twice),
        cmocka_unit_test(nothing_leaks),
        cmocka_unit_test(opening_survives_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
