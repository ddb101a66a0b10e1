/* SPDX-License-Identifier: Apache-2.0 */
/* Shows, through a real server and an engine that answers as told, that each export is answered
 * exactly as the table of RELIABILITY section 4 says, that what is acknowledged is what was stored,
 * and that nothing is acknowledged otherwise. Bodies are made here field by field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "collector/collector.h"
#include "collector/fake_engine.h"
#include "collector/test_client.h"
#include "net/server.h"
#include "proto/pb_writer.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define TRACES_GRPC "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define LOGS_GRPC   "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
#define PROTOBUF    "Content-Type: application/x-protobuf\r\n"
#define JSON        "Content-Type: application/json\r\n"
#define HOLD_NS     (200 * NS_PER_MS)
#define REQUEST_MAX (32 * 1024)

static struct {
    struct fake_engine *fake;
    struct metrics *metrics;
    struct collector *collector;
    struct router *otlp, *admin;
    struct server *server;
    struct budget budget;
    unsigned otlp_port, admin_port;
} at;

static struct test_answer answer;

static int start_holding(uint64_t hold_ns)
{
    static const uint8_t seed[32] = { 1, 2, 3 };
    struct hash_key key;
    hash_key_derive(seed, &key);
    at.fake = fake_engine_open();
    at.metrics = metrics_open();
    const struct collector_options options = { .engine = fake_engine_engine(at.fake),
                                               .metrics = at.metrics,
                                               .limits = otlp_limits_default,
                                               .request_bytes_max = REQUEST_MAX,
                                               .hold_ns = hold_ns,
                                               .request_key = &key,
                                               .version = "1.2.3" };
    assert_int_equal(collector_open(&options, &at.collector), ERR_OK);
    assert_int_equal(router_open(&at.otlp), ERR_OK);
    assert_int_equal(router_open(&at.admin), ERR_OK);
    assert_int_equal(collector_add_otlp_routes(at.collector, at.otlp), ERR_OK);
    assert_int_equal(collector_add_admin_routes(at.collector, at.admin), ERR_OK);
    budget_init(&at.budget, 64 << 20, NULL);
    const struct listener_options listeners[] = {
        { .name = "otlp", .address = "127.0.0.1:0", .router = at.otlp },
        { .name = "http", .address = "127.0.0.1:0", .router = at.admin },
    };
    const struct server_options server = { .loops = 1,
                                           .listeners = listeners,
                                           .listener_count = 2,
                                           .request_budget = &at.budget,
                                           .metrics = at.metrics };
    char *message = NULL;
    assert_int_equal(server_start(&server, &at.server, &message), ERR_OK);
    at.otlp_port = server_port(at.server, 0);
    at.admin_port = server_port(at.server, 1);
    collector_set_ready(at.collector, true);
    return 0;
}

static int start(void **state)
{
    (void)state;
    return start_holding(HOLD_NS);
}

static int start_holding_for_a_minute(void **state)
{
    (void)state;
    return start_holding(60 * NS_PER_S);
}

static int stop(void **state)
{
    (void)state;
    collector_set_ready(at.collector, false);
    server_drain(at.server, NS_PER_S / 2);
    server_stop(at.server);
    collector_close(at.collector);
    engine_close(fake_engine_engine(at.fake));
    router_close(at.otlp);
    router_close(at.admin);
    metrics_close(at.metrics);
    assert_int_equal(budget_used(&at.budget), 0);
    return 0;
}

/* ---- Bodies ---- */

struct span_kind_of_test {
    size_t trace_id_len;
    uint64_t start, end;
};
static const struct span_kind_of_test good = { 16, 1000, 2000 };
static const struct span_kind_of_test bad_id = { 7, 1000, 2000 };
static const struct span_kind_of_test backwards = { 16, 2000, 1000 };

static void put_span(struct buffer *b, const struct span_kind_of_test *kind)
{
    static const uint8_t id[16] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };
    size_t span = pb_begin(b, 2);
    pb_bytes(b, 1, bytes_of(id, kind->trace_id_len));
    pb_bytes(b, 2, bytes_of(id, 8));
    pb_bytes(b, 5, BYTES_LITERAL("name"));
    pb_fixed64(b, 7, kind->start);
    pb_fixed64(b, 8, kind->end);
    pb_end(b, span);
}

/* A request with these spans; buffer_deinit() it. */
static void put_traces(struct buffer *b, const struct span_kind_of_test *const *spans)
{
    buffer_init(b, 1 << 20);
    size_t resource = pb_begin(b, 1), scope = pb_begin(b, 2);
    for (; *spans != NULL; spans++)
        put_span(b, *spans);
    pb_end(b, scope);
    pb_end(b, resource);
    assert_int_equal(buffer_error(b), ERR_OK);
}
#define SPANS(...) ((const struct span_kind_of_test *const[]){ __VA_ARGS__, NULL })

