/* SPDX-License-Identifier: Apache-2.0 */
/* intake_private.h - what counting spans, counting edges and pairing halves share.
 *
 * Private    to storage/derive. */
#ifndef SPINDLE_STORAGE_DERIVE_INTAKE_PRIVATE_H
#define SPINDLE_STORAGE_DERIVE_INTAKE_PRIVATE_H

#include "storage/derive/intake.h"

struct intake_context {
    bool is_known;
    uint32_t node; /* its number; equal services have equal ones */
    uint32_t user; /* number of who calls its root spans; HALF_NONE: not asked yet */
    struct bytes service, namespace, environment;
};

/* Note an error; true when there is one, now or from before. */
static inline bool intake_failed(struct intake *in, enum err e)
{
    if (e != ERR_OK && in->error == ERR_OK)
        in->error = e;
    return in->error != ERR_OK;
}

static inline uint64_t intake_add_saturating(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* Spans with made-up times would make a point each: over a bound they are counted in the minute 0. */
static inline uint64_t intake_time(const struct intake *in, uint64_t unix_ns)
{
    return in->tally.points_count < INTAKE_POINTS_MAX ? unix_ns : 0;
}

/* Number of a node. HALF_NONE after a failure. */
uint32_t intake_node(struct intake *in, const struct derived_node *node);

/* Ask for what intake_span_edges() looks at first, of a series. */
void intake_peer_prefetch(const struct intake *in, uint32_t series);
/* What a span says of edges; series: that it was counted in; bucket: of its duration. */
void intake_span_edges(struct intake *in, struct intake_context *c, const struct derive_span *s,
                       uint32_t series, int16_t bucket, bool is_sampled);

/* One call between two nodes (numbers). client, server: the halves that tell of it, one of them may be NULL;
 * via: number of the queue between, or HALF_NONE. */
void intake_edge(struct intake *in, uint32_t client_node, uint32_t server_node,
                 enum connection_type type, uint32_t via, const struct half *client,
                 const struct half *server);
/* The same of a caller and a server that belong together. */
void intake_pair(struct intake *in, const struct half *client, const struct half *server);
/* Of the trace at hand all spans are known: pair its calls. */
void intake_trace_end(struct intake *in);
/* One half that stays alone. */
void intake_unpaired(struct intake *in, const struct half *h, enum unpaired_reason reason);

/* Free what is on the heap; forget what was seen of a group; and also what is known of others. */
void intake_edges_deinit(struct intake *in);
void intake_edges_reset(struct intake *in);
void intake_edges_forget(struct intake *in);

#endif
