// SPDX-License-Identifier: Apache-2.0
// Ctrl K: services, operations, pages, actions, and any ID that is pasted.
import { signal, useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { get } from '../api/client.ts';
import { copyLink } from '../lib/copy.ts';
import { serviceHref, tracesHref } from '../lib/links.ts';
import { href, openHref } from '../lib/route.ts';
import { refresh, setRange, rangeQuery } from '../lib/time.ts';
import { Icon, type IconName } from '../ui/icons.tsx';
import { Dialog } from '../ui/popup.tsx';
import { switchTheme } from './controls.tsx';
import { showsHelp } from './help.tsx';

export const showsPalette = signal(false);

export interface Action {
  readonly kind: string;
  readonly text: string;
  readonly note?: string;
  readonly icon: IconName;
  readonly href?: string;
  readonly run?: () => void;
}

const fixed = (): Action[] => [
  { kind: 'Page', text: 'Service map', icon: 'map', href: href('map') },
  { kind: 'Page', text: 'Services', icon: 'services', href: href('services') },
  { kind: 'Page', text: 'Traces', icon: 'traces', href: href('traces') },
  { kind: 'Page', text: 'Logs', icon: 'logs', href: href('logs') },
  { kind: 'Page', text: 'Live tail of logs', icon: 'play', href: href('logs', '', { live: true }) },
  { kind: 'Page', text: 'Status', icon: 'status', href: href('status') },
  { kind: 'Page', text: 'Settings', icon: 'settings', href: href('settings') },
  { kind: 'Action', text: 'Traces with errors', icon: 'error', href: tracesHref('{ status = error }') },
  { kind: 'Action', text: 'Slowest traces', icon: 'clock', href: href('traces', '', { view: 'list', sort: 'slowest' }) },
  { kind: 'Action', text: 'Logs of errors', icon: 'warning', href: href('logs', '', { q: '{ severity >= error }' }) },
  { kind: 'Action', text: 'Refresh', icon: 'refresh', run: refresh },
  { kind: 'Action', text: 'Copy link', icon: 'link', run: () => void copyLink(false) },
  { kind: 'Action', text: 'Copy live link', icon: 'link', run: () => void copyLink(true) },
  { kind: 'Action', text: 'Light or dark theme', icon: 'sun', run: switchTheme },
  { kind: 'Action', text: 'Keys', icon: 'help', run: () => (showsHelp.value = true) },
  { kind: 'Range', text: 'Last 15 min', icon: 'clock', run: () => setRange('now-15m', 'now') },
  { kind: 'Range', text: 'Last hour', icon: 'clock', run: () => setRange('now-1h', 'now') },
  { kind: 'Range', text: 'Last 24 h', icon: 'clock', run: () => setRange('now-24h', 'now') },
  { kind: 'Range', text: 'Last 7 d', icon: 'clock', run: () => setRange('now-7d', 'now') },
];

/** A trace's or span's ID in what was typed or pasted: plain, with dashes, in traceparent, in a link. */
export function idIn(text: string): string | undefined {
  const parent = /\b[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\b/i.exec(text);
  if (parent !== null) return parent[1]!.toLowerCase();
  const trimmed = text.trim().replace(/^0x/i, '');
  const plain = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(trimmed) ? trimmed.replace(/-/g, '') : trimmed;
  if (/^[0-9a-f]+$/i.test(plain) && (plain.length === 16 || plain.length === 32)) return plain.toLowerCase();
  return /[/=]([0-9a-f]{32}|[0-9a-f]{16})\b/i.exec(trimmed)?.[1]?.toLowerCase();
}

/** How well `text` fits what was typed: words in any order, starts of words before middles; 0 is not at all. */
export function fit(text: string, typed: string): number {
  const lower = text.toLowerCase();
  let sum = 0;
  for (const word of typed.toLowerCase().split(/\s+/)) {
    if (word === '') continue;
    const at = lower.indexOf(word);
    if (at < 0) return 0;
    sum += at === 0 ? 4 : /[^a-z0-9]/.test(lower[at - 1]!) ? 3 : 1;
  }
  return sum + 1 / (1 + text.length);
}

export function Palette() {
  return showsPalette.value ? <PaletteWindow /> : null;
}

function PaletteWindow() {
  const typed = useSignal('');
  const at = useSignal(0);
  const services = useSignal<readonly string[]>([]);
  const operations = useSignal<readonly { service: string; name: string }[]>([]);
  const list = useRef<HTMLUListElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const close = () => (showsPalette.value = false);

  useEffect(() => field.current?.focus(), []);
  useEffect(() => {
    const abort = new AbortController();
    get<{ rows?: { name: string }[]; services?: { name: string }[] }>('/services', {}, abort.signal)
      .then((a) => (services.value = (a.rows ?? a.services ?? []).map((r) => r.name)))
      .catch(() => undefined); // pages and actions are found without it
    return () => abort.abort();
  }, []);
  const q = typed.value.trim();
  // Operations of the services that fit best, once something has been typed.
  useEffect(() => {
    operations.value = [];
    if (q.length < 2) return;
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      const words = q.split(/\s+/);
      const near = services.value.filter((s) => words.some((w) => fit(s, w) > 0)).slice(0, 4);
      const found: { service: string; name: string }[] = [];
      for (const service of near)
        try {
          const a = await get<{ rows?: { name: string }[] }>(`/services/${encodeURIComponent(service)}/operations`, rangeQuery(), abort.signal);
          for (const { name } of a.rows ?? []) found.push({ service, name });
        } catch {
          return;
        }
      operations.value = found;
    }, 120);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [q, services.value]);

  const id = idIn(q);
  const all: Action[] = [
    ...services.value.map((s): Action => ({ kind: 'Service', text: s, icon: 'services', href: serviceHref(s) })),
    ...operations.value.map(
      (o): Action => ({ kind: 'Operation', text: o.name, note: o.service, icon: 'traces', href: tracesHref({ service: o.service, operation: o.name }) }),
    ),
    ...fixed(),
  ];
  const ranked =
    q === ''
      ? [...fixed().slice(0, 7), ...all.filter((a) => a.kind === 'Service').slice(0, 8)]
      : all
          .map((a) => ({ a, f: fit(`${a.text} ${a.note ?? ''}`, q) }))
          .filter(({ f }) => f > 0)
          .sort((x, y) => y.f - x.f)
          .map(({ a }) => a);
  const shown: Action[] = [
    ...(id === undefined
      ? []
      : [{ kind: id.length === 32 ? 'Trace' : 'Span', text: id, note: 'open', icon: 'traces' as const, href: href('id', id) }]),
    ...(q.startsWith('{') ? [{ kind: 'Search', text: q, note: 'search traces', icon: 'search' as const, href: tracesHref(q) }] : []),
    ...ranked.slice(0, 50),
  ];
  const index = Math.min(at.value, Math.max(0, shown.length - 1));
  useLayoutEffect(() => {
    list.current?.children[index]?.scrollIntoView({ block: 'nearest' });
  }, [index]);
  const pick = (action: Action | undefined) => {
    if (action === undefined) return;
    close();
    if (action.href !== undefined) openHref(action.href);
    else action.run?.();
  };
  const onKey = (e: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step !== undefined) at.value = (index + step + shown.length) % Math.max(1, shown.length);
    else if (e.key === 'Enter') pick(shown[index]);
    else return;
    e.preventDefault();
  };
  return (
    <Dialog title="Search or jump" bare onClose={close}>
      <div class="palette">
        <label class="palette-field">
          <Icon name="search" />
          <input
            ref={field}
            type="text"
            role="combobox"
            aria-label="Search or jump"
            aria-expanded="true"
            aria-controls="palette-list"
            aria-activedescendant={shown.length > 0 ? `palette-${index}` : undefined}
            placeholder="A service, an operation, a page, a trace or span ID, { a query }"
            spellcheck={false}
            autocomplete="off"
            value={typed.value}
            onKeyDown={onKey}
            onInput={(e) => {
              typed.value = e.currentTarget.value;
              at.value = 0;
            }}
          />
          <kbd>Esc</kbd>
        </label>
        <ul id="palette-list" ref={list} role="listbox" aria-label="Results">
          {shown.map((a, i) => (
            <li
              key={`${a.kind} ${a.note ?? ''} ${a.text}`}
              id={`palette-${i}`}
              role="option"
              aria-selected={i === index}
              onPointerMove={() => (at.value = i)}
              onClick={() => pick(a)}
            >
              <Icon name={a.icon} />
              <span class="cut">{a.text}</span>
              {a.note !== undefined && <span class="dim cut">{a.note}</span>}
              <span class="palette-kind">{a.kind}</span>
            </li>
          ))}
        </ul>
        {shown.length === 0 && <p class="palette-none dim">Nothing fits. A pasted trace or span ID opens it.</p>}
      </div>
    </Dialog>
  );
}
