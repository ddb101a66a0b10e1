/* SPDX-License-Identifier: Apache-2.0 */
/* The API through a real server on a port of its own, over an engine that notes what it is asked:
 * parameters become the right question, pages go on where they ended, every error has its status
 * and its family's shape, and a query ends with its client, its deadline or the server. */
#include "query/query.h"

#include "base/budget.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/server.h"
#include "proto/otlp_json.h"
#include "query/fake_engine.h"
#include "query/test_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct fake_engine engine;
    struct metrics *metrics;
    struct router *router;
    struct query_service *service;
    struct server *server;
    unsigned port;
    struct buffer data; /* a trace */
    struct buffer logs;
};

/* ---- A client ---- */

/* The last reply stays readable until the next. */
static struct reply last;
static unsigned get(struct fixture *f, const char *path)
{
    reply_free(&last);
    client_get(f->port, path, "", &last);
    return last.status;
}

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s\n  does not contain\n%s", text, part);
}

/* ---- The fixture ---- */

static void read_otlp(enum signal signal, const char *json, struct buffer *out)
{
    struct err_note note = { 0 };
    buffer_init(out, 1 << 20);
    assert_int_equal(otlp_json_read(signal, bytes_text(json), &otlp_limits_default, out, &note),
                     ERR_OK);
}

static const char trace_json[] =
    "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
    "{\"stringValue\":\"shop\"}}]},\"scopeSpans\":[{\"spans\":[{\"traceId\":"
    "\"00000000000000000000000000005d5a\",\"spanId\":\"00000000000000a1\",\"name\":\"GET /\","
    "\"kind\":2,\"startTimeUnixNano\":\"1700000000000000000\",\"endTimeUnixNano\":"
    "\"1700000000001500000\"}]}]}]}";
static const char logs_json[] =
    "{\"resourceLogs\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
    "{\"stringValue\":\"shop\"}}]},\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"1700\","
    "\"severityNumber\":9,\"severityText\":\"INFO\",\"body\":{\"stringValue\":\"hello\"},"
    "\"traceId\":\"00000000000000000000000000005d5a\",\"spanId\":\"00000000000000a1\"}]}]}]}";

static void start(struct fixture *f, const struct query_options *asked)
{
    struct query_options options = *asked;
    memset(f, 0, sizeof *f);
    fake_engine_init(&f->engine);
    f->engine.progress.is_complete = true;
    f->engine.statistics.spans = 1;
    f->engine.statistics.first_arrival_unix_ns = 1000;
    read_otlp(SIGNAL_TRACES, trace_json, &f->data);
    read_otlp(SIGNAL_LOGS, logs_json, &f->logs);
    f->engine.traces_data = buffer_bytes(&f->data);
    f->engine.logs_data = buffer_bytes(&f->logs);
    f->metrics = metrics_open();
    options.engine = &f->engine.engine;
    options.metrics = f->metrics;
    options.version = "1.2.3";
    char *message = NULL;
    assert_int_equal(router_open(&f->router), ERR_OK);
    assert_int_equal(query_open(&options, &f->service), ERR_OK);
    assert_int_equal(query_add_routes(f->service, f->router), ERR_OK);
    struct listener_options listener = { "http", "127.0.0.1:0", f->router };
    struct server_options server = { .loops = 1, .listeners = &listener, .listener_count = 1 };
    assert_int_equal(server_start(&server, &f->server, &message), ERR_OK);
    f->port = server_port(f->server, 0);
}

static void stop(struct fixture *f)
{
    server_stop(f->server);
    query_close(f->service);
    router_close(f->router);
    metrics_close(f->metrics);
    buffer_deinit(&f->data);
    buffer_deinit(&f->logs);
    fake_engine_deinit(&f->engine);
    reply_free(&last);
}

static int setup(void **state)
{
    static struct fixture f;
    start(&f, &(struct query_options){ 0 });
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    stop(*state);
    return 0;
}

/* ---- Questions ---- */

static void native_search_asks_the_engine(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *filter;
    } cases[] = {
        { "", "{ }" },
        { "q=", "{ }" },
        { "q=%7B%7D", "{ }" },
        { "q=%7B+.a+%3D+1+%7D", "{ .a = 1 }" },
        { "service=shop", "{ resource.service.name = \"shop\" }" },
        { "operation=GET+%2F", "{ span:name = \"GET /\" }" },
        { "kind=server", "{ span:kind = server }" },
        { "status=error", "{ span:status = error }" },
        { "min_duration=1.5s", "{ span:duration >= 1500ms }" },
        { "max_duration=2s", "{ span:duration <= 2s }" },
        { "min_trace_duration=1s", "{ trace:duration >= 1s }" },
        { "max_trace_duration=1m", "{ trace:duration <= 1m }" },
        { "attributes=a%3Db", "{ everywhere.a text= \"b\" }" },
        { "attributes=a=b=c&attributes=d=",
          "{ (everywhere.a text= \"b=c\") && (everywhere.d text= \"\") }" },
        { "service=a&operation=b&status=ok&q=%7B.x%7D",
          "{ ((resource.service.name = \"a\") && (span:name = \"b\")) && ((span:status = ok) && "
          ".x) }" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "/api/spindle/v1/traces?%s", cases[i].query);
        if (get(f, path) != 200)
            fail_msg("%s: %s", path, last.body);
        assert_string_equal(f->engine.filter, cases[i].filter);
    }
}

