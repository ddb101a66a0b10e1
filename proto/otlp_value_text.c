/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/otlp.h"

#include "proto/otlp_schema.h"

#include "base/json_writer.h"
#include "base/text.h"

#include <assert.h>
#include <math.h>

/* Lists inside each other: `open` holds what is still unread of each. */
struct list {
    struct otlp_repeated elements;
    bool is_map;
};

static void list_open(struct list *open, size_t *depth, const struct otlp_value *value,
                      struct json_writer *json)
{
    assert(*depth < OTLP_DEPTH_MAX);
    bool is_map = value->type == OTLP_KVLIST;
    open[(*depth)++] =
        (struct list){ .elements = otlp_repeated(value->bytes, OTLP_VALUES), .is_map = is_map };
    if (is_map)
        json_object_begin(json);
    else
        json_array_begin(json);
}

static void scalar_write(struct json_writer *json, const struct otlp_value *value)
{
    switch (value->type) {
    case OTLP_STRING:
        json_string(json, value->bytes);
        break;
    case OTLP_BOOL:
        json_bool(json, value->boolean);
        break;
    case OTLP_INT:
        json_i64(json, value->integer);
        break;
    case OTLP_DOUBLE:
        json_double(json, value->number);
        break;
    case OTLP_BYTES:
        json_base64(json, value->bytes);
        break;
    case OTLP_EMPTY:
    case OTLP_ARRAY:
    case OTLP_KVLIST:
        json_null(json);
        break;
    }
}

static void list_write(struct buffer *out, const struct otlp_value *list)
{
    struct list open[OTLP_DEPTH_MAX];
    size_t depth = 0;
    struct json_writer json;
    json_init(&json, out);
    list_open(open, &depth, list, &json);
    while (depth > 0) {
        struct list *l = &open[depth - 1];
        struct bytes element;
        if (!otlp_repeated_next(&l->elements, &element)) {
            if (l->is_map)
                json_object_end(&json);
            else
                json_array_end(&json);
            depth--;
            continue;
        }
        if (l->is_map) {
            struct otlp_key_value kv;
            otlp_key_value_read(element, &kv);
            json_key_bytes(&json, kv.key);
            element = kv.value;
        }
        struct otlp_value value;
        otlp_value_read(element, &value);
        if (value.type == OTLP_ARRAY || value.type == OTLP_KVLIST)
            list_open(open, &depth, &value, &json);
        else
            scalar_write(&json, &value);
    }
}

void otlp_value_text(struct buffer *out, const struct otlp_value *value)
{
    switch (value->type) {
    case OTLP_EMPTY:
        break;
    case OTLP_STRING:
        buffer_append_bytes(out, value->bytes);
        break;
    case OTLP_BOOL:
        buffer_append_text(out, value->boolean ? "true" : "false");
        break;
    case OTLP_INT:
        buffer_append_i64(out, value->integer);
        break;
    case OTLP_DOUBLE:
        if (isnan(value->number))
            buffer_append_text(out, "NaN");
        else if (isinf(value->number))
            buffer_append_text(out, value->number > 0 ? "Infinity" : "-Infinity");
        else
            text_double(out, value->number);
        break;
    case OTLP_BYTES:
        text_base64(out, value->bytes);
        break;
    case OTLP_ARRAY:
    case OTLP_KVLIST:
        list_write(out, value);
        break;
    }
}
