/* SPDX-License-Identifier: Apache-2.0 */
/* sql_body.h - a question in SQL as it was sent: JSON, or the text alone.
 *
 * Ownership  what is read lies in the call's arena, or in its request.
 * Threads    the call's. */
#ifndef SPINDLE_QUERY_SQL_BODY_H
#define SPINDLE_QUERY_SQL_BODY_H

#include "query/call.h"
#include "sql/rows_text.h"

#define SQL_PARAMETERS_MAX 100

struct sql_body {
    struct bytes query;
    const struct sql_parameter *parameters;
    size_t parameters_count;
    uint64_t rows_max;  /* in: where nothing is said */
    uint64_t rows_most; /* in: that may be asked for */
    enum rows_format format;
};

/* {"query": "SELECT ...", "parameters": {"name": value} or [value, ...], "limit": n, "timeout": "5s",
 * "format": "json" | "ndjson" | "csv"}; of content types but application/json the body is the statement, and the others
 * are parameters of the address. Without a format the Accept header says it. Shortens the call's deadline. */
NODISCARD enum err sql_body_read(struct call *c, struct sql_body *body);

#endif
