/* SPDX-License-Identifier: Apache-2.0 */
/* The service map through a real server over an engine that says what the test has set: nodes, edges and
 * gaps are brought together, grouped, and left out with a count; dependencies split a service's time;
 * Jaeger gets the links between services. */
#include "query/native.h"
#include "query/numbers_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct derived_node node(enum derived_node_kind kind, const char *name,
                                const char *namespace, const char *system)
{
    return (struct derived_node){ .kind = kind,
                                  .name = bytes_text(name),
                                  .namespace = bytes_text(namespace),
                                  .environment = BYTES_LITERAL("prod"),
                                  .system = bytes_text(system) };
}

static struct edge *add_edge(struct fixture *f, struct derived_node client,
                             struct derived_node server, enum connection_type type, const char *via,
                             uint64_t calls, uint64_t failed, uint64_t client_ns,
                             uint64_t server_ns)
{
    struct edge_result *r = &f->engine.edges;
    struct edge *grown = arena_alloc_array(&f->arena, r->count + 1, sizeof r->edges[0]);
    struct edge_point *p = arena_alloc_array(&f->arena, 1, sizeof p[0]);
    assert_true(grown != NULL && p != NULL);
    if (r->count > 0)
        memcpy(grown, r->edges, r->count * sizeof r->edges[0]);
    r->edges = grown;
    *p = (struct edge_point){ .start_unix_ns = T0 + MINUTE, .calls = calls, .failed = failed };
    histogram_init(&p->client, &f->arena);
    histogram_init(&p->server, &f->arena);
    if (client_ns > 0)
        assert_int_equal(histogram_record(&p->client, client_ns, calls), ERR_OK);
    if (server_ns > 0)
        assert_int_equal(histogram_record(&p->server, server_ns, calls), ERR_OK);
    struct edge *x = &r->edges[r->count++];
    *x = (struct edge){ .client = client,
                        .server = server,
                        .type = type,
                        .via = bytes_text(via),
                        .points = p,
                        .points_count = 1 };
    return x;
}

static void set_map(struct fixture *f)
{
    static struct unpaired gap;
    const struct derived_node web = node(NODE_SERVICE, "web", "shop", "");
    const struct derived_node checkout = node(NODE_SERVICE, "checkout", "shop", "");
    const struct derived_node mailer = node(NODE_SERVICE, "mailer", "mail", "");
    const struct derived_node queue = node(NODE_QUEUE, "orders", "", "kafka");
    set_services(f);
    add_edge(f, node(NODE_USER, "user", "", ""), web, CONNECTION_VIRTUAL, "", 60, 0, 0, NS_PER_MS);
    add_edge(f, web, checkout, CONNECTION_DIRECT, "", 600, 6, 12 * NS_PER_MS, 10 * NS_PER_MS);
    add_edge(f, checkout, node(NODE_DATABASE, "a/b c", "", "postgresql"), CONNECTION_DATABASE, "",
             1200, 0, 3 * NS_PER_MS, 0);
    add_edge(f, checkout, queue, CONNECTION_MESSAGING, "", 60, 0, NS_PER_MS, 0);
    add_edge(f, queue, mailer, CONNECTION_MESSAGING, "", 60, 60, 0, NS_PER_MS);
    add_edge(f, checkout, mailer, CONNECTION_MESSAGING, "orders", 60, 60, NS_PER_MS, NS_PER_MS);
    gap = (struct unpaired){ .node = checkout, .reason = UNPAIRED_BROKEN_PARENT, .count = 7 };
    gap.samples_count = 1;
    gap.samples[0].b[15] = 0xab;
    f->engine.edges.unpaired = &gap;
    f->engine.edges.unpaired_count = 1;
}

