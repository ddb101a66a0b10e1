// SPDX-License-Identifier: Apache-2.0
// From the answer to what is drawn: group, focus, filter, limit, backbone. Every step counts what it leaves out.

import type { MapAnswer, MapEdge, MapNode, Percentiles, Red, Sample } from './answer.ts';
import { groupId, groupsOf, type GroupBy, type Grouping } from './group.ts';

/** No more nodes than this are drawn; the rest stand as "+n more" in their groups. */
export const DRAWN = 120;
/** Errors below this share are noise to the eye. */
export const ERR_SEEN = 0.001;

export type Show = 'all' | 'errors' | 'slow';
export type Direction = 'in' | 'out' | 'both';

export interface Wish {
  group: GroupBy;
  open: ReadonlySet<string>;
  focus: string;
  hops: number;
  dir: Direction;
  show: Show;
}

export interface Vertex extends Red {
  id: string;
  kind: MapNode['kind'];
  name: string;
  ns: string;
  system: string;
  color: number;
  /** What its numbers count; undefined: calls, or of several nodes. */
  basis: MapNode['basis'];
  spark: (number | null)[];
  /** Indices of the answer's nodes in it. */
  members: number[];
  /** Its percentiles are the highest of its members, not of all their calls. */
  upTo: boolean;
  /** Beside the focus, not of it. */
  outside: boolean;
}

export interface Link extends Red {
  s: number;
  t: number;
  type: MapEdge['type'];
  async: boolean;
  system: string;
  n: number;
  /** Indices of the answer's edges in it. */
  parts: number[];
  upTo: boolean;
  /** Of the backbone: drawn in full. */
  strong: boolean;
}

export interface View {
  nodes: Vertex[];
  edges: Link[];
  grouping: Grouping;
  groups: number;
  /** Of the answer's nodes, how many are not seen even in a group, and why. */
  hidden: { show: number; focus: number; limit: number };
  /** Edges drawn faintly. */
  faint: number;
  /** Where each of the answer's nodes is drawn, or -1. */
  at: Int32Array;
}

const worst = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : Math.max(a, b));
const slower = (a: Sample | undefined, b: Sample | undefined): Sample | undefined =>
  (a === undefined || (b !== undefined && b.dur > a.dur) ? b : a);

function add(to: Red, from: Red): void {
  to.count += from.count;
  to.errors += from.errors;
  to.rate += from.rate;
  to.err = to.count > 0 ? to.errors / to.count : null;
  for (const p of ['p50', 'p90', 'p95', 'p99'] as const satisfies ReadonlyArray<keyof Percentiles>) to[p] = worst(to[p], from[p]);
  to.slow = slower(to.slow, from.slow);
  to.fail ??= from.fail;
}

/** A database that is but a number is called by its system too: "redis 0". */
const nameOf = (node: MapNode): string =>
  (node.kind === 'database' && /^\d*$/.test(node.name) ? `${node.system ?? ''} ${node.name}`.trim() : node.name);

function vertex(id: string, node: MapNode, index: number): Vertex {
  return {
    id, kind: node.kind, name: nameOf(node), ns: node.ns ?? '', system: node.system ?? '', color: node.color ?? 0,
    count: node.count, errors: node.errors, rate: node.rate, err: node.err, p50: node.p50, p90: node.p90, p95: node.p95,
    p99: node.p99, slow: node.slow, fail: node.fail, basis: node.basis, spark: node.spark ?? [], members: [index], upTo: false, outside: false,
  };
}

