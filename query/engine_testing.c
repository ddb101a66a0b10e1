/* SPDX-License-Identifier: Apache-2.0 */
#include "query/engine_testing.h"

#include "base/hash.h"
#include "net/server.h"
#include "proto/otlp.h"
#include "storage/testing/scratch.h"
#include "storage/testing/send.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BUDGET_BYTES ((size_t)128 << 20)

void engine_fixture_open(struct engine_fixture *f, struct sqlite_engine_options engine,
                         struct query_options query)
{
    char *message = NULL;
    *f = (struct engine_fixture){ 0 };
    scratch_make(f->directory);
    engine.directory = f->directory;
    engine.durability = DURABILITY_PROCESS;
    assert_int_equal(sqlite_engine_open(&engine, &f->engine, &message), ERR_OK);
    budget_init(&f->budget, BUDGET_BYTES, NULL);
    query.engine = f->engine;
    query.budget = query.answers_budget = &f->budget;
    assert_int_equal(query_open(&query, &f->service), ERR_OK);
    assert_int_equal(router_open(&f->router), ERR_OK);
    assert_int_equal(query_add_routes(f->service, f->router), ERR_OK);
    struct listener_options listener = { "http", "127.0.0.1:0", f->router };
    struct server_options server = { .loops = 2, .listeners = &listener, .listener_count = 1 };
    assert_int_equal(server_start(&server, &f->server, &message), ERR_OK);
    f->port = server_port(f->server, 0);
}

void engine_fixture_close(struct engine_fixture *f)
{
    query_drain(f->service);
    server_stop(f->server);
    query_close(f->service);
    assert_int_equal(budget_used(&f->budget), 0);
    router_close(f->router);
    engine_close(f->engine);
    scratch_remove(f->directory);
}

void engine_fixture_store(struct engine_fixture *f, enum signal signal, struct bytes body,
                          uint64_t items)
{
    struct err_note note = { 0 };
    struct otlp_report report;
    assert_int_equal(otlp_check(signal, body, &otlp_limits_default, 0, &report, &note), ERR_OK);
    assert_int_equal(report.items - report.items_rejected, items);
    assert_int_equal(
        send_body(f->engine, signal, body, items, (struct hash128){ hash_bytes(body), signal }),
        ERR_OK);
}
