// SPDX-License-Identifier: Apache-2.0
// The trace's spans by service and operation: where the time goes, when there are too many to look at.
import { useComputed, useSignal } from '@preact/signals';
import { formatCount, formatDuration, formatPercent } from '../lib/units.ts';
import { shownColumns } from '../ui/columns.tsx';
import { Icon } from '../ui/icons.tsx';
import { ServiceName } from '../ui/text.tsx';
import { groupSpans, type SpanGroup } from './model.ts';
import type { TraceView } from './view.ts';

type Column = 'count' | 'errors' | 'total' | 'self' | 'p50' | 'p95' | 'max';
export const SPAN_COLUMNS: readonly { key: Column | 'name'; head: string }[] = [
  { key: 'name', head: 'Service and operation' },
  { key: 'count', head: 'Spans' },
  { key: 'errors', head: 'Errors' },
  { key: 'self', head: 'Own time' },
  { key: 'total', head: 'Total' },
  { key: 'p50', head: 'p50' },
  { key: 'p95', head: 'p95' },
  { key: 'max', head: 'Longest' },
];
const MAX_ROWS = 500;

export function SpansTab({ view }: { view: TraceView }) {
  const sort = useSignal<Column>('self');
  const groups = useComputed(() => groupSpans(view.trace)).value;
  const columns = shownColumns('spans', SPAN_COLUMNS).flatMap((c) => (c.key === 'name' ? [] : [[c.key, c.head] as const]));
  const by = sort.value;
  const rows = [...groups].sort((a, b) => b[by] - a[by]);
  const allSelf = groups.reduce((sum, g) => sum + g.self, 0);
  const most = rows.reduce((m, g) => Math.max(m, g.self), 0);
  const value = (g: SpanGroup, c: Column) => (c === 'count' || c === 'errors' ? formatCount(g[c]) : formatDuration(g[c]));
  return (
    <div class="scroll trace-spans">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Service and operation</th>
            {columns.map(([key, text]) => (
              <th key={key} scope="col" class="num" aria-sort={by === key ? 'descending' : undefined}>
                <button type="button" class="sort" onClick={() => (sort.value = key)}>
                  {text}
                  {by === key && <Icon name="down" size={12} />}
                </button>
              </th>
            ))}
            <th scope="col">Share of own time</th>
          </tr>
        </thead>
        <tbody>
          {rows.slice(0, MAX_ROWS).map((g) => {
            const service = view.trace.header.services[g.svc];
            return (
              <tr key={`${g.svc} ${g.name}`}>
                <td>
                  <span class="trace-spans-name">
                    <ServiceName name={service?.name ?? ''} color={view.slots[g.svc] ?? 0} />
                    <button type="button" class="linklike cut" title="Go to the longest" onClick={() => view.goTo(g.slowest)}>
                      {view.trace.names[g.name] ?? ''}
                    </button>
                  </span>
                </td>
                {columns.map(([key]) => (
                  <td key={key} class={`num ${key === 'errors' && g.errors > 0 ? 'err-text' : ''} ${g[key] === 0 ? 'dim' : ''}`}>
                    {value(g, key)}
                  </td>
                ))}
                <td>
                  <span class="share">
                    <span class="share-bar" style={{ width: `${most === 0 ? 0 : (g.self / most) * 96}px` }} />
                    <span class="dim">{formatPercent(allSelf === 0 ? 0 : g.self / allSelf)}</span>
                  </span>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {rows.length > MAX_ROWS && <p class="dim small">{formatCount(rows.length - MAX_ROWS)} more kinds of span are not listed.</p>}
    </div>
  );
}
