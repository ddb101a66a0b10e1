// SPDX-License-Identifier: Apache-2.0
// Logs: what a filter finds, newest first; or live, as it arrives.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { ApiError, apiUrl, get, useApi } from '../api/client.ts';
import { follow } from '../api/sse.ts';
import type { Scan } from '../api/types.ts';
import { useKeys } from '../lib/keys.ts';
import { traceHref } from '../lib/links.ts';
import { hexId, chipsOf, withReplaced } from '../lib/traceql.ts';
import { href, navigate, open, params } from '../lib/route.ts';
import { formatClock, momentTitle, range, rangeQuery, refreshes } from '../lib/time.ts';
import { formatCount, plural } from '../lib/units.ts';
import { element, VirtualList } from '../lib/virtual.ts';
import { inEnvironment } from '../search/environment.ts';
import { Builder, QueryBox } from '../search/querybox.tsx';
import { scanText } from '../search/scan.ts';
import { pagedTimes } from '../search/times.ts';
import { Page } from '../shell/page.tsx';
import { meta } from '../shell/server.tsx';
import { Button, Chip } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { Answer, Empty, Failure, Note, reasonText, Skeleton } from '../ui/states.tsx';
import { serviceClass } from '../ui/text.tsx';
import { Histogram, type HistogramAnswer } from './histogram.tsx';
import { bodyText, cellText, Record, type LogRow } from './record.tsx';
import { severityLabel, severityOf } from './severity.ts';
import { TailBuffer } from './tail.ts';

const PAGE = 200;
const BEFORE_LIVE = 100; // records shown above the first live one
const ROW_PX = 24;

interface LogsAnswer extends Scan {
  rows: LogRow[];
}

/** Names a row in the URL: its time and the how-manieth of that time it is. */
function keyOf(rows: readonly LogRow[], index: number): string {
  const { time } = rows[index]!;
  let nth = 0;
  for (let i = index - 1; i >= 0 && rows[i]!.time === time; i--) nth++;
  return nth === 0 ? time : `${time}-${nth}`;
}
function indexOfKey(rows: readonly LogRow[], key: string): number {
  const [time, nth = '0'] = key.split('-');
  const first = rows.findIndex((r) => r.time === time);
  if (first < 0) return -1;
  const at = first + Number(nth);
  return rows[at]?.time === time ? at : -1;
}

