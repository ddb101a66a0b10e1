// SPDX-License-Identifier: Apache-2.0
// The address: every parameter of every route survives being written and read, whatever stands in it; what is not a
// value falls back and is named; addresses name the places they should.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, seeded } from '../load.mjs';

const m = await load('lib/route.ts');

const hostile = ['', 'a', ',', '%', '%2C', 'a,b', 'a%2Cb', '%25', '%%', ' ', '+', '&', '=', '#', '?', '/', '"', "'", '<script>', '\u{1f525}', '\u202e', '日本', '\n', 'a'.repeat(500), '__proto__', 'constructor'];
const through = (codec, value) => codec.parse(new URLSearchParams(new URLSearchParams({ x: codec.format(value) }).toString()).get('x'));

test('codecs give back what they were given', () => {
  for (const value of hostile) assert.equal(through(m.text(), value), value);
  for (let n = 0; n < 300; n++) {
    const rnd = seeded(n + 1);
    const value = Array.from({ length: 1 + Math.floor(rnd() * 5) }, () => hostile[Math.floor(rnd() * hostile.length)]).filter((v) => v !== '');
    assert.deepEqual(through(m.list(), value), value, JSON.stringify(value));
  }
  assert.deepEqual(through(m.list(), []), []);
  assert.deepEqual(through(m.nanoseconds(2), ['0', '1795257848317629375']), ['0', '1795257848317629375']);
  for (const value of [true, false]) assert.equal(through(m.flag(), value), value);
});

test('what is no value is refused', () => {
  const refused = [
    [m.whole(1, 3, 1), ['0', '4', '', '1.5', '-1', '1e0', 'x', '0x1', '99999999999']],
    [m.oneOf(['in', 'out'], 'in'), ['', 'IN', 'constructor', 'toString']],
    [m.flag(), ['', 'true', '2']],
    [m.nanoseconds(2), ['1', '1,2,3', '1,', 'a,b', '1.5,2', '999999999999999999999,1']],
    [m.spanId, ['123', 'g'.repeat(16), '0'.repeat(32)]],
  ];
  for (const [codec, values] of refused) for (const v of values) assert.equal(codec.parse(v), undefined, v);
});

test('paths name places', () => {
  const cases = [
    ['/', 'map', ''], ['/services', 'services', ''], ['/services/cart', 'service', 'cart'], ['/services/a%2Fb%20c', 'service', 'a/b c'],
    ['/services/%E6%97%A5', 'service', '日'], ['/trace/00ff', 'trace', '00ff'], ['/id/ABC', 'id', 'ABC'], ['/logs', 'logs', ''],
    ['/services/', 'unknown', ''], ['/services/a/b', 'unknown', ''], ['/services/%', 'unknown', ''], ['/nope', 'unknown', ''], ['/Logs', 'unknown', ''],
  ];
  for (const [path, route, name] of cases) {
    const place = m.placeOf(path, '?x=1');
    assert.deepEqual([place.route, place.name, place.search], [route, name, 'x=1'], path);
  }
});

test('a place is read as typed parameters, and bad ones are named', () => {
  const bad = [];
  const p = m.readPlace('map', m.placeOf('/', '?hops=2&show=spirals&open=a%252Cb,c&from=now-1h&unknown=1'), bad);
  assert.equal(p.hops, 2);
  assert.equal(p.show, 'all');
  assert.deepEqual(p.open, ['a,b', 'c']);
  assert.equal(p.from, 'now-1h');
  assert.equal(p.to, 'now');
  assert.deepEqual(bad, ['show=spirals']);
});

test('links hold what was asked, and no defaults', () => {
  assert.equal(m.href('map'), '/');
  assert.equal(m.href('map', '', { hops: 1, show: 'all' }), '/');
  assert.equal(m.href('map', '', { hops: 2, sel: 'a>b' }), '/?hops=2&sel=a%3Eb');
  for (const name of hostile.filter((n) => n !== '')) {
    const url = new URL(m.href('service', name, { op: name }), 'http://x');
    const place = m.placeOf(url.pathname, url.search);
    // A browser takes "." and ".." out of paths, however they are written: such names cannot be opened by address.
    assert.equal(place.name, name, name);
    assert.equal(m.readPlace('service', place).op, name);
  }
});
