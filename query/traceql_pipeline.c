/* SPDX-License-Identifier: Apache-2.0 */
/* What stands around `{ ... }`: operators between sets of spans, pipelines, aggregates, metrics,
 * hints. All of it is read and checked for form; none of it is answered yet, so nothing is built.
 */
#include "query/traceql_parser.h"

#include "base/text.h"

/* What a part of the query yields. Which parts may stand where is told from this alone. */
enum part_kind {
    PART_SPANS,        /* { } and sets of them */
    PART_PIPELINE,     /* spans after further stages */
    PART_STAGE,        /* by(), select(): spans when first */
    PART_COALESCE,     /* never first */
    PART_CONDITION,    /* count() > 2 */
    PART_AGGREGATE,    /* count() */
    PART_NUMBER,       /* 2 */
    PART_VALUE,        /* pipeline | count(), in parentheses */
    PART_METRIC_STAGE, /* rate(): a metric once it follows spans */
    PART_METRIC,
    PART_SECOND /* topk(5): after a metric */
};

struct part {
    enum part_kind kind;
    struct expr *filter; /* of PART_SPANS that is a single { } */
    bool is_wrapped;     /* in parentheses */
    size_t offset;
};

static const char *part_text(enum part_kind k)
{
    switch (k) {
    case PART_SPANS:
        return "a set of spans";
    case PART_PIPELINE:
        return "a pipeline";
    case PART_STAGE:
    case PART_COALESCE:
        return "a stage";
    case PART_CONDITION:
        return "a comparison of aggregates";
    case PART_AGGREGATE:
        return "an aggregate";
    case PART_NUMBER:
        return "a number";
    case PART_VALUE:
        return "the aggregate of a pipeline";
    case PART_METRIC_STAGE:
    case PART_METRIC:
        return "a metric";
    case PART_SECOND:
        return "a selection of series";
    }
    return "?";
}

static bool is_spans(enum part_kind k)
{
    return k == PART_SPANS || k == PART_PIPELINE || k == PART_STAGE || k == PART_CONDITION;
}

static bool is_value(enum part_kind k)
{
    return k == PART_AGGREGATE || k == PART_NUMBER || k == PART_VALUE;
}

static bool is_metric(enum part_kind k)
{
    return k == PART_METRIC || k == PART_METRIC_STAGE || k == PART_SECOND;
}

/* ---- Functions ---- */

/* What a function takes in its parentheses. */
enum arguments {
    TAKES_NOTHING,
    TAKES_FIELD,  /* any expression of the row */
    TAKES_NUMBER, /* a numeric one */
    TAKES_ATTRIBUTE,
    TAKES_ATTRIBUTES,
    TAKES_QUANTILES,  /* an attribute, then numbers */
    TAKES_COMPARISON, /* a filter, then up to three integers */
    TAKES_INTEGER
};

static const struct function {
    const char *name;
    enum part_kind kind;
    enum arguments arguments;
} functions[] = {
    { "count", PART_AGGREGATE, TAKES_NOTHING },
    { "avg", PART_AGGREGATE, TAKES_NUMBER },
    { "max", PART_AGGREGATE, TAKES_NUMBER },
    { "min", PART_AGGREGATE, TAKES_NUMBER },
    { "sum", PART_AGGREGATE, TAKES_NUMBER },
    { "by", PART_STAGE, TAKES_FIELD },
    { "select", PART_STAGE, TAKES_ATTRIBUTES },
    { "coalesce", PART_COALESCE, TAKES_NOTHING },
    { "rate", PART_METRIC_STAGE, TAKES_NOTHING },
    { "count_over_time", PART_METRIC_STAGE, TAKES_NOTHING },
    { "min_over_time", PART_METRIC_STAGE, TAKES_ATTRIBUTE },
    { "max_over_time", PART_METRIC_STAGE, TAKES_ATTRIBUTE },
    { "sum_over_time", PART_METRIC_STAGE, TAKES_ATTRIBUTE },
    { "avg_over_time", PART_METRIC_STAGE, TAKES_ATTRIBUTE },
    { "quantile_over_time", PART_METRIC_STAGE, TAKES_QUANTILES },
    { "histogram_over_time", PART_METRIC_STAGE, TAKES_ATTRIBUTE },
    { "compare", PART_METRIC_STAGE, TAKES_COMPARISON },
    { "topk", PART_SECOND, TAKES_INTEGER },
    { "bottomk", PART_SECOND, TAKES_INTEGER },
};

static const struct function *find_function(const struct token *t)
{
    if (t->type != TOKEN_WORD)
        return NULL;
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (bytes_equal_text(t->raw, functions[i].name))
            return &functions[i];
    return NULL;
}

