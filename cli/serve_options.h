/* SPDX-License-Identifier: Apache-2.0 */
/* serve_options.h - everything `spindle serve` can be told. */
#ifndef SPINDLE_CLI_SERVE_OPTIONS_H
#define SPINDLE_CLI_SERVE_OPTIONS_H

#include "cli/options.h"

/* Limits and defaults: RELIABILITY section 8. */
/* clang-format off: one row an option */
#define SERVE_OPTIONS(X)                                                                           \
    X(TEXT, config, "config", NULL, "FILE",                                                        \
      "Read options from this YAML file: lines of 'key: value', the keys being the names "         \
      "below with '_' for '-'. An unknown key is an error.")                                       \
    X(FLAG, print_config, "print-config", "false", "",                                             \
      "Print the effective configuration as such a file, secrets masked, and exit.")               \
    X(TEXT, data, "data", "./spindle-data", "DIR",                                                 \
      "Keep everything in this directory; it is made when absent. One directory, one "             \
      "server.")                                                                                   \
    X(TEXT, otlp_grpc, "otlp-grpc", "127.0.0.1:4317", "ADDRESS",                                   \
      "Receive OTLP here: the port exporters use for gRPC. 'none' for no such listener.")          \
    X(TEXT, otlp_http, "otlp-http", "127.0.0.1:4318", "ADDRESS",                                   \
      "Receive OTLP here too: the port exporters use for HTTP. Each OTLP listener "                \
      "understands both.")                                                                         \
    X(TEXT, http, "http", "127.0.0.1:16686", "ADDRESS",                                            \
      "Answer queries, health and metrics here.")                                                  \
    X(TEXT, host_names, "host-names", NULL, "NAMES",                                               \
      "Names, separated by commas, by which clients may call the server in their Host "            \
      "header, besides its addresses and localhost. Others are refused, so that no web page "      \
      "can reach the server under a name of its own.")                                             \
    X(TEXT, tls_cert, "tls-cert", NULL, "FILE",                                                    \
      "PEM file with the certificate and its chain: TLS 1.2 or newer on every listener. "          \
      "SIGHUP reads it again.")                                                                    \
    X(TEXT, tls_key, "tls-key", NULL, "FILE", "PEM file with the certificate's private key.")      \
    X(TEXT, tls_client_ca, "tls-client-ca", NULL, "FILE",                                          \
      "Require client certificates that this CA has signed.")                                      \
    X(TEXT, auth_token_file, "auth-token-file", NULL, "FILE",                                      \
      "Require a bearer token of this file: lines 'write:TOKEN', 'read:TOKEN' or "                 \
      "'read,write:TOKEN', tokens being 16 to 1,024 of letters, digits and -._~+/=. SIGHUP "       \
      "reads it again.")                                                                           \
    X(FLAG, no_auth, "no-auth", "false", "",                                                       \
      "Serve on addresses other than loopback without a token file.")                              \
    X(SIZE, memory_limit, "memory-limit", NULL, "SIZE",                                            \
      "Memory to plan with. Default: half of what the machine or its control group has, at "       \
      "most 512MiB.",                                                                              \
      "32MiB..")                                                                                   \
    X(CHOICE, durability, "durability", "fsync", "fsync|process",                                  \
      "What an acknowledgement survives: 'fsync' a power cut, 'process' only the death of "        \
      "the process.")                                                                              \
    X(CHOICE, log_level, "log-level", "info", "debug|info|warn|error",                             \
      "The least that is logged.")                                                                 \
    X(COUNT, threads, "threads", "0", "N", "Event loops; 0: one for each core.", "0..64")          \
    X(COUNT, query_threads, "query-threads", "0", "N",                                             \
      "Queries answered at the same time; 0: as many as cores, at least 2.", "0..256")             \
    X(DURATION, query_timeout, "query-timeout", "10s", "TIME",                                     \
      "The longest that a query may take.", "1ms..1d")                                             \
    X(SIZE, request_size_max, "request-size-max", NULL, "SIZE",                                    \
      "The largest request, after decompression. Default: an eighth of the memory limit, at "      \
      "most 64MiB.",                                                                               \
      "1KiB..1GiB")                                                                                \
    X(COUNT, connections_max, "connections-max", "10000", "N",                                     \
      "Connections, all listeners together.", "1..1000000")                                        \
    X(COUNT, connections_per_ip_max, "connections-per-ip-max", "256", "N",                         \
      "Connections of one IP address.", "1..1000000")                                              \
    X(DURATION, hold_time, "hold-time", "2s", "TIME",                                              \
      "How long a request is held while the store is busy, before its sender is told to "          \
      "come again.",                                                                               \
      "1ms..1m")                                                                                   \
    X(DURATION, drain_time, "drain-time", "10s", "TIME",                                           \
      "After SIGTERM, how long requests under way may take to finish.", "100ms..1h")               \
    X(COUNT, span_attributes_max, "attributes-max", "1024", "N",                                   \
      "Attributes kept of each span, record, event, link, scope and resource; more are "           \
      "dropped and counted.",                                                                      \
      "1..65536")                                                                                  \
    X(COUNT, span_events_max, "span-events-max", "1024", "N", "Events kept of each span.",         \
      "0..65536")                                                                                  \
    X(COUNT, span_links_max, "span-links-max", "1024", "N", "Links kept of each span.",            \
      "0..65536")                                                                                  \
    X(SIZE, value_size_max, "value-size-max", "1MiB", "SIZE",                                      \
      "The longest string or bytes value; a longer one is cut and counted.", "64..64MiB")          \
    X(DURATION, age_max, "age-max", "0s", "TIME",                                                  \
      "Reject spans and records older than this, in the answer's partial success; 0s: keep "       \
      "all.",                                                                                      \
      "0|1s..")                                                                                    \
    X(DURATION, future_max, "future-max", "0s", "TIME",                                            \
      "Reject spans and records further in the future than this; 0s: keep all.", "0|1s..")         \
    X(DURATION, row_group_age, "row-group-age", "5s", "TIME",                                      \
      "Acknowledged items become a row group when they are this old, or 32,768.", "10ms..1d")      \
    X(SIZE, partition_size, "partition-size", "1GiB", "SIZE",                                      \
      "Begin a new partition file at this size ...", "64KiB..1TiB")                                \
    X(DURATION, partition_age, "partition-age", "1h", "TIME",                                      \
      "... or at this age. Where retention keeps less than eight of them, they are smaller.",      \
      "1s..365d")                                                                                  \
    X(DURATION, retention_age, "retention-age", "0s", "TIME",                                      \
      "Remove spans and log records this long after they were received, a partition at a time; "   \
      "time that passes counts, the wall clock does not. 0s: keep them.",                          \
      "0|1m..")                                                                                    \
    X(DURATION, retention_age_logs, "retention-age-logs", "0s", "TIME",                            \
      "Remove log records this long after they were received, sooner than the spans beside them; " \
      "no longer than --retention-age. 0s: with the spans.",                                       \
      "0|1m..")                                                                                    \
    X(DURATION, retention_rollups, "retention-rollups", "400d", "TIME",                            \
      "Remove what was counted in spans that are gone, by hours, this long after their partition " \
      "was sealed; sooner, when it takes a quarter of --retention-size. 0s: keep it.",             \
      "0|1m..")                                                                                    \
    X(SIZE, min_free_disk, "min-free-disk", "0", "SIZE",                                           \
      "With less than this free, requests are refused until there is more. Where it or "           \
      "--retention-size is given, the oldest partitions go when less than twice that is free. "    \
      "0: 256MiB, or a sixteenth of a small disk, and nothing goes.")                              \
    X(SIZE, disk_ballast, "disk-ballast", "64MiB", "SIZE",                                         \
      "A file that is given up when the disk is full, so that room can be made: a 32nd of what "   \
      "is stored, 8MiB at least, this at most, and a quarter of --min-free-disk. 0: none.")        \
    X(CHOICE, span_metrics, "span-metrics", "collector", "collector|tempo|both|none",              \
      "Names under which /metrics shows calls and durations of spans and of edges of the "         \
      "service map: those of OpenTelemetry's Collector (what Jaeger asks for), of Tempo (what "    \
      "Grafana's table asks for), or both.")                                                       \
    X(LIST, span_name_rule, "span-name-rule", NULL, "RULE",                                        \
      "Count spans under another name; may be repeated. 'GET /users/{id}/**' takes names of that " \
      "form ({id}: a word; *: anything without a slash; **: anything) and is their name; with "    \
      "'=> NAME' behind it they are counted under NAME. '~REGEX => NAME': names that match as a "  \
      "whole. The first rule that fits wins; stored spans keep their names.")                      \
    X(DURATION, span_metrics_idle, "span-metrics-idle", "15m", "TIME",                             \
      "A series of /metrics that had no spans for this long leaves the page.", "1s..365d")         \
    X(SIZE, retention_size, "retention-size", "0", "SIZE",                                         \
      "Remove the oldest partition when the data directory is larger than this; 0: any size.",     \
      "0|64MiB..")
/* clang-format on */

struct serve_options {
    SERVE_OPTIONS(OPTION_MEMBER)
};

extern const struct option_table serve_option_table;

#endif
