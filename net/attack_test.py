#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Attacks H1 to H8 on a real server, with a well-behaved client beside them.

Each attack runs for some seconds over several connections, again from the start whenever the server has closed
one. It passes when the server closes attackers within 5 s of their beginning (those that must be), its memory has
grown by no more than 64 MiB, and the client beside them was answered every time.

usage: attack_test.py SERVER [NAME...]     exit status 77: python3-h2 is missing, skip
"""
import os
import socket
import struct
import subprocess
import sys
import threading
import time

try:
    import h2.config
    import h2.connection
    import h2.events
    import hpack
except ImportError:
    print("python3-h2 or python3-hpack is missing")
    sys.exit(77)

SECONDS = float(os.environ.get("ATTACK_SECONDS", "4"))
CONNECTIONS = 4
# Sanitizers keep freed memory back, so that build has a bound of its own.
RSS_MAX = int(os.environ.get("RELAX_RSS_BYTES", "0")) or 64 << 20
CLOSED_WITHIN = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def fields(path="/hello", method="GET", extra=()):
    head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
    return hpack.Encoder().encode(head + list(extra), huffman=False)


POST = fields("/echo", "POST", [("content-type", "text/plain")])
GET = fields()


def h1_rapid_reset(n):
    return frame(HEADERS, 5, n, GET) + frame(RST, 0, n, struct.pack(">I", 8))


def h2_made_you_reset_window(n):
    return frame(HEADERS, 5, n, GET) + frame(WINDOW, 0, n, struct.pack(">I", 0x7FFFFFFF))


def h2_made_you_reset_half_closed(n):
    return frame(HEADERS, 5, n, fields("/later?ms=100")) + frame(DATA, 0, n, b"x")


def h2_made_you_reset_length(n):
    head = fields("/echo", "POST", [("content-type", "text/plain"), ("content-length", "1")])
    return frame(HEADERS, 4, n, head) + frame(DATA, 1, n, b"xyz")


def h3_continuation(n):
    return (frame(HEADERS, 1, n, GET) if n == 1 else b"") + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100) * 4


def h3_continuation_ended(n):
    return frame(HEADERS, 1, n, GET) + frame(CONTINUATION, 0, n) * 20 + frame(CONTINUATION, 4, n)


def h4_bomb_static(n):
    return frame(HEADERS, 5, n, GET + b"\x90" * 8000)  # accept-encoding: gzip, deflate, from the static table


def h4_bomb_dynamic(n):
    first = b"\x40\x01a\x7f\x81\x1e" + b"v" * 4000 if n == 1 else b""  # a field of 4 kB, indexed
    return frame(HEADERS, 5, n, GET + first + b"\xbe" * 4000)


def h4_bomb_cookies(n):
    return frame(HEADERS, 5, n, GET + b"\x0f\x11\x01c" * 3000)  # cookie: c, without indexing


def h5_bomb_held(n):
    """Large answers behind a window of zero, kept alive a byte at a time."""
    if n == 1:
        return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + b"".join(
            frame(HEADERS, 5, i, fields("/big?n=100000")) for i in range(1, 40, 2))
    time.sleep(0.2)
    return b"".join(frame(WINDOW, 0, i, struct.pack(">I", 1)) for i in range(1, 40, 2))


def h6_ping(n):
    return frame(PING, 0, 0, b"12345678") * 50


def h6_settings(n):
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 50


def h6_settings_14000(n):
    return frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535) * 2000) * 7


def h7_empty_data(n):
    return (frame(HEADERS, 4, 1, POST) if n == 1 else b"") + frame(DATA, 0, 1) * 100


def h7_empty_headers(n):
    return frame(HEADERS, 4, n)


def h8_reset_partial(n):
    return frame(HEADERS, 4, n, POST) + frame(DATA, 0, n, b"x" * 1000) + frame(RST, 0, n, struct.pack(">I", 8))


def priority(n):
    return frame(PRIORITY, 0, n, b"\x00\x00\x00\x00\x10") * 50


def unknown_frames(n):
    return frame(0xEE, 0, 0, b"x") * 50


def refused(n):
    return b"".join(frame(HEADERS, 5, n * 20 + i, fields("/none")) for i in range(1, 20, 2))


def window_updates(n):
    return frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 50


ATTACKS = {f.__name__: f for f in (
    h1_rapid_reset, h2_made_you_reset_window, h2_made_you_reset_half_closed, h2_made_you_reset_length,
    h3_continuation, h3_continuation_ended, h4_bomb_static, h4_bomb_dynamic, h4_bomb_cookies, h5_bomb_held,
    h6_ping, h6_settings, h6_settings_14000, h7_empty_data, h7_empty_headers, h8_reset_partial, priority,
    unknown_frames, refused, window_updates)}


class Server:
    def __init__(self, program):
        self.process = subprocess.Popen([program, "--loops", "2", "--stall-ms", "2000"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline().split()[1])

    def rss(self):
        with open("/proc/%d/statm" % self.process.pid) as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        self.process.stdin.close()
        return self.process.wait(20)


def dial(port):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


class Attacker(threading.Thread):
    """Notes the longest life of a connection."""

    def __init__(self, port, attack, until):
        super().__init__()
        self.port, self.attack, self.until = port, attack, until
        self.longest = 0.0
        self.closed = 0

    def run(self):
        while time.time() < self.until:
            began = time.time()
            try:
                self.one()
            except OSError:
                self.closed += 1
            self.longest = max(self.longest, time.time() - began)

    def one(self):
        with dial(self.port) as s:
            s.settimeout(2)
            s.sendall(PREFACE + frame(SETTINGS, 0, 0))
            reader = threading.Thread(target=self.drain, args=(s,), daemon=True)
            if self.attack is not h5_bomb_held:
                reader.start()
            n = 1
            # An attacker that is never closed goes on past the end, to be told from one that is closed late.
            while time.time() < self.until + CLOSED_WITHIN and n < 1 << 28:
                s.sendall(self.attack(n))
                n += 2
                if time.time() > self.until and self.closed > 0:
                    return

    @staticmethod
    def drain(s):
        try:
            while s.recv(65536):
                pass
        except OSError:
            pass


class Neighbour(threading.Thread):
    """One call after the other on one connection."""

    def __init__(self, port, until):
        super().__init__()
        self.port, self.until = port, until
        self.times = []
        self.failed = None

    def run(self):
        try:
            self.calls()
        except Exception as e:  # whatever it is, the neighbour was not served
            self.failed = repr(e)

    def calls(self):
        c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        with dial(self.port) as s:
            s.settimeout(5)
            c.initiate_connection()
            while time.time() < self.until:
                began = time.time()
                i = c.get_next_available_stream_id()
                c.send_headers(i, [(":method", "POST"), (":scheme", "http"), (":path", "/test.Echo/Unary"),
                                   (":authority", "localhost"), ("content-type", "application/grpc"),
                                   ("te", "trailers")])
                c.send_data(i, b"\0\0\0\0\5hello", end_stream=True)
                status = None
                while status is None:
                    s.sendall(c.data_to_send())
                    data = s.recv(65536)
                    if not data:
                        raise EOFError("closed")
                    for event in c.receive_data(data):
                        if isinstance(event, h2.events.TrailersReceived):
                            status = dict(event.headers)["grpc-status"]
                        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                            raise EOFError(repr(event))
                if status != "0":
                    raise ValueError("grpc-status " + status)
                self.times.append(time.time() - began)
                time.sleep(0.005)


def run(program, name):
    server = Server(program)
    before = peak = server.rss()
    until = time.time() + SECONDS
    neighbour = Neighbour(server.port, until)
    attackers = [Attacker(server.port, ATTACKS[name], until) for _ in range(CONNECTIONS)]
    for t in attackers + [neighbour]:
        t.start()
    while any(t.is_alive() for t in attackers + [neighbour]):
        peak = max(peak, server.rss())
        time.sleep(0.05)
    faults = []
    longest = max(a.longest for a in attackers)
    closed = sum(a.closed for a in attackers)
    grown = peak - before
    times = sorted(neighbour.times)
    p99 = times[len(times) * 99 // 100] if times else 0
    if neighbour.failed or not times:
        faults.append("the neighbour was not served: %s" % neighbour.failed)
    if p99 > 0.5:
        faults.append("the neighbour waited")
    if grown > RSS_MAX:
        faults.append("memory grew")
    if closed == 0 or longest > CLOSED_WITHIN:
        faults.append("an attacker was not closed in time")
    status = server.stop()
    if status != 0:
        faults.append("the server ended with %d" % status)
    print("%-32s %5d closed, longest %4.1f s, rss +%5.1f MiB, neighbour %5d calls, p99 %5.1f ms  %s" %
          (name, closed, longest, grown / (1 << 20), len(times), p99 * 1000, "; ".join(faults) or "ok"), flush=True)
    return not faults


if __name__ == "__main__":
    results = [run(sys.argv[1], name) for name in sys.argv[2:] or ATTACKS]
    sys.exit(0 if all(results) else 1)
