#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Numbers and map against the truth: for random systems, whatever the order, the batches, the doubles and the crashes.

Each case is a random system in a window of time of its own. Its requests go out shuffled, mixed with those of other cases,
some twice, some late; the server is killed meanwhile, at random moments and at named points of its own code. In the end
/services, /operations and /map say for each window what truth.py computes from the telemetry: calls, errors, time, edges
and halves without a partner exactly, percentiles within the bound that the answer states.

The demo's own book of what it sent has to agree as well.

The checker itself is checked: a truth with one span less, one counted twice, or one edge of another must be refused.

  step.py [--cases N] [--seed N] [--preset NAME] [--long]
"""
import argparse
import collections
import concurrent.futures
import copy
import http.client
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
from lib.spindle import Report, Server, binary  # noqa: E402
from topology import WINDOW_NS, Case  # noqa: E402
from truth import BOUND, Truth  # noqa: E402

MINUTE_NS = 60_000_000_000
PATIENCE_S = 15  # a half that came less than this ago is in no answer; counted in whole seconds, so up to one more
POINTS = ["group_committed", "group_visible", "build_begun", "retire_begun", "retire_group_written", "retire_committed", "retire_visible",
          "build_finished"]
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
API = "/api/spindle/v1"


# ---- Sending ----

class Sender:
    """Sends from several threads; what was not acknowledged before a crash is sent again after it."""

    def __init__(self, server):
        self.server = server
        self.local = threading.local()

    def post(self, request):
        """True when acknowledged."""
        body = json.dumps(request).encode()
        for _ in range(2):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = self.local.connection = http.client.HTTPConnection("127.0.0.1", self.server.otlp_port, timeout=30)
            try:
                connection.request("POST", "/v1/traces", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = answer.read()
                if answer.status == 200:
                    assert not json.loads(said).get("partialSuccess"), said
                    return True
                if answer.status not in (429, 503):
                    raise RuntimeError(f"POST: {answer.status} {said[:300]!r}")
                time.sleep(0.1)
            except (OSError, http.client.HTTPException):
                self.local.connection = None
        return False

    def send(self, requests):
        """Those that were not acknowledged."""
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return [r for r, ok in zip(requests, pool.map(self.post, requests)) if not ok]


def crash_while_sending(server, sender, requests, rng, point):
    """Send until it dies, start it again, and go on until all is acknowledged. The number of crashes."""
    crashes = 0
    if point is None:
        timer = threading.Timer(rng.random() * 0.4, server.process.kill)
        timer.start()
        requests = sender.send(requests)
        timer.join()
        server.process.wait()
    else:
        server.kill()
        server.start(env={"SPINDLE_CRASH_AT": f"{point}:{rng.randrange(1, 4)}"})
        requests = sender.send(requests)
        end = time.monotonic() + 2  # points of building come a little after the acknowledgement
        while server.process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        server.kill()
    crashes += 1
    server.start()
    while requests:
        requests = sender.send(requests)
    return crashes


def settle(server):
    """Until everything is in row groups: from then on a span that came twice counts once."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if server.json(API + "/meta")["stored"]["journal_items"] == 0:
            return
        time.sleep(0.2)
    raise RuntimeError("the journal does not empty")


# ---- Comparing ----

