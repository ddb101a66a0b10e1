#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SQL over what was sent: answers that Python computes from the telemetry alone, and statements that must be refused.

Three shops' telemetry goes in: the first and second are in row groups when questions are asked, the third is still in the
journal. Each question of known.py is asked of all of it. Each statement of hostile.py must be refused or stopped with words
that say so, with the server's memory bounded, and the server must answer as before.

The checker is checked: a server without its authorizer (a defect of the dev build) must fail the hostile part.

  step.py [--preset NAME] [--seed N]
"""
import argparse
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
from hostile import HOSTILE  # noqa: E402
from known import questions  # noqa: E402
from lib.spindle import Report, Server, binary  # noqa: E402
from telemetry import Shop  # noqa: E402

PATH = "/api/spindle/v1/sql"
RSS_MORE_MIB = 160  # what hostile statements may add: two at a time, 64 MiB each, and what the allocator keeps


def ask(server, body, content_type="application/json", accept=None, timeout=120, origin=None):
    """(status, bytes) of a question."""
    headers = {"Content-Type": content_type, **({"Accept": accept} if accept else {}), **({"Origin": origin} if origin else {})}
    data = json.dumps(body).encode() if isinstance(body, dict) else body.encode()
    request = urllib.request.Request(server.http + PATH, data=data, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def rows(server, query, **more):
    status, body = ask(server, {"query": query, **more})
    if status != 200:
        raise RuntimeError(f"{status} {body[:300]!r}")
    return json.loads(body)


def rss_mib(server):
    for line in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def same(got, wanted):
    """Rows equal, but for the last digits of fractions."""
    if isinstance(got, list) and isinstance(wanted, (list, tuple)):
        return len(got) == len(wanted) and all(same(a, b) for a, b in zip(got, wanted))
    if isinstance(got, float) or isinstance(wanted, float):
        return isinstance(got, (int, float)) and isinstance(wanted, (int, float)) and abs(got - wanted) <= 1e-9 * max(1, abs(wanted))
    return type(got) is type(wanted) and got == wanted


# ---- Known answers ----

def send(server, shop):
    for path, request in shop.requests():
        status, body, _ = server.post(path, json.dumps(request).encode(), "application/json")
        assert status == 200, (status, body)


def wait_built(server, seconds=60):
    """Until nothing is in the journal."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.metric("spindle_engine_journal_items") == 0:
            return
        time.sleep(0.05)
    raise RuntimeError("the journal is not built into row groups")


def check_known(report, server, shops, begin, hour):
    for name, query, wanted, more in questions(shops, begin, hour):
        try:
            got = rows(server, query, **more)["rows"]
        except RuntimeError as error:
            report.check(name, False, str(error))
            continue
        report.check(name, same(got, wanted), "" if same(got, wanted) else f"{got[:3]}, wanted {wanted[:3]}; {query}")


def check_pushed(report, server, shops, begin, hour):
    """What is asked of the engine spares reading."""
    everything = rows(server, "SELECT count(*) FROM spans")["scanned"]
    one_hour = rows(server, f"SELECT count(*) FROM spans WHERE start_time < {begin + hour}")["scanned"]
    report.check("a time range reads less", 0 < one_hour["rows"] < everything["rows"], f"{one_hour} of {everything}")
    trace = shops[0].spans[0]["trace_id"]
    one = rows(server, f"SELECT count(*) FROM spans WHERE trace_id = '{trace}'")["scanned"]
    report.check("a trace ID is looked up", one["rows"] <= 12, str(one))
    nobody = rows(server, "SELECT count(*) FROM spans WHERE service_name = 'nobody'")["scanned"]
    report.check("a service that is nowhere skips row groups", nobody["rows"] < everything["rows"], str(nobody))
    joined = rows(server, f"SELECT count(*) FROM spans s JOIN logs l USING (trace_id) WHERE s.trace_id = '{trace}'")["scanned"]
    report.check("a join by trace ID looks up both sides", joined["rows"] <= 12 * 12, str(joined))
    beside = rows(server, "SELECT count(*) FROM spans s CROSS JOIN resources r ON r.service_name <> s.service_name")["scanned"]
    report.check("resources beside spans are read once", beside["groups"] <= 4 * everything["groups"], f"{beside} beside {everything}")
    plan = rows(server, "EXPLAIN QUERY PLAN SELECT name FROM spans WHERE kind = 'server' ORDER BY start_time DESC LIMIT 5")["rows"]
    report.check("the latest rows are asked for as such", len(plan) == 1 and "latest 5" in plan[0][3], str(plan))


