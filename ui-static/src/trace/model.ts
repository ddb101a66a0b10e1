// SPDX-License-Identifier: Apache-2.0
// A trace as the page holds it: the server's skeleton (a header and parts of 20,000 rows) put together into typed
// arrays, and everything derived from it once. Row numbers are the server's: `find` and the logs speak of the same.
//
// All of it is made in trace.worker.ts; `buffersOf` lists what is handed over instead of copied.
import { criticalPath, type CriticalPath } from './criticalpath.ts';
import { fold, type Folds } from './fold.ts';
import { minimapGrid } from './minimap.ts';
import { buildTree, FLAG, isPreorder, type Spans, type Tree } from './tree.ts';

export interface Service {
  name: string;
  color: number;
  spans: number;
  errors: number;
}

export interface Warning {
  kind: string;
  count: number;
}

export interface Header {
  id: string;
  version: string;
  t0: string;
  dur: number;
  spans: number;
  rows: number;
  errors: number;
  depth: number;
  parts: number;
  complete: boolean;
  services: Service[];
  root: { svc: string; name: string } | null;
  warnings: Warning[];
}

export interface Part {
  first: number;
  count: number;
  ids: string;
  parent: number[];
  start: number[];
  dur: number[];
  svc: number[];
  name: number[];
  kind: number[];
  flags: number[];
  names_first: number;
  names: string[];
  shift?: [number, number][];
}

export interface Trace {
  header: Header;
  ids: Uint32Array; // two words a row, the high one first
  names: string[];
  spans: Spans;
  tree: Tree;
  folds: Folds;
  critical: CriticalPath;
  shift: Float64Array | null; // ns by which a skewed row would have to move; null when none
  lo: number; // the earliest start and the latest end, ns from t0
  hi: number;
  minimap: Uint8Array; // MINIMAP_WIDTH × MINIMAP_HEIGHT, see minimap.ts
}

export const MINIMAP_WIDTH = 1024;
export const MINIMAP_HEIGHT = 48;

export class BrokenAnswer extends Error {}

export function emptySpans(n: number): Spans {
  return {
    n,
    parent: new Int32Array(n),
    start: new Float64Array(n),
    dur: new Float64Array(n),
    svc: new Int32Array(n),
    name: new Int32Array(n),
    kind: new Uint8Array(n),
    flags: new Uint16Array(n),
  };
}

// Collects parts as they come; `build` may be called after any of them.
export class TraceBuilder {
  readonly spans: Spans;
  readonly ids: Uint32Array;
  readonly names: string[] = [];
  readonly shift: Float64Array;
  have = 0;
  private shifted = false;

  constructor(readonly header: Header) {
    this.spans = emptySpans(header.rows);
    this.ids = new Uint32Array(header.rows * 2);
    this.shift = new Float64Array(header.rows);
  }

  add(p: Part): void {
    const { spans: s, header } = this;
    if (p.first !== this.have || p.first + p.count > header.rows || p.names_first !== this.names.length)
      throw new BrokenAnswer('The parts of the trace do not fit together.');
    for (let k = 0; k < p.count; k++) {
      const i = p.first + k;
      const parent = p.parent[k]!;
      if (!(parent >= -1 && parent < i)) throw new BrokenAnswer('A span stands before its parent.');
      this.ids[2 * i] = parseInt(p.ids.substr(16 * k, 8), 16);
      this.ids[2 * i + 1] = parseInt(p.ids.substr(16 * k + 8, 8), 16);
      s.parent[i] = parent;
      s.start[i] = p.start[k]!;
      s.dur[i] = Math.max(0, p.dur[k]!);
      s.svc[i] = p.svc[k]!;
      s.name[i] = p.name[k]!;
      s.kind[i] = p.kind[k]!;
      s.flags[i] = p.flags[k]!;
    }
    for (const [row, by] of p.shift ?? []) {
      if (row < 0 || row >= header.rows) continue;
      this.shift[row] = by;
      this.shifted = true;
    }
    for (const name of p.names) this.names.push(name);
    this.have = p.first + p.count;
  }

  // What is there so far, with its own arrays: the builder goes on. `corrected` moves skewed rows to their parents.
  build(corrected: boolean): Trace {
    const n = this.have;
    const s = this.spans;
    const spans: Spans = {
      n,
      parent: s.parent.slice(0, n),
      start: s.start.slice(0, n),
      dur: s.dur.slice(0, n),
      svc: s.svc.slice(0, n),
      name: s.name.slice(0, n),
      kind: s.kind.slice(0, n),
      flags: s.flags.slice(0, n),
    };
    if (!isPreorder(spans.parent, n)) throw new BrokenAnswer('The spans of the trace are out of order.');
    if (corrected && this.shifted) correct(spans, this.shift);
    const tree = buildTree(spans);
    let lo = Infinity;
    let hi = -Infinity;
    for (let i = 0; i < n; i++) {
      if (spans.start[i]! < lo) lo = spans.start[i]!;
      if (spans.start[i]! + spans.dur[i]! > hi) hi = spans.start[i]! + spans.dur[i]!;
    }
    if (n === 0) lo = hi = 0;
    // A trace of one instant still needs a width.
    hi = Math.max(hi, lo + 1);
    return {
      header: this.header,
      ids: this.ids.slice(0, 2 * n),
      names: this.names.slice(),
      spans,
      tree,
      folds: fold(spans, tree),
      critical: criticalPath(spans),
      shift: this.shifted ? this.shift.slice(0, n) : null,
      lo,
      hi,
      minimap: minimapGrid(spans, lo, hi, MINIMAP_WIDTH, MINIMAP_HEIGHT),
    };
  }
}