static const char json_good[] =
    "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":"
    "\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"b7ad6b7169203331\",\"name\":\"x\","
    "\"startTimeUnixNano\":\"1\",\"endTimeUnixNano\":\"2\"}]}]}]}";
static const char json_bad[] =
    "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"traceId\":\"0af7\",\"spanId\":"
    "\"b7ad6b7169203331\",\"name\":\"x\"}]}]}]}";

static void gzip(struct bytes from, struct buffer *out)
{
    buffer_init(out, 1 << 20);
    assert_int_equal(codec_compress(CODEC_GZIP, 0, from, out), ERR_OK);
}

/* ---- Answers ---- */

static void expect_status(unsigned status, const char *type)
{
    assert_int_equal(answer.status, status);
    assert_string_equal(test_header(&answer, "content-type"), type);
}

/* partial_success of a protobuf answer: {count, message}. */
static uint64_t partial(struct bytes body, char *message, size_t message_max)
{
    struct otlp_field f;
    struct otlp_fields outer = otlp_fields(body);
    uint64_t count = 0;
    message[0] = '\0';
    assert_true(otlp_fields_next(&outer, &f));
    assert_int_equal(f.number, 1);
    struct otlp_fields inner = otlp_fields(f.bytes);
    while (otlp_fields_next(&inner, &f)) {
        if (f.number == 1)
            count = f.value;
        if (f.number == 2)
            snprintf(message, message_max, "%.*s", (int)f.bytes.len, (const char *)f.bytes.data);
    }
    return count;
}

/* google.rpc.Status of a protobuf answer: the code; message into out. */
static uint64_t rpc_status(struct bytes body, char *message, size_t message_max)
{
    struct otlp_field f;
    struct otlp_fields fields = otlp_fields(body);
    uint64_t code = 0;
    message[0] = '\0';
    while (otlp_fields_next(&fields, &f)) {
        if (f.number == 1)
            code = f.value;
        if (f.number == 2)
            snprintf(message, message_max, "%.*s", (int)f.bytes.len, (const char *)f.bytes.data);
    }
    return code;
}

static uint64_t counter(const char *name, const char *labels)
{
    return metric_value(metrics_counter(at.metrics, name, labels, ""));
}

/* ---- Success ---- */

static void whole_success_is_the_empty_answer(void **state)
{
    (void)state;
    struct buffer body, zipped;
    put_traces(&body, SPANS(&good, &good));
    gzip(buffer_bytes(&body), &zipped);
    fake_engine_plan(at.fake, 0, 0, ERR_OK);

    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(answer.body_len, 0);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF "Content-Encoding: gzip\r\n",
              buffer_bytes(&zipped), &answer);
    expect_status(200, "application/x-protobuf");
    test_http(at.otlp_port, "POST", "/v1/traces", JSON, bytes_text(json_good), &answer);
    expect_status(200, "application/json");
    assert_true(bytes_equal_text(test_body(&answer), "{}"));
    test_grpc(at.otlp_port, TRACES_GRPC, NULL, buffer_bytes(&body), &answer);
    assert_int_equal(answer.grpc_status, 0);
    assert_int_equal(answer.body_len, 0);
    test_grpc(at.otlp_port, TRACES_GRPC, "gzip", buffer_bytes(&zipped), &answer);
    assert_int_equal(answer.grpc_status, 0);

    assert_int_equal(fake_engine_kept(at.fake), 5);
    for (size_t i = 0; i < 5; i++) {
        const struct fake_append *a = fake_engine_at(at.fake, i);
        struct otlp_report report;
        struct err_note note;
        assert_int_equal(a->signal, SIGNAL_TRACES);
        assert_int_equal(a->items, i == 2 ? 1 : 2);
        assert_true(clock_unix_ns() - a->arrival_unix_ns < 60 * NS_PER_S);
        assert_int_equal(
            otlp_check(SIGNAL_TRACES, a->body, &otlp_limits_default, 0, &report, &note), ERR_OK);
        assert_false(report.needs_rewrite);
        assert_true(a->start_min_unix_ns == report.start_min_unix_ns);
        assert_true(a->start_max_unix_ns == report.start_max_unix_ns);
        assert_true(report.start_max_unix_ns != 0);
        if (i != 2)
            assert_true(bytes_equal(a->body, buffer_bytes(&body)));
    }
    /* What came compressed is journalled as it came; the rest is the engine's to compress. */
    assert_int_equal(fake_engine_at(at.fake, 0)->journal.len, 0);
    assert_true(bytes_equal(fake_engine_at(at.fake, 1)->journal, buffer_bytes(&zipped)));
    assert_int_equal(fake_engine_at(at.fake, 1)->journal_codec, CODEC_GZIP);
    assert_int_equal(fake_engine_at(at.fake, 2)->journal.len, 0);
    assert_int_equal(fake_engine_at(at.fake, 3)->journal.len, 0);
    assert_int_equal(fake_engine_at(at.fake, 4)->journal_codec, CODEC_GZIP);
    assert_true(bytes_equal(fake_engine_at(at.fake, 4)->journal, buffer_bytes(&zipped)));
    buffer_deinit(&body);
    buffer_deinit(&zipped);
}

