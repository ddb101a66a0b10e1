/* SPDX-License-Identifier: Apache-2.0 */
/* Which conditions become hints, to the letter, and that answers with hints are those without: `= x` is one, `IN (x)`
 * asks for the same rows and is none. The control is a hint that is wrong: it hides rows, so hints are obeyed. */
#include "sql/hints.h"

#include "base/budget.h"
#include "sql/sql_testing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>

#define MEMORY_BYTES ((size_t)64 << 20)

/* ---- Texts ---- */

#define HINTED(condition, column, hint) "(" condition " AND attribute_hint(" column ", '" hint "'))"

static void conditions_become_hints(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v'",
          "SELECT 1 FROM spans WHERE " HINTED("attributes ->> 'k' = 'v'", "attributes", "s1:kv") },
        { "select 1 from spans s where s.Attributes->>'$.\"http.route\"'=='/x' and kind = 'a';",
          "select 1 from spans s where " HINTED("s.Attributes->>'$.\"http.route\"'=='/x'",
                                                "s.Attributes",
                                                "s10:http.route/x") " and kind = 'a';" },
        { "SELECT 1 FROM logs WHERE json_extract(resource_attributes, '$.k') = 404 -- x",
          "SELECT 1 FROM logs WHERE " HINTED("json_extract(resource_attributes, '$.k') = 404",
                                             "resource_attributes", "n1:k404") " -- x" },
        { "SELECT 1 FROM a JOIN spans ON attributes ->> 'k' = 'it''s' WHERE /* *AND */ "
          "(attributes ->> 'n' = 5 OR attributes ->> 'n' = 6)",
          "SELECT 1 FROM a JOIN spans ON " HINTED(
              "attributes ->> 'k' = 'it''s'", "attributes",
              "s1:kit''s") " WHERE /* *AND */ (" HINTED("attributes ->> 'n' = 5", "attributes",
                                                        "n1:n5") " OR attributes ->> 'n' = 6)" },
        { "SELECT 1 FROM spans WHERE start_time BETWEEN 1 AND 2 AND attributes ->> 'k' = 'v' LIMIT "
          "1",
          "SELECT 1 FROM spans WHERE start_time BETWEEN 1 AND 2 AND " HINTED(
              "attributes ->> 'k' = 'v'", "attributes", "s1:kv") " LIMIT 1" },
        { "SELECT 1 FROM x WHERE id IN (SELECT span_id FROM spans WHERE attributes ->> 'k' = 'v')",
          "SELECT 1 FROM x WHERE id IN (SELECT span_id FROM spans WHERE " HINTED(
              "attributes ->> 'k' = 'v'", "attributes", "s1:kv") ")" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        buffer_init(&out, 4096);
        assert_true(hints_write(bytes_text(cases[i][0]), &out));
        if (!bytes_equal_text(buffer_bytes(&out), cases[i][1]))
            fail_msg("%.*s", (int)out.len, (const char *)out.data);
        buffer_deinit(&out);
    }
}

static void others_stay(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "SELECT attributes ->> 'k' = 'v' FROM spans",
        "SELECT (attributes ->> 'k' = 'v') FROM spans",
        "SELECT (SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v')",
        "SELECT 1 FROM spans GROUP BY 1 HAVING attributes ->> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE x BETWEEN 1 AND attributes ->> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE NOT attributes ->> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v' || 'w'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v' = 1",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v' COLLATE NOCASE",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v' IS NULL",
        "SELECT 1 FROM spans WHERE x || attributes ->> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' <> 'v'",
        "SELECT 1 FROM spans WHERE attributes -> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> 'a.b' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> '$.a.b' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> '$[0]' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> 0 = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = name",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 5.0",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 0x5",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = -5",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 1234567890123456",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = ''",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = '[1]'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'NaN'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = x'00'",
        "SELECT 1 FROM spans WHERE \"attributes\" ->> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE json_extract(attributes, 'k') = 'v'",
        "SELECT 1 FROM spans WHERE json_extract(attributes, '$.k', '$.l') = 'v'",
        "SELECT 1 FROM a LEFT JOIN spans ON attributes ->> 'k' = 'v'",
        "SELECT 'WHERE attributes ->> ''k'' = 1' -- WHERE attributes ->> 'k' = 'v'",
        "SELECT 1 /* WHERE attributes ->> 'k' = 'v'",
        "SELECT 1 FROM spans WHERE attributes ->> 'k' = 'v",
        "SELECT 1 FROM spans WHERE ) attributes ->> 'k' = 'v'",
        "",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        buffer_init(&out, 4096);
        if (hints_write(bytes_text(cases[i]), &out))
            fail_msg("%s: %.*s", cases[i], (int)out.len, (const char *)out.data);
        buffer_deinit(&out);
    }
}

