/* SPDX-License-Identifier: Apache-2.0 */
/* backup_file.c - reading, hashing and writing whole files, and directories to put them in. */
#include "base/mem.h"
#include "storage/sqlite/backup_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART_BYTES ((size_t)1 << 20)

enum err backup_fail(char **out_message, enum err error, const char *format, ...)
{
    if (out_message == NULL || *out_message != NULL)
        return error; /* the first is the most exact */
    char text[2 * BACKUP_PATH_MAX + 256];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (len >= 0)
        *out_message = mem_text(text, strlen(text));
    return error;
}

static enum err error_of_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_FULL
           : errno == ENOENT                  ? ERR_NOT_FOUND
           : errno == EEXIST                  ? ERR_EXISTS
                                              : ERR_IO;
}

void backup_path(char out[BACKUP_PATH_MAX], const char *directory, const char *name)
{
    (void)snprintf(out, BACKUP_PATH_MAX, "%s/%s", directory, name);
}

/* ---- Directories ----------------------------------------------------------------------------- */

static enum err directory_is_empty(const char *path, bool *out)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return ERR_IO;
    *out = true;
    for (struct dirent *f = readdir(d); f != NULL && *out; f = readdir(d))
        *out = strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0 ||
               strcmp(f->d_name, "lost+found") == 0; /* of a file system of its own */
    (void)closedir(d);
    return ERR_OK;
}

/* So that the directory itself outlives a power cut. */
static enum err parent_sync(const char *path)
{
    char parent[BACKUP_PATH_MAX];
    backup_path(parent, path, "..");
    return backup_directory_sync(parent);
}

enum err backup_directory_make(const char *path, char out[BACKUP_PATH_MAX], char **out_message)
{
    char resolved[PATH_MAX];
    bool is_made = mkdir(path, 0700) == 0, is_empty = false;
    if (!is_made && errno != EEXIST)
        return backup_fail(out_message, errno == ENOSPC ? ERR_FULL : ERR_IO,
                           "cannot make the directory %s: %s", path, strerror(errno));
    /* Without links in it: SQLite is told to follow none. */
    if (realpath(path, resolved) == NULL || strlen(resolved) > 4095 ||
        directory_is_empty(resolved, &is_empty) != ERR_OK)
        return backup_fail(out_message, ERR_IO, "cannot use the directory %s: %s", path,
                           strerror(errno));
    if (!is_empty)
        return backup_fail(out_message, ERR_EXISTS, "the directory %s is not empty", path);
    if (is_made && parent_sync(resolved) != ERR_OK)
        return backup_fail(out_message, ERR_IO, "cannot sync the directory above %s", path);
    memcpy(out, resolved, strlen(resolved) + 1);
    return ERR_OK;
}

enum err backup_directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err e = fsync(fd) == 0 ? ERR_OK : ERR_IO;
    (void)close(fd);
    return e;
}

/* ---- Files ----------------------------------------------------------------------------------- */

static enum err write_all(int fd, struct bytes b)
{
    while (b.len > 0) {
        ssize_t n = write(fd, b.data, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_of_errno();
        b = bytes_slice(b, (size_t)n, b.len - (size_t)n);
    }
    return ERR_OK;
}

static enum err read_part(int fd, uint8_t *into, size_t *out_len)
{
    ssize_t n = 0;
    do
        n = read(fd, into, PART_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return ERR_IO;
    *out_len = (size_t)n;
    return ERR_OK;
}

static int file_create(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
}

/* to_fd: -1 for none. */
static enum err pour(int from_fd, int to_fd, struct backup_file *out)
{
    uint8_t *part = mem_alloc(PART_BYTES);
    if (part == NULL)
        return ERR_NOMEM;
    struct hash_stream hash;
    hash_stream_begin(&hash);
    uint64_t bytes = 0;
    size_t len = 1;
    enum err e = ERR_OK;
    while (e == ERR_OK) {
        e = read_part(from_fd, part, &len);
        if (e != ERR_OK || len == 0)
            break;
        hash_stream_add(&hash, bytes_of(part, len));
        bytes += len;
        if (to_fd >= 0)
            e = write_all(to_fd, bytes_of(part, len));
    }
    mem_free(part);
    if (e != ERR_OK)
        return e;
    out->bytes = bytes;
    out->hash = hash_stream_end(&hash);
    return ERR_OK;
}

enum err backup_file_settle(const char *path, struct backup_file *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_of_errno();
    enum err e = pour(fd, -1, out);
    if (e == ERR_OK && fsync(fd) != 0)
        e = error_of_errno();
    (void)close(fd);
    return e;
}

enum err backup_file_copy(const char *from, const char *to, struct backup_file *out)
{
    int from_fd = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), to_fd = -1;
    if (from_fd < 0)
        return error_of_errno();
    enum err e = ERR_OK;
    if (to != NULL) {
        to_fd = file_create(to);
        e = to_fd < 0 ? error_of_errno() : ERR_OK;
    }
    if (e == ERR_OK)
        e = pour(from_fd, to_fd, out);
    if (e == ERR_OK && to_fd >= 0 && fsync(to_fd) != 0)
        e = error_of_errno();
    if (to_fd >= 0)
        (void)close(to_fd);
    (void)close(from_fd);
    return e;
}

enum err backup_file_write(const char *path, struct bytes content)
{
    int fd = file_create(path);
    if (fd < 0)
        return error_of_errno();
    enum err e = write_all(fd, content);
    if (e == ERR_OK && fsync(fd) != 0)
        e = error_of_errno();
    (void)close(fd);
    return e;
}
