/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/journal.h"

#include <assert.h>

#define SALVAGE_TRIES (1u << 20) /* numbers looked up in a damaged file: some ten seconds */

static const char insert_sql[] =
    "INSERT INTO journal (sequence, group_no, tenant, signal, codec, items, arrival_unix_ns,"
    " body_bytes, request_hash, checksum, body) VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
    "?10)";
static const char insert_group_sql[] =
    "INSERT INTO journal_group (group_no, first_sequence, count, hash) VALUES (?1, ?2, ?3, ?4)";
static const char delete_range_sql[] =
    "DELETE FROM journal WHERE sequence BETWEEN ?1 AND ?2 AND signal = ?3";
static const char delete_groups_sql[] =
    "DELETE FROM journal_group WHERE group_no <"
    " coalesce((SELECT group_no FROM journal ORDER BY sequence LIMIT 1),"
    " (SELECT max(group_no) FROM journal_group))";
static const char copy_aside_sql[] =
    "INSERT INTO set_aside SELECT sequence, group_no, tenant, signal, codec, items,"
    " arrival_unix_ns, body_bytes, request_hash, checksum, body, ?2 FROM journal WHERE sequence = "
    "?1";

void hash128_store(struct hash128 h, uint8_t out[16])
{
    store_le64(out, h.low);
    store_le64(out + 8, h.high);
}

struct hash128 hash128_load(struct bytes stored)
{
    if (stored.len != 16)
        return (struct hash128){ 0 };
    return (struct hash128){ .low = load_le64(stored.data), .high = load_le64(stored.data + 8) };
}

uint64_t journal_checksum(const struct journal_entry *e)
{
    return hash_bytes_seeded(e->stored, e->sequence);
}

uint64_t journal_group_hash_fold(uint64_t hash, uint64_t checksum)
{
    uint8_t pair[16];
    store_le64(pair, hash);
    store_le64(pair + 8, checksum);
    return hash_bytes(bytes_of(pair, sizeof pair));
}

enum err journal_open(struct journal *j, struct db *db)
{
    *j = (struct journal){ .db = db };
    const struct {
        const char *sql;
        sqlite3_stmt **out;
    } statements[] = {
        { insert_sql, &j->insert },
        { insert_group_sql, &j->insert_group },
        { delete_range_sql, &j->delete_range },
        { delete_groups_sql, &j->delete_groups },
        { copy_aside_sql, &j->copy_aside },
    };
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < sizeof statements / sizeof statements[0]; i++)
        e = db_prepare(db, statements[i].sql, statements[i].out);

    /* The newest group's row is never removed, and its entries were the last. */
    int64_t group_no = 0, sequence = 0;
    if (e == ERR_OK)
        e = db_integer(db, "SELECT max(group_no) FROM journal_group", 0, &group_no);
    if (e == ERR_OK)
        e = db_integer(db,
                       "SELECT first_sequence + count FROM journal_group"
                       " ORDER BY group_no DESC LIMIT 1",
                       1, &sequence);
    if (e != ERR_OK) {
        journal_close(j);
        return e;
    }
    j->next_group_no = (uint64_t)group_no + 1;
    j->next_sequence = (uint64_t)sequence;
    return ERR_OK;
}

void journal_close(struct journal *j)
{
    sqlite3_stmt *statements[] = { j->insert, j->insert_group, j->delete_range, j->delete_groups,
                                   j->copy_aside };
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        (void)sqlite3_finalize(statements[i]);
    *j = (struct journal){ 0 };
}

/* ---- Appending ------------------------------------------------------------------------------- */

void journal_group_begin(struct journal *j)
{
    j->group_count = 0;
    j->group_hash = 0;
}

enum err journal_group_add(struct journal *j, struct journal_entry *entry)
{
    entry->sequence = j->next_sequence + j->group_count;
    entry->group_no = j->next_group_no;
    uint64_t checksum = journal_checksum(entry);
    uint8_t hash[16];
    hash128_store(entry->request_hash, hash);
    db_bind_u64(j->insert, 1, entry->sequence);
    db_bind_u64(j->insert, 2, entry->group_no);
    db_bind_u64(j->insert, 3, (uint64_t)entry->signal);
    db_bind_u64(j->insert, 4, (uint64_t)entry->codec);
    db_bind_u64(j->insert, 5, entry->items);
    db_bind_u64(j->insert, 6, entry->arrival_unix_ns);
    db_bind_u64(j->insert, 7, entry->body_bytes);
    db_bind_bytes(j->insert, 8, bytes_of(hash, sizeof hash));
    db_bind_u64(j->insert, 9, checksum);
    db_bind_bytes(j->insert, 10, entry->stored);
    enum err e = db_run(j->db, j->insert);
    if (e != ERR_OK)
        return e;
    j->group_count++;
    j->group_hash = journal_group_hash_fold(j->group_hash, checksum);
    return ERR_OK;
}

