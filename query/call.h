/* SPDX-License-Identifier: Apache-2.0 */
/* call.h - one question on its way through a worker: what was asked, its bounds, and the answer so
 * far.
 *
 * Role       a handler reads parameters, asks the engine, writes JSON into call.json and returns
 *            ERR_OK; or it returns an error, whose words it may have chosen before by call_fail().
 *            call_answer() then sends the one or the other, each API family in its own shape.
 * Ownership  what a handler allocates in call.arena lives until the answer has been written.
 * Threads    a call belongs to the thread that holds it: the loop until it is queued, then a
 * worker. */
#ifndef SPINDLE_QUERY_CALL_H
#define SPINDLE_QUERY_CALL_H

#include "base/budget.h"
#include "base/json_writer.h"
#include "query/query.h"
#include "query/traceql.h"

enum call_api { CALL_NATIVE, CALL_JAEGER, CALL_JAEGER_V3, CALL_API_COUNT };

struct call;
struct skeletons;
struct log_tail;
typedef enum err call_fn(struct call *c);

/* Quick calls look up what an ID or a list names; heavy ones look through what is stored; long ones are as slow as
 * their readers (download.h), and have time for it; SQL may be both. No lane waits for another (workers.h). */
enum call_lane { CALL_HEAVY, CALL_QUICK, CALL_LONG, CALL_SQL, CALL_LANE_COUNT };

/* One row of an API family's table; `path` as in net/router.h. */
struct call_route {
    const char *path;
    call_fn *run;
    enum call_lane lane;
};

struct call_error {
    const char *parameter; /* static text or of the arena, or NULL */
    char text[320];        /* empty: the text of the error code */
    bool has_position;     /* in the value of the parameter */
    size_t offset;
    unsigned line, column;
};

#define CALL_HEADERS_MAX 5

struct call {
    struct call *next; /* while it waits; with the four below, turns.h's */
    uint64_t address_hash, address_turn;
    uint64_t peer_hash, peer_turn;
    struct exchange *x;
    const struct request *request;
    const struct query_options *options; /* with defaults filled in */
    const struct query_facts *facts;
    struct log_tail *log_tail;   /* likewise */
    struct skeletons *skeletons; /* the service's; NULL in tests without one */
    enum call_api api;
    const struct call_route *route;
    uint64_t received_mono_ns;

    struct budget budget; /* of this query alone, a part of the one of all queries */
    struct arena arena;
    struct query_context context; /* for the engine; its arena is the one above */
    const struct http_parameter *parameters;
    size_t parameter_count;
    struct expr *parsed; /* a tree with regular expressions to release */

    struct buffer body;
    struct json_writer json; /* into body */
    const char *content_type;
    char disposition[96];  /* of a file to be saved; empty: none */
    bool is_damaged;       /* part of what was asked for lies in a damaged file */
    bool varies_by_accept; /* another Accept header may get another form */
    bool is_cut;           /* not all was searched, and the answer's shape has no place to say so */
    struct call_error error;
};

/* Fill in a call for a request, ready to run. `received_mono_ns` starts the deadline. */
void call_init(struct call *c, struct exchange *x, const struct query_options *options,
               enum call_api api, const struct call_route *route);
/* The same for one that nobody waits for: no exchange, and its context has no arena but where the handler is given one. */
void call_begin(struct call *c, const struct request *request, const _Atomic bool *cancelled,
                const struct query_options *options, enum call_api api,
                const struct call_route *route);
/* Run the handler and answer; the exchange is gone afterwards. Returns the handler's error. */
enum err call_run(struct call *c);
/* For a handler that answers by itself, when it returns ERR_OK or before: nothing else does then. */
struct exchange *call_take_exchange(struct call *c);
/* Answer without running: ERR_BUSY, ERR_STOPPING. */
void call_refuse(struct call *c, enum err e);
/* Make the body of the answer final: as the handler left it, or the error in its place. Returns the
 * HTTP status. */
unsigned call_settle(struct call *c, enum err e);
/* What the answer's head says besides its type: at most CALL_HEADERS_MAX. Returns how many. */
size_t call_headers(const struct call *c, struct http_header *out);
/* Release what a call holds; safe twice. */
void call_deinit(struct call *c);

/* Choose the words of the error that the handler is about to return; returns e.
 *
 *   parameter  the parameter at fault, or NULL; static text, or of the call's arena */
NODISCARD enum err call_fail(struct call *c, enum err e, const char *parameter, const char *format,
                             ...) PRINTF_LIKE(4, 5);
/* The words of a filter that does not parse. */
NODISCARD enum err call_fail_filter(struct call *c, enum err e, const char *parameter,
                                    const struct traceql_error *error);
/* A short name for an error: the `code` of native answers, the label of the metric. */
const char *call_error_code(enum err e);

#endif
