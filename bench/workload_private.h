/* SPDX-License-Identifier: Apache-2.0 */
/* workload_private.h - what the workloads' sources share: the source interface and span encoding.
 */
#ifndef SPINDLE_BENCH_WORKLOAD_PRIVATE_H
#define SPINDLE_BENCH_WORKLOAD_PRIVATE_H

#include "base/arena.h"
#include "bench/workload.h"
#include "proto/otlp.h"

/* OTLP's numbers, as far as the workloads use them. */
enum { KIND_INTERNAL = 1, KIND_SERVER = 2, KIND_CLIENT = 3 };
enum { STATUS_UNSET = 0, STATUS_ERROR = 2 };

/* What the batch and the truth want to know of a span whose bytes were just written. */
struct span_facts {
    uint32_t group; /* index of its resource */
    struct bytes name;
    struct bytes callee; /* of a CLIENT span whose SERVER span was given before; else empty */
    bool callee_has_error;
    uint32_t kind;
    bool is_error;
    bool is_resend;
    uint64_t start_unix_ns, end_unix_ns;
    struct trace_id trace_id;
};

/* A stream of spans in order of their end. `next` appends one Span message's content, without its
 * tag. */
struct span_source {
    enum err (*next)(struct span_source *s, struct buffer *out, struct span_facts *facts);
    void (*close)(struct span_source *s);
    struct bytes *resources; /* [resource_count], whole Resource messages */
    uint32_t resource_count;
    struct bytes scope; /* the one InstrumentationScope message */
};

enum err shop_open(const struct workload_options *o, struct span_source **out);
enum err tracegen_open(const struct workload_options *o, struct span_source **out);

/* ---- Encoding. Lengths are known before bytes are written, so nothing moves.
 * --------------------- */

static inline size_t varint_size(uint64_t v)
{
    return (size_t)(70 - __builtin_clzll(v | 1)) / 7;
}

static inline uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

static inline uint8_t *put_bytes(uint8_t *p, uint8_t tag, const void *data, size_t len)
{
    *p++ = tag;
    p = put_varint(p, len);
    memcpy(p, data, len);
    return p + len;
}

static inline uint8_t *put_fixed64(uint8_t *p, uint8_t tag, uint64_t v)
{
    *p++ = tag;
    store_le64(p, v);
    return p + 8;
}

/* Tags of the repeated KeyValue field in each message that has one. */
enum { ATTRIBUTE_OF_RESOURCE = 0x0a, ATTRIBUTE_OF_EVENT = 0x1a, ATTRIBUTE_OF_SPAN = 0x4a };

void attribute_text(struct buffer *b, uint8_t tag, const char *key, struct bytes value);
void attribute_int(struct buffer *b, uint8_t tag, const char *key, int64_t value);
void attribute_double(struct buffer *b, uint8_t tag, const char *key, double value);
void attribute_bool(struct buffer *b, uint8_t tag, const char *key, bool value);

/* The fields of a span before its attributes. parent 0: a root. */
void span_head(struct buffer *b, const struct trace_id *trace_id, uint64_t span_id,
               uint64_t parent_id, struct bytes name, uint32_t kind, uint64_t start_unix_ns,
               uint64_t end_unix_ns);
/* Status, when code is not 0, and flags. */
void span_tail(struct buffer *b, uint32_t status_code, uint32_t flags);

/* A Resource message in the arena; when it cannot be made, arena_failure() says so. */
struct bytes resource_make(struct arena *a, const char *const (*pairs)[2], size_t count);

#endif
