/* SPDX-License-Identifier: Apache-2.0 */
/* backup.c - copying a data directory beside a running server; backup.h says why the copy is whole. */
#include "storage/sqlite/backup.h"

#include "base/clock.h"
#include "base/crash_point.h"
#include "base/defect.h"
#include "base/mem.h"
#include "storage/sqlite/backup_private.h"
#include "storage/sqlite/engine_private.h"
#include "storage/sqlite/journal_segment.h"
#include "storage/sqlite/schema.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASSES_MAX                                                                                 \
    16 /* two, usually, where something expires; the second has little left to copy */

struct copy { /* of a partition */
    uint64_t id;
    bool is_final; /* the file was sealed when it was copied: the copy is good for all passes ... */
    int64_t groups; /* ... whose catalogue has so many row groups of it: log records may expire */
    struct backup_file file;
};

struct backup {
    char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
    struct db catalog; /* the source's, as a reader */
    uint32_t format_version;
    struct backup_file catalog_file;
    struct catalog_partition *listed; /* in the catalogue as it was copied last; by id */
    size_t listed_count;
    int64_t *listed_groups; /* how many of each are summarised */
    struct copy *copies;
    size_t copies_count, copies_capacity;
    struct backup_manifest journals;          /* their files */
    uint64_t acked_partition, acked_group_no; /* when it began; the first 0: not known */
    bool has_summaries;
    bool is_expired_seen; /* in this pass: another one is needed */
    uint64_t expired;
    backup_file_fn *on_file;
    void *context;
    char **out_message;
};

static void partition_name(char out[BACKUP_NAME_MAX], uint64_t id, const char *suffix)
{
    (void)snprintf(out, BACKUP_NAME_MAX, "p%06llu.db%s", (unsigned long long)id, suffix);
}

/* ---- Copies ---------------------------------------------------------------------------------- */

static struct copy *copy_find(struct backup *b, uint64_t id)
{
    for (size_t i = 0; i < b->copies_count; i++)
        if (b->copies[i].id == id)
            return &b->copies[i];
    return NULL;
}

static enum err copy_add(struct backup *b, const struct copy *copy)
{
    if (b->copies_count == b->copies_capacity) {
        size_t capacity = b->copies_capacity == 0 ? 16 : 2 * b->copies_capacity;
        struct copy *grown = mem_realloc(b->copies, capacity * sizeof *grown);
        if (grown == NULL)
            return ERR_NOMEM;
        b->copies = grown;
        b->copies_capacity = capacity;
    }
    b->copies[b->copies_count++] = *copy;
    return ERR_OK;
}

