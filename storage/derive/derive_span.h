/* SPDX-License-Identifier: Apache-2.0 */
/* derive_span.h - what rollups and edges ask of a span, as whoever has read it hands it over.
 *
 * Ownership  borrowed from the body.
 * Threads    plain data. */
#ifndef SPINDLE_STORAGE_DERIVE_DERIVE_SPAN_H
#define SPINDLE_STORAGE_DERIVE_DERIVE_SPAN_H

#include "base/bytes.h"

#define DERIVE_ATTRIBUTES_MAX 32u
/* Spans are handed over several at a time: what one of them needs from memory is asked for while others are
 * looked at. */
#define DERIVE_SPANS_MAX 32u

struct derive_span {
    uint32_t context; /* spans with equal numbers, which are small, have equal resources */
    struct bytes resource;
    struct bytes message; /* the span as OTLP */
    struct bytes name, trace_state;
    uint64_t trace_high, trace_low; /* big-endian: their order is the bytes' order */
    uint64_t span_id, parent_id;    /* the bytes, little-endian; 0: none */
    uint64_t start_unix_ns, duration_ns;
    uint32_t kind, status; /* as sent */
    uint32_t links_count;
    /* Attributes with keys that derive_wants(), as OTLP has them, in order. NULL: they were not gathered, as for spans
     * of which derive_asks() nothing, and are looked for in the message. */
    const struct bytes *attributes;
    uint32_t attributes_count;
    /* Of each of them: equal codes mean equal keys and values; of DERIVE_CODE_NONE nothing is known. NULL: of none. */
    const uint64_t *attribute_codes;
    /* A number that equal names have, + 1. Of the spans of an intake all have one, or none: 0. */
    uint32_t name_plus_one;
};
#define DERIVE_CODE_NONE UINT64_MAX

/* Whether a span's attributes are looked at: clients, producers and consumers, and servers that nobody calls. */
static inline bool derive_asks(uint32_t kind, bool has_parent)
{
    return kind == 2 ? !has_parent : kind >= 3 && kind <= 5;
}
/* Whether an attribute with this key may tell of a span's peer. Who has read the keys already gathers them. */
bool derive_wants(struct bytes key);
/* For who has not: the same from the span's message. attributes: room for DERIVE_ATTRIBUTES_MAX. */
void derive_gather(struct derive_span *span, struct bytes *attributes);

#endif
