// SPDX-License-Identifier: Apache-2.0
// What stays while pages change: the navigation, the top line, keys, the palette, notices.
import { effect, signal, useSignal } from '@preact/signals';
import { Component, type ComponentChildren, type ComponentType } from 'preact';
import { useEffect } from 'preact/hooks';
import { copyLink } from '../lib/copy.ts';
import { closeTopLayer, hasLayers, useKeys } from '../lib/keys.ts';
import { dismiss, notices } from '../lib/notice.ts';
import { href, open, pageKey, place, type RouteName } from '../lib/route.ts';
import { prefer, preferences } from '../lib/store.ts';
import { refresh } from '../lib/time.ts';
import { IconButton } from '../ui/button.tsx';
import { Icon, Mark, type IconName } from '../ui/icons.tsx';
import { Empty, Skeleton } from '../ui/states.tsx';
import { EnvControl, RangeControl, RefreshControl, scaleRange, shiftRange, switchTheme, ThemeControl, ZoneControl } from './controls.tsx';
import { Help, showsHelp } from './help.tsx';
import { crumbs, Page } from './page.tsx';
import { Palette, showsPalette } from './palette.tsx';
import { askMeta, isAway } from './server.tsx';

const pages: Record<RouteName, () => Promise<{ default: ComponentType }>> = {
  map: () => import('../map/page.tsx'),
  services: () => import('../services/page.tsx'),
  service: () => import('../services/service.tsx'),
  traces: () => import('../search/page.tsx'),
  trace: () => import('../trace/page.tsx'),
  logs: () => import('../logs/page.tsx'),
  status: () => import('../status/page.tsx'),
  id: () => import('../search/finder.tsx'),
  settings: () => import('../settings/page.tsx'),
  signin: () => import('../signin/page.tsx'),
  unknown: async () => ({ default: Unknown }),
};

const navigation: readonly (readonly [RouteName, string, IconName, string, readonly RouteName[]])[] = [
  ['map', 'Map', 'map', 'g m', []],
  ['services', 'Services', 'services', 'g s', ['service']],
  ['traces', 'Traces', 'traces', 'g t', ['trace', 'id']],
  ['logs', 'Logs', 'logs', 'g l', []],
  ['status', 'Status', 'status', 'g h', []],
];

function Unknown() {
  return (
    <Page title={['No such page']}>
      <Empty icon="search" title="There is no page at this address." action={<a href={href('map')}>Open the service map</a>} />
    </Page>
  );
}

/** A page that throws is said to have, and the shell stays usable. */
class Guard extends Component<{ children: ComponentChildren }, { thrown?: unknown }> {
  static override getDerivedStateFromError = (thrown: unknown) => ({ thrown });
  override componentDidCatch(thrown: unknown) {
    console.error(thrown);
  }
  override render() {
    if (this.state.thrown === undefined) return this.props.children;
    return (
      <Page title={['Error']}>
        <Empty
          icon="error"
          title="This page has failed. That is a defect of Spindle."
          action={
            <button type="button" class="button plain" onClick={() => location.reload()}>
              Load it again
            </button>
          }
        >
          <span class="mono">{String(this.state.thrown)}</span>
        </Empty>
      </Page>
    );
  }
}

const loaded = signal<ReadonlyMap<RouteName, ComponentType>>(new Map());
async function load(route: RouteName): Promise<void> {
  const module = await pages[route]();
  loaded.value = new Map(loaded.value).set(route, module.default);
}
/** Fetch the first page's code while the shell is being drawn. */
export const loadFirstPage = (): void => void load(place.value.route).then(whenIdle, () => undefined); // Outlet tries again
/** The other pages' code, one at a time: then no click needs the server to show a page. */
function whenIdle(): void {
  const next = (Object.keys(pages) as RouteName[]).find((route) => !loaded.value.has(route));
  if (next === undefined) return;
  const go = () => void load(next).then(whenIdle, () => undefined);
  if ('requestIdleCallback' in window) requestIdleCallback(go, { timeout: 5000 });
  else setTimeout(go, 1000);
}

/** The current route's page, loaded when it is first needed, and again when the server is back. */
function Outlet() {
  const { route } = place.value;
  const away = isAway.value;
  const failed = useSignal(false);
  useEffect(() => {
    failed.value = false;
    if (loaded.value.has(route)) return;
    let isLeft = false;
    load(route)
      .catch(async () => {
        await askMeta(); // does the server answer at all? If it does, it may just have come back
        if (!isLeft) await load(route);
      })
      .then(whenIdle, (error: unknown) => {
        console.error(error);
        failed.value = !isLeft;
      });
    return () => {
      isLeft = true;
    };
  }, [route, away]);
  const Loaded = loaded.value.get(route);
  if (Loaded !== undefined)
    return (
      <Guard key={pageKey.value}>
        <Loaded key={pageKey.value} />
      </Guard>
    );
  if (route === 'signin' && !failed.value) return null;
  return (
    <Page title={['Spindle']}>
      {failed.value ? (
        <Empty
          icon="error"
          title={away ? 'The server cannot be reached. This page appears when it can.' : 'This part of the page could not be loaded. The server may have been updated.'}
          action={
            <button type="button" class="button plain" onClick={() => location.reload()}>
              Load the page again
            </button>
          }
        />
      ) : (
        <Skeleton />
      )}
    </Page>
  );
}

