/* SPDX-License-Identifier: Apache-2.0 */
/* The candidates of a search for traces: by ID in a table, by bound in a heap. */
#include "storage/search_find.h"

#include <assert.h>

enum err find_array_grow(struct arena *a, void *array_of_pointer, size_t count, size_t *capacity,
                         size_t size)
{
    if (count <= *capacity)
        return ERR_OK;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    assert(wanted >= count);
    void *old, *block = arena_alloc(a, wanted * size);
    if (block == NULL)
        return arena_failure(a);
    memcpy(&old, array_of_pointer, sizeof old);
    if (*capacity > 0)
        memcpy(block, old, *capacity * size);
    memcpy(array_of_pointer, &block, sizeof block);
    *capacity = wanted;
    return ERR_OK;
}

/* The seed is this search's own address. */
uint64_t find_hash(const struct find *f, const struct trace_id *id)
{
    return hash_bytes_seeded(bytes_of(id->b, sizeof id->b), (uint64_t)(uintptr_t)f);
}

static size_t slot_of(const struct find *f, const struct trace_id *id)
{
    return (size_t)find_hash(f, id) & f->slots_mask;
}

void find_forget(struct find *f)
{
    f->count = 0;
    f->heap_count = 0;
    f->summaries_count = 0;
    if (f->slots != NULL)
        memset(f->slots, 0, (f->slots_mask + 1) * sizeof *f->slots);
}

void find_release(struct find *f)
{
    size_t limit_bytes = f->table.limit_bytes;
    search_forget(&f->search);
    arena_deinit(&f->table);
    arena_init(&f->table, limit_bytes, f->search.q->arena->budget);
    f->candidates = NULL;
    f->slots = NULL;
    f->heap = NULL;
    f->summaries = NULL;
    f->count = f->capacity = f->heap_count = f->slots_mask = 0;
    f->summaries_count = f->summaries_capacity = 0;
}

struct candidate *find_candidate(const struct find *f, const struct trace_id *id)
{
    if (f->slots == NULL)
        return NULL;
    for (size_t i = slot_of(f, id); f->slots[i] != 0; i = (i + 1) & f->slots_mask) {
        struct candidate *c = &f->candidates[f->slots[i] - 1];
        if (memcmp(c->id.b, id->b, sizeof id->b) == 0)
            return c;
    }
    return NULL;
}

static void slot_put(struct find *f, uint32_t number)
{
    size_t i = slot_of(f, &f->candidates[number].id);
    while (f->slots[i] != 0)
        i = (i + 1) & f->slots_mask;
    f->slots[i] = number + 1;
}

static enum err slots_grow(struct find *f)
{
    size_t size = f->slots == NULL ? 1024 : (f->slots_mask + 1) * 2;
    uint32_t *slots = arena_alloc_array(&f->search.scratch, size, sizeof *slots);
    uint32_t *heap =
        slots == NULL ? NULL : arena_alloc_array(&f->search.scratch, size / 2, sizeof *heap);
    if (heap == NULL)
        return arena_failure(&f->search.scratch);
    if (f->heap_count > 0)
        memcpy(heap, f->heap, f->heap_count * sizeof *heap);
    f->heap = heap; /* every candidate may stand in it once */
    f->slots = slots;
    f->slots_mask = size - 1;
    for (size_t i = 0; i < f->count; i++)
        slot_put(f, (uint32_t)i);
    return ERR_OK;
}

struct candidate *find_add(struct find *f, const struct candidate *c)
{
    f->failure = ERR_OK;
    if (f->slots == NULL || f->count >= (f->slots_mask + 1) / 2)
        f->failure = slots_grow(f);
    if (f->failure == ERR_OK)
        f->failure = search_grow(&f->table, &f->candidates, &f->capacity, f->count + 1,
                                 sizeof *f->candidates);
    if (f->failure != ERR_OK)
        return NULL;
    f->candidates[f->count] = *c;
    slot_put(f, (uint32_t)f->count);
    return &f->candidates[f->count++];
}

/* ---- Order ---- */

int find_order_id(const struct trace_id *a, const struct trace_id *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

/* The greater key first. At equal keys a bound goes before what is exact: it may turn out to be
 * equal, with a smaller ID. */
static bool comes_before(const struct candidate *a, const struct candidate *b)
{
    if (a->key != b->key)
        return a->key > b->key;
    if (a->state != b->state)
        return a->state == BOUND;
    return find_order_id(&a->id, &b->id) < 0;
}

static bool heap_before(const struct find *f, size_t i, size_t j)
{
    return comes_before(&f->candidates[f->heap[i]], &f->candidates[f->heap[j]]);
}

static void heap_swap(struct find *f, size_t i, size_t j)
{
    uint32_t t = f->heap[i];
    f->heap[i] = f->heap[j];
    f->heap[j] = t;
}

static void heap_up(struct find *f, size_t i)
{
    while (i > 0 && heap_before(f, i, (i - 1) / 2)) {
        heap_swap(f, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void heap_down(struct find *f, size_t i)
{
    for (;;) {
        size_t first = i, left = 2 * i + 1, right = 2 * i + 2;
        if (left < f->heap_count && heap_before(f, left, first))
            first = left;
        if (right < f->heap_count && heap_before(f, right, first))
            first = right;
        if (first == i)
            return;
        heap_swap(f, i, first);
        i = first;
    }
}

void find_heap_append(struct find *f, const struct candidate *c)
{
    assert(f->heap_count < (f->slots_mask + 1) / 2);
    f->heap[f->heap_count++] = (uint32_t)(c - f->candidates);
}

void find_heap_push(struct find *f, uint32_t number)
{
    assert(f->heap_count < (f->slots_mask + 1) / 2);
    f->heap[f->heap_count++] = number;
    heap_up(f, f->heap_count - 1);
}

uint32_t find_heap_pop(struct find *f)
{
    uint32_t top = f->heap[0];
    f->heap[0] = f->heap[--f->heap_count];
    heap_down(f, 0);
    return top;
}

/* Keys change only while a scan runs; the order is mended once after it. */
void find_heap_rebuild(struct find *f)
{
    for (size_t i = f->heap_count / 2; i-- > 0;)
        heap_down(f, i);
}

bool find_is_after(const struct find_cursor *after, uint64_t key, const struct trace_id *id)
{
    if (!after->is_set || key < after->key)
        return true;
    return key == after->key && find_order_id(id, &after->id) > 0;
}
