/* SPDX-License-Identifier: Apache-2.0 */
/* Traces of the native API: search, one whole trace, one of its spans, its logs. */
#include "net/accept.h"
#include "proto/otlp_json.h"
#include "query/box.h"
#include "query/native.h"
#include "query/native_counts.h"
#include "query/native_skeleton.h"
#include "storage/service_name.h"

#include <stdio.h>

#define SPANS_MAX 100 /* matching spans shown with each trace */

/* ---- Search ---- */

static enum err add_word(struct call *c, struct filter *f, const char *name,
                         const char *const *words, enum expr_intrinsic field, enum expr_type type)
{
    size_t index = SIZE_MAX;
    enum err e = parameter_word(c, name, words, &index);
    if (e == ERR_OK && index != SIZE_MAX)
        filter_add(f, term_intrinsic(f->arena, field, EXPR_EQ, type, (int64_t)index));
    return e;
}

static enum err add_duration(struct call *c, struct filter *f, const char *name,
                             enum expr_intrinsic field, enum expr_op op)
{
    uint64_t ns = 0;
    bool is_set;
    enum err e = parameter_duration(c, name, &ns, &is_set);
    if (e == ERR_OK && is_set)
        filter_add(f, term_intrinsic(f->arena, field, op, EXPR_DURATION, (int64_t)ns));
    return e;
}

/* attributes=key=value, any number of times: equality of the text form, wherever the key is. */
static enum err add_attributes(struct call *c, struct filter *f)
{
    for (size_t i = 0; i < c->parameter_count; i++) {
        struct bytes pair = c->parameters[i].value;
        if (pair.len == 0 || !bytes_equal_text(c->parameters[i].name, "attributes"))
            continue;
        size_t at = bytes_find(pair, '=');
        if (at == SIZE_MAX || at == 0)
            return call_fail(c, ERR_INVALID, "attributes", "expected key=value");
        filter_add(f, term_text(f->arena, EXPR_SCOPE_EVERYWHERE, bytes_slice(pair, 0, at),
                                bytes_slice(pair, at + 1, SIZE_MAX)));
    }
    return ERR_OK;
}

static enum err read_filter(struct call *c, struct time_range *range, const struct expr **out)
{
    struct filter f;
    struct bytes text;
    filter_init(&f, &c->arena);
    if (parameter_text(c, "service", &text))
        filter_add(&f, term_service(&c->arena, text));
    if (parameter_text(c, "operation", &text))
        filter_add(&f, term_intrinsic_text(&c->arena, EXPR_INTRINSIC_SPAN_NAME, EXPR_EQ, text));
    enum err e = add_word(c, &f, "kind", kind_words, EXPR_INTRINSIC_SPAN_KIND, EXPR_KIND);
    if (e == ERR_OK)
        e = add_word(c, &f, "status", status_words, EXPR_INTRINSIC_SPAN_STATUS, EXPR_STATUS);
    if (e == ERR_OK)
        e = add_duration(c, &f, "min_duration", EXPR_INTRINSIC_SPAN_DURATION, EXPR_GE);
    if (e == ERR_OK)
        e = add_duration(c, &f, "max_duration", EXPR_INTRINSIC_SPAN_DURATION, EXPR_LE);
    if (e == ERR_OK)
        e = add_duration(c, &f, "min_trace_duration", EXPR_INTRINSIC_TRACE_DURATION, EXPR_GE);
    if (e == ERR_OK)
        e = add_duration(c, &f, "max_trace_duration", EXPR_INTRINSIC_TRACE_DURATION, EXPR_LE);
    if (e == ERR_OK)
        e = add_attributes(c, &f);
    if (e == ERR_OK)
        e = box_parameter(c, range, &f);
    if (e == ERR_OK)
        e = filter_add_query(c, &f, SIGNAL_TRACES, "q");
    if (e == ERR_OK && f.failure == ERR_TOO_MANY)
        return call_fail(c, ERR_INVALID, "attributes", "more than %u conditions", FILTER_TERMS_MAX);
    return e == ERR_OK ? filter_tree(&f, out) : e;
}

static void write_services(struct call *c, const struct trace_summary *t)
{
    struct json_writer *j = &c->json;
    json_key(j, "svcs");
    json_array_begin(j);
    for (size_t i = 0; i < t->services_count; i++) {
        json_object_begin(j);
        native_write_text(j, "name", t->services[i].name);
        native_write_count(j, "color", native_color(c, t->services[i].name));
        native_write_count(j, "spans", t->services[i].spans);
        native_write_count(j, "errors", t->services[i].errors);
        json_object_end(j);
    }
    json_array_end(j);
}

static void write_match(struct json_writer *j, const struct trace_summary *t, bool with_spans)
{
    struct otlp_items it = otlp_items(t->matched);
    if (otlp_items_next(&it)) {
        struct otlp_span span;
        otlp_span_read(it.item, &span);
        native_write_id(j, "match_span", span.span_id.b, sizeof span.span_id.b);
    }
    if (with_spans) {
        json_key(j, "matches");
        otlp_json_write(SIGNAL_TRACES, t->matched, j);
    }
}

