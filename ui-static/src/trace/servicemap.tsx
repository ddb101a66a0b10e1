// SPDX-License-Identifier: Apache-2.0
// The services of one trace and who called whom: columns by distance from the entry, lines as wide as their calls.
import { useComputed } from '@preact/signals';
import { formatCount, formatDuration, plural } from '../lib/units.ts';
import { ServiceName } from '../ui/text.tsx';
import { navigate, params } from '../lib/route.ts';
import { serviceEdges, type ServiceEdge } from './services.ts';
import type { TraceView } from './view.ts';

const COLUMN = 196;
const BOX = 148;
const LINE = 64;

export function MapTab({ view }: { view: TraceView }) {
  const graph = useComputed(() => serviceEdges(view.trace)).value;
  const { services } = view.trace.header;
  const seats = new Map<number, { x: number; y: number }>();
  const filled: number[] = [];
  for (const { svc, rank } of graph.nodes) {
    const k = (filled[rank] = (filled[rank] ?? -1) + 1);
    seats.set(svc, { x: 24 + rank * COLUMN, y: 24 + k * LINE });
  }
  const width = 48 + (filled.length - 1) * COLUMN + BOX;
  const height = 48 + Math.max(0, ...filled) * LINE + 44;
  const most = graph.edges.reduce((m, e) => Math.max(m, e.count), 1);
  const path = (e: ServiceEdge): string => {
    const [a, b] = [seats.get(e.from)!, seats.get(e.to)!];
    const [x0, y0] = [a.x + BOX, a.y + 20];
    const [x1, y1] = [b.x, b.y + 20];
    if (x1 > x0) {
      const mid = (x0 + x1) / 2;
      return `M${x0} ${y0}C${mid} ${y0} ${mid} ${y1} ${x1} ${y1}`;
    }
    // Against the flow: round the outside.
    return `M${x0} ${y0}C${x0 + 60} ${y0 - 50} ${x1 - 60} ${y1 - 50} ${x1} ${y1}`;
  };
  const chosen = params('trace').svc;
  const open = (svc: number) => navigate('trace', { tab: 'waterfall', svc: [services[svc]!.name] }, 'push');
  return (
    <div class="scroll trace-map">
      <div class="trace-map-draw" style={{ width: `${width}px`, height: `${height}px` }}>
        <svg width={width} height={height} aria-hidden="true">
          {graph.edges.map((e) => (
            <path key={`${e.from} ${e.to}`} d={path(e)} class={e.errors > 0 ? 'err' : ''} stroke-width={1 + 4 * (Math.log(1 + e.count) / Math.log(1 + most))} />
          ))}
        </svg>
        {graph.nodes.map(({ svc }) => {
          const seat = seats.get(svc)!;
          const s = services[svc]!;
          return (
            <button
              key={svc}
              type="button"
              class={`trace-map-node ${chosen.includes(s.name) ? 'chosen' : ''}`}
              style={{ transform: `translate(${seat.x}px, ${seat.y}px)`, width: `${BOX}px` }}
              title="Show its spans"
              onClick={() => open(svc)}
            >
              <ServiceName name={s.name} color={view.slots[svc] ?? 0} />
              <span class="dim">
                {plural(s.spans, 'span')}
                {s.errors > 0 && <span class="err-text"> · {plural(s.errors, 'error')}</span>}
              </span>
            </button>
          );
        })}
      </div>
      <table class="table trace-map-table">
        <thead>
          <tr>
            <th scope="col">From</th>
            <th scope="col">To</th>
            <th scope="col" class="right">Calls</th>
            <th scope="col" class="right">Errors</th>
            <th scope="col" class="right">Time in them</th>
            <th scope="col" class="right">Longest</th>
          </tr>
        </thead>
        <tbody>
          {graph.edges.map((e) => (
            <tr key={`${e.from} ${e.to}`}>
              <td><ServiceName name={services[e.from]!.name} color={view.slots[e.from] ?? 0} /></td>
              <td><ServiceName name={services[e.to]!.name} color={view.slots[e.to] ?? 0} /></td>
              <td class="right">{formatCount(e.count)}</td>
              <td class={`right ${e.errors > 0 ? 'err-text' : 'dim'}`}>{formatCount(e.errors)}</td>
              <td class="right">{formatDuration(e.total)}</td>
              <td class="right">
                <button type="button" class="linklike" onClick={() => view.goTo(e.slowest)}>
                  {formatDuration(e.longest)}
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
