/* SPDX-License-Identifier: Apache-2.0 */
#include "base/intern.h"

#include "base/budget.h"
#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>

void intern_init(struct intern *in, uint32_t count_max)
{
    *in = (struct intern){ .count_max = count_max };
    arena_init(&in->text, SIZE_MAX, NULL);
}

void intern_init_charged(struct intern *in, uint32_t count_max, size_t text_bytes_max,
                         struct budget *budget)
{
    *in = (struct intern){ .count_max = count_max, .budget = budget };
    arena_init(&in->text, text_bytes_max, budget);
}

/* Of the three arrays. */
static size_t arrays_bytes(const struct intern *in, uint32_t capacity)
{
    return capacity * (sizeof *in->entries + sizeof *in->hashes + 2 * sizeof *in->slots);
}

void intern_deinit(struct intern *in)
{
    if (in->budget != NULL)
        budget_release(in->budget, arrays_bytes(in, in->capacity));
    arena_deinit(&in->text);
    mem_free(in->entries);
    mem_free(in->slots);
    mem_free(in->hashes);
    *in = (struct intern){ .text = { .limit_bytes = in->text.limit_bytes, .budget = in->budget },
                           .count_max = in->count_max,
                           .budget = in->budget };
}

void intern_reset(struct intern *in)
{
    arena_reset(&in->text);
    in->count = 0;
    if (in->slots != NULL)
        memset(in->slots, 0, ((size_t)in->slot_mask + 1) * sizeof *in->slots);
}

/* The slot that holds the entry, or the free one where it belongs. */
static uint32_t slot_of(const struct intern *in, struct bytes entry, uint64_t hash)
{
    uint32_t slot = (uint32_t)hash & in->slot_mask;
    for (;; slot = (slot + 1) & in->slot_mask) {
        uint32_t held = in->slots[slot];
        if (held == 0)
            return slot;
        if (in->hashes[held - 1] == hash && bytes_equal(in->entries[held - 1], entry))
            return slot;
    }
}

/* Room for one more entry at a load of at most a half. */
static enum err arrays_grow(struct intern *in, uint32_t capacity)
{
    uint32_t *slots = mem_alloc_array((size_t)capacity * 2, sizeof *slots);
    if (slots == NULL)
        return ERR_NOMEM;
    struct bytes *entries = mem_realloc(in->entries, capacity * sizeof *entries);
    if (entries != NULL)
        in->entries = entries;
    uint64_t *hashes = mem_realloc(in->hashes, capacity * sizeof *hashes);
    if (hashes != NULL)
        in->hashes = hashes;
    if (entries == NULL || hashes == NULL) {
        mem_free(slots);
        return ERR_NOMEM;
    }
    mem_free(in->slots);
    in->slots = slots;
    in->slot_mask = capacity * 2 - 1;
    in->capacity = capacity;
    for (uint32_t i = 0; i < in->count; i++)
        in->slots[slot_of(in, in->entries[i], in->hashes[i])] = i + 1;
    return ERR_OK;
}

static enum err reserve(struct intern *in)
{
    if (in->count < in->capacity)
        return ERR_OK;
    uint32_t capacity = in->capacity == 0 ? 16 : in->capacity * 2;
    size_t more = arrays_bytes(in, capacity) - arrays_bytes(in, in->capacity);
    if (in->budget != NULL && !budget_reserve(in->budget, more))
        return ERR_BUDGET;
    enum err e = arrays_grow(in, capacity);
    if (e != ERR_OK && in->budget != NULL)
        budget_release(in->budget, more);
    return e;
}

enum err intern_put(struct intern *in, struct bytes entry, uint32_t *out_index)
{
    uint64_t hash = hash_bytes(entry);
    if (in->slots != NULL) {
        uint32_t held = in->slots[slot_of(in, entry, hash)];
        if (held != 0) {
            *out_index = held - 1;
            return ERR_OK;
        }
    }
    if (in->count >= in->count_max)
        return ERR_TOO_MANY;
    enum err e = reserve(in);
    if (e != ERR_OK)
        return e;
    struct bytes copy;
    e = arena_dup(&in->text, entry, &copy);
    if (e != ERR_OK)
        return e;
    uint32_t index = in->count++;
    in->entries[index] = copy;
    in->hashes[index] = hash;
    in->slots[slot_of(in, entry, hash)] = index + 1;
    *out_index = index;
    return ERR_OK;
}

uint32_t intern_find(const struct intern *in, struct bytes entry)
{
    if (in->slots == NULL)
        return UINT32_MAX;
    uint32_t held = in->slots[slot_of(in, entry, hash_bytes(entry))];
    return held == 0 ? UINT32_MAX : held - 1;
}
