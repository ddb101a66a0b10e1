// SPDX-License-Identifier: Apache-2.0
// What no source may hold, and what the tokens promise: contrast, and hex values in one file alone.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const src = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'src');
const walk = (folder) => readdirSync(folder).flatMap((f) => (statSync(join(folder, f)).isDirectory() ? walk(join(folder, f)) : [join(folder, f)]));
const files = walk(src).map((path) => ({ path: relative(src, path), text: readFileSync(path, 'utf8') }));

const forbidden = [
  [/innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|createContextualFragment|srcdoc|DOMParser/, 'HTML from text'],
  [/\beval\(|new Function\(|setTimeout\(\s*['"`]/, 'code from text'],
  [/https?:\/\/(?!127\.0\.0\.1|www\.w3\.org\/2000\/svg)[a-z]/i, 'an address elsewhere'],
  [/\bstyle="/, 'a style attribute'],
];
/** "file:line: why" of each offence. The one seam for the negative control says so on its line. */
export const offences = (all) =>
  all.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, i) =>
      forbidden.filter(([what]) => what.test(line) && !/\bDEFECT\b/.test(line)).map(([, why]) => `${path}:${i + 1}: ${why}: ${line.trim().slice(0, 80)}`),
    ),
  );

test('no source makes HTML or code from text', () => {
  assert.deepEqual(offences(files.filter((f) => !f.path.endsWith('.svg'))), []);
  for (const line of ['x.innerHTML = y', 'eval(x)', '<div dangerouslySetInnerHTML={x}>', "fetch('https://cdn.example/x')", '<p style="a">'])
    assert.equal(offences([{ path: 'x', text: line }]).length, 1, line);
});

test('colours stand in tokens.css alone', () => {
  const hex = /#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b(?![0-9a-fA-F-])|\brgba?\((?!\$)/; // canvases write what they have read from the tokens
  const ends = /'#(000|fff)'/g; // black or white, whichever is legible on a computed colour
  const bad = files
    .filter((f) => /\.(css|tsx?)$/.test(f.path) && f.path !== join('styles', 'tokens.css'))
    .flatMap((f) => f.text.split('\n').flatMap((line, i) => (hex.test(line.replace(/\/\/.*|\/\*.*?\*\//g, '').replace(ends, '')) ? [`${f.path}:${i + 1}: ${line.trim()}`] : [])));
  assert.deepEqual(bad, []);
});

test('every source begins with its licence', () => {
  assert.deepEqual(files.filter((f) => /\.(css|tsx?)$/.test(f.path) && !f.text.slice(0, 80).includes('SPDX-License-Identifier: Apache-2.0')).map((f) => f.path), []);
});

// ---- contrast

const tokens = {};
for (const [, name, light, dark] of files.find((f) => f.path === join('styles', 'tokens.css')).text.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)) tokens[name] = { light, dark };
const luminance = (hex) => {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
export const contrast = (a, b) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
};

test('text and marks are legible in both themes', () => {
  assert.equal(Math.round(contrast('#ffffff', '#000000')), 21);
  const surfaces = ['bg', 'surface-1', 'surface-2'];
  const wanted = [
    ...['text', 'text-2', 'text-3', 'err', 'warn', 'ok', 'accent'].flatMap((t) => surfaces.map((s) => [t, s, 4.5])),
    ...['text', 'text-2'].flatMap((t) => ['surface-3', 'accent-bg', 'err-bg', 'warn-bg', 'ok-bg'].map((s) => [t, s, 4.5])),
    ['on-accent', 'accent', 4.5], ['err', 'err-bg', 4.5], ['warn', 'warn-bg', 4.5], ['ok', 'ok-bg', 4.5],
    ...['control', 'edge', 'less', 'more', 's0', 's1', 's2', 's3', 's4', 's5', 's6', 's7'].flatMap((t) => ['surface-1', 'surface-2'].map((s) => [t, s, 3])),
  ];
  const poor = [];
  for (const theme of ['light', 'dark'])
    for (const [a, b, least] of wanted) {
      const is = contrast(tokens[a][theme], tokens[b][theme]);
      if (is < least) poor.push(`${theme}: ${a} on ${b}: ${is.toFixed(2)} < ${least}`);
    }
  assert.deepEqual(poor, []);
});
