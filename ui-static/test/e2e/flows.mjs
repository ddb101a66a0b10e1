// SPDX-License-Identifier: Apache-2.0
// What people do with the page, in a browser, against a real server.
import { attempt, check, eventually, expect, openPage, settled, written } from './browser.mjs';

const address = (page) => new URL(page.url());
const heading = (page) => page.locator('h1').innerText();
/** The page shows the same after a reload. */
async function survivesReload(page, look) {
  await written(page);
  const before = [page.url(), await look()];
  await page.reload();
  await settled(page);
  await eventually(async () => JSON.stringify([page.url(), await look()]), (after) => after === JSON.stringify(before), (after) => `reload changed ${JSON.stringify(before)} to ${after}`);
}

/** A server that has never seen a span. */
export async function empty(browser, base, feed) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('first run: endpoints and a block to copy', async () => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.goto(base);
    await page.getByText('Send the first span').waitFor();
    expect((await page.locator('.endpoints').innerText()).includes('http://127.0.0.1:'), 'endpoints are not named');
    await page.getByRole('button', { name: 'Copy all of it' }).click();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(/^export OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf\nexport OTEL_EXPORTER_OTLP_ENDPOINT=http:\/\/127/.test(copied), copied);
  });
  for (const path of ['services', 'traces', 'logs', 'status', 'settings'])
    await attempt(`empty ${path}: says so`, async () => {
      await page.goto(base + path);
      await settled(page);
      expect((await page.locator('#page').innerText()).trim().length > 20, 'nothing is said');
      expect((await page.locator('.failure').count()) === 0, await page.locator('#page').innerText());
    });
  await attempt('the first span brings the map, without a reload', async () => {
    await page.goto(base);
    await page.getByText('Send the first span').waitFor();
    await page.evaluate(() => (window.__same = true));
    const began = Date.now();
    feed();
    await page.getByText('Send the first span').waitFor({ state: 'detached', timeout: 30_000 });
    expect(await page.evaluate(() => window.__same === true), 'the page was loaded again');
    check('time from the first sender to the map', true, `${((Date.now() - began) / 1000).toFixed(1)} s`);
  });
  check('empty server: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

/** The server goes while the page is open: what the page says, and what still works. */
async function away(browser, base) {
  await attempt('away: pages that were at hand open, and come back to life', async () => {
    const { page, context } = await openPage(browser, base);
    await page.goto(base + 'settings');
    await settled(page);
    // Every page's code has come, unasked.
    await page.waitForFunction(() => performance.getEntriesByType('resource').filter((r) => r.name.endsWith('.js')).length > 15);
    await page.waitForLoadState('networkidle');
    await context.setOffline(true);
    for (const name of ['Services', 'Traces', 'Logs', 'Map']) {
      await page.getByRole('link', { name, exact: true }).click();
      await page.waitForFunction((h1) => document.querySelector('h1')?.textContent === h1, name);
      expect((await page.getByText('Load the page again').count()) === 0, `${name} could not be loaded`);
    }
    await page.locator('.foot-right', { hasText: /The server cannot be reached, for \d+ s/ }).waitFor();
    await context.setOffline(false);
    await page.locator('.foot-right .lamp.ok').waitFor();
    await context.close();
  });
  await attempt('away: a page that is missing says so, and appears by itself', async () => {
    const { page, context } = await openPage(browser, base);
    await page.addInitScript(() => (window.requestIdleCallback = () => 0)); // nothing comes unasked
    await page.goto(base + 'settings');
    await settled(page);
    await context.setOffline(true);
    await page.getByRole('link', { name: 'Logs', exact: true }).click();
    await page.getByText('The server cannot be reached. This page appears when it can.').waitFor();
    await context.setOffline(false);
    await page.locator('#logs-rows').waitFor();
    await context.close();
  });
  await attempt('a hung server is waited for in words', async () => {
    const { page, context } = await openPage(browser, base);
    await page.goto(base + 'settings');
    await settled(page);
    await page.route('**/api/spindle/v1/**', () => undefined); // taken, and never answered
    await page.getByRole('link', { name: 'Services', exact: true }).click();
    await page.locator('.foot-right', { hasText: /waiting for the server for \d+ s/ }).waitFor();
    await page.locator('.foot-right', { hasText: 'The server does not answer' }).waitFor();
    await context.close();
  });
}

/** A server with the demo shop's traffic. */
export async function full(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);

  await attempt('the address keeps range, zone and environment through pages', async () => {
    await page.goto(base + '?from=now-1h&tz=utc');
    await settled(page);
    await page.getByRole('link', { name: 'Services', exact: true }).click();
    await page.waitForURL('**/services?from=now-1h&tz=utc');
    await settled(page);
    await page.goBack();
    await page.waitForURL((u) => u.pathname.endsWith('/') && u.search === '?from=now-1h&tz=utc');
    expect((await heading(page)) === 'Map', await heading(page));
  });
  await attempt('bad parameters fall back, with a notice', async () => {
    await page.goto(base + '?show=spirals&hops=99');
    await page.getByText('is not understood').first().waitFor();
  });
  await attempt('the palette finds a service by keyboard alone', async () => {
    await page.goto(base + 'settings');
    await settled(page);
    await page.keyboard.press('Control+k');
    await page.getByRole('option', { name: /checkout/ }).first().waitFor();
    await page.keyboard.type('checkout');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/services/checkout*');
    await settled(page);
    expect((await heading(page)).includes('checkout'), await heading(page));
  });
  await attempt('keys go to pages, ? lists them, Escape closes', async () => {
    await page.goto(base + 'settings');
    await settled(page);
    await page.keyboard.press('g');
    await page.keyboard.press('l');
    await page.waitForURL('**/logs*');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor({ state: 'detached' });
  });
  await attempt('copy link makes the range absolute, copy live link does not', async () => {
    await page.goto(base + 'services?from=now-1h');
    await settled(page);
    await page.locator('#page').focus();
    await page.keyboard.press('c');
    await page.keyboard.press('l');
    await page.waitForFunction(async () => (await navigator.clipboard.readText()).includes('from='));
    const link = new URL(await page.evaluate(() => navigator.clipboard.readText()));
    const [from, to] = ['from', 'to'].map((k) => BigInt(link.searchParams.get(k)));
    expect(to - from === 3_600_000_000_000n, String(link));
    await page.getByRole('button', { name: 'Link' }).click();
    await page.getByRole('menuitem', { name: /live link/ }).click();
    await eventually(() => page.evaluate(() => navigator.clipboard.readText()), (live) => live.endsWith('/services?from=now-1h'));
  });
  await attempt('the range: text, presets, earlier and later', async () => {
    await page.goto(base + 'services');
    await settled(page);
    await page.getByRole('button', { name: /Last 15 min/ }).click();
    await page.getByRole('textbox', { name: 'Time range as text' }).fill('last 3h');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/services?from=now-3h');
    await page.getByRole('button', { name: /Last 3 h/ }).click();
    await page.getByRole('textbox', { name: 'Time range as text' }).fill('soon');
    await page.keyboard.press('Enter');
    await page.getByText('Not understood').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('#page').focus();
    await page.keyboard.press('[');
    await page.waitForURL((u) => /^\d{19}$/.test(u.searchParams.get('from') ?? ''));
  });
  await attempt('the theme is switched and kept', async () => {
    await page.goto(base + 'settings');
    await settled(page);
    const before = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.getByRole('button', { name: 'Dark', exact: true }).click();
    const after = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(before !== after, before);
    await page.reload();
    expect((await page.evaluate(() => getComputedStyle(document.body).backgroundColor)) === after, 'not kept');
    await page.getByRole('button', { name: 'As the system' }).click();
  });
  let trace = '';
  await attempt('a pasted span ID opens its trace', async () => {
    const rows = await (await page.request.get(base + 'api/spindle/v1/traces?limit=5')).json();
    const row = rows.rows.find((r) => r.match_span);
    trace = row.id;
    await page.goto(base);
    await settled(page);
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: 'Search or jump' }).waitFor();
    await page.keyboard.type(row.match_span);
    await page.keyboard.press('Enter');
    await page.waitForURL(`**/trace/${trace}*`);
    await settled(page);
  });
  await attempt('an unknown ID is said to be unknown', async () => {
    await page.goto(base + 'id/ffffffffffffffffffffffffffffffff');
    await page.getByText('No trace or span has this ID').waitFor();
    await page.goto(base + 'id/hello');
    await page.getByText('This is not an ID').waitFor();
    await page.goto(base + 'nowhere');
    await page.getByText('no page at this address').waitFor();
  });
  await attempt('status: each part, kept in the address', async () => {
    await page.goto(base + 'status');
    await settled(page);
    await page.getByText('OTLP/gRPC').first().waitFor();
    await page.getByRole('tab', { name: 'Storage' }).click();
    await page.getByRole('heading', { name: 'Partitions' }).waitFor();
    await survivesReload(page, () => page.getByRole('tab', { selected: true }).innerText());
    await page.getByRole('tab', { name: 'Instrumentation' }).click();
    await page.getByRole('heading', { name: 'Broken traces' }).waitFor();
  });
  await attempt('a service, its traces, one trace, its logs, and back again', async () => {
    await page.goto(base + 'services');
    await settled(page);
    await page.locator('.table tbody tr:not(.spacer)').first().focus();
    await page.keyboard.press('Enter');
    await page.waitForURL('**/services/*');
    await settled(page);
    await survivesReload(page, () => heading(page));
    await page.goto(`${base}trace/${trace}`);
    await settled(page);
    await survivesReload(page, () => heading(page));
    await page.goBack();
    await page.waitForURL('**/services/*');
    expect(address(page).pathname.length > '/services/'.length, page.url());
  });
  await attempt('behind a prefix everything works', async () => {
    const under = await openPage(browser, base);
    // What a proxy that strips a prefix does.
    await under.page.route('**/tools/spindle/**', (route) => route.continue({ url: route.request().url().replace('/tools/spindle/', '/') }));
    await under.page.goto(base + `tools/spindle/trace/${trace}`);
    await settled(under.page);
    await under.page.getByRole('link', { name: 'Services', exact: true }).click();
    await under.page.waitForURL('**/tools/spindle/services*');
    await settled(under.page);
    expect((await under.page.locator('.table tbody tr').count()) > 3, 'no services');
    check('behind a prefix: no complaints', under.complaints.length === 0, under.complaints.slice(0, 3).join(' | '));
    await under.context.close();
  });
  await attempt('j finds the list, a row is one stop, the icon keeps its address', async () => {
    await page.goto(base + 'services');
    await settled(page);
    await page.keyboard.press('j');
    expect(await page.evaluate(() => document.activeElement?.matches('tr[data-row="0"]')), 'the first row has no focus');
    expect((await page.locator('tr[data-row] .plainlink:not([tabindex="-1"])').count()) === 0, 'a link doubles its row');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/services/*');
    const icon = await page.evaluate(() => document.querySelector('link[rel="icon"]').href);
    expect((await page.request.get(icon)).ok(), `no icon at ${icon}`);
  });
  await attempt('half the width: no control is cut off', async () => {
    await page.setViewportSize({ width: 640, height: 600 });
    await page.goto(base + 'services');
    await settled(page);
    const cut = await page.evaluate(() => [...document.querySelectorAll('.topline button')].filter((b) => b.getBoundingClientRect().right > innerWidth).map((b) => b.title));
    expect(cut.length === 0, cut.join(', '));
  });
  await away(browser, base);
  check('full server: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

/** A server that wants a token. */
export async function tokens(browser, base, { reader, writer }) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('without a token: sign-in, then on to where one was going', async () => {
    await page.goto(base + 'services?from=now-1h');
    await page.waitForURL('**/signin*');
    const field = page.getByLabel('Token of scope “read”');
    for (const [token, says] of [['', 'Enter a token'], ['wrong-token-0123456789', 'does not know this token'], [writer, 'not read it']]) {
      await field.fill(token);
      await page.keyboard.press('Enter');
      await page.getByText(says).waitFor();
    }
    await field.fill(reader);
    await page.keyboard.press('Enter');
    await page.waitForURL('**/services?from=now-1h');
    await settled(page);
    expect((await heading(page)) === 'Services', await heading(page));
    expect(!(await page.content()).includes(reader), 'the token stands in the page');
    expect((await page.evaluate(() => localStorage.getItem('spindle.token'))) === null, 'kept beyond the tab');
    await page.reload();
    await settled(page);
    expect((await heading(page)) === 'Services', 'lost by a reload');
  });
  await attempt('signing out ends it', async () => {
    await page.goto(base + 'settings');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL('**/signin*');
    await page.goto(base + 'services');
    await page.waitForURL('**/signin*');
  });
  await attempt('sign-in does not lead elsewhere', async () => {
    await page.goto(base + 'signin?then=' + encodeURIComponent('//example.org/'));
    await page.getByLabel('Token of scope “read”').fill(reader);
    await page.keyboard.press('Enter');
    await page.waitForURL((u) => u.origin === new URL(base).origin && u.pathname === '/');
  });
  check('tokens: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

/** A person's first minute: `scripts/run --demo` has begun, the page is opened at once and left alone. */
export async function minute(browser, base, began_ms) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('first minute: a map with live numbers, without a touch', async () => {
    await page.goto(base);
    page.setDefaultTimeout(120_000);
    await page.waitForFunction(() => document.querySelectorAll('.map-node').length >= 10);
    // Its numbers live: those of a node change by themselves.
    const told = () => page.locator('.map-node').evaluateAll((all) => all.map((e) => e.getAttribute('aria-label')).join('\n'));
    const first = await told();
    expect(/\d per second/.test(first), first.slice(0, 200));
    await page.waitForFunction((before) => [...document.querySelectorAll('.map-node')].map((e) => e.getAttribute('aria-label')).join('\n') !== before, first);
    const seconds = (Date.now() - began_ms) / 1000;
    check(`  a map of live numbers ${seconds.toFixed(0)} s after the start`, true);
    expect(seconds <= 60, `${seconds} s`);
    expect(complaints.length === 0, complaints.join(' | '));
  });
  await context.close();
}
