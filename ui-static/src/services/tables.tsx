// SPDX-License-Identifier: Apache-2.0
// The tables of a service: operations, dependencies, instances.
import { Spark, topOf } from '../charts/spark.tsx';
import { attributeName, filterOf, quote, traceHref, tracesHref } from '../lib/links.ts';
import { href } from '../lib/route.ts';
import { formatCount, formatDuration, formatPercent, formatRate, plural } from '../lib/units.ts';
import { Note } from '../ui/states.tsx';
import { Table, type Column } from '../ui/table.tsx';
import { ErrorShare, serviceClass, ServiceName } from '../ui/text.tsx';
import { SLOTS } from '../trace/colors.ts';
import { gapText, kindWord } from '../map/words.ts';
import type { DependenciesAnswer, DependencyRow, InstancesAnswer, OperationRow } from './answer.ts';
import { Bar, hrefOf, Percentile } from './page.tsx';
import { isDescending, nextOrder, readOrder, sorted } from './sort.ts';

const operationValue = (row: OperationRow, key: string): string | number | null => {
  switch (key) {
    case 'name': return row.name.toLowerCase();
    case 'kind': return row.kind;
    case 'rate': return row.rate;
    case 'err': return row.err;
    case 'p50': return row.p50;
    case 'p95': return row.p95;
    case 'p99': return row.p99;
    case 'share': return row.share;
    default: return row.impact;
  }
};

export function Operations({ rows, service, ns, sort, onSort, short = false }: {
  rows: readonly OperationRow[]; service: string; ns: string; sort: string; onSort?: (sort: string) => void; short?: boolean;
}) {
  const order = readOrder(sort === '' ? 'impact' : sort);
  const of = (row: OperationRow) => ({ service, operation: row.name, kind: row.kind });
  const own = (row: OperationRow): string => href('service', service, { ns, op: row.name, kind: row.kind });
  const all: (Column<OperationRow> & { long?: boolean })[] = [
    { key: 'name', head: 'Operation', sorts: true, cell: (row) => <a href={own(row)} title={row.name}>{row.name === '' ? '(no name)' : row.name}</a> },
    { key: 'kind', head: 'Kind', sorts: true, width: '84px', class: 'dim', cell: (row) => row.kind },
    { key: 'rate', head: 'Rate', sorts: true, align: 'right', width: '88px', cell: (row) => <a class="door" href={tracesHref(of(row))} title={plural(row.count, 'span')}>{formatRate(row.rate)}</a> },
    { key: 'rate-line', head: '', grows: true, width: '88px', cell: (row) => (row.spark_rate === undefined ? null : <Spark points={row.spark_rate} label={`Rate: at most ${formatRate(topOf(row.spark_rate))}`} />) },
    {
      key: 'err', head: 'Errors', sorts: true, align: 'right', width: '76px',
      cell: (row) => (row.errors > 0 ? <a class="door" href={tracesHref({ ...of(row), isError: true })}><ErrorShare share={row.err} /></a> : <ErrorShare share={row.err} />),
    },
    { key: 'p50', head: 'p50', sorts: true, align: 'right', width: '80px', cell: (row) => <Percentile row={row} of="p50" criteria={of(row)} /> },
    { key: 'p95', head: 'p95', sorts: true, align: 'right', width: '80px', cell: (row) => <Percentile row={row} of="p95" criteria={of(row)} /> },
    { key: 'p95-line', head: '', grows: true, width: '88px', cell: (row) => (row.spark_p95 === undefined ? null : <Spark points={row.spark_p95} label={`p95: at most ${formatDuration(topOf(row.spark_p95))}`} />) },
    { key: 'p99', head: 'p99', sorts: true, align: 'right', width: '80px', cell: (row) => <Percentile row={row} of="p99" criteria={of(row)} /> },
    { key: 'share', head: 'Time', title: 'Its spans’ time as a share of the time of the calls answered; parallel work may pass 100 %', sorts: true, align: 'right', width: '72px', long: true, cell: (row) => formatPercent(row.share) },
    { key: 'impact', head: 'Impact', title: 'Rate × p95, as a share of all operations', sorts: true, width: '148px', cell: (row) => <Bar share={row.impact} label={`${formatPercent(row.impact)} of all operations’ rate × p95`} /> },
  ];
  const columns = all.filter((c) => !short || c.long !== true);
  return (
    <Table label="Operations" columns={columns} rows={sorted(rows, order, operationValue, (row) => `${row.name}\n${row.kind}`)} rowKey={(row) => `${row.kind} ${row.name}`}
      sort={order.key} descending={isDescending(order, order.key === 'name' || order.key === 'kind')} rowHref={own}
      {...(onSort === undefined ? {} : { onSort: (key: string) => onSort(nextOrder(sort === '' ? 'impact' : sort, key)) })} />
  );
}

