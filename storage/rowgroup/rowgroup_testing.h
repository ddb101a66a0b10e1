/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_testing.h - what the tests and the benchmark of row groups share. */
#ifndef SPINDLE_STORAGE_ROWGROUP_TESTING_H
#define SPINDLE_STORAGE_ROWGROUP_TESTING_H

#include "storage/rowgroup/rowgroup.h"

/* The content key of all tests. */
const struct hash_key *testing_key(void);

/* A group in memory as a source. `bytes` must outlive it. */
struct rowgroup_source testing_source(struct bytes *bytes);

/* Build a group of one body. level: as rowgroup_options.zstd_level. */
NODISCARD enum err testing_build_at(enum signal signal, int level, struct bytes body,
                                    struct buffer *out, struct rowgroup_summary *out_summary);
NODISCARD enum err testing_build(enum signal signal, struct bytes body, struct buffer *out,
                                 struct rowgroup_summary *out_summary);

/* Append the item without the fields that say zero or nothing. */
void testing_normalize(enum signal signal, struct bytes item, struct buffer *out);

/* A hash of each item so written, with all that is around it, sorted. In the arena. */
NODISCARD enum err testing_items(enum signal signal, struct bytes body, struct arena *arena,
                                 struct hash128 **out, size_t *out_count);

/* Read all rows of a segment. */
NODISCARD enum err testing_read_all(struct segment *s, struct arena *arena, struct buffer *out);

#endif