static void logs_have_their_own_routes(void **state)
{
    (void)state;
    struct buffer body;
    buffer_init(&body, 4096);
    size_t resource = pb_begin(&body, 1), scope = pb_begin(&body, 2), log = pb_begin(&body, 2);
    pb_fixed64(&body, 1, 5);
    pb_end(&body, log);
    pb_end(&body, scope);
    pb_end(&body, resource);
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    test_http(at.otlp_port, "POST", "/v1/logs", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    test_grpc(at.otlp_port, LOGS_GRPC, NULL, buffer_bytes(&body), &answer);
    assert_int_equal(answer.grpc_status, 0);
    test_http(at.otlp_port, "POST", "/v1/logs", JSON "Content-Encoding: identity\r\n",
              BYTES_LITERAL("{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":"
                            "\"5\"}]}]}]}"),
              &answer);
    expect_status(200, "application/json");
    assert_int_equal(fake_engine_kept(at.fake), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fake_engine_at(at.fake, i)->signal, SIGNAL_LOGS);
        assert_int_equal(fake_engine_at(at.fake, i)->items, 1);
    }
    buffer_deinit(&body);
}

static void empty_requests_succeed_and_store_nothing(void **state)
{
    (void)state;
    fake_engine_plan(at.fake, 0, 0, ERR_IO);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, (struct bytes){ 0 }, &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(answer.body_len, 0);
    test_http(at.otlp_port, "POST", "/v1/logs", JSON, BYTES_LITERAL("{}"), &answer);
    expect_status(200, "application/json");
    test_http(at.otlp_port, "POST", "/v1/traces", JSON, BYTES_LITERAL("{\"resourceSpans\":[]}"),
              &answer);
    expect_status(200, "application/json");
    test_grpc(at.otlp_port, TRACES_GRPC, NULL, (struct bytes){ 0 }, &answer);
    assert_int_equal(answer.grpc_status, 0);
    assert_int_equal(fake_engine_tried(at.fake), 0);
}

static void bad_items_are_rejected_and_their_neighbours_kept(void **state)
{
    (void)state;
    static const char why[] =
        "rejected 2 of 4 spans; the first is span 1 (counted from 0): trace_id "
        "must have 16 bytes";
    char message[1024];
    struct buffer body, zipped;
    put_traces(&body, SPANS(&good, &bad_id, &good, &bad_id));
    gzip(buffer_bytes(&body), &zipped);
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    uint64_t before = counter("spindle_otlp_items_rejected_total",
                              "signal=\"traces\",reason=\"trace_id_length\"");

    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(partial(test_body(&answer), message, sizeof message), 2);
    assert_string_equal(message, why);
    test_grpc(at.otlp_port, TRACES_GRPC, "gzip", buffer_bytes(&zipped), &answer);
    assert_int_equal(answer.grpc_status, 0);
    assert_int_equal(partial(test_body(&answer), message, sizeof message), 2);
    assert_string_equal(message, why);
    assert_int_equal(fake_engine_kept(at.fake), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fake_engine_at(at.fake, i)->items, 2);
        assert_int_equal(fake_engine_at(at.fake, i)->journal.len,
                         0); /* what came is not what is kept */
        assert_true(fake_engine_at(at.fake, i)->body.len < body.len);
    }
    assert_int_equal(counter("spindle_otlp_items_rejected_total",
                             "signal=\"traces\",reason=\"trace_id_length\""),
                     before + 4);

    test_http(at.otlp_port, "POST", "/v1/traces", JSON, bytes_text(json_bad), &answer);
    expect_status(200, "application/json");
    assert_non_null(strstr((char *)answer.body, "{\"partialSuccess\":{\"rejectedSpans\":\"1\","
                                                "\"errorMessage\":\"rejected 1 of 1 span; "));
    assert_non_null(strstr((char *)answer.body, "traceId must have 32 hexadecimal digits"));
    assert_int_equal(fake_engine_kept(at.fake), 2); /* nothing was left to keep */
    buffer_deinit(&body);
    buffer_deinit(&zipped);
}

