/* SPDX-License-Identifier: Apache-2.0 */
/* The tables' columns, named as OTLP names them, and their values, read where a row lies when SQLite asks.
 *
 * What OTLP leaves out is NULL, but for numbers and names of spans and events, which are 0 or empty. Times are Unix
 * nanoseconds; SQLite's integers end in 2262, and later times are shown as their largest. */
#include "sql/table.h"

#include "base/hash.h"
#include "base/json_writer.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>

enum value {
    VALUE_TRACE_ID,
    VALUE_SPAN_ID,
    VALUE_PARENT_SPAN_ID,
    VALUE_TRACE_STATE,
    VALUE_FLAGS,
    VALUE_NAME,
    VALUE_KIND,
    VALUE_START_TIME,
    VALUE_END_TIME,
    VALUE_DURATION_NS,
    VALUE_STATUS_CODE,
    VALUE_STATUS_MESSAGE,
    VALUE_ATTRIBUTES,
    VALUE_DROPPED_ATTRIBUTES,
    VALUE_DROPPED_EVENTS,
    VALUE_DROPPED_LINKS,
    VALUE_TIME,
    VALUE_OBSERVED_TIME,
    VALUE_SEVERITY_NUMBER,
    VALUE_SEVERITY_TEXT,
    VALUE_BODY,
    VALUE_EVENT_NAME,
    VALUE_SERVICE_NAME,
    VALUE_RESOURCE_ID,
    VALUE_RESOURCE_ATTRIBUTES,
    VALUE_RESOURCE_DROPPED_ATTRIBUTES,
    VALUE_RESOURCE_SCHEMA_URL,
    VALUE_SCOPE_NAME,
    VALUE_SCOPE_VERSION,
    VALUE_SCOPE_ATTRIBUTES,
    VALUE_SCOPE_DROPPED_ATTRIBUTES,
    VALUE_SCOPE_SCHEMA_URL,
    VALUE_CHILD_NUMBER,
    VALUE_CHILD_TIME,
    VALUE_CHILD_NAME,
    VALUE_CHILD_TRACE_ID,
    VALUE_CHILD_SPAN_ID,
    VALUE_CHILD_TRACE_STATE,
    VALUE_CHILD_FLAGS,
    VALUE_CHILD_ATTRIBUTES,
    VALUE_CHILD_DROPPED_ATTRIBUTES
};

/* ---- The tables ---- */

/* clang-format off: one row a column */
#define RESOURCE_COLUMNS                                                                             \
    { "resource_id", "TEXT", ROW_GROUP, PUSH_NONE, 0, VALUE_RESOURCE_ID },                           \
        { "resource_attributes", "TEXT", ROW_GROUP, PUSH_NONE, 0, VALUE_RESOURCE_ATTRIBUTES },       \
        { "resource_dropped_attributes_count", "INTEGER", ROW_GROUP, PUSH_NONE, 0,                   \
          VALUE_RESOURCE_DROPPED_ATTRIBUTES },                                                       \
        { "resource_schema_url", "TEXT", ROW_GROUP, PUSH_NONE, 0, VALUE_RESOURCE_SCHEMA_URL },       \
        { "scope_name", "TEXT", ROW_GROUP, PUSH_TEXT, EXPR_INTRINSIC_SCOPE_NAME, VALUE_SCOPE_NAME }, \
        { "scope_version",    "TEXT", ROW_GROUP, PUSH_TEXT, EXPR_INTRINSIC_SCOPE_VERSION,            \
          VALUE_SCOPE_VERSION },                                                                     \
        { "scope_attributes", "TEXT", ROW_GROUP, PUSH_NONE, 0, VALUE_SCOPE_ATTRIBUTES },             \
        { "scope_dropped_attributes_count", "INTEGER", ROW_GROUP, PUSH_NONE, 0,                      \
          VALUE_SCOPE_DROPPED_ATTRIBUTES },                                                          \
    {                                                                                                \
        "scope_schema_url", "TEXT", ROW_GROUP, PUSH_NONE, 0, VALUE_SCOPE_SCHEMA_URL                  \
    }