static void the_map_has_nodes_edges_and_gaps(void **state)
{
    struct fixture *f = *state;
    char expected[256];
    set_map(f);
    get_ok(f, NATIVE "/map?" WINDOW);
    assert_int_equal(f->engine.edge_query.patience_ns, DERIVED_PATIENCE_NS);
    (void)snprintf(expected, sizeof expected,
                   "{\"id\":\"service:shop/checkout\",\"kind\":\"service\",\"name\":\"checkout\","
                   "\"ns\":\"shop\",\"color\":%u,\"envs\":[\"prod\",\"stage\"],"
                   "\"basis\":\"entry\",\"count\":600,",
                   (unsigned)(hash_bytes(BYTES_LITERAL("checkout")) % 16));
    assert_has(expected);
    assert_has("{\"id\":\"database:postgresql/a%2Fb%20c\",\"kind\":\"database\",\"name\":\"a/b c\","
               "\"system\":\"postgresql\",\"count\":1200,\"errors\":0,\"rate\":2,\"err\":0,");
    assert_near(number_after("\"a/b c\"", "\"p95\":"), 3e6, 0.0055);
    assert_has("{\"id\":\"queue:kafka/orders\",\"kind\":\"queue\",");
    assert_has("{\"id\":\"user:user\",\"kind\":\"user\",\"name\":\"user\",\"count\":60,");
    assert_has("\"spark\":[0,20,0,0,0,0,0,0,0,0]"); /* of the database */

    /* Nodes: batch, mailer, checkout, web, the database, the queue, user. */
    assert_has("{\"s\":3,\"t\":2,\"type\":\"direct\",\"async\":false,\"system\":\"\",\"count\":600,"
               "\"errors\":6,\"rate\":1,\"err\":0.01,\"side\":\"client\",\"n\":600,\"p50\":");
    assert_near(number_after("{\"s\":3,\"t\":2", "\"p50\":"), 12e6, 0.0055);
    assert_near(number_after("{\"s\":3,\"t\":2", "\"server\":{\"n\":600,\"p50\":"), 10e6, 0.0055);
    assert_has("{\"s\":2,\"t\":4,\"type\":\"database\",\"async\":false,\"system\":\"postgresql\",");
    assert_has("{\"s\":2,\"t\":5,\"type\":\"messaging\",\"async\":true,\"system\":\"kafka\",");
    assert_has("{\"s\":5,\"t\":1,\"type\":\"messaging\",\"async\":true,\"system\":\"kafka\","
               "\"count\":60,\"errors\":60,\"rate\":0.1,\"err\":1,\"side\":\"server\",");
    assert_has_not("{\"s\":2,\"t\":1,"); /* the queue stands between */
    assert_has("\"hidden\":{\"nodes\":0,\"edges\":0},\"gaps\":[{\"s\":2,\"why\":\"broken_parent\","
               "\"count\":7,\"samples\":[\"000000000000000000000000000000ab\"]}]");
    assert_null(strstr(last.head, "spindle-incomplete"));
    f->engine.edges.is_damaged = true;
    static const char *const asked[] = { NATIVE "/map?" WINDOW,
                                         "/api/dependencies?endTs=1700000640000&lookback=600000" };
    for (size_t i = 0; i < 2; i++) {
        get_ok(f, asked[i]);
        assert_non_null(strstr(last.head, "\r\nspindle-incomplete: damaged\r\n"));
    }
}

static void the_map_is_reduced_with_a_count(void **state)
{
    struct fixture *f = *state;
    set_map(f);
    get_ok(f, NATIVE "/map?" WINDOW "&group=ns");
    assert_has("\"group\":\"ns\",\"nodes\":[{\"id\":\"group:mail\",\"kind\":\"group\","
               "\"name\":\"mail\",\"members\":1,\"inner\":0,\"count\":0,");
    /* Its database is the shop's own; the queue is between two groups, and users are nobody's. */
    assert_has("{\"id\":\"group:shop\",\"kind\":\"group\",\"name\":\"shop\",\"members\":3,"
               "\"inner\":2,\"count\":600,");
    assert_has_not("postgresql");
    assert_has("queue:kafka/orders");
    assert_has("\"user:user\"");
    assert_has("\"gaps\":[{\"s\":1,");
    get_ok(f, NATIVE "/map?" WINDOW "&group=ns&open=mail,shop");
    assert_has("service:shop/checkout");
    get_ok(f, NATIVE "/map?" WINDOW "&group=auto"); /* few enough to tell apart */
    assert_has("\"group\":\"none\"");
    get_ok(f, NATIVE "/map?" WINDOW "&group=env");
    assert_has("\"group:prod\"");

    get_ok(f, NATIVE "/map?" WINDOW "&focus=service:shop%2Fweb&dir=in");
    assert_has("\"nodes\":[{\"id\":\"service:shop/web\"");
    assert_has("\"user:user\"");
    assert_has_not("checkout");
    assert_has("\"hidden\":{\"nodes\":5,\"edges\":4}");
    get_ok(f, NATIVE "/map?" WINDOW "&focus=service:shop%2Fweb&hops=3&dir=out");
    assert_has("service:mail/mailer");
    assert_has_not("\"user:user\"");
    assert_int_equal(get(f, NATIVE "/map?" WINDOW "&focus=service:nobody"), 404);
    get_ok(f, NATIVE "/map?" WINDOW "&limit=2");
    assert_has("\"hidden\":{\"nodes\":5,");
    get_ok(f, NATIVE "/map?" WINDOW "&env=stage"); /* of no edge */
    assert_has("\"edges\":[]");
}

