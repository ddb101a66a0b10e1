/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are read in batches are those that are stored: each under a number of its own, which stays the same from
 * cursor to cursor; with a filter those that satisfy it; of a trace all of it; the latest ones in order; of parts what was
 * asked for. Cursors stand beside each other, and begin anew. */
#include "storage/search_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS = 40, ROWS_MAX = 4 * SPANS_MAX };

struct read_row {
    uint64_t id;
    const struct ref_span *span;
};

struct rows {
    struct read_row all[ROWS_MAX];
    size_t count;
};

static struct row_request everything(void)
{
    return (struct row_request){ .signal = SIGNAL_TRACES,
                                 .range = { 0, UINT64_MAX },
                                 .parts = ROW_ALL };
}

/* One batch; false at the end. */
static bool read_batch(const struct model *m, struct row_cursor *c, struct rows *out)
{
    struct row_batch batch;
    assert_int_equal(c->ops->next(c, &batch), ERR_OK);
    if (batch.data.len == 0)
        return false;
    struct otlp_items it = otlp_items(batch.data);
    for (size_t i = 0; otlp_items_next(&it); i++) {
        assert_true(out->count < ROWS_MAX);
        assert_true(batch.ids[i] < UINT64_C(1) << ROW_ID_BITS);
        out->all[out->count++] = (struct read_row){ batch.ids[i], model_span_at(m, &it) };
    }
    return true;
}

static void read_all(struct model *m, struct asked *k, const struct row_request *asked,
                     struct rows *out)
{
    struct find_progress progress = { .is_complete = true };
    struct row_cursor *c = NULL;
    out->count = 0;
    assert_int_equal(search_rows_read(&m->source.source, &k->q, &progress, asked, &c), ERR_OK);
    while (read_batch(m, c, out))
        ;
    assert_true(progress.is_complete);
    c->ops->close(c);
}

static int by_id(const void *a, const void *b)
{
    const struct read_row *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void sort(struct rows *r)
{
    qsort(r->all, r->count, sizeof r->all[0], by_id);
    for (size_t i = 1; i < r->count; i++)
        assert_true(r->all[i].id != r->all[i - 1].id);
}

static void assert_same(struct rows *a, struct rows *b)
{
    sort(a);
    sort(b);
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->all[i].id, b->all[i].id);
        assert_ptr_equal(a->all[i].span, b->all[i].span);
    }
}

static struct expr *error_filter(struct arena *a)
{
    return expr_binary(a, EXPR_EQ, expr_intrinsic_field(a, EXPR_INTRINSIC_SPAN_STATUS),
                       expr_const(a, (struct expr_value){ .type = EXPR_STATUS, .integer = 2 }));
}

typedef bool keep_fn(const struct ref_span *s, const struct row_request *asked);

static void select_rows(const struct rows *from, keep_fn *keep, const struct row_request *asked,
                        struct rows *out)
{
    out->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        if (keep(from->all[i].span, asked))
            out->all[out->count++] = from->all[i];
    }
}

static bool is_in_range(const struct ref_span *s, const struct row_request *asked)
{
    return s->start >= asked->range.min_unix_ns && s->start < asked->range.max_unix_ns;
}

static bool is_error(const struct ref_span *s, const struct row_request *asked)
{
    return is_in_range(s, asked) && s->status == 2;
}

static bool is_of_trace(const struct ref_span *s, const struct row_request *asked)
{
    struct trace_id id = model_trace_id(s->trace);
    return memcmp(id.b, asked->trace_id->b, sizeof id.b) == 0;
}

/* How many bodies have it; row groups have it once. */
static size_t stored(const struct model *m)
{
    size_t count = 0;
    for (size_t i = 0; i < m->source.count; i++)
        count += m->source.bodies[i].bounds.signal == SIGNAL_TRACES
                     ? m->source.bodies[i].bounds.rows
                     : 0;
    return count;
}

static void rows_are_those_that_are_stored(void **state)
{
    (void)state;
    static struct rows all, got, wanted;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct model m;
        struct asked k;
        model_make(&m, 9000 + seed);
        model_ask(&k, 64u << 20);
        struct row_request asked = everything();
        read_all(&m, &k, &asked, &all);
        assert_int_equal(all.count, stored(&m));
        sort(&all);

        uint64_t from = m.spans[model_below(&m, m.count)].start;
        asked.range = (struct time_range){ from, from + 1 + (uint64_t)model_below(&m, 1000000) };
        read_all(&m, &k, &asked, &got);
        select_rows(&all, is_in_range, &asked, &wanted);
        assert_same(&got, &wanted);

        asked = everything();
        asked.filter = error_filter(&k.arena);
        read_all(&m, &k, &asked, &got);
        select_rows(&all, is_error, &asked, &wanted);
        assert_same(&got, &wanted);

        struct trace_id id = model_trace_id(m.spans[model_below(&m, m.count)].trace);
        asked = everything();
        asked.trace_id = &id;
        read_all(&m, &k, &asked, &got);
        select_rows(&all, is_of_trace, &asked, &wanted);
        assert_true(wanted.count > 0);
        assert_same(&got, &wanted);
        arena_deinit(&k.arena);
        model_free(&m);
    }
}

static int latest_first(const void *a, const void *b)
{
    const struct read_row *x = a, *y = b;
    return (x->span->start < y->span->start) - (x->span->start > y->span->start);
}

