/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP/JSON to protobuf, token by token: each member is written as it is met. What is open is a
 * stack of messages and arrays of fixed size. The result is strange bytes; otlp_check() judges it,
 * and so an ID that is no ID costs its item only, not the request. */
#include "proto/otlp_json.h"

#include "proto/json_reader.h"
#include "proto/otlp_schema.h"
#include "proto/pb_nest.h"
#include "proto/pb_writer.h"

#include "base/text.h"

#include <assert.h>
#include <math.h>

/* A message, or the array of a repeated field in one. */
struct frame {
    enum otlp_kind kind;
    uint32_t array_number; /* 0: a message */
    size_t depth;          /* nested values so far */
};

struct reader {
    struct json_reader json;
    const struct otlp_limits *limits;
    struct buffer *out;
    struct pb_nest nest;
    struct err_note *note;
    size_t elements;
    size_t frame_count;
    struct frame frames[2 * OTLP_FRAMES_MAX]; /* at most one array for each message */
};

static enum err fail(struct reader *r, enum err e, const struct json_token *at, const char *what)
{
    if (r->note != NULL)
        *r->note =
            (struct err_note){ .offset = (size_t)(at->raw.data - r->json.text.data), .what = what };
    return e;
}

/* lowerCamelCase, or the same name in snake_case. Neither spelling needs escapes in JSON. */
static bool is_name(struct bytes key, const char *camel)
{
    size_t i = 0;
    for (; *camel != '\0'; camel++, i++) {
        if (i == key.len)
            return false;
        if (key.data[i] == (uint8_t)*camel)
            continue;
        bool is_upper = *camel >= 'A' && *camel <= 'Z';
        if (!is_upper || key.data[i] != '_' || i + 1 == key.len ||
            key.data[i + 1] != (uint8_t)(*camel | 0x20))
            return false;
        i++;
    }
    return i == key.len;
}

/* 0 when unknown. */
static uint32_t number_of_key(enum otlp_kind kind, const struct json_token *key)
{
    if (key->has_escapes) {
        for (uint32_t n = 1; n <= OTLP_FIELD_NUMBER_MAX; n++) {
            const char *name = otlp_schema[kind].fields[n].json_name;
            if (name != NULL && json_token_is(key, name))
                return n;
        }
        return 0;
    }
    for (uint32_t n = 1; n <= OTLP_FIELD_NUMBER_MAX; n++) {
        const char *name = otlp_schema[kind].fields[n].json_name;
        if (name != NULL && is_name(key->raw, name))
            return n;
    }
    return 0;
}

/* ---- Numbers ---- */

#define EXPONENT_MAX 1000000 /* far beyond any that could matter; larger ones count as this */

static bool exponent_parse(struct bytes text, long *out)
{
    bool is_negative = text.len > 0 && text.data[0] == '-';
    size_t i = text.len > 0 && (is_negative || text.data[0] == '+');
    if (i == text.len)
        return false;
    long v = 0;
    for (; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        if (v < EXPONENT_MAX)
            v = 10 * v + (text.data[i] - '0');
    }
    *out = is_negative ? -v : v;
    return true;
}

/* An integer in any of JSON's number forms, as sign and magnitude: 12, -3, 1.7e18, 5.0. False when
 * it is not integral or does not fit 64 bits. */
static bool integer_parse(struct bytes text, bool *is_negative, uint64_t *magnitude)
{
    size_t i = 0;
    *is_negative = text.len > 0 && text.data[0] == '-';
    i += *is_negative;
    uint64_t v = 0;
    long scale = 0; /* the value is v * 10^scale */
    size_t zeros = 0, digits = 0;
    bool in_fraction = false;
    for (; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.' && !in_fraction) {
            in_fraction = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        digits++;
        scale -= in_fraction;
        zeros++; /* zeros are multiplied in only before another digit: 1.000...0 stays small */
        if (c == '0')
            continue;
        for (; v != 0 && zeros > 1; zeros--) {
            if (__builtin_mul_overflow(v, 10, &v))
                return false;
        }
        zeros = 0;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(c - '0'), &v))
            return false;
    }
    if (digits == 0)
        return false;
    scale += (long)zeros;
    if (i < text.len) {
        long exponent;
        if ((text.data[i] | 0x20) != 'e' ||
            !exponent_parse(bytes_slice(text, i + 1, SIZE_MAX), &exponent))
            return false;
        scale += exponent;
    }
    if (v == 0) {
        *magnitude = 0;
        return true;
    }
    if (scale < 0 || scale > 19)
        return false;
    for (; scale > 0; scale--) {
        if (__builtin_mul_overflow(v, 10, &v))
            return false;
    }
    *magnitude = v;
    return true;
}

