// SPDX-License-Identifier: Apache-2.0

import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.common.KeyValue;
import io.opentelemetry.api.logs.Logger;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.*;
import io.opentelemetry.context.Context;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.exporter.otlp.logs.OtlpGrpcLogRecordExporter;
import io.opentelemetry.exporter.otlp.trace.OtlpGrpcSpanExporter;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.logs.*;
import io.opentelemetry.sdk.logs.data.LogRecordData;
import io.opentelemetry.sdk.logs.export.*;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.*;
import io.opentelemetry.sdk.trace.data.*;
import io.opentelemetry.sdk.trace.export.*;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.TimeUnit;

/**
 * An application instrumented with the OpenTelemetry SDK for Java.
 *
 * <p>usage: Client grpc|http ENDPOINT
 *
 * <p>Sends spans and logs with every feature the SDK has, and prints what it sent, as one JSON document in the form that step.py
 * compares with the server's answers.
 */
public class Client {
    // Recorders stand beside the exporters and keep what the SDK itself says.
    static final List<SpanData> spans = Collections.synchronizedList(new ArrayList<>());
    static final List<LogRecordData> logs = Collections.synchronizedList(new ArrayList<>());

    static class SpanRecorder implements SpanExporter {
        public CompletableResultCode export(Collection<SpanData> batch) { spans.addAll(batch); return CompletableResultCode.ofSuccess(); }
        public CompletableResultCode flush() { return CompletableResultCode.ofSuccess(); }
        public CompletableResultCode shutdown() { return CompletableResultCode.ofSuccess(); }
    }

    static class LogRecorder implements LogRecordExporter {
        public CompletableResultCode export(Collection<LogRecordData> batch) { logs.addAll(batch); return CompletableResultCode.ofSuccess(); }
        public CompletableResultCode flush() { return CompletableResultCode.ofSuccess(); }
        public CompletableResultCode shutdown() { return CompletableResultCode.ofSuccess(); }
    }

    static String json(Object o) {
        if (o instanceof Map<?, ?> m) {
            StringJoiner all = new StringJoiner(",", "{", "}");
            m.forEach((k, v) -> all.add(json(k.toString()) + ":" + json(v)));
            return all.toString();
        }
        if (o instanceof List<?> l) {
            StringJoiner all = new StringJoiner(",", "[", "]");
            l.forEach(v -> all.add(json(v)));
            return all.toString();
        }
        if (o instanceof String s) {
            StringBuilder b = new StringBuilder("\"");
            for (char c : s.toCharArray()) {
                if (c < 0x20 || c == '"' || c == '\\' || c > 0x7e) b.append(String.format("\\u%04x", (int) c));
                else b.append(c);
            }
            return b.append('"').toString();
        }
        return String.valueOf(o);
    }

