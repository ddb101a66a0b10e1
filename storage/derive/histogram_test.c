/* SPDX-License-Identifier: Apache-2.0 */
/* Quantiles against exact ones over ugly distributions, merging against recording everything in one, the
 * table of buckets against arithmetic, and the compact form there and back. */
#include "storage/derive/histogram.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define VALUES 20000

static uint64_t value_constant(struct random *r)
{
    (void)r;
    return 123456789;
}
static uint64_t value_bimodal(struct random *r)
{
    return random_below(r, 2) == 0 ? 1000 + random_below(r, 100) : 90000000000 + random_below(r, 7);
}
static uint64_t value_heavy(struct random *r)
{
    return (uint64_t)fmin(1e18, 1000 / pow(1 - random_unit(r), 3));
}
static uint64_t value_zero(struct random *r)
{
    return random_below(r, 3) == 0 ? 1 : 0;
}
static uint64_t value_huge(struct random *r)
{
    return UINT64_MAX - random_below(r, 1000);
}
static uint64_t value_any(struct random *r)
{
    return random_next(r) >> random_below(r, 64);
}
static uint64_t value_powers(struct random *r)
{
    return (UINT64_C(1) << random_below(r, 64)) + random_below(r, 3) - 1;
}
static uint64_t value_normal(struct random *r)
{
    return (uint64_t)fabs(5e6 + 1e6 * random_normal(r));
}

static uint64_t (*const distributions[])(struct random *) = {
    value_constant, value_bimodal, value_heavy,  value_zero,
    value_huge,     value_any,     value_powers, value_normal,
};
#define DISTRIBUTIONS (sizeof distributions / sizeof distributions[0])

static int u64_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_within(double got, double exact, double error)
{
    return fabs(got - exact) <= exact * error + 1e-9;
}

static void quantiles_are_within_the_bound(void **state)
{
    (void)state;
    static const double qs[] = { 0, 0.001, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1 };
    uint64_t *values = mem_alloc_array(VALUES, sizeof *values);
    for (size_t d = 0; d < DISTRIBUTIONS; d++) {
        struct random r;
        random_init(&r, d + 1);
        size_t count = d % 2 == 0 ? VALUES : 1 + (size_t)random_below(&r, 50);
        struct histogram h;
        histogram_init(&h, NULL);
        for (size_t i = 0; i < count; i++) {
            values[i] = distributions[d](&r);
            assert_int_equal(histogram_record(&h, values[i], 1), ERR_OK);
        }
        qsort(values, count, sizeof *values, u64_order);
        for (size_t k = 0; k < sizeof qs / sizeof qs[0]; k++) {
            size_t rank = (size_t)ceil(qs[k] * (double)count);
            double exact = (double)values[rank == 0 ? 0 : rank - 1];
            double got = histogram_quantile(&h, qs[k]);
            if (!is_within(got, exact, HISTOGRAM_ERROR))
                fail_msg("distribution %zu q %g: %g, exactly %g", d, qs[k], got, exact);
        }
        double all[sizeof qs / sizeof qs[0]];
        histogram_quantiles(&h, qs, sizeof qs / sizeof qs[0], all);
        for (size_t k = 0; k < sizeof qs / sizeof qs[0]; k++)
            assert_true(all[k] == histogram_quantile(&h, qs[k]));
        histogram_deinit(&h);
    }
    mem_free(values);
}

/* The control: at scale 5 some quantile is off by more. */
static void a_coarser_scale_is_caught(void **state)
{
    (void)state;
    struct histogram h;
    histogram_init(&h, NULL);
    double worst = 0;
    for (uint64_t v = 1000000; v < 1100000; v += 100) {
        histogram_deinit(&h);
        assert_int_equal(histogram_record(&h, 1, 1), ERR_OK);
        assert_int_equal(histogram_record(&h, v, 1), ERR_OK);
        assert_int_equal(histogram_record(&h, 9000000, 2), ERR_OK);
        assert_int_equal(histogram_downscale(&h, 5), ERR_OK);
        worst = fmax(worst, fabs(histogram_quantile(&h, 0.5) - (double)v) / (double)v);
    }
    histogram_deinit(&h);
    assert_true(worst > 0.01);
}

