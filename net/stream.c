/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - see stream.h. */
#include "net/stream.h"
#include "base/clock.h"
#include "net/accept.h"
#include "net/router_private.h"

#include <assert.h>
#include <stdio.h>

/* Past its body, what a handler may make of a request: RELIABILITY 8, "arena: 4 x decoded + 1 MiB".
 */
#define ARENA_FACTOR      4
#define ARENA_EXTRA_BYTES ((size_t)1024 * 1024)
/* A compressed body is hardly longer than what it holds; this much at most. */
#define COMPRESSED_EXTRA_BYTES ((size_t)64 * 1024)
#define PROGRESS_BYTES         1024
/* What is opened on the loop itself: a millisecond or two. More goes to the loop's worker, and so does what is likely
 * to become more. Two threads' wake-ups cost a request of 512 spans a tenth of its way to the queue, so it stays here. */
struct turn {
    size_t bytes, compressed_bytes;
};
static const struct turn turn_protobuf = { (size_t)1024 * 1024, (size_t)128 * 1024 };
static const struct turn turn_any = { (size_t)256 * 1024, (size_t)32 * 1024 }; /* JSON, above all */

#define TO(s) (1u << STREAM_##s)
static const uint8_t stream_next[STREAM_STATE_COUNT] = {
    [STREAM_HEAD] = TO(BODY) | TO(ANSWER),
    [STREAM_BODY] = TO(WORK) | TO(ANSWER),
    [STREAM_WORK] = TO(ANSWER),
    [STREAM_ANSWER] = 0,
};

static void to_state(struct stream *s, enum stream_state state)
{
    assert((stream_next[s->state] & (1u << state)) != 0);
    s->state = state;
}

