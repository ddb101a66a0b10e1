/* SPDX-License-Identifier: Apache-2.0 */
/* server_test.c - a real server on a free port: gRPC's rules case by case, admission by credentials and by the
 * budget, the timeouts, draining and stopping with answers still due. */
#include "base/clock.h"
#include "base/mem.h"
#include "net/server.h"
#include "net/test_call.h"
#include "net/test_routes.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct router *router;
static struct server *server;
static struct metrics *metrics;
static struct budget budget;
static struct test_result result;

static void start(struct server_options options)
{
    struct listener_options listener = { .name = "test", .address = "127.0.0.1:0" };
    char *message = NULL;
    (void)signal(SIGPIPE, SIG_IGN);
    metrics = metrics_open();
    assert_int_equal(router_open(&router), ERR_OK);
    assert_int_equal(test_routes_add(router), ERR_OK);
    listener.router = router;
    options.listeners = &listener;
    options.listener_count = 1;
    options.loops = options.loops == 0 ? 2 : options.loops;
    options.metrics = metrics;
    if (options.request_budget == NULL) {
        budget_init(&budget, (size_t)256 << 20, NULL);
        options.request_budget = &budget;
    }
    assert_int_equal(server_start(&options, &server, &message), ERR_OK);
}

static void stop(void)
{
    server_stop(server);
    test_routes_join();
    assert_int_equal(budget_used(&budget), 0);
    router_close(router);
    metrics_close(metrics);
}

static uint64_t hits(const char *reason)
{
    char labels[64];
    (void)snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
    return metric_value(metrics_counter(metrics, "spindle_net_limit_total", labels, ""));
}

static void call_once(const struct test_call *call)
{
    struct test_connection *c = test_dial(server_port(server, 0));
    assert_non_null(c);
    test_call(c, call, &result);
    test_hang_up(c);
}

/* ---- gRPC ---- */

static void a_message_may_be_cut_anywhere(void **state)
{
    (void)state;
    uint8_t room[64];
    struct bytes message = test_message(room, 0, BYTES_LITERAL("hello"));
    start((struct server_options){ 0 });
    for (size_t step = 1; step <= message.len; step++) {
        call_once(&(struct test_call){ .path = "/test.Echo/Unary", .body = message, .step = step });
        assert_true(result.has_ended);
        assert_int_equal(result.grpc_status, 0);
        assert_int_equal(result.body_len, message.len);
        assert_memory_equal(result.body, message.data, message.len);
    }
    stop();
}

struct grpc_case {
    const char *name, *path, *method, *content_type, *encoding, *timeout;
    const char *raw;
    size_t raw_len;
    bool has_no_te;
    unsigned status;
    int grpc_status;
};

#define RAW(text) .raw = (text), .raw_len = sizeof(text) - 1
#define ECHO      .path = "/test.Echo/Unary"
#define HELLO     RAW("\0\0\0\0\5hello")

