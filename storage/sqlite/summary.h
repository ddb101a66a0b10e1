/* SPDX-License-Identifier: Apache-2.0 */
/* summary.h - what the catalogue knows of sealed partitions, so that a start need not open their files.
 *
 * Role       sealing writes down a partition's row groups, its rows of derived data and the counts of its
 *            operations, in the transaction that lists it as sealed; expiring takes them back likewise.
 * Threads    the opener's, then the writer's.
 * Errors     db.h's. */
#ifndef SPINDLE_STORAGE_SQLITE_SUMMARY_H
#define SPINDLE_STORAGE_SQLITE_SUMMARY_H

#include "storage/sqlite/operations.h"
#include "storage/sqlite/partition.h"

struct sqlite_engine;

/* List p as sealed, with its summary; its writing connection is open. */
NODISCARD enum err summary_seal(struct sqlite_engine *e, struct partition *p);
/* List p as being removed, for this reason; `gone` are its operations. */
NODISCARD enum err summary_expire(struct sqlite_engine *e, struct partition *p, const char *reason,
                                  const struct operations *gone);
/* Visit the row groups of a partition (without requests), and list its derived data. */
NODISCARD enum err summary_load(struct sqlite_engine *e, struct partition *p,
                                const struct partition_visit *visit);
/* The operations of all partitions that are summarised. */
NODISCARD enum err summary_load_operations(struct sqlite_engine *e);

#endif
