/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to ask for: the server itself, services, operations, attributes, and what an ID is.
 */
#include "proto/otlp_json.h"
#include "query/native.h"

#define SUGGESTIONS_DEFAULT 100
#define SUGGESTIONS_MAX     1000

static const char *const no_parameters[] = { NULL };

/* ---- The server ---- */

void native_write_stored(struct json_writer *j, const char *key, const struct engine_statistics *s)
{
    json_key(j, key);
    json_object_begin(j);
    native_write_count(j, "spans", s->spans);
    native_write_count(j, "logs", s->logs);
    native_write_count(j, "journal_items", s->journal_items);
    native_write_count(j, "row_groups", s->row_groups);
    native_write_count(j, "partitions", s->partitions);
    native_write_count(j, "partitions_damaged", s->partitions_damaged);
    native_write_count(j, "disk_bytes", s->disk_bytes);
    json_key(j, "disk");
    json_text(j, disk_state_text(s->disk_state));
    json_key(j, "disk_free_bytes");
    if (s->disk_free_bytes == 0)
        json_null(j);
    else
        json_u64(j, s->disk_free_bytes);
    json_key(j, "newest_start");
    if (s->newest_start_unix_ns == 0)
        json_null(j);
    else
        json_u64_string(j, s->newest_start_unix_ns);
    json_key(j, "writable");
    json_bool(j, s->is_writable);
    if (!s->is_writable && s->not_writable_reason != NULL) {
        json_key(j, "not_writable_reason");
        json_text(j, s->not_writable_reason);
    }
    json_key(j, "durable");
    json_bool(j, s->is_durable);
    json_object_end(j);
}

static void write_kept(struct json_writer *j, const char *key, uint64_t ns)
{
    json_key(j, key);
    if (ns == 0)
        json_null(j);
    else
        json_u64(j, ns / NS_PER_S);
}

/* Where to send and to ask, for who has not sent anything yet. */
static void write_facts(struct json_writer *j, const struct query_facts *f)
{
    json_key(j, "endpoints");
    json_array_begin(j);
    for (size_t i = 0; i < f->endpoint_count; i++) {
        json_object_begin(j);
        json_key(j, "name");
        json_text(j, f->endpoints[i].name);
        json_key(j, "url");
        json_text(j, f->endpoints[i].url);
        json_object_end(j);
    }
    json_array_end(j);
    json_key(j, "auth");
    json_bool(j, f->has_auth);
    json_key(j, "tls");
    json_bool(j, f->has_tls);
    json_key(j, "retention");
    json_object_begin(j);
    write_kept(j, "traces_s", f->traces_kept_ns);
    write_kept(j, "logs_s", f->logs_kept_ns);
    json_object_end(j);
    json_key(j, "user");
    json_null(j); /* tokens have no names */
}

enum err native_meta(struct call *c)
{
    static const char *const features[] = { "traces",         "logs",     "search",  "attributes",
                                            "jaeger",         "skeleton", "heatmap", "box",
                                            "logs_histogram", "find",     "compare", "logs_tail",
                                            "status",         "raw" };
    struct engine_statistics s = { 0 };
    enum err e = parameters_check(c, no_parameters);
    if (e != ERR_OK)
        return e;
    engine_statistics(c->options->engine, &s);
    struct json_writer *j = &c->json;
    json_object_begin(j);
    json_key(j, "version");
    json_text(j, c->options->version);
    native_write_ns(j, "server_time", clock_unix_ns());
    json_key(j, "features");
    json_array_begin(j);
    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        json_text(j, features[i]);
    json_array_end(j);
    json_key(j, "first_span_at");
    if (s.first_arrival_unix_ns == 0)
        json_null(j);
    else
        json_u64_string(j, s.first_arrival_unix_ns);
    write_facts(j, c->facts);
    native_write_stored(j, "stored", &s);
    json_object_end(j);
    return ERR_OK;
}

/* ---- Services ---- */

