/* SPDX-License-Identifier: Apache-2.0 */
/* How many spans, or log records, there are when: a heatmap of durations, a histogram of hits, one of
 * severities. */
#include "query/native_counts.h"

#include "query/box.h"
#include "query/numbers.h"
#include "query/red_filter.h"

/* Durations are counted in fine rows, eight a doubling from 1 us on, and shown in as many as are asked for. */
#define PER_DOUBLING 8
#define FINE_ROWS    (43 * PER_DOUBLING) /* the last ends at 2^43 us, 101 days: numbers below 2^53 */
#define ROWS_MIN     8
#define ROWS_MAX     64
#define ROWS_DEFAULT 32

/* 1000 * 2^(i/8), rounded. */
static const uint16_t first_doubling[PER_DOUBLING] = { 1000, 1091, 1189, 1297,
                                                       1414, 1542, 1682, 1834 };

static uint64_t edge_of(size_t row)
{
    return (uint64_t)first_doubling[row % PER_DOUBLING] << row / PER_DOUBLING;
}

static size_t row_of(uint64_t duration_ns)
{
    if (duration_ns < 1000)
        return 0;
    unsigned doublings = 63u - (unsigned)__builtin_clzll(duration_ns / 1000);
    uint64_t rest = duration_ns >> doublings; /* 1000..1999 */
    size_t row = PER_DOUBLING - 1;
    while (first_doubling[row] > rest)
        row--;
    row += (size_t)doublings * PER_DOUBLING;
    return row < FINE_ROWS ? row : FINE_ROWS - 1;
}

/* ---- Reading what is asked ---- */

/* All terms so far, and one more. */
static enum err tree_with(const struct filter *f, struct expr *term, const struct expr **out)
{
    struct filter more = *f;
    filter_add(&more, term);
    return filter_tree(&more, out);
}

/* The filter, and the same for spans with an error. */
static enum err read_filters(struct call *c, struct filter *f, const struct expr *out[2])
{
    enum err e = filter_add_query(c, f, SIGNAL_TRACES, "q");
    if (e == ERR_OK)
        e = tree_with(
            f, term_intrinsic(&c->arena, EXPR_INTRINSIC_SPAN_STATUS, EXPR_EQ, EXPR_STATUS, 2),
            &out[1]);
    return e == ERR_OK ? filter_tree(f, &out[0]) : e;
}

/* ---- Heatmap ---- */

struct cell {
    uint64_t count, errors;
};

struct heatmap {
    struct time_range asked;
    struct time_columns time;
    size_t cols;
    struct cell *cells; /* [cols * FINE_ROWS] */
    uint64_t spans, errors;
    bool is_approximate;
    bool is_of_rollups;
};

static void on_extent(void *context, bool is_empty, struct time_range extent)
{
    struct heatmap *h = context;
    (void)is_empty;
    h->time = time_columns_of(h->asked, extent, h->cols);
}

static void on_span(void *context, const struct scanned_row *row)
{
    struct heatmap *h = context;
    struct cell *cell = &h->cells[time_columns_at(&h->time, row->start_unix_ns) * FINE_ROWS +
                                  row_of(row->duration_ns)];
    h->is_approximate |= !row->is_certain;
    if (row->filter == 0) {
        cell->count++;
        h->spans++;
    } else {
        cell->errors++;
        h->errors++;
    }
}

/* The fine rows that have anything, and how many of them make one that is shown. */
struct shown_rows {
    size_t first, count, each;
};

static struct shown_rows choose_rows(const struct heatmap *h, size_t rows_max)
{
    size_t first = FINE_ROWS, last = 0;
    for (size_t i = 0; i < h->cols * FINE_ROWS; i++) {
        size_t row = i % FINE_ROWS;
        if (h->cells[i].count == 0)
            continue;
        first = row < first ? row : first;
        last = row > last ? row : last;
    }
    if (first > last)
        return (struct shown_rows){ 0 };
    struct shown_rows r = { .first = first };
    r.each = (last - first + rows_max) / rows_max;
    r.count = (last - first) / r.each + 1;
    return r;
}

static void write_edges(struct json_writer *j, const struct shown_rows *r)
{
    json_key(j, "y");
    json_array_begin(j);
    for (size_t i = 0; r->count > 0 && i <= r->count; i++)
        json_u64(j, edge_of(r->first + i * r->each));
    json_array_end(j);
}

static struct cell cell_at(const struct heatmap *h, const struct shown_rows *r, size_t x, size_t y)
{
    struct cell sum = { 0 };
    size_t from = r->first + y * r->each;
    for (size_t row = from; row < from + r->each && row < FINE_ROWS; row++) {
        sum.count += h->cells[x * FINE_ROWS + row].count;
        sum.errors += h->cells[x * FINE_ROWS + row].errors;
    }
    return sum;
}

