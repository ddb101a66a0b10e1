/* SPDX-License-Identifier: Apache-2.0 */
/* stages.h - what each stage of the path costs, counted; and one that is timed.
 *
 * Role       fixed, seeded work goes through one stage after the other: stages_receive.c, the wire and
 *            inflating; stages_decode.c, the checking walk and columns; stages_derive.c, rollups alone;
 *            stages_store.c, the engine's journal, its row groups, lookups and searches. Around each
 *            stage stages_count.c counts allocations and bytes; under callgrind a dump of the profile
 *            says the instructions.
 * Threads    the main one calls all of this; what the engine's threads do meanwhile counts. */
#ifndef SPINDLE_BENCH_STAGES_H
#define SPINDLE_BENCH_STAGES_H

#include "base/arena.h"
#include "base/buffer.h"

/* The work, made beforehand. */
struct stages_request {
    struct bytes plain, gzip; /* an ExportTraceServiceRequest */
    uint32_t spans;
};
struct stages_work {
    struct arena arena; /* owns the bytes */
    struct stages_request *requests;
    size_t count;
    uint64_t spans;
};

/* Known defects, put in by the option --defect to see that the gate notices. */
enum stages_defect {
    STAGES_DEFECT_NONE,
    STAGES_DEFECT_ALLOCATION, /* a block for each span */
    STAGES_DEFECT_COPY,       /* of each request's bytes */
    STAGES_DEFECT_WORK,       /* a second walk over each request */
    STAGES_DEFECT_WRITE       /* of each request a second time, to a file of its own */
};

/* ---- Counting (stages_count.c) ---- */

/* From here on to stage_end() everything counts for `name`, static text; a stage may be entered again. Not
 * nested. */
void stage_begin(const char *name);
/* So many units were done: spans, lookups or searches. */
void stage_end(uint64_t units);
/* What the stage that ended last left behind, in all. */
void stage_result(uint64_t bytes);
/* All stages so far as JSON: units, and of all of them allocations, allocated_bytes, copied_bytes,
 * written_bytes and result_bytes. */
void stages_print(struct buffer *out);

/* ---- The stages ---- */

/* False, after a line on standard error, when one failed: nothing that was counted is worth anything then. */
NODISCARD bool stages_receive(const struct stages_work *work, enum stages_defect defect);
NODISCARD bool stages_decode(const struct stages_work *work, enum stages_defect defect);
NODISCARD bool stages_derive(const struct stages_work *work);
/* Not counted, but timed: what rollups and edges add to building row groups. Prints lines. */
NODISCARD bool stages_time(const struct stages_work *work, uint64_t rounds);
/* In a new directory. */
NODISCARD bool stages_store(const struct stages_work *work, const char *directory,
                            enum stages_defect defect);

#endif
