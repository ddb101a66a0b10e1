// SPDX-License-Identifier: Apache-2.0
// What is selected on the map: a node or an edge, its numbers, and the doors to the spans behind them.
import type { ComponentChildren } from 'preact';
import { useApi } from '../api/client.ts';
import { Spark, topOf } from '../charts/spark.tsx';
import { fromPercentile, logsHref, serviceHref, traceHref, tracesHref } from '../lib/links.ts';
import { rangeQuery } from '../lib/time.ts';
import { sharedParams } from '../lib/route.ts';
import { formatCount, formatDuration, formatPercent, formatRate, formatRound, plural } from '../lib/units.ts';
import { Button, Copy } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { Note } from '../ui/states.tsx';
import { ErrorShare, Time } from '../ui/text.tsx';
import type { MapAnswer, Percentiles, Red, Sample } from './answer.ts';
import type { SeriesAnswer } from '../services/answer.ts';
import { ERR_SEEN, type Vertex, type View } from './graph.ts';
import { countedAs, edgeQuery, gapText, kindWord, vertexQuery } from './words.ts';

const FEW = 20; // calls below which percentiles say little

function Figure({ label, value, href, title, tone = '' }: {
  label: string; value: ComponentChildren; href?: string | undefined; title?: string; tone?: string;
}) {
  return (
    <div class="map-figure" title={title}>
      <dt>{label}</dt>
      <dd class={tone}>{href === undefined ? value : <a href={href}>{value}</a>}</dd>
    </div>
  );
}

/** RED and percentiles, each a door. `query` gives the TraceQL of the spans counted. */
export function Figures({ red, basis, upTo, query, sampleCount }: {
  red: Red;
  basis?: Vertex['basis'];
  upTo: boolean;
  query: (more: { isError?: boolean; minDuration_ns?: number }) => string | undefined;
  sampleCount: number;
}) {
  const door = (more: { isError?: boolean; minDuration_ns?: number }): string | undefined => {
    const q = query(more);
    return q === undefined ? undefined : tracesHref(q);
  };
  const time = (p: keyof Percentiles, label: string) => (
    <Figure
      label={label}
      value={`${upTo && red[p] !== null ? '≤ ' : ''}${formatDuration(red[p])}`}
      href={red[p] === null ? undefined : door({ minDuration_ns: fromPercentile(red[p]!) })}
      tone={sampleCount < FEW ? 'dim' : ''}
      title={upTo ? 'The highest of its members' : `of ${plural(sampleCount, countedAs(basis))}${sampleCount < FEW ? ': too few to say much' : ''}`}
    />
  );
  return (
    <dl class="map-figures">
      <Figure label={basis === 'all' ? 'spans' : 'rate'} value={formatRate(red.rate)} href={door({})} title={plural(red.count, countedAs(basis))} />
      <Figure
        label="errors"
        value={formatPercent(red.err)}
        href={red.errors > 0 ? door({ isError: true }) : undefined}
        tone={(red.err ?? 0) >= ERR_SEEN ? 'err-text' : ''}
        title={`${formatCount(red.errors)} of ${plural(red.count, countedAs(basis))}`}
      />
      {time('p50', 'p50')}
      {time('p95', 'p95')}
      {time('p99', 'p99')}
    </dl>
  );
}

function SampleLink({ sample, children }: { sample: Sample | undefined; children: ComponentChildren }) {
  if (sample === undefined) return null;
  return (
    <li>
      <a href={traceHref(sample.trace, sample.span)}>{children}</a>
      <span class="num">{formatDuration(sample.dur)}</span>
      <Time ns={sample.start} digits={0} as="clock" />
      <Copy text={sample.trace} label="Copy the trace's ID" />
    </li>
  );
}

/** Two traces worth a look. */
export function Samples({ of }: { of: Pick<Red, 'slow' | 'fail'> }) {
  if (of.slow === undefined && of.fail === undefined) return null;
  return (
    <section>
      <h3>Traces</h3>
      <ul class="map-samples">
        <SampleLink sample={of.slow}>Slowest seen</SampleLink>
        <SampleLink sample={of.fail}>One that failed</SampleLink>
      </ul>
    </section>
  );
}

