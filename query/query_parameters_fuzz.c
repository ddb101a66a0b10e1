/* SPDX-License-Identifier: Apache-2.0 */
/* Any query string at any route: no crash, no leak, and always one complete JSON value (or
 * protobuf) as the answer. The first byte picks the route; a first line, if there is one, is the
 * path's parameter; the rest is the query string, or the body of a POST. */
#include "base/mem.h"
#include "base/text.h"
#include "proto/json_reader.h"
#include "query/fake_engine.h"
#include "query/families.h"
#include "query/skeletons.h"

#include <stdlib.h>

#define PARAMETERS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One span, and one log record of it, with an attribute each. */
static const uint8_t trace[] = {
    0x0a, 46, 0x12, 44, 0x12, 42, /* resource, scope, span */
    0x0a, 16, 1,    2,  3,    4,    5, 6,    7, 8,   9,   10, 11, 12, 13, 14, 15, 16, /* trace ID */
    0x12, 8,  1,    2,  3,    4,    5, 6,    7, 8,                                    /* span ID */
    0x2a, 1,  'n',                                                                    /* name */
    0x4a, 9,  0x0a, 1,  'k',  0x12, 4, 0x0a, 2, 'v', 'w',                             /* k = "vw" */
};
static const uint8_t record[] = {
    0x0a, 36, 0x12, 34, 0x12, 32, /* resource, scope, record */
    0x4a, 16, 1,    2,  3,    4,  5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, /* trace ID */
    0x52, 8,  1,    2,  3,    4,  5, 6, 7, 8,                                /* span ID */
    0x10, 9,  0x10, 9, /* severity, twice: the last counts */
};

/* As net/ splits and decodes them. */
static size_t split(struct bytes query, uint8_t *room, struct http_parameter *out)
{
    size_t count = 0;
    while (query.len > 0 && count < PARAMETERS_MAX) {
        size_t end = bytes_find(query, '&');
        struct bytes part = bytes_slice(query, 0, end);
        query = bytes_slice(query, end == SIZE_MAX ? query.len : end + 1, SIZE_MAX);
        size_t at = bytes_find(part, '=');
        struct bytes name = bytes_slice(part, 0, at);
        struct bytes value = bytes_slice(part, at == SIZE_MAX ? part.len : at + 1, SIZE_MAX);
        size_t name_len, value_len;
        if (!text_percent_decode(name, true, room, &name_len) ||
            !text_percent_decode(value, true, room + name.len, &value_len))
            continue;
        out[count].name = bytes_of(room, name_len);
        out[count++].value = bytes_of(room + name.len, value_len);
        room += name.len + value.len;
    }
    return count;
}

static void check_json(struct bytes text)
{
    struct json_reader r;
    struct json_token t = { .type = JSON_NULL };
    struct err_note note;
    json_reader_init(&r, text, JSON_READER_DEPTH_MAX);
    while (t.type != JSON_END)
        if (json_reader_next(&r, &t, &note) != ERR_OK)
            abort();
}

static void check_route(struct fake_engine *f, enum call_api api, const struct call_route *route,
                        struct bytes path, struct bytes query, bool is_post)
{
    struct query_options options = { .engine = &f->engine,
                                     .timeout_ns = 10 * NS_PER_S,
                                     .memory_bytes = (size_t)16 << 20,
                                     .version = "fuzz" };
    static const struct query_facts facts = { 0 };
    struct request request = { .parameters = { path, path }, .id = 1 };
    if (is_post)
        request.body = query;
    struct http_parameter parameters[PARAMETERS_MAX];
    uint8_t *room = malloc(query.len + 1);
    struct call c = { .request = &request,
                      .options = &options,
                      .api = api,
                      .route = route,
                      .facts = &facts,
                      .received_mono_ns = clock_mono_ns(),
                      .parameters = parameters,
                      .content_type = "application/json" };
    c.parameter_count = is_post ? 0 : split(query, room, parameters);
    if (skeletons_open(NULL, options.memory_bytes, &c.skeletons) != ERR_OK)
        abort();
    arena_init(&c.arena, options.memory_bytes, NULL);
    buffer_init(&c.body, options.memory_bytes);
    json_init(&c.json, &c.body);
    budget_init(&c.budget, options.memory_bytes, NULL);
    c.context = (struct query_context){ .deadline_mono_ns = UINT64_MAX, .arena = &c.arena };
    unsigned status = call_settle(&c, route->run(&c));
    if (status < 200 || status > 599)
        abort();
    check_json(buffer_bytes(&c.body));
    call_deinit(&c);
    skeletons_close(c.skeletons);
    free(room);
}