static bool is_number(const struct json_token *t)
{
    return t->type == JSON_NUMBER || (t->type == JSON_STRING && !t->has_escapes);
}

static bool unsigned_parse(const struct json_token *t, uint64_t max, uint64_t *out)
{
    bool is_negative;
    uint64_t v;
    if (!is_number(t) || !integer_parse(t->raw, &is_negative, &v) || (is_negative && v != 0) ||
        v > max)
        return false;
    *out = v;
    return true;
}

/* Sign-extended, as protobuf carries it. */
static bool signed_parse(const struct json_token *t, int64_t max, uint64_t *out)
{
    bool is_negative;
    uint64_t v;
    if (!is_number(t) || !integer_parse(t->raw, &is_negative, &v) ||
        v > (uint64_t)max + is_negative)
        return false;
    *out = is_negative ? 0 - v : v;
    return true;
}

static bool double_parse(const struct json_token *t, double *out)
{
    if (!is_number(t))
        return false;
    if (t->type == JSON_STRING) {
        if (bytes_equal_text(t->raw, "NaN"))
            *out = (double)NAN;
        else if (bytes_equal_text(t->raw, "Infinity"))
            *out = (double)INFINITY;
        else if (bytes_equal_text(t->raw, "-Infinity"))
            *out = -(double)INFINITY;
        else
            return text_double_parse(t->raw, out) && isfinite(*out);
        return true;
    }
    return text_double_parse(t->raw, out) && isfinite(*out);
}

/* ---- Values ---- */

static void string_put(struct reader *r, uint32_t number, const struct json_token *t)
{
    if (!t->has_escapes) {
        pb_bytes(r->out, number, t->raw);
        return;
    }
    size_t mark = pb_begin(r->out, number);
    json_token_unescape(t, r->out);
    pb_end(r->out, mark);
}

/* Hex of the right length; "" is an absent ID. Anything else leaves as one zero byte: an ID that
 * otlp_check() finds malformed, so that only its own item suffers. */
static void id_put(struct reader *r, uint32_t number, size_t id_bytes, const struct json_token *t)
{
    uint8_t id[16] = { 0 };
    if (t->raw.len == 0)
        return;
    bool is_id = !t->has_escapes && text_hex_parse(t->raw, id, id_bytes);
    pb_bytes(r->out, number, bytes_of(id, is_id ? id_bytes : 1));
}

static enum err base64_put(struct reader *r, uint32_t number, const struct json_token *t)
{
    size_t mark = pb_begin(r->out, number);
    size_t begin = r->out->len;
    struct bytes text = t->raw;
    if (t->has_escapes) { /* "\/" is allowed in JSON: unescape in place, then decode over it */
        json_token_unescape(t, r->out);
        if (r->out->error == ERR_OK)
            text = bytes_of(r->out->data + begin, r->out->len - begin);
    }
    size_t from_at = r->out->len - begin, len = 0;
    uint8_t *to = buffer_reserve(r->out, 3 * (text.len / 4) + 6);
    if (to != NULL) {
        if (t->has_escapes) /* the reservation may have moved it */
            text = bytes_of(r->out->data + begin, from_at);
        if (!text_base64_parse(text, to, &len))
            return fail(r, ERR_INVALID, t, "base64");
        memmove(r->out->data + begin, to, len);
        r->out->len = begin + len;
    }
    pb_end(r->out, mark);
    return ERR_OK;
}

