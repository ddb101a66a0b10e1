/* SPDX-License-Identifier: Apache-2.0 */
/* expr.h - the one filter tree: what a span or a log record must satisfy.
 *
 * Role       TraceQL's `{ ... }`, Jaeger's parameters and plain parameters all become this tree; every
 *            engine evaluates or translates it. Semantics are TraceQL's: a comparison with a missing
 *            attribute, or between types that do not compare, is false, also for != and !~; an attribute
 *            with several values (events, links, arrays) satisfies a comparison when any value does, and
 *            != and !~ when all do.
 * Ownership  nodes, keys and constants live in the arena of whoever built the tree; compiled regular
 *            expressions are owned by the tree: expr_deinit() frees them.
 * Threads    read-only once built; several threads may evaluate one tree.
 * Source     facts: TraceQL sections 11 to 13. */
#ifndef SPINDLE_STORAGE_EXPR_H
#define SPINDLE_STORAGE_EXPR_H

#include "base/arena.h"
#include "proto/otlp.h"

enum expr_op {
    EXPR_CONST,
    EXPR_FIELD,
    EXPR_NOT,
    EXPR_NEGATE,
    EXPR_AND,
    EXPR_OR,
    EXPR_EQ,
    EXPR_NE,
    EXPR_LT,
    EXPR_LE,
    EXPR_GT,
    EXPR_GE,
    EXPR_MATCH, /* =~ anchored at both ends; right side a constant string, compiled in `regex` */
    EXPR_NOT_MATCH, /* !~ */
    EXPR_CONTAINS,  /* right side a constant string; substring, ASCII case folded */
    EXPR_TEXT_EQ,   /* the text form of any value equals the constant string: Jaeger's tags */
    EXPR_IS_NIL,
    EXPR_IS_NOT_NIL,
    EXPR_ADD,
    EXPR_SUB,
    EXPR_MUL,
    EXPR_DIV,
    EXPR_MOD,
    EXPR_POW
};

enum expr_type {
    EXPR_NIL,
    EXPR_INT,
    EXPR_FLOAT,
    EXPR_STRING,
    EXPR_BOOL,
    EXPR_DURATION, /* int64 ns */
    EXPR_STATUS,   /* OTLP's code: 0 unset, 1 ok, 2 error */
    EXPR_KIND,     /* OTLP's SpanKind */
    EXPR_BYTES,
    EXPR_ARRAY, /* of an attribute: bytes is the ArrayValue message */
    EXPR_MAP    /* of an attribute: bytes is the KeyValueList message; compares with nothing */
};

struct expr_value {
    enum expr_type type;
    int64_t integer; /* int, duration, status, kind; bool as 0 or 1 */
    double number;
    struct bytes bytes; /* string, bytes, array */
};

/* An attribute's value; an empty AnyValue is EXPR_NIL. Borrows. */
struct expr_value expr_value_of(const struct otlp_value *value);

/* Where a field is looked for. */
enum expr_scope {
    EXPR_SCOPE_INTRINSIC,
    EXPR_SCOPE_ANY, /* .x: the span's or record's attributes, then the resource's; first found wins */
    EXPR_SCOPE_SPAN,
    EXPR_SCOPE_RESOURCE,
    EXPR_SCOPE_EVENT, /* any event */
    EXPR_SCOPE_LINK,  /* any link */
    EXPR_SCOPE_INSTRUMENTATION,
    EXPR_SCOPE_LOG,
    EXPR_SCOPE_EVERYWHERE /* the values of all maps above together: Jaeger's tags */
};

#define EXPR_INTRINSIC_LIST(X)                                                                     \
    X(SPAN_ID, "span:id", STRING) /* hex text; also of a log record */                             \
    X(SPAN_PARENT_ID, "span:parentID", STRING)                                                     \
    X(SPAN_NAME, "span:name", STRING)                                                              \
    X(SPAN_KIND, "span:kind", KIND)                                                                \
    X(SPAN_STATUS, "span:status", STATUS)                                                          \
    X(SPAN_STATUS_MESSAGE, "span:statusMessage", STRING)                                           \
    X(SPAN_DURATION, "span:duration", DURATION)                                                    \
    X(SPAN_START, "span:start", INT) /* Unix ns; ours */                                           \
    X(SPAN_CHILD_COUNT, "span:childCount", INT)                                                    \
    X(SPAN_IS_ROOT, "span:isRoot", BOOL) /* ours: no parent ID; nestedSetParent < 0 becomes it */  \
    X(TRACE_ID, "trace:id", STRING)                                                                \
    X(TRACE_DURATION, "trace:duration", DURATION)                                                  \
    X(TRACE_ROOT_NAME, "trace:rootName", STRING)                                                   \
    X(TRACE_ROOT_SERVICE, "trace:rootService", STRING)                                             \
    X(EVENT_NAME, "event:name", STRING)                                                            \
    X(EVENT_TIME_SINCE_START, "event:timeSinceStart", DURATION)                                    \
    X(LINK_TRACE_ID, "link:traceID", STRING)                                                       \
    X(LINK_SPAN_ID, "link:spanID", STRING)                                                         \
    X(SCOPE_NAME, "instrumentation:name", STRING)                                                  \
    X(SCOPE_VERSION, "instrumentation:version", STRING)                                            \
    X(LOG_TIME, "log:time", INT)                                                                   \
    X(LOG_SEVERITY, "log:severity", INT) /* SeverityNumber */                                      \
    X(LOG_SEVERITY_TEXT, "log:severityText", STRING)                                               \
    X(LOG_BODY, "log:body", STRING) /* its text form */                                            \
    X(LOG_EVENT_NAME, "log:eventName", STRING)                                                     \
    X(LOG_TEXT, "log:text", STRING) /* body and every attribute's text: many values */

