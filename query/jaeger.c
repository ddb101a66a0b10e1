/* SPDX-License-Identifier: Apache-2.0 */
/* Jaeger's HTTP API as its page up to 2.18 and Grafana's data source use it. Parameters that are
 * not known are ignored, as there. Source: facts, Jaeger sections 2 and 15. */
#include "query/families.h"
#include "query/jaeger_json.h"
#include "query/jaeger_numbers.h"
#include "query/jaeger_query.h"

#include "base/text.h"
#include "query/jaeger_service.h"

#define LOOKBACK_DEFAULT_NS (48 * 3600 * NS_PER_S)

void jaeger_envelope_begin(struct call *c)
{
    json_object_begin(&c->json);
    json_key(&c->json, "data");
}

static void begin_errors(struct call *c, uint64_t total)
{
    struct json_writer *j = &c->json;
    json_key(j, "total");
    json_u64(j, total);
    json_key(j, "limit");
    json_u64(j, 0);
    json_key(j, "offset");
    json_u64(j, 0);
    json_key(j, "errors");
}

void jaeger_envelope_end(struct call *c, uint64_t total)
{
    begin_errors(c, total);
    json_null(&c->json);
    json_object_end(&c->json);
}

/* ---- Services and operations ---- */

static enum err services(struct call *c)
{
    struct bytes *names;
    size_t count;
    enum err e = engine_services(c->options->engine, &c->context, &names, &count);
    if (e != ERR_OK)
        return e;
    jaeger_envelope_begin(c);
    json_array_begin(&c->json);
    for (size_t i = 0; i < count; i++)
        json_string(&c->json, jaeger_service_shown(names[i]));
    json_array_end(&c->json);
    jaeger_envelope_end(c, count);
    return ERR_OK;
}

/* Names only: the engine lists them sorted, once for each kind. */
static enum err service_operations(struct call *c)
{
    struct operation *operations;
    size_t count, names = 0;
    uint64_t rest_spans; /* its shape has no place for it */
    enum err e = engine_operations(c->options->engine, &c->context,
                                   jaeger_service_asked(c->request->parameters[0]), &operations,
                                   &count, &rest_spans);
    if (e != ERR_OK)
        return e;
    jaeger_envelope_begin(c);
    json_array_begin(&c->json);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && bytes_equal(operations[i].name, operations[i - 1].name))
            continue;
        json_string(&c->json, operations[i].name);
        names++;
    }
    json_array_end(&c->json);
    jaeger_envelope_end(c, names);
    return ERR_OK;
}

static enum err all_operations(struct call *c)
{
    struct bytes service, kind = { 0 };
    struct operation *operations;
    size_t count, shown = 0;
    uint64_t rest_spans;
    if (!parameter_text(c, "service", &service))
        return call_fail(c, ERR_INVALID, "service", "it is required");
    (void)parameter_text(c, "spanKind", &kind);
    enum err e = engine_operations(c->options->engine, &c->context, jaeger_service_asked(service),
                                   &operations, &count, &rest_spans);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    jaeger_envelope_begin(c);
    json_array_begin(j);
    for (size_t i = 0; i < count; i++) {
        const char *word = jaeger_kind(operations[i].kind);
        if (kind.len > 0 && !bytes_equal_text(kind, word))
            continue;
        json_object_begin(j);
        json_key(j, "name");
        json_string(j, operations[i].name);
        json_key(j, "spanKind");
        json_text(j, word);
        json_object_end(j);
        shown++;
    }
    json_array_end(j);
    jaeger_envelope_end(c, shown);
    return ERR_OK;
}

/* ---- Traces ---- */

/* Hex, or, as of Jaeger 2.20, base64 of the 16 or 8 bytes. */
static bool parse_trace_id(struct bytes text, struct trace_id *out)
{
    uint8_t raw[24];
    size_t len;
    if (trace_id_parse(text, out))
        return true;
    if (text.len > 24 || !text_base64_parse(text, raw, &len) || (len != 16 && len != 8))
        return false;
    memset(out->b, 0, sizeof out->b);
    memcpy(out->b + sizeof out->b - len, raw, len);
    return true;
}

static enum err write_trace(struct call *c, const struct trace_id *id, struct bytes data)
{
    return jaeger_write_trace(&c->json, id, data);
}

/* The range in the parameters is a hint, and wrong by a factor of 1,000 from some clients: ignored.
 */
static enum err get_trace(struct call *c, const struct trace_id *id, struct bytes *out)
{
    struct bytes data = { 0 };
    enum err e = engine_trace_get(c->options->engine, &c->context, id, &data);
    if (e == ERR_CORRUPT && data.len > 0) {
        c->is_damaged = true;
        e = ERR_OK;
    }
    if (e == ERR_OK)
        *out = data;
    return e;
}

static enum err trace(struct call *c)
{
    struct trace_id id;
    struct bytes data;
    if (!parse_trace_id(c->request->parameters[0], &id))
        return call_fail(c, ERR_INVALID, NULL, "malformed trace ID");
    enum err e = get_trace(c, &id, &data);
    if (e == ERR_NOT_FOUND)
        return call_fail(c, e, NULL, "trace not found");
    if (e != ERR_OK)
        return e;
    jaeger_envelope_begin(c);
    json_array_begin(&c->json);
    e = write_trace(c, &id, data);
    json_array_end(&c->json);
    jaeger_envelope_end(c, 1);
    return e;
}

static void write_missing(struct call *c, const struct trace_id *missing, size_t count)
{
    struct json_writer *j = &c->json;
    if (count == 0) {
        json_null(j);
        return;
    }
    json_array_begin(j);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(j);
        json_key(j, "code");
        json_u64(j, 404);
        json_key(j, "msg");
        json_text(j, "trace not found");
        json_key(j, "traceID");
        json_hex(j, bytes_of(missing[i].b, sizeof missing[i].b));
        json_object_end(j);
    }
    json_array_end(j);
}

