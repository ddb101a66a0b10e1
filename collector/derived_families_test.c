/* SPDX-License-Identifier: Apache-2.0 */
/* RED series and edges under the names of the Collector and of Tempo: exact pages of small totals, native
 * histograms that give the quantiles they were made of, and the cost of ten thousand series. */
#include "collector/derived_families.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

struct fixture {
    struct arena arena;
    struct derived_totals totals;
    struct buffer page;
};

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    arena_init(&f.arena, (size_t)1 << 28, NULL);
    buffer_init(&f.page, SIZE_MAX);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buffer_deinit(&f->page);
    arena_deinit(&f->arena);
    return fault_live_blocks() == 0 ? 0 : -1;
}

static enum err on_piece(void *context, struct buffer *take_piece)
{
    struct buffer *page = context;
    buffer_append_bytes(page, buffer_bytes(take_piece));
    buffer_deinit(take_piece);
    return buffer_error(page);
}

static const char *write_page(struct fixture *f, enum exposition_format format,
                              enum span_metrics which)
{
    struct exposition e;
    buffer_reset(&f->page);
    exposition_begin(&e, format, on_piece, &f->page);
    derived_families_write(&e, which, &f->totals);
    assert_int_equal(exposition_end(&e), ERR_OK);
    buffer_append_byte(&f->page, 0);
    return (const char *)f->page.data;
}

static void assert_has(const char *page, const char *part)
{
    if (strstr(page, part) == NULL)
        fail_msg("%s\n  does not contain\n%s", page, part);
}

static void record(struct fixture *f, struct histogram *h, uint64_t ns, uint64_t times)
{
    if (h->arena == NULL)
        histogram_init(h, &f->arena);
    assert_int_equal(histogram_record(h, ns, times), ERR_OK);
}

static void set_totals(struct fixture *f)
{
    static struct red_total series[1];
    static struct edge_total edges[3];
    memset(series, 0, sizeof series);
    memset(edges, 0, sizeof edges);
    series[0] = (struct red_total){ .service = BYTES_LITERAL("shop \"a\"\n"),
                                    .environment = BYTES_LITERAL("prod"),
                                    .name = BYTES_LITERAL("GET /{id}"),
                                    .kind = 2,
                                    .status = 2,
                                    .calls = 3,
                                    .bytes = 900 };
    series[0].slowest = (struct derived_exemplar){ .is_set = true,
                                                   .start_unix_ns = UINT64_C(1700000000123000000),
                                                   .duration_ns = 20 * NS_PER_S };
    series[0].slowest.trace_id.b[15] = 0xab;
    series[0].slowest.span_id.b[7] = 0xcd;
    record(f, &series[0].duration, 2 * NS_PER_MS, 1);
    record(f, &series[0].duration, 7 * NS_PER_MS, 1);
    record(f, &series[0].duration, 20 * NS_PER_S, 1);
    edges[0] =
        (struct edge_total){ .client = { .kind = NODE_SERVICE, .name = BYTES_LITERAL("web") },
                             .server = { .kind = NODE_DATABASE,
                                         .name = BYTES_LITERAL("orders"),
                                         .system = BYTES_LITERAL("postgresql") },
                             .type = CONNECTION_DATABASE,
                             .calls = 4,
                             .failed = 1 };
    record(f, &edges[0].client_duration, 30 * NS_PER_MS, 4);
    edges[1] =
        (struct edge_total){ .client = { .kind = NODE_SERVICE, .name = BYTES_LITERAL("web") },
                             .server = { .kind = NODE_QUEUE, .name = BYTES_LITERAL("jobs") },
                             .type = CONNECTION_MESSAGING,
                             .calls = 9 };
    edges[2] =
        (struct edge_total){ .client = { .kind = NODE_SERVICE, .name = BYTES_LITERAL("web") },
                             .server = { .kind = NODE_SERVICE,
                                         .name = BYTES_LITERAL("cart"),
                                         .namespace = BYTES_LITERAL("shop") },
                             .type = CONNECTION_DIRECT,
                             .calls = 2 };
    record(f, &edges[2].client_duration, 300 * NS_PER_MS, 2);
    record(f, &edges[2].server_duration, 40 * NS_PER_MS, 2);
    f->totals = (struct derived_totals){
        .series = series, .series_count = 1, .edges = edges, .edges_count = 3
    };
}