/* GRPC statuses that net itself gives. */
enum {
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

static struct exchange *new_exchange(struct wire *w, enum protocol protocol)
{
    struct core *core = w->core;
    size_t head_max = core->limits.header_bytes_http1 > core->limits.header_bytes_http2
                          ? core->limits.header_bytes_http1
                          : core->limits.header_bytes_http2;
    /* The fields, the decoded path and parameters, and the table of fields. */
    struct exchange *x = exchange_new(w->loop, core->request_budget, 4 * head_max + 8192);
    if (x == NULL)
        return NULL;
    x->request.protocol = protocol;
    x->request.peer = w->peer;
    x->request.deadline_mono_ns = UINT64_MAX;
    x->request.id = atomic_fetch_add(&core->next_request_id, 1);
    return x;
}

bool stream_init(struct stream *s, const struct stream_ops *ops, struct wire *wire,
                 enum protocol protocol)
{
    *s = (struct stream){ .ops = ops, .wire = wire, .began_ns = clock_mono_ns() };
    s->x = new_exchange(wire, protocol);
    if (s->x == NULL)
        return false;
    s->x->stream = s;
    core_request_began(wire->core);
    return true;
}

/* From here on the handler's answer goes nowhere. */
static void let_go(struct stream *s)
{
    struct exchange *x = s->x;
    s->x = NULL;
    x->stream = NULL;
    if (!exchange_is_drained(x))
        atomic_store(&x->is_cancelled, true);
    exchange_tell_writer(x);
    exchange_unref(x);
}

void stream_deinit(struct stream *s)
{
    if (s->x == NULL)
        return;
    let_go(s);
    core_request_ended(s->wire->core);
}

void stream_refuse(struct stream *s, const struct refusal *why)
{
    if (s->state == STREAM_WORK) {
        /* The handler has the exchange and may be answering at this moment: answer through another
         * one. */
        struct exchange *other = new_exchange(s->wire, s->x->request.protocol);
        if (other == NULL)
            return;
        other->request.method = s->x->request.method;
        other->request.id = s->x->request.id;
        other->route = s->x->route;
        let_go(s);
        s->x = other;
        other->stream = s;
    }
    to_state(s, STREAM_ANSWER);
    s->hold_until_ns = 0;
    s->progress_ns = clock_mono_ns();
    exchange_refuse(s->x, why);
}

/* Every refusal is counted: limit is its reason. */
static void refuse(struct stream *s, enum net_limit limit, unsigned status, unsigned grpc_status,
                   const char *text)
{
    core_hit(s->wire->core, limit);
    s->was_refused = true;
    stream_refuse(
        s, &(struct refusal){ .status = s->x->request.protocol == PROTOCOL_GRPC ? 200 : status,
                              .grpc_status = grpc_status,
                              .text = text });
}

/* For what is refused by its HTTP status even when it is gRPC, as grpc-go does. */
static void refuse_http(struct stream *s, enum net_limit limit, unsigned status,
                        unsigned grpc_status, const char *text, struct bytes allow)
{
    core_hit(s->wire->core, limit);
    s->was_refused = true;
    stream_refuse(s,
                  &(struct refusal){
                      .status = status, .grpc_status = grpc_status, .text = text, .allow = allow });
}

static void refuse_busy(struct stream *s)
{
    core_hit(s->wire->core, NET_LIMIT_BUDGET);
    stream_refuse(s,
                  &(struct refusal){ .status = s->x->request.protocol == PROTOCOL_GRPC ? 200 : 503,
                                     .grpc_status = GRPC_UNAVAILABLE,
                                     .text = "too much is in flight, try again",
                                     .is_retryable = true });
}

static void refuse_large(struct stream *s)
{
    const struct route *route = s->x->route;
    char text[128];
    snprintf(text, sizeof text, "the request is larger than its limit of %zu bytes%s%s%s",
             route->body_max, route->body_option == NULL ? "" : " (",
             route->body_option == NULL ? "" : route->body_option,
             route->body_option == NULL ? "" : ")");
    refuse(s, NET_LIMIT_BODY_BYTES, 413, GRPC_RESOURCE_EXHAUSTED, text);
}

static bool check_host(struct stream *s)
{
    /* Against DNS rebinding. A browser cannot be made to speak gRPC, and gRPC's clients come by any
     * name. */
    struct bytes host;
    if (s->x->request.protocol == PROTOCOL_GRPC || s->head.authority.len == 0)
        return true;
    return host_split(s->head.authority, &host) &&
           host_is_ours(s->wire->core, s->wire->listener, host);
}

/* A path of gRPC, asked for with another content type. */
static bool is_grpc_path(struct stream *s)
{
    const struct route *route;
    struct bytes parameters[4], allow = { 0 };
    return router_find(s->wire->listener->router, ROUTE_GRPC, s->x->request.method, s->head.target,
                       &s->x->head, &route, parameters, &allow) == ROUTE_FOUND;
}

static void refuse_unrouted(struct stream *s, enum route_kind kind, enum route_match match,
                            struct bytes allow)
{
    if (match == ROUTE_OTHER_METHOD) {
        refuse_http(s, NET_LIMIT_UNIMPLEMENTED, 405, GRPC_INTERNAL,
                    "this path does not take that method", allow);
        return;
    }
    if (kind == ROUTE_HTTP && is_grpc_path(s)) {
        refuse_http(s, NET_LIMIT_CONTENT_TYPE, 415, GRPC_INVALID_ARGUMENT,
                    "this path takes application/grpc over HTTP/2", (struct bytes){ 0 });
        return;
    }
    if (s->x->request.method == HTTP_OTHER)
        refuse(s, NET_LIMIT_UNIMPLEMENTED, 501, GRPC_UNIMPLEMENTED, "unknown method");
    else
        refuse(s, NET_LIMIT_UNIMPLEMENTED, 404, GRPC_UNIMPLEMENTED,
               kind == ROUTE_GRPC ? "unknown service or method" : "no such path");
}

/* True when a route was found, or there is a fallback to call. */
static bool find_route(struct stream *s)
{
    struct request *r = &s->x->request;
    enum route_kind kind = r->protocol == PROTOCOL_GRPC ? ROUTE_GRPC : ROUTE_HTTP;
    struct bytes allow = { 0 };
    struct router *router = s->wire->listener->router;
    if (kind == ROUTE_GRPC && r->method != HTTP_POST) {
        refuse_http(s, NET_LIMIT_UNIMPLEMENTED, 405, GRPC_INTERNAL, "gRPC is POST",
                    BYTES_LITERAL("POST"));
        return false;
    }
    enum route_match match = router_find(router, kind, r->method, s->head.target, &s->x->head,
                                         &s->x->route, r->parameters, &allow);
    if (match == ROUTE_FOUND)
        return true;
    s->x->route = router_fallback(router, kind);
    if (match == ROUTE_NOT_FOUND && s->x->route != NULL && r->method != HTTP_OTHER &&
        !(kind == ROUTE_HTTP && is_grpc_path(s))) {
        core_hit(s->wire->core, NET_LIMIT_UNIMPLEMENTED);
        return true;
    }
    s->x->route = NULL;
    refuse_unrouted(s, kind, match, allow);
    return false;
}

static bool authorize(struct stream *s)
{
    const struct core *core = s->wire->core;
    if (core->authorize == NULL)
        return true;
    enum err e = core->authorize(core->authorize_context, s->head.authorization, s->x->route->scope,
                                 &s->x->request.principal);
    if (e == ERR_OK)
        return true;
    if (e == ERR_DENIED)
        refuse(s, NET_LIMIT_UNAUTHENTICATED, 403, GRPC_PERMISSION_DENIED,
               "not allowed with these credentials");
    else
        refuse(s, NET_LIMIT_UNAUTHENTICATED, 401, GRPC_UNAUTHENTICATED,
               "credentials are missing or wrong");
    return false;
}

/* Content type, coding and length: all that can be judged before the body. */
static bool check_body_head(struct stream *s)
{
    struct request *r = &s->x->request;
    struct request_head *h = &s->head;
    bool is_grpc = r->protocol == PROTOCOL_GRPC;
    if (!is_grpc && s->x->route->consumes != NULL &&
        !media_type_in(s->x->route->consumes, media_type(h->content_type))) {
        refuse(s, NET_LIMIT_CONTENT_TYPE, 415, GRPC_INVALID_ARGUMENT, "unsupported content type");
        return false;
    }
    if (!codec_from_name(is_grpc ? h->grpc_encoding : h->content_encoding, &r->received_codec) ||
        (is_grpc && r->received_codec == CODEC_DEFLATE)) {
        refuse(s, NET_LIMIT_COMPRESSION, 415, GRPC_UNIMPLEMENTED, "unsupported compression");
        return false;
    }
    size_t body_max = s->x->route->body_max;
    s->body.is_grpc = is_grpc;
    s->body.cap_bytes = body_max;
    if (r->received_codec != CODEC_IDENTITY && body_max > 0)
        s->body.cap_bytes += COMPRESSED_EXTRA_BYTES;
    if (!is_grpc && h->has_content_length) {
        if (h->content_length > s->body.cap_bytes) {
            refuse_large(s);
            return false;
        }
        s->body.declared = (size_t)h->content_length;
        s->body.has_declared = true;
    }
    return true;
}

static void call_handler(struct exchange *x)
{
    exchange_ref(x); /* the handler's, until its answer has been taken */
    exchange_ref(x); /* for this call */
    x->route->handler(x, x->route->context);
    exchange_unref(x);
}

void stream_head_done(struct stream *s)
{
    struct request *r = &s->x->request;
    struct core *core = s->wire->core;
    if (r->protocol == PROTOCOL_HTTP2 && is_grpc_content_type(s->head.content_type))
        r->protocol = PROTOCOL_GRPC;
    metric_add(s->wire->listener->requests[r->protocol], 1);
    bool good_head =
        !s->head.is_over && !s->head.is_no_memory && request_head_finish(&s->head, s->x);
    if (s->head.is_over) {
        enum net_limit limit = s->head.fields > core->limits.header_fields_soft
                                   ? NET_LIMIT_HEADER_FIELDS
                                   : NET_LIMIT_HEADER_BYTES;
        r->protocol = r->protocol == PROTOCOL_GRPC ? PROTOCOL_HTTP2 : r->protocol;
        refuse(s, limit, 431, GRPC_RESOURCE_EXHAUSTED,
               "the header fields are larger than their limit");
    } else if (s->head.is_no_memory) {
        refuse_busy(s);
    } else if (!good_head) {
        refuse_http(s, NET_LIMIT_BAD_REQUEST, 400,
                    r->protocol == PROTOCOL_GRPC ? GRPC_INTERNAL : GRPC_INVALID_ARGUMENT,
                    s->head.fault, (struct bytes){ 0 });
    } else if (!check_host(s)) {
        refuse(s, NET_LIMIT_HOST, 421, GRPC_UNAVAILABLE,
               "this server does not answer to that host name");
    } else if (s->head.grpc_timeout.data != NULL && r->protocol == PROTOCOL_GRPC) {
        uint64_t timeout_ns;
        if (!grpc_timeout_parse(s->head.grpc_timeout, &timeout_ns)) {
            refuse_http(s, NET_LIMIT_BAD_REQUEST, 400, GRPC_INTERNAL, "grpc-timeout is malformed",
                        (struct bytes){ 0 });
        } else {
            r->deadline_mono_ns =
                timeout_ns > UINT64_MAX - s->began_ns ? UINT64_MAX : s->began_ns + timeout_ns;
        }
    }
    if (s->state != STREAM_HEAD || !find_route(s) || !authorize(s))
        return;
    s->x->accepts_gzip = accept_names(request_header(r, "accept-encoding"), "gzip");
    if (s->x->route->method == HTTP_OTHER) {
        /* The fallback: it names what is missing, whatever the body is. */
        to_state(s, STREAM_BODY);
        to_state(s, STREAM_WORK);
        call_handler(s->x);
        return;
    }
    if (!check_body_head(s))
        return;
    to_state(s, STREAM_BODY);
    s->body_began_ns = clock_mono_ns();
    /* While it arrives; what the handler may add is set when the size is known. */
    s->x->arena.limit_bytes = ARENA_FACTOR * s->body.cap_bytes + ARENA_EXTRA_BYTES;
}

/* No room now: wait for some, unless this request has waited long enough or so much waits already.
 */
static enum err hold(struct stream *s, size_t left)
{
    uint64_t now = clock_mono_ns();
    if (s->hold_until_ns == 0) {
        s->hold_until_ns = now + STREAM_HOLD_NS;
        core_hit(s->wire->core, NET_LIMIT_HELD);
    }
    if (now < s->hold_until_ns && s->wire->loop->held_bytes + left <= LOOP_HELD_MAX_BYTES)
        return ERR_BUSY;
    refuse_busy(s);
    return ERR_OK;
}

enum err stream_put(struct stream *s, struct bytes chunk, size_t *out_taken)
{
    *out_taken = chunk.len;
    if (s->state != STREAM_BODY)
        return ERR_OK; /* refused: thrown away */
    size_t taken = 0;
    enum err e = request_body_put(&s->body, &s->x->arena, chunk, &taken);
    switch (e) {
    case ERR_OK:
        s->hold_until_ns = 0;
        break;
    case ERR_BUDGET:
    case ERR_NOMEM:
        if (hold(s, chunk.len - taken) == ERR_BUSY) {
            *out_taken = taken;
            return ERR_BUSY;
        }
        break;
    case ERR_INVALID:
        refuse(s, NET_LIMIT_GRPC_FRAMING, 400, GRPC_INTERNAL,
               "a gRPC message begins with a flag that is neither 0 nor 1");
        break;
    case ERR_TOO_MANY:
        refuse(s, NET_LIMIT_GRPC_FRAMING, 400, GRPC_INTERNAL,
               "more than one message in a unary call");
        break;
    default: /* the body's cap, or the arena's limit */
        refuse_large(s);
        break;
    }
    return ERR_OK;
}

/* ---- Opening a complete body: decompress it, call the handler ---- */

/* What came, and how it is compressed. False: refused. */
static bool receive(struct stream *s)
{
    struct request *r = &s->x->request;
    if (r->protocol == PROTOCOL_GRPC && s->body.is_compressed &&
        r->received_codec == CODEC_IDENTITY) {
        refuse(s, NET_LIMIT_COMPRESSION, 400, GRPC_INTERNAL,
               "the message is marked compressed, but grpc-encoding names no coding");
        return false;
    }
    r->received = bytes_of(s->body.data, s->body.len);
    /* An empty body is empty in every coding. */
    if ((r->protocol == PROTOCOL_GRPC && !s->body.is_compressed) || r->received.len == 0)
        r->received_codec = CODEC_IDENTITY;
    return true;
}

static enum err decompress(struct exchange *x, size_t cap_bytes)
{
    struct request *r = &x->request;
    enum err e =
        codec_decompress(r->received_codec, r->received, cap_bytes, &x->arena, &r->body, NULL);
    if (e == ERR_OK)
        x->arena.limit_bytes = x->arena.held_bytes + ARENA_FACTOR * r->body.len + ARENA_EXTRA_BYTES;
    return e;
}

static void refuse_unopened(struct stream *s, enum err e)
{
    switch (e) {
    case ERR_BUDGET:
    case ERR_NOMEM:
    case ERR_CANCELLED: /* by a half-closed client, while it waited for its turn */
        refuse_busy(s);
        break;
    case ERR_TOO_LARGE:
        refuse_large(s);
        break;
    default:
        refuse(s, NET_LIMIT_BAD_COMPRESSION, 400,
               s->x->request.protocol == PROTOCOL_GRPC ? GRPC_INTERNAL : GRPC_INVALID_ARGUMENT,
               "the body cannot be decompressed");
        break;
    }
}

static struct exchange *from_opening(struct loop_work *work)
{
    return (struct exchange *)((char *)work - offsetof(struct exchange, opening));
}

/* On the loop's worker. */
static void open_body(struct loop_work *work)
{
    struct exchange *x = from_opening(work);
    x->opened = atomic_load(&x->is_cancelled) ? ERR_CANCELLED : decompress(x, x->route->body_max);
    if (x->opened == ERR_OK)
        call_handler(x);
}

static void after_opening(struct loop_work *work)
{
    struct exchange *x = from_opening(work);
    if (x->opened != ERR_OK && x->stream != NULL) {
        x->stream->state = STREAM_BODY; /* back: no handler has it */
        refuse_unopened(x->stream, x->opened);
    }
    exchange_unref(x);
}

static void hand_to_worker(struct stream *s)
{
    struct exchange *x = s->x;
    exchange_ref(x);
    x->opening = (struct loop_work){ .run = open_body, .after = after_opening };
    to_state(s, STREAM_WORK);
    if (!loop_work(x->loop, &x->opening)) {
        open_body(&x->opening);
        after_opening(&x->opening);
    }
}

static void refuse_end(struct stream *s, enum err e)
{
    if (e == ERR_NOT_FOUND)
        refuse(s, NET_LIMIT_GRPC_FRAMING, 400, GRPC_INTERNAL, "no message in a unary call");
    else
        refuse(s, NET_LIMIT_GRPC_FRAMING, 400, GRPC_INTERNAL, "the request ends inside a message");
}

static const struct turn *turn_of(const struct stream *s)
{
    bool is_protobuf = s->x->request.protocol == PROTOCOL_GRPC ||
                       media_type_in("application/x-protobuf", media_type(s->head.content_type));
    return is_protobuf ? &turn_protobuf : &turn_any;
}

void stream_body_done(struct stream *s)
{
    if (s->state != STREAM_BODY)
        return;
    enum err e = request_body_end(&s->body);
    if (e != ERR_OK) {
        refuse_end(s, e);
        return;
    }
    if (!receive(s))
        return;
    struct exchange *x = s->x;
    const struct turn *most = turn_of(s);
    size_t cap = x->route->body_max, turn = most->bytes < cap ? most->bytes : cap;
    bool is_long =
        x->request.received.len >
        (x->request.received_codec == CODEC_IDENTITY ? most->bytes : most->compressed_bytes);
    e = is_long ? ERR_TOO_LARGE : decompress(x, turn);
    if (e == ERR_TOO_LARGE && (is_long || turn < cap)) {
        hand_to_worker(s);
    } else if (e != ERR_OK) {
        refuse_unopened(s, e);
    } else {
        to_state(s, STREAM_WORK);
        call_handler(x);
    }
}

void stream_progress(struct stream *s, size_t bytes, uint64_t now_ns)
{
    s->progress_bytes += bytes;
    if (s->progress_bytes >= PROGRESS_BYTES) {
        s->progress_bytes = 0;
        s->progress_ns = now_ns;
    }
}

static enum stream_timeout tick_body(struct stream *s, uint64_t now_ns)
{
    const struct server_limits *limits = &s->wire->core->limits;
    if (s->hold_until_ns != 0) {
        s->body_began_ns = now_ns - s->body.arrived_bytes * (NS_PER_S / limits->body_rate_min);
        return STREAM_RETRY_HELD;
    }
    uint64_t elapsed_ns = now_ns - s->body_began_ns;
    if (elapsed_ns <= limits->body_rate_grace_ns)
        return STREAM_IN_TIME;
    uint64_t due =
        (elapsed_ns - limits->body_rate_grace_ns) / NS_PER_MS * limits->body_rate_min / 1000;
    if (s->body.arrived_bytes >= due)
        return STREAM_IN_TIME;
    core_hit(s->wire->core, NET_LIMIT_SLOW_BODY);
    return STREAM_SLOW_BODY;
}

enum stream_timeout stream_tick(struct stream *s, uint64_t now_ns)
{
    const struct server_limits *limits = &s->wire->core->limits;
    if (s->x == NULL)
        return STREAM_IN_TIME;
    if ((s->state == STREAM_BODY || s->state == STREAM_WORK) &&
        now_ns >= s->x->request.deadline_mono_ns) {
        core_hit(s->wire->core, NET_LIMIT_DEADLINE);
        stream_refuse(s, &(struct refusal){ .status = 200,
                                            .grpc_status = GRPC_DEADLINE_EXCEEDED,
                                            .text = "the deadline has passed" });
        return STREAM_IN_TIME;
    }
    switch (s->state) {
    case STREAM_HEAD:
        if (now_ns - s->began_ns > limits->header_timeout_ns) {
            core_hit(s->wire->core, NET_LIMIT_HEADER_TIMEOUT);
            return STREAM_SLOW_BODY;
        }
        return STREAM_IN_TIME;
    case STREAM_BODY:
        return tick_body(s, now_ns);
    case STREAM_WORK:
    case STREAM_ANSWER:
    case STREAM_STATE_COUNT:
        break;
    }
    if (exchange_pending(s->x).len == 0 || s->progress_ns == 0) {
        s->progress_ns = now_ns; /* nothing to send: nobody stalls */
        return STREAM_IN_TIME;
    }
    if (now_ns - s->progress_ns <= limits->stalled_answer_ns)
        return STREAM_IN_TIME;
    core_hit(s->wire->core, NET_LIMIT_STALLED_ANSWER);
    return STREAM_STALLED;
}
