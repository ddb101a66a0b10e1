/* SPDX-License-Identifier: Apache-2.0 */
#include "query/sql_body.h"

#include "base/text.h"
#include "net/accept.h"
#include "proto/json_reader.h"
#include "query/parameters.h"

#include <strings.h>

#define DEPTH_MAX 4

struct reading {
    struct call *c;
    struct json_reader reader;
    struct err_note note;
    struct sql_parameter *list; /* [SQL_PARAMETERS_MAX] */
    size_t list_count;
    struct http_parameter *others; /* limit, timeout, format: as parameters of the address */
    size_t others_count;
    struct bytes query;
    bool has_query;
};
#define OTHERS_MAX 3

static enum err refuse(struct reading *r, const struct json_token *t, const char *what)
{
    r->note =
        (struct err_note){ .offset = (size_t)(t->raw.data - r->reader.text.data), .what = what };
    return ERR_INVALID;
}

static enum err text_of(struct reading *r, const struct json_token *t, struct bytes *out)
{
    struct buffer text;
    if (!t->has_escapes) {
        *out = t->raw;
        return ERR_OK;
    }
    buffer_init(&text, t->raw.len + 4);
    json_token_unescape(t, &text);
    enum err e = buffer_error(&text);
    if (e == ERR_OK)
        e = arena_dup(&r->c->arena, buffer_bytes(&text), out);
    buffer_deinit(&text);
    return e;
}

static enum err value_of(struct reading *r, const struct json_token *t, struct sql_value *out)
{
    *out = (struct sql_value){ .type = SQL_NULL };
    switch (t->type) {
    case JSON_NULL:
        return ERR_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        out->type = SQL_INTEGER;
        out->integer = t->type == JSON_TRUE;
        return ERR_OK;
    case JSON_STRING:
        out->type = SQL_TEXT;
        return text_of(r, t, &out->bytes);
    case JSON_NUMBER:
        out->type = SQL_INTEGER;
        if (text_i64_parse(t->raw, &out->integer))
            return ERR_OK;
        out->type = SQL_REAL;
        return text_double_parse(t->raw, &out->number) ? ERR_OK
                                                       : refuse(r, t, "not a number that fits");
    default:
        return refuse(r, t, "a parameter is text, a number, true, false or null");
    }
}

static enum err read_parameters(struct reading *r)
{
    struct json_token t;
    struct bytes name = { 0 };
    enum err e = json_reader_next(&r->reader, &t, &r->note);
    if (e == ERR_OK && t.type != JSON_OBJECT_BEGIN && t.type != JSON_ARRAY_BEGIN)
        return refuse(r, &t, "parameters are an object or a list");
    bool is_named = e == ERR_OK && t.type == JSON_OBJECT_BEGIN;
    while (e == ERR_OK) {
        e = json_reader_next(&r->reader, &t, &r->note);
        if (e != ERR_OK || t.type == JSON_OBJECT_END || t.type == JSON_ARRAY_END)
            return e;
        if (r->list_count == SQL_PARAMETERS_MAX)
            return refuse(r, &t, "at most 100 parameters");
        if (is_named) {
            e = text_of(r, &t, &name);
            if (e == ERR_OK && name.len == 0)
                return refuse(r, &t, "a parameter without a name");
            if (e == ERR_OK)
                e = json_reader_next(&r->reader, &t, &r->note);
        }
        struct sql_parameter *p = &r->list[r->list_count++];
        p->name = name;
        if (e == ERR_OK)
            e = value_of(r, &t, &p->value);
    }
    return e;
}

static enum err read_other(struct reading *r, const char *name)
{
    struct json_token t;
    struct bytes text = { 0 };
    enum err e = json_reader_next(&r->reader, &t, &r->note);
    if (e == ERR_OK && t.type != JSON_STRING && t.type != JSON_NUMBER)
        return refuse(r, &t, "expected text or a number");
    for (size_t i = 0; i < r->others_count; i++) {
        if (bytes_equal_text(r->others[i].name, name))
            return refuse(r, &t, "a member that was there before");
    }
    if (e == ERR_OK)
        e = text_of(r, &t, &text);
    if (e == ERR_OK)
        r->others[r->others_count++] = (struct http_parameter){ bytes_text(name), text };
    return e;
}

