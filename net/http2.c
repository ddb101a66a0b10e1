/* SPDX-License-Identifier: Apache-2.0 */
/* http2.c - an HTTP/2 session on nghttp2, gRPC included.
 *
 * I1  DATA is copied once, from the read buffer to the body; nothing of a frame is allocated.
 * I2  Flow control: a window opens again only for what was taken. A stream whose request waits for
 * memory stops the whole connection's input (one peer, one wait). I3  The session is never entered
 * from its own callbacks: they note what to do, receive() and produce() do it. Source  RFC 9113;
 * gRPC over HTTP/2. */
#include "base/clock.h"
#include "base/mem.h"
#include "net/http2_memory.h"
#include "net/stream.h"
#include "net/strikes.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define STREAM_WINDOW_BYTES     (256 * 1024)
#define CONNECTION_WINDOW_BYTES (1024 * 1024)
/* What a bulk sender's windows grow to at most. */
#define WINDOW_MAX_BYTES ((int32_t)16 * 1024 * 1024)
#define FRAME_MAX_BYTES  (256 * 1024)
/* nghttp2 gives at most one frame at a time, and its frames hold at most 16 KiB. */
#define PRODUCE_ROOM_BYTES  ((size_t)32 * 1024)
#define WINDOW_UPDATE_SMALL 1024
/* Between the two GOAWAYs of a drain, at most. */
#define DRAIN_NS NS_PER_S
/* Pings without any stream open: one in 10 s is keepalive, a little less is a clock. */
#define PING_INTERVAL_NS    (9 * NS_PER_S)
#define PINGS_TOO_EARLY_MAX 3
#define ANSWER_HEADERS_MAX  24

struct http2;

struct h2_stream {
    struct stream base;
    struct http2 *h;
    int32_t id;
    struct h2_stream *next, *previous;
    bool has_answer;   /* submitted */
    bool is_deferred;  /* nghttp2 waits for nghttp2_session_resume_data() */
    bool remote_ended; /* END_STREAM has come */
};

struct http2 {
    struct session base;
    nghttp2_session *session;
    struct h2_stream *streams;
    struct h2_stream *held; /* its chunk is the first part of the input that comes again */
    const uint8_t *held_at;
    size_t held_len, held_skip; /* the chunk, and padding behind it that nghttp2 has seen already */
    struct strikes strikes;
    uint64_t drain_at_ns; /* when the second GOAWAY is due; 0: not draining */
    bool is_drained;      /* the second GOAWAY was sent */
    bool is_dead;         /* struck out or broken: send what waits, close */
    uint32_t dead_code;
    enum net_limit dead_limit;
    bool has_data_chunk; /* of the DATA frame under way */
    uint64_t last_ping_ns;
    unsigned pings_too_early;
    size_t connection_window;
    size_t seen;       /* input at the front that comes again and was counted already */
    size_t frame_left; /* of the preface or a frame's payload, for count_frames() */
    uint8_t frame_head[9];
    size_t frame_head_len;
};

static struct http2 *from(struct session *s)
{
    return (struct http2 *)s;
}

static void die(struct http2 *h, uint32_t code, enum net_limit limit)
{
    if (h->is_dead)
        return;
    h->is_dead = true;
    h->dead_code = code;
    h->dead_limit = limit;
}

static void strike(struct http2 *h, unsigned tokens)
{
    if (!strikes_take(&h->strikes, tokens, clock_mono_ns()))
        die(h, NGHTTP2_ENHANCE_YOUR_CALM, NET_LIMIT_STRIKES);
}

/* ---- answers ---- */

static nghttp2_nv field(const char *name, struct bytes value)
{
    return (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)name,
                         .namelen = strlen(name),
                         .value = (uint8_t *)(uintptr_t)value.data,
                         .valuelen = value.len,
                         .flags = NGHTTP2_NV_FLAG_NONE };
}

