/* SPDX-License-Identifier: Apache-2.0 */
/* derive_key.h - the keys of tallies: what a series, an edge or an unpaired half is counted under.
 *
 * Role       one run of bytes for each, so that a tally need not know what it counts. Its first byte tells the
 *            class; parts follow with their lengths, those by which keys are asked for first, so that
 *            neighbours in order share much.
 * Ownership  decoded parts borrow from the key.
 * Threads    pure. */
#ifndef SPINDLE_STORAGE_DERIVE_DERIVE_KEY_H
#define SPINDLE_STORAGE_DERIVE_DERIVE_KEY_H

#include "storage/derived.h"

/* KEY_LOST alone is a key: rows that could not be read are not in this tally; its calls say how many. */
enum key_class { KEY_RED = 'R', KEY_EDGE = 'E', KEY_UNPAIRED = 'U', KEY_LOST = 'L' };

struct red_key {
    struct bytes service, namespace, environment, name;
    uint32_t kind;   /* 0..5 */
    uint32_t status; /* 0..2 */
};
struct edge_key {
    struct derived_node client, server;
    enum connection_type type;
    struct bytes via;
};
struct unpaired_key {
    struct derived_node node;
    enum unpaired_reason reason;
};

/* Append a key. Errors: the buffer's. */
void red_key_put(struct buffer *out, const struct red_key *key);
void edge_key_put(struct buffer *out, const struct edge_key *key);
void unpaired_key_put(struct buffer *out, const struct unpaired_key *key);
/* A node alone, as it stands in keys. */
void node_key_put(struct buffer *out, const struct derived_node *node);

/* Take a key apart. False: of another class, or not whole. */
bool red_key_read(struct bytes key, struct red_key *out);
bool edge_key_read(struct bytes key, struct edge_key *out);
bool unpaired_key_read(struct bytes key, struct unpaired_key *out);
bool node_key_read(struct bytes key, struct derived_node *out);

#endif
