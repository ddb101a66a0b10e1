/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_writer.h"

#include "base/text.h"

#include <assert.h>
#include <math.h>

void json_init(struct json_writer *w, struct buffer *out)
{
    *w = (struct json_writer){ .out = out };
}

static void before_value(struct json_writer *w)
{
    if (w->needs_comma)
        buffer_append_byte(w->out, ',');
    w->needs_comma = true;
}

static void begin(struct json_writer *w, uint8_t bracket)
{
    before_value(w);
    assert(w->depth < JSON_DEPTH_MAX);
    w->depth++;
    buffer_append_byte(w->out, bracket);
    w->needs_comma = false;
}

static void end(struct json_writer *w, uint8_t bracket)
{
    assert(w->depth > 0);
    w->depth--;
    buffer_append_byte(w->out, bracket);
    w->needs_comma = true;
}

void json_object_begin(struct json_writer *w)
{
    begin(w, '{');
}

void json_object_end(struct json_writer *w)
{
    end(w, '}');
}

void json_array_begin(struct json_writer *w)
{
    begin(w, '[');
}

void json_array_end(struct json_writer *w)
{
    end(w, ']');
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != 0x7f;
}

static void escape(struct buffer *out, uint8_t c)
{
    switch (c) {
    case '"':
    case '\\':
        buffer_append_byte(out, '\\');
        buffer_append_byte(out, c);
        break;
    case '\n':
        buffer_append_text(out, "\\n");
        break;
    case '\r':
        buffer_append_text(out, "\\r");
        break;
    case '\t':
        buffer_append_text(out, "\\t");
        break;
    default:
        buffer_printf(out, "\\u%04x", c);
    }
}

/* One character beyond ASCII, or one invalid part; returns the bytes of input it took. */
static size_t append_wide(struct buffer *out, struct bytes rest)
{
    size_t len = rest.data[0] >= 0xf0 ? 4 : rest.data[0] >= 0xe0 ? 3 : 2;
    struct bytes character = bytes_slice(rest, 0, len);
    size_t bad_len;
    if (text_utf8_valid_prefix(character, &bad_len) < len) {
        buffer_append_text(out, "\xef\xbf\xbd");
        return bad_len;
    }
    if (bytes_equal_text(character, "\xe2\x80\xa8"))
        buffer_append_text(out, "\\u2028");
    else if (bytes_equal_text(character, "\xe2\x80\xa9"))
        buffer_append_text(out, "\\u2029");
    else
        buffer_append_bytes(out, character);
    return len;
}

static void append_quoted(struct buffer *out, struct bytes text)
{
    buffer_append_byte(out, '"');
    size_t at = 0;
    while (at < text.len) {
        size_t run = at;
        while (run < text.len && is_plain(text.data[run]))
            run++;
        buffer_append(out, text.data + at, run - at);
        at = run;
        if (at == text.len)
            break;
        if (text.data[at] < 0x80) {
            escape(out, text.data[at]);
            at++;
        } else {
            at += append_wide(out, bytes_slice(text, at, SIZE_MAX));
        }
    }
    buffer_append_byte(out, '"');
}

void json_key(struct json_writer *w, const char *key)
{
    before_value(w);
    buffer_append_byte(w->out, '"');
    buffer_append_text(w->out, key);
    buffer_append_text(w->out, "\":");
    w->needs_comma = false;
}

void json_key_bytes(struct json_writer *w, struct bytes key)
{
    before_value(w);
    append_quoted(w->out, key);
    buffer_append_byte(w->out, ':');
    w->needs_comma = false;
}

void json_string(struct json_writer *w, struct bytes text)
{
    before_value(w);
    append_quoted(w->out, text);
}

void json_text(struct json_writer *w, const char *text)
{
    json_string(w, bytes_text(text));
}

void json_hex(struct json_writer *w, struct bytes raw)
{
    before_value(w);
    buffer_append_byte(w->out, '"');
    uint8_t *to = buffer_reserve(w->out, 2 * raw.len);
    if (to != NULL) {
        text_hex((char *)to, raw);
        buffer_grew(w->out, 2 * raw.len);
    }
    buffer_append_byte(w->out, '"');
}

void json_base64(struct json_writer *w, struct bytes raw)
{
    before_value(w);
    buffer_append_byte(w->out, '"');
    text_base64(w->out, raw);
    buffer_append_byte(w->out, '"');
}

void json_u64(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buffer_append_u64(w->out, v);
}

void json_i64(struct json_writer *w, int64_t v)
{
    before_value(w);
    buffer_append_i64(w->out, v);
}

void json_u64_string(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buffer_append_byte(w->out, '"');
    buffer_append_u64(w->out, v);
    buffer_append_byte(w->out, '"');
}

void json_i64_string(struct json_writer *w, int64_t v)
{
    before_value(w);
    buffer_append_byte(w->out, '"');
    buffer_append_i64(w->out, v);
    buffer_append_byte(w->out, '"');
}

void json_double(struct json_writer *w, double v)
{
    if (isnan(v)) {
        json_text(w, "NaN");
    } else if (isinf(v)) {
        json_text(w, v > 0 ? "Infinity" : "-Infinity");
    } else {
        before_value(w);
        text_double(w->out, v);
    }
}

void json_bool(struct json_writer *w, bool v)
{
    before_value(w);
    buffer_append_text(w->out, v ? "true" : "false");
}

void json_null(struct json_writer *w)
{
    before_value(w);
    buffer_append_text(w->out, "null");
}

void json_raw(struct json_writer *w, struct bytes value)
{
    before_value(w);
    buffer_append_bytes(w->out, value);
}