/** Puts each node where `place` says ('' leaves it out) and joins the edges between the places. */
function join(answer: MapAnswer, place: (node: MapNode, index: number) => { id: string; name: string; kind: MapNode['kind'] } | null,
  outside: ReadonlySet<number>): Omit<View, 'grouping' | 'groups' | 'hidden' | 'faint'> {
  const nodes: Vertex[] = [], byId = new Map<string, number>(), at = new Int32Array(answer.nodes.length).fill(-1);
  answer.nodes.forEach((node, i) => {
    const to = place(node, i);
    if (to === null) return;
    const known = byId.get(to.id);
    if (known === undefined) {
      byId.set(to.id, nodes.length);
      at[i] = nodes.length;
      nodes.push({ ...vertex(to.id, node, i), name: to.name, kind: to.kind, outside: outside.has(i) });
      return;
    }
    const v = nodes[known]!;
    at[i] = known;
    add(v, node);
    v.members.push(i);
    v.upTo = true;
    v.basis = undefined;
    v.spark = v.spark.length >= (node.spark?.length ?? 0) ? v.spark.map((r, k) => (r === null ? node.spark?.[k] ?? null : r + (node.spark?.[k] ?? 0))) : node.spark!;
  });
  const edges: Link[] = [], byPair = new Map<string, Link>();
  answer.edges.forEach((e, i) => {
    const s = at[e.s]!, t = at[e.t]!;
    if (s < 0 || t < 0 || (s === t && nodes[s]!.members.length > 1)) return;
    if (nodes[s]!.outside && nodes[t]!.outside) return;
    const pair = `${s}>${t}`, known = byPair.get(pair);
    if (known === undefined) {
      const own: Link = {
        s, t, type: e.type, async: e.async, system: e.system, n: e.n, parts: [i], upTo: false, strong: true,
        count: e.count, errors: e.errors, rate: e.rate, err: e.err, p50: e.p50, p90: e.p90, p95: e.p95, p99: e.p99,
        slow: e.slow, fail: e.fail,
      };
      byPair.set(pair, own);
      edges.push(own);
      return;
    }
    add(known, e);
    known.parts.push(i);
    known.n += e.n;
    known.upTo = true;
    known.async &&= e.async;
  });
  return { nodes, edges, at };
}

/** The nodes within `hops` calls of the focus, then those one call further. */
export function reach(answer: MapAnswer, start: number[], hops: number, dir: Direction): { inside: Set<number>; beside: Set<number> } {
  const near: number[][] = answer.nodes.map(() => []);
  for (const e of answer.edges) {
    if (dir !== 'in') near[e.s]!.push(e.t);
    if (dir !== 'out') near[e.t]!.push(e.s);
  }
  const inside = new Set(start), beside = new Set<number>();
  let edge = start;
  for (let h = 0; h <= hops; h++) {
    const next: number[] = [];
    for (const v of edge) {
      for (const u of near[v]!) {
        if (inside.has(u) || beside.has(u)) continue;
        (h < hops ? inside : beside).add(u);
        next.push(u);
      }
    }
    edge = next;
  }
  return { inside, beside };
}

/** What `show` keeps: the nodes that have the trouble, and both ends of the edges that have it. */
export function shown(answer: MapAnswer, show: Show): Set<number> | null {
  if (show === 'all') return null;
  const keep = new Set<number>();
  if (show === 'errors') {
    answer.nodes.forEach((node, i) => {
      if ((node.err ?? 0) >= ERR_SEEN) keep.add(i);
    });
    for (const e of answer.edges) if ((e.err ?? 0) >= ERR_SEEN) keep.add(e.s).add(e.t);
    return keep;
  }
  // Slow: the fifth of the services with the highest p95, and what they wait for longest.
  const times = answer.nodes.filter((node) => node.kind === 'service' && node.p95 !== null).map((node) => node.p95!)
    .sort((a, b) => b - a);
  const limit = times[Math.max(0, Math.ceil(times.length / 5) - 1)] ?? Infinity;
  answer.nodes.forEach((node, i) => {
    if (node.kind === 'service' && node.p95 !== null && node.p95 >= limit) keep.add(i);
  });
  const slow = new Set(keep), longest = new Map<number, MapEdge>();
  for (const e of answer.edges) {
    if (!slow.has(e.s) || e.p95 === null) continue;
    const known = longest.get(e.s);
    if (known === undefined || e.p95 > known.p95!) longest.set(e.s, e);
  }
  for (const e of longest.values()) keep.add(e.t);
  return keep;
}

/** The order in which nodes keep their places when there are too many: errors, then rate. */
function urgency(a: Red, b: Red): number {
  const bad = (r: Red): number => ((r.err ?? 0) >= ERR_SEEN ? r.errors : 0);
  return bad(b) - bad(a) || b.rate - a.rate;
}

