/* SPDX-License-Identifier: Apache-2.0 */
/* journal_rows.c - tables of entries: the journal of versions 1 and 2, and what was set aside. */
#include "base/mem.h"
#include "storage/sqlite/journal_private.h"

#define SALVAGE_TRIES (1u << 20) /* numbers looked up in a damaged file: some ten seconds */

uint64_t journal_group_hash_fold(uint64_t hash, uint64_t checksum)
{
    uint8_t pair[16];
    store_le64(pair, hash);
    store_le64(pair + 8, checksum);
    return hash_bytes(bytes_of(pair, sizeof pair));
}

/* ---- Reading --------------------------------------------------------------------------------- */

#define ENTRY_COLUMNS                                                                              \
    "sequence, group_no, signal, codec, items, arrival_unix_ns, body_bytes, request_hash,"         \
    " checksum, body"

/* Tables of entries; set_aside has one column more. */
static const char journal_sql[] =
    "SELECT " ENTRY_COLUMNS " FROM journal WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence";
static const char aside_sql[] =
    "SELECT " ENTRY_COLUMNS
    ", reason FROM set_aside WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence";

struct reading {
    struct db *db;
    struct journal_visit *to;
    uint64_t next; /* after the last entry that was visited */
};

static bool row_visit(struct reading *r, sqlite3_stmt *s, bool has_reason)
{
    struct journal_entry entry = {
        .sequence = db_column_u64(s, 0),
        .group_no = db_column_u64(s, 1),
        .signal = (enum signal)db_column_u64(s, 2),
        .codec = (enum codec)db_column_u64(s, 3),
        .items = db_column_u64(s, 4),
        .arrival_unix_ns = db_column_u64(s, 5),
        .body_bytes = db_column_u64(s, 6),
        .request_hash = hash128_load(db_column_bytes(s, 7)),
        .checksum = db_column_u64(s, 8),
        .stored = db_column_bytes(s, 9),
    };
    bool is_intact = entry.checksum == journal_checksum(&entry) &&
                     db_column_u64(s, 2) < SIGNAL_COUNT && db_column_u64(s, 3) < CODEC_COUNT;
    const char *reason = has_reason ? (const char *)sqlite3_column_text(s, 10) : NULL;
    r->next = entry.sequence + 1;
    return r->to->visit(r->to->context, &entry, is_intact,
                        has_reason && reason == NULL ? "" : reason);
}

/* Visit the entries with sequence in [first, last]. */
static enum err rows_visit(struct reading *r, sqlite3_stmt *s, uint64_t first, uint64_t last)
{
    enum err e = ERR_OK;
    bool is_row = true;
    db_bind_u64(s, 1, first);
    db_bind_u64(s, 2, last);
    while (r->to->goes_on) {
        e = db_step(r->db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        r->to->goes_on = row_visit(r, s, sqlite3_column_count(s) > 10);
    }
    (void)sqlite3_reset(s);
    return e;
}

static enum err table_each(struct db *db, const char *sql, struct journal_visit *v)
{
    struct reading r = { .db = db, .to = v };
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db, sql, &s);
    if (e == ERR_OK)
        e = rows_visit(&r, s, 0, INT64_MAX);
    (void)sqlite3_finalize(s);
    return e;
}

enum err journal_rows_each(struct db *db, struct journal_visit *v)
{
    return table_each(db, journal_sql, v);
}

enum err journal_aside_each(struct db *db, struct journal_visit *v)
{
    return table_each(db, aside_sql, v);
}

/* ---- Of a damaged file ------------------------------------------------------------------------- */

/* The numbers that entries may have, from the list of groups; where that is damaged too, all that are tried. */
static enum err salvage_bounds(struct db *db, uint64_t *out_first, uint64_t *out_end)
{
    int64_t first = 0, end = 0;
    enum err e = db_integer(db, "SELECT min(first_sequence) FROM journal_group", 0, &first);
    if (e == ERR_OK)
        e = db_integer(db, "SELECT max(first_sequence + count) FROM journal_group", 0, &end);
    if (e != ERR_OK && e != ERR_CORRUPT)
        return e;
    *out_first = e == ERR_OK && first > 0 ? (uint64_t)first : 0;
    *out_end = e == ERR_OK && end > 0 ? (uint64_t)end : UINT64_MAX;
    return ERR_OK;
}

/* From the start to the first bad page; then number by number over it, and on from what is found again. */
static enum err table_salvage(struct db *db, const char *sql, struct journal_visit *v,
                              uint64_t first, uint64_t end, uint64_t *unread)
{
    struct reading r = { .db = db, .to = v };
    sqlite3_stmt *s = NULL;
    enum err e = db_prepare(db, sql, &s);
    if (e != ERR_OK)
        return e;
    e = rows_visit(&r, s, 0, INT64_MAX);
    if (r.next < first)
        r.next = first;
    for (uint64_t tries = 0; e == ERR_CORRUPT && r.next < end && tries < SALVAGE_TRIES; tries++) {
        uint64_t at = r.next;
        e = rows_visit(&r, s, at, at);
        r.next = at + 1;
        if (e == ERR_CORRUPT)
            ++*unread;
        else if (e == ERR_OK)
            e = rows_visit(&r, s, at + 1, INT64_MAX);
    }
    (void)sqlite3_finalize(s);
    return e == ERR_CORRUPT ? ERR_OK : e;
}

enum err journal_rows_salvage(struct db *db, struct journal_visit *v, uint64_t *out_unread)
{
    uint64_t first = 0, end = 0, unread = 0;
    enum err e = salvage_bounds(db, &first, &end);
    if (e == ERR_OK)
        e = table_salvage(db, journal_sql, v, first, end, &unread);
    if (e == ERR_OK)
        *out_unread = unread;
    return e;
}

/* Few, if any, and no list says which: the numbers of a bad page of theirs say nothing. */
enum err journal_aside_salvage(struct db *db, struct journal_visit *v, uint64_t *out_unread)
{
    uint64_t unread = 0;
    enum err e = table_salvage(db, aside_sql, v, 0, UINT64_MAX, &unread);
    if (e == ERR_OK)
        *out_unread = unread;
    return e;
}
