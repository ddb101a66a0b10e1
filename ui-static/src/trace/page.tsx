// SPDX-License-Identifier: Apache-2.0
// One trace: what happened, in what order, where the time went.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo } from 'preact/hooks';
import { ApiError, apiUrl, get } from '../api/client.ts';
import { copyText, traceLink } from '../lib/copy.ts';
import { useKeys } from '../lib/keys.ts';
import { logsHref } from '../lib/links.ts';
import { href, navigate, params, place } from '../lib/route.ts';
import { formatCount, formatDuration, plural } from '../lib/units.ts';
import { meta } from '../shell/server.tsx';
import { Page } from '../shell/page.tsx';
import { Button, Choice, Chip, FindField, IconButton } from '../ui/button.tsx';
import { ColumnsMenu } from '../ui/columns.tsx';
import { Icon } from '../ui/icons.tsx';
import { Menu } from '../ui/popup.tsx';
import { Empty, Failure, Note, Skeleton } from '../ui/states.tsx';
import { serviceClass, Time } from '../ui/text.tsx';
import { Flame } from './flameview.tsx';
import { TraceLoad } from './load.ts';
import { LogsTab, useTraceLogs } from './logs.tsx';
import { Minimap } from './minimapview.tsx';
import { findByName, isMissing, nameOf, spanId, type Header, type Warning } from './model.ts';
import { SpanPanel } from './panel.tsx';
import { MapTab } from './servicemap.tsx';
import { SPAN_COLUMNS, SpansTab } from './spans.tsx';
import { TraceView } from './view.ts';
import { describeZoom, Waterfall, type LogMarks } from './waterfall.tsx';

const TABS = [
  ['waterfall', 'Waterfall'],
  ['flame', 'Flame'],
  ['spans', 'Spans'],
  ['logs', 'Logs'],
  ['map', 'Map'],
] as const;

/** Tabs that show single spans: what is found, and the critical path. */
const hasRows = (tab: string): boolean => tab === 'waterfall' || tab === 'flame';

export default function TracePage() {
  const id = place.value.name;
  const p = params('trace');
  const load = useMemo(() => new TraceLoad(id), [id]);
  useEffect(() => () => load.close(), [load]);
  const header = load.header.value;
  const trace = load.trace.value;
  const failure = load.failure.value;

  const before = useMemo<{ view: TraceView | undefined }>(() => ({ view: undefined }), [load]);
  const view = useMemo(() => (trace === undefined ? undefined : (before.view = new TraceView(trace, before.view))), [trace]);
  const logs = useTraceLogs(id, header?.version);
  const marks = useMemo<LogMarks>(() => {
    const out = new Map<number, number[]>();
    if (header === undefined) return out;
    const t0 = BigInt(header.t0);
    for (const r of logs.rows) {
      if (r.span_ix < 0) continue;
      const at = Number(BigInt(r.t) - t0);
      const list = out.get(r.span_ix);
      if (list === undefined) out.set(r.span_ix, [at]);
      else list.push(at);
    }
    return out;
  }, [logs, header]);

  const title = header?.root === null || header === undefined ? `Trace ${id.slice(0, 8)}` : `${header.root.svc} ${header.root.name}`;
  const crumbs = [{ text: 'Traces', href: href('traces') }, title];
  if (view === undefined || header === undefined) {
    return (
      <Page title={crumbs} foot={<span class="mono">{id}</span>}>
        {failure === undefined ? <Skeleton rows={14} /> : failure.status === 404 ? <Unknown id={id} load={load} /> : <Failure error={failure} reload={() => load.reload()} />}
      </Page>
    );
  }
  const selected = view.selected.value;
  return (
    <Page
      title={crumbs}
      fills
      class="trace"
      bar={<Bar view={view} header={header} logs={logs.total} />}
      hold="a trace does not change under your hands"
      panel={selected >= 0 ? <SpanPanel key={spanId(view.trace, selected)} view={view} row={selected} logs={logs} /> : undefined}
      panelTitle={selected >= 0 ? nameOf(view.trace, selected) : undefined}
      onPanelClose={() => view.select(-1)}
      foot={<Foot view={view} load={load} />}
    >
      <Head view={view} header={header} load={load} />
      {failure !== undefined && (
        <Note kind="err">
          {failure.message}{' '}
          <button type="button" class="linklike" onClick={() => load.reload()}>
            Retry
          </button>
        </Note>
      )}
      {load.newer.value !== undefined && (
        <Note>
          {plural(load.newer.value.spans - header.spans, 'new span')} have arrived.{' '}
          <button type="button" class="linklike" onClick={() => load.reload()}>
            Show
          </button>
        </Note>
      )}
      {p.span !== '' && selected < 0 && load.isWhole.value && <Note kind="warn">The span {p.span} is not in this trace.</Note>}
      {p.root !== '' && (
        <Note>
          Only the subtree of {view.root.value < 0 ? `${p.root}, which is not in this trace` : nameOf(view.trace, view.root.value)}.{' '}
          <button type="button" class="linklike" onClick={() => navigate('trace', { root: '', zoom: [] }, 'push')}>
            Show the whole trace
          </button>
        </Note>
      )}
      {hasRows(p.tab) && <Minimap view={view} />}
      {p.tab === 'waterfall' && <Waterfall view={view} logs={marks} />}
      {p.tab === 'flame' && <Flame view={view} />}
      {p.tab === 'spans' && <SpansTab view={view} />}
      {p.tab === 'logs' && <LogsTab logs={logs} view={view} />}
      {p.tab === 'map' && <MapTab view={view} />}
      <Keys view={view} />
    </Page>
  );
}

