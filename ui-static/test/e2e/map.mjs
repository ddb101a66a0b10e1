// SPDX-License-Identifier: Apache-2.0
// The map and the services' pages in a browser, before a canned server: by pointer and by keyboard alone, with every
// step's address surviving a reload.
import { attempt, check, eventually, expect, openPage, settled, written } from './browser.mjs';
import { load } from '../load.mjs';
import { serve } from './front.mjs';

const panel = (page) => page.locator('aside.panel h2');
const node = (page, name) => page.locator(`.map-node[aria-label^="${name},"]`);
const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.tagName);
const query = (page) => new URL(page.url()).searchParams;
async function survives(page, look) {
  await written(page);
  const before = JSON.stringify([page.url(), await look()]);
  await page.reload();
  await settled(page);
  await eventually(async () => JSON.stringify([page.url(), await look()]), (after) => after === before, (after) => `reload made ${after} of ${before}`);
}
const drawn = (page) => page.locator('.map-node').evaluateAll((all) => all.map((b) => [b.getAttribute('aria-label'), b.style.left, b.style.top]).sort());
const camera = (page) => page.locator('.map-overlay').evaluate((o) => o.style.transform);
async function open(page, url) {
  await page.goto(url);
  await settled(page);
  await page.locator('.map-node').first().waitFor();
  await page.waitForTimeout(100);
}

