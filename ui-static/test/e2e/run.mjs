// SPDX-License-Identifier: Apache-2.0
// node test/e2e/run.mjs PHASE JSON - one part of the browser's tests. Prints a line a check; exits 1 if one failed.
//   empty    { base, demo: [command, ...], pidFile }   a server without data; begins the demo
//   minute   { base, began_ms }                       a server and a demo that have just begun: how soon the map tells of them
//   full     { base }                                  the same server, with the demo's traffic
//   states   { base, otlp, folder }                    loading, failed, stale, partial, arriving, growing, gone; folder: for pictures
//   canned   { dist }                                  the map and services before a server of seeded answers
//   axe      { base, which: full|empty }
//   tokens   { base, reader, writer }
//   sdk      { base, sent }                            what a stock SDK says it sent to that server
//   budgets  { dist, base, otlp, pid }               large data: before answers from a seed, and before an empty real server
//   layout   { base, which: full|empty }
//   hostile  { base, otlp, defective }                 `defective` serves a build with one innerHTML
//   shots    { base, which, folder, places }          places: names, comma-separated; all when absent
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { axe, axeControl } from './axe.mjs';
import { check, failed, launch } from './browser.mjs';
import { budgets, budgetsLive } from './budgets.mjs';
import * as flows from './flows.mjs';
import * as hostile from './hostile.mjs';
import { lint, lintControl } from './lint.mjs';
import { map, mapLive } from './map.mjs';
import * as places from './places.mjs';
import { sdk } from './sdk.mjs';
import { shots } from './shots.mjs';
import { speed } from './speed.mjs';
import { alike, states } from './states.mjs';
import { traces } from './traces.mjs';

const [phase, json] = process.argv.slice(2);
const options = JSON.parse(json);
const api = async (path) => (await fetch(options.base + 'api/spindle/v1' + path)).json();

/** A service, and a trace of it with some size and an error if there is one. */
async function examples() {
  const { rows } = await api('/traces?limit=200');
  const row = [...rows].sort((a, b) => Number(b.errors > 0) - Number(a.errors > 0) || b.spans - a.spans)[0];
  const header = await api(`/trace/${row.id}/skeleton`);
  const part = await api(`/trace/${row.id}/skeleton?part=0&version=${header.version}`);
  const at = Math.max(0, part.flags.findIndex((f) => f & 1));
  return { trace: row.id, span: part.ids.slice(at * 16, at * 16 + 16), service: 'storefront' };
}
const placesOf = async () => (options.which === 'empty' ? places.empty : places.full(await examples()));

const phases = {
  empty: (browser) =>
    flows.empty(browser, options.base, () => {
      const [command, ...argv] = options.demo;
      const demo = spawn(command, argv, { stdio: 'ignore', detached: true });
      demo.unref();
      writeFileSync(options.pidFile, String(demo.pid));
    }),
  minute: (browser) => flows.minute(browser, options.base, options.began_ms),
  full: async (browser) => {
    await speed(browser, options.base);
    await flows.full(browser, options.base);
    await mapLive(browser, options.base);
    await traces(browser, options.base);
  },
  canned: async (browser) => {
    await map(browser, options.dist);
    await alike(browser, options.dist);
  },
  states: async (browser) => states(browser, options.base, options.otlp, await examples(), options.folder),
  sdk: (browser) => sdk(browser, options.base, options.sent),
  tokens: (browser) => flows.tokens(browser, options.base, options),
  axe: async (browser) => {
    if (options.which === 'full') await axeControl(browser, options.base);
    await axe(browser, options.base, await placesOf());
  },
  budgets: async (browser) => {
    await budgets(browser, options.dist);
    await budgetsLive(browser, options.base, options.otlp, options.pid);
  },
  layout: async (browser) => {
    if (options.which === 'full') await lintControl(browser, options.base);
    await lint(browser, options.base, await placesOf(), options.which);
  },
  hostile: async (browser) => {
    const sent = await hostile.send(options.otlp);
    check(`hostile strings: ${hostile.payloads.length} payloads in every field are taken`, true);
    await new Promise((resolve) => setTimeout(resolve, options.wait_ms ?? 5000)); // until they are counted
    await hostile.hostile(browser, options.base, sent);
    if (options.defective) await hostile.hostileControl(browser, options.defective);
  },
  shots: async (browser) => {
    const only = options.places?.split(',');
    await shots(browser, options.base, (await placesOf()).filter(([name]) => only === undefined || only.includes(name)), options.folder, options.which);
  },
};

const browser = await launch();
try {
  await phases[phase](browser);
} catch (error) {
  check(phase, false, error.stack ?? error);
} finally {
  await browser.close();
}
process.exit(failed() > 0 ? 1 : 0);
