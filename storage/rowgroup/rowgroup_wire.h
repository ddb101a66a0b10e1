/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_wire.h - protobuf fields of checked messages, inline: the builder takes a step for
 * each field of each span, and calls would cost more than the steps.
 *
 * Role       as otlp_fields_next(), which is the plain version. Lengths are compared with the
 *            end all the same: a broken promise ends the loop.
 * Private    to storage/rowgroup and storage/derive. */
#ifndef SPINDLE_STORAGE_ROWGROUP_WIRE_H
#define SPINDLE_STORAGE_ROWGROUP_WIRE_H

#include "base/hash.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };
#define WIRE_TAG(field, type) ((uint32_t)(field) << 3 | (type))

static inline bool wire_varint(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    const uint8_t *p = *at;
    uint64_t v = 0;
    for (unsigned shift = 0; p < end && shift < 70; shift += 7) {
        uint8_t byte = *p++;
        v |= (uint64_t)(byte & 0x7F) << (shift & 63);
        if (byte < 0x80) {
            *at = p;
            *out = v;
            return true;
        }
    }
    return false;
}

static inline uint64_t wire_differs(const uint8_t *a, const uint8_t *b)
{
    return load_le64(a) ^ load_le64(b);
}

/* As bytes_equal(): most keys and values are short, and a call costs more than comparing them. */
static inline __attribute__((always_inline)) bool wire_equal(struct bytes a, struct bytes b)
{
    size_t n = a.len;
    if (n != b.len)
        return false;
    if (n > 32)
        return memcmp(a.data, b.data, n) == 0;
    if (n >= 8) {
        uint64_t differs =
            wire_differs(a.data, b.data) | wire_differs(a.data + n - 8, b.data + n - 8);
        if (n > 16)
            differs |= wire_differs(a.data + 8, b.data + 8) |
                       wire_differs(a.data + n - 16, b.data + n - 16);
        return differs == 0;
    }
    if (n >= 4)
        return ((load_le32(a.data) ^ load_le32(b.data)) |
                (load_le32(a.data + n - 4) ^ load_le32(b.data + n - 4))) == 0;
    for (size_t i = 0; i < n; i++)
        if (a.data[i] != b.data[i])
            return false;
    return true;
}

/* As memcpy(), for the same reason. */
static inline __attribute__((always_inline)) void wire_copy(uint8_t *to, const uint8_t *from,
                                                            size_t n)
{
    if (n > 32) {
        memcpy(to, from, n);
    } else if (n >= 8) {
        uint64_t first = load_le64(from), last = load_le64(from + n - 8);
        if (n > 16) {
            uint64_t second = load_le64(from + 8), third = load_le64(from + n - 16);
            store_le64(to + 8, second);
            store_le64(to + n - 16, third);
        }
        store_le64(to, first);
        store_le64(to + n - 8, last);
    } else if (n >= 4) {
        uint32_t first = load_le32(from), last = load_le32(from + n - 4);
        store_le32(to, first);
        store_le32(to + n - 4, last);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

static inline uint64_t wire_fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A hash for tables in memory, never stored: one or two multiplications for the short strings that
 * most are (after wyhash), XXH3 for the others. */
static inline uint64_t wire_hash(struct bytes v)
{
    const uint64_t k = UINT64_C(0x9E3779B97F4A7C15), m = UINT64_C(0xD6E8FEB86659FD93);
    size_t n = v.len;
    if (n > 32)
        return hash_bytes(v);
    if (n >= 8) {
        uint64_t h = wire_fold(load_le64(v.data) ^ k, load_le64(v.data + n - 8) ^ m ^ n);
        if (n > 16)
            h = wire_fold(load_le64(v.data + 8) ^ h, load_le64(v.data + n - 16) ^ m);
        return h;
    }
    uint64_t a = 0;
    if (n >= 4)
        a = (uint64_t)load_le32(v.data) << 32 | load_le32(v.data + n - 4);
    else if (n > 0)
        a = (uint64_t)v.data[0] << 16 | (uint64_t)v.data[n / 2] << 8 | v.data[n - 1];
    return wire_fold(a ^ k, m ^ n);
}

/* A field of bytes with this tag of one byte, at hand: *at goes behind it. */
static inline __attribute__((always_inline)) bool
wire_take_bytes(const uint8_t **at, const uint8_t *end, uint32_t tag, struct bytes *out)
{
    const uint8_t *p = *at;
    uint64_t len;
    if (end - p < 2 || *p != tag)
        return false;
    if (p[1] < 0x80) {
        len = p[1];
        p += 2;
    } else {
        p++;
        if (!wire_varint(&p, end, &len))
            return false;
    }
    if (len > (size_t)(end - p))
        return false;
    *out = bytes_of(p, len);
    *at = p + len;
    return true;
}

/* One field: its tag, and its number in *value or its content in *bytes. False at the end. */
static inline bool wire_next(const uint8_t **at, const uint8_t *end, uint32_t *tag, uint64_t *value,
                             struct bytes *bytes)
{
    const uint8_t *p = *at;
    uint64_t v;
    if (p >= end)
        return false;
    if (*p < 0x80)
        *tag = *p++;
    else if (wire_varint(&p, end, &v))
        *tag = (uint32_t)v;
    else
        return false;
    switch (*tag & 7) {
    case WIRE_LENGTH:
        if (p < end && *p < 0x80)
            v = *p++;
        else if (!wire_varint(&p, end, &v))
            return false;
        if (v > (size_t)(end - p))
            return false;
        *bytes = (struct bytes){ p, (size_t)v };
        p += v;
        break;
    case WIRE_VARINT:
        if (!wire_varint(&p, end, value))
            return false;
        break;
    case WIRE_FIXED64:
        if (end - p < 8)
            return false;
        *value = load_le64(p);
        p += 8;
        break;
    case WIRE_FIXED32:
        if (end - p < 4)
            return false;
        *value = load_le32(p);
        p += 4;
        break;
    default:
        return false;
    }
    *at = p;
    return true;
}

#endif
