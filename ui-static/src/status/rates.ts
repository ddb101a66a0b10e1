// SPDX-License-Identifier: Apache-2.0
// Rates from totals that only grow: the difference of two answers over the time between them.

export interface Sample {
  readonly at: bigint; // the server's clock
  readonly started: string; // totals begin anew with the process
  readonly totals: Readonly<Record<string, number>>;
}

const KEEP_NS = 60_000_000_000n;

/** Samples of the last minute, with this one; a restarted server begins a new row. */
export function withSample(samples: readonly Sample[], next: Sample): readonly Sample[] {
  const last = samples.at(-1);
  if (last !== undefined && last.started !== next.started) return [next];
  if (last !== undefined && next.at <= last.at) return samples;
  return [...samples.filter((s) => next.at - s.at <= KEEP_NS), next];
}

/** Per second over the samples; undefined of fewer than two. */
export function rateOf(samples: readonly Sample[], key: string): number | undefined {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || first === last) return undefined;
  const seconds = Number(last.at - first.at) / 1e9;
  return Math.max(0, ((last.totals[key] ?? 0) - (first.totals[key] ?? 0)) / seconds);
}
