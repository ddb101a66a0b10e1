// SPDX-License-Identifier: Apache-2.0
// The budgets of large data, as medians. What a page does (rows in the document, processor time of its thread, how it
// grows with the data) fails the run; what a clock says beside other work on the machine is told, and fails nothing.
import { attempt, check, expect, openPage } from './browser.mjs';
import { large, send } from '../fixtures/traces.mjs';
import { serve } from './front.mjs';

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const p95 = (list) => [...list].sort((a, b) => a - b)[Math.max(0, Math.ceil(list.length * 0.95) - 1)];
const FRAME_MS = 20;
const ROUNDS = 3;
// Beside other work even processor time is stretched: what fails is what nothing but the page explains.
const SURELY = 5;

const metric = async (devtools, name) => (await devtools.send('Performance.getMetrics')).metrics.find((m) => m.name === name).value;
/** The page's thread, whose processor time counts. */
async function threadOf(page) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  return { cpu_ms: async () => 1000 * (await metric(devtools, 'TaskDuration')), heap_mb: async () => (await metric(devtools, 'JSHeapUsedSize')) / 1e6 };
}

/** Acts once a frame, so many frames long: the times between frames, and the processor time that one takes the page's thread. */
async function frames(page, count, act) {
  const { cpu_ms } = await threadOf(page);
  const walls = [], cpus = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = await cpu_ms();
    const gaps = await page.evaluate(([n, source]) => new Promise((done) => {
      const run = new Function('i', source), out = [];
      let last = performance.now(), i = 0;
      requestAnimationFrame(function step(now) {
        out.push(now - last);
        last = now;
        if (i === n) return done(out.slice(2));
        run(i++);
        requestAnimationFrame(step);
      });
    }), [count, act]);
    walls.push(p95(gaps));
    cpus.push(((await cpu_ms()) - before) / count);
  }
  return { wall_ms: median(walls), cpu_ms: median(cpus) };
}

const told = (f) => `${f.cpu_ms.toFixed(1)} ms of processor time a frame, of ${FRAME_MS}; p95 between frames ${f.wall_ms.toFixed(0)} ms`;

/** `new Function` is what the content policy forbids: the frames are driven past it, the tests of the policy are elsewhere. */
const measuring = { bypassCSP: true };

const DOWN = "document.querySelector('#page').scrollTop += 280";

async function table(browser, dist) {
  const rowsOf = async (services) => {
    const front = await serve({ services }, dist);
    const { page, context } = await openPage(browser, front.base, measuring);
    try {
      await page.goto(front.base + 'services');
      await page.locator('.table tbody tr[data-row]').first().waitFor();
      const rows = Number(await page.locator('.table').getAttribute('aria-rowcount'));
      const found = await frames(page, 24, DOWN);
      const drawn = await page.locator('.table tbody tr').count(), top = await page.evaluate(() => document.querySelector('#page').scrollTop);
      return { rows, drawn, top, ...found };
    } finally {
      await context.close();
      front.stop();
    }
  };
  await attempt('a table of 10,000 rows scrolls as one of 500', async () => {
    const few = await rowsOf(500), many = await rowsOf(10_000);
    expect(many.rows >= 10_000 && many.top > 10_000, JSON.stringify(many));
    expect(many.drawn <= 120, `${many.drawn} rows in the document`);
    expect(many.cpu_ms <= SURELY * FRAME_MS, told(many));
    expect(many.cpu_ms <= 4 * few.cpu_ms + 2, `${told(many)}; of 500 rows ${told(few)}`);
    check(`  10,000 rows: ${many.drawn} in the document, ${told(many)}`, true);
  });
}

async function map(browser, dist) {
  const front = await serve({ services: 500 }, dist);
  const { page, context } = await openPage(browser, front.base, measuring);
  const WHEEL = "const s = document.querySelector('.map-stage'), b = s.getBoundingClientRect(); s.dispatchEvent(new WheelEvent('wheel', { clientX: b.left + 500 + i, clientY: b.top + 300, deltaY: i % 30 < 15 ? -40 : 40, bubbles: true, cancelable: true }))";
  try {
    for (const [what, path, most] of [['grouped', '', 120], ['everything', '?group=none&edges=all', 1000]])
      await attempt(`a map of 500 services, ${what}: panning and zooming`, async () => {
        const stands = [];
        for (let round = 0; round < ROUNDS; round++) {
          await page.goto(front.base + path);
          await page.waitForFunction(() => performance.getEntriesByName('map-drawn').length > 0);
          stands.push(await page.evaluate(() => performance.getEntriesByName('map-drawn')[0].startTime - performance.getEntriesByType('resource').find((e) => e.name.includes('/v1/map?')).responseEnd));
        }
        const drawn = await page.locator('.map-node').count();
        expect(drawn > 5 && drawn <= most, `${drawn} nodes`);
        const found = await frames(page, 24, WHEEL);
        expect(found.cpu_ms <= SURELY * FRAME_MS, told(found));
        check(`  ${drawn} nodes, drawn ${median(stands).toFixed(0)} ms after the data, ${told(found)}`, true);
      });
  } finally {
    await context.close();
    front.stop();
  }
}

const SPANS = 100_000;
const WHEEL_FLAME = "document.querySelector('.flame canvas').dispatchEvent(new WheelEvent('wheel', { deltaY: i % 30 < 15 ? -60 : 60, clientX: 700, clientY: 400, bubbles: true, cancelable: true }))";

