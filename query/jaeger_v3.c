/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's HTTP API of version 3: OTLP in JSON. Source: facts, Jaeger section 8. */
#include "query/families.h"
#include "query/jaeger_numbers.h"
#include "query/jaeger_query.h"

#include "proto/otlp_json.h"
#include "query/jaeger_service.h"

static enum err services(struct call *c)
{
    struct bytes *names;
    size_t count;
    enum err e = engine_services(c->options->engine, &c->context, &names, &count);
    if (e != ERR_OK)
        return e;
    json_object_begin(&c->json);
    json_key(&c->json, "services");
    json_array_begin(&c->json);
    for (size_t i = 0; i < count; i++)
        json_string(&c->json, jaeger_service_shown(names[i]));
    json_array_end(&c->json);
    json_object_end(&c->json);
    return ERR_OK;
}

/* Here, unlike in the older API, an operation without a kind counts as internal. */
static const char *shown_kind(uint32_t kind)
{
    const char *word = jaeger_kind(kind);
    return *word == '\0' ? "internal" : word;
}

static enum err operations(struct call *c)
{
    struct bytes service, kind = { 0 };
    struct operation *list;
    size_t count;
    uint64_t rest_spans; /* its shape has no place for it */
    if (!parameter_text(c, "service", &service))
        return call_fail(c, ERR_INVALID, "service", "it is required");
    if (!parameter_text(c, "spanKind", &kind))
        (void)parameter_text(c, "span_kind", &kind);
    enum err e = engine_operations(c->options->engine, &c->context, jaeger_service_asked(service),
                                   &list, &count, &rest_spans);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    json_object_begin(j);
    json_key(j, "operations");
    json_array_begin(j);
    for (size_t i = 0; i < count; i++) {
        const char *word = shown_kind(list[i].kind);
        if (kind.len > 0 && !bytes_equal_text(kind, word))
            continue;
        json_object_begin(j);
        json_key(j, "name");
        json_string(j, list[i].name);
        json_key(j, "spanKind");
        json_text(j, word);
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
    return ERR_OK;
}

static void write_result(struct call *c, struct bytes data)
{
    json_object_begin(&c->json);
    json_key(&c->json, "result");
    otlp_json_write(SIGNAL_TRACES, data, &c->json);
    json_object_end(&c->json);
}

/* startTime and endTime are hints, and not needed. */
static enum err trace(struct call *c)
{
    struct trace_id id;
    struct bytes data = { 0 };
    if (!trace_id_parse(c->request->parameters[0], &id))
        return call_fail(c, ERR_INVALID, NULL, "malformed trace ID");
    enum err e = engine_trace_get(c->options->engine, &c->context, &id, &data);
    if (e == ERR_CORRUPT && data.len > 0) {
        c->is_damaged = true;
        e = ERR_OK;
    }
    if (e == ERR_NOT_FOUND)
        return call_fail(c, e, NULL, "No traces found");
    if (e == ERR_OK)
        write_result(c, data);
    return e;
}

/* The spelling that was used: query.serviceName or, deprecated, query.service_name. */
static const char *spelled(const struct call *c, const char *camel, const char *snake)
{
    struct bytes ignored;
    return parameter_text(c, snake, &ignored) ? snake : camel;
}

static enum err read_range(struct call *c, struct time_range *out)
{
    const char *min = spelled(c, "query.startTimeMin", "query.start_time_min");
    const char *max = spelled(c, "query.startTimeMax", "query.start_time_max");
    enum err e = parameter_rfc3339(c, min, true, &out->min_unix_ns);
    if (e == ERR_OK)
        e = parameter_rfc3339(c, max, true, &out->max_unix_ns);
    if (e == ERR_OK && out->max_unix_ns <= out->min_unix_ns)
        e = call_fail(c, ERR_INVALID, max, "it must be later than '%s'", min);
    return e;
}

static enum err read_query(struct call *c, struct trace_query *out)
{
    struct jaeger_search_names names = {
        .service = spelled(c, "query.serviceName", "query.service_name"),
        .operation = spelled(c, "query.operationName", "query.operation_name"),
        .duration_min = spelled(c, "query.durationMin", "query.duration_min"),
        .duration_max = spelled(c, "query.durationMax", "query.duration_max"),
    };
    struct bytes text;
    struct filter f;
    uint64_t depth = 0;
    if (parameter_text(c, "query.filter", &text))
        return call_fail(c, ERR_UNSUPPORTED, "query.filter",
                         "structured filters are not supported yet; use the other parameters");
    filter_init(&f, &c->arena);
    enum err e = read_range(c, &out->range);
    if (e == ERR_OK)
        e = jaeger_add_plain(c, &f, &names);
    if (e == ERR_OK && parameter_text(c, "query.attributes", &text))
        e = jaeger_add_tags(c, &f, "query.attributes", text);
    static const char *const depths[] = { "query.searchDepth", "query.search_depth",
                                          "query.num_traces" };
    for (size_t i = 0; e == ERR_OK && depth == 0 && i < sizeof depths / sizeof depths[0]; i++)
        e = parameter_u64(c, depths[i], 0, UINT32_MAX, &depth);
    if (e == ERR_OK)
        e = filter_tree(&f, &out->filter);
    if (e != ERR_OK)
        return e;
    out->order = FIND_NEWEST;
    out->limit = depth == 0                 ? JAEGER_LIMIT_DEFAULT
                 : depth < JAEGER_LIMIT_MAX ? (size_t)depth
                                            : JAEGER_LIMIT_MAX;
    return ERR_OK;
}

/* One TracesData after the other is one TracesData: messages concatenate. The body serves as the
 * place. */
static enum err collect(struct call *c, const struct trace_id *id, struct bytes data)
{
    (void)id;
    buffer_append_bytes(&c->body, data);
    return buffer_error(&c->body);
}

static enum err traces(struct call *c)
{
    struct trace_query query = { 0 };
    size_t found = 0;
    enum err e = read_query(c, &query);
    if (e == ERR_OK)
        e = jaeger_find(c, &query, collect, &found);
    if (e != ERR_OK)
        return e;
    if (found == 0)
        return call_fail(c, ERR_NOT_FOUND, NULL, "No traces found");
    struct buffer all = c->body;
    buffer_init(&c->body, c->options->memory_bytes);
    write_result(c, buffer_bytes(&all));
    buffer_deinit(&all);
    return ERR_OK;
}

/* ---- Summaries ---- */

static void write_count(struct json_writer *j, const char *key, uint32_t n)
{
    json_key(j, key);
    json_u64(j, n);
}

static void write_summary(struct json_writer *j, const struct trace_summary *t)
{
    json_object_begin(j);
    json_key(j, "traceId");
    json_hex(j, bytes_of(t->trace_id.b, sizeof t->trace_id.b));
    json_key(j, "rootServiceName");
    json_string(j, jaeger_service_shown(t->root_service));
    json_key(j, "rootOperationName");
    json_string(j, t->root_name);
    json_key(j, "minStartTimeUnixNano");
    json_u64_string(j, t->start_unix_ns);
    json_key(j, "maxEndTimeUnixNano");
    json_u64_string(j, t->end_unix_ns);
    write_count(j, "spanCount", t->spans);
    write_count(j, "errorSpanCount", t->errors);
    write_count(j, "orphanSpanCount", t->orphans);
    json_key(j, "services");
    json_array_begin(j);
    for (size_t i = 0; i < t->services_count; i++) {
        json_object_begin(j);
        json_key(j, "name");
        json_string(j, jaeger_service_shown(t->services[i].name));
        write_count(j, "spanCount", t->services[i].spans);
        write_count(j, "errorSpanCount", t->services[i].errors);
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
}

static enum err summaries(struct call *c)
{
    struct trace_query query = { 0 };
    struct trace_result result = { 0 };
    enum err e = read_query(c, &query);
    if (e == ERR_OK)
        e = engine_traces_find(c->options->engine, &c->context, &query, &result);
    if (e != ERR_OK)
        return e;
    c->is_cut = !result.progress.is_complete;
    json_object_begin(&c->json);
    json_key(&c->json, "summaries");
    json_array_begin(&c->json);
    for (size_t i = 0; i < result.count; i++)
        write_summary(&c->json, &result.traces[i]);
    json_array_end(&c->json);
    json_object_end(&c->json);
    return ERR_OK;
}

const struct call_route jaeger_v3_routes[] = {
    { "/api/v3/services", services, CALL_QUICK },
    { "/api/v3/operations", operations, CALL_QUICK },
    { "/api/v3/dependencies", jaeger_v3_dependencies, CALL_QUICK },
    { "/api/v3/traces", traces, CALL_HEAVY },
    { "/api/v3/traces/{id}", trace, CALL_QUICK },
    { "/api/v3/trace-summaries", summaries, CALL_HEAVY },
};
const size_t jaeger_v3_route_count = sizeof jaeger_v3_routes / sizeof jaeger_v3_routes[0];
