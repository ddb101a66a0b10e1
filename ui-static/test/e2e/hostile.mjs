// SPDX-License-Identifier: Apache-2.0
// Strangers choose every text of their telemetry. Each of these stands in every field, every page shows them: nothing runs,
// nothing is reported or fetched, and what is shown is what was sent.
import { randomBytes } from 'node:crypto';
import { check, openPage, settled } from './browser.mjs';

const run = (i) => `__ran('${i}')`;
const templates = [
  (c) => `<script>${c}</script>`,
  (c) => `"><script>${c}</script>`,
  (c) => `'><script>${c}</script>`,
  (c) => `</title><script>${c}</script>`,
  (c) => `</style><script>${c}</script>`,
  (c) => `</textarea><script>${c}</script>`,
  (c) => `--><script>${c}</script>`,
  (c) => `]]><script>${c}</script>`,
  (c) => `<img src=x onerror="${c}">`,
  (c) => `<img src=x onerror=${c.replace(/'/g, '`')}>`,
  (c) => `"><img src=x onerror="${c}">`,
  (c) => `<svg onload="${c}">`,
  (c) => `<svg><script>${c}</script></svg>`,
  (c) => `<svg><animate onbegin="${c}" attributeName=x dur=1s>`,
  (c) => `<svg><a xlink:href="javascript:${c}"><text>x</text></a></svg>`,
  (c) => `<math><mi xlink:href="javascript:${c}">x</mi></math>`,
  (c) => `<iframe src="javascript:${c}"></iframe>`,
  (c) => `<iframe srcdoc="<script>parent.${c}</script>"></iframe>`,
  (c) => `<body onload="${c}">`,
  (c) => `<details open ontoggle="${c}">x</details>`,
  (c) => `<video><source onerror="${c}"></video>`,
  (c) => `<input autofocus onfocus="${c}">`,
  (c) => `<a href="javascript:${c}">x</a>`,
  (c) => `javascript:${c}`,
  (c) => `JaVaScRiPt:${c}`,
  (c) => `data:text/html,<script>${c}</script>`,
  (c) => `" onmouseover="${c}" x="`,
  (c) => `' onfocus='${c}' tabindex=0 x='`,
  (c) => '`${' + c + '}`',
  (c) => '${' + c + '}',
  (c) => `{{constructor.constructor("${c}")()}}`,
  (c) => `{{base}}${c}`,
  (c) => `<style>*{background:url(http://example.invalid/?${c})}</style>`,
  (c) => `<link rel=stylesheet href=http://example.invalid/${c}>`,
  (c) => `<meta http-equiv=refresh content="0;url=http://example.invalid/">${c}`,
  (c) => `<base href="http://example.invalid/">${c}`,
  (c) => `<form action="http://example.invalid/"><button>x</button></form>${c}`,
  (c) => `&lt;script&gt;${c}&lt;/script&gt;`,
  (c) => `\u202e${c}\u202c\u200b\ufeff`,
  (c) => `__proto__ constructor toString ${c}`,
];
const wrappings = [
  (s) => s,
  (s) => `prefix ${s} suffix`,
  (s) => `http://example.invalid/${s}`,
  (s) => s.replace(/[a-z]/g, (c, at) => (at % 2 ? c.toUpperCase() : c)).replace(/__[Rr][Aa][Nn]/g, '__ran'),
];
export const payloads = wrappings.flatMap((wrap, w) => templates.map((make, t) => wrap(make(run(`${w}.${t}`)))));

const any = (s) => ({ stringValue: s });
const attribute = (key, value) => ({ key, value });

