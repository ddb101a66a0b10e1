/* SPDX-License-Identifier: Apache-2.0 */
/* library.h - SQLite as a library of this process: how it is configured, and whose memory it uses.
 *
 * Role       the only place that decides how SQLite is configured. Its memory comes from base/mem.h; what a
 *            thread makes it allocate between two calls of db_charge_set() is charged to a budget, so that a
 *            stranger's SQL has no more memory than a query may have.
 * Threads    any. */
#ifndef SPINDLE_STORAGE_SQLITE_LIBRARY_H
#define SPINDLE_STORAGE_SQLITE_LIBRARY_H

#include "base/budget.h"
#include "base/query_context.h"

/* Configure SQLite for the whole process; once, before any other call. Later calls do nothing. */
void db_library_init(void);

struct db_charge {
    struct budget *budget; /* outlives every block that is charged to it */
    const struct query_context
        *context;    /* NULL, or: past its deadline nothing is allocated either */
    unsigned calls;  /* private */
    bool is_refused; /* the budget has said no */
};

/* From now on what this thread makes SQLite allocate is charged; NULL: to nobody. A block goes back to whom it
 * was charged to, whoever frees it. Returns what held before. */
struct db_charge *db_charge_set(struct db_charge *charge);

#endif