static void ranges_orders_and_limits_are_passed_down(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/api/spindle/v1/traces"), 200);
    assert_int_equal(f->engine.range.min_unix_ns, 0);
    assert_true(f->engine.range.max_unix_ns == UINT64_MAX);
    assert_int_equal(f->engine.limit, 100);
    assert_int_equal(f->engine.order, FIND_NEWEST);
    assert_int_equal(f->engine.spans_per_trace, 1);
    assert_false(f->engine.after.is_set);

    assert_int_equal(get(f, "/api/spindle/v1/traces?from=5&to=2026-01-31T12:00:00.5Z&sort=slowest"
                            "&limit=7&spans=3"),
                     200);
    assert_int_equal(f->engine.range.min_unix_ns, 5);
    assert_true(f->engine.range.max_unix_ns == UINT64_C(1769860800500000000));
    assert_int_equal(f->engine.order, FIND_SLOWEST);
    assert_int_equal(f->engine.limit, 7);
    assert_int_equal(f->engine.spans_per_trace, 3);

    uint64_t before = clock_unix_ns();
    assert_int_equal(get(f, "/api/spindle/v1/logs?from=now-15m&to=now&order=oldest"), 200);
    uint64_t after = clock_unix_ns();
    uint64_t quarter = 900 * NS_PER_S;
    assert_true(f->engine.range.min_unix_ns >= before - quarter &&
                f->engine.range.min_unix_ns <= after - quarter);
    assert_true(f->engine.range.max_unix_ns >= before && f->engine.range.max_unix_ns <= after);
    assert_int_equal(f->engine.order, FIND_OLDEST);

    assert_int_equal(get(f, "/api/spindle/v1/logs?q=%7B+severity+%3E%3D+warn+%7D"), 200);
    assert_string_equal(f->engine.filter, "{ log:severity >= 13 }");
}

static void pages_go_on_where_they_ended(void **state)
{
    struct fixture *f = *state;
    static struct trace_summary one;
    f->engine.traces = &one;
    f->engine.trace_count = 1;
    f->engine.next = (struct find_cursor){ .is_set = true, .key = UINT64_MAX - 5 };
    memset(f->engine.next.id.b, 0xfb, 16);
    assert_int_equal(get(f, "/api/spindle/v1/traces?from=now-1h&service=a&limit=1"), 200);
    struct time_range range = f->engine.range;
    char *at = strstr(last.body, "\"cursor\":\"");
    assert_non_null(at);
    char cursor[128], path[512];
    assert_int_equal(sscanf(at, "\"cursor\":\"%100[A-Za-z0-9_-]\"", cursor), 1);

    (void)snprintf(path, sizeof path,
                   "/api/spindle/v1/traces?from=now-1h&service=a&limit=2&cursor=%s", cursor);
    f->engine.next.is_set = false;
    assert_int_equal(get(f, path), 200);
    assert_true(f->engine.after.is_set);
    assert_true(f->engine.after.key == UINT64_MAX - 5);
    assert_memory_equal(f->engine.after.id.b, f->engine.next.id.b, 16);
    /* "now" is that of the first page. */
    assert_true(f->engine.range.min_unix_ns == range.min_unix_ns &&
                f->engine.range.max_unix_ns == range.max_unix_ns);
    assert_null(strstr(last.body, "\"cursor\""));

    (void)snprintf(path, sizeof path,
                   "/api/spindle/v1/traces?from=now-1h&service=b&limit=2&cursor=%s", cursor);
    assert_int_equal(get(f, path), 400);
    assert_contains(last.body, "\"parameter\":\"cursor\"");
    /* What is empty is absent, and counts go with the first page only. */
    (void)snprintf(path, sizeof path,
                   "/api/spindle/v1/traces?from=now-1h&service=a&q=&kind=&hits=10&cursor=%s",
                   cursor);
    assert_int_equal(get(f, path), 200);
    (void)snprintf(path, sizeof path, "/api/spindle/v1/logs?from=now-1h&cursor=%s", cursor);
    assert_int_equal(get(f, path), 400);
    for (size_t n = 1; n < strlen(cursor); n += 7) { /* cut anywhere */
        (void)snprintf(path, sizeof path,
                       "/api/spindle/v1/traces?from=now-1h&service=a&cursor=%.*s", (int)n, cursor);
        assert_int_equal(get(f, path), 400);
    }
    f->engine.traces = NULL;
    f->engine.trace_count = 0;
}

/* ---- Answers ---- */

static void rows_say_what_was_found(void **state)
{
    struct fixture *f = *state;
    static struct service_summary services[] = { { { (const uint8_t *)"shop", 4 }, 3, 1 } };
    static struct trace_summary one = {
        .start_unix_ns = UINT64_C(1700000000000000000),
        .end_unix_ns = UINT64_C(1700000000001500000),
        .has_root = true,
        .root_service = { (const uint8_t *)"shop", 4 },
        .root_name = { (const uint8_t *)"GET /", 5 },
        .spans = 3,
        .errors = 1,
        .orphans = 2,
        .services = services,
        .services_count = 1,
        .matched_spans = 1,
    };
    one.trace_id.b[15] = 0x5a;
    one.matched = f->engine.traces_data;
    f->engine.traces = &one;
    f->engine.trace_count = 1;
    f->engine.progress = (struct find_progress){ 4, 5000, 60, false };
    assert_int_equal(get(f, "/api/spindle/v1/traces"), 200);
    assert_contains(last.body,
                    "{\"rows\":[{\"id\":\"0000000000000000000000000000005a\","
                    "\"start\":\"1700000000000000000\",\"dur\":\"1500000\",\"has_root\":true,"
                    "\"root_svc\":\"shop\",\"root_name\":\"GET /\",\"spans\":3,\"errors\":1,"
                    "\"orphans\":2,\"matched\":1,"
                    "\"svcs\":[{\"name\":\"shop\",\"color\":9,\"spans\":3,\"errors\":1}],"
                    "\"match_span\":\"00000000000000a1\"}],\"complete\":false,"
                    "\"scanned\":{\"groups\":4,\"bytes\":5000,\"rows\":60},\"took_ms\":");
    assert_null(strstr(last.body, "reason"));
    assert_contains(last.head, "no-store");
    assert_contains(last.head, "nosniff");
    assert_int_equal(get(f, "/api/spindle/v1/traces?spans=1"), 200);
    assert_contains(last.body, "\"matches\":{\"resourceSpans\":[");

    static struct log_row row;
    struct otlp_items it = otlp_items(f->engine.logs_data);
    assert_true(otlp_items_next(&it));
    row = (struct log_row){ .resource = it.resource.resource, .log = it.item };
    f->engine.logs = &row;
    f->engine.log_count = 1;
    assert_int_equal(get(f, "/api/spindle/v1/logs"), 200);
    assert_contains(last.body, "{\"rows\":[{\"time\":\"1700\",\"severity\":9,\"severity_text\":"
                               "\"INFO\",\"service\":\"shop\",\"trace\":"
                               "\"00000000000000000000000000005d5a\",\"span\":"
                               "\"00000000000000a1\",\"body\":\"hello\",\"log\":{");
    f->engine.logs = NULL;
    f->engine.traces = NULL;
    f->engine.log_count = f->engine.trace_count = 0;
    f->engine.progress = (struct find_progress){ .is_complete = true };
}