static void the_latest_come_in_order(void **state)
{
    (void)state;
    static struct rows all, got, wanted;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct model m;
        struct asked k;
        model_make(&m, 9100 + seed);
        model_ask(&k, 64u << 20);
        struct row_request asked = everything();
        read_all(&m, &k, &asked, &all);
        asked.filter = error_filter(&k.arena);
        asked.latest = 1 + (size_t)model_below(&m, 100);
        read_all(&m, &k, &asked, &got);
        select_rows(&all, is_error, &asked, &wanted);
        qsort(wanted.all, wanted.count, sizeof wanted.all[0], latest_first);
        assert_int_equal(got.count, wanted.count < asked.latest ? wanted.count : asked.latest);
        for (size_t i = 0; i < got.count; i++) /* equal ones in any order */
            assert_int_equal(got.all[i].span->start, wanted.all[i].span->start);
        sort(&got);

        /* What speaks of the whole trace is not certain. */
        asked.filter = model_make_children(&k.arena);
        read_all(&m, &k, &asked, &got);
        assert_int_equal(got.count, 0);
        arena_deinit(&k.arena);
        model_free(&m);
    }
}

/* The names alone, in the order of all. */
static void parts_are_those_asked_for(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct model m;
        struct asked k;
        struct find_progress progress = { .is_complete = true };
        struct row_cursor *whole = NULL, *part = NULL;
        model_make(&m, 9200 + seed);
        model_ask(&k, 64u << 20);
        struct row_request asked = everything();
        assert_int_equal(search_rows_read(&m.source.source, &k.q, &progress, &asked, &whole),
                         ERR_OK);
        asked.parts = ROW_NAME | ROW_STATUS;
        assert_int_equal(search_rows_read(&m.source.source, &k.q, &progress, &asked, &part),
                         ERR_OK);
        size_t rows = 0;
        for (unsigned times = 0; times < 2; times++) { /* side by side, then once more */
            struct row_batch a, b;
            for (;;) {
                assert_int_equal(whole->ops->next(whole, &a), ERR_OK);
                assert_int_equal(part->ops->next(part, &b), ERR_OK);
                struct otlp_items x = otlp_items(a.data), y = otlp_items(b.data);
                struct otlp_span full, some;
                for (size_t i = 0; otlp_items_next(&x); i++, rows++) {
                    assert_true(otlp_items_next(&y));
                    otlp_span_read(x.item, &full);
                    otlp_span_read(y.item, &some);
                    assert_int_equal(a.ids[i], b.ids[i]);
                    assert_true(bytes_equal(full.name, some.name));
                    assert_int_equal(full.status.code, some.status.code);
                }
                assert_false(otlp_items_next(&y));
                if (a.data.len == 0)
                    break;
            }
            asked.parts = ROW_ALL;
            assert_int_equal(whole->ops->rewind(whole, &asked), ERR_OK);
            asked.parts = ROW_STATUS | ROW_NAME | ROW_GROUP;
            assert_int_equal(part->ops->rewind(part, &asked), ERR_OK);
        }
        assert_int_equal(rows, 2 * stored(&m));
        whole->ops->close(whole);
        part->ops->close(part);
        arena_deinit(&k.arena);
        model_free(&m);
    }
}

/* As when a slow reader of the answer is waited for between two batches. */
static void a_deadline_may_move(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct model m;
        struct asked k;
        struct find_progress progress = { .is_complete = true };
        struct row_request asked = everything();
        struct row_cursor *c = NULL;
        struct row_batch batch;
        static struct rows got;
        got.count = 0;
        model_make(&m, 9400 + seed);
        model_ask(&k, 64u << 20);
        assert_int_equal(search_rows_read(&m.source.source, &k.q, &progress, &asked, &c), ERR_OK);
        k.q.deadline_mono_ns = 1;
        assert_int_equal(c->ops->next(c, &batch), ERR_DEADLINE);
        assert_int_equal(c->ops->rewind(c, &asked), ERR_OK);
        k.q.deadline_mono_ns = UINT64_MAX;
        while (read_batch(&m, c, &got))
            ;
        assert_int_equal(got.count, stored(&m));
        asked.latest = 1;
        k.q.deadline_mono_ns = 1;
        assert_int_equal(c->ops->rewind(c, &asked), ERR_DEADLINE);
        k.q.deadline_mono_ns = UINT64_MAX;
        assert_int_equal(c->ops->rewind(c, &asked), ERR_OK);
        c->ops->close(c);
        arena_deinit(&k.arena);
        model_free(&m);
    }
}

static bool on_resource(void *context, struct bytes resource, struct bytes schema_url)
{
    bool *seen = context;
    (void)schema_url;
    struct bytes name = otlp_service_name(resource);
    seen[name.len == 0 ? 0 : name.data[name.len - 1] % SERVICES] = true;
    return true;
}

static void every_resource_is_visited(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct model m;
        struct asked k;
        struct find_progress progress = { .is_complete = true };
        bool seen[SERVICES] = { false }, wanted[SERVICES] = { false };
        model_make(&m, 9300 + seed);
        model_ask(&k, 64u << 20);
        for (size_t i = 0; i < m.source.count; i++) {
            struct otlp_items it = otlp_items(buffer_bytes(&m.source.bodies[i].data));
            while (m.source.bodies[i].signal == SIGNAL_TRACES && otlp_items_next(&it))
                (void)on_resource(wanted, it.resource.resource, it.resource.schema_url);
        }
        assert_int_equal(
            search_resources(&m.source.source, &k.q, &progress, SIGNAL_TRACES, on_resource, seen),
            ERR_OK);
        assert_memory_equal(seen, wanted, sizeof seen);
        arena_deinit(&k.arena);
        model_free(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(rows_are_those_that_are_stored, model_print_seed),
        cmocka_unit_test_teardown(the_latest_come_in_order, model_print_seed),
        cmocka_unit_test_teardown(parts_are_those_asked_for, model_print_seed),
        cmocka_unit_test_teardown(a_deadline_may_move, model_print_seed),
        cmocka_unit_test_teardown(every_resource_is_visited, model_print_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
