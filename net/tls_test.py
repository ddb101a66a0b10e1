#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS of a real server: ALPN, versions, client certificates, reloading, and plain text on its port. Certificates are
made by openssl at the time of the test.

usage: tls_test.py SERVER     exit status 77: openssl or python3-h2 is missing, skip
"""
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import warnings

try:
    import h2.config
    import h2.connection
    import h2.events
except ImportError:
    print("python3-h2 is missing")
    sys.exit(77)
if shutil.which("openssl") is None:
    print("openssl is missing")
    sys.exit(77)

warnings.simplefilter("ignore", DeprecationWarning)  # of asking for TLS 1.1
folder = tempfile.mkdtemp()


def path(name):
    return os.path.join(folder, name)


def make(name, common_name, ca=None):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "2", "-subj", "/CN=" + common_name, "-addext", "subjectAltName=DNS:localhost", "-keyout",
               path(name + ".key"), "-out", path(name + ".pem")]
    if ca:
        command += ["-CA", path(ca + ".pem"), "-CAkey", path(ca + ".key")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def serve(*options):
    p = subprocess.Popen([sys.argv[1], "--cert", path("server.pem"), "--key", path("server.key"), *options],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    return p, int(p.stdout.readline().split()[1])


def end(p):
    p.stdin.close()
    assert p.wait(20) == 0, "the server did not end well"


def context(alpn=(), ca="server", cert=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.load_verify_locations(path(ca + ".pem"))
    if alpn:
        c.set_alpn_protocols(list(alpn))
    if cert:
        c.load_cert_chain(path(cert + ".pem"), path(cert + ".key"))
    return c


def dial(port, c):
    raw = socket.create_connection(("127.0.0.1", port), 5)
    return c.wrap_socket(raw, server_hostname="localhost")


def http1(s, body=b"hello"):
    s.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
              % len(body) + body)
    got = b""
    while b"\r\n\r\n" not in got or len(got.split(b"\r\n\r\n", 1)[1]) < len(body):
        part = s.recv(65536)
        assert part, "closed"
        got += part
    assert got.startswith(b"HTTP/1.1 200") and got.endswith(body), got[:100]


def http2(s, body=b"\0\0\0\0\5hello"):
    c = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    c.initiate_connection()
    c.increment_flow_control_window(1 << 24)
    c.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/test.Echo/Unary"),
                       (":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")])
    sent, got = 0, b""
    while True:
        while sent < len(body):
            n = min(c.local_flow_control_window(1), c.max_outbound_frame_size, len(body) - sent)
            if n <= 0:
                break
            c.send_data(1, body[sent:sent + n], end_stream=sent + n == len(body))
            sent += n
        s.sendall(c.data_to_send())
        data = s.recv(65536)
        assert data, "closed"
        for event in c.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                got += event.data
                c.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, h2.events.TrailersReceived):
                assert dict(event.headers)["grpc-status"] == "0"
            elif isinstance(event, h2.events.StreamEnded):
                assert got == body
                return
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise AssertionError(repr(event))


def refused(what, f):
    try:
        f()
    except (ssl.SSLError, OSError, AssertionError):
        return
    raise AssertionError(what + " was let in")


def protocols():
    p, port = serve()
    large = bytes(range(256)) * 3000
    with dial(port, context(["http/1.1"])) as s:
        assert s.selected_alpn_protocol() == "http/1.1"
        http1(s)
        http1(s, large)
    with dial(port, context()) as s:  # no ALPN: told by the first bytes
        http1(s)
    with dial(port, context(["h2", "http/1.1"])) as s:
        assert s.selected_alpn_protocol() == "h2" and s.version() == "TLSv1.3"
        http2(s)
    with dial(port, context(["h2"])) as s:
        http2(s, b"\0" + len(large * 5).to_bytes(4, "big") + large * 5)
    c = context(["h2"])
    c.maximum_version = ssl.TLSVersion.TLSv1_2
    with dial(port, c) as s:
        assert s.version() == "TLSv1.2"
        http2(s)
    refused("a foreign protocol", lambda: http1(dial(port, context(["spdy/3"]))))
    c = context()
    c.minimum_version = ssl.TLSVersion.TLSv1
    c.maximum_version = ssl.TLSVersion.TLSv1_1
    refused("TLS 1.1", lambda: dial(port, c))
    refused("plain text", lambda: http1(socket.create_connection(("127.0.0.1", port), 5)))
    with dial(port, context()) as s:
        http1(s)
    end(p)


def client_certificates():
    p, port = serve("--ca", path("ca.pem"))
    with dial(port, context(["h2"], cert="client")) as s:
        http2(s)
    refused("nobody", lambda: http1(dial(port, context())))
    refused("a stranger", lambda: http1(dial(port, context(cert="stranger"))))
    end(p)


def reloading():
    p, port = serve()
    old = dial(port, context())
    http1(old)
    make("server", "second")

    def reload():
        p.stdin.write(b"r")
        p.stdin.flush()
        return p.stdout.readline()

    assert b"no error" in reload()
    http1(old)  # the connection from before lives on
    with dial(port, context()) as s:  # context() trusts the new one alone
        http1(s)
    with open(path("server.pem"), "w") as f:
        f.write("nonsense")
    assert b"no error" not in reload()
    shutil.copy(path("server.key"), path("kept.key"))
    raw = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    raw.check_hostname = False
    raw.verify_mode = ssl.CERT_NONE
    with dial(port, raw) as s:  # and the good one stays in use
        http1(s)
    old.close()
    end(p)


try:
    make("server", "localhost")
    make("ca", "ca")
    make("client", "client", "ca")
    make("stranger", "stranger")
    protocols()
    client_certificates()
    reloading()
    print("TLS: ok")
finally:
    shutil.rmtree(folder)
