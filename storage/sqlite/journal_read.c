/* SPDX-License-Identifier: Apache-2.0 */
/* journal_read.c - what a journal holds, of any version. */
#include "base/mem.h"
#include "storage/sqlite/journal_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Entries ----------------------------------------------------------------------------------- */

struct reading {
    struct journal_visit to;
    struct journal_position position;
    struct db *db;
    sqlite3_stmt *is_aside; /* NULL: nothing was set aside */
};

/* What has changed is set aside at the next start, and stays in its segment until that is used again. */
static bool is_set_aside(struct reading *r, uint64_t sequence)
{
    bool is_row = false;
    if (r->is_aside == NULL)
        return false;
    db_bind_u64(r->is_aside, 1, sequence);
    if (db_step(r->db, r->is_aside, &is_row) != ERR_OK)
        is_row = false;
    (void)sqlite3_reset(r->is_aside);
    return is_row;
}

static bool entry_visit(void *context, const struct journal_entry *e, bool is_intact)
{
    struct reading *r = context;
    if (e->sequence > r->position.retired[e->signal] && !is_set_aside(r, e->sequence))
        r->to.goes_on = r->to.visit(r->to.context, e, is_intact, NULL);
    return r->to.goes_on;
}

static enum err segments_each(struct reading *r, bool has_position, uint64_t *out_unread)
{
    struct segment_place place;
    struct chain_visit v = { .horizon = journal_horizon(&r->position),
                             .has_horizon = has_position,
                             .on_entry = entry_visit,
                             .context = r };
    int64_t aside = 0;
    enum err e = segment_place_of(r->db, &place);
    if (e == ERR_OK)
        e = db_integer(r->db, "SELECT 1 FROM set_aside LIMIT 1", 0, &aside);
    if (e == ERR_CORRUPT && !has_position)
        e = ERR_OK;
    if (e == ERR_OK && aside != 0)
        e = db_prepare(r->db, "SELECT 1 FROM set_aside WHERE sequence = ?1", &r->is_aside);
    if (e == ERR_OK)
        e = chain_read(&place, &v);
    (void)sqlite3_finalize(r->is_aside);
    r->is_aside = NULL;
    if (e == ERR_OK)
        *out_unread = v.unread;
    return e;
}

static enum err has_segments(struct db *db, bool *out)
{
    int64_t version = 0;
    enum err e = db_integer(db, "PRAGMA user_version", 0, &version);
    if (e == ERR_OK)
        *out = version >= 3;
    return e;
}

enum err journal_each(struct db *db, journal_entry_fn *visit, void *context, uint64_t *out_unread)
{
    struct reading r = { .to = { visit, context, true }, .db = db };
    uint64_t unread = 0;
    bool is_new = false;
    enum err e = has_segments(db, &is_new);
    if (e == ERR_OK && is_new)
        e = journal_position_load(db, &r.position);
    if (e == ERR_OK)
        e = is_new ? segments_each(&r, true, &unread) : journal_rows_each(db, &r.to);
    if (e == ERR_OK && r.to.goes_on)
        e = journal_aside_each(db, &r.to);
    if (e == ERR_OK)
        *out_unread = unread;
    return e;
}

enum err journal_salvage(struct db *db, journal_entry_fn *visit, void *context,
                         uint64_t *out_unread)
{
    struct reading r = { .to = { visit, context, true }, .db = db };
    uint64_t unread = 0, unread_aside = 0;
    bool is_new = false, has_position = false;
    enum err e = has_segments(db, &is_new);
    if (e == ERR_OK && is_new) {
        e = journal_position_load(db, &r.position);
        has_position = e == ERR_OK;
        e = e == ERR_CORRUPT ? ERR_OK : e;
    }
    if (e == ERR_OK)
        e = is_new ? segments_each(&r, has_position, &unread)
                   : journal_rows_salvage(db, &r.to, &unread);
    if (e == ERR_OK)
        e = journal_aside_salvage(db, &r.to, &unread_aside);
    if (e == ERR_OK)
        *out_unread = unread > 0 || unread_aside == 0 ? unread : 1;
    return e;
}