static size_t status_fields(const struct answer *a, nghttp2_nv *nv, char text[8])
{
    size_t n = 0;
    int len = snprintf(text, 8, "%u", a->grpc_status);
    nv[n++] = field("grpc-status", bytes_of(text, (size_t)len));
    if (a->grpc_message != NULL)
        nv[n++] = field("grpc-message", bytes_of(a->grpc_message, a->grpc_message_len));
    if (a->grpc_details != NULL)
        nv[n++] = field("grpc-status-details-bin", bytes_of(a->grpc_details, a->grpc_details_len));
    return n;
}

static bool is_grpc(const struct h2_stream *s)
{
    return s->base.x->request.protocol == PROTOCOL_GRPC;
}

static ssize_t on_read_answer(nghttp2_session *session, int32_t id, uint8_t *out, size_t capacity,
                              uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)user;
    struct h2_stream *s = source->ptr;
    struct exchange *x = s->base.x;
    size_t len = 0;
    for (;;) {
        struct bytes waiting = exchange_pending(x);
        size_t step = waiting.len < capacity - len ? waiting.len : capacity - len;
        if (step == 0)
            break;
        memcpy(out + len, waiting.data, step);
        exchange_sent(x, step);
        len += step;
    }
    if (exchange_is_drained(x)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (is_grpc(s)) {
            nghttp2_nv nv[3];
            char text[8];
            size_t n = status_fields(&x->answer, nv, text);
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (nghttp2_submit_trailer(session, id, nv, n) != 0)
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
    } else if (len == 0) {
        s->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    stream_progress(&s->base, len, clock_mono_ns());
    return (ssize_t)len;
}

static size_t http_fields(struct h2_stream *s, nghttp2_nv *nv, char length_text[24])
{
    struct answer *a = &s->base.x->answer;
    size_t n = 0;
    nv[n++] = field("date", loop_date(s->base.wire->loop));
    if (a->content_type != NULL)
        nv[n++] = field("content-type", bytes_text(a->content_type));
    if (a->is_gzip) {
        nv[n++] = field("content-encoding", BYTES_LITERAL("gzip"));
        nv[n++] = field("vary", BYTES_LITERAL("accept-encoding"));
    }
    if (!a->is_streamed && a->status != 204 && a->status != 304) {
        int len = snprintf(length_text, 24, "%zu", a->body_len);
        nv[n++] = field("content-length", bytes_of(length_text, (size_t)len));
    }
    for (size_t i = 0; i < a->header_count && n < ANSWER_HEADERS_MAX; i++)
        nv[n++] = (nghttp2_nv){ .name = (uint8_t *)(uintptr_t)a->headers[i].name.data,
                                .namelen = a->headers[i].name.len,
                                .value = (uint8_t *)(uintptr_t)a->headers[i].value.data,
                                .valuelen = a->headers[i].value.len };
    return n;
}

static void submit(struct h2_stream *s)
{
    struct exchange *x = s->base.x;
    struct answer *a = &x->answer;
    nghttp2_nv nv[ANSWER_HEADERS_MAX + 8];
    char status_text[8], length_text[24], grpc_text[8];
    size_t n = 0;
    bool has_body;
    int status_len = snprintf(status_text, sizeof status_text, "%u", a->status);
    nv[n++] = field(":status", bytes_of(status_text, (size_t)status_len));
    if (is_grpc(s)) {
        bool trailers_only = a->has_ended && a->first == NULL;
        nv[n++] = field("content-type", BYTES_LITERAL("application/grpc"));
        nv[n++] = field("grpc-accept-encoding", BYTES_LITERAL("identity,gzip,zstd"));
        if (trailers_only)
            n += status_fields(a, nv + n, grpc_text);
        has_body = !trailers_only;
    } else {
        n += http_fields(s, nv + n, length_text);
        if (x->request.method == HTTP_HEAD)
            while (exchange_pending(x).len > 0)
                exchange_sent(x, exchange_pending(x).len);
        has_body = !exchange_is_drained(x) && x->request.method != HTTP_HEAD;
    }
    nghttp2_data_provider provider = { .source.ptr = s, .read_callback = on_read_answer };
    s->has_answer = true;
    s->base.progress_ns = clock_mono_ns();
    if (nghttp2_submit_response(s->h->session, s->id, nv, n, has_body ? &provider : NULL) != 0)
        (void)nghttp2_submit_rst_stream(s->h->session, NGHTTP2_FLAG_NONE, s->id,
                                        NGHTTP2_INTERNAL_ERROR);
}

static void on_answer(struct stream *base)
{
    struct h2_stream *s = (struct h2_stream *)base;
    if (s->base.state == STREAM_WORK)
        s->base.state = STREAM_ANSWER;
    if (!s->has_answer) {
        submit(s);
    } else if (s->is_deferred) {
        s->is_deferred = false;
        (void)nghttp2_session_resume_data(s->h->session, s->id);
    }
    s->base.wire->on_ready(s->base.wire);
}

static const struct stream_ops stream_ops = { .on_answer = on_answer };

/* ---- streams ---- */

static struct h2_stream *stream_of(struct http2 *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->session, id);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct h2_stream *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->h = h;
    s->id = frame->hd.stream_id;
    if (!stream_init(&s->base, &stream_ops, h->base.wire, PROTOCOL_HTTP2)) {
        mem_free(s);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    s->next = h->streams;
    if (s->next != NULL)
        s->next->previous = s;
    h->streams = s;
    h->base.idle_since_ns = 0;
    (void)nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static void stream_free(struct h2_stream *s)
{
    struct http2 *h = s->h;
    if (h->held == s)
        h->held = NULL; /* its chunk is thrown away when it comes again */
    if (s->previous != NULL)
        s->previous->next = s->next;
    else
        h->streams = s->next;
    if (s->next != NULL)
        s->next->previous = s->previous;
    stream_deinit(&s->base);
    mem_free(s);
    if (h->streams == NULL)
        h->base.idle_since_ns = clock_mono_ns();
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)session;
    (void)flags;
    struct http2 *h = user;
    struct h2_stream *s = stream_of(h, frame->hd.stream_id);
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
    if (h->is_dead)
        return NGHTTP2_ERR_PAUSE;
    if (s == NULL)
        return 0;
    struct request_head *head = &s->base.head;
    if (s->base.state == STREAM_HEAD)
        request_head_add(head, s->base.x, h->base.wire->core, bytes_of(n.base, n.len),
                         bytes_of(v.base, v.len));
    else if (++head->fields > h->base.wire->core->limits.header_fields_hard)
        head->is_far_over = true; /* trailers: counted, not kept */
    if (!head->is_far_over)
        return 0;
    core_hit(h->base.wire->core, NET_LIMIT_HEADER_FIELDS);
    die(h, NGHTTP2_ENHANCE_YOUR_CALM, NET_LIMIT_STRIKES);
    return NGHTTP2_ERR_PAUSE; /* not a byte more of it is decoded */
}

/* A large declared body gets windows to match, so that it does not arrive a quarter megabyte a
 * round trip. The room for it is reserved already. */
static void grow_windows(struct http2 *h, struct h2_stream *s)
{
    size_t declared = s->base.body.declared;
    if (declared <= STREAM_WINDOW_BYTES / 2 || s->remote_ended)
        return;
    int32_t wanted =
        declared > (size_t)WINDOW_MAX_BYTES ? WINDOW_MAX_BYTES : (int32_t)declared + 64;
    if (wanted > STREAM_WINDOW_BYTES)
        (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, s->id, wanted);
    if (h->connection_window < (size_t)WINDOW_MAX_BYTES) {
        /* Doubled by each bulk body: few are needed to fill a long line. */
        h->connection_window *= 2;
        (void)nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                    (int32_t)h->connection_window);
    }
}

