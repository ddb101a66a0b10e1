// SPDX-License-Identifier: Apache-2.0
// Filters between text and chips: nothing is lost, and what is not flat is left alone.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load, seeded } from '../load.mjs';

const m = await load('lib/traceql.ts', 'lib/links.ts');

test('a flat filter becomes chips and the same text again', () => {
  const q = '{ resource.service.name = "check\\"out }" && duration > 200ms && span."odd key" != nil && (a = 1 || b = 2) }';
  const chips = m.chipsOf(q);
  assert.deepEqual(chips.map((c) => [c.name, c.op, c.value]), [
    ['resource.service.name', '=', '"check\\"out }"'],
    ['duration', '>', '200ms'],
    ['span."odd key"', '!=', 'nil'],
    ['', '', ''],
  ]);
  assert.equal(chips[3].text, '(a = 1 || b = 2)');
  assert.equal(m.formatChips(chips), q);
});

test('what is not a flat filter has no chips', () => {
  for (const q of ['{ a = 1 || b = 2 }', '{ a = 1 } >> { b = 2 }', '{ a = 1 } | count() > 2', '{ (a = 1 }', '{ a = 1 && }', '{ && a = 1 }', 'a = 1', '{ a = "', '{', '}'])
    assert.equal(m.chipsOf(q), undefined, q);
  assert.deepEqual(m.chipsOf(''), []);
  assert.deepEqual(m.chipsOf('{ }'), []);
});

test('conditions are added, replaced and taken away', () => {
  assert.equal(m.withCondition('', 'a = 1'), '{ a = 1 }');
  assert.equal(m.withCondition('{ a = 1 }', 'a = 1'), '{ a = 1 }');
  assert.equal(m.withCondition('{ a = 1 || b = 2 }', 'c = 3'), '{ (a = 1 || b = 2) && c = 3 }');
  assert.equal(m.withoutCondition('{ a = 1 && b = 2 }', 0), '{ b = 2 }');
  assert.equal(m.withoutCondition('{ a = 1 }', 0), '');
  assert.equal(m.withReplaced('{ a = 1 && b = 2 && a = 3 }', 'a', 'a = 9'), '{ a = 9 && b = 2 }');
  assert.equal(m.withReplaced('{ a = 1 }', 'a', ''), '');
});

test('what people type becomes a filter', () => {
  assert.equal(m.asFilter(' ', 'traces'), '');
  assert.equal(m.asFilter('duration > 200ms', 'traces'), '{ duration > 200ms }');
  assert.equal(m.asFilter('GET /pay', 'traces'), '{ (name contains "GET /pay" || resource.service.name contains "GET /pay") }');
  assert.equal(m.asFilter('timeout', 'logs'), '{ text = "timeout" }');
  assert.equal(m.asFilter('{ severity >= warn } timeout', 'logs'), '{ severity >= warn && text = "timeout" }');
  assert.equal(m.asFilter('{ a = 1 } >> { b = 2 }', 'traces'), '{ a = 1 } >> { b = 2 }');
  assert.equal(m.hexId(' 0x55A05D03F04FAADD '), '55a05d03f04faadd');
  assert.equal(m.hexId('55a05d'), undefined);
});

test('the caret knows what fits', () => {
  const at = (text) => {
    const caret = text.indexOf('|');
    const c = m.completionAt(text.replace('|', ''), caret);
    return [c.what, c.typed, c.name];
  };
  assert.deepEqual(at('{ |'), ['name', '', '']);
  assert.deepEqual(at('{ resource.ser| }'), ['name', 'resource.ser', '']);
  assert.deepEqual(at('{ a | }'), ['op', '', 'a']);
  assert.deepEqual(at('{ a = | }'), ['value', '', 'a']);
  assert.deepEqual(at('{ a = "che| }')[0], 'value');
  assert.deepEqual(at('{ a = "che|" }'), ['value', '"che', 'a']);
  assert.deepEqual(at('{ a = 1 | }'), ['join', '', '']);
  assert.deepEqual(at('{ a = "x" | }'), ['join', '', '']);
  assert.deepEqual(at('{ a = 1 && b| }'), ['name', 'b', '']);
});

test('any text is cut into tokens without a gap, and in linear steps', () => {
  const random = seeded(1);
  const letters = '{}()"`\\ab.= !<>&|~-1\n';
  for (let round = 0; round < 2000; round++) {
    const q = Array.from({ length: Math.floor(random() * 30) }, () => letters[Math.floor(random() * letters.length)]).join('');
    let at = 0;
    for (const t of m.tokens(q)) {
      assert.equal(q.slice(at, t.from).trim(), '');
      assert.equal(q.slice(t.from, t.to), t.text);
      assert.ok(t.to > t.from);
      at = t.to;
    }
    assert.equal(q.slice(at).trim(), '');
    const chips = m.chipsOf(q);
    if (chips !== undefined) assert.deepEqual(m.chipsOf(m.formatChips(chips))?.map((c) => c.text), chips.map((c) => c.text));
    m.completionAt(q, Math.floor(random() * (q.length + 1)));
  }
});
