#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the rollups and the service map have to say, from the telemetry alone.

A plain offline pass over every span: no rollups, no pairing as spans come, no shared code with the program. It
reads OTLP in JSON, as requests, and computes calls, errors, time and every duration of services and operations,
the edges of the map with their calls and errors, and the halves without a partner.

  truth.py FILE...     prints the truth of these requests

The rules are those of docs/API.md, "Numbers" and "The service map".
"""
import collections
import json
import math
import re
import sys

UNSPECIFIED, INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = range(6)
KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]
ERROR = 2
BOUND = 0.0055


def attributes(pairs):
    """Attributes as a dictionary of texts; the first of a key counts."""
    found = {}
    for pair in pairs or []:
        value = pair["value"]
        found.setdefault(pair["key"], str(next(iter(value.values()), "")))
    return found


def clean(name):
    """Whole numbers between slashes stand for any."""
    return re.sub(r"(?<=/)\d+(?=/|$)", "{id}", name)


class Span:
    def __init__(self, resource, span):
        own = attributes(span.get("attributes"))
        self.service = (resource.get("service.namespace", ""), resource.get("service.name", "unknown_service"))
        self.environment = resource.get("deployment.environment.name", "")
        self.name = clean(span["name"])
        self.kind = span["kind"]
        self.trace, self.id, self.parent = span["traceId"], span["spanId"], span.get("parentSpanId", "")
        self.start = int(span["startTimeUnixNano"])
        self.duration = int(span["endTimeUnixNano"]) - self.start
        self.error = span.get("status", {}).get("code") == ERROR
        self.links = [(link["traceId"], link["spanId"]) for link in span.get("links", [])]
        threshold = re.search(r"th:([0-9a-f]+)", span.get("traceState", ""))
        self.weight = 1.0
        if threshold:
            self.weight = 1 / (1 - int(threshold[1].ljust(14, "0"), 16) / 2.0**56)
        self.database = None
        if self.kind == CLIENT and ("db.system.name" in own or "db.namespace" in own):
            name = own.get("db.namespace") or own.get("server.address") or own["db.system.name"]
            self.database = ("database", "", name, own.get("db.system.name", ""))
        self.queue = None
        if self.kind in (PRODUCER, CONSUMER) and "messaging.destination.name" in own:
            self.queue = ("queue", "", own["messaging.destination.name"], own.get("messaging.system", ""))
        self.peer = None
        if "peer.service" in own:
            self.peer = ("external", "", own["peer.service"], "")
        elif "server.address" in own:
            port = ":" + own["server.port"] if "server.port" in own else ""
            self.peer = ("external", "", own["server.address"] + port, "")

    @property
    def node(self):
        return ("service", self.service[0], self.service[1], "")


class Numbers:
    """Of one service, operation, or edge."""

    def __init__(self):
        self.calls = self.errors = self.time = 0
        self.weight = 0.0
        self.durations = []

    def add(self, span):
        self.calls += 1
        self.errors += span.error
        self.time += span.duration
        self.weight += span.weight
        self.durations.append(span.duration)

    def percentile(self, q):
        return sorted(self.durations)[max(1, math.ceil(q * len(self.durations))) - 1]


class Edge:
    def __init__(self):
        self.calls = self.errors = 0
        self.client, self.server = [], []

    def add(self, client, server):
        self.calls += 1
        self.errors += bool(client and client.error) or bool(server and server.error)
        if client:
            self.client.append(client.duration)
        if server:
            self.server.append(server.duration)


class Truth:
    def __init__(self):
        self.spans = {}

    def add_request(self, request):
        """A span counts once, however often it came."""
        for group in request["resourceSpans"]:
            resource = attributes(group.get("resource", {}).get("attributes"))
            for scope in group["scopeSpans"]:
                for span in scope["spans"]:
                    key = json.dumps([resource, span], sort_keys=True)
                    self.spans[key] = Span(resource, span)
        return self

    def compute(self):
        self.services = collections.defaultdict(Numbers)    # (namespace, name)
        self.basis = collections.defaultdict(lambda: "all")
        self.operations = collections.defaultdict(Numbers)  # (namespace, name, operation, kind)
        self.edges = collections.defaultdict(Edge)          # (node, node, type, via)
        self.gaps = collections.Counter()                   # (node, why)
        spans = list(self.spans.values())
        for span in spans:
            if span.kind in (SERVER, CONSUMER):
                self.basis[span.service] = "entry"
        for span in spans:
            self.operations[(*span.service, span.name, KINDS[span.kind])].add(span)
            if self.basis[span.service] == "all" or span.kind in (SERVER, CONSUMER):
                self.services[span.service].add(span)
        self.pair(spans)
        return self

    def pair(self, spans):
        callers = collections.defaultdict(list)
        for span in spans:
            if span.kind == PRODUCER or (span.kind == CLIENT and not span.database):
                callers[(span.trace, span.id)].append(span)
        met = set()
        for span in spans:
            if span.kind in (SERVER, CONSUMER):
                self.pair_callee(span, callers, met)
        for span in spans:
            if span.database:
                self.edges[(span.node, span.database, "database", "")].add(span, None)
            elif span.kind == PRODUCER and span.queue:
                self.edges[(span.node, span.queue, "messaging", "")].add(span, None)
            elif span.kind in (CLIENT, PRODUCER) and id(span) not in met:
                self.caller_alone(span)

    def pair_callee(self, span, callers, met):
        if span.kind == CONSUMER and span.queue:
            self.edges[(span.queue, span.node, "messaging", "")].add(None, span)
        found = [callers[(span.trace, span.parent)][0]] if (span.trace, span.parent) in callers else []
        for link in span.links:
            if span.kind == CONSUMER and link in callers and link != (span.trace, span.parent):
                found.append(callers[link][0])
        for caller in found:
            met.add(id(caller))
            is_message = PRODUCER in (caller.kind, span.kind) or CONSUMER in (caller.kind, span.kind)
            queue = caller.queue or span.queue
            via = queue[2] if is_message and queue else ""
            self.edges[(caller.node, span.node, "messaging" if is_message else "direct", via)].add(caller, span)
        if (span.trace, span.parent) in callers:
            return
        if span.kind == SERVER and not span.parent:
            user = ("user", "", "user", "")
            self.edges[(span.peer or user, span.node, "virtual", "")].add(None, span)
        elif span.kind == SERVER or (span.parent and not span.queue):
            self.gaps[(span.node, "sampled" if span.weight > 1 else "broken_parent")] += 1

    def caller_alone(self, span):
        if span.peer:
            self.edges[(span.node, span.peer, "virtual", "")].add(span, None)
            return
        self.gaps[(span.node, "sampled" if span.weight > 1 else "no_server")] += 1
        if span.kind == CLIENT:
            self.edges[(span.node, ("unknown", "", "unknown", ""), "virtual", "")].add(span, None)


def main():
    truth = Truth()
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            truth.add_request(json.load(file))
    truth.compute()
    for service, n in sorted(truth.services.items()):
        print(f"service {'/'.join(service)}: {n.calls} calls, {n.errors} errors, p50 {n.percentile(0.5)}, p99 {n.percentile(0.99)} ns")
    for (a, b, kind, via), edge in sorted(truth.edges.items()):
        print(f"edge {a[2]} -> {b[2]} {kind} {via}: {edge.calls} calls, {edge.errors} errors")
    for (node, why), count in sorted(truth.gaps.items()):
        print(f"gap {node[2]} {why}: {count}")


if __name__ == "__main__":
    main()
