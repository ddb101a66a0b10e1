// SPDX-License-Identifier: Apache-2.0
// One service: how it does over time, what it answers, whom it waits for, where it runs.
import type { ComponentChildren } from 'preact';
import { useMemo } from 'preact/hooks';
import { useApi, type Loaded } from '../api/client.ts';
import { Chart, type Line } from '../charts/series.tsx';
import { fromPercentile, logsHref, traceHref, tracesHref, type SpanCriteria } from '../lib/links.ts';
import { href, navigate, openHref, params } from '../lib/route.ts';
import { formatDay, formatClock, rangeQuery, setAbsoluteRange, SECOND } from '../lib/time.ts';
import { formatCount, formatDuration, formatPercent, formatRate, formatRound, plural } from '../lib/units.ts';
import { countedAs, rateOf } from '../map/words.ts';
import { Page } from '../shell/page.tsx';
import { Button, Chip, Select } from '../ui/button.tsx';
import { Answer, Empty, Note, reasonText } from '../ui/states.tsx';
import { Table, type Column } from '../ui/table.tsx';
import { TabPanel, Tabs } from '../ui/tabs.tsx';
import { ErrorShare } from '../ui/text.tsx';
import type { Red } from '../map/answer.ts';
import type { Arrays, DependenciesAnswer, InstancesAnswer, OperationsAnswer, SeriesAnswer } from './answer.ts';
import { Dependencies, Instances, Operations } from './tables.tsx';

const PARTS = 6; // lines of a breakdown that one can tell apart

/** How a figure stands to the one before, in words and as a tone. */
function Change({ now, before, worse }: { now: number | null; before: number | null | undefined; worse: 'up' | 'none' }) {
  if (now === null || before === null || before === undefined || before === 0) return null;
  const change = now / before - 1;
  if (Math.abs(change) < 0.05) return null;
  const text = Math.abs(change) >= 9.995 ? `${change > 0 ? '+' : '−'}${Math.round(Math.abs(change))}×` : `${change > 0 ? '+' : '−'}${Math.round(Math.abs(change) * 100)} %`;
  return <span class={worse === 'up' && change > 0.5 ? 'warn-text' : 'dim'} title="Against the same length of time right before">{text}</span>;
}

function Headline({ answer, criteria }: { answer: SeriesAnswer; criteria: SpanCriteria }) {
  const { prev } = answer, few = answer.count < 20, counted = plural(answer.count, countedAs(answer.basis));
  const item = (label: string, value: string, link: string | undefined, change: ComponentChildren, tone = '', title = '') => (
    <div class="service-figure" title={title}>
      <dt>{label}</dt>
      <dd class={tone}>{link === undefined ? value : <a class="door" href={link}>{value}</a>}</dd>
      <dd class="service-change">{change}</dd>
    </div>
  );
  const time = (key: 'p50' | 'p95' | 'p99') =>
    item(key, formatDuration(answer[key]), answer[key] === null ? undefined : tracesHref({ ...criteria, minDuration_ns: fromPercentile(answer[key]!) }),
      <Change now={answer[key]} before={prev?.[key]} worse="up" />, few ? 'dim' : '',
      `of ${counted}, ±${(answer.bound * 100).toFixed(1)} %${few ? ': too few to say much' : ''}`);
  return (
    <dl class="service-figures">
      {item('rate', rateOf(answer), tracesHref(criteria), <Change now={answer.rate} before={prev?.rate} worse="none" />, '', counted)}
      {item('errors', formatPercent(answer.err), answer.errors > 0 ? tracesHref({ ...criteria, isError: true }) : undefined,
        <Change now={answer.err} before={prev?.err} worse="up" />, (answer.err ?? 0) >= 0.001 ? 'err-text' : '', `${formatCount(answer.errors)} of ${counted}`)}
      {time('p50')}
      {time('p95')}
      {time('p99')}
    </dl>
  );
}

const DASH = [4, 4], FINE = [2, 3];