async function trace(browser, base, otlp) {
  const id = await send(otlp, base, large(SPANS, BigInt(Date.now() - 60_000) * 1_000_000n));
  const { page, context } = await openPage(browser, base, measuring);
  page.setDefaultTimeout(120_000);
  await context.addInitScript(() => {
    const look = () => {
      if (window.firstRows === undefined && document.querySelector('.wf-row') !== null) window.firstRows = performance.now();
      if (/of 100,000 rows shown/.test(document.querySelector('.foot')?.textContent ?? '')) window.allParts = performance.now();
      else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
  });
  const thread = await threadOf(page);
  await attempt('a trace of 100,000 spans loads', async () => {
    const first = [], all = [], cpus = [];
    for (let round = 0; round < ROUNDS; round++) {
      await page.goto('about:blank');
      const before = await thread.cpu_ms();
      await page.goto(`${base}trace/${id}`);
      await page.waitForFunction(() => window.allParts !== undefined);
      cpus.push((await thread.cpu_ms()) - before);
      first.push(await page.evaluate(() => window.firstRows));
      all.push(await page.evaluate(() => window.allParts));
    }
    const heap = await thread.heap_mb(), drawn = await page.locator('.wf-row').count();
    expect(drawn <= 80, `${drawn} rows in the document`);
    expect(heap <= 200, `${heap.toFixed(0)} MB`);
    expect(median(cpus) <= SURELY * 700, `${median(cpus).toFixed(0)} ms of processor time`);
    check(`  first rows after ${median(first).toFixed(0)} ms, all parts after ${median(all).toFixed(0)} ms, ${median(cpus).toFixed(0)} ms of processor time, ${heap.toFixed(0)} MB, ${drawn} rows in the document`, true);
  });
  await attempt('a trace of 100,000 spans scrolls, closes, finds', async () => {
    await page.keyboard.press('Shift+ArrowRight');
    await page.waitForFunction(() => /^\S+ · 100,000 of 100,000/.test(document.querySelector('.foot').textContent));
    const found = await frames(page, 24, "document.querySelector('.wf-scroll').scrollTop += 120");
    expect(found.cpu_ms <= SURELY * FRAME_MS, told(found));
    const before = await thread.cpu_ms();
    await page.evaluate(() => document.querySelector('.wf-head .linklike').click());
    await page.waitForFunction(() => /· 1 of 100,000/.test(document.querySelector('.foot').textContent));
    const closed = (await thread.cpu_ms()) - before;
    await page.locator('.trace-find input').fill('operation 17');
    await page.locator('.trace-find').getByText(/match/).waitFor();
    const named = (await thread.cpu_ms()) - before - closed;
    expect(closed <= SURELY * 50 && named <= SURELY * 100, `close ${closed}, find ${named}`);
    check(`  scrolling ${told(found)}; processor time of closing all ${closed.toFixed(0)} ms, of finding ${named.toFixed(0)} ms`, true);
  });
  await attempt('a trace of 100,000 spans as a flame', async () => {
    await page.goto(`${base}trace/${id}?tab=flame`);
    await page.waitForFunction(() => document.querySelector('.flame canvas') !== null && /100,000 spans/.test(document.querySelector('.foot').textContent));
    const found = await frames(page, 24, WHEEL_FLAME);
    expect(found.cpu_ms <= SURELY * FRAME_MS, told(found));
    check(`  zooming ${told(found)}`, true);
  });
  await context.close();
}

/** Records that come as fast as the tail shows them. */
async function tail(browser, base, otlp) {
  const { page, context } = await openPage(browser, base, measuring);
  await attempt('the live tail keeps up with 200 records a second', async () => {
    await page.goto(base + 'logs?live=1');
    await page.getByText('Waiting for the first record.').or(page.locator('.logs-row[data-index]').first()).waitFor();
    const { cpu_ms } = await threadOf(page);
    const before = await cpu_ms(), SECONDS = 4;
    let sent = 0;
    const began = Date.now();
    while (Date.now() - began < SECONDS * 1000) {
      const now = BigInt(Date.now()) * 1_000_000n;
      const logRecords = Array.from({ length: 20 }, (_, i) => ({ timeUnixNano: String(now + BigInt(i)), severityNumber: 9, body: { stringValue: `record ${sent++} of the tail, as long as such lines are` } }));
      await fetch(otlp + '/v1/logs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ resourceLogs: [{ resource: { attributes: [{ key: 'service.name', value: { stringValue: 'tailed' } }] }, scopeLogs: [{ logRecords }] }] }) });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await page.waitForFunction((n) => [...document.querySelectorAll('.logs-text')].some((e) => e.textContent.startsWith(`record ${n} `)), sent - 1);
    const spent = (await cpu_ms()) - before, drawn = await page.locator('.logs-row[data-index]').count();
    expect(drawn <= 120, `${drawn} rows in the document`);
    expect(spent / sent <= 5, `${spent} ms for ${sent} records`); // at 200 a second: the whole thread
    check(`  ${sent} records, ${(spent / sent).toFixed(2)} ms of processor time each, ${drawn} rows in the document`, true);
  });
  await context.close();
}

/** Before answers from a seed; `dist`: a built page. */
export async function budgets(browser, dist) {
  await table(browser, dist);
  await map(browser, dist);
}

/** Before a real server. */
export async function budgetsLive(browser, base, otlp) {
  await tail(browser, base, otlp);
  await trace(browser, base, otlp);
}
