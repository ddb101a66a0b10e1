/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shelf.h"

#include "base/mem.h"
#include "base/page_cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Sizes of slots, their heads included: steps of 16 bytes up to 256, then sixteen to a doubling. */
enum { STEP = 16, STEPS = 16, DOUBLINGS = 7, CLASSES = STEPS * DOUBLINGS };
#define SLOT_MAX    ((size_t)STEP * STEPS << (DOUBLINGS - 1))
#define SHELF_LEAST ((size_t)64 << 10)
#define SLOTS_LEAST 32u
#define PAGE_BYTES  4096u

struct shelf {
    struct shelf *next, *before; /* of its size, with a free slot */
    struct slot *free;
    uint32_t size_class, slots, used,
        free_count; /* slots that were ever given away; of these, free ones */
};

/* In front of each block. */
struct slot {
    union {
        struct shelf *shelf; /* in use; NULL: the heap's */
        struct slot *next_free;
    };
    uint64_t padding;
};
static_assert(sizeof(struct slot) % alignof(max_align_t) == 0, "blocks are aligned for any type");

#define SHELF_HEAD ((size_t)64)
static_assert(SHELF_HEAD >= sizeof(struct shelf), "slots follow the head");

static struct {
    pthread_mutex_t lock; /* guards all shelves */
    struct shelf *with_room[CLASSES];
} shelves = { .lock = PTHREAD_MUTEX_INITIALIZER };

static uint32_t class_of(size_t size)
{
    unsigned shift = 0;
    while (size > (size_t)(2 * STEPS * STEP) << shift)
        shift++;
    if (size <= (size_t)STEPS * STEP)
        return (uint32_t)((size + STEP - 1) / STEP - 1);
    size_t step = (size_t)STEP << shift;
    return (uint32_t)((shift + 1) * STEPS + (size + step - 1) / step - STEPS - 1);
}

static size_t class_bytes(uint32_t size_class)
{
    if (size_class < STEPS)
        return (size_class + 1) * (size_t)STEP;
    unsigned shift = size_class / STEPS - 1;
    return ((size_t)STEP << shift) * (STEPS + size_class % STEPS + 1);
}

static bool is_full(const struct shelf *s)
{
    return s->used == s->slots && s->free_count == 0;
}

static void shelf_link(struct shelf *s)
{
    struct shelf **first = &shelves.with_room[s->size_class];
    s->before = NULL;
    s->next = *first;
    if (*first != NULL)
        (*first)->before = s;
    *first = s;
}

static void shelf_unlink(struct shelf *s)
{
    if (s->before != NULL)
        s->before->next = s->next;
    else
        shelves.with_room[s->size_class] = s->next;
    if (s->next != NULL)
        s->next->before = s->before;
}

static size_t shelf_bytes(uint32_t size_class)
{
    size_t bytes = SHELF_HEAD + SLOTS_LEAST * class_bytes(size_class);
    return bytes < SHELF_LEAST ? SHELF_LEAST : bytes;
}

static struct shelf *shelf_make(uint32_t size_class)
{
    size_t each = class_bytes(size_class), bytes = shelf_bytes(size_class);
    struct shelf *s = page_cache_take(bytes); /* not counted: its blocks are */
    if (s == NULL)
        return NULL;
    /* The mapping may have been used before. Of small blocks it may take long until all of it is used again, so what is
     * not is not resident; large ones fill it soon, and pages from the kernel cost more. */
    if (each < PAGE_BYTES)
        mem_map_rest(s, bytes);
    *s = (struct shelf){ .size_class = size_class,
                         .slots = (uint32_t)((bytes - SHELF_HEAD) / each) };
    shelf_link(s);
    return s;
}

static struct slot *slot_take(uint32_t size_class)
{
    struct shelf *s = shelves.with_room[size_class];
    if (s == NULL)
        s = shelf_make(size_class);
    if (s == NULL)
        return NULL;
    struct slot *slot = s->free;
    if (slot != NULL) {
        s->free = slot->next_free;
        s->free_count--;
    } else {
        slot = (struct slot *)(void *)((uint8_t *)s + SHELF_HEAD +
                                       s->used++ * class_bytes(size_class));
    }
    slot->shelf = s;
    if (is_full(s))
        shelf_unlink(s);
    return slot;
}

/* The heap's tools find blocks that are used after they were freed; shelves hide them. */
#ifdef __SANITIZE_ADDRESS__
#define IS_FOR_SHELVES(size) ((void)(size), false)
#else
#define IS_FOR_SHELVES(size) ((size) <= SHELF_BLOCK_MAX)
#endif
static_assert(SHELF_BLOCK_MAX + sizeof(struct slot) <= SLOT_MAX, "there is a class for each");

static void *heap_alloc(size_t size)
{
    struct slot *slot = size > SIZE_MAX - sizeof *slot ? NULL : mem_alloc(size + sizeof *slot);
    if (slot == NULL)
        return NULL;
    slot->shelf = NULL;
    return slot + 1;
}

void *shelf_alloc(size_t size)
{
    if (!IS_FOR_SHELVES(size))
        return heap_alloc(size);
    if (fault_refuses())
        return NULL;
    (void)pthread_mutex_lock(&shelves.lock);
    struct slot *slot = slot_take(class_of(size + sizeof *slot));
    (void)pthread_mutex_unlock(&shelves.lock);
    if (slot == NULL)
        return NULL;
    fault_count(1);
    return slot + 1;
}

void *shelf_zalloc(size_t size)
{
    void *block = shelf_alloc(size);
    if (block != NULL)
        memset(block, 0, size);
    return block;
}

void shelf_free(void *block)
{
    if (block == NULL)
        return;
    struct slot *slot = (struct slot *)block - 1;
    struct shelf *s = slot->shelf, *gone = NULL;
    if (s == NULL) {
        mem_free(slot);
        return;
    }
    fault_count(-1);
    (void)pthread_mutex_lock(&shelves.lock);
    if (is_full(s))
        shelf_link(s);
    slot->next_free = s->free;
    s->free = slot;
    /* One that is empty stays: what comes and goes alone would else map and unmap each time. */
    if (++s->free_count == s->used && (s->next != NULL || s->before != NULL)) {
        shelf_unlink(s);
        gone = s;
    }
    (void)pthread_mutex_unlock(&shelves.lock);
    if (gone != NULL)
        page_cache_give(gone, shelf_bytes(gone->size_class));
}

void shelf_trim(void)
{
    for (uint32_t c = 0; c < CLASSES; c++) {
        (void)pthread_mutex_lock(&shelves.lock);
        struct shelf *s = shelves.with_room[c], *gone = NULL, *next;
        for (; s != NULL; s = next) {
            next = s->next;
            if (s->free_count != s->used)
                continue;
            shelf_unlink(s);
            s->next = gone;
            gone = s;
        }
        (void)pthread_mutex_unlock(&shelves.lock);
        for (; gone != NULL; gone = next) {
            next = gone->next;
            page_cache_give(gone, shelf_bytes(gone->size_class));
        }
    }
}
