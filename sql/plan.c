/* SPDX-License-Identifier: Apache-2.0 */
/* Which conditions of a WHERE the engine is given.
 *
 * Choosing happens before there are values, so the plan is a text, "start_time>=;service_name=;", that says in order
 * what the values will be; EXPLAIN QUERY PLAN shows it. SQLite checks all conditions again on every row.
 *
 * The latest rows (ORDER BY start_time DESC LIMIT n) are the exception: they come sorted, and no more than asked
 * for, so every condition must be one that the engine decides exactly, which literals alone can promise. */
#include "sql/hints.h"
#include "sql/table.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PLAN_BYTES 512
#define LIST_MOST  64 /* values of an IN that become a filter */

/* ---- Choosing ---- */

struct choice {
    const struct table *table;
    sqlite3_index_info *info;
    char plan[PLAN_BYTES];
    size_t len;
    int values;
    double rows, cost;
    bool is_exact;         /* every condition is pushed, and decided exactly */
    int64_t limit, offset; /* -1: none, or not known */
};

static const char *op_text(unsigned char op)
{
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
        return "=";
    case SQLITE_INDEX_CONSTRAINT_GT:
        return ">";
    case SQLITE_INDEX_CONSTRAINT_GE:
        return ">=";
    case SQLITE_INDEX_CONSTRAINT_LT:
        return "<";
    case SQLITE_INDEX_CONSTRAINT_LE:
        return "<=";
    case SQLITE_INDEX_CONSTRAINT_LIKE:
        return " like";
    case SQLITE_INDEX_CONSTRAINT_ISNULL:
        return " null";
    case SQLITE_INDEX_CONSTRAINT_ISNOTNULL:
        return " notnull";
    default:
        return NULL;
    }
}

static bool is_comparison(unsigned char op)
{
    return op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE ||
           op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE;
}

static bool can_push(enum push push, unsigned char op)
{
    bool is_equal = op == SQLITE_INDEX_CONSTRAINT_EQ;
    switch (push) {
    case PUSH_NONE:
        return false;
    case PUSH_TRACE_ID:
    case PUSH_TEXT:
    case PUSH_SERVICE:
    case PUSH_KIND:
    case PUSH_STATUS:
        return is_equal;
    case PUSH_SEVERITY:
        return is_equal || op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE;
    case PUSH_TIME:
    case PUSH_DURATION:
        return is_equal || is_comparison(op);
    case PUSH_PARENT:
        return is_equal || op == SQLITE_INDEX_CONSTRAINT_ISNULL ||
               op == SQLITE_INDEX_CONSTRAINT_ISNOTNULL;
    case PUSH_CONTAINS:
        return op == SQLITE_INDEX_CONSTRAINT_LIKE;
    }
    return false;
}

/* How much of the rows remains, and of the work: what the planner should know, roughly. */
static void weigh(struct choice *c, const struct column *column, unsigned char op)
{
    double rows = 3, cost = 1.5;
    if (column->push == PUSH_TRACE_ID) {
        c->rows = c->rows < 30 ? c->rows : 30;
        c->cost = 300;
        return;
    }
    if (column->push == PUSH_TIME)
        rows = cost = op == SQLITE_INDEX_CONSTRAINT_EQ ? 1000 : 4;
    else if (column->push == PUSH_TEXT && op == SQLITE_INDEX_CONSTRAINT_EQ &&
             (column->intrinsic == EXPR_INTRINSIC_SPAN_ID ||
              column->intrinsic == EXPR_INTRINSIC_LINK_TRACE_ID))
        rows = 1e6, cost = 3;
    else if (op == SQLITE_INDEX_CONSTRAINT_EQ)
        rows = 10, cost = 2;
    c->rows = c->rows / rows < 1 ? 1 : c->rows / rows;
    c->cost = c->cost / cost < 100 ? 100 : c->cost / cost;
}

/* The value of a condition when it stands in the text. */
static sqlite3_value *literal_of(const struct choice *c, int i)
{
    sqlite3_value *v = NULL;
    return sqlite3_vtab_rhs_value(c->info, i, &v) == SQLITE_OK ? v : NULL;
}

