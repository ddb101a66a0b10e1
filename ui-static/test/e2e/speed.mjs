// SPDX-License-Identifier: Apache-2.0
// How soon the first page is there: medians of five loads with an empty cache.
import { openPage } from './browser.mjs';
import { judged, median, ROUNDS, traced, yardstick } from './measure.mjs';

const PAINT_MS = 300;
const USABLE_MS = 800;

/** One load of the map: when it was painted first and usable, by the clock and by what was worked until then. */
async function load(browser, base) {
  const { page, context } = await openPage(browser, base, { bypassCSP: true });
  await context.addInitScript(() => {
    const look = () => {
      if (document.querySelector('.map-overlay button') !== null) performance.mark('usable');
      else requestAnimationFrame(look);
    };
    look();
    const watch = new PerformanceObserver((list) => list.getEntriesByName('first-contentful-paint').length > 0 && performance.mark('painted'));
    watch.observe({ type: 'paint', buffered: true });
  });
  const done = await traced(browser, page, async () => {
    await page.goto(base);
    await page.waitForFunction(() => performance.getEntriesByName('usable').length > 0 && performance.getEntriesByName('painted').length > 0);
  });
  const [painted, usable] = await page.evaluate(() => [performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.getEntriesByName('usable')[0].startTime]);
  await context.close();
  return { painted: { wall: painted, cpu: done.spent('painted') }, usable: { wall: usable, cpu: done.spent('usable') } };
}

export async function speed(browser, base) {
  const yard = await yardstick(browser);
  let rounds = [];
  const loads = async () => {
    rounds = [];
    for (let n = 0; n < ROUNDS; n++) rounds.push(await load(browser, base));
  };
  const middle = (what) => ({ wall: median(rounds.map((r) => r[what].wall)), cpu: median(rounds.map((r) => r[what].cpu)) });
  await judged('first paint, median of five', yard, PAINT_MS, async () => (await loads(), middle('painted')));
  let isFirst = true; // the same loads tell of both, unless they have to be made again
  await judged('map usable, median of five', yard, USABLE_MS, async () => {
    if (!isFirst) await loads();
    isFirst = false;
    return middle('usable');
  });
  await yard.close();
}
