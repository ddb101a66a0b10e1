/* SPDX-License-Identifier: Apache-2.0 */
/* Locks, outermost first: watching (whether the engine tells us), the engine's own while it tells us, lock.
 * Listeners that have joined belong to the thread alone.
 *
 * T1  numbers are given to records in the order in which they come, none is given twice
 * T2  a listener is told each record from its first on that it wants, or of a `skipped` for it */
#include "query/log_tail.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/text.h"
#include "base/timed_wait.h"
#include "query/log_row.h"
#include "query/traceql.h"
#include "storage/otlp_row.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define WAITING_BYTES_MAX ((size_t)8 << 20)
#define KEPT_BYTES_MAX    ((size_t)256 << 10) /* as events they fit what net/ holds unsent */
#define FILTER_BYTES_MAX  ((size_t)256 << 10) /* of a listener: its text, and its tree */
#define LISTENER_BYTES    ((size_t)6 << 18) /* net/'s bound of unsent bytes, one event, the filter */
#define EVENT_BYTES_MAX   ((size_t)256 << 10)
#define ROWS_PER_SECOND   500 /* more cannot be read; the rest is counted */
#define LOOK_NS           (500 * NS_PER_MS)
/* Over HTTP/1.1 a listener that has left is noticed by the second write to it. */
#define ALIVE_NS           (5 * NS_PER_S)
#define UNWATCHED_AFTER_NS (30 * NS_PER_S) /* who comes back within it misses nothing */

/* A request's records, numbered from `first` on. */
struct told_body {
    struct told_body *next;
    uint64_t first, count;
    size_t len;
    uint8_t data[];
};

struct body_list {
    struct told_body *first, *last;
    size_t bytes;
};

enum skip_reason { SKIPPED_SLOW, SKIPPED_RATE, SKIPPED_LARGE, SKIPPED_BUSY, SKIP_REASONS };
static const char *const skip_words[] = { "slow", "rate", "large", "busy" };

struct log_tail_listener {
    struct log_tail_listener *next;
    struct exchange *x;
    struct arena arena; /* of the filter */
    struct expr *filter;
    bool has_last; /* comes back */
    uint64_t from; /* the first number that it is told */
    uint64_t skipped[SKIP_REASONS];
    unsigned rows_left; /* of this second */
    bool has_left;
};

struct log_tail {
    struct log_tail_options options;
    uint32_t process;
    pthread_t thread;
    pthread_mutex_t watching; /* guards is_watching */
    bool is_watching;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct body_list waiting;
    struct log_tail_listener *joining;
    unsigned listeners; /* also those that are being made */
    uint64_t next_number;
    uint64_t lost; /* records that found no room, not yet told */
    bool is_stopping;

    /* The thread's. */
    struct log_tail_listener *joined;
    struct body_list kept;
    uint64_t kept_from; /* from this number on nothing is missing */
    uint64_t second_ns, alive_ns, idle_since_ns;
    struct buffer event;
};

/* ---- Bodies ---- */

static void list_push(struct body_list *l, struct told_body *b)
{
    b->next = NULL;
    if (l->first == NULL)
        l->first = b;
    else
        l->last->next = b;
    l->last = b;
    l->bytes += b->len;
}

static struct told_body *list_pop(struct body_list *l)
{
    struct told_body *b = l->first;
    if (b == NULL)
        return NULL;
    l->first = b->next;
    l->bytes -= b->len;
    return b;
}

static void list_clear(struct body_list *l)
{
    while (l->first != NULL)
        mem_free(list_pop(l));
}

/* The newest, as much as there is room for. */
static void keep(struct log_tail *t, struct told_body *take)
{
    list_push(&t->kept, take);
    while (t->kept.bytes > KEPT_BYTES_MAX) {
        struct told_body *oldest = list_pop(&t->kept);
        t->kept_from = oldest->first + oldest->count;
        mem_free(oldest);
    }
}

