/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_engine_bench - what storing costs.
 *
 *   sqlite_engine_bench PREFIX.gzip DIRECTORY [outstanding] [spans/s, 0: as fast as it goes] [builder rows]
 *
 * Appends the requests of a file made by `gen`, at most `outstanding` at a time, settles, and prints time
 * from append to completion, processor time of the engine's threads, and bytes on disk. */
#include "base/mem.h"
#include "base/metrics.h"
#include "storage/sqlite/sqlite_engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct sent {
    struct append append; /* first */
    uint64_t begun_ns;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct sent *held; /* refused for the moment */
static size_t outstanding, done_count, failed_count, held_count;
static uint64_t *latencies_ns;

static void on_done(struct append *a, enum err result)
{
    struct sent *s = (struct sent *)(void *)a;
    if (result == ERR_BUSY) { /* as the collector does: hold it, and try again */
        (void)pthread_mutex_lock(&lock);
        a->node.next = held == NULL ? NULL : &held->append.node;
        held = s;
        held_count++;
        (void)pthread_cond_signal(&changed);
        (void)pthread_mutex_unlock(&lock);
        return;
    }
    uint64_t taken = clock_mono_ns() - s->begun_ns;
    arena_deinit(&a->arena);
    free(s);
    (void)pthread_mutex_lock(&lock);
    latencies_ns[done_count++] = taken;
    failed_count += result != ERR_OK;
    outstanding--;
    (void)pthread_cond_signal(&changed);
    (void)pthread_mutex_unlock(&lock);
}

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static int order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static struct sent *request_make(struct bytes gzip, uint32_t spans, uint64_t number)
{
    struct sent *s = calloc(1, sizeof *s);
    if (s == NULL)
        abort();
    struct append *a = &s->append;
    arena_init(&a->arena, SIZE_MAX, NULL);
    enum err e = arena_dup(&a->arena, gzip, &a->journal);
    if (e == ERR_OK)
        e = codec_decompress(CODEC_GZIP, a->journal, (size_t)64 << 20, &a->arena, &a->body, NULL);
    if (e != ERR_OK)
        abort();
    a->journal_codec = CODEC_GZIP;
    a->items = spans;
    a->request_hash = (struct hash128){ number + 1, number };
    a->arrival_unix_ns = clock_unix_ns();
    a->on_done = on_done;
    return s;
}

/* Holding the lock: wait until no more than `most` are outstanding; what is held is tried again. */
static void drain(struct engine *e, size_t most)
{
    while (outstanding > most) {
        struct sent *again = held;
        held = NULL;
        if (again == NULL) {
            (void)pthread_cond_wait(&changed, &lock);
            continue;
        }
        (void)pthread_mutex_unlock(&lock);
        (void)nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        while (again != NULL) {
            struct sent *next = (struct sent *)(void *)again->append.node.next;
            engine_append(e, &again->append);
            again = next;
        }
        (void)pthread_mutex_lock(&lock);
    }
}

struct totals {
    uint64_t spans, bytes, wall_ns, engine_cpu_ns;
};

