/* SPDX-License-Identifier: Apache-2.0 */
/* workload.h - seeded streams of OTLP trace requests, for benchmarks and tests.
 *
 * Role       four workloads, each a fixed sequence of spans for a given seed, cut into export
 * requests: W1 "shop"      24 services, ten attributes a span: the main score W2 "wide"      W1's
 * spans with seven more attributes each W3 "tracegen"  10-span traces as Jaeger's load generator
 * makes them W4 "hostile"   W1's spans made unpleasant: huge traces and values, unique strings, odd
 * times, resent requests and spans; for bounds, not for a score docs/BENCHMARKS.md defines them.
 * Threads    a workload belongs to one thread.
 * Ownership  request bytes are appended to the caller's buffer. */
#ifndef SPINDLE_BENCH_WORKLOAD_H
#define SPINDLE_BENCH_WORKLOAD_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

struct workload;

enum workload_kind { WORKLOAD_W1, WORKLOAD_W2, WORKLOAD_W3, WORKLOAD_W4, WORKLOAD_COUNT };

#define WORKLOAD_BATCH_MAX                                                                         \
    8192u /* spans in a request; W2 would pass the 4 MiB that Go peers accept */
#define WORKLOAD_BASE_UNIX_NS UINT64_C(1767225600000000000) /* 2026-01-01T00:00:00Z */

struct workload_options {
    enum workload_kind kind;
    uint64_t seed;         /* 0: the workload's own, which its committed hash is for */
    uint64_t spans;        /* how many distinct spans; 0: the workload's own size */
    unsigned batch;        /* spans in a request, 1..WORKLOAD_BATCH_MAX; 0: 512 */
    uint64_t base_unix_ns; /* when the first trace starts; 0: WORKLOAD_BASE_UNIX_NS */
    uint64_t id_xor;  /* XORed into both halves of trace IDs and into span IDs: tells runs apart */
    bool keeps_truth; /* collect what workload_truth() prints; costs time and 8 bytes a span */
};

/* "w1".."w4"; false when unknown. */
NODISCARD bool workload_from_name(struct bytes name, enum workload_kind *out);
const char *workload_name(enum workload_kind kind);
/* Spans per second of the workload's own clock: how long `spans` spans last in simulated time. */
uint64_t workload_spans_per_s(enum workload_kind kind);

/* ERR_NOMEM, or ERR_INVALID for options out of range. */
NODISCARD enum err workload_open(const struct workload_options *options, struct workload **out);
void workload_close(struct workload *w);

struct workload_request {
    uint32_t spans; /* in this request */
    bool is_resend; /* W4: these bytes were given before */
};

/* Append the next ExportTraceServiceRequest.
 *
 * Errors  ERR_NOT_FOUND when all spans have been given; ERR_NOMEM, ERR_TOO_LARGE as the buffer says
 */
NODISCARD enum err workload_next(struct workload *w, struct buffer *out,
                                 struct workload_request *out_request);

/* What has been given so far. */
struct workload_totals {
    uint64_t spans;        /* distinct */
    uint64_t spans_resent; /* W4: given again, changed or not */
    uint64_t requests;
    uint64_t errors; /* distinct spans with status ERROR */
    uint64_t request_bytes;
    uint64_t span_hash; /* over the bytes of all distinct spans in order */
};
void workload_totals(const struct workload *w, struct workload_totals *out);

/* The truth about what was given, as JSON: totals; counts, errors and durations per (service, name,
 * kind, status); edges of calls whose both spans were given; some trace IDs with their number of
 * spans. Needs keeps_truth. */
NODISCARD enum err workload_truth(const struct workload *w, struct buffer *out);
/* Trace IDs of that sample, as raw bytes: at most `max`, 16 bytes each, into out. Returns how many.
 */
size_t workload_sample(const struct workload *w, uint8_t *out, size_t max);

/* Move a generated request in place to other times and IDs, as base_unix_ns and id_xor would have:
 * adds shift_ns to the times of spans and their events, XORs IDs. For requests read from files.
 *
 *   request  ExportTraceServiceRequest bytes, changed in place; false when they are not well formed
 */
NODISCARD bool workload_shift(uint8_t *request, size_t len, uint64_t shift_ns, uint64_t id_xor);

#endif
