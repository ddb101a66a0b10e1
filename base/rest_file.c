/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rest_file.h"

#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BYTES ((size_t)4096)

void rest_file_deinit(struct rest_file *f)
{
    if (f->descriptor != 0)
        (void)close(f->descriptor - 1);
    *f = (struct rest_file){ 0 };
}

/* Not every file system has O_TMPFILE. There a process killed between the two calls leaves an empty file. */
int rest_file_nameless(const char *directory)
{
    int nameless = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (nameless >= 0)
        return nameless;
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/rest-XXXXXX", directory);
    if (length < 0 || (size_t)length >= sizeof path)
        return -1;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

static enum err write_all(int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno != ENOSPC && errno != EDQUOT ? ERR_IO : ERR_FULL;
        data += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return ERR_OK;
}

static enum err read_all(int fd, uint8_t *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pread(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? ERR_IO : ERR_CORRUPT;
        data += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return ERR_OK;
}

static enum err place_write(struct rest_file *f, struct rest_place *p,
                            const struct rest_policy *policy, const void *block, size_t size,
                            size_t len)
{
    uint64_t now = clock_mono_ns();
    if (p->written_mono_ns != 0 && now - p->written_mono_ns < policy->again_ns)
        return ERR_BUSY;
    if (f->descriptor == 0)
        f->descriptor = rest_file_nameless(policy->directory) + 1;
    if (f->descriptor == 0)
        return ERR_IO;
    if (p->room == 0) {
        p->room = (size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
        p->offset = f->end;
        f->end += p->room;
    }
    p->is_written = false;
    enum err e = write_all(f->descriptor - 1, block, len, p->offset);
    if (e != ERR_OK)
        return e;
    p->len = len;
    p->hash = hash_bytes(bytes_of(block, len));
    p->written_mono_ns = now;
    p->is_written = true;
    return ERR_OK;
}

enum err rest_file_put(struct rest_file *f, struct rest_place *p, const struct rest_policy *policy,
                       void *block, size_t size, size_t len, bool has_changed)
{
    if (p->is_resting)
        return ERR_OK;
    enum err e = ERR_OK;
    if (!p->is_written || has_changed)
        e = place_write(f, p, policy, block, size, len);
    if (e != ERR_OK)
        return e;
    mem_map_rest(block, size);
    p->is_resting = true;
    return ERR_OK;
}

enum err rest_file_take(struct rest_file *f, struct rest_place *p, void *block)
{
    if (!p->is_resting)
        return ERR_OK;
    p->is_resting = false;
    enum err e = read_all(f->descriptor - 1, block, p->len, p->offset);
    if (e == ERR_OK && hash_bytes(bytes_of(block, p->len)) != p->hash)
        e = ERR_CORRUPT;
    if (e != ERR_OK) {
        memset(block, 0, p->len);
        p->is_written = false;
    }
    return e;
}

void rest_file_forget(struct rest_file *f, struct rest_place *p)
{
    if (p->room > 0 && f->descriptor != 0)
        (void)fallocate(f->descriptor - 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)p->offset, (off_t)p->room);
    *p = (struct rest_place){ 0 };
}
