/* SPDX-License-Identifier: Apache-2.0 */
/* test_call.c - see test_call.h. */
#include "net/test_call.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 8

struct test_connection {
    int fd;
    nghttp2_session *session;
    const struct test_call *call;
    size_t sent;
    struct test_result *result;
    int32_t id;
    bool has_ended;
};

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)session;
    (void)flags;
    struct test_connection *c = user;
    struct bytes n = bytes_of(name, name_len);
    const struct {
        const char *name;
        char *room;
        size_t size;
    } texts[] = { { "grpc-message", c->result->message, sizeof c->result->message },
                  { "grpc-status-details-bin", c->result->details, sizeof c->result->details },
                  { "grpc-accept-encoding", c->result->accept_encoding,
                    sizeof c->result->accept_encoding },
                  { "allow", c->result->allow, sizeof c->result->allow } };
    if (frame->hd.stream_id != c->id)
        return 0;
    if (bytes_equal_text(n, ":status"))
        c->result->status = (unsigned)strtoul((const char *)value, NULL, 10);
    if (bytes_equal_text(n, "grpc-status"))
        c->result->grpc_status = (int)strtol((const char *)value, NULL, 10);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (bytes_equal_text(n, texts[i].name) && value_len < texts[i].size) {
            memcpy(texts[i].room, value, value_len);
            texts[i].room[value_len] = 0;
        }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t len, void *user)
{
    (void)session;
    (void)flags;
    struct test_connection *c = user;
    if (id != c->id)
        return 0;
    struct test_result *r = c->result;
    if (r->body_len + len <= sizeof r->body)
        memcpy(r->body + r->body_len, data, len);
    r->body_len += len;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session;
    struct test_connection *c = user;
    if (id == c->id) {
        c->has_ended = true;
        c->result->reset_code = code;
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct test_connection *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY && c->result != NULL)
        c->result->has_goaway = true;
    return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t capacity,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)source;
    struct test_connection *c = user;
    size_t left = c->call->body.len - c->sent;
    size_t step = c->call->step == 0 ? capacity : c->call->step;
    size_t n = left < step ? left : step;
    if (n > capacity)
        n = capacity;
    if (n == 0 && c->call->never_ends)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0)
        memcpy(out, c->call->body.data + c->sent, n);
    c->sent += n;
    if (c->sent == c->call->body.len && !c->call->never_ends)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

struct test_connection *test_dial(unsigned port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct test_connection *c = calloc(1, sizeof *c);
    nghttp2_session_callbacks *callbacks;
    assert(c != NULL);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        (void)close(c->fd);
        free(c);
        return NULL;
    }
    int on = 1;
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_client_new(&c->session, callbacks, c);
    nghttp2_session_callbacks_del(callbacks);
    (void)nghttp2_submit_settings(c->session, 0, NULL, 0);
    return c;
}

void test_hang_up(struct test_connection *c)
{
    nghttp2_session_del(c->session);
    (void)close(c->fd);
    free(c);
}

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .namelen = strlen(name),
                         .value = (uint8_t *)(uintptr_t)value,
                         .valuelen = strlen(value) };
}

static bool flush(struct test_connection *c)
{
    const uint8_t *data;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &data)) > 0)
        for (ssize_t at = 0; at < n;) {
            ssize_t m = send(c->fd, data + at, (size_t)(n - at), MSG_NOSIGNAL);
            if (m <= 0)
                return false;
            at += m;
        }
    return true;
}

void test_call(struct test_connection *c, const struct test_call *call, struct test_result *out)
{
    static uint8_t in[64 * 1024];
    nghttp2_nv nv[12];
    size_t n = 0;
    *out = (struct test_result){ .grpc_status = -1 };
    c->call = call;
    c->result = out;
    c->sent = 0;
    c->has_ended = false;
    nv[n++] = field(":method", call->method == NULL ? "POST" : call->method);
    nv[n++] = field(":scheme", "http");
    nv[n++] = field(":path", call->path);
    nv[n++] = field(":authority", "localhost");
    nv[n++] =
        field("content-type", call->content_type == NULL ? "application/grpc" : call->content_type);
    if (!call->has_no_te)
        nv[n++] = field("te", "trailers");
    if (call->encoding != NULL)
        nv[n++] = field("grpc-encoding", call->encoding);
    if (call->content_encoding != NULL)
        nv[n++] = field("content-encoding", call->content_encoding);
    if (call->timeout != NULL)
        nv[n++] = field("grpc-timeout", call->timeout);
    if (call->authorization != NULL)
        nv[n++] = field("authorization", call->authorization);
    nghttp2_data_provider provider = { .read_callback = on_read };
    c->id = nghttp2_submit_request(c->session, NULL, nv, n, &provider, NULL);
    time_t until = time(NULL) + WAIT_S;
    while (!c->has_ended && time(NULL) < until) {
        struct pollfd p = { .fd = c->fd, .events = POLLIN };
        if (!flush(c) || poll(&p, 1, 1000) < 0)
            break;
        if (p.revents == 0)
            continue;
        ssize_t len = recv(c->fd, in, sizeof in, 0);
        if (len <= 0 || nghttp2_session_mem_recv(c->session, in, (size_t)len) < 0)
            break;
    }
    (void)flush(c);
    out->has_ended = c->has_ended;
}

struct bytes test_message(uint8_t *room, uint8_t flag, struct bytes payload)
{
    room[0] = flag;
    room[1] = (uint8_t)(payload.len >> 24);
    room[2] = (uint8_t)(payload.len >> 16);
    room[3] = (uint8_t)(payload.len >> 8);
    room[4] = (uint8_t)payload.len;
    if (payload.len > 0)
        memcpy(room + 5, payload.data, payload.len);
    return bytes_of(room, payload.len + 5);
}
