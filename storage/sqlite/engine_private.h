/* SPDX-License-Identifier: Apache-2.0 */
/* engine_private.h - what the parts of the SQLite engine share.
 *
 * Threads    collectors ──queue──► writer ◄──tasks── encoder ◄──row group── builder ◄──condition── writer
 *                                    │ view (lock)
 *            queries ────────────────┘        maintenance ──tasks──► writer
 *
 * The writer owns the catalogue, every writing connection, the memory of request hashes, and is the
 * only one to change the view. The builder owns the row-group builders and the span filter, and lends one of
 * two builders to the encoder (see builder.c). Queries own nothing. Maintenance decides what expires, by tasks of the writer, and removes files that nobody has
 * open.
 *
 * Invariants
 *   I1  on_done(ERR_OK) is called after the group is in the journal and synced, and after the body is in the view.
 *   I2  every acknowledged item is in the view exactly once: in a pending entry or in a row group.
 *   I3  an entry leaves the journal in the transaction that writes its row group, never otherwise.
 *   I4  a file is written by one connection, and never again after one of its syncs has failed.
 *   I5  a partition is in the catalogue before a request in it is acknowledged.
 *
 * Crash points, in the order in which a store passes them:
 *   schema_written schema_committed catalog_created partition_created partition_synced
 *   partition_listed append_taken group_begun group_entry_written group_written segment_written
 *   segment_made group_in_file segment_removed group_committed
 *   group_visible group_answered checkpoint_before checkpoint_after build_begun build_finished
 *   retire_begun retire_group_written retire_position_stored retire_committed retire_visible
 *   roll_begun seal_shrunk seal_checkpointed seal_summarised seal_listed freeze_marked freeze_listed rescue_committed
 *   rescue_listed upgrade_written upgrade_committed replay_entry expiry_begun expiry_listed
 *   expiry_unlinking unlink_next expiry_unlinked expiry_forgotten logs_begun logs_listed logs_deleting
 *   logs_deleted logs_shrunk logs_forgotten merge_begun merge_written merge_marked merge_committed
 *   merge_visible merge_deleting merge_deleted close_begun */
#ifndef SPINDLE_STORAGE_SQLITE_ENGINE_PRIVATE_H
#define SPINDLE_STORAGE_SQLITE_ENGINE_PRIVATE_H

#include "base/budget.h"
#include "storage/sqlite/body_digests.h"
#include "storage/sqlite/dedup.h"
#include "storage/sqlite/derived.h"
#include "storage/sqlite/disk_guard.h"
#include "storage/sqlite/first_seen.h"
#include "storage/sqlite/group_cache.h"
#include "storage/sqlite/operations.h"
#include "storage/sqlite/partition.h"
#include "storage/sqlite/pending_counts.h"
#include "storage/sqlite/pending_edges.h"
#include "storage/sqlite/retention_clock.h"
#include "storage/sqlite/sqlite_engine.h"
#include "storage/sqlite/watch.h"

#include <pthread.h>

/* Of journal in one commit; one larger request goes alone. */
#define GROUP_BYTES_MAX    ((size_t)2 << 20)
#define GROUP_REQUESTS_MAX 1024u
/* The log: copied in steps small enough that nobody waits for one (16 MiB takes about 11 ms),
 * recycled below the soft limit, emptied above it, no writes above the hard one. */
#define WAL_IDLE_STEP_BYTES ((uint64_t)4 << 20)
#define WAL_BUSY_STEP_BYTES ((uint64_t)8 << 20)
#define WAL_SOFT_BYTES      ((uint64_t)64 << 20)
#define WAL_HARD_BYTES      ((uint64_t)256 << 20)
#define BUILD_BYTES_MAX     ((size_t)64 << 20)  /* of bodies in one row group */
#define BUILD_BYTES_LEAST   ((size_t)256 << 10) /* likewise, on a disk that is nearly full */
#define RETRY_NS            (250 * NS_PER_MS)   /* between tries to write again */
#define FREEZES_MAX         3 /* in FREEZES_NS: after that something is wrong with the disk */
#define MERGE_LEVELS        8 /* sixteen times as many rows each */
#define FREEZES_NS          (600 * NS_PER_S)
/* Of maintain_interval_ns without work, then memory rests in files, and between two times that any of it is written. */
#define REST_TICKS       20
#define REST_AGAIN_TICKS 300

