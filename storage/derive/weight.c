/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/weight.h"

#define THRESHOLD_BITS 56u

static struct bytes trimmed(struct bytes t)
{
    while (t.len > 0 && (t.data[0] == ' ' || t.data[0] == '\t'))
        t = bytes_slice(t, 1, SIZE_MAX);
    return t;
}

/* The first piece of a list, and what follows it. */
static struct bytes piece_take(struct bytes *list, uint8_t separator)
{
    size_t at = bytes_find(*list, separator);
    struct bytes piece = bytes_slice(*list, 0, at);
    *list = bytes_slice(*list, at == SIZE_MAX ? SIZE_MAX : at + 1, SIZE_MAX);
    return piece;
}

/* Hex digits, zeros on the right left out. False: not such a number. */
static bool threshold_read(struct bytes hex, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < hex.len && i < THRESHOLD_BITS / 4; i++) {
        uint8_t c = hex.data[i];
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (uint64_t)(c - 'a' + 10);
        else
            break;
    }
    if (i == 0 || (i < hex.len && hex.data[i] != ' '))
        return false;
    *out = v << (THRESHOLD_BITS - 4 * i);
    return true;
}

static uint64_t weight_of_threshold(uint64_t threshold)
{
    uint64_t kept = (UINT64_C(1) << THRESHOLD_BITS) - threshold; /* at least 1 */
    unsigned __int128 weight = ((unsigned __int128)1 << (THRESHOLD_BITS + 16)) / kept;
    return weight < WEIGHT_MAX ? (uint64_t)weight : WEIGHT_MAX;
}

uint64_t weight_of_trace_state(struct bytes state)
{
    while (state.len > 0) {
        struct bytes member = trimmed(piece_take(&state, ','));
        if (!bytes_start_with(member, BYTES_LITERAL("ot=")))
            continue;
        struct bytes fields = bytes_slice(member, 3, SIZE_MAX);
        while (fields.len > 0) {
            struct bytes field = piece_take(&fields, ';');
            uint64_t threshold;
            if (bytes_start_with(field, BYTES_LITERAL("th:")) &&
                threshold_read(bytes_slice(field, 3, SIZE_MAX), &threshold))
                return weight_of_threshold(threshold);
        }
    }
    return WEIGHT_ONE;
}
