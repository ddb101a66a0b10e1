// SPDX-License-Identifier: Apache-2.0
// Offsets within a trace as people read them, and where the lines of a time axis stand.

const UNITS = [
  [1, 'ns'],
  [1e3, 'µs'],
  [1e6, 'ms'],
  [1e9, 's'],
  [60e9, 'min'],
  [3600e9, 'h'],
] as const;

/** Round steps, so that about `count` of them fill the width: 1, 2 or 5 of a power of ten; of minutes, what divides one. */
export function tickStep(width: number, count: number): number {
  const raw = width / Math.max(1, count);
  if (raw > 10e9) {
    for (const step of [15e9, 30e9, 60e9, 120e9, 300e9, 600e9, 900e9, 1800e9, 3600e9]) if (step >= raw) return step;
    return Math.ceil(raw / 3600e9) * 3600e9;
  }
  const power = 10 ** Math.floor(Math.log10(Math.max(1, raw)));
  for (const m of [1, 2, 5, 10]) if (m * power >= raw) return m * power;
  return 10 * power;
}

export function ticks(from: number, to: number, count: number): { step: number; at: number[] } {
  const step = tickStep(to - from, count);
  const at: number[] = [];
  for (let t = Math.ceil(from / step) * step; t <= to; t += step) at.push(t);
  return { step, at };
}

/** An offset, with as many digits as the step between ticks needs, in the unit that the largest shown needs. */
export function formatOffset(ns: number, step: number, largest: number): string {
  if (ns === 0) return '0';
  const big = Math.max(Math.abs(largest), Math.abs(ns));
  let k = 0;
  while (k + 1 < UNITS.length && big >= UNITS[k + 1]![0]) k++;
  // Minutes and hours read as m:ss.
  if (k >= 4) {
    const s = Math.round(Math.abs(ns) / 1e9);
    const pad = (n: number): string => String(n).padStart(2, '0');
    const text = s >= 3600 ? `${Math.floor(s / 3600)}:${pad(Math.floor((s % 3600) / 60))}:${pad(s % 60)}` : `${Math.floor(s / 60)}:${pad(s % 60)}`;
    return (ns < 0 ? '−' : '') + text;
  }
  const [unit, name] = UNITS[k]!;
  const digits = Math.max(0, Math.min(9, Math.ceil(-Math.log10(step / unit) - 1e-9)));
  return `${ns < 0 ? '−' : ''}${(Math.abs(ns) / unit).toFixed(digits)} ${name}`;
}
