/* SPDX-License-Identifier: Apache-2.0 */
/* A trace filter never says no to a trace that is in it, and says yes to few others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "storage/rowgroup/rowgroup.h"

static struct trace_id random_id(struct random *r)
{
    struct trace_id id;
    store_le64(id.b, random_next(r));
    store_le64(id.b + 8, random_next(r));
    return id;
}

typedef enum err build_fn(const struct trace_id *distinct, size_t count, struct buffer *out);

static void check_filter(build_fn *build, size_t bits, size_t false_hits_in_10000)
{
    static const size_t counts[] = { 1, 2, 7, 24, 25, 1000, 2731, 20000 };
    struct random r;
    random_init(&r, 17);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        size_t count = counts[c], hits = 0, probes = 200000;
        struct trace_id *ids = mem_alloc_array(count, sizeof *ids);
        struct buffer filter;
        buffer_init(&filter, SIZE_MAX);
        for (size_t i = 0; i < count; i++)
            ids[i] = random_id(&r);
        assert_int_equal(build(ids, count, &filter), ERR_OK);
        for (size_t i = 0; i < count; i++)
            assert_true(trace_filter_may_contain(buffer_bytes(&filter), &ids[i]));
        for (size_t i = 0; i < probes; i++) {
            struct trace_id other = random_id(&r);
            hits += trace_filter_may_contain(buffer_bytes(&filter), &other);
        }
        print_message("%zu traces: %.2f bits a trace, %.3f %% false hits\n", count,
                      8.0 * (double)filter.len / (double)count,
                      100.0 * (double)hits / (double)probes);
        assert_true(hits * 10000 < probes * false_hits_in_10000);
        if (count >= 1000)
            assert_true(filter.len * 8 < count * (bits + 1));
        mem_free(ids);
        buffer_deinit(&filter);
    }
}

static void finds_all_and_few_others(void **state)
{
    (void)state;
    check_filter(trace_filter_build, 21, 10);
    check_filter(trace_filter_build_small, 10, 200);
}

/* Asking many at once says what asking each by itself does; among them are empty ones and unreadable ones. */
static void many_are_asked_as_each(void **state)
{
    (void)state;
    enum { FILTERS = 300, TRACES = 200 };
    static struct buffer filters[FILTERS];
    static struct trace_filter_place places[FILTERS];
    static struct trace_id known[FILTERS];
    struct random r;
    random_init(&r, 23);
    for (size_t f = 0; f < FILTERS; f++) {
        struct trace_id ids[TRACES];
        buffer_init(&filters[f], SIZE_MAX);
        for (size_t i = 0; i < TRACES; i++)
            ids[i] = random_id(&r);
        known[f] = ids[0];
        if (f % 50 == 7)
            buffer_append(&filters[f], "odd", 3);
        else if (f % 50 != 9)
            assert_int_equal(
                trace_filter_build_small(ids, 1 + random_below(&r, TRACES), &filters[f]), ERR_OK);
        places[f] = trace_filter_place_of(buffer_bytes(&filters[f]));
    }
    for (size_t n = 0; n < 2000; n++) {
        struct trace_id id = n % 2 == 0 ? known[random_below(&r, FILTERS)] : random_id(&r);
        uint64_t hash = trace_filter_hash(&id);
        size_t at = trace_filter_next(places, FILTERS, 0, hash);
        for (size_t f = 0; f < FILTERS; f++) {
            if (!trace_filter_may_contain(buffer_bytes(&filters[f]), &id))
                continue;
            assert_int_equal(at, f);
            at = trace_filter_next(places, FILTERS, f + 1, hash);
        }
        assert_int_equal(at, FILTERS);
    }
    for (size_t f = 0; f < FILTERS; f++)
        buffer_deinit(&filters[f]);
}

static void unreadable_filters_rule_nothing_out(void **state)
{
    (void)state;
    struct trace_id id = { { 1 } };
    static const uint8_t odd[40] = { 9 };
    assert_true(trace_filter_may_contain(bytes_of(odd, sizeof odd), &id));
    assert_true(trace_filter_may_contain(bytes_of(odd, 3), &id));
    assert_false(trace_filter_may_contain((struct bytes){ 0 }, &id)); /* no trace at all */
}

static void changed_bytes_are_noticed(void **state)
{
    (void)state;
    struct trace_id ids[100] = { 0 };
    struct buffer filter;
    for (size_t i = 0; i < 100; i++)
        ids[i].b[3] = (uint8_t)(i + 1);
    buffer_init(&filter, SIZE_MAX);
    assert_int_equal(trace_filter_build(ids, 100, &filter), ERR_OK);
    struct bytes whole = buffer_bytes(&filter);
    assert_true(trace_filter_is_intact(whole));
    for (size_t i = 0; i < filter.len; i++) {
        filter.data[i] ^= 0x10;
        assert_false(trace_filter_is_intact(whole));
        filter.data[i] ^= 0x10;
    }
    assert_false(trace_filter_is_intact(bytes_of(whole.data, whole.len - 32)));
    assert_false(trace_filter_is_intact(bytes_of(whole.data, whole.len - 1)));

    /* As files have them that were written before. */
    memcpy(filter.data, "\1\0\0", 4);
    assert_true(trace_filter_is_intact(whole));
    for (size_t i = 0; i < 100; i++)
        assert_true(trace_filter_may_contain(whole, &ids[i]));
    buffer_deinit(&filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_all_and_few_others),
        cmocka_unit_test(many_are_asked_as_each),
        cmocka_unit_test(unreadable_filters_rule_nothing_out),
        cmocka_unit_test(changed_bytes_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