function linesOf(data: SeriesAnswer): { rate: Line[]; err: Line[]; time: Line[] } {
  const s = data.series, before = data.prev?.series;
  if (data.by !== undefined) {
    const parts = data.by.slice(0, PARTS), of = (pick: (k: (typeof parts)[number]) => (number | null)[]): Line[] =>
      parts.map((part, i) => ({ label: part.key === '' ? '(none)' : part.key, values: pick(part), color: `s${i}` }));
    return { rate: of((part) => part.series.rate), err: of((part) => part.series.err), time: of((part) => part.series.p95) };
  }
  const old = (values: (number | null)[] | undefined, label = 'before'): Line[] =>
    (values === undefined || values.every((v) => v === null) ? [] : [{ label, values, color: 'edge', width: 1, dash: FINE }]);
  return {
    rate: [{ label: `${countedAs(data.basis)}s`, values: s.rate, color: 'accent', fill: 'accent-bg' }, ...old(before?.rate)],
    err: [{ label: 'errors', values: s.err, color: 'err', fill: 'err-bg' }, ...old(before?.err)],
    time: [
      { label: 'p50', values: s.p50, color: 'accent', width: 1 },
      { label: 'p95', values: s.p95, color: 'accent', width: 2.5 },
      { label: 'p99', values: s.p99, color: 'accent', width: 1, dash: DASH },
      ...old(before?.p95, 'p95 before'),
    ],
  };
}

function Charts({ data, criteria, by }: { data: SeriesAnswer; criteria: SpanCriteria; by: string }) {
  const lines = useMemo(() => linesOf(data), [data]);
  const brush = (from: bigint, to: bigint): void => setAbsoluteRange(from, to);
  const door = (more: Partial<SpanCriteria>) => (from: bigint, to: bigint): void => {
    openHref(tracesHref({ ...criteria, ...more }, { from: from.toString(), to: to.toString() }));
  };
  const unit = countedAs(data.basis), many = data.by !== undefined, common = {
    t0: data.t0, step_s: data.step_s, group: 'service', onBrush: brush, height: 148,
  };
  const counted = many ? {} : { counts: data.series.count, bound: data.bound, unit };
  const totals = (list: readonly Line[], pick: (red: Omit<Red, 'rate'> & { rate: number | null }) => number | null): (number | null)[] | undefined =>
    (many ? data.by!.slice(0, PARTS).map(pick) : list.map((line) =>
      (line.label === 'before' ? (data.prev === undefined ? null : pick(data.prev)) : line.label === 'p95 before' ? data.prev?.p95 ?? null
        : line.label === 'p99' ? data.p99 : line.label === 'p50' ? data.p50 : pick(data))));
  const hidden = (data.by?.length ?? 0) - PARTS + (data.by_hidden ?? 0);
  return (
    <section class="card service-charts" aria-label="Over time">
      <Chart {...common} bare title="Rate" lines={lines.rate} format={formatRate} least={0.1} totals={totals(lines.rate, (r) => r.rate)}
        summary={`${formatRate(data.rate)} on average, ${plural(data.count, unit)}.`} onOpen={door({})} />
      <Chart {...common} {...counted} bare title="Errors" lines={lines.err} format={formatPercent} least={0.01} totals={totals(lines.err, (r) => r.err)}
        summary={`${formatPercent(data.err)} of the ${unit}s failed.`} onOpen={door({ isError: true })} />
      <Chart {...common} {...counted} title={many ? 'Duration, p95' : 'Duration'} lines={lines.time} format={formatDuration} least={1e6} totals={totals(lines.time, (r) => r.p95)}
        summary={`Half took at most ${formatDuration(data.p50)}, 95 % at most ${formatDuration(data.p95)}, 99 % at most ${formatDuration(data.p99)}.`}
        onOpen={door(data.p95 === null ? {} : { minDuration_ns: fromPercentile(data.p95) })} />
      <p class="dim service-hint">
        {many && hidden > 0 && `${formatCount(hidden)} more by ${by} not drawn. `}
        Drag to zoom, click for the traces there. {data.prev !== undefined && data.prev.rate !== null && !many && 'Dotted: the same length of time right before. '}
        {data.partial && 'The last point is not over yet.'}
      </p>
    </section>
  );
}

