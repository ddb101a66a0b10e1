/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics: the registry, and what is only known at the moment of asking, in the form that the reader
 * asks for. Names and units of the
 * process_ family are those that Prometheus' client libraries use. */
#include "collector/collector_private.h"

#include "base/clock.h"
#include "collector/derived_families.h"
#include "collector/exposition.h"
#include "collector/scrape.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* What is copied of the engine's totals: a hundred thousand series of some hundred bytes. */
#define TOTALS_MAX     ((size_t)128 * 1024 * 1024)
#define TOTALS_TIME_NS (5 * NS_PER_S)

/* Of the registry's buckets the classic histogram shows each doubling between these: 61 us to 16 s.
 * What is longer counts in +Inf; the native form, where it is read, shows all. */
#define CLASSIC_FIRST_LOG2 (-14)
#define CLASSIC_BOUNDS     19

#define LABELS_MAX       8
#define LABEL_NAME_BYTES 32

struct page {
    struct exposition e;
    struct exposition_family family;
    struct exposition_number bounds[CLASSIC_BOUNDS];
};

/* 2^log2 exactly, as a decimal: a half is 5 tenths. */
static struct exposition_number power_of_two(int log2)
{
    struct exposition_number n = { 1, 0 };
    for (; log2 > 0; log2--)
        n.units *= 2;
    for (; log2 < 0; log2++) {
        n.units *= 5;
        n.decimals++;
    }
    return n;
}

static void page_begin(struct page *p, enum exposition_format format, struct scrape *s)
{
    exposition_begin(&p->e, format, scrape_write, s);
    for (int i = 0; i < CLASSIC_BOUNDS; i++)
        p->bounds[i] = power_of_two(CLASSIC_FIRST_LOG2 + i);
}

/* The unit that a name says, for OpenMetrics: its last word, before _total. */
static const char *unit_of(const char *name)
{
    static const char *const units[] = { "seconds", "bytes" };
    size_t len = strlen(name);
    if (len > 6 && strcmp(name + len - 6, "_total") == 0)
        len -= 6;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        size_t unit_len = strlen(units[i]);
        if (len > unit_len && memcmp(name + len - unit_len, units[i], unit_len) == 0 &&
            name[len - unit_len - 1] == '_')
            return units[i];
    }
    return NULL;
}

static void begin_family(struct page *p, enum exposition_type type, const char *name,
                         const char *help)
{
    p->family = (struct exposition_family){ .name = name,
                                            .help = help,
                                            .unit = unit_of(name),
                                            .type = type,
                                            .bounds = p->bounds,
                                            .bounds_count = CLASSIC_BOUNDS };
    exposition_family(&p->e, &p->family);
}

static void write_number(struct page *p, enum exposition_type type, const char *name,
                         const char *help, struct exposition_number value)
{
    begin_family(p, type, name, help);
    exposition_value(&p->e, NULL, 0, value, NULL);
}

static void write_gauge(struct page *p, const char *name, const char *help, uint64_t v)
{
    write_number(p, EXPOSITION_GAUGE, name, help, (struct exposition_number){ v, 0 });
}

/* ---- The registry ---- */

/* Pairs of `a="x",b="y"`. */
static size_t parse_labels(const char *text, struct exposition_label *labels,
                           char (*names)[LABEL_NAME_BYTES])
{
    size_t count = 0;
    while (*text != '\0') {
        const char *equals = strchr(text, '=');
        assert(equals != NULL && equals[1] == '"' && count < LABELS_MAX);
        const char *end = strchr(equals + 2, '"');
        assert(end != NULL && (size_t)(equals - text) < LABEL_NAME_BYTES);
        memcpy(names[count], text, (size_t)(equals - text));
        names[count][equals - text] = '\0';
        labels[count].name = names[count];
        labels[count].value = bytes_of(equals + 2, (size_t)(end - equals - 2));
        count++;
        text = end[1] == ',' ? end + 2 : end + 1;
    }
    return count;
}