static enum err copy_unlink(struct backup *b, const char *name)
{
    char path[BACKUP_PATH_MAX];
    backup_path(path, b->to, name);
    if (unlink(path) == 0 || errno == ENOENT)
        return ERR_OK;
    return backup_fail(b->out_message, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

/* The copies of a partition's journal files. */
static enum err journals_unlink(struct backup *b, const char *name)
{
    size_t kept = 0, len = strlen(name);
    enum err e = ERR_OK;
    for (size_t i = 0; i < b->journals.count; i++) {
        const struct backup_file file = b->journals.files[i];
        if (strncmp(file.name, name, len) != 0 || file.name[len] != '-') {
            b->journals.files[kept++] = file;
            continue;
        }
        enum err unlinked = copy_unlink(b, file.name);
        e = e == ERR_OK ? unlinked : e;
    }
    b->journals.count = kept;
    return e;
}

static bool is_wanted(const struct backup *b, uint64_t id)
{
    for (size_t i = 0; i < b->listed_count; i++)
        if (b->listed[i].id == id)
            return b->listed[i].state != PARTITION_REMOVING;
    return false;
}

static int64_t groups_wanted(const struct backup *b, uint64_t id)
{
    for (size_t i = 0; i < b->listed_count; i++)
        if (b->listed[i].id == id)
            return b->listed_groups[i];
    return 0;
}

/* Copies of an earlier pass that this one's catalogue does not want, or that are older than it. */
static enum err copies_clean(struct backup *b)
{
    size_t kept = 0;
    enum err e = ERR_OK;
    for (size_t i = 0; i < b->copies_count; i++) {
        const struct copy c = b->copies[i];
        if (c.is_final && is_wanted(b, c.id) && c.groups == groups_wanted(b, c.id)) {
            b->copies[kept++] = c;
            continue;
        }
        b->expired += !is_wanted(b, c.id);
        enum err unlinked = copy_unlink(b, c.file.name);
        if (unlinked == ERR_OK)
            unlinked = journals_unlink(b, c.file.name);
        e = e == ERR_OK ? unlinked : e;
    }
    b->copies_count = kept;
    return e;
}

/* ---- Databases ------------------------------------------------------------------------------- */

static enum err source_open(struct backup *b, enum schema_kind kind, const char *path,
                            struct db *out)
{
    uint32_t version = 0;
    enum err e = schema_check(kind, path, NULL, &version);
    if (e == ERR_NEWER)
        return backup_fail(b->out_message, e,
                           "%s has format version %u, and this program knows versions up to %u",
                           path, version, SCHEMA_VERSION);
    if (e == ERR_OK)
        e = db_open(path, NULL, DB_READER, DURABILITY_FSYNC, out);
    if (e == ERR_OK && version > b->format_version)
        b->format_version = version;
    return e;
}

/* The database at hand, whole and synced, under its name. */
static enum err database_copy(struct backup *b, struct db *source, struct backup_file *file)
{
    char path[BACKUP_PATH_MAX];
    backup_path(path, b->to, file->name);
    enum err e = db_copy(source, path);
    if (e == ERR_OK)
        e = backup_file_settle(path, file);
    if (e != ERR_OK)
        return backup_fail(b->out_message, e, "cannot copy %s/%s to %s: %s", b->from, file->name,
                           path, err_text(e));
    if (b->on_file != NULL)
        b->on_file(b->context, file->name, file->bytes);
    return ERR_OK;
}

/* How many row groups of a partition the catalogue lists now; an old one lists none. */
static enum err groups_count(struct backup *b, uint64_t id, int64_t *out)
{
    char sql[96];
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM partition_group WHERE partition = %llu",
                   (unsigned long long)id);
    *out = 0;
    return b->has_summaries ? db_integer(&b->catalog, sql, 0, out) : ERR_OK;
}

static enum err groups_list(struct backup *b)
{
    int64_t tables = 0;
    mem_free(b->listed_groups);
    b->listed_groups = mem_alloc_array(b->listed_count + 1, sizeof *b->listed_groups);
    enum err e = b->listed_groups == NULL ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK)
        e = db_integer(&b->catalog,
                       "SELECT count(*) FROM sqlite_schema WHERE name = 'partition_group'", 0,
                       &tables);
    b->has_summaries = tables != 0;
    for (size_t i = 0; e == ERR_OK && i < b->listed_count; i++)
        e = groups_count(b, b->listed[i].id, &b->listed_groups[i]);
    return e;
}

/* The list of partitions is that of the copy: one transaction sees both. */
static enum err catalog_copy(struct backup *b)
{
    b->catalog_file = (struct backup_file){ .name = "catalog.db" };
    enum err e = copy_unlink(b, b->catalog_file.name);
    if (e != ERR_OK)
        return e;
    mem_free(b->listed);
    b->listed = NULL;
    b->listed_count = 0;
    e = db_exec(&b->catalog, "BEGIN");
    if (e == ERR_OK)
        e = catalog_partitions(&b->catalog, &b->listed, &b->listed_count);
    if (e == ERR_OK)
        e = groups_list(b);
    if (e != ERR_OK)
        (void)backup_fail(b->out_message, e, "cannot read %s/catalog.db: %s", b->from, err_text(e));
    if (e == ERR_OK)
        e = database_copy(b, &b->catalog, &b->catalog_file);
    db_rollback(&b->catalog);
    return e;
}

