/* SPDX-License-Identifier: Apache-2.0 */
/* partition.h - one SQLite file with the telemetry of one stretch of time.
 *
 * Role       its file, its journal, its row groups, and readers of it. Created by the writer,
 *            opened for writing by the writer alone, read by everybody.
 * Threads    functions that take part in writing: the writer's (the opener's, before the engine
 *            runs). partition_group_open() and the reader pool: any.
 * Ownership  counted: the engine's list has a reference, and each row group, and with them each snapshot.
 *            Pending entries point to it without one: while there are any, it stays in the list. */
#ifndef SPINDLE_STORAGE_SQLITE_PARTITION_H
#define SPINDLE_STORAGE_SQLITE_PARTITION_H

#include "storage/rowgroup/rowgroup.h"
#include "storage/sqlite/catalog.h"
#include "storage/sqlite/journal.h"
#include "storage/sqlite/operations.h"
#include "storage/sqlite/reader_pool.h"
#include "storage/sqlite/view.h"

struct partition {
    uint64_t id;
    char *path;
    const char *vfs; /* borrowed */
    _Atomic size_t references;
    _Atomic(enum partition_state) state; /* the writer's to change */
    uint64_t opened_unix_ns, closed_unix_ns;
    uint64_t opened_clock_ns, closed_clock_ns; /* by the retention clock; closed: 0 while open */
    uint32_t
        version; /* of the format, once it was looked at; only SCHEMA_VERSION is ever written */
    bool is_summarised; /* the catalogue knows what is in it: see summary.h */
    enum err checked;   /* what the look at its header said, at start */
    bool is_damaged;    /* its row groups could not be listed: none is served */
    bool has_damage;    /* that, or a part of its journal cannot be read: reported once */
    bool is_unread;     /* nothing of its journal could be read: it is not void */
    struct reader_pool readers;
    _Atomic bool is_closed;    /* takes no requests any more */
    _Atomic uint64_t replaced; /* row groups that were merged and are not deleted yet */
    _Atomic bool
        has_leftovers; /* such row groups of an earlier run; nothing is merged before they go */
    _Atomic uint64_t bytes; /* of file, log and journal, as last seen by the writer */
    /* The writer's; db.handle is NULL when it is not open for writing. */
    struct db db;
    struct journal journal;
    sqlite3_stmt *insert_group, *insert_data, *count_operation, *replace_group;
};

/* A partition as listed, with one reference: nothing is opened. NULL when out of memory. */
struct partition *partition_new(const char *directory, const char *vfs,
                                const struct catalog_partition *listed);
struct partition *partition_retain(struct partition *p);
/* The last one closes what is open; NULL does nothing. */
void partition_release(struct partition *p);
/* What the catalogue is to say of it. */
struct catalog_partition partition_listed(const struct partition *p);
/* Remove its files. Nothing may have them open. */
NODISCARD enum err partition_unlink(const struct partition *p);

/* Make the file: create it, write the schema, sync file and directory. What the caller commits to
 * the catalogue afterwards is durable as a whole. ERR_EXISTS when there is such a file: nothing is
 * done. */
NODISCARD enum err partition_create(struct partition *p, const char *directory,
                                    enum durability durability);
NODISCARD enum err partition_open_writer(struct partition *p, enum durability durability);
/* Of file, log and journal, while it is open for writing. */
uint64_t partition_bytes(struct partition *p);
/* Never checkpoints. */
void partition_close_writer(struct partition *p);

/* Visit the metadata of every row group, in order, and the counts of operations. Takes a reader. */
struct partition_visit {
    void *context;
    struct filter_room *filters; /* of the groups */
    uint64_t *damaged_filters;   /* counts those that rule nothing out; with on_group */
    /* The group becomes the callee's. `requests`: see partition_retire. Either may be NULL. */
    enum err (*on_group)(void *context, struct group *take_group, struct bytes requests);
    enum err (*on_operation)(void *context, struct bytes service, struct bytes name, uint32_t kind,
                             uint64_t spans);
};
NODISCARD enum err partition_load(struct partition *p, const struct partition_visit *visit);
/* The counts of operations alone. */
NODISCARD enum err partition_load_operations(struct partition *p,
                                             const struct partition_visit *visit);

/* A pending body as the journal takes it, compressed in the buffer, which it borrows. The codec's errors. */
NODISCARD enum err partition_entry_of(const struct pending *entry, struct buffer *compressed,
                                      struct journal_entry *out);

/* What the builder made of the oldest pending entries of a signal. */
struct retirement {
    enum signal signal;
    struct pending_range entries;
    bool has_group; /* false: every item was stored already, or every entry is set aside */
    struct bytes group;
    struct rowgroup_summary summary;
    uint64_t built_unix_ns;
    uint64_t remembered_epoch; /* the group's; see view.h */
    struct bytes
        requests; /* for each entry: 16 bytes request hash, 8 bytes arrival, little-endian */
    struct pending **aside; /* entries that no group could be made of, as they are in `entries` */
    const char **aside_reasons;
    size_t aside_count;
    struct derived_delta *derived; /* what the group adds to rollups; NULL: nothing */
    /* Where each of the summary's operations is counted; the writer's. */
    const struct operation_entry *places; /* [summary.operations_count] */
};

/* Write the row group, its catalogue rows, and take the entries out of the journal, in one
 * transaction. On failure nothing has happened. */
NODISCARD enum err partition_retire(struct partition *p, const struct retirement *r,
                                    int64_t *out_group_id);

/* Write a row group that replaces others, mark these, and correct what is counted where it has fewer spans than they
 * had, in one transaction. */
struct group_replacement {
    uint32_t level;
    const int64_t *ids; /* of those it replaces */
    size_t count;
    const struct operations *dropped; /* spans that it does not have */
    struct operations *taken;         /* filled: the rows in which these had been counted */
};
NODISCARD enum err partition_merge(struct partition *p, const struct retirement *r,
                                   const struct group_replacement *replacement,
                                   int64_t *out_group_id);
/* Give some of the pages that nothing is in back to the file system; *out_more: there are others. */
NODISCARD enum err partition_shrink(struct partition *p, bool *out_more);
NODISCARD enum err partition_shrink_db(struct db *writer, bool *out_more); /* its file alone */
/* Delete row groups that were replaced, in one transaction. */
NODISCARD enum err partition_delete_groups(struct partition *p, const int64_t *ids, size_t count);
/* Likewise all that an earlier run left. */
NODISCARD enum err partition_delete_replaced(struct partition *p);

/* Read a row group: the source's bytes come from the file as they are asked for. The connection
 * serves any number of sources at a time, all of one thread. */
NODISCARD enum err partition_group_open(struct db *reader, const struct group *g,
                                        struct rowgroup_source *out);

#endif
