// SPDX-License-Identifier: Apache-2.0
// All services with their numbers, the ones that weigh most first.
import { useMemo } from 'preact/hooks';
import { useApi } from '../api/client.ts';
import { Spark, topOf } from '../charts/spark.tsx';
import { fromPercentile, type SpanCriteria, tracesHref } from '../lib/links.ts';
import { href, navigate, params } from '../lib/route.ts';
import { preferences } from '../lib/store.ts';
import { rangeQuery } from '../lib/time.ts';
import { formatCount, formatDuration, formatPercent, formatRate, plural } from '../lib/units.ts';
import { countedAs, rateOf } from '../map/words.ts';
import { hasData } from '../shell/server.tsx';
import { Page } from '../shell/page.tsx';
import { Button, Chip, FindField, Select } from '../ui/button.tsx';
import { Answer, Empty, reasonText } from '../ui/states.tsx';
import { ColumnsMenu, shownColumns } from '../ui/columns.tsx';
import { Table, type Column } from '../ui/table.tsx';
import { ErrorShare, ServiceName, Time } from '../ui/text.tsx';
import type { RedRow, ServiceRow, ServicesAnswer } from './answer.ts';
import { isDescending, nextOrder, readOrder, sorted, toCsv } from './sort.ts';

export const FEW = 20;

/** A percentile: grey where too few calls stand behind it, and a door to what was slower. */
export function Percentile({ row, of, criteria }: { row: RedRow & { basis?: ServiceRow['basis'] }; of: 'p50' | 'p95' | 'p99'; criteria?: SpanCriteria }) {
  const value = row[of];
  if (value === null) return <span class="dim">–</span>;
  const title = `of ${plural(row.count, countedAs(row.basis))}${row.count < FEW ? ': too few to say much' : ''}`;
  const text = formatDuration(value);
  if (criteria === undefined) return <span class={row.count < FEW ? 'dim' : ''} title={title}>{text}</span>;
  return (
    <a class={`door ${row.count < FEW ? 'dim' : ''}`} title={title} href={tracesHref({ ...criteria, minDuration_ns: fromPercentile(value) })}>
      {text}
    </a>
  );
}

/** A share of all as a bar with its figure. */
export function Bar({ share, label }: { share: number; label: string }) {
  const width = 100 * Math.max(0, Math.min(1, share));
  return (
    <span class="sharebar" title={label}>
      <svg width="64" height="10" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
        <rect class="sharebar-all" x="0" y="1" width="100" height="8" />
        <rect class="sharebar-part" x="0" y="1" width={width} height="8" />
      </svg>
      <span class="num">{share > 0 && share < 0.01 ? '<1 %' : `${Math.round(share * 100)} %`}</span>
    </span>
  );
}

export const hrefOf = (row: { name: string; ns?: string }): string => href('service', row.name, { ns: row.ns ?? '' });

const value = (row: ServiceRow, key: string): string | number | null => {
  switch (key) {
    case 'name': return row.name.toLowerCase();
    case 'ns': return row.ns.toLowerCase();
    case 'rate': return row.rate;
    case 'err': return row.err;
    case 'p50': return row.p50;
    case 'p95': return row.p95;
    case 'p99': return row.p99;
    default: return row.impact;
  }
};

/** The spans that a service's numbers count. */
const spansOf = (row: ServiceRow): SpanCriteria => ({ service: row.name, isEntry: row.basis === 'entry' });

const columns: readonly Column<ServiceRow>[] = [
  { key: 'name', head: 'Service', sorts: true, cell: (row) => <ServiceLink row={row} /> },
  { key: 'ns', head: 'Namespace', sorts: true, width: '112px', class: 'dim', cell: (row) => row.ns },
  { key: 'envs', head: 'Environments', width: '140px', class: 'dim', optional: true, cell: (row) => <span title={row.envs.join(', ')}>{row.envs.join(', ')}</span> },
  {
    key: 'rate', head: 'Rate', sorts: true, align: 'right', width: '104px',
    cell: (row) => (row.count === 0 ? <span class="dim">–</span> : <a class="door" href={tracesHref(spansOf(row))} title={row.basis === 'all' ? `${plural(row.count, 'span')}: it answers no calls, all its spans are counted` : plural(row.count, 'call')}>{rateOf(row)}</a>),
  },
  {
    key: 'rate-line', head: '', grows: true, width: '88px',
    cell: (row) => (row.spark_rate !== undefined && row.count > 0 ? <Spark points={row.spark_rate} label={`Rate: at most ${formatRate(topOf(row.spark_rate))}`} /> : null),
  },
  {
    key: 'err', head: 'Errors', sorts: true, align: 'right', width: '76px',
    cell: (row) => (row.errors > 0
      ? <a class="door" href={tracesHref({ ...spansOf(row), isError: true })} title={`${formatCount(row.errors)} of ${plural(row.count, countedAs(row.basis))}`}><ErrorShare share={row.err} /></a>
      : <ErrorShare share={row.err} />),
  },
  { key: 'p50', head: 'p50', sorts: true, align: 'right', width: '80px', cell: (row) => <Percentile row={row} of="p50" criteria={spansOf(row)} /> },
  { key: 'p95', head: 'p95', sorts: true, align: 'right', width: '80px', cell: (row) => <Percentile row={row} of="p95" criteria={spansOf(row)} /> },
  {
    key: 'p95-line', head: '', grows: true, width: '88px',
    cell: (row) => (row.spark_p95 !== undefined && row.count > 0 ? <Spark points={row.spark_p95} label={`p95: at most ${formatDuration(topOf(row.spark_p95))}`} /> : null),
  },
  { key: 'p99', head: 'p99', sorts: true, align: 'right', width: '80px', cell: (row) => <Percentile row={row} of="p99" criteria={spansOf(row)} /> },
  {
    key: 'impact', head: 'Impact', title: 'Rate × p95, as a share of all services', sorts: true, width: '148px',
    cell: (row) => (row.count === 0
      ? <span class="dim">{row.last_seen === null ? 'silent' : <>last <Time ns={row.last_seen} as="age" /></>}</span>
      : <Bar share={row.impact} label={`${formatPercent(row.impact)} of all services’ rate × p95`} />),
  },
];