async function byKeyboard(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('keys: Tab reaches one node, arrows move, Enter opens its panel, Escape closes it', async () => {
    await open(page, base);
    expect((await page.locator('.map-node[tabindex="0"]').count()) === 1, 'one tab stop');
    await page.locator('.map-node[tabindex="0"]').focus();
    for (const key of ['ArrowRight', 'ArrowRight', 'ArrowLeft', 'ArrowDown', 'ArrowUp']) {
      const before = await focused(page);
      await page.keyboard.press(key);
      expect((await focused(page)) !== before, `${key}: still at ${before}`);
    }
    const name = (await focused(page)).split(',')[0];
    await page.keyboard.press('Enter');
    await panel(page).waitFor();
    expect((await panel(page).innerText()) === name, await panel(page).innerText());
    expect(query(page).get('sel') !== null, page.url());
    await survives(page, () => panel(page).innerText());
    await page.keyboard.press('Escape');
    await panel(page).waitFor({ state: 'detached' });
  });
  await attempt('keys: f focuses, 2 goes two hops, e shows errors, each in the address', async () => {
    await open(page, base);
    await node(page, 'shop-api').focus();
    await page.keyboard.press('f');
    await page.getByText('outside the focus').waitFor();
    const one = await page.locator('.map-node').count();
    await page.keyboard.press('2');
    await page.waitForURL((u) => u.searchParams.get('hops') === '2');
    await page.waitForFunction((n) => document.querySelectorAll('.map-node').length > n, one);
    await survives(page, () => drawn(page));
    await open(page, base);
    await page.locator('#page').focus();
    await page.keyboard.press('e');
    await page.waitForURL((u) => u.searchParams.get('show') === 'errors');
    await survives(page, () => page.locator('.map-notes').innerText());
    await page.getByText('without errors hidden: show all').click();
    await page.waitForURL((u) => !u.searchParams.has('show'));
  });
  await attempt('keys: + - 0 move the camera', async () => {
    await open(page, base);
    await page.locator('#page').focus();
    const fit = await camera(page);
    await page.keyboard.press('+');
    await eventually(() => camera(page), (at) => at !== fit, () => 'nothing moved');
    await page.keyboard.press('0');
    await eventually(() => camera(page), (at) => at === fit, (at) => `${at} is not ${fit}`);
  });
  await attempt('keys: the way from a node by its edge to its traces', async () => {
    await open(page, base);
    await node(page, 'shop-api').focus();
    await page.keyboard.press('Enter');
    await panel(page).waitFor();
    const call = page.locator('.map-panel .map-calls button').first();
    await call.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Edge' }).waitFor();
    await survives(page, () => page.locator('.map-doors').innerText());
    await page.goBack();
    await eventually(() => panel(page).innerText(), (text) => text === 'shop-api');
    await page.locator('.map-panel a', { hasText: 'Traces' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForURL('**/traces?*');
    expect(query(page).get('q').includes('resource.service.name = "shop-api"'), page.url());
  });
  check('keys: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

async function byPointer(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('pointer: the wheel zooms at the pointer, dragging pans', async () => {
    await open(page, base);
    const before = await node(page, 'shop-api').boundingBox(), x = before.x + before.width / 2, y = before.y + before.height / 2;
    await page.mouse.move(x, y);
    await page.mouse.wheel(0, -200);
    const after = await eventually(() => node(page, 'shop-api').boundingBox(), (box) => box.width > before.width * 1.2, (box) => `${before.width} to ${box.width}`);
    expect(Math.hypot(after.x + after.width / 2 - x, after.y + after.height / 2 - y) < 2, 'the point under the pointer moved');
    const stage = await page.locator('.map-stage').boundingBox();
    await page.mouse.move(stage.x + 10, stage.y + stage.height - 60);
    await page.mouse.down();
    await page.mouse.move(stage.x + 110, stage.y + stage.height - 100, { steps: 4 });
    await page.mouse.up();
    await eventually(() => node(page, 'shop-api').boundingBox(), (box) => Math.abs(box.x - after.x - 100) < 2 && Math.abs(box.y - after.y + 40) < 2, (box) => JSON.stringify([after, box]));
  });
  await attempt('pointer: a click on a line opens its panel', async () => {
    await open(page, base);
    const from = await node(page, 'user').boundingBox(), to = await node(page, 'shop-api').boundingBox();
    await page.mouse.click((from.x + from.width + to.x) / 2, (from.y + from.height / 2 + to.y + to.height / 2) / 2);
    await page.getByRole('heading', { name: 'Edge' }).waitFor();
    expect(query(page).get('sel').includes('>'), page.url());
  });
  await attempt('pointer: a dragged node stays there, the others stay too when the page refreshes', async () => {
    await open(page, base);
    const places = new Map((await drawn(page)).map(([name, ...at]) => [name, at.join()]));
    const box = await node(page, 'shop-api').boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + 60, box.y + 120, { steps: 5 });
    await page.mouse.up();
    await page.waitForTimeout(100);
    expect((await page.locator('aside.panel').count()) === 0, 'a drag is no click');
    await Promise.all([page.waitForResponse(/\/map\?/), page.getByRole('button', { name: /^Refresh/ }).first().click()]);
    await page.waitForTimeout(300);
    await eventually(async () => (await drawn(page)).filter(([name, ...at]) => places.get(name) !== at.join()).map(([name]) => name), (moved) => moved.length === 1 && moved[0].startsWith('shop-api,'), (moved) => `moved: ${moved}`);
  });
  await attempt('pointer: find counts, dims and survives a reload', async () => {
    await open(page, base);
    await page.getByLabel('Find service').fill('PAYMENTS-');
    await page.getByText(/^\d+ matches$/).waitFor();
    await survives(page, () => page.locator('.bar').innerText());
  });
  await attempt('pointer: the table of calls opens edges', async () => {
    await page.goto(base + '?layout=matrix');
    await settled(page);
    await page.locator('.matrix .cell').first().click();
    await page.getByRole('heading', { name: 'Edge' }).waitFor();
    await survives(page, () => page.locator('.map-doors').innerText());
  });
  await attempt('pointer: why an edge is missing, with traces that show it', async () => {
    await open(page, base);
    await page.getByText('missing edges: why?').click();
    await page.getByRole('dialog', { name: 'Why is this edge missing?' }).waitFor();
    expect((await page.locator('.map-gaps a.mono').count()) > 0, 'no example');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  });
  check('pointer: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

async function groups(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('groups: over 60 nodes start in groups; opening one shows its members, its chip closes it', async () => {
    await open(page, base);
    const closed = await page.locator('.map-node').count();
    expect(closed < 60, `${closed} nodes`);
    const group = page.locator('.map-node[aria-label*="group of"]').first(), name = (await group.getAttribute('aria-label')).split(',')[0];
    await group.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Open group' }).click();
    await page.waitForFunction((n) => document.querySelectorAll('.map-node').length > n, closed);
    await survives(page, () => drawn(page));
    await page.getByRole('button', { name: new RegExp(`Remove the open group ${name}`) }).click();
    await page.waitForFunction((n) => document.querySelectorAll('.map-node').length === n, closed);
  });
  await attempt('groups: what is left out is counted, and the count brings it back', async () => {
    await open(page, `${base}?show=errors`);
    const few = await page.locator('.map-node').count();
    await page.getByRole('button', { name: /without errors hidden: show all/ }).click();
    await page.waitForFunction((n) => document.querySelectorAll('.map-node').length > n, few);
  });
  check('groups: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

async function states(browser, dist) {
  const said = { silent: /Look at the last 24 hours/, error: /a row group could not be read\.[\s\S]*0190f3c2a7b41c55[\s\S]*Retry/, busy: /Asking again in \d+ s/ };
  for (const [state, text] of Object.entries(said)) {
    const front = await serve({ state }, dist), { page, context } = await openPage(browser, front.base);
    for (const path of ['', 'services', 'services/cart']) {
      await attempt(`${state}: /${path} says what and what to do`, async () => {
        await page.goto(front.base + path);
        await page.locator('#page').getByText(/./).first().waitFor();
        await page.waitForFunction((source) => new RegExp(source).test(document.querySelector('#page').innerText), text.source, { timeout: 20_000 });
      });
    }
    await context.close();
    front.stop();
  }
}

async function services(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('services: a head sorts, again reverses, the address keeps it', async () => {
    await page.goto(base + 'services');
    await settled(page);
    const first = () => page.locator('tbody tr').first().innerText();
    await page.getByRole('button', { name: 'Errors' }).click();
    await survives(page, first);
    expect(query(page).get('sort') === 'err', page.url());
    const worst = await first();
    await page.getByRole('button', { name: 'Errors' }).click();
    await written(page);
    expect(query(page).get('sort') === '-err' && (await first()) !== worst, page.url());
  });
  await attempt('services: Enter on a row opens it', async () => {
    await page.goto(base + 'services?sort=name');
    await settled(page);
    await page.locator('tbody tr').first().focus();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/services/*');
    await page.locator('.u-over').nth(2).waitFor();
  });
  await attempt('service: the cursor of one chart is that of all, by keys; Enter opens the traces there', async () => {
    await page.goto(base + 'services/shop-api');
    await page.locator('.u-over').nth(2).waitFor();
    await page.locator('figure.chart').nth(1).focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowRight');
    const times = (read) => read.map((t) => /\d\d:\d\d/.exec(t)?.[0]);
    const read = await eventually(() => page.locator('.chart-read').allInnerTexts(), (all) => times(all)[0] !== undefined && times(all).every((t) => t === times(all)[0]), JSON.stringify);
    expect(/of [\d,]+ calls?, ±/.test(read[2]), read[2]);
    await page.locator('figure.chart').nth(2).focus();
    await page.keyboard.press('End');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/traces?*');
    expect(/^\d{19}$/.test(query(page).get('from')) && query(page).get('q').includes('duration >='), page.url());
  });
  await attempt('service: a brush zooms all, Back undoes it', async () => {
    await page.goto(base + 'services/shop-api');
    await page.locator('.u-over').nth(2).waitFor();
    const box = await page.locator('.u-over').first().boundingBox();
    await page.mouse.move(box.x + box.width * 0.3, box.y + 30);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 6 });
    await page.mouse.up();
    await page.waitForURL(/from=\d{19}/);
    await page.goBack();
    await page.waitForURL((u) => !u.search.includes('from='));
  });
  await attempt('service: split, table and tabs survive a reload', async () => {
    for (const path of ['services/shop-api?by=operation', 'services/shop-api?table=1', 'services/shop-api?tab=operations&sort=-p95', 'services/shop-api?tab=dependencies', 'services/shop-api?tab=instances']) {
      await page.goto(base + path);
      await settled(page);
      await survives(page, () => page.locator('#page').innerText().then((t) => t.replace(/\d\d:\d\d(:\d\d)?/g, '').length));
    }
  });
  check('services: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}

/** `dist` is the built page. */
export async function map(browser, dist) {
  const small = await serve({ services: 14 }, dist), large = await serve({ services: 100 }, dist);
  try {
    await byKeyboard(browser, small.base);
    await byPointer(browser, small.base);
    await groups(browser, large.base);
    await services(browser, small.base);
    await states(browser, dist);
  } finally {
    small.stop();
    large.stop();
  }
}

/** Before a real server with the demo's traffic. */
export async function mapLive(browser, base) {
  await attempt('map: every figure of every node and edge is a door to spans', async () => {
    const words = await load('map/words.ts', 'map/graph.ts', 'lib/links.ts'), api = base + 'api/spindle/v1';
    const answer = await (await fetch(`${api}/map`)).json();
    const view = words.view(answer, { group: 'none', open: new Set(), focus: '', hops: 1, dir: 'both', show: 'all' });
    const doors = [
      ...view.nodes.flatMap((n) => [[n.name, words.vertexQuery(answer, n)], ...(n.errors > 0 ? [[`${n.name} errors`, words.vertexQuery(answer, n, { isError: true })]] : []),
        ...(n.p50 === null ? [] : [[`${n.name} p50`, words.vertexQuery(answer, n, { minDuration_ns: words.fromPercentile(n.p50) })]])]),
      ...view.edges.map((e) => [`${view.nodes[e.s].name} > ${view.nodes[e.t].name}`, words.edgeQuery(answer, e)]),
    ];
    const shut = [];
    for (const [name, q] of doors) {
      if (q === undefined) continue;
      const got = await fetch(`${api}/traces?limit=1&from=${answer.from}&to=${answer.to}&q=${encodeURIComponent(q)}`), body = await got.json();
      if (!got.ok || body.rows.length === 0) shut.push(`${name}: ${q} ${got.ok ? 'finds nothing' : JSON.stringify(body)}`);
    }
    expect(shut.length === 0, shut.slice(0, 5).join(' | '));
    check('  doors tried', doors.length > 60, doors.length);
  });
  const { page, context, complaints } = await openPage(browser, base);
  await attempt('map: node → edge → trace and back, each the same after reload', async () => {
    await open(page, base);
    await node(page, 'storefront').focus();
    await page.keyboard.press('Enter');
    await panel(page).waitFor();
    await page.locator('.map-panel .map-calls button', { hasText: /^checkout$/ }).click();
    await page.getByRole('heading', { name: 'Edge' }).waitFor();
    await survives(page, () => page.locator('.map-doors').innerText());
    const edge = page.url();
    await page.locator('.map-samples a').first().click();
    await page.waitForURL('**/trace/*');
    await page.locator('h1').waitFor();
    await page.goBack();
    await page.getByRole('heading', { name: 'Edge' }).waitFor();
    expect(page.url() === edge, `${page.url()} is not ${edge}`);
  });
  await attempt('map: positions stay while the numbers are refreshed', async () => {
    await open(page, base);
    const places = async () => new Map((await drawn(page)).map(([label, ...at]) => [label.split(',').slice(0, 2).join(), at.join()]));
    const before = await places();
    await Promise.all([page.waitForResponse(/\/map\?/), page.keyboard.press('r')]);
    await page.waitForTimeout(400);
    const after = await places();
    for (const [name, at] of before) if (after.has(name)) expect(Math.abs(parseFloat(after.get(name)) - parseFloat(at)) < 3, `${name} moved`);
  });
  check('map: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}
