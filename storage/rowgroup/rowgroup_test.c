/* SPDX-License-Identifier: Apache-2.0 */
/* What is put into a row group comes out of it as it was: random requests with every field and
 * value type are built, read back and compared item by item, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/otlp_random.h"
#include "proto/pb_writer.h"
#include "storage/derive/derive_span.h"
#include "storage/rowgroup/rowgroup_testing.h"

#include <stdio.h>

static void assert_lossless(enum signal signal, struct bytes body, uint32_t duplicates)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX, NULL);
    struct buffer group, read;
    buffer_init(&group, SIZE_MAX);
    buffer_init(&read, SIZE_MAX);
    struct rowgroup_summary summary;
    assert_int_equal(testing_build(signal, body, &group, &summary), ERR_OK);

    struct bytes bytes = buffer_bytes(&group);
    struct rowgroup_source source = testing_source(&bytes);
    struct segment *s;
    assert_int_equal(rowgroup_segment_open(&source, &arena, &s), ERR_OK);
    assert_int_equal(testing_read_all(s, &arena, &read), ERR_OK);
    struct hash128 *sent, *got;
    size_t sent_count, got_count;
    assert_int_equal(testing_items(signal, body, &arena, &sent, &sent_count), ERR_OK);
    assert_int_equal(testing_items(signal, buffer_bytes(&read), &arena, &got, &got_count), ERR_OK);
    assert_int_equal(summary.duplicates, duplicates);
    assert_int_equal(summary.rows, got_count);
    assert_int_equal(s->bounds.rows, got_count);
    assert_int_equal(sent_count, got_count + duplicates);
    if (duplicates == 0)
        assert_memory_equal(sent, got, got_count * sizeof *got);
    struct err_note note;
    assert_int_equal(rowgroup_verify(bytes, &note), ERR_OK);
    s->ops->close(s);
    buffer_deinit(&group);
    buffer_deinit(&read);
    arena_deinit(&arena);
}

static void many_chunks_come_back(void **state)
{
    (void)state;
    for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
        struct random r;
        struct otlp_random_options options = { .items_max = 400, .depth_max = 3 };
        struct buffer body;
        random_init(&r, 5 + signal);
        buffer_init(&body, SIZE_MAX);
        struct otlp_items it;
        size_t items = 0;
        while (items < 10000) { /* messages concatenate */
            size_t before = body.len;
            otlp_random(&r, (enum signal)signal, &options, &body);
            it = otlp_items(bytes_of(body.data + before, body.len - before));
            while (otlp_items_next(&it))
                items++;
        }
        assert_lossless((enum signal)signal, buffer_bytes(&body), 0);
        buffer_deinit(&body);
    }
}

static void random_requests_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
            struct random r;
            random_init(&r, seed);
            struct otlp_random_options options = { .items_max = seed % 10 == 0 ? 600 : 40,
                                                   .depth_max = 6,
                                                   .has_bad_utf8 = seed % 3 == 0 };
            struct buffer body;
            buffer_init(&body, SIZE_MAX);
            otlp_random(&r, (enum signal)signal, &options, &body);
            assert_int_equal(buffer_error(&body), ERR_OK);
            assert_lossless((enum signal)signal, buffer_bytes(&body), 0);
            buffer_deinit(&body);
        }
    }
}

/* ---- Boundaries: bodies made by hand */

struct maker {
    struct buffer body;
    size_t resource_mark, scope_mark;
};

static void maker_begin(struct maker *m, const char *service)
{
    m->resource_mark = pb_begin(&m->body, 1);
    size_t resource = pb_begin(&m->body, 1);
    size_t pair = pb_begin(&m->body, 1);
    pb_bytes(&m->body, 1, BYTES_LITERAL("service.name"));
    size_t value = pb_begin(&m->body, 2);
    pb_bytes(&m->body, 1, bytes_text(service));
    pb_end(&m->body, value);
    pb_end(&m->body, pair);
    pb_end(&m->body, resource);
    m->scope_mark = pb_begin(&m->body, 2);
}

static void maker_end(struct maker *m)
{
    pb_end(&m->body, m->scope_mark);
    pb_end(&m->body, m->resource_mark);
}

static void id_put(struct buffer *b, uint32_t field, uint64_t id, size_t len)
{
    uint8_t raw[16] = { 0 };
    store_be64(raw + len - 8, id);
    pb_bytes(b, field, bytes_of(raw, len));
}

static void text_put(struct buffer *b, uint32_t field, struct bytes key, struct bytes text)
{
    size_t pair = pb_begin(b, field);
    pb_bytes(b, 1, key);
    size_t value = pb_begin(b, 2);
    pb_bytes(b, 1, text);
    pb_end(b, value);
    pb_end(b, pair);
}