static void names_are_the_collectors(void **state)
{
    struct fixture *f = *state;
    set_totals(f);
    const char *page = write_page(f, EXPOSITION_TEXT, SPAN_METRICS_COLLECTOR);
#define SPAN_LABELS                                                                                \
    "service_name=\"shop \\\"a\\\"\\n\",span_name=\"GET /{id}\",span_kind=\"SPAN_KIND_SERVER\","   \
    "status_code=\"STATUS_CODE_ERROR\",deployment_environment_name=\"prod\""
    assert_has(page, "# TYPE traces_span_metrics_calls_total counter\n"
                     "traces_span_metrics_calls_total{" SPAN_LABELS "} 3\n");
    assert_has(page,
               "# TYPE traces_span_metrics_duration_milliseconds histogram\n"
               "traces_span_metrics_duration_milliseconds_bucket{" SPAN_LABELS ",le=\"2\"} 1\n");
#define BUCKET "traces_span_metrics_duration_milliseconds_bucket{" SPAN_LABELS ",le="
    assert_has(page, BUCKET "\"6\"} 1\n" BUCKET "\"8\"} 2\n" BUCKET "\"10\"} 2\n" BUCKET
                            "\"50\"} 2\n" BUCKET "\"100\"} 2\n" BUCKET "\"200\"} 2\n" BUCKET
                            "\"400\"} 2\n" BUCKET "\"800\"} 2\n" BUCKET "\"1000\"} 2\n" BUCKET
                            "\"1400\"} 2\n" BUCKET "\"2000\"} 2\n" BUCKET "\"5000\"} 2\n" BUCKET
                            "\"10000\"} 2\n" BUCKET "\"15000\"} 2\n" BUCKET "\"+Inf\"} 3\n");
    assert_has(page, "traces_span_metrics_duration_milliseconds_sum{" SPAN_LABELS "} 20009\n");
    /* Empty labels are left out: that is what an empty connection_type is. */
    assert_has(page, "traces_service_graph_request_total{client=\"web\",server=\"orders\","
                     "connection_type=\"database\",server_db_system_name=\"postgresql\","
                     "failed=\"false\"} 3\n"
                     "traces_service_graph_request_total{client=\"web\",server=\"orders\","
                     "connection_type=\"database\",server_db_system_name=\"postgresql\","
                     "failed=\"true\"} 1\n"
                     "traces_service_graph_request_total{client=\"web\",server=\"cart\","
                     "server_service_namespace=\"shop\",failed=\"false\"} 2\n"
                     "traces_service_graph_request_total{client=\"web\",server=\"cart\","
                     "server_service_namespace=\"shop\",failed=\"true\"} 0\n");
    assert_has(page, "traces_service_graph_request_failed_total{client=\"web\",server=\"orders\","
                     "connection_type=\"database\",server_db_system_name=\"postgresql\","
                     "failed=\"true\"} 1\n");
    assert_has(page, "traces_service_graph_request_client_seconds_bucket{client=\"web\","
                     "server=\"cart\",server_service_namespace=\"shop\",le=\"0.4\"} 2\n");
    assert_has(page, "traces_service_graph_request_server_seconds_sum{client=\"web\","
                     "server=\"cart\",server_service_namespace=\"shop\"} 0.08\n");
    /* A database sends no spans: its side has what its client saw. */
    assert_has(page, "traces_service_graph_request_server_seconds_sum{client=\"web\","
                     "server=\"orders\",connection_type=\"database\","
                     "server_db_system_name=\"postgresql\"} 0.12\n");
    assert_null(strstr(page, "jobs"));
    assert_null(strstr(page, "spanmetrics"));
    assert_int_equal(strlen(write_page(f, EXPOSITION_TEXT, SPAN_METRICS_NONE)), 0);
}

static void names_are_tempos(void **state)
{
    struct fixture *f = *state;
    set_totals(f);
    const char *page = write_page(f, EXPOSITION_OPENMETRICS, SPAN_METRICS_TEMPO);
    assert_has(page, "# TYPE traces_spanmetrics_calls counter\n");
    assert_has(page, "traces_spanmetrics_calls_total{service=\"shop \\\"a\\\"\\n\",span_name=");
    assert_has(page, "traces_spanmetrics_size_total{service=");
    assert_has(page, "} 900\n");
    assert_has(page, "traces_spanmetrics_latency_bucket{service=");
    assert_has(page, ",le=\"0.002\"} 1\n");
    assert_has(page, ",le=\"16.384\"} 2\n");
    assert_has(page, ",le=\"+Inf\"} 3 # {traceID=\"000000000000000000000000000000ab\"} 20 "
                     "1700000000.123\n");
    assert_has(page, "traces_service_graph_request_server_seconds_bucket{client=\"web\",");
    assert_has(page, ",le=\"12.8\"} 2\n");
    assert_has(page, "traces_service_graph_request_total{client=\"web\",server=\"cart\","
                     "server_service_namespace=\"shop\"} 2\n");
    assert_has(page, "traces_service_graph_request_failed_total{client=\"web\",server=\"cart\","
                     "server_service_namespace=\"shop\"} 0\n");
    assert_null(strstr(page, "failed=")); /* Tempo has no such label */
    assert_null(strstr(page, "span_metrics"));
    page = write_page(f, EXPOSITION_OPENMETRICS, SPAN_METRICS_BOTH);
    assert_has(page, "traces_spanmetrics_latency_bucket{service=");
    assert_has(page, "# {trace_id=\"000000000000000000000000000000ab\",span_id="
                     "\"00000000000000cd\"} 20000 1700000000.123\n");
    /* One service graph, the Collector's. */
    const char *first = strstr(page, "# TYPE traces_service_graph_request counter\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "# TYPE traces_service_graph_request counter\n"));
    assert_null(strstr(page, "le=\"12.8\""));
}

/* ---- Native histograms, read back from protobuf ---- */

static uint64_t varint(const uint8_t **at)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t b = *(*at)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
}

