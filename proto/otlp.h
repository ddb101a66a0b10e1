/* SPDX-License-Identifier: Apache-2.0 */
/* otlp.h - reading OTLP protobuf where it lies.
 *
 * Role       received telemetry stays OTLP protobuf bytes; these calls walk over them. There are
 *            two kinds of bytes. *Strange* bytes come from a peer and go through otlp_check() once.
 *            *Checked* bytes are what otlp_check() accepted, rewritten by otlp_rewrite() where its
 *            report says so: well-formed, within the limits, and **canonical**, that is: singular
 *            fields at most once, oneofs with at most one member, no unknown fields, no groups,
 *            each number in its shortest form. All readers below take checked bytes only and
 *            therefore have no errors; on a broken promise they stop early and never read outside.
 * Ownership  everything returned borrows from the bytes given.
 * Threads    pure, no recursion on the input; only otlp_rewrite() allocates.
 * Source     opentelemetry-proto 1.11: trace.proto, logs.proto, common.proto, resource.proto. */
#ifndef SPINDLE_PROTO_OTLP_H
#define SPINDLE_PROTO_OTLP_H

#include "base/buffer.h"
#include "base/bytes.h"
#include "base/err.h"

enum signal { SIGNAL_TRACES, SIGNAL_LOGS, SIGNAL_COUNT };

const char *signal_name(enum signal signal); /* "traces", "logs" */

struct trace_id {
    uint8_t b[16];
};
struct span_id {
    uint8_t b[8];
};

static inline bool trace_id_is_zero(const struct trace_id *id)
{
    return (load_le64(id->b) | load_le64(id->b + 8)) == 0;
}
static inline bool span_id_is_zero(const struct span_id *id)
{
    return load_le64(id->b) == 0;
}

/* ---- The door: one bounded walk over strange bytes ---- */

struct otlp_limits {
    size_t depth_max;      /* nested values (AnyValue in AnyValue); 64 */
    size_t elements_max;   /* messages and values in one request; 8 M */
    size_t attributes_max; /* of a span, log record, event, link, scope, resource each; 1,024 */
    size_t events_max, links_max; /* of a span; 1,024 each */
    size_t key_bytes_max;         /* 1 KiB */
    size_t value_bytes_max;       /* of one string or bytes value; 1 MiB */
    uint64_t time_past_ns;        /* reject items older than this against `now`; 0: never */
    uint64_t time_future_ns;      /* likewise in the future; 0: never */
};
extern const struct otlp_limits otlp_limits_default;

/* Why an item is rejected, its neighbours kept. */
#define OTLP_REJECT_LIST(X)                                                                        \
    X(TRACE_ID_LENGTH, "trace_id_length", "trace_id must have 16 bytes")                           \
    X(TRACE_ID_ZERO, "trace_id_zero", "trace_id is all zeros")                                     \
    X(SPAN_ID_LENGTH, "span_id_length", "span_id must have 8 bytes")                               \
    X(SPAN_ID_ZERO, "span_id_zero", "span_id is all zeros")                                        \
    X(PARENT_ID_LENGTH, "parent_span_id_length", "parent_span_id must be empty or have 8 bytes")   \
    X(TOO_OLD, "too_old", "the span or record is older than the configured window")                \
    X(TOO_NEW, "too_new", "the span or record is later than the configured window")

/* What is changed in an item that is kept; changed spans carry it in their dropped counts. */
#define OTLP_WARN_LIST(X)                                                                          \
    X(UTF8, "invalid_utf8",                                                                        \
      "a string is not valid UTF-8; it is kept as sent and shown with U+FFFD")                     \
    X(ATTRIBUTES_CUT, "attributes_cut", "attributes over the limit were dropped")                  \
    X(EVENTS_CUT, "events_cut", "events over the limit were dropped")                              \
    X(LINKS_CUT, "links_cut", "links over the limit were dropped")                                 \
    X(KEY_CUT, "key_cut", "an attribute key over the limit was dropped with its value")            \
    X(VALUE_CUT, "value_cut", "a value over the limit was cut")                                    \
    X(LINK_ID, "link_id", "a link with a malformed ID was dropped")                                \
    X(LOG_ID, "log_id", "a log record's malformed trace or span ID was removed")                   \
    X(END_BEFORE_START, "end_before_start", "a span ends before it starts")

enum otlp_reject {
#define X(name, label, text) OTLP_REJECT_##name,
    OTLP_REJECT_LIST(X)
#undef X
        OTLP_REJECT_COUNT
};
enum otlp_warn {
#define X(name, label, text) OTLP_WARN_##name,
    OTLP_WARN_LIST(X)
#undef X
        OTLP_WARN_COUNT
};
const char *otlp_reject_label(enum otlp_reject r); /* the metric label */
const char *otlp_reject_text(enum otlp_reject r);
const char *otlp_warn_label(enum otlp_warn w);
const char *otlp_warn_text(enum otlp_warn w);