function Unknown({ id, load }: { id: string; load: TraceLoad }) {
  const kept = meta.value?.retention?.traces_s ?? null;
  return (
    <Empty
      icon="search"
      title="There is no such trace here."
      action={
        <>
          <Button icon="refresh" onClick={() => load.reload()}>
            Look again
          </Button>
          <a class="button plain" href={href('traces')}>
            Search traces
          </a>
        </>
      }
    >
      <p class="mono">{id}</p>
      <p>
        It may still be on its way: the page looks again for some seconds. It may have been sampled away by its sender
        {kept === null ? ', or its oldest files may have made room on the disk.' : `, or be older than the ${formatDuration(kept * 1e9)} for which traces are kept.`}
      </p>
    </Empty>
  );
}

const WARNINGS: Record<string, (n: number) => string> = {
  orphans: (n) => `${plural(n, 'orphan')}`,
  missing_parents: (n) => `${plural(n, 'missing parent')}`,
  roots: (n) => `${formatCount(n)} roots`,
  skewed: (n) => `${plural(n, 'span')} with a clock that does not fit`,
  truncated: (n) => `${plural(n, 'span')} cut`,
  duplicates: (n) => `${plural(n, 'doubled ID')}`,
  cycles: (n) => `${plural(n, 'circle')} of parents`,
  bad_times: (n) => `${plural(n, 'span')} with impossible times`,
  services_cut: (n) => `${formatCount(n)} services not named`,
  damaged: () => 'a part is damaged on disk',
};
const warningText = (w: Warning): string => WARNINGS[w.kind]?.(w.count) ?? `${w.kind} ${w.count}`;

