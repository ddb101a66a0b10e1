/* SPDX-License-Identifier: Apache-2.0 */
/* http1.c - an HTTP/1.1 session: one request at a time, the next is read when the last is answered.
 *
 *   HEAD --guard finds its end, llhttp parses it--> BODY --complete--> ANSWER --sent--> HEAD
 *     '-- any doubt: 400 --------------------------------^                '--> CLOSING
 *
 * I1  llhttp is given exactly the bytes of the message under way, never one of the next.
 * I2  A pipelined request waits in the connection's input, which is bounded, so answers are in
 * order. Source  RFC 9110, 9112; RELIABILITY 6.6. */
#include "base/clock.h"
#include "base/mem.h"
#include "net/http1_guard.h"
#include "net/http1_parser.h"
#include "net/stream.h"

#include <assert.h>
#include <stdio.h>

/* What one read may bring while no body is expected: bounds what a pipelining client makes us keep.
 */
#define READ_SMALL_BYTES (16 * 1024)

/* Who has closed his half and has no answer after so long has most likely left: his question need not be
 * worked on any more. What is answered then is still sent. */
#define HALF_CLOSED_NS (2 * NS_PER_S)

enum http1_state { HTTP1_HEAD, HTTP1_BODY, HTTP1_ANSWER, HTTP1_CLOSING };

struct http1 {
    struct session base;
    struct stream stream;
    bool has_stream;
    enum http1_state state;
    struct http1_guard guard;
    struct http1_parser *parser;
    struct buffer head; /* of a head that came in several reads */
    uint64_t body_left; /* by Content-Length */
    uint64_t ended_ns;  /* when the peer closed its half; 0: not yet */
    bool is_http10;
    bool keeps_alive;
    bool is_draining;
    bool has_continue; /* "100 Continue" is to be sent */
    bool is_answer_ready;
    bool is_head_sent;
    bool is_chunked; /* the answer */
};

static struct http1 *from(struct session *s)
{
    return (struct http1 *)s;
}

/* ---- the parser's events ---- */

static bool on_target(void *context, struct bytes part)
{
    struct http1 *h = context;
    if (arena_dup(&h->stream.x->head, part, &h->stream.head.target) != ERR_OK)
        h->stream.head.is_no_memory = true;
    return true;
}

static bool on_field(void *context, struct bytes name, struct bytes value)
{
    struct http1 *h = context;
    request_head_add(&h->stream.head, h->stream.x, h->base.wire->core, name, value);
    return true;
}

static bool on_body(void *context, struct bytes part)
{
    struct http1 *h = context;
    size_t taken;
    enum err e = stream_put(&h->stream, part, &taken);
    /* Of unknown length, or it would have been reserved: there is no waiting half-way. */
    if (e == ERR_BUSY) {
        core_hit(h->base.wire->core, NET_LIMIT_BUDGET);
        stream_refuse(&h->stream, &(struct refusal){ .status = 503,
                                                     .grpc_status = 14,
                                                     .text = "too much is in flight, try again",
                                                     .is_retryable = true });
    }
    return true;
}

static const struct http1_parser_events events = {
    .on_target = on_target,
    .on_field = on_field,
    .on_body = on_body,
};

/* ---- requests ---- */

static void refuse(struct http1 *h, unsigned status, const char *text)
{
    core_hit(h->base.wire->core, NET_LIMIT_BAD_REQUEST);
    h->keeps_alive = false;
    h->state = HTTP1_ANSWER;
    if (h->stream.state == STREAM_HEAD || h->stream.state == STREAM_BODY)
        stream_refuse(
            &h->stream,
            &(struct refusal){ .status = status, .grpc_status = 3, .text = text, .closes = true });
}

static void on_answer(struct stream *s)
{
    struct http1 *h = (struct http1 *)((char *)s - offsetof(struct http1, stream));
    if (s->state == STREAM_WORK)
        s->state = STREAM_ANSWER;
    if (!h->is_answer_ready)
        s->progress_ns = clock_mono_ns();
    h->is_answer_ready = true;
    h->base.wire->on_ready(h->base.wire);
}

static const struct stream_ops stream_ops = { .on_answer = on_answer };

static bool begin_request(struct http1 *h)
{
    if (!stream_init(&h->stream, &stream_ops, h->base.wire, PROTOCOL_HTTP1))
        return false;
    h->has_stream = true;
    h->base.idle_since_ns = 0;
    http1_guard_head(&h->guard);
    http1_parser_begin(h->parser);
    h->keeps_alive = true;
    h->is_head_sent = h->is_chunked = h->is_answer_ready = h->has_continue = false;
    return true;
}

