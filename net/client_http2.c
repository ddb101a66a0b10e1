/* SPDX-License-Identifier: Apache-2.0 */
/* Unary gRPC over cleartext HTTP/2.
 *
 * Source  the gRPC over HTTP/2 protocol; facts about statuses as grpc-go reads them. */
#include "base/mem.h"
#include "base/text.h"
#include "net/client_private.h"
#include "net/http2_memory.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define WINDOW_BYTES         (16 << 20) /* what the server may send before we say that we have read it */
#define FLUSH_BYTES          (1u << 20) /* a write is about this large; the rest follows */
#define FRAME_BYTES_MAX      (1u << 20) /* larger frames save nothing more */
#define GRPC_DEADLINE_MS_MAX 99999999   /* grpc-timeout has eight digits */

static struct client_slot *slot_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- The answer ---- */

static void read_message_header(struct client_slot *slot, struct bytes value)
{
    buffer_reset(&slot->message);
    for (size_t i = 0; i < value.len; i++) {
        uint8_t byte = value.data[i];
        if (byte == '%' && value.len - i > 2 &&
            text_hex_parse(bytes_slice(value, i + 1, 2), &byte, 1))
            i += 2; /* a bad escape stays as it is: a decoder must not fail on it */
        buffer_append_byte(&slot->message, byte);
    }
}

static void read_details_header(struct client_slot *slot, struct bytes value)
{
    uint8_t status[8192];
    size_t len;
    if (value.len * 3 / 4 + 3 <= sizeof status && text_base64_parse(value, status, &len))
        slot->retry_after_ns = client_retry_info_ns(bytes_of(status, len));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)flags;
    (void)user;
    struct client_slot *slot = slot_of(session, frame->hd.stream_id);
    if (slot == NULL)
        return 0;
    struct bytes n = bytes_of(name, name_len), v = bytes_of(value, value_len);
    uint64_t number;
    if (bytes_equal_text(n, ":status")) {
        if (text_u64_parse(v, &number) && number < 1000)
            slot->http_status = (unsigned)number;
    } else if (bytes_equal_text(n, "grpc-status")) {
        slot->grpc_status = text_u64_parse(v, &number) && number <= 16 ? (int)number : 2;
    } else if (bytes_equal_text(n, "grpc-message")) {
        read_message_header(slot, v);
    } else if (bytes_equal_text(n, "grpc-status-details-bin")) {
        read_details_header(slot, v);
    } else if (bytes_equal_text(n, "retry-after") && slot->retry_after_ns == 0) {
        slot->retry_after_ns = client_retry_after_ns(v);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t len, void *user)
{
    (void)flags;
    (void)user;
    struct client_slot *slot = slot_of(session, stream_id);
    if (slot != NULL)
        client_slot_answer(slot, bytes_of(data, len));
    return 0;
}

static int status_from_http(unsigned http_status)
{
    switch (http_status) {
    case 400:
    case 431:
        return 13;
    case 401:
        return 16;
    case 403:
        return 7;
    case 404:
        return 12;
    case 429:
    case 502:
    case 503:
    case 504:
        return 14;
    default:
        return 2;
    }
}

static int status_from_reset(uint32_t code)
{
    switch (code) {
    case NGHTTP2_REFUSED_STREAM:
        return 14;
    case NGHTTP2_CANCEL:
        return 1;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return 8;
    case NGHTTP2_INADEQUATE_SECURITY:
        return 7;
    default:
        return 13;
    }
}

/* The answer holds the message behind its five-byte prefix; take the prefix off. We offer no
 * compression. */
static enum err unwrap(struct client_slot *slot)
{
    struct buffer *b = &slot->answer;
    if (b->len == 0)
        return ERR_OK; /* trailers only */
    if (b->len < 5 || b->data[0] != 0 || load_be32(b->data + 1) != b->len - 5)
        return ERR_INVALID;
    memmove(b->data, b->data + 5, b->len - 5);
    b->len -= 5;
    return ERR_OK;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    struct client_slot *slot = slot_of(session, stream_id);
    if (slot == NULL)
        return 0;
    enum err e = slot->error;
    if (slot->grpc_status < 0) {
        if (code != NGHTTP2_NO_ERROR)
            slot->grpc_status = status_from_reset(code);
        else
            slot->grpc_status = status_from_http(slot->http_status);
    } else if (e == ERR_OK && slot->http_status == 200 && slot->grpc_status == 0) {
        e = unwrap(slot);
    }
    client_slot_finish(user, slot, e);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct client_connection *k = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        k->takes_calls = false;
    return 0;
}

/* ---- The request ---- */

static ssize_t on_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t len,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)source;
    (void)user;
    struct client_slot *slot = slot_of(session, stream_id);
    if (slot == NULL) /* abandoned, and its slot may have another call by now */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    struct bytes body = slot->call->body;
    size_t total = sizeof slot->prefix + body.len, written = 0;
    if (slot->body_sent < sizeof slot->prefix) {
        size_t n = sizeof slot->prefix - slot->body_sent;
        n = n < len ? n : len;
        memcpy(out, slot->prefix + slot->body_sent, n);
        slot->body_sent += n;
        written = n;
    }
    if (slot->body_sent >= sizeof slot->prefix && body.len > 0) {
        struct bytes rest = bytes_slice(body, slot->body_sent - sizeof slot->prefix, len - written);
        if (rest.len > 0)
            memcpy(out + written, rest.data, rest.len);
        slot->body_sent += rest.len;
        written += rest.len;
    }
    if (slot->body_sent == total)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)written;
}