/* A span up to its name; the caller adds what follows and ends it. */
static size_t span_begin_kind(struct buffer *b, uint64_t trace, uint64_t id, uint64_t parent,
                              uint64_t start, uint32_t kind)
{
    size_t mark = pb_begin(b, 2);
    id_put(b, 1, trace, 16);
    id_put(b, 2, id, 8);
    if (parent != 0)
        id_put(b, 4, parent, 8);
    pb_bytes(b, 5, BYTES_LITERAL("op"));
    if (kind != 0)
        pb_uint(b, 6, kind);
    pb_fixed64(b, 7, start);
    pb_fixed64(b, 8, start + 10);
    return mark;
}

static size_t span_begin(struct buffer *b, uint64_t trace, uint64_t id, uint64_t parent,
                         uint64_t start)
{
    return span_begin_kind(b, trace, id, parent, start, 0);
}

static void maker_check(struct maker *m, uint32_t duplicates)
{
    assert_int_equal(buffer_error(&m->body), ERR_OK);
    assert_lossless(SIGNAL_TRACES, buffer_bytes(&m->body), duplicates);
    buffer_reset(&m->body);
}

static void boundaries(void **state)
{
    (void)state;
    struct maker m;
    buffer_init(&m.body, SIZE_MAX);
    maker_check(&m, 0); /* no rows at all */

    maker_begin(&m, "a");
    maker_end(&m);
    maker_check(&m, 0); /* envelopes alone */

    maker_begin(&m, "a");
    pb_end(&m.body, span_begin(&m.body, 1, 1, 0, 5));
    maker_end(&m);
    maker_check(&m, 0); /* one row */

    /* Chunks: one short of full, full, one over; one trace of all rows, whose parents lie before, after, in
     * another chunk, nowhere, and at the span itself. */
    static const uint32_t counts[] = { 4095, 4096, 4097, 6000 };
    for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
        uint32_t rows = counts[n];
        maker_begin(&m, "a");
        for (uint32_t i = 1; i <= rows; i++) {
            uint64_t parent = i % 5 == 0   ? 1
                              : i % 5 == 1 ? i
                              : i % 5 == 2 ? i + 1
                              : i % 5 == 3 ? 1u << 30
                                           : i - 1;
            pb_end(&m.body, span_begin(&m.body, 7, i, parent, i * 3));
        }
        maker_end(&m);
        maker_check(&m, 0);
    }

    /* Times that wrap, that come before, that are not there. */
    static const uint64_t times[] = { 0, 1, UINT64_MAX, UINT64_C(1) << 63, 1000 };
    maker_begin(&m, "a");
    for (uint32_t i = 0; i < 25; i++) {
        size_t mark = pb_begin(&m.body, 2);
        id_put(&m.body, 1, 3, 16);
        id_put(&m.body, 2, i + 1, 8);
        pb_fixed64(&m.body, 7, times[i % 5]);
        pb_fixed64(&m.body, 8, times[i / 5]);
        size_t event = pb_begin(&m.body, 11);
        pb_fixed64(&m.body, 1, times[(i + 1) % 5]);
        pb_end(&m.body, event);
        pb_end(&m.body, mark);
    }
    maker_end(&m);
    maker_check(&m, 0);

    /* 1,024 attributes, one key many times, values on both sides of the inline limit, and giants. */
    uint8_t *giant = mem_zalloc(1 << 20);
    for (size_t i = 0; i < 1 << 20; i++)
        giant[i] = (uint8_t)(random_mix64(i) >> 13);
    static const size_t lengths[] = { 0, 1, 4095, 4096, 4097, 100000, 1 << 20, 4097, 3 };
    maker_begin(&m, "a");
    for (uint32_t i = 0; i < 9; i++) {
        size_t mark = span_begin(&m.body, i % 2, i + 1, 0, i);
        for (uint32_t k = 0; k < (i == 4 ? 1024u : 3u); k++) {
            char key[16];
            int len = snprintf(key, sizeof key, "key%u", k < 900 ? k : 900);
            text_put(&m.body, 9, bytes_of(key, (size_t)len),
                     bytes_of(giant + k, lengths[(i + k) % 5]));
        }
        text_put(&m.body, 9, BYTES_LITERAL("giant"), bytes_of(giant, lengths[i]));
        pb_end(&m.body, mark);
    }
    maker_end(&m);
    maker_check(&m, 0);
    mem_free(giant);

    /* A shape, a key and a name of its own for each row; and many services. */
    for (uint32_t i = 0; i < 3000; i++) {
        char word[32];
        int len = snprintf(word, sizeof word, "word-%u", i);
        if (i % 100 == 0)
            maker_begin(&m, word);
        size_t mark = span_begin(&m.body, random_mix64(i) | 1, i + 1, 0, random_mix64(i + 1));
        text_put(&m.body, 9, bytes_of(word, (size_t)len), bytes_of(word, (size_t)len));
        pb_end(&m.body, mark);
        if (i % 100 == 99)
            maker_end(&m);
    }
    maker_check(&m, 0);
    buffer_deinit(&m.body);
}

