// SPDX-License-Identifier: Apache-2.0
// Positions over time: what stood stays, what is new finds a place beside its neighbours.
import { radius, type Link, type View } from './graph.ts';
import { GAP, type Places, type Shape } from './shape.ts';

export interface Spot {
  x: number;
  y: number;
}

export interface Standing {
  layout: 'flow' | 'compact';
  spots: Map<string, Spot>;
  /** Bends and direction of an edge, by the ids of its ends. */
  lines: Map<string, { bends: Float64Array; back: boolean }>;
}

export const pairOf = (view: View, e: Link): string => `${view.nodes[e.s]!.id}>${view.nodes[e.t]!.id}`;

/** A stack of rims needs a little more than its circle. */
export const rim = (v: View['nodes'][number]): number => radius(v.rate) + (v.kind === 'group' ? 4 : 0);

/** What the layout sees: all nodes, and the backbone. */
export function shapeOfView(view: View): { shape: Shape; strong: number[] } {
  const strong = view.edges.flatMap((e, i) => (e.strong ? [i] : []));
  const keys = [...new Set(view.nodes.map((v) => v.ns))].sort();
  return {
    strong,
    shape: {
      n: view.nodes.length,
      r: Float64Array.from(view.nodes, rim),
      key: Int32Array.from(view.nodes, (v) => keys.indexOf(v.ns)),
      from: Int32Array.from(strong, (e) => view.edges[e]!.s),
      to: Int32Array.from(strong, (e) => view.edges[e]!.t),
      weight: Float64Array.from(strong, (e) => view.edges[e]!.rate),
    },
  };
}

/** How much taller a picture may be drawn where the room's width is what limits it: up to half as tall again. */
export function tallness(p: Places, width: number, height: number): number {
  if (p.x.length < 2 || width <= 0 || height <= 0) return 1;
  const span = (at: Float64Array): number => at.reduce((a, v) => Math.max(a, v), -Infinity) - at.reduce((a, v) => Math.min(a, v), Infinity);
  // The words and circles at the rims keep their size.
  const zoom = Math.min(1.2, width / (span(p.x) + 180)), tall = span(p.y);
  return tall <= 0 ? 1 : Math.max(1, Math.min(1.5, (height / zoom - 140) / tall));
}

/** `tall`: heights are drawn so many times as tall. */
export function standing(view: View, strong: readonly number[], layout: 'flow' | 'compact', p: Places, tall = 1): Standing {
  const bend = (own: Float64Array): Float64Array => own.map((at, i) => (i % 2 === 0 ? at : at * tall));
  return {
    layout,
    spots: new Map(view.nodes.map((v, i) => [v.id, { x: p.x[i]!, y: p.y[i]! * tall }])),
    lines: new Map(strong.map((e, k) => [pairOf(view, view.edges[e]!), { bends: bend(p.bends[k]!), back: p.back[k] === 1 }])),
  };
}

/**
 * The old standing with the view's new nodes put in, or null where too much is new and the graph is better laid out
 * again. Nodes that went keep their spots, should they come back.
 */
export function keep(view: View, old: Standing): Standing | null {
  const fresh = view.nodes.flatMap((v, i) => (old.spots.has(v.id) ? [] : [i]));
  if (fresh.length === 0) return old;
  if (fresh.length > 3 && fresh.length * 4 > view.nodes.length) return null;
  const spots = new Map(old.spots);
  const taken = [...spots.values()];
  for (const i of fresh) {
    const v = view.nodes[i]!, near: Spot[] = [];
    let shift = 0;
    for (const e of view.edges) {
      const other = e.s === i ? view.nodes[e.t]! : e.t === i ? view.nodes[e.s]! : null;
      const spot = other === null ? undefined : spots.get(other.id);
      if (spot === undefined) continue;
      near.push(spot);
      shift += e.s === i ? -1 : 1;
    }
    const lowest = Math.max(0, ...taken.map((s) => s.y));
    const mean = near.length === 0 ? { x: 0, y: lowest + 90 } :
      { x: near.reduce((a, s) => a + s.x, 0) / near.length, y: near.reduce((a, s) => a + s.y, 0) / near.length };
    const x0 = mean.x + (near.length === 0 ? 0 : Math.sign(shift) * 160), far = 2 * 30 + GAP;
    // Outwards on a spiral, up and down before aside, until there is room.
    for (let k = 0; ; k++) {
      const turn = k * 2.399963, out = 14 * Math.sqrt(k), spot = { x: x0 + out * 0.6 * Math.cos(turn), y: mean.y + out * Math.sin(turn) };
      if (k < 4000 && taken.some((s) => Math.hypot(s.x - spot.x, s.y - spot.y) < far)) continue;
      spots.set(v.id, spot);
      taken.push(spot);
      break;
    }
  }
  return { ...old, spots };
}
