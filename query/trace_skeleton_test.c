/* SPDX-License-Identifier: Apache-2.0 */
/* Spans that come in any shape become rows whose parents stand before them: orphans, circles, deep chains,
 * several roots, shared IDs, clocks that disagree. */
#include "query/trace_skeleton.h"

#include "base/budget.h"
#include "base/mem.h"
#include "proto/otlp_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct budget budget;
    struct arena arena, memory; /* of the query; of the skeleton */
    struct query_context q;
    struct buffer json, data;
    struct skeleton s;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    budget_init(&f.budget, (size_t)64 << 20, NULL);
    arena_init(&f.arena, (size_t)64 << 20, &f.budget);
    arena_init(&f.memory, (size_t)64 << 20, NULL);
    f.q = (struct query_context){ .deadline_mono_ns = UINT64_MAX, .arena = &f.arena };
    buffer_init(&f.json, (size_t)64 << 20);
    buffer_init(&f.data, (size_t)64 << 20);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    arena_deinit(&f->arena);
    arena_deinit(&f->memory);
    assert_int_equal(budget_used(&f->budget), 0);
    buffer_deinit(&f->json);
    buffer_deinit(&f->data);
    return 0;
}

struct given {
    unsigned id, parent; /* parent 0: none */
    unsigned kind, service;
    uint64_t start, end;
};

static enum err lay_out(struct fixture *f)
{
    struct skeleton_builder b;
    enum err e = ERR_OK;
    struct otlp_items it = otlp_items(buffer_bytes(&f->data));
    skeleton_begin(&b, &f->q);
    while (e == ERR_OK && otlp_items_next(&it))
        e = skeleton_add(&b, &it);
    if (e == ERR_OK)
        e = skeleton_finish(&b, &f->memory, &f->s);
    skeleton_end(&b);
    return e;
}

/* What must hold of any skeleton. */
static void check(const struct skeleton *s)
{
    size_t names = 0, spans = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const struct skeleton_row *r = &s->rows[i];
        bool is_missing = (r->flags & SKELETON_MISSING) != 0;
        assert_true(r->parent == SKELETON_NONE || r->parent < i);
        /* Pre-order: what stands between a row and its parent stands below that parent. */
        if (r->parent != SKELETON_NONE) {
            uint32_t up = i - 1;
            while (up > r->parent)
                up = s->rows[up].parent == SKELETON_NONE ? 0 : s->rows[up].parent;
            assert_int_equal(up, r->parent);
        }
        assert_true(is_missing == (r->name == SKELETON_NONE));
        assert_true(is_missing || (r->name <= names && r->service < s->services_count));
        names += !is_missing && r->name == names; /* numbered by first use */
        spans += !is_missing;
        assert_true(r->start_ns + r->duration_ns <= SKELETON_NS_MAX);
    }
    assert_int_equal(names, s->names_count);
    assert_int_equal(spans, s->spans);
    for (size_t i = 1; i < s->spans; i++) {
        uint64_t a = s->rows[s->by_id[i - 1]].id, b = s->rows[s->by_id[i]].id;
        assert_true(a < b || (a == b && s->by_id[i - 1] < s->by_id[i]));
    }
    for (uint32_t i = 0; i < s->count; i++)
        if ((s->rows[i].flags & SKELETON_MISSING) == 0)
            assert_int_equal(s->rows[s->by_id[skeleton_find(s, s->rows[i].id)]].id, s->rows[i].id);
}

static void build(struct fixture *f, const struct given *spans, size_t count)
{
    struct err_note note = { 0 };
    buffer_append_text(&f->json, "{\"resourceSpans\":[");
    for (size_t i = 0; i < count; i++) {
        const struct given *g = &spans[i];
        char parent[40] = "";
        if (g->parent != 0)
            (void)snprintf(parent, sizeof parent, "\"parentSpanId\":\"%016x\",", g->parent);
        buffer_printf(
            &f->json,
            "%s{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
            "{\"stringValue\":\"s%u\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":"
            "\"00000000000000000000000000005d5a\",\"spanId\":\"%016x\",%s\"name\":\"n%u\","
            "\"kind\":%u,\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\"}]}]}",
            i == 0 ? "" : ",", g->service, g->id, parent, g->id, g->kind,
            (unsigned long long)g->start, (unsigned long long)g->end);
    }
    buffer_append_text(&f->json, "]}");
    assert_int_equal(buffer_error(&f->json), ERR_OK);
    assert_int_equal(otlp_json_read(SIGNAL_TRACES, buffer_bytes(&f->json), &otlp_limits_default,
                                    &f->data, &note),
                     ERR_OK);
    assert_int_equal(lay_out(f), ERR_OK);
    assert_int_equal(f->s.spans, count);
    check(&f->s);
}

