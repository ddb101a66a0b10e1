/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#define XXH_INLINE_ALL
#define XXH_STATIC_LINKING_ONLY
/* Words are read as members of packed structs: the wrapped memcpy() of the default stays a call for each of them. */
#define XXH_FORCE_MEMORY_ACCESS 1
#include <assert.h>
#include <xxhash.h>

static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash_stream) &&
                  _Alignof(XXH3_state_t) <= _Alignof(struct hash_stream),
              "the state has a place in the stream");

uint64_t hash_bytes(struct bytes bytes)
{
    return XXH3_64bits(bytes.data, bytes.len);
}

uint64_t hash_bytes_seeded(struct bytes bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

void hash_key_derive(const uint8_t seed[32], struct hash_key *out)
{
    XXH3_generateSecret(out->b, sizeof out->b, seed, 32);
}

struct hash128 hash_bytes_keyed(const struct hash_key *key, struct bytes bytes)
{
    XXH128_hash_t h = XXH3_128bits_withSecret(bytes.data, bytes.len, key->b, sizeof key->b);
    return (struct hash128){ .low = h.low64, .high = h.high64 };
}

void hash_stream_begin(struct hash_stream *s)
{
    (void)XXH3_128bits_reset((XXH3_state_t *)(void *)s->state);
}

void hash_stream_add(struct hash_stream *s, struct bytes bytes)
{
    (void)XXH3_128bits_update((XXH3_state_t *)(void *)s->state, bytes.data, bytes.len);
}

struct hash128 hash_stream_end(const struct hash_stream *s)
{
    XXH128_hash_t h = XXH3_128bits_digest((const XXH3_state_t *)(const void *)s->state);
    return (struct hash128){ .low = h.low64, .high = h.high64 };
}
