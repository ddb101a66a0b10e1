/* SPDX-License-Identifier: Apache-2.0 */
/* Readers over checked bytes. They decode what they meet without judging it: otlp_check() has. A broken
 * promise ends the loop.
 *
 * The loops switch on the whole tag, field << 3 | wire type: checked bytes hold tags in their shortest
 * form, and only fields that this version knows, in the wire type it knows. */
#include "proto/otlp.h"

#include "proto/otlp_rules.h"
#include "proto/otlp_schema.h"
#include "proto/otlp_wire.h"

#include <assert.h>

#define TAG(field, wire) ((field) << 3 | (wire))

const char *signal_name(enum signal signal)
{
    static const char *const names[SIGNAL_COUNT] = { "traces", "logs" };
    return names[signal];
}

/* Their texts name them; only tests set others. */
static_assert(OTLP_DEPTH_MAX == 64 && OTLP_ELEMENTS_MAX == 8388608 && OTLP_MERGES_MAX == 1024,
              "as the texts say");

const struct otlp_limits otlp_limits_default = {
    .depth_max = OTLP_DEPTH_MAX,
    .elements_max = OTLP_ELEMENTS_MAX,
    .attributes_max = 1024,
    .events_max = 1024,
    .links_max = 1024,
    .key_bytes_max = 1024,
    .value_bytes_max = 1u << 20,
};

static const char *const reject_labels[] = {
#define X(name, label, text) label,
    OTLP_REJECT_LIST(X)
#undef X
};
static const char *const reject_texts[] = {
#define X(name, label, text) text,
    OTLP_REJECT_LIST(X)
#undef X
};
static const char *const warn_labels[] = {
#define X(name, label, text) label,
    OTLP_WARN_LIST(X)
#undef X
};
static const char *const warn_texts[] = {
#define X(name, label, text) text,
    OTLP_WARN_LIST(X)
#undef X
};

const char *otlp_reject_label(enum otlp_reject r)
{
    return reject_labels[r];
}
const char *otlp_reject_text(enum otlp_reject r)
{
    return reject_texts[r];
}
const char *otlp_warn_label(enum otlp_warn w)
{
    return warn_labels[w];
}
const char *otlp_warn_text(enum otlp_warn w)
{
    return warn_texts[w];
}

/* One field with its whole tag in *tag. False at the end or on a broken promise. */
static inline bool field_next(struct otlp_fields *f, uint32_t *tag, uint64_t *value,
                              struct bytes *bytes)
{
    const uint8_t *p = f->at, *end = f->end;
    uint64_t t;
    if (p >= end)
        return false;
    p = wire_varint(p, end, &t);
    if (p == NULL)
        return false;
    *tag = (uint32_t)t;
    switch (t & 7) {
    case WIRE_VARINT:
        p = wire_varint(p, end, value);
        if (p == NULL)
            return false;
        break;
    case WIRE_FIXED64:
        if (end - p < 8)
            return false;
        *value = load_le64(p);
        p += 8;
        break;
    case WIRE_LENGTH:
        p = wire_length(p, end, bytes);
        if (p == NULL)
            return false;
        break;
    case WIRE_FIXED32:
        if (end - p < 4)
            return false;
        *value = load_le32(p);
        p += 4;
        break;
    default:
        return false;
    }
    f->at = p;
    return true;
}

bool otlp_fields_next(struct otlp_fields *f, struct otlp_field *out)
{
    uint32_t tag;
    struct otlp_field field = { 0 };
    if (!field_next(f, &tag, &field.value, &field.bytes)) {
        f->at = f->end;
        return false;
    }
    field.number = tag >> 3;
    field.wire_type = tag & 7;
    *out = field;
    return true;
}

struct otlp_repeated otlp_repeated(struct bytes message, uint32_t number)
{
    return (struct otlp_repeated){ .fields = otlp_fields(message), .number = number };
}

bool otlp_repeated_next(struct otlp_repeated *r, struct bytes *out_element)
{
    uint32_t tag, wanted = TAG(r->number, WIRE_LENGTH);
    uint64_t value;
    struct bytes bytes = { 0 };
    while (field_next(&r->fields, &tag, &value, &bytes)) {
        if (tag == wanted) {
            *out_element = bytes;
            return true;
        }
    }
    r->fields.at = r->fields.end;
    return false;
}

/* ---- Groups and items ---- */

/* Resource and scope groups have the same shape: 1 about whom, 2 the elements, 3 the schema URL. */
static void group_read(struct bytes message, struct bytes *about, bool *has_about,
                       struct bytes *schema_url)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    while (field_next(&f, &tag, &value, &bytes)) {
        if (tag == TAG(1, WIRE_LENGTH)) {
            *about = bytes;
            *has_about = true;
        } else if (tag == TAG(3, WIRE_LENGTH)) {
            *schema_url = bytes;
        }
    }
}

struct otlp_items otlp_items(struct bytes body)
{
    struct otlp_items it = { 0 };
    it.resource_groups = otlp_repeated(body, OTLP_DATA_RESOURCE_GROUPS);
    return it;
}

