// SPDX-License-Identifier: Apache-2.0
// The Flow layout: callers left of callees, in columns, with few crossings.
//
// Cut cycles depth-first, rank by longest path, pull sources next to their first callee, carry edges that pass a
// column on a bend of their own, order the columns by barycentre sweeps and swaps, then settle the heights. The work
// is bounded by counts and never by the clock, so that the same graph gives the same picture on every machine.

import { aloneIn, block, GAP, LABEL, type Places, type Shape } from './shape.ts';

const COLUMN = 176; // from one rank to the next: a label's width and room for an arrow
const WRAPPED = LABEL; // between the columns that one tall rank is wrapped into
const ROWS = 16; // of a rank before it is wrapped
const SWEEPS = 24;
const BENDS = 6000; // more than this many bends are not carried: the weakest edges go straight
const SWAPS = 400_000; // comparisons of neighbouring nodes' edges

/** Adjacency in compressed rows: `list[start[v]] … list[start[v + 1] - 1]` are v's entries. */
interface Rows {
  start: Int32Array;
  list: Int32Array;
}

function rows(n: number, at: ArrayLike<number>, value: ArrayLike<number>): Rows {
  const start = new Int32Array(n + 1);
  for (let i = 0; i < at.length; i++) start[at[i]! + 1]!++;
  for (let i = 0; i < n; i++) start[i + 1]! += start[i]!;
  const list = new Int32Array(at.length), next = start.slice();
  for (let i = 0; i < at.length; i++) list[next[at[i]!]!++] = value[i]!;
  return { start, list };
}

/** Marks the edges that close a cycle when walked depth-first, strong edges and pure callers first. */
export function cut(shape: Shape): Uint8Array {
  const { n, from, to, weight } = shape;
  const back = new Uint8Array(from.length);
  const inn = new Float64Array(n), out = new Float64Array(n);
  for (let e = 0; e < from.length; e++) {
    if (from[e] === to[e]) {
      back[e] = 1;
      continue;
    }
    out[from[e]!]! += weight[e]!;
    inn[to[e]!]! += weight[e]!;
  }
  const byWeight = Array.from(from.keys()).sort((a, b) => weight[b]! - weight[a]! || a - b);
  const edges = rows(n, byWeight.map((e) => from[e]!), byWeight);
  const roots = Array.from({ length: n }, (_, i) => i).sort((a, b) => {
    const pure = Number(inn[a]! > 0) - Number(inn[b]! > 0);
    return pure || (out[b]! - inn[b]!) - (out[a]! - inn[a]!) || a - b;
  });
  const state = new Uint8Array(n), next = edges.start.slice();
  const stack: number[] = [];
  for (const root of roots) {
    if (state[root] !== 0) continue;
    state[root] = 1;
    stack.push(root);
    while (stack.length > 0) {
      const v = stack[stack.length - 1]!;
      if (next[v]! === edges.start[v + 1]!) {
        state[v] = 2;
        stack.pop();
        continue;
      }
      const e = edges.list[next[v]!++]!, t = to[e]!;
      if (t === v) continue;
      if (state[t] === 1) back[e] = 1;
      if (state[t] === 0) {
        state[t] = 1;
        stack.push(t);
      }
    }
  }
  return back;
}

/** The column of every node: the longest way to it, and for a source the one before its first callee. */
export function ranks(shape: Shape, back: Uint8Array): Int32Array {
  const { n, from, to } = shape;
  const kept = Array.from(from.keys()).filter((e) => back[e] === 0);
  const edges = rows(n, kept.map((e) => from[e]!), kept);
  const waits = new Int32Array(n), rank = new Int32Array(n);
  for (const e of kept) waits[to[e]!]!++;
  const ready: number[] = [];
  for (let v = 0; v < n; v++) if (waits[v] === 0) ready.push(v);
  const sources = ready.slice();
  for (let i = 0; i < ready.length; i++) {
    const v = ready[i]!;
    for (let k = edges.start[v]!; k < edges.start[v + 1]!; k++) {
      const t = to[edges.list[k]!]!;
      rank[t] = Math.max(rank[t]!, rank[v]! + 1);
      if (--waits[t]! === 0) ready.push(t);
    }
  }
  for (const v of sources) {
    let first = Infinity;
    for (let k = edges.start[v]!; k < edges.start[v + 1]!; k++) {
      first = Math.min(first, rank[to[edges.list[k]!]!]!);
    }
    if (first !== Infinity) rank[v] = first - 1;
  }
  return rank;
}

/** The layered graph: the nodes, then one vertex for each column that an edge passes. */
interface Layers {
  total: number;
  columns: number[][];
  at: Int32Array; // a vertex' place in its column
  left: Rows; // neighbours one column to the left
  right: Rows;
  bends: Int32Array[]; // an edge's bend vertices
}