#define STORAGE_COUNTERS(X)                                                                        \
    X(groups, "spindle_storage_commits_total", NULL, "Group commits")                              \
    X(group_requests, "spindle_storage_committed_requests_total", NULL, "Requests made durable")   \
    X(group_items, "spindle_storage_committed_items_total", NULL,                                  \
      "Spans and log records made durable")                                                        \
    X(journal_bytes, "spindle_storage_journal_bytes_total", NULL, "Bytes journalled")              \
    X(segments_made, "spindle_storage_journal_segments_made_total", NULL,                          \
      "Journal files that were made")                                                              \
    X(segments_recycled, "spindle_storage_journal_segments_recycled_total", NULL,                  \
      "Journal files that were used again")                                                        \
    X(commits_failed, "spindle_storage_commits_failed_total", NULL, "Group commits that failed")   \
    X(refused_busy, "spindle_storage_refused_total", "reason=\"busy\"", "Requests not stored")     \
    X(refused_read_only, "spindle_storage_refused_total", "reason=\"read_only\"",                  \
      "Requests not stored")                                                                       \
    X(resent_requests, "spindle_storage_duplicates_total", "reason=\"request\"",                   \
      "Items not stored again because they were stored before")                                    \
    X(resent_stored, "spindle_storage_duplicates_total", "reason=\"stored\"",                      \
      "Items not stored again because they were stored before")                                    \
    X(resent_group, "spindle_storage_duplicates_total", "reason=\"row_group\"",                    \
      "Items not stored again because they were stored before")                                    \
    X(resent_merged, "spindle_storage_duplicates_total", "reason=\"merge\"",                       \
      "Items not stored again because they were stored before")                                    \
    X(row_groups, "spindle_storage_row_groups_total", NULL, "Row groups written")                  \
    X(row_group_items, "spindle_storage_row_group_items_total", NULL,                              \
      "Items in row groups written")                                                               \
    X(row_group_bytes, "spindle_storage_row_group_bytes_total", NULL,                              \
      "Bytes of row groups written")                                                               \
    X(builds_failed, "spindle_storage_builds_failed_total", NULL,                                  \
      "Row groups that could not be built or written, and are tried again")                        \
    X(set_aside, "spindle_storage_set_aside_total", NULL,                                          \
      "Requests that no row group could be made of; they stay readable")                           \
    X(merges, "spindle_storage_merges_total", NULL, "Row groups made of smaller ones")             \
    X(merged_groups, "spindle_storage_merged_row_groups_total", NULL,                              \
      "Row groups that were merged into others")                                                   \
    X(merged_items, "spindle_storage_merged_items_total", NULL, "Items written again by merges")   \
    X(merged_bytes, "spindle_storage_merged_bytes_total", NULL,                                    \
      "Bytes of row groups written by merges")                                                     \
    X(checkpoints, "spindle_storage_checkpoints_total", NULL, "Checkpoints")                       \
    X(freezes, "spindle_storage_frozen_total", NULL, "Files given up after a failed sync")         \
    X(damaged_groups, "spindle_storage_damaged_total", "what=\"row_group\"",                       \
      "Damaged things found")                                                                      \
    X(damaged_entries, "spindle_storage_damaged_total", "what=\"journal_entry\"",                  \
      "Damaged things found")                                                                      \
    X(damaged_partitions, "spindle_storage_damaged_total", "what=\"partition\"",                   \
      "Damaged things found")                                                                      \
    X(damaged_filters, "spindle_storage_damaged_total", "what=\"trace_filter\"",                   \
      "Damaged things found")                                                                      \
    X(damaged_rollups, "spindle_storage_damaged_total", "what=\"rollup\"", "Damaged things found") \
    X(uncounted_items, "spindle_storage_uncounted_items_total", NULL,                              \
      "Spans that are stored and not counted in rollups, for want of memory")                      \
    X(lost_groups, "spindle_storage_lost_groups_total", NULL,                                      \
      "Acknowledged group commits that were not in the file at start")                             \
    X(operations_overflow, "spindle_storage_operations_overflow_total", NULL,                      \
      "Spans counted for their service alone, since it has too many operations")