static const struct grpc_case grpc_cases[] = {
    { "plain", ECHO, HELLO, .status = 200, .grpc_status = 0 },
    { "empty message", ECHO, RAW("\0\0\0\0\0"), .status = 200, .grpc_status = 0 },
    { "no te", ECHO, HELLO, .has_no_te = true, .status = 200, .grpc_status = 0 },
    { "subtype", ECHO, HELLO, .content_type = "application/grpc+proto", .status = 200,
      .grpc_status = 0 },
    { "parameter", ECHO, HELLO, .content_type = "application/grpc;x=y", .status = 200,
      .grpc_status = 0 },
    { "identity", ECHO, HELLO, .encoding = "identity", .status = 200, .grpc_status = 0 },
    { "coding, but plain message", ECHO, HELLO, .encoding = "gzip", .status = 200,
      .grpc_status = 0 },
    { "two messages", ECHO, RAW("\0\0\0\0\1a\0\0\0\0\1b"), .status = 200, .grpc_status = 13 },
    { "a byte too many", ECHO, RAW("\0\0\0\0\1ab"), .status = 200, .grpc_status = 13 },
    { "no message", ECHO, RAW(""), .status = 200, .grpc_status = 13 },
    { "half a prefix", ECHO, RAW("\0\0\0"), .status = 200, .grpc_status = 13 },
    { "prefix without message", ECHO, RAW("\0\0\0\0\5"), .status = 200, .grpc_status = 13 },
    { "cut message", ECHO, RAW("\0\0\0\0\5hell"), .status = 200, .grpc_status = 13 },
    { "flag 1, no coding", ECHO, RAW("\1\0\0\0\1a"), .status = 200, .grpc_status = 13 },
    { "flag 1, identity", ECHO, RAW("\1\0\0\0\1a"), .encoding = "identity", .status = 200,
      .grpc_status = 13 },
    { "flag 2", ECHO, RAW("\2\0\0\0\1a"), .status = 200, .grpc_status = 13 },
    { "flag 255", ECHO, RAW("\xff\0\0\0\1a"), .status = 200, .grpc_status = 13 },
    { "unknown coding", ECHO, HELLO, .encoding = "snappy", .status = 200, .grpc_status = 12 },
    { "deflate", ECHO, HELLO, .encoding = "deflate", .status = 200, .grpc_status = 12 },
    { "not gzip", ECHO, RAW("\1\0\0\0\4abcd"), .encoding = "gzip", .status = 200,
      .grpc_status = 13 },
    { "not zstd", ECHO, RAW("\1\0\0\0\4abcd"), .encoding = "zstd", .status = 200,
      .grpc_status = 13 },
    { "over the limit", .path = "/test.Echo/Later", RAW("\0\0\x10\0\1"), .status = 200,
      .grpc_status = 8 },
    { "4 GiB", ECHO, RAW("\0\xff\xff\xff\xff"), .status = 200, .grpc_status = 8 },
    { "unknown method", .path = "/test.Echo/None", HELLO, .status = 200, .grpc_status = 12 },
    { "unknown service", .path = "/test.None/Unary", HELLO, .status = 200, .grpc_status = 12 },
    { "method in lower case", .path = "/test.Echo/unary", HELLO, .status = 200, .grpc_status = 12 },
    { "GET", ECHO, HELLO, .method = "GET", .status = 405, .grpc_status = 13 },
    { "PUT", ECHO, HELLO, .method = "PUT", .status = 405, .grpc_status = 13 },
    { "JSON", ECHO, HELLO, .content_type = "application/json", .status = 415, .grpc_status = -1 },
    { "grpc-web", ECHO, HELLO, .content_type = "application/grpc-web", .status = 415,
      .grpc_status = -1 },
    { "handler's error", .path = "/test.Echo/Fail", HELLO, .status = 200, .grpc_status = 3 },
    { "deadline far off", ECHO, HELLO, .timeout = "99999999H", .status = 200, .grpc_status = 0 },
    { "timeout without unit", ECHO, HELLO, .timeout = "20", .status = 400, .grpc_status = 13 },
    { "timeout of 9 digits", ECHO, HELLO, .timeout = "123456789m", .status = 400,
      .grpc_status = 13 },
    { "timeout of another unit", ECHO, HELLO, .timeout = "20s", .status = 400, .grpc_status = 13 },
    { "negative timeout", ECHO, HELLO, .timeout = "-1m", .status = 400, .grpc_status = 13 },
    { "path with dots", .path = "/test.Echo/../Unary", HELLO, .status = 400, .grpc_status = 13 },
};

static void each_rule_of_grpc_has_its_status(void **state)
{
    (void)state;
    unsigned failed = 0;
    start((struct server_options){ 0 });
    struct test_connection *shared = test_dial(server_port(server, 0));
    for (size_t i = 0; i < sizeof grpc_cases / sizeof *grpc_cases; i++) {
        const struct grpc_case *g = &grpc_cases[i];
        struct test_call call = { .path = g->path,
                                  .method = g->method,
                                  .content_type = g->content_type,
                                  .encoding = g->encoding,
                                  .timeout = g->timeout,
                                  .has_no_te = g->has_no_te,
                                  .body = bytes_of(g->raw, g->raw_len) };
        for (int step = 0; step < 2; step++) {
            call.step = (size_t)step;
            test_call(shared, &call, &result); /* all on one connection, which must survive them */
            if (result.has_ended && result.status == g->status &&
                result.grpc_status == g->grpc_status)
                continue;
            (void)fprintf(stderr, "%s: ended %d, HTTP %u, gRPC %d %s\n", g->name, result.has_ended,
                          result.status, result.grpc_status, result.message);
            failed++;
        }
    }
    test_hang_up(shared);
    stop();
    assert_int_equal(failed, 0);
}