static void two_windows_are_compared(void **state)
{
    struct fixture *f = *state;
    set_map(f);
    get_ok(f, NATIVE "/map?" WINDOW "&prev=period");
    assert_has("\"prev\":{\"count\":600,\"errors\":6,\"rate\":1,\"err\":0.01,\"p50\":");
    assert_has_not("\"state\"");
    get_ok(f, NATIVE "/services?" WINDOW "&prev=7d");
    assert_has("\"prev\":{\"count\":600,");
}

static void dependencies_split_time(void **state)
{
    struct fixture *f = *state;
    set_map(f);
    get_ok(f, NATIVE "/services/checkout/dependencies?" WINDOW);
    /* 500 * 10 + 90 * 20 + 10 * 900 ms */
    assert_has("\"window_s\":600,\"time\":15800000000,\"in\":[{\"node\":{\"id\":"
               "\"service:shop/web\",\"kind\":\"service\",");
    assert_has("\"out\":[{\"node\":{\"id\":\"database:postgresql/a%2Fb%20c\"");
    assert_has("\"time\":3600000000,\"share\":0.227848");
    assert_has("\"via\":\"orders\"");
    assert_has("\"gaps\":[{\"why\":\"broken_parent\",\"count\":7,");
    get_ok(f, NATIVE "/services/checkout/dependencies?" WINDOW "&ns=other");
    assert_has("\"in\":[],\"out\":[],\"gaps\":[]");
}

static void jaeger_has_links_between_services(void **state)
{
    struct fixture *f = *state;
    set_map(f);
    get_ok(f, "/api/dependencies?endTs=1700000640000&lookback=600000");
    assert_has("{\"data\":[{\"parent\":\"checkout\",\"child\":\"mailer\",\"callCount\":60},"
               "{\"parent\":\"web\",\"child\":\"checkout\",\"callCount\":600}],\"total\":2,");
    assert_int_equal(f->engine.edge_query.range.min_unix_ns, T0);
    assert_int_equal(f->engine.edge_query.range.max_unix_ns, T0 + 10 * MINUTE);
    add_edge(f, node(NODE_SERVICE, "web", "other", ""), node(NODE_SERVICE, "checkout", "", ""),
             CONNECTION_DIRECT, "", 1, 0, 0, 0);
    add_edge(f, node(NODE_SERVICE, "web", "", ""), node(NODE_SERVICE, "web", "", ""),
             CONNECTION_DIRECT, "", 5, 0, 0, 0);
    get_ok(f, "/api/dependencies?service=web&unknown=1");
    assert_has("{\"data\":[{\"parent\":\"web\",\"child\":\"checkout\",\"callCount\":601}],"
               "\"total\":1,");
    assert_int_equal(get(f, "/api/dependencies?endTs=x"), 400);
    assert_has("{\"data\":null,");
    get_ok(f, "/api/v3/dependencies?startTime=2023-11-14T22:14:00Z&endTime=2023-11-14T22:24:00Z");
    assert_int_equal(f->engine.edge_query.range.min_unix_ns, T0);
    assert_has("{\"dependencies\":[{\"parent\":\"checkout\",\"child\":\"mailer\","
               "\"callCount\":\"60\"},");
    assert_int_equal(get(f, "/api/v3/dependencies?startTime=2023-11-14T22:14:00Z&endTime="
                            "2023-11-14T22:14:00Z"),
                     400);
    assert_has("\"grpcCode\":3");
}

static void cleaned_names_say_why(void **state)
{
    struct fixture *f = *state;
    struct derived_cleaned cleaned[] = {
        { BYTES_LITERAL("a"), BYTES_LITERAL("GET /{id}"), BYTES_LITERAL("GET /42"),
          CLEANED_NUMBER | CLEANED_RULE, 2, 8 },
        { BYTES_LITERAL("b"), BYTES_LITERAL("(other)"), BYTES_LITERAL("x"), CLEANED_OVERFLOW, 0,
          1 },
    };
    f->engine.cleaned = cleaned;
    f->engine.cleaned_count = 2;
    get_ok(f, NATIVE "/cleaned?limit=1");
    assert_has("{\"rows\":[{\"service\":\"a\",\"name\":\"GET /{id}\",\"example\":\"GET /42\","
               "\"why\":[\"number\",\"rule\"],\"rule\":2,\"spans\":8}],\"hidden\":1,");
    get_ok(f, NATIVE "/cleaned?service=b");
    assert_has("\"why\":[\"overflow\"],\"spans\":1");
}