/* Other threads go on counting, so the count is the sum of what was read of the buckets. */
static void write_histogram(struct page *p, const struct exposition_label *labels, size_t count,
                            const struct metric *metric)
{
    uint64_t classic[CLASSIC_BOUNDS + 1] = { 0 }, counts[METRIC_BUCKETS];
    int32_t indices[METRIC_BUCKETS];
    struct exposition_native native = {
        .schema = 2, .zero_threshold = 0x1p-20, .indices = indices, .counts = counts
    };
    struct exposition_histogram h = { .sum = { metric_value(metric), 9 },
                                      .counts = classic,
                                      .native = &native };
    static_assert(METRIC_BUCKETS_PER_DOUBLING == 4 && METRIC_BUCKETS_FIRST_LOG2 == -20,
                  "schema and zero threshold say so");
    const size_t per_bound = METRIC_BUCKETS_PER_DOUBLING;
    const size_t first = (CLASSIC_FIRST_LOG2 - METRIC_BUCKETS_FIRST_LOG2) * per_bound;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        if (n == 0)
            continue;
        size_t bound = i <= first ? 0 : (i - first + per_bound - 1) / per_bound;
        h.count += n;
        classic[bound < CLASSIC_BOUNDS ? bound : CLASSIC_BOUNDS] += n;
        if (i == 0) {
            native.zero_count = n;
            continue;
        }
        indices[native.length] =
            (int32_t)i + METRIC_BUCKETS_FIRST_LOG2 * METRIC_BUCKETS_PER_DOUBLING;
        counts[native.length++] = n;
    }
    exposition_histogram(&p->e, labels, count, &h);
}

static void write_metric(void *context, const struct metric *metric)
{
    static const enum exposition_type types[] = { [METRIC_COUNTER] = EXPOSITION_COUNTER,
                                                  [METRIC_GAUGE] = EXPOSITION_GAUGE,
                                                  [METRIC_HISTOGRAM] = EXPOSITION_HISTOGRAM };
    struct page *p = context;
    struct exposition_label labels[LABELS_MAX];
    char names[LABELS_MAX][LABEL_NAME_BYTES];
    size_t count = parse_labels(metric->labels, labels, names);
    if (strcmp(p->family.name, metric->name) != 0)
        begin_family(p, types[metric->kind], metric->name, metric->help);
    if (metric->kind == METRIC_HISTOGRAM)
        write_histogram(p, labels, count, metric);
    else
        exposition_value(&p->e, labels, count,
                         (struct exposition_number){ metric_value(metric), 0 }, NULL);
}

/* ---- What is known at the moment of asking ---- */

/* Resident pages: the second number of statm. 0 when it cannot be read. */
static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    if (d == NULL)
        return 0;
    uint64_t n = 0;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* without ".", ".." and the directory itself */
}

static void write_process(const struct collector *c, struct page *p)
{
    struct rusage usage;
    struct rlimit limit;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        uint64_t us = (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
        uint64_t s = (uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec;
        write_number(p, EXPOSITION_COUNTER, "process_cpu_seconds_total",
                     "User and system CPU time of the process in seconds.",
                     (struct exposition_number){ s * 1000000 + us, 6 });
    }
    write_gauge(p, "process_resident_memory_bytes", "Resident memory in bytes.", resident_bytes());
    write_gauge(p, "process_open_fds", "Open file descriptors.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        write_gauge(p, "process_max_fds", "File descriptors that may be open.", limit.rlim_cur);
    write_number(p, EXPOSITION_GAUGE, "process_start_time_seconds",
                 "Start of the process in seconds since 1970.",
                 (struct exposition_number){ c->started_unix_ns / NS_PER_US, 6 });
}

/* A name space of its own: engines register their own counters besides. */
static void write_engine(const struct collector *c, struct page *p)
{
    struct engine_statistics s;
    engine_statistics(c->engine, &s);
    write_gauge(p, "spindle_engine_spans", "Spans that can be retrieved.", s.spans);
    write_gauge(p, "spindle_engine_logs", "Log records that can be retrieved.", s.logs);
    write_gauge(p, "spindle_engine_journal_items",
                "Acknowledged items that are not yet in row groups.", s.journal_items);
    write_gauge(p, "spindle_engine_journal_bytes", "Bytes of the journal.", s.journal_bytes);
    write_gauge(p, "spindle_engine_row_groups", "Row groups.", s.row_groups);
    write_gauge(p, "spindle_engine_partitions", "Partition files.", s.partitions);
    write_gauge(p, "spindle_engine_partitions_damaged", "Partition files set aside as damaged.",
                s.partitions_damaged);
    write_gauge(p, "spindle_engine_disk_bytes", "Bytes of the data directory.", s.disk_bytes);
    write_gauge(p, "spindle_engine_writable", "1 while telemetry is taken, 0 when read-only.",
                s.is_writable);
    write_gauge(p, "spindle_engine_durable", "1 when an acknowledgement survives a power cut.",
                s.is_durable);
}

/* ---- Rollups ---- */

static void write_bounds(struct page *p, const struct derived_totals *t)
{
    static const char *const kinds[] = { "series", "services", "edges", "halves" };
    const struct derived_bounds *b = &t->bounds;
    const uint64_t now[] = { b->series, b->services, b->edges, b->halves };
    const uint64_t max[] = { b->series_max, b->services_max, b->edges_max, b->halves_max };
    begin_family(p, EXPOSITION_GAUGE, "spindle_rollup_entries", "What rollups tell apart now.");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct exposition_label of = { "of", bytes_text(kinds[i]) };
        exposition_value(&p->e, &of, 1, (struct exposition_number){ now[i], 0 }, NULL);
    }
    begin_family(p, EXPOSITION_GAUGE, "spindle_rollup_entries_max",
                 "How many of them rollups may tell apart.");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct exposition_label of = { "of", bytes_text(kinds[i]) };
        exposition_value(&p->e, &of, 1, (struct exposition_number){ max[i], 0 }, NULL);
    }
    const struct exposition_label overflowed[] = { { "of", BYTES_LITERAL("series") },
                                                   { "of", BYTES_LITERAL("services") },
                                                   { "of", BYTES_LITERAL("edges") } };
    const uint64_t counts[] = { b->overflowed_series_spans, b->overflowed_service_spans,
                                b->overflowed_edge_calls };
    begin_family(p, EXPOSITION_COUNTER, "spindle_rollup_overflowed_total",
                 "Spans and calls counted under (other), since their series were too many.");
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        exposition_value(&p->e, &overflowed[i], 1, (struct exposition_number){ counts[i], 0 },
                         NULL);
    begin_family(p, EXPOSITION_COUNTER, "spindle_unpaired_spans_total",
                 "Spans whose partner in a call did not come, by reason.");
    for (int why = 0; why < UNPAIRED_REASON_COUNT; why++) {
        const struct exposition_label reason = { "reason", bytes_text(unpaired_reason_text(
                                                               (enum unpaired_reason)why)) };
        exposition_value(&p->e, &reason, 1, (struct exposition_number){ t->unpaired[why], 0 },
                         NULL);
    }
    write_gauge(p, "spindle_rollup_memory_bytes", "Memory that rollups take.", b->memory_bytes);
}

