// SPDX-License-Identifier: Apache-2.0
// Folding of repeated siblings, and which rows the waterfall shows.
//
// More than FOLD_OVER leaf siblings of one service and name become one row "name × n (sum, max, errors)": 4,000 equal
// rows are data, not a picture. Opened, the row shows the slowest and a row "more", page by page.
//
// A row is one number: below n a span, then n + g for the fold g, then n + folds + g for the "more" row of fold g.
import { FLAG, type Spans, type Tree } from './tree.ts';

export const FOLD_OVER = 20;
export const FOLD_PAGE = 20;

export interface Folds {
  count: number;
  of: Int32Array; // the fold of each span, or -1
  at: Uint32Array; // members of g: members[at[g] .. at[g + 1]), slowest first
  members: Uint32Array;
  first: Uint32Array; // the member that comes first in the tree: the row stands in its place
  sum: Float64Array;
  max: Float64Array;
  errors: Uint32Array;
  lo: Float64Array;
  hi: Float64Array;
}

export function fold(s: Spans, t: Tree): Folds {
  const n = s.n;
  // A dense number for each (service, name), so that (parent, pair) fits a number exactly.
  const pairs = new Map<number, number>();
  const pair = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const key = (s.name[i]! + 1) * 65536 + s.svc[i]! + 1;
    let p = pairs.get(key);
    if (p === undefined) pairs.set(key, (p = pairs.size));
    pair[i] = p;
  }
  const counts = new Map<number, number>();
  const keyOf = (i: number): number => (s.parent[i]! + 1) * pairs.size + pair[i]!;
  const isLeaf = (i: number): boolean => t.kids[i] === 0 && (s.flags[i]! & FLAG.missing) === 0;
  for (let i = 0; i < n; i++) if (isLeaf(i)) counts.set(keyOf(i), (counts.get(keyOf(i)) ?? 0) + 1);

  const of = new Int32Array(n).fill(-1);
  const ids = new Map<number, number>();
  const first: number[] = [];
  const sizes: number[] = [];
  for (let i = 0; i < n; i++) {
    if (!isLeaf(i)) continue;
    const key = keyOf(i);
    const size = counts.get(key)!;
    if (size <= FOLD_OVER) continue;
    let g = ids.get(key);
    if (g === undefined) {
      ids.set(key, (g = ids.size));
      first.push(i);
      sizes.push(size);
    }
    of[i] = g;
  }

  const count = sizes.length;
  const at = new Uint32Array(count + 1);
  for (let g = 0; g < count; g++) at[g + 1] = at[g]! + sizes[g]!;
  const members = new Uint32Array(at[count]!);
  const fill = at.slice();
  const sum = new Float64Array(count);
  const max = new Float64Array(count);
  const errors = new Uint32Array(count);
  const lo = new Float64Array(count).fill(Infinity);
  const hi = new Float64Array(count).fill(-Infinity);
  for (let i = 0; i < n; i++) {
    const g = of[i]!;
    if (g < 0) continue;
    members[fill[g]!++] = i;
    sum[g]! += s.dur[i]!;
    if (s.dur[i]! > max[g]!) max[g] = s.dur[i]!;
    if ((s.flags[i]! & FLAG.error) !== 0) errors[g]!++;
    if (s.start[i]! < lo[g]!) lo[g] = s.start[i]!;
    if (s.start[i]! + s.dur[i]! > hi[g]!) hi[g] = s.start[i]! + s.dur[i]!;
  }
  for (let g = 0; g < count; g++)
    members.subarray(at[g]!, at[g + 1]!).sort((a, b) => s.dur[b]! - s.dur[a]! || a - b);
  return { count, of, at, members, first: Uint32Array.from(first), sum, max, errors, lo, hi };
}

// What a person opened and closed.
export interface RowState {
  collapsed: Uint8Array;
  shown: Uint32Array; // members shown of each fold; 0 = closed
  pinned: Set<number>; // members shown besides: the selected one, a match
}

