/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a journal, of a stranger's making: what a start finds after a crash. They are read; the start goes on in
 * them, twice: once beside what they hold, once when all of that has left and files are used again; and they are
 * copied as a backup copies them. Whatever they hold, sequences and groups of what is read rise, and what was there
 * and what is added is read again, each once and nothing else.
 *
 * Input: how (1 byte, HOW_), up to which sequence spans and log records have left (1, 1), the newest group that was
 * known before copying (1); then pieces, each the number of its file (1 byte: 1 to 4, with 128 as it is, else filled with zeros to
 * whole pages), its length (2) and its bytes. Hashes are mended, if `how` says so, as docs/FORMAT.md says they are
 * made, but for a group whose reserved bytes are not 0. Seeds: journal_fuzz_seeds.py. */
#include "base/mem.h"
#include "storage/sqlite/journal_private.h"
#include "storage/sqlite/schema.h"
#include "storage/testing/scratch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { HOW_HASHES = 1, HOW_SEQUENCES = 2, HOW_CHECKSUMS = 4, HOW_LARGE = 8 };
enum { FILES = 4, FILE_BYTES_MOST = 1 << 18, ENTRIES_MOST = 4096 };

struct input {
    uint8_t how, retired[SIGNAL_COUNT], known_group;
    struct bytes pieces;
};

struct entry {
    uint64_t sequence, group_no, what; /* hash of all else */
    uint64_t is_intact;
};

struct found {
    size_t count;
    uint64_t unread;
    struct entry entries[ENTRIES_MOST];
};

static char directory[128], path[160];
static struct db db;
static uint8_t files[FILES][FILE_BYTES_MOST];
static size_t lengths[FILES];
static struct found before, after;

#define must(condition) must_hold((condition), #condition)

static void must_hold(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "it is not so that %s\n", what);
    abort();
}

static void scratch_end(void)
{
    db_close(&db);
    scratch_remove(directory);
}

/* One partition for all inputs; what an input changes in it is rolled back. */
static void partition_open_once(void)
{
    if (db.handle != NULL)
        return;
    /* In memory, if there is such a place: what is synced here need not last. */
    (void)snprintf(directory, sizeof directory, "/dev/shm/spindle-fuzz-XXXXXX");
    if (mkdtemp(directory) == NULL)
        scratch_make(directory);
    (void)snprintf(path, sizeof path, "%s/p.db", directory);
    must(db_open(path, NULL, DB_WRITER, DURABILITY_PROCESS, &db) == ERR_OK &&
         schema_create(SCHEMA_PARTITION, &db) == ERR_OK);
    (void)atexit(scratch_end);
}

/* ---- The files ------------------------------------------------------------------------------- */

static uint8_t take(struct bytes *in)
{
    uint8_t byte = in->len > 0 ? in->data[0] : 0;
    *in = bytes_slice(*in, in->len > 0, in->len - (in->len > 0));
    return byte;
}

static void pieces_lay_out(struct bytes in)
{
    for (unsigned i = 0; i < FILES; i++) {
        memset(files[i], 0, lengths[i]);
        lengths[i] = 0;
    }
    while (in.len > 0) {
        uint8_t number = take(&in);
        size_t at = number % FILES, len = take(&in);
        len |= (size_t)take(&in) << 8;
        len = len < in.len ? len : in.len;
        size_t whole = number >= 128 ? len : segment_pages(len == 0 ? 1 : len);
        if (whole > FILE_BYTES_MOST - lengths[at])
            return;
        if (len > 0)
            memcpy(files[at] + lengths[at], in.data, len);
        lengths[at] += whole;
        in = bytes_slice(in, len, in.len - len);
    }
}

static void header_mend(uint8_t *header)
{
    store_le32(header, 0x4a735053u);
    store_le32(header + 4, 1);
    store_le64(header + 48, hash_bytes(bytes_of(header, 48)));
}

