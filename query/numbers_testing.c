/* SPDX-License-Identifier: Apache-2.0 */
#include "query/numbers_testing.h"

#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct reply last;
size_t numbers_memory_bytes;

unsigned get(struct fixture *f, const char *path)
{
    reply_free(&last);
    client_get(f->port, path, "", &last);
    return last.status;
}

void get_ok(struct fixture *f, const char *path)
{
    if (get(f, path) != 200)
        fail_msg("%s: %u %s", path, last.status, last.body);
}

void assert_has(const char *part)
{
    if (strstr(last.body, part) == NULL)
        fail_msg("%s\n  does not contain\n%s", last.body, part);
}

void assert_has_not(const char *part)
{
    if (strstr(last.body, part) != NULL)
        fail_msg("%s\n  contains\n%s", last.body, part);
}

/* The number behind `key`, at or after the first `mark`. */
double number_after(const char *mark, const char *key)
{
    const char *at = strstr(last.body, mark);
    if (at != NULL)
        at = strstr(at, key);
    if (at == NULL)
        fail_msg("%s: no %s after %s", last.body, key, mark);
    return strtod(at + strlen(key), NULL);
}

void assert_near(double have, double wanted, double share)
{
    if (fabs(have - wanted) > share * wanted)
        fail_msg("%g is not within %g of %g", have, share, wanted);
}

int numbers_setup(void **state)
{
    static struct fixture f;
    char *message = NULL;
    memset(&f, 0, sizeof f);
    fake_engine_init(&f.engine);
    arena_init(&f.arena, (size_t)1 << 26, NULL);
    f.engine.progress.is_complete = true;
    f.engine.statistics.spans = 1;
    f.engine.statistics.first_arrival_unix_ns = 1000;
    f.metrics = metrics_open();
    const struct query_options options = { .engine = &f.engine.engine,
                                           .metrics = f.metrics,
                                           .memory_bytes = numbers_memory_bytes,
                                           .version = "1" };
    assert_int_equal(router_open(&f.router), ERR_OK);
    assert_int_equal(query_open(&options, &f.service), ERR_OK);
    assert_int_equal(query_add_routes(f.service, f.router), ERR_OK);
    struct listener_options listener = { "http", "127.0.0.1:0", f.router };
    struct server_options server = { .loops = 1, .listeners = &listener, .listener_count = 1 };
    assert_int_equal(server_start(&server, &f.server, &message), ERR_OK);
    f.port = server_port(f.server, 0);
    *state = &f;
    return 0;
}

int numbers_teardown(void **state)
{
    struct fixture *f = *state;
    server_stop(f->server);
    query_close(f->service);
    router_close(f->router);
    metrics_close(f->metrics);
    arena_deinit(&f->arena);
    fake_engine_deinit(&f->engine);
    reply_free(&last);
    return fault_live_blocks() == 0 ? 0 : -1;
}

/* ---- What the engine says ---- */

struct red_series *add_red(struct fixture *f, const char *service, const char *namespace,
                           const char *environment, const char *name, uint32_t kind)
{
    struct red_result *r = &f->engine.red;
    struct red_series *grown = arena_alloc_array(&f->arena, r->count + 1, sizeof r->series[0]);
    assert_non_null(grown);
    if (r->count > 0)
        memcpy(grown, r->series, r->count * sizeof r->series[0]);
    r->series = grown;
    struct red_series *s = &r->series[r->count++];
    *s = (struct red_series){ .service = bytes_text(service),
                              .namespace = bytes_text(namespace),
                              .environment = bytes_text(environment),
                              .name = bytes_text(name),
                              .kind = kind };
    s->points = arena_alloc_array(&f->arena, 20, sizeof s->points[0]);
    assert_non_null(s->points);
    return s;
}

/* calls of one duration each in a minute */
struct red_point *add_calls(struct fixture *f, struct red_series *s, unsigned minute,
                            uint64_t calls, uint64_t errors, uint64_t duration_ns)
{
    struct red_point *p = &s->points[s->points_count++];
    p->start_unix_ns = T0 + minute * MINUTE;
    p->calls = calls;
    p->estimated_calls = (double)calls;
    p->errors = errors;
    p->duration_ns = calls * duration_ns;
    histogram_init(&p->duration, &f->arena);
    assert_int_equal(histogram_record(&p->duration, duration_ns, calls), ERR_OK);
    p->slowest = (struct derived_exemplar){ .is_set = true,
                                            .start_unix_ns = p->start_unix_ns,
                                            .duration_ns = duration_ns };
    p->slowest.trace_id.b[15] = (uint8_t)(minute + 1);
    return p;
}

void set_services(struct fixture *f)
{
    struct red_series *s = add_red(f, "checkout", "shop", "prod", "POST /pay", 2);
    add_calls(f, s, 0, 500, 4, 10 * NS_PER_MS);
    add_calls(f, s, 1, 90, 0, 20 * NS_PER_MS);
    add_calls(f, s, 9, 10, 2, 900 * NS_PER_MS);
    s = add_red(f, "checkout", "shop", "stage", "POST /pay", 5);
    add_calls(f, s, 1, 0, 0, 1);
    s = add_red(f, "checkout", "shop", "prod", "work", 1);
    add_calls(f, s, 0, 1000, 1000, 5 * NS_PER_S);
    s = add_red(f, "batch", "", "", "run", 1);
    add_calls(f, s, 0, 60, 0, NS_PER_S);
    s = add_red(f, "batch", "", "", "step", 3);
    add_calls(f, s, 9, 60, 30, NS_PER_S);
    static struct bytes names[] = { { (const uint8_t *)"batch", 5 },
                                    { (const uint8_t *)"checkout", 8 },
                                    { (const uint8_t *)"Silent", 6 } };
    f->engine.services = names;
    f->engine.service_count = 3;
}
