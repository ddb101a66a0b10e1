/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - the parts of `spindle load`: requests made beforehand, sending them, telling what came
 * of it.
 *
 * Role       load_requests.c makes or reads the requests and compresses them before the clock
 * starts; load_run.c sends them and counts; load_report.c prints. Threads    one. */
#ifndef SPINDLE_CLI_LOAD_H
#define SPINDLE_CLI_LOAD_H

#include "bench/samples.h"
#include "bench/workload.h"
#include "cli/options.h"
#include "codec/codec.h"
#include "net/client.h"

#define LOAD_OPTIONS(X)                                                                            \
    X(TEXT, endpoint, "endpoint", "127.0.0.1:4317", "ADDR", "Send to this OTLP server.")           \
    X(CHOICE, protocol, "protocol", "grpc", "grpc|http",                                           \
      "gRPC, or HTTP/1.1 with protobuf bodies.")                                                   \
    X(CHOICE, encoding, "encoding", "gzip", "none|gzip|zstd", "How bodies are compressed.")        \
    X(CHOICE, workload, "workload", "w1", "w1|w2|w3|w4",                                           \
      "The traces: w1 shop, w2 wide, w3 tracegen, w4 hostile.")                                    \
    X(TEXT, file, "file", NULL, "FILE",                                                            \
      "Replay a file of bench/gen instead of making a workload.")                                  \
    X(COUNT, spans, "spans", "1000000", "N", "How many spans are prepared.", "1..1000000000")      \
    X(COUNT, batch, "batch", "512", "N", "Spans in a request.", "1..8192")                         \
    X(COUNT, seed, "seed", "0", "N", "Seed of the workload; 0 is its own.")                        \
    X(DURATION, duration, "duration", "0", "TIME", "Stop after this long; 0: when all is sent.")   \
    X(DURATION, warmup, "warmup", "0", "TIME",                                                     \
      "Leave the first part of the run out of the figures.")                                       \
    X(COUNT, connections, "connections", "4", "N", "Connections.", "1..1024")                      \
    X(COUNT, in_flight, "in-flight", "4", "N", "Requests under way on each; 1 for HTTP.",          \
      "1..1024")                                                                                   \
    X(COUNT, rate, "rate", "0", "N",                                                               \
      "Spans a second, sent by the clock (open loop): latency counts from when a request was "     \
      "due. 0: "                                                                                   \
      "as fast as answers come (closed loop).")                                                    \
    X(DURATION, timeout, "timeout", "10s", "TIME", "Of one attempt.", "1ms..1h")                   \
    X(SECRET, token, "token", NULL, "TOKEN", "Send 'Authorization: Bearer TOKEN'.")                \
    X(TEXT, truth, "truth", NULL, "FILE", "Write what was prepared, exactly counted, as JSON.")    \
    X(FLAG, json, "json", NULL, NULL, "Print the result as JSON.")

struct load_options {
    LOAD_OPTIONS(OPTION_MEMBER)
};

/* One request, with its history. */
struct load_request {
    struct client_call call; /* first: on_done gets it back */
    struct load_run *run;
    struct bytes body; /* as sent; owned */
    uint32_t spans, attempts;
    uint64_t due_mono_ns;   /* when it was, or had to be, sent first */
    uint64_t retry_mono_ns; /* when to send it again */
    struct load_request *next_retry;
};

struct load_requests {
    struct load_request *items;
    size_t count, capacity;
    uint64_t spans, body_bytes, sent_bytes;
    uint64_t prepare_ns;
};

/* Make all requests. On failure *message gets a sentence. */
NODISCARD enum err load_requests_make(const struct load_options *o, struct load_requests *out,
                                      const char **message);
void load_requests_deinit(struct load_requests *r);

#define LOAD_HTTP_STATUS_MAX 600

struct load_result {
    uint64_t spans_acknowledged; /* in answers that said so, less the rejected */
    uint64_t spans_measured;     /* of these, after the warm-up */
    uint64_t spans_rejected;     /* partial success */
    uint64_t spans_lost;         /* in requests given up */
    uint64_t requests_acknowledged, requests_lost, requests_unsent;
    uint64_t retries;
    uint64_t bytes_acknowledged; /* of bodies as sent */
    uint64_t elapsed_ns, measured_ns;
    struct samples latencies;  /* ns, sorted; of acknowledged requests after the warm-up */
    uint64_t latencies_missed; /* for lack of memory */
    /* Every answer that was no success, whether retried or not */
    uint64_t errors[ERR_COUNT], grpc[17], http[LOAD_HTTP_STATUS_MAX];
    bool is_interrupted;
};

/* Send all requests as the options say, and wait for their answers. The result is to be given to load_result_deinit(). */
NODISCARD enum err load_run(const struct load_options *o, struct load_requests *requests,
                            struct load_result *out);
void load_result_deinit(struct load_result *r);

/* Append the result, for people or as JSON. */
void load_report(const struct load_options *o, const struct load_requests *requests,
                 const struct load_result *r, struct buffer *out);

#endif
