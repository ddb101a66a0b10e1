/* SPDX-License-Identifier: Apache-2.0 */
/* Log records of the native API. */
#include "query/log_row.h"
#include "query/native.h"

enum err native_logs(struct call *c)
{
    static const char *const known[] = { "q", "order", "from", "to", "limit", "cursor", NULL };
    static const char *const orders[] = { "newest", "oldest", NULL };
    uint64_t limit = NATIVE_LIMIT_DEFAULT;
    size_t order = 0;
    struct page page;
    struct log_query query = { 0 };
    struct filter f;
    filter_init(&f, &c->arena);
    enum err e = parameters_check(c, known);
    if (e == ERR_OK)
        e = parameter_u64(c, "limit", 1, NATIVE_LIMIT_MAX, &limit);
    if (e == ERR_OK)
        e = parameter_word(c, "order", orders, &order);
    if (e == ERR_OK)
        e = native_page(c, &page);
    if (e == ERR_OK)
        e = filter_add_query(c, &f, SIGNAL_LOGS, "q");
    if (e == ERR_OK)
        e = filter_tree(&f, &query.filter);
    if (e != ERR_OK)
        return e;
    query.range = page.range;
    query.order = order == 0 ? FIND_NEWEST : FIND_OLDEST;
    query.limit = (size_t)limit;
    query.after = page.after;

    struct log_result result = { 0 };
    e = engine_logs_find(c->options->engine, &c->context, &query, &result);
    if (e != ERR_OK)
        return e;
    struct json_writer *j = &c->json;
    native_rows_begin(j);
    for (size_t i = 0; i < result.count; i++)
        log_row_write(j, &result.logs[i], c->options->memory_bytes);
    json_array_end(j);
    native_write_end(c, &result.progress, result.count, &page, &result.next);
    json_object_end(j);
    return ERR_OK;
}
