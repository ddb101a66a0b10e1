/* SPDX-License-Identifier: Apache-2.0 */
/* Questions in SQL against little memory, no time and allocations that fail: each ends with an answer or an error that
 * says why, nothing leaks, and nothing stays charged. That answers are right is what tests/sql shows. */
#include "base/budget.h"
#include "base/mem.h"
#include "sql/sql_testing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MEMORY_BYTES ((size_t)64 << 20)

static const char *const questions[] = {
    "SELECT count(*) FROM spans",
    "SELECT * FROM spans ORDER BY attributes ->> 'n' DESC LIMIT 30",
    "SELECT start_time FROM spans WHERE kind = 'server' ORDER BY start_time DESC LIMIT 3",
    "SELECT s.name, l.body FROM spans s JOIN logs l USING (trace_id, span_id)",
    "SELECT name, count(*), group_concat(span_id) FROM spans WHERE service_name IN ('cart', "
    "'mail') GROUP BY 1",
    "SELECT e.time, k.linked_trace_id FROM span_events e, span_links k USING (span_id)",
    "SELECT r.attributes FROM resources r UNION SELECT name FROM span_events",
    "SELECT row_number() OVER (PARTITION BY service_name ORDER BY duration_ns), name FROM spans",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT max(i) "
    "FROM n",
    "SELECT key, value FROM spans, json_each(attributes) WHERE trace_id = "
    "'00000000000000070000000000000001'",
    "SELECT replace(body, 'o', '00'), instr(body, 'long'), trim(body, 'it'), utc(time) FROM logs "
    "WHERE body LIKE '%TOO%'",
};
#define QUESTIONS (sizeof questions / sizeof questions[0])

struct told {
    uint64_t rows;
    size_t columns;
};

static enum err on_columns(void *context, const struct sql_column *columns, size_t count)
{
    struct told *t = context;
    for (size_t i = 0; i < count; i++)
        assert_true(columns[i].name.len > 0);
    t->columns = count;
    return ERR_OK;
}

static enum err on_row(void *context, const struct sql_value *values, size_t count)
{
    struct told *t = context;
    (void)values;
    assert_int_equal(count, t->columns);
    t->rows++;
    return ERR_OK;
}

/* Whatever comes of it, nothing stays. */
static enum err ask(struct testing_engine *t, const char *text, size_t memory, uint64_t deadline,
                    const _Atomic bool *cancelled, struct sql_result *out)
{
    struct budget budget;
    struct arena arena;
    struct told told = { 0 };
    budget_init(&budget, memory, NULL);
    arena_init(&arena, memory, &budget);
    struct query_context q = { .deadline_mono_ns = deadline,
                               .cancelled = cancelled,
                               .arena = &arena };
    struct sql_question question = { .engine = &t->engine,
                                     .text = bytes_text(text),
                                     .rows_max = 1000 };
    struct sql_sink sink = { .context = &told, .on_columns = on_columns, .on_row = on_row };
    enum err e = sql_ask(&question, &q, &sink, out);
    assert_true(e != ERR_OK || told.rows == out->rows);
    assert_true((e == ERR_OK) == (out->outcome == SQL_ANSWERED || out->outcome == SQL_TRUNCATED));
    arena_deinit(&arena);
    assert_int_equal(budget_used(&budget), 0);
    return e;
}

static void every_question_is_answered(void **state)
{
    (void)state;
    struct testing_engine t;
    struct sql_result r;
    testing_engine_open(&t);
    for (size_t i = 0; i < QUESTIONS; i++) {
        if (ask(&t, questions[i], MEMORY_BYTES, UINT64_MAX, NULL, &r) != ERR_OK)
            fail_msg("%s: %s", questions[i], r.text);
        assert_true(r.rows > 0);
        assert_true(r.progress.is_complete);
    }
    testing_engine_close(&t);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct testing_engine t;
    struct sql_result r;
    testing_engine_open(&t);
    for (size_t i = 0; i < QUESTIONS; i++) {
        (void)ask(&t, questions[i], MEMORY_BYTES, UINT64_MAX, NULL, &r); /* what is made once */
        uint64_t rows = r.rows;
        bool is_answered = false;
        /* Hundreds of places, of which every seventh, from another one on for each question, will do. */
        for (unsigned long n = i % 7; !is_answered; n += 7) {
            long before = fault_live_blocks();
            fault_alloc_fail_at(n, n % 2 == 0);
            enum err e = ask(&t, questions[i], MEMORY_BYTES, UINT64_MAX, NULL, &r);
            bool has_fired = fault_fired();
            fault_alloc_off();
            assert_int_equal(fault_live_blocks(), before);
            assert_true(e == ERR_OK || e == ERR_NOMEM);
            if (e == ERR_OK && r.rows != rows)
                fail_msg("%s: %llu rows at %lu", questions[i], (unsigned long long)r.rows, n);
            assert_true(e == ERR_OK || has_fired);
            is_answered = !has_fired;
        }
    }
    testing_engine_close(&t);
}

