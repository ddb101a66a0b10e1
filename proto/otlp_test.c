/* SPDX-License-Identifier: Apache-2.0 */
/* That the readers return what was written: every field, items in their groups in any order, values as
 * text. Also that they stop early, and never read outside, on bytes that nobody has checked. */
#include "proto/otlp.h"
#include "proto/otlp_random.h"
#include "proto/pb_nest.h"
#include "proto/pb_writer.h"

#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void attribute_put(struct buffer *b, uint32_t field, const char *key, const char *value)
{
    size_t kv = pb_begin(b, field);
    pb_bytes(b, 1, bytes_text(key));
    size_t any = pb_begin(b, 2);
    pb_bytes(b, OTLP_STRING, bytes_text(value));
    pb_end(b, any);
    pb_end(b, kv);
}

static void span_fields(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1u << 16);
    const uint8_t id[24] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18 };
    pb_fixed32(&b, 16, 0x301);
    size_t status = pb_begin(&b, 15);
    pb_bytes(&b, 2, BYTES_LITERAL("boom"));
    pb_uint(&b, 3, 2);
    pb_end(&b, status);
    pb_uint(&b, 14, 7);
    pb_bytes(&b, 13, (struct bytes){ 0 });
    pb_uint(&b, 12, 6);
    pb_bytes(&b, 11, (struct bytes){ 0 });
    pb_bytes(&b, 11, (struct bytes){ 0 });
    pb_uint(&b, 10, 5);
    attribute_put(&b, 9, "a", "first");
    attribute_put(&b, 9, "a", "second");
    attribute_put(&b, 9, "b", "third");
    pb_fixed64(&b, 8, 200);
    pb_fixed64(&b, 7, 50);
    pb_uint(&b, 6, 4);
    pb_bytes(&b, 5, BYTES_LITERAL("name"));
    pb_bytes(&b, 4, bytes_of(id + 10, 8));
    pb_bytes(&b, 3, BYTES_LITERAL("state"));
    pb_bytes(&b, 2, bytes_of(id + 8, 8));
    pb_bytes(&b, 1, bytes_of(id, 16));

    struct otlp_span s;
    otlp_span_read(buffer_bytes(&b), &s);
    assert_memory_equal(s.trace_id.b, id, 16);
    assert_memory_equal(s.span_id.b, id + 8, 8);
    assert_true(s.has_parent);
    assert_memory_equal(s.parent_span_id.b, id + 10, 8);
    assert_true(bytes_equal_text(s.trace_state, "state"));
    assert_true(bytes_equal_text(s.name, "name"));
    assert_int_equal(s.kind, 4);
    assert_int_equal(s.start_unix_ns, 50);
    assert_int_equal(otlp_span_duration_ns(&s), 150);
    assert_int_equal(s.flags, 0x301);
    assert_true(s.status.is_present && s.status.code == 2);
    assert_true(bytes_equal_text(s.status.message, "boom"));
    assert_int_equal(s.dropped_attributes_count, 5);
    assert_int_equal(s.dropped_events_count, 6);
    assert_int_equal(s.dropped_links_count, 7);
    assert_int_equal(s.attributes_count, 3);
    assert_int_equal(s.events_count, 2);
    assert_int_equal(s.links_count, 1);

    struct otlp_value v;
    assert_true(otlp_attribute_find(s.message, OTLP_SPAN_ATTRIBUTES, BYTES_LITERAL("a"), &v));
    assert_true(v.type == OTLP_STRING && bytes_equal_text(v.bytes, "first"));
    assert_false(otlp_attribute_find(s.message, OTLP_SPAN_ATTRIBUTES, BYTES_LITERAL("c"), &v));

    otlp_span_read((struct bytes){ 0 }, &s);
    assert_false(s.has_parent || s.status.is_present);
    assert_true(trace_id_is_zero(&s.trace_id));
    buffer_deinit(&b);
}

