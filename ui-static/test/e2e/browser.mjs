// SPDX-License-Identifier: Apache-2.0
// A browser whose every complaint is kept: errors on the console, reports of the content policy, requests that leave the
// origin, strangers' code that ran. Tests print "ok   name" or "FAIL name: why", a line each.
import { chromium } from 'playwright-core';
import { existsSync } from 'node:fs';

export const executable = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((f) => existsSync(f));

let failures = 0;
export const failed = () => failures;
export function check(name, isGood, detail = '') {
  if (!isGood) failures++;
  console.log(`${isGood ? 'ok  ' : 'FAIL'} ${name}${detail === '' ? '' : ': ' + String(detail).replace(/\s+/g, ' ').slice(0, 600)}`);
  return isGood;
}
/** A test that throws has failed, and the next one goes on. */
export async function attempt(name, run) {
  const before = failures;
  try {
    await run();
    if (failures === before) check(name, true);
  } catch (error) {
    check(name, false, error.message ?? error);
  }
}
export const expect = (isGood, what) => {
  if (!isGood) throw new Error(what);
};

export const launch = () =>
  chromium.launch({
    executablePath: executable,
    args: [...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-gpu', '--force-color-profile=srgb', '--font-render-hinting=none'],
  });

/** Quiet by themselves: the answers to what a test asks for on purpose. */
const expected = [/Failed to load resource: the server responded with a status of (400|401|403|404|503)/];

/** A page and `complaints`, what went wrong in it. */
export async function openPage(browser, base, { theme = 'light', width = 1280, height = 800, reducedMotion = 'reduce', bypassCSP = false } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, reducedMotion, bypassCSP, timezoneId: 'Europe/Berlin', locale: 'en-GB' });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (m) => {
    if (m.type() === 'error' && !expected.some((e) => e.test(m.text()))) complaints.push('console: ' + m.text());
  });
  page.on('pageerror', (e) => complaints.push('error: ' + e.message));
  page.on('request', (r) => {
    const url = new URL(r.url());
    if (!['data:', 'blob:', 'about:'].includes(url.protocol) && url.origin !== new URL(base).origin) complaints.push('request elsewhere: ' + r.url());
  });
  page.on('dialog', (d) => {
    complaints.push('dialog: ' + d.message());
    void d.dismiss();
  });
  page.on('popup', () => complaints.push('a window opened by itself'));
  await context.exposeFunction('__complain', (text) => complaints.push(text));
  await context.addInitScript(() => {
    window.__ran = (what) => window.__complain('strangers\' code ran: ' + what);
    document.addEventListener('securitypolicyviolation', (e) => window.__complain(`content policy: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  page.setDefaultTimeout(20_000);
  return { page, context, complaints };
}

/** Looks until it is as it should be; a machine that does other things is given time. Gives what was seen. */
export async function eventually(look, isGood, what = String) {
  const until = Date.now() + 15_000;
  for (;;) {
    const seen = await look();
    if (isGood(seen)) return seen;
    if (Date.now() > until) throw new Error(what(seen));
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** An adjustment has been written to the address: half a second later, or at once when the page is left. */
export async function written(page) {
  await page.waitForTimeout(650);
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pagehide')));
}

/** No request is under way and nothing says that it loads. */
export async function settled(page) {
  await page.waitForLoadState('networkidle').catch(() => undefined);
  await page.waitForFunction(() => document.querySelector('#page') !== null && document.querySelector('.skeleton, .progress') === null, undefined, { timeout: 8000 }).catch(() => undefined);
}
