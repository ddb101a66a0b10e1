/* SPDX-License-Identifier: Apache-2.0 */
/* lookback.h - which spans of a new row group are stored already?
 *
 * Role       a filter remembers the spans of the last minutes (dedup.h); the few that it may have seen are looked up, by
 *            content, in the row groups that may hold them. What is missed, for want of time or memory, is hidden when
 *            it is read.
 * Order      row groups are looked through one after the other. One that is not stored yet is in no snapshot: where
 *            it may have a span, the caller waits for it, and the snapshot is taken again.
 * Private    to storage/sqlite.
 * Threads    the builder's, with its span filter. */
#ifndef SPINDLE_STORAGE_SQLITE_LOOKBACK_H
#define SPINDLE_STORAGE_SQLITE_LOOKBACK_H

#include "storage/sqlite/engine_private.h"

struct stored_span;

struct lookback_candidate {
    struct trace_id trace_id;
    struct span_id span_id;
    struct hash128 content;
    bool
        is_remembered; /* by the span filter; else only a group from before the start may have it */
};

struct lookback {
    struct sqlite_engine *engine;
    struct snapshot snapshot;
    struct reader_set readers;
    struct arena arena; /* of the open segments, and of the trace at hand */
    struct lookback_group {
        struct segment *segment;
        bool is_tried;
        bool has_index;
        struct trace_id trace_id;  /* the trace that is indexed: */
        struct stored_span *spans; /* [spans_count], by ID */
        size_t spans_count;
    } * opened; /* [snapshot.groups->count], made when the first span hits the filter */
    uint64_t oldest_unix_ns; /* groups built before are not looked at */
    uint64_t until_mono_ns;  /* then no more is read: what is missed is hidden when it is read */
    struct lookback_candidate
        *candidates; /* spans that may be stored, then those that are, by content */
    size_t candidates_count, candidates_capacity;
    bool has_filters;        /* of the snapshot's groups, in use */
    size_t recent_from;      /* the first group that may hold a span of the filter */
    size_t old_from, old_to; /* groups that are not in the filter; see old_find() */
};

/* Of a row group that is built at this moment. */
void lookback_begin(struct lookback *l, struct sqlite_engine *e, uint64_t now_unix_ns);
void lookback_end(struct lookback *l);
/* Remember the spans that were added, and note those that may be stored. ERR_NOMEM. */
NODISCARD enum err lookback_collect(struct lookback *l, struct rowgroup_builder *b);
/* May one of them be in this row group, which was arranged and may not be stored yet? */
bool lookback_may_be_in(const struct lookback *l, const struct rowgroup_builder *under_way);
/* It is stored now: look there too. */
void lookback_renew(struct lookback *l);
/* Look: `candidates_count` of them are stored. */
void lookback_decide(struct lookback *l);
/* A rowgroup_is_stored_fn, then; context is the struct lookback. */
bool lookback_is_stored(void *context, const struct trace_id *trace_id,
                        const struct span_id *span_id, struct hash128 content);

#endif
