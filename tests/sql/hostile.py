# SPDX-License-Identifier: Apache-2.0
"""Statements that no reader of telemetry means well by: (name, statement or body, statuses, words of the error)."""

REFUSED, STOPPED, WRONG = (400,), (422, 504), (400,)
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


def doubled(times):
    """A text of 2^times * 16 bytes, made inside."""
    steps = ["d0(t) AS (SELECT 'aaaaaaaaaaaaaaaa')"]
    steps += [f"d{i + 1}(t) AS MATERIALIZED (SELECT t || t FROM d{i})" for i in range(times)]
    return "WITH " + ", ".join(steps), f"(SELECT t FROM d{times})"


def with_text(times, expression):
    head, text = doubled(times)
    return f"{head} SELECT {expression.replace('TEXT', text)}"


def laughs(levels):
    steps = ["l0 AS (SELECT 1 AS x)"] + [f"l{i + 1} AS (SELECT a.x FROM l{i} a, l{i} b)" for i in range(levels)]
    return "WITH " + ", ".join(steps) + f" SELECT count(*) FROM l{levels}"


HOSTILE = [
    # ---- More than reading ----
    ("attach", "ATTACH '/tmp/x.db' AS x", REFUSED, ["ATTACH is refused"]),
    ("detach", "DETACH main", REFUSED, ["DETACH is refused"]),
    ("pragma", "PRAGMA writable_schema = 1", REFUSED, ["PRAGMA is refused"]),
    ("pragma as a table", "SELECT * FROM pragma_table_info('spans')", REFUSED, ["refused"]),
    ("pragma as a table, counted", "SELECT count(*) FROM pragma_compile_options", REFUSED, ["refused"]),
    ("create", "CREATE TABLE x(a)", REFUSED, ["refused"]),
    ("create temporary", "CREATE TEMP TABLE x AS SELECT * FROM spans", REFUSED, ["refused"]),
    ("create virtual", "CREATE VIRTUAL TABLE x USING fts5(a)", REFUSED, ["refused"]),
    ("create a view", "CREATE VIEW x AS SELECT 1", REFUSED, ["refused"]),
    ("insert", "INSERT INTO spans(name) VALUES ('x')", REFUSED, []),
    ("update", "UPDATE spans SET name = 'x'", REFUSED, []),
    ("delete", "DELETE FROM logs", REFUSED, []),
    ("drop", "DROP TABLE spans", REFUSED, []),
    ("transaction", "BEGIN IMMEDIATE", REFUSED, ["a transaction is refused"]),
    ("savepoint", "SAVEPOINT x", REFUSED, ["refused"]),
    ("vacuum into a file", "VACUUM INTO '/tmp/spindle-hostile.db'", REFUSED, ["refused"]),
    ("reindex", "REINDEX", REFUSED, []),
    ("analyze", "ANALYZE", REFUSED, []),
    ("explained attach", "EXPLAIN ATTACH '/tmp/x.db' AS x", REFUSED, ["ATTACH is refused"]),
    ("the program of a statement, with addresses", "EXPLAIN SELECT * FROM spans", REFUSED, ["EXPLAIN is refused"]),
    ("schema", "SELECT sql FROM sqlite_master", REFUSED, ["sqlite_master", "refused"]),
    ("schema, counted", "SELECT count(*) FROM sqlite_schema", REFUSED, ["refused"]),
    ("schema in a subquery", "SELECT (SELECT group_concat(sql) FROM sqlite_temp_master)", REFUSED, ["refused"]),
    ("pages of the database", "SELECT * FROM dbstat", WRONG, ["no such table"]),
    ("statements of others", "SELECT * FROM sqlite_stmt", WRONG, []),
    ("load an extension", "SELECT load_extension('/tmp/x.so')", REFUSED, ["load_extension() is refused"]),
    ("a file", "SELECT readfile('/etc/passwd')", WRONG, []),
    ("write a file", "SELECT writefile('/tmp/x', 'x')", WRONG, []),
    ("full-text tokenizer", "SELECT fts3_tokenizer('simple', x'00')", REFUSED, ["refused"]),
    ("internals", "SELECT sqlite_compileoption_get(1), sqlite_source_id()", REFUSED, ["refused"]),
    ("two statements", "SELECT 1; DROP TABLE spans", WRONG, ["one statement"]),
    ("no statement", " -- nothing", WRONG, ["no statement"]),
    ("a zero byte", "SELECT 1\0; DROP TABLE spans", WRONG, ["zero byte"]),
    # ---- Without end ----
    ("endless recursion", f"{NUMBERS} SELECT sum(i) FROM n", STOPPED, ["longer"]),
    ("endless recursion, never a row", f"{NUMBERS} SELECT i FROM n WHERE i < 0", STOPPED, ["longer"]),
    ("endless recursion, sorted", f"{NUMBERS} SELECT i FROM n ORDER BY i DESC", STOPPED, []),
    ("endless recursion, distinct", f"{NUMBERS} SELECT count(DISTINCT i) FROM n", STOPPED, []),
    ("endless recursion, collected", f"{NUMBERS} SELECT group_concat(i) FROM n", STOPPED, []),
    ("endless recursion, as JSON", f"{NUMBERS} SELECT json_group_array(i) FROM n", STOPPED, []),
    ("endless recursion, a queue that grows", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n, (SELECT 1 UNION ALL SELECT 2)) SELECT count(*) FROM n",
     STOPPED, []),
    ("endless window", f"{NUMBERS} SELECT max(i) OVER (ORDER BY i ROWS BETWEEN 1000000 PRECEDING AND CURRENT ROW) FROM n ORDER BY 1 DESC", STOPPED, []),
    ("spans times spans", "SELECT count(*) FROM spans a, spans b, spans c WHERE a.name || b.name < c.name", STOPPED, ["longer"]),
    ("spans times log records, sorted", "SELECT a.attributes FROM spans a, spans b, spans c, spans d ORDER BY a.attributes || b.name || c.name", STOPPED, []),
    ("subqueries of subqueries", "SELECT sum(n) FROM (SELECT (SELECT count(*) FROM spans b WHERE b.name > (SELECT max(c.name) FROM spans c WHERE c.name < a.name || b.span_id)) AS n FROM spans a)", STOPPED, ["longer"]),
    # ---- Large ----
    ("random bytes", "SELECT randomblob(1000000000)", REFUSED, ["randomblob() is refused"]),
    ("zeros", "SELECT hex(zeroblob(1000000000))", REFUSED, ["zeroblob() is refused"]),
    ("a wide format", "SELECT printf('%.*c', 1000000000, 'x')", REFUSED, ["printf() is refused"]),
    ("a text that doubles", with_text(26, "length(TEXT)"), (422,), []),
    ("a text that is replaced by more", with_text(16, "length(replace(TEXT, 'a', TEXT))"), (422,), ["larger than"]),
    ("hexadecimal of a large text", with_text(16, "hex(hex(hex(hex(TEXT))))"), (422,), ["larger than"]),
    ("a row that grows", f"{NUMBERS} SELECT group_concat(i, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') OVER (ORDER BY i) FROM n ORDER BY 1", STOPPED, []),
    # ---- Patterns and what grows with the square ----
    ("a long pattern", {"query": "SELECT 'a' LIKE :p", "parameters": {"p": "%a" * 1000}}, WRONG, ["pattern"]),
    ("patterns, one after the other",
     with_text(18, "sum(TEXT || i LIKE '" + "%a" * 40 + "%b') FROM n").replace("WITH ", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n), "),
     STOPPED, []),
    ("a needle like the haystack, one after the other",
     with_text(18, "sum(instr(TEXT, TEXT || i)) FROM n").replace("WITH ", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n), "),
     STOPPED, []),
    ("a long set to trim", with_text(16, "trim(TEXT, TEXT)"), WRONG, ["trim"]),
    # ---- The statement itself ----
    ("a deep expression", "SELECT " + "(" * 3000 + "1" + ")" * 3000, WRONG, []),
    ("a long sum", "SELECT " + " + ".join(["1"] * 5000), WRONG, []),
    ("many columns", "SELECT " + ", ".join(["1"] * 3000), WRONG, ["too many columns"]),
    ("every column of everything", "SELECT * FROM " + ", ".join(f"spans s{i}" for i in range(60)), WRONG + STOPPED, []),
    ("many joins", "SELECT count(*) FROM " + ", ".join(f"spans s{i}" for i in range(100)), WRONG, []),
    ("many selects", " UNION ALL ".join(["SELECT 1"] * 3000), WRONG, []),
    ("a thousand million laughs", laughs(30), WRONG + STOPPED, []),
    ("a long statement", "SELECT '" + "x" * 100_000 + "'", WRONG + (413,), []),
    ("nested lists", "SELECT json('" + "[" * 5000 + "]" * 5000 + "')", WRONG, []),
    ("many parameters", {"query": "SELECT ?30000"}, WRONG, []),
    ("a parameter too many", {"query": "SELECT 1", "parameters": ["x"]}, WRONG, ["no place"]),
]
