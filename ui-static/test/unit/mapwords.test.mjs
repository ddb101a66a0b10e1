// SPDX-License-Identifier: Apache-2.0
// The map's doors: the TraceQL behind its numbers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const w = await load('map/words.ts', 'map/matrix.tsx', 'map/canvas.tsx');
const node = (kind, name, more = {}) => ({ kind, name, basis: 'entry', ...more });
const answer = {
  nodes: [node('service', 'web'), node('service', 'a "quoted" \\ one'), node('database', 'orders', { system: 'postgresql' }), node('queue', 'q', { system: 'kafka' }),
    node('external', 'api.x.com:8443'), node('service', 'batch', { basis: 'all' }), node('unknown', '')],
  edges: [{ s: 0, t: 1 }, { s: 0, t: 2 }, { s: 0, t: 3 }, { s: 3, t: 1 }, { s: 0, t: 4 }, { s: 0, t: 6 }],
};
const vertex = (...members) => ({ members });
const edge = (i, more = {}) => ({ parts: [i], async: false, ...more });

test('a service’s door filters its entry spans; names are quoted', () => {
  assert.equal(w.vertexQuery(answer, vertex(0)), '{ resource.service.name = "web" && (kind = server || kind = consumer) }');
  assert.equal(w.vertexQuery(answer, vertex(5), { isError: true }), '{ resource.service.name = "batch" && status = error }');
  assert.ok(w.vertexQuery(answer, vertex(1)).includes('"a \\"quoted\\" \\\\ one"'));
  assert.equal(w.vertexQuery(answer, vertex(0, 1), { minDuration_ns: 1500.4 }),
    '{ (resource.service.name = "web" || resource.service.name = "a \\"quoted\\" \\\\ one") && duration >= 1500ns }');
});

test('stores, queues and hosts are found by what their callers say of them; the unknown has no door', () => {
  assert.ok(w.vertexQuery(answer, vertex(2)).includes('span.db.system = "postgresql"'));
  assert.ok(w.vertexQuery(answer, vertex(3)).includes('span.messaging.destination.name = "q"'));
  assert.ok(w.vertexQuery(answer, vertex(4)).includes('(span.server.address = "api.x.com" ||'));
  assert.ok(w.vertexQuery(answer, vertex(4)).includes('&& (span.server.port = 8443 ||'));
  assert.equal(w.vertexQuery(answer, vertex(6)), undefined);
});

test('an edge’s door: the callee’s spans where it is a service, else the caller’s', () => {
  assert.equal(w.edgeQuery(answer, edge(3, { async: true })), '{ resource.service.name = "a \\"quoted\\" \\\\ one" && (span.messaging.destination.template = "q" || span.messaging.destination.name = "q" || span.messaging.destination = "q") }');
  assert.equal(w.edgeQuery(answer, edge(1), { isError: true }),
    '{ resource.service.name = "web" && kind = client && (span.db.system.name = "postgresql" || span.db.system = "postgresql") && ' +
      '(span.db.namespace = "orders" || span.db.name = "orders" || span.server.address = "orders") && status = error }');
  assert.ok(w.edgeQuery(answer, edge(2, { async: true })).includes('kind = producer'));
  assert.equal(w.edgeQuery(answer, { parts: [0, 1], async: false }), undefined);
  assert.equal(w.edgeQuery(answer, edge(5)), undefined);
});

test('every reason for a missing edge has words', () => {
  for (const why of ['no_server', 'broken_parent', 'sampled', 'expired']) assert.ok(w.gapText[why].short.length > 10 && w.gapText[why].long.length > 20);
});

test('what a reader hears of a node', () => {
  const v = { name: 'web', kind: 'service', system: '', rate: 12, err: 0.021, p95: 41e6, upTo: false, members: [0] };
  assert.equal(w.nodeLabel(v), 'web, service, 12.0 per second, 2.10 % errors, p95 41.0 ms');
  assert.equal(w.nodeLabel({ ...v, rate: 0, err: null, p95: null }), 'web, service, no calls in this range');
  assert.equal(w.nodeLabel({ ...v, name: 'shop', kind: 'group', members: [1, 2], upTo: true, err: 0 }), 'shop, group of 2, 12.0 per second, p95 up to 41.0 ms');
});

test('matrix: callers before callees, cells on legible steps', () => {
  const view = { nodes: [{ rate: 1 }, { rate: 2 }, { rate: 3 }], edges: [{ s: 2, t: 1 }, { s: 1, t: 0 }] };
  assert.deepEqual(w.orderOf(view), { rows: [2, 1], columns: [1, 0] });
  assert.equal(w.heat(null, 1, 10), 0);
  assert.equal(w.heat(1, 1, 1000), 1);
  assert.equal(w.heat(1000, 1, 1000), 6);
  assert.equal(w.heat(5, 5, 5), 3);
  for (let v = 1; v <= 1000; v++) assert.ok([1, 2, 3, 5, 6].includes(w.heat(v, 1, 1000)));
});

test('what answers no calls is counted in spans, and says so', () => {
  assert.equal(w.countedAs('all'), 'span');
  assert.equal(w.countedAs('entry'), 'call');
  assert.equal(w.countedAs(undefined), 'call');
  assert.equal(w.rateOf({ rate: 12, basis: 'all' }), '12.0 spans/s');
  assert.equal(w.rateOf({ rate: 12, basis: 'entry' }), '12.0/s');
  assert.equal(w.rateOf({ rate: null, basis: 'all' }), '–');
});

test('matrix: nodes of one name are told apart', () => {
  const v = (kind, name, ns = '', system = '') => ({ kind, name, ns, system });
  assert.deepEqual(w.namesIn({ nodes: [v('service', 'orders', 'shop'), v('queue', 'orders', '', 'kafka'), v('service', 'web', 'shop')] }),
    ['orders · service', 'orders · queue (kafka)', 'web']);
  assert.deepEqual(w.namesIn({ nodes: [v('service', 'api', 'a'), v('service', 'api', 'b')] }), ['api · a', 'api · b']);
});