function Calls({ title, view, edges, end, onEdge }: {
  title: string; view: View; edges: number[]; end: 's' | 't'; onEdge: (index: number) => void;
}) {
  if (edges.length === 0) return null;
  return (
    <section>
      <h3>
        {title} <span class="dim">{edges.length}</span>
      </h3>
      <table class="map-calls">
        <tbody>
          {edges.map((i) => {
            const e = view.edges[i]!, v = view.nodes[e[end]]!;
            return (
              <tr key={v.id}>
                <td>
                  <button type="button" class="linklike cut" title={v.name} onClick={() => onEdge(i)}>
                    {v.name === '' ? '(no name)' : v.name}
                  </button>
                </td>
                <td class="num">{formatRate(e.rate)}</td>
                <td class="num">
                  <ErrorShare share={e.err} />
                </td>
                <td class="num">{e.upTo && e.p95 !== null ? '≤ ' : ''}{formatDuration(e.p95)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

interface OperationRow extends Red {
  name: string;
  kind: string;
}

function Operations({ service, ns, title = '' }: { service: string; ns: string; title?: string }) {
  const { env } = sharedParams();
  const rows = useApi<{ rows: OperationRow[]; hidden: number }>(`/services/${encodeURIComponent(service)}/operations`,
    { ...rangeQuery(), env, ns, sort: 'impact', limit: 6, spark: '0' });
  if (rows.data === undefined || rows.data.rows.length === 0) return null;
  return (
    <section>
      <h3>
        Operations{title} <span class="dim">by impact</span>
      </h3>
      <table class="map-calls">
        <tbody>
          {rows.data.rows.map((row) => (
            <tr key={`${row.kind} ${row.name}`}>
              <td>
                <span class="map-op">
                  <a class="cut" href={serviceHref(service, { op: row.name })} title={`${row.name}, ${row.kind}`}>
                    {row.name}
                  </a>
                  <span class="dim">{row.kind}</span>
                </span>
              </td>
              <td class="num">{formatRate(row.rate)}</td>
              <td class="num">
                <ErrorShare share={row.err} />
              </td>
              <td class="num">{formatDuration(row.p95)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.data.hidden > 0 && <a href={serviceHref(service, { tab: 'operations' })}>{formatCount(rows.data.hidden)} more</a>}
    </section>
  );
}

/** The percentiles' course, where the node is one service. */
function Course({ service, ns }: { service: string; ns: string }) {
  const { env } = sharedParams();
  const got = useApi<SeriesAnswer>(`/services/${encodeURIComponent(service)}/series`, { ...rangeQuery(), env, ns });
  if (got.data === undefined || got.data.count === 0) return null;
  const { p50, p95 } = got.data.series, top = topOf(p95);
  return (
    <div class="map-course">
      <span class="dim">p95</span>
      <Spark points={p95} width={320} height={36} top={top} label={`p95: at most ${formatDuration(top)}`} />
      <span class="dim">p50</span>
      <Spark points={p50} width={320} height={24} label={`p50: at most ${formatDuration(topOf(p50))}`} />
    </div>
  );
}

export interface PanelActions {
  onEdge: (index: number) => void;
  onNode: (id: string) => void;
  onFocus: (id: string) => void;
  onOpen: (group: string) => void;
}

export function NodePanel({ answer, view, index, actions, isFocus }: {
  answer: MapAnswer; view: View; index: number; actions: PanelActions; isFocus: boolean;
}) {
  const v = view.nodes[index]!, first = answer.nodes[v.members[0]!]!;
  const by = (a: number, b: number) => (view.edges[b]!.err ?? 0) * view.edges[b]!.rate - (view.edges[a]!.err ?? 0) * view.edges[a]!.rate ||
    view.edges[b]!.rate - view.edges[a]!.rate;
  const inn = view.edges.flatMap((e, i) => (e.t === index && e.s !== index ? [i] : [])).sort(by);
  const out = view.edges.flatMap((e, i) => (e.s === index && e.t !== index ? [i] : [])).sort(by);
  const gaps = answer.gaps.filter((g) => v.members.includes(g.s));
  const isService = v.kind === 'service';
  const all = vertexQuery(answer, v);
  return (
    <div class="map-panel">
      <p class="dim">
        {v.kind === 'group' ? plural(v.members.length, 'node') : kindWord(v)}
        {v.ns !== '' && v.kind !== 'group' && ` in ${v.ns}`}
        {first.envs !== undefined && v.kind !== 'group' && first.envs.filter((e) => e !== '').length > 0 && ` · ${first.envs.join(', ')}`}
        {v.kind !== 'group' && <Copy text={v.name} label="Copy the name" />}
      </p>
      <div class="map-doors">
        {v.id.startsWith('group:') || v.id.startsWith('domain:') ? (
          <Button kind="primary" onClick={() => actions.onOpen(v.id)}>Open group</Button>
        ) : isService ? (
          <a class="button primary" href={serviceHref(v.name)}>Open service</a>
        ) : null}
        <Button pressed={isFocus} title="Only what is near it (f)" onClick={() => actions.onFocus(v.id)}>Focus</Button>
        {all !== undefined && <a class="button plain" href={tracesHref(all)}>Traces</a>}
        {isService && <a class="button plain" href={logsHref({ service: v.name })}>Logs</a>}
      </div>
      <Figures red={v} basis={v.basis} upTo={v.upTo} sampleCount={v.count} query={(more) => vertexQuery(answer, v, more)} />
      {first.basis === 'all' && <p class="dim">It answers no calls: all its spans are counted.</p>}
      {v.spark.length > 1 && (
        <div class="map-course">
          <span class="dim">rate</span>
          <Spark points={v.spark} width={320} height={36}
            label={`${v.basis === 'all' ? 'Spans' : 'Calls'} per second: at most ${formatRate(topOf(v.spark))} in steps of ${formatRound(answer.step_s * 1e9)}`} />
        </div>
      )}
      {isService && <Course service={v.name} ns={v.ns} />}
      {gaps.length > 0 && (
        <section>
          {gaps.map((g) => (
            <Note key={g.why} kind="warn">
              {formatCount(g.count)} {gapText[g.why]?.short ?? g.why}. {gapText[g.why]?.long}{' '}
              {g.samples.slice(0, 3).map((id, i) => (
                <a key={id} href={traceHref(id)}>{i === 0 ? 'Example' : ` ${i + 1}`}</a>
              ))}
            </Note>
          ))}
        </section>
      )}
      {isService && <Operations service={v.name} ns={v.ns} />}
      {v.kind === 'group' && <Members answer={answer} v={v} onNode={actions.onNode} />}
      <Calls title="Called by" view={view} edges={inn} end="s" onEdge={actions.onEdge} />
      <Calls title="Calls" view={view} edges={out} end="t" onEdge={actions.onEdge} />
      {inn.length + out.length === 0 && <p class="dim">No calls from or to it are known in this range.</p>}
      <Samples of={v} />
    </div>
  );
}

function Members({ answer, v, onNode }: { answer: MapAnswer; v: Vertex; onNode: (id: string) => void }) {
  const rows = v.members.map((i) => answer.nodes[i]!)
    .sort((a, b) => (b.err ?? 0) * b.rate - (a.err ?? 0) * a.rate || b.rate - a.rate);
  const SHOWN = 40;
  return (
    <section>
      <h3>
        In it <span class="dim">{rows.length}</span>
      </h3>
      <table class="map-calls">
        <tbody>
          {rows.slice(0, SHOWN).map((node) => (
            <tr key={node.id}>
              <td>
                <button type="button" class="linklike cut" title={node.name} onClick={() => onNode(node.id)}>{node.name}</button>
              </td>
              <td class="num">{formatRate(node.rate)}</td>
              <td class="num"><ErrorShare share={node.err} /></td>
              <td class="num">{formatDuration(node.p95)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > SHOWN && <p class="dim">{formatCount(rows.length - SHOWN)} more: open the group to see them.</p>}
    </section>
  );
}

function PercentileRow({ label, of, n }: { label: string; of: Percentiles; n: number }) {
  return (
    <tr class={n < FEW ? 'dim' : ''}>
      <th scope="row">{label}</th>
      <td class="num">{formatDuration(of.p50)}</td>
      <td class="num">{formatDuration(of.p95)}</td>
      <td class="num">{formatDuration(of.p99)}</td>
      <td class="num">{formatCount(n)}</td>
    </tr>
  );
}

export function EdgePanel({ answer, view, index, actions }: { answer: MapAnswer; view: View; index: number; actions: PanelActions }) {
  const e = view.edges[index]!, from = view.nodes[e.s]!, to = view.nodes[e.t]!;
  const one = e.parts.length === 1 ? answer.edges[e.parts[0]!]! : null;
  const all = edgeQuery(answer, e);
  const parts = e.parts.map((i) => answer.edges[i]!).sort((a, b) => (b.err ?? 0) * b.rate - (a.err ?? 0) * a.rate || b.rate - a.rate);
  return (
    <div class="map-panel">
      <p class="dim">
        {e.async ? 'Messages' : e.type === 'database' ? 'Database calls' : 'Calls'}
        {e.system !== '' && ` (${e.system})`}
        {e.parts.length > 1 && ` over ${plural(e.parts.length, 'pair')}`}
      </p>
      <div class="map-doors">
        <Button onClick={() => actions.onNode(from.id)}>{`From ${from.name || '(no name)'}`}</Button>
        <Icon name="right" size={14} />
        <Button onClick={() => actions.onNode(to.id)}>{`To ${to.name || '(no name)'}`}</Button>
      </div>
      <Figures red={e} upTo={e.upTo} sampleCount={e.n} query={(more) => edgeQuery(answer, e, more)} />
      {e.p50 === null && (
        <Note>
          {e.count === 0 ? 'Nothing was called in this range.' : 'Only that the one follows the other is known: neither side’s span says how long the call took.'}
        </Note>
      )}
      {one !== null && one.p50 !== null && (
        <section>
          <h3>Who measured</h3>
          <table class="map-calls map-sides">
            <thead>
              <tr>
                <td />
                <th class="right">p50</th>
                <th class="right">p95</th>
                <th class="right">p99</th>
                <th class="right">calls</th>
              </tr>
            </thead>
            <tbody>
              <PercentileRow label={one.side === 'client' ? 'caller' : 'callee'} of={one} n={one.n} />
              {one.server !== undefined && <PercentileRow label="callee" of={one.server} n={one.server.n} />}
            </tbody>
          </table>
          {one.server?.p50 !== undefined && one.server.p50 !== null && one.side === 'client' && (
            <p class="dim">
              The caller’s median is {formatDuration(Math.max(0, one.p50 - one.server.p50))} above the callee’s: network, queues, retries.
            </p>
          )}
        </section>
      )}
      {parts.length > 1 && (
        <section>
          <h3>
            Pairs <span class="dim">{parts.length}</span>
          </h3>
          <table class="map-calls">
            <tbody>
              {parts.slice(0, 20).map((p) => (
                <tr key={`${p.s}>${p.t}`}>
                  <td class="cut" title={`${answer.nodes[p.s]!.name} → ${answer.nodes[p.t]!.name}`}>
                    {answer.nodes[p.s]!.name} → {answer.nodes[p.t]!.name}
                  </td>
                  <td class="num">{formatRate(p.rate)}</td>
                  <td class="num"><ErrorShare share={p.err} /></td>
                  <td class="num">{formatDuration(p.p95)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {parts.length > 20 && <p class="dim">{formatCount(parts.length - 20)} more pairs: open the groups to see them.</p>}
        </section>
      )}
      {to.kind === 'service' && <Operations service={to.name} ns={to.ns} title={` of ${to.name}`} />}
      <Samples of={e} />
      {all !== undefined && <p><a href={tracesHref(all)}>All traces with these calls</a></p>}
    </div>
  );
}
