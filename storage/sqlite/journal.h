/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - the bytes of accepted requests, durable before they are acknowledged.
 *
 * Role       rows of the partition's file. Nothing outside knows that: appending, removing,
 *            replaying and setting aside is all there is.
 * Threads    those of the connection: the writer's; replay and verification on a reader's.
 * Blocking   every call may wait for the disk.
 * Errors     db.h's. Calls between BEGIN and COMMIT leave rolling back to the caller. */
#ifndef SPINDLE_STORAGE_SQLITE_JOURNAL_H
#define SPINDLE_STORAGE_SQLITE_JOURNAL_H

#include "base/hash.h"
#include "storage/sqlite/db.h"

struct journal_entry {
    uint64_t sequence;
    uint64_t group_no;
    enum signal signal;
    enum codec codec; /* of `stored` */
    uint64_t items;
    uint64_t arrival_unix_ns;
    uint64_t body_bytes; /* decompressed */
    struct hash128 request_hash;
    struct bytes stored;
};

/* The statements of one writing connection, and the numbers that come next. */
struct journal {
    struct db *db;
    sqlite3_stmt *insert, *insert_group, *delete_range, *delete_groups, *copy_aside;
    uint64_t next_sequence, next_group_no; /* of the first entry that is not committed */
    uint64_t group_count, group_hash;      /* of the group being written */
};

/* Prepare the statements and find where numbering goes on. `db` is borrowed. */
NODISCARD enum err journal_open(struct journal *j, struct db *db);
void journal_close(struct journal *j); /* safe on a zeroed one, and twice */

/* ---- Appending: begin, add each, end; then the caller commits -------------------------------- */

/* Errors of the two calls after it: those of db.h; the transaction is then to be rolled back. */
void journal_group_begin(struct journal *j);
/* Gives `e` its sequence and group number. `stored` is borrowed for the call. */
NODISCARD enum err journal_group_add(struct journal *j, struct journal_entry *e);
NODISCARD enum err journal_group_end(struct journal *j);
/* After COMMIT: the numbers are used. Without it they are given again. */
void journal_group_committed(struct journal *j);

/* ---- Removing, within the caller's transaction ----------------------------------------------- */

/* The entries of a signal with sequence in [first, last]. */
NODISCARD enum err journal_remove(struct journal *j, enum signal signal, uint64_t first,
                                  uint64_t last);
/* Copy one entry to the table of those that no row group could be made of; remove it as usual. */
NODISCARD enum err journal_set_aside(struct journal *j, uint64_t sequence, const char *reason);
/* Forget groups of which nothing is left; the newest stays, so that numbers are never used twice.
 */
NODISCARD enum err journal_forget_groups(struct journal *j);

/* ---- Reading --------------------------------------------------------------------------------- */

/* `is_intact`: the stored bytes have the checksum they were written with. False to stop. */
typedef bool journal_entry_fn(void *context, const struct journal_entry *e, bool is_intact,
                              const char *reason);
/* Every entry in order; then, with a reason, those set aside. */
NODISCARD enum err journal_each(struct db *db, journal_entry_fn *visit, void *context);

/* Of a damaged file: as much of that as can be read, entry by entry where a page is bad. *out_unread: how many
 * numbers were met of which an entry may have been there, at most. ERR_CORRUPT: nothing can be looked up. */
NODISCARD enum err journal_salvage(struct db *db, journal_entry_fn *visit, void *context,
                                   uint64_t *out_unread);

/* The checksum of an entry: of its stored bytes, seeded by where it is, so that a row cannot stand
 * in for another. And how a group's hash is made: fold the checksums of its entries in order, from
 * 0. */
uint64_t journal_checksum(const struct journal_entry *e);
uint64_t journal_group_hash_fold(uint64_t hash, uint64_t checksum);

/* 16 bytes, low half first, as hashes stand in tables. */
void hash128_store(struct hash128 h, uint8_t out[16]);
struct hash128 hash128_load(struct bytes stored); /* zero when it has not 16 bytes */

#endif
