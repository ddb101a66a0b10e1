/* SPDX-License-Identifier: Apache-2.0 */
/* The API over the engine that people run: what was stored is found by every family, page by page without
 * a gap or a repetition, and alike whether it lies in the journal or in row groups. */
#include "query/engine_testing.h"

#include "base/mem.h"
#include "base/text.h"
#include "proto/otlp_json.h"
#include "query/test_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TRACES 30
#define START  UINT64_C(1700000000000000000)

/* ---- Storing ---- */

static void store(struct engine_fixture *f, enum signal signal, struct buffer *json, uint64_t items)
{
    struct buffer strange, body;
    struct err_note note = { 0 };
    struct otlp_report report;
    buffer_init(&strange, 1 << 22);
    buffer_init(&body, 1 << 22);
    if (otlp_json_read(signal, buffer_bytes(json), &otlp_limits_default, &strange, &note) != ERR_OK)
        fail_msg("the test's own input is wrong at %zu: %s", note.offset, note.what);
    assert_int_equal(
        otlp_check(signal, buffer_bytes(&strange), &otlp_limits_default, 0, &report, &note),
        ERR_OK);
    assert_int_equal(otlp_rewrite(signal, buffer_bytes(&strange), &otlp_limits_default, 0, &body),
                     ERR_OK);
    engine_fixture_store(f, signal, buffer_bytes(&body), items);
    buffer_deinit(&strange);
    buffer_deinit(&body);
}

/* Trace n starts n seconds after START and lasts (n * 7 % 30 + 1) ms; its root is "root" of service "a" or
 * "b", its child "child" has the attribute n as an int, and fails in every fifth. */
static void store_all(struct engine_fixture *f)
{
    struct buffer spans, logs;
    buffer_init(&spans, 1 << 22);
    buffer_init(&logs, 1 << 22);
    buffer_append_text(&spans, "{\"resourceSpans\":[");
    buffer_append_text(&logs, "{\"resourceLogs\":[");
    for (unsigned n = 0; n < TRACES; n++) {
        unsigned long long start = START + n * NS_PER_S;
        unsigned long long end = start + (n * 7 % 30 + 1) * NS_PER_MS;
        const char *comma = n == 0 ? "" : ",";
        static const char resource[] = "%s{\"resource\":{\"attributes\":[{\"key\":"
                                       "\"service.name\",\"value\":{\"stringValue\":\"%s\"}}]},";
        buffer_printf(&spans, resource, comma, n % 2 == 0 ? "a" : "b");
        buffer_printf(&spans,
                      "\"scopeSpans\":[{\"spans\":[{\"traceId\":\"%032x\",\"spanId\":\"%016x\","
                      "\"name\":\"root\",\"kind\":2,\"startTimeUnixNano\":\"%llu\","
                      "\"endTimeUnixNano\":\"%llu\"},",
                      n + 1, 2 * n + 1, start, end);
        buffer_printf(&spans,
                      "{\"traceId\":\"%032x\",\"spanId\":\"%016x\",\"parentSpanId\":\"%016x\","
                      "\"name\":\"child\",\"kind\":3,\"startTimeUnixNano\":\"%llu\","
                      "\"endTimeUnixNano\":\"%llu\",\"status\":{\"code\":%d},\"attributes\":["
                      "{\"key\":\"n\",\"value\":{\"intValue\":\"%u\"}}]}]}]}",
                      n + 1, 2 * n + 2, 2 * n + 1, start, end, n % 5 == 0 ? 2 : 0, n);
        buffer_printf(&logs, resource, comma, "a");
        buffer_printf(&logs,
                      "\"scopeLogs\":[{\"logRecords\":[{\"timeUnixNano\":\"%llu\","
                      "\"severityNumber\":%d,\"body\":{\"stringValue\":\"record %u\"},"
                      "\"traceId\":\"%032x\"}]}]}",
                      start, n % 3 == 0 ? 17 : 9, n, n + 1);
    }
    buffer_append_text(&spans, "]}");
    buffer_append_text(&logs, "]}");
    store(f, SIGNAL_TRACES, &spans, 2 * TRACES);
    store(f, SIGNAL_LOGS, &logs, TRACES);
    buffer_deinit(&spans);
    buffer_deinit(&logs);
}

