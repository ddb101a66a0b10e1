/* SPDX-License-Identifier: Apache-2.0 */
/* stages_receive.c - "receive": gRPC over HTTP/2 from the bytes of a connection to a decompressed message.
 *
 * A session without a socket gets what a client would send, in reads of the loop's size, and its answers go
 * nowhere: the kernel's and libuv's part is not in the count. */
#include "bench/stages.h"

#include "base/budget.h"
#include "net/router.h"
#include "net/session.h"

#include <stdio.h>

#define PATH         "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
#define FRAME_MAX    16384u /* what clients send without being told otherwise */
#define STREAM_FIRST 1u

static uint64_t taken_bytes;
static enum stages_defect current_defect;

static void take(struct exchange *x, void *context)
{
    (void)context;
    struct bytes body = exchange_request(x)->body;
    if (current_defect == STAGES_DEFECT_COPY) {
        struct bytes copy;
        if (arena_dup(exchange_arena(x), body, &copy) == ERR_OK)
            body = copy;
    }
    taken_bytes += body.len;
    struct buffer answer;
    buffer_init(&answer, 16);
    exchange_respond_grpc(x, 0, (struct bytes){ 0 }, (struct bytes){ 0 }, &answer);
}

static void add_frame(struct buffer *out, uint8_t type, uint8_t flags, uint32_t stream,
                      struct bytes payload)
{
    uint8_t head[9] = { (uint8_t)(payload.len >> 16), (uint8_t)(payload.len >> 8),
                        (uint8_t)payload.len, type, flags };
    store_be32(head + 5, stream);
    buffer_append(out, head, sizeof head);
    buffer_append_bytes(out, payload);
}

/* HPACK literals without indexing, new names. */
static void add_headers(struct buffer *out, uint32_t stream)
{
    static const char *const fields[] = { ":method",
                                          "POST",
                                          ":scheme",
                                          "http",
                                          ":path",
                                          PATH,
                                          ":authority",
                                          "localhost",
                                          "content-type",
                                          "application/grpc",
                                          "grpc-encoding",
                                          "gzip",
                                          "te",
                                          "trailers",
                                          "user-agent",
                                          "OTel-OTLP-Exporter-Go/1.30" };
    struct buffer block;
    buffer_init(&block, 4096);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (i % 2 == 0)
            buffer_append_byte(&block, 0);
        buffer_append_byte(&block, (uint8_t)strlen(fields[i])); /* all below 127 */
        buffer_append_text(&block, fields[i]);
    }
    add_frame(out, 1, 4, stream, buffer_bytes(&block));
    buffer_deinit(&block);
}

static void add_message(struct buffer *out, uint32_t stream, struct bytes message)
{
    struct buffer data;
    buffer_init(&data, SIZE_MAX);
    uint8_t prefix[5] = { 1 };
    store_be32(prefix + 1, (uint32_t)message.len);
    buffer_append(&data, prefix, sizeof prefix);
    buffer_append_bytes(&data, message);
    for (size_t at = 0; at < data.len; at += FRAME_MAX) {
        size_t len = data.len - at < FRAME_MAX ? data.len - at : FRAME_MAX;
        add_frame(out, 0, at + len == data.len, stream, bytes_of(data.data + at, len));
    }
    buffer_deinit(&data);
}

static void on_ready(struct wire *w)
{
    (void)w; /* produce() is called after each read anyway */
}

/* One read's worth; what is not taken stays in front of the next. */
static size_t feed(struct session *s, const uint8_t *data, size_t len)
{
    size_t taken = s->ops->receive(s, data, len);
    do
        loop_settle(s->wire->loop);
    while (s->ops->produce(s, s->wire->loop->write_buffer, LOOP_WRITE_BYTES) > 0);
    return taken;
}

static bool receive_all(const struct stages_work *work, struct wire *wire)
{
    static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    struct session *s = http2_open(wire);
    if (s == NULL || feed(s, (const uint8_t *)greeting, sizeof greeting) != sizeof greeting)
        return false;
    uint64_t plain_bytes = 0;
    struct buffer bytes;
    buffer_init(&bytes, SIZE_MAX);
    for (size_t i = 0; i < work->count; i++) {
        add_headers(&bytes, STREAM_FIRST + 2 * (uint32_t)i);
        add_message(&bytes, STREAM_FIRST + 2 * (uint32_t)i, work->requests[i].gzip);
        plain_bytes += work->requests[i].plain.len;
    }
    stage_begin("receive");
    size_t at = 0, taken = 1;
    while (at < bytes.len && taken > 0 && !s->wants_close) {
        size_t len = bytes.len - at < LOOP_READ_BYTES ? bytes.len - at : LOOP_READ_BYTES;
        taken = feed(s, bytes.data + at, len);
        at += taken;
    }
    stage_end(work->spans);
    bool is_ok = at == bytes.len;
    buffer_deinit(&bytes);
    s->ops->close(s);
    loop_settle(wire->loop);
    return is_ok && taken_bytes == plain_bytes;
}

bool stages_receive(const struct stages_work *work, enum stages_defect defect)
{
    static const struct route route = { .kind = ROUTE_GRPC,
                                        .method = HTTP_POST,
                                        .path = PATH,
                                        .scope = SCOPE_WRITE,
                                        .body_max = (size_t)64 << 20,
                                        .handler = take };
    static const char *const hosts[] = { "localhost" };
    static struct budget budget;
    static struct core core;
    static struct listener listener;
    struct server_options options = { .hosts = hosts, .host_count = 1, .request_budget = &budget };
    struct wire wire = {
        .core = &core, .listener = &listener, .peer = BYTES_LITERAL("bench:1"), .on_ready = on_ready
    };
    struct router *router = NULL;
    current_defect = defect;
    budget_init(&budget, (size_t)256 << 20, NULL);
    bool is_ok = core_init(&core, &options) == ERR_OK && router_open(&router) == ERR_OK &&
                 router_add(router, &route) == ERR_OK && loop_open(&wire.loop) == ERR_OK;
    if (is_ok) {
        listener = (struct listener){ .name = "bench", .router = router, .fd = -1 };
        for (int i = 0; i < 3; i++)
            listener.requests[i] = metrics_counter(NULL, "spindle_bench_total", NULL, "");
        is_ok = receive_all(work, &wire);
    }
    if (!is_ok)
        (void)fputs("receive: not every request came through\n", stderr);
    return is_ok;
}