/* Two services, of which one calls the other and a database, and has lost a partner. */
static void set_numbers(struct fake_engine *f)
{
    static struct red_point red_points[2];
    static struct edge_point edge_points[1];
    static struct red_series series[2];
    static struct edge edges[2];
    static struct unpaired gap;
    static struct derived_cleaned cleaned;
    const struct derived_node a = { .kind = NODE_SERVICE, .name = BYTES_LITERAL("1") };
    const struct derived_node b = { .kind = NODE_SERVICE,
                                    .name = BYTES_LITERAL("b"),
                                    .namespace = BYTES_LITERAL("n") };
    const struct derived_node d = { .kind = NODE_DATABASE, .name = BYTES_LITERAL("d/>") };
    red_points[0] = (struct red_point){ .start_unix_ns = 60 * NS_PER_S, .calls = 3, .errors = 1 };
    red_points[1] = (struct red_point){ .start_unix_ns = clock_unix_ns(), .calls = UINT64_MAX };
    red_points[1].estimated_calls = 1e308;
    series[0] = (struct red_series){ .service = a.name, .name = b.name, .kind = 2 };
    series[1] = (struct red_series){ .service = b.name, .namespace = b.namespace, .kind = 99 };
    series[0].points = series[1].points = red_points;
    series[0].points_count = series[1].points_count = 2;
    edge_points[0] = (struct edge_point){ .start_unix_ns = 60 * NS_PER_S, .calls = 3 };
    edges[0] = (struct edge){ .client = a, .server = b, .points = edge_points, .points_count = 1 };
    edges[1] = (struct edge){ .client = a, .server = d, .points = edge_points, .points_count = 1 };
    edges[1].type = CONNECTION_DATABASE;
    gap = (struct unpaired){ .node = b, .reason = UNPAIRED_SAMPLED, .count = 1 };
    cleaned = (struct derived_cleaned){ .service = a.name, .name = b.name, .spans = 1 };
    f->red = (struct red_result){ .series = series, .count = 2 };
    f->edges =
        (struct edge_result){ .edges = edges, .count = 2, .unpaired = &gap, .unpaired_count = 1 };
    f->cleaned = &cleaned;
    f->cleaned_count = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        enum call_api api;
        const struct call_route *routes;
        const size_t *count;
        bool is_post;
    } families[] = {
        { CALL_NATIVE, native_routes, &native_route_count, false },
        { CALL_JAEGER, jaeger_routes, &jaeger_route_count, false },
        { CALL_JAEGER_V3, jaeger_v3_routes, &jaeger_v3_route_count, false },
        { CALL_NATIVE, native_posts, &native_post_count, true },
    };
    if (size == 0)
        return 0;
    struct bytes rest = bytes_of(data + 1, size - 1), path = BYTES_LITERAL("1");
    size_t line = bytes_find(rest, '\n');
    if (line != SIZE_MAX) {
        path = bytes_slice(rest, 0, line);
        rest = bytes_slice(rest, line + 1, SIZE_MAX);
    }
    long before = fault_live_blocks();
    struct fake_engine f;
    fake_engine_init(&f);
    f.traces_data = bytes_of(trace, sizeof trace);
    f.logs_data = bytes_of(record, sizeof record);
    set_numbers(&f);
    size_t route = data[0];
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (route < *families[i].count) {
            check_route(&f, families[i].api, &families[i].routes[route], path, rest,
                        families[i].is_post);
            break;
        }
        route -= *families[i].count;
    }
    fake_engine_deinit(&f);
    if (fault_live_blocks() != before)
        abort();
    return 0;
}
