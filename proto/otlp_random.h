/* SPDX-License-Identifier: Apache-2.0 */
/* otlp_random.h - random OTLP requests for tests.
 *
 * Role       every field and value type of traces and logs, with the odd ones often: nested and
 *            empty values, unknown enum numbers, extreme integers, NaN and infinities, empty
 *            envelopes. Without is_strange they are canonical: otlp_check() accepts them and asks
 *            for no rewrite.
 * Threads    pure but for the generator, which belongs to one thread. */
#ifndef SPINDLE_PROTO_OTLP_RANDOM_H
#define SPINDLE_PROTO_OTLP_RANDOM_H

#include "base/random.h"
#include "proto/otlp.h"

struct otlp_random_options {
    size_t items_max;     /* spans or log records in one request; at least 1 */
    unsigned depth_max;   /* nested values; at most 64 */
    bool has_bad_utf8;    /* some strings are not UTF-8 */
    bool has_extra_order; /* fields in any order instead of by number */
    bool is_strange;      /* well-formed, but now and then not canonical, or with a bad ID */
};

/* Append one TracesData or LogsData. */
void otlp_random(struct random *random, enum signal signal,
                 const struct otlp_random_options *options, struct buffer *out);

/* Change a few random bytes, or cut, repeat or insert some: what a peer might send. The buffer must
 * hold a message from `from` on. */
void otlp_random_break(struct random *random, struct buffer *message, size_t from);

#endif
