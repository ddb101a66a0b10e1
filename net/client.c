/* SPDX-License-Identifier: Apache-2.0 */
#include "net/client_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>

#define TIMEOUT_DEFAULT_NS (10 * NS_PER_S)
#define RETRY_FIRST_NS     (100 * NS_PER_MS)
#define RETRY_LAST_NS      (5 * NS_PER_S)
#define WATCH_MS           20u /* how late a deadline may be noticed */
#define READ_BUFFER_BYTES  (64u << 10)
#define OUT_BYTES_MAX      (64u << 20) /* prefix and body of all slots of a connection, at most */

static void pump(struct client *c);

/* ---- Calls ---- */

void client_send(struct client *c, struct client_call *call)
{
    call->next = NULL;
    if (c->last == NULL)
        c->first = call;
    else
        c->last->next = call;
    c->last = call;
    c->waiting_count++;
}

static struct client_call *take_waiting(struct client *c)
{
    struct client_call *call = c->first;
    c->first = call->next;
    if (c->first == NULL)
        c->last = NULL;
    c->waiting_count--;
    return call;
}

/* The calls that wait now, not those that their callbacks send. */
static void fail_waiting(struct client *c, enum err error)
{
    const struct client_result result = { .error = error,
                                          .cause = error == ERR_IO ? c->cause : NULL,
                                          .grpc_status = -1 };
    for (size_t n = c->waiting_count; n > 0; n--) {
        struct client_call *call = take_waiting(c);
        call->on_done(call, &result);
    }
}

size_t client_free_slots(const struct client *c)
{
    size_t all = (size_t)c->options.connections * c->connections[0].slot_count;
    size_t used = c->busy_count + c->waiting_count;
    return used < all ? all - used : 0;
}

void client_slot_answer(struct client_slot *slot, struct bytes piece)
{
    buffer_append_bytes(&slot->answer, piece);
    if (slot->error == ERR_OK)
        slot->error = buffer_error(&slot->answer);
}

void client_slot_finish(struct client_connection *k, struct client_slot *slot, enum err error)
{
    struct client_call *call = slot->call;
    assert(call != NULL);
    const struct client_result result = {
        .error = error,
        .cause = error == ERR_IO ? k->client->cause : NULL,
        .http_status = slot->http_status,
        .grpc_status = error == ERR_OK ? slot->grpc_status : -1,
        .message = buffer_bytes(&slot->message),
        .body = buffer_bytes(&slot->answer),
        .retry_after_ns = slot->retry_after_ns,
    };
    if (error == ERR_OK)
        k->retry_delay_ns = RETRY_FIRST_NS;
    slot->call = NULL;
    k->busy_count--;
    k->client->busy_count--;
    /* The slot is free, but nothing is started in it before the callback has returned: pump() does
     * that. */
    call->on_done(call, &result);
}

const char *client_open_text(enum err e)
{
    if (e == ERR_INVALID)
        return "not of the form HOST:PORT";
    if (e == ERR_UNSUPPORTED)
        return "https is not spoken here; give http:// or HOST:PORT";
    return e == ERR_NOT_FOUND ? "the host has no address" : err_text(e);
}

const char *client_result_text(const struct client_result *r)
{
    return r->cause != NULL ? r->cause : err_text(r->error);
}

bool client_result_is_retryable(const struct client_result *r)
{
    switch (r->error) {
    case ERR_OK:
        break;
    case ERR_IO:
    case ERR_DEADLINE:
        return true;
    default:
        return false;
    }
    if (r->grpc_status < 0)
        return r->http_status == 429 || r->http_status == 502 || r->http_status == 503 ||
               r->http_status == 504;
    switch (r->grpc_status) {
    case 1:  /* CANCELLED */
    case 4:  /* DEADLINE_EXCEEDED */
    case 10: /* ABORTED */
    case 11: /* OUT_OF_RANGE */
    case 14: /* UNAVAILABLE */
    case 15: /* DATA_LOSS */
        return true;
    case 8: /* RESOURCE_EXHAUSTED */
        return r->retry_after_ns != 0;
    default:
        return false;
    }
}

