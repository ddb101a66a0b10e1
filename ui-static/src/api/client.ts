// SPDX-License-Identifier: Apache-2.0
// The one way to Spindle's HTTP API: abortable, with the token, with errors that carry what the server said.
import { signal, useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { basePath, href, openHref, place } from '../lib/route.ts';
import { refreshes } from '../lib/time.ts';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number, // 0: no answer came
    readonly code: string,
    readonly requestId = '',
    readonly retryAfter_s = 0,
    readonly position?: { offset: number; line: number; column: number },
  ) {
    super(message);
  }
}

// ---- the token

const TOKEN = 'spindle.token';
const stored = (): string => {
  try {
    return sessionStorage.getItem(TOKEN) ?? localStorage.getItem(TOKEN) ?? '';
  } catch {
    return '';
  }
};
let token = typeof sessionStorage === 'undefined' ? '' : stored();
export const hasToken = signal(token !== '');

/** Use this token from now on; '' signs out. Kept for this tab, or for this browser. */
export function setToken(value: string, keep: boolean): void {
  token = value;
  hasToken.value = value !== '';
  try {
    sessionStorage.removeItem(TOKEN);
    localStorage.removeItem(TOKEN);
    if (value !== '') (keep ? localStorage : sessionStorage).setItem(TOKEN, value);
  } catch {
    // Storage is off: it lasts as long as the page.
  }
}

export const authorization = (): Record<string, string> => (token === '' ? {} : { Authorization: `Bearer ${token}` });

// ---- requests

export type Query = Record<string, string | number | boolean | readonly string[] | undefined | null>;

/** "/api/spindle/v1/services?from=…" behind the base; undefined, null, '' and false parameters are left out. */
export function apiUrl(path: string, query: Query = {}): string {
  const out = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '' || value === false) continue;
    for (const one of Array.isArray(value) ? value : [value]) out.append(key, one === true ? '1' : String(one));
  }
  const tail = out.toString();
  return `${basePath()}api/spindle/v1${path}${tail === '' ? '' : '?' + tail}`;
}

interface RequestOptions {
  signal?: AbortSignal;
  method?: 'GET' | 'POST';
  body?: unknown;
}

/** The server gives a query up after 10 s and says so: past this it hangs. */
export const ANSWER_MS = 15_000;
const SILENT_MS = 3000; // from here on the page says that it waits

const underWay = new Set<{ readonly began_ms: number }>(); // requests for JSON
let watch: ReturnType<typeof setInterval> | undefined;
/** For how many seconds the oldest request has waited, once that is worth saying; else 0. */
export const waiting_s = signal(0);
/** Requests for JSON are under way; each ends within its deadline. */
export const isAsking = (): boolean => underWay.size > 0;

function lookAtWaits(): void {
  const [oldest] = underWay; // a set keeps the order in which they came
  const waited_ms = oldest === undefined ? 0 : Date.now() - oldest.began_ms;
  waiting_s.value = waited_ms < SILENT_MS ? 0 : Math.floor(waited_ms / 1000);
  if (underWay.size > 0) return;
  clearInterval(watch);
  watch = undefined;
}

/** An abort by a deadline is the server's failure; any other is the caller's wish, and passed on. */
const asFailure = (signal: AbortSignal, error: unknown): unknown =>
  (signal.reason as { name?: unknown } | undefined)?.name === 'TimeoutError'
    ? new ApiError('The server does not answer.', 0, 'silent')
    : error;

/** The answer read as JSON, all of it within the deadline. Throws as send() does. */
export async function sendForJson<T>(url: string, options: RequestOptions = {}, deadline_ms = ANSWER_MS): Promise<T> {
  const deadline = AbortSignal.timeout(deadline_ms);
  const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
  const request = { began_ms: Date.now() };
  underWay.add(request);
  watch ??= setInterval(lookAtWaits, 500);
  try {
    const response = await send(url, { ...options, signal });
    try {
      return (await response.json()) as T;
    } catch (error) {
      throw signal.aborted ? asFailure(signal, error) : new ApiError('The answer is not readable.', 0, 'unreadable');
    }
  } finally {
    underWay.delete(request);
    lookAtWaits();
  }
}

/** The answer, whatever its type; it has to begin within ANSWER_MS, and may then take its time. Throws ApiError, or
 *  AbortError when the signal fires. 401 leads to /signin. */
