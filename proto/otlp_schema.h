/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_schema.h - OTLP's traces and logs messages as one table, which every walker here reads.
 *
 * Role       private to proto/. The validating walk, the rewriter and both directions of JSON
 *            differ in what they do with a field, not in what fields there are.
 * Source     opentelemetry-proto 1.11: trace.proto, logs.proto, common.proto, resource.proto. What
 *            is not in the table (the deprecated list 1000, the two indices meant for profiles) is
 *            unknown. */
#ifndef SPINDLE_PROTO_OTLP_SCHEMA_H
#define SPINDLE_PROTO_OTLP_SCHEMA_H

#include "proto/otlp.h"

enum otlp_kind {
    OTLP_KIND_TRACES_DATA,
    OTLP_KIND_RESOURCE_SPANS,
    OTLP_KIND_SCOPE_SPANS,
    OTLP_KIND_SPAN,
    OTLP_KIND_EVENT,
    OTLP_KIND_LINK,
    OTLP_KIND_STATUS,
    OTLP_KIND_LOGS_DATA,
    OTLP_KIND_RESOURCE_LOGS,
    OTLP_KIND_SCOPE_LOGS,
    OTLP_KIND_LOG,
    OTLP_KIND_RESOURCE,
    OTLP_KIND_ENTITY_REF,
    OTLP_KIND_SCOPE,
    OTLP_KIND_KEY_VALUE,
    OTLP_KIND_ANY_VALUE,
    OTLP_KIND_ARRAY,
    OTLP_KIND_KVLIST,
    OTLP_KIND_COUNT
};

enum otlp_type {
    OTLP_TYPE_NONE, /* no such field */
    OTLP_TYPE_STRING,
    OTLP_TYPE_BYTES,
    OTLP_TYPE_ID, /* bytes that JSON writes as hex */
    OTLP_TYPE_BOOL,
    OTLP_TYPE_UINT32,
    OTLP_TYPE_ENUM,
    OTLP_TYPE_INT64,
    OTLP_TYPE_DOUBLE,
    OTLP_TYPE_FIXED64,
    OTLP_TYPE_FIXED32,
    OTLP_TYPE_MESSAGE
};

/* What a field means to the rules; most mean nothing. */
enum otlp_role {
    OTLP_ROLE_NONE,
    OTLP_ROLE_TRACE_ID,
    OTLP_ROLE_SPAN_ID,
    OTLP_ROLE_PARENT_ID,
    OTLP_ROLE_START, /* of a span; time of a log record */
    OTLP_ROLE_END,   /* of a span; observed time of a log record */
    OTLP_ROLE_KEY,
    OTLP_ROLE_ATTRIBUTE,
    OTLP_ROLE_EVENT,
    OTLP_ROLE_LINK,
    OTLP_ROLE_DROPPED_ATTRIBUTES,
    OTLP_ROLE_DROPPED_EVENTS,
    OTLP_ROLE_DROPPED_LINKS
};

#define OTLP_FIELD_NUMBER_MAX 16

struct otlp_field_schema {
    uint8_t type;  /* enum otlp_type */
    uint8_t wire;  /* its wire type */
    uint8_t child; /* enum otlp_kind, of messages */
    uint8_t role;  /* enum otlp_role */
    bool is_repeated;
    uint8_t id_bytes;               /* length of a well-formed ID */
    const char *json_name;          /* lowerCamelCase */
    const char *const *enumerators; /* names of 0, 1, 2... up to a NULL, of enums */
};

struct otlp_kind_schema {
    struct otlp_field_schema fields[OTLP_FIELD_NUMBER_MAX + 1]; /* by field number */
};

extern const struct otlp_kind_schema otlp_schema[OTLP_KIND_COUNT];

/* NULL when there is no such field, or its wire type is another one: both count as unknown. */
static inline const struct otlp_field_schema *otlp_schema_find(enum otlp_kind kind, uint64_t number,
                                                               uint32_t wire)
{
    if (number > OTLP_FIELD_NUMBER_MAX)
        return NULL;
    const struct otlp_field_schema *field = &otlp_schema[kind].fields[number];
    return field->type != OTLP_TYPE_NONE && field->wire == wire ? field : NULL;
}

static inline enum otlp_kind otlp_root_kind(enum signal signal)
{
    return signal == SIGNAL_TRACES ? OTLP_KIND_TRACES_DATA : OTLP_KIND_LOGS_DATA;
}
static inline bool otlp_kind_is_item(enum otlp_kind kind)
{
    return kind == OTLP_KIND_SPAN || kind == OTLP_KIND_LOG;
}

/* Messages open at once while walking: values nest in threes (value, list, key-value), and above
 * the first value lie data, resource group, scope group, item, event or link, and key-value. */
#define OTLP_DEPTH_MAX     64
#define OTLP_ELEMENTS_MAX  ((size_t)8 << 20) /* messages and values of a request */
#define OTLP_ELEMENTS_TEXT "at most 8388608 messages and values in one request"
#define OTLP_DEPTH_TEXT    "at most 64 values inside each other"
#define OTLP_FRAMES_MAX    (8 + 3 * OTLP_DEPTH_MAX)

#endif
