/* SPDX-License-Identifier: Apache-2.0 */
/* Finding traces in a group of several chunks agrees with the list of spans it was built of: rows by trace
 * ID, present and absent, and the extent of each trace. The IDs are random, or alike in their first half, or
 * few, so that a trace fills chunks and begins or ends with one. The group rests between the questions. */
#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/rowgroup/rowgroup_format.h"
#include "storage/rowgroup/rowgroup_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TRACES = 1500, ROWS = 5 * ROWGROUP_CHUNK_ROWS };

struct ref_trace {
    struct trace_id id;
    uint32_t first_row, rows; /* in the group */
    uint64_t start_min, end_max;
    bool is_there, was_seen;
    uint64_t seen_start, seen_end;
};

struct sample {
    struct random random;
    struct ref_trace traces[TRACES]; /* by ID */
    size_t count;
    struct buffer body, group;
};

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct ref_trace *)a)->id.b, ((const struct ref_trace *)b)->id.b,
                  sizeof(struct trace_id));
}

static void make_ids(struct sample *s, int kind)
{
    for (size_t i = 0; i < s->count; i++) {
        struct ref_trace *t = &s->traces[i];
        *t = (struct ref_trace){ .start_min = UINT64_MAX };
        store_be64(t->id.b, kind == 1 ? 7 : random_next(&s->random));
        store_be64(t->id.b + 8, random_next(&s->random) | 1);
    }
    if (kind == 2) {
        memset(s->traces[0].id.b, 0xFF, sizeof(struct trace_id));
        memset(s->traces[1].id.b, 0, sizeof(struct trace_id));
        s->traces[1].id.b[15] = 1;
    }
    qsort(s->traces, s->count, sizeof *s->traces, by_id);
}

static void put_span(struct sample *s, struct ref_trace *t, uint64_t number)
{
    uint8_t id[8];
    uint64_t start = 1000 + random_below(&s->random, 1000000);
    uint64_t end = random_below(&s->random, 50) == 0 ? start - random_below(&s->random, 1000)
                                                     : start + random_below(&s->random, 5000);
    store_be64(id, number + 1);
    size_t span = pb_begin(&s->body, OTLP_SCOPE_ITEMS);
    pb_bytes(&s->body, 1, bytes_of(t->id.b, sizeof t->id.b));
    pb_bytes(&s->body, 2, bytes_of(id, sizeof id));
    pb_fixed64(&s->body, 7, start);
    pb_fixed64(&s->body, 8, end);
    pb_end(&s->body, span);
    t->is_there = true;
    t->rows++;
    t->start_min = start < t->start_min ? start : t->start_min;
    end = end < start ? start : end;
    t->end_max = end > t->end_max ? end : t->end_max;
}

/* Half of the traces are not there. */
static void sample_make(struct sample *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    random_init(&s->random, seed);
    buffer_init(&s->body, SIZE_MAX);
    buffer_init(&s->group, SIZE_MAX);
    s->count = seed % 3 == 2 ? 8 : TRACES;
    make_ids(s, (int)(seed % 3));
    size_t resource_spans = pb_begin(&s->body, OTLP_DATA_RESOURCE_GROUPS);
    size_t scope_spans = pb_begin(&s->body, OTLP_GROUP_SCOPE_GROUPS);
    for (uint64_t i = 0; i < ROWS; i++)
        put_span(s, &s->traces[random_below(&s->random, (s->count + 1) / 2) * 2], i);
    pb_end(&s->body, scope_spans);
    pb_end(&s->body, resource_spans);
    uint32_t row = 0;
    for (size_t i = 0; i < s->count; i++) {
        s->traces[i].first_row = row;
        row += s->traces[i].rows;
    }
    assert_int_equal(testing_build(SIGNAL_TRACES, buffer_bytes(&s->body), &s->group, NULL), ERR_OK);
}

static void check_rows(struct sample *s, struct segment *segment)
{
    static uint32_t rows[ROWS];
    for (size_t i = 0; i < s->count; i++) {
        const struct ref_trace *t = &s->traces[i];
        size_t count = SIZE_MAX;
        assert_int_equal(segment->ops->find_trace(segment, &t->id, rows, ROWS, &count), ERR_OK);
        assert_int_equal(count, t->rows);
        for (uint32_t n = 0; n < t->rows; n++)
            assert_int_equal(rows[n], t->first_row + n);
        if (t->rows > 1) { /* too little room: the number all the same */
            assert_int_equal(segment->ops->find_trace(segment, &t->id, rows, 1, &count), ERR_OK);
            assert_int_equal(count, t->rows);
        }
    }
}

static struct ref_trace *trace_of(struct sample *s, const struct trace_id *id)
{
    struct ref_trace key = { .id = *id };
    return bsearch(&key, s->traces, s->count, sizeof *s->traces, by_id);
}

/* The runs of a trace are one for each chunk that it reaches into, and their extents together are its own. */
struct runs {
    struct sample *sample;
    struct trace_id ids[TRACES + ROWS / ROWGROUP_CHUNK_ROWS];
    uint32_t count;
    uint32_t wanted[TRACES + ROWS / ROWGROUP_CHUNK_ROWS]; /* every third */
    uint32_t wanted_count, found;
};