static unsigned id_at(const struct fixture *f, size_t row)
{
    return (unsigned)f->s.rows[row].id;
}

static void puts_children_below_by_start(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = {
        { 3, 1, 1, 0, 50, 60 }, { 1, 0, 1, 0, 10, 100 }, { 4, 2, 1, 0, 25, 26 },
        { 2, 1, 1, 0, 20, 40 }, { 5, 0, 1, 0, 5, 6 },
    };
    build(f, spans, 5);
    static const unsigned order[] = { 5, 1, 2, 4, 3 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(id_at(f, i), order[i]);
    assert_int_equal(f->s.roots, 2);
    assert_int_equal(f->s.t0_unix_ns, 5);
    assert_int_equal(f->s.end_ns, 95);
    assert_int_equal(f->s.depth_max, 2);
}

static void shows_missing_parents_once(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = { { 1, 0, 1, 0, 10, 100 },
                                          { 2, 9, 1, 0, 20, 40 },
                                          { 3, 9, 1, 0, 30, 90 },
                                          { 4, 8, 1, 0, 12, 13 } };
    build(f, spans, 4);
    assert_int_equal(f->s.count, 6);
    assert_int_equal(f->s.missing, 2);
    assert_int_equal(f->s.orphans, 3);
    static const unsigned order[] = { 1, 8, 4, 9, 2, 3 };
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(id_at(f, i), order[i]);
    assert_int_equal(f->s.rows[3].start_ns, 10);
    assert_int_equal(f->s.rows[3].duration_ns, 70);
}

static void cuts_circles_at_the_earliest(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = {
        { 1, 3, 1, 0, 30, 31 }, { 2, 1, 1, 0, 10, 11 },
        { 3, 2, 1, 0, 20, 21 }, /* a ring of three */
        { 4, 4, 1, 0, 40, 41 }, /* its own parent */
        { 5, 1, 1, 0, 50, 51 }, /* below the ring */
    };
    build(f, spans, 5);
    assert_int_equal(f->s.cycles, 2);
    assert_int_equal(f->s.roots, 2);
    static const unsigned order[] = { 2, 3, 1, 5, 4 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(id_at(f, i), order[i]);
}

static void puts_the_servers_half_below(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = { { 1, 0, 3, 0, 10, 100 },
                                          { 1, 0, 2, 1, 20, 90 },
                                          { 2, 1, 1, 1, 30, 40 } };
    build(f, spans, 3);
    assert_int_equal(f->s.duplicates, 2);
    assert_int_equal(f->s.roots, 1);
    assert_int_equal(f->s.rows[1].kind, 2);
    assert_int_equal(f->s.rows[2].parent, 1);
}

static void notices_clocks(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = { { 1, 0, 3, 0, 1000, 1100 },
                                          { 2, 1, 2, 1, 500, 560 },
                                          { 3, 2, 1, 1, 510, 520 } };
    build(f, spans, 3);
    assert_int_equal(f->s.skewed, 2);
    for (uint32_t i = 0; i < 2; i++) { /* into the middle of its client's */
        assert_int_equal(f->s.shifts[i].row, i + 1);
        assert_int_equal(f->s.shifts[i].ns, 520);
    }
}

static void goes_ten_thousand_deep(void **state)
{
    struct fixture *f = *state;
    enum { DEEP = 10000 };
    struct given *spans = calloc(DEEP, sizeof *spans);
    for (unsigned i = 0; i < DEEP; i++)
        spans[i] = (struct given){ i + 1, i, 1, 0, 100 + i, 50000 };
    build(f, spans, DEEP);
    assert_int_equal(f->s.depth_max, DEEP - 1);
    free(spans);
}

static void keeps_odd_times_within_bounds(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = {
        { 1, 0, 1, 0, UINT64_C(1700000000000000000), UINT64_C(1700000000000000500) },
        { 2, 1, 1, 0, 0, UINT64_C(1700000000000000500) },
        { 3, 1, 1, 0, UINT64_C(1700000000000000400), UINT64_C(1700000000000000300) },
    };
    build(f, spans, 3);
    assert_int_equal(f->s.t0_unix_ns, UINT64_C(1700000000000000000));
    assert_int_equal(f->s.bad_times, 2);
    for (size_t i = 0; i < 3; i++)
        assert_true(f->s.rows[i].start_ns + f->s.rows[i].duration_ns <= SKELETON_NS_MAX);
}

static void knows_a_resource_that_comes_again(void **state)
{
    struct fixture *f = *state;
    static const struct given spans[] = { { 1, 0, 1, 0, 1000, 1100 },
                                          { 2, 1, 1, 1, 1010, 1020 },
                                          { 3, 1, 1, 0, 900, 950 } }; /* early, but of one clock */
    build(f, spans, 3);
    assert_int_equal(f->s.skewed, 0);
}

static uint32_t next_random(uint32_t *seed)
{
    return *seed = *seed * 1664525u + 1013904223u;
}

static bool same_row(const struct skeleton_row *a, const struct skeleton_row *b)
{
    return a->id == b->id && a->parent == b->parent && a->service == b->service &&
           a->name == b->name && a->kind == b->kind && a->flags == b->flags &&
           a->start_ns == b->start_ns && a->duration_ns == b->duration_ns;
}

/* Any graph: IDs repeat, parents are missing or in circles, clocks differ. */
static void gives_the_same_rows_in_any_order(void **state)
{
    enum { ROUNDS = 150, SPANS = 24 };
    struct fixture *f = *state;
    uint32_t seed = 7;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct given spans[SPANS];
        for (unsigned i = 0; i < SPANS; i++) {
            uint64_t start = 1000 + (next_random(&seed) >> 8) % 40;
            spans[i] = (struct given){ 1 + (next_random(&seed) >> 8) % 20,
                                       (next_random(&seed) >> 8) % 24,
                                       (next_random(&seed) >> 8) % 6,
                                       (next_random(&seed) >> 8) % 3,
                                       start,
                                       start + (next_random(&seed) >> 8) % 30 };
        }
        build(f, spans, SPANS);
        struct skeleton first = f->s;
        for (unsigned shuffle = 0; shuffle < 3; shuffle++) {
            for (unsigned i = SPANS - 1; i > 0; i--) {
                unsigned k = (next_random(&seed) >> 8) % (i + 1);
                struct given swapped = spans[i];
                spans[i] = spans[k];
                spans[k] = swapped;
            }
            buffer_reset(&f->data);
            buffer_reset(&f->json);
            build(f, spans, SPANS);
            assert_true(f->s.version == first.version);
            assert_int_equal(f->s.count, first.count);
            for (size_t i = 0; i < first.count; i++)
                if (!same_row(&f->s.rows[i], &first.rows[i]))
                    fail_msg("round %u, row %zu differs", round, i);
            for (size_t i = 0; i < first.skewed; i++)
                assert_true(f->s.shifts[i].row == first.shifts[i].row &&
                            f->s.shifts[i].ns == first.shifts[i].ns);
        }
        buffer_reset(&f->json);
        buffer_reset(&f->data);
        arena_reset(&f->memory);
    }
}

/* One ID for all, each the parent of all: nothing may take time by the square of them. */
static void one_id_for_all_is_no_trouble(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 20000 };
    struct given *spans = calloc(MANY, sizeof *spans);
    for (unsigned i = 0; i < MANY; i++)
        spans[i] = (struct given){ 1, 1, 1, 0, 100 + i, 50000 };
    build(f, spans, MANY);
    assert_int_equal(f->s.duplicates, MANY);
    assert_int_equal(f->s.cycles, 1);
    free(spans);
}

