/* SPDX-License-Identifier: Apache-2.0 */
/* test_routes.c - see test_routes.h. */
#include "net/test_routes.h"
#include "base/mem.h"
#include "base/text.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static _Atomic unsigned threads_running;

static void nap(uint64_t ms)
{
    struct timespec t = { .tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000) };
    (void)nanosleep(&t, NULL);
}

void test_routes_join(void)
{
    while (atomic_load(&threads_running) > 0)
        nap(1);
}

static void answer(struct exchange *x, struct bytes body, bool may_compress)
{
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    buffer_append_bytes(&out, body);
    if (exchange_request(x)->protocol == PROTOCOL_GRPC)
        exchange_respond_grpc(x, 0, (struct bytes){ 0 }, (struct bytes){ 0 }, &out);
    else
        exchange_respond(x,
                         &(struct response){ .status = 200,
                                             .content_type = "text/plain",
                                             .may_compress = may_compress },
                         &out);
}

static void on_hello(struct exchange *x, void *context)
{
    (void)context;
    answer(x, BYTES_LITERAL("hello"), false);
}

static void on_echo(struct exchange *x, void *context)
{
    (void)context;
    answer(x, exchange_request(x)->body, true);
}

static void on_show(struct exchange *x, void *context)
{
    (void)context;
    const struct request *r = exchange_request(x);
    struct bytes q = { 0 };
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    (void)request_parameter(x, "q", &q);
    buffer_append_text(&out, "a=");
    buffer_append_bytes(&out, r->parameters[0]);
    buffer_append_text(&out, ";rest=");
    buffer_append_bytes(&out, r->parameters[1]);
    buffer_append_text(&out, ";q=");
    buffer_append_bytes(&out, q);
    exchange_respond(x, &(struct response){ .status = 200, .content_type = "text/plain" }, &out);
}

static uint64_t number(struct exchange *x, const char *name)
{
    struct bytes text;
    uint64_t n = 0;
    if (!request_parameter(x, name, &text) || !text_u64_parse(text, &n))
        return 0;
    return n > 1000000000 ? 1000000000 : n;
}

static void fill(struct buffer *b, size_t n)
{
    uint8_t *room = buffer_reserve(b, n);
    if (room == NULL)
        return;
    for (size_t i = 0; i < n; i++)
        room[i] = (uint8_t)('a' + i % 26);
    buffer_grew(b, n);
}

static void on_big(struct exchange *x, void *context)
{
    (void)context;
    struct buffer out;
    buffer_init(&out, SIZE_MAX);
    fill(&out, number(x, "n"));
    exchange_respond(
        x, &(struct response){ .status = 200, .content_type = "text/plain", .may_compress = true },
        &out);
}

struct producer {
    uint64_t left;
};

static void produce(struct exchange *x, void *context)
{
    struct producer *p = context;
    bool is_gone = false;
    while (p->left > 0 && !is_gone) {
        struct buffer piece;
        buffer_init(&piece, SIZE_MAX);
        fill(&piece, 1000);
        enum err e = exchange_write(x, &piece);
        if (e == ERR_BUSY)
            return; /* called again when there is room */
        is_gone = e != ERR_OK;
        p->left--;
    }
    mem_free(p);
    exchange_end(x, 0, (struct bytes){ 0 });
}

static void on_stream(struct exchange *x, void *context)
{
    (void)context;
    struct producer *p = mem_zalloc(sizeof *p);
    p->left = number(x, "n");
    exchange_begin(x, &(struct response){ .status = 200, .content_type = "text/plain" }, produce,
                   p);
    produce(x, p);
}

/* Like on_stream(), but the writer begins in a thread of its own. */
struct start {
    struct exchange *x;
    struct producer *p;
};

static void *run_producer(void *arg)
{
    struct start *start = arg;
    produce(start->x, start->p);
    mem_free(start);
    atomic_fetch_sub(&threads_running, 1);
    return NULL;
}

static void on_thread(struct exchange *x, void *context)
{
    (void)context;
    struct producer *p = mem_zalloc(sizeof *p);
    struct start *start = mem_zalloc(sizeof *start);
    pthread_t thread;
    p->left = number(x, "n");
    *start = (struct start){ .x = x, .p = p };
    exchange_begin(x, &(struct response){ .status = 200, .content_type = "text/plain" }, produce,
                   p);
    atomic_fetch_add(&threads_running, 1);
    if (pthread_create(&thread, NULL, run_producer, start) == 0)
        (void)pthread_detach(thread);
    else
        (void)run_producer(start);
}

static atomic_bool naps_last;

void test_routes_let_nap(bool do_last)
{
    atomic_store(&naps_last, do_last);
}

/* Holds its thread, as the handler of a large body may. */
static void on_nap(struct exchange *x, void *context)
{
    (void)context;
    for (unsigned i = 0; i < 1000 && atomic_load(&naps_last); i++)
        nap(10);
    answer(x, BYTES_LITERAL("rested"), false);
}