/* Two traces whose IDs agree in their upper halves, span by span in turn: each is one run of rows, not many. */
static void ids_of_equal_upper_halves(void **state)
{
    (void)state;
    struct maker m;
    buffer_init(&m.body, SIZE_MAX);
    maker_begin(&m, "a");
    for (uint32_t i = 0; i < 64; i++)
        pb_end(&m.body, span_begin(&m.body, 1 + i % 2, 1 + i, 0, 1000 - i));
    maker_end(&m);
    struct buffer group;
    buffer_init(&group, SIZE_MAX);
    struct rowgroup_summary summary;
    assert_int_equal(testing_build(SIGNAL_TRACES, buffer_bytes(&m.body), &group, &summary), ERR_OK);
    assert_int_equal(summary.rows, 64);
    assert_int_equal(summary.traces, 2);
    buffer_deinit(&group);
    buffer_deinit(&m.body);
}

static void nested_put(struct buffer *b, unsigned depth)
{
    size_t marks[64];
    for (unsigned i = 0; i < depth; i++)
        marks[i] = pb_begin(b, i % 2 == 0 ? 2 : 5); /* any value, array */
    for (unsigned i = depth; i-- > 0;)
        pb_end(b, marks[i]);
}

static void empty_is_not_absent(void **state)
{
    (void)state;
    /* Resource, scope, status, value and event: absent, empty, and with something in them. */
    struct maker m;
    buffer_init(&m.body, SIZE_MAX);
    for (unsigned way = 0; way < 32; way++) {
        size_t resource = pb_begin(&m.body, 1);
        if ((way & 1) != 0)
            pb_end(&m.body, pb_begin(&m.body, 1));
        size_t scope = pb_begin(&m.body, 2);
        if ((way & 2) != 0)
            pb_end(&m.body, pb_begin(&m.body, 1));
        size_t span = span_begin(&m.body, 1, way + 1, 0, 1);
        size_t pair = pb_begin(&m.body, 9);
        pb_bytes(&m.body, 1, BYTES_LITERAL("k"));
        if ((way & 4) != 0)
            pb_end(&m.body, pb_begin(&m.body, 2));
        pb_end(&m.body, pair);
        size_t nested = pb_begin(&m.body, 9);
        pb_bytes(&m.body, 1, BYTES_LITERAL("deep"));
        nested_put(&m.body, way * 2);
        pb_end(&m.body, nested);
        if ((way & 8) != 0)
            pb_end(&m.body, pb_begin(&m.body, 11));
        if ((way & 16) != 0)
            pb_end(&m.body, pb_begin(&m.body, 15));
        pb_end(&m.body, span);
        if ((way & 2) == 0)
            pb_bytes(&m.body, 3, BYTES_LITERAL("scope schema"));
        pb_end(&m.body, scope);
        if ((way & 1) == 0)
            pb_bytes(&m.body, 3, BYTES_LITERAL("resource schema"));
        pb_end(&m.body, resource);
    }
    maker_check(&m, 0);
    buffer_deinit(&m.body);
}

/* ---- Duplicates */

static void equal_spans_are_kept_once(void **state)
{
    (void)state;
    struct maker m;
    buffer_init(&m.body, SIZE_MAX);
    for (unsigned copy = 0; copy < 3; copy++) {
        maker_begin(&m, "a");
        for (unsigned i = 1; i <= 40; i++) {
            size_t mark = span_begin(&m.body, i % 2, i, 0, 100 + i);
            text_put(&m.body, 9, copy == 1 ? BYTES_LITERAL("x") : BYTES_LITERAL("y"),
                     BYTES_LITERAL("1"));
            text_put(&m.body, 9, BYTES_LITERAL("z"), BYTES_LITERAL("2"));
            pb_end(&m.body, mark);
        }
        maker_end(&m);
    }
    maker_check(&m, 40); /* the second copy differs: changed resends are kept */
    for (unsigned copy = 0; copy < 2; copy++) {
        maker_begin(&m, copy == 0 ? "client" : "server"); /* one ID, two services */
        pb_end(&m.body, span_begin(&m.body, 1, 1, 0, 100));
        maker_end(&m);
    }
    maker_check(&m, 0);
    for (unsigned copy = 0; copy < 2; copy++) {
        maker_begin(&m, "a"); /* attributes are a map: their order does not tell spans apart */
        size_t mark = span_begin(&m.body, 1, 1, 0, 100);
        text_put(&m.body, 9, copy == 0 ? BYTES_LITERAL("x") : BYTES_LITERAL("y"),
                 BYTES_LITERAL("1"));
        text_put(&m.body, 9, copy == 0 ? BYTES_LITERAL("y") : BYTES_LITERAL("x"),
                 BYTES_LITERAL("1"));
        pb_end(&m.body, mark);
        maker_end(&m);
    }
    maker_check(&m, 1);
    buffer_deinit(&m.body);
}

