/* SPDX-License-Identifier: Apache-2.0 */
/* extents.h - how long the traces of a segment last, in 16 bytes for each run of its rows.
 *
 * Role       which traces are the slowest can be told from these alone: a search for them reads rows of the few that may be.
 *            Of each run (segment.h), in order: a hash of the trace ID, so that traces with several runs are known; when it
 *            starts; and from its start to its latest end.
 * Layout     offset 0   u64  a time at or before each start
 *            offset 8   u32  starts are in units of 2^n ns after it
 *            offset 12  u32  the greatest code of an extent
 *            offset 16  16 B a run: u64 hash, u32 start, u32 code
 *            Extents are rounded up, to 26 bits and more; starts down. Made and read by one process, never stored.
 * Threads    pure. */
#ifndef SPINDLE_STORAGE_EXTENTS_H
#define SPINDLE_STORAGE_EXTENTS_H

#include "storage/segment.h"

/* Append those of a segment of spans, which is read whole. Errors: as in reading it, and the buffer's. */
NODISCARD enum err extents_make(struct segment *s, const struct query_context *q,
                                struct buffer *out);

/* A code says at least what was put in, and the next lower one less; greater extents have no smaller codes. */
uint32_t extent_code(uint64_t extent_ns);
uint64_t extent_of_code(uint32_t code);
/* Codes below this one say exactly what was put in: 134 ms. */
#define EXTENT_CODE_EXACT (UINT32_C(1) << 27)

/* What stands for the trace in its runs. Of 64 bits two of ten million have one in a few of a million stores; of 32 bits,
 * eighty pairs had one, and each of a million traces, was taken for a trace that lasts from one to the other. */
uint64_t extents_hash(const struct trace_id *id);

#define EXTENTS_RUN_BYTES 16

/* To be read in place. */
struct extents {
    uint64_t base_unix_ns;
    uint32_t shift, code_max, count;
    const uint8_t *runs;
};
struct extents extents_read(struct bytes made); /* as extents_make() made it, or empty */

struct extent {
    uint64_t hash;
    uint32_t code;
    uint64_t start_min_unix_ns, end_max_unix_ns; /* no later, and no earlier, than it was */
};
static inline uint64_t extents_hash_at(const struct extents *x, uint32_t run)
{
    return load_le64(x->runs + EXTENTS_RUN_BYTES * (size_t)run);
}
static inline uint32_t extents_code_at(const struct extents *x, uint32_t run)
{
    return load_le32(x->runs + EXTENTS_RUN_BYTES * (size_t)run + 12);
}
struct extent extents_at(const struct extents *x, uint32_t run);

#endif