export async function send(url: string, options: RequestOptions = {}): Promise<Response> {
  let response: Response;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new DOMException('', 'TimeoutError')), ANSWER_MS);
  const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal]);
  try {
    response = await fetch(url, {
      method: options.method ?? 'GET',
      signal,
      headers: {
        ...authorization(),
        ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
      },
      body: options.body === undefined ? null : JSON.stringify(options.body),
      cache: 'no-store',
      credentials: 'same-origin',
      referrerPolicy: 'no-referrer',
    });
  } catch (error) {
    if (signal.aborted) throw asFailure(signal, error);
    throw new ApiError('The server cannot be reached.', 0, 'unreachable');
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return response;
  const failure = await failureOf(response);
  if (response.status === 401 && place.value.route !== 'signin')
    openHref(href('signin', '', { then: location.href.slice(location.origin.length) }), true);
  throw failure;
}

async function failureOf(response: Response): Promise<ApiError> {
  interface Body {
    error?: { message?: unknown; code?: unknown; request_id?: unknown; position?: ApiError['position'] };
    message?: unknown;
    request_id?: unknown;
  }
  let body: Body = {};
  try {
    body = (await response.json()) as Body;
  } catch {
    // Not JSON: a proxy's page, say. The status has to do.
  }
  const said = body.error ?? body;
  const retry = Number(response.headers.get('Retry-After') ?? '');
  return new ApiError(
    typeof said.message === 'string' ? said.message : `The server answered ${response.status}.`,
    response.status,
    typeof body.error?.code === 'string' ? body.error.code : String(response.status),
    typeof said.request_id === 'string' ? said.request_id : '',
    Number.isFinite(retry) ? Math.min(Math.max(retry, 0), 600) : 0,
    body.error?.position,
  );
}

export const get = <T,>(path: string, query?: Query, signal?: AbortSignal, deadline_ms = ANSWER_MS): Promise<T> =>
  sendForJson<T>(apiUrl(path, query), signal === undefined ? {} : { signal }, deadline_ms);

export const post = <T,>(path: string, body: unknown, signal?: AbortSignal): Promise<T> =>
  sendForJson<T>(apiUrl(path), { method: 'POST', body, ...(signal === undefined ? {} : { signal }) });

// ---- in components

export interface Loaded<T> {
  /** The last good answer; stays while the next is on its way, and when that fails. */
  readonly data: T | undefined;
  readonly error: ApiError | undefined;
  /** A request has been under way for 150 ms: dim the old data, show the progress line. */
  readonly isSlow: boolean;
  /** No answer yet at all. */
  readonly isFirst: boolean;
  /** When `data` was asked for, in ms; to say since when it is stale. */
  readonly at_ms: number;
  reload(): void;
}

interface State<T> {
  data: T | undefined;
  error: ApiError | undefined;
  isSlow: boolean;
  at_ms: number;
}

/** Load from the API and again whenever path, query or body change, on refresh (unless `still`), and on reload().
 *  The request dies with its component and with its parameters. A null path loads nothing. 429 and 503 are asked
 *  again when the server said so. `keepData: false` forgets the old answer when the path or query change. */
export function useApi<T>(
  path: string | null,
  query: Query = {},
  options: { still?: boolean; keepData?: boolean; body?: unknown } = {},
): Loaded<T> {
  const state = useSignal<State<T>>({ data: undefined, error: undefined, isSlow: false, at_ms: 0 });
  const again = useSignal(0);
  const url = path === null ? null : apiUrl(path, query);
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  const tick = options.still === true ? 0 : refreshes.value;
  const before = useRef(url);
  useEffect(() => {
    if (url === null) {
      if (state.peek().isSlow) state.value = { ...state.peek(), isSlow: false };
      return;
    }
    const abort = new AbortController();
    let retry: ReturnType<typeof setTimeout> | undefined;
    const at_ms = Date.now();
    if (before.current !== url && options.keepData === false)
      state.value = { data: undefined, error: undefined, isSlow: false, at_ms: 0 };
    before.current = url;
    const slow = setTimeout(() => (state.value = { ...state.value, isSlow: true }), 150);
    sendForJson<T>(url, {
      signal: abort.signal,
      ...(body === undefined ? {} : { method: 'POST' as const, body: JSON.parse(body) as unknown }),
    })
      .then((data) => {
        if (!abort.signal.aborted) state.value = { data, error: undefined, isSlow: false, at_ms };
      })
      .catch((thrown: unknown) => {
        if (abort.signal.aborted) return;
        const error = thrown instanceof ApiError ? thrown : new ApiError('The answer is not readable.', 0, 'unreadable');
        state.value = { ...state.value, error, isSlow: false };
        if (error.status === 429 || error.status === 503)
          retry = setTimeout(() => again.value++, Math.max(1, error.retryAfter_s) * 1000);
      })
      .finally(() => clearTimeout(slow));
    return () => {
      abort.abort();
      clearTimeout(slow);
      clearTimeout(retry);
    };
  }, [url, body, tick, again.value]);
  const s = state.value;
  return useMemo(
    () => ({ ...s, isFirst: s.data === undefined && s.error === undefined, reload: () => void again.value++ }),
    [s],
  );
}
