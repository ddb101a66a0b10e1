/* SPDX-License-Identifier: Apache-2.0 */
/* traceql_private.h - tokens: what the lexer and the parser of TraceQL share. */
#ifndef SPINDLE_QUERY_TRACEQL_PRIVATE_H
#define SPINDLE_QUERY_TRACEQL_PRIVATE_H

#include "query/traceql.h"

/* Punctuation; where one begins another, the longer stands first, as the lexer tries them in order.
 */
#define TOKEN_PUNCTUATION_LIST(X)                                                                  \
    X(NOT_DESCENDANT, "!>>")                                                                       \
    X(NOT_ANCESTOR, "!<<")                                                                         \
    X(NOT_CHILD, "!>")                                                                             \
    X(NOT_PARENT, "!<")                                                                            \
    X(NOT_TILDE, "!~")                                                                             \
    X(NOT_EQUAL, "!=")                                                                             \
    X(NOT, "!")                                                                                    \
    X(UNION_DESCENDANT, "&>>")                                                                     \
    X(UNION_ANCESTOR, "&<<")                                                                       \
    X(UNION_CHILD, "&>")                                                                           \
    X(UNION_PARENT, "&<")                                                                          \
    X(UNION_SIBLING, "&~")                                                                         \
    X(AND, "&&")                                                                                   \
    X(OR, "||")                                                                                    \
    X(PIPE, "|")                                                                                   \
    X(DESCENDANT, ">>")                                                                            \
    X(GREATER_EQUAL, ">=")                                                                         \
    X(GREATER, ">")                                                                                \
    X(ANCESTOR, "<<")                                                                              \
    X(LESS_EQUAL, "<=")                                                                            \
    X(LESS, "<")                                                                                   \
    X(MATCH, "=~")                                                                                 \
    X(EQUAL, "=")                                                                                  \
    X(SIBLING, "~")                                                                                \
    X(BRACE_OPEN, "{")                                                                             \
    X(BRACE_CLOSE, "}")                                                                            \
    X(PAREN_OPEN, "(")                                                                             \
    X(PAREN_CLOSE, ")")                                                                            \
    X(COMMA, ",")                                                                                  \
    X(PLUS, "+")                                                                                   \
    X(MINUS, "-")                                                                                  \
    X(TIMES, "*")                                                                                  \
    X(DIVIDE, "/")                                                                                 \
    X(MODULO, "%")                                                                                 \
    X(POWER, "^")

enum token_type {
    TOKEN_END,
    TOKEN_STRING, /* value.bytes, escapes resolved */
    TOKEN_NUMBER, /* value: int, float or duration */
    TOKEN_WORD,   /* raw: a keyword, an intrinsic of one word or with a colon, a function */
    TOKEN_ATTRIBUTE,
#define X(name, text) TOKEN_##name,
    TOKEN_PUNCTUATION_LIST(X)
#undef X
        TOKEN_COUNT
};

struct token {
    enum token_type type;
    size_t offset;
    struct bytes raw; /* as written */
    struct expr_value value;
    enum expr_scope scope; /* of an attribute */
    bool is_of_parent;     /* parent.x */
    struct bytes key;
};

struct lexer {
    struct arena *arena;
    enum signal signal;
    struct bytes text;
    size_t at;
    struct traceql_error *error;
};

/* The next token; TOKEN_END again and again at the end. Errors as traceql_parse(). */
NODISCARD enum err lexer_next(struct lexer *l, struct token *out);

/* Note an error at an offset; the format's text follows "line 1, column 9: ". */
void traceql_note(struct traceql_error *error, struct bytes text, size_t offset, const char *format,
                  ...) PRINTF_LIKE(4, 5);
/* How much of `raw` to quote in a message: at most 32 bytes, whole characters only. */
int traceql_quote_len(struct bytes raw);

#endif
