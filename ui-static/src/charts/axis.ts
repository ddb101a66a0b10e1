// SPDX-License-Identifier: Apache-2.0
// Where the ticks of a time axis stand and what they say. Times here are seconds after t0; t0 itself stays a bigint.
import { formatClock, formatDay, SECOND } from '../lib/time.ts';

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/** Seconds between ticks so that at most `most` of them fit into `span_s`. */
export const tickStep = (span_s: number, most: number): number => STEPS.find((s) => span_s / s <= most) ?? STEPS.at(-1)!;

/** Ticks on round clock times of UTC, as seconds after t0. */
export function timeTicks(t0: bigint, from_s: number, to_s: number, most: number): number[] {
  const step = tickStep(to_s - from_s, Math.max(1, most)), behind = Number((t0 / SECOND) % BigInt(step));
  const out: number[] = [];
  for (let t = Math.ceil((from_s + behind) / step) * step - behind; t <= to_s; t += step) out.push(t);
  return out;
}

/** "14:05"; the day where one begins, and on all ticks that are days apart. */
export function timeLabels(t0: bigint, ticks: readonly number[]): string[] {
  const apart = ticks.length > 1 ? ticks[1]! - ticks[0]! : 0;
  return ticks.map((t) => {
    const ns = t0 + BigInt(Math.round(t)) * SECOND, clock = formatClock(ns, 0);
    if (apart >= 86_400 || clock === '00:00:00') return formatDay(ns);
    return apart < 60 && apart > 0 ? clock : clock.slice(0, 5);
  });
}

/** Labels of a canvas' time axis between two times: where each stands (px) and what it says; none is cut at the ends. */
export function timeAxis(c: CanvasRenderingContext2D, t0: bigint, t1: bigint, width: number, apart = 110): { x: number; left: number; text: string }[] {
  const span_s = Number(t1 - t0) / 1e9, behind_s = Number(t0 % SECOND) / 1e9, begin = t0 - (t0 % SECOND);
  if (!(span_s > 0)) return [];
  const at = span_s < 4 ? [] : timeTicks(begin, behind_s, behind_s + span_s, width / apart);
  // Under some seconds there is no round second to stand on: the two ends are said, with milliseconds.
  if (at.length < 2) {
    const texts = [formatClock(t0), formatClock(t1)];
    return [{ x: 0, left: 0, text: texts[0]! }, { x: width, left: width - c.measureText(texts[1]!).width, text: texts[1]! }];
  }
  const texts = timeLabels(begin, at);
  return at.map((t, i) => {
    const x = ((t - behind_s) / span_s) * width, wide = c.measureText(texts[i]!).width;
    return { x, left: Math.max(0, Math.min(width - wide, x - wide / 2)), text: texts[i]! };
  });
}

/** A round number at or above the value, so that a chart's top is legible. */
export function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((k) => k * unit >= value * 0.999999) ?? 10) * unit;
}
