/* SPDX-License-Identifier: Apache-2.0 */
/* Scanning columns finds what scanning the same items as OTLP bytes finds, row by row, for random filters
 * over random items; and a group that is skipped by its dictionaries holds no match. The words that
 * otlp_random() uses are few, so that filters hit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/otlp_random.h"
#include "proto/pb_writer.h"
#include "storage/rowgroup/rowgroup_testing.h"
#include "storage/search.h"

#include <stdio.h>

/* ---- Random filters */

static struct bytes random_word(struct random *r)
{
    static const char *const words[] = {
        "service.name", "http.route", "GET /cart", "k",           "",
        "caf\xC3\xA9",  "nul",        "tab\t nul", "no such word"
    };
    return bytes_text(words[random_below(r, sizeof words / sizeof words[0])]);
}

static struct expr *random_field(struct random *r, struct arena *a)
{
    if (random_below(r, 2) == 0)
        return expr_attribute(
            a, (enum expr_scope)(EXPR_SCOPE_ANY + random_below(r, EXPR_SCOPE_EVERYWHERE)),
            random_word(r));
    return expr_intrinsic_field(a, (enum expr_intrinsic)random_below(r, EXPR_INTRINSIC_COUNT));
}

static struct expr_value random_constant(struct random *r)
{
    static const int64_t numbers[] = { 0, 1, -1, 2, 3, 5, 9, 127, 1000000, INT64_MAX, INT64_MIN };
    enum expr_type type = (enum expr_type)(EXPR_INT + random_below(r, EXPR_BYTES - EXPR_INT));
    int64_t n = numbers[random_below(r, sizeof numbers / sizeof numbers[0])];
    struct expr_value v = { .type = type, .integer = type == EXPR_BOOL ? (n & 1) : n };
    if (type == EXPR_FLOAT)
        v.number = (double)n / 2;
    if (type == EXPR_STRING)
        v.bytes = random_word(r);
    return v;
}

static struct expr *random_comparison(struct random *r, struct arena *a)
{
    static const enum expr_op ops[] = { EXPR_EQ, EXPR_EQ, EXPR_NE, EXPR_LT,
                                        EXPR_LE, EXPR_GT, EXPR_GE };
    struct expr *field = random_field(r, a);
    switch (random_below(r, 8)) {
    case 0:
        return expr_unary(a, EXPR_IS_NOT_NIL, field);
    case 1:
        return expr_unary(a, EXPR_IS_NIL, field);
    case 2:
        return expr_binary(
            a, random_below(r, 2) == 0 ? EXPR_CONTAINS : EXPR_TEXT_EQ, field,
            expr_const(a, (struct expr_value){ .type = EXPR_STRING, .bytes = random_word(r) }));
    default:
        return expr_binary(a, ops[random_below(r, sizeof ops / sizeof ops[0])], field,
                           expr_const(a, random_constant(r)));
    }
}

static struct expr *random_filter(struct random *r, struct arena *a, unsigned depth)
{
    uint64_t way = depth == 0 ? 9 : random_below(r, 10);
    if (way < 3)
        return expr_binary(a, EXPR_AND, random_filter(r, a, depth - 1),
                           random_filter(r, a, depth - 1));
    if (way < 6)
        return expr_binary(a, EXPR_OR, random_filter(r, a, depth - 1),
                           random_filter(r, a, depth - 1));
    if (way == 6)
        return expr_unary(a, EXPR_NOT, random_filter(r, a, depth - 1));
    return random_comparison(r, a);
}

/* ---- Both ways */

struct found {
    struct segment_row rows[1024];
    size_t count;
};

static bool keep_row(void *context, const struct segment_row *row)
{
    struct found *f = context;
    assert_true(f->count < 1024);
    f->rows[f->count++] = *row;
    return true;
}

