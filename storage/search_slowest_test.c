/* SPDX-License-Identifier: Apache-2.0 */
/* The slowest traces of thousands agree with a list that is sorted, over bodies and row groups, with filters, ranges and
 * pages, of traces in one segment and in several, of durations from nanoseconds to days with equal ones among them; and a
 * search that finds the extents of row groups known reads the few that the answer is in. The control is extents that are
 * too small: with them a trace is missed. */
#include "proto/pb_writer.h"
#include "storage/extents.h"
#include "storage/search_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TRACES = 1500, SEGMENTS = 12, SPANS = 3 * TRACES, PAGES = 3 };

struct sample {
    struct random random;
    struct test_source source;
    struct ref_span spans[SPANS];
    size_t count;
};

struct reference {
    uint64_t duration;
    struct trace_id id;
};

static uint64_t random_duration(struct random *r, int scale)
{
    if (scale == 0)
        return random_below(r, 50); /* many are equal */
    return random_next(r) >> (14 + random_below(r, 40));
}

/* Spans of a trace are in one segment, or each in one of its own. */
static void sample_make(struct sample *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    random_init(&s->random, seed);
    test_source_init(&s->source);
    struct buffer *bodies[SEGMENTS];
    size_t outer[SEGMENTS], inner[SEGMENTS];
    for (int i = 0; i < SEGMENTS; i++) {
        (void)test_source_add(&s->source, SIGNAL_TRACES);
    }
    for (int i = 0; i < SEGMENTS; i++) {
        bodies[i] = &s->source.bodies[i].data;
        outer[i] = pb_begin(bodies[i], 1);
        inner[i] = pb_begin(bodies[i], 2);
    }
    for (uint32_t n = 0; n < TRACES; n++) {
        uint64_t home = random_below(&s->random, SEGMENTS), start = 1000 * (uint64_t)n + home;
        bool is_spread = random_below(&s->random, 10) == 0;
        uint64_t spans = 1 + random_below(&s->random, 3);
        for (uint64_t i = 0; i < spans; i++) {
            struct ref_span *span = &s->spans[s->count++];
            *span = (struct ref_span){ .trace = n, .id = (uint32_t)s->count, .event = -1 };
            span->k = random_below(&s->random, 10) == 0 ? 1 : -1;
            span->status = random_below(&s->random, 100) == 0 ? 2 : 0;
            span->start = start + random_duration(&s->random, (int)(seed % 2));
            span->duration = random_duration(&s->random, (int)(seed % 2));
            uint64_t at = is_spread ? random_below(&s->random, SEGMENTS) : home;
            size_t item = pb_begin(bodies[at], 2);
            model_put_span(bodies[at], span);
            pb_end(bodies[at], item);
        }
    }
    for (int i = 0; i < SEGMENTS; i++) {
        pb_end(bodies[i], inner[i]);
        pb_end(bodies[i], outer[i]);
    }
    if (seed % 4 < 3)
        test_source_group(&s->source, &s->random);
    test_source_ready(&s->source);
}

static struct expr *filter_make(struct arena *a, int kind)
{
    struct expr_value one = { .type = EXPR_INT, .integer = 1 };
    struct expr_value error = { .type = EXPR_STATUS, .integer = 2 };
    if (kind == 0)
        return NULL;
    if (kind == 1)
        return expr_binary(a, EXPR_EQ, expr_attribute(a, EXPR_SCOPE_SPAN, BYTES_LITERAL("k")),
                           expr_const(a, one));
    return expr_binary(a, EXPR_EQ, expr_intrinsic_field(a, EXPR_INTRINSIC_SPAN_STATUS),
                       expr_const(a, error));
}

static int slower_first(const void *a, const void *b)
{
    const struct reference *x = a, *y = b;
    if (x->duration != y->duration)
        return x->duration > y->duration ? -1 : 1;
    return memcmp(x->id.b, y->id.b, sizeof x->id.b);
}

