/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of Jaeger's Monitor tab: what Jaeger would ask a Prometheus for, from rollups. A value at
 * a time speaks of the rate window (ratePer) that ends there; both are cut to whole minutes, the
 * finest that rollups have. */
#include "query/jaeger_numbers.h"
#include "query/jaeger_query.h"
#include "query/jaeger_service.h"
#include "query/red_rows.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MINUTE_MS        (DERIVED_STEP_MIN_NS / NS_PER_MS)
#define MS_MAX           (UINT64_MAX / 8 / NS_PER_MS)
#define LOOKBACK_MS      3600000
#define STEP_MS          5000
#define RATE_MS          600000
#define TIMES_MAX        11000 /* Prometheus' own bound */
#define GRAINS_MAX       50000 /* minutes looked at for them */
#define SERVICES_MAX     64    /* in one request */
#define GRAINS_PER_CHECK 4096

enum what { LATENCIES, CALLS, ERRORS };

struct question {
    enum what what;
    double quantile;
    bool by_operation;
    unsigned kinds;
    uint64_t step_ns, rate_ns, grain_ns;
    uint64_t first_end, times; /* the first time, and how many */
    struct numbers_window w;   /* of grains: from the first rate window's begin to the last time */
};

/* ---- Parameters ---- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static enum err read_kinds(struct call *c, struct question *q)
{
    q->kinds = 0;
    for (size_t i = 0; i < c->parameter_count; i++) {
        struct bytes value = c->parameters[i].value;
        uint32_t kind = 0;
        if (!bytes_equal_text(c->parameters[i].name, "spanKind") || value.len == 0)
            continue;
        while (kind_words[kind] != NULL && !bytes_equal_text(value, kind_words[kind]))
            kind++;
        if (kind_words[kind] == NULL)
            return call_fail(c, ERR_INVALID, "spanKind",
                             "expected unspecified, internal, server, client, producer or "
                             "consumer");
        q->kinds |= 1U << kind;
    }
    if (q->kinds == 0)
        q->kinds = 1U << 2; /* server */
    return ERR_OK;
}

static enum err read_quantile(struct call *c, struct question *q)
{
    struct bytes text;
    char copy[32] = { 0 }, *end = copy;
    if (!parameter_text(c, "quantile", &text))
        return call_fail(c, ERR_INVALID, "quantile", "it is required");
    if (text.len < sizeof copy) {
        memcpy(copy, text.data, text.len);
        q->quantile = strtod(copy, &end);
    }
    if (end == copy || *end != '\0' || !(q->quantile >= 0 && q->quantile <= 1))
        return call_fail(c, ERR_INVALID, "quantile", "expected a number from 0 to 1");
    return ERR_OK;
}

/* Whole minutes, at least one. */
static uint64_t minutes(uint64_t ms)
{
    return (ms + MINUTE_MS - 1) / MINUTE_MS * DERIVED_STEP_MIN_NS;
}

static enum err read_times(struct call *c, struct question *q)
{
    uint64_t end_ms = clock_unix_ns() / NS_PER_MS;
    uint64_t lookback_ms = LOOKBACK_MS, step_ms = STEP_MS, rate_ms = RATE_MS;
    enum err e = parameter_u64(c, "endTs", 1, MS_MAX, &end_ms);
    if (e == ERR_OK)
        e = parameter_u64(c, "lookback", 1, MS_MAX, &lookback_ms);
    if (e == ERR_OK)
        e = parameter_u64(c, "step", 1, MS_MAX, &step_ms);
    if (e == ERR_OK)
        e = parameter_u64(c, "ratePer", 1, MS_MAX, &rate_ms);
    if (e != ERR_OK)
        return e;
    q->step_ns = minutes(step_ms);
    q->rate_ns = minutes(rate_ms);
    q->grain_ns = gcd(q->step_ns, q->rate_ns);
    uint64_t end = end_ms * NS_PER_MS / q->grain_ns * q->grain_ns;
    uint64_t lookback = lookback_ms * NS_PER_MS;
    if (lookback + q->rate_ns > end)
        return call_fail(c, ERR_INVALID, "lookback", "it reaches back before 1970");
    q->times = lookback / q->step_ns + 1;
    q->first_end = end - (q->times - 1) * q->step_ns;
    uint64_t from = q->first_end - q->rate_ns;
    uint64_t grains = (end - from) / q->grain_ns;
    if (q->times > TIMES_MAX || grains > GRAINS_MAX)
        return call_fail(c, ERR_INVALID, "step", "it makes too many points of this lookback");
    q->w = (struct numbers_window){ .from = from,
                                    .to = end,
                                    .end = end,
                                    .seconds = (double)(end - from) / 1e9,
                                    .step_ns = q->grain_ns,
                                    .t0 = from,
                                    .points = (size_t)grains };
    return ERR_OK;
}

