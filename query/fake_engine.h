/* SPDX-License-Identifier: Apache-2.0 */
/* fake_engine.h - an engine for tests of what stands above it: notes what it was asked, answers
 * what the test has set.
 *
 * Threads    any; what was noted is read by the test after the answer has arrived. */
#ifndef SPINDLE_QUERY_FAKE_ENGINE_H
#define SPINDLE_QUERY_FAKE_ENGINE_H

#include "storage/engine.h"

#include <pthread.h>

struct fake_engine {
    struct engine engine; /* first */

    /* What to answer, set by the test between requests. */
    enum err result; /* of every call; the outputs are set too */
    struct bytes traces_data, logs_data;
    struct trace_summary *traces;
    size_t trace_count;
    struct log_row *logs;
    size_t log_count;
    struct bytes *services;
    size_t service_count;
    struct operation *operations;
    uint64_t operation_rest_spans;
    size_t operation_count;
    struct attribute_key *keys;
    size_t key_count;
    struct attribute_value *values;
    size_t value_count;
    struct trace_id trace_of_span;
    struct find_cursor next;
    struct find_progress progress;
    struct engine_statistics statistics;
    struct red_result red;
    struct edge_result edges;
    struct derived_cleaned *cleaned;
    size_t cleaned_count;
    size_t takes_bytes; /* of the query's arena, by every call */
    /* Queries wait until it is false again, or query_check() says stop. */
    _Atomic bool holds;

    /* What was asked. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned calls, inside; /* inside: queries being held */
    enum err stopped_with;  /* what query_check() said to the last one held */
    char filter[4096];      /* canonical text */
    struct time_range range;
    enum find_order order;
    size_t limit, spans_per_trace;
    struct find_cursor after;
    struct trace_id trace_id;
    struct span_id span_id;
    enum signal signal;
    enum expr_scope scope;
    char text[256]; /* service or key */
    char prefix[256];
    struct red_query red_query;
    struct edge_query edge_query;
    uint64_t time_left_ns; /* to the deadline */
};

/* Everything empty, every call ERR_OK. */
void fake_engine_init(struct fake_engine *f);
void fake_engine_deinit(struct fake_engine *f);
/* Wait until `count` queries are held; false after ten seconds. */
bool fake_engine_wait_inside(struct fake_engine *f, unsigned count);

#endif
