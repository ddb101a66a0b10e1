/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - the bytes of accepted requests, durable before they are acknowledged.
 *
 * Role       files of fixed length beside the partition's (journal_segment.h), used again and again. A group is one
 *            write and one sync. The partition's database holds, per signal, up to which sequence everything
 *            has left the journal: stored in the transaction that writes the row group. Nothing outside knows
 *            that: appending, retiring, setting aside and replaying is all there is.
 *            Partitions of versions 1 and 2 have rows of a table instead; these are only read.
 * Threads    those of the connection: the writer's; replay and verification on a reader's.
 * Blocking   every call may wait for the disk.
 * Errors     db.h's. After a failed sync db->is_sync_failed is set, and nothing may be written any more.
 *
 * Invariants
 *   J1  a sequence belongs to one acknowledged entry; entries of a signal are retired in rising order.
 *   J2  no segment is written over before the commit is durable by which all in it are retired.
 *   J3  what a write that failed left behind is written over, or void by the numbers at which the next segment
 *       begins; it is never taken for a group that was acknowledged. */
#ifndef SPINDLE_STORAGE_SQLITE_JOURNAL_H
#define SPINDLE_STORAGE_SQLITE_JOURNAL_H

#include "base/buffer.h"
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
    uint64_t checksum; /* as it was read; journal_checksum() says what it should be */
    struct bytes stored;
};

struct journal_segment;

/* The writing end of one partition's journal. */
struct journal {
    struct db *db;
    sqlite3_stmt *store_position, *insert_aside;
    uint64_t next_sequence, next_group_no; /* of the first entry that is not written */
    size_t segment_bytes_most; /* how long new segments may become; the caller may lower it */
    uint64_t segments_made, segments_recycled;
    /* Private. */
    bool syncs;
    struct journal_segment *segments;
    size_t segments_count, segments_capacity;
    size_t current; /* the segment that takes groups; segments_count or more: none */
    uint32_t next_number;
    uint64_t next_serial;
    size_t segment_bytes_next;
    uint64_t horizon;               /* everything up to here is retired, durably */
    uint64_t retired[SIGNAL_COUNT]; /* likewise of a signal */
    uint64_t last[SIGNAL_COUNT];    /* the last entry of a signal */
    uint64_t storing[SIGNAL_COUNT]; /* by the transaction that is open */
    struct buffer group; /* being made: a page for the segment's header, then the group */
    uint32_t group_count, group_room;
    uint64_t group_last[SIGNAL_COUNT];
};

/* Find the segments there are, and where numbering goes on. `db` is borrowed. */
NODISCARD enum err journal_open(struct journal *j, struct db *db, enum durability durability);
void journal_close(struct journal *j); /* safe on a zeroed one, and twice */

/* ---- Appending: begin, add each, end --------------------------------------------------------- */

/* A group of `count` entries, at least one. */
void journal_group_begin(struct journal *j, size_t count);
/* Gives `e` its sequence and group number. `stored` is borrowed for the call. */
NODISCARD enum err journal_group_add(struct journal *j, struct journal_entry *e);
/* Write it, and sync it. On failure the numbers are given again. ERR_FULL: no segment could be made. */
NODISCARD enum err journal_group_end(struct journal *j);
/* Whether a small group would find room now: makes it, if not. */
NODISCARD enum err journal_room_make(struct journal *j);

/* ---- Retiring, within the caller's transaction ----------------------------------------------- */

/* Everything of a signal up to a sequence leaves the journal, when the caller has committed and called
 * journal_retired(). */
NODISCARD enum err journal_retire(struct journal *j, enum signal signal, uint64_t last);
void journal_retired(struct journal *j);
/* Compress a body as the journal stores it. */
NODISCARD enum err journal_body_compress(struct bytes body, struct buffer *out);
/* Copy an entry to the table of those that no row group could be made of. Nothing when it is there already. */
NODISCARD enum err journal_set_aside(struct journal *j, const struct journal_entry *e,
                                     const char *reason);

/* ---- Files ----------------------------------------------------------------------------------- */

/* Remove segments that are not needed any more, but for `kept` of those that can be used again, and those of
 * these that are longer than bytes_most. */
void journal_trim(struct journal *j, size_t kept, uint64_t bytes_most);
/* Nothing is pending: remove all of them. In a transaction of its own the numbers are stored. */
NODISCARD enum err journal_discard(struct journal *j);
/* Of the segments. */
uint64_t journal_bytes(const struct journal *j);
/* Give memory back when nothing is to be written for a while. */
void journal_rest(struct journal *j);
/* Of the segments of a partition's file, by looking; and removing them. No writer may have them open. */
uint64_t journal_files_bytes(const char *path);
NODISCARD enum err journal_files_unlink(const char *path, const char *vfs);
/* Whether a file's name, less that of its partition's database, is a segment's: "-jN". */
bool journal_is_file(const char *suffix);

/* ---- Reading --------------------------------------------------------------------------------- */

/* `is_intact`: the stored bytes have the checksum they were written with. False to stop. */
typedef bool journal_entry_fn(void *context, const struct journal_entry *e, bool is_intact,
                              const char *reason);
/* Every entry in order; then, with a reason, those set aside. What has changed and was set aside is visited once, as
 * such. *out_unread: how many entries there were, at most, of which nothing is known. */
NODISCARD enum err journal_each(struct db *db, journal_entry_fn *visit, void *context,
                                uint64_t *out_unread);
/* Of a damaged database: as much of that as can be read. */
NODISCARD enum err journal_salvage(struct db *db, journal_entry_fn *visit, void *context,
                                   uint64_t *out_unread);
/* The newest group that is known of a partition; 0: none. */
NODISCARD enum err journal_newest_group(struct db *db, uint64_t *out);

/* Of a live partition the segments were copied, to stand beside copy_path; then a transaction was begun in `db`, its
 * database's reader, for copying that. Drop from the copies what is retired, and all from the first gap on that is behind known_group_no, the newest group before copying began:
 * it was written meanwhile. */
NODISCARD enum err journal_copy_trim(struct db *db, const char *copy_path, uint64_t known_group_no);

/* The checksum of an entry: of its stored bytes, seeded by its sequence. And how a group's hash was made in versions
 * 1 and 2: fold the checksums of its entries in order, from 0. */
uint64_t journal_checksum(const struct journal_entry *e);
uint64_t journal_group_hash_fold(uint64_t hash, uint64_t checksum);

/* 16 bytes, low half first, as hashes stand in tables. */
void hash128_store(struct hash128 h, uint8_t out[16]);
struct hash128 hash128_load(struct bytes stored); /* zero when it has not 16 bytes */

#endif
