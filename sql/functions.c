/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of our own: times and durations as people write them, and some of SQLite's whose time grows with the
 * square of a value, which a stranger may have 8 MiB of, in a form whose does not. */
#include "base/text.h"
#include "sql/hints.h"
#include "sql/table.h"

#define TRIM_MOST 64 /* bytes of characters to trim: time grows with them */

static struct bytes argument(sqlite3_value *v)
{
    const void *data = sqlite3_value_text(v);
    return bytes_of(data, data == NULL ? 0 : (size_t)sqlite3_value_bytes(v));
}

static bool is_null(sqlite3_value *v)
{
    return sqlite3_value_type(v) == SQLITE_NULL;
}

/* ---- Times ---- */

/* "now", "now-15m", RFC 3339 */
static bool time_of(struct bytes text, uint64_t now, int64_t *out)
{
    uint64_t at = now;
    int64_t back = 0;
    if (!bytes_start_with(text, BYTES_LITERAL("now"))) {
        if (!text_time_parse(text, &at))
            return false;
    } else if (text.len > 3) {
        if (text.data[3] != '-' || !text_duration_parse(bytes_slice(text, 4, SIZE_MAX), &back) ||
            back < 0)
            return false;
        at = (uint64_t)back < at ? at - (uint64_t)back : 0;
    }
    if (at > INT64_MAX)
        return false;
    *out = (int64_t)at;
    return true;
}

static void unix_ns(sqlite3_context *c, int count, sqlite3_value **v)
{
    int64_t ns;
    (void)count;
    if (is_null(v[0]))
        return;
    if (time_of(argument(v[0]), clock_unix_ns(), &ns))
        sqlite3_result_int64(c, ns);
    else
        sqlite3_result_error(
            c, "unix_ns(): expected a time like '2026-01-31T12:00:00Z' or 'now-15m'", -1);
}

static void utc(sqlite3_context *c, int count, sqlite3_value **v)
{
    (void)count;
    int64_t ns = sqlite3_value_int64(v[0]);
    if (is_null(v[0]) || ns < 0)
        return;
    struct buffer text;
    buffer_init(&text, 64);
    text_time(&text, (uint64_t)ns);
    if (buffer_error(&text) == ERR_OK)
        sqlite3_result_text(c, (const char *)text.data, (int)text.len, SQLITE_TRANSIENT);
    else
        sqlite3_result_error_nomem(c);
    buffer_deinit(&text);
}

static void duration(sqlite3_context *c, int count, sqlite3_value **v)
{
    int64_t ns;
    (void)count;
    if (is_null(v[0]))
        return;
    if (text_duration_parse(argument(v[0]), &ns))
        sqlite3_result_int64(c, ns);
    else
        sqlite3_result_error(c, "duration(): expected a duration like '250ms' or '1h30m'", -1);
}

/* ---- Texts ---- */

static size_t find(struct bytes in, struct bytes what)
{
    const uint8_t *at = what.len == 0 ? in.data : memmem(in.data, in.len, what.data, what.len);
    return at == NULL ? SIZE_MAX : (size_t)(at - in.data);
}

static int64_t characters(struct bytes text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (text.data[i] & 0xC0) != 0x80;
    return n;
}

static void instr(sqlite3_context *c, int count, sqlite3_value **v)
{
    (void)count;
    if (is_null(v[0]) || is_null(v[1]))
        return;
    struct bytes in = argument(v[0]), what = argument(v[1]);
    size_t at = find(in, what);
    sqlite3_result_int64(c, at == SIZE_MAX ? 0 : characters(bytes_slice(in, 0, at)) + 1);
}

