/* SPDX-License-Identifier: Apache-2.0 */
/* totals.h - what was counted since the start, and the bounds of what may be counted apart.
 *
 * Role       one entry a series, edge and service that was seen in the last fifteen minutes. What is new asks
 *            here before it is counted under a key of its own; over a bound it is counted under
 *            DERIVED_OVERFLOW_NAME. /metrics is a copy of the entries.
 * Bound      the maxima below; an entry is 500 bytes to 1 KiB with its histograms.
 * Threads    any; one lock, held for a few entries at a time, or for a part of a copy (some hundred entries).
 * Errors     where memory lacks, an entry is not made, and what would be counted in it only here is lost. */
#ifndef SPINDLE_STORAGE_DERIVE_TOTALS_H
#define SPINDLE_STORAGE_DERIVE_TOTALS_H

#include "storage/derive/intake.h"
#include "storage/derive/name_rules.h"
#include "storage/derive/name_tree.h"

#include <pthread.h>

/* Of all services, but for their overflow series, 18 of each at most, and for what a service is sure of. */
#define TOTALS_SERIES_MAX      10000u
#define TOTALS_OF_SERVICE_MAX  2000u /* series of one service */
#define TOTALS_OF_SERVICE_SURE 10u   /* even where others have taken all */
#define TOTALS_SERVICES_MAX    1000u /* distinct (name, namespace, environment) */
#define TOTALS_EDGES_MAX       4000u
/* Of all trees of names: the names of TOTALS_SERIES_MAX series are some 3 MiB. */
#define TOTALS_NAMES_BYTES_MAX ((size_t)4 << 20)
#define TOTALS_BUCKETS_MAX     256u /* of a histogram here: 4 octaves at scale 6, 16 at scale 4 */

struct total;

struct totals {
    pthread_mutex_t lock; /* guards all below */
    struct total **buckets;
    uint32_t services_count, series_count, edges_count;
    uint64_t unpaired[UNPAIRED_REASON_COUNT];
    uint64_t overflowed_series_spans, overflowed_service_spans, overflowed_edge_calls;
    uint64_t now_mono_ns, swept_mono_ns;
    size_t memory_bytes;
    struct name_tree_room names; /* of the services' trees */
    struct buffer name;          /* the builder's: the last template */
    struct buffer key;           /* with the lock: the last one that was looked for */
    /* Set before anything is counted: */
    uint64_t idle_ns;               /* by default TOTALS_IDLE_NS */
    const struct name_rules *rules; /* of the configuration, or NULL */
};

/* A reader of totals, who counts what is pending as the builder will. */
struct totals_reader {
    struct totals *totals;
    struct buffer name; /* the last template; 4 KiB at most */
};

/* ERR_NOMEM. deinit is safe on a zeroed one. */
NODISCARD enum err totals_init(struct totals *t);
void totals_deinit(struct totals *t);

/* What the builder's intake asks: context is the struct totals. What is new and within the bounds is noted. Answers
 * hold until the changes, as totals_changes() says. */
void totals_admit_service(void *context, struct derived_node *service);
void *totals_admit_series(void *context, struct bytes raw, unsigned cleaned, struct red_key *key);
bool totals_admit_again(void *context, uint64_t changes, void *const *places, size_t count);
uint64_t totals_changes(void *context);
void totals_admit_edge(void *context, struct edge_key *key);

/* After a start, of a series that was counted before it: what was learned of its service's names is known again. */
void totals_restore_name(struct totals *t, const struct red_key *key, uint64_t now_mono_ns);
/* When all such names are: whether another name, which has no open place, would be counted under one of them now.
 * may_make: it is kept apart, as it was, within the bound of such names. */
bool totals_restore_kept(struct totals *t, const struct red_key *key, bool may_make);

/* The same for queries: context is a struct totals_reader. Nothing is noted, so what is new is counted apart until
 * the builder has seen it, unless a bound is reached. */
void totals_show_service(void *context, struct derived_node *service);
void *totals_show_series(void *context, struct bytes raw, unsigned cleaned, struct red_key *key);
void totals_show_edge(void *context, struct edge_key *key);
/* An intake asks these; the reader stays while it counts. */
void totals_show(struct totals_reader *reader, struct intake *in);

/* Count what a row group added, once it is stored; entries that have been idle for idle_ns leave. */
void totals_add(struct totals *t, const struct tally *tally, uint64_t now_unix_ns,
                uint64_t now_mono_ns);

/* Copies in the query's arena: its errors. What others know of bounds is left 0; what is idle leaves first. Each entry is of
 * one moment; all of them are of some milliseconds, so that who counts is not kept waiting. */
NODISCARD enum err totals_copy(struct totals *t, const struct query_context *q,
                               uint64_t now_mono_ns, struct derived_totals *out);
NODISCARD enum err totals_cleaned(struct totals *t, const struct query_context *q,
                                  struct derived_cleaned **out, size_t *out_count);

#endif
