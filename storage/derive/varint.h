/* SPDX-License-Identifier: Apache-2.0 */
/* varint.h - numbers in as few bytes as they need, for what storage/derive/ writes.
 *
 * Role       seven bits a byte, least first, as protobuf has them; a number has one form that is written,
 *            and readers take the longer ones too.
 * Threads    pure. */
#ifndef SPINDLE_STORAGE_DERIVE_VARINT_H
#define SPINDLE_STORAGE_DERIVE_VARINT_H

#include "base/buffer.h"

#define VARINT_BYTES_MAX 10u

/* The lower 56 bits as eight groups of seven, a byte each. */
static inline uint64_t varint_spread(uint64_t v)
{
    v = (v & 0x000000000FFFFFFF) | (v & 0x00FFFFFFF0000000) << 4;
    v = (v & 0x00003FFF00003FFF) | (v & 0x0FFFC0000FFFC000) << 2;
    return (v & 0x007F007F007F007F) | (v & 0x3F803F803F803F80) << 1;
}

/* Where there is room for VARINT_BYTES_MAX; returns where it ends. Times have nine bytes, durations four or five: so
 * longer ones are written eight bytes at once, without a branch for each. */
static inline uint8_t *varint_at(uint8_t *p, uint64_t v)
{
    if (v < 0x80) {
        *p = (uint8_t)v;
        return p + 1;
    }
    if (v < 0x4000) {
        p[0] = (uint8_t)(v | 0x80);
        p[1] = (uint8_t)(v >> 7);
        return p + 2;
    }
    unsigned length = ((63u - (unsigned)__builtin_clzll(v)) * 9 + 73) / 64; /* bits / 7, up */
    uint64_t more = UINT64_C(0x8080808080808080); /* in each byte but the last */
    if (length <= 8)
        more >>= 8 * (9 - length);
    store_le64(p, varint_spread(v) | more);
    if (length > 8) {
        p[8] = (uint8_t)(v >> 56 | (length == 10 ? 0x80 : 0));
        p[9] = (uint8_t)(v >> 63);
    }
    return p + length;
}

static inline void varint_put(struct buffer *out, uint64_t v)
{
    uint8_t *p = buffer_reserve(out, VARINT_BYTES_MAX);
    if (p != NULL)
        buffer_grew(out, (size_t)(varint_at(p, v) - p));
}

/* Takes one from the front of *from. False: it ends too early, or is longer than 64 bits. */
static inline bool varint_take(struct bytes *from, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < from->len && i < 10; i++) {
        uint8_t byte = from->data[i];
        if (i == 9 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            from->data += i + 1;
            from->len -= i + 1;
            *out = v;
            return true;
        }
    }
    return false;
}

/* A length, then as many bytes. */
static inline void varint_put_bytes(struct buffer *out, struct bytes v)
{
    varint_put(out, v.len);
    buffer_append_bytes(out, v);
}

static inline bool varint_take_bytes(struct bytes *from, struct bytes *out)
{
    struct bytes at = *from;
    uint64_t len;
    if (!varint_take(&at, &len) || len > at.len)
        return false;
    *out = bytes_of(at.data, (size_t)len);
    from->data = at.data + len;
    from->len = at.len - (size_t)len;
    return true;
}

#endif