static void nothing_has_a_reason(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/api/spindle/v1/traces"), 200);
    assert_contains(last.body, "\"rows\":[],\"complete\":true");
    assert_contains(last.body, "\"reason\":\"no_match\"");
    assert_int_equal(get(f, "/api/spindle/v1/traces?to=1000"), 200);
    assert_contains(last.body, "\"reason\":\"out_of_retention\"");
    f->engine.progress.is_complete = false; /* who has not looked cannot say */
    assert_int_equal(get(f, "/api/spindle/v1/traces"), 200);
    assert_null(strstr(last.body, "\"reason\""));
    f->engine.progress.is_complete = true;
    f->engine.statistics = (struct engine_statistics){ 0 };
    assert_int_equal(get(f, "/api/spindle/v1/logs"), 200);
    assert_contains(last.body, "\"reason\":\"no_data_yet\"");
    f->engine.statistics.spans = 1;
    f->engine.statistics.first_arrival_unix_ns = 1000;
}

static void one_trace_in_every_form(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/api/spindle/v1/trace/5D5a"), 200);
    assert_int_equal(load_be64(f->engine.trace_id.b + 8), 0x5d5a);
    assert_contains(last.body, "{\"resourceSpans\":[");
    assert_contains(last.body, "\"traceId\":\"00000000000000000000000000005d5a\"");
    assert_contains(last.head, "application/json");

    struct reply r;
    client_get(f->port, "/api/spindle/v1/trace/5d5a", "Accept: application/x-protobuf\r\n", &r);
    assert_int_equal(r.status, 200);
    assert_contains(r.head, "application/x-protobuf");
    assert_contains(r.head, "vary: accept\r\n");
    assert_int_equal(r.body_len, f->data.len);
    assert_memory_equal(r.body, f->data.data, f->data.len);
    reply_free(&r);

    assert_int_equal(get(f, "/api/spindle/v1/trace/5d5a/logs"), 200);
    assert_contains(last.body, "{\"resourceLogs\":[");
    assert_int_equal(get(f, "/api/spindle/v1/trace/5d5a/span/A1"), 200);
    assert_contains(last.body, "{\"spans\":[{\"span\":{\"traceId\":");
    assert_contains(last.body, "\"resource\":{\"attributes\":[{\"key\":\"service.name\"");
    assert_int_equal(get(f, "/api/spindle/v1/trace/5d5a/span/a2"), 404);

    assert_int_equal(get(f, "/api/traces/5d5a"), 200);
    assert_contains(last.body, "{\"data\":[{\"traceID\":\"0000000000005d5a\",\"spans\":[");
    assert_contains(last.body, "\"total\":1,\"limit\":0,\"offset\":0,\"errors\":null}");
    assert_int_equal(get(f, "/api/traces/AAAAAAAAAAAAAAAAAABdWg%3D%3D"), 200); /* base64 */
    assert_int_equal(load_be64(f->engine.trace_id.b + 8), 0x5d5a);
    assert_int_equal(get(f, "/api/v3/traces/5d5a"), 200);
    assert_contains(last.body, "{\"result\":{\"resourceSpans\":[");

    /* A search that was cut short says so where the answer cannot. */
    static const char *const searches[] = {
        "/api/traces?service=shop",
        "/api/v3/"
        "trace-summaries?query.startTimeMin=2026-01-01T00:00:00Z&query.startTimeMax=2026-01-02T00:"
        "00:00Z",
    };
    for (size_t i = 0; i < 2; i++) {
        f->engine.progress.is_complete = true;
        assert_int_equal(get(f, searches[i]), 200);
        assert_null(strstr(last.head, "spindle-incomplete"));
        f->engine.progress.is_complete = false;
        assert_int_equal(get(f, searches[i]), 200);
        assert_contains(last.head, "spindle-incomplete: search");
    }
    f->engine.progress.is_complete = true;

    /* What is left of a damaged trace is given, and said to be incomplete. */
    f->engine.result = ERR_CORRUPT;
    assert_int_equal(get(f, "/api/spindle/v1/trace/5d5a"), 200);
    assert_contains(last.head, "spindle-incomplete: damaged");
    f->engine.traces_data.len = 0;
    assert_int_equal(get(f, "/api/spindle/v1/trace/5d5a"), 500);
    assert_contains(last.body, "\"code\":\"damaged\"");
    f->engine.traces_data = buffer_bytes(&f->data);
    f->engine.result = ERR_OK;
}

