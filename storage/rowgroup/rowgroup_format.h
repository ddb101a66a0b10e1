/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_format.h - what the builder writes and the reader reads; docs/FORMAT.md in C.
 *
 * Layout     header, directory, blocks. A block is a run of stored bytes with a hash, compressed
 *            or not. A stream holds the values of one column in one section; its parts lie in
 *            blocks, small parts together in their section's pool block. Section 0 holds what
 *            the whole group shares (dictionaries, resources, scopes, keys, shapes); section 1 +
 *            c holds rows [c * chunk_rows, (c + 1) * chunk_rows), and is read without the other
 *            chunks.
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_FORMAT_H
#define SPINDLE_STORAGE_ROWGROUP_FORMAT_H

#include "base/buffer.h"
#include "base/err.h"
#include "proto/otlp.h"

/* ---- Header: little-endian, ROWGROUP_HEADER_BYTES long. Every version keeps magic, version and
 * the hash at their places, so that a newer group is told from a damaged one. */
#define ROWGROUP_MAGIC        0x47525053u /* "SPRG" */
#define ROWGROUP_HEADER_BYTES 112
enum {
    HEADER_MAGIC = 0,             /* u32 */
    HEADER_VERSION = 4,           /* u16 */
    HEADER_SIGNAL = 6,            /* u8: 0 traces, 1 logs */
    HEADER_RESERVED = 7,          /* u8, 0 */
    HEADER_ROWS = 8,              /* u32 */
    HEADER_CHUNK_ROWS = 12,       /* u32, > 0 */
    HEADER_TRACES = 16,           /* u32, distinct trace IDs */
    HEADER_DIRECTORY_STORED = 20, /* u32, bytes */
    HEADER_DIRECTORY_RAW = 24,    /* u32, bytes; equal to stored: not compressed */
    HEADER_STATUS_SEEN = 28,      /* u32, bit n: a span has status code n; bit 31: another code */
    HEADER_START_MIN = 32,        /* u64 */
    HEADER_START_MAX = 40,        /* u64 */
    HEADER_END_MAX = 48,          /* u64 */
    HEADER_DURATION_MAX = 56,     /* u64, ns */
    HEADER_TENANT = 64,           /* u64, 0: reserved for tenants */
    HEADER_SIZE = 72,             /* u64, of the whole group */
    HEADER_DIRECTORY_HASH = 80,   /* u64, of the stored directory */
    HEADER_RESERVED_2 = 88,       /* 16 bytes, 0 */
    HEADER_HASH = 104             /* u64, XXH3-64 of bytes [0, 104) */
};

/* Rows of a chunk, as written; readers take the header's. rowgroup_bench, W1 in groups of 32 Ki: 4,096 take
 * 25.4 B a span and 0.59 ms to open a group and read one trace, 8,192 24.9 B and 0.82 ms, 16,384 24.7 B and
 * 1.4 ms. */
#define ROWGROUP_CHUNK_ROWS 4096

/* A longer value lies in its stream's `big` part, which searches of other values do not read. */
#define ROWGROUP_VALUE_INLINE_MAX 4096

/* Parts below this share their section's pool block: a frame of their own would cost more than it
 * saves. */
#define ROWGROUP_POOL_PART_MAX 768

/* ---- Tables and columns */
enum rowgroup_table {
    TABLE_ITEM,  /* spans or log records */
    TABLE_EVENT, /* span events */
    TABLE_LINK,  /* span links */
    TABLE_COUNT,
    TABLE_BODY = 3 /* not a table: in COLUMN_KEY_KIND, the key is the body of log records */
};

/* Types of an attribute's value: enum otlp_value_type, and: */
enum { ROWGROUP_NO_VALUE = 8, ROWGROUP_TYPE_COUNT = 9 };

