/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that trace filters which nobody asks take no memory, that they are whole again for whoever asks, also those
 * that came or went meanwhile, and that one which cannot be read again rules nothing out. */
#include "base/hash.h"
#include "base/mem.h"
#include "base/random.h"
#include "storage/rowgroup/rowgroup.h"
#include "storage/sqlite/filter_room.h"
#include "storage/testing/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILTERS  300u
#define TRACES   2000u /* of a filter: 2.7 KiB */
#define PAGE     ((uintptr_t)4096)
#define AGAIN_NS (300 * NS_PER_S)

struct held {
    struct bytes filter;
    struct filter_chunk *chunk;
    uint64_t hash;
    uint32_t first; /* trace */
};

static struct trace_id trace_of(uint32_t number)
{
    struct trace_id id;
    uint64_t mixed[2] = { random_mix64(number), random_mix64(number + (UINT64_C(1) << 40)) };
    memcpy(id.b, mixed, sizeof id.b);
    return id;
}

static struct held put(struct filter_room *r, uint32_t first, uint32_t traces)
{
    struct held h = { .first = first };
    struct buffer filter;
    buffer_init(&filter, SIZE_MAX);
    struct trace_id *ids = mem_alloc_array(traces, sizeof *ids);
    assert_non_null(ids);
    for (uint32_t i = 0; i < traces; i++)
        ids[i] = trace_of(first + i);
    assert_int_equal(trace_filter_build(ids, traces, &filter), ERR_OK);
    assert_int_equal(filter_room_put(r, buffer_bytes(&filter), &h.filter, &h.chunk), ERR_OK);
    h.hash = hash_bytes(buffer_bytes(&filter));
    mem_free(ids);
    buffer_deinit(&filter);
    return h;
}

static bool is_whole(const struct held *h)
{
    struct trace_id id = trace_of(h->first);
    return hash_bytes(h->filter) == h->hash && trace_filter_may_contain(h->filter, &id);
}

/* Of the pages that the filters lie in. */
static size_t resident_pages(const struct held *held, size_t count)
{
    size_t resident = 0;
    uintptr_t last = 0;
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = (uintptr_t)held[i].filter.data & ~(PAGE - 1);
        for (uintptr_t at = from; at < (uintptr_t)held[i].filter.data + held[i].filter.len;
             at += PAGE) {
            unsigned char state = 0;
            assert_int_equal(mincore((void *)at, PAGE, &state), 0); // NOLINT
            resident += at != last && (state & 1);
            last = at;
        }
    }
    return resident;
}

static void filters_rest_and_are_whole_again(void **state)
{
    const struct rest_policy policy = { *state, NS_PER_S, AGAIN_NS };
    struct filter_room r;
    struct held held[FILTERS + 2];
    size_t count = 0;
    clock_fake_set(NS_PER_S, NS_PER_S);
    assert_int_equal(filter_room_init(&r), ERR_OK);
    for (; count < FILTERS; count++)
        held[count] = put(&r, (uint32_t)count * TRACES, TRACES);
    assert_true(r.chunk_bytes < r.bytes + r.bytes / 16 + FILTER_CHUNK_BYTES);
    assert_true(resident_pages(held, count) > 150);

    /* Not while somebody looks, and not at once after. */
    filter_room_use(&r);
    clock_fake_advance(100 * NS_PER_S);
    filter_room_rest(&r, &policy);
    assert_true(resident_pages(held, count) > 150);
    filter_room_leave(&r);
    filter_room_rest(&r, &policy);
    assert_true(resident_pages(held, count) > 150);
    clock_fake_advance(NS_PER_S);
    filter_room_rest(&r, &policy);
    assert_int_equal(resident_pages(held, count), 0);

    /* What comes meanwhile; one larger than a chunk too. */
    held[count] = put(&r, 10000000, TRACES);
    count++;
    held[count] = put(&r, 20000000, 100000);
    count++;
    filter_room_use(&r);
    for (size_t i = 0; i < count; i++)
        assert_true(is_whole(&held[i]));
    filter_room_leave(&r);

    /* Half of them go while they rest; the chunks of the others are as they were. */
    clock_fake_advance(AGAIN_NS + NS_PER_S);
    filter_room_rest(&r, &policy);
    assert_int_equal(resident_pages(held, count), 0);
    size_t before = r.chunk_bytes;
    for (size_t i = 0; i < FILTERS / 2; i++)
        filter_room_drop(&r, held[i].chunk, held[i].filter);
    assert_true(r.chunk_bytes < before - before / 4);
    filter_room_use(&r);
    for (size_t i = FILTERS / 2; i < count; i++)
        assert_true(is_whole(&held[i]));
    filter_room_leave(&r);
    for (size_t i = FILTERS / 2; i < count; i++)
        filter_room_drop(&r, held[i].chunk, held[i].filter);
    assert_int_equal(r.bytes, 0);
    assert_int_equal(r.chunk_bytes, 0);
    filter_room_deinit(&r);
    clock_fake_off();
}

static void what_cannot_be_read_rules_nothing_out(void **state)
{
    const struct rest_policy policy = { *state, 0, 0 };
    struct filter_room r;
    assert_int_equal(filter_room_init(&r), ERR_OK);
    struct held h = put(&r, 0, TRACES);
    struct trace_id id = trace_of(5000000);
    assert_false(trace_filter_may_contain(h.filter, &id)); /* it happens not to hit */
    struct trace_filter_place place = trace_filter_place_of(h.filter);
    assert_int_equal(trace_filter_next(&place, 1, 0, trace_filter_hash(&id)), 1);
    filter_room_rest(&r, &policy);
    assert_int_equal(resident_pages(&h, 1), 0);
    assert_int_equal(pwrite(r.file.descriptor - 1, "damage", 6, 100), 6);
    filter_room_use(&r);
    for (uint32_t i = 0; i < TRACES; i++) {
        struct trace_id stored = trace_of(i);
        assert_true(trace_filter_may_contain(h.filter, &stored));
    }
    assert_true(trace_filter_may_contain(h.filter, &id));
    assert_int_equal(trace_filter_next(&place, 1, 0, trace_filter_hash(&id)), 0);
    filter_room_leave(&r);
    filter_room_drop(&r, h.chunk, h.filter);
    filter_room_deinit(&r);
}

static int setup(void **state)
{
    static char directory[128];
    scratch_make(directory);
    *state = directory;
    return 0;
}

static int teardown(void **state)
{
    scratch_remove(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(filters_rest_and_are_whole_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_rules_nothing_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
