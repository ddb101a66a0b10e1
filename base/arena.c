/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - blocks that double from 4 KiB to 1 MiB; a larger request gets a block of its own size.
 *
 * Blocks from 32 KiB on come straight from the kernel: bodies of requests come and go by the thousand
 * and live for different times, and on the heap they left holes (docs/BENCHMARKS.md). */
#include "base/arena.h"

#include "base/budget.h"
#include "base/mem.h"

#include <assert.h>
#include <stdalign.h>

/* AddressSanitizer watches the heap only. */
#if defined(__SANITIZE_ADDRESS__)
#define BLOCK_MAPPED SIZE_MAX
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCK_MAPPED SIZE_MAX
#endif
#endif
#ifndef BLOCK_MAPPED
#define BLOCK_MAPPED ((size_t)32 << 10)
#endif

/* FILLED_MAX: a length that a peer declares may not be true, and its pages are taken before that is known. */
enum { BLOCK_FIRST = 4096, BLOCK_LARGEST = 1 << 20, ALIGNMENT = 16, FILLED_MAX = 1 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    size_t used;
    alignas(ALIGNMENT) uint8_t data[];
};

/* is_filled: it is for one run of bytes, which will be written whole. */
static void *memory_take(size_t held, bool is_filled)
{
    if (held < BLOCK_MAPPED)
        return mem_alloc(held);
    return is_filled && held <= FILLED_MAX ? mem_map_filled(held) : mem_map(held);
}

static void memory_give(void *block, size_t held)
{
    if (held >= BLOCK_MAPPED)
        mem_unmap(block, held);
    else
        mem_free(block);
}

/* As realloc(), from `held` bytes to `wanted`, which is more. */
static void *memory_resize(void *block, size_t held, size_t wanted)
{
    if (held >= BLOCK_MAPPED)
        return mem_map_resize(block, held, wanted);
    if (wanted < BLOCK_MAPPED)
        return mem_realloc(block, wanted);
    void *moved = mem_map(wanted);
    if (moved != NULL) {
        memcpy(moved, block, held);
        mem_free(block);
    }
    return moved;
}

void arena_init(struct arena *a, size_t limit_bytes, struct budget *budget)
{
    *a = (struct arena){ .limit_bytes = limit_bytes, .budget = budget };
}

static void block_free(struct arena *a, struct arena_block *block)
{
    size_t held = sizeof *block + block->size;
    assert(a->held_bytes >= held);
    a->held_bytes -= held;
    if (a->budget != NULL)
        budget_release(a->budget, held);
    memory_give(block, held);
}

void arena_deinit(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *next = a->blocks->next;
        block_free(a, a->blocks);
        a->blocks = next;
    }
    while (a->spare != NULL) {
        struct arena_block *next = a->spare->next;
        block_free(a, a->spare);
        a->spare = next;
    }
    a->spare_bytes = 0;
    a->failure = ERR_OK;
}

static void block_put_by(struct arena *a, struct arena_block *block)
{
    size_t held = sizeof *block + block->size;
    if (block->size != BLOCK_LARGEST || a->spare_bytes + held > a->keep_bytes) {
        block_free(a, block);
        return;
    }
    block->next = a->spare;
    a->spare = block;
    a->spare_bytes += held;
}

void arena_reset(struct arena *a)
{
    while (a->blocks != NULL && a->blocks->next != NULL) {
        struct arena_block *next = a->blocks->next;
        block_put_by(a, a->blocks);
        a->blocks = next;
    }
    if (a->blocks != NULL)
        a->blocks->used = 0;
    a->failure = ERR_OK;
}

/* A block with room for  bytes at its head, or NULL with the reason noted. */
static struct arena_block *block_add(struct arena *a, size_t size, bool is_bytes)
{
    if (a->spare != NULL && size <= BLOCK_LARGEST / 4) {
        struct arena_block *spare = a->spare;
        a->spare = spare->next;
        a->spare_bytes -= sizeof *spare + spare->size;
        spare->next = a->blocks;
        a->blocks = spare;
        return spare;
    }
    size_t wanted = a->blocks == NULL ? BLOCK_FIRST : a->blocks->size * 2;
    if (wanted > BLOCK_LARGEST)
        wanted = BLOCK_LARGEST;
    if (a->held_bytes + wanted > a->limit_bytes)
        wanted = size; /* near the limit, take no more than is asked for */
    if (wanted < size || size > wanted / 4)
        wanted = size; /* large things get a block of their own, which arena_grow() can resize */