function Head({ view, header, load }: { view: TraceView; header: Header; load: TraceLoad }) {
  const { trace } = view;
  const p = params('trace');
  const at = view.active.value;
  const nth = view.errors.indexOf(at);
  const skewed = header.warnings.find((w) => w.kind === 'skewed');
  const others = header.warnings.filter((w) => w.kind !== 'skewed' && !(w.kind === 'missing_parents' && header.warnings.some((o) => o.kind === 'orphans')));
  return (
    <div class="trace-head">
      <div class="trace-facts">
        <b class="trace-dur">{formatDuration(header.dur)}</b>
        <Time ns={header.t0} withZone />
        <span>{plural(header.spans, 'span')}</span>
        <span>{plural(header.services.length, 'service')}</span>
        {view.errors.length > 0 ? (
          <span class="trace-errors">
            <Icon name="error" size={14} /> {plural(header.errors, 'error')}
            <IconButton icon="left" label="Error before" onClick={() => view.step(view.errors, -1)} />
            {nth >= 0 && (
              <span class="dim">
                {nth + 1}/{view.errors.length}
              </span>
            )}
            <IconButton icon="right" label="Next error" keys="!" onClick={() => view.step(view.errors, 1)} />
          </span>
        ) : (
          <span class="dim">no errors</span>
        )}
        {others.map((w) => (
          <span key={w.kind} class="trace-warning">
            <Icon name="warning" size={14} /> {warningText(w)}
          </span>
        ))}
        {skewed !== undefined && (
          <span class="trace-warning">
            <Icon name="clock" size={14} /> {warningText(skewed)}
            {trace.shift !== null && (
              <button type="button" class="linklike" onClick={() => load.correct(!load.isCorrected.value)}>
                {load.isCorrected.value ? 'times moved to fit: show them as sent' : 'move to fit'}
              </button>
            )}
          </span>
        )}
        {!header.complete && (
          <span class="trace-warning">
            <Icon name="warning" size={14} /> not all of it could be read
          </span>
        )}
        {view.zoom.value !== null && (
          <Chip label="zoom" onRemove={() => view.setZoom(null)}>
            {describeZoom(view.trace, view.zoom.value)}
          </Chip>
        )}
      </div>
      <div class="trace-services">
        {header.services.map((s, i) => {
          const on = p.svc.includes(s.name);
          return (
            <button
              key={i}
              type="button"
              class="trace-service"
              aria-pressed={on}
              title={`${s.name}: ${plural(s.spans, 'span')}, ${plural(s.errors, 'error')}. Only this service`}
              onClick={() => navigate('trace', { svc: on ? p.svc.filter((n) => n !== s.name) : [...p.svc, s.name] }, 'replace')}
            >
              <span class={serviceClass(view.slots[i]!)} aria-hidden="true" />
              <span class="cut">{s.name === '' ? '(no name)' : s.name}</span>
              <span class="dim">{formatCount(s.spans)}</span>
              {s.errors > 0 && <span class="err-text">✖ {formatCount(s.errors)}</span>}
            </button>
          );
        })}
        {p.svc.length > 0 && (
          <button type="button" class="linklike" onClick={() => navigate('trace', { svc: [] }, 'replace')}>
            all services
          </button>
        )}
      </div>
    </div>
  );
}

function Bar({ view, header, logs }: { view: TraceView; header: Header; logs: number }) {
  const p = params('trace');
  return (
    <>
      <Choice
        label="View"
        value={p.tab}
        onChange={(tab) => navigate('trace', { tab }, 'push')}
        options={TABS.map(([key, text]) => [key, key === 'logs' && logs > 0 ? `${text} ${formatCount(logs)}` : text] as const)}
      />
      {hasRows(p.tab) && <Find view={view} />}
      {hasRows(p.tab) && (
        <Choice
          label="Critical path"
          value={p.tab === 'flame' && p.cp === 'only' ? 'on' : p.cp}
          onChange={(cp) => navigate('trace', { cp }, 'replace')}
          options={[['off', 'All'], ['on', 'Critical path'], ...(p.tab === 'waterfall' ? [['only', 'Only critical'] as const] : [])]}
        />
      )}
      <span class="grow" />
      {p.tab === 'spans' && <ColumnsMenu table="spans" all={SPAN_COLUMNS} />}
      <Menu
        label="Copy or export"
        text="Copy, export"
        kind="quiet"
        align="end"
        items={[
          { label: 'Trace ID', icon: 'copy', hint: 'c i', run: () => void copyText(header.id, 'Trace ID copied') },
          { label: 'Link to the trace', icon: 'link', run: () => void copyText(traceLink(header.id), 'Link copied') },
          { label: 'Filter for its logs', icon: 'logs', run: () => void copyText(`{ trace:id = "${header.id}" }`, 'Filter copied') },
          '-',
          { label: 'Its logs', icon: 'logs', href: logsHref({ trace: header.id }, { from: (BigInt(header.t0) - 60_000_000_000n).toString(), to: (BigInt(header.t0) + BigInt(Math.round(header.dur)) + 60_000_000_000n).toString() }) },
          '-',
          { label: 'Export OTLP as JSON', icon: 'download', href: apiUrl(`/trace/${header.id}/raw`, { format: 'otlp' }), download: `${header.id}.json` },
          { label: 'Export OTLP as protobuf', icon: 'download', href: apiUrl(`/trace/${header.id}/raw`, { format: 'otlp-proto' }), download: `${header.id}.pb` },
        ]}
      />
    </>
  );
}

