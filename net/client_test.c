/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a server that does what its request's path says: answers, refuses, resets,
 * goes silent, goes away or hangs up. The server here is plain threads with nghttp2, or scripted
 * bytes for HTTP/1.1. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONNECTIONS_MAX = 64, STREAMS_MAX = 256, CALLS_MAX = 512 };

/* ---- The server ---- */

struct stream {
    int32_t id;
    char path[64];
    size_t body_len;
    uint8_t answer[8192];
    size_t answer_len, answer_sent;
};

struct connection {
    struct server *server;
    int fd;
    pthread_t thread;
    nghttp2_session *session;
    struct stream streams[STREAMS_MAX];
    bool hangs_up;
};

struct server {
    int fd;
    unsigned port;
    bool is_http1;
    pthread_t thread;
    struct connection *connections[CONNECTIONS_MAX];
    atomic_uint accepted;
};

static struct stream *stream_of(struct connection *c, int32_t id)
{
    return &c->streams[(id / 2) % STREAMS_MAX];
}

static nghttp2_nv nv(const char *name, const char *value)
{
    nghttp2_nv out = { .namelen = strlen(name), .valuelen = strlen(value) };
    memcpy(&out.name, &name, sizeof name);
    memcpy(&out.value, &value, sizeof value);
    return out;
}

static ssize_t on_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t len,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)source;
    struct stream *s = stream_of(user, id);
    size_t n = s->answer_len - s->answer_sent < len ? s->answer_len - s->answer_sent : len;
    memcpy(out, s->answer + s->answer_sent, n);
    s->answer_sent += n;
    if (s->answer_sent == s->answer_len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (strcmp(s->path, "/no-status") != 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_nv trailer[] = { nv("grpc-status", "0") };
            nghttp2_submit_trailer(session, id, trailer, 1);
        }
    }
    return (ssize_t)n;
}

/* Answer with the request's length as text. */
static void answer_message(struct connection *c, struct stream *s)
{
    int len = snprintf((char *)s->answer + 5, sizeof s->answer - 5, "%zu", s->body_len);
    s->answer[0] = strcmp(s->path, "/bad-prefix") == 0 ? 7 : 0;
    store_be32(s->answer + 1, (uint32_t)len);
    s->answer_len = (size_t)len + 5;
    nghttp2_nv head[] = { nv(":status", "200"), nv("content-type", "application/grpc") };
    nghttp2_data_provider body = { .read_callback = on_answer };
    nghttp2_submit_response(c->session, s->id, head, 2, &body);
}

