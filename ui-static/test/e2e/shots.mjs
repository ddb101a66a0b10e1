// SPDX-License-Identifier: Apache-2.0
// A picture of every page: light and dark, 1280 and 1920 wide.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPage, settled } from './browser.mjs';
import { withPalette } from './palette.mjs';

export async function shots(browser, base, places, folder, suffix) {
  mkdirSync(folder, { recursive: true });
  for (const theme of ['light', 'dark'])
    for (const [width, height] of [[1280, 800], [1920, 1080]]) {
      const { page, context } = await openPage(browser, base, { theme, width, height });
      for (const [name, path, act] of places) {
        await page.goto(base + path);
        await settled(page);
        try {
          await act?.(page);
        } catch {
          // The tests of flows say so; the picture shows what there is.
        }
        await page.waitForTimeout(400);
        // Not while it is asking anew: that is another picture.
        await page.waitForFunction(() => document.querySelector('.skeleton, .progress, .dimmed') === null).catch(() => undefined);
        writeFileSync(join(folder, `${name}-${suffix}-${theme}-${width}.png`), withPalette(await page.screenshot()));
      }
      await context.close();
    }
}