static void warnings_have_a_count_of_nought(void **state)
{
    (void)state;
    char message[1024];
    struct buffer body;
    put_traces(&body, SPANS(&backwards, &good));
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(partial(test_body(&answer), message, sizeof message), 0);
    assert_string_equal(message, "a span ends before it starts (1 time)");
    assert_int_equal(fake_engine_at(at.fake, 0)->items, 2);
    buffer_deinit(&body);
}

static void a_cut_names_its_limit(void **state)
{
    (void)state;
    char message[1024];
    struct buffer body;
    static const uint8_t id[16] = { 1 };
    buffer_init(&body, 1 << 16);
    size_t group = pb_begin(&body, 1), scope = pb_begin(&body, 2), span = pb_begin(&body, 2);
    pb_bytes(&body, 1, bytes_of(id, 16));
    pb_bytes(&body, 2, bytes_of(id, 8));
    for (int i = 0; i < 1026; i++)
        pb_bytes(&body, 9, BYTES_LITERAL("\x0a\x01k"));
    pb_end(&body, span);
    pb_end(&body, scope);
    pb_end(&body, group);
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(partial(test_body(&answer), message, sizeof message), 0);
    assert_string_equal(message, "attributes over the limit were dropped (2 times; "
                                 "--attributes-max is 1024)");
    buffer_deinit(&body);
}

/* ---- Refusal for good ---- */

static void malformed_requests_are_explained(void **state)
{
    (void)state;
    char message[1024];
    struct bytes broken = BYTES_LITERAL("\x0a\x05\x12\x7f");
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, broken, &answer);
    expect_status(400, "application/x-protobuf");
    assert_int_equal(rpc_status(test_body(&answer), message, sizeof message), 3);
    assert_non_null(strstr(message, "protobuf traces request: malformed input at byte "));
    assert_null(test_header(&answer, "retry-after"));

    test_grpc(at.otlp_port, LOGS_GRPC, NULL, broken, &answer);
    assert_int_equal(answer.grpc_status, 3);
    assert_non_null(strstr(answer.message, "protobuf logs request: malformed input at byte "));
    assert_int_equal(answer.retry_after_ns, 0);

    test_http(at.otlp_port, "POST", "/v1/traces", JSON, BYTES_LITERAL("{\"resourceSpans\":[}"),
              &answer);
    expect_status(400, "application/json");
    assert_non_null(strstr((char *)answer.body, "{\"code\":3,\"message\":\"JSON traces request: "
                                                "malformed input at byte 18: expected a JSON "
                                                "value"));
    assert_int_equal(fake_engine_tried(at.fake), 0);
}

static void too_deep_a_value_is_invalid(void **state)
{
    (void)state;
    struct buffer body;
    size_t marks[300];
    char message[1024];
    buffer_init(&body, 1 << 16);
    static const uint8_t id[16] = { 1 };
    size_t n = 0;
    marks[n++] = pb_begin(&body, 1);
    marks[n++] = pb_begin(&body, 2);
    marks[n++] = pb_begin(&body, 2);
    pb_bytes(&body, 1, bytes_of(id, 16));
    pb_bytes(&body, 2, bytes_of(id, 8));
    marks[n++] = pb_begin(&body, 9); /* attribute */
    marks[n++] = pb_begin(&body, 2); /* value */
    for (int i = 0; i < 70; i++) {
        marks[n++] = pb_begin(&body, 5); /* array */
        marks[n++] = pb_begin(&body, 1); /* its element */
    }
    while (n != 0)
        pb_end(&body, marks[--n]);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(400, "application/x-protobuf");
    assert_int_equal(rpc_status(test_body(&answer), message, sizeof message), 3);
    assert_non_null(strstr(message, "nested deeper than its limit at byte "));
    assert_non_null(strstr(message, ": expected at most 64 values inside each other"));
    buffer_deinit(&body);
}

static void too_large_requests_are_not_to_be_repeated(void **state)
{
    (void)state;
    struct buffer zeros, zipped;
    char message[1024];
    buffer_init(&zeros, 1 << 20);
    memset(buffer_reserve(&zeros, REQUEST_MAX + 1), 0, REQUEST_MAX + 1);
    buffer_grew(&zeros, REQUEST_MAX + 1);
    gzip(buffer_bytes(&zeros), &zipped);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF "Content-Encoding: gzip\r\n",
              buffer_bytes(&zipped), &answer);
    expect_status(413, "application/x-protobuf");
    assert_int_equal(rpc_status(test_body(&answer), message, sizeof message), 8);
    char wanted[128];
    snprintf(wanted, sizeof wanted, "larger than its limit of %zu bytes (--request-size-max)",
             (size_t)REQUEST_MAX);
    assert_non_null(strstr(message, wanted));
    assert_null(test_header(&answer, "retry-after"));
    test_grpc(at.otlp_port, TRACES_GRPC, NULL, buffer_bytes(&zeros), &answer);
    assert_int_equal(answer.grpc_status, 8);
    assert_non_null(strstr(answer.message, wanted));
    assert_int_equal(answer.retry_after_ns, 0);
    buffer_deinit(&zeros);
    buffer_deinit(&zipped);
}