static void body_done(struct http1 *h)
{
    h->state = HTTP1_ANSWER;
    stream_body_done(&h->stream);
}

static void method_of(struct http1 *h, struct bytes head)
{
    h->stream.head.method = bytes_slice(head, 0, bytes_find(head, ' '));
}

/* What the framing of this message may not be, seen over all of its fields. NULL: nothing. */
static const char *framing_fault(const struct http1 *h)
{
    const struct request_head *head = &h->stream.head;
    if (head->has_transfer_encoding && head->has_content_length)
        return "both Transfer-Encoding and Content-Length";
    if (head->has_transfer_encoding && h->is_http10)
        return "Transfer-Encoding in HTTP/1.0";
    if (!head->has_host && !h->is_http10)
        return "no Host";
    return NULL;
}

static void expect_body(struct http1 *h)
{
    const struct request_head *head = &h->stream.head;
    if (head->is_chunked)
        http1_guard_chunked(&h->guard);
    h->body_left = head->has_content_length ? head->content_length : 0;
    h->state = HTTP1_BODY;
    if (head->expects_continue && !h->is_http10) {
        h->has_continue = true;
        h->base.wire->on_ready(h->base.wire);
    }
}

static void judge_head(struct http1 *h)
{
    const struct request_head *head = &h->stream.head;
    bool has_body = head->is_chunked || head->content_length > 0;
    const char *fault = framing_fault(h);
    if (fault == NULL)
        fault = head->fault;
    if (fault != NULL) {
        refuse(h, 400, fault);
        return;
    }
    if (head->expects_unknown && !h->is_http10) {
        refuse(h, 417, "only 100-continue can be expected");
        return;
    }
    stream_head_done(&h->stream);
    if (h->stream.state != STREAM_BODY) {
        /* Refused: its body will not be read, so the connection cannot go on behind it. Of anything
         * that was malformed nothing may follow either. */
        h->keeps_alive =
            h->keeps_alive && !has_body && h->stream.head.fault == NULL && !head->is_over;
        h->state = HTTP1_ANSWER;
        return;
    }
    if (has_body)
        expect_body(h);
    else
        body_done(h);
}

/* head is complete and passed the guard. */
static void parse_head(struct http1 *h, struct bytes head)
{
    method_of(h, head);
    struct bytes method = h->stream.head.method;
    /* CONNECT and unknown methods are not llhttp's to judge: after CONNECT it would read no HTTP.
     */
    static const char *const known[] = { "GET",    "HEAD",    "POST",  "PUT",
                                         "DELETE", "OPTIONS", "PATCH", "TRACE" };
    bool is_known = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        is_known = is_known || bytes_equal_text(method, known[i]);
    if (!is_known) {
        refuse(h, 501, "unknown method");
        return;
    }
    if (!http1_parser_feed(h->parser, head)) {
        refuse(h, 400, h->stream.head.fault != NULL ? h->stream.head.fault : "malformed request");
        return;
    }
    h->is_http10 = http1_parser_is_http10(h->parser);
    h->keeps_alive = http1_parser_keeps_alive(h->parser) && !h->is_http10;
    judge_head(h);
    h->stream.head.method = (struct bytes){ 0 }; /* lay in the head's bytes */
}

static size_t receive_head(struct http1 *h, const uint8_t *data, size_t len)
{
    if (!h->has_stream && !begin_request(h)) {
        h->base.wants_close = true;
        return len;
    }
    size_t taken;
    size_t max = h->base.wire->core->limits.header_bytes_http1;
    enum guard_verdict verdict = http1_guard_feed(&h->guard, data, len, &taken);
    struct bytes head = bytes_of(data, taken);
    if (verdict == GUARD_BAD) {
        refuse(h, 400, h->guard.fault);
        return len;
    }
    if (h->head.len + taken > max) {
        core_hit(h->base.wire->core, NET_LIMIT_HEADER_BYTES);
        refuse(h, 431, "the header fields are larger than their limit");
        return len;
    }
    if (verdict == GUARD_MORE || h->head.len > 0) {
        buffer_append(&h->head, data, taken);
        head = buffer_bytes(&h->head);
    }
    if (h->head.error != ERR_OK) {
        h->base.wants_close = true;
        return len;
    }
    if (verdict == GUARD_DONE) {
        parse_head(h, head);
        buffer_deinit(&h->head);
        buffer_init(&h->head, max);
    }
    return taken;
}