/* (base^i, base^(i+1)] at every scale; the bounds of extended precision agree except within a rounding. */
static void values_lie_in_their_buckets(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 77);
    for (int n = 0; n < 400000; n++) {
        uint64_t v = n % 2 == 0 ? value_any(&r) : value_powers(&r);
        if (v == 0)
            continue;
        for (int8_t scale = -4; scale <= 6; scale++) {
            int32_t i = histogram_index(v, scale);
            long double low = exp2l(ldexpl((long double)i, -scale));
            long double high = exp2l(ldexpl((long double)i + 1, -scale));
            assert_true((long double)v > low * (1 - 1e-17L) &&
                        (long double)v <= high * (1 + 1e-17L));
        }
    }
    for (int e = 0; e < 64; e++)
        assert_int_equal(histogram_index(UINT64_C(1) << e, 6), e * 64 - 1);
}

static void assert_equal(const struct histogram *a, const struct histogram *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->zero_count, b->zero_count);
    assert_int_equal(a->sum, b->sum);
    assert_int_equal(a->min, b->min);
    assert_int_equal(a->max, b->max);
    assert_int_equal(a->scale, b->scale);
    struct buffer x, y;
    buffer_init(&x, SIZE_MAX);
    buffer_init(&y, SIZE_MAX);
    histogram_encode(a, &x);
    histogram_encode(b, &y);
    assert_int_equal(buffer_error(&x), ERR_OK);
    assert_true(bytes_equal(buffer_bytes(&x), buffer_bytes(&y)));
    buffer_deinit(&x);
    buffer_deinit(&y);
}

static void merging_equals_recording(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 5);
    for (int round = 0; round < 300; round++) {
        struct histogram all, parts[3];
        histogram_init(&all, NULL);
        for (int p = 0; p < 3; p++)
            histogram_init(&parts[p], NULL);
        size_t d = (size_t)random_below(&r, DISTRIBUTIONS), count = (size_t)random_below(&r, 60);
        for (size_t i = 0; i < count; i++) {
            uint64_t v = distributions[d](&r), times = random_below(&r, 9) == 0 ? UINT32_MAX : 1;
            assert_int_equal(histogram_record(&all, v, times), ERR_OK);
            assert_int_equal(histogram_record(&parts[random_below(&r, 3)], v, times), ERR_OK);
        }
        struct buffer b;
        buffer_init(&b, SIZE_MAX);
        struct histogram merged, decoded;
        histogram_init(&merged, NULL);
        histogram_init(&decoded, NULL);
        int8_t scale = (int8_t)(6 - (int)random_below(&r, 4));
        assert_int_equal(histogram_downscale(&parts[1], scale), ERR_OK);
        for (int p = 0; p < 3; p++) {
            assert_int_equal(histogram_merge(&merged, &parts[p]), ERR_OK);
            histogram_encode(&parts[p], &b);
        }
        struct bytes at = buffer_bytes(&b), skipped = at;
        for (int p = 0; p < 3; p++) {
            assert_int_equal(histogram_decode_add(&at, &decoded), ERR_OK);
            assert_int_equal(histogram_skip(&skipped), ERR_OK);
            assert_true(at.len == skipped.len);
        }
        assert_int_equal(at.len, 0);
        assert_int_equal(histogram_downscale(&all, scale), ERR_OK);
        assert_int_equal(histogram_downscale(&merged, scale), ERR_OK);
        assert_int_equal(histogram_downscale(&decoded, scale), ERR_OK);
        assert_equal(&merged, &all);
        assert_equal(&decoded, &all);
        buffer_deinit(&b);
        histogram_deinit(&all);
        histogram_deinit(&merged);
        histogram_deinit(&decoded);
        for (int p = 0; p < 3; p++)
            histogram_deinit(&parts[p]);
    }
    assert_int_equal(fault_live_blocks(), 0);
}

