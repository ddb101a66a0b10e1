/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_texts.h - byte strings of a group that is being built, one after the other.
 *
 * Role       the values of a column, or of its dictionary. They are copied when they come, while their bytes are at
 *            hand: what is compared with later, or written, then lies together and not anywhere in the bodies.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_TEXTS_H
#define SPINDLE_STORAGE_ROWGROUP_TEXTS_H

#include "base/err.h"
#include "storage/rowgroup/rowgroup_wire.h"

struct texts {
    uint8_t *data;
    uint32_t len, capacity;
    uint32_t count;
    uint32_t length; /* of each, as long as all are alike; then no ends are kept */
    bool has_ends;
    uint32_t ends_capacity;
    uint32_t *ends; /* where each ends in data */
};

/* reset: empty, and memory kept where it is of a usual size; deinit: safe on a zeroed one, and twice. */
void texts_reset(struct texts *t);
void texts_deinit(struct texts *t);

/* For texts_append() alone: room for one more, of this length. ERR_NOMEM, ERR_TOO_LARGE above 2 GiB in all. */
NODISCARD enum err texts_reserve(struct texts *t, size_t len);

static inline __attribute__((always_inline)) enum err texts_append(struct texts *t, struct bytes v)
{
    if (v.len > t->capacity - t->len ||
        (t->has_ends ? t->count == t->ends_capacity : v.len != t->length)) {
        enum err e = texts_reserve(t, v.len);
        if (e != ERR_OK)
            return e;
    }
    if (v.len > 0) /* where all are empty there is no memory */
        wire_copy(t->data + t->len, v.data, v.len);
    t->len += (uint32_t)v.len;
    if (t->has_ends)
        t->ends[t->count] = t->len;
    t->count++;
    return ERR_OK;
}

/* Where `number` of them end; number <= count. */
static inline uint32_t texts_end(const struct texts *t, uint32_t number)
{
    return !t->has_ends ? number * t->length : number == 0 ? 0 : t->ends[number - 1];
}

/* Until the next one is appended. */
static inline struct bytes texts_get(const struct texts *t, uint32_t number)
{
    uint32_t begin = texts_end(t, number);
    return bytes_of(t->data == NULL ? NULL : t->data + begin, texts_end(t, number + 1) - begin);
}

#endif