/* Returns how much was taken; less than all: the rest is on hold. */
static size_t put(struct http2 *h, struct h2_stream *s, struct bytes chunk)
{
    size_t taken;
    bool had_room = s->base.body.data != NULL;
    enum err e = stream_put(&s->base, chunk, &taken);
    if (!had_room && s->base.body.data != NULL && s->base.state == STREAM_BODY)
        grow_windows(h, s);
    (void)nghttp2_session_consume_connection(h->session, taken);
    /* A refused stream's window stays shut: its sender should stop. */
    if (s->base.state == STREAM_BODY)
        (void)nghttp2_session_consume_stream(h->session, s->id, taken);
    if (e != ERR_BUSY)
        return chunk.len;
    h->held = s;
    h->held_at = chunk.data + taken;
    h->held_len = chunk.len - taken;
    return taken;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t len, void *user)
{
    (void)session;
    (void)flags;
    struct http2 *h = user;
    struct h2_stream *s = stream_of(h, id);
    h->has_data_chunk = true;
    if (s == NULL) {
        (void)nghttp2_session_consume_connection(h->session, len);
        return 0;
    }
    return put(h, s, bytes_of(data, len)) == len ? 0 : NGHTTP2_ERR_PAUSE;
}

static void on_ping(struct http2 *h)
{
    uint64_t now = clock_mono_ns();
    strike(h, STRIKE_FRAME);
    if (h->streams == NULL && h->last_ping_ns != 0 && now - h->last_ping_ns < PING_INTERVAL_NS &&
        ++h->pings_too_early > PINGS_TOO_EARLY_MAX)
        die(h, NGHTTP2_ENHANCE_YOUR_CALM, NET_LIMIT_PINGS);
    h->last_ping_ns = now;
}

