// SPDX-License-Identifier: Apache-2.0
// Colours for canvases: they cannot read CSS variables, so an element of the page resolves them.
import { preferences } from '../lib/store.ts';

export type Palette = Readonly<Record<string, string>>;

/** The tokens' colours as the theme has them now: "edge" to "rgb(123, 135, 148)". */
export function readColors(names: readonly string[]): Palette {
  const probe = document.createElement('span');
  probe.hidden = true;
  document.body.append(probe);
  const out: Record<string, string> = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    out[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return out;
}

/** Calls back after each change of theme, the system's included, until the returned function is called. */
export function onTheme(changed: () => void): () => void {
  const system = matchMedia('(prefers-color-scheme: dark)');
  const forced = matchMedia('(forced-colors: active)');
  let first = true;
  // The preference is applied to the root by an effect of its own: read after it.
  const stop = preferences.subscribe(() => {
    if (!first) requestAnimationFrame(changed);
    first = false;
  });
  system.addEventListener('change', changed);
  forced.addEventListener('change', changed);
  return () => {
    stop();
    system.removeEventListener('change', changed);
    forced.removeEventListener('change', changed);
  };
}
