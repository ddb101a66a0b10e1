// SPDX-License-Identifier: Apache-2.0
// The lines of the map: cubic curves from rim to rim, and how far a pointer is from one.

/** Cubic pieces, eight numbers each: start, two controls, end. The last piece ends at the arrow's tip. */
export type Curve = Float64Array;

export interface Ends {
  sx: number;
  sy: number;
  sr: number;
  tx: number;
  ty: number;
  tr: number;
}

const TIP = 2; // between the arrow and the callee's outline

function piece(x0: number, y0: number, x1: number, y1: number): number[] {
  const half = Math.max((x1 - x0) / 2, 12);
  return [x0, y0, x0 + half, y0, x1 - half, y1, x1, y1];
}

/** Rightwards with level ends, by way of the bends. */
function along(e: Ends, bends: ArrayLike<number>): Curve {
  const out: number[] = [];
  let x = e.sx + e.sr, y = e.sy;
  for (let i = 0; i + 1 < bends.length; i += 2) {
    out.push(...piece(x, y, bends[i]!, bends[i + 1]!));
    x = bends[i]!;
    y = bends[i + 1]!;
  }
  out.push(...piece(x, y, e.tx - e.tr - TIP, e.ty));
  return Float64Array.from(out);
}

/** Up, over and down again: a call against the flow. */
function over(e: Ends): Curve {
  const rise = 36 + 0.16 * Math.abs(e.tx - e.sx) + 0.3 * Math.abs(e.ty - e.sy);
  const y0 = e.sy - e.sr, y1 = e.ty - e.tr - TIP, top = Math.min(y0, y1) - rise;
  return Float64Array.of(e.sx, y0, e.sx, top, e.tx, top, e.tx, y1);
}

/** A loop at the upper right: a service that calls itself. */
function loop(e: Ends): Curve {
  const r = e.sr;
  return Float64Array.of(e.sx + 0.5 * r, e.sy - 0.87 * r, e.sx + 0.9 * r, e.sy - r - 26, e.sx + r + 26, e.sy - 0.9 * r,
    e.sx + 0.93 * r + TIP, e.sy - 0.36 * r);
}

/** Straight, or bowed to its left where another line runs the other way. */
function straight(e: Ends, bow: boolean): Curve {
  const dx = e.tx - e.sx, dy = e.ty - e.sy, far = Math.hypot(dx, dy) || 1, ux = dx / far, uy = dy / far;
  const side = bow ? Math.min(26, far * 0.16) : 0, lean = bow ? Math.atan2(side, far / 2) : 0;
  const c = Math.cos(lean), s = Math.sin(lean);
  const x0 = e.sx + (ux * c + uy * s) * e.sr, y0 = e.sy + (uy * c - ux * s) * e.sr;
  const x1 = e.tx - (ux * c - uy * s) * (e.tr + TIP), y1 = e.ty - (uy * c + ux * s) * (e.tr + TIP);
  const mx = (x0 + x1) / 2 + uy * side, my = (y0 + y1) / 2 - ux * side;
  return Float64Array.of(x0, y0, (x0 + 2 * mx) / 3, (y0 + 2 * my) / 3, (x1 + 2 * mx) / 3, (y1 + 2 * my) / 3, x1, y1);
}

/** `flow`: the columns' layout, where lines leave at the right and arrive at the left. */
export function curveOf(e: Ends, how: { flow: boolean; self: boolean; back: boolean; bow: boolean }, bends: ArrayLike<number>): Curve {
  if (how.self) return loop(e);
  if (!how.flow) return straight(e, how.bow);
  if (how.back) return over(e);
  const room = e.tx - e.tr - (e.sx + e.sr);
  return room < 24 ? straight(e, true) : along(e, bends);
}

/** The point of a piece at t. */
function at(c: Curve, i: number, t: number): [number, number] {
  const u = 1 - t, a = u * u * u, b = 3 * u * u * t, d = 3 * u * t * t, f = t * t * t;
  return [a * c[i]! + b * c[i + 2]! + d * c[i + 4]! + f * c[i + 6]!, a * c[i + 1]! + b * c[i + 3]! + d * c[i + 5]! + f * c[i + 7]!];
}

/** A point of the curve, by the share of its pieces that lie before it. */
export function pointOn(c: Curve, share: number): [number, number] {
  const t = Math.min(0.999999, Math.max(0, share)) * (c.length / 8), piece = Math.floor(t);
  return at(c, piece * 8, t - piece);
}

/** The direction in which the curve arrives. */
export function arrival(c: Curve): number {
  const n = c.length;
  return Math.atan2(c[n - 1]! - c[n - 3]!, c[n - 2]! - c[n - 4]!);
}

/** The distance of a point from the curve, drawn in twelve steps a piece; at most `limit` is told. */
export function distance(c: Curve, x: number, y: number, limit: number): number {
  let best = limit;
  for (let i = 0; i < c.length; i += 8) {
    const left = Math.min(c[i]!, c[i + 2]!, c[i + 4]!, c[i + 6]!), right = Math.max(c[i]!, c[i + 2]!, c[i + 4]!, c[i + 6]!);
    const top = Math.min(c[i + 1]!, c[i + 3]!, c[i + 5]!, c[i + 7]!), bottom = Math.max(c[i + 1]!, c[i + 3]!, c[i + 5]!, c[i + 7]!);
    if (x < left - best || x > right + best || y < top - best || y > bottom + best) continue;
    let px = c[i]!, py = c[i + 1]!;
    for (let k = 1; k <= 12; k++) {
      const [qx, qy] = at(c, i, k / 12), dx = qx - px, dy = qy - py, length = dx * dx + dy * dy;
      const t = length > 0 ? Math.max(0, Math.min(1, ((x - px) * dx + (y - py) * dy) / length)) : 0;
      best = Math.min(best, Math.hypot(x - px - t * dx, y - py - t * dy));
      px = qx;
      py = qy;
    }
  }
  return best;
}
