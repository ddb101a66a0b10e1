/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_stream.h"

#include <assert.h>

/* Bits behind the class byte: none for 0 and 1, else one less than the bit length. */
static inline unsigned class_bits(uint8_t class)
{
    return class == 0 ? 0 : class - 1u;
}

static uint64_t bits_get(const uint8_t *from, uint64_t bit, unsigned n)
{
    const uint8_t *p = from + bit / 8;
    unsigned shift = bit % 8;
    uint64_t v = load_le64(p) >> shift;
    if (shift + n > 64)
        v |= (uint64_t)p[8] << (64 - shift);
    return n == 0 ? 0 : v & (~UINT64_C(0) >> (64 - n));
}

uint64_t ints_get_class(struct ints *s, uint32_t i)
{
    assert(i < s->count);
    if (i < s->at) {
        s->at = 0;
        s->bit = 0;
    }
    for (; s->at < i; s->at++)
        s->bit += class_bits(s->a[s->at]);
    uint8_t class = s->a[i];
    if (class == 0)
        return 0;
    return UINT64_C(1) << (class - 1) | bits_get(s->b, s->bit, class - 1u);
}

static bool classes_fit(struct ints *s, struct bytes a, struct bytes b)
{
    uint64_t bits = 0;
    uint8_t largest = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        bits += class_bits(a.data[i]);
        largest = a.data[i] > largest ? a.data[i] : largest;
    }
    return largest <= 64 && b.len == (bits + 7) / 8 + INTS_CLASSES_PADDING;
}

/* Only values as long as `range` are to be compared with it. */
static bool class_range_holds(const struct ints *s)
{
    unsigned longest = bit_length(s->range);
    uint64_t bit = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        uint8_t class = s->a[i];
        if (class > longest)
            return false;
        if (class == longest && class > 0) {
            uint64_t top = UINT64_C(1) << (class - 1);
            if ((top | bits_get(s->b, bit, class - 1u)) > s->range)
                return false;
        }
        bit += class_bits(class);
    }
    return true;
}

/* The form's promise about `range`: nothing is larger. */
static bool range_holds(struct ints *s)
{
    uint64_t largest = 0;
    if (s->form == INTS_U8) { /* by far the most, and quickly done */
        uint8_t byte = 0;
        for (uint32_t i = 0; i < s->count; i++)
            byte = s->a[i] > byte ? s->a[i] : byte;
        return byte <= s->range;
    }
    if (s->form == INTS_CLASSES)
        return class_range_holds(s);
    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t v = ints_get(s, i) - s->base;
        largest = v > largest ? v : largest;
    }
    return largest <= s->range;
}

bool ints_open(struct ints *s, uint32_t count, unsigned form, uint64_t base, uint64_t range,
               struct bytes a, struct bytes b)
{
    *s = (struct ints){ .count = count,
                        .form = (uint8_t)form,
                        .width = (uint8_t)((bit_length(range) + 7) / 8),
                        .base = base,
                        .range = range,
                        .a = a.data,
                        .b = b.data };
    if (range > UINT64_MAX - base)
        return false;
    switch (form) {
    case INTS_CONSTANT:
        return range == 0;
    case INTS_U8:
        return a.len == count && range_holds(s);
    case INTS_PLANES:
        return a.len == count && b.len == count && range_holds(s);
    case INTS_CLASSES:
        return a.len == count && classes_fit(s, a, b) && range_holds(s);
    case INTS_FIXED:
        return range > 0 && a.len == (size_t)count * s->width && range_holds(s);
    default:
        return false;
    }
}

uint64_t ints_sum(struct ints *s, uint32_t from, uint32_t to)
{
    assert(from <= to && to <= s->count);
    uint64_t sum = 0;
    if (s->form == INTS_CONSTANT)
        return s->base * (to - from);
    if (s->form == INTS_U8) {
        for (uint32_t i = from; i < to; i++)
            sum += s->a[i];
        return sum + s->base * (to - from);
    }
    for (uint32_t i = from; i < to; i++)
        sum += ints_get(s, i);
    return sum;
}

bool strings_open(struct strings *s, const struct ints *lengths, size_t text_len, size_t big_len)
{
    *s = (struct strings){ .lengths = *lengths };
    uint64_t longest = lengths->base + lengths->range;
    if (longest > UINT32_MAX)
        return false;
    if (longest <= ROWGROUP_VALUE_INLINE_MAX)
        return big_len == 0 && ints_sum(&s->lengths, 0, lengths->count) == text_len;
    s->has_big = true;
    uint64_t text = 0, big = 0;
    for (uint32_t i = 0; i < lengths->count; i++) {
        uint64_t len = ints_get(&s->lengths, i);
        if (len > ROWGROUP_VALUE_INLINE_MAX)
            big += len;
        else
            text += len;
    }
    return text == text_len && big == big_len;
}

struct bytes strings_get(struct strings *s, uint32_t i)
{
    struct ints *lengths = &s->lengths;
    assert(i < lengths->count);
    if (lengths->form == INTS_CONSTANT && !s->has_big)
        return bytes_of(s->text.data + i * (size_t)lengths->base, (size_t)lengths->base);
    if (i < s->at) {
        s->at = 0;
        s->text_at = s->big_at = 0;
    }
    if (!s->has_big) {
        s->text_at += (size_t)ints_sum(lengths, s->at, i);
        s->at = i;
        return bytes_of(s->text.data + s->text_at, (size_t)ints_get(lengths, i));
    }
    for (; s->at < i; s->at++) {
        size_t len = (size_t)ints_get(lengths, s->at);
        if (len > ROWGROUP_VALUE_INLINE_MAX)
            s->big_at += len;
        else
            s->text_at += len;
    }
    size_t len = (size_t)ints_get(lengths, i);
    return len > ROWGROUP_VALUE_INLINE_MAX ? bytes_of(s->big.data + s->big_at, len)
                                           : bytes_of(s->text.data + s->text_at, len);
}
