/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup.h - thousands of spans or log records as compressed columns in one run of bytes.
 *
 * Role       pure: bytes in, bytes out; no files. The builder takes checked OTLP bodies, sorts their items
 *            by trace ID (log records: by time), drops equal ones and encodes columns; the reader finds,
 *            filters and rebuilds them exactly as they were sent.
 * Layout     docs/FORMAT.md: a header with a directory of columns, then the columns, each compressed by
 *            itself and checked by a hash, so that a search reads only the columns it names. Fixed columns
 *            (IDs, parent as a row distance where the parent is in the group, start as a delta, duration,
 *            kind, status, flags, resource, scope and name as dictionary references) and attributes by
 *            shape: the ordered list of (key, type) of an item is a dictionary entry, and each (key, type)
 *            has a column of its own, with a dictionary where that pays.
 * Threads    one at a time.
 * Errors     a column whose hash differs is ERR_CORRUPT for what needs it, and only for that. */
#ifndef SPINDLE_STORAGE_ROWGROUP_H
#define SPINDLE_STORAGE_ROWGROUP_H

#include "base/hash.h"
#include "storage/derive/derive_span.h"
#include "storage/segment.h"

#define ROWGROUP_FORMAT_VERSION 1
#define ROWGROUP_ROWS_MAX       (1u << 20)

/* ---- Building ---- */

struct ZSTD_DCtx_s;
struct rowgroup_builder;

/* Sees each span that is kept, in final order, as finishing walks over it; DERIVE_SPANS_MAX at most at a time. Their
 * contexts are numbered from 0 on, below the rows. */
typedef void rowgroup_spans_fn(void *context, const struct derive_span *spans, size_t count);

struct rowgroup_options {
    enum signal signal;
    const struct hash_key *content_key; /* for telling equal items from different ones; borrowed */
    int zstd_level;                     /* 0: 1; negative: nothing is compressed */
    rowgroup_spans_fn *on_spans;        /* NULL: nobody looks */
    void *on_spans_context;
};

/* A distinct (service, name, kind) of the group: the catalogue's input. */
struct rowgroup_operation {
    struct bytes service, name;
    uint32_t kind;
    uint32_t spans;
};

struct rowgroup_summary {
    uint32_t rows;       /* kept */
    uint32_t duplicates; /* equal items dropped */
    uint32_t traces;     /* distinct trace IDs */
    uint64_t start_min_unix_ns, start_max_unix_ns;
    uint64_t end_max_unix_ns;
    struct bytes trace_filter; /* see trace_filter.h; empty when no item has a trace ID */
    const struct rowgroup_operation *operations; /* spans only */
    size_t operations_count;
};

/* ERR_NOMEM. */
NODISCARD enum err rowgroup_builder_open(const struct rowgroup_options *options,
                                         struct rowgroup_builder **out);
/* Add a body; borrowed until the next rowgroup_builder_reset() or close. ERR_TOO_MANY when the group
 * would pass ROWGROUP_ROWS_MAX, or its bodies 512 MiB: finish first. ERR_NOMEM. Nothing is added then. */
NODISCARD enum err rowgroup_builder_add(struct rowgroup_builder *b, struct bytes body);
uint32_t rowgroup_builder_rows(const struct rowgroup_builder *b);
/* Of added item `number`, below rowgroup_builder_rows(), in order of arrival: its IDs, zero where it has
 * none, and its content hash, which is kept for finishing: nothing may be added any more. ERR_NOMEM. */
void rowgroup_builder_ids(const struct rowgroup_builder *b, uint32_t number,
                          struct trace_id *out_trace_id, struct span_id *out_span_id);
NODISCARD enum err rowgroup_builder_content(struct rowgroup_builder *b, uint32_t number,
                                            struct hash128 *out);

/* Is this item stored elsewhere already? Asked for the rows of the new group, ordered by trace, so that a
 * resend in another batch is dropped before it is counted. NULL when nothing can be: asking costs a hash
 * of each item's content, about as much as half of building it into the group. */
