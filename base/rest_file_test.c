/* SPDX-License-Identifier: Apache-2.0 */
/* Shows that a block that rests takes no memory and comes back as it was, that what has not changed is not written
 * again, and that a damaged file is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rest_file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE     ((size_t)4096)
#define BLOCK    (64 * PAGE)
#define FILLED   (BLOCK - 100)
#define AGAIN_NS (300 * NS_PER_S)

static char directory[128];
static const struct rest_policy policy = { directory, 0, AGAIN_NS };
static const struct rest_policy nowhere = { "/nowhere/at/all", 0, AGAIN_NS };

static int directory_make(void **state)
{
    (void)state;
    const char *where = getenv("TMPDIR");
    (void)snprintf(directory, sizeof directory, "%s/rest-test-XXXXXX",
                   where == NULL ? "/tmp" : where);
    return mkdtemp(directory) == NULL;
}

/* Which also shows that nothing is left in it. */
static int directory_remove(void **state)
{
    (void)state;
    return rmdir(directory);
}

static size_t resident_pages(void *block)
{
    unsigned char pages[BLOCK / PAGE];
    assert_int_equal(mincore(block, BLOCK, pages), 0);
    size_t resident = 0;
    for (size_t i = 0; i < BLOCK / PAGE; i++)
        resident += pages[i] & 1;
    return resident;
}

static uint8_t *block_make(uint8_t seed)
{
    uint8_t *block = mem_map(BLOCK);
    assert_non_null(block);
    for (size_t i = 0; i < FILLED; i++)
        block[i] = (uint8_t)(seed + i * 7 + i / PAGE);
    return block;
}

static bool is_whole(const uint8_t *block, uint8_t seed)
{
    for (size_t i = 0; i < FILLED; i++)
        if (block[i] != (uint8_t)(seed + i * 7 + i / PAGE))
            return false;
    return true;
}

static void a_block_rests_and_comes_back(void **state)
{
    (void)state;
    clock_fake_set(NS_PER_S, NS_PER_S);
    struct rest_file f = { 0 };
    struct rest_place p = { 0 }, q = { 0 };
    uint8_t *block = block_make(1), *other = block_make(2);
    assert_int_equal(resident_pages(block), BLOCK / PAGE);
    assert_int_equal(rest_file_put(&f, &p, &policy, block, BLOCK, FILLED, false), ERR_OK);
    assert_int_equal(rest_file_put(&f, &q, &policy, other, BLOCK, FILLED, false), ERR_OK);
    assert_int_equal(resident_pages(block), 0);
    assert_int_equal(rest_file_take(&f, &p, block), ERR_OK);
    assert_int_equal(rest_file_take(&f, &q, other), ERR_OK);
    assert_int_equal(rest_file_take(&f, &q, other), ERR_OK); /* does nothing */
    assert_true(is_whole(block, 1) && is_whole(other, 2));

    /* Unchanged it rests again at once; changed, not so soon. */
    uint64_t written = p.written_mono_ns;
    clock_fake_advance(NS_PER_S);
    assert_int_equal(rest_file_put(&f, &p, &policy, block, BLOCK, FILLED, false), ERR_OK);
    assert_int_equal(p.written_mono_ns, written);
    assert_int_equal(resident_pages(block), 0);
    assert_int_equal(rest_file_take(&f, &p, block), ERR_OK);
    block[5] ^= 1;
    assert_int_equal(rest_file_put(&f, &p, &policy, block, BLOCK, FILLED, true), ERR_BUSY);
    assert_int_equal(resident_pages(block), BLOCK / PAGE);
    clock_fake_advance(AGAIN_NS);
    assert_int_equal(rest_file_put(&f, &p, &policy, block, BLOCK, FILLED, true), ERR_OK);
    assert_int_equal(rest_file_take(&f, &p, block), ERR_OK);
    block[5] ^= 1;
    assert_true(is_whole(block, 1));

    struct stat before, after;
    assert_int_equal(fstat(f.descriptor - 1, &before), 0);
    rest_file_forget(&f, &p);
    assert_int_equal(fstat(f.descriptor - 1, &after), 0);
    assert_true(after.st_blocks <= before.st_blocks); /* less, where the file system can */
    mem_unmap(block, BLOCK);
    mem_unmap(other, BLOCK);
    rest_file_deinit(&f);
    rest_file_deinit(&f);
    clock_fake_off();
}

static void what_cannot_rest_stays(void **state)
{
    (void)state;
    struct rest_file f = { 0 };
    struct rest_place p = { 0 };
    uint8_t *block = block_make(3);
    assert_int_equal(rest_file_put(&f, &p, &nowhere, block, BLOCK, FILLED, false), ERR_IO);
    assert_int_equal(rest_file_take(&f, &p, block), ERR_OK);
    assert_true(is_whole(block, 3));
    mem_unmap(block, BLOCK);
    rest_file_deinit(&f);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct rest_file f = { 0 };
    struct rest_place p = { 0 };
    uint8_t *block = block_make(4);
    assert_int_equal(rest_file_put(&f, &p, &policy, block, BLOCK, FILLED, false), ERR_OK);
    assert_int_equal(pwrite(f.descriptor - 1, "", 1, 4711), 1); /* its byte was not 0 */
    assert_int_equal(rest_file_take(&f, &p, block), ERR_CORRUPT);
    for (size_t i = 0; i < FILLED; i++)
        assert_int_equal(block[i], 0);
    rest_file_deinit(&f);
    p = (struct rest_place){ 0 };
    assert_int_equal(rest_file_put(&f, &p, &policy, block, BLOCK, FILLED, true), ERR_OK);
    assert_int_equal(ftruncate(f.descriptor - 1, 10), 0);
    assert_int_equal(rest_file_take(&f, &p, block), ERR_CORRUPT);
    mem_unmap(block, BLOCK);
    rest_file_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_rests_and_comes_back),
        cmocka_unit_test(what_cannot_rest_stays),
        cmocka_unit_test(damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, directory_make, directory_remove);
}
