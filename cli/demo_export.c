/* SPDX-License-Identifier: Apache-2.0 */
/* Each pod batches as an SDK does: a request leaves when 512 items wait, or a second after the
 * first of them. What cannot be delivered waits and is sent again, up to a bound; past it, it is
 * dropped and counted. */
#include "base/mem.h"
#include "cli/demo.h"
#include "proto/pb_writer.h"

#include <assert.h>
#include <stdio.h>

#define BATCH_ITEMS       512u
#define BATCH_DELAY_NS    NS_PER_S
#define BATCH_BYTES_MAX   (4u << 20)
#define PENDING_ITEMS_MAX 200000u /* some 100 MB: enough for minutes without a server */
#define RETRY_FIRST_NS    (500 * NS_PER_MS)
#define RETRY_LAST_NS     (5 * NS_PER_S)
#define IN_FLIGHT         8u

/* A request: under way, or waiting to be sent again. */
struct batch {
    struct client_call call; /* first: on_done gets it back */
    struct demo *demo;
    struct buffer body;
    bool is_log;
    size_t items;
    uint64_t retry_unix_ns, retry_delay_ns;
    struct batch *next_retry;
};

struct demo_export {
    struct client *client;
    char authorization[1024];
    struct demo_totals totals;
    size_t pending;
    struct batch *retries;
    bool has_last_failed; /* of all requests */
    bool is_failing
        [SIGNAL_COUNT]; /* the last answer was none or a refusal: said once, until it works */
};

/* ---- The heap of what has not ended yet
 * ----------------------------------------------------------------------- */

static bool leaves_before(const struct demo_item *a, const struct demo_item *b)
{
    return a->due_unix_ns != b->due_unix_ns ? a->due_unix_ns < b->due_unix_ns
                                            : a->number < b->number;
}

static bool heap_push(struct demo *d, struct demo_item *item)
{
    if (d->heap_count == d->heap_capacity) {
        size_t capacity = d->heap_capacity == 0 ? 1024 : d->heap_capacity * 2;
        struct demo_item **heap = mem_realloc(d->heap, capacity * sizeof(struct demo_item *));
        if (heap == NULL)
            return false;
        d->heap = heap;
        d->heap_capacity = capacity;
    }
    size_t i = d->heap_count++;
    while (i > 0 && leaves_before(item, d->heap[(i - 1) / 2])) {
        d->heap[i] = d->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    d->heap[i] = item;
    return true;
}

static struct demo_item *heap_pop(struct demo *d)
{
    struct demo_item *out = d->heap[0], *last = d->heap[--d->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= d->heap_count)
            break;
        if (child + 1 < d->heap_count && leaves_before(d->heap[child + 1], d->heap[child]))
            child++;
        if (!leaves_before(d->heap[child], last))
            break;
        d->heap[i] = d->heap[child];
        i = child;
    }
    d->heap[i] = last;
    return out;
}

void demo_export_add(struct demo *d, uint64_t due_unix_ns, unsigned pod, enum demo_scope scope,
                     bool is_log, struct bytes message)
{
    struct demo_export *x = d->export;
    struct demo_item *item =
        x->pending < PENDING_ITEMS_MAX ? mem_alloc(sizeof *item + message.len) : NULL;
    if (item == NULL) {
        x->totals.dropped++;
        return;
    }
    uint8_t *copy = (uint8_t *)(item + 1);
    memcpy(copy, message.data, message.len);
    *item = (struct demo_item){ .due_unix_ns = due_unix_ns,
                                .number = d->item_number++,
                                .pod = pod,
                                .scope = (uint8_t)scope,
                                .is_log = is_log,
                                .message = bytes_of(copy, message.len) };
    if (!heap_push(d, item)) {
        mem_free(item);
        x->totals.dropped++;
        return;
    }
    x->pending++;
}

static void move_ended(struct demo *d, uint64_t now)
{
    while (d->heap_count > 0 && d->heap[0]->due_unix_ns <= now) {
        struct demo_item *item = heap_pop(d);
        struct demo_queue *q =
            &d->pods[item->pod].queues[item->is_log ? SIGNAL_LOGS : SIGNAL_TRACES];
        if (q->first == NULL) {
            q->first = item;
            q->flush_unix_ns = now + BATCH_DELAY_NS;
        } else {
            q->last->next = item;
        }
        q->last = item;
        q->count++;
    }
}