enum err native_service_names(struct call *c)
{
    struct bytes *names;
    size_t count;
    enum err e = parameters_check(c, no_parameters);
    if (e == ERR_OK)
        e = engine_services(c->options->engine, &c->context, &names, &count);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(j);
        native_write_text(j, "name", names[i]);
        native_write_count(j, "color", native_color(c, names[i]));
        json_object_end(j);
    }
    json_array_end(j);
    native_write_end(c, NULL, count, NULL, NULL);
    json_object_end(j);
    return ERR_OK;
}

static void write_kind(struct json_writer *j, uint32_t kind)
{
    json_key(j, "kind");
    if (kind <= 5)
        json_text(j, kind_words[kind]);
    else
        json_u64(j, kind); /* a kind of a later specification */
}

enum err native_operation_names(struct call *c)
{
    struct operation *operations;
    size_t count;
    uint64_t rest_spans;
    enum err e = parameters_check(c, no_parameters);
    if (e == ERR_OK)
        e = engine_operations(c->options->engine, &c->context, c->request->parameters[0],
                              &operations, &count, &rest_spans);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(j);
        native_write_text(j, "name", operations[i].name);
        write_kind(j, operations[i].kind);
        native_write_count(j, "spans", operations[i].spans);
        json_object_end(j);
    }
    json_array_end(j);
    if (rest_spans > 0) {
        json_key(j, "truncated");
        json_bool(j, true);
        native_write_count(j, "rest_spans", rest_spans);
    }
    native_write_end(c, NULL, count, NULL, NULL);
    json_object_end(j);
    return ERR_OK;
}

/* ---- Names that are counted under another ---- */

static void write_reasons(struct json_writer *j, const struct derived_cleaned *n)
{
    json_key(j, "why");
    json_array_begin(j);
    for (unsigned i = 0; i < CLEANED_REASON_COUNT; i++)
        if ((n->reasons >> i & 1) != 0)
            json_text(j, cleaned_reason_text((enum cleaned_reason)(1u << i)));
    json_array_end(j);
    if (n->rule != 0)
        native_write_count(j, "rule", n->rule);
}

enum err native_cleaned(struct call *c)
{
    static const char *const known[] = { "service", "limit", NULL };
    uint64_t limit = NATIVE_LIMIT_DEFAULT;
    struct derived_cleaned *cleaned = NULL;
    struct bytes service;
    size_t count = 0, shown = 0, hidden = 0;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, NATIVE_LIMIT_MAX, &limit);
    if (e == ERR_OK)
        e = engine_cleaned_names(c->options->engine, &c->context, &cleaned, &count);
    if (e != ERR_OK)
        return e;
    bool has_service = parameter_text(c, "service", &service);
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < count; i++) {
        const struct derived_cleaned *n = &cleaned[i];
        if (has_service && !bytes_equal(n->service, service))
            continue;
        if (shown == limit) {
            hidden++;
            continue;
        }
        json_object_begin(j);
        native_write_text(j, "service", n->service);
        native_write_text(j, "name", n->name);
        native_write_text(j, "example", n->example);
        write_reasons(j, n);
        native_write_count(j, "spans", n->spans);
        json_object_end(j);
        shown++;
    }
    json_array_end(j);
    native_write_count(j, "hidden", hidden);
    native_write_end(c, NULL, shown, NULL, NULL);
    json_object_end(j);
    return ERR_OK;
}

/* ---- Attributes ---- */

static const struct {
    const char *word;
    enum expr_scope scope;
} scopes[] = {
    { "any", EXPR_SCOPE_ANY },           { "span", EXPR_SCOPE_SPAN },
    { "resource", EXPR_SCOPE_RESOURCE }, { "event", EXPR_SCOPE_EVENT },
    { "link", EXPR_SCOPE_LINK },         { "instrumentation", EXPR_SCOPE_INSTRUMENTATION },
    { "log", EXPR_SCOPE_LOG },
};
#define SCOPE_WORDS (sizeof scopes / sizeof scopes[0])

