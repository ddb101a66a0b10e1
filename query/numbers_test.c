/* SPDX-License-Identifier: Apache-2.0 */
/* Rates, percentiles and series through a real server over an engine that says what the test has set: the
 * right question is asked, sums, shares and percentiles are right, windows are widened and cut as
 * documented. */
#include "query/numbers_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>
#include <unistd.h>

static void without_a_window_lists_are_as_ever(void **state)
{
    struct fixture *f = *state;
    set_services(f);
    get_ok(f, NATIVE "/services");
    assert_has("{\"rows\":[{\"name\":\"batch\",\"color\":5},{\"name\":\"checkout\",\"color\":12},"
               "{\"name\":\"Silent\",\"color\":4}]");
    assert_has_not("rate");
    get_ok(f, NATIVE "/services/checkout/operations");
    assert_has_not("rate");
}

static void services_have_rates_shares_and_percentiles(void **state)
{
    struct fixture *f = *state;
    set_services(f);
    get_ok(f, NATIVE "/services?" WINDOW);
    assert_has("{\"from\":\"1700000040000000000\",\"to\":\"1700000640000000000\",\"window_s\":600,"
               "\"t0\":\"1700000040000000000\",\"step_s\":60,\"points\":10,\"partial\":false,"
               "\"rows\":[{\"name\":\"Silent\",");
    assert_int_equal(f->engine.red_query.range.min_unix_ns, T0);
    assert_int_equal(f->engine.red_query.range.max_unix_ns, T0 + 10 * MINUTE);
    assert_int_equal(f->engine.red_query.range.step_ns, MINUTE); /* the second question */
    assert_true(f->engine.red_query.wants_duration);
    assert_int_equal(f->engine.red_query.group, RED_BY_SERVICE | RED_BY_KIND | RED_BY_ENVIRONMENT);
    assert_null(f->engine.red_query.namespace);

    /* Of checkout SERVER and CONSUMER spans count, of batch, which has none, all. */
    assert_has("\"name\":\"checkout\",\"ns\":\"shop\",\"envs\":[\"prod\",\"stage\"],"
               "\"kind\":\"server\",");
    assert_has("\"basis\":\"entry\",\"count\":600,\"errors\":6,\"rate\":1,\"err\":0.01,\"p50\":");
    assert_near(number_after("\"name\":\"checkout\"", "\"p50\":"), 10e6, 0.0055);
    assert_near(number_after("\"name\":\"checkout\"", "\"p95\":"), 20e6, 0.0055);
    assert_near(number_after("\"name\":\"checkout\"", "\"p99\":"), 900e6, 0.0055);
    assert_has("\"slow\":{\"trace\":\"0000000000000000000000000000000a\","
               "\"span\":\"0000000000000000\",\"start\":\"1700000580000000000\","
               "\"dur\":900000000}");
    assert_has("\"last_seen\":\"1700000580000000000\",\"spark_rate\":[8.33333,1.5,0,0,0,0,0,0,0,"
               "0.166667],\"spark_p95\":[10000000,20000000,null,");
    assert_has("\"basis\":\"all\",\"count\":120,\"errors\":30,\"rate\":0.2,\"err\":0.25,");
    double checkout = number_after("\"name\":\"checkout\"", "\"impact\":");
    assert_near(checkout, 0.02 / (0.02 + 0.2), 0.02);
    assert_near(checkout + number_after("\"name\":\"batch\"", "\"impact\":"), 1, 1e-5);
    assert_has("{\"name\":\"Silent\",\"ns\":\"\",\"envs\":[],\"kind\":\"\",\"color\":");
    assert_has("\"basis\":\"all\",\"count\":0,\"errors\":0,\"rate\":0,\"err\":null,\"p50\":null,"
               "\"p90\":null,\"p95\":null,\"p99\":null,\"impact\":0,\"last_seen\":null}");
    assert_has("\"hidden\":0,\"bound\":0.0055,\"took_ms\":");
    assert_has_not("est_rate");
    assert_null(strstr(last.head, "spindle-incomplete"));
    f->engine.red.is_damaged = true;
    get_ok(f, NATIVE "/services?" WINDOW);
    assert_non_null(strstr(last.head, "\r\nspindle-incomplete: damaged\r\n"));
}