struct sqlite_engine;

enum expiry { EXPIRY_AGE, EXPIRY_SIZE, EXPIRY_DISK, EXPIRY_COUNT }; /* why a partition goes */

struct storage_metrics {
#define X(field, text, labels, help) struct metric *field;
    STORAGE_COUNTERS(X)
#undef X
    struct metric *pending_bytes, *wal_bytes, *segment_bytes, *writable;
    struct metric *commit_duration, *build_duration, *merge_duration;
    struct metric *expired_items[SIGNAL_COUNT][EXPIRY_COUNT];
    struct metric *disk_free_bytes, *disk_state[DISK_STATE_COUNT];
    struct metric *expired_bytes[EXPIRY_COUNT], *expired_partitions[EXPIRY_COUNT];
};

/* Work that only the writer may do, for a thread that waits for it. Commits wait meanwhile, so it is short. */
typedef enum err writer_task_fn(struct sqlite_engine *e, void *context);
struct writer_task {
    struct writer_task *next;
    writer_task_fn *run;
    void *context;
    bool is_done;
    enum err result;
};

struct writer {
    pthread_t thread;
    bool is_started;
    struct queue queue;
    struct queue_node wake; /* an entry of the queue that is no request */
    _Atomic bool is_wake_queued, is_ending;
    pthread_mutex_t lock; /* guards tasks and their results */
    pthread_cond_t task_done;
    struct writer_task *tasks_first, *tasks_last;
    /* The writer's own. */
    struct partition *open; /* takes requests; NULL when there is none that can */
    struct request_memory requests;
    struct append *batch[GROUP_REQUESTS_MAX]; /* of the group being committed */
    struct pending *entries[GROUP_REQUESTS_MAX];
    struct buffer compressed;
    enum err refusal;       /* while read-only: what requests are answered with */
    uint64_t retry_mono_ns; /* when read-only: not before this */
    uint64_t freezes_mono_ns[FREEZES_MAX];
    int acked_fd;          /* the side file; -1: none */
    uint64_t busy_mono_ns; /* when something came last */
};

/* A row group on its way from pending bodies to its commit, and the memory that it is made in. */
struct build {
    struct retirement retirement;
    struct rowgroup_builder *builder; /* of the signal; one of: */
    struct buffer group, requests;
    struct pending **aside;
    const char **aside_reasons;
    uint64_t found_stored, spent_ns;
    bool is_ahead; /* arranged while another may be under way */
    /* Kept from one to the next. */
    struct rowgroup_builder *rowgroup_builders[SIGNAL_COUNT];
    struct derived_build *derived;
};

struct builder {
    pthread_t thread, encoder;
    bool is_started, has_encoder; /* one core: none */
    pthread_mutex_t lock;         /* guards all below */
    pthread_cond_t changed;       /* for the builder, and who waits for it */
    pthread_cond_t given;         /* for the encoder */
    bool is_stopping, is_encoder_ending;
    uint64_t flushes_asked, flushes_done; /* what was pending at the ask is retired, or failed */
    enum err flush_result;
    struct build *encoding;  /* the encoder's until it is stored; NULL: it waits for one */
    enum err encoding_error; /* of those since the builder looked */
    uint64_t encoded_count;
    /* The builder's own. */
    struct span_filter recent;
    struct build builds[DERIVED_BUILDS];
    struct build *given_last;   /* NULL: stored, or failed; else what follows begins behind: */
    struct pending *taken_last; /* a counted reference */
    uint64_t taken_items;
    size_t taken_bytes;
    uint64_t alone_until_mono_ns; /* something failed: one row group at a time until then */
    uint64_t built_mono_ns;
};

/* Log records that go out of a sealed partition: see retention_logs.c. */
struct logs_expiry {
    struct partition *partition; /* a reference; NULL: nothing under way */
    struct group_list *gone;     /* not shown any more, and perhaps still looked at; NULL: none */
};

