/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/otlp_row.h"

#include "base/text.h"
#include "proto/pb_writer.h"

#include <assert.h>

/* ---- Groups ---- */

struct otlp_group otlp_group_of(const struct otlp_items *at)
{
    return (struct otlp_group){
        .resource = at->resource.resource,
        .resource_schema_url = at->resource.schema_url,
        .scope = at->scope.scope,
        .scope_schema_url = at->scope.schema_url,
        .has_resource = at->resource.has_resource,
        .has_scope = at->scope.has_scope,
    };
}

void otlp_group_writer_init(struct otlp_group_writer *w, struct buffer *out)
{
    *w = (struct otlp_group_writer){ .out = out };
}

void otlp_group_writer_end(struct otlp_group_writer *w)
{
    if (!w->is_open)
        return;
    if (w->group.scope_schema_url.len > 0)
        pb_bytes(w->out, 3, w->group.scope_schema_url);
    pb_end(w->out, w->scope_mark);
    if (w->group.resource_schema_url.len > 0)
        pb_bytes(w->out, 3, w->group.resource_schema_url);
    pb_end(w->out, w->resource_mark);
    w->is_open = false;
}

void otlp_group_writer_put(struct otlp_group_writer *w, const struct otlp_group *group,
                           bool is_new_group, struct bytes item)
{
    if (is_new_group)
        otlp_group_writer_end(w);
    if (!w->is_open) {
        w->group = *group;
        w->is_open = true;
        w->resource_mark = pb_begin(w->out, OTLP_DATA_RESOURCE_GROUPS);
        if (group->has_resource)
            pb_bytes(w->out, 1, group->resource);
        w->scope_mark = pb_begin(w->out, OTLP_GROUP_SCOPE_GROUPS);
        if (group->has_scope)
            pb_bytes(w->out, 1, group->scope);
    }
    pb_bytes(w->out, OTLP_SCOPE_ITEMS, item);
}

/* ---- Values ---- */

struct emission {
    expr_emit_fn *emit;
    void *context;
};

static bool emit_string(const struct emission *e, struct bytes text)
{
    return e->emit(e->context, &(struct expr_value){ .type = EXPR_STRING, .bytes = text });
}

static bool emit_hex(const struct emission *e, const uint8_t *id, size_t len)
{
    char hex[32];
    assert(2 * len <= sizeof hex);
    text_hex(hex, bytes_of(id, len));
    return emit_string(e, bytes_of(hex, 2 * len));
}

static bool emit_number(const struct emission *e, enum expr_type type, uint64_t n)
{
    int64_t v = n > INT64_MAX ? INT64_MAX : (int64_t)n;
    return e->emit(e->context, &(struct expr_value){ .type = type, .integer = v });
}

/* The value of the first attribute with this key. Returns whether more is wanted. */
static bool emit_attribute(const struct emission *e, struct bytes message, uint32_t number,
                           struct bytes key, bool *out_found)
{
    struct otlp_value v;
    *out_found = message.len > 0 && otlp_attribute_find(message, number, key, &v);
    if (!*out_found)
        return true;
    struct expr_value value = expr_value_of(&v);
    return e->emit(e->context, &value);
}

/* Of every event or link. */
static bool emit_each(const struct emission *e, struct bytes item, uint32_t number,
                      uint32_t attributes, struct bytes key)
{
    struct otlp_repeated all = otlp_repeated(item, number);
    struct bytes one;
    bool found;
    while (otlp_repeated_next(&all, &one)) {
        if (!emit_attribute(e, one, attributes, key, &found))
            return false;
    }
    return true;
}

static uint32_t item_attributes(const struct otlp_row *r)
{
    return r->signal == SIGNAL_TRACES ? OTLP_SPAN_ATTRIBUTES : OTLP_LOG_ATTRIBUTES;
}

