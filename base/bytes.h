/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h - a borrowed run of bytes, and loads and stores of fixed-width integers.
 *
 * Role       wire text is never NUL-terminated here: it is a pointer and a length. An empty run may have
 *            a NULL pointer.
 * Ownership  borrowed; use arena_dup() or buffer_append() to keep bytes longer than their owner.
 * Threads    pure. */
#ifndef SPINDLE_BASE_BYTES_H
#define SPINDLE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t len;
};

#define BYTES_LITERAL(text) ((struct bytes){ (const uint8_t *)("" text), sizeof(text) - 1 })

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){ .data = (const uint8_t *)data, .len = len };
}

static inline struct bytes bytes_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_text(text));
}

/* Bytewise order; a prefix sorts before what it begins. Returns < 0, 0 or > 0. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static inline bool bytes_start_with(struct bytes a, struct bytes prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

/* The part from `at` on, at most `len` long; both are clamped to what is there. */
static inline struct bytes bytes_slice(struct bytes a, size_t at, size_t len)
{
    if (at > a.len)
        at = a.len;
    if (len > a.len - at)
        len = a.len - at;
    return (struct bytes){ .data = a.data == NULL ? NULL : a.data + at, .len = len };
}

/* Position of byte c, or SIZE_MAX. */
static inline size_t bytes_find(struct bytes a, uint8_t c)
{
    const uint8_t *hit = a.len == 0 ? NULL : memchr(a.data, c, a.len);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - a.data);
}

static inline uint16_t load_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t load_le32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint64_t load_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t load_be32(const uint8_t *p)
{
    return __builtin_bswap32(load_le32(p));
}
static inline uint64_t load_be64(const uint8_t *p)
{
    return __builtin_bswap64(load_le64(p));
}
static inline void store_le16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store_le32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store_le64(uint8_t *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}
static inline void store_be32(uint8_t *p, uint32_t v)
{
    store_le32(p, __builtin_bswap32(v));
}
static inline void store_be64(uint8_t *p, uint64_t v)
{
    store_le64(p, __builtin_bswap64(v));
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads and stores assume little-endian");

#endif
