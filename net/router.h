/* SPDX-License-Identifier: Apache-2.0 */
/* router.h - which handler answers which path, with which scope and which body limit.
 *
 * Role       the table is complete before the server starts and read-only afterwards. What is not
 * listed is refused: HTTP 404, gRPC UNIMPLEMENTED. Threads    building: one; looking up: any. */
#ifndef SPINDLE_NET_ROUTER_H
#define SPINDLE_NET_ROUTER_H

#include "net/exchange.h"

struct router;

typedef void route_handler_fn(struct exchange *x, void *context);

enum route_kind { ROUTE_HTTP, ROUTE_GRPC };

struct route {
    enum route_kind kind;
    enum http_method method; /* GET serves HEAD too; gRPC: POST */
    /* "/api/traces/{id}"; a last part "{rest*}" takes all that is left, slashes included. Fixed
     * parts win over {name}. gRPC: "/package.Service/Method". */
    const char *path;
    enum scope scope;
    size_t body_max;      /* after decompression; 0: no body allowed */
    const char *consumes; /* content types accepted, comma-separated; NULL: any. Others are 415 */
    route_handler_fn *handler;
    void *context;
    const char
        *body_option; /* what the operator raises body_max by, named in the 413; NULL: nothing */
};

/* An empty table; close(NULL) does nothing. */
NODISCARD enum err router_open(struct router **out);
void router_close(struct router *r);
/* ERR_EXISTS when the same kind, method and path is there; ERR_INVALID for a bad pattern. Text is
 * borrowed and must outlive the router. */
NODISCARD enum err router_add(struct router *r, const struct route *route);
/* For tests that walk the table. */
size_t router_count(const struct router *r);
const struct route *router_at(const struct router *r, size_t index);

/* An answer for what no route matched: kind GRPC gets the method's path, to say what is not
 * implemented and why. Optional. NULL: the plain 404 or UNIMPLEMENTED. It is called as soon as the
 * head is there: the body is not read, and authorize() is asked for SCOPE_OPEN only. */
void router_set_fallback(struct router *r, enum route_kind kind, route_handler_fn *handler,
                         void *context);

#endif
