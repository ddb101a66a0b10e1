// SPDX-License-Identifier: Apache-2.0
// One log record in the side panel: its text, attributes, where it came from, and what was logged around it.
import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { ApiError, get } from '../api/client.ts';
import { attributeName, filterOf, quote, serviceHref, traceHref } from '../lib/links.ts';
import { href, navigate, params } from '../lib/route.ts';
import { withCondition } from '../lib/traceql.ts';
import { inEnvironment } from '../search/environment.ts';
import { prettyText, valueText, type AnyValue, type KeyValue } from '../trace/anyvalue.ts';
import { Attributes } from '../trace/attributes.tsx';
import { Button, Copy, FindField, IconButton } from '../ui/button.tsx';
import { Icon } from '../ui/icons.tsx';
import { Time } from '../ui/text.tsx';
import { formatClock } from '../lib/time.ts';
import { severityLabel, severityOf } from './severity.ts';

export interface LogRow {
  time: string;
  severity: number;
  severity_text: string;
  service: string;
  trace?: string;
  span?: string;
  body?: string;
  log: { attributes?: KeyValue[]; body?: AnyValue; droppedAttributesCount?: number; eventName?: string; observedTimeUnixNano?: string };
  resource?: { attributes?: KeyValue[] };
  scope?: { name?: string; version?: string; attributes?: KeyValue[] };
}

export const bodyText = (r: LogRow): string => r.body ?? valueText(r.log.body);

/** An attribute of the record or its resource, by the name that stands in `cols`. */
export function cellText(r: LogRow, name: string): string {
  const of = (list: KeyValue[] | undefined, scope: 'log' | 'resource') => list?.find((kv) => attributeName(scope, kv.key) === name);
  return valueText((of(r.log.attributes, 'log') ?? of(r.resource?.attributes, 'resource'))?.value);
}

export function Record({ row }: { row: LogRow }) {
  const p = params('logs');
  const find = useSignal('');
  const laid = useSignal(false);
  const body = bodyText(row);
  const pretty = prettyText('body', body);
  const hrefOf = (condition: string): string => href('logs', '', { q: withCondition(p.q, condition) });
  const column = (scope: 'log' | 'resource') => (kv: KeyValue) => {
    const name = attributeName(scope, kv.key);
    const on = p.cols.includes(name);
    return (
      <IconButton
        icon="table"
        label={on ? 'Take the column away' : 'Show as a column'}
        pressed={on}
        onClick={() => navigate('logs', { cols: on ? p.cols.filter((c) => c !== name) : [...p.cols, name] }, 'replace')}
      />
    );
  };
  return (
    <div class="span-panel">
      <dl class="facts">
        <dt>Time</dt>
        <dd>
          <Time ns={row.time} digits={9} withZone /> <Copy text={row.time} label="Copy as Unix ns" />
        </dd>
        <dt>Severity</dt>
        <dd>
          <span class={`sev ${severityOf(row.severity)}`}>{severityLabel(row.severity)}</span>{' '}
          {row.severity_text.toUpperCase() !== severityLabel(row.severity) && <span class="dim">{row.severity_text}</span>}
        </dd>
        <dt>Service</dt>
        <dd>
          <a href={serviceHref(row.service)}>{row.service === '' ? '(no name)' : row.service}</a>
        </dd>
        {row.trace !== undefined && (
          <>
            <dt>Trace</dt>
            <dd>
              <a class="mono" href={traceHref(row.trace, row.span ?? '')}>
                {row.trace}
              </a>{' '}
              <Copy text={row.trace} label="Copy the trace's ID" />
            </dd>
          </>
        )}
        {row.log.eventName !== undefined && row.log.eventName !== '' && (
          <>
            <dt>Event</dt>
            <dd>{row.log.eventName}</dd>
          </>
        )}
      </dl>
      <div class="logs-record-body">
        <pre class={pretty === undefined ? '' : 'with-layout'}>{laid.value && pretty !== undefined ? pretty : body === '' ? '(no text)' : body}</pre>
        <span class="logs-record-acts">
          {pretty !== undefined && (
            <button type="button" class="linklike" onClick={() => (laid.value = !laid.value)}>
              {laid.value ? 'as sent' : 'lay out'}
            </button>
          )}
          <Copy text={body} label="Copy the text" />
        </span>
      </div>
      <FindField label="Find in attributes" value={find.value} onInput={(v) => (find.value = v)} />
      <Attributes title="Record" scope="log" list={row.log.attributes ?? []} find={find.value} hrefOf={hrefOf} acts={column('log')} dropped={row.log.droppedAttributesCount} />
      <Attributes title="Resource" scope="resource" list={row.resource?.attributes ?? []} find={find.value} hrefOf={hrefOf} acts={column('resource')} />
      <Attributes title={`Scope ${row.scope?.name ?? ''}`} scope="instrumentation" list={row.scope?.attributes ?? []} find={find.value} hrefOf={hrefOf} />
      <Around row={row} />
    </div>
  );
}

const NEAR = 50;

/** Where a record's service ran, as its resource says; '' where it does not. */
export function environmentOf(r: LogRow): string {
  const of = (key: string) => valueText(r.resource?.attributes?.find((kv) => kv.key === key)?.value);
  return of('deployment.environment.name') || of('deployment.environment');
}

/** What the same service logged just before and after. */
function Around({ row }: { row: LogRow }) {
  const state = useSignal<{ before: LogRow[]; after: LogRow[] } | 'asked' | ApiError | null>(null);
  useEffect(() => {
    state.value = null;
  }, [row]);
  // A service of the same name in another environment has nothing to do with it.
  const environment = environmentOf(row);
  const ask = () => {
    state.value = 'asked';
    const q = inEnvironment(filterOf(`resource.service.name = ${quote(row.service)}`), environment);
    const next = (BigInt(row.time) + 1n).toString();
    Promise.all([
      get<{ rows: LogRow[] }>('/logs', { q, to: row.time, order: 'newest', limit: NEAR }),
      get<{ rows: LogRow[] }>('/logs', { q, from: next, order: 'oldest', limit: NEAR }),
    ])
      .then(([b, a]) => (state.value = { before: b.rows.reverse(), after: a.rows }))
      .catch((e: unknown) => (state.value = e instanceof ApiError ? e : new ApiError('The answer is not readable.', 0, 'unreadable')));
  };
  const s = state.value;
  if (s === null || s === 'asked')
    return (
      <div>
        <Button onClick={ask} disabled={s === 'asked'}>
          <Icon name="logs" size={14} /> Show {NEAR} before and after from {row.service === '' ? 'this service' : row.service}{environment === '' ? '' : ` in ${environment}`}
        </Button>
      </div>
    );
  if (s instanceof ApiError) return <p class="err-text">{s.message}</p>;
  const line = (r: LogRow, here: boolean, i: number) => (
    <div key={i} class={`logs-near ${here ? 'here' : ''}`}>
      <span class="mono dim">{formatClock(r.time)}</span>
      <span class={`sev ${severityOf(r.severity)}`}>{severityLabel(r.severity)}</span>
      <span class="cut">{bodyText(r)}</span>
    </div>
  );
  return (
    <section>
      <h3>Around it{environment === '' ? '' : <span class="dim"> in {environment}</span>}</h3>
      {s.before.map((r, i) => line(r, false, i))}
      {line(row, true, NEAR)}
      {s.after.map((r, i) => line(r, false, NEAR + 1 + i))}
    </section>
  );
}
