/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/testing/ledger.h"

#include "base/mem.h"
#include "base/random.h"
#include "proto/pb_writer.h"
#include "storage/content_hash.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BASE_UNIX_NS UINT64_C(1760000000000000000)

void ledger_init(struct ledger *l, uint64_t seed, size_t capacity)
{
    *l = (struct ledger){ .seed = seed, .capacity = capacity, .ack_fd = -1 };
    l->outcomes = calloc(capacity, sizeof *l->outcomes);
    assert(l->outcomes != NULL);
}

void ledger_deinit(struct ledger *l)
{
    free(l->outcomes);
    *l = (struct ledger){ 0 };
}

/* ---- Making batches ---- */

enum signal ledger_signal(const struct ledger *l, size_t number)
{
    (void)l;
    return number % 4 == 3 ? SIGNAL_LOGS : SIGNAL_TRACES;
}

static void random_of(const struct ledger *l, size_t number, struct random *out)
{
    random_init(out, random_mix64(l->seed) ^ random_mix64(number + 1));
}

/* Trace t of the ledger: neighbouring batches share some. */
static void trace_id_of(const struct ledger *l, uint64_t trace, struct trace_id *out)
{
    store_le64(out->b, random_mix64(l->seed ^ random_mix64(trace)) | 1);
    store_le64(out->b + 8, random_mix64(trace + l->seed * 7));
}

static void attribute(struct buffer *b, uint32_t field, const char *key, struct bytes text)
{
    size_t pair = pb_begin(b, field);
    pb_bytes(b, 1, bytes_text(key));
    size_t value = pb_begin(b, 2);
    pb_bytes(b, 1, text);
    pb_end(b, value);
    pb_end(b, pair);
}

static void attribute_int(struct buffer *b, uint32_t field, const char *key, uint64_t v)
{
    size_t pair = pb_begin(b, field);
    pb_bytes(b, 1, bytes_text(key));
    size_t value = pb_begin(b, 2);
    pb_uint(b, 3, v);
    pb_end(b, value);
    pb_end(b, pair);
}

static void span_write(const struct ledger *l, struct random *r, size_t number, uint64_t item,
                       struct buffer *b)
{
    static const char *const names[] = { "GET /", "SELECT", "checkout", "render" };
    struct trace_id trace;
    trace_id_of(l, number / 2 + random_below(r, 3), &trace);
    uint8_t id[8];
    store_le64(id, random_mix64(l->seed ^ (number * 1000 + item)) | 1);
    uint64_t start = BASE_UNIX_NS + number * NS_PER_MS + random_below(r, 5 * NS_PER_MS);
    size_t span = pb_begin(b, OTLP_SCOPE_ITEMS);
    pb_bytes(b, 1, bytes_of(trace.b, sizeof trace.b));
    pb_bytes(b, 2, bytes_of(id, sizeof id));
    if (random_below(r, 3) != 0) {
        uint8_t parent[8];
        store_le64(parent, random_mix64(l->seed ^ (number * 1000 + random_below(r, 4))) | 1);
        pb_bytes(b, 4, bytes_of(parent, sizeof parent));
    }
    pb_bytes(b, 5, bytes_text(names[random_below(r, 4)]));
    pb_uint(b, 6, 1 + random_below(r, 5));
    pb_fixed64(b, 7, start);
    pb_fixed64(b, 8, start + random_below(r, NS_PER_S));
    attribute_int(b, 9, "batch", number);
    char text[64];
    int len = snprintf(text, sizeof text, "value %llu", (unsigned long long)random_below(r, 1000));
    attribute(b, 9, "text", bytes_of(text, (size_t)len));
    if (random_below(r, 8) == 0) {
        size_t status = pb_begin(b, 15);
        pb_uint(b, 3, 2);
        pb_end(b, status);
    }
    pb_end(b, span);
}