static void catalogues_are_listed(void **state)
{
    struct fixture *f = *state;
    static struct bytes services[] = { { (const uint8_t *)"a", 1 }, { (const uint8_t *)"b", 1 } };
    static struct operation operations[] = { { { (const uint8_t *)"x", 1 }, 0, 5 },
                                             { { (const uint8_t *)"x", 1 }, 2, 6 },
                                             { { (const uint8_t *)"y", 1 }, 3, 7 } };
    static struct attribute_key keys[] = {
        { EXPR_SCOPE_RESOURCE, { (const uint8_t *)"k", 1 }, OTLP_INT, 9 }
    };
    static struct attribute_value values[] = {
        { { .type = EXPR_INT, .integer = 500 }, 3 },
        { { .type = EXPR_STRING, .bytes = { (const uint8_t *)"v", 1 } }, 2 },
        { { .type = EXPR_BOOL, .integer = 1 }, 1 }
    };
    f->engine.services = services;
    f->engine.service_count = 2;
    f->engine.operations = operations;
    f->engine.operation_count = 3;
    f->engine.keys = keys;
    f->engine.key_count = 1;
    f->engine.values = values;
    f->engine.value_count = 3;

    assert_int_equal(get(f, "/api/spindle/v1/services"), 200);
    assert_contains(last.body, "{\"rows\":[{\"name\":\"a\",\"color\":");
    assert_int_equal(get(f, "/api/services"), 200);
    assert_string_equal(last.body, "{\"data\":[\"a\",\"b\"],\"total\":2,\"limit\":0,\"offset\":0,"
                                   "\"errors\":null}");
    assert_int_equal(get(f, "/api/v3/services"), 200);
    assert_string_equal(last.body, "{\"services\":[\"a\",\"b\"]}");

    assert_int_equal(get(f, "/api/spindle/v1/services/a%20b/operations"), 200);
    assert_string_equal(f->engine.text, "a b");
    assert_contains(last.body, "{\"rows\":[{\"name\":\"x\",\"kind\":\"unspecified\",\"spans\":5},"
                               "{\"name\":\"x\",\"kind\":\"server\",\"spans\":6},"
                               "{\"name\":\"y\",\"kind\":\"client\",\"spans\":7}]");
    assert_null(strstr(last.body, "truncated"));
    f->engine.operation_rest_spans = 12;
    assert_int_equal(get(f, "/api/spindle/v1/services/a/operations"), 200);
    assert_contains(last.body, "\"spans\":7}],\"truncated\":true,\"rest_spans\":12,");
    assert_int_equal(get(f, "/api/services/a/operations"), 200);
    assert_contains(last.body, "{\"data\":[\"x\",\"y\"],\"total\":2,");
    assert_int_equal(get(f, "/api/operations?service=a"), 200);
    assert_contains(last.body, "{\"data\":[{\"name\":\"x\",\"spanKind\":\"\"},{\"name\":\"x\","
                               "\"spanKind\":\"server\"},{\"name\":\"y\",\"spanKind\":\"client\"}]"
                               ",\"total\":3");
    assert_int_equal(get(f, "/api/operations?service=a&spanKind=server"), 200);
    assert_contains(last.body, "{\"data\":[{\"name\":\"x\",\"spanKind\":\"server\"}],\"total\":1");
    assert_int_equal(get(f, "/api/operations"), 400);
    assert_int_equal(get(f, "/api/v3/operations?service=a&span_kind=internal"), 200);
    assert_string_equal(last.body, "{\"operations\":[{\"name\":\"x\",\"spanKind\":\"internal\"}]}");

    assert_int_equal(get(f, "/api/spindle/v1/attributes?prefix=k&signal=logs&limit=3"), 200);
    assert_contains(last.body, "{\"rows\":[{\"scope\":\"resource\",\"key\":\"k\",\"type\":\"int\","
                               "\"count\":9}]");
    assert_int_equal(f->engine.signal, SIGNAL_LOGS);
    assert_int_equal(f->engine.limit, 3);
    assert_string_equal(f->engine.prefix, "k");
    assert_int_equal(get(f, "/api/spindle/v1/attributes/http.status/values?scope=span&q=%7B.a%7D"
                            "&prefix=5"),
                     200);
    assert_contains(last.body, "{\"rows\":[{\"type\":\"int\",\"value\":\"500\",\"count\":3},"
                               "{\"type\":\"string\",\"value\":\"v\",\"count\":2},"
                               "{\"type\":\"bool\",\"value\":\"true\",\"count\":1}],\"complete\":");
    assert_int_equal(f->engine.scope, EXPR_SCOPE_SPAN);
    assert_string_equal(f->engine.text, "http.status");
    assert_string_equal(f->engine.filter, "{ .a }");
    assert_string_equal(f->engine.prefix, "5");

    assert_int_equal(get(f, "/api/spindle/v1/meta"), 200);
    assert_contains(last.body, "{\"version\":\"1.2.3\",\"server_time\":\"");
    assert_contains(last.body, "\"first_span_at\":\"1000\"");
    assert_contains(last.body, "\"endpoints\":[],\"auth\":false,\"tls\":false,\"retention\":"
                               "{\"traces_s\":null,\"logs_s\":null},\"user\":null,");
    static const struct query_endpoint endpoint = { "otlp-http", "http://127.0.0.1:4318" };
    static const struct query_facts facts = { &endpoint, 1, true, true, 3600 * NS_PER_S, 0 };
    query_set_facts(f->service, &facts);
    assert_int_equal(get(f, "/api/spindle/v1/meta"), 200);
    assert_contains(last.body, "\"endpoints\":[{\"name\":\"otlp-http\",\"url\":"
                               "\"http://127.0.0.1:4318\"}],\"auth\":true,\"tls\":true,"
                               "\"retention\":{\"traces_s\":3600,\"logs_s\":null}");
}

static void status_sums_the_registry_up(void **state)
{
    struct fixture *f = *state;
    static const struct query_endpoint endpoint = { "otlp-http", "http://127.0.0.1:4318" };
    static const struct query_facts facts = { .endpoints = &endpoint, .endpoint_count = 1 };
    struct metrics *m = f->metrics;
    query_set_facts(f->service, &facts);
    metric_add(metrics_counter(m, "spindle_net_requests_total",
                               "listener=\"otlp-http\",protocol=\"http1\"", ""),
               3);
    metric_add(metrics_counter(m, "spindle_net_requests_total",
                               "listener=\"otlp-http\",protocol=\"http2\"", ""),
               4);
    metric_add(metrics_counter(m, "spindle_otlp_items_stored_total", "signal=\"traces\"", ""), 70);
    metric_add(metrics_counter(m, "spindle_otlp_items_stored_total", "signal=\"logs\"", ""), 5);
    metric_add(metrics_counter(m, "spindle_otlp_items_rejected_total",
                               "signal=\"traces\",reason=\"depth\"", ""),
               2);
    (void)metrics_counter(m, "spindle_otlp_items_rejected_total",
                          "signal=\"logs\",reason=\"depth\"", "");
    struct metric *acks = metrics_histogram(m, "spindle_ack_duration_seconds",
                                            "signal=\"traces\",transport=\"http\"", "");
    for (unsigned i = 0; i < 100; i++)
        metric_observe(acks, i < 96 ? 900 * NS_PER_US : 100 * NS_PER_MS);
    assert_int_equal(get(f, "/api/spindle/v1/status"), 200);
    assert_contains(last.body, "\"receivers\":[{\"name\":\"otlp-http\",\"url\":"
                               "\"http://127.0.0.1:4318\",\"requests\":7}],\"ingest\":{"
                               "\"spans_stored\":70,\"logs_stored\":5,");
    /* Bounds of buckets: 2^-10 s and 2^-3.25 s. */
    assert_contains(last.body, "{\"name\":\"acknowledge\",\"count\":100,\"p50_ns\":976562,"
                               "\"p95_ns\":976562,\"p99_ns\":105112051},{\"name\":\"commit\","
                               "\"count\":0,\"p50_ns\":null,\"p95_ns\":null,\"p99_ns\":null},");
    assert_contains(last.body, "\"drops\":[{\"what\":\"items rejected\",\"signal\":\"traces\","
                               "\"reason\":\"depth\",\"count\":2}],");
    assert_contains(last.body, "\"partitions\":[],");
    assert_int_equal(get(f, "/api/spindle/v1/status?x=1"), 400);
}

