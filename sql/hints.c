/* SPDX-License-Identifier: Apache-2.0 */
/* A condition is told by its tokens: one of WHERE, ON, AND and ( before it, outside of what a SELECT gives (whose text is a
 * column's name) and not the AND of a BETWEEN; then [table.]column ->> 'key' = literal, or
 * json_extract([table.]column, 'path') = literal; and behind it what ends a comparison. */
#include "sql/hints.h"

#include <stdio.h>
#include <strings.h>

enum { DEPTH_MAX = 64, TOKENS = 12, KEY_MAX = 200, DIGITS_MAX = 15, TEXT_MAX = 4096 };

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_NUMBER, TOKEN_SIGN, TOKEN_OTHER };

struct token {
    enum token_kind kind;
    struct bytes text;
};

/* ---- Tokens ---- */

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Behind blanks and comments. */
static size_t skip(struct bytes s, size_t at)
{
    for (;;) {
        while (at < s.len && is_blank(s.data[at]))
            at++;
        struct bytes rest = bytes_slice(s, at, SIZE_MAX);
        if (bytes_start_with(rest, BYTES_LITERAL("--"))) {
            while (at < s.len && s.data[at] != '\n')
                at++;
        } else if (bytes_start_with(rest, BYTES_LITERAL("/*"))) {
            size_t len = bytes_find(bytes_slice(rest, 2, SIZE_MAX), '*');
            for (at += 2; at < s.len && len != SIZE_MAX;) {
                at += len + 1;
                if (at < s.len && s.data[at] == '/')
                    break;
                len = bytes_find(bytes_slice(s, at, SIZE_MAX), '*');
            }
            at = len == SIZE_MAX || at >= s.len ? s.len : at + 1;
        } else {
            return at;
        }
    }
}

/* To behind the closing quote; two of them stand for one. */
static size_t quoted_end(struct bytes s, size_t at)
{
    uint8_t close = s.data[at] == '[' ? ']' : s.data[at];
    for (at++; at < s.len; at++) {
        if (s.data[at] != close)
            continue;
        if (close == ']' || at + 1 == s.len || s.data[at + 1] != close)
            return at + 1;
        at++;
    }
    return s.len;
}

static size_t sign_len(struct bytes rest)
{
    static const char *const longer[] = { "->>", "->", "==", "<=", ">=",
                                          "<>",  "!=", "||", "<<", ">>" };
    for (size_t i = 0; i < sizeof longer / sizeof longer[0]; i++)
        if (bytes_start_with(rest, bytes_text(longer[i])))
            return strlen(longer[i]);
    return 1;
}

static struct token token_at(struct bytes s, size_t at)
{
    struct token t = { TOKEN_END, { NULL, 0 } };
    size_t end = at;
    if (at >= s.len)
        return t;
    uint8_t c = s.data[at];
    if (is_letter(c)) {
        t.kind = TOKEN_WORD;
        while (end < s.len &&
               (is_letter(s.data[end]) || is_digit(s.data[end]) || s.data[end] == '$'))
            end++;
        if (end == at + 1 && (c == 'x' || c == 'X') && end < s.len && s.data[end] == '\'') {
            t.kind = TOKEN_OTHER; /* bytes */
            end = quoted_end(s, end);
        }
    } else if (is_digit(c) || (c == '.' && at + 1 < s.len && is_digit(s.data[at + 1]))) {
        t.kind = TOKEN_NUMBER;
        while (end < s.len &&
               (is_letter(s.data[end]) || is_digit(s.data[end]) || s.data[end] == '.' ||
                ((s.data[end] == '+' || s.data[end] == '-') &&
                 (s.data[end - 1] == 'e' || s.data[end - 1] == 'E'))))
            end++;
    } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
        t.kind = c == '\'' ? TOKEN_TEXT : TOKEN_OTHER;
        end = quoted_end(s, at);
    } else {
        t.kind = TOKEN_SIGN;
        end = at + sign_len(bytes_slice(s, at, SIZE_MAX));
    }
    t.text = bytes_slice(s, at, end - at);
    return t;
}

static size_t offset_of(struct bytes s, const struct token *t)
{
    return t->kind == TOKEN_END ? s.len : (size_t)(t->text.data - s.data);
}

static bool is_word(const struct token *t, const char *word)
{
    return t->kind == TOKEN_WORD && t->text.len == strlen(word) &&
           strncasecmp((const char *)t->text.data, word, t->text.len) == 0;
}

static bool is_one_of(const struct token *t, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_word(t, words[i]))
            return true;
    return false;
}

static bool is_sign(const struct token *t, const char *sign)
{
    return t->kind == TOKEN_SIGN && bytes_equal_text(t->text, sign);
}

/* ---- A condition ---- */