static void group_mend(uint8_t *file, size_t len, size_t at, uint8_t how)
{
    static const uint8_t none[24] = { 0 };
    uint8_t place[16], *group = file + at;
    if (load_le32(group) != 0x47735053u || memcmp(group + 32, none, sizeof none) != 0)
        return;
    store_le64(place, load_le64(group + 8));
    store_le64(place + 8, at);
    uint64_t seed = hash_bytes_seeded(bytes_of(place, sizeof place), load_le64(file + 16));
    store_le64(group + 56, hash_bytes_seeded(bytes_of(group, 56), seed));
    for (size_t i = 0; i < load_le32(group + 4) && at + 64 + 80 * (i + 1) <= len; i++) {
        uint8_t *head = group + 64 + 80 * i;
        size_t body = load_le32(head + 56), offset = load_le32(head + 60);
        if (how & HOW_SEQUENCES)
            store_le64(head, load_le64(group + 16) + i);
        if (how & HOW_CHECKSUMS && offset <= len - at && body <= len - at - offset)
            store_le64(head + 48,
                       hash_bytes_seeded(bytes_of(group + offset, body), load_le64(head)));
        store_le64(head + 72, hash_bytes_seeded(bytes_of(head, 72), seed + 1 + i));
    }
}

static void hashes_mend(uint8_t *file, size_t len, uint8_t how)
{
    if (len < SEGMENT_PAGE_BYTES)
        return;
    header_mend(file);
    if (load_le32(file + SEGMENT_PAGE_BYTES / 2) != 0)
        header_mend(file + SEGMENT_PAGE_BYTES / 2);
    for (size_t at = SEGMENT_PAGE_BYTES; at + 64 <= len; at += SEGMENT_PAGE_BYTES)
        group_mend(file, len, at, how);
}

static void files_write(const struct input *in)
{
    must(journal_files_unlink(path, NULL) == ERR_OK);
    pieces_lay_out(in->pieces);
    for (unsigned i = 0; i < FILES; i++) {
        char name[200];
        if (lengths[i] == 0)
            continue;
        if (in->how & HOW_HASHES)
            hashes_mend(files[i], lengths[i], in->how);
        (void)snprintf(name, sizeof name, "%s-j%u", path, i + 1);
        FILE *f = fopen(name, "wb");
        must(f != NULL && fwrite(files[i], 1, lengths[i], f) == lengths[i] && fclose(f) == 0);
    }
}

/* ---- Reading ----------------------------------------------------------------------------------- */

static uint64_t fold(uint64_t seed, uint64_t number)
{
    uint8_t bytes[8];
    store_le64(bytes, number);
    return hash_bytes_seeded(bytes_of(bytes, sizeof bytes), seed);
}

static bool entry_found(void *context, const struct journal_entry *e, bool is_intact,
                        const char *reason)
{
    struct found *f = context;
    const struct entry *last = f->count > 0 ? &f->entries[f->count - 1] : NULL;
    must(reason == NULL && f->count < ENTRIES_MOST);
    must(last == NULL || (e->sequence > last->sequence && e->group_no >= last->group_no));
    must(e->signal < SIGNAL_COUNT && e->codec < CODEC_COUNT);
    uint64_t what = hash_bytes_seeded(e->stored, e->checksum);
    must(is_intact == (hash_bytes_seeded(e->stored, e->sequence) == e->checksum));
    what = fold(fold(fold(what, e->arrival_unix_ns), e->items), e->body_bytes);
    what = fold(fold(what, e->request_hash.low), e->request_hash.high);
    what = fold(what, (uint64_t)e->signal * 512 + (uint64_t)e->codec * 2 + is_intact);
    f->entries[f->count++] = (struct entry){ e->sequence, e->group_no, what, is_intact };
    return true;
}

static void read_all(struct found *out)
{
    out->count = 0;
    must(journal_each(&db, entry_found, out, &out->unread) == ERR_OK);
}

static void must_equal(const struct found *a, const struct found *b, size_t count)
{
    must(a->count >= count && b->count >= count);
    must(count == 0 || memcmp(a->entries, b->entries, count * sizeof a->entries[0]) == 0);
}

