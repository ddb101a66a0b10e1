/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/scrape.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>

/* Between the thread and the loop that says "there is room again": after ERR_BUSY the answer is the
 * loop's until it has called. */
enum sending {
    SENDING,      /* the thread's */
    SENDING_BUSY, /* the loop's: the thread waits for its call */
    SENDING_ROOM, /* it has called: the thread's again */
    SENDING_LEFT /* the thread has lost patience: the loop's call ends the answer, and frees this */
};

struct room {
    pthread_mutex_t lock; /* guards the state */
    pthread_cond_t changed;
    enum sending state;
    uint64_t patience_ns;
};

/* One page on its way; the thread's. */
struct scrape {
    struct exchange *x;
    struct response head;
    struct buffer whole; /* what came before the answer was begun */
    bool has_begun;
    bool is_lost; /* to the loop, for good */
    struct room *room;
};

struct scrapes {
    scrape_page_fn *make_page;
    void *context;
    uint64_t patience_ns;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool is_closing;
    struct exchange *waiting[SCRAPES_WAITING_MAX];
    size_t first, count;
};

static const struct http_header vary = { BYTES_LITERAL("vary"), BYTES_LITERAL("accept") };

/* ---- One page ---- */

static struct room *room_open(uint64_t patience_ns)
{
    struct room *r = mem_zalloc(sizeof *r);
    if (r != NULL) {
        pthread_mutex_init(&r->lock, NULL);
        pthread_cond_init(&r->changed, NULL);
        r->patience_ns = patience_ns;
    }
    return r;
}