static void little_memory_is_an_answer(void **state)
{
    (void)state;
    struct testing_engine t;
    struct sql_result r;
    testing_engine_open(&t);
    for (size_t i = 0; i < QUESTIONS; i++) {
        bool is_answered = false;
        for (size_t memory = 4096; memory <= MEMORY_BYTES; memory += memory / 3) {
            enum err e = ask(&t, questions[i], memory, UINT64_MAX, NULL, &r);
            assert_true(e == ERR_OK || e == ERR_TOO_LARGE || e == ERR_BUDGET);
            assert_true(e == ERR_OK || r.outcome == SQL_MEMORY);
            is_answered = e == ERR_OK;
        }
        assert_true(is_answered);
    }
    testing_engine_close(&t);
}

static void time_and_askers_end(void **state)
{
    (void)state;
    struct testing_engine t;
    struct sql_result r;
    static const _Atomic bool gone = true;
    static const char endless[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    testing_engine_open(&t);
    for (size_t i = 0; i <= QUESTIONS; i++) {
        const char *text = i < QUESTIONS ? questions[i] : endless;
        enum err e = ask(&t, text, MEMORY_BYTES, 1, NULL, &r);
        /* A short one may be over before anybody looks at the clock. */
        assert_true(e == ERR_DEADLINE || (e == ERR_OK && i < QUESTIONS));
        e = ask(&t, text, MEMORY_BYTES, UINT64_MAX, &gone, &r);
        assert_true(e == ERR_CANCELLED || (e == ERR_OK && i < QUESTIONS));
    }
    assert_int_equal(ask(&t, endless, MEMORY_BYTES, clock_mono_ns() + 50 * NS_PER_MS, NULL, &r),
                     ERR_DEADLINE);
    assert_int_equal(r.outcome, SQL_DEADLINE);
    testing_engine_close(&t);
}

static void what_is_refused_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err error;
        const char *words;
    } cases[] = {
        { "ATTACH 'x' AS y", ERR_UNSUPPORTED, "ATTACH is refused" },
        { "PRAGMA journal_mode", ERR_UNSUPPORTED, "PRAGMA is refused" },
        { "VACUUM", ERR_UNSUPPORTED, "refused" },
        { "DELETE FROM spans", ERR_INVALID, "spans may not be modified" },
        { "EXPLAIN SELECT * FROM spans", ERR_UNSUPPORTED, "EXPLAIN is refused" },
        { "SELECT load_extension('x')", ERR_UNSUPPORTED, "load_extension() is refused" },
        { "SELECT * FROM sqlite_schema", ERR_UNSUPPORTED, "'sqlite_master' is refused" },
        { "SELECT 1; SELECT 2", ERR_INVALID, "one statement" },
        { "", ERR_INVALID, "no statement" },
        { "SELECT nope FROM spans", ERR_INVALID, "no such column: nope" },
        { "SELECT \"nope\" FROM spans", ERR_INVALID, "no such column: nope" },
    };
    struct testing_engine t;
    struct sql_result r;
    testing_engine_open(&t);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum err e = ask(&t, cases[i].text, MEMORY_BYTES, UINT64_MAX, NULL, &r);
        if (e != cases[i].error || strstr(r.text, cases[i].words) == NULL)
            fail_msg("%s: %s: %s", cases[i].text, err_text(e), r.text);
    }
    testing_engine_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_question_is_answered), cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(little_memory_is_an_answer), cmocka_unit_test(time_and_askers_end),
        cmocka_unit_test(what_is_refused_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