/* Whether it is still listed, and not on its way out: what was copied until now was not being unlinked. */
static enum err partition_is_kept(struct backup *b, uint64_t id, bool *out)
{
    char sql[96];
    int64_t state = 0;
    (void)snprintf(sql, sizeof sql, "SELECT state FROM partition WHERE id = %llu",
                   (unsigned long long)id);
    enum err e = db_integer(&b->catalog, sql, PARTITION_REMOVING, &state);
    if (e != ERR_OK)
        return backup_fail(b->out_message, e, "cannot read %s/catalog.db: %s", b->from,
                           err_text(e));
    *out = state != PARTITION_REMOVING;
    return ERR_OK;
}

/* ---- Journals -------------------------------------------------------------------------------- */

static void journal_name(char out[BACKUP_NAME_MAX], const char *partition, uint32_t number)
{
    (void)snprintf(out, BACKUP_NAME_MAX, "%.30s-j%u", partition, number);
}

/* As they are, before the database: what was acknowledged before is in one of these files, or left the journal by a
 * commit that the database's copy will have. What has just been removed held nothing. */
static enum err journals_copy(struct backup *b, const char *partition)
{
    char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX], name[BACKUP_NAME_MAX];
    uint32_t *numbers = NULL;
    size_t count = 0;
    backup_path(from, b->from, partition);
    enum err e = segment_list(from, &numbers, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        struct backup_file unused;
        journal_name(name, partition, numbers[i]);
        backup_path(from, b->from, name);
        backup_path(to, b->to, name);
        e = backup_file_copy(from, to, &unused);
        if (e == ERR_NOT_FOUND)
            e = ERR_OK;
    }
    mem_free(numbers);
    if (e != ERR_OK)
        return backup_fail(b->out_message, e, "cannot copy the journal of %s/%s: %s", b->from,
                           partition, err_text(e));
    return ERR_OK;
}

/* Only what counts of them stays. What was written while copying may be there in part, and is not needed. */
static enum err journals_settle(struct backup *b, uint64_t id, const char *partition,
                                struct db *source)
{
    char path[BACKUP_PATH_MAX], copy[BACKUP_PATH_MAX];
    uint32_t *numbers = NULL;
    size_t count = 0;
    uint64_t known = b->acked_partition == 0 || id < b->acked_partition ? UINT64_MAX
                     : id == b->acked_partition                         ? b->acked_group_no
                                                                        : 0;
    backup_path(copy, b->to, partition);
    enum err e = segment_list(copy, &numbers, &count);
    if (e != ERR_OK)
        return e;
    mem_free(numbers);
    if (count == 0)
        return ERR_OK;
    e = journal_copy_trim(source, copy, known);
    if (e == ERR_OK)
        e = segment_list(copy, &numbers, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        struct backup_file file = { .bytes = 0 };
        journal_name(file.name, partition, numbers[i]);
        backup_path(path, b->to, file.name);
        e = backup_file_settle(path, &file);
        if (e == ERR_OK)
            e = backup_manifest_add(&b->journals, &file);
        if (e == ERR_OK && b->on_file != NULL)
            b->on_file(b->context, file.name, file.bytes);
    }
    if (e == ERR_OK)
        mem_free(numbers);
    return e;
}

static enum err partition_copy(struct backup *b, const struct catalog_partition *listed)
{
    struct copy copy = { .id = listed->id, .is_final = listed->state != PARTITION_OPEN };
    char path[BACKUP_PATH_MAX], *message = NULL, **out_message = b->out_message;
    partition_name(copy.file.name, listed->id, "");
    backup_path(path, b->from, copy.file.name);
    struct db db = { 0 };
    /* A failure is none if the file was being removed. */
    b->out_message = &message;
    enum err e = journals_copy(b, copy.file.name);
    enum err opened = e == ERR_OK ? source_open(b, SCHEMA_PARTITION, path, &db) : e;
    if (e == ERR_OK && opened != ERR_OK)
        e = backup_fail(b->out_message, opened == ERR_NOT_FOUND ? ERR_CORRUPT : opened,
                        "cannot open %s: %s; `spindle verify` says more", path, err_text(opened));
    int64_t unused = 0;
    if (e == ERR_OK)
        e = db_exec(&db, "BEGIN");
    if (e == ERR_OK) /* from here on it sees one state: that of the copy */
        e = db_integer(&db, "SELECT count(*) FROM sqlite_schema", 0, &unused);
    if (e == ERR_OK)
        e = database_copy(b, &db, &copy.file);
    if (e == ERR_OK)
        e = journals_settle(b, listed->id, copy.file.name, &db);
    db_rollback(&db);
    db_close(&db);
    b->out_message = out_message;