static void errors_travel_as_grpc_spells_them(void **state)
{
    (void)state;
    uint8_t room[64];
    start((struct server_options){ 0 });
    call_once(
        &(struct test_call){ .path = "/test.Echo/Fail",
                             .body = test_message(room, 0, BYTES_LITERAL("b\xc3\xa9 100%\n")) });
    assert_string_equal(result.message, "b%C3%A9 100%25%0A");
    assert_string_equal(result.details, "CAM"); /* no padding */
    call_once(&(struct test_call){ .path = "/test.Echo/Unary",
                                   .encoding = "br",
                                   .body = test_message(room, 1, BYTES_LITERAL("x")) });
    assert_string_equal(result.accept_encoding, "identity,gzip,zstd");
    call_once(&(struct test_call){ .path = "/test.Echo/Watch",
                                   .body = test_message(room, 0, BYTES_LITERAL("")) });
    assert_int_equal(result.grpc_status, 0);
    assert_memory_equal(result.body, "\0\0\0\0\1a\0\0\0\0\1b\0\0\0\0\1c", 18);
    stop();
}

static void compressed_messages_are_opened(void **state)
{
    (void)state;
    static uint8_t room[300 * 1024], plain[200000];
    start((struct server_options){ 0 });
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * i >> 5);
    for (enum codec codec = CODEC_GZIP; codec <= CODEC_ZSTD; codec++) {
        struct buffer small;
        buffer_init(&small, SIZE_MAX);
        assert_int_equal(codec_compress(codec, 0, bytes_of(plain, sizeof plain), &small), ERR_OK);
        call_once(&(struct test_call){ .path = "/test.Echo/Sum",
                                       .encoding = codec_name(codec),
                                       .body = test_message(room, 1, buffer_bytes(&small)) });
        assert_int_equal(result.grpc_status, 0);
        assert_int_equal(load_le32(result.body + 5), sizeof plain);
        assert_int_equal(load_le32(result.body + 9), small.len);
        buffer_deinit(&small);
    }
    /* A bomb: 2 MiB of zeros against a limit of 1 MiB. */
    struct buffer small;
    uint8_t *zeros = calloc(1, 2 << 20);
    buffer_init(&small, SIZE_MAX);
    assert_int_equal(codec_compress(CODEC_GZIP, 0, bytes_of(zeros, 2 << 20), &small), ERR_OK);
    call_once(&(struct test_call){ .path = "/test.Echo/Later",
                                   .encoding = "gzip",
                                   .body = test_message(room, 1, buffer_bytes(&small)) });
    assert_int_equal(result.grpc_status, 8);
    buffer_deinit(&small);
    free(zeros);
    stop();
}

static void large_messages_and_many_calls_pass(void **state)
{
    (void)state;
    size_t len = (size_t)40 << 20;
    uint8_t *payload = calloc(1, len), *room = malloc(len + 5);
    start((struct server_options){ 0 });
    call_once(&(struct test_call){ .path = "/test.Echo/Sum",
                                   .body = test_message(room, 0, bytes_of(payload, len)) });
    assert_int_equal(result.grpc_status, 0);
    assert_int_equal(load_le32(result.body + 5), len);
    struct test_connection *c = test_dial(server_port(server, 0));
    struct test_call call = { .path = "/test.Echo/Unary",
                              .body = test_message(room, 0, BYTES_LITERAL("hello")) };
    for (int i = 0; i < 10000; i++) {
        test_call(c, &call, &result);
        assert_int_equal(result.grpc_status, 0);
    }
    test_hang_up(c);
    free(payload);
    free(room);
    stop();
}

struct refusal_case {
    const char *reason;
    struct test_call call;
    unsigned status;
    int grpc_status;
};

