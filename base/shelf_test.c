/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of every size hold what is put into them until they are freed, whatever comes and goes beside them; what is
 * freed is used again, and shelves on which nothing is left go back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/shelf.h"

#include <stdalign.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCKS 4000u

struct held {
    uint8_t *block;
    size_t size;
    uint8_t seed;
};

static void fill(struct held *h)
{
    for (size_t i = 0; i < h->size; i++)
        h->block[i] = (uint8_t)(h->seed + i * 13);
}

static bool is_whole(const struct held *h)
{
    for (size_t i = 0; i < h->size; i++)
        if (h->block[i] != (uint8_t)(h->seed + i * 13))
            return false;
    return true;
}

static void blocks_keep_what_they_hold(void **state)
{
    (void)state;
    static struct held held[BLOCKS];
    struct random r;
    random_init(&r, 3);
    for (unsigned step = 0; step < 20 * BLOCKS; step++) {
        struct held *h = &held[random_below(&r, BLOCKS)];
        if (h->block != NULL) {
            assert_true(is_whole(h));
            shelf_free(h->block);
            h->block = NULL;
            continue;
        }
        size_t most = random_below(&r, 8) == 0 ? SHELF_BLOCK_MAX + 64 : 700;
        h->size = random_below(&r, most);
        h->seed = (uint8_t)step;
        bool is_zeroed = step % 2 == 0;
        h->block = is_zeroed ? shelf_zalloc(h->size) : shelf_alloc(h->size);
        assert_non_null(h->block);
        assert_int_equal((uintptr_t)h->block % alignof(max_align_t), 0);
        for (size_t i = 0; is_zeroed && i < h->size; i++)
            assert_int_equal(h->block[i], 0);
        fill(h);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        assert_true(held[i].block == NULL || is_whole(&held[i]));
        shelf_free(held[i].block);
        held[i].block = NULL;
    }
}

static void the_largest_and_what_is_larger(void **state)
{
    (void)state;
    for (size_t size = SHELF_BLOCK_MAX - 300; size < SHELF_BLOCK_MAX + 300; size++) {
        struct held a = { shelf_alloc(size), size, 1 }, b = { shelf_alloc(size), size, 2 };
        assert_non_null(a.block);
        assert_non_null(b.block);
        fill(&a);
        fill(&b);
        assert_true(is_whole(&a) && is_whole(&b));
        shelf_free(a.block);
        shelf_free(b.block);
    }
    assert_null(shelf_alloc(SIZE_MAX));
    shelf_free(NULL);
}

#ifndef __SANITIZE_ADDRESS__ /* there each block is the heap's */
static void what_is_freed_is_used_again(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static uint8_t *blocks[2][COUNT];
    mem_trim();
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            assert_non_null(blocks[round][i] = shelf_alloc(1000));
        for (unsigned i = 0; i < COUNT; i++)
            shelf_free(blocks[round][(i * 7919u) % COUNT]);
    }
    uintptr_t least[2] = { UINTPTR_MAX, UINTPTR_MAX }, most[2] = { 0, 0 };
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            uintptr_t at = (uintptr_t)blocks[round][i];
            least[round] = at < least[round] ? at : least[round];
            most[round] = at > most[round] ? at : most[round];
        }
    }
    assert_true(least[0] <= most[1] && least[1] <= most[0]); /* the same stretch of memory */

    /* An empty shelf stays until it is asked back. */
    unsigned char mapped;
    void *last = shelf_alloc(1000);
    uintptr_t page = (uintptr_t)last & ~(uintptr_t)4095;
    shelf_free(last);
    assert_int_equal(mincore((void *)page, 4096, &mapped), 0); // NOLINT
    mem_trim();
    assert_int_equal(mincore((void *)page, 4096, &mapped), -1); // NOLINT
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_what_they_hold),
        cmocka_unit_test(the_largest_and_what_is_larger),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(what_is_freed_is_used_again),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
