#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, a file that is damaged, a file from the future.

The full disk is a file system of its own: 64 MiB of ext4 on a loop device, or where that may not be mounted
a tmpfs of that size in a mount namespace. While it is full every export is answered "come again", every query
is answered, and what was acknowledged is there; when space returns the server goes on by itself.
"""
import collections
import hashlib
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import Report, Server, binary, venv  # noqa: E402

if os.environ.get("SPINDLE_DISK_VENV") != "1":
    python = venv("disk", HERE / "requirements.txt")
    os.execve(str(python), [str(python), __file__, *sys.argv[1:]], {**os.environ, "SPINDLE_DISK_VENV": "1"})

import grpc  # noqa: E402
from google.protobuf.message import DecodeError  # noqa: E402
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: E402

DISK_BYTES = 64 << 20
RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
EXIT_NEWER = 78


# ---- The disk ------------------------------------------------------------------------------------


class Disk:
    """A small file system. The reasons why a kind could not be mounted stand in `refused`."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spindle-disk-"))
        self.path = self.folder / "mounted"
        self.path.mkdir()
        self.kind, self.refused = None, []
        image = self.folder / "image"
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        if self.tried("ext4 on a loop device", ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", str(image)],
                      ["mount", "-o", "loop", str(image), str(self.path)]):
            return
        self.tried("tmpfs", ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "spindle-test", str(self.path)])

    def tried(self, kind, *commands):
        for command in commands:
            try:
                done = subprocess.run(command, text=True, capture_output=True)
            except FileNotFoundError as error:
                self.refused.append(f"{kind}: {error}")
                return False
            if done.returncode != 0:
                self.refused.append(f"{kind}: {' '.join(command[:1])}: {done.stderr.strip()}")
                return False
        self.kind = kind
        return True

    def free(self):
        state = os.statvfs(self.path)
        return state.f_bavail * state.f_frsize

    def fill(self, name, leave=0):
        """A foreign file over all that is free but `leave`."""
        chunk = 1 << 20
        with open(self.path / name, "wb", buffering=0) as file:
            while True:
                want = min(chunk, self.free() - leave) if leave else chunk
                if want <= 0:
                    break
                try:
                    file.write(os.urandom(want))
                except OSError:
                    if chunk == 4096:
                        break
                    chunk = 4096
            os.fsync(file.fileno())

    def close(self):
        if self.kind:
            subprocess.run(["umount", str(self.path)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


# ---- Sending and asking --------------------------------------------------------------------------


Batch = collections.namedtuple("Batch", "trace_id body spans")


def digest(message):
    return sorted(hashlib.sha256(span.SerializeToString(deterministic=True)).hexdigest()
                  for group in message.resource_spans for scope in group.scope_spans for span in scope.spans)


def make(rng, spans=16, size=16384, service="disk"):
    """A request of one trace that does not compress."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    scope = group.scope_spans.add()
    trace_id = rng.randbytes(16)
    for i in range(spans):
        start = time.time_ns()
        span = scope.spans.add(trace_id=trace_id, span_id=rng.randbytes(8), name=f"op {i % 4}",
                               start_time_unix_nano=start, end_time_unix_nano=start + 1000 * i)
        span.attributes.add(key="payload").value.bytes_value = rng.randbytes(size)
    return Batch(trace_id.hex(), request.SerializeToString(), digest(request))


class Sender:
    """Sends by HTTP and gRPC in turn; what was acknowledged, and every answer that was not."""

    def __init__(self, server):
        self.server, self.turn = server, 0
        self.acked, self.refusals, self.wrong = [], collections.Counter(), []
        self.channel = grpc.insecure_channel(server.grpc)
        self.call = self.channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")

    def send(self, batch):
        """Whether it was acknowledged."""
        self.turn += 1
        outcome = self.by_http(batch) if self.turn % 2 else self.by_grpc(batch)
        if outcome is None:
            self.acked.append(batch)
            return True
        self.refusals[outcome] += 1
        return False

    def by_http(self, batch):
        try:
            status, body, headers = self.server.post("/v1/traces", batch.body, "application/x-protobuf", timeout=15)
        except OSError as error:
            self.wrong.append(f"HTTP: {error!r}")
            return "HTTP: no answer"
        if status == 200:
            return None
        if status != 503 or headers.get("Retry-After") is None:
            self.wrong.append(f"HTTP: {status}, Retry-After {headers.get('Retry-After')}: {body[:200]!r}")
        return f"HTTP {status}"

    def by_grpc(self, batch):
        try:
            self.call(batch.body, timeout=15)
            return None
        except grpc.RpcError as error:
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            if error.code() != grpc.StatusCode.UNAVAILABLE or RETRY_INFO not in details:
                self.wrong.append(f"gRPC: {error.code()} {error.details()} {details!r}")
            return f"gRPC {error.code().name}"

    def close(self):
        self.channel.close()


def lost(server, batches):
    """What of these is not there as it was sent."""
    problems = []
    for batch in batches:
        status, body = server.get(f"/api/spindle/v1/trace/{batch.trace_id}", headers={"Accept": "application/x-protobuf"})
        try:
            got = digest(TracesData.FromString(body)) if status == 200 else []
        except DecodeError as error:
            got = [str(error)]
        if got != batch.spans:
            problems.append(f"{batch.trace_id}: {status}, {len(got)} of {len(batch.spans)} spans")
    return problems


QUERIES = ("/api/spindle/v1/services", "/api/spindle/v1/traces?limit=20", "/api/spindle/v1/traces?service=disk&sort=slowest",
           "/api/spindle/v1/attributes", "/api/spindle/v1/meta", "/api/services", "/api/traces?service=disk&limit=3", "/metrics")


def failed_queries(server):
    answers = [(path, server.get(path)) for path in QUERIES]
    return [f"{path}: {status} {body[:150]!r}" for path, (status, body) in answers if status != 200]


def verify(server):
    done = subprocess.run([str(binary()), "verify", "--data", str(server.data / "data")], capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).strip()


# ---- Full ----------------------------------------------------------------------------------------


def is_full(sender, rng, limit=300):
    """Send until four requests in a row are refused; whether that came."""
    refused = 0
    for _ in range(limit):
        refused = 0 if sender.send(make(rng)) else refused + 1
        if refused == 4:
            return True
    return False


def recovers(sender, rng, seconds=10):
    """Seconds until a request is acknowledged again."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        if sender.send(make(rng, spans=2)):
            return time.monotonic() - start
        time.sleep(0.2)
    return None


def while_full(report, server, sender, name):
    rng = random.Random(name)
    sender.refusals.clear()
    for _ in range(8):  # one or two may still find room in the log that SQLite uses again
        sender.send(make(rng))
    report.check(f"{name}: exports are told to come again", not sender.wrong and sum(sender.refusals.values()) >= 4,
                 "; ".join(sender.wrong[:3]) or ", ".join(f"{n} {k}" for k, n in sorted(sender.refusals.items())))
    problems = failed_queries(server)
    report.check(f"{name}: every query is answered", not problems, "; ".join(problems[:3]) or f"{len(QUERIES)} kinds")
    problems = lost(server, sender.acked)
    report.check(f"{name}: all that was acknowledged is there", not problems, "; ".join(problems[:3]) or f"{len(sender.acked)} requests")
    status, body = server.get("/health")
    report.check(f"{name}: /health says so", b"read-only" in body, f"{status} {body[:200]!r}")


def full_disk(report):
    disk = Disk()
    if disk.kind is None:
        report.skip("full disk", "; ".join(disk.refused))
        disk.close()
        return
    print(f"the disk is {disk.kind}, {disk.free() >> 20} MiB free" + "".join(f" ({r})" for r in disk.refused))
    server = Server(data=disk.path, options=["--row-group-age", "1s", "--log-level", "warn"])
    rng = random.Random(7)
    try:
        server.start()
        sender = Sender(server)
        report.check("with space, requests are taken", all(sender.send(make(rng)) for _ in range(8)), str(sender.wrong[:2]))

        disk.fill("foreign", leave=16 << 20)
        report.check("ingest fills the disk", is_full(sender, rng), f"{len(sender.acked)} requests acknowledged, {disk.free() >> 10} KiB free")
        while_full(report, server, sender, "full by ingest")
        (disk.path / "foreign").unlink()
        took = recovers(sender, rng)
        report.check("it recovers by itself within 10 s", took is not None, f"{took:.1f} s" if took is not None else str(sender.refusals))

        disk.fill("foreign")
        is_full(sender, rng)
        while_full(report, server, sender, "full by a foreign file")
        (disk.path / "foreign").unlink()
        took = recovers(sender, rng)
        report.check("again it recovers by itself within 10 s", took is not None, f"{took:.1f} s" if took is not None else str(sender.refusals))

        # Full until the end of the process, and at its next start.
        report.check("ingest alone fills the disk", is_full(sender, rng), f"{len(sender.acked)} requests acknowledged, {disk.free() >> 10} KiB free")
        while_full(report, server, sender, "full by ingest alone")
        disk.fill("foreign")
        code = server.stop()
        report.check("SIGTERM on a full disk ends with 0", code == 0, str(code))
        sender.close()
        try:
            server.start()
            restarted = Sender(server)
            restarted.acked = sender.acked
            is_full(restarted, rng)  # the log that SQLite uses again may still have room
            while_full(report, server, restarted, "started on a full disk")
            server.kill()
            restarted.close()
        except RuntimeError as error:
            report.check("it starts on a full disk", False, str(error)[-600:])
        if (disk.path / "foreign").exists():
            (disk.path / "foreign").unlink()
        server.start()
        problems = lost(server, sender.acked) + failed_queries(server)
        report.check("after a kill and a restart all is there", not problems, "; ".join(problems[:3]) or f"{len(sender.acked)} requests")
        report.check("and it ends with 0", server.stop() == 0)
        code, said = verify(server)
        report.check("verify finds nothing", code == 0, said[-400:])
        # The negative control: the ledger does notice a request that was never sent.
        server.start()
        report.check("control: a request that is not there is noticed", len(lost(server, [make(rng)])) == 1)
    finally:
        server.close()
        log = disk.folder / "mounted.log"
        if log.exists() and report.failed:
            print(log.read_text(errors="replace")[-3000:])
        disk.close()


# ---- Damaged, and newer --------------------------------------------------------------------------


def hashes(folder):
    """Of all that holds data: SQLite's -shm files are indexes, made anew at each opening."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())
            if f.name != "lock" and not f.name.endswith("-shm")}


def filled_directory(report):
    """A stopped server with two partitions, and the ledger of what is in them."""
    server = Server(options=["--row-group-age", "300ms", "--partition-size", "128KiB", "--log-level", "warn"])
    server.start()
    sender, rng = Sender(server), random.Random(11)
    for wave in range(5):
        for _ in range(4):
            sender.send(make(rng, spans=8, size=8192, service=f"wave-{wave}"))
        time.sleep(1)
    report.check("row groups in several partitions", server.metric("spindle_engine_partitions") >= 2,
                 f"{server.metric('spindle_engine_partitions'):.0f} partitions, {len(sender.acked)} requests")
    sender.close()
    server.stop()
    return server, sender.acked


def copy_of(server):
    copy = Server(options=server.options)
    shutil.copytree(server.data / "data", copy.data / "data")
    return copy


def pages_of_a_group(path):
    """Offsets of some random payload bytes inside the row group of a partition."""
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as db:
        row = db.execute("SELECT max(length(data)), data FROM row_group_data JOIN row_group USING (id) WHERE replaced_by = 0").fetchone()
    blob = row[1]
    middle = blob[len(blob) // 2:len(blob) // 2 + 64]
    return path.read_bytes().find(middle)


def damaged(report, original, acked):
    copy = copy_of(original)
    try:
        files = sorted((copy.data / "data").glob("p*.db"))
        victim = next(f for f in files if pages_of_a_group(f) > 0)
        at = pages_of_a_group(victim)
        with open(victim, "r+b") as file:
            file.seek(at)
            some = file.read(16)
            file.seek(at)
            file.write(bytes(b ^ 0xA5 for b in some))
        code, said = verify(copy)
        report.check("verify names the damaged file and the place", code == 1 and victim.name in said and "row group" in said, f"{code}: {said[:300]}")
        copy.start()
        wrong, whole, marked, refused = [], 0, 0, 0
        for batch in acked:
            status, body = copy.get(f"/api/spindle/v1/trace/{batch.trace_id}", headers={"Accept": "application/x-protobuf"})
            try:
                got = digest(TracesData.FromString(body)) if status == 200 else None
            except DecodeError:
                got = ["not protobuf"]
            if got == batch.spans:
                whole += 1
            elif status == 200:
                marked += 1
                if set(got) - set(batch.spans):
                    wrong.append(f"{batch.trace_id}: spans that were never sent")
            else:
                refused += 1
                if status not in (404, 500) or status == 500 and b"damaged" not in body:
                    wrong.append(f"{batch.trace_id}: {status} {body[:100]!r}")
        report.check("neighbours are served, and nothing wrong is said", not wrong and whole > 0 and marked + refused > 0,
                     "; ".join(wrong[:3]) or f"{whole} whole, {marked} in part, {refused} refused of {len(acked)}")
        page = copy.get("/metrics")[1].decode()
        counted = [line for line in page.splitlines() if "damaged" in line and not line.startswith("#") and not line.endswith(" 0")]
        report.check("the damage is counted on /metrics", bool(counted), "; ".join(counted))
        report.check("and named on /health", b'"damaged"' in copy.get("/health")[1])
        report.check("search is answered beside it", copy.get("/api/spindle/v1/traces?limit=100")[0] == 200)
        sender = Sender(copy)
        report.check("and requests are taken", all(sender.send(make(random.Random(i))) for i in range(4)), str(sender.wrong))
        sender.close()
    finally:
        copy.close()

    # The file's first page: not a database any more.
    copy = copy_of(original)
    try:
        victim = sorted((copy.data / "data").glob("p*.db"))[0]
        with open(victim, "r+b") as file:
            file.write(b"\xa5" * 4096)
        code, said = verify(copy)
        report.check("verify names a file whose header is gone", code == 1 and victim.name in said, said[:300])
        copy.start()
        gone = len(lost(copy, acked))
        report.check("its neighbours are served", 0 < gone < len(acked), f"{len(acked) - gone} of {len(acked)} requests")
        status, body = copy.get("/health")
        report.check("/health says damaged", b'"damaged"' in body, f"{status} {body[:300]!r}")
        report.check("so does /metrics", copy.metric("spindle_engine_partitions_damaged") == 1)
    finally:
        copy.close()


def newer(report, original):
    for name in ("catalog.db", sorted((original.data / "data").glob("p*.db"))[-1].name):
        copy = copy_of(original)
        try:
            subprocess.run(["sqlite3", str(copy.data / "data" / name), "PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE);"],
                           check=True, stdout=subprocess.DEVNULL)
            before = hashes(copy.data / "data")
            copy.start(wait=False)
            code = copy.process.wait(20)
            said = copy.log_text()
            report.check(f"a newer {name} is refused, naming both versions", code == EXIT_NEWER and "99" in said and "up to 3" in said and name in said,
                         f"exit {code}: {said.strip()[-200:]}")
            code, said = verify(copy)
            report.check(f"verify refuses it too: {name}", code in (1, EXIT_NEWER) and ("99" in said or "newer" in said), f"exit {code}: {said[:200]}")
            after = hashes(copy.data / "data")
            report.check(f"not a byte has changed: {name}", before == after, str(sorted(set(before.items()) ^ set(after.items()))))
        finally:
            copy.close()


def main():
    report = Report()
    full_disk(report)
    original, acked = filled_directory(report)
    try:
        damaged(report, original, acked)
        newer(report, original)
    finally:
        original.close()
    report.end()


if __name__ == "__main__":
    main()