static size_t receive_body(struct http1 *h, const uint8_t *data, size_t len)
{
    size_t taken;
    bool is_done;
    if (h->stream.head.is_chunked) {
        enum guard_verdict verdict = http1_guard_feed(&h->guard, data, len, &taken);
        if (verdict == GUARD_BAD) {
            refuse(h, 400, h->guard.fault);
            return len;
        }
        is_done = verdict == GUARD_DONE;
    } else {
        taken = len < h->body_left ? len : (size_t)h->body_left;
        h->body_left -= taken;
        is_done = h->body_left == 0;
    }
    if (!http1_parser_feed(h->parser, bytes_of(data, taken)))
        refuse(h, 400, "malformed body");
    if (h->state == HTTP1_BODY && h->stream.state == STREAM_ANSWER) {
        h->keeps_alive = false; /* refused half-way */
        h->state = HTTP1_ANSWER;
    }
    if (h->state == HTTP1_BODY && is_done)
        body_done(h);
    return taken;
}

/* The room for a declared body is there before its first byte is taken. False: wait. */
static bool reserve(struct http1 *h)
{
    size_t taken;
    if (!h->stream.body.has_declared || h->stream.body.data != NULL ||
        h->stream.state != STREAM_BODY)
        return true;
    return stream_put(&h->stream, (struct bytes){ 0 }, &taken) == ERR_OK;
}

static size_t http1_receive(struct session *base, const uint8_t *data, size_t len)
{
    struct http1 *h = from(base);
    size_t at = 0;
    while (at < len && h->state != HTTP1_ANSWER) {
        switch (h->state) {
        case HTTP1_HEAD:
            at += receive_head(h, data + at, len - at);
            break;
        case HTTP1_BODY:
            if (!reserve(h))
                return at;
            at += receive_body(h, data + at, len - at);
            break;
        default:
            return len; /* closing: thrown away */
        }
    }
    uint64_t left = h->state == HTTP1_BODY ? h->body_left : 0;
    base->read_hint = left > LOOP_READ_BYTES ? LOOP_READ_BYTES : (size_t)left + READ_SMALL_BYTES;
    if (h->state == HTTP1_BODY && h->stream.head.is_chunked)
        base->read_hint = LOOP_READ_BYTES / 4;
    if (!h->keeps_alive && h->state == HTTP1_ANSWER)
        return len;
    return at;
}

/* ---- answers ---- */

struct out {
    uint8_t *at;
    size_t left;
};

static void put(struct out *out, const void *data, size_t len)
{
    assert(len <= out->left);
    memcpy(out->at, data, len);
    out->at += len;
    out->left -= len;
}

static void put_text(struct out *out, const char *text)
{
    put(out, text, strlen(text));
}

static void put_field(struct out *out, const char *name, struct bytes value)
{
    put_text(out, name);
    put_text(out, ": ");
    put(out, value.data, value.len);
    put_text(out, "\r\n");
}

static void put_head(struct http1 *h, struct out *out)
{
    struct exchange *x = h->stream.x;
    struct answer *a = &x->answer;
    char text[64];
    int n =
        snprintf(text, sizeof text, "HTTP/1.1 %u %s\r\n", a->status, http_status_text(a->status));
    put(out, text, (size_t)n);
    put_field(out, "date", loop_date(h->base.wire->loop));
    if (a->content_type != NULL)
        put_field(out, "content-type", bytes_text(a->content_type));
    if (a->is_gzip) {
        put_field(out, "content-encoding", BYTES_LITERAL("gzip"));
        put_field(out, "vary", BYTES_LITERAL("accept-encoding"));
    }
    for (size_t i = 0; i < a->header_count; i++) {
        if (a->headers[i].name.len + a->headers[i].value.len + 256 > out->left)
            break;
        put(out, a->headers[i].name.data, a->headers[i].name.len);
        put_text(out, ": ");
        put(out, a->headers[i].value.data, a->headers[i].value.len);
        put_text(out, "\r\n");
    }
    bool has_body = a->status != 204 && a->status != 304;
    if (!a->is_streamed && has_body) {
        n = snprintf(text, sizeof text, "%zu", a->body_len);
        put_field(out, "content-length", bytes_of(text, (size_t)n));
    } else if (a->is_streamed && has_body && !h->is_http10) {
        h->is_chunked = true;
        put_field(out, "transfer-encoding", BYTES_LITERAL("chunked"));
    } else if (a->is_streamed) {
        h->keeps_alive = false; /* its end is the connection's end */
    }
    if (a->closes || h->is_draining)
        h->keeps_alive = false;
    if (!h->keeps_alive)
        put_field(out, "connection", BYTES_LITERAL("close"));
    put_text(out, "\r\n");
    h->is_head_sent = true;
    if (x->request.method == HTTP_HEAD || !has_body) {
        h->is_chunked = false;
        while (exchange_pending(x).len > 0)
            exchange_sent(x, exchange_pending(x).len);
    }
}