static const struct column span_columns[] = {
    { "trace_id", "TEXT", ROW_IDS, PUSH_TRACE_ID, 0, VALUE_TRACE_ID },
    { "span_id", "TEXT", ROW_IDS, PUSH_TEXT, EXPR_INTRINSIC_SPAN_ID, VALUE_SPAN_ID },
    { "parent_span_id", "TEXT", ROW_IDS, PUSH_PARENT, EXPR_INTRINSIC_SPAN_PARENT_ID,
      VALUE_PARENT_SPAN_ID },
    { "trace_state", "TEXT", ROW_REST, PUSH_NONE, 0, VALUE_TRACE_STATE },
    { "flags", "INTEGER", ROW_REST, PUSH_NONE, 0, VALUE_FLAGS },
    { "service_name", "TEXT", ROW_GROUP, PUSH_SERVICE, 0, VALUE_SERVICE_NAME },
    { "name", "TEXT", ROW_NAME, PUSH_TEXT, EXPR_INTRINSIC_SPAN_NAME, VALUE_NAME },
    { "kind", "TEXT", ROW_KIND, PUSH_KIND, EXPR_INTRINSIC_SPAN_KIND, VALUE_KIND },
    { "start_time", "INTEGER", ROW_TIMES, PUSH_TIME, 0, VALUE_START_TIME },
    { "end_time", "INTEGER", ROW_TIMES, PUSH_NONE, 0, VALUE_END_TIME },
    { "duration_ns", "INTEGER", ROW_TIMES, PUSH_DURATION, EXPR_INTRINSIC_SPAN_DURATION,
      VALUE_DURATION_NS },
    { "status_code", "TEXT", ROW_STATUS, PUSH_STATUS, EXPR_INTRINSIC_SPAN_STATUS,
      VALUE_STATUS_CODE },
    { "status_message", "TEXT", ROW_STATUS, PUSH_TEXT, EXPR_INTRINSIC_SPAN_STATUS_MESSAGE,
      VALUE_STATUS_MESSAGE },
    { "attributes", "TEXT", ROW_ATTRIBUTES, PUSH_NONE, 0, VALUE_ATTRIBUTES },
    { "dropped_attributes_count", "INTEGER", ROW_REST, PUSH_NONE, 0, VALUE_DROPPED_ATTRIBUTES },
    { "dropped_events_count", "INTEGER", ROW_REST, PUSH_NONE, 0, VALUE_DROPPED_EVENTS },
    { "dropped_links_count", "INTEGER", ROW_REST, PUSH_NONE, 0, VALUE_DROPPED_LINKS },
    RESOURCE_COLUMNS,
};

static const struct column log_columns[] = {
    { "time", "INTEGER", ROW_TIMES, PUSH_TIME, 0, VALUE_TIME },
    { "observed_time", "INTEGER", ROW_TIMES, PUSH_NONE, 0, VALUE_OBSERVED_TIME },
    { "severity_number", "INTEGER", ROW_KIND, PUSH_SEVERITY, EXPR_INTRINSIC_LOG_SEVERITY,
      VALUE_SEVERITY_NUMBER },
    { "severity_text", "TEXT", ROW_REST, PUSH_TEXT, EXPR_INTRINSIC_LOG_SEVERITY_TEXT,
      VALUE_SEVERITY_TEXT },
    { "service_name", "TEXT", ROW_GROUP, PUSH_SERVICE, 0, VALUE_SERVICE_NAME },
    { "body", "TEXT", ROW_BODY, PUSH_CONTAINS, EXPR_INTRINSIC_LOG_BODY, VALUE_BODY },
    { "event_name", "TEXT", ROW_NAME, PUSH_TEXT, EXPR_INTRINSIC_LOG_EVENT_NAME, VALUE_EVENT_NAME },
    { "attributes", "TEXT", ROW_ATTRIBUTES, PUSH_NONE, 0, VALUE_ATTRIBUTES },
    { "dropped_attributes_count", "INTEGER", ROW_REST, PUSH_NONE, 0, VALUE_DROPPED_ATTRIBUTES },
    { "trace_id", "TEXT", ROW_IDS, PUSH_TRACE_ID, 0, VALUE_TRACE_ID },
    { "span_id", "TEXT", ROW_IDS, PUSH_TEXT, EXPR_INTRINSIC_SPAN_ID, VALUE_SPAN_ID },
    { "flags", "INTEGER", ROW_REST, PUSH_NONE, 0, VALUE_FLAGS },
    RESOURCE_COLUMNS,
};