static bool emit_everywhere(const struct otlp_row *r, struct bytes key, const struct emission *e)
{
    bool found;
    if (!emit_attribute(e, r->item, item_attributes(r), key, &found) ||
        !emit_attribute(e, r->resource, OTLP_RESOURCE_ATTRIBUTES, key, &found))
        return false;
    if (r->signal == SIGNAL_TRACES &&
        (!emit_each(e, r->item, OTLP_SPAN_EVENTS, OTLP_EVENT_ATTRIBUTES, key) ||
         !emit_each(e, r->item, OTLP_SPAN_LINKS, OTLP_LINK_ATTRIBUTES, key)))
        return false;
    return emit_attribute(e, r->scope, OTLP_SCOPE_ATTRIBUTES, key, &found);
}

static void emit_field(const struct otlp_row *r, const struct expr *f, const struct emission *e)
{
    bool found;
    switch (f->scope) {
    case EXPR_SCOPE_ANY:
        (void)emit_attribute(e, r->item, item_attributes(r), f->key, &found);
        if (!found)
            (void)emit_attribute(e, r->resource, OTLP_RESOURCE_ATTRIBUTES, f->key, &found);
        break;
    case EXPR_SCOPE_SPAN:
        if (r->signal == SIGNAL_TRACES)
            (void)emit_attribute(e, r->item, OTLP_SPAN_ATTRIBUTES, f->key, &found);
        break;
    case EXPR_SCOPE_LOG:
        if (r->signal == SIGNAL_LOGS)
            (void)emit_attribute(e, r->item, OTLP_LOG_ATTRIBUTES, f->key, &found);
        break;
    case EXPR_SCOPE_RESOURCE:
        (void)emit_attribute(e, r->resource, OTLP_RESOURCE_ATTRIBUTES, f->key, &found);
        break;
    case EXPR_SCOPE_INSTRUMENTATION:
        (void)emit_attribute(e, r->scope, OTLP_SCOPE_ATTRIBUTES, f->key, &found);
        break;
    case EXPR_SCOPE_EVENT:
        if (r->signal == SIGNAL_TRACES)
            (void)emit_each(e, r->item, OTLP_SPAN_EVENTS, OTLP_EVENT_ATTRIBUTES, f->key);
        break;
    case EXPR_SCOPE_LINK:
        if (r->signal == SIGNAL_TRACES)
            (void)emit_each(e, r->item, OTLP_SPAN_LINKS, OTLP_LINK_ATTRIBUTES, f->key);
        break;
    case EXPR_SCOPE_EVERYWHERE:
        (void)emit_everywhere(r, f->key, e);
        break;
    case EXPR_SCOPE_INTRINSIC:
        assert(false);
        break;
    }
}

static void emit_scope_intrinsic(const struct otlp_row *r, enum expr_intrinsic i,
                                 const struct emission *e)
{
    struct otlp_scope s;
    otlp_scope_read(r->scope, &s);
    (void)emit_string(e, i == EXPR_INTRINSIC_SCOPE_NAME ? s.name : s.version);
}

static void emit_events(const struct otlp_row *r, uint64_t start, enum expr_intrinsic i,
                        const struct emission *e)
{
    struct otlp_repeated all = otlp_repeated(r->item, OTLP_SPAN_EVENTS);
    struct bytes message;
    bool goes_on = true;
    while (goes_on && otlp_repeated_next(&all, &message)) {
        struct otlp_event event;
        otlp_event_read(message, &event);
        if (i == EXPR_INTRINSIC_EVENT_NAME)
            goes_on = emit_string(e, event.name);
        else
            goes_on =
                e->emit(e->context,
                        &(struct expr_value){ .type = EXPR_DURATION,
                                              .integer = (int64_t)(event.time_unix_ns - start) });
    }
}

static void emit_links(const struct otlp_row *r, enum expr_intrinsic i, const struct emission *e)
{
    struct otlp_repeated all = otlp_repeated(r->item, OTLP_SPAN_LINKS);
    struct bytes message;
    bool goes_on = true;
    while (goes_on && otlp_repeated_next(&all, &message)) {
        struct otlp_link link;
        otlp_link_read(message, &link);
        if (i == EXPR_INTRINSIC_LINK_TRACE_ID)
            goes_on = emit_hex(e, link.trace_id.b, sizeof link.trace_id.b);
        else
            goes_on = emit_hex(e, link.span_id.b, sizeof link.span_id.b);
    }
}

