/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - see loop.h. */
#include "net/loop.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/connection.h"

#include <assert.h>
#include <time.h>

static _Thread_local struct loop *current_loop;

/* What was taken from the mailbox hangs on the loop, so that a post that shuts the loop finds the posts
 * that were taken with it. */
static void run_posts(struct loop *l)
{
    for (;;) {
        struct post *post;
        while ((post = l->taken) != NULL) {
            l->taken = post->next; /* running it may free it */
            post->run(post);
        }
        pthread_mutex_lock(&l->lock);
        l->taken = l->first;
        l->first = l->last = NULL;
        pthread_mutex_unlock(&l->lock);
        if (l->taken == NULL)
            return;
    }
}

/* uv_async_send() coalesces: many sends, one wake-up. So drain to empty; nothing left is fine. */
static void on_wake(uv_async_t *wake)
{
    loop_settle(wake->data);
}

/* Nothing stays in the buffers from one callback to the next. */
static void buffers_rest(struct loop *l)
{
    if (l->quiet_ticks <= LOOP_QUIET_TICKS && l->quiet_ticks++ == LOOP_QUIET_TICKS) {
        mem_map_rest(l->read_buffer, LOOP_READ_BYTES);
        mem_map_rest(l->write_buffer, LOOP_WRITE_BYTES);
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct loop *l = tick->data;
    uint64_t now = clock_mono_ns();
    buffers_rest(l);
    struct connection *next;
    for (struct connection *c = l->connections; c != NULL; c = next) {
        next = connection_next(c);
        connection_tick(c, now);
    }
    loop_settle(l);
}

void loop_settle(struct loop *l)
{
    do {
        run_posts(l);
        connection_settle_dirty(l);
        pthread_mutex_lock(&l->lock);
        bool more = l->first != NULL;
        pthread_mutex_unlock(&l->lock);
        if (!more)
            break;
    } while (true);
}

static void loop_free(struct loop *l)
{
    pthread_mutex_destroy(&l->lock);
    mem_unmap(l->read_buffer, LOOP_READ_BYTES);
    mem_unmap(l->write_buffer, LOOP_WRITE_BYTES);
    mem_free(l);
}

enum err loop_open(struct loop **out)
{
    struct loop *l = mem_zalloc(sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    pthread_mutex_init(&l->lock, NULL);
    atomic_init(&l->refs, 1);
    l->read_buffer = mem_map(LOOP_READ_BYTES);
    l->write_buffer = mem_map(LOOP_WRITE_BYTES);
    if (l->read_buffer == NULL || l->write_buffer == NULL || uv_loop_init(&l->uv) != 0) {
        loop_free(l);
        return ERR_NOMEM;
    }
    if (uv_async_init(&l->uv, &l->wake, on_wake) != 0) {
        (void)uv_loop_close(&l->uv);
        loop_free(l);
        return ERR_IO;
    }
    (void)uv_timer_init(&l->uv, &l->tick);
    l->wake.data = l;
    l->tick.data = l;
    *out = l;
    return ERR_OK;
}

static void *run(void *arg)
{
    struct loop *l = arg;
    current_loop = l;
    (void)uv_timer_start(&l->tick, on_tick, LOOP_TICK_MS, LOOP_TICK_MS);
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    return NULL;
}

enum err loop_start(struct loop *l)
{
    if (pthread_create(&l->thread, NULL, run, l) != 0)
        return ERR_NOMEM;
    (void)pthread_setname_np(l->thread, "loop");
    l->has_thread = true;
    return ERR_OK;
}

static void abort_connections(struct loop *l)
{
    while (l->connections != NULL)
        connection_abort(l->connections);
}

void loop_shut(struct loop *l)
{
    abort_connections(l);
    loop_fire_laters(l);
    for (;;) { /* what those posted still runs; then nothing is taken any more */
        run_posts(l);
        pthread_mutex_lock(&l->lock);
        l->is_closed = l->first == NULL;
        bool done = l->is_closed;
        pthread_mutex_unlock(&l->lock);
        if (done)
            break;
    }
    abort_connections(l); /* those that were handed over meanwhile */
    loop_fire_laters(l);
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->tick, NULL);
}

void loop_join(struct loop *l)
{
    if (l->has_thread)
        (void)pthread_join(l->thread, NULL);
    else
        (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    l->has_thread = false;
    int closed = uv_loop_close(&l->uv);
    assert(closed == 0);
    (void)closed;
}

void loop_ref(struct loop *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void loop_unref(struct loop *l)
{
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
        loop_free(l);
}

bool loop_is_here(const struct loop *l)
{
    return current_loop == l;
}

bool loop_post(struct loop *l, struct post *post)
{
    post->next = NULL;
    pthread_mutex_lock(&l->lock);
    bool taken = !l->is_closed;
    if (taken) {
        bool was_empty = l->first == NULL;
        if (was_empty)
            l->first = post;
        else
            l->last->next = post;
        l->last = post;
        /* On the loop's own thread every callback ends with loop_settle(). The wake-up is sent
         * under the lock, so that it cannot come after the handle was closed. */
        if (was_empty && !loop_is_here(l))
            (void)uv_async_send(&l->wake);
    }
    pthread_mutex_unlock(&l->lock);
    return taken;
}

struct bytes loop_date(struct loop *l)
{
    uint64_t now_s = clock_unix_ns() / NS_PER_S;
    if (now_s != l->date_s) {
        time_t t = (time_t)now_s;
        struct tm tm;
        gmtime_r(&t, &tm);
        (void)strftime(l->date, sizeof l->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        l->date_s = now_s;
    }
    return bytes_text(l->date);
}
