/* SPDX-License-Identifier: Apache-2.0 */
/* accept.h - what a client would rather have: Accept and Accept-Encoding.
 *
 * Role       reads lists as "text/html, application/json;q=0.5"; no name in them has case.
 * Threads    any; all but accept_next() are pure.
 * Source     RFC 9110, section 12.5. */
#ifndef SPINDLE_NET_ACCEPT_H
#define SPINDLE_NET_ACCEPT_H

#include "base/bytes.h"

#include <stdbool.h>

struct accept_item {
    struct bytes name;       /* a media range or a coding */
    struct bytes parameters; /* behind it, q among them */
    unsigned q;              /* thousandths; 0: forbidden, or not readable */
};

/* The next of a list; *rest goes on behind it. False at its end. */
bool accept_next(struct bytes *rest, struct accept_item *out);
/* A parameter's value, without quotes. False when it is absent. */
bool accept_parameter(struct bytes parameters, const char *name, struct bytes *out);
/* The list names this one (no wildcard) and does not forbid it. */
bool accept_names(struct bytes list, const char *name);
/* Which of these types the client likes best; of those it likes alike the one it is more exact about, then
 * the first. 0 when it likes none or does not say. */
size_t accept_choose(struct bytes list, const char *const *types, size_t count);

#endif
