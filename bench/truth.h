/* SPDX-License-Identifier: Apache-2.0 */
/* truth.h - exact counts about spans, kept the plain way, to compare answers with.
 *
 * Role       a series for each (service, name, kind, status), with every duration; an edge for each
 * pair of services that call; a sample of traces with their number of spans. Threads    one at a
 * time. */
#ifndef SPINDLE_BENCH_TRUTH_H
#define SPINDLE_BENCH_TRUTH_H

#include "base/intern.h"
#include "base/json_writer.h"
#include "proto/otlp.h"

#define TRUTH_SAMPLE_MAX 1024u
#define TRUTH_SERIES_MAX (1u << 20)

struct truth_series;
struct truth_edge;

/* Traces whose hashed ID has its low bits zero; when there are too many, one bit more is asked for.
 */
struct truth_sample {
    struct trace_id ids[TRUTH_SAMPLE_MAX];
    uint64_t spans[TRUTH_SAMPLE_MAX];
    uint32_t count;
    uint64_t mask;
};

struct truth {
    struct intern series_keys, edge_keys;
    struct truth_series *series; /* [series_capacity], by key number */
    struct truth_edge *edges;
    uint32_t series_capacity, edge_capacity;
    struct truth_sample sample;
};

struct truth_span {
    struct bytes service, name;
    uint32_t kind, status;
    uint64_t duration_ns; /* 0 when it ends before it starts */
    struct trace_id trace_id;
    struct bytes callee; /* of a CLIENT span whose SERVER span is known; else empty */
    bool callee_has_error;
};

/* Nothing counted yet; deinit is safe twice. */
void truth_init(struct truth *t);
void truth_deinit(struct truth *t);
/* ERR_NOMEM; ERR_TOO_MANY past TRUTH_SERIES_MAX series. */
NODISCARD enum err truth_add(struct truth *t, const struct truth_span *span);
/* Members "series", "edges", "traces_sample" of an object that the caller has begun. */
void truth_write(const struct truth *t, struct json_writer *w);

#endif