static void log_write(const struct ledger *l, struct random *r, size_t number, uint64_t item,
                      struct buffer *b)
{
    struct trace_id trace;
    trace_id_of(l, number / 2 + random_below(r, 3), &trace);
    size_t log = pb_begin(b, OTLP_SCOPE_ITEMS);
    pb_fixed64(b, 1, BASE_UNIX_NS + number * NS_PER_MS + random_below(r, NS_PER_MS));
    pb_uint(b, 2, 1 + random_below(r, 20));
    size_t body = pb_begin(b, 5);
    char text[64];
    int len =
        snprintf(text, sizeof text, "record %zu of batch %llu", number, (unsigned long long)item);
    pb_bytes(b, 1, bytes_of(text, (size_t)len));
    pb_end(b, body);
    attribute_int(b, 6, "batch", number);
    pb_bytes(b, 9, bytes_of(trace.b, sizeof trace.b));
    pb_end(b, log);
}

void ledger_body(const struct ledger *l, size_t number, struct buffer *out, uint64_t *out_items)
{
    struct random r;
    random_of(l, number, &r);
    enum signal signal = ledger_signal(l, number);
    uint64_t items = 1 + random_below(&r, 12);
    size_t group = pb_begin(out, OTLP_DATA_RESOURCE_GROUPS);
    size_t resource = pb_begin(out, 1);
    char text[32];
    int len = snprintf(text, sizeof text, "service-%zu", number % 3);
    attribute(out, 1, "service.name", bytes_of(text, (size_t)len));
    pb_end(out, resource);
    size_t scope_group = pb_begin(out, OTLP_GROUP_SCOPE_GROUPS);
    size_t scope = pb_begin(out, 1);
    pb_bytes(out, 1, BYTES_LITERAL("ledger"));
    pb_end(out, scope);
    for (uint64_t i = 0; i < items; i++) {
        if (signal == SIGNAL_TRACES)
            span_write(l, &r, number, i, out);
        else
            log_write(l, &r, number, i, out);
    }
    pb_end(out, scope_group);
    pb_end(out, group);
    *out_items = items;
}

/* ---- Sending ---- */

struct completion {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t left;
};

struct ledger_append {
    struct append append; /* first */
    struct completion *completion;
    enum err result;
    size_t first, count; /* batches in it */
    int ack_fd;
};

/* From the engine's own thread, so that whoever reads knows it as soon as a client could. */
static void ack_write(const struct ledger_append *la)
{
    for (uint64_t n = la->first; la->ack_fd >= 0 && n < la->first + la->count; n++) {
        ssize_t written = write(la->ack_fd, &n, sizeof n);
        (void)written;
    }
}

static void on_done(struct append *a, enum err result)
{
    struct ledger_append *la = (struct ledger_append *)(void *)a;
    struct completion *c = la->completion;
    if (result == ERR_OK)
        ack_write(la);
    (void)pthread_mutex_lock(&c->lock);
    la->result = result;
    c->left--;
    (void)pthread_cond_signal(&c->changed);
    (void)pthread_mutex_unlock(&c->lock);
}

/* The test's own memory must not fail when the engine's is made to: allocate outside of it. */
struct append *ledger_append_make(const struct ledger *l, size_t first, size_t count)
{
    struct ledger_append *la = calloc(1, sizeof *la);
    assert(la != NULL);
    struct append *a = &la->append;
    la->first = first;
    la->count = count;
    la->ack_fd = l->ack_fd;
    struct buffer body, journal;
    buffer_init(&body, SIZE_MAX);
    buffer_init(&journal, SIZE_MAX);
    a->signal = ledger_signal(l, first);
    for (size_t i = first; i < first + count; i++) {
        uint64_t items = 0;
        assert(ledger_signal(l, i) == a->signal);
        ledger_body(l, i, &body, &items);
        a->items += items;
    }
    arena_init(&a->arena, SIZE_MAX, NULL);
    enum err e = arena_dup(&a->arena, buffer_bytes(&body), &a->body);
    if (e == ERR_OK && first % 2 == 0) {
        e = codec_compress(CODEC_GZIP, 0, a->body, &journal);
        if (e == ERR_OK)
            e = arena_dup(&a->arena, buffer_bytes(&journal), &a->journal);
        a->journal_codec = CODEC_GZIP;
    }
    assert(e == ERR_OK);
    a->request_hash =
        (struct hash128){ random_mix64(l->seed + 1000 * first), random_mix64(first) + count };
    a->arrival_unix_ns = clock_unix_ns();
    a->on_done = on_done;
    buffer_deinit(&body);
    buffer_deinit(&journal);
    return a;
}