static void write_derived(const struct collector *c, struct page *p, struct exchange *x)
{
    struct arena arena;
    struct derived_totals totals = { 0 };
    arena_init(&arena, TOTALS_MAX, NULL);
    const struct query_context q = { .deadline_mono_ns = clock_mono_ns() + TOTALS_TIME_NS,
                                     .cancelled = exchange_cancelled(x),
                                     .arena = &arena };
    enum err e = engine_totals(c->engine, &q, &totals);
    if (e == ERR_OK) {
        write_bounds(p, &totals);
        derived_families_write(&p->e, c->span_metrics, &totals);
    } else if (p->e.error == ERR_OK) {
        p->e.error = e; /* a page without them would be read as their end */
    }
    arena_deinit(&arena);
}

/* On the thread of pages. */
static enum err make_page(struct scrape *s, struct exchange *x, void *context)
{
    struct collector *c = context;
    const char *content_type;
    enum exposition_format format =
        exposition_negotiate(request_header(exchange_request(x), "accept"), &content_type);
    struct page p;
    scrape_content_type(s, content_type);
    page_begin(&p, format, s);
    const struct exposition_label version = { "version", bytes_text(c->version) };
    begin_family(&p, EXPOSITION_GAUGE, "spindle_build_info", "1, with the version as a label.");
    exposition_value(&p.e, &version, 1, (struct exposition_number){ 1, 0 }, NULL);
    write_process(c, &p);
    write_gauge(&p, "spindle_health_watchers", "Open health watch streams.",
                atomic_load_explicit(&c->watchers, memory_order_relaxed));
    write_engine(c, &p);
    if (c->metrics != NULL)
        metrics_each(c->metrics, write_metric, &p);
    write_derived(c, &p, x);
    return exposition_end(&p.e);
}

enum err metrics_page_open(struct collector *c)
{
    return scrapes_open(make_page, c, 0, &c->scrapes);
}

static void on_metrics(struct exchange *x, void *context)
{
    struct collector *c = context;
    scrapes_take(c->scrapes, x);
}

enum err metrics_page_add_route(struct collector *c, struct router *r)
{
    const struct route route = { .kind = ROUTE_HTTP,
                                 .method = HTTP_GET,
                                 .path = "/metrics",
                                 .scope = SCOPE_READ,
                                 .handler = on_metrics,
                                 .context = c };
    return router_add(r, &route);
}