enum err journal_group_end(struct journal *j)
{
    assert(j->group_count > 0);
    db_bind_u64(j->insert_group, 1, j->next_group_no);
    db_bind_u64(j->insert_group, 2, j->next_sequence);
    db_bind_u64(j->insert_group, 3, j->group_count);
    db_bind_u64(j->insert_group, 4, j->group_hash);
    return db_run(j->db, j->insert_group);
}

void journal_group_committed(struct journal *j)
{
    j->next_sequence += j->group_count;
    j->next_group_no++;
    j->group_count = 0;
}

/* ---- Removing -------------------------------------------------------------------------------- */

enum err journal_remove(struct journal *j, enum signal signal, uint64_t first, uint64_t last)
{
    db_bind_u64(j->delete_range, 1, first);
    db_bind_u64(j->delete_range, 2, last);
    db_bind_u64(j->delete_range, 3, (uint64_t)signal);
    return db_run(j->db, j->delete_range);
}

enum err journal_set_aside(struct journal *j, uint64_t sequence, const char *reason)
{
    db_bind_u64(j->copy_aside, 1, sequence);
    (void)sqlite3_bind_text(j->copy_aside, 2, reason, -1, SQLITE_STATIC);
    return db_run(j->db, j->copy_aside);
}

enum err journal_forget_groups(struct journal *j)
{
    return db_run(j->db, j->delete_groups);
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
    journal_entry_fn *visit;
    void *context;
    bool goes_on;
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
        .stored = db_column_bytes(s, 9),
    };
    bool is_intact = db_column_u64(s, 8) == journal_checksum(&entry) &&
                     db_column_u64(s, 2) < SIGNAL_COUNT && db_column_u64(s, 3) < CODEC_COUNT;
    const char *reason = has_reason ? (const char *)sqlite3_column_text(s, 10) : NULL;
    r->next = entry.sequence + 1;
    return r->visit(r->context, &entry, is_intact, has_reason && reason == NULL ? "" : reason);
}

/* Visit the entries with sequence in [first, last]. */
static enum err rows_visit(struct reading *r, sqlite3_stmt *s, uint64_t first, uint64_t last)
{
    enum err e = ERR_OK;
    bool is_row = true;
    db_bind_u64(s, 1, first);
    db_bind_u64(s, 2, last);
    while (r->goes_on) {
        e = db_step(r->db, s, &is_row);
        if (e != ERR_OK || !is_row)
            break;
        r->goes_on = row_visit(r, s, sqlite3_column_count(s) > 10);
    }
    (void)sqlite3_reset(s);
    return e;
}

enum err journal_each(struct db *db, journal_entry_fn *visit, void *context)
{
    struct reading r = { .db = db, .visit = visit, .context = context, .goes_on = true };
    const char *const tables[] = { journal_sql, aside_sql };
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < sizeof tables / sizeof tables[0]; i++) {
        sqlite3_stmt *s = NULL;
        e = db_prepare(db, tables[i], &s);
        if (e == ERR_OK)
            e = rows_visit(&r, s, 0, INT64_MAX);
        (void)sqlite3_finalize(s);
    }
    return e;
}

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

/* has_groups: what is in the table is in the list of groups too; that forgets those of what was set aside. */
static enum err table_salvage(struct reading *r, const char *sql, bool has_groups, uint64_t *unread)
{
    uint64_t first = 0, end = 0;
    sqlite3_stmt *s = NULL;
    enum err e = salvage_bounds(r->db, &first, &end);
    if (e == ERR_OK)
        e = db_prepare(r->db, sql, &s);
    if (e != ERR_OK)
        return e;
    /* From the start to the first bad page; then number by number over it, and on from what is found again. */
    r->next = 0;
    e = rows_visit(r, s, 0, INT64_MAX);
    if (has_groups && r->next < first)
        r->next = first;
    for (uint64_t tries = 0; e == ERR_CORRUPT && r->next < end && tries < SALVAGE_TRIES; tries++) {
        uint64_t at = r->next;
        e = rows_visit(r, s, at, at);
        r->next = at + 1;
        if (e == ERR_CORRUPT)
            ++*unread;
        else if (e == ERR_OK)
            e = rows_visit(r, s, at + 1, INT64_MAX);
    }
    (void)sqlite3_finalize(s);
    return e == ERR_CORRUPT ? ERR_OK : e;
}

enum err journal_salvage(struct db *db, journal_entry_fn *visit, void *context,
                         uint64_t *out_unread)
{
    struct reading r = { .db = db, .visit = visit, .context = context, .goes_on = true };
    uint64_t unread = 0, unread_aside = 0;
    enum err e = table_salvage(&r, journal_sql, true, &unread);
    if (e == ERR_OK) /* few, if any: the numbers of a bad page of theirs say nothing */
        e = table_salvage(&r, aside_sql, false, &unread_aside);
    if (e == ERR_OK)
        *out_unread = unread > 0 || unread_aside == 0 ? unread : 1;
    return e;
}