uint64_t client_retry_after_ns(struct bytes value)
{
    uint64_t seconds;
    if (!text_u64_parse(value, &seconds) || seconds > 3600)
        return 0;
    return seconds * NS_PER_S;
}

/* ---- google.rpc.Status, as far as it says when to come back ---- */

struct pb_field {
    uint64_t number, value;
    struct bytes bytes;
};

static bool pb_varint_next(struct bytes *in, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 10 && i < in->len; i++) {
        v |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
        if (in->data[i] < 0x80) {
            *in = bytes_slice(*in, i + 1, in->len);
            *out = v;
            return true;
        }
    }
    return false;
}

static bool pb_field_next(struct bytes *in, struct pb_field *out)
{
    uint64_t tag, len;
    if (!pb_varint_next(in, &tag))
        return false;
    *out = (struct pb_field){ .number = tag >> 3 };
    switch (tag & 7) {
    case 0:
        return pb_varint_next(in, &out->value);
    case 1:
        len = 8;
        break;
    case 2:
        if (!pb_varint_next(in, &len))
            return false;
        break;
    case 5:
        len = 4;
        break;
    default:
        return false;
    }
    if (len > in->len)
        return false;
    out->bytes = bytes_slice(*in, 0, len);
    *in = bytes_slice(*in, len, in->len);
    return true;
}

/* Duration{seconds=1, nanos=2} */
static uint64_t duration_ns(struct bytes duration)
{
    struct pb_field f;
    uint64_t seconds = 0, nanos = 0;
    while (pb_field_next(&duration, &f)) {
        if (f.number == 1)
            seconds = f.value;
        else if (f.number == 2)
            nanos = f.value;
    }
    return seconds > 3600 || nanos >= NS_PER_S ? 0 : seconds * NS_PER_S + nanos;
}

uint64_t client_retry_info_ns(struct bytes status)
{
    struct pb_field detail, member;
    while (pb_field_next(&status, &detail)) {
        if (detail.number != 3)
            continue;
        struct bytes any = detail.bytes, type = { 0 }, value = { 0 };
        while (pb_field_next(&any, &member)) {
            if (member.number == 1)
                type = member.bytes;
            else if (member.number == 2)
                value = member.bytes;
        }
        if (!bytes_equal_text(type, "type.googleapis.com/google.rpc.RetryInfo"))
            continue;
        while (pb_field_next(&value, &member)) {
            if (member.number == 1)
                return duration_ns(member.bytes);
        }
    }
    return 0;
}

/* ---- Connections ---- */

static void on_closed(uv_handle_t *handle)
{
    struct client_connection *k = handle->data;
    k->state = CONNECTION_CLOSED;
    k->is_writing = false;
}

/* Close, fail what is under way, and set when to try again. */
static void connection_drop(struct client_connection *k, enum err error)
{
    struct client *c = k->client;
    if (k->state == CONNECTION_CLOSED || k->state == CONNECTION_CLOSING)
        return;
    k->state = CONNECTION_CLOSING;
    k->takes_calls = false;
    k->retry_at_mono_ns = clock_mono_ns() + k->retry_delay_ns;
    k->retry_delay_ns =
        k->retry_delay_ns * 2 < RETRY_LAST_NS ? k->retry_delay_ns * 2 : RETRY_LAST_NS;
    uv_close((uv_handle_t *)&k->tcp, on_closed);
    c->ops->end(k);
    for (unsigned i = 0; i < k->slot_count; i++) {
        if (k->slots[i].call != NULL)
            client_slot_finish(k, &k->slots[i], error);
    }
}

