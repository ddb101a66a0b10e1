#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`spindle serve` as a process: what stops its start and with which words, tokens and scopes at every
kind of route, what signals do, and that what was acknowledged is there after a restart. Each case starts
servers of its own on ports that the kernel picks. Usage: serve_test.py PATH_TO_SPINDLE"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

SPINDLE = sys.argv.pop(1)
WRITER, READER, BOTH = "write-token-0123456789", "read-token-0123456789", "both-token-0123456789"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPANS = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{
    "traceId": TRACE, "spanId": "b7ad6b7169203331", "name": "x",
    "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000000000000001"}]}]}]}).encode()


class Server:
    def __init__(self, directory, *options, otlp_grpc="127.0.0.1:0", otlp_http="127.0.0.1:0",
                 http="127.0.0.1:0", env=None):
        self.process = subprocess.Popen(
            [SPINDLE, "serve", "--data", str(directory / "data"), "--otlp-grpc", otlp_grpc,
             "--otlp-http", otlp_http, "--http", http, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.banner = ""
        while "OTEL_EXPORTER" not in self.banner:
            line = self.process.stdout.readline()
            if line == "":
                break
            self.banner += line
        urls = dict(re.findall(r"^  (OTLP/gRPC|OTLP/HTTP|queries) +(http\S+)", self.banner, re.M))
        self.grpc, self.otlp, self.http = (urls.get(k) for k in ("OTLP/gRPC", "OTLP/HTTP", "queries"))

    def end(self, *signals):
        for number in signals:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def request(url, body=None, token=None, kind="application/json", method=None):
    headers = {"Content-Type": kind} if body is not None else {}
    if token is not None:
        headers["Authorization"] = token
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method),
                                    timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


class Watch:
    """health.v1's Watch, frame by frame: one stream over cleartext HTTP/2."""

    def __init__(self, url, service=b""):
        self.socket = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=20)
        fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/grpc.health.v1.Health/Watch"),
                  (b":authority", b"localhost"), (b"content-type", b"application/grpc"), (b"te", b"trailers"))
        head = b"".join(b"\0" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in fields)
        message = b"\x0a" + bytes([len(service)]) + service if service else b""
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(4, 0, 0, b"") +
                            self.frame(1, 4, 1, head) + self.frame(0, 1, 1, body))
        self.bytes = b""

    @staticmethod
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def take(self, count):
        while len(self.bytes) < count:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError
            self.bytes += more
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def next(self):
        """The next status, or None at the end of the stream."""
        while True:
            head = self.take(9)
            payload = self.take(int.from_bytes(head[:3], "big"))
            if head[3] == 0 and payload:
                return payload[5:]
            if head[3] in (0, 1) and head[4] & 1 or head[3] == 3:
                return None

    def close(self):
        self.socket.close()


