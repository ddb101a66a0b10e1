/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - one event loop, its thread, and the mailbox by which other threads reach it.
 *
 * Role       everything of a connection happens on its loop's thread. Others post; the loop runs
 * what was posted, in order. Ownership  counted: the server holds one reference, each exchange one,
 * so that a late answer still finds a mailbox (a closed one) after server_stop(). Threads
 * loop_post(), loop_ref(), loop_unref(): any. The rest: the loop's own. */
#ifndef SPINDLE_NET_LOOP_H
#define SPINDLE_NET_LOOP_H

#include "base/bytes.h"
#include "base/err.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

/* One read and one write of a connection: large, for there is one of each per loop and not per
 * connection. */
#define LOOP_READ_BYTES  (256 * 1024)
#define LOOP_WRITE_BYTES (256 * 1024)
/* How often timeouts are looked at; their precision. */
#define LOOP_TICK_MS 100
/* So many without a read, and the buffers' pages go back to the kernel. */
#define LOOP_QUIET_TICKS 20
/* Input that connections on hold keep back, on one loop. Beyond it a request is refused without a
 * hold. */
#define LOOP_HELD_MAX_BYTES ((size_t)16 * 1024 * 1024)

struct connection;

struct post {
    struct post *next;
    void (*run)(struct post *post);
};

/* Something long: run() on another thread, then after() on the loop, always both. */
struct loop_work {
    struct loop_work *next;
    void (*run)(struct loop_work *work);
    void (*after)(struct loop_work *work);
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t tick;
    pthread_t thread;
    bool has_thread;
    _Atomic unsigned refs;
    _Atomic unsigned connection_count;

    pthread_mutex_t lock;      /* guards first, last, is_closed */
    struct post *first, *last; /* in order of posting */
    bool is_closed;            /* nothing is taken any more */

    struct post *taken; /* being run, in order; the loop's own from here on */
    struct connection *connections;
    struct connection *dirty; /* have output to produce or input to resume */
    struct later *laters;     /* running timers of exchange_later() */
    struct loop_work *works;  /* the first is under way; the rest waits behind it */
    struct loop_work *works_last;
    uv_work_t worker;
    uint8_t *read_buffer, *write_buffer;
    unsigned quiet_ticks; /* since the last read */
    size_t held_bytes;    /* input kept back by connections on hold, all together */
    char date[32];        /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    uint64_t date_s;
};

/* A loop that does not run yet. ERR_NOMEM, ERR_IO. */
NODISCARD enum err loop_open(struct loop **out);
NODISCARD enum err loop_start(struct loop *l); /* a thread that runs it until loop_stop() */
/* Run what was posted, then let the connections that have something to do do it. Each callback of
 * libuv on a loop ends with this. */
void loop_settle(struct loop *l);
/* Close connections, timers and the mailbox. To be posted to the loop. */
void loop_shut(struct loop *l);
void loop_join(struct loop *l);
void loop_ref(struct loop *l);
void loop_unref(struct loop *l);

/* False when the loop is closed: the post stays the caller's. */
NODISCARD bool loop_post(struct loop *l, struct post *post);
/* The text of the Date header. */
struct bytes loop_date(struct loop *l);

/* Timers: fn runs on the loop after delay_ms, or when the loop is shut. Any thread. ERR_STOPPING
 * when it is closed already. */
NODISCARD enum err loop_later(struct loop *l, uint64_t delay_ms, void (*fn)(void *context),
                              void *context);
/* Loop: one at a time and in order. A loop that shuts ends when all of them have been run. False: the
 * caller is not the loop's thread (nobody runs the loop), and the work stays his. */
NODISCARD bool loop_work(struct loop *l, struct loop_work *work);
/* The caller is the loop's own thread. */
bool loop_is_here(const struct loop *l);
/* Loop: run all of them now. */
void loop_fire_laters(struct loop *l);

#endif