    size_t held;
    if (__builtin_add_overflow(wanted, sizeof(struct arena_block), &held) ||
        held > a->limit_bytes || a->held_bytes > a->limit_bytes - held) {
        a->failure = ERR_TOO_LARGE;
        return NULL;
    }
    if (a->budget != NULL && !budget_reserve(a->budget, held)) {
        a->failure = ERR_BUDGET;
        return NULL;
    }
    struct arena_block *block = memory_take(held, is_bytes && wanted == size);
    if (block == NULL) {
        if (a->budget != NULL)
            budget_release(a->budget, held);
        a->failure = ERR_NOMEM;
        return NULL;
    }
    block->size = wanted;
    block->used = 0;
    /* A block for one large thing goes behind the current one, which still has room to bump from.
     */
    if (a->blocks != NULL && wanted == size && a->blocks->size - a->blocks->used > ALIGNMENT) {
        block->next = a->blocks->next;
        a->blocks->next = block;
    } else {
        block->next = a->blocks;
        a->blocks = block;
    }
    a->held_bytes += held;
    return block;
}

static void *bump(struct arena *a, size_t size, size_t alignment)
{
    struct arena_block *block = a->blocks;
    if (block != NULL) {
        size_t at = (block->used + alignment - 1) & ~(alignment - 1);
        if (at <= block->size && size <= block->size - at) {
            block->used = at + size;
            return block->data + at;
        }
    }
    block = block_add(a, size, alignment == 1);
    if (block == NULL)
        return NULL;
    block->used = size;
    return block->data;
}

void *arena_alloc(struct arena *a, size_t size)
{
    return bump(a, size, ALIGNMENT);
}

uint8_t *arena_alloc_bytes(struct arena *a, size_t size)
{
    return bump(a, size, 1);
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        a->failure = ERR_TOO_LARGE;
        return NULL;
    }
    void *p = arena_alloc(a, total);
    if (p != NULL)
        memset(p, 0, total);
    return p;
}

/* Where the pointer to the block that holds nothing but `data` is, or NULL. */
static struct arena_block **block_of(struct arena *a, const uint8_t *data)
{
    struct arena_block **at = &a->blocks;
    while (*at != NULL && (*at)->data != data)
        at = &(*at)->next;
    return *at != NULL && (*at)->used == (*at)->size ? at : NULL;
}

uint8_t *arena_grow(struct arena *a, uint8_t *data, size_t old_size, size_t new_size)
{
    assert(new_size >= old_size);
    struct arena_block **at = data == NULL ? NULL : block_of(a, data);
    if (at == NULL || (*at)->size != old_size) {
        uint8_t *moved = arena_alloc_bytes(a, new_size);
        if (moved != NULL && old_size != 0)
            memcpy(moved, data, old_size);
        return moved;
    }
    size_t more = new_size - old_size;
    if (more > a->limit_bytes || a->held_bytes > a->limit_bytes - more) {
        a->failure = ERR_TOO_LARGE;
        return NULL;
    }
    if (a->budget != NULL && !budget_reserve(a->budget, more)) {
        a->failure = ERR_BUDGET;
        return NULL;
    }
    struct arena_block *block =
        memory_resize(*at, sizeof *block + old_size, sizeof *block + new_size);
    if (block == NULL) {
        if (a->budget != NULL)
            budget_release(a->budget, more);
        a->failure = ERR_NOMEM;
        return NULL;
    }
    *at = block;
    block->size = block->used = new_size;
    a->held_bytes += more;
    return block->data;
}

enum err arena_dup(struct arena *a, struct bytes from, struct bytes *out)
{
    uint8_t *copy = arena_alloc_bytes(a, from.len);
    if (copy == NULL)
        return arena_failure(a);
    if (from.len != 0)
        memcpy(copy, from.data, from.len);
    *out = (struct bytes){ .data = copy, .len = from.len };
    return ERR_OK;
}

char *arena_text(struct arena *a, struct bytes from)
{
    if (from.len == SIZE_MAX) {
        a->failure = ERR_TOO_LARGE;
        return NULL;
    }
    uint8_t *copy = arena_alloc_bytes(a, from.len + 1);
    if (copy == NULL)
        return NULL;
    if (from.len != 0)
        memcpy(copy, from.data, from.len);
    copy[from.len] = '\0';
    return (char *)copy;
}

enum err arena_failure(const struct arena *a)
{
    return a->failure;
}
