/* SPDX-License-Identifier: Apache-2.0 */
/* journal_private.h - what writing a journal and reading one share. */
#ifndef SPINDLE_STORAGE_SQLITE_JOURNAL_PRIVATE_H
#define SPINDLE_STORAGE_SQLITE_JOURNAL_PRIVATE_H

#include "storage/sqlite/journal_segment.h"

/* ---- journal_chain.c: the segments of a partition, in order ------------------------------------ */

/* What the database says of the journal. */
struct journal_position {
    uint64_t retired[SIGNAL_COUNT]; /* everything of a signal up to here */
    uint64_t group_no;              /* the newest when that was stored */
};
NODISCARD enum err journal_position_load(struct db *db, struct journal_position *out);
uint64_t journal_horizon(const struct journal_position *p);

/* One segment, when it has been read. */
struct chain_segment {
    uint32_t number;
    uint64_t file_bytes;
    struct segment_header header;
    uint64_t end;           /* behind its last group; 0: it has none */
    uint64_t last_sequence; /* its last entry's; 0: it has none */
    /* Likewise, or behind the torn group that follows, as it shows that those before it were whole once; 0: nothing
     * of the segment was looked at. */
    uint64_t seen_end;
};

struct chain_visit {
    uint64_t horizon; /* what is missing up to here is not missed */
    bool has_horizon; /* false: nor is what is missing before the first entry */
    /* Stop before the first gap, and before the first group that is not whole, behind this group: what comes from there
     * on was written while the segments were copied. */
    bool ends_at_gap;
    uint64_t known_group_no;
    /* Either may be NULL. False to stop. */
    bool (*on_entry)(void *context, const struct journal_entry *e, bool is_intact);
    enum err (*on_segment)(void *context, const struct chain_segment *s);
    void *context;
    /* Filled: */
    uint64_t next_sequence, next_group_no, next_serial; /* after all that was seen */
    uint32_t next_number;                               /* of a file, after all that there are */
    uint64_t unread;                                    /* sequences that nothing is known of */
    uint64_t seen_sequence;                             /* behind the last group that was visited */
    bool is_stopped;
};
NODISCARD enum err chain_read(const struct segment_place *place, struct chain_visit *v);

/* ---- journal_rows.c: tables of entries --------------------------------------------------------- */

struct journal_visit {
    journal_entry_fn *visit;
    void *context;
    bool goes_on;
};
/* The entries of versions 1 and 2. */
NODISCARD enum err journal_rows_each(struct db *db, struct journal_visit *v);
NODISCARD enum err journal_rows_salvage(struct db *db, struct journal_visit *v,
                                        uint64_t *out_unread);
/* Those set aside, of any version. */
NODISCARD enum err journal_aside_each(struct db *db, struct journal_visit *v);
NODISCARD enum err journal_aside_salvage(struct db *db, struct journal_visit *v,
                                         uint64_t *out_unread);

#endif