/* False: unknown. */
static bool emit_of_trace(const struct otlp_row *r, enum expr_intrinsic i, const struct emission *e)
{
    const struct otlp_trace_facts *t = r->trace;
    if (t == NULL)
        return false;
    if (i == EXPR_INTRINSIC_TRACE_DURATION)
        (void)emit_number(e, EXPR_DURATION, t->end_unix_ns - t->start_unix_ns);
    else if (i == EXPR_INTRINSIC_SPAN_CHILD_COUNT)
        (void)emit_number(e, EXPR_INT, r->child_count);
    else if (t->has_root)
        (void)emit_string(e, i == EXPR_INTRINSIC_TRACE_ROOT_NAME ? t->root_name : t->root_service);
    return true;
}

/* What the head of a span answers; false: not this. */
static bool head_intrinsic(struct otlp_row *r, enum expr_intrinsic i, const struct emission *e)
{
    const struct otlp_span_head *h;
    switch (i) {
    case EXPR_INTRINSIC_SPAN_NAME:
        (void)emit_string(e, otlp_row_head(r)->name);
        return true;
    case EXPR_INTRINSIC_SPAN_DURATION:
        (void)emit_number(e, EXPR_DURATION, otlp_span_head_duration_ns(otlp_row_head(r)));
        return true;
    case EXPR_INTRINSIC_SPAN_START:
        (void)emit_number(e, EXPR_INT, otlp_row_head(r)->start_unix_ns);
        return true;
    case EXPR_INTRINSIC_TRACE_ID:
        h = otlp_row_head(r);
        (void)emit_hex(e, h->trace_id.b, sizeof h->trace_id.b);
        return true;
    case EXPR_INTRINSIC_SPAN_KIND:
        h = otlp_row_head(r);
        (void)emit_number(e, EXPR_KIND, h->has_kind ? h->kind : otlp_row_span(r)->kind);
        return true;
    default:
        return false;
    }
}

static bool span_intrinsic(struct otlp_row *r, enum expr_intrinsic i, const struct emission *e)
{
    if (expr_intrinsic_is_of_trace(i))
        return emit_of_trace(r, i, e);
    if (head_intrinsic(r, i, e))
        return true;
    const struct otlp_span *s = otlp_row_span(r);
    switch (i) {
    case EXPR_INTRINSIC_SPAN_ID:
        (void)emit_hex(e, s->span_id.b, sizeof s->span_id.b);
        break;
    case EXPR_INTRINSIC_SPAN_PARENT_ID:
        if (s->has_parent)
            (void)emit_hex(e, s->parent_span_id.b, sizeof s->parent_span_id.b);
        break;
    case EXPR_INTRINSIC_SPAN_STATUS:
        (void)emit_number(e, EXPR_STATUS, s->status.code);
        break;
    case EXPR_INTRINSIC_SPAN_STATUS_MESSAGE:
        (void)emit_string(e, s->status.message);
        break;
    case EXPR_INTRINSIC_SPAN_IS_ROOT:
        (void)emit_number(e, EXPR_BOOL, !s->has_parent);
        break;
    case EXPR_INTRINSIC_EVENT_NAME:
    case EXPR_INTRINSIC_EVENT_TIME_SINCE_START:
        emit_events(r, s->start_unix_ns, i, e);
        break;
    case EXPR_INTRINSIC_LINK_TRACE_ID:
    case EXPR_INTRINSIC_LINK_SPAN_ID:
        emit_links(r, i, e);
        break;
    default: /* of log records */
        break;
    }
    return true;
}

/* A value's text form; built in the row's scratch where it is not there already. */
static bool emit_text(struct otlp_row *r, struct bytes any_value, const struct emission *e)
{
    struct otlp_value v;
    otlp_value_read(any_value, &v);
    if (v.type == OTLP_STRING)
        return emit_string(e, v.bytes);
    buffer_reset(&r->text);
    otlp_value_text(&r->text, &v);
    if (buffer_error(&r->text) != ERR_OK)
        return true; /* no memory for it: as if it had no text */
    return emit_string(e, buffer_bytes(&r->text));
}

