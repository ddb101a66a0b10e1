/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies as segments: over random requests of every shape, also with fields out of order, rows are found
 * and read back byte for byte with what was around them; scans agree with evaluating each item by itself;
 * keys are all visited. And the content hash, which must see through another encoding of the same item and
 * see every difference in one. */
#include "base/mem.h"
#include "proto/otlp_random.h"
#include "proto/pb_writer.h"
#include "storage/content_hash.h"
#include "storage/otlp_row.h"
#include "storage/search_testing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct random random_state;
static struct arena arena;
static struct query_context q;

static int setup(void **state)
{
    (void)state;
    random_init(&random_state, 1);
    arena_init(&arena, 512u << 20, NULL);
    q = (struct query_context){ .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void random_body(enum signal signal, struct buffer *b)
{
    struct otlp_random_options options = {
        .items_max = 1 + random_below(&random_state, 12),
        .depth_max = 1 + (unsigned)random_below(&random_state, 4),
        .has_bad_utf8 = random_below(&random_state, 2) == 0,
        .has_extra_order = random_below(&random_state, 2) == 0,
    };
    buffer_init(b, 16u << 20);
    otlp_random(&random_state, signal, &options, b);
    assert_int_equal(buffer_error(b), ERR_OK);
}

static struct trace_id id_of(enum signal signal, struct bytes item)
{
    struct otlp_span span;
    struct otlp_log log;
    if (signal == SIGNAL_TRACES) {
        otlp_span_read(item, &span);
        return span.trace_id;
    }
    otlp_log_read(item, &log);
    return log.trace_id;
}

static uint64_t start_of(enum signal signal, struct bytes item)
{
    struct otlp_span span;
    struct otlp_log log;
    if (signal == SIGNAL_TRACES) {
        otlp_span_read(item, &span);
        return span.start_unix_ns;
    }
    otlp_log_read(item, &log);
    return otlp_log_time(&log);
}

static bool same_surroundings(const struct otlp_items *a, const struct otlp_items *b)
{
    return a->resource.has_resource == b->resource.has_resource &&
           bytes_equal(a->resource.resource, b->resource.resource) &&
           bytes_equal(a->resource.schema_url, b->resource.schema_url) &&
           a->scope.has_scope == b->scope.has_scope &&
           bytes_equal(a->scope.scope, b->scope.scope) &&
           bytes_equal(a->scope.schema_url, b->scope.schema_url);
}

/* A random choice of rows, read, holds exactly those items. */
static void check_read(struct segment *s, struct bytes body)
{
    uint32_t rows[64];
    size_t count = 0;
    for (uint32_t i = 0; i < s->bounds.rows && count < 64; i++) {
        if (random_below(&random_state, 2) == 0)
            rows[count++] = i;
    }
    struct buffer out;
    buffer_init(&out, 64u << 20);
    buffer_append_text(&out, ""); /* appends to what is there */
    assert_int_equal(s->ops->read(s, &q, rows, count, ROW_ALL, &out), ERR_OK);
    struct otlp_items got = otlp_items(buffer_bytes(&out)), want = otlp_items(body);
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(otlp_items_next(&got));
        while (otlp_items_next(&want) && number++ != rows[i])
            ;
        assert_true(bytes_equal(got.item, want.item));
        assert_true(same_surroundings(&got, &want));
    }
    assert_false(otlp_items_next(&got));
    buffer_deinit(&out);
}

static void check_find(struct segment *s, struct bytes body)
{
    struct otlp_items it = otlp_items(body);
    while (otlp_items_next(&it)) {
        struct trace_id id = id_of(s->bounds.signal, it.item);
        if (trace_id_is_zero(&id))
            continue;
        uint32_t rows[64], number = 0;
        size_t count = 0, at = 0;
        assert_int_equal(s->ops->find_trace(s, &id, rows, 64, &count), ERR_OK);
        struct otlp_items all = otlp_items(body);
        for (; otlp_items_next(&all); number++) {
            struct trace_id other = id_of(s->bounds.signal, all.item);
            if (memcmp(other.b, id.b, sizeof id.b) == 0)
                assert_int_equal(rows[at++], number);
        }
        assert_int_equal(at, count);
        assert_int_equal(s->ops->find_trace(s, &id, rows, 0, &at), ERR_OK);
        assert_int_equal(at, count); /* counted also without room */
    }
}

struct expected {
    enum signal signal;
    struct bytes body;
    const struct expr *filter;
    struct time_range range;
    uint64_t seen; /* rows as bits */
};

static bool on_row(void *context, const struct segment_row *row)
{
    struct expected *x = context;
    struct otlp_items it = otlp_items(x->body);
    for (uint32_t i = 0; i <= row->row; i++)
        assert_true(otlp_items_next(&it));
    struct trace_id id = id_of(x->signal, it.item);
    assert_memory_equal(id.b, row->trace_id.b, sizeof id.b);
    assert_int_equal(row->start_unix_ns, start_of(x->signal, it.item));
    assert_false(x->seen >> row->row & 1);
    x->seen |= UINT64_C(1) << row->row;
    return true;
}

static struct expr *random_filter(void)
{
    static const enum expr_intrinsic names[] = { EXPR_INTRINSIC_SPAN_NAME,
                                                 EXPR_INTRINSIC_SCOPE_NAME, EXPR_INTRINSIC_LOG_TEXT,
                                                 EXPR_INTRINSIC_TRACE_ROOT_NAME,
                                                 EXPR_INTRINSIC_EVENT_NAME };
    struct expr *parts[3];
    for (int i = 0; i < 3; i++) {
        enum expr_scope scope =
            (enum expr_scope)(1 + random_below(&random_state, EXPR_SCOPE_EVERYWHERE));
        struct expr *f =
            random_below(&random_state, 2) == 0
                ? expr_attribute(&arena, scope,
                                 random_below(&random_state, 2) == 0 ? BYTES_LITERAL("k")
                                                                     : BYTES_LITERAL("http.route"))
                : expr_intrinsic_field(&arena, names[random_below(&random_state, 5)]);
        struct expr *text = expr_const(
            &arena, (struct expr_value){ .type = EXPR_STRING, .bytes = BYTES_LITERAL("k") });
        parts[i] = random_below(&random_state, 2) == 0 ? expr_unary(&arena, EXPR_IS_NOT_NIL, f)
                                                       : expr_binary(&arena, EXPR_GE, f, text);
        if (random_below(&random_state, 4) == 0)
            parts[i] = expr_unary(&arena, EXPR_NOT, parts[i]);
    }
    enum expr_op op = random_below(&random_state, 3) == 0 ? EXPR_OR : EXPR_AND;
    return expr_binary(&arena, op, expr_binary(&arena, EXPR_AND, parts[0], parts[1]), parts[2]);
}

static void check_scan(struct segment *s, struct bytes body)
{
    uint64_t a = s->bounds.start_min_unix_ns, b = s->bounds.start_max_unix_ns;
    struct expected x = { .signal = s->bounds.signal, .body = body, .filter = random_filter() };
    x.range = (struct time_range){ a, b == UINT64_MAX ? b : b + 1 };
    if (random_below(&random_state, 3) == 0)
        x.range.max_unix_ns = b; /* without the last */
    assert_int_equal(
        s->ops->scan(s, &q, x.filter, x.range.min_unix_ns, x.range.max_unix_ns, on_row, &x),
        ERR_OK);
    struct otlp_row r;
    otlp_row_init(&r, s->bounds.signal);
    struct otlp_items it = otlp_items(body);
    for (uint32_t i = 0; otlp_items_next(&it); i++) {
        otlp_row_set(&r, it.resource.resource, it.scope.scope, it.item);
        uint64_t start = start_of(s->bounds.signal, it.item);
        bool is_in = start >= x.range.min_unix_ns && start < x.range.max_unix_ns &&
                     expr_evaluate(x.filter, &r.row) != EXPR_FALSE;
        assert_int_equal(x.seen >> i & 1, is_in);
    }
    otlp_row_deinit(&r);
}

static bool on_key(void *context, enum expr_scope scope, struct bytes key,
                   enum otlp_value_type type, uint64_t rows)
{
    size_t *count = context;
    (void)type;
    assert_true(scope != EXPR_SCOPE_INTRINSIC && scope < EXPR_SCOPE_EVERYWHERE && rows == 1);
    assert_true(key.len < 2048);
    (*count)++;
    return true;
}

static void random_bodies_read_back(void **state)
{
    (void)state;
    for (int round = 0; round < 400; round++) {
        enum signal signal = round % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        struct buffer body;
        struct segment *s;
        random_body(signal, &body);
        assert_int_equal(body_segment_open(signal, buffer_bytes(&body), &arena, &s), ERR_OK);
        assert_true(s->bounds.rows <= 64);
        check_read(s, buffer_bytes(&body));
        check_find(s, buffer_bytes(&body));
        for (int i = 0; i < 10; i++)
            check_scan(s, buffer_bytes(&body));
        size_t keys = 0;
        assert_int_equal(s->ops->keys(s, on_key, &keys), ERR_OK);
        s->ops->close(s);
        buffer_deinit(&body);
        arena_reset(&arena);
    }
}

/* The head's short walk reads what the whole one reads, wherever the fields stand. */
static void heads_equal_spans(void **state)
{
    (void)state;
    size_t spans = 0;
    for (int round = 0; round < 400; round++) {
        struct buffer body;
        random_body(SIGNAL_TRACES, &body);
        struct otlp_items it = otlp_items(buffer_bytes(&body));
        while (otlp_items_next(&it)) {
            struct otlp_span span;
            struct otlp_span_head head;
            otlp_span_read(it.item, &span);
            otlp_span_head_read(it.item, &head);
            assert_memory_equal(head.trace_id.b, span.trace_id.b, 16);
            assert_true(bytes_equal(head.name, span.name));
            assert_int_equal(head.start_unix_ns, span.start_unix_ns);
            assert_int_equal(head.end_unix_ns, span.end_unix_ns);
            assert_true(!head.has_kind || head.kind == span.kind);
            spans++;
        }
        buffer_deinit(&body);
    }
    assert_true(spans > 400);
}

/* ---- The content hash ---- */

static struct hash_key key;

/* The fields of a message in another order: repeated ones keep theirs among themselves, attributes do not
 * have to. */
static void shuffle(struct bytes message, uint32_t attributes, struct buffer *out)
{
    struct bytes fields[4096];
    uint32_t numbers[4096];
    size_t count = 0;
    struct otlp_fields f = otlp_fields(message);
    struct otlp_field field;
    const uint8_t *from = f.at;
    while (count < 4096 && otlp_fields_next(&f, &field)) {
        numbers[count] = field.number;
        fields[count++] = bytes_of(from, (size_t)(f.at - from));
        from = f.at;
    }
    for (size_t i = count; i-- > 1;) {
        size_t j = random_below(&random_state, i + 1);
        bool crosses = false; /* two of one repeated field, whose order counts */
        for (size_t k = j; k <= i && !crosses; k++)
            for (size_t l = k + 1; l <= i && !crosses; l++)
                crosses = numbers[k] == numbers[l] && numbers[k] != attributes;
        if (crosses)
            continue;
        struct bytes t = fields[i];
        uint32_t n = numbers[i];
        fields[i] = fields[j];
        numbers[i] = numbers[j];
        fields[j] = t;
        numbers[j] = n;
    }
    for (size_t i = 0; i < count; i++)
        buffer_append_bytes(out, fields[i]);
}

static void encodings_of_one_item_hash_alike(void **state)
{
    (void)state;
    uint8_t seed[32] = { 7 };
    hash_key_derive(seed, &key);
    struct hash128 group = { 1, 2 };
    size_t moved = 0;
    for (int round = 0; round < 300; round++) {
        enum signal signal = round % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        uint32_t attributes = signal == SIGNAL_TRACES ? OTLP_SPAN_ATTRIBUTES : OTLP_LOG_ATTRIBUTES;
        struct buffer body, other;
        random_body(signal, &body);
        buffer_init(&other, 16u << 20);
        struct otlp_items it = otlp_items(buffer_bytes(&body));
        while (otlp_items_next(&it)) {
            buffer_reset(&other);
            shuffle(it.item, attributes, &other);
            assert_int_equal(other.len, it.item.len);
            moved += !bytes_equal(buffer_bytes(&other), it.item);
            assert_true(
                hash128_equal(content_hash_item(&key, signal, group, it.item),
                              content_hash_item(&key, signal, group, buffer_bytes(&other))));
            struct hash128 g =
                content_hash_group(&key, it.resource.resource, it.resource.schema_url,
                                   it.scope.scope, it.scope.schema_url);
            assert_true(hash128_equal(content_hash(&key, signal, &it),
                                      content_hash_item(&key, signal, g, it.item)));
            assert_false(hash128_equal(content_hash_item(&key, signal, g, it.item),
                                       content_hash_item(&key, signal, group, it.item)));
        }
        buffer_deinit(&body);
        buffer_deinit(&other);
    }
    assert_true(moved > 100);
}

/* Change one byte at a time of a span that has everything: where it still is canonical and reads otherwise,
 * the hash is another. */
static void put_everything(struct buffer *b)
{
    pb_bytes(b, 1, BYTES_LITERAL("0123456789abcdef"));
    pb_bytes(b, 2, BYTES_LITERAL("01234567"));
    pb_bytes(b, 3, BYTES_LITERAL("state"));
    pb_bytes(b, 4, BYTES_LITERAL("parentid"));
    pb_bytes(b, 5, BYTES_LITERAL("name"));
    pb_uint(b, 6, 2);
    pb_fixed64(b, 7, 1000);
    pb_fixed64(b, 8, 2000);
    test_attribute_text(b, 9, "k", "v");
    test_attribute_int(b, 9, "i", 5);
    pb_uint(b, 10, 3);
    size_t event = pb_begin(b, 11);
    pb_fixed64(b, 1, 1500);
    pb_bytes(b, 2, BYTES_LITERAL("event"));
    test_attribute_text(b, 3, "e", "w");
    pb_uint(b, 4, 1);
    pb_end(b, event);
    pb_uint(b, 12, 4);
    size_t link = pb_begin(b, 13);
    pb_bytes(b, 1, BYTES_LITERAL("fedcba9876543210"));
    pb_bytes(b, 2, BYTES_LITERAL("76543210"));
    pb_bytes(b, 3, BYTES_LITERAL("other"));
    test_attribute_int(b, 4, "l", 6);
    pb_uint(b, 5, 2);
    pb_fixed32(b, 6, 9);
    pb_end(b, link);
    pb_uint(b, 14, 5);
    size_t status = pb_begin(b, 15);
    pb_bytes(b, 2, BYTES_LITERAL("message"));
    pb_uint(b, 3, 2);
    pb_end(b, status);
    pb_fixed32(b, 16, 257);
}

/* The offsets of bytes that are values, not tags or lengths: those of the leaves. */
static size_t mark_leaves(struct bytes message, uint32_t path, const uint8_t *base, bool *is_leaf)
{
    size_t leaves = 0;
    struct otlp_fields f = otlp_fields(message);
    struct otlp_field field;
    while (otlp_fields_next(&f, &field)) {
        uint32_t here = path * 100 + field.number;
        bool is_message = here == 9 || here == 902 || here == 11 || here == 1103 ||
                          here == 110302 || here == 13 || here == 1304 || here == 130402 ||
                          here == 15;
        if (is_message) {
            leaves += mark_leaves(field.bytes, here, base, is_leaf);
            continue;
        }
        size_t len = field.wire_type == 2   ? field.bytes.len
                     : field.wire_type == 1 ? 8
                     : field.wire_type == 5 ? 4
                                            : 1;
        for (size_t i = 0; i < len; i++)
            is_leaf[(size_t)(f.at - base) - len + i] = true;
        leaves += len;
    }
    return leaves;
}

static void every_byte_of_a_span_counts(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1u << 16);
    put_everything(&b);
    bool is_leaf[1024] = { false };
    size_t leaves = mark_leaves(buffer_bytes(&b), 0, b.data, is_leaf);
    assert_true(leaves > 120);
    struct hash128 group = { 1, 2 };
    struct hash128 before = content_hash_item(&key, SIGNAL_TRACES, group, buffer_bytes(&b));
    for (size_t i = 0; i < b.len; i++) {
        if (!is_leaf[i])
            continue;
        b.data[i] ^= 1;
        if (hash128_equal(content_hash_item(&key, SIGNAL_TRACES, group, buffer_bytes(&b)), before))
            fail_msg("byte %zu does not count", i);
        b.data[i] ^= 1;
    }
    buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_bodies_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(heads_equal_spans, setup, teardown),
        cmocka_unit_test_setup_teardown(encodings_of_one_item_hash_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_of_a_span_counts, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
