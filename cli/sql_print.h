/* SPDX-License-Identifier: Apache-2.0 */
/* sql_print.h - an answer in SQL on standard output: as a table, as CSV, or as JSON lines.
 *
 * Role       tables are for eyes: columns are as wide as their first rows need, and what would move a terminal's
 *            cursor is shown as an escape. The others are for programs, and whole.
 * Threads    one. */
#ifndef SPINDLE_CLI_SQL_PRINT_H
#define SPINDLE_CLI_SQL_PRINT_H

#include "sql/rows_text.h"

#include <stdio.h>

enum sql_print_format { SQL_PRINT_TABLE, SQL_PRINT_CSV, SQL_PRINT_JSON };

struct sql_print {
    enum sql_print_format format;
    FILE *to;
    struct rows_text text; /* of CSV and JSON lines, into data */
    struct buffer data;
    struct buffer names, cells; /* of a table: each a length and its text */
    size_t columns;
    uint64_t rows, rows_held;
    unsigned widths[SQL_COLUMNS_MAX];
    bool is_right[SQL_COLUMNS_MAX]; /* numbers */
    bool has_widths;
};

/* Nothing is printed yet. */
void sql_print_init(struct sql_print *p, enum sql_print_format format, FILE *to);
void sql_print_deinit(struct sql_print *p);
/* As a sink's: `context` is the struct. */
enum err sql_print_columns(void *context, const struct sql_column *columns, size_t count);
enum err sql_print_row(void *context, const struct sql_value *values, size_t count);
/* What is still held. ERR_IO: the output does not take it. */
NODISCARD enum err sql_print_end(struct sql_print *p);

#endif
