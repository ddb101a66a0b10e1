# SPDX-License-Identifier: Apache-2.0
"""A small shop's telemetry, seeded, as OTLP/JSON and as plain rows to compute answers from."""
import random

SERVICES = ["cart", "checkout", "payment", "search"]
KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]
STATUS = ["unset", "ok", "error"]
METHODS = ["GET", "POST", "PUT"]
SEVERITIES = {-3: "ODD", 1: "TRACE", 5: "DEBUG", 9: "INFO", 13: "WARN", 17: "ERROR"}


def value(v):
    if isinstance(v, bool):
        return {"boolValue": v}
    if isinstance(v, int):
        return {"intValue": str(v)}
    if isinstance(v, float):
        return {"doubleValue": v}
    if isinstance(v, list):
        return {"arrayValue": {"values": [value(x) for x in v]}}
    if isinstance(v, dict):
        return {"kvlistValue": {"values": [{"key": k, "value": value(x)} for k, x in v.items()]}}
    return {"stringValue": v}


def attributes(of):
    return [{"key": k, "value": value(v)} for k, v in of.items()]


class Shop:
    """Traces of 1 to 12 spans; every third span with a log record, some with events and links."""

    def __init__(self, seed, begin_ns, traces, step_ns=1_000_000):
        self.random = random.Random(seed)
        self.spans, self.logs = [], []
        self.seed = seed
        for n in range(traces):
            self.trace(n, begin_ns + n * step_ns)

    def hex(self, digits):
        return f"{self.random.getrandbits(4 * digits) | 1:0{digits}x}"

    def trace(self, number, start):
        r = self.random
        trace_id, ids = self.hex(32), []
        for n in range(r.randint(1, 12)):
            service = r.choice(SERVICES)
            span_id = self.hex(16)
            span = {
                "trace_id": trace_id, "span_id": span_id, "parent_span_id": r.choice(ids) if ids else None,
                "service_name": service, "name": f"{service} op {r.randint(0, 4)}", "kind": r.randint(0, 5),
                "start_time": start + n * 1000, "duration_ns": r.choice([0, 500, 1_000_000, 250_000_000]) + r.randint(0, 999),
                "status": r.choice([0, 0, 0, 1, 2]), "trace_state": "a=b" if n == 3 else None,
                "attributes": {"http.method": r.choice(METHODS), "n": number, "ratio": r.randint(0, 8) / 8,
                               "hit": r.random() < 0.5, "tags": ["a", r.randint(0, 3)], "deep": {"x": {"y": number % 5}}},
                "events": [], "links": []}
            span["status_message"] = "it's broken, \"badly\"" if span["status"] == 2 else None
            if n % 4 == 1:
                span["events"] = [{"time": span["start_time"] + 10 * k, "name": r.choice(["exception", "retry"]),
                                   "attributes": {"k": k}} for k in range(r.randint(1, 3))]
            if n % 5 == 2:
                span["links"] = [{"trace_id": self.hex(32), "span_id": self.hex(16), "attributes": {"why": "batch"}}]
            self.spans.append(span)
            ids.append(span_id)
            if n % 3 == 0:
                self.log(span, trace_id, span_id)
        if number % 7 == 0:
            self.log(self.spans[-1], None, None)

    def log(self, span, trace_id, span_id):
        r = self.random
        number = r.choice(list(SEVERITIES))
        body = r.choice(["order accepted", "connection TIMEOUT after 3 tries", "café ☃ closed", {"code": r.randint(1, 3), "of": "x"}])
        self.logs.append({"trace_id": trace_id, "span_id": span_id, "service_name": span["service_name"],
                          "time": span["start_time"] + 5, "observed_time": span["start_time"] + 9, "severity_number": number,
                          "severity_text": SEVERITIES[number], "body": body, "attributes": {"line": r.randint(1, 99)}})

    # ---- As OTLP/JSON ----

    def requests(self, size=400):
        for part in (self.spans[i:i + size] for i in range(0, len(self.spans), size)):
            yield "/v1/traces", {"resourceSpans": [
                {"resource": {"attributes": attributes({"service.name": s, "host.name": f"h-{self.seed}"})},
                 "scopeSpans": [{"scope": {"name": "shop", "version": "1.2"},
                                 "spans": [self.span(x) for x in part if x["service_name"] == s]}]} for s in SERVICES]}
        for part in (self.logs[i:i + size] for i in range(0, len(self.logs), size)):
            yield "/v1/logs", {"resourceLogs": [
                {"resource": {"attributes": attributes({"service.name": s, "host.name": f"h-{self.seed}"})},
                 "scopeLogs": [{"scope": {"name": "shop"},
                                "logRecords": [self.record(x) for x in part if x["service_name"] == s]}]} for s in SERVICES]}

    @staticmethod
    def span(s):
        out = {"traceId": s["trace_id"], "spanId": s["span_id"], "name": s["name"], "kind": s["kind"],
               "startTimeUnixNano": str(s["start_time"]), "endTimeUnixNano": str(s["start_time"] + s["duration_ns"]),
               "attributes": attributes(s["attributes"]), "status": {"code": s["status"]},
               "events": [{"timeUnixNano": str(e["time"]), "name": e["name"], "attributes": attributes(e["attributes"])}
                          for e in s["events"]],
               "links": [{"traceId": k["trace_id"], "spanId": k["span_id"], "attributes": attributes(k["attributes"])}
                         for k in s["links"]]}
        if s["parent_span_id"]:
            out["parentSpanId"] = s["parent_span_id"]
        if s["trace_state"]:
            out["traceState"] = s["trace_state"]
        if s["status_message"]:
            out["status"]["message"] = s["status_message"]
        return out

    @staticmethod
    def record(x):
        out = {"timeUnixNano": str(x["time"]), "observedTimeUnixNano": str(x["observed_time"]),
               "severityNumber": x["severity_number"], "severityText": x["severity_text"], "body": value(x["body"]),
               "attributes": attributes(x["attributes"])}
        if x["trace_id"]:
            out |= {"traceId": x["trace_id"], "spanId": x["span_id"]}
        return out