/* The same bytes, and it is empty again: it is used for one histogram after the other. */
static void scattered_values_encode_alike(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 11);
    static struct histogram_scatter scatter;
    for (int round = 0; round < 2000; round++) {
        struct histogram all, facts;
        histogram_init(&all, NULL);
        histogram_init(&facts, NULL);
        size_t d = (size_t)random_below(&r, DISTRIBUTIONS);
        size_t count = 1 + (size_t)random_below(&r, round % 50 == 0 ? 3000 : 40);
        bool is_empty = true;
        for (size_t i = 0; i < count; i++) {
            uint64_t v =
                round % 20 == 0 ? UINT64_C(1) << random_below(&r, 64) : distributions[d](&r);
            v = random_below(&r, 50) == 0 ? UINT64_MAX : v;
            assert_int_equal(histogram_record(&all, v, 1), ERR_OK);
            histogram_note(&facts, v);
            if (v == 0)
                continue;
            int16_t bucket = (int16_t)histogram_bucket(v);
            histogram_scatter_count(&scatter, &bucket, 1);
            is_empty = false;
        }
        struct buffer x, y;
        buffer_init(&x, SIZE_MAX);
        buffer_init(&y, SIZE_MAX);
        histogram_encode(&all, &x);
        if (!is_empty)
            histogram_scatter_encode(&scatter, &facts, &y);
        else
            histogram_encode(&facts, &y);
        assert_true(bytes_equal(buffer_bytes(&x), buffer_bytes(&y)));
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
            assert_true(scatter.counts[i] == 0 && scatter.marks[i / 64] == 0);
        buffer_deinit(&x);
        buffer_deinit(&y);
        histogram_deinit(&all);
    }
}

/* Packed or compact: the same is added, to whatever is there already. */
static void packed_ones_add_alike(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 12);
    unsigned dense = 0;
    for (int round = 0; round < 1500; round++) {
        struct histogram h, sums[2];
        struct buffer forms[2], results[2];
        const uint64_t times[] = { 1, 30, 3000, 1 << 20, UINT64_C(3) << 31, UINT64_C(1) << 62 };
        histogram_init(&h, NULL);
        size_t d = (size_t)random_below(&r, DISTRIBUTIONS);
        size_t count = (size_t)random_below(&r, round % 3 == 0 ? 5000 : 20);
        uint64_t most = times[random_below(&r, sizeof times / sizeof times[0])];
        for (size_t i = 0; i < count; i++)
            assert_int_equal(histogram_record(&h, distributions[d](&r), 1 + random_below(&r, most)),
                             ERR_OK);
        if (random_below(&r, 4) == 0)
            assert_int_equal(histogram_downscale(&h, (int8_t)(5 - (int)random_below(&r, 8))),
                             ERR_OK);
        uint64_t there = random_below(&r, 3) * random_below(&r, 100), seed = random_next(&r);
        for (unsigned k = 0; k < 2; k++) {
            struct random same;
            random_init(&same, seed);
            buffer_init(&forms[k], SIZE_MAX);
            buffer_init(&results[k], SIZE_MAX);
            histogram_init(&sums[k], NULL);
            for (uint64_t i = 0; i < there; i++)
                assert_int_equal(histogram_record(&sums[k], distributions[d](&same),
                                                  1 + random_below(&same, UINT32_MAX / 4)),
                                 ERR_OK);
            if (seed % 4 == 0)
                assert_int_equal(histogram_downscale(&sums[k], (int8_t)(seed / 4 % 7)), ERR_OK);
        }
        histogram_encode(&h, &forms[0]);
        histogram_pack(&h, &forms[1]);
        dense += forms[0].len != forms[1].len;
        for (unsigned k = 0; k < 2; k++)
            for (int twice = 0; twice < 2; twice++) {
                struct bytes at = buffer_bytes(&forms[k]), over = at;
                assert_int_equal(k == 0 ? histogram_decode_add(&at, &sums[k])
                                        : histogram_unpack_add(&at, &sums[k]),
                                 ERR_OK);
                assert_int_equal(histogram_skip(&over), ERR_OK);
                assert_true(at.len == 0 && over.len == 0);
                assert_true(k == 1 || count == 0 || forms[1].len < 2 * forms[0].len + 128);
            }
        for (unsigned k = 0; k < 2; k++)
            histogram_encode(&sums[k], &results[k]);
        assert_true(bytes_equal(buffer_bytes(&results[0]), buffer_bytes(&results[1])));
        struct histogram cut;
        histogram_init(&cut, NULL);
        for (int i = 0; i < 20 && forms[1].len > 3; i++) {
            struct buffer damaged;
            buffer_init(&damaged, SIZE_MAX);
            buffer_append_bytes(&damaged, buffer_bytes(&forms[1]));
            damaged.data[random_below(&r, damaged.len)] ^= (uint8_t)(1u << random_below(&r, 8));
            struct bytes at =
                bytes_slice(buffer_bytes(&damaged), 0, 1 + (size_t)random_below(&r, damaged.len));
            (void)!histogram_unpack_add(&at, &cut); /* what the sanitizers look at */
            buffer_deinit(&damaged);
        }
        histogram_deinit(&cut);
        histogram_deinit(&h);
        for (unsigned k = 0; k < 2; k++) {
            histogram_deinit(&sums[k]);
            buffer_deinit(&forms[k]);
            buffer_deinit(&results[k]);
        }
    }
    assert_true(dense > 300);
    assert_int_equal(fault_live_blocks(), 0);
}

