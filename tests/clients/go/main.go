// SPDX-License-Identifier: Apache-2.0

// An application instrumented with the OpenTelemetry SDK for Go.
//
// usage: client grpc|http ENDPOINT
//
// Sends spans and logs with every feature the SDK has, and prints what it sent, as one JSON document in the
// form that step.py compares with the server's answers.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/sdk"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

type object = map[string]any

func anyValue(v attribute.Value) object {
	list := []object{}
	switch v.Type() {
	case attribute.STRING:
		return object{"stringValue": v.AsString()}
	case attribute.BOOL:
		return object{"boolValue": v.AsBool()}
	case attribute.INT64:
		return object{"intValue": strconv.FormatInt(v.AsInt64(), 10)}
	case attribute.FLOAT64:
		return object{"doubleValue": v.AsFloat64()}
	case attribute.STRINGSLICE:
		for _, i := range v.AsStringSlice() {
			list = append(list, anyValue(attribute.StringValue(i)))
		}
	case attribute.BOOLSLICE:
		for _, i := range v.AsBoolSlice() {
			list = append(list, anyValue(attribute.BoolValue(i)))
		}
	case attribute.INT64SLICE:
		for _, i := range v.AsInt64Slice() {
			list = append(list, anyValue(attribute.Int64Value(i)))
		}
	case attribute.FLOAT64SLICE:
		for _, i := range v.AsFloat64Slice() {
			list = append(list, anyValue(attribute.Float64Value(i)))
		}
	case attribute.SLICE:
		for _, i := range v.AsSlice() {
			list = append(list, anyValue(i))
		}
	case attribute.BYTESLICE:
		return object{"bytesValue": base64.StdEncoding.EncodeToString(v.AsByteSlice())}
	case attribute.MAP:
		return object{"kvlistValue": attributes(v.AsMap())}
	case attribute.EMPTY:
		return object{}
	}
	return object{"arrayValue": list}
}

func attributes(pairs []attribute.KeyValue) object {
	all := object{}
	for _, p := range pairs {
		all[string(p.Key)] = anyValue(p.Value)
	}
	return all
}

func unixNano(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixNano(), 10)
}

// recorder keeps what the SDK itself says of each span when it ends.
type recorder struct{ spans []object }