static void answer(struct connection *c, struct stream *s)
{
    /* google.rpc.Status{code 14, details RetryInfo{50 ms}} */
    static const char details[] =
        "CA4aMwoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIHCgUQgOHrFw";
    if (strcmp(s->path, "/refuse") == 0) {
        nghttp2_nv head[] = { nv(":status", "200"), nv("content-type", "application/grpc"),
                              nv("grpc-status", "14"), nv("grpc-message", "100%25 %E2%82%AC %zz %"),
                              nv("grpc-status-details-bin", details) };
        nghttp2_submit_response(c->session, s->id, head, 5, NULL);
    } else if (strcmp(s->path, "/503") == 0) {
        nghttp2_nv head[] = { nv(":status", "503"), nv("retry-after", "2") };
        nghttp2_submit_response(c->session, s->id, head, 2, NULL);
    } else if (strcmp(s->path, "/reset") == 0) {
        nghttp2_submit_rst_stream(c->session, 0, s->id, NGHTTP2_REFUSED_STREAM);
    } else if (strcmp(s->path, "/hang-up") == 0) {
        c->hangs_up = true;
    } else if (strcmp(s->path, "/silence") != 0) {
        answer_message(c, s);
        if (strcmp(s->path, "/go-away") == 0)
            nghttp2_submit_goaway(c->session, 0, s->id, NGHTTP2_NO_ERROR, NULL, 0);
    }
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)session;
    (void)flags;
    if (bytes_equal_text(bytes_of(name, name_len), ":path")) {
        struct stream *s = stream_of(user, frame->hd.stream_id);
        *s = (struct stream){ .id = frame->hd.stream_id };
        snprintf(s->path, sizeof s->path, "%.*s", (int)value_len, (const char *)value);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    (void)session;
    (void)flags;
    (void)data;
    stream_of(user, id)->body_len += len;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    bool is_last = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (is_last && (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
        answer(user, stream_of(user, frame->hd.stream_id));
    return 0;
}

static void serve_http2(struct connection *c)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_server_new(&c->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(c->session, 0, NULL, 0);
    uint8_t in[16384];
    for (;;) {
        const uint8_t *out;
        ssize_t n;
        while ((n = nghttp2_session_mem_send(c->session, &out)) > 0) {
            if (send(c->fd, out, (size_t)n, MSG_NOSIGNAL) != n)
                goto done;
        }
        if (c->hangs_up ||
            !(nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session)))
            break;
        n = recv(c->fd, in, sizeof in, 0);
        if (n <= 0 || nghttp2_session_mem_recv(c->session, in, (size_t)n) != n)
            break;
    }
done:
    nghttp2_session_del(c->session);
}

/* One request at a time: read its head and Content-Length bytes, then say what its path asks for.
 */
static void serve_http1(struct connection *c)
{
    static const struct {
        const char *path, *answer;
        bool closes;
    } answers[] = {
        { "/ok", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false },
        { "/chunked",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
          false },
        { "/close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true },
        { "/503", "HTTP/1.1 503 Busy\r\nretry-After: 2\r\nContent-Length: 0\r\n\r\n", false },
        { "/continue",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false },
        { "/garbage", "SMTP ready\r\n\r\n", true },
        { "/hang-up", "", true },
    };
    static const char length_name[] = "Content-Length: ";
    char in[65536];
    size_t have = 0;
    for (;;) {
        ssize_t n = recv(c->fd, in + have, sizeof in - 1 - have, 0);
        if (n <= 0)
            return;
        have += (size_t)n;
        in[have] = '\0';
        char *end = strstr(in, "\r\n\r\n"), *length = strstr(in, length_name);
        if (end == NULL || length == NULL)
            continue;
        size_t body = strtoul(length + sizeof length_name - 1, NULL, 10);
        if (have < (size_t)(end + 4 - in) + body)
            continue;
        have = 0;
        for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
            size_t path_len = strlen(answers[i].path);
            if (strncmp(in, "POST ", 5) != 0 || strncmp(in + 5, answers[i].path, path_len) != 0 ||
                in[5 + path_len] != ' ')
                continue;
            size_t len = strlen(answers[i].answer);
            if (send(c->fd, answers[i].answer, len, MSG_NOSIGNAL) != (ssize_t)len ||
                answers[i].closes)
                return;
        }
    }
}

static void *serve(void *argument)
{
    struct connection *c = argument;
    if (c->server->is_http1)
        serve_http1(c);
    else
        serve_http2(c);
    shutdown(c->fd, SHUT_RDWR); /* the descriptor is closed, and its number free, only at the end */
    return NULL;
}

static void *accept_all(void *argument)
{
    struct server *s = argument;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        unsigned n = atomic_load(&s->accepted);
        if (fd < 0 || n == CONNECTIONS_MAX)
            return NULL;
        struct connection *c = calloc(1, sizeof *c);
        *c = (struct connection){ .server = s, .fd = fd };
        s->connections[n] = c;
        pthread_create(&c->thread, NULL, serve, c);
        atomic_store(&s->accepted, n + 1);
    }
}

/* port 0: any. */
static void server_start(struct server *s, bool is_http1, unsigned port)
{
    *s = (struct server){ .is_http1 = is_http1, .fd = socket(AF_INET, SOCK_STREAM, 0) };
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    socklen_t len = sizeof address;
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(s->fd, 64), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&address, &len), 0);
    s->port = ntohs(address.sin_port);
    pthread_create(&s->thread, NULL, accept_all, s);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (unsigned i = 0; i < atomic_load(&s->accepted); i++) {
        struct connection *c = s->connections[i];
        shutdown(c->fd, SHUT_RDWR);
        pthread_join(c->thread, NULL);
        close(c->fd);
        free(c);
    }
}

