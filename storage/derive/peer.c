/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/peer.h"

#include "storage/rowgroup/rowgroup_wire.h"

#define NAME_MAX_BYTES 256u

/* Keys and what they are; of two for one part, the one of the lower rank counts. Ordered by length. */
struct peer_key {
    const char *text;
    uint8_t len, part, rank;
};
#define KEY(text, part, rank)                                                                      \
    {                                                                                              \
        text, sizeof(text) - 1, part, rank                                                         \
    }
static const struct peer_key keys[] = {
    KEY("db.name", PART_DATABASE, 1),
    KEY("url.full", PART_URL, 0),
    KEY("http.url", PART_URL, 1),
    KEY("http.host", PART_ADDRESS, 2),
    KEY("db.system", PART_DATABASE_SYSTEM, 1),
    KEY("server.port", PART_PORT, 0),
    KEY("peer.service", PART_SERVICE, 1),
    KEY("peer.address", PART_ADDRESS, 6),
    KEY("db.namespace", PART_DATABASE, 0),
    KEY("net.peer.name", PART_ADDRESS, 3),
    KEY("net.peer.port", PART_PORT, 2),
    KEY("peer.hostname", PART_ADDRESS, 5),
    KEY("gen_ai.system", PART_MODEL_PROVIDER, 1),
    KEY("server.address", PART_ADDRESS, 0),
    KEY("db.system.name", PART_DATABASE_SYSTEM, 0),
    KEY("messaging.system", PART_QUEUE_SYSTEM, 0),
    KEY("service.peer.name", PART_SERVICE, 0),
    KEY("network.peer.port", PART_PORT, 1),
    KEY("net.sock.peer.addr", PART_ADDRESS, 4),
    KEY("messaging.operation", PART_QUEUE_OPERATION, 1),
    KEY("gen_ai.provider.name", PART_MODEL_PROVIDER, 0),
    KEY("network.peer.address", PART_ADDRESS, 1),
    KEY("messaging.destination", PART_QUEUE, 2),
    KEY("service.peer.namespace", PART_SERVICE_NAMESPACE, 0),
    KEY("messaging.operation.type", PART_QUEUE_OPERATION, 0),
    KEY("messaging.destination.name", PART_QUEUE, 1),
    KEY("messaging.destination.template", PART_QUEUE, 0),
};
#undef KEY
#define KEYS_COUNT  (sizeof keys / sizeof *keys)
#define KEY_LEN_MAX 30u

/* Where the keys of a length begin in the list. */
static const uint8_t key_begins[KEY_LEN_MAX + 2] = { 0,  0,  0,  0,  0,  0,  0,  0,  1,  3,  5,
                                                     5,  6,  9,  13, 15, 15, 16, 18, 19, 20, 22,
                                                     23, 24, 24, 25, 25, 26, 26, 26, 26, 27 };

/* Of the many keys that name no peer nearly all differ in length, first or last letter. */
static inline const struct peer_key *key_find(const uint8_t *key, size_t len)
{
    if (len > KEY_LEN_MAX)
        return NULL;
    for (size_t i = key_begins[len]; i < key_begins[len + 1]; i++) {
        const struct peer_key *k = &keys[i];
        if (key[0] == (uint8_t)k->text[0] && key[len - 1] == (uint8_t)k->text[len - 1] &&
            memcmp(k->text, key, len) == 0)
            return k;
    }
    return NULL;
}

static inline void attribute_read(const uint8_t *a, size_t len, uint8_t *ranks,
                                  struct peer_parts *out)
{
    /* Nearly all: the key first, shorter than 128 bytes. */
    if (len < 3 || a[0] != WIRE_TAG(1, WIRE_LENGTH) || a[1] >= 0x80 || a[1] > len - 2 || a[1] == 0)
        return;
    const struct peer_key *key = key_find(a + 2, a[1]);
    if (key == NULL || key->rank >= ranks[key->part])
        return;
    /* And then the value, likewise, and nothing else. */
    size_t at = 2u + a[1];
    struct bytes value = { 0 };
    if (at + 2 < len && a[at] == WIRE_TAG(2, WIRE_LENGTH) && a[at + 1] < 0x80 &&
        at + 2 + a[at + 1] == len) {
        value = bytes_of(a + at + 2, len - at - 2);
    } else {
        struct otlp_key_value kv;
        otlp_key_value_read(bytes_of(a, len), &kv);
        if (kv.has_value)
            value = kv.value;
    }
    if (value.len == 0)
        return;
    ranks[key->part] = key->rank;
    out->present |= 1u << key->part;
    out->values[key->part] = value;
}

bool derive_wants(struct bytes key)
{
    return key.len > 0 && key_find(key.data, key.len) != NULL;
}

void derive_gather(struct derive_span *span, struct bytes *attributes)
{
    struct otlp_repeated all = otlp_repeated(span->message, OTLP_SPAN_ATTRIBUTES);
    struct bytes message;
    uint32_t count = 0;
    while (otlp_repeated_next(&all, &message)) {
        struct otlp_key_value kv;
        otlp_key_value_read(message, &kv);
        if (derive_wants(kv.key) && count++ < DERIVE_ATTRIBUTES_MAX)
            attributes[count - 1] = message;
    }
    span->attributes = count <= DERIVE_ATTRIBUTES_MAX ? attributes : NULL;
    span->attributes_count = count;
}

