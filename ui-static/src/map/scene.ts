// SPDX-License-Identifier: Apache-2.0
// A view with its positions: what is drawn.
import { curveOf } from './curves.ts';
import type { Scene } from './draw.ts';
import { ERR_SEEN, radius, type View } from './graph.ts';
import { pairOf, rim, type Standing } from './keep.ts';

const bad = (r: { err: number | null; errors: number }): number => ((r.err ?? 0) >= ERR_SEEN ? r.errors : 0);

export function sceneOf(view: View, standing: Standing): Scene {
  const { nodes, edges } = view;
  const x = Float64Array.from(nodes, (v) => standing.spots.get(v.id)?.x ?? 0);
  const y = Float64Array.from(nodes, (v) => standing.spots.get(v.id)?.y ?? 0);
  const r = Float64Array.from(nodes, (v) => radius(v.rate));
  const pairs = new Set(edges.map((e) => `${e.s}>${e.t}`));
  const curves = edges.map((e) => {
    const line = standing.lines.get(pairOf(view, e));
    return curveOf(
      { sx: x[e.s]!, sy: y[e.s]!, sr: rim(nodes[e.s]!), tx: x[e.t]!, ty: y[e.t]!, tr: rim(nodes[e.t]!) },
      {
        flow: standing.layout === 'flow', self: e.s === e.t, bow: pairs.has(`${e.t}>${e.s}`),
        back: line?.back ?? x[e.t]! < x[e.s]!,
      },
      line?.bends ?? [],
    );
  });
  const labels = nodes.map((_, i) => i).sort((a, b) => bad(nodes[b]!) - bad(nodes[a]!) ||
    Number(nodes[b]!.kind === 'group') - Number(nodes[a]!.kind === 'group') || nodes[b]!.rate - nodes[a]!.rate || a - b);
  const worst = edges.map((_, i) => i).filter((i) => bad(edges[i]!) > 0 && edges[i]!.err! >= 0.01)
    .sort((a, b) => bad(edges[b]!) - bad(edges[a]!) || a - b);
  return { nodes, edges, x, y, r, curves, labels, edgeLabels: worst };
}

export function boundsOf(scene: Scene): { l: number; t: number; r: number; b: number } {
  const out = { l: Infinity, t: Infinity, r: -Infinity, b: -Infinity };
  for (let i = 0; i < scene.nodes.length; i++) {
    // Labels are wider than circles and stand below them.
    out.l = Math.min(out.l, scene.x[i]! - 60);
    out.r = Math.max(out.r, scene.x[i]! + 60);
    out.t = Math.min(out.t, scene.y[i]! - scene.r[i]! - 10);
    out.b = Math.max(out.b, scene.y[i]! + scene.r[i]! + 38);
  }
  for (const c of scene.curves) {
    // A curve between points at one height reaches three quarters of the way to its controls.
    for (let i = 0; i < c.length; i += 8) out.t = Math.min(out.t, 0.25 * Math.min(c[i + 1]!, c[i + 7]!) + 0.75 * Math.min(c[i + 3]!, c[i + 5]!));
  }
  return scene.nodes.length > 0 ? out : { l: 0, t: 0, r: 1, b: 1 };
}

/** The nearest node in a direction: near in it counts more than near at all. */
export function neighbour(scene: Scene, from: number, dx: number, dy: number): number {
  let best = -1, least = Infinity;
  for (let i = 0; i < scene.nodes.length; i++) {
    const ax = scene.x[i]! - scene.x[from]!, ay = scene.y[i]! - scene.y[from]!;
    const forward = ax * dx + ay * dy, aside = Math.abs(ax * dy) + Math.abs(ay * dx);
    if (i === from || forward <= 1 || aside > 2.5 * forward) continue;
    const cost = forward + 2 * aside;
    if (cost < least) {
      least = cost;
      best = i;
    }
  }
  return best;
}