static void other_signals_are_refused_in_words(void **state)
{
    (void)state;
    test_grpc(at.otlp_port, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export", NULL,
              BYTES_LITERAL("\x0a\x02\x0a\x00"), &answer);
    assert_int_equal(answer.grpc_status, 12);
    assert_non_null(strstr(answer.message, "Spindle receives traces and logs"));
    test_grpc(at.otlp_port,
              "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", NULL,
              (struct bytes){ 0 }, &answer);
    assert_int_equal(answer.grpc_status, 12);
    test_http(at.otlp_port, "POST", "/v1/metrics", PROTOBUF, (struct bytes){ 0 }, &answer);
    expect_status(404, "application/x-protobuf");
    assert_non_null(memmem(answer.body, answer.body_len, "traces and logs", 15));
    test_http(at.otlp_port, "GET", "/v1/traces", "", (struct bytes){ 0 }, &answer);
    assert_int_equal(answer.status, 405);
    test_http(at.otlp_port, "POST", "/v1/traces", "Content-Type: text/plain\r\n",
              BYTES_LITERAL("{}"), &answer);
    assert_int_equal(answer.status, 415);
}

/* ---- Refusal for now ---- */

static void busy_for_a_moment_is_not_seen(void **state)
{
    (void)state;
    struct buffer body;
    put_traces(&body, SPANS(&good));
    uint64_t before = counter("spindle_otlp_requests_held_total", "signal=\"traces\"");
    fake_engine_plan(at.fake, 2, 2, ERR_OK);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(fake_engine_tried(at.fake), 5);
    assert_int_equal(fake_engine_kept(at.fake), 1);
    assert_true(bytes_equal(fake_engine_at(at.fake, 0)->body, buffer_bytes(&body)));
    assert_int_equal(counter("spindle_otlp_requests_held_total", "signal=\"traces\""), before + 1);
    buffer_deinit(&body);
}

#define SENDERS 4
#define EACH    25

static void *send_many(void *body)
{
    static _Thread_local struct test_answer mine;
    uintptr_t good_answers = 0;
    for (int i = 0; i < EACH; i++) {
        test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, *(struct bytes *)body, &mine);
        good_answers += mine.status == 200;
    }
    return (void *)good_answers;
}

/* Many at once, each held a little: none is lost between the loop, the timers and the engine's thread. */
static void held_requests_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct buffer body;
    pthread_t senders[SENDERS];
    put_traces(&body, SPANS(&good));
    struct bytes request = buffer_bytes(&body);
    uint64_t before = counter("spindle_otlp_items_stored_total", "signal=\"traces\"");
    fake_engine_plan(at.fake, 40, 40, ERR_OK);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&senders[i], NULL, send_many, &request), 0);
    for (int i = 0; i < SENDERS; i++) {
        void *good_answers;
        assert_int_equal(pthread_join(senders[i], &good_answers), 0);
        assert_int_equal((uintptr_t)good_answers, EACH);
    }
    assert_int_equal(fake_engine_tried(at.fake), SENDERS * EACH + 80);
    assert_int_equal(counter("spindle_otlp_items_stored_total", "signal=\"traces\""),
                     before + SENDERS * EACH);
    buffer_deinit(&body);
}

static void transient_failures_ask_to_come_again(void **state)
{
    (void)state;
    static const enum err failures[] = { ERR_BUSY,    ERR_IO,     ERR_FULL, ERR_STOPPING,
                                         ERR_CORRUPT, ERR_BUDGET, ERR_NOMEM };
    struct buffer body;
    char message[1024];
    put_traces(&body, SPANS(&good, &bad_id));
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        fake_engine_plan(at.fake, 0, 0, failures[i]);
        uint64_t begun = clock_mono_ns();
        test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
        expect_status(503, "application/x-protobuf");
        assert_string_equal(test_header(&answer, "retry-after"), "1");
        assert_int_equal(rpc_status(test_body(&answer), message, sizeof message), 14);
        if (failures[i] == ERR_BUSY)
            assert_true(clock_mono_ns() - begun >= HOLD_NS); /* it was held first */
        test_http(at.otlp_port, "POST", "/v1/traces", JSON, bytes_text(json_good), &answer);
        expect_status(503, "application/json");
        assert_non_null(strstr((char *)answer.body, "{\"code\":14,\"message\":\""));
        test_grpc(at.otlp_port, TRACES_GRPC, NULL, buffer_bytes(&body), &answer);
        assert_int_equal(answer.grpc_status, 14);
        assert_in_range(answer.retry_after_ns, NS_PER_S / 2, NS_PER_S / 2 * 3);
        assert_int_equal(fake_engine_kept(at.fake), 0);
    }
    buffer_deinit(&body);
}

