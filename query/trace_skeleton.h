/* SPDX-License-Identifier: Apache-2.0 */
/* trace_skeleton.h - a trace as a tree in pre-order: what a page needs to draw it, without attributes.
 *
 * Role       spans arrive in any order, with parents that are missing, wrong or in a circle, with one ID for
 *            several spans, with clocks that disagree. Here they become rows such that every row's parent
 *            stands before it; what was wrong is flagged and counted, nothing is dropped.
 * Memory     some 100 bytes a span while it is built, 44 afterwards.
 * Threads    one at a time; no recursion, so that any depth will do.
 *
 * Order      spans that share a parent, and the roots, by start, then the longer one, then by ID. Spans that
 *            name one missing parent stand below a row in its place (SKELETON_MISSING).
 * Circles    the earliest of the spans that form one is made a root.
 * One ID     for a client's and a server's span (as Zipkin has it) the server's is put below the client's and
 *            gets the children; of others the first one gets them.
 * Clocks     a span from another resource than its parent that starts before it, or a server's that ends after
 *            a client's though it is shorter, cannot be where its clock says: a shift says how far it and
 *            what lies below it in the same resource would have to move. Starts are given as sent. */
#ifndef SPINDLE_QUERY_TRACE_SKELETON_H
#define SPINDLE_QUERY_TRACE_SKELETON_H

#include "base/intern.h"
#include "base/query_context.h"
#include "storage/otlp_row.h"

enum skeleton_flag {
    SKELETON_ERROR = 1 << 0, /* status */
    SKELETON_EVENTS = 1 << 1,
    SKELETON_LOGS = 1 << 2,
    SKELETON_LINKS = 1 << 3,
    SKELETON_ORPHAN = 1 << 4, /* its parent is not in the trace */
    SKELETON_SKEWED = 1 << 5,
    SKELETON_TRUNCATED = 1 << 6, /* attributes, events or links were dropped */
    SKELETON_REMOTE_PARENT = 1 << 7,
    SKELETON_DUPLICATE = 1 << 8, /* another span of the trace has its ID */
    SKELETON_CYCLE = 1 << 9,     /* was in a circle, which was cut here */
    SKELETON_MISSING = 1 << 10,  /* no span: stands for a parent that is missing */
    SKELETON_BAD_TIME =
        1 << 11 /* more than 104 days from the trace's start, or ends before it starts */
};

/* Offsets and durations stay numbers that every JSON reader keeps exactly. */
#define SKELETON_NS_MAX       ((UINT64_C(1) << 53) - 1)
#define SKELETON_NONE         UINT32_MAX
#define SKELETON_NO_SERVICE   UINT16_MAX
#define SKELETON_NAME_MAX     256  /* bytes kept of a name; the span itself has all of it */
#define SKELETON_SERVICES_MAX 1000 /* what a page can list; spans of others are the last one's */

struct skeleton_row {
    uint64_t id;       /* the span ID, first byte highest */
    uint64_t start_ns; /* after t0 */
    uint64_t duration_ns;
    uint32_t parent;  /* a smaller index, or SKELETON_NONE */
    uint32_t name;    /* index, or SKELETON_NONE of a missing span */
    uint16_t service; /* index, or SKELETON_NO_SERVICE of a missing span */
    uint16_t flags;
    uint8_t kind;
};

struct skeleton_service {
    struct bytes name; /* cut */
    uint32_t spans, errors;
};

struct skeleton_shift {
    uint32_t row;
    int64_t ns;
};

struct skeleton {
    struct skeleton_row *rows;
    size_t count;    /* of rows */
    size_t spans;    /* rows that are spans */
    uint32_t *by_id; /* [spans]: rows by ID, then by index */
    uint64_t t0_unix_ns;
    uint64_t end_ns; /* of the last to end, after t0 */
    struct skeleton_service *services;
    size_t services_count;
    struct bytes *names; /* cut; distinct, by first appearance in the rows */
    size_t names_count;
    struct skeleton_shift *shifts; /* of skewed rows, ascending */
    uint32_t depth_max;            /* a root alone: 0 */
    struct otlp_trace_facts facts; /* what filters ask of the whole trace */
    bool has_other_services;       /* the last one stands for all that did not fit */
    uint64_t version;              /* differs when rows do */
    /* How many rows are flagged. */
    size_t roots, orphans, errors, skewed, truncated, duplicates, cycles, missing, bad_times;
};

/* At most SKELETON_NAME_MAX bytes of a name, not cut inside a character. */
struct bytes skeleton_cut(struct bytes text);
/* The place in by_id of the first row whose ID is not below this one. */
size_t skeleton_find(const struct skeleton *s, uint64_t id);

/* ---- Building ---- */

struct skeleton_node;

struct skeleton_builder {
    const struct query_context *q;
    struct arena nodes_memory, logs_memory, scratch;
    struct skeleton_node *nodes;
    size_t count, spans, capacity;
    uint64_t *logs; /* span IDs of log records */
    size_t logs_count, logs_capacity;
    struct intern services, names;
    uint64_t
        resource; /* of the group at hand: a hash, since spans of one resource have one clock */
    uint32_t service;
    uint64_t root_start_unix_ns, root_id;
    bool has_root;
    struct buffer root_name, root_service;
    uint32_t *by_id, *owner;
    uint32_t *first_child, *child_end, *children;
};

/* Memory is charged to the query's budget. */
void skeleton_begin(struct skeleton_builder *b, const struct query_context *q);
void skeleton_end(struct skeleton_builder *b); /* safe after begin, and twice */
/* A trace_item_fn: one span more; context is the builder. Each span is given once. */
NODISCARD enum err skeleton_add(void *context, const struct otlp_items *at);
/* A trace_item_fn: a log record of the trace, for SKELETON_LOGS. */
NODISCARD enum err skeleton_add_log(void *context, const struct otlp_items *at);
/* Lay out what was added, in `memory`. Errors: the memory's, ERR_NOMEM, ERR_TOO_LARGE, ERR_BUDGET,
 * ERR_DEADLINE, ERR_CANCELLED. */
NODISCARD enum err skeleton_finish(struct skeleton_builder *b, struct arena *memory,
                                   struct skeleton *out);

#endif
