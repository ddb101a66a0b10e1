// SPDX-License-Identifier: Apache-2.0
// The address bar: a typed codec for each route, and the only code that writes history.
//
// Every view is a URL. A page reads its parameters with params('map'), changes them with navigate(), and links to
// others with href(). Unknown parameters are kept, defaults are not written, bad values fall back with a notice.
import { batch, computed, signal, type ReadonlySignal } from '@preact/signals';
import { notify } from './notice.ts';

/** How one parameter is written: parse gives undefined for what is not a value of it. */
export interface Codec<T> {
  parse(text: string): T | undefined;
  format(value: T): string;
  readonly initial: T;
}

export const text = (initial = ''): Codec<string> => ({ parse: (s) => s, format: (v) => v, initial });

export const oneOf = <const T extends string>(values: readonly T[], initial: NoInfer<T>): Codec<T> => ({
  parse: (s) => values.find((v) => v === s),
  format: (v) => v,
  initial,
});

export const whole = (min: number, max: number, initial: number): Codec<number> => ({
  parse: (s) => (/^\d{1,9}$/.test(s) && +s >= min && +s <= max ? +s : undefined),
  format: String,
  initial,
});

export const flag = (initial = false): Codec<boolean> => ({
  parse: (s) => (s === '1' ? true : s === '0' ? false : undefined),
  format: (v) => (v ? '1' : '0'),
  initial,
});

/** Several texts: commas part them, a comma or percent sign inside one is escaped. */
export const list = (): Codec<readonly string[]> => ({
  parse(s) {
    if (s === '') return [];
    try {
      return s.split(',').map((part) => part.replace(/%25|%2C/g, decodeURIComponent));
    } catch {
      return undefined;
    }
  },
  format: (v) => v.map((part) => part.replace(/[%,]/g, encodeURIComponent)).join(','),
  initial: [],
});

/** Decimal texts of nanoseconds, parted by commas: exactly `count` of them, or none at all. */
export const nanoseconds = (count: number): Codec<readonly string[]> => ({
  parse(s) {
    if (s === '') return [];
    const parts = s.split(',');
    return parts.length === count && parts.every((p) => /^-?\d{1,20}$/.test(p)) ? parts : undefined;
  },
  format: (v) => v.join(','),
  initial: [],
});

export const spanId: Codec<string> = {
  parse: (s) => (/^[0-9a-fA-F]{16}$/.test(s) ? s.toLowerCase() : s === '' ? '' : undefined),
  format: (v) => v,
  initial: '',
};

/** Parameters that every page shares. */
const shared = {
  from: text('now-15m'),
  to: text('now'),
  env: text(),
  tz: text(),
} as const;

const routes = {
  map: {
    path: '/',
    params: {
      group: oneOf(['auto', 'ns', 'env', 'none'], 'auto'),
      open: list(),
      focus: text(),
      hops: whole(1, 3, 1),
      dir: oneOf(['in', 'out', 'both'], 'both'),
      layout: oneOf(['auto', 'flow', 'compact', 'matrix'], 'auto'),
      cell: oneOf(['rate', 'err', 'p95'], 'rate'),
      show: oneOf(['all', 'errors', 'slow'], 'all'),
      edges: oneOf(['main', 'all'], 'main'),
      find: text(),
      sel: text(),
    },
  },
  services: { path: '/services', params: { sort: text('impact'), find: text(), ns: text() } },
  service: {
    path: '/services/:name',
    params: {
      tab: oneOf(['overview', 'operations', 'dependencies', 'instances', 'errors', 'logs'], 'overview'),
      ns: text(),
      op: text(),
      kind: text(),
      by: oneOf(['none', 'operation', 'kind', 'status', 'env'], 'none'),
      sort: text(),
      table: flag(),
    },
  },
  traces: {
    path: '/traces',
    params: {
      q: text(),
      view: oneOf(['heat', 'scatter', 'list'], 'heat'),
      box: nanoseconds(4),
      sort: oneOf(['newest', 'slowest'], 'newest'),
      cursor: text(),
      young: flag(),
    },
  },
  trace: {
    path: '/trace/:id',
    params: {
      span: spanId,
      tab: oneOf(['waterfall', 'flame', 'spans', 'logs', 'map'], 'waterfall'),
      zoom: nanoseconds(2),
      find: text(),
      svc: list(),
      cp: oneOf(['off', 'on', 'only'], 'off'),
      root: spanId,
      a: text(),
    },
  },
  logs: { path: '/logs', params: { q: text(), live: flag(), cols: list(), wrap: flag(), at: text() } },
  status: {
    path: '/status',
    params: { tab: oneOf(['pipeline', 'storage', 'instrumentation'], 'pipeline') },
  },
  id: { path: '/id/:hex', params: {} },
  settings: { path: '/settings', params: {} },
  signin: { path: '/signin', params: { then: text() } },
  unknown: { path: '/*', params: {} },
} as const satisfies Record<string, { path: string; params: Record<string, Codec<unknown>> }>;

