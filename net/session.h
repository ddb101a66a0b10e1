/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - what a connection and the protocol spoken on it know of each other.
 *
 * Role       a session takes bytes and gives bytes; it knows no socket. So the same code runs
 * behind TCP, behind TLS, and in fuzz targets. Threads    the loop's. */
#ifndef SPINDLE_NET_SESSION_H
#define SPINDLE_NET_SESSION_H

#include "net/core.h"
#include "net/loop.h"

struct session;

/* The session's view of its connection; the connection embeds it. */
struct wire {
    struct loop *loop;
    struct core *core;
    const struct listener *listener;
    struct bytes peer; /* "127.0.0.1:51234" */
    bool is_tls;
    /* The session has output, or can take input again: produce() or receive() should be called
     * soon. */
    void (*on_ready)(struct wire *w);
};

struct session_ops {
    /* Returns how many bytes were taken. What was not taken is given again, in front of what
     * follows, after on_ready(). */
    size_t (*receive)(struct session *s, const uint8_t *data, size_t len);
    /* Fills out, returns the length; 0: nothing to send now. */
    size_t (*produce)(struct session *s, uint8_t *out, size_t capacity);
    /* The peer will send nothing more. */
    void (*end_of_input)(struct session *s);
    void (*tick)(struct session *s, uint64_t now_ns);
    /* Finish what is under way, accept nothing new, then set wants_close. */
    void (*drain)(struct session *s);
    /* The connection is gone: cancel what is under way and free the session. */
    void (*close)(struct session *s);
};

struct session {
    const struct session_ops *ops;
    struct wire *wire;
    uint64_t idle_since_ns; /* 0 while a request is under way */
    size_t read_hint;       /* how much the next read should bring at most */
    bool wants_close;       /* after what produce() still gives has been sent */
    bool wants_linger; /* then read and discard for a moment: the peer is still sending, and a reset
                          would take the answer away from it */
};

/* NULL when out of memory. */
struct session *http1_open(struct wire *wire);
struct session *http2_open(struct wire *wire);

#endif
