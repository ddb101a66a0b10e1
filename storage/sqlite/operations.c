/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/operations.h"

#include "base/mem.h"

#include <assert.h>

#define KEY_HEADER 8u

void operations_init(struct operations *o)
{
    *o = (struct operations){ 0 };
    intern_init(&o->keys, OPERATIONS_MAX);
}

void operations_deinit(struct operations *o)
{
    intern_deinit(&o->keys);
    mem_free(o->spans);
    *o = (struct operations){ 0 };
}

static enum err counters_grow(struct operations *o)
{
    if (o->keys.count < o->capacity)
        return ERR_OK;
    uint32_t capacity = o->capacity == 0 ? 256 : o->capacity * 2;
    uint64_t *grown = mem_realloc(o->spans, capacity * sizeof *grown);
    if (grown == NULL)
        return ERR_NOMEM;
    memset(grown + o->capacity, 0, (capacity - o->capacity) * sizeof *grown);
    o->spans = grown;
    o->capacity = capacity;
    return ERR_OK;
}

enum err operations_add(struct operations *o, struct bytes service, struct bytes name,
                        uint32_t kind, uint64_t spans)
{
    uint8_t small[512];
    size_t len = KEY_HEADER + service.len + name.len;
    uint8_t *key = len <= sizeof small ? small : mem_alloc(len);
    if (key == NULL)
        return ERR_NOMEM;
    store_le32(key, kind);
    store_le32(key + 4, (uint32_t)service.len);
    if (service.len != 0)
        memcpy(key + KEY_HEADER, service.data, service.len);
    if (name.len != 0)
        memcpy(key + KEY_HEADER + service.len, name.data, name.len);

    uint32_t index = 0;
    enum err e = counters_grow(o);
    if (e == ERR_OK)
        e = intern_put(&o->keys, bytes_of(key, len), &index);
    if (e == ERR_OK) {
        assert(index < o->capacity);
        o->spans[index] += spans;
    } else if (e == ERR_TOO_MANY) {
        o->overflowed += spans;
        e = ERR_OK;
    }
    if (key != small)
        mem_free(key);
    return e;
}

void operations_get(const struct operations *o, uint32_t index, struct operation_entry *out)
{
    struct bytes key = intern_get(&o->keys, index);
    size_t service_len = load_le32(key.data + 4);
    *out = (struct operation_entry){
        .service = bytes_slice(key, KEY_HEADER, service_len),
        .name = bytes_slice(key, KEY_HEADER + service_len, SIZE_MAX),
        .kind = load_le32(key.data),
        .spans = o->spans[index],
    };
}

void operations_subtract(struct operations *o, const struct operations *gone)
{
    for (uint32_t i = 0; i < gone->keys.count; i++) {
        uint32_t index = intern_find(&o->keys, intern_get(&gone->keys, i));
        if (index == UINT32_MAX)
            continue; /* it was over the bound */
        o->spans[index] -= gone->spans[i] < o->spans[index] ? gone->spans[i] : o->spans[index];
    }
}

void operations_compact(struct operations *o)
{
    uint32_t empty = 0;
    for (uint32_t i = 0; i < o->keys.count; i++)
        empty += o->spans[i] == 0;
    if (empty == 0 || empty < o->keys.count / 2)
        return;
    struct operations kept;
    operations_init(&kept);
    kept.overflowed = o->overflowed;
    for (uint32_t i = 0; i < o->keys.count; i++) {
        struct operation_entry entry;
        operations_get(o, i, &entry);
        if (entry.spans != 0 &&
            operations_add(&kept, entry.service, entry.name, entry.kind, entry.spans) != ERR_OK) {
            operations_deinit(&kept);
            return;
        }
    }
    operations_deinit(o);
    *o = kept;
}
