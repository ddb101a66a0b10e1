/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.c - see exchange.h; the loop's side is in exchange_answer.c. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "net/exchange_private.h"
#include "net/stream.h"

#include <assert.h>

/* A query string names at most this many parameters. */
#define PARAMETERS_MAX 256
/* Shorter answers do not shrink enough to be worth the client's time. */
#define GZIP_FROM_BYTES 1024

struct exchange *exchange_new(struct loop *loop, struct budget *budget, size_t head_bytes_max)
{
    struct exchange *x = mem_zalloc(sizeof *x);
    if (x == NULL)
        return NULL;
    arena_init(&x->head, head_bytes_max, budget);
    arena_init(&x->arena, SIZE_MAX, budget);
    atomic_init(&x->refs, 1);
    x->loop = loop;
    loop_ref(loop);
    return x;
}

void exchange_ref(struct exchange *x)
{
    atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
}

static void piece_free(struct piece *p)
{
    mem_free(p->data);
    p->data = NULL;
    if (!p->is_embedded)
        mem_free(p);
}

void exchange_unref(struct exchange *x)
{
    if (atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct piece *next;
    for (struct piece *p = x->answer.first; p != NULL; p = next) {
        next = p->next;
        piece_free(p);
    }
    mem_free(x->body.data); /* of a whole answer that found its loop closed */
    if (x->charged != NULL)
        budget_release(x->charged, x->charged_bytes);
    mem_free(x->answer.headers);
    mem_free(x->answer.grpc_message);
    mem_free(x->answer.grpc_details);
    arena_deinit(&x->arena);
    arena_deinit(&x->head);
    loop_unref(x->loop);
    mem_free(x);
}

struct bytes request_header(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (bytes_equal_text(r->headers[i].name, name))
            return r->headers[i].value;
    return (struct bytes){ 0 };
}

const struct request *exchange_request(struct exchange *x)
{
    return &x->request;
}

struct arena *exchange_arena(struct exchange *x)
{
    return &x->arena;
}

void exchange_take_arena(struct exchange *x, struct arena *out)
{
    assert(!x->is_arena_taken);
    *out = x->arena;
    arena_init(&x->arena, x->arena.limit_bytes, x->arena.budget);
    x->is_arena_taken = true;
}

const _Atomic bool *exchange_cancelled(struct exchange *x)
{
    return &x->is_cancelled;
}

static bool decode_query(struct exchange *x, struct bytes text, struct bytes *out)
{
    uint8_t *room = arena_alloc_bytes(&x->arena, text.len + 1);
    size_t len;
    if (room == NULL || !text_percent_decode(text, true, room, &len))
        return false;
    *out = bytes_of(room, len);
    return true;
}

/* Cut the next "name=value" off the front. Empty ones ("a&&b") are skipped. False at the end. */
static bool next_pair(struct bytes *rest, struct bytes *name, struct bytes *value)
{
    while (rest->len > 0) {
        size_t end = bytes_find(*rest, '&');
        struct bytes pair = bytes_slice(*rest, 0, end);
        *rest = end == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(*rest, end + 1, SIZE_MAX);
        if (pair.len == 0)
            continue;
        size_t equals = bytes_find(pair, '=');
        *name = bytes_slice(pair, 0, equals);
        *value = equals == SIZE_MAX ? (struct bytes){ 0 } : bytes_slice(pair, equals + 1, SIZE_MAX);
        return true;
    }
    return false;
}

bool request_parameter(struct exchange *x, const char *name, struct bytes *out)
{
    struct bytes rest = x->request.query, raw_name, raw_value, decoded;
    while (next_pair(&rest, &raw_name, &raw_value))
        if (decode_query(x, raw_name, &decoded) && bytes_equal_text(decoded, name))
            return decode_query(x, raw_value, out);
    return false;
}

enum err request_parameters(struct exchange *x, const struct http_parameter **out,
                            size_t *out_count)
{
    struct bytes rest = x->request.query, name, value;
    size_t count = 0, n = 0;
    while (next_pair(&rest, &name, &value))
        if (++count > PARAMETERS_MAX)
            return ERR_TOO_MANY;
    struct http_parameter *list = arena_alloc_array(&x->arena, count + 1, sizeof *list);
    if (list == NULL)
        return arena_failure(&x->arena);
    rest = x->request.query;
    while (next_pair(&rest, &name, &value)) {
        if (!decode_query(x, name, &list[n].name) || !decode_query(x, value, &list[n].value))
            return ERR_INVALID;
        n++;
    }
    *out = list;
    *out_count = n;
    return ERR_OK;
}

static void deliver(struct post *post, struct exchange *x)
{
    (void)post;
    if (x->stream != NULL)
        x->stream->ops->on_answer(x->stream);
}

static void push(struct answer *a, struct piece *p)
{
    p->next = NULL;
    if (a->first == NULL)
        a->first = p;
    else
        a->last->next = p;
    a->last = p;
}

static void run_begun(struct post *post)
{
    struct exchange *x = (struct exchange *)((char *)post - offsetof(struct exchange, begun));
    if (x->is_whole) {
        if (x->body.len + x->body.frame_len > 0)
            push(&x->answer, &x->body);
        x->answer.has_ended = true;
    }
    deliver(post, x);
    if (x->is_whole)
        exchange_unref(x); /* the handler's */
}

static void run_piece(struct post *post)
{
    struct piece *p = (struct piece *)post;
    push(&p->x->answer, p);
    deliver(post, p->x);
    exchange_unref(p->x);
}

static void run_ended(struct post *post)
{
    struct exchange *x = (struct exchange *)((char *)post - offsetof(struct exchange, ended));
    x->answer.has_ended = true;
    deliver(post, x);
    exchange_unref(x); /* the handler's */
}

/* The handler is done with the request: its memory goes now, and not when a slow client has taken
 * the answer. */
static void begin_answer(struct exchange *x)
{
    bool was_answered = atomic_exchange(&x->is_answered, true);
    assert(!was_answered);
    (void)was_answered;
    arena_deinit(&x->arena);
    x->request.body = x->request.received = (struct bytes){ 0 };
}

static void post_whole(struct exchange *x)
{
    x->is_whole = true;
    x->begun.run = run_begun;
    if (!loop_post(x->loop, &x->begun))
        exchange_unref(x);
}

static bool copy_headers(struct answer *a, const struct http_header *from, size_t count)
{
    size_t size = count * sizeof *from;
    for (size_t i = 0; i < count; i++)
        size += from[i].name.len + from[i].value.len;
    if (count == 0)
        return true;
    a->headers = mem_alloc(size);
    if (a->headers == NULL)
        return false;
    uint8_t *text = (uint8_t *)(a->headers + count);
    for (size_t i = 0; i < count; i++) {
        a->headers[i].name = bytes_of(text, from[i].name.len);
        memcpy(text, from[i].name.data, from[i].name.len);
        text += from[i].name.len;
        a->headers[i].value = bytes_of(text, from[i].value.len);
        if (from[i].value.len > 0)
            memcpy(text, from[i].value.data, from[i].value.len);
        text += from[i].value.len;
    }
    a->header_count = count;
    return true;
}

static void take_buffer(struct piece *p, struct buffer *take)
{
    p->is_embedded = true;
    if (take == NULL)
        return;
    if (take->len == 0)
        buffer_deinit(take);
    else
        p->data = buffer_take(take, &p->len);
}

/* Better uncompressed than not at all: any failure leaves the body as it was. */
static void compress_body(struct exchange *x, struct buffer *body)
{
    struct buffer small;
    buffer_init(&small,
                SIZE_MAX); /* the codec reserves for the worst case, a little over body->len */
    if (codec_compress(CODEC_GZIP, 0, buffer_bytes(body), &small) == ERR_OK &&
        buffer_error(&small) == ERR_OK && small.len < body->len) {
        buffer_deinit(body);
        *body = small;
        x->answer.is_gzip = true;
    } else {
        buffer_deinit(&small);
    }
}

void exchange_respond(struct exchange *x, const struct response *head, struct buffer *take_body)
{
    struct answer *a = &x->answer;
    struct buffer body = { 0 };
    if (take_body != NULL) {
        body = *take_body;
        *take_body = (struct buffer){ 0 };
    }
    assert(x->request.protocol != PROTOCOL_GRPC);
    a->status = head->status;
    a->content_type = head->content_type;
    x->charged = head->charged;
    x->charged_bytes = head->charged_bytes;
    if (!copy_headers(a, head->headers, head->header_count) || body.error != ERR_OK) {
        buffer_deinit(&body);
        a->status = 503; /* out of memory: told to come again */
        a->content_type = NULL;
    }
    if (head->may_compress && x->accepts_gzip && body.len >= GZIP_FROM_BYTES)
        compress_body(x, &body);
    begin_answer(x);
    take_buffer(&x->body, &body);
    a->body_len = x->body.len;
    post_whole(x);
}

/* Every byte outside 0x20..0x7e, and '%' itself, as %XX in upper case. */
static uint8_t *percent_encode(struct bytes text, size_t *out_len)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = 0;
    uint8_t *out = text.len > SIZE_MAX / 3 ? NULL : mem_alloc(3 * text.len + 1);
    if (out == NULL)
        return NULL;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out[len++] = c;
            continue;
        }
        out[len++] = '%';
        out[len++] = (uint8_t)hex[c >> 4];
        out[len++] = (uint8_t)hex[c & 15];
    }
    *out_len = len;
    return out;
}

