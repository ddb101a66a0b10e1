/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - one question's connection: SQLite guarded, and the engine's rows behind it.
 *
 * Private    to sql/. */
#ifndef SPINDLE_SQL_SESSION_H
#define SPINDLE_SQL_SESSION_H

#include "sql/sql.h"
#include "storage/sqlite/library.h"

#include <sqlite3.h>

struct session {
    sqlite3 *db;
    struct engine *engine;
    const struct query_context *q;
    struct row_view *view; /* opened with the first row */
    struct budget memory;  /* of SQLite: a part of the query's */
    struct db_charge charge;
    uint64_t stored[SIGNAL_COUNT]; /* how many rows there are: for the planner */
    enum err failure;  /* of the engine or of a limit, told to SQLite as a failure; the first */
    char refused[200]; /* what the authorizer said; empty: nothing */
};

/* A database in memory with the tables, the functions and the guard. Close in any case; a zeroed one too. */
NODISCARD enum err session_open(struct session *s, struct engine *engine,
                                const struct query_context *q);
void session_close(struct session *s);

/* Around each call into SQLite, and, the other way round, around each call of the engine from inside: whose memory
 * is used. */
void session_enter(struct session *s);
void session_leave(void);

/* What is stored, the same for the whole question. */
NODISCARD enum err session_view(struct session *s, struct row_view **out);
/* Keep the first failure, and return SQLite's code for it. */
int session_fail(struct session *s, enum err e);

/* The guard (guard.c): limits and the authorizer. */
void guard_install(struct session *s);
/* The functions that are ours (functions.c). An SQLite code. */
int functions_register(struct session *s);

#endif