class Serve(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory(prefix="serve-test-")
        self.directory = pathlib.Path(self.scratch.name)

    def tearDown(self):
        self.scratch.cleanup()

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        return str(path)

    def refused(self, *options, status, words, **more):
        with Server(self.directory, *options, **more) as s:
            code, _, err = s.end()
        self.assertEqual(code, status, err)
        self.assertRegex(err, words)
        return err

    # What stops the start

    def test_addresses_that_others_reach_need_a_decision(self):
        for address in ("0.0.0.0:0", "[::]:0", ":0", "*:0", "example.org:0", "1270.0.0.1:0",
                        "127.example.org:0"):
            self.refused(otlp_http=address, status=64, words="give --auth-token-file, or --no-auth")
        with Server(self.directory, "--no-auth", otlp_http="0.0.0.0:0") as s:
            self.assertIn("http://127.0.0.1:", s.otlp)
            self.assertEqual(request(s.otlp + "/v1/traces", SPANS)[0], 200)

    def test_contradictions_are_named(self):
        tokens = self.write("tokens", "write:" + WRITER + "\n")
        for options, words in (
                (("--tls-cert", "x"), "--tls-cert and --tls-key go together"),
                (("--tls-client-ca", "x"), "--tls-client-ca needs"),
                (("--no-auth", "--auth-token-file", tokens), "contradict"),
                (("--memory-limit", "1MiB"), "--memory-limit: '1MiB' is not at least 32MiB"),
                (("--memory-limit", "64MiB", "--request-size-max", "9MiB"), "--request-size-max must"),
                (("--connections-max", "0"), "--connections-max: '0' is not from 1 to 1000000"),
                (("--connections-per-ip-max", "0"), "--connections-per-ip-max: '0' is not from 1 to 1000000"),
                (("--attributes-max", "0"), "--attributes-max: '0' is not from 1 to 65536"),
                (("--value-size-max", "0"), "--value-size-max: '0' is not from 64 to 64MiB"),
                (("--drain-time", "0s"), "--drain-time: '0s' is not from 100ms to 1h"),
                (("--threads", "99999"), "--threads: '99999' is not from 0 to 64"),
                (("--retention-age", "30s"), "--retention-age: '30s' is not 0 or at least 1m"),
                (("--retention-age", "1h", "--retention-age-logs", "2h"),
                 "--retention-age-logs is longer than --retention-age"),
                (("--memory-limt", "64MiB"), "did you mean --memory-limit"),
        ):
            self.refused(*options, status=64, words=words)
        self.refused(otlp_grpc="none", otlp_http="none", http="none", status=64, words="all of")

    def test_bad_files_are_named_with_their_line(self):
        config = self.write("c.yaml", "durability: fsync\ntreads: 3\n")
        self.refused("--config", config, status=64, words=r"c\.yaml:2: unknown key 'treads'; did you mean threads")
        err = self.refused("--auth-token-file", self.write("t", "write:" + WRITER + "\nsecret-0123456789\n"),
                           status=1, words=r"t:2: expected 'write:TOKEN'")
        self.assertNotIn("secret", err)
        self.refused("--auth-token-file", str(self.directory / "none"), status=1, words="No such file")
        self.refused("--tls-cert", config, "--tls-key", config, status=1, words=r"c\.yaml")
        self.refused("--tls-cert", str(self.directory / "none"), "--tls-key", config, status=1,
                     words="none: No such file or directory")
        self.assertFalse((self.directory / "data").exists(), "nothing was made")

    def test_what_cannot_be_meant_is_named(self):
        for address in ("127.0.0.1:99999", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x"):
            self.refused(http=address, status=64, words="--http: '" + re.escape(address) + "' is not of the form HOST:PORT")
        done = subprocess.run([SPINDLE, "version", "--foo"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (64, ""))
        self.assertIn("'--foo' is one too many", done.stderr)
        done = subprocess.run([SPINDLE, "help", "serve"], capture_output=True, text=True)
        self.assertIn("tokens being 16 to 1,024", " ".join(done.stdout.split()))

    def test_a_port_in_use_is_named(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            err = self.refused(http=address, status=1, words="cannot listen on " + re.escape(address))
            self.assertEqual(err.count("cannot listen"), 1)
            self.assertFalse((self.directory / "data").exists(), "nothing was made")

    def test_unknown_variables_are_named(self):
        with Server(self.directory, env={"SPINDLE_MEMORY_LIMITT": "64MiB", "SPINDLE_LOG_LEVEL": "warn"}) as s:
            code, _, err = s.end(signal.SIGTERM)
        self.assertEqual(code, 0, err)
        self.assertRegex(err, "SPINDLE_MEMORY_LIMITT is not an option of this command; did you mean the option --memory-limit")
        self.assertNotIn("64MiB", err)
        self.assertNotIn("SPINDLE_LOG_LEVEL", err)

    def test_one_directory_has_one_server(self):
        with Server(self.directory) as first:
            self.refused(status=1, words="data")
            self.assertEqual(request(first.otlp + "/v1/traces", SPANS)[0], 200)

    def test_a_newer_file_is_refused_unchanged(self):
        with Server(self.directory) as s:
            request(s.otlp + "/v1/traces", SPANS)
            self.assertEqual(s.end(signal.SIGTERM)[0], 0)
        databases = [p for p in (self.directory / "data").rglob("*")
                     if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"]
        self.assertTrue(databases)
        for path in databases:
            before = path.read_bytes()
            newer = bytearray(before)
            newer[60:64] = (9999).to_bytes(4, "big")  # user_version of SQLite's file header
            path.write_bytes(newer)
            self.refused(status=78, words="9999")
            self.assertEqual(path.read_bytes(), bytes(newer))
            path.write_bytes(before)

    # Who may do what

    def test_tokens_and_scopes(self):
        tokens = self.write("tokens", f"write:{WRITER}\nread:{READER}\nread,write:{BOTH}\n")
        with Server(self.directory, "--auth-token-file", tokens) as s:
            credentials = [None, "Bearer " + WRITER, "Bearer " + READER, "Bearer " + BOTH,
                           "Bearer wrong-token-0123456789", "Basic " + BOTH, "Bearer", BOTH, "Bearer " + BOTH[:-1]]
            w, r, o = "write", "read", "open"
            routes = [(s.otlp + "/v1/traces", SPANS, w), (s.otlp + "/v1/logs", b"{}", w),
                      (s.grpc + "/v1/traces", SPANS, w), (s.http + "/api/services", None, r),
                      (s.http + "/api/traces/" + TRACE, None, r), (s.http + "/api/v3/services", None, r),
                      (s.http + "/api/spindle/v1/services", None, r),
                      (s.http + "/metrics", None, r), (s.http + "/health", None, r), (s.http + "/", None, o),
                      (s.http + "/health/live", None, o), (s.http + "/health/ready", None, o)]
            may = {None: "", credentials[1]: w, credentials[2]: r, credentials[3]: w + r}
            self.assertEqual(request(s.otlp + "/v1/traces", SPANS, "Bearer " + BOTH)[0], 200)
            for url, body, scope in routes:
                for credential in credentials:
                    status, headers, text = request(url, body, credential)
                    allowed = scope == o or scope in may.get(credential, "")
                    wanted = 200 if allowed else 403 if may.get(credential) else 401
                    self.assertEqual(status, wanted, (url, credential, text))
                    self.assertEqual("WWW-Authenticate" in headers, wanted == 401, (url, credential))
                    for secret in (WRITER, READER, BOTH):
                        self.assertNotIn(secret.encode(), text)
            code, out, err = s.end(signal.SIGTERM)
            self.assertEqual(code, 0)
            for secret in (WRITER, READER, BOTH):
                self.assertNotIn(secret, out + err + s.banner)

    def test_hup_reads_the_tokens_again(self):
        tokens = self.write("tokens", f"read:{READER}\n")
        with Server(self.directory, "--auth-token-file", tokens) as s:
            ask = lambda token: request(s.http + "/api/services", None, "Bearer " + token)[0]
            self.assertEqual((ask(READER), ask(BOTH)), (200, 401))
            self.write("tokens", "nonsense\n")
            s.process.send_signal(signal.SIGHUP)
            self.assertIn("the tokens in use stay", self.next_line(s, "tokens"))
            self.assertEqual((ask(READER), ask(BOTH)), (200, 401))
            self.write("tokens", f"read:{BOTH}\n")
            s.process.send_signal(signal.SIGHUP)
            self.assertIn("again", self.next_line(s, "tokens"))
            self.assertEqual((ask(READER), ask(BOTH)), (401, 200))

    def certificate(self, name):
        """A self-signed certificate for localhost, and its serial number."""
        key, cert = self.directory / "key.pem", self.directory / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
        return str(cert), str(key)

    @unittest.skipUnless(shutil.which("openssl"), "the openssl program makes the certificates")
    def test_tls_and_its_renewal(self):
        cert, key = self.certificate("first")
        with Server(self.directory, "--tls-cert", cert, "--tls-key", key) as s:
            self.assertTrue(s.otlp.startswith("https://"))
            port = int(s.otlp.rsplit(":", 1)[1])

            def shown():
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with socket.create_connection(("127.0.0.1", port)) as plain:
                    with context.wrap_socket(plain, server_hostname="localhost") as c:
                        c.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                  b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
                        self.assertIn(b"HTTP/1.1 200 ", c.recv(4096))
                        return c.getpeercert(True)

            first = shown()
            self.certificate("second")
            pathlib.Path(key).write_text("nonsense")
            s.process.send_signal(signal.SIGHUP)
            self.assertIn("the certificate in use stays", self.next_line(s, "cert"))
            self.assertEqual(shown(), first)
            self.certificate("third")
            s.process.send_signal(signal.SIGHUP)
            self.assertIn("again", self.next_line(s, "cert"))
            self.assertNotEqual(shown(), first)

    def test_hosts_are_checked_on_every_listener(self):
        with Server(self.directory, "--host-names", "spindle.example, other.example") as s:
            for url in (s.otlp, s.http):
                for host, status in (("localhost", 200), ("spindle.example:4318", 200), ("other.example", 200),
                                     ("evil.example", 421)):
                    path, body = ("/v1/logs", b"{}") if url == s.otlp else ("/api/services", None)
                    headers = {"Host": host, "Content-Type": "application/json"}
                    try:
                        got = urllib.request.urlopen(urllib.request.Request(url + path, body, headers)).status
                    except urllib.error.HTTPError as error:
                        error.close()
                        got = error.code
                    self.assertEqual(got, status, (url, host))

    def next_line(self, server, word):
        for line in server.process.stderr:
            if word in line:
                return line
        self.fail("the log ended without " + word)

    # Up and down

    def test_what_was_acknowledged_is_there_after_each_end(self):
        for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, -9)):
            with Server(self.directory) as s:
                self.assertEqual(request(s.otlp + "/v1/traces", SPANS)[0], 200)
                self.assertEqual(s.end(number)[0], status)
            with Server(self.directory) as s:
                status, _, text = request(s.http + "/api/traces/" + TRACE)
                self.assertEqual(status, 200, text)
                self.assertEqual(len(json.loads(text)["data"][0]["spans"]), 1)
                self.assertEqual(s.end(signal.SIGTERM)[0], 0)
            check = subprocess.run([SPINDLE, "verify", "--data", str(self.directory / "data")],
                                   capture_output=True, text=True)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)

    def test_verify_says_what_is_in_the_way(self):
        verify = lambda: subprocess.run([SPINDLE, "verify", "--data", str(self.directory / "data")],
                                        capture_output=True, text=True)
        self.assertEqual(verify().returncode, 1)  # there is no such directory
        with Server(self.directory) as s:
            request(s.otlp + "/v1/traces", SPANS)
            check = verify()
            self.assertEqual(check.returncode, 1)
            self.assertIn("in use by another process", check.stderr)
            s.end(signal.SIGTERM)
        self.assertEqual(verify().returncode, 0)
        for path in (self.directory / "data").rglob("*"):
            if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3":
                whole = path.read_bytes()
                path.write_bytes(whole[:len(whole) // 2] + b"\xff" * (len(whole) - len(whole) // 2))
        check = verify()
        self.assertEqual(check.returncode, 1, check.stdout + check.stderr)
        self.assertIn("finding", check.stdout)

    def test_the_second_signal_ends_at_once(self):
        with Server(self.directory, "--drain-time", "60s") as s:
            port = int(s.otlp.rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port)) as c:
                c.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                          b"Content-Length: 100\r\n\r\n{")  # a request that never ends
                time.sleep(0.2)
                s.process.send_signal(signal.SIGTERM)
                self.next_line(s, "stopping")
                begun = time.monotonic()
                code, _, _ = s.end(signal.SIGTERM)
                self.assertLess(time.monotonic() - begun, 30)  # far from the drain time
                self.assertEqual(code, -signal.SIGTERM)

    def test_requests_under_way_are_answered_while_draining(self):
        with Server(self.directory) as s:
            port = int(s.otlp.rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), timeout=30) as c:
                c.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                          b"Content-Length: %d\r\n\r\n" % len(SPANS) + SPANS[:20])
                time.sleep(0.2)
                s.process.send_signal(signal.SIGTERM)
                self.next_line(s, "stopping")
                time.sleep(0.2)
                c.sendall(SPANS[20:])
                self.assertIn(b"HTTP/1.1 200 ", c.recv(4096))
            self.assertEqual(s.end()[0], 0)
        with Server(self.directory) as s:
            self.assertEqual(request(s.http + "/api/traces/" + TRACE)[0], 200)

    def test_health_watchers_see_the_end(self):
        with Server(self.directory) as s:
            watching = lambda: [l for l in request(s.http + "/metrics")[2].decode().splitlines()
                                if l.startswith("spindle_health_watchers ")][0]
            left = Watch(s.grpc)
            self.assertEqual(left.next(), b"\x08\x01")  # SERVING
            unknown = Watch(s.otlp, b"nobody")
            self.assertEqual(unknown.next(), b"\x08\x03")  # SERVICE_UNKNOWN
            stays = Watch(s.grpc, b"opentelemetry.proto.collector.logs.v1.LogsService")
            self.assertEqual(stays.next(), b"\x08\x01")
            self.assertEqual(watching(), "spindle_health_watchers 3")
            left.close()
            unknown.close()
            deadline = time.monotonic() + 10
            while watching() != "spindle_health_watchers 1" and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(watching(), "spindle_health_watchers 1")
            s.process.send_signal(signal.SIGTERM)
            self.assertEqual(stays.next(), b"\x08\x02")  # NOT_SERVING
            self.assertIsNone(stays.next())
            stays.close()
            begun = time.monotonic()
            self.assertEqual(s.end()[0], 0)
            self.assertLess(time.monotonic() - begun, 30)

    def test_options_come_from_everywhere(self):
        config = self.write("c.yaml", "hold_time: 3s\nthreads: 1\nlog_level: warn\n")
        out = subprocess.run([SPINDLE, "serve", "--print-config", "--config", config, "--threads", "2"],
                             env={**os.environ, "SPINDLE_LOG_LEVEL": "error"}, capture_output=True, text=True)
        self.assertEqual(out.returncode, 0, out.stderr)
        for line in ('hold_time: "3s" # file', "threads: 2 # flag", f"query_threads: {max(2, os.cpu_count())} # default", 'log_level: "error" # environment',
                     'durability: "fsync" # default'):
            self.assertIn(line + "\n", out.stdout)
        again = subprocess.run([SPINDLE, "serve", "--print-config", "--config", self.write("d.yaml", out.stdout)],
                               capture_output=True, text=True)
        strip = lambda text: re.sub(r" # \w+$", "", text, flags=re.M)
        self.assertEqual(strip(again.stdout), strip(out.stdout))

    def test_wrong_paths_and_types_are_told_in_the_senders_encoding(self):
        protobuf, grpc_path = "application/x-protobuf", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        with Server(self.directory) as s:
            for path in ("/v1/traces/", "//v1/traces", "/v1/metrics", "/v1//traces"):
                for kind in (protobuf, "application/json"):
                    status, headers, text = request(s.otlp + path, b"{}", kind=kind)
                    self.assertEqual((status, headers["Content-Type"]), (404, kind), (path, text))
            status, headers, text = request(s.otlp + "/v1/../traces", b"{}", kind=protobuf)
            self.assertEqual((status, headers["Content-Type"], text[:2]), (400, protobuf, b"\x08\x03"))
            status, _, text = request(s.otlp + grpc_path, b"{}", kind="text/plain")
            self.assertEqual(status, 415, text)
            self.assertEqual(request(s.http + "/api/spindle/v1/trace/")[0], 404)

    def test_a_span_at_the_end_of_time_is_not_the_newest(self):
        def newest(s):
            return json.loads(request(s.http + "/api/spindle/v1/meta")[2])["stored"]
        later = SPANS.replace(b"1700000000000000000", str(2**64 - 1).encode())
        began = time.time_ns()
        with Server(self.directory, "--row-group-age", "10ms") as s:
            for groups, (body, is_later) in enumerate(((SPANS, False), (later.replace(TRACE.encode(), b"1" * 32), True)), 1):
                before = time.time_ns()
                self.assertEqual(request(s.otlp + "/v1/traces", body)[0], 200)
                end = time.monotonic() + 60
                while newest(s)["row_groups"] < groups and time.monotonic() < end:
                    time.sleep(0.05)
                start = int(newest(s)["newest_start"])
                if is_later:  # as of when its group was built
                    self.assertTrue(before <= start <= time.time_ns(), (before, start))
                else:
                    self.assertEqual(start, 1700000000000000000)
            s.end(signal.SIGTERM)
        with Server(self.directory) as s:  # which may have merged them
            self.assertTrue(began <= int(newest(s)["newest_start"]) <= time.time_ns())

    def test_metrics_have_each_family_once(self):
        with Server(self.directory) as s:
            request(s.otlp + "/v1/traces", SPANS)
            status, headers, text = request(s.http + "/metrics")
            self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
            lines = text.decode().splitlines()
            families = [l.split()[2] for l in lines if l.startswith("# TYPE ")]
            histograms = [l.split()[2] for l in lines if l.startswith("# TYPE ") and l.endswith(" histogram")]
            self.assertEqual(sorted(families), sorted(set(families)))
            names = set(families) - set(histograms)
            names |= {h + suffix for h in histograms for suffix in ("_bucket", "_sum", "_count")}
            series = [l.rsplit(" ", 1)[0] for l in lines if not l.startswith("#")]
            self.assertEqual(sorted(series), sorted(set(series)))
            for one in series:
                self.assertRegex(one, r'^[a-z][a-z0-9_]*(\{[a-z_]+="[^"\\]*"(,[a-z_]+="[^"\\]*")*\})?$')
                self.assertIn(one.split("{")[0], names)
            self.assertIn('spindle_otlp_items_stored_total{signal="traces"} 1', lines)

    def test_the_front_page_names_the_endpoints(self):
        with Server(self.directory) as s:
            status, headers, text = request(s.http + "/")
            self.assertEqual(status, 200)
            self.assertIn(f"export OTEL_EXPORTER_OTLP_ENDPOINT={s.otlp}\n", text.decode())
            self.assertEqual(text.decode(), s.banner.rstrip("\n") + "\n\n")
            self.assertTrue(headers["Content-Type"].startswith("text/plain"))
        with Server(self.directory, otlp_http="none") as s:
            self.assertIn(f"OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT={s.grpc}\n", s.banner)

    def test_the_front_page_says_less_to_strangers(self):
        tokens = self.write("tokens", f"read:{READER}\n")
        with Server(self.directory, "--auth-token-file", tokens) as s:
            status, _, text = request(s.http + "/")
            self.assertEqual(status, 200)
            self.assertIn("OTEL_EXPORTER_OTLP_ENDPOINT=", text.decode())
            self.assertIn("  data ", s.banner)
            self.assertNotIn("  data ", text.decode())


if __name__ == "__main__":
    unittest.main()