static void keep_nothing(struct log_tail *t)
{
    list_clear(&t->kept);
    pthread_mutex_lock(&t->lock);
    t->kept_from = ++t->next_number; /* one that nobody has seen stands for all */
    pthread_mutex_unlock(&t->lock);
}

/* The engine's writer: copy and leave. */
static void on_stored(void *context, enum signal signal, struct bytes body, uint64_t items)
{
    struct log_tail *t = context;
    if (signal != SIGNAL_LOGS)
        return;
    struct told_body *b = body.len <= WAITING_BYTES_MAX ? mem_alloc(sizeof *b + body.len) : NULL;
    pthread_mutex_lock(&t->lock);
    uint64_t first = t->next_number;
    t->next_number += items; /* T1 */
    bool has_room = b != NULL && body.len <= WAITING_BYTES_MAX - t->waiting.bytes;
    if (has_room) {
        b->first = first;
        b->count = items;
        b->len = body.len;
        memcpy(b->data, body.data, body.len);
        list_push(&t->waiting, b);
    } else {
        t->lost += items;
    }
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (!has_room)
        mem_free(b);
}

/* ---- Events ---- */

static void give_place(struct log_tail *t)
{
    if (t->options.budget != NULL)
        budget_release(t->options.budget, LISTENER_BYTES);
    pthread_mutex_lock(&t->lock);
    assert(t->listeners > 0);
    t->listeners--;
    pthread_mutex_unlock(&t->lock);
}

static void listener_free(struct log_tail_listener *l)
{
    expr_deinit(l->filter);
    arena_deinit(&l->arena);
    mem_free(l);
}

/* False: not now. */
static bool tell(struct log_tail_listener *l, struct bytes event)
{
    struct buffer piece;
    if (l->has_left)
        return false;
    buffer_init(&piece, event.len);
    buffer_append_bytes(&piece, event);
    enum err e = exchange_write(l->x, &piece);
    if (e == ERR_CANCELLED)
        l->has_left = true;
    return e == ERR_OK;
}

static void write_skipped(struct buffer *out, const uint64_t *n, const char *reason)
{
    struct json_writer j;
    buffer_append_text(out, "event: skipped\ndata: ");
    json_init(&j, out);
    json_object_begin(&j);
    json_key(&j, "n");
    if (n == NULL)
        json_null(&j);
    else
        json_u64(&j, *n);
    json_key(&j, "reason");
    json_text(&j, reason);
    json_object_end(&j);
    buffer_append_text(out, "\n\n");
}

static void tell_skipped(struct log_tail_listener *l)
{
    for (size_t i = 0; i < SKIP_REASONS; i++) {
        struct buffer event;
        if (l->skipped[i] == 0)
            continue;
        buffer_init(&event, 256);
        write_skipped(&event, &l->skipped[i], skip_words[i]);
        if (tell(l, buffer_bytes(&event)))
            l->skipped[i] = 0;
        buffer_deinit(&event);
    }
}

/* The event of a record, made when the first listener wants it. False: too large. */
static bool make_event(struct log_tail *t, uint64_t number, const struct otlp_items *at)
{
    const struct log_row row = { .resource = at->resource.resource,
                                 .scope = at->scope.scope,
                                 .log = at->item,
                                 .resource_schema_url = at->resource.schema_url,
                                 .scope_schema_url = at->scope.schema_url };
    struct json_writer j;
    if (t->event.len > 0 || t->event.error != ERR_OK)
        return t->event.error == ERR_OK;
    buffer_printf(&t->event, "id: %08x-%llu\nevent: row\ndata: ", t->process,
                  (unsigned long long)number);
    json_init(&j, &t->event);
    log_row_write(&j, &row, EVENT_BYTES_MAX);
    buffer_append_text(&t->event, "\n\n");
    return t->event.error == ERR_OK;
}

