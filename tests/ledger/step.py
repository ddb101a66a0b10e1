#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The ledger: what was acknowledged is there after kill -9, once, unchanged; what was never sent is not.

Senders keep a book of every batch with its outcome: acknowledged, refused, or unknown (no answer came).
The server is killed, at random moments and at named points of its own code, and started again; then every
acknowledged trace must come back by its ID, equal to what was sent, unknown ones whole or not at all, and
resent ones once. Log records ride along in the same way. `verify` must find nothing in the files.

  step.py [--kills N] [--seed N] [--long]

--self-test runs against a server whose acknowledgement comes before the commit and must fail.
"""
import argparse
import collections
import contextlib
import gzip
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report, Server, binary, venv  # noqa: E402

if os.environ.get("SPINDLE_LEDGER_VENV") != "1":
    python = venv("ledger", HERE / "requirements.txt")
    os.execve(str(python), [str(python), __file__, *sys.argv[1:]], {**os.environ, "SPINDLE_LEDGER_VENV": "1"})

import grpc  # noqa: E402
from google.protobuf.json_format import MessageToDict  # noqa: E402
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # noqa: E402
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData  # noqa: E402
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: E402

import base64  # noqa: E402
import http.client  # noqa: E402
import json  # noqa: E402

Batch = collections.namedtuple("Batch", "signal trace_id request rows")


def fill_value(value, rng, depth=0):
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        value.string_value = rng.choice(["", "shop", "Grüße 世界", "x" * rng.randrange(300)])
    elif kind == 1:
        value.int_value = rng.choice([0, -1, 2**63 - 1, -(2**63), rng.randrange(10**6)])
    elif kind == 2:
        value.double_value = rng.choice([0.0, -1.5, 1e300, rng.random()])
    elif kind == 3:
        value.bool_value = rng.random() < 0.5
    elif kind == 4:
        value.bytes_value = rng.randbytes(rng.randrange(20))
    elif kind == 5:
        for _ in range(rng.randrange(3)):
            fill_value(value.array_value.values.add(), rng, depth + 1)
        value.array_value.SetInParent()
    elif kind == 6:
        value.kvlist_value.SetInParent()
        for i in range(rng.randrange(3)):
            fill_attribute(value.kvlist_value.values.add(), f"n{i}", rng, depth + 1)


def fill_attribute(pair, key, rng, depth=0):
    pair.key = key
    pair.value.SetInParent()
    fill_value(pair.value, rng, depth)


def fill_group(group, rng):
    fill_attribute(group.resource.attributes.add(), "service.name", random.Random(0), 9)
    group.resource.attributes[0].value.string_value = f"svc-{rng.randrange(5)}"
    if rng.random() < 0.3:
        group.schema_url = "https://example.net/schema"


def make_traces(rng):
    """One request with one trace of 1 to 20 spans over one or two resources."""
    trace_id = rng.randbytes(16)
    request = ExportTraceServiceRequest()
    now = time.time_ns()
    ids = [rng.randbytes(8) for _ in range(rng.randrange(1, 21))]
    for part in ([ids] if rng.random() < 0.7 else [ids[::2], ids[1::2]]):
        if not part:
            continue
        group = request.resource_spans.add()
        fill_group(group, rng)
        scope = group.scope_spans.add()
        scope.scope.name = "ledger"
        for span_id in part:
            span = scope.spans.add(trace_id=trace_id, span_id=span_id, name=f"op-{rng.randrange(20)}", kind=rng.randrange(6),
                                   start_time_unix_nano=now + rng.randrange(10**6), flags=0x101)
            span.end_time_unix_nano = span.start_time_unix_nano + rng.randrange(10**8)
            if span_id != ids[0]:
                span.parent_span_id = rng.choice(ids)
            for i in range(rng.randrange(6)):
                fill_attribute(span.attributes.add(), f"key.{i}", rng)
            if rng.random() < 0.2:
                event = span.events.add(time_unix_nano=span.start_time_unix_nano + 5, name="exception")
                fill_attribute(event.attributes.add(), "exception.message", rng)
            if rng.random() < 0.1:
                span.links.add(trace_id=rng.randbytes(16), span_id=rng.randbytes(8), trace_state="a=b")
            if rng.random() < 0.2:
                span.status.code = 2
                span.status.message = "failed"
    return Batch("traces", trace_id.hex(), request, rows_of_traces(request))


def make_logs(rng):
    trace_id = rng.randbytes(16)
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    fill_group(group, rng)
    scope = group.scope_logs.add()
    scope.scope.name = "ledger"
    now = time.time_ns()
    for i in range(rng.randrange(1, 10)):
        log = scope.log_records.add(time_unix_nano=now + i, severity_number=rng.randrange(25), trace_id=trace_id, span_id=rng.randbytes(8))
        log.body.SetInParent()
        fill_value(log.body, rng)
        for k in range(rng.randrange(4)):
            fill_attribute(log.attributes.add(), f"key.{k}", rng)
    return Batch("logs", trace_id.hex(), request, rows_of_logs(request))


def rows(groups, scopes, items):
    """Each item with what stands around it, as comparable bytes; a multiset."""
    found = collections.Counter()
    for group in groups:
        for scope in getattr(group, scopes):
            around = group.resource.SerializeToString() + group.schema_url.encode() + scope.scope.SerializeToString()
            for item in getattr(scope, items):
                found[(around, item.SerializeToString())] += 1
    return found


def rows_of_traces(message):
    return rows(message.resource_spans, "scope_spans", "spans")


def rows_of_logs(message):
    return rows(message.resource_logs, "scope_logs", "log_records")


def otlp_json(message):
    """OTLP/JSON of a request: IDs in hex, enums as numbers."""
    def fix(node):
        if isinstance(node, list):
            return [fix(n) for n in node]
        if isinstance(node, dict):
            return {k: base64.b64decode(v).hex() if k in ("traceId", "spanId", "parentSpanId") else fix(v) for k, v in node.items()}
        return node
    return json.dumps(fix(MessageToDict(message, use_integers_for_enums=True))).encode()


class Sender(threading.Thread):
    """Sends batches until told to stop; resends now and then what got no answer, as an exporter would."""

    def __init__(self, server, seed, transport):
        super().__init__(daemon=True)
        self.server, self.rng, self.transport = server, random.Random(seed), transport
        self.acked, self.unknown, self.refused, self.resent = [], [], [], 0
        self.stopping = False

    def run(self):
        channel = grpc.insecure_channel(self.server.grpc) if self.transport == "grpc" else None
        connection = None
        while not self.stopping:
            if self.unknown and self.rng.random() < 0.05:
                batch = self.unknown.pop(self.rng.randrange(len(self.unknown)))
                self.resent += 1
            elif self.acked and self.rng.random() < 0.05:
                batch = self.acked.pop(self.rng.randrange(len(self.acked)))  # the answer was lost on its way, say
                self.resent += 1
            else:
                batch = make_traces(self.rng) if self.rng.random() < 0.7 else make_logs(self.rng)
            try:
                if channel:
                    outcome = self.send_grpc(channel, batch)
                else:
                    connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.otlp_port, timeout=10)
                    outcome = self.send_http(connection, batch)
            except (OSError, http.client.HTTPException):
                outcome, connection = "unknown", None
            getattr(self, outcome).append(batch)
            if outcome == "unknown":
                time.sleep(0.01)
        if channel:
            channel.close()

    def send_grpc(self, channel, batch):
        service = "trace.v1.TraceService" if batch.signal == "traces" else "logs.v1.LogsService"
        call = channel.unary_unary(f"/opentelemetry.proto.collector.{service}/Export")
        compression = grpc.Compression.Gzip if self.rng.random() < 0.5 else None
        try:
            answer = call(batch.request.SerializeToString(), timeout=10, compression=compression)
            return "acked" if answer == b"" else "refused"
        except grpc.RpcError as error:
            return "unknown" if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                                 grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL) else "refused"

    def send_http(self, connection, batch):
        headers = {}
        if self.transport == "json":
            body, headers["Content-Type"] = otlp_json(batch.request), "application/json"
        else:
            body, headers["Content-Type"] = batch.request.SerializeToString(), "application/x-protobuf"
        if self.rng.random() < 0.5:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        connection.request("POST", f"/v1/{batch.signal}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            return "acked" if text in (b"", b"{}") else "refused"
        return "unknown" if answer.status in (429, 502, 503, 504) else "refused"


def stored(server, batch):
    """The rows that the server has of a batch's trace."""
    path = f"/api/spindle/v1/trace/{batch.trace_id}" + ("/logs" if batch.signal == "logs" else "")
    status, body = server.get(path, headers={"Accept": "application/x-protobuf"})
    if status == 404:
        return collections.Counter()
    if status != 200:
        raise RuntimeError(f"{path}: {status} {body[:200]!r}")
    if batch.signal == "logs":
        return rows_of_logs(LogsData.FromString(body))
    return rows_of_traces(TracesData.FromString(body))