/* What was recorded, added to a histogram in one of the ways in which answers are summed up. */
static void part_add(struct random *r, const struct histogram *part, struct histogram *into)
{
    struct buffer form;
    struct bytes at;
    struct histogram copy;
    unsigned way = (unsigned)random_below(r, 3);
    buffer_init(&form, SIZE_MAX);
    histogram_init(&copy, into->arena);
    if (way == 2)
        histogram_encode(part, &form);
    else
        histogram_pack(part, &form);
    at = buffer_bytes(&form);
    if (way == 2)
        assert_int_equal(histogram_decode_add(&at, into), ERR_OK);
    else
        assert_int_equal(histogram_unpack_add(&at, way == 0 ? into : &copy), ERR_OK);
    if (way == 1)
        assert_int_equal(histogram_merge(into, &copy), ERR_OK);
    buffer_deinit(&form);
}

static void assert_alike(const struct histogram *a, const struct histogram *b)
{
    static const double ranks[] = { 0, 0.1, 0.5, 0.9, 0.95, 0.99, 1 };
    static const double bounds[] = { 10, 1e3, 1e6, 1e9 };
    double x[7], y[7];
    uint64_t n[4], m[4];
    struct buffer forms[2];
    buffer_init(&forms[0], SIZE_MAX);
    buffer_init(&forms[1], SIZE_MAX);
    histogram_encode(a, &forms[0]);
    histogram_encode(b, &forms[1]);
    assert_true(bytes_equal(buffer_bytes(&forms[0]), buffer_bytes(&forms[1])));
    histogram_quantiles(a, ranks, 7, x);
    histogram_quantiles(b, ranks, 7, y);
    assert_memory_equal(x, y, sizeof x);
    histogram_cumulate(a, bounds, 4, n);
    histogram_cumulate(b, bounds, 4, m);
    assert_memory_equal(n, m, sizeof n);
    buffer_deinit(&forms[0]);
    buffer_deinit(&forms[1]);
}

/* In an arena counts are as narrow as they may be, and grow as others come: the same is said at each width. */
static void narrow_windows_say_the_same(void **state)
{
    (void)state;
    static const uint64_t times[] = { 1, 30, 3000, 1 << 20, UINT64_C(3) << 31 };
    struct random r;
    struct arena arena;
    unsigned seen[9] = { 0 };
    random_init(&r, 14);
    arena_init(&arena, SIZE_MAX, NULL);
    for (int round = 0; round < 1000; round++) {
        struct histogram plain, narrow;
        histogram_init(&plain, NULL);
        histogram_init(&narrow, &arena);
        uint64_t most = times[random_below(&r, sizeof times / sizeof times[0])];
        for (unsigned parts = 1 + (unsigned)random_below(&r, 4); parts > 0; parts--) {
            struct histogram part;
            histogram_init(&part, NULL);
            size_t d = (size_t)random_below(&r, DISTRIBUTIONS);
            for (uint64_t i = random_below(&r, round % 3 == 0 ? 3000 : 20); i > 0; i--)
                assert_int_equal(
                    histogram_record(&part, distributions[d](&r), 1 + random_below(&r, most)),
                    ERR_OK);
            if (random_below(&r, 10) == 0)
                assert_int_equal(histogram_downscale(&part, (int8_t)(5 - (int)random_below(&r, 8))),
                                 ERR_OK);
            assert_int_equal(histogram_merge(&plain, &part), ERR_OK);
            part_add(&r, &part, &narrow);
            if (random_below(&r, 8) == 0) {
                uint64_t value = distributions[d](&r), more = 1 + random_below(&r, most);
                assert_int_equal(histogram_record(&plain, value, more), ERR_OK);
                assert_int_equal(histogram_record(&narrow, value, more), ERR_OK);
            }
            assert_alike(&plain, &narrow);
            histogram_deinit(&part);
        }
        seen[narrow.width]++;
        histogram_deinit(&plain);
        arena_reset(&arena);
    }
    arena_deinit(&arena);
    assert_true(seen[1] > 20 && seen[2] > 20 && seen[4] > 20 && seen[8] > 20);
    assert_int_equal(fault_live_blocks(), 0);
}