static void rows_are_sorted_found_and_cut_with_a_count(void **state)
{
    struct fixture *f = *state;
    set_services(f);
    get_ok(f, NATIVE "/services?" WINDOW "&sort=impact&limit=1");
    assert_has("\"rows\":[{\"name\":\"batch\"");
    assert_has("\"hidden\":2");
    get_ok(f, NATIVE "/services?" WINDOW "&sort=rate");
    assert_has("\"rows\":[{\"name\":\"checkout\"");
    get_ok(f, NATIVE "/services?" WINDOW "&sort=err");
    assert_has("\"rows\":[{\"name\":\"batch\"");
    get_ok(f, NATIVE "/services?" WINDOW "&find=SIL&spark=0");
    assert_has("\"rows\":[{\"name\":\"Silent\"");
    assert_has("\"hidden\":0");
    assert_has_not("checkout");
    assert_has_not("points");
    get_ok(f, NATIVE "/services?" WINDOW "&ns=shop&env=prod"); /* silent ones have neither */
    assert_has_not("Silent");
    assert_non_null(f->engine.red_query.namespace);
}

static void operations_have_their_share(void **state)
{
    struct fixture *f = *state;
    struct red_series *s = add_red(f, "checkout", "", "", "POST /pay", 2);
    struct red_point *p = add_calls(f, s, 0, 600, 0, 10 * NS_PER_MS);
    p->estimated_calls = 6000; /* one in ten was kept */
    p->estimated_errors = 50;  /* of which none is in the rollup itself */
    s = add_red(f, "checkout", "", "", "SELECT", 3);
    add_calls(f, s, 1, 1200, 12, 2 * NS_PER_MS);
    get_ok(f, NATIVE "/services/checkout/operations?" WINDOW);
    assert_string_equal(f->engine.text, "checkout");
    assert_has("{\"name\":\"POST /pay\",\"kind\":\"server\",\"spans\":600,\"count\":600,"
               "\"errors\":0,\"rate\":1,\"err\":0,\"est_count\":6000,\"est_errors\":50,\"est_"
               "rate\":10,\"p50\":");
    assert_has("\"time\":6000000000,\"share\":1,");
    assert_has("{\"name\":\"SELECT\",\"kind\":\"client\",\"spans\":1200,");
    assert_has("\"time\":2400000000,\"share\":0.4,");
    get_ok(f, NATIVE "/services/checkout/operations?" WINDOW "&kind=client");
    assert_int_equal(f->engine.red_query.kinds, 1U << 3);
    assert_has_not("\"rank\"");
}

static void a_duration_is_ranked_among_an_operations_spans(void **state)
{
    struct fixture *f = *state;
    struct red_series *s = add_red(f, "checkout", "", "", "POST /pay", 2);
    add_calls(f, s, 0, 300, 0, 10 * NS_PER_MS);
    add_calls(f, s, 1, 100, 0, 40 * NS_PER_MS);
    get_ok(f, NATIVE "/services/checkout/operations?" WINDOW "&name=POST%20/pay&than=20ms");
    assert_has("\"rank\":0.75,");
    assert_int_equal(f->engine.red_query.name.len, strlen("POST /pay"));
    get_ok(f, NATIVE "/services/checkout/operations?" WINDOW "&than=41ms");
    assert_has("\"rank\":1,");
    get_ok(f, NATIVE "/services/checkout/operations?" WINDOW "&than=0s");
    assert_has("\"rank\":0,");
}

