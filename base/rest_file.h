/* SPDX-License-Identifier: Apache-2.0 */
/* rest_file.h - memory that nobody needs for a while rests in a file.
 *
 * Role       what only arriving data needs would else be resident in a quiet server. The file has no name and goes with
 *            the process; what is in it is of this process alone.
 * Bound      what is written: a place that has not changed since is not written again, and one that has changed not
 *            within again_ns of the last time.
 * Threads    one at a time, file and places.
 * Blocking   put and take wait for the disk.
 * Errors     a put that fails changes nothing. ERR_IO and ERR_CORRUPT of take: what rested is lost, the block is zero. */
#ifndef SPINDLE_BASE_REST_FILE_H
#define SPINDLE_BASE_REST_FILE_H

#include "base/clock.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct rest_policy {
    const char *directory; /* where the file is made */
    uint64_t quiet_ns;     /* users: after so long without work */
    uint64_t again_ns;     /* between two times that a place is written */
};

/* Zeroed is one that nothing has rested in. */
struct rest_file {
    int descriptor; /* + 1; 0: none yet */
    uint64_t end;
};

/* Where a block rests, and whether it does. Zeroed is a block that has never rested. */
struct rest_place {
    uint64_t offset;
    size_t room, len; /* in the file; of the content */
    uint64_t hash, written_mono_ns;
    bool is_written; /* the file has what the block had when it was last put or taken */
    bool is_resting;
};

/* A file in this directory that goes with its last descriptor, for reading and writing; -1: none. */
int rest_file_nameless(const char *directory);

void rest_file_deinit(struct rest_file *f); /* safe on a zeroed one, and twice */

/* Write the first `len` bytes of a block that mem_map(size) gave, and give all its pages back. `has_changed`: since it was
 * put or taken last. ERR_BUSY: too soon after the last time. ERR_IO, ERR_FULL. */
NODISCARD enum err rest_file_put(struct rest_file *f, struct rest_place *p,
                                 const struct rest_policy *policy, void *block, size_t size,
                                 size_t len, bool has_changed);
/* The block as it was; one that does not rest stays as it is. */
NODISCARD enum err rest_file_take(struct rest_file *f, struct rest_place *p, void *block);
/* The block is no more: its room on the disk is given back. */
void rest_file_forget(struct rest_file *f, struct rest_place *p);

#endif
