/* SPDX-License-Identifier: Apache-2.0 */
/* connection.c - see connection.h.
 *
 *   socket --read--> [TLS] --> sniff --> session --> [TLS] --write--> socket
 *
 * One write is under way at a time; what the socket did not take at once waits in one block, and
 * nothing more is produced meanwhile. So a connection holds at most one LOOP_WRITE_BYTES of output.
 */
#include "net/connection.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/session.h"
#include "net/tls.h"

#include <assert.h>
#include <uv.h>

/* After an answer that closes: how long the rest of the request is read and thrown away. */
#define LINGER_NS (2 * NS_PER_S)
/* Input that a session did not take: reading stops at this much. */
#define INPUT_STOP_BYTES (16 * 1024)

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_BYTES (sizeof preface - 1)

struct connection {
    struct wire wire;
    uv_tcp_t tcp;
    uv_write_t write;
    struct peer_address peer;
    struct connection *next, *previous, *dirty_next;
    struct session *session; /* NULL until the first bytes have told */
    struct tls_session *tls; /* NULL: cleartext */
    uint8_t *input;          /* what the session did not take */
    size_t input_len;
    uint8_t *writing; /* what the socket did not take at once */
    uint64_t opened_ns;
    uint64_t write_progress_ns;
    size_t write_left; /* of `writing`, when it was last looked at */
    uint64_t linger_until_ns;
    bool is_dirty, is_reading, is_closing, is_lingering, has_eof, was_end_told;
};

static struct connection *from_wire(struct wire *w)
{
    return (struct connection *)w;
}

struct connection *connection_next(struct connection *c)
{
    return c->next;
}

static void mark_dirty(struct connection *c)
{
    if (c->is_dirty || c->is_closing)
        return;
    struct loop *l = c->wire.loop;
    c->is_dirty = true;
    c->dirty_next = l->dirty;
    l->dirty = c;
}

static void on_ready(struct wire *w)
{
    mark_dirty(from_wire(w));
}

/* ---- the end ---- */

static void set_input(struct connection *c, uint8_t *input, size_t len)
{
    struct loop *l = c->wire.loop;
    assert(l->held_bytes >= c->input_len);
    l->held_bytes = l->held_bytes - c->input_len + len;
    if (c->input != input)
        mem_free(c->input);
    c->input = input;
    c->input_len = len;
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    mem_free(c->writing);
    tls_session_close(c->tls); /* not earlier: it may be what has called us */
    mem_free(c);
}

static void unlist(struct connection *c)
{
    struct loop *l = c->wire.loop;
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        l->connections = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    for (struct connection **at = &l->dirty; c->is_dirty && *at != NULL; at = &(*at)->dirty_next)
        if (*at == c) {
            *at = c->dirty_next;
            break;
        }
    c->is_dirty = false;
}

static void count_out(struct core *core, const struct peer_address *peer)
{
    unsigned left = atomic_fetch_sub(&core->connection_count, 1) - 1;
    metric_set(core->connections_now, left);
    peers_leave(core->peers, peer);
}

void connection_abort(struct connection *c)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    unlist(c);
    set_input(c, NULL, 0);
    if (c->session != NULL)
        c->session->ops->close(c->session);
    c->session = NULL;
    atomic_fetch_sub(&c->wire.loop->connection_count, 1);
    count_out(c->wire.core, &c->peer);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void stop_reading(struct connection *c)
{
    if (c->is_reading)
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
    c->is_reading = false;
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    mem_free(request);
}

/* Our half is closed; the peer's is read to its end, or for a moment. */
static void begin_linger(struct connection *c)
{
    if (c->has_eof) {
        connection_abort(c);
        return;
    }
    c->is_lingering = true;
    c->linger_until_ns = clock_mono_ns() + LINGER_NS;
    set_input(c, NULL, 0);
    uv_shutdown_t *request = mem_alloc(sizeof *request);
    if (request == NULL || uv_shutdown(request, (uv_stream_t *)&c->tcp, on_shut) != 0) {
        mem_free(request);
        connection_abort(c);
    }
}

/* ---- output ---- */

static void on_written(uv_write_t *request, int status)
{
    struct connection *c = request->data;
    struct loop *l = c->wire.loop;
    mem_free(c->writing);
    c->writing = NULL;
    if (c->is_closing)
        return;
    if (status != 0)
        connection_abort(c);
    else
        mark_dirty(c);
    loop_settle(l);
}

