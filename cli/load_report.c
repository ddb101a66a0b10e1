/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json_writer.h"
#include "cli/load.h"

static const struct {
    const char *key, *text;
    double quantile;
} quantiles[] = { { "p50", "p50", 0.5 },
                  { "p90", "p90", 0.9 },
                  { "p99", "p99", 0.99 },
                  { "p99_9", "p99.9", 0.999 },
                  { "max", "max", 1 } };
#define QUANTILE_COUNT (sizeof quantiles / sizeof *quantiles)

static const char *const grpc_names[17] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double rate(const struct load_result *r)
{
    return r->measured_ns == 0 ? 0 : (double)r->spans_measured / seconds(r->measured_ns);
}

typedef void error_fn(void *context, const char *kind, uint64_t count);

/* Every kind of failure that occurred. */
static void each_error(const struct load_result *r, error_fn *visit, void *context)
{
    for (unsigned i = 0; i < ERR_COUNT; i++) {
        if (r->errors[i] != 0)
            visit(context, err_text((enum err)i), r->errors[i]);
    }
    for (unsigned i = 0; i < 17; i++) {
        if (r->grpc[i] != 0)
            visit(context, grpc_names[i], r->grpc[i]);
    }
    for (unsigned i = 0; i < LOAD_HTTP_STATUS_MAX; i++) {
        if (r->http[i] == 0)
            continue;
        char kind[] = "HTTP 000";
        kind[5] = (char)('0' + i / 100);
        kind[6] = (char)('0' + i / 10 % 10);
        kind[7] = (char)('0' + i % 10);
        visit(context, kind, r->http[i]);
    }
}

static void print_error(void *context, const char *kind, uint64_t count)
{
    buffer_printf(context, "  %-24s %12llu\n", kind, (unsigned long long)count);
}

static void report_text(const struct load_requests *q, const struct load_result *r,
                        struct buffer *out)
{
    buffer_printf(
        out, "prepared    %llu spans in %zu requests, %.1f B/span plain, %.1f as sent; %.1f s\n",
        (unsigned long long)q->spans, q->count, (double)q->body_bytes / (double)q->spans,
        (double)q->sent_bytes / (double)q->spans, seconds(q->prepare_ns));
    buffer_printf(out, "acknowledged %llu spans in %.2f s: %.0f spans/s%s\n",
                  (unsigned long long)r->spans_acknowledged, seconds(r->elapsed_ns), rate(r),
                  r->is_interrupted ? " (interrupted)" : "");
    buffer_printf(out,
                  "rejected %llu spans, lost %llu spans, %llu retries, %llu requests not sent\n",
                  (unsigned long long)r->spans_rejected, (unsigned long long)r->spans_lost,
                  (unsigned long long)r->retries, (unsigned long long)r->requests_unsent);
    buffer_printf(out, "latency of %zu requests, ms:", r->latencies.count);
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        buffer_printf(out, "  %s %.3f", quantiles[i].text,
                      (double)samples_quantile(&r->latencies, quantiles[i].quantile) / 1e6);
    buffer_append_text(out, "\n");
    size_t before = out->len;
    each_error(r, print_error, out);
    if (out->len == before)
        buffer_append_text(out, "no errors\n");
}

static void json_error(void *context, const char *kind, uint64_t count)
{
    json_key_bytes(context, bytes_text(kind));
    json_u64(context, count);
}

static void number(struct json_writer *w, const char *key, uint64_t v)
{
    json_key(w, key);
    json_u64(w, v);
}

static void report_json(const struct load_options *o, const struct load_requests *q,
                        const struct load_result *r, struct buffer *out)
{
    static const char *const protocols[] = { "grpc", "http" }, *const encodings[] = { "none",
                                                                                      "gzip",
                                                                                      "zstd" };
    struct json_writer w;
    json_init(&w, out);
    json_object_begin(&w);
    json_key(&w, "workload");
    json_text(&w, o->file != NULL ? o->file : workload_name((enum workload_kind)o->workload));
    json_key(&w, "protocol");
    json_text(&w, protocols[o->protocol]);
    json_key(&w, "encoding");
    json_text(&w, encodings[o->encoding]);
    number(&w, "batch", o->batch);
    number(&w, "rate", o->rate);
    number(&w, "connections", o->connections);
    number(&w, "in_flight", o->in_flight);
    number(&w, "spans_prepared", q->spans);
    number(&w, "body_bytes", q->body_bytes);
    number(&w, "sent_bytes", q->sent_bytes);
    number(&w, "spans_acknowledged", r->spans_acknowledged);
    number(&w, "spans_rejected", r->spans_rejected);
    number(&w, "spans_lost", r->spans_lost);
    number(&w, "requests_acknowledged", r->requests_acknowledged);
    number(&w, "requests_lost", r->requests_lost);
    number(&w, "requests_unsent", r->requests_unsent);
    number(&w, "retries", r->retries);
    json_key(&w, "elapsed_s");
    json_double(&w, seconds(r->elapsed_ns));
    json_key(&w, "spans_per_s");
    json_double(&w, rate(r));
    json_key(&w, "latency_ns");
    json_object_begin(&w);
    number(&w, "count", r->latencies.count);
    for (size_t i = 0; i < QUANTILE_COUNT; i++)
        number(&w, quantiles[i].key, samples_quantile(&r->latencies, quantiles[i].quantile));
    json_object_end(&w);
    json_key(&w, "errors");
    json_object_begin(&w);
    each_error(r, json_error, &w);
    json_object_end(&w);
    json_object_end(&w);
    buffer_append_text(out, "\n");
}

void load_report(const struct load_options *o, const struct load_requests *requests,
                 const struct load_result *r, struct buffer *out)
{
    if (o->json)
        report_json(o, requests, r, out);
    else
        report_text(requests, r, out);
}
