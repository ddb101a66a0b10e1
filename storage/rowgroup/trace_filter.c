/* SPDX-License-Identifier: Apache-2.0 */
/* A Bloom filter in blocks of 32 bytes: eight words of 32 bits, one bit set in each, so that a
 * probe reads one half of a cache line. (The split-block filter of the Parquet format, with our
 * hash.)
 *
 *   offset 0  u8   kind, 2 (1: likewise without a hash)
 *   offset 1  3 B  of kind 2: the low three bytes of the hash of all that follows
 *   offset 4  blocks of 32 bytes, at least one, little-endian words
 *
 * 21.3 bits a key give 0.03 % false hits, 10.7 bits 0.9 %; trace_filter_test.c measures it. Of 100 M spans there
 * are 3,050 filters, and each false hit of a trace that is nowhere is a row group to open: 0.9 of them, or 28
 * (trace_filter_bench.c). */
#include "storage/rowgroup/rowgroup.h"

#include <assert.h>

enum { KIND_UNCHECKED = 1, KIND_CHECKED = 2, HEAD_BYTES = 4, BLOCK_BYTES = 32 };
enum { KEYS_PER_BLOCK = 12, KEYS_PER_BLOCK_SMALL = 24 };

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

static uint32_t head_of(struct bytes filter)
{
    uint64_t hash = hash_bytes(bytes_slice(filter, HEAD_BYTES, filter.len - HEAD_BYTES));
    return (uint32_t)hash << 8 | KIND_CHECKED;
}

static enum err build(const struct trace_id *distinct, size_t count, size_t keys_per_block,
                      struct buffer *out)
{
    assert(count <= UINT32_MAX);
    size_t blocks = (count + keys_per_block - 1) / keys_per_block;
    blocks = blocks == 0 ? 1 : blocks;
    size_t len = HEAD_BYTES + blocks * BLOCK_BYTES;
    uint8_t *to = buffer_reserve(out, len);
    if (to == NULL)
        return buffer_error(out);
    memset(to, 0, len);
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = trace_filter_hash(&distinct[i]);
        uint8_t *block = to + HEAD_BYTES + block_of(hash, blocks) * BLOCK_BYTES;
        for (unsigned word = 0; word < 8; word++)
            store_le32(block + 4 * word, load_le32(block + 4 * word) | bit_of(hash, word));
    }
    store_le32(to, head_of(bytes_of(to, len)));
    buffer_grew(out, len);
    return ERR_OK;
}

enum err trace_filter_build(const struct trace_id *distinct, size_t count, struct buffer *out)
{
    return build(distinct, count, KEYS_PER_BLOCK, out);
}

enum err trace_filter_build_small(const struct trace_id *distinct, size_t count, struct buffer *out)
{
    return build(distinct, count, KEYS_PER_BLOCK_SMALL, out);
}

/* What cannot be read cannot rule anything out. */
static bool is_readable(struct bytes filter)
{
    return filter.len >= HEAD_BYTES + BLOCK_BYTES &&
           (filter.data[0] == KIND_CHECKED || filter.data[0] == KIND_UNCHECKED);
}

bool trace_filter_is_intact(struct bytes filter)
{
    if (filter.len == 0)
        return true;
    return is_readable(filter) && (filter.len - HEAD_BYTES) % BLOCK_BYTES == 0 &&
           (filter.data[0] == KIND_UNCHECKED || load_le32(filter.data) == head_of(filter));
}

static bool block_has(const uint8_t *block, uint64_t hash)
{
    for (unsigned word = 0; word < 8; word++)
        if ((load_le32(block + 4 * word) & bit_of(hash, word)) == 0)
            return false;
    return true;
}

bool trace_filter_may_contain_hash(struct bytes filter, uint64_t hash)
{
    if (filter.len == 0)
        return false;
    if (!is_readable(filter))
        return true;
    size_t blocks = (filter.len - HEAD_BYTES) / BLOCK_BYTES;
    return block_has(filter.data + HEAD_BYTES + block_of(hash, blocks) * BLOCK_BYTES, hash);
}

/* ---- Many filters */

struct trace_filter_place trace_filter_place_of(struct bytes filter)
{
    struct trace_filter_place p = { .is_open = filter.len > 0 };
    if (!is_readable(filter))
        return p;
    size_t blocks = (filter.len - HEAD_BYTES) / BLOCK_BYTES;
    assert(blocks <= UINT32_MAX);
    return (struct trace_filter_place){ .blocks = filter.data + HEAD_BYTES,
                                        .blocks_count = (uint32_t)blocks };
}

/* What is asked lies in lines that are in no cache: so many are waited for at once. */
enum { FILTERS_AHEAD = 16 };

static const uint8_t *block_at(const struct trace_filter_place *p, uint64_t hash)
{
    return p->blocks + block_of(hash, p->blocks_count) * BLOCK_BYTES;
}

size_t trace_filter_next(const struct trace_filter_place *places, size_t count, size_t from,
                         uint64_t hash)
{
    for (size_t i = from; i < count && i < from + FILTERS_AHEAD; i++)
        if (places[i].blocks != NULL)
            __builtin_prefetch(block_at(&places[i], hash));
    for (size_t i = from; i < count; i++) {
        if (i + FILTERS_AHEAD < count && places[i + FILTERS_AHEAD].blocks != NULL)
            __builtin_prefetch(block_at(&places[i + FILTERS_AHEAD], hash));
        if (places[i].blocks == NULL ? places[i].is_open
                                     : block_has(block_at(&places[i], hash), hash))
            return i;
    }
    return count;
}

bool trace_filter_may_contain(struct bytes filter, const struct trace_id *id)
{
    return trace_filter_may_contain_hash(filter, trace_filter_hash(id));
}
