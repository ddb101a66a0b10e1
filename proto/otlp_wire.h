/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_wire.h - the few inline steps over protobuf's wire form that all of this room's walkers
 * share.
 *
 * Role       private to proto/. Every step compares with the end first; NULL means "does not fit".
 * Source     protobuf encoding specification. */
#ifndef SPINDLE_PROTO_OTLP_WIRE_H
#define SPINDLE_PROTO_OTLP_WIRE_H

#include "base/bytes.h"

enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_LENGTH = 2,
    WIRE_GROUP_BEGIN = 3,
    WIRE_GROUP_END = 4,
    WIRE_FIXED32 = 5
};

/* Other runtimes read tags and lengths as 32-bit numbers, so those end within five bytes. */
#define WIRE_SHORT_VARINT_MAX 5
#define WIRE_VARINT_MAX       10

/* Of more than one byte. NULL when it does not end within bytes_max bytes or before end. Bits above
 * the 64th are dropped, as everywhere. */
static inline const uint8_t *wire_varint_long(const uint8_t *p, const uint8_t *end,
                                              size_t bytes_max, uint64_t *out)
{
    uint64_t v = 0;
    size_t left = (size_t)(end - p);
    size_t n = left < bytes_max ? left : bytes_max;
    for (size_t i = 0; i < n; i++) {
        v |= (uint64_t)(p[i] & 0x7F) << (7 * i);
        if (p[i] < 0x80) {
            *out = v;
            return p + i + 1;
        }
    }
    return NULL;
}

static inline const uint8_t *wire_varint(const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    if (p < end && *p < 0x80) {
        *out = *p;
        return p + 1;
    }
    return wire_varint_long(p, end, WIRE_VARINT_MAX, out);
}

/* A length that fits what is left after it. */
static inline const uint8_t *wire_length(const uint8_t *p, const uint8_t *end, struct bytes *out)
{
    uint64_t len;
    if (p < end && *p < 0x80)
        len = *p++;
    else
        p = wire_varint_long(p, end, WIRE_SHORT_VARINT_MAX, &len);
    if (p == NULL || len > (size_t)(end - p))
        return NULL;
    *out = (struct bytes){ p, (size_t)len };
    return p + len;
}

/* How many bytes the shortest form of v has. */
static inline size_t wire_varint_size(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

#endif
