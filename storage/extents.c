/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/extents.h"

#include "base/hash.h"

#include <assert.h>

enum { EXTENTS_HEAD = 16, EXTENTS_MANTISSA_BITS = 26 };

static unsigned bit_length(uint64_t v)
{
    return v == 0 ? 0 : 64 - (unsigned)__builtin_clzll(v);
}

/* Up to 27 bits as they are. Of more, the upper 27 and, times 2^26, how many there were below: the upper ones have their
 * highest bit set, so that it adds one to that number. */
uint32_t extent_code(uint64_t extent_ns)
{
    unsigned bits = bit_length(extent_ns);
    if (bits <= EXTENTS_MANTISSA_BITS + 1)
        return (uint32_t)extent_ns;
    unsigned below = bits - (EXTENTS_MANTISSA_BITS + 1);
    uint64_t upper = extent_ns >> below;
    upper += (extent_ns & ((UINT64_C(1) << below) - 1)) != 0;
    return (below << EXTENTS_MANTISSA_BITS) + (uint32_t)upper;
}

uint64_t extent_of_code(uint32_t code)
{
    if (code <= EXTENT_CODE_EXACT)
        return code;
    unsigned below = (code >> EXTENTS_MANTISSA_BITS) - 1;
    uint64_t upper = code - ((uint64_t)below << EXTENTS_MANTISSA_BITS);
    return bit_length(upper) + below > 64 ? UINT64_MAX : upper << below;
}

uint64_t extents_hash(const struct trace_id *id)
{
    static const uint64_t seed = UINT64_C(0xC3A5C85C97CB3127);
    return hash_bytes_seeded(bytes_of(id->b, sizeof id->b), seed);
}

struct making {
    struct buffer *out;
    uint64_t base, start_max;
    uint32_t shift, code_max;
    bool is_corrupt; /* a run lies outside of the segment's bounds */
};

static bool on_run(void *context, const struct trace_id *id, uint64_t start_min_unix_ns,
                   uint64_t end_max_unix_ns)
{
    struct making *m = context;
    uint8_t run[EXTENTS_RUN_BYTES];
    assert(end_max_unix_ns >= start_min_unix_ns);
    m->is_corrupt = start_min_unix_ns < m->base || start_min_unix_ns > m->start_max;
    if (m->is_corrupt)
        return false;
    uint32_t code = extent_code(end_max_unix_ns - start_min_unix_ns);
    store_le64(run, extents_hash(id));
    store_le32(run + 8, (uint32_t)((start_min_unix_ns - m->base) >> m->shift));
    store_le32(run + 12, code);
    m->code_max = code > m->code_max ? code : m->code_max;
    buffer_append(m->out, run, sizeof run);
    return buffer_error(m->out) == ERR_OK;
}

enum err extents_make(struct segment *s, const struct query_context *q, struct buffer *out)
{
    assert(s->bounds.signal == SIGNAL_TRACES);
    struct making m = { .out = out,
                        .base = s->bounds.start_min_unix_ns,
                        .start_max = s->bounds.start_max_unix_ns };
    unsigned bits = bit_length(m.start_max - m.base);
    m.shift = bits > 32 ? bits - 32 : 0;
    size_t head_at = out->len;
    uint8_t head[EXTENTS_HEAD] = { 0 };
    buffer_append(out, head, sizeof head);
    enum err e = s->ops->runs(s, q, on_run, &m);
    if (e == ERR_OK)
        e = m.is_corrupt ? ERR_CORRUPT : buffer_error(out);
    if (e != ERR_OK)
        return e;
    store_le64(head, m.base);
    store_le32(head + 8, m.shift);
    store_le32(head + 12, m.code_max);
    memcpy(out->data + head_at, head, sizeof head);
    return ERR_OK;
}

struct extents extents_read(struct bytes made)
{
    if (made.len == 0)
        return (struct extents){ 0 };
    assert(made.len >= EXTENTS_HEAD && (made.len - EXTENTS_HEAD) % EXTENTS_RUN_BYTES == 0);
    return (struct extents){
        .base_unix_ns = load_le64(made.data),
        .shift = load_le32(made.data + 8),
        .code_max = load_le32(made.data + 12),
        .count = (uint32_t)((made.len - EXTENTS_HEAD) / EXTENTS_RUN_BYTES),
        .runs = made.data + EXTENTS_HEAD,
    };
}

static uint64_t add_up_to_max(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

struct extent extents_at(const struct extents *x, uint32_t run)
{
    const uint8_t *at = x->runs + (size_t)EXTENTS_RUN_BYTES * run;
    uint64_t start = x->base_unix_ns + ((uint64_t)load_le32(at + 8) << x->shift);
    struct extent e = { .hash = load_le64(at),
                        .code = load_le32(at + 12),
                        .start_min_unix_ns = start };
    uint64_t start_max = add_up_to_max(start, (UINT64_C(1) << x->shift) - 1);
    e.end_max_unix_ns = add_up_to_max(start_max, extent_of_code(e.code));
    return e;
}
