// SPDX-License-Identifier: Apache-2.0
// Points in time are Unix nanoseconds as bigint, or as decimal text where they travel; never a number. Offsets and
// durations within a view may be numbers, being below 2^53.
import { computed, signal } from '@preact/signals';
import { navigateShared, sharedParams } from './route.ts';
import { preferences } from './store.ts';

export const MS = 1_000_000n;
export const SECOND = 1_000_000_000n;
const unitNs: Record<string, bigint> = {
  ms: MS,
  s: SECOND,
  m: 60n * SECOND,
  min: 60n * SECOND,
  h: 3600n * SECOND,
  d: 86_400n * SECOND,
  w: 7n * 86_400n * SECOND,
};

export const nowNs = (): bigint => BigInt(Date.now()) * MS;

/** RFC 3339 to the nanosecond, or undefined. */
export function parseRfc3339(s: string): bigint | undefined {
  const m = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:\d\d)$/.exec(s);
  if (m === null) return undefined;
  const ms = Date.parse(`${m[1]}T${m[2]}:${m[3] ?? '00'}${m[5]!.toUpperCase()}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * MS + BigInt((m[4] ?? '').padEnd(9, '0'));
}

/** A bound of a range as it stands in the URL: "now", "now-15m", RFC 3339, Unix ns. */
export function resolveTime(expr: string, now: bigint): bigint | undefined {
  const relative = /^now(?:-(\d{1,9})(ms|s|m|h|d|w))?$/.exec(expr);
  if (relative !== null) return relative[1] === undefined ? now : now - BigInt(relative[1]) * unitNs[relative[2]!]!;
  if (/^\d{10,19}$/.test(expr)) return BigInt(expr) * 10n ** BigInt(expr.length > 16 ? 0 : expr.length > 13 ? 3 : expr.length > 10 ? 6 : 9);
  return parseRfc3339(expr);
}

export const toRfc3339 = (ns: bigint): string => {
  const ms = ns / MS;
  const rest = (ns % SECOND).toString().padStart(9, '0').replace(/0+$/, '');
  return new Date(Number(ms - (ms % 1000n))).toISOString().replace(/\.\d+Z$/, (rest === '' ? '' : '.' + rest) + 'Z');
};

// ---- zone

const zones = new Map<string, string | undefined>();
/** The zone's IANA name, undefined for what is none: 'utc', 'local', 'Europe/Paris'. */
export function zoneName(zone: string): string | undefined {
  if (!zones.has(zone)) {
    let name: string | undefined;
    if (zone === 'utc') name = 'UTC';
    else if (zone === 'local') name = new Intl.DateTimeFormat().resolvedOptions().timeZone;
    else
      try {
        name = new Intl.DateTimeFormat('en-GB', { timeZone: zone }).resolvedOptions().timeZone;
      } catch {
        // not a zone
      }
    zones.set(zone, name);
  }
  return zones.get(zone);
}

/** The zone in which clocks are shown: the URL's, else the preference. */
export const zone = computed(() => zoneName(sharedParams().tz || preferences.value.zone) ?? 'UTC');
/** "UTC", "CET", "GMT+5:30". */
export const zoneLabel = computed(() => zoneAbbreviation(zone.value, nowNs()));

const formats = new Map<string, Intl.DateTimeFormat>();
function format(tz: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = tz + JSON.stringify(options);
  let f = formats.get(key);
  if (f === undefined) formats.set(key, (f = new Intl.DateTimeFormat('en-GB', { timeZone: tz, hourCycle: 'h23', ...options })));
  return f;
}

export function zoneAbbreviation(tz: string, at: bigint): string {
  const parts = format(tz, { timeZoneName: 'short' }).formatToParts(new Date(Number(at / MS)));
  return parts.find((p) => p.type === 'timeZoneName')?.value ?? tz;
}

const asNs = (ns: bigint | string): bigint => (typeof ns === 'bigint' ? ns : BigInt(ns));
const fraction = (ns: bigint, digits: number): string =>
  digits === 0 ? '' : '.' + (((ns % SECOND) + SECOND) % SECOND).toString().padStart(9, '0').slice(0, digits);

/** "14:03:11.482" in the shown zone, `digits` after the point. */
export const formatClock = (ns: bigint | string, digits = 3, tz = zone.value): string =>
  format(tz, { hour: '2-digit', minute: '2-digit', second: '2-digit' }).format(new Date(Number(asNs(ns) / MS))) +
  fraction(asNs(ns), digits);

/** "21 Nov". */
export const formatDay = (ns: bigint | string, tz = zone.value): string =>
  format(tz, { day: 'numeric', month: 'short' }).format(new Date(Number(asNs(ns) / MS)));

/** "21 Nov 14:03:11.482"; with the year where it is not the present one. */
export function formatMoment(ns: bigint | string, digits = 3, tz = zone.value): string {
  const date = new Date(Number(asNs(ns) / MS));
  const sameYear = date.getUTCFullYear() === new Date().getUTCFullYear();
  const day = format(tz, { day: 'numeric', month: 'short', ...(sameYear ? {} : { year: 'numeric' }) }).format(date);
  return `${day} ${formatClock(ns, digits, tz)}`;
}

/** For a hover: both zones and the age. */
export function momentTitle(ns: bigint | string): string {
  const n = asNs(ns);
  const local = zoneName('local') ?? 'UTC';
  const lines = [...new Set([zone.value, 'UTC', local])].map((tz) => `${formatMoment(n, 9, tz)} ${zoneAbbreviation(tz, n)}`);
  return [...lines, formatAge(n)].join('\n');
}

/** "12 s ago", "3 h ago", "in 2 min". */
export function formatAge(ns: bigint | string, now = nowNs()): string {
  const s = Number((now - asNs(ns)) / SECOND);
  return s < 0 ? `in ${inWords(-s)}` : `${inWords(s)} ago`;
}
const inWords = (s: number): string =>
  s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172_800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86_400)} d`;

/** How long something has lasted: "12 s", "3 h". */
export const formatFor = (since: bigint, now = nowNs()): string => inWords(Math.max(0, Number((now - since) / SECOND)));

// ---- range

/** What is looked at, [from, to), with the expressions it came from. */
export interface Range {
  readonly from: bigint;
  readonly to: bigint;
  readonly isLive: boolean; // moves with the clock
}

/** Counts refreshes: whoever asks the server again on a refresh depends on it. */
export const refreshes = signal(0);
const clock = signal(nowNs());
export function refresh(): void {
  clock.value = nowNs();
  refreshes.value++;
}

export function rangeOf(fromExpr: string, toExpr: string, now: bigint): Range {
  let to = resolveTime(toExpr, now) ?? now;
  let from = resolveTime(fromExpr, now) ?? to - 15n * 60n * SECOND;
  if (from >= to) [from, to] = from > to ? [to, from] : [to - 15n * 60n * SECOND, to];
  return { from, to, isLive: toExpr.startsWith('now') };
}

/** The range of the URL; "now" is the moment of the last refresh. */
export const range = computed<Range>(() => {
  const { from, to } = sharedParams();
  return rangeOf(from, to, clock.value);
});

export function setRange(from: string, to: string, how: 'push' | 'replace' = 'replace'): void {
  clock.value = nowNs();
  navigateShared({ from, to }, how);
}
/** A brushed range: absolute. */
export const setAbsoluteRange = (from: bigint, to: bigint, how: 'push' | 'replace' = 'push'): void =>
  setRange(from.toString(), to.toString(), how);

/** `from` and `to` for a request. */
export const rangeQuery = (): { from: string; to: string } => ({
  from: range.value.from.toString(),
  to: range.value.to.toString(),
});

/** "last 3h", "15m", "14:00-14:20", "2026-11-21 14:00 to 15:00", one instant's surroundings; undefined if none of it. */
export function parseRangeText(input: string, tz: string, now: bigint): { from: string; to: string } | undefined {
  const s = input.trim().toLowerCase();
  const last = /^(?:last\s+)?(\d{1,6})\s*(s|sec|m|min|minutes?|h|hours?|d|days?|w|weeks?)$/.exec(s);
  if (last !== null) return { from: `now-${+last[1]!}${last[2]![0]}`, to: 'now' };
  if (s === 'today') return { from: startOfDay(now, tz).toString(), to: 'now' };
  if (s === 'yesterday') {
    const today = startOfDay(now, tz);
    return { from: startOfDay(today - SECOND, tz).toString(), to: today.toString() };
  }
  const parts = s.split(/\s+to\s+|\s*–\s*|\s+-\s+|(?<=^\d\d?:\d\d(?::\d\d)?)-/);
  if (parts.length !== 2) return undefined;
  const from = parseMoment(parts[0]!, tz, now);
  let to = parts[1] === 'now' ? now : parseMoment(parts[1]!, tz, from ?? now);
  if (from === undefined || to === undefined) return undefined;
  if (to <= from && /^\d\d?:/.test(parts[1]!)) to += 86_400n * SECOND;
  return from < to ? { from: from.toString(), to: parts[1] === 'now' ? 'now' : to.toString() } : undefined;
}

/** Nanoseconds by which the zone's clock is ahead of UTC at an instant. */
function offsetAt(at: bigint, tz: string): bigint {
  const f = format(tz, { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const p: Record<string, string> = {};
  const s = at / SECOND;
  for (const { type, value } of f.formatToParts(new Date(Number(s) * 1000))) p[type] = value;
  const wall = Date.UTC(+p.year!, +p.month! - 1, +p.day!, +p.hour!, +p.minute!, +p.second!);
  return BigInt(wall / 1000) * SECOND - s * SECOND;
}
/** The instant at which the zone's clock shows what UTC's shows at `wall`. */
function fromWall(wall: bigint, tz: string): bigint {
  const first = wall - offsetAt(wall, tz);
  return wall - offsetAt(first, tz);
}
const startOfDay = (at: bigint, tz: string): bigint => {
  const wall = at + offsetAt(at, tz);
  return fromWall(wall - (wall % (86_400n * SECOND)), tz);
};
function parseMoment(s: string, tz: string, day: bigint): bigint | undefined {
  const absolute = resolveTime(s.toUpperCase().replace(/^NOW/, 'now'), day);
  if (absolute !== undefined) return absolute;
  const m = /^(?:(\d{4})-(\d\d)-(\d\d)[t ]?)?(?:(\d\d?):(\d\d)(?::(\d\d))?)?$/.exec(s);
  if (m === null || s === '') return undefined;
  const clock = BigInt(+(m[4] ?? 0) * 3600 + +(m[5] ?? 0) * 60 + +(m[6] ?? 0)) * SECOND;
  if (+(m[4] ?? 0) > 23 || +(m[5] ?? 0) > 59) return undefined;
  if (m[1] === undefined) {
    const wall = day + offsetAt(day, tz);
    return fromWall(wall - (wall % (86_400n * SECOND)) + clock, tz);
  }
  return fromWall(BigInt(Date.UTC(+m[1], +m[2]! - 1, +m[3]!) / 1000) * SECOND + clock, tz);
}

/** What the range control shows. */
export function rangeLabel(fromExpr: string, toExpr: string): string {
  const last = /^now-(\d+)(s|m|h|d|w)$/.exec(fromExpr);
  if (last !== null && toExpr === 'now') {
    const word = { s: 's', m: 'min', h: 'h', d: 'd', w: 'w' }[last[2]!];
    return `Last ${last[1]} ${word}`;
  }
  const r = rangeOf(fromExpr, toExpr, nowNs());
  const sameDay = formatDay(r.from) === formatDay(r.to);
  return `${formatMoment(r.from, 0)} – ${toExpr === 'now' ? 'now' : sameDay ? formatClock(r.to, 0) : formatMoment(r.to, 0)}`;
}
