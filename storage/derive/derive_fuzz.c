/* SPDX-License-Identifier: Apache-2.0 */
/* Stored rollups and halves of a stranger's making, with a hash that fits: read, summed up, written again. The first
 * byte says which of both it is. */
#include "storage/derive/derive_key.h"
#include "storage/derive/half.h"
#include "storage/derive/tally.h"

#include "base/hash.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void tally_feed(struct bytes stored)
{
    struct arena arena;
    struct tally t, again;
    struct tally_span span;
    struct buffer out;
    arena_init(&arena, (size_t)64 << 20, NULL);
    buffer_init(&out, (size_t)64 << 20);
    tally_init(&t, &arena, TALLY_HOUR_NS);
    tally_init(&again, &arena, TALLY_HOUR_NS);
    if (tally_add_stored(&t, stored, NULL) == ERR_OK && tally_encode(&t, &out, &span) == ERR_OK) {
        enum err e = tally_add_stored(&again, buffer_bytes(&out), NULL);
        assert(e == ERR_OK || e == ERR_TOO_LARGE); /* of the arena */
        assert(e != ERR_OK || again.points_count == t.points_count);
    }
    struct bytes twice[] = { stored, stored };
    struct tally_merged merged;
    buffer_reset(&out);
    if (tally_merge(twice, 2, TALLY_DAY_NS, NULL, &out, &merged) == ERR_OK)
        assert(merged.bad == SIZE_MAX && merged.points >= merged.days);
    for (uint32_t i = 0; i < t.keys.count; i++) {
        struct red_key red;
        struct edge_key edge;
        struct unpaired_key gap;
        (void)red_key_read(tally_key(&t, i), &red);
        (void)edge_key_read(tally_key(&t, i), &edge);
        (void)unpaired_key_read(tally_key(&t, i), &gap);
    }
    tally_deinit(&t);
    tally_deinit(&again);
    buffer_deinit(&out);
    arena_deinit(&arena);
}

static void halves_feed(struct bytes stored)
{
    struct half_table t;
    if (half_table_init(&t, HALVES_MAX) != ERR_OK)
        return;
    for (unsigned i = 0; i < 3; i++)
        (void)!half_table_replay(&t, stored, 1000 + i * HALF_LIFETIME_NS / 2, i);
    half_table_deinit(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len < 1 || len > 65536)
        return 0;
    struct buffer stored;
    uint8_t hash[8];
    buffer_init(&stored, 1 << 20);
    buffer_append(&stored, data + 1, len - 1);
    store_le64(hash, hash_bytes(bytes_of(data + 1, len - 1)));
    buffer_append(&stored, hash, sizeof hash);
    if (stored.error == ERR_OK && data[0] % 2 == 0)
        tally_feed(buffer_bytes(&stored));
    else if (stored.error == ERR_OK)
        halves_feed(buffer_bytes(&stored));
    buffer_deinit(&stored);
    return 0;
}