type Routes = typeof routes;
export type RouteName = keyof Routes;
type Shared = typeof shared;
type Values<C> = { [K in keyof C]: C[K] extends Codec<infer T> ? T : never };
type PathParams<P> = P extends `${string}:${infer Name}` ? { [K in Name]: string } : object;

/** All that a page of this route reads from its URL. */
export type Params<R extends RouteName> = Values<Routes[R]['params']> & Values<Shared> & PathParams<Routes[R]['path']>;
type Own<R extends RouteName> = Values<Routes[R]['params']> & Values<Shared>;

/** Where the page is: its route, the part of the path that names a thing, and the query as it stands. */
export interface Place {
  readonly route: RouteName;
  readonly name: string; // of /services/:name, /trace/:id, /id/:hex
  readonly path: string; // below the base, "/services/cart"
  readonly search: string; // without "?"
}

// Scripts lie in BASE/assets/, so the script knows the prefix it is served behind.
const base = typeof document === 'undefined' ? '/' : new URL('..', import.meta.url).pathname;

/** "/spindle/" when served behind that prefix, else "/". */
export const basePath = (): string => base;

/** The place that a path below the base names. */
export function placeOf(path: string, search: string): Place {
  const query = search.replace(/^\?/, '');
  for (const [route, { path: pattern }] of Object.entries(routes)) {
    const colon = pattern.indexOf(':');
    if (colon < 0 ? path === pattern : path.startsWith(pattern.slice(0, colon)) && path.length > colon) {
      let name = colon < 0 ? '' : path.slice(colon);
      if (name.includes('/')) continue;
      try {
        name = decodeURIComponent(name);
      } catch {
        continue;
      }
      return { route: route as RouteName, name, path, search: query };
    }
  }
  return { route: 'unknown', name: '', path, search: query };
}

const below = (pathname: string): string => '/' + (pathname.startsWith(base) ? pathname.slice(base.length) : '');
const here = (): Place =>
  typeof location === 'undefined' ? placeOf('/', '') : placeOf(below(location.pathname), location.search);

const current = signal<Place>(here());
/** The place, and every change of it. */
export const place: ReadonlySignal<Place> = current;
/** The page's key: changes when another page, or another thing, is opened; not when a filter is adjusted. */
export const pageKey = computed(() => current.value.route + ' ' + current.value.name);

function decode(codecs: Record<string, Codec<unknown>>, query: URLSearchParams, bad: string[]): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, codec] of Object.entries(codecs)) {
    const given = query.get(key);
    const value = given === null ? codec.initial : codec.parse(given);
    if (value === undefined) bad.push(`${key}=${given}`);
    out[key] = value === undefined ? codec.initial : value;
  }
  return out;
}

function encode(codecs: Record<string, Codec<unknown>>, patch: Record<string, unknown>, query: URLSearchParams): void {
  for (const [key, value] of Object.entries(patch)) {
    const codec = codecs[key];
    if (codec === undefined) continue;
    const now = value === undefined ? codec.initial : value;
    const written = codec.format(now);
    if (written === codec.format(codec.initial)) query.delete(key);
    else query.set(key, written);
  }
}

const codecsOf = (route: RouteName): Record<string, Codec<unknown>> =>
  ({ ...shared, ...routes[route].params }) as unknown as Record<string, Codec<unknown>>;

const told = new Set<string>();
/** Read a place as a route's parameters; what is no value of its parameter is listed in `bad`. */
export function readPlace<R extends RouteName>(route: R, at: Place, bad: string[] = []): Params<R> {
  const values = decode(codecsOf(route), new URLSearchParams(at.search), bad);
  const colon = routes[route].path.indexOf(':');
  if (colon >= 0) values[routes[route].path.slice(colon + 1)] = at.route === route ? at.name : '';
  return values as Params<R>;
}

/** The current parameters, as of this route. Reading it inside a component subscribes the component. */
export function params<R extends RouteName>(route: R): Params<R> {
  const bad: string[] = [];
  const values = readPlace(route, current.value, bad);
  for (const b of bad)
    if (!told.has(b)) {
      told.add(b);
      queueMicrotask(() => notify(`“${b}” in the address is not understood; its default is used.`));
    }
  return values;
}

/** The parameters that all pages share. */
export const sharedParams = (): Values<Shared> => params('unknown');

