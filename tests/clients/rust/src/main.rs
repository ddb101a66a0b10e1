// SPDX-License-Identifier: Apache-2.0

//! An application instrumented with the OpenTelemetry SDK for Rust.
//!
//! usage: client grpc|http ENDPOINT
//!
//! Sends spans and logs with every feature the SDK has, and prints what it sent, as one JSON document in
//! the form that step.py compares with the server's answers.

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{
    Event, Link, Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value};
use opentelemetry_otlp::{LogExporter, SpanExporter, WithExportConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};
use opentelemetry_sdk::Resource;
use serde_json::{json, Map, Value as Json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn value(v: &Value) -> Json {
    match v {
        Value::Bool(b) => json!({ "boolValue": b }),
        Value::I64(i) => json!({ "intValue": i.to_string() }),
        Value::F64(f) => json!({ "doubleValue": f }),
        Value::String(s) => json!({ "stringValue": s.as_str() }),
        Value::Array(Array::Bool(all)) => {
            json!({ "arrayValue": all.iter().map(|v| value(&Value::Bool(*v))).collect::<Vec<_>>() })
        }
        Value::Array(Array::I64(all)) => {
            json!({ "arrayValue": all.iter().map(|v| value(&Value::I64(*v))).collect::<Vec<_>>() })
        }
        Value::Array(Array::F64(all)) => {
            json!({ "arrayValue": all.iter().map(|v| value(&Value::F64(*v))).collect::<Vec<_>>() })
        }
        Value::Array(Array::String(all)) => {
            json!({ "arrayValue": all.iter().map(|v| value(&Value::String(v.clone()))).collect::<Vec<_>>() })
        }
        _ => panic!("a value of a kind that is new: {v:?}"),
    }
}

fn attributes<'a>(pairs: impl IntoIterator<Item = &'a KeyValue>) -> Json {
    Json::Object(pairs.into_iter().map(|p| (p.key.to_string(), value(&p.value))).collect())
}

fn any_value(v: &AnyValue) -> Json {
    match v {
        AnyValue::Int(i) => json!({ "intValue": i.to_string() }),
        AnyValue::Double(f) => json!({ "doubleValue": f }),
        AnyValue::String(s) => json!({ "stringValue": s.as_str() }),
        AnyValue::Boolean(b) => json!({ "boolValue": b }),
        AnyValue::Bytes(_) => json!({ "bytesValue": "AP8=" }), // the only bytes sent below
        AnyValue::ListAny(all) => json!({ "arrayValue": all.iter().map(any_value).collect::<Vec<_>>() }),
        AnyValue::Map(all) => {
            let map: Map<String, Json> = all.iter().map(|(k, v)| (k.to_string(), any_value(v))).collect();
            json!({ "kvlistValue": map })
        }
        _ => panic!("a value of a kind that is new: {v:?}"),
    }
}

fn unix_nano(t: SystemTime) -> String {
    t.duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string()
}

fn link(l: &Link) -> Json {
    json!({ "traceId": l.span_context.trace_id().to_string(), "spanId": l.span_context.span_id().to_string(),
            "traceState": l.span_context.trace_state().header(), "attributes": attributes(&l.attributes) })
}

fn event(e: &Event) -> Json {
    json!({ "timeUnixNano": unix_nano(e.timestamp), "name": e.name, "attributes": attributes(&e.attributes) })
}

/// Keeps what the SDK itself says of each span when it ends.
#[derive(Debug, Clone)]
struct Recorder {
    spans: Arc<Mutex<Vec<Json>>>,
    resource: Json,
}