static enum err read_question(struct call *c, struct question *q)
{
    struct bytes text;
    if (!parameter_text(c, "service", &text))
        return call_fail(c, ERR_INVALID, "service", "it is required");
    enum err e = read_kinds(c, q);
    if (e == ERR_OK && q->what == LATENCIES)
        e = read_quantile(c, q);
    if (e == ERR_OK)
        e = read_times(c, q);
    if (e == ERR_OK && parameter_text(c, "groupByOperation", &text)) {
        q->by_operation = bytes_equal_text(text, "true");
        if (!q->by_operation && !bytes_equal_text(text, "false"))
            e = call_fail(c, ERR_INVALID, "groupByOperation", "expected true or false");
    }
    return e;
}

/* ---- Values ---- */

/* At a time whose rate window is the grains [first, first + count). NaN: undefined. */
static enum err value_at(const struct question *q, const struct numbers_points *p, size_t first,
                         size_t count, double *out)
{
    uint64_t calls = 0, errors = 0;
    struct histogram merged;
    enum err e = ERR_OK;
    histogram_init(&merged, NULL); /* on the heap: it is short-lived, and there are thousands */
    for (size_t i = first; e == ERR_OK && i < first + count; i++) {
        calls += p->count[i];
        errors += p->errors[i];
        if (q->what == LATENCIES)
            e = histogram_merge(&merged, &p->durations[i]);
    }
    switch (q->what) {
    case LATENCIES:
        *out = merged.count == 0 ? (double)NAN : histogram_quantile(&merged, q->quantile) / 1e6;
        break;
    case CALLS:
        *out = (double)calls / ((double)q->rate_ns / 1e9);
        break;
    case ERRORS:
        *out = calls == 0 ? (double)NAN : (double)errors / (double)calls;
        break;
    }
    histogram_deinit(&merged);
    return e;
}

static void write_label(struct json_writer *j, const char *name, struct bytes value)
{
    json_object_begin(j);
    json_key(j, "name");
    json_text(j, name);
    json_key(j, "value");
    json_string(j, value);
    json_object_end(j);
}

static enum err write_value(struct json_writer *j, uint64_t unix_ns, double value)
{
    struct buffer time;
    buffer_init(&time, 64);
    text_time(&time, unix_ns);
    json_object_begin(j);
    json_key(j, "gaugeValue");
    json_object_begin(j);
    json_key(j, "doubleValue");
    json_double(j, value);
    json_object_end(j);
    json_key(j, "timestamp");
    json_string(j, buffer_bytes(&time));
    json_object_end(j);
    enum err e = buffer_error(&time);
    buffer_deinit(&time);
    return e;
}

