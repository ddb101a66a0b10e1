// SPDX-License-Identifier: Apache-2.0
// The heatmap's arithmetic: from the server's cells to boxes and back, without a canvas.

export interface HeatAnswer {
  t0: string;
  step: string;
  cols: number;
  y: number[]; // ns edges, ascending, rows + 1
  cells: [x: number, y: number, count: number, errors: number][];
  max: number;
  spans: number;
  errors: number;
  approximate: boolean;
  covered_from: string;
  complete: boolean;
  scanned?: { groups: number; bytes: number };
  took_ms: number;
  reason?: 'no_data_yet' | 'no_match' | 'out_of_retention';
}

/** A box over the heatmap in cells: columns [x0, x1), rows [y0, y1), row 0 the shortest. */
export interface CellBox {
  x0: number;
  x1: number;
  y0: number;
  y1: number;
}

/** t0, t1, d0, d1 as the URL holds them; the largest number stands for "no upper bound". */
export type UrlBox = readonly string[];
export const UNBOUNDED = '9223372036854775807';

export function toUrl(h: HeatAnswer, b: CellBox): UrlBox {
  const rows = h.y.length - 1;
  const at = (x: number): string => (BigInt(h.t0) + BigInt(h.step) * BigInt(x)).toString();
  // The lowest row also holds what is shorter, the highest what is longer.
  return [at(b.x0), at(b.x1), b.y0 <= 0 ? '0' : String(Math.round(h.y[b.y0]!)), b.y1 >= rows ? UNBOUNDED : String(Math.round(h.y[b.y1]!))];
}

/** Where a box lies over this heatmap, in fractions of cells; undefined when it lies outside. */
export function fromUrl(h: HeatAnswer, box: UrlBox): CellBox | undefined {
  if (box.length !== 4) return undefined;
  const rows = h.y.length - 1;
  const step = Number(h.step);
  const x = (t: string): number => Math.max(0, Math.min(h.cols, Number(BigInt(t) - BigInt(h.t0)) / step));
  const b = { x0: x(box[0]!), x1: x(box[1]!), y0: rowOf(h, Number(box[2])), y1: box[3] === UNBOUNDED ? rows : rowOf(h, Number(box[3])) };
  return b.x1 > b.x0 && b.y1 > b.y0 ? b : undefined;
}

/** The row, with fraction, at which a duration lies: the edges are spaced by logarithm. */
export function rowOf(h: HeatAnswer, ns: number): number {
  const { y } = h;
  const rows = y.length - 1;
  if (!(ns > y[0]!)) return 0;
  if (ns >= y[rows]!) return rows;
  let k = 0;
  while (k + 1 < rows && y[k + 1]! <= ns) k++;
  const [a, b] = [Math.max(1, y[k]!), Math.max(1, y[k + 1]!)];
  return k + (b > a ? (Math.log(ns) - Math.log(a)) / (Math.log(b) - Math.log(a)) : 0);
}

/** The box of what is slow: all columns, the topmost rows that together hold at most 5 % of the spans, never nothing. */
export function slowBox(h: HeatAnswer): CellBox | undefined {
  const rows = Math.max(0, h.y.length - 1);
  const inRow = new Array<number>(rows).fill(0);
  for (const [, y, count] of h.cells) if (y >= 0 && y < rows) inRow[y]! += count;
  const all = inRow.reduce((a, b) => a + b, 0);
  if (all === 0) return undefined;
  let y0 = rows;
  let sum = 0;
  while (y0 > 0 && (sum === 0 || sum + inRow[y0 - 1]! <= all * 0.05)) sum += inRow[--y0]!;
  return { x0: 0, x1: h.cols, y0, y1: rows };
}

export function countIn(h: HeatAnswer, b: CellBox): number {
  let n = 0;
  for (const [x, y, count] of h.cells) if (x >= b.x0 && x < b.x1 && y >= b.y0 && y < b.y1) n += count;
  return n;
}

/** Move or resize by keys: whole cells, inside the map. */
export function nudge(h: HeatAnswer, b: CellBox, dx: number, dy: number, resize: boolean): CellBox {
  const rows = h.y.length - 1;
  const r = { x0: Math.floor(b.x0), x1: Math.ceil(b.x1), y0: Math.floor(b.y0), y1: Math.ceil(b.y1) };
  if (resize) {
    r.x1 = Math.max(r.x0 + 1, Math.min(h.cols, r.x1 + dx));
    r.y1 = Math.max(r.y0 + 1, Math.min(rows, r.y1 + dy));
    return r;
  }
  const x = Math.max(-r.x0, Math.min(h.cols - r.x1, dx));
  const y = Math.max(-r.y0, Math.min(rows - r.y1, dy));
  return { x0: r.x0 + x, x1: r.x1 + x, y0: r.y0 + y, y1: r.y1 + y };
}

/** Colour step 1..6 of a count: the logarithm, so that one in a thousand is still seen. */
export const heatStep = (count: number, max: number): number =>
  count <= 0 ? 0 : max <= 1 ? 4 : 1 + Math.min(5, Math.floor((Math.log(count) / Math.log(max)) * 5.001));

/** Labels of the duration axis: the powers of ten (and of each, where there is room, 3) between the edges. */
export function durationTicks(low: number, high: number, room: number): number[] {
  const out: number[] = [];
  for (let p = Math.floor(Math.log10(Math.max(1, low))); p <= Math.ceil(Math.log10(Math.max(1, high))); p++)
    for (const m of [1, 3]) {
      const v = m * 10 ** p;
      if (v >= low && v <= high) out.push(v);
    }
  const every = Math.ceil(out.length / Math.max(1, room));
  return every <= 1 ? out : out.filter((v) => Math.abs(Math.log10(v) % 1) < 1e-9).filter((_, i, all) => i % Math.ceil(all.length / Math.max(1, room)) === 0);
}
