// SPDX-License-Identifier: Apache-2.0
// Answers that several pages read. What one page alone reads stands in that page's folder.

/** Unix nanoseconds, decimal. */
export type Ns = string;

export interface Endpoint {
  readonly name: string; // otlp-grpc, otlp-http, http
  readonly url: string;
}

export interface Meta {
  readonly version: string;
  readonly server_time: Ns;
  readonly first_span_at: Ns | null;
  readonly endpoints?: readonly Endpoint[];
  readonly auth?: boolean;
  readonly tls?: boolean;
  readonly retention?: { readonly traces_s: number | null; readonly logs_s: number | null };
  readonly features?: readonly string[];
}

/** Fields at the end of every answer with rows. */
export interface Scan {
  readonly complete: boolean;
  readonly scanned?: { readonly groups: number; readonly bytes: number; readonly rows?: number };
  readonly took_ms: number;
  readonly cursor?: string;
  readonly reason?: 'no_data_yet' | 'no_match' | 'out_of_retention' | 'not_enabled';
}