#define BODY(text) .body = { (const uint8_t *)(text), sizeof(text) - 1 }
#define DATA       .path = "/v1/data"
#define JSON       .content_type = "application/json"

static const struct refusal_case refusal_cases[] = {
    { "compression", { ECHO, BODY("\0\0\0\0\0"), .encoding = "snappy" }, 200, 12 },
    { "compression", { ECHO, BODY("\1\0\0\0\1a") }, 200, 13 },
    { "compression", { DATA, BODY("{}"), JSON, .content_encoding = "br" }, 415, -1 },
    { "bad_compression", { ECHO, BODY("\1\0\0\0\4abcd"), .encoding = "gzip" }, 200, 13 },
    { "bad_compression", { DATA, BODY("abcd"), JSON, .content_encoding = "gzip" }, 400, -1 },
    { "content_type", { DATA, BODY("{}"), .content_type = "text/plain" }, 415, -1 },
    { "content_type", { ECHO, BODY("{}"), JSON }, 415, -1 },
    { "grpc_framing", { ECHO, BODY("") }, 200, 13 },
    { "grpc_framing", { ECHO, BODY("\0\0\0\0\5hell") }, 200, 13 },
    { "grpc_framing", { ECHO, BODY("\0\0\0\0\1ab") }, 200, 13 },
    { "grpc_framing", { ECHO, BODY("\2\0\0\0\1a") }, 200, 13 },
    { "body_bytes", { ECHO, BODY("\0\xff\xff\xff\xff") }, 200, 8 },
    { "body_bytes", { .path = "/small", BODY("0123456789abcdefg"), JSON }, 413, -1 },
    { "unimplemented", { .path = "/test.Echo/None", BODY("") }, 200, 12 },
    { "unimplemented", { ECHO, BODY(""), .method = "PUT" }, 405, 13 },
    { "unimplemented", { .path = "/v1/none", BODY("{}"), JSON }, 404, -1 },
    { "unimplemented", { DATA, BODY("{}"), JSON, .method = "DELETE" }, 405, -1 },
    { "bad_request", { ECHO, BODY(""), .timeout = "20s" }, 400, 13 },
    { "bad_request", { .path = "/v1/%00", BODY("{}"), JSON }, 400, -1 },
};

/* google.rpc.Status begins with its code: field 1, in base64 "CA" and the number. */
static const char *status_begin(int code)
{
    return code < 16 ? "CA" : "CB";
}

static void each_refusal_is_counted_by_its_reason(void **state)
{
    (void)state;
    unsigned failed = 0;
    start((struct server_options){ 0 });
    for (size_t i = 0; i < sizeof refusal_cases / sizeof *refusal_cases; i++) {
        const struct refusal_case *r = &refusal_cases[i];
        uint64_t before = hits(r->reason);
        call_once(&r->call);
        if (result.has_ended && result.status == r->status &&
            result.grpc_status == r->grpc_status && hits(r->reason) == before + 1 &&
            (r->status != 200 || strncmp(result.details, status_begin(r->grpc_status), 2) == 0))
            continue;
        (void)fprintf(stderr, "case %zu, %s: HTTP %u, gRPC %d %s, counted %" PRIu64 "\n", i,
                      r->reason, result.status, result.grpc_status, result.message,
                      hits(r->reason) - before);
        failed++;
    }
    stop();
    assert_int_equal(failed, 0);
}

/* ---- admission ---- */

static enum err authorize(void *context, struct bytes authorization, enum scope needed,
                          uint64_t *out_principal)
{
    (void)context;
    (void)needed;
    *out_principal = 7;
    if (bytes_equal_text(authorization, "Bearer right"))
        return ERR_OK;
    return bytes_equal_text(authorization, "Bearer other") ? ERR_DENIED : ERR_UNAUTHENTICATED;
}

