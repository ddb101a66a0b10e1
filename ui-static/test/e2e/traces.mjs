// SPDX-License-Identifier: Apache-2.0
// Searching, one trace, logs: what people do there, in a browser, against a real server with the demo's traffic.
import { attempt, check, eventually, expect, openPage, settled, written } from './browser.mjs';

const rowsOf = (page) => page.locator('.table tbody tr:not(.spacer)');
const query = (page) => new URL(page.url()).searchParams;

/** The page shows the same after a reload. */
async function survivesReload(page, look) {
  await written(page);
  const before = JSON.stringify([page.url(), await look()]);
  await page.reload();
  await settled(page);
  await eventually(async () => JSON.stringify([page.url(), await look()]), (after) => after === before, (after) => `reload changed ${before} to ${after}`);
}

export async function traces(browser, base) {
  const { page, context, complaints } = await openPage(browser, base);
  const api = async (path) => (await page.request.get(base + 'api/spindle/v1' + path)).json();
  const { rows } = await api('/traces?limit=100&q=' + encodeURIComponent('{ status = error }'));
  // One that has had the time to arrive as a whole.
  const isOld = (r) => BigInt(Date.now() - 15_000) * 1_000_000n > BigInt(r.start);
  const failed = rows.find((r) => r.has_root && r.spans > 10 && isOld(r)) ?? rows[0];

  await attempt('search: words, chips, the builder and the text are one query', async () => {
    await page.goto(base + 'traces?view=list');
    await settled(page);
    await page.getByRole('combobox', { name: 'Filter over spans' }).fill('status = error');
    await page.keyboard.press('Enter');
    await page.waitForURL((u) => u.searchParams.get('q') === '{ status = error }');
    await settled(page);
    await page.getByLabel('Service', { exact: true }).selectOption('checkout');
    await page.waitForURL((u) => u.searchParams.get('q') === '{ status = error && resource.service.name = "checkout" }');
    await settled(page);
    await survivesReload(page, () => page.locator('.query-chips').innerText());
    await page.getByRole('button', { name: 'Remove status = error' }).click();
    await page.waitForURL((u) => u.searchParams.get('q') === '{ resource.service.name = "checkout" }');
    expect((await page.getByRole('combobox', { name: 'Filter over spans' }).inputValue()) === '{ resource.service.name = "checkout" }', 'the text does not follow');
  });
  await attempt('search: what fits at the caret is offered, by keyboard', async () => {
    await page.goto(base + 'traces?view=list');
    await settled(page);
    const box = page.getByRole('combobox', { name: 'Filter over spans' });
    await box.focus();
    await page.keyboard.type('{ resource.service.na');
    await page.getByRole('option', { name: /^resource.service.name the service/ }).waitFor();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Tab');
    await page.getByRole('listbox').waitFor({ state: 'detached' });
    await page.keyboard.type('= ');
    await page.getByRole('option', { name: /"checkout"/ }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('listbox').waitFor({ state: 'detached' });
    expect((await box.inputValue()).startsWith('{ resource.service.name ='), await box.inputValue());
  });
  await attempt('search: Tab goes on where no suggestion is chosen', async () => {
    await page.goto(base + 'traces?view=list');
    await settled(page);
    const box = page.getByRole('combobox', { name: 'Filter over spans' });
    await box.click();
    await page.getByRole('option').first().waitFor();
    await page.keyboard.press('Tab');
    expect((await box.inputValue()) === '', await box.inputValue());
    expect(!(await box.evaluate((e) => e === document.activeElement)), 'the focus stays');
  });
  await attempt('search: a filter that is none is said where it breaks', async () => {
    await page.goto(base + 'traces?q=' + encodeURIComponent('{ status > error }'));
    const said = page.locator('.query-error');
    await said.waitFor();
    expect(/cannot join.* at /.test(await said.innerText()), await said.innerText());
  });
  await attempt('search: the box by keyboard, what lies in it, and what differs', async () => {
    await page.goto(base + 'traces');
    await page.locator('.heat canvas').waitFor();
    await settled(page);
    await page.locator('.heat').focus();
    await page.keyboard.press('ArrowUp'); // there is no box: the slowest
    await page.waitForURL((u) => (u.searchParams.get('box') ?? '').split(',').length === 4);
    await settled(page);
    expect((await rowsOf(page).count()) > 0, 'the box of the slowest is empty');
    const before = query(page).get('box');
    await page.keyboard.press('ArrowDown');
    await page.waitForURL((u) => u.searchParams.get('box') !== before);
    await settled(page);
    await page.locator('.differs-attr').first().waitFor();
    await survivesReload(page, () => page.locator('.bar .chip').innerText());
    await page.getByRole('button', { name: 'Remove the box' }).click();
    await page.waitForURL((u) => !u.searchParams.has('box'));
  });
  await attempt('search: traces that are still arriving are left out, and shown when asked for', async () => {
    await page.goto(base + 'traces?view=list');
    const caption = page.locator('.search-caption');
    await caption.getByText(/ that began before \d\d:\d\d:\d\d · younger ones are still arriving/).waitFor();
    expect((await page.getByText('≥').count()) === 0, 'a trace that is still arriving is listed');
    await caption.getByRole('button', { name: 'show' }).click();
    await page.waitForURL((u) => u.searchParams.get('young') === '1');
    await rowsOf(page).filter({ hasText: 'still arriving' }).first().waitFor();
    const young = await rowsOf(page).filter({ hasText: 'still arriving' }).allInnerTexts();
    expect(young.every((t) => /≥/.test(t) && !/⚠/.test(t)), young.join(' '));
    await caption.getByRole('button', { name: 'leave out' }).click();
    await page.waitForURL((u) => !u.searchParams.has('young'));
  });
  await attempt('search and logs: the environment chosen at the head counts, and stays out of the filter', async () => {
    for (const [path, row] of [['traces?view=list', '.table tbody tr:not(.spacer)'], ['logs?', '.logs-row[data-index]']]) {
      await page.goto(`${base}${path}&env=none-such`);
      await settled(page);
      await page.getByText(/No (trace|record) matches in this range/).waitFor();
      expect((await page.locator(row).count()) === 0 && !query(page).has('q'), page.url());
    }
    await page.goto(base + 'traces?view=list&env=demo');
    await rowsOf(page).first().waitFor();
    expect((await page.getByRole('combobox', { name: 'Filter over spans' }).inputValue()) === '', 'it stands in the filter');
  });
  await attempt('search: a page further, and back', async () => {
    await page.goto(base + 'traces?view=list');
    await settled(page);
    const first = await rowsOf(page).first().innerText();
    await page.getByRole('button', { name: /^Next/ }).click();
    await page.waitForURL((u) => u.searchParams.has('cursor'));
    await page.waitForFunction((before) => (document.querySelector('.table tbody tr')?.innerText ?? before) !== before, first);
    await page.getByText('The next 50 traces').waitFor();
    // Another range is another question: its first page is shown.
    await page.goto(page.url() + '&from=now-5m');
    await page.waitForURL((u) => !u.searchParams.has('cursor'));
    await page.getByText(/^The newest 50 traces/).waitFor();
    await page.goBack();
    await page.waitForURL((u) => u.searchParams.has('cursor'));
    await rowsOf(page).first().waitFor();
    await page.goBack();
    await page.waitForURL((u) => !u.searchParams.has('cursor'));
  });
  await attempt('search → trace → span → logs → trace, each the same after reload, by keyboard', async () => {
    await page.goto(base + 'traces?view=list&q=' + encodeURIComponent('{ status = error }'));
    await settled(page);
    await rowsOf(page).first().focus();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await page.waitForURL('**/trace/*');
    await page.locator('.wf-row:not([hidden])').first().waitFor();
    expect(query(page).get('a') === '{ status = error }' && query(page).get('span') !== null, page.url());
    await page.locator('.span-panel').waitFor();
    await survivesReload(page, () => page.locator('.panel h2').innerText());
    await page.locator('#trace-rows').focus();
    await page.keyboard.press('ArrowUp');
    await written(page);
    await page.keyboard.press('Escape');
    await page.waitForURL((u) => !u.searchParams.has('span'));
    await page.goBack();
  });
  await attempt('trace: errors, critical path, zoom and tabs stand in the address', async () => {
    await page.goto(`${base}trace/${failed.id}`);
    await page.locator('.wf-row:not([hidden])').first().waitFor();
    await page.locator('#trace-rows').focus();
    await page.keyboard.press('!');
    await page.waitForURL((u) => u.searchParams.has('span'));
    await page.locator('.note.err').first().waitFor();
    await page.keyboard.press('p');
    await page.locator('.wf-critical:visible').first().waitFor();
    await page.keyboard.press('End'); // the last span is never the whole trace
    await page.keyboard.press('z');
    await page.waitForURL((u) => u.searchParams.has('zoom') && u.searchParams.get('cp') === 'on');
    await survivesReload(page, () => page.locator('.trace-facts .chip').innerText());
    await page.keyboard.press('0');
    await page.waitForURL((u) => !u.searchParams.has('zoom'));
    for (const [tab, sight] of [['Flame', '.flame canvas'], ['Spans', '.trace-spans tbody tr'], ['Map', '.trace-map-node'], ['Waterfall', '.wf-row:not([hidden])']]) {
      await page.getByRole('button', { name: tab, exact: true }).click();
      await page.locator(sight).first().waitFor();
    }
  });
  await attempt('trace: rows close and open, and count', async () => {
    await page.goto(`${base}trace/${failed.id}`);
    await page.locator('.wf-row:not([hidden])').first().waitFor();
    const grid = page.getByRole('treegrid', { name: 'Spans' });
    const whole = Number(await grid.getAttribute('aria-rowcount'));
    await grid.focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowLeft');
    await page.locator('.wf-row.active[aria-expanded=false]').waitFor(); // rows are drawn with the next frame
    expect(Number(await grid.getAttribute('aria-rowcount')) < whole, 'no row went');
    await page.keyboard.press('ArrowRight');
    await page.locator('.wf-row.active[aria-expanded=true]').waitFor();
    expect(Number(await grid.getAttribute('aria-rowcount')) === whole, 'not all rows came back');
  });
  await attempt('trace: find goes from match to match', async () => {
    await page.goto(`${base}trace/${failed.id}?find=${encodeURIComponent('{ status = error }')}`);
    await page.locator('.wf-row.match').first().waitFor();
    await page.getByRole('button', { name: 'Next match' }).click();
    await page.waitForURL((u) => u.searchParams.has('span'));
    expect(/^1\//.test((await page.locator('.trace-find [role=status]').innerText()).trim()), await page.locator('.trace-find').innerText());
  });
  await attempt('trace: an attribute leads to the spans that have it', async () => {
    await page.goto(`${base}trace/${failed.id}?span=${failed.match_span}`);
    const row = page.locator('.attr').filter({ hasText: 'service.name' }).first();
    await row.hover();
    await row.getByRole('link', { name: 'Only this service.name' }).click();
    await page.waitForURL((u) => u.pathname.endsWith('/traces') && /resource\.service\.name = /.test(u.searchParams.get('q') ?? ''));
    await settled(page);
    expect((await rowsOf(page).count()) > 0, 'no trace has it');
  });
  await attempt('trace: an unknown one is said to be unknown', async () => {
    await page.goto(base + 'trace/ffffffffffffffffffffffffffffffff');
    await page.getByText('There is no such trace here').waitFor();
  });
  await attempt('logs: found, filtered, one record, its trace at its span', async () => {
    await page.goto(base + 'logs');
    await page.locator('.logs-row[data-index]').first().waitFor();
    await page.getByLabel('Severity, at least').selectOption('warn');
    await page.waitForURL((u) => u.searchParams.get('q') === '{ severity >= warn }');
    await settled(page);
    const severities = await page.locator('.logs-row[data-index]:visible .sev').allInnerTexts();
    expect(severities.length > 0 && severities.every((s) => /^(WARN|ERROR|FATAL)/.test(s)), severities.join(' '));
    await page.locator('.logs-row[data-index]:not(:has(a[hidden]))').first().click({ position: { x: 300, y: 12 } });
    await page.waitForURL((u) => u.searchParams.has('at'));
    await page.locator('.panel .facts').waitFor();
    await survivesReload(page, () => page.locator('.panel .facts').innerText());
    await page.locator('.panel .facts a.mono').click();
    await page.waitForURL('**/trace/*');
    await page.locator('.wf-row[aria-selected=true]').waitFor();
    await page.goBack();
    await page.waitForURL('**/logs*');
  });
  await attempt('logs: older records come when one scrolls to the end', async () => {
    await page.goto(base + 'logs');
    await page.locator('.logs-row[data-index]').first().waitFor();
    const shown = () => page.getByRole('grid', { name: 'Log records' }).getAttribute('aria-rowcount');
    expect((await shown()) === '200', await shown());
    await page.locator('#logs-rows').evaluate((e) => (e.scrollTop = e.scrollHeight));
    await page.waitForFunction(() => Number(document.querySelector('#logs-rows')?.getAttribute('aria-rowcount')) > 200);
  });
  const { features } = await api('/meta');
  if (features.includes('logs_tail'))
    await attempt('logs: live, paused, resumed', async () => {
      await page.goto(base + 'logs?live=1');
      await page.locator('.logs-row[data-index]').first().waitFor();
      const last = () => page.evaluate(() => document.querySelector('.foot').textContent);
      const before = await last();
      await page.waitForFunction((b) => document.querySelector('.foot').textContent !== b, before, { timeout: 20_000 });
      await page.locator('#logs-rows').focus();
      await page.keyboard.press('Space');
      await page.getByText(/Paused · /).waitFor();
      await page.waitForFunction(() => !/Paused · 0 new/.test(document.querySelector('.logs-paused')?.textContent ?? ''), undefined, { timeout: 20_000 });
      await page.keyboard.press('Space');
      await page.getByText(/Paused · /).waitFor({ state: 'detached' });
      await page.mouse.move(600, 500);
      await page.mouse.wheel(0, -300);
      await page.getByText(/Paused · /).waitFor();
    });
  check('traces and logs: no complaints', complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}
