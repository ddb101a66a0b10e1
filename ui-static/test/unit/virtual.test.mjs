// SPDX-License-Identifier: Apache-2.0
// The arithmetic of the virtual list, also where a list is taller than a browser's page can be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const m = await load('lib/virtual.ts', 'logs/severity.ts');

test('what is in sight is filled, with a margin', () => {
  assert.deepEqual(m.windowOf(0, 100, 10, 5), { first: 0, last: 5, top: 0, height: 50 });
  assert.deepEqual(m.windowOf(0, 100, 10, 1000, 2), { first: 0, last: 12, top: 0, height: 10_000 });
  assert.deepEqual(m.windowOf(505, 100, 10, 1000, 2), { first: 48, last: 63, top: 480, height: 10_000 });
  assert.deepEqual(m.windowOf(0, 100, 10, 0), { first: 0, last: 0, top: 0, height: 0 });
  assert.equal(m.windowOf(1e9, 100, 10, 1000, 0).last, 1000);
});

test('a list of two million rows reaches both ends and every row', () => {
  const [view, row, count] = [700, 24, 2_000_000];
  const end = m.windowOf(m.MAX_PX - view, view, row, count, 0);
  assert.equal(end.last, count);
  assert.ok(Math.abs(end.top + (end.last - end.first) * row - m.MAX_PX) < 1);
  for (const i of [0, 1, 77, 999_999, 1_500_000]) {
    const top = m.scrollTopOf(i, view, row, count);
    const w = m.windowOf(top, view, row, count, 0);
    const y = w.top + (i - w.first) * row - top;
    assert.ok(i >= w.first && i < w.last && Math.abs(y) < row, `row ${i} at ${y}`);
  }
});

test('severities have a name, a letter and a step', () => {
  assert.deepEqual([0, 1, 4, 5, 9, 13, 17, 21, 24, 25, undefined].map(m.severityOf),
    ['unset', 'trace', 'trace', 'debug', 'info', 'warn', 'error', 'fatal', 'fatal', 'unset', 'unset']);
  assert.equal(m.severityLabel(14), 'WARN2');
  assert.equal(m.severityLabel(0), '–');
  assert.equal(m.severityLetter('error'), 'E');
});