// A skewed row's clock is wrong for its whole subtree, until a row with a shift of its own.
function correct(s: Spans, shift: Float64Array): void {
  const by = new Float64Array(s.n);
  for (let i = 0; i < s.n; i++) {
    const p = s.parent[i]!;
    by[i] = (s.flags[i]! & FLAG.skewed) !== 0 && shift[i] !== 0 ? shift[i]! : p >= 0 ? by[p]! : 0;
    s.start[i]! += by[i]!;
  }
}

export function buffersOf(t: Trace): ArrayBuffer[] {
  const out: ArrayBuffer[] = [];
  for (const part of [t, t.spans, t.tree, t.folds, t.critical])
    for (const v of Object.values(part)) if (ArrayBuffer.isView(v)) out.push(v.buffer as ArrayBuffer);
  return out;
}

const hex8 = (v: number): string => v.toString(16).padStart(8, '0');

export function spanId(t: Trace, i: number): string {
  return hex8(t.ids[2 * i]!) + hex8(t.ids[2 * i + 1]!);
}

// The row of a span ID, real spans before a stand-in; -1 when it is not here.
export function rowOfId(t: Trace, id: string): number {
  if (!/^[0-9a-f]{1,16}$/i.test(id)) return -1;
  const full = id.padStart(16, '0');
  const hi = parseInt(full.slice(0, 8), 16);
  const lo = parseInt(full.slice(8), 16);
  for (let i = 0; i < t.spans.n; i++) if (t.ids[2 * i] === hi && t.ids[2 * i + 1] === lo) return i;
  return -1;
}

export function isMissing(t: Trace, i: number): boolean {
  return (t.spans.flags[i]! & FLAG.missing) !== 0;
}

export function nameOf(t: Trace, i: number): string {
  return isMissing(t, i) ? `missing span ${spanId(t, i)}` : (t.names[t.spans.name[i]!] ?? '');
}

export function serviceOf(t: Trace, i: number): Service | null {
  return t.header.services[t.spans.svc[i]!] ?? null;
}

// Rows whose name or service holds the text; ASCII case does not count. Names are searched once, not once a span.
export function findByName(t: Trace, text: string): number[] {
  const want = text.toLowerCase();
  const names = t.names.map((n) => n.toLowerCase().includes(want));
  const svcs = t.header.services.map((v) => v.name.toLowerCase().includes(want));
  const out: number[] = [];
  for (let i = 0; i < t.spans.n; i++)
    if (names[t.spans.name[i]!] === true || svcs[t.spans.svc[i]!] === true) out.push(i);
  return out;
}

export interface SpanGroup {
  svc: number;
  name: number;
  count: number;
  errors: number;
  total: number;
  self: number;
  p50: number;
  p95: number;
  max: number;
  slowest: number; // row
}

// The spans table: by service and operation. Percentiles are exact, by nearest rank.
export function groupSpans(t: Trace): SpanGroup[] {
  const { spans: s } = t;
  const members = new Map<number, number[]>();
  for (let i = 0; i < s.n; i++) {
    if (isMissing(t, i)) continue;
    const key = (s.name[i]! + 1) * 65536 + s.svc[i]! + 1;
    const list = members.get(key);
    if (list === undefined) members.set(key, [i]);
    else list.push(i);
  }
  const out: SpanGroup[] = [];
  for (const list of members.values()) {
    const durs = Float64Array.from(list, (i) => s.dur[i]!).sort();
    const g: SpanGroup = {
      svc: s.svc[list[0]!]!,
      name: s.name[list[0]!]!,
      count: list.length,
      errors: 0,
      total: 0,
      self: 0,
      p50: nearestRank(durs, 0.5),
      p95: nearestRank(durs, 0.95),
      max: durs[durs.length - 1]!,
      slowest: list[0]!,
    };
    for (const i of list) {
      if ((s.flags[i]! & FLAG.error) !== 0) g.errors++;
      g.total += s.dur[i]!;
      g.self += t.tree.self[i]!;
      if (s.dur[i]! > s.dur[g.slowest]!) g.slowest = i;
    }
    out.push(g);
  }
  return out.sort((a, b) => b.self - a.self);
}

export function nearestRank(sorted: Float64Array, q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
}
