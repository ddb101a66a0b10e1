/* SPDX-License-Identifier: Apache-2.0 */
#include "query/jaeger_query.h"

#include "proto/json_reader.h"
#include "query/jaeger_service.h"

static struct expr *either(struct arena *a, struct expr *one, struct expr *other)
{
    return expr_binary(a, EXPR_OR, one, other);
}

static size_t word_index(struct bytes text, const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (bytes_equal_text(text, words[i]))
            return i;
    return SIZE_MAX;
}

/* What a special key asks of the span itself, or NULL when the key or the value is not special. */
static struct expr *special_tag(struct arena *a, struct bytes key, struct bytes value)
{
    if (bytes_equal_text(key, "error")) {
        if (bytes_equal_text(value, "true"))
            return term_intrinsic(a, EXPR_INTRINSIC_SPAN_STATUS, EXPR_EQ, EXPR_STATUS, 2);
        if (bytes_equal_text(value, "false"))
            return term_intrinsic(a, EXPR_INTRINSIC_SPAN_STATUS, EXPR_NE, EXPR_STATUS, 2);
        return NULL;
    }
    if (bytes_equal_text(key, "span.kind")) {
        size_t kind = word_index(value, kind_words);
        return kind == SIZE_MAX
                   ? NULL
                   : term_intrinsic(a, EXPR_INTRINSIC_SPAN_KIND, EXPR_EQ, EXPR_KIND, (int64_t)kind);
    }
    if (bytes_equal_text(key, "span.status") || bytes_equal_text(key, "otel.status_code")) {
        static const char *const codes[] = { "UNSET", "OK", "ERROR", NULL };
        size_t status = word_index(value, status_words);
        if (status == SIZE_MAX)
            status = word_index(value, codes);
        return status == SIZE_MAX ? NULL
                                  : term_intrinsic(a, EXPR_INTRINSIC_SPAN_STATUS, EXPR_EQ,
                                                   EXPR_STATUS, (int64_t)status);
    }
    if (bytes_equal_text(key, "otel.scope.name") || bytes_equal_text(key, "scope.name"))
        return term_intrinsic_text(a, EXPR_INTRINSIC_SCOPE_NAME, EXPR_EQ, value);
    if (bytes_equal_text(key, "otel.scope.version") || bytes_equal_text(key, "scope.version"))
        return term_intrinsic_text(a, EXPR_INTRINSIC_SCOPE_VERSION, EXPR_EQ, value);
    if (bytes_equal_text(key, "otel.status_description"))
        return term_intrinsic_text(a, EXPR_INTRINSIC_SPAN_STATUS_MESSAGE, EXPR_EQ, value);
    if (bytes_start_with(key, BYTES_LITERAL("resource.")) && key.len > strlen("resource."))
        return term_text(a, EXPR_SCOPE_RESOURCE, bytes_slice(key, strlen("resource."), SIZE_MAX),
                         value);
    return NULL;
}

void jaeger_add_tag(struct filter *f, struct bytes key, struct bytes value)
{
    struct expr *plain = term_text(f->arena, EXPR_SCOPE_EVERYWHERE, key, value);
    struct expr *special = special_tag(f->arena, key, value);
    filter_add(f, special == NULL ? plain : either(f->arena, special, plain));
}

/* The text of a string token, in the call's arena. */
static enum err token_text(struct call *c, const struct json_token *t, struct bytes *out)
{
    struct buffer text;
    buffer_init(&text, c->options->memory_bytes);
    json_token_unescape(t, &text);
    enum err e = buffer_error(&text);
    if (e == ERR_OK)
        e = arena_dup(&c->arena, buffer_bytes(&text), out);
    buffer_deinit(&text);
    return e;
}

