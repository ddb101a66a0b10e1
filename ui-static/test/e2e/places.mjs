// SPDX-License-Identifier: Apache-2.0
// Every page and dialog, for pictures and for rules of accessibility: name, path, what to do there.

/** Of a server that has data: `trace` is the ID of one of its traces, with `span`. */
export const full = ({ trace, span, service }) => [
  ['map', ''],
  ['map-selected', '', async (page) => {
    const node = page.getByRole('button', { name: new RegExp(`^${service}\\b`) }).first();
    await node.focus();
    await page.keyboard.press('Enter');
    await page.locator('aside.panel').waitFor();
    await page.waitForTimeout(500);
  }],
  ['map-matrix', '?layout=matrix'],
  ['services', 'services'],
  ['service', `services/${service}`],
  ['service-operations', `services/${service}?tab=operations`],
  ['service-dependencies', `services/${service}?tab=dependencies`],
  ['traces', 'traces'],
  ['traces-list', 'traces?view=list'],
  ['traces-box', 'traces', async (page) => {
    await page.locator('.heat canvas').waitFor();
    await page.locator('.heat').focus();
    await page.keyboard.press('ArrowUp'); // the slowest
    await page.locator('.differs-attr').first().waitFor();
  }],
  ['trace', `trace/${trace}`],
  ['trace-span', `trace/${trace}?span=${span}`],
  ['trace-flame', `trace/${trace}?tab=flame`],
  ['trace-spans', `trace/${trace}?tab=spans`],
  ['trace-logs', `trace/${trace}?tab=logs`],
  ['trace-map', `trace/${trace}?tab=map`],
  ['logs', 'logs'],
  ['logs-record', 'logs', async (page) => {
    await page.locator('#logs-rows').focus();
    await page.keyboard.press('j');
    await page.locator('.panel .facts').waitFor();
  }],
  ['status', 'status', async (page) => {
    await page.waitForFunction(() => !/\n…\n/.test(document.querySelector('#page').innerText)); // a rate takes two answers
  }],
  ['status-storage', 'status?tab=storage'],
  ['status-instrumentation', 'status?tab=instrumentation'],
  ['settings', 'settings'],
  ['palette', 'settings', async (page) => {
    await page.keyboard.press('Control+k');
    await page.locator('#palette-list [role=option]').nth(8).waitFor();
  }],
  ['keys', 'settings', async (page) => {
    await page.locator('#page').focus();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
  }],
  ['range', 'status', async (page) => {
    await page.getByRole('button', { name: /Last 15 min/ }).click();
    await page.getByRole('dialog', { name: 'Time range' }).waitFor();
  }],
  ['finder', 'id/ffffffffffffffffffffffffffffffff'],
  ['unknown', 'nowhere'],
  ['signin', 'signin'],
];

/** Of a server that has none. */
export const empty = [
  ['map', ''],
  ['services', 'services'],
  ['traces', 'traces'],
  ['logs', 'logs'],
  ['status', 'status'],
];
