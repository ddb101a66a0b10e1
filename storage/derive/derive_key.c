/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/derive_key.h"

#include "storage/derive/varint.h"

static void node_put(struct buffer *out, const struct derived_node *n)
{
    buffer_append_byte(out, (uint8_t)n->kind);
    varint_put_bytes(out, n->name);
    varint_put_bytes(out, n->namespace);
    varint_put_bytes(out, n->environment);
    varint_put_bytes(out, n->system);
}

static bool byte_take(struct bytes *from, uint32_t below, uint32_t *out)
{
    if (from->len == 0 || from->data[0] >= below)
        return false;
    *out = from->data[0];
    *from = bytes_slice(*from, 1, SIZE_MAX);
    return true;
}

static bool node_take(struct bytes *from, struct derived_node *out)
{
    uint32_t kind;
    if (!byte_take(from, NODE_OTHER + 1, &kind))
        return false;
    out->kind = (enum derived_node_kind)kind;
    return varint_take_bytes(from, &out->name) && varint_take_bytes(from, &out->namespace) &&
           varint_take_bytes(from, &out->environment) && varint_take_bytes(from, &out->system);
}

static bool class_take(struct bytes *from, enum key_class class)
{
    if (from->len == 0 || from->data[0] != (uint8_t) class)
        return false;
    *from = bytes_slice(*from, 1, SIZE_MAX);
    return true;
}

void node_key_put(struct buffer *out, const struct derived_node *node)
{
    node_put(out, node);
}

bool node_key_read(struct bytes key, struct derived_node *out)
{
    return node_take(&key, out) && key.len == 0;
}

void red_key_put(struct buffer *out, const struct red_key *k)
{
    buffer_append_byte(out, KEY_RED);
    varint_put_bytes(out, k->service);
    varint_put_bytes(out, k->namespace);
    varint_put_bytes(out, k->environment);
    buffer_append_byte(out, (uint8_t)k->kind);
    varint_put_bytes(out, k->name);
    buffer_append_byte(out, (uint8_t)k->status);
}

bool red_key_read(struct bytes key, struct red_key *out)
{
    return class_take(&key, KEY_RED) && varint_take_bytes(&key, &out->service) &&
           varint_take_bytes(&key, &out->namespace) && varint_take_bytes(&key, &out->environment) &&
           byte_take(&key, 6, &out->kind) && varint_take_bytes(&key, &out->name) &&
           byte_take(&key, 3, &out->status) && key.len == 0;
}

void edge_key_put(struct buffer *out, const struct edge_key *k)
{
    buffer_append_byte(out, KEY_EDGE);
    node_put(out, &k->client);
    node_put(out, &k->server);
    buffer_append_byte(out, (uint8_t)k->type);
    varint_put_bytes(out, k->via);
}

bool edge_key_read(struct bytes key, struct edge_key *out)
{
    uint32_t type;
    if (!class_take(&key, KEY_EDGE) || !node_take(&key, &out->client) ||
        !node_take(&key, &out->server) || !byte_take(&key, CONNECTION_VIRTUAL + 1, &type))
        return false;
    out->type = (enum connection_type)type;
    return varint_take_bytes(&key, &out->via) && key.len == 0;
}

void unpaired_key_put(struct buffer *out, const struct unpaired_key *k)
{
    buffer_append_byte(out, KEY_UNPAIRED);
    node_put(out, &k->node);
    buffer_append_byte(out, (uint8_t)k->reason);
}

bool unpaired_key_read(struct bytes key, struct unpaired_key *out)
{
    uint32_t reason;
    if (!class_take(&key, KEY_UNPAIRED) || !node_take(&key, &out->node) ||
        !byte_take(&key, UNPAIRED_REASON_COUNT, &reason))
        return false;
    out->reason = (enum unpaired_reason)reason;
    return key.len == 0;
}
