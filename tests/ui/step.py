#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The web page: types, modules, sizes, how it is served, and a real browser before a real server.

The browser is Chromium. The server is the release, on free ports, fed by `spindle demo`; it begins empty, so that the
first run is seen as well. `--shots DIR` writes pictures of every page there (docs/images is made so) instead of
build/ui-shots; `--only PHASE,...` runs some of: static, serving, empty, minute,
full, states, sdk, canned, budgets, axe, layout, tokens, hostile, shots. `--places NAME,...` takes pictures of some pages only.
"""
import argparse
import contextlib
import filecmp
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.spindle import ROOT, Report, Server, binary, venv  # noqa: E402

PAGE = ROOT / "ui-static"
READER, WRITER = "reader-token-0123456789", "writer-token-0123456789"
# What may be loaded, in bytes after gzip: at first, by one page more, by everything.
FIRST_MAX, LAZY_MAX, CHARTS_MAX, ALL_MAX = 75_000, 30_000, 26_000, 190_000
DEMO_S = 25  # traffic before pages are looked at
HEADERS = {
    "content-security-policy": r"default-src 'none'; script-src 'self'; .*frame-ancestors 'none'.*require-trusted-types-for 'script'; trusted-types spindle$",
    "x-content-type-options": r"nosniff$",
    "referrer-policy": r"no-referrer$",
    "cross-origin-opener-policy": r"same-origin$",
    "cross-origin-resource-policy": r"same-origin$",
}


def run(command, timeout, **options):
    return subprocess.run(command, cwd=PAGE, capture_output=True, text=True, timeout=timeout, **options)


def static(report):
    """Types, modules' tests, the same bytes from the same sources, sizes."""
    types = run(["node_modules/.bin/tsc", "--noEmit"], 600)
    report.check("types", types.returncode == 0, types.stdout[:500])
    units = run(["node", "--test", "--test-reporter=tap", *map(str, sorted((PAGE / "test/unit").glob("*.test.mjs")))], 900)
    counts = {word: int(n) for word, n in re.findall(r"^# (pass|fail) (\d+)$", units.stdout, re.M)}
    broken = re.findall(r"^\s*not ok \d+ - (.*)$", units.stdout, re.M)
    report.check("modules", units.returncode == 0 and counts.get("pass", 0) > 50, f"{counts.get('pass', 0)} tests" if units.returncode == 0 else "; ".join(broken[:5]) or units.stderr[-500:])
    with tempfile.TemporaryDirectory() as scratch:
        outs = [pathlib.Path(scratch) / name for name in ("one", "two")]
        for out in outs:
            build = run(["node", "build.mjs", "--out", str(out)], 600)
            if not report.check("bundle", build.returncode == 0, build.stderr[-500:]):
                return
        same = all(filecmp.cmp(f, outs[1] / f.relative_to(outs[0]), shallow=False) for f in outs[0].rglob("*") if f.is_file())
        report.check("the same sources give the same bytes", same)
        sizes(report, outs[0])
        licences = (outs[0] / "THIRD-PARTY.txt").read_text()
        report.check("licences of what is shipped are kept", all(f"---- {name} " in licences for name in ("preact", "@preact/signals")))


def sizes(report, out):
    graph = json.loads((out / "graph.json").read_text())
    size = {f["path"]: f["gzip"] for f in json.loads((out / "manifest.json").read_text())}

    def closure(path):
        seen, todo = set(), [path]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += graph.get(at, {"imports": []})["imports"]
        return seen

    main = next(p for p, o in graph.items() if o["entry"] == "src/main.tsx")
    map_page = next(p for p, o in graph.items() if o["entry"] == "src/map/page.tsx")
    style = [p for p in size if p.endswith(".css")]
    first = closure(main) | closure(map_page) | set(style) | {"index.html"}
    total = sum(size[p] for p in first)
    report.check("first load, the map with it", total <= FIRST_MAX, f"{total:,} of {FIRST_MAX:,} bytes")
    for path, output in graph.items():
        if output["entry"].endswith(("page.tsx", "service.tsx", "finder.tsx")):
            more = closure(path) - first
            most = LAZY_MAX + (CHARTS_MAX if any("uplot" in graph[p]["packages"] for p in more) else 0)
            total = sum(size[p] for p in more)
            report.check(f"{output['entry']} loads more", total <= most, f"{total:,} of {most:,} bytes")
    report.check("everything", sum(size.values()) <= ALL_MAX, f"{sum(size.values()):,} of {ALL_MAX:,} bytes")