static bool take_number(struct parser *p, bool is_integer)
{
    const struct token *t = &p->token;
    if (t->type != TOKEN_NUMBER || (is_integer && t->value.type != EXPR_INT))
        return parser_expected(p, is_integer ? "an integer" : "a number");
    return parser_advance(p);
}

static bool take_attributes(struct parser *p)
{
    if (!parse_attribute_name(p))
        return false;
    while (p->token.type == TOKEN_COMMA)
        if (!parser_advance(p) || !parse_attribute_name(p))
            return false;
    return true;
}

static bool take_numbers(struct parser *p, bool are_integers, unsigned max)
{
    for (unsigned n = 0; n < max && p->token.type == TOKEN_COMMA; n++)
        if (!parser_advance(p) || !take_number(p, are_integers))
            return false;
    return true;
}

static bool parse_arguments(struct parser *p, enum arguments arguments)
{
    struct expr *ignored;
    switch (arguments) {
    case TAKES_NOTHING:
        return true;
    case TAKES_FIELD:
        return parse_row_field(p);
    case TAKES_NUMBER:
        return parse_number_field(p);
    case TAKES_ATTRIBUTE:
        return parse_attribute_name(p);
    case TAKES_ATTRIBUTES:
        return take_attributes(p);
    case TAKES_QUANTILES:
        if (!parse_attribute_name(p))
            return false;
        if (p->token.type != TOKEN_COMMA)
            return parser_expected(p, "',' and a quantile");
        return take_numbers(p, false, UINT32_MAX);
    case TAKES_COMPARISON:
        return parse_filter(p, &ignored) && take_numbers(p, true, 3);
    case TAKES_INTEGER:
        return take_number(p, true);
    }
    return true;
}

static bool parse_function(struct parser *p, const struct function *f, struct part *out)
{
    *out = (struct part){ .kind = f->kind, .offset = p->token.offset };
    const char *what = f->kind == PART_AGGREGATE      ? "the aggregate"
                       : f->kind == PART_METRIC_STAGE ? "the metrics function"
                                                      : "the stage";
    parser_unsupported(p, p->token.offset, "%s %s()", what, f->name);
    if (!parser_advance(p) || !parser_take(p, TOKEN_PAREN_OPEN, "'('") ||
        !parse_arguments(p, f->arguments) || !parser_take(p, TOKEN_PAREN_CLOSE, "')'"))
        return false;
    bool takes_by = f->kind == PART_METRIC_STAGE && f->arguments != TAKES_COMPARISON;
    if (!takes_by || !parser_is_word(p, "by"))
        return true;
    return parser_advance(p) && parser_take(p, TOKEN_PAREN_OPEN, "'('") && take_attributes(p) &&
           parser_take(p, TOKEN_PAREN_CLOSE, "',' or ')'");
}

/* ---- Operators between parts ---- */

enum part_level {
    PART_LEVEL_NONE,
    PART_LEVEL_LOGIC,
    PART_LEVEL_COMPARE,
    PART_LEVEL_SUM,
    PART_LEVEL_PRODUCT,
    PART_LEVEL_POWER
};

static enum part_level part_operator(enum token_type t)
{
    switch ((int)t) {
    case TOKEN_AND:
    case TOKEN_OR:
        return PART_LEVEL_LOGIC;
    case TOKEN_GREATER:
    case TOKEN_LESS:
    case TOKEN_DESCENDANT:
    case TOKEN_ANCESTOR:
    case TOKEN_SIBLING:
    case TOKEN_NOT_CHILD:
    case TOKEN_NOT_PARENT:
    case TOKEN_NOT_DESCENDANT:
    case TOKEN_NOT_ANCESTOR:
    case TOKEN_NOT_TILDE:
    case TOKEN_UNION_CHILD:
    case TOKEN_UNION_PARENT:
    case TOKEN_UNION_DESCENDANT:
    case TOKEN_UNION_ANCESTOR:
    case TOKEN_UNION_SIBLING:
    case TOKEN_EQUAL:
    case TOKEN_NOT_EQUAL:
    case TOKEN_LESS_EQUAL:
    case TOKEN_GREATER_EQUAL:
        return PART_LEVEL_COMPARE;
    case TOKEN_PLUS:
    case TOKEN_MINUS:
        return PART_LEVEL_SUM;
    case TOKEN_TIMES:
    case TOKEN_DIVIDE:
    case TOKEN_MODULO:
        return PART_LEVEL_PRODUCT;
    case TOKEN_POWER:
        return PART_LEVEL_POWER;
    default:
        return PART_LEVEL_NONE;
    }
}

