/* SPDX-License-Identifier: Apache-2.0 */
/* journal_segment.h - one file of a journal: its bytes, and reaching it through SQLite's VFS.
 *
 * Role       a file of fixed length beside the partition's (`<partition>-jN`), written with zeros and synced before
 *            it is used, so that appending to it changes no metadata; used again from its start when nothing in
 *            it counts any more. Groups begin at multiples of a page, so that writing one never touches a page
 *            that holds another. Every checksum is seeded with the salt that was drawn when the file was begun, the
 *            group's number and its place: what is left from before, or of a write that failed, never passes.
 * Threads    a file belongs to one thread; what takes bytes is pure.
 * Blocking   all that takes a file.
 * Errors     db.h's.
 * Source     docs/FORMAT.md, "pNNNNNN.db-jN". */
#ifndef SPINDLE_STORAGE_SQLITE_JOURNAL_SEGMENT_H
#define SPINDLE_STORAGE_SQLITE_JOURNAL_SEGMENT_H

#include "storage/sqlite/journal.h"

enum { SEGMENT_PAGE_BYTES = 4096, SEGMENT_GROUP_BYTES = 64, SEGMENT_ENTRY_BYTES = 80 };

/* ---- Bytes ----------------------------------------------------------------------------------- */

/* Numbers of groups, sequences and serials stay far below what wraps around, or is negative to SQLite. */
#define SEGMENT_NUMBERS_END (UINT64_C(1) << 62)

/* What the first page says, twice. */
struct segment_header {
    uint64_t bytes;  /* of the file */
    uint64_t salt;   /* drawn when it was begun */
    uint64_t serial; /* of the partition's segments; rises */
    uint64_t first_group_no, first_sequence;
};

/* Both copies, and zeros. */
void segment_header_write(const struct segment_header *h, uint8_t page[SEGMENT_PAGE_BYTES]);
/* False: it is none. */
bool segment_header_read(const uint8_t page[SEGMENT_PAGE_BYTES], struct segment_header *out);

/* Where a group is and what its header says. */
struct segment_group {
    uint64_t at; /* in the file */
    uint64_t group_no, first_sequence;
    uint64_t bytes; /* without what fills its last page */
    uint32_t count;
};

/* An entry's part of the head of group `bytes`, without its hash; its body is at `offset` of the group. */
void segment_entry_write(uint8_t *group, uint32_t index, const struct journal_entry *e,
                         size_t offset);
/* Write the group's header and all hashes: its place is known only now. */
void segment_group_seal(uint8_t *group, const struct segment_header *segment,
                        const struct segment_group *g);
/* What a group has to be in to count: its number, and all its sequences. */
struct segment_range {
    uint64_t group_no, group_no_end;
    uint64_t sequence, sequence_end;
};
/* The first group at `from` or behind it that is in the range. False: there is none. */
bool segment_group_find(struct bytes segment, const struct segment_header *h, uint64_t from,
                        const struct segment_range *within, struct segment_group *out);
/* ERR_CORRUPT: nothing is known of it. *out_is_intact: its body has its checksum too. */
NODISCARD enum err segment_entry_read(struct bytes segment, const struct segment_header *h,
                                      const struct segment_group *g, uint32_t index,
                                      struct journal_entry *out, bool *out_is_intact);
/* Every entry is intact. */
bool segment_group_is_whole(struct bytes segment, const struct segment_header *h,
                            const struct segment_group *g);
/* Rounded up to whole pages. */
uint64_t segment_pages(uint64_t bytes);

/* ---- Files ----------------------------------------------------------------------------------- */

/* The partition that the segments are of. */
struct segment_place {
    sqlite3_vfs *vfs;
    const char *path; /* of the partition's database */
    struct db *db;    /* learns of failed syncs */
};

/* Of an open database. */
NODISCARD enum err segment_place_of(struct db *db, struct segment_place *out);

struct segment_file {
    sqlite3_file *file;
    char *name;
    uint64_t bytes;
};

/* The numbers of the files there are, ascending; *out is freed with mem_free(). */
NODISCARD enum err segment_list(const char *path, uint32_t **out, size_t *out_count);
NODISCARD enum err segment_open(const struct segment_place *place, uint32_t number, bool is_writer,
                                struct segment_file *out);
/* A new file of zeros, durable with its entry in the directory. On failure there is none. ERR_FULL. */
NODISCARD enum err segment_make(const struct segment_place *place, uint32_t number, uint64_t bytes,
                                struct segment_file *out);
void segment_close(struct segment_file *f); /* safe on a zeroed one, and twice */
NODISCARD enum err segment_write(const struct segment_place *place, struct segment_file *f,
                                 uint64_t at, struct bytes bytes);
NODISCARD enum err segment_sync(const struct segment_place *place, struct segment_file *f);
/* All of it, into memory freed with mem_free(). */
NODISCARD enum err segment_read(const struct segment_place *place, struct segment_file *f,
                                uint8_t **out);
/* What is not there is no error. Not made durable: what comes back holds nothing that counts. */
NODISCARD enum err segment_unlink(sqlite3_vfs *vfs, const char *path, uint32_t number);

#endif