void ledger_append_free(struct append *a)
{
    arena_deinit(&a->arena);
    free(a);
}

void ledger_send_many(struct engine *e, struct append **appends, size_t count, enum err *results)
{
    struct completion c = { .left = count };
    (void)pthread_mutex_init(&c.lock, NULL);
    (void)pthread_cond_init(&c.changed, NULL);
    for (size_t i = 0; i < count; i++) {
        ((struct ledger_append *)(void *)appends[i])->completion = &c;
        engine_append(e, appends[i]);
    }
    (void)pthread_mutex_lock(&c.lock);
    while (c.left > 0)
        (void)pthread_cond_wait(&c.changed, &c.lock);
    (void)pthread_mutex_unlock(&c.lock);
    for (size_t i = 0; i < count; i++)
        results[i] = ((struct ledger_append *)(void *)appends[i])->result;
    (void)pthread_mutex_destroy(&c.lock);
    (void)pthread_cond_destroy(&c.changed);
}

enum err ledger_send(struct engine *e, struct append *a)
{
    enum err result = ERR_IO;
    ledger_send_many(e, &a, 1, &result);
    return result;
}

uint64_t ledger_operations_spans(struct engine *e)
{
    struct arena arena;
    struct bytes *names = NULL;
    size_t count = 0;
    uint64_t spans = 0;
    arena_init(&arena, (size_t)16 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    enum err error = engine_services(e, &q, &names, &count);
    for (size_t i = 0; error == ERR_OK && i < count; i++) {
        struct operation *operations = NULL;
        size_t operations_count = 0;
        uint64_t rest = 0;
        error = engine_operations(e, &q, names[i], &operations, &operations_count, &rest);
        spans += rest;
        for (size_t k = 0; k < operations_count; k++)
            spans += operations[k].spans;
    }
    assert(error == ERR_OK);
    arena_deinit(&arena);
    return spans;
}

enum err ledger_batch(struct ledger *l, struct engine *e, size_t number)
{
    assert(number < l->capacity);
    struct append *a = ledger_append_make(l, number, 1);
    if (l->outcomes[number] == LEDGER_UNSENT)
        l->outcomes[number] = LEDGER_UNKNOWN;
    enum err result = ledger_send(e, a);
    if (result == ERR_OK)
        l->outcomes[number] = LEDGER_ACKED;
    ledger_append_free(a);
    return result;
}

/* ---- Checking ---- */

static bool wrong(struct ledger *l, const char *what, size_t number)
{
    if (l->wrong == NULL)
        l->wrong = what;
    if (!l->is_quiet)
        (void)fprintf(stderr, "ledger: seed %llu, batch or trace %zu: %s\n",
                      (unsigned long long)l->seed, number, what);
    return false;
}

/* One item that was sent: whose it is, what it says. */
struct known {
    struct trace_id trace_id;
    struct hash128 content;
    size_t number;
    bool is_acked;
    unsigned seen;
};

struct known_list {
    struct known *items;
    size_t count, capacity;
};

static const struct hash_key *ledger_key(void)
{
    static struct hash_key key;
    static bool is_made;
    if (!is_made) {
        static const uint8_t seed[32] = { 1, 2, 3 };
        hash_key_derive(seed, &key);
        is_made = true;
    }
    return &key;
}

static struct trace_id item_trace(enum signal signal, struct bytes item)
{
    if (signal == SIGNAL_TRACES) {
        struct otlp_span span;
        otlp_span_read(item, &span);
        return span.trace_id;
    }
    struct otlp_log log;
    otlp_log_read(item, &log);
    return log.trace_id;
}

static int known_order(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    int order = memcmp(&x->trace_id, &y->trace_id, sizeof x->trace_id);
    return order != 0 ? order : memcmp(&x->content, &y->content, sizeof x->content);
}

/* False: memory was refused, which tests do; then nothing is known. */
static bool known_collect(struct ledger *l, enum signal signal, struct known_list *out)
{
    struct buffer body;
    buffer_init(&body, SIZE_MAX);
    for (size_t n = 0; n < l->capacity; n++) {
        if (l->outcomes[n] == LEDGER_UNSENT || ledger_signal(l, n) != signal)
            continue;
        uint64_t items = 0;
        buffer_reset(&body);
        ledger_body(l, n, &body, &items);
        if (buffer_error(&body) != ERR_OK)
            break;
        struct otlp_items it = otlp_items(buffer_bytes(&body));
        while (otlp_items_next(&it)) {
            if (out->count == out->capacity) {
                out->capacity = out->capacity == 0 ? 256 : 2 * out->capacity;
                out->items = realloc(out->items, out->capacity * sizeof *out->items);
                assert(out->items != NULL);
            }
            out->items[out->count++] =
                (struct known){ .trace_id = item_trace(signal, it.item),
                                .content = content_hash(ledger_key(), signal, &it),
                                .number = n,
                                .is_acked = l->outcomes[n] == LEDGER_ACKED };
        }
    }
    bool is_whole = buffer_error(&body) == ERR_OK;
    buffer_deinit(&body);
    if (out->count > 0)
        qsort(out->items, out->count, sizeof *out->items, known_order);
    return is_whole;
}

/* What the engine says of one trace, against items [first, end), which are all that were sent of it. */
static bool trace_check(struct ledger *l, struct engine *e, enum signal signal, struct known *first,
                        struct known *end)
{
    struct arena arena;
    arena_init(&arena, (size_t)64 << 20, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct bytes data = { 0 };
    enum err error = signal == SIGNAL_TRACES ? engine_trace_get(e, &q, &first->trace_id, &data)
                                             : engine_trace_logs(e, &q, &first->trace_id, &data);
    bool is_right = true;
    if (error != ERR_OK && error != ERR_NOT_FOUND)
        is_right = wrong(l, err_text(error), first->number);
    struct otlp_items it = otlp_items(data);
    while (error == ERR_OK && otlp_items_next(&it)) {
        struct known found = { .trace_id = item_trace(signal, it.item),
                               .content = content_hash(ledger_key(), signal, &it) };
        struct known *k = bsearch(&found, first, (size_t)(end - first), sizeof *first, known_order);
        if (k == NULL)
            is_right = wrong(l, "an item was never sent, or has changed", first->number);
        else if (++k->seen > 1)
            is_right = wrong(l, "an item is there twice", k->number);
    }
    for (struct known *k = first; k < end; k++) {
        l->items_checked++;
        if (k->is_acked && k->seen == 0)
            is_right = wrong(l, "an acknowledged item is lost", k->number);
    }
    arena_deinit(&arena);
    return is_right;
}

bool ledger_check(struct ledger *l, struct engine *e)
{
    bool is_right = true;
    l->wrong = NULL;
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct known_list known = { 0 };
        bool is_known = known_collect(l, (enum signal)s, &known);
        if (!is_known)
            is_right = wrong(l, err_text(ERR_NOMEM), 0);
        for (size_t i = 0; is_known && i < known.count;) {
            size_t end = i + 1;
            while (end < known.count && memcmp(&known.items[end].trace_id, &known.items[i].trace_id,
                                               sizeof(struct trace_id)) == 0)
                end++;
            is_right &= trace_check(l, e, (enum signal)s, &known.items[i], &known.items[end]);
            i = end;
        }
        free(known.items);
    }
    return is_right;
}
