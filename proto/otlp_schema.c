/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/otlp_schema.h"

#include "proto/otlp_wire.h"

static const char *const span_kinds[] = { "SPAN_KIND_UNSPECIFIED",
                                          "SPAN_KIND_INTERNAL",
                                          "SPAN_KIND_SERVER",
                                          "SPAN_KIND_CLIENT",
                                          "SPAN_KIND_PRODUCER",
                                          "SPAN_KIND_CONSUMER",
                                          NULL };
static const char *const status_codes[] = { "STATUS_CODE_UNSET", "STATUS_CODE_OK",
                                            "STATUS_CODE_ERROR", NULL };
static const char *const severities[] = { "SEVERITY_NUMBER_UNSPECIFIED", "SEVERITY_NUMBER_TRACE",
                                          "SEVERITY_NUMBER_TRACE2",      "SEVERITY_NUMBER_TRACE3",
                                          "SEVERITY_NUMBER_TRACE4",      "SEVERITY_NUMBER_DEBUG",
                                          "SEVERITY_NUMBER_DEBUG2",      "SEVERITY_NUMBER_DEBUG3",
                                          "SEVERITY_NUMBER_DEBUG4",      "SEVERITY_NUMBER_INFO",
                                          "SEVERITY_NUMBER_INFO2",       "SEVERITY_NUMBER_INFO3",
                                          "SEVERITY_NUMBER_INFO4",       "SEVERITY_NUMBER_WARN",
                                          "SEVERITY_NUMBER_WARN2",       "SEVERITY_NUMBER_WARN3",
                                          "SEVERITY_NUMBER_WARN4",       "SEVERITY_NUMBER_ERROR",
                                          "SEVERITY_NUMBER_ERROR2",      "SEVERITY_NUMBER_ERROR3",
                                          "SEVERITY_NUMBER_ERROR4",      "SEVERITY_NUMBER_FATAL",
                                          "SEVERITY_NUMBER_FATAL2",      "SEVERITY_NUMBER_FATAL3",
                                          "SEVERITY_NUMBER_FATAL4",      NULL };

