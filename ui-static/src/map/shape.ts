// SPDX-License-Identifier: Apache-2.0
// The graph as the layouts see it: indices and numbers, no names. It crosses to the worker as it is.

export interface Shape {
  n: number;
  /** Radius of each node in px, its stacked rings included. */
  r: Float64Array;
  /** Nodes with equal keys start side by side (the namespace). */
  key: Int32Array;
  /** Edges by node index, and how much each one counts; loops and doubles are allowed. */
  from: Int32Array;
  to: Int32Array;
  weight: Float64Array;
}

export interface Places {
  x: Float64Array;
  y: Float64Array;
  /** An edge's inner points, x and y alternating; empty where it is drawn as one curve. */
  bends: Float64Array[];
  /** 1 for an edge that goes against the flow. */
  back: Uint8Array;
}

/** What a node's label needs below its circle, and what is left free around both. */
export const GAP = 48;
/** How wide labels may be, side by side. */
export const LABEL = 132;

/** A uniform sequence in [0, 1) that is the same on every machine. */
export function lcg(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return s / 4294967296;
  };
}

/** How many pairs of nodes are nearer than both radii and `gap`. */
export function overlaps(shape: Shape, p: Places, gap: number): number {
  const order = Array.from({ length: shape.n }, (_, i) => i).sort((a, b) => p.x[a]! - p.x[b]!);
  let biggest = 0;
  for (let i = 0; i < shape.n; i++) biggest = Math.max(biggest, shape.r[i]!);
  let found = 0;
  for (let i = 0; i < order.length; i++) {
    const a = order[i]!;
    for (let j = i + 1; j < order.length; j++) {
      const b = order[j]!;
      if (p.x[b]! - p.x[a]! > shape.r[a]! + biggest + gap) break;
      const far = shape.r[a]! + shape.r[b]! + gap - 1e-6;
      if (Math.hypot(p.x[a]! - p.x[b]!, p.y[a]! - p.y[b]!) < far) found++;
    }
  }
  return found;
}

function side(ax: number, ay: number, bx: number, by: number, cx: number, cy: number): number {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}

/** How often the edges cross, each drawn straight from bend to bend; edges that share an end do not count. */
export function crossings(shape: Shape, p: Places, straight = false): number {
  const seg: number[] = []; // x0 y0 x1 y1 from to
  for (let e = 0; e < shape.from.length; e++) {
    const s = shape.from[e]!, t = shape.to[e]!;
    if (s === t) continue;
    const bends = straight ? [] : p.bends[e] ?? [];
    let x = p.x[s]!, y = p.y[s]!;
    for (let i = 0; i + 1 < bends.length; i += 2) {
      seg.push(x, y, bends[i]!, bends[i + 1]!, s, t);
      x = bends[i]!;
      y = bends[i + 1]!;
    }
    seg.push(x, y, p.x[t]!, p.y[t]!, s, t);
  }
  let count = 0;
  for (let i = 0; i < seg.length; i += 6) {
    const ax = seg[i]!, ay = seg[i + 1]!, bx = seg[i + 2]!, by = seg[i + 3]!;
    for (let j = i + 6; j < seg.length; j += 6) {
      if (seg[i + 4] === seg[j + 4] || seg[i + 5] === seg[j + 5] || seg[i + 4] === seg[j + 5] ||
        seg[i + 5] === seg[j + 4]) continue;
      const cx = seg[j]!, cy = seg[j + 1]!, dx = seg[j + 2]!, dy = seg[j + 3]!;
      if (side(ax, ay, bx, by, cx, cy) * side(ax, ay, bx, by, dx, dy) < 0 &&
        side(cx, cy, dx, dy, ax, ay) * side(cx, cy, dx, dy, bx, by) < 0) count++;
    }
  }
  return count;
}

/** 1 for each node without an edge to another. */
export function aloneIn(shape: Shape): Uint8Array {
  const alone = new Uint8Array(shape.n).fill(1);
  for (let e = 0; e < shape.from.length; e++) {
    if (shape.from[e] !== shape.to[e]) alone[shape.from[e]!] = alone[shape.to[e]!] = 0;
  }
  return alone;
}

/** Nodes without an edge stand in a block of rows under the rest. */
export function block(shape: Shape, alone: Uint8Array, p: Pick<Places, 'x' | 'y'>, left: number, width: number, top: number): void {
  const rest: number[] = [];
  for (let v = 0; v < shape.n; v++) if (alone[v] === 1) rest.push(v);
  rest.sort((a, b) => shape.key[a]! - shape.key[b]! || a - b);
  const perRow = Math.max(8, Math.floor(width / LABEL) + 1, Math.ceil(Math.sqrt(2 * rest.length)));
  let y = top;
  for (let i = 0; i < rest.length; i += perRow) {
    const row = rest.slice(i, i + perRow);
    let biggest = 0;
    for (const v of row) biggest = Math.max(biggest, shape.r[v]!);
    y += biggest;
    row.forEach((v, k) => {
      p.x[v] = left + k * LABEL;
      p.y[v] = y;
    });
    y += biggest + GAP;
  }
}