static void emit_log_text(struct otlp_row *r, const struct otlp_log *l, const struct emission *e)
{
    bool goes_on = !l->has_body || emit_text(r, l->body, e);
    struct otlp_repeated all = otlp_repeated(r->item, OTLP_LOG_ATTRIBUTES);
    struct bytes message;
    while (goes_on && otlp_repeated_next(&all, &message)) {
        struct otlp_key_value kv;
        otlp_key_value_read(message, &kv);
        if (kv.has_value)
            goes_on = emit_text(r, kv.value, e);
    }
}

static void log_intrinsic(struct otlp_row *r, enum expr_intrinsic i, const struct emission *e)
{
    const struct otlp_log *l = otlp_row_log(r);
    switch (i) {
    case EXPR_INTRINSIC_SPAN_ID:
        if (l->has_span_id)
            (void)emit_hex(e, l->span_id.b, sizeof l->span_id.b);
        break;
    case EXPR_INTRINSIC_TRACE_ID:
        if (l->has_trace_id)
            (void)emit_hex(e, l->trace_id.b, sizeof l->trace_id.b);
        break;
    case EXPR_INTRINSIC_LOG_TIME:
        (void)emit_number(e, EXPR_INT, otlp_log_time(l));
        break;
    case EXPR_INTRINSIC_LOG_SEVERITY:
        (void)emit_number(e, EXPR_INT, l->severity_number);
        break;
    case EXPR_INTRINSIC_LOG_SEVERITY_TEXT:
        (void)emit_string(e, l->severity_text);
        break;
    case EXPR_INTRINSIC_LOG_BODY:
        if (l->has_body)
            (void)emit_text(r, l->body, e);
        break;
    case EXPR_INTRINSIC_LOG_EVENT_NAME:
        (void)emit_string(e, l->event_name);
        break;
    case EXPR_INTRINSIC_LOG_TEXT:
        emit_log_text(r, l, e);
        break;
    default: /* of spans */
        break;
    }
}

static bool row_values(const struct expr_row *row, const struct expr *field, expr_emit_fn *emit,
                       void *emit_context)
{
    struct otlp_row *r = ((const struct otlp_row *)row)->self;
    struct emission e = { emit, emit_context };
    if (field->scope != EXPR_SCOPE_INTRINSIC) {
        emit_field(r, field, &e);
        return true;
    }
    if (field->intrinsic == EXPR_INTRINSIC_SCOPE_NAME ||
        field->intrinsic == EXPR_INTRINSIC_SCOPE_VERSION) {
        emit_scope_intrinsic(r, field->intrinsic, &e);
        return true;
    }
    if (r->signal == SIGNAL_TRACES)
        return span_intrinsic(r, field->intrinsic, &e);
    log_intrinsic(r, field->intrinsic, &e);
    return true;
}

void otlp_row_init(struct otlp_row *r, enum signal signal)
{
    memset(r, 0, sizeof *r);
    r->row.values = row_values;
    r->signal = signal;
    r->self = r;
    buffer_init(&r->text, 64u << 20); /* the text of one value of at most 1 MiB a part */
}

void otlp_row_deinit(struct otlp_row *r)
{
    buffer_deinit(&r->text);
}

void otlp_row_set(struct otlp_row *r, struct bytes resource, struct bytes scope, struct bytes item)
{
    assert(r->self == r);
    r->resource = resource;
    r->scope = scope;
    r->item = item;
    r->is_read = false;
    r->is_head_read = false;
}

const struct otlp_span *otlp_row_span(struct otlp_row *r)
{
    assert(r->signal == SIGNAL_TRACES);
    if (!r->is_read)
        otlp_span_read(r->item, &r->span);
    r->is_read = true;
    return &r->span;
}

