// SPDX-License-Identifier: Apache-2.0
// What the trace waited for: a walk backwards from the end of the longest root. At each moment the span that finished
// last before it is what its parent waited for; the time between is the parent's own. Children are clamped to their
// parent, so that a wrong clock cannot put time on the path that the parent did not have. A consumer is never charged
// to its producer.
//
// The pieces are disjoint and together as long as the root: the sum is the time to save.
import { childLists, FLAG, isHandover, type Spans } from './tree.ts';

export interface CriticalPath {
  on: Uint8Array; // 1 for each span that has a piece
  span: Uint32Array; // the pieces, latest first: this span was what counted in [from, to)
  from: Float64Array;
  to: Float64Array;
}

// The root that takes the longest, a real one before a missing one; -1 without spans.
export function longestRoot(s: Spans): number {
  let best = -1;
  let rank = -1;
  for (let i = 0; i < s.n; i++) {
    if (s.parent[i]! >= 0) continue;
    const r = (s.flags[i]! & FLAG.missing) === 0 ? 1 : 0;
    if (r < rank || (r === rank && s.dur[i]! <= s.dur[best]!)) continue;
    rank = r;
    best = i;
  }
  return best;
}

export function criticalPath(s: Spans, root = longestRoot(s)): CriticalPath {
  const on = new Uint8Array(s.n);
  if (root < 0) return { on, span: new Uint32Array(0), from: new Float64Array(0), to: new Float64Array(0) };
  const { at, list } = childLists(s.parent, s.n);

  const span: number[] = [];
  const from: number[] = [];
  const to: number[] = [];
  const piece = (i: number, a: number, b: number): void => {
    on[i] = 1;
    if (b <= a) return;
    span.push(i);
    from.push(a);
    to.push(b);
  };

  // One frame per span on the way down: its window, its children by clamped end, how far back the walk has come.
  interface Frame {
    i: number;
    lo: number;
    hi: number;
    kids: Uint32Array;
    next: number;
    cursor: number;
  }
  const open = (i: number, lo: number, hi: number): Frame => {
    const kids = list
      .slice(at[i + 1]!, at[i + 2]!)
      .filter((c) => !isHandover(s, i, c) && s.start[c]! < hi && s.start[c]! + s.dur[c]! > lo);
    const endOf = (c: number): number => Math.min(hi, s.start[c]! + s.dur[c]!);
    kids.sort((a, b) => endOf(b) - endOf(a) || s.start[b]! - s.start[a]! || b - a);
    return { i, lo, hi, kids, next: 0, cursor: hi };
  };
  const stack: Frame[] = [open(root, s.start[root]!, s.start[root]! + s.dur[root]!)];
  on[root] = 1;
  while (stack.length > 0) {
    const f = stack[stack.length - 1]!;
    let went = false;
    while (f.next < f.kids.length) {
      const c = f.kids[f.next++]!;
      const b = Math.min(f.hi, s.start[c]! + s.dur[c]!);
      if (b > f.cursor) continue; // it ran beside what is already on the path
      const a = Math.max(f.lo, s.start[c]!);
      piece(f.i, b, f.cursor);
      f.cursor = a;
      on[c] = 1;
      stack.push(open(c, a, b));
      went = true;
      break;
    }
    if (went) continue;
    piece(f.i, f.lo, f.cursor);
    stack.pop();
  }
  return { on, span: Uint32Array.from(span), from: Float64Array.from(from), to: Float64Array.from(to) };
}
