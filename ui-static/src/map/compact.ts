// SPDX-License-Identifier: Apache-2.0
// The Compact layout: forces, for graphs in which no direction prevails. d3-force draws its random numbers from a fixed
// seed, so that the same graph gives the same picture.

import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY,
  type SimulationLinkDatum, type SimulationNodeDatum } from 'd3-force';
import { aloneIn, block, GAP, type Places, type Shape } from './shape.ts';

const TICKS = 220;
const PUSHES = 200;
const STRETCH = 1.4;

interface Body extends SimulationNodeDatum {
  r: number;
}

/** Pushes apart what the forces left too close; sweeps in order of x, so it is quick and repeatable. */
function separate(x: Float64Array, y: Float64Array, r: Float64Array, gap: number): void {
  const n = x.length, order = Array.from({ length: n }, (_, i) => i);
  let biggest = 0;
  for (let i = 0; i < n; i++) biggest = Math.max(biggest, r[i]!);
  for (let round = 0; round < PUSHES; round++) {
    order.sort((a, b) => x[a]! - x[b]! || a - b);
    let moved = false;
    for (let i = 0; i < n; i++) {
      const a = order[i]!;
      for (let k = i + 1; k < n; k++) {
        const b = order[k]!, want = r[a]! + r[b]! + gap;
        if (x[b]! - x[a]! > r[a]! + biggest + gap + 1) break;
        let dx = x[b]! - x[a]!, dy = y[b]! - y[a]!, far = Math.hypot(dx, dy);
        if (far >= want) continue;
        if (far < 1e-6) {
          dx = 1;
          dy = a < b ? 0.5 : -0.5;
          far = Math.hypot(dx, dy);
        }
        const push = (want - Math.hypot(x[b]! - x[a]!, y[b]! - y[a]!)) / 2 + 0.01;
        x[a]! -= (dx / far) * push;
        y[a]! -= (dy / far) * push;
        x[b]! += (dx / far) * push;
        y[b]! += (dy / far) * push;
        moved = true;
      }
    }
    if (!moved) return;
  }
}

export function compact(shape: Shape): Places {
  const { n, r, from, to, weight } = shape, alone = aloneIn(shape);
  const joined = Array.from({ length: n }, (_, v) => v).filter((v) => alone[v] === 0), at = new Int32Array(n).fill(-1);
  joined.forEach((v, i) => (at[v] = i));
  const bodies: Body[] = joined.map((v) => ({ r: r[v]! }));
  const edges = Array.from(from.keys()).filter((e) => from[e] !== to[e]);
  const degree = new Int32Array(n);
  let heaviest = 0;
  for (const e of edges) {
    degree[from[e]!]!++;
    degree[to[e]!]!++;
    heaviest = Math.max(heaviest, weight[e]!);
  }
  const links = edges.map((e): SimulationLinkDatum<Body> => ({ source: at[from[e]!]!, target: at[to[e]!]! }));
  const strength = edges.map((e) =>
    Math.min(1, (0.5 + weight[e]! / (heaviest || 1)) / Math.min(degree[from[e]!]!, degree[to[e]!]!)));
  const simulation = forceSimulation(bodies).stop()
    .force('link', forceLink<Body, SimulationLinkDatum<Body>>(links).distance(120).strength((_, i) => strength[i]!))
    .force('charge', forceManyBody<Body>().strength((b) => -420 - 16 * b.r).distanceMax(1200))
    .force('collide', forceCollide<Body>((b) => b.r + GAP / 2).iterations(2))
    .force('x', forceX<Body>(0).strength(0.05))
    .force('y', forceY<Body>(0).strength(0.05));
  simulation.tick(bodies.length > 200 ? TICKS / 2 : TICKS);

  const own = Float64Array.from(bodies, (b) => b.r);
  const bx = Float64Array.from(bodies, (b) => b.x!), by = Float64Array.from(bodies, (b) => b.y!);
  separate(bx, by, own, GAP);
  const p: Places = {
    x: new Float64Array(n), y: new Float64Array(n), bends: Array.from(from, () => new Float64Array(0)), back: new Uint8Array(from.length),
  };
  let left = Infinity, right = -Infinity, bottom = 0;
  joined.forEach((v, i) => {
    // Labels are wider than high, and so are screens.
    p.x[v] = bx[i]! * STRETCH;
    p.y[v] = by[i]!;
    left = Math.min(left, p.x[v]!);
    right = Math.max(right, p.x[v]!);
    bottom = Math.max(bottom, p.y[v]! + r[v]!);
  });
  if (joined.length === 0) left = right = 0;
  block(shape, alone, p, left, right - left, joined.length === 0 ? 0 : bottom + 2 * GAP);
  return p;
}