static size_t reference(const struct sample *s, int kind, struct time_range range,
                        struct reference *out)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count;) {
        uint64_t start = UINT64_MAX, end = 0;
        bool is_there = false;
        uint32_t trace = s->spans[i].trace;
        for (; i < s->count && s->spans[i].trace == trace; i++) {
            const struct ref_span *span = &s->spans[i];
            start = span->start < start ? span->start : start;
            end = span->start + span->duration > end ? span->start + span->duration : end;
            is_there =
                is_there || (span->start >= range.min_unix_ns && span->start < range.max_unix_ns &&
                             (kind == 0 || (kind == 1 ? span->k == 1 : span->status == 2)));
        }
        if (is_there)
            out[count++] = (struct reference){ end - start, model_trace_id(trace) };
    }
    qsort(out, count, sizeof *out, slower_first);
    return count;
}

/* Returns whether the pages are the reference's. */
static bool pages_agree(struct sample *s, int kind, struct time_range range, size_t limit,
                        uint64_t *rows)
{
    static struct reference want[TRACES];
    size_t count = reference(s, kind, range, want), at = 0;
    struct find_cursor cursor = { 0 };
    bool agrees = true;
    for (int page = 0; page < PAGES && agrees && (page == 0 || cursor.is_set); page++) {
        struct asked k;
        model_ask(&k, 64u << 20);
        struct expr *filter = filter_make(&k.arena, kind);
        struct trace_query query = {
            .filter = filter, .range = range, .order = FIND_SLOWEST, .limit = limit, .after = cursor
        };
        struct trace_result result;
        assert_int_equal(search_traces(&s->source.source, &k.q, &query, &result), ERR_OK);
        assert_true(result.progress.is_complete);
        assert_true(result.next.is_set || at + result.count == count || result.count == limit);
        for (size_t i = 0; agrees && i < result.count; i++, at++)
            agrees = at < count &&
                     memcmp(result.traces[i].trace_id.b, want[at].id.b, sizeof want[at].id.b) == 0;
        agrees = agrees && (result.count == limit || at == count);
        cursor = result.next;
        *rows += result.progress.scanned_rows;
        expr_deinit(filter);
        arena_deinit(&k.arena);
    }
    return agrees;
}

static void the_slowest_are_those_of_the_reference(void **state)
{
    (void)state;
    static struct sample s;
    const struct time_range all = { 0, UINT64_MAX }, some = { 1000 * (TRACES / 3), 1000 * TRACES };
    for (uint64_t seed = 1; seed <= 4; seed++) {
        uint64_t rows = 0;
        sample_make(&s, seed);
        for (int kind = 0; kind < 3; kind++) {
            assert_true(pages_agree(&s, kind, all, 7, &rows));
            assert_true(pages_agree(&s, kind, some, 60, &rows));
            assert_true(pages_agree(&s, kind, all, kind == 0 ? 30 : 200, &rows));
        }
        test_source_deinit(&s.source);
    }
}

static void known_extents_spare_reading(void **state)
{
    (void)state;
    static struct sample s;
    const struct time_range all = { 0, UINT64_MAX };
    uint64_t before = 0, after = 0, groups = 0;
    sample_make(&s, 9);
    for (int i = 0; i < SEGMENTS; i++)
        groups += s.source.bodies[i].is_group;
    assert_true(groups > 2);
    size_t opens = s.source.opens;
    assert_true(pages_agree(&s, 0, all, 1, &before));
    size_t opened_first = s.source.opens - opens;
    opens = s.source.opens;
    assert_true(pages_agree(&s, 0, all, 1, &after));
    assert_true(s.source.opens - opens < opened_first);
    assert_true(after < before);
    test_source_deinit(&s.source);
}

/* The codes of a group's extents all become the least. */
static void extents_that_are_too_small_hide_a_trace(void **state)
{
    (void)state;
    static struct sample s;
    const struct time_range all = { 0, UINT64_MAX };
    bool agrees = true;
    uint64_t rows = 0;
    sample_make(&s, 9);
    assert_true(pages_agree(&s, 0, all, 20, &rows));
    for (int i = 0; i < SEGMENTS; i++) {
        struct buffer *made = &s.source.bodies[i].extents;
        if (made->len == 0)
            continue;
        store_le32(made->data + 12, 0);
        for (size_t at = 16; at < made->len; at += EXTENTS_RUN_BYTES)
            store_le32(made->data + at + 12, 0);
    }
    agrees = pages_agree(&s, 0, all, 20, &rows);
    assert_false(agrees);
    test_source_deinit(&s.source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slowest_are_those_of_the_reference),
        cmocka_unit_test(known_extents_spare_reading),
        cmocka_unit_test(extents_that_are_too_small_hide_a_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
