/* SPDX-License-Identifier: Apache-2.0 */
/* backup.h - a copy of a data directory, taken while a server runs on it or not, and the way back.
 *
 * Role       a backup is a directory with whole files and a manifest of their sizes and hashes, which is
 *            written last: without it, it is no backup. Everything that was acknowledged before the
 *            backup began is in it; of what came later, some may be.
 * How        the catalogue is copied first, then each partition that it lists. A partition only ever gets
 *            further than its listing says: its journal becomes row groups within the one file, and what is
 *            sealed never changes. So a newer file under an older listing is whole, and a start goes on from
 *            there; an older file under a newer listing would not be. A partition that expires meanwhile is
 *            left out, and the catalogue is copied anew.
 * Rule       reads with DB_READER connections alone, and never checkpoints (db.h).
 * Threads    any; nothing is shared.
 * Blocking   reads and writes as much as there is. A transaction is held on one partition at a time, which
 *            keeps its log from being emptied meanwhile.
 * Source     docs/FORMAT.md, "Backups". */
#ifndef SPINDLE_STORAGE_SQLITE_BACKUP_H
#define SPINDLE_STORAGE_SQLITE_BACKUP_H

#include "base/err.h"

#include <stdint.h>

/* A file has been copied. Borrowed until it returns. */
typedef void backup_file_fn(void *context, const char *name, uint64_t bytes);

struct backup_result {
    uint64_t files, bytes, partitions;
    uint64_t expired; /* partitions that were listed, and left out because retention took them */
};

/* Copy the data directory `from` into `to`, which is made with mode 0700, or empty. on_file may be NULL.
 * out_message   on failure a sentence that names the file and the reason; mem_free() it; may be NULL
 * Errors  ERR_EXISTS   `to` is not empty
 *         ERR_NOT_FOUND  `from` is not a data directory
 *         ERR_NEWER    it was written by a newer version
 *         ERR_CORRUPT  a partition is missing, or a file is not ours
 *         ERR_BUSY     partitions expire faster than they are copied
 *         ERR_FULL, ERR_IO, ERR_NOMEM */
NODISCARD enum err sqlite_backup(const char *from, const char *to, backup_file_fn *on_file,
                                 void *context, struct backup_result *out, char **out_message);

/* Make the data directory `to`, which is absent or empty, out of the backup `from`. Every file is checked
 * before the first is written, and again as it is copied. Until all are there, `to` holds a catalogue that no
 * server takes for one.
 * Errors  ERR_EXISTS     `to` is not empty
 *         ERR_NOT_FOUND  `from` has no manifest: it is not a backup, or not a complete one
 *         ERR_NEWER      it was written by a newer version
 *         ERR_CORRUPT    a file does not have the size and the hash that the manifest says, or the manifest
 *                        itself is damaged
 *         ERR_FULL, ERR_IO, ERR_NOMEM */
NODISCARD enum err sqlite_restore(const char *from, const char *to, backup_file_fn *on_file,
                                  void *context, struct backup_result *out, char **out_message);

#endif