struct condition {
    struct bytes column; /* with its table, as it was written */
    struct bytes key, literal;
    bool is_number;
    size_t end; /* in the statement */
};

struct reader {
    struct bytes statement;
    struct token tokens[TOKENS];
    size_t count, at;
};

/* A table's name is a word: quoted ones are rare. */
static bool read_column(struct reader *r, struct bytes *out)
{
    static const char *const columns[] = { "attributes", "resource_attributes",
                                           "scope_attributes" };
    const struct token *t = &r->tokens[r->at];
    bool has_table = t[0].kind == TOKEN_WORD && is_sign(&t[1], ".");
    const struct token *name = has_table ? &t[2] : &t[0];
    if (!is_one_of(name, columns, 3))
        return false;
    size_t begin = offset_of(r->statement, &t[0]);
    *out = bytes_slice(r->statement, begin, offset_of(r->statement, name) + name->text.len - begin);
    r->at += has_table ? 3 : 1;
    return true;
}

static struct bytes inner(const struct token *t)
{
    return bytes_slice(t->text, 1, t->text.len - 2);
}

static bool is_plain_key(struct bytes key)
{
    if (key.len == 0 || key.len > KEY_MAX || !is_letter(key.data[0]))
        return false;
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] >= 0x80 || !(is_letter(key.data[i]) || is_digit(key.data[i])))
            return false;
    return true;
}

/* 'key', '$.key' and '$."a key"': what they mean in every version of SQLite. */
static bool read_key(struct reader *r, bool has_label, struct bytes *out)
{
    const struct token *t = &r->tokens[r->at++];
    if (t->kind != TOKEN_TEXT || t->text.len < 3)
        return false;
    struct bytes key = inner(t);
    if (bytes_start_with(key, BYTES_LITERAL("$.\"")) && key.len > 4 &&
        key.data[key.len - 1] == '"') {
        key = bytes_slice(key, 3, key.len - 4);
        for (size_t i = 0; i < key.len; i++)
            if (key.data[i] < ' ' || key.data[i] > '~' || strchr("\"\\'", key.data[i]) != NULL)
                return false;
        *out = key;
        return key.len <= KEY_MAX;
    }
    bool is_path = bytes_start_with(key, BYTES_LITERAL("$."));
    *out = is_path ? bytes_slice(key, 2, SIZE_MAX) : key;
    return (is_path || has_label) && is_plain_key(*out);
}

/* Texts that only a text or bytes can be equal to, and whole numbers. */
static bool read_literal(struct reader *r, struct condition *out)
{
    static const char *const numbers[] = { "NaN", "Infinity", "-Infinity" };
    const struct token *t = &r->tokens[r->at++];
    out->end = offset_of(r->statement, t) + t->text.len;
    out->is_number = t->kind == TOKEN_NUMBER;
    out->literal = t->text;
    if (out->is_number) {
        for (size_t i = 0; i < t->text.len; i++)
            if (!is_digit(t->text.data[i]))
                return false;
        return t->text.len <= DIGITS_MAX;
    }
    if (t->kind != TOKEN_TEXT || t->text.len < 3 || t->text.len > TEXT_MAX ||
        t->text.data[t->text.len - 1] != '\'')
        return false;
    out->literal = inner(t);
    for (size_t i = 0; i < 3; i++)
        if (bytes_equal_text(out->literal, numbers[i]))
            return false;
    return out->literal.data[0] != '[' && out->literal.data[0] != '{';
}

static bool ends_comparison(const struct token *t)
{
    static const char *const words[] = { "AND",   "OR",        "GROUP",  "ORDER", "LIMIT", "HAVING",
                                         "UNION", "INTERSECT", "EXCEPT", "WHERE", "WINDOW" };
    return t->kind == TOKEN_END || is_sign(t, ")") || is_sign(t, ";") ||
           is_one_of(t, words, sizeof words / sizeof words[0]);
}

static bool read_condition(struct bytes statement, size_t at, struct condition *out)
{
    struct reader r = { .statement = statement };
    for (; r.count < TOKENS; r.count++) {
        at = skip(statement, at);
        r.tokens[r.count] = token_at(statement, at);
        at += r.tokens[r.count].text.len;
    }
    bool is_call = is_word(&r.tokens[0], "json_extract") && is_sign(&r.tokens[1], "(");
    r.at = is_call ? 2 : 0;
    if (!read_column(&r, &out->column) || !is_sign(&r.tokens[r.at++], is_call ? "," : "->>") ||
        !read_key(&r, !is_call, &out->key) || (is_call && !is_sign(&r.tokens[r.at++], ")")))
        return false;
    bool is_equal = is_sign(&r.tokens[r.at], "=") || is_sign(&r.tokens[r.at], "==");
    r.at++;
    return is_equal && read_literal(&r, out) && ends_comparison(&r.tokens[r.at]);
}

