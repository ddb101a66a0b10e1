// SPDX-License-Identifier: Apache-2.0
// Answers that the status page alone reads.
import type { Ns } from '../api/types.ts';

export interface Stage {
  readonly name: string;
  readonly count: number;
  readonly p50_ns: number | null;
  readonly p95_ns: number | null;
  readonly p99_ns: number | null;
}
export interface Queue {
  readonly name: string;
  readonly used: number;
  readonly max: number | null;
  readonly unit: string;
}
export interface Drop {
  readonly what: string;
  readonly signal: string;
  readonly reason: string;
  readonly count: number;
}
export interface Partition {
  readonly id: number;
  readonly state: string;
  readonly bytes: number;
  readonly min: Ns | null;
  readonly max: Ns | null;
  readonly row_groups: number;
  readonly damaged: boolean;
}
export interface Status {
  readonly server_time: Ns;
  readonly started_at: Ns;
  readonly version: string;
  readonly receivers: readonly { readonly name: string; readonly url: string; readonly requests: number }[];
  readonly ingest: {
    readonly spans_stored: number;
    readonly logs_stored: number;
    readonly requests_refused: number;
    readonly requests_in_flight: number;
  };
  readonly queues: readonly Queue[];
  readonly stages: readonly Stage[];
  readonly drops: readonly Drop[];
  readonly storage: {
    readonly spans: number;
    readonly logs: number;
    readonly journal_items: number;
    readonly row_groups: number;
    readonly partitions: number;
    readonly partitions_damaged: number;
    readonly disk_bytes: number;
    readonly disk: string; // ok, low, critical, recover
    readonly disk_free_bytes?: number; // absent or 0: not known
    readonly newest_start?: Ns | null;
    readonly writable: boolean;
    readonly durable: boolean;
  };
  readonly partitions: readonly Partition[];
}

export interface Gap {
  readonly s: number;
  readonly why: string;
  readonly count: number;
  readonly samples?: readonly string[];
}
export interface MapGaps {
  readonly nodes: readonly { readonly name: string; readonly kind: string; readonly color?: number }[];
  readonly gaps: readonly Gap[];
}
export interface Cleaned {
  readonly rows: readonly {
    readonly service: string;
    readonly name: string;
    readonly example: string;
    readonly why: readonly string[];
    readonly spans: number;
  }[];
  readonly hidden: number;
}