/* Two resource groups; in the first the resource comes last, and groups without items lie between. */
static void items_in_groups(void **state)
{
    (void)state;
    struct buffer b;
    buffer_init(&b, 1u << 16);
    size_t data = pb_begin(&b, 1);
    pb_bytes(&b, 2, (struct bytes){ 0 });
    size_t group = pb_begin(&b, 2);
    pb_bytes(&b, 2, BYTES_LITERAL("\x2a\x01x"));
    pb_bytes(&b, 2, BYTES_LITERAL("\x2a\x01y"));
    pb_bytes(&b, 3, BYTES_LITERAL("scope url"));
    pb_end(&b, group);
    size_t resource = pb_begin(&b, 1);
    attribute_put(&b, 1, "service.name", "shop");
    pb_end(&b, resource);
    pb_end(&b, data);
    pb_bytes(&b, 1, (struct bytes){ 0 });
    data = pb_begin(&b, 1);
    pb_bytes(&b, 3, BYTES_LITERAL("resource url"));
    group = pb_begin(&b, 2);
    size_t scope = pb_begin(&b, 1);
    pb_bytes(&b, 1, BYTES_LITERAL("lib"));
    pb_end(&b, scope);
    pb_bytes(&b, 2, BYTES_LITERAL("\x2a\x01z"));
    pb_end(&b, group);
    pb_end(&b, data);
    assert_int_equal(buffer_error(&b), ERR_OK);

    static const struct {
        const char *name, *service, *scope_url, *resource_url, *scope;
        bool is_new;
    } wanted[] = {
        { "x", "shop", "scope url", "", "", true },
        { "y", "shop", "scope url", "", "", false },
        { "z", "", "", "resource url", "lib", true },
    };
    struct otlp_items it = otlp_items(buffer_bytes(&b));
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct otlp_span span;
        struct otlp_scope s;
        assert_true(otlp_items_next(&it));
        otlp_span_read(it.item, &span);
        otlp_scope_read(it.scope.scope, &s);
        assert_true(bytes_equal_text(span.name, wanted[i].name));
        assert_true(bytes_equal_text(otlp_service_name(it.resource.resource), wanted[i].service));
        assert_true(bytes_equal_text(it.scope.schema_url, wanted[i].scope_url));
        assert_true(bytes_equal_text(it.resource.schema_url, wanted[i].resource_url));
        assert_true(bytes_equal_text(s.name, wanted[i].scope));
        assert_int_equal(it.is_new_resource, wanted[i].is_new);
        assert_int_equal(it.is_new_scope, wanted[i].is_new);
    }
    assert_false(otlp_items_next(&it));
    assert_false(otlp_items_next(&it));
    buffer_deinit(&b);
}