typedef bool rowgroup_is_stored_fn(void *context, const struct trace_id *trace_id,
                                   const struct span_id *span_id, struct hash128 content);

/* Append the encoded group to *out. The summary's memory belongs to the builder until reset or close.
 * ERR_NOMEM, ERR_TOO_LARGE, or what *out says. */
NODISCARD enum err rowgroup_builder_finish(struct rowgroup_builder *b,
                                           rowgroup_is_stored_fn *is_stored, void *context,
                                           struct buffer *out,
                                           struct rowgroup_summary *out_summary);
/* The same in two steps, so that another thread may take the second: put the items in order and their values in columns,
 * on_spans included, some two thirds of the work; then encode and compress the columns, once. */
NODISCARD enum err rowgroup_builder_arrange(struct rowgroup_builder *b,
                                            rowgroup_is_stored_fn *is_stored, void *context);
NODISCARD enum err rowgroup_builder_encode(struct rowgroup_builder *b, struct buffer *out,
                                           struct rowgroup_summary *out_summary);
/* Of spans that were arranged: is one with these IDs among them? Any thread, while another encodes. */
bool rowgroup_builder_has(const struct rowgroup_builder *b, const struct trace_id *trace_id,
                          const struct span_id *span_id);
void rowgroup_builder_reset(struct rowgroup_builder *b); /* keeps memory and compression contexts */
void rowgroup_builder_close(struct rowgroup_builder *b);

/* The content hash by which equal items are told: item, resource, scope, schema URLs; attributes in
 * canonical order. */
struct hash128 rowgroup_content_hash(const struct hash_key *key, enum signal signal,
                                     const struct otlp_items *item);

/* ---- Reading ---- */

/* What decompressing needs: some 300 KiB. One for all segments that a thread has open; zeroed is empty. */
struct rowgroup_scratch {
    struct ZSTD_DCtx_s *decompressor;
    uint8_t *stored; /* a block as it is stored; private */
};
void rowgroup_scratch_deinit(struct rowgroup_scratch *s);

/* Where encoded bytes come from: a blob read in parts, or memory. */
struct rowgroup_source {
    void *context;
    uint64_t size;
    /* Exactly len bytes at offset, into out. */
    enum err (*read)(void *context, uint64_t offset, size_t len, uint8_t *out);
    void (*close)(void *context);     /* may be NULL */
    struct rowgroup_scratch *scratch; /* borrowed; NULL: the segment has its own */
};

/* Reads and checks the header; columns are read when first needed. The directory and what all rows share
 * lie in `arena`, which must outlive the segment; what is read for rows is the segment's, within the same
 * limit and charged to the same budget. Errors: ERR_CORRUPT, ERR_NEWER, the source's, the arena's. */
NODISCARD enum err rowgroup_segment_open(const struct rowgroup_source *take_source,
                                         struct arena *arena, struct segment **out);

/* Between two uses of an open segment: forget what was read for rows, and the scratch. What the arena holds
 * stays: header, directory, and of what rows share that which was asked for. False when its last use failed:
 * it should be closed. */
bool rowgroup_segment_rest(struct segment *s);
/* Use it again. Rows are charged to the arena's budget as it is now. scratch: as rowgroup_source's. */
void rowgroup_segment_wake(struct segment *s, struct rowgroup_scratch *scratch);

/* What is worth knowing of a group that is not open, for this process alone: it is not stored. */
enum rowgroup_digest {
    ROWGROUP_DIGEST_VALUES,
    ROWGROUP_DIGEST_TRACES,
    ROWGROUP_DIGEST_EXTENTS, /* see extents.h */
    ROWGROUP_DIGEST_COUNT
};
/* Append one of an open group to *out: 9, 4 and 43 KB of a group of W1. Errors: as in reading, and the buffer's;
 * ERR_TOO_MANY, of traces and of extents: of log records there are none, nor of very many traces. */
