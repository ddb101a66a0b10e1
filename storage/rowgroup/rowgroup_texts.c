/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_texts.h"

#include "base/mem.h"

#define BYTES_KEPT_MAX ((uint32_t)1 << 20) /* between groups; of usual columns it is less */
#define BYTES_MAX      (UINT32_MAX / 2)
#define BYTES_FIRST    256u
#define ENDS_FIRST     16u

void texts_reset(struct texts *t)
{
    if (t->capacity > BYTES_KEPT_MAX) {
        mem_free(t->data);
        t->data = NULL;
        t->capacity = 0;
    }
    t->len = t->count = t->length = 0;
    t->has_ends = false;
}

void texts_deinit(struct texts *t)
{
    mem_free(t->data);
    mem_free(t->ends);
    *t = (struct texts){ 0 };
}

static enum err data_reserve(struct texts *t, size_t len)
{
    if (t->data != NULL && len <= t->capacity - t->len)
        return ERR_OK;
    if (len > BYTES_MAX - t->len)
        return ERR_TOO_LARGE;
    size_t need = t->len + len, capacity = t->capacity < BYTES_FIRST ? BYTES_FIRST : t->capacity;
    while (capacity < need)
        capacity *= 2;
    uint8_t *data = mem_realloc(t->data, capacity);
    if (data == NULL)
        return ERR_NOMEM;
    t->data = data;
    t->capacity = (uint32_t)capacity;
    return ERR_OK;
}

static enum err ends_reserve(struct texts *t)
{
    if (t->count < t->ends_capacity)
        return ERR_OK;
    uint32_t capacity = t->ends_capacity < ENDS_FIRST ? ENDS_FIRST : t->ends_capacity;
    while (capacity <= t->count)
        capacity *= 2; /* texts are fewer than the rows and values of a group */
    uint32_t *ends = mem_realloc(t->ends, capacity * sizeof *ends);
    if (ends == NULL)
        return ERR_NOMEM;
    t->ends = ends;
    t->ends_capacity = capacity;
    return ERR_OK;
}

enum err texts_reserve(struct texts *t, size_t len)
{
    enum err e = data_reserve(t, len);
    if (e != ERR_OK)
        return e;
    if (t->count == 0)
        t->length = (uint32_t)len;
    if (!t->has_ends && len == t->length)
        return ERR_OK;
    e = ends_reserve(t);
    if (e != ERR_OK || t->has_ends)
        return e;
    for (uint32_t i = 0; i < t->count; i++)
        t->ends[i] = (i + 1) * t->length;
    t->has_ends = true;
    return ERR_OK;
}
