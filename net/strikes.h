/* SPDX-License-Identifier: Apache-2.0 */
/* strikes.h - a token bucket per connection for what costs us work and gets the peer nothing.
 *
 * Role       frames that do nothing, streams that we had to reset and requests that we refused take
 * tokens; time and answered requests give them back. A connection whose bucket is empty is closed.
 * Threads    pure. */
#ifndef SPINDLE_NET_STRIKES_H
#define SPINDLE_NET_STRIKES_H

#include <stdbool.h>
#include <stdint.h>

/* A burst of a thousand small frames is what an honest client may send after a long answer in small
 * reads; 50 a second go on for ever and cost next to nothing. */
#define STRIKES_MAX   1000
#define STRIKES_PER_S 50
/* An answered request buys the frames around it: clients that send a small WINDOW_UPDATE or a PING
 * for each answer stay in credit at any rate. */
#define STRIKES_PER_ANSWER 10

#define STRIKE_FRAME       1   /* PING, PRIORITY, small WINDOW_UPDATE, empty DATA, unknown frame */
#define STRIKE_SETTINGS    10  /* each is applied and acknowledged */
#define STRIKE_RESET       10  /* a stream reset, by the peer or, for its fault, by us */
#define STRIKE_REFUSED     5   /* a request that we answered by an error of our own */
#define STRIKE_HEADER_LIST 50  /* a header list over the limit */
#define STRIKE_STALL       100 /* an answer not read, or a body not sent, until we gave it up */

struct strikes {
    uint64_t milli; /* tokens left, in thousandths */
    uint64_t at_ns; /* when they were counted */
};

/* A full bucket; now_ns of the monotonic clock, as below. */
void strikes_init(struct strikes *s, uint64_t now_ns);
/* False: the bucket is empty. */
bool strikes_take(struct strikes *s, unsigned tokens, uint64_t now_ns);
void strikes_give(struct strikes *s, unsigned tokens);

#endif
