/* SPDX-License-Identifier: Apache-2.0 */
/* http1_vectors_test.c - what a real server answers to each line of http1_vectors.txt, sent whole
 * and sent a byte at a time: the answers, in order, and whether the connection lives on. Run with
 * the name of a vector to see what came back. */
#include "base/clock.h"
#include "base/mem.h"
#include "net/server.h"
#include "net/test_routes.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WAIT_MS 5000
#define RAW_MAX ((size_t)200 * 1024)
/* Longer ones are sent whole only. */
#define BYTEWISE_MAX 2000

static struct router *router;
static struct server *server;
static const char *only;

static int set_up(void **state)
{
    (void)state;
    static const char *const hosts[] = { "spindle.test" };
    struct listener_options listener = { .name = "test", .address = "127.0.0.1:0" };
    char *message = NULL;
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(router_open(&router), ERR_OK);
    assert_int_equal(test_routes_add(router), ERR_OK);
    listener.router = router;
    struct server_options options = {
        .loops = 1, .listeners = &listener, .listener_count = 1, .hosts = hosts, .host_count = 1
    };
    assert_int_equal(server_start(&options, &server, &message), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server_stop(server);
    test_routes_join();
    router_close(router);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)server_port(server, 0)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* What has come and was not looked at yet. */
struct inbox {
    int fd;
    char data[64 * 1024];
    size_t len;
    bool has_ended;
};

static bool fill(struct inbox *in)
{
    struct pollfd p = { .fd = in->fd, .events = POLLIN };
    if (in->has_ended || in->len == sizeof in->data - 1 || poll(&p, 1, WAIT_MS) <= 0)
        return false;
    ssize_t n = recv(in->fd, in->data + in->len, sizeof in->data - 1 - in->len, 0);
    if (n <= 0)
        in->has_ended = true;
    else
        in->len += (size_t)n;
    in->data[in->len] = 0;
    return n > 0;
}

static void drop(struct inbox *in, size_t n)
{
    memmove(in->data, in->data + n, in->len - n);
    in->len -= n;
    in->data[in->len] = 0;
}

/* The status of the next answer, 0 when none comes. */
static unsigned next_answer(struct inbox *in, bool has_body)
{
    const char *end;
    while ((end = strstr(in->data, "\r\n\r\n")) == NULL)
        if (!fill(in))
            return 0;
    size_t head_len = (size_t)(end - in->data) + 4;
    unsigned status = (unsigned)strtoul(in->data + strlen("HTTP/1.1 "), NULL, 10);
    const char *length = strstr(in->data, "content-length: ");
    size_t body_len = 0;
    if (has_body && length != NULL && length < end)
        body_len = strtoul(length + strlen("content-length: "), NULL, 10);
    while (in->len < head_len + body_len)
        if (!fill(in))
            return 0;
    drop(in, head_len + body_len);
    return status;
}

static void send_bytes(int fd, const char *raw, size_t len, bool is_bytewise)
{
    size_t step = is_bytewise ? 1 : len;
    for (size_t at = 0; at < len;) {
        ssize_t n = send(fd, raw + at, len - at < step ? len - at : step, 0);
        if (n <= 0)
            return; /* closed in our face, which the answers will tell */
        at += (size_t)n;
    }
}

/* Returns NULL, or what was wrong. */
static const char *run_one(const char *expected, const char *raw, size_t len, bool is_bytewise)
{
    static const char probe[] = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static struct inbox in;
    static char why[128];
    const char *wrong = NULL;
    in = (struct inbox){ .fd = dial() };
    send_bytes(in.fd, raw, len, is_bytewise);
    const char *at = expected;
    while (*at >= '0' && *at <= '9' && wrong == NULL) {
        char *end;
        unsigned want = (unsigned)strtoul(at, &end, 10);
        bool has_body = *end != 'h';
        unsigned got = next_answer(&in, has_body);
        if (got == 100 && want != 100) /* whether it comes depends on how fast the body does */
            got = next_answer(&in, has_body);
        if (want == 100 && got != 100) {
            at = strchr(end, ',') + 1;
            want = (unsigned)strtoul(at, &end, 10);
        }
        if (got != want) {
            (void)snprintf(why, sizeof why, "%u came for %u", got, want);
            wrong = why;
        }
        at = end + !has_body;
        at += *at == ',';
    }
    if (wrong == NULL && strstr(expected, "open") != NULL) {
        send_bytes(in.fd, probe, sizeof probe - 1, false);
        if (next_answer(&in, true) != 200)
            wrong = "the connection does not live on";
    } else if (wrong == NULL) {
        while (fill(&in))
            ;
        if (!in.has_ended)
            wrong = "the connection does not end";
        else if (in.len > 0)
            wrong = "one answer too many";
    }
    if (only != NULL)
        (void)printf("%s\n%s\n", wrong == NULL ? "as expected" : wrong, in.data);
    (void)close(in.fd);
    return wrong;
}

static size_t unescape(const char *text, char *out)
{
    size_t len = 0;
    const char *at = text;
    while (*at != 0 && *at != '\n') {
        if (*at != '\\') {
            out[len++] = *at++;
            continue;
        }
        at++;
        if (*at == '{') {
            char unit[64], inner[64];
            char *after;
            unsigned long count = strtoul(at + 1, &after, 10);
            const char *close = strchr(after, '}');
            assert_true(*after == '*' && close != NULL && (size_t)(close - after) < sizeof inner);
            memcpy(inner, after + 1, (size_t)(close - after) - 1);
            inner[close - after - 1] = 0;
            size_t unit_len = unescape(inner, unit);
            for (unsigned long i = 0; i < count; i++) {
                memcpy(out + len, unit, unit_len);
                len += unit_len;
            }
            at = close + 1;
        } else if (*at == 'x') {
            char hex[3] = { at[1], at[2], 0 };
            out[len++] = (char)strtoul(hex, NULL, 16);
            at += 3;
        } else {
            out[len++] = (char)(*at == 'r' ? '\r' : *at == 'n' ? '\n' : *at == 't' ? '\t' : *at);
            at++;
        }
        assert_true(len < RAW_MAX);
    }
    return len;
}

static void trim(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == ' ')
        text[--len] = 0;
}

static void every_vector_is_answered_as_expected(void **state)
{
    (void)state;
    static char line[256 * 1024], raw[RAW_MAX + 64];
    unsigned count = 0, failed = 0;
    FILE *file = fopen(HTTP1_VECTORS, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *expected = strstr(line, " | ");
        if (line[0] == '#' || expected == NULL)
            continue;
        *expected = 0;
        expected += 3;
        char *text = strstr(expected, " | ");
        assert_non_null(text);
        *text = 0;
        text += 3;
        trim(line);
        if (only != NULL && strcmp(only, line) != 0)
            continue;
        size_t len = unescape(text, raw);
        for (int bytewise = 0; bytewise <= (len <= BYTEWISE_MAX); bytewise++) {
            const char *wrong = run_one(expected, raw, len, bytewise != 0);
            if (wrong != NULL) {
                (void)fprintf(stderr, "%s%s: %s\n", line, bytewise ? " (a byte at a time)" : "",
                              wrong);
                failed++;
            }
        }
        count++;
    }
    (void)fclose(file);
    (void)printf("%u vectors\n", count);
    assert_int_equal(failed, 0);
    assert_true(only != NULL || count >= 300);
}

int main(int argc, char **argv)
{
    only = argc > 1 ? argv[1] : NULL;
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_vector_is_answered_as_expected) };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
