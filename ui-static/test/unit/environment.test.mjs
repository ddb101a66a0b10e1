// SPDX-License-Identifier: Apache-2.0
// The environment in what is sent.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../load.mjs';

const { inEnvironment } = await load('search/environment.ts');
const PROD = '(resource.deployment.environment.name = "prod" || resource.deployment.environment = "prod")';

test('no environment changes nothing', () => {
  for (const q of ['', '{ }', '{ status = error }', 'no filter']) assert.equal(inEnvironment(q, ''), q);
});

test('the condition stands at the end of the filter, and what is before keeps its place', () => {
  assert.equal(inEnvironment('', 'prod'), `{ ${PROD} }`);
  assert.equal(inEnvironment(' ', 'prod'), `{ ${PROD} }`);
  assert.equal(inEnvironment('{}', 'prod'), `{${PROD} }`);
  assert.equal(inEnvironment('{ }', 'prod'), `{ ${PROD} }`);
  assert.equal(inEnvironment('{ status = error }', 'prod'), `{ status = error && ${PROD} }`);
  assert.equal(inEnvironment('{ a || b }', 'prod'), `{ a || b && ${PROD} }`); // binds to the left
  assert.equal(inEnvironment('{ .a = 1 } with (most_recent=true)', 'prod'), `{ .a = 1 && ${PROD} } with (most_recent=true)`);
});

test('braces in texts, names and comments are none', () => {
  for (const inner of ['name = "}"', 'name = "\\"}"', 'name =~ `}`', '."a}b" = 1', '."a\\"}b".c = 1', '.http://x = 1', '.a = 1 /* } */', '.a = 4 / 2'])
    assert.equal(inEnvironment(`{ ${inner} }`, 'prod'), `{ ${inner} && ${PROD} }`, inner);
  assert.equal(inEnvironment('{ .a = 1 } // }', 'prod'), `{ .a = 1 && ${PROD} } // }`);
});

test('its name is written as a text, whatever is in it', () => {
  assert.equal(inEnvironment('', 'a"b\\c\n'), '{ (resource.deployment.environment.name = "a\\"b\\\\c\\n" || resource.deployment.environment = "a\\"b\\\\c\\n") }');
});

test('what is no filter stays as it is', () => {
  for (const q of ['status = error', '{ name = "x', '{ status = error', '} {']) assert.equal(inEnvironment(q, 'prod'), q);
});
