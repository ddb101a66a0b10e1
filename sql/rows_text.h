/* SPDX-License-Identifier: Apache-2.0 */
/* rows_text.h - an answer as text: JSON, JSON lines or CSV.
 *
 * Role       what the API sends and the command line prints. Of JSON each row has a line of its own, so that a
 *            reader may take it line by line.
 * Ownership  the text is appended to the caller's buffer, which may be emptied between calls.
 * Threads    one at a time.
 * Errors     the buffer's. */
#ifndef SPINDLE_SQL_ROWS_TEXT_H
#define SPINDLE_SQL_ROWS_TEXT_H

#include "base/json_writer.h"
#include "sql/sql.h"

enum rows_format {
    ROWS_JSON, /* {"columns":[{"name":..,"type":..}],"rows":[[..],..] and what the caller ends it with */
    ROWS_LINES, /* an object a row */
    ROWS_CSV    /* RFC 4180, with a line of names; NULL is empty */
};

struct rows_text {
    enum rows_format format;
    struct buffer *out;
    struct sql_column columns[SQL_COLUMNS_MAX]; /* names lie in `names` */
    size_t columns_count;
    struct buffer names;
    bool is_begun; /* the columns are written, with the types of the first row */
    uint64_t rows;
};

/* Nothing is written yet. */
void rows_text_init(struct rows_text *t, enum rows_format format, struct buffer *out);
void rows_text_deinit(struct rows_text *t);
/* What will come; ERR_NOMEM. */
NODISCARD enum err rows_text_columns(struct rows_text *t, const struct sql_column *columns,
                                     size_t count);
/* The next row, as many values as columns. */
void rows_text_row(struct rows_text *t, const struct sql_value *values);
/* After the last row. Of JSON the list of rows is closed, and the object still open: `,"more":1}` is the caller's. */
void rows_text_end(struct rows_text *t);

/* One value as a JSON value: integers whole, however large, and bytes as hexadecimal text. */
void rows_text_json_value(struct json_writer *j, const struct sql_value *v);

#endif
