/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of requests agrees with a plain list over random additions, undone groups, ageing and
 * eviction; the span filter has no false negative, and few false hits. */
#include "storage/sqlite/dedup.h"

#include "base/clock.h"
#include "base/random.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define AGAIN_NS (300 * NS_PER_S)

static char directory[128];
static const struct rest_policy policy = { directory, 0, AGAIN_NS };

/* Few distinct low halves, so that probing runs collide. */
static struct hash128 hash_of(uint64_t n)
{
    return (struct hash128){ .low = n % 7 * 3, .high = n + 1 };
}

static void requests_agree_with_a_list(void **state)
{
    (void)state;
    enum { ADDED_MAX = 2000 };
    struct request_memory m;
    struct random r;
    uint64_t arrivals[ADDED_MAX] = { 0 }; /* 0: not in it */
    assert_int_equal(request_memory_init(&m), ERR_OK);
    random_init(&r, 5);
    uint64_t now = 1000 * NS_PER_S, next = 0;
    unsigned rested = 0;
    clock_fake_set(NS_PER_S, NS_PER_S);
    while (next + 8 < ADDED_MAX) {
        uint32_t count = 1 + (uint32_t)random_below(&r, 7);
        for (uint32_t i = 0; i < count; i++) {
            request_memory_add(&m, hash_of(next + i), now);
            assert_true(request_memory_has(&m, hash_of(next + i), now));
        }
        if (random_below(&r, 3) == 0) { /* the group failed */
            request_memory_undo(&m, count);
            for (uint32_t i = 0; i < count; i++)
                assert_false(request_memory_has(&m, hash_of(next + i), now));
        } else {
            for (uint32_t i = 0; i < count; i++)
                arrivals[next + i] = now;
        }
        if (random_below(&r, 9) == 0) {
            clock_fake_advance(AGAIN_NS);
            request_memory_rest(&m, &policy);
            rested += m.place.is_resting;
        }
        next += count;
        now += random_below(&r, 10 * NS_PER_S);
        for (int k = 0; k < 50; k++) {
            uint64_t n = random_below(&r, next);
            bool expected = arrivals[n] != 0 && now - arrivals[n] <= REQUEST_MEMORY_NS;
            assert_int_equal(request_memory_has(&m, hash_of(n), now), expected);
        }
    }
    assert_true(rested > 20);
    clock_fake_off();
    request_memory_deinit(&m);
}

static void oldest_requests_go_first(void **state)
{
    (void)state;
    struct request_memory m;
    assert_int_equal(request_memory_init(&m), ERR_OK);
    const uint64_t extra = 1000;
    for (uint64_t n = 0; n < REQUEST_MEMORY_COUNT + extra; n++)
        request_memory_add(&m, (struct hash128){ random_mix64(n), n + 1 }, NS_PER_S);
    for (uint64_t n = 0; n < REQUEST_MEMORY_COUNT + extra; n += 97)
        assert_int_equal(
            request_memory_has(&m, (struct hash128){ random_mix64(n), n + 1 }, NS_PER_S),
            n >= extra);
    assert_false(request_memory_has(&m, (struct hash128){ 0, 0 }, NS_PER_S));
    request_memory_deinit(&m);
}

static void span_of(uint64_t n, struct trace_id *trace, struct span_id *span)
{
    store_le64(trace->b, n / 10);
    store_le64(trace->b + 8, 1);
    store_le64(span->b, n);
}