enum expr_intrinsic {
#define X(name, text, type) EXPR_INTRINSIC_##name,
    EXPR_INTRINSIC_LIST(X)
#undef X
        EXPR_INTRINSIC_COUNT
};
/* As TraceQL spells it: "span:name". */
const char *expr_intrinsic_name(enum expr_intrinsic i);
enum expr_type expr_intrinsic_type(enum expr_intrinsic i);
/* Of the whole trace (trace:duration, trace:rootName, trace:rootService, span:childCount): known only
 * once the trace is assembled. */
bool expr_intrinsic_is_of_trace(enum expr_intrinsic i);

struct expr_regex;

struct expr {
    enum expr_op op;
    struct expr *left, *right; /* unary operators use left */
    struct expr_value value;   /* EXPR_CONST */
    enum expr_scope scope;     /* EXPR_FIELD */
    enum expr_intrinsic intrinsic;
    struct bytes key;
    struct expr_regex *regex; /* EXPR_MATCH, EXPR_NOT_MATCH */
    uint32_t depth;           /* of the tree below and including this node */
};
#define EXPR_DEPTH_MAX 128

/* Building; an operator over a tree EXPR_DEPTH_MAX deep is refused with NULL too, so parsers bound their
 * nesting below it. NULL when the arena is exhausted (or an argument was NULL, so calls nest). */
struct expr *expr_const(struct arena *a, struct expr_value value);
struct expr *expr_attribute(struct arena *a, enum expr_scope scope, struct bytes key);
struct expr *expr_intrinsic_field(struct arena *a, enum expr_intrinsic intrinsic);
struct expr *expr_unary(struct arena *a, enum expr_op op, struct expr *operand);
struct expr *expr_binary(struct arena *a, enum expr_op op, struct expr *left, struct expr *right);
/* field =~ pattern. ERR_INVALID with a note (offset in the pattern, static text), ERR_TOO_LARGE for a
 * pattern over 4 KiB. Matching is bounded: a pattern that runs away fails its row and is counted. */
NODISCARD enum err expr_match(struct arena *a, enum expr_op op, struct expr *field,
                              struct bytes pattern, struct expr **out, struct err_note *note);
/* Release compiled regular expressions of a tree; NULL does nothing. */
void expr_deinit(struct expr *e);

/* Rows on which a regular expression was given up, since the process started. */
uint64_t expr_regex_runaways(void);

/* What the tree needs from a row. A field may have many values; each is passed to `emit`, which returns
 * false when it has seen enough. An attribute whose value is an empty AnyValue is emitted as EXPR_NIL: it
 * is nil like an absent one, and its text is empty. */
typedef bool expr_emit_fn(void *emit_context, const struct expr_value *value);
struct expr_row {
    /* Values of a field; none when absent. Trace-level intrinsics when the trace is not known: return
     * false, which makes the result "unknown". */
    bool (*values)(const struct expr_row *row, const struct expr *field, expr_emit_fn *emit,
                   void *emit_context);
};

enum expr_truth { EXPR_FALSE, EXPR_TRUE, EXPR_UNKNOWN };
/* Kleene's logic over unknowns; no recursion deeper than EXPR_DEPTH_MAX. NULL is true. */
enum expr_truth expr_evaluate(const struct expr *e, const struct expr_row *row);

/* The conjunction's parts that prune: each `field cmp const` (EQ, LT.., MATCH, CONTAINS, TEXT_EQ,
 * IS_NOT_NIL) that must hold for the whole to hold. Returns their number, at most max. */
size_t expr_required(const struct expr *e, const struct expr **out, size_t max);

/* The tree as canonical TraceQL text, for tests and messages. */
void expr_write(const struct expr *e, struct buffer *out);

#endif
