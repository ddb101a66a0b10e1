/* SPDX-License-Identifier: Apache-2.0 */
/* router_private.h - looking routes up. */
#ifndef SPINDLE_NET_ROUTER_PRIVATE_H
#define SPINDLE_NET_ROUTER_PRIVATE_H

#include "net/router.h"

enum route_match { ROUTE_FOUND, ROUTE_NOT_FOUND, ROUTE_OTHER_METHOD };

/* target: the raw path, valid as request_path_normal() checks it. Parameters are decoded into the
 * arena. On ROUTE_OTHER_METHOD *out_allow (arena text) is the Allow header. */
enum route_match router_find(const struct router *r, enum route_kind kind, enum http_method method,
                             struct bytes target, struct arena *arena,
                             const struct route **out_route, struct bytes parameters[4],
                             struct bytes *out_allow);
const struct route *router_fallback(const struct router *r, enum route_kind kind);

#endif
