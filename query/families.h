/* SPDX-License-Identifier: Apache-2.0 */
/* families.h - the routes of each API family: one table each, one file or few behind each table. */
#ifndef SPINDLE_QUERY_FAMILIES_H
#define SPINDLE_QUERY_FAMILIES_H

#include "query/call.h"

/* /api/spindle/v1/...: docs/API.md */
extern const struct call_route native_routes[];
extern const size_t native_route_count;
/* The same by POST, with a JSON body: json_parameters.h. */
extern const struct call_route native_posts[];
extern const size_t native_post_count;
/* By POST too, with a body of its own: sql_body.h. */
extern const struct call_route native_sql_posts[];
extern const size_t native_sql_post_count;
/* /api/...: Jaeger's own, as of version 1 */
extern const struct call_route jaeger_routes[];
extern const size_t jaeger_route_count;
/* /api/v3/...: Jaeger's */
extern const struct call_route jaeger_v3_routes[];
extern const size_t jaeger_v3_route_count;

#endif