bool otlp_items_next(struct otlp_items *it)
{
    struct bytes message;
    it->is_new_resource = false;
    it->is_new_scope = false;
    while (!otlp_repeated_next(&it->items, &it->item)) {
        while (!otlp_repeated_next(&it->scope_groups, &message)) {
            if (!otlp_repeated_next(&it->resource_groups, &message))
                return false;
            it->resource = (struct otlp_resource_group){ .message = message };
            group_read(message, &it->resource.resource, &it->resource.has_resource,
                       &it->resource.schema_url);
            it->scope_groups = otlp_repeated(message, OTLP_GROUP_SCOPE_GROUPS);
            it->is_new_resource = true;
        }
        it->scope = (struct otlp_scope_group){ .message = message };
        group_read(message, &it->scope.scope, &it->scope.has_scope, &it->scope.schema_url);
        it->items = otlp_repeated(message, OTLP_SCOPE_ITEMS);
        it->is_new_scope = true;
    }
    return true;
}

/* ---- Messages ---- */

static inline bool id_read(struct bytes from, void *id, size_t size)
{
    if (from.len != size)
        return false;
    memcpy(id, from.data, size);
    return true;
}

static void status_read(struct bytes message, struct otlp_status *out)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    *out = (struct otlp_status){ .is_present = true };
    while (field_next(&f, &tag, &value, &bytes)) {
        if (tag == TAG(2, WIRE_LENGTH))
            out->message = bytes;
        else if (tag == TAG(3, WIRE_VARINT))
            out->code = (uint32_t)value;
    }
}

void otlp_span_read(struct bytes message, struct otlp_span *out)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    struct otlp_span s;
    memset(&s, 0, sizeof s);
    s.message = message;
    while (field_next(&f, &tag, &value, &bytes)) {
        switch (tag) {
        case TAG(1, WIRE_LENGTH):
            (void)id_read(bytes, s.trace_id.b, sizeof s.trace_id.b);
            break;
        case TAG(2, WIRE_LENGTH):
            (void)id_read(bytes, s.span_id.b, sizeof s.span_id.b);
            break;
        case TAG(3, WIRE_LENGTH):
            s.trace_state = bytes;
            break;
        case TAG(4, WIRE_LENGTH):
            s.has_parent = id_read(bytes, s.parent_span_id.b, sizeof s.parent_span_id.b) &&
                           !span_id_is_zero(&s.parent_span_id);
            break;
        case TAG(5, WIRE_LENGTH):
            s.name = bytes;
            break;
        case TAG(6, WIRE_VARINT):
            s.kind = (uint32_t)value;
            break;
        case TAG(7, WIRE_FIXED64):
            s.start_unix_ns = value;
            break;
        case TAG(8, WIRE_FIXED64):
            s.end_unix_ns = value;
            break;
        case TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH):
            s.attributes_count++;
            break;
        case TAG(10, WIRE_VARINT):
            s.dropped_attributes_count = (uint32_t)value;
            break;
        case TAG(OTLP_SPAN_EVENTS, WIRE_LENGTH):
            s.events_count++;
            break;
        case TAG(12, WIRE_VARINT):
            s.dropped_events_count = (uint32_t)value;
            break;
        case TAG(OTLP_SPAN_LINKS, WIRE_LENGTH):
            s.links_count++;
            break;
        case TAG(14, WIRE_VARINT):
            s.dropped_links_count = (uint32_t)value;
            break;
        case TAG(15, WIRE_LENGTH):
            status_read(bytes, &s.status);
            break;
        case TAG(16, WIRE_FIXED32):
            s.flags = (uint32_t)value;
            break;
        default:
            break;
        }
    }
    *out = s;
}

void otlp_event_read(struct bytes message, struct otlp_event *out)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    *out = (struct otlp_event){ .message = message };
    while (field_next(&f, &tag, &value, &bytes)) {
        if (tag == TAG(1, WIRE_FIXED64))
            out->time_unix_ns = value;
        else if (tag == TAG(2, WIRE_LENGTH))
            out->name = bytes;
        else if (tag == TAG(4, WIRE_VARINT))
            out->dropped_attributes_count = (uint32_t)value;
    }
}

void otlp_link_read(struct bytes message, struct otlp_link *out)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    *out = (struct otlp_link){ .message = message };
    while (field_next(&f, &tag, &value, &bytes)) {
        switch (tag) {
        case TAG(1, WIRE_LENGTH):
            (void)id_read(bytes, out->trace_id.b, sizeof out->trace_id.b);
            break;
        case TAG(2, WIRE_LENGTH):
            (void)id_read(bytes, out->span_id.b, sizeof out->span_id.b);
            break;
        case TAG(3, WIRE_LENGTH):
            out->trace_state = bytes;
            break;
        case TAG(5, WIRE_VARINT):
            out->dropped_attributes_count = (uint32_t)value;
            break;
        case TAG(6, WIRE_FIXED32):
            out->flags = (uint32_t)value;
            break;
        default:
            break;
        }
    }
}

