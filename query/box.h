/* SPDX-License-Identifier: Apache-2.0 */
/* box.h - a rectangle of a heatmap: spans that start in [t0, t1) and last [d0, d1).
 *
 * Threads    pure. */
#ifndef SPINDLE_QUERY_BOX_H
#define SPINDLE_QUERY_BOX_H

#include "query/parameters.h"

struct box {
    uint64_t start_min_unix_ns, start_max_unix_ns;
    uint64_t duration_min_ns, duration_max_ns;
};

/* All there is. */
#define BOX_ALL ((struct box){ 0, UINT64_MAX, 0, UINT64_MAX })

/* "t0,t1,d0,d1", decimal nanoseconds, each of which may be empty: no bound. False when it is not that, or holds
 * nothing. */
NODISCARD bool box_parse(struct bytes text, struct box *out);
bool box_is_empty(const struct box *b);
static inline bool box_has(const struct box *b, uint64_t start_unix_ns, uint64_t duration_ns)
{
    return start_unix_ns >= b->start_min_unix_ns && start_unix_ns < b->start_max_unix_ns &&
           duration_ns >= b->duration_min_ns &&
           (duration_ns < b->duration_max_ns || b->duration_max_ns == UINT64_MAX);
}
/* The parameter `box`, if given: narrows the range, and adds what it says of durations to the filter. */
NODISCARD enum err box_parameter(struct call *c, struct time_range *range, struct filter *f);

#endif
