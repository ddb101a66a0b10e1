/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/sql.h"

#include "sql/hints.h"
#include "sql/session.h"

#include <stdarg.h>
#include <stdio.h>

const char *sql_type_word(enum sql_type type)
{
    switch (type) {
    case SQL_NULL:
        return "null";
    case SQL_INTEGER:
        return "integer";
    case SQL_REAL:
        return "real";
    case SQL_TEXT:
        return "text";
    case SQL_BLOB:
        return "blob";
    }
    return "";
}

const char *sql_outcome_word(enum sql_outcome outcome)
{
    static const char *const words[SQL_OUTCOME_COUNT] = {
#define X(name, text) [SQL_##name] = text,
        SQL_OUTCOME_LIST(X)
#undef X
    };
    return words[outcome];
}

struct asking {
    const struct sql_question *question;
    const struct query_context *q;
    const struct sql_sink *sink;
    struct sql_result *result;
    struct session session;
    sqlite3_stmt *statement;
    struct buffer hinted;
};

/* ---- Failures ---- */

PRINTF_LIKE(2, 3) static void say(struct asking *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(a->result->text, sizeof a->result->text, format, args);
    va_end(args);
}

static enum err fail(struct asking *a, enum sql_outcome outcome, enum err e)
{
    a->result->outcome = outcome;
    return e;
}

static enum err fail_with(struct asking *a, enum err e)
{
    switch (e) {
    case ERR_DEADLINE:
        say(a, "the query took longer than it may; narrow its time range, or ask for less");
        return fail(a, SQL_DEADLINE, e);
    case ERR_CANCELLED:
        return fail(a, SQL_CANCELLED, e);
    case ERR_TOO_LARGE:
        say(a, "the query needs more memory than a query may have; ask for less");
        return fail(a, SQL_MEMORY, e);
    case ERR_BUDGET:
        return fail(a, SQL_MEMORY, e);
    default:
        return fail(a, SQL_FAILED, e);
    }
}

static void note_offset(struct asking *a)
{
    int offset = sqlite3_error_offset(a->session.db);
    a->result->has_offset = offset >= 0 && (size_t)offset <= a->question->text.len;
    a->result->offset = a->result->has_offset ? (size_t)offset : 0;
}

/* What an error of SQLite's means for who asked. */
static enum err explain(struct asking *a, int code)
{
    struct session *s = &a->session;
    enum err e = query_check(a->q); /* an allocation may have been refused for it */
    if (s->refused[0] != '\0') {
        say(a, "%s", s->refused);
        return fail(a, SQL_REFUSED, ERR_UNSUPPORTED);
    }
    if (s->failure != ERR_OK)
        return fail_with(a, s->failure);
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        if (s->charge.is_refused) /* its own share, or that of all queries: call.h tells */
            e = atomic_load(&s->memory.has_refused) ? ERR_TOO_LARGE : ERR_BUDGET;
        return fail_with(a, e != ERR_OK ? e : ERR_NOMEM);
    case SQLITE_INTERRUPT:
        return fail_with(a, e != ERR_OK ? e : ERR_CANCELLED);
    case SQLITE_TOOBIG:
        if (a->statement == NULL) { /* the statement is */
            say(a, "the statement is too long: at most %zu bytes", SQL_TEXT_MAX);
            return fail(a, SQL_INVALID, ERR_INVALID);
        }
        say(a, "a value is larger than %zu MiB", SQL_VALUE_MAX >> 20);
        return fail(a, SQL_MEMORY, ERR_TOO_LARGE);
    default:
        say(a, "%s", sqlite3_errmsg(s->db));
        note_offset(a);
        return fail(a, SQL_INVALID, ERR_INVALID);
    }
}

/* ---- The statement ---- */

/* Nothing but blanks and comments follow the statement. */
static enum err check_rest(struct asking *a, const char *rest, size_t len)
{
    while (len > 0) {
        sqlite3_stmt *more = NULL;
        const char *end = rest;
        int rc = sqlite3_prepare_v2(a->session.db, rest, (int)len, &more, &end);
        bool is_more = rc != SQLITE_OK || more != NULL;
        (void)sqlite3_finalize(more);
        if (is_more) {
            a->result->has_offset = true;
            a->result->offset = a->question->text.len - len;
            say(a, "only one statement can be asked at a time");
            return fail(a, SQL_INVALID, ERR_INVALID);
        }
        if (end == rest)
            break;
        len -= (size_t)(end - rest);
        rest = end;
    }
    return ERR_OK;
}