/* status: of libuv; 0: it was not the system that ended it. */
static void connection_lost(struct client_connection *k, int status)
{
    k->client->cause = status == 0        ? NULL
                       : status == UV_EOF ? "the server closed the connection"
                                          : uv_strerror(status);
    bool was_connecting = k->state == CONNECTION_CONNECTING;
    connection_drop(k, ERR_IO);
    struct client *c = k->client;
    for (unsigned i = 0; i < c->options.connections; i++) {
        enum connection_state state = c->connections[i].state;
        if (state == CONNECTION_OPEN || state == CONNECTION_CONNECTING)
            return;
    }
    if (was_connecting) /* the last attempt of all has failed */
        fail_waiting(c, ERR_IO);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct client_connection *k = handle->data;
    *out = uv_buf_init((char *)k->client->read_buffer, READ_BUFFER_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    struct client_connection *k = stream->data;
    if (k->state != CONNECTION_OPEN || n == 0)
        return;
    if (n < 0)
        connection_lost(k, (int)n);
    else if (k->client->ops->receive(k, bytes_of(buffer->base, (size_t)n)) != ERR_OK)
        connection_lost(k, 0);
    pump(k->client);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct client_connection *k = request->data;
    if (k->state != CONNECTION_CONNECTING)
        return;
    if (status != 0 || uv_tcp_nodelay(&k->tcp, 1) != 0 || k->client->ops->begin(k) != ERR_OK ||
        uv_read_start((uv_stream_t *)&k->tcp, on_allocate, on_read) != 0) {
        connection_lost(k, status);
    } else {
        k->state = CONNECTION_OPEN;
        k->takes_calls = true;
    }
    pump(k->client);
}

static void connection_make(struct client_connection *k)
{
    struct client *c = k->client;
    if (uv_tcp_init(&c->loop, &k->tcp) != 0)
        return; /* tried again at the next watch */
    k->tcp.data = k;
    k->connecting.data = k;
    k->writing.data = k;
    k->state = CONNECTION_CONNECTING;
    k->connect_deadline_mono_ns = clock_mono_ns() + c->options.timeout_ns;
    int status =
        uv_tcp_connect(&k->connecting, &k->tcp, (const struct sockaddr *)&c->address, on_connected);
    if (status != 0)
        connection_lost(k, status);
}

static void on_written(uv_write_t *request, int status)
{
    struct client_connection *k = request->data;
    if (k->state != CONNECTION_OPEN)
        return;
    k->is_writing = false;
    if (status != 0)
        connection_lost(k, status);
    pump(k->client);
}

static void connection_flush(struct client_connection *k)
{
    while (k->state == CONNECTION_OPEN && !k->is_writing) {
        buffer_reset(&k->out);
        if (k->client->ops->flush(k) != ERR_OK) {
            connection_lost(k, 0);
            return;
        }
        if (k->out.len == 0)
            return;
        uv_buf_t piece = uv_buf_init((char *)k->out.data, (unsigned)k->out.len);
        k->is_writing = true;
        int status = uv_write(&k->writing, (uv_stream_t *)&k->tcp, &piece, 1, on_written);
        if (status != 0)
            connection_lost(k, status);
    }
}

/* After GOAWAY, with no call left: a new connection takes over, at once. */
static void connection_replace(struct client_connection *k)
{
    connection_drop(k, ERR_IO);
    k->retry_at_mono_ns = 0;
}

static bool connection_has_room(const struct client_connection *k)
{
    return k->state == CONNECTION_OPEN && k->takes_calls && k->busy_count < k->slot_count;
}

static void start_call(struct client_connection *k)
{
    struct client *c = k->client;
    struct client_slot *slot = k->slots;
    while (slot->call != NULL)
        slot++;
    buffer_reset(&slot->message);
    buffer_reset(&slot->answer);
    *slot = (struct client_slot){
        .call = take_waiting(c),
        .deadline_mono_ns = clock_mono_ns() + c->options.timeout_ns,
        .grpc_status = -1,
        .message = slot->message,
        .answer = slot->answer,
    };
    k->busy_count++;
    c->busy_count++;
    enum err e = c->ops->start(k, slot);
    if (e != ERR_OK)
        client_slot_finish(k, slot, e);
}

/* Give waiting calls to connections with room, in turn; make connections that are missing; send. */
static void pump(struct client *c)
{
    unsigned count = c->options.connections, without_room = 0;
    while (c->first != NULL && without_room < count) {
        struct client_connection *k = &c->connections[c->next_connection];
        c->next_connection = (c->next_connection + 1) % count;
        if (connection_has_room(k)) {
            start_call(k);
            without_room = 0;
        } else {
            without_room++;
        }
    }
    uint64_t now = clock_mono_ns();
    for (unsigned i = 0; i < count; i++) {
        struct client_connection *k = &c->connections[i];
        if (k->state == CONNECTION_CLOSED && c->first != NULL && now >= k->retry_at_mono_ns)
            connection_make(k);
        connection_flush(k);
        if (k->state == CONNECTION_OPEN && !k->takes_calls && k->busy_count == 0)
            connection_replace(k);
    }
    if (c->is_stopped || (c->until_idle && c->busy_count == 0 && c->first == NULL))
        uv_stop(&c->loop);
}

static void check_deadlines(struct client_connection *k, uint64_t now)
{
    if (k->state == CONNECTION_CONNECTING && now >= k->connect_deadline_mono_ns)
        connection_lost(k, UV_ETIMEDOUT);
    for (unsigned i = 0; i < k->slot_count && k->state == CONNECTION_OPEN; i++) {
        struct client_slot *slot = &k->slots[i];
        if (slot->call == NULL || now < slot->deadline_mono_ns)
            continue;
        if (k->client->ops->abandon(k, slot))
            client_slot_finish(k, slot, ERR_DEADLINE);
        else
            connection_drop(k, ERR_DEADLINE);
    }
}

static void on_watch(uv_timer_t *timer)
{
    struct client *c = timer->data;
    uint64_t now = clock_mono_ns();
    for (unsigned i = 0; i < c->options.connections; i++)
        check_deadlines(&c->connections[i], now);
    pump(c);
}

static void on_tick(uv_timer_t *timer)
{
    struct client *c = timer->data;
    c->on_tick(c->tick_context);
    pump(c);
}

/* ---- Opening, running, closing ---- */

/* "http://host:port/" to host and port; "[v6]:port" loses its brackets. */
static enum err split_endpoint(const char *endpoint, char **out_authority, char **out_host,
                               char **out_port)
{
    struct bytes text = bytes_text(endpoint);
    if (bytes_start_with(text, BYTES_LITERAL("https://")))
        return ERR_UNSUPPORTED;
    if (bytes_start_with(text, BYTES_LITERAL("http://")))
        text = bytes_slice(text, 7, text.len);
    size_t slash = bytes_find(text, '/');
    text = bytes_slice(text, 0, slash);
    struct bytes host = text, port = { 0 };
    for (size_t i = text.len; i-- > 0 && text.data[i] != ']';) {
        if (text.data[i] == ':') {
            host = bytes_slice(text, 0, i);
            port = bytes_slice(text, i + 1, text.len);
            break;
        }
    }
    uint64_t number;
    if (host.len == 0 || !text_u64_parse(port, &number) || number == 0 || number > 65535)
        return ERR_INVALID;
    if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']')
        host = bytes_slice(host, 1, host.len - 2);
    *out_authority = mem_text(text.data, text.len);
    *out_host = mem_text(host.data, host.len);
    *out_port = mem_text(port.data, port.len);
    return ERR_OK;
}

