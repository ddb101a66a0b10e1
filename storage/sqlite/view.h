/* SPDX-License-Identifier: Apache-2.0 */
/* view.h - what queries see: row groups, and acknowledged bodies that are not in one yet.
 *
 * Role       every acknowledged item is in exactly one of two places, and moves between them in
 *            one step under one lock: a snapshot sees it once, whenever it is taken.
 * Threads    any; the lock is held for a few lines. The writer alone changes the view.
 * Ownership  row groups and pending bodies are counted references; a snapshot keeps what it
 *            names readable until it is released, whatever happens to the view meanwhile. */
#ifndef SPINDLE_STORAGE_SQLITE_VIEW_H
#define SPINDLE_STORAGE_SQLITE_VIEW_H

#include "storage/engine.h"
#include "storage/rowgroup/rowgroup.h"
#include "storage/sqlite/digest_file.h"
#include "storage/sqlite/filter_room.h"

#include <pthread.h>
#include <stdatomic.h>

struct partition;

/* ---- Pending bodies -------------------------------------------------------------------------- */

/* One acknowledged request: in the journal of a partition, and here. Entries of a signal form a
 * chain in order of acknowledgement. Each holds a reference on the next, so whoever holds the first
 * of a range holds all of it. */
struct pending {
    _Atomic size_t references;
    uint64_t serial;                /* of this process: no two entries, nor groups, have one */
    _Atomic(struct pending *) next; /* set once, by the writer, when another entry follows */
    struct arena arena;             /* owns the body */
    struct bytes body;
    enum signal signal;
    uint64_t items;
    uint64_t arrival_unix_ns, arrival_mono_ns;
    struct hash128 request_hash;
    struct budget *budget; /* what `charged_bytes` is released to */
    size_t charged_bytes;
    /* Where its journal row is. Changed under the view's lock, when the entry moves to another
     * file. */
    struct partition *partition;
    uint64_t sequence;
    /* Start times of its items: told by who sent it, or found when first asked for. */
    _Atomic bool has_bounds;
    _Atomic uint64_t start_min_unix_ns, start_max_unix_ns;
    _Atomic(struct pending_filter *) traces; /* likewise: a filter of its items' trace IDs */
    _Atomic(struct pending_filter *) values; /* a digest, while somebody asks for values */
};

/* A request as it will be pending. The body is copied when the arena is much larger than it, else
 * the arena changes owner in pending_adopt(), which cannot fail. NULL when out of memory.
 *   charged_bytes  reserved in `budget` for the request by the caller; the entry's from
 * pending_adopt() */
struct pending *pending_new(const struct append *a, struct budget *budget, size_t charged_bytes);
/* The request is stored: take its arena. */
void pending_adopt(struct pending *p, struct append *a);
/* A body found in a journal at start; the arena moves, also on failure. */
struct pending *pending_replayed(struct arena *take_arena, struct bytes body);
/* The same request again, with its own copy of the body; not charged to any budget. */
struct pending *pending_copy(const struct pending *p);
struct pending *pending_retain(struct pending *p);
/* Drop one reference; NULL does nothing. */
void pending_release(struct pending *p);
void pending_bounds(struct pending *p, uint64_t *out_min_unix_ns, uint64_t *out_max_unix_ns);
/* False: no item of it has this trace ID, whose trace_filter_hash() is given. True for one in a hundred of the others.
 * Walks over the body when it is first asked. */
bool pending_may_contain(struct pending *p, uint64_t trace_hash);

/* False: no item of it can match, as far as is known without looking. Never walks over the body. */
bool pending_may_match(struct pending *p, const struct rowgroup_question *question);
/* Have the call above know: walks over the body, the first time. What is known is kept with the body, and charged with it.
 * ERR_NOMEM, ERR_BUDGET. */
NODISCARD enum err pending_learn(struct pending *p);
bool pending_is_known(const struct pending *p);

struct pending_range {
    struct pending *first; /* a counted reference, or NULL */
    size_t count;
};

/* ---- Row groups ------------------------------------------------------------------------------ */

struct group {
    _Atomic size_t references;
    uint64_t serial;             /* of this process: no two groups have one */
    struct partition *partition; /* a counted reference, or NULL */
    int64_t id;
    enum signal signal;
    uint32_t rows;
    uint32_t level; /* 0: built from the journal; else merged */
    uint64_t start_min_unix_ns, start_max_unix_ns;
    uint64_t bytes;
    uint64_t built_unix_ns;
    uint64_t
        remembered_epoch; /* of the builder's filter that has its spans; 0: none, built before the start */
    _Atomic bool is_unmergeable; /* merging it was tried and is not to be tried again */
    _Atomic bool is_damaged;     /* reported once */
    struct bytes trace_filter; /* in the room: between filter_room_use() and filter_room_leave() */
    struct trace_filter_place filter_place; /* likewise */
    struct filter_room *room;
    struct filter_chunk *chunk;                 /* that it lies in; NULL: the filter is empty */
    _Atomic(struct digest_file *) digests_file; /* that has the next; NULL: none yet */
    _Atomic uint64_t digests[ROWGROUP_DIGEST_COUNT]; /* places in the file */
};