static void distant_names_and_services_are_cut(void **state)
{
    struct fixture *f = *state;
    static const char head[] = "{\"traceId\":\"00000000000000000000000000005d5a\",\"spanId\":\"";
    buffer_append_text(&f->json, "{\"resourceSpans\":[");
    for (unsigned i = 0; i < 1200; i++) {
        buffer_printf(&f->json,
                      "%s{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
                      "{\"stringValue\":\"s%u\"}}]},\"scopeSpans\":[{\"spans\":[%s%016x\","
                      "\"startTimeUnixNano\":\"5\",\"endTimeUnixNano\":\"6\",\"name\":\"%u",
                      i == 0 ? "" : ",", i, head, i + 1, i % 10);
        for (unsigned k = 0; k < 127; k++) /* two bytes each, so that the cut falls inside one */
            buffer_append_text(&f->json, "\u00e4");
        buffer_append_text(&f->json, "\u20ac\"}]}]}");
    }
    buffer_append_text(&f->json, "]}");
    struct err_note note = { 0 };
    assert_int_equal(otlp_json_read(SIGNAL_TRACES, buffer_bytes(&f->json), &otlp_limits_default,
                                    &f->data, &note),
                     ERR_OK);
    assert_int_equal(lay_out(f), ERR_OK);
    check(&f->s);
    assert_int_equal(f->s.services_count, SKELETON_SERVICES_MAX + 1);
    assert_true(f->s.has_other_services);
    uint32_t spans = 0, others = 0;
    for (size_t i = 0; i < f->s.services_count; i++) {
        spans += f->s.services[i].spans;
        others += f->s.services[i].name.len == 0 ? f->s.services[i].spans : 0;
    }
    assert_int_equal(spans, 1200);
    assert_int_equal(others, 200);
    assert_int_equal(f->s.names_count, 10);
    assert_int_equal(f->s.names[0].len,
                     255); /* a digit, 127 characters; the last one did not fit */
}

