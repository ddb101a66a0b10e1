/* SPDX-License-Identifier: Apache-2.0 */
/* request_body.c - see request_body.h. */
#include "net/request_body.h"

#include <assert.h>

/* The first room of a body whose length is not known. */
#define FIRST_ROOM_BYTES ((size_t)16 * 1024)

static enum err reserve_declared(struct request_body *b, struct arena *arena)
{
    if (b->declared > b->cap_bytes)
        return ERR_TOO_LARGE;
    uint8_t *room = arena_alloc_bytes(arena, b->declared == 0 ? 1 : b->declared);
    if (room == NULL)
        return arena_failure(arena);
    b->data = room;
    b->capacity = b->declared;
    return ERR_OK;
}

/* The old room stays in the arena: at most as much again as the body. */
static enum err grow(struct request_body *b, struct arena *arena, size_t needed)
{
    if (needed > b->cap_bytes)
        return ERR_TOO_LARGE;
    size_t capacity = b->capacity == 0 ? FIRST_ROOM_BYTES : b->capacity;
    while (capacity < needed)
        capacity *= 2;
    if (capacity > b->cap_bytes)
        capacity = b->cap_bytes;
    uint8_t *room = arena_alloc_bytes(arena, capacity);
    if (room == NULL)
        return arena_failure(arena);
    if (b->len > 0)
        memcpy(room, b->data, b->len);
    b->data = room;
    b->capacity = capacity;
    return ERR_OK;
}

static enum err put_prefix(struct request_body *b, struct bytes chunk, size_t *at)
{
    while (b->prefix_len < GRPC_PREFIX_BYTES && *at < chunk.len)
        b->prefix[b->prefix_len++] = chunk.data[(*at)++];
    if (b->prefix_len >= 1 && b->prefix[0] > 1)
        return ERR_INVALID;
    if (b->prefix_len == GRPC_PREFIX_BYTES) {
        b->is_compressed = b->prefix[0] == 1;
        b->declared = load_be32(b->prefix + 1);
        b->has_declared = true;
    }
    return ERR_OK;
}

enum err request_body_put(struct request_body *b, struct arena *arena, struct bytes chunk,
                          size_t *out_taken)
{
    size_t at = 0;
    enum err e = ERR_OK;
    if (b->is_grpc && !b->has_declared)
        e = put_prefix(b, chunk, &at);
    if (e == ERR_OK && b->has_declared && b->data == NULL)
        e = reserve_declared(b, arena);
    size_t left = chunk.len - at;
    if (e == ERR_OK && left > 0) {
        if (b->has_declared && left > b->declared - b->len)
            e = b->is_grpc ? ERR_TOO_MANY : ERR_TOO_LARGE;
        else if (!b->has_declared && left > b->capacity - b->len)
            e = left > SIZE_MAX - b->len ? ERR_TOO_LARGE : grow(b, arena, b->len + left);
    }
    if (e == ERR_OK && left > 0) {
        assert(left <= b->capacity - b->len);
        memcpy(b->data + b->len, chunk.data + at, left);
        b->len += left;
        at = chunk.len;
    }
    b->arrived_bytes += at;
    *out_taken = at;
    return e;
}

enum err request_body_end(const struct request_body *b)
{
    if (b->is_grpc && b->prefix_len == 0)
        return ERR_NOT_FOUND;
    if (b->is_grpc && !b->has_declared)
        return ERR_INVALID;
    if (b->has_declared && b->len != b->declared)
        return ERR_INVALID;
    return ERR_OK;
}
