#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`spindle demo` and `spindle load` against `spindle serve`: what they say they sent is what the server has.

    send_test.py path/to/spindle
"""
import json
import os
import signal
import time
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from harness import Server, load  # noqa: E402

BINARY = os.path.abspath(sys.argv[1])


def expect(condition, what):
    if not condition:
        raise SystemExit("FAILED: " + what)


def stored(server, signal_name):
    prefix = f'spindle_otlp_items_stored_total{{signal="{signal_name}"'
    return sum(int(line.rsplit(" ", 1)[1]) for line in server.get("/metrics")[1].decode().splitlines()
               if line.startswith(prefix))


def span_count(server, trace_id):
    status, body = server.get("/api/spindle/v1/trace/" + trace_id)
    return 0 if status != 200 else sum(len(scope["spans"]) for resource in json.loads(body)["resourceSpans"]
                                       for scope in resource["scopeSpans"])


def start_demo(server, truth, *arguments):
    return subprocess.Popen([BINARY, "demo", "--endpoint", f"127.0.0.1:{server.grpc}", "--rate", "30",
                             "--truth", truth, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def demo_is_stored_as_it_says():
    with Server(BINARY, core=None) as server:
        truth_path = os.path.join(server.directory, "truth.json")
        out, _ = start_demo(server, truth_path, "--duration", "4s").communicate(timeout=60)
        with open(truth_path) as f:
            truth = json.load(f)
        expect(truth["is_exact"], "the demo delivered everything: " + out)
        expect(stored(server, "traces") == truth["spans_acknowledged"] > 500, "all spans are stored")
        expect(stored(server, "logs") == truth["logs_acknowledged"] > 10, "all log records are stored")
        expect(sum(row["count"] for row in truth["spans"]) == truth["spans_acknowledged"],
               "the truth counts each span once")
        named = {row["service"] for row in truth["spans"]}
        listed = set(json.loads(server.get("/api/services")[1])["data"])
        expect(named == listed and len(named) >= 14, f"services are listed: {named ^ listed}")
        types = {row["type"] for row in truth["edges"]}
        expect({"", "database", "virtual_node", "messaging_system"} <= types, "edges of all types")


def demo_goes_on_after_kill():
    with Server(BINARY, core=None) as server:
        truth_path = os.path.join(server.directory, "truth.json")
        demo = start_demo(server, truth_path)
        while stored(server, "traces") < 300:  # it is under way
            expect(demo.poll() is None, "the demo runs")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        said = ""
        while "does not take traces" not in said:  # comes when the demo has noticed, for logs perhaps before
            line = demo.stderr.readline()
            expect(line != "", "it says that the server is gone: " + said)
            said += line
        server.start()
        while stored(server, "traces") < 300:
            expect(demo.poll() is None, "the demo runs on")
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
        with open(truth_path) as f:
            truth = json.load(f)
        expect(truth["is_exact"], "everything was delivered in the end")
        expect((said + errors).count("does not take traces") == 1, "it says so once: " + said + errors)


def load_is_stored_as_it_says():
    with Server(BINARY, core=None) as server:
        sent = 0
        for protocol in ("grpc", "http"):
            for encoding in ("none", "gzip", "zstd"):
                truth_path = os.path.join(server.directory, "truth.json")
                result = load(server, BINARY, core=None, protocol=protocol, encoding=encoding, spans=3000,
                              truth=truth_path)
                sent += result["spans_acknowledged"]
                expect(result["spans_acknowledged"] == 3000 and not result["errors"], f"{protocol} {encoding}: {result}")
                with open(truth_path) as f:
                    sample = json.load(f)["traces_sample"][:5]
                for trace in sample:
                    expect(span_count(server, trace["trace_id"]) == trace["spans"], f"trace {trace} is whole")
        expect(stored(server, "traces") == sent == 18000, "all spans are stored")
        open_loop = load(server, BINARY, core=None, spans=3000, rate=20000)
        expect(0.1 < open_loop["elapsed_s"] < 20, f"3,000 spans at 20,000 a second last 0.15 s: {open_loop}")
        # The control: spans that were never sent are not found.
        expect(span_count(server, "00" * 15 + "01") == 0, "an absent trace is absent")


def load_tells_of_a_dead_server():
    server = Server(BINARY, core=None)
    result = load(server, BINARY, core=None, spans=512, duration="300ms", timeout="1s")
    expect(result["spans_acknowledged"] == 0 and result["errors"], f"nothing is acknowledged by nobody: {result}")
    os.rmdir(server.directory)


def wrong_names_are_explained():
    for arguments, words in ((("demo", "--endpoint", "foo"), "foo: not of the form HOST:PORT"),
                             (("demo", "--endpoint", "https://127.0.0.1:1"), "https is not spoken"),
                             (("load", "--spans", "1", "--endpoint", "foo"), "foo: not of the form HOST:PORT"),
                             (("load", "--file", "/nonexistent"), "No such file or directory"),
                             (("load", "--spans", "1", "--truth", "/nonexistent/x"), "No such file or directory"),
                             (("verify", "--data", "/nonexistent"), "/nonexistent: No such file or directory"),
                             (("verify", "--data", "/etc/passwd"), "/etc/passwd: Not a directory")):
        done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60)
        expect(done.returncode != 0 and words in done.stderr, f"{arguments}: {done.stderr}")


def demo_without_a_server_ends_soon():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        demo = subprocess.Popen([BINARY, "demo", "--endpoint", f"127.0.0.1:{nobody.getsockname()[1]}"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        said = demo.stderr.readline()
        expect("does not take" in said and "connection refused" in said, "it says that nobody is there: " + said)
        began = time.monotonic()
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=60)
        expect(time.monotonic() - began < 20, f"it ends soon: {time.monotonic() - began:.1f} s")


def load_gives_up(waiting):
    """It was started before all other tests: its patience takes as long as they."""
    _, said = waiting.communicate(timeout=120)
    expect(waiting.returncode == 1 and said.count("connection refused") == 1 and said.count("giving up") == 1,
           "load says that nobody is there, and ends: " + said)


nobody = socket.socket()
nobody.bind(("127.0.0.1", 0))  # and does not listen
patient = subprocess.Popen([BINARY, "load", "--spans", "512", "--endpoint", f"127.0.0.1:{nobody.getsockname()[1]}"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
for test in (wrong_names_are_explained, demo_without_a_server_ends_soon, demo_is_stored_as_it_says, demo_goes_on_after_kill, load_is_stored_as_it_says,
             load_tells_of_a_dead_server):
    test()
    print("ok  " + test.__name__)
load_gives_up(patient)