NODISCARD enum err rowgroup_digest_make(struct segment *s, enum rowgroup_digest kind,
                                        struct buffer *out);
/* One of values, of a checked body, which is walked over: some times what a scan for one attribute costs, and 21.3 bits
 * for each distinct value. ERR_NOMEM, the buffer's. */
NODISCARD enum err rowgroup_digest_of_body(enum signal signal, struct bytes body,
                                           struct buffer *out);
/* Of values: false when no row of the group, or of the body, can match. */
bool rowgroup_digest_may_match(struct bytes digest, const struct expr *filter);

/* The same for who asks many digests of values: what the filter needs is hashed once. Plain data; the filter is borrowed. */
#define ROWGROUP_QUESTION_PARTS 16
struct rowgroup_question {
    const struct expr *filter; /* what it was made of */
    size_t parts_count;
    struct rowgroup_question_part { /* all of them must hold */
        const struct expr *part;
        enum rowgroup_of { ROWGROUP_OF_BOTH, ROWGROUP_OF_SPANS, ROWGROUP_OF_LOGS } of;
        enum expr_intrinsic intrinsic; /* of a part that speaks of one */
        bool asks_key, asks_value, asks_other;
        unsigned places_count;
        struct rowgroup_question_place { /* where a fact is to be there, in one at least */
            uint64_t key, value, open, other;
        } places[5];
    } parts[ROWGROUP_QUESTION_PARTS];
};
void rowgroup_question_init(struct rowgroup_question *out, const struct expr *filter);
bool rowgroup_question_may(const struct rowgroup_question *q, struct bytes digest);

/* Of traces: false when the trace is not in the group. Another filter than the one that lies beside the group,
 * so that of its false hits one in a hundred remains. */
bool rowgroup_digest_may_contain(struct bytes digest, const struct trace_id *id);

/* Read and check everything: hashes, lengths, references. note says what is wrong. */
NODISCARD enum err rowgroup_verify(struct bytes encoded, struct err_note *note);

/* Visit the distinct attribute keys, and, for dictionaries, the values with counts. */
typedef bool rowgroup_key_fn(void *context, enum expr_scope scope, struct bytes key,
                             enum otlp_value_type type, uint64_t rows);
NODISCARD enum err rowgroup_keys(struct segment *s, rowgroup_key_fn *on_key, void *context);

/* ---- The trace filter (trace_filter.c) ------------------------------------------------------------
 * 21.3 bits a trace; no false negatives, about 0.03 % false hits. */
NODISCARD enum err trace_filter_build(const struct trace_id *distinct, size_t count,
                                      struct buffer *out);
/* 10.7 bits, 0.9 % false hits: for what is in memory alone and not asked thousands of times. */
NODISCARD enum err trace_filter_build_small(const struct trace_id *distinct, size_t count,
                                            struct buffer *out);
/* Whether its bytes are those that were written, as far as its kind can tell. */
bool trace_filter_is_intact(struct bytes filter);
bool trace_filter_may_contain(struct bytes filter, const struct trace_id *id);
/* The same for whoever asks many filters: hash once. */
uint64_t trace_filter_hash(const struct trace_id *id);
bool trace_filter_may_contain_hash(struct bytes filter, uint64_t hash);

/* Where a filter's blocks lie, so that asking it touches one line of memory and nothing else. */
struct trace_filter_place {
    const uint8_t
        *blocks; /* NULL: it contains nothing, or, is_open, cannot be read and rules nothing out */
    uint32_t blocks_count;
    bool is_open;
};
/* Reads the filter's head; borrowed. */
struct trace_filter_place trace_filter_place_of(struct bytes filter);
/* The first of places[from..count) whose filter may contain the trace of this hash; count: none. 3,050 of them,
 * with 100 M spans, one after the other: some 40 us. */
size_t trace_filter_next(const struct trace_filter_place *places, size_t count, size_t from,
                         uint64_t hash);

#endif