static void ids_are_resolved(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/api/spindle/v1/resolve?id=5d5a"), 200);
    assert_string_equal(last.body,
                        "{\"kind\":\"trace\",\"trace\":\"00000000000000000000000000005d5a\"}");
    f->engine.result = ERR_NOT_FOUND;
    f->engine.trace_of_span.b[15] = 7;
    assert_int_equal(get(f, "/api/spindle/v1/resolve?id=00000000000000A1"), 200);
    assert_string_equal(last.body,
                        "{\"kind\":\"span\",\"trace\":\"00000000000000000000000000000007\","
                        "\"span\":\"00000000000000a1\"}");
    assert_int_equal(get(f, "/api/spindle/v1/resolve?id=000000000000000000000000000000a1"), 404);
    f->engine.trace_of_span.b[15] = 0;
    assert_int_equal(get(f, "/api/spindle/v1/resolve?id=a1"), 404);
    f->engine.result = ERR_OK;
    assert_int_equal(get(f, "/api/spindle/v1/resolve"), 400);
    assert_int_equal(get(f, "/api/spindle/v1/resolve?id=xyz"), 400);
}

/* ---- Jaeger's questions ---- */

static void jaeger_search_becomes_a_filter(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *filter;
    } cases[] = {
        { "service=a", "{ resource.service.name = \"a\" }" },
        { "service=a&operation=b", "{ (resource.service.name = \"a\") && (span:name = \"b\") }" },
        { "service=a&minDuration=1us&maxDuration=2us",
          "{ ((resource.service.name = \"a\") && (span:duration >= 1us)) && (span:duration <= "
          "2us) }" },
        { "service=a&tag=x:y:z",
          "{ (resource.service.name = \"a\") && (everywhere.x text= \"y:z\") }" },
        { "service=a&tags=%7B%22x%22%3A%22y%5Cu0041%22%7D",
          "{ (resource.service.name = \"a\") && (everywhere.x text= \"yA\") }" },
        { "service=a&tag=error:true",
          "{ (resource.service.name = \"a\") && ((span:status = error) || (everywhere.error text= "
          "\"true\")) }" },
        { "service=a&tag=error:false",
          "{ (resource.service.name = \"a\") && ((span:status != error) || (everywhere.error "
          "text= \"false\")) }" },
        { "service=a&tag=span.kind:client",
          "{ (resource.service.name = \"a\") && ((span:kind = client) || (everywhere.span.kind "
          "text= \"client\")) }" },
        { "service=a&tag=otel.scope.name:lib",
          "{ (resource.service.name = \"a\") && ((instrumentation:name = \"lib\") || "
          "(everywhere.otel.scope.name text= \"lib\")) }" },
        { "service=a&tag=otel.status_code:ERROR",
          "{ (resource.service.name = \"a\") && ((span:status = error) || "
          "(everywhere.otel.status_code text= \"ERROR\")) }" },
        { "service=a&tag=resource.host:h",
          "{ (resource.service.name = \"a\") && ((resource.host text= \"h\") || "
          "(everywhere.resource.host text= \"h\")) }" },
        { "service=a&lookback=1h&unknown=x", "{ resource.service.name = \"a\" }" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "/api/traces?%s", cases[i].query);
        if (get(f, path) != 200)
            fail_msg("%s: %s", path, last.body);
        assert_string_equal(f->engine.filter, cases[i].filter);
    }
    assert_int_equal(get(f, "/api/traces?service=a&start=5&end=7&limit=3"), 200);
    assert_int_equal(f->engine.range.min_unix_ns, 5000);
    assert_int_equal(f->engine.range.max_unix_ns, 8000);
    assert_int_equal(f->engine.limit, 3);
    assert_int_equal(get(f, "/api/traces?service=a&limit=999999"), 200);
    assert_int_equal(f->engine.limit, 1500);
    assert_int_equal(get(f, "/api/traces?service=a"), 200);
    assert_int_equal(f->engine.limit, 100);
    assert_true(f->engine.range.max_unix_ns - f->engine.range.min_unix_ns ==
                48 * 3600 * NS_PER_S + 1000);

    assert_int_equal(
        get(f, "/api/v3/traces?query.service_name=a&query.startTimeMin=2023-11-14T22:13:20Z"
               "&query.startTimeMax=2023-11-14T23:13:21.5+01:00&query.duration_min=5ms"
               "&query.attributes=%7B%22k%22%3A%22v%22%7D&query.searchDepth=9"),
        404);
    assert_string_equal(f->engine.filter,
                        "{ ((resource.service.name = \"a\") && (span:duration >= 5ms)) && "
                        "(everywhere.k text= \"v\") }");
    assert_true(f->engine.range.min_unix_ns == UINT64_C(1700000000000000000));
    assert_true(f->engine.range.max_unix_ns == UINT64_C(1700000001500000000));
    assert_int_equal(f->engine.limit, 9);
    assert_string_equal(last.body, "{\"error\":{\"grpcCode\":5,\"httpCode\":404,\"message\":\"No "
                                   "traces found\",\"httpStatus\":\"Not Found\"}}");
}