func (r *recorder) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (r *recorder) ForceFlush(context.Context) error                { return nil }
func (r *recorder) Shutdown(context.Context) error                  { return nil }
func (r *recorder) OnEnd(s sdktrace.ReadOnlySpan) {
	events, links := []object{}, []object{}
	for _, e := range s.Events() {
		events = append(events, object{"timeUnixNano": unixNano(e.Time), "name": e.Name, "attributes": attributes(e.Attributes)})
	}
	for _, l := range s.Links() {
		links = append(links, object{"traceId": l.SpanContext.TraceID().String(), "spanId": l.SpanContext.SpanID().String(),
			"traceState": "" /* the exporter does not send it */, "attributes": attributes(l.Attributes)})
	}
	parent := ""
	if s.Parent().SpanID().IsValid() {
		parent = s.Parent().SpanID().String()
	}
	status := map[codes.Code]int{codes.Unset: 0, codes.Ok: 1, codes.Error: 2}[s.Status().Code]
	scope := s.InstrumentationScope()
	r.spans = append(r.spans, object{
		"traceId": s.SpanContext().TraceID().String(), "spanId": s.SpanContext().SpanID().String(), "parentSpanId": parent,
		"traceState": s.SpanContext().TraceState().String(), "name": s.Name(), "kind": int(s.SpanKind()),
		"startTimeUnixNano": unixNano(s.StartTime()), "endTimeUnixNano": unixNano(s.EndTime()),
		"attributes": attributes(s.Attributes()), "events": events, "links": links,
		"droppedAttributesCount": s.DroppedAttributes(), "droppedEventsCount": s.DroppedEvents(), "droppedLinksCount": s.DroppedLinks(),
		"status":    object{"code": status, "message": s.Status().Description},
		"scope":     object{"name": scope.Name, "version": scope.Version, "attributes": attributes(scope.Attributes.ToSlice())},
		"schemaUrl": scope.SchemaURL, "resource": attributes(s.Resource().Attributes()),
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

func exporters(ctx context.Context, protocol, endpoint string) (sdktrace.SpanExporter, sdklog.Exporter) {
	if protocol == "grpc" {
		return must(otlptrace.New(ctx, otlptracegrpc.NewClient(otlptracegrpc.WithEndpointURL(endpoint)))),
			must(otlploggrpc.New(ctx, otlploggrpc.WithEndpointURL(endpoint), otlploggrpc.WithCompressor("gzip")))
	}
	return must(otlptrace.New(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(endpoint+"/v1/traces"),
			otlptracehttp.WithCompression(otlptracehttp.GzipCompression)))),
		must(otlploghttp.New(ctx, otlploghttp.WithEndpointURL(endpoint+"/v1/logs")))
}

func main() {
	protocol, endpoint := os.Args[1], os.Args[2]
	ctx := context.Background()
	spansTo, logsTo := exporters(ctx, protocol, endpoint)
	res := resource.NewSchemaless(attribute.String("service.name", "go-"+protocol), attribute.String("service.version", "1.2.3"),
		attribute.StringSlice("list", []string{"a", "b"}), attribute.Int("count", 7), attribute.Float64("ratio", 0.25), attribute.Bool("flag", true))
	recorded := &recorder{}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSpanProcessor(recorded), sdktrace.WithBatcher(spansTo))
	tracer := provider.Tracer("client.test", trace.WithInstrumentationVersion("0.9"),
		trace.WithSchemaURL("https://opentelemetry.io/schemas/1.30.0"), trace.WithInstrumentationAttributes(attribute.String("scope.key", "x")))

	foreign := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: must(trace.TraceIDFromHex("1234567890abcdef1234567890abcdef")), SpanID: must(trace.SpanIDFromHex("1122334455667788")),
		TraceFlags: trace.FlagsSampled, TraceState: must(trace.ParseTraceState("vendor=t61rcWkgMzE")), Remote: true})
	inRoot, root := tracer.Start(ctx, "GET /cart", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithLinks(trace.Link{SpanContext: foreign, Attributes: []attribute.KeyValue{attribute.String("why", "batch"), attribute.Int("n", 3)}}))
	root.SetAttributes(attribute.String("text", "Grüße, 世界 🎉"), attribute.String("empty", ""), attribute.Bool("yes", true), attribute.Bool("no", false),
		attribute.Int64("negative", -9007199254740993), attribute.Int64("big", math.MaxInt64), attribute.Float64("double", 1.5),
		attribute.Float64("tiny", 5e-324), attribute.StringSlice("strings", []string{"a", "", "c"}), attribute.Int64Slice("ints", []int64{1, -2, 3}),
		attribute.BoolSlice("bools", []bool{true, false}), attribute.Float64Slice("doubles", []float64{0.5, 2.25}))
	root.AddEvent("first", trace.WithAttributes(attribute.String("k", "v")), trace.WithTimestamp(time.Unix(1700000000, 1)))
	_, child := tracer.Start(inRoot, "SELECT shop.cart", trace.WithSpanKind(trace.SpanKindClient))
	child.SetStatus(codes.Error, "relation \"cart\" does not exist")
	child.RecordError(errors.New("no such table: cart"), trace.WithStackTrace(true))
	child.End()
	_, producer := tracer.Start(inRoot, "publish", trace.WithSpanKind(trace.SpanKindProducer))
	producer.SetStatus(codes.Ok, "")
	producer.End()
	_, consumer := tracer.Start(inRoot, "consume", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(trace.Link{SpanContext: producer.SpanContext()}))
	consumer.End()
	_, many := tracer.Start(inRoot, "many")
	for i := range 200 { // over the SDK's limits of 128: dropped counts
		many.SetAttributes(attribute.Int(fmt.Sprintf("a%d", i), i))
		many.AddEvent(fmt.Sprintf("e%d", i))
	}
	many.End()
	root.End()

	logsProvider := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(logsTo)))
	logger := logsProvider.Logger("client.logs", log.WithInstrumentationVersion("0.1"))
	logs := []object{}
	emit := func(ctx context.Context, at, observed time.Time, severity log.Severity, text, event string, body attribute.Value, attrs ...attribute.KeyValue) {
		var r log.Record
		r.SetTimestamp(at)
		r.SetObservedTimestamp(observed)
		r.SetSeverity(severity)
		r.SetSeverityText(text)
		r.SetEventName(event)
		r.SetBody(body)
		r.AddAttributes(attrs...)
		logger.Emit(ctx, r)
		span := trace.SpanContextFromContext(ctx)
		traceID, spanID := "", ""
		if span.IsValid() {
			traceID, spanID = span.TraceID().String(), span.SpanID().String()
		}
		logs = append(logs, object{"timeUnixNano": unixNano(at), "observedTimeUnixNano": unixNano(observed), "severityNumber": int(severity),
			"severityText": text, "body": anyValue(body), "eventName": event, "attributes": attributes(attrs), "traceId": traceID,
			"spanId": spanID, "resource": attributes(res.Attributes()), "scope": object{"name": "client.logs", "version": "0.1", "attributes": object{}}})
	}
	emit(inRoot, time.Unix(1700000000, 123), time.Unix(1700000000, 456), log.SeverityError, "ERROR", "",
		attribute.StringValue("payment refused: ünïcode"), attribute.Int("order.id", 17), attribute.StringSlice("tags", []string{"a", "b"}))
	nested := attribute.SliceValue(attribute.IntValue(1), attribute.StringValue("two"), attribute.Float64Value(3.5), attribute.Value{})
	emit(inRoot, time.Unix(1700000000, 1000), time.Unix(1700000000, 1000), log.SeverityInfo, "", "order.placed",
		attribute.MapValue(attribute.KeyValue{Key: "nested", Value: nested}, attribute.KeyValue{Key: "raw", Value: attribute.ByteSliceValue([]byte{0, 255})}))
	emit(ctx, time.Time{}, time.Unix(1700000000, 2000), log.SeverityDebug2, "", "", attribute.BoolValue(true))

	for _, err := range []error{provider.Shutdown(ctx), logsProvider.Shutdown(ctx)} {
		if err != nil {
			fmt.Fprintln(os.Stderr, err) // the comparison shows what was lost
		}
	}
	must(0, json.NewEncoder(os.Stdout).Encode(object{"client": "Go SDK " + sdk.Version() + ", OTLP/" + protocol, "spans": recorded.spans, "logs": logs}))
}