/* Longer messages would not fit a peer's header list beside the rest. */
#define GRPC_MESSAGE_MAX 1024
#define GRPC_DETAILS_MAX 4096

static void set_grpc_status(struct answer *a, unsigned status, struct bytes message,
                            struct bytes details)
{
    a->grpc_status = status;
    message = bytes_slice(message, 0, GRPC_MESSAGE_MAX);
    if (message.len > 0)
        a->grpc_message = percent_encode(message, &a->grpc_message_len);
    if (details.len == 0 || details.len > GRPC_DETAILS_MAX)
        return;
    struct buffer text;
    buffer_init(&text, 2 * GRPC_DETAILS_MAX);
    text_base64(&text, details);
    if (buffer_error(&text) == ERR_OK) {
        while (text.len > 0 && text.data[text.len - 1] == '=')
            text.len--;
        a->grpc_details = buffer_take(&text, &a->grpc_details_len);
    }
    buffer_deinit(&text);
}

static void set_grpc_frame(struct piece *p)
{
    assert(p->len <= UINT32_MAX);
    p->frame[0] = 0;
    p->frame[1] = (uint8_t)(p->len >> 24);
    p->frame[2] = (uint8_t)(p->len >> 16);
    p->frame[3] = (uint8_t)(p->len >> 8);
    p->frame[4] = (uint8_t)p->len;
    p->frame_len = 5;
}

