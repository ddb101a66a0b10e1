/* SPDX-License-Identifier: Apache-2.0 */
/* stages_rollups.h - what the engine does with a row group's spans for rates, durations and edges, without the
 * engine: counting, pairing, both stored forms, the table of halves and the totals.
 *
 * Private    to the stages: "rollups" (stages_derive.c) and the timed one (stages_time.c). */
#ifndef SPINDLE_BENCH_STAGES_ROLLUPS_H
#define SPINDLE_BENCH_STAGES_ROLLUPS_H

#include "storage/derive/pairing.h"
#include "storage/derive/totals.h"

struct stages_rollups {
    struct intake intake;
    struct totals totals;
    struct half_table halves;
    struct buffer minutes, changes;
};

/* False when out of memory. deinit is safe on a zeroed one. */
NODISCARD bool stages_rollups_init(struct stages_rollups *r);
void stages_rollups_deinit(struct stages_rollups *r);

/* Before the spans of a group are given to r->intake; and after. End is false when not all could be counted. */
void stages_rollups_begin(struct stages_rollups *r);
NODISCARD bool stages_rollups_end(struct stages_rollups *r, uint64_t spans, uint64_t now_unix_ns);

#endif
