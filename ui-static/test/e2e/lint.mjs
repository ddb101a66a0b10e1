// SPDX-License-Identifier: Apache-2.0
// What a person would call broken at a glance, asked of the boxes that the browser made: text cut off without a sign of it,
// controls that lie over each other or outside of the window, a page wider than the window. It does not depend on fonts.
import { check, openPage, settled } from './browser.mjs';

/** Run in the page. Each finding is a line: what, where, by how much. */
function findings() {
  const out = [], WIDE = innerWidth, HIGH = innerHeight;
  const name = (e) => `${e.tagName.toLowerCase()}${e.id === '' ? '' : '#' + e.id}${typeof e.className === 'string' && e.className !== '' ? '.' + e.className.trim().split(/\s+/).join('.') : ''} "${(e.getAttribute('aria-label') ?? e.textContent ?? '').trim().slice(0, 40)}"`;
  const isShown = (e) => {
    if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    const r = e.getBoundingClientRect();
    return r.width > 0 && r.height > 0 && e.closest('.visually-hidden, .skip, [aria-hidden="true"], .map-overlay') === null;
  };
  /** What is left of a box within all that cut it off; null: nothing, it is scrolled away. */
  const seen = (e) => {
    const r = e.getBoundingClientRect();
    let box = { l: r.left, t: r.top, r: r.right, b: r.bottom };
    for (let p = e.parentElement; p !== null && p !== document.documentElement; p = p.parentElement) {
      const s = getComputedStyle(p);
      if (s.position === 'static' && getComputedStyle(e).position === 'absolute') continue;
      if (s.overflowX === 'visible' && s.overflowY === 'visible') continue;
      const c = p.getBoundingClientRect();
      box = { l: Math.max(box.l, c.left), t: Math.max(box.t, c.top), r: Math.min(box.r, c.right), b: Math.min(box.b, c.bottom) };
    }
    return box.r - box.l < 1 || box.b - box.t < 1 ? null : box;
  };
  const scrollsX = (e) => {
    for (let p = e.parentElement; p !== null; p = p.parentElement) if (/auto|scroll/.test(getComputedStyle(p).overflowX) && p.scrollWidth > p.clientWidth + 1) return true;
    return false;
  };
  const scrollsY = (e) => {
    for (let p = e.parentElement; p !== null; p = p.parentElement) if (/auto|scroll/.test(getComputedStyle(p).overflowY)) return true;
    return false;
  };
  const isOutside = (e) => {
    const r = e.getBoundingClientRect();
    return ((r.right > WIDE + 1 || r.left < -1) && !scrollsX(e)) || ((r.bottom > HIGH + 1 || r.top < -1) && !scrollsY(e));
  };

  if (document.documentElement.scrollWidth > WIDE + 1) out.push(`the page is ${document.documentElement.scrollWidth} px wide, the window ${WIDE}`);
  const page = document.querySelector('#page');
  if (page !== null && page.scrollWidth > page.clientWidth + 1 && getComputedStyle(page).overflowX !== 'hidden' && !page.classList.contains('may-scroll-x')) out.push(`#page is ${page.scrollWidth} px wide in ${page.clientWidth}`);

  for (const bar of document.querySelectorAll('.bar, .query-line')) if (bar.getBoundingClientRect().height > 44) out.push(`a bar of two lines: ${name(bar)}`);

  // Text: cut off at its right without "…", or at its bottom.
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const parents = new Set();
  while (walker.nextNode()) if (walker.currentNode.data.trim() !== '') parents.add(walker.currentNode.parentElement);
  for (const e of parents) {
    if (!isShown(e) || ['SCRIPT', 'STYLE', 'OPTION', 'TITLE'].includes(e.tagName) || e.closest('svg') !== null) continue;
    const box = seen(e);
    if (box === null) continue;
    const range = document.createRange();
    range.selectNodeContents(e);
    const text = range.getBoundingClientRect(), style = getComputedStyle(e);
    if (isOutside(e)) out.push(`outside of the window: ${name(e)}`);
    // The nearest that cuts it: is a cut meant and shown?
    let cutter = null;
    for (let p = e; p !== null && p !== document.body; p = p.parentElement) {
      const s = getComputedStyle(p), c = p.getBoundingClientRect();
      if (s.overflowX !== 'visible' && text.right > c.right + 1.5) {
        cutter = p;
        break;
      }
    }
    if (cutter !== null && getComputedStyle(cutter).textOverflow !== 'ellipsis' && style.textOverflow !== 'ellipsis' && !scrollsX(e) && !/auto|scroll/.test(getComputedStyle(cutter).overflowX))
      out.push(`text cut off by ${Math.round(text.right - cutter.getBoundingClientRect().right)} px: ${name(e)}`);
    if (style.whiteSpace !== 'nowrap' && e.children.length === 0 && e.scrollHeight > e.clientHeight + 3 && style.overflowY === 'hidden' && e.clientHeight > 0) out.push(`text cut off at the bottom: ${name(e)}`);
  }

  // Controls: in the window as far as they are not scrolled away, large enough, none over another.
  const controls = [...document.querySelectorAll('button, a[href], input, select, textarea, [role=option], summary')].filter((e) => isShown(e) && e.closest('.map-overlay') === null);
  const boxes = [];
  const modal = document.querySelector('dialog[open]');
  for (const e of controls) {
    if (modal !== null && !modal.contains(e)) continue;
    const box = seen(e);
    if (box === null) continue;
    if (isOutside(e)) {
      out.push(`outside of the window: ${name(e)}`);
      continue;
    }
    boxes.push({ e, ...box });
  }
  const layer = (e) => e.closest('.popover, .panel, .notices, .logs-paused, dialog, .attr-acts, thead, .search-query, .panel-handle, .zoom-buttons, .map-tools')?.className ?? '';
  for (let i = 0; i < boxes.length; i++)
    for (let k = i + 1; k < boxes.length; k++) {
      const a = boxes[i], b = boxes[k];
      if (a.e.contains(b.e) || b.e.contains(a.e) || layer(a.e) !== layer(b.e)) continue;
      const w = Math.min(a.r, b.r) - Math.max(a.l, b.l), h = Math.min(a.b, b.b) - Math.max(a.t, b.t);
      if (w > 2 && h > 3) out.push(`${Math.round(w)} × ${Math.round(h)} px of ${name(a.e)} under ${name(b.e)}`);
    }
  return [...new Set(out)].slice(0, 12);
}