/* ---- Going on ---------------------------------------------------------------------------------- */

static void group_add(struct journal *j, size_t len)
{
    static const uint8_t body[100 << 10] = { 1 };
    journal_group_begin(j, 2);
    for (int s = 0; s < SIGNAL_COUNT; s++) {
        struct journal_entry e = { .signal = (enum signal)s, .stored = bytes_of(body, len) };
        must(journal_group_add(j, &e) == ERR_OK);
    }
    must(journal_group_end(j) == ERR_OK);
}

static void start(struct journal *j)
{
    must(journal_open(j, &db, DURABILITY_PROCESS) == ERR_OK);
    for (int s = 0; s < SIGNAL_COUNT; s++)
        must(j->last[s] < j->next_sequence && j->retired[s] < j->next_sequence);
}

/* What is read afterwards is what was read before, and the two entries of the group. */
static void start_goes_on(const struct input *in)
{
    struct journal j;
    read_all(&before);
    start(&j);
    uint64_t first = j.next_sequence, group_no = j.next_group_no;
    must(before.count == 0 || (before.entries[before.count - 1].sequence < first &&
                               before.entries[before.count - 1].group_no < group_no));
    group_add(&j, in->how & HOW_LARGE ? 100 << 10 : 10);
    journal_close(&j);
    read_all(&after);
    must_equal(&before, &after, before.count);
    must(after.count == before.count + 2);
    for (size_t i = 0; i < 2; i++)
        must(after.entries[before.count + i].sequence == first + i &&
             after.entries[before.count + i].group_no == group_no);
}

/* All leaves the journal, and files are used again: nothing of what left comes back. */
static void files_are_used_again(const struct input *in)
{
    struct journal j;
    start(&j);
    for (int round = 0; round < 3; round++) {
        for (int s = 0; s < SIGNAL_COUNT; s++) {
            must(journal_retire(&j, (enum signal)s, j.next_sequence - 1) == ERR_OK);
            journal_retired(&j);
        }
        read_all(&after);
        must(after.count == 0 && after.unread == 0);
        uint64_t first = j.next_sequence;
        group_add(&j, in->how & HOW_LARGE ? 100 << 10 : 10);
        group_add(&j, 10);
        read_all(&after);
        must(after.count == 4 && after.unread == 0);
        for (size_t i = 0; i < 4; i++)
            must(after.entries[i].sequence == first + i);
    }
    journal_close(&j);
}

/* Nothing that was known is lost, nothing is added. The last group there is may be taken for torn if it is damaged. */
static void copy_is_trimmed(const struct input *in)
{
    size_t known = 0, whole = 0;
    read_all(&before);
    must(journal_copy_trim(&db, path, in->known_group) == ERR_OK);
    read_all(&after);
    while (known < before.count && before.entries[known].group_no <= in->known_group)
        known++;
    while (before.unread == 0 && whole < known && before.entries[whole].is_intact)
        whole++;
    must(after.count >= whole && after.count <= before.count);
    must_equal(&before, &after, after.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes rest = bytes_of(data, len);
    struct input in = { .how = take(&rest) };
    for (int s = 0; s < SIGNAL_COUNT; s++)
        in.retired[s] = take(&rest);
    in.known_group = take(&rest);
    in.pieces = rest;
    partition_open_once();
    for (int copies = 0; copies < 2; copies++) {
        files_write(&in);
        char sql[200];
        (void)snprintf(sql, sizeof sql,
                       "BEGIN IMMEDIATE; INSERT INTO journal_retired (signal, sequence, group_no)"
                       " VALUES (0, %u, 0), (1, %u, 0)",
                       in.retired[0], in.retired[1]);
        must(db_exec(&db, sql) == ERR_OK);
        if (copies != 0) {
            copy_is_trimmed(&in);
        } else {
            start_goes_on(&in);
            files_are_used_again(&in);
        }
        db_rollback(&db);
    }
    return 0;
}