static bool compares_values(enum token_type t)
{
    return t == TOKEN_EQUAL || t == TOKEN_NOT_EQUAL || t == TOKEN_LESS || t == TOKEN_LESS_EQUAL ||
           t == TOKEN_GREATER || t == TOKEN_GREATER_EQUAL;
}

static bool joins_spans(enum token_type t)
{
    return t == TOKEN_GREATER || t == TOKEN_LESS ||
           (part_operator(t) <= PART_LEVEL_COMPARE && !compares_values(t));
}

static bool join_parts(struct parser *p, const struct token *op, const struct part *l,
                       const struct part *r, struct part *out)
{
    struct part joined = { .offset = l->offset };
    enum part_level level = part_operator(op->type);
    bool is_arithmetic = level >= PART_LEVEL_SUM;
    if (is_spans(l->kind) && is_spans(r->kind) && joins_spans(op->type)) {
        const char *what =
            level == PART_LEVEL_LOGIC ? "the spanset operator" : "the structural operator";
        parser_unsupported(p, op->offset, "%s '%.*s'", what, (int)op->raw.len,
                           (const char *)op->raw.data);
        joined.kind = PART_SPANS;
    } else if (is_value(l->kind) && is_value(r->kind) && is_arithmetic) {
        joined.kind = l->kind == PART_NUMBER ? r->kind : l->kind;
    } else if (is_value(l->kind) && is_value(r->kind) && compares_values(op->type) &&
               (l->kind != PART_NUMBER || r->kind != PART_NUMBER)) {
        joined.kind = PART_CONDITION;
    } else if (is_metric(l->kind) && r->kind == PART_NUMBER && compares_values(op->type)) {
        joined.kind = l->kind;
    } else if (is_arithmetic && (l->kind == PART_METRIC || r->kind == PART_METRIC) &&
               (l->kind == PART_METRIC || l->kind == PART_NUMBER) &&
               (r->kind == PART_METRIC || r->kind == PART_NUMBER)) {
        parser_unsupported(p, op->offset, "arithmetic of metrics");
        joined.kind = PART_METRIC;
    } else {
        return parser_fail(p, op->offset, "'%.*s' cannot join %s and %s", (int)op->raw.len,
                           (const char *)op->raw.data, part_text(l->kind), part_text(r->kind));
    }
    *out = joined;
    return true;
}

/* ---- Parts and pipelines ---- */

static bool parse_pipeline(struct parser *p, struct part *out);

static bool parse_wrapped(struct parser *p, struct part *out)
{
    struct part inner;
    size_t offset = p->token.offset;
    if (!parser_enter(p) || !parser_advance(p) || !parse_pipeline(p, &inner) ||
        !parser_take(p, TOKEN_PAREN_CLOSE, "an operator, '|' or ')'"))
        return false;
    parser_leave(p);
    inner.offset = offset;
    inner.is_wrapped = true;
    *out = inner;
    return true;
}

static bool parse_part_operand(struct parser *p, struct part *out)
{
    *out = (struct part){ .offset = p->token.offset };
    const struct function *f = find_function(&p->token);
    if (f != NULL)
        return parse_function(p, f, out);
    switch ((int)p->token.type) {
    case TOKEN_BRACE_OPEN:
        out->kind = PART_SPANS;
        return parse_filter(p, &out->filter);
    case TOKEN_PAREN_OPEN:
        return parse_wrapped(p, out);
    case TOKEN_NUMBER:
        out->kind = PART_NUMBER;
        return parser_advance(p);
    case TOKEN_MINUS:
        out->kind = PART_NUMBER;
        while (p->token.type == TOKEN_MINUS)
            if (!parser_advance(p))
                return false;
        if (p->token.type == TOKEN_PAREN_OPEN) {
            if (!parse_wrapped(p, out))
                return false;
            return out->kind == PART_NUMBER ||
                   parser_fail(p, out->offset, "expected a number after '-'");
        }
        return take_number(p, false);
    default:
        return parser_expected(p, "'{', '(' or a function");
    }
}

static bool parse_parts(struct parser *p, enum part_level lowest, struct part *out)
{
    struct part left;
    if (!parser_enter(p) || !parse_part_operand(p, &left))
        return false;
    for (;;) {
        struct token op = p->token;
        enum part_level level = part_operator(op.type);
        if (level == PART_LEVEL_NONE || level < lowest)
            break;
        struct part right;
        enum part_level right_lowest =
            level == PART_LEVEL_POWER ? level : (enum part_level)(level + 1);
        if (!parser_advance(p) || !parse_parts(p, right_lowest, &right) ||
            !join_parts(p, &op, &left, &right, &left))
            return false;
    }
    parser_leave(p);
    *out = left;
    return true;
}

