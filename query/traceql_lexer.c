/* SPDX-License-Identifier: Apache-2.0 */
#include "query/traceql_private.h"

#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

void traceql_note(struct traceql_error *error, struct bytes text, size_t offset, const char *format,
                  ...)
{
    unsigned line = 1, column = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.data[i] == '\n') {
            line++;
            column = 1;
        } else if ((text.data[i] & 0xC0) != 0x80) { /* not the middle of a character */
            column++;
        }
    }
    error->offset = offset;
    error->line = line;
    error->column = column;
    int n = snprintf(error->text, sizeof error->text, "line %u, column %u: ", line, column);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text + n, sizeof error->text - (size_t)n, format, args);
    va_end(args);
    /* A cut in the middle of a character would make the message invalid. */
    error->text[text_utf8_valid_len(bytes_text(error->text))] = '\0';
}

int traceql_quote_len(struct bytes raw)
{
    return (int)text_utf8_valid_len(bytes_slice(raw, 0, 32));
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static uint8_t peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.len ? l->text.data[l->at + ahead] : 0;
}

/* White space and Go's two kinds of comments. */
static enum err skip_blanks(struct lexer *l)
{
    while (l->at < l->text.len) {
        uint8_t c = l->text.data[l->at];
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            l->at++;
        } else if (c == '/' && peek(l, 1) == '/') {
            while (l->at < l->text.len && l->text.data[l->at] != '\n')
                l->at++;
        } else if (c == '/' && peek(l, 1) == '*') {
            size_t begin = l->at;
            l->at += 2;
            while (l->at < l->text.len && !(peek(l, 0) == '*' && peek(l, 1) == '/'))
                l->at++;
            if (l->at >= l->text.len) {
                traceql_note(l->error, l->text, begin, "a comment is not closed: expected */");
                return ERR_INVALID;
            }
            l->at += 2;
        } else {
            break;
        }
    }
    return ERR_OK;
}

/* ---- Strings ---- */

/* `digits` digits of `base` at l->at. */
static bool take_code(struct lexer *l, unsigned digits, unsigned base, uint32_t *out)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < digits; i++) {
        uint8_t c = peek(l, i);
        unsigned d = is_digit(c)            ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 99;
        if (d >= base)
            return false;
        v = v * base + d; /* at most 8 hex digits: fits */
    }
    l->at += digits;
    *out = v;
    return true;
}

/* One escape of Go after its backslash. Never writes more bytes than it reads. */
static bool take_escape(struct lexer *l, uint8_t *out, size_t *len)
{
    static const char simple[] = "abfnrtv\\\"";
    static const char meaning[] = "\a\b\f\n\r\t\v\\\"";
    uint8_t c = peek(l, 0);
    const char *hit = c == 0 ? NULL : strchr(simple, c);
    if (hit != NULL) {
        out[(*len)++] = (uint8_t)meaning[hit - simple];
        l->at++;
        return true;
    }
    uint32_t code;
    if (c >= '0' && c <= '7') {
        if (!take_code(l, 3, 8, &code) || code > 255)
            return false;
        out[(*len)++] = (uint8_t)code;
        return true;
    }
    l->at++;
    if (c == 'x' && take_code(l, 2, 16, &code)) {
        out[(*len)++] = (uint8_t)code;
        return true;
    }
    if ((c == 'u' && take_code(l, 4, 16, &code)) || (c == 'U' && take_code(l, 8, 16, &code))) {
        if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return false;
        *len += text_utf8_put(code, out + *len);
        return true;
    }
    return false;
}

static enum err take_string(struct lexer *l, struct token *out)
{
    size_t begin = l->at++;
    size_t end = l->at; /* the closing quote: no string needs more room than it takes in the text */
    while (end < l->text.len && l->text.data[end] != '"' && l->text.data[end] != '\n')
        end += l->text.data[end] == '\\' ? 2 : 1;
    uint8_t *text = arena_alloc_bytes(l->arena, end - begin);
    if (text == NULL)
        return arena_failure(l->arena);
    size_t len = 0;
    for (;;) {
        uint8_t c = peek(l, 0);
        if (l->at >= l->text.len || c == '\n') {
            traceql_note(l->error, l->text, begin, "a string is not closed: expected \"");
            return ERR_INVALID;
        }
        l->at++;
        if (c == '"')
            break;
        if (c != '\\') {
            text[len++] = c;
            continue;
        }
        size_t escape = l->at - 1;
        if (!take_escape(l, text, &len)) {
            traceql_note(l->error, l->text, escape, "an unknown escape in a string");
            return ERR_INVALID;
        }
    }
    out->type = TOKEN_STRING;
    out->value = (struct expr_value){ .type = EXPR_STRING, .bytes = bytes_of(text, len) };
    return ERR_OK;
}