class Differences(list):
    def equal(self, what, have, wanted):
        if have != wanted:
            self.append(f"{what}: {have}, truth: {wanted}")

    def percentiles(self, what, row, durations, count, bound):
        self.equal(f"{what}: values behind the percentiles", count, len(durations))
        if not durations or bound > BOUND:
            self.equal(f"{what}: bound", bound <= BOUND, True)
            return
        durations = sorted(durations)
        for name, q in PERCENTILES.items():
            exact = durations[max(1, -int(-q * len(durations) // 1)) - 1]
            if row[name] is None or abs(row[name] - exact) > bound * exact + 1:
                self.append(f"{what}: {name} {row[name]}, truth: {exact}")


def compare_services(found, answer, truth):
    rows = {(r["ns"], r["name"]): r for r in answer["rows"] if r["count"]}
    found.equal("services", sorted(rows), sorted(truth.services))
    for key in rows.keys() & truth.services.keys():
        row, n, what = rows[key], truth.services[key], f"service {key}"
        found.equal(f"{what}: calls", row["count"], n.calls)
        found.equal(f"{what}: errors", row["errors"], n.errors)
        found.equal(f"{what}: basis", row["basis"], truth.basis[key])
        rate = n.weight / answer["window_s"]
        if abs(row.get("est_rate", row["rate"]) - rate) > 1e-4 * rate:
            found.append(f"{what}: estimated rate {row.get('est_rate', row['rate'])}, truth: {rate}")
        found.percentiles(what, row, n.durations, row["count"], answer["bound"])


def compare_operations(found, answer, truth, service):
    rows = {(r["name"], r["kind"]): r for r in answer["rows"]}
    wanted = {key[2:]: n for key, n in truth.operations.items() if key[:2] == service}
    found.equal(f"operations of {service}", sorted(rows), sorted(wanted))
    for key in rows.keys() & wanted.keys():
        row, n, what = rows[key], wanted[key], f"operation {service} {key}"
        found.equal(f"{what}: calls", row["count"], n.calls)
        found.equal(f"{what}: errors", row["errors"], n.errors)
        found.equal(f"{what}: time", row["time"], n.time)
        found.percentiles(what, row, n.durations, row["count"], answer["bound"])


def node_key(node):
    return (node["kind"], node.get("ns", ""), node["name"], node.get("system", ""))


def compare_edge(found, what, row, edge, bound):
    found.equal(f"{what}: calls", row["count"], edge.calls)
    found.equal(f"{what}: errors", row["errors"], edge.errors)
    found.equal(f"{what}: side", row["side"], "client" if edge.client else "server")
    found.percentiles(what, row, edge.client or edge.server, row["n"], bound)
    if edge.client and edge.server:
        found.percentiles(f"{what}, server", row["server"], edge.server, row["server"]["n"], bound)


def compare_map(found, answer, truth):
    nodes = [node_key(n) for n in answer["nodes"]]
    rows = {(nodes[e["s"]], nodes[e["t"]], e["type"]): e for e in answer["edges"]}
    found.equal("edges, each once", len(rows), len(answer["edges"]))
    # Behind a named queue a pair of producer and consumer is no edge of the map.
    wanted = {key[:3]: edge for key, edge in truth.edges.items() if not key[3]}
    found.equal("edges", sorted(rows), sorted(wanted))
    for key in rows.keys() & wanted.keys():
        compare_edge(found, f"edge {key}", rows[key], wanted[key], answer["bound"])
    gaps = {(nodes[g["s"]], g["why"]): g["count"] for g in answer["gaps"]}
    found.equal("gaps", gaps, dict(truth.gaps))
    there = {("service", *key, "") for key in truth.services}
    for key in wanted:
        there.update(key[:2])
    there.update(node for node, _ in truth.gaps)
    found.equal("nodes", sorted(nodes), sorted(there))


def compare_dependencies(found, answer, truth, node):
    """Here the pairs behind a queue are shown too."""
    for side, at in (("out", 0), ("in", 1)):
        rows = {(node_key(r["node"]), r["type"], r.get("via", "")): r for r in answer[side]}
        wanted = {(key[1 - at], key[2], key[3]): edge for key, edge in truth.edges.items() if key[at] == node}
        found.equal(f"{side} of {node}", sorted(rows), sorted(wanted))
        for key in rows.keys() & wanted.keys():
            compare_edge(found, f"{side} of {node}: {key}", rows[key], wanted[key], answer["bound"])


class Asker:
    def __init__(self, server):
        self.server = server
        self.local = threading.local()

    def ask(self, path):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = self.local.connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=30)
        connection.request("GET", API + path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {body[:300]!r}")
        return json.loads(body)

    def case(self, case):
        """Everything the program says of a case's window."""
        window = f"from={case.begin}&to={case.begin + WINDOW_NS}"
        rows = window if case.number % 5 == 0 else window + "&spark=0"
        said = {"services": self.ask(f"/services?{rows}"), "map": self.ask(f"/map?{window}"), "operations": {}, "dependencies": {}}
        for service in case.services:
            path = f"/services/{urllib.parse.quote(service.name)}"
            key = (service.namespace, service.name)
            said["operations"][key] = self.ask(f"{path}/operations?{rows}&limit=1000&ns={service.namespace}")
            if case.number % 5 == 0:
                said["dependencies"][key] = self.ask(f"{path}/dependencies?{window}&ns={service.namespace}")
        return said


def compare(said, truth):
    found = Differences()
    compare_services(found, said["services"], truth)
    compare_map(found, said["map"], truth)
    for service, answer in said["operations"].items():
        compare_operations(found, answer, truth, service)
    for (namespace, name), answer in said["dependencies"].items():
        compare_dependencies(found, answer, truth, ("service", namespace, name, ""))
    return found


# ---- The checker, checked ----

def spans_of(case):
    truth = Truth()
    for request in case.requests + case.late:
        truth.add_request(request)
    return truth


def check_the_checker(report, cases, said):
    """A truth that is wrong in one thing only is never taken for the program's answer."""
    missed = {"one span less": 0, "one counted twice": 0, "paired wrongly": 0, "one error more": 0}
    tried = dict.fromkeys(missed, 0)
    for case in cases[:40]:
        rng = random.Random(case.number)
        full = spans_of(case)
        keys = list(full.spans)
        for what in missed:
            wrong = copy.copy(full)
            wrong.spans = {key: copy.copy(span) for key, span in full.spans.items()}
            victim = wrong.spans[rng.choice(keys)]
            if what == "one span less":
                wrong.spans = {key: span for key, span in wrong.spans.items() if span is not victim}
            elif what == "one counted twice":
                wrong.spans["again"] = copy.copy(victim)
            elif what == "one error more":
                victim.error = not victim.error
            else:
                servers = [s for s in wrong.spans.values() if s.kind == 2 and s.parent]
                if not servers:
                    continue
                rng.choice(servers).parent = "ffffffffffffffff"
                if full.compute().edges.keys() == wrong.compute().edges.keys() and full.gaps == wrong.gaps:
                    continue  # its parent had never come either
            tried[what] += 1
            missed[what] += not compare(said[case.number], wrong.compute())
    for what, count in missed.items():
        report.check(f"a truth with {what} is refused", count == 0 and tried[what] >= 5, f"{tried[what]} times, {count} missed")


# ---- The demo, which counts for itself ----

DEMO_S, DEMO_LONG_S = 30, 600


class Demo:
    """`spindle demo` against a server of its own, beside everything else, and the book that it keeps of what it sent."""

    def __init__(self, preset, seconds):
        self.file = tempfile.NamedTemporaryFile(suffix=".json")
        self.server = Server(preset, options=["--row-group-age", "1s"]).start()
        self.process = subprocess.Popen(
            [str(binary(preset)), "demo", "--endpoint", self.server.grpc, "--seed", "1", "--rate", "20", "--duration", f"{seconds}s",
             "--truth", self.file.name], stdout=subprocess.DEVNULL)
        self.seconds = seconds

    def check(self, report):
        code = self.process.wait(self.seconds + 120)
        ended = time.monotonic()
        report.check("the demo ended well", code == 0, f"{self.seconds} s")
        settle(self.server)
        time.sleep(max(0, PATIENCE_S + 2 - (time.monotonic() - ended)))
        truth, asker = json.load(open(self.file.name)), Asker(self.server)
        report.check("the demo's book is whole", truth["is_exact"], f"{truth['spans_acknowledged']} spans, {truth['traces']} traces")
        answer = asker.ask("/map?from=now-60m")
        found = demo_differences(truth, answer)
        report.check("the map is the demo's", not found, "; ".join(found)[:1000] or
                     f"{len(truth['edges'])} edges, {sum(e['count'] for e in truth['edges'])} calls, {sum(e['errors'] for e in truth['edges'])} failed")
        for what, change in (("an edge turned round", lambda e: e.update(client=e["server"], server=e["client"], client_kind=e["server_kind"],
                                                                         server_kind=e["client_kind"])),
                             ("an error more", lambda e: e.update(errors=e["errors"] + 1)),
                             ("a slower p95", lambda e: e["client_saw"].update(p95=int(e["client_saw"]["p95"] * 1.02))),
                             ("an edge less", lambda e: truth["edges"].remove(e))):
            whole = truth["edges"]
            truth["edges"] = copy.deepcopy(whole)
            change(next(e for e in truth["edges"] if e["client_saw"]["count"] and e["client_kind"] == "service" and e["client"] != e["server"]))
            report.check(f"a book with {what} is refused", demo_differences(truth, answer) != [])
            truth["edges"] = whole
        check_demo_pairs(report, asker, answer)
        check_demo_operations(report, asker, truth)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.server.close()
        self.file.close()


def is_node(node, kind, name, system):
    """Databases without a name of their own are called after their system in the demo's book, hosts have no port there."""
    names = {node["name"], node["name"].rsplit(":", 1)[0]} | ({node.get("system")} if kind == "database" else set())
    return node["kind"] == kind and name in names and (kind not in ("database", "queue") or node.get("system", "") == system)


def demo_differences(truth, answer):
    """Between the demo's book and the map: each edge with its direction, calls, failures and percentiles of either side."""
    found = Differences()
    nodes = answer["nodes"]
    found.equal("edges", len(answer["edges"]), len(truth["edges"]))
    found.equal("gaps", answer["gaps"], [])
    known = set()
    for e in truth["edges"]:
        what = f"{e['client']} > {e['server']}"
        ours = [x for x in answer["edges"] if is_node(nodes[x["s"]], e["client_kind"], e["client"], e["system"])
                and is_node(nodes[x["t"]], e["server_kind"], e["server"], e["system"])]
        if len(ours) != 1:
            found.append(f"{what}: {len(ours)} times on the map")
            continue
        row, sides = ours[0], [(side, e[f"{side}_saw"]) for side in ("client", "server") if e[f"{side}_saw"]["count"]]
        known |= {row["s"], row["t"]}
        found.equal(f"{what}: type", row["type"], {"": "direct", "messaging_system": "messaging", "virtual_node": "virtual"}.get(e["type"], e["type"]))
        found.equal(f"{what}: calls", row["count"], e["count"])
        found.equal(f"{what}: errors", row["errors"], e["errors"])
        found.equal(f"{what}: side", row["side"], sides[0][0])
        found.equal(f"{what}: both sides", "server" in row, len(sides) == 2)
        for (side, exact), have in zip(sides, (row, row.get("server", {}))):
            found.equal(f"{what}: values of the {side}", have.get("n"), exact["count"])
            for p in PERCENTILES:
                if abs(have[p] - exact[p]) > answer["bound"] * exact[p] + 1:
                    found.append(f"{what}: {p} of the {side} {have[p]}, sent {exact[p]}")
    found.equal("nodes", sorted(n["name"] for i, n in enumerate(nodes) if i not in known), [])
    return found


def check_demo_pairs(report, asker, answer):
    """Producer to consumer, behind a queue: a pair for each message, of which a span may receive several."""
    nodes = answer["nodes"]
    for edge in answer["edges"]:
        queue, to = nodes[edge["s"]], nodes[edge["t"]]
        if queue["kind"] != "queue":
            continue
        rows = [r for r in asker.ask(f"/services/{to['name']}/dependencies?from=now-60m")["in"] if r.get("via") == queue["name"]]
        report.check(f"messages through {queue['name']}", len(rows) == 1 and rows[0]["count"] >= edge["count"] > 0,
                     f"{[(r['node']['name'], r['count']) for r in rows]} in {edge['count']} spans")


def check_demo_operations(report, asker, truth):
    counts = collections.Counter()
    for span in truth["spans"]:
        counts[(span["service"], span["name"], span["kind"])] += span["count"]
        counts[(span["service"], span["name"], span["kind"], "errors")] += span["count"] if span["status"] == "error" else 0
    have = collections.Counter()
    for service in {key[0] for key in counts}:
        for row in asker.ask(f"/services/{service}/operations?from=now-60m&limit=1000&spark=0")["rows"]:
            have[(service, row["name"], row["kind"])] += row["count"]
            have[(service, row["name"], row["kind"], "errors")] += row["errors"]
    different = {key: (have[key], counts[key]) for key in have.keys() | counts.keys() if have[key] != counts[key]}
    report.check("the demo's spans are those of the operations", not different, str(different or len(truth["spans"])))


# ---- The run ----

def feed(report, server, cases, rng):
    """All requests in any order, with a crash in the middle of those of each group of crash cases. The crashes."""
    sender = Sender(server)
    calm = [c for c in cases if not c.crashes]
    rough = [c for c in cases if c.crashes]
    crashes = 0
    groups = [rough[i:i + 5] for i in range(0, len(rough), 5)]
    shares = max(1, len(groups))
    for i, group in enumerate(groups):
        requests = [r for c in group for r in c.requests] + [r for c in calm[i::shares] for r in c.requests]
        rng.shuffle(requests)
        point = POINTS[i // 2 % len(POINTS)] if i % 2 else None
        crashes += crash_while_sending(server, sender, requests, rng, point)
    requests = [r for c in (calm if not groups else []) for r in c.requests] + [r for c in cases for r in c.late]
    rng.shuffle(requests)
    while requests:
        requests = sender.send(requests)
    return crashes


def run_cases(report, options):
    rng = random.Random(options.seed)
    count = options.cases * (10 if options.long else 1)
    first = (time.time_ns() // MINUTE_NS - 10 * count - 100) * MINUTE_NS
    cases = [Case(i, options.seed, first + i * 2 * WINDOW_NS) for i in range(count)]
    for i, case in enumerate(cases):
        case.crashes = i % max(1, count // options.crash_cases) == 0
    rough = sum(c.crashes for c in cases)
    started = time.monotonic()
    with Server(options.preset, options=["--row-group-age", "1s"]) as server:
        crashes = feed(report, server, cases, rng)
        fed = time.monotonic()
        settle(server)
        time.sleep(max(0, PATIENCE_S + 2 - (time.monotonic() - fed)))
        asked = time.monotonic()
        asker = Asker(server)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            said = dict(zip([c.number for c in cases], pool.map(asker.case, cases)))
        print(f"{len(cases)} cases, {sum(len(c.spans) for c in cases)} spans: sent in {fed - started:.0f} s, asked in "
              f"{time.monotonic() - asked:.0f} s", flush=True)
    wrong = 0
    for case in cases:
        found = compare(said[case.number], spans_of(case).compute())
        if found:
            wrong += 1
            print(f"case {case.number} of seed {options.seed}{', killed' if case.crashes else ''}:", *found[:6], sep="\n  ", flush=True)
    report.check("cases equal the truth", wrong == 0, f"{len(cases) - wrong} of {len(cases)}, {rough} of them with kill -9, {crashes} kills")
    check_the_checker(report, cases, said)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--crash-cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preset", default="dev", help="a build with crash points")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    report = Report()
    demo = Demo(options.preset, DEMO_LONG_S if options.long else DEMO_S)
    try:
        run_cases(report, options)
        demo.check(report)
    finally:
        demo.close()
    report.end()


if __name__ == "__main__":
    main()