struct stored {
    struct hash128 content;
    uint64_t asked;
};

static bool is_stored(void *context, const struct trace_id *trace_id, const struct span_id *span_id,
                      struct hash128 content)
{
    struct stored *s = context;
    assert_int_equal(load_be64(trace_id->b + 8), 1);
    s->asked |= UINT64_C(1) << load_be64(span_id->b);
    return hash128_equal(content, s->content);
}

static void what_is_stored_elsewhere_is_dropped(void **state)
{
    (void)state;
    struct maker m;
    struct buffer out;
    buffer_init(&m.body, SIZE_MAX);
    buffer_init(&out, SIZE_MAX);
    maker_begin(&m, "a");
    for (unsigned i = 1; i <= 5; i++)
        pb_end(&m.body, span_begin(&m.body, 1, i, 0, 100 + i));
    maker_end(&m);
    struct otlp_items it = otlp_items(buffer_bytes(&m.body));
    struct stored stored = { 0 };
    for (unsigned i = 1; i <= 3 && otlp_items_next(&it); i++)
        stored.content = rowgroup_content_hash(testing_key(), SIGNAL_TRACES, &it);
    struct rowgroup_options options = { .signal = SIGNAL_TRACES, .content_key = testing_key() };
    struct rowgroup_builder *b;
    struct rowgroup_summary summary;
    assert_int_equal(rowgroup_builder_open(&options, &b), ERR_OK);
    assert_int_equal(rowgroup_builder_add(b, buffer_bytes(&m.body)), ERR_OK);
    assert_int_equal(rowgroup_builder_rows(b), 5);
    struct trace_id third_trace;
    struct span_id third_span;
    struct hash128 third;
    rowgroup_builder_ids(b, 2, &third_trace, &third_span);
    assert_int_equal(load_be64(third_trace.b + 8), 1);
    assert_int_equal(load_be64(third_span.b), 3);
    assert_int_equal(rowgroup_builder_content(b, 2, &third), ERR_OK);
    assert_true(hash128_equal(third, stored.content));
    assert_int_equal(rowgroup_builder_finish(b, is_stored, &stored, &out, &summary), ERR_OK);
    assert_int_equal(summary.rows, 4);
    assert_int_equal(summary.duplicates, 1);
    assert_int_equal(summary.traces, 1);
    assert_int_equal(stored.asked, 0x3e);
    assert_int_equal(summary.start_min_unix_ns, 101);
    assert_int_equal(summary.start_max_unix_ns, 105);
    assert_int_equal(summary.end_max_unix_ns, 115);
    assert_int_equal(summary.operations_count, 1);
    assert_true(bytes_equal_text(summary.operations[0].service, "a"));
    assert_true(bytes_equal_text(summary.operations[0].name, "op"));
    assert_int_equal(summary.operations[0].spans, 4);
    struct trace_id id = { { [15] = 1 } };
    assert_true(trace_filter_may_contain(summary.trace_filter, &id));
    rowgroup_builder_close(b);
    buffer_deinit(&m.body);
    buffer_deinit(&out);
}

/* One builder for many groups: nothing of the one before shows in the next, but for how columns of
 * hundreds of integers are written. */
static void builders_are_used_again(void **state)
{
    (void)state;
    for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
        struct rowgroup_options options = { .signal = (enum signal)signal,
                                            .content_key = testing_key() };
        struct rowgroup_builder *b;
        assert_int_equal(rowgroup_builder_open(&options, &b), ERR_OK);
        for (uint64_t seed = 1; seed <= 30; seed++) {
            struct random r;
            random_init(&r, seed);
            struct otlp_random_options random = { .items_max = 50, .depth_max = 4 };
            struct buffer bodies[2], again, fresh;
            struct rowgroup_summary summary;
            buffer_init(&again, SIZE_MAX);
            buffer_init(&fresh, SIZE_MAX);
            for (unsigned i = 0; i < 2; i++) {
                buffer_init(&bodies[i], SIZE_MAX);
                otlp_random(&r, (enum signal)signal, &random, &bodies[i]);
            }
            rowgroup_builder_reset(b);
            for (unsigned i = 0; i < 2; i++)
                assert_int_equal(rowgroup_builder_add(b, buffer_bytes(&bodies[i])), ERR_OK);
            assert_int_equal(rowgroup_builder_finish(b, NULL, NULL, &again, &summary), ERR_OK);
            buffer_append_bytes(&bodies[0], buffer_bytes(&bodies[1])); /* messages concatenate */
            assert_int_equal(
                testing_build((enum signal)signal, buffer_bytes(&bodies[0]), &fresh, NULL), ERR_OK);
            assert_int_equal(again.len, fresh.len);
            assert_memory_equal(again.data, fresh.data, again.len);
            for (unsigned i = 0; i < 2; i++)
                buffer_deinit(&bodies[i]);
            buffer_deinit(&again);
            buffer_deinit(&fresh);
        }
        rowgroup_builder_close(b);
    }
}

