/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/dedup.h"

#include "base/mem.h"

#include <assert.h>

/* ---- Requests -------------------------------------------------------------------------------- */

struct request_seen {
    struct hash128 hash;
    uint64_t arrival_unix_ns;
};

#define SLOTS_LEAST 4096u
static_assert((REQUEST_MEMORY_COUNT & (REQUEST_MEMORY_COUNT - 1)) == 0, "positions wrap by a mask");

enum err request_memory_init(struct request_memory *m)
{
    *m = (struct request_memory){ 0 };
    m->ring = mem_alloc_array(REQUEST_MEMORY_COUNT, sizeof *m->ring);
    m->slots_count = SLOTS_LEAST;
    m->slots = mem_alloc_array(m->slots_count, sizeof *m->slots);
    if (m->ring == NULL || m->slots == NULL) {
        request_memory_deinit(m);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void request_memory_deinit(struct request_memory *m)
{
    mem_free(m->ring);
    mem_free(m->slots);
    *m = (struct request_memory){ 0 };
}

static uint32_t slot_home(const struct request_memory *m, struct hash128 hash)
{
    return (uint32_t)hash.low & (m->slots_count - 1);
}

/* The slot that holds the hash, or the free one where it would go: half of them are always free. */
static uint32_t slot_find(const struct request_memory *m, struct hash128 hash)
{
    uint32_t slot = slot_home(m, hash);
    while (m->slots[slot] != 0 && !hash128_equal(m->ring[m->slots[slot] - 1].hash, hash))
        slot = (slot + 1) & (m->slots_count - 1);
    return slot;
}

/* Take a ring position out of the index. Entries after its slot move back over the gap where their
 * probing passes it. */
static void slot_clear(struct request_memory *m, uint32_t position)
{
    uint32_t gap = slot_find(m, m->ring[position].hash);
    /* The same hash may stand in the ring twice: the index knows the younger one only. */
    if (m->slots[gap] != position + 1)
        return;
    uint32_t at = gap;
    for (;;) {
        at = (at + 1) & (m->slots_count - 1);
        if (m->slots[at] == 0)
            break;
        uint32_t home = slot_home(m, m->ring[m->slots[at] - 1].hash);
        if (((at - home) & (m->slots_count - 1)) >= ((at - gap) & (m->slots_count - 1))) {
            m->slots[gap] = m->slots[at];
            gap = at;
        }
    }
    m->slots[gap] = 0;
}

static void forget_oldest(struct request_memory *m)
{
    slot_clear(m, m->first);
    m->first = (m->first + 1) & (REQUEST_MEMORY_COUNT - 1);
    m->count--;
}

/* Room for one more in the index: twice the size, or, without memory for that, fewer requests. */
static void slots_reserve(struct request_memory *m)
{
    if (2 * (m->count + 1) <= m->slots_count)
        return;
    uint32_t *slots = mem_alloc_array(2 * (size_t)m->slots_count, sizeof *slots);
    if (slots == NULL) {
        forget_oldest(m);
        return;
    }
    mem_free(m->slots);
    m->slots = slots;
    m->slots_count *= 2;
    for (uint32_t i = 0; i < m->count; i++) { /* of equal ones the youngest stays */
        uint32_t position = (m->first + i) & (REQUEST_MEMORY_COUNT - 1);
        m->slots[slot_find(m, m->ring[position].hash)] = position + 1;
    }
}

void request_memory_undo(struct request_memory *m, uint32_t count)
{
    for (; count > 0 && m->count > 0; count--) {
        m->count--;
        slot_clear(m, (m->first + m->count) & (REQUEST_MEMORY_COUNT - 1));
    }
}

static bool is_too_old(uint64_t arrival_unix_ns, uint64_t now_unix_ns)
{
    return arrival_unix_ns < now_unix_ns && now_unix_ns - arrival_unix_ns > REQUEST_MEMORY_NS;
}

bool request_memory_has(struct request_memory *m, struct hash128 hash, uint64_t now_unix_ns)
{
    if (hash.low == 0 && hash.high == 0)
        return false;
    uint32_t slot = slot_find(m, hash);
    return m->slots[slot] != 0 &&
           !is_too_old(m->ring[m->slots[slot] - 1].arrival_unix_ns, now_unix_ns);
}

void request_memory_add(struct request_memory *m, struct hash128 hash, uint64_t arrival_unix_ns)
{
    if (hash.low == 0 && hash.high == 0)
        return;
    while (m->count > 0 && (m->count == REQUEST_MEMORY_COUNT ||
                            is_too_old(m->ring[m->first].arrival_unix_ns, arrival_unix_ns)))
        forget_oldest(m);
    slots_reserve(m);
    uint32_t position = (m->first + m->count) & (REQUEST_MEMORY_COUNT - 1);
    uint32_t slot = slot_find(m, hash);
    m->ring[position] = (struct request_seen){ .hash = hash, .arrival_unix_ns = arrival_unix_ns };
    m->slots[slot] = position + 1;
    m->count++;
}

/* ---- Spans ----------------------------------------------------------------------------------- */

#define BLOCK_WORDS   8u /* one cache line */
#define FILTER_BLOCKS ((uint32_t)(SPAN_FILTER_BYTES / (BLOCK_WORDS * sizeof(uint64_t))))
#define FILTER_SPANS  ((uint32_t)(SPAN_FILTER_BYTES * 8 / 16))

enum err span_filter_init(struct span_filter *f, uint64_t now_unix_ns)
{
    *f = (struct span_filter){ 0 };
    for (int i = 0; i < 2; i++) {
        f->blocks[i] = mem_alloc_array(FILTER_BLOCKS * BLOCK_WORDS, sizeof(uint64_t));
        if (f->blocks[i] == NULL) {
            span_filter_deinit(f);
            return ERR_NOMEM;
        }
    }
    f->since_unix_ns[0] = now_unix_ns;
    return ERR_OK;
}

void span_filter_deinit(struct span_filter *f)
{
    mem_free(f->blocks[0]);
    mem_free(f->blocks[1]);
    *f = (struct span_filter){ 0 };
}

/* Seven bits in one block, all drawn from one hash of both IDs: IDs may be anything, so they are
 * mixed. */
uint64_t span_filter_hash(const struct trace_id *trace_id, const struct span_id *span_id)
{
    uint8_t pair[24];
    memcpy(pair, trace_id->b, 16);
    memcpy(pair + 16, span_id->b, 8);
    return hash_bytes(bytes_of(pair, sizeof pair));
}

static uint32_t block_of(uint64_t hash)
{
    return (uint32_t)(((hash >> 32) * FILTER_BLOCKS) >> 32);
}

void span_filter_prefetch(const struct span_filter *f, uint64_t hash)
{
    size_t at = (size_t)block_of(hash) * BLOCK_WORDS;
    __builtin_prefetch(f->blocks[0] + at, 1);
    __builtin_prefetch(f->blocks[1] + at);
}

/* All seven are looked at: which of them is the first that is missing cannot be foretold. */
static bool block_has(const uint64_t *block, uint64_t bits)
{
    uint64_t all = 1;
    for (int k = 0; k < 7; k++, bits >>= 9)
        all &= block[bits & 7] >> ((bits >> 3) & 63);
    return all != 0;
}

bool span_filter_may_contain(const struct span_filter *f, uint64_t hash)
{
    size_t at = (size_t)block_of(hash) * BLOCK_WORDS;
    uint64_t bits = hash * UINT64_C(0x9e3779b97f4a7c15);
    return (f->counts[0] != 0 && block_has(f->blocks[0] + at, bits)) ||
           (f->counts[1] != 0 && block_has(f->blocks[1] + at, bits));
}

bool span_filter_put(struct span_filter *f, uint64_t hash)
{
    bool may = span_filter_may_contain(f, hash);
    uint64_t *block = f->blocks[0] + (size_t)block_of(hash) * BLOCK_WORDS;
    uint64_t bits = hash * UINT64_C(0x9e3779b97f4a7c15);
    for (int k = 0; k < 7; k++, bits >>= 9)
        block[bits & 7] |= UINT64_C(1) << ((bits >> 3) & 63);
    f->counts[0]++;
    return may;
}

void span_filter_turn(struct span_filter *f, uint64_t now_unix_ns)
{
    bool is_old = now_unix_ns > f->since_unix_ns[0] + SPAN_LOOKBACK_NS;
    if (f->counts[0] < FILTER_SPANS && !(is_old && f->counts[0] > 0))
        return;
    uint64_t *reused = f->blocks[1];
    memset(reused, 0, SPAN_FILTER_BYTES);
    f->blocks[1] = f->blocks[0];
    f->counts[1] = f->counts[0];
    f->since_unix_ns[1] = f->since_unix_ns[0];
    f->blocks[0] = reused;
    f->counts[0] = 0;
    f->since_unix_ns[0] = now_unix_ns;
}

uint64_t span_filter_count(const struct span_filter *f)
{
    return (uint64_t)f->counts[0] + f->counts[1];
}
