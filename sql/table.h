/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - the tables: their columns, what a row's values are, and what of a WHERE the engine can do.
 *
 * Role       table.c is SQLite's side, a virtual table; plan.c says which conditions go to the engine, and makes its
 *            filter of them; columns.c has the columns and reads values where the rows lie.
 * Private    to sql/. */
#ifndef SPINDLE_SQL_TABLE_H
#define SPINDLE_SQL_TABLE_H

#include "sql/session.h"

#include <sqlite3.h>

enum table_rows { ROWS_SPANS, ROWS_LOGS, ROWS_EVENTS, ROWS_LINKS, ROWS_RESOURCES };

/* What the engine can do with a condition on a column. SQLite checks every row again, so rows too many are no
 * error, and rows too few are. */
enum push {
    PUSH_NONE,
    PUSH_TRACE_ID, /* =: a lookup */
    PUSH_TIME,     /* < <= = >= >: prunes by time */
    PUSH_TEXT,     /* =, IN of a text intrinsic that is stored as it is shown */
    PUSH_SERVICE,  /* =, IN */
    PUSH_KIND,     /* =, IN of words */
    PUSH_STATUS,   /* likewise */
    PUSH_SEVERITY, /* = >= > of what is not negative */
    PUSH_DURATION, /* < <= = >= > */
    PUSH_PARENT,   /* =, IN, IS NULL, IS NOT NULL */
    PUSH_CONTAINS  /* LIKE '%text%' */
};

struct column {
    const char *name, *type;
    unsigned parts; /* of row_parts.h */
    enum push push;
    enum expr_intrinsic intrinsic; /* where `push` asks for one */
    int value;                     /* columns.c's */
};

struct table {
    const char *name;
    enum table_rows rows;
    enum signal signal;
    const struct column *columns;
    size_t count;
};

extern const struct table sql_tables[];
extern const size_t sql_tables_count;

/* ---- A row's values (columns.c) ---- */

struct row {
    const struct table *table;
    struct otlp_items items;      /* over a batch; stands on the row's span or record */
    const uint64_t *next_id, *id; /* of the next one, and of this */
    bool is_item_read, is_group_read;
    struct otlp_span span;
    struct otlp_log log;
    struct otlp_scope scope;
    struct bytes service;
    struct otlp_repeated children; /* events or links of the span */
    struct bytes child;
    uint32_t child_number;
    struct bytes resource, schema_url; /* of the table of resources */
    struct buffer text;                /* scratch */
    enum err failure;                  /* of a value: no memory for it */
};
void row_init(struct row *r, const struct table *table, struct budget *budget);
void row_deinit(struct row *r);
/* Begin a batch. */
void row_begin(struct row *r, const struct row_batch *batch);
/* To the next row of the batch; false at its end. */
bool row_next(struct row *r);
/* What it is known by among all rows of its table. */
int64_t row_id(const struct row *r);
/* Give a value to SQLite. */
void row_value(struct row *r, const struct column *c, sqlite3_context *out);

/* By OTLP's numbers. */
#define SQL_KIND_COUNT   6
#define SQL_STATUS_COUNT 3
extern const char *const sql_kind_words[SQL_KIND_COUNT], *const sql_status_words[SQL_STATUS_COUNT];

/* ---- Conditions (plan.c) ---- */

/* Decide, see xBestIndex. */
int plan_choose(const struct table *t, const struct session *s, sqlite3_index_info *info);
/* What was decided, with this time's values, as a request: `out->filter` lies in the arena. *out_is_empty: no row
 * can match. */
NODISCARD enum err plan_request(const struct table *t, int parts, const char *plan,
                                sqlite3_value **values, int count, struct arena *arena,
                                struct row_request *out, struct trace_id *trace_id,
                                bool *out_is_empty);

/* ---- The virtual table (table.c) ---- */

/* attribute_hint(), always true (functions.c). */
void function_hint(sqlite3_context *c, int count, sqlite3_value **v);

/* Make a table known to a connection. */
int table_register(sqlite3 *db, const struct table *t, struct session *s);

#endif