    bool is_kept = false;
    int64_t groups = 0;
    enum err asked = partition_is_kept(b, listed->id, &is_kept);
    if (asked == ERR_OK && is_kept && copy.is_final)
        asked = groups_count(b, listed->id, &groups);
    copy.groups = groups;
    if (asked == ERR_OK && !is_kept) {
        b->is_expired_seen = true;
        b->expired++;
        if (!db_exists(path, NULL)) /* a log that was made anew by looking at it would stay */
            (void)!db_unlink(path, NULL);
        e = copy_unlink(b, copy.file.name);
        if (e == ERR_OK)
            e = journals_unlink(b, copy.file.name);
    } else if (asked != ERR_OK) {
        e = asked;
    } else if (e != ERR_OK) {
        e = backup_fail(out_message, e == ERR_NOT_FOUND ? ERR_CORRUPT : e, "%s",
                        message == NULL ? err_text(e) : message);
    } else if (copy.is_final && groups != groups_wanted(b, listed->id)) {
        b->is_expired_seen = true; /* log records went: the next catalogue does not list them */
        e = copy_unlink(b, copy.file.name);
        if (e == ERR_OK)
            e = journals_unlink(b, copy.file.name);
    } else {
        e = copy_add(b, &copy);
    }
    mem_free(message);
    return e;
}

/* ---- A pass ---------------------------------------------------------------------------------- */

/* What never changes goes first, the oldest before the others, since that is what expires. The others go from
 * the newest to the oldest: spans leave the journals in the order of the files, so what the copy of one file
 * says about spans of an older one (halves of edges that met) is true in the older one's copy. */
static enum err partitions_copy(struct backup *b)
{
    enum err e = ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < b->listed_count; i++) {
        const struct catalog_partition *p = &b->listed[i];
        if (p->state != PARTITION_OPEN && p->state != PARTITION_REMOVING &&
            copy_find(b, p->id) == NULL)
            e = partition_copy(b, p);
    }
    for (size_t i = b->listed_count; e == ERR_OK && i > 0; i--) {
        const struct catalog_partition *p = &b->listed[i - 1];
        if (p->state == PARTITION_OPEN)
            e = partition_copy(b, p);
    }
    return e;
}

static enum err passes_run(struct backup *b)
{
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        b->is_expired_seen = false;
        enum err e = catalog_copy(b);
        if (e == ERR_OK)
            e = copies_clean(b);
        if (e == ERR_OK)
            e = partitions_copy(b);
        if (e == ERR_OK && defect_is("backup-catalog-last"))
            e = catalog_copy(b);
        if (e != ERR_OK || !b->is_expired_seen)
            return e;
    }
    return backup_fail(b->out_message, ERR_BUSY,
                       "partitions of %s expire faster than they are copied", b->from);
}

/* ---- The rest -------------------------------------------------------------------------------- */

/* A small file of the data directory, where there is one. */
static enum err extra_copy(struct backup *b, const char *name, struct backup_manifest *manifest)
{
    char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
    struct backup_file file = { 0 };
    (void)snprintf(file.name, sizeof file.name, "%s", name);
    backup_path(from, b->from, name);
    backup_path(to, b->to, name);
    if (access(from, F_OK) != 0 && errno == ENOENT)
        return ERR_OK;
    enum err e = backup_file_copy(from, to, &file);
    if (e != ERR_OK)
        return backup_fail(b->out_message, e, "cannot copy %s to %s: %s", from, to, err_text(e));
    if (b->on_file != NULL)
        b->on_file(b->context, file.name, file.bytes);
    return backup_manifest_add(manifest, &file);
}

/* Marks of frozen files are looked for last: a journal that was moved to another file meanwhile is known by
 * them to count once. */
