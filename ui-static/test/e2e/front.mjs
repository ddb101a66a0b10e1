// SPDX-License-Identifier: Apache-2.0
// The built page before a canned server, for tests of states that are rare or large in life.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canned } from '../canned.mjs';

const here = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The built page before a canned server; `stop` ends both. */
export async function serve(options, dist) {
  const api = canned(options);
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  const front = spawn('node', [join(here, 'serve.mjs'), '--api', `http://127.0.0.1:${api.address().port}/`, ...(dist === undefined ? [] : ['--dist', dist])], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(front.stdout, 'data');
  return { base: String(line).trim(), stop: () => (front.kill(), api.close(), api.closeAllConnections()) };
}
