/* SPDX-License-Identifier: Apache-2.0 */
/* traceql_parser.h - the state of one parse, shared by conditions (traceql_parse.c) and what stands
 * around them (traceql_pipeline.c).
 *
 * Errors     every function that may fail returns false after setting parser.failure. */
#ifndef SPINDLE_QUERY_TRACEQL_PARSER_H
#define SPINDLE_QUERY_TRACEQL_PARSER_H

#include "query/traceql_private.h"

struct parser {
    struct lexer lexer;
    struct token token; /* the one looked at */
    unsigned depth;
    enum err failure;
    struct traceql_error *error;
    bool has_unsupported; /* the first construct in the text that is read but not answered */
    struct traceql_error unsupported;
    struct expr *regexes[TRACEQL_REGEX_MAX]; /* to release when the parse fails */
    size_t regex_count;
};

/* Nodes that their operator must know. */
enum node_special {
    NODE_PLAIN,
    NODE_SEVERITY,
    NODE_SEVERITY_WORD,
    NODE_TEXT,
    NODE_TRACE_ID,
    NODE_SPAN_ID,
    NODE_NESTED_SET_PARENT
};

/* An expression and what is known of it before any row is seen. */
struct node {
    struct expr *e;
    enum expr_type type; /* FLOAT also for arithmetic whose type is not known */
    bool is_any;         /* an attribute: any type, or absent */
    bool is_literal;
    bool is_field;  /* an attribute or an intrinsic */
    bool is_of_row; /* contains one */
    enum node_special special;
    size_t offset;
};

/* Note a mistake at an offset, memory that ran out, a bound that was passed. */
bool parser_fail(struct parser *p, size_t offset, const char *format, ...) PRINTF_LIKE(3, 4);
bool parser_fail_memory(struct parser *p);
bool parser_fail_bound(struct parser *p, enum err e, size_t offset, const char *what);
/* "expected <what>, found <the token>" */
bool parser_expected(struct parser *p, const char *what);
/* Note a construct that cannot be answered; reading goes on. */
void parser_unsupported(struct parser *p, size_t offset, const char *format, ...) PRINTF_LIKE(3, 4);
bool parser_advance(struct parser *p);
bool parser_take(struct parser *p, enum token_type type, const char *what);
bool parser_is_word(const struct parser *p, const char *word);
/* One level deeper, within the bound; a failed parse is never left again. */
bool parser_enter(struct parser *p);
static inline void parser_leave(struct parser *p)
{
    p->depth--;
}

/* A condition or value, as it stands in braces. */
bool parse_field(struct parser *p, struct node *out);
/* `{ ... }`; NULL for an empty one. */
bool parse_filter(struct parser *p, struct expr **out);
/* Arguments of functions; they are checked and forgotten, as no function is answered yet. */
bool parse_number_field(struct parser *p);   /* sum(field) */
bool parse_row_field(struct parser *p);      /* by(field) */
bool parse_attribute_name(struct parser *p); /* select(attr) */
bool parse_static(struct parser *p);         /* with (hint=static) */

#endif