static bool is_word(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; text != NULL && i < count; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

/* The engine decides it as SQLite would. */
static bool is_exact(const struct choice *c, const struct column *column, int i)
{
    sqlite3_value *v = literal_of(c, i);
    int type = v == NULL ? SQLITE_NULL : sqlite3_value_type(v);
    switch (column->push) {
    case PUSH_SEVERITY:
        return type == SQLITE_INTEGER && sqlite3_value_int64(v) >= 0;
    case PUSH_TIME:
    case PUSH_DURATION:
        return type == SQLITE_INTEGER;
    case PUSH_TEXT:
    case PUSH_SERVICE:
        return type == SQLITE_TEXT && sqlite3_value_bytes(v) > 0;
    case PUSH_KIND:
        return type == SQLITE_TEXT &&
               is_word((const char *)sqlite3_value_text(v), sql_kind_words, SQL_KIND_COUNT);
    case PUSH_STATUS:
        return type == SQLITE_TEXT &&
               is_word((const char *)sqlite3_value_text(v), sql_status_words, SQL_STATUS_COUNT);
    case PUSH_PARENT:
        return c->info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_ISNULL ||
               c->info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_ISNOTNULL;
    case PUSH_NONE:
    case PUSH_TRACE_ID:
    case PUSH_CONTAINS:
        break;
    }
    return false;
}

static void plan_add(struct choice *c, const char *name, const char *op)
{
    int len = snprintf(c->plan + c->len, sizeof c->plan - c->len, "%s%s;", name, op);
    c->len += (size_t)len;
}

static void note_limit(struct choice *c, int i)
{
    sqlite3_value *v = literal_of(c, i);
    bool is_known = v != NULL && sqlite3_value_type(v) == SQLITE_INTEGER;
    int64_t n = is_known ? sqlite3_value_int64(v) : -1;
    if (c->info->aConstraint[i].op == SQLITE_INDEX_CONSTRAINT_LIMIT)
        c->limit = n;
    else if (is_known && n >= 0)
        c->offset = n;
    else
        c->is_exact = false;
}

#define HINT_OP " ->> ="

/* Where the attributes of a column lie. */
static enum expr_scope scope_of(const struct table *t, const struct column *column)
{
    if (strcmp(column->name, "resource_attributes") == 0)
        return EXPR_SCOPE_RESOURCE;
    if (strcmp(column->name, "scope_attributes") == 0)
        return EXPR_SCOPE_INSTRUMENTATION;
    if (t->rows == ROWS_EVENTS)
        return EXPR_SCOPE_EVENT;
    if (t->rows == ROWS_LINKS)
        return EXPR_SCOPE_LINK;
    return t->rows == ROWS_LOGS ? EXPR_SCOPE_LOG : EXPR_SCOPE_SPAN;
}

static bool has_attributes(const struct column *column)
{
    return strcmp(column->name, "attributes") == 0 ||
           strcmp(column->name, "resource_attributes") == 0 ||
           strcmp(column->name, "scope_attributes") == 0;
}

/* A hint needs no second look: it is always true. Its condition stands beside it. */
static void choose_hint(struct choice *c, const struct column *column, int i)
{
    c->is_exact = false;
    if (!has_attributes(column) || c->len + strlen(column->name) + 16 >= sizeof c->plan)
        return;
    c->info->aConstraintUsage[i].argvIndex = ++c->values;
    c->info->aConstraintUsage[i].omit = 1;
    plan_add(c, column->name, HINT_OP);
    weigh(c, column, SQLITE_INDEX_CONSTRAINT_EQ);
}

static void choose(struct choice *c, int i)
{
    const struct sqlite3_index_constraint *k = &c->info->aConstraint[i];
    const struct table *t = c->table;
    if (k->op == SQLITE_INDEX_CONSTRAINT_LIMIT || k->op == SQLITE_INDEX_CONSTRAINT_OFFSET) {
        note_limit(c, i);
        return;
    }
    const struct column *column =
        k->iColumn >= 0 && (size_t)k->iColumn < t->count ? &t->columns[k->iColumn] : NULL;
    if (k->op == SQLITE_INDEX_CONSTRAINT_FUNCTION && k->usable && column != NULL) {
        choose_hint(c, column, i);
        return;
    }
    bool is_taken = k->usable && column != NULL && can_push(column->push, k->op) &&
                    c->len + strlen(column->name) + 16 < sizeof c->plan &&
                    strcmp(sqlite3_vtab_collation(c->info, i), "BINARY") == 0;
    if (!is_taken) {
        c->is_exact = false;
        return;
    }
    bool is_list = column->push != PUSH_TRACE_ID && k->op == SQLITE_INDEX_CONSTRAINT_EQ &&
                   sqlite3_vtab_in(c->info, i, 1);
    c->info->aConstraintUsage[i].argvIndex = ++c->values;
    plan_add(c, column->name, is_list ? " in" : op_text(k->op));
    if (is_list || !is_exact(c, column, i))
        c->is_exact = false;
    weigh(c, column, k->op);
}

static const struct column *column_of_order(const struct choice *c)
{
    const sqlite3_index_info *info = c->info;
    if (info->nOrderBy != 1 || !info->aOrderBy[0].desc || info->aOrderBy[0].iColumn < 0)
        return NULL;
    return &c->table->columns[info->aOrderBy[0].iColumn];
}

static void choose_order(struct choice *c)
{
    const struct column *by = column_of_order(c);
    char count[24];
    if (by == NULL || by->push != PUSH_TIME || !c->is_exact || c->limit < 0 ||
        c->limit > ROW_LATEST_MAX || c->offset > ROW_LATEST_MAX - c->limit ||
        (c->table->rows != ROWS_SPANS && c->table->rows != ROWS_LOGS) ||
        c->len + 32 > sizeof c->plan)
        return;
    int64_t latest = c->limit + (c->offset < 0 ? 0 : c->offset);
    (void)snprintf(count, sizeof count, " %lld", (long long)(latest == 0 ? 1 : latest));
    plan_add(c, "latest", count);
    c->info->orderByConsumed = 1;
    c->cost /= 4;
}

static unsigned parts_of(const struct table *t, const sqlite3_index_info *info)
{
    unsigned parts = 0;
    for (size_t i = 0; i < t->count; i++) {
        bool is_used = (info->colUsed >> (i < 63 ? i : 63) & 1) != 0;
        parts |= is_used ? t->columns[i].parts : 0;
    }
    if (t->rows == ROWS_EVENTS)
        parts |= ROW_EVENTS; /* their number is that of rows */
    if (t->rows == ROWS_LINKS)
        parts |= ROW_LINKS;
    return parts;
}

int plan_choose(const struct table *t, const struct session *s, sqlite3_index_info *info)
{
    struct choice c = { .table = t, .info = info, .is_exact = true, .limit = -1, .offset = -1 };
    uint64_t stored = s->stored[t->signal];
    c.rows = t->rows == ROWS_RESOURCES ? 1000 : (double)(stored < 100 ? 100 : stored);
    c.cost = c.rows * (t->rows == ROWS_RESOURCES ? 1 : 3);
    for (int i = 0; i < info->nConstraint; i++)
        choose(&c, i);
    choose_order(&c);
    info->idxNum = (int)parts_of(t, info);
    info->estimatedCost = c.cost;
    info->estimatedRows = (sqlite3_int64)c.rows;
    info->idxStr = sqlite3_mprintf("%s", c.plan);
    info->needToFreeIdxStr = 1;
    return info->idxStr == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

/* ---- With values ---- */

struct building {
    struct arena *arena;
    struct row_request *out;
    struct trace_id *trace_id;
    struct expr *filter; /* all so far, joined */
    bool is_empty;
    enum err failure;
};

static void add(struct building *b, struct expr *term)
{
    if (term == NULL)
        b->failure = arena_failure(b->arena) == ERR_OK ? ERR_NOMEM : arena_failure(b->arena);
    else if (b->filter == NULL)
        b->filter = term;
    else
        b->filter = expr_binary(b->arena, EXPR_AND, b->filter, term);
}

static struct expr *intrinsic(struct building *b, enum expr_op op, enum expr_intrinsic field,
                              enum expr_type type, int64_t v)
{
    return expr_binary(b->arena, op, expr_intrinsic_field(b->arena, field),
                       expr_const(b->arena, (struct expr_value){ .type = type, .integer = v }));
}

static bool text_of(struct building *b, sqlite3_value *v, struct bytes *out)
{
    if (sqlite3_value_type(v) != SQLITE_TEXT || sqlite3_value_bytes(v) == 0)
        return false;
    const void *data = sqlite3_value_text(v);
    if (data == NULL)
        return false;
    b->failure = arena_dup(b->arena, bytes_of(data, (size_t)sqlite3_value_bytes(v)), out);
    return b->failure == ERR_OK;
}

static bool word_of(struct bytes text, const char *const *words, size_t count, int64_t *out)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_text(text, words[i])) {
            *out = (int64_t)i;
            return true;
        }
    }
    return false;
}

