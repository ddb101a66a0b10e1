// SPDX-License-Identifier: Apache-2.0
// Trace search: one query, the heatmap of what it finds, the traces themselves.
import { useEffect } from 'preact/hooks';
import { useApi, type Loaded } from '../api/client.ts';
import type { Scan } from '../api/types.ts';
import { useKeys } from '../lib/keys.ts';
import { traceHref } from '../lib/links.ts';
import { href, navigate, open, params } from '../lib/route.ts';
import { formatClock, formatMoment, MS, range, rangeQuery, SECOND, setAbsoluteRange, type Range } from '../lib/time.ts';
import { chipsOf, hexId, withCondition, withReplaced } from '../lib/traceql.ts';
import { formatCount, formatDuration, plural } from '../lib/units.ts';
import { Page } from '../shell/page.tsx';
import { meta } from '../shell/server.tsx';
import { Button, Chip, Choice } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { Answer, Empty, Note, reasonText, Skeleton } from '../ui/states.tsx';
import { ColumnsMenu, shownColumns } from '../ui/columns.tsx';
import { Table, type Column } from '../ui/table.tsx';
import { serviceClass, Time } from '../ui/text.tsx';
import { Differs } from './differs.tsx';
import { inEnvironment } from './environment.ts';
import { slowBox, toUrl, UNBOUNDED, type HeatAnswer, type UrlBox } from './heat.ts';
import { Heatmap, Scatter } from './heatmap.tsx';
import { Builder, QueryBox } from './querybox.tsx';
import { scanText } from './scan.ts';
import { pagedTimes } from './times.ts';

const LIMIT = 50;
const ARRIVING_S = 10; // by then a trace's spans have arrived, most of the time
const ARRIVING = BigInt(ARRIVING_S) * SECOND;
const SCATTER = 1000; // rows that the server gives at once

interface TraceRow {
  id: string;
  start: string;
  dur: string;
  has_root: boolean;
  root_svc?: string;
  root_name?: string;
  spans: number;
  errors: number;
  orphans: number;
  matched: number;
  svcs: { name: string; spans: number; errors: number; color?: number }[];
  match_span?: string;
}
interface TracesAnswer extends Scan {
  rows: TraceRow[];
}

/** The box as /traces takes it. */
const boxQuery = (box: UrlBox): string => (box.length === 4 ? [box[0], box[1], box[2] === '0' ? '' : box[2], box[3] === UNBOUNDED ? '' : box[3]].join(',') : '');