/* False: the connection is broken and closed. */
static bool send_bytes(struct connection *c, const uint8_t *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
        connection_abort(c);
        return false;
    }
    size_t sent = n < 0 ? 0 : (size_t)n;
    metric_add(c->wire.core->bytes_out, len);
    if (sent == len)
        return true;
    c->writing = mem_alloc(len - sent);
    if (c->writing != NULL)
        memcpy(c->writing, data + sent, len - sent);
    buf = uv_buf_init((char *)c->writing, (unsigned)(len - sent));
    c->write.data = c;
    c->write_progress_ns = clock_mono_ns();
    c->write_left = len - sent;
    if (c->writing == NULL ||
        uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        connection_abort(c);
        return false;
    }
    return true;
}

static size_t produce(struct connection *c, uint8_t *out, size_t capacity)
{
    if (c->tls != NULL)
        return tls_session_produce(c->tls, c->session, out, capacity);
    return c->session == NULL ? 0 : c->session->ops->produce(c->session, out, capacity);
}

static void send_all(struct connection *c)
{
    struct loop *l = c->wire.loop;
    while (!c->is_closing && c->writing == NULL) {
        size_t len = produce(c, l->write_buffer, LOOP_WRITE_BYTES);
        if (len == 0)
            break;
        if (!send_bytes(c, l->write_buffer, len))
            return;
    }
    if (c->is_closing || c->writing != NULL || c->is_lingering || c->session == NULL ||
        !c->session->wants_close)
        return;
    if (c->session->wants_linger)
        begin_linger(c);
    else
        connection_abort(c);
}

/* ---- input ---- */

static size_t sniff(struct connection *c, const uint8_t *data, size_t len)
{
    enum tls_protocol chosen = c->tls == NULL ? TLS_PROTOCOL_NONE : tls_session_protocol(c->tls);
    size_t common = len < PREFACE_BYTES ? len : PREFACE_BYTES;
    bool may_be_http2 = memcmp(data, preface, common) == 0;
    if (chosen == TLS_PROTOCOL_HTTP2)
        c->session = http2_open(&c->wire);
    else if (chosen == TLS_PROTOCOL_HTTP1 || !may_be_http2)
        c->session = http1_open(&c->wire);
    else if (common == PREFACE_BYTES)
        c->session = http2_open(&c->wire);
    else
        return 0; /* "P" may become POST as well: wait */
    if (c->session == NULL)
        connection_abort(c);
    else if (atomic_load(&c->wire.core->is_draining))
        c->session->ops->drain(c->session);
    return 0;
}

/* Gives the session what it will take. Returns the length taken. */
static size_t give(struct connection *c, const uint8_t *data, size_t len)
{
    if (c->is_lingering)
        return len;
    if (c->session == NULL)
        (void)sniff(c, data, len);
    if (c->is_closing)
        return len;
    return c->session == NULL ? 0 : c->session->ops->receive(c->session, data, len);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct connection *c = handle->data;
    size_t len = c->session == NULL ? INPUT_STOP_BYTES : c->session->read_hint;
    if (c->tls != NULL || len > LOOP_READ_BYTES)
        len = c->tls != NULL ? TLS_READ_BYTES : LOOP_READ_BYTES;
    c->wire.loop->quiet_ticks = 0;
    *out = uv_buf_init((char *)c->wire.loop->read_buffer, (unsigned)len);
}

static void adjust_reading(struct connection *c)
{
    bool wanted = !c->has_eof && c->input_len < INPUT_STOP_BYTES;
    if (c->is_closing || wanted == c->is_reading)
        return;
    if (!wanted) {
        stop_reading(c);
    } else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0) {
        c->is_reading = true;
    } else {
        connection_abort(c);
    }
}

/* Plain bytes for the session: behind what it did not take before. */
static void take_plain(struct connection *c, const uint8_t *data, size_t len)
{
    uint8_t *joined = NULL;
    if (c->input_len > 0) {
        joined = mem_realloc(c->input, c->input_len + len);
        if (joined == NULL) {
            connection_abort(c);
            return;
        }
        if (len > 0)
            memcpy(joined + c->input_len, data, len);
        c->input = joined;
        set_input(c, joined, c->input_len + len);
        data = joined;
        len = c->input_len;
    }
    size_t taken = give(c, data, len);
    if (c->is_closing)
        return;
    assert(taken <= len);
    size_t left = len - taken;
    if (left == 0) {
        set_input(c, NULL, 0);
    } else if (joined != NULL) {
        memmove(joined, joined + taken, left);
        set_input(c, joined, left);
    } else {
        uint8_t *copy = mem_alloc(left);
        if (copy == NULL) {
            connection_abort(c);
            return;
        }
        memcpy(copy, data + taken, left);
        set_input(c, copy, left);
    }
}

static void on_plain(void *context, const uint8_t *data, size_t len)
{
    struct connection *c = context;
    if (!c->is_closing)
        take_plain(c, data, len);
}