export default function LogsPage() {
  const p = params('logs');
  const has = (feature: string) => meta.value?.features?.includes(feature) === true;
  const services = useApi<{ rows: { name: string; color?: number }[] }>('/services', {}, { still: true });
  const colors = useMemo(() => new Map(services.data?.rows.flatMap((r) => (r.color === undefined ? [] : [[r.name, r.color] as const]))), [services.data]);
  const chips = chipsOf(p.q) ?? [];
  const sent = inEnvironment(p.q, p.env);
  const valueOf = (name: string): string => chips.find((c) => c.name === name)?.value ?? '';
  const error = useSignal<ApiError | undefined>(undefined);
  const rows = useSignal<readonly LogRow[]>([]);
  const foot = useSignal('');

  const run = (q: string) => {
    const id = hexId(q);
    if (id !== undefined) open('id', id);
    else navigate('logs', { q, at: '' }, 'replace');
  };
  const setLive = (live: boolean) => navigate('logs', { live, at: '' }, 'replace');
  useKeys('Logs', [{ keys: 'v', label: 'Live or not', when: () => has('logs_tail'), run: () => setLive(!params('logs').live) }], []);
  const histogram = useApi<HistogramAnswer>(!p.live && has('logs_histogram') ? '/logs/histogram' : null, { q: sent, cols: 120, ...rangeQuery() });
  const chosen = p.at === '' ? -1 : indexOfKey(rows.value, p.at);
  const row = rows.value[chosen];
  const queryError = [error.value, histogram.error].find((e) => e?.status === 400);
  const isOld = queryError !== undefined; // what the last filter found stays, dimmed
  const severities = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
  const atLeast = chips.find((c) => c.name === 'severity' && c.op === '>=')?.value ?? '';
  return (
    <Page
      title={['Logs']}
      fills
      class="logs"
      hold={p.live ? 'the tail is live' : p.at !== '' ? 'a record is selected' : rows.value.length > PAGE ? 'older records are loaded' : undefined}
      foot={foot.value}
      panel={row === undefined ? undefined : <Record key={p.at} row={row} />}
      panelTitle={row === undefined ? undefined : `${severityLabel(row.severity)} ${row.service}`}
      onPanelClose={() => navigate('logs', { at: '' }, 'replace')}
      bar={
        <>
          <Button icon={p.live ? 'pause' : 'play'} kind={p.live ? 'primary' : 'plain'} disabled={!has('logs_tail')} pressed={p.live} onClick={() => setLive(!p.live)} title={has('logs_tail') ? 'Show records as they arrive  v' : 'This server has no live tail'}>
            {p.live ? 'Stop live' : 'Live'}
          </Button>
          <Button kind="quiet" pressed={p.wrap} onClick={() => navigate('logs', { wrap: !p.wrap }, 'replace')}>
            Wrap lines
          </Button>
          {p.cols.map((c) => (
            <Chip key={c} label={`the column ${c}`} onRemove={() => navigate('logs', { cols: p.cols.filter((o) => o !== c) }, 'replace')}>
              <span class="mono">{c}</span>
            </Chip>
          ))}
        </>
      }
    >
      <div class="search-query">
        <QueryBox id="logs-query" signal="logs" value={p.q} error={queryError} onRun={run}>
          <Builder label="Service" name="resource.service.name" value={valueOf('resource.service.name')} options={services.data?.rows.map((r) => r.name) ?? []} onPick={(c) => run(withReplaced(p.q, 'resource.service.name', c))} />
          <label class="select query-builder">
            <select aria-label="Severity, at least" value={atLeast} onChange={(e) => run(withReplaced(p.q, 'severity', e.currentTarget.value === '' ? '' : `severity >= ${e.currentTarget.value}`))}>
              <option value="">Severity</option>
              {severities.map((s) => (
                <option key={s} value={s}>
                  {s} and worse
                </option>
              ))}
            </select>
            <Icon name="down" size={12} />
          </label>
        </QueryBox>
      </div>
      {!p.live && has('logs_histogram') && (!isOld || histogram.data !== undefined) && histogram.data?.total !== 0 && (
        <Answer of={isOld ? { ...histogram, error: undefined, isSlow: false } : histogram} class={`logs-chart ${isOld ? 'search-old' : ''}`} skeleton={<div class="logs-chart bone" role="status" aria-label="Loading" />}>
          {(h) => (
            <>
              <p class="search-legend">
                <span>
                  records by time · <span class="err-text">red</span>: errors · <span class="warn-text">amber</span>: warnings
                </span>
              </p>
              <Histogram h={h} />
              {!h.complete && <Note kind="warn">Time ran out: the early columns may lack records.</Note>}
            </>
          )}
        </Answer>
      )}
      {queryError === undefined || rows.value.length > 0 ? null : <Empty icon="search" title="The filter cannot be read." />}
      {p.live ? <Live q={sent} rows={rows} error={error} foot={foot} colors={colors} /> : <Found q={sent} rows={rows} error={error} foot={foot} colors={colors} />}
    </Page>
  );
}

/** Of the services that send spans; others have none. */
type Colors = ReadonlyMap<string, number>;

interface Shared {
  q: string; // with the environment
  rows: { value: readonly LogRow[] };
  error: { value: ApiError | undefined };
  foot: { value: string };
  colors: Colors;
}