static enum err write_metric(struct call *c, const struct question *q, struct bytes service,
                             const struct red_row *r)
{
    struct json_writer *j = &c->json;
    const size_t per_step = (size_t)(q->step_ns / q->grain_ns);
    const size_t per_rate = (size_t)(q->rate_ns / q->grain_ns);
    size_t looked_at = 0;
    enum err e = ERR_OK;
    json_object_begin(j);
    json_key(j, "labels");
    json_array_begin(j);
    write_label(j, "service_name", service); /* first: the page takes the first for it */
    if (q->by_operation)
        write_label(j, "operation", r->name);
    json_array_end(j);
    json_key(j, "metricPoints");
    json_array_begin(j);
    for (size_t i = 0; e == ERR_OK && i < q->times; i++) {
        double value = 0;
        e = value_at(q, &r->points, i * per_step, per_rate, &value);
        if (e == ERR_OK)
            e = write_value(j, q->first_end + i * q->step_ns, value);
        looked_at += per_rate;
        if (e == ERR_OK && looked_at >= GRAINS_PER_CHECK) {
            looked_at = 0;
            e = query_check(&c->context);
        }
    }
    json_array_end(j);
    json_object_end(j);
    return e;
}

static enum err write_service(struct call *c, const struct question *q, struct bytes service)
{
    struct red_row *rows = NULL;
    size_t count = 0;
    const struct red_rows_query query = { .service = jaeger_service_asked(service),
                                          .kinds = q->kinds,
                                          .by = q->by_operation ? RED_BY_NAME : 0,
                                          .has_point_durations = q->what == LATENCIES };
    enum err e = red_rows(c, &q->w, &query, &rows, &count);
    for (size_t i = 0; e == ERR_OK && i < count; i++)
        e = write_metric(c, q, service, &rows[i]);
    return e;
}

static void write_head(struct call *c, const struct question *q)
{
    static const char *const names[] = {
        [LATENCIES] = "latencies", [CALLS] = "call_rate", [ERRORS] = "error_rate"
    };
    const char *by = q->by_operation ? "service & operation" : "service";
    struct json_writer *j = &c->json;
    char text[96];
    json_object_begin(j);
    (void)snprintf(text, sizeof text, "service_%s%s", q->by_operation ? "operation_" : "",
                   names[q->what]);
    json_key(j, "name");
    json_text(j, text);
    json_key(j, "type");
    json_text(j, "GAUGE");
    switch (q->what) {
    case LATENCIES:
        (void)snprintf(text, sizeof text, "%.2fth quantile latency in ms, grouped by %s",
                       q->quantile, by);
        break;
    case CALLS:
        (void)snprintf(text, sizeof text, "calls/sec, grouped by %s", by);
        break;
    case ERRORS:
        (void)snprintf(text, sizeof text, "share of calls that failed, grouped by %s", by);
        break;
    }
    json_key(j, "help");
    json_text(j, text);
    json_key(j, "metrics");
    json_array_begin(j);
}

static enum err answer(struct call *c, enum what what)
{
    struct question q = { .what = what };
    size_t services = 0;
    enum err e = read_question(c, &q);
    if (e != ERR_OK)
        return e;
    write_head(c, &q);
    for (size_t i = 0; e == ERR_OK && i < c->parameter_count; i++) {
        const struct http_parameter *p = &c->parameters[i];
        if (!bytes_equal_text(p->name, "service") || p->value.len == 0)
            continue;
        if (++services > SERVICES_MAX)
            return call_fail(c, ERR_INVALID, "service", "at most %d in one request", SERVICES_MAX);
        e = write_service(c, &q, p->value);
    }
    json_array_end(&c->json);
    json_object_end(&c->json);
    return e;
}

enum err jaeger_latencies(struct call *c)
{
    return answer(c, LATENCIES);
}

enum err jaeger_call_rates(struct call *c)
{
    return answer(c, CALLS);
}

enum err jaeger_error_rates(struct call *c)
{
    return answer(c, ERRORS);
}

enum err jaeger_min_step(struct call *c)
{
    jaeger_envelope_begin(c);
    json_u64(&c->json, MINUTE_MS);
    jaeger_envelope_end(c, 1);
    return ERR_OK;
}