/* With hints where it has any: see hints.h. What goes wrong with them is told of the statement as it was asked. */
static int statement_prepare(struct asking *a, struct bytes *text, const char **out_end)
{
    sqlite3 *db = a->session.db;
    if (hints_write(*text, &a->hinted)) {
        struct bytes hinted = buffer_bytes(&a->hinted);
        if (sqlite3_prepare_v2(db, (const char *)hinted.data, (int)hinted.len, &a->statement,
                               out_end) == SQLITE_OK) {
            *text = hinted;
            return SQLITE_OK;
        }
        a->session.refused[0] = '\0';
    }
    return sqlite3_prepare_v2(db, (const char *)text->data, (int)text->len, &a->statement, out_end);
}

static enum err prepare(struct asking *a)
{
    struct bytes text = a->question->text;
    const char *end = NULL;
    if (text.len > SQL_TEXT_MAX)
        return explain(a, SQLITE_TOOBIG);
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
        say(a, "the statement holds a zero byte");
        return fail(a, SQL_INVALID, ERR_INVALID);
    }
    int rc = statement_prepare(a, &text, &end);
    if (rc != SQLITE_OK)
        return explain(a, rc);
    if (a->statement == NULL) {
        say(a, "there is no statement: expected SELECT");
        return fail(a, SQL_INVALID, ERR_INVALID);
    }
    enum err e = check_rest(a, end, text.len - (size_t)(end - (const char *)text.data));
    if (e != ERR_OK)
        return e;
    if (!sqlite3_stmt_readonly(a->statement) || sqlite3_column_count(a->statement) == 0) {
        say(a, "the statement is refused: SQL here reads and changes nothing");
        return fail(a, SQL_REFUSED, ERR_UNSUPPORTED);
    }
    /* The program that a statement becomes has addresses of this process in it; a plan (2) has none. */
    if (sqlite3_stmt_isexplain(a->statement) == 1) {
        say(a, "EXPLAIN is refused: ask for EXPLAIN QUERY PLAN");
        return fail(a, SQL_REFUSED, ERR_UNSUPPORTED);
    }
    return ERR_OK;
}

