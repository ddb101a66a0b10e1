/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/operations.h"

#include "base/mem.h"

#include <assert.h>

#define KEY_HEADER  8u
#define ENTRY_BYTES 48u /* that an entry takes beside its text: in the arrays and the hash table */

void operations_init(struct operations *o)
{
    *o = (struct operations){ 0 };
    intern_init(&o->keys, 2 * OPERATIONS_MAX + 1); /* a rest for each service, and one of all */
    intern_init(&o->services, OPERATIONS_MAX);
}

void operations_init_whole(struct operations *o)
{
    *o = (struct operations){ .is_whole = true };
    intern_init(&o->keys, UINT32_MAX / 2);
    intern_init(&o->services, UINT32_MAX / 2);
}

void operations_deinit(struct operations *o)
{
    intern_deinit(&o->keys);
    intern_deinit(&o->services);
    mem_free(o->spans);
    mem_free(o->of_service);
    *o = (struct operations){ 0 };
}

/* ---- Keys ------------------------------------------------------------------------------------ */

struct key {
    struct bytes bytes;
    uint8_t small[512];
};

static enum err key_make(struct key *k, struct bytes service, struct bytes name, uint32_t kind)
{
    size_t len = KEY_HEADER + service.len + name.len;
    uint8_t *key = len <= sizeof k->small ? k->small : mem_alloc(len);
    if (key == NULL)
        return ERR_NOMEM;
    store_le32(key, kind);
    store_le32(key + 4, (uint32_t)service.len);
    if (service.len != 0)
        memcpy(key + KEY_HEADER, service.data, service.len);
    if (name.len != 0)
        memcpy(key + KEY_HEADER + service.len, name.data, name.len);
    k->bytes = bytes_of(key, len);
    return ERR_OK;
}

static void key_free(struct key *k)
{
    if (k->bytes.data != k->small)
        mem_free((void *)(uintptr_t)k->bytes.data);
}

/* ---- Placing --------------------------------------------------------------------------------- */

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

static enum err services_grow(struct operations *o)
{
    if (o->services.count < o->services_capacity)
        return ERR_OK;
    uint32_t capacity = o->services_capacity == 0 ? 16 : o->services_capacity * 2;
    uint32_t *grown = mem_realloc(o->of_service, capacity * sizeof *grown);
    if (grown == NULL)
        return ERR_NOMEM;
    memset(grown + o->services_capacity, 0, (capacity - o->services_capacity) * sizeof *grown);
    o->of_service = grown;
    o->services_capacity = capacity;
    return ERR_OK;
}

static bool has_room(const struct operations *o, size_t more)
{
    return o->is_whole || (o->count < OPERATIONS_MAX && o->services.count < OPERATIONS_MAX &&
                           o->bytes + more <= OPERATIONS_BYTES_MAX);
}

/* The number of a service, which has an entry, or will have; UINT32_MAX: there is no room for it. */
static enum err service_place(struct operations *o, struct bytes service, uint32_t *out)
{
    *out = intern_find(&o->services, service);
    if (*out != UINT32_MAX || !has_room(o, 3 * (service.len + ENTRY_BYTES)))
        return ERR_OK;
    enum err e = services_grow(o);
    if (e == ERR_OK)
        e = intern_put(&o->services, service, out);
    if (e == ERR_OK)
        o->bytes += service.len + ENTRY_BYTES;
    return e;
}

static enum err entry_put(struct operations *o, struct bytes key, uint32_t *out)
{
    uint32_t before = o->keys.count;
    enum err e = counters_grow(o);
    if (e == ERR_OK)
        e = intern_put(&o->keys, key, out);
    if (e == ERR_OK && o->keys.count > before)
        o->bytes += key.len + ENTRY_BYTES;
    return e;
}

