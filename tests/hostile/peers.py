# SPDX-License-Identifier: Apache-2.0
"""A well-behaved client in a process of its own, a look at a process' memory, and clients of a lower kind."""
import http.client
import multiprocessing
import random
import socket
import threading
import time

import grpc
import h2.config
import h2.connection
import h2.events
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def small_trace(rng):
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "good"
    trace_id = rng.randbytes(16)
    for i in range(10):
        span = group.scope_spans.add().spans.add(trace_id=trace_id, span_id=rng.randbytes(8), name=f"op-{i}")
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1000
    return trace_id.hex(), request.SerializeToString()


class Good:
    """Keeps three connections (all of loopback counts as one address), sends small traces by HTTP and gRPC, and reads each back, 20 times a second each, until stopped."""

    def __init__(self, server):
        self.stop_event = multiprocessing.Event()
        self.results = multiprocessing.Queue()
        self.process = multiprocessing.Process(target=self.run, daemon=True, args=(server.otlp_port, server.http_port, server.grpc))

    def start(self):
        self.process.start()
        return self

    def run(self, otlp_port, http_port, grpc_address):
        outcomes = []  # (when, kind, ms, fault or None); threads only append
        threads = [threading.Thread(target=f, args=a) for f, a in ((self.by_http, (outcomes, otlp_port, http_port)),
                                                                  (self.by_grpc, (outcomes, grpc_address)))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.results.put(outcomes)

    def timed(self, outcomes, kind, call):
        start = time.monotonic()
        try:
            fault = call()
        except Exception as error:  # whatever happens to a good client is a fault of the server
            fault = repr(error)[:300]
        outcomes.append((time.time(), kind, (time.monotonic() - start) * 1000, fault))
        self.stop_event.wait(0.04)

    def by_http(self, outcomes, otlp_port, http_port):
        rng = random.Random(1)
        otlp = http.client.HTTPConnection("127.0.0.1", otlp_port, timeout=15)
        query = http.client.HTTPConnection("127.0.0.1", http_port, timeout=15)

        def ask(connection, method, path, body=None, headers=None):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
            return None if answer.status == 200 else f"{method} {path}: {answer.status} {text[:200]!r}"

        def query_once_more(path):
            """A question that is refused for the moment is asked again, once, when the answer says so."""
            fault = ask(query, "GET", path)
            if fault is not None and ": 503 " in fault:
                time.sleep(1)
                fault = ask(query, "GET", path)
            return fault

        while not self.stop_event.is_set():
            trace_id, body = small_trace(rng)
            self.timed(outcomes, "http", lambda: ask(otlp, "POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"}))
            self.timed(outcomes, "query", lambda: query_once_more(f"/api/spindle/v1/trace/{trace_id}"))

    def by_grpc(self, outcomes, address):
        rng = random.Random(2)
        channel = grpc.insecure_channel(address)
        call = channel.unary_unary(EXPORT)
        while not self.stop_event.is_set():
            _, body = small_trace(rng)
            self.timed(outcomes, "grpc", lambda: None if call(body, timeout=15) == b"" else "partial success")
        channel.close()

    def stop(self):
        """All outcomes."""
        self.stop_event.set()
        outcomes = self.results.get(timeout=60)
        self.process.join(20)
        return outcomes


class Memory(threading.Thread):
    """The resident set of a process, looked at fifty times a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.peaks, self.phase, self.ended = pid, 0, {}, "start", False

    def run(self):
        while not self.ended:
            try:
                with open(f"/proc/{self.pid}/statm") as file:
                    now = int(file.read().split()[1]) * 4096
            except (OSError, IndexError):
                return
            self.peak = max(self.peak, now)
            self.peaks[self.phase] = max(self.peaks.get(self.phase, 0), now)
            time.sleep(0.02)

    def highest(self):
        """The kernel's own high-water mark."""
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def read_answer(sock, seconds=20):
    """(status, bytes) of an HTTP/1.1 answer, or (None, what came)."""
    sock.settimeout(seconds)
    data = b""
    try:
        while True:
            chunk = sock.recv(65536)
            if not chunk:
                break
            data += chunk
            if b"\r\n\r\n" in data and (b"Content-Length: 0\r\n" in data or b"content-length: 0\r\n" in data):
                break
    except OSError:
        pass
    return (int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.1 ") else None), data


def http_exchange(port, path, body, headers, host="localhost"):
    """One request on a connection of its own; reads the answer although sending was cut short."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{k}: {v}" for k, v in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sent = threading.Thread(target=send_quietly, args=(sock, "\r\n".join(lines).encode() + b"\r\n\r\n", body), daemon=True)
        sent.start()
        answer = read_answer(sock)
    sent.join(30)
    return answer


def send_quietly(sock, head, body):
    try:
        sock.sendall(head)
        sock.sendall(body)
    except OSError:
        pass


def grpc_exchange(port, message, encoding=None, path=EXPORT):
    """(grpc-status, all trailers) of a unary call with a body compressed by ourselves."""
    body = bytes([1 if encoding else 0]) + len(message).to_bytes(4, "big") + message
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        conn = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        conn.initiate_connection()
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"),
                  ("content-type", "application/grpc"), ("te", "trailers")]
        conn.send_headers(1, fields + ([("grpc-encoding", encoding)] if encoding else []))
        at, ended, fields = 0, False, {}
        try:
            while True:
                while not ended and at < len(body) and conn.local_flow_control_window(1) > 0:
                    size = min(conn.local_flow_control_window(1), conn.max_outbound_frame_size, len(body) - at)
                    conn.send_data(1, body[at:at + size], end_stream=at + size == len(body))
                    at += size
                sock.sendall(conn.data_to_send())
                data = sock.recv(65536)
                if not data:
                    return fields.get("grpc-status"), fields
                for event in conn.receive_data(data):
                    if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                        fields.update(dict(event.headers))
                    if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                        ended = True
                        return fields.get("grpc-status"), fields
        except OSError as error:
            fields["error"] = repr(error)
            return fields.get("grpc-status"), fields


def in_parallel(count, call):
    """The results of call(i), each in a thread of its own."""
    results = [None] * count

    def one(i):
        try:
            results[i] = call(i)
        except Exception as error:
            results[i] = repr(error)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