static void jaeger_answers_in_its_shapes(void **state)
{
    struct fixture *f = *state;
    static struct trace_summary found[2];
    found[0].trace_id.b[14] = 0x5d;
    found[0].trace_id.b[15] = 0x5a;
    found[1].trace_id.b[15] = 2;
    found[0].spans = 3;
    f->engine.traces = found;
    f->engine.trace_count = 2;
    assert_int_equal(get(f, "/api/traces?service=shop"), 200);
    assert_contains(last.body, "{\"data\":[{\"traceID\":\"0000000000005d5a\"");
    assert_contains(last.body, "},{\"traceID\":\"0000000000000002\"");
    assert_contains(last.body, "\"total\":2,\"limit\":0,\"offset\":0,\"errors\":null}");
#define V3_RANGE "query.startTimeMin=2023-11-14T22:13:20Z&query.startTimeMax=2023-11-14T22:13:21Z"
    assert_int_equal(get(f, "/api/v3/traces?" V3_RANGE), 200);
    assert_contains(last.body, "{\"result\":{\"resourceSpans\":[{");
    char *first = strstr(last.body, "00000000000000a1");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "00000000000000a1")); /* both traces together */
    assert_int_equal(get(f, "/api/v3/trace-summaries?" V3_RANGE), 200);
    assert_contains(last.body,
                    "{\"summaries\":[{\"traceId\":\"00000000000000000000000000005d5a\","
                    "\"rootServiceName\":\"\",\"rootOperationName\":\"\","
                    "\"minStartTimeUnixNano\":\"0\",\"maxEndTimeUnixNano\":\"0\",\"spanCount\":3,"
                    "\"errorSpanCount\":0,\"orphanSpanCount\":0,\"services\":[]},");
    f->engine.traces = NULL;
    f->engine.trace_count = 0;
    assert_int_equal(get(f, "/api/v3/trace-summaries?" V3_RANGE), 200);
    assert_string_equal(last.body, "{\"summaries\":[]}");

    assert_int_equal(get(f, "/api/traces?traceID=5d5a"), 200);
    assert_contains(last.body, "{\"data\":[{\"traceID\":\"0000000000005d5a\"");
    f->engine.result = ERR_NOT_FOUND;
    assert_int_equal(get(f, "/api/traces?traceID=5d5a&traceID=7"), 200);
    assert_string_equal(last.body, "{\"data\":[],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":["
                                   "{\"code\":404,\"msg\":\"trace not found\",\"traceID\":"
                                   "\"00000000000000000000000000005d5a\"},"
                                   "{\"code\":404,\"msg\":\"trace not found\",\"traceID\":"
                                   "\"00000000000000000000000000000007\"}]}");
    assert_int_equal(get(f, "/api/traces/5d5a"), 404);
    assert_string_equal(last.body, "{\"data\":null,\"total\":0,\"limit\":0,\"offset\":0,"
                                   "\"errors\":[{\"code\":404,\"msg\":\"trace not found\"}]}");
    assert_int_equal(get(f, "/api/v3/traces/5d5a"), 404);
    f->engine.result = ERR_OK;
}

/* ---- Errors ---- */

static void wrong_parameters_are_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *message;
    } cases[] = {
        { "/api/spindle/v1/traces?limit=0", "parameter 'limit': expected a whole number from 1" },
        { "/api/spindle/v1/traces?limit=1001", "parameter 'limit': " },
        { "/api/spindle/v1/traces?limit=-1", "parameter 'limit': " },
        { "/api/spindle/v1/traces?spans=101", "parameter 'spans': " },
        { "/api/spindle/v1/traces?sort=oldest",
          "parameter 'sort': expected one of newest, slowest" },
        { "/api/spindle/v1/traces?kind=Server", "parameter 'kind': expected one of unspecified" },
        { "/api/spindle/v1/traces?status=bad", "parameter 'status': expected one of unset, ok" },
        { "/api/spindle/v1/traces?min_duration=5",
          "parameter 'min_duration': expected a duration" },
        { "/api/spindle/v1/traces?min_duration=-5s", "parameter 'min_duration': " },
        { "/api/spindle/v1/traces?attributes=ab", "parameter 'attributes': expected key=value" },
        { "/api/spindle/v1/traces?attributes==b", "parameter 'attributes': expected key=value" },
        { "/api/spindle/v1/traces?from=yesterday", "parameter 'from': expected a time" },
        { "/api/spindle/v1/traces?from=now-", "parameter 'from': expected a time" },
        { "/api/spindle/v1/traces?from=7&to=7", "parameter 'to': it must be later than 'from'" },
        { "/api/spindle/v1/traces?cursor=x", "parameter 'cursor': it is not one" },
        { "/api/spindle/v1/traces?timeout=x", "parameter 'timeout': expected a duration" },
        { "/api/spindle/v1/traces?timeout=0s", "parameter 'timeout': expected a duration above" },
        { "/api/spindle/v1/traces?limt=5",
          "parameter 'limt': it is unknown\",\"parameter\":\"limt\"" },
        { "/api/spindle/v1/traces?limit=5&limit=6",
          "parameter 'limit': it is given twice\",\"parameter\":\"limit\"" },
        { "/api/spindle/v1/traces?q=%7B.a=%7D",
          "parameter 'q': line 1, column 5: expected a value" },
        { "/api/spindle/v1/logs?order=slowest", "parameter 'order': " },
        { "/api/spindle/v1/logs?service=a", "parameter 'service': it is unknown" },
        { "/api/spindle/v1/attributes?signal=x", "parameter 'signal': expected one of traces" },
        { "/api/spindle/v1/attributes/a/values?scope=x", "parameter 'scope': expected one of any" },
        { "/api/spindle/v1/trace/xyz", "parameter 'id': expected a trace ID" },
        { "/api/spindle/v1/trace/123456789012345678901234567890123", "parameter 'id': " },
        { "/api/spindle/v1/trace/1/span/g", "parameter 'span': expected a span ID" },
        { "/api/spindle/v1/services?x=y", "parameter 'x': it is unknown" },
        { "/api/traces", "parameter 'service': it is required" },
        { "/api/traces?service=a&tag=x", "parameter 'tag': expected key:value" },
        { "/api/traces?service=a&tags=x", "parameter 'tags': malformed JSON at byte" },
        { "/api/traces?service=a&tags=%7B%22x%22:1%7D",
          "parameter 'tags': expected a JSON object" },
        { "/api/traces?service=a&tags=%5B%5D", "parameter 'tags': expected a JSON object" },
        { "/api/traces?service=a&tags=%7B%7Dx", "parameter 'tags': malformed JSON" },
        { "/api/traces?service=a&minDuration=2s&maxDuration=1s",
          "parameter 'maxDuration': it is less than 'minDuration'" },
        { "/api/traces?service=a&start=x", "parameter 'start': " },
        { "/api/traces?service=a&start=9&end=8", "parameter 'end': it is earlier" },
        { "/api/traces?traceID=x-", "parameter 'traceID': malformed trace ID" },
        { "/api/traces/x-", "malformed trace ID" },
        { "/api/v3/operations", "parameter 'service': it is required" },
        { "/api/v3/traces/x-", "malformed trace ID" },
        { "/api/v3/traces", "parameter 'query.startTimeMin': it is required" },
        { "/api/v3/traces?query.start_time_min=x&query.start_time_max=y",
          "parameter 'query.start_time_min': expected a time" },
    };
    unsigned calls = f->engine.calls;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (get(f, cases[i].path) != 400)
            fail_msg("%s gives %u: %s", cases[i].path, last.status, last.body);
        assert_contains(last.body, cases[i].message);
    }
    assert_int_equal(f->engine.calls, calls); /* none reached the engine */

    assert_int_equal(get(f, "/api/spindle/v1/traces?q=%7B+.a+%7D+%3E%3E+%7B+%7D"), 400);
    assert_contains(last.body, "{\"error\":{\"code\":\"not_supported\",\"message\":\"parameter "
                               "'q': line 1, column 8: the structural operator '>>' is not "
                               "supported yet\",\"parameter\":\"q\",\"position\":{\"offset\":7,"
                               "\"line\":1,\"column\":8},\"request_id\":\"");
    assert_int_equal(get(f, "/api/v3/traces?" V3_RANGE "&query.filter=%7B%7D"), 501);
    assert_contains(last.body, "{\"error\":{\"grpcCode\":12,\"httpCode\":501,\"message\":"
                               "\"parameter 'query.filter': structured filters");
}