static void write_summary(struct call *c, const struct trace_summary *t, bool with_spans)
{
    struct json_writer *j = &c->json;
    json_object_begin(j);
    native_write_id(j, "id", t->trace_id.b, sizeof t->trace_id.b);
    native_write_ns(j, "start", t->start_unix_ns);
    native_write_ns(j, "dur",
                    t->end_unix_ns > t->start_unix_ns ? t->end_unix_ns - t->start_unix_ns : 0);
    json_key(j, "has_root");
    json_bool(j, t->has_root);
    native_write_text(j, "root_svc", t->root_service);
    native_write_text(j, "root_name", t->root_name);
    native_write_count(j, "spans", t->spans);
    native_write_count(j, "errors", t->errors);
    native_write_count(j, "orphans", t->orphans);
    native_write_count(j, "matched", t->matched_spans);
    write_services(c, t);
    write_match(j, t, with_spans);
    json_object_end(j);
}

enum err native_traces(struct call *c)
{
    static const char *const known[] = {
        "q",
        "service",
        "operation",
        "kind",
        "status",
        "min_duration",
        "max_duration",
        "min_trace_duration",
        "max_trace_duration",
        "*attributes",
        "from",
        "to",
        "box",
        "hits",
        "sort",
        "limit",
        "cursor",
        "spans",
        NULL,
    };
    static const char *const sorts[] = { "newest", "slowest", NULL };
    uint64_t limit = NATIVE_LIMIT_DEFAULT, spans = 0, hits = 0;
    size_t sort = 0;
    struct page page;
    struct trace_query query = { 0 };
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, NATIVE_LIMIT_MAX, &limit);
    if (e == ERR_OK)
        e = parameter_u64(c, "spans", 0, SPANS_MAX, &spans);
    if (e == ERR_OK)
        e = parameter_u64(c, "hits", TIME_COLUMNS_MIN, TIME_COLUMNS_MAX, &hits);
    if (e == ERR_OK)
        e = parameter_word(c, "sort", sorts, &sort);
    if (e == ERR_OK)
        e = native_page(c, &page);
    if (e == ERR_OK)
        query.range = page.range;
    if (e == ERR_OK)
        e = read_filter(c, &query.range, &query.filter);
    if (e != ERR_OK)
        return e;
    query.order = sort == 0 ? FIND_NEWEST : FIND_SLOWEST;
    query.limit = (size_t)limit;
    query.after = page.after;
    query.spans_per_trace = spans == 0 ? 1 : (size_t)spans; /* one, for match_span */

    struct trace_result result = { 0 };
    e = engine_traces_find(c->options->engine, &c->context, &query, &result);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < result.count; i++)
        write_summary(c, &result.traces[i], spans > 0);
    json_array_end(j);
    if (hits > 0 && !page.after.is_set) {
        e = native_write_hits(c, query.range, query.filter, (size_t)hits);
        if (e != ERR_OK)
            return e;
    }
    native_write_end(c, &result.progress, result.count, &page, &result.next);
    json_object_end(j);
    return ERR_OK;
}

/* ---- One trace ---- */

/* TracesData or LogsData as the client wants it. */
static enum err write_data(struct call *c, enum signal signal, struct bytes data)
{
    static const char *const types[] = { "application/json", "application/x-protobuf",
                                         "application/protobuf" };
    size_t type =
        accept_choose(request_header(c->request, "accept"), types, sizeof types / sizeof types[0]);
    c->varies_by_accept = true;
    if (type > 0) {
        c->content_type = "application/x-protobuf";
        buffer_append_bytes(&c->body, data);
    } else if (data.len == 0) { /* the list is there also when nothing is in it */
        buffer_append_text(&c->body, signal == SIGNAL_TRACES ? "{\"resourceSpans\":[]}"
                                                             : "{\"resourceLogs\":[]}");
    } else {
        otlp_json_write(signal, data, &c->json);
    }
    return ERR_OK;
}

/* All that is left of a trace, when part of it is damaged, is better than nothing, if it says so.
 */
static enum err get_trace(struct call *c, const struct trace_id *id, struct bytes *out)
{
    struct bytes data = { 0 };
    enum err e = engine_trace_get(c->options->engine, &c->context, id, &data);
    if (e == ERR_NOT_FOUND)
        return call_fail(c, e, "id", "no such trace is stored");
    if (e == ERR_CORRUPT && data.len > 0) {
        c->is_damaged = true;
        e = ERR_OK;
    }
    if (e == ERR_OK)
        *out = data;
    return e;
}

enum err native_trace(struct call *c)
{
    static const char *const known[] = { NULL };
    struct trace_id id;
    struct bytes data;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = native_trace_id(c, &id);
    if (e == ERR_OK)
        e = get_trace(c, &id, &data);
    return e == ERR_OK ? write_data(c, SIGNAL_TRACES, data) : e;
}