/* Spans each of its own trace, with starts of few values, or of any length in bits. */
static void starts_put(struct maker *m, bool has_few)
{
    struct random r;
    random_init(&r, 7);
    maker_begin(m, "a");
    for (uint64_t i = 1; i <= 2000; i++) {
        uint64_t any = random_next(&r);
        uint64_t start = has_few ? 1 + any % 3 * UINT64_C(0x12345678) : 1 + (any >> (any & 31));
        pb_end(&m->body, span_begin(&m->body, i, i, 0, start));
    }
    maker_end(m);
}

/* The form that suits a fixed column is kept from group to group, and found anew after a while. */
static void forms_are_tried_again(void **state)
{
    (void)state;
    struct maker m;
    struct buffer out, fresh;
    buffer_init(&m.body, SIZE_MAX);
    buffer_init(&out, SIZE_MAX);
    buffer_init(&fresh, SIZE_MAX);
    struct rowgroup_options options = { .signal = SIGNAL_TRACES, .content_key = testing_key() };
    struct rowgroup_builder *b;
    struct rowgroup_summary summary;
    assert_int_equal(rowgroup_builder_open(&options, &b), ERR_OK);
    unsigned worse = 0;
    for (unsigned group = 0; group < 20; group++) {
        buffer_reset(&m.body);
        buffer_reset(&out);
        buffer_reset(&fresh);
        starts_put(&m, group == 0);
        rowgroup_builder_reset(b);
        assert_int_equal(rowgroup_builder_add(b, buffer_bytes(&m.body)), ERR_OK);
        assert_int_equal(rowgroup_builder_finish(b, NULL, NULL, &out, &summary), ERR_OK);
        assert_int_equal(rowgroup_verify(buffer_bytes(&out), NULL), ERR_OK);
        assert_int_equal(testing_build(SIGNAL_TRACES, buffer_bytes(&m.body), &fresh, NULL), ERR_OK);
        assert_true(group > 0 || out.len == fresh.len);
        worse += out.len > fresh.len;
        if (group == 19)
            assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&fresh)));
    }
    assert_int_equal(worse, 15); /* after the first, up to the sixteenth */
    rowgroup_builder_close(b);
    buffer_deinit(&m.body);
    buffer_deinit(&out);
    buffer_deinit(&fresh);
}

/* ---- Attributes that are gathered */

/* Kinds of the spans below by what comes of their attributes. */
enum { ASKED = 3, ASKED_KIND_LATER = 4, ASKED_TOO_LATE = 5, NOT_ASKED = 1 };

/* What is handed over is what looking through the message finds. */
static void gathered_check(uint32_t *most, const struct derive_span *span)
{
    struct otlp_repeated all = otlp_repeated(span->message, OTLP_SPAN_ATTRIBUTES);
    struct bytes message;
    uint32_t found = 0;
    while (otlp_repeated_next(&all, &message)) {
        struct otlp_key_value kv;
        otlp_key_value_read(message, &kv);
        if (!derive_wants(kv.key))
            continue;
        if (span->attributes != NULL) {
            assert_true(found < span->attributes_count);
            assert_true(bytes_equal(span->attributes[found], message));
        }
        found++;
    }
    bool is_gathered = span->kind == ASKED || span->kind == ASKED_KIND_LATER;
    assert_int_equal(span->attributes == NULL, !is_gathered || found > DERIVE_ATTRIBUTES_MAX);
    assert_int_equal(span->attribute_codes == NULL, span->attributes == NULL);
    if (span->attributes != NULL)
        assert_int_equal(span->attributes_count, found);
    *most = found > *most ? found : *most;
}

static void all_gathered_check(void *context, const struct derive_span *spans, size_t count)
{
    assert_in_range(count, 1, DERIVE_SPANS_MAX);
    for (size_t i = 0; i < count; i++)
        gathered_check(context, &spans[i]);
}