impl SpanProcessor for Recorder {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}
    fn on_end(&self, s: SpanData) {
        let (code, message) = match &s.status {
            Status::Unset => (0, String::new()),
            Status::Ok => (1, String::new()),
            Status::Error { description } => (2, description.to_string()),
        };
        let kind = match s.span_kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        };
        let parent = if s.parent_span_id == SpanId::INVALID { String::new() } else { s.parent_span_id.to_string() };
        let scope = &s.instrumentation_scope;
        self.spans.lock().unwrap().push(json!({
            "traceId": s.span_context.trace_id().to_string(), "spanId": s.span_context.span_id().to_string(),
            "parentSpanId": parent, "traceState": s.span_context.trace_state().header(), "name": s.name, "kind": kind,
            "startTimeUnixNano": unix_nano(s.start_time), "endTimeUnixNano": unix_nano(s.end_time),
            "attributes": attributes(&s.attributes),
            "events": s.events.iter().map(event).collect::<Vec<_>>(), "links": s.links.iter().map(link).collect::<Vec<_>>(),
            "droppedAttributesCount": s.dropped_attributes_count, "droppedEventsCount": s.events.dropped_count,
            "droppedLinksCount": s.links.dropped_count, "status": { "code": code, "message": message },
            "scope": { "name": scope.name(), "version": scope.version().unwrap_or(""), "attributes": attributes(scope.attributes()) },
            "schemaUrl": scope.schema_url().unwrap_or(""), "resource": self.resource,
        }));
    }
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn exporters(protocol: &str, endpoint: &str) -> (SpanExporter, LogExporter) {
    if protocol == "grpc" {
        (
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).build().unwrap(),
            LogExporter::builder().with_tonic().with_endpoint(endpoint).build().unwrap(),
        )
    } else {
        (
            SpanExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/traces")).build().unwrap(),
            LogExporter::builder().with_http().with_endpoint(format!("{endpoint}/v1/logs")).build().unwrap(),
        )
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (protocol, endpoint) = (arguments[1].clone(), arguments[2].clone());
    let in_runtime = protocol == "grpc";
    let run = move || application(&protocol, &endpoint);
    if in_runtime {
        tokio::task::spawn_blocking(run).await.unwrap();
    } else {
        std::thread::spawn(run).join().unwrap(); // the blocking HTTP client wants no runtime around it
    }
}

