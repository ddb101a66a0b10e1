/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/clean_name.h"

enum letter { DIGIT = 1, HEX = 2, UPPER = 4, LOWER = 8, JOINT = 16 };

/* Of a byte: what it is. Bytes over 127 are part of words, and nothing else. */
static unsigned letter_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return DIGIT | HEX;
    if (c >= 'a' && c <= 'z')
        return c <= 'f' ? LOWER | HEX : LOWER;
    if (c >= 'A' && c <= 'Z')
        return c <= 'F' ? UPPER | HEX : UPPER;
    return c == '-' || c == '_' || c == '.' || c == '@' || c == '+' || c == '%' ? JOINT : 0;
}

static bool is_word(uint8_t c)
{
    return c >= 0x80 || letter_of(c) != 0;
}

static bool all_are(struct bytes w, unsigned letters)
{
    for (size_t i = 0; i < w.len; i++)
        if ((letter_of(w.data[i]) & letters) == 0)
            return false;
    return w.len > 0;
}

static bool is_uuid(struct bytes w)
{
    if (w.len != 36)
        return false;
    for (size_t i = 0; i < w.len; i++) {
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (is_dash ? w.data[i] != '-' : (letter_of(w.data[i]) & HEX) == 0)
            return false;
    }
    return true;
}

static bool has_digit(struct bytes w)
{
    for (size_t i = 0; i < w.len; i++)
        if ((letter_of(w.data[i]) & DIGIT) != 0)
            return true;
    return false;
}

static bool is_hex(struct bytes w)
{
    return w.len >= 8 && all_are(w, HEX) && has_digit(w);
}

/* Tokens and keys in base 64 or 36: letters and digits that change often. */
static bool is_token(struct bytes w)
{
    if (w.len < 16)
        return false;
    unsigned changes = 0;
    for (size_t i = 0; i < w.len; i++) {
        unsigned now = letter_of(w.data[i]);
        if ((now & (DIGIT | UPPER | LOWER)) == 0 && w.data[i] != '-' && w.data[i] != '_')
            return false;
        if (i > 0 && (now & DIGIT) != (letter_of(w.data[i - 1]) & DIGIT))
            changes++;
    }
    return changes >= 4;
}

/* 2026-11-21, and whatever of a time follows in the same word. */
static bool is_date(struct bytes w)
{
    return w.len >= 10 && all_are(bytes_slice(w, 0, 4), DIGIT) && w.data[4] == '-' &&
           all_are(bytes_slice(w, 5, 2), DIGIT) && w.data[7] == '-' &&
           all_are(bytes_slice(w, 8, 2), DIGIT) &&
           (w.len == 10 || (letter_of(w.data[10]) & LOWER) == 0);
}

static bool is_email(struct bytes w)
{
    size_t at = bytes_find(w, '@');
    return at != SIZE_MAX && at > 0 && bytes_find(bytes_slice(w, at, SIZE_MAX), '.') != SIZE_MAX;
}

static bool is_ipv4(struct bytes w)
{
    unsigned dots = 0;
    for (size_t i = 0; i < w.len; i++) {
        if (w.data[i] == '.')
            dots++;
        else if ((letter_of(w.data[i]) & DIGIT) == 0)
            return false;
    }
    return dots == 3;
}

/* What a word is replaced for; 0: it is none of these. */
static unsigned reason_of(struct bytes w)
{
    if (all_are(w, DIGIT))
        return CLEANED_NUMBER;
    if (is_ipv4(w))
        return CLEANED_ADDRESS;
    if (is_uuid(w))
        return CLEANED_UUID;
    if (is_hex(w))
        return CLEANED_HEX;
    if (is_date(w))
        return CLEANED_DATE;
    if (is_email(w))
        return CLEANED_EMAIL;
    return is_token(w) ? CLEANED_TOKEN : 0;
}

static void placeholder_put(struct buffer *out, unsigned reason)
{
    const char *text = reason == CLEANED_UUID    ? "{uuid}"
                       : reason == CLEANED_HEX   ? "{hex}"
                       : reason == CLEANED_DATE  ? "{date}"
                       : reason == CLEANED_EMAIL ? "{email}"
                                                 : "{id}";
    buffer_append_text(out, text);
}

/* Between - _ . of a word that is not replaced as a whole. Returns what was replaced. */
static unsigned parts_put(struct bytes word, struct buffer *out)
{
    unsigned done = 0;
    for (size_t begin = 0, end; begin < word.len; begin = end) {
        bool is_joint = letter_of(word.data[begin]) == JOINT;
        for (end = begin + 1; !is_joint && end < word.len; end++)
            if (letter_of(word.data[end]) == JOINT)
                break;
        struct bytes part = bytes_slice(word, begin, end - begin);
        bool is_number = part.len >= 3 && all_are(part, DIGIT);
        unsigned reason = is_number ? CLEANED_NUMBER : is_hex(part) ? CLEANED_HEX : 0;
        done |= reason;
        if (reason != 0)
            placeholder_put(out, reason);
        else
            buffer_append_bytes(out, part);
    }
    return done;
}

/* Where a query string begins: a question mark after a path, with an = behind it. */
static size_t query_begin(struct bytes name)
{
    size_t at = bytes_find(name, '?');
    if (at == SIZE_MAX || bytes_find(bytes_slice(name, 0, at), '/') == SIZE_MAX ||
        bytes_find(bytes_slice(name, at, SIZE_MAX), '=') == SIZE_MAX)
        return name.len;
    return at;
}

static bool may_change(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((letter_of(name.data[i]) & DIGIT) != 0 || name.data[i] == '@' || name.data[i] == '?')
            return true;
    return name.len > CLEAN_NAME_MAX;
}

unsigned clean_name(struct bytes name, struct buffer *out)
{
    if (!may_change(name))
        return 0;
    size_t mark = out->len;
    size_t query = query_begin(name);
    unsigned done = query < name.len ? CLEANED_QUERY : 0;
    /* What is longer than the longest placeholder shrinks; so a few times the bound are enough to look at. */
    struct bytes text = bytes_slice(name, 0, query < 4096 ? query : 4096);
    for (size_t begin = 0, end; begin < text.len && out->len - mark <= CLEAN_NAME_MAX;
         begin = end) {
        bool in_word = is_word(text.data[begin]);
        for (end = begin + 1; end < text.len && is_word(text.data[end]) == in_word;)
            end++;
        struct bytes run = bytes_slice(text, begin, end - begin);
        unsigned reason = in_word ? reason_of(run) : 0;
        done |= reason;
        if (reason != 0)
            placeholder_put(out, reason);
        else if (in_word)
            done |= parts_put(run, out);
        else
            buffer_append_bytes(out, run);
    }
    if (out->error != ERR_OK)
        return 0;
    if (out->len - mark > CLEAN_NAME_MAX) {
        size_t len = CLEAN_NAME_MAX;
        while (len > 0 && (out->data[mark + len] & 0xC0) == 0x80)
            len--; /* not inside a character */
        out->len = mark + len;
        return done | CLEANED_LONG;
    }
    if (done == 0)
        out->len = mark;
    return done;
}
