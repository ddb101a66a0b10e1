/* SPDX-License-Identifier: Apache-2.0 */
/* sql.h - read-only SQL over everything that is stored.
 *
 * Role       tables `spans`, `logs`, `span_events`, `span_links` and `resources` over an engine's rows, by SQLite's
 *            SQL in a database of its own in memory. docs/API.md has columns, functions and limits.
 * Guard      one statement, which only reads these tables: the authorizer refuses everything else. Time, memory,
 *            rows and the size of values are bounded, also while a statement is being prepared.
 * Threads    a question belongs to the calling thread, any but an event loop.
 * Blocking   reads files; obeys its query_context. */
#ifndef SPINDLE_SQL_SQL_H
#define SPINDLE_SQL_SQL_H

#include "storage/engine.h"

#define SQL_TEXT_MAX    ((size_t)64 << 10) /* bytes of a statement */
#define SQL_VALUE_MAX   ((size_t)8 << 20)  /* bytes of one value, also in between */
#define SQL_COLUMNS_MAX 200                /* of a result, a join or a table in between */

enum sql_type { SQL_NULL, SQL_INTEGER, SQL_REAL, SQL_TEXT, SQL_BLOB };
const char *sql_type_word(enum sql_type type); /* "null", "integer"... */

struct sql_value {
    enum sql_type type;
    int64_t integer;
    double number;
    struct bytes bytes; /* text or blob */
};

struct sql_parameter {
    struct bytes name; /* of :name, @name or $name, without the sign; empty: the next ? */
    struct sql_value value;
};

struct sql_question {
    struct engine *engine;
    struct bytes text;
    const struct sql_parameter *parameters;
    size_t parameters_count;
    uint64_t rows_max; /* more are not asked for */
};

struct sql_column {
    struct bytes name;
    enum sql_type type; /* as declared; SQL_NULL where it is not: of expressions */
};

/* Who takes the answer. What is passed is borrowed for the call; what is not ERR_OK ends the question, and is its
 * result. */
struct sql_sink {
    void *context;
    enum err (*on_columns)(void *context, const struct sql_column *columns, size_t count);
    enum err (*on_row)(void *context, const struct sql_value *values, size_t count);
};

/* What a question ended with, for counting. */
#define SQL_OUTCOME_LIST(X)                                                                        \
    X(ANSWERED, "answered")                                                                        \
    X(TRUNCATED, "truncated") /* at rows_max */                                                    \
    X(INVALID, "invalid")     /* not SQL, or of tables and columns that are not there */           \
    X(REFUSED, "refused")     /* it would do more than read these tables */                        \
    X(DEADLINE, "deadline")                                                                        \
    X(MEMORY, "memory") /* it needs more than a query may have */                                  \
    X(CANCELLED, "cancelled")                                                                      \
    X(FAILED, "failed") /* a fault of ours: the disk, memory of the system */
enum sql_outcome {
#define X(name, text) SQL_##name,
    SQL_OUTCOME_LIST(X)
#undef X
        SQL_OUTCOME_COUNT
};
const char *sql_outcome_word(enum sql_outcome outcome);

struct sql_result {
    enum sql_outcome outcome; /* set in any case */
    uint64_t rows;
    struct find_progress progress; /* not complete: something that was read is damaged */
    char text[400];                /* on failure: for who asked */
    bool has_offset;
    size_t offset; /* in the text: where it is wrong */
};

/* Ask. *out is written in any case.
 *
 * Errors  ERR_INVALID      see SQL_INVALID
 *         ERR_UNSUPPORTED  refused
 *         ERR_TOO_LARGE    it needs more memory than a query may have, or a value is too large
 *         ERR_DEADLINE, ERR_CANCELLED, ERR_BUDGET, ERR_NOMEM, the engine's, the sink's */
NODISCARD enum err sql_ask(const struct sql_question *question, const struct query_context *q,
                           const struct sql_sink *sink, struct sql_result *out);

#endif