static void on_headers(struct http2 *h, const nghttp2_frame *frame)
{
    struct h2_stream *s = stream_of(h, frame->hd.stream_id);
    if (s == NULL || s->base.state != STREAM_HEAD)
        return;
    stream_head_done(&s->base);
    if (s->base.head.is_over)
        strike(h, STRIKE_HEADER_LIST);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct http2 *h = user;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        on_headers(h, frame);
        break;
    case NGHTTP2_DATA:
        if (!h->has_data_chunk && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
            strike(h, STRIKE_FRAME);
        h->has_data_chunk = false;
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
            if (h->drain_at_ns != 0)
                h->drain_at_ns = 1; /* the first GOAWAY has arrived: the second is due */
        } else {
            on_ping(h);
        }
        break;
    case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0)
            strike(h, STRIKE_SETTINGS);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        if (frame->window_update.window_size_increment < WINDOW_UPDATE_SMALL)
            strike(h, STRIKE_FRAME);
        break;
    case NGHTTP2_RST_STREAM:
        strike(h, STRIKE_RESET);
        break;
    default:
        break;
    }
    if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        struct h2_stream *s = stream_of(h, frame->hd.stream_id);
        if (s != NULL) {
            s->remote_ended = true;
            stream_body_done(&s->base);
        }
    }
    return h->is_dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* nghttp2 throws frames of unknown types away without a word, and PRIORITY too in some of its modes. So
 * the frames are counted here, by their heads. */
static void count_frames(struct http2 *h, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        if (h->frame_left > 0) {
            size_t step = len - at < h->frame_left ? len - at : h->frame_left;
            h->frame_left -= step;
            at += step;
            continue;
        }
        h->frame_head[h->frame_head_len++] = data[at++];
        if (h->frame_head_len < sizeof h->frame_head)
            continue;
        h->frame_head_len = 0;
        h->frame_left = load_be32(h->frame_head) >> 8;
        uint8_t type = h->frame_head[3];
        if (type == NGHTTP2_PRIORITY || type > NGHTTP2_CONTINUATION)
            strike(h, STRIKE_FRAME);
    }
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
                            void *user)
{
    (void)session;
    (void)frame;
    (void)code;
    struct http2 *h = user;
    core_hit(h->base.wire->core, NET_LIMIT_PROTOCOL);
    strike(h, STRIKE_FRAME);
    return 0;
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http2 *h = user;
    int32_t id = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        strike(h, STRIKE_RESET); /* by us, for the peer's fault (CVE-2025-8671) */
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    h->pings_too_early = 0;
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct h2_stream *s = stream_of(h, id);
    if (s == NULL)
        return 0;
    if (s->base.was_refused)
        strike(h, STRIKE_REFUSED);
    else
        strikes_give(&h->strikes, STRIKES_PER_ANSWER);
    /* Answered before the request ended: nothing more of it is wanted (RFC 9113 8.1). */
    if (!s->remote_ended)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    (void)session;
    (void)code;
    struct h2_stream *s = stream_of(user, id);
    if (s != NULL)
        stream_free(s);
    return 0;
}