def serving(report, server):
    """Headers, caching, compression, and which address gets what."""
    import urllib.error
    import urllib.request

    def ask(path, **headers):
        request = urllib.request.Request(server.http + path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        try:
            answer = urllib.request.urlopen(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()

    def guarded(headers):
        return [name for name, value in HEADERS.items() if not re.match(value, headers.get(name, ""))]

    status, headers, document = ask("/", Accept="text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
    report.check("the document", status == 200 and headers["content-type"].startswith("text/html") and headers["cache-control"] == "no-cache", headers["cache-control"])
    report.check("the document is guarded", not guarded(headers), ", ".join(guarded(headers)))
    assets = re.findall(rb'(?:src|href)="(assets/[^"]+)"', document)
    report.check("nothing in it is inline, all of it is relative", len(assets) >= 3 and b"<style" not in document and b"style=" not in document and document.count(b"<script") == 1 and b"{{" not in document)
    for path, steps in (("/services", 0), ("/trace/0123", 1), ("/services/a%2Fb", 1), ("/a/b/c", 2), ("/services/%3Cscript%3E?q=%3Cscript%3E", 1)):
        deep = ask(path, Accept="text/html")
        report.check(f"{path} gets the document, {steps} steps down", deep[0] == 200 and deep[2] == document.replace(b'"assets/', b'"' + b"../" * steps + b"assets/"))
    report.check("not asked for text/html: 404, and text at /", ask("/services")[0] == 404 and ask("/services", Accept="text/html;q=0")[0] == 404 and ask("/")[1]["content-type"].startswith("text/plain"))
    report.check("an unknown call of the API is no page", ask("/api/spindle/v1/nope", Accept="text/html")[0] == 404 and ask("/assets/nope.js", Accept="text/html")[0] == 404)
    report.check("the document by its ETag", ask("/", Accept="text/html", If_None_Match=headers["etag"])[0] == 304 and ask("/", Accept="text/html", If_None_Match='"x"')[0] == 200)
    for asset in map(bytes.decode, assets):
        _, head, packed = ask("/" + asset, Accept_Encoding="gzip")
        _, plain_head, plain = ask("/" + asset)
        report.check(f"{asset.rsplit('.')[-1]}: immutable, guarded, the same packed and plain",
                     "immutable" in head["cache-control"] and not guarded(head) and head["content-encoding"] == "gzip" and "content-encoding" not in plain_head
                     and gzip.decompress(packed) == plain and head["vary"] == "accept-encoding"
                     and ask("/" + asset, If_None_Match=head["etag"])[0] == 304)
    outside = [p for p in ("/assets/../secret", "/assets/%2e%2e/x", "/assets/..%2f..%2fetc%2fpasswd", "/assets//x") if ask(p)[0] not in (400, 404)]
    report.check("nothing outside the page's files", not outside, ", ".join(outside))
    resident = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{server.process.pid}/status").read_text())[1])
    report.check("resident memory of an idle server that has given the page", resident <= 16 * 1024, f"{resident} KiB of 16 MiB")


def browser(report, phase, timeout=600, **options):
    """A phase of test/e2e/run.mjs; its lines become ours."""
    try:
        done = run(["node", "test/e2e/run.mjs", phase, json.dumps(options)], timeout)
        output, ended = done.stdout, done.returncode in (0, 1)
        detail = done.stderr[-400:]
    except subprocess.TimeoutExpired as late:
        output, ended, detail = (late.stdout or b"").decode(), False, f"no end after {timeout} s"
    lines = re.findall(r"^(ok  |FAIL) (.*)$", output, re.M)
    for name, why in re.findall(r"^skip ([^:]*): (.*)$", output, re.M):
        report.skip(name, why)
    for verdict, text in lines:
        name, _, why = text.partition(": ") if not text.startswith(("axe: ", "layout: ", "hostile strings: ")) else re.match(r"(\w[\w ]*: [^:]*(?:: [^:]*)?)(: |$)(.*)", text).groups()
        report.check(name, verdict == "ok  ", why)
    if not lines or not ended:
        report.check(f"{phase}: ends", False, detail)


@contextlib.contextmanager
def defective_page(server):
    """A build with one innerHTML, before the same server."""
    with tempfile.TemporaryDirectory() as scratch:
        run(["node", "build.mjs", "--defect", "html", "--out", scratch], 600, check=True)
        process = subprocess.Popen(["node", "test/serve.mjs", "--dist", scratch, "--api", server.http], cwd=PAGE, stdout=subprocess.PIPE, text=True)
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait()


def live(report, wanted, shots, places):
    """One server from its first span on."""
    folder = pathlib.Path(shots or ROOT / "build" / "ui-shots")
    with tempfile.TemporaryDirectory() as scratch, Server() as server:
        base = server.http + "/"
        pid_file = pathlib.Path(scratch) / "demo.pid"
        demo = [str(binary()), "demo", "--endpoint", server.grpc, "--rate", "6", "--duration", "30m"]
        if "serving" in wanted:
            serving(report, server)
        if "shots" in wanted:
            browser(report, "shots", base=base, which="empty", folder=str(folder), **places)
        for phase in ("axe", "layout"):
            if phase in wanted:
                browser(report, phase, base=base, which="empty")
        try:
            began = time.monotonic()
            if "empty" in wanted:
                browser(report, "empty", base=base, demo=demo, pidFile=str(pid_file))
            if not pid_file.exists():
                pid_file.write_text(str(subprocess.Popen(demo, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True).pid))
            time.sleep(max(0, DEMO_S - (time.monotonic() - began)))
            if "states" in wanted:
                browser(report, "states", base=base, otlp=server.otlp, folder=str(ROOT / "build" / "ui-states"))
            for phase in ("full", "axe", "layout", "shots"):
                if phase in wanted:
                    browser(report, phase, timeout=1800, base=base, which="full", folder=str(folder), **places)
        finally:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGTERM)


def first_minute(report):
    """What `scripts/run --demo` does once it has built: a server, a demo, and somebody who opens the page."""
    began_ms = round(time.time() * 1000)
    with Server() as server:
        demo = subprocess.Popen([str(binary()), "demo", "--endpoint", server.grpc], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            browser(report, "minute", base=server.http + "/", began_ms=began_ms)
        finally:
            demo.terminate()
            demo.wait()


def with_sdk(report):
    """What a stock SDK has sent, as the page shows it."""
    client = ROOT / "tests" / "clients" / "python"
    try:
        python = venv("clients", client / "requirements.txt")
    except subprocess.CalledProcessError as error:
        report.skip("a stock SDK", f"it could not be installed: {error}")
        return
    with Server() as server:
        sent = json.loads(subprocess.run([str(python), str(client / "client.py"), "http", server.otlp], capture_output=True, text=True, timeout=120, check=True).stdout)
        browser(report, "sdk", base=server.http + "/", sent=sent)


def with_canned(report):
    """The map and the services before a server of seeded answers: large systems, rare states."""
    with tempfile.TemporaryDirectory() as scratch:
        run(["node", "build.mjs", "--out", scratch], 600, check=True)
        browser(report, "canned", timeout=900, dist=scratch)


def with_large_data(report):
    with tempfile.TemporaryDirectory() as scratch, Server() as server:
        run(["node", "build.mjs", "--out", scratch], 600, check=True)
        browser(report, "budgets", timeout=900, dist=scratch, base=server.http + "/", otlp=server.otlp, pid=server.process.pid)


def with_tokens(report):
    with tempfile.TemporaryDirectory() as scratch:
        file = pathlib.Path(scratch) / "tokens"
        file.write_text(f"read:{READER}\nwrite:{WRITER}\n")
        file.chmod(0o600)
        with Server(options=["--auth-token-file", str(file)]) as server:
            browser(report, "tokens", base=server.http + "/", reader=READER, writer=WRITER)


def with_strangers(report):
    with Server() as server, defective_page(server) as defective:
        browser(report, "hostile", timeout=900, base=server.http + "/", otlp=server.otlp, defective=defective)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="pictures too")
    parser.add_argument("--shots", help="write pictures of every page into this folder")
    parser.add_argument("--places", help="names of pages to take pictures of; all when absent")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    phases = ["static", "serving", "empty", "minute", "full", "states", "sdk", "canned", "budgets", "axe", "layout", "tokens", "hostile"] + (["shots"] if options.long or options.shots else [])
    wanted = [p for p in options.only.split(",") if p] or phases
    report = Report()
    if not shutil.which("node") or not shutil.which("npm"):
        report.skip("the web page", "Node.js and npm are not installed")
        report.end()
    if not (PAGE / "node_modules" / ".package-lock.json").exists():
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], 600, check=True)
    if "static" in wanted:
        static(report)
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        report.skip("the page in a browser", "Chromium is not installed")
        report.end()
    if set(wanted) & {"serving", "empty", "full", "states", "axe", "layout", "shots"}:
        live(report, wanted, options.shots, {} if options.places is None else {"places": options.places})
    if "minute" in wanted:
        first_minute(report)
    if "sdk" in wanted:
        with_sdk(report)
    if "canned" in wanted:
        with_canned(report)
    if "budgets" in wanted:
        with_large_data(report)
    if "tokens" in wanted:
        with_tokens(report)
    if "hostile" in wanted:
        with_strangers(report)
    report.end()


if __name__ == "__main__":
    main()