function Far({ row }: { row: DependencyRow }) {
  const { node } = row;
  return node.kind === 'service' ? (
    <a class="plainlink" href={hrefOf(node)}><ServiceName name={node.name} color={node.color ?? 0} /></a>
  ) : (
    <span title={node.name}>{node.name === '' ? '(no name)' : node.name}</span>
  );
}

function Direction({ rows, label, isOut }: { rows: readonly DependencyRow[]; label: string; isOut: boolean }) {
  const columns: readonly Column<DependencyRow>[] = [
    { key: 'name', head: isOut ? 'Calls' : 'Called by', cell: (row) => <Far row={row} /> },
    { key: 'what', head: 'What', width: '168px', class: 'dim', cell: (row) => `${row.via !== undefined ? `by way of ${row.via}` : row.async ? `messages${row.system === '' ? '' : ` (${row.system})`}` : row.node.kind === 'service' ? 'service' : kindWord({ kind: row.node.kind, system: row.system })}` },
    { key: 'rate', head: 'Rate', align: 'right', width: '88px', cell: (row) => <span title={plural(row.count, 'call')}>{formatRate(row.rate)}</span> },
    { key: 'err', head: 'Errors', align: 'right', width: '76px', cell: (row) => (row.fail === undefined ? <ErrorShare share={row.err} /> : <a class="door" href={traceHref(row.fail.trace, row.fail.span)}><ErrorShare share={row.err} /></a>) },
    { key: 'p50', head: 'p50', align: 'right', width: '80px', cell: (row) => <Time row={row} of="p50" /> },
    { key: 'p95', head: 'p95', align: 'right', width: '80px', cell: (row) => <Time row={row} of="p95" /> },
    { key: 'p99', head: 'p99', align: 'right', width: '80px', cell: (row) => (row.slow === undefined ? <Time row={row} of="p99" /> : <a class="door" href={traceHref(row.slow.trace, row.slow.span)} title="The slowest seen"><Time row={row} of="p99" /></a>) },
    {
      key: 'share', head: isOut ? 'Waiting' : 'Time', width: '148px', title: isOut ? 'The calls’ time as a share of the time in this service; calls at once add up' : 'Time of the calls from there, as a share of all',
      cell: (row) => (row.via !== undefined ? <span class="dim">not waited for</span> : <Bar share={row.share} label={`${formatDuration(row.time)}, ${formatPercent(row.share)}`} />),
    },
  ];
  return <Table label={label} columns={columns} rows={[...rows].sort((a, b) => b.share - a.share)} rowKey={(row) => `${row.node.id} ${row.type} ${row.via ?? ''}`} {...(rows.every((row) => row.node.kind === 'service') ? { rowHref: (row: DependencyRow) => hrefOf(row.node) } : {})} />;
}

function Time({ row, of }: { row: DependencyRow; of: 'p50' | 'p95' | 'p99' }) {
  const server = row.server?.[of];
  const title = `of ${plural(row.n, 'call')}, measured by the ${row.side === 'client' ? 'caller' : 'callee'}${server === undefined || server === null ? '' : `; the callee says ${formatDuration(server)}`}`;
  return <span class={row.n < 20 ? 'dim' : ''} title={title}>{formatDuration(row[of])}</span>;
}

/** Own time against waiting: what is left when the calls that are waited for are taken away, if they do not overlap. */
export function ownTime(data: Pick<DependenciesAnswer, 'time' | 'out'>): { own: number; waiting: number; overlaps: boolean } {
  const waiting = data.time > 0 ? data.out.filter((row) => row.via === undefined && !row.async).reduce((sum, row) => sum + row.time, 0) / data.time : 0;
  return { own: Math.max(0, 1 - waiting), waiting, overlaps: waiting > 1 };
}

