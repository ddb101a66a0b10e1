/* SPDX-License-Identifier: Apache-2.0 */
/* trace_filter_bench - what it takes to ask every row group's filter for a trace that is nowhere.
 *
 *   trace_filter_bench [groups, 3052] [traces a group, 2731]
 *
 * As many filters as 100 M spans of W1 have, each allocated by itself among other blocks. Prints microseconds of processor time a
 * trace and false hits, of filters of either size, asked one by one and together. */
#include "base/mem.h"
#include "base/random.h"
#include "storage/rowgroup/rowgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TRACES 2000

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct trace_id random_id(struct random *r)
{
    struct trace_id id;
    store_le64(id.b, random_next(r));
    store_le64(id.b + 8, random_next(r));
    return id;
}

typedef enum err build_fn(const struct trace_id *distinct, size_t count, struct buffer *out);

static void measure(const char *name, build_fn *build, size_t groups, size_t traces)
{
    struct random r;
    random_init(&r, 1);
    struct bytes *filters = mem_alloc_array(groups, sizeof *filters);
    struct trace_filter_place *places = mem_alloc_array(groups, sizeof *places);
    struct trace_id *ids = mem_alloc_array(traces, sizeof *ids);
    size_t bytes = 0, hits = 0, hits_together = 0;
    if (filters == NULL || places == NULL || ids == NULL)
        exit(1);
    for (size_t g = 0; g < groups; g++) {
        struct buffer one;
        buffer_init(&one, SIZE_MAX);
        for (size_t i = 0; i < traces; i++)
            ids[i] = random_id(&r);
        if (build(ids, traces, &one) != ERR_OK)
            exit(1);
        filters[g] = buffer_bytes(&one); /* lives as long as the process */
        places[g] = trace_filter_place_of(filters[g]);
        bytes += one.len;
    }
    uint64_t t0 = cpu_ns();
    for (size_t n = 0; n < TRACES; n++) {
        struct trace_id id = random_id(&r);
        uint64_t hash = trace_filter_hash(&id);
        for (size_t g = 0; g < groups; g++)
            hits += trace_filter_may_contain_hash(filters[g], hash);
    }
    uint64_t t1 = cpu_ns();
    for (size_t n = 0; n < TRACES; n++) {
        struct trace_id id = random_id(&r);
        uint64_t hash = trace_filter_hash(&id);
        for (size_t g = trace_filter_next(places, groups, 0, hash); g < groups;
             g = trace_filter_next(places, groups, g + 1, hash))
            hits_together++;
    }
    uint64_t t2 = cpu_ns();
    printf("%s: %zu filters of %zu traces, %.1f MiB; one by one %.1f us, together %.1f us; "
           "false hits %.1f and %.1f a trace\n",
           name, groups, traces, (double)bytes / (1 << 20), (double)(t1 - t0) / 1e3 / TRACES,
           (double)(t2 - t1) / 1e3 / TRACES, (double)hits / TRACES, (double)hits_together / TRACES);
}

int main(int argc, char **argv)
{
    size_t groups = argc > 1 ? strtoull(argv[1], NULL, 10) : 3052;
    size_t traces = argc > 2 ? strtoull(argv[2], NULL, 10) : 2731;
    measure("10.7 bits", trace_filter_build_small, groups, traces);
    measure("21.3 bits", trace_filter_build, groups, traces);
    return 0;
}