/** A link that keeps range, environment and zone. `name` is the thing that the path names, if it names one. */
export function href<R extends RouteName>(route: R, name = '', patch: Partial<Own<R>> = {}): string {
  return base + pathAndQuery(route, name, patch as Record<string, unknown>).slice(1);
}

function pathAndQuery(route: RouteName, name: string, patch: Record<string, unknown>): string {
  const query = new URLSearchParams();
  const old = new URLSearchParams(current.value.search);
  for (const key of Object.keys(shared)) if (old.has(key)) query.set(key, old.get(key)!);
  encode(codecsOf(route), patch, query);
  const pattern = routes[route].path;
  const colon = pattern.indexOf(':');
  const path = colon < 0 ? pattern : pattern.slice(0, colon) + encodeURIComponent(name);
  const tail = query.toString();
  return path + (tail === '' ? '' : '?' + tail);
}

// ---- history

interface Entry {
  key: number;
  scroll: number;
  focus: string;
}
let entry: Entry = { key: 0, scroll: 0, focus: '' };
const entries = new Map<number, Entry>();
let pending: ReturnType<typeof setTimeout> | undefined;

const urlOf = (p: Place): string => base + p.path.slice(1) + (p.search === '' ? '' : '?' + p.search);

/** Write an adjustment that still waits. Copying the address and leaving do it first. */
export function flushAddress(): void {
  if (pending === undefined) return;
  clearTimeout(pending);
  pending = undefined;
  history.replaceState({ key: entry.key }, '', urlOf(current.value));
}

function remember(): void {
  entry.scroll = document.querySelector('#page')?.scrollTop ?? 0;
  entry.focus = document.activeElement?.id ?? '';
  entries.set(entry.key, entry);
}

function push(next: Place): void {
  flushAddress();
  remember();
  entry = { key: Date.now() + Math.random(), scroll: 0, focus: '' };
  history.pushState({ key: entry.key }, '', urlOf(next));
  current.value = next;
}

/** Change parameters of the current page, its own or shared ones. undefined puts a default back.
 *  Opening a thing pushes; adjusting a filter, zoom, sort or range replaces. */
export function navigate<R extends RouteName>(route: R, patch: Partial<Own<R>>, how: 'push' | 'replace'): void {
  const at = current.value;
  if (at.route !== route && route !== 'unknown') return; // the page it was meant for has been left
  const query = new URLSearchParams(at.search);
  encode(codecsOf(route), patch as Record<string, unknown>, query);
  const search = query.toString();
  if (search === at.search) return;
  const next = { ...at, search };
  if (how === 'push') return push(next);
  current.value = next;
  clearTimeout(pending);
  pending = setTimeout(flushAddress, 500);
}

/** Change parameters that all pages share. */
export const navigateShared = (patch: Partial<Values<Shared>>, how: 'push' | 'replace'): void =>
  navigate('unknown', patch, how);

/** Open another page. */
export function open<R extends RouteName>(route: R, name = '', patch: Partial<Own<R>> = {}): void {
  const [path = '/', search = ''] = pathAndQuery(route, name, patch as Record<string, unknown>).split('?');
  push(placeOf(path, search));
}

/** Open a link of our own, as from href(). */
export function openHref(link: string, replace = false): void {
  const url = new URL(link, location.href);
  const next = placeOf(below(url.pathname), url.search);
  if (!replace) return push(next);
  flushAddress();
  history.replaceState({ key: entry.key }, '', urlOf(next));
  current.value = next;
}

/** What Back should restore once the page is drawn; the page's shell asks. */
export const entryToRestore = (): Entry => entry;

/** Begin to follow history and clicks on our links. Once. */
export function startRouting(): void {
  entry.key = (history.state as Entry | null)?.key ?? Date.now();
  history.replaceState({ key: entry.key }, '', location.href);
  if ('scrollRestoration' in history) history.scrollRestoration = 'manual';
  addEventListener('popstate', (event) => {
    clearTimeout(pending);
    pending = undefined;
    remember();
    const key = (event.state as Entry | null)?.key ?? 0;
    batch(() => {
      entry = entries.get(key) ?? { key, scroll: 0, focus: '' };
      current.value = here();
    });
  });
  addEventListener('pagehide', flushAddress);
  document.addEventListener('click', (event) => {
    const link = (event.target as Element | null)?.closest?.('a[href]') as HTMLAnchorElement | null;
    if (link === null || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.target !== '' || link.hasAttribute('download') || link.origin !== location.origin) return;
    const path = below(link.pathname);
    if (!link.pathname.startsWith(base) || path.startsWith('/api/') || path === '/metrics') return;
    event.preventDefault();
    openHref(link.href);
  });
}