    static Map<String, Object> anyValue(Object v) {
        if (v instanceof String s) return Map.of("stringValue", s);
        if (v instanceof Boolean b) return Map.of("boolValue", b);
        if (v instanceof Long l) return Map.of("intValue", l.toString());
        if (v instanceof Double d) return Map.of("doubleValue", d);
        if (v instanceof List<?> l) return Map.of("arrayValue", l.stream().map(Client::anyValue).toList());
        if (v instanceof Value<?> value) return bodyValue(value);
        throw new IllegalArgumentException(String.valueOf(v));
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> bodyValue(Value<?> v) {
        if (v == null) return Map.of();
        switch (v.getType()) {
            case ARRAY: return Map.of("arrayValue", ((List<Value<?>>) v.getValue()).stream().map(Client::bodyValue).toList());
            case KEY_VALUE_LIST: {
                Map<String, Object> all = new LinkedHashMap<>();
                for (KeyValue kv : (List<KeyValue>) v.getValue()) all.put(kv.getKey(), bodyValue(kv.getValue()));
                return Map.of("kvlistValue", all);
            }
            case BYTES: {
                ByteBuffer buffer = (ByteBuffer) v.getValue();
                byte[] raw = new byte[buffer.remaining()];
                buffer.duplicate().get(raw);
                return Map.of("bytesValue", Base64.getEncoder().encodeToString(raw));
            }
            default: return anyValue(v.getValue());
        }
    }

    static Map<String, Object> attributes(Attributes attributes) {
        Map<String, Object> all = new LinkedHashMap<>();
        attributes.forEach((k, v) -> all.put(k.getKey(), anyValue(v)));
        return all;
    }

    static Map<String, Object> object(Object... pairs) {
        Map<String, Object> all = new LinkedHashMap<>();
        for (int i = 0; i < pairs.length; i += 2) all.put((String) pairs[i], pairs[i + 1]);
        return all;
    }

    static String state(SpanContext c) {
        StringJoiner all = new StringJoiner(",");
        c.getTraceState().forEach((k, v) -> all.add(k + "=" + v));
        return all.toString();
    }

    static Map<String, Object> span(SpanData s) {
        return object("traceId", s.getTraceId(), "spanId", s.getSpanId(),
            "parentSpanId", s.getParentSpanContext().isValid() ? s.getParentSpanId() : "", "traceState", state(s.getSpanContext()),
            "name", s.getName(), "kind", s.getKind().ordinal() + 1, "startTimeUnixNano", Long.toString(s.getStartEpochNanos()),
            "endTimeUnixNano", Long.toString(s.getEndEpochNanos()), "attributes", attributes(s.getAttributes()),
            "events", s.getEvents().stream().map(e -> object("timeUnixNano", Long.toString(e.getEpochNanos()), "name", e.getName(),
                "attributes", attributes(e.getAttributes()))).toList(),
            "links", s.getLinks().stream().map(l -> object("traceId", l.getSpanContext().getTraceId(), "spanId", l.getSpanContext().getSpanId(),
                "traceState", state(l.getSpanContext()), "attributes", attributes(l.getAttributes()))).toList(),
            "droppedAttributesCount", s.getTotalAttributeCount() - s.getAttributes().size(),
            "droppedEventsCount", s.getTotalRecordedEvents() - s.getEvents().size(),
            "droppedLinksCount", s.getTotalRecordedLinks() - s.getLinks().size(),
            "status", object("code", s.getStatus().getStatusCode().ordinal(), "message", s.getStatus().getDescription()),
            "scope", object("name", s.getInstrumentationScopeInfo().getName(), "version", s.getInstrumentationScopeInfo().getVersion(),
                "attributes", attributes(s.getInstrumentationScopeInfo().getAttributes())),
            "schemaUrl", Objects.requireNonNullElse(s.getInstrumentationScopeInfo().getSchemaUrl(), ""),
            "resource", attributes(s.getResource().getAttributes()));
    }

    static Map<String, Object> log(LogRecordData l) {
        boolean linked = l.getSpanContext().isValid();
        return object("timeUnixNano", Long.toString(l.getTimestampEpochNanos()),
            "observedTimeUnixNano", Long.toString(l.getObservedTimestampEpochNanos()), "severityNumber", l.getSeverity().getSeverityNumber(),
            "severityText", Objects.requireNonNullElse(l.getSeverityText(), ""), "body", bodyValue(l.getBodyValue()),
            "eventName", Objects.requireNonNullElse(l.getEventName(), ""), "attributes", attributes(l.getAttributes()),
            "traceId", linked ? l.getSpanContext().getTraceId() : "", "spanId", linked ? l.getSpanContext().getSpanId() : "",
            "resource", attributes(l.getResource().getAttributes()),
            "scope", object("name", l.getInstrumentationScopeInfo().getName(), "version", l.getInstrumentationScopeInfo().getVersion(),
                "attributes", attributes(l.getInstrumentationScopeInfo().getAttributes())));
    }

    public static void main(String[] arguments) {
        String protocol = arguments[0], endpoint = arguments[1];
        boolean grpc = protocol.equals("grpc");
        SpanExporter spansTo = grpc ? OtlpGrpcSpanExporter.builder().setEndpoint(endpoint).setCompression("gzip").build()
            : OtlpHttpSpanExporter.builder().setEndpoint(endpoint + "/v1/traces").setCompression("gzip").build();
        LogRecordExporter logsTo = grpc ? OtlpGrpcLogRecordExporter.builder().setEndpoint(endpoint).build()
            : OtlpHttpLogRecordExporter.builder().setEndpoint(endpoint + "/v1/logs").build();
        Resource resource = Resource.create(Attributes.builder().put("service.name", "java-" + protocol).put("service.version", "1.2.3")
            .put("list", "a", "b").put("count", 7).put("ratio", 0.25).put("flag", true).build());
        SdkTracerProvider provider = SdkTracerProvider.builder().setResource(resource)
            .addSpanProcessor(SimpleSpanProcessor.create(new SpanRecorder()))
            .addSpanProcessor(BatchSpanProcessor.builder(spansTo).build()).build();
        Tracer tracer = provider.tracerBuilder("client.test").setInstrumentationVersion("0.9")
            .setSchemaUrl("https://opentelemetry.io/schemas/1.30.0").build();

        SpanContext foreign = SpanContext.createFromRemoteParent("1234567890abcdef1234567890abcdef", "1122334455667788",
            TraceFlags.getSampled(), TraceState.builder().put("vendor", "t61rcWkgMzE").build());
        Span root = tracer.spanBuilder("GET /cart").setSpanKind(SpanKind.SERVER).setNoParent()
            .addLink(foreign, Attributes.builder().put("why", "batch").put("n", 3).build()).startSpan();
        Context inRoot = Context.root().with(root);
        root.setAllAttributes(Attributes.builder().put("text", "Grüße, 世界 🎉").put("empty", "").put("yes", true).put("no", false)
            .put("negative", -9007199254740993L).put("big", Long.MAX_VALUE).put("double", 1.5).put("tiny", Double.MIN_VALUE)
            .put("strings", "a", "", "c").put("ints", 1L, -2L, 3L).put("bools", true, false).put("doubles", 0.5, 2.25).build());
        root.addEvent("first", Attributes.of(AttributeKey.stringKey("k"), "v"), 1_700_000_000_000_000_001L, TimeUnit.NANOSECONDS);
        Span child = tracer.spanBuilder("SELECT shop.cart").setSpanKind(SpanKind.CLIENT).setParent(inRoot).startSpan();
        child.setStatus(StatusCode.ERROR, "relation \"cart\" does not exist");
        child.recordException(new IllegalStateException("no such table: cart"));
        child.end();
        Span producer = tracer.spanBuilder("publish").setSpanKind(SpanKind.PRODUCER).setParent(inRoot).startSpan();
        producer.setStatus(StatusCode.OK);
        producer.end();
        tracer.spanBuilder("consume").setSpanKind(SpanKind.CONSUMER).setParent(inRoot).addLink(producer.getSpanContext()).startSpan().end();
        Span many = tracer.spanBuilder("many").setParent(inRoot).startSpan();
        for (int i = 0; i < 200; i++) { // over the SDK's limits of 128: dropped counts
            many.setAttribute("a" + i, i);
            many.addEvent("e" + i);
        }
        many.end();
        root.end();

        SdkLoggerProvider logsProvider = SdkLoggerProvider.builder().setResource(resource)
            .addLogRecordProcessor(SimpleLogRecordProcessor.create(new LogRecorder()))
            .addLogRecordProcessor(BatchLogRecordProcessor.builder(logsTo).build()).build();
        Logger logger = logsProvider.loggerBuilder("client.logs").setInstrumentationVersion("0.1").build();
        logger.logRecordBuilder().setContext(inRoot).setTimestamp(1_700_000_000_000_000_123L, TimeUnit.NANOSECONDS)
            .setObservedTimestamp(1_700_000_000_000_000_456L, TimeUnit.NANOSECONDS).setSeverity(Severity.ERROR).setSeverityText("ERROR")
            .setBody("payment refused: ünïcode").setAllAttributes(Attributes.builder().put("order.id", 17).put("tags", "a", "b").build()).emit();
        logger.logRecordBuilder().setContext(inRoot).setTimestamp(1_700_000_000_000_001_000L, TimeUnit.NANOSECONDS)
            .setObservedTimestamp(1_700_000_000_000_001_000L, TimeUnit.NANOSECONDS).setSeverity(Severity.INFO).setEventName("order.placed")
            .setBody(Value.of(KeyValue.of("nested", Value.of(Value.of(1), Value.of("two"), Value.of(3.5))),
                KeyValue.of("raw", Value.of(new byte[] {0, (byte) 255})))).emit();
        logger.logRecordBuilder().setContext(Context.root()).setObservedTimestamp(1_700_000_000_000_002_000L, TimeUnit.NANOSECONDS)
            .setSeverity(Severity.DEBUG2).setBody(Value.of(true)).emit();

        provider.shutdown().join(20, TimeUnit.SECONDS);
        logsProvider.shutdown().join(20, TimeUnit.SECONDS);
        String version = resource.getAttribute(AttributeKey.stringKey("telemetry.sdk.version"));
        if (version == null) version = Resource.getDefault().getAttribute(AttributeKey.stringKey("telemetry.sdk.version"));
        System.out.println(json(object("client", "Java SDK " + version + ", OTLP/" + protocol, "spans", spans.stream().map(Client::span).toList(),
            "logs", logs.stream().map(Client::log).toList())));
        System.exit(0);
    }
}