enum err journal_newest_group(struct db *db, uint64_t *out)
{
    struct journal_position position;
    struct segment_place place;
    int64_t newest = 0;
    bool is_new = false;
    enum err e = has_segments(db, &is_new);
    if (e == ERR_OK && !is_new) {
        e = db_integer(db, "SELECT max(group_no) FROM journal_group", 0, &newest);
        if (e == ERR_OK)
            *out = (uint64_t)newest;
        return e;
    }
    if (e == ERR_OK)
        e = journal_position_load(db, &position);
    if (e == ERR_OK)
        e = segment_place_of(db, &place);
    if (e != ERR_OK)
        return e;
    struct chain_visit v = { .horizon = journal_horizon(&position), .has_horizon = true };
    e = chain_read(&place, &v);
    if (e == ERR_OK)
        *out = v.next_group_no - 1 > position.group_no ? v.next_group_no - 1 : position.group_no;
    return e;
}

/* ---- Copies ------------------------------------------------------------------------------------ */

static enum err name_of(const char *path, uint32_t number, char out[4096 + 64])
{
    int len = snprintf(out, 4096 + 64, "%s-j%u", path, number);
    return len > 0 && len < 4096 + 64 ? ERR_OK : ERR_IO;
}

struct trim {
    const char *path;
    const struct chain_visit *visit;
    uint32_t *kept; /* [kept_count], with room for all */
    size_t kept_count;
};

/* Of what follows one that is kept, the first page stays in any case: it says what counts in that. A torn group stays
 * behind others: without it the last of these, should it be damaged, would be taken for torn. */
static enum err segment_trim(void *context, const struct chain_segment *s)
{
    struct trim *t = context;
    char name[4096 + 64];
    bool is_needed = s->end > 0 && s->last_sequence > t->visit->horizon;
    if (!is_needed && (t->kept_count == 0 || s->seen_end == 0))
        return ERR_OK;
    enum err e = name_of(t->path, s->number, name);
    if (e == ERR_OK && truncate(name, (off_t)(is_needed ? s->seen_end : SEGMENT_PAGE_BYTES)) != 0)
        e = ERR_IO;
    if (e == ERR_OK)
        t->kept[t->kept_count++] = s->number;
    return e;
}

enum err journal_copy_trim(struct db *db, const char *copy_path, uint64_t known_group_no)
{
    struct journal_position position;
    struct db unused = { 0 };
    struct segment_place place = { .vfs = sqlite3_vfs_find(NULL),
                                   .path = copy_path,
                                   .db = &unused };
    struct trim t = { .path = copy_path };
    uint32_t *numbers = NULL;
    size_t count = 0;
    enum err e = segment_list(copy_path, &numbers, &count);
    if (e != ERR_OK)
        return e;
    t.kept = mem_alloc_array(count + 1, sizeof *t.kept);
    e = t.kept == NULL ? ERR_NOMEM : journal_position_load(db, &position);
    if (e == ERR_OK) {
        struct chain_visit v = { .horizon = journal_horizon(&position),
                                 .has_horizon = true,
                                 .ends_at_gap = true,
                                 .known_group_no = known_group_no,
                                 .on_segment = segment_trim,
                                 .context = &t };
        t.visit = &v;
        e = chain_read(&place, &v);
    }
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        bool is_kept = false;
        for (size_t k = 0; k < t.kept_count; k++)
            is_kept = is_kept || t.kept[k] == numbers[i];
        if (!is_kept)
            e = segment_unlink(place.vfs, place.path, numbers[i]);
    }
    mem_free(t.kept);
    mem_free(numbers);
    return e;
}

/* ---- Files ------------------------------------------------------------------------------------- */

bool journal_is_file(const char *suffix)
{
    size_t digits = strncmp(suffix, "-j", 2) == 0 ? strspn(suffix + 2, "0123456789") : 0;
    return digits >= 1 && digits <= 10 && suffix[2] != '0' && suffix[2 + digits] == '\0';
}

uint64_t journal_files_bytes(const char *path)
{
    uint32_t *numbers = NULL;
    size_t count = 0;
    uint64_t bytes = 0;
    if (segment_list(path, &numbers, &count) != ERR_OK)
        return 0;
    for (size_t i = 0; i < count; i++) {
        char name[4096 + 64];
        struct stat found;
        if (name_of(path, numbers[i], name) == ERR_OK && stat(name, &found) == 0)
            bytes += (uint64_t)found.st_size;
    }
    mem_free(numbers);
    return bytes;
}

enum err journal_files_unlink(const char *path, const char *vfs_name)
{
    uint32_t *numbers = NULL;
    size_t count = 0;
    db_library_init();
    if (sqlite3_initialize() != SQLITE_OK)
        return ERR_NOMEM;
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
    enum err e = vfs == NULL ? ERR_IO : segment_list(path, &numbers, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = segment_unlink(vfs, path, numbers[i]);
    mem_free(numbers);
    return e;
}