/* ---- Asking ---- */

static struct reply last;

static void get(struct engine_fixture *f, const char *path)
{
    reply_free(&last);
    client_get(f->port, path, "", &last);
    if (last.status != 200)
        fail_msg("%s gives %u: %s", path, last.status, last.body);
}

/* The numbers behind each occurrence of `mark` in the answer; returns how many. */
static size_t numbers(const char *mark, int base, unsigned long *out, size_t max)
{
    size_t count = 0;
    for (const char *at = last.body; (at = strstr(at, mark)) != NULL && count < max;) {
        at += strlen(mark);
        out[count++] = strtoul(at, NULL, base);
    }
    return count;
}

/* Every page of a question. Returns how many rows there were in all. */
static size_t pages(struct engine_fixture *f, const char *question, const char *mark, int base,
                    unsigned long *out, size_t max)
{
    char path[600], cursor[128];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s", question);
    for (unsigned page = 0; page < 20; page++) {
        get(f, path);
        assert_non_null(strstr(last.body, "\"complete\":true"));
        count += numbers(mark, base, out + count, max - count);
        const char *at = strstr(last.body, "\"cursor\":\"");
        if (at == NULL)
            return count;
        assert_int_equal(sscanf(at, "\"cursor\":\"%100[A-Za-z0-9_-]\"", cursor), 1);
        (void)snprintf(path, sizeof path, "%s&cursor=%s", question, cursor);
    }
    fail_msg("%s does not end", question);
    return 0;
}

static int by_duration(const void *a, const void *b)
{
    unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
    return (int)((y - 1) * 7 % 30) - (int)((x - 1) * 7 % 30);
}

