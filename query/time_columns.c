/* SPDX-License-Identifier: Apache-2.0 */
#include "query/time_columns.h"

#include "query/native.h"

struct time_columns time_columns_of(struct time_range asked, struct time_range extent, size_t count)
{
    uint64_t min = asked.min_unix_ns == 0 ? extent.min_unix_ns : asked.min_unix_ns;
    uint64_t max = asked.max_unix_ns == UINT64_MAX ? extent.max_unix_ns : asked.max_unix_ns;
    uint64_t width = max > min ? max - min : 1;
    return (struct time_columns){ .t0_unix_ns = min,
                                  .step_ns = width / count + (width % count != 0),
                                  .count = count };
}

size_t time_columns_at(const struct time_columns *t, uint64_t unix_ns)
{
    uint64_t at = unix_ns < t->t0_unix_ns ? 0 : (unix_ns - t->t0_unix_ns) / t->step_ns;
    return at < t->count ? (size_t)at : t->count - 1;
}

void time_columns_write(const struct time_columns *t, struct json_writer *j)
{
    native_write_ns(j, "t0", t->t0_unix_ns);
    native_write_ns(j, "step", t->step_ns);
}
