/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include "base/budget.h"
#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

enum { CAPACITY_FIRST = 256 };

void buffer_init(struct buffer *b, size_t limit_bytes)
{
    *b = (struct buffer){ .limit_bytes = limit_bytes };
}

void buffer_init_charged(struct buffer *b, size_t limit_bytes, struct budget *budget)
{
    *b = (struct buffer){ .limit_bytes = limit_bytes, .budget = budget };
}

void buffer_uncharge(struct buffer *b)
{
    if (b->budget != NULL)
        budget_release(b->budget, b->capacity);
    b->budget = NULL;
}

void buffer_deinit(struct buffer *b)
{
    mem_free(b->data);
    if (b->budget != NULL)
        budget_release(b->budget, b->capacity);
    *b = (struct buffer){ .limit_bytes = b->limit_bytes, .budget = b->budget };
}

void buffer_reset(struct buffer *b)
{
    b->len = 0;
    b->error = ERR_OK;
}

enum err buffer_error(const struct buffer *b)
{
    return b->error;
}

static bool grow(struct buffer *b, size_t len)
{
    size_t needed;
    if (__builtin_add_overflow(b->len, len, &needed) || needed > b->limit_bytes) {
        b->error = ERR_TOO_LARGE;
        return false;
    }
    size_t capacity = b->capacity < CAPACITY_FIRST ? CAPACITY_FIRST : b->capacity;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    if (capacity > b->limit_bytes)
        capacity = b->limit_bytes;
    if (b->budget != NULL && !budget_reserve(b->budget, capacity - b->capacity)) {
        capacity = needed; /* near the bound, take no more than is asked for */
        if (!budget_reserve(b->budget, capacity - b->capacity)) {
            b->error = ERR_BUDGET;
            return false;
        }
    }
    uint8_t *data = mem_realloc(b->data, capacity);
    if (data == NULL) {
        if (b->budget != NULL)
            budget_release(b->budget, capacity - b->capacity);
        b->error = ERR_NOMEM;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

uint8_t *buffer_reserve(struct buffer *b, size_t len)
{
    if (b->error != ERR_OK)
        return NULL;
    if (len > b->capacity - b->len || b->data == NULL) {
        if (!grow(b, len))
            return NULL;
    }
    return b->data + b->len;
}

void buffer_grew(struct buffer *b, size_t len)
{
    assert(len <= b->capacity - b->len);
    b->len += len;
}

void buffer_append(struct buffer *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    uint8_t *to = buffer_reserve(b, len);
    if (to == NULL)
        return;
    memcpy(to, data, len);
    b->len += len;
}

void buffer_append_bytes(struct buffer *b, struct bytes bytes)
{
    buffer_append(b, bytes.data, bytes.len);
}

void buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void buffer_append_byte(struct buffer *b, uint8_t byte)
{
    buffer_append(b, &byte, 1);
}

void buffer_append_u64(struct buffer *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    buffer_append(b, digits + at, sizeof digits - at);
}

void buffer_append_i64(struct buffer *b, int64_t v)
{
    if (v < 0)
        buffer_append_byte(b, '-');
    buffer_append_u64(b, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(len >= 0);
    /* vsnprintf() ends with a NUL, which is written and then not counted */
    uint8_t *to = buffer_reserve(b, (size_t)len + 1);
    if (to != NULL) {
        (void)vsnprintf((char *)to, (size_t)len + 1, format, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

uint8_t *buffer_take(struct buffer *b, size_t *out_len)
{
    uint8_t *data = b->data;
    *out_len = b->len;
    buffer_uncharge(b);
    *b = (struct buffer){ .limit_bytes = b->limit_bytes };
    return data;
}