static void damage_is_refused(void **state)
{
    (void)state;
    struct random r;
    random_init(&r, 6);
    struct histogram h;
    histogram_init(&h, NULL);
    for (int i = 0; i < 50; i++)
        assert_int_equal(histogram_record(&h, value_heavy(&r), 1), ERR_OK);
    struct buffer b;
    buffer_init(&b, SIZE_MAX);
    histogram_encode(&h, &b);
    for (size_t cut = 0; cut < b.len; cut++) {
        struct histogram out;
        histogram_init(&out, NULL);
        struct bytes at = bytes_of(b.data, cut);
        assert_int_equal(histogram_decode_add(&at, &out), ERR_CORRUPT);
        assert_int_equal(at.len, cut);
        histogram_deinit(&out);
    }
    for (int i = 0; i < 20000; i++) { /* whatever it says, it ends and stays inside */
        size_t at_byte = (size_t)random_below(&r, b.len);
        uint8_t before = b.data[at_byte];
        b.data[at_byte] = (uint8_t)random_next(&r);
        struct histogram out;
        histogram_init(&out, NULL);
        struct bytes at = buffer_bytes(&b);
        (void)!histogram_decode_add(&at, &out);
        histogram_deinit(&out);
        b.data[at_byte] = before;
    }
    buffer_deinit(&b);
    histogram_deinit(&h);
}

static void cumulated_counts_are_those_of_the_values(void **state)
{
    (void)state;
    static const double bounds[] = { 1, 500, 1e6, 5e6, 6e6, 1e9 };
    struct random r;
    random_init(&r, 8);
    struct histogram h;
    histogram_init(&h, NULL);
    uint64_t exact[6] = { 0 }, got[6];
    for (int i = 0; i < 5000; i++) {
        uint64_t v = i % 10 == 0 ? 0 : value_normal(&r);
        assert_int_equal(histogram_record(&h, v, 1), ERR_OK);
        for (int k = 0; k < 6; k++)
            exact[k] += (double)v <= bounds[k];
    }
    histogram_cumulate(&h, bounds, 6, got);
    assert_int_equal(got[0], 500);
    assert_int_equal(got[5], 5000);
    for (int k = 0; k < 6; k++) /* a cut bucket goes to one side whole */
        assert_true(llabs((long long)got[k] - (long long)exact[k]) < 60);
    histogram_deinit(&h);
}

/* Not a test of speed, which a shared machine would fail; it prints what one insertion takes. */
static void insertion_is_timed(void **state)
{
    (void)state;
    enum { COUNT = 1 << 16, ROUNDS = 16 };
    struct random r;
    random_init(&r, 9);
    uint64_t *values = mem_alloc_array(COUNT, sizeof *values);
    for (int i = 0; i < COUNT; i++)
        values[i] = 1000000 + (uint64_t)random_exponential(&r, 2e7);
    struct histogram h;
    histogram_init(&h, NULL);
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t begun = clock_mono_ns();
        for (int i = 0; i < COUNT; i++)
            (void)!histogram_record(&h, values[i], 1);
        uint64_t took = clock_mono_ns() - begun;
        best = took < best ? took : best;
    }
    (void)fprintf(stderr, "insertion: %.2f ns\n", (double)best / COUNT);
    assert_int_equal(h.count, (uint64_t)COUNT * ROUNDS);
    histogram_deinit(&h);
    mem_free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_the_bound),
        cmocka_unit_test(a_coarser_scale_is_caught),
        cmocka_unit_test(values_lie_in_their_buckets),
        cmocka_unit_test(merging_equals_recording),
        cmocka_unit_test(scattered_values_encode_alike),
        cmocka_unit_test(packed_ones_add_alike),
        cmocka_unit_test(narrow_windows_say_the_same),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(cumulated_counts_are_those_of_the_values),
        cmocka_unit_test(insertion_is_timed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
