// SPDX-License-Identifier: Apache-2.0
// Time to the nanosecond, ranges as people write them, numbers as people read them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const m = await load('lib/time.ts', 'lib/units.ts');
const NOW = 1795257848317629375n; // 2026-11-21T10:44:08.317629375Z

test('RFC 3339 keeps every nanosecond', () => {
  for (const ns of [0n, 1n, 999999999n, 1000000000n, NOW, 1795257848000000001n, 4102444800000000000n])
    assert.equal(m.parseRfc3339(m.toRfc3339(ns)), ns);
  assert.equal(m.parseRfc3339('2026-11-21T10:44:08.317629375+05:30'), NOW - 19800n * m.SECOND);
  for (const bad of ['', '2026-11-21', '2026-11-21T10:44:08', '2026-13-21T10:44:08Z', '2026-11-21T10:44:08.1234567890Z', 'now']) assert.equal(m.parseRfc3339(bad), undefined, bad);
});

test('bounds of a range', () => {
  assert.equal(m.resolveTime('now', NOW), NOW);
  assert.equal(m.resolveTime('now-15m', NOW), NOW - 900n * m.SECOND);
  assert.equal(m.resolveTime('now-2d', NOW), NOW - 172800n * m.SECOND);
  assert.equal(m.resolveTime(String(NOW), 0n), NOW);
  assert.equal(m.resolveTime('1795257848', 0n), 1795257848000000000n);
  assert.equal(m.resolveTime('1795257848317', 0n), 1795257848317000000n);
  for (const bad of ['', 'now+1h', 'now-', 'now-1y', '-5', '1e9', 'yesterday']) assert.equal(m.resolveTime(bad, NOW), undefined, bad);
  const r = m.rangeOf('nonsense', 'nonsense', NOW);
  assert.deepEqual([r.to - r.from, r.to], [900n * m.SECOND, NOW]);
  const swapped = m.rangeOf('now', 'now-1h', NOW);
  assert.equal(swapped.to - swapped.from, 3600n * m.SECOND);
});

test('ranges as people write them', () => {
  const parse = (s, tz = 'UTC') => m.parseRangeText(s, tz, NOW);
  assert.deepEqual(parse('last 3h'), { from: 'now-3h', to: 'now' });
  assert.deepEqual(parse('15 min'), { from: 'now-15m', to: 'now' });
  assert.deepEqual(parse('2 days'), { from: 'now-2d', to: 'now' });
  const at = (s) => String(m.parseRfc3339(s));
  assert.deepEqual(parse('09:00-09:20'), { from: at('2026-11-21T09:00:00Z'), to: at('2026-11-21T09:20:00Z') });
  assert.deepEqual(parse('9:00 - 9:20:30'), { from: at('2026-11-21T09:00:00Z'), to: at('2026-11-21T09:20:30Z') });
  assert.deepEqual(parse('09:00-09:20', 'Asia/Kolkata'), { from: at('2026-11-21T03:30:00Z'), to: at('2026-11-21T03:50:00Z') });
  assert.deepEqual(parse('23:50-00:10'), { from: at('2026-11-21T23:50:00Z'), to: at('2026-11-22T00:10:00Z') });
  assert.deepEqual(parse('2026-11-20 14:00 to 15:00'), { from: at('2026-11-20T14:00:00Z'), to: at('2026-11-20T15:00:00Z') });
  assert.deepEqual(parse('2026-11-20 to now'), { from: at('2026-11-20T00:00:00Z'), to: 'now' });
  assert.deepEqual(parse('yesterday'), { from: at('2026-11-20T00:00:00Z'), to: at('2026-11-21T00:00:00Z') });
  // The day that summer time begins: 02:30 does not exist in Berlin, 03:30 is 01:30 UTC.
  assert.deepEqual(m.parseRangeText('2026-03-29 01:30 to 03:30', 'Europe/Berlin', NOW), { from: at('2026-03-29T00:30:00Z'), to: at('2026-03-29T01:30:00Z') });
  for (const bad of ['', 'soon', '25:00-26:00', '10:00', 'last', '10:00-09:00x', 'a-b-c']) assert.equal(parse(bad), undefined, bad);
});

test('clocks in a zone', () => {
  assert.equal(m.formatClock(NOW, 9, 'UTC'), '10:44:08.317629375');
  assert.equal(m.formatClock(NOW, 0, 'Asia/Kolkata'), '16:14:08');
  assert.equal(m.formatClock('0', 3, 'UTC'), '00:00:00.000');
  assert.equal(m.zoneName('Nowhere/Land'), undefined);
  assert.equal(m.formatAge(NOW - 90n * m.SECOND, NOW), '1 min ago');
  assert.equal(m.formatFor(NOW - 16n * m.SECOND, NOW), '16 s');
  assert.equal(m.formatAge(NOW + 5n * m.SECOND, NOW), 'in 5 s');
});

test('numbers as people read them', () => {
  const table = [
    [m.formatDuration, [[0, '0 ns'], [999, '999 ns'], [1000, '1.00 µs'], [1500, '1.50 µs'], [999_499, '999 µs'], [9.996e6, '10.0 ms'], [41e6, '41.0 ms'], [999.6e6, '1.00 s'], [2e9, '2.00 s'], [2.62e9, '2.62 s'], [60e9, '1 min'], [252e9, '4 min 12 s'], [3600e9, '1 h'], [11100e9, '3 h 5 min'], [187200e9, '2 d 4 h'], [-41e6, '−41.0 ms'], [null, '–'], [NaN, '–'], [412000000n, '412 ms']]],
    [m.formatRound, [[0, '0 ns'], [100, '100 ns'], [1e6, '1 ms'], [2.5e6, '2.5 ms'], [100e6, '100 ms'], [10e9, '10 s'], [300e9, '5 min'], [252e9, '4 min 12 s']]],
    [m.formatRate, [[0, '0/s'], [830, '830/s'], [1234, '1.23k/s'], [2e6, '2.00M/s'], [12, '12.0/s'], [4.99, '4.99/s'], [0.5, '0.50/s'], [0.0728, '0.07/s'], [0.0097, '0.01/s'], [0.003, '0.003/s'], [0.0001, '<0.001/s'], [null, '–']]],
    [m.formatPercent, [[0, '0 %'], [0.021, '2.10 %'], [0.00001, '<0.01 %'], [1, '100 %'], [0.99961, '99.96 %'], [0.5, '50.0 %'], [null, '–']]],
    [m.formatBytes, [[0, '0 B'], [212e6, '212 MB'], [3.1e9, '3.10 GB'], [812, '812 B'], [1234, '1.23 kB'], [5e12, '5.00 TB']]],
    [m.formatShort, [[0, '0'], [12480, '12.5k'], [3.1e6, '3.1M'], [999, '999'], [999_600, '1M']]],
    [m.formatCount, [[12480, '12,480'], [null, '–']]],
  ];
  for (const [format, cases] of table) for (const [n, text] of cases) assert.equal(format(n), text);
  assert.equal(m.plural(1, 'span'), '1 span');
  assert.equal(m.plural(0, 'span'), '0 spans');
});