def audit(server, acked, unknown):
    """What is wrong, in words."""
    problems = []
    for batch in acked:
        got = stored(server, batch)
        if got != batch.rows:
            kind = "lost" if not got else "twice" if any(n > 1 for n in got.values()) else "changed"
            problems.append(f"acknowledged {batch.signal} {batch.trace_id}: {kind} ({sum(got.values())} of {sum(batch.rows.values())} rows)")
    for batch in unknown:
        got = stored(server, batch)
        if got and got != batch.rows:
            problems.append(f"unanswered {batch.signal} {batch.trace_id} is there in part or twice: {sum(got.values())} of {sum(batch.rows.values())}")
    return problems


def verify(server, preset):
    run = subprocess.run([str(binary(preset)), "verify", "--data", str(server.data / "data")], capture_output=True, text=True)
    return [] if run.returncode == 0 else [f"verify: {run.stdout[-500:]}{run.stderr[-500:]}"]


def cycle(server, seed, seconds, env=None, ending="kill"):
    """Load, kill (or let a crash point do it), start again, audit. Returns (batches acked, problems, whether
    it died by itself, seconds until ready again)."""
    senders = [Sender(server, f"{seed}-{i}", t) for i, t in enumerate(("grpc", "http", "json", "grpc"))]
    server.start(env=env, wait=False)
    try:
        server.wait_ready()
        for s in senders:
            s.start()
    except RuntimeError:  # died on its way up
        senders = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.process.poll() is None:
        time.sleep(0.005)
    if ending == "stop" and server.process.poll() is None:
        server.stop()
    died_by_itself = server.process.poll() == -signal.SIGKILL
    server.kill()
    for s in senders:
        s.stopping = True
    for s in senders:
        s.join(20)
    server.start(wait=False)
    ready = server.wait_ready()
    acked = [b for s in senders for b in s.acked]
    problems = audit(server, acked, [b for s in senders for b in s.unknown])
    refused = [b for s in senders for b in s.refused]
    problems += [f"{len(refused)} batches were refused for good"] if refused else []
    if ready > 5:
        problems.append(f"ready only after {ready:.1f} s")
    return acked, problems, died_by_itself, ready


