/* SPDX-License-Identifier: Apache-2.0 */
/* schema.h - what tables our files have, and whether a file is one we may touch.
 *
 * Role       a file says what it is by application_id and how new it is by user_version. An
 *            older catalogue is upgraded; an older partition is read as it is and never written
 *            again; a newer file is refused, and nothing in it is changed.
 * Source     docs/FORMAT.md, "SQLite files", has every table and column. */
#ifndef SPINDLE_STORAGE_SQLITE_SCHEMA_H
#define SPINDLE_STORAGE_SQLITE_SCHEMA_H

#include "storage/sqlite/db.h"

enum schema_kind { SCHEMA_CATALOG, SCHEMA_PARTITION };

#define SCHEMA_VERSION      3u
#define SCHEMA_CATALOG_ID   0x53706443u /* "SpdC" */
#define SCHEMA_PARTITION_ID 0x53706450u /* "SpdP" */

/* Tables of what is derived from telemetry, made with the others: each statement says IF NOT EXISTS.
 * Defined in derived_schema.c. */
extern const char derived_partition_sql[], derived_catalog_sql[];

/* Before a file is opened. *out_version is set with ERR_OK and ERR_NEWER.
 * Errors  ERR_NOT_FOUND  no such file, or one without any content: make it
 *         ERR_NEWER      user_version is over ours
 *         ERR_CORRUPT    not ours; ERR_IO */
NODISCARD enum err schema_check(enum schema_kind kind, const char *path, const char *vfs,
                                uint32_t *out_version);

/* Make the tables of a new file, in one transaction, and move them from the log into the file
 * itself, so that schema_check() can read the version without opening it. */
NODISCARD enum err schema_create(enum schema_kind kind, struct db *db);

/* Bring an open catalogue to SCHEMA_VERSION, in one transaction; does nothing to one that has it. */
NODISCARD enum err schema_upgrade_catalog(struct db *db);

#endif
