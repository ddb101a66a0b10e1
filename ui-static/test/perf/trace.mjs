// SPDX-License-Identifier: Apache-2.0
// node test/perf/trace.mjs --spindle PATH [--serve] [--rounds 5] - the budgets of the trace page, on a trace of
// 100,000 spans in a real server, as medians. Exits with 1 where one is not kept. --serve takes dist/ instead of the page
// within the program. A busy machine stretches wall time, so the processor time of the page's thread is told as well.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { large, send } from '../fixtures/traces.mjs';

const argument = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const here = join(dirname(fileURLToPath(import.meta.url)), '..');
const rounds = Number(argument('--rounds', '5'));
const data = mkdtempSync(join(tmpdir(), 'spindle-perf-'));
const running = [];
const start = (command, args, pattern) =>
  new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    running.push(child);
    let text = '';
    child.stdout.on('data', (piece) => {
      text += piece;
      if (pattern.test(text)) done(text);
    });
    child.on('exit', (code) => fail(new Error(`${command} ended with ${code}: ${text}`)));
  });

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const p95 = (list) => [...list].sort((a, b) => a - b)[Math.max(0, Math.ceil(list.length * 0.95) - 1)];
let bad = 0;
function report(what, value, limit, unit = 'ms') {
  const kept = value <= limit;
  if (!kept) bad++;
  console.log(`${kept ? 'ok  ' : 'FAIL'} ${what}: ${value.toFixed(1)} ${unit}, budget ${limit} ${unit}`);
}

/** Run in the page: act once a frame for so many frames; the times between frames, and the longest task. */
const frames = (page, count, act) =>
  page.evaluate(
    ([n, source]) =>
      new Promise((done) => {
        const run = new Function('i', source);
        const gaps = [];
        let last = performance.now();
        let i = 0;
        const step = (now) => {
          gaps.push(now - last);
          last = now;
          if (i >= n) return done(gaps.slice(2));
          run(i++);
          requestAnimationFrame(step);
        };
        requestAnimationFrame(step);
      }),
    [count, act],
  );

try {
  const told = await start(argument('--spindle', 'build/release/cli/spindle'), ['serve', '--data', data, '--otlp-grpc', '127.0.0.1:0', '--otlp-http', '127.0.0.1:0', '--http', '127.0.0.1:0'], /OTEL_EXPORTER/);
  const query = /queries\s+(http:\S+)/.exec(told)[1];
  const id = await send(/OTLP\/HTTP\s+(http:\S+)/.exec(told)[1], query, large(100_000, BigInt(Date.now() - 60_000) * 1_000_000n));
  const base = process.argv.includes('--serve') ? /http:\S+/.exec(await start('node', [join(here, 'serve.mjs'), '--api', query], /http:\S+/))[0].replace(/\/$/, '') : query;

  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--disable-gpu', '--enable-precise-memory-info', ...(process.getuid() === 0 ? ['--no-sandbox'] : [])] });
  const all = { first: [], parts: [], task: [], heap: [], scroll: [], flame: [], close: [], find: [], cpuLoad: [], cpuScroll: [], cpuFlame: [] };
  for (let round = 0; round < rounds; round++) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
    const cpu_ms = async () => (await devtools.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value * 1000;
    /** Processor time of the page's thread while this runs. */
    const cpuOf = async (list, parts, run) => {
      const before = await cpu_ms();
      const out = await run();
      list.push(((await cpu_ms()) - before) / parts);
      return out;
    };
    await page.addInitScript(() => {
      window.tasks = [];
      new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask', buffered: true });
      const look = () => {
        if (window.firstRows === undefined && document.querySelector('.wf-row') !== null) window.firstRows = performance.now();
        if (window.allParts === undefined && /of 100,000 rows shown/.test(document.querySelector('.foot')?.textContent ?? '')) window.allParts = performance.now();
        if (window.allParts === undefined) requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    await cpuOf(all.cpuLoad, 1, async () => {
      await page.goto(`${base}/trace/${id}`);
      await page.waitForFunction(() => window.allParts !== undefined, undefined, { timeout: 30_000 });
    });
    all.first.push(await page.evaluate(() => window.firstRows));
    all.parts.push(await page.evaluate(() => window.allParts));
    await page.waitForTimeout(300);
    all.task.push(await page.evaluate(() => Math.max(0, ...window.tasks)));
    all.heap.push(await page.evaluate(() => performance.memory.usedJSHeapSize / 1e6));

    await page.keyboard.press('Shift+ArrowRight');
    await page.waitForTimeout(200);
    all.scroll.push(p95(await cpuOf(all.cpuScroll, 120, () => frames(page, 120, "document.querySelector('.wf-scroll').scrollTop += 120"))));
    const time = async (act, until) => {
      await page.evaluate((ready) => {
        window.done = undefined;
        // Made here: later, the content policy forbids it.
        const isReady = new Function('return ' + ready);
        const look = () => (isReady() ? (window.done = performance.now()) : requestAnimationFrame(look));
        window.began = performance.now();
        requestAnimationFrame(look);
      }, until);
      await act();
      await page.waitForFunction(() => window.done !== undefined);
      return page.evaluate(() => window.done - window.began);
    };
    // The click itself, without what it takes the test to send it.
    all.close.push(await time(() => page.evaluate(() => { window.began = performance.now(); document.querySelector('.wf-head .linklike').click(); }), "/^[^·]*· 1 of 100,000/.test(document.querySelector('.foot').textContent)"));
    all.find.push(
      await time(
        () => page.evaluate(() => {
          const input = document.querySelector('.trace-find input');
          window.began = performance.now();
          input.value = 'operation 17';
          input.dispatchEvent(new Event('input', { bubbles: true }));
        }),
        "/match/.test(document.querySelector('.trace-find').textContent)",
      ),
    );
    await page.goto(`${base}/trace/${id}?tab=flame`);
    await page.waitForFunction(() => window.allParts !== undefined, undefined, { timeout: 30_000 });
    await page.waitForSelector('.flame canvas');
    await page.waitForTimeout(300);
    all.flame.push(p95(await cpuOf(all.cpuFlame, 90, () => frames(page, 90, "document.querySelector('.flame canvas').dispatchEvent(new WheelEvent('wheel', { deltaY: i % 30 < 15 ? -60 : 60, clientX: 700, clientY: 400, bubbles: true, cancelable: true }))"))));
    await page.close();
  }
  await browser.close();
  report('first rows', median(all.first), 700);
  report('all parts', median(all.parts), 2000);
  report('longest task while loading', median(all.task), 100);
  report('heap', median(all.heap), 200, 'MB');
  report('scroll, frame p95', median(all.scroll), 20);
  report('flame zoom, frame p95', median(all.flame), 20);
  report('close all', median(all.close), 50);
  report('find by name', median(all.find), 100);
  console.log(`processor time of the page's thread: load ${median(all.cpuLoad).toFixed(0)} ms, a frame of scrolling ${median(all.cpuScroll).toFixed(1)} ms, of flame zoom ${median(all.cpuFlame).toFixed(1)} ms`);
} finally {
  for (const child of running) {
    child.removeAllListeners('exit');
    child.kill();
  }
  await new Promise((done) => setTimeout(done, 1000));
  rmSync(data, { recursive: true, force: true });
}
process.exit(bad === 0 ? 0 : 1);
