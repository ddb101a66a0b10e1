// SPDX-License-Identifier: Apache-2.0
// The live tail: what is kept and in what order, what waits, what is left out and counted; and the stream it comes by.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const { TailBuffer, SseParser } = await load('logs/tail.ts', 'api/sse.ts');
const row = (time) => ({ time: String(time) });
const times = (b) => b.rows.map((r) => Number(r.time));

test('the newest rows are kept, in order', () => {
  const b = new TailBuffer(10, 4);
  for (let i = 0; i < 100; i++) b.add(row(i), i * 1000);
  assert.ok(b.rows.length >= 10 && b.rows.length <= 14);
  assert.equal(b.rows.at(-1).time, '99');
  assert.deepEqual(times(b), times(b).sort((x, y) => x - y));
});

test('rows that cross within two seconds stand by their time, and equals as they came', () => {
  const b = new TailBuffer(10, 100);
  for (const [time, at] of [[100, 0], [300, 500], [200, 900], [99, 1000], [1000, 1100], [400, 1200]]) b.add(row(time), at);
  assert.deepEqual(times(b), [99, 100, 200, 300, 400, 1000]);
  b.add({ time: '400', second: true }, 1300);
  assert.equal(b.rows[5].second, true);
});

test('what came two seconds ago stays where it is, also with a clock that is ahead', () => {
  const b = new TailBuffer(10, 100);
  b.add(row(9_000_000), 0);
  b.add(row(100), 500);
  assert.deepEqual(times(b), [100, 9_000_000]);
  b.add(row(101), 2100);
  b.add(row(50), 2700);
  assert.deepEqual(times(b), [100, 9_000_000, 50, 101]);
});

test('what was there before stands before, and nothing goes in between', () => {
  const b = new TailBuffer(10, 100);
  b.add(row(50), 0);
  b.prepend([row(1), row(60)]);
  b.add(row(2), 10);
  assert.deepEqual(times(b), [1, 60, 2, 50]);
});

test('while paused rows wait and are counted; resuming shows them', () => {
  const b = new TailBuffer(10, 1000);
  b.add(row(1000), 0);
  b.pause();
  for (let i = 0; i < 35; i++) b.add(row(2000 + (i ^ 1)), 0);
  assert.deepEqual(times(b), [1000]);
  assert.equal(b.waitingCount, 35);
  b.resume();
  assert.deepEqual(times(b), [2025, 2026, 2027, 2028, 2029, 2030, 2031, 2032, 2033, 2035]);
  assert.equal(b.waitingCount, 0);
  assert.equal(b.isPaused, false);
});

test('more than can be read in a second is left out and counted', () => {
  const b = new TailBuffer(5000, 200);
  for (let i = 0; i < 500; i++) b.add(row(i), 1500);
  assert.equal(b.rows.length, 200);
  assert.equal(b.sampled, 300);
  assert.equal(b.add(row(500), 2000), true);
});

test('a stream that broke in the middle of an event leaves nothing to the next but its ID', () => {
  const p = new SseParser();
  assert.deepEqual(p.feed('id: 7\nevent: row\ndata: one\n\n'), [{ event: 'row', data: 'one', id: '7' }]);
  assert.deepEqual(p.feed('event: skipped\ndata: {"n"'), []);
  p.begin();
  assert.deepEqual(p.feed('data: two\n\n'), [{ event: 'message', data: 'two', id: '7' }]);
});
