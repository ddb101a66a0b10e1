// SPDX-License-Identifier: Apache-2.0
// The map as a table: callers down the side, callees across the top, a cell for each edge.
import { formatDuration, formatPercent, formatRate } from '../lib/units.ts';
import { edgeText } from './draw.ts';
import { ERR_SEEN, type Link, type Vertex, type View } from './graph.ts';
import { kindWord } from './words.ts';

export type Cell = 'rate' | 'err' | 'p95';

/** Rows and columns in an order that puts callers before callees, as far as there is one. */
export function orderOf(view: View): { rows: number[]; columns: number[] } {
  const out = new Float64Array(view.nodes.length), inn = new Float64Array(view.nodes.length);
  for (const e of view.edges) {
    out[e.s]! += 1;
    inn[e.t]! += 1;
  }
  const share = (v: number): number => inn[v]! / (inn[v]! + out[v]! || 1);
  const by = (a: number, b: number): number => share(a) - share(b) || view.nodes[b]!.rate - view.nodes[a]!.rate || a - b;
  const all = view.nodes.map((_, i) => i).sort(by);
  return { rows: all.filter((v) => out[v]! > 0), columns: all.filter((v) => inn[v]! > 0) };
}

/** The steps of the heat scale on which text is legible. */
const STEPS = [0, 1, 2, 3, 5, 6] as const;

/** A step of the heat scale: log between the smallest and the largest. */
export function heat(value: number | null, least: number, most: number): number {
  if (value === null || value <= 0) return 0;
  if (most <= least) return 3;
  return STEPS[1 + Math.round((4 * Math.log(value / least)) / Math.log(most / least))]!;
}

const valueOf = (e: Link, cell: Cell): number | null => (cell === 'rate' ? e.rate : cell === 'err' ? e.err : e.p95);
const short = (e: Link, cell: Cell): string =>
  cell === 'rate' ? formatRate(e.rate).replace('/s', '') : cell === 'p95' ? formatDuration(e.p95) : (e.err ?? 0) >= ERR_SEEN ? formatPercent(e.err) : '·';

/** Names as the table says them: of nodes that share one, with what tells them apart. */
export function namesIn(view: Pick<View, 'nodes'>): string[] {
  const same = new Map<string, number>(), both = (v: Vertex): string => `${v.kind}\n${v.name}`;
  const count = (key: string): void => void same.set(key, (same.get(key) ?? 0) + 1);
  for (const v of view.nodes) {
    count(v.name);
    count(both(v));
  }
  return view.nodes.map((v) => {
    if (same.get(v.name)! < 2) return v.name;
    return `${v.name} · ${same.get(both(v))! > 1 && v.ns !== '' ? v.ns : kindWord(v)}`;
  });
}

export function Matrix({ view, cell, selected, found, onEdge, onNode }: {
  view: View; cell: Cell; selected: number; found: ReadonlySet<number> | null; onEdge: (index: number) => void; onNode: (index: number) => void;
}) {
  const { rows, columns } = orderOf(view), names = namesIn(view);
  const at = new Map(view.edges.map((e, i) => [`${e.s}>${e.t}`, i]));
  const values = view.edges.map((e) => valueOf(e, cell)).filter((v): v is number => v !== null && v > 0);
  const least = Math.min(...values), most = Math.max(...values);
  const alone = view.nodes.length - new Set([...rows, ...columns]).size;
  const dim = (v: number): string => (found !== null && !found.has(v) ? 'dim' : '');
  return (
    <div class="matrix scroll">
      <table aria-label="Calls from each row to each column">
        <thead>
          <tr>
            <td class="matrix-corner">caller ╲ callee</td>
            {columns.map((t) => (
              <th key={view.nodes[t]!.id} scope="col">
                <button type="button" class={`linklike ${dim(t)}`} title={names[t]} onClick={() => onNode(t)}>
                  {names[t]}
                </button>
              </th>
            ))}
            <td class="matrix-rest" />
          </tr>
        </thead>
        <tbody>
          {rows.map((s) => (
            <tr key={view.nodes[s]!.id}>
              <th scope="row">
                <button type="button" class={`linklike cut ${dim(s)}`} title={names[s]} onClick={() => onNode(s)}>
                  {names[s]}
                </button>
              </th>
              {columns.map((t) => {
                const i = at.get(`${s}>${t}`);
                if (i === undefined) return <td key={view.nodes[t]!.id} class={s === t ? 'self' : ''} />;
                const e = view.edges[i]!;
                const tone = cell === 'err' ? ((e.err ?? 0) >= 0.01 ? 'bad' : (e.err ?? 0) >= ERR_SEEN ? 'some' : 'h0')
                  : `h${heat(valueOf(e, cell), least, most)}`;
                return (
                  <td key={view.nodes[t]!.id}>
                    <button
                      type="button"
                      class={`cell ${tone}`}
                      aria-pressed={i === selected}
                      aria-label={`${short(e, cell)}, ${names[s]} to ${names[t]}: ${edgeText(e)}`}
                      title={`${names[s]} → ${names[t]}\n${edgeText(e)}`}
                      onClick={() => onEdge(i)}
                    >
                      {short(e, cell)}
                    </button>
                  </td>
                );
              })}
              <td class="matrix-rest" />
            </tr>
          ))}
        </tbody>
      </table>
      {alone > 0 && <p class="dim matrix-note">{alone} without calls are not in the table.</p>}
    </div>
  );
}