void exchange_respond_grpc(struct exchange *x, unsigned grpc_status, struct bytes message,
                           struct bytes details, struct buffer *take_body)
{
    assert(x->request.protocol == PROTOCOL_GRPC);
    assert(grpc_status <= 16);
    struct buffer body = { 0 };
    if (take_body != NULL) {
        body = *take_body;
        *take_body = (struct buffer){ 0 };
    }
    if (body.error != ERR_OK) {
        grpc_status = 14;
        message = BYTES_LITERAL("out of memory");
        details = (struct bytes){ 0 };
    }
    /* The texts may lie in the request's arena. */
    set_grpc_status(&x->answer, grpc_status, message, details);
    if (grpc_status != 0)
        buffer_deinit(&body);
    begin_answer(x);
    take_buffer(&x->body, &body);
    if (grpc_status == 0)
        set_grpc_frame(&x->body);
    x->answer.status = 200;
    x->answer.body_len = x->body.len;
    post_whole(x);
}

void exchange_begin(struct exchange *x, const struct response *head,
                    void (*on_writable)(struct exchange *x, void *context), void *context)
{
    struct answer *a = &x->answer;
    a->status = x->request.protocol == PROTOCOL_GRPC ? 200 : head->status;
    a->content_type = head == NULL ? NULL : head->content_type;
    if (head != NULL && !copy_headers(a, head->headers, head->header_count))
        a->status = 503;
    a->is_streamed = true;
    x->on_writable = on_writable;
    x->on_writable_context = context;
    begin_answer(x);
    x->begun.run = run_begun;
    /* The handler's reference stays until exchange_end(), so of a closed loop nothing is to be
     * undone. */
    if (!loop_post(x->loop, &x->begun))
        atomic_store(&x->is_cancelled, true);
}

