/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_sort.h - a stable radix sort of numbers by 64-bit keys.
 *
 * Private    to storage/rowgroup. */
#ifndef SPINDLE_STORAGE_ROWGROUP_SORT_H
#define SPINDLE_STORAGE_ROWGROUP_SORT_H

#include <stddef.h>
#include <stdint.h>

struct sort_entry {
    uint64_t key;
    uint32_t value;
};

/* Sort by key, entries with equal keys in the order they had. Returns the one of both arrays that
 * holds the result. Digits in which all keys agree cost one look. */
struct sort_entry *sort_by_key(struct sort_entry *entries, struct sort_entry *scratch,
                               size_t count);

#endif
