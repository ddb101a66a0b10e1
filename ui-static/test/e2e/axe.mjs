// SPDX-License-Identifier: Apache-2.0
// Axe's rules on every page and dialog, in both themes: no violation.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { check, openPage, settled } from './browser.mjs';

const source = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function violations(page) {
  await page.evaluate(source);
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return result.violations.map((v) => `${v.id} (${v.nodes.length}): ${v.nodes.slice(0, 2).map((n) => n.target.join(' ') + ' ' + (n.any[0]?.message ?? n.all[0]?.message ?? '')).join('; ')}`);
}

/** `places`: [name, path, what to do there]. */
export async function axe(browser, base, places) {
  const inTheme = async (theme) => {
    const { page, context } = await openPage(browser, base, { theme });
    for (const [name, path, act] of places) {
      await page.goto(base + path);
      await settled(page);
      try {
        await act?.(page);
      } catch (error) {
        check(`axe: ${name}, ${theme}`, false, error.message);
        continue;
      }
      const found = await violations(page);
      check(`axe: ${name}, ${theme}`, found.length === 0, found.join(' | '));
    }
    await context.close();
  };
  await Promise.all(['light', 'dark'].map(inTheme));
}

/** The rules do find what they should. */
export async function axeControl(browser, base) {
  const { page, context } = await openPage(browser, base);
  await page.goto(base + 'settings');
  await settled(page);
  await page.evaluate(() => {
    const button = document.createElement('button');
    button.className = 'button';
    document.querySelector('#page').append(button);
  });
  const found = await violations(page);
  check('axe: control: a button without a name is found', found.some((v) => v.startsWith('button-name')), found.join(' | '));
  await context.close();
}