static const char *scope_word(enum expr_scope scope)
{
    for (size_t i = 0; i < SCOPE_WORDS; i++)
        if (scopes[i].scope == scope)
            return scopes[i].word;
    return "any";
}

static enum err read_scope(struct call *c, enum expr_scope *out)
{
    const char *words[SCOPE_WORDS + 1] = { NULL };
    for (size_t i = 0; i < SCOPE_WORDS; i++)
        words[i] = scopes[i].word;
    size_t index = 0;
    enum err e = parameter_word(c, "scope", words, &index);
    if (e == ERR_OK)
        *out = scopes[index].scope;
    return e;
}

static enum err read_signal(struct call *c, enum signal *out)
{
    static const char *const words[] = { "traces", "logs", NULL };
    size_t index = 0;
    enum err e = parameter_word(c, "signal", words, &index);
    if (e == ERR_OK)
        *out = index == 0 ? SIGNAL_TRACES : SIGNAL_LOGS;
    return e;
}

const char *native_type_word(enum otlp_value_type type)
{
    switch (type) {
    case OTLP_EMPTY:
        return "empty";
    case OTLP_STRING:
        return "string";
    case OTLP_BOOL:
        return "bool";
    case OTLP_INT:
        return "int";
    case OTLP_DOUBLE:
        return "float";
    case OTLP_ARRAY:
        return "array";
    case OTLP_KVLIST:
        return "map";
    case OTLP_BYTES:
        return "bytes";
    }
    return "empty";
}

enum err native_attributes(struct call *c)
{
    static const char *const known[] = { "prefix", "signal", "from", "to", "limit", NULL };
    enum signal signal;
    struct page page = { 0 };
    struct bytes prefix = { 0 };
    uint64_t limit = SUGGESTIONS_DEFAULT;
    struct attribute_key *keys;
    size_t count;
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = read_signal(c, &signal);
    if (e == ERR_OK)
        e = parameter_range(c, &page.range);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, SUGGESTIONS_MAX, &limit);
    (void)parameter_text(c, "prefix", &prefix);
    if (e == ERR_OK)
        e = engine_attribute_keys(c->options->engine, &c->context, signal, page.range, prefix,
                                  (size_t)limit, &keys, &count);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(j);
        json_key(j, "scope");
        json_text(j, scope_word(keys[i].scope));
        native_write_text(j, "key", keys[i].key);
        json_key(j, "type");
        json_text(j, native_type_word(keys[i].type));
        native_write_count(j, "count", keys[i].count);
        json_object_end(j);
    }
    json_array_end(j);
    native_write_end(c, NULL, count, &page, NULL);
    json_object_end(j);
    return ERR_OK;
}

/* As a value of OTLP. */
static struct otlp_value otlp_value_of(const struct expr_value *v)
{
    struct otlp_value value = { .integer = v->integer, .number = v->number, .bytes = v->bytes };
    value.boolean = v->integer != 0;
    switch (v->type) {
    case EXPR_STRING:
        value.type = OTLP_STRING;
        break;
    case EXPR_BOOL:
        value.type = OTLP_BOOL;
        break;
    case EXPR_INT:
    case EXPR_DURATION: /* attributes have none of these three */
    case EXPR_STATUS:
    case EXPR_KIND:
        value.type = OTLP_INT;
        break;
    case EXPR_FLOAT:
        value.type = OTLP_DOUBLE;
        break;
    case EXPR_ARRAY:
        value.type = OTLP_ARRAY;
        break;
    case EXPR_MAP:
        value.type = OTLP_KVLIST;
        break;
    case EXPR_BYTES:
        value.type = OTLP_BYTES;
        break;
    case EXPR_NIL:
        value.type = OTLP_EMPTY;
        break;
    }
    return value;
}

void native_write_value_text(struct call *c, const struct expr_value *v)
{
    struct buffer text;
    struct otlp_value value = otlp_value_of(v);
    buffer_init(&text, c->options->memory_bytes);
    otlp_value_text(&text, &value);
    json_string(&c->json, buffer_bytes(&text));
    buffer_deinit(&text);
}

