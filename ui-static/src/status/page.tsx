// SPDX-License-Identifier: Apache-2.0
// /status: is the server well, what arrives, what is refused and why, what is kept, and what senders could do better.
import type { ComponentChildren } from 'preact';
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { useApi } from '../api/client.ts';
import { traceHref, tracesHref } from '../lib/links.ts';
import { navigate, params, sharedParams } from '../lib/route.ts';
import { rangeQuery } from '../lib/time.ts';
import { formatBytes, formatCount, formatDuration, formatPercent, formatRate, formatShort, plural } from '../lib/units.ts';
import { Page } from '../shell/page.tsx';
import { Answer, Note } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import { TabPanel, Tabs } from '../ui/tabs.tsx';
import { ServiceName, Time } from '../ui/text.tsx';
import { rateOf, withSample, type Sample } from './rates.ts';
import type { Cleaned, MapGaps, Partition, Queue, Status } from './types.ts';

const receiverNames: Record<string, string> = { 'otlp-grpc': 'OTLP/gRPC', 'otlp-http': 'OTLP/HTTP', http: 'Page and queries' };
const queueNames: Record<string, string> = {
  'the same in memory': 'that journal, in memory',
};
const stageNames: Record<string, string> = {
  acknowledge: 'From arrival to acknowledgement',
  commit: 'Commit, with its sync',
  build: 'Build of a row group',
  query: 'Query',
};
const words = (s: string): string => queueNames[s] ?? s.replace(/_/g, ' ');

export default function StatusPage() {
  const { tab } = params('status');
  const status = useApi<Status>('/status');
  const samples = useSignal<readonly Sample[]>([]);
  const s = status.data;
  useEffect(() => {
    if (s === undefined) return;
    const { spans_stored, logs_stored, requests_refused } = s.ingest;
    samples.value = withSample(samples.peek(), {
      at: BigInt(s.server_time),
      started: s.started_at,
      totals: { spans: spans_stored, logs: logs_stored, refused: requests_refused },
    });
  }, [s]);
  // A rate takes two answers: the second need not wait for the next refresh.
  useEffect(() => {
    if (samples.value.length !== 1) return;
    const timer = setTimeout(status.reload, 2000);
    return () => clearTimeout(timer);
  }, [samples.value.length === 1]);
  return (
    <Page
      title={['Status']}
      bar={
        <Tabs
          label="Parts of the status"
          value={tab}
          tabs={[
            ['pipeline', 'Pipeline'],
            ['storage', 'Storage'],
            ['instrumentation', 'Instrumentation'],
          ]}
          onChange={(v) => navigate('status', { tab: v }, 'replace')}
        />
      }
      foot={s === undefined ? undefined : `running ${formatDuration(BigInt(s.server_time) - BigInt(s.started_at))}`}
    >
      <TabPanel tab={tab} class="pad stack status">
        {tab === 'instrumentation' ? (
          <Instrumentation />
        ) : (
          <Answer of={status} class="stack">
            {(data) => (
              <>
                <Health s={data} />
                {tab === 'storage' ? <Storage s={data} /> : <Pipeline s={data} samples={samples.value} />}
              </>
            )}
          </Answer>
        )}
      </TabPanel>
    </Page>
  );
}

function Health({ s }: { s: Status }) {
  const { storage } = s;
  return (
    <>
      {!storage.writable && <Note kind="err">The store takes no writes: new telemetry is refused until it does. What is stored can be read.</Note>}
      {storage.partitions_damaged > 0 && (
        <Note kind="err">
          {plural(storage.partitions_damaged, 'partition')} damaged: answers may miss what lay there. “spindle verify” names the files.
        </Note>
      )}
      {!storage.durable && <Note kind="warn">An acknowledgement does not survive a power cut: the server runs with --durability process.</Note>}
      {storage.disk !== 'ok' && (
        <Note kind={storage.disk === 'low' ? 'warn' : 'err'}>
          {diskTexts[storage.disk] ?? words(storage.disk)} {formatBytes(storage.disk_free_bytes)} free.
        </Note>
      )}
    </>
  );
}