function layer(shape: Shape, back: Uint8Array, rank: Int32Array, alone: Uint8Array): Layers {
  const { n, from, to, weight, key } = shape;
  let deepest = 0;
  for (let v = 0; v < n; v++) if (alone[v] === 0) deepest = Math.max(deepest, rank[v]!);
  const columns: number[][] = Array.from({ length: deepest + 1 }, () => []);
  const keys: number[] = Array.from(key);
  for (let v = 0; v < n; v++) if (alone[v] === 0) columns[rank[v]!]!.push(v);

  const bends: Int32Array[] = Array.from(from, () => new Int32Array(0));
  const a: number[] = [], b: number[] = [];
  let total = n;
  for (const e of Array.from(from.keys()).sort((p, q) => weight[q]! - weight[p]! || p - q)) {
    if (back[e] === 1) continue;
    const s = from[e]!, t = to[e]!, passed = rank[t]! - rank[s]! - 1;
    if (passed > 0 && total - n + passed > BENDS) continue;
    const own = new Int32Array(passed);
    let last = s;
    for (let i = 0; i < passed; i++) {
      const v = total++;
      own[i] = v;
      keys.push(key[s]!);
      columns[rank[s]! + 1 + i]!.push(v);
      a.push(last);
      b.push(v);
      last = v;
    }
    a.push(last);
    b.push(t);
    bends[e] = own;
  }
  const at = new Int32Array(total);
  for (const column of columns) {
    column.sort((p, q) => keys[p]! - keys[q]! || p - q);
    column.forEach((v, i) => (at[v] = i));
  }
  return { total, columns, at, left: rows(total, b, a), right: rows(total, a, b), bends };
}

/** Crossings between two neighbouring columns: inversions, counted in a Fenwick tree. */
function between(g: Layers, column: number): number {
  const size = g.columns[column + 1]!.length, tree = new Int32Array(size + 1);
  let seen = 0, count = 0;
  const ends: number[] = [];
  for (const v of g.columns[column]!) {
    ends.length = 0;
    for (let k = g.right.start[v]!; k < g.right.start[v + 1]!; k++) ends.push(g.at[g.right.list[k]!]!);
    for (const end of ends) {
      let before = 0;
      for (let i = end + 1; i > 0; i -= i & -i) before += tree[i]!;
      count += seen - before;
    }
    for (const end of ends) for (let i = end + 1; i <= size; i += i & -i) tree[i]!++;
    seen += ends.length;
  }
  return count;
}

function allCrossings(g: Layers): number {
  let count = 0;
  for (let c = 0; c + 1 < g.columns.length; c++) count += between(g, c);
  return count;
}

function sweep(g: Layers, toRight: boolean): void {
  const side = toRight ? g.left : g.right, count = g.columns.length;
  const wish = new Float64Array(g.total);
  for (let i = 1; i < count; i++) {
    const column = g.columns[toRight ? i : count - 1 - i]!;
    for (const v of column) {
      const first = side.start[v]!, end = side.start[v + 1]!;
      let sum = 0;
      for (let k = first; k < end; k++) sum += g.at[side.list[k]!]!;
      // Places are compared as shares of their columns, since columns differ in length.
      const other = g.columns[toRight ? i - 1 : count - i]!.length;
      wish[v] = end > first ? (sum / (end - first) + 0.5) / other : (g.at[v]! + 0.5) / column.length;
    }
    column.sort((p, q) => wish[p]! - wish[q]! || g.at[p]! - g.at[q]!);
    column.forEach((v, k) => (g.at[v] = k));
  }
}

/** How many crossings the pair has with u above v, less those with v above u. */
function gain(g: Layers, side: Rows, u: number, v: number): number {
  let diff = 0;
  for (let i = side.start[u]!; i < side.start[u + 1]!; i++) {
    const p = g.at[side.list[i]!]!;
    for (let k = side.start[v]!; k < side.start[v + 1]!; k++) {
      const q = g.at[side.list[k]!]!;
      diff += p > q ? 1 : p < q ? -1 : 0;
    }
  }
  return diff;
}

/** Swaps neighbours in their columns while that removes crossings. */
function swaps(g: Layers): void {
  let left = SWAPS, better = true;
  while (better && left > 0) {
    better = false;
    for (const column of g.columns) {
      for (let i = 0; i + 1 < column.length; i++) {
        const u = column[i]!, v = column[i + 1]!;
        left -= (g.left.start[u + 1]! - g.left.start[u]!) * (g.left.start[v + 1]! - g.left.start[v]!) +
          (g.right.start[u + 1]! - g.right.start[u]!) * (g.right.start[v + 1]! - g.right.start[v]!);
        if (left < 0) return;
        if (gain(g, g.left, u, v) + gain(g, g.right, u, v) <= 0) continue;
        column[i] = v;
        column[i + 1] = u;
        g.at[v] = i;
        g.at[u] = i + 1;
        better = true;
      }
    }
  }
}

function order(g: Layers): void {
  let best = allCrossings(g), kept = g.columns.map((c) => c.slice());
  for (let i = 0; i < SWEEPS && best > 0; i++) {
    sweep(g, i % 2 === 0);
    const now = allCrossings(g);
    if (now < best) {
      best = now;
      kept = g.columns.map((c) => c.slice());
    }
  }
  g.columns = kept;
  for (const column of g.columns) column.forEach((v, i) => (g.at[v] = i));
  swaps(g);
}