static void windows_are_widened_and_cut(void **state)
{
    struct fixture *f = *state;
    set_services(f);
    /* Seconds become the minutes they lie in. */
    get_ok(f, NATIVE "/services/x/series?from=1700000047000000000&to=1700000639000000001");
    assert_has("\"from\":\"1700000040000000000\",\"to\":\"1700000640000000000\",\"window_s\":600,");
    /* A day: 30 points or fewer, at multiples of the step. */
    get_ok(f, NATIVE "/services?from=1700000040000000000&to=1700086440000000000");
    assert_has("\"window_s\":86400,\"t0\":\"1699999200000000000\",\"step_s\":3600,\"points\":25,");
    get_ok(f, NATIVE "/services/checkout/series?from=1700000040000000000&to=1700086440000000000");
    assert_has("\"step_s\":1800,\"points\":49,");
    get_ok(f, NATIVE "/services/checkout/series?" WINDOW "&step=5m");
    assert_has("\"t0\":\"1699999800000000000\",\"step_s\":300,\"points\":3,");
    /* What is to come does not count as time without calls. */
    clock_fake_set(T0 + 90 * NS_PER_S, clock_mono_ns());
    get_ok(f, NATIVE "/services/checkout/series?from=1700000040000000000&timeout=1000h");
    clock_fake_off();
    assert_has("\"to\":\"1700000130000000000\",\"window_s\":90,");
    assert_has("\"points\":2,\"partial\":true,");
    assert_has("\"rate\":6.66667,");                 /* 600 calls in 90 s */
    assert_has("\"series\":{\"rate\":[8.33333,3],"); /* 90 calls in the 30 s of the second minute */
}

/* Time before all that is kept is not time in which nothing happened. */
static void time_before_the_first_span_does_not_count(void **state)
{
    struct fixture *f = *state;
    struct red_series *s = add_red(f, "web", "", "", "GET /", 2);
    add_calls(f, s, 5, 300, 0, NS_PER_MS);
    add_calls(f, s, 9, 240, 0, NS_PER_MS);
    f->engine.statistics.first_arrival_unix_ns = T0 + 5 * MINUTE + 30 * NS_PER_S;
    get_ok(f, NATIVE "/services/web/series?" WINDOW "&prev=period");
    assert_has("\"window_s\":270,");
    assert_has("\"count\":540,\"errors\":0,\"rate\":2,");
    assert_has("\"series\":{\"rate\":[null,null,null,null,null,10,0,0,0,4],");
    get_ok(f, NATIVE "/services?" WINDOW);
    assert_has("\"spark_rate\":[null,null,null,null,null,10,0,0,0,4],");
    assert_has("\"rate\":2,");

    get_ok(f, NATIVE "/services/web/series?from=1699000000000000000&to=1700000640000000000");
    /* Asked in steps that begin before it; so long a window ends with an hour. */
    assert_has(
        "\"from\":\"1698998400000000000\",\"to\":\"1700002800000000000\",\"window_s\":2430,");

    /* Of spans that were old when they came, the first of them is the begin. */
    f->engine.statistics.first_arrival_unix_ns = T0 + 8 * MINUTE;
    get_ok(f, NATIVE "/services/web/series?" WINDOW);
    assert_has("\"window_s\":300,");
    assert_has("\"series\":{\"rate\":[null,null,null,null,null,5,0,0,0,4],");
    f->engine.statistics.first_arrival_unix_ns = T0 + 60 * MINUTE;
    get_ok(f, NATIVE "/services/web/series?" WINDOW);
    assert_has("\"window_s\":300,");

    /* Nothing is known of the window at all. */
    f->engine.red.count = 0;
    get_ok(f, NATIVE "/services/web/series?" WINDOW "&prev=period");
    assert_has("\"window_s\":0,");
    assert_has("\"count\":0,\"errors\":0,\"rate\":null,\"err\":null,");
    assert_has("\"series\":{\"rate\":[null,null,null,null,null,null,null,null,null,null],");
}

static void series_have_parts_and_another_window(void **state)
{
    struct fixture *f = *state;
    set_services(f);
    get_ok(f, NATIVE "/services/checkout/series?" WINDOW);
    /* The fake gives all services for one: the basis of all is entry spans. */
    assert_has("\"basis\":\"entry\",\"count\":600,\"errors\":6,\"rate\":1,\"err\":0.01,");
    assert_has("\"series\":{\"rate\":[8.33333,1.5,0,0,0,0,0,0,0,0.166667],\"err\":[0.008,0,null,"
               "null,null,null,null,null,null,0.2],\"p50\":[10000000,20000000,null,");
    assert_has("\"count\":[500,90,0,0,0,0,0,0,0,10],\"errors\":[4,0,0,0,0,0,0,0,0,2]}");
    assert_has_not("\"by\"");
    assert_has_not("\"prev\"");
    get_ok(f, NATIVE "/services/checkout/series?" WINDOW "&by=env&op=x&prev=24h");

    assert_has("\"by\":[{\"key\":\"prod\",\"count\":1600,");
    assert_has("\"by_hidden\":0,\"prev\":{\"from\":\"1699913640000000000\","
               "\"to\":\"1699914240000000000\",\"count\":600,");
    assert_int_equal(f->engine.red_query.range.min_unix_ns, T0 - 86400 * NS_PER_S);
    get_ok(f, NATIVE "/services/checkout/series?" WINDOW "&prev=period");
    assert_int_equal(f->engine.red_query.range.max_unix_ns, T0);
}

