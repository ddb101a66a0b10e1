/* SPDX-License-Identifier: Apache-2.0 */
/* stages_time.c - what rollups and edges add to building row groups, in time.
 *
 * The same groups are built without them and with them, by turns, in a warm loop; of each pair the difference of
 * the thread's processor time counts, and of all differences the median: what the machine does meanwhile to one
 * of a pair it mostly does to the other. Traces get new IDs in each round. With them is what the engine does on its
 * builder's thread, and the table of halves; not what SQLite does with the stored forms. */
#include "bench/stages.h"

#include "base/clock.h"
#include "base/mem.h"
#include "bench/stages_rollups.h"
#include "storage/rowgroup/rowgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define GROUP_SPANS 32768u /* as the engine's under load */
#define WARM_ROUNDS 1u

/* Builds groups, with rollups or without. */
struct side {
    struct rowgroup_builder *builder;
    struct buffer out;
    struct stages_rollups *rollups; /* NULL: without */
};

struct timing {
    const struct stages_work *work;
    struct stages_rollups rollups;
    struct side sides[2]; /* without, with */
    double *ns[3];        /* a span: of each side, and the difference */
    size_t count;
    uint64_t now_unix_ns;
};

static uint64_t thread_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void on_spans(void *context, const struct derive_span *spans, size_t count)
{
    intake_add(context, spans, count);
}

static bool side_init(struct side *s, struct stages_rollups *rollups)
{
    static const uint8_t seed[32] = { 1 };
    struct hash_key key;
    hash_key_derive(seed, &key);
    struct rowgroup_options options = { .signal = SIGNAL_TRACES, .content_key = &key };
    if (rollups != NULL) {
        options.on_spans = on_spans;
        options.on_spans_context = &rollups->intake;
    }
    s->rollups = rollups;
    buffer_init(&s->out, SIZE_MAX);
    return rowgroup_builder_open(&options, &s->builder) == ERR_OK;
}

static void side_deinit(struct side *s)
{
    buffer_deinit(&s->out);
    rowgroup_builder_close(s->builder);
}

/* One group of requests [begin, end). The processor time that it took, in ns; 0 after a failure. */
static uint64_t group_build(struct side *s, const struct stages_work *work, size_t begin,
                            size_t end, uint64_t now_unix_ns)
{
    struct rowgroup_summary summary = { 0 };
    uint64_t begun = thread_ns();
    bool is_ok = true;
    rowgroup_builder_reset(s->builder);
    buffer_reset(&s->out);
    if (s->rollups != NULL)
        stages_rollups_begin(s->rollups);
    for (size_t i = begin; i < end && is_ok; i++)
        is_ok = rowgroup_builder_add(s->builder, work->requests[i].plain) == ERR_OK;
    is_ok = is_ok && rowgroup_builder_finish(s->builder, NULL, NULL, &s->out, &summary) == ERR_OK;
    if (s->rollups != NULL)
        is_ok = is_ok && stages_rollups_end(s->rollups, summary.rows, now_unix_ns);
    return is_ok ? thread_ns() - begun : 0;
}

/* Other traces: some bytes of each ID become others. */
static void traces_change(const struct stages_work *work, uint64_t round)
{
    uint64_t change = round ^ (round + 1);
    for (size_t i = 0; i < work->count; i++)
        for (struct otlp_items it = otlp_items(work->requests[i].plain); otlp_items_next(&it);) {
            uint8_t *span = (uint8_t *)(uintptr_t)it.item.data; /* the work's own */
            if (it.item.len >= 18 && span[0] == 0x0A && span[1] == 16)
                store_le64(span + 2, load_le64(span + 2) ^ change);
        }
}

static bool round_run(struct timing *t, bool is_warm)
{
    const struct stages_work *work = t->work;
    size_t begin = 0;
    for (bool is_turned = false; begin < work->count; is_turned = !is_turned) {
        uint64_t spans = 0, ns[2];
        size_t end = begin;
        while (end < work->count && spans < GROUP_SPANS)
            spans += work->requests[end++].spans;
        if (spans < GROUP_SPANS && begin > 0)
            break; /* a small last one */
        t->now_unix_ns += 50 * NS_PER_MS;
        for (unsigned i = 0; i < 2; i++) {
            unsigned side = i ^ is_turned;
            ns[side] = group_build(&t->sides[side], work, begin, end, t->now_unix_ns);
            if (ns[side] == 0)
                return false;
        }
        if (is_warm) {
            t->ns[0][t->count] = (double)ns[0] / (double)spans;
            t->ns[1][t->count] = (double)ns[1] / (double)spans;
            t->ns[2][t->count] = t->ns[1][t->count] - t->ns[0][t->count];
            t->count++;
        }
        begin = end;
    }
    return true;
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void show(const char *name, double *ns, size_t count)
{
    qsort(ns, count, sizeof *ns, order);
    (void)printf("%-22s %8.1f ns a span (half of all between %.1f and %.1f)\n", name, ns[count / 2],
                 ns[count / 4], ns[count - 1 - count / 4]);
}

bool stages_time(const struct stages_work *work, uint64_t rounds)
{
    struct timing t = { .work = work, .now_unix_ns = NS_PER_S };
    size_t capacity = (size_t)(work->spans / GROUP_SPANS + 1) * (size_t)rounds;
    bool is_ok = stages_rollups_init(&t.rollups) && side_init(&t.sides[0], NULL) &&
                 side_init(&t.sides[1], &t.rollups);
    for (unsigned i = 0; i < 3; i++) {
        t.ns[i] = mem_alloc_array(capacity, sizeof *t.ns[i]);
        is_ok = is_ok && t.ns[i] != NULL;
    }
    for (uint64_t round = 0; round < WARM_ROUNDS + rounds && is_ok; round++) {
        is_ok = round_run(&t, round >= WARM_ROUNDS);
        traces_change(work, round);
    }
    if (is_ok) {
        (void)printf("%zu pairs of groups of %u spans\n", t.count, GROUP_SPANS);
        show("row group", t.ns[0], t.count);
        show("with rollups", t.ns[1], t.count);
        show("rollups and edges add", t.ns[2], t.count);
    } else {
        (void)fputs("time: not every span was counted\n", stderr);
    }
    for (unsigned i = 0; i < 3; i++)
        mem_free(t.ns[i]);
    for (unsigned i = 0; i < 2; i++)
        side_deinit(&t.sides[i]);
    stages_rollups_deinit(&t.rollups);
    return is_ok;
}