static void write_cells(struct json_writer *j, const struct heatmap *h, const struct shown_rows *r)
{
    uint64_t max = 0;
    json_key(j, "cells");
    json_array_begin(j);
    for (size_t x = 0; x < h->cols; x++) {
        for (size_t y = 0; y < r->count; y++) {
            struct cell cell = cell_at(h, r, x, y);
            if (cell.count == 0)
                continue;
            max = cell.count > max ? cell.count : max;
            json_array_begin(j);
            json_u64(j, x);
            json_u64(j, y);
            json_u64(j, cell.count);
            json_u64(j, cell.errors);
            json_array_end(j);
        }
    }
    json_array_end(j);
    native_write_count(j, "max", max);
}

static void write_heatmap(struct call *c, const struct heatmap *h, size_t rows,
                          const struct row_scan_result *result, const struct page *page)
{
    struct json_writer *j = &c->json;
    struct shown_rows shown = choose_rows(h, rows);
    json_object_begin(j);
    time_columns_write(&h->time, j);
    native_write_count(j, "cols", h->cols);
    write_edges(j, &shown);
    write_cells(j, h, &shown);
    native_write_count(j, "spans", h->spans);
    native_write_count(j, "errors", h->errors);
    json_key(j, "approximate");
    json_bool(j, h->is_approximate);
    json_key(j, "source");
    json_text(j, h->is_of_rollups ? "rollups" : "spans");
    if (h->is_of_rollups)
        numbers_write(j, "bound", HISTOGRAM_ERROR);
    native_write_ns(j, "covered_from", result->covered_from_unix_ns);
    native_write_end(c, &result->progress, h->spans > 0, page, NULL);
    json_object_end(j);
}

/* ---- The same from rollups ---- */

/* Whole steps of which the first has `from` in it and the last `to`; one more than was asked for where neither begins a
 * step. False: they would be shorter than a minute, which rollups cannot tell, or the range is not bounded. */
static bool rollup_columns(struct time_range range, size_t cols, struct time_columns *out)
{
    uint64_t now = clock_unix_ns(), min = range.min_unix_ns;
    uint64_t max = range.max_unix_ns == UINT64_MAX ? now : range.max_unix_ns;
    if (min == 0 || max <= min || (max - min) / cols < DERIVED_STEP_MIN_NS)
        return false;
    uint64_t step = numbers_nice_step(max - min, cols), t0 = min - min % step;
    *out = (struct time_columns){ .t0_unix_ns = t0,
                                  .step_ns = step,
                                  .count = (size_t)((max - t0 + step - 1) / step) };
    return true;
}

/* Services over their bound have their spans under another name, so that one of them would seem to have fewer. */
static enum err is_told_apart(struct call *c, const struct red_query *like, bool *out)
{
    struct red_query q = *like;
    struct red_result result = { 0 };
    *out = like->service.len == 0;
    if (*out)
        return ERR_OK;
    q.service = BYTES_LITERAL(DERIVED_OVERFLOW_NAME);
    q.range.step_ns = 0;
    q.wants_duration = false;
    q.group = 0;
    enum err e = engine_red(c->options->engine, &c->context, &q, &result);
    *out = e == ERR_OK && result.count == 0;
    return e;
}

/* A bucket is within 0.55 % of each of its durations: near an edge, some of them belong to the row beside. */
static void add_point(struct heatmap *h, const struct red_point *p, bool is_error)
{
    if (p->start_unix_ns < h->time.t0_unix_ns)
        return;
    struct cell *column = &h->cells[time_columns_at(&h->time, p->start_unix_ns) * FINE_ROWS];
    const struct histogram *d = &p->duration;
    column[0].count += d->zero_count;
    column[0].errors += is_error ? d->zero_count : 0;
    for (uint32_t i = 0; i < d->length; i++) {
        uint64_t n = histogram_at(d, i);
        if (n == 0)
            continue;
        double middle = histogram_middle(d->first + (int32_t)i, d->scale);
        middle = middle < (double)d->min ? (double)d->min : middle;
        struct cell *cell = &column[row_of(middle < (double)d->max ? (uint64_t)middle : d->max)];
        cell->count += n;
        cell->errors += is_error ? n : 0;
    }
    h->spans += p->calls;
    h->errors += is_error ? p->calls : 0;
}