void peer_read(const struct derive_span *span, struct peer_parts *out)
{
    struct bytes message = span->message;
    uint8_t ranks[PART_COUNT];
    memset(ranks, 0xFF, sizeof ranks);
    out->present = 0;
    for (uint32_t i = 0; span->attributes != NULL && i < span->attributes_count; i++)
        attribute_read(span->attributes[i].data, span->attributes[i].len, ranks, out);
    if (span->attributes != NULL)
        return;
    if (message.len == 0)
        return; /* and without an address, to which nothing may be added */
    const uint8_t *at = message.data, *end = at + message.len;
    uint32_t tag;
    uint64_t v;
    struct bytes attribute = { 0 };
    while (wire_next(&at, end, &tag, &v, &attribute))
        if (tag == WIRE_TAG(OTLP_SPAN_ATTRIBUTES, WIRE_LENGTH))
            attribute_read(attribute.data, attribute.len, ranks, out);
}

static bool has(const struct peer_parts *p, enum peer_part part)
{
    return (p->present & 1u << part) != 0;
}

static struct bytes text_of(const struct peer_parts *p, enum peer_part part)
{
    struct otlp_value value = { 0 };
    if (has(p, part))
        otlp_value_read(p->values[part], &value);
    return value.type == OTLP_STRING ? bytes_slice(value.bytes, 0, NAME_MAX_BYTES)
                                     : (struct bytes){ 0 };
}

bool peer_ignores(const struct peer_parts *p, struct bytes attribute)
{
    if (attribute.len < 2 || attribute.data[0] != WIRE_TAG(1, WIRE_LENGTH) ||
        attribute.data[1] > attribute.len - 2)
        return false;
    const struct peer_key *key = key_find(attribute.data + 2, attribute.data[1]);
    return key != NULL && key->part == PART_URL && text_of(p, PART_ADDRESS).len > 0;
}

enum peer_role peer_role(uint32_t kind, const struct peer_parts *p)
{
    switch (kind) {
    case 2:
        return PEER_SERVE;
    case 4:
        return PEER_SEND;
    case 5:
        return PEER_RECEIVE;
    case 3:
        break;
    default:
        return PEER_NONE;
    }
    if (has(p, PART_QUEUE) || has(p, PART_QUEUE_SYSTEM)) {
        /* Newer conventions have CLIENT spans that send, or ask for messages. */
        struct bytes operation = text_of(p, PART_QUEUE_OPERATION);
        bool receives =
            bytes_equal_text(operation, "receive") || bytes_equal_text(operation, "process") ||
            bytes_equal_text(operation, "settle") || bytes_equal_text(operation, "poll");
        return receives ? PEER_RECEIVE : PEER_SEND;
    }
    return has(p, PART_DATABASE) || has(p, PART_DATABASE_SYSTEM) ? PEER_DATABASE : PEER_CALL;
}

/* https://host:port/... */
static struct bytes url_host(struct bytes url)
{
    size_t at = bytes_find(url, ':');
    if (at == SIZE_MAX || !bytes_start_with(bytes_slice(url, at, SIZE_MAX), BYTES_LITERAL("://")))
        return (struct bytes){ 0 };
    struct bytes host = bytes_slice(url, at + 3, SIZE_MAX);
    for (size_t i = 0; i < host.len; i++)
        if (host.data[i] == '/' || host.data[i] == '?' || host.data[i] == '#')
            host.len = i;
    size_t user = bytes_find(host, '@');
    return user == SIZE_MAX ? host : bytes_slice(host, user + 1, SIZE_MAX);
}

/* address[:port] */
static struct bytes address_of(const struct peer_parts *p, struct buffer *scratch)
{
    struct bytes address = text_of(p, PART_ADDRESS);
    if (address.len == 0)
        return url_host(text_of(p, PART_URL));
    buffer_reset(scratch);
    buffer_append_bytes(scratch, address);
    if (has(p, PART_PORT)) {
        struct otlp_value port;
        otlp_value_read(p->values[PART_PORT], &port);
        buffer_append_byte(scratch, ':');
        if (port.type == OTLP_INT)
            buffer_append_i64(scratch, port.integer);
        else if (port.type == OTLP_STRING)
            buffer_append_bytes(scratch, bytes_slice(port.bytes, 0, 5));
        else
            scratch->len--;
    }
    return scratch->error == ERR_OK ? buffer_bytes(scratch) : address;
}

static struct bytes first_of(struct bytes a, struct bytes b)
{
    return a.len > 0 ? a : b;
}

bool peer_node(enum peer_role role, const struct peer_parts *p, struct bytes environment,
               struct buffer *scratch, struct derived_node *out)
{
    struct derived_node node = { .kind = NODE_EXTERNAL, .environment = environment };
    if (role == PEER_DATABASE) {
        node.kind = NODE_DATABASE;
        node.system = text_of(p, PART_DATABASE_SYSTEM);
        node.name = first_of(text_of(p, PART_DATABASE), text_of(p, PART_SERVICE));
        if (node.name.len == 0)
            node.name = first_of(address_of(p, scratch), node.system);
        if (node.name.len == 0)
            node.name = BYTES_LITERAL("unknown");
    } else if ((role == PEER_SEND || role == PEER_RECEIVE) && has(p, PART_QUEUE)) {
        node.kind = NODE_QUEUE;
        node.system = text_of(p, PART_QUEUE_SYSTEM);
        node.name = text_of(p, PART_QUEUE);
    } else if (has(p, PART_SERVICE)) {
        node.name = text_of(p, PART_SERVICE);
        node.namespace = text_of(p, PART_SERVICE_NAMESPACE);
    } else if (role == PEER_CALL || role == PEER_SEND) {
        node.name = first_of(address_of(p, scratch), text_of(p, PART_MODEL_PROVIDER));
    }
    if (node.name.len == 0)
        return false;
    *out = node;
    return true;
}
