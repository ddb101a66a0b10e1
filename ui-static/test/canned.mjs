// SPDX-License-Identifier: Apache-2.0
// node test/canned.mjs [--port 0] [--services 60] [--seed 1] [--state full|empty|silent|error|busy] [--no-namespaces]
// A server that answers the page's questions from seeded generators: for states that are rare or large in life.
// Put it behind the page with: node test/serve.mjs --api http://127.0.0.1:PORT
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { mesh, random } from './fixtures/mesh.mjs';

const SECOND = 1000000000n;

/** The window that a request asks for, widened to whole minutes; "now" is the machine's. */
function windowOf(query, now_ms) {
  const now = BigInt(now_ms) * 1000000n;
  const at = (text, otherwise) => (text !== null && /^\d+$/.test(text) ? BigInt(text) : otherwise);
  const minute = 60n * SECOND, to = at(query.get('to'), now), from = at(query.get('from'), to - 15n * minute);
  const t0 = from - (from % minute), end = to % minute === 0n ? to : to - (to % minute) + minute;
  return { from: t0, to: end < now ? end : now, t0, window_s: Number((to - from) / SECOND) };
}

function seriesOf(seed, from, minutes, service) {
  const rnd = random(seed), n = Math.max(1, Math.min(60, minutes)), step_s = Math.max(60, Math.ceil(minutes / n) * 60);
  const base = service.p50 ?? 1e7, rate = service.rate ?? 1, at = Math.floor(n * 0.6);
  const out = { rate: [], err: [], p50: [], p90: [], p95: [], p99: [], count: [], errors: [] };
  for (let i = 0; i < n; i++) {
    const r = rate * (0.85 + 0.25 * Math.sin(i / 5 + seed) + 0.2 * rnd()), count = Math.round(r * step_s);
    const bad = i > at && i < at + 6 && (service.err ?? 0) > 0.001, err = bad ? (service.err ?? 0) * 6 : (service.err ?? 0) * rnd();
    const slow = bad ? 2.4 : 0.9 + 0.3 * rnd();
    out.rate.push(r);
    out.count.push(count);
    out.errors.push(Math.round(count * err));
    out.err.push(count > 0 ? Math.round(count * err) / count : null);
    for (const [p, by] of [['p50', 1], ['p90', 2.2], ['p95', 3.1], ['p99', 9 + 4 * rnd()]]) out[p].push(count > 0 ? Math.round(base * by * slow) : null);
  }
  return { points: n, step_s, t0: String(from), series: out };
}

const began_ms = Date.now();
/** What /status says, of totals that grow with the clock. */
function statusOf(state, w, now_ms) {
  const now = BigInt(now_ms) * 1000000n, age_s = 4000 + Math.max(0, Math.floor((now_ms - began_ms) / 1000)), began = now - BigInt(age_s) * SECOND, isFull = state === 'full';
  const spans = isFull ? age_s * 41_230 : 0, logs = isFull ? age_s * 3_120 : 0;
  const stage = (name, count, p50_ns) => ({ name, count, p50_ns: count > 0 ? p50_ns : null, p95_ns: count > 0 ? p50_ns * 3 : null, p99_ns: count > 0 ? p50_ns * 7 : null });
  return {
    server_time: String(now), started_at: String(began), version: '1.0.0',
    receivers: [['otlp-grpc', 4317, 4411021], ['otlp-http', 4318, 80211], ['http', 16686, 1902]].map(([name, port, requests]) => ({ name, url: `http://127.0.0.1:${port}`, requests: isFull ? requests : 0 })),
    ingest: { spans_stored: spans, logs_stored: logs, requests_refused: isFull ? 12 : 0, requests_in_flight: 3 },
    queues: [{ name: 'requests', used: isFull ? 11_200_000 : 0, max: 67108864, unit: 'bytes' }, { name: 'queries', used: isFull ? 230 : 0, max: 256, unit: 'items' }, { name: 'journal', used: isFull ? 18663 : 0, max: null, unit: 'items' }],
    stages: [stage('acknowledge', isFull ? 4491232 : 0, 2_400_000), stage('commit', isFull ? 190233 : 0, 1_800_000), stage('build', isFull ? 5133 : 0, 310_000_000), stage('query', isFull ? 1902 : 0, 12_000_000)],
    drops: isFull ? [{ what: 'items_rejected', signal: 'traces', reason: 'depth', count: 3 }, { what: 'attributes_cut', signal: 'traces', reason: 'value_too_long', count: 14 }, { what: 'items_rejected', signal: 'logs', reason: 'time_too_old', count: 1201 }] : [],
    storage: { spans: spans * 3, logs: logs * 3, journal_items: isFull ? 18663 : 0, row_groups: isFull ? 15322 : 0, partitions: isFull ? 3 : 1, partitions_damaged: 0, disk_bytes: isFull ? spans * 3 * 26 : 40960, disk: 'ok', disk_free_bytes: 212e9, newest_start: isFull ? String(w.to) : null, writable: true, durable: true },
    partitions: isFull ? [1, 2, 3].map((id) => ({ id, state: id === 3 ? 'open' : 'sealed', bytes: 1.02e9 / (id === 3 ? 4 : 1), min: String(began + BigInt(id - 1) * 1200n * SECOND), max: String(began + BigInt(id) * 1200n * SECOND), row_groups: 5000 + id, damaged: false })) : [{ id: 1, state: 'open', bytes: 40960, min: null, max: null, row_groups: 0, damaged: false }],
    complete: true, took_ms: 0.4,
  };
}