/* A number, or the enumerator's name. A name that we do not know is a newer one: as if absent. */
static enum err enum_put(struct reader *r, uint32_t number, const struct otlp_field_schema *field,
                         const struct json_token *t)
{
    uint64_t v;
    if (signed_parse(t, INT32_MAX, &v)) {
        pb_uint(r->out, number, v);
        return ERR_OK;
    }
    bool is_name_like =
        t->type == JSON_STRING && t->raw.len > 0 && t->raw.data[0] >= 'A' && t->raw.data[0] <= 'Z';
    if (!is_name_like)
        return fail(r, ERR_INVALID, t, "an enum: a number of 32 bits, or a name");
    for (unsigned i = 0; field->enumerators[i] != NULL; i++) {
        if (json_token_is(t, field->enumerators[i]))
            pb_uint(r->out, number, i);
    }
    return ERR_OK;
}

static enum err bool_put(struct reader *r, uint32_t number, const struct json_token *t)
{
    bool is_true = t->type == JSON_TRUE || (t->type == JSON_STRING && json_token_is(t, "true"));
    bool is_false = t->type == JSON_FALSE || (t->type == JSON_STRING && json_token_is(t, "false"));
    if (!is_true && !is_false)
        return fail(r, ERR_INVALID, t, "true or false");
    pb_uint(r->out, number, is_true);
    return ERR_OK;
}

static enum err scalar_put(struct reader *r, uint32_t number, const struct otlp_field_schema *field,
                           const struct json_token *t)
{
    uint64_t v;
    double d;
    switch ((enum otlp_type)field->type) {
    case OTLP_TYPE_STRING:
    case OTLP_TYPE_BYTES:
    case OTLP_TYPE_ID:
        if (t->type != JSON_STRING)
            return fail(r, ERR_INVALID, t, "a string");
        if (field->type == OTLP_TYPE_BYTES)
            return base64_put(r, number, t);
        if (field->type == OTLP_TYPE_ID)
            id_put(r, number, field->id_bytes, t);
        else
            string_put(r, number, t);
        return ERR_OK;
    case OTLP_TYPE_BOOL:
        return bool_put(r, number, t);
    case OTLP_TYPE_ENUM:
        return enum_put(r, number, field, t);
    case OTLP_TYPE_UINT32:
        if (!unsigned_parse(t, UINT32_MAX, &v))
            return fail(r, ERR_INVALID, t, "an unsigned integer of 32 bits");
        pb_uint(r->out, number, v);
        return ERR_OK;
    case OTLP_TYPE_FIXED32:
        if (!unsigned_parse(t, UINT32_MAX, &v))
            return fail(r, ERR_INVALID, t, "an unsigned integer of 32 bits");
        pb_fixed32(r->out, number, (uint32_t)v);
        return ERR_OK;
    case OTLP_TYPE_FIXED64:
        if (!unsigned_parse(t, UINT64_MAX, &v))
            return fail(r, ERR_INVALID, t, "an unsigned integer of 64 bits");
        pb_fixed64(r->out, number, v);
        return ERR_OK;
    case OTLP_TYPE_INT64:
        if (!signed_parse(t, INT64_MAX, &v))
            return fail(r, ERR_INVALID, t, "an integer of 64 bits");
        pb_uint(r->out, number, v);
        return ERR_OK;
    case OTLP_TYPE_DOUBLE:
        if (!double_parse(t, &d))
            return fail(r, ERR_INVALID, t, "a number");
        pb_double(r->out, number, d);
        return ERR_OK;
    case OTLP_TYPE_MESSAGE:
    case OTLP_TYPE_NONE:
        break;
    }
    return ERR_OK;
}

/* ---- Structure ---- */

static void frame_push(struct reader *r, enum otlp_kind kind, uint32_t array_number, size_t depth)
{
    assert(r->frame_count < sizeof r->frames / sizeof r->frames[0]);
    r->frames[r->frame_count++] =
        (struct frame){ .kind = kind, .array_number = array_number, .depth = depth };
}

static enum err element_count(struct reader *r, const struct json_token *t)
{
    if (++r->elements <= r->limits->elements_max)
        return ERR_OK;
    return fail(r, ERR_TOO_MANY, t, OTLP_ELEMENTS_TEXT);
}