static void refusals_are_counted_by_reason(void **state)
{
    (void)state;
    static const char labels[] = "signal=\"traces\",transport=\"http\",reason=\"disk_full\"";
    struct buffer body;
    put_traces(&body, SPANS(&good, &bad_id));
    uint64_t refused = counter("spindle_otlp_requests_refused_total", labels);
    uint64_t rejected = counter("spindle_otlp_items_rejected_total",
                                "signal=\"traces\",reason=\"trace_id_length\"");
    fake_engine_plan(at.fake, 0, 0, ERR_FULL);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    assert_int_equal(counter("spindle_otlp_requests_refused_total", labels), refused + 1);
    /* Its items are counted when their request is acknowledged, not each time it is sent. */
    assert_int_equal(counter("spindle_otlp_items_rejected_total",
                             "signal=\"traces\",reason=\"trace_id_length\""),
                     rejected);
    buffer_deinit(&body);
}

/* ---- Resent requests ---- */

static void equal_requests_have_equal_hashes(void **state)
{
    (void)state;
    struct buffer body, other, zipped;
    put_traces(&body, SPANS(&good));
    put_traces(&other, SPANS(&good, &good));
    gzip(buffer_bytes(&body), &zipped);
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    test_grpc(at.otlp_port, TRACES_GRPC, NULL, buffer_bytes(&body), &answer);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&other), &answer);
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF "Content-Encoding: gzip\r\n",
              buffer_bytes(&zipped), &answer);
    assert_int_equal(fake_engine_kept(at.fake), 5);
    struct hash128 first = fake_engine_at(at.fake, 0)->request_hash;
    assert_true(hash128_equal(first, fake_engine_at(at.fake, 1)->request_hash));
    assert_true(hash128_equal(first, fake_engine_at(at.fake, 2)->request_hash));
    assert_false(hash128_equal(first, fake_engine_at(at.fake, 3)->request_hash));
    assert_false(hash128_equal(first, fake_engine_at(at.fake, 4)->request_hash));
    buffer_deinit(&body);
    buffer_deinit(&other);
    buffer_deinit(&zipped);
}

static void resent_requests_get_the_first_answer_and_count_once(void **state)
{
    (void)state;
    char message[1024];
    struct buffer body;
    put_traces(&body, SPANS(&good, &bad_id));
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    fake_engine_resend(at.fake, true);
    uint64_t stored = counter("spindle_otlp_items_stored_total", "signal=\"traces\"");
    uint64_t resent = counter("spindle_otlp_requests_resent_total", "signal=\"traces\"");
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, buffer_bytes(&body), &answer);
    expect_status(200, "application/x-protobuf");
    assert_int_equal(partial(test_body(&answer), message, sizeof message), 1);
    assert_int_equal(counter("spindle_otlp_items_stored_total", "signal=\"traces\""), stored);
    assert_int_equal(counter("spindle_otlp_requests_resent_total", "signal=\"traces\""),
                     resent + 1);
    buffer_deinit(&body);
}

/* ---- Health and metrics ---- */

