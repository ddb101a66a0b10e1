/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_wire.h - steps over protobuf's wire form that all of this room's walkers share.
 *
 * Role       private to proto/. Numbers in the input are the peer's: each is compared with what is
 *            left before it is used.
 * Source     protobuf encoding specification. */
#ifndef SPINDLE_PROTO_OTLP_WIRE_H
#define SPINDLE_PROTO_OTLP_WIRE_H

#include "base/bytes.h"
#include "base/err.h"

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
/* Groups inside groups; nobody sends any. */
#define WIRE_GROUP_DEPTH_MAX 64

/* NULL when it does not end within bytes_max bytes and before end. Bits above the 64th are dropped,
 * as other runtimes do. */
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

/* Write v in its shortest form, at most WIRE_VARINT_MAX bytes; returns how many. */
static inline size_t wire_varint_put(uint8_t *at, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        at[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    at[n++] = (uint8_t)v;
    return n;
}

/* ---- Strange bytes, field by field ---- */

struct wire {
    const uint8_t *at, *end;
    bool is_odd; /* a varint in a longer form than needed, or a group, was met */
    enum err error;
    const uint8_t *error_at;
    const char *error_what;
};

struct wire_field {
    const uint8_t *begin; /* of its tag */
    uint32_t number, wire;
    uint64_t value;     /* of varints and fixed numbers */
    struct bytes bytes; /* of lengths */
};

/* NULL for an empty run without an address, to which nothing may be added, not even 0. */
static inline const uint8_t *bytes_end(struct bytes b)
{
    return b.len == 0 ? b.data : b.data + b.len;
}

static inline struct wire wire_of(struct bytes message)
{
    return (struct wire){ .at = message.data, .end = bytes_end(message) };
}

/* The rare cases of wire_read(). They return NULL after noting the error in w. */
const uint8_t *wire_slow_varint(struct wire *w, const uint8_t *p, const uint8_t *end,
                                size_t bytes_max, uint64_t *out, const char *what);
const uint8_t *wire_slow_group(struct wire *w, const uint8_t *p, const uint8_t *end,
                               uint32_t number);
const uint8_t *wire_fail(struct wire *w, enum err e, const uint8_t *at, const char *what);

static inline const uint8_t *wire_read_varint(struct wire *w, const uint8_t *p, const uint8_t *end,
                                              size_t bytes_max, uint64_t *out, const char *what)
{
    if (p < end && *p < 0x80) {
        *out = *p;
        return p + 1;
    }
    if (end - p >= 2 && p[1] < 0x80 && p[1] != 0) {
        *out = (uint64_t)(p[0] & 0x7F) | (uint64_t)p[1] << 7;
        return p + 2;
    }
    uint64_t slow; /* so that *out may stay in a register */
    p = wire_slow_varint(w, p, end, bytes_max, &slow, what);
    if (p != NULL)
        *out = slow;
    return p;
}

/* The field that p < end begins; returns what follows it, or NULL on an error, which w->error
 * tells. Groups are skipped to their end and come as one field of wire type 3. The position is the
 * caller's, so that a hot loop can keep it in registers. */
static inline const uint8_t *wire_read(struct wire *w, const uint8_t *p, const uint8_t *end,
                                       struct wire_field *out)
{
    uint64_t tag = 0, len = 0;
    out->begin = p;
    p = wire_read_varint(w, p, end, WIRE_SHORT_VARINT_MAX, &tag, "a field tag");
    if (p == NULL)
        return NULL;
    if (tag >> 3 == 0 || tag > UINT32_MAX)
        return wire_fail(w, ERR_INVALID, out->begin, "a field number from 1 to 536870911");
    out->number = (uint32_t)(tag >> 3);
    out->wire = tag & 7;

    switch (out->wire) {
    case WIRE_VARINT:
        return wire_read_varint(w, p, end, WIRE_VARINT_MAX, &out->value,
                                "a varint of at most 10 bytes");
    case WIRE_FIXED64:
        if (end - p < 8)
            return wire_fail(w, ERR_INVALID, p, "8 bytes of a fixed64");
        out->value = load_le64(p);
        return p + 8;
    case WIRE_LENGTH:
        p = wire_read_varint(w, p, end, WIRE_SHORT_VARINT_MAX, &len, "a length");
        if (p == NULL)
            return NULL;
        if (len > (size_t)(end - p))
            return wire_fail(w, ERR_INVALID, out->begin, "a length within its message");
        out->bytes = (struct bytes){ p, (size_t)len };
        return p + len;
    case WIRE_FIXED32:
        if (end - p < 4)
            return wire_fail(w, ERR_INVALID, p, "4 bytes of a fixed32");
        out->value = load_le32(p);
        return p + 4;
    case WIRE_GROUP_BEGIN:
        return wire_slow_group(w, p, end, out->number);
    case WIRE_GROUP_END:
        return wire_fail(w, ERR_INVALID, out->begin, "no end of a group that never began");
    default:
        return wire_fail(w, ERR_INVALID, out->begin, "a wire type from 0 to 5");
    }
}

/* The next field. False at the end, and on an error, which w->error tells. */
static inline bool wire_next(struct wire *w, struct wire_field *out)
{
    if (w->at >= w->end)
        return false;
    const uint8_t *after = wire_read(w, w->at, w->end, out);
    if (after == NULL)
        return false;
    w->at = after;
    return true;
}

#endif