static enum err read_query(struct reading *r)
{
    struct json_token t;
    enum err e = json_reader_next(&r->reader, &t, &r->note);
    if (e == ERR_OK && t.type != JSON_STRING)
        return refuse(r, &t, "query is a text");
    r->has_query = true;
    return e == ERR_OK ? text_of(r, &t, &r->query) : e;
}

static enum err read_members(struct reading *r)
{
    static const char *const others[OTHERS_MAX] = { "limit", "timeout", "format" };
    struct json_token t;
    enum err e = json_reader_next(&r->reader, &t, &r->note);
    if (e == ERR_OK && t.type != JSON_OBJECT_BEGIN)
        return refuse(r, &t, "expected an object");
    while (e == ERR_OK) {
        const char *other = NULL;
        e = json_reader_next(&r->reader, &t, &r->note);
        if (e != ERR_OK || t.type == JSON_OBJECT_END)
            break;
        for (size_t i = 0; i < OTHERS_MAX; i++)
            other = json_token_is(&t, others[i]) ? others[i] : other;
        if (other != NULL)
            e = read_other(r, other);
        else if (json_token_is(&t, "query"))
            e = read_query(r);
        else if (json_token_is(&t, "parameters"))
            e = read_parameters(r);
        else
            e = refuse(r, &t, "known are query, parameters, limit, timeout and format");
    }
    return e == ERR_OK ? json_reader_next(&r->reader, &t, &r->note) : e; /* nothing follows */
}

static enum err read_json(struct call *c, struct sql_body *body)
{
    struct reading r = { .c = c };
    r.list = arena_alloc_array(&c->arena, SQL_PARAMETERS_MAX, sizeof *r.list);
    r.others = arena_alloc_array(&c->arena, OTHERS_MAX, sizeof *r.others);
    if (r.list == NULL || r.others == NULL)
        return arena_failure(&c->arena);
    if (c->parameter_count > 0)
        return call_fail(c, ERR_INVALID, NULL, "the parameters belong into the body, as JSON");
    json_reader_init(&r.reader, c->request->body, DEPTH_MAX);
    enum err e = read_members(&r);
    if (e == ERR_INVALID || e == ERR_TOO_DEEP)
        return call_fail(c, ERR_INVALID, NULL, "the body at byte %zu: %s", r.note.offset,
                         r.note.what == NULL ? "not JSON" : r.note.what);
    if (e != ERR_OK)
        return e;
    if (!r.has_query)
        return call_fail(c, ERR_INVALID, "query", "it is missing: expected a SELECT statement");
    body->query = r.query;
    body->parameters = r.list;
    body->parameters_count = r.list_count;
    c->parameters = r.others;
    c->parameter_count = r.others_count;
    return ERR_OK;
}

static enum rows_format accepted(const struct request *r)
{
    static const char *const types[] = { "application/json", "text/csv", "application/x-ndjson" };
    static const enum rows_format formats[] = { ROWS_JSON, ROWS_CSV, ROWS_LINES };
    return formats[accept_choose(request_header(r, "accept"), types, sizeof types / sizeof *types)];
}

/* Media types have no case, and parameters may follow them. */
static bool is_type(struct bytes type, const char *wanted)
{
    size_t len = strlen(wanted);
    return type.len >= len && strncasecmp((const char *)type.data, wanted, len) == 0 &&
           (type.len == len || memchr("; \t", type.data[len], 3) != NULL);
}

enum err sql_body_read(struct call *c, struct sql_body *body)
{
    static const char *const known[] = { "limit", "format", NULL };
    static const char *const formats[] = { "json", "ndjson", "csv", NULL };
    struct bytes type = request_header(c->request, "content-type");
    size_t format = accepted(c->request);
    bool is_json = is_type(type, "application/json");
    enum err e = ERR_OK;
    /* A page of another site may send plain text, unasked and with its reader's rights. */
    if (!is_json && !is_type(type, "application/sql") &&
        request_header(c->request, "origin").len > 0)
        return call_fail(c, ERR_DENIED, NULL, "pages send application/json or application/sql");
    if (is_json)
        e = read_json(c, body);
    else
        body->query = c->request->body;
    if (e == ERR_OK)
        e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, body->rows_most, &body->rows_max);
    if (e == ERR_OK)
        e = parameter_word(c, "format", formats, &format);
    body->format = (enum rows_format)format;
    return e;
}