static void health_tells_readiness_from_writability(void **state)
{
    (void)state;
    fake_engine_plan(at.fake, 0, 0, ERR_OK);
    test_http(at.admin_port, "GET", "/health/live", "", (struct bytes){ 0 }, &answer);
    expect_status(200, "application/json");
    test_http(at.admin_port, "GET", "/health/ready", "", (struct bytes){ 0 }, &answer);
    expect_status(200, "application/json");
    test_http(at.admin_port, "GET", "/health", "", (struct bytes){ 0 }, &answer);
    expect_status(200, "application/json");
    assert_non_null(strstr((char *)answer.body, "{\"status\":\"ok\",\"version\":\"1.2.3\""));

    static const char path[] = "/grpc.health.v1.Health/Check";
    static const char traces[] = "\x0a\x33opentelemetry.proto.collector.trace.v1.TraceService";
    test_grpc(at.otlp_port, path, NULL, (struct bytes){ 0 }, &answer);
    assert_int_equal(answer.grpc_status, 0);
    assert_true(bytes_equal(test_body(&answer), BYTES_LITERAL("\x08\x01")));
    test_grpc(at.otlp_port, path, NULL, BYTES_LITERAL("\x0a\x03xyz"), &answer);
    assert_int_equal(answer.grpc_status, 5);
    test_grpc(at.otlp_port, path, NULL, BYTES_LITERAL("\x0a\x7fxyz"), &answer);
    assert_int_equal(answer.grpc_status, 3);
    test_grpc(at.otlp_port, path, NULL, bytes_text(traces), &answer);
    assert_true(bytes_equal(test_body(&answer), BYTES_LITERAL("\x08\x01")));

    fake_engine_writable(at.fake, false);
    test_grpc(at.otlp_port, path, NULL, bytes_text(traces), &answer);
    assert_true(bytes_equal(test_body(&answer), BYTES_LITERAL("\x08\x02")));
    test_grpc(at.otlp_port, path, NULL, (struct bytes){ 0 }, &answer);
    assert_true(bytes_equal(test_body(&answer), BYTES_LITERAL("\x08\x01")));
    test_http(at.admin_port, "GET", "/health/ready", "", (struct bytes){ 0 }, &answer);
    expect_status(200, "application/json");
    test_http(at.admin_port, "GET", "/health", "", (struct bytes){ 0 }, &answer);
    expect_status(503, "application/json");
    assert_non_null(strstr((char *)answer.body, "\"status\":\"read-only\",\"reason\":\"told so\""));
    fake_engine_writable(at.fake, true);
    fake_engine_rollups_damaged(at.fake, 3);
    test_http(at.admin_port, "GET", "/health", "", (struct bytes){ 0 }, &answer);
    expect_status(200, "application/json");
    assert_non_null(strstr((char *)answer.body, "{\"status\":\"degraded\""));
    assert_non_null(strstr((char *)answer.body, "\"rollupsDamaged\":3"));
    fake_engine_rollups_damaged(at.fake, 0);

    test_grpc(at.otlp_port, "/grpc.health.v1.Health/List", NULL, (struct bytes){ 0 }, &answer);
    assert_int_equal(answer.grpc_status, 0);
    assert_non_null(memmem(answer.body, answer.body_len, "TraceService", 12));
}

static void metrics_are_prometheus_text(void **state)
{
    (void)state;
    test_http(at.admin_port, "GET", "/metrics", "", (struct bytes){ 0 }, &answer);
    expect_status(200, "text/plain; version=0.0.4; charset=utf-8");
    answer.body[answer.body_len < sizeof answer.body ? answer.body_len : answer.body_len - 1] =
        '\0';
    static const char requests[] = "\nspindle_otlp_requests_total{signal=\"traces\",transport="
                                   "\"grpc\",encoding=\"protobuf\"} ";
    static const char rejected[] =
        "\nspindle_otlp_items_rejected_total{signal=\"logs\",reason=\"too_old\"} 0\n";
    static const char *const lines[] = {
        "\nspindle_build_info{version=\"1.2.3\"} 1\n",
        "\nprocess_cpu_seconds_total ",
        "\n# TYPE process_resident_memory_bytes gauge\n",
        "\nspindle_engine_spans 7\n",
        requests,
        rejected,
        "\n# TYPE spindle_ack_duration_seconds histogram\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr((char *)answer.body, lines[i]) == NULL)
            fail_msg("missing: %s", lines[i]);
    }
}

static const char *last_line_of(const char *name)
{
    size_t len = answer.body_len < sizeof answer.body ? answer.body_len : sizeof answer.body - 1;
    answer.body[len] = '\0';
    const char *line = strstr((char *)answer.body, name);
    if (line == NULL)
        fail_msg("missing: %s", name);
    return line + strlen(name);
}

/* Each acknowledged request is in the histogram of its transport, once. */
static void acknowledgements_are_timed(void **state)
{
    (void)state;
    static const char name[] =
        "\nspindle_ack_duration_seconds_count{signal=\"traces\",transport=\"http\"} ";
    static const char infinite[] =
        "\nspindle_ack_duration_seconds_bucket{signal=\"traces\",transport=\"http\",le=\"+Inf\"} ";
    test_http(at.admin_port, "GET", "/metrics", "", (struct bytes){ 0 }, &answer);
    uint64_t before = strtoull(last_line_of(name), NULL, 10);
    for (int i = 0; i < 3; i++) {
        test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, (struct bytes){ 0 }, &answer);
        assert_int_equal(answer.status, 200);
    }
    test_http(at.admin_port, "GET", "/metrics", "", (struct bytes){ 0 }, &answer);
    assert_int_equal(strtoull(last_line_of(name), NULL, 10), before + 3);
    assert_int_equal(strtoull(last_line_of(infinite), NULL, 10), before + 3);
}

