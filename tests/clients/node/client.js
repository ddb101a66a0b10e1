// SPDX-License-Identifier: Apache-2.0
// An application instrumented with the OpenTelemetry SDK for JavaScript.
//
// usage: node client.js grpc|proto|json ENDPOINT
//
// Sends spans and logs with every feature the SDK has, and prints what it sent, as one JSON document in the
// form that step.py compares with the server's answers.
import { createRequire } from 'node:module';
import { context, trace, SpanKind, SpanStatusCode, TraceFlags, createTraceState } from '@opentelemetry/api';
import { SeverityNumber } from '@opentelemetry/api-logs';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { LoggerProvider, BatchLogRecordProcessor } from '@opentelemetry/sdk-logs';

const [protocol, endpoint] = process.argv.slice(2);
const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${protocol === 'json' ? 'http' : protocol}`);
const { OTLPLogExporter } = await import(`@opentelemetry/exporter-logs-otlp-${protocol === 'json' ? 'http' : protocol}`);
const url = (path) => (protocol === 'grpc' ? endpoint : endpoint + path);
const compression = protocol === 'proto' ? 'gzip' : 'none';
const spansTo = new OTLPTraceExporter({ url: url('/v1/traces'), compression });
const logsTo = new OTLPLogExporter({ url: url('/v1/logs'), compression });

// The SDK sends integers beyond 32 bits as it sees fit; ints here are those JavaScript calls integers.
function value(v) {
  if (v === null || v === undefined) return {};
  if (typeof v === 'string') return { stringValue: v };
  if (typeof v === 'boolean') return { boolValue: v };
  if (typeof v === 'number') return Number.isInteger(v) ? { intValue: String(v) } : { doubleValue: v };
  if (v instanceof Uint8Array) return { bytesValue: Buffer.from(v).toString('base64') };
  if (Array.isArray(v)) return { arrayValue: v.map(value) };
  return { kvlistValue: attributes(v) };
}
const attributes = (o) => Object.fromEntries(Object.entries(o ?? {}).map(([k, v]) => [k, value(v)]));
const ns = ([s, n]) => String(BigInt(s) * 1000000000n + BigInt(n));

const spans = [];
const recorder = {
  onStart() {},
  onEnd(span) {
    spans.push({
      traceId: span.spanContext().traceId,
      spanId: span.spanContext().spanId,
      parentSpanId: span.parentSpanContext?.spanId ?? '',
      traceState: span.spanContext().traceState?.serialize() ?? '',
      name: span.name,
      kind: span.kind + 1,
      startTimeUnixNano: ns(span.startTime),
      endTimeUnixNano: ns(span.endTime),
      attributes: attributes(span.attributes),
      events: span.events.map((e) => ({ timeUnixNano: ns(e.time), name: e.name, attributes: attributes(e.attributes) })),
      links: span.links.map((l) => ({ traceId: l.context.traceId, spanId: l.context.spanId,
        traceState: l.context.traceState?.serialize() ?? '', attributes: attributes(l.attributes) })),
      droppedAttributesCount: span.droppedAttributesCount,
      droppedEventsCount: span.droppedEventsCount,
      droppedLinksCount: span.droppedLinksCount,
      status: { code: span.status.code, message: span.status.message ?? '' },
      scope: { name: span.instrumentationScope.name, version: span.instrumentationScope.version ?? '', attributes: {} },
      schemaUrl: span.instrumentationScope.schemaUrl ?? '',
      resource: attributes(span.resource.attributes),
    });
  },
  forceFlush: async () => {},
  shutdown: async () => {},
};

const resource = resourceFromAttributes({ 'service.name': `node-${protocol}`, 'service.version': '1.2.3', list: ['a', 'b'],
  count: 7, ratio: 0.25, flag: true });
const provider = new BasicTracerProvider({ resource, spanProcessors: [recorder, new BatchSpanProcessor(spansTo)] });
const tracer = provider.getTracer('client.test', '0.9', { schemaUrl: 'https://opentelemetry.io/schemas/1.30.0' });

const foreign = { traceId: '1234567890abcdef1234567890abcdef', spanId: '1122334455667788', isRemote: true,
  traceFlags: TraceFlags.SAMPLED, traceState: createTraceState('vendor=t61rcWkgMzE') };
const root = tracer.startSpan('GET /cart', { kind: SpanKind.SERVER, root: true,
  links: [{ context: foreign, attributes: { why: 'batch', n: 3 } }] });
root.setAttributes({ text: 'Grüße, 世界 🎉', empty: '', yes: true, no: false, int: 42, negative: -42, double: 1.5, tiny: 5e-324,
  strings: ['a', '', 'c'], ints: [1, -2, 3], bools: [true, false], doubles: [0.5, 2.25] });
root.addEvent('first', { k: 'v', list: [1, 2] }, [1700000000, 1]);
const inRoot = trace.setSpan(context.active(), root);

const child = tracer.startSpan('SELECT shop.cart', { kind: SpanKind.CLIENT }, inRoot);
child.setStatus({ code: SpanStatusCode.ERROR, message: 'relation "cart" does not exist' });
child.recordException(new TypeError('no such table: cart'));
child.end();
const producer = tracer.startSpan('publish', { kind: SpanKind.PRODUCER }, inRoot);
producer.setStatus({ code: SpanStatusCode.OK });
producer.end();
tracer.startSpan('consume', { kind: SpanKind.CONSUMER, links: [{ context: producer.spanContext() }] }, inRoot).end();
tracer.startSpan('compute', {}, inRoot).end();
const many = tracer.startSpan('many', {}, inRoot);
for (let i = 0; i < 200; i++) {
  many.setAttribute(`a${i}`, i); // over the SDK's limits of 128: dropped counts
  many.addEvent(`e${i}`);
}
many.end();
root.end();

const logsProvider = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: logsTo })] });
const logger = logsProvider.getLogger('client.logs', '0.1');
const logs = [];
function log({ linked, ...fields }) {
  logger.emit({ ...fields, context: linked ? inRoot : undefined });
  logs.push({
    timeUnixNano: ns(fields.timestamp),
    observedTimeUnixNano: ns(fields.observedTimestamp),
    severityNumber: fields.severityNumber,
    severityText: fields.severityText ?? '',
    body: value(fields.body),
    eventName: fields.eventName ?? '',
    attributes: attributes(fields.attributes),
    traceId: linked ? root.spanContext().traceId : '',
    spanId: linked ? root.spanContext().spanId : '',
    resource: attributes(resource.attributes),
    scope: { name: 'client.logs', version: '0.1', attributes: {} },
  });
}
log({ timestamp: [1700000000, 123], observedTimestamp: [1700000000, 456], severityNumber: SeverityNumber.ERROR, severityText: 'ERROR',
  body: 'payment refused: ünïcode', attributes: { 'order.id': 17, tags: ['a', 'b'] }, linked: true });
log({ timestamp: [1700000000, 1000], observedTimestamp: [1700000000, 1000], severityNumber: SeverityNumber.INFO, eventName: 'order.placed',
  body: { nested: { list: [1, 'two', 3.5, { deep: true }] }, raw: new Uint8Array([0, 255]) }, linked: true });
log({ timestamp: [1700000000, 2000], observedTimestamp: [1700000000, 2000], severityNumber: SeverityNumber.DEBUG2, body: true });

for (const end of [() => provider.forceFlush(), () => logsProvider.forceFlush(), () => provider.shutdown(), () => logsProvider.shutdown()]) {
  await end().catch((error) => console.error(error)); // the comparison shows what was lost
}
const version = createRequire(import.meta.url)('@opentelemetry/sdk-trace-base/package.json').version;
process.stdout.write(JSON.stringify({ client: `JavaScript SDK ${version}, OTLP/${protocol}`, spans, logs }));