/* Canonical bytes hold a field at most once, so the walk ends with the last one found. */
void otlp_span_head_read(struct bytes message, struct otlp_span_head *out)
{
    enum { TRACE_ID = 1, NAME = 2, START = 4, END = 8, ALL = 15 };
    struct otlp_span_head h = { .has_kind = false };
    struct otlp_fields fields = otlp_fields(message);
    struct otlp_field f;
    unsigned seen = 0;
    while (seen != ALL && otlp_fields_next(&fields, &f)) {
        switch (f.number) {
        case 1:
            if (f.bytes.len == sizeof h.trace_id.b)
                memcpy(h.trace_id.b, f.bytes.data, sizeof h.trace_id.b);
            seen |= TRACE_ID;
            break;
        case 5:
            h.name = f.bytes;
            seen |= NAME;
            break;
        case 6:
            h.has_kind = true;
            h.kind = (uint32_t)f.value;
            break;
        case 7:
            h.start_unix_ns = f.value;
            seen |= START;
            break;
        case 8:
            h.end_unix_ns = f.value;
            seen |= END;
            break;
        default:
            break;
        }
    }
    *out = h;
}

const struct otlp_span_head *otlp_row_head(struct otlp_row *r)
{
    assert(r->signal == SIGNAL_TRACES);
    if (!r->is_head_read)
        otlp_span_head_read(r->item, &r->head);
    r->is_head_read = true;
    return &r->head;
}

const struct otlp_log *otlp_row_log(struct otlp_row *r)
{
    assert(r->signal == SIGNAL_LOGS);
    if (!r->is_read)
        otlp_log_read(r->item, &r->log);
    r->is_read = true;
    return &r->log;
}

uint64_t otlp_row_start(struct otlp_row *r)
{
    return r->signal == SIGNAL_TRACES ? otlp_row_head(r)->start_unix_ns
                                      : otlp_log_time(otlp_row_log(r));
}

/* ---- Filters ---- */

static bool is_of_group(const struct expr *e)
{
    if (e == NULL || e->op == EXPR_CONST)
        return true;
    if (e->op != EXPR_FIELD)
        return is_of_group(e->left) && is_of_group(e->right);
    switch (e->scope) {
    case EXPR_SCOPE_RESOURCE:
    case EXPR_SCOPE_INSTRUMENTATION:
        return true;
    case EXPR_SCOPE_INTRINSIC:
        return e->intrinsic == EXPR_INTRINSIC_SCOPE_NAME ||
               e->intrinsic == EXPR_INTRINSIC_SCOPE_VERSION;
    default:
        return false;
    }
}

static void add_part(struct otlp_filter *f, const struct expr *part)
{
    if (is_of_group(part))
        f->group_parts[f->group_parts_count++] = part;
    else
        f->item_parts[f->item_parts_count++] = part;
}

void otlp_filter_init(struct otlp_filter *f, const struct expr *filter)
{
    f->group_parts_count = 0;
    f->item_parts_count = 0;
    if (filter == NULL)
        return;
    size_t parts = 1; /* `a && b && c` leans to the left */
    while (filter->op == EXPR_AND && parts < OTLP_FILTER_PARTS_MAX) {
        add_part(f, filter->right);
        filter = filter->left;
        parts++;
    }
    add_part(f, filter);
}

bool otlp_filter_group(const struct otlp_filter *f, const struct otlp_row *r)
{
    for (size_t i = 0; i < f->group_parts_count; i++) {
        if (expr_evaluate(f->group_parts[i], &r->row) != EXPR_TRUE)
            return false;
    }
    return true;
}

enum expr_truth otlp_filter_item(const struct otlp_filter *f, const struct otlp_row *r)
{
    enum expr_truth all = EXPR_TRUE;
    for (size_t i = f->item_parts_count; i-- > 0;) {
        enum expr_truth t = expr_evaluate(f->item_parts[i], &r->row);
        if (t == EXPR_FALSE)
            return EXPR_FALSE;
        if (t == EXPR_UNKNOWN)
            all = EXPR_UNKNOWN;
    }
    return all;
}
