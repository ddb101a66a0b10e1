// SPDX-License-Identifier: Apache-2.0
// What GET /services and its sub-resources answer.
import type { MapGap, NodeKind, Percentiles, Red } from '../map/answer.ts';

export interface Window {
  from: string;
  to: string;
  window_s: number;
  t0: string;
  step_s: number;
  points: number;
  partial: boolean;
  bound: number;
  took_ms: number;
  reason?: string;
}

export interface RedRow extends Red {
  name: string;
  kind: string;
  impact: number;
  spark_rate?: (number | null)[];
  spark_p95?: (number | null)[];
}

export interface ServiceRow extends RedRow {
  ns: string;
  envs: string[];
  color: number;
  basis: 'entry' | 'all';
  last_seen: string | null;
}

export interface ServicesAnswer extends Window {
  rows: ServiceRow[];
  hidden: number;
}

export interface OperationRow extends RedRow {
  spans: number;
  time: number;
  share: number;
}

export interface OperationsAnswer extends Window {
  rows: OperationRow[];
  hidden: number;
}

export interface Arrays {
  /** null: before all data. */
  rate: (number | null)[];
  err: (number | null)[];
  p50: (number | null)[];
  p90: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
  count: number[];
  errors: number[];
}

export interface Part extends Red {
  key: string;
  series: Arrays;
}

export interface SeriesAnswer extends Window, Red {
  basis: 'entry' | 'all';
  series: Arrays;
  by?: Part[];
  by_hidden?: number;
  prev?: Omit<Red, 'rate'> & { rate: number | null; from: string; to: string; series: Arrays };
}

export interface DependencyRow extends Red {
  node: { id: string; kind: NodeKind; name: string; ns?: string; color?: number };
  type: string;
  async: boolean;
  system: string;
  side: 'client' | 'server';
  n: number;
  server?: Percentiles & { n: number };
  time: number;
  share: number;
  via?: string;
}

export interface DependenciesAnswer extends Window {
  time: number;
  in: DependencyRow[];
  out: DependencyRow[];
  gaps?: Omit<MapGap, 's'>[];
}

export interface InstancesAnswer extends Window {
  basis: 'entry' | 'all';
  rows: { name: string; count: number; errors: number; rate: number; err: number | null }[];
  complete: boolean;
  scanned?: { groups: number; bytes: number; rows: number };
}
