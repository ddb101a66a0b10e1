/* SPDX-License-Identifier: Apache-2.0 */
/* engine_testing.h - for tests: the query API over a real engine, on a port of 127.0.0.1.
 *
 * Role       a directory of its own, an engine with DURABILITY_PROCESS, the query service, a server; what is
 *            stored goes in as the collector hands it over, checked.
 * Threads    one at a time.
 * Errors     asserts: a test that cannot start is over. */
#ifndef SPINDLE_QUERY_ENGINE_TESTING_H
#define SPINDLE_QUERY_ENGINE_TESTING_H

#include "base/budget.h"
#include "query/query.h"
#include "storage/engine.h"
#include "storage/sqlite/sqlite_engine.h"

struct engine_fixture {
    char directory[128];
    struct engine *engine;
    struct budget budget; /* of all queries and their answers */
    struct query_service *service;
    struct router *router;
    struct server *server;
    unsigned port;
};

/* Set in `engine` and `query` what the test wants; directory, durability, engine and budgets are set here. */
void engine_fixture_open(struct engine_fixture *f, struct sqlite_engine_options engine,
                         struct query_options query);
/* Also checks that queries gave back all of their memory. */
void engine_fixture_close(struct engine_fixture *f);

/* Store an OTLP body of so many items, and wait until it is. */
void engine_fixture_store(struct engine_fixture *f, enum signal signal, struct bytes body,
                          uint64_t items);

#endif
