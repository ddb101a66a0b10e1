// SPDX-License-Identifier: Apache-2.0
// One span, in the side panel: what it is, its attributes, events, logs, links, and where it ran.
import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { useApi } from '../api/client.ts';
import type { OperationRow } from '../services/answer.ts';
import { filterOf, logsHref, serviceHref, traceHref, tracesHref } from '../lib/links.ts';
import { href, navigate, params } from '../lib/route.ts';
import { range, rangeQuery } from '../lib/time.ts';
import { formatCount, formatDuration, formatPercent, plural } from '../lib/units.ts';
import { Button, Choice, Copy, FindField } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { Answer, Note } from '../ui/states.tsx';
import { Time } from '../ui/text.tsx';
import type { KeyValue } from './anyvalue.ts';
import { Attribute, Attributes, type ConditionHref } from './attributes.tsx';
import { isMissing, nameOf, serviceOf, spanId } from './model.ts';
import { LogList, type TraceLogs } from './logs.tsx';
import { FLAG } from './tree.ts';
import type { TraceView } from './view.ts';

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind?: number | string;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  traceState?: string;
  attributes?: KeyValue[];
  events?: { timeUnixNano: string; name: string; attributes?: KeyValue[]; droppedAttributesCount?: number }[];
  links?: { traceId: string; spanId: string; traceState?: string; attributes?: KeyValue[] }[];
  status?: { code?: number | string; message?: string };
  droppedAttributesCount?: number;
  droppedEventsCount?: number;
  droppedLinksCount?: number;
}
export interface SpanDetail {
  span: Span;
  resource?: { attributes?: KeyValue[]; droppedAttributesCount?: number };
  scope?: { name?: string; version?: string; attributes?: KeyValue[] };
  service?: string;
}

const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'];
/** A search for spans with this condition, around the trace. */
const searchFrom = (t0: string) => {
  const times = timesAround(t0);
  return (condition: string): string => href('traces', '', { q: filterOf(condition), ...times });
};