def crash_points():
    names = set()
    for path in (ROOT / "storage").rglob("*.c"):
        names |= set(re.findall(r'CRASH_POINT\("([^"]+)"\)', path.read_text()))
    return sorted(names)


def random_kills(report, kills, seed):
    rng = random.Random(seed)
    total, all_acked, worst = 0, [], 0.0
    problems = []
    with Server(options=["--log-level", "warn"]).start() as server:
        server.stop()
        for i in range(kills):
            acked, found, _, ready = cycle(server, f"{seed}-{i}", rng.uniform(0.02, 0.5))
            problems += [f"kill {i}: {p}" for p in found]
            total += len(acked)
            worst = max(worst, ready)
            all_acked += rng.sample(acked, min(len(acked), 20))
            server.kill() if rng.random() < 0.5 else server.stop()
            if len(problems) > 10:
                break
        server.start()
        problems += [f"at the end: {p}" for p in audit(server, all_acked, [])]
        code = server.stop()
        if code != 0:
            problems.append(f"SIGTERM: exit code {code}")
        problems += verify(server, "release")
    report.check(f"{kills} random kills (seed {seed})", not problems,
                 "; ".join(problems[:5]) or f"{total} acknowledged batches, none lost, none twice; ready again in {worst * 1000:.0f} ms at most")


# Passed only when a sync fails: the engine's own tests make it fail, and kill there.
AFTER_A_FAILED_SYNC = {"freeze_marked", "freeze_listed", "rescue_committed", "rescue_listed"}
# An upgrade wants an old directory: golden_test kills there. Rollups of partitions want many of them: crash_test does.
ELSEWHERE = {"upgrade_written", "rollups_merge_written", "rollups_merge_committed", "rollups_expired"}
# Passed by `spindle backup` and `spindle restore`, and not by the server.
OF_COPIES = {"backup_copied", "restore_file", "restore_copied"}
# Retention removes what was acknowledged, oldest first.
OF_RETENTION = ("expiry_", "unlink_")
# Log records alone leave sealed partitions when they are kept for less time than spans: crash_test kills there.
OF_LOGS = "logs_"
# What maintenance does, at a look every second.
IN_THE_BACKGROUND = ("merge_", "seal_")


