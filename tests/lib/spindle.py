# SPDX-License-Identifier: Apache-2.0
"""Starting, asking and ending a real `spindle serve`, for tests."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary(preset="release"):
    return ROOT / "build" / preset / "cli" / "spindle"


def free_ports(count):
    """Ports of loopback that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Server:
    """A server on free ports over a data directory, which may outlive it: start(), kill(), start() again."""

    def __init__(self, preset="release", data=None, options=(), env=None):
        self.preset = preset
        self.owns_data = data is None
        self.data = pathlib.Path(data or tempfile.mkdtemp(prefix="spindle-test-"))
        self.options = list(options)
        self.env = {**os.environ, **(env or {})}
        self.grpc_port, self.otlp_port, self.http_port = free_ports(3)
        self.process = None

    @property
    def grpc(self):
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def otlp(self):
        return f"http://127.0.0.1:{self.otlp_port}"

    @property
    def http(self):
        return f"http://127.0.0.1:{self.http_port}"

    def start(self, env=None, wait=True):
        self.log = open(self.data.parent / (self.data.name + ".log"), "ab")
        command = [str(binary(self.preset)), "serve", "--data", str(self.data / "data"),
                   "--otlp-grpc", self.grpc, "--otlp-http", f"127.0.0.1:{self.otlp_port}",
                   "--http", f"127.0.0.1:{self.http_port}", *self.options]
        self.process = subprocess.Popen(command, env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        """Seconds until ready."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            if self.process.poll() is not None:
                raise RuntimeError(f"spindle serve ended with {self.process.returncode}:\n{self.log_text()}")
            try:
                with urllib.request.urlopen(self.http + "/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        return time.monotonic() - start
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.005)
        raise RuntimeError("spindle serve is not ready:\n" + self.log_text())

    def log_text(self):
        return (self.data.parent / (self.data.name + ".log")).read_text(errors="replace")[-8000:]

    def kill(self):
        """kill -9, as the worst night would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        if self.owns_data:
            shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *_):
        self.close()

    def get(self, path, headers=None, timeout=60):
        """(status, body bytes) of a GET."""
        request = urllib.request.Request(self.http + path, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, path, **options):
        status, body = self.get(path, **options)
        if status != 200:
            raise RuntimeError(f"GET {path}: {status} {body[:500]!r}")
        return json.loads(body)

    def post(self, path, body, content_type, headers=None, timeout=60):
        """(status, body bytes, headers) of a POST to the OTLP/HTTP listener."""
        request = urllib.request.Request(self.otlp + path, data=body, method="POST",
                                         headers={"Content-Type": content_type, **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def metric(self, name):
        """Sum over the series of a metric on /metrics."""
        total = 0.0
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                total += float(line.rsplit(" ", 1)[1])
        return total


class Report:
    """Counts checks, prints failures, ends with the summary line that tests/run.py reads."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, ok, detail=""):
        if ok:
            self.passed += 1
            print(f"ok   {name}" + (f": {detail}" if detail else ""), flush=True)
        else:
            self.failed += 1
            print(f"FAIL {name}: {detail}", flush=True)
        return ok

    def skip(self, name, reason):
        self.skipped += 1
        print(f"skip: {name}: {reason}", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else 0)


def venv(name, requirements):
    """A virtual environment under build/ with these requirements; its Python."""
    folder = ROOT / "build" / "venv" / name
    python = folder / "bin" / "python"
    stamp = folder / "requirements.txt"
    wanted = pathlib.Path(requirements).read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r",
                        str(requirements)], check=True)
        stamp.write_text(wanted)
    return python
