/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - whom a span's attributes name: a database, a queue, a host, another service.
 *
 * Role       the attributes of old and new conventions in one order of precedence.
 * Ownership  results borrow from the span, or from the caller's scratch.
 * Threads    pure.
 * Source     semantic conventions, current and deprecated names; the order is that of the service graphs of
 *            the Collector and of Tempo where these agree. */
#ifndef SPINDLE_STORAGE_DERIVE_PEER_H
#define SPINDLE_STORAGE_DERIVE_PEER_H

#include "storage/derive/derive_span.h"
#include "storage/derived.h"

enum peer_role {
    PEER_NONE,     /* nothing to do with edges */
    PEER_CALL,     /* CLIENT: waits for its SERVER span */
    PEER_SERVE,    /* SERVER */
    PEER_DATABASE, /* CLIENT of a database: complete alone */
    PEER_SEND,     /* to a queue or topic */
    PEER_RECEIVE   /* from one */
};

/* Values, undecoded. */
enum peer_part {
    PART_SERVICE, /* service.peer.name, peer.service */
    PART_SERVICE_NAMESPACE,
    PART_ADDRESS, /* server.address, or what stood for it */
    PART_PORT,
    PART_URL, /* url.full, http.url */
    PART_DATABASE,
    PART_DATABASE_SYSTEM,
    PART_QUEUE,
    PART_QUEUE_SYSTEM,
    PART_QUEUE_OPERATION,
    PART_MODEL_PROVIDER, /* gen_ai.provider.name */
    PART_COUNT
};
struct peer_parts {
    unsigned present;                /* bits 1 << part */
    struct bytes values[PART_COUNT]; /* AnyValue messages, of those that are present */
};

/* Find what a span says of its peer. */
void peer_read(const struct derive_span *span, struct peer_parts *out);
/* Whether the value of this attribute, one of the span's, says nothing: of an URL, where an address is named. Other
 * spans that differ from this one in such values alone name the same peer. */
bool peer_ignores(const struct peer_parts *parts, struct bytes attribute);
enum peer_role peer_role(uint32_t kind, const struct peer_parts *parts);
/* The node they name, in the environment of the span's service: of the database, the queue, or whoever is called.
 * Names longer than 256 bytes are cut. False: they name nobody. scratch: emptied, and borrowed by *out. */
bool peer_node(enum peer_role role, const struct peer_parts *parts, struct bytes environment,
               struct buffer *scratch, struct derived_node *out);

#endif