static void metrics_come_in_the_form_asked_for(void **state)
{
    (void)state;
    test_http(at.admin_port, "GET", "/metrics",
              "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n",
              (struct bytes){ 0 }, &answer);
    expect_status(200, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_true(answer.body_len < sizeof answer.body);
    assert_memory_equal(answer.body + answer.body_len - 6, "# EOF\n", 6);
    (void)last_line_of("\n# UNIT spindle_ack_duration_seconds seconds\n");

    test_http(at.admin_port, "GET", "/metrics",
              "accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
              "encoding=delimited\r\n",
              (struct bytes){ 0 }, &answer);
    expect_status(200, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
                       "encoding=delimited");
    /* A length, then the name of the first family as field 1. */
    assert_memory_equal(answer.body + 1, "\x0a\x12spindle_build_info\x12", 21);
}

/* ---- The end ---- */

static void *send_one(void *body)
{
    static struct test_answer late;
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, *(struct bytes *)body, &late);
    return late.status == 200 ? body : NULL;
}

/* The store stays busy, the request is held, and the server goes down under it. The teardown waits
 * for the collector: it must not wait for ever, and must lose no byte of the budget. */
static void stopping_ends_what_is_held(void **state)
{
    (void)state;
    struct buffer body;
    pthread_t sender;
    void *was_acknowledged = NULL;
    put_traces(&body, SPANS(&good));
    struct bytes request = buffer_bytes(&body);
    fake_engine_plan(at.fake, 0, UINT_MAX, ERR_OK);
    assert_int_equal(pthread_create(&sender, NULL, send_one, &request), 0);
    while (fake_engine_tried(at.fake) < 3)
        sched_yield();
    assert_int_equal(stop(state), 0);
    assert_int_equal(pthread_join(sender, &was_acknowledged), 0);
    assert_null(was_acknowledged);
    buffer_deinit(&body);
}

/* Every allocation of a request fails once, over each transport. No answer, or a short error, may be all
 * that is left; but a success is a stored request, and afterwards the server works as before. */
static void survive_failed_allocations(void (*send)(struct bytes body), struct bytes body)
{
    for (unsigned n = 0; n < 400; n++) {
        fake_engine_plan(at.fake, 1, 0, ERR_OK); /* held once, so that timers are among them */
        fault_alloc_fail_at(n, false);
        send(body);
        bool fired = fault_fired();
        fault_alloc_off();
        bool is_success = answer.status == 200 && answer.grpc_status <= 0;
        if (is_success)
            assert_int_equal(fake_engine_kept(at.fake), 1);
        if (!fired) {
            assert_true(is_success);
            assert_true(n > 0);
            return;
        }
    }
    fail_msg("the allocations never ended");
}

static void send_protobuf(struct bytes body)
{
    test_http(at.otlp_port, "POST", "/v1/traces", PROTOBUF, body, &answer);
}

static void send_json(struct bytes body)
{
    test_http(at.otlp_port, "POST", "/v1/traces", JSON, body, &answer);
}

static void any_failed_allocation_is_survived(void **state)
{
    (void)state;
    struct buffer body;
    put_traces(&body, SPANS(&good, &bad_id));
    survive_failed_allocations(send_protobuf, buffer_bytes(&body));
    survive_failed_allocations(send_json, bytes_text(json_good));
    buffer_deinit(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_success_is_the_empty_answer),
        cmocka_unit_test(logs_have_their_own_routes),
        cmocka_unit_test(empty_requests_succeed_and_store_nothing),
        cmocka_unit_test(bad_items_are_rejected_and_their_neighbours_kept),
        cmocka_unit_test(a_cut_names_its_limit),
        cmocka_unit_test(warnings_have_a_count_of_nought),
        cmocka_unit_test(malformed_requests_are_explained),
        cmocka_unit_test(too_deep_a_value_is_invalid),
        cmocka_unit_test(too_large_requests_are_not_to_be_repeated),
        cmocka_unit_test(other_signals_are_refused_in_words),
        cmocka_unit_test(busy_for_a_moment_is_not_seen),
        cmocka_unit_test(transient_failures_ask_to_come_again),
        cmocka_unit_test(refusals_are_counted_by_reason),
        cmocka_unit_test(equal_requests_have_equal_hashes),
        cmocka_unit_test(resent_requests_get_the_first_answer_and_count_once),
        cmocka_unit_test(health_tells_readiness_from_writability),
        cmocka_unit_test(metrics_are_prometheus_text),
        cmocka_unit_test(acknowledgements_are_timed),
        cmocka_unit_test(metrics_come_in_the_form_asked_for),
        cmocka_unit_test(any_failed_allocation_is_survived),
    };
    const struct CMUnitTest ends[] = {
        cmocka_unit_test_setup_teardown(held_requests_do_not_disturb_each_other,
                                        start_holding_for_a_minute, stop),
        cmocka_unit_test_setup(stopping_ends_what_is_held, start_holding_for_a_minute),
    };
    int failures = cmocka_run_group_tests(tests, start, stop);
    return failures + cmocka_run_group_tests(ends, NULL, NULL);
}