const diskTexts: Record<string, string> = {
  low: 'The disk has little room left.',
  critical: 'The disk is nearly full: new telemetry is refused.',
  recover: 'The disk was full: new telemetry is refused until more of it is free.',
};

interface FigureProps {
  name: string;
  value: string;
  exact?: string; // on hover, where the value is rounded
  note?: ComponentChildren;
  tone?: '' | 'warn-text' | 'err-text';
}

function Figure({ name, value, exact, note, tone = '' }: FigureProps) {
  return (
    <div class="card status-figure">
      <p class="label">{name}</p>
      <p class={`figure ${tone}`} title={exact}>
        {value}
      </p>
      <p class="label cut">{note}</p>
    </div>
  );
}

function Card({ title, note, children }: { title: string; note?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="card">
      <header>
        <h2>{title}</h2>
        {note !== undefined && <span class="dim">{note}</span>}
      </header>
      {children}
    </section>
  );
}

function Pipeline({ s, samples }: { s: Status; samples: readonly Sample[] }) {
  const acknowledge = s.stages.find((stage) => stage.name === 'acknowledge');
  const spans = rateOf(samples, 'spans');
  const logs = rateOf(samples, 'logs');
  const refused = rateOf(samples, 'refused');
  const dropped = s.drops.reduce((sum, d) => sum + d.count, 0);
  return (
    <>
      <div class="status-figures">
        <Figure name="Spans" value={spans === undefined ? '…' : formatRate(spans)} note={`${formatCount(s.ingest.spans_stored)} since start`} />
        <Figure name="Log records" value={logs === undefined ? '…' : formatRate(logs)} note={`${formatCount(s.ingest.logs_stored)} since start`} />
        <Figure
          name="Acknowledged within, p95"
          value={formatDuration(acknowledge?.p95_ns)}
          note={s.storage.durable ? 'acknowledged = durable' : 'acknowledged before the sync'}
        />
        <Figure
          name="Refused requests"
          value={refused === undefined ? formatShort(s.ingest.requests_refused) : formatRate(refused)}
          tone={refused !== undefined && refused > 0 ? 'err-text' : ''}
          note={`${formatCount(s.ingest.requests_refused)} since start`}
        />
        <Figure name="Dropped items" value={formatShort(dropped)} tone={dropped > 0 ? 'warn-text' : ''} note={dropped === 0 ? 'nothing rejected or cut' : 'by reason below'} />
      </div>
      <div class="status-columns">
        <Card title="Receivers">
          <Table
            label="Receivers"
            rows={s.receivers}
            rowKey={(r) => r.name}
            columns={[
              { key: 'name', head: 'Receiver', width: '150px', cell: (r) => receiverNames[r.name] ?? r.name },
              { key: 'url', head: 'Address', class: 'mono', cell: (r) => r.url },
              { key: 'requests', head: 'Requests', align: 'right', width: '110px', cell: (r) => formatCount(r.requests) },
            ]}
          />
        </Card>
        <Card title="Queues">
          <Table
            label="Queues"
            rows={s.queues}
            rowKey={(q) => q.name}
            columns={[
              { key: 'name', head: 'Queue', width: '210px', cell: (q) => <span title={q.name}>{words(q.name)}</span> },
              { key: 'fill', head: 'Filled', cell: (q) => <Fill q={q} /> },
              { key: 'used', head: 'Used', align: 'right', width: '100px', cell: (q) => amount(q.used, q.unit) },
              { key: 'max', head: 'At most', align: 'right', width: '90px', cell: (q) => (q.max === null ? 'no bound' : amount(q.max, q.unit)) },
            ]}
          />
        </Card>
      </div>
      <Card title="Stages" note="since start">
        <Table
          label="Stages"
          rows={s.stages}
          rowKey={(stage) => stage.name}
          columns={[
            { key: 'name', head: 'Stage', cell: (x) => stageNames[x.name] ?? words(x.name) },
            { key: 'count', head: 'Times', align: 'right', width: '120px', cell: (x) => formatCount(x.count) },
            { key: 'p50', head: 'p50', align: 'right', width: '110px', cell: (x) => formatDuration(x.p50_ns) },
            { key: 'p95', head: 'p95', align: 'right', width: '110px', cell: (x) => formatDuration(x.p95_ns) },
            { key: 'p99', head: 'p99', align: 'right', width: '110px', cell: (x) => formatDuration(x.p99_ns) },
          ]}
        />
      </Card>
      <Card title="Rejected, cut, dropped" note="since start">
        {s.drops.length === 0 ? (
          <p class="card-body dim">Nothing: all that arrived is stored as it came.</p>
        ) : (
          <Table
            label="Rejected, cut, dropped"
            rows={s.drops}
            rowKey={(d) => `${d.what} ${d.signal} ${d.reason}`}
            columns={[
              { key: 'what', head: 'What', width: '30%', cell: (d) => words(d.what) },
              { key: 'signal', head: 'Signal', width: '140px', cell: (d) => d.signal },
              { key: 'reason', head: 'Reason', cell: (d) => words(d.reason) },
              { key: 'count', head: 'Count', align: 'right', width: '120px', cell: (d) => <span class="warn-text">{formatCount(d.count)}</span> },
            ]}
          />
        )}
      </Card>
    </>
  );
}

