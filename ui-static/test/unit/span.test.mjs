// SPDX-License-Identifier: Apache-2.0
// Values of attributes, offsets on the time axis, and who called whom in a trace.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';
import { answersOf, spansOf } from './spans.mjs';

const m = await load('trace/anyvalue.ts', 'trace/scale.ts', 'trace/services.ts', 'trace/model.ts', 'trace/panel.tsx', 'logs/record.tsx');

test('values read as JSON would have them, and as a filter compares with them', () => {
  const cases = [
    [{ stringValue: 'a "b"' }, 'a "b"', 'string', '"a \\"b\\""'],
    [{ stringValue: '' }, '', 'string', '""'],
    [{ intValue: '9007199254740993' }, '9007199254740993', 'int', '9007199254740993'],
    [{ doubleValue: 0.5 }, '0.5', 'double', '0.5'],
    [{ doubleValue: 'NaN' }, 'NaN', 'double', undefined],
    [{ boolValue: false }, 'false', 'bool', 'false'],
    [{ bytesValue: 'AAE=' }, 'AAE=', 'bytes', undefined],
    [{ arrayValue: { values: [{ stringValue: 'x' }, { intValue: '2' }] } }, '["x", 2]', 'array', '"x"'],
    [{ kvlistValue: { values: [{ key: 'k', value: { boolValue: true } }] } }, '{"k": true}', 'map', undefined],
    [{ arrayValue: {} }, '[]', 'array', undefined],
    [{}, '', 'empty', undefined],
    [undefined, '', 'empty', undefined],
  ];
  for (const [value, text, type, literal] of cases) {
    assert.equal(m.valueText(value), text);
    assert.equal(m.valueType(value), type);
    assert.equal(m.valueLiteral(value), literal);
  }
  let nested = { stringValue: 'deep' };
  for (let i = 0; i < 10_000; i++) nested = { arrayValue: { values: [nested] } };
  assert.ok(m.valueText(nested).length < 1000, 'a hostile depth ends');
});

test('JSON and SQL are laid out, other text is left alone', () => {
  assert.equal(m.prettyText('payload', '{"a":1}'), '{\n  "a": 1\n}');
  assert.equal(m.prettyText('payload', '{not json'), undefined);
  assert.equal(m.prettyText('db.query.text', 'SELECT a FROM b LEFT JOIN c ON c.x = b.x WHERE d = 1 AND e = 2'), 'SELECT a\nFROM b\nLEFT JOIN c\nON c.x = b.x\nWHERE d = 1\nAND e = 2');
  assert.equal(m.prettyText('message', 'SELECT a FROM b'), undefined);
});

test('ticks are round and fit; offsets have the digits that the step needs', () => {
  for (const [from, to] of [[0, 412e6], [11.7e6, 11.85e6], [0, 3.6e12], [-5e6, 5e6], [1e9, 1e9 + 50]]) {
    const { step, at } = m.ticks(from, to, 6);
    assert.ok(at.length >= 1 && at.length <= 8, `${at.length} ticks`);
    assert.ok(at.every((t) => t >= from && t <= to));
    const texts = at.map((t) => m.formatOffset(t, step, Math.max(Math.abs(from), Math.abs(to))));
    assert.equal(new Set(texts).size, texts.length, texts.join(' '));
  }
  assert.equal(m.formatOffset(11_750_000, 50_000, 12e6), '11.75 ms');
  assert.equal(m.formatOffset(90e9, 15e9, 200e9), '1:30');
  assert.equal(m.formatOffset(-2e6, 1e6, 5e6), '−2 ms');
});

test('calls between services, through a missing span, circles included', () => {
  // a → b → a, and b → (missing) → c
  const s = spansOf([[-1, 0, 100, 0], [0, 10, 50, 1], [1, 20, 10, 0, 0, 2, 1], [1, 30, 10, -1, -1, 0, 1024], [3, 31, 5, 2], [0, 70, 5, 1]]);
  const { header, parts } = answersOf(s);
  const b = new m.TraceBuilder(header);
  b.add(parts[0]);
  const g = m.serviceEdges(b.build(false));
  assert.deepEqual(g.nodes, [{ svc: 0, rank: 0 }, { svc: 1, rank: 1 }, { svc: 2, rank: 2 }]);
  assert.deepEqual(g.edges.map((e) => [e.from, e.to, e.count, e.errors]), [[0, 1, 2, 0], [1, 0, 1, 1], [1, 2, 1, 0]]);
  assert.equal(g.edges[0].slowest, 1);
});

test('a rank among peers says neither "all" nor "none" of what is only nearly so', () => {
  assert.equal(m.rankText(1, 614), 'the slowest of 614 like it');
  assert.equal(m.rankText(613 / 614, 614), 'slower than 99 % of 614 like it');
  assert.equal(m.rankText(0.975, 1204), 'slower than 97 % of 1,204 like it');
  assert.equal(m.rankText(0, 50), 'faster than 99 % of 50 like it');
});

test('a log record tells its environment by either name', () => {
  const row = (...attributes) => ({ resource: { attributes: attributes.map(([key, stringValue]) => ({ key, value: { stringValue } })) } });
  assert.equal(m.environmentOf(row(['deployment.environment', 'old'], ['deployment.environment.name', 'prod'])), 'prod');
  assert.equal(m.environmentOf(row(['deployment.environment', 'stage'])), 'stage');
  assert.equal(m.environmentOf({}), '');
});