static ssize_t on_frame_size(nghttp2_session *session, uint8_t frame_type, int32_t stream_id,
                             int32_t session_window, int32_t stream_window, uint32_t frame_max,
                             void *user)
{
    (void)session;
    (void)frame_type;
    (void)stream_id;
    (void)user;
    int64_t n = session_window < stream_window ? session_window : stream_window;
    n = n < frame_max ? n : frame_max;
    return (ssize_t)(n < FRAME_BYTES_MAX ? n : FRAME_BYTES_MAX);
}

static nghttp2_nv header(const char *name, const char *value)
{
    nghttp2_nv nv = { .namelen = strlen(name), .valuelen = strlen(value) };
    /* nghttp2 copies both: NGHTTP2_NV_FLAG_NONE. Its type only lacks the const. */
    memcpy(&nv.name, &name, sizeof name);
    memcpy(&nv.value, &value, sizeof value);
    return nv;
}

static enum err http2_start(struct client_connection *k, struct client_slot *slot)
{
    const struct client_options *o = &k->client->options;
    const struct client_call *call = slot->call;
    if (call->body.len > UINT32_MAX)
        return ERR_TOO_LARGE;
    slot->prefix[0] = call->encoding != NULL;
    store_be32(slot->prefix + 1, (uint32_t)call->body.len);

    char timeout[16];
    uint64_t ms = o->timeout_ns / 1000000;
    snprintf(timeout, sizeof timeout, "%llum",
             (unsigned long long)(ms < GRPC_DEADLINE_MS_MAX ? ms : GRPC_DEADLINE_MS_MAX));
    nghttp2_nv headers[10];
    size_t count = 0;
    headers[count++] = header(":method", "POST");
    headers[count++] = header(":scheme", "http");
    headers[count++] = header(":path", call->path);
    headers[count++] = header(":authority", k->client->authority);
    headers[count++] = header("te", "trailers");
    headers[count++] = header("content-type", "application/grpc");
    headers[count++] = header("user-agent", "spindle");
    headers[count++] = header("grpc-timeout", timeout);
    if (call->encoding != NULL)
        headers[count++] = header("grpc-encoding", call->encoding);
    if (o->authorization != NULL)
        headers[count++] = header("authorization", o->authorization);
    const nghttp2_data_provider body = { .read_callback = on_body };
    int32_t id = nghttp2_submit_request(k->session, NULL, headers, count, &body, slot);
    if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE) { /* 2^30 calls: time for a new connection */
        k->takes_calls = false;
        return ERR_IO;
    }
    if (id < 0)
        return ERR_NOMEM;
    slot->stream_id = id;
    return ERR_OK;
}

static bool http2_abandon(struct client_connection *k, struct client_slot *slot)
{
    /* The stream lives on until the reset has left; it must not find the slot, which is free by
     * then. */
    return nghttp2_session_set_stream_user_data(k->session, slot->stream_id, NULL) == 0 &&
           nghttp2_submit_rst_stream(k->session, NGHTTP2_FLAG_NONE, slot->stream_id,
                                     NGHTTP2_CANCEL) == 0;
}

/* ---- The session ---- */

static enum err http2_begin(struct client_connection *k)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return ERR_NOMEM;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, on_frame_size);
    nghttp2_session *session;
    int failed = nghttp2_session_client_new3(&session, callbacks, k, NULL, http2_memory());
    nghttp2_session_callbacks_del(callbacks);
    if (failed)
        return ERR_NOMEM;
    k->session = session;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
    };
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 2) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES) != 0)
        return ERR_NOMEM;
    return ERR_OK;
}

static void http2_end(struct client_connection *k)
{
    nghttp2_session_del(k->session);
    k->session = NULL;
}

static enum err http2_receive(struct client_connection *k, struct bytes in)
{
    ssize_t n = nghttp2_session_mem_recv(k->session, in.data, in.len);
    return n < 0 || (size_t)n != in.len ? ERR_IO : ERR_OK;
}

static enum err http2_flush(struct client_connection *k)
{
    while (k->out.len < FLUSH_BYTES) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(k->session, &data);
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            break;
        buffer_append(&k->out, data, (size_t)n);
    }
    /* The server said GOAWAY and all is done: nghttp2 wants neither side any more. */
    if (k->out.len == 0 && !nghttp2_session_want_read(k->session) &&
        !nghttp2_session_want_write(k->session))
        return ERR_IO;
    return buffer_error(&k->out);
}

const struct client_protocol_ops client_http2_ops = {
    .begin = http2_begin,
    .end = http2_end,
    .start = http2_start,
    .abandon = http2_abandon,
    .receive = http2_receive,
    .flush = http2_flush,
};