static void wanted_attributes_are_gathered(void **state)
{
    (void)state;
    static const char *const keys[] = { "db.name",        "",        "http.route",
                                        "server.address", "db.namf", "k" };
    struct maker m;
    struct buffer out;
    struct random r;
    uint32_t most = 0;
    random_init(&r, 3);
    buffer_init(&m.body, SIZE_MAX);
    buffer_init(&out, SIZE_MAX);
    struct rowgroup_options options = { .signal = SIGNAL_TRACES,
                                        .content_key = testing_key(),
                                        .on_spans = all_gathered_check,
                                        .on_spans_context = &most };
    struct rowgroup_builder *b;
    struct rowgroup_summary summary;
    assert_int_equal(rowgroup_builder_open(&options, &b), ERR_OK);
    maker_begin(&m, "a");
    for (uint64_t i = 1; i <= 400; i++) {
        static const uint32_t kinds[] = { ASKED, ASKED_KIND_LATER, ASKED_TOO_LATE, NOT_ASKED };
        uint32_t kind = kinds[random_below(&r, 4)];
        bool is_early = kind == ASKED || kind == NOT_ASKED;
        size_t mark = span_begin_kind(&m.body, i, i, 0, 100, is_early ? kind : 0);
        if (kind == ASKED_KIND_LATER)
            pb_uint(&m.body, 6, kind);
        if (kind == ASKED_TOO_LATE)
            text_put(&m.body, OTLP_SPAN_ATTRIBUTES, BYTES_LITERAL("db.name"), BYTES_LITERAL("v"));
        for (uint64_t n = random_below(&r, i % 8 == 0 ? 200 : 8); n > 0; n--) {
            size_t attribute = pb_begin(&m.body, OTLP_SPAN_ATTRIBUTES);
            pb_bytes(&m.body, 1, bytes_text(keys[random_below(&r, 6)]));
            if (random_below(&r, 3) > 0) {
                size_t value = pb_begin(&m.body, 2);
                pb_bytes(&m.body, 1, BYTES_LITERAL("v"));
                pb_end(&m.body, value);
            }
            pb_end(&m.body, attribute);
        }
        if (kind == ASKED_TOO_LATE)
            pb_uint(&m.body, 6, kind);
        pb_end(&m.body, mark);
    }
    maker_end(&m);
    assert_int_equal(rowgroup_builder_add(b, buffer_bytes(&m.body)), ERR_OK);
    assert_int_equal(rowgroup_builder_finish(b, NULL, NULL, &out, &summary), ERR_OK);
    assert_int_equal(summary.rows, 400);
    assert_true(most > DERIVE_ATTRIBUTES_MAX);
    rowgroup_builder_close(b);
    buffer_deinit(&m.body);
    buffer_deinit(&out);
}

struct coded {
    uint64_t code;
    struct bytes attribute;
    uint32_t spans, without_code;
};

/* Equal codes one after the other: then equal attributes. */
static void codes_check(struct coded *before, const struct derive_span *span)
{
    assert_int_equal(span->attributes_count, 1);
    uint64_t code = span->attribute_codes[0];
    if (code == DERIVE_CODE_NONE)
        before->without_code++;
    else if (before->spans > 0 && code == before->code)
        assert_true(bytes_equal(span->attributes[0], before->attribute));
    before->code = code;
    before->attribute = span->attributes[0];
    before->spans++;
}

static void all_codes_check(void *context, const struct derive_span *spans, size_t count)
{
    for (size_t i = 0; i < count; i++)
        codes_check(context, &spans[i]);
}

/* So many addresses that the column gives up numbering them. */
static void codes_tell_attributes_apart(void **state)
{
    (void)state;
    struct maker m;
    struct buffer out;
    struct coded coded = { 0 };
    buffer_init(&m.body, SIZE_MAX);
    buffer_init(&out, SIZE_MAX);
    struct rowgroup_options options = { .signal = SIGNAL_TRACES,
                                        .content_key = testing_key(),
                                        .on_spans = all_codes_check,
                                        .on_spans_context = &coded };
    struct rowgroup_builder *b;
    struct rowgroup_summary summary;
    assert_int_equal(rowgroup_builder_open(&options, &b), ERR_OK);
    maker_begin(&m, "a");
    for (uint64_t i = 1; i <= 4000; i++) {
        size_t mark = span_begin_kind(&m.body, i, i, 0, 100, 3);
        char address[32];
        int len = snprintf(address, sizeof address, "host-%llu", (unsigned long long)i);
        text_put(&m.body, OTLP_SPAN_ATTRIBUTES, BYTES_LITERAL("server.address"),
                 bytes_of(address, (size_t)len));
        pb_end(&m.body, mark);
    }
    maker_end(&m);
    assert_int_equal(rowgroup_builder_add(b, buffer_bytes(&m.body)), ERR_OK);
    assert_int_equal(rowgroup_builder_finish(b, NULL, NULL, &out, &summary), ERR_OK);
    assert_int_equal(coded.spans, 4000);
    assert_true(coded.without_code > 2000 && coded.without_code < 3500);
    rowgroup_builder_close(b);
    buffer_deinit(&m.body);
    buffer_deinit(&out);
}

/* ---- Damage */

static void random_body(enum signal signal, uint64_t seed, size_t items, struct buffer *out)
{
    struct random r;
    random_init(&r, seed);
    struct otlp_random_options options = { .items_max = items, .depth_max = 3 };
    buffer_init(out, SIZE_MAX);
    do {
        buffer_reset(out);
        otlp_random(&r, signal, &options, out);
    } while (out->len < 2000);
}