/* ---- the session ---- */

static void close_dead(struct http2 *h)
{
    if (h->base.wants_close)
        return;
    core_hit(h->base.wire->core, h->dead_limit);
    (void)nghttp2_session_terminate_session2(
        h->session, nghttp2_session_get_last_proc_stream_id(h->session), h->dead_code);
    h->base.wants_close = true;
}

/* The chunk that was on hold comes again, and behind it the padding of its frame. */
static size_t resume_held(struct http2 *h, const uint8_t *data, size_t len)
{
    struct h2_stream *s = h->held;
    size_t chunk_len = h->held_len, skip = h->held_skip;
    assert(len >= chunk_len + skip);
    h->held = NULL;
    h->held_len = 0;
    if (s == NULL) {
        (void)nghttp2_session_consume_connection(h->session, chunk_len);
        return chunk_len + skip;
    }
    size_t taken = put(h, s, bytes_of(data, chunk_len));
    return h->held_len > 0 ? taken : chunk_len + skip;
}

static size_t receive(struct http2 *h, const uint8_t *data, size_t len)
{
    size_t at = 0;
    if (h->held_len > 0) {
        at = resume_held(h, data, len);
        if (h->held_len > 0)
            return at;
    }
    /* At least once: after a hold nghttp2 may have a frame to finish and no byte to come. */
    do {
        ssize_t n = nghttp2_session_mem_recv(h->session, data + at, len - at);
        if (n < 0) {
            bool flooded = n == NGHTTP2_ERR_FLOODED;
            die(h, flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
                flooded ? NET_LIMIT_STRIKES : NET_LIMIT_PROTOCOL);
        } else if (n == 0) {
            break;
        } else {
            at += (size_t)n;
        }
    } while (at < len && !h->is_dead && h->held_len == 0);
    if (h->is_dead) {
        close_dead(h);
        return len;
    }
    if (h->held_len == 0)
        return at;
    h->held_skip = (size_t)(data + at - (h->held_at + h->held_len));
    return (size_t)(h->held_at - data);
}

static size_t http2_receive(struct session *base, const uint8_t *data, size_t len)
{
    struct http2 *h = from(base);
    if (h->is_dead || base->wants_close)
        return len;
    count_frames(h, data + h->seen, len - h->seen);
    size_t taken = receive(h, data, len);
    h->seen = len - taken;
    return taken;
}

static size_t http2_produce(struct session *base, uint8_t *out, size_t capacity)
{
    struct http2 *h = from(base);
    size_t len = 0;
    /* nghttp2 gives one frame at a time; frames it gives are taken whole. */
    while (capacity - len >= PRODUCE_ROOM_BYTES) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->session, &data);
        if (n < 0)
            base->wants_close = true; /* out of memory: nothing more comes of this session */
        if (n <= 0)
            break;
        assert((size_t)n <= capacity - len);
        memcpy(out + len, data, (size_t)n);
        len += (size_t)n;
    }
    if (h->is_dead)
        close_dead(h);
    if (len == 0 && nghttp2_session_want_read(h->session) == 0 &&
        nghttp2_session_want_write(h->session) == 0)
        base->wants_close = true;
    return len;
}

static void http2_end_of_input(struct session *base)
{
    base->wants_close = true;
}

static void reset(struct http2 *h, struct h2_stream *s, uint32_t code)
{
    (void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, code);
    h->base.wire->on_ready(h->base.wire);
}

