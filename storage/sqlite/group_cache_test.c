/* SPDX-License-Identifier: Apache-2.0 */
/* The cache of open row groups gives back what it was given, once, and holds no more than it may: what was
 * not used for long goes first, what was used just now stays, and what nobody asks for goes with time. The
 * groups are real ones, in memory; the allocator counts that none is lost or freed twice. */
#include "base/mem.h"
#include "proto/pb_writer.h"
#include "storage/rowgroup/rowgroup_testing.h"
#include "storage/sqlite/group_cache.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct fixture {
    struct buffer encoded;
    struct bytes bytes;
    struct group_cache cache;
    long blocks;
};

static void fixture_begin(struct fixture *f, size_t groups)
{
    struct buffer body;
    buffer_init(&body, SIZE_MAX);
    buffer_init(&f->encoded, SIZE_MAX);
    size_t resource_spans = pb_begin(&body, OTLP_DATA_RESOURCE_GROUPS);
    size_t scope_spans = pb_begin(&body, OTLP_GROUP_SCOPE_GROUPS);
    size_t span = pb_begin(&body, OTLP_SCOPE_ITEMS);
    pb_bytes(&body, 1, BYTES_LITERAL("0123456789abcdef"));
    pb_bytes(&body, 2, BYTES_LITERAL("01234567"));
    pb_end(&body, span);
    pb_end(&body, scope_spans);
    pb_end(&body, resource_spans);
    assert_int_equal(testing_build(SIGNAL_TRACES, buffer_bytes(&body), &f->encoded, NULL), ERR_OK);
    buffer_deinit(&body);
    f->bytes = buffer_bytes(&f->encoded);
    f->blocks = fault_live_blocks();
    group_cache_init(&f->cache, groups);
}

static void fixture_end(struct fixture *f)
{
    group_cache_deinit(&f->cache);
    assert_int_equal(fault_live_blocks(), f->blocks);
    buffer_deinit(&f->encoded);
}

/* At rest, as a query would give it back. */
static struct opened_group *opened(struct fixture *f, uint64_t serial)
{
    struct opened_group *o = mem_zalloc(sizeof *o);
    assert_non_null(o);
    o->serial = serial;
    arena_init(&o->arena, SIZE_MAX, NULL);
    struct rowgroup_source source = testing_source(&f->bytes);
    assert_int_equal(rowgroup_segment_open(&source, &o->arena, &o->segment), ERR_OK);
    uint32_t row;
    size_t count;
    struct trace_id id = { "0123456789abcde" };
    assert_int_equal(o->segment->ops->find_trace(o->segment, &id, &row, 1, &count), ERR_OK);
    assert_true(rowgroup_segment_rest(o->segment));
    return o;
}

static size_t cost(struct fixture *f)
{
    struct opened_group *o = opened(f, 0);
    size_t bytes = sizeof *o + o->arena.held_bytes;
    opened_group_free(o);
    return bytes;
}

static bool has(struct fixture *f, uint64_t serial, uint64_t now)
{
    struct opened_group *o = group_cache_take(&f->cache, serial);
    if (o == NULL)
        return false;
    assert_int_equal(o->serial, serial);
    assert_null(group_cache_take(&f->cache, serial)); /* it is one query's */
    rowgroup_segment_wake(o->segment, NULL);
    assert_true(rowgroup_segment_rest(o->segment));
    group_cache_give(&f->cache, o, now);
    return true;
}

static void what_was_given_is_there_once(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f, SIZE_MAX);
    for (uint64_t serial = 1; serial <= 3; serial++)
        for (uint64_t step = 0; step < 3; step++) /* three in one bucket */
            group_cache_give(&f.cache, opened(&f, serial + step * GROUP_CACHE_BUCKETS), 1);
    group_cache_give(&f.cache, opened(&f, 2), 1); /* another query had its own: one is kept */
    for (uint64_t serial = 1; serial <= 3; serial++)
        for (uint64_t step = 0; step < 3; step++)
            assert_true(has(&f, serial + step * GROUP_CACHE_BUCKETS, 2));
    assert_false(has(&f, 4, 2));
    struct opened_group *o = group_cache_take(&f.cache, 2);
    assert_null(group_cache_take(&f.cache, 2));
    opened_group_free(o);
    assert_false(has(&f, 2, 2));
    fixture_end(&f);
}

static void the_least_used_makes_room(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f, SIZE_MAX);
    size_t bytes = cost(&f);
    f.cache.budget.limit_bytes = 3 * bytes;
    uint64_t now = 100 * NS_PER_S;
    for (uint64_t serial = 1; serial <= 3; serial++)
        group_cache_give(&f.cache, opened(&f, serial), now);
    group_cache_give(&f.cache, opened(&f, 4), now + 1);
    assert_false(has(&f, 4, now)); /* all others were used just now */
    now += GROUP_CACHE_HOT_NS + 1;
    assert_true(has(&f, 1, now));
    group_cache_give(&f.cache, opened(&f, 5), now);
    assert_false(has(&f, 2, now));
    assert_true(has(&f, 1, now) && has(&f, 3, now) && has(&f, 5, now));
    assert_int_equal(budget_used(&f.cache.budget), 3 * bytes);
    f.cache.budget.limit_bytes = bytes - 1;
    group_cache_give(&f.cache, opened(&f, 6), now + 2 * GROUP_CACHE_HOT_NS);
    assert_int_equal(budget_used(&f.cache.budget),
                     0); /* all went, and it does not fit all the same */
    fixture_end(&f);
}

static void what_nobody_asks_for_goes(void **state)
{
    (void)state;
    struct fixture f;
    fixture_begin(&f, SIZE_MAX);
    uint64_t now = 100 * NS_PER_S;
    group_cache_give(&f.cache, opened(&f, 1), now);
    group_cache_give(&f.cache, opened(&f, 2), now + 5);
    group_cache_tend(&f.cache, now + GROUP_CACHE_KEPT_NS);
    assert_true(f.cache.oldest != NULL && f.cache.oldest->serial == 1);
    group_cache_tend(&f.cache, now + GROUP_CACHE_KEPT_NS + 1);
    assert_false(has(&f, 1, now));
    assert_true(has(&f, 2, now + 5));
    group_cache_tend(&f.cache, now + GROUP_CACHE_KEPT_NS + 6);
    assert_int_equal(budget_used(&f.cache.budget), 0);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_given_is_there_once),
        cmocka_unit_test(the_least_used_makes_room),
        cmocka_unit_test(what_nobody_asks_for_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
