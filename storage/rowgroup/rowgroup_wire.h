/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_wire.h - protobuf fields of checked messages, inline: the builder takes a step for each
 * field of each span, and calls would cost more than the steps.
 *
 * Role       as otlp_fields_next(), which is the plain version. Lengths are compared with the end
 * all the same: a broken promise ends the loop. Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_WIRE_H
#define SPINDLE_STORAGE_ROWGROUP_WIRE_H

#include "base/bytes.h"

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
