// SPDX-License-Identifier: Apache-2.0
// Tests are plain JavaScript and run on the oldest Node we build with; what they test is TypeScript. load() bundles
// modules of src/ into one and imports it.
import { build } from 'esbuild';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const src = join(dirname(fileURLToPath(import.meta.url)), '..', 'src');

/** The exports of all these files of src/, together. */
export async function load(...files) {
  const result = await build({
    stdin: { contents: files.map((f) => `export * from ${JSON.stringify('./' + f)};`).join('\n'), resolveDir: src, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['module', 'import'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { WORKERS: '{}', DEFECT: '""' },
    write: false,
    logLevel: 'error',
  });
  return import('data:text/javascript;base64,' + Buffer.from(result.outputFiles[0].text).toString('base64'));
}

/** Numbers in [0, 1) that a seed repeats. */
export function seeded(seed) {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 4294967296;
  };
}