/* ---- Requests
 * ----------------------------------------------------------------------------------------------------
 */

static void batch_free(struct batch *b)
{
    buffer_deinit(&b->body);
    mem_free(b);
}

/* Resource, then a group for each scope that has items among the first `count` of the list. */
static void write_body(const struct demo *d, const struct demo_pod *pod,
                       const struct demo_item *first, size_t count, struct buffer *out)
{
    enum demo_language language = demo_services[pod->service].language;
    size_t group = pb_begin(out, OTLP_DATA_RESOURCE_GROUPS);
    pb_bytes(out, 1, pod->resource);
    for (unsigned scope = 0; scope < SCOPE_COUNT; scope++) {
        size_t scope_group = 0, n = 0;
        const struct demo_item *item = first;
        for (size_t i = 0; i < count; i++, item = item->next) {
            if (item->scope != scope)
                continue;
            if (n++ == 0) {
                scope_group = pb_begin(out, OTLP_GROUP_SCOPE_GROUPS);
                pb_bytes(out, 1, d->scopes[language][scope]);
            }
            pb_bytes(out, OTLP_SCOPE_ITEMS, item->message);
        }
        if (n > 0)
            pb_end(out, scope_group);
    }
    pb_end(out, group);
}

static void send_again_later(struct batch *b, uint64_t after_ns)
{
    struct demo_export *x = b->demo->export;
    uint64_t wait_ns = after_ns != 0 ? after_ns : b->retry_delay_ns;
    b->retry_delay_ns =
        b->retry_delay_ns * 2 < RETRY_LAST_NS ? b->retry_delay_ns * 2 : RETRY_LAST_NS;
    b->retry_unix_ns = clock_unix_ns() + wait_ns;
    b->next_retry = x->retries;
    x->retries = b;
}

/* Say once that the server does not answer or refuses, and once that it does again. */
static void tell(struct demo *d, enum signal signal, const struct client_result *result, bool is_ok)
{
    bool *is_failing = &d->export->is_failing[signal];
    d->export->has_last_failed = !is_ok;
    if (is_ok == !*is_failing)
        return;
    *is_failing = !is_ok;
    if (is_ok)
        fprintf(stderr, "spindle demo: %s takes %s again\n", d->options->endpoint,
                signal_name(signal));
    else if (result->error != ERR_OK)
        fprintf(stderr, "spindle demo: %s does not take %s (%s); trying again until it does\n",
                d->options->endpoint, signal_name(signal), client_result_text(result));
    else
        fprintf(stderr, "spindle demo: %s refuses %s with gRPC status %d: %.*s\n",
                d->options->endpoint, signal_name(signal), result->grpc_status,
                (int)(result->message.len < 200 ? result->message.len : 200),
                result->message.len == 0 ? "" : (const char *)result->message.data);
}

static void on_done(struct client_call *call, const struct client_result *result)
{
    struct batch *b = (struct batch *)call;
    struct demo_export *x = b->demo->export;
    bool is_ok = result->error == ERR_OK && result->grpc_status == 0;
    if (result->error == ERR_CANCELLED) { /* we are closing */
        x->totals.dropped += b->items;
        x->pending -= b->items;
        batch_free(b);
        return;
    }
    tell(b->demo, b->is_log ? SIGNAL_LOGS : SIGNAL_TRACES, result, is_ok);
    if (!is_ok && client_result_is_retryable(result)) {
        send_again_later(b, result->retry_after_ns);
        return;
    }
    if (!is_ok)
        x->totals.dropped += b->items;
    else if (b->is_log)
        x->totals.logs += b->items;
    else
        x->totals.spans += b->items;
    x->pending -= b->items;
    batch_free(b);
}

static void drop_first(struct demo_queue *q, size_t count)
{
    while (count-- > 0) {
        struct demo_item *item = q->first;
        q->first = item->next;
        q->count--;
        mem_free(item);
    }
    if (q->first == NULL)
        q->last = NULL;
}