static struct totals run(struct engine *e, FILE *in, size_t outstanding_max, uint64_t rate)
{
    struct totals t = { 0 };
    uint64_t begun = clock_mono_ns(), cpu_begun = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t main_begun = cpu_ns(CLOCK_THREAD_CPUTIME_ID);
    uint8_t header[8], *gzip = malloc((size_t)16 << 20);
    for (uint64_t n = 0; fread(header, 1, 8, in) == 8; n++) {
        size_t len = load_le32(header);
        if (gzip == NULL || len > (size_t)16 << 20 || fread(gzip, 1, len, in) != len)
            break; /* a file that was cut */
        struct sent *s = request_make(bytes_of(gzip, len), load_le32(header + 4), n);
        if (rate != 0) {
            uint64_t due = begun + t.spans * NS_PER_S / rate, now = clock_mono_ns();
            struct timespec wait = { .tv_nsec = due > now ? (long)(due - now) : 0 };
            (void)nanosleep(&wait, NULL);
        }
        (void)pthread_mutex_lock(&lock);
        drain(e, outstanding_max - 1);
        outstanding++;
        (void)pthread_mutex_unlock(&lock);
        t.spans += s->append.items;
        t.bytes += len;
        s->begun_ns = clock_mono_ns();
        engine_append(e, &s->append);
    }
    (void)pthread_mutex_lock(&lock);
    drain(e, 0);
    (void)pthread_mutex_unlock(&lock);
    t.wall_ns = clock_mono_ns() - begun;
    t.engine_cpu_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_begun -
                      (cpu_ns(CLOCK_THREAD_CPUTIME_ID) - main_begun);
    free(gzip);
    return t;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    FILE *in = fopen(argv[1], "rb");
    latencies_ns = calloc(10u << 20, sizeof *latencies_ns);
    if (in == NULL || latencies_ns == NULL)
        return 1;
    size_t outstanding_max = argc > 3 ? strtoul(argv[3], NULL, 10) : 8;
    uint64_t rate = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    struct sqlite_engine_options options = { .directory = argv[2], .metrics = metrics_open() };
    options.memory_bytes = (size_t)192 << 20;
    if (argc > 5) { /* 0: no row groups before settling, to see the append path alone */
        options.builder_rows = strtoul(argv[5], NULL, 10);
        if (options.builder_rows == 0) {
            options.builder_rows = 1u << 19;
            options.builder_age_ns = 3600 * NS_PER_S;
            options.memory_bytes = (size_t)16 << 30;
        }
    }
    struct engine *e = NULL;
    char *message = NULL;
    uint64_t open_begun = clock_mono_ns();
    if (sqlite_engine_open(&options, &e, &message) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", message);
        return 1;
    }
    struct engine_statistics s;
    engine_statistics(e, &s);
    (void)printf("open: %.3f s, %llu items replayed\n",
                 (double)(clock_mono_ns() - open_begun) / 1e9, (unsigned long long)s.journal_items);
    (void)fflush(stdout);
    struct totals t = run(e, in, outstanding_max, rate);
    (void)fclose(in);
    uint64_t settle_begun = clock_mono_ns(), settle_cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
    enum err settled = engine_settle(e);
    uint64_t settle_ns = clock_mono_ns() - settle_begun;
    settle_cpu = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - settle_cpu;
    engine_statistics(e, &s);

    qsort(latencies_ns, done_count, sizeof *latencies_ns, order);
    if (done_count == 0) {
        engine_close(e);
        return 0;
    }
    (void)printf("%llu spans in %zu requests, %zu failed, %zu times held, settled: %s\n",
                 (unsigned long long)t.spans, done_count, failed_count, held_count,
                 err_text(settled));
    (void)printf("append: %.3f s, %.0f spans/s, engine cpu %.0f ns/span, journalled %.1f B/span\n",
                 (double)t.wall_ns / 1e9, (double)t.spans * 1e9 / (double)t.wall_ns,
                 (double)t.engine_cpu_ns / (double)t.spans, (double)t.bytes / (double)t.spans);
    (void)printf("completion: p50 %.0f us, p99 %.0f us, max %.0f us\n",
                 (double)latencies_ns[done_count / 2] / 1e3,
                 (double)latencies_ns[done_count * 99 / 100] / 1e3,
                 (double)latencies_ns[done_count - 1] / 1e3);
    (void)printf("settle: %.3f s, cpu %.0f ns/span; all cpu %.0f ns/span; disk %.1f B/span\n",
                 (double)settle_ns / 1e9, (double)settle_cpu / (double)t.spans,
                 (double)(t.engine_cpu_ns + settle_cpu) / (double)t.spans,
                 (double)s.disk_bytes / (double)t.spans);
    struct buffer text;
    buffer_init(&text, SIZE_MAX);
    metrics_write(options.metrics, &text);
    (void)fwrite(text.data, 1, text.len, stderr);
    buffer_deinit(&text);
    engine_close(e);
    metrics_close(options.metrics);
    mem_free(message);
    free(latencies_ns);
    return 0;
}
