// SPDX-License-Identifier: Apache-2.0
// The shape of a trace, in typed arrays: no object per span, no recursion (a chain of 10,000 spans is legal).
//
// Spans stand in pre-order: a parent before its children, a subtree as one run of indices, so that skipping a
// collapsed subtree is one jump to `end[i]`. The server sends them so, with cycles cut; since a viewer that trusts its
// input hangs on the first broken one, `isPreorder` is asked before anything walks.
//
// Times are integer nanoseconds from the trace's start (`t0`), which stay exact in a number; the absolute time is a
// decimal string and never becomes one.

export interface Spans {
  n: number;
  parent: Int32Array; // index of the parent, -1 for a root
  start: Float64Array; // ns from t0; negative where a clock runs early
  dur: Float64Array;
  svc: Int32Array; // index into the trace's services and names; -1 for a missing span
  name: Int32Array;
  kind: Uint8Array; // of OTLP: 1 internal, 2 server, 3 client, 4 producer, 5 consumer
  flags: Uint16Array;
}

export interface Tree {
  depth: Uint32Array;
  end: Uint32Array; // the subtree of i is [i, end[i])
  kids: Uint32Array; // direct children
  errors: Uint32Array; // spans with status error below i
  lo: Float64Array; // earliest start and latest end in the subtree
  hi: Float64Array;
  self: Float64Array; // duration that no child covers
  covAt: Uint32Array; // the covered pieces of i are covFrom/covTo[covAt[i] .. covAt[i + 1])
  covFrom: Float64Array;
  covTo: Float64Array;
}

export const FLAG = {
  error: 1,
  events: 2,
  logs: 4,
  links: 8,
  orphan: 16,
  skewed: 32,
  truncated: 64,
  remoteParent: 128,
  duplicate: 256,
  cycle: 512, // its parent link closed a cycle and was cut
  missing: 1024, // no span: a stand-in for a parent that has not arrived
  badTime: 2048,
} as const;

export const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const;

// Asynchronous hand-over: the producer does not wait for its consumer, whose time is never charged to it.
export function isHandover(s: Spans, parent: number, child: number): boolean {
  return s.kind[parent] === KIND.producer && s.kind[child] === KIND.consumer;
}

// Whether each span follows its parent inside the parent's run of indices.
export function isPreorder(parent: Int32Array, n: number): boolean {
  const path = new Int32Array(n);
  const depth = new Uint32Array(n);
  let last = -1;
  for (let i = 0; i < n; i++) {
    const p = parent[i]!;
    if (p >= i || p < -1) return false;
    const d = p < 0 ? 0 : depth[p]! + 1;
    if (p >= 0 && (depth[p]! > last || path[depth[p]!] !== p)) return false;
    depth[i] = d;
    path[d] = i;
    last = d;
  }
  return true;
}

// The children of each span as one array: those of p are list[at[p + 1] .. at[p + 2]); p = -1 holds the roots.
export function childLists(parent: Int32Array, n: number): { at: Uint32Array; list: Uint32Array } {
  const at = new Uint32Array(n + 2);
  for (let i = 0; i < n; i++) at[parent[i]! + 2]!++;
  for (let i = 1; i < at.length; i++) at[i]! += at[i - 1]!;
  const fill = at.slice();
  const list = new Uint32Array(n);
  for (let i = 0; i < n; i++) list[fill[parent[i]! + 1]!++] = i;
  return { at, list };
}

// All that is derived from the shape. `s` stands in pre-order.
export function buildTree(s: Spans): Tree {
  const n = s.n;
  const depth = new Uint32Array(n);
  const end = new Uint32Array(n);
  const kids = new Uint32Array(n);
  const errors = new Uint32Array(n);
  const lo = new Float64Array(n);
  const hi = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const p = s.parent[i]!;
    depth[i] = p < 0 ? 0 : depth[p]! + 1;
    end[i] = i + 1;
    lo[i] = s.start[i]!;
    hi[i] = s.start[i]! + s.dur[i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    const p = s.parent[i]!;
    if (p < 0) continue;
    kids[p]!++;
    errors[p]! += errors[i]! + ((s.flags[i]! & FLAG.error) !== 0 ? 1 : 0);
    if (end[i]! > end[p]!) end[p] = end[i]!;
    if (lo[i]! < lo[p]!) lo[p] = lo[i]!;
    if (hi[i]! > hi[p]!) hi[p] = hi[i]!;
  }
  const cover = coverage(s);
  return { depth, end, kids, errors, lo, hi, ...cover };
}

// Which pieces of each span its children cover (clamped to it, merged), and what is left as its own time.
function coverage(s: Spans): Pick<Tree, 'self' | 'covAt' | 'covFrom' | 'covTo'> {
  const n = s.n;
  const { at, list } = childLists(s.parent, n);
  const self = new Float64Array(n);
  const covAt = new Uint32Array(n + 1);
  const covFrom = new Float64Array(n);
  const covTo = new Float64Array(n);
  let out = 0;
  for (let i = 0; i < n; i++) {
    covAt[i] = out;
    const from = s.start[i]!;
    const to = from + s.dur[i]!;
    const mine = list.subarray(at[i + 1]!, at[i + 2]!);
    if (!isSorted(mine, s.start)) mine.sort((a, b) => s.start[a]! - s.start[b]!);
    let covered = 0;
    for (const c of mine) {
      if (isHandover(s, i, c)) continue;
      const a = Math.max(from, s.start[c]!);
      const b = Math.min(to, s.start[c]! + s.dur[c]!);
      if (b <= a) continue;
      if (out > covAt[i]! && a <= covTo[out - 1]!) {
        if (b > covTo[out - 1]!) {
          covered += b - covTo[out - 1]!;
          covTo[out - 1] = b;
        }
      } else {
        covFrom[out] = a;
        covTo[out++] = b;
        covered += b - a;
      }
    }
    self[i] = s.dur[i]! - covered;
  }
  covAt[n] = out;
  return { self, covAt, covFrom: covFrom.slice(0, out), covTo: covTo.slice(0, out) };
}

function isSorted(list: Uint32Array, by: Float64Array): boolean {
  for (let i = 1; i < list.length; i++) if (by[list[i - 1]!]! > by[list[i]!]!) return false;
  return true;
}