def check_forms(report, server):
    query = "SELECT 1 AS a, 'x,\"y' AS b, NULL AS c, 1.5 AS d"
    report.check("CSV", ask(server, {"query": query}, accept="text/csv") == (200, b'a,b,c,d\n1,"x,""y",,1.5\n'))
    report.check("JSON lines", ask(server, query, "text/plain", "application/x-ndjson") ==
                 (200, b'{"a":1,"b":"x,\\"y","c":null,"d":1.5}\n'))
    report.check("application/sql", ask(server, query + "; -- and nothing more\n", "application/sql")[0] == 200)
    answer = rows(server, query)
    report.check("types", [c["type"] for c in answer["columns"]] == ["integer", "text", "null", "real"], str(answer["columns"]))
    some = rows(server, "SELECT name FROM spans", limit=7)
    report.check("a row limit", len(some["rows"]) == 7 and some["truncated"] is True)
    named = rows(server, "SELECT :a, @b, $c", parameters={"a": "it's", "b": 2, "c": 0.5})
    report.check("named parameters", named["rows"] == [["it's", 2, 0.5]], str(named["rows"]))
    placed = rows(server, "SELECT ?, ?", parameters=["x", None])
    report.check("parameters by place", placed["rows"] == [["x", None]], str(placed["rows"]))
    status, body = ask(server, {"query": "SELECT name,\n  nope FROM spans"})
    error = json.loads(body)["error"]
    report.check("where a mistake is", status == 400 and error["position"] == {"offset": 15, "line": 2, "column": 3}, str(error))
    report.check("types have no case", ask(server, {"query": query}, "Application/JSON; charset=utf-8")[0] == 200)
    for kind, wanted in (("text/plain", 403), ("TEXT/Plain", 403), ("text/PLAIN;charset=utf-8", 403), ("application/SQL", 200)):
        got = ask(server, "SELECT 1", kind, origin="http://elsewhere.example")[0]
        report.check(f"{kind} of another page is {'refused' if wanted == 403 else 'answered'}", got == wanted, str(got))


def check_command(report, server, preset, shops):
    """`spindle sql`, of the server and, when it has stopped, of its directory."""
    spans = sum(len(s.spans) for s in shops)

    def run(*arguments):
        return subprocess.run([str(binary(preset)), "sql", *arguments], capture_output=True, text=True, timeout=120)

    answer = run("--url", server.http, "--format", "csv", "SELECT count(*) AS n FROM spans")
    report.check("spindle sql --url", answer.stdout == f"n\n{spans}\n", answer.stdout + answer.stderr)
    answer = run("--url", server.http, "--format", "json", "--limit", "100000", "SELECT span_id, attributes FROM spans")
    lines = [json.loads(x) for x in answer.stdout.splitlines()]
    wanted = {s["span_id"]: s["attributes"] for shop in shops for s in shop.spans}
    report.check("spindle sql: every row of a large answer",
                 {x["span_id"]: json.loads(x["attributes"]) for x in lines} == wanted, answer.stderr)
    answer = run("--url", server.http, "SELECT nope FROM spans")
    report.check("spindle sql: a mistake", answer.returncode == 1 and "no such column: nope" in answer.stderr and "^" in answer.stderr,
                 answer.stderr)
    answer = run("--data", str(server.data / "data"), "SELECT 1")
    report.check("spindle sql --data of a running server", answer.returncode == 1 and "--url" in answer.stderr, answer.stderr)
    server.kill()
    answer = run("--data", str(server.data / "data"), "--format", "csv", "SELECT count(*) AS n FROM spans")
    report.check("spindle sql --data of a stopped one", answer.stdout == f"n\n{spans}\n", answer.stdout + answer.stderr)


# ---- Hostile statements ----

def hostile_failures(server, statements, report=None):
    """What was neither refused nor stopped, with the words it should have been."""
    failures = []
    for name, body, statuses, words in statements:
        body = body if isinstance(body, dict) else {"query": body}
        begin = time.monotonic()
        # What time must stop is stopped soon; the others have the server's own patience, also on a busy machine.
        status, answer = ask(server, {**body, "timeout": "500ms"} if 504 in statuses else body)
        took = time.monotonic() - begin
        try:
            parsed = json.loads(answer)
        except ValueError:
            parsed = {}
        text = parsed.get("error", {}).get("message", "") if isinstance(parsed, dict) else ""
        ok = status in statuses and all(w in text for w in words) and took < 60
        if report is not None:
            report.check(f"hostile: {name}", ok, f"{status} {text or answer[:200]!r} in {took:.2f} s")
        if not ok:
            failures.append(name)
    return failures


