/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_stream.h - the values of one column in one section, read in place.
 *
 * Role       integers and byte strings by their number in the stream. Reading forward is cheap
 *            in every form; going back starts a form without random access again from its first
 *            value.
 * Safety     opening a stream checks its parts against its count, so that reading needs no check
 *            but of the number: all bytes read lie inside the parts, whatever they hold.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_STREAM_H
#define SPINDLE_STORAGE_ROWGROUP_STREAM_H

#include "storage/rowgroup/rowgroup_format.h"

struct ints {
    uint32_t count;
    uint8_t form;  /* INTS_ */
    uint8_t width; /* of INTS_FIXED, bytes */
    uint64_t base, range;
    const uint8_t *a, *b; /* the parts */
    uint32_t at;          /* of INTS_CLASSES: value `at` has its bits at `bit` */
    uint64_t bit;
};

/* The parts must be as the form says; checks that every value lies in [base, base + range]. */
NODISCARD bool ints_open(struct ints *s, uint32_t count, unsigned form, uint64_t base,
                         uint64_t range, struct bytes a, struct bytes b);

/* Only for ints_get() below: values of INTS_CLASSES, cheap in ascending order. */
uint64_t ints_get_class(struct ints *s, uint32_t i);

/* i < count */
static inline uint64_t ints_get(struct ints *s, uint32_t i)
{
    switch (s->form) {
    case INTS_CONSTANT:
        return s->base;
    case INTS_U8:
        return s->base + s->a[i];
    case INTS_PLANES:
        return s->base + ((uint64_t)s->b[i] << 8 | s->a[i]);
    case INTS_CLASSES:
        return s->base + ints_get_class(s, i);
    default: {
        uint64_t v = 0;
        memcpy(&v, s->a + (size_t)i * s->width, s->width);
        return s->base + v;
    }
    }
}

/* Sum of the values in [from, to). */
uint64_t ints_sum(struct ints *s, uint32_t from, uint32_t to);

/* Byte strings: lengths, and the short ones one after the other. */
struct strings {
    struct ints lengths;
    struct bytes text, big;
    bool has_big; /* some value is long: `big` must be there before strings_get() meets it */
    uint32_t at;  /* value `at` lies at text_at, or at big_at when it is long */
    size_t text_at, big_at;
};

/* `text_len` and `big_len` are those of the parts; checks that the lengths add up to them. */
NODISCARD bool strings_open(struct strings *s, const struct ints *lengths, size_t text_len,
                            size_t big_len);
/* i < count */
struct bytes strings_get(struct strings *s, uint32_t i);
/* Is the value a long one, in the part `big`? */
static inline bool strings_is_big(struct strings *s, uint32_t i)
{
    return s->has_big && ints_get(&s->lengths, i) > ROWGROUP_VALUE_INLINE_MAX;
}

#endif