fn application(protocol: &str, endpoint: &str) {
    let (spans_to, logs_to) = exporters(protocol, endpoint);
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", format!("rust-{protocol}")),
            KeyValue::new("service.version", "1.2.3"),
            KeyValue::new("list", Value::Array(Array::String(vec!["a".into(), "b".into()]))),
            KeyValue::new("count", 7),
            KeyValue::new("ratio", 0.25),
            KeyValue::new("flag", true),
        ])
        .build();
    let resource_json = Json::Object(resource.iter().map(|(k, v)| (k.to_string(), value(v))).collect());
    let recorder = Recorder { spans: Arc::default(), resource: resource_json.clone() };
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_span_processor(recorder.clone())
        .with_batch_exporter(spans_to)
        .build();
    let scope = InstrumentationScope::builder("client.test")
        .with_version("0.9")
        .with_schema_url("https://opentelemetry.io/schemas/1.30.0")
        .with_attributes([KeyValue::new("scope.key", "x")])
        .build();
    let tracer = provider.tracer_with_scope(scope);

    let foreign = SpanContext::new(
        TraceId::from_hex("1234567890abcdef1234567890abcdef").unwrap(),
        SpanId::from_hex("1122334455667788").unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::from_key_value([("vendor", "t61rcWkgMzE")]).unwrap(),
    );
    let mut root = tracer
        .span_builder("GET /cart")
        .with_kind(SpanKind::Server)
        .with_links(vec![Link::new(foreign, vec![KeyValue::new("why", "batch"), KeyValue::new("n", 3)], 0)])
        .start_with_context(&tracer, &Context::new());
    root.set_attributes([
        KeyValue::new("text", "Grüße, 世界 🎉"),
        KeyValue::new("empty", ""),
        KeyValue::new("yes", true),
        KeyValue::new("no", false),
        KeyValue::new("negative", -9007199254740993i64),
        KeyValue::new("big", i64::MAX),
        KeyValue::new("double", 1.5),
        KeyValue::new("tiny", 5e-324),
        KeyValue::new("strings", Value::Array(Array::String(vec!["a".into(), "".into(), "c".into()]))),
        KeyValue::new("ints", Value::Array(Array::I64(vec![1, -2, 3]))),
        KeyValue::new("bools", Value::Array(Array::Bool(vec![true, false]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![0.5, 2.25]))),
    ]);
    root.add_event_with_timestamp("first", UNIX_EPOCH + Duration::new(1_700_000_000, 1), vec![KeyValue::new("k", "v")]);
    let root_context = root.span_context().clone();
    let in_root = Context::new().with_span(root);

    let mut child = tracer.span_builder("SELECT shop.cart").with_kind(SpanKind::Client).start_with_context(&tracer, &in_root);
    child.set_status(Status::error("relation \"cart\" does not exist"));
    child.record_error(&std::io::Error::other("no such table: cart"));
    child.end();
    let mut producer = tracer.span_builder("publish").with_kind(SpanKind::Producer).start_with_context(&tracer, &in_root);
    producer.set_status(Status::Ok);
    let produced = producer.span_context().clone();
    producer.end();
    tracer
        .span_builder("consume")
        .with_kind(SpanKind::Consumer)
        .with_links(vec![Link::with_context(produced)])
        .start_with_context(&tracer, &in_root)
        .end();
    let mut many = tracer.span_builder("many").start_with_context(&tracer, &in_root);
    for i in 0..200 {
        many.set_attribute(KeyValue::new(format!("a{i}"), i)); // over the SDK's limits of 128: dropped counts
        many.add_event(format!("e{i}"), vec![]);
    }
    many.end();
    in_root.span().end();

    let logs_provider = SdkLoggerProvider::builder().with_resource(resource).with_batch_exporter(logs_to).build();
    let logger = logs_provider.logger_with_scope(InstrumentationScope::builder("client.logs").with_version("0.1").build());
    let at = |ns: u32| UNIX_EPOCH + Duration::new(1_700_000_000, ns);
    let mut logs = Vec::new();
    let mut log = |time: Option<SystemTime>, observed: SystemTime, severity: Severity, text: Option<&'static str>, body: AnyValue,
                   event: Option<&'static str>, attrs: Vec<(&'static str, AnyValue)>, linked: bool| {
        let mut record = logger.create_log_record();
        if let Some(time) = time {
            record.set_timestamp(time);
        }
        record.set_observed_timestamp(observed);
        record.set_severity_number(severity);
        if let Some(text) = text {
            record.set_severity_text(text);
        }
        if let Some(event) = event {
            record.set_event_name(event);
        }
        let attributes: Map<String, Json> = attrs.iter().map(|(k, v)| (k.to_string(), any_value(v))).collect();
        logs.push(json!({
            "timeUnixNano": time.map_or("0".into(), unix_nano), "observedTimeUnixNano": unix_nano(observed),
            "severityNumber": severity as i32, "severityText": text.unwrap_or(""), "body": any_value(&body),
            "eventName": event.unwrap_or(""), "attributes": attributes, "resource": resource_json,
            "traceId": if linked { root_context.trace_id().to_string() } else { String::new() },
            "spanId": if linked { root_context.span_id().to_string() } else { String::new() },
            "scope": { "name": "client.logs", "version": "0.1", "attributes": {} },
        }));
        record.set_body(body);
        for (key, v) in attrs {
            record.add_attribute(key, v);
        }
        if linked {
            record.set_trace_context(root_context.trace_id(), root_context.span_id(), Some(TraceFlags::SAMPLED));
        }
        logger.emit(record);
    };
    log(Some(at(123)), at(456), Severity::Error, Some("ERROR"), "payment refused: ünïcode".into(), None,
        vec![("order.id", 17.into()), ("tags", AnyValue::ListAny(Box::new(vec!["a".into(), "b".into()])))], true);
    let nested = AnyValue::ListAny(Box::new(vec![1.into(), "two".into(), 3.5.into()]));
    let body = AnyValue::Map(Box::new(HashMap::from([
        ("nested".into(), nested),
        ("raw".into(), AnyValue::Bytes(Box::new(vec![0, 255]))),
    ])));
    log(Some(at(1000)), at(1000), Severity::Info, None, body, Some("order.placed"), vec![], true);
    log(None, at(2000), Severity::Debug2, None, true.into(), None, vec![], false);

    for result in [provider.shutdown(), logs_provider.shutdown()] {
        if let Err(error) = result {
            eprintln!("{error}"); // the comparison shows what was lost
        }
    }
    let spans = recorder.spans.lock().unwrap();
    println!("{}", json!({ "client": format!("Rust SDK {}, OTLP/{protocol}", env!("SDK_VERSION")), "spans": *spans, "logs": logs }));
}