/* Whose span it is, of what is in a span. */
#define SPAN_OF_CHILD_COLUMNS                                                                      \
    { "trace_id", "TEXT", ROW_IDS, PUSH_TRACE_ID, 0, VALUE_TRACE_ID },                             \
        { "span_id", "TEXT", ROW_IDS, PUSH_TEXT, EXPR_INTRINSIC_SPAN_ID, VALUE_SPAN_ID },          \
        { "service_name", "TEXT", ROW_GROUP, PUSH_SERVICE, 0, VALUE_SERVICE_NAME },                \
        { "span_name", "TEXT", ROW_NAME, PUSH_TEXT, EXPR_INTRINSIC_SPAN_NAME, VALUE_NAME },        \
    {                                                                                              \
        "span_start_time", "INTEGER", ROW_TIMES, PUSH_TIME, 0, VALUE_START_TIME                    \
    }

static const struct column event_columns[] = {
    SPAN_OF_CHILD_COLUMNS,
    { "number", "INTEGER", ROW_EVENTS, PUSH_NONE, 0, VALUE_CHILD_NUMBER },
    { "time", "INTEGER", ROW_EVENTS, PUSH_NONE, 0, VALUE_CHILD_TIME },
    { "name", "TEXT", ROW_EVENTS, PUSH_TEXT, EXPR_INTRINSIC_EVENT_NAME, VALUE_CHILD_NAME },
    { "attributes", "TEXT", ROW_EVENTS, PUSH_NONE, 0, VALUE_CHILD_ATTRIBUTES },
    { "dropped_attributes_count", "INTEGER", ROW_EVENTS, PUSH_NONE, 0,
      VALUE_CHILD_DROPPED_ATTRIBUTES },
};

static const struct column link_columns[] = {
    SPAN_OF_CHILD_COLUMNS,
    { "number", "INTEGER", ROW_LINKS, PUSH_NONE, 0, VALUE_CHILD_NUMBER },
    { "linked_trace_id", "TEXT", ROW_LINKS, PUSH_TEXT, EXPR_INTRINSIC_LINK_TRACE_ID,
      VALUE_CHILD_TRACE_ID },
    { "linked_span_id", "TEXT", ROW_LINKS, PUSH_TEXT, EXPR_INTRINSIC_LINK_SPAN_ID,
      VALUE_CHILD_SPAN_ID },
    { "trace_state", "TEXT", ROW_LINKS, PUSH_NONE, 0, VALUE_CHILD_TRACE_STATE },
    { "flags", "INTEGER", ROW_LINKS, PUSH_NONE, 0, VALUE_CHILD_FLAGS },
    { "attributes", "TEXT", ROW_LINKS, PUSH_NONE, 0, VALUE_CHILD_ATTRIBUTES },
    { "dropped_attributes_count", "INTEGER", ROW_LINKS, PUSH_NONE, 0,
      VALUE_CHILD_DROPPED_ATTRIBUTES },
};

static const struct column resource_columns[] = {
    { "resource_id", "TEXT", 0, PUSH_NONE, 0, VALUE_RESOURCE_ID },
    { "service_name", "TEXT", 0, PUSH_NONE, 0, VALUE_SERVICE_NAME },
    { "attributes", "TEXT", 0, PUSH_NONE, 0, VALUE_RESOURCE_ATTRIBUTES },
    { "dropped_attributes_count", "INTEGER", 0, PUSH_NONE, 0, VALUE_RESOURCE_DROPPED_ATTRIBUTES },
    { "schema_url", "TEXT", 0, PUSH_NONE, 0, VALUE_RESOURCE_SCHEMA_URL },
};

