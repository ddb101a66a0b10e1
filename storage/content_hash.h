/* SPDX-License-Identifier: Apache-2.0 */
/* content_hash.h - by what equal spans and log records are told from different ones that share IDs.
 *
 * Role       a keyed 128-bit hash of what an item says, not of how it is encoded: the same item hashes
 *            alike as received, rewritten and rebuilt from columns. It covers the item, its scope, its
 *            resource and both schema URLs. Attributes count as a set, since OTLP calls them a map;
 *            events, links and nested values count in their order. Not covered: unknown fields, and the
 *            difference between an absent message and an empty one.
 * Threads    pure, allocation-free, no recursion.
 * Cost       grows with the item: hash a group once for all of its items. */
#ifndef SPINDLE_STORAGE_CONTENT_HASH_H
#define SPINDLE_STORAGE_CONTENT_HASH_H

#include "base/hash.h"
#include "proto/otlp.h"

/* The part that items of one scope group share: resource, scope and their schema URLs. */
struct hash128 content_hash_group(const struct hash_key *key, struct bytes resource,
                                  struct bytes resource_schema_url, struct bytes scope,
                                  struct bytes scope_schema_url);
/* One span or log record under that group. */
struct hash128 content_hash_item(const struct hash_key *key, enum signal signal,
                                 struct hash128 group, struct bytes item);
/* Both, for the item an iterator stands on. */
struct hash128 content_hash(const struct hash_key *key, enum signal signal,
                            const struct otlp_items *at);

#endif