/* Keep a digest, where there is none. Errors: digest_file_put()'s. */
NODISCARD enum err group_digest_keep(struct group *g, enum rowgroup_digest kind,
                                     struct digest_file *f, struct bytes digest);

/* One reference, the caller's; the filter is copied. NULL when out of memory. */
struct group *group_new(struct filter_room *room, struct bytes trace_filter);
/* Likewise of one that was stored: where it is damaged, one that rules nothing out, and *damaged is counted up. */
struct group *group_stored(struct filter_room *room, enum signal signal, struct bytes trace_filter,
                           uint64_t *damaged);
struct group *group_retain(struct group *g);
void group_release(struct group *g);
/* The caller's reference is the only one: nobody can find the group any more. */
bool group_is_last(const struct group *g);

struct group_list {
    _Atomic size_t references;
    size_t count;
    struct trace_filter_place *filters; /* the groups' own, side by side for who asks all */
    struct group *groups[];             /* in the order in which they were built */
};
/* Empty, with room for so many. NULL when out of memory. */
struct group_list *group_list_new(size_t max);
void group_list_push(struct group_list *l, struct group *take_group);
void group_list_release(struct group_list *l);

/* ---- The view -------------------------------------------------------------------------------- */

struct pending_chain {
    struct pending *first, *last;
    size_t count, bytes;
    uint64_t items;
};

struct view {
    struct filter_room filters; /* of the row groups */
    struct digest_file digests; /* likewise */
    pthread_mutex_t lock;       /* guards all below */
    struct group_list *groups[SIGNAL_COUNT];
    struct pending_chain pending[SIGNAL_COUNT];
    struct pending_chain aside[SIGNAL_COUNT]; /* what the builder could not use */
};

struct snapshot {
    struct group_list *groups;
    struct pending_range pending, aside;
};

/* An empty view; deinit releases what is visible. */
NODISCARD enum err view_init(struct view *v);
void view_deinit(struct view *v);

/* Make entries visible, in order; takes their references. */
void view_add(struct view *v, struct pending *const *entries, size_t count);
void view_add_aside(struct view *v, struct pending *take_entry);

struct view_totals {
    uint64_t items[SIGNAL_COUNT], bytes[SIGNAL_COUNT]; /* pending */
    uint64_t arrival_mono_ns[SIGNAL_COUNT];            /* of the oldest; 0: none */
};
void view_totals(struct view *v, struct view_totals *out);

/* Room for one more group, prepared so that the swap cannot fail: a copy of the list with
 * `take_group` at its end. NULL when out of memory (the group is released). Only the writer changes
 * lists, so the copy stays true until it swaps. */
struct group_list *view_prepare(struct view *v, enum signal signal, struct group *take_group);
/* In one step: `take_list` (NULL: no new group) becomes visible, the first `count` pending entries
 * of the signal vanish, and `take_aside`, copies of those that are not in the group, stay visible.
 */
void view_retire(struct view *v, enum signal signal, struct group_list *take_list, size_t count,
                 struct pending *const *take_aside, size_t aside_count);

/* Likewise, with `take_group` where the last of `inputs` was, and without these. */
struct group_list *view_prepare_merge(struct view *v, enum signal signal,
                                      struct group *const *inputs, size_t count,
                                      struct group *take_group);
/* The list of a signal without a partition's row groups, prepared so that the swap cannot fail, and these. ERR_NOMEM. */
NODISCARD enum err view_prepare_leave(struct view *v, enum signal signal, const struct partition *p,
                                      struct group_list **out_list, struct group_list **out_gone);
/* The lists without a partition's row groups, prepared so that the swap cannot fail, and what was set aside of
 * other partitions. ERR_NOMEM. */
struct view_removal {
    struct group_list *lists[SIGNAL_COUNT];
    struct pending_chain aside[SIGNAL_COUNT];
    uint64_t groups, rows[SIGNAL_COUNT], aside_items[SIGNAL_COUNT]; /* that vanish */
};
NODISCARD enum err view_prepare_removal(struct view *v, const struct partition *p,
                                        struct view_removal *out);
void view_remove(struct view *v, struct view_removal *take_removal);
void view_removal_deinit(struct view_removal *r); /* of one that was not carried out */

/* What is visible of a signal at this moment, held until it is released. */
void view_snapshot(struct view *v, enum signal signal, struct snapshot *out);
void snapshot_release(struct snapshot *s);

/* Visit the pending entries whose journal rows lie in `p`, oldest first and signal after signal,
 * under the lock: to read or to change where those rows are. */
typedef void view_entry_fn(void *context, struct pending *entry);
void view_each_in(struct view *v, const struct partition *p, view_entry_fn *visit, void *context);
/* Whether an entry of `later` stands behind one of `earlier`. */
bool view_is_behind(struct view *v, const struct partition *earlier, const struct partition *later);
/* How many entries of a partition are pending. */
size_t view_count_in(struct view *v, const struct partition *in);

/* The oldest pending entries of one signal that lie in one partition: at most items_max items (but
 * one entry in any case) and bytes_max bytes. after: only those behind this entry, which is held, and was pending when
 * all before it were; NULL: from the first on. */
void view_oldest(struct view *v, enum signal signal, const struct pending *after,
                 uint64_t items_max, size_t bytes_max, struct pending_range *out);
void pending_range_release(struct pending_range *r);

#endif
