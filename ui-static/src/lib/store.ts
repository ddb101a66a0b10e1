// SPDX-License-Identifier: Apache-2.0
// Preferences of this browser: how things look, never what is looked at (that is in the URL).
import { signal } from '@preact/signals';

export interface Preferences {
  theme: 'system' | 'light' | 'dark';
  density: 'normal' | 'compact';
  zone: string; // 'local', 'utc' or an IANA name
  refresh_s: number; // 0: by hand
  keys: boolean; // single-key shortcuts
  panel_px: number;
  nav: 'wide' | 'narrow';
  pins: readonly string[]; // attribute keys shown first
  columns: readonly string[]; // of tables, that are not shown as they are at first: see ui/columns.tsx
}

const initial: Preferences = {
  theme: 'system',
  density: 'normal',
  zone: 'local',
  refresh_s: 10,
  keys: true,
  panel_px: 440,
  nav: 'wide',
  pins: [],
  columns: [],
};

const KEY = 'spindle.preferences';

/** What is stored, field by field: a field that is missing or of another type has its initial value. */
export function readPreferences(stored: string | null): Preferences {
  let given: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(stored ?? '{}');
    if (typeof parsed === 'object' && parsed !== null) given = parsed as Record<string, unknown>;
  } catch {
    // Somebody else's text: the initial values serve.
  }
  const out = { ...initial };
  for (const key of Object.keys(initial) as (keyof Preferences)[]) {
    const value = given[key];
    const fits = Array.isArray(initial[key])
      ? Array.isArray(value) && value.every((v) => typeof v === 'string')
      : typeof value === typeof initial[key];
    if (fits) (out as Record<string, unknown>)[key] = value;
  }
  if (!['system', 'light', 'dark'].includes(out.theme)) out.theme = initial.theme;
  if (!['normal', 'compact'].includes(out.density)) out.density = initial.density;
  if (!['wide', 'narrow'].includes(out.nav)) out.nav = initial.nav;
  out.panel_px = Math.min(720, Math.max(360, Math.round(out.panel_px)));
  out.refresh_s = Math.min(3600, Math.max(0, Math.round(out.refresh_s)));
  return out;
}

function load(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is off: preferences last as long as the page
  }
}

export const preferences = signal<Preferences>(readPreferences(typeof localStorage === 'undefined' ? null : load()));

export function prefer(patch: Partial<Preferences>): void {
  preferences.value = { ...preferences.value, ...patch };
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences.value));
  } catch {
    // As above.
  }
}
