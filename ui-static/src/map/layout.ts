// SPDX-License-Identifier: Apache-2.0
// One question to the layout worker and its answer.
import { compact } from './compact.ts';
import { cut, flow } from './flow.ts';
import { flows } from './graph.ts';
import type { Places, Shape } from './shape.ts';

export type Layout = 'auto' | 'flow' | 'compact';

export interface Ask {
  id: number;
  layout: Layout;
  shape: Shape;
}

export interface Answer {
  id: number;
  layout: 'flow' | 'compact';
  places: Places;
}

export function lay(ask: Ask): Answer {
  let layout = ask.layout;
  if (layout === 'auto') {
    let back = 0, edges = 0;
    cut(ask.shape).forEach((own, e) => {
      if (ask.shape.from[e] === ask.shape.to[e]) return;
      edges++;
      back += own;
    });
    layout = flows(ask.shape.n, edges, back) ? 'flow' : 'compact';
  }
  return { id: ask.id, layout, places: layout === 'flow' ? flow(ask.shape) : compact(ask.shape) };
}