static void check_everything(struct engine_fixture *f)
{
    unsigned long ids[64], expected[TRACES];
    assert_int_equal(pages(f, "/api/spindle/v1/traces?limit=7", "{\"id\":\"", 16, ids, 64), TRACES);
    for (size_t i = 0; i < TRACES; i++)
        assert_int_equal(ids[i], TRACES - i);

    for (size_t i = 0; i < TRACES; i++)
        expected[i] = i + 1;
    qsort(expected, TRACES, sizeof expected[0], by_duration);
    assert_int_equal(
        pages(f, "/api/spindle/v1/traces?sort=slowest&limit=4", "{\"id\":\"", 16, ids, 64), TRACES);
    assert_memory_equal(ids, expected, sizeof expected);

    /* { .n >= 20 && status = error } */
    assert_int_equal(pages(f, "/api/spindle/v1/traces?limit=1&q=%7B.n%3E=20%26%26status=error%7D",
                           "{\"id\":\"", 16, ids, 64),
                     2);
    assert_true(ids[0] == 26 && ids[1] == 21);
    assert_int_equal(pages(f, "/api/spindle/v1/traces?service=b&operation=child&attributes=n=7",
                           "{\"id\":\"", 16, ids, 64),
                     1);
    assert_int_equal(ids[0], 8);
    assert_non_null(strstr(last.body, "\"match_span\":\"0000000000000010\""));
    assert_non_null(strstr(last.body, "\"root_name\":\"root\",\"spans\":2,\"errors\":0"));
    assert_int_equal(
        pages(f, "/api/spindle/v1/traces?min_trace_duration=30ms", "{\"id\":\"", 16, ids, 64),
        1); /* 17 * 7 % 30 = 29 */
    assert_int_equal(ids[0], 18);

    assert_int_equal(pages(f, "/api/spindle/v1/logs?limit=3&order=oldest&q=%7Bseverity=error%7D",
                           "\"body\":\"record ", 10, ids, 64),
                     10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(ids[i], 3 * i);
    get(f, "/api/spindle/v1/trace/a/logs");
    assert_non_null(strstr(last.body, "record 9"));
    assert_null(strstr(last.body, "record 1"));

    get(f, "/api/spindle/v1/services/a/operations");
    assert_non_null(strstr(last.body, "{\"name\":\"child\",\"kind\":\"client\","));
    get(f, "/api/services");
    assert_string_equal(last.body, "{\"data\":[\"a\",\"b\"],\"total\":2,\"limit\":0,\"offset\":0,"
                                   "\"errors\":null}");
    get(f, "/api/spindle/v1/resolve?id=0000000000000014");
    assert_string_equal(last.body,
                        "{\"kind\":\"trace\",\"trace\":\"00000000000000000000000000000014\"}");
    get(f, "/api/spindle/v1/resolve?id=0000000000000032");
    assert_string_equal(last.body, "{\"kind\":\"span\",\"trace\":\"0000000000000000000000000000"
                                   "0019\",\"span\":\"0000000000000032\"}");

    get(f, "/api/traces?service=a&tag=n:10&start=1600000000000000");
    assert_int_equal(numbers("{\"traceID\":\"", 16, ids, 64), 3); /* trace, two spans */
    assert_int_equal(ids[0], 11);
    assert_non_null(strstr(last.body, "{\"key\":\"error\",\"type\":\"bool\",\"value\":true}"));
    get(f, "/api/v3/trace-summaries?query.startTimeMin=2023-01-01T00:00:00Z"
           "&query.startTimeMax=2024-01-01T00:00:00Z&query.durationMin=30ms");
    assert_non_null(strstr(last.body, "{\"summaries\":[{\"traceId\":\"000000000000000000000000000"
                                      "00012\",\"rootServiceName\":\"b\""));
}

/* ---- Counts ---- */

#define RANGE "from=1700000000000000000&to=1700000030000000000"

/* Cells against the spans that store_all() stores: two of each trace, alike in time. */
static void check_heatmap(struct engine_fixture *f, const char *path, unsigned cols, uint64_t d0,
                          unsigned *out_spans)
{
    unsigned long edges[128];
    unsigned spans = 0, errors = 0, want[64][128] = { { 0 } }, want_errors[64][128] = { { 0 } };
    size_t rows = 0;
    get(f, path);
    assert_non_null(strstr(last.body, "\"t0\":\"1700000000000000000\""));
    const char *at = strstr(last.body, "\"y\":[") + 5;
    do {
        char *end;
        edges[rows++] = strtoul(at + 1, &end, 10);
        at = end;
    } while (*at == ',');
    for (unsigned n = 0; n < TRACES; n++) {
        uint64_t duration = (n * 7 % 30 + 1) * NS_PER_MS;
        size_t y = 0;
        while (y + 2 < rows && edges[y + 1] <= duration)
            y++;
        if (duration < d0)
            continue;
        assert_true(edges[y] <= duration && duration < edges[y + 1]);
        want[n * cols / TRACES][y] += 2;
        want_errors[n * cols / TRACES][y] += n % 5 == 0;
    }
    at = strstr(last.body, "\"cells\":[") + 9;
    for (unsigned x, y, count, failed; sscanf(at, "[%u,%u,%u,%u]", &x, &y, &count, &failed) == 4 ||
                                       sscanf(at, ",[%u,%u,%u,%u]", &x, &y, &count, &failed) == 4;
         at = strchr(at, ']') + 1) {
        assert_true(x < cols && y + 1 < rows);
        assert_int_equal(count, want[x][y]);
        assert_int_equal(failed, want_errors[x][y]);
        spans += count;
        errors += failed;
    }
    char text[100];
    (void)snprintf(text, sizeof text, "\"spans\":%u,\"errors\":%u,\"approximate\":false", spans,
                   errors);
    assert_non_null(strstr(last.body, text));
    assert_non_null(strstr(last.body, "\"complete\":true"));
    *out_spans = spans;
}

/* Columns of minutes and longer come from rollups: counts are the same, and a duration is in its row, or beside it where
 * it is within the bound of an edge. */
static void check_rollup_heatmap(struct engine_fixture *f, const char *parameters, unsigned kept,
                                 unsigned wanted_errors)
{
    char path[300], text[100];
    unsigned long edges[128];
    unsigned spans = 0, errors = 0, have[128] = { 0 };
    size_t rows = 0;
    (void)snprintf(path, sizeof path,
                   "/api/spindle/v1/heatmap?from=1699999220000000000&to=1700002820000000000%s",
                   parameters);
    get(f, path);
    assert_non_null(
        strstr(last.body, "{\"t0\":\"1699999200000000000\",\"step\":\"300000000000\","));
    assert_non_null(strstr(last.body, "\"cols\":13,"));
    assert_non_null(strstr(last.body, "\"source\":\"rollups\",\"bound\":0.0055,"));
    const char *at = strstr(last.body, "\"y\":[") + 5;
    for (char *end; rows < 128 && (rows == 0 || *at == ','); at = end)
        edges[rows++] = strtoul(at + 1, &end, 10);
    at = strstr(last.body, "\"cells\":[") + 9;
    for (unsigned x, y, count, failed; sscanf(at, "[%u,%u,%u,%u]", &x, &y, &count, &failed) == 4 ||
                                       sscanf(at, ",[%u,%u,%u,%u]", &x, &y, &count, &failed) == 4;
         at = strchr(at, ']') + 1) {
        assert_true(x == 2 && y + 1 < rows); /* 800 s after the first column begins */
        have[y] += count;
        spans += count;
        errors += failed;
    }
    for (size_t y = 0; y + 1 < rows; y++) {
        unsigned least = 0, most = 0;
        for (unsigned n = 0; n < TRACES; n++) {
            double duration = (double)((n * 7 % 30 + 1) * NS_PER_MS);
            bool is_in =
                duration >= (double)edges[y] * 1.0055 && duration < (double)edges[y + 1] / 1.0055;
            bool may_be =
                duration >= (double)edges[y] / 1.0055 && duration < (double)edges[y + 1] * 1.0055;
            least += is_in ? 2 : 0;
            most += may_be ? 2 : 0;
        }
        assert_true(have[y] <= most && (kept < 2 * TRACES || have[y] >= least));
    }
    assert_int_equal(spans, kept);
    assert_int_equal(errors, wanted_errors);
    (void)snprintf(text, sizeof text, "\"spans\":%u,\"errors\":%u,\"approximate\":false", kept,
                   wanted_errors);
    assert_non_null(strstr(last.body, text));
    assert_non_null(strstr(last.body, "\"covered_from\":\"1699999200000000000\""));
    assert_non_null(strstr(last.body, "\"complete\":true"));
}

static void check_counts(struct engine_fixture *f)
{
    unsigned spans;
    unsigned long ids[64];
    check_heatmap(f, "/api/spindle/v1/heatmap?metric=duration&cols=10&" RANGE, 10, 0, &spans);
    assert_int_equal(spans, 2 * TRACES);
    check_heatmap(f, "/api/spindle/v1/heatmap?cols=30&rows=8&" RANGE, 30, 0, &spans);
    assert_int_equal(spans, 2 * TRACES);
    check_rollup_heatmap(f, "&cols=12", 2 * TRACES, 6);
    check_rollup_heatmap(f, "&cols=12&rows=8", 2 * TRACES, 6);
    check_rollup_heatmap(f, "&cols=12&q=%7Bstatus=error%7D", 6, 6);
    check_rollup_heatmap(f, "&cols=12&q=%7Bkind=server%7D", TRACES, 0);
    check_rollup_heatmap(f, "&cols=12&q=%7Bresource.service.name=%22a%22%7D", TRACES, 3);
    get(f, "/api/spindle/v1/heatmap?cols=12&from=1699999220000000000&to=1700002820000000000"
           "&q=%7B.n=7%7D");
    assert_non_null(strstr(last.body, "\"source\":\"spans\",\"covered_from\""));
    /* Without bounds: those of what is stored. */
    get(f, "/api/spindle/v1/heatmap?q=%7Bstatus=error%7D");
    assert_non_null(strstr(last.body, "{\"t0\":\"1700000000000000000\",\"step\":\"483333334\","));
    assert_non_null(strstr(last.body, "\"spans\":6,\"errors\":6,"));
    get(f, "/api/spindle/v1/heatmap?q=%7BtraceDuration%3E20ms%7D&" RANGE);
    assert_non_null(strstr(last.body, "\"spans\":60,\"errors\":6,\"approximate\":true"));
    get(f, "/api/spindle/v1/heatmap?q=%7B.n=77%7D&" RANGE);
    assert_non_null(strstr(last.body, "\"y\":[],\"cells\":[],\"max\":0,\"spans\":0,"));
    assert_non_null(strstr(last.body, "\"reason\":\"out_of_retention\""));

    /* A box has the spans that a search in it finds. */
    check_heatmap(f, "/api/spindle/v1/heatmap?cols=10&box=,,25000000,&" RANGE, 10, 25 * NS_PER_MS,
                  &spans);
    assert_int_equal(spans, 12);
    assert_int_equal(
        pages(f, "/api/spindle/v1/traces?limit=4&box=,,25000000,", "{\"id\":\"", 16, ids, 64), 6);
    assert_int_equal(pages(f,
                           "/api/spindle/v1/traces?box=1700000010000000000,1700000020000000000,"
                           "10000000,20000001",
                           "{\"id\":\"", 16, ids, 64),
                     4);
    for (size_t i = 0; i < 4; i++) {
        unsigned long n = ids[i] - 1, ms = n * 7 % 30 + 1;
        assert_true(n >= 10 && n < 20 && ms >= 10 && ms <= 20);
    }

    get(f, "/api/spindle/v1/traces?limit=3&hits=10&q=%7Bname=%22child%22%7D&" RANGE);
    assert_non_null(strstr(last.body, "\"hits\":{\"t0\":\"1700000000000000000\",\"step\":"
                                      "\"3000000000\",\"n\":[3,3,3,3,3,3,3,3,3,3],\"total\":30,"
                                      "\"approximate\":false,\"covered_from\":"
                                      "\"1700000000000000000\",\"complete\":true}"));
    assert_int_equal(
        pages(f, "/api/spindle/v1/traces?limit=7&hits=10&" RANGE, "{\"id\":\"", 16, ids, 64),
        TRACES);
    assert_null(strstr(last.body, "\"hits\"")); /* with the first page only */

    get(f, "/api/spindle/v1/logs/histogram?cols=10&" RANGE);
    assert_non_null(strstr(last.body, "\"n\":[[0,0,0,0,0,0,0,0,0,0],[0,0,0,0,0,0,0,0,0,0],"
                                      "[0,0,0,0,0,0,0,0,0,0],[2,2,2,2,2,2,2,2,2,2],"
                                      "[0,0,0,0,0,0,0,0,0,0],[1,1,1,1,1,1,1,1,1,1],"
                                      "[0,0,0,0,0,0,0,0,0,0]],\"total\":30,"));
    get(f, "/api/spindle/v1/logs/histogram?q=%7Bseverity%3E=warn%7D");
    assert_non_null(strstr(last.body, "\"total\":10,"));
}

static void check_refusals(struct engine_fixture *f)
{
    static const char *const wrong[] = {
        "heatmap?metric=bytes",      "heatmap?cols=9",        "heatmap?rows=100",
        "heatmap?box=1,2,3",         "heatmap?box=1,2,3,4,5", "heatmap?box=2,2,,",
        "heatmap?box=a,,,",          "heatmap?box=,,5,4",     "traces?box=1,-2,3,4",
        "traces?hits=1000",          "logs/histogram?cols=x", "heatmap?q=%7B",
        "heatmap?to=2000&from=3000",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "/api/spindle/v1/%s", wrong[i]);
        reply_free(&last);
        client_get(f->port, path, "", &last);
        if (last.status != 400)
            fail_msg("%s gives %u: %s", path, last.status, last.body);
    }
}

