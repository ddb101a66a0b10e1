# SPDX-License-Identifier: Apache-2.0
"""Questions in SQL, and what Python says the answers are."""
import collections
import json
import math

from telemetry import KINDS, STATUS


def questions(shops, begin, hour):
    """(name, SQL, rows, more of the body)"""
    spans = [s for shop in shops for s in shop.spans]
    logs = [x for shop in shops for x in shop.logs]
    by_trace = collections.defaultdict(list)
    for s in spans:
        by_trace[s["trace_id"]].append(s)
    by_id = {(s["trace_id"], s["span_id"]): s for s in spans}
    one = spans[len(spans) // 2]
    last = shops[-1].spans[-1]
    out = []

    def ask(name, query, wanted, **more):
        out.append((name, query, [list(r) if isinstance(r, (list, tuple)) else [r] for r in wanted], more))

    def count(of):
        return sorted(collections.Counter(of).items())

    # ---- Counting and grouping ----
    ask("all spans", "SELECT count(*) FROM spans", [len(spans)])
    ask("all log records", "SELECT count(*) FROM logs", [len(logs)])
    ask("spans by service", "SELECT service_name, count(*) FROM spans GROUP BY 1 ORDER BY 1", count(s["service_name"] for s in spans))
    ask("kinds by name", "SELECT kind, count(*) FROM spans GROUP BY 1 ORDER BY 1", count(KINDS[s["kind"]] for s in spans))
    ask("status by name", "SELECT status_code, count(*) FROM spans GROUP BY 1 ORDER BY 1", count(STATUS[s["status"]] for s in spans))
    ask("sums", "SELECT sum(duration_ns), min(start_time), max(end_time) FROM spans",
        [(sum(s["duration_ns"] for s in spans), min(s["start_time"] for s in spans),
          max(s["start_time"] + s["duration_ns"] for s in spans))])
    ask("average", "SELECT name, avg(duration_ns) FROM spans WHERE service_name = 'cart' GROUP BY name ORDER BY name",
        sorted((n, sum(d) / len(d)) for n, d in group(spans, lambda s: s["service_name"] == "cart", "name", "duration_ns").items()))
    ask("distinct traces", "SELECT count(DISTINCT trace_id) FROM spans", [len(by_trace)])
    ask("having", "SELECT trace_id, count(*) AS n FROM spans GROUP BY 1 HAVING n >= 11 ORDER BY 1",
        sorted((t, len(x)) for t, x in by_trace.items() if len(x) >= 11))
    ask("error rate", "SELECT service_name, sum(status_code = 'error') * 1.0 / count(*) FROM spans GROUP BY 1 ORDER BY 1",
        sorted((n, sum(d) / len(d)) for n, d in group(spans, None, "service_name", lambda s: s["status"] == 2).items()))

    # ---- Conditions, those that the engine has and those that SQLite checks ----
    ask("a trace", f"SELECT span_id FROM spans WHERE trace_id = '{one['trace_id']}' ORDER BY 1",
        sorted(s["span_id"] for s in by_trace[one["trace_id"]]))
    ask("a trace in the journal", f"SELECT count(*) FROM spans WHERE trace_id = '{last['trace_id']}'", [len(by_trace[last["trace_id"]])])
    ask("a trace ID in capitals is none", f"SELECT count(*) FROM spans WHERE trace_id = '{'AB' * 16}'", [0])
    ask("several traces", f"SELECT count(*) FROM spans WHERE trace_id IN ('{one['trace_id']}', '{last['trace_id']}', 'x')",
        [len(by_trace[one["trace_id"]]) + len(by_trace[last["trace_id"]])])
    ask("a span", f"SELECT name, kind, parent_span_id FROM spans WHERE span_id = '{one['span_id']}'",
        [(one["name"], KINDS[one["kind"]], one["parent_span_id"])])
    ask("roots", "SELECT count(*) FROM spans WHERE parent_span_id IS NULL", [len(by_trace)])
    ask("children", "SELECT count(*) FROM spans WHERE parent_span_id IS NOT NULL", [len(spans) - len(by_trace)])
    ask("a time range", f"SELECT count(*) FROM spans WHERE start_time >= {begin + 5000000} AND start_time < {begin + 2 * hour + 50000000}",
        [sum(begin + 5000000 <= s["start_time"] < begin + 2 * hour + 50000000 for s in spans)])
    ask("a time between fractions", f"SELECT count(*) FROM spans WHERE start_time BETWEEN {begin}.5 AND {begin + 7000000}.5",
        [sum(float(f"{begin}.5") <= s["start_time"] <= float(f"{begin + 7000000}.5") for s in spans)])
    ask("a time as text", f"SELECT count(*) FROM spans WHERE start_time >= '{begin + 2 * hour}'",
        [sum(s["start_time"] >= begin + 2 * hour for s in spans)])
    ask("an exact time", f"SELECT span_id FROM spans WHERE start_time = {one['start_time']} ORDER BY 1",
        sorted(s["span_id"] for s in spans if s["start_time"] == one["start_time"]))
    ask("a time in words", "SELECT count(*) FROM spans WHERE start_time > unix_ns('now-30d') AND start_time < unix_ns('2001-01-01T00:00:00Z')", [0])
    ask("kind, status, service and name together",
        "SELECT count(*) FROM spans WHERE kind IN ('server', 'client') AND status_code = 'error' AND service_name = 'payment' AND name >= 'payment op 2'",
        [sum(s["kind"] in (2, 3) and s["status"] == 2 and s["service_name"] == "payment" and s["name"] >= "payment op 2" for s in spans)])
    ask("a list with what is not there", "SELECT count(*) FROM spans WHERE service_name IN ('cart', 'nobody', NULL, 5)",
        [sum(s["service_name"] == "cart" for s in spans)])
    ask("names without regard to case", "SELECT count(*) FROM spans WHERE name = 'CART OP 1' COLLATE NOCASE", [sum(s["name"] == "cart op 1" for s in spans)])
    ask("NULL equals nothing", "SELECT count(*) FROM spans WHERE name = NULL OR service_name <> service_name", [0])
    ask("slow ones", "SELECT count(*) FROM spans WHERE duration_ns >= duration('200ms') AND duration_ns < 250000500",
        [sum(200_000_000 <= s["duration_ns"] < 250_000_500 for s in spans)])
    ask("or", f"SELECT count(*) FROM spans WHERE name = 'cart op 1' OR span_id = '{one['span_id']}'",
        [sum(s["name"] == "cart op 1" or s["span_id"] == one["span_id"] for s in spans)])
    ask("a message with quotes", "SELECT count(*) FROM spans WHERE status_message = 'it''s broken, \"badly\"'", [sum(s["status"] == 2 for s in spans)])
    ask("trace state", "SELECT count(trace_state) FROM spans", [sum(s["trace_state"] is not None for s in spans)])
    ask("a parameter", "SELECT count(*) FROM spans WHERE name = :name AND duration_ns > :least",
        [sum(s["name"] == "search op 3" and s["duration_ns"] > 999 for s in spans)], parameters={"name": "search op 3", "least": 999})

    # ---- Order and pages ----
    newest = sorted(spans, key=lambda s: -s["start_time"])
    ask("the latest", "SELECT start_time FROM spans ORDER BY start_time DESC LIMIT 20", [s["start_time"] for s in newest[:20]])
    servers = [s for s in newest if s["kind"] == 2 and s["start_time"] >= begin + 2 * hour]
    ask("the latest of some, second page",
        f"SELECT start_time FROM spans WHERE kind = 'server' AND start_time >= {begin + 2 * hour} ORDER BY start_time DESC LIMIT 10 OFFSET 10",
        [s["start_time"] for s in servers[10:20]])
    ask("the latest where SQLite has to look", "SELECT start_time FROM spans WHERE attributes ->> 'n' = 3 ORDER BY start_time DESC LIMIT 5",
        [s["start_time"] for s in newest if s["attributes"]["n"] == 3][:5])
    ask("the latest with a condition of another type", "SELECT start_time FROM spans WHERE name = 5 ORDER BY start_time DESC LIMIT 5", [])
    ask("slowest first", "SELECT duration_ns FROM spans ORDER BY duration_ns DESC LIMIT 9", sorted((s["duration_ns"] for s in spans), reverse=True)[:9])
    ask("union", "SELECT name FROM spans WHERE service_name = 'cart' UNION SELECT name FROM spans WHERE service_name = 'search' ORDER BY 1",
        sorted({s["name"] for s in spans if s["service_name"] in ("cart", "search")}))

    # ---- Attributes ----
    ask("an attribute of each type", f"""SELECT attributes ->> '$."http.method"', attributes ->> 'n', attributes ->> 'ratio', attributes ->> 'hit',
        attributes ->> '$.tags[1]', attributes ->> '$.deep.x.y' FROM spans WHERE span_id = '{one['span_id']}'""",
        [(one["attributes"]["http.method"], one["attributes"]["n"], one["attributes"]["ratio"], int(one["attributes"]["hit"]),
          one["attributes"]["tags"][1], one["attributes"]["deep"]["x"]["y"])])
    ask("spans by an attribute", """SELECT span_id FROM spans WHERE attributes ->> '$."http.method"' = 'GET' ORDER BY 1""",
        sorted(s["span_id"] for s in spans if s["attributes"]["http.method"] == "GET"))
    ask("spans by a number and a service", "SELECT span_id FROM spans WHERE service_name = 'cart' AND json_extract(attributes, '$.n') = 3 ORDER BY 1",
        sorted(s["span_id"] for s in spans if s["service_name"] == "cart" and s["attributes"]["n"] == 3))
    ask("a number is no text", "SELECT count(*) FROM spans WHERE attributes ->> 'n' = '3'", [0])
    ask("true is 1", "SELECT count(*) FROM spans WHERE attributes ->> 'hit' = 1", [sum(s["attributes"]["hit"] for s in spans)])
    ask("a whole fraction", "SELECT count(*) FROM spans WHERE attributes ->> 'ratio' = 1", [sum(s["attributes"]["ratio"] == 1 for s in spans)])
    ask("a key that is nowhere", "SELECT count(*) FROM spans WHERE attributes ->> 'nowhere' = 'x'", [0])
    ask("grouped by an attribute", """SELECT attributes ->> '$."http.method"' AS m, count(*) FROM spans GROUP BY m ORDER BY m""",
        count(s["attributes"]["http.method"] for s in spans))
    ask("attributes one by one", f"SELECT key FROM spans, json_each(attributes) WHERE span_id = '{one['span_id']}' ORDER BY key", sorted(one["attributes"]))
    ask("attributes of resource and scope", """SELECT DISTINCT resource_attributes ->> '$."host.name"', scope_name, scope_version FROM spans ORDER BY 1""",
        sorted((f"h-{s.seed}", "shop", "1.2") for s in shops))
    ask("resources", """SELECT service_name, attributes ->> '$."host.name"' FROM resources ORDER BY 1, 2""",
        sorted({(s["service_name"], f"h-{shop.seed}") for shop in shops for s in shop.spans}))
    ask("spans with their resource", "SELECT count(*) FROM spans s JOIN resources r USING (resource_id) WHERE r.service_name = 'cart'",
        [sum(s["service_name"] == "cart" for s in spans)])
    ask("every span with its resource", "SELECT r.service_name, count(*) FROM spans s JOIN resources r USING (resource_id) GROUP BY 1 ORDER BY 1",
        count(s["service_name"] for s in spans))
    resources = {(s["service_name"], shop.seed) for shop in shops for s in shop.spans}
    ask("spans beside the resources of others", "SELECT count(*) FROM spans s CROSS JOIN resources r ON r.service_name <> s.service_name",
        [sum(s["service_name"] != name for s in spans for name, _ in resources)])

    # ---- Events, links, log records ----
    events = [(s, e) for s in spans for e in s["events"]]
    ask("events by name", "SELECT name, count(*) FROM span_events GROUP BY 1 ORDER BY 1", count(e["name"] for _, e in events))
    ask("one kind of event", "SELECT span_id, number, time, attributes ->> 'k' FROM span_events WHERE name = 'retry' ORDER BY 1, 2",
        sorted((s["span_id"], k + 1, e["time"], k) for s in spans for k, e in enumerate(s["events"]) if e["name"] == "retry"))
    ask("events of a service", "SELECT count(*) FROM span_events WHERE service_name = 'search'", [sum(s["service_name"] == "search" for s, _ in events)])
    ask("links", "SELECT span_id, linked_trace_id, linked_span_id, attributes ->> 'why' FROM span_links ORDER BY 1",
        sorted((s["span_id"], k["trace_id"], k["span_id"], "batch") for s in spans for k in s["links"]))
    ask("severe log records", "SELECT severity_text, count(*) FROM logs WHERE severity_number >= 9 GROUP BY 1 ORDER BY 1",
        count(x["severity_text"] for x in logs if x["severity_number"] >= 9))
    for condition in ("< 9", "<= 0", "<> 9", "= -3", ">= -3", "> -4", "> -3", ">= 0", "= 9", "BETWEEN -5 AND 5", ">= 8.5", "< 4294967293"):
        ask(f"log records of severity {condition}", f"SELECT severity_number, count(*) FROM logs WHERE severity_number {condition} GROUP BY 1 ORDER BY 1",
            count(x["severity_number"] for x in logs if holds(x["severity_number"], condition)))
        ask(f"the latest of severity {condition}", f"SELECT time FROM logs WHERE severity_number {condition} ORDER BY time DESC LIMIT 30",
            sorted((x["time"] for x in logs if holds(x["severity_number"], condition)), reverse=True)[:30])
    ask("bodies like", "SELECT count(*) FROM logs WHERE body LIKE '%timeout%'", [sum("TIMEOUT" in str(x["body"]) for x in logs)])
    ask("bodies with other letters", "SELECT count(*) FROM logs WHERE body LIKE '%☃%'", [sum("☃" in str(x["body"]) for x in logs)])
    ask("bodies that are maps", "SELECT body ->> 'code' AS code, count(*) FROM logs WHERE json_valid(body) GROUP BY 1 ORDER BY 1",
        count(x["body"]["code"] for x in logs if isinstance(x["body"], dict)))
    ask("records without a trace", "SELECT count(*) FROM logs WHERE trace_id IS NULL", [sum(x["trace_id"] is None for x in logs)])
    ask("latest records", "SELECT time, observed_time, attributes ->> 'line' FROM logs ORDER BY time DESC LIMIT 1",
        [max((x["time"], x["observed_time"], x["attributes"]["line"]) for x in logs)]) if unique_last(logs) else None

    # ---- Joins ----
    with_logs = [(by_id[(x["trace_id"], x["span_id"])], x) for x in logs if x["trace_id"]]
    ask("spans with their log records",
        "SELECT s.name, count(*) FROM logs l JOIN spans s ON s.trace_id = l.trace_id AND s.span_id = l.span_id WHERE l.severity_number = 17 GROUP BY 1 ORDER BY 1",
        count(s["name"] for s, x in with_logs if x["severity_number"] == 17))
    ask("traces with errors in their log", """SELECT count(DISTINCT s.trace_id) FROM spans s JOIN logs l ON l.trace_id = s.trace_id
        WHERE s.status_code = 'error' AND l.severity_text = 'ERROR'""",
        [len({s["trace_id"] for s in spans if s["status"] == 2} & {x["trace_id"] for x in logs if x["severity_number"] == 17})])
    ask("spans without a log record", "SELECT count(*) FROM spans s LEFT JOIN logs l ON l.trace_id = s.trace_id AND l.span_id = s.span_id WHERE l.time IS NULL",
        [len(spans) - len({(x["trace_id"], x["span_id"]) for x in logs if x["trace_id"]})])
    ask("who calls whom", """SELECT p.service_name, c.service_name, count(*) FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id
        WHERE p.service_name <> c.service_name GROUP BY 1, 2 ORDER BY 1, 2""",
        [(a, b, n) for (a, b), n in count((by_id[(s["trace_id"], s["parent_span_id"])]["service_name"], s["service_name"])
                                          for s in spans if s["parent_span_id"]) if a != b])
    ask("depth of a trace", f"""WITH RECURSIVE tree(span_id, depth) AS (
          SELECT span_id, 1 FROM spans WHERE trace_id = '{one['trace_id']}' AND parent_span_id IS NULL
          UNION ALL SELECT c.span_id, depth + 1 FROM tree JOIN spans c ON c.trace_id = '{one['trace_id']}' AND c.parent_span_id = tree.span_id)
        SELECT max(depth) FROM tree""", [depth(by_trace[one["trace_id"]])])
    ask("a subquery", "SELECT count(*) FROM spans WHERE trace_id IN (SELECT trace_id FROM logs WHERE severity_text = 'WARN')",
        [sum(s["trace_id"] in {x["trace_id"] for x in logs if x["severity_number"] == 13} for s in spans)])

    # ---- Windows ----
    ask("percentiles", """WITH ranked AS (SELECT service_name, duration_ns, row_number() OVER (PARTITION BY service_name ORDER BY duration_ns) AS n,
          count(*) OVER (PARTITION BY service_name) AS of FROM spans)
        SELECT service_name, min(CASE WHEN n >= of * 0.5 THEN duration_ns END), min(CASE WHEN n >= of * 0.95 THEN duration_ns END) FROM ranked GROUP BY 1 ORDER BY 1""",
        sorted((n, nearest(d, 0.5), nearest(d, 0.95)) for n, d in group(spans, None, "service_name", "duration_ns").items()))
    ask("the slowest of each service", """SELECT service_name, duration_ns FROM (SELECT *, rank() OVER (PARTITION BY service_name ORDER BY duration_ns DESC) AS place FROM spans)
        WHERE place = 1 GROUP BY 1, 2 ORDER BY 1""",
        sorted((n, max(d)) for n, d in group(spans, None, "service_name", "duration_ns").items()))
    ask("by hour", f"SELECT (start_time - {begin}) / {hour}, count(*) FROM spans GROUP BY 1 ORDER BY 1", count((s["start_time"] - begin) // hour for s in spans))
    ask("times as text", f"SELECT utc(start_time) FROM spans WHERE span_id = '{one['span_id']}'", [utc(one["start_time"])])
    ask("texts", "SELECT instr('añb', 'b'), replace('a-b-c', '-', '+'), trim('xxaxx', 'x'), trim('  a '), substr('héllo', 2, 3)", [(3, "a+b+c", "a", "a", "éll")])
    ask("JSON of a row", f"SELECT json_object('name', name, 'n', attributes -> 'n') FROM spans WHERE span_id = '{one['span_id']}'",
        [json.dumps({"name": one["name"], "n": one["attributes"]["n"]}, separators=(",", ":"))])
    return out


def group(spans, where, key, value):
    out = collections.defaultdict(list)
    for s in spans:
        if where is None or where(s):
            out[s[key]].append(value(s) if callable(value) else s[value])
    return out


def holds(n, condition):
    """Whether a condition in SQL holds, as Python has it."""
    op, *values = condition.replace("AND ", "").split()
    a = [float(v) for v in values]
    return {"<": n < a[0], "<=": n <= a[0], ">": n > a[0], ">=": n >= a[0], "=": n == a[0], "<>": n != a[0],
            "BETWEEN": a[0] <= n <= a[-1]}[op]


def nearest(values, q):
    return sorted(values)[max(0, math.ceil(len(values) * q) - 1)]


def depth(trace):
    depths = {}
    for s in trace:  # parents come before their children
        depths[s["span_id"]] = depths.get(s["parent_span_id"], 0) + 1
    return max(depths.values())


def unique_last(logs):
    times = sorted(x["time"] for x in logs)
    return times[-1] != times[-2]


def utc(ns):
    import datetime
    whole = datetime.datetime.fromtimestamp(ns // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return whole + (f".{ns % 10**9:09d}".rstrip("0") if ns % 10**9 else "") + "Z"