/* ---- Calls ---- */

struct outcome {
    struct client_call call;
    unsigned times;
    struct client_result result; /* message and body point into text and body below */
    char message[64], body[64];
    struct client *then_stop;
};

static void on_done(struct client_call *call, const struct client_result *result)
{
    struct outcome *o = (struct outcome *)call;
    o->times++;
    o->result = *result;
    snprintf(o->message, sizeof o->message, "%.*s", (int)result->message.len,
             result->message.len == 0 ? "" : (const char *)result->message.data);
    snprintf(o->body, sizeof o->body, "%.*s", (int)result->body.len,
             result->body.len == 0 ? "" : (const char *)result->body.data);
    if (o->then_stop != NULL)
        client_stop(o->then_stop);
}

static struct client *open_client(const struct server *s, unsigned connections, unsigned in_flight,
                                  uint64_t timeout_ns)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%u/", s->port);
    const struct client_options options = {
        .endpoint = endpoint,
        .protocol = s->is_http1 ? CLIENT_HTTP1 : CLIENT_GRPC,
        .connections = connections,
        .in_flight_per_connection = in_flight,
        .timeout_ns = timeout_ns,
    };
    struct client *c = NULL;
    assert_int_equal(client_open(&options, &c), ERR_OK);
    return c;
}

static struct outcome call_once(const struct server *s, const char *path, uint64_t timeout_ns)
{
    struct client *c = open_client(s, 1, 4, timeout_ns);
    struct outcome o = { .call = {
                             .path = path, .body = BYTES_LITERAL("request"), .on_done = on_done } };
    client_send(c, &o.call);
    client_run(c, true, 0, NULL, NULL);
    client_close(c);
    assert_int_equal(o.times, 1);
    return o;
}

static void grpc_answers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum err error;
        unsigned http_status;
        int grpc_status;
        uint64_t retry_after_ns;
        const char *message, *body;
        bool is_retryable;
    } cases[] = {
        { "/ok", ERR_OK, 200, 0, 0, "", "12", false }, /* prefix and "request" */
        { "/refuse", ERR_OK, 200, 14, 50 * NS_PER_MS, "100% \xe2\x82\xac %zz %", "", true },
        { "/503", ERR_OK, 503, 14, 2 * NS_PER_S, "", "", true },
        { "/reset", ERR_OK, 0, 14, 0, "", "", true },
        { "/no-status", ERR_OK, 200, 2, 0, "", NULL, false },
        { "/bad-prefix", ERR_INVALID, 200, -1, 0, "", NULL, false },
        { "/hang-up", ERR_IO, 0, -1, 0, "", "", true },
        { "/silence", ERR_DEADLINE, 0, -1, 0, "", "", true },
    };
    struct server s;
    server_start(&s, false, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o = call_once(&s, cases[i].path, 300 * NS_PER_MS);
        assert_int_equal(o.result.error, cases[i].error);
        assert_int_equal(o.result.http_status, cases[i].http_status);
        assert_int_equal(o.result.grpc_status, cases[i].grpc_status);
        assert_int_equal(o.result.retry_after_ns, cases[i].retry_after_ns);
        assert_string_equal(o.message, cases[i].message);
        if (cases[i].body != NULL)
            assert_string_equal(o.body, cases[i].body);
        assert_int_equal(client_result_is_retryable(&o.result), cases[i].is_retryable);
    }
    server_stop(&s);
}