static void tell_row(struct log_tail *t, struct log_tail_listener *l, uint64_t number,
                     const struct otlp_items *at)
{
    if (l->rows_left == 0) {
        l->skipped[SKIPPED_RATE]++;
        return;
    }
    if (!make_event(t, number, at)) {
        l->skipped[SKIPPED_LARGE]++;
        return;
    }
    tell_skipped(l); /* before what came after it */
    if (tell(l, buffer_bytes(&t->event)))
        l->rows_left--;
    else
        l->skipped[SKIPPED_SLOW]++;
}

static void tell_body(struct log_tail *t, struct log_tail_listener *only, const struct told_body *b)
{
    struct otlp_row row;
    struct otlp_items it = otlp_items(bytes_of(b->data, b->len));
    otlp_row_init(&row, SIGNAL_LOGS);
    for (uint64_t number = b->first; otlp_items_next(&it); number++) {
        otlp_row_set(&row, it.resource.resource, it.scope.scope, it.item);
        buffer_reset(&t->event);
        for (struct log_tail_listener *l = only != NULL ? only : t->joined; l != NULL;
             l = only != NULL ? NULL : l->next)
            if (number >= l->from && !l->has_left &&
                expr_evaluate(l->filter, &row.row) == EXPR_TRUE)
                tell_row(t, l, number, &it);
    }
    otlp_row_deinit(&row);
}

/* ---- Coming and going ---- */

/* Who comes back is told what it missed, as far as that is kept, or that it is not. */
static void welcome(struct log_tail *t, struct log_tail_listener *l)
{
    l->rows_left = ROWS_PER_SECOND;
    if (l->has_last && l->from < t->kept_from) {
        struct buffer event;
        buffer_init(&event, 256);
        write_skipped(&event, NULL, "resume");
        (void)tell(l, buffer_bytes(&event));
        buffer_deinit(&event);
    }
    for (const struct told_body *b = t->kept.first; b != NULL; b = b->next)
        if (b->first + b->count > l->from)
            tell_body(t, l, b);
}

static void leave(struct log_tail *t, struct log_tail_listener **link)
{
    struct log_tail_listener *l = *link;
    *link = l->next;
    exchange_end(l->x, 0, (struct bytes){ 0 });
    listener_free(l);
    give_place(t);
}

static void look_after(struct log_tail *t, uint64_t now_ns)
{
    bool is_second = now_ns - t->second_ns >= NS_PER_S;
    bool is_alive_due = now_ns - t->alive_ns >= t->options.alive_ns;
    for (struct log_tail_listener **at = &t->joined; *at != NULL;) {
        struct log_tail_listener *l = *at;
        if (is_second)
            l->rows_left = ROWS_PER_SECOND;
        tell_skipped(l);
        if (is_alive_due)
            (void)tell(l, BYTES_LITERAL(": alive\n\n"));
        l->has_left |= atomic_load_explicit(exchange_cancelled(l->x), memory_order_relaxed);
        if (l->has_left)
            leave(t, at);
        else
            at = &l->next;
    }
    t->second_ns = is_second ? now_ns : t->second_ns;
    t->alive_ns = is_alive_due ? now_ns : t->alive_ns;
}

/* Nobody listens, and nobody came back for a while: the engine need not tell us. */
static void rest(struct log_tail *t, uint64_t now_ns)
{
    pthread_mutex_lock(&t->watching);
    pthread_mutex_lock(&t->lock);
    bool is_idle = t->listeners == 0;
    pthread_mutex_unlock(&t->lock);
    if (!is_idle || t->idle_since_ns == 0)
        t->idle_since_ns = now_ns;
    if (is_idle && t->is_watching && now_ns - t->idle_since_ns >= UNWATCHED_AFTER_NS) {
        engine_watch(t->options.engine, NULL, NULL);
        t->is_watching = false;
        keep_nothing(t);
    }
    pthread_mutex_unlock(&t->watching);
}

/* ---- The thread ---- */

