/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_wire.h - a session without a socket, for fuzz targets: bytes in by function, bytes out to
 * nowhere.
 *
 * Threads    one. */
#ifndef SPINDLE_NET_FUZZ_WIRE_H
#define SPINDLE_NET_FUZZ_WIRE_H

#include "net/session.h"

struct fuzz_wire {
    struct wire wire; /* what sessions are opened with */
    struct session *session;
    uint8_t *input; /* what the session did not take */
    size_t input_len;
    size_t output_len;    /* all that it has sent */
    uint8_t output[4096]; /* the first of it */
};

/* The server behind all wires is made once, with the test routes and a small budget. False when the session
 * found no memory. */
bool fuzz_wire_open(struct fuzz_wire *w, struct session *(*open)(struct wire *wire));
/* Give bytes in pieces of `step`, producing after each. */
void fuzz_wire_feed(struct fuzz_wire *w, const uint8_t *data, size_t len, size_t step);
/* Close, and check that nothing is left of it. */
void fuzz_wire_close(struct fuzz_wire *w);

#endif
