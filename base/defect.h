/* SPDX-License-Identifier: Apache-2.0 */
/* defect.h - known defects that a test can put back, to see that it would notice.
 *
 * Role       with SPINDLE_DEFECT=name in the environment of a build with SPINDLE_FAULTS,
 * defect_is("name") is true. Release builds contain nothing of it.
 *
 *   ack-before-commit   the engine acknowledges requests that are in memory only, until their row group is built
 *   backup-catalog-last  a backup copies the catalogue after the partitions
 *   merge-drops-span    a merge of row groups loses one of their spans
 *   retention-wall-clock  partitions grow old by the wall clock
 *   sql-anything-goes    statements in SQL are not asked what they would do
 *   refuse-first        the collector refuses the first OTLP request as if overloaded, without
 * holding it
 *
 * Threads    any. */
#ifndef SPINDLE_BASE_DEFECT_H
#define SPINDLE_BASE_DEFECT_H

#include <stdbool.h>

#if SPINDLE_FAULTS
#include <stdlib.h>
#include <string.h>

static inline bool defect_is(const char *name)
{
    const char *wanted = getenv("SPINDLE_DEFECT");
    return wanted != NULL && strcmp(wanted, name) == 0;
}
#else
static inline bool defect_is(const char *name)
{
    (void)name;
    return false;
}
#endif

#endif