/** What the filter finds, newest first; more comes when one scrolls to the end. */
function Found({ q, rows, error, foot, colors }: Shared) {
  const state = useSignal<{ state: 'first' | 'there' | 'more'; last: LogsAnswer | undefined }>({ state: 'first', last: undefined });
  const { from, to } = range.value;
  const p = params('logs');
  const again = useSignal(0);
  const key = `${q} ${from} ${to} ${refreshes.value} ${again.value}`;
  const abort = useRef(new AbortController());
  const ask = (cursor: string) => {
    const { signal } = abort.current;
    get<LogsAnswer>('/logs', { q, order: 'newest', limit: PAGE, cursor, ...pagedTimes(p.from, p.to, range.value) }, signal)
      .then((a) => {
        rows.value = cursor === '' ? a.rows : [...rows.value, ...a.rows];
        error.value = undefined;
        state.value = { state: 'there', last: a };
        foot.value = `${plural(rows.value.length, 'record')} shown${a.cursor === undefined ? ', all of them' : ''} · ${scanText(a)}`;
      })
      .catch((e: unknown) => {
        if (signal.aborted) return;
        error.value = e instanceof ApiError ? e : new ApiError('The answer is not readable.', 0, 'unreadable');
        state.value = { ...state.value, state: 'there' };
      });
  };
  useEffect(() => {
    abort.current = new AbortController();
    ask('');
    return () => abort.current.abort();
  }, [key]);
  const more = () => {
    const { last, state: now } = state.value;
    if (now !== 'there' || last?.cursor === undefined || error.value?.status === 400) return;
    state.value = { state: 'more', last };
    ask(last.cursor);
  };
  if (error.value !== undefined && error.value.status !== 400 && rows.value.length === 0) return <Failure error={error.value} reload={() => again.value++} />;
  if (state.value.state === 'first') return <Skeleton rows={14} />;
  if (rows.value.length === 0)
    return error.value !== undefined ? null : (
      <Empty
        icon="logs"
        title={reasonText(state.value.last?.reason, 'No record')}
        action={
          state.value.last?.reason === 'no_data_yet' ? (
            <a href={href('map')}>How to send telemetry</a>
          ) : (
            params('logs').q !== '' && <Button onClick={() => navigate('logs', { q: '' }, 'replace')}>Clear the filter</Button>
          )
        }
      />
    );
  return (
    <>
      {error.value !== undefined && error.value.status !== 400 && <Note kind="warn">{error.value.message}</Note>}
      {state.value.last?.complete === false && <Note kind="warn">Time ran out: there may be more records than these.</Note>}
      <Rows rows={rows.value} colors={colors} atEnd={more} isOld={error.value?.status === 400} />
    </>
  );
}

/** Records as they arrive, the newest at the bottom. */
function Live({ q, rows, error, foot, colors }: Shared) {
  const buffer = useMemo(() => new TailBuffer<LogRow>(), [q]);
  const state = useSignal<'opening' | 'open' | 'waiting' | 'failed'>('opening');
  const told = useSignal({ waiting: 0, sampled: 0, skipped: 0, paused: false });
  const said = useSignal('');
  const toEnd = useRef<() => void>(() => undefined);

  useEffect(() => {
    rows.value = [];
    error.value = undefined;
    foot.value = '';
    const stop = new AbortController();
    let frame = 0;
    const show = () => {
      frame = 0;
      if (!buffer.isPaused) rows.value = buffer.rows.slice();
      told.value = { waiting: buffer.waitingCount, sampled: buffer.sampled, skipped: buffer.skipped, paused: buffer.isPaused };
      foot.value = `live · ${plural(buffer.rows.length, 'record')} kept`;
    };
    const later = () => (frame ||= requestAnimationFrame(show));
    // Some history first, so that the page is not empty; then what arrives.
    get<LogsAnswer>('/logs', { q, order: 'newest', limit: BEFORE_LIVE }, stop.signal)
      .then((a) => {
        // What arrived between the two questions is in both answers.
        const nameOf = (r: LogRow): string => `${r.time} ${r.service} ${r.span ?? ''} ${bodyText(r)}`;
        const live = new Set(buffer.rows.map(nameOf));
        buffer.prepend(a.rows.reverse().filter((r) => !live.has(nameOf(r))));
        later();
      })
      .catch(() => undefined);
    let arrived = 0;
    const announce = setInterval(() => {
      if (arrived > 0) said.value = plural(arrived, 'new record');
      arrived = 0;
    }, 5000);
    const end = follow(apiUrl('/logs/tail', { q }), {
      onEvent({ event, data }) {
        try {
          if (event === 'row') {
            arrived++;
            buffer.add(JSON.parse(data) as LogRow, Date.now());
          } else if (event === 'skipped') buffer.skipped += (JSON.parse(data) as { n: number | null }).n ?? 1;
        } catch {
          buffer.skipped++; // an unreadable row is one that is not shown
        }
        later();
      },
      onState(now, failure) {
        state.value = now;
        error.value = now === 'failed' ? failure : undefined;
      },
    });
    return () => {
      stop.abort();
      end();
      clearInterval(announce);
      cancelAnimationFrame(frame);
    };
  }, [q]);

  const p = params('logs');
  const pause = () => {
    if (buffer.isPaused) return;
    buffer.pause();
    told.value = { ...told.value, paused: true, waiting: 0 };
  };
  const resume = () => {
    buffer.resume();
    if (p.at !== '') navigate('logs', { at: '' }, 'replace');
    rows.value = buffer.rows.slice();
    told.value = { ...told.value, paused: false, waiting: 0 };
    requestAnimationFrame(() => toEnd.current());
  };
  useEffect(() => {
    if (p.at !== '') pause();
  }, [p.at]);
  useKeys('Live tail', [{ keys: 'Space', label: 'Pause or resume', run: () => (buffer.isPaused ? resume() : pause()) }], [q]);
  const t = told.value;
  if (state.value === 'failed' && error.value !== undefined) return error.value.status === 400 ? null : <Failure error={error.value} />;
  return (
    <>
      {state.value === 'waiting' && <Note kind="warn">The connection broke off; the page tries again.</Note>}
      {(t.sampled > 0 || t.skipped > 0) && (
        <Note kind="warn">
          {t.sampled > 0 && `${plural(t.sampled, 'record')} not shown: more than 200 a second. `}
          {t.skipped > 0 && `${plural(t.skipped, 'record')} skipped by the server. `}A narrower filter shows all.
        </Note>
      )}
      {rows.value.length === 0 ? (
        <Empty icon="logs" title={state.value === 'open' ? 'Waiting for the first record.' : 'Opening the tail…'} />
      ) : (
        <Rows rows={rows.value} colors={colors} follows={!t.paused} onLeaveEnd={pause} onReachEnd={() => p.at === '' && buffer.isPaused && resume()} endRef={toEnd} />
      )}
      {t.paused && (
        <div class="logs-paused" role="status">
          <span>Paused · {formatCount(t.waiting)} new</span>
          <Button kind="primary" icon="play" onClick={resume}>
            Resume <kbd>Space</kbd>
          </Button>
        </div>
      )}
      <span class="visually-hidden" aria-live="polite">
        {said.value}
      </span>
    </>
  );
}