/** The charts' numbers as a table: each step, and in a breakdown each part that was called in it. */
function SeriesTable({ data }: { data: SeriesAnswer }) {
  interface Point { i: number; part: string; of: Arrays }
  const parts = data.by?.map((part) => ({ part: part.key === '' ? '(none)' : part.key, of: part.series })) ?? [{ part: '', of: data.series }];
  const rows: Point[] = data.series.rate.flatMap((_, i) =>
    parts.filter(({ of }) => data.by === undefined || of.count[i]! > 0).map((part) => ({ i, ...part })));
  const columns: Column<Point>[] = [
    {
      key: 'time', head: 'Time', cell: ({ i }) => {
        const at = BigInt(data.t0) + BigInt(i * data.step_s) * SECOND;
        return <span class="mono">{`${formatDay(at)} ${formatClock(at, 0)}`}</span>;
      },
    },
    ...(data.by === undefined ? [] : [{ key: 'part', head: 'Part', cell: ({ part }: Point) => <span title={part}>{part}</span> }]),
    { key: 'rate', head: 'Rate', align: 'right', width: '96px', cell: ({ i, of }) => formatRate(of.rate[i]) },
    { key: 'count', head: data.basis === 'all' ? 'Spans' : 'Calls', align: 'right', width: '96px', cell: ({ i, of }) => formatCount(of.count[i]) },
    { key: 'err', head: 'Errors', align: 'right', width: '96px', cell: ({ i, of }) => <ErrorShare share={of.err[i]} /> },
    { key: 'p50', head: 'p50', align: 'right', width: '96px', cell: ({ i, of }) => formatDuration(of.p50[i]) },
    { key: 'p95', head: 'p95', align: 'right', width: '96px', cell: ({ i, of }) => formatDuration(of.p95[i]) },
    { key: 'p99', head: 'p99', align: 'right', width: '96px', cell: ({ i, of }) => formatDuration(of.p99[i]) },
  ];
  return (
    <section class="card">
      <Table label="Over time" columns={columns} rows={rows} rowKey={({ i, part }) => `${i} ${part}`} />
      {(data.by_hidden ?? 0) > 0 && <p class="dim pad">{formatCount(data.by_hidden!)} more parts are not shown.</p>}
    </section>
  );
}

function Part<T extends { rows?: unknown[]; reason?: string }>({ title, of, more, children }: { title: string; of: Loaded<T>; more: string; children: (data: T) => ComponentChildren }) {
  return (
    <section class="card">
      <header>
        <h2>{title}</h2>
        <span class="grow" />
        <a href={more}>All</a>
      </header>
      <Answer of={of}>{children}</Answer>
    </section>
  );
}

