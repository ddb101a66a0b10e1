# SPDX-License-Identifier: Apache-2.0
"""Random systems and their telemetry: services that call, queue, store and fail, in every shape that pairing has to meet.

A case is a window of time of its own and the requests that fill it, in no order, with halves missing, doubled and
late. Only what OTLP says goes out; what it should add up to is truth.py's affair.
"""
import random

NS_PER_MS = 1_000_000
WINDOW_NS = 300 * 1_000_000_000


def text(key, value):
    return {"key": key, "value": {"stringValue": value}}


class Service:
    def __init__(self, rng, number):
        self.name = f"{rng.choice(['web', 'cart', 'pay', 'mail', 'stock', 'auth'])}{number}"
        self.namespace = rng.choice(["", "", "shop", "back"])
        self.environments = rng.choice([[""], ["prod"], ["prod", "stage"]])
        self.instances = rng.randrange(1, 4)
        self.durations = rng.choice([constant, bimodal, heavy, flat, tiny])

    def resource(self, rng):
        attributes = [text("service.name", self.name), text("service.instance.id", f"{self.name}-{rng.randrange(self.instances)}")]
        if self.namespace:
            attributes.append(text("service.namespace", self.namespace))
        environment = rng.choice(self.environments)
        if environment:
            attributes.append(text("deployment.environment.name", environment))
        rng.shuffle(attributes)
        return attributes


def constant(rng):
    return 10 * NS_PER_MS


def bimodal(rng):
    return rng.choice([2, 900]) * NS_PER_MS + rng.randrange(1000)


def heavy(rng):
    return int(min(rng.paretovariate(0.7), 1e6) * NS_PER_MS)


def flat(rng):
    return rng.randrange(1, 10**10)


def tiny(rng):
    return rng.choice([0, 0, 1, 2, 3, 100, 1023, 1024, 1025])


