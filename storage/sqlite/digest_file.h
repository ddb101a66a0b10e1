/* SPDX-License-Identifier: Apache-2.0 */
/* digest_file.h - digests of row groups (rowgroup.h), in a file.
 *
 * Role       a digest says of a group that nothing in it can match, that a trace is not in it, or how long its traces last,
 *            without opening it: 9, 4 and 43 KB of a group of W1, so those of 100 M spans are 170 MB, which nobody needs in
 *            memory until somebody looks.
 *            The file has no name and goes with the process; reading one digest from the page cache takes a microsecond
 *            or two.
 * Threads    any.
 * Bound      of disk: the pages of three digests for each row group there is; they are given back with the group.
 * Errors     a digest that cannot be read, or is not what was written, is not known: its group is opened instead. */
#ifndef SPINDLE_STORAGE_SQLITE_DIGEST_FILE_H
#define SPINDLE_STORAGE_SQLITE_DIGEST_FILE_H

#include "base/buffer.h"

#include <pthread.h>
#include <stdatomic.h>

#define DIGEST_BYTES_MAX ((size_t)640 << 10) /* of the extents of 32,768 traces 512 KiB */

struct digest_file {
    const char *directory;  /* where the file is made; borrowed. Set before the first put */
    pthread_mutex_t lock;   /* of what follows */
    _Atomic int descriptor; /* + 1; 0: none yet. Set once */
    uint64_t pages;         /* given out */
};

/* Nothing is opened before something is put. */
void digest_file_init(struct digest_file *f);
void digest_file_deinit(struct digest_file *f);

/* Where a digest lies; never one of these. */
#define DIGEST_NONE  UINT64_C(0) /* not yet */
#define DIGEST_NEVER UINT64_C(1) /* none can be made */

/* Write it; at most DIGEST_BYTES_MAX. ERR_IO, ERR_FULL. */
NODISCARD enum err digest_file_put(struct digest_file *f, struct bytes digest, uint64_t *out_place);
/* In the buffer, until it is used for something else. ERR_NOT_FOUND: there is none at this place, or not any more.
 * ERR_IO, the buffer's. */
NODISCARD enum err digest_file_get(const struct digest_file *f, uint64_t place,
                                   struct buffer *scratch, struct bytes *out);
/* Its pages are given back. Nobody may ask for it any more; DIGEST_NONE and DIGEST_NEVER do nothing. */
void digest_file_forget(const struct digest_file *f, uint64_t place);

#endif