static void send_batch(struct demo *d, struct demo_pod *pod, enum signal signal)
{
    static const char *const paths[SIGNAL_COUNT] = {
        [SIGNAL_TRACES] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        [SIGNAL_LOGS] = "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    };
    struct demo_export *x = d->export;
    struct demo_queue *q = &pod->queues[signal];
    size_t count = q->count < BATCH_ITEMS ? q->count : BATCH_ITEMS;
    struct batch *b = mem_zalloc(sizeof *b);
    if (b != NULL) {
        buffer_init(&b->body, BATCH_BYTES_MAX);
        write_body(d, pod, q->first, count, &b->body);
    }
    drop_first(q, count);
    if (b == NULL || buffer_error(&b->body) != ERR_OK) {
        x->totals.dropped += count;
        x->pending -= count;
        if (b != NULL)
            batch_free(b);
        return;
    }
    b->demo = d;
    b->items = count;
    b->is_log = signal == SIGNAL_LOGS;
    b->retry_delay_ns = RETRY_FIRST_NS;
    b->call = (struct client_call){ .path = paths[signal],
                                    .body = buffer_bytes(&b->body),
                                    .on_done = on_done };
    client_send(x->client, &b->call);
}

static void send_retries(struct demo_export *x, uint64_t now)
{
    struct batch *due = x->retries;
    x->retries = NULL;
    while (due != NULL) {
        struct batch *b = due;
        due = b->next_retry;
        if (b->retry_unix_ns <= now) {
            client_send(x->client, &b->call);
        } else {
            b->next_retry = x->retries;
            x->retries = b;
        }
    }
}

void demo_export_send(struct demo *d, uint64_t now, bool everything)
{
    move_ended(d, now);
    send_retries(d->export, now);
    for (unsigned i = 0; i < d->pod_count; i++) {
        for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++) {
            struct demo_queue *q = &d->pods[i].queues[signal];
            while (q->count > 0 &&
                   (everything || q->count >= BATCH_ITEMS || now >= q->flush_unix_ns)) {
                send_batch(d, &d->pods[i], (enum signal)signal);
                q->flush_unix_ns = now + BATCH_DELAY_NS;
            }
        }
    }
}

size_t demo_export_pending(const struct demo *d)
{
    return d->export->pending;
}

bool demo_export_is_failing(const struct demo *d)
{
    return d->export->has_last_failed;
}

void demo_export_totals(const struct demo *d, struct demo_totals *out)
{
    *out = d->export->totals;
}

struct client *demo_export_client(struct demo *d)
{
    return d->export->client;
}

enum err demo_export_open(struct demo *d)
{
    struct demo_export *x = mem_zalloc(sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    const struct demo_options *o = d->options;
    if (o->token != NULL)
        snprintf(x->authorization, sizeof x->authorization, "Bearer %s", o->token);
    const struct client_options options = {
        .endpoint = o->endpoint,
        .protocol = CLIENT_GRPC,
        .connections = 1,
        .in_flight_per_connection = IN_FLIGHT,
        .timeout_ns = 10 * NS_PER_S,
        .authorization = o->token == NULL ? NULL : x->authorization,
    };
    enum err e = client_open(&options, &x->client);
    if (e != ERR_OK) {
        mem_free(x);
        return e;
    }
    d->export = x;
    return ERR_OK;
}

void demo_export_close(struct demo *d)
{
    struct demo_export *x = d->export;
    if (x == NULL)
        return;
    client_close(x->client);
    while (x->retries != NULL) {
        struct batch *b = x->retries;
        x->retries = b->next_retry;
        batch_free(b);
    }
    while (d->heap_count > 0)
        mem_free(heap_pop(d));
    mem_free(d->heap);
    for (unsigned i = 0; i < d->pod_count; i++) {
        for (unsigned signal = 0; signal < SIGNAL_COUNT; signal++)
            drop_first(&d->pods[i].queues[signal], d->pods[i].queues[signal].count);
    }
    mem_free(x);
    d->export = NULL;
}