static int64_t zigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

struct native {
    int schema;
    uint64_t zeros, counts[512];
    int32_t indices[512];
    size_t length;
};

/* The Histogram message of the last metric with field 7. */
static void read_histogram(const uint8_t *at, const uint8_t *end, struct native *out)
{
    int32_t index = 0, next[512];
    size_t indices = 0;
    int64_t count = 0;
    *out = (struct native){ 0 };
    while (at < end) {
        uint64_t tag = varint(&at), v = 0;
        const uint8_t *part = at;
        switch (tag & 7) {
        case 0:
            v = varint(&at);
            break;
        case 1:
            at += 8;
            break;
        default:
            v = varint(&at);
            part = at;
            at += v;
        }
        if (tag >> 3 == 5)
            out->schema = (int)zigzag(v);
        else if (tag >> 3 == 7)
            out->zeros = v;
        else if (tag >> 3 == 12) {
            int64_t offset = 0;
            uint64_t length = 0;
            while (part < at) {
                uint64_t inner = varint(&part);
                if (inner >> 3 == 1)
                    offset = zigzag(varint(&part));
                else
                    length = varint(&part);
            }
            index += (int32_t)offset;
            for (uint64_t i = 0; i < length; i++)
                next[indices++] = index++;
        } else if (tag >> 3 == 13 && (tag & 7) == 0) {
            count += zigzag(v);
            out->indices[out->length] = next[out->length];
            out->counts[out->length++] = (uint64_t)count;
        } else if (tag >> 3 == 13) {
            while (part < at) {
                count += zigzag(varint(&part));
                out->counts[out->length++] = (uint64_t)count;
            }
        }
    }
    for (size_t i = 0; i < out->length; i++)
        out->indices[i] = next[i];
    assert_int_equal(out->length, indices);
}

/* Families, metrics: find the histogram of the family named. */
static void find_histogram(const struct fixture *f, const char *name, struct native *out)
{
    const uint8_t *at = f->page.data, *end = at + f->page.len - 1;
    while (at < end) {
        uint64_t len = varint(&at);
        const uint8_t *family_end = at + len;
        bool is_it = false;
        while (at < family_end) {
            uint64_t tag = varint(&at);
            if ((tag & 7) == 0) {
                (void)varint(&at);
                continue;
            }
            uint64_t part = varint(&at);
            const uint8_t *part_end = at + part;
            if (tag >> 3 == 1)
                is_it = part == strlen(name) && memcmp(at, name, part) == 0;
            while (is_it && tag >> 3 == 4 && at < part_end) {
                uint64_t inner = varint(&at), inner_len = varint(&at);
                if (inner >> 3 == 7) {
                    read_histogram(at, at + inner_len, out);
                    return;
                }
                at += inner_len;
            }
            at = part_end;
        }
    }
    fail_msg("no histogram of %s", name);
}

/* As Prometheus does it, but for the middle of the bucket. */
static double native_quantile(const struct native *n, double q)
{
    uint64_t count = n->zeros, seen = n->zeros;
    for (size_t i = 0; i < n->length; i++)
        count += n->counts[i];
    double rank = ceil(q * (double)count);
    for (size_t i = 0; i < n->length; i++) {
        seen += n->counts[i];
        if ((double)seen >= rank)
            return exp2(((double)n->indices[i] - 0.5) * exp2(-n->schema));
    }
    return 0;
}