static bool on_run(void *context, const struct trace_id *id, uint64_t start_min, uint64_t end_max)
{
    struct runs *r = context;
    struct ref_trace *t = trace_of(r->sample, id);
    assert_non_null(t);
    assert_true(t->is_there);
    assert_true(r->count < sizeof r->ids / sizeof r->ids[0]);
    t->seen_start = t->was_seen && t->seen_start < start_min ? t->seen_start : start_min;
    t->seen_end = t->was_seen && t->seen_end > end_max ? t->seen_end : end_max;
    t->was_seen = true;
    if (r->count % 3 == 1)
        r->wanted[r->wanted_count++] = r->count;
    r->ids[r->count++] = *id;
    return true;
}

static bool on_run_row(void *context, const struct segment_row *row)
{
    struct runs *r = context;
    assert_int_equal(row->run, r->found++); /* each once, in order */
    const struct trace_id *id = &r->ids[r->wanted[row->run]];
    const struct ref_trace *t = trace_of(r->sample, id);
    assert_memory_equal(row->trace_id.b, id->b, sizeof id->b);
    assert_in_range(row->row, t->first_row, t->first_row + t->rows - 1);
    return true;
}

static bool on_last_row(void *context, const struct segment_row *row)
{
    ++*(uint32_t *)context;
    assert_int_equal(row->run, 0);
    return true;
}

static void check_extents(struct sample *s, struct segment *segment, struct arena *arena)
{
    static struct runs r;
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = arena };
    r = (struct runs){ .sample = s };
    assert_int_equal(segment->ops->runs(segment, &q, on_run, &r), ERR_OK);
    for (size_t i = 0; i < s->count; i++) {
        const struct ref_trace *t = &s->traces[i];
        assert_int_equal(t->was_seen, t->is_there);
        assert_true(!t->is_there || (t->seen_start == t->start_min && t->seen_end == t->end_max));
    }
    assert_int_equal(segment->ops->scan_runs(segment, &q, NULL, 0, UINT64_MAX, r.wanted,
                                             r.wanted_count, on_run_row, &r),
                     ERR_OK);
    assert_int_equal(r.found, r.wanted_count);
    uint32_t last = r.count - 1, found = 0;
    assert_int_equal(
        segment->ops->scan_runs(segment, &q, NULL, 0, UINT64_MAX, &last, 1, on_last_row, &found),
        ERR_OK);
    assert_int_equal(found, 1);
}

/* A digest knows every trace, and few others. */
static void check_digest(struct sample *s, struct segment *segment)
{
    struct buffer digest;
    size_t false_hits = 0, absent = 0;
    buffer_init(&digest, SIZE_MAX);
    assert_int_equal(rowgroup_digest_make(segment, ROWGROUP_DIGEST_TRACES, &digest), ERR_OK);
    for (size_t i = 0; i < s->count; i++) {
        bool may = rowgroup_digest_may_contain(buffer_bytes(&digest), &s->traces[i].id);
        assert_true(may || !s->traces[i].is_there);
        false_hits += may && !s->traces[i].is_there;
        absent += !s->traces[i].is_there;
    }
    for (unsigned i = 0; i < 10000; i++, absent++) {
        struct trace_id id;
        store_be64(id.b, random_next(&s->random));
        store_be64(id.b + 8, random_next(&s->random));
        false_hits += rowgroup_digest_may_contain(buffer_bytes(&digest), &id);
    }
    assert_true(false_hits < absent / 50);
    buffer_deinit(&digest);
}

static void traces_are_found(void **state)
{
    (void)state;
    static struct sample s;
    for (uint64_t seed = 0; seed < 6; seed++) {
        sample_make(&s, seed);
        struct bytes bytes = buffer_bytes(&s.group);
        struct rowgroup_source source = testing_source(&bytes);
        struct arena arena;
        arena_init(&arena, SIZE_MAX, NULL);
        struct segment *segment;
        assert_int_equal(rowgroup_segment_open(&source, &arena, &segment), ERR_OK);
        assert_int_equal(segment->bounds.rows, ROWS);
        check_rows(&s, segment);
        /* Used again, with a scratch from outside and without, as if just opened. */
        struct rowgroup_scratch scratch = { 0 };
        assert_true(rowgroup_segment_rest(segment));
        rowgroup_segment_wake(segment, &scratch);
        check_extents(&s, segment, &arena);
        size_t held_bytes = arena.held_bytes;
        assert_true(rowgroup_segment_rest(segment));
        rowgroup_scratch_deinit(&scratch);
        rowgroup_segment_wake(segment, NULL);
        check_rows(&s, segment);
        assert_int_equal(arena.held_bytes, held_bytes); /* rows leave nothing there */
        check_digest(&s, segment);
        segment->ops->close(segment);
        arena_deinit(&arena);
        buffer_deinit(&s.body);
        buffer_deinit(&s.group);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traces_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
