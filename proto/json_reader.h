/* SPDX-License-Identifier: Apache-2.0 */
/* json_reader.h - JSON tokens, pulled one after the other out of a complete text.
 *
 * Role       OTLP/JSON requests and the small JSON values in query parameters. No tree; depth is
 *            counted.
 * Ownership  tokens borrow from the text; json_token_unescape() writes the unescaped form.
 * Threads    one at a time.
 * Source     RFC 8259. A byte order mark is skipped. Text is not checked to be UTF-8, and lone
 *            surrogates are kept as the three bytes that UTF-8 would give them: that value's own
 *            problem. */
#ifndef SPINDLE_PROTO_JSON_READER_H
#define SPINDLE_PROTO_JSON_READER_H

#include "base/buffer.h"

enum json_token_type {
    JSON_END, /* of the text, after one complete value */
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_KEY,    /* raw: between the quotes, escapes unread */
    JSON_STRING, /* likewise */
    JSON_NUMBER, /* raw: the literal */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};

struct json_token {
    enum json_token_type type;
    struct bytes raw; /* of the others: empty, at their place in the text */
    bool has_escapes;
};

#define JSON_READER_DEPTH_MAX 512

struct json_reader {
    struct bytes text;
    size_t at;
    size_t depth, depth_max;
    uint64_t in_object[JSON_READER_DEPTH_MAX / 64]; /* a bit a level */
    unsigned state;
    enum err error; /* sticks */
    struct err_note error_note;
};

/* depth_max: objects and arrays inside each other, at most JSON_READER_DEPTH_MAX. */
void json_reader_init(struct json_reader *r, struct bytes text, size_t depth_max);
/* ERR_INVALID or ERR_TOO_DEEP with a note (may be NULL); further calls give the same. After
 * JSON_END comes JSON_END again. */
NODISCARD enum err json_reader_next(struct json_reader *r, struct json_token *out,
                                    struct err_note *note);
/* Skip the value that begins with `first` (already read): a scalar, or to the end of its container.
 */
NODISCARD enum err json_reader_skip(struct json_reader *r, const struct json_token *first,
                                    struct err_note *note);
/* Append the string with its escapes resolved. */
void json_token_unescape(const struct json_token *t, struct buffer *out);
/* Compare a key or string with a plain ASCII text. */
bool json_token_is(const struct json_token *t, const char *name);

#endif
