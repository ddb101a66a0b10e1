/* SPDX-License-Identifier: Apache-2.0 */
/* workers.h - the threads that run calls, and the two bounded lanes in front of them: heavy calls
 * never take every thread, so that quick ones wait for each other only (turns.h says for whom).
 *
 * Threads    workers_submit() from any thread; start and stop from one. */
#ifndef SPINDLE_QUERY_WORKERS_H
#define SPINDLE_QUERY_WORKERS_H

#include "query/call.h"

struct workers;

/* options: borrowed until workers_stop(), with all defaults filled in. */
NODISCARD enum err workers_start(const struct query_options *options, struct workers **out);
/* Queue a call from mem_alloc(); takes it, and answers it with ERR_BUSY or ERR_STOPPING when it
 * cannot wait. Never blocks. */
void workers_submit(struct workers *w, struct call *take_call);
/* No more calls; those that wait are answered with ERR_STOPPING, those that run are finished: a
 * call ends at once when its exchange is cancelled, else at its deadline. Joins. NULL does nothing.
 */
void workers_stop(struct workers *w);

#endif
