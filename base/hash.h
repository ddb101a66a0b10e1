/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - XXH3 behind our own names.
 *
 * Role       checksums of stored bytes, hash tables, and keyed 128-bit content hashes (key: a secret of
 *            the installation, so that nobody can craft equal ones).
 * Threads    pure. */
#ifndef SPINDLE_BASE_HASH_H
#define SPINDLE_BASE_HASH_H

#include "base/bytes.h"

struct hash128 {
    uint64_t low, high;
};

struct hash_key {
    uint8_t b[192]; /* an XXH3 secret; see hash_key_derive() */
};

/* XXH3, 64 bits. */
uint64_t hash_bytes(struct bytes bytes);
uint64_t hash_bytes_seeded(struct bytes bytes, uint64_t seed);
/* Stretch 32 secret bytes to a key. */
void hash_key_derive(const uint8_t seed[32], struct hash_key *out);
struct hash128 hash_bytes_keyed(const struct hash_key *key, struct bytes bytes);

/* XXH3, 128 bits without a key, of bytes that come in parts. What is in it is hash.c's. */
struct hash_stream {
    _Alignas(64) uint8_t state[640];
};
void hash_stream_begin(struct hash_stream *s);
void hash_stream_add(struct hash_stream *s, struct bytes bytes);
/* Of all that was added so far. */
struct hash128 hash_stream_end(const struct hash_stream *s);

static inline bool hash128_equal(struct hash128 a, struct hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

#endif