/* column = value, or NULL where the engine cannot say. */
static struct expr *equal(struct building *b, const struct column *c, sqlite3_value *v)
{
    struct bytes text;
    int64_t word;
    struct expr *field = NULL;
    if (!text_of(b, v, &text))
        return NULL;
    if (c->push == PUSH_KIND)
        return word_of(text, sql_kind_words, SQL_KIND_COUNT, &word)
                   ? intrinsic(b, EXPR_EQ, c->intrinsic, EXPR_KIND, word)
                   : NULL;
    if (c->push == PUSH_STATUS)
        return word_of(text, sql_status_words, SQL_STATUS_COUNT, &word)
                   ? intrinsic(b, EXPR_EQ, c->intrinsic, EXPR_STATUS, word)
                   : NULL;
    if (c->push == PUSH_SERVICE)
        field = expr_attribute(b->arena, EXPR_SCOPE_RESOURCE, BYTES_LITERAL("service.name"));
    else
        field = expr_intrinsic_field(b->arena, c->intrinsic);
    return expr_binary(
        b->arena, EXPR_EQ, field,
        expr_const(b->arena, (struct expr_value){ .type = EXPR_STRING, .bytes = text }));
}

static void add_equal(struct building *b, const struct column *c, sqlite3_value *v)
{
    struct expr *term = equal(b, c, v);
    if (term != NULL)
        add(b, term);
}