export default function SearchPage() {
  const p = params('traces');
  const q = p.q;
  const box = p.box;
  const sent = inEnvironment(q, p.env);
  const times = rangeQuery();
  const has = (feature: string) => meta.value?.features?.includes(feature) === true;

  // A pasted ID, also one in a link, is that trace.
  const id = hexId(q);
  useEffect(() => {
    if (id !== undefined) open('id', id);
  }, [id]);

  // Of the newest traces most are still arriving when the range ends now: those are shown when asked for, or when there
  // are no others.
  const settled = settledEnd(range.value, p);
  const listed = { q: sent, sort: p.sort, limit: LIMIT, cursor: p.cursor, box: boxQuery(box), ...pagedTimes(p.from, p.to, range.value) };
  const canCut = settled !== undefined && p.sort === 'newest' && box.length === 0;
  const whole = useApi<TracesAnswer>(id === undefined && canCut ? '/traces' : null, { ...listed, to: `now-${ARRIVING_S}s` });
  const isCut = canCut && whole.data?.rows.length !== 0;
  const all = useApi<TracesAnswer>(id === undefined && !isCut ? '/traces' : null, listed);
  const traces = isCut ? whole : all;
  // Range or environment have changed under a page: it is the page of another question.
  const isLost = p.cursor !== '' && traces.error?.status === 400 && traces.error.message.startsWith("parameter 'cursor'");
  useEffect(() => {
    if (isLost) navigate('traces', { cursor: '' }, 'replace');
  }, [isLost]);
  const heat = useApi<HeatAnswer>(p.view === 'heat' && has('heatmap') && id === undefined ? '/heatmap' : null, { q: sent, cols: 90, rows: 28, ...times });
  const scatter = useApi<TracesAnswer>(p.view === 'scatter' && id === undefined ? '/traces' : null, { q: sent, sort: 'newest', limit: SCATTER, ...times, to: String(settled ?? range.value.to) });
  const services = useApi<{ rows: { name: string }[] }>('/services', {}, { still: true });
  const chips = chipsOf(q) ?? [];
  const valueOf = (name: string): string => chips.find((c) => c.name === name && c.op === '=')?.value ?? '';
  const serviceText = valueOf('resource.service.name');
  const service = services.data?.rows.find((r) => JSON.stringify(r.name) === serviceText)?.name;
  const operations = useApi<{ rows: { name: string }[] }>(service === undefined ? null : `/services/${encodeURIComponent(service)}/operations`, {}, { still: true, keepData: false });

  const run = (next: string) => {
    const found = hexId(next);
    if (found !== undefined) open('id', found);
    else navigate('traces', { q: next, cursor: '' }, 'replace');
  };
  const setBox = (next: UrlBox) => navigate('traces', { box: next, cursor: '' }, 'replace');
  const slow = heat.data === undefined ? undefined : slowBox(heat.data);
  const selectSlow = () => {
    if (heat.data !== undefined && slow !== undefined) setBox(toUrl(heat.data, slow));
  };
  useKeys('Trace search', [
    { keys: 'b', label: 'Box the slowest', when: () => slow !== undefined, run: selectSlow },
    { keys: 'Shift B', label: 'Let go of the box', run: () => setBox([]) },
  ], [heat.data]);

  const queryError = [isLost ? undefined : traces.error, heat.error, scatter.error].find((e) => e?.status === 400);
  // A filter that cannot be read leaves what the last one found, dimmed; the query box says what is wrong.
  const isOld = queryError !== undefined;
  const held = <T,>(l: Loaded<T>): Loaded<T> => (isOld ? { ...l, error: undefined, isSlow: false } : l);
  const isShown = (l: Loaded<unknown>): boolean => !isOld || l.data !== undefined;
  const names = [...new Set((operations.data?.rows ?? []).map((r) => r.name))];
  return (
    <Page
      title={['Traces']}
      class="search"
      hold={box.length > 0 ? 'a box is selected' : p.cursor !== '' ? 'an older page is shown' : undefined}
      foot={
        traces.data === undefined ? undefined : (
          <>
            {heat.data !== undefined && `${plural(heat.data.spans, 'matching span')} · `}
            {scanText(traces.data)}
          </>
        )
      }
      bar={
        <>
          <Choice
            label="View"
            value={p.view}
            onChange={(view) => navigate('traces', { view }, 'replace')}
            options={[
              ['heat', 'Heatmap'],
              ['scatter', 'Scatter'],
              ['list', 'List'],
            ]}
          />
          {p.view === 'heat' && (
            <Button kind="quiet" icon="clock" disabled={slow === undefined} onClick={selectSlow} title="Box the slowest 5 %  b">
              Select slow
            </Button>
          )}
          {box.length > 0 && (
            <Button
              kind="quiet"
              icon="expand"
              title="Make the box's time the range"
              onClick={() => {
                setBox([]);
                setAbsoluteRange(BigInt(box[0]!), BigInt(box[1]!));
              }}
            >
              Zoom in
            </Button>
          )}
          {box.length > 0 && (
            <Chip label="the box" onRemove={() => setBox([])}>
              {box[3] === UNBOUNDED ? `${formatDuration(Number(box[2]))} and longer` : `${formatDuration(Number(box[2]))} – ${formatDuration(Number(box[3]))}`}
            </Chip>
          )}
        </>
      }
    >
      <div class="search-query">
        <QueryBox id="traces-query" signal="traces" value={q} error={queryError} onRun={run}>
          <Builder label="Service" name="resource.service.name" value={serviceText} options={services.data?.rows.map((r) => r.name) ?? []} onPick={(c) => run(withReplaced(withReplaced(q, 'name', ''), 'resource.service.name', c))} />
          <Builder label="Operation" name="name" value={valueOf('name')} options={names} onPick={(c) => run(withReplaced(q, 'name', c))} />
          <Builder label="Status" name="status" value={valueOf('status')} options={['error', 'ok', 'unset']} onPick={(c) => run(withReplaced(q, 'status', c))} />
        </QueryBox>
      </div>
      {p.view === 'heat' && has('heatmap') && isShown(heat) && heat.data?.cells.length !== 0 && (
        <div class={`search-charts ${box.length > 0 && has('compare') ? 'with-differs' : ''} ${isOld ? 'search-old' : ''}`}>
          <Answer of={held(heat)} class="search-chart" skeleton={<div class="search-chart bone" role="status" aria-label="Loading" />}>
            {(h) => (
              <>
                <p class="search-legend">
                  <span>
                    spans by time and duration · <span class="err-text">red</span>: share with errors
                  </span>
                  <span class="heat-scale">
                    1 <span class="heat-ramp" aria-hidden="true">{[1, 2, 3, 4, 5, 6].map((i) => <i key={i} class={`h${i}`} />)}</span> {formatCount(h.max)} in a cell
                  </span>
                </p>
                <Heatmap heat={h} box={box} onBox={setBox} />
                {!h.complete && <Note kind="warn">Time ran out: columns before the bright part may lack spans. A shorter range or a narrower filter is complete.</Note>}
                {h.approximate && <Note>The filter speaks of whole traces: spans that may match are counted.</Note>}
              </>
            )}
          </Answer>
          {box.length === 4 && has('compare') && <Differs q={sent} box={box} isOld={isOld} from={times.from} to={times.to} onCondition={(c) => run(withCondition(q, c))} />}
        </div>
      )}
      {p.view === 'scatter' && isShown(scatter) && scatter.data?.rows.length !== 0 && (
        <div class={`search-charts ${isOld ? 'search-old' : ''}`}>
          <Answer of={held(scatter)} class="search-chart" skeleton={<div class="search-chart bone" role="status" aria-label="Loading" />}>
            {(s) => {
              const to = settled ?? range.value.to;
              // When there are more, the time that is shown begins at the oldest.
              const oldest = s.cursor === undefined ? undefined : s.rows.reduce((a, r) => (BigInt(r.start) < a ? BigInt(r.start) : a), to - 1n);
              return (
                <>
                  <p class="search-legend">
                    <span>
                      traces by start and duration · <span class="err-text">red</span>: with errors
                      {oldest !== undefined && ` · the newest ${formatCount(s.rows.length)} traces, since ${formatMoment(oldest, 0)}; the heatmap counts all`}
                    </span>
                  </p>
                  <Scatter dots={s.rows} from={oldest ?? range.value.from} to={to} q={q} />
                </>
              );
            }}
          </Answer>
        </div>
      )}
      {isShown(traces) && (
        <div class={isOld ? 'search-old' : ''}>
          <List traces={held(traces)} q={q} isCut={isCut} canCut={canCut} />
        </div>
      )}
    </Page>
  );
}