static void no_byte_is_kept_for_strangers(void **state)
{
    (void)state;
    static uint8_t room[100005], payload[100000];
    struct test_call call = { .path = "/test.Echo/Sum" };
    start((struct server_options){ .authorize = authorize });
    call.body = test_message(room, 0, bytes_of(payload, sizeof payload));
    call.never_ends = true; /* the answer does not wait for the body */
    call_once(&call);
    assert_int_equal(result.grpc_status, 16);
    call.authorization = "Bearer other";
    call_once(&call);
    assert_int_equal(result.grpc_status, 7);
    call.authorization = "Bearer right";
    call.never_ends = false;
    call_once(&call);
    assert_int_equal(result.grpc_status, 0);
    call = (struct test_call){ .path = "/echo",
                               .content_type = "text/plain",
                               .body = bytes_of(payload, 10) };
    call_once(&call);
    assert_int_equal(result.status, 401);
    assert_int_equal(hits("unauthenticated"), 3);
    stop();
}

static void *release_soon(void *arg)
{
    usleep(300 * 1000);
    budget_release(&budget, *(size_t *)arg);
    return NULL;
}

static void a_full_budget_holds_and_then_refuses(void **state)
{
    (void)state;
    static uint8_t room[400005], payload[400000];
    size_t taken = 700 * 1024;
    pthread_t thread;
    budget_init(&budget, (size_t)1 << 20, NULL);
    start((struct server_options){ .request_budget = &budget });
    struct test_call call = { .path = "/test.Echo/Sum",
                              .body = test_message(room, 0, bytes_of(payload, 400000)) };
    assert_true(budget_reserve(&budget, taken));
    /* Room comes after 0.3 s: the request has only waited. */
    assert_int_equal(pthread_create(&thread, NULL, release_soon, &taken), 0);
    call_once(&call);
    (void)pthread_join(thread, NULL);
    assert_int_equal(result.grpc_status, 0);
    assert_int_equal(load_le32(result.body + 5), 400000);
    assert_int_equal(hits("held_for_budget"), 1);
    /* It does not come: refused after 2 s, with RetryInfo, on both protocols. */
    assert_true(budget_reserve(&budget, taken));
    uint64_t began = clock_mono_ns();
    call_once(&call);
    assert_in_range(clock_mono_ns() - began, 1900 * NS_PER_MS, 3000 * NS_PER_MS);
    assert_int_equal(result.grpc_status, 14);
    assert_true(strlen(result.details) > 20);
    call = (struct test_call){ .path = "/v1/data",
                               .content_type = "application/x-protobuf",
                               .body = bytes_of(payload, 400000) };
    call_once(&call);
    assert_int_equal(result.status, 503);
    assert_int_equal(result.body[0], 8); /* google.rpc.Status { code 14, ... } */
    assert_int_equal(result.body[1], 14);
    assert_int_equal(hits("budget"), 2);
    budget_release(&budget, taken);
    stop();
}

/* ---- timeouts and ends ---- */

static int dial_raw(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)server_port(server, 0)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Everything until the end, or until nothing has come for wait_ms; returns whether it ended. */
static bool hear(int fd, char *out, size_t size, int wait_ms)
{
    size_t len = 0;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    out[0] = 0;
    while (poll(&p, 1, wait_ms) > 0) {
        ssize_t n = recv(fd, out + len, size - 1 - len, 0);
        if (n <= 0)
            return true;
        len += (size_t)n;
        out[len] = 0;
        if (len == size - 1)
            len = 0;
    }
    return false;
}

