/* SPDX-License-Identifier: Apache-2.0 */
/* What a question may do: read the tables, call the functions of a list, recurse. Everything else is refused when
 * the statement is prepared, before anything of it has run.
 *
 * G1: no module but ours, json_each and json_tree exists on the connection.
 * G2: what the authorizer does not know it refuses.
 * G3: whatever a question can make large has a limit here, or is charged to its memory. */
#include "base/defect.h"
#include "sql/session.h"

#include <stdio.h>
#include <string.h>

/* Ordered, for the eye. Not in it, besides what touches files: what makes values out of nothing (randomblob,
 * zeroblob), what changes JSON, at a cost that grows with the square of its size, and printf, which is busy for
 * 8 seconds with '%.*c' and a thousand million before it finds that too much. */
static const char *const functions[] = {
    "->",
    "->>",
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "attribute_hint",
    "avg",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "duration",
    "exp",
    "first_value",
    "floor",
    "glob",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_each",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_object",
    "json_quote",
    "json_tree",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "pi",
    "pow",
    "power",
    "quote",
    "radians",
    "random",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "time",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unix_ns",
    "unixepoch",
    "unlikely",
    "upper",
    "utc",
};

static const char *const tables[] = { "spans",     "logs",      "span_events", "span_links",
                                      "resources", "json_each", "json_tree" };

static bool is_in(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; name != NULL && i < count; i++) {
        if (sqlite3_stricmp(name, list[i]) == 0)
            return true;
    }
    return false;
}
#define IS_IN(name, list) is_in((name), (list), sizeof(list) / sizeof((list)[0]))

static const char *verb_of(int action)
{
    switch (action) {
    case SQLITE_ATTACH:
        return "ATTACH";
    case SQLITE_DETACH:
        return "DETACH";
    case SQLITE_PRAGMA:
        return "PRAGMA";
    case SQLITE_INSERT:
        return "INSERT";
    case SQLITE_UPDATE:
        return "UPDATE";
    case SQLITE_DELETE:
        return "DELETE";
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return "a transaction";
    case SQLITE_ANALYZE:
        return "ANALYZE";
    case SQLITE_REINDEX:
        return "REINDEX";
    case SQLITE_ALTER_TABLE:
        return "ALTER";
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_VIEW:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
        return "DROP";
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
        return "CREATE";
    default:
        return "this statement";
    }
}

/* Keeps the first words: those of what was asked for rather than of what follows from it. */
static int refuse(struct session *s, const char *before, const char *name, const char *after)
{
    if (s->refused[0] == '\0')
        (void)snprintf(s->refused, sizeof s->refused, "%s%.80s%s", before, name, after);
    return SQLITE_DENY;
}

/* A table whose columns nobody reads comes with an empty column, and so does what a WITH names, which cannot be
 * told from a table here. What there is besides ours is SQLite's own, and named so. */
static bool may_read(const char *table, const char *column)
{
    if (IS_IN(table, tables))
        return true;
    bool is_own =
        sqlite3_strnicmp(table, "sqlite_", 7) == 0 || sqlite3_strnicmp(table, "pragma_", 7) == 0;
    return column != NULL && column[0] == '\0' && !is_own;
}

static int authorize(void *context, int action, const char *first, const char *second,
                     const char *database, const char *inner)
{
    struct session *s = context;
    (void)database;
    (void)inner;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE: /* of the schema: what CREATE and DROP begin with */
        if (first != NULL && sqlite3_strnicmp(first, "sqlite_", 7) == 0)
            return refuse(s, "", "changing what tables there are",
                          " is refused: SQL here only reads");
        return refuse(s, "", verb_of(action), " is refused: SQL here reads and changes nothing");
    case SQLITE_READ:
        if (first == NULL || may_read(first, second))
            return SQLITE_OK;
        return refuse(s, "reading the table '", first, "' is refused");
    case SQLITE_FUNCTION:
        if (second != NULL && IS_IN(second, functions))
            return SQLITE_OK;
        return refuse(s, "the function ", second == NULL ? "" : second,
                      "() is refused; docs/API.md lists those there are");
    default:
        return refuse(s, "", verb_of(action), " is refused: SQL here reads and changes nothing");
    }
}

static void set_limits(sqlite3 *db)
{
    static const struct {
        int what, most;
    } limits[] = {
        { SQLITE_LIMIT_LENGTH, (int)SQL_VALUE_MAX }, { SQLITE_LIMIT_SQL_LENGTH, (int)SQL_TEXT_MAX },
        { SQLITE_LIMIT_COLUMN, SQL_COLUMNS_MAX },    { SQLITE_LIMIT_EXPR_DEPTH, 100 },
        { SQLITE_LIMIT_COMPOUND_SELECT, 50 },        { SQLITE_LIMIT_VDBE_OP, 100000 },
        { SQLITE_LIMIT_FUNCTION_ARG, 32 },           { SQLITE_LIMIT_ATTACHED, 0 },
        { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 128 }, /* time grows with pattern times value */
        { SQLITE_LIMIT_VARIABLE_NUMBER, 100 },       { SQLITE_LIMIT_TRIGGER_DEPTH, 0 },
        { SQLITE_LIMIT_WORKER_THREADS, 0 },
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        (void)sqlite3_limit(db, limits[i].what, limits[i].most);
}

void guard_install(struct session *s)
{
    const char *keep[] = { "spans",     "logs",      "span_events", "span_links",
                           "resources", "json_each", "json_tree",   NULL };
    (void)sqlite3_drop_modules(s->db, keep);
    set_limits(s->db);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    /* "name" in quotes that is no column is a mistake, not a text. */
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (!defect_is("sql-anything-goes"))
        (void)sqlite3_set_authorizer(s->db, authorize, s);
}