static void what_is_no_hint_is_none(void **state)
{
    (void)state;
    static const char *const cases[] = { "",
                                         "s",
                                         "s1",
                                         "s1:",
                                         "s1:k",
                                         "x1:kv",
                                         "s9:kv",
                                         "s0:kv",
                                         "n1:k",
                                         "n1:k5.0",
                                         "n1:kx",
                                         "n1:k1234567890123456",
                                         "s99999999999999999999:kv" };
    struct hint hint;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_false(hint_read(bytes_text(cases[i]), &hint));
    assert_true(hint_read(BYTES_LITERAL("n2:kv017"), &hint));
    assert_true(hint.is_number && hint.number == 17 && bytes_equal_text(hint.key, "kv"));
}

/* ---- Answers ---- */

static enum err no_columns(void *context, const struct sql_column *columns, size_t count)
{
    (void)context;
    (void)columns;
    (void)count;
    return ERR_OK;
}

static enum err on_row(void *context, const struct sql_value *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i].type == SQL_INTEGER) {
            char text[24];
            (void)snprintf(text, sizeof text, "%lld", (long long)values[i].integer);
            buffer_append_bytes(context, bytes_text(text));
        } else {
            buffer_append_bytes(context, values[i].bytes);
        }
        buffer_append_byte(context, '|');
    }
    return ERR_OK;
}

static void ask(struct testing_engine *t, const char *text, struct buffer *out)
{
    struct arena arena;
    struct sql_result result;
    arena_init(&arena, MEMORY_BYTES, NULL);
    struct query_context q = { .deadline_mono_ns = UINT64_MAX, .arena = &arena };
    struct sql_question question = { .engine = &t->engine,
                                     .text = bytes_text(text),
                                     .rows_max = 1000 };
    struct sql_sink sink = { .context = out, .on_columns = no_columns, .on_row = on_row };
    buffer_reset(out);
    if (sql_ask(&question, &q, &sink, &result) != ERR_OK)
        fail_msg("%s: %s", text, result.text);
    arena_deinit(&arena);
}

