/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/sqlite/dedup.h"

#include "base/log.h"
#include "base/mem.h"

#include <assert.h>

/* Zeroed pages, of which those that are never used are not resident. */
static void *pages_make(size_t size)
{
    void *pages = mem_map(size);
    if (pages != NULL)
        mem_map_rest(pages, size);
    return pages;
}

/* ---- Requests -------------------------------------------------------------------------------- */

struct request_seen {
    struct hash128 hash;
    uint64_t arrival_unix_ns;
};

#define SLOTS_LEAST 4096u
#define RING_BYTES  (REQUEST_MEMORY_COUNT * sizeof(struct request_seen))
static_assert((REQUEST_MEMORY_COUNT & (REQUEST_MEMORY_COUNT - 1)) == 0, "positions wrap by a mask");

static size_t slots_bytes(const struct request_memory *m)
{
    return m->slots_count * sizeof *m->slots;
}

enum err request_memory_init(struct request_memory *m)
{
    *m = (struct request_memory){ 0 };
    m->ring = pages_make(RING_BYTES);
    m->slots_count = SLOTS_LEAST;
    m->slots = pages_make(slots_bytes(m));
    if (m->ring == NULL || m->slots == NULL) {
        request_memory_deinit(m);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void request_memory_deinit(struct request_memory *m)
{
    mem_unmap(m->ring, RING_BYTES);
    mem_unmap(m->slots, slots_bytes(m));
    rest_file_deinit(&m->file);
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

/* The ring's entries into an empty index: of equal ones the youngest stays. */
static void slots_fill(struct request_memory *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t position = (m->first + i) & (REQUEST_MEMORY_COUNT - 1);
        m->slots[slot_find(m, m->ring[position].hash)] = position + 1;
    }
}

/* Room for one more in the index: twice the size, or, without memory for that, fewer requests. */
static void slots_reserve(struct request_memory *m)
{
    if (2 * (m->count + 1) <= m->slots_count)
        return;
    uint32_t *slots = pages_make(2 * slots_bytes(m));
    if (slots == NULL) {
        forget_oldest(m);
        return;
    }
    mem_unmap(m->slots, slots_bytes(m));
    m->slots = slots;
    m->slots_count *= 2;
    slots_fill(m);
}

void request_memory_rest(struct request_memory *m, const struct rest_policy *policy)
{
    size_t used = m->first + m->count <= REQUEST_MEMORY_COUNT
                      ? (m->first + m->count) * sizeof *m->ring
                      : RING_BYTES;
    if (m->count == 0 || m->place.is_resting ||
        rest_file_put(&m->file, &m->place, policy, m->ring, RING_BYTES, used, m->has_changed) !=
            ERR_OK)
        return;
    m->has_changed = false;
    mem_map_rest(m->slots, slots_bytes(m));
}

static void request_memory_wake(struct request_memory *m)
{
    if (!m->place.is_resting)
        return;
    enum err e = rest_file_take(&m->file, &m->place, m->ring);
    if (e != ERR_OK) {
        log_line(LOG_WARN, "storage", "the hashes of the last requests are lost: %s", err_text(e));
        m->first = m->count = 0;
    }
    slots_fill(m);
}

void request_memory_undo(struct request_memory *m, uint32_t count)
{
    request_memory_wake(m);
    m->has_changed = true;
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
    request_memory_wake(m);
    uint32_t slot = slot_find(m, hash);
    return m->slots[slot] != 0 &&
           !is_too_old(m->ring[m->slots[slot] - 1].arrival_unix_ns, now_unix_ns);
}

void request_memory_add(struct request_memory *m, struct hash128 hash, uint64_t arrival_unix_ns)
{
    if (hash.low == 0 && hash.high == 0)
        return;
    request_memory_wake(m);
    m->has_changed = true;
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
    *f = (struct span_filter){ .epoch = 1 };
    for (int i = 0; i < 2; i++) {
        f->generations[i].blocks = pages_make(SPAN_FILTER_BYTES);
        if (f->generations[i].blocks == NULL) {
            span_filter_deinit(f);
            return ERR_NOMEM;
        }
    }
    f->generations[0].since_unix_ns = now_unix_ns;
    return ERR_OK;
}

void span_filter_deinit(struct span_filter *f)
{
    rest_file_deinit(&f->file);
    for (int i = 0; i < 2; i++)
        mem_unmap(f->generations[i].blocks, SPAN_FILTER_BYTES);
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
    __builtin_prefetch(f->generations[0].blocks + at, 1);
    __builtin_prefetch(f->generations[1].blocks + at);
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
    const struct span_generation *g = f->generations;
    return (g[0].count != 0 && block_has(g[0].blocks + at, bits)) ||
           (g[1].count != 0 && block_has(g[1].blocks + at, bits));
}

bool span_filter_put(struct span_filter *f, uint64_t hash)
{
    bool may = span_filter_may_contain(f, hash);
    uint64_t *block = f->generations[0].blocks + (size_t)block_of(hash) * BLOCK_WORDS;
    uint64_t bits = hash * UINT64_C(0x9e3779b97f4a7c15);
    for (int k = 0; k < 7; k++, bits >>= 9)
        block[bits & 7] |= UINT64_C(1) << ((bits >> 3) & 63);
    f->generations[0].count++;
    return may;
}

void span_filter_turn(struct span_filter *f, uint64_t now_unix_ns)
{
    struct span_generation *newer = &f->generations[0], *older = &f->generations[1];
    bool is_old = now_unix_ns > newer->since_unix_ns + SPAN_LOOKBACK_NS;
    if (newer->count < FILTER_SPANS && !(is_old && newer->count > 0))
        return;
    struct span_generation reused = *older;
    mem_map_rest(reused.blocks, SPAN_FILTER_BYTES); /* zeros again */
    reused.count = 0;
    reused.since_unix_ns = now_unix_ns;
    reused.has_changed = true;
    *older = *newer;
    *newer = reused;
}

void span_filter_rest(struct span_filter *f, const struct rest_policy *policy)
{
    for (int i = 0; i < 2; i++) {
        struct span_generation *g = &f->generations[i];
        if (g->count == 0 || g->place.is_resting)
            continue;
        if (rest_file_put(&f->file, &g->place, policy, g->blocks, SPAN_FILTER_BYTES,
                          SPAN_FILTER_BYTES, g->has_changed) == ERR_OK)
            g->has_changed = false;
    }
}

void span_filter_wake(struct span_filter *f)
{
    for (int i = 0; i < 2; i++) {
        struct span_generation *g = &f->generations[i];
        enum err e = rest_file_take(&f->file, &g->place, g->blocks);
        if (e != ERR_OK) {
            log_line(LOG_WARN, "storage", "what spans came lately is forgotten: %s", err_text(e));
            g->count = 0;
            f->epoch++;
        }
        g->has_changed = g->has_changed || i == 0;
    }
}

uint64_t span_filter_count(const struct span_filter *f)
{
    return (uint64_t)f->generations[0].count + f->generations[1].count;
}
