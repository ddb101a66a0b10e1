#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An application instrumented with the OpenTelemetry SDK for Python.

usage: client.py grpc|http ENDPOINT

Sends spans and logs with every feature the SDK has, and prints what it sent, as one JSON document in the
form that step.py compares with the server's answers.
"""
import importlib.metadata
import json
import logging
import sys

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber, LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

PROTOCOL, ENDPOINT = sys.argv[1], sys.argv[2]
if PROTOCOL == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    spans_to = OTLPSpanExporter(endpoint=ENDPOINT, insecure=True)
    logs_to = OTLPLogExporter(endpoint=ENDPOINT, insecure=True)
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    spans_to = OTLPSpanExporter(endpoint=ENDPOINT + "/v1/traces", compression=Compression.Gzip)
    logs_to = OTLPLogExporter(endpoint=ENDPOINT + "/v1/logs")


def value(v):
    if v is None:
        return {}
    if isinstance(v, bool):
        return {"boolValue": v}
    if isinstance(v, int):
        return {"intValue": str(v)}
    if isinstance(v, float):
        return {"doubleValue": v}
    if isinstance(v, str):
        return {"stringValue": v}
    if isinstance(v, bytes):
        import base64
        return {"bytesValue": base64.b64encode(v).decode()}
    if isinstance(v, dict) or hasattr(v, "items"):
        return {"kvlistValue": attributes(v)}
    return {"arrayValue": [value(i) for i in v]}


def attributes(mapping):
    return {k: value(v) for k, v in (mapping or {}).items()}


class Recorder(SpanProcessor):
    """Keeps what the SDK itself says of each span when it ends."""

    def __init__(self):
        self.spans = []

    def on_end(self, span):
        self.spans.append({
            "traceId": f"{span.context.trace_id:032x}",
            "spanId": f"{span.context.span_id:016x}",
            "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else "",
            "traceState": span.context.trace_state.to_header(),
            "name": span.name,
            "kind": span.kind.value + 1,
            "startTimeUnixNano": str(span.start_time),
            "endTimeUnixNano": str(span.end_time),
            "attributes": attributes(span.attributes),
            "events": [{"timeUnixNano": str(e.timestamp), "name": e.name,
                        "attributes": attributes(e.attributes)} for e in span.events],
            "links": [{"traceId": f"{l.context.trace_id:032x}", "spanId": f"{l.context.span_id:016x}",
                       "traceState": "",  # the exporter does not send a link's trace state
                       "attributes": attributes(l.attributes)} for l in span.links],
            "droppedAttributesCount": span.dropped_attributes, "droppedEventsCount": span.dropped_events,
            "droppedLinksCount": span.dropped_links,
            "status": {"code": span.status.status_code.value, "message": span.status.description or ""},
            "scope": {"name": span.instrumentation_scope.name,
                      "version": span.instrumentation_scope.version or "",
                      "attributes": attributes(span.instrumentation_scope.attributes)},
            "schemaUrl": span.instrumentation_scope.schema_url or "",
            "resource": attributes(span.resource.attributes),
        })


resource = Resource.create({"service.name": f"python-{PROTOCOL}", "service.version": "1.2.3", "list": ["a", "b"],
                            "count": 7, "ratio": 0.25, "flag": True})
recorder = Recorder()
provider = TracerProvider(resource=resource)
provider.add_span_processor(recorder)
provider.add_span_processor(BatchSpanProcessor(spans_to))
tracer = provider.get_tracer("client.test", "0.9", "https://opentelemetry.io/schemas/1.30.0", {"scope.key": "x"})

foreign = SpanContext(0x1234567890ABCDEF1234567890ABCDEF, 0x1122334455667788, True, TraceFlags(1),
                      TraceState([("vendor", "t61rcWkgMzE")]))
with tracer.start_as_current_span("GET /cart", kind=SpanKind.SERVER, links=[Link(foreign, {"why": "batch", "n": 3})]) as root:
    root.set_attributes({"text": "Grüße, 世界 🎉", "empty": "", "yes": True, "no": False, "int": 42,
                         "negative": -9007199254740993, "big": 2**63 - 1, "double": 1.5, "tiny": 5e-324,
                         "strings": ["a", "", "c"], "ints": [1, -2, 3], "bools": [True, False], "doubles": [0.5, -0.0]})
    root.add_event("first", {"k": "v", "list": [1, 2]}, timestamp=1_700_000_000_000_000_001)
    with tracer.start_as_current_span("SELECT shop.cart", kind=SpanKind.CLIENT) as child:
        child.set_status(Status(StatusCode.ERROR, "relation \"cart\" does not exist"))
        try:
            raise ValueError("no such table: cart")
        except ValueError as error:
            child.record_exception(error)
    with tracer.start_as_current_span("publish", kind=SpanKind.PRODUCER) as producer:
        producer.set_status(Status(StatusCode.OK))
    with tracer.start_as_current_span("consume", kind=SpanKind.CONSUMER, links=[Link(producer.get_span_context())]):
        pass
    with tracer.start_as_current_span("compute"):
        pass
    log_context = trace.get_current_span().get_span_context()
many = tracer.start_span("many")
for i in range(200):  # over the SDK's limits of 128: dropped counts
    many.set_attribute(f"a{i}", i)
    many.add_event(f"e{i}")
many.end()

logs_provider = LoggerProvider(resource=resource)
logs_provider.add_log_record_processor(BatchLogRecordProcessor(logs_to))
logger = logs_provider.get_logger("client.logs", "0.1")
logs = []


def log(**fields):
    logger.emit(LogRecord(**fields))
    logs.append({
        "timeUnixNano": str(fields.get("timestamp") or 0),
        "observedTimeUnixNano": str(fields["observed_timestamp"]),
        "severityNumber": fields["severity_number"].value,
        "severityText": fields.get("severity_text") or "",
        "body": value(fields.get("body")),
        "eventName": fields.get("event_name") or "",
        "attributes": attributes(fields.get("attributes")),
        "traceId": f"{log_context.trace_id:032x}" if "context" in fields else "",
        "spanId": f"{log_context.span_id:016x}" if "context" in fields else "",
        "resource": attributes(resource.attributes),
        "scope": {"name": "client.logs", "version": "0.1", "attributes": {}},
    })


inside = trace.set_span_in_context(trace.NonRecordingSpan(log_context))
log(timestamp=1_700_000_000_000_000_123, observed_timestamp=1_700_000_000_000_000_456, severity_number=SeverityNumber.ERROR,
    severity_text="ERROR", body="payment refused: ünïcode", attributes={"order.id": 17, "tags": ["a", "b"]}, context=inside)
log(timestamp=1_700_000_000_000_001_000, observed_timestamp=1_700_000_000_000_001_000, severity_number=SeverityNumber.INFO,
    body={"nested": {"list": [1, "two", 3.5, None, {"deep": True}]}, "raw": b"\x00\xff"}, event_name="order.placed", context=inside)
log(observed_timestamp=1_700_000_000_000_002_000, severity_number=SeverityNumber.DEBUG2, body=True)

provider.shutdown()
logs_provider.shutdown()
version = importlib.metadata.version("opentelemetry-sdk")
json.dump({"client": f"Python SDK {version}, OTLP/{PROTOCOL}", "spans": recorder.spans, "logs": logs}, sys.stdout)
