/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/request_key.h"

#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES 32

static enum err key_read(int directory, uint8_t seed[KEY_BYTES])
{
    uint8_t more[KEY_BYTES + 1];
    int fd = openat(directory, "request.key", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    ssize_t n = read(fd, more, sizeof more);
    close(fd);
    if (n < 0)
        return ERR_IO;
    if (n != KEY_BYTES)
        return ERR_CORRUPT;
    memcpy(seed, more, KEY_BYTES);
    return ERR_OK;
}

/* Under another name first, so that a crash leaves the whole key or none. */
static enum err key_create(int directory, uint8_t seed[KEY_BYTES])
{
    static const char unfinished[] = "request.key.new";
    enum err e = random_system(seed, KEY_BYTES);
    if (e != ERR_OK)
        return e;
    int fd = openat(directory, unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                    S_IRUSR | S_IWUSR);
    if (fd < 0)
        return ERR_IO;
    bool is_written = write(fd, seed, KEY_BYTES) == KEY_BYTES && fsync(fd) == 0;
    if (close(fd) != 0 || !is_written)
        return ERR_IO;
    if (renameat(directory, unfinished, directory, "request.key") != 0 || fsync(directory) != 0)
        return ERR_IO;
    return ERR_OK;
}

enum err request_key_load(const char *directory, struct hash_key *out)
{
    uint8_t seed[KEY_BYTES];
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    enum err e = key_read(fd, seed);
    if (e == ERR_NOT_FOUND)
        e = key_create(fd, seed);
    close(fd);
    if (e == ERR_OK)
        hash_key_derive(seed, out);
    return e;
}
