// SPDX-License-Identifier: Apache-2.0
// The heatmap's boxes: in cells, in the URL, by keys; what is slow is never nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, seeded } from '../load.mjs';

const m = await load('search/heat.ts');

const heat = (cells, rows = 20, cols = 30) => ({
  t0: '1795257000000000000', step: '15000000000', cols,
  y: Array.from({ length: rows + 1 }, (_, i) => Math.round(1000 * 10 ** (i / 4))),
  cells, max: cells.reduce((n, c) => Math.max(n, c[2]), 0), spans: cells.reduce((n, c) => n + c[2], 0), errors: 0,
  approximate: false, covered_from: '1795257000000000000', complete: true, took_ms: 1,
});

test('a box in the URL is the same box again', () => {
  const h = heat([[1, 2, 3, 0]]);
  for (const b of [{ x0: 0, x1: 30, y0: 0, y1: 20 }, { x0: 3, x1: 4, y0: 7, y1: 20 }, { x0: 29, x1: 30, y0: 0, y1: 1 }]) {
    const back = m.fromUrl(h, m.toUrl(h, b));
    for (const k of ['x0', 'x1', 'y0', 'y1']) assert.ok(Math.abs(back[k] - b[k]) < 1e-3, `${k} of ${JSON.stringify(b)}`);
  }
  assert.deepEqual(m.toUrl(h, { x0: 0, x1: 2, y0: 0, y1: 20 }), ['1795257000000000000', '1795257030000000000', '0', m.UNBOUNDED]);
  assert.equal(m.fromUrl(h, []), undefined);
  assert.equal(m.fromUrl(h, ['1', '2', '0', m.UNBOUNDED]), undefined, 'before all of it');
});

test('slow is at most a twentieth, and never nothing', () => {
  assert.equal(m.slowBox(heat([])), undefined);
  const random = seeded(4);
  for (let round = 0; round < 200; round++) {
    const cells = Array.from({ length: 1 + Math.floor(random() * 60) }, () => [Math.floor(random() * 30), Math.floor(random() * 20), 1 + Math.floor(random() * 50), 0]);
    const h = heat(cells);
    const b = m.slowBox(h);
    const inside = m.countIn(h, b);
    assert.ok(inside > 0);
    const inRow = (y) => cells.filter((c) => c[1] === y).reduce((n, c) => n + c[2], 0);
    const all = cells.reduce((n, c) => n + c[2], 0);
    const rowsWithSpans = Array.from({ length: 20 }, (_, y) => y).filter((y) => y >= b.y0 && inRow(y) > 0).length;
    assert.ok(inside <= all * 0.05 || rowsWithSpans === 1, 'more only where one row alone is more');
    if (b.y0 > 0) assert.ok(inside + inRow(b.y0 - 1) > all * 0.05, 'and it could not be larger');
  }
});

test('keys keep the box whole and inside', () => {
  const h = heat([]);
  let b = { x0: 0, x1: 3, y0: 18, y1: 20 };
  b = m.nudge(h, b, -1, 1, false);
  assert.deepEqual(b, { x0: 0, x1: 3, y0: 18, y1: 20 });
  b = m.nudge(h, b, -5, 0, true);
  assert.deepEqual(b, { x0: 0, x1: 1, y0: 18, y1: 20 });
  b = m.nudge(h, b, 100, -100, false);
  assert.deepEqual(b, { x0: 29, x1: 30, y0: 0, y1: 2 });
});

test('a single span is seen beside a million', () => {
  assert.equal(m.heatStep(0, 10), 0);
  assert.equal(m.heatStep(1, 1_000_000), 1);
  assert.equal(m.heatStep(1_000_000, 1_000_000), 6);
  assert.ok(m.heatStep(1, 1) >= 3);
});

test('the duration axis has round labels, no more than there is room for', () => {
  assert.deepEqual(m.durationTicks(1e6, 1e9, 20), [1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9]);
  assert.ok(m.durationTicks(1, 1e12, 5).length <= 5);
});
