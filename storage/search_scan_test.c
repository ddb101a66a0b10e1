/* SPDX-License-Identifier: Apache-2.0 */
/* Scans and samples agree with the plain reference: every row that matches is given, for each filter, as often as it
 * is stored; a sample counts them all, reads as many as were asked for, each row once, of the class that it was put
 * in; what ends early says from when on it is whole. */
#include "storage/search_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { ROUNDS = 40, SAMPLE = 20 };

struct counted {
    const struct model *m;
    unsigned rows[2], unsure;
    uint64_t least_start;
    struct time_range extent;
};

static void on_extent(void *context, bool is_empty, struct time_range extent)
{
    struct counted *c = context;
    (void)is_empty;
    c->extent = extent;
}

static void on_row(void *context, const struct scanned_row *row)
{
    struct counted *c = context;
    c->rows[row->filter]++;
    c->unsure += !row->is_certain;
    c->least_start = row->start_unix_ns < c->least_start ? row->start_unix_ns : c->least_start;
    assert_true(row->start_unix_ns >= c->extent.min_unix_ns &&
                row->start_unix_ns < c->extent.max_unix_ns);
}

/* As often as bodies have it: a span that was sent twice to two of them counts twice. */
static unsigned stored_rows(const struct model *m, struct time_range range, bool errors_only)
{
    unsigned count = 0;
    for (size_t i = 0; i < m->source.count; i++) {
        const struct test_body *b = &m->source.bodies[i];
        const struct ref_span *seen[2 * SPANS_MAX];
        size_t seen_count = 0;
        struct otlp_items it = otlp_items(buffer_bytes(&b->data));
        while (b->signal == SIGNAL_TRACES && otlp_items_next(&it)) {
            const struct ref_span *s = model_span_at(m, &it);
            bool was_seen = false;
            for (size_t k = 0; b->is_group && k < seen_count; k++)
                was_seen |= seen[k] == s; /* a row group has it once */
            seen[seen_count++] = s;
            count += !was_seen && s->start >= range.min_unix_ns && s->start < range.max_unix_ns &&
                     (!errors_only || s->status == 2);
        }
    }
    return count;
}

static struct expr *error_filter(struct arena *a)
{
    return expr_binary(a, EXPR_EQ, expr_intrinsic_field(a, EXPR_INTRINSIC_SPAN_STATUS),
                       expr_const(a, (struct expr_value){ .type = EXPR_STATUS, .integer = 2 }));
}

static struct time_range random_range(struct model *m)
{
    const struct ref_span *s = &m->spans[model_below(m, m->count)];
    if (model_below(m, 2) == 0)
        return (struct time_range){ 0, UINT64_MAX };
    return (struct time_range){ s->start, s->start + 1 + (uint64_t)model_below(m, 1000000) };
}

static void every_row_is_given_for_each_filter(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct model m;
        struct asked k;
        model_make(&m, 7000 + seed);
        model_ask(&k, 64u << 20);
        struct time_range range = random_range(&m);
        const struct expr *filters[] = { NULL, error_filter(&k.arena) };
        struct row_scan scan = {
            .range = range, .filters = filters, .filters_count = 2, .on_extent = on_extent
        };
        struct counted c = { .m = &m, .least_start = UINT64_MAX };
        struct row_scan_result result;
        assert_int_equal(search_rows_scan(&m.source.source, &k.q, &scan, on_row, &c, &result),
                         ERR_OK);
        assert_true(result.progress.is_complete);
        assert_int_equal(c.rows[0], stored_rows(&m, range, false));
        assert_int_equal(c.rows[1], stored_rows(&m, range, true));
        assert_int_equal(c.unsure, 0);
        assert_true(c.rows[0] == 0 || result.covered_from_unix_ns <= c.least_start);

        /* Of the whole trace: nothing is certain, nothing that may match is left out. */
        const struct expr *children[] = { model_make_children(&k.arena) };
        scan.filters = children;
        scan.filters_count = 1;
        struct counted unsure = { .m = &m, .least_start = UINT64_MAX };
        assert_int_equal(search_rows_scan(&m.source.source, &k.q, &scan, on_row, &unsure, &result),
                         ERR_OK);
        assert_int_equal(unsure.rows[0], unsure.unsure);
        assert_int_equal(unsure.unsure, c.rows[0]);

        /* Without time nothing is seen, and nothing is claimed. */
        k.q.deadline_mono_ns = 1;
        struct counted late = { .m = &m, .least_start = UINT64_MAX };
        scan.filters = filters;
        assert_int_equal(search_rows_scan(&m.source.source, &k.q, &scan, on_row, &late, &result),
                         ERR_OK);
        bool is_empty = late.extent.min_unix_ns == 0 && c.rows[0] == 0;
        assert_true(is_empty || (!result.progress.is_complete && late.rows[0] == 0));
        assert_true(is_empty || result.covered_from_unix_ns >= late.extent.max_unix_ns);
        arena_deinit(&k.arena);
        model_free(&m);
    }
}

struct sampled {
    const struct model *m;
    uint64_t limit; /* starts before it are class 0 */
    unsigned given[3];
    bool seen[SPANS_MAX];
};

static unsigned class_of(void *context, const struct scanned_row *row)
{
    const struct sampled *s = context;
    return row->duration_ns % 3 == 2 ? 7 : row->start_unix_ns < s->limit ? 0 : 1;
}

static enum err on_item(void *context, unsigned class, const struct otlp_items *at)
{
    struct sampled *s = context;
    const struct ref_span *span = model_span_at(s->m, at);
    assert_true(span->duration % 3 != 2);
    assert_int_equal(class, span->start < s->limit ? 0 : 1);
    s->given[class]++;
    s->seen[span - s->m->spans] = true;
    return ERR_OK;
}

static void a_sample_reads_what_it_counted(void **state)
{
    (void)state;
    unsigned spans_seen = 0;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct model m;
        struct asked k;
        model_make(&m, 8000 + seed);
        model_ask(&k, 64u << 20);
        struct sampled s = { .m = &m, .limit = m.spans[m.count / 2].start };
        struct row_sample sample = { .range = { 0, UINT64_MAX },
                                     .rows_max = SAMPLE,
                                     .context = &s,
                                     .class_of = class_of,
                                     .on_item = on_item };
        struct row_sample_result result;
        assert_int_equal(search_rows_sample(&m.source.source, &k.q, &sample, &result), ERR_OK);
        uint64_t others = 0, all = stored_rows(&m, sample.range, false);
        for (unsigned class = 0; class < 2; class ++) {
            uint64_t n = result.seen[class];
            others += n;
            assert_int_equal(result.sampled[class], n < SAMPLE ? n : SAMPLE);
            assert_int_equal(result.sampled[class], s.given[class]);
        }
        assert_true(others <= all);
        for (size_t i = 0; i < m.count; i++)
            spans_seen += s.seen[i];
        arena_deinit(&k.arena);
        model_free(&m);
    }
    assert_true(spans_seen > ROUNDS * SAMPLE / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_row_is_given_for_each_filter, model_print_seed),
        cmocka_unit_test_teardown(a_sample_reads_what_it_counted, model_print_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
