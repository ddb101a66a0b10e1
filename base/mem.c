/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - malloc, counted and made to fail in builds with SPINDLE_FAULTS. */
#include "base/mem.h"

#include "base/page_cache.h"
#include "base/shelf.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if SPINDLE_FAULTS

static _Atomic long live_blocks;
static _Atomic long fail_countdown = -1; /* -1: off */
static _Atomic bool fail_sticky, fail_fired;

static bool fault_hits(void)
{
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) < 0)
        return false;
    if (atomic_load(&fail_sticky) && atomic_load(&fail_fired))
        return true;
    if (atomic_fetch_sub(&fail_countdown, 1) != 0)
        return false;
    atomic_store(&fail_fired, true);
    if (atomic_load(&fail_sticky))
        atomic_store(&fail_countdown, 0);
    return true;
}

void fault_alloc_fail_at(unsigned long n, bool sticky)
{
    atomic_store(&fail_countdown, -1);
    atomic_store(&fail_fired, false);
    atomic_store(&fail_sticky, sticky);
    atomic_store(&fail_countdown, (long)n);
}

void fault_alloc_off(void)
{
    atomic_store(&fail_countdown, -1);
}

bool fault_fired(void)
{
    return atomic_load(&fail_fired);
}

long fault_live_blocks(void)
{
    return atomic_load(&live_blocks);
}

static void count_block(const void *block, long change)
{
    if (block != NULL)
        atomic_fetch_add_explicit(&live_blocks, change, memory_order_relaxed);
}

#else

static inline bool fault_hits(void)
{
    return false;
}
static inline void count_block(const void *block, long change)
{
    (void)block;
    (void)change;
}
void fault_alloc_fail_at(unsigned long n, bool sticky)
{
    (void)n;
    (void)sticky;
}
void fault_alloc_off(void)
{
}
bool fault_fired(void)
{
    return false;
}
long fault_live_blocks(void)
{
    return 0;
}

#endif

bool fault_refuses(void)
{
    return fault_hits();
}

void fault_count(long change)
{
    count_block(&change, change);
}

void *mem_alloc(size_t size)
{
    void *block = fault_hits() ? NULL : malloc(size == 0 ? 1 : size);
    count_block(block, 1);
    return block;
}

void *mem_zalloc(size_t size)
{
    void *block = fault_hits() ? NULL : calloc(1, size == 0 ? 1 : size);
    count_block(block, 1);
    return block;
}

void *mem_alloc_array(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return mem_zalloc(total);
}

void *mem_realloc(void *block, size_t size)
{
    void *grown = fault_hits() ? NULL : realloc(block, size == 0 ? 1 : size);
    if (block == NULL)
        count_block(grown, 1);
    return grown;
}

void mem_free(void *block)
{
    count_block(block, -1);
    free(block);
}

void *mem_map(size_t size)
{
    void *block = fault_hits() || size == 0 ? NULL : page_cache_take(size);
    count_block(block, 1);
    return block;
}

void *mem_map_filled(size_t size)
{
    void *block = fault_hits() || size == 0 ? NULL : page_cache_take_filled(size);
    count_block(block, 1);
    return block;
}

void *mem_map_resize(void *block, size_t size, size_t new_size)
{
    size_t from = page_cache_rounded(size), to = page_cache_rounded(new_size);
    if (fault_hits() || to == 0)
        return NULL;
    if (from == to)
        return block;
    void *moved = mremap(block, from, to, MREMAP_MAYMOVE);
    return moved == MAP_FAILED ? NULL : moved;
}

void mem_unmap(void *block, size_t size)
{
    count_block(block, -1);
    if (block != NULL)
        page_cache_give(block, size);
}

void mem_map_rest(void *block, size_t size)
{
    (void)madvise(block, page_cache_rounded(size), MADV_DONTNEED);
}

void mem_trim(void)
{
    shelf_trim();
    page_cache_drop();
    (void)malloc_trim(0);
}

char *mem_text(const void *text, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = mem_alloc(len + 1);
    if (copy == NULL)
        return NULL;
    if (len != 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