enum err jaeger_add_tags(struct call *c, struct filter *f, const char *parameter, struct bytes json)
{
    static const char malformed[] = "expected a JSON object of strings, as {\"error\":\"true\"}";
    struct json_reader reader;
    struct json_token t;
    struct err_note note = { 0 };
    json_reader_init(&reader, json, 8);
    enum err e = json_reader_next(&reader, &t, &note);
    if (e == ERR_OK && t.type != JSON_OBJECT_BEGIN)
        return call_fail(c, ERR_INVALID, parameter, "%s", malformed);
    while (e == ERR_OK && (e = json_reader_next(&reader, &t, &note)) == ERR_OK &&
           t.type == JSON_KEY) {
        struct bytes key, value;
        e = token_text(c, &t, &key);
        if (e == ERR_OK)
            e = json_reader_next(&reader, &t, &note);
        if (e == ERR_OK && t.type != JSON_STRING)
            return call_fail(c, ERR_INVALID, parameter, "%s", malformed);
        if (e == ERR_OK)
            e = token_text(c, &t, &value);
        if (e == ERR_OK)
            jaeger_add_tag(f, key, value);
    }
    if (e == ERR_OK)
        e = json_reader_next(&reader, &t, &note); /* nothing may follow */
    if (e == ERR_INVALID || e == ERR_TOO_DEEP)
        return call_fail(c, ERR_INVALID, parameter, "malformed JSON at byte %zu: %s", note.offset,
                         note.what == NULL ? err_text(e) : note.what);
    return e;
}

enum err jaeger_add_plain(struct call *c, struct filter *f, const struct jaeger_search_names *names)
{
    struct bytes text;
    uint64_t min_ns = 0, max_ns = UINT64_MAX;
    bool has_min = false, has_max = false;
    if (parameter_text(c, names->service, &text))
        filter_add(f, term_service(f->arena, jaeger_service_asked(text)));
    if (parameter_text(c, names->operation, &text))
        filter_add(f, term_intrinsic_text(f->arena, EXPR_INTRINSIC_SPAN_NAME, EXPR_EQ, text));
    enum err e = parameter_duration(c, names->duration_min, &min_ns, &has_min);
    if (e == ERR_OK)
        e = parameter_duration(c, names->duration_max, &max_ns, &has_max);
    if (e != ERR_OK)
        return e;
    if (has_min && has_max && max_ns < min_ns)
        return call_fail(c, ERR_INVALID, names->duration_max, "it is less than '%s'",
                         names->duration_min);
    if (has_min)
        filter_add(f, term_intrinsic(f->arena, EXPR_INTRINSIC_SPAN_DURATION, EXPR_GE, EXPR_DURATION,
                                     (int64_t)min_ns));
    if (has_max)
        filter_add(f, term_intrinsic(f->arena, EXPR_INTRINSIC_SPAN_DURATION, EXPR_LE, EXPR_DURATION,
                                     (int64_t)max_ns));
    return ERR_OK;
}

enum err jaeger_find(struct call *c, const struct trace_query *query, jaeger_trace_fn *on_trace,
                     size_t *out_found)
{
    struct trace_result result = { 0 };
    enum err e = engine_traces_find(c->options->engine, &c->context, query, &result);
    if (e != ERR_OK)
        return e;

    c->is_cut = !result.progress.is_complete;
    /* One trace at a time in memory, besides the answer. */
    struct arena scratch;
    arena_init(&scratch, c->options->memory_bytes, c->options->budget);
    struct query_context context = c->context;
    context.arena = &scratch;
    size_t found = 0;
    for (size_t i = 0; e == ERR_OK && i < result.count; i++) {
        const struct trace_id *id = &result.traces[i].trace_id;
        struct bytes data = { 0 };
        e = engine_trace_get(c->options->engine, &context, id, &data);
        if (e == ERR_CORRUPT && data.len > 0) {
            c->is_damaged = true;
            e = ERR_OK;
        }
        if (e == ERR_OK) {
            e = on_trace(c, id, data);
            found++;
        } else if (e == ERR_NOT_FOUND) {
            e = ERR_OK; /* it expired between the two questions */
        }
        if (e == ERR_OK)
            e = buffer_error(&c->body);
        arena_reset(&scratch);
    }
    arena_deinit(&scratch);
    if (e == ERR_OK)
        *out_found = found;
    return e;
}

const char *jaeger_kind(uint32_t kind)
{
    return kind == 0 || kind > 5 ? "" : kind_words[kind];
}
