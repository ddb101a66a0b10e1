/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/workload_private.h"

/* KeyValue{key=1, value=2: AnyValue} with the AnyValue's `any_size` bytes still to be written at
 * the returned place. NULL when the buffer is full. */
static uint8_t *attribute_head(struct buffer *b, uint8_t tag, const char *key, size_t any_size)
{
    size_t key_len = strlen(key);
    size_t pair = 2 + varint_size(key_len) + key_len + varint_size(any_size) + any_size;
    size_t total = 1 + varint_size(pair) + pair;
    uint8_t *p = buffer_reserve(b, total);
    if (p == NULL)
        return NULL;
    buffer_grew(b, total);
    *p++ = tag;
    p = put_varint(p, pair);
    p = put_bytes(p, 0x0a, key, key_len);
    *p++ = 0x12;
    return put_varint(p, any_size);
}

void attribute_text(struct buffer *b, uint8_t tag, const char *key, struct bytes value)
{
    uint8_t *p = attribute_head(b, tag, key, 1 + varint_size(value.len) + value.len);
    if (p != NULL)
        put_bytes(p, 0x0a, value.data, value.len);
}

void attribute_int(struct buffer *b, uint8_t tag, const char *key, int64_t value)
{
    uint8_t *p = attribute_head(b, tag, key, 1 + varint_size((uint64_t)value));
    if (p == NULL)
        return;
    *p++ = 0x18;
    put_varint(p, (uint64_t)value);
}

void attribute_double(struct buffer *b, uint8_t tag, const char *key, double value)
{
    uint8_t *p = attribute_head(b, tag, key, 9);
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (p != NULL)
        put_fixed64(p, 0x21, bits);
}

void attribute_bool(struct buffer *b, uint8_t tag, const char *key, bool value)
{
    uint8_t *p = attribute_head(b, tag, key, 2);
    if (p == NULL)
        return;
    *p++ = 0x10;
    *p = value;
}

void span_head(struct buffer *b, const struct trace_id *trace_id, uint64_t span_id,
               uint64_t parent_id, struct bytes name, uint32_t kind, uint64_t start_unix_ns,
               uint64_t end_unix_ns)
{
    /* 18 + 10 + 10 bytes of IDs, 2 of kind, 18 of times, and the name with its length */
    size_t total =
        18 + 10 + (parent_id == 0 ? 0u : 10u) + 1 + varint_size(name.len) + name.len + 2 + 18;
    uint8_t *p = buffer_reserve(b, total);
    if (p == NULL)
        return;
    buffer_grew(b, total);
    uint8_t id[8];
    p = put_bytes(p, 0x0a, trace_id->b, sizeof trace_id->b);
    store_le64(id, span_id);
    p = put_bytes(p, 0x12, id, sizeof id);
    if (parent_id != 0) {
        store_le64(id, parent_id);
        p = put_bytes(p, 0x22, id, sizeof id);
    }
    p = put_bytes(p, 0x2a, name.data, name.len);
    *p++ = 0x30;
    *p++ = (uint8_t)kind;
    p = put_fixed64(p, 0x39, start_unix_ns);
    put_fixed64(p, 0x41, end_unix_ns);
}

void span_tail(struct buffer *b, uint32_t status_code, uint32_t flags)
{
    uint8_t *p = buffer_reserve(b, 4 + 6);
    if (p == NULL)
        return;
    if (status_code != STATUS_UNSET) {
        const uint8_t status[4] = { 0x7a, 2, 0x18, (uint8_t)status_code };
        memcpy(p, status, sizeof status);
        p += sizeof status;
    }
    *p++ = 0x85;
    *p++ = 0x01;
    store_le32(p, flags);
    buffer_grew(b, (status_code != STATUS_UNSET ? 4u : 0u) + 6u);
}

struct bytes resource_make(struct arena *a, const char *const (*pairs)[2], size_t count)
{
    struct buffer b;
    struct bytes out = { 0 };
    buffer_init(&b, 64u << 10);
    for (size_t i = 0; i < count; i++)
        attribute_text(&b, ATTRIBUTE_OF_RESOURCE, pairs[i][0], bytes_text(pairs[i][1]));
    if (buffer_error(&b) != ERR_OK)
        a->failure = buffer_error(&b);
    else if (arena_dup(a, buffer_bytes(&b), &out) != ERR_OK)
        out = (struct bytes){ 0 }; /* the arena knows why */
    buffer_deinit(&b);
    return out;
}
