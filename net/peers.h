/* SPDX-License-Identifier: Apache-2.0 */
/* peers.h - how many connections each address has.
 *
 * Threads    any; a lock around a small table. */
#ifndef SPINDLE_NET_PEERS_H
#define SPINDLE_NET_PEERS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct peers;

struct peer_address {
    uint8_t b[16]; /* IPv6; IPv4 mapped; all of loopback is ::1 */
    char text[64]; /* "127.0.0.1:51234" */
};

/* connections_max: of all addresses together, which sizes the table once. */
NODISCARD enum err peers_open(unsigned connections_max, struct peers **out);
void peers_close(struct peers *p);
/* False when the address has `max` already. */
bool peers_enter(struct peers *p, const struct peer_address *address, unsigned max);
void peers_leave(struct peers *p, const struct peer_address *address);

#endif
