/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/journal_segment.h"

#include "base/crash_point.h"
#include "base/mem.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- The first page -------------------------------------------------------------------------- */

#define SEGMENT_MAGIC   0x4a735053u /* "SPsJ" */
#define SEGMENT_VERSION 1u
#define GROUP_MAGIC     0x47735053u /* "SPsG" */

enum { HEADER_BYTES = 56, HEADER_HASH = 48, HEADER_TWIN = SEGMENT_PAGE_BYTES / 2 };

static void header_write(const struct segment_header *h, uint8_t *out)
{
    store_le32(out, SEGMENT_MAGIC);
    store_le32(out + 4, SEGMENT_VERSION);
    store_le64(out + 8, h->bytes);
    store_le64(out + 16, h->salt);
    store_le64(out + 24, h->serial);
    store_le64(out + 32, h->first_group_no);
    store_le64(out + 40, h->first_sequence);
    store_le64(out + HEADER_HASH, hash_bytes(bytes_of(out, HEADER_HASH)));
}

void segment_header_write(const struct segment_header *h, uint8_t page[SEGMENT_PAGE_BYTES])
{
    memset(page, 0, SEGMENT_PAGE_BYTES);
    header_write(h, page);
    header_write(h, page + HEADER_TWIN);
}

static bool header_read(const uint8_t *in, struct segment_header *out)
{
    if (load_le32(in) != SEGMENT_MAGIC || load_le32(in + 4) != SEGMENT_VERSION ||
        load_le64(in + HEADER_HASH) != hash_bytes(bytes_of(in, HEADER_HASH)))
        return false;
    *out = (struct segment_header){ .bytes = load_le64(in + 8),
                                    .salt = load_le64(in + 16),
                                    .serial = load_le64(in + 24),
                                    .first_group_no = load_le64(in + 32),
                                    .first_sequence = load_le64(in + 40) };
    return out->serial < SEGMENT_NUMBERS_END && out->first_group_no < SEGMENT_NUMBERS_END &&
           out->first_sequence < SEGMENT_NUMBERS_END;
}

/* One of the two may be damaged. Where they differ, beginning the file anew was cut short: what the older one was
 * written for counts no more. */
bool segment_header_read(const uint8_t page[SEGMENT_PAGE_BYTES], struct segment_header *out)
{
    struct segment_header first, second;
    bool has_first = header_read(page, &first),
         has_second = header_read(page + HEADER_TWIN, &second);
    if (!has_first && !has_second)
        return false;
    bool takes_second = has_second && (!has_first || second.serial > first.serial);
    *out = takes_second ? second : first;
    return true;
}

/* ---- Groups ---------------------------------------------------------------------------------- */

/* Offsets in a group's header and in the head of each of its entries. */
enum { GROUP_COUNT = 4, GROUP_NO = 8, GROUP_FIRST = 16, GROUP_LENGTH = 24, GROUP_HASH = 56 };
enum {
    ENTRY_SEQUENCE = 0,
    ENTRY_ARRIVAL = 8,
    ENTRY_ITEMS = 16,
    ENTRY_BODY_BYTES = 24,
    ENTRY_REQUEST = 32,
    ENTRY_CHECKSUM = 48,
    ENTRY_LENGTH = 56,
    ENTRY_OFFSET = 60,
    ENTRY_SIGNAL = 64,
    ENTRY_CODEC = 65,
    ENTRY_HASH = 72
};

uint64_t segment_pages(uint64_t bytes)
{
    return (bytes + SEGMENT_PAGE_BYTES - 1) / SEGMENT_PAGE_BYTES * SEGMENT_PAGE_BYTES;
}

static uint64_t group_seed(const struct segment_header *h, uint64_t group_no, uint64_t at)
{
    uint8_t place[16];
    store_le64(place, group_no);
    store_le64(place + 8, at);
    return hash_bytes_seeded(bytes_of(place, sizeof place), h->salt);
}

static uint64_t head_hash(const uint8_t *head, uint64_t seed, uint32_t index)
{
    return hash_bytes_seeded(bytes_of(head, ENTRY_HASH), seed + 1 + index);
}

static size_t head_at(uint32_t index)
{
    return SEGMENT_GROUP_BYTES + (size_t)index * SEGMENT_ENTRY_BYTES;
}

