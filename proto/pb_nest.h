/* SPDX-License-Identifier: Apache-2.0 */
/* pb_nest.h - deeply nested protobuf messages whose lengths are not known in advance.
 *
 * Role       pb_begin() and pb_end() move a message's bytes at its end when the length needs more
 *            room, once a level: with 200 levels around a megabyte, a peer could make that dear.
 *            Here all open messages are widened together, so each byte moves a few times in all.
 * Ownership  borrows the buffer. Nothing else may begin messages in it meanwhile.
 * Errors     the buffer's. */
#ifndef SPINDLE_PROTO_PB_NEST_H
#define SPINDLE_PROTO_PB_NEST_H

#include "base/buffer.h"

#define PB_NEST_MAX 256

struct pb_nest {
    struct buffer *out;
    size_t depth;
    struct {
        size_t begin; /* of its contents */
        size_t width; /* bytes set aside for its length, before begin */
    } open[PB_NEST_MAX];
};

/* Nothing open; messages are written into `out`. Then, a message as field `field` of the innermost one. */
void pb_nest_init(struct pb_nest *n, struct buffer *out);
void pb_nest_begin(struct pb_nest *n, uint32_t field);
/* Where the contents of the innermost message begin now; the end of a message inside it may move
 * it. */
static inline size_t pb_nest_start(const struct pb_nest *n)
{
    return n->open[n->depth - 1].begin;
}
/* The contents may have become shorter since the last append, not begin elsewhere. */
void pb_nest_end(struct pb_nest *n);

#endif