const amount = (n: number, unit: string): string => (unit === 'bytes' ? formatBytes(n) : `${formatShort(n)} ${n === 1 ? unit.replace(/s$/, '') : unit}`);

function Fill({ q }: { q: Queue }) {
  if (q.max === null || q.max === 0) return <span class="dim">–</span>;
  const share = Math.min(1, q.used / q.max);
  return (
    <span class="fill" title={formatPercent(share)}>
      <span class={share > 0.8 ? 'hot' : ''} style={{ width: `${(share * 100).toFixed(1)}%` }} />
    </span>
  );
}

function Storage({ s }: { s: Status }) {
  const { storage } = s;
  const items = storage.spans + storage.logs;
  const files = `in ${plural(s.partitions.length, 'partition')}`;
  return (
    <>
      <div class="status-figures">
        <Figure name="Spans kept" value={formatShort(storage.spans)} exact={plural(storage.spans, 'span')} note={files} />
        <Figure name="Log records kept" value={formatShort(storage.logs)} exact={plural(storage.logs, 'log record')} note={files} />
        <Figure
          name="On disk"
          value={formatBytes(storage.disk_bytes)}
          exact="journal included"
          note={items > 0 ? `${formatBytes(storage.disk_bytes / items)} an item` : 'nothing yet'}
        />
        <Figure
          name="Free on the disk"
          value={storage.disk_free_bytes ? formatBytes(storage.disk_free_bytes) : '–'}
          tone={storage.disk === 'ok' ? '' : storage.disk === 'low' ? 'warn-text' : 'err-text'}
          note={storage.disk === 'ok' ? 'enough' : words(storage.disk)}
        />
        <Figure name="In the journal" value={`${formatShort(storage.journal_items)} ${storage.journal_items === 1 ? 'item' : 'items'}`} exact={plural(storage.journal_items, 'item')} note={`${plural(storage.row_groups, 'row group')} built`} />
      </div>
      <Card title="Partitions" note={plural(s.partitions.length, 'file')}>
        <Table<Partition>
          label="Partitions"
          rows={[...s.partitions].reverse()}
          rowKey={(p) => String(p.id)}
          columns={[
            { key: 'id', head: 'Partition', width: '100px', cell: (p) => formatCount(p.id) },
            { key: 'state', head: 'State', width: '120px', cell: (p) => (p.damaged ? <span class="err-text">damaged</span> : words(p.state)) },
            { key: 'min', head: 'From', cell: (p) => (p.min === null ? '–' : <Time ns={p.min} digits={0} />) },
            { key: 'max', head: 'To', cell: (p) => (p.max === null ? '–' : <Time ns={p.max} digits={0} />) },
            { key: 'groups', head: 'Row groups', align: 'right', width: '110px', cell: (p) => formatCount(p.row_groups) },
            { key: 'bytes', head: 'Size', align: 'right', width: '110px', cell: (p) => formatBytes(p.bytes) },
          ]}
        />
      </Card>
    </>
  );
}