void segment_entry_write(uint8_t *group, uint32_t index, const struct journal_entry *e,
                         size_t offset)
{
    uint8_t *head = group + head_at(index);
    memset(head, 0, SEGMENT_ENTRY_BYTES);
    store_le64(head + ENTRY_SEQUENCE, e->sequence);
    store_le64(head + ENTRY_ARRIVAL, e->arrival_unix_ns);
    store_le64(head + ENTRY_ITEMS, e->items);
    store_le64(head + ENTRY_BODY_BYTES, e->body_bytes);
    hash128_store(e->request_hash, head + ENTRY_REQUEST);
    store_le64(head + ENTRY_CHECKSUM, journal_checksum(e));
    store_le32(head + ENTRY_LENGTH, (uint32_t)e->stored.len);
    store_le32(head + ENTRY_OFFSET, (uint32_t)offset);
    head[ENTRY_SIGNAL] = (uint8_t)e->signal;
    head[ENTRY_CODEC] = (uint8_t)e->codec;
}

void segment_group_seal(uint8_t *group, const struct segment_header *segment,
                        const struct segment_group *g)
{
    uint64_t seed = group_seed(segment, g->group_no, g->at);
    memset(group, 0, SEGMENT_GROUP_BYTES);
    store_le32(group, GROUP_MAGIC);
    store_le32(group + GROUP_COUNT, g->count);
    store_le64(group + GROUP_NO, g->group_no);
    store_le64(group + GROUP_FIRST, g->first_sequence);
    store_le64(group + GROUP_LENGTH, g->bytes);
    store_le64(group + GROUP_HASH, hash_bytes_seeded(bytes_of(group, GROUP_HASH), seed));
    for (uint32_t i = 0; i < g->count; i++) {
        uint8_t *head = group + head_at(i);
        store_le64(head + ENTRY_HASH, head_hash(head, seed, i));
    }
}

static bool group_read(struct bytes segment, const struct segment_header *h, uint64_t at,
                       struct segment_group *out)
{
    const uint8_t *in = segment.data + at;
    if (load_le32(in) != GROUP_MAGIC)
        return false;
    *out = (struct segment_group){ .at = at,
                                   .group_no = load_le64(in + GROUP_NO),
                                   .first_sequence = load_le64(in + GROUP_FIRST),
                                   .bytes = load_le64(in + GROUP_LENGTH),
                                   .count = load_le32(in + GROUP_COUNT) };
    return load_le64(in + GROUP_HASH) ==
               hash_bytes_seeded(bytes_of(in, GROUP_HASH), group_seed(h, out->group_no, at)) &&
           out->bytes <= segment.len - at && out->count > 0 && head_at(out->count) <= out->bytes;
}

static bool group_is_within(const struct segment_group *g, const struct segment_range *r)
{
    return g->group_no >= r->group_no && g->group_no < r->group_no_end &&
           g->first_sequence >= r->sequence && g->first_sequence < r->sequence_end &&
           g->count <= r->sequence_end - g->first_sequence;
}

bool segment_group_find(struct bytes segment, const struct segment_header *h, uint64_t from,
                        const struct segment_range *within, struct segment_group *out)
{
    for (uint64_t at = from; at + SEGMENT_GROUP_BYTES <= segment.len; at += SEGMENT_PAGE_BYTES) {
        struct segment_group g;
        if (!group_read(segment, h, at, &g) || !group_is_within(&g, within))
            continue;
        *out = g;
        return true;
    }
    return false;
}

enum err segment_entry_read(struct bytes segment, const struct segment_header *h,
                            const struct segment_group *g, uint32_t index,
                            struct journal_entry *out, bool *out_is_intact)
{
    assert(index < g->count);
    const uint8_t *head = segment.data + g->at + head_at(index);
    uint64_t length = load_le32(head + ENTRY_LENGTH), offset = load_le32(head + ENTRY_OFFSET);
    if (load_le64(head + ENTRY_HASH) != head_hash(head, group_seed(h, g->group_no, g->at), index) ||
        load_le64(head + ENTRY_SEQUENCE) != g->first_sequence + index ||
        head[ENTRY_SIGNAL] >= SIGNAL_COUNT || head[ENTRY_CODEC] >= CODEC_COUNT ||
        offset < head_at(g->count) || offset > g->bytes || length > g->bytes - offset)
        return ERR_CORRUPT;
    struct journal_entry e = {
        .sequence = load_le64(head + ENTRY_SEQUENCE),
        .group_no = g->group_no,
        .signal = (enum signal)head[ENTRY_SIGNAL],
        .codec = (enum codec)head[ENTRY_CODEC],
        .items = load_le64(head + ENTRY_ITEMS),
        .arrival_unix_ns = load_le64(head + ENTRY_ARRIVAL),
        .body_bytes = load_le64(head + ENTRY_BODY_BYTES),
        .request_hash = hash128_load(bytes_of(head + ENTRY_REQUEST, 16)),
        .checksum = load_le64(head + ENTRY_CHECKSUM),
        .stored = bytes_slice(segment, (size_t)(g->at + offset), (size_t)length),
    };
    *out_is_intact = journal_checksum(&e) == e.checksum;
    *out = e;
    return ERR_OK;
}

