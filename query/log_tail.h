/* SPDX-License-Identifier: Apache-2.0 */
/* log_tail.h - log records as they come in, told to whoever listens, as server-sent events.
 *
 * Role       watches the engine while somebody listens, keeps the newest requests for who comes back, and writes
 *            each record that a listener's filter lets through to it. Nobody is waited for: what a listener does
 *            not take is skipped, and it is told how much.
 * Events     `row` with the row of /logs; `skipped` with how many and why. Each row has an ID by which a listener
 *            that comes back goes on; a comment comes every 5 s.
 * Threads    joining from any thread; one thread of its own does the rest.
 * Memory     at most 8 MiB of requests that wait, 256 KiB kept for who comes back; of each listener what net/ holds.
 * Source     HTML Living Standard, 9.2: server-sent events. */
#ifndef SPINDLE_QUERY_LOG_TAIL_H
#define SPINDLE_QUERY_LOG_TAIL_H

#include "base/budget.h"
#include "net/exchange.h"
#include "storage/engine.h"

struct log_tail;

struct log_tail_options {
    struct engine *engine;
    struct budget *budget; /* charged for each listener's unsent events; may be NULL */
    unsigned listeners_max;
    uint64_t alive_ns; /* between comments; 0: 5 s */
};

/* Starts the thread. Errors: ERR_NOMEM. */
NODISCARD enum err log_tail_open(const struct log_tail_options *options, struct log_tail **out);
/* Ends what is open; nobody may join any more. NULL does nothing. */
void log_tail_drain(struct log_tail *t);
void log_tail_close(struct log_tail *t); /* after the last join; drains first */

/* What a listener asked for; its filter is its own. */
struct log_tail_listener;

/* One with the filter of this text, which is copied; empty: every record. ERR_BUSY when there are too many; those
 * of traceql_parse(), then *out_error says where. */
struct traceql_error;
NODISCARD enum err log_tail_listener_new(struct log_tail *t, struct bytes filter,
                                         struct traceql_error *out_error,
                                         struct log_tail_listener **out);
/* Begin the answer and tell it from now on, or, with the ID of an event that an earlier one was told, from behind
 * that. Takes the listener and the exchange. */
void log_tail_join(struct log_tail *t, struct log_tail_listener *take_listener, struct exchange *x,
                   struct bytes last_event_id);

/* The ID of an event: which process, and the record's number in it. */
struct log_tail_id {
    uint32_t process;
    uint64_t number;
};
NODISCARD bool log_tail_id_parse(struct bytes text, struct log_tail_id *out);

#endif