export interface RowFilter {
  root: number; // only this subtree; -1 = all
  zoom: readonly [number, number] | null; // only rows that touch it
  only: Uint8Array | null; // only spans marked here
}

export const NO_FILTER: RowFilter = { root: -1, zoom: null, only: null };

// What is open at first: everything in a small trace, else to depth 3, and the ways to what matters.
export function initialRows(s: Spans, t: Tree, f: Folds, reveal: readonly number[], critical: Uint8Array): RowState {
  const collapsed = new Uint8Array(s.n);
  const state: RowState = { collapsed, shown: new Uint32Array(f.count), pinned: new Set() };
  if (s.n <= 500) return revealAll(state, s, f, reveal);
  const openFrom = new Uint8Array(s.n);
  for (let i = s.n - 1; i >= 0; i--) {
    const matters = (s.flags[i]! & FLAG.error) !== 0 || critical[i] === 1 || openFrom[i] === 1;
    const p = s.parent[i]!;
    if (p >= 0 && matters) openFrom[p] = 1;
    if (t.kids[i]! > 0 && t.depth[i]! >= 3 && openFrom[i] === 0) collapsed[i] = 1;
  }
  return revealAll(state, s, f, reveal);
}

function revealAll(state: RowState, s: Spans, f: Folds, spans: readonly number[]): RowState {
  for (const i of spans) reveal(state, s, f, i);
  return state;
}

// Open what hides a span. Returns whether anything changed.
export function reveal(state: RowState, s: Spans, f: Folds, span: number): boolean {
  let changed = false;
  for (let p = s.parent[span]!; p >= 0; p = s.parent[p]!) {
    if (state.collapsed[p] === 1) {
      state.collapsed[p] = 0;
      changed = true;
    }
  }
  const g = f.of[span]!;
  if (g < 0) return changed;
  const rank = f.members.subarray(f.at[g]!, f.at[g + 1]!).indexOf(span);
  if (state.shown[g] === 0) {
    state.shown[g] = FOLD_PAGE;
    changed = true;
  }
  if (rank >= state.shown[g]! && !state.pinned.has(span)) {
    state.pinned.add(span);
    changed = true;
  }
  return changed;
}

// Write the visible rows to `out` (room for n + 2 × folds) and return their number.
export function visibleRows(
  s: Spans,
  t: Tree,
  f: Folds,
  state: RowState,
  filter: RowFilter,
  out: Uint32Array,
): number {
  const { zoom, only } = filter;
  const to = filter.root < 0 ? s.n : t.end[filter.root]!;
  const foldDone = only === null && zoom === null ? null : new Uint8Array(f.count);
  let rows = 0;
  for (let i = Math.max(0, filter.root); i < to; ) {
    if (zoom !== null && (t.lo[i]! > zoom[1] || t.hi[i]! < zoom[0])) {
      i = t.end[i]!;
      continue;
    }
    const g = f.of[i]!;
    if (only !== null && only[i] === 0) {
      i++;
      continue;
    }
    if (g < 0) {
      out[rows++] = i;
      i = state.collapsed[i] === 1 && i !== filter.root ? t.end[i]! : i + 1;
      continue;
    }
    // With a filter the first member may be out of sight; the row then stands at the first that is in it.
    const leads = foldDone === null ? f.first[g] === i : foldDone[g] === 0;
    if (leads) {
      if (foldDone !== null) foldDone[g] = 1;
      out[rows++] = s.n + g;
      const size = f.at[g + 1]! - f.at[g]!;
      const shown = Math.min(size, state.shown[g]!);
      for (let m = 0; m < shown; m++) out[rows++] = f.members[f.at[g]! + m]!;
      if (shown > 0 && shown < size) {
        for (let m = shown; m < size && state.pinned.size > 0; m++) {
          const c = f.members[f.at[g]! + m]!;
          if (state.pinned.has(c)) out[rows++] = c;
        }
        out[rows++] = s.n + f.count + g;
      }
    }
    i++;
  }
  return rows;
}