static void value_as_text(void **state)
{
    (void)state;
    static const struct {
        struct otlp_value value;
        const char *text;
    } cases[] = {
        { { .type = OTLP_EMPTY }, "" },
        { { .type = OTLP_STRING, .bytes = BYTES_LITERAL("a \"b\"") }, "a \"b\"" },
        { { .type = OTLP_BOOL, .boolean = true }, "true" },
        { { .type = OTLP_BOOL }, "false" },
        { { .type = OTLP_INT, .integer = INT64_MIN }, "-9223372036854775808" },
        { { .type = OTLP_DOUBLE, .number = 0.5 }, "0.5" },
        { { .type = OTLP_DOUBLE, .number = (double)NAN }, "NaN" },
        { { .type = OTLP_DOUBLE, .number = (double)INFINITY }, "Infinity" },
        { { .type = OTLP_DOUBLE, .number = -(double)INFINITY }, "-Infinity" },
        { { .type = OTLP_BYTES, .bytes = BYTES_LITERAL("\x01\x02") }, "AQI=" },
        { { .type = OTLP_ARRAY }, "[]" },
        { { .type = OTLP_KVLIST }, "{}" },
        /* [ {}, "x", b'\1', NaN, [ -1 ] ] */
        { { .type = OTLP_ARRAY,
            .bytes = BYTES_LITERAL("\x0a\x00"
                                   "\x0a\x03\x0a\x01x"
                                   "\x0a\x03\x3a\x01\x01"
                                   "\x0a\x09\x21\x00\x00\x00\x00\x00\x00\xf8\x7f"
                                   "\x0a\x06\x2a\x04\x0a\x02\x10\x01") },
          "[null,\"x\",\"AQ==\",\"NaN\",[true]]" },
        { { .type = OTLP_KVLIST,
            .bytes = BYTES_LITERAL("\x0a\x08\x0a\x01k\x12\x03\x0a\x01v"
                                   "\x0a\x03\x0a\x01n") },
          "{\"k\":\"v\",\"n\":null}" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        buffer_init(&out, 4096);
        otlp_value_text(&out, &cases[i].value);
        assert_int_equal(buffer_error(&out), ERR_OK);
        if (!bytes_equal_text(buffer_bytes(&out), cases[i].text))
            print_error("%zu: %.*s\n", i, (int)out.len, (const char *)out.data);
        assert_true(bytes_equal_text(buffer_bytes(&out), cases[i].text));
        buffer_deinit(&out);
    }
}

/* Copied to a block of exactly its size, so that a sanitizer sees each step outside. */
static void read_everything(enum signal signal, struct bytes from)
{
    uint8_t *block = mem_alloc(from.len);
    assert_non_null(block);
    memcpy(block, from.data, from.len);
    struct otlp_items it = otlp_items(bytes_of(block, from.len));
    while (otlp_items_next(&it)) {
        struct otlp_span span;
        struct otlp_log log;
        struct otlp_value value;
        if (signal == SIGNAL_TRACES) {
            otlp_span_read(it.item, &span);
        } else {
            otlp_log_read(it.item, &log);
            otlp_value_read(log.body, &value);
        }
        (void)otlp_service_name(it.resource.resource);
        (void)otlp_attribute_find(it.item, OTLP_SPAN_ATTRIBUTES, BYTES_LITERAL("k"), &value);
        assert_true(it.item.data >= block && it.item.data + it.item.len <= block + from.len);
    }
    mem_free(block);
}

static void readers_stay_inside(void **state)
{
    (void)state;
    struct random random;
    struct buffer b;
    random_init(&random, 11);
    buffer_init(&b, 1u << 20);
    for (unsigned i = 0; i < 4000; i++) {
        const struct otlp_random_options options = { .items_max = 2,
                                                     .depth_max = 3,
                                                     .is_strange = i % 2 == 0 };
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        buffer_reset(&b);
        otlp_random(&random, signal, &options, &b);
        otlp_random_break(&random, &b, 0);
        if (b.len > 0)
            read_everything(signal, buffer_bytes(&b));
    }
    /* One request, cut at every byte. */
    const struct otlp_random_options options = { .items_max = 3, .depth_max = 3 };
    do {
        buffer_reset(&b);
        otlp_random(&random, SIGNAL_TRACES, &options, &b);
    } while (b.len < 1000);
    for (size_t len = 1; len <= b.len; len++)
        read_everything(SIGNAL_TRACES, bytes_slice(buffer_bytes(&b), 0, len));
    buffer_deinit(&b);
}

/* Lengths around each width, some levels deep, against what is written with lengths known before. */
static void nested_lengths(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0,   1,     120,   125,   126,     127,
                                    128, 16370, 16380, 16384, 2097140, 2097152 };
    static uint8_t filling[2097152];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t cut = 0; cut < 3; cut++) {
            struct buffer nested, plain, inner;
            struct pb_nest n;
            buffer_init(&nested, 1u << 23);
            buffer_init(&plain, 1u << 23);
            buffer_init(&inner, 1u << 23);
            size_t cut_len = cut < sizes[i] ? cut : 0;
            pb_nest_init(&n, &nested);
            for (uint32_t level = 0; level < 12; level++) {
                pb_nest_begin(&n, level + 1);
                pb_uint(&nested, 20, level);
            }
            pb_nest_begin(&n, 13);
            buffer_append(&nested, filling, sizes[i]);
            pb_nest_end(&n);
            nested.len -= cut_len; /* the end of a message may be taken back, as limits do */
            for (uint32_t level = 12; level > 0; level--) {
                pb_uint(&nested, 21, level);
                pb_nest_end(&n);
            }
            assert_int_equal(buffer_error(&nested), ERR_OK);

            pb_bytes(&inner, 13, bytes_of(filling, sizes[i]));
            inner.len -= cut_len;
            for (uint32_t level = 12; level > 0; level--) {
                buffer_reset(&plain);
                pb_uint(&plain, 20, level - 1);
                buffer_append_bytes(&plain, buffer_bytes(&inner));
                pb_uint(&plain, 21, level);
                buffer_reset(&inner);
                pb_bytes(&inner, level, buffer_bytes(&plain));
            }
            assert_int_equal(nested.len, inner.len);
            assert_true(bytes_equal(buffer_bytes(&nested), buffer_bytes(&inner)));
            buffer_deinit(&nested);
            buffer_deinit(&plain);
            buffer_deinit(&inner);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(span_fields),    cmocka_unit_test(items_in_groups),
        cmocka_unit_test(value_as_text),  cmocka_unit_test(readers_stay_inside),
        cmocka_unit_test(nested_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
