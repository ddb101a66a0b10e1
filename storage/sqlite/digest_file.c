/* SPDX-License-Identifier: Apache-2.0 */
/* A place is a page's number and, in its low bits, how many bytes from there on: a hash, then the digest. Each digest
 * begins a page, so that a hole in its place gives all of it back; numbers are never used again. */
#include "storage/sqlite/digest_file.h"

#include "base/hash.h"
#include "base/rest_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, LEN_BITS = 20, HASH_BYTES = 8 };

void digest_file_init(struct digest_file *f)
{
    *f = (struct digest_file){ .pages = 1 };
    (void)pthread_mutex_init(&f->lock, NULL);
}

void digest_file_deinit(struct digest_file *f)
{
    int descriptor = atomic_exchange(&f->descriptor, 0);
    if (descriptor != 0)
        (void)close(descriptor - 1);
    (void)pthread_mutex_destroy(&f->lock);
}

static enum err pages_take(struct digest_file *f, size_t len, uint64_t *out_place)
{
    enum err e = ERR_OK;
    (void)pthread_mutex_lock(&f->lock);
    if (atomic_load(&f->descriptor) == 0) {
        int fd = rest_file_nameless(f->directory);
        atomic_store(&f->descriptor, fd + 1);
        e = fd < 0 ? ERR_IO : ERR_OK;
    }
    if (e == ERR_OK) {
        *out_place = f->pages << LEN_BITS | len;
        f->pages += (len + PAGE_BYTES - 1) / PAGE_BYTES;
    }
    (void)pthread_mutex_unlock(&f->lock);
    return e;
}

static off_t offset_of(uint64_t place)
{
    return (off_t)((place >> LEN_BITS) * PAGE_BYTES);
}

static size_t len_of(uint64_t place)
{
    return (size_t)(place & ((UINT64_C(1) << LEN_BITS) - 1));
}

static enum err write_all(int fd, struct bytes data, off_t offset)
{
    while (data.len > 0) {
        ssize_t n = pwrite(fd, data.data, data.len, offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno != ENOSPC && errno != EDQUOT ? ERR_IO : ERR_FULL;
        data = bytes_slice(data, (size_t)n, SIZE_MAX);
        offset += n;
    }
    return ERR_OK;
}

enum err digest_file_put(struct digest_file *f, struct bytes digest, uint64_t *out_place)
{
    uint64_t place = DIGEST_NONE;
    uint8_t hash[HASH_BYTES];
    assert(digest.len <= DIGEST_BYTES_MAX);
    enum err e = pages_take(f, HASH_BYTES + digest.len, &place);
    if (e != ERR_OK)
        return e;
    int fd = atomic_load(&f->descriptor) - 1;
    store_le64(hash, hash_bytes_seeded(digest, place));
    e = write_all(fd, digest, offset_of(place) + HASH_BYTES);
    if (e == ERR_OK)
        e = write_all(fd, bytes_of(hash, sizeof hash), offset_of(place));
    if (e == ERR_OK)
        *out_place = place;
    else
        digest_file_forget(f, place);
    return e;
}

enum err digest_file_get(const struct digest_file *f, uint64_t place, struct buffer *scratch,
                         struct bytes *out)
{
    int fd = atomic_load(&f->descriptor) - 1;
    size_t len = len_of(place), at = 0;
    if (place == DIGEST_NONE || place == DIGEST_NEVER || fd < 0)
        return ERR_NOT_FOUND;
    buffer_reset(scratch);
    uint8_t *to = buffer_reserve(scratch, len);
    if (to == NULL)
        return buffer_error(scratch);
    while (at < len) {
        ssize_t n = pread(fd, to + at, len - at, offset_of(place) + (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? ERR_IO : ERR_NOT_FOUND;
        at += (size_t)n;
    }
    struct bytes digest = bytes_of(to + HASH_BYTES, len - HASH_BYTES);
    if (hash_bytes_seeded(digest, place) != load_le64(to))
        return ERR_NOT_FOUND;
    *out = digest;
    return ERR_OK;
}

void digest_file_forget(const struct digest_file *f, uint64_t place)
{
    int fd = atomic_load(&f->descriptor) - 1;
    if (place == DIGEST_NONE || place == DIGEST_NEVER || fd < 0)
        return;
    size_t pages = (len_of(place) + PAGE_BYTES - 1) / PAGE_BYTES;
    (void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset_of(place),
                    (off_t)(pages * PAGE_BYTES));
}
