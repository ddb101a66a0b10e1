/* SPDX-License-Identifier: Apache-2.0 */
/* backup_private.h - what taking a backup and restoring one share: files with hashes, and their list. */
#ifndef SPINDLE_STORAGE_SQLITE_BACKUP_PRIVATE_H
#define SPINDLE_STORAGE_SQLITE_BACKUP_PRIVATE_H

#include "base/buffer.h"
#include "base/hash.h"

#define BACKUP_PATH_MAX       (4096 + 64)
#define BACKUP_NAME_MAX       48 /* "p" with 20 digits and ".db-j" with 10 at the most */
#define BACKUP_MANIFEST_MAX   ((size_t)64 << 20) /* some 600,000 files */
#define BACKUP_MANIFEST       "manifest"
#define BACKUP_FORMAT_VERSION 1u /* of the manifest itself */

struct backup_file {
    char name[BACKUP_NAME_MAX];
    uint64_t bytes;
    struct hash128 hash;
};

struct backup_manifest {
    uint32_t format_version; /* the newest of the files' */
    uint64_t taken_unix_ns;
    struct backup_file *files; /* heap */
    size_t count, capacity;
};

/* ---- backup_manifest.c */

void backup_manifest_deinit(struct backup_manifest *m);
NODISCARD enum err backup_manifest_add(struct backup_manifest *m, const struct backup_file *file);
/* Whether it is the name of a partition's database. */
bool backup_is_partition(const char *name);
void backup_manifest_write(const struct backup_manifest *m, struct buffer *out);
/* Errors  ERR_CORRUPT  it is damaged or makes no sense; *out_line is where
 *         ERR_NEWER    it has a format of a newer version; ERR_NOMEM */
NODISCARD enum err backup_manifest_read(struct bytes text, struct backup_manifest *out,
                                        size_t *out_line);

/* ---- backup_file.c: paths are absolute */

/* "<directory>/<name>". */
void backup_path(char out[BACKUP_PATH_MAX], const char *directory, const char *name);
/* Make an absent directory with mode 0700, or take an empty one; its absolute path without links is in out.
 * ERR_EXISTS: it is not empty. */
NODISCARD enum err backup_directory_make(const char *path, char out[BACKUP_PATH_MAX],
                                         char **out_message);
NODISCARD enum err backup_directory_sync(const char *path);
/* Size and hash of a file, which is synced. */
NODISCARD enum err backup_file_settle(const char *path, struct backup_file *out);
/* Read a file, into a new one of mode 0600 that is synced afterwards; to: NULL for reading alone. */
NODISCARD enum err backup_file_copy(const char *from, const char *to, struct backup_file *out);
/* Write a whole new file and sync it. */
NODISCARD enum err backup_file_write(const char *path, struct bytes content);
/* Set *out_message, unless it is NULL or set, and give `error` back. */
PRINTF_LIKE(3, 4)
enum err backup_fail(char **out_message, enum err error, const char *format, ...);

#endif
