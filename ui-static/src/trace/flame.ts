// SPDX-License-Identifier: Apache-2.0
// The layout of the flame view: a row per depth, spans of a depth by start. Runs that are narrower than half a pixel
// are merged into one box, so that what is drawn is bounded by the pixels, not by the spans.
import type { Spans, Tree } from './tree.ts';

export interface FlameIndex {
  rows: number;
  at: Uint32Array; // spans of depth d: list[at[d] .. at[d + 1]), by start
  list: Uint32Array;
  longest: Float64Array; // the longest span of each depth: how far before the view a span may begin
}

export interface Box {
  span: number; // the longest of those merged
  x: number;
  w: number;
  merged: number;
}

export function flameIndex(s: Spans, t: Tree): FlameIndex {
  let rows = 0;
  for (let i = 0; i < s.n; i++) rows = Math.max(rows, t.depth[i]! + 1);
  const at = new Uint32Array(rows + 1);
  const longest = new Float64Array(rows);
  for (let i = 0; i < s.n; i++) {
    at[t.depth[i]! + 1]!++;
    longest[t.depth[i]!] = Math.max(longest[t.depth[i]!]!, s.dur[i]!);
  }
  for (let d = 0; d < rows; d++) at[d + 1]! += at[d]!;
  const fill = at.slice();
  const list = new Uint32Array(s.n);
  for (let i = 0; i < s.n; i++) list[fill[t.depth[i]!]!++] = i;
  for (let d = 0; d < rows; d++)
    list.subarray(at[d]!, at[d + 1]!).sort((a, b) => s.start[a]! - s.start[b]! || s.dur[b]! - s.dur[a]!);
  return { rows, at, list, longest };
}

// The first place in the depth whose span starts at `t` or later.
function lowerBound(f: FlameIndex, s: Spans, depth: number, t: number): number {
  let a = f.at[depth]!;
  let b = f.at[depth + 1]!;
  while (a < b) {
    const m = (a + b) >> 1;
    if (s.start[f.list[m]!]! < t) a = m + 1;
    else b = m;
  }
  return a;
}

// The boxes of one depth within [from, to), `width` pixels wide.
export function flameRow(f: FlameIndex, s: Spans, depth: number, from: number, to: number, width: number): Box[] {
  const out: Box[] = [];
  const scale = width / (to - from);
  const last = f.at[depth + 1]!;
  let run: Box | null = null;
  for (let k = lowerBound(f, s, depth, from - f.longest[depth]!); k < last; k++) {
    const i = f.list[k]!;
    const a = s.start[i]!;
    if (a >= to) break;
    const b = a + s.dur[i]!;
    if (b < from) continue;
    const x = Math.max(0, (a - from) * scale);
    const w = Math.min(width, (b - from) * scale) - x;
    if (w >= 0.5) {
      out.push({ span: i, x, w, merged: 1 });
      run = null;
      continue;
    }
    if (run !== null && x - (run.x + run.w) < 0.5) {
      run.w = Math.max(run.w, x + w - run.x);
      run.merged++;
      if (s.dur[i]! > s.dur[run.span]!) run.span = i;
      continue;
    }
    run = { span: i, x, w, merged: 1 };
    out.push(run);
  }
  return out;
}

// The span under a point: the last box that holds it, as it was drawn on top.
export function flameHit(boxes: readonly Box[], x: number): Box | null {
  for (let k = boxes.length - 1; k >= 0; k--) {
    const b = boxes[k]!;
    if (x >= b.x - 1 && x <= b.x + Math.max(b.w, 1) + 1) return b;
  }
  return null;
}