function ServiceLink({ row }: { row: ServiceRow }) {
  return (
    <a class="plainlink" href={hrefOf(row)}>
      <ServiceName name={row.name} color={row.color} />
    </a>
  );
}

function download(rows: readonly ServiceRow[], answer: ServicesAnswer): void {
  const csv = toCsv(
    ['service', 'namespace', 'counted', 'count', 'errors', 'rate_per_s', 'error_share', 'p50_ns', 'p90_ns', 'p95_ns', 'p99_ns', 'impact'],
    rows.map((r) => [r.name, r.ns, `${countedAs(r.basis)}s`, r.count, r.errors, r.rate, r.err, r.p50, r.p90, r.p95, r.p99, r.impact]),
  );
  const url = URL.createObjectURL(new Blob([csv], { type: 'text/csv;charset=utf-8' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `services-${answer.from}-${answer.to}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export default function ServicesPage() {
  const chosen = preferences.value.columns;
  const shown = useMemo(() => shownColumns('services', columns), [chosen]);
  const p = params('services');
  const answer = useApi<ServicesAnswer>('/services', { ...rangeQuery(), env: p.env, limit: 1000 });
  const order = readOrder(p.sort);
  const rows = useMemo(() => {
    const wanted = p.find.trim().toLowerCase();
    const found = (answer.data?.rows ?? []).filter((row) => (p.ns === '' || row.ns === p.ns) && (wanted === '' || row.name.toLowerCase().includes(wanted)));
    return sorted(found, order, value, (row) => `${row.name}\n${row.ns}`);
  }, [answer.data, p.find, p.ns, p.sort]);
  const namespaces = [...new Set((answer.data?.rows ?? []).map((row) => row.ns))].filter((ns) => ns !== '').sort();
  const silent = rows.filter((row) => row.count === 0).length;
  const bar = (
    <>
      <FindField id="services-find" label="Find service" value={p.find} onInput={(find) => navigate('services', { find }, 'replace')} />
      {namespaces.length > 1 && (
        <Select label="Namespace" value={p.ns} options={[['', 'All namespaces'], ...namespaces.map((ns) => [ns, ns] as const)]}
          onChange={(ns) => navigate('services', { ns }, 'replace')} />
      )}
      {p.ns !== '' && !namespaces.includes(p.ns) && <Chip label="namespace" onRemove={() => navigate('services', { ns: '' }, 'replace')}>{p.ns}</Chip>}
      {rows.length > 0 && <ColumnsMenu table="services" all={columns} names={{ 'rate-line': 'Rate over time', 'p95-line': 'p95 over time' }} />}
      {rows.length > 0 && <Button kind="quiet" icon="download" onClick={() => download(rows, answer.data!)}>CSV</Button>}
    </>
  );
  const foot = answer.data !== undefined && (
    <span>
      {plural(rows.length, 'service')}
      {silent > 0 && `, ${formatCount(silent)} silent in this range`}
      {rows.length < answer.data.rows.length && ` of ${formatCount(answer.data.rows.length)}`}
      {answer.data.hidden > 0 && ` · ${formatCount(answer.data.hidden)} more not shown`} · percentiles ±{(answer.data.bound * 100).toFixed(1)} % ·{' '}
      {Math.round(answer.data.took_ms)} ms
    </span>
  );
  return (
    <Page title={['Services']} bar={bar} foot={foot}>
      <Answer of={answer}>
        {(data) => {
          if (data.rows.length === 0) return <NoServices reason={data.reason} />;
          if (rows.length === 0) {
            return (
              <Empty title="No service’s name has that in it." icon="search"
                action={<Button onClick={() => navigate('services', { find: '', ns: '' }, 'replace')}>Show all</Button>} />
            );
          }
          return (
            <div class="services-wide"><Table label="Services" columns={shown} rows={rows} rowKey={(row) => `${row.ns}/${row.name}`} sort={order.key}
              descending={isDescending(order, order.key === 'name' || order.key === 'ns')}
              onSort={(key) => navigate('services', { sort: nextOrder(p.sort, key) }, 'replace')} rowHref={hrefOf}
              rowClass={(row) => (row.count === 0 ? 'silent' : '')} /></div>
          );
        }}
      </Answer>
    </Page>
  );
}

function NoServices({ reason }: { reason: string | undefined }) {
  const wider = (): void => navigate('services', { from: 'now-24h', to: 'now', env: '' }, 'push');
  return (
    <Empty title={reasonText(reason, 'No service')} icon="services"
      action={hasData.value === true ? <Button kind="primary" onClick={wider}>Look at the last 24 hours</Button>
        : <a class="button plain" href={href('map')}>How to send telemetry</a>} />
  );
}