static enum err take_raw_string(struct lexer *l, struct token *out)
{
    size_t begin = l->at++;
    size_t len = bytes_find(bytes_slice(l->text, l->at, SIZE_MAX), '`');
    if (len == SIZE_MAX) {
        traceql_note(l->error, l->text, begin, "a string is not closed: expected `");
        return ERR_INVALID;
    }
    struct bytes text;
    enum err e = arena_dup(l->arena, bytes_slice(l->text, l->at, len), &text);
    if (e != ERR_OK)
        return e;
    l->at += len + 1;
    out->type = TOKEN_STRING;
    out->value = (struct expr_value){ .type = EXPR_STRING, .bytes = text };
    return ERR_OK;
}

/* ---- Numbers ---- */

/* An int, a float, or a duration: a number with a unit right behind it, any number of times. */
static enum err take_number(struct lexer *l, struct token *out)
{
    size_t begin = l->at;
    bool is_float = false, is_duration = false;
    for (;;) {
        uint8_t c = peek(l, 0), next = peek(l, 1);
        if (is_digit(c)) {
            l->at++;
        } else if (c == '.') {
            is_float = true;
            l->at++;
        } else if ((c == 'e' || c == 'E') && !is_duration &&
                   (is_digit(next) || ((next == '+' || next == '-') && is_digit(peek(l, 2))))) {
            is_float = true;
            l->at += is_digit(next) ? 1 : 2;
        } else if (is_letter(c) || c == 0xC2 || c == 0xCE || c == 0xB5 || c == 0xBC) {
            is_duration = true; /* with the bytes of both micro signs */
            l->at++;
        } else {
            break;
        }
    }
    struct bytes raw = bytes_slice(l->text, begin, l->at - begin);
    out->type = TOKEN_NUMBER;
    out->value = (struct expr_value){ .type = is_duration ? EXPR_DURATION
                                              : is_float  ? EXPR_FLOAT
                                                          : EXPR_INT };
    bool ok;
    if (is_duration)
        ok = text_duration_parse(raw, &out->value.integer);
    else if (is_float)
        ok = text_double_parse(raw, &out->value.number);
    else
        ok = text_i64_parse(raw, &out->value.integer);
    if (!ok && is_float && raw.data[0] == '.') { /* Go writes .5, JSON does not */
        char text[40] = "0";
        if (raw.len < sizeof text - 1) {
            memcpy(text + 1, raw.data, raw.len);
            ok = text_double_parse(bytes_of(text, raw.len + 1), &out->value.number);
        }
    }
    if (ok && is_float && !isfinite(out->value.number))
        ok = false;
    if (!ok) {
        traceql_note(l->error, l->text, begin, "'%.*s' is not a number or a duration",
                     traceql_quote_len(raw), (const char *)raw.data);
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* ---- Attributes and words ---- */

static bool ends_attribute(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || strchr("{}()=~!<>&|^,", c) != NULL;
}

/* How far a name reaches. */
static size_t name_end(const struct lexer *l)
{
    size_t at = l->at;
    for (bool is_quoted = false; at < l->text.len; at++) {
        uint8_t c = l->text.data[at];
        if (c == 0 || (!is_quoted && ends_attribute(c)))
            break;
        if (c == '"')
            is_quoted = !is_quoted;
        else if (is_quoted && c == '\\' && at + 1 < l->text.len)
            at++;
    }
    return at;
}

/* A name after its scope's dot. Quoted parts may hold anything, with the escapes of strings.
 */
static enum err take_name(struct lexer *l, size_t begin, struct token *out)
{
    size_t end = name_end(l);
    uint8_t *name = arena_alloc_bytes(l->arena, end - l->at);
    if (name == NULL)
        return arena_failure(l->arena);
    size_t len = 0, quote = 0;
    bool is_quoted = false;
    while (l->at < end) {
        uint8_t c = l->text.data[l->at++];
        if (c == '"') {
            is_quoted = !is_quoted;
            quote = l->at - 1;
        } else if (is_quoted && c == '\\') {
            size_t escape = l->at - 1;
            if (!take_escape(l, name, &len)) {
                traceql_note(l->error, l->text, escape, "an unknown escape in a quoted name");
                return ERR_INVALID;
            }
        } else {
            name[len++] = c;
        }
    }
    if (is_quoted) {
        traceql_note(l->error, l->text, quote, "a quoted name is not closed: expected \"");
        return ERR_INVALID;
    }
    if (len == 0) {
        traceql_note(l->error, l->text, l->at, "expected the name of an attribute after '%.*s'",
                     (int)(l->at - begin), (const char *)l->text.data + begin);
        return ERR_INVALID;
    }
    out->type = TOKEN_ATTRIBUTE;
    out->key = bytes_of(name, len);
    return ERR_OK;
}

static const struct {
    const char *prefix;
    enum expr_scope scope;
} scopes[] = {
    { "span.", EXPR_SCOPE_SPAN },   { "resource.", EXPR_SCOPE_RESOURCE },
    { "event.", EXPR_SCOPE_EVENT }, { "link.", EXPR_SCOPE_LINK },
    { "log.", EXPR_SCOPE_LOG },     { "instrumentation.", EXPR_SCOPE_INSTRUMENTATION },
};

/* Pass over a scope and its dot if one stands here. */
static bool take_scope(struct lexer *l, enum expr_scope *out)
{
    struct bytes rest = bytes_slice(l->text, l->at, SIZE_MAX);
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++) {
        if (bytes_start_with(rest, bytes_text(scopes[i].prefix))) {
            l->at += strlen(scopes[i].prefix);
            *out = scopes[i].scope;
            return true;
        }
    }
    return false;
}

static enum err check_scope(struct lexer *l, const struct token *t)
{
    bool is_log = t->scope == EXPR_SCOPE_LOG;
    bool is_span = t->is_of_parent || t->scope == EXPR_SCOPE_SPAN || t->scope == EXPR_SCOPE_EVENT ||
                   t->scope == EXPR_SCOPE_LINK;
    if (l->signal == SIGNAL_TRACES ? !is_log : !is_span)
        return ERR_OK;
    traceql_note(l->error, l->text, t->offset, "'%.*s' is not known for %s",
                 traceql_quote_len(t->raw), (const char *)t->raw.data,
                 l->signal == SIGNAL_TRACES ? "spans" : "log records");
    return ERR_INVALID;
}

static enum err take_attribute(struct lexer *l, struct token *out, bool *out_is_one)
{
    size_t begin = l->at;
    out->scope = EXPR_SCOPE_ANY;
    out->is_of_parent =
        bytes_start_with(bytes_slice(l->text, l->at, SIZE_MAX), BYTES_LITERAL("parent."));
    *out_is_one = true;
    if (out->is_of_parent) {
        l->at += strlen("parent.");
        (void)take_scope(l, &out->scope);
    } else if (peek(l, 0) == '.') {
        l->at++;
    } else if (!take_scope(l, &out->scope)) {
        *out_is_one = false;
        return ERR_OK;
    }
    enum err e = take_name(l, begin, out);
    if (e != ERR_OK)
        return e;
    out->raw = bytes_slice(l->text, begin, l->at - begin);
    return check_scope(l, out);
}

static void take_word(struct lexer *l, struct token *out)
{
    while (is_letter(peek(l, 0)) || is_digit(peek(l, 0)))
        l->at++;
    if (peek(l, 0) == ':' && is_letter(peek(l, 1))) {
        l->at++;
        while (is_letter(peek(l, 0)) || is_digit(peek(l, 0)))
            l->at++;
    }
    out->type = TOKEN_WORD;
}

static bool take_punctuation(struct lexer *l, struct token *out)
{
    static const struct {
        const char *text;
        enum token_type type;
    } punctuation[] = {
#define X(name, text) { text, TOKEN_##name },
        TOKEN_PUNCTUATION_LIST(X)
#undef X
    };
    struct bytes rest = bytes_slice(l->text, l->at, SIZE_MAX);
    for (size_t i = 0; i < sizeof punctuation / sizeof punctuation[0]; i++) {
        if (bytes_start_with(rest, bytes_text(punctuation[i].text))) {
            l->at += strlen(punctuation[i].text);
            out->type = punctuation[i].type;
            return true;
        }
    }
    return false;
}

enum err lexer_next(struct lexer *l, struct token *out)
{
    enum err e = skip_blanks(l);
    if (e != ERR_OK)
        return e;
    *out = (struct token){ .type = TOKEN_END, .offset = l->at };
    if (l->at >= l->text.len)
        return ERR_OK;

    uint8_t c = peek(l, 0);
    if (c == '"') {
        e = take_string(l, out);
    } else if (c == '`') {
        e = take_raw_string(l, out);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) {
        e = take_number(l, out);
    } else if (c == '.' || is_letter(c)) {
        bool is_attribute;
        e = take_attribute(l, out, &is_attribute);
        if (e == ERR_OK && !is_attribute)
            take_word(l, out);
    } else if (!take_punctuation(l, out)) {
        struct bytes rest = bytes_slice(l->text, l->at, 4);
        size_t len = 1; /* the whole character */
        while (len < rest.len && (rest.data[len] & 0xC0) == 0x80)
            len++;
        if (c < 0x20 || c == 0x7F)
            traceql_note(l->error, l->text, l->at, "a control character, byte %u", c);
        else
            traceql_note(l->error, l->text, l->at, "'%.*s' does not belong to the language",
                         (int)len, (const char *)rest.data);
        e = ERR_INVALID;
    }
    if (e == ERR_OK)
        out->raw = bytes_slice(l->text, out->offset, l->at - out->offset);
    return e;
}