/** `places`: [name, path, what to do there]. */
export async function lint(browser, base, places, which) {
  const at = async ([width, height, theme]) => {
    const { page, context } = await openPage(browser, base, { theme, width, height });
    for (const [name, path, act] of places) {
      await page.goto(base + path);
      await settled(page);
      try {
        await act?.(page);
      } catch (error) {
        check(`layout: ${name}, ${which}, ${width}`, false, error.message);
        continue;
      }
      const found = await page.evaluate(findings);
      check(`layout: ${name}, ${which}, ${width}`, found.length === 0, found.join(' | '));
    }
    await context.close();
  };
  await Promise.all([[1280, 800, 'light'], [1920, 1080, 'dark']].map(at));
}

/** Each kind of finding, put into a page. */
export async function lintControl(browser, base) {
  const { page, context } = await openPage(browser, base);
  await page.goto(base + 'settings');
  await settled(page);
  const clean = await page.evaluate(findings);
  const found = await page.evaluate((source) => {
    const put = (text, style) => {
      const e = document.createElement('button');
      e.textContent = text;
      Object.assign(e.style, { position: 'fixed', height: '30px', ...style });
      document.body.append(e);
    };
    put('a text that is longer than its box', { left: '600px', top: '500px', width: '60px', overflow: 'hidden', whiteSpace: 'nowrap', textAlign: 'left' });
    put('outside', { left: `${innerWidth - 20}px`, top: '300px', width: '80px' });
    put('over', { left: '610px', top: '510px', width: '90px' });
    return new Function(`return (${source})()`)();
  }, findings.toString()).catch(() => []);
  check('layout: control: what is cut off, outside, or over another is found', clean.length === 0 && [/cut off by/, /outside of the window/, /under/].every((kind) => found.some((line) => kind.test(line))), `${clean} ${found.join(' | ')}`);
  await context.close();
}
