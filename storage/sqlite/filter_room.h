/* SPDX-License-Identifier: Apache-2.0 */
/* filter_room.h - where the trace filters of row groups lie in memory.
 *
 * Role       they are most of what a stored span costs in memory (1.1 MiB for 10 M of W1), and only who looks for a trace
 *            asks them. So they lie apart from everything else, and rest in a file (base/rest_file.h) while nobody does.
 * Threads    any; one lock, held while all filters are read again after a rest (some milliseconds).
 * Ownership  a filter is its row group's, from put to drop. It may be looked at between use and leave.
 * Errors     a filter that cannot be read again rules nothing out: its row group is asked instead. */
#ifndef SPINDLE_STORAGE_SQLITE_FILTER_ROOM_H
#define SPINDLE_STORAGE_SQLITE_FILTER_ROOM_H

#include "base/bytes.h"
#include "base/rest_file.h"

#include <pthread.h>

#define FILTER_CHUNK_BYTES ((size_t)64 << 10) /* a larger filter has a chunk of its own */

struct filter_chunk;

struct filter_room {
    pthread_mutex_t lock; /* guards all below */
    struct filter_chunk *chunks;
    struct filter_chunk *filling; /* one of them; NULL */
    size_t users;
    bool is_resting;           /* some chunk may */
    uint64_t used_mono_ns;     /* when the last one left */
    size_t bytes, chunk_bytes; /* of filters, of chunks */
    struct rest_file file;
};

/* ERR_NOMEM. A room is deinitialised when all its filters have been dropped. */
NODISCARD enum err filter_room_init(struct filter_room *r);
void filter_room_deinit(struct filter_room *r);

/* Keep a copy; not empty. *out is where it lies until it is dropped. ERR_NOMEM. */
NODISCARD enum err filter_room_put(struct filter_room *r, struct bytes filter, struct bytes *out,
                                   struct filter_chunk **out_chunk);
void filter_room_drop(struct filter_room *r, struct filter_chunk *chunk, struct bytes filter);

/* From now on filters may be looked at, those of a snapshot taken before too. */
void filter_room_use(struct filter_room *r);
void filter_room_leave(struct filter_room *r);
/* Rest, if nobody has used it for quiet_ns. */
void filter_room_rest(struct filter_room *r, const struct rest_policy *policy);

#endif