/** `now_ms`: a clock that stands still. */
export function canned({ services = 60, seed = 1, state = 'full', namespaces = true, now_ms } = {}) {
  const clock_ms = () => now_ms ?? Date.now();
  const system = state === 'empty' || state === 'silent' ? { ...mesh({ services: 2, seed }), nodes: [], edges: [], gaps: [], reason: state === 'empty' ? 'no_data_yet' : 'no_match' } : mesh({ services, seed, namespaces });
  const all = system.nodes.filter((n) => n.kind === 'service');
  const impact = (n) => n.rate * (n.p95 ?? 0), total = all.reduce((a, n) => a + impact(n), 0) || 1;
  const common = (w) => ({ from: String(w.from), to: String(w.to), window_s: w.window_s, t0: String(w.t0), step_s: 60, points: 15, partial: true, bound: 0.0055, took_ms: 1.9 });
  const sparkP95 = (n, k) => n.spark.map((_, i) => (n.p95 === null ? null : Math.round(n.p95 * (0.75 + 0.5 * random(k * 7919 + i * 104729 + 1)()))));

  function answer(path, query) {
    const w = windowOf(query, clock_ms());
    if (path === '/meta') {
      return { version: '1.0.0', server_time: String(BigInt(clock_ms()) * 1000000n), retention: { traces_s: 604800, logs_s: 604800 }, features: [], first_span_at: state === 'empty' ? null : String(w.from), user: null, endpoints: [['otlp-grpc', 4317], ['otlp-http', 4318], ['http', 16686]].map(([name, port]) => ({ name, url: `http://127.0.0.1:${port}` })), auth: false, tls: false };
    }
    if (/^\/attributes\/.*\/values$/.test(path)) return { values: [{ value: 'prod', count: 12 }] };
    if (path === '/status') return statusOf(state, w, clock_ms());
    if (path === '/cleaned') return { rows: state === 'full' ? [{ service: 'checkout', name: 'GET /item/{id}', example: 'GET /item/42', why: ['number'], spans: 812 }, { service: 'search', name: '(many names)', example: 'query 9f1c02a7 in 12 ms', why: ['query', 'overflow'], spans: 40112 }] : [], hidden: state === 'full' ? 3 : 0, took_ms: 0.2 };
    if (path === '/map') return { ...system, ...common(w), took_ms: 4.2 };
    if (path === '/services') {
      const rows = all.map((n, k) => {
        const { id: _id, spark, kind: _kind, ...rest } = n;
        return { ...rest, kind: n.basis === 'all' ? 'internal' : 'server', impact: impact(n) / total, last_seen: String(w.to - 60n * SECOND), spark_rate: spark, spark_p95: sparkP95(n, k) };
      });
      if (all.length > 0) rows.push({ name: 'retired-batch', ns: '', envs: [], kind: '', color: 9, basis: 'all', count: 0, errors: 0, rate: 0, err: null, p50: null, p90: null, p95: null, p99: null, impact: 0, last_seen: null });
      return { ...common(w), rows, hidden: 0, ...(rows.length === 0 ? { reason: system.reason } : {}) };
    }
    const one = /^\/services\/([^/]+)\/(series|operations|dependencies|instances)$/.exec(path);
    if (one === null) return null;
    const name = decodeURIComponent(one[1]), index = system.nodes.findIndex((n) => n.kind === 'service' && n.name === name);
    const node = system.nodes[index];
    if (node === undefined) return { ...common(w), rows: [], in: [], out: [], gaps: [], time: 0, series: { rate: [], err: [], p50: [], p90: [], p95: [], p99: [], count: [], errors: [] }, points: 0, count: 0, errors: 0, rate: 0, err: null, p50: null, p90: null, p95: null, p99: null, reason: 'no_match', hidden: 0 };
    const red = (k) => ({ count: Math.round(node.count * k), errors: Math.round(node.errors * k), rate: node.rate * k, err: node.err, p50: node.p50, p90: node.p90, p95: node.p95, p99: node.p99, slow: node.slow, fail: node.fail });
    const words = ['GET /{id}', 'POST /pay', 'GET /list', 'PUT /{id}', 'DELETE /{id}', 'consume orders', 'GET /health', 'refresh prices', 'POST /search'];
    const minutes = Math.max(1, Math.round(w.window_s / 60));
    switch (one[2]) {
      case 'series': {
        const s = seriesOf(index + 3, w.from, minutes, node);
        const prev = query.get('prev') !== null ? { prev: { from: String(w.from - BigInt(w.window_s) * SECOND), to: String(w.from), ...red(0.9), series: seriesOf(index + 77, w.from, minutes, node).series } } : {};
        const by = query.get('by') !== null && query.get('by') !== 'none' ? { by: words.slice(0, 5).map((key, k) => ({ key, ...red(0.5 / (k + 1)), series: seriesOf(index + k * 7, w.from, minutes, { ...node, rate: node.rate * 0.5 / (k + 1) }).series })), by_hidden: 3 } : {};
        return { ...common(w), ...s, ...red(1), basis: node.basis, ...prev, ...by };
      }
      case 'operations':
        return { ...common(w), rows: words.map((word, k) => ({ name: word, kind: k === 5 ? 'consumer' : k === 7 ? 'internal' : 'server', spans: Math.round(node.count * 0.5 / (k + 1)), ...red(0.5 / (k + 1)), time: Math.round((node.p50 ?? 0) * node.count * 0.5 / (k + 1)), share: 0.5 / (k + 1), impact: 0.5 / (k + 1), spark_rate: node.spark, spark_p95: sparkP95(node, k) })).slice(0, +(query.get('limit') ?? 200)), hidden: Math.max(0, words.length - +(query.get('limit') ?? 200)) };
      case 'dependencies': {
        const row = (e, other, k) => ({ node: { id: other.id, kind: other.kind, name: other.name, ns: other.ns ?? '', color: other.color ?? 0, system: other.system }, ...e, s: undefined, t: undefined, time: e.count * (e.p50 ?? 0), share: 0.45 / (k + 1) });
        return { ...common(w), time: node.count * (node.p50 ?? 0), in: system.edges.filter((e) => e.t === index).map((e, k) => row(e, system.nodes[e.s], k)), out: system.edges.filter((e) => e.s === index).map((e, k) => row(e, system.nodes[e.t], k)), gaps: system.gaps.filter((g) => g.s === index) };
      }
      default:
        return { ...common(w), rows: Array.from({ length: 4 }, (_, k) => ({ name: `${name}-7f9c${k}`, count: Math.round(node.count / 4), errors: Math.round(node.errors / 4), rate: node.rate / 4, err: node.err })), complete: true, scanned: { groups: 2, bytes: 805047, rows: 39644 } };
    }
  }

  return createServer((req, res) => {
    const url = new URL(req.url, 'http://x'), path = url.pathname.replace(/^\/api\/spindle\/v1/, '');
    const send = (status, body, headers = {}) => {
      res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
      res.end(JSON.stringify(body));
    };
    if (path !== '/meta' && state === 'error') return send(500, { error: { code: 'internal', message: 'The query failed: a row group could not be read.', request_id: '0190f3c2a7b41c55' } });
    if (path !== '/meta' && state === 'busy') return send(503, { error: { code: 'busy', message: 'Too many queries are running.', request_id: '0190f3c2a7b41c56' } }, { 'Retry-After': '7' });
    const body = answer(path, url.searchParams);
    if (body === null) send(404, { error: { code: 'not_found', message: `Nothing is at ${url.pathname}.` } });
    else send(200, body);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const argument = (name, otherwise) => {
    const at = process.argv.indexOf(name);
    return at < 0 ? otherwise : process.argv[at + 1];
  };
  const server = canned({
    services: +argument('--services', '60'), seed: +argument('--seed', '1'), state: argument('--state', 'full'),
    namespaces: !process.argv.includes('--no-namespaces'),
  });
  server.listen(+argument('--port', '0'), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
}