/* A tree as shallow as can be. */
static struct expr *any_of(struct building *b, struct expr **terms, size_t count)
{
    for (; count > 1; count = (count + 1) / 2) {
        for (size_t i = 0; i < count; i += 2)
            terms[i / 2] =
                i + 1 < count ? expr_binary(b->arena, EXPR_OR, terms[i], terms[i + 1]) : terms[i];
    }
    return terms[0];
}

static void add_list(struct building *b, const struct column *c, sqlite3_value *list)
{
    struct expr *terms[LIST_MOST];
    size_t count = 0;
    sqlite3_value *v = NULL;
    int rc;
    for (rc = sqlite3_vtab_in_first(list, &v); rc == SQLITE_OK && v != NULL;
         rc = sqlite3_vtab_in_next(list, &v)) {
        struct expr *term = count < LIST_MOST ? equal(b, c, v) : NULL;
        if (term == NULL)
            return; /* one that cannot be said: none of them */
        terms[count++] = term;
    }
    if (count > 0)
        add(b, any_of(b, terms, count));
}

static void add_trace_id(struct building *b, sqlite3_value *v)
{
    struct trace_id id;
    const char *text = (const char *)sqlite3_value_text(v);
    size_t len = text == NULL ? 0 : (size_t)sqlite3_value_bytes(v);
    /* IDs are shown in lower case, so nothing equals any other text. */
    for (size_t i = 0; i < len; i++) {
        if (text[i] >= 'A' && text[i] <= 'F')
            len = 0;
    }
    if (len != 2 * sizeof id.b || !text_hex_parse(bytes_of(text, len), id.b, sizeof id.b) ||
        (b->out->trace_id != NULL && memcmp(b->trace_id, &id, sizeof id) != 0)) {
        b->is_empty = true;
        return;
    }
    *b->trace_id = id;
    b->out->trace_id = b->trace_id;
}