struct otlp_report {
    uint64_t items;          /* spans or log records in the request */
    uint64_t items_rejected; /* permanently bad ones among them */
    uint64_t rejected[OTLP_REJECT_COUNT];
    uint64_t warned[OTLP_WARN_COUNT];
    uint64_t first_rejected_item; /* its number, and why, when items_rejected > 0 */
    enum otlp_reject first_reject;
    uint64_t unknown_fields;
    uint64_t elements;
    /* Of the kept items' start times (log records: their time); UINT64_MAX and 0 when none. */
    uint64_t start_min_unix_ns, start_max_unix_ns;
    /* Something is rejected, cut, or not canonical: store otlp_rewrite()'s bytes. When false, the
     * bytes are canonical and rewriting would change nothing. */
    bool needs_rewrite;
};

/* Validate one ExportTraceServiceRequest or ExportLogsServiceRequest (same wire form as TracesData
 * and LogsData). One pass, no allocation, no recursion.
 *
 *   limits       depth_max at most 64
 *   now_unix_ns  for the time window; ignored when both windows are 0
 *   out_note     may be NULL
 *
 * A span is rejected for its IDs or its age, by its end; a log record for its age only. Links and
 * log records may lack IDs or have zeros. What a message over a limit holds must be well-formed all
 * the same, but is not warned of. Of a field sent twice, each occurrence is warned of, though the
 * last one counts.
 *
 * Errors  ERR_INVALID   malformed: note has the offset and what was expected
 *         ERR_TOO_DEEP, ERR_TOO_MANY  over depth_max or elements_max, 64 groups inside each other, or
 *                       more than 1,024 singular sub-messages sent in parts: note has the offset */
NODISCARD enum err otlp_check(enum signal signal, struct bytes strange,
                              const struct otlp_limits *limits, uint64_t now_unix_ns,
                              struct otlp_report *out_report, struct err_note *out_note);

/* Append the canonical form of what otlp_check() accepted with the same limits and time: rejected
 * items left out, limits applied, split sub-messages merged, last one of repeated singular fields,
 * unknown fields dropped. Rewriting canonical bytes gives the same bytes.
 *
 * What limits take away is added to the dropped counts of its owner: elements to the count of their
 * kind; a shortened value, and an entry dropped inside a value, one each to
 * dropped_attributes_count of the nearest message around it that has one.
 *
 * Errors  the buffer's; ERR_NOMEM; ERR_INVALID when otlp_check() had not accepted the bytes */
NODISCARD enum err otlp_rewrite(enum signal signal, struct bytes accepted,
                                const struct otlp_limits *limits, uint64_t now_unix_ns,
                                struct buffer *out);

/* ---- Readers over checked bytes ---- */

/* A message's fields, one after the other. */
struct otlp_field {
    uint32_t number;
    uint32_t wire_type; /* 0 varint, 1 fixed64, 2 length, 5 fixed32 */
    uint64_t value;     /* of wire types 0, 1, 5 */
    struct bytes bytes; /* of wire type 2 */
};
struct otlp_fields {
    const uint8_t *at, *end;
};
static inline struct otlp_fields otlp_fields(struct bytes message)
{
    /* An empty run may have no address, to which nothing may be added, not even 0. */
    const uint8_t *end = message.len == 0 ? message.data : message.data + message.len;
    return (struct otlp_fields){ message.data, end };
}
bool otlp_fields_next(struct otlp_fields *f, struct otlp_field *out);

/* The repeated message field `number` of a message, one element after the other. */
struct otlp_repeated {
    struct otlp_fields fields;
    uint32_t number;
};
struct otlp_repeated otlp_repeated(struct bytes message, uint32_t number);
bool otlp_repeated_next(struct otlp_repeated *r, struct bytes *out_element);

/* Field numbers that callers name. */
enum {
    OTLP_DATA_RESOURCE_GROUPS = 1, /* TracesData.resource_spans, LogsData.resource_logs */
    OTLP_GROUP_SCOPE_GROUPS = 2,   /* ResourceSpans.scope_spans, ResourceLogs.scope_logs */
    OTLP_SCOPE_ITEMS = 2,          /* ScopeSpans.spans, ScopeLogs.log_records */
    OTLP_SPAN_ATTRIBUTES = 9,
    OTLP_SPAN_EVENTS = 11,
    OTLP_SPAN_LINKS = 13,
    OTLP_EVENT_ATTRIBUTES = 3,
    OTLP_LINK_ATTRIBUTES = 4,
    OTLP_LOG_ATTRIBUTES = 6,
    OTLP_RESOURCE_ATTRIBUTES = 1,
    OTLP_SCOPE_ATTRIBUTES = 3,
    OTLP_VALUES = 1 /* ArrayValue.values, KeyValueList.values */
};