const gapTexts: Record<string, readonly [string, string]> = {
  no_server: ['Calls without a server span', 'The called side is not instrumented, or its context is not passed on.'],
  broken_parent: ['Spans whose parent never came', 'A service in between drops its spans, or sends them elsewhere.'],
  sampled: ['Parents that were sampled away', 'Decide on sampling at the root, so that traces stay whole.'],
  expired: ['Parents that have expired', 'The trace is longer than what is kept.'],
};
const whyTexts: Record<string, string> = {
  number: 'a number',
  uuid: 'a UUID',
  hex: 'an ID in hex',
  date: 'a date',
  email: 'an e-mail address',
  token: 'a token',
  address: 'an IP address',
  query: 'a query',
  long: 'too much text',
  learned: 'words that vary',
  rule: 'what a rule names',
  overflow: 'one name too many',
};

const becauseOf = (why: readonly string[]): string => why.map((w) => whyTexts[w] ?? words(w)).join(', ');

function Instrumentation() {
  const { env } = sharedParams();
  const map = useApi<MapGaps>('/map', { ...rangeQuery(), env, limit: 2000 });
  const cleaned = useApi<Cleaned>('/cleaned', { limit: 200 });
  return (
    <>
      <Answer of={map}>
        {({ gaps, nodes }) => (
          <Card title="Broken traces" note="in this range">
            {gaps.length === 0 ? (
              <p class="card-body dim">None: every call has its other side, every span its parent.</p>
            ) : (
              <Table
                label="Broken traces"
                rows={gaps}
                rowKey={(g) => `${g.s} ${g.why}`}
                columns={[
                  {
                    key: 'service',
                    head: 'Service',
                    width: '200px',
                    cell: (g) => <ServiceName name={nodes[g.s]?.name ?? ''} color={nodes[g.s]?.color ?? 7} link />,
                  },
                  { key: 'what', head: 'Finding', width: '240px', cell: (g) => gapTexts[g.why]?.[0] ?? words(g.why) },
                  { key: 'why', head: 'What it means', cell: (g) => <span class="dim">{gapTexts[g.why]?.[1] ?? ''}</span> },
                  { key: 'count', head: 'Count', align: 'right', width: '100px', cell: (g) => formatCount(g.count) },
                  {
                    key: 'sample',
                    head: 'Example',
                    width: '110px',
                    cell: (g) => (g.samples?.[0] === undefined ? '' : <a href={traceHref(g.samples[0])}>open a trace</a>),
                  },
                ]}
              />
            )}
          </Card>
        )}
      </Answer>
      <Answer of={cleaned}>
        {({ rows, hidden }) => (
          <Card title="Span names that are counted under another" note={hidden > 0 ? `and ${formatCount(hidden)} more` : undefined}>
            {rows.length === 0 ? (
              <p class="card-body dim">None: names are few and stable, as they should be.</p>
            ) : (
              <Table
                label="Span names that are counted under another"
                rows={rows}
                rowKey={(r, i) => `${r.service} ${r.name} ${i}`}
                columns={[
                  { key: 'service', head: 'Service', width: '200px', cell: (r) => <span title={r.service}>{r.service}</span> },
                  { key: 'name', head: 'Counted as', class: 'mono', cell: (r) => <span title={r.name}>{r.name}</span> },
                  { key: 'example', head: 'For example', class: 'mono', cell: (r) => <span title={r.example}>{r.example}</span> },
                  { key: 'why', head: 'Because of', width: '170px', cell: (r) => becauseOf(r.why) },
                  { key: 'spans', head: 'Spans', align: 'right', width: '100px', cell: (r) => formatCount(r.spans) },
                  {
                    key: 'open',
                    head: 'Example',
                    width: '110px',
                    cell: (r) => <a href={tracesHref({ service: r.service, operation: r.example })}>find traces</a>,
                  },
                ]}
              />
            )}
          </Card>
        )}
      </Answer>
    </>
  );
}
