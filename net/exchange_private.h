/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_private.h - the inside of an exchange, for the sources of net/ that carry it.
 *
 *            handler's side (any thread)                    loop's side
 *   exchange_respond() fills x->answer, frees the   -->   stream->ops->on_answer(): x->answer is
 * the request's arena, posts x->begun                        loop's from here on
 *
 * References: one of the stream (until it closes or lets go), one of the handler (until its last
 * post has been run by the loop or refused by a closed one). The stream may let go first: then the
 * answer ends in nothing. */
#ifndef SPINDLE_NET_EXCHANGE_PRIVATE_H
#define SPINDLE_NET_EXCHANGE_PRIVATE_H

#include "net/exchange.h"
#include "net/loop.h"
#include "net/router.h"

struct stream;

/* A part of an answer's body. */
struct piece {
    struct post post;
    struct piece *next;
    struct exchange *x;
    uint8_t *data; /* mem_free()d */
    size_t len;
    uint8_t frame[24]; /* what goes before it: gRPC's prefix or the line of a chunk */
    size_t frame_len;
    size_t at; /* how much of frame and data has been sent */
    bool is_embedded;
};

struct answer {
    unsigned status;
    const char *content_type;
    struct http_header *headers; /* one block, mem_free()d; names and values inside it */
    size_t header_count;
    bool is_gzip;
    bool is_streamed; /* begin, write, end: its length is not known */
    bool has_ended;   /* loop: no piece follows */
    bool closes;      /* the connection goes with it (HTTP/1.1) */
    unsigned grpc_status;
    uint8_t *grpc_message; /* percent-encoded; mem_free()d */
    size_t grpc_message_len;
    uint8_t *grpc_details; /* base64; mem_free()d */
    size_t grpc_details_len;
    size_t body_len; /* all pieces, without frames, when not streamed */
    struct piece *first, *last;
};

struct exchange {
    struct request request;
    struct arena head;  /* head of the request: lives as long as the exchange */
    struct arena arena; /* body and the handler's work: freed with the answer, unless taken */
    bool is_arena_taken;
    _Atomic unsigned refs;
    _Atomic bool is_cancelled;
    _Atomic bool is_answered;
    _Atomic size_t waiting_bytes; /* written and not yet sent */
    _Atomic bool
        is_call_owed; /* a write was told ERR_BUSY: who takes this away calls on_writable */
    struct loop *loop;
    struct stream *stream; /* loop only; NULL once the stream has let go */
    const struct route *route;
    bool accepts_gzip;
    struct answer answer;
    struct piece body; /* the one piece of a whole answer */
    struct post begun, ended;
    struct loop_work opening; /* of a large body: see stream_body_done() */
    enum err opened;
    bool is_whole;          /* begun is also the end */
    struct budget *charged; /* for the body, by who answered; NULL: nothing */
    size_t charged_bytes;
    void (*on_writable)(struct exchange *x, void *context);
    void *on_writable_context;
};

/* One reference, the caller's. NULL when out of memory. */
struct exchange *exchange_new(struct loop *loop, struct budget *budget, size_t head_bytes_max);
void exchange_ref(struct exchange *x);
void exchange_unref(struct exchange *x);

/* Loop: the first unsent bytes of the answer's body; frame first, then data. Empty: nothing waits
 * now. */
struct bytes exchange_pending(const struct exchange *x);
/* Loop: n bytes of what exchange_pending() showed were sent. */
void exchange_sent(struct exchange *x, size_t n);
/* Loop: no byte waits and none will come. */
bool exchange_is_drained(const struct exchange *x);

/* Loop: there is room, or the client has left: a writer who waits for room is called. */
void exchange_tell_writer(struct exchange *x);

/* Loop: net's own answer; the exchange was never given to a handler. grpc_status is used for gRPC.
 * The text is fit for strangers. retry: with Retry-After or RetryInfo. */
struct refusal {
    unsigned status, grpc_status;
    const char *text;
    bool is_retryable;
    bool closes;
    struct bytes allow; /* the Allow header of a 405 */
};
void exchange_refuse(struct exchange *x, const struct refusal *why);

#endif