struct maintain {
    pthread_t thread;
    bool is_started;
    pthread_mutex_t lock; /* of the waiting alone */
    pthread_cond_t changed;
    _Atomic bool is_stopping;
    /* The thread's own. */
    uint64_t clock_stored_mono_ns, rollups_expired_mono_ns;
    struct logs_expiry logs_expiry; /* changed by its tasks too */
    struct group **replaced;        /* merged into others, and not deleted yet; references */
    size_t replaced_count, replaced_capacity;
    unsigned
        merge_refusals[SIGNAL_COUNT]; /* how often in a row there was no memory to merge with */
};

struct sqlite_engine {
    struct engine base;
    char *directory;
    char *vfs; /* or NULL */
    enum durability durability;
    size_t memory_bytes, builder_rows;
    unsigned build_threads;
    uint64_t lookback_ns;        /* of one row group */
    _Atomic bool seals_unmerged; /* retention waits: no partition waits to be merged */
    uint64_t builder_age_ns, partition_bytes_max, partition_age_ns;
    uint64_t retention_age_ns, retention_rollups_ns, retention_bytes; /* 0: without end */
    uint64_t retention_logs_ns; /* 0: log records go with their spans */
    uint64_t maintain_interval_ns;
    bool is_left_alone;
    int lock_fd;

    struct catalog *catalog;
    struct retention_clock clock;
    struct first_seen first_seen;
    struct hash_key content_key;
    struct storage_metrics metrics;
    struct budget budget;     /* queued and pending requests */
    struct budget background; /* what merging, and counting for rollups, takes */
    struct view view;
    struct watch watch;
    struct group_cache group_cache;                    /* queries' */
    struct pending_counts pending_counts;              /* likewise */
    struct pending_edges pending_edges;                /* likewise */
    _Atomic bool wants_digests[ROWGROUP_DIGEST_COUNT]; /* one was missed: row groups get them */
    struct body_digests body_digests;

    /* Counts of spans in row groups. Written by the writer together with the view's swap, both
     * under the write lock, so that nobody sees a span in neither or in both. */
    pthread_rwlock_t operations_lock;
    struct operations operations;
    struct derived derived; /* its rows are guarded likewise */

    pthread_mutex_t
        partitions_lock; /* guards the list, which the writer alone changes; each has a reference */
    struct partition **partitions;
    size_t partitions_count, partitions_capacity;

    _Atomic uint64_t stored_items[SIGNAL_COUNT]; /* in row groups */
    _Atomic uint64_t pending_items[SIGNAL_COUNT], pending_bytes;
    _Atomic uint64_t groups_count, damaged_groups, damaged_partitions, first_arrival_unix_ns,
        newest_start_unix_ns;
    _Atomic uint64_t catalog_bytes;
    _Atomic bool is_stopping;
    _Atomic(const char *) not_writable; /* static text; NULL: writable */

    struct writer writer;
    struct builder builder;
    struct maintain maintain;
    struct disk_guard disk;
    disk_free_fn *disk_free; /* NULL: statvfs() */
    void *disk_free_context;
};

/* Of a row group of spans. What claims to start more than a day ahead is a wrong clock, and one such span would
 * hide all others for good: the group then counts as of when it was built. */
void engine_note_newest(struct sqlite_engine *e, uint64_t start_max_unix_ns,
                        uint64_t built_unix_ns);

static inline struct sqlite_engine *sqlite_engine_from(struct engine *e)
{
    return (struct sqlite_engine *)(void *)e; /* its first member */
}

/* Nothing was to be done since then for long enough, and the disk has room for what rests. */
static inline struct rest_policy engine_rest_policy(const struct sqlite_engine *e)
{
    return (struct rest_policy){ e->directory, REST_TICKS * e->maintain_interval_ns,
                                 REST_AGAIN_TICKS * e->maintain_interval_ns };
}
static inline bool engine_may_rest(const struct sqlite_engine *e, uint64_t busy_mono_ns)
{
    return clock_mono_ns() - busy_mono_ns >= REST_TICKS * e->maintain_interval_ns &&
           atomic_load(&e->disk.state) == DISK_OK;
}

/* ---- writer.c, writer_partition.c ------------------------------------------------------------ */

NODISCARD enum err writer_init(struct sqlite_engine *e);
NODISCARD enum err writer_start(struct sqlite_engine *e);
/* Commits what waits, answers everything, ends the thread. The engine refuses new requests already.
 */