static void http1_answers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum err error;
        unsigned http_status;
        uint64_t retry_after_ns;
        const char *body;
        bool is_retryable;
    } cases[] = {
        { "/ok", ERR_OK, 200, 0, "hello", false },
        { "/chunked", ERR_OK, 200, 0, "hello", false },
        { "/close", ERR_OK, 200, 0, "", false },
        { "/503", ERR_OK, 503, 2 * NS_PER_S, "", true },
        { "/continue", ERR_OK, 200, 0, "hello", false },
        { "/garbage", ERR_INVALID, 0, 0, "", false },
        { "/hang-up", ERR_IO, 0, 0, "", true },
        { "/silence", ERR_DEADLINE, 0, 0, "", true },
    };
    struct server s;
    server_start(&s, true, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o = call_once(&s, cases[i].path, 300 * NS_PER_MS);
        assert_int_equal(o.result.error, cases[i].error);
        assert_int_equal(o.result.http_status, cases[i].http_status);
        assert_int_equal(o.result.grpc_status, -1);
        assert_int_equal(o.result.retry_after_ns, cases[i].retry_after_ns);
        assert_string_equal(o.body, cases[i].body);
        assert_int_equal(client_result_is_retryable(&o.result), cases[i].is_retryable);
    }
    server_stop(&s);
}

/* Many calls of mixed outcome over few slots: each is answered once, and large bodies arrive whole.
 */
static void every_call_is_answered_once(void **state)
{
    (void)state;
    static const char *const paths[2][5] = { { "/ok", "/refuse", "/go-away", "/reset", "/503" },
                                             { "/ok", "/close", "/503", "/chunked", "/continue" } };
    static uint8_t large[40000];
    for (unsigned is_http1 = 0; is_http1 < 2; is_http1++) {
        struct server s;
        server_start(&s, is_http1, 0);
        struct client *c = open_client(&s, 3, 4, 20 * NS_PER_S);
        struct outcome *o = calloc(CALLS_MAX, sizeof *o);
        unsigned count = 100; /* of which a fifth end their connection */
        for (unsigned i = 0; i < count; i++) {
            o[i].call = (struct client_call){ .path = paths[is_http1][i % 5],
                                              .body = bytes_of(large, i * 397 % sizeof large),
                                              .on_done = on_done };
            client_send(c, &o[i].call);
        }
        client_run(c, true, 0, NULL, NULL);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(o[i].times, 1);
            if (i % 5 == 0 && !is_http1 && o[i].result.grpc_status == 0)
                assert_int_equal(strtoul(o[i].body, NULL, 10), o[i].call.body.len + 5);
        }
        assert_int_equal(client_free_slots(c), is_http1 ? 3 : 12);
        client_close(c);
        server_stop(&s);
        free(o);
    }
}

static void calls_after_go_away_take_a_new_connection(void **state)
{
    (void)state;
    struct server s;
    server_start(&s, false, 0);
    struct client *c = open_client(&s, 1, 1, 5 * NS_PER_S);
    struct outcome o[3] = { 0 };
    for (unsigned i = 0; i < 3; i++) {
        o[i].call = (struct client_call){ .path = "/go-away", .on_done = on_done };
        client_send(c, &o[i].call);
    }
    client_run(c, true, 0, NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(o[i].result.error, ERR_OK);
        assert_int_equal(o[i].result.grpc_status, 0);
    }
    client_close(c);
    server_stop(&s);
    assert_int_equal(atomic_load(&s.accepted), 3);
}

static void a_server_that_comes_back_is_found_again(void **state)
{
    (void)state;
    struct server s;
    server_start(&s, false, 0);
    struct client *c = open_client(&s, 2, 2, 5 * NS_PER_S);
    struct outcome before = { .call = { .path = "/ok", .on_done = on_done } };
    struct outcome during = before, after = before;
    client_send(c, &before.call);
    client_run(c, true, 0, NULL, NULL);
    assert_int_equal(before.result.error, ERR_OK);

    unsigned port = s.port;
    server_stop(&s);
    client_send(c, &during.call); /* refused: connecting fails, and with it what waits */
    client_run(c, true, 0, NULL, NULL);
    assert_int_equal(during.times, 1);
    assert_int_equal(during.result.error, ERR_IO);

    server_start(&s, false, port);
    client_send(c, &after.call);
    client_run(c, true, 0, NULL, NULL);
    assert_int_equal(after.result.error, ERR_OK);
    assert_int_equal(after.result.grpc_status, 0);
    client_close(c);
    server_stop(&s);
}