static void replace(sqlite3_context *c, int count, sqlite3_value **v)
{
    (void)count;
    if (is_null(v[0]) || is_null(v[1]) || is_null(v[2]))
        return;
    struct bytes in = argument(v[0]), what = argument(v[1]), by = argument(v[2]);
    if (what.len == 0 || find(in, what) == SIZE_MAX) {
        sqlite3_result_value(c, v[0]);
        return;
    }
    sqlite3_str *out = sqlite3_str_new(sqlite3_context_db_handle(c)); /* has the limit of values */
    for (size_t at; (at = find(in, what)) != SIZE_MAX;) {
        sqlite3_str_append(out, (const char *)in.data, (int)at);
        sqlite3_str_append(out, (const char *)by.data, (int)by.len);
        in = bytes_slice(in, at + what.len, SIZE_MAX);
        if (sqlite3_str_errcode(out) != SQLITE_OK)
            break;
    }
    sqlite3_str_append(out, (const char *)in.data, (int)in.len);
    int rc = sqlite3_str_errcode(out), len = sqlite3_str_length(out);
    char *text = sqlite3_str_finish(out);
    if (rc == SQLITE_TOOBIG)
        sqlite3_result_error_toobig(c);
    else if (rc != SQLITE_OK)
        sqlite3_result_error_nomem(c);
    else
        sqlite3_result_text(c, text == NULL ? "" : text, len,
                            text == NULL ? SQLITE_STATIC : sqlite3_free);
    if (rc != SQLITE_OK)
        sqlite3_free(text);
}

enum { TRIM_LEFT = 1, TRIM_RIGHT = 2 };

/* The character at the front or the end of a text. */
static struct bytes first_character(struct bytes text)
{
    size_t len = 1;
    while (len < text.len && (text.data[len] & 0xC0) == 0x80)
        len++;
    return bytes_slice(text, 0, len);
}

static struct bytes last_character(struct bytes text)
{
    size_t at = text.len - 1;
    while (at > 0 && (text.data[at] & 0xC0) == 0x80)
        at--;
    return bytes_slice(text, at, SIZE_MAX);
}

static bool is_one_of(struct bytes character, struct bytes set)
{
    while (set.len > 0) {
        struct bytes one = first_character(set);
        if (bytes_equal(one, character))
            return true;
        set = bytes_slice(set, one.len, SIZE_MAX);
    }
    return false;
}

static void trim(sqlite3_context *c, int count, sqlite3_value **v)
{
    uintptr_t sides = (uintptr_t)sqlite3_user_data(c);
    (void)count;
    if (is_null(v[0]) || is_null(v[1]))
        return;
    struct bytes text = argument(v[0]), set = argument(v[1]);
    if (set.len > TRIM_MOST) {
        sqlite3_result_error(c, "trim(): at most 64 bytes of characters to trim", -1);
        return;
    }
    while ((sides & TRIM_LEFT) != 0 && text.len > 0 && is_one_of(first_character(text), set))
        text = bytes_slice(text, first_character(text).len, SIZE_MAX);
    while ((sides & TRIM_RIGHT) != 0 && text.len > 0 && is_one_of(last_character(text), set))
        text.len -= last_character(text).len;
    sqlite3_result_text(c, text.len == 0 ? "" : (const char *)text.data, (int)text.len,
                        SQLITE_TRANSIENT);
}

/* See hints.h. */
void function_hint(sqlite3_context *c, int count, sqlite3_value **v)
{
    (void)count;
    (void)v;
    sqlite3_result_int(c, 1);
}

int functions_register(struct session *s)
{
    enum { PURE = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS };
    static const struct {
        const char *name;
        int arguments;
        void (*call)(sqlite3_context *, int, sqlite3_value **);
        uintptr_t data;
    } all[] = {
        { "unix_ns", 1, unix_ns, 0 },           { "utc", 1, utc, 0 },
        { "duration", 1, duration, 0 },         { "instr", 2, instr, 0 },
        { "replace", 3, replace, 0 },           { "trim", 2, trim, TRIM_LEFT | TRIM_RIGHT },
        { "ltrim", 2, trim, TRIM_LEFT },        { "rtrim", 2, trim, TRIM_RIGHT },
        { HINT_FUNCTION, 2, function_hint, 0 },
    };
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof all / sizeof all[0]; i++)
        rc = sqlite3_create_function_v2(s->db, all[i].name, all[i].arguments, PURE,
                                        (void *)all[i].data, all[i].call, NULL, NULL, NULL);
    return rc;
}
