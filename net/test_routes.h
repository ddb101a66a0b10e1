/* SPDX-License-Identifier: Apache-2.0 */
/* test_routes.h - routes that show what a handler saw, for the tests of net/ and for its attack
 * tests.
 *
 * GET  /hello                 "hello"
 * POST /echo                  the decompressed body, up to 1 MiB; protobuf, JSON or plain text
 * GET  /show/{a}/{rest*}      "a=...;rest=...;q=...": parameters, and the query parameter q
 * GET  /big?n=N               N bytes
 * GET  /stream?n=N            N pieces of 1,000 bytes
 * GET  /later?ms=N            "late", after N ms, from another thread
 * POST /small                 like /echo, up to 16 bytes
 * POST /nap                   "rested", as test_routes_let_nap() says
 * POST /v1/data               like /echo; consumes protobuf and JSON only
 * gRPC /test.Echo/Unary       the message, up to 64 MiB
 * gRPC /test.Echo/Sum         8 bytes: length of the message and of what was received
 * gRPC /test.Echo/Later       the message, after as many ms as it has bytes, from another thread
 * gRPC /test.Echo/Fail        status 3 with the message as its text
 * gRPC /test.Echo/Watch       three messages, then OK */
#ifndef SPINDLE_NET_TEST_ROUTES_H
#define SPINDLE_NET_TEST_ROUTES_H

#include "net/router.h"

NODISCARD enum err test_routes_add(struct router *r);
/* Wait until the threads of /later and Later have answered. */
void test_routes_join(void);
/* Whether POST /nap holds its thread (10 s at most) until this is called with false. At first, not. */
void test_routes_let_nap(bool do_last);

#endif
