/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions inside `{ ... }`: operands, operators, types. What stands around the braces is
 * traceql_pipeline.c's. */
#include "query/traceql_parser.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- Errors and tokens ---- */

bool parser_fail(struct parser *p, size_t offset, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->failure = ERR_INVALID;
    traceql_note(p->error, p->lexer.text, offset, "%s", text);
    return false;
}

bool parser_fail_memory(struct parser *p)
{
    p->failure = arena_failure(p->lexer.arena);
    return false;
}

bool parser_fail_bound(struct parser *p, enum err e, size_t offset, const char *what)
{
    p->failure = e;
    traceql_note(p->error, p->lexer.text, offset, "%s", what);
    return false;
}

bool parser_expected(struct parser *p, const char *what)
{
    const struct token *t = &p->token;
    if (t->type == TOKEN_END)
        return parser_fail(p, t->offset, "expected %s, found the end of the query", what);
    return parser_fail(p, t->offset, "expected %s, found '%.*s'", what, traceql_quote_len(t->raw),
                       (const char *)t->raw.data);
}

void parser_unsupported(struct parser *p, size_t offset, const char *format, ...)
{
    if (p->has_unsupported && p->unsupported.offset <= offset)
        return;
    char text[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    p->has_unsupported = true;
    traceql_note(&p->unsupported, p->lexer.text, offset, "%s is not supported yet", text);
}

bool parser_advance(struct parser *p)
{
    p->failure = lexer_next(&p->lexer, &p->token);
    return p->failure == ERR_OK;
}

bool parser_take(struct parser *p, enum token_type type, const char *what)
{
    return p->token.type == type ? parser_advance(p) : parser_expected(p, what);
}

bool parser_is_word(const struct parser *p, const char *word)
{
    return p->token.type == TOKEN_WORD && bytes_equal_text(p->token.raw, word);
}

bool parser_enter(struct parser *p)
{
    if (++p->depth > TRACEQL_DEPTH_MAX)
        return parser_fail_bound(p, ERR_TOO_DEEP, p->token.offset, "the query is nested too deep");
    return true;
}

/* ---- Nodes ---- */

static const char *type_text(const struct node *n)
{
    if (n->is_any)
        return "an attribute";
    switch (n->type) {
    case EXPR_NIL:
        return "nil";
    case EXPR_INT:
        return n->special == NODE_SEVERITY_WORD ? "a severity" : "an int";
    case EXPR_FLOAT:
        return "a number";
    case EXPR_STRING:
        return "a string";
    case EXPR_BOOL:
        return "a boolean";
    case EXPR_DURATION:
        return "a duration";
    case EXPR_STATUS:
        return "a status";
    case EXPR_KIND:
        return "a kind";
    case EXPR_BYTES:
        return "bytes";
    case EXPR_ARRAY:
        return "an array";
    case EXPR_MAP:
        return "a map";
    }
    return "?";
}

static bool is_number(const struct node *n)
{
    return n->is_any ||
           ((n->type == EXPR_INT || n->type == EXPR_FLOAT || n->type == EXPR_DURATION) &&
            n->special != NODE_SEVERITY_WORD);
}

static bool is_boolean(const struct node *n)
{
    return n->is_any || n->type == EXPR_BOOL;
}

/* Take over a built expression: `e` is NULL when the arena had no more. */
static bool node_set(struct parser *p, struct node *n, struct expr *e, enum expr_type type)
{
    if (e == NULL)
        return parser_fail_memory(p);
    if (e->depth > TRACEQL_DEPTH_MAX)
        return parser_fail_bound(p, ERR_TOO_DEEP, n->offset,
                                 "too many conditions in a row: group them with parentheses");
    n->e = e;
    n->type = type;
    return true;
}

static struct expr *constant(struct parser *p, enum expr_type type, int64_t integer)
{
    return expr_const(p->lexer.arena, (struct expr_value){ .type = type, .integer = integer });
}

static struct expr *binary(struct parser *p, enum expr_op op, struct expr *left, struct expr *right)
{
    return expr_binary(p->lexer.arena, op, left, right);
}

static struct expr *unary(struct parser *p, enum expr_op op, struct expr *operand)
{
    return expr_unary(p->lexer.arena, op, operand);
}

/* ---- Words ---- */

static const struct {
    const char *text;
    enum expr_type type;
    int64_t integer;
} constants[] = {
    { "true", EXPR_BOOL, 1 },          { "false", EXPR_BOOL, 0 },         { "nil", EXPR_NIL, 0 },
    { "minInt", EXPR_INT, INT64_MIN }, { "maxInt", EXPR_INT, INT64_MAX },
};

/* Words of spans alone. */
static const struct {
    const char *text;
    enum expr_type type;
    int64_t integer;
} span_constants[] = {
    { "unset", EXPR_STATUS, 0 },     { "ok", EXPR_STATUS, 1 },     { "error", EXPR_STATUS, 2 },
    { "unspecified", EXPR_KIND, 0 }, { "internal", EXPR_KIND, 1 }, { "server", EXPR_KIND, 2 },
    { "client", EXPR_KIND, 3 },      { "producer", EXPR_KIND, 4 }, { "consumer", EXPR_KIND, 5 },
};

/* The first of the four numbers that OTLP gives each. */
static const struct {
    const char *text;
    int64_t first;
} severities[] = {
    { "trace", 1 }, { "debug", 5 }, { "info", 9 }, { "warn", 13 }, { "error", 17 }, { "fatal", 21 },
};

enum { FOR_SPANS = 1, FOR_LOGS = 2, FOR_BOTH = 3 };

static const struct {
    const char *text;
    enum expr_intrinsic intrinsic;
    unsigned signals;
} intrinsics[] = {
    { "span:id", EXPR_INTRINSIC_SPAN_ID, FOR_BOTH },
    { "trace:id", EXPR_INTRINSIC_TRACE_ID, FOR_BOTH },
    { "instrumentation:name", EXPR_INTRINSIC_SCOPE_NAME, FOR_BOTH },
    { "instrumentation:version", EXPR_INTRINSIC_SCOPE_VERSION, FOR_BOTH },

    { "span:parentID", EXPR_INTRINSIC_SPAN_PARENT_ID, FOR_SPANS },
    { "span:name", EXPR_INTRINSIC_SPAN_NAME, FOR_SPANS },
    { "name", EXPR_INTRINSIC_SPAN_NAME, FOR_SPANS },
    { "span:kind", EXPR_INTRINSIC_SPAN_KIND, FOR_SPANS },
    { "kind", EXPR_INTRINSIC_SPAN_KIND, FOR_SPANS },
    { "span:status", EXPR_INTRINSIC_SPAN_STATUS, FOR_SPANS },
    { "status", EXPR_INTRINSIC_SPAN_STATUS, FOR_SPANS },
    { "span:statusMessage", EXPR_INTRINSIC_SPAN_STATUS_MESSAGE, FOR_SPANS },
    { "statusMessage", EXPR_INTRINSIC_SPAN_STATUS_MESSAGE, FOR_SPANS },
    { "span:duration", EXPR_INTRINSIC_SPAN_DURATION, FOR_SPANS },
    { "duration", EXPR_INTRINSIC_SPAN_DURATION, FOR_SPANS },
    { "span:start", EXPR_INTRINSIC_SPAN_START, FOR_SPANS },
    { "span:childCount", EXPR_INTRINSIC_SPAN_CHILD_COUNT, FOR_SPANS },
    { "span:isRoot", EXPR_INTRINSIC_SPAN_IS_ROOT, FOR_SPANS },
    { "trace:duration", EXPR_INTRINSIC_TRACE_DURATION, FOR_SPANS },
    { "traceDuration", EXPR_INTRINSIC_TRACE_DURATION, FOR_SPANS },
    { "trace:rootName", EXPR_INTRINSIC_TRACE_ROOT_NAME, FOR_SPANS },
    { "rootName", EXPR_INTRINSIC_TRACE_ROOT_NAME, FOR_SPANS },
    { "trace:rootService", EXPR_INTRINSIC_TRACE_ROOT_SERVICE, FOR_SPANS },
    { "rootServiceName", EXPR_INTRINSIC_TRACE_ROOT_SERVICE, FOR_SPANS },
    { "event:name", EXPR_INTRINSIC_EVENT_NAME, FOR_SPANS },
    { "event:timeSinceStart", EXPR_INTRINSIC_EVENT_TIME_SINCE_START, FOR_SPANS },
    { "link:traceID", EXPR_INTRINSIC_LINK_TRACE_ID, FOR_SPANS },
    { "link:spanID", EXPR_INTRINSIC_LINK_SPAN_ID, FOR_SPANS },

    { "log:time", EXPR_INTRINSIC_LOG_TIME, FOR_LOGS },
    { "time", EXPR_INTRINSIC_LOG_TIME, FOR_LOGS },
    { "log:severity", EXPR_INTRINSIC_LOG_SEVERITY, FOR_LOGS },
    { "severity", EXPR_INTRINSIC_LOG_SEVERITY, FOR_LOGS },
    { "log:severityText", EXPR_INTRINSIC_LOG_SEVERITY_TEXT, FOR_LOGS },
    { "severityText", EXPR_INTRINSIC_LOG_SEVERITY_TEXT, FOR_LOGS },
    { "log:body", EXPR_INTRINSIC_LOG_BODY, FOR_LOGS },
    { "body", EXPR_INTRINSIC_LOG_BODY, FOR_LOGS },
    { "log:eventName", EXPR_INTRINSIC_LOG_EVENT_NAME, FOR_LOGS },
    { "eventName", EXPR_INTRINSIC_LOG_EVENT_NAME, FOR_LOGS },
    { "log:text", EXPR_INTRINSIC_LOG_TEXT, FOR_LOGS },
    { "text", EXPR_INTRINSIC_LOG_TEXT, FOR_LOGS },
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static bool word_constant(struct parser *p, struct node *n)
{
    struct bytes word = p->token.raw;
    n->is_literal = true;
    for (size_t i = 0; i < COUNT_OF(constants); i++)
        if (bytes_equal_text(word, constants[i].text))
            return node_set(p, n, constant(p, constants[i].type, constants[i].integer),
                            constants[i].type);
    if (p->lexer.signal == SIGNAL_TRACES) {
        for (size_t i = 0; i < COUNT_OF(span_constants); i++)
            if (bytes_equal_text(word, span_constants[i].text))
                return node_set(p, n,
                                constant(p, span_constants[i].type, span_constants[i].integer),
                                span_constants[i].type);
    } else {
        for (size_t i = 0; i < COUNT_OF(severities); i++)
            if (bytes_equal_text(word, severities[i].text)) {
                n->special = NODE_SEVERITY_WORD;
                return node_set(p, n, constant(p, EXPR_INT, severities[i].first), EXPR_INT);
            }
    }
    n->is_literal = false;
    return true;
}

static bool word_intrinsic(struct parser *p, struct node *n)
{
    struct bytes word = p->token.raw;
    unsigned signal = p->lexer.signal == SIGNAL_TRACES ? FOR_SPANS : FOR_LOGS;
    for (size_t i = 0; i < COUNT_OF(intrinsics); i++) {
        if (!bytes_equal_text(word, intrinsics[i].text))
            continue;
        if ((intrinsics[i].signals & signal) == 0)
            return parser_fail(p, n->offset, "'%s' is not known for %s", intrinsics[i].text,
                               signal == FOR_SPANS ? "spans" : "log records");
        enum expr_intrinsic x = intrinsics[i].intrinsic;
        n->is_field = n->is_of_row = true;
        n->special = x == EXPR_INTRINSIC_LOG_SEVERITY ? NODE_SEVERITY
                     : x == EXPR_INTRINSIC_LOG_TEXT   ? NODE_TEXT
                     : x == EXPR_INTRINSIC_TRACE_ID || x == EXPR_INTRINSIC_LINK_TRACE_ID
                         ? NODE_TRACE_ID
                     : x == EXPR_INTRINSIC_SPAN_ID || x == EXPR_INTRINSIC_SPAN_PARENT_ID ||
                             x == EXPR_INTRINSIC_LINK_SPAN_ID
                         ? NODE_SPAN_ID
                         : NODE_PLAIN;
        return node_set(p, n, expr_intrinsic_field(p->lexer.arena, x), expr_intrinsic_type(x));
    }
    return true;
}

/* Read, so that the rest is checked, and refused in the end. The tree gets a placeholder. */
static bool word_unsupported(struct parser *p, struct node *n)
{
    struct bytes word = p->token.raw;
    if (p->lexer.signal != SIGNAL_TRACES)
        return true;
    bool is_parent = bytes_equal_text(word, "parent");
    bool is_nested_set = bytes_equal_text(word, "nestedSetLeft") ||
                         bytes_equal_text(word, "nestedSetRight") ||
                         bytes_equal_text(word, "nestedSetParent");
    if (!is_parent && !is_nested_set)
        return true;
    if (bytes_equal_text(word, "nestedSetParent"))
        n->special = NODE_NESTED_SET_PARENT; /* supported where it asks for a root */
    else
        parser_unsupported(p, n->offset, "'%.*s'", (int)word.len, (const char *)word.data);
    n->is_field = n->is_of_row = true;
    n->is_any = is_parent;
    return node_set(p, n, constant(p, EXPR_INT, 0), EXPR_INT);
}

static bool parse_word(struct parser *p, struct node *n)
{
    if (!word_constant(p, n) || (n->e == NULL && !word_intrinsic(p, n)) ||
        (n->e == NULL && !word_unsupported(p, n)))
        return false;
    if (n->e == NULL)
        return parser_expected(p, "a value, an attribute (.x, resource.x) or a known name");
    return parser_advance(p);
}

static bool parse_attribute(struct parser *p, struct node *n)
{
    const struct token *t = &p->token;
    n->is_any = n->is_field = n->is_of_row = true;
    if (t->is_of_parent)
        parser_unsupported(p, t->offset, "the scope 'parent.'");
    return node_set(p, n, expr_attribute(p->lexer.arena, t->scope, t->key), EXPR_NIL) &&
           parser_advance(p);
}

/* ---- Operators ---- */

enum level { /* of binding, loosest first; `!` stands between sums and products */
             LEVEL_NONE,
             LEVEL_LOGIC, /* && and || alike */
             LEVEL_COMPARE,
             LEVEL_SUM,
             LEVEL_NOT,
             LEVEL_PRODUCT,
             LEVEL_POWER,
             LEVEL_SIGN
};

static enum level field_operator(const struct token *t, enum expr_op *out)
{
    static const struct {
        enum token_type token;
        enum level level;
        enum expr_op op;
    } operators[] = {
        { TOKEN_AND, LEVEL_LOGIC, EXPR_AND },
        { TOKEN_OR, LEVEL_LOGIC, EXPR_OR },
        { TOKEN_EQUAL, LEVEL_COMPARE, EXPR_EQ },
        { TOKEN_NOT_EQUAL, LEVEL_COMPARE, EXPR_NE },
        { TOKEN_LESS, LEVEL_COMPARE, EXPR_LT },
        { TOKEN_LESS_EQUAL, LEVEL_COMPARE, EXPR_LE },
        { TOKEN_GREATER, LEVEL_COMPARE, EXPR_GT },
        { TOKEN_GREATER_EQUAL, LEVEL_COMPARE, EXPR_GE },
        { TOKEN_MATCH, LEVEL_COMPARE, EXPR_MATCH },
        { TOKEN_NOT_TILDE, LEVEL_COMPARE, EXPR_NOT_MATCH },
        { TOKEN_PLUS, LEVEL_SUM, EXPR_ADD },
        { TOKEN_MINUS, LEVEL_SUM, EXPR_SUB },
        { TOKEN_TIMES, LEVEL_PRODUCT, EXPR_MUL },
        { TOKEN_DIVIDE, LEVEL_PRODUCT, EXPR_DIV },
        { TOKEN_MODULO, LEVEL_PRODUCT, EXPR_MOD },
        { TOKEN_POWER, LEVEL_POWER, EXPR_POW },
    };
    for (size_t i = 0; i < COUNT_OF(operators); i++) {
        if (operators[i].token == t->type) {
            *out = operators[i].op;
            return operators[i].level;
        }
    }
    if (t->type == TOKEN_WORD && bytes_equal_text(t->raw, "contains")) {
        *out = EXPR_CONTAINS;
        return LEVEL_COMPARE;
    }
    return LEVEL_NONE;
}

/* One binary operation being put together; `at` is the operator. */
struct operation_site {
    enum expr_op op;
    struct token at;
};

static bool types_differ(struct parser *p, const struct operation_site *s, const struct node *l,
                         const struct node *r)
{
    return parser_fail(p, s->at.offset, "'%.*s' cannot join %s and %s", (int)s->at.raw.len,
                       (const char *)s->at.raw.data, type_text(l), type_text(r));
}

static enum expr_op mirrored(enum expr_op op)
{
    switch ((int)op) {
    case EXPR_LT:
        return EXPR_GT;
    case EXPR_LE:
        return EXPR_GE;
    case EXPR_GT:
        return EXPR_LT;
    case EXPR_GE:
        return EXPR_LE;
    default:
        return op;
    }
}

/* x = nil: whether something is there at all, so only for what may be absent. */
static bool compare_nil(struct parser *p, const struct operation_site *s, const struct node *l,
                        const struct node *r, struct node *out)
{
    bool left_is_nil = !l->is_any && l->type == EXPR_NIL;
    bool right_is_nil = !r->is_any && r->type == EXPR_NIL;
    if (s->op != EXPR_EQ && s->op != EXPR_NE)
        return parser_fail(p, s->at.offset, "nil can only be compared with = and !=");
    if (left_is_nil && right_is_nil) {
        out->is_literal = true;
        return node_set(p, out, constant(p, EXPR_BOOL, 0), EXPR_BOOL);
    }
    const struct node *n = left_is_nil ? r : l;
    if (!n->is_any || !n->is_field)
        return parser_fail(p, s->at.offset, "only an attribute can be nil, not %s",
                           n->is_field ? "an intrinsic" : type_text(n));
    return node_set(p, out, unary(p, s->op == EXPR_EQ ? EXPR_IS_NIL : EXPR_IS_NOT_NIL, n->e),
                    EXPR_BOOL);
}

/* `severity = warn` means any of warn's four numbers; orders go by the first or the last of them.
 */
static bool compare_severity(struct parser *p, const struct operation_site *s, const struct node *l,
                             const struct node *r, struct node *out)
{
    bool is_left_word = l->special == NODE_SEVERITY_WORD;
    const struct node *field = is_left_word ? r : l, *word = is_left_word ? l : r;
    enum expr_op op = is_left_word ? mirrored(s->op) : s->op;
    if (field->special != NODE_SEVERITY)
        return parser_fail(p, word->offset, "a severity word can only be compared with severity");
    int64_t first = word->e->value.integer, last = first + 3;
    struct expr *at_first = constant(p, EXPR_INT, first), *at_last = constant(p, EXPR_INT, last);
    switch ((int)op) {
    case EXPR_EQ:
        return node_set(p, out,
                        binary(p, EXPR_AND, binary(p, EXPR_GE, field->e, at_first),
                               binary(p, EXPR_LE, field->e, at_last)),
                        EXPR_BOOL);
    case EXPR_NE:
        return node_set(p, out,
                        binary(p, EXPR_OR, binary(p, EXPR_LT, field->e, at_first),
                               binary(p, EXPR_GT, field->e, at_last)),
                        EXPR_BOOL);
    case EXPR_LT:
    case EXPR_GE:
        return node_set(p, out, binary(p, op, field->e, at_first), EXPR_BOOL);
    case EXPR_LE:
    case EXPR_GT:
        return node_set(p, out, binary(p, op, field->e, at_last), EXPR_BOOL);
    default:
        return types_differ(p, s, l, r);
    }
}

/* A root's nestedSetParent is -1, any other span's is at least 0: comparisons that ask just that
 * are span:isRoot. The numbering itself is not kept. */
static bool compare_nested_set(struct parser *p, const struct operation_site *s,
                               const struct node *l, const struct node *r, struct node *out)
{
    bool is_left = l->special == NODE_NESTED_SET_PARENT;
    const struct node *field = is_left ? l : r, *other = is_left ? r : l;
    enum expr_op op = is_left ? s->op : mirrored(s->op);
    int64_t v = other->is_literal && other->type == EXPR_INT ? other->e->value.integer : INT64_MAX;
    bool asks_root = (op == EXPR_LT && v == 0) || ((op == EXPR_LE || op == EXPR_EQ) && v == -1);
    bool asks_child = (op == EXPR_GE && v == 0) || ((op == EXPR_GT || op == EXPR_NE) && v == -1);
    if (!asks_root && !asks_child)
        parser_unsupported(p, field->offset, "'nestedSetParent' other than < 0");
    struct expr *is_root = expr_intrinsic_field(p->lexer.arena, EXPR_INTRINSIC_SPAN_IS_ROOT);
    return node_set(p, out, asks_root ? is_root : unary(p, EXPR_NOT, is_root), EXPR_BOOL);
}

/* IDs compare without regard to case and to zeros on the left: write the constant as it is stored.
 */
static struct expr *id_constant(struct parser *p, const struct node *n, size_t digits)
{
    struct bytes from = n->e->value.bytes;
    if (from.len > digits)
        return n->e;
    uint8_t *text = arena_alloc_bytes(p->lexer.arena, digits);
    if (text == NULL)
        return NULL;
    memset(text, '0', digits);
    for (size_t i = 0; i < from.len; i++) {
        uint8_t c = from.data[i];
        bool is_upper = c >= 'A' && c <= 'F';
        if (!is_upper && !(c >= 'a' && c <= 'f') && !(c >= '0' && c <= '9'))
            return n->e;
        text[digits - from.len + i] = is_upper ? (uint8_t)(c - 'A' + 'a') : c;
    }
    return expr_const(p->lexer.arena,
                      (struct expr_value){ .type = EXPR_STRING, .bytes = bytes_of(text, digits) });
}

static struct expr *comparison_side(struct parser *p, const struct node *n,
                                    const struct node *other)
{
    if (n->is_literal && n->type == EXPR_STRING && other->special == NODE_TRACE_ID)
        return id_constant(p, n, 32);
    if (n->is_literal && n->type == EXPR_STRING && other->special == NODE_SPAN_ID)
        return id_constant(p, n, 16);
    return n->e;
}

static bool compare_text(struct parser *p, const struct operation_site *s, const struct node *l,
                         const struct node *r, struct node *out)
{
    const struct node *field = l->special == NODE_TEXT ? l : r, *other = field == l ? r : l;
    if (!other->is_literal || other->type != EXPR_STRING || (s->op != EXPR_EQ && s->op != EXPR_NE))
        return parser_fail(p, s->at.offset,
                           "text can only be compared with a string, by = != =~ !~");
    struct expr *contains = binary(p, EXPR_CONTAINS, field->e, other->e);
    if (s->op == EXPR_EQ)
        return node_set(p, out, contains, EXPR_BOOL);
    return node_set(p, out, unary(p, EXPR_NOT, contains), EXPR_BOOL);
}

static bool compare(struct parser *p, const struct operation_site *s, const struct node *l,
                    const struct node *r, struct node *out)
{
    if ((!l->is_any && l->type == EXPR_NIL) || (!r->is_any && r->type == EXPR_NIL))
        return compare_nil(p, s, l, r, out);
    if (l->special == NODE_SEVERITY_WORD || r->special == NODE_SEVERITY_WORD)
        return compare_severity(p, s, l, r, out);
    bool both_numbers = is_number(l) && is_number(r);
    bool both_strings =
        (l->is_any || l->type == EXPR_STRING) && (r->is_any || r->type == EXPR_STRING);
    bool is_equality = s->op == EXPR_EQ || s->op == EXPR_NE;
    bool fits = both_numbers || both_strings ||
                (is_equality && (l->is_any || r->is_any || l->type == r->type));
    if (!fits)
        return types_differ(p, s, l, r);
    if (l->special == NODE_NESTED_SET_PARENT || r->special == NODE_NESTED_SET_PARENT)
        return compare_nested_set(p, s, l, r, out);
    if (l->special == NODE_TEXT || r->special == NODE_TEXT)
        return compare_text(p, s, l, r, out);
    struct expr *left = comparison_side(p, l, r), *right = comparison_side(p, r, l);
    return node_set(p, out, binary(p, s->op, left, right), EXPR_BOOL);
}

/* Ours, not TraceQL's: a substring, without regard to ASCII case. */
static bool contains(struct parser *p, const struct operation_site *s, const struct node *l,
                     const struct node *r, struct node *out)
{
    if (!r->is_literal || r->type != EXPR_STRING)
        return parser_fail(p, r->offset, "contains needs a string in quotes, not %s", type_text(r));
    if (!l->is_any && l->type != EXPR_STRING)
        return types_differ(p, s, l, r);
    return node_set(p, out, binary(p, EXPR_CONTAINS, l->e, r->e), EXPR_BOOL);
}

static bool match(struct parser *p, const struct operation_site *s, const struct node *l,
                  const struct node *r, struct node *out)
{
    if (!r->is_literal || r->type != EXPR_STRING)
        return parser_fail(p, r->offset, "a regular expression is a string in quotes, not %s",
                           r->type == EXPR_STRING ? "a field" : type_text(r));
    if (!l->is_any && l->type != EXPR_STRING)
        return types_differ(p, s, l, r);
    if (p->regex_count == TRACEQL_REGEX_MAX)
        return parser_fail_bound(p, ERR_TOO_MANY, s->at.offset, "too many regular expressions");
    struct err_note note = { 0 };
    struct expr *e;
    enum err failure = expr_match(p->lexer.arena, s->op, l->e, r->e->value.bytes, &e, &note);
    if (failure == ERR_INVALID)
        return parser_fail(p, r->offset, "the regular expression is wrong at its byte %zu: %s",
                           note.offset, note.what == NULL ? "malformed" : note.what);
    if (failure == ERR_TOO_LARGE)
        return parser_fail_bound(p, failure, r->offset, "the regular expression is too long");
    if (failure != ERR_OK) {
        p->failure = failure;
        return false;
    }
    p->regexes[p->regex_count++] = e;
    return node_set(p, out, e, EXPR_BOOL);
}

static bool join(struct parser *p, const struct operation_site *s, const struct node *l,
                 const struct node *r, struct node *out)
{
    struct node n = { .offset = l->offset, .is_of_row = l->is_of_row || r->is_of_row };
    bool ok;
    if (s->op == EXPR_AND || s->op == EXPR_OR) {
        if (!is_boolean(l) || !is_boolean(r))
            return types_differ(p, s, l, r);
        ok = node_set(p, &n, binary(p, s->op, l->e, r->e), EXPR_BOOL);
    } else if (s->op == EXPR_MATCH || s->op == EXPR_NOT_MATCH) {
        ok = match(p, s, l, r, &n);
    } else if (s->op == EXPR_CONTAINS) {
        ok = contains(p, s, l, r, &n);
    } else if (s->op >= EXPR_ADD) {
        if (!is_number(l) || !is_number(r))
            return types_differ(p, s, l, r);
        if (l->special == NODE_NESTED_SET_PARENT || r->special == NODE_NESTED_SET_PARENT)
            parser_unsupported(p, n.offset, "arithmetic with 'nestedSetParent'");
        ok = node_set(p, &n, binary(p, s->op, l->e, r->e), EXPR_FLOAT);
    } else {
        ok = compare(p, s, l, r, &n);
    }
    if (ok)
        *out = n;
    return ok;
}

/* ---- The climb ---- */

static bool parse_level(struct parser *p, enum level lowest, struct node *out);

static bool parse_negation(struct parser *p, struct node *n)
{
    struct node operand;
    if (!parser_advance(p) || !parse_level(p, LEVEL_SIGN, &operand))
        return false;
    if (!is_number(&operand))
        return parser_fail(p, n->offset, "'-' needs a number, not %s", type_text(&operand));
    if (operand.special == NODE_NESTED_SET_PARENT)
        parser_unsupported(p, operand.offset, "arithmetic with 'nestedSetParent'");
    n->is_of_row = operand.is_of_row;
    if (!operand.is_literal)
        return node_set(p, n, unary(p, EXPR_NEGATE, operand.e), EXPR_FLOAT);
    struct expr_value v = operand.e->value;
    if (v.type == EXPR_FLOAT)
        v.number = -v.number;
    else if (v.integer != INT64_MIN)
        v.integer = -v.integer;
    else
        return parser_fail(p, n->offset, "the number is too large");
    n->is_literal = true;
    return node_set(p, n, expr_const(p->lexer.arena, v), v.type);
}

static bool parse_not(struct parser *p, struct node *n)
{
    struct node operand;
    if (!parser_advance(p) || !parse_level(p, LEVEL_PRODUCT, &operand))
        return false;
    if (!is_boolean(&operand))
        return parser_fail(p, n->offset, "'!' needs a boolean, not %s; write !( ... )",
                           type_text(&operand));
    n->is_of_row = operand.is_of_row;
    return node_set(p, n, unary(p, EXPR_NOT, operand.e), EXPR_BOOL);
}

static bool parse_operand(struct parser *p, struct node *out)
{
    struct node n = { .offset = p->token.offset };
    bool ok;
    switch ((int)p->token.type) {
    case TOKEN_STRING:
    case TOKEN_NUMBER:
        n.is_literal = true;
        ok = node_set(p, &n, expr_const(p->lexer.arena, p->token.value), p->token.value.type) &&
             parser_advance(p);
        break;
    case TOKEN_ATTRIBUTE:
        ok = parse_attribute(p, &n);
        break;
    case TOKEN_WORD:
        ok = parse_word(p, &n);
        break;
    case TOKEN_MINUS:
        ok = parse_negation(p, &n);
        break;
    case TOKEN_NOT:
        ok = parse_not(p, &n);
        break;
    case TOKEN_PAREN_OPEN:
        ok = parser_advance(p) && parse_level(p, LEVEL_LOGIC, &n) &&
             parser_take(p, TOKEN_PAREN_CLOSE, "an operator or ')'");
        break;
    default:
        return parser_expected(p, "a value, an attribute (.x, resource.x) or a known name");
    }
    if (ok)
        *out = n;
    return ok;
}

/* Operators that bind at least as tightly as `lowest`, by precedence climbing. */
static bool parse_level(struct parser *p, enum level lowest, struct node *out)
{
    struct node n;
    if (!parser_enter(p) || !parse_operand(p, &n))
        return false;
    for (;;) {
        struct operation_site site = { .at = p->token };
        enum level level = field_operator(&p->token, &site.op);
        if (level == LEVEL_NONE || level < lowest)
            break;
        struct node right;
        enum level right_lowest = level == LEVEL_POWER ? LEVEL_POWER : (enum level)(level + 1);
        if (!parser_advance(p) || !parse_level(p, right_lowest, &right) ||
            !join(p, &site, &n, &right, &n))
            return false;
    }
    parser_leave(p);
    *out = n;
    return true;
}

bool parse_field(struct parser *p, struct node *out)
{
    struct node n;
    if (!parse_level(p, LEVEL_LOGIC, &n))
        return false;
    if (n.special == NODE_NESTED_SET_PARENT)
        parser_unsupported(p, n.offset, "'nestedSetParent' other than < 0");
    *out = n;
    return true;
}

bool parse_filter(struct parser *p, struct expr **out)
{
    size_t begin = p->token.offset;
    if (!parser_take(p, TOKEN_BRACE_OPEN, "'{'"))
        return false;
    if (p->token.type == TOKEN_BRACE_CLOSE) {
        *out = NULL;
        return parser_advance(p);
    }
    struct node n;
    if (!parse_field(p, &n))
        return false;
    if (!is_boolean(&n))
        return parser_fail(p, n.offset, "a filter needs a condition, but this is %s",
                           type_text(&n));
    if (p->token.type == TOKEN_END)
        return parser_fail(p, p->token.offset,
                           "expected an operator or '}' for the '{' at byte %zu, found the end of "
                           "the query",
                           begin);
    if (!parser_take(p, TOKEN_BRACE_CLOSE, "an operator or '}'"))
        return false;
    *out = n.e;
    return true;
}

bool parse_number_field(struct parser *p)
{
    struct node n;
    size_t offset = p->token.offset;
    if (!parse_field(p, &n))
        return false;
    if (!is_number(&n))
        return parser_fail(p, offset, "expected a number to aggregate, found %s", type_text(&n));
    if (!n.is_of_row)
        return parser_fail(p, offset, "expected something of the span, found a constant");
    return true;
}

bool parse_row_field(struct parser *p)
{
    struct node n;
    size_t offset = p->token.offset;
    if (!parse_field(p, &n))
        return false;
    return n.is_of_row ||
           parser_fail(p, offset, "expected something of the span, found a constant");
}

bool parse_attribute_name(struct parser *p)
{
    struct node n;
    if (p->token.type != TOKEN_ATTRIBUTE && p->token.type != TOKEN_WORD)
        return parser_expected(p, "an attribute or an intrinsic");
    if (!parse_operand(p, &n))
        return false;
    return n.is_field ||
           parser_fail(p, n.offset, "expected an attribute or an intrinsic, found a constant");
}

bool parse_static(struct parser *p)
{
    struct node n;
    if (!parser_enter(p) || !parse_operand(p, &n))
        return false;
    parser_leave(p);
    return n.is_literal || parser_fail(p, n.offset, "expected a constant");
}
