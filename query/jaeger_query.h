/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger_query.h - what Jaeger's two HTTP APIs share: its search as a filter tree, and whole traces
 * of what was found.
 *
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_JAEGER_QUERY_H
#define SPINDLE_QUERY_JAEGER_QUERY_H

#include "query/parameters.h"

#define JAEGER_LIMIT_DEFAULT 100
#define JAEGER_LIMIT_MAX     1500 /* the largest that Jaeger's page offers */

/* One of a search's tags as a condition: equality of the text form, wherever on the span the key
 * is. Some keys speak of the span itself. */
void jaeger_add_tag(struct filter *f, struct bytes key, struct bytes value);
/* A JSON object of strings. ERR_INVALID with the words chosen. */
NODISCARD enum err jaeger_add_tags(struct call *c, struct filter *f, const char *parameter,
                                   struct bytes json);
/* Service, operation and bounds of the duration, where given. */
struct jaeger_search_names {
    const char *service, *operation, *duration_min, *duration_max;
};
NODISCARD enum err jaeger_add_plain(struct call *c, struct filter *f,
                                    const struct jaeger_search_names *names);

/* Called for each trace found; data is valid for the call only. */
typedef enum err jaeger_trace_fn(struct call *c, const struct trace_id *id, struct bytes data);
/* Search, then read each trace whole, newest first. *out_found counts them. */
NODISCARD enum err jaeger_find(struct call *c, const struct trace_query *query,
                               jaeger_trace_fn *on_trace, size_t *out_found);

/* Jaeger's word for a kind, empty for one not named there. */
const char *jaeger_kind(uint32_t kind);

#endif
