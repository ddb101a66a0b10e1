/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_write.h - sections, streams and blocks of a group being written.
 *
 * Role       the builder hands over arrays of integers and of byte strings; how they are
 *            encoded, cut into parts and compressed is decided here.
 * Private    to storage/rowgroup.
 * Errors     stick, asked once by group_writer_end(). */
#ifndef SPINDLE_STORAGE_ROWGROUP_WRITE_H
#define SPINDLE_STORAGE_ROWGROUP_WRITE_H

#include "storage/rowgroup/rowgroup_format.h"
#include "storage/rowgroup/rowgroup_texts.h"

struct ZSTD_CCtx_s;

/* How the wide integers of one column are best written: found by trying once, then kept. */
struct ints_choice {
    uint8_t narrow; /* for ranges of two bytes: a form of INTS_, 0 when not tried yet */
    uint8_t wide;   /* for more */
};

struct group_writer {
    struct ZSTD_CCtx_s *compressor;
    int level;
    struct buffer blocks; /* stored bytes of all blocks */
    struct buffer table;  /* stored and raw length of each */
    struct buffer hashes; /* u64 each */
    uint32_t blocks_count;
    struct buffer sections; /* directory entries of finished sections */
    uint32_t sections_count;
    struct buffer streams; /* directory entries of the section being written */
    uint32_t streams_count;
    struct buffer pool; /* its small parts */
    struct buffer scratch[3];
    uint64_t *values; /* scratch for lengths and codes */
    size_t values_capacity;
    enum err error;
};

/* level: of zstd; below 0 nothing is compressed. */
NODISCARD enum err group_writer_init(struct group_writer *w, int level);
void group_writer_deinit(struct group_writer *w);
/* Begin another group; memory is kept. */
void group_writer_reset(struct group_writer *w);

/* The streams that follow belong to the next section. */
void group_writer_section_begin(struct group_writer *w);
/* Streams must come in ascending order of column. `choice` may be NULL for columns of section 0. */
void group_writer_ints(struct group_writer *w, uint32_t column, const uint64_t *values,
                       size_t count, struct ints_choice *choice);
void group_writer_constant(struct group_writer *w, uint32_t column, uint64_t value, size_t count);
/* codes NULL: all are 0. */
void group_writer_codes(struct group_writer *w, uint32_t column, const uint32_t *codes,
                        size_t count, struct ints_choice *choice);
/* Texts [first, first + count). */
void group_writer_texts(struct group_writer *w, uint32_t column, const struct texts *texts,
                        uint32_t first, uint32_t count, bool is_random, struct ints_choice *choice);
void group_writer_section_end(struct group_writer *w);

/* The directory's raw bytes into *out, and its stored form into *out_stored (the same when not
 * smaller). */
NODISCARD enum err group_writer_end(struct group_writer *w, struct buffer *out_raw,
                                    struct buffer *out_stored);

#endif
