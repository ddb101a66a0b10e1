/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_answer.c - the loop's side of an answer: what waits to be sent, and answers that net
 * gives by itself. */
#include "base/json_writer.h"
#include "base/mem.h"
#include "net/exchange_private.h"
#include "net/request_head.h"

#include <assert.h>
#include <stdio.h>

struct bytes exchange_pending(const struct exchange *x)
{
    const struct piece *p = x->answer.first;
    if (p == NULL)
        return (struct bytes){ 0 };
    if (p->at < p->frame_len)
        return bytes_of(p->frame + p->at, p->frame_len - p->at);
    return bytes_of(p->data + (p->at - p->frame_len), p->len - (p->at - p->frame_len));
}

static void pop(struct exchange *x)
{
    struct piece *p = x->answer.first;
    x->answer.first = p->next;
    if (p->next == NULL)
        x->answer.last = NULL;
    mem_free(p->data);
    p->data = NULL;
    if (!p->is_embedded)
        mem_free(p);
}

void exchange_sent(struct exchange *x, size_t n)
{
    if (x->answer.is_streamed) {
        size_t before = atomic_fetch_sub(&x->waiting_bytes, n);
        assert(before >= n);
        /* Half of the bound: not a call for every small piece. */
        if (before - n <= 512 * 1024)
            exchange_tell_writer(x);
    }
    while (n > 0) {
        struct piece *p = x->answer.first;
        assert(p != NULL);
        size_t left = p->frame_len + p->len - p->at;
        size_t step = n < left ? n : left;
        p->at += step;
        n -= step;
        if (step == left)
            pop(x);
    }
}

void exchange_tell_writer(struct exchange *x)
{
    if (atomic_exchange(&x->is_call_owed, false))
        x->on_writable(x, x->on_writable_context);
}

bool exchange_is_drained(const struct exchange *x)
{
    return x->answer.has_ended && x->answer.first == NULL;
}

static void put_varint(struct buffer *b, uint64_t v)
{
    while (v >= 0x80) {
        buffer_append_byte(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buffer_append_byte(b, (uint8_t)v);
}

static void put_field(struct buffer *b, unsigned number, struct bytes value)
{
    put_varint(b, number << 3 | 2);
    put_varint(b, value.len);
    buffer_append_bytes(b, value);
}

/* google.rpc.Status: code 1, message 2, details 3 { type_url 1, value 2 }. The one detail is a
 * RetryInfo { retry_delay 1 { seconds 1, nanos 2 } } of 1 s, give or take one half, so that refused
 * clients do not all come back at once. */
static void put_status(struct buffer *b, unsigned code, const char *text, bool is_retryable,
                       uint64_t salt)
{
    put_varint(b, 1 << 3);
    put_varint(b, code);
    put_field(b, 2, bytes_text(text));
    if (!is_retryable)
        return;
    uint64_t delay_ms = 500 + (salt * UINT64_C(0x9E3779B97F4A7C15) >> 32) % 1001;
    uint8_t room[3][96];
    struct buffer duration = { .data = room[0], .capacity = 96, .limit_bytes = 96 };
    struct buffer info = { .data = room[1], .capacity = 96, .limit_bytes = 96 };
    struct buffer any = { .data = room[2], .capacity = 96, .limit_bytes = 96 };
    put_varint(&duration, 1 << 3);
    put_varint(&duration, delay_ms / 1000);
    put_varint(&duration, 2 << 3);
    put_varint(&duration, delay_ms % 1000 * 1000000);
    put_field(&info, 1, buffer_bytes(&duration));
    put_field(&any, 1, BYTES_LITERAL("type.googleapis.com/google.rpc.RetryInfo"));
    put_field(&any, 2, buffer_bytes(&info));
    put_field(b, 3, buffer_bytes(&any));
}

static void put_json(struct buffer *b, const struct exchange *x, const struct refusal *why,
                     bool is_status)
{
    struct json_writer w;
    json_init(&w, b);
    json_object_begin(&w);
    json_key(&w, "code");
    json_u64(&w, is_status ? why->grpc_status : why->status);
    json_key(&w, "message");
    json_text(&w, why->text);
    json_key(&w, "request_id");
    json_u64_string(&w, x->request.id);
    json_object_end(&w);
}

static bool speaks_status(const struct exchange *x)
{
    return x->route != NULL && x->route->consumes != NULL &&
           strstr(x->route->consumes, "protobuf") != NULL;
}

static void add_header(struct http_header *list, size_t *count, const char *name,
                       struct bytes value)
{
    list[(*count)++] = (struct http_header){ .name = bytes_text(name), .value = value };
}

static void refuse_http(struct exchange *x, const struct refusal *why, struct buffer *body,
                        struct response *head)
{
    struct bytes type = media_type(request_header(&x->request, "content-type"));
    head->status = why->status;
    head->content_type = "application/json";
    if (media_type_in("application/x-protobuf, application/protobuf", type)) {
        head->content_type = "application/x-protobuf";
        put_status(body, why->grpc_status, why->text, why->is_retryable, x->request.id);
    } else {
        put_json(body, x, why, speaks_status(x));
    }
}

/* A reference for the post that exchange_respond() makes: net is its own handler here. */
void exchange_refuse(struct exchange *x, const struct refusal *why)
{
    struct buffer body;
    buffer_init(&body, 4096);
    x->answer.closes = why->closes;
    exchange_ref(x);
    if (x->request.protocol == PROTOCOL_GRPC && why->status == 200) {
        put_status(&body, why->grpc_status, why->text, why->is_retryable, x->request.id);
        exchange_respond_grpc(x, why->grpc_status, bytes_text(why->text), buffer_bytes(&body),
                              NULL);
        buffer_deinit(&body);
        return;
    }
    struct http_header headers[3];
    struct response head = { .headers = headers };
    char status_text[8];
    if (why->is_retryable)
        add_header(headers, &head.header_count, "retry-after", BYTES_LITERAL("1"));
    if (why->allow.len > 0)
        add_header(headers, &head.header_count, "allow", why->allow);
    if (why->status == 401)
        add_header(headers, &head.header_count, "www-authenticate", BYTES_LITERAL("Bearer"));
    if (x->request.protocol == PROTOCOL_GRPC) {
        /* Not a gRPC answer by its HTTP status; the gRPC status says the same for who looks. */
        int n = snprintf(status_text, sizeof status_text, "%u", why->grpc_status);
        add_header(headers, &head.header_count, "grpc-status", bytes_of(status_text, (size_t)n));
        head.status = why->status;
        x->request.protocol = PROTOCOL_HTTP2;
    } else {
        refuse_http(x, why, &body, &head);
    }
    exchange_respond(x, &head, &body);
}