/* Reads all; ERR_CORRUPT, or the answer that the group gave when it was whole. */
static void assert_same_or_corrupt(struct bytes group, struct bytes whole, size_t *corrupt)
{
    struct arena arena;
    arena_init(&arena, 64u << 20, NULL);
    struct buffer read;
    buffer_init(&read, 64u << 20);
    struct rowgroup_source source = testing_source(&group);
    struct segment *s;
    enum err e = rowgroup_segment_open(&source, &arena, &s);
    if (e == ERR_OK) {
        e = testing_read_all(s, &arena, &read);
        s->ops->close(s);
    }
    if (e == ERR_OK)
        assert_true(bytes_equal(buffer_bytes(&read), whole));
    else
        assert_int_equal(e, ERR_CORRUPT);
    *corrupt += e != ERR_OK;
    assert_int_equal(rowgroup_verify(group, NULL), ERR_CORRUPT);
    buffer_deinit(&read);
    arena_deinit(&arena);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
        struct buffer body, group, whole;
        struct arena arena;
        arena_init(&arena, SIZE_MAX, NULL);
        buffer_init(&group, SIZE_MAX);
        buffer_init(&whole, SIZE_MAX);
        random_body((enum signal)signal, 11, 12, &body);
        assert_int_equal(testing_build((enum signal)signal, buffer_bytes(&body), &group, NULL),
                         ERR_OK);
        struct bytes bytes = buffer_bytes(&group);
        struct rowgroup_source source = testing_source(&bytes);
        struct segment *s;
        assert_int_equal(rowgroup_segment_open(&source, &arena, &s), ERR_OK);
        assert_int_equal(testing_read_all(s, &arena, &whole), ERR_OK);
        s->ops->close(s);
        size_t corrupt = 0;
        for (size_t i = 0; i < group.len; i++) {
            uint8_t flip = (uint8_t)(1u << (i * 5 + i / 8) % 8);
            group.data[i] ^= flip;
            assert_same_or_corrupt(buffer_bytes(&group), buffer_bytes(&whole), &corrupt);
            group.data[i] ^= flip;
        }
        for (size_t len = 0; len < group.len; len += 7)
            assert_same_or_corrupt(bytes_of(group.data, len), buffer_bytes(&whole), &corrupt);
        print_message("signal %u: %zu of %zu damages noticed by reading\n", signal, corrupt,
                      group.len + group.len / 7);
        assert_true(corrupt > group.len);
        buffer_deinit(&body);
        buffer_deinit(&group);
        buffer_deinit(&whole);
        arena_deinit(&arena);
    }
}

static void newer_groups_are_refused(void **state)
{
    (void)state;
    struct buffer body, group;
    buffer_init(&group, SIZE_MAX);
    random_body(SIGNAL_TRACES, 5, 10, &body);
    assert_int_equal(testing_build(SIGNAL_TRACES, buffer_bytes(&body), &group, NULL), ERR_OK);
    store_le16(group.data + 4, ROWGROUP_FORMAT_VERSION + 1);
    assert_int_equal(rowgroup_verify(buffer_bytes(&group), NULL), ERR_CORRUPT); /* hash */
    store_le64(group.data + 104, hash_bytes(bytes_of(group.data, 104)));
    assert_int_equal(rowgroup_verify(buffer_bytes(&group), NULL), ERR_NEWER);
    buffer_deinit(&body);
    buffer_deinit(&group);
}

/* ---- Memory that runs out */

static enum err build_and_read(struct bytes body)
{
    struct buffer group, read;
    struct arena arena;
    buffer_init(&group, SIZE_MAX);
    buffer_init(&read, SIZE_MAX);
    arena_init(&arena, SIZE_MAX, NULL);
    struct segment *s;
    enum err e = testing_build(SIGNAL_TRACES, body, &group, NULL);
    struct bytes bytes = buffer_bytes(&group);
    struct rowgroup_source source = testing_source(&bytes);
    if (e == ERR_OK)
        e = rowgroup_segment_open(&source, &arena, &s);
    if (e == ERR_OK) {
        e = testing_read_all(s, &arena, &read);
        s->ops->close(s);
    }
    buffer_deinit(&group);
    buffer_deinit(&read);
    arena_deinit(&arena);
    return e;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct buffer body;
    random_body(SIGNAL_TRACES, 21, 30, &body);
    assert_int_equal(build_and_read(buffer_bytes(&body)), ERR_OK);
    long live = fault_live_blocks();
    for (unsigned sticky = 0; sticky < 2; sticky++) {
        for (unsigned n = 0;; n++) {
            fault_alloc_fail_at(n, sticky == 1);
            enum err e = build_and_read(buffer_bytes(&body));
            bool fired = fault_fired();
            fault_alloc_off();
            assert_int_equal(fault_live_blocks(), live);
            assert_int_equal(e, fired ? ERR_NOMEM : ERR_OK);
            if (!fired) {
                print_message("%u allocations failed in turn\n", n);
                break;
            }
        }
    }
    buffer_deinit(&body);
}