/** Traces that began before this moment have arrived, as far as one can tell; undefined where the range has no younger
 *  ones, or they are wanted. */
function settledEnd(r: Range, p: { to: string; young: boolean }): bigint | undefined {
  const end = r.to - ARRIVING;
  return p.to === 'now' && !p.young && end > r.from ? end : undefined;
}

function List({ traces, q, isCut, canCut }: { traces: Loaded<TracesAnswer>; q: string; isCut: boolean; canCut: boolean }) {
  const p = params('traces');
  const asked = BigInt(traces.at_ms) * MS;
  // Where young ones were left out, all had their time: the server's clock was further when it answered than ours when it asked.
  const isYoung = (r: TraceRow): boolean => !isCut && BigInt(r.start) > asked - ARRIVING;
  const longest = (traces.data?.rows ?? []).reduce((m, r) => Math.max(m, Number(r.dur)), 1);
  const all: Column<TraceRow>[] = [
    { key: 'newest', head: 'Start', width: '168px', sorts: true, cell: (r) => <Time ns={r.start} /> },
    {
      key: 'root',
      head: 'Entry',
      cell: (r) => (
        <a class="search-root" href={traceHref(r.id, r.match_span ?? '', q === '' ? {} : { a: q })}>
          {r.has_root ? (
            <>
              <b>{r.root_svc === '' ? '(no name)' : r.root_svc}</b> {r.root_name}
              {isYoung(r) && <span class="dim"> · still arriving</span>}
            </>
          ) : isYoung(r) ? (
            <span class="dim">still arriving</span>
          ) : (
            <span class="dim">
              its root is not stored <span class="warn-text">⚠</span>
            </span>
          )}
        </a>
      ),
    },
    {
      key: 'slowest',
      head: 'Duration',
      width: '190px',
      sorts: true,
      cell: (r) => (
        <span class="search-dur">
          <span class="search-dur-bar" style={{ width: `${Math.max(1, (Number(r.dur) / longest) * 100)}px` }} />
          <span class="num">
            {isYoung(r) && '≥ '}
            {formatDuration(Number(r.dur))}
          </span>
        </span>
      ),
    },
    {
      key: 'spans',
      head: 'Spans',
      width: '76px',
      align: 'right',
      cell: (r) => (
        <span title={r.orphans > 0 && !isYoung(r) ? `${plural(r.orphans, 'orphan')}: their parent is not stored` : undefined}>
          {formatCount(r.spans)}
          {r.orphans > 0 && !isYoung(r) && <span class="warn-text"> ⚠</span>}
        </span>
      ),
    },
    { key: 'errors', head: 'Errors', width: '68px', align: 'right', cell: (r) => (r.errors > 0 ? <span class="err-text">✖ {formatCount(r.errors)}</span> : <span class="dim">0</span>) },
    { key: 'services', head: 'Services', width: '30%', cell: (r) => <Services row={r} /> },
    { key: 'matched', head: 'Matching', title: 'Spans that match the filter', width: '84px', align: 'right', optional: true, cell: (r) => formatCount(r.matched) },
    { key: 'id', head: 'Trace ID', width: '264px', class: 'mono', optional: true, cell: (r) => r.id },
  ];
  const columns = shownColumns('traces', all);
  return (
    <Answer of={traces} class="search-list" skeleton={<Skeleton rows={12} />}>
      {(t) => (
        <>
          <div class="search-caption" hidden={t.rows.length === 0 && t.complete}>
            <span>
              {t.cursor === undefined && p.cursor === '' ? '' : p.cursor === '' ? (p.sort === 'newest' ? 'The newest ' : 'The slowest ') : 'The next '}
              {plural(t.rows.length, 'trace')}
              {p.box.length > 0 ? ' with a span in the box' : ''}
              {isCut && p.cursor === '' && (
                <>
                  {` that began before ${formatClock(asked - ARRIVING + SECOND, 0)} · younger ones are still arriving: `}
                  <button type="button" class="linklike" onClick={() => navigate('traces', { young: true, cursor: '' }, 'replace')}>
                    show
                  </button>
                </>
              )}
              {p.young && p.sort === 'newest' && p.to === 'now' && p.cursor === '' && (
                <>
                  {' · also those still arriving: '}
                  <button type="button" class="linklike" onClick={() => navigate('traces', { young: false, cursor: '' }, 'replace')}>
                    leave out
                  </button>
                </>
              )}
            </span>
            {!t.complete && (
              <span class="warn-text">
                <Icon name="warning" size={14} /> Time ran out: there may be more than these.
              </span>
            )}
            <span class="grow" />
            <ColumnsMenu table="traces" all={all} />
            <Choice
              label="Order"
              value={p.sort}
              onChange={(sort) => navigate('traces', { sort, cursor: '' }, 'replace')}
              options={[
                ['newest', 'Newest first'],
                ['slowest', 'Slowest first'],
              ]}
            />
          </div>
          {t.rows.length === 0 ? (
            <Empty
              icon="search"
              title={reasonText(t.reason, 'No trace')}
              action={
                t.reason === 'no_data_yet' ? (
                  <a href={href('map')}>How to send the first span</a>
                ) : (
                  (q !== '' || p.box.length > 0) && <Button onClick={() => navigate('traces', { q: '', box: [], cursor: '' }, 'replace')}>Clear the filter</Button>
                )
              }
            >
              {t.reason === 'no_match' && <p>A longer range{q !== '' && ' or fewer conditions'}{p.env !== '' && ', or all environments,'} may find some.</p>}
            </Empty>
          ) : (
            <Table
              label="Traces"
              columns={columns}
              rows={t.rows}
              rowKey={(r) => r.id}
              sort={p.sort}
              onSort={(key) => navigate('traces', { sort: key === 'slowest' ? 'slowest' : 'newest', cursor: '' }, 'replace')}
              rowHref={(r) => traceHref(r.id, r.match_span ?? '', q === '' ? {} : { a: q })}
            />
          )}
          {(t.cursor !== undefined || p.cursor !== '') && (
            <div class="search-pages">
              {p.cursor !== '' && <Button onClick={() => navigate('traces', { cursor: '' }, 'push')}>First page</Button>}
              {t.cursor !== undefined && <Button onClick={() => navigate('traces', { cursor: t.cursor ?? '', young: p.young || (canCut && !isCut) }, 'push')}>Next {LIMIT}</Button>}
            </div>
          )}
        </>
      )}
    </Answer>
  );
}

/** The services with errors first, then the busiest, as many as there is room for. */
function Services({ row }: { row: TraceRow }) {
  const sorted = [...row.svcs].sort((a, b) => Number(b.errors > 0) - Number(a.errors > 0) || b.spans - a.spans);
  let room = 36;
  let shown = 0;
  while (shown < sorted.length && (shown === 0 || sorted[shown]!.name.length + 4 <= room)) room -= sorted[shown++]!.name.length + 4;
  return (
    <span class="search-services">
      {sorted.slice(0, shown).map((s, i) => (
        <span key={i} class="search-service" title={`${s.name}: ${plural(s.spans, 'span')}, ${plural(s.errors, 'error')}`}>
          {s.color !== undefined && <span class={serviceClass(s.color)} aria-hidden="true" />}
          <span class={`cut ${s.errors > 0 ? 'err-text' : ''}`}>{s.name === '' ? '(no name)' : s.name}</span>
        </span>
      ))}
      {sorted.length > shown && (
        <span class="dim" title={sorted.slice(shown).map((s) => s.name).join(', ')}>
          +{sorted.length - shown}
        </span>
      )}
    </span>
  );
}
