/* SPDX-License-Identifier: Apache-2.0 */
/* time_columns.h - a range of time cut into columns of equal width, for what is counted by time.
 *
 * Threads    pure. */
#ifndef SPINDLE_QUERY_TIME_COLUMNS_H
#define SPINDLE_QUERY_TIME_COLUMNS_H

#include "query/parameters.h"

#define TIME_COLUMNS_MIN     10
#define TIME_COLUMNS_MAX     240 /* a column is three pixels of a chart */
#define TIME_COLUMNS_DEFAULT 60

struct time_columns {
    uint64_t t0_unix_ns, step_ns; /* the last column may reach beyond the range */
    size_t count;
};

/* What was asked for where it is bounded, else the extent of what is stored. */
struct time_columns time_columns_of(struct time_range asked, struct time_range extent,
                                    size_t count);
/* The column of a time within the range. */
size_t time_columns_at(const struct time_columns *t, uint64_t unix_ns);
/* t0 and step, as members. */
void time_columns_write(const struct time_columns *t, struct json_writer *j);

#endif