class Case:
    """All requests of one case, in the order of their sending; `late` ones go out long after."""

    def __init__(self, number, seed, begin_ns):
        self.rng = random.Random(f"{seed}-{number}")
        self.number, self.begin = number, begin_ns
        self.services = [Service(self.rng, i) for i in range(self.rng.randrange(1, 6))]
        self.sampled = self.rng.random() < 0.15
        self.spans = []  # (resource attributes, span)
        self.serial = 0
        for _ in range(self.rng.choice([1, 3, 8, 20])):
            self.trace()
        self.batch()

    def id(self, digits):
        self.serial += 1
        return f"{self.number + 1:04x}{self.rng.getrandbits(4 * (digits - 10)):0{digits - 10}x}{self.serial:06x}"

    def span(self, service, kind, name, trace, parent, start, attributes=(), keep=1.0):
        duration = service.durations(self.rng)
        span = {"traceId": trace, "spanId": self.id(16), "name": name, "kind": kind, "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + duration), "attributes": list(attributes)}
        if parent:
            span["parentSpanId"] = parent
        if self.rng.random() < 0.15:
            span["status"] = {"code": 2}
        elif self.rng.random() < 0.1:
            span["status"] = {"code": 1}
        if self.sampled and self.rng.random() < 0.7:
            span["traceState"] = "ot=th:" + self.rng.choice(["8", "c", "e"])
        if self.rng.random() < keep:
            self.spans.append((service.resource(self.rng), span))
        return span

    def trace(self):
        rng, trace = self.rng, self.id(32)
        start = self.begin + rng.randrange(WINDOW_NS)
        service = rng.choice(self.services)
        shape = rng.random()
        if shape < 0.7:    # a request of somebody's
            attributes = [text("peer.service", "partner")] if rng.random() < 0.05 else []
            root = self.span(service, 2, self.operation(), trace, "", start, attributes)
        elif shape < 0.9:  # a job of its own
            root = self.span(service, 1, "job", trace, "", start)
        else:              # the end of a call whose begin nobody sent
            root = self.span(service, 2, self.operation(), trace, self.id(16), start)
        self.work(service, trace, root["spanId"], start, 0)

    def operation(self):
        return self.rng.choice(["GET /", "POST /pay", f"GET /item/{self.rng.randrange(10**6)}", "rpc.Call"])

    def work(self, service, trace, parent, start, depth):
        """What one span does: depth and breadth are small, and time goes on within the window."""
        if depth > 4:
            return
        for _ in range(self.rng.choice([0, 1, 1, 2, 3])):
            later = min(start + self.rng.randrange(60_000_000_000), self.begin + WINDOW_NS - 1)
            what = self.rng.choice([self.call, self.call, self.store, self.outside, self.lost, self.inner, self.send])
            what(service, trace, parent, later, depth)

    def inner(self, service, trace, parent, start, depth):
        span = self.span(service, 1, "step", trace, parent, start)
        self.work(service, trace, span["spanId"], start, depth + 1)

    def call(self, service, trace, parent, start, depth):
        """CLIENT and SERVER, now and then one of them alone, or two servers to one client (a retry below the caller)."""
        other = self.rng.choice(self.services)
        attributes = [text("server.address", "10.0.0.9"), {"key": "server.port", "value": {"intValue": "8080"}}] if self.rng.random() < 0.3 else []
        client = self.span(service, 3, "call", trace, parent, start, attributes, keep=0.93)
        for _ in range(2 if self.rng.random() < 0.08 else 1):
            server = self.span(other, 2, self.operation(), trace, client["spanId"], min(start + self.rng.randrange(1000), self.begin + WINDOW_NS - 1), keep=0.93)
            self.work(other, trace, server["spanId"], start, depth + 1)

    def store(self, service, trace, parent, start, depth):
        system, name = self.rng.choice([("postgresql", "orders"), ("redis", ""), ("mysql", "users")])
        attributes = [text("db.system.name", system)] + ([text("db.namespace", name)] if name else [])
        self.span(service, 3, "SELECT", trace, parent, start, attributes)

    def outside(self, service, trace, parent, start, depth):
        self.span(service, 3, "GET", trace, parent, start, [text("server.address", "api.stripe.example")])

    def lost(self, service, trace, parent, start, depth):
        self.span(service, 3, "call", trace, parent, start)

    def send(self, service, trace, parent, start, depth):
        """A message: received under the sender's span, or in a trace of its own with a link, or in no trace we see."""
        topic = self.rng.choice(["orders", "mails"])
        attributes = [text("messaging.system", "kafka"), text("messaging.destination.name", topic)]
        sent = self.span(service, 4, f"send {topic}", trace, parent, start, attributes)
        way = self.rng.random()
        later = min(start + self.rng.randrange(30_000_000_000), self.begin + WINDOW_NS - 1)
        other = self.rng.choice(self.services)
        if way < 0.4:
            received = self.span(other, 5, f"process {topic}", trace, sent["spanId"], later, attributes, keep=0.95)
            self.work(other, trace, received["spanId"], later, depth + 2)
        elif way < 0.8:
            own = self.id(32)
            received = self.span(other, 5, f"process {topic}", own, "", later, attributes, keep=0.95)
            received["links"] = [{"traceId": trace, "spanId": sent["spanId"]}]
            self.work(other, own, received["spanId"], later, depth + 2)

    def batch(self):
        """Spans in any order, in requests of any size, some of them sent again, some of them late."""
        rng = self.rng
        rng.shuffle(self.spans)
        self.requests, self.late = [], []
        at = 0
        while at < len(self.spans):
            size = rng.choice([1, 2, 5, 40])
            part = self.spans[at:at + size]
            if rng.random() < 0.15:  # with spans that another request has had
                part = part + rng.sample(self.spans, min(3, len(self.spans)))
            request = {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"spans": [span]}]} for resource, span in part]}
            at += size
            into = self.late if rng.random() < 0.2 else self.requests
            into.append(request)
            if rng.random() < 0.1:
                rng.choice([self.requests, self.late]).append(request)
        rng.shuffle(self.requests)