bool segment_group_is_whole(struct bytes segment, const struct segment_header *h,
                            const struct segment_group *g)
{
    bool is_intact = true;
    struct journal_entry e;
    for (uint32_t i = 0; is_intact && i < g->count; i++)
        if (segment_entry_read(segment, h, g, i, &e, &is_intact) != ERR_OK)
            return false;
    return is_intact;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* In one call: SQLite's own VFS takes 17 bits of a length, and calls the disk full where they are all 0. */
#define WRITE_BYTES_MOST ((size_t)120 << 10)
#define READ_BYTES_MOST  ((size_t)1 << 30) /* likewise: its length is an int */
#define ZEROS_BYTES      ((size_t)128 << 10)

enum err segment_place_of(struct db *db, struct segment_place *out)
{
    sqlite3_vfs *vfs = NULL;
    const char *path = sqlite3_db_filename(db->handle, "main");
    int rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
    if (rc != SQLITE_OK || vfs == NULL || path == NULL)
        return ERR_IO;
    *out = (struct segment_place){ .vfs = vfs, .path = path, .db = db };
    return ERR_OK;
}

/* The name may have nothing behind its last '-' that SQLite takes for a file of its own. */
static char *name_make(const char *path, uint32_t number)
{
    size_t size = strlen(path) + sizeof "-j4294967295";
    char *name =
        mem_zalloc(size + 4); /* SQLite passes names that end in two NULs, and so must we */
    if (name != NULL)
        (void)snprintf(name, size, "%s-j%u", path, number);
    return name;
}

static int number_compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Whether a file of the directory is one of the segments of the partition's file `name`. */
static bool number_of(const char *file, const char *name, uint32_t *out)
{
    size_t len = strlen(name);
    unsigned long number = 0;
    char *end = NULL;
    if (strncmp(file, name, len) != 0 || strncmp(file + len, "-j", 2) != 0 || file[len + 2] < '1' ||
        file[len + 2] > '9')
        return false;
    errno = 0;
    number = strtoul(file + len + 2, &end, 10);
    if (errno != 0 || *end != '\0' || number >= UINT32_MAX)
        return false;
    *out = (uint32_t)number;
    return true;
}

enum err segment_list(const char *path, uint32_t **out, size_t *out_count)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash == NULL ? mem_text(".", 1) : mem_text(path, (size_t)(slash - path) + 1);
    if (directory == NULL)
        return ERR_NOMEM;
    DIR *d = opendir(directory);
    mem_free(directory);
    if (d == NULL)
        return errno == ENOMEM ? ERR_NOMEM : ERR_IO;
    uint32_t *numbers = NULL;
    size_t count = 0, capacity = 0;
    enum err e = ERR_OK;
    for (struct dirent *f = readdir(d); f != NULL && e == ERR_OK; f = readdir(d)) {
        uint32_t number = 0;
        if (!number_of(f->d_name, slash == NULL ? path : slash + 1, &number))
            continue;
        if (count == capacity) {
            capacity = capacity == 0 ? 8 : 2 * capacity;
            uint32_t *grown = mem_realloc(numbers, capacity * sizeof *grown);
            if (grown == NULL) {
                e = ERR_NOMEM;
                break;
            }
            numbers = grown;
        }
        numbers[count++] = number;
    }
    (void)closedir(d);
    if (e != ERR_OK) {
        mem_free(numbers);
        return e;
    }
    if (count > 0)
        qsort(numbers, count, sizeof *numbers, number_compare);
    *out = numbers;
    *out_count = count;
    return ERR_OK;
}

/* As a log, so that a new one's entry in the directory is synced with it. On failure too, segment_close() is the
 * caller's. */
static enum err file_open(const struct segment_place *place, uint32_t number, int flags,
                          struct segment_file *out)
{
    *out = (struct segment_file){ .file = mem_zalloc((size_t)place->vfs->szOsFile),
                                  .name = name_make(place->path, number) };
    if (out->file == NULL || out->name == NULL)
        return ERR_NOMEM;
    int rc = place->vfs->xOpen(place->vfs, out->name, out->file, flags | SQLITE_OPEN_WAL, NULL);
    sqlite3_int64 size = 0;
    if (rc == SQLITE_OK)
        rc = out->file->pMethods->xFileSize(out->file, &size);
    out->bytes = (uint64_t)size;
    return db_result(place->db, rc);
}