/* ---- The statement ---- */

/* Of one pair of parentheses. */
struct level {
    bool is_condition; /* behind WHERE or ON */
    bool is_given;     /* in what a SELECT gives, here or further out */
    bool is_between;   /* the next AND is a BETWEEN's */
    bool is_outer;     /* an ON may be an outer join's, which keeps rows for which it is not true */
};

static void word_seen(struct level *l, const struct token *t)
{
    static const char *const others[] = { "FROM",   "GROUP", "ORDER",     "HAVING",
                                          "LIMIT",  "UNION", "INTERSECT", "EXCEPT",
                                          "WINDOW", "JOIN",  "VALUES",    "USING" };
    static const char *const outer[] = { "LEFT", "RIGHT", "FULL" };
    if (is_one_of(t, outer, 3))
        l->is_outer = true;
    if (is_word(t, "WHERE") || (is_word(t, "ON") && !l->is_outer))
        l->is_condition = true;
    else if (is_word(t, "SELECT") || is_one_of(t, others, sizeof others / sizeof others[0]))
        l->is_condition = false;
    if (is_word(t, "BETWEEN"))
        l->is_between = true;
}

static void append_hint(struct buffer *out, struct bytes condition, const struct condition *c)
{
    char head[16];
    (void)snprintf(head, sizeof head, "'%c%zu:", c->is_number ? 'n' : 's', c->key.len);
    buffer_append_byte(out, '(');
    buffer_append_bytes(out, condition);
    buffer_append_bytes(out, BYTES_LITERAL(" AND " HINT_FUNCTION "("));
    buffer_append_bytes(out, c->column);
    buffer_append_bytes(out, BYTES_LITERAL(", "));
    buffer_append_bytes(out, bytes_text(head));
    buffer_append_bytes(out, c->key);
    buffer_append_bytes(out, c->literal); /* its quotes are doubled as they were */
    buffer_append_bytes(out, BYTES_LITERAL("'))"));
}

bool hints_write(struct bytes statement, struct buffer *out)
{
    struct level levels[DEPTH_MAX] = { { .is_outer = false } };
    size_t depth = 0, at = 0, copied = 0, hints = 0;
    bool may_begin = false; /* a condition, with the next token */
    for (;;) {
        struct level *l = &levels[depth];
        struct condition c;
        at = skip(statement, at);
        if (may_begin && l->is_condition && !l->is_given && read_condition(statement, at, &c)) {
            buffer_append_bytes(out, bytes_slice(statement, copied, at - copied));
            append_hint(out, bytes_slice(statement, at, c.end - at), &c);
            at = copied = c.end;
            hints++;
            may_begin = false;
            continue;
        }
        struct token t = token_at(statement, at);
        if (t.kind == TOKEN_END)
            break;
        at += t.text.len;
        may_begin = is_word(&t, "WHERE") || is_word(&t, "ON") || is_sign(&t, "(");
        if (is_word(&t, "AND")) {
            may_begin = !l->is_between;
            l->is_between = false;
        }
        word_seen(l, &t);
        if (is_word(&t, "SELECT"))
            l->is_given = true;
        else if (is_word(&t, "FROM"))
            l->is_given = depth > 0 && levels[depth - 1].is_given;
        if (is_sign(&t, "(")) {
            if (++depth == DEPTH_MAX)
                return false;
            levels[depth] = (struct level){ l->is_condition, l->is_given, false, l->is_outer };
        } else if (is_sign(&t, ")")) {
            if (depth == 0)
                return false;
            depth--;
        }
    }
    buffer_append_bytes(out, bytes_slice(statement, copied, SIZE_MAX));
    return hints > 0 && buffer_error(out) == ERR_OK;
}

/* ---- A hint ---- */

bool hint_read(struct bytes text, struct hint *out)
{
    size_t at = 1, len = 0;
    if (text.len < 4 || (text.data[0] != 's' && text.data[0] != 'n'))
        return false;
    for (; at < text.len && is_digit(text.data[at]) && len <= KEY_MAX; at++)
        len = 10 * len + (size_t)(text.data[at] - '0');
    if (at >= text.len || text.data[at] != ':' || len == 0 || len > text.len - at - 1)
        return false;
    *out = (struct hint){ .is_number = text.data[0] == 'n',
                          .key = bytes_slice(text, at + 1, len),
                          .text = bytes_slice(text, at + 1 + len, SIZE_MAX) };
    if (!out->is_number)
        return out->text.len > 0;
    for (size_t i = 0; i < out->text.len; i++) {
        if (!is_digit(out->text.data[i]) || i == DIGITS_MAX)
            return false;
        out->number = 10 * out->number + (out->text.data[i] - '0');
    }
    return out->text.len > 0;
}
