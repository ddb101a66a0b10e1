// SPDX-License-Identifier: Apache-2.0
// The minimap: every span of the trace in one small picture, first row at the top, as a grid of services (0 = nothing,
// v = service v - 1, 255 = error). An error is never painted over: it is what one looks for.
import { FLAG, type Spans } from './tree.ts';

export const MINIMAP_ERROR = 255;

export function minimapGrid(s: Spans, from: number, to: number, width: number, height: number): Uint8Array {
  const grid = new Uint8Array(width * height);
  const scale = to > from ? width / (to - from) : 0;
  for (let i = 0; i < s.n; i++) {
    if ((s.flags[i]! & FLAG.missing) !== 0) continue;
    const y = Math.floor((i * height) / s.n);
    const a = Math.max(0, Math.floor((s.start[i]! - from) * scale));
    const b = Math.min(width - 1, Math.floor((s.start[i]! + s.dur[i]! - from) * scale));
    const v = (s.flags[i]! & FLAG.error) !== 0 ? MINIMAP_ERROR : (s.svc[i]! % 250) + 1;
    const row = y * width;
    for (let x = a; x <= b; x++) if (grid[row + x] !== MINIMAP_ERROR) grid[row + x] = v;
  }
  return grid;
}