/* ---- What differs ---- */

static void post(struct engine_fixture *f, const char *body, unsigned status)
{
    reply_free(&last);
    client_post(f->port, "/api/spindle/v1/attributes/compare", "application/json", body, &last);
    if (last.status != status)
        fail_msg("%s gives %u: %s", body, last.status, last.body);
}

static void check_comparison(struct engine_fixture *f)
{
    /* Those of traces 10 to 13, of 30, are the only ones of their second, and each has an n of its own. */
    post(f,
         "{\"q\":\"{ name = \\\"child\\\" }\",\"box\":{\"t0\":\"1700000010000000000\",\"t1\":"
         "1700000014000000000,\"d0\":null},\"limit\":3}",
         200);
    assert_non_null(strstr(last.body, "\"n_sel\":4,\"n_base\":26,\"sampled_sel\":4,"
                                      "\"sampled_base\":26,\"approximate\":false,"
                                      "\"values_cut\":false,\"complete\":true"));
    assert_non_null(strstr(last.body, "{\"scope\":\"span\",\"key\":\"n\",\"score\":0.25,"
                                      "\"distinct\":30,\"values\":[{\"v\":\"10\",\"type\":\"int\","
                                      "\"sel\":0.25,\"base\":0,\"n_sel\":1,\"n_base\":0},"));
    /* What all have says nothing. */
    assert_null(strstr(last.body, "\"child\""));
    /* Failed ones against the rest, by duration: n = 5 lasts 6 ms, as 35 % 30 + 1. */
    post(f, "{\"box\":{\"d0\":\"6000000\",\"d1\":\"6000001\"}}", 200);
    assert_non_null(strstr(last.body, "\"n_sel\":2,\"n_base\":58,"));
    assert_non_null(
        strstr(last.body, "{\"scope\":\"intrinsic\",\"key\":\"status\",\"score\":0.4138,"));
    post(f, "{\"q\":\"{ .n = 99 }\",\"box\":{}}", 200);
    assert_non_null(strstr(last.body, "{\"attrs\":[],\"n_sel\":0,\"n_base\":0,"));

    static const char *const wrong[] = {
        "",
        "[]",
        "{\"box\":{}",
        "{\"box\":{}}{}",
        "{\"box\":{\"t0\":\"5\",\"t1\":\"5\"}}",
        "{\"box\":{\"t0\":-1}}",
        "{\"box\":{\"t0\":{\"x\":1}}}",
        "{\"box\":[1]}",
        "{\"unknown\":1}",
        "{\"limit\":0}",
        "{\"limit\":1,\"limit\":2}",
        "{\"q\":\"{ name\"}",
        "{\"from\":\"yesterday\"}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        post(f, wrong[i], 400);
    reply_free(&last);
    client_post(f->port, "/api/spindle/v1/attributes/compare", "text/plain", "{}", &last);
    assert_int_equal(last.status, 415);
    reply_free(&last);
    client_get(f->port, "/api/spindle/v1/attributes/compare", "", &last);
    assert_int_equal(last.status, 405);
}

static void what_is_stored_is_found(void **state)
{
    (void)state;
    static struct engine_fixture f;
    engine_fixture_open(&f,
                        (struct sqlite_engine_options){ .memory_bytes = (size_t)64 << 20,
                                                        .builder_age_ns = 3600 * NS_PER_S },
                        (struct query_options){ 0 });

    get(&f, "/api/spindle/v1/traces");
    assert_non_null(strstr(last.body, "\"reason\":\"no_data_yet\""));
    store_all(&f);
    check_everything(&f); /* from the journal */
    check_counts(&f);
    check_comparison(&f);
    check_refusals(&f);
    assert_int_equal(engine_settle(f.engine), ERR_OK);
    check_everything(&f); /* from row groups */
    get(&f, "/api/spindle/v1/status");
    assert_non_null(strstr(last.body, "\"receivers\":[],\"ingest\":{\"spans_stored\":0,"));
    assert_non_null(strstr(last.body, "\"storage\":{\"spans\":60,\"logs\":30,"));
    assert_non_null(strstr(last.body, "\"partitions\":[{\"id\":1,\"state\":\"open\",\"bytes\":"));
    assert_non_null(strstr(last.body, "\"min\":\"1700000000000000000\",\"max\":"
                                      "\"1700000029000000000\",\"row_groups\":2,"
                                      "\"damaged\":false}]"));
    check_counts(&f);
    check_comparison(&f);

    engine_fixture_close(&f);
    reply_free(&last);
}

/* ---- Services that do not name themselves ----------------------------------------------------- */

/* No resource, none with a name, an empty one, a number; one that calls itself so; and one with a name. */
static void store_nameless(struct engine_fixture *f)
{
    static const char *const attributes[] = {
        "",
        "{\"key\":\"host\",\"value\":{\"stringValue\":\"h\"}}",
        "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"\"}}",
        "{\"key\":\"service.name\",\"value\":{\"intValue\":\"5\"}}",
        "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"unknown_service\"}}",
        "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"named\"}}",
    };
    struct buffer spans;
    buffer_init(&spans, 1 << 20);
    buffer_append_text(&spans, "{\"resourceSpans\":[");
    for (unsigned n = 0; n < 6; n++)
        buffer_printf(&spans,
                      "%s{\"resource\":{\"attributes\":[%s]},\"scopeSpans\":[{\"spans\":[{"
                      "\"traceId\":\"%032x\",\"spanId\":\"%016x\",\"name\":\"op-%u\",\"kind\":2,"
                      "\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\"}]}]}",
                      n == 0 ? "" : ",", attributes[n], n + 1, n + 1, n, (unsigned long long)START,
                      (unsigned long long)START + 1);
    buffer_append_text(&spans, "]}");
    store(f, SIGNAL_TRACES, &spans, 6);
    buffer_deinit(&spans);
}

static size_t occurrences(const char *text)
{
    unsigned long unused[64];
    return numbers(text, 10, unused, 64);
}

static void check_nameless(struct engine_fixture *f)
{
    get(f, "/api/spindle/v1/services");
    assert_int_equal(occurrences("\"name\":"), 2);
    assert_int_equal(occurrences("\"name\":\"unknown_service\""), 1);
    get(f, "/api/spindle/v1/services/unknown_service/operations");
    assert_int_equal(occurrences("\"spans\":1"), 5);
    get(f, "/api/spindle/v1/services?from=1699999000000000000&to=1700001000000000000");
    assert_int_equal(occurrences("\"name\":\"unknown_service\""), 1);
    assert_non_null(strstr(last.body, "\"count\":5,"));
    get(f, "/api/spindle/v1/traces?service=unknown_service");
    assert_int_equal(occurrences("\"root_svc\":\"unknown_service\""), 5);
    assert_int_equal(occurrences("\"svcs\":[{\"name\":\"unknown_service\""), 5);
    assert_int_equal(occurrences("{\"id\":\""), 5);
    get(f, "/api/spindle/v1/traces?q=%7Bresource.service.name=nil%7D");
    assert_int_equal(occurrences("{\"id\":\""), 2);
    get(f, "/api/spindle/v1/traces?q=%7BrootServiceName=%22unknown_service%22%7D");
    assert_int_equal(occurrences("{\"id\":\""), 5);
    get(f, "/api/spindle/v1/trace/1/span/1");
    assert_int_equal(occurrences("\"service\":\"unknown_service\""), 1);

    get(f, "/api/services");
    assert_non_null(strstr(last.body, "\"OTLPResourceNoServiceName\""));
    assert_null(strstr(last.body, "\"unknown_service\""));
    get(f, "/api/v3/services");
    assert_non_null(strstr(last.body, "\"OTLPResourceNoServiceName\""));
    get(f, "/api/services/OTLPResourceNoServiceName/operations");
    assert_int_equal(occurrences("\"op-"), 5);
    get(f, "/api/v3/operations?service=OTLPResourceNoServiceName");
    assert_int_equal(occurrences("\"op-"), 5);
    get(f, "/api/"
           "traces?service=OTLPResourceNoServiceName&start=1699999000000000&end=1700001000000000");
    assert_int_equal(occurrences("\"serviceName\":\"OTLPResourceNoServiceName\""), 5);
    get(f, "/api/v3/trace-summaries?query.serviceName=OTLPResourceNoServiceName"
           "&query.startTimeMin=2023-11-01T00:00:00Z&query.startTimeMax=2023-12-01T00:00:00Z");
    assert_int_equal(occurrences("\"rootServiceName\":\"OTLPResourceNoServiceName\""), 5);
}

static void nameless_services_have_one_name(void **state)
{
    (void)state;
    struct engine_fixture f;
    engine_fixture_open(&f, (struct sqlite_engine_options){ .builder_age_ns = 3600 * NS_PER_S },
                        (struct query_options){ .workers = 2 });
    store_nameless(&f);
    check_nameless(&f); /* from the journal */
    assert_int_equal(engine_settle(f.engine), ERR_OK);
    check_nameless(&f); /* from row groups */
    engine_fixture_close(&f);
    reply_free(&last);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_stored_is_found),
                                        cmocka_unit_test(nameless_services_have_one_name) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
