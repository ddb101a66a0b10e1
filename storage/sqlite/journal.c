/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c - the writing end: groups into segments, and segments used again. */
#include "storage/sqlite/journal.h"

#include "base/crash_point.h"
#include "base/defect.h"
#include "base/mem.h"
#include "base/random.h"
#include "storage/sqlite/journal_private.h"

#include <assert.h>

/* A new partition's first segment is small, and each is four times as long as the one before: a quiet server writes
 * few zeros, and a busy one has long segments soon. */
#define SEGMENT_BYTES_FIRST ((size_t)64 << 10)
#define SEGMENT_BYTES_MOST  ((size_t)4 << 20)
#define SEGMENT_GROWTH      4
#define GROUP_BYTES_MOST    ((size_t)UINT32_MAX - SEGMENT_PAGE_BYTES) /* offsets have 32 bits */
/* zstd -1 makes 54 bytes a span at 2 GB/s; each byte journalled costs about 1.4 ns more. */
#define JOURNAL_ZSTD_LEVEL (-1)
#define ROOM_BYTES         ((size_t)16 << 10) /* what a small group takes */

struct journal_segment {
    struct segment_file file;
    uint32_t number;
    struct segment_header header;
    uint64_t end;           /* where the next group goes; 0: nothing in it counts */
    uint64_t last_sequence; /* of what is in it */
    bool is_short;          /* shorter than it was made: it takes nothing any more */
};

static const char store_position_sql[] =
    "INSERT INTO journal_retired (signal, sequence, group_no) VALUES (?1, ?2, ?3)"
    " ON CONFLICT DO UPDATE SET sequence = excluded.sequence, group_no = excluded.group_no";
static const char insert_aside_sql[] =
    "INSERT OR IGNORE INTO set_aside (sequence, group_no, tenant, signal, codec, items,"
    " arrival_unix_ns, body_bytes, request_hash, checksum, body, reason)"
    " VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

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

enum err journal_body_compress(struct bytes body, struct buffer *out)
{
    buffer_reset(out);
    return codec_compress(CODEC_ZSTD, JOURNAL_ZSTD_LEVEL, body, out);
}

static bool has_current(const struct journal *j)
{
    return j->current < j->segments_count;
}

/* ---- Opening ----------------------------------------------------------------------------------- */

