/* SPDX-License-Identifier: Apache-2.0 */
/* session_test.c - sessions over a wire without a socket, while each allocation in turn fails: nothing leaks,
 * nothing breaks, and the next request is served. */
#include "base/mem.h"
#include "net/fuzz_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

struct scenario {
    const char *name;
    struct session *(*open)(struct wire *wire);
    uint8_t bytes[2048];
    size_t len;
};

static void add_text(struct scenario *s, const char *text)
{
    memcpy(s->bytes + s->len, text, strlen(text));
    s->len += strlen(text);
}

static void add_frame(struct scenario *s, uint8_t type, uint8_t flags, uint8_t stream,
                      const void *payload, size_t len)
{
    const uint8_t head[9] = { 0, (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0, 0, stream };
    memcpy(s->bytes + s->len, head, sizeof head);
    memcpy(s->bytes + s->len + 9, payload, len);
    s->len += 9 + len;
}

/* HPACK literals without indexing. */
static void add_headers(struct scenario *s, uint8_t stream, uint8_t flags,
                        const char *const *fields)
{
    uint8_t block[512];
    size_t n = 0;
    for (; *fields != NULL; fields += 2) {
        block[n++] = 0;
        for (int i = 0; i < 2; i++) {
            size_t len = strlen(fields[i]);
            block[n++] = (uint8_t)len;
            memcpy(block + n, fields[i], len);
            n += len;
        }
    }
    add_frame(s, 1, flags, stream, block, n);
}

static void add_http2(struct scenario *s)
{
    static const char *const get[] = { ":method",         "GET",         ":scheme",    "http",
                                       ":path",           "/big?n=3000", ":authority", "localhost",
                                       "accept-encoding", "gzip",        NULL };
    static const char *const call[] = { ":method",
                                        "POST",
                                        ":scheme",
                                        "http",
                                        ":path",
                                        "/test.Echo/Unary",
                                        ":authority",
                                        "localhost",
                                        "content-type",
                                        "application/grpc",
                                        NULL };
    static const char *const fail[] = { ":method",
                                        "POST",
                                        ":scheme",
                                        "http",
                                        ":path",
                                        "/test.Echo/Fail",
                                        ":authority",
                                        "localhost",
                                        "content-type",
                                        "application/grpc",
                                        NULL };
    static const char *const none[] = { ":method", "GET",        ":scheme",   "http", ":path",
                                        "/none",   ":authority", "localhost", NULL };
    memcpy(s->bytes, greeting, sizeof greeting);
    s->len = sizeof greeting;
    add_headers(s, 1, 5, get);
    add_headers(s, 3, 4, call);
    add_frame(s, 0, 0, 3, "\0\0\0\0\5he", 7);
    add_frame(s, 0, 1, 3, "llo", 3);
    add_headers(s, 5, 4, fail);
    add_frame(s, 0, 1, 5, "\0\0\0\0\5hello", 10);
    add_headers(s, 7, 5, none);
    add_headers(s, 9, 4, call);
    add_frame(s, 0, 1, 9, "\0\0\0\0\5hello\0", 11);
}

static void make(struct scenario s[3])
{
    memset(s, 0, 3 * sizeof *s);
    s[0].name = "HTTP/1.1";
    s[0].open = http1_open;
    add_text(&s[0], "GET /big?n=3000 HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"
                    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    "text/plain\r\nContent-Length: 5\r\n\r\nhello"
                    "GET /show/a/b?q=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    "GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"
                    "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    "text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "5\r\nhello\r\n0\r\n\r\n");
    s[1].name = "HTTP/1.1, refused";
    s[1].open = http1_open;
    add_text(&s[1], "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 17\r\n\r\n");
    s[2].name = "HTTP/2";
    s[2].open = http2_open;
    add_http2(&s[2]);
}

/* Returns whether the session came about; step: how the bytes are cut. */
static bool run(const struct scenario *s, size_t step, struct fuzz_wire *w)
{
    if (!fuzz_wire_open(w, s->open))
        return false;
    fuzz_wire_feed(w, s->bytes, s->len, step);
    fuzz_wire_close(w);
    return true;
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    static struct scenario scenarios[3];
    static struct fuzz_wire w;
    make(scenarios);
    for (size_t i = 0; i < 3; i++) {
        for (int mode = 0; mode < 4; mode++) {
            size_t step = (mode & 1) != 0 ? 50 : sizeof scenarios->bytes;
            assert_true(run(&scenarios[i], step, &w)); /* fills what threads keep for themselves */
            size_t whole = w.output_len;
            assert_true(whole > 0);
            long live = fault_live_blocks();
            unsigned n = 0;
            for (bool fired = true; fired; n++) {
                assert_true(n < 10000);
                fault_alloc_fail_at(n, (mode & 2) != 0);
                (void)run(&scenarios[i], step, &w);
                fired = fault_fired();
                fault_alloc_off();
                if (fault_live_blocks() != live)
                    (void)fprintf(stderr, "%s: allocation %u failed and left %ld blocks\n",
                                  scenarios[i].name, n, fault_live_blocks() - live);
                assert_int_equal(fault_live_blocks(), live);
            }
            assert_true(run(&scenarios[i], step, &w));
            assert_in_range(w.output_len, whole, whole + 64); /* numbers of requests grow */
            (void)printf("%s: %u allocations failed, %s\n", scenarios[i].name, n - 1,
                         (mode & 2) != 0 ? "and all after them" : "one at a time");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(any_allocation_may_fail) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
