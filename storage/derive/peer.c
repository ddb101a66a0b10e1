/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/derive/peer.h"

#define NAME_MAX_BYTES 256u

/* Keys and what they are; of two for one part, the one of the lower rank counts. Sorted by length, so that a
 * key is compared with the few of its own length only. */
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
    KEY("peer.service", PART_SERVICE, 1),
    KEY("peer.address", PART_ADDRESS, 6),
    KEY("db.namespace", PART_DATABASE, 0),
    KEY("server.port", PART_PORT, 0),
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

/* Keys worth comparing begin with one of these. */
static bool is_candidate(struct bytes key)
{
    if (key.len < 7 || key.len > KEY_LEN_MAX)
        return false;
    switch (key.data[0]) {
    case 'd':
        return key.data[1] == 'b' && key.data[2] == '.';
    case 'g':
        return key.data[1] == 'e';
    case 'h':
        return key.data[1] == 't' && (key.data[5] == 'h' || key.data[5] == 'u');
    case 'm':
        return key.data[1] == 'e' && key.data[2] == 's';
    case 'n':
        return key.data[1] == 'e' && key.data[2] == 't';
    case 'p':
        return key.data[1] == 'e' && key.data[2] == 'e';
    case 's':
        return key.data[1] == 'e' && key.data[2] == 'r';
    case 'u':
        return key.data[1] == 'r' && key.data[2] == 'l';
    default:
        return false;
    }
}

static const struct peer_key *key_find(struct bytes key)
{
    if (!is_candidate(key))
        return NULL;
    for (size_t i = 0; i < KEYS_COUNT; i++)
        if (keys[i].len == key.len && memcmp(keys[i].text, key.data, key.len) == 0)
            return &keys[i];
    return NULL;
}

void peer_read(struct bytes message, struct peer_parts *out)
{
    uint8_t ranks[PART_COUNT];
    memset(ranks, 0xFF, sizeof ranks);
    *out = (struct peer_parts){ 0 };
    struct otlp_repeated attributes = otlp_repeated(message, OTLP_SPAN_ATTRIBUTES);
    struct bytes attribute;
    while (otlp_repeated_next(&attributes, &attribute)) {
        /* Nearly all: the key first, shorter than 128 bytes. */
        if (attribute.len < 2 || attribute.data[0] != 0x0A || attribute.data[1] >= 0x80 ||
            attribute.data[1] > attribute.len - 2)
            continue;
        const struct peer_key *key = key_find(bytes_of(attribute.data + 2, attribute.data[1]));
        if (key == NULL || key->rank >= ranks[key->part])
            continue;
        struct otlp_key_value kv;
        otlp_key_value_read(attribute, &kv);
        if (!kv.has_value || kv.value.len == 0)
            continue;
        ranks[key->part] = key->rank;
        out->values[key->part] = kv.value;
    }
}

bool peer_parts_equal(const struct peer_parts *a, const struct peer_parts *b)
{
    for (unsigned i = 0; i < PART_COUNT; i++)
        if (!bytes_equal(a->values[i], b->values[i]))
            return false;
    return true;
}

static bool has(const struct peer_parts *p, enum peer_part part)
{
    return p->values[part].len > 0;
}

static struct bytes text_of(const struct peer_parts *p, enum peer_part part)
{
    struct otlp_value value = { 0 };
    if (has(p, part))
        otlp_value_read(p->values[part], &value);
    return value.type == OTLP_STRING ? bytes_slice(value.bytes, 0, NAME_MAX_BYTES)
                                     : (struct bytes){ 0 };
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