void writer_stop(struct sqlite_engine *e);
void writer_deinit(struct sqlite_engine *e);
/* The engine's append: never blocks. */
void writer_append(struct engine *e, struct append *take_append);
/* Give the writer a task and wait for its result. Any thread but the writer. */
NODISCARD enum err writer_task_run(struct sqlite_engine *e, writer_task_fn *run, void *context);
/* Tasks: a struct retirement becomes a row group; all logs are copied into their files. */
NODISCARD enum err writer_retire(struct sqlite_engine *e, void *retirement);
NODISCARD enum err writer_checkpoint_all(struct sqlite_engine *e, void *unused);
/* Task: at the end, give the open partition's unused pages back. */
NODISCARD enum err writer_shrink_open(struct sqlite_engine *e, void *unused);

/* A partition that takes requests: the open one, or a new one, with what must be moved into it from
 * a frozen one. Sets why not, on failure. */
NODISCARD enum err writer_partition_ensure(struct sqlite_engine *e);
/* How long the files of its journal may become. */
void writer_journal_bound(const struct sqlite_engine *e, struct partition *p);
/* Never write p again, because its file is damaged; the next call of the one above moves what it has. */
void writer_partition_give_up(struct sqlite_engine *e, struct partition *p);
/* A write to p failed: what that means for it and for the engine. */
void writer_write_failed(struct sqlite_engine *e, struct partition *p, enum err error);
/* Roll the open partition when it is full or old, and seal those that have nothing pending. */
void writer_partitions_tend(struct sqlite_engine *e);
/* Remember, without a sync, the newest group that was acknowledged: see docs/FORMAT.md. */
void writer_acked_store(struct sqlite_engine *e, const struct partition *p);
bool writer_acked_load(const char *directory, uint64_t *out_partition, uint64_t *out_group_no);

/* ---- builder.c ------------------------------------------------------------------------------- */

NODISCARD enum err builder_init(struct sqlite_engine *e);
NODISCARD enum err builder_start(struct sqlite_engine *e);
void builder_stop(struct sqlite_engine *e); /* after the entry at hand */
void builder_deinit(struct sqlite_engine *e);
/* More is pending: look whether it is enough. */
void builder_notify(struct sqlite_engine *e);
/* Wait until what is pending now is in row groups. The error of the first that could not be. */
NODISCARD enum err builder_flush(struct sqlite_engine *e);

/* ---- maintain.c, retention.c ----------------------------------------------------------------- */

void maintain_init(struct sqlite_engine *e);
NODISCARD enum err maintain_start(struct sqlite_engine *e);
void maintain_stop(struct sqlite_engine *e); /* while the writer runs; after the step at hand */
void maintain_deinit(struct sqlite_engine *e);
bool maintain_is_stopping(struct sqlite_engine *e);
/* Remove what has expired, and what was being removed; maintenance's. */
void retention_run(struct sqlite_engine *e);
/* Likewise log records that are kept for less time; maintenance's. */
void retention_logs_run(struct sqlite_engine *e);
/* Forget what is under way: it is done, or its partition goes whole. Maintenance's and its tasks'. */
void retention_logs_drop(struct sqlite_engine *e);
/* At start, before any thread: what an earlier run began. Errors: db.h's, ERR_NOMEM. */
NODISCARD enum err retention_logs_load(struct sqlite_engine *e);
/* Merge small row groups, once a signal, and delete what was merged and nobody reads; maintenance's. */
void merge_run(struct sqlite_engine *e);
void merge_forget(struct sqlite_engine *e); /* at the end */
/* Whether a closed partition must not be sealed yet, as row groups of it are to be deleted, or merged where
 * there is time for that; from any thread. */
bool merge_is_due(struct sqlite_engine *e, const struct partition *p);

/* ---- digests.c ------------------------------------------------------------------------------- */

/* Make digests of row groups, for a part of a second, of the kinds that queries miss; maintenance's. */
void digests_run(struct sqlite_engine *e);

/* ---- sqlite_query.c -------------------------------------------------------------------------- */