static enum err manifest_fill(struct backup *b, struct backup_manifest *manifest)
{
    manifest->format_version = b->format_version;
    enum err e = extra_copy(b, "request.key", manifest);
    for (size_t i = 0; e == ERR_OK && i < b->journals.count; i++)
        e = backup_manifest_add(manifest, &b->journals.files[i]);
    for (size_t i = 0; e == ERR_OK && i < b->copies_count; i++) {
        char name[BACKUP_NAME_MAX];
        partition_name(name, b->copies[i].id, ".frozen");
        e = backup_manifest_add(manifest, &b->copies[i].file);
        if (e == ERR_OK)
            e = extra_copy(b, name, manifest);
    }
    return e == ERR_OK ? backup_manifest_add(manifest, &b->catalog_file) : e;
}

/* All else is on the disk before it, and it comes whole or not at all. */
static enum err manifest_store(struct backup *b, const struct backup_manifest *manifest)
{
    char path[BACKUP_PATH_MAX], unfinished[BACKUP_PATH_MAX];
    backup_path(path, b->to, BACKUP_MANIFEST);
    backup_path(unfinished, b->to, BACKUP_MANIFEST ".unfinished");
    struct buffer text;
    buffer_init(&text, BACKUP_MANIFEST_MAX);
    backup_manifest_write(manifest, &text);
    enum err e = buffer_error(&text);
    if (e == ERR_OK)
        e = backup_file_write(unfinished, buffer_bytes(&text));
    buffer_deinit(&text);
    if (e == ERR_OK)
        e = backup_directory_sync(b->to);
    CRASH_POINT("backup_copied");
    if (e == ERR_OK && rename(unfinished, path) != 0)
        e = ERR_IO;
    if (e == ERR_OK)
        e = backup_directory_sync(b->to);
    if (e != ERR_OK)
        return backup_fail(b->out_message, e, "cannot write %s: %s", path, err_text(e));
    return ERR_OK;
}

static enum err source_find(struct backup *b, const char *from)
{
    char resolved[PATH_MAX], path[BACKUP_PATH_MAX];
    if (realpath(from, resolved) == NULL || strlen(resolved) > 4095)
        return backup_fail(b->out_message, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                           "cannot use the directory %s: %s", from, strerror(errno));
    memcpy(b->from, resolved, strlen(resolved) + 1);
    backup_path(path, b->from, "catalog.db");
    enum err e = source_open(b, SCHEMA_CATALOG, path, &b->catalog);
    if (e == ERR_NOT_FOUND)
        return backup_fail(b->out_message, e, "%s is not a data directory: it has no catalog.db",
                           from);
    return e == ERR_OK ? e
                       : backup_fail(b->out_message, e, "cannot open %s: %s", path, err_text(e));
}

enum err sqlite_backup(const char *from, const char *to, backup_file_fn *on_file, void *context,
                       struct backup_result *out, char **out_message)
{
    struct backup b = { .on_file = on_file, .context = context, .out_message = out_message };
    struct backup_manifest manifest = { .taken_unix_ns = clock_unix_ns() };
    enum err e = source_find(&b, from);
    if (e == ERR_OK)
        e = backup_directory_make(to, b.to, out_message);
    if (!writer_acked_load(b.from, &b.acked_partition, &b.acked_group_no))
        b.acked_partition = 0;
    if (e == ERR_OK)
        e = passes_run(&b);
    if (e == ERR_OK)
        e = manifest_fill(&b, &manifest);
    if (e == ERR_OK)
        e = manifest_store(&b, &manifest);
    if (e == ERR_OK) {
        *out = (struct backup_result){ .partitions = b.copies_count,
                                       .expired = b.expired,
                                       .files = manifest.count };
        for (size_t i = 0; i < manifest.count; i++)
            out->bytes += manifest.files[i].bytes;
    }
    backup_manifest_deinit(&manifest);
    backup_manifest_deinit(&b.journals);
    db_close(&b.catalog);
    mem_free(b.listed);
    mem_free(b.listed_groups);
    mem_free(b.copies);
    return e;
}
