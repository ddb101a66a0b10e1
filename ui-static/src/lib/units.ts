// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them. Intl formats; three significant digits unless said otherwise.

const plain = new Intl.NumberFormat('en-GB');
const significant = new Intl.NumberFormat('en-GB', { maximumSignificantDigits: 3 });

// Zeros at the end stay, so that numbers of a column have their points below one another.
const three = (n: number): string => n.toFixed(n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2);
const trimmed = (number: string): string => (number.includes('.') ? number.replace(/\.?0+$/, '') : number);

/** "812 ns", "41.0 ms", "2.31 s", "4 min 12 s", "3 h 5 min", "2 d 4 h". */
export function formatDuration(ns: number | bigint | null | undefined): string {
  if (ns === null || ns === undefined) return '–';
  const n = Number(ns);
  if (!Number.isFinite(n)) return '–';
  if (n < 0) return '−' + formatDuration(-n);
  if (n < 999.5) return `${Math.round(n)} ns`;
  if (n < 999_500) return `${three(n / 1e3)} µs`;
  if (n < 999.5e6) return `${three(n / 1e6)} ms`;
  if (n < 59.995e9) return `${three(n / 1e9)} s`;
  const s = Math.round(n / 1e9);
  const two = (a: number, au: string, b: number, bu: string) => (b === 0 ? `${a} ${au}` : `${a} ${au} ${b} ${bu}`);
  if (s < 3600) return two(Math.floor(s / 60), 'min', s % 60, 's');
  if (s < 86_400) return two(Math.floor(s / 3600), 'h', Math.floor((s % 3600) / 60), 'min');
  return two(Math.floor(s / 86_400), 'd', Math.floor((s % 86_400) / 3600), 'h');
}

/** A length that somebody chose, a step, a bound, a tick: "41 ms", "2.5 s". */
export const formatRound = (ns: number | bigint): string => {
  const [number = '', ...unit] = formatDuration(ns).split(' ');
  return [trimmed(number), ...unit].join(' ');
};

/** 12480 → "12,480". */
export const formatCount = (n: number | bigint | null | undefined): string =>
  n === null || n === undefined ? '–' : plain.format(n);

/** 12480 → "12.5k", 3100000 → "3.1M". */
export function formatShort(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return '–';
  const a = Math.abs(n);
  if (a < 999.5) return significant.format(n);
  for (const [limit, unit] of [[999.5e3, 'k'], [999.5e6, 'M'], [999.5e9, 'G']] as const)
    if (a < limit) return trimmed(three(n / (limit / 999.5))) + unit;
  return trimmed(three(n / 1e12)) + 'T';
}

/** A rate, always per second: "830/s", "1.20k/s", "4.99/s", "0.07/s", "0.003/s". */
export function formatRate(per_s: number | null | undefined): string {
  if (per_s === null || per_s === undefined || !Number.isFinite(per_s)) return '–';
  if (per_s === 0) return '0/s';
  if (per_s < 0.0005) return '<0.001/s';
  if (per_s < 0.0095) return `${per_s.toFixed(3)}/s`;
  if (per_s < 999.5) return `${three(per_s)}/s`;
  return per_s < 999.5e3 ? `${three(per_s / 1e3)}k/s` : `${three(per_s / 1e6)}M/s`;
}

/** A share 0..1 as "2.10 %". */
export function formatPercent(share: number | null | undefined): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return '–';
  const p = share * 100;
  if (p === 0) return '0 %';
  if (p < 0.01) return '<0.01 %';
  return `${p < 10 ? p.toFixed(2) : p < 99.95 ? p.toFixed(1) : p === 100 ? '100' : p.toFixed(2)} %`;
}

/** Bytes: "212 MB", "3.10 GB" (powers of 1000). */
export function formatBytes(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return '–';
  for (const [limit, unit] of [[999.5, 'B'], [999.5e3, 'kB'], [999.5e6, 'MB'], [999.5e9, 'GB']] as const)
    if (Math.abs(n) < limit) return `${unit === 'B' ? Math.round(n) : three(n / (limit / 999.5))} ${unit}`;
  return `${three(n / 1e12)} TB`;
}

/** "1 span", "2 spans". */
export const plural = (n: number, one: string, many = one + 's'): string => `${formatCount(n)} ${n === 1 ? one : many}`;