static void filter_never_misses(void **state)
{
    (void)state;
    struct span_filter f;
    struct trace_id trace;
    struct span_id span;
    const uint64_t count = 750000;
    assert_int_equal(span_filter_init(&f, 1), ERR_OK);
    for (uint64_t n = 0; n < count; n++) {
        span_of(n, &trace, &span);
        (void)span_filter_put(&f, span_filter_hash(&trace, &span));
    }
    uint64_t hits = 0;
    for (uint64_t n = 0; n < 2 * count; n++) {
        span_of(n, &trace, &span);
        bool may = span_filter_may_contain(&f, span_filter_hash(&trace, &span));
        if (n < count)
            assert_true(may);
        else
            hits += may;
    }
    (void)fprintf(stderr, "false hits: %.4f %%\n", 100.0 * (double)hits / (double)count);
    assert_true(hits < count / 500);

    /* Turned once, what was added is still known; twice, no more. */
    span_filter_turn(&f, 1 + SPAN_LOOKBACK_NS + 1);
    span_of(5, &trace, &span);
    assert_true(span_filter_may_contain(&f, span_filter_hash(&trace, &span)));
    assert_int_equal(span_filter_count(&f), count);
    assert_true(span_filter_put(&f, span_filter_hash(&trace, &span)));
    span_of(2 * count + 5, &trace, &span);
    bool may = span_filter_may_contain(&f, span_filter_hash(&trace, &span));
    assert_int_equal(span_filter_put(&f, span_filter_hash(&trace, &span)), may);
    assert_true(span_filter_put(&f, span_filter_hash(&trace, &span)));
    span_filter_turn(&f, 1 + 2 * (SPAN_LOOKBACK_NS + 1));
    assert_true(span_filter_may_contain(&f, span_filter_hash(&trace, &span)));
    span_of(5, &trace, &span);
    assert_true(span_filter_may_contain(
        &f, span_filter_hash(&trace, &span))); /* put again in the generation before */
    span_of(6, &trace, &span);
    assert_false(span_filter_may_contain(&f, span_filter_hash(&trace, &span)));
    span_filter_deinit(&f);
}

/* Whether pages of the block are resident. */
static size_t resident_pages(void *block, size_t bytes)
{
    static unsigned char pages[SPAN_FILTER_BYTES / 4096];
    assert_int_equal(mincore(block, bytes, pages), 0);
    size_t resident = 0;
    for (size_t i = 0; i < bytes / 4096; i++)
        resident += pages[i] & 1;
    return resident;
}

static void a_filter_that_rests_forgets_nothing(void **state)
{
    (void)state;
    enum { SPANS = 50000 };
    struct span_filter f;
    struct trace_id trace;
    struct span_id span;
    clock_fake_set(NS_PER_S, NS_PER_S);
    assert_int_equal(span_filter_init(&f, 1), ERR_OK);
    uint32_t put = 0;
    for (int round = 0; round < 4; round++) {
        span_filter_wake(&f);
        for (uint32_t i = 0; i < put; i++) {
            span_of(i, &trace, &span);
            assert_true(span_filter_may_contain(&f, span_filter_hash(&trace, &span)));
        }
        for (; put < (uint32_t)(round + 1) * SPANS; put++) {
            span_of(put, &trace, &span);
            (void)span_filter_put(&f, span_filter_hash(&trace, &span));
        }
        if (round == 1)
            span_filter_turn(&f, 2 + SPAN_LOOKBACK_NS);
        clock_fake_advance(AGAIN_NS);
        span_filter_rest(&f, &policy);
        for (int i = 0; i < 2; i++)
            assert_int_equal(resident_pages(f.generations[i].blocks, SPAN_FILTER_BYTES), 0);
    }
    assert_int_equal(span_filter_count(&f), put);

    /* One that cannot be read again is empty, not wrong. */
    assert_int_equal(
        pwrite(f.file.descriptor - 1, "damage", 6, (off_t)f.generations[0].place.offset + 4096), 6);
    span_filter_wake(&f);
    assert_int_equal(f.generations[0].count, 0);
    assert_true(span_filter_count(&f) > 0);
    assert_int_equal(f.epoch, 2); /* what was put before may not be in it */
    span_filter_deinit(&f);
    clock_fake_off();
}

static int setup(void **state)
{
    (void)state;
    scratch_make(directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_agree_with_a_list),
        cmocka_unit_test(oldest_requests_go_first),
        cmocka_unit_test(filter_never_misses),
        cmocka_unit_test(a_filter_that_rests_forgets_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