static void scan(struct segment *s, struct arena *arena, const struct expr *filter, uint64_t min,
                 uint64_t max, struct found *out)
{
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = arena };
    out->count = 0;
    assert_int_equal(s->ops->scan(s, &q, filter, min, max, keep_row, out), ERR_OK);
}

static void print_filter(const struct expr *filter)
{
    struct buffer text;
    buffer_init(&text, 1 << 20);
    expr_write(filter, &text);
    print_message("filter: %.*s\n", (int)text.len, (const char *)text.data);
    buffer_deinit(&text);
}

static size_t compare_scans(struct segment *columns, struct segment *body, struct arena *arena,
                            const struct expr *filter, uint64_t min, uint64_t max)
{
    static struct found got, expected;
    scan(body, arena, filter, min, max, &expected);
    scan(columns, arena, filter, min, max, &got);
    if (got.count != expected.count)
        print_filter(filter);
    assert_int_equal(got.count, expected.count);
    for (size_t i = 0; i < got.count; i++) {
        const struct segment_row *a = &got.rows[i], *b = &expected.rows[i];
        bool same = a->row == b->row && a->truth == b->truth &&
                    a->start_unix_ns == b->start_unix_ns && a->duration_ns == b->duration_ns &&
                    memcmp(&a->trace_id, &b->trace_id, sizeof a->trace_id) == 0;
        if (!same)
            print_filter(filter);
        assert_true(same);
    }
    if (!columns->ops->may_match(columns, filter, min, max)) {
        if (expected.count > 0)
            print_filter(filter);
        assert_int_equal(expected.count, 0);
    }
    return got.count;
}

static size_t compare_finds(struct segment *columns, struct segment *body, const struct found *all)
{
    uint32_t got[1024], expected[1024];
    size_t total = 0;
    for (size_t i = 0; i < all->count; i++) {
        size_t got_count, expected_count;
        const struct trace_id *id = &all->rows[i].trace_id;
        assert_int_equal(columns->ops->find_trace(columns, id, got, 1024, &got_count), ERR_OK);
        assert_int_equal(body->ops->find_trace(body, id, expected, 1024, &expected_count), ERR_OK);
        if (trace_id_is_zero(id))
            continue; /* a record without one */
        assert_int_equal(got_count, expected_count);
        assert_memory_equal(got, expected, got_count * sizeof got[0]);
        total += got_count;
    }
    return total;
}

