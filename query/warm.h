/* SPDX-License-Identifier: Apache-2.0 */
/* warm.h - the questions that take longest the first time are asked before anybody does.
 *
 * Role       services and the map over a day, a week and a month are sums of thousands of stored rows, which the engine keeps
 *            from the first question on. After a start that first question is the service's own: a thread asks each once,
 *            as the page does, and is gone.
 * Bound      no new question after WARM_NS, the deadline of each, and the memory of one query of the share that all have; the thread
 *            gives way to others.
 * Threads    start and stop: one. */
#ifndef SPINDLE_QUERY_WARM_H
#define SPINDLE_QUERY_WARM_H

#include "base/clock.h"
#include "query/query.h"

#define WARM_NS (30 * NS_PER_S)

struct warm;

/* The options outlive it. NULL where there is no memory or no thread for it: questions are slower then, the first time. */
struct warm *warm_start(const struct query_options *options);
/* What is being asked ends at its next check. NULL does nothing. */
void warm_stop(struct warm *w);

#endif