/* The whole numbers n for which `n op v` can hold are in [*low, *high]. False: not a number, nothing is known. */
static bool bounds_of(const char *op, sqlite3_value *v, int64_t *low, int64_t *high)
{
    int64_t down, up; /* the whole numbers around it */
    int type = sqlite3_value_type(v);
    *low = INT64_MIN;
    *high = INT64_MAX;
    if (type == SQLITE_INTEGER) {
        down = up = sqlite3_value_int64(v);
    } else if (type == SQLITE_FLOAT) {
        double d = sqlite3_value_double(v);
        if (!(d > -9e18 && d < 9e18))
            return false;
        down = (int64_t)floor(d);
        up = (int64_t)ceil(d);
    } else {
        return false;
    }
    if (strcmp(op, "=") == 0)
        *low = down, *high = up;
    else if (strcmp(op, ">") == 0)
        *low = down == INT64_MAX ? down : down + (down == up);
    else if (strcmp(op, ">=") == 0)
        *low = down;
    else if (strcmp(op, "<") == 0)
        *high = up == INT64_MIN ? up : up - (down == up);
    else
        *high = up;
    return true;
}

static void add_time(struct building *b, const char *op, sqlite3_value *v)
{
    struct time_range *range = &b->out->range;
    int64_t low, high;
    if (!bounds_of(op, v, &low, &high))
        return;
    if (high < 0) {
        b->is_empty = true;
        return;
    }
    /* The largest integer stands for all later times. */
    uint64_t from = low < 0 ? 0 : (uint64_t)low;
    uint64_t to = high == INT64_MAX ? UINT64_MAX : (uint64_t)high + 1;
    range->min_unix_ns = from > range->min_unix_ns ? from : range->min_unix_ns;
    range->max_unix_ns = to < range->max_unix_ns ? to : range->max_unix_ns;
    if (range->min_unix_ns >= range->max_unix_ns)
        b->is_empty = true;
}

static void add_duration(struct building *b, const struct column *c, const char *op,
                         sqlite3_value *v)
{
    int64_t low, high;
    if (!bounds_of(op, v, &low, &high))
        return;
    if (low > INT64_MIN)
        add(b, intrinsic(b, EXPR_GE, c->intrinsic, EXPR_DURATION, low));
    if (high < INT64_MAX)
        add(b, intrinsic(b, EXPR_LE, c->intrinsic, EXPR_DURATION, high));
}

/* A number that was sent negative is so here, and 2^32 more in the engine: there it lies above all others. */
static void add_severity(struct building *b, const struct column *c, const char *op,
                         sqlite3_value *v)
{
    int64_t low, high;
    if (!bounds_of(op, v, &low, &high) || low < 0)
        return;
    add(b, intrinsic(b, EXPR_GE, c->intrinsic, EXPR_INT, low));
    add(b, intrinsic(b, EXPR_LE, c->intrinsic, EXPR_INT, high < INT32_MAX ? high : INT32_MAX));
}

/* '%text%', where text has no wildcard: what has no letters outside of ASCII folds alike here and there. */
static void add_like(struct building *b, const struct column *c, sqlite3_value *v)
{
    struct bytes pattern, text;
    if (!text_of(b, v, &pattern) || pattern.len < 3 || pattern.data[0] != '%' ||
        pattern.data[pattern.len - 1] != '%')
        return;
    text = bytes_slice(pattern, 1, pattern.len - 2);
    if (bytes_find(text, '%') != SIZE_MAX || bytes_find(text, '_') != SIZE_MAX)
        return;
    add(b, expr_binary(
               b->arena, EXPR_CONTAINS, expr_intrinsic_field(b->arena, c->intrinsic),
               expr_const(b->arena, (struct expr_value){ .type = EXPR_STRING, .bytes = text })));
}

static struct expr *attribute_is(struct building *b, enum expr_scope scope, struct bytes key,
                                 enum expr_op op, struct expr_value value)
{
    return expr_binary(b->arena, op, expr_attribute(b->arena, scope, key),
                       expr_const(b->arena, value));
}