extern const struct engine_ops sqlite_engine_ops; /* in sqlite_engine.c */
NODISCARD enum err sqlite_trace_get(struct engine *e, const struct query_context *q,
                                    const struct trace_id *id, struct bytes *out);
NODISCARD enum err sqlite_rows_scan(struct engine *e, const struct query_context *q,
                                    const struct row_scan *scan, row_scan_fn *on_row, void *context,
                                    struct row_scan_result *out);
NODISCARD enum err sqlite_rows_view(struct engine *e, const struct query_context *q,
                                    struct row_view **out);
NODISCARD enum err sqlite_rows_sample(struct engine *e, const struct query_context *q,
                                      const struct row_sample *sample,
                                      struct row_sample_result *out);
NODISCARD enum err sqlite_partitions(struct engine *e, const struct query_context *q,
                                     struct stored_partition **out, size_t *out_count);
NODISCARD enum err sqlite_trace_walk(struct engine *e, const struct query_context *q,
                                     const struct trace_walk *walk, trace_item_fn *on_item,
                                     void *context);
NODISCARD enum err sqlite_trace_logs(struct engine *e, const struct query_context *q,
                                     const struct trace_id *id, struct bytes *out);
NODISCARD enum err sqlite_span_trace(struct engine *e, const struct query_context *q,
                                     const struct span_id *id, struct trace_id *out);
NODISCARD enum err sqlite_traces_find(struct engine *e, const struct query_context *q,
                                      const struct trace_query *query, struct trace_result *out);
NODISCARD enum err sqlite_logs_find(struct engine *e, const struct query_context *q,
                                    const struct log_query *query, struct log_result *out);
NODISCARD enum err sqlite_services(struct engine *e, const struct query_context *q,
                                   struct bytes **out_names, size_t *out_count);
NODISCARD enum err sqlite_operations(struct engine *e, const struct query_context *q,
                                     struct bytes service, struct operation **out,
                                     size_t *out_count, uint64_t *out_rest_spans);
NODISCARD enum err sqlite_attribute_keys(struct engine *e, const struct query_context *q,
                                         enum signal signal, struct time_range range,
                                         struct bytes prefix, size_t limit,
                                         struct attribute_key **out, size_t *out_count);
NODISCARD enum err sqlite_attribute_values(struct engine *e, const struct query_context *q,
                                           enum signal signal, enum expr_scope scope,
                                           struct bytes key, struct time_range range,
                                           const struct expr *filter, struct bytes prefix,
                                           size_t limit, struct attribute_value **out,
                                           size_t *out_count, struct find_progress *out_progress);

/* ---- derived_query.c ------------------------------------------------------------------------- */

NODISCARD enum err sqlite_red(struct engine *e, const struct query_context *q,
                              const struct red_query *query, struct red_result *out);
NODISCARD enum err sqlite_edges(struct engine *e, const struct query_context *q,
                                const struct edge_query *query, struct edge_result *out);
NODISCARD enum err sqlite_totals(struct engine *e, const struct query_context *q,
                                 struct derived_totals *out);
NODISCARD enum err sqlite_cleaned_names(struct engine *e, const struct query_context *q,
                                        struct derived_cleaned **out, size_t *out_count);

/* ---- sqlite_engine.c ------------------------------------------------------------------------- */

/* Take a partition into the list. */
NODISCARD enum err engine_partition_add(struct sqlite_engine *e, struct partition *take_partition);
/* Out of the list again, with its reference; the writer's. */
void engine_partition_drop(struct sqlite_engine *e, struct partition *p);
/* ERR_FULL, ERR_IO ... as the reason people read. */
const char *engine_reason(enum err error);
/* Part of its file, or all of it, cannot be read: counted once, and logged. */
void engine_partition_damaged(struct sqlite_engine *e, struct partition *p, enum err error);

/* ---- replay.c -------------------------------------------------------------------------------- */

/* At start: open for writing what was, and make visible what the journals hold. A file whose journal is damaged
 * is given up: what can be read of it is moved, as out of a frozen one. *out_first_arrival_unix_ns: the earliest
 * of what was found; 0: nothing. ERR_NOMEM, ERR_IO: as it was, for another try. */
NODISCARD enum err replay_journals(struct sqlite_engine *e, uint64_t *out_first_arrival_unix_ns);

#endif