static void answers_stay_the_same(void **state)
{
    (void)state;
    static const char *const questions[] = {
        "SELECT span_id FROM spans WHERE attributes ->> 'v' %s ORDER BY 1",
        "SELECT span_id FROM spans WHERE json_extract(attributes, '$.v') %s ORDER BY 1",
        "SELECT span_id FROM spans WHERE (attributes ->> 'v' %s) IS NOT 1 ORDER BY 1",
        "SELECT span_id FROM spans WHERE kind = 'server' OR (name = 'op 1' AND attributes ->> 'v' "
        "%s) "
        "ORDER BY 1",
        "SELECT a.span_id, b.span_id FROM spans a LEFT JOIN spans b ON b.span_id = "
        "a.parent_span_id "
        "WHERE b.attributes ->> 'v' %s ORDER BY 1, 2",
        "SELECT a.span_id, b.span_id FROM spans a LEFT JOIN spans b ON b.span_id = "
        "a.parent_span_id "
        "AND (a.attributes ->> 'v' %s) ORDER BY 1, 2",
        ("SELECT span_id FROM spans WHERE resource_attributes ->> '$.\"service.name\"' = 'cart' "
         "AND "
         "attributes ->> '$.v' %s ORDER BY 1"),
    };
    static const char *const values[] = { "5",     "1",     "0",          "'5'",     "'x'",
                                          "2",     "'1'",   "'second'",   "'true'",  "'it''s'",
                                          "'0.5'", "'NaN'", "'Y2FydA=='", "'[1,2]'", "'nowhere'" };
    struct testing_engine t;
    struct buffer with, without;
    char text[512], condition[64];
    size_t found = 0;
    testing_engine_open(&t);
    buffer_init(&with, MEMORY_BYTES);
    buffer_init(&without, MEMORY_BYTES);
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            (void)snprintf(condition, sizeof condition, "= %s", values[k]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            (void)snprintf(text, sizeof text, questions[i], condition);
            ask(&t, text, &with);
            (void)snprintf(condition, sizeof condition, "IN (%s)", values[k]);
            (void)snprintf(text, sizeof text, questions[i], condition);
#pragma GCC diagnostic pop
            ask(&t, text, &without);
            if (!bytes_equal(buffer_bytes(&with), buffer_bytes(&without)))
                fail_msg("%s: %.*s", text, (int)with.len, (const char *)with.data);
            found += with.len > 0;
        }
    }
    assert_true(found > 60);
    buffer_deinit(&with);
    buffer_deinit(&without);
    testing_engine_close(&t);
}

/* With known answers, and what the plan says. */
static void the_engine_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *question, *answer;
    } cases[] = {
        { "SELECT count(*) FROM spans WHERE attributes ->> 'v' = 'x'", "3|" },
        { "SELECT count(*) FROM spans WHERE attributes ->> 'v' = 'second'", "0|" },
        { "SELECT count(*) FROM spans WHERE attributes ->> 'v' = 5", "6|" },
        { "SELECT count(*) FROM spans WHERE attributes ->> 'v' = 1", "9|" },
        { "SELECT count(*) FROM spans WHERE attributes ->> 'v' = 'Y2FydA=='", "6|" },
        { "SELECT count(*) FROM spans WHERE attributes ->> 'missing' = 'x'", "0|" },
        { "SELECT count(*) FROM spans WHERE resource_attributes ->> '$.\"service.name\"' = 'mail'",
          "20|" },
        { "SELECT count(*) FROM logs WHERE attributes ->> 'line' = 3", "1|" },
        { "SELECT count(*) FROM span_events WHERE attributes ->> 'e' = 'odd'", "10|" },
        { "SELECT count(*) FROM span_links WHERE attributes ->> 'l' = 'even'", "10|" },
        { "SELECT count(*) FROM resources WHERE attributes ->> '$.\"service.name\"' = 'cart'",
          "1|" },
        /* The control. */
        { "SELECT count(*) FROM spans WHERE attributes ->> 'v' IN ('x') AND "
          "attribute_hint(attributes, 's1:vy')",
          "0|" },
        { "SELECT attribute_hint(name, 'x') FROM spans LIMIT 1", "1|" },
    };
    struct testing_engine t;
    struct buffer out;
    testing_engine_open(&t);
    buffer_init(&out, MEMORY_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(&t, cases[i].question, &out);
        if (!bytes_equal_text(buffer_bytes(&out), cases[i].answer))
            fail_msg("%s: %.*s", cases[i].question, (int)out.len, (const char *)out.data);
    }
    ask(&t, "EXPLAIN QUERY PLAN SELECT 1 FROM spans WHERE attributes ->> 'v' = 'x'", &out);
    buffer_append_byte(&out, '\0');
    assert_non_null(strstr((const char *)out.data, "attributes ->> ="));
    buffer_deinit(&out);
    testing_engine_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_become_hints), cmocka_unit_test(others_stay),
        cmocka_unit_test(what_is_no_hint_is_none), cmocka_unit_test(answers_stay_the_same),
        cmocka_unit_test(the_engine_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