/* JSON shows a whole number for one, for a floating-point number that is whole, and ->> for true and false. */
static struct expr *attribute_is_number(struct building *b, enum expr_scope scope, struct bytes key,
                                        int64_t n)
{
    struct expr *terms[3] = {
        attribute_is(b, scope, key, EXPR_EQ, (struct expr_value){ .type = EXPR_INT, .integer = n }),
        attribute_is(b, scope, key, EXPR_EQ,
                     (struct expr_value){ .type = EXPR_FLOAT, .number = (double)n }),
        n > 1 ? NULL
              : attribute_is(b, scope, key, EXPR_EQ,
                             (struct expr_value){ .type = EXPR_BOOL, .integer = n }),
    };
    return any_of(b, terms, n > 1 ? 2 : 3);
}

static void add_hint(struct building *b, const struct table *t, const struct column *c,
                     sqlite3_value *v)
{
    struct bytes text;
    struct hint hint;
    enum expr_scope scope = scope_of(t, c);
    if (!text_of(b, v, &text) || !hint_read(text, &hint))
        return;
    add(b, hint.is_number
               ? attribute_is_number(b, scope, hint.key, hint.number)
               : attribute_is(b, scope, hint.key, EXPR_TEXT_EQ,
                              (struct expr_value){ .type = EXPR_STRING, .bytes = hint.text }));
}

static void add_condition(struct building *b, const struct column *c, const char *op,
                          sqlite3_value *v)
{
    if (strcmp(op, " null") == 0 || strcmp(op, " notnull") == 0)
        add(b, intrinsic(b, EXPR_EQ, EXPR_INTRINSIC_SPAN_IS_ROOT, EXPR_BOOL,
                         strcmp(op, " null") == 0));
    else if (strcmp(op, " in") == 0)
        add_list(b, c, v);
    else if (sqlite3_value_type(v) == SQLITE_NULL)
        b->is_empty = true; /* nothing compares with NULL */
    else if (c->push == PUSH_TRACE_ID)
        add_trace_id(b, v);
    else if (c->push == PUSH_TIME)
        add_time(b, op, v);
    else if (c->push == PUSH_DURATION)
        add_duration(b, c, op, v);
    else if (c->push == PUSH_SEVERITY)
        add_severity(b, c, op, v);
    else if (c->push == PUSH_CONTAINS)
        add_like(b, c, v);
    else
        add_equal(b, c, v);
}

static const struct column *column_named(const struct table *t, const char *name, size_t len)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strlen(t->columns[i].name) == len && memcmp(t->columns[i].name, name, len) == 0)
            return &t->columns[i];
    }
    return NULL;
}

enum err plan_request(const struct table *t, int parts, const char *plan, sqlite3_value **values,
                      int count, struct arena *arena, struct row_request *out,
                      struct trace_id *trace_id, bool *out_is_empty)
{
    struct building b = { .arena = arena, .out = out, .trace_id = trace_id };
    int at = 0;
    *out = (struct row_request){ .signal = t->signal,
                                 .range = { 0, UINT64_MAX },
                                 .parts = (unsigned)parts };
    while (plan != NULL && *plan != '\0' && b.failure == ERR_OK) {
        char op[16] = "";
        size_t name = strspn(plan, "abcdefghijklmnopqrstuvwxyz_");
        size_t end = strcspn(plan, ";");
        const struct column *c = column_named(t, plan, name);
        if (c != NULL && at < count && end - name < sizeof op) {
            memcpy(op, plan + name, end - name);
            if (strcmp(op, HINT_OP) == 0)
                add_hint(&b, t, c, values[at++]);
            else
                add_condition(&b, c, op, values[at++]);
        } else if (strncmp(plan, "latest ", 7) == 0) {
            out->latest = (size_t)strtoul(plan + 7, NULL, 10);
        }
        plan += end + (plan[end] == ';');
    }
    if (b.failure != ERR_OK)
        return b.failure;
    out->filter = b.filter;
    *out_is_empty = b.is_empty;
    return ERR_OK;
}