enum err segment_open(const struct segment_place *place, uint32_t number, bool is_writer,
                      struct segment_file *out)
{
    enum err e =
        file_open(place, number, is_writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, out);
    if (e != ERR_OK)
        segment_close(out);
    return e;
}

static enum err zeros_write(const struct segment_place *place, struct segment_file *f,
                            uint64_t bytes)
{
    uint8_t *zeros = mem_zalloc(ZEROS_BYTES);
    if (zeros == NULL)
        return ERR_NOMEM;
    enum err e = ERR_OK;
    for (uint64_t at = 0; e == ERR_OK && at < bytes; at += ZEROS_BYTES) {
        uint64_t left = bytes - at;
        e = segment_write(place, f, at,
                          bytes_of(zeros, left < ZEROS_BYTES ? (size_t)left : ZEROS_BYTES));
    }
    mem_free(zeros);
    return e;
}

static enum err entry_sync(const struct segment_place *place)
{
    const char *slash = strrchr(place->path, '/');
    char *directory =
        slash == NULL ? mem_text(".", 1) : mem_text(place->path, (size_t)(slash - place->path) + 1);
    if (directory == NULL)
        return ERR_NOMEM;
    enum err e = db_sync_directory(place->db, directory);
    mem_free(directory);
    return e;
}

enum err segment_make(const struct segment_place *place, uint32_t number, uint64_t bytes,
                      struct segment_file *out)
{
    struct segment_file f;
    enum err e = file_open(place, number, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &f);
    if (e == ERR_OK && f.bytes > 0)
        e = db_result(place->db, f.file->pMethods->xTruncate(f.file, 0));
    if (e == ERR_OK)
        e = zeros_write(place, &f, bytes);
    CRASH_POINT("segment_written");
    if (e == ERR_OK)
        e = segment_sync(place, &f);
    if (e == ERR_OK)
        e = entry_sync(place);
    CRASH_POINT("segment_made");
    if (e != ERR_OK) {
        segment_close(&f);
        (void)!segment_unlink(place->vfs, place->path, number);
        return e;
    }
    f.bytes = bytes;
    *out = f;
    return ERR_OK;
}

void segment_close(struct segment_file *f)
{
    if (f->file != NULL && f->file->pMethods != NULL)
        (void)f->file->pMethods->xClose(f->file);
    mem_free(f->file);
    mem_free(f->name);
    *f = (struct segment_file){ 0 };
}

enum err segment_write(const struct segment_place *place, struct segment_file *f, uint64_t at,
                       struct bytes bytes)
{
    int rc = SQLITE_OK;
    while (rc == SQLITE_OK && bytes.len > 0) {
        size_t len = bytes.len < WRITE_BYTES_MOST ? bytes.len : WRITE_BYTES_MOST;
        rc = f->file->pMethods->xWrite(f->file, bytes.data, (int)len, (sqlite3_int64)at);
        bytes = bytes_slice(bytes, len, bytes.len - len);
        at += len;
    }
    return db_result(place->db, rc);
}

enum err segment_sync(const struct segment_place *place, struct segment_file *f)
{
    return db_result(place->db,
                     f->file->pMethods->xSync(f->file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY));
}

enum err segment_read(const struct segment_place *place, struct segment_file *f, uint8_t **out)
{
    uint8_t *bytes = mem_alloc((size_t)f->bytes + 1);
    if (bytes == NULL)
        return ERR_NOMEM;
    int rc = SQLITE_OK;
    for (uint64_t at = 0; rc == SQLITE_OK && at < f->bytes;) {
        uint64_t left = f->bytes - at;
        size_t len = left < READ_BYTES_MOST ? (size_t)left : READ_BYTES_MOST;
        rc = f->file->pMethods->xRead(f->file, bytes + at, (int)len, (sqlite3_int64)at);
        at += len;
    }
    if (rc != SQLITE_OK) {
        mem_free(bytes);
        return db_result(place->db, rc);
    }
    *out = bytes;
    return ERR_OK;
}

enum err segment_unlink(sqlite3_vfs *vfs, const char *path, uint32_t number)
{
    char *name = name_make(path, number);
    if (name == NULL)
        return ERR_NOMEM;
    int rc = vfs->xDelete(vfs, name, 0);
    mem_free(name);
    return rc == SQLITE_OK || rc == SQLITE_IOERR_DELETE_NOENT ? ERR_OK : ERR_IO;
}