static int bind_one(sqlite3_stmt *s, int at, const struct sql_value *v)
{
    switch (v->type) {
    case SQL_INTEGER:
        return sqlite3_bind_int64(s, at, v->integer);
    case SQL_REAL:
        return sqlite3_bind_double(s, at, v->number);
    case SQL_TEXT:
        return sqlite3_bind_text64(s, at, v->bytes.len == 0 ? "" : (const char *)v->bytes.data,
                                   v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
    case SQL_BLOB:
        return sqlite3_bind_blob64(s, at, v->bytes.len == 0 ? (const void *)"" : v->bytes.data,
                                   v->bytes.len, SQLITE_STATIC);
    case SQL_NULL:
        break;
    }
    return sqlite3_bind_null(s, at);
}

static int parameter_index(sqlite3_stmt *s, struct bytes name)
{
    char text[72];
    for (const char *sign = ":@$"; *sign != '\0' && name.len < 64; sign++) {
        (void)snprintf(text, sizeof text, "%c%.*s", *sign, (int)name.len, (const char *)name.data);
        int at = sqlite3_bind_parameter_index(s, text);
        if (at > 0)
            return at;
    }
    return 0;
}

static enum err bind(struct asking *a)
{
    int places = sqlite3_bind_parameter_count(a->statement), next = 0;
    for (size_t i = 0; i < a->question->parameters_count; i++) {
        const struct sql_parameter *p = &a->question->parameters[i];
        int at = p->name.len == 0 ? ++next : parameter_index(a->statement, p->name);
        if (at == 0 || at > places) {
            say(a, "the statement has no place for the parameter '%.*s'",
                p->name.len < 64 ? (int)p->name.len : 64,
                p->name.len == 0 ? "?" : (const char *)p->name.data);
            return fail(a, SQL_INVALID, ERR_INVALID);
        }
        int rc = bind_one(a->statement, at, &p->value);
        if (rc != SQLITE_OK)
            return explain(a, rc);
    }
    return ERR_OK;
}

/* ---- The answer ---- */

static enum sql_type declared_type(const char *text)
{
    if (text == NULL)
        return SQL_NULL;
    return strcmp(text, "INTEGER") == 0 ? SQL_INTEGER : SQL_TEXT; /* there are no others */
}

static enum err give_columns(struct asking *a)
{
    struct sql_column columns[SQL_COLUMNS_MAX];
    int count = sqlite3_column_count(a->statement);
    for (int i = 0; i < count; i++) {
        const char *name = sqlite3_column_name(a->statement, i);
        if (name == NULL)
            return explain(a, SQLITE_NOMEM);
        columns[i] = (struct sql_column){
            .name = bytes_text(name),
            .type = declared_type(sqlite3_column_decltype(a->statement, i)),
        };
    }
    return a->sink->on_columns(a->sink->context, columns, (size_t)count);
}

static struct sql_value value_of(sqlite3_stmt *s, int i)
{
    struct sql_value v = { .type = SQL_NULL };
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
        v.type = SQL_INTEGER;
        v.integer = sqlite3_column_int64(s, i);
        break;
    case SQLITE_FLOAT:
        v.type = SQL_REAL;
        v.number = sqlite3_column_double(s, i);
        break;
    case SQLITE_TEXT:
        v.type = SQL_TEXT;
        v.bytes.data = sqlite3_column_text(s, i);
        v.bytes.len = (size_t)sqlite3_column_bytes(s, i);
        break;
    case SQLITE_BLOB:
        v.type = SQL_BLOB;
        v.bytes.data = sqlite3_column_blob(s, i);
        v.bytes.len = (size_t)sqlite3_column_bytes(s, i);
        break;
    default:
        break;
    }
    return v;
}

static enum err give_row(struct asking *a)
{
    struct sql_value values[SQL_COLUMNS_MAX];
    int count = sqlite3_column_count(a->statement);
    for (int i = 0; i < count; i++)
        values[i] = value_of(a->statement, i);
    a->result->rows++;
    return a->sink->on_row(a->sink->context, values, (size_t)count);
}

/* The sink's memory is its own. */
static enum err outside(struct asking *a, enum err (*give)(struct asking *))
{
    (void)db_charge_set(NULL);
    enum err e = give(a);
    session_enter(&a->session);
    return e == ERR_OK || a->result->outcome != SQL_ANSWERED ? e : fail_with(a, e);
}

static enum err step_all(struct asking *a)
{
    enum err e = outside(a, give_columns);
    while (e == ERR_OK) {
        int rc = sqlite3_step(a->statement);
        if (rc == SQLITE_DONE)
            return ERR_OK;
        if (rc != SQLITE_ROW)
            return explain(a, rc);
        if (a->result->rows == a->question->rows_max) {
            a->result->outcome = SQL_TRUNCATED;
            return ERR_OK;
        }
        e = outside(a, give_row);
    }
    return e;
}

enum err sql_ask(const struct sql_question *question, const struct query_context *q,
                 const struct sql_sink *sink, struct sql_result *out)
{
    struct asking a = { .question = question, .q = q, .sink = sink, .result = out };
    *out = (struct sql_result){ .outcome = SQL_ANSWERED, .progress = { .is_complete = true } };
    enum err e = session_open(&a.session, question->engine, q);
    if (e != ERR_OK)
        e = fail_with(&a, e);
    buffer_init_charged(&a.hinted, 2 * SQL_TEXT_MAX, q->arena->budget);
    session_enter(&a.session);
    if (e == ERR_OK)
        e = prepare(&a);
    if (e == ERR_OK)
        e = bind(&a);
    if (e == ERR_OK)
        e = step_all(&a);
    (void)sqlite3_finalize(a.statement);
    session_leave();
    if (a.session.view != NULL)
        out->progress = a.session.view->progress;
    session_close(&a.session);
    buffer_deinit(&a.hinted);
    return e;
}
