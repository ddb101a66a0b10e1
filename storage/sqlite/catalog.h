/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.h - the file that lists the partitions and holds what outlives them.
 *
 * Threads    the opener's until the engine runs, then the writer's alone.
 * Blocking   every call may wait for the disk.
 * Errors     db.h's; ERR_NEWER from opening. */
#ifndef SPINDLE_STORAGE_SQLITE_CATALOG_H
#define SPINDLE_STORAGE_SQLITE_CATALOG_H

#include "base/hash.h"
#include "storage/sqlite/db.h"

struct catalog;

/*  OPEN ──roll, all retired──► SEALED ──────────────────────────────────────────► REMOVING
 *    └────failed sync────► FROZEN ──its journal is in another partition──► RESCUED ──┘            */
enum partition_state {
    PARTITION_OPEN = 1,     /* takes requests, or has a journal to be retired */
    PARTITION_SEALED = 2,   /* read only: row groups alone */
    PARTITION_FROZEN = 3,   /* never to be written again; its journal still counts */
    PARTITION_RESCUED = 4,  /* as FROZEN, but its journal has been moved and is void */
    PARTITION_REMOVING = 5, /* expired: not served any more, its files are being unlinked */
};

struct catalog_partition {
    uint64_t id;
    enum partition_state state;
    uint64_t opened_unix_ns, closed_unix_ns;
    uint64_t opened_clock_ns, closed_clock_ns; /* by the retention clock; 0 in version 1 */
    uint64_t bytes;
    bool is_summarised; /* see summary.h */
};

/* Opens or creates <directory>/catalog.db, or upgrades an older one. out_version: of a newer file. */
NODISCARD enum err catalog_open(const char *directory, const char *vfs, struct catalog **out,
                                uint32_t *out_version);
void catalog_close(struct catalog *c);
struct db *catalog_db(struct catalog *c);

/* The installation's secret for telling equal content by its hash: made once, with the file. */
NODISCARD enum err catalog_content_key(struct catalog *c, struct hash_key *out);

/* All partitions, by id; of a catalogue of any version, through any connection. *out is freed with
 * mem_free(). */
NODISCARD enum err catalog_partitions(struct db *db, struct catalog_partition **out,
                                      size_t *out_count);
NODISCARD enum err catalog_partition_add(struct catalog *c, const struct catalog_partition *p);
/* Update all but the opening. */
NODISCARD enum err catalog_partition_set(struct catalog *c, const struct catalog_partition *p,
                                         const char *reason);
/* Partitions that are closed and have no closing time by the retention clock were made by version 1:
 * they are taken to be closed at clock_ns. */
NODISCARD enum err catalog_partitions_date(struct catalog *c, uint64_t clock_ns);
/* Its files are gone. */
NODISCARD enum err catalog_partition_forget(struct catalog *c, uint64_t id);

/* A setting of at most len bytes. *out_len is 0 when there is none. */
NODISCARD enum err catalog_setting_get(struct catalog *c, const char *key, uint8_t *out, size_t len,
                                       size_t *out_len);
NODISCARD enum err catalog_setting_put(struct catalog *c, const char *key, struct bytes value);

#endif