def named_points(report, seed, times):
    """From an empty directory, with partitions and row groups so small that everything happens within seconds."""
    for name in sorted(set(crash_points()) - AFTER_A_FAILED_SYNC - ELSEWHERE - OF_COPIES):
        if name.startswith((*OF_RETENTION, OF_LOGS)):
            continue
        in_background = name.startswith(IN_THE_BACKGROUND)
        problems, hits, total = [], 0, 0
        replays = name == "replay_entry"  # wants a journal left behind
        server = Server("dev", options=["--log-level", "error", "--row-group-age", "60s" if replays else "100ms", "--partition-size", "1MiB"])
        try:
            for i in range(times):
                nth = 1 if i == 0 else 1 + 2 * i
                # The first passage comes, however busy the machine; later ones may not.
                seconds = (60.0 if i == 0 else 7.0) if in_background else 3.0
                acked, found, hit, _ = cycle(server, f"{seed}-{name}-{i}", seconds, env={"SPINDLE_CRASH_AT": f"{name}:{nth}"},
                                             ending="kill" if replays else "stop")
                server.kill()
                hits += hit
                total += len(acked)
                problems += found
            problems += verify(server, "dev")
        finally:
            server.close()
        report.check(f"kill at {name}", not problems and hits, "; ".join(problems[:5]) or
                     f"{hits} of {times} runs died there, {total} acknowledged batches whole")


def spindle(*arguments, crash_at=None):
    """Exit status of a sub-command of the dev build, and what it said."""
    env = {**os.environ, **({"SPINDLE_CRASH_AT": crash_at} if crash_at else {})}
    run = subprocess.run([str(binary("dev")), *map(str, arguments)], capture_output=True, text=True, env=env)
    return run.returncode, (run.stdout + run.stderr)[-300:]


def is_no_data_directory(folder):
    """A server does not start there."""
    server = Server("dev", data=folder).start(wait=False)
    try:
        return server.process.wait(60) != 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        server.kill()