/* traceID=, any number of times: these traces and no search. */
static enum err traces_by_id(struct call *c)
{
    struct trace_id *missing = arena_alloc_array(&c->arena, c->parameter_count, sizeof missing[0]);
    size_t found = 0, missed = 0;
    enum err e = missing == NULL ? arena_failure(&c->arena) : ERR_OK;
    jaeger_envelope_begin(c);
    json_array_begin(&c->json);
    for (size_t i = 0; e == ERR_OK && i < c->parameter_count; i++) {
        struct trace_id id;
        struct bytes data;
        if (!bytes_equal_text(c->parameters[i].name, "traceID"))
            continue;
        if (!parse_trace_id(c->parameters[i].value, &id))
            return call_fail(c, ERR_INVALID, "traceID", "malformed trace ID");
        e = get_trace(c, &id, &data);
        if (e == ERR_NOT_FOUND) {
            missing[missed++] = id;
            e = ERR_OK;
        } else if (e == ERR_OK) {
            e = write_trace(c, &id, data);
            found++;
        }
    }
    json_array_end(&c->json);
    begin_errors(c, found);
    write_missing(c, missing, missed);
    json_object_end(&c->json);
    return e;
}

/* Epoch microseconds, as nanoseconds. */
static enum err parameter_us(struct call *c, const char *name, uint64_t *out_ns, bool *out_is_set)
{
    uint64_t us = UINT64_MAX;
    enum err e = parameter_u64(c, name, 0, UINT64_MAX / NS_PER_US - 1, &us);
    *out_is_set = e == ERR_OK && us != UINT64_MAX;
    if (*out_is_set)
        *out_ns = us * NS_PER_US;
    return e;
}

static enum err read_range(struct call *c, struct time_range *out)
{
    uint64_t start = 0, end = 0;
    bool has_start, has_end;
    enum err e = parameter_us(c, "start", &start, &has_start);
    if (e == ERR_OK)
        e = parameter_us(c, "end", &end, &has_end);
    if (e != ERR_OK)
        return e;
    if (!has_end)
        end = clock_unix_ns();
    if (!has_start)
        start = end > LOOKBACK_DEFAULT_NS ? end - LOOKBACK_DEFAULT_NS : 0;
    if (end < start)
        return call_fail(c, ERR_INVALID, "end", "it is earlier than 'start'");
    out->min_unix_ns = start;
    out->max_unix_ns = end + NS_PER_US; /* the microsecond of the end belongs to the range */
    return ERR_OK;
}

/* tag=key:value, any number of times, and tags={"key":"value"}. */
static enum err read_tags(struct call *c, struct filter *f)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < c->parameter_count; i++) {
        struct bytes value = c->parameters[i].value;
        if (bytes_equal_text(c->parameters[i].name, "tag") && value.len > 0) {
            size_t at = bytes_find(value, ':');
            if (at == SIZE_MAX)
                return call_fail(c, ERR_INVALID, "tag", "expected key:value");
            jaeger_add_tag(f, bytes_slice(value, 0, at), bytes_slice(value, at + 1, SIZE_MAX));
        } else if (bytes_equal_text(c->parameters[i].name, "tags") && value.len > 0) {
            e = jaeger_add_tags(c, f, "tags", value);
        }
    }
    return e;
}

static enum err traces(struct call *c)
{
    static const struct jaeger_search_names names = { "service", "operation", "minDuration",
                                                      "maxDuration" };
    struct bytes text;
    uint64_t limit = JAEGER_LIMIT_DEFAULT;
    struct trace_query query = { .order = FIND_NEWEST };
    struct filter f;
    if (parameter_text(c, "traceID", &text))
        return traces_by_id(c);
    if (!parameter_text(c, "service", &text))
        return call_fail(c, ERR_INVALID, "service", "it is required");
    filter_init(&f, &c->arena);
    enum err e = jaeger_add_plain(c, &f, &names);
    if (e == ERR_OK)
        e = read_tags(c, &f);
    if (e == ERR_OK)
        e = read_range(c, &query.range);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, UINT32_MAX, &limit);
    if (e == ERR_OK)
        e = filter_tree(&f, &query.filter);
    if (e != ERR_OK)
        return e;
    query.limit = (size_t)(limit < JAEGER_LIMIT_MAX ? limit : JAEGER_LIMIT_MAX);

    size_t found = 0;
    jaeger_envelope_begin(c);
    json_array_begin(&c->json);
    e = jaeger_find(c, &query, write_trace, &found);
    json_array_end(&c->json);
    jaeger_envelope_end(c, found);
    return e;
}

const struct call_route jaeger_routes[] = {
    { "/api/services", services, CALL_QUICK },
    { "/api/services/{service}/operations", service_operations, CALL_QUICK },
    { "/api/operations", all_operations, CALL_QUICK },
    { "/api/traces", traces, CALL_HEAVY },
    { "/api/traces/{id}", trace, CALL_QUICK },
    { "/api/dependencies", jaeger_dependencies, CALL_QUICK },
    { "/api/metrics/latencies", jaeger_latencies, CALL_HEAVY },
    { "/api/metrics/calls", jaeger_call_rates, CALL_HEAVY },
    { "/api/metrics/errors", jaeger_error_rates, CALL_HEAVY },
    { "/api/metrics/minstep", jaeger_min_step, CALL_QUICK },
};
const size_t jaeger_route_count = sizeof jaeger_routes / sizeof jaeger_routes[0];
