// SPDX-License-Identifier: Apache-2.0
// The services' pages: sorting, CSV, own time against waiting.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const s = await load('services/sort.ts', 'services/tables.tsx');
const l = await load('lib/links.ts');

test('order: numbers go down first, names up; a second click reverses', () => {
  assert.deepEqual(s.readOrder('p95'), { key: 'p95', reversed: false });
  assert.deepEqual(s.readOrder('-p95'), { key: 'p95', reversed: true });
  assert.equal(s.nextOrder('p95', 'p95'), '-p95');
  assert.equal(s.nextOrder('-p95', 'p95'), 'p95');
  assert.equal(s.nextOrder('p95', 'name'), 'name');
  assert.equal(s.isDescending(s.readOrder('p95'), false), true);
  assert.equal(s.isDescending(s.readOrder('name'), true), false);
  assert.equal(s.isDescending(s.readOrder('-name'), true), true);
});

test('sorted: unknown values stay last either way, equal ones go by the tie', () => {
  const rows = [['b', 5], ['a', 5], ['x', null], ['c', 9]], by = (order) => s.sorted(rows, s.readOrder(order), (r) => r[1], (r) => r[0]).map((r) => r[0]).join('');
  assert.equal(by('n'), 'cabx');
  assert.equal(by('-n'), 'abcx');
  assert.equal(rows[0][0], 'b');
});

test('csv: quotes what must be, and a formula is text', () => {
  const csv = s.toCsv(['a', 'b'], [['x,"y"', 1], ['=HYPERLINK("http://x")', null], ['@SUM(1)', -3], ['line\nbreak', 0.5]]);
  assert.equal(csv, 'a,b\r\n"x,""y""",1\r\n"\'=HYPERLINK(""http://x"")",\r\n\'@SUM(1),-3\r\n"line\nbreak",0.5\r\n');
});

test('own time: waiting is taken away, messages are not waited for, overlap is said', () => {
  const row = (time, more = {}) => ({ time, share: 0, async: false, ...more });
  const of = (out, time = 100) => s.ownTime({ time, out });
  assert.deepEqual(of([row(30), row(20)]), { own: 0.5, waiting: 0.5, overlaps: false });
  assert.deepEqual(of([row(30), row(50, { async: true }), row(50, { via: 'q' })]), { own: 0.7, waiting: 0.3, overlaps: false });
  assert.deepEqual(of([row(80), row(80)]), { own: 0, waiting: 1.6, overlaps: true });
  assert.deepEqual(of([row(1)], 0), { own: 1, waiting: 0, overlaps: false });
});

test('a service’s doors lead to the spans its figures count', () => {
  assert.equal(l.spanFilter({ service: 'web', isEntry: true, isError: true }), '{ resource.service.name = "web" && (kind = server || kind = consumer) && status = error }');
  assert.equal(l.spanFilter({ service: 'batch', isEntry: false }), '{ resource.service.name = "batch" }');
});
