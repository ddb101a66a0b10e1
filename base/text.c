/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Hexadecimal ---- */

void text_hex(char *out, struct bytes from)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < from.len; i++) {
        out[2 * i] = digits[from.data[i] >> 4];
        out[2 * i + 1] = digits[from.data[i] & 15];
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_hex_parse(struct bytes text, uint8_t *out, size_t out_len)
{
    if (text.len / 2 != out_len || text.len % 2 != 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (hex_digit(text.data[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < out_len; i++)
        out[i] = (uint8_t)(hex_digit(text.data[2 * i]) << 4 | hex_digit(text.data[2 * i + 1]));
    return true;
}

/* ---- Numbers ---- */

bool text_u64_parse(struct bytes text, uint64_t *out)
{
    uint64_t v = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(c - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool text_i64_parse(struct bytes text, int64_t *out)
{
    bool is_negative = text.len > 0 && text.data[0] == '-';
    uint64_t magnitude;
    if (!text_u64_parse(is_negative ? bytes_slice(text, 1, SIZE_MAX) : text, &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + is_negative)
        return false;
    *out = (int64_t)(is_negative ? 0 - magnitude : magnitude);
    return true;
}

/* JSON's grammar: -? int frac? exp? */
static bool is_json_number(struct bytes t)
{
    size_t i = 0;
    if (i < t.len && t.data[i] == '-')
        i++;
    size_t digits = i;
    while (i < t.len && t.data[i] >= '0' && t.data[i] <= '9')
        i++;
    if (i == digits || (t.data[digits] == '0' && i > digits + 1))
        return false;
    if (i < t.len && t.data[i] == '.') {
        digits = ++i;
        while (i < t.len && t.data[i] >= '0' && t.data[i] <= '9')
            i++;
        if (i == digits)
            return false;
    }
    if (i < t.len && (t.data[i] | 0x20) == 'e') {
        i++;
        if (i < t.len && (t.data[i] == '+' || t.data[i] == '-'))
            i++;
        digits = i;
        while (i < t.len && t.data[i] >= '0' && t.data[i] <= '9')
            i++;
        if (i == digits)
            return false;
    }
    return i == t.len;
}

bool text_double_parse(struct bytes text, double *out)
{
    char copy[512]; /* longer literals carry no more precision, and nobody sends them in earnest */
    if (text.len >= sizeof copy || !is_json_number(text))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *out = strtod(copy, NULL); /* the program never leaves the "C" locale */
    return true;
}

void text_double(struct buffer *b, double v)
{
    char text[40];
    for (int precision = 15; precision <= 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*g", precision, v);
        if (strtod(text, NULL) == v)
            break;
    }
    buffer_append_text(b, text);
}

/* ---- Durations and sizes ---- */

struct unit {
    const char *name;
    double scale;
};

/* Length of the decimal number that text begins with; 0 when it begins with none. */
static size_t decimal_len(struct bytes text)
{
    size_t i = 0, digits = 0;
    for (; i < text.len; i++) {
        if (text.data[i] >= '0' && text.data[i] <= '9')
            digits++;
        else if (text.data[i] != '.' || bytes_find(bytes_slice(text, 0, i), '.') != SIZE_MAX)
            break;
    }
    return digits == 0 ? 0 : i;
}

static bool decimal_value(struct bytes text, long double *out)
{
    char copy[64];
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    *out = strtold(copy, NULL);
    return true;
}

bool text_duration_parse(struct bytes text, int64_t *out_ns)
{
    /* longest first, so that "ms" is not read as "m" */
    static const struct unit units[] = {
        { "ns", 1 },
        { "us", 1e3 },
        { "\xc2\xb5s", 1e3 },
        { "\xce\xbcs", 1e3 },
        { "ms", 1e6 },
        { "s", 1e9 },
        { "m", 60e9 },
        { "h", 3600e9 },
        { "d", 24 * 3600e9 },
        { "w", 168 * 3600e9 },
        { "y", 365.0 * 24 * 3600e9 },
    };
    bool is_negative = false;
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+')) {
        is_negative = text.data[0] == '-';
        text = bytes_slice(text, 1, SIZE_MAX);
    }
    if (bytes_equal_text(text, "0")) {
        *out_ns = 0;
        return true;
    }
    long double total = 0;
    if (text.len == 0)
        return false;
    while (text.len > 0) {
        size_t len = decimal_len(text);
        long double number;
        if (len == 0 || !decimal_value(bytes_slice(text, 0, len), &number))
            return false;
        text = bytes_slice(text, len, SIZE_MAX);
        const struct unit *unit = NULL;
        for (size_t i = 0; i < sizeof units / sizeof *units && unit == NULL; i++) {
            if (bytes_start_with(text, bytes_text(units[i].name)))
                unit = &units[i];
        }
        if (unit == NULL)
            return false;
        text = bytes_slice(text, strlen(unit->name), SIZE_MAX);
        total += number * (long double)unit->scale;
    }
    if (total >= 0x1p63L)
        return false;
    int64_t ns = (int64_t)llroundl(total);
    *out_ns = is_negative ? -ns : ns;
    return true;
}

bool text_size_parse(struct bytes text, uint64_t *out_bytes)
{
    static const char letters[] = "kmgt";
    size_t len = decimal_len(text);
    long double number;
    if (len == 0 || !decimal_value(bytes_slice(text, 0, len), &number))
        return false;
    text = bytes_slice(text, len, SIZE_MAX);
    if (text.len > 0 && (text.data[0] | 0x20) != 'b') {
        const char *letter = memchr(letters, text.data[0] | 0x20, sizeof letters - 1);
        if (letter == NULL)
            return false;
        for (const char *l = letters; l <= letter; l++)
            number *= 1024;
        text = bytes_slice(text, 1, SIZE_MAX);
        if (text.len == 2 && (text.data[0] | 0x20) == 'i')
            text = bytes_slice(text, 1, SIZE_MAX);
    }
    if (text.len > 1 || (text.len == 1 && (text.data[0] | 0x20) != 'b') || number >= 0x1p63L)
        return false;
    *out_bytes = (uint64_t)number;
    return true;
}

/* ---- Times ---- */

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. The year is counted from
 * March, so that the leap day is its last. */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_of_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

/* `count` digits at t[at]. */
static bool digits_at(struct bytes t, size_t at, size_t count, unsigned *out)
{
    uint64_t v;
    if (at + count > t.len || !text_u64_parse(bytes_slice(t, at, count), &v))
        return false;
    *out = (unsigned)v;
    return true;
}

static bool byte_at(struct bytes t, size_t at, uint8_t c)
{
    return at < t.len && (t.data[at] | (c >= 'a' ? 0x20 : 0)) == c;
}

/* "Z", "+hh:mm" or "-hh:mm" and nothing after it. */
static bool offset_parse(struct bytes t, int *out_minutes)
{
    unsigned hours, minutes;
    if (t.len == 1 && byte_at(t, 0, 'z')) {
        *out_minutes = 0;
        return true;
    }
    if (t.len != 6 || (t.data[0] != '+' && t.data[0] != '-') || t.data[3] != ':' ||
        !digits_at(t, 1, 2, &hours) || !digits_at(t, 4, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *out_minutes = (int)(hours * 60 + minutes) * (t.data[0] == '-' ? -1 : 1);
    return true;
}

bool text_time_parse(struct bytes t, uint64_t *out_unix_ns)
{
    static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    unsigned year, month, day, hour, minute, second;
    if (!digits_at(t, 0, 4, &year) || !byte_at(t, 4, '-') || !digits_at(t, 5, 2, &month) ||
        !byte_at(t, 7, '-') || !digits_at(t, 8, 2, &day) ||
        !(byte_at(t, 10, 't') || byte_at(t, 10, ' ')) || !digits_at(t, 11, 2, &hour) ||
        !byte_at(t, 13, ':') || !digits_at(t, 14, 2, &minute) || !byte_at(t, 16, ':') ||
        !digits_at(t, 17, 2, &second))
        return false;
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 ||
        day > month_days[month - 1] + (unsigned)(month == 2 && is_leap))
        return false;

    size_t at = 19;
    uint64_t fraction_ns = 0;
    if (byte_at(t, at, '.')) {
        uint64_t scale = NS_PER_S / 10;
        size_t first = ++at;
        for (; at < t.len && t.data[at] >= '0' && t.data[at] <= '9'; at++, scale /= 10)
            fraction_ns += (uint64_t)(t.data[at] - '0') * scale; /* digits past the ninth add 0 */
        if (at == first)
            return false;
    }
    int offset_minutes;
    if (!offset_parse(bytes_slice(t, at, SIZE_MAX), &offset_minutes))
        return false;
    int64_t seconds = days_of_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
                      (int64_t)offset_minutes * 60;
    uint64_t ns;
    if (seconds < 0 || __builtin_mul_overflow((uint64_t)seconds, NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, fraction_ns, &ns))
        return false;
    *out_unix_ns = ns;
    return true;
}

void text_time(struct buffer *b, uint64_t unix_ns)
{
    uint64_t seconds = unix_ns / NS_PER_S, ns = unix_ns % NS_PER_S;
    int64_t year;
    unsigned month, day;
    date_of_days((int64_t)(seconds / 86400), &year, &month, &day);
    unsigned of_day = (unsigned)(seconds % 86400);
    buffer_printf(b, "%04lld-%02u-%02uT%02u:%02u:%02u", (long long)year, month, day, of_day / 3600,
                  of_day / 60 % 60, of_day % 60);
    if (ns != 0) {
        char digits[16];
        int len = snprintf(digits, sizeof digits, ".%09u", (unsigned)ns);
        /* 3, 6 or 9 digits */
        while (len > 4 && memcmp(digits + len - 3, "000", 3) == 0)
            len -= 3;
        buffer_append(b, digits, (size_t)len);
    }
    buffer_append_byte(b, 'Z');
}

/* ---- Percent-encoding and base64 ---- */

bool text_percent_decode(struct bytes text, bool plus_is_space, uint8_t *out, size_t *out_len)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = text.len - i > 2 ? hex_digit(text.data[i + 1]) : -1;
            int low = text.len - i > 2 ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[len++] = c;
    }
    *out_len = len;
    return true;
}

void text_base64(struct buffer *b, struct bytes from)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < from.len; i += 3) {
        size_t have = from.len - i < 3 ? from.len - i : 3;
        uint32_t v = (uint32_t)from.data[i] << 16;
        v |= have > 1 ? (uint32_t)from.data[i + 1] << 8 : 0;
        v |= have > 2 ? from.data[i + 2] : 0;
        char group[4] = { alphabet[v >> 18], alphabet[v >> 12 & 63],
                          have > 1 ? alphabet[v >> 6 & 63] : '=',
                          have > 2 ? alphabet[v & 63] : '=' };
        buffer_append(b, group, sizeof group);
    }
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

bool text_base64_parse(struct bytes text, uint8_t *out, size_t *out_len)
{
    size_t len = text.len, written = 0;
    while (len > 0 && text.len - len < 2 && text.data[len - 1] == '=')
        len--;
    if (len % 4 == 1 || (len != text.len && text.len % 4 != 0))
        return false;
    uint32_t bits = 0;
    unsigned bit_count = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            out[written++] = (uint8_t)(bits >> bit_count);
        }
    }
    *out_len = written;
    return true;
}

/* ---- UTF-8 ---- */

/* Bytes of the valid sequence at p, or 0 with *out_bad = length of the maximal invalid subpart.
 * Table 3-7 of the Unicode standard: the second byte's range depends on the first. */
static size_t sequence_len(const uint8_t *p, size_t left, size_t *out_bad)
{
    uint8_t c = p[0];
    *out_bad = 1;
    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    uint8_t low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    uint8_t high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    for (size_t i = 1; i < len; i++) {
        if (i >= left || p[i] < low || p[i] > high) {
            *out_bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

size_t text_utf8_valid_prefix(struct bytes text, size_t *out_bad_len)
{
    size_t at = 0;
    while (at < text.len) {
        if (text.len - at >= 8 && (load_le64(text.data + at) & UINT64_C(0x8080808080808080)) == 0) {
            at += 8;
            continue;
        }
        size_t len = sequence_len(text.data + at, text.len - at, out_bad_len);
        if (len == 0)
            return at;
        at += len;
    }
    *out_bad_len = 0;
    return at;
}

size_t text_utf8_valid_len(struct bytes text)
{
    size_t bad;
    return text_utf8_valid_prefix(text, &bad);
}

size_t text_utf8_put(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

void text_utf8_repair(struct buffer *b, struct bytes text)
{
    for (;;) {
        size_t bad;
        size_t len = text_utf8_valid_prefix(text, &bad);
        buffer_append(b, text.data, len);
        if (bad == 0)
            return;
        buffer_append_text(b, "\xef\xbf\xbd");
        text = bytes_slice(text, len + bad, SIZE_MAX);
    }
}
