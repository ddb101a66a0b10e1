/* SPDX-License-Identifier: Apache-2.0 */
/* buffer.h - bytes that grow at the end, for writers.
 *
 * Role       appending never has to be checked one call at a time: the first failure sticks, later
 *            appends do nothing, and the writer asks once at the end. Growth doubles.
 * Ownership  the heap (mem.h); buffer_deinit() frees, buffer_take() hands the block to the caller.
 * Threads    one at a time.
 * Errors     ERR_NOMEM, ERR_TOO_LARGE when limit_bytes would be passed, or ERR_BUDGET. */
#ifndef SPINDLE_BASE_BUFFER_H
#define SPINDLE_BASE_BUFFER_H

#include "base/bytes.h"
#include "base/err.h"

struct budget;

struct buffer {
    uint8_t *data;
    size_t len;
    size_t capacity;
    size_t limit_bytes;
    enum err error;
    struct budget *budget; /* NULL, or what the capacity is charged to before it is taken */
};

void buffer_init(struct buffer *b, size_t limit_bytes); /* allocates nothing */
/* The same, charged to a budget as it grows, until buffer_deinit() or buffer_uncharge(). */
void buffer_init_charged(struct buffer *b, size_t limit_bytes, struct budget *budget);
/* From now on its bytes are charged to nobody. */
void buffer_uncharge(struct buffer *b);
void buffer_deinit(struct buffer *b); /* safe on a zeroed buffer, and twice */
void buffer_reset(struct buffer *b);  /* length 0, error cleared, memory kept */
NODISCARD enum err buffer_error(const struct buffer *b);

/* Room for `len` more bytes at the returned place, which the caller fills and then counts with
 * buffer_grew(). NULL after a failure. */
uint8_t *buffer_reserve(struct buffer *b, size_t len);
void buffer_grew(struct buffer *b, size_t len);

/* Appending; after a failure these do nothing. */
void buffer_append(struct buffer *b, const void *data, size_t len);
void buffer_append_bytes(struct buffer *b, struct bytes bytes);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_append_byte(struct buffer *b, uint8_t byte);
void buffer_append_u64(struct buffer *b, uint64_t v); /* decimal text */
void buffer_append_i64(struct buffer *b, int64_t v);  /* decimal text */
void buffer_printf(struct buffer *b, const char *format, ...) PRINTF_LIKE(2, 3);

static inline struct bytes buffer_bytes(const struct buffer *b)
{
    return (struct bytes){ .data = b->data, .len = b->len };
}
/* The block, to be freed with mem_free(); the buffer is empty, and nothing charged, afterwards. */
uint8_t *buffer_take(struct buffer *b, size_t *out_len);

#endif
