/* SPDX-License-Identifier: Apache-2.0 */
#include "query/json_parameters.h"

#include "proto/json_reader.h"

#define DEPTH_MAX 8 /* what is deeper than one object in another is refused in plain words */

struct reading {
    struct json_reader reader;
    struct arena *arena;
    struct http_parameter *list; /* [JSON_PARAMETERS_MAX] */
    size_t count;
    struct err_note *note;
};

/* prefix.name or name; or the text of a string, or a literal. */
static enum err text_of(struct reading *r, struct bytes prefix, const struct json_token *t,
                        struct bytes *out)
{
    struct buffer text;
    buffer_init(&text, prefix.len + 1 + t->raw.len + 4);
    if (prefix.len > 0) {
        buffer_append_bytes(&text, prefix);
        buffer_append_byte(&text, '.');
    }
    json_token_unescape(t, &text);
    enum err e = buffer_error(&text);
    if (e == ERR_OK)
        e = arena_dup(r->arena, buffer_bytes(&text), out);
    buffer_deinit(&text);
    return e;
}

static enum err refuse(struct reading *r, const struct json_token *t, const char *what)
{
    *r->note =
        (struct err_note){ .offset = (size_t)(t->raw.data - r->reader.text.data), .what = what };
    return ERR_INVALID;
}

static enum err add(struct reading *r, struct bytes name, const struct json_token *value)
{
    struct bytes text = { 0 };
    enum err e = ERR_OK;
    switch (value->type) {
    case JSON_NULL:
        return ERR_OK;
    case JSON_TRUE:
        text = BYTES_LITERAL("true");
        break;
    case JSON_FALSE:
        text = BYTES_LITERAL("false");
        break;
    case JSON_STRING:
        e = text_of(r, (struct bytes){ 0 }, value, &text);
        break;
    case JSON_NUMBER:
        e = arena_dup(r->arena, value->raw, &text);
        break;
    case JSON_END:
    case JSON_OBJECT_BEGIN:
    case JSON_OBJECT_END:
    case JSON_ARRAY_BEGIN:
    case JSON_ARRAY_END:
    case JSON_KEY:
        return refuse(r, value, "expected text, a number, true, false or null");
    }
    if (e == ERR_OK && r->count == JSON_PARAMETERS_MAX)
        return ERR_TOO_MANY;
    if (e == ERR_OK)
        r->list[r->count++] = (struct http_parameter){ name, text };
    return e;
}

/* The members of an object that has begun. */
static enum err read_members(struct reading *r, struct bytes prefix, bool may_nest)
{
    struct json_token t, value;
    struct bytes name = { 0 };
    for (;;) {
        enum err e = json_reader_next(&r->reader, &t, r->note);
        if (e != ERR_OK || t.type == JSON_OBJECT_END)
            return e;
        e = text_of(r, prefix, &t, &name);
        if (e == ERR_OK)
            e = json_reader_next(&r->reader, &value, r->note);
        if (e == ERR_OK && value.type == JSON_OBJECT_BEGIN && may_nest)
            e = read_members(r, name, false); /* once: not again inside */
        else if (e == ERR_OK)
            e = add(r, name, &value);
        if (e != ERR_OK)
            return e;
    }
}

enum err json_parameters_read(struct bytes json, struct arena *arena,
                              const struct http_parameter **out, size_t *out_count,
                              struct err_note *note)
{
    struct reading r = { .arena = arena, .note = note };
    struct json_token t;
    r.list = arena_alloc_array(arena, JSON_PARAMETERS_MAX, sizeof *r.list);
    if (r.list == NULL)
        return arena_failure(arena);
    json_reader_init(&r.reader, json, DEPTH_MAX);
    enum err e = json_reader_next(&r.reader, &t, note);
    if (e == ERR_OK && t.type != JSON_OBJECT_BEGIN)
        e = refuse(&r, &t, "expected an object");
    if (e == ERR_OK)
        e = read_members(&r, (struct bytes){ 0 }, true);
    if (e == ERR_OK)
        e = json_reader_next(&r.reader, &t, note); /* nothing follows */
    if (e != ERR_OK)
        return e == ERR_TOO_DEEP ? ERR_INVALID : e;
    *out = r.list;
    *out_count = r.count;
    return ERR_OK;
}

enum err json_parameters_take(struct call *c)
{
    struct err_note note = { 0 };
    if (c->parameter_count > 0)
        return call_fail(c, ERR_INVALID, NULL, "the parameters belong into the body, as JSON");
    enum err e = json_parameters_read(c->request->body, &c->arena, &c->parameters,
                                      &c->parameter_count, &note);
    if (e == ERR_INVALID)
        return call_fail(c, e, NULL, "the body at byte %zu: %s", note.offset,
                         note.what == NULL ? "not JSON" : note.what);
    if (e == ERR_TOO_MANY)
        return call_fail(c, e, NULL, "the body has more than %u members", JSON_PARAMETERS_MAX);
    return e;
}
