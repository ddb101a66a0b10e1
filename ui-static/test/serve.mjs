// SPDX-License-Identifier: Apache-2.0
// node test/serve.mjs [--api http://127.0.0.1:16686] [--port 0] [--dist DIR] [--watch] - serve the built page as the
// program does, headers included, and hand /api, /health and /metrics on to a running server. --watch builds again when
// a source changes.
import { createServer, request } from 'node:http';
import { existsSync, readFileSync, watch } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const argument = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const api = new URL(argument('--api', 'http://127.0.0.1:16686'));
const dist = argument('--dist', join(here, 'dist'));

export const headers = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; worker-src 'self'; " +
    "base-uri 'none'; frame-ancestors 'none'; form-action 'self'; require-trusted-types-for 'script'; trusted-types spindle",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

const build = () => {
  try {
    execFileSync('node', [join(here, 'build.mjs'), '--out', dist], { stdio: 'inherit' });
  } catch {
    // The bundler has said what is wrong; the next change is another try.
  }
};
if (!existsSync(join(dist, 'manifest.json'))) build();
if (process.argv.includes('--watch')) {
  let timer;
  watch(join(here, 'src'), { recursive: true }, () => {
    clearTimeout(timer);
    timer = setTimeout(build, 200);
  });
}

const server = createServer((req, res) => {
  const path = new URL(req.url, 'http://x').pathname;
  if (/^\/(api|health|metrics)(\/|$)/.test(path)) {
    const onward = request(
      { host: api.hostname, port: api.port, path: req.url, method: req.method, headers: { ...req.headers, host: api.host } },
      (answer) => {
        res.writeHead(answer.statusCode, answer.headers);
        answer.pipe(res);
      },
    );
    onward.on('error', () => res.writeHead(502).end());
    res.on('close', () => onward.destroy());
    req.pipe(onward);
    return;
  }
  const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8'));
  const file = manifest.find((f) => '/' + f.path === path && f.path !== 'index.html');
  if (file === undefined && path.startsWith('/assets/')) return res.writeHead(404).end();
  const { path: name, type } = file ?? manifest.find((f) => f.path === 'index.html');
  let body = readFileSync(join(dist, name));
  if (file === undefined) body = Buffer.from(body.toString().replaceAll('{{base}}', '../'.repeat(path.split('/').length - 2)));
  res.writeHead(200, {
    ...headers,
    'Content-Type': type,
    'Cache-Control': file === undefined ? 'no-cache' : 'public, max-age=31536000, immutable',
  });
  res.end(body);
});
server.listen(+argument('--port', '0'), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