static enum err segment_add(struct journal *j, const struct journal_segment *s)
{
    if (j->segments_count == j->segments_capacity) {
        size_t capacity = j->segments_capacity == 0 ? 8 : 2 * j->segments_capacity;
        struct journal_segment *grown = mem_realloc(j->segments, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        j->segments = grown;
        j->segments_capacity = capacity;
    }
    j->segments[j->segments_count++] = *s;
    return ERR_OK;
}

static bool entry_found(void *context, const struct journal_entry *e, bool is_intact)
{
    struct journal *j = context;
    if (is_intact && e->sequence > j->last[e->signal])
        j->last[e->signal] = e->sequence;
    return true;
}

static enum err segment_found(void *context, const struct chain_segment *found)
{
    struct journal *j = context;
    struct segment_place place;
    struct journal_segment s = { .number = found->number,
                                 .header = found->header,
                                 .end = found->end,
                                 .last_sequence = found->last_sequence,
                                 .is_short = found->file_bytes < found->header.bytes };
    enum err e = segment_place_of(j->db, &place);
    if (e == ERR_OK)
        e = segment_open(&place, found->number, true, &s.file);
    if (e == ERR_OK)
        e = segment_add(j, &s);
    if (e != ERR_OK)
        segment_close(&s.file);
    return e;
}

enum err journal_open(struct journal *j, struct db *db, enum durability durability)
{
    *j = (struct journal){ .db = db,
                           .syncs = durability == DURABILITY_FSYNC,
                           .current = SIZE_MAX,
                           .segment_bytes_most = SEGMENT_BYTES_MOST,
                           .segment_bytes_next = SEGMENT_BYTES_FIRST };
    buffer_init(&j->group, GROUP_BYTES_MOST);
    struct journal_position position;
    struct segment_place place;
    enum err e = db_prepare(db, store_position_sql, &j->store_position);
    if (e == ERR_OK)
        e = db_prepare(db, insert_aside_sql, &j->insert_aside);
    if (e == ERR_OK)
        e = journal_position_load(db, &position);
    int64_t aside = 0;
    if (e == ERR_OK)
        e = db_integer(db, "SELECT max(sequence) FROM set_aside", 0, &aside);
    if (e == ERR_OK)
        e = segment_place_of(db, &place);
    struct chain_visit visit = {
        .has_horizon = true, .on_entry = entry_found, .on_segment = segment_found, .context = j
    };
    if (e == ERR_OK) {
        j->horizon = visit.horizon = journal_horizon(&position);
        memcpy(j->retired, position.retired, sizeof j->retired);
        memcpy(j->last, position.retired, sizeof j->last);
        e = chain_read(&place, &visit);
    }
    if (e != ERR_OK) {
        journal_close(j);
        return e;
    }
    /* Where the disk lost what was in the segments, the database still knows which numbers were given. */
    j->next_sequence = visit.next_sequence;
    if ((uint64_t)aside >= j->next_sequence)
        j->next_sequence = (uint64_t)aside + 1;
    for (int s = 0; s < SIGNAL_COUNT; s++)
        if (position.retired[s] >= j->next_sequence)
            j->next_sequence = position.retired[s] + 1;
    j->next_group_no =
        visit.next_group_no > position.group_no ? visit.next_group_no : position.group_no + 1;
    j->next_serial = visit.next_serial;
    j->next_number = visit.next_number;
    return ERR_OK;
}

void journal_close(struct journal *j)
{
    if (j->db == NULL)
        return;
    for (size_t i = 0; i < j->segments_count; i++)
        segment_close(&j->segments[i].file);
    mem_free(j->segments);
    buffer_deinit(&j->group);
    (void)sqlite3_finalize(j->store_position);
    (void)sqlite3_finalize(j->insert_aside);
    *j = (struct journal){ 0 };
}

/* ---- Segments ---------------------------------------------------------------------------------- */

/* Nothing in it counts: it can be begun anew. */
static bool is_free(const struct journal *j, const struct journal_segment *s)
{
    return s->end == 0 || s->last_sequence <= j->horizon;
}

static bool has_room(const struct journal_segment *s, uint64_t bytes)
{
    return s->end != 0 && s->end <= s->file.bytes && bytes <= s->file.bytes - s->end;
}

static enum err segment_new(struct journal *j, uint64_t bytes_least)
{
    struct segment_place place;
    struct journal_segment s = { .number = j->next_number };
    uint64_t wanted = j->segment_bytes_next;
    wanted = wanted > j->segment_bytes_most ? j->segment_bytes_most : wanted;
    wanted = wanted < SEGMENT_BYTES_FIRST ? SEGMENT_BYTES_FIRST : wanted;
    wanted = wanted < bytes_least ? bytes_least : wanted;
    if (j->next_number == UINT32_MAX) /* its file would not be listed */
        return ERR_FULL;
    enum err e = segment_place_of(j->db, &place);
    if (e == ERR_OK)
        e = segment_make(&place, s.number, wanted, &s.file);
    if (e == ERR_FULL && wanted > bytes_least)
        e = segment_make(&place, s.number, bytes_least, &s.file);
    if (e != ERR_OK)
        return e;
    j->next_number++;
    e = segment_add(j, &s);
    if (e != ERR_OK) {
        segment_close(&s.file);
        return e;
    }
    j->segments_made++;
    if (j->segment_bytes_next < SEGMENT_BYTES_MOST)
        j->segment_bytes_next *= SEGMENT_GROWTH;
    return ERR_OK;
}

/* A segment with room for so many bytes: the current one, one that is free, or a new one. */
static enum err segment_choose(struct journal *j, uint64_t bytes, size_t *out)
{
    if (has_current(j) && has_room(&j->segments[j->current], bytes)) {
        *out = j->current;
        return ERR_OK;
    }
    uint64_t whole = SEGMENT_PAGE_BYTES + bytes;
    for (size_t i = 0; i < j->segments_count; i++) {
        struct journal_segment *s = &j->segments[i];
        if (!is_free(j, s) || s->is_short || s->file.bytes < whole)
            continue;
        s->end = 0;
        *out = i;
        return ERR_OK;
    }
    enum err e = segment_new(j, whole);
    if (e == ERR_OK)
        *out = j->segments_count - 1;
    return e;
}

/* Its first page, which goes to the disk together with its first group. */
static enum err segment_begin(struct journal *j, struct journal_segment *s)
{
    struct segment_header h = { .bytes = s->file.bytes,
                                .serial = j->next_serial,
                                .first_group_no = j->next_group_no,
                                .first_sequence = j->next_sequence };
    enum err e = random_system(&h.salt, sizeof h.salt);
    if (e != ERR_OK)
        return e;
    j->next_serial++;
    s->header = h;
    segment_header_write(&h, j->group.data);
    return ERR_OK;
}

/* ---- Appending --------------------------------------------------------------------------------- */

void journal_group_begin(struct journal *j, size_t count)
{
    assert(count > 0 && count <= UINT32_MAX);
    size_t head = SEGMENT_PAGE_BYTES + SEGMENT_GROUP_BYTES + count * SEGMENT_ENTRY_BYTES;
    buffer_reset(&j->group);
    if (buffer_reserve(&j->group, head) != NULL)
        buffer_grew(&j->group, head);
    j->group_count = 0;
    j->group_room = (uint32_t)count;
    memset(j->group_last, 0, sizeof j->group_last);
}

enum err journal_group_add(struct journal *j, struct journal_entry *e)
{
    assert(j->group_count < j->group_room);
    e->sequence = j->next_sequence + j->group_count;
    e->group_no = j->next_group_no;
    size_t offset = j->group.len - SEGMENT_PAGE_BYTES;
    buffer_append_bytes(&j->group, e->stored);
    enum err error = buffer_error(&j->group);
    if (error != ERR_OK)
        return error;
    segment_entry_write(j->group.data + SEGMENT_PAGE_BYTES, j->group_count, e, offset);
    j->group_last[e->signal] = e->sequence;
    j->group_count++;
    return ERR_OK;
}

static enum err group_write(struct journal *j, struct journal_segment *s, uint64_t bytes)
{
    bool is_first = s->end == 0;
    struct segment_place place;
    enum err e = segment_place_of(j->db, &place);
    bool is_recycled = is_first && s->header.serial != 0;
    if (e == ERR_OK && is_first)
        e = segment_begin(j, s);
    if (e != ERR_OK)
        return e;
    struct segment_group g = { .at = is_first ? SEGMENT_PAGE_BYTES : s->end,
                               .group_no = j->next_group_no,
                               .first_sequence = j->next_sequence,
                               .bytes = bytes,
                               .count = j->group_count };
    segment_group_seal(j->group.data + SEGMENT_PAGE_BYTES, &s->header, &g);
    struct bytes all = buffer_bytes(&j->group);
    struct bytes group = bytes_slice(all, SEGMENT_PAGE_BYTES, all.len - SEGMENT_PAGE_BYTES);
    if (!defect_is("ack-before-commit"))
        e = is_first ? segment_write(&place, &s->file, 0, all)
                     : segment_write(&place, &s->file, g.at, group);
    CRASH_POINT("group_in_file");
    if (e == ERR_OK && j->syncs)
        e = segment_sync(&place, &s->file);
    if (e != ERR_OK)
        return e;
    s->end = g.at + group.len;
    j->segments_recycled += is_recycled;
    return ERR_OK;
}

enum err journal_group_end(struct journal *j)
{
    assert(j->group_count == j->group_room && !j->db->is_sync_failed);
    enum err e = buffer_error(&j->group);
    if (e != ERR_OK)
        return e;
    uint64_t bytes = j->group.len - SEGMENT_PAGE_BYTES;
    size_t fill = (size_t)(segment_pages(bytes) - bytes), at = 0;
    uint8_t *zeros = buffer_reserve(&j->group, fill);
    if (zeros == NULL)
        return buffer_error(&j->group);
    memset(zeros, 0, fill);
    buffer_grew(&j->group, fill);
    e = segment_choose(j, bytes + fill, &at);
    if (e == ERR_OK)
        e = group_write(j, &j->segments[at], bytes);
    if (e != ERR_OK)
        return e;
    j->current = at;
    j->segments[at].last_sequence = j->next_sequence + j->group_count - 1;
    for (int s = 0; s < SIGNAL_COUNT; s++)
        if (j->group_last[s] != 0)
            j->last[s] = j->group_last[s];
    j->next_sequence += j->group_count;
    j->next_group_no++;
    return ERR_OK;
}

enum err journal_room_make(struct journal *j)
{
    size_t at = 0;
    return segment_choose(j, ROOM_BYTES, &at);
}

/* ---- Retiring ---------------------------------------------------------------------------------- */

static enum err positions_store(struct journal *j)
{
    enum err e = ERR_OK;
    for (int s = 0; e == ERR_OK && s < SIGNAL_COUNT; s++) {
        db_bind_u64(j->store_position, 1, (uint64_t)s);
        db_bind_u64(j->store_position, 2, j->storing[s]);
        db_bind_u64(j->store_position, 3, j->next_group_no - 1);
        e = db_run(j->db, j->store_position);
    }
    return e;
}

/* A signal of which nothing is left does not hold up the other. */
enum err journal_retire(struct journal *j, enum signal signal, uint64_t last)
{
    assert(last >= j->retired[signal] && last < j->next_sequence);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        uint64_t retired = s == (int)signal ? last : j->retired[s];
        j->storing[s] = retired >= j->last[s] ? j->next_sequence - 1 : retired;
    }
    return positions_store(j);
}