def check_leaving(report, server):
    """Who hangs up is no longer worked for."""
    cancelled, asked = 'spindle_queries_failed_total{code="cancelled"}', 'spindle_queries_total{api="native"}'
    before, asked_before = server.metric(cancelled), server.metric(asked)
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    body = json.dumps({"query": query}).encode()
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.http_port)) as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                           % (PATH.encode(), server.http_port, len(body), body))
        while server.metric(asked) == asked_before and time.monotonic() - begin < 60:
            time.sleep(0.01)
    left = time.monotonic()
    while time.monotonic() - left < 60 and server.metric(cancelled) == before:
        time.sleep(0.05)
    # Its deadline would end it too, but not as this.
    report.check("who leaves is not worked for", server.metric(cancelled) - before == 1,
                 f"after {left - begin:.1f} s it left, {time.monotonic() - left:.1f} s later it was noticed")


def check_patience(report, server, spans):
    """A reader that pauses for longer than the query may take has all of the answer."""
    patience, times, pause = "6s", 6, 8
    # Some 12 MiB: more than the sockets hold. Spans are read anew after the pause.
    query = f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})
        SELECT i, span_id, '{"x" * 900}' FROM n CROSS JOIN spans"""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=120)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.sock.settimeout(120)
    connection.sock.connect(("127.0.0.1", server.http_port))
    connection.request("POST", PATH, json.dumps({"query": query, "timeout": patience, "limit": 1000000}),
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    begin = response.read(1)
    time.sleep(pause)
    answer = json.loads(begin + response.read())
    connection.close()
    report.check("the server waits for who pauses", answer["took_ms"] >= pause * 1000 - 500, str(answer["took_ms"]))
    report.check("who pauses has all of the answer", "error" not in answer and len(answer["rows"]) == times * spans,
                 f"{len(answer['rows'])} of {times * spans} rows, {answer.get('error')}")


def check_hostile(report, server, spans):
    before = rss_mib(server)
    hostile_failures(server, HOSTILE, report)
    after = rss_mib(server)
    high = int(next(x.split()[1] for x in pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
                    if x.startswith("VmHWM:"))) // 1024
    if server.preset in ("asan", "tsan"):
        report.skip("hostile: memory is bounded", "a sanitizer keeps what is freed")
    else:
        report.check("hostile: memory is bounded", high <= before + RSS_MORE_MIB, f"{before} before, {high} at most, {after} after, MiB")
    report.check("hostile: the server answers as before", rows(server, "SELECT count(*) FROM spans")["rows"] == [[spans]])
    refused = server.metric('spindle_sql_queries_total{outcome="refused"}')
    report.check("hostile: refusals are counted", refused >= 10, str(refused))


def check_checker(report):
    """Without the authorizer something that must be refused is answered."""
    with Server("dev", env={"SPINDLE_DEFECT": "sql-anything-goes"}) as server:
        missed = hostile_failures(server, HOSTILE[:12])
        report.check("without its authorizer the server is found out", len(missed) >= 3, f"{len(missed)} answered: {', '.join(missed)}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--preset", default="release")
    arguments.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    a = arguments.parse_args()
    print(f"seed {a.seed}")
    report = Report()
    hour = 3_600_000_000_000
    begin = (time.time_ns() // hour - 6) * hour
    shops = [Shop(a.seed + n, begin + n * 2 * hour, traces=120) for n in range(3)]
    with Server(a.preset, options=["--row-group-age", "1s"]) as server:
        for shop in shops[:2]:
            send(server, shop)
            wait_built(server)
        server.stop()
        server.options = ["--row-group-age", "1h"]
        server.start()
        send(server, shops[2])
        report.check("some is in the journal", server.metric("spindle_engine_journal_items") > 0)
        check_known(report, server, shops, begin, hour)
        check_pushed(report, server, shops, begin, hour)
        check_forms(report, server)
        check_leaving(report, server)
        check_patience(report, server, sum(len(s.spans) for s in shops))
        check_hostile(report, server, sum(len(s.spans) for s in shops))
        check_command(report, server, a.preset, shops)
    if binary("dev").exists():
        check_checker(report)
    else:
        report.skip("the checker", "there is no dev build")
    report.end()


if __name__ == "__main__":
    main()
