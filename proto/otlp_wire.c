/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/otlp_wire.h"

const uint8_t *wire_fail(struct wire *w, enum err e, const uint8_t *at, const char *what)
{
    w->error = e;
    w->error_at = at;
    w->error_what = what;
    return NULL;
}

const uint8_t *wire_slow_varint(struct wire *w, const uint8_t *p, const uint8_t *end,
                                size_t bytes_max, uint64_t *out, const char *what)
{
    const uint8_t *after = wire_varint_long(p, end, bytes_max, out);
    if (after == NULL)
        return wire_fail(w, ERR_INVALID, p, what);
    size_t len = (size_t)(after - p);
    if (len != wire_varint_size(*out) || (len == WIRE_VARINT_MAX && after[-1] > 1))
        w->is_odd = true;
    return after;
}

/* To the end tag that matches `number`. The numbers of the groups open at once are the whole state.
 */
const uint8_t *wire_slow_group(struct wire *w, const uint8_t *p, const uint8_t *end,
                               uint32_t number)
{
    uint32_t open[WIRE_GROUP_DEPTH_MAX];
    size_t depth = 0;
    open[depth++] = number;
    w->is_odd = true;
    while (depth > 0) {
        const uint8_t *begin = p;
        uint64_t tag, value;
        struct bytes bytes;
        p = wire_varint_long(p, end, WIRE_SHORT_VARINT_MAX, &tag);
        if (p == NULL || tag >> 3 == 0 || tag > UINT32_MAX)
            return wire_fail(w, ERR_INVALID, begin, "a field of a group, or its end");
        switch (tag & 7) {
        case WIRE_VARINT:
            p = wire_varint(p, end, &value);
            break;
        case WIRE_FIXED64:
            p = end - p < 8 ? NULL : p + 8;
            break;
        case WIRE_LENGTH:
            p = wire_length(p, end, &bytes);
            break;
        case WIRE_FIXED32:
            p = end - p < 4 ? NULL : p + 4;
            break;
        case WIRE_GROUP_BEGIN:
            if (depth == WIRE_GROUP_DEPTH_MAX)
                return wire_fail(w, ERR_TOO_DEEP, begin, "at most 64 groups inside each other");
            open[depth++] = (uint32_t)(tag >> 3);
            break;
        case WIRE_GROUP_END:
            if (open[--depth] != tag >> 3)
                return wire_fail(w, ERR_INVALID, begin, "the end of the group that is open");
            break;
        default:
            p = NULL;
            break;
        }
        if (p == NULL)
            return wire_fail(w, ERR_INVALID, begin, "a well-formed field inside a group");
    }
    return p;
}