def backup_points(report, seed):
    """A backup that was killed is none, and the server does not mind; a restore that was killed is no data directory.
    What was acknowledged before a backup began is in it, though others arrive meanwhile."""
    problems = []
    folder = pathlib.Path(tempfile.mkdtemp(prefix="spindle-copies-"))
    try:
        with Server("dev", options=["--log-level", "warn", "--row-group-age", "100ms", "--partition-size", "1MiB"]) as server:
            data = server.data / "data"
            senders = [Sender(server, f"{seed}-backup-{i}", t) for i, t in enumerate(("grpc", "http"))]
            for s in senders:
                s.start()
            while sum(len(s.acked) for s in senders) < 400:
                time.sleep(0.01)
            code, said = spindle("backup", "--data", data, "--to", folder / "killed", crash_at="backup_copied")
            if code != -signal.SIGKILL:
                problems.append(f"backup_copied: the backup ended with {code}: {said}")
            before = [b for s in senders for b in list(s.acked)]
            code, said = spindle("backup", "--data", data, "--to", folder / "copy")
            if code != 0:
                problems.append(f"backup: {code} {said}")
            for s in senders:
                s.stopping = True
            for s in senders:
                s.join(20)
            problems += audit(server, [b for s in senders for b in s.acked], [b for s in senders for b in s.unknown])
        code, said = spindle("restore", "--from", folder / "killed", "--data", folder / "of-killed")
        if code == 0 or "manifest" not in said:
            problems.append(f"a backup that was killed was restored: {code} {said}")
        report.check("kill at backup_copied", not problems, "; ".join(problems[:5]) or f"{len(before)} acknowledged batches before")
        for point in ("restore_file:1", "restore_file:2", "restore_copied"):
            half = folder / point.replace(":", "-")
            half.mkdir()
            code, said = spindle("restore", "--from", folder / "copy", "--data", half / "data", crash_at=point)
            report.check(f"kill at {point}", code == -signal.SIGKILL and is_no_data_directory(half), f"ended with {code}")
        (folder / "whole").mkdir()
        code, said = spindle("restore", "--from", folder / "copy", "--data", folder / "whole" / "data")
        problems = [f"restore: {code} {said}"] if code != 0 else []
        with Server("dev", data=folder / "whole", options=["--log-level", "warn"]) as server:
            problems += audit(server, before, [])
            server.stop()
            problems += verify(server, "dev")
        report.check("what was acknowledged before the backup is in it", not problems, "; ".join(problems[:5]) or f"{len(before)} batches")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_large(rng):
    """A trace of a MiB that does not compress: some seventy of them are more than retention keeps."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    fill_group(group, rng)
    scope = group.scope_spans.add()
    trace_id, now = rng.randbytes(16), time.time_ns()
    for i in range(16):
        span = scope.spans.add(trace_id=trace_id, span_id=rng.randbytes(8), name=f"op-{i}", start_time_unix_nano=now, end_time_unix_nano=now + i)
        span.attributes.add(key="payload").value.bytes_value = rng.randbytes(65536)
    return Batch("traces", trace_id.hex(), request, rows_of_traces(request))


def retention_audit(server, acked):
    """In order of acknowledgement: none in part, and what is gone came before all that is there. Every third is asked for,
    newest first, as older ones may go meanwhile."""
    problems, kept, gone = [], 0, 0
    for batch in reversed(acked[len(acked) % 3::3]):
        got = stored(server, batch)
        if got and got != batch.rows:
            problems.append(f"{batch.trace_id} is there in part: {sum(got.values())} of {sum(batch.rows.values())}")
        if got and gone:
            problems.append(f"{batch.trace_id} is there, and {gone} newer ones are gone")
        kept, gone = kept + bool(got), gone + (not got)
    if kept < 10:
        problems.append(f"of {len(acked)} MiB only {3 * kept} are there, and 64 should be kept")
    return problems, 3 * gone


def retention_points(report, seed):
    """Killed while the oldest partition goes, again and again over one directory; one sender, so that order is known."""
    rng = random.Random(f"{seed}-retention")
    acked = []
    with Server("dev", options=["--log-level", "warn", "--row-group-age", "200ms", "--partition-size", "8MiB", "--retention-size", "64MiB",
                                "--disk-ballast", "0"]) as server:
        server.stop()
        for name in (n for n in crash_points() if n.startswith(OF_RETENTION)):
            server.start(env={"SPINDLE_CRASH_AT": name}, wait=False)
            with contextlib.suppress(RuntimeError):  # what the last kill left half removed may pass the point before it is ready
                server.wait_ready()
            sender = Sender(server, f"{seed}-{name}", "grpc")
            channel = grpc.insecure_channel(server.grpc)
            until = time.monotonic() + 60
            sent = 0
            while server.process.poll() is None and time.monotonic() < until:
                if sent < 150:
                    batch = make_large(rng)
                    if sender.send_grpc(channel, batch) == "acked":
                        acked.append(batch)
                    sent += 1
                else:
                    time.sleep(0.05)
            channel.close()
            died = server.process.poll() == -signal.SIGKILL
            server.kill()
            server.start()
            problems, gone = retention_audit(server, acked)
            server.kill()
            report.check(f"kill at {name}", died and not problems, "; ".join(problems[:5]) or
                         (f"{len(acked)} MiB acknowledged, the oldest {gone} or so gone" if died else "it was not passed"))
        server.start()
        server.stop()
        problems = verify(server, "dev")
        report.check("verify after retention was killed", not problems, "; ".join(problems))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", default=str(time.time_ns()))
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    report = Report()
    if not options.self_test:
        random_kills(report, options.kills or (2000 if options.long else 100), options.seed)
        named_points(report, options.seed, 40 if options.long else 2)
        backup_points(report, options.seed)
        retention_points(report, options.seed)
    # The negative control: a server that answers before it commits is caught within a few kills.
    with Server("dev", options=["--log-level", "warn"], env={"SPINDLE_DEFECT": "ack-before-commit"}) as server:
        server.stop()
        problems = []
        for i in range(30):
            problems += cycle(server, f"control-{i}", 0.3)[1]
            server.stop()
            if problems:
                break
    report.check("control: acknowledging before the commit is caught", bool(problems), problems[0] if problems else "30 kills saw nothing")
    report.end()


if __name__ == "__main__":
    main()
