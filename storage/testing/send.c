/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/testing/send.h"

#include "base/clock.h"
#include "proto/otlp.h"
#include "proto/pb_writer.h"

#include <pthread.h>

struct sent {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
    enum err result;
};

static void on_done(struct append *a, enum err result)
{
    struct sent *s = a->context;
    (void)pthread_mutex_lock(&s->lock);
    s->is_done = true;
    s->result = result;
    (void)pthread_cond_signal(&s->changed);
    (void)pthread_mutex_unlock(&s->lock);
}

enum err send_body(struct engine *e, enum signal signal, struct bytes body, uint64_t items,
                   struct hash128 request)
{
    struct sent s = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    struct append a = { .signal = signal,
                        .items = items,
                        .request_hash = request,
                        .arrival_unix_ns = clock_unix_ns(),
                        .on_done = on_done,
                        .context = &s };
    arena_init(&a.arena, SIZE_MAX, NULL);
    enum err result = arena_dup(&a.arena, body, &a.body);
    if (result == ERR_OK) {
        engine_append(e, &a);
        (void)pthread_mutex_lock(&s.lock);
        while (!s.is_done)
            (void)pthread_cond_wait(&s.changed, &s.lock);
        (void)pthread_mutex_unlock(&s.lock);
        result = s.result;
    }
    arena_deinit(&a.arena);
    return result;
}

enum err send_lone_callers(struct engine *e, uint64_t number, uint64_t count)
{
    const uint64_t start_unix_ns = UINT64_C(1728000000) * NS_PER_S;
    const struct hash128 request = { number + 1, 77 };
    struct buffer b;
    buffer_init(&b, SIZE_MAX);
    size_t group = pb_begin(&b, OTLP_DATA_RESOURCE_GROUPS);
    size_t scope = pb_begin(&b, OTLP_GROUP_SCOPE_GROUPS);
    for (uint64_t i = 0; i < count; i++) {
        uint8_t id[16] = { 1 };
        store_le64(id + 8, number * count + i + 1);
        size_t span = pb_begin(&b, OTLP_SCOPE_ITEMS);
        pb_bytes(&b, 1, bytes_of(id, 16));
        pb_bytes(&b, 2, bytes_of(id + 8, 8));
        pb_bytes(&b, 5, BYTES_LITERAL("call"));
        pb_uint(&b, 6, 3);
        pb_fixed64(&b, 7, start_unix_ns + i);
        pb_fixed64(&b, 8, start_unix_ns + i + 1000);
        pb_end(&b, span);
    }
    pb_end(&b, scope);
    pb_end(&b, group);
    enum err result = buffer_error(&b);
    if (result == ERR_OK)
        result = send_body(e, SIGNAL_TRACES, buffer_bytes(&b), count, request);
    buffer_deinit(&b);
    return result;
}
