/* SPDX-License-Identifier: Apache-2.0 */
/* That the walk and the rewriter agree, over random requests: what is generated valid is accepted
 * as it stands, what is accepted can be rewritten, and what was rewritten is accepted, canonical
 * and stays. */
#include "base/mem.h"
#include "proto/otlp.h"
#include "proto/otlp_random.h"
#include "proto/pb_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SEED 20260131u

static const struct otlp_random_options options = {
    .items_max = 4, .depth_max = 6, .has_bad_utf8 = true, .has_extra_order = true
};

static void random_requests_are_canonical(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, SEED);
    struct buffer in, out;
    buffer_init(&in, 64u << 20);
    buffer_init(&out, 64u << 20);
    for (unsigned i = 0; i < 20000; i++) {
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        buffer_reset(&in);
        otlp_random(&random, signal, &options, &in);
        struct otlp_report report;
        struct err_note note = { 0 };
        enum err e = otlp_check(signal, buffer_bytes(&in), &otlp_limits_default, 0, &report, &note);
        if (e != ERR_OK || report.needs_rewrite)
            print_error("seed %u, request %u: %s at %zu\n", SEED, i, note.what, note.offset);
        assert_int_equal(e, ERR_OK);
        assert_false(report.needs_rewrite);
        buffer_reset(&out);
        assert_int_equal(otlp_rewrite(signal, buffer_bytes(&in), &otlp_limits_default, 0, &out),
                         ERR_OK);
        assert_int_equal(in.len, out.len);
        assert_true(bytes_equal(buffer_bytes(&in), buffer_bytes(&out)));
    }
    buffer_deinit(&in);
    buffer_deinit(&out);
}

/* Small limits, so that everything is cut now and then. */
static void random_limits(struct random *random, struct otlp_limits *limits)
{
    *limits = otlp_limits_default;
    limits->attributes_max = (size_t)random_below(random, 4);
    limits->events_max = (size_t)random_below(random, 3);
    limits->links_max = (size_t)random_below(random, 3);
    limits->key_bytes_max = (size_t)random_below(random, 200);
    limits->value_bytes_max = (size_t)random_below(random, 200);
    if (random_below(random, 4) == 0) {
        limits->time_past_ns = 500000000;
        limits->time_future_ns = 200000000;
    }
}

static void accepted_means_rewritable(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, SEED + 1);
    struct buffer in, out, again;
    buffer_init(&in, 64u << 20);
    buffer_init(&out, 64u << 20);
    buffer_init(&again, 64u << 20);
    unsigned accepted = 0, rewritten = 0, rejected_items = 0;
    for (unsigned i = 0; i < 60000; i++) {
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        uint64_t now = UINT64_C(1700000000500000000);
        struct otlp_limits limits = otlp_limits_default;
        if (i % 4 < 2)
            random_limits(&random, &limits);
        struct otlp_random_options strange = options;
        strange.is_strange = i % 3 != 0;
        buffer_reset(&in);
        otlp_random(&random, signal, &strange, &in);
        if (i % 8 >= 5)
            otlp_random_break(&random, &in, 0);
        struct otlp_report before, after;
        if (otlp_check(signal, buffer_bytes(&in), &limits, now, &before, NULL) != ERR_OK)
            continue;
        accepted++;
        rewritten += before.needs_rewrite;
        rejected_items += before.items_rejected > 0;

        buffer_reset(&out);
        assert_int_equal(otlp_rewrite(signal, buffer_bytes(&in), &limits, now, &out), ERR_OK);
        if (!before.needs_rewrite)
            assert_true(bytes_equal(buffer_bytes(&in), buffer_bytes(&out)));
        struct err_note note = { 0 };
        enum err e = otlp_check(signal, buffer_bytes(&out), &limits, now, &after, &note);
        if (e != ERR_OK || after.needs_rewrite)
            print_error("seed %u, request %u: %s\n", SEED + 1, i, note.what);
        assert_int_equal(e, ERR_OK);
        assert_false(after.needs_rewrite);
        assert_int_equal(after.items, before.items - before.items_rejected);
        assert_int_equal(after.items_rejected, 0);
        assert_true(after.start_min_unix_ns == before.start_min_unix_ns);
        assert_true(after.start_max_unix_ns == before.start_max_unix_ns);

        buffer_reset(&again);
        assert_int_equal(otlp_rewrite(signal, buffer_bytes(&out), &limits, now, &again), ERR_OK);
        assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&again)));
    }
    /* The loop above saw all that it is meant to see. */
    assert_true(accepted > 10000);
    assert_true(rewritten > 3000);
    assert_true(rejected_items > 300);
    buffer_deinit(&in);
    buffer_deinit(&out);
    buffer_deinit(&again);
}

/* Attributes that are plain go a quick way, where the limits allow it: with limits of 127 bytes they
 * do, with 126 not. No text of the generator is that long by a byte, so the report must be the same. */