void journal_retired(struct journal *j)
{
    struct journal_position position;
    memcpy(position.retired, j->storing, sizeof position.retired);
    memcpy(j->retired, j->storing, sizeof j->retired);
    j->horizon = journal_horizon(&position);
}

enum err journal_set_aside(struct journal *j, const struct journal_entry *e, const char *reason)
{
    uint8_t hash[16];
    hash128_store(e->request_hash, hash);
    db_bind_u64(j->insert_aside, 1, e->sequence);
    db_bind_u64(j->insert_aside, 2, e->group_no);
    db_bind_u64(j->insert_aside, 3, (uint64_t)e->signal);
    db_bind_u64(j->insert_aside, 4, (uint64_t)e->codec);
    db_bind_u64(j->insert_aside, 5, e->items);
    db_bind_u64(j->insert_aside, 6, e->arrival_unix_ns);
    db_bind_u64(j->insert_aside, 7, e->body_bytes);
    db_bind_bytes(j->insert_aside, 8, bytes_of(hash, sizeof hash));
    db_bind_u64(j->insert_aside, 9, e->checksum);
    db_bind_bytes(j->insert_aside, 10, e->stored);
    (void)sqlite3_bind_text(j->insert_aside, 11, reason, -1, SQLITE_STATIC);
    return db_run(j->db, j->insert_aside);
}

