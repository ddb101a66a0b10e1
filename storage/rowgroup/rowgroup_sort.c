/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/rowgroup/rowgroup_sort.h"

#include <string.h>

/* A pass over a digit goes through all buckets: for the spans of one trace that is more than sorting them. */
enum { DIGIT_BITS = 11, DIGITS = 6, BUCKETS = 1 << DIGIT_BITS, INSERTION_MAX = 128 };

static struct sort_entry *insertion_sort(struct sort_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct sort_entry e = entries[i];
        size_t at = i;
        for (; at > 0 && entries[at - 1].key > e.key; at--)
            entries[at] = entries[at - 1];
        entries[at] = e;
    }
    return entries;
}

struct sort_entry *sort_by_key(struct sort_entry *entries, struct sort_entry *scratch, size_t count)
{
    if (count <= INSERTION_MAX)
        return insertion_sort(entries, count);
    uint64_t any = 0, all = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        any |= entries[i].key;
        all &= entries[i].key;
    }
    uint64_t differing = any ^ all;
    struct sort_entry *from = entries, *to = scratch;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        unsigned shift = digit * DIGIT_BITS;
        if (((differing >> shift) & (BUCKETS - 1)) == 0)
            continue;
        uint32_t place[BUCKETS];
        memset(place, 0, sizeof place);
        for (size_t i = 0; i < count; i++)
            place[(from[i].key >> shift) & (BUCKETS - 1)]++;
        uint32_t sum = 0;
        for (size_t i = 0; i < BUCKETS; i++) {
            uint32_t n = place[i];
            place[i] = sum;
            sum += n;
        }
        for (size_t i = 0; i < count; i++)
            to[place[(from[i].key >> shift) & (BUCKETS - 1)]++] = from[i];
        struct sort_entry *swap = from;
        from = to;
        to = swap;
    }
    return from;
}