static enum err resolve(struct client *c, const char *endpoint)
{
    char *host = NULL, *port = NULL;
    enum err e = split_endpoint(endpoint, &c->authority, &host, &port);
    if (e == ERR_OK && (c->authority == NULL || host == NULL || port == NULL))
        e = ERR_NOMEM;
    if (e == ERR_OK) {
        struct addrinfo *found = NULL;
        const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
        /* RFC 6761 6.3: loopback, whatever a resolver says, or where there is none. */
        const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
        if (getaddrinfo(name, port, &hints, &found) != 0 || found == NULL)
            e = ERR_NOT_FOUND;
        else
            memcpy(&c->address, found->ai_addr, found->ai_addrlen);
        if (found != NULL)
            freeaddrinfo(found);
    }
    mem_free(host);
    mem_free(port);
    return e;
}

static enum err make_connections(struct client *c)
{
    const struct client_options *o = &c->options;
    c->connections = mem_alloc_array(o->connections, sizeof *c->connections);
    if (c->connections == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < o->connections; i++) {
        struct client_connection *k = &c->connections[i];
        k->client = c;
        k->retry_delay_ns = RETRY_FIRST_NS;
        buffer_init(&k->out, OUT_BYTES_MAX);
        k->slot_count = o->in_flight_per_connection;
        k->slots = mem_alloc_array(k->slot_count, sizeof *k->slots);
        if (k->slots == NULL)
            return ERR_NOMEM;
        for (unsigned s = 0; s < k->slot_count; s++) {
            buffer_init(&k->slots[s].message, 64u << 10);
            buffer_init(&k->slots[s].answer, CLIENT_ANSWER_MAX);
        }
    }
    return ERR_OK;
}