/* Columns with a fixed number. The columns of keys follow: key k is column COLUMN_FIXED_COUNT + k. */
#define ROWGROUP_COLUMN_LIST(X)                                                                    \
    /* section 0: what rows refer to; the streams of other columns there are dictionaries */       \
    X(TEXT, BYTES)           /* Resource and InstrumentationScope messages, schema URLs */         \
    X(CONTEXT_RESOURCE, INT) /* of each (resource, scope): numbers of texts ... */                 \
    X(CONTEXT_RESOURCE_SCHEMA, INT)                                                                \
    X(CONTEXT_SCOPE, INT)                                                                          \
    X(CONTEXT_SCOPE_SCHEMA, INT)                                                                   \
    X(CONTEXT_PRESENT, INT)   /* ... bit 0: the Resource field is there, bit 1: the scope field */ \
    X(KEY_NAME, BYTES)        /* of the attribute keys */                                          \
    X(KEY_KIND, INT)          /* table * 16 + type */                                              \
    X(ITEM_SHAPE_LENGTH, INT) /* keys of each shape ... */                                         \
    X(ITEM_SHAPE_KEYS, INT)   /* ... one after the other */                                        \
    X(EVENT_SHAPE_LENGTH, INT)                                                                     \
    X(EVENT_SHAPE_KEYS, INT)                                                                       \
    X(LINK_SHAPE_LENGTH, INT)                                                                      \
    X(LINK_SHAPE_KEYS, INT)                                                                        \
    /* items */                                                                                    \
    X(CONTEXT, INT)                                                                                \
    X(SHAPE, INT)                                                                                  \
    X(TRACE_ID, BYTES) /* spans: of each run of rows with one trace ID; logs: of each row */       \
    X(RUN_LENGTH, INT) /* spans: rows of each run */                                               \
    X(RUN_TIME, INT)   /* spans: start of the run's first row */                                   \
    X(TIME, INT)       /* spans, other rows: start - the row before's; logs: zigzag of that */     \
    X(DURATION, INT)   /* spans: end - start modulo 2^64; logs: observed - time likewise */        \
    X(SPAN_ID, BYTES)                                                                              \
    X(PARENT, INT) /* 0 none; 1 in PARENT_ID; else 2 + zigzag(parent's row - row) */               \
    X(PARENT_ID, BYTES)                                                                            \
    X(TRACE_STATE, BYTES)                                                                          \
    X(NAME, BYTES)           /* spans: name; logs: event_name */                                   \
    X(KIND, INT)             /* spans: kind; logs: severity_number */                              \
    X(STATUS, INT)           /* 0: no Status; else 1 + code */                                     \
    X(STATUS_MESSAGE, BYTES) /* spans: status.message; logs: severity_text */                      \
    X(FLAGS, INT)                                                                                  \
    X(DROPPED_ATTRIBUTES, INT)                                                                     \
    X(DROPPED_EVENTS, INT)                                                                         \
    X(DROPPED_LINKS, INT)                                                                          \
    X(EVENT_COUNT, INT)                                                                            \
    X(LINK_COUNT, INT)                                                                             \
    /* events, in order of their spans */                                                          \
    X(EVENT_SHAPE, INT)                                                                            \
    X(EVENT_TIME, INT) /* zigzag(time - the span's start) */                                       \
    X(EVENT_NAME, BYTES)                                                                           \
    X(EVENT_DROPPED, INT)                                                                          \
    /* links, likewise */                                                                          \
    X(LINK_SHAPE, INT)                                                                             \
    X(LINK_TRACE_ID, BYTES)                                                                        \
    X(LINK_SPAN_ID, BYTES)                                                                         \
    X(LINK_STATE, BYTES)                                                                           \
    X(LINK_FLAGS, INT)                                                                             \
    X(LINK_DROPPED, INT)

enum rowgroup_column {
#define X(name, kind) COLUMN_##name,
    ROWGROUP_COLUMN_LIST(X)
#undef X
        COLUMN_FIXED_COUNT
};

enum column_kind { COLUMN_KIND_INT, COLUMN_KIND_BYTES };
/* Of a fixed column. */
enum column_kind rowgroup_column_kind(uint32_t column);
/* Of a key's column, by the type of its values. Types without content have a constant stream. */
static inline enum column_kind rowgroup_type_kind(uint32_t type)
{
    return type == OTLP_STRING || type == OTLP_ARRAY || type == OTLP_KVLIST || type == OTLP_BYTES
               ? COLUMN_KIND_BYTES
               : COLUMN_KIND_INT;
}

/* ---- Streams: one byte of form, then what it says.
 *
 *   form, count, base, range (varints), then the parts, each as block + 1 (0: the pool), offset, length
 *
 * Integers are stored less `base`, their smallest; `range` is the largest less the smallest. */
enum {
    INTS_CONSTANT = 0, /* no part; range 0 */
    INTS_U8 = 1,       /* one part, a byte each */
    INTS_PLANES = 2,   /* two parts: all low bytes, all high bytes */
    INTS_CLASSES =
        3,          /* two parts: bit length of each (0..64); the bits below the top one, packed */
    INTS_FIXED = 4, /* one part, each in as few whole bytes as hold the range */
    INTS_MASK = 7,
    STREAM_DICTIONARY = 8, /* the integers number the values of the column's stream in section 0 */
    STREAM_PLAIN = 16,     /* the integers are lengths; two more parts: short values, big values */
    STREAM_MASK = 31
};
/* Zero bytes after the packed bits of INTS_CLASSES, so that they are read by whole words. */
#define INTS_CLASSES_PADDING 9

/* ---- Blocks: in the directory, for each: stored length, raw length (equal: not compressed; both
 * varints), then their hashes, u64 each. They lie behind the directory in this order. */

static inline uint64_t zigzag(uint64_t difference)
{
    return (difference << 1) ^ (0 - (difference >> 63));
}
static inline uint64_t unzigzag(uint64_t v)
{
    return (v >> 1) ^ (0 - (v & 1));
}
/* Signed integers keep their order as unsigned ones. */
static inline uint64_t int_to_ordered(int64_t v)
{
    return (uint64_t)v ^ (UINT64_C(1) << 63);
}
static inline int64_t int_from_ordered(uint64_t v)
{
    return (int64_t)(v ^ (UINT64_C(1) << 63));
}
static inline unsigned bit_length(uint64_t v)
{
    return v == 0 ? 0 : 64u - (unsigned)__builtin_clzll(v);
}

#endif
