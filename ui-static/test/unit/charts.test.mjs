// SPDX-License-Identifier: Apache-2.0
// The charts: axes, gaps in lines, points with too few calls behind them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const c = await load('charts/axis.ts', 'charts/spark.tsx', 'charts/series.tsx');
const T0 = 1795257600n * 1000000000n; // 2026-11-21 10:40 UTC

test('time ticks stand on round clock times and fit', () => {
  for (const [span, most] of [[900, 8], [3600, 6], [86_400, 10], [86_400 * 30, 12], [7, 5]]) {
    const t0 = T0 + 37n * 1000000000n, ticks = c.timeTicks(t0, 0, span, most);
    assert.ok(ticks.length >= 1 && ticks.length <= most + 1, `${span}: ${ticks.length}`);
    const step = c.tickStep(span, most);
    for (const t of ticks) {
      assert.ok(t >= 0 && t <= span);
      assert.equal((t0 / 1000000000n + BigInt(t)) % BigInt(step), 0n);
    }
  }
});

test('the top of an axis is round and not below the value', () => {
  for (const v of [0.0001, 0.3, 1, 1.01, 7, 99, 100, 101, 5e9]) {
    assert.ok(c.roundUp(v) >= v * 0.999 && c.roundUp(v) <= v * 2.01, `${v} ${c.roundUp(v)}`);
  }
  assert.equal(c.roundUp(0), 1);
});

test('spark: breaks where nothing is known, a lone point is a dot, all is finite', () => {
  assert.equal(c.sparkPath([0, 10, null, 5, null, 1, 2], 60, 10, 10), 'M0.0 10.0L10.0 0.0M30.0 5.0h0.01M50.0 9.0L60.0 8.0');
  assert.equal(c.sparkPath([null, null], 60, 10, 0), '');
  assert.ok(!/NaN|Infinity/.test(c.sparkPath([0, 0, 0], 60, 10, 0) + c.sparkArea([0, null, 3], 60, 10, 3) + c.sparkPath([4], 60, 10, 4)));
  assert.equal(c.topOf([null, 3, 2]), 3);
});

test('points with few calls are drawn apart, joined to their neighbours', () => {
  const { main, weak } = c.parted([1, 2, 3, 4, 5], [100, 100, 3, 100, 100], 20);
  assert.deepEqual(main, [1, 2, null, 4, 5]);
  assert.deepEqual(weak, [null, 2, 3, 4, null]);
  assert.deepEqual(c.parted([null, 2, 3], [0, 100, 100], 20).weak, [null, null, null]);
});

test('a canvas’ time axis says round times, inside of its width, whatever it begins with', () => {
  const context = { measureText: (text) => ({ width: 6 * text.length }) };
  for (const [begin, span_s, width] of [[T0 + 123456789n, 900, 1000], [T0 + 7n, 86_400 * 3, 600], [T0 + 999999999n, 20, 500], [T0, 3600, 300], [T0 + 5n, 2, 400], [T0, 0.004, 400]]) {
    const span = BigInt(Math.round(span_s * 1e9)), labels = c.timeAxis(context, begin, begin + span, width);
    assert.ok(labels.length >= 2, `${span_s} s: ${labels.length}`);
    for (const [i, l] of labels.entries()) {
      assert.ok(l.left >= 0 && l.left + 6 * l.text.length <= width + 0.01, JSON.stringify(l));
      assert.ok(l.x >= 0 && l.x <= width);
      if (i > 0) assert.ok(l.x - labels[i - 1].x >= 40, 'labels lie over each other');
    }
    if (span_s >= 20) {
      const at = Number((begin % 60000000000n) + BigInt(Math.round((labels[0].x / width) * span_s * 1e9))) / 1e9;
      assert.ok(Math.abs(at - Math.round(at)) < 1e-3, `${at} is no whole second`);
    }
  }
  assert.deepEqual(c.timeAxis(context, T0, T0, 100), []);
});
