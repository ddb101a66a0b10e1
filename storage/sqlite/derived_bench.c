/* SPDX-License-Identifier: Apache-2.0 */
/* derived_bench - what a long range costs: calls between many pairs of services, a partition an hour.
 *
 *   derived_bench DIRECTORY [edges] [hours] [names]
 *
 * Stores a partition of calls for each hour up to now, of so many operations (1, at most 10), waits until the
 * catalogue has merged them, and prints the processor time that the edges and the services of the whole range take,
 * the first time and then: medians of ten. A directory that was filled before is only asked, also by a server:
 * `spindle serve --data DIRECTORY`. */
#include "base/mem.h"
#include "proto/pb_writer.h"
#include "storage/sqlite/derived.h"
#include "storage/sqlite/sqlite_engine.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { CALLS = 3, TIMES = 11, EDGES_MOST = 100000, SERVICES_MOST = 500, NAMES_MOST = 10 };
static uint64_t first_day; /* when it begins */
static unsigned names = 1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_done;
static enum err outcome;

static void on_done(struct append *a, enum err result)
{
    arena_deinit(&a->arena);
    free(a);
    (void)pthread_mutex_lock(&lock);
    is_done = true;
    outcome = result;
    (void)pthread_cond_signal(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static void must(enum err e, const char *what)
{
    if (e == ERR_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, err_text(e));
    exit(1);
}

static unsigned services_of(unsigned edges)
{
    return edges < SERVICES_MOST ? edges : SERVICES_MOST;
}

/* One side of the calls of one edge in one hour; 0: the client's. */
static void calls_put(struct buffer *b, unsigned edge, unsigned side, unsigned hour)
{
    static const char *const operations[NAMES_MOST] = { "GET /a", "GET /b", "GET /c", "GET /d",
                                                        "GET /e", "PUT /a", "PUT /b", "PUT /c",
                                                        "PUT /d", "PUT /e" };
    for (unsigned call = 0; call < CALLS; call++) {
        uint8_t id[24] = { 1 };
        uint64_t start = first_day + hour * TALLY_HOUR_NS + call * 19 * TALLY_MINUTE_NS + edge;
        store_le64(id + 8, ((uint64_t)hour * EDGES_MOST + edge) * CALLS + call + 1);
        store_le64(id + 16, 1 + side);
        size_t span = pb_begin(b, OTLP_SCOPE_ITEMS);
        pb_bytes(b, 1, bytes_of(id, 16));
        pb_bytes(b, 2, bytes_of(id + 16, 8));
        if (side == 1) {
            uint8_t parent[8] = { 1 };
            pb_bytes(b, 4, bytes_of(parent, 8));
        }
        pb_bytes(b, 5, bytes_text(operations[(call + edge + hour) % names]));
        pb_uint(b, 6, side == 0 ? 3 : 2);
        pb_fixed64(b, 7, start);
        pb_fixed64(b, 8, start + ((uint64_t)edge * 7919 + hour * 104729 + call * 31) % 50000000);
        pb_end(b, span);
    }
}

/* A service's spans of one hour: it calls the next ones of the ring, and answers those before. */
static void service_put(struct buffer *b, unsigned service, unsigned edges, unsigned hour)
{
    char name[32];
    int len = snprintf(name, sizeof name, "service-%u", service);
    unsigned services = services_of(edges);
    size_t group = pb_begin(b, OTLP_DATA_RESOURCE_GROUPS);
    size_t resource = pb_begin(b, 1), attribute = pb_begin(b, 1), value;
    pb_bytes(b, 1, BYTES_LITERAL("service.name"));
    value = pb_begin(b, 2);
    pb_bytes(b, 1, bytes_of(name, (size_t)len));
    pb_end(b, value);
    pb_end(b, attribute);
    pb_end(b, resource);
    size_t scope = pb_begin(b, OTLP_GROUP_SCOPE_GROUPS);
    for (unsigned edge = 0; edge < edges; edge++) {
        unsigned client = edge % services, server = (client + 1 + edge / services) % services;
        if (client == service)
            calls_put(b, edge, 0, hour);
        if (server == service)
            calls_put(b, edge, 1, hour);
    }
    pb_end(b, scope);
    pb_end(b, group);
}

static void hour_store(struct engine *e, unsigned hour, unsigned edges)
{
    struct buffer b;
    struct append *a = calloc(1, sizeof *a);
    buffer_init(&b, (size_t)256 << 20);
    for (unsigned service = 0; service < services_of(edges); service++)
        service_put(&b, service, edges, hour);
    must(a == NULL ? ERR_NOMEM : buffer_error(&b), "making");
    a->signal = SIGNAL_TRACES;
    a->items = (uint64_t)edges * CALLS * 2;
    a->on_done = on_done;
    a->arrival_unix_ns = first_day + (hour + 1) * TALLY_HOUR_NS;
    arena_init(&a->arena, (size_t)512 << 20, NULL);
    must(arena_dup(&a->arena, buffer_bytes(&b), &a->body), "making");
    buffer_deinit(&b);
    is_done = false;
    engine_append(e, a);
    (void)pthread_mutex_lock(&lock);
    while (!is_done)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
    must(outcome, "storing");
    enum err error;
    while ((error = engine_settle(e)) == ERR_BUDGET) /* rollups are merged just now */
        (void)usleep(10000);
    must(error, "settling");
    struct engine_statistics now;
    do {
        (void)usleep(500);
        engine_statistics(e, &now);
    } while (now.partitions < hour + 2); /* this one's is full, and the next is open */
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void ask(struct engine *e, const char *what, struct derived_range range, bool wants_edges)
{
    uint64_t ns[TIMES];
    size_t count = 0, bytes = 0;
    for (unsigned i = 0; i < TIMES; i++) {
        struct arena arena;
        arena_init(&arena, (size_t)512 << 20, NULL);
        struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
        uint64_t begun = cpu_ns();
        if (wants_edges) {
            const struct edge_query query = { .range = range, .wants_durations = true };
            struct edge_result result = { 0 };
            must(engine_edges(e, &q, &query, &result), what);
            count = result.count;
        } else {
            const struct red_query query = { .range = range,
                                             .group = RED_BY_SERVICE,
                                             .wants_duration = true };
            struct red_result result = { 0 };
            must(engine_red(e, &q, &query, &result), what);
            count = result.count;
        }
        ns[i] = cpu_ns() - begun;
        bytes = arena.held_bytes;
        arena_deinit(&arena);
    }
    double first_ms = (double)ns[0] / NS_PER_MS;
    qsort(ns + 1, TIMES - 1, sizeof *ns, order);
    (void)printf("%-34s %6zu rows, %7.1f ms first, then %6.1f ms, %5.1f MiB\n", what, count,
                 first_ms, (double)ns[TIMES / 2] / NS_PER_MS, (double)bytes / (1 << 20));
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    unsigned edges = argc > 2 ? (unsigned)atoi(argv[2]) : 725;
    unsigned hours = argc > 3 ? (unsigned)atoi(argv[3]) : 720;
    names = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
    assert(edges > 0 && edges < EDGES_MOST && names > 0 && names <= NAMES_MOST);
    first_day = clock_unix_ns() - hours * TALLY_HOUR_NS;
    first_day -= first_day % TALLY_DAY_NS;
    const struct sqlite_engine_options options = {
        .directory = argv[1],
        .durability = DURABILITY_PROCESS,
        .builder_age_ns = NS_PER_S,
        .partition_bytes_max = 1,
        .maintain_interval_ns = 2 * NS_PER_MS,
    };
    struct engine *e = NULL;
    must(sqlite_engine_open(&options, &e, NULL), "opening");
    struct engine_statistics now;
    engine_statistics(e, &now);
    for (unsigned hour = (unsigned)now.partitions - 1; hour < hours; hour++)
        hour_store(e, hour, edges);
    (void)sleep(1);
    uint64_t end = first_day + hours * TALLY_HOUR_NS;
    const struct derived_range whole = { first_day, end, 0 };
    const struct derived_range ragged = { first_day + 17 * TALLY_MINUTE_NS,
                                          end - 90 * TALLY_MINUTE_NS, 0 };
    const struct derived_range steps = { first_day, end, 6 * TALLY_HOUR_NS };
    ask(e, "edges, whole days", whole, true);
    ask(e, "edges, ends within an hour", ragged, true);
    ask(e, "services, whole days", whole, false);
    ask(e, "services, ends within an hour", ragged, false);
    ask(e, "services, steps of six hours", steps, false);
    engine_close(e);
    return 0;
}
