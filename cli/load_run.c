/* SPDX-License-Identifier: Apache-2.0 */
/* Closed loop: connections x in-flight requests are always under way; each answer sends the next.
 * Open loop: requests are sent when the clock says so, however many are under way, and a latency
 * counts from then, so that a server that stalls cannot hide it. Refused requests are sent again as
 * exporters do it. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"
#include "cli/load.h"

#include <signal.h>
#include <stdio.h>

#define ATTEMPTS_MAX     50u
#define PATIENCE_NS      (10 * NS_PER_S) /* for the first connection: a server may be starting */
#define BACKOFF_FIRST_NS (100 * NS_PER_MS)
#define BACKOFF_LAST_NS  (5 * NS_PER_S)

struct load_run {
    const struct load_options *options;
    struct load_requests *requests;
    struct load_result *result;
    struct client *client;
    struct random random;
    char authorization[1024];
    size_t next;        /* request to be sent first */
    size_t under_way;   /* sent or waiting to be sent again */
    uint64_t spans_due; /* open loop: spans of the requests sent so far */
    uint64_t start_mono_ns, measure_mono_ns, end_mono_ns, last_answer_mono_ns;
    struct load_request *retries;
    bool has_connected; /* something else than "no connection" has come */
    bool is_failing;    /* it was said that there is no connection */
    bool gives_up;      /* there never was one: nothing is sent again */
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void send_request(struct load_run *run, struct load_request *r)
{
    r->attempts++;
    client_send(run->client, &r->call);
}

static bool may_send(const struct load_run *run)
{
    return run->next < run->requests->count && clock_mono_ns() < run->end_mono_ns && !interrupted &&
           !run->gives_up;
}

static void send_next(struct load_run *run, uint64_t due_mono_ns)
{
    struct load_request *r = &run->requests->items[run->next++];
    r->due_mono_ns = due_mono_ns;
    run->under_way++;
    run->spans_due += r->spans;
    send_request(run, r);
}

/* ExportTraceServiceResponse{partial_success=1{rejected_spans=1}}. Its size is small, its fields
 * are few. */
static uint64_t rejected_spans(struct bytes answer)
{
    if (answer.len < 4 || answer.data[0] != 0x0a || answer.data[2] != 0x08)
        return 0; /* nothing, or a warning that rejects nothing */
    uint64_t v = 0;
    for (size_t i = 3, shift = 0; i < answer.len && shift < 63; i++, shift += 7) {
        v |= (uint64_t)(answer.data[i] & 0x7f) << shift;
        if (answer.data[i] < 0x80)
            return v;
    }
    return 0;
}

static void count_acknowledged(struct load_run *run, const struct load_request *r,
                               const struct client_result *answer, uint64_t now)
{
    struct load_result *result = run->result;
    uint64_t rejected = rejected_spans(answer->body);
    rejected = rejected < r->spans ? rejected : r->spans;
    result->requests_acknowledged++;
    result->spans_acknowledged += r->spans - rejected;
    result->spans_rejected += rejected;
    result->bytes_acknowledged += r->body.len;
    if (now >= run->measure_mono_ns)
        result->spans_measured += r->spans - rejected;
    if (r->due_mono_ns >= run->measure_mono_ns &&
        samples_add(&result->latencies, now - r->due_mono_ns) != ERR_OK)
        result->latencies_missed++;
}

static void count_error(struct load_result *result, const struct client_result *answer)
{
    if (answer->error != ERR_OK)
        result->errors[answer->error]++;
    else if (answer->grpc_status >= 0)
        result->grpc[answer->grpc_status]++;
    else
        result->http[answer->http_status < LOAD_HTTP_STATUS_MAX ? answer->http_status : 0]++;
}

static void retry_later(struct load_run *run, struct load_request *r, uint64_t after_ns,
                        uint64_t now)
{
    uint64_t wait_ns = after_ns;
    if (wait_ns == 0) {
        wait_ns = BACKOFF_FIRST_NS << (r->attempts < 6 ? r->attempts - 1 : 5);
        wait_ns = wait_ns < BACKOFF_LAST_NS ? wait_ns : BACKOFF_LAST_NS;
        wait_ns = wait_ns / 2 + random_below(&run->random, wait_ns / 2 + 1);
    }
    r->retry_mono_ns = now + wait_ns;
    r->next_retry = run->retries;
    run->retries = r;
    run->result->retries++;
}

static void finish_if_done(struct load_run *run)
{
    if (run->under_way == 0 && !may_send(run))
        client_stop(run->client);
}

/* Say that nobody is there, once until somebody is; give up when nobody ever was. */
static void notice(struct load_run *run, const struct client_result *answer, uint64_t now)
{
    const char *endpoint = run->options->endpoint;
    if (answer->error == ERR_CANCELLED)
        return;
    bool is_failing = answer->error == ERR_IO;
    run->has_connected = run->has_connected || !is_failing;
    if (is_failing && !run->is_failing)
        fprintf(stderr, "spindle load: %s: no answer (%s), trying again\n", endpoint,
                client_result_text(answer));
    else if (!is_failing && run->is_failing)
        fprintf(stderr, "spindle load: %s answers again\n", endpoint);
    run->is_failing = is_failing;
    if (run->has_connected || run->gives_up || now < run->start_mono_ns + PATIENCE_NS)
        return;
    run->gives_up = true;
    fprintf(stderr, "spindle load: %s: no connection in %u s, giving up\n", endpoint,
            (unsigned)(PATIENCE_NS / NS_PER_S));
}

static void on_done(struct client_call *call, const struct client_result *answer)
{
    struct load_request *r = (struct load_request *)call;
    struct load_run *run = r->run;
    uint64_t now = clock_mono_ns();
    bool is_ok = answer->error == ERR_OK && answer->http_status == 200 &&
                 (run->options->protocol != 0 || answer->grpc_status == 0);
    run->last_answer_mono_ns = now;
    notice(run, answer, now);
    if (is_ok) {
        count_acknowledged(run, r, answer, now);
    } else {
        count_error(run->result, answer);
        bool may_retry = answer->error != ERR_CANCELLED && r->attempts < ATTEMPTS_MAX &&
                         now < run->end_mono_ns && !interrupted && !run->gives_up;
        if (may_retry && client_result_is_retryable(answer)) {
            retry_later(run, r, answer->retry_after_ns, now);
            return;
        }
        run->result->requests_lost++;
        run->result->spans_lost += r->spans;
    }
    run->under_way--;
    if (run->options->rate == 0 && may_send(run))
        send_next(run, now);
    finish_if_done(run);
}

static void send_due_retries(struct load_run *run, uint64_t now)
{
    struct load_request *due = run->retries;
    run->retries = NULL;
    while (due != NULL) {
        struct load_request *r = due;
        due = r->next_retry;
        if (r->retry_mono_ns <= now || interrupted || run->gives_up) {
            send_request(run, r);
        } else {
            r->next_retry = run->retries;
            run->retries = r;
        }
    }
}

static void on_tick(void *context)
{
    struct load_run *run = context;
    uint64_t now = clock_mono_ns();
    send_due_retries(run, now);
    while (run->options->rate != 0 && may_send(run)) {
        double after_s = (double)run->spans_due / (double)run->options->rate;
        uint64_t due = run->start_mono_ns + (uint64_t)(after_s * 1e9);
        if (due > now)
            break;
        send_next(run, due);
    }
    finish_if_done(run);
}

static void prepare_calls(struct load_run *run)
{
    static const char *const encodings[] = { NULL, "gzip", "zstd" };
    const struct load_options *o = run->options;
    for (size_t i = 0; i < run->requests->count; i++) {
        struct load_request *r = &run->requests->items[i];
        r->run = run;
        r->call = (struct client_call){
            .path = o->protocol == 0 ? "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
                                     : "/v1/traces",
            .content_type = "application/x-protobuf",
            .encoding = encodings[o->encoding],
            .body = r->body,
            .on_done = on_done,
        };
    }
}

static enum err open_client(struct load_run *run)
{
    const struct load_options *o = run->options;
    if (o->token != NULL)
        snprintf(run->authorization, sizeof run->authorization, "Bearer %s", o->token);
    const struct client_options options = {
        .endpoint = o->endpoint,
        .protocol = o->protocol == 0 ? CLIENT_GRPC : CLIENT_HTTP1,
        .connections = (unsigned)o->connections,
        .in_flight_per_connection = (unsigned)o->in_flight,
        .timeout_ns = o->timeout,
        .authorization = o->token == NULL ? NULL : run->authorization,
    };
    return client_open(&options, &run->client);
}

enum err load_run(const struct load_options *o, struct load_requests *requests,
                  struct load_result *out)
{
    *out = (struct load_result){ 0 };
    struct load_run run = { .options = o, .requests = requests, .result = out };
    random_init(&run.random, clock_mono_ns());
    enum err e = open_client(&run);
    if (e != ERR_OK)
        return e;
    prepare_calls(&run);

    struct sigaction old, action = { .sa_handler = on_interrupt };
    sigaction(SIGINT, &action, &old);
    run.start_mono_ns = run.last_answer_mono_ns = clock_mono_ns();
    run.measure_mono_ns = run.start_mono_ns + o->warmup;
    run.end_mono_ns = o->duration == 0 ? UINT64_MAX : run.start_mono_ns + o->duration;
    if (o->rate == 0) {
        for (size_t slots = client_free_slots(run.client); slots > 0 && may_send(&run); slots--)
            send_next(&run, clock_mono_ns());
    }
    client_run(run.client, false, NS_PER_MS, on_tick, &run);
    sigaction(SIGINT, &old, NULL);
    client_close(run.client);

    out->is_interrupted = interrupted != 0;
    out->requests_unsent = requests->count - run.next;
    out->elapsed_ns = run.last_answer_mono_ns - run.start_mono_ns;
    out->measured_ns = out->elapsed_ns > o->warmup ? out->elapsed_ns - o->warmup : 0;
    samples_sort(&out->latencies);
    return ERR_OK;
}

void load_result_deinit(struct load_result *r)
{
    samples_deinit(&r->latencies);
}
