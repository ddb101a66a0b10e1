/* SPDX-License-Identifier: Apache-2.0 */
/* Pages through a real server: one of many megabytes arrives whole, who does not read neither stalls the
 * loop nor the others for longer than the patience, too many are refused, and a page that broke off
 * cannot be taken for a whole one. */
#include "collector/scrape.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/router.h"
#include "net/server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PIECE_BYTES ((size_t)64 * 1024)

struct fixture {
    struct scrapes *scrapes;
    struct router *router;
    struct server *server;
    unsigned port;
    size_t pieces; /* of the page */
    enum err then;
    pthread_mutex_t gate; /* held by a test that wants the thread to wait */
};

static enum err make_page(struct scrape *s, struct exchange *x, void *context)
{
    struct fixture *f = context;
    enum err e = ERR_OK;
    (void)x;
    pthread_mutex_lock(&f->gate);
    pthread_mutex_unlock(&f->gate);
    scrape_content_type(s, "text/plain");
    for (size_t i = 0; e == ERR_OK && i < f->pieces; i++) {
        struct buffer piece;
        buffer_init(&piece, PIECE_BYTES);
        uint8_t *to = buffer_reserve(&piece, PIECE_BYTES);
        assert_non_null(to);
        memset(to, 'a' + (int)(i % 26), PIECE_BYTES);
        buffer_grew(&piece, PIECE_BYTES);
        e = scrape_write(s, &piece);
    }
    return e == ERR_OK ? f->then : e;
}

static void on_page(struct exchange *x, void *context)
{
    struct fixture *f = context;
    scrapes_take(f->scrapes, x);
}

static void on_other(struct exchange *x, void *context)
{
    struct buffer none = { 0 };
    (void)context;
    exchange_respond(x, &(struct response){ .status = 204 }, &none);
}

static int setup(void **state)
{
    static struct fixture f;
    char *message = NULL;
    memset(&f, 0, sizeof f);
    pthread_mutex_init(&f.gate, NULL);
    assert_int_equal(router_open(&f.router), ERR_OK);
    struct route route = {
        .kind = ROUTE_HTTP, .method = HTTP_GET, .path = "/page", .handler = on_page, .context = &f
    };
    assert_int_equal(router_add(f.router, &route), ERR_OK);
    route.path = "/other";
    route.handler = on_other;
    assert_int_equal(router_add(f.router, &route), ERR_OK);
    assert_int_equal(scrapes_open(make_page, &f, 300 * NS_PER_MS, &f.scrapes), ERR_OK);
    struct listener_options listener = { "http", "127.0.0.1:0", f.router };
    struct server_options server = { .loops = 1, .listeners = &listener, .listener_count = 1 };
    assert_int_equal(server_start(&server, &f.server, &message), ERR_OK);
    f.port = server_port(f.server, 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    server_stop(f->server);
    scrapes_close(f->scrapes);
    router_close(f->router);
    pthread_mutex_destroy(&f->gate);
    return fault_live_blocks() == 0 ? 0 : -1;
}

/* ---- A client ---- */

static int ask(struct fixture *f, const char *path)
{
    char request[128];
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)f->port) };
    struct timeval patience = { .tv_sec = 20 };
    int fd = socket(AF_INET, SOCK_STREAM, 0), small = 4096;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(send(fd, request, (size_t)len, 0), len);
    return fd;
}

struct got {
    unsigned status;
    size_t bytes, letters; /* of everything; of a to z in it */
    char end[64];          /* the last bytes */
};