/* What has come since the last look; taken under the lock. */
struct news {
    struct body_list bodies;
    struct log_tail_listener *joining;
    uint64_t lost;
    bool is_stopping;
};

static void wait_for_news(struct log_tail *t, bool is_idle, struct news *out)
{
    pthread_mutex_lock(&t->lock);
    const struct timespec until = timed_wait_until(LOOK_NS);
    int waited = 0;
    while (t->waiting.first == NULL && t->joining == NULL && t->lost == 0 && !t->is_stopping &&
           waited == 0)
        waited = is_idle ? pthread_cond_wait(&t->changed, &t->lock)
                         : pthread_cond_timedwait(&t->changed, &t->lock, &until);
    *out = (struct news){ t->waiting, t->joining, t->lost, t->is_stopping };
    t->waiting = (struct body_list){ 0 };
    t->joining = NULL;
    t->lost = 0;
    pthread_mutex_unlock(&t->lock);
}

static void take_news(struct log_tail *t, struct news *n)
{
    /* Bodies first to those who were there: who joined since has been given its first number. */
    struct told_body *b;
    while (n->joining != NULL) {
        struct log_tail_listener *l = n->joining;
        n->joining = l->next;
        l->next = t->joined;
        t->joined = l;
        welcome(t, l);
    }
    while ((b = list_pop(&n->bodies)) != NULL) {
        tell_body(t, NULL, b);
        keep(t, b);
    }
    for (struct log_tail_listener *l = t->joined; l != NULL && n->lost > 0; l = l->next)
        l->skipped[SKIPPED_BUSY] += n->lost;
    if (n->lost > 0)
        keep_nothing(t);
}

static void end_all(struct log_tail *t)
{
    while (t->joined != NULL)
        leave(t, &t->joined);
}

static void *run(void *context)
{
    struct log_tail *t = context;
    for (;;) {
        struct news n;
        pthread_mutex_lock(&t->watching);
        bool is_idle = !t->is_watching;
        pthread_mutex_unlock(&t->watching);
        wait_for_news(t, is_idle, &n);
        take_news(t, &n);
        if (n.is_stopping)
            break;
        uint64_t now_ns = clock_mono_ns();
        look_after(t, now_ns);
        rest(t, now_ns);
    }
    end_all(t);
    return NULL;
}

enum err log_tail_open(const struct log_tail_options *options, struct log_tail **out)
{
    struct log_tail *t = mem_zalloc(sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->options = *options;
    if (t->options.alive_ns == 0)
        t->options.alive_ns = ALIVE_NS;
    t->next_number = t->kept_from = 1;
    t->alive_ns = t->second_ns = clock_mono_ns();
    if (random_system(&t->process, sizeof t->process) != ERR_OK)
        t->process = (uint32_t)clock_unix_ns();
    buffer_init(&t->event, EVENT_BYTES_MAX);
    timed_wait_init(&t->changed);
    pthread_mutex_init(&t->watching, NULL);
    pthread_mutex_init(&t->lock, NULL);
    if (pthread_create(&t->thread, NULL, run, t) != 0) {
        pthread_cond_destroy(&t->changed);
        pthread_mutex_destroy(&t->watching);
        pthread_mutex_destroy(&t->lock);
        mem_free(t);
        return ERR_NOMEM;
    }
    (void)pthread_setname_np(t->thread, "log tail");
    *out = t;
    return ERR_OK;
}

void log_tail_drain(struct log_tail *t)
{
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    bool was_stopping = t->is_stopping;
    t->is_stopping = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (!was_stopping)
        (void)pthread_join(t->thread, NULL);
}

void log_tail_close(struct log_tail *t)
{
    if (t == NULL)
        return;
    log_tail_drain(t);
    if (t->is_watching)
        engine_watch(t->options.engine, NULL, NULL);
    assert(t->joined == NULL && t->joining == NULL && t->listeners == 0);
    list_clear(&t->waiting);
    list_clear(&t->kept);
    buffer_deinit(&t->event);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->watching);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}

