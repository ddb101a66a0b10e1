#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A soak: everything at once for a long time, and nothing may grow.

Spans of two workloads and log records arrive, retention removes partitions, every kind of question is asked,
backups are taken, restored and verified. Then: memory and descriptors lie flat (a line through the second half
of their samples), the log has no error, what was acknowledged is what was stored, and what was stored is there,
expired or known as sent twice; `verify` finds nothing.

  step.py [--long] [--seconds N]     25 s; --long: two hours. SPINDLE_SOAK_SECONDS says otherwise
  step.py --report FILE              also write the samples there, as JSON

The controls: memory that grows by twice the bound, and a client that opens connections and leaves them, are seen.
"""
import argparse
import base64
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import Report, Server, binary  # noqa: E402

NATIVE = "/api/spindle/v1"
MIB = 1 << 20
LOG_BATCH = 100
FDS_AT_REST = 150


class Sizes:
    """Of the short run, which starts with nothing and ends before caches are full, and of a long one."""

    def __init__(self, seconds):
        is_long = seconds >= 300
        self.rates = {"w1": 13000, "w3": 5000} if is_long else {"w1": 4000, "w3": 2000}
        # 64 MiB is the least that retention can be told to keep: in a short run large records come to more than that.
        self.logs_per_s, self.payload_bytes = (2000, 0) if is_long else (400, 9000)
        self.load_s = 60 if is_long else 6
        self.partition, self.retention = ("32MiB", "384MiB") if is_long else ("8MiB", "64MiB")
        self.retention_age_s = 1800
        self.backup_every_s = 300 if is_long else 10
        self.query_pause_s = 0.1 if is_long else 0.02
        self.sample_s = 5 if is_long else 0.5
        self.row_group_age = "5s" if is_long else "1s"
        # Growth that a line through the second half may show: what is left of warming up (most of it in a short run), and noise.
        self.rss_growth_mib = 150 if not is_long else 48 if seconds < 3600 else 24
        self.fd_growth = 16 if is_long else 100


def floors(samples, name):
    """The least of each twelve that follow each other: what is held for a moment is left out, what is kept is not."""
    return [min(samples[i:i + 12], key=lambda s: s[name]) for i in range(0, len(samples) - 11, 12)]


def growth(samples, name):
    """What a line through the second half of the samples rises by, from its begin to its end."""
    half = samples[len(samples) // 2:]
    half = floors(half, name) if len(half) >= 60 else half
    n = len(half)
    if n < 3:
        return 0.0
    t = [s["t"] for s in half]
    y = [s[name] for s in half]
    t_mean, y_mean = sum(t) / n, sum(y) / n
    spread = sum((a - t_mean) ** 2 for a in t)
    return sum((a - t_mean) * (b - y_mean) for a, b in zip(t, y)) / spread * (t[-1] - t[0]) if spread else 0.0


class Worker(threading.Thread):
    """Something done again and again until told to stop; what went wrong is kept, in words."""

    def __init__(self, server, sizes):
        super().__init__(daemon=True)
        self.server, self.sizes = server, sizes
        self.stopping = threading.Event()
        self.wrong, self.rounds = [], 0

    def run(self):
        while not self.stopping.is_set():
            try:
                self.once()
                self.rounds += 1
            except Exception as error:  # noqa: BLE001: whatever it is, it is reported
                self.wrong.append(f"{type(error).__name__}: {error}")
                self.stopping.wait(1)
            if len(self.wrong) > 20:
                return

    def end(self, seconds=600):
        self.stopping.set()
        self.join(seconds)
        if self.is_alive():
            self.wrong.append(f"{type(self).__name__} did not end")


class Spans(Worker):
    """`spindle load`, one run after the other: each has trace IDs of its own."""

    def __init__(self, server, sizes, workload):
        super().__init__(server, sizes)
        self.workload, self.acknowledged, self.retries, self.rounds_made = workload, 0, 0, 0

    def once(self):
        rate = self.sizes.rates[self.workload]
        self.rounds_made += 1
        run = subprocess.run([str(binary()), "load", "--json", "--endpoint", self.server.grpc, "--workload", self.workload,
                              "--rate", str(rate), "--spans", str(rate * self.sizes.load_s), "--timeout", "60s",
                              "--seed", str(self.rounds_made)],
                             capture_output=True, text=True)
        result = json.loads(run.stdout)
        self.acknowledged += result["spans_acknowledged"]
        self.retries += result["retries"]
        if result["spans_lost"] or result.get("spans_rejected"):
            self.wrong.append(f"{self.workload}: {result['spans_lost']} spans lost, {result.get('spans_rejected')} rejected")


class Logs(Worker):
    """Log records by HTTP as JSON, each request due at its time."""

    def __init__(self, server, sizes):
        super().__init__(server, sizes)
        self.rng, self.acknowledged, self.unsure = random.Random(1), 0, 0
        self.connection, self.due = None, time.monotonic()

    def payload(self):
        size = self.sizes.payload_bytes
        text = base64.b64encode(self.rng.randbytes(size)).decode()
        return [{"key": "payload", "value": {"stringValue": text}}] if size else []

    def body(self):
        now = time.time_ns()
        records = [{"timeUnixNano": str(now + i), "severityNumber": 9 + 4 * (i % 50 == 0), "severityText": "INFO",
                    "body": {"stringValue": f"order {self.rng.randrange(10**6)} took {self.rng.randrange(900)} ms"},
                    "traceId": f"{self.rng.getrandbits(128) | 1:032x}", "spanId": f"{self.rng.getrandbits(64) | 1:016x}",
                    "attributes": [{"key": "order.id", "value": {"intValue": str(self.rng.randrange(10**9))}}, *self.payload()]}
                   for i in range(LOG_BATCH)]
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": self.rng.choice(["cart", "order", "mail"])}}]}
        return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]})

    def once(self):
        self.due += LOG_BATCH / self.sizes.logs_per_s
        if self.stopping.wait(max(0.0, self.due - time.monotonic())):
            return
        self.due = max(self.due, time.monotonic() - 1)
        body = self.body()
        for _ in range(100):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.server.otlp_port, timeout=60)
            self.connection.request("POST", "/v1/logs", body, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.status == 200:
                self.acknowledged += LOG_BATCH
                return
            if answer.status not in (429, 503):
                raise RuntimeError(f"POST /v1/logs: {answer.status} {text[:200]!r}")
            time.sleep(0.2)
        raise RuntimeError("POST /v1/logs: refused for 20 s")


class Questions(Worker):
    """Every kind of question in turn, over one connection."""

    def __init__(self, server, sizes):
        super().__init__(server, sizes)
        self.rng, self.connection = random.Random(2), None
        self.answered, self.refused, self.traces, self.longest_ms = {}, 0, [], {}

    def kinds(self):
        """(name, path, body or None); what is asked of one trace takes one that a search gave a moment ago."""
        service = self.rng.choice(["cart", "order", "checkout", "web"])
        window = "from=now-5m&to=now"
        q = urllib.parse.quote
        yield "newest", f"{NATIVE}/traces?limit=20", None
        yield "service, errors", f"{NATIVE}/traces?service={service}&status=error&limit=20", None
        yield "attribute", f"{NATIVE}/traces?limit=20&q=" + q("{ .http.response.status_code = 404 }"), None
        yield "nowhere", f"{NATIVE}/traces?limit=20&q=" + q('{ .user.id = "nobody" }'), None
        yield "slowest", f"{NATIVE}/traces?sort=slowest&limit=20&{window}", None
        yield "absent trace", f"{NATIVE}/trace/{self.rng.getrandbits(128) | 1:032x}", None
        yield "services' numbers", f"{NATIVE}/services?{window}", None
        yield "operations' numbers", f"{NATIVE}/services/{service}/operations?{window}", None
        yield "series", f"{NATIVE}/services/{service}/series?{window}&by=operation", None
        yield "dependencies", f"{NATIVE}/services/{service}/dependencies?{window}", None
        yield "instances", f"{NATIVE}/services/{service}/instances?from=now-1m&to=now", None
        yield "map", f"{NATIVE}/map?{window}", None
        yield "heatmap", f"{NATIVE}/heatmap?from=now-1m&to=now", None
        yield "compare", f"{NATIVE}/attributes/compare", json.dumps({"from": "now-1m", "to": "now", "box": {"d0": "100000000"}})
        yield "attributes", f"{NATIVE}/attributes?limit=100", None
        yield "values", f"{NATIVE}/attributes/http.request.method/values?from=now-1m&to=now", None
        yield "logs", f"{NATIVE}/logs?limit=50&q=" + q("{ severity >= warn }"), None
        yield "log text", f"{NATIVE}/logs?limit=50&q=" + q('{ log:text = "took 77 ms" }'), None
        yield "log histogram", f"{NATIVE}/logs/histogram?from=now-1m&to=now", None
        yield "jaeger search", f"/api/traces?service={service}&limit=20", None
        yield "jaeger dependencies", "/api/dependencies", None
        yield "jaeger calls", f"/api/metrics/calls?service={service}", None
        yield "status", f"{NATIVE}/status", None
        yield "metrics", "/metrics", None
        for trace in self.traces[:1]:
            yield "trace", f"{NATIVE}/trace/{trace}", None
            yield "trace's logs", f"{NATIVE}/trace/{trace}/logs", None
            yield "skeleton", f"{NATIVE}/trace/{trace}/skeleton", None
            yield "find in trace", f"{NATIVE}/trace/{trace}/find?q=GET", None
            yield "raw", f"{NATIVE}/trace/{trace}/raw", None
            yield "jaeger trace", f"/api/traces/{trace}", None
            yield "jaeger v3 trace", f"/api/v3/traces/{trace}", None

    def ask(self, path, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=120)
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request("POST" if body else "GET", path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def once(self):
        for name, path, body in self.kinds():
            if self.stopping.wait(self.sizes.query_pause_s):
                return
            begun = time.monotonic()
            try:
                status, answer = self.ask(path, body)
            except (OSError, http.client.HTTPException):
                self.connection = None
                raise
            if status in (429, 503, 504):  # a slow machine: it says so, and that is an answer
                self.refused += 1
                continue
            # A trace may be there no more: retention took it since the search.
            if status != 200 and not (status == 404 and "trace" in name):
                raise RuntimeError(f"{name}: {status} {answer[:200]!r}")
            self.answered[name] = self.answered.get(name, 0) + 1
            self.longest_ms[name] = max(self.longest_ms.get(name, 0), (time.monotonic() - begun) * 1000)
            if name == "newest":
                self.traces = [row["trace"] if "trace" in row else row["id"] for row in json.loads(answer)["rows"]]


class Backups(Worker):
    """Take one, restore it, verify that."""

    def __init__(self, server, sizes):
        super().__init__(server, sizes)
        self.finished = 0

    def command(self, *arguments):
        run = subprocess.run([str(binary()), *arguments], capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"{arguments[0]}: {run.returncode} {(run.stdout + run.stderr)[-500:]}")

    def once(self):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="spindle-soak-"))
        try:
            self.command("backup", "--data", str(self.server.data / "data"), "--to", str(scratch / "copy"))
            self.command("restore", "--from", str(scratch / "copy"), "--data", str(scratch / "data"))
            self.command("verify", "--data", str(scratch / "data"))
            self.finished += 1
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self.stopping.wait(self.sizes.backup_every_s)


def sample(server, begun):
    proc = pathlib.Path(f"/proc/{server.process.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
    size = 0
    for f in (server.data / "data").rglob("*"):
        try:
            size += f.stat().st_blocks * 512
        except FileNotFoundError:
            pass
    return {"t": time.monotonic() - begun, "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
            "fds": len(list((proc / "fd").iterdir())), "threads": int(status["Threads"]), "disk_mib": size / MIB,
            "rollup_mib": server.metric("spindle_rollup_memory_bytes") / MIB, "row_groups": server.metric("spindle_engine_row_groups"),
            "partitions": server.metric("spindle_engine_partitions")}


def soak(server, sizes, seconds):
    """Everything at once; (samples, workers, what was never reached)."""
    spans = [Spans(server, sizes, workload) for workload in sizes.rates]
    logs, questions, backups = Logs(server, sizes), Questions(server, sizes), Backups(server, sizes)
    workers = [*spans, logs, questions, backups]
    begun, samples = time.monotonic(), []
    for worker in workers:
        worker.start()
    # What has to have happened once, however slow the machine is.
    goals = {"a partition expired": lambda: server.metric("spindle_expired_partitions_total") > 0,
             "a backup was restored": lambda: backups.finished > 0,
             "every kind of question was asked": lambda: questions.rounds > 1}
    while True:
        time.sleep(sizes.sample_s)
        if server.process.poll() is not None:
            break
        samples.append(sample(server, begun))
        elapsed = time.monotonic() - begun
        if elapsed >= seconds:
            missing = [name for name, is_reached in goals.items() if not is_reached()]
            if not missing or elapsed > seconds + 180:
                break
    missing = [name for name, is_reached in goals.items() if server.process.poll() is None and not is_reached()]
    for worker in workers:
        worker.stopping.set()
    for worker in workers:
        worker.end()
    return samples, spans, logs, questions, backups, missing


def settle(server):
    """Until nothing waits for its row group."""
    until = time.monotonic() + 120
    while server.metric("spindle_engine_journal_items") > 0 and time.monotonic() < until:
        time.sleep(0.2)


def counts_agree(server, spans, logs):
    """Acknowledged = stored; stored = there + expired + known as sent twice. Background work may go on meanwhile: asked
    until it agrees."""
    sent = sum(s.acknowledged for s in spans) + logs.acknowledged
    until, words = time.monotonic() + 60, ""
    while time.monotonic() < until:
        stored = server.metric("spindle_otlp_items_stored_total")
        there = server.metric("spindle_engine_spans") + server.metric("spindle_engine_logs")
        expired, twice = server.metric("spindle_expired_items_total"), server.metric("spindle_storage_duplicates_total")
        words = (f"{sent} acknowledged, {stored:.0f} stored, {there:.0f} there, {expired:.0f} expired, "
                 f"{twice:.0f} duplicates")
        if stored == sent and there + expired + twice == stored:
            return True, words
        time.sleep(1)
    return False, words


FAULTS = ["spindle_storage_builds_failed_total", "spindle_storage_commits_failed_total", "spindle_storage_damaged_total",
          "spindle_storage_frozen_total", "spindle_storage_lost_groups_total", "spindle_storage_set_aside_total",
          "spindle_engine_partitions_damaged", "spindle_storage_uncounted_items_total", "spindle_queries_failed_total"]


def faults_counted(server):
    """What of it is not 0. That a trace is not there, or a machine too slow, is an answer."""
    lines = server.get("/metrics")[1].decode().splitlines()
    return [line for line in lines if line.startswith(tuple(FAULTS)) and float(line.rsplit(" ", 1)[1]) != 0
            and not re.search(r'code="(not_found|busy|deadline|cancelled)"', line)]


def lines_logged(server, level):
    text = pathlib.Path(str(server.data) + ".log").read_text(errors="replace")
    return [line for line in text.splitlines() if re.search(rf"Z {level} ", line)]


def at_rest(server):
    """Descriptors when nothing is under way any more, and those of files that retention removed."""
    until = time.monotonic() + 60
    while True:
        targets = []
        for fd in pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir():
            try:
                targets.append(os.readlink(fd))
            except FileNotFoundError:
                pass
        # Files that never had a name hold what the server would else keep in memory: they are no leak.
        deleted = [t for t in targets if t.endswith(" (deleted)") and not re.search(r"/#\d+ \(deleted\)$", t)]
        if (len(targets) <= FDS_AT_REST and not deleted) or time.monotonic() > until:
            return len(targets), deleted
        time.sleep(0.5)


def leaky_client(server):
    """The control: in the second half connections that stay open, a dozen a sample; fewer than the server allows one address,
    and within the ten seconds after which it closes those that say nothing."""
    kept, samples, begun = [], [], time.monotonic()
    folder = f"/proc/{server.process.pid}/fd"
    for i in range(40):
        kept += [socket.create_connection(("127.0.0.1", server.http_port)) for _ in range(12 if i >= 20 else 0)]
        time.sleep(0.05)
        samples.append({"t": time.monotonic() - begun, "fds": len(os.listdir(folder))})
    seen = growth(samples, "fds")
    for s in kept:
        s.close()
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--report", help="write the samples to this file")
    options = parser.parse_args()
    seconds = options.seconds or float(os.environ.get("SPINDLE_SOAK_SECONDS", 7200 if options.long else 25))
    sizes, report = Sizes(seconds), Report()
    server = Server(options=["--log-level", "warn", "--partition-size", sizes.partition, "--retention-size", sizes.retention,
                             "--retention-age", f"{sizes.retention_age_s}s", "--row-group-age", sizes.row_group_age,
                             "--disk-ballast", "0", "--memory-limit", "256MiB"])
    with server:
        samples, spans, logs, questions, backups, missing = soak(server, sizes, seconds)
        is_alive = server.process.poll() is None
        if not report.check("the server lives", is_alive, "" if is_alive else server.log_text()[-1000:]):
            report.end()
        report.check("all of it happened", not missing, "; ".join(missing) or
                     f"{server.metric('spindle_expired_partitions_total'):.0f} partitions expired, {backups.finished} backups")
        wrong = {type(w).__name__: w.wrong for w in [*spans, logs, questions, backups] if w.wrong}
        report.check("nobody was told of an error", not wrong, str(wrong)[:1000] if wrong else
                     f"{sum(questions.answered.values())} questions of {len(questions.answered)} kinds, {questions.refused} refused")
        settle(server)
        ok, words = counts_agree(server, spans, logs)
        report.check("counters agree", ok, words)
        faults = faults_counted(server)
        report.check("no fault was counted", not faults, "; ".join(faults))
        rss, fds = growth(samples, "rss_mib"), growth(samples, "fds")
        last, peak = samples[-1], max(s["rss_mib"] for s in samples)
        report.check("memory lies flat", rss <= sizes.rss_growth_mib and peak <= 256,
                     f"the second half rose by {rss:.1f} MiB, at the end {last['rss_mib']:.0f}, at most {peak:.0f}")
        report.check("descriptors lie flat", fds <= sizes.fd_growth,
                     f"the second half rose by {fds:.1f}, at the end {last['fds']}, at most {max(s['fds'] for s in samples)}")
        count, deleted = at_rest(server)
        report.check("descriptors at rest", count <= FDS_AT_REST and not deleted, f"{count}; of removed files: {deleted}")
        seen = leaky_client(server)
        report.check("control: connections left open are seen", seen > sizes.fd_growth, f"rose by {seen:.1f}")
        leak_s = 4 * sizes.rss_growth_mib / samples[-1]["t"]
        leak = [{**s, "rss_mib": s["rss_mib"] + leak_s * s["t"]} for s in samples]
        report.check("control: leaked memory is seen", growth(leak, "rss_mib") > sizes.rss_growth_mib,
                     f"rose by {growth(leak, 'rss_mib'):.1f} MiB")
        code = server.stop()
        report.check("it ends when told", code == 0, f"exit code {code}")
        errors, warnings = lines_logged(server, "error"), lines_logged(server, "warn")
        report.check("the log has no error", not errors, "\n".join(errors[:5]) or f"{len(warnings)} warnings {warnings[:3]}")
        run = subprocess.run([str(binary()), "verify", "--data", str(server.data / "data")], capture_output=True, text=True)
        report.check("verify finds nothing", run.returncode == 0, (run.stdout + run.stderr)[-500:] if run.returncode else "")
        if options.report:
            pathlib.Path(options.report).write_text(json.dumps({"seconds": seconds, "samples": samples, "longest_ms": questions.longest_ms,
                                                                "answered": questions.answered}, indent=1))
    pathlib.Path(str(server.data) + ".log").unlink(missing_ok=True)
    report.end()


if __name__ == "__main__":
    main()
