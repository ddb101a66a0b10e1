/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/session.h"

#include "base/mem.h"
#include "sql/table.h"

#include <pthread.h>

/* The clock and the client's flag are asked each so many steps of SQLite's machine, some microseconds; one step may
 * be a function over a value of SQL_VALUE_MAX. */
#define STEPS_PER_CHECK 100

void session_enter(struct session *s)
{
    (void)db_charge_set(&s->charge);
}

void session_leave(void)
{
    (void)db_charge_set(NULL);
}

int session_fail(struct session *s, enum err e)
{
    if (s->failure == ERR_OK)
        s->failure = e;
    return e == ERR_NOMEM ? SQLITE_NOMEM : e == ERR_OK ? SQLITE_OK : SQLITE_ABORT;
}

static int on_steps(void *context)
{
    struct session *s = context;
    enum err e = query_check(s->q);
    return e == ERR_OK ? 0 : (session_fail(s, e), 1);
}

/* SQLite makes some things once for the process, and who asks first should not be charged for them. */
static void warm_up(void)
{
    sqlite3 *db = NULL;
    db_library_init();
    if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK)
        (void)sqlite3_exec(db, "SELECT random()", NULL, NULL, NULL);
    (void)sqlite3_close(db);
}

static int connect(struct session *s)
{
    static const char name_all[] = "SELECT 1 FROM spans, logs, span_events, span_links, resources, "
                                   "json_each('0'), json_tree('0') LIMIT 0";
    int rc = sqlite3_open_v2(":memory:", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) /* nothing of a question may reach the disk */
        rc = sqlite3_exec(s->db, "PRAGMA temp_store = 2", NULL, NULL, NULL);
    for (size_t i = 0; rc == SQLITE_OK && i < sql_tables_count; i++)
        rc = table_register(s->db, &sql_tables[i], s);
    if (rc == SQLITE_OK)
        rc = functions_register(s);
    if (rc ==
        SQLITE_OK) /* a table declares itself when it is named first, which the guard would refuse */
        rc = sqlite3_exec(s->db, name_all, NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return rc;
    guard_install(s);
    sqlite3_progress_handler(s->db, STEPS_PER_CHECK, on_steps, s);
    return SQLITE_OK;
}

enum err session_open(struct session *s, struct engine *engine, const struct query_context *q)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct engine_statistics statistics = { 0 };
    (void)pthread_once(&once, warm_up);
    *s = (struct session){ .engine = engine, .q = q };
    engine_statistics(engine, &statistics);
    s->stored[SIGNAL_TRACES] = statistics.spans;
    s->stored[SIGNAL_LOGS] = statistics.logs;
    /* Half is for what SQLite keeps: sorted rows, tables in between, values; half for reading rows. */
    budget_init(&s->memory, q->arena->limit_bytes / 2, q->arena->budget);
    s->charge = (struct db_charge){ .budget = &s->memory, .context = q };
    session_enter(s);
    int rc = connect(s);
    session_leave();
    if (rc == SQLITE_OK)
        return ERR_OK;
    enum err e = query_check(q); /* past its deadline it gets no memory either */
    if (e == ERR_OK && s->charge.is_refused)
        e = atomic_load(&s->memory.has_refused) ? ERR_TOO_LARGE : ERR_BUDGET;
    return e == ERR_OK ? ERR_NOMEM : e;
}

void session_close(struct session *s)
{
    (void)sqlite3_close(s->db);
    s->db = NULL;
    if (s->view != NULL)
        s->view->ops->close(s->view);
    s->view = NULL;
}

enum err session_view(struct session *s, struct row_view **out)
{
    if (s->view == NULL) {
        enum err e = engine_rows_view(s->engine, s->q, &s->view);
        if (e != ERR_OK)
            return e;
    }
    *out = s->view;
    return ERR_OK;
}
