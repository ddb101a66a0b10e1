// SPDX-License-Identifier: Apache-2.0
// The live tail's buffer: what is kept, what waits, what is left out and counted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const { TailBuffer } = await load('logs/tail.ts');

test('the newest rows are kept, in order of arrival', () => {
  const b = new TailBuffer(10, 4);
  for (let i = 0; i < 100; i++) b.add(i, i * 1000);
  assert.ok(b.rows.length >= 10 && b.rows.length <= 14);
  assert.equal(b.rows.at(-1), 99);
  assert.deepEqual(b.rows, [...b.rows].sort((x, y) => x - y));
});

test('while paused rows wait and are counted; resuming shows them', () => {
  const b = new TailBuffer(10, 1000);
  b.add('a', 0);
  b.pause();
  for (let i = 0; i < 35; i++) b.add(i, 0);
  assert.deepEqual(b.rows, ['a']);
  assert.equal(b.waitingCount, 35);
  b.resume();
  assert.deepEqual(b.rows, Array.from({ length: 10 }, (_, i) => 25 + i));
  assert.equal(b.waitingCount, 0);
  assert.equal(b.isPaused, false);
});

test('more than can be read in a second is left out and counted', () => {
  const b = new TailBuffer(5000, 200);
  for (let i = 0; i < 500; i++) b.add(i, 1500);
  assert.equal(b.rows.length, 200);
  assert.equal(b.sampled, 300);
  assert.equal(b.add('next', 2000), true);
});