struct late {
    struct exchange *x;
    uint64_t ms;
};

static void *run_late(void *arg)
{
    struct late *late = arg;
    nap(late->ms);
    if (exchange_request(late->x)->protocol == PROTOCOL_GRPC)
        answer(late->x, exchange_request(late->x)->body, false);
    else
        answer(late->x, BYTES_LITERAL("late"), false);
    mem_free(late);
    atomic_fetch_sub(&threads_running, 1);
    return NULL;
}

static void start_late(struct exchange *x, uint64_t ms)
{
    struct late *late = mem_zalloc(sizeof *late);
    pthread_t thread;
    *late = (struct late){ .x = x, .ms = ms };
    atomic_fetch_add(&threads_running, 1);
    if (pthread_create(&thread, NULL, run_late, late) == 0) {
        (void)pthread_detach(thread);
        return;
    }
    late->ms = 0;
    (void)run_late(late);
}

static void on_later(struct exchange *x, void *context)
{
    (void)context;
    start_late(x, number(x, "ms"));
}

static void on_grpc_later(struct exchange *x, void *context)
{
    (void)context;
    start_late(x, exchange_request(x)->body.len);
}

static void on_sum(struct exchange *x, void *context)
{
    (void)context;
    uint8_t sum[8];
    store_le32(sum, (uint32_t)exchange_request(x)->body.len);
    store_le32(sum + 4, (uint32_t)exchange_request(x)->received.len);
    answer(x, bytes_of(sum, 8), false);
}

static void on_fail(struct exchange *x, void *context)
{
    (void)context;
    exchange_respond_grpc(x, 3, exchange_request(x)->body, BYTES_LITERAL("\x08\x03"), NULL);
}

static void on_watch(struct exchange *x, void *context)
{
    (void)context;
    exchange_begin(x, NULL, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        struct buffer piece;
        buffer_init(&piece, 16);
        buffer_append_byte(&piece, (uint8_t)('a' + i));
        if (exchange_write(x, &piece) != ERR_OK)
            break;
    }
    exchange_end(x, 0, (struct bytes){ 0 });
}

enum err test_routes_add(struct router *r)
{
    static const struct route routes[] = {
        { ROUTE_HTTP, HTTP_GET, "/hello", SCOPE_OPEN, 0, NULL, on_hello, NULL, "--body" },
        { ROUTE_HTTP, HTTP_POST, "/echo", SCOPE_WRITE, 1 << 20,
          "application/x-protobuf, application/json, text/plain", on_echo, NULL, "--body" },
        { ROUTE_HTTP, HTTP_GET, "/show/{a}/{rest*}", SCOPE_READ, 0, NULL, on_show, NULL, "--body" },
        { ROUTE_HTTP, HTTP_GET, "/big", SCOPE_READ, 0, NULL, on_big, NULL, "--body" },
        { ROUTE_HTTP, HTTP_GET, "/stream", SCOPE_READ, 0, NULL, on_stream, NULL, "--body" },
        { ROUTE_HTTP, HTTP_GET, "/thread", SCOPE_READ, 0, NULL, on_thread, NULL, "--body" },
        { ROUTE_HTTP, HTTP_POST, "/nap", SCOPE_WRITE, 1 << 20, NULL, on_nap, NULL, "--body" },
        { ROUTE_HTTP, HTTP_GET, "/later", SCOPE_READ, 0, NULL, on_later, NULL, "--body" },
        { ROUTE_HTTP, HTTP_POST, "/small", SCOPE_WRITE, 16, NULL, on_echo, NULL, "--body" },
        { ROUTE_HTTP, HTTP_POST, "/v1/data", SCOPE_WRITE, 1 << 20,
          "application/x-protobuf, application/json", on_echo, NULL, "--body" },
        { ROUTE_GRPC, HTTP_POST, "/test.Echo/Unary", SCOPE_WRITE, 64 << 20, NULL, on_echo, NULL,
          "--body" },
        { ROUTE_GRPC, HTTP_POST, "/test.Echo/Sum", SCOPE_WRITE, 64 << 20, NULL, on_sum, NULL,
          "--body" },
        { ROUTE_GRPC, HTTP_POST, "/test.Echo/Later", SCOPE_WRITE, 1 << 20, NULL, on_grpc_later,
          NULL, "--body" },
        { ROUTE_GRPC, HTTP_POST, "/test.Echo/Fail", SCOPE_WRITE, 1 << 20, NULL, on_fail, NULL,
          "--body" },
        { ROUTE_GRPC, HTTP_POST, "/test.Echo/Watch", SCOPE_READ, 1 << 20, NULL, on_watch, NULL,
          "--body" },
    };
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        enum err e = router_add(r, &routes[i]);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}
