/* SPDX-License-Identifier: Apache-2.0 */
/* search_model.h - random spans, cut into segments, and a plain reference for every question about them.
 *
 * Role       random spans of few traces, with equal starts and durations, parents that are missing and spans
 *            sent twice, are cut at random into bodies, some of them made row groups. The reference is an
 *            array of spans, walked from end to end for each question.
 * Private    to the tests of searches; they print the seed that failed. */
#ifndef SPINDLE_STORAGE_SEARCH_MODEL_H
#define SPINDLE_STORAGE_SEARCH_MODEL_H

#include "storage/search_testing.h"

enum { SPANS_MAX = 400, TRACES_MAX = 380, FEW_TRACES = 48, SERVICES = 3, SCOPES = 2, FILTERS = 12 };

struct ref_span {
    uint32_t trace, id, parent; /* parent 0: root */
    uint64_t start, duration;
    int name, kind, status, service, scope;
    int k;     /* attribute k of the span; -1: none */
    int event; /* attribute e of an event; -1: no event, -2: two events, e = 1 and e = 2 */
    struct bytes message;
};

struct model {
    struct random random;
    struct ref_span spans[SPANS_MAX];
    size_t count;
    bool has_groups;
    struct buffer messages;
    struct buffer resources[SERVICES];
    struct test_source source;
};

struct ref_facts {
    uint64_t start, end;
    const struct ref_span *root;
};

struct ref_trace {
    uint32_t trace;
    uint64_t key;
    struct trace_id id;
    struct ref_facts facts;
    size_t matched[SPANS_MAX], matched_count;
};

struct asked {
    struct arena arena;
    struct query_context q;
};

typedef bool ref_filter(const struct model *m, const struct ref_span *s, const struct ref_facts *f);
typedef struct expr *make_filter(struct arena *a);
struct model_filter {
    const char *name;
    make_filter *make;
    ref_filter *holds;
};
/* The first one is every span. */
extern const struct model_filter model_filters[FILTERS];
/* The one that asks for child counts. */
struct expr *model_make_children(struct arena *a);

/* A model of this seed; seeds that are even have row groups. */
void model_make(struct model *m, uint64_t seed);
void model_free(struct model *m);
/* A teardown: says which seed was the last. */
int model_print_seed(void **state);
/* A random number below n. */
int model_below(struct model *m, uint64_t n);

/* The IDs that the numbers of traces and spans stand for. */
struct trace_id model_trace_id(uint32_t trace);
struct span_id model_span_id(uint32_t span);
/* The span as the fields of a Span message. */
void model_put_span(struct buffer *b, const struct ref_span *s);
/* The span under the iterator, with its surroundings, as it was made. */
const struct ref_span *model_span_at(const struct model *m, const struct otlp_items *it);

/* A question without a deadline, with so much memory. */
void model_ask(struct asked *k, size_t limit_bytes);
/* The whole answer, in order. out has room for TRACES_MAX + 1; returns how many. */
size_t model_reference(const struct model *m, size_t filter, struct time_range range,
                       enum find_order order, struct ref_trace *out);
/* Asserts that the summary says what the reference does. */
void model_check_trace(const struct model *m, const struct ref_trace *want,
                       const struct trace_summary *got, size_t shown_max);

#endif