static void plain_attributes_are_no_exception(void **state)
{
    (void)state;
    struct random random;
    struct buffer in;
    random_init(&random, SEED + 2);
    buffer_init(&in, 64u << 20);
    struct otlp_limits quick = otlp_limits_default, slow = otlp_limits_default;
    quick.key_bytes_max = quick.value_bytes_max = 127;
    slow.key_bytes_max = slow.value_bytes_max = 126;
    unsigned accepted = 0;
    for (unsigned i = 0; i < 30000; i++) {
        struct otlp_random_options strange = options;
        enum signal signal = i % 2 == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
        strange.is_strange = i % 3 == 0;
        quick.attributes_max = slow.attributes_max = i % 5 == 0 ? 2 : 1024;
        quick.elements_max = slow.elements_max = i % 7 == 0 ? 40 : 100000;
        buffer_reset(&in);
        otlp_random(&random, signal, &strange, &in);
        if (i % 2 == 0)
            otlp_random_break(&random, &in, 0);
        struct otlp_report a, b;
        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        enum err e = otlp_check(signal, buffer_bytes(&in), &quick, 0, &a, NULL);
        assert_int_equal(otlp_check(signal, buffer_bytes(&in), &slow, 0, &b, NULL), e);
        assert_memory_equal(&a, &b, sizeof a);
        accepted += e == ERR_OK;
    }
    assert_true(accepted > 10000);
    buffer_deinit(&in);
}

/* Both ways over the same bytes, which end where their block ends. */
static void quick_and_slow_agree(struct bytes in, uint64_t elements)
{
    struct otlp_limits quick = otlp_limits_default, slow = otlp_limits_default;
    slow.key_bytes_max = 126; /* no key here is longer */
    struct otlp_report a, b;
    struct err_note at = { 0 }, slow_at = { 0 };
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    uint8_t *block = mem_alloc(in.len);
    assert_non_null(block);
    memcpy(block, in.data, in.len);
    in.data = block;
    enum err e = otlp_check(SIGNAL_TRACES, in, &quick, 0, &a, &at);
    assert_int_equal(otlp_check(SIGNAL_TRACES, in, &slow, 0, &b, &slow_at), e);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(at.offset, slow_at.offset);
    if (elements != 0)
        assert_int_equal(a.elements, elements);
    mem_free(block);
}

struct plain_case {
    size_t key_len, text_len;
    size_t bad_at;   /* in the text: a byte that UTF-8 never has; SIZE_MAX: none */
    size_t two_at;   /* in the text: a character of two bytes; SIZE_MAX: none */
    uint8_t tag_xor; /* of the value's member: another one */
};

static void plain_put(struct buffer *out, const struct plain_case *c)
{
    uint8_t text[512], id[16];
    memset(text, 'x', sizeof text);
    memset(id, 7, sizeof id);
    buffer_reset(out);
    size_t resource = pb_begin(out, 1), scope = pb_begin(out, 2), span = pb_begin(out, 2);
    pb_bytes(out, 1, bytes_of(id, 16));
    pb_bytes(out, 2, bytes_of(id, 8));
    pb_bytes(out, 4, bytes_of(id, 8));
    pb_bytes(out, 5, bytes_of(text, c->text_len));
    pb_uint(out, 6, 2);
    pb_fixed64(out, 7, UINT64_C(1700000000000000000));
    pb_fixed64(out, 8, UINT64_C(1700000000000000001));
    for (int i = 0; i < 2; i++) {
        size_t attribute = pb_begin(out, 9);
        pb_bytes(out, 1, bytes_of(text, c->key_len));
        size_t value = pb_begin(out, 2);
        size_t at = out->len;
        if (i == 0 && c->bad_at < c->text_len)
            text[c->bad_at] = 0xFF;
        if (i == 0 && c->two_at + 1 < c->text_len)
            memcpy(text + c->two_at, "\xC3\xA9", 2);
        pb_bytes(out, OTLP_STRING, bytes_of(text, c->text_len));
        memset(text, 'x', sizeof text);
        if (out->len > at)
            out->data[at] ^= c->tag_xor;
        pb_end(out, value);
        pb_end(out, attribute);
    }
    buffer_append(out, "\x85\x01\x01\x01\x00\x00", 6);
    pb_end(out, span);
    pb_end(out, scope);
    pb_end(out, resource);
    assert_int_equal(buffer_error(out), ERR_OK);
}

/* Lengths around those that take one more byte, or another step of looking for what is not ASCII; a byte there at
 * any place, and the end of the input at any place. */
static void plain_texts_of_every_length(void **state)
{
    (void)state;
    struct buffer in;
    buffer_init(&in, 1 << 16);
    for (size_t text_len = 0; text_len <= 300; text_len++) {
        struct plain_case c = { text_len % 127, text_len, SIZE_MAX - 1, SIZE_MAX - 1, 0 };
        plain_put(&in, &c);
        quick_and_slow_agree(buffer_bytes(&in), 3 + 4);
        for (size_t at = 0; at < text_len; at += text_len < 80 ? 1 : 7) {
            c.bad_at = at;
            plain_put(&in, &c);
            quick_and_slow_agree(buffer_bytes(&in), 0);
            c.bad_at = SIZE_MAX - 1;
            c.two_at = at;
            plain_put(&in, &c);
            quick_and_slow_agree(buffer_bytes(&in), 0);
            c.two_at = SIZE_MAX - 1;
        }
        c.tag_xor = (uint8_t)text_len;
        plain_put(&in, &c);
        quick_and_slow_agree(buffer_bytes(&in), 0);
        for (size_t cut = 1; text_len % 16 == 1 && cut < in.len; cut++)
            quick_and_slow_agree(bytes_slice(buffer_bytes(&in), 0, cut), 0);
    }
    buffer_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_are_canonical),
        cmocka_unit_test(accepted_means_rewritable),
        cmocka_unit_test(plain_attributes_are_no_exception),
        cmocka_unit_test(plain_texts_of_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
