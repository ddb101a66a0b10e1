/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#define XXH_INLINE_ALL
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

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
