# SPDX-License-Identifier: Apache-2.0
"""Tokens and TLS through curl and grpcio: who may do what, and that SIGHUP changes it."""
import random
import signal
import subprocess
import time

import grpc
import peers
from lib.spindle import Server

WRITE, READ, BOTH, NEW = "write-4f9a0c2e71d35b68", "read-8b1d6e3f5a7c9024", "both-2c7e9f1a3b5d8046", "new-70f3e1d9c8b6a452"
WRONG = "wrong-0000000000000000"


def until(call, seconds=5):
    """Whether call() came true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if call():
            return True
        time.sleep(0.02)
    return False


def export_code(channel, token):
    _, body = peers.small_trace(random.Random(time.time_ns()))
    try:
        channel.unary_unary(peers.EXPORT)(body, timeout=10, metadata=(("authorization", "Bearer " + token),) if token else ())
        return "OK"
    except grpc.RpcError as error:
        return error.code().name


def tokens(report):
    server = Server(options=["--log-level", "info"])
    file = server.data / "tokens"
    file.write_text(f"write:{WRITE}\nread:{READ}\nread,write:{BOTH}\n")
    server.options += ["--auth-token-file", str(file)]
    try:
        server.start()
        channel = grpc.insecure_channel(server.grpc)
        scopes = {None: "", WRONG: "", WRITE: "w", READ: "r", BOTH: "rw"}
        wrong, cells = [], 0
        for token, may in scopes.items():
            bearer = {"Authorization": "Bearer " + token} if token else {}

            def status(scope):
                return 200 if scope in may else 403 if may else 401
            wanted = {"OK": "OK", 200: "OK", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[status("w")]
            got = {"gRPC export": (export_code(channel, token), wanted)}
            for path in ("/v1/traces", "/v1/logs"):
                got["POST " + path] = (server.post(path, b"{}", "application/json", headers=bearer)[0], status("w"))
            for path in ("/api/spindle/v1/services", "/api/spindle/v1/traces", "/api/services", "/api/v3/services", "/metrics", "/health"):
                got["GET " + path] = (server.get(path, headers=bearer)[0], status("r"))
            for path in ("/health/live", "/health/ready", "/"):
                got["GET " + path] = (server.get(path, headers=bearer)[0], 200)
            cells += len(got)
            wrong += [f"{(token or 'none').split('-')[0]}: {what}: wanted {want}, got {have}" for what, (have, want) in got.items() if have != want]
        report.check("tokens: each may do what its scope says", not wrong, "; ".join(wrong[:4]) or f"{cells} cells")

        file.write_text(f"read,write:{NEW}\n")
        server.process.send_signal(signal.SIGHUP)
        taken = until(lambda: server.get("/api/services", headers={"Authorization": "Bearer " + NEW})[0] == 200)
        codes = [export_code(channel, t) for t in (WRITE, NEW)]
        report.check("SIGHUP takes new tokens, and old ones away, on the same connection", taken and codes == ["UNAUTHENTICATED", "OK"], str(codes))
        file.write_text("nonsense\n")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        report.check("a broken file changes nothing", export_code(channel, NEW) == "OK" and server.process.poll() is None)
        channel.close()
        # No body byte is wanted of somebody who may not write: the refusal comes before it.
        answer = peers.http_exchange(server.otlp_port, "/v1/traces", b"", {"Content-Type": "application/json", "Expect": "100-continue", "Authorization": "Bearer " + WRONG})
        report.check("a stranger is refused from the head alone", answer[0] == 401, str(answer[1][:100]))
        server.stop()
        log = (server.data.parent / (server.data.name + ".log")).read_text(errors="replace")
        data = b"".join(f.read_bytes() for f in (server.data / "data").iterdir())
        shown = [t for t in (WRITE, READ, BOTH, NEW, WRONG) if t in log or t.encode() in data]
        report.check("no token in the log or the data", not shown, str(shown))
    finally:
        server.close()


def certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
                   check=True, capture_output=True)


def tls(report):
    server = Server(options=["--log-level", "info"])
    certificate(server.data, "first")
    cert = server.data / "cert.pem"
    server.options += ["--tls-cert", str(cert), "--tls-key", str(server.data / "key.pem")]

    def curl(*options, url):
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{http_version}", "--max-time", "10", "--cacert", str(cert), *options, url],
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else f"curl {done.returncode}"

    live = f"https://127.0.0.1:{server.http_port}/health/live"
    otlp = f"https://localhost:{server.otlp_port}/v1/traces"
    try:
        server.start(wait=False)
        report.check("curl speaks TLS with it", until(lambda: curl("--http1.1", url=live) == "200 1.1", 20), curl(url=live))
        post = ["-H", "Content-Type: application/json", "-d", "{}"]
        got = {"HTTP/2": curl("--http2", *post, url=otlp), "HTTP/1.1": curl("--http1.1", *post, url=otlp),
               "TLS 1.2": curl("--tls-max", "1.2", *post, url=otlp), "TLS 1.3": curl("--tlsv1.3", *post, url=otlp)}
        report.check("curl exports by each protocol", all(v.startswith("200 ") for v in got.values()) and got["HTTP/2"] == "200 2", str(got))
        got = {"TLS 1.1": curl("--tls-max", "1.1", url=live), "plain text": curl(url=live.replace("https", "http")),
               "another CA": subprocess.run(["curl", "-s", "--max-time", "10", live], capture_output=True).returncode}
        report.check("old, plain and unknown are refused", got["TLS 1.1"].startswith("curl ") and not got["plain text"].startswith("200") and got["another CA"] == 60, str(got))

        def channel():
            return grpc.secure_channel(f"localhost:{server.grpc_port}", grpc.ssl_channel_credentials(cert.read_bytes()))
        old = channel()
        report.check("grpcio exports over TLS", export_code(old, None) == "OK")
        before = cert.read_bytes()
        certificate(server.data, "second")
        report.check("control: the certificate in use is still the first", curl(url=live).startswith("curl 60"), curl(url=live))
        server.process.send_signal(signal.SIGHUP)
        report.check("SIGHUP takes the new certificate", until(lambda: curl(url=live).startswith("200")) and before != cert.read_bytes(), curl(url=live))
        new = channel()
        codes = [export_code(old, None), export_code(new, None)]
        report.check("the connection of before goes on, and a new one is made", codes == ["OK", "OK"], str(codes))
        old.close()
        new.close()
        report.check("it ends with 0", server.stop() == 0)
    finally:
        server.close()
