/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - a backup becomes a data directory again; see backup.h. */
#include "base/crash_point.h"
#include "base/mem.h"
#include "storage/sqlite/backup.h"
#include "storage/sqlite/backup_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct restore {
    char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
    struct backup_manifest manifest;
    char **out_message;
};

/* ---- The manifest ---------------------------------------------------------------------------- */

static enum err manifest_text(struct restore *r, struct buffer *out)
{
    char path[BACKUP_PATH_MAX];
    backup_path(path, r->from, BACKUP_MANIFEST);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return backup_fail(r->out_message, ERR_NOT_FOUND,
                           "%s has no manifest: it is not a backup, or one that was not finished",
                           r->from);
    if (fd < 0)
        return backup_fail(r->out_message, ERR_IO, "cannot open %s: %s", path, strerror(errno));
    ssize_t n = 1;
    while (n > 0) {
        uint8_t *into = buffer_reserve(out, 64 * 1024);
        if (into == NULL)
            break;
        n = read(fd, into, 64 * 1024);
        if (n > 0)
            buffer_grew(out, (size_t)n);
    }
    int error = errno;
    (void)close(fd);
    if (n < 0)
        return backup_fail(r->out_message, ERR_IO, "cannot read %s: %s", path, strerror(error));
    if (buffer_error(out) != ERR_OK)
        return backup_fail(r->out_message, buffer_error(out), "%s: %s", path,
                           err_text(buffer_error(out)));
    return ERR_OK;
}

static enum err manifest_load(struct restore *r)
{
    struct buffer text;
    size_t line = 0;
    buffer_init(&text, BACKUP_MANIFEST_MAX);
    enum err e = manifest_text(r, &text);
    if (e == ERR_OK) {
        e = backup_manifest_read(buffer_bytes(&text), &r->manifest, &line);
        if (e != ERR_OK)
            (void)backup_fail(r->out_message, e, "%s/%s, line %zu: %s", r->from, BACKUP_MANIFEST,
                              line, err_text(e));
    }
    buffer_deinit(&text);
    bool has_catalog = false;
    for (size_t i = 0; i < r->manifest.count; i++)
        has_catalog |= strcmp(r->manifest.files[i].name, "catalog.db") == 0;
    if (e == ERR_OK && !has_catalog)
        e = backup_fail(r->out_message, ERR_CORRUPT, "%s/%s lists no catalogue", r->from,
                        BACKUP_MANIFEST);
    return e;
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Check one file; copy it too, under the name `as`, when that is not NULL. */
static enum err file_take(struct restore *r, const struct backup_file *listed, const char *as)
{
    char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
    struct backup_file found;
    backup_path(from, r->from, listed->name);
    if (as != NULL)
        backup_path(to, r->to, as);
    enum err e = backup_file_copy(from, as == NULL ? NULL : to, &found);
    if (e == ERR_NOT_FOUND)
        return backup_fail(r->out_message, ERR_CORRUPT, "%s is missing", from);
    if (e != ERR_OK)
        return backup_fail(r->out_message, e, "cannot %s %s%s%s: %s", as == NULL ? "read" : "copy",
                           from, as == NULL ? "" : " to ", as == NULL ? "" : to, err_text(e));
    if (found.bytes != listed->bytes)
        return backup_fail(r->out_message, ERR_CORRUPT,
                           "%s has %llu bytes, and the manifest says %llu", from,
                           (unsigned long long)found.bytes, (unsigned long long)listed->bytes);
    if (!hash128_equal(found.hash, listed->hash))
        return backup_fail(r->out_message, ERR_CORRUPT,
                           "%s is damaged: it does not have the hash that the manifest says", from);
    return ERR_OK;
}

/* What no server takes for a catalogue, so that none serves a directory that is not complete. */
static enum err placeholder_write(struct restore *r)
{
    char path[BACKUP_PATH_MAX];
    backup_path(path, r->to, "catalog.db");
    enum err e = backup_file_write(path, BYTES_LITERAL("a restore was not finished\n"));
    if (e == ERR_OK)
        e = backup_directory_sync(r->to);
    if (e != ERR_OK)
        return backup_fail(r->out_message, e, "cannot write %s: %s", path, err_text(e));
    return ERR_OK;
}

static enum err catalog_show(struct restore *r)
{
    char from[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
    backup_path(from, r->to, "catalog.db.restoring");
    backup_path(to, r->to, "catalog.db");
    enum err e = backup_directory_sync(r->to);
    CRASH_POINT("restore_copied");
    if (e == ERR_OK && rename(from, to) != 0)
        e = ERR_IO;
    if (e == ERR_OK)
        e = backup_directory_sync(r->to);
    if (e != ERR_OK)
        return backup_fail(r->out_message, e, "cannot write %s: %s", to, err_text(e));
    return ERR_OK;
}

enum err sqlite_restore(const char *from, const char *to, backup_file_fn *on_file, void *context,
                        struct backup_result *out, char **out_message)
{
    struct restore r = { .out_message = out_message };
    struct backup_result result = { 0 };
    char resolved[PATH_MAX];
    if (realpath(from, resolved) == NULL || strlen(resolved) > 4095)
        return backup_fail(out_message, ERR_IO, "cannot use the directory %s: %s", from,
                           strerror(errno));
    memcpy(r.from, resolved, strlen(resolved) + 1);
    enum err e = manifest_load(&r);
    if (e == ERR_OK)
        e = backup_directory_make(to, r.to, out_message);
    for (size_t i = 0; e == ERR_OK && i < r.manifest.count; i++)
        e = file_take(&r, &r.manifest.files[i], NULL);
    if (e == ERR_OK)
        e = placeholder_write(&r);
    for (size_t i = 0; e == ERR_OK && i < r.manifest.count; i++) {
        const struct backup_file *file = &r.manifest.files[i];
        bool is_catalog = strcmp(file->name, "catalog.db") == 0;
        e = file_take(&r, file, is_catalog ? "catalog.db.restoring" : file->name);
        CRASH_POINT("restore_file");
        if (e == ERR_OK && on_file != NULL)
            on_file(context, file->name, file->bytes);
        result.files++;
        result.bytes += file->bytes;
        result.partitions += backup_is_partition(file->name);
    }
    if (e == ERR_OK)
        e = catalog_show(&r);
    backup_manifest_deinit(&r.manifest);
    if (e == ERR_OK)
        *out = result;
    return e;
}
