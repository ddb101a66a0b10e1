/* SPDX-License-Identifier: Apache-2.0 */
/* query_context.h - what bounds one query: time, memory, and a client that may leave.
 *
 * Role       made by the edge that received the query, passed down to whoever works for it, asked in
 *            every loop that may be long. One answer: go on, or the error to stop with.
 * Threads    the flag may be set by another thread; the rest is read-only while the query runs. */
#ifndef SPINDLE_BASE_QUERY_CONTEXT_H
#define SPINDLE_BASE_QUERY_CONTEXT_H

#include "base/arena.h"
#include "base/clock.h"

#include <stdatomic.h>

struct query_context {
    uint64_t deadline_mono_ns;     /* UINT64_MAX: none */
    const _Atomic bool *cancelled; /* NULL: nobody can cancel */
    struct arena *arena; /* results and scratch of the query; its limit bounds the memory */
};

/* ERR_OK, ERR_DEADLINE or ERR_CANCELLED. Reads a clock: ask each few thousand rows, not each row.
 */
NODISCARD static inline enum err query_check(const struct query_context *q)
{
    if (q->cancelled != NULL && atomic_load_explicit(q->cancelled, memory_order_relaxed))
        return ERR_CANCELLED;
    if (q->deadline_mono_ns != UINT64_MAX && clock_mono_ns() >= q->deadline_mono_ns)
        return ERR_DEADLINE;
    return ERR_OK;
}

#endif