/** Find in the trace: names at once, attributes when the server has answered. `a` is the query that a search carried. */
function Find({ view }: { view: TraceView }) {
  const p = params('trace');
  const state = useSignal<{ error: string; isAsking: boolean; total: number }>({ error: '', isAsking: false, total: 0 });
  const carried = p.find === '' ? p.a : '';
  const wanted = p.find === '' ? p.a : p.find;
  useEffect(() => {
    view.matches.value = [];
    state.value = { error: '', isAsking: wanted !== '', total: 0 };
    if (wanted.trim() === '') return;
    const isQuery = wanted.trim().startsWith('{');
    const local = isQuery ? [] : findByName(view.trace, wanted.trim());
    view.matches.value = local;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      // Of the version that is shown: rows of another are other spans.
      get<{ rows: number[]; total: number }>(`/trace/${view.trace.header.id}/find`, { q: wanted.trim(), version: view.trace.header.version }, abort.signal)
        .then((answer) => {
          view.matches.value = answer.rows.filter((i) => i < view.trace.spans.n);
          state.value = { error: '', isAsking: false, total: answer.total };
        })
        .catch((thrown: unknown) => {
          if (abort.signal.aborted) return;
          const hasGrown = thrown instanceof ApiError && thrown.status === 404; // what was found by name stays
          const error = hasGrown ? 'the trace has grown: load it again' : thrown instanceof ApiError ? thrown.message : 'The answer is not readable.';
          state.value = { error, isAsking: false, total: 0 };
        });
    }, 200);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [view, wanted]);
  const found = view.matches.value;
  const nth = found.indexOf(view.active.value);
  return (
    <span class="trace-find" data-search>
      {carried !== '' ? (
        <Chip label="the search's filter" onRemove={() => navigate('trace', { a: '' }, 'replace')}>
          <span class="mono">{carried}</span>
        </Chip>
      ) : (
        <FindField
          label="Find spans: text or { filter }"
          value={p.find}
          onInput={(find) => navigate('trace', { find }, 'replace')}
          onEnter={(e) => view.step(view.matches.peek(), e.shiftKey ? -1 : 1)}
        />
      )}
      {wanted !== '' && (
        <>
          <span class={state.value.error === '' ? 'dim' : 'err-text'} role="status" title={state.value.error}>
            {state.value.error !== '' && found.length === 0
              ? state.value.error
              : found.length === 0
                ? state.value.isAsking
                  ? '…'
                  : 'none'
                : nth >= 0
                  ? `${nth + 1}/${formatCount(found.length)}`
                  : plural(Math.max(found.length, state.value.total), 'match', 'matches')}
          </span>
          <IconButton icon="up" label="Match before" keys="N" onClick={() => view.step(found, -1)} />
          <IconButton icon="down" label="Next match" keys="n" onClick={() => view.step(found, 1)} />
        </>
      )}
    </span>
  );
}

function Foot({ view, load }: { view: TraceView; load: TraceLoad }) {
  const { header, spans, folds } = view.trace;
  const shown = view.rows.value.count;
  const skew = header.warnings.find((w) => w.kind === 'skewed');
  return (
    <>
      <span class="mono">{header.id}</span> · {load.isWhole.value ? (params('trace').tab === 'waterfall' ? `${formatCount(shown)} of ${formatCount(spans.n)} rows shown` : plural(header.spans, 'span')) : `${formatCount(spans.n)} of ${formatCount(header.rows)} rows read`}
      {folds.count > 0 && ` · ${plural(folds.count, 'fold')} of ${formatCount(folds.members.length)} like spans`}
      {skew !== undefined && params('trace').cp !== 'off' && ' · the critical path follows clocks that do not fit'}
    </>
  );
}

