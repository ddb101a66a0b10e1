/* SPDX-License-Identifier: Apache-2.0 */
/* The states are what may come next:
 *
 *   VALUE          a value                      at the start, after a colon or an array's comma
 *   ARRAY_FIRST    a value or ]                 after [
 *   OBJECT_FIRST   a key or }                   after {
 *   AFTER_VALUE    a comma, ] or }
 *   DONE           nothing but blanks */
#include "proto/json_reader.h"

#include "base/text.h"

#include <assert.h>

enum { VALUE, ARRAY_FIRST, OBJECT_FIRST, AFTER_VALUE, DONE };

void json_reader_init(struct json_reader *r, struct bytes text, size_t depth_max)
{
    assert(depth_max <= JSON_READER_DEPTH_MAX);
    memset(r, 0, sizeof *r);
    r->text = text;
    r->depth_max = depth_max;
    r->state = VALUE;
    if (bytes_start_with(text, BYTES_LITERAL("\xEF\xBB\xBF")))
        r->at = 3;
}

static enum err fail_at(struct json_reader *r, enum err e, size_t offset, const char *what)
{
    r->error = e;
    r->error_note = (struct err_note){ .offset = offset, .what = what };
    return e;
}

static enum err fail(struct json_reader *r, const char *what)
{
    return fail_at(r, ERR_INVALID, r->at, what);
}

