/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a statement: it ends in time, within its memory, and leaves nothing behind. */
#include "base/budget.h"
#include "base/mem.h"
#include "sql/sql_testing.h"

#include <assert.h>

#define MEMORY_BYTES ((size_t)4 << 20)
#define TIME_NS      (100 * NS_PER_MS)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err on_columns(void *context, const struct sql_column *columns, size_t count)
{
    (void)context;
    (void)columns;
    return count > 0 ? ERR_OK : ERR_INVALID;
}

static enum err on_row(void *context, const struct sql_value *values, size_t count)
{
    size_t *bytes = context;
    for (size_t i = 0; i < count; i++)
        *bytes += values[i].bytes.len;
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct testing_engine engine;
    static bool is_open;
    if (!is_open)
        testing_engine_open(&engine);
    is_open = true;
    struct budget budget;
    struct arena arena;
    struct sql_result result;
    size_t bytes = 0;
    budget_init(&budget, MEMORY_BYTES, NULL);
    arena_init(&arena, MEMORY_BYTES, &budget);
    struct query_context q = { .deadline_mono_ns = clock_mono_ns() + TIME_NS, .arena = &arena };
    struct sql_question question = { .engine = &engine.engine,
                                     .text = bytes_of(data, size),
                                     .rows_max = 1000 };
    struct sql_sink sink = { .context = &bytes, .on_columns = on_columns, .on_row = on_row };
    enum err e = sql_ask(&question, &q, &sink, &result);
    assert(e != ERR_NOMEM && e != ERR_IO && e != ERR_CORRUPT);
    arena_deinit(&arena);
    assert(budget_used(&budget) == 0);
    return 0;
}