/** Sends them; gives the trace's ID and each payload's span. */
export async function send(otlp) {
  const trace = randomBytes(16).toString('hex');
  const now = BigInt(Date.now()) * 1_000_000n;
  const root = randomBytes(8).toString('hex');
  const spans = payloads.map(() => randomBytes(8).toString('hex'));
  const scope = (s) => ({ name: s, version: s, attributes: [attribute(s, any(s))] });
  const resourceSpans = payloads.map((s, i) => ({
    resource: { attributes: [attribute('service.name', any(s)), attribute('service.namespace', any('hostile')), attribute('deployment.environment.name', any(s)), attribute(s, any(s))] },
    schemaUrl: s,
    scopeSpans: [
      {
        scope: scope(s),
        schemaUrl: s,
        spans: [
          {
            traceId: trace,
            spanId: spans[i],
            parentSpanId: i === 0 ? root : spans[(i - 1) >> 1],
            traceState: s,
            name: s,
            kind: 2 + (i % 4),
            startTimeUnixNano: String(now - 2_000_000_000n + BigInt(i) * 1_000_000n),
            endTimeUnixNano: String(now - 1_000_000_000n + BigInt(i) * 1_000_000n),
            attributes: [
              attribute(s, any(s)),
              attribute('url.full', any(s)),
              attribute('db.query.text', any(s)),
              attribute('nested', { kvlistValue: { values: [attribute(s, { arrayValue: { values: [any(s), { kvlistValue: { values: [attribute(s, any(s))] } }] } })] } }),
            ],
            events: [
              { timeUnixNano: String(now - 1_500_000_000n), name: s, attributes: [attribute(s, any(s))] },
              { timeUnixNano: String(now - 1_400_000_000n), name: 'exception', attributes: ['type', 'message', 'stacktrace'].map((k) => attribute('exception.' + k, any(s))) },
            ],
            links: [{ traceId: trace, spanId: root, traceState: s, attributes: [attribute(s, any(s))] }],
            status: { code: 2, message: s },
          },
        ],
      },
    ],
  }));
  resourceSpans.push({
    resource: { attributes: [attribute('service.name', any('hostile-root'))] },
    scopeSpans: [{ scope: { name: 'x' }, spans: [{ traceId: trace, spanId: root, name: payloads[0], kind: 2, startTimeUnixNano: String(now - 2_100_000_000n), endTimeUnixNano: String(now), status: { code: 2, message: payloads[8] } }] }],
  });
  const resourceLogs = payloads.map((s, i) => ({
    resource: { attributes: [attribute('service.name', any(s)), attribute(s, any(s))] },
    scopeLogs: [
      {
        scope: scope(s),
        logRecords: [
          { timeUnixNano: String(now - 1_000_000_000n + BigInt(i)), severityNumber: 1 + (i % 24), severityText: s, body: any(s), attributes: [attribute(s, any(s)), attribute('exception.stacktrace', any(s))], traceId: trace, spanId: spans[i], eventName: s },
        ],
      },
    ],
  }));
  for (const [path, body] of [['traces', { resourceSpans }], ['logs', { resourceLogs }]]) {
    const answer = await fetch(`${otlp}/v1/${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok || /rejected/i.test(text)) throw new Error(`${path}: ${answer.status} ${text.slice(0, 300)}`);
  }
  return { trace, spans };
}

/** Go on inside the page, as its own links do. */
const go = (page, url) =>
  page.evaluate((to) => {
    history.pushState({ key: Math.random() }, '', to);
    dispatchEvent(new PopStateEvent('popstate', { state: history.state }));
  }, url);

const textOf = (page) => page.evaluate(() => document.body.textContent);

export async function hostile(browser, base, { trace, spans }) {
  const { page, context, complaints } = await openPage(browser, base, { height: 1400 });
  const clean = (name) => {
    check(`hostile strings: ${name}`, complaints.length === 0, complaints.slice(0, 4).join(' | '));
    complaints.length = 0;
  };
  const missing = [];

  await page.goto(base + 'services');
  await settled(page);
  const names = new Set();
  for (let at = 0; at < 200; at++) {
    const [seen, ended] = await page.evaluate(() => {
      const p = document.querySelector('#page');
      const seen = [...document.querySelectorAll('.service-name .cut')].map((e) => e.textContent);
      p.scrollTop += 600;
      return [seen, p.scrollTop + p.clientHeight >= p.scrollHeight - 1];
    });
    for (const s of seen) names.add(s);
    if (ended && at > 2) break;
    await page.waitForTimeout(40);
  }
  const lost = payloads.filter((s) => !names.has(s));
  check(`hostile strings: ${payloads.length} services are shown as they were sent`, lost.length === 0, `${lost.length} are not: ${lost.slice(0, 2).join('   ')}`);
  clean('services');

  for (const path of ['', '?layout=matrix&group=none', '?edges=all&group=none']) {
    await page.goto(base + path);
    await settled(page);
    await page.waitForTimeout(300);
  }
  clean('map');

  for (let i = 0; i < payloads.length; i += 13) {
    await go(page, new URL(base).pathname + 'services/' + encodeURIComponent(payloads[i]));
    await settled(page);
    if (!(await textOf(page)).includes(payloads[i])) missing.push('service ' + payloads[i]);
  }
  clean('pages of services');

  await page.goto(`${base}trace/${trace}`);
  await settled(page);
  for (let i = 0; i < payloads.length; i++) {
    await go(page, `${new URL(base).pathname}trace/${trace}?span=${spans[i]}`);
    const isThere = await page
      .waitForFunction((s) => (document.querySelector('aside.panel') ?? document.body).textContent.includes(s), payloads[i], { timeout: 4000 })
      .then(() => true, () => false);
    if (!isThere) missing.push('span ' + payloads[i]);
    // Links only to the web.
    const bad = await page.evaluate(() => [...document.querySelectorAll('a[href]')].map((a) => a.protocol).filter((p) => p !== 'http:' && p !== 'https:'));
    if (bad.length > 0) missing.push('a link to ' + bad[0]);
    if (i % 16 === 0)
      for (const tab of await page.locator('aside.panel [role=tab]').all()) {
        await tab.click({ timeout: 2000 }).catch(() => undefined);
        await page.waitForTimeout(60);
      }
  }
  clean('spans of a trace');
  for (const tab of ['flame', 'spans', 'logs', 'map']) {
    await page.goto(`${base}trace/${trace}?tab=${tab}`);
    await settled(page);
    await page.waitForTimeout(250);
  }
  clean('tabs of a trace');

  for (const path of ['traces?view=list&young=1', 'traces?young=1', 'traces?view=scatter&young=1', 'logs', 'status', 'status?tab=instrumentation']) {
    await page.goto(base + path);
    await settled(page);
    await page.waitForTimeout(200);
  }
  clean('search, logs, status');
  await page.goto(base + 'logs');
  await settled(page);
  const logs = await textOf(page);
  if (!payloads.some((s) => logs.includes(s))) missing.push('any log record');

  // In the address, in every parameter, and typed into the palette.
  for (let i = 0; i < payloads.length; i += 9) {
    const s = encodeURIComponent(payloads[i]);
    for (const path of [`?sel=${s}&focus=${s}&find=${s}&group=${s}`, `traces?q=${s}&sort=${s}&box=${s}`, `logs?q=${s}&at=${s}&cols=${s}`, `services?find=${s}&ns=${s}&sort=${s}`, `id/${s}`, `trace/${s}`, `settings?from=${s}&to=${s}&tz=${s}&env=${s}`])
      await go(page, new URL(base).pathname + path);
    await page.waitForTimeout(50);
  }
  await settled(page);
  clean('addresses');
  await page.goto(base + 'settings');
  await settled(page);
  await page.keyboard.press('Control+k');
  for (let i = 0; i < payloads.length; i += 16) {
    await page.getByRole('combobox', { name: 'Search or jump' }).fill(payloads[i]);
    await page.waitForTimeout(60);
  }
  clean('palette');
  check('hostile strings: what is shown equals what was sent', missing.length === 0, `${missing.length}: ${missing.slice(0, 3).join('   ')}`);
  await context.close();
}

/** One text of HTML put into the page on purpose: the checks above must see it. */
export async function hostileControl(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  await page.goto(base + 'services');
  await settled(page);
  await page.waitForTimeout(500);
  check('hostile strings: control: one innerHTML is caught by the content policy', complaints.some((c) => c.startsWith('content policy: require-trusted-types-for')), complaints.slice(0, 2).join(' | '));
  await context.close();
  const open = await openPage(browser, base, { bypassCSP: true });
  await open.page.goto(base + 'services');
  await settled(open.page);
  await open.page.waitForTimeout(800);
  check('hostile strings: control: without the policy, what runs is noticed', open.complaints.some((c) => c.startsWith("strangers' code ran")), open.complaints.slice(0, 2).join(' | '));
  await open.context.close();
}