/* ---- Groups of earlier versions */

static void file_path(char *out, size_t size, unsigned signal, const char *kind)
{
    int len = snprintf(out, size, "%s/rowgroup-v1-%s.%s", FIXTURES,
                       signal_name((enum signal)signal), kind);
    assert_true(len > 0 && (size_t)len < size);
}

static void file_read(unsigned signal, const char *kind, struct buffer *out)
{
    char path[512];
    file_path(path, sizeof path, signal, kind);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buffer_init(out, 1 << 20);
    uint8_t *to = buffer_reserve(out, 1 << 16);
    buffer_grew(out, fread(to, 1, 1 << 16, f));
    assert_true(feof(f) && out->len > 0);
    (void)fclose(f);
}

static void version_1_stays_readable(void **state)
{
    (void)state;
    for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
        struct buffer body, group, read;
        file_read(signal, "otlp", &body);
        file_read(signal, "group", &group);
        buffer_init(&read, SIZE_MAX);
        struct arena arena;
        arena_init(&arena, SIZE_MAX, NULL);
        struct bytes bytes = buffer_bytes(&group);
        struct rowgroup_source source = testing_source(&bytes);
        struct segment *s;
        assert_int_equal(rowgroup_segment_open(&source, &arena, &s), ERR_OK);
        assert_int_equal(testing_read_all(s, &arena, &read), ERR_OK);
        s->ops->close(s);
        struct hash128 *sent, *got;
        size_t sent_count, got_count;
        assert_int_equal(
            testing_items((enum signal)signal, buffer_bytes(&body), &arena, &sent, &sent_count),
            ERR_OK);
        assert_int_equal(
            testing_items((enum signal)signal, buffer_bytes(&read), &arena, &got, &got_count),
            ERR_OK);
        assert_int_equal(sent_count, got_count);
        assert_memory_equal(sent, got, got_count * sizeof *got);
        buffer_deinit(&body);
        buffer_deinit(&group);
        buffer_deinit(&read);
        arena_deinit(&arena);
    }
}

/* `rowgroup_test write-fixtures`: what this program writes, once for each version of the format. */
static void file_write(unsigned signal, const char *kind, struct bytes bytes)
{
    char path[512];
    file_path(path, sizeof path, signal, kind);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, f), bytes.len);
    assert_int_equal(fclose(f), 0);
}

/* `rowgroup_test write-corpus`: seeds for the fuzzer, half of them not compressed, so that a changed byte
 * changes a value and not a frame. */
static void corpus_write(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        struct buffer body, group;
        buffer_init(&group, SIZE_MAX);
        random_body(signal, i + 1, 2 + i, &body);
        assert_int_equal(
            testing_build_at(signal, i % 4 < 2 ? -1 : 1, buffer_bytes(&body), &group, NULL),
            ERR_OK);
        char path[512];
        (void)snprintf(path, sizeof path, "%s/group-%02u", CORPUS, i);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(group.data, 1, group.len, f), group.len);
        assert_int_equal(fclose(f), 0);
        buffer_deinit(&body);
        buffer_deinit(&group);
    }
}

static void fixtures_write(void **state)
{
    (void)state;
    for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
        struct buffer body, group;
        buffer_init(&group, SIZE_MAX);
        random_body((enum signal)signal, 2026, 25, &body);
        assert_int_equal(testing_build((enum signal)signal, buffer_bytes(&body), &group, NULL),
                         ERR_OK);
        file_write(signal, "otlp", buffer_bytes(&body));
        file_write(signal, "group", buffer_bytes(&group));
        buffer_deinit(&body);
        buffer_deinit(&group);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest writing[] = { cmocka_unit_test(fixtures_write) };
    if (argc > 1 && strcmp(argv[1], "write-fixtures") == 0)
        return cmocka_run_group_tests(writing, NULL, NULL);
    const struct CMUnitTest seeds[] = { cmocka_unit_test(corpus_write) };
    if (argc > 1 && strcmp(argv[1], "write-corpus") == 0)
        return cmocka_run_group_tests(seeds, NULL, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_come_back),
        cmocka_unit_test(many_chunks_come_back),
        cmocka_unit_test(boundaries),
        cmocka_unit_test(ids_of_equal_upper_halves),
        cmocka_unit_test(empty_is_not_absent),
        cmocka_unit_test(equal_spans_are_kept_once),
        cmocka_unit_test(what_is_stored_elsewhere_is_dropped),
        cmocka_unit_test(builders_are_used_again),
        cmocka_unit_test(forms_are_tried_again),
        cmocka_unit_test(wanted_attributes_are_gathered),
        cmocka_unit_test(codes_tell_attributes_apart),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(newer_groups_are_refused),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(version_1_stays_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