/* A value's type, and its text as Jaeger's tags and TraceQL's answers write it. */
static void write_value(struct call *c, const struct expr_value *v)
{
    json_key(&c->json, "type");
    json_text(&c->json, native_type_word(otlp_value_of(v).type));
    json_key(&c->json, "value");
    native_write_value_text(c, v);
}

enum err native_attribute_values(struct call *c)
{
    static const char *const known[] = { "scope", "signal", "q",     "prefix",
                                         "from",  "to",     "limit", NULL };
    enum signal signal = SIGNAL_TRACES;
    enum expr_scope scope = EXPR_SCOPE_ANY;
    struct page page = { 0 };
    struct bytes prefix = { 0 };
    uint64_t limit = SUGGESTIONS_DEFAULT;
    const struct expr *tree = NULL;
    struct filter f;
    filter_init(&f, &c->arena);
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = read_signal(c, &signal);
    if (e == ERR_OK)
        e = read_scope(c, &scope);
    if (e == ERR_OK)
        e = parameter_range(c, &page.range);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, SUGGESTIONS_MAX, &limit);
    (void)parameter_text(c, "prefix", &prefix);
    if (e == ERR_OK)
        e = filter_add_query(c, &f, signal, "q");
    if (e == ERR_OK)
        e = filter_tree(&f, &tree);
    struct attribute_value *values;
    size_t count;
    struct find_progress progress = { 0 };
    if (e == ERR_OK)
        e = engine_attribute_values(c->options->engine, &c->context, signal, scope,
                                    c->request->parameters[0], page.range, tree, prefix,
                                    (size_t)limit, &values, &count, &progress);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(j);
        write_value(c, &values[i].value);
        native_write_count(j, "count", values[i].count);
        json_object_end(j);
    }
    json_array_end(j);
    native_write_end(c, &progress, count, &page, NULL);
    json_object_end(j);
    return ERR_OK;
}

/* ---- IDs ---- */

static enum err write_resolved(struct call *c, const struct trace_id *trace,
                               const struct span_id *span)
{
    struct json_writer *j = &c->json;
    json_object_begin(j);
    json_key(j, "kind");
    json_text(j, span == NULL ? "trace" : "span");
    native_write_id(j, "trace", trace->b, sizeof trace->b);
    if (span != NULL)
        native_write_id(j, "span", span->b, sizeof span->b);
    json_object_end(j);
    return ERR_OK;
}

static enum err trace_exists(struct call *c, const struct trace_id *id)
{
    struct bytes data = { 0 };
    enum err e = engine_trace_get(c->options->engine, &c->context, id, &data);
    return e == ERR_CORRUPT && data.len > 0 ? ERR_OK : e;
}

/* A trace is looked for first: its index is fast, and 16 digits may be a trace ID of 64 bits. */
enum err native_resolve(struct call *c)
{
    static const char *const known[] = { "id", NULL };
    struct bytes text;
    struct trace_id trace;
    struct span_id span;
    enum err e = parameters_check(c, known);
    if (e != ERR_OK)
        return e;
    if (!parameter_text(c, "id", &text))
        return call_fail(c, ERR_INVALID, "id", "it is required");
    if (!trace_id_parse(text, &trace))
        return call_fail(c, ERR_INVALID, "id",
                         "expected a trace or span ID: 1 to 32 hexadecimal digits");
    e = trace_exists(c, &trace);
    if (e == ERR_OK)
        return write_resolved(c, &trace, NULL);
    if (e == ERR_NOT_FOUND && span_id_parse(text, &span)) {
        e = engine_span_trace(c->options->engine, &c->context, &span, &trace);
        if (e == ERR_OK)
            return write_resolved(c, &trace, &span);
    }
    return e == ERR_NOT_FOUND ? call_fail(c, e, "id", "no trace or span with this ID is stored")
                              : e;
}
