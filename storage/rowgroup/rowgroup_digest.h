/* SPDX-License-Identifier: Apache-2.0 */
/* rowgroup_digest.h - the facts that a digest of values is a filter of; see rowgroup_digest.c.
 *
 * Private    to storage/rowgroup: rowgroup_digest.c makes digests, rowgroup_question.c asks them. */
#ifndef SPINDLE_STORAGE_ROWGROUP_DIGEST_H
#define SPINDLE_STORAGE_ROWGROUP_DIGEST_H

#include "storage/rowgroup/rowgroup.h"
#include "storage/rowgroup/rowgroup_format.h"

enum { DIGEST_STATUS = 0, DIGEST_SIGNAL = 4, DIGEST_DURATION = 8, DIGEST_HEAD = 16 };

/* Where a key is. */
enum digest_place {
    PLACE_ITEM = TABLE_ITEM,
    PLACE_EVENT = TABLE_EVENT,
    PLACE_LINK = TABLE_LINK,
    PLACE_RESOURCE = TABLE_COUNT + 1,
    PLACE_SCOPE,
    PLACE_COLUMN /* a fixed column: its number is the key */
};

/* What is known of a key at a place. */
enum digest_fact {
    FACT_KEY,   /* some row has it */
    FACT_VALUE, /* with this string */
    FACT_OPEN,  /* with strings, or arrays, that are not listed */
    FACT_OTHER  /* with values that are neither */
};

/* In the form of what the filter is made for. */
static inline struct trace_id digest_fact_hash(enum digest_fact fact, enum digest_place place,
                                               struct bytes key, struct bytes value)
{
    struct trace_id id;
    uint64_t seed = hash_bytes_seeded(key, (uint64_t)fact << 8 | (uint64_t)place);
    store_le64(id.b, seed);
    store_le64(id.b + 8, hash_bytes_seeded(value, seed));
    return id;
}

static inline struct bytes digest_column_key(const uint8_t *column)
{
    return bytes_of(column, 1);
}

#endif
