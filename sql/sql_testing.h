/* SPDX-License-Identifier: Apache-2.0 */
/* sql_testing.h - an engine of a few spans and log records in memory, for tests and fuzzing. */
#ifndef SPINDLE_SQL_SQL_TESTING_H
#define SPINDLE_SQL_SQL_TESTING_H

#include "sql/sql.h"
#include "storage/search_testing.h"

struct testing_engine {
    struct engine engine; /* first; it has rows_view and statistics */
    struct test_source source;
    uint64_t spans, logs;
};

/* 60 spans in three bodies, of which some are row groups, and 20 log records. */
void testing_engine_open(struct testing_engine *t);
void testing_engine_close(struct testing_engine *t);

#endif
