/* SPDX-License-Identifier: Apache-2.0 */
/* That the walk and the rewriter agree, over random requests: what is generated valid is accepted
 * as it stands, what is accepted can be rewritten, and what was rewritten is accepted, canonical
 * and stays. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_requests_are_canonical),
        cmocka_unit_test(accepted_means_rewritable),
        cmocka_unit_test(plain_attributes_are_no_exception),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
