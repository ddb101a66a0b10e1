/* SPDX-License-Identifier: Apache-2.0 */
/* traceql.h - the filter language: text in, filter tree out.
 *
 * Role       the whole grammar of TraceQL is read and checked. A query that is one `{ ... }`
 * becomes a tree; any other construct is read to its end and then refused by name and position, so
 * that "not supported" is never confused with "wrong". The same language filters log records, with
 *            names of their own: severity, body, text, log.x (docs/API.md).
 * Threads    pure.
 * Bounds     TRACEQL_TEXT_MAX bytes, TRACEQL_DEPTH_MAX levels of nesting and of tree: the recursion
 * over the text is no deeper than that. Source     facts: TraceQL sections 10 to 16. */
#ifndef SPINDLE_QUERY_TRACEQL_H
#define SPINDLE_QUERY_TRACEQL_H

#include "storage/expr.h"

#define TRACEQL_TEXT_MAX ((size_t)128 * 1024) /* Tempo's bound on a query */
/* Below EXPR_DEPTH_MAX by what callers may add around a parsed filter. */
#define TRACEQL_DEPTH_MAX 112
/* Compiled expressions cost memory that no arena counts. */
#define TRACEQL_REGEX_MAX 64

struct traceql_error {
    size_t offset;         /* bytes from the start of the text */
    unsigned line, column; /* from 1; columns count characters */
    char text[232];        /* "line 1, column 9: ..."; valid UTF-8 */
};

/* Read a filter over spans (SIGNAL_TRACES) or log records (SIGNAL_LOGS).
 *
 *   a    holds the tree, keys and constants
 *   out  the tree, to be given to expr_deinit(); NULL for `{ }`, which every row satisfies
 *
 * Errors  ERR_INVALID      not in the language, or types that can never fit; *error says where and
 * what ERR_UNSUPPORTED  in the language, but not answered yet; *error names the construct
 *         ERR_TOO_LARGE, ERR_TOO_DEEP, ERR_TOO_MANY  over a bound above; *error is set
 *         ERR_NOMEM, ERR_BUDGET  as the arena says; *error is not set */
NODISCARD enum err traceql_parse(struct arena *a, enum signal signal, struct bytes text,
                                 struct expr **out, struct traceql_error *error);

#endif