/* ---- Files ------------------------------------------------------------------------------------- */

/* What cannot be removed now is not looked at again before the partition goes: it holds nothing that counts. */
static void segment_remove(struct journal *j, size_t i)
{
    struct segment_place place;
    segment_close(&j->segments[i].file);
    if (segment_place_of(j->db, &place) == ERR_OK)
        (void)!segment_unlink(place.vfs, place.path, j->segments[i].number);
    if (has_current(j) && j->current > i)
        j->current--;
    else if (j->current == i)
        j->current = SIZE_MAX;
    j->segments_count--;
    memmove(&j->segments[i], &j->segments[i + 1], (j->segments_count - i) * sizeof j->segments[0]);
}

void journal_trim(struct journal *j, size_t kept, uint64_t bytes_most)
{
    size_t seen = 0;
    for (size_t i = 0; i < j->segments_count;) {
        const struct journal_segment *s = &j->segments[i];
        bool goes = is_free(j, s) && (s->is_short || s->file.bytes > bytes_most || seen++ >= kept);
        if (!goes) {
            i++;
            continue;
        }
        if (s->file.bytes > bytes_most)
            j->segment_bytes_next = SEGMENT_BYTES_FIRST;
        segment_remove(j, i);
        CRASH_POINT("segment_removed");
    }
}

/* Files whose making was cut short, or that could not be removed before. */
static void leftovers_remove(struct journal *j)
{
    struct segment_place place;
    uint32_t *numbers = NULL;
    size_t count = 0;
    if (segment_place_of(j->db, &place) != ERR_OK ||
        segment_list(place.path, &numbers, &count) != ERR_OK)
        return;
    for (size_t i = 0; i < count; i++)
        (void)!segment_unlink(place.vfs, place.path, numbers[i]);
    mem_free(numbers);
}

enum err journal_discard(struct journal *j)
{
    bool is_stored = j->horizon + 1 == j->next_sequence;
    enum err e = is_stored ? ERR_OK : db_exec(j->db, "BEGIN IMMEDIATE");
    if (e == ERR_OK && !is_stored) {
        for (int s = 0; s < SIGNAL_COUNT; s++)
            j->storing[s] = j->next_sequence - 1;
        e = positions_store(j);
        if (e == ERR_OK)
            e = db_exec(j->db, "COMMIT");
        if (e == ERR_OK)
            journal_retired(j);
    }
    if (e != ERR_OK) {
        db_rollback(j->db);
        return e;
    }
    journal_trim(j, 0, 0);
    assert(j->segments_count == 0);
    leftovers_remove(j);
    return ERR_OK;
}

uint64_t journal_bytes(const struct journal *j)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < j->segments_count; i++)
        bytes += j->segments[i].file.bytes;
    return bytes;
}

void journal_rest(struct journal *j)
{
    buffer_deinit(&j->group);
    buffer_init(&j->group, GROUP_BYTES_MOST);
}
