// SPDX-License-Identifier: Apache-2.0
// Calls between the services of one trace: each span whose parent belongs to another service.
import type { Trace } from './model.ts';
import { FLAG } from './tree.ts';

export interface ServiceEdge {
  from: number;
  to: number;
  count: number;
  errors: number;
  total: number;
  longest: number;
  slowest: number; // row
}
export interface ServiceGraph {
  nodes: { svc: number; rank: number }[]; // by rank, then by first sight
  edges: ServiceEdge[]; // most calls first
}

export function serviceEdges(t: Trace): ServiceGraph {
  const { spans: s } = t;
  const count = t.header.services.length;
  const edges = new Map<number, ServiceEdge>();
  const rank = new Map<number, number>();
  // The service of a missing parent is unknown: look through it to the nearest known one above.
  const above = new Int32Array(s.n).fill(-1);
  for (let i = 0; i < s.n; i++) {
    const p = s.parent[i]!;
    const from = p < 0 ? -1 : s.svc[p]! >= 0 ? s.svc[p]! : above[p]!;
    above[i] = from;
    const to = s.svc[i]!;
    if (to < 0 || to >= count) continue;
    // Pre-order: the caller's rank is known before its callee's. First sight counts, which also settles circles.
    if (!rank.has(to)) rank.set(to, from < 0 ? 0 : rank.get(from)! + 1);
    if (from < 0 || from === to) continue;
    const key = from * count + to;
    let e = edges.get(key);
    if (e === undefined) edges.set(key, (e = { from, to, count: 0, errors: 0, total: 0, longest: -1, slowest: i }));
    e.count++;
    if ((s.flags[i]! & FLAG.error) !== 0) e.errors++;
    e.total += s.dur[i]!;
    if (s.dur[i]! > e.longest) {
      e.longest = s.dur[i]!;
      e.slowest = i;
    }
  }
  return {
    nodes: [...rank].map(([svc, r]) => ({ svc, rank: r })).sort((a, b) => a.rank - b.rank),
    edges: [...edges.values()].sort((a, b) => b.count - a.count),
  };
}
