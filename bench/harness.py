# SPDX-License-Identifier: Apache-2.0
"""A server under measurement: started in a directory of its own, pinned to one core, asked by /proc and HTTP."""
import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def pinned(core, command):
    return command if core is None else ["taskset", "-c", str(core)] + command


class Server:
    """`spindle serve` in a temporary directory; use with `with`. With `command`, another program: its words with {data},
    {grpc}, {http_otlp} and {http} filled in; it is ready when it listens for gRPC. `data`: a directory
    that stays, instead of one of its own."""

    def __init__(self, binary, core=0, extra=(), directory=None, command=None, data=None):
        self.binary, self.core, self.extra, self.command = binary, core, list(extra), command
        self.directory = tempfile.mkdtemp(prefix="spindle-bench-", dir=directory)
        self.data = data or os.path.join(self.directory, "data")
        self.grpc, self.http_otlp, self.http = free_ports(3)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        log = open(os.path.join(self.directory, "log"), "ab")
        command = [self.binary, "serve", "--data", self.data, "--otlp-grpc", f"127.0.0.1:{self.grpc}",
                   "--otlp-http", f"127.0.0.1:{self.http_otlp}", "--http", f"127.0.0.1:{self.http}"]
        if self.command is not None:
            os.makedirs(self.data, exist_ok=True)
            command = [word.format(data=self.data, grpc=self.grpc, http_otlp=self.http_otlp, http=self.http)
                       for word in shlex.split(self.command)]
        started = time.monotonic()
        self.process = subprocess.Popen(pinned(self.core, command + self.extra), stdout=log, stderr=log)
        while True:
            try:
                if self.is_ready():
                    return time.monotonic() - started
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() - started > 60:
                raise RuntimeError("the server did not become ready: " + self.log())
            time.sleep(0.005)

    def is_ready(self):
        if self.command is None:
            return self.get("/health/ready")[0] == 200
        socket.create_connection(("127.0.0.1", self.grpc), 5).close()
        return True

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self):
        with open(os.path.join(self.directory, "log"), errors="replace") as f:
            return f.read()[-2000:]

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)

    def get(self, path):
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metrics(self):
        """Sums over labels: {name: value}."""
        out = {}
        for line in self.get("/metrics")[1].decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                name = name.split("{")[0]
                out[name] = out.get(name, 0) + float(value)
        return out

    def cpu_s(self):
        """User and system time of the whole process."""
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            rows = dict(line.split(":", 1) for line in f if line.startswith("Vm"))
        return {key: int(rows[key].split()[0]) for key in ("VmRSS", "VmHWM")}

    def bytes_written(self):
        with open(f"/proc/{self.process.pid}/io") as f:
            return int(dict(line.split(":") for line in f)["write_bytes"])

    def disk_bytes(self):
        """Allocated size of all files."""
        return sum(os.stat(os.path.join(where, name)).st_blocks * 512
                   for where, _, names in os.walk(self.data) for name in names)

    def settle(self, limit_s=120, quiet_s=2):
        """Wait until nothing is left to do: some quiet seconds (less than 2 % of a core)."""
        quiet_since, last, started = time.monotonic(), self.cpu_s(), time.monotonic()
        while time.monotonic() - started < limit_s:
            time.sleep(0.5)
            now = self.cpu_s()
            if now - last > 0.01:
                quiet_since = time.monotonic()
            last = now
            if time.monotonic() - quiet_since >= quiet_s:
                return quiet_since - started
        raise RuntimeError("the server did not settle")


def load(server, binary, core=1, **options):
    """Run `spindle load` against the server; its JSON result. Options by name, with underscores."""
    protocol = options.get("protocol", "grpc")
    port = server.grpc if protocol == "grpc" else server.http_otlp
    command = [binary, "load", "--json", "--endpoint", f"127.0.0.1:{port}"]
    for name, value in options.items():
        if value is not None:
            command += ["--" + name.replace("_", "-"), str(value)]
    done = subprocess.run(pinned(core, command), stdout=subprocess.PIPE, check=False)
    if not done.stdout:
        raise RuntimeError("spindle load failed")
    return json.loads(done.stdout)


def nearest_rank(values, quantile):
    ordered = sorted(values)
    rank = max(1, -(-int(quantile * len(ordered) * 1000000) // 1000000))
    return ordered[min(rank, len(ordered)) - 1] if ordered else 0