static void nothing_has_a_reason(void **state)
{
    struct fixture *f = *state;
    get_ok(f, NATIVE "/services/x/series?" WINDOW);
    assert_has("\"count\":0,\"errors\":0,\"rate\":0,\"err\":null,\"p50\":null,");
    assert_has("\"reason\":\"no_match\"");
    get_ok(f, NATIVE "/services/x/instances?" WINDOW);
    get_ok(f, NATIVE "/services/x/series"); /* the last quarter of an hour */
    assert_has("\"points\":1");
}

static void instances_are_counted_among_spans(void **state)
{
    struct fixture *f = *state;
    struct attribute_value one = {
        .value = { .type = EXPR_STRING, .bytes = BYTES_LITERAL("checkout-7f9") }, .count = 1200
    };
    f->engine.values = &one;
    f->engine.value_count = 1;
    get_ok(f, NATIVE "/services/checkout/instances?" WINDOW "&env=prod");
    assert_string_equal(f->engine.text, "service.instance.id");
    assert_string_equal(f->engine.filter,
                        "{ ((resource.service.name = \"checkout\") && "
                        "((resource.deployment.environment.name text= \"prod\") || "
                        "(resource.deployment.environment text= \"prod\"))) && "
                        "(span:status = error) }");
    assert_has("\"basis\":\"all\",\"rows\":[{\"name\":\"checkout-7f9\",\"count\":1200,\"errors\":"
               "1200,\"rate\":2,"
               "\"err\":1}],\"complete\":true,\"scanned\":{");

    /* Of a service that answers calls: those, as in its other figures. */
    set_services(f);
    get_ok(f, NATIVE "/services/checkout/instances?" WINDOW);
    assert_string_equal(f->engine.filter, "{ ((resource.service.name = \"checkout\") && "
                                          "((span:kind = server) || (span:kind = consumer))) && "
                                          "(span:status = error) }");
    assert_has("\"basis\":\"entry\",\"rows\":[{");
}

static void wrong_parameters_are_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *parameter;
    } cases[] = {
        { "/services/a/series?from=x", "from" },
        { "/services/a/series?from=5&to=4", "to" },
        { "/services/a/series?to=18446744073709551615&from=0", "to" },
        { "/services/a/series?prev=soon", "prev" },
        { "/services/a/series?prev=-5m", "prev" },
        { "/services/a/series?prev=90s", "prev" },
        { "/services/a/series?prev=2000000h", "prev" },
        { "/services?from=now-1h&sort=color", "sort" },
        { "/services?from=now-1h&spark=2", "spark" },
        { "/services?from=now-1h&limit=0", "limit" },
        { "/services/a/operations?from=now-1h&kind=x", "kind" },
        { "/services/a/operations?from=now-1h&than=5", "than" },
        { "/services/a/series?step=30s", "step" },
        { "/services/a/series?step=90s", "step" },
        { "/services/a/series?step=0s", "step" },
        { "/services/a/series?from=18000000000000000000&to=18300000000000000000&step=2500000h",
          "step" },
        { "/services/a/series?from=now-30d&step=1m", "step" },
        { "/services/a/series?by=color", "by" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128], parameter[64];
        (void)snprintf(path, sizeof path, NATIVE "%s", cases[i].path);
        (void)snprintf(parameter, sizeof parameter, "\"parameter\":\"%s\"", cases[i].parameter);
        if (get(f, path) != 400)
            fail_msg("%s: %u %s", path, last.status, last.body);
        assert_has(parameter);
    }
    static const char *const unknown[] = { "/services", "/services/a/operations",
                                           "/services/a/series", "/services/a/instances" };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, NATIVE "%s?colour=red", unknown[i]);
        assert_int_equal(get(f, path), 400);
    }
}

