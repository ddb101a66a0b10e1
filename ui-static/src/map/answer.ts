// SPDX-License-Identifier: Apache-2.0
// What GET /map answers. Durations are integer ns, rates are per second, `err` is a share of the calls.

export type NodeKind = 'service' | 'database' | 'queue' | 'external' | 'user' | 'unknown' | 'other' | 'group';

export interface Sample {
  trace: string;
  span: string;
  start: string;
  dur: number;
}

export interface Percentiles {
  p50: number | null;
  p90: number | null;
  p95: number | null;
  p99: number | null;
}

export interface Red extends Percentiles {
  count: number;
  errors: number;
  rate: number;
  err: number | null;
  slow?: Sample;
  fail?: Sample;
}

export interface MapNode extends Red {
  id: string;
  kind: NodeKind;
  name: string;
  ns?: string;
  envs?: string[];
  system?: string;
  color?: number;
  basis?: 'entry' | 'all';
  /** null: before all data. */
  spark?: (number | null)[];
}

export interface MapEdge extends Red {
  /** Indices into the nodes: s calls t. */
  s: number;
  t: number;
  type: 'direct' | 'messaging' | 'database' | 'virtual';
  async: boolean;
  system: string;
  /** Whose clock the percentiles are, and of how many calls. */
  side: 'client' | 'server';
  n: number;
  server?: Percentiles & { n: number };
}

export type GapReason = 'no_server' | 'broken_parent' | 'sampled' | 'expired';

export interface MapGap {
  s: number;
  why: GapReason;
  count: number;
  samples: string[];
}

export interface MapAnswer {
  from: string;
  to: string;
  window_s: number;
  t0: string;
  step_s: number;
  points: number;
  partial: boolean;
  bound: number;
  nodes: MapNode[];
  edges: MapEdge[];
  hidden: { nodes: number; edges: number };
  gaps: MapGap[];
  took_ms: number;
  reason?: string;
}