/** Marks the backbone: per node the strongest edge in and out, its edges up to 80 % of its traffic, and every edge with errors. */
export function backbone(nodes: readonly Vertex[], edges: Link[]): void {
  for (const e of edges) e.strong = (e.err ?? 0) >= ERR_SEEN;
  for (const end of ['s', 't'] as const) {
    const of: Link[][] = nodes.map(() => []);
    for (const e of edges) of[e[end]]!.push(e);
    for (const own of of) {
      let total = 0, sum = 0;
      for (const e of own) total += e.rate;
      own.sort((a, b) => b.rate - a.rate || a.s - b.s || a.t - b.t);
      for (const e of own) {
        if (sum >= 0.8 * total && sum > 0) break;
        e.strong = true;
        sum += e.rate;
      }
      if (own.length > 0) own[0]!.strong = true;
    }
  }
}

export function view(answer: MapAnswer, wish: Wish): View {
  const { nodes } = answer, groups = groupsOf(answer, wish.group);
  const idOf = (i: number): string => groupId(nodes[i]!, groups.of[i]!);
  const folded = (i: number): boolean => groups.of[i] !== '' && !wish.open.has(idOf(i));

  let inside: Set<number> | null = null, beside = new Set<number>();
  if (wish.focus !== '') {
    const start: number[] = [];
    nodes.forEach((node, i) => {
      if (node.id === wish.focus || (groups.of[i] !== '' && idOf(i) === wish.focus)) start.push(i);
    });
    if (start.length > 0) ({ inside, beside } = reach(answer, start, wish.hops, wish.dir));
  }
  const wanted = shown(answer, wish.show);
  const hidden = { show: 0, focus: 0, limit: 0 };
  const kept: number[] = [];
  nodes.forEach((_, i) => {
    if (inside !== null && !inside.has(i) && !beside.has(i)) hidden.focus++;
    else if (wanted !== null && !wanted.has(i)) hidden.show++;
    else kept.push(i);
  });
  const keptSet = new Set(kept);
  // In focus, what is inside stands alone and what is beside it in its group.
  const grouped = (i: number): boolean => (inside !== null ? beside.has(i) && groups.of[i] !== '' : folded(i));

  // Too many: the least urgent of an open group stand as one.
  const single = kept.filter((i) => !grouped(i));
  const standing = new Set(kept.filter(grouped).map(idOf));
  const rest = new Set<number>();
  if (single.length + standing.size > DRAWN) {
    single.sort((a, b) => urgency(nodes[a]!, nodes[b]!) || a - b);
    for (const i of single.slice(Math.max(1, DRAWN - standing.size))) rest.add(i);
  }
  hidden.limit = rest.size;
  const homes = rest.size > 0 && groups.by === 'none' ? groupsOf(answer, 'ns') : groups;

  const joined = join(answer, (node, i) => {
    if (!keptSet.has(i)) return null;
    if (rest.has(i)) {
      const own = homes.of[i]!;
      return { id: `more:${encodeURIComponent(own)}`, name: own === '' ? 'others' : own, kind: 'group' };
    }
    if (!grouped(i)) return { id: node.id, name: nameOf(node), kind: node.kind };
    return { id: idOf(i), name: groups.of[i]!, kind: 'group' };
  }, beside);
  for (const v of joined.nodes) if (v.id.startsWith('more:')) v.name = `+${v.members.length} more${v.id === 'more:' ? '' : ` in ${v.name}`}`;
  backbone(joined.nodes, joined.edges);
  return {
    ...joined, hidden, grouping: groups.by, faint: joined.edges.filter((e) => !e.strong).length,
    groups: joined.nodes.filter((v) => v.members.length > 1).length,
  };
}

/** A node's radius: the square root of its log rate, 10 to 26 px. */
export function radius(rate: number): number {
  return 10 + 16 * Math.sqrt(Math.min(1, Math.log10(1 + rate * 60) / 6));
}

/** An edge's width: its log rate, 1 to 6 px. */
export function width(rate: number): number {
  return 1 + 5 * Math.min(1, Math.log10(1 + rate * 60) / 6);
}

/** Whether forces suit this graph better: many edges against the flow, or nearly all with all. */
export function flows(nodes: number, edges: number, back: number): boolean {
  const dense = nodes > 2 ? edges / (nodes * (nodes - 1)) : 0;
  return edges === 0 || !(back / edges > 0.15 || (dense > 0.2 && nodes > 5));
}