static void failures_of_the_engine_are_answers(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = { "/services/a/series?prev=period", "/services?from=now-1h",
                                         "/services/a/operations?from=now-1h",
                                         "/services/a/series?by=kind&prev=1h",
                                         "/services/a/instances" };
    static const struct {
        enum err result;
        unsigned status;
    } cases[] = {
        { ERR_IO, 500 }, { ERR_CORRUPT, 500 }, { ERR_DEADLINE, 504 }, { ERR_TOO_LARGE, 422 }
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
            char path[128];
            (void)snprintf(path, sizeof path, NATIVE "%s", paths[i]);
            f->engine.result = cases[k].result;
            assert_int_equal(get(f, path), cases[k].status);
        }
    f->engine.result = ERR_OK;
}

/* ---- Jaeger ---- */

static void jaegers_monitor_has_its_numbers(void **state)
{
    struct fixture *f = *state;
    struct red_series *s = add_red(f, "shop", "", "", "GET /", 2);
    add_calls(f, s, 0, 60, 0, 10 * NS_PER_MS);
    add_calls(f, s, 1, 60, 30, 20 * NS_PER_MS);
#define ASK "service=shop&endTs=1700000220000&lookback=180000&step=60000&ratePer=120000"
    get_ok(f, "/api/metrics/calls?" ASK);
    assert_has(
        "{\"name\":\"service_call_rate\",\"type\":\"GAUGE\",\"help\":\"calls/sec, grouped by "
        "service\",\"metrics\":[{\"labels\":[{\"name\":\"service_name\",\"value\":\"shop\"}],"
        "\"metricPoints\":[{\"gaugeValue\":{\"doubleValue\":0},\"timestamp\":"
        "\"2023-11-14T22:14:00Z\"},{\"gaugeValue\":{\"doubleValue\":0.5},\"timestamp\":"
        "\"2023-11-14T22:15:00Z\"},{\"gaugeValue\":{\"doubleValue\":1},\"timestamp\":"
        "\"2023-11-14T22:16:00Z\"},{\"gaugeValue\":{\"doubleValue\":0.5},\"timestamp\":"
        "\"2023-11-14T22:17:00Z\"}]}]}");
    assert_int_equal(f->engine.red_query.kinds, 1U << 2);
    assert_int_equal(f->engine.red_query.range.min_unix_ns, T0 - 2 * MINUTE);
    assert_int_equal(f->engine.red_query.range.step_ns, MINUTE);
    get_ok(f, "/api/metrics/errors?" ASK "&spanKind=client&spanKind=server");
    assert_has("\"service_error_rate\"");
    assert_has("{\"doubleValue\":\"NaN\"},\"timestamp\":\"2023-11-14T22:14:00Z\"");
    assert_has("{\"doubleValue\":0.25},\"timestamp\":\"2023-11-14T22:16:00Z\"");
    assert_has("{\"doubleValue\":0.5},\"timestamp\":\"2023-11-14T22:17:00Z\"");
    assert_int_equal(f->engine.red_query.kinds, 1U << 2 | 1U << 3);
    get_ok(f, "/api/metrics/latencies?" ASK "&quantile=0.95&groupByOperation=true");
    assert_has("\"service_operation_latencies\"");
    assert_has("{\"name\":\"operation\",\"value\":\"GET /\"}");
    assert_has("{\"doubleValue\":10},\"timestamp\":\"2023-11-14T22:15:00Z\"");
    assert_near(number_after("22:15", "\"doubleValue\":"), 20, 0.0055);
    get_ok(f, "/api/metrics/minstep");
    assert_has("{\"data\":60000,");

    f->engine.red.count = 0;
    get_ok(f, "/api/metrics/calls?service=nobody");
    assert_has("\"metrics\":[]}");
    static const char *const wrong[] = { "calls",
                                         "latencies?service=a",
                                         "calls?service=a&step=0",
                                         "latencies?service=a&quantile=1.5",
                                         "latencies?service=a&quantile=0.5x",
                                         "calls?service=a&spanKind=inner",
                                         "calls?service=a&lookback=86400000000",
                                         "calls?service=a&endTs=1",
                                         "calls?service=a&groupByOperation=maybe" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char path[128];
        (void)snprintf(path, sizeof path, "/api/metrics/%s", wrong[i]);
        if (get(f, path) != 400)
            fail_msg("%s: %u %s", path, last.status, last.body);
    }
}