static void every_error_has_its_status(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum err e;
        unsigned status;
        const char *code;
    } cases[] = {
        { ERR_NOMEM, 503, "out_of_memory" }, { ERR_BUDGET, 503, "out_of_memory" },
        { ERR_TOO_LARGE, 422, "too_large" }, { ERR_UNSUPPORTED, 400, "not_supported" },
        { ERR_NOT_FOUND, 404, "not_found" }, { ERR_BUSY, 503, "busy" },
        { ERR_STOPPING, 503, "stopping" },   { ERR_IO, 500, "internal" },
        { ERR_CORRUPT, 500, "damaged" },     { ERR_DEADLINE, 504, "deadline" },
        { ERR_CANCELLED, 499, "cancelled" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char code[64];
        f->engine.result = cases[i].e;
        assert_int_equal(get(f, "/api/spindle/v1/services"), cases[i].status);
        (void)snprintf(code, sizeof code, "{\"error\":{\"code\":\"%s\",\"message\":\"",
                       cases[i].code);
        assert_contains(last.body, code);
        if (cases[i].status == 503)
            assert_contains(last.head, "retry-after: 1");
    }
    f->engine.result = ERR_OK;
}

/* ---- Bounds ---- */

static void timeouts_shorten_the_deadline(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "/api/spindle/v1/services"), 200);
    assert_true(f->engine.time_left_ns > 5 * NS_PER_S && f->engine.time_left_ns <= 10 * NS_PER_S);
    assert_int_equal(get(f, "/api/spindle/v1/services?timeout=3s"), 200);
    assert_true(f->engine.time_left_ns <= 3 * NS_PER_S);
    assert_int_equal(get(f, "/api/spindle/v1/services?timeout=1h"), 200);
    assert_true(f->engine.time_left_ns <= 10 * NS_PER_S);
    f->engine.holds = true;
    assert_int_equal(get(f, "/api/spindle/v1/services?timeout=20ms"), 504);
    assert_contains(last.body, "\"code\":\"deadline\"");
    f->engine.holds = false;
}

static void a_query_ends_with_its_client(void **state)
{
    struct fixture *f = *state;
    f->engine.holds = true;
    f->engine.stopped_with = ERR_OK;
    int fd = client_send(f->port, "/api/spindle/v1/services", "");
    assert_true(fake_engine_wait_inside(&f->engine, 1));
    uint64_t left = clock_mono_ns();
    close(fd);
    assert_true(fake_engine_wait_inside(&f->engine, 0));
    assert_true(clock_mono_ns() - left < 5 * NS_PER_S); /* far from its own deadline */
    assert_int_equal(f->engine.stopped_with, ERR_CANCELLED);
    f->engine.holds = false;
    assert_int_equal(get(f, "/api/spindle/v1/services"), 200);
}

/* Until so many requests have come to the native API. */
static void wait_until_asked(struct fixture *f, uint64_t count)
{
    struct metric *asked =
        metrics_counter(f->metrics, "spindle_queries_total", "api=\"native\"", "");
    for (int i = 0; i < 10000 && metric_value(asked) < count; i++)
        (void)usleep(1000);
    assert_true(metric_value(asked) >= count);
}

