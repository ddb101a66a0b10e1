/* SPDX-License-Identifier: Apache-2.0 */
/* page_cache.c - a list for every size; a kept mapping's first bytes are its link. */
#include "base/page_cache.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

/* Sizes are (8 + i) << shift pages: eight steps to a doubling, up to 16 MiB. */
enum { PAGE = 4096, STEPS = 8, SHIFTS = 9, CLASSES = STEPS * SHIFTS, NO_CLASS = -1 };

struct kept {
    struct kept *next;
};

static struct {
    pthread_mutex_t lock;
    struct kept *lists[CLASSES];
    size_t bytes, bytes_max;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER, .bytes_max = PAGE_CACHE_BYTES };

void page_cache_limit(size_t bytes)
{
    pthread_mutex_lock(&cache.lock);
    cache.bytes_max = bytes < PAGE_CACHE_BYTES ? bytes : PAGE_CACHE_BYTES;
    pthread_mutex_unlock(&cache.lock);
}

/* The class of `size` and what its mappings occupy; NO_CLASS where it is below 8 or above 4,096 pages. */
static int class_of(size_t size, size_t *occupied)
{
    if (size > SIZE_MAX - PAGE * (size_t)STEPS) {
        *occupied = 0;
        return NO_CLASS;
    }
    size_t pages = (size + PAGE - 1) / PAGE;
    unsigned shift = 0;
    while (shift < SHIFTS && pages > (size_t)(2 * STEPS - 1) << shift)
        shift++;
    if (pages < STEPS || shift == SHIFTS) {
        *occupied = pages * PAGE;
        return NO_CLASS;
    }
    size_t steps = (pages + ((size_t)1 << shift) - 1) >> shift;
    *occupied = (steps << shift) * PAGE;
    return (int)(shift * STEPS + steps - STEPS);
}

size_t page_cache_rounded(size_t size)
{
    size_t occupied;
    (void)class_of(size, &occupied);
    return occupied;
}

static void *take(size_t size, int flags)
{
    size_t occupied;
    int class = class_of(size, &occupied);
    struct kept *block = NULL;
    if (class != NO_CLASS) {
        pthread_mutex_lock(&cache.lock);
        block = cache.lists[class];
        if (block != NULL) {
            cache.lists[class] = block->next;
            cache.bytes -= occupied;
        }
        pthread_mutex_unlock(&cache.lock);
    }
    if (block != NULL || occupied == 0)
        return block;
    void *mapped =
        mmap(NULL, occupied, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

void *page_cache_take(size_t size)
{
    return take(size, 0);
}

void *page_cache_take_filled(size_t size)
{
    return take(size, MAP_POPULATE);
}

void page_cache_give(void *block, size_t size)
{
    size_t occupied;
    int class = class_of(size, &occupied);
    struct kept *kept = block;
    if (class != NO_CLASS) {
        pthread_mutex_lock(&cache.lock);
        if (cache.bytes <= cache.bytes_max && occupied <= cache.bytes_max - cache.bytes) {
            kept->next = cache.lists[class];
            cache.lists[class] = kept;
            cache.bytes += occupied;
            kept = NULL;
        }
        pthread_mutex_unlock(&cache.lock);
    }
    if (kept != NULL)
        (void)munmap(block, occupied);
}

void page_cache_drop(void)
{
    for (size_t class = 0; class < CLASSES; class ++) {
        pthread_mutex_lock(&cache.lock);
        struct kept *list = cache.lists[class];
        cache.lists[class] = NULL;
        size_t occupied = ((STEPS + class % STEPS) << class / STEPS) * PAGE;
        for (struct kept *k = list; k != NULL; k = k->next)
            cache.bytes -= occupied;
        pthread_mutex_unlock(&cache.lock);
        while (list != NULL) {
            struct kept *next = list->next;
            (void)munmap(list, occupied);
            list = next;
        }
    }
}
