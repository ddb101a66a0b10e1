/* SPDX-License-Identifier: Apache-2.0 */
/* dedup.h - what has been stored in the last minutes, so that a resend is told from something new.
 *
 * Role       two memories. The hashes of whole requests, for retries that are equal byte for
 *            byte; and a filter over (trace ID, span ID) pairs, for spans that come again in
 *            another batch: it answers "surely not stored lately" for nearly every span at the
 *            cost of one cache miss, and only the others are looked up in row groups.
 * Threads    one at a time each: requests belong to the writer, the span filter to the builder.
 * Rest       only what arrives is looked up, so in a quiet server both lie in files (base/rest_file.h) until something
 *            does. What cannot be read again is forgotten, as by a restart: then a copy is hidden when it is read.
 * Source     RELIABILITY 5: ten minutes, at most 8 MiB; fifteen minutes for spans. */
#ifndef SPINDLE_STORAGE_SQLITE_DEDUP_H
#define SPINDLE_STORAGE_SQLITE_DEDUP_H

#include "base/err.h"
#include "base/hash.h"
#include "base/rest_file.h"
#include "proto/otlp.h"

/* ---- Requests -------------------------------------------------------------------------------- */

#define REQUEST_MEMORY_NS    UINT64_C(600000000000) /* ten minutes by arrival time */
#define REQUEST_MEMORY_COUNT (1u << 17) /* 4 MiB: 24 bytes an entry, 8 to 16 of its index */

struct request_memory {
    struct request_seen *ring; /* REQUEST_MEMORY_COUNT entries, oldest at `first` */
    uint32_t *slots;           /* open addressing over the ring: position + 1, 0 for none */
    uint32_t slots_count;      /* a power of two; grows, so that few requests touch few pages */
    uint32_t first, count;
    struct rest_file file;
    struct rest_place place; /* of the ring; the index is made again */
    bool has_changed;        /* since it rested last */
};

/* The ring takes its 3 MiB at once; pages that were never used are not resident. */
NODISCARD enum err request_memory_init(struct request_memory *m);
void request_memory_deinit(struct request_memory *m);
/* Was an equal request stored within the last ten minutes before now? Zero hashes are never equal.
 */
bool request_memory_has(struct request_memory *m, struct hash128 hash, uint64_t now_unix_ns);
/* Forgets what is too old, and the oldest when full. In order of arrival, roughly. */
void request_memory_add(struct request_memory *m, struct hash128 hash, uint64_t arrival_unix_ns);

/* Undo the last `count` additions: their group was not stored. */
void request_memory_undo(struct request_memory *m, uint32_t count);

/* Nothing comes: rest in a file, until the next call of another function. */
void request_memory_rest(struct request_memory *m, const struct rest_policy *policy);

/* ---- Spans ----------------------------------------------------------------------------------- */

#define SPAN_LOOKBACK_NS UINT64_C(900000000000) /* fifteen minutes */
/* Bytes of each of the two generations: at 16 bits a span, 786,432 spans. Where more arrive in
 * fifteen minutes, the look-back is shorter, and what it misses is hidden when it is read. */
#define SPAN_FILTER_BYTES ((size_t)3 << 19)

struct span_generation {
    uint64_t *blocks; /* a Bloom filter in blocks of one cache line */
    uint32_t count;
    uint64_t since_unix_ns; /* when it began; 0: it holds nothing */
    struct rest_place place;
    bool has_changed; /* since it rested last */
};

struct span_filter {
    struct span_generation generations[2]; /* [0] takes new spans */
    uint64_t epoch;                        /* from 1; another when it has lost what it knew */
    struct rest_file file;
};

/* now_unix_ns: from when on it knows what is stored. */
NODISCARD enum err span_filter_init(struct span_filter *f, uint64_t now_unix_ns);
void span_filter_deinit(struct span_filter *f);
/* A span's hash, by which the filter knows it. */
uint64_t span_filter_hash(const struct trace_id *trace_id, const struct span_id *span_id);
/* Fetch what the answer lies in ahead of asking: of each span it lies elsewhere in 3 MiB. */
void span_filter_prefetch(const struct span_filter *f, uint64_t hash);
/* False: was not put within the generations that are kept. */
bool span_filter_may_contain(const struct span_filter *f, uint64_t hash);
/* Remember a span; returns what span_filter_may_contain() said before. */
bool span_filter_put(struct span_filter *f, uint64_t hash);
/* Between row groups: start a new generation when this one is full or old. */
void span_filter_turn(struct span_filter *f, uint64_t now_unix_ns);
/* Nothing comes: rest in a file; no other function but deinit before span_filter_wake(). */
void span_filter_rest(struct span_filter *f, const struct rest_policy *policy);
void span_filter_wake(struct span_filter *f); /* one that does not rest stays as it is */
/* How many were put within the generations that are kept. */
uint64_t span_filter_count(const struct span_filter *f);

#endif