/* What a stage makes of what stands before its '|'. */
static bool append_stage(struct parser *p, const struct token *pipe, struct part *so_far,
                         const struct part *stage)
{
    enum part_kind before = so_far->kind;
    if (is_spans(before)) {
        switch (stage->kind) {
        case PART_SPANS:
        case PART_STAGE:
        case PART_COALESCE:
        case PART_CONDITION:
        case PART_PIPELINE:
            so_far->kind = PART_PIPELINE;
            return true;
        case PART_AGGREGATE:
            so_far->kind = PART_VALUE;
            so_far->is_wrapped = false;
            return true;
        case PART_METRIC_STAGE:
            so_far->kind = PART_METRIC;
            return true;
        case PART_NUMBER:
        case PART_VALUE:
        case PART_METRIC:
        case PART_SECOND:
            break;
        }
    } else if (before == PART_METRIC && stage->kind == PART_SECOND) {
        return true;
    }
    return parser_fail(p, pipe->offset, "'|' cannot join %s and %s", part_text(before),
                       part_text(stage->kind));
}

static bool parse_pipeline(struct parser *p, struct part *out)
{
    struct part so_far;
    if (!parse_parts(p, PART_LEVEL_LOGIC, &so_far))
        return false;
    if (so_far.kind == PART_METRIC_STAGE || so_far.kind == PART_SECOND ||
        so_far.kind == PART_COALESCE)
        return parser_fail(p, so_far.offset,
                           "expected spans first, as in { } | ..., found a function over them");
    while (p->token.type == TOKEN_PIPE) {
        struct token pipe = p->token;
        struct part stage;
        parser_unsupported(p, pipe.offset, "the pipeline '|'");
        if (!parser_advance(p) || !parse_parts(p, PART_LEVEL_LOGIC, &stage) ||
            !append_stage(p, &pipe, &so_far, &stage))
            return false;
        so_far.filter = NULL;
    }
    *out = so_far;
    return true;
}

/* with (name=constant, ...): how to search, never what is found; all results here are exact and the
 * newest first, so no hint changes an answer. */
static bool parse_hints(struct parser *p)
{
    if (!parser_advance(p) || !parser_take(p, TOKEN_PAREN_OPEN, "'('"))
        return false;
    for (;;) {
        if (!parser_take(p, TOKEN_WORD, "the name of a hint") ||
            !parser_take(p, TOKEN_EQUAL, "'='") || !parse_static(p))
            return false;
        if (p->token.type != TOKEN_COMMA)
            return parser_take(p, TOKEN_PAREN_CLOSE, "',' or ')'");
        if (!parser_advance(p))
            return false;
    }
}

static bool parse_query(struct parser *p, struct expr **out)
{
    struct part part;
    if (!parser_advance(p) || !parse_pipeline(p, &part))
        return false;
    if (part.kind == PART_AGGREGATE || part.kind == PART_VALUE)
        return parser_fail(p, p->token.offset, "expected a comparison, as in count() > 2");
    if (part.kind == PART_NUMBER)
        return parser_fail(p, part.offset, "expected a filter, as in { .x = 1 }, found a number");
    if (parser_is_word(p, "with") && !parse_hints(p))
        return false;
    if (p->token.type != TOKEN_END)
        return parser_expected(p, "an operator, '|' or the end");
    *out = part.filter;
    return true;
}

enum err traceql_parse(struct arena *a, enum signal signal, struct bytes text, struct expr **out,
                       struct traceql_error *error)
{
    struct parser p = {
        .lexer = { .arena = a, .signal = signal, .text = text, .error = error },
        .error = error,
    };
    struct expr *e = NULL;
    if (text.len > TRACEQL_TEXT_MAX)
        (void)parser_fail_bound(&p, ERR_TOO_LARGE, 0, "the query is longer than 128 KiB");
    else if (text_utf8_valid_len(text) < text.len)
        (void)parser_fail(&p, text_utf8_valid_len(text), "the query is not valid UTF-8");
    else if (parse_query(&p, &e) && p.has_unsupported) {
        *error = p.unsupported;
        p.failure = ERR_UNSUPPORTED;
    }
    if (p.failure == ERR_OK) {
        *out = e;
        return ERR_OK;
    }
    for (size_t i = 0; i < p.regex_count; i++)
        expr_deinit(p.regexes[i]);
    return p.failure;
}
