// SPDX-License-Identifier: Apache-2.0
// How soon the first page is there: medians of five loads with an empty cache.
import { cpus, loadavg } from 'node:os';
import { check, openPage } from './browser.mjs';

const PAINT_MS = 300;
const USABLE_MS = 800;
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

export async function speed(browser, base) {
  const paints = [], usables = [];
  for (let n = 0; n < 5; n++) {
    const { page, context } = await openPage(browser, base);
    await context.addInitScript(() => {
      const look = () => {
        if (document.querySelector('.map-overlay button') !== null) window.__usable = performance.now();
        else requestAnimationFrame(look);
      };
      look();
    });
    await page.goto(base);
    await page.waitForFunction(() => window.__usable !== undefined);
    const [paint, usable] = await page.evaluate(() => [performance.getEntriesByName('first-contentful-paint')[0]?.startTime, window.__usable]);
    paints.push(paint ?? Infinity);
    usables.push(usable);
    await context.close();
  }
  const ms = (n) => `${Math.round(n)} ms`;
  // A clock also measures what else the machine does: it fails the run only where that cannot explain it.
  const load = loadavg()[0];
  const judge = (name, is, most) => {
    if (is > most && (is <= 3 * most || load > cpus().length))
      console.log(`skip ${name}: ${ms(is)} of ${ms(most)}; ${load.toFixed(1)} processes want ${cpus().length} cores`);
    else check(name, is <= most, `${ms(is)} of ${ms(most)}`);
  };
  judge('first paint, median of five', median(paints), PAINT_MS);
  judge('map usable, median of five', median(usables), USABLE_MS);
}
