/* SPDX-License-Identifier: Apache-2.0 */
/* json_parameters.h - the JSON body of a POST read as parameters, so that the same getters take both.
 *
 * Role       {"q":"{ }","limit":5,"box":{"t0":"7","d1":null}} is q={ }, limit=5, box.t0=7. Numbers stay as they
 *            are written; null is absent.
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_JSON_PARAMETERS_H
#define SPINDLE_QUERY_JSON_PARAMETERS_H

#include "query/call.h"

#define JSON_PARAMETERS_MAX 64

/* Members of an object, and of the objects in it; nothing lies deeper. In the arena. Errors: ERR_INVALID with a
 * note, ERR_TOO_MANY, the arena's. */
NODISCARD enum err json_parameters_read(struct bytes json, struct arena *arena,
                                        const struct http_parameter **out, size_t *out_count,
                                        struct err_note *note);
/* The call's parameters become those of its body; ones in the query string are refused. */
NODISCARD enum err json_parameters_take(struct call *c);

#endif