function Rows({
  rows,
  colors,
  atEnd,
  follows = false,
  isOld = false,
  onLeaveEnd,
  onReachEnd,
  endRef,
}: {
  rows: readonly LogRow[];
  colors: Colors;
  atEnd?: () => void;
  follows?: boolean;
  isOld?: boolean;
  onLeaveEnd?: () => void;
  onReachEnd?: () => void;
  endRef?: { current: () => void };
}) {
  const p = params('logs');
  const view = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualList<HTMLDivElement> | null>(null);
  const latest = useRef({ rows, cols: p.cols, chosen: -1, colors });
  const chosen = p.at === '' ? -1 : indexOfKey(rows, p.at);
  latest.current = { rows, cols: p.cols, chosen, colors };
  const wrap = p.wrap;
  const wasFollowing = useRef(follows);
  wasFollowing.current = follows;

  useLayoutEffect(() => {
    if (wrap) return;
    const made = new VirtualList<HTMLDivElement>(view.current!, body.current!, {
      rowHeight: ROW_PX,
      make: () => makeRow(),
      fill: (e, i) => fillRow(e, latest.current.rows[i]!, i, latest.current.cols, i === latest.current.chosen, latest.current.colors),
    });
    list.current = made;
    return () => {
      made.destroy();
      list.current = null;
      body.current?.replaceChildren();
    };
  }, [wrap]);
  // Wrapped rows differ in height: they are all in the document, and the browser skips those out of sight.
  useLayoutEffect(() => {
    const list_ = list.current;
    if (list_ !== null) list_.setCount(rows.length);
    else if (wrap) {
      const holder = body.current!;
      while (holder.children.length > rows.length) holder.lastElementChild!.remove();
      rows.forEach((r, i) => {
        const e = (holder.children[i] as HTMLDivElement | undefined) ?? holder.appendChild(makeRow());
        fillRow(e, r, i, p.cols, i === chosen, colors);
      });
    }
    if (follows) view.current!.scrollTop = view.current!.scrollHeight;
  }, [rows, p.cols.join('\0'), chosen, wrap, colors]);
  useEffect(() => {
    if (endRef !== undefined)
      endRef.current = () => {
        if (view.current !== null) view.current.scrollTop = view.current.scrollHeight;
      };
    if (chosen >= 0) list.current?.reveal(chosen);
  }, []);

  const pick = (index: number) => {
    const row = rows[index];
    if (row !== undefined) navigate('logs', { at: keyOf(rows, index) }, params('logs').at === '' ? 'push' : 'replace');
  };
  const onKey = (e: KeyboardEvent) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: 20, PageUp: -20 }[e.key];
    if (step === undefined || e.ctrlKey || e.altKey || e.metaKey) return;
    e.preventDefault();
    e.stopPropagation();
    const to = Math.max(0, Math.min(rows.length - 1, chosen < 0 ? (follows ? rows.length - 1 : 0) : chosen + step));
    pick(to);
    list.current?.reveal(to);
  };
  return (
    <div class={`logs-body ${isOld ? 'search-old' : ''}`}>
      <div class="logs-row logs-head" aria-hidden="true">
        <span>Time</span>
        <span>Severity</span>
        <span>Service</span>
        {p.cols.map((c) => (
          <span key={c} class="cut">
            {c}
          </span>
        ))}
        <span>Text</span>
      </div>
      <div
        id="logs-rows"
        ref={view}
        class={`logs-scroll ${wrap ? 'wrap' : ''}`}
        role="grid"
        aria-label="Log records"
        aria-rowcount={rows.length}
        tabIndex={0}
        aria-activedescendant={chosen >= 0 ? `logs-row-${chosen}` : undefined}
        onKeyDown={onKey}
        onScroll={() => {
          const v = view.current!;
          const left = v.scrollHeight - v.clientHeight - v.scrollTop;
          if (atEnd !== undefined && left < 600) atEnd();
        }}
        onWheel={(e) => {
          // Turning back is the wish to stop, turning on at the end the wish to go on; scrolling that the page does itself
          // is neither.
          const v = view.current!;
          if (e.deltaY < 0 && wasFollowing.current) onLeaveEnd?.();
          if (e.deltaY > 0 && v.scrollHeight - v.clientHeight - v.scrollTop <= 2) onReachEnd?.();
        }}
        onPointerDown={(e) => {
          if (wasFollowing.current && e.target === view.current) onLeaveEnd?.(); // the scroll bar
        }}
        onClick={(e) => {
          if ((e.target as Element).closest('a') !== null || String(getSelection() ?? '') !== '') return;
          const row = (e.target as Element).closest<HTMLElement>('.logs-row');
          if (row !== null) pick(Number(row.dataset.index));
        }}
      >
        <div class="logs-rows" role="rowgroup" ref={body} />
      </div>
    </div>
  );
}