#define COLUMNS(list) list, sizeof list / sizeof list[0]
const struct table sql_tables[] = {
    { "spans", ROWS_SPANS, SIGNAL_TRACES, COLUMNS(span_columns) },
    { "logs", ROWS_LOGS, SIGNAL_LOGS, COLUMNS(log_columns) },
    { "span_events", ROWS_EVENTS, SIGNAL_TRACES, COLUMNS(event_columns) },
    { "span_links", ROWS_LINKS, SIGNAL_TRACES, COLUMNS(link_columns) },
    { "resources", ROWS_RESOURCES, SIGNAL_TRACES, COLUMNS(resource_columns) },
};
/* clang-format on */
const size_t sql_tables_count = sizeof sql_tables / sizeof sql_tables[0];

/* ---- The row at hand ---- */

void row_init(struct row *r, const struct table *table, struct budget *budget)
{
    memset(r, 0, sizeof *r);
    r->table = table;
    buffer_init_charged(&r->text, 4 * SQL_VALUE_MAX, budget);
}

void row_deinit(struct row *r)
{
    buffer_deinit(&r->text);
}

static struct otlp_repeated children_of(const struct row *r)
{
    return otlp_repeated(r->items.item,
                         r->table->rows == ROWS_EVENTS ? OTLP_SPAN_EVENTS : OTLP_SPAN_LINKS);
}

void row_begin(struct row *r, const struct row_batch *batch)
{
    r->items = otlp_items(batch->data);
    r->next_id = batch->ids;
    r->children = otlp_repeated((struct bytes){ 0 }, OTLP_SPAN_EVENTS);
    r->is_group_read = false;
}

static bool next_item(struct row *r)
{
    if (!otlp_items_next(&r->items))
        return false;
    r->is_item_read = false;
    r->id = r->next_id++;
    if (r->items.is_new_scope)
        r->is_group_read = false;
    return true;
}

bool row_next(struct row *r)
{
    if (r->table->rows != ROWS_EVENTS && r->table->rows != ROWS_LINKS)
        return next_item(r);
    while (!otlp_repeated_next(&r->children, &r->child)) {
        if (!next_item(r))
            return false;
        r->children = children_of(r);
        r->child_number = 0;
    }
    r->child_number++;
    return true;
}

/* SQLite takes rows of one number for one row, where it looks for `a OR b` twice. A span has at most 1,024 events
 * or links. */
#define CHILD_BITS 11
static_assert(ROW_ID_BITS + CHILD_BITS <= 63, "a row's number is a positive integer");

int64_t row_id(const struct row *r)
{
    return (int64_t)(*r->id << CHILD_BITS | (r->child_number & ((1u << CHILD_BITS) - 1)));
}

static const struct otlp_span *span_of(struct row *r)
{
    if (!r->is_item_read)
        otlp_span_read(r->items.item, &r->span);
    r->is_item_read = true;
    return &r->span;
}

static const struct otlp_log *log_of(struct row *r)
{
    if (!r->is_item_read)
        otlp_log_read(r->items.item, &r->log);
    r->is_item_read = true;
    return &r->log;
}

static struct bytes resource_of(const struct row *r)
{
    return r->table->rows == ROWS_RESOURCES ? r->resource : r->items.resource.resource;
}

static void group_read(struct row *r)
{
    if (r->is_group_read)
        return;
    r->service = otlp_service_name(resource_of(r));
    otlp_scope_read(r->items.scope.scope, &r->scope);
    r->is_group_read = true;
}

/* ---- Values ---- */

