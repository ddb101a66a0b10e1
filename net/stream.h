/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - the life of one request until its handler runs, the same for HTTP/1.1 and HTTP/2.
 *
 *   HEAD --head complete--> BODY --body complete--> WORK --answer--> ANSWER --sent--> (gone)
 *     |                      |                       |                 ^
 *     '----- refused --------'------- refused -------'--- deadline ----'
 *
 * Threads    the loop's. */
#ifndef SPINDLE_NET_STREAM_H
#define SPINDLE_NET_STREAM_H

#include "net/exchange_private.h"
#include "net/request_body.h"
#include "net/request_head.h"
#include "net/session.h"

/* How long a request waits for the budget before it is refused (RELIABILITY 4). */
#define STREAM_HOLD_NS (2 * NS_PER_S)

enum stream_state { STREAM_HEAD, STREAM_BODY, STREAM_WORK, STREAM_ANSWER, STREAM_STATE_COUNT };

struct stream_ops {
    /* x->answer has begun, has grown, or has ended. */
    void (*on_answer)(struct stream *s);
};

struct stream {
    const struct stream_ops *ops;
    struct wire *wire;
    struct exchange *x;
    enum stream_state state;
    struct request_head head;
    struct request_body body;
    uint64_t began_ns;
    uint64_t body_began_ns;
    uint64_t hold_until_ns; /* 0: not on hold */
    uint64_t progress_ns;   /* when the answer last got on by 1 KiB */
    size_t progress_bytes;  /* sent since then */
    bool was_refused;       /* by us, before a handler saw it */
};

/* False when out of memory. */
bool stream_init(struct stream *s, const struct stream_ops *ops, struct wire *wire,
                 enum protocol protocol);
/* The stream ends, whatever its state; what a handler still does ends in nothing. */
void stream_deinit(struct stream *s);

/* All header fields are in s->head. Afterwards the state is BODY, or ANSWER when it was refused.
 * has_body is false when the head was all there is. */
void stream_head_done(struct stream *s);
/* ERR_OK: taken, or thrown away because the request was refused. ERR_BUSY: *out_taken bytes were
 * taken, the rest must come again later (hold). */
NODISCARD enum err stream_put(struct stream *s, struct bytes chunk, size_t *out_taken);
/* The body is complete: decompress, check, call the handler. A large one is opened, and its handler called, by the
 * loop's worker: the state is WORK meanwhile. */
void stream_body_done(struct stream *s);
void stream_refuse(struct stream *s, const struct refusal *why);
/* Bytes of the answer have been sent. */
void stream_progress(struct stream *s, size_t bytes, uint64_t now_ns);

enum stream_timeout { STREAM_IN_TIME, STREAM_RETRY_HELD, STREAM_SLOW_BODY, STREAM_STALLED };
/* Looks at the clock; passes deadlines on as refusals by itself. */
enum stream_timeout stream_tick(struct stream *s, uint64_t now_ns);

#endif
