/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite's side of a table: an eponymous virtual table, which exists without having been created. */
#include "sql/table.h"

#include "base/intern.h"
#include "sql/hints.h"

#include <stdio.h>

#define DECLARATION_BYTES 2048
#define RESOURCES_MAX     100000
#define FILTER_BYTES_MAX  ((size_t)1 << 20)

struct vtab {
    sqlite3_vtab base; /* first */
    const struct table *table;
    struct session *session;
};

struct cursor {
    sqlite3_vtab_cursor base; /* first */
    struct vtab *vtab;
    struct arena arena; /* of the filter */
    struct row_cursor *rows;
    struct row row;
    struct trace_id trace_id;
    bool is_at_end;
    struct intern resources; /* schema URL's length, URL, resource */
    bool has_resources;
    uint32_t resource_at;
    enum err failure; /* of collecting them */
};

static struct vtab *vtab_from(sqlite3_vtab *v)
{
    return (struct vtab *)(void *)v;
}

static struct cursor *cursor_from(sqlite3_vtab_cursor *c)
{
    return (struct cursor *)(void *)c;
}

static int vtab_connect(sqlite3 *db, void *context, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **message)
{
    const struct table *t = NULL;
    struct session *s = context;
    char text[DECLARATION_BYTES];
    size_t len = 0;
    (void)argc;
    (void)message;
    for (size_t i = 0; i < sql_tables_count; i++) {
        if (strcmp(argv[0], sql_tables[i].name) == 0)
            t = &sql_tables[i];
    }
    for (size_t i = 0; i < t->count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %s",
                                i == 0 ? "CREATE TABLE x(" : ", ", t->columns[i].name,
                                t->columns[i].type);
    (void)snprintf(text + len, sizeof text - len, ")");
    int rc = sqlite3_declare_vtab(db, text);
    struct vtab *v = rc == SQLITE_OK ? sqlite3_malloc(sizeof *v) : NULL;
    if (v == NULL)
        return rc == SQLITE_OK ? SQLITE_NOMEM : rc;
    *v = (struct vtab){ .table = t, .session = s };
    (void)sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    *out = &v->base;
    return SQLITE_OK;
}

static int vtab_disconnect(sqlite3_vtab *v)
{
    sqlite3_free(v);
    return SQLITE_OK;
}

static int vtab_best_index(sqlite3_vtab *v, sqlite3_index_info *info)
{
    return plan_choose(vtab_from(v)->table, vtab_from(v)->session, info);
}

/* So that plan_choose() is shown the hints. */
static int vtab_find_function(sqlite3_vtab *v, int count, const char *name,
                              void (**out_call)(sqlite3_context *, int, sqlite3_value **),
                              void **out_data)
{
    if (count != 2 || strcmp(name, HINT_FUNCTION) != 0 ||
        vtab_from(v)->table->rows == ROWS_RESOURCES)
        return 0;
    *out_call = function_hint;
    *out_data = NULL;
    return SQLITE_INDEX_CONSTRAINT_FUNCTION;
}

static int cursor_open(sqlite3_vtab *v, sqlite3_vtab_cursor **out)
{
    struct vtab *vtab = vtab_from(v);
    struct budget *budget = vtab->session->q->arena->budget;
    struct cursor *c = sqlite3_malloc(sizeof *c);
    if (c == NULL)
        return SQLITE_NOMEM;
    memset(c, 0, sizeof *c);
    c->vtab = vtab;
    arena_init(&c->arena, FILTER_BYTES_MAX, budget);
    row_init(&c->row, vtab->table, budget);
    intern_init_charged(&c->resources, RESOURCES_MAX, vtab->session->q->arena->limit_bytes / 4,
                        budget);
    *out = &c->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
    struct cursor *c = cursor_from(base);
    struct session *s = c->vtab->session;
    session_leave();
    if (c->rows != NULL)
        c->rows->ops->close(c->rows);
    row_deinit(&c->row);
    intern_deinit(&c->resources);
    arena_deinit(&c->arena);
    session_enter(s);
    sqlite3_free(c);
    return SQLITE_OK;
}

/* ---- Resources, all at once: they are few ---- */

static bool on_resource(void *context, struct bytes resource, struct bytes schema_url)
{
    struct cursor *c = context;
    struct buffer *key = &c->row.text;
    uint8_t len[4];
    uint32_t index;
    store_le32(len, (uint32_t)schema_url.len);
    buffer_reset(key);
    buffer_append(key, len, sizeof len);
    buffer_append_bytes(key, schema_url);
    buffer_append_bytes(key, resource);
    c->failure = buffer_error(key);
    if (c->failure == ERR_OK)
        c->failure = intern_put(&c->resources, buffer_bytes(key), &index);
    return c->failure == ERR_OK;
}