enum err client_open(const struct client_options *options, struct client **out)
{
    if (options->connections - 1 >= CLIENT_CONNECTIONS_MAX ||
        options->in_flight_per_connection - 1 >= CLIENT_IN_FLIGHT_MAX)
        return ERR_INVALID;
    (void)signal(SIGPIPE, SIG_IGN);
    struct client *c = mem_zalloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->options = *options;
    if (c->options.protocol == CLIENT_HTTP1)
        c->options.in_flight_per_connection = 1;
    if (c->options.timeout_ns == 0)
        c->options.timeout_ns = TIMEOUT_DEFAULT_NS;
    c->ops = options->protocol == CLIENT_GRPC ? &client_http2_ops : &client_http1_ops;
    c->read_buffer = mem_alloc(READ_BUFFER_BYTES);
    enum err e = c->read_buffer == NULL ? ERR_NOMEM : resolve(c, options->endpoint);
    if (e == ERR_OK)
        e = make_connections(c);
    if (e == ERR_OK && uv_loop_init(&c->loop) != 0)
        e = ERR_NOMEM;
    if (e != ERR_OK) {
        client_close(c);
        return e;
    }
    c->has_loop = true;
    /* On an initialised loop these only fill in the handles: they cannot fail. */
    (void)uv_timer_init(&c->loop, &c->watch);
    (void)uv_timer_init(&c->loop, &c->tick);
    c->watch.data = c->tick.data = c;
    *out = c;
    return ERR_OK;
}

void client_run(struct client *c, bool until_idle, uint64_t tick_ns, void (*tick)(void *context),
                void *context)
{
    c->until_idle = until_idle;
    c->is_stopped = false;
    c->on_tick = tick;
    c->tick_context = context;
    (void)uv_timer_start(&c->watch, on_watch, WATCH_MS, WATCH_MS);
    if (tick != NULL) {
        uint64_t ms = tick_ns < NS_PER_MS ? 1 : tick_ns / NS_PER_MS;
        (void)uv_timer_start(&c->tick, on_tick, ms, ms);
    }
    uv_update_time(&c->loop);
    pump(c);
    if (!c->is_stopped && !(until_idle && c->busy_count == 0 && c->first == NULL))
        (void)uv_run(&c->loop, UV_RUN_DEFAULT);
    (void)uv_timer_stop(&c->watch);
    (void)uv_timer_stop(&c->tick);
}

void client_stop(struct client *c)
{
    c->is_stopped = true;
    uv_stop(&c->loop);
}

void client_close(struct client *c)
{
    if (c == NULL)
        return;
    if (c->has_loop) {
        for (unsigned i = 0; i < c->options.connections; i++)
            connection_drop(&c->connections[i], ERR_CANCELLED);
        fail_waiting(c, ERR_CANCELLED);
        uv_close((uv_handle_t *)&c->watch, NULL);
        uv_close((uv_handle_t *)&c->tick, NULL);
        (void)uv_run(&c->loop, UV_RUN_DEFAULT);
        int left = uv_loop_close(&c->loop);
        assert(left == 0);
        (void)left;
    }
    for (unsigned i = 0; c->connections != NULL && i < c->options.connections; i++) {
        struct client_connection *k = &c->connections[i];
        for (unsigned s = 0; k->slots != NULL && s < k->slot_count; s++) {
            buffer_deinit(&k->slots[s].message);
            buffer_deinit(&k->slots[s].answer);
        }
        mem_free(k->slots);
        buffer_deinit(&k->out);
    }
    mem_free(c->connections);
    mem_free(c->read_buffer);
    mem_free(c->authority);
    mem_free(c);
}
