/* SPDX-License-Identifier: Apache-2.0 */
/* A Bloom filter in blocks of 32 bytes: eight words of 32 bits, one bit set in each, so that a
 * probe reads one half of a cache line. (The split-block filter of the Parquet format, with our
 * hash.)
 *
 *   offset 0  u8   kind, 1
 *   offset 1  3 B  0
 *   offset 4  blocks of 32 bytes, at least one, little-endian words
 *
 * 10.7 bits a key give about 1 % false hits; trace_filter_test.c measures it. */
#include "storage/rowgroup/rowgroup.h"

#include <assert.h>

enum { KIND_SPLIT_BLOCK = 1, HEAD_BYTES = 4, BLOCK_BYTES = 32, KEYS_PER_BLOCK = 24 };

/* Odd multipliers, one a word; any that differ in their upper bits do. */
static const uint32_t salts[8] = { 0x9E3779B9u, 0x7F4A7C15u, 0xF39CC061u, 0x5CEDC835u,
                                   0x0827F0A3u, 0x9A37B2C1u, 0xB5470917u, 0x8979FB1Bu };

static size_t block_of(uint64_t hash, size_t blocks)
{
    return (size_t)(((hash >> 32) * blocks) >> 32);
}

static uint32_t bit_of(uint64_t hash, unsigned word)
{
    return UINT32_C(1) << (((uint32_t)hash * salts[word]) >> 27);
}

uint64_t trace_filter_hash(const struct trace_id *id)
{
    return hash_bytes(bytes_of(id->b, sizeof id->b));
}

enum err trace_filter_build(const struct trace_id *distinct, size_t count, struct buffer *out)
{
    assert(count <= UINT32_MAX);
    size_t blocks = (count + KEYS_PER_BLOCK - 1) / KEYS_PER_BLOCK;
    blocks = blocks == 0 ? 1 : blocks;
    size_t len = HEAD_BYTES + blocks * BLOCK_BYTES;
    uint8_t *to = buffer_reserve(out, len);
    if (to == NULL)
        return buffer_error(out);
    memset(to, 0, len);
    to[0] = KIND_SPLIT_BLOCK;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = trace_filter_hash(&distinct[i]);
        uint8_t *block = to + HEAD_BYTES + block_of(hash, blocks) * BLOCK_BYTES;
        for (unsigned word = 0; word < 8; word++)
            store_le32(block + 4 * word, load_le32(block + 4 * word) | bit_of(hash, word));
    }
    buffer_grew(out, len);
    return ERR_OK;
}

/* What cannot be read cannot rule anything out. */
static bool is_readable(struct bytes filter)
{
    return filter.len >= HEAD_BYTES + BLOCK_BYTES && filter.data[0] == KIND_SPLIT_BLOCK;
}

static const uint8_t *block_at(struct bytes filter, uint64_t hash)
{
    size_t blocks = (filter.len - HEAD_BYTES) / BLOCK_BYTES;
    return filter.data + HEAD_BYTES + block_of(hash, blocks) * BLOCK_BYTES;
}

void trace_filter_prefetch(struct bytes filter, uint64_t hash)
{
    if (filter.len >= HEAD_BYTES + BLOCK_BYTES)
        __builtin_prefetch(block_at(filter, hash));
}

bool trace_filter_may_contain_hash(struct bytes filter, uint64_t hash)
{
    if (filter.len == 0)
        return false;
    if (!is_readable(filter))
        return true;
    const uint8_t *block = block_at(filter, hash);
    for (unsigned word = 0; word < 8; word++)
        if ((load_le32(block + 4 * word) & bit_of(hash, word)) == 0)
            return false;
    return true;
}

bool trace_filter_may_contain(struct bytes filter, const struct trace_id *id)
{
    return trace_filter_may_contain_hash(filter, trace_filter_hash(id));
}