enum err native_trace_logs(struct call *c)
{
    static const char *const known[] = { "format", "version", NULL };
    static const char *const formats[] = { "otlp", "rows", NULL };
    size_t format = 0;
    struct trace_id id;
    struct bytes data = { 0 };
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_word(c, "format", formats, &format);
    if (e == ERR_OK)
        e = native_trace_id(c, &id);
    if (e == ERR_OK && format == 1)
        return native_trace_log_rows(c, &id);
    if (e == ERR_OK)
        e = engine_trace_logs(c->options->engine, &c->context, &id, &data);
    if (e == ERR_CORRUPT && data.len > 0) {
        c->is_damaged = true;
        e = ERR_OK;
    }
    return e == ERR_OK ? write_data(c, SIGNAL_LOGS, data) : e;
}

static void write_full_span(struct json_writer *j, const struct otlp_items *it)
{
    json_object_begin(j);
    json_key(j, "span");
    otlp_json_write_span(it->item, j);
    json_key(j, "resource");
    otlp_json_write_resource(it->resource.resource, j);
    native_write_text(j, "resource_schema_url", it->resource.schema_url);
    json_key(j, "scope");
    otlp_json_write_scope(it->scope.scope, j);
    native_write_text(j, "scope_schema_url", it->scope.schema_url);
    native_write_text(j, "service", service_name(it->resource.resource));
    json_object_end(j);
}

struct span_search {
    struct call *c;
    struct span_id id;
    size_t found;
};

static enum err on_span(void *context, const struct otlp_items *at)
{
    struct span_search *s = context;
    struct otlp_span span;
    otlp_span_read(at->item, &span);
    if (memcmp(span.span_id.b, s->id.b, sizeof s->id.b) != 0)
        return ERR_OK;
    write_full_span(&s->c->json, at);
    s->found++;
    return buffer_error(&s->c->body);
}

/* The span's times, where they are known, so that only what lies there is looked through. */
static struct time_range range_of(struct call *c, const struct trace_id *id, uint64_t span)
{
    struct time_range range = { 0, UINT64_MAX };
    struct kept_skeleton *k = skeletons_take(c->skeletons, id, NULL, 60 * NS_PER_S);
    if (k == NULL)
        return range;
    const struct skeleton *s = &k->skeleton;
    size_t at = skeleton_find(s, span);
    if (at < s->spans && s->rows[s->by_id[at]].id == span)
        range = (struct time_range){ UINT64_MAX, 0 };
    for (; at < s->spans && s->rows[s->by_id[at]].id == span; at++) {
        const struct skeleton_row *r = &s->rows[s->by_id[at]];
        uint64_t start = s->t0_unix_ns + r->start_ns;
        range.min_unix_ns = start < range.min_unix_ns ? start : range.min_unix_ns;
        range.max_unix_ns = start >= range.max_unix_ns ? start + 1 : range.max_unix_ns;
        if ((r->flags & SKELETON_BAD_TIME) != 0)
            break;
    }
    if (at < s->spans && s->rows[s->by_id[at]].id == span)
        range = (struct time_range){ 0, UINT64_MAX }; /* some start elsewhere */
    skeletons_release(c->skeletons, k);
    return range;
}

static enum err find_span(struct call *c, const struct trace_id *id, struct span_search *s)
{
    struct bytes hex;
    struct trace_walk walk = { .trace_id = *id,
                               .signal = SIGNAL_TRACES,
                               .range = range_of(c, id, load_be64(s->id.b)) };
    char text[2 * sizeof s->id.b + 1];
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)load_be64(s->id.b));
    enum err e = arena_dup(&c->arena, bytes_text(text), &hex);
    if (e != ERR_OK)
        return e;
    walk.filter = term_intrinsic_text(&c->arena, EXPR_INTRINSIC_SPAN_ID, EXPR_EQ, hex);
    if (walk.filter == NULL)
        return arena_failure(&c->arena);
    e = engine_trace_walk(c->options->engine, &c->context, &walk, on_span, s);
    if (e == ERR_CORRUPT && s->found > 0) {
        c->is_damaged = true;
        e = ERR_OK;
    }
    if (e == ERR_NOT_FOUND || (e == ERR_OK && s->found == 0))
        return call_fail(c, ERR_NOT_FOUND, "span", "no such span is stored in this trace");
    return e;
}

/* A list, as nothing keeps a sender from using one ID for two spans; Zipkin's clients and servers
 * do. */
enum err native_trace_span(struct call *c)
{
    static const char *const known[] = { NULL };
    struct trace_id id;
    struct span_search s = { .c = c };
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = native_trace_id(c, &id);
    if (e == ERR_OK && !span_id_parse(c->request->parameters[1], &s.id))
        e = call_fail(c, ERR_INVALID, "span", "expected a span ID of 1 to 16 hexadecimal digits");
    if (e != ERR_OK)
        return e;
    json_object_begin(&c->json);
    json_key(&c->json, "spans");
    json_array_begin(&c->json);
    e = find_span(c, &id, &s);
    json_array_end(&c->json);
    json_object_end(&c->json);
    return e;
}