/** The range to look in from this trace: the one that is shown, or the trace's surroundings when that lies outside. */
function timesAround(t0: string): { from?: string; to?: string } {
  const at = BigInt(t0);
  if (at >= range.value.from && at < range.value.to) return {};
  const quarter = 900_000_000_000n;
  return { from: (at - quarter).toString(), to: (at + quarter).toString() };
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** A share of peers as it is said; never "all" or "none" of what is only nearly so. */
export function rankText(rank: number, count: number): string {
  if (rank * count >= count - 0.5) return `the slowest of ${formatCount(count)} like it`;
  return rank < 0.01 ? `faster than 99 % of ${formatCount(count)} like it` : `slower than ${Math.floor(rank * 100)} % of ${formatCount(count)} like it`;
}

const FEW_PEERS = 20;

/** Where the span stands among those of its operation. Counted in minutes, not read from spans: it costs nothing. */
function Peers({ service, name, kind, dur, t0 }: { service: string; name: string; kind: string; dur: number; t0: string }) {
  const times = timesAround(t0);
  const got = useApi<{ rows: (OperationRow & { rank: number | null })[] }>(`/services/${encodeURIComponent(service)}/operations`,
    { ...(times.from === undefined ? rangeQuery() : times), name, kind, than: `${Math.round(dur)}ns`, spark: '0' }, { still: true });
  const row = got.data?.rows[0];
  if (row === undefined || row.rank === null || row.count < 2) return null;
  const title = `p50 ${formatDuration(row.p50)}, p95 ${formatDuration(row.p95)}, p99 ${formatDuration(row.p99)}`;
  return (
    <Fact name="Peers">
      {row.count < FEW_PEERS ? (
        <span class="dim" title={title}>only {row.count - 1} like it</span>
      ) : (
        <>
          <a class={row.rank >= 0.95 ? 'peers-slow' : ''} title={title} href={tracesHref({ service, operation: name, kind }, times)}>{rankText(row.rank, row.count)}</a>{' '}
          <span class="dim">p95 {formatDuration(row.p95)}</span>
        </>
      )}
    </Fact>
  );
}

/** Where in the trace. */
const offset = (ns: number): string => (ns === 0 ? 'with the trace' : `after ${formatDuration(ns)}`);

export function SpanPanel({ view, row, logs }: { view: TraceView; row: number; logs: TraceLogs }) {
  const t = view.trace;
  const id = spanId(t, row);
  const find = useSignal('');
  const tab = useSignal<'attributes' | 'events' | 'logs' | 'links'>('attributes');
  const which = useSignal(0);
  const missing = isMissing(t, row);
  const detail = useApi<{ spans: SpanDetail[] }>(missing ? null : `/trace/${t.header.id}/span/${id}`, {}, { still: true, keepData: false });
  const shown = detail.data?.spans[0]?.span;
  useEffect(() => {
    const t0 = BigInt(t.header.t0);
    view.events.value = { row, at: (shown?.events ?? []).map((e) => Number(BigInt(e.timeUnixNano) - t0)).sort((a, b) => a - b) };
    return () => {
      view.events.value = { row: -1, at: [] };
    };
  }, [view, row, shown]);
  const { spans: s, tree } = t;
  const whole = t.hi - t.lo;
  const mine = logs.rows.filter((r) => r.span_ix === row);
  const isRoot = params('trace').root === id;

  if (missing)
    return (
      <div class="span-panel">
        <Note kind="warn">
          This span has not arrived. {plural(tree.kids[row]!, 'span')} of this trace name it as their parent. It may have been lost or sampled away, or its
          service does not send to this server.
        </Note>
        <dl class="facts">
          <Fact name="Span ID">
            <span class="mono">{id}</span> <Copy text={id} label="Copy the ID" />
          </Fact>
          <Fact name="First child">{offset(s.start[row]! - t.lo)}</Fact>
        </dl>
      </div>
    );

  const service = serviceOf(t, row);
  return (
    <div class="span-panel">
      <dl class="facts">
        <Fact name="Service">
          {service === null ? <span class="dim">none</span> : <a href={serviceHref(service.name)}>{service.name === '' ? '(no name)' : service.name}</a>}
        </Fact>
        <Fact name="Duration">
          <b>{formatDuration(s.dur[row]!)}</b> <span class="dim">{formatPercent(s.dur[row]! / whole)} of the trace</span>
        </Fact>
        {service !== null && service.name !== '' && <Peers service={service.name} name={nameOf(t, row)} kind={KINDS[s.kind[row]!] ?? 'unspecified'} dur={s.dur[row]!} t0={t.header.t0} />}
        <Fact name="Own time">
          {formatDuration(tree.self[row]!)} {tree.kids[row]! > 0 && <span class="dim">{plural(tree.kids[row]!, 'child', 'children')}</span>}
        </Fact>
        <Fact name="Starts">
          {offset(s.start[row]! - t.lo)} <span class="dim">at</span> <Time ns={(BigInt(t.header.t0) + BigInt(Math.round(s.start[row]!))).toString()} digits={6} />
        </Fact>
        <Fact name="Kind">{KINDS[s.kind[row]!] ?? 'unspecified'}</Fact>
        <Fact name="Span ID">
          <span class="mono">{id}</span> <Copy text={id} label="Copy the span's ID" />
        </Fact>
      </dl>
      {(s.flags[row]! & FLAG.skewed) !== 0 && (
        <Note kind="warn">
          Its clock does not fit its parent's{t.shift !== null && t.shift[row] !== 0 && <>: it would fit if moved by {formatDuration(t.shift[row])}</>}.
        </Note>
      )}
      {(s.flags[row]! & FLAG.truncated) !== 0 && <Note kind="warn">This span was too large and has been cut when it arrived.</Note>}
      {(s.flags[row]! & FLAG.cycle) !== 0 && <Note kind="warn">Its parents form a circle; the link to its parent has been cut.</Note>}
      {(s.flags[row]! & FLAG.badTime) !== 0 && <Note kind="warn">Its times are impossible; what is shown has been put right as far as it goes.</Note>}
      <div class="span-acts">
        <Button icon="expand" pressed={isRoot} onClick={() => navigate('trace', { root: isRoot ? '' : id, zoom: [] }, 'push')}>
          {isRoot ? 'Show all' : 'Only this subtree'}
        </Button>
        <Button icon="search" onClick={() => view.zoomToSpan(row)}>
          Zoom to it
        </Button>
        <a class="button plain" href={logsHref({ trace: t.header.id, span: id }, timesAround(t.header.t0))}>
          <Icon name="logs" />
          <span>Logs</span>
        </a>
      </div>
      <Answer of={detail}>
        {(data) => {
          const one = data.spans[Math.min(which.value, data.spans.length - 1)];
          if (one === undefined) return <p class="dim">The server has no detail of this span.</p>;
          return (
            <>
              {data.spans.length > 1 && (
                <Note kind="warn">
                  {data.spans.length} spans came with this ID.{' '}
                  <button type="button" class="linklike" onClick={() => (which.value = (which.value + 1) % data.spans.length)}>
                    Show {which.value + 1 === data.spans.length ? 'the first' : 'the next'}
                  </button>
                </Note>
              )}
              <Detail one={one} hrefOf={searchFrom(t.header.t0)} find={find.value} onFind={(v) => (find.value = v)} tab={tab.value} onTab={(v) => (tab.value = v)} t0={BigInt(one.span.startTimeUnixNano)} logs={mine} view={view} />
            </>
          );
        }}
      </Answer>
    </div>
  );
}

function Detail({ one, hrefOf, find, onFind, tab, onTab, t0, logs, view }: {
  one: SpanDetail;
  hrefOf: ConditionHref;
  find: string;
  onFind: (v: string) => void;
  tab: 'attributes' | 'events' | 'logs' | 'links';
  onTab: (v: 'attributes' | 'events' | 'logs' | 'links') => void;
  t0: bigint;
  logs: TraceLogs['rows'];
  view: TraceView;
}) {
  const { span } = one;
  const events = span.events ?? [];
  const links = span.links ?? [];
  const message = span.status?.message ?? '';
  const isError = span.status?.code === 2 || span.status?.code === 'STATUS_CODE_ERROR';
  return (
    <>
      {isError && <Note kind="err">{message === '' ? 'Status error, without a message.' : message}</Note>}
      {!isError && message !== '' && <p class="dim">{message}</p>}
      <div class="span-tabs">
        <Choice
          label="Of the span"
          value={tab}
          onChange={onTab}
          options={[
            ['attributes', 'Attributes'],
            ['events', `Events ${events.length}`],
            ['logs', `Logs ${logs.length}`],
            ['links', `Links ${links.length}`],
          ]}
        />
      </div>
      {tab === 'attributes' && (
        <>
          <FindField label="Find in attributes" value={find} onInput={onFind} />
          <Attributes title="Span" scope="span" list={span.attributes ?? []} find={find} hrefOf={hrefOf} dropped={span.droppedAttributesCount} />
          <Attributes title="Resource" scope="resource" list={one.resource?.attributes ?? []} find={find} hrefOf={hrefOf} dropped={one.resource?.droppedAttributesCount} />
          <Attributes title={`Scope ${one.scope?.name ?? ''} ${one.scope?.version ?? ''}`.trim()} scope="instrumentation" list={one.scope?.attributes ?? []} find={find} hrefOf={hrefOf} />
          {(one.scope?.attributes ?? []).length === 0 && one.scope?.name !== undefined && one.scope.name !== '' && (
            <p class="dim small">
              Scope <span class="mono">{one.scope.name}</span> {one.scope.version}
            </p>
          )}
          {span.traceState !== undefined && span.traceState !== '' && (
            <p class="dim small">
              Trace state <span class="mono">{span.traceState}</span>
            </p>
          )}
        </>
      )}
      {tab === 'events' &&
        (events.length === 0 ? (
          <p class="dim">This span has no events.</p>
        ) : (
          events.map((e, i) => (
            <section key={i} class="event">
              <h3>
                ◆ {e.name === '' ? '(no name)' : e.name} <span class="dim">+{formatDuration(Number(BigInt(e.timeUnixNano) - t0))}</span>
              </h3>
              {(e.attributes ?? []).map((kv, k) => (
                <Attribute key={k} scope="event" kv={kv} hrefOf={hrefOf} />
              ))}
            </section>
          ))
        ))}
      {tab === 'events' && (span.droppedEventsCount ?? 0) > 0 && <p class="dim small">{plural(span.droppedEventsCount!, 'event')} dropped by the sender.</p>}
      {tab === 'logs' && (logs.length === 0 ? <p class="dim">No log record names this span.</p> : <LogList rows={logs} view={view} />)}
      {tab === 'links' &&
        (links.length === 0 ? (
          <p class="dim">This span has no links.</p>
        ) : (
          links.map((l, i) => (
            <section key={i} class="event">
              <h3>
                <a href={traceHref(l.traceId, l.spanId)} class="mono">
                  {l.traceId.slice(0, 8)}…{l.spanId}
                </a>{' '}
                <Copy text={l.traceId} label="Copy the trace's ID" />
              </h3>
              {(l.attributes ?? []).map((kv, k) => (
                <Attribute key={k} scope="link" kv={kv} hrefOf={hrefOf} />
              ))}
            </section>
          ))
        ))}
    </>
  );
}