/* *out_done: false where rollups cannot tell; then nothing was counted. */
static enum err count_rollups(struct call *c, const struct expr *filter, struct page *page,
                              struct heatmap *h, bool *out_done)
{
    struct red_filter f;
    *out_done = false;
    if (!rollup_columns(page->range, h->cols, &h->time) || !red_filter_of(filter, &f))
        return ERR_OK;
    uint64_t end = h->time.t0_unix_ns + h->time.count * h->time.step_ns;
    const struct red_query q = { .range = { h->time.t0_unix_ns, end, h->time.step_ns },
                                 .group = RED_BY_STATUS,
                                 .service = f.service,
                                 .kinds = f.kinds,
                                 .wants_duration = true };
    struct red_result result = { 0 };
    enum err e = is_told_apart(c, &q, out_done);
    if (e == ERR_OK && *out_done)
        e = engine_red(c->options->engine, &c->context, &q, &result);
    if (e != ERR_OK || !*out_done)
        return e;
    c->is_damaged |= result.is_damaged;
    h->cols = h->time.count;
    h->is_of_rollups = true;
    h->cells = arena_alloc_array(&c->arena, h->cols * FINE_ROWS, sizeof *h->cells);
    if (h->cells == NULL)
        return arena_failure(&c->arena);
    for (size_t i = 0; i < result.count; i++) {
        const struct red_series *s = &result.series[i];
        for (size_t k = 0; (f.statuses >> s->status & 1) != 0 && k < s->points_count; k++)
            add_point(h, &s->points[k], s->status == 2);
    }
    page->range = (struct time_range){ h->time.t0_unix_ns, end };
    return query_check(&c->context);
}

static enum err count_spans(struct call *c, const struct expr *const *filters,
                            const struct page *page, struct heatmap *h, struct row_scan_result *out)
{
    const struct row_scan scan = { .signal = SIGNAL_TRACES,
                                   .range = page->range,
                                   .filters = filters,
                                   .filters_count = 2,
                                   .on_extent = on_extent };
    h->time = time_columns_of(page->range, page->range, h->cols);
    h->cells = arena_alloc_array(&c->arena, h->cols * FINE_ROWS, sizeof *h->cells);
    if (h->cells == NULL)
        return arena_failure(&c->arena);
    return engine_rows_scan(c->options->engine, &c->context, &scan, on_span, h, out);
}

enum err native_heatmap(struct call *c)
{
    static const char *const known[] = { "q", "from", "to", "metric", "cols", "rows", "box", NULL };
    static const char *const metrics[] = { "duration", NULL };
    uint64_t cols = TIME_COLUMNS_DEFAULT, rows = ROWS_DEFAULT;
    size_t metric = 0;
    struct page page = { 0 };
    const struct expr *filters[2];
    struct filter f;
    struct bytes unused;
    filter_init(&f, &c->arena);
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_word(c, "metric", metrics, &metric);
    if (e == ERR_OK)
        e = parameter_u64(c, "cols", TIME_COLUMNS_MIN, TIME_COLUMNS_MAX, &cols);
    if (e == ERR_OK)
        e = parameter_u64(c, "rows", ROWS_MIN, ROWS_MAX, &rows);
    if (e == ERR_OK)
        e = parameter_range(c, &page.range);
    if (e == ERR_OK)
        e = box_parameter(c, &page.range, &f);
    if (e == ERR_OK)
        e = read_filters(c, &f, filters);
    if (e != ERR_OK)
        return e;

    struct heatmap h = { .asked = page.range, .cols = (size_t)cols };
    struct row_scan_result result = { .progress.is_complete = true };
    bool is_done = false;
    if (!parameter_text(c, "box", &unused)) /* its ends need not be whole minutes */
        e = count_rollups(c, filters[0], &page, &h, &is_done);
    result.covered_from_unix_ns = is_done ? h.time.t0_unix_ns : 0;
    if (e == ERR_OK && !is_done)
        e = count_spans(c, filters, &page, &h, &result);
    if (e == ERR_OK)
        write_heatmap(c, &h, (size_t)rows, &result, &page);
    return e;
}

/* ---- Hits ---- */

struct hits {
    struct time_range asked;
    struct time_columns time;
    size_t cols;
    uint64_t *counts; /* of the filter, column by column; then of the next */
    uint64_t total;
    bool is_approximate;
};

static void on_hits_extent(void *context, bool is_empty, struct time_range extent)
{
    struct hits *h = context;
    (void)is_empty;
    h->time = time_columns_of(h->asked, extent, h->cols);
}

static void on_hit(void *context, const struct scanned_row *row)
{
    struct hits *h = context;
    h->is_approximate |= !row->is_certain;
    h->counts[row->filter * h->cols + time_columns_at(&h->time, row->start_unix_ns)]++;
    h->total++;
}

static enum err count_hits(struct call *c, enum signal signal, const struct expr *const *filters,
                           size_t filters_count, struct hits *h, struct row_scan_result *out)
{
    const struct row_scan scan = { .signal = signal,
                                   .range = h->asked,
                                   .filters = filters,
                                   .filters_count = filters_count,
                                   .on_extent = on_hits_extent };
    h->time = time_columns_of(h->asked, h->asked, h->cols);
    h->counts = arena_alloc_array(&c->arena, filters_count * h->cols, sizeof *h->counts);
    if (h->counts == NULL)
        return arena_failure(&c->arena);
    return engine_rows_scan(c->options->engine, &c->context, &scan, on_hit, h, out);
}