function Navigation() {
  const { route } = place.value;
  const narrow = preferences.value.nav === 'narrow';
  return (
    <nav class={`nav ${narrow ? 'narrow' : ''}`} aria-label="Pages">
      <a class="brand" href={href('map')} aria-label="Spindle, service map">
        <Mark />
        <span class="nav-text">Spindle</span>
      </a>
      {navigation.map(([name, text, icon, keys, also]) => (
        <a
          key={name}
          class="nav-item"
          href={href(name)}
          title={`${text}  ${keys}`}
          aria-current={route === name || also.includes(route) ? 'page' : undefined}
        >
          <Icon name={icon} />
          <span class="nav-text">{text}</span>
        </a>
      ))}
      <span class="nav-gap" />
      <a class="nav-item" href={href('settings')} title="Settings" aria-current={route === 'settings' ? 'page' : undefined}>
        <Icon name="settings" />
        <span class="nav-text">Settings</span>
      </a>
      <button
        type="button"
        class="nav-item fold"
        aria-pressed={narrow}
        title={narrow ? 'Wide navigation' : 'Narrow navigation'}
        onClick={() => prefer({ nav: narrow ? 'wide' : 'narrow' })}
      >
        <Icon name="narrow" />
        <span class="nav-text">Fold</span>
      </button>
    </nav>
  );
}

/** Pages that look at no range, and ask nothing anew. */
const timeless: readonly RouteName[] = ['trace', 'id', 'settings', 'unknown'];
const looksAtRange = (): boolean => !timeless.includes(place.value.route);

function TopLine() {
  const all = crumbs.value;
  return (
    <header class="topline">
      <div class="crumbs">
        {all.slice(0, -1).map((c, i) => (
          <span key={i} class="crumb">
            {c.href === undefined ? c.text : <a href={c.href}>{c.text}</a>}
            <Icon name="right" size={12} />
          </span>
        ))}
        <h1 class="cut" title={all.at(-1)?.text}>
          {all.at(-1)?.text ?? 'Spindle'}
        </h1>
      </div>
      <button type="button" class="jump" onClick={() => (showsPalette.value = true)}>
        <Icon name="search" size={14} />
        <span>Search or jump…</span>
        <kbd>Ctrl K</kbd>
      </button>
      <div class="controls">
        {looksAtRange() && (
          <>
            <EnvControl />
            <RangeControl />
            <RefreshControl />
          </>
        )}
        <ZoneControl />
        <ThemeControl />
      </div>
    </header>
  );
}

function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((n) => (
        <div key={n.id} class="notice">
          <span>{n.text}</span>
          <IconButton icon="close" label="Dismiss" onClick={() => dismiss(n.id)} />
        </div>
      ))}
    </div>
  );
}

effect(() => {
  const root = document.documentElement;
  const { theme, density } = preferences.value;
  if (theme === 'system') delete root.dataset.theme;
  else root.dataset.theme = theme;
  root.dataset.density = density;
});

/** Where the keys of the page's first list begin: its row in the tab order. */
const firstList = (): HTMLElement | null => document.querySelector('#page .table.opens tbody tr[tabindex="0"], #page [role="grid"][tabindex="0"]');

export function Shell() {
  const bare = place.value.route === 'signin';
  useKeys('Everywhere', [
    { keys: 'Ctrl K', label: 'Search or jump', always: true, run: () => (showsPalette.value = true) },
    { keys: 'Escape', label: 'Close what is on top', always: true, when: hasLayers, run: closeTopLayer },
    { keys: '?', label: 'Keys', run: () => (showsHelp.value = true) },
    { keys: '/', label: 'Search on the page', run: () => document.querySelector<HTMLElement>('[data-search] input, input[data-search], .bar input')?.focus() },
    ...navigation.map(([name, text, , keys]) => ({ keys, label: text, run: () => open(name) })),
    { keys: '[', label: 'Earlier', when: looksAtRange, run: () => shiftRange(-1) },
    { keys: ']', label: 'Later', when: looksAtRange, run: () => shiftRange(1) },
    { keys: '{', label: 'Wider', when: looksAtRange, run: () => scaleRange(true) },
    { keys: '}', label: 'Narrower', when: looksAtRange, run: () => scaleRange(false) },
    { keys: 'r', label: 'Refresh', when: looksAtRange, run: refresh },
    { keys: 'j', label: '', when: () => firstList() !== null, run: () => firstList()?.focus() },
    { keys: 'k', label: '', when: () => firstList() !== null, run: () => firstList()?.focus() },
    { keys: 'c l', label: 'Copy link', run: () => void copyLink(false) },
    { keys: 'Shift D', label: 'Light or dark', run: switchTheme },
  ]);
  if (bare)
    return (
      <div class="shell bare">
        <div class="frame">
          <Outlet />
        </div>
        <Notices />
      </div>
    );
  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => document.getElementById('page')?.focus()}>
        Skip to the content
      </button>
      <Navigation />
      <div class="frame">
        <TopLine />
        <Outlet />
      </div>
      <Palette />
      <Help />
      <Notices />
    </div>
  );
}