static void receive(int fd, struct got *out)
{
    static char chunk[1 << 16];
    char tail[128] = "";
    size_t tail_len = 0;
    *out = (struct got){ 0 };
    for (ssize_t n; (n = recv(fd, chunk, sizeof chunk, 0)) > 0;) {
        if (out->bytes == 0)
            (void)sscanf(chunk, "HTTP/1.1 %u", &out->status);
        for (ssize_t i = 0; i < n; i++)
            out->letters += chunk[i] >= 'a' && chunk[i] <= 'z';
        out->bytes += (size_t)n;
        size_t keep = (size_t)n < 63 ? (size_t)n : 63;
        if (keep == 63)
            tail_len = 0;
        if (tail_len + keep > 63) {
            memmove(tail, tail + tail_len + keep - 63, 63 - keep);
            tail_len = 63 - keep;
        }
        memcpy(tail + tail_len, chunk + n - (ssize_t)keep, keep);
        tail_len += keep;
        tail[tail_len] = '\0';
    }
    memcpy(out->end, tail, tail_len + 1);
    close(fd);
}

/* ---- Tests ---- */

static void pages_of_any_length_arrive_whole(void **state)
{
    struct fixture *f = *state;
    struct got got;
    static const size_t pieces[] = { 0, 1, 4, 5, 320 };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        f->pieces = pieces[i];
        receive(ask(f, "/page"), &got);
        assert_int_equal(got.status, 200);
        assert_true(got.letters >= pieces[i] * PIECE_BYTES &&
                    got.letters < pieces[i] * PIECE_BYTES + 4000); /* and those of the head */
        if (pieces[i] > 4)
            assert_non_null(strstr(got.end, "0\r\n\r\n"));
    }
}

static void who_does_not_read_holds_nobody_up(void **state)
{
    struct fixture *f = *state;
    struct got got;
    f->pieces = 500; /* 32 MB: more than sockets take */
    int deaf = ask(f, "/page");
    uint64_t begin = clock_mono_ns();
    receive(ask(f, "/other"), &got);
    assert_int_equal(got.status, 204);
    receive(ask(f, "/page"), &got); /* after the patience with the first */
    assert_int_equal(got.status, 200);
    assert_true(got.letters >= f->pieces * PIECE_BYTES);
    assert_true(clock_mono_ns() - begin < 15 * NS_PER_S);
    close(deaf);
    receive(ask(f, "/page"), &got);
    assert_int_equal(got.status, 200);
    int gone = ask(f, "/page"); /* and one that leaves at once */
    close(gone);
    receive(ask(f, "/page"), &got);
    assert_int_equal(got.status, 200);
}

static void too_many_are_refused(void **state)
{
    enum { ASKED = 40, SERVED = SCRAPES_WAITING_MAX + 1 }; /* and the one being made */
    struct fixture *f = *state;
    struct pollfd answered[ASKED];
    struct got got;
    unsigned refused = 0;
    int ready = 0;
    f->pieces = 1;
    pthread_mutex_lock(&f->gate); /* the thread stands in the first page */
    for (size_t i = 0; i < ASKED; i++)
        answered[i] = (struct pollfd){ .fd = ask(f, "/page"), .events = POLLIN };
    for (unsigned i = 0; i < 1000 && ready < ASKED - SERVED; i++) {
        struct timespec moment = { .tv_nsec = 10000000 };
        ready = poll(answered, ASKED, 10);
        if (ready < ASKED - SERVED)
            (void)nanosleep(&moment, NULL);
    }
    pthread_mutex_unlock(&f->gate);
    for (size_t i = 0; i < ASKED; i++) {
        receive(answered[i].fd, &got);
        refused += got.status == 503;
        assert_true(got.status == 503 || got.status == 200);
    }
    assert_true(ready >= ASKED - SERVED);
    assert_true(refused == ASKED - SERVED || refused == ASKED - SERVED + 1);
}

static void a_broken_page_is_no_page(void **state)
{
    struct fixture *f = *state;
    struct got got;
    f->then = ERR_NOMEM;
    f->pieces = 1;
    receive(ask(f, "/page"), &got);
    assert_int_equal(got.status, 503);
    f->pieces = 10;
    receive(ask(f, "/page"), &got);
    assert_int_equal(got.status, 200);
    assert_non_null(strstr(got.end, "\n{the page broke off\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_of_any_length_arrive_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(who_does_not_read_holds_nobody_up, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_page_is_no_page, setup, teardown),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does: clients leave */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