function makeRow(): HTMLDivElement {
  const row = element('div', 'logs-row');
  row.setAttribute('role', 'row');
  const link = element('span', 'logs-trace');
  link.append(element('a', '', 'trace ↗'));
  const service = element('span', 'logs-svc');
  service.append(element('span', 'svc'), element('span', 'cut'));
  row.append(element('span', 'mono dim'), element('span', 'sev'), service, element('span', 'logs-text'), link);
  for (const cell of row.children) cell.setAttribute('role', 'gridcell');
  return row;
}

function addColumn(row: HTMLElement, before: HTMLElement): void {
  const cell = element('span', 'cut mono logs-col');
  cell.setAttribute('role', 'gridcell');
  row.insertBefore(cell, before);
}

function fillRow(row: HTMLDivElement, r: LogRow, index: number, cols: readonly string[], isChosen: boolean, colors: Colors): void {
  const [time, sev, service] = row.children as unknown as HTMLElement[];
  const text = row.querySelector<HTMLElement>('.logs-text')!;
  const link = row.querySelector<HTMLAnchorElement>('.logs-trace > a')!;
  const severity = severityOf(r.severity);
  row.id = `logs-row-${index}`;
  row.setAttribute('aria-rowindex', String(index + 1));
  row.dataset.index = String(index);
  row.className = `logs-row sev-${severity}`;
  row.setAttribute('aria-selected', String(isChosen));
  time!.textContent = formatClock(r.time);
  time!.title = momentTitle(r.time);
  sev!.textContent = severityLabel(r.severity);
  sev!.className = `sev ${severity}`;
  const color = colors.get(r.service);
  (service!.firstElementChild as HTMLElement).className = color === undefined ? 'svc' : serviceClass(color);
  service!.lastElementChild!.textContent = r.service;
  while (row.querySelectorAll('.logs-col').length > cols.length) row.querySelector('.logs-col')!.remove();
  while (row.querySelectorAll('.logs-col').length < cols.length) addColumn(row, text);
  row.querySelectorAll('.logs-col').forEach((cell, i) => (cell.textContent = cellText(r, cols[i]!)));
  text.textContent = bodyText(r);
  link.hidden = r.trace === undefined;
  if (r.trace !== undefined) link.href = traceHref(r.trace, r.span ?? '');
}