static void closing_cancels_what_is_under_way(void **state)
{
    (void)state;
    struct server s;
    server_start(&s, false, 0);
    struct client *c = open_client(&s, 1, 1, 5 * NS_PER_S);
    struct outcome first = { .call = { .path = "/ok", .on_done = on_done }, .then_stop = c };
    struct outcome stuck = { .call = { .path = "/silence", .on_done = on_done } };
    struct outcome waiting = stuck;
    client_send(c, &first.call);
    client_send(c, &stuck.call);
    client_send(c, &waiting.call);
    client_run(c, false, 0, NULL, NULL);
    assert_int_equal(first.times, 1);
    client_close(c);
    assert_int_equal(stuck.times, 1);
    assert_int_equal(stuck.result.error, ERR_CANCELLED);
    assert_int_equal(waiting.times, 1);
    assert_int_equal(waiting.result.error, ERR_CANCELLED);
    server_stop(&s);
}

static void endpoints_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        enum err expected;
    } cases[] = {
        { "127.0.0.1:4317", ERR_OK },
        { "http://127.0.0.1:4317/v1", ERR_OK },
        { "[::1]:4317", ERR_OK },
        { "localhost:1", ERR_OK },
        { "https://127.0.0.1:1", ERR_UNSUPPORTED },
        { "127.0.0.1", ERR_INVALID },
        { "127.0.0.1:", ERR_INVALID },
        { ":4317", ERR_INVALID },
        { "127.0.0.1:65536", ERR_INVALID },
        { "127.0.0.1:0", ERR_INVALID },
        { "", ERR_INVALID },
        { "[::1]", ERR_INVALID },
    };
    long before = fault_live_blocks();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct client_options options = { .endpoint = cases[i].endpoint,
                                                .connections = 1,
                                                .in_flight_per_connection = 1 };
        struct client *c = NULL;
        assert_int_equal(client_open(&options, &c), cases[i].expected);
        client_close(c);
    }
    assert_int_equal(fault_live_blocks(), before);
}

/* Whatever allocation fails, each call is answered once and nothing leaks. */
static void calls_survive_any_failed_allocation(void **state)
{
    (void)state;
    for (unsigned is_http1 = 0; is_http1 < 2; is_http1++) {
        struct server s;
        server_start(&s, is_http1, 0);
        long before = fault_live_blocks();
        for (unsigned n = 0; n < 400; n++) {
            char endpoint[64];
            snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u", s.port);
            const struct client_options options = { .endpoint = endpoint,
                                                    .protocol =
                                                        is_http1 ? CLIENT_HTTP1 : CLIENT_GRPC,
                                                    .connections = 1,
                                                    .in_flight_per_connection = 2,
                                                    .timeout_ns = 2 * NS_PER_S };
            struct outcome o[2] = { 0 };
            struct client *c = NULL;
            fault_alloc_fail_at(n, false);
            if (client_open(&options, &c) == ERR_OK) {
                for (unsigned i = 0; i < 2; i++) {
                    o[i].call = (struct client_call){ .path = "/ok",
                                                      .body = BYTES_LITERAL("body"),
                                                      .on_done = on_done };
                    client_send(c, &o[i].call);
                }
                client_run(c, true, 0, NULL, NULL);
                assert_int_equal(o[0].times, 1);
                assert_int_equal(o[1].times, 1);
            }
            fault_alloc_off();
            client_close(c);
            assert_int_equal(fault_live_blocks(), before);
            if (!fault_fired() || atomic_load(&s.accepted) == CONNECTIONS_MAX)
                break;
        }
        server_stop(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grpc_answers_are_read),
        cmocka_unit_test(http1_answers_are_read),
        cmocka_unit_test(every_call_is_answered_once),
        cmocka_unit_test(calls_after_go_away_take_a_new_connection),
        cmocka_unit_test(a_server_that_comes_back_is_found_again),
        cmocka_unit_test(closing_cancels_what_is_under_way),
        cmocka_unit_test(endpoints_are_checked),
        cmocka_unit_test(calls_survive_any_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