static void give_text(sqlite3_context *out, struct bytes text)
{
    sqlite3_result_text64(out, text.len == 0 ? "" : (const char *)text.data, text.len,
                          SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void give_optional(sqlite3_context *out, struct bytes text)
{
    if (text.len > 0)
        give_text(out, text);
}

static void give_id(sqlite3_context *out, bool is_there, const uint8_t *id, size_t len)
{
    char hex[32];
    if (!is_there)
        return;
    text_hex(hex, bytes_of(id, len));
    sqlite3_result_text(out, hex, (int)(2 * len), SQLITE_TRANSIENT);
}

static void give_u64(sqlite3_context *out, uint64_t v)
{
    sqlite3_result_int64(out, v > INT64_MAX ? INT64_MAX : (int64_t)v);
}

/* What was written to r->text. */
static void give_written(struct row *r, sqlite3_context *out)
{
    enum err e = buffer_error(&r->text);
    if (e == ERR_OK) {
        give_text(out, buffer_bytes(&r->text));
    } else if (e == ERR_TOO_LARGE) {
        sqlite3_result_error_toobig(out);
    } else {
        r->failure = e;
        sqlite3_result_error_nomem(out);
    }
}

/* A word, or the number where there is none for it. */
static void give_word(sqlite3_context *out, uint32_t number, const char *const *words,
                      uint32_t count)
{
    char text[16];
    if (number < count) {
        sqlite3_result_text(out, words[number], -1, SQLITE_STATIC);
        return;
    }
    int len = snprintf(text, sizeof text, "%u", (unsigned)number);
    sqlite3_result_text(out, text, len, SQLITE_TRANSIENT);
}

static void write_json(struct json_writer *j, const struct otlp_value *v)
{
    switch (v->type) {
    case OTLP_EMPTY:
        json_null(j);
        break;
    case OTLP_STRING:
        json_string(j, v->bytes);
        break;
    case OTLP_BOOL:
        json_bool(j, v->boolean);
        break;
    case OTLP_INT:
        json_i64(j, v->integer);
        break;
    case OTLP_DOUBLE:
        json_double(j, v->number);
        break;
    case OTLP_BYTES:
        json_base64(j, v->bytes);
        break;
    case OTLP_ARRAY:
    case OTLP_KVLIST: { /* whose text is JSON */
        struct buffer text;
        buffer_init_charged(&text, j->out->limit_bytes, j->out->budget);
        otlp_value_text(&text, v);
        if (buffer_error(&text) == ERR_OK)
            json_raw(j, buffer_bytes(&text));
        else if (j->out->error == ERR_OK)
            j->out->error = buffer_error(&text);
        buffer_deinit(&text);
        break;
    }
    }
}

static void give_attributes(struct row *r, struct bytes message, uint32_t number,
                            sqlite3_context *out)
{
    struct json_writer j;
    struct otlp_repeated all = otlp_repeated(message, number);
    struct bytes one;
    buffer_reset(&r->text);
    json_init(&j, &r->text);
    json_object_begin(&j);
    while (otlp_repeated_next(&all, &one)) {
        struct otlp_key_value kv;
        struct otlp_value value = { .type = OTLP_EMPTY };
        otlp_key_value_read(one, &kv);
        if (kv.has_value)
            otlp_value_read(kv.value, &value);
        json_key_bytes(&j, kv.key);
        write_json(&j, &value);
    }
    json_object_end(&j);
    give_written(r, out);
}

/* Text as it is; of other types the text that tags have, for lists JSON. */
static void give_body(struct row *r, sqlite3_context *out)
{
    const struct otlp_log *l = log_of(r);
    struct otlp_value v;
    if (!l->has_body)
        return;
    otlp_value_read(l->body, &v);
    if (v.type == OTLP_EMPTY)
        return;
    if (v.type == OTLP_STRING) {
        give_text(out, v.bytes);
        return;
    }
    buffer_reset(&r->text);
    otlp_value_text(&r->text, &v);
    give_written(r, out);
}

/* By what it consists of: the same in every table, today and after a restart. */
static void give_resource_id(const struct row *r, sqlite3_context *out)
{
    struct bytes url =
        r->table->rows == ROWS_RESOURCES ? r->schema_url : r->items.resource.schema_url;
    uint8_t id[8];
    store_be64(id, hash_bytes_seeded(url, hash_bytes(resource_of(r))));
    give_id(out, true, id, sizeof id);
}

static uint32_t resource_dropped(struct bytes resource)
{
    struct otlp_fields fields = otlp_fields(resource);
    struct otlp_field f;
    while (otlp_fields_next(&fields, &f)) {
        if (f.number == 2 && f.wire_type == 0)
            return (uint32_t)f.value;
    }
    return 0;
}

static void group_value(struct row *r, enum value what, sqlite3_context *out)
{
    group_read(r);
    switch (what) {
    case VALUE_SERVICE_NAME:
        give_optional(out, r->service);
        break;
    case VALUE_RESOURCE_ID:
        give_resource_id(r, out);
        break;
    case VALUE_RESOURCE_ATTRIBUTES:
        give_attributes(r, resource_of(r), OTLP_RESOURCE_ATTRIBUTES, out);
        break;
    case VALUE_RESOURCE_DROPPED_ATTRIBUTES:
        give_u64(out, resource_dropped(resource_of(r)));
        break;
    case VALUE_RESOURCE_SCHEMA_URL:
        give_optional(out, r->table->rows == ROWS_RESOURCES ? r->schema_url
                                                            : r->items.resource.schema_url);
        break;
    case VALUE_SCOPE_NAME:
        give_optional(out, r->scope.name);
        break;
    case VALUE_SCOPE_VERSION:
        give_optional(out, r->scope.version);
        break;
    case VALUE_SCOPE_ATTRIBUTES:
        give_attributes(r, r->items.scope.scope, OTLP_SCOPE_ATTRIBUTES, out);
        break;
    case VALUE_SCOPE_DROPPED_ATTRIBUTES:
        give_u64(out, r->scope.dropped_attributes_count);
        break;
    case VALUE_SCOPE_SCHEMA_URL:
        give_optional(out, r->items.scope.schema_url);
        break;
    default:
        break;
    }
}

static void log_value(struct row *r, enum value what, sqlite3_context *out)
{
    const struct otlp_log *l = log_of(r);
    switch (what) {
    case VALUE_TRACE_ID:
        give_id(out, l->has_trace_id, l->trace_id.b, sizeof l->trace_id.b);
        break;
    case VALUE_SPAN_ID:
        give_id(out, l->has_span_id, l->span_id.b, sizeof l->span_id.b);
        break;
    case VALUE_FLAGS:
        give_u64(out, l->flags);
        break;
    case VALUE_TIME:
        give_u64(out, otlp_log_time(l));
        break;
    case VALUE_OBSERVED_TIME:
        give_u64(out, l->observed_unix_ns);
        break;
    case VALUE_SEVERITY_NUMBER:
        sqlite3_result_int64(out, (int32_t)l->severity_number);
        break;
    case VALUE_SEVERITY_TEXT:
        give_optional(out, l->severity_text);
        break;
    case VALUE_BODY:
        give_body(r, out);
        break;
    case VALUE_EVENT_NAME:
        give_optional(out, l->event_name);
        break;
    case VALUE_ATTRIBUTES:
        give_attributes(r, l->message, OTLP_LOG_ATTRIBUTES, out);
        break;
    case VALUE_DROPPED_ATTRIBUTES:
        give_u64(out, l->dropped_attributes_count);
        break;
    default:
        group_value(r, what, out);
        break;
    }
}

static void event_value(struct row *r, enum value what, sqlite3_context *out)
{
    struct otlp_event e;
    otlp_event_read(r->child, &e);
    if (what == VALUE_CHILD_TIME)
        give_u64(out, e.time_unix_ns);
    else if (what == VALUE_CHILD_NAME)
        give_text(out, e.name);
    else if (what == VALUE_CHILD_ATTRIBUTES)
        give_attributes(r, e.message, OTLP_EVENT_ATTRIBUTES, out);
    else
        give_u64(out, e.dropped_attributes_count);
}

static void link_value(struct row *r, enum value what, sqlite3_context *out)
{
    struct otlp_link l;
    otlp_link_read(r->child, &l);
    switch (what) {
    case VALUE_CHILD_TRACE_ID:
        give_id(out, true, l.trace_id.b, sizeof l.trace_id.b);
        break;
    case VALUE_CHILD_SPAN_ID:
        give_id(out, true, l.span_id.b, sizeof l.span_id.b);
        break;
    case VALUE_CHILD_TRACE_STATE:
        give_optional(out, l.trace_state);
        break;
    case VALUE_CHILD_FLAGS:
        give_u64(out, l.flags);
        break;
    case VALUE_CHILD_ATTRIBUTES:
        give_attributes(r, l.message, OTLP_LINK_ATTRIBUTES, out);
        break;
    default:
        give_u64(out, l.dropped_attributes_count);
        break;
    }
}

static void child_value(struct row *r, enum value what, sqlite3_context *out)
{
    if (what == VALUE_CHILD_NUMBER)
        sqlite3_result_int64(out, r->child_number);
    else if (r->table->rows == ROWS_EVENTS)
        event_value(r, what, out);
    else
        link_value(r, what, out);
}

static void span_value(struct row *r, enum value what, sqlite3_context *out)
{
    const struct otlp_span *s = span_of(r);
    switch (what) {
    case VALUE_TRACE_ID:
        give_id(out, true, s->trace_id.b, sizeof s->trace_id.b);
        break;
    case VALUE_SPAN_ID:
        give_id(out, true, s->span_id.b, sizeof s->span_id.b);
        break;
    case VALUE_PARENT_SPAN_ID:
        give_id(out, s->has_parent, s->parent_span_id.b, sizeof s->parent_span_id.b);
        break;
    case VALUE_TRACE_STATE:
        give_optional(out, s->trace_state);
        break;
    case VALUE_FLAGS:
        give_u64(out, s->flags);
        break;
    case VALUE_NAME:
        give_text(out, s->name);
        break;
    case VALUE_KIND:
        give_word(out, s->kind, sql_kind_words, SQL_KIND_COUNT);
        break;
    case VALUE_START_TIME:
        give_u64(out, s->start_unix_ns);
        break;
    case VALUE_END_TIME:
        give_u64(out, s->end_unix_ns);
        break;
    case VALUE_DURATION_NS:
        give_u64(out, otlp_span_duration_ns(s));
        break;
    case VALUE_STATUS_CODE:
        give_word(out, s->status.code, sql_status_words, SQL_STATUS_COUNT);
        break;
    case VALUE_STATUS_MESSAGE:
        give_optional(out, s->status.message);
        break;
    case VALUE_ATTRIBUTES:
        give_attributes(r, s->message, OTLP_SPAN_ATTRIBUTES, out);
        break;
    case VALUE_DROPPED_ATTRIBUTES:
        give_u64(out, s->dropped_attributes_count);
        break;
    case VALUE_DROPPED_EVENTS:
        give_u64(out, s->dropped_events_count);
        break;
    case VALUE_DROPPED_LINKS:
        give_u64(out, s->dropped_links_count);
        break;
    default:
        group_value(r, what, out);
        break;
    }
}

const char *const sql_kind_words[SQL_KIND_COUNT] = { "unspecified", "internal", "server",
                                                     "client",      "producer", "consumer" };
const char *const sql_status_words[SQL_STATUS_COUNT] = { "unset", "ok", "error" };

void row_value(struct row *r, const struct column *c, sqlite3_context *out)
{
    enum value what = (enum value)c->value;
    if (what >= VALUE_CHILD_NUMBER)
        child_value(r, what, out);
    else if (r->table->rows == ROWS_RESOURCES)
        group_value(r, what, out);
    else if (r->table->rows == ROWS_LOGS)
        log_value(r, what, out);
    else
        span_value(r, what, out);
}
