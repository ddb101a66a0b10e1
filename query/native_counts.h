/* SPDX-License-Identifier: Apache-2.0 */
/* native_counts.h - answers that count rows by time.
 *
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_NATIVE_COUNTS_H
#define SPINDLE_QUERY_NATIVE_COUNTS_H

#include "query/native.h"
#include "query/time_columns.h"

/* The member "hits": how many spans in the range match, by their start, in so many columns. */
NODISCARD enum err native_write_hits(struct call *c, struct time_range range,
                                     const struct expr *filter, size_t cols);

#endif
