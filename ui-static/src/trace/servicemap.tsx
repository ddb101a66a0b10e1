// SPDX-License-Identifier: Apache-2.0
// The services of one trace and who called whom: columns by distance from the entry, lines as wide as their calls.
import { useComputed, useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { formatCount, formatDuration, formatPercent, plural } from '../lib/units.ts';
import { ServiceName } from '../ui/text.tsx';
import { navigate, params } from '../lib/route.ts';
import { serviceEdges, type ServiceEdge } from './services.ts';
import type { TraceView } from './view.ts';

const BOX = 152; // px, of a service, and the least and the most from one to the next
const GAP = [28, 140] as const;
const LINE = 68;
const MARGIN = 24;

export function MapTab({ view }: { view: TraceView }) {
  const graph = useComputed(() => serviceEdges(view.trace)).value;
  const { services } = view.trace.header;
  // Where the time went: each service's own, of all.
  const own = useComputed(() => {
    const { spans: s, tree } = view.trace;
    const out = new Float64Array(view.trace.header.services.length);
    for (let i = 0; i < s.n; i++) if (s.svc[i]! >= 0 && s.svc[i]! < out.length) out[s.svc[i]!]! += tree.self[i]!;
    return out;
  }).value;
  const all = own.reduce((a, b) => a + b, 0);
  const room = useSignal(0);
  const frame = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const measure = () => (room.value = frame.current!.clientWidth);
    measure();
    const resized = new ResizeObserver(measure);
    resized.observe(frame.current!);
    return () => resized.disconnect();
  }, []);
  const ranks = 1 + graph.nodes.reduce((m, n) => Math.max(m, n.rank), 0);
  // The columns fill what room there is; what does not fit scrolls.
  const column = ranks < 2 ? 0 : BOX + Math.max(GAP[0], Math.min(GAP[1], (room.value - 2 * MARGIN - BOX) / (ranks - 1) - BOX));
  const seats = new Map<number, { x: number; y: number }>();
  const filled: number[] = [];
  for (const { svc, rank } of graph.nodes) {
    const k = (filled[rank] = (filled[rank] ?? -1) + 1);
    seats.set(svc, { x: MARGIN + rank * column, y: MARGIN + k * LINE });
  }
  const width = 2 * MARGIN + (ranks - 1) * column + BOX;
  const height = 2 * MARGIN + Math.max(0, ...filled) * LINE + 52;
  const most = graph.edges.reduce((m, e) => Math.max(m, e.count), 1);
  const path = (e: ServiceEdge): string => {
    const [a, b] = [seats.get(e.from)!, seats.get(e.to)!];
    const [x0, y0] = [a.x + BOX, a.y + 26];
    const [x1, y1] = [b.x - 7, b.y + 26];
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
    <div class="scroll trace-map" ref={frame}>
      <div class="trace-map-draw" style={{ width: `${width}px`, height: `${height}px` }}>
        <svg width={width} height={height} aria-hidden="true">
          {graph.edges.map((e) => {
            const { x, y } = seats.get(e.to)!;
            return (
              <g key={`${e.from} ${e.to}`} class={e.errors > 0 ? 'err' : ''}>
                <path class="line" d={path(e)} stroke-width={most === 1 ? 1.5 : 1 + 3 * (Math.log(e.count) / Math.log(most))} />
                <path class="tip" d={`M${x - 1} ${y + 26}l-8 -4.5v9z`} />
              </g>
            );
          })}
        </svg>
        {graph.nodes.map(({ svc }) => {
          const seat = seats.get(svc)!;
          const s = services[svc]!;
          return (
            <button
              key={svc}
              type="button"
              class={`trace-map-node ${s.errors > 0 ? 'failing' : ''} ${chosen.includes(s.name) ? 'chosen' : ''}`}
              style={{ transform: `translate(${seat.x}px, ${seat.y}px)`, width: `${BOX}px` }}
              title={`Show its spans. Own time: ${formatDuration(own[svc]!)}, ${formatPercent(all === 0 ? 0 : own[svc]! / all)} of all`}
              onClick={() => open(svc)}
            >
              <span class="trace-map-name">
                <ServiceName name={s.name} color={view.slots[svc] ?? 0} />
                {s.errors > 0 && <span class="err-text">✖ {formatCount(s.errors)}</span>}
              </span>
              <span class="dim">
                {formatDuration(own[svc]!)} own · {plural(s.spans, 'span')}
              </span>
              <span class="trace-map-own" aria-hidden="true">
                <i style={{ width: `${all === 0 ? 0 : (100 * own[svc]!) / all}%` }} />
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
