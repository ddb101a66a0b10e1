/* SPDX-License-Identifier: Apache-2.0 */
/* Checked bytes as OTLP/JSON. A message is walked once for its singular fields, in the order in
 * which they were sent, and then once for each repeated field that it has. Open messages are a
 * stack of fixed size; depth comes from peers. */
#include "proto/otlp_json.h"

#include "proto/otlp_schema.h"
#include "proto/otlp_wire.h"

#include <assert.h>

struct frame {
    enum otlp_kind kind;
    struct bytes message;
    struct otlp_fields fields; /* reading the singular fields, then an array's elements */
    uint32_t repeated;         /* a bit for each repeated field that is still to be written */
    uint32_t array_number;     /* being written; 0: singular fields */
};

/* `json` is a copy of the caller's. Its depth says nothing here: a value in a map is four levels of
 * JSON further down, and 64 of them inside the envelopes are more than JSON_DEPTH_MAX, which is
 * meant for answers written by hand. The stack below is the bound. */
struct writer {
    struct json_writer json;
    size_t depth;
    struct frame frames[OTLP_FRAMES_MAX];
};

static void bracket(struct writer *w, void (*write)(struct json_writer *))
{
    w->json.depth = 1;
    write(&w->json);
}

static void message_begin(struct writer *w, enum otlp_kind kind, struct bytes message)
{
    assert(w->depth < OTLP_FRAMES_MAX);
    bracket(w, json_object_begin);
    w->frames[w->depth++] =
        (struct frame){ .kind = kind, .message = message, .fields = otlp_fields(message) };
}

static bool is_default(const struct otlp_field_schema *field, const struct otlp_field *f)
{
    switch (f->wire_type) {
    case WIRE_LENGTH:
        return field->type != OTLP_TYPE_MESSAGE && f->bytes.len == 0;
    default:
        return f->value == 0;
    }
}

static void scalar_write(struct json_writer *json, const struct otlp_field_schema *field,
                         const struct otlp_field *f)
{
    double d;
    switch ((enum otlp_type)field->type) {
    case OTLP_TYPE_STRING:
        json_string(json, f->bytes);
        break;
    case OTLP_TYPE_BYTES:
        json_base64(json, f->bytes);
        break;
    case OTLP_TYPE_ID:
        json_hex(json, f->bytes);
        break;
    case OTLP_TYPE_BOOL:
        json_bool(json, f->value != 0);
        break;
    case OTLP_TYPE_UINT32:
    case OTLP_TYPE_FIXED32:
        json_u64(json, (uint32_t)f->value);
        break;
    case OTLP_TYPE_ENUM:
        json_i64(json, (int32_t)(uint32_t)f->value);
        break;
    case OTLP_TYPE_INT64:
        json_i64_string(json, (int64_t)f->value);
        break;
    case OTLP_TYPE_FIXED64:
        json_u64_string(json, f->value);
        break;
    case OTLP_TYPE_DOUBLE:
        memcpy(&d, &f->value, sizeof d);
        json_double(json, d);
        break;
    case OTLP_TYPE_MESSAGE:
    case OTLP_TYPE_NONE:
        break;
    }
}

static void field_write(struct writer *w, struct frame *frame, const struct otlp_field *f)
{
    const struct otlp_field_schema *field = otlp_schema_find(frame->kind, f->number, f->wire_type);
    if (field == NULL)
        return;
    if (field->is_repeated) {
        frame->repeated |= UINT32_C(1) << f->number;
        return;
    }
    /* A member of a oneof says something even when it is 0 or empty. */
    if (frame->kind != OTLP_KIND_ANY_VALUE && is_default(field, f))
        return;
    json_key(&w->json, field->json_name);
    if (field->type == OTLP_TYPE_MESSAGE)
        message_begin(w, field->child, f->bytes);
    else
        scalar_write(&w->json, field, f);
}

static void element_write(struct writer *w, struct frame *frame, const struct otlp_field *f)
{
    const struct otlp_field_schema *field = otlp_schema_find(frame->kind, f->number, f->wire_type);
    if (field == NULL || f->number != frame->array_number)
        return;
    if (field->type == OTLP_TYPE_MESSAGE)
        message_begin(w, field->child, f->bytes);
    else
        scalar_write(&w->json, field, f);
}

/* No more fields: end the array, and begin the next or end the message. */
static void fields_end(struct writer *w, struct frame *frame)
{
    if (frame->array_number != 0)
        bracket(w, json_array_end);
    if (frame->repeated == 0) {
        bracket(w, json_object_end);
        w->depth--;
        return;
    }
    uint32_t number = (uint32_t)__builtin_ctz(frame->repeated);
    frame->repeated &= frame->repeated - 1;
    frame->array_number = number;
    frame->fields = otlp_fields(frame->message);
    json_key(&w->json, otlp_schema[frame->kind].fields[number].json_name);
    bracket(w, json_array_begin);
}

/* The open messages, to their end. */
static void finish(struct writer *w)
{
    while (w->depth > 0) {
        struct frame *frame = &w->frames[w->depth - 1];
        struct otlp_field f;
        if (!otlp_fields_next(&frame->fields, &f))
            fields_end(w, frame);
        else if (frame->array_number != 0)
            element_write(w, frame, &f);
        else
            field_write(w, frame, &f);
    }
}

static void writer_init(struct writer *w, const struct json_writer *out)
{
    w->json = *out;
    w->depth = 0;
}

static void message_write(enum otlp_kind kind, struct bytes message, struct json_writer *out)
{
    struct writer w;
    writer_init(&w, out);
    message_begin(&w, kind, message);
    finish(&w);
    out->needs_comma = true;
}

void otlp_json_write(enum signal signal, struct bytes body, struct json_writer *out)
{
    message_write(otlp_root_kind(signal), body, out);
}

void otlp_json_write_span(struct bytes span, struct json_writer *out)
{
    message_write(OTLP_KIND_SPAN, span, out);
}

void otlp_json_write_log(struct bytes log, struct json_writer *out)
{
    message_write(OTLP_KIND_LOG, log, out);
}

void otlp_json_write_resource(struct bytes resource, struct json_writer *out)
{
    message_write(OTLP_KIND_RESOURCE, resource, out);
}

void otlp_json_write_scope(struct bytes scope, struct json_writer *out)
{
    message_write(OTLP_KIND_SCOPE, scope, out);
}

void otlp_json_write_value(struct bytes any_value, struct json_writer *out)
{
    message_write(OTLP_KIND_ANY_VALUE, any_value, out);
}

void otlp_json_write_attributes(struct bytes message, uint32_t field, struct json_writer *out)
{
    json_array_begin(out);
    struct writer w;
    writer_init(&w, out);
    struct otlp_repeated attributes = otlp_repeated(message, field);
    struct bytes element;
    while (otlp_repeated_next(&attributes, &element)) {
        message_begin(&w, OTLP_KIND_KEY_VALUE, element);
        finish(&w);
    }
    json_array_end(out);
}