static void on_bytes(struct connection *c, const uint8_t *data, size_t len)
{
    metric_add(c->wire.core->bytes_in, len);
    if (c->tls == NULL) {
        take_plain(c, data, len);
        return;
    }
    if (!tls_session_receive(c->tls, data, len, on_plain, c) && !c->is_closing) {
        core_hit(c->wire.core, NET_LIMIT_TLS);
        send_all(c); /* the alert */
        if (!c->is_closing)
            connection_abort(c);
    }
}

/* The session learns of the end when it has taken all that came before it. */
static void tell_end(struct connection *c)
{
    if (!c->has_eof || c->was_end_told || c->input_len > 0 || c->session == NULL)
        return;
    c->was_end_told = true;
    c->session->ops->end_of_input(c->session);
    mark_dirty(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct connection *c = stream->data;
    struct loop *l = c->wire.loop;
    if (n == UV_EOF) {
        c->has_eof = true;
        stop_reading(c);
        if (c->session == NULL || c->is_lingering)
            connection_abort(c);
        else
            tell_end(c);
        if (!c->is_closing)
            mark_dirty(c);
    } else if (n < 0) {
        connection_abort(c);
    } else if (n > 0) {
        on_bytes(c, (const uint8_t *)buf->base, (size_t)n);
        if (!c->is_closing) {
            adjust_reading(c);
            mark_dirty(c);
        }
    }
    loop_settle(l);
}

void connection_settle_dirty(struct loop *l)
{
    struct connection *c;
    while ((c = l->dirty) != NULL) {
        l->dirty = c->dirty_next;
        c->is_dirty = false;
        send_all(c);
        if (!c->is_closing && c->input_len > 0) {
            size_t before = c->input_len;
            take_plain(c, NULL, 0);
            if (!c->is_closing && c->input_len != before)
                mark_dirty(c);
            if (!c->is_closing)
                tell_end(c);
        }
        if (!c->is_closing)
            adjust_reading(c);
    }
}

/* ---- timeouts ---- */

static void tick_write(struct connection *c, uint64_t now_ns)
{
    size_t left = uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    if (c->write_left - left >= 1024 || left == 0) {
        c->write_left = left;
        c->write_progress_ns = now_ns;
    } else if (now_ns - c->write_progress_ns > c->wire.core->limits.stalled_answer_ns) {
        core_hit(c->wire.core, NET_LIMIT_STALLED_ANSWER);
        connection_abort(c);
    }
}

void connection_tick(struct connection *c, uint64_t now_ns)
{
    const struct server_limits *limits = &c->wire.core->limits;
    if (c->is_lingering) {
        if (now_ns > c->linger_until_ns)
            connection_abort(c);
        return;
    }
    if (c->session == NULL) {
        if (now_ns - c->opened_ns > limits->header_timeout_ns) {
            core_hit(c->wire.core, NET_LIMIT_HEADER_TIMEOUT);
            connection_abort(c);
        }
        return;
    }
    if (c->writing != NULL) {
        tick_write(c, now_ns);
        if (c->is_closing)
            return;
    }
    uint64_t idle_ns = c->session->idle_since_ns;
    if (idle_ns != 0 && now_ns > idle_ns && now_ns - idle_ns > limits->idle_timeout_ns) {
        core_hit(c->wire.core, NET_LIMIT_IDLE_TIMEOUT);
        c->session->idle_since_ns = now_ns; /* if draining does not end it, once more */
        c->session->ops->drain(c->session);
    }
    c->session->ops->tick(c->session, now_ns);
    if (c->session->wants_close)
        mark_dirty(c);
}

void connection_drain(struct connection *c)
{
    if (c->session == NULL)
        connection_abort(c);
    else if (!c->is_lingering)
        c->session->ops->drain(c->session);
}

/* ---- the beginning ---- */

void connection_open(struct loop *loop, struct core *core, const struct listener *listener, int fd,
                     const struct peer_address *peer)
{
    struct connection *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        (void)close(fd);
        count_out(core, peer);
        atomic_fetch_sub(&loop->connection_count, 1);
        return;
    }
    c->peer = *peer;
    c->wire = (struct wire){ .loop = loop,
                             .core = core,
                             .listener = listener,
                             .peer = bytes_text(c->peer.text),
                             .is_tls = core->tls != NULL,
                             .on_ready = on_ready };
    c->opened_ns = clock_mono_ns();
    c->next = loop->connections;
    if (c->next != NULL)
        c->next->previous = c;
    loop->connections = c;
    (void)uv_tcp_init(&loop->uv, &c->tcp);
    c->tcp.data = c;
    bool good = uv_tcp_open(&c->tcp, fd) == 0;
    if (!good)
        (void)close(fd);
    (void)uv_tcp_nodelay(&c->tcp, 1);
    if (good && core->tls != NULL)
        good = tls_session_open(core->tls, &c->tls) == ERR_OK;
    if (good)
        adjust_reading(c);
    else
        connection_abort(c);
}
