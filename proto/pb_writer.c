/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pb_writer.h"

#include "proto/otlp_wire.h"

#include <assert.h>

void pb_varint(struct buffer *b, uint64_t v)
{
    uint8_t *at = buffer_reserve(b, WIRE_VARINT_MAX);
    if (at != NULL)
        buffer_grew(b, wire_varint_put(at, v));
}

void pb_tag(struct buffer *b, uint32_t field, uint32_t wire_type)
{
    assert(field > 0 && field < (1u << 29) && wire_type < 8);
    pb_varint(b, (uint64_t)field << 3 | wire_type);
}

void pb_uint(struct buffer *b, uint32_t field, uint64_t v)
{
    pb_tag(b, field, WIRE_VARINT);
    pb_varint(b, v);
}

void pb_fixed64(struct buffer *b, uint32_t field, uint64_t v)
{
    pb_tag(b, field, WIRE_FIXED64);
    uint8_t raw[8];
    store_le64(raw, v);
    buffer_append(b, raw, sizeof raw);
}

void pb_fixed32(struct buffer *b, uint32_t field, uint32_t v)
{
    pb_tag(b, field, WIRE_FIXED32);
    uint8_t raw[4];
    store_le32(raw, v);
    buffer_append(b, raw, sizeof raw);
}

void pb_double(struct buffer *b, uint32_t field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    pb_fixed64(b, field, bits);
}

void pb_bytes(struct buffer *b, uint32_t field, struct bytes v)
{
    pb_tag(b, field, WIRE_LENGTH);
    pb_varint(b, v.len);
    buffer_append_bytes(b, v);
}

size_t pb_begin(struct buffer *b, uint32_t field)
{
    pb_tag(b, field, WIRE_LENGTH);
    buffer_append_byte(b, 0);
    return b->len;
}

void pb_end(struct buffer *b, size_t mark)
{
    if (b->error != ERR_OK)
        return;
    assert(mark > 0 && mark <= b->len);
    size_t len = b->len - mark;
    size_t more = wire_varint_size(len) - 1;
    if (more > 0) {
        if (buffer_reserve(b, more) == NULL)
            return;
        memmove(b->data + mark + more, b->data + mark, len);
        buffer_grew(b, more);
    }
    wire_varint_put(b->data + mark - 1, len);
}