/* What may wait of one answer before its writer is told to wait as well. */
#define WAITING_MAX_BYTES ((size_t)1024 * 1024)

static void make_frame(struct exchange *x, struct piece *p)
{
    if (x->request.protocol == PROTOCOL_GRPC)
        set_grpc_frame(p);
}

/* ERR_BUSY: a call of on_writable is owed, or under way already, and the writing is its. */
static enum err wait_for_room(struct exchange *x)
{
    if (x->on_writable == NULL)
        return ERR_BUSY;
    atomic_store(&x->is_call_owed, true);
    /* Look again: it may have been sent just now, or the client has left, and nobody would call. */
    bool is_gone = atomic_load(&x->is_cancelled);
    if (!is_gone && atomic_load(&x->waiting_bytes) > WAITING_MAX_BYTES)
        return ERR_BUSY;
    if (!atomic_exchange(&x->is_call_owed, false))
        return ERR_BUSY; /* the loop was faster */
    return is_gone ? ERR_CANCELLED : ERR_OK;
}

enum err exchange_write(struct exchange *x, struct buffer *take_piece)
{
    struct buffer body = *take_piece;
    *take_piece = (struct buffer){ 0 };
    enum err e = buffer_error(&body);
    if (atomic_load(&x->is_cancelled))
        e = ERR_CANCELLED;
    else if (e == ERR_OK && atomic_load(&x->waiting_bytes) > WAITING_MAX_BYTES) {
        exchange_ref(x); /* the call may end it before we are back */
        e = wait_for_room(x);
        exchange_unref(x);
    }
    struct piece *p = e == ERR_OK ? mem_zalloc(sizeof *p) : NULL;
    if (p == NULL) {
        buffer_deinit(&body);
        return e == ERR_OK ? ERR_NOMEM : e;
    }
    if (body.len == 0)
        buffer_deinit(&body);
    else
        p->data = buffer_take(&body, &p->len);
    make_frame(x, p);
    if (p->len + p->frame_len == 0) {
        piece_free(p);
        return ERR_OK;
    }
    p->x = x;
    p->post.run = run_piece;
    exchange_ref(x);
    atomic_fetch_add(&x->waiting_bytes, p->len + p->frame_len);
    if (loop_post(x->loop, &p->post))
        return ERR_OK;
    piece_free(p);
    exchange_unref(x);
    return ERR_CANCELLED;
}

void exchange_end(struct exchange *x, unsigned grpc_status, struct bytes message)
{
    assert(x->answer.is_streamed);
    assert(!atomic_load(&x->is_call_owed));
    /* The loop reads these only after it has run `ended`. */
    if (x->request.protocol == PROTOCOL_GRPC)
        set_grpc_status(&x->answer, grpc_status, message, (struct bytes){ 0 });
    x->ended.run = run_ended;
    if (!loop_post(x->loop, &x->ended))
        exchange_unref(x);
}

enum err exchange_later(struct exchange *x, uint64_t delay_ms, void (*fn)(void *context),
                        void *context)
{
    return loop_later(x->loop, delay_ms, fn, context);
}