static void tick_drain(struct http2 *h, uint64_t now_ns)
{
    if (h->drain_at_ns == 0 || h->is_drained || now_ns < h->drain_at_ns)
        return;
    h->is_drained = true;
    (void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(h->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
}

static void http2_tick(struct session *base, uint64_t now_ns)
{
    struct http2 *h = from(base);
    for (struct h2_stream *s = h->streams; s != NULL; s = s->next) {
        switch (stream_tick(&s->base, now_ns)) {
        case STREAM_IN_TIME:
            break;
        case STREAM_RETRY_HELD:
            base->wire->on_ready(base->wire);
            break;
        case STREAM_SLOW_BODY:
        case STREAM_STALLED:
            strike(h, STRIKE_STALL);
            reset(h, s, NGHTTP2_CANCEL);
            s->base.progress_ns = now_ns; /* once */
            s->base.body_began_ns = now_ns;
            break;
        }
    }
    tick_drain(h, now_ns);
    if (h->is_drained && h->streams == NULL)
        base->wants_close = true;
    if (h->drain_at_ns != 0)
        base->wire->on_ready(base->wire);
}

static void http2_drain(struct session *base)
{
    struct http2 *h = from(base);
    static const uint8_t opaque[8] = { 'd', 'r', 'a', 'i', 'n' };
    if (h->drain_at_ns != 0)
        return;
    h->drain_at_ns = clock_mono_ns() + DRAIN_NS;
    (void)nghttp2_submit_shutdown_notice(h->session);
    (void)nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, opaque);
    base->wire->on_ready(base->wire);
}

static void http2_close(struct session *base)
{
    struct http2 *h = from(base);
    while (h->streams != NULL)
        stream_free(h->streams);
    nghttp2_session_del(h->session);
    mem_free(h);
}

static const struct session_ops http2_ops = {
    .receive = http2_receive,
    .produce = http2_produce,
    .end_of_input = http2_end_of_input,
    .tick = http2_tick,
    .drain = http2_drain,
    .close = http2_close,
};

static int new_session(struct http2 *h, nghttp2_session_callbacks *callbacks,
                       nghttp2_option *option)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_settings(option, 32);
    /* Closed streams are kept for priorities only, which are not served: up to a hundred of some 400 bytes. */
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, 100);
    nghttp2_option_set_stream_reset_rate_limit(option, 100, 33);
    nghttp2_option_set_max_continuations(option, 8);
    return nghttp2_session_server_new3(&h->session, callbacks, h, option, http2_memory());
}

/* SETTINGS_NO_RFC7540_PRIORITIES is not sent: in the mode it puts nghttp2 1.52 into, the library frees an item
 * twice when memory runs out as it queues DATA (session_test.c shows it). PRIORITY frames cost tokens instead. */
static int greet(struct http2 *h)
{
    const struct server_limits *limits = &h->base.wire->core->limits;
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams },
        { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
        { NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_MAX_BYTES },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes_http2 },
        { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 4096 },
    };
    int rc = nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof settings / sizeof *settings);
    if (rc == 0)
        rc = nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                   CONNECTION_WINDOW_BYTES);
    return rc;
}

struct session *http2_open(struct wire *wire)
{
    struct http2 *h = mem_zalloc(sizeof *h);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    if (h == NULL)
        return NULL;
    h->base = (struct session){ .ops = &http2_ops,
                                .wire = wire,
                                .read_hint = LOOP_READ_BYTES,
                                .idle_since_ns = clock_mono_ns() };
    h->connection_window = CONNECTION_WINDOW_BYTES;
    h->frame_left = NGHTTP2_CLIENT_MAGIC_LEN;
    strikes_init(&h->strikes, clock_mono_ns());
    bool good = nghttp2_session_callbacks_new(&callbacks) == 0 &&
                nghttp2_option_new(&option) == 0 && new_session(h, callbacks, option) == 0 &&
                greet(h) == 0;
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (good)
        return &h->base;
    if (h->session != NULL)
        nghttp2_session_del(h->session);
    mem_free(h);
    return NULL;
}