static void scans_agree(void **state)
{
    (void)state;
    size_t matches = 0, skips = 0, digest_skips = 0, body_skips = 0, found_rows = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        enum signal signal = seed % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        struct random r;
        random_init(&r, seed * 77);
        struct otlp_random_options options = { .items_max = 60, .depth_max = 4 };
        struct arena arena;
        arena_init(&arena, SIZE_MAX, NULL);
        struct buffer sent, group, rows;
        buffer_init(&sent, SIZE_MAX);
        buffer_init(&group, SIZE_MAX);
        buffer_init(&rows, SIZE_MAX);
        otlp_random(&r, signal, &options, &sent);
        assert_int_equal(testing_build(signal, buffer_bytes(&sent), &group, NULL), ERR_OK);
        struct bytes bytes = buffer_bytes(&group);
        struct rowgroup_source source = testing_source(&bytes);
        struct segment *columns, *body;
        assert_int_equal(rowgroup_segment_open(&source, &arena, &columns), ERR_OK);
        assert_int_equal(testing_read_all(columns, &arena, &rows), ERR_OK);
        assert_int_equal(body_segment_open(signal, buffer_bytes(&rows), &arena, &body), ERR_OK);
        assert_int_equal(columns->bounds.rows, body->bounds.rows);
        if (body->bounds.rows > 0) {
            assert_int_equal(columns->bounds.start_min_unix_ns, body->bounds.start_min_unix_ns);
            assert_int_equal(columns->bounds.start_max_unix_ns, body->bounds.start_max_unix_ns);
        }
        static struct found all;
        scan(columns, &arena, NULL, 0, UINT64_MAX, &all);
        found_rows += compare_finds(columns, body, &all);
        struct buffer digest, of_body;
        buffer_init(&digest, SIZE_MAX);
        buffer_init(&of_body, SIZE_MAX);
        assert_int_equal(rowgroup_digest_make(columns, ROWGROUP_DIGEST_VALUES, &digest), ERR_OK);
        assert_int_equal(rowgroup_digest_of_body(signal, buffer_bytes(&sent), &of_body), ERR_OK);
        for (unsigned n = 0; n < 400; n++) {
            struct expr *filter = random_filter(&r, &arena, (unsigned)random_below(&r, 4));
            assert_non_null(filter);
            uint64_t min = 0, max = UINT64_MAX;
            if (n % 4 == 0 && all.count > 0) {
                min = all.rows[random_below(&r, all.count)].start_unix_ns;
                max = all.rows[random_below(&r, all.count)].start_unix_ns;
            }
            size_t count = compare_scans(columns, body, &arena, filter, min, max);
            bool digest_may = rowgroup_digest_may_match(buffer_bytes(&digest), filter);
            bool body_may = rowgroup_digest_may_match(buffer_bytes(&of_body), filter);
            assert_true(count == 0 || (digest_may && body_may));
            body_skips += !body_may;
            matches += count;
            skips += !columns->ops->may_match(columns, filter, min, max);
            digest_skips += !digest_may;
        }
        columns->ops->close(columns);
        buffer_deinit(&digest);
        buffer_deinit(&of_body);
        buffer_deinit(&sent);
        buffer_deinit(&group);
        buffer_deinit(&rows);
        arena_deinit(&arena);
    }
    print_message("%zu matches, %zu skips, %zu and %zu by digests, %zu rows found by trace\n",
                  matches, skips, digest_skips, body_skips, found_rows);
    assert_true(matches > 10000 && skips > 1000 && found_rows > 100);
    assert_true(digest_skips > skips / 2); /* it knows less of what is neither equal nor there */
    assert_true(body_skips > digest_skips - digest_skips / 50 &&
                body_skips < digest_skips + digest_skips / 50); /* both have a few false hits */
}

/* ---- Bodies of many items that leave out what most others have */

enum { NAMELESS = 20000 };

static void put_attribute(struct buffer *b, uint32_t number, const char *key, const char *text)
{
    size_t attribute = pb_begin(b, number);
    pb_bytes(b, 1, bytes_text(key));
    size_t value = pb_begin(b, 2);
    pb_bytes(b, 1, bytes_text(text));
    pb_end(b, value);
    pb_end(b, attribute);
}

static void put_log(struct buffer *b, uint64_t number, bool has_name)
{
    size_t record = pb_begin(b, OTLP_SCOPE_ITEMS);
    pb_fixed64(b, 1, 1000 + number);
    if (has_name) {
        pb_bytes(b, 3, bytes_text("WARN"));
        pb_bytes(b, 12, bytes_text("checkout"));
    }
    put_attribute(b, OTLP_LOG_ATTRIBUTES, "k", "v");
    pb_end(b, record);
}

static void put_span(struct buffer *b, uint64_t number, bool has_name)
{
    uint8_t id[16];
    store_be64(id, 1);
    store_be64(id + 8, number + 1);
    size_t span = pb_begin(b, OTLP_SCOPE_ITEMS);
    pb_bytes(b, 1, bytes_of(id, 16));
    pb_bytes(b, 2, bytes_of(id + 8, 8));
    pb_fixed64(b, 7, 1000 + number);
    pb_fixed64(b, 8, 2000 + number);
    put_attribute(b, OTLP_SPAN_ATTRIBUTES, "k", "v");
    size_t event = pb_begin(b, OTLP_SPAN_EVENTS);
    pb_fixed64(b, 1, 1500 + number);
    if (has_name)
        pb_bytes(b, 2, bytes_text("checkout"));
    pb_end(b, event);
    pb_end(b, span);
}