void otlp_log_read(struct bytes message, struct otlp_log *out)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    struct otlp_log l;
    memset(&l, 0, sizeof l);
    l.message = message;
    while (field_next(&f, &tag, &value, &bytes)) {
        switch (tag) {
        case TAG(1, WIRE_FIXED64):
            l.time_unix_ns = value;
            break;
        case TAG(2, WIRE_VARINT):
            l.severity_number = (uint32_t)value;
            break;
        case TAG(3, WIRE_LENGTH):
            l.severity_text = bytes;
            break;
        case TAG(5, WIRE_LENGTH):
            l.has_body = true;
            l.body = bytes;
            break;
        case TAG(OTLP_LOG_ATTRIBUTES, WIRE_LENGTH):
            l.attributes_count++;
            break;
        case TAG(7, WIRE_VARINT):
            l.dropped_attributes_count = (uint32_t)value;
            break;
        case TAG(8, WIRE_FIXED32):
            l.flags = (uint32_t)value;
            break;
        case TAG(9, WIRE_LENGTH):
            l.has_trace_id =
                id_read(bytes, l.trace_id.b, sizeof l.trace_id.b) && !trace_id_is_zero(&l.trace_id);
            break;
        case TAG(10, WIRE_LENGTH):
            l.has_span_id =
                id_read(bytes, l.span_id.b, sizeof l.span_id.b) && !span_id_is_zero(&l.span_id);
            break;
        case TAG(11, WIRE_FIXED64):
            l.observed_unix_ns = value;
            break;
        case TAG(12, WIRE_LENGTH):
            l.event_name = bytes;
            break;
        default:
            break;
        }
    }
    *out = l;
}

void otlp_scope_read(struct bytes message, struct otlp_scope *out)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    *out = (struct otlp_scope){ .message = message };
    while (field_next(&f, &tag, &value, &bytes)) {
        if (tag == TAG(1, WIRE_LENGTH))
            out->name = bytes;
        else if (tag == TAG(2, WIRE_LENGTH))
            out->version = bytes;
        else if (tag == TAG(4, WIRE_VARINT))
            out->dropped_attributes_count = (uint32_t)value;
    }
}

/* ---- Attributes and values ---- */

static inline struct otlp_key_value key_value_read(struct bytes message)
{
    struct otlp_fields f = otlp_fields(message);
    uint32_t tag;
    uint64_t value;
    struct bytes bytes = { 0 };
    struct otlp_key_value kv = { 0 };
    while (field_next(&f, &tag, &value, &bytes)) {
        if (tag == TAG(1, WIRE_LENGTH)) {
            kv.key = bytes;
        } else if (tag == TAG(2, WIRE_LENGTH)) {
            kv.has_value = true;
            kv.value = bytes;
        }
    }
    return kv;
}

void otlp_key_value_read(struct bytes message, struct otlp_key_value *out)
{
    *out = key_value_read(message);
}

void otlp_value_read(struct bytes any_value, struct otlp_value *out)
{
    struct otlp_fields f = otlp_fields(any_value);
    uint32_t tag;
    uint64_t value = 0;
    struct bytes bytes = { 0 };
    *out = (struct otlp_value){ .type = OTLP_EMPTY };
    while (field_next(&f, &tag, &value, &bytes)) {
        switch (tag) {
        case TAG(OTLP_STRING, WIRE_LENGTH):
        case TAG(OTLP_ARRAY, WIRE_LENGTH):
        case TAG(OTLP_KVLIST, WIRE_LENGTH):
        case TAG(OTLP_BYTES, WIRE_LENGTH):
            *out = (struct otlp_value){ .type = (enum otlp_value_type)(tag >> 3), .bytes = bytes };
            break;
        case TAG(OTLP_BOOL, WIRE_VARINT):
            *out = (struct otlp_value){ .type = OTLP_BOOL, .boolean = value != 0 };
            break;
        case TAG(OTLP_INT, WIRE_VARINT):
            *out = (struct otlp_value){ .type = OTLP_INT, .integer = (int64_t)value };
            break;
        case TAG(OTLP_DOUBLE, WIRE_FIXED64):
            *out = (struct otlp_value){ .type = OTLP_DOUBLE };
            memcpy(&out->number, &value, sizeof value);
            break;
        default:
            break;
        }
    }
}

bool otlp_attribute_find(struct bytes message, uint32_t number, struct bytes key,
                         struct otlp_value *out)
{
    struct otlp_repeated attributes = otlp_repeated(message, number);
    struct bytes element;
    while (otlp_repeated_next(&attributes, &element)) {
        struct otlp_key_value kv = key_value_read(element);
        if (bytes_equal(kv.key, key)) {
            otlp_value_read(kv.value, out);
            return true;
        }
    }
    return false;
}

struct bytes otlp_service_name(struct bytes resource)
{
    struct otlp_value value;
    if (!otlp_attribute_find(resource, OTLP_RESOURCE_ATTRIBUTES, BYTES_LITERAL("service.name"),
                             &value) ||
        value.type != OTLP_STRING)
        return (struct bytes){ 0 };
    return value.bytes;
}