static void it_ends_where_memory_or_time_do(void **state)
{
    struct fixture *f = *state;
    enum { SPANS = 3000 };
    struct given *spans = calloc(SPANS, sizeof *spans);
    for (unsigned i = 0; i < SPANS; i++)
        spans[i] = (struct given){ i + 1, i / 2, 1, i % 7, 100 + i, 50000 };
    build(f, spans, SPANS);
    free(spans);
    f->budget.limit_bytes = 150000;
    assert_int_equal(lay_out(f), ERR_BUDGET);
    assert_int_equal(budget_used(&f->budget), 0);
    f->budget.limit_bytes = (size_t)64 << 20;
    f->q.deadline_mono_ns = 1;
    assert_int_equal(lay_out(f), ERR_DEADLINE);
    f->q.deadline_mono_ns = UINT64_MAX;
    for (unsigned long n = 0;; n++) {
        long before = fault_live_blocks();
        struct arena memory = f->memory;
        arena_init(&f->memory, (size_t)64 << 20, NULL);
        fault_alloc_fail_at(n, n % 2 == 1);
        enum err e = lay_out(f);
        bool has_fired = fault_fired();
        fault_alloc_off();
        arena_deinit(&f->memory);
        f->memory = memory;
        assert_int_equal(fault_live_blocks(), before);
        assert_int_equal(e, has_fired ? ERR_NOMEM : ERR_OK);
        if (!has_fired)
            break;
        assert_true(n < 1000);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(puts_children_below_by_start),
        TEST(shows_missing_parents_once),
        TEST(cuts_circles_at_the_earliest),
        TEST(puts_the_servers_half_below),
        TEST(notices_clocks),
        TEST(goes_ten_thousand_deep),
        TEST(keeps_odd_times_within_bounds),
        TEST(knows_a_resource_that_comes_again),
        TEST(one_id_for_all_is_no_trouble),
        TEST(distant_names_and_services_are_cut),
        TEST(it_ends_where_memory_or_time_do),
        TEST(gives_the_same_rows_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