export default function ServicePage() {
  const p = params('service');
  const path = `/services/${encodeURIComponent(p.name)}`;
  const common = { ...rangeQuery(), env: p.env, ns: p.ns };
  const onOverview = p.tab === 'overview';
  const series = useApi<SeriesAnswer>(`${path}/series`, { ...common, op: p.op, kind: p.kind, by: p.by === 'none' ? '' : p.by, prev: 'period' });
  const operations = useApi<OperationsAnswer>(onOverview || p.tab === 'operations' ? `${path}/operations` : null, { ...common, limit: onOverview ? 10 : 500 });
  const dependencies = useApi<DependenciesAnswer>(onOverview || p.tab === 'dependencies' ? `${path}/dependencies` : null, common);
  const instances = useApi<InstancesAnswer>(p.tab === 'instances' ? `${path}/instances` : null, { ...rangeQuery(), env: p.env });
  const criteria: SpanCriteria = { service: p.name, ...(p.op === '' ? {} : { operation: p.op }), ...(p.kind === '' ? { isEntry: series.data?.basis === 'entry' } : { kind: p.kind }) };
  const here = (patch: Parameters<typeof navigate<'service'>>[1]): string => href('service', p.name, { ns: p.ns, ...patch });
  const tab = ['operations', 'dependencies', 'instances'].includes(p.tab) ? p.tab : 'overview';

  const bar = (
    <>
      <Tabs label="Parts of the service" value={tab} onChange={(next) => navigate('service', { tab: next, sort: '' }, 'push')}
        tabs={[['overview', 'Overview'], ['operations', 'Operations'], ['dependencies', 'Dependencies'], ['instances', 'Instances']]} />
      {p.ns !== '' && <Chip label="namespace" onRemove={() => navigate('service', { ns: '' }, 'replace')}>{`namespace ${p.ns}`}</Chip>}
      {p.op !== '' && <Chip label="operation" onRemove={() => navigate('service', { op: '', kind: '' }, 'push')}>{p.op}</Chip>}
      {p.kind !== '' && <Chip label="kind" onRemove={() => navigate('service', { kind: '' }, 'replace')}>{p.kind}</Chip>}
    </>
  );
  const foot = series.data !== undefined && (
    <span>
      {plural(series.data.count, countedAs(series.data.basis))} · steps of {formatRound(series.data.step_s * 1e9)} · percentiles ±{(series.data.bound * 100).toFixed(1)} % ·{' '}
      {series.data.partial ? 'the last step is not over' : 'complete'} · {Math.round(series.data.took_ms)} ms
    </span>
  );
  return (
    <Page title={[{ text: 'Services', href: href('services') }, p.name]} bar={bar} foot={foot} class="service-page">
      <TabPanel tab={tab} class="pad stack">
        <header class="service-head">
          {series.data !== undefined ? <Headline answer={series.data} criteria={criteria} /> : <span />}
          <div class="service-doors">
            <a class="button plain" href={href('map', '', { find: p.name })}>On the map</a>
            <a class="button plain" href={tracesHref(criteria)}>Traces</a>
            <a class="button plain" href={tracesHref({ ...criteria, isError: true })}>Failed traces</a>
            <a class="button plain" href={logsHref({ service: p.name })}>Logs</a>
          </div>
        </header>
        {tab === 'overview' && (
          <>
            <Answer of={series}>
              {(data) => {
                if (data.count === 0) return <Silent name={p.name} reason={data.reason} hasOp={p.op !== ''} />;
                return (
                  <>
                    <div class="service-switches">
                      <Select label="Split by" value={p.by} onChange={(by) => navigate('service', { by }, 'replace')}
                        options={[['none', 'Together'], ['operation', 'By operation'], ['kind', 'By kind'], ['status', 'By status'], ['env', 'By environment']]} />
                      <Button kind="quiet" icon="table" pressed={p.table} onClick={() => navigate('service', { table: !p.table }, 'replace')}>As a table</Button>
                      {data.basis === 'all' && <Note>It answers no calls: all its spans are counted.</Note>}
                      {data.slow !== undefined && <a href={traceHref(data.slow.trace, data.slow.span)}>Slowest seen: {formatDuration(data.slow.dur)}</a>}
                      {data.fail !== undefined && <a class="err-text" href={traceHref(data.fail.trace, data.fail.span)}>One that failed</a>}
                    </div>
                    {p.table ? <SeriesTable data={data} /> : <Charts data={data} criteria={criteria} by={p.by} />}
                  </>
                );
              }}
            </Answer>
            <Part title="Operations by impact" of={operations} more={here({ tab: 'operations' })}>
              {(data) => <Operations rows={data.rows} service={p.name} ns={p.ns} sort="" short />}
            </Part>
            <Part title="Where its time goes" of={dependencies} more={here({ tab: 'dependencies' })}>
              {(data) => <Dependencies data={data} service={p.name} short />}
            </Part>
          </>
        )}
        {tab === 'operations' && (
          <section class="card">
            <Answer of={operations}>
              {(data) => (data.rows.length === 0 ? <Silent name={p.name} reason={data.reason} hasOp={false} /> : (
                <>
                  <Operations rows={data.rows} service={p.name} ns={p.ns} sort={p.sort} onSort={(sort) => navigate('service', { sort }, 'replace')} />
                  {data.hidden > 0 && <p class="dim pad">{formatCount(data.hidden)} more, with less impact, are not shown.</p>}
                </>
              ))}
            </Answer>
          </section>
        )}
        {tab === 'dependencies' && <Answer of={dependencies}>{(data) => <Dependencies data={data} service={p.name} />}</Answer>}
        {tab === 'instances' && (
          <section class="card">
            <Answer of={instances}>{(data) => (data.rows.length === 0 ? <Silent name={p.name} reason={data.reason} hasOp={false} /> : <Instances data={data} service={p.name} />)}</Answer>
          </section>
        )}
      </TabPanel>
    </Page>
  );
}

function Silent({ name, reason, hasOp }: { name: string; reason: string | undefined; hasOp: boolean }) {
  return (
    <Empty icon="services" title={reason === 'no_match' || reason === undefined ? `${name} has no ${hasOp ? 'such spans' : 'spans'} in this range.` : reasonText(reason)}
      action={hasOp ? <Button onClick={() => navigate('service', { op: '', kind: '' }, 'push')}>All operations</Button>
        : <Button onClick={() => navigate('service', { from: 'now-24h', to: 'now' }, 'push')}>Look at the last 24 hours</Button>} />
  );
}