static unsigned calls_of(struct fixture *f)
{
    pthread_mutex_lock(&f->engine.lock);
    unsigned calls = f->engine.calls;
    pthread_mutex_unlock(&f->engine.lock);
    return calls;
}

/* What the page asks, so that what the engine keeps of the one is found by the other. */
static void long_ranges_are_asked_ahead_as_the_page_asks(void **state)
{
    struct fixture *f = *state;
    static const char *const ranges[] = { "24h", "7d", "30d" };
    set_services(f);
    uint64_t hour = 3600 * NS_PER_S, begun;
    unsigned asked, asked_ahead;
    struct metrics *metrics = metrics_open();
    struct red_query red;
    struct edge_query edges;
    do { /* until all of it is within an hour */
        begun = clock_unix_ns() / hour;
        unsigned before = calls_of(f);
        for (size_t i = 0; i < 3; i++) {
            char path[80];
            (void)snprintf(path, sizeof path, NATIVE "/services?from=now-%s", ranges[i]);
            get_ok(f, path);
            (void)snprintf(path, sizeof path, NATIVE "/map?from=now-%s", ranges[i]);
            get_ok(f, path);
        }
        asked = calls_of(f) - before;
        red = f->engine.red_query;
        edges = f->engine.edge_query;
        struct query_service *ahead = NULL;
        const struct query_options options = { .engine = &f->engine.engine, .metrics = metrics };
        assert_int_equal(query_open(&options, &ahead), ERR_OK);
        before = calls_of(f);
        query_warm(ahead);
        for (unsigned look = 0; look < 30000 && calls_of(f) - before < asked; look++)
            (void)usleep(1000);
        query_close(ahead); /* which waits for what is being asked */
        asked_ahead = calls_of(f) - before;
    } while (clock_unix_ns() / hour != begun);
    metrics_close(metrics);
    const struct red_query *red_ahead = &f->engine.red_query;
    const struct edge_query *edges_ahead = &f->engine.edge_query;
    assert_true(asked > 12);
    assert_int_equal(asked_ahead, asked);
    assert_memory_equal(&red_ahead->range, &red.range, sizeof red.range);
    assert_int_equal(red_ahead->group, red.group);
    assert_int_equal(red_ahead->kinds, red.kinds);
    assert_int_equal(red_ahead->wants_duration, red.wants_duration);
    assert_memory_equal(&edges_ahead->range, &edges.range, sizeof edges.range);
    assert_int_equal(edges_ahead->wants_durations, edges.wants_durations);
    assert_int_equal(edges_ahead->skips_services, edges.skips_services);
    assert_int_equal(edges_ahead->patience_ns, edges.patience_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(without_a_window_lists_are_as_ever),
        WITH_SERVER(services_have_rates_shares_and_percentiles),
        WITH_SERVER(rows_are_sorted_found_and_cut_with_a_count),
        WITH_SERVER(operations_have_their_share),
        WITH_SERVER(a_duration_is_ranked_among_an_operations_spans),
        WITH_SERVER(windows_are_widened_and_cut),
        WITH_SERVER(time_before_the_first_span_does_not_count),
        WITH_SERVER(series_have_parts_and_another_window),
        WITH_SERVER(nothing_has_a_reason),
        WITH_SERVER(long_ranges_are_asked_ahead_as_the_page_asks),
        WITH_SERVER(instances_are_counted_among_spans),
        WITH_SERVER(jaegers_monitor_has_its_numbers),
        WITH_SERVER(wrong_parameters_are_named),
        WITH_SERVER(failures_of_the_engine_are_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
