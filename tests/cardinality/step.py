#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody sends as many span names and services as he can: the others' numbers stay exact, and memory in its limit.

Good services send a known load before, during and after the attack: names of one word, names of several (from which templates
are learned), and services that are seen once. In the end the good services' operations and edges are exactly what was sent,
every span of the attack is counted somewhere and what is over a bound under (other), /cleaned says so by name, entries are
within their bounds, and the process was never larger than --memory-limit; nor is one that has 64 MiB.

The checker is checked: books that have one call more, or one name less, are refused.

  step.py [--long]    the long one: 10 million names and a million services
"""
import argparse
import math
import multiprocessing
import pathlib
import re
import struct
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lib.protobuf import field, varint  # noqa: E402
from lib.spindle import Report, Server  # noqa: E402

API = "/api/spindle/v1"
MIB = 1 << 20
LIMIT = 256 * MIB
SMALL = 64 * MIB
SERIES_MAX, SERVICES_MAX, SURE = 10_000, 1_000, 10
GOOD = [f"good-{c}" for c in "abcd"]
OPERATIONS = ["GET /cart", "GET /orders/{id}", "POST /pay", "query", "render page"]
ROUNDS = 12  # of the good load
BOUND = 0.0055


# ---- Protobuf by hand: the fastest way to many spans ----

def resource_of(service):
    return field(1, field(1, field(1, b"service.name") + field(2, field(1, service.encode()))))


def span_of(trace, span, name, start_ns, duration_ns, kind=2, parent=0, failed=False):
    return field(2, b"\x0a\x10" + struct.pack(">QQ", 7, trace) + b"\x12\x08" + struct.pack(">Q", span)
                 + (b"\x22\x08" + struct.pack(">Q", parent) if parent else b"") + b"\x2a" + varint(len(name)) + name
                 + b"\x30" + bytes([kind]) + b"\x39" + struct.pack("<QB", start_ns, 0x41) + struct.pack("<Q", start_ns + duration_ns)
                 + (b"\x7a\x02\x18\x02" if failed else b""))


def request_of(parts):
    """parts: (service, spans' bytes)"""
    return b"".join(field(1, resource_of(service) + field(2, spans)) for service, spans in parts)


def word(n):
    """Letters alone: nothing that cleaning would know."""
    text = ""
    for _ in range(6):
        text += chr(97 + n % 26)
        n //= 26
    return text


# ---- The attack ----

def one_word(i, start):
    return span_of(i, i, b"op" + word(i).encode(), start, 1000)


def words(i, start):
    return span_of(i, i, b"GET /u/%s/photos" % word(i).encode(), start, 1000)


def attack_request(job):
    """The body of request `number`, made in another process."""
    kind, number, size, start = job
    first = 2 + number * size
    if kind == "services":
        return request_of((f"stranger-{word(i)}", span_of(1 << 40 | i, i, b"job" + word(i).encode(), start, 1000))
                          for i in range(first, first + size))
    make = one_word if kind == "names" else words
    base = (1 if kind == "names" else 2) << 44
    return request_of([(f"loud-{kind}", b"".join(make(base | i, start) for i in range(first, first + size)))])


def post(server, body):
    """Until it is acknowledged: a server that says it is busy is asked again."""
    end = time.monotonic() + 120
    while True:
        request = urllib.request.Request(server.otlp + "/v1/traces", data=body, headers={"Content-Type": "application/x-protobuf"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                said = answer.read()
                if said:
                    raise RuntimeError(f"partial success: {said[:200]!r}")
                return
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or time.monotonic() > end:
                raise
            time.sleep(0.2)


# ---- The good ones ----

class Book:
    """What the good services sent."""

    def __init__(self, start_ns):
        self.start_ns, self.next_id, self.spans = start_ns, 1 << 50, 0
        self.operations, self.edges = {}, {}

    def round(self, number):
        """A request: each service is called by a user for each operation, and calls the next service."""
        parts = {service: b"" for service in GOOD}
        for s, service in enumerate(GOOD):
            for o, name in enumerate(OPERATIONS):
                for call in range(1 + o):
                    duration = 1_000_000 * (1 + (number * 7 + call * 3 + o) % 40)
                    failed = (number + call + o) % 5 == 0
                    trace, self.next_id = self.next_id, self.next_id + 4
                    parts[service] += span_of(trace, trace, name.encode(), self.start_ns, duration, failed=failed)
                    self.note(service, name, duration, failed)
                    if s + 1 < len(GOOD):
                        parts[service] += span_of(trace, trace + 1, b"call", self.start_ns, duration, kind=3, parent=trace)
                        parts[GOOD[s + 1]] += span_of(trace, trace + 2, b"called", self.start_ns, duration // 2, parent=trace + 1)
                        self.note(GOOD[s + 1], "called", duration // 2, False)
                        self.edges[(service, GOOD[s + 1])] = self.edges.get((service, GOOD[s + 1]), 0) + 1
                        self.spans += 1  # the client's
        return request_of(parts.items())

    def note(self, service, name, duration, failed):
        self.spans += 1
        of = self.operations.setdefault((service, name), [])
        of.append((duration, failed))


def differences(book, server, start_ns):
    """Between the book and what the server says of the good services."""
    found = []
    window = f"from={start_ns - 120 * 10**9}&to={start_ns + 120 * 10**9}"
    for service in GOOD:
        answer = server.json(f"{API}/services/{service}/operations?{window}")
        have = {(service, r["name"]): r for r in answer["rows"] if r["kind"] == "server"}
        wanted = {key: of for key, of in book.operations.items() if key[0] == service}
        if have.keys() != wanted.keys():
            found.append(f"names {sorted(have.keys() ^ wanted.keys())}")
        for key in have.keys() & wanted.keys():
            row, of = have[key], wanted[key]
            if (row["count"], row["errors"]) != (len(of), sum(f for _, f in of)):
                found.append(f"{key}: {row['count']} calls, {row['errors']} errors; sent {len(of)}")
            durations = sorted(d for d, _ in of)
            for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
                exact = durations[max(1, -int(-q * len(durations) // 1)) - 1]
                if abs(row[name] - exact) > BOUND * exact + 1:
                    found.append(f"{key}: {name} {row[name]}, sent {exact}")
    links = {(x["parent"], x["child"]): x["callCount"] for x in server.json("/api/dependencies?lookback=3600000")["data"]}
    links = {pair: n for pair, n in links.items() if pair[0] in GOOD and pair[1] in GOOD}
    if links != book.edges:
        found.append(f"edges {links}, sent {book.edges}")
    return found


class Memory(threading.Thread):
    """The largest that the process has been; and it has to answer all the time."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over, self.slowest = server, threading.Event(), 0.0

    def run(self):
        while not self.over.wait(0.5):
            begin = time.monotonic()
            try:
                is_live = self.server.get("/health/live")[0] == 200
            except OSError:
                is_live = False
            self.slowest = max(self.slowest, time.monotonic() - begin if is_live else math.inf)

    def peak(self):
        with open(f"/proc/{self.server.process.pid}/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) << 10


def settle(server, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.json(API + "/meta")["stored"]["journal_items"] == 0:
            return True
        time.sleep(0.2)
    return False


def series(page, name):
    """(labels, value) of a metric's samples."""
    for line in page.splitlines():
        match = re.match(r"([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)$", line)
        if match and match[1] == name:
            yield dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2])), float(match[3])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    names, services = (10_000_000, 1_000_000) if options.long else (200_000, 20_000)
    report = Report()
    jobs = []
    start = time.time_ns()
    for kind, total, size in (("names", names // 2, 4000), ("words", names // 2, 4000), ("services", services, 2000)):
        jobs += [(kind, n, size, start) for n in range(total // size)]
    jobs = [job for n in range(10) for job in jobs[n::10]]  # all three kinds mixed
    attack_spans = names + services + 2
    with Server(options=["--memory-limit", str(LIMIT), "--row-group-age", "1s"]) as server:
        book, memory = Book(start), Memory(server)
        memory.start()
        for number in range(2):
            post(server, book.round(number))
        for kind in ("names", "words"):  # services that turn bad; what a flood of strangers leaves room for is chance
            post(server, attack_request((kind, -1, 1, start)))
        report.check("the good ones were there before", settle(server, 60))
        begin = time.monotonic()
        with multiprocessing.Pool(2) as pool:
            for n, body in enumerate(pool.imap(attack_request, jobs, 1)):
                post(server, body)
                if n % (len(jobs) // (ROUNDS - 3)) == 0:
                    post(server, book.round(2 + n * (ROUNDS - 3) // len(jobs)))
        post(server, book.round(ROUNDS))
        took = time.monotonic() - begin
        report.check(f"{names:,} names and {services:,} services were taken", True, f"in {took:.1f} s")
        report.check("all is in row groups", settle(server, 600 if options.long else 120))
        memory.over.set()
        check(report, server, book, start, names, attack_spans, memory)
    small(report, start)
    report.end()


def metric(server, name):
    page = server.get("/metrics")[1].decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.split("{")[0].split(" ")[0] == name)


def small(report, start):
    """With little memory: what counts and merges row groups in the background stays within it too."""
    sent = 0
    with Server(options=["--memory-limit", str(SMALL), "--row-group-age", "50ms"]) as server:
        memory = Memory(server)
        for number in range(40):  # a flood, of names and of services
            size = 2000 if number % 4 == 3 else 4000
            post(server, attack_request(("services" if number % 4 == 3 else "names", number, size, start)))
            sent += size
        for number in range(200, 218):  # and requests of which each becomes a row group, for merges
            post(server, attack_request(("words", number, 200, start)))
            settle(server, 60)
            sent += 200
        end = time.monotonic() + 60
        while metric(server, "spindle_storage_merges_total") == 0 and time.monotonic() < end:
            time.sleep(0.2)
        merges = metric(server, "spindle_storage_merges_total")
        report.check(f"row groups are merged with {SMALL // MIB} MiB", merges > 0, f"{merges:.0f} merges")
        stored = server.json(API + "/meta")["stored"]["spans"]
        uncounted = metric(server, "spindle_storage_uncounted_items_total")
        report.check("all of it is stored there", stored == sent, f"{stored} of {sent}")
        calls = sum(n for _, n in series(server.get("/metrics")[1].decode(), "traces_span_metrics_calls_total"))
        report.check("and counted, or said not to be", calls + uncounted == sent, f"{calls:.0f} and {uncounted:.0f} of {sent}")
        peak = memory.peak()
        report.check("in that memory", peak <= SMALL, f"{peak / MIB:.0f} MiB at most")


def check(report, server, book, start, names, attack_spans, memory):
    end = time.monotonic() + 60
    while (found := differences(book, server, start)) and time.monotonic() < end:
        time.sleep(1)  # halves wait some seconds for their other sides
    report.check("the good services' numbers are exact", not found, "; ".join(found)[:500] or f"{book.spans} spans")
    for what, change in (("a call more", lambda b: b.note("good-a", "query", 1_000_000, False)),
                         ("a name more", lambda b: b.note("good-b", "unheard of", 1_000_000, False)),
                         ("an edge more", lambda b: b.edges.update({("good-a", "good-c"): 1}))):
        wrong = Book(start)
        wrong.operations, wrong.edges = {k: list(v) for k, v in book.operations.items()}, dict(book.edges)
        change(wrong)
        report.check(f"a book with {what} is refused", differences(wrong, server, start) != [])

    page = server.get("/metrics")[1].decode()
    calls = list(series(page, "traces_span_metrics_calls_total"))
    report.check("every span is counted", sum(n for _, n in calls) == attack_spans + book.spans, f"{sum(n for _, n in calls):.0f}")
    own = [labels for labels, _ in calls if labels["span_name"] != "(other)"]
    distinct = {labels["service_name"] for labels, _ in calls}
    report.check("series are within their bound", len(own) <= SERIES_MAX + SURE * SERVICES_MAX, f"{len(own)} of names, {len(calls)} in all")
    report.check("services are within theirs", len(distinct) <= SERVICES_MAX + 1, str(len(distinct)))
    entries = {labels["of"]: n for labels, n in series(page, "spindle_rollup_entries")}
    most = {labels["of"]: n for labels, n in series(page, "spindle_rollup_entries_max")}
    report.check("edges and halves too", entries["edges"] <= most["edges"] and entries["halves"] <= most["halves"], str(entries))
    overflowed = {labels["of"]: n for labels, n in series(page, "spindle_rollup_overflowed_total")}
    rest = sum(n for labels, n in calls if labels["service_name"] == "(other)")
    names_of_rest = {labels["span_name"] for labels, _ in calls if labels["service_name"] == "(other)"}
    report.check("and have one name, so that they take no series", names_of_rest == {"(other)"}, str(sorted(names_of_rest)[:3]))
    report.check("services over the bound are counted", overflowed["services"] == rest > 0, f"{rest:.0f} spans")
    unnamed = sum(n for labels, n in calls if labels["span_name"] == "(other)" and labels["service_name"] != "(other)")
    report.check("names over the bound are counted", overflowed["series"] == unnamed > 0, f"{unnamed:.0f} spans")
    learned = [n for labels, n in calls if labels["span_name"] == "GET /u/{*}/photos"]
    report.check("what is one operation was learned to be", len(learned) == 1 and learned[0] >= names // 2 - 500, f"{learned}")
    cleaned = {(r["service"], r["name"]): r for r in server.json(f"{API}/cleaned?limit=1000")["rows"]}
    of_names, of_words = cleaned.get(("loud-names", "(other)"), {}), cleaned.get(("loud-words", "GET /u/{*}/photos"), {})
    report.check("and is named with its reason", of_names.get("why") == ["overflow"] and of_words.get("why") == ["learned"]
                 and of_names["example"].startswith("op") and of_words["example"].startswith("GET /u/"), f"{of_names} {of_words}")
    stored = server.json(API + "/meta")["stored"]["spans"]
    report.check("every span is stored", stored == attack_spans + book.spans, str(stored))
    for path in (f"{API}/services?from=now-1h", f"{API}/map?from=now-1h", f"{API}/services"):
        begin = time.monotonic()
        status = server.get(path)[0]
        report.check(f"{path} is answered", status == 200, f"{time.monotonic() - begin:.2f} s")
    report.check("memory stayed within the limit", memory.peak() <= LIMIT, f"{memory.peak() / MIB:.0f} MiB at most")
    report.check("it answered all the time", memory.slowest < 10, f"{memory.slowest:.2f} s at most")


if __name__ == "__main__":
    main()
