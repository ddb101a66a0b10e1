/* SPDX-License-Identifier: Apache-2.0 */
/* sqlite_engine.h - the engine for one machine: journal, row groups and partitions in SQLite files.
 *
 * Role       see docs/ARCHITECTURE and DESIGN: requests are made durable by group commit in the
 *            open partition's journal and visible to queries at that moment; a builder turns
 *            them into row groups within seconds, in the transaction that removes them from the
 *            journal; partitions are files, and a catalogue lists them.
 * Threads    its own: a writer, one or two that build row groups, and one for maintenance. Queries run on
 *            the caller's thread with read-only connections from a pool. */
#ifndef SPINDLE_STORAGE_SQLITE_ENGINE_H
#define SPINDLE_STORAGE_SQLITE_ENGINE_H

#include "storage/engine.h"

enum durability { DURABILITY_FSYNC, DURABILITY_PROCESS };

/* What is free of a disk, and its size; false: it cannot be said. */
typedef bool disk_free_fn(void *context, uint64_t *out_free_bytes, uint64_t *out_total_bytes);

struct name_rules; /* storage/derive/name_rules.h */

struct sqlite_engine_options {
    const char *directory; /* made with mode 0700 when absent */
    enum durability durability;
    size_t memory_bytes; /* for pending bodies, builders, caches; the engine's share of the limit */
    size_t builder_rows; /* a row group is built at this many items (0: 32,768) ... */
    unsigned
        build_threads; /* 1 or 2; 0: 2 where the process may use more than one core, with 96 MiB or more */
    uint64_t builder_age_ns; /* ... or when the oldest pending one is this old (0: 5 s) */
    uint64_t
        lookback_ns; /* how long a row group looks for its spans in others at most; 0: 250 ms */
    uint64_t partition_bytes_max,
        partition_age_ns; /* a partition is closed at either; 0: 1 GiB, 1 h; less where retention is short */
    uint64_t retention_age_ns;  /* partitions go this long after they were closed; 0: never */
    uint64_t retention_logs_ns; /* log records go this long after; 0, or not less: with the spans */
    uint64_t
        retention_rollups_ns; /* what was counted in those that are gone, after they were sealed; 0: never */
    uint64_t retention_bytes; /* the oldest goes when all are larger than this; 0: any size */
    uint64_t
        min_free_bytes; /* of the disk: with less, requests are refused; 0: see disk_min_bytes().
                                When set, and when retention_bytes is, the oldest partitions go when
                                less than twice that is free. */
    uint64_t ballast_bytes;  /* at most, kept for the moment when the disk is full; 0: none */
    disk_free_fn *disk_free; /* tests: instead of asking the disk; NULL */
    void *disk_free_context;
    uint64_t maintain_interval_ns; /* between looks at partitions and what has expired; 0: 1 s */
    /* Only asked: nothing is merged, sealed or removed, not even what a killed server had begun to remove, and what is
     * in the journal stays there. The caller keeps the builder from building. */
    bool is_left_alone;
    uint64_t
        totals_idle_ns; /* series and edges without spans leave the totals after this; 0: 15 min */
    uint64_t sums_worth_bytes; /* tests: of rollups, whose sum is kept; 0: see derived_sums.h */
    const struct name_rules *name_rules; /* borrowed until it is closed; NULL: none */
    struct metrics *metrics;
    const char *vfs; /* SQLite VFS name, NULL for the default: tests put faults here */
};

/* Opens or creates the data directory, takes its lock, replays the journal: after this returns
 * every acknowledged item is visible to queries.
 *
 * Errors  ERR_LOCKED   another process has the directory
 *         ERR_NEWER    a file has a newer format: nothing was changed; out_message names file and
 * versions ERR_CORRUPT  the catalogue is damaged (a damaged partition is set aside and counted
 * instead) ERR_IO, ERR_FULL, ERR_NOMEM out_message  on failure: a sentence for people, mem_free()
 * it; may be NULL */
NODISCARD enum err sqlite_engine_open(const struct sqlite_engine_options *options,
                                      struct engine **out, char **out_message);

/* Check every file of a directory that no server has open: SQLite's own integrity check, every row
 * group, the journal's groups and hashes, the catalogue against the files, the form of the small ones. Prints what
 * is wrong, and where, by `report`; files that are not ours are named too, and are nothing wrong. ERR_OK: all is well; ERR_CORRUPT: something was reported; ERR_LOCKED;
 * ERR_NEWER; ERR_IO. */
typedef void verify_report_fn(void *context, const char *file, const char *what);
NODISCARD enum err sqlite_engine_verify(const char *directory, verify_report_fn *report,
                                        void *context);

#endif