static void put_body(struct http1 *h, struct out *out)
{
    struct exchange *x = h->stream.x;
    bool is_hidden = x->request.method == HTTP_HEAD;
    char line[32];
    for (;;) {
        struct bytes waiting = exchange_pending(x);
        /* Room for the chunk's line, its end, and the last chunk. */
        size_t room = out->left > 64 ? out->left - 64 : 0;
        size_t step = waiting.len < room ? waiting.len : room;
        if (step == 0)
            break;
        if (!is_hidden && h->is_chunked) {
            int n = snprintf(line, sizeof line, "%zx\r\n", step);
            put(out, line, (size_t)n);
        }
        if (!is_hidden)
            put(out, waiting.data, step);
        if (!is_hidden && h->is_chunked)
            put_text(out, "\r\n");
        exchange_sent(x, step);
        stream_progress(&h->stream, step, clock_mono_ns());
    }
}

static void finish(struct http1 *h)
{
    stream_deinit(&h->stream);
    h->has_stream = false;
    h->base.idle_since_ns = clock_mono_ns();
    if (h->keeps_alive && !h->is_draining) {
        h->state = HTTP1_HEAD;
        h->base.wire->on_ready(h->base.wire); /* a pipelined request may wait */
        return;
    }
    h->state = HTTP1_CLOSING;
    h->base.wants_close = true;
    h->base.wants_linger = true;
}

static size_t http1_produce(struct session *base, uint8_t *buffer, size_t capacity)
{
    struct http1 *h = from(base);
    struct out out = { .at = buffer, .left = capacity };
    if (h->has_continue && !h->is_answer_ready) {
        put_text(&out, "HTTP/1.1 100 Continue\r\n\r\n");
        h->has_continue = false;
    }
    if (h->state != HTTP1_ANSWER || !h->is_answer_ready)
        return capacity - out.left;
    if (!h->is_head_sent)
        put_head(h, &out);
    put_body(h, &out);
    if (exchange_is_drained(h->stream.x)) {
        if (h->is_chunked)
            put_text(&out, "0\r\n\r\n");
        finish(h);
    }
    return capacity - out.left;
}

static void http1_end_of_input(struct session *base)
{
    struct http1 *h = from(base);
    if (h->state == HTTP1_ANSWER && h->has_stream) {
        /* It may have closed its half only, and wait for the answer (RFC 9112 9.6). */
        h->ended_ns = clock_mono_ns();
        h->keeps_alive = false;
        return;
    }
    base->wants_close = true;
}

static void http1_tick(struct session *base, uint64_t now_ns)
{
    struct http1 *h = from(base);
    if (!h->has_stream)
        return;
    if (h->ended_ns != 0 && !h->is_answer_ready && now_ns > h->ended_ns + HALF_CLOSED_NS)
        atomic_store(&h->stream.x->is_cancelled, true);
    switch (stream_tick(&h->stream, now_ns)) {
    case STREAM_IN_TIME:
        break;
    case STREAM_RETRY_HELD:
        base->wire->on_ready(base->wire);
        break;
    case STREAM_SLOW_BODY:
        refuse(h, 408, "the request came too slowly");
        break;
    case STREAM_STALLED:
        base->wants_close = true;
        base->wire->on_ready(base->wire);
        break;
    }
}

static void http1_drain(struct session *base)
{
    struct http1 *h = from(base);
    h->is_draining = true;
    if (!h->has_stream) {
        base->wants_close = true;
        base->wire->on_ready(base->wire);
    }
}

static void http1_close(struct session *base)
{
    struct http1 *h = from(base);
    if (h->has_stream)
        stream_deinit(&h->stream);
    buffer_deinit(&h->head);
    http1_parser_close(h->parser);
    mem_free(h);
}

static const struct session_ops http1_ops = {
    .receive = http1_receive,
    .produce = http1_produce,
    .end_of_input = http1_end_of_input,
    .tick = http1_tick,
    .drain = http1_drain,
    .close = http1_close,
};

struct session *http1_open(struct wire *wire)
{
    struct http1 *h = mem_zalloc(sizeof *h);
    if (h == NULL)
        return NULL;
    h->base = (struct session){ .ops = &http1_ops,
                                .wire = wire,
                                .read_hint = READ_SMALL_BYTES,
                                .idle_since_ns = clock_mono_ns() };
    buffer_init(&h->head, wire->core->limits.header_bytes_http1);
    h->parser = http1_parser_open(&events, h);
    if (h->parser == NULL) {
        mem_free(h);
        return NULL;
    }
    return &h->base;
}