static void slow_clients_are_closed(void **state)
{
    (void)state;
    char text[4096];
    start((struct server_options){ .limits = { .header_timeout_ns = 300 * NS_PER_MS,
                                               .idle_timeout_ns = 300 * NS_PER_MS,
                                               .body_rate_grace_ns = 300 * NS_PER_MS,
                                               .stalled_answer_ns = 500 * NS_PER_MS } });
    int silent = dial_raw(), half = dial_raw(), idle = dial_raw(), slow = dial_raw();
    say(half, "GET /hello HTTP/1.1\r\nHost: loc");
    say(idle, "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
    say(slow, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
              "text/plain\r\nContent-Length: 9\r\n\r\nx");
    assert_true(hear(silent, text, sizeof text, 3000));
    assert_true(hear(half, text, sizeof text, 3000));
    assert_non_null(strstr(text, "HTTP/1.1 408"));
    assert_true(hear(idle, text, sizeof text, 3000));
    assert_non_null(strstr(text, "HTTP/1.1 200"));
    assert_true(hear(slow, text, sizeof text, 3000));
    assert_non_null(strstr(text, "HTTP/1.1 408"));
    assert_true(hits("header_timeout") >= 2 && hits("idle_timeout") >= 1 && hits("slow_body") >= 1);
    /* One that does not read its answer. */
    int stalled = dial_raw();
    say(stalled, "GET /big?n=50000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 50 && hits("stalled_answer") == 0; i++)
        usleep(100 * 1000);
    assert_true(hits("stalled_answer") > 0);
    (void)close(silent);
    (void)close(half);
    (void)close(idle);
    (void)close(slow);
    (void)close(stalled);
    stop();
}

static void connections_are_bounded(void **state)
{
    (void)state;
    char text[1024];
    int fd[6];
    start((struct server_options){ .limits = { .connections_per_ip = 5 } });
    for (int i = 0; i < 6; i++)
        fd[i] = dial_raw();
    assert_true(hear(fd[5], text, sizeof text, 3000));
    say(fd[4], "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_true(hear(fd[4], text, sizeof text, 3000));
    assert_non_null(strstr(text, "hello"));
    assert_int_equal(hits("connections_per_ip"), 1);
    for (int i = 0; i < 6; i++)
        (void)close(fd[i]);
    stop();
}

static void *drain(void *arg)
{
    server_drain(arg, 5 * NS_PER_S);
    return NULL;
}

static void draining_finishes_what_is_under_way(void **state)
{
    (void)state;
    static uint8_t room[405], payload[400];
    char text[1024];
    pthread_t thread;
    start((struct server_options){ 0 });
    struct test_connection *c = test_dial(server_port(server, 0));
    int http1 = dial_raw(), idle = dial_raw();
    say(http1, "GET /later?ms=300 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    say(idle, "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
    usleep(100 * 1000);
    assert_int_equal(pthread_create(&thread, NULL, drain, server), 0);
    /* A connection from before the drain may still finish its call; it is told to go. */
    test_call(c,
              &(struct test_call){ .path = "/test.Echo/Later",
                                   .body = test_message(room, 0, bytes_of(payload, 100)) },
              &result);
    assert_true(hear(http1, text, sizeof text, 3000));
    assert_non_null(strstr(text, "late"));
    assert_non_null(strstr(text, "connection: close"));
    assert_true(hear(idle, text, sizeof text, 3000));
    (void)pthread_join(thread, NULL);
    assert_null(test_dial(server_port(server, 0)));
    test_hang_up(c);
    (void)close(http1);
    (void)close(idle);
    stop();
}

static void answers_after_the_end_go_nowhere(void **state)
{
    (void)state;
    start((struct server_options){ 0 });
    int fd[8];
    for (int i = 0; i < 8; i++) {
        fd[i] = dial_raw();
        say(fd[i], "GET /later?ms=200 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    int streams[4]; /* whose writers wait for room, and must learn that there will be none */
    for (int i = 0; i < 4; i++) {
        streams[i] = dial_raw();
        say(streams[i], "GET /stream?n=1000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    usleep(50 * 1000);
    for (int i = 0; i < 2; i++)
        (void)close(streams[i]);
    for (int i = 0; i < 4; i++)
        (void)close(fd[i]); /* clients that leave */
    usleep(20 * 1000);
    stop(); /* and a server that does */
    for (int i = 4; i < 8; i++)
        (void)close(fd[i]);
    (void)close(streams[2]);
    (void)close(streams[3]);
}

/* A writer in a thread of its own, called on the loop when there is room again: never both at once, whether
 * the client reads, is slow, or leaves. ThreadSanitizer sees it when they are. */
static void a_writer_is_called_only_when_it_waits(void **state)
{
    (void)state;
    static char text[64 * 1024];
    start((struct server_options){ 0 });
    for (int round = 0; round < 40; round++) {
        int fd[4];
        for (int i = 0; i < 4; i++) {
            fd[i] = dial_raw();
            say(fd[i],
                "GET /thread?n=4000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        }
        /* The first two are read, by and by; the others leave after so much. */
        for (int i = 0; i < 4; i++) {
            size_t wanted = i < 2 ? SIZE_MAX : (size_t)round * 100000, all = 0;
            while (all < wanted) {
                ssize_t n = recv(fd[i], text, sizeof text, 0);
                if (n <= 0)
                    break;
                all += (size_t)n;
            }
            if (i < 2)
                assert_true(all > 4000 * 1000);
            (void)close(fd[i]);
        }
    }
    stop();
}

static void a_half_closed_client_is_answered(void **state)
{
    (void)state;
    static char text[64 * 1024];
    start((struct server_options){ 0 });
    int fd = dial_raw(); /* two at once: the second waits for the first */
    say(fd, "GET /later?ms=100 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(hear(fd, text, sizeof text, 3000));
    assert_non_null(strstr(text, "late"));
    assert_non_null(strstr(text, "hello"));
    (void)close(fd);
    fd = dial_raw(); /* an answer in pieces, longer than what may wait to be sent */
    say(fd, "GET /stream?n=4000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    size_t all = 0;
    for (ssize_t n; (n = recv(fd, text, sizeof text, 0)) > 0; all += (size_t)n)
        ;
    assert_true(all > 4000 * 1000);
    (void)close(fd);
    stop();
}

static int say_large(const char *path)
{
    static char body[300 * 1024];
    char head[128];
    int fd = dial_raw();
    (void)snprintf(head, sizeof head,
                   "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", path,
                   sizeof body);
    say(fd, head);
    size_t sent = 0;
    while (sent < sizeof body) {
        ssize_t n = send(fd, body + sent, sizeof body - sent, 0);
        assert_true(n > 0);
        sent += (size_t)n;
    }
    return fd;
}

/* While the handlers of large bodies work, others are answered; and the server may stop. */
static void large_bodies_do_not_hold_the_loop(void **state)
{
    (void)state;
    char text[1024];
    start((struct server_options){ .loops = 1 });
    test_routes_let_nap(true);
    int large[3] = { say_large("/nap"), say_large("/nap"), say_large("/nap") };
    int small = dial_raw();
    say(small, "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_true(hear(small, text, sizeof text, 3000));
    assert_non_null(strstr(text, "hello"));
    (void)close(small);
    test_routes_let_nap(false);
    (void)shutdown(large[0], SHUT_WR);
    assert_true(hear(large[0], text, sizeof text, 3000));
    assert_non_null(strstr(text, "rested"));
    (void)close(large[1]); /* its turn has come */
    stop();                /* and that of the third comes now */
    (void)close(large[0]);
    (void)close(large[2]);
}

/* Connections that arrive at that very moment are on their way from one loop to another when these are
 * shut. None may be left, or stopping would wait for it for ever. */
static void stopping_ends_while_connections_arrive(void **state)
{
    (void)state;
    for (int round = 0; round < 100; round++) {
        int fd[40];
        start((struct server_options){ .loops = 4 });
        for (int i = 0; i < 40; i++)
            fd[i] = dial_raw();
        (void)alarm(30);
        stop();
        (void)alarm(0);
        for (int i = 0; i < 40; i++)
            (void)close(fd[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_may_be_cut_anywhere),
        cmocka_unit_test(each_rule_of_grpc_has_its_status),
        cmocka_unit_test(each_refusal_is_counted_by_its_reason),
        cmocka_unit_test(errors_travel_as_grpc_spells_them),
        cmocka_unit_test(compressed_messages_are_opened),
        cmocka_unit_test(large_messages_and_many_calls_pass),
        cmocka_unit_test(no_byte_is_kept_for_strangers),
        cmocka_unit_test(a_full_budget_holds_and_then_refuses),
        cmocka_unit_test(slow_clients_are_closed),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(draining_finishes_what_is_under_way),
        cmocka_unit_test(answers_after_the_end_go_nowhere),
        cmocka_unit_test(a_writer_is_called_only_when_it_waits),
        cmocka_unit_test(a_half_closed_client_is_answered),
        cmocka_unit_test(large_bodies_do_not_hold_the_loop),
        cmocka_unit_test(stopping_ends_while_connections_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