/**
 * The heights nearest to the wishes that keep the order and the distances, least squares: pool neighbours that would
 * be too close and give the pool the mean of its wishes.
 */
export function settle(wish: Float64Array, weight: Float64Array, apart: Float64Array): Float64Array {
  const n = wish.length, offset = new Float64Array(n), y = new Float64Array(n);
  for (let i = 1; i < n; i++) offset[i] = offset[i - 1]! + apart[i]!;
  const mean: number[] = [], mass: number[] = [], size: number[] = [];
  for (let i = 0; i < n; i++) {
    let m = wish[i]! - offset[i]!, w = weight[i]!, k = 1;
    while (mean.length > 0 && mean[mean.length - 1]! >= m) {
      const m0 = mean.pop()!, w0 = mass.pop()!;
      m = (m0 * w0 + m * w) / (w0 + w);
      w += w0;
      k += size.pop()!;
    }
    mean.push(m);
    mass.push(w);
    size.push(k);
  }
  for (let pool = 0, i = 0; pool < mean.length; pool++) {
    for (let k = 0; k < size[pool]!; k++, i++) y[i] = mean[pool]! + offset[i]!;
  }
  return y;
}

function heights(g: Layers, shape: Shape, wraps: Int32Array): Float64Array {
  const { n, r } = shape, y = new Float64Array(g.total);
  const apart = g.columns.map((column, c) => {
    let biggest = 0;
    for (const v of column) if (v < n) biggest = Math.max(biggest, r[v]!);
    return Float64Array.from(column, (v, i) => {
      if (i === 0) return 0;
      const u = column[i - 1]!;
      if (wraps[c]! > 1) return u < n || v < n ? (2 * biggest + GAP) / wraps[c]! : 8;
      const both = (u < n ? r[u]! : 0) + (v < n ? r[v]! : 0);
      return u < n && v < n ? both + GAP : u < n ? both + GAP + 2 : v < n ? both + 12 : 12;
    });
  });
  g.columns.forEach((column, c) => {
    let h = 0;
    for (let i = 0; i < column.length; i++) {
      h += apart[c]![i]!;
      y[column[i]!] = h;
    }
    for (const v of column) y[v]! -= h / 2;
  });
  for (let round = 0; round < 16; round++) {
    const toRight = round % 2 === 0;
    for (let i = 0; i < g.columns.length; i++) {
      const c = toRight ? i : g.columns.length - 1 - i, column = g.columns[c]!;
      const wish = new Float64Array(column.length), weight = new Float64Array(column.length);
      column.forEach((v, k) => {
        let sum = 0, mass = 0;
        for (const [side, strong] of [[g.left, toRight], [g.right, !toRight]] as const) {
          for (let j = side.start[v]!; j < side.start[v + 1]!; j++) {
            // Bends follow each other, so that long edges run straight.
            const u = side.list[j]!, m = (u >= n && v >= n ? 8 : 1) * (strong ? 2 : 1);
            sum += y[u]! * m;
            mass += m;
          }
        }
        wish[k] = mass > 0 ? sum / mass : y[v]!;
        weight[k] = mass > 0 ? mass : 0.1;
      });
      settle(wish, weight, apart[c]!).forEach((h, k) => (y[column[k]!] = h));
    }
  }
  return y;
}

export function flow(shape: Shape): Places {
  const { n } = shape, back = cut(shape), rank = ranks(shape, back);
  const alone = aloneIn(shape);
  const g = layer(shape, back, rank, alone);
  order(g);

  const wraps = Int32Array.from(g.columns, (column) => {
    let nodes = 0;
    for (const v of column) if (v < n) nodes++;
    return Math.max(1, Math.ceil(nodes / ROWS));
  });
  const y = heights(g, shape, wraps), x = new Float64Array(g.total);
  let left = 0, top = 0, bottom = 0;
  g.columns.forEach((column, c) => {
    // A wrapped rank is laid like bricks: the order from top to bottom stays the order of the column.
    let brick = 0;
    for (const v of column) {
      x[v] = v < n ? left + (brick++ % wraps[c]!) * WRAPPED : left + ((wraps[c]! - 1) * WRAPPED) / 2;
      top = Math.min(top, y[v]!);
      bottom = Math.max(bottom, y[v]! + (v < n ? shape.r[v]! : 0));
    }
    left += COLUMN + (wraps[c]! - 1) * WRAPPED;
  });
  const p: Places = {
    x: x.slice(0, n), y: y.slice(0, n), back,
    bends: g.bends.map((own) => Float64Array.from({ length: own.length * 2 },
      (_, i) => (i % 2 === 0 ? x : y)[own[i >> 1]!]!)),
  };
  const none = alone.every((v) => v === 1);
  block(shape, alone, p, 0, left - COLUMN, none ? 0 : bottom + 2 * GAP);
  return p;
}