static void room_close(struct room *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

static void room_set(struct room *r, enum sending state)
{
    pthread_mutex_lock(&r->lock);
    r->state = state;
    pthread_mutex_unlock(&r->lock);
}

static void end(struct exchange *x)
{
    exchange_end(x, 0, BYTES_LITERAL(""));
}

/* On the loop. */
static void on_writable(struct exchange *x, void *context)
{
    struct room *r = context;
    pthread_mutex_lock(&r->lock);
    bool has_left = r->state == SENDING_LEFT;
    if (!has_left) {
        r->state = SENDING_ROOM;
        pthread_cond_signal(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    if (has_left) {
        end(x);
        room_close(r);
    }
}

/* Wait for the loop's call. False: it took too long, and from now on all is the loop's. */
static bool wait_for_room(struct room *r)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    uint64_t until_ns = (uint64_t)until.tv_nsec + r->patience_ns;
    until.tv_sec += (time_t)(until_ns / NS_PER_S);
    until.tv_nsec = (long)(until_ns % NS_PER_S);
    int failure = 0;
    pthread_mutex_lock(&r->lock);
    while (r->state == SENDING_BUSY && failure == 0)
        failure = pthread_cond_timedwait(&r->changed, &r->lock, &until);
    bool has_room = r->state == SENDING_ROOM;
    r->state = has_room ? SENDING : SENDING_LEFT;
    pthread_mutex_unlock(&r->lock);
    return has_room;
}

/* A refused piece is gone, so what is sent is a copy. */
static enum err send_piece(struct scrape *s, struct bytes piece)
{
    for (;;) {
        struct buffer copy;
        buffer_init(&copy, SIZE_MAX);
        buffer_append_bytes(&copy, piece);
        if (buffer_error(&copy) != ERR_OK) {
            buffer_deinit(&copy);
            return ERR_NOMEM;
        }
        room_set(s->room,
                 SENDING_BUSY); /* before: the loop may be quicker than the call's return */
        enum err e = exchange_write(s->x, &copy);
        if (e != ERR_BUSY) {
            room_set(s->room, SENDING);
            return e;
        }
        s->is_lost = !wait_for_room(s->room);
        if (s->is_lost || atomic_load(exchange_cancelled(s->x)))
            return ERR_CANCELLED;
    }
}

void scrape_content_type(struct scrape *s, const char *content_type)
{
    s->head.content_type = content_type;
}

enum err scrape_write(void *scrape, struct buffer *take_piece)
{
    struct scrape *s = scrape;
    enum err e = ERR_OK;
    if (!s->has_begun) {
        buffer_append_bytes(&s->whole, buffer_bytes(take_piece));
        e = buffer_error(&s->whole);
        if (e == ERR_OK && s->whole.len > SCRAPE_WHOLE_BYTES) {
            s->has_begun = true;
            s->head.may_compress = false; /* it would take longer than all the rest */
            exchange_begin(s->x, &s->head, on_writable, s->room);
            e = send_piece(s, buffer_bytes(&s->whole));
            buffer_reset(&s->whole);
        }
    } else {
        e = send_piece(s, buffer_bytes(take_piece));
    }
    buffer_deinit(take_piece);
    return e;
}

static void refuse(struct exchange *x)
{
    static const struct http_header again = { BYTES_LITERAL("retry-after"), BYTES_LITERAL("1") };
    struct buffer none = { 0 };
    exchange_respond(x, &(struct response){ .status = 503, .headers = &again, .header_count = 1 },
                     &none);
}

/* A page that broke off must not look like one that is complete: no reader takes this line. */
static void spoil(struct scrape *s)
{
    (void)send_piece(s, BYTES_LITERAL("\n{the page broke off\n"));
}

static void answer(struct scrapes *all, struct exchange *x)
{
    struct scrape s = {
        .x = x,
        .head = { .status = 200, .headers = &vary, .header_count = 1, .may_compress = true },
        .room = room_open(all->patience_ns)
    };
    buffer_init(&s.whole, SIZE_MAX);
    enum err e = s.room == NULL ? ERR_NOMEM : all->make_page(&s, x, all->context);
    bool is_broken = e != ERR_OK && e != ERR_CANCELLED;
    if (is_broken)
        log_line(LOG_WARN, "collector", "the page of metrics: %s", err_text(e));
    if (s.has_begun && is_broken)
        spoil(&s);
    if (s.has_begun && !s.is_lost)
        end(x);
    else if (!s.has_begun && e == ERR_OK)
        exchange_respond(x, &s.head, &s.whole);
    else if (!s.has_begun)
        refuse(x);
    buffer_deinit(&s.whole);
    if (s.room != NULL && !s.is_lost)
        room_close(s.room);
}

/* ---- The thread and its queue ---- */

static struct exchange *next(struct scrapes *s)
{
    struct exchange *x = NULL;
    pthread_mutex_lock(&s->lock);
    while (s->count == 0 && !s->is_closing)
        pthread_cond_wait(&s->changed, &s->lock);
    if (s->count > 0) {
        x = s->waiting[s->first];
        s->first = (s->first + 1) % SCRAPES_WAITING_MAX;
        s->count--;
    }
    pthread_mutex_unlock(&s->lock);
    return x;
}

static bool is_closing(struct scrapes *s)
{
    pthread_mutex_lock(&s->lock);
    bool closing = s->is_closing;
    pthread_mutex_unlock(&s->lock);
    return closing;
}

static void *run(void *context)
{
    struct scrapes *s = context;
    struct exchange *x;
    while ((x = next(s)) != NULL) {
        if (is_closing(s))
            refuse(x);
        else
            answer(s, x);
    }
    return NULL;
}

enum err scrapes_open(scrape_page_fn *make_page, void *context, uint64_t patience_ns,
                      struct scrapes **out)
{
    struct scrapes *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->make_page = make_page;
    s->context = context;
    s->patience_ns = patience_ns == 0 ? SCRAPE_PATIENCE_NS : patience_ns;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        pthread_cond_destroy(&s->changed);
        pthread_mutex_destroy(&s->lock);
        mem_free(s);
        return ERR_NOMEM;
    }
    (void)pthread_setname_np(s->thread, "metrics");
    *out = s;
    return ERR_OK;
}

void scrapes_take(struct scrapes *s, struct exchange *x)
{
    pthread_mutex_lock(&s->lock);
    bool has_place = s->count < SCRAPES_WAITING_MAX && !s->is_closing;
    if (has_place) {
        s->waiting[(s->first + s->count++) % SCRAPES_WAITING_MAX] = x;
        pthread_cond_signal(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    if (!has_place)
        refuse(x);
}

void scrapes_close(struct scrapes *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}
