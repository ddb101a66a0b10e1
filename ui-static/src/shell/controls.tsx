// SPDX-License-Identifier: Apache-2.0
// The controls that every page has at the top: environment, range, refresh, zone, theme.
import { useComputed, useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { get, isAsking } from '../api/client.ts';
import { navigateShared, sharedParams } from '../lib/route.ts';
import { prefer, preferences } from '../lib/store.ts';
import {
  formatMoment,
  nowNs,
  parseRangeText,
  range,
  rangeLabel,
  refresh,
  setRange,
  zone,
  zoneAbbreviation,
  zoneName,
} from '../lib/time.ts';
import { formatRound } from '../lib/units.ts';
import { IconButton } from '../ui/button.tsx';
import { Menu, Popover } from '../ui/popup.tsx';
import { held } from './page.tsx';
import { hasData } from './server.tsx';

const presets = [
  ['now-5m', 'Last 5 min'],
  ['now-15m', 'Last 15 min'],
  ['now-30m', 'Last 30 min'],
  ['now-1h', 'Last hour'],
  ['now-3h', 'Last 3 h'],
  ['now-6h', 'Last 6 h'],
  ['now-12h', 'Last 12 h'],
  ['now-24h', 'Last 24 h'],
  ['now-2d', 'Last 2 d'],
  ['now-7d', 'Last 7 d'],
  ['now-14d', 'Last 14 d'],
  ['now-30d', 'Last 30 d'],
] as const;

export function RangeControl() {
  const { from, to } = sharedParams();
  const label = to === 'now' ? (presets.find(([p]) => p === from)?.[1] ?? rangeLabel(from, to)) : rangeLabel(from, to);
  return (
    <Popover label="Time range" text={label} icon="clock" align="end">
      {(close: () => void) => <RangeForm close={close} />}
    </Popover>
  );
}

function RangeForm({ close }: { close: () => void }) {
  const text = useSignal('');
  const failed = useSignal(false);
  const { from, to } = sharedParams();
  const apply = (e: Event) => {
    e.preventDefault();
    const parsed = parseRangeText(text.value, zone.value, nowNs());
    if (parsed === undefined) {
      failed.value = true;
      return;
    }
    setRange(parsed.from, parsed.to);
    close();
  };
  const r = range.value;
  return (
    <div class="range-form">
      <form onSubmit={apply}>
        <input
          type="text"
          aria-label="Time range as text"
          aria-invalid={failed.value}
          aria-describedby="range-help"
          placeholder="14:00-14:20, last 3h, yesterday"
          value={text.value}
          onInput={(e) => {
            text.value = e.currentTarget.value;
            failed.value = false;
          }}
        />
        <p id="range-help" class={failed.value ? 'err-text' : 'dim'}>
          {failed.value
            ? 'Not understood. Try “last 3h”, “14:00-14:20” or “2026-11-21 14:00 to 15:00”.'
            : `Clock times are in ${zoneAbbreviation(zone.value, r.to)}.`}
        </p>
      </form>
      <div class="range-presets">
        {presets.map(([expr, name]) => (
          <button
            key={expr}
            type="button"
            class="button quiet"
            aria-pressed={from === expr && to === 'now'}
            onClick={() => {
              setRange(expr, 'now');
              close();
            }}
          >
            {name}
          </button>
        ))}
      </div>
      <p class="dim range-now">
        {formatMoment(r.from, 0)} – {formatMoment(r.to, 0)} {zoneAbbreviation(zone.value, r.to)} ·{' '}
        {formatRound(r.to - r.from)}
      </p>
    </div>
  );
}

const SPAN = 2n;
/** [ and ]: the range before or after; { and }: twice or half as wide, around its middle. */
export function shiftRange(direction: -1 | 1): void {
  const { from, to } = range.value;
  const width = to - from;
  const end = direction < 0 ? from : to + width;
  if (end >= nowNs()) setRange(sharedParams().to === 'now' ? sharedParams().from : (nowNs() - width).toString(), 'now');
  else setRange((end - width).toString(), end.toString());
}
export function scaleRange(wider: boolean): void {
  const { from, to, isLive } = range.value;
  const width = wider ? (to - from) * 2n : (to - from) / 2n;
  if (width < 1_000_000n || width > 400n * 86_400_000_000_000n) return;
  if (isLive) {
    const s = width / 1_000_000_000n;
    setRange(s % 3600n === 0n ? `now-${s / 3600n}h` : s % 60n === 0n ? `now-${s / 60n}m` : `now-${width / 1_000_000n}ms`, 'now');
    return;
  }
  const middle = (from + to) / SPAN;
  setRange((middle - width / SPAN).toString(), (middle + width / SPAN).toString());
}

const intervals = [0, 5, 10, 30, 60, 300] as const;
const every = (s: number): string => (s === 0 ? 'Off' : s < 60 ? `${s} s` : `${s / 60} min`);

export function RefreshControl() {
  const isLive = useComputed(() => range.value.isLive);
  const hidden = useSignal(document.hidden);
  const every_s = preferences.value.refresh_s;
  useEffect(() => {
    const look = () => (hidden.value = document.hidden);
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, []);
  const reason = !isLive.value ? 'the range is fixed' : held.value !== '' ? held.value : hidden.value ? 'the tab is hidden' : '';
  const runs = every_s > 0 && reason === '';
  useEffect(() => {
    if (!runs) return;
    // A refresh takes back what is under way: a slow answer would never come.
    const timer = setInterval(() => isAsking() || refresh(), every_s * 1000);
    return () => clearInterval(timer);
  }, [runs, every_s]);
  const paused = every_s > 0 && reason !== '';
  return (
    <div class="joined">
      <IconButton icon="refresh" label="Refresh" keys="r" kind="plain" onClick={refresh} />
      <Menu
        label="Refresh by itself"
        title={paused ? `Does not refresh by itself: ${reason}` : 'Refresh by itself'}
        text={paused ? 'Paused' : every(every_s)}
        align="end"
        items={intervals.map((s) => ({ label: every(s), isOn: s === every_s, run: () => prefer({ refresh_s: s }) }))}
      />
      {paused && <span class="visually-hidden">Refresh is paused: {reason}</span>}
    </div>
  );
}

export function ZoneControl() {
  const { tz } = sharedParams();
  const local = zoneName('local') ?? 'UTC';
  const chosen = tz || preferences.value.zone;
  const choose = (name: string) => {
    prefer({ zone: name });
    navigateShared({ tz: tz === '' ? '' : name }, 'replace');
  };
  return (
    <Menu
      label="Time zone"
      title={`Times are shown in ${zone.value}`}
      text={zoneAbbreviation(zone.value, nowNs())}
      align="end"
      items={[
        { label: 'UTC', isOn: zone.value === 'UTC', run: () => choose('utc') },
        ...(local === 'UTC' ? [] : [{ label: `Local (${local})`, isOn: chosen === 'local', run: () => choose('local') }]),
        ...(chosen !== 'utc' && chosen !== 'local' ? [{ label: chosen, isOn: true, run: () => undefined }] : []),
      ]}
    />
  );
}

export function EnvControl() {
  const { env } = sharedParams();
  const known = useSignal<readonly string[]>([]);
  useEffect(() => {
    if (hasData.value !== true) return;
    const abort = new AbortController();
    get<{ rows: { envs?: string[] }[] }>('/services', { from: 'now-6h', spark: 0 }, abort.signal)
      .then(({ rows }) => (known.value = [...new Set(rows.flatMap((r) => r.envs ?? []))].filter((e) => e !== '').sort()))
      .catch(() => undefined); // the list is a help only
    return () => abort.abort();
  }, [hasData.value]);
  const all = env === '' || known.value.includes(env) ? known.value : [env, ...known.value];
  if (all.length === 0) return null;
  const choose = (value: string) => navigateShared({ env: value }, 'replace');
  return (
    <Menu
      label="Environment"
      text={
        <>
          <span class="dim">env </span>
          <span class="cut env-name">{env === '' ? 'all' : env}</span>
        </>
      }
      align="end"
      items={[
        { label: 'All environments', isOn: env === '', run: () => choose('') },
        '-',
        ...all.map((name) => ({ label: name, isOn: name === env, run: () => choose(name) })),
      ]}
    />
  );
}

const isDark = (): boolean => {
  const { theme } = preferences.value;
  return theme === 'dark' || (theme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
};
export const switchTheme = (): void => prefer({ theme: isDark() ? 'light' : 'dark' });

export const ThemeControl = () => (
  <IconButton icon={isDark() ? 'sun' : 'moon'} label={isDark() ? 'Light theme' : 'Dark theme'} keys="Shift D" onClick={switchTheme} />
);