/* Once: the view is of one moment, and a join begins anew for each row beside it. */
static enum err collect_resources(struct cursor *c)
{
    struct row_view *view;
    c->resource_at = 0;
    if (c->has_resources)
        return ERR_OK;
    enum err e = session_view(c->vtab->session, &view);
    c->failure = ERR_OK;
    intern_reset(&c->resources);
    for (int signal = 0; e == ERR_OK && signal < SIGNAL_COUNT; signal++) {
        e = view->ops->resources(view, (enum signal)signal, on_resource, c);
        if (e == ERR_OK)
            e = c->failure;
    }
    c->has_resources = e == ERR_OK;
    return e;
}

static void next_resource(struct cursor *c)
{
    if (c->resource_at >= c->resources.count) {
        c->is_at_end = true;
        return;
    }
    struct bytes key = intern_get(&c->resources, c->resource_at++);
    size_t len = load_le32(key.data);
    c->row.schema_url = bytes_slice(key, 4, len);
    c->row.resource = bytes_slice(key, 4 + len, SIZE_MAX);
    c->row.is_group_read = false;
}

/* ---- Rows ---- */

static enum err next_row(struct cursor *c)
{
    while (!row_next(&c->row)) {
        struct row_batch batch;
        enum err e = c->rows->ops->next(c->rows, &batch);
        if (e != ERR_OK)
            return e;
        if (batch.data.len == 0) {
            c->is_at_end = true;
            return ERR_OK;
        }
        row_begin(&c->row, &batch);
    }
    return ERR_OK;
}

static enum err advance(struct cursor *c)
{
    if (c->vtab->table->rows != ROWS_RESOURCES)
        return next_row(c);
    next_resource(c);
    return ERR_OK;
}

static enum err ask_rows(struct cursor *c, int parts, const char *plan, sqlite3_value **values,
                         int count)
{
    struct row_request request;
    struct row_view *view;
    bool is_empty;
    arena_reset(&c->arena);
    row_begin(&c->row, &(struct row_batch){ 0 });
    enum err e = plan_request(c->vtab->table, parts, plan, values, count, &c->arena, &request,
                              &c->trace_id, &is_empty);
    if (e == ERR_OK && is_empty) {
        c->is_at_end = true;
        return ERR_OK;
    }
    session_leave();
    if (e == ERR_OK)
        e = session_view(c->vtab->session, &view);
    if (e == ERR_OK)
        e = c->rows == NULL ? view->ops->read(view, &request, &c->rows)
                            : c->rows->ops->rewind(c->rows, &request);
    return e;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int parts, const char *plan, int count,
                         sqlite3_value **values)
{
    struct cursor *c = cursor_from(base);
    enum err e;
    c->is_at_end = false;
    if (c->vtab->table->rows == ROWS_RESOURCES) {
        session_leave();
        e = collect_resources(c);
    } else {
        e = ask_rows(c, parts, plan, values, count);
    }
    session_leave();
    if (e == ERR_OK && !c->is_at_end)
        e = advance(c);
    session_enter(c->vtab->session);
    return session_fail(c->vtab->session, e);
}

static int cursor_next(sqlite3_vtab_cursor *base)
{
    struct cursor *c = cursor_from(base);
    session_leave();
    enum err e = advance(c);
    session_enter(c->vtab->session);
    return session_fail(c->vtab->session, e);
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
    return cursor_from(base)->is_at_end;
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *out, int column)
{
    struct cursor *c = cursor_from(base);
    row_value(&c->row, &c->vtab->table->columns[column], out);
    return session_fail(c->vtab->session, c->row.failure);
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *out)
{
    const struct cursor *c = cursor_from(base);
    *out = c->vtab->table->rows == ROWS_RESOURCES ? c->resource_at : row_id(&c->row);
    return SQLITE_OK;
}

int table_register(sqlite3 *db, const struct table *t, struct session *s)
{
    static const sqlite3_module module = {
        .iVersion = 1,
        .xConnect = vtab_connect,
        .xBestIndex = vtab_best_index,
        .xDisconnect = vtab_disconnect,
        .xOpen = cursor_open,
        .xClose = cursor_close,
        .xFilter = cursor_filter,
        .xNext = cursor_next,
        .xEof = cursor_eof,
        .xColumn = cursor_column,
        .xRowid = cursor_rowid,
        .xFindFunction = vtab_find_function,
    };
    return sqlite3_create_module_v2(db, t->name, &module, s, NULL);
}