/* clang-format off */
#define SCALAR(t, w, name, ...) \
    { .type = OTLP_TYPE_##t, .wire = WIRE_##w, .json_name = name, ##__VA_ARGS__ }
#define STRING(name)            SCALAR(STRING, LENGTH, name)
#define STRINGS(name)           SCALAR(STRING, LENGTH, name, .is_repeated = true)
#define ID(name, r, n)          SCALAR(ID, LENGTH, name, .role = OTLP_ROLE_##r, .id_bytes = n)
#define TIME(name, r)           SCALAR(FIXED64, FIXED64, name, .role = OTLP_ROLE_##r)
#define FLAGS(name)             SCALAR(FIXED32, FIXED32, name)
#define ENUM(name, names)       SCALAR(ENUM, VARINT, name, .enumerators = names)
#define DROPPED(name, r)        SCALAR(UINT32, VARINT, name, .role = OTLP_ROLE_DROPPED_##r)
#define ONE(name, k)            SCALAR(MESSAGE, LENGTH, name, .child = OTLP_KIND_##k)
#define MANY(name, k, r) \
    SCALAR(MESSAGE, LENGTH, name, .child = OTLP_KIND_##k, .is_repeated = true, .role = OTLP_ROLE_##r)

const struct otlp_kind_schema otlp_schema[OTLP_KIND_COUNT] = {
    [OTLP_KIND_TRACES_DATA].fields = {
        [1] = MANY("resourceSpans", RESOURCE_SPANS, NONE),
    },
    [OTLP_KIND_RESOURCE_SPANS].fields = {
        [1] = ONE("resource", RESOURCE),
        [2] = MANY("scopeSpans", SCOPE_SPANS, NONE),
        [3] = STRING("schemaUrl"),
    },
    [OTLP_KIND_SCOPE_SPANS].fields = {
        [1] = ONE("scope", SCOPE),
        [2] = MANY("spans", SPAN, NONE),
        [3] = STRING("schemaUrl"),
    },
    [OTLP_KIND_SPAN].fields = {
        [1] = ID("traceId", TRACE_ID, 16),
        [2] = ID("spanId", SPAN_ID, 8),
        [3] = STRING("traceState"),
        [4] = ID("parentSpanId", PARENT_ID, 8),
        [5] = STRING("name"),
        [6] = ENUM("kind", span_kinds),
        [7] = TIME("startTimeUnixNano", START),
        [8] = TIME("endTimeUnixNano", END),
        [OTLP_SPAN_ATTRIBUTES] = MANY("attributes", KEY_VALUE, ATTRIBUTE),
        [10] = DROPPED("droppedAttributesCount", ATTRIBUTES),
        [OTLP_SPAN_EVENTS] = MANY("events", EVENT, EVENT),
        [12] = DROPPED("droppedEventsCount", EVENTS),
        [OTLP_SPAN_LINKS] = MANY("links", LINK, LINK),
        [14] = DROPPED("droppedLinksCount", LINKS),
        [15] = ONE("status", STATUS),
        [16] = FLAGS("flags"),
    },
    [OTLP_KIND_EVENT].fields = {
        [1] = TIME("timeUnixNano", NONE),
        [2] = STRING("name"),
        [OTLP_EVENT_ATTRIBUTES] = MANY("attributes", KEY_VALUE, ATTRIBUTE),
        [4] = DROPPED("droppedAttributesCount", ATTRIBUTES),
    },
    [OTLP_KIND_LINK].fields = {
        [1] = ID("traceId", TRACE_ID, 16),
        [2] = ID("spanId", SPAN_ID, 8),
        [3] = STRING("traceState"),
        [OTLP_LINK_ATTRIBUTES] = MANY("attributes", KEY_VALUE, ATTRIBUTE),
        [5] = DROPPED("droppedAttributesCount", ATTRIBUTES),
        [6] = FLAGS("flags"),
    },
    [OTLP_KIND_STATUS].fields = {
        [2] = STRING("message"),
        [3] = ENUM("code", status_codes),
    },
    [OTLP_KIND_LOGS_DATA].fields = {
        [1] = MANY("resourceLogs", RESOURCE_LOGS, NONE),
    },
    [OTLP_KIND_RESOURCE_LOGS].fields = {
        [1] = ONE("resource", RESOURCE),
        [2] = MANY("scopeLogs", SCOPE_LOGS, NONE),
        [3] = STRING("schemaUrl"),
    },
    [OTLP_KIND_SCOPE_LOGS].fields = {
        [1] = ONE("scope", SCOPE),
        [2] = MANY("logRecords", LOG, NONE),
        [3] = STRING("schemaUrl"),
    },
    [OTLP_KIND_LOG].fields = {
        [1] = TIME("timeUnixNano", START),
        [2] = ENUM("severityNumber", severities),
        [3] = STRING("severityText"),
        [5] = ONE("body", ANY_VALUE),
        [OTLP_LOG_ATTRIBUTES] = MANY("attributes", KEY_VALUE, ATTRIBUTE),
        [7] = DROPPED("droppedAttributesCount", ATTRIBUTES),
        [8] = FLAGS("flags"),
        [9] = ID("traceId", TRACE_ID, 16),
        [10] = ID("spanId", SPAN_ID, 8),
        [11] = TIME("observedTimeUnixNano", END),
        [12] = STRING("eventName"),
    },
    [OTLP_KIND_RESOURCE].fields = {
        [OTLP_RESOURCE_ATTRIBUTES] = MANY("attributes", KEY_VALUE, ATTRIBUTE),
        [2] = DROPPED("droppedAttributesCount", ATTRIBUTES),
        [3] = MANY("entityRefs", ENTITY_REF, NONE),
    },
    [OTLP_KIND_ENTITY_REF].fields = {
        [1] = STRING("schemaUrl"),
        [2] = STRING("type"),
        [3] = STRINGS("idKeys"),
        [4] = STRINGS("descriptionKeys"),
    },
    [OTLP_KIND_SCOPE].fields = {
        [1] = STRING("name"),
        [2] = STRING("version"),
        [OTLP_SCOPE_ATTRIBUTES] = MANY("attributes", KEY_VALUE, ATTRIBUTE),
        [4] = DROPPED("droppedAttributesCount", ATTRIBUTES),
    },
    [OTLP_KIND_KEY_VALUE].fields = {
        [1] = SCALAR(STRING, LENGTH, "key", .role = OTLP_ROLE_KEY),
        [2] = ONE("value", ANY_VALUE),
    },
    [OTLP_KIND_ANY_VALUE].fields = {
        [OTLP_STRING] = STRING("stringValue"),
        [OTLP_BOOL] = SCALAR(BOOL, VARINT, "boolValue"),
        [OTLP_INT] = SCALAR(INT64, VARINT, "intValue"),
        [OTLP_DOUBLE] = SCALAR(DOUBLE, FIXED64, "doubleValue"),
        [OTLP_ARRAY] = ONE("arrayValue", ARRAY),
        [OTLP_KVLIST] = ONE("kvlistValue", KVLIST),
        [OTLP_BYTES] = SCALAR(BYTES, LENGTH, "bytesValue"),
    },
    [OTLP_KIND_ARRAY].fields = {
        [OTLP_VALUES] = MANY("values", ANY_VALUE, NONE),
    },
    [OTLP_KIND_KVLIST].fields = {
        [OTLP_VALUES] = MANY("values", KEY_VALUE, NONE),
    },
};
/* clang-format on */
