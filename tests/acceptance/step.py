#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person would do: run the demo, look around, find a slow trace, read its logs, take a backup,
pull the plug, restore, look again.

  step.py [--seconds N] [--long]     20 seconds of demo traffic, or as many as said; 10 minutes with --long
"""
import argparse
import gzip
import json
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import Report, Server, binary  # noqa: E402


def ask(server, path, **parameters):
    return server.json(path + ("?" + urllib.parse.urlencode(parameters) if parameters else ""))


def look_around(report, server, when):
    """The questions of the walk; returns their answers, to be compared after a crash."""
    services = ask(server, "/api/services")["data"]
    report.check(f"{when}: services", len(services) >= 14, f"{len(services)} listed")
    operations = ask(server, f"/api/services/{urllib.parse.quote(services[0])}/operations")["data"]
    report.check(f"{when}: operations of {services[0]}", len(operations) >= 1, f"{len(operations)} listed")

    query = '{ span:duration > 50ms && .http.request.method != nil }'
    found = ask(server, "/api/spindle/v1/traces", q=query, sort="slowest", limit=5, **{"from": "0", "to": "9000000000000000000"})
    rows = found["rows"]
    report.check(f"{when}: a slow trace by duration and attribute, no service named", len(rows) > 0 and found["complete"],
                 f"{len(rows)} rows, complete {found['complete']}")
    durations = [int(row["dur"]) for row in rows]
    report.check(f"{when}: slowest first", durations == sorted(durations, reverse=True), str(durations))
    trace_id = rows[0]["id"]

    native = ask(server, f"/api/spindle/v1/trace/{trace_id}")
    spans = sorted(s["spanId"] for g in native["resourceSpans"] for sc in g["scopeSpans"] for s in sc["spans"])
    jaeger = ask(server, f"/api/traces/{trace_id}")["data"][0]
    report.check(f"{when}: the same spans by the native and by Jaeger's API",
                 spans == sorted(s["spanID"] for s in jaeger["spans"]) and len(spans) == rows[0]["spans"], f"{len(spans)} spans")
    status, small = server.get(f"/api/spindle/v1/trace/{trace_id}", headers={"Accept-Encoding": "gzip"})
    report.check(f"{when}: gzip where it is accepted", status == 200 and json.loads(gzip.decompress(small)) == native, f"{len(small)} bytes")
    v3 = ask(server, f"/api/v3/traces/{trace_id}")["result"]
    report.check(f"{when}: and by Jaeger's v3 API",
                 sorted(s["spanId"] for g in v3["resourceSpans"] for sc in g["scopeSpans"] for s in sc["spans"]) == spans)

    logs = ask(server, "/api/spindle/v1/logs", q='{ severity >= info }', limit=50, order="oldest",
               **{"from": "0", "to": "9000000000000000000"})["rows"]
    linked = next((row for row in logs if row.get("trace")), None)
    report.check(f"{when}: logs", linked is not None, f"{len(logs)} rows")
    of_trace = ask(server, f"/api/spindle/v1/trace/{linked['trace']}/logs") if linked else {}
    records = sum(len(s["logRecords"]) for g in of_trace.get("resourceLogs", []) for s in g["scopeLogs"])
    report.check(f"{when}: a trace's logs", records >= 1, f"{records} records")
    return {"services": services, "native": native, "jaeger": jaeger, "logs": logs[:10], "of_trace": of_trace, "slow": durations}


def back_up(report, server, before):
    """A backup of the running server, which is then killed; what is restored answers alike. Damage is refused."""
    def run(*command):
        done = subprocess.run([str(binary()), *map(str, command)], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    copy, data = server.data / "backup", server.data / "restored" / "data"
    data.parent.mkdir()
    status, said = run("backup", "--data", server.data / "data", "--to", copy)
    report.check("backup of a running server", status == 0 and (copy / "manifest").exists(), said[-300:])
    server.kill()
    catalog = bytearray((copy / "catalog.db").read_bytes())
    catalog[len(catalog) // 2] ^= 1
    damaged = server.data / "damaged"
    shutil.copytree(copy, damaged)
    (damaged / "catalog.db").write_bytes(catalog)
    status, said = run("restore", "--from", damaged, "--data", server.data / "none")
    report.check("a damaged backup is refused", status == 1 and "catalog.db is damaged" in said, said[-300:])
    status, said = run("restore", "--from", copy, "--data", server.data / "data")
    report.check("a data directory is not restored over", status == 1 and "is not empty" in said, said[-300:])
    status, said = run("restore", "--from", copy, "--data", data)
    report.check("restore", status == 0, said[-300:])
    status, said = run("verify", "--data", data)
    report.check("verify finds nothing in what was restored", status == 0, said[-300:])
    with Server(data=data.parent) as restored:
        after = look_around(report, restored, "restored")
    report.check("the same answers from what was restored", before == after, ", ".join(k for k in before if before[k] != after[k]))
    server.start(wait=False)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    seconds = options.seconds or (600 if options.long else 20)
    report = Report()
    with Server() as server:
        empty = ask(server, "/api/spindle/v1/traces")
        report.check("before the first span: no rows, and why", empty["rows"] == [] and empty["reason"] == "no_data_yet", json.dumps(empty)[:200])
        demo = subprocess.run([str(binary()), "demo", "--endpoint", server.grpc, "--seed", "1", "--duration", f"{seconds}s"],
                              capture_output=True, text=True, timeout=seconds + 60)
        report.check(f"demo for {seconds} s", demo.returncode == 0, demo.stdout[-300:] + demo.stderr[-300:])
        before = look_around(report, server, "while running")
        back_up(report, server, before)
        ready = server.wait_ready()
        report.check("ready after kill -9 in less than a second", ready < 1, f"{ready * 1000:.0f} ms")
        after = look_around(report, server, "after kill -9")
        report.check("the same answers after kill -9", before == after, ", ".join(k for k in before if before[k] != after[k]))
        report.check("SIGTERM ends with 0", server.stop() == 0)
        verify = subprocess.run([str(binary()), "verify", "--data", str(server.data / "data")], capture_output=True, text=True)
        report.check("verify finds nothing", verify.returncode == 0, (verify.stdout + verify.stderr)[-300:])
        started = time.monotonic()
        server.start()
        report.check("a second start takes less than 3 seconds", time.monotonic() - started < 3, f"{(time.monotonic() - started) * 1000:.0f} ms")
        second = Server(data=server.data)
        try:
            second.start()
            report.check("one directory, one server", False, "the second one started")
        except RuntimeError as error:
            report.check("one directory, one server", "in use" in str(error) or "lock" in str(error).lower(), str(error)[-200:])
    report.end()


if __name__ == "__main__":
    main()