function Keys({ view }: { view: TraceView }) {
  const { spans, tree } = view.trace;
  const n = spans.n;
  /** Move the active row; the panel follows when it is open. */
  const go = (code: number) => {
    view.active.value = code;
    if (code < n && view.selected.peek() >= 0) view.select(code, 'replace');
  };
  const move = (by: number) => {
    const { codes, count } = view.rows.peek();
    if (count === 0) return;
    const at = view.indexOf(view.active.peek());
    go(codes[at < 0 && by < count ? 0 : Math.max(0, Math.min(count - 1, at + by))]!);
  };
  const isOpen = (code: number) => (code < n ? tree.kids[code]! > 0 && !view.isCollapsed(code) : view.isFold(code) && view.foldShown(view.foldOf(code)) > 0);
  const left = () => {
    const code = view.active.peek();
    if (code < 0) return;
    if (isOpen(code)) return view.toggle(code, false);
    const i = code < n ? code : view.trace.folds.first[view.foldOf(code)]!;
    const g = code < n ? view.trace.folds.of[i]! : -1;
    if (g >= 0 && view.foldShown(g) > 0) return go(n + g);
    if (spans.parent[i]! >= 0) go(spans.parent[i]!);
  };
  const right = () => {
    const code = view.active.peek();
    if (code < 0) return move(0);
    if (isOpen(code)) return move(1);
    if (code >= n || tree.kids[code]! > 0) view.toggle(code, true);
  };
  const isRows = () => hasRows(params('trace').tab);
  const onWaterfall = () => params('trace').tab === 'waterfall';
  useKeys(
    'Trace',
    [
      { keys: 'ArrowDown', label: 'Next row', when: onWaterfall, run: () => move(1) },
      { keys: 'j', label: 'Next row', when: onWaterfall, run: () => move(1) },
      { keys: 'ArrowUp', label: 'Row before', when: onWaterfall, run: () => move(-1) },
      { keys: 'k', label: 'Row before', when: onWaterfall, run: () => move(-1) },
      { keys: 'PageDown', label: 'A page down', when: onWaterfall, run: () => move(25) },
      { keys: 'PageUp', label: 'A page up', when: onWaterfall, run: () => move(-25) },
      { keys: 'Home', label: 'First row', when: onWaterfall, run: () => move(-1e9) },
      { keys: 'End', label: 'Last row', when: onWaterfall, run: () => move(1e9) },
      { keys: 'ArrowLeft', label: 'Close, then parent', when: onWaterfall, run: left },
      { keys: 'ArrowRight', label: 'Open, then child', when: onWaterfall, run: right },
      { keys: 'Shift ArrowLeft', label: 'Close all', when: onWaterfall, run: () => view.toggleAll(false) },
      { keys: 'Shift ArrowRight', label: 'Open all', when: onWaterfall, run: () => view.toggleAll(true) },
      {
        keys: 'Enter',
        label: 'Open the span',
        when: () => view.active.peek() >= 0 && (document.activeElement === document.body || document.activeElement?.id === 'trace-rows' || document.activeElement?.id === 'page'),
        run: () => (view.active.peek() < n ? view.select(view.active.peek()) : view.toggle(view.active.peek())),
      },
      { keys: 'i', label: 'Panel', run: () => (view.selected.peek() >= 0 ? view.select(-1) : view.active.peek() >= 0 && view.active.peek() < n && view.select(view.active.peek())) },
      { keys: 'n', label: 'Next match', when: isRows, run: () => view.step(view.matches.peek(), 1) },
      { keys: 'Shift N', label: 'Match before', when: isRows, run: () => view.step(view.matches.peek(), -1) },
      { keys: '!', label: 'Next error', run: () => view.step(view.errors, 1) },
      { keys: 'Shift !', label: 'Next error', run: () => view.step(view.errors, 1) },
      { keys: 'p', label: 'Critical path', when: isRows, run: () => navigate('trace', { cp: params('trace').cp === 'off' ? 'on' : 'off' }, 'replace') },
      { keys: 'z', label: 'Zoom to the span', when: isRows, run: () => view.active.peek() >= 0 && view.active.peek() < n && view.zoomToSpan(view.active.peek()) },
      { keys: '0', label: 'Whole trace', when: isRows, run: () => view.setZoom(null) },
      { keys: 'w', label: 'Zoom in', when: isRows, run: () => zoomMiddle(view, 0.6) },
      { keys: 's', label: 'Zoom out', when: isRows, run: () => zoomMiddle(view, 1 / 0.6) },
      { keys: 'a', label: 'Earlier', when: isRows, run: () => view.pan(-0.2) },
      { keys: 'd', label: 'Later', when: isRows, run: () => view.pan(0.2) },
      { keys: 'c i', label: 'Copy the ID', run: () => void copyText(view.selected.peek() >= 0 ? spanId(view.trace, view.selected.peek()) : view.trace.header.id, 'ID copied') },
    ],
    [view],
  );
  return null;
}

function zoomMiddle(view: TraceView, factor: number): void {
  const [a, b] = view.window.peek();
  const at = view.active.peek();
  const { spans } = view.trace;
  // Towards the active span when it is in sight.
  const middle = at >= 0 && at < spans.n && !isMissing(view.trace, at) ? spans.start[at]! + spans.dur[at]! / 2 : NaN;
  view.zoomAt(middle >= a && middle <= b ? middle : (a + b) / 2, factor);
}