static void skip_blanks(struct json_reader *r)
{
    while (r->at < r->text.len) {
        uint8_t c = r->text.data[r->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return;
        r->at++;
    }
}

/* The byte at the reading position, or 0: no token begins with that. */
static uint8_t peek(const struct json_reader *r)
{
    return r->at < r->text.len ? r->text.data[r->at] : 0;
}

static bool is_in_object(const struct json_reader *r)
{
    return r->in_object[(r->depth - 1) / 64] >> (r->depth - 1) % 64 & 1;
}

static void value_ended(struct json_reader *r)
{
    r->state = r->depth == 0 ? DONE : AFTER_VALUE;
}

static enum err container_begin(struct json_reader *r, bool is_object, struct json_token *out)
{
    if (r->depth == r->depth_max)
        return fail_at(r, ERR_TOO_DEEP, r->at, "JSON nested less deeply");
    uint64_t bit = UINT64_C(1) << r->depth % 64;
    if (is_object)
        r->in_object[r->depth / 64] |= bit;
    else
        r->in_object[r->depth / 64] &= ~bit;
    r->depth++;
    r->at++;
    r->state = is_object ? OBJECT_FIRST : ARRAY_FIRST;
    out->type = is_object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN;
    return ERR_OK;
}

static enum err container_end(struct json_reader *r, struct json_token *out)
{
    out->type = is_in_object(r) ? JSON_OBJECT_END : JSON_ARRAY_END;
    r->depth--;
    r->at++;
    value_ended(r);
    return ERR_OK;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* The escape that begins at r->at; steps over it. */
static enum err escape_scan(struct json_reader *r)
{
    struct bytes rest = bytes_slice(r->text, r->at + 1, 5);
    if (rest.len >= 1 && memchr("\"\\/bfnrt", rest.data[0], 8) != NULL) {
        r->at += 2;
        return ERR_OK;
    }
    if (rest.len < 5 || rest.data[0] != 'u')
        return fail(r, "an escape: \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\u with four hex digits");
    for (size_t i = 1; i < 5; i++) {
        if (!is_hex(rest.data[i]))
            return fail(r, "four hex digits after \\u");
    }
    r->at += 6;
    return ERR_OK;
}

static enum err string_scan(struct json_reader *r, struct json_token *out)
{
    const uint8_t *data = r->text.data;
    size_t begin = ++r->at;
    out->has_escapes = false;
    for (;;) {
        while (r->at < r->text.len && data[r->at] != '"' && data[r->at] != '\\' &&
               data[r->at] >= 0x20)
            r->at++;
        if (r->at == r->text.len)
            return fail(r, "the closing quote of a string");
        if (data[r->at] == '"')
            break;
        if (data[r->at] != '\\')
            return fail(r, "no control character in a string");
        out->has_escapes = true;
        enum err e = escape_scan(r);
        if (e != ERR_OK)
            return e;
    }
    out->raw = bytes_slice(r->text, begin, r->at - begin);
    r->at++;
    return ERR_OK;
}

static bool digits_scan(struct json_reader *r)
{
    size_t begin = r->at;
    while (peek(r) >= '0' && peek(r) <= '9')
        r->at++;
    return r->at > begin;
}

static enum err number_scan(struct json_reader *r, struct json_token *out)
{
    size_t begin = r->at;
    if (peek(r) == '-')
        r->at++;
    if (peek(r) == '0')
        r->at++;
    else if (!digits_scan(r))
        return fail(r, "a digit");
    if (peek(r) == '.') {
        r->at++;
        if (!digits_scan(r))
            return fail(r, "a digit after the decimal point");
    }
    if ((peek(r) | 0x20) == 'e') {
        r->at++;
        if (peek(r) == '+' || peek(r) == '-')
            r->at++;
        if (!digits_scan(r))
            return fail(r, "a digit in the exponent");
    }
    out->type = JSON_NUMBER;
    out->raw = bytes_slice(r->text, begin, r->at - begin);
    value_ended(r);
    return ERR_OK;
}

static enum err literal_scan(struct json_reader *r, struct bytes literal, enum json_token_type type,
                             struct json_token *out)
{
    if (!bytes_start_with(bytes_slice(r->text, r->at, SIZE_MAX), literal))
        return fail(r, "a JSON value");
    r->at += literal.len;
    out->type = type;
    value_ended(r);
    return ERR_OK;
}

static enum err value_scan(struct json_reader *r, struct json_token *out)
{
    enum err e;
    switch (peek(r)) {
    case '{':
        return container_begin(r, true, out);
    case '[':
        return container_begin(r, false, out);
    case '"':
        e = string_scan(r, out);
        out->type = JSON_STRING;
        value_ended(r);
        return e;
    case 't':
        return literal_scan(r, BYTES_LITERAL("true"), JSON_TRUE, out);
    case 'f':
        return literal_scan(r, BYTES_LITERAL("false"), JSON_FALSE, out);
    case 'n':
        return literal_scan(r, BYTES_LITERAL("null"), JSON_NULL, out);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return number_scan(r, out);
    default:
        return fail(r, "a JSON value");
    }
}

static enum err key_scan(struct json_reader *r, struct json_token *out)
{
    if (peek(r) != '"')
        return fail(r, "a key in quotes");
    enum err e = string_scan(r, out);
    if (e != ERR_OK)
        return e;
    out->type = JSON_KEY;
    skip_blanks(r);
    if (peek(r) != ':')
        return fail(r, "a colon after a key");
    r->at++;
    r->state = VALUE;
    return ERR_OK;
}

static enum err after_value(struct json_reader *r, struct json_token *out)
{
    bool in_object = is_in_object(r);
    uint8_t c = peek(r);
    if (c == (in_object ? '}' : ']'))
        return container_end(r, out);
    if (c != ',')
        return fail(r, in_object ? "a comma or }" : "a comma or ]");
    r->at++;
    skip_blanks(r);
    return in_object ? key_scan(r, out) : value_scan(r, out);
}

static enum err token_scan(struct json_reader *r, struct json_token *out)
{
    skip_blanks(r);
    *out = (struct json_token){ .raw = bytes_slice(r->text, r->at, 0) };
    switch (r->state) {
    case ARRAY_FIRST:
        return peek(r) == ']' ? container_end(r, out) : value_scan(r, out);
    case OBJECT_FIRST:
        return peek(r) == '}' ? container_end(r, out) : key_scan(r, out);
    case AFTER_VALUE:
        return after_value(r, out);
    case DONE:
        return r->at == r->text.len ? ERR_OK : fail(r, "nothing after the JSON value");
    default:
        return value_scan(r, out);
    }
}

enum err json_reader_next(struct json_reader *r, struct json_token *out, struct err_note *note)
{
    struct json_token token;
    if (r->error == ERR_OK)
        (void)token_scan(r, &token);
    if (r->error != ERR_OK) {
        if (note != NULL)
            *note = r->error_note;
        return r->error;
    }
    *out = token;
    return ERR_OK;
}

enum err json_reader_skip(struct json_reader *r, const struct json_token *first,
                          struct err_note *note)
{
    if (first->type != JSON_OBJECT_BEGIN && first->type != JSON_ARRAY_BEGIN)
        return ERR_OK;
    size_t outside = r->depth - 1;
    struct json_token token;
    while (r->depth > outside) {
        enum err e = json_reader_next(r, &token, note);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* ---- Escapes ---- */

static uint32_t hex4(const uint8_t *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

/* The escape that `rest` begins with, as bytes; returns how much of rest it took. The scan has made
 * sure that it is complete. */
static size_t escape_read(struct bytes rest, uint8_t out[4], size_t *out_len)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const uint8_t *p = rest.data;
    assert(rest.len >= 2 && p[0] == '\\');
    if (p[1] != 'u') {
        const char *hit = memchr(from, p[1], sizeof from - 1);
        out[0] = hit == NULL ? p[1] : (uint8_t)to[hit - from];
        *out_len = 1;
        return 2;
    }
    assert(rest.len >= 6);
    uint32_t c = hex4(p + 2);
    size_t taken = 6;
    if (c >= 0xD800 && c < 0xDC00 && rest.len >= 12 && p[6] == '\\' && p[7] == 'u') {
        uint32_t low = hex4(p + 8);
        if (low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            taken = 12;
        }
    }
    *out_len = text_utf8_put(c, out);
    return taken;
}

void json_token_unescape(const struct json_token *t, struct buffer *out)
{
    struct bytes rest = t->raw;
    while (t->has_escapes && rest.len > 0) {
        size_t plain = bytes_find(rest, '\\');
        if (plain == SIZE_MAX)
            break;
        buffer_append(out, rest.data, plain);
        rest = bytes_slice(rest, plain, SIZE_MAX);
        uint8_t character[4];
        size_t len;
        size_t taken = escape_read(rest, character, &len);
        buffer_append(out, character, len);
        rest = bytes_slice(rest, taken, SIZE_MAX);
    }
    buffer_append_bytes(out, rest);
}

bool json_token_is(const struct json_token *t, const char *name)
{
    if (!t->has_escapes)
        return bytes_equal_text(t->raw, name);
    struct bytes rest = t->raw;
    for (; rest.len > 0 && *name != '\0'; name++) {
        uint8_t character[4] = { rest.data[0] };
        size_t len = 1, taken = 1;
        if (rest.data[0] == '\\')
            taken = escape_read(rest, character, &len);
        if (len != 1 || character[0] != (uint8_t)*name)
            return false;
        rest = bytes_slice(rest, taken, SIZE_MAX);
    }
    return rest.len == 0 && *name == '\0';
}
