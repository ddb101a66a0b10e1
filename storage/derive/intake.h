/* SPDX-License-Identifier: Apache-2.0 */
/* intake.h - from spans to what they add to the rollups.
 *
 * Role       takes the spans of one row group, or of the bodies that wait for one, and counts them in a tally
 *            by minute. What it costs, with pairing, both stored forms and the running totals: docs/BENCHMARKS.md,
 *            "What rollups and edges cost".
 * Again      who asks is asked once for each new series; where it can say whether its answers still hold, series are
 *            known from one row group to the next.
 * Ownership  spans are borrowed until intake_reset().
 * Threads    one at a time.
 * Errors     stick: intake_add() does nothing after one, and intake_error() tells. ERR_NOMEM, ERR_TOO_LARGE,
 *            ERR_TOO_MANY. */
#ifndef SPINDLE_STORAGE_DERIVE_INTAKE_H
#define SPINDLE_STORAGE_DERIVE_INTAKE_H

#include "storage/derive/clean_name.h"
#include "storage/derive/derive_key.h"
#include "storage/derive/derive_span.h"
#include "storage/derive/half.h"
#include "storage/derive/tally.h"

/* Asked once for each new series: the key to count it under, changed in place where a bound is reached. `raw`
 * is the name before it was cleaned, `cleaned` what was done to it (enum cleaned_reason). The key's name may be
 * changed to one that lives until the next call. Returns what intake_admit_again_fn is asked with. */
typedef void *intake_admit_fn(void *context, struct bytes raw, unsigned cleaned,
                              struct red_key *key);
/* A number that changes when an answer of before may be another now. */
typedef uint64_t intake_changes_fn(void *context);
/* Asked for series that are seen again in another row group: false when that number is not `changes` now. places: NULLs
 * among them; in no order. */
typedef bool intake_admit_again_fn(void *context, uint64_t changes, void *const *places,
                                   size_t count);

/* Of one row group, some 400 bytes each; their histograms come on top, within the arena. */
#define INTAKE_POINTS_MAX 65536u

typedef void intake_admit_service_fn(void *context, struct derived_node *service);
typedef void intake_admit_edge_fn(void *context, struct edge_key *key);

struct intake_halves {
    struct half *list;
    uint8_t *state; /* enum half_state of each, several */
    uint32_t count, capacity;
};
enum half_state {
    HALF_MET = 1,
    HALF_SOUGHT = 2, /* a caller that is looked for by its key */
    HALF_SENT = 4    /* one that sent a message */
};

/* The trace at hand: what it has is behind these in callers and servers. */
struct intake_trace {
    uint64_t trace_high, trace_low;
    uint32_t callers_begin, servers_begin;
};

struct intake {
    struct arena arena;
    struct tally tally;
    intake_admit_fn *admit;                 /* NULL: everything is as it is */
    intake_admit_service_fn *admit_service; /* likewise */
    intake_admit_edge_fn *admit_edge;
    intake_admit_again_fn *admit_again; /* NULL: nothing is known from group to group */
    intake_changes_fn *admit_changes;
    void *admit_context;
    uint64_t changes;                /* at the last reset */
    uint32_t group;                  /* counts resets, from 1 */
    struct intake_context *contexts; /* by the caller's numbers */
    uint32_t contexts_capacity;
    struct intern resources;                /* that are known, and their services: */
    struct intake_resource *resource_nodes; /* [resources.count] */
    struct intern nodes; /* services (with namespace and environment) and peers, as parts of keys */
    struct intake_name *names; /* of spans whose names come without a number */
    uint32_t names_used, names_mask;
    struct intern known_names; /* of those with one: it is the group's, and these stay */
    uint32_t *name_numbers;    /* by the group's: of the known name, + 1 */
    uint32_t name_numbers_capacity, name_numbers_used;
    bool has_passing_names;    /* some are not kept: the slots are the group's alone */
    struct intake_slot *slots; /* (node, name, kind, status) to series */
    uint32_t slots_used, slots_mask;
    /* What is known of the edges: halves, edges by numbers of nodes, and of each series the peer that its last span
     * named. */
    struct intake_halves callers; /* all of them, and whether they have met a server */
    struct intake_halves servers; /* those that have not met their caller */
    bool seeks_any,
        seeks_all; /* of these servers some have to look among callers: those that are sought, or all */
    struct intake_edge *edges;
    uint32_t edges_used, edges_mask;
    struct intake_peer *peers;
    uint32_t peers_capacity;
    struct buffer scratch, cleaned;
    bool skips_edges; /* for who asks for series only */
    bool
        is_by_trace; /* the spans of a trace come one after the other, so that calls are found within it */
    uint64_t spans;
    enum err error;
    struct intake_trace trace; /* the one at hand, where spans come by trace */
};

/* bytes_max: of the arena. */
void intake_init(struct intake *in, size_t bytes_max);
void intake_deinit(struct intake *in);
void intake_reset(struct intake *in); /* forgets all, keeps some memory */

/* Some spans, DERIVE_SPANS_MAX at most. */
void intake_add(struct intake *in, const struct derive_span *spans, size_t count);
/* All spans of a body, with contexts of their own. */
void intake_add_body(struct intake *in, struct bytes body);
NODISCARD static inline enum err intake_error(const struct intake *in)
{
    return in->error;
}

#endif