static enum err rest_place(struct operations *o, struct bytes service, uint32_t *out)
{
    struct key k;
    enum err e = key_make(&k, service, (struct bytes){ 0 }, OPERATION_REST_KIND);
    if (e != ERR_OK)
        return e;
    e = entry_put(o, k.bytes, out);
    key_free(&k);
    return e;
}

enum err operations_place(struct operations *o, struct bytes service, struct bytes name,
                          uint32_t kind, uint32_t *out_index)
{
    struct key k;
    uint32_t index = UINT32_MAX, number = UINT32_MAX;
    enum err e = key_make(&k, service, name, kind);
    if (e != ERR_OK)
        return e;
    index = intern_find(&o->keys, k.bytes);
    bool is_rest = name.len == 0 && kind == OPERATION_REST_KIND;
    if (index == UINT32_MAX)
        e = service_place(o, service, &number);
    if (e == ERR_OK && index == UINT32_MAX && number != UINT32_MAX && !is_rest &&
        (o->is_whole || o->of_service[number] < OPERATIONS_OF_SERVICE_MAX) &&
        has_room(o, k.bytes.len + ENTRY_BYTES)) {
        e = entry_put(o, k.bytes, &index);
        if (e == ERR_OK) {
            o->of_service[number]++;
            o->count++;
        }
    }
    key_free(&k);
    if (e == ERR_OK && index == UINT32_MAX)
        e = rest_place(o, number == UINT32_MAX ? (struct bytes){ 0 } : service, &index);
    if (e == ERR_OK)
        *out_index = index;
    return e;
}

void operations_add_at(struct operations *o, uint32_t index, uint64_t spans)
{
    struct operation_entry entry;
    assert(index < o->keys.count);
    o->spans[index] += spans;
    operations_get(o, index, &entry);
    if (operation_is_rest(&entry))
        o->overflowed += spans;
}

enum err operations_add(struct operations *o, struct bytes service, struct bytes name,
                        uint32_t kind, uint64_t spans)
{
    uint32_t index = 0;
    enum err e = operations_place(o, service, name, kind, &index);
    if (e == ERR_OK)
        operations_add_at(o, index, spans);
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

/* ---- Taking back ----------------------------------------------------------------------------- */

/* UINT32_MAX: there is none. */
static uint32_t rest_find(const struct operations *o, struct bytes service)
{
    struct key k;
    if (key_make(&k, service, (struct bytes){ 0 }, OPERATION_REST_KIND) != ERR_OK)
        return UINT32_MAX;
    uint32_t index = intern_find(&o->keys, k.bytes);
    key_free(&k);
    return index;
}

/* What a set has no entry for was counted in a rest when it was added. */
void operations_subtract(struct operations *o, const struct operations *gone)
{
    for (uint32_t i = 0; i < gone->keys.count; i++) {
        struct operation_entry entry;
        operations_get(gone, i, &entry);
        uint32_t index = intern_find(&o->keys, intern_get(&gone->keys, i));
        if (index == UINT32_MAX)
            index = rest_find(o, entry.service);
        if (index == UINT32_MAX)
            index = rest_find(o, (struct bytes){ 0 });
        if (index != UINT32_MAX)
            o->spans[index] -= entry.spans < o->spans[index] ? entry.spans : o->spans[index];
    }
}

void operations_compact(struct operations *o)
{
    uint32_t empty = 0;
    for (uint32_t i = 0; i < o->keys.count; i++)
        empty += o->spans[i] == 0;
    if (empty == 0 || empty < o->keys.count / 8)
        return;
    struct operations kept;
    operations_init(&kept);
    for (uint32_t i = 0; i < o->keys.count; i++) {
        struct operation_entry entry;
        operations_get(o, i, &entry);
        if (entry.spans != 0 &&
            operations_add(&kept, entry.service, entry.name, entry.kind, entry.spans) != ERR_OK) {
            operations_deinit(&kept);
            return;
        }
    }
    kept.overflowed = o->overflowed;
    operations_deinit(o);
    *o = kept;
}
