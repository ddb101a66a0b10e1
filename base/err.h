/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - the one enumeration of ways in which a call can fail.
 *
 * Role       a peer's or the disk's fault is an `enum err`, always handled; our own fault is an assert.
 *            The edges that turn an error into a gRPC or an HTTP status do it by a switch without a
 *            default, so a new entry stops the build until each has an answer.
 * Threads    pure. */
#ifndef SPINDLE_BASE_ERR_H
#define SPINDLE_BASE_ERR_H

#include <stddef.h>

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_argument)                                                  \
    __attribute__((format(printf, format_index, first_argument)))

#define ERR_LIST(X)                                                                                \
    X(OK, "no error")                                                                              \
    X(NOMEM, "out of memory")                                                                      \
    X(BUDGET, "the memory budget is used up") /* transient: hold, then refuse */                   \
    X(INVALID, "malformed input")                                                                  \
    X(TOO_LARGE, "larger than its limit")                                                          \
    X(TOO_DEEP, "nested deeper than its limit")                                                    \
    X(TOO_MANY, "more elements than the limit")                                                    \
    X(UNSUPPORTED, "not supported")                                                                \
    X(NOT_FOUND, "not found")                                                                      \
    X(EXISTS, "exists already")                                                                    \
    X(BUSY, "busy, try again")   /* transient: a queue is full */                                  \
    X(STOPPING, "shutting down") /* transient */                                                   \
    X(IO, "input or output failed")                                                                \
    X(FULL, "the disk is full")                                                                    \
    X(CORRUPT, "stored data is damaged")                                                           \
    X(NEWER, "written by a newer version")                                                         \
    X(LOCKED, "in use by another process")                                                         \
    X(UNAUTHENTICATED, "credentials are missing or wrong")                                         \
    X(DENIED, "not allowed with these credentials")                                                \
    X(DEADLINE, "the deadline has passed")                                                         \
    X(CANCELLED, "cancelled by the client")

enum err {
#define X(name, text) ERR_##name,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

/* A fixed English text for e; never NULL. */
const char *err_text(enum err e);

/* Where a parser stopped and what it wanted to see there. `what` is static text. */
struct err_note {
    size_t offset;
    const char *what;
};

#endif