export function Dependencies({ data, service, short = false }: { data: DependenciesAnswer; service: string; short?: boolean }) {
  const { own, waiting, overlaps } = ownTime(data), most = short ? 8 : 1000;
  const busiest = data.out.filter((row) => row.via === undefined && !row.async && row.share > 0.005).sort((a, b) => b.share - a.share).slice(0, 7);
  const scale = Math.max(1, waiting);
  // The services have their own colours; what is none takes what is left.
  const given = new Set(busiest.flatMap((row) => (row.node.color === undefined ? [] : [row.node.color])));
  let free = 0;
  const slots = busiest.map((row) => {
    if (row.node.color !== undefined) return row.node.color;
    while (given.has(free) && free < SLOTS) free++;
    return free++ % SLOTS;
  });
  return (
    <div class={short ? 'service-deps' : 'stack'}>
      {data.time > 0 && (
        <figure class={`split ${short ? '' : 'card'}`} aria-label={`Own work ${formatPercent(own)}, waiting ${formatPercent(waiting)}`}>
          <div class="split-bar" aria-hidden="true">
            <span class="key-own" style={{ width: `${(100 * own) / scale}%` }} />
            {busiest.map((row, i) => <span key={row.node.id} class={serviceClass(slots[i]!)} style={{ width: `${(100 * row.share) / scale}%` }} />)}
          </div>
          <figcaption>
            {overlaps ? (
              <span>Calls overlap: together they take {waiting.toFixed(1)} times the service’s own time.</span>
            ) : (
              <span><i class="key key-own" /> own work {formatPercent(own)}</span>
            )}
            {busiest.map((row, i) => (
              <span key={row.node.id}><i class={serviceClass(slots[i]!)} /> {row.node.name} {formatPercent(row.share)}</span>
            ))}
          </figcaption>
        </figure>
      )}
      {(data.gaps ?? []).map((gap) => (
        <Note key={gap.why} kind="warn">
          {formatCount(gap.count)} {gapText[gap.why]?.short ?? gap.why}. {gapText[gap.why]?.long}{' '}
          {gap.samples.slice(0, 3).map((id, i) => <a key={id} href={traceHref(id)}>{i === 0 ? 'Example' : ` ${i + 1}`}</a>)}
        </Note>
      ))}
      {data.out.length > 0 && <section class={short ? '' : 'card'}><Direction rows={data.out.slice(0, most)} label={`What ${service} calls`} isOut /></section>}
      {data.in.length > 0 && <section class={short ? '' : 'card'}><p class="dim service-saw">Errors as the callers saw them: an answer of 4xx counts too.</p><Direction rows={data.in.slice(0, most)} label={`What calls ${service}`} isOut={false} /></section>}
      {data.out.length + data.in.length === 0 && <p class="dim pad">No calls from or to {service} are known in this range.</p>}
    </div>
  );
}

export function Instances({ data, service }: { data: InstancesAnswer; service: string }) {
  type Row = InstancesAnswer['rows'][number];
  const busiest = Math.max(1, ...data.rows.map((row) => row.count));
  const query = (row: Row, isError = false): string =>
    filterOf(`resource.service.name = ${quote(service)}`, data.basis === 'entry' && '(kind = server || kind = consumer)', row.name === '' ? undefined : `${attributeName('resource', 'service.instance.id')} = ${quote(row.name)}`, isError && 'status = error');
  const columns: readonly Column<Row>[] = [
    { key: 'name', head: 'Instance', cell: (row) => <span class="mono" title={row.name}>{row.name === '' ? '(no service.instance.id)' : row.name}</span> },
    { key: 'count', head: data.basis === 'entry' ? 'Calls' : 'Spans', align: 'right', width: '104px', cell: (row) => formatCount(row.count) },
    { key: 'rate', head: 'Rate', align: 'right', width: '96px', cell: (row) => <a class="door" href={tracesHref(query(row))}>{formatRate(row.rate)}</a> },
    { key: 'err', head: 'Errors', align: 'right', width: '96px', cell: (row) => (row.errors > 0 ? <a class="door" href={tracesHref(query(row, true))}><ErrorShare share={row.err} /></a> : <ErrorShare share={row.err} />) },
    { key: 'share', head: 'Against the busiest', width: '160px', cell: (row) => <Bar share={row.count / busiest} label={plural(row.count, data.basis === 'entry' ? 'call' : 'span')} /> },
  ];
  return (
    <>
      {!data.complete && <Note kind="warn">Not everything was read: {formatCount(data.scanned?.rows ?? 0)} spans were, the counts are of those. Narrow the range for all.</Note>}
      <Table label="Instances" columns={columns} rows={data.rows} rowKey={(row) => row.name} rowHref={(row) => tracesHref(query(row))} />
    </>
  );
}
