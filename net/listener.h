/* SPDX-License-Identifier: Apache-2.0 */
/* listener.h - listening sockets: binding, accepting, and handing connections to loops.
 *
 * Role       one loop accepts for all listeners and gives each connection to the loop that has the
 * fewest: a handful of bulk senders then spread evenly, which SO_REUSEPORT's hashing does not do;
 * nor can a second process share the port by mistake. */
#ifndef SPINDLE_NET_LISTENER_H
#define SPINDLE_NET_LISTENER_H

#include "net/core.h"
#include "net/loop.h"

/* Bind and listen; fills l->fd, port and host. *out_message says what failed, and why. */
NODISCARD enum err listener_bind(struct listener *l, const struct listener_options *options,
                                 struct metrics *metrics, char **out_message);

struct acceptor;
/* Poll the listeners on loops[0]. Before the loops start. */
NODISCARD enum err acceptor_open(struct core *core, struct listener *listeners,
                                 size_t listener_count, struct loop **loops, size_t loop_count,
                                 struct acceptor **out);
/* On loops[0]: stop accepting and close the listening sockets. Once. */
void acceptor_shut(struct acceptor *a);
/* After the loops have been joined, or were never started. */
void acceptor_close(struct acceptor *a);

#endif
