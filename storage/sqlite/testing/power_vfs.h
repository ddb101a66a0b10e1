/* SPDX-License-Identifier: Apache-2.0 */
/* power_vfs.h - for tests: a disk under SQLite that loses power, fails and fills up.
 *
 * Role       a VFS over SQLite's own, on real files. What is written and not synced is remembered; at a
 *            cut each piece of it is kept, dropped, torn or trashed, sector by sector, directory entries
 *            included, and the files are made to be what a disk would hold. Any call can also be made to
 *            fail, once or from then on, and the disk has a size.
 * Model      a write touches only the bytes written (SQLite's "powersafe overwrite", as its own VFS
 *            promises); sectors of 512 or 4096 bytes; a new file's entry is durable when its directory is
 *            synced, which SQLite's own VFS does with the first sync of a new log or journal.
 * Threads    any; one lock. The functions here: while no engine runs, but power_cut_at(),
 *            power_fail_at() and the counts. */
#ifndef SPINDLE_STORAGE_SQLITE_TESTING_POWER_VFS_H
#define SPINDLE_STORAGE_SQLITE_TESTING_POWER_VFS_H

#include <stdbool.h>
#include <stdint.h>

#define POWER_VFS "power"

/* Register it; all state is forgotten, files on the disk count as durable. */
void power_reset(uint64_t seed);

/* ---- Power ------------------------------------------------------------------------------------------ */

/* What a disk may promise and not do: negative controls. */
enum power_defect {
    POWER_HONEST,
    POWER_SYNC_DOES_NOTHING,
    POWER_DIRECTORY_SYNC_DOES_NOTHING,
    /* A failed sync is reported as a failed write, so that nobody knows what was lost. */
    POWER_FAILED_SYNC_IS_HIDDEN
};
void power_defect_set(enum power_defect defect);

/* Events are writes, truncations, syncs, deletions and creations. At the nth from now on the power goes:
 * it and all that follow fail. 0: never. */
void power_cut_at(unsigned long n);
unsigned long power_events(void);
bool power_is_cut(void);
/* With every connection closed: make the files what survived, remove what was in memory alone, and let
 * the power come back. Also without a cut: then it is one at this moment. */
void power_restore(void);

/* ---- Faults ----------------------------------------------------------------------------------------- */

enum power_call {
    POWER_READ = 1,
    POWER_WRITE = 2,
    POWER_SYNC = 4, /* a failed one drops what it should have made durable */
    POWER_TRUNCATE = 8,
    POWER_OPEN = 16,
    POWER_ANY = 31
};
/* The nth call of these kinds from now on fails, and with is_sticky all after it. 0: none. */
void power_fail_at(unsigned calls, unsigned long n, bool is_sticky);
bool power_fired(void);
/* Files may not grow beyond this many bytes together: then writes fail as on a full disk. 0: no bound. */
void power_size_set(uint64_t bytes_max);
/* Writes, truncations and syncs of a file one of whose syncs had failed: must be 0. A file of which
 * nothing was ever synced does not count: SQLite undoes what it began to write, and nobody relied on it. */
unsigned long power_writes_after_failed_sync(void);

#endif