/* The value of a singular field, or one element of a repeated one. */
static enum err value_read(struct reader *r, const struct frame *f, uint32_t number,
                           const struct json_token *t)
{
    const struct otlp_field_schema *field = &otlp_schema[f->kind].fields[number];
    if (field->type != OTLP_TYPE_MESSAGE)
        return scalar_put(r, number, field, t);
    if (t->type != JSON_OBJECT_BEGIN)
        return fail(r, ERR_INVALID, t, "an object");
    size_t depth = f->depth + (size_t)(field->child == OTLP_KIND_ANY_VALUE);
    if (depth > r->limits->depth_max)
        return fail(r, ERR_TOO_DEEP, t, OTLP_DEPTH_TEXT);
    pb_nest_begin(&r->nest, number);
    frame_push(r, field->child, 0, depth);
    return element_count(r, t);
}

/* null in an array of values is an empty value, as senders mean it; elsewhere it is nothing. */
static enum err element_read(struct reader *r, const struct frame *f, const struct json_token *t)
{
    const struct otlp_field_schema *field = &otlp_schema[f->kind].fields[f->array_number];
    if (t->type != JSON_NULL) {
        enum err e = value_read(r, f, f->array_number, t);
        return e == ERR_OK && field->type != OTLP_TYPE_MESSAGE ? element_count(r, t) : e;
    }
    if (field->type == OTLP_TYPE_MESSAGE && field->child == OTLP_KIND_ANY_VALUE)
        pb_bytes(r->out, f->array_number, (struct bytes){ 0 });
    return element_count(r, t);
}

static enum err member_read(struct reader *r, const struct frame *f, const struct json_token *key)
{
    struct json_token t;
    uint32_t number = number_of_key(f->kind, key);
    enum err e = json_reader_next(&r->json, &t, r->note);
    if (e != ERR_OK)
        return e;
    if (number == 0)
        return json_reader_skip(&r->json, &t, r->note);
    if (t.type == JSON_NULL)
        return ERR_OK;
    if (!otlp_schema[f->kind].fields[number].is_repeated)
        return value_read(r, f, number, &t);
    if (t.type != JSON_ARRAY_BEGIN)
        return fail(r, ERR_INVALID, &t, "an array");
    frame_push(r, f->kind, number, f->depth);
    return ERR_OK;
}

static enum err step(struct reader *r)
{
    struct frame f = r->frames[r->frame_count - 1];
    struct json_token t;
    enum err e = json_reader_next(&r->json, &t, r->note);
    if (e != ERR_OK)
        return e;
    if (t.type == JSON_ARRAY_END || t.type == JSON_OBJECT_END) {
        r->frame_count--;
        if (f.array_number == 0 && r->frame_count > 0)
            pb_nest_end(&r->nest);
        return ERR_OK;
    }
    return f.array_number != 0 ? element_read(r, &f, &t) : member_read(r, &f, &t);
}

enum err otlp_json_read(enum signal signal, struct bytes json, const struct otlp_limits *limits,
                        struct buffer *out, struct err_note *out_note)
{
    assert(limits->depth_max <= OTLP_DEPTH_MAX);
    /* A value inside a map is four levels down: value, list, array, key-value. */
    const size_t json_depth_max = 4 * limits->depth_max + 32;
    struct reader r;
    r.limits = limits;
    r.out = out;
    r.note = out_note;
    r.elements = 0;
    r.frame_count = 0;
    pb_nest_init(&r.nest, out);
    json_reader_init(&r.json, json, json_depth_max);

    struct json_token t;
    enum err e = json_reader_next(&r.json, &t, out_note);
    if (e == ERR_OK && t.type != JSON_OBJECT_BEGIN)
        e = fail(&r, ERR_INVALID, &t, "an object");
    if (e != ERR_OK)
        return e;
    frame_push(&r, otlp_root_kind(signal), 0, 0);
    while (e == ERR_OK && r.frame_count > 0 && out->error == ERR_OK)
        e = step(&r);
    if (e == ERR_OK && out->error == ERR_OK)
        e = json_reader_next(&r.json, &t, out_note); /* JSON_END, or an error */
    return e != ERR_OK ? e : buffer_error(out);
}