/* ---- Joining ---- */

bool log_tail_id_parse(struct bytes text, struct log_tail_id *out)
{
    struct log_tail_id id;
    uint8_t process[4];
    if (text.len < 10 || text.data[8] != '-' ||
        !text_hex_parse(bytes_slice(text, 0, 8), process, sizeof process) ||
        !text_u64_parse(bytes_slice(text, 9, SIZE_MAX), &id.number))
        return false;
    id.process = load_be32(process);
    *out = id;
    return true;
}

/* A place among those that listen. */
static enum err take_place(struct log_tail *t)
{
    if (t->options.budget != NULL && !budget_reserve(t->options.budget, LISTENER_BYTES))
        return ERR_BUSY;
    pthread_mutex_lock(&t->lock);
    bool has_room = t->listeners < t->options.listeners_max;
    enum err e = t->is_stopping ? ERR_STOPPING : has_room ? ERR_OK : ERR_BUSY;
    t->listeners++;
    pthread_mutex_unlock(&t->lock);
    if (e != ERR_OK)
        give_place(t);
    return e;
}

static enum err read_filter(struct log_tail_listener *l, struct bytes text,
                            struct traceql_error *out_error)
{
    struct bytes copy;
    if (text.len == 0)
        return ERR_OK;
    enum err e = arena_dup(&l->arena, text, &copy);
    return e == ERR_OK ? traceql_parse(&l->arena, SIGNAL_LOGS, copy, &l->filter, out_error) : e;
}

enum err log_tail_listener_new(struct log_tail *t, struct bytes filter,
                               struct traceql_error *out_error, struct log_tail_listener **out)
{
    struct log_tail_listener *l = mem_zalloc(sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    arena_init(&l->arena, FILTER_BYTES_MAX, NULL);
    enum err e = read_filter(l, filter, out_error);
    if (e == ERR_OK)
        e = take_place(t);
    if (e != ERR_OK) {
        listener_free(l);
        return e;
    }
    *out = l;
    return ERR_OK;
}

static void watch(struct log_tail *t)
{
    pthread_mutex_lock(&t->watching);
    if (!t->is_watching)
        engine_watch(t->options.engine, on_stored, t);
    t->is_watching = true;
    pthread_mutex_unlock(&t->watching);
}

void log_tail_join(struct log_tail *t, struct log_tail_listener *take_listener, struct exchange *x,
                   struct bytes last_event_id)
{
    struct log_tail_listener *l = take_listener;
    struct log_tail_id last;
    const struct http_header headers[] = {
        { BYTES_LITERAL("cache-control"), BYTES_LITERAL("no-store") },
        { BYTES_LITERAL("x-content-type-options"), BYTES_LITERAL("nosniff") },
        { BYTES_LITERAL("x-accel-buffering"), BYTES_LITERAL("no") },
    };
    const struct response head = { .status = 200,
                                   .content_type = "text/event-stream",
                                   .headers = headers,
                                   .header_count = sizeof headers / sizeof headers[0] };
    bool is_known = log_tail_id_parse(last_event_id, &last) && last.process == t->process;
    watch(t); /* before anybody is told that it listens */
    l->has_last = last_event_id.len > 0;
    l->x = x;
    exchange_begin(x, &head, NULL, NULL);
    (void)tell(l, BYTES_LITERAL(": ready\n\n"));
    pthread_mutex_lock(&t->lock);
    l->from = is_known && last.number < t->next_number ? last.number + 1 : t->next_number;
    if (l->has_last && !is_known)
        l->from = 0; /* of another process: all that is kept may be new */
    bool is_stopping = t->is_stopping;
    if (!is_stopping) {
        l->next = t->joining;
        t->joining = l;
    }
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    if (is_stopping) {
        exchange_end(x, 0, (struct bytes){ 0 });
        listener_free(l);
        give_place(t);
    }
}
