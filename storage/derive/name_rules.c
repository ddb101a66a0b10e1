/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/name_rules.h"

#include "base/buffer.h"
#include "base/mem.h"
#include "base/text.h"
#include "storage/derive/clean_name.h"
#include "storage/expr_private.h"

#include <assert.h>

struct name_rule {
    struct expr_regex *regex;
    size_t
        literal_len; /* of a glob: as long as nothing but itself matches; spares most of the matching */
    struct bytes pattern, name; /* in `text` */
};

struct name_rules {
    uint8_t *text; /* as it was given */
    size_t count;
    struct name_rule rules[NAME_RULES_MAX];
};

/* ---- Reading --------------------------------------------------------------------------------- */

static struct bytes trimmed(struct bytes s)
{
    while (s.len > 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = bytes_slice(s, 1, SIZE_MAX);
    while (s.len > 0 && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Where the last "=>" stands: a regular expression may have others. SIZE_MAX: nowhere. */
static size_t arrow_find(struct bytes line)
{
    for (size_t i = line.len; i-- > 1;)
        if (line.data[i - 1] == '=' && line.data[i] == '>')
            return i - 1;
    return SIZE_MAX;
}

static void literal_put(struct buffer *out, uint8_t c)
{
    bool is_plain = c >= 0x80 || c == ' ' || c == '/' || c == '_' || (c >= '0' && c <= '9') ||
                    (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!is_plain)
        buffer_append_byte(out, '\\');
    buffer_append_byte(out, c);
}

/* Length of a {word} at the front; 0: none. */
static size_t placeholder_len(struct bytes at)
{
    size_t i = 1;
    while (i < at.len && at.data[i] != '}' && at.data[i] != '{' && at.data[i] != '/' &&
           at.data[i] != ' ')
        i++;
    return at.len > 0 && at.data[0] == '{' && i > 1 && i < at.len && at.data[i] == '}' ? i + 1 : 0;
}

/* A glob as a regular expression. Returns how many bytes at its front are literal. */
static size_t glob_write(struct bytes glob, struct buffer *out)
{
    size_t literal_len = SIZE_MAX;
    buffer_append_text(out, "(?s)");
    for (size_t i = 0, len; i < glob.len; i += len) {
        size_t word = placeholder_len(bytes_slice(glob, i, SIZE_MAX));
        len = word;
        if (word > 0) {
            buffer_append_text(out, "[^/ ]+");
        } else if (glob.data[i] == '*') {
            len = i + 1 < glob.len && glob.data[i + 1] == '*' ? 2 : 1;
            buffer_append_text(out, len == 2 ? ".*" : "[^/]*");
            while (i + len < glob.len && glob.data[i + len] == '*')
                len++; /* three are two */
        } else {
            len = 1;
            literal_put(out, glob.data[i]);
            continue;
        }
        if (literal_len == SIZE_MAX)
            literal_len = i;
    }
    return literal_len == SIZE_MAX ? glob.len : literal_len;
}

static enum err complain(struct err_note *note, size_t offset, const char *what)
{
    *note = (struct err_note){ .offset = offset, .what = what };
    return ERR_INVALID;
}

static enum err rule_read(struct bytes line, struct name_rule *rule, struct err_note *note)
{
    if (line.len > NAME_RULE_BYTES_MAX)
        return complain(note, NAME_RULE_BYTES_MAX, "a rule is at most 1,024 bytes");
    size_t valid = text_utf8_valid_len(line);
    if (valid != line.len)
        return complain(note, valid, "a rule is UTF-8");
    size_t arrow = arrow_find(line);
    bool is_regex = line.data[0] == '~';
    struct bytes pattern = trimmed(bytes_slice(line, is_regex, arrow - is_regex));
    struct bytes name =
        arrow == SIZE_MAX ? pattern : trimmed(bytes_slice(line, arrow + 2, SIZE_MAX));
    if (pattern.len == 0)
        return complain(note, 0, "a rule begins with a pattern");
    if (is_regex && arrow == SIZE_MAX)
        return complain(note, line.len, "a regular expression needs '=> NAME' behind it");
    if (name.len == 0)
        return complain(note, line.len, "there is no name behind '=>'");
    if (name.len > CLEAN_NAME_MAX)
        return complain(note, line.len, "the name is longer than 256 bytes");
    rule->name = name;
    rule->pattern = pattern;
    if (is_regex)
        return expr_regex_compile(pattern, &rule->regex, note);
    struct buffer regex;
    buffer_init(&regex, 16 * NAME_RULE_BYTES_MAX);
    rule->literal_len = glob_write(pattern, &regex);
    enum err e = buffer_error(&regex);
    if (e == ERR_OK)
        e = expr_regex_compile(buffer_bytes(&regex), &rule->regex, note);
    buffer_deinit(&regex);
    return e;
}

enum err name_rules_make(struct bytes text, struct name_rules **out, size_t *out_line,
                         struct err_note *out_note)
{
    struct name_rules *made = mem_zalloc(sizeof *made);
    if (made == NULL)
        return ERR_NOMEM;
    made->text = mem_alloc(text.len + 1);
    enum err e = made->text == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK && text.len > 0)
        memcpy(made->text, text.data, text.len);
    struct bytes rest = bytes_of(made->text, text.len);
    for (size_t line = 1; e == ERR_OK && rest.len > 0; line++) {
        size_t end = bytes_find(rest, '\n');
        struct bytes rule = trimmed(bytes_slice(rest, 0, end));
        rest = end == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(rest, end + 1, SIZE_MAX);
        if (rule.len == 0)
            continue;
        e = made->count == NAME_RULES_MAX ? ERR_TOO_MANY
                                          : rule_read(rule, &made->rules[made->count], out_note);
        if (e == ERR_TOO_LARGE)
            e = ERR_INVALID; /* of a pattern: the note says it */
        if (e == ERR_OK)
            made->count++;
        else
            *out_line = line;
    }
    if (e == ERR_OK && made->count > 0) {
        *out = made;
        return ERR_OK;
    }
    name_rules_free(made);
    if (e == ERR_OK)
        *out = NULL;
    return e;
}

void name_rules_free(struct name_rules *rules)
{
    for (size_t i = 0; rules != NULL && i < rules->count; i++)
        expr_regex_free(rules->rules[i].regex);
    if (rules != NULL)
        mem_free(rules->text);
    mem_free(rules);
}

/* ---- Matching -------------------------------------------------------------------------------- */

unsigned name_rules_find(const struct name_rules *rules, struct bytes name, struct bytes *out_name)
{
    struct bytes text = bytes_slice(name, 0, NAME_MATCH_BYTES_MAX);
    for (size_t i = 0; rules != NULL && i < rules->count; i++) {
        const struct name_rule *r = &rules->rules[i];
        if (!bytes_start_with(text, bytes_slice(r->pattern, 0, r->literal_len)) ||
            !expr_regex_matches(r->regex, text))
            continue;
        *out_name = r->name;
        return (unsigned)i + 1;
    }
    return 0;
}