static void write_counts(struct json_writer *j, const struct hits *h, size_t filter)
{
    json_array_begin(j);
    for (size_t i = 0; i < h->cols; i++)
        json_u64(j, h->counts[filter * h->cols + i]);
    json_array_end(j);
}

enum err native_write_hits(struct call *c, struct time_range range, const struct expr *filter,
                           size_t cols)
{
    struct json_writer *j = &c->json;
    struct hits h = { .asked = range, .cols = cols };
    struct row_scan_result result = { 0 };
    enum err e = count_hits(c, SIGNAL_TRACES, &filter, 1, &h, &result);
    if (e != ERR_OK)
        return e;
    json_key(j, "hits");
    json_object_begin(j);
    time_columns_write(&h.time, j);
    json_key(j, "n");
    write_counts(j, &h, 0);
    native_write_count(j, "total", h.total);
    json_key(j, "approximate");
    json_bool(j, h.is_approximate);
    native_write_ns(j, "covered_from", result.covered_from_unix_ns);
    json_key(j, "complete");
    json_bool(j, result.progress.is_complete);
    json_object_end(j);
    return ERR_OK;
}

/* ---- Severities ---- */

/* OTLP's ranges of four numbers; what has none, or one beyond them, is unset. */
static const char *const severities[] = { "unset", "trace", "debug", "info",
                                          "warn",  "error", "fatal" };
#define SEVERITIES (sizeof severities / sizeof severities[0])

static struct expr *severity_term(struct arena *a, size_t index)
{
    int64_t first = 4 * (int64_t)index - 3; /* 1, 5, 9... */
    struct expr *from = term_intrinsic(a, EXPR_INTRINSIC_LOG_SEVERITY, EXPR_GE, EXPR_INT, first);
    struct expr *to = term_intrinsic(a, EXPR_INTRINSIC_LOG_SEVERITY, EXPR_LT, EXPR_INT, first + 4);
    return from == NULL || to == NULL ? NULL : expr_binary(a, EXPR_AND, from, to);
}

/* All that match first, then those of each severity. */
static enum err severity_filters(struct call *c, struct filter *f,
                                 const struct expr *out[SEVERITIES])
{
    enum err e = filter_add_query(c, f, SIGNAL_LOGS, "q");
    for (size_t i = 1; e == ERR_OK && i < SEVERITIES; i++)
        e = tree_with(f, severity_term(&c->arena, i), &out[i]);
    return e == ERR_OK ? filter_tree(f, &out[0]) : e;
}

/* What was counted for none of them is unset. */
static uint64_t take_the_rest(struct hits *h)
{
    uint64_t total = 0;
    for (size_t x = 0; x < h->cols; x++) {
        total += h->counts[x];
        for (size_t i = 1; i < SEVERITIES; i++) {
            uint64_t n = h->counts[i * h->cols + x];
            h->counts[x] -= n < h->counts[x] ? n : h->counts[x];
        }
    }
    return total;
}

enum err native_logs_histogram(struct call *c)
{
    static const char *const known[] = { "q", "from", "to", "cols", NULL };
    uint64_t cols = TIME_COLUMNS_DEFAULT;
    struct page page = { 0 };
    const struct expr *filters[SEVERITIES];
    struct filter f;
    struct row_scan_result result = { 0 };
    filter_init(&f, &c->arena);
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "cols", TIME_COLUMNS_MIN, TIME_COLUMNS_MAX, &cols);
    if (e == ERR_OK)
        e = parameter_range(c, &page.range);
    if (e == ERR_OK)
        e = severity_filters(c, &f, filters);
    struct hits h = { .asked = page.range, .cols = (size_t)cols };
    if (e == ERR_OK)
        e = count_hits(c, SIGNAL_LOGS, filters, SEVERITIES, &h, &result);
    if (e != ERR_OK)
        return e;

    struct json_writer *j = &c->json;
    uint64_t total = take_the_rest(&h);
    json_object_begin(j);
    time_columns_write(&h.time, j);
    native_write_count(j, "cols", h.cols);
    json_key(j, "severities");
    json_array_begin(j);
    for (size_t i = 0; i < SEVERITIES; i++)
        json_text(j, severities[i]);
    json_array_end(j);
    json_key(j, "n");
    json_array_begin(j);
    for (size_t i = 0; i < SEVERITIES; i++)
        write_counts(j, &h, i);
    json_array_end(j);
    native_write_count(j, "total", total);
    native_write_ns(j, "covered_from", result.covered_from_unix_ns);
    native_write_end(c, &result.progress, total > 0, &page, NULL);
    json_object_end(j);
    return ERR_OK;
}
