/* SPDX-License-Identifier: Apache-2.0 */
/* download.h - an answer of any size, written in pieces at the pace of its reader.
 *
 * Role       for calls of the long lane, whose threads may wait: a writer that is ahead of its reader by more than
 *            net/ holds is stopped until there is room, the reader has left, or the call's time is over.
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_DOWNLOAD_H
#define SPINDLE_QUERY_DOWNLOAD_H

#include "query/call.h"

#include <pthread.h>

struct download {
    struct call *c;
    struct exchange *x;   /* NULL before it has begun */
    pthread_mutex_t lock; /* guards may_write */
    pthread_cond_t changed;
    bool may_write;
    /* Waiting for the reader so long is added to the call's deadline: it is no work of the query's. Set after
     * download_init(), which leaves 0; counts down. */
    uint64_t patience_ns;
};

/* Nothing is answered yet. */
void download_init(struct download *d, struct call *c);
/* Ends the answer if it has begun. */
void download_deinit(struct download *d);
/* From now on the answer is 200, and the call's own answer is given. */
void download_begin(struct download *d);
/* Write a copy of the piece. Errors: ERR_CANCELLED, ERR_DEADLINE, ERR_NOMEM. */
NODISCARD enum err download_write(struct download *d, struct bytes piece);
/* The same for what says that the answer ends early: its deadline is past, perhaps. */
NODISCARD enum err download_write_last(struct download *d, struct bytes piece);

#endif
