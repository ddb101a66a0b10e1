// SPDX-License-Identifier: Apache-2.0
// The range of a list with pages: what moves is sent as written, so that the next page is the same question.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const { pagedTimes, rangeOf } = await load('search/times.ts', 'lib/time.ts');
const NOW = 1_795_284_259_127_000_000n;
const asked = (from, to) => pagedTimes(from, to, rangeOf(from, to, NOW));

test('bounds that move stay words', () => {
  assert.deepEqual(asked('now-15m', 'now'), { from: 'now-15m', to: 'now' });
  assert.deepEqual(asked('now-2h', 'now-1h'), { from: 'now-2h', to: 'now-1h' });
  assert.deepEqual(asked('1795284000', 'now'), { from: '1795284000000000000', to: 'now' });
});

test('others are nanoseconds, in order', () => {
  assert.deepEqual(asked('2026-11-21T18:00:00Z', '2026-11-21T18:01:00Z'), { from: '1795284000000000000', to: '1795284060000000000' });
  assert.deepEqual(asked('now', 'now-15m'), { from: String(NOW - 900_000_000_000n), to: String(NOW) });
  for (const [from, to] of [['nonsense', 'now'], ['now-15m', 'nonsense'], ['now-1m', 'now-1m']]) {
    const t = asked(from, to);
    assert.ok(/^\d{19}$/.test(t.from) && /^\d{19}$/.test(t.to) && t.from < t.to, JSON.stringify(t));
  }
});
