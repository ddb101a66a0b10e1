// SPDX-License-Identifier: Apache-2.0
// What a stock SDK has sent, as the page shows it: every span with its attributes, every log record at its span.
import { attempt, check, expect, openPage } from './browser.mjs';

const MANY = 40; // attributes that are looked at one by one

/** `sent`: { client, spans, logs }, as the SDK says it sent them. */
export async function sdk(browser, base, sent) {
  const { page, context, complaints } = await openPage(browser, base);
  page.setDefaultTimeout(60_000);
  let attributes = 0;
  for (const id of new Set(sent.spans.map((s) => s.traceId)))
    await attempt(`${sent.client}: trace ${id.slice(0, 8)} is shown as it was sent`, async () => {
      const spans = sent.spans.filter((s) => s.traceId === id);
      await page.goto(`${base}trace/${id}`);
      await page.waitForFunction((n) => document.querySelectorAll('.wf-row:not([hidden])').length === n, spans.length);
      for (const span of spans) {
        await page.goto(`${base}trace/${id}?span=${span.spanId}`);
        const panel = page.locator('aside.panel');
        await panel.getByText(span.spanId).first().waitFor();
        expect((await panel.innerText()).includes(span.name), `${span.name} is not named`);
        expect((await panel.innerText()).includes(span.resource['service.name'].stringValue), `the service of ${span.name} is not named`);
        const own = Object.entries(span.attributes);
        if (own.length === 0) continue;
        await panel.locator('.attr-key').first().waitFor();
        const shown = new Map(await panel.locator('.attr').evaluateAll((all) => all.map((e) => [e.querySelector('.attr-key').textContent.trim(), e.querySelector('.attr-value').textContent.trim()])));
        for (const [key, value] of own.slice(0, MANY)) {
          expect(shown.has(key), `${span.name} lacks ${key}`);
          const text = value.stringValue ?? value.intValue ?? (value.boolValue === undefined ? undefined : String(value.boolValue));
          if (text !== undefined && text !== '' && text.length < 100) expect(shown.get(key).startsWith(text), `${key}: ${shown.get(key)}, not ${text}`);
          attributes++;
        }
      }
      const logs = sent.logs.filter((l) => l.traceId === id && l.body?.stringValue !== undefined);
      await page.goto(`${base}trace/${id}?tab=logs`);
      for (const log of logs) await page.getByText(log.body.stringValue, { exact: false }).first().waitFor();
    });
  check(`  ${sent.spans.length} spans, ${attributes} attributes`, attributes > 10);
  check(`${sent.client}: no complaints`, complaints.length === 0, complaints.slice(0, 5).join(' | '));
  await context.close();
}