static bool count_row(void *context, const struct segment_row *row)
{
    (void)row;
    ++*(size_t *)context;
    return true;
}

/* The digest says no where no item has the text, and never where one has it. */
static void check_nameless(struct segment *body, struct bytes digest, struct arena *arena,
                           struct expr *field, bool is_some_named)
{
    static const char *const texts[] = { "", "checkout", "WARN", "v", "nowhere" };
    size_t matches = 0, skips = 0;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        static const enum expr_op ops[] = { EXPR_EQ, EXPR_TEXT_EQ, EXPR_NE };
        for (size_t k = 0; k < sizeof ops / sizeof ops[0]; k++) {
            struct expr_value text = { .type = EXPR_STRING, .bytes = bytes_text(texts[i]) };
            const struct expr *filter = expr_binary(arena, ops[k], field, expr_const(arena, text));
            struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = arena };
            size_t count = 0;
            assert_int_equal(body->ops->scan(body, &q, filter, 0, UINT64_MAX, count_row, &count),
                             ERR_OK);
            bool may = rowgroup_digest_may_match(digest, filter);
            if (count > 0 && !may)
                print_filter(filter);
            assert_true(count == 0 || may);
            matches += ops[k] == EXPR_EQ && i > 0 ? count : 0;
            skips += !may;
        }
    }
    assert_true(skips > 0);
    assert_true(matches > 0 || !is_some_named);
}

static void nameless_items_fill_no_digest(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 4; n++) {
        enum signal signal = n % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        bool is_some_named = n >= 2;
        struct arena arena;
        arena_init(&arena, SIZE_MAX, NULL);
        struct buffer sent, digest;
        buffer_init(&sent, SIZE_MAX);
        buffer_init(&digest, SIZE_MAX);
        size_t resource = pb_begin(&sent, OTLP_DATA_RESOURCE_GROUPS);
        size_t scope = pb_begin(&sent, OTLP_GROUP_SCOPE_GROUPS);
        for (uint64_t i = 0; i < NAMELESS; i++)
            (signal == SIGNAL_TRACES ? put_span : put_log)(&sent, i,
                                                           is_some_named && i % 5000 == 4999);
        pb_end(&sent, scope);
        pb_end(&sent, resource);
        assert_int_equal(rowgroup_digest_of_body(signal, buffer_bytes(&sent), &digest), ERR_OK);
        assert_in_range(digest.len, 17, 256); /* more than its head, and a filter of few facts */
        struct segment *body;
        assert_int_equal(body_segment_open(signal, buffer_bytes(&sent), &arena, &body), ERR_OK);
        static const enum expr_intrinsic of_spans[] = { EXPR_INTRINSIC_SPAN_NAME,
                                                        EXPR_INTRINSIC_SPAN_STATUS_MESSAGE,
                                                        EXPR_INTRINSIC_EVENT_NAME };
        static const enum expr_intrinsic of_logs[] = { EXPR_INTRINSIC_LOG_EVENT_NAME,
                                                       EXPR_INTRINSIC_LOG_SEVERITY_TEXT };
        for (size_t i = 0; i < (signal == SIGNAL_TRACES ? 3 : 2); i++) {
            enum expr_intrinsic which = signal == SIGNAL_TRACES ? of_spans[i] : of_logs[i];
            bool is_named = is_some_named && (signal == SIGNAL_LOGS || i == 2);
            check_nameless(body, buffer_bytes(&digest), &arena, expr_intrinsic_field(&arena, which),
                           is_named);
        }
        check_nameless(body, buffer_bytes(&digest), &arena,
                       expr_attribute(&arena, EXPR_SCOPE_ANY, bytes_text("k")), true);
        body->ops->close(body);
        buffer_deinit(&sent);
        buffer_deinit(&digest);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scans_agree),
        cmocka_unit_test(nameless_items_fill_no_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