static void native_histograms_keep_quantiles(void **state)
{
    struct fixture *f = *state;
    static const char *const families[] = { "traces_span_metrics_duration_milliseconds",
                                            "traces_spanmetrics_latency" };
    static const double units[] = { 1e6, 1e9 };
    static struct native n;
    set_totals(f);
    struct histogram *h = &f->totals.series[0].duration;
    histogram_init(h, &f->arena);
    uint64_t ns = 1000000;
    for (unsigned i = 0; i < 1000; i++, ns += 1700) /* 1 ms to 2.7 ms: fits at the finest scale */
        record(f, h, ns, 1 + i % 3);
    f->totals.series[0].calls = h->count;
    (void)write_page(f, EXPOSITION_PROTOBUF, SPAN_METRICS_BOTH);
    for (size_t k = 0; k < 2; k++) {
        find_histogram(f, families[k], &n);
        assert_int_equal(n.schema, HISTOGRAM_SCALE);
        for (double q = 0.1; q < 0.95; q += 0.1) {
            double have = native_quantile(&n, q) * units[k], wanted = histogram_quantile(h, q);
            if (fabs(have - wanted) > 0.0055 * wanted)
                fail_msg("p%.0f of %s: %g, engine: %g", q * 100, families[k], have, wanted);
        }
    }
    /* Nanoseconds to days: coarser, but never more buckets than agreed. */
    record(f, h, 0, 5);
    for (ns = 1; ns < UINT64_C(1) << 50; ns += ns / 50 + 1)
        record(f, h, ns, 1);
    f->totals.series[0].calls = h->count;
    (void)write_page(f, EXPOSITION_PROTOBUF, SPAN_METRICS_COLLECTOR);
    find_histogram(f, families[0], &n);
    assert_true(n.length <= NATIVE_BUCKETS_MAX && n.schema >= 1);
    assert_int_equal(n.zeros, 5);
    assert_true(fabs(native_quantile(&n, 0.5) * 1e6 / histogram_quantile(h, 0.5) - 1) <
                exp2(exp2(-n.schema)) - 1);
}

static void set_many(struct fixture *f, unsigned series, unsigned edges)
{
    f->totals.series = arena_alloc_array(&f->arena, series, sizeof f->totals.series[0]);
    f->totals.edges = arena_alloc_array(&f->arena, edges, sizeof f->totals.edges[0]);
    assert_true(f->totals.series != NULL && f->totals.edges != NULL);
    f->totals.series_count = series;
    f->totals.edges_count = edges;
    for (unsigned i = 0; i < series; i++) {
        char name[32], service[32];
        struct red_total *t = &f->totals.series[i];
        (void)snprintf(name, sizeof name, "GET /route/%u/{id}", i);
        (void)snprintf(service, sizeof service, "service-%u", i % 100);
        assert_int_equal(arena_dup(&f->arena, bytes_text(name), &t->name), ERR_OK);
        assert_int_equal(arena_dup(&f->arena, bytes_text(service), &t->service), ERR_OK);
        t->kind = 2;
        for (unsigned k = 0; k < 50; k++)
            record(f, &t->duration, (uint64_t)(1000000 + k * k * 7000), 1 + k);
        t->calls = t->duration.count;
    }
    for (unsigned i = 0; i < edges; i++) {
        struct edge_total *x = &f->totals.edges[i];
        x->client.name = f->totals.series[i % 100].service;
        x->server.name = f->totals.series[i].name;
        x->calls = 50;
        record(f, &x->client_duration, 1000000 + i, 50);
    }
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_of_page(struct fixture *f, enum exposition_format format)
{
    uint64_t best = UINT64_MAX;
    for (unsigned k = 0; k < 3; k++) {
        uint64_t begin = cpu_ns();
        (void)write_page(f, format, SPAN_METRICS_COLLECTOR);
        uint64_t took = cpu_ns() - begin;
        best = took < best ? took : best;
    }
    return best;
}

/* Ten times the series may take ten times as long, not a hundred times. The time itself is in
 * docs/BENCHMARKS.md: a busy machine would fail it. */
static void cost_follows_the_number_of_series(void **state)
{
    struct fixture *f = *state;
    static const enum exposition_format formats[] = { EXPOSITION_TEXT, EXPOSITION_PROTOBUF };
    uint64_t few[2], many[2];
    set_many(f, 1000, 200);
    for (size_t i = 0; i < 2; i++)
        few[i] = cpu_of_page(f, formats[i]);
    set_many(f, 10000, 2000);
    for (size_t i = 0; i < 2; i++) {
        many[i] = cpu_of_page(f, formats[i]);
        print_message("%s: %.1f MB in %.1f ms\n", i == 0 ? "text" : "protobuf",
                      (double)f->page.len / 1e6, (double)many[i] / 1e6);
        assert_true(many[i] < 40 * few[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_the_collectors, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_tempos, setup, teardown),
        cmocka_unit_test_setup_teardown(native_histograms_keep_quantiles, setup, teardown),
        cmocka_unit_test_setup_teardown(cost_follows_the_number_of_series, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