static void a_full_queue_refuses_at_once(void **state)
{
    (void)state;
    static struct fixture f;
    start(&f, &(struct query_options){ .workers = 1, .queue_max = 2 });
    f.engine.holds = true;
    int running = client_send(f.port, "/api/spindle/v1/traces", "");
    assert_true(fake_engine_wait_inside(&f.engine, 1));
    int waiting[2];
    for (size_t i = 0; i < 2; i++)
        waiting[i] = client_send(f.port, "/api/spindle/v1/traces", "");
    wait_until_asked(&f, 3);
    static const char *const paths[] = { "/api/spindle/v1/traces", "/api/traces?service=shop",
                                         "/api/v3/traces" };
    static const char *const shapes[] = {
        "{\"error\":{\"code\":\"busy\",\"message\":\"too many queries are waiting\"",
        "\"errors\":[{\"code\":503,\"msg\":\"too many queries are waiting\"}]",
        "{\"error\":{\"grpcCode\":14,\"httpCode\":503,",
    };
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(get(&f, paths[i]), 503);
        assert_contains(last.body, shapes[i]);
        assert_contains(last.head, "retry-after: 1");
    }
    f.engine.holds = false;
    struct reply r;
    client_receive(running, &r);
    assert_int_equal(r.status, 200);
    reply_free(&r);
    for (size_t i = 0; i < 2; i++) {
        client_receive(waiting[i], &r);
        assert_int_equal(r.status, 200);
        reply_free(&r);
    }
    struct buffer b;
    buffer_init(&b, 1 << 20);
    metrics_write(f.metrics, &b);
    buffer_append_byte(&b, 0);
    assert_contains((const char *)b.data, "spindle_queries_failed_total{code=\"busy\"} 3");
    assert_contains((const char *)b.data, "spindle_queries_total{api=\"native\"} 4");
    buffer_deinit(&b);
    stop(&f);
}

static void stopping_ends_what_runs_and_what_waits(void **state)
{
    (void)state;
    static struct fixture f;
    start(&f, &(struct query_options){ .workers = 1 });
    f.engine.holds = true;
    int running = client_send(f.port, "/api/spindle/v1/traces", "");
    assert_true(fake_engine_wait_inside(&f.engine, 1));
    int waiting = client_send(f.port, "/api/spindle/v1/traces", "");
    wait_until_asked(&f, 2);
    uint64_t begin = clock_mono_ns();
    stop(&f);
    assert_true(clock_mono_ns() - begin < 30 * NS_PER_S);
    assert_int_equal(f.engine.stopped_with, ERR_CANCELLED);
    close(running);
    close(waiting);
}

/* However many searches run and wait: what an ID or a list names is answered. */
static void quick_questions_pass_heavy_ones(void **state)
{
    (void)state;
    static struct fixture f;
    start(&f, &(struct query_options){ .workers = 2, .queue_max = 4 });
    f.engine.holds = true;
    int searches[6];
    for (unsigned i = 0; i < 6; i++) {
        searches[i] = client_send(f.port, "/api/spindle/v1/traces", "");
        if (i < 2)
            assert_true(fake_engine_wait_inside(&f.engine, i + 1));
    }
    wait_until_asked(&f, 6);
    assert_int_equal(get(&f, "/api/spindle/v1/traces"), 503); /* that lane is full */
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(get(&f, "/api/spindle/v1/meta"), 200);
    pthread_mutex_lock(&f.engine.lock);
    assert_int_equal(f.engine.inside, 2); /* the third thread left the others waiting */
    pthread_mutex_unlock(&f.engine.lock);
    f.engine.holds = false;
    struct reply r;
    for (unsigned i = 0; i < 6; i++) {
        client_receive(searches[i], &r);
        assert_int_equal(r.status, 200);
        reply_free(&r);
    }
    stop(&f);
}

static void answers_are_bounded(void **state)
{
    (void)state;
    static struct fixture f;
    static struct bytes services[4000];
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        services[i] = BYTES_LITERAL("a service with a rather long name");
    start(&f, &(struct query_options){ .memory_bytes = 160000 });
    f.engine.services = services;
    f.engine.service_count = sizeof services / sizeof services[0];
    assert_int_equal(get(&f, "/api/services"), 200);
    assert_int_equal(get(&f, "/api/spindle/v1/services"), 422); /* a little longer */
    assert_contains(last.body, "\"code\":\"too_large\"");
    /* What the engine takes counts too: each fits, not both, and no other query is at fault. */
    f.engine.takes_bytes = 60000;
    assert_int_equal(get(&f, "/api/services"), 422);
    assert_contains(last.body, "\"code\":422");
    stop(&f);
}

/* An answer is charged to all queries while it grows, not once it is whole. */
static void growing_answers_are_charged(void **state)
{
    (void)state;
    static struct fixture f;
    static struct bytes services[4000];
    struct budget budget;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        services[i] = BYTES_LITERAL("a service with a rather long name");
    budget_init(&budget, 160000, NULL);
    start(&f, &(struct query_options){ .budget = &budget });
    f.engine.services = services;
    f.engine.service_count = sizeof services / sizeof services[0];
    assert_int_equal(get(&f, "/api/spindle/v1/services"), 503);
    assert_contains(last.body, "\"code\":\"out_of_memory\"");
    assert_contains(last.head, "retry-after: 1");
    f.engine.service_count /= 2;
    assert_int_equal(get(&f, "/api/spindle/v1/services"), 200);
    stop(&f);
    assert_int_equal(budget_used(&budget), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(native_search_asks_the_engine),
        cmocka_unit_test(ranges_orders_and_limits_are_passed_down),
        cmocka_unit_test(pages_go_on_where_they_ended),
        cmocka_unit_test(rows_say_what_was_found),
        cmocka_unit_test(nothing_has_a_reason),
        cmocka_unit_test(one_trace_in_every_form),
        cmocka_unit_test(catalogues_are_listed),
        cmocka_unit_test(status_sums_the_registry_up),
        cmocka_unit_test(ids_are_resolved),
        cmocka_unit_test(jaeger_search_becomes_a_filter),
        cmocka_unit_test(jaeger_answers_in_its_shapes),
        cmocka_unit_test(wrong_parameters_are_named),
        cmocka_unit_test(every_error_has_its_status),
        cmocka_unit_test(timeouts_shorten_the_deadline),
        cmocka_unit_test(a_query_ends_with_its_client),
        cmocka_unit_test(a_full_queue_refuses_at_once),
        cmocka_unit_test(stopping_ends_what_runs_and_what_waits),
        cmocka_unit_test(quick_questions_pass_heavy_ones),
        cmocka_unit_test(answers_are_bounded),
        cmocka_unit_test(growing_answers_are_charged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
