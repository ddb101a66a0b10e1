// SPDX-License-Identifier: Apache-2.0
// States that come and go: loading, failed, stale, partial, arriving, growing, gone; both zones; the same state drawn twice.
// The answers are a real server's, held back or changed on their way.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attempt, check, expect, openPage, settled } from './browser.mjs';
import { serve } from './front.mjs';

const API = '**/api/spindle/v1/**';
const isMeta = (url) => /\/v1\/(meta|status)$/.test(new URL(url).pathname);
const hex = (digits) => Array.from({ length: digits }, () => Math.floor(Math.random() * 16).toString(16)).join('');

/** Spans `from` to `to` of a trace: a root and children. */
async function send(otlp, traceId, from, to) {
  const id = (n) => traceId.slice(0, 12) + String(1000 + n), start = BigInt(Date.now() - 60_000) * 1_000_000n;
  const spans = Array.from({ length: to - from }, (_, k) => k + from).map((n) => ({
    traceId, spanId: id(n), parentSpanId: n === 0 ? '' : id(0), name: n === 0 ? 'grow' : `part ${n}`, kind: 2,
    startTimeUnixNano: String(start + BigInt(n) * 1_000_000n), endTimeUnixNano: String(start + BigInt(n + 20) * 1_000_000n),
  }));
  const body = { resourceSpans: [{ resource: { attributes: [{ key: 'service.name', value: { stringValue: 'grower' } }] }, scopeSpans: [{ spans }] }] };
  const r = await fetch(otlp + '/v1/traces', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  expect(r.ok, `OTLP: ${r.status}`);
}

async function arrivals(browser, base, otlp) {
  const { page, context, complaints } = await openPage(browser, base);
  page.setDefaultTimeout(60_000);
  const id = hex(32).replace(/^0/, '1');
  await attempt('trace: one that is still on its way appears by itself', async () => {
    await page.goto(base + 'trace/' + id);
    await page.getByText('There is no such trace here.').waitFor();
    await send(otlp, id, 0, 4);
    await page.locator('.wf-row').nth(3).waitFor();
  });
  await attempt('trace: one that grows says so, and waits to be asked', async () => {
    await send(otlp, id, 4, 7);
    await page.getByText('3 new spans have arrived.').waitFor();
    expect((await page.locator('.foot').innerText()).includes('4 of 4 rows'), 'the rows changed by themselves');
    // What is found until then are rows of what is shown.
    await page.locator('.trace-find input').fill('{ name = "part 1" }');
    await page.locator('.wf-row.match:not([hidden])').waitFor();
    await page.locator('.trace-find input').fill('');
    await page.getByRole('button', { name: 'Show', exact: true }).click();
    await page.waitForFunction(() => /7 of 7 rows/.test(document.querySelector('.foot').textContent));
  });
  await attempt('trace: one that is gone is told with what is kept', async () => {
    await page.route('**/v1/meta', async (route) => {
      const response = await route.fetch(), meta = await response.json();
      await route.fulfill({ response, json: { ...meta, retention: { traces_s: 7 * 86400, logs_s: 7 * 86400 } } });
    });
    await page.goto(base + 'trace/' + hex(32));
    await page.getByText(/older than the 7 (d|days)\S* for which traces are kept/).waitFor();
  });
  await attempt('both zones: the same instant, hours apart, each under its name', async () => {
    const clock = async (zone) => {
      await page.goto(`${base}trace/${id}?tz=${encodeURIComponent(zone)}`);
      await page.locator('.wf-row').first().waitFor();
      const [, h, m] = /(\d\d):(\d\d):\d\d/.exec(await page.locator('.trace-facts').innerText());
      return { minutes: 60 * h + +m, shown: await page.locator('.topbar, header').first().innerText(), title: await page.locator('.trace-facts time').first().getAttribute('title') };
    };
    const utc = await clock('utc'), kolkata = await clock('Asia/Kolkata');
    expect((kolkata.minutes - utc.minutes + 1440) % 1440 === 330, JSON.stringify([utc, kolkata]));
    expect(utc.shown.includes('UTC') && !kolkata.shown.includes('UTC'), JSON.stringify([utc, kolkata]));
    expect(/UTC/.test(kolkata.title) && /ago/.test(kolkata.title), kolkata.title);
  });
  check('arrivals: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

/** Pages, and what shows that their data is there. */
const pages = (trace, service) => [
  ['map', '', '.map-node'],
  ['services', 'services', '.table tbody tr[data-row]'],
  ['service', `services/${service}`, '.u-over'],
  ['traces', 'traces?view=list', '.table tbody tr[data-row]'],
  ['trace', `trace/${trace}`, '.wf-row'],
  ['logs', 'logs', '.logs-row[data-index]'],
];

async function comeAndGo(browser, base, trace, service, folder) {
  const { page, context, complaints } = await openPage(browser, base);
  const picture = async (name) => {
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `state-${name}.png`), await page.screenshot());
  };
  for (const [name, path, there] of pages(trace, service)) {
    await attempt(`${name}: loading shows that it does, a failure says what and what to do, Retry brings the data`, async () => {
      let open;
      const gate = new Promise((done) => (open = done));
      await page.route(API, async (route) => {
        if (isMeta(route.request().url())) return route.continue();
        await gate;
        await route.fulfill({ status: 500, json: { error: { code: 'internal', message: 'The query failed: a row group could not be read.', request_id: '0190f3c2a7b41c55' } } });
      });
      await page.goto(base + path);
      await page.locator('.skeleton, .progress').first().waitFor();
      await picture(`${name}-loading`);
      open();
      await page.getByText('a row group could not be read.').first().waitFor();
      await page.getByText('0190f3c2a7b41c55').first().waitFor();
      await picture(`${name}-error`);
      await page.unroute(API);
      await page.getByRole('button', { name: 'Retry' }).first().click();
      await page.locator(there).first().waitFor();
    });
  }
  for (const [name, path, there] of pages(trace, service).filter(([n]) => !['trace', 'logs'].includes(n))) {
    await attempt(`${name}: what was there stays, dimmed, while newer is slow; then says since when it is old`, async () => {
      await page.goto(base + path);
      await page.locator(there).first().waitFor();
      await settled(page);
      let open;
      const gate = new Promise((done) => (open = done));
      await page.route(API, async (route) => {
        if (isMeta(route.request().url())) return route.continue();
        await gate;
        await route.fulfill({ status: 500, json: { error: { code: 'internal', message: 'The query failed.', request_id: '0190f3c2a7b41c57' } } });
      });
      await page.locator('#page').focus();
      await page.keyboard.press('r');
      await page.locator('.progress').first().waitFor();
      expect((await page.locator(there).count()) > 0, 'the old data is gone');
      await picture(`${name}-slow`);
      open();
      await page.getByText(/What is shown is from .*(ago|now)/).first().waitFor();
      expect((await page.locator(there).count()) > 0, 'the old data is gone');
      await picture(`${name}-stale`);
      await page.unroute(API);
    });
  }
  for (const [name, path, text] of [['traces', 'traces?view=list', 'Time ran out: there may be more than these.'], ['logs', 'logs', 'Time ran out: there may be more records than these.'], ['trace', `trace/${trace}`, 'not all of it could be read']])
    await attempt(`${name}: a part of the answer is said to be one`, async () => {
      await page.route(API, async (route) => {
        if (!/\/(traces|logs|skeleton)(\?|$)/.test(route.request().url())) return route.continue();
        const response = await route.fetch(), body = await response.json();
        await route.fulfill({ response, json: { ...body, complete: false } });
      });
      await page.goto(base + path);
      await page.getByText(text).first().waitFor();
      await picture(`${name}-partial`);
      await page.unroute(API);
    });
  const unasked = complaints.filter((c) => !c.includes('a status of 500')); // those are ours
  check('states: no complaints', unasked.length === 0, unasked.slice(0, 5).join(' | '));
  await context.close();
}

/** Before a real server that has the demo's traffic. */
export async function states(browser, base, otlp, { trace, service }, folder) {
  await arrivals(browser, base, otlp);
  await comeAndGo(browser, base, trace, service, folder);
}

const NOW_MS = Date.UTC(2026, 2, 4, 14, 3, 11);
/** How much of two pictures differs, counted in a browser. */
const differing = (page, a, b) => page.evaluate(async (pictures) => {
  const [one, two] = await Promise.all(pictures.map(async (text) => {
    const bitmap = await createImageBitmap(await (await fetch('data:image/png;base64,' + text)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), draw = canvas.getContext('2d');
    draw.drawImage(bitmap, 0, 0);
    return new Uint32Array(draw.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  }));
  return one.length !== two.length ? 1 : one.reduce((n, p, i) => n + (p !== two[i] ? 1 : 0), 0) / one.length;
}, [a, b]);

/**
 * The same state twice, by clocks that stand still, in windows of their own: what is drawn depends on the data alone. Not
 * compared with stored pictures, since those would be of one version of a browser and of its fonts.
 */
export async function alike(browser, dist) {
  const front = await serve({ services: 14, now_ms: NOW_MS }, dist), away = await openPage(browser, 'about:blank', { bypassCSP: true });
  const draw = async (path, theme) => {
    const { page, context } = await openPage(browser, front.base, { theme });
    await page.clock.setFixedTime(NOW_MS);
    await page.goto(front.base + path);
    await settled(page);
    await page.evaluate(() => document.fonts.ready);
    let last = '', now = '';
    for (let n = 0; n < 40 && (n === 0 || now !== last); n++) {
      last = now;
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      await page.waitForTimeout(150);
      now = (await page.screenshot()).toString('base64');
    }
    await context.close();
    return now;
  };
  for (const [name, path, theme] of [['map', '', 'light'], ['services', 'services', 'dark'], ['service', 'services/shop-api', 'light'], ['status', 'status', 'dark']])
    await attempt(`drawn twice, ${name}, ${theme}: the same picture`, async () => {
      const share = await differing(away.page, await draw(path, theme), await draw(path, theme));
      expect(share <= 0.001, `${(share * 100).toFixed(2)} % of the pixels differ`);
    });
  await attempt('drawn twice: another state is another picture', async () => {
    const share = await differing(away.page, await draw('services', 'light'), await draw('services?sort=name', 'light'));
    expect(share > 0.001, `${(share * 100).toFixed(2)} % of the pixels differ`);
  });
  await away.context.close();
  front.stop();
}
