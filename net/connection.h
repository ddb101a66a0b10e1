/* SPDX-License-Identifier: Apache-2.0 */
/* connection.h - one TCP connection: bytes in and out, TLS, first-bytes detection, timeouts.
 *
 * Threads    the loop's.
 * Ownership  a connection belongs to its loop and frees itself after its descriptor is closed. */
#ifndef SPINDLE_NET_CONNECTION_H
#define SPINDLE_NET_CONNECTION_H

#include "net/core.h"
#include "net/loop.h"
#include "net/peers.h"

struct connection;

/* Takes the descriptor, the core's connection count and the peer's place in core->peers. Without
 * memory it is closed again. */
void connection_open(struct loop *loop, struct core *core, const struct listener *listener, int fd,
                     const struct peer_address *peer);
struct connection *connection_next(struct connection *c);
void connection_tick(struct connection *c, uint64_t now_ns);
/* Finish what is under way and close. */
void connection_drain(struct connection *c);
/* Close at once. */
void connection_abort(struct connection *c);
/* Let all connections that asked for it resume their input and send their output. */
void connection_settle_dirty(struct loop *l);

#endif