/* ResourceSpans or ResourceLogs. `resource` and `schema_url` are found wherever they stand. */
struct otlp_resource_group {
    struct bytes message;
    struct bytes resource; /* the Resource message; empty when absent or empty */
    bool has_resource;
    struct bytes schema_url;
};
/* ScopeSpans or ScopeLogs. */
struct otlp_scope_group {
    struct bytes message;
    struct bytes scope; /* the InstrumentationScope message */
    bool has_scope;
    struct bytes schema_url;
};
/* Every item of a request, with the groups around it:
 *
 *     struct otlp_items it = otlp_items(body);
 *     while (otlp_items_next(&it))
 *         use(it.resource, it.scope, it.item);
 *
 * Groups without items are passed over. */
struct otlp_items {
    struct otlp_repeated resource_groups, scope_groups, items;
    struct otlp_resource_group resource;
    struct otlp_scope_group scope;
    struct bytes item;                  /* a Span or LogRecord message */
    bool is_new_resource, is_new_scope; /* this item is the first under it */
};
struct otlp_items otlp_items(struct bytes body);
bool otlp_items_next(struct otlp_items *it);

struct otlp_status {
    bool is_present;
    uint32_t code; /* 0 unset, 1 ok, 2 error, or a number we do not know */
    struct bytes message;
};

struct otlp_span {
    struct trace_id trace_id;
    struct span_id span_id;
    struct span_id parent_span_id; /* zero: root */
    bool has_parent;
    struct bytes trace_state, name;
    uint32_t kind; /* 0..5, or a number we do not know */
    uint64_t start_unix_ns, end_unix_ns;
    uint32_t flags;
    struct otlp_status status;
    uint32_t dropped_attributes_count, dropped_events_count, dropped_links_count;
    uint32_t attributes_count, events_count, links_count;
    struct bytes message; /* for otlp_repeated(message, OTLP_SPAN_...) */
};
void otlp_span_read(struct bytes message, struct otlp_span *out);
/* end - start, 0 when the span ends before it starts */
static inline uint64_t otlp_span_duration_ns(const struct otlp_span *s)
{
    return s->end_unix_ns > s->start_unix_ns ? s->end_unix_ns - s->start_unix_ns : 0;
}

struct otlp_event {
    uint64_t time_unix_ns;
    struct bytes name;
    uint32_t dropped_attributes_count;
    struct bytes message;
};
/* A Span.Event message. */
void otlp_event_read(struct bytes message, struct otlp_event *out);

struct otlp_link {
    struct trace_id trace_id;
    struct span_id span_id;
    struct bytes trace_state;
    uint32_t flags;
    uint32_t dropped_attributes_count;
    struct bytes message;
};
/* A Span.Link message. */
void otlp_link_read(struct bytes message, struct otlp_link *out);

struct otlp_log {
    uint64_t time_unix_ns, observed_unix_ns;
    uint32_t severity_number;
    struct bytes severity_text;
    bool has_body;
    struct bytes body; /* an AnyValue message */
    uint32_t flags;
    uint32_t dropped_attributes_count;
    bool has_trace_id, has_span_id;
    struct trace_id trace_id; /* zero when absent */
    struct span_id span_id;
    struct bytes event_name;
    uint32_t attributes_count;
    struct bytes message;
};
void otlp_log_read(struct bytes message, struct otlp_log *out);
/* The time a record is ordered and searched by: time, or where that is 0 the observed time. */
static inline uint64_t otlp_log_time(const struct otlp_log *l)
{
    return l->time_unix_ns != 0 ? l->time_unix_ns : l->observed_unix_ns;
}

struct otlp_scope {
    struct bytes name, version;
    uint32_t dropped_attributes_count;
    struct bytes message;
};
/* An InstrumentationScope message; empty bytes give an empty scope. */
void otlp_scope_read(struct bytes message, struct otlp_scope *out);

/* KeyValue: key and the AnyValue message. */
struct otlp_key_value {
    struct bytes key;
    bool has_value; /* an absent value differs from an empty AnyValue */
    struct bytes value;
};
void otlp_key_value_read(struct bytes message, struct otlp_key_value *out);

enum otlp_value_type {
    OTLP_EMPTY, /* an AnyValue with no member set */
    OTLP_STRING,
    OTLP_BOOL,
    OTLP_INT,
    OTLP_DOUBLE,
    OTLP_ARRAY,  /* bytes: an ArrayValue message */
    OTLP_KVLIST, /* bytes: a KeyValueList message */
    OTLP_BYTES
}; /* the numbers are those of AnyValue's members */

struct otlp_value {
    enum otlp_value_type type;
    bool boolean;
    int64_t integer;
    double number;
    struct bytes bytes; /* string, bytes, array, kvlist */
};
void otlp_value_read(struct bytes any_value, struct otlp_value *out);

/* First attribute with this key in the repeated KeyValue field `number` of `message`. */
bool otlp_attribute_find(struct bytes message, uint32_t number, struct bytes key,
                         struct otlp_value *out);
/* The resource's service.name when it is a string, else empty. */
struct bytes otlp_service_name(struct bytes resource);

/* The text form of a value (facts/otlp.md §19: what tags, labels and CSV carry), appended. */
void otlp_value_text(struct buffer *out, const struct otlp_value *value);

#endif