static void nothing_has_a_reason(void **state)
{
    struct fixture *f = *state;
    get_ok(f, NATIVE "/map?" WINDOW);
    assert_has("\"nodes\":[],\"edges\":[],\"hidden\":{\"nodes\":0,\"edges\":0},\"gaps\":[],"
               "\"bound\":0,");
    assert_has("\"reason\":\"no_match\"");
    get_ok(f, NATIVE "/services/x/dependencies?" WINDOW);
    assert_has("\"in\":[],\"out\":[],\"gaps\":[]");
    get_ok(f, NATIVE "/map"); /* the last quarter of an hour */
    assert_has("\"points\":1");
}

static void wrong_parameters_are_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *parameter;
    } cases[] = {
        { "/map?from=x", "from" },       { "/map?from=5&to=4", "to" },
        { "/map?group=color", "group" }, { "/map?hops=4", "hops" },
        { "/map?hops=0", "hops" },       { "/map?dir=up", "dir" },
        { "/map?limit=2001", "limit" },  { "/cleaned?limit=0", "limit" },
        { "/map?prev=soon", "prev" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128], parameter[64];
        (void)snprintf(path, sizeof path, NATIVE "%s", cases[i].path);
        (void)snprintf(parameter, sizeof parameter, "\"parameter\":\"%s\"", cases[i].parameter);
        if (get(f, path) != 400)
            fail_msg("%s: %u %s", path, last.status, last.body);
        assert_has(parameter);
    }
    assert_int_equal(get(f, NATIVE "/map?colour=red"), 400);
    assert_int_equal(get(f, NATIVE "/services/a/dependencies?colour=red"), 400);
}

static void failures_of_the_engine_are_answers(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = { NATIVE "/map?prev=period",
                                         NATIVE "/services/a/dependencies", "/api/dependencies",
                                         "/api/v3/dependencies" };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        f->engine.result = ERR_IO;
        assert_int_equal(get(f, paths[i]), 500);
        f->engine.result = ERR_DEADLINE;
        assert_int_equal(get(f, paths[i]), 504);
    }
    f->engine.result = ERR_OK;
}

/* Whatever memory there is: the whole answer, or that it is too large, and nothing leaks. */
static void any_memory_will_do(void **state)
{
    static const char *const paths[] = { NATIVE "/map?" WINDOW "&prev=period&group=ns",
                                         NATIVE "/services/checkout/dependencies?" WINDOW,
                                         NATIVE "/services?" WINDOW "&prev=period",
                                         NATIVE "/services/checkout/series?" WINDOW "&by=operation",
                                         "/api/dependencies",
                                         "/api/metrics/latencies?service=a&quantile=0.5" };
    unsigned small = 0, whole = 0;
    (void)state;
    for (size_t bytes = 4096; bytes <= (size_t)4 << 20; bytes += bytes / 4) {
        void *own = NULL;
        numbers_memory_bytes = bytes;
        assert_int_equal(numbers_setup(&own), 0);
        numbers_memory_bytes = 0;
        struct fixture *f = own;
        set_map(f);
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
            unsigned status = get(f, paths[i]);
            if (status != 200 && status != 422)
                fail_msg("%s with %zu bytes: %u %s", paths[i], bytes, status, last.body);
            small += status == 422;
            whole += status == 200;
        }
        assert_int_equal(numbers_teardown(&own), 0);
    }
    assert_true(small > 20 && whole > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(the_map_has_nodes_edges_and_gaps),
        WITH_SERVER(the_map_is_reduced_with_a_count),
        WITH_SERVER(two_windows_are_compared),
        WITH_SERVER(dependencies_split_time),
        WITH_SERVER(jaeger_has_links_between_services),
        cmocka_unit_test(any_memory_will_do),
        WITH_SERVER(cleaned_names_say_why),
        WITH_SERVER(nothing_has_a_reason),
        WITH_SERVER(wrong_parameters_are_named),
        WITH_SERVER(failures_of_the_engine_are_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
