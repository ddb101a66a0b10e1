/* SPDX-License-Identifier: Apache-2.0 */
/* numbers_testing.h - for tests of answers made of rollups: a server of its own over an engine that says
 * what the test has set, and looks at the answer's text.
 *
 * Threads    the test's. */
#ifndef SPINDLE_QUERY_NUMBERS_TESTING_H
#define SPINDLE_QUERY_NUMBERS_TESTING_H

#include "net/server.h"
#include "query/fake_engine.h"
#include "query/query.h"
#include "query/test_client.h"

#define T0     UINT64_C(1700000040000000000) /* a whole minute */
#define MINUTE (60 * NS_PER_S)
#define WINDOW "from=1700000040000000000&to=1700000640000000000" /* ten of them */
#define NATIVE "/api/spindle/v1"

struct fixture {
    struct fake_engine engine;
    struct metrics *metrics;
    struct router *router;
    struct query_service *service;
    struct server *server;
    unsigned port;
    struct arena arena; /* of what the engine says */
};

/* For cmocka. */
int numbers_setup(void **state);
int numbers_teardown(void **state);
/* Memory of a query from the next numbers_setup() on; 0: as ever. */
extern size_t numbers_memory_bytes;

extern struct reply last;
unsigned get(struct fixture *f, const char *path);
void get_ok(struct fixture *f, const char *path); /* 200, or the test fails */
void assert_has(const char *part);
void assert_has_not(const char *part);
/* The number behind `key`, at or after the first `mark`. */
double number_after(const char *mark, const char *key);
void assert_near(double have, double wanted, double share);

struct red_series *add_red(struct fixture *f, const char *service, const char *namespace,
                           const char *environment, const char *name, uint32_t kind);
/* Calls of one duration each in a minute of the window. */
struct red_point *add_calls(struct fixture *f, struct red_series *s, unsigned minute,
                            uint64_t calls, uint64_t errors, uint64_t duration_ns);
/* checkout, which is asked and works, batch, which only works, and one that is silent. */
void set_services(struct fixture *f);

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, numbers_setup, numbers_teardown)

#endif
