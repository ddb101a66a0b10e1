// SPDX-License-Identifier: Apache-2.0
// node build.mjs [--out DIR] [--defect NAME] - bundle the page.
//
// Writes into DIR (default: dist): index.html with {{base}} left for the server to fill in, assets/ with hashed
// names and a .gz beside each, manifest.json (path, type, etag, size, gzip) for whoever embeds or serves them, and
// THIRD-PARTY.txt, and page_files.c, all of it as C for the program. The same sources give the same bytes.
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const argument = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const out = argument('--out', join(here, 'dist'));
const assets = join(out, 'assets');
// Tests build the page once with a known fault, to see that they would notice it.
const defect = argument('--defect', '');

const common = {
  absWorkingDir: here,
  bundle: true,
  format: 'esm',
  target: ['chrome123', 'firefox128', 'safari17.5'],
  minify: true,
  legalComments: 'none',
  charset: 'utf8',
  metafile: true,
  outdir: assets,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
};

function outputsOf(result) {
  const byEntry = {};
  for (const [file, o] of Object.entries(result.metafile.outputs))
    if (o.entryPoint) byEntry[o.entryPoint] = 'assets/' + basename(file);
  return byEntry;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(assets, { recursive: true });

// Workers first: the page has to know their hashed names.
const workerSources = ['src/map/layout.worker.ts', 'src/trace/trace.worker.ts'].filter((f) => existsSync(join(here, f)));
const workers = await build({ ...common, entryPoints: workerSources, define: { DEFECT: JSON.stringify(defect) } });
const workerFiles = {};
for (const [source, file] of Object.entries(outputsOf(workers)))
  workerFiles[basename(source, '.worker.ts')] = basename(file);

const page = await build({
  ...common,
  entryPoints: ['src/main.tsx', 'src/styles/main.css'],
  splitting: true,
  define: { WORKERS: JSON.stringify(workerFiles), DEFECT: JSON.stringify(defect) },
});
const entries = outputsOf(page);

const icon = readFileSync(join(here, 'src/styles/icon.svg'));
const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex');
const iconFile = `assets/icon-${hashOf(icon).slice(0, 8).toUpperCase()}.svg`;
writeFileSync(join(out, iconFile), icon);

// What the first script imports is asked for with it, not after it.
const outputs = Object.fromEntries(Object.entries(page.metafile.outputs).map(([file, o]) => ['assets/' + basename(file), o]));
const needed = new Set();
for (const todo = [entries['src/main.tsx']]; todo.length > 0; )
  for (const { kind, path } of outputs[todo.pop()].imports) {
    const file = 'assets/' + basename(path);
    if (kind !== 'import-statement' || needed.has(file)) continue;
    needed.add(file);
    todo.push(file);
  }
const preloads = [...needed].sort().map((file) => `<link rel="modulepreload" href="{{base}}${file}">\n`).join('');

const index = readFileSync(join(here, 'index.html'), 'utf8')
  .replace('{{preloads}}', preloads)
  .replace('{{icon}}', iconFile)
  .replace('{{style}}', entries['src/styles/main.css'])
  .replace('{{script}}', entries['src/main.tsx']);
writeFileSync(join(out, 'index.html'), index);

const types = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.html': 'text/html; charset=utf-8',
};
const files = ['index.html', ...readdirSync(assets).sort().map((f) => 'assets/' + f)];
const manifest = [];
for (const path of files) {
  const bytes = readFileSync(join(out, path));
  const gzip = gzipSync(bytes, { level: 9 });
  gzip[9] = 255; // the operating system byte: the same everywhere
  writeFileSync(join(out, path + '.gz'), gzip);
  manifest.push({ path, type: types[extname(path)], etag: hashOf(bytes).slice(0, 16), size: bytes.length, gzip: gzip.length });
}
writeFileSync(join(out, 'manifest.json'), JSON.stringify(manifest, null, 1) + '\n');

// What is loaded when: for the budget check.
const graph = {};
for (const [file, o] of Object.entries({ ...page.metafile.outputs, ...workers.metafile.outputs }))
  graph['assets/' + basename(file)] = {
    entry: o.entryPoint ?? '',
    imports: o.imports.filter((i) => i.kind === 'import-statement').map((i) => 'assets/' + basename(i.path)),
    packages: [...new Set(Object.keys(o.inputs).flatMap((i) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(i)?.[1] ?? []))],
    lazy: o.imports.filter((i) => i.kind === 'dynamic-import').map((i) => 'assets/' + basename(i.path)),
  };
writeFileSync(join(out, 'graph.json'), JSON.stringify(graph, null, 1) + '\n');

// Whose work is in the bundle, with its licence.
const packages = new Set();
for (const result of [page, workers])
  for (const input of Object.keys(result.metafile.inputs)) {
    const match = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
    if (match) packages.add(match[1]);
  }
let notice = 'The page contains these packages:\n';
for (const name of [...packages].sort()) {
  const folder = join(here, 'node_modules', name);
  const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const licence = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
  notice += `\n---- ${name} ${about.version} (${about.license}) ----\n\n`;
  notice += licence ? readFileSync(join(folder, licence), 'utf8').trim() + '\n' : '';
}
writeFileSync(join(out, 'THIRD-PARTY.txt'), notice);

// The same files as C: the document plain, since the server fills it in, the others compressed.
const cArray = (bytes) => {
  let text = '';
  for (let i = 0; i < bytes.length; i += 24) text += '    ' + [...bytes.subarray(i, i + 24)].join(',') + ',\n';
  return text;
};
let c = '/* Written by build.mjs. */\n#include "cli/page_files.h"\n';
let table = '';
manifest.forEach(({ path, type, etag, size }, i) => {
  const isGzip = path !== 'index.html';
  const bytes = readFileSync(join(out, isGzip ? path + '.gz' : path));
  c += `\nstatic const uint8_t file_${i}[] = {\n${cArray(bytes)}};\n`;
  table += `    { "${path}", "${type}", "\\"${etag}\\"", file_${i}, sizeof file_${i}, ${size}, ${isGzip} },\n`;
});
c += `\nconst struct page_file page_files[] = {\n${table}};\nconst size_t page_file_count = ${manifest.length};\n`;
writeFileSync(join(out, 'page_files.c'), c);
